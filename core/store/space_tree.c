/* core/store/space_tree.c: the nodes of the space map in memory: loading them, finding the way, counting. See space.h.
 */
#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "store_private.h"

static kl_status store_space_no_memory(const store_space *space, kl_error *err) {
  return kl_fail(err, KL_E_NO_MEMORY, "no memory for the space map of database '%s'", kl_store_path(space->store));
}

/* -------- loading -------- */

/* Runs of blocks that the older checkpoint uses and the newest does not go into limbo: they died with the newest one.
 * `add` false: only counts them. */
static size_t store_space_older_runs(store_space *space, store_space_chunk *chunk, const uint64_t *older, bool add) {
  uint64_t first = chunk->node.number * STORE_MAP_BITS, start = 0;
  bool inside = false;
  size_t runs = 0;
  for (uint64_t bit = 0; bit <= STORE_MAP_BITS; bit++) {
    size_t word = (size_t)(bit / 64);
    uint64_t died = bit < STORE_MAP_BITS ? older[word] & ~chunk->used[word] : 0;
    if (!inside && died == 0) {
      bit |= 63; /* nothing in the whole word */
      continue;
    }
    bool dead = (died >> (bit % 64) & 1) != 0;
    if (dead && !inside) {
      start = bit;
      runs++;
    } else if (!dead && inside && add) {
      store_limbo_add(&space->limbo, first + start, bit - start, space->older_bounds.sequence, space->bounds.sequence);
    }
    inside = dead;
  }
  return runs;
}

/* STORE-9: what the checkpoint before the opened one uses stays as it is, as long as a recovery could take that one.
 * Where its map is damaged, no recovery can. */
static kl_status store_space_mind_older(store_space *space, store_space_chunk *chunk, const kl_store_pointer *stored,
                                        store_map_node *scratch, kl_error *err) {
  bool same = false;
  kl_status status = store_map_chunk_of(space->store, &space->older_map, &space->older_bounds, chunk->node.number,
                                        stored, &same, scratch, err);
  if (status == KL_E_CORRUPT || status == KL_E_VERSION) return KL_OK;
  if (status != KL_OK || same) return status;
  const uint64_t *older = scratch->body.bits;
  status = store_limbo_reserve(&space->limbo, store_space_older_runs(space, chunk, older, false), err);
  if (status != KL_OK) return status;
  (void)store_space_older_runs(space, chunk, older, true);
  for (size_t i = 0; i < STORE_MAP_WORDS; i++) chunk->busy[i] |= older[i];
  return KL_OK;
}

/* Reads a node into `scratch`: what is not stored is empty. */
static kl_status store_space_read(const store_space *space, const store_space_child *child, store_map_node *scratch,
                                  uint32_t level, uint64_t number, kl_error *err) {
  store_map_place expected;
  expected.level = level;
  expected.number = number;
  expected.used = child->used;
  if (!store_pointer_is_null(&child->stored)) {
    return store_map_read(space->store, &child->stored, &space->bounds, &expected, scratch, err);
  }
  memset(scratch, 0, sizeof *scratch);
  scratch->level = level;
  scratch->number = number;
  if (level == 0 && number == 0) scratch->body.bits[0] = (1 << KL_SUPERBLOCKS) - 1;
  return KL_OK;
}

static kl_status store_space_load_index(store_space *space, store_space_child *child, const store_map_node *scratch,
                                        kl_error *err) {
  store_space_index *index = kl_alloc(space->limbo.allocator, sizeof *index);
  if (index == NULL) return store_space_no_memory(space, err);
  for (size_t i = 0; i < STORE_MAP_FANOUT; i++) {
    const store_map_child *from = &scratch->body.child[i];
    index->child[i].stored = from->pointer;
    index->child[i].used = from->used;
    index->child[i].busy = from->used;
  }
  index->node.level = scratch->level;
  index->node.number = scratch->number;
  child->node = &index->node;
  space->index_count++;
  return KL_OK;
}

static kl_status store_space_load_chunk(store_space *space, store_space_node *parent, uint32_t slot,
                                        store_space_child *child, store_map_node *scratch, kl_error *err) {
  store_space_chunk *chunk = kl_alloc(space->limbo.allocator, sizeof *chunk);
  if (chunk == NULL) return store_space_no_memory(space, err);
  chunk->node.number = scratch->number;
  memcpy(chunk->used, scratch->body.bits, sizeof chunk->used);
  memcpy(chunk->busy, chunk->used, sizeof chunk->busy);
  if (space->has_older) {
    kl_status status = store_space_mind_older(space, chunk, &child->stored, scratch, err);
    if (status != KL_OK) {
      kl_free(space->limbo.allocator, chunk, sizeof *chunk);
      return status;
    }
  }
  child->node = &chunk->node;
  chunk->node.parent = parent;
  chunk->node.slot = slot;
  chunk->next_loaded = space->chunks;
  space->chunks = chunk;
  space->chunk_count++;
  store_space_account(space, chunk, 0, store_map_count(chunk->busy) - child->used);
  return KL_OK;
}

static kl_status store_space_load_node(store_space *space, store_space_node *parent, uint32_t slot, uint32_t level,
                                       uint64_t number, kl_error *err) {
  store_space_child *child = parent == NULL ? &space->root : &((store_space_index *)parent)->child[slot];
  if (child->node != NULL) return KL_OK;
  store_map_node *scratch = kl_alloc(space->limbo.allocator, sizeof *scratch); /* large for a thread's small stack */
  if (scratch == NULL) return store_space_no_memory(space, err);
  kl_status status = store_space_read(space, child, scratch, level, number, err);
  if (status == KL_OK && level == 0) {
    status = store_space_load_chunk(space, parent, slot, child, scratch, err);
  } else if (status == KL_OK) {
    status = store_space_load_index(space, child, scratch, err);
    if (status == KL_OK) {
      child->node->parent = parent;
      child->node->slot = slot;
    }
  }
  kl_free(space->limbo.allocator, scratch, sizeof *scratch);
  return status;
}

/* The node of `level` that covers chunk `number`, and those above it. */
static kl_status store_space_descend(store_space *space, uint32_t level, uint64_t number, store_space_node **out,
                                     kl_error *err) {
  store_space_node *parent = NULL;
  for (uint32_t at = space->level;; at--) {
    uint64_t node_number = number / store_map_span(at);
    uint32_t slot = parent == NULL ? 0 : (uint32_t)(node_number % STORE_MAP_FANOUT);
    kl_status status = store_space_load_node(space, parent, slot, at, node_number, err);
    if (status != KL_OK) return status;
    store_space_node *node = parent == NULL ? space->root.node : ((store_space_index *)parent)->child[slot].node;
    if (at == level) {
      *out = node;
      return KL_OK;
    }
    parent = node;
  }
}

kl_status store_space_load(store_space *space, uint64_t number, store_space_chunk **out, kl_error *err) {
  KL_ASSERT(number < store_map_span(space->level));
  *out = store_space_loaded(space, number);
  if (*out != NULL) return KL_OK;
  store_space_node *node = NULL;
  kl_status status = store_space_descend(space, 0, number, &node, err);
  *out = (store_space_chunk *)node;
  return status;
}

store_space_chunk *store_space_loaded(const store_space *space, uint64_t number) {
  store_space_node *node = space->root.node;
  while (node != NULL && node->level > 0) {
    uint64_t below = number / store_map_span(node->level - 1);
    node = ((store_space_index *)node)->child[below % STORE_MAP_FANOUT].node;
  }
  return (store_space_chunk *)node;
}

/* -------- finding -------- */

kl_status store_space_next_chunk(store_space *space, uint64_t number, uint64_t need, uint64_t *out, kl_error *err) {
  *out = STORE_SPACE_NONE;
  while (number < store_map_span(space->level) && number * STORE_MAP_BITS < space->frontier) {
    store_space_child *child = &space->root;
    uint32_t level = space->level;
    while (store_map_span(level) * STORE_MAP_BITS - child->busy >= need && level > 0) {
      store_space_node *node = child->node;
      if (node == NULL) {
        kl_status status = store_space_descend(space, level, number, &node, err);
        if (status != KL_OK) return status;
      }
      level--;
      child = &((store_space_index *)node)->child[number / store_map_span(level) % STORE_MAP_FANOUT];
    }
    uint64_t span = store_map_span(level);
    if (span * STORE_MAP_BITS - child->busy >= need) {
      *out = number;
      return KL_OK;
    }
    number = (number / span + 1) * span;
  }
  return KL_OK;
}

kl_status store_space_last_used(store_space *space, uint64_t *out_block, kl_error *err) {
  uint64_t number = 0;
  store_space_child *child = &space->root;
  for (uint32_t level = space->level; level > 0; level--) {
    store_space_node *node = child->node;
    if (node == NULL) {
      kl_status status = store_space_descend(space, level, number * store_map_span(level), &node, err);
      if (status != KL_OK) return status;
    }
    store_space_index *index = (store_space_index *)node;
    uint64_t slot = STORE_MAP_FANOUT - 1;
    while (slot > 0 && index->child[slot].used == 0) slot--;
    number = number * STORE_MAP_FANOUT + slot;
    child = &index->child[slot];
  }
  store_space_chunk *chunk = NULL;
  kl_status status = store_space_load(space, number, &chunk, err);
  if (status != KL_OK) return status;
  size_t word = STORE_MAP_WORDS - 1;
  while (word > 0 && chunk->used[word] == 0) word--;
  if (chunk->used[word] == 0) return KL_BROKEN(err, "STORE-10: chunk %" PRIu64 " counts blocks and has none", number);
  *out_block = number * STORE_MAP_BITS + word * 64 + 63 - (uint64_t)__builtin_clzll(chunk->used[word]);
  return KL_OK;
}

/* -------- changing -------- */

kl_status store_space_cover(store_space *space, uint64_t end_block, kl_error *err) {
  while (store_map_span(space->level) * STORE_MAP_BITS < end_block) {
    store_space_node *old = NULL;
    /* Its parent is about to be another: it must know it. */
    kl_status status = store_space_descend(space, space->level, 0, &old, err);
    if (status != KL_OK) return status;
    store_space_index *index = kl_alloc(space->limbo.allocator, sizeof *index);
    if (index == NULL) return store_space_no_memory(space, err);
    index->node.level = space->level + 1;
    index->child[0] = space->root;
    old->parent = &index->node;
    old->slot = 0;
    space->root.stored = (kl_store_pointer){0};
    space->root.node = &index->node;
    space->level++;
    space->index_count++;
    /* What hangs below a dirty node's parent is not found unless that is written, too. */
    if (old->dirty) {
      index->node.dirty = true; /* the list has room: store_space_touch sees to it */
      space->dirty[space->dirty_count++] = &index->node;
    }
  }
  return KL_OK;
}

kl_status store_space_touch(store_space *space, store_space_chunk *chunk, kl_error *err) {
  if (chunk->node.dirty) return KL_OK;
  /* Room for the path, and for the levels that store_space_cover may add above it. */
  if (space->dirty_capacity - space->dirty_count < (size_t)2 * STORE_MAP_LEVELS) {
    size_t capacity = space->dirty_capacity == 0 ? 64 : space->dirty_capacity * 2;
    size_t size = sizeof *space->dirty;
    void *grown = kl_realloc(space->limbo.allocator, space->dirty, space->dirty_capacity * size, capacity * size);
    if (grown == NULL) return store_space_no_memory(space, err);
    space->dirty = grown;
    space->dirty_capacity = capacity;
  }
  memcpy(chunk->base, chunk->used, sizeof chunk->base);
  for (store_space_node *node = &chunk->node; node != NULL && !node->dirty; node = node->parent) {
    node->dirty = true;
    space->dirty[space->dirty_count++] = node;
  }
  return KL_OK;
}

void store_space_account(store_space *space, const store_space_chunk *chunk, uint64_t used, uint64_t busy) {
  for (const store_space_node *node = &chunk->node; node != NULL; node = node->parent) {
    store_space_child *child = store_space_child_of(space, node);
    child->used += used;
    child->busy += busy;
  }
}

kl_status store_space_touch_behind(store_space *space, uint64_t end_block, kl_error *err) {
  for (uint64_t number = 0; number * STORE_MAP_BITS < space->frontier; number++) {
    const store_space_child *child = &space->root;
    uint32_t level = space->level;
    /* Down to the first node that lies behind and is not to be written yet. */
    while (child->stored.address < end_block * KL_BLOCK_SIZE || (child->node != NULL && child->node->dirty)) {
      if (level == 0) break;
      store_space_node *node = child->node;
      kl_status status = node == NULL ? store_space_descend(space, level, number, &node, err) : KL_OK;
      if (status != KL_OK) return status;
      level--;
      child = &((store_space_index *)node)->child[number / store_map_span(level) % STORE_MAP_FANOUT];
    }
    bool behind = child->stored.address >= end_block * KL_BLOCK_SIZE;
    if (!behind || (child->node != NULL && child->node->dirty)) continue;
    store_space_chunk *chunk = NULL;
    kl_status status = store_space_load(space, number, &chunk, err);
    if (status == KL_OK) status = store_space_touch(space, chunk, err); /* and with it all above it */
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* -------- forgetting -------- */

void store_space_forget_chunks(store_space *space, size_t keep) {
  store_space_chunk **link = &space->chunks;
  while (*link != NULL && space->chunk_count > keep) {
    store_space_chunk *chunk = *link;
    store_space_child *child = store_space_child_of(space, &chunk->node);
    bool unstored = child->used != 0 && store_pointer_is_null(&child->stored); /* in a memory store */
    if (chunk->node.dirty || child->busy != child->used || unstored) {
      link = &chunk->next_loaded;
      continue;
    }
    *link = chunk->next_loaded;
    child->node = NULL;
    space->chunk_count--;
    kl_free(space->limbo.allocator, chunk, sizeof *chunk);
  }
}

static void store_space_forget_index(store_space *space, store_space_node *node) {
  if (node == NULL || node->level == 0) return;
  store_space_index *index = (store_space_index *)node;
  for (size_t i = 0; i < STORE_MAP_FANOUT; i++) store_space_forget_index(space, index->child[i].node);
  kl_free(space->limbo.allocator, index, sizeof *index);
}

void store_space_forget_all(store_space *space) {
  store_space_forget_index(space, space->root.node); /* looks at the levels of the chunks: they go after */
  while (space->chunks != NULL) {
    store_space_chunk *chunk = space->chunks;
    space->chunks = chunk->next_loaded;
    kl_free(space->limbo.allocator, chunk->aside, sizeof *chunk->aside);
    kl_free(space->limbo.allocator, chunk, sizeof *chunk);
  }
  space->root.node = NULL;
}
