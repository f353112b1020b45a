/* core/store/space.c: finding, taking and giving back blocks. See space.h; why it is laid out so: README.md. */
#include "space.h"

#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "space_bits.h"
#include "store_private.h"

enum {
  STORE_SPACE_THRESHOLD_MOST = 16, /* single blocks: a quarter of a word of the bitmap is good enough ... */
  STORE_SPACE_THRESHOLD_LEAST = 4, /* ... and below a sixteenth, a longer file is better than scattered writes */
  STORE_SPACE_SPARE = 32,          /* compaction: a thirty-second more than is used, ... */
  STORE_SPACE_SPARE_LEAST = 16,    /* ... and so many blocks: paths are written anew before the old ones are free */
  STORE_SPACE_ROUNDS = 16,         /* of making room for limbo; then all of it gets room */
  STORE_SPACE_CHUNKS_KEPT = 1024   /* chunks that stay in memory between checkpoints: 12 MiB, 127 GiB of file */
};

#define STORE_SPACE_BLOCKS_MOST (UINT64_C(1) << 50) /* of a file: offsets stay below 2^62 */

kl_status store_space_open(store_space *space, kl_store *store, const store_superblock *newest,
                           const store_superblock *older, kl_error *err) {
  memset(space, 0, sizeof *space);
  space->store = store;
  space->limbo.allocator = store->os->allocator;
  space->bounds = store_superblock_bounds(newest);
  space->frontier = space->bounds.end_block;
  space->root.stored = newest->space_map;
  space->root.used = KL_SUPERBLOCKS;
  if (older != NULL && !store_pointer_is_null(&older->space_map) &&
      !store_pointer_equal(&older->space_map, &newest->space_map)) {
    space->has_older = true;
    space->older_map = older->space_map;
    space->older_bounds = store_superblock_bounds(older);
    if (space->older_bounds.end_block > space->frontier) space->frontier = space->older_bounds.end_block;
  }
  if (!store_pointer_is_null(&newest->space_map)) {
    store_map_node *root = kl_alloc(space->limbo.allocator, sizeof *root);
    if (root == NULL) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for the space map of database '%s'", kl_store_path(store));
    }
    kl_status status = store_map_read(store, &newest->space_map, &space->bounds, NULL, root, err);
    space->root.used = root->used;
    space->level = root->level;
    kl_free(space->limbo.allocator, root, sizeof *root);
    if (status != KL_OK) return status;
  }
  space->root.busy = space->root.used;
  return KL_OK;
}

void store_space_close(store_space *space) {
  if (space->store == NULL) return; /* was never opened */
  store_space_forget_all(space);
  kl_free(space->limbo.allocator, space->dirty, space->dirty_capacity * sizeof *space->dirty);
  store_limbo_close(&space->limbo);
  memset(space, 0, sizeof *space);
}

uint64_t store_space_memory(const store_space *space) {
  return space->chunk_count * sizeof(store_space_chunk) + space->index_count * sizeof(store_space_index) +
         space->aside_count * sizeof(store_space_aside) + space->dirty_capacity * sizeof *space->dirty +
         space->limbo.capacity * sizeof *space->limbo.entries + space->limbo.live_capacity * sizeof *space->limbo.live;
}

/* Single blocks are taken where many are free together: from words of the bitmap that have about as many free as the
 * average word, from the front of the file on. So the writes of a drain lie close to each other, and data moves
 * towards the front. */
void store_space_start(store_space *space) {
  uint64_t room = space->frontier - (space->root.busy < space->frontier ? space->root.busy : space->frontier);
  uint64_t average = room * 64 / space->frontier;
  space->threshold = average > STORE_SPACE_THRESHOLD_MOST ? STORE_SPACE_THRESHOLD_MOST : average;
  space->rove = average < STORE_SPACE_THRESHOLD_LEAST ? space->frontier : 0;
  memset(space->run_rove, 0, sizeof space->run_rove);
  memset(space->reserve_rove, 0, sizeof space->reserve_rove);
  space->first_frontier = space->frontier;
  space->compacting = false;
}

/* What is in limbo or reserved cannot move, so room is needed beside it; where the room ends depends on how much of that
 * lies before the end. */
static uint64_t store_space_compact_end(const store_space *space) {
  uint64_t wanted = space->root.used + space->root.used / STORE_SPACE_SPARE + STORE_SPACE_SPARE_LEAST, end = wanted;
  for (int i = 0; i < STORE_SPACE_ROUNDS; i++) {
    uint64_t next = wanted + store_limbo_before(&space->limbo, end) + store_space_reserved_before(space, end);
    if (next == end) return end;
    end = next;
  }
  return wanted + space->limbo.blocks + space->reserved;
}

kl_status store_space_compact(store_space *space, uint64_t *out_end, kl_error *err) {
  space->compacting = true;
  space->threshold = 1;
  space->rove = 0;
  *out_end = store_space_compact_end(space);
  return kl_store_is_memory(space->store) ? KL_OK : store_space_touch_behind(space, *out_end, err);
}

/* -------- finding -------- */

static uint64_t store_space_limit(const store_space *space, uint64_t number) {
  uint64_t below = space->frontier - number * STORE_MAP_BITS;
  return below < STORE_MAP_BITS ? below : STORE_MAP_BITS;
}

static bool store_space_sweep_chunk(store_space *space, const store_space_chunk *chunk, uint64_t *out_block) {
  uint64_t first = chunk->node.number * STORE_MAP_BITS, limit = store_space_limit(space, chunk->node.number);
  uint64_t bit = space->rove - first;
  while (bit < limit) {
    uint64_t word = bit / 64;
    uint64_t open = ~chunk->busy[word] & store_space_mask(bit, limit, word);
    bool poor = bit % 64 == 0 && (uint64_t)__builtin_popcountll(open) < space->threshold;
    if (open != 0 && !poor) {
      *out_block = first + word * 64 + (uint64_t)__builtin_ctzll(open);
      space->rove = *out_block + 1;
      return true;
    }
    bit = (word + 1) * 64;
  }
  return false;
}

/* A single block, in words with enough room; STORE_SPACE_NONE: the file should rather grow. */
static kl_status store_space_find_one(store_space *space, uint64_t *out_block, kl_error *err) {
  *out_block = STORE_SPACE_NONE;
  for (;;) {
    while (space->rove < space->frontier) {
      uint64_t at = space->rove / STORE_MAP_BITS, number = STORE_SPACE_NONE;
      kl_status status = store_space_next_chunk(space, at, space->threshold, &number, err);
      if (status != KL_OK) return status;
      if (number == STORE_SPACE_NONE) break;
      store_space_chunk *chunk = NULL;
      status = store_space_load(space, number, &chunk, err);
      if (status != KL_OK) return status;
      if (number > at) space->rove = number * STORE_MAP_BITS;
      if (store_space_sweep_chunk(space, chunk, out_block)) return KL_OK;
      space->rove = (number + 1) * STORE_MAP_BITS;
    }
    space->rove = space->frontier;
    if (space->threshold / 2 < STORE_SPACE_THRESHOLD_LEAST) return KL_OK;
    space->threshold /= 2;
    space->rove = 0;
  }
}

/* A run inside one chunk. */
static kl_status store_space_find_run(store_space *space, uint64_t blocks, uint64_t *rove, uint64_t *out_block,
                                      kl_error *err) {
  *out_block = STORE_SPACE_NONE;
  for (;;) {
    uint64_t number = STORE_SPACE_NONE;
    kl_status status = store_space_next_chunk(space, *rove / STORE_MAP_BITS, blocks, &number, err);
    if (status != KL_OK) return status;
    if (number == STORE_SPACE_NONE) break;
    store_space_chunk *chunk = NULL;
    status = store_space_load(space, number, &chunk, err);
    if (status != KL_OK) return status;
    uint64_t first = number * STORE_MAP_BITS, limit = store_space_limit(space, number);
    uint64_t bit = *rove > first ? *rove - first : 0;
    while (bit + blocks <= limit) {
      bit = store_space_scan(chunk->busy, bit, limit, false);
      if (bit + blocks > limit) break;
      uint64_t end = store_space_scan(chunk->busy, bit, bit + blocks, true);
      if (end == bit + blocks) {
        *out_block = first + bit;
        *rove = *out_block;
        return KL_OK;
      }
      bit = end;
    }
    *rove = first + STORE_MAP_BITS;
  }
  *rove = space->frontier;
  return KL_OK;
}

/* A run of more than a chunk: whole free chunks, one behind the other, all below the frontier. */
static kl_status store_space_find_chunks(store_space *space, uint64_t blocks, uint64_t *rove, uint64_t *out_block,
                                         kl_error *err) {
  uint64_t need = (blocks + STORE_MAP_BITS - 1) / STORE_MAP_BITS, start = STORE_SPACE_NONE, have = 0;
  uint64_t number = (*rove + STORE_MAP_BITS - 1) / STORE_MAP_BITS;
  *out_block = STORE_SPACE_NONE;
  while (have < need) {
    uint64_t next = STORE_SPACE_NONE;
    kl_status status = store_space_next_chunk(space, number, STORE_MAP_BITS, &next, err);
    if (status != KL_OK) return status;
    if (next == STORE_SPACE_NONE || store_space_limit(space, next) < STORE_MAP_BITS) {
      *rove = space->frontier;
      return KL_OK;
    }
    store_space_chunk *chunk = NULL; /* loaded, it knows of limbo, too */
    status = store_space_load(space, next, &chunk, err);
    if (status != KL_OK) return status;
    number = next + 1;
    if (store_space_child_of(space, &chunk->node)->busy != 0) {
      have = 0;
      continue;
    }
    if (have == 0 || start + have != next) {
      start = next;
      have = 0;
    }
    have++;
  }
  *out_block = start * STORE_MAP_BITS;
  *rove = *out_block;
  return KL_OK;
}

/* Where a run goes that has no room below the frontier: to the end, beginning with what is free right before it. */
static kl_status store_space_find_end(store_space *space, uint64_t blocks, uint64_t *out_block, kl_error *err) {
  uint64_t start = space->frontier, number = (start - 1) / STORE_MAP_BITS;
  store_space_chunk *chunk = NULL;
  kl_status status = store_space_load(space, number, &chunk, err);
  if (status != KL_OK) return status;
  while (start > number * STORE_MAP_BITS && space->frontier - start < blocks) {
    uint64_t bit = start - 1 - number * STORE_MAP_BITS;
    if ((chunk->busy[bit / 64] >> (bit % 64) & 1) != 0) break;
    start--;
  }
  *out_block = start;
  return KL_OK;
}

/* The first run of that length below the frontier; STORE_SPACE_NONE. Runs of one class share a place to look from: what
 * is too small for one is passed for good, as long as `roves` lasts, also where a shorter one of the class had found
 * room. */
static kl_status store_space_find_first(store_space *space, uint64_t blocks, uint64_t *roves, uint64_t *out_block,
                                        kl_error *err) {
  uint64_t *rove = &roves[blocks == 1 ? 0 : 63 - __builtin_clzll(blocks - 1) + 1];
  return blocks <= STORE_MAP_BITS ? store_space_find_run(space, blocks, rove, out_block, err)
                                  : store_space_find_chunks(space, blocks, rove, out_block, err);
}

static kl_status store_space_find(store_space *space, uint64_t blocks, uint64_t end, uint64_t *out_block,
                                  kl_error *err) {
  kl_status status = blocks == 1 ? store_space_find_one(space, out_block, err)
                                 : store_space_find_first(space, blocks, space->run_rove, out_block, err);
  if (status != KL_OK) return status;
  if (end != STORE_SPACE_NONE && (*out_block == STORE_SPACE_NONE || *out_block >= end || blocks > end - *out_block)) {
    if (blocks == 1 && *out_block != STORE_SPACE_NONE) space->rove = *out_block; /* it is still to be had */
    return KL_E_NOT_FOUND;
  }
  if (*out_block != STORE_SPACE_NONE) return KL_OK;
  return store_space_find_end(space, blocks, out_block, err);
}

kl_status store_space_find_aside(store_space *space, uint64_t blocks, uint64_t *out_block, kl_error *err) {
  kl_status status = store_space_find_first(space, blocks, space->reserve_rove, out_block, err);
  if (status != KL_OK || *out_block != STORE_SPACE_NONE) return status;
  return store_space_find_end(space, blocks, out_block, err);
}

/* -------- taking and giving back -------- */

kl_status store_space_grow(store_space *space, uint64_t end, kl_error *err) {
  if (end <= space->frontier) return KL_OK;
  kl_status status = store_blocks_ensure(space->store, end * KL_BLOCK_SIZE, err);
  return status == KL_OK ? store_space_cover(space, end, err) : status;
}

kl_status store_space_check_size(const store_space *space, uint64_t blocks, kl_error *err) {
  if (blocks <= STORE_SPACE_BLOCKS_MOST - space->frontier) return KL_OK;
  return kl_fail(err, KL_E_LIMIT, "database '%s' cannot grow by %" PRIu64 " blocks: a file has at most %" PRIu64,
                 kl_store_path(space->store), blocks, (uint64_t)STORE_SPACE_BLOCKS_MOST);
}

kl_status store_space_prepare(store_space *space, uint64_t block, uint64_t blocks, kl_error *err) {
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    store_space_chunk *chunk = NULL;
    kl_status status = store_space_load(space, part.number, &chunk, err);
    if (status == KL_OK) status = store_space_touch(space, chunk, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* How long a run at `block` may be, which is of `blocks` as yet: with the free blocks of its chunk that follow. The file
 * grows for more than that where it has to grow for those. */
static uint64_t store_space_extend(const store_space *space, uint64_t block, uint64_t blocks, uint64_t most) {
  uint64_t end = block + blocks, number = (end - 1) / STORE_MAP_BITS, first = number * STORE_MAP_BITS;
  if (most > STORE_MAP_BITS) most = STORE_MAP_BITS;
  if (blocks >= most) return blocks;
  if (end > space->frontier) return most;
  const store_space_chunk *chunk = store_space_loaded(space, number);
  if (chunk == NULL) return blocks;
  uint64_t wanted = block + most - first, limit = store_space_limit(space, number);
  return first + store_space_scan(chunk->busy, end - first, wanted < limit ? wanted : limit, true) - block;
}

/* The run, which is free, is used from now on. On failure it is as before. */
static kl_status store_space_take(store_space *space, uint64_t block, uint64_t blocks, kl_error *err) {
  uint64_t end = block + blocks;
  kl_status status = store_space_grow(space, end, err);
  if (status == KL_OK) status = store_space_prepare(space, block, blocks, err);
  if (status != KL_OK) return status;
  if (end > space->frontier) space->frontier = end;
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    store_space_chunk *chunk = store_space_loaded(space, part.number);
    KL_ASSERT(store_space_count(chunk->busy, part.from, part.to) == 0); /* STORE-8 */
    store_space_set(chunk->used, part.from, part.to);
    store_space_set(chunk->busy, part.from, part.to);
    store_space_account(space, chunk, part.to - part.from, part.to - part.from);
  }
  return KL_OK;
}

kl_status store_space_allocate(store_space *space, uint64_t blocks, uint64_t *most, uint64_t limit, uint64_t *out_block,
                               kl_error *err) {
  uint64_t block = 0, got = blocks;
  kl_status status = store_space_check_size(space, blocks, err);
  if (status == KL_OK) status = store_space_find(space, blocks, limit, &block, err);
  if (status != KL_OK) return status;
  if (*most > blocks && limit == STORE_SPACE_NONE) got = store_space_extend(space, block, blocks, *most);
  bool behind = block + blocks > space->frontier;
  status = store_space_take(space, block, got, err);
  if (status != KL_OK && got > blocks) { /* for what is needed there may be room yet */
    got = blocks;
    status = store_space_take(space, block, got, err);
  }
  if (status != KL_OK) return status;
  if (blocks == 1 && (behind || got > 1)) space->rove = block + got;
  *out_block = block;
  *most = got;
  return KL_OK;
}

/* Whether the run is in use, all of it, and came into use in this checkpoint (`is_new`) or before it. */
static bool store_space_is_used(const store_space *space, uint64_t block, uint64_t blocks, bool is_new) {
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    const store_space_chunk *chunk = store_space_loaded(space, part.number);
    if (chunk == NULL || !chunk->node.dirty) return false;
    uint64_t size = part.to - part.from;
    if (store_space_count(chunk->used, part.from, part.to) != size) return false;
    if (store_space_count(chunk->base, part.from, part.to) != (is_new ? 0 : size)) return false;
  }
  return true;
}

bool store_space_is_new(const store_space *space, uint64_t block, uint64_t blocks) {
  return block < space->frontier && blocks <= space->frontier - block &&
         store_space_is_used(space, block, blocks, true);
}

kl_status store_space_free(store_space *space, uint64_t block, uint64_t blocks, uint64_t birth, uint64_t death,
                           kl_error *err) {
  bool is_new = birth >= death;
  bool inside = block >= KL_SUPERBLOCKS && block < space->frontier && blocks <= space->frontier - block;
  kl_status status = inside ? store_space_prepare(space, block, blocks, err) : KL_OK;
  if (status == KL_OK && !is_new) status = store_limbo_reserve(&space->limbo, 1, err);
  if (status != KL_OK) return status;
  if (!inside || birth > death || !store_space_is_used(space, block, blocks, is_new)) {
    return kl_fail(err, KL_E_CORRUPT,
                   "database '%s': %" PRIu64 " blocks at %" PRIu64 ", born at checkpoint %" PRIu64
                   ", are to be freed, but the space map does not have them as in use since then; copy the data out",
                   kl_store_path(space->store), blocks, block * KL_BLOCK_SIZE, birth);
  }
  if (!is_new) store_limbo_add(&space->limbo, block, blocks, birth, death);
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    store_space_chunk *chunk = store_space_loaded(space, part.number);
    uint64_t busy = store_space_count(chunk->busy, part.from, part.to);
    store_space_clear(chunk->used, part.from, part.to);
    if (is_new) {
      store_space_clear(chunk->busy, part.from, part.to);
      store_space_keep_adopted(chunk, part.from, part.to);
    }
    store_space_account(space, chunk, 0 - (part.to - part.from),
                        store_space_count(chunk->busy, part.from, part.to) - busy);
  }
  return KL_OK;
}

void store_space_unbusy(void *context, uint64_t block, uint64_t blocks) {
  store_space *space = context;
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    store_space_chunk *chunk = store_space_loaded(space, part.number);
    KL_ASSERT(chunk != NULL);
    if (chunk == NULL) continue; /* it will be read anew, and nothing is in limbo in it then */
    KL_ASSERT(store_space_count(chunk->used, part.from, part.to) == 0);
    KL_ASSERT(store_space_count(chunk->busy, part.from, part.to) == part.to - part.from);
    store_space_clear(chunk->busy, part.from, part.to);
    store_space_account(space, chunk, 0, 0 - (part.to - part.from));
  }
}

void store_space_abort(store_space *space, uint64_t death) {
  for (size_t i = 0; i < space->dirty_count; i++) {
    store_space_node *node = space->dirty[i];
    node->dirty = node->released = node->placed = false;
    if (node->level > 0) continue;
    store_space_chunk *chunk = (store_space_chunk *)node;
    uint64_t used = store_map_count(chunk->used), busy = store_map_count(chunk->busy);
    for (size_t w = 0; w < STORE_MAP_WORDS; w++) {
      chunk->busy[w] &= ~(chunk->used[w] & ~chunk->base[w]); /* what was allocated; what was freed is still busy */
      chunk->used[w] = chunk->base[w];
    }
    store_space_disown(chunk);
    store_space_account(space, chunk, store_map_count(chunk->used) - used, store_map_count(chunk->busy) - busy);
  }
  space->dirty_count = 0;
  store_limbo_undo(&space->limbo, death);
  uint64_t end = store_space_reserved_end(space);
  space->frontier = end > space->first_frontier ? end : space->first_frontier;
}

void store_space_trim(store_space *space, uint64_t needed_end) {
  uint64_t end = store_limbo_end(&space->limbo), reserved = store_space_reserved_end(space);
  if (end < reserved) end = reserved;
  space->frontier = end > needed_end ? end : needed_end;
  memset(space->reserve_rove, 0, sizeof space->reserve_rove); /* limbo has let go of blocks */
  store_space_forget_chunks(space, STORE_SPACE_CHUNKS_KEPT);
}
