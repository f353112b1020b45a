/* core/store/space_write.c: the space map of a checkpoint is written: copy on write, and it describes itself.
 *
 * Every node that changed gets a new block, and its old one is freed; both change bits, and so may change nodes that
 * had not changed. That ends: each node is freed and placed at most once. Only then are bytes made, children before
 * parents, for a parent holds the checksums of its children. */
#include <stdlib.h>

#include "../base/crc32c.h"
#include "store_private.h"

enum { STORE_SPACE_BATCH = 16 }; /* blocks that are written at once where they lie side by side */

/* Frees the blocks of all nodes that change. The list may become longer meanwhile. */
static kl_status store_space_release_old(store_space *space, uint64_t death, kl_error *err) {
  for (size_t i = 0; i < space->dirty_count; i++) {
    store_space_node *node = space->dirty[i];
    if (node->released) continue;
    node->released = true;
    const kl_store_pointer stored = store_space_child_of(space, node)->stored;
    if (store_pointer_is_null(&stored)) continue;
    kl_status status = store_space_free(space, stored.address / KL_BLOCK_SIZE, 1, stored.birth, death, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* Gives blocks to the nodes of a level that have none and are not empty. */
static kl_status store_space_place(store_space *space, uint32_t level, uint64_t birth, bool *out_any, kl_error *err) {
  for (size_t i = 0; i < space->dirty_count; i++) {
    store_space_node *node = space->dirty[i];
    if (node->level != level || node->placed || store_space_child_of(space, node)->used == 0) continue;
    uint64_t block = 0, one = 1;
    kl_status status = store_space_allocate(space, 1, &one, STORE_SPACE_NONE, &block, err);
    if (status != KL_OK) return status;
    node->placed = true;
    node->next = (kl_store_pointer){block * KL_BLOCK_SIZE, KL_BLOCK_SIZE, 0, birth};
    *out_any = true;
  }
  return KL_OK;
}

static kl_status store_space_place_all(store_space *space, uint64_t birth, kl_error *err) {
  bool any = true;
  while (any) {
    kl_status status = store_space_release_old(space, birth, err);
    any = false;
    /* Level by level, so that the blocks of a level lie side by side. */
    for (uint32_t level = 0; level <= space->level && status == KL_OK; level++) {
      status = store_space_place(space, level, birth, &any, err);
    }
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

static void store_space_encode(store_space *space, store_space_node *node, store_map_node *scratch,
                               uint8_t out[KL_BLOCK_SIZE]) {
  scratch->level = node->level;
  scratch->number = node->number;
  scratch->used = store_space_child_of(space, node)->used;
  if (node->level == 0) {
    memcpy(scratch->body.bits, ((store_space_chunk *)node)->used, sizeof scratch->body.bits);
  } else {
    const store_space_index *index = (store_space_index *)node;
    for (size_t i = 0; i < STORE_MAP_FANOUT; i++) {
      const store_space_child *child = &index->child[i];
      store_map_child *to = &scratch->body.child[i];
      to->used = child->used;
      to->pointer = child->stored;
      if (child->node == NULL || !child->node->dirty) continue;
      to->pointer = child->node->placed ? child->node->next : (kl_store_pointer){0};
    }
  }
  store_map_encode(scratch, out);
  node->next.checksum = kl_crc32c(0, out, KL_BLOCK_SIZE);
}

static int store_space_compare_nodes(const void *a, const void *b) {
  const store_space_node *x = *(store_space_node *const *)a, *y = *(store_space_node *const *)b;
  if (x->level != y->level) return x->level < y->level ? -1 : 1;
  return (x->next.address > y->next.address) - (x->next.address < y->next.address);
}

typedef struct store_space_batch {
  store_map_node scratch;
  uint64_t address;
  size_t count;
  uint8_t blocks[STORE_SPACE_BATCH][KL_BLOCK_SIZE];
} store_space_batch;

static kl_status store_space_flush(store_space *space, store_space_batch *batch, kl_error *err) {
  if (batch->count == 0) return KL_OK;
  kl_slice part = kl_slice_make(batch->blocks, batch->count * KL_BLOCK_SIZE);
  batch->count = 0;
  return store_blocks_write(space->store, batch->address, &part, 1, err);
}

static kl_status store_space_write_nodes(store_space *space, store_space_batch *batch, kl_error *err) {
  /* Children come first, and those of a level in the order of their addresses. */
  qsort(space->dirty, space->dirty_count, sizeof *space->dirty, store_space_compare_nodes);
  for (size_t i = 0; i < space->dirty_count; i++) {
    store_space_node *node = space->dirty[i];
    if (!node->placed) continue;
    bool follows = node->next.address == batch->address + batch->count * KL_BLOCK_SIZE;
    if (batch->count == STORE_SPACE_BATCH || !follows) {
      kl_status status = store_space_flush(space, batch, err);
      if (status != KL_OK) return status;
    }
    if (batch->count == 0) batch->address = node->next.address;
    store_space_encode(space, node, &batch->scratch, batch->blocks[batch->count++]);
  }
  return store_space_flush(space, batch, err);
}

kl_status store_space_write(store_space *space, uint64_t death, kl_store_pointer *out_root, uint64_t *out_end_block,
                            kl_error *err) {
  if (space->dirty_count == 0) return KL_OK;
  uint64_t last = 0;
  if (!kl_store_is_memory(space->store)) {
    kl_status status = store_space_place_all(space, death, err);
    if (status != KL_OK) return status;
    store_space_batch *batch = kl_alloc(space->limbo.allocator, sizeof *batch);
    if (batch == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to write the space map");
    status = store_space_write_nodes(space, batch, err);
    kl_free(space->limbo.allocator, batch, sizeof *batch);
    if (status != KL_OK) return status;
    *out_root = space->root.node->next;
  }
  kl_status status = store_space_last_used(space, &last, err);
  if (status == KL_OK) *out_end_block = last + 1;
  return status;
}

void store_space_commit(store_space *space) {
  bool in_memory = kl_store_is_memory(space->store);
  for (size_t i = 0; i < space->dirty_count; i++) {
    store_space_node *node = space->dirty[i];
    store_space_child *child = store_space_child_of(space, node);
    if (!in_memory) child->stored = node->placed ? node->next : (kl_store_pointer){0};
    node->dirty = node->released = node->placed = false;
    if (node->level == 0) store_space_settle_adopted(space, (store_space_chunk *)node);
  }
  space->dirty_count = 0;
}
