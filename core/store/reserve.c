/* core/store/reserve.c: blocks that are kept for whoever writes outside of checkpoints. See store.h; STORE-14 and 15 in
 * README.md.
 *
 * A reserved block is busy, and nothing uses it: no map that was ever written has it. So there is nothing to undo after
 * a crash, and nothing to write when it is reserved or given back. Which ones are reserved stands in bitmaps beside
 * those of their chunks, so that an adoption that an abort takes back needs no list of its own. */
#include <inttypes.h>

#include "../base/assert.h"
#include "space_bits.h"
#include "store_private.h"

/* -------- in the space -------- */

void store_space_keep_adopted(store_space_chunk *chunk, uint64_t from, uint64_t to) {
  if (chunk->aside == NULL) return;
  for (uint64_t word = from / 64; word * 64 < to; word++) {
    chunk->busy[word] |= chunk->aside->adopted[word] & store_space_mask(from, to, word);
  }
}

void store_space_disown(store_space_chunk *chunk) {
  if (chunk->aside == NULL) return;
  for (size_t w = 0; w < STORE_MAP_WORDS; w++) {
    chunk->busy[w] |= chunk->aside->reserved[w];
    chunk->aside->adopted[w] = 0;
  }
}

/* A chunk keeps the bitmaps no longer than it has something reserved. */
static void store_space_drop_aside(store_space *space, store_space_chunk *chunk) {
  if (chunk == NULL || chunk->aside == NULL || chunk->aside->count != 0) return;
  kl_free(space->limbo.allocator, chunk->aside, sizeof *chunk->aside);
  chunk->aside = NULL;
  space->aside_count--;
}

void store_space_settle_adopted(store_space *space, store_space_chunk *chunk) {
  store_space_aside *aside = chunk->aside;
  if (aside == NULL) return;
  uint64_t adopted = 0, free_again = 0;
  for (size_t w = 0; w < STORE_MAP_WORDS; w++) {
    uint64_t gone = aside->adopted[w] & ~chunk->used[w];
    adopted += (uint64_t)__builtin_popcountll(aside->adopted[w]);
    free_again += (uint64_t)__builtin_popcountll(gone);
    chunk->busy[w] &= ~gone;
    aside->reserved[w] &= ~aside->adopted[w];
    aside->adopted[w] = 0;
  }
  aside->count -= adopted;
  space->reserved -= adopted;
  store_space_account(space, chunk, 0, 0 - free_again);
  store_space_drop_aside(space, chunk);
}

uint64_t store_space_reserved_end(const store_space *space) {
  uint64_t end = 0;
  if (space->reserved == 0) return 0;
  for (const store_space_chunk *chunk = space->chunks; chunk != NULL; chunk = chunk->next_loaded) {
    if (chunk->aside == NULL || chunk->aside->count == 0) continue;
    size_t word = STORE_MAP_WORDS - 1;
    while (chunk->aside->reserved[word] == 0) word--;
    uint64_t last = 63 - (uint64_t)__builtin_clzll(chunk->aside->reserved[word]);
    uint64_t behind = chunk->node.number * STORE_MAP_BITS + word * 64 + last + 1;
    if (behind > end) end = behind;
  }
  return end;
}

uint64_t store_space_reserved_before(const store_space *space, uint64_t block) {
  uint64_t before = 0;
  if (space->reserved == 0) return 0;
  for (const store_space_chunk *chunk = space->chunks; chunk != NULL; chunk = chunk->next_loaded) {
    uint64_t first = chunk->node.number * STORE_MAP_BITS;
    if (chunk->aside == NULL || first >= block) continue;
    uint64_t to = block - first < STORE_MAP_BITS ? block - first : STORE_MAP_BITS;
    before += store_space_count(chunk->aside->reserved, 0, to);
  }
  return before;
}

/* All chunks of the run are loaded and have bitmaps for what is reserved. */
static kl_status store_space_prepare_aside(store_space *space, uint64_t block, uint64_t blocks, kl_error *err) {
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    store_space_chunk *chunk = NULL;
    kl_status status = store_space_load(space, part.number, &chunk, err);
    if (status != KL_OK) return status;
    if (chunk->aside != NULL) continue;
    chunk->aside = kl_alloc(space->limbo.allocator, sizeof *chunk->aside);
    if (chunk->aside == NULL) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for the space map of database '%s'", kl_store_path(space->store));
    }
    space->aside_count++;
  }
  return KL_OK;
}

/* Takes a run of blocks that are not busy. */
static kl_status store_space_set_aside(store_space *space, uint64_t block, uint64_t blocks, kl_error *err) {
  store_space_part part;
  uint64_t at = block, left = blocks;
  kl_status status = store_space_prepare_aside(space, block, blocks, err);
  while (status == KL_OK && store_space_next_part(&at, &left, &part)) {
    store_space_chunk *chunk = store_space_loaded(space, part.number);
    KL_ASSERT(store_space_count(chunk->busy, part.from, part.to) == 0); /* STORE-14 */
    store_space_set(chunk->busy, part.from, part.to);
    store_space_set(chunk->aside->reserved, part.from, part.to);
    chunk->aside->count += part.to - part.from;
    store_space_account(space, chunk, 0, part.to - part.from);
  }
  if (status == KL_OK) {
    space->reserved += blocks;
    if (block + blocks > space->frontier) space->frontier = block + blocks;
    return KL_OK;
  }
  while (store_space_next_part(&block, &blocks, &part)) {
    store_space_drop_aside(space, store_space_loaded(space, part.number));
  }
  return status;
}

static bool store_space_is_reserved(const store_space *space, uint64_t block, uint64_t blocks) {
  if (block >= space->frontier || blocks > space->frontier - block) return false;
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    const store_space_chunk *chunk = store_space_loaded(space, part.number);
    if (chunk == NULL || chunk->aside == NULL) return false;
    if (store_space_count(chunk->aside->reserved, part.from, part.to) != part.to - part.from) return false;
    if (store_space_count(chunk->aside->adopted, part.from, part.to) != 0) return false;
  }
  return true;
}

kl_status store_space_adopt(store_space *space, uint64_t block, uint64_t blocks, kl_error *err) {
  if (!store_space_is_reserved(space, block, blocks)) {
    return KL_BROKEN(err, "STORE-14: %" PRIu64 " blocks at %" PRIu64 " are to be adopted and are not reserved", blocks,
                     block * KL_BLOCK_SIZE);
  }
  kl_status status = store_space_prepare(space, block, blocks, err);
  if (status != KL_OK) return status;
  store_space_part part;
  while (store_space_next_part(&block, &blocks, &part)) {
    store_space_chunk *chunk = store_space_loaded(space, part.number);
    store_space_set(chunk->used, part.from, part.to);
    store_space_set(chunk->aside->adopted, part.from, part.to);
    store_space_account(space, chunk, part.to - part.from, 0);
  }
  return KL_OK;
}

/* -------- for everyone -------- */

/* What a checkpoint in progress has done so far does not count yet. */
static void store_reserve_count(kl_store *store) {
  if (!store->in_progress) {
    store_checkpoint_count(store);
    return;
  }
  kl_mutex_lock(&store->lock);
  store->numbers.reserved_bytes = store->space.reserved * KL_BLOCK_SIZE;
  store->numbers.file_bytes = store->file_bytes;
  kl_mutex_unlock(&store->lock);
}

static kl_status store_reserve_run(kl_store *store, uint64_t blocks, uint64_t *out_block, kl_error *err) {
  store_space *space = &store->space;
  kl_status status = store_space_check_size(space, blocks, err);
  if (status == KL_OK) status = store_space_cover(space, space->frontier, err); /* not so before the first begin */
  if (status == KL_OK) status = store_space_find_aside(space, blocks, out_block, err);
  if (status == KL_OK) status = store_space_grow(space, *out_block + blocks, err);
  return status == KL_OK ? store_space_set_aside(space, *out_block, blocks, err) : status;
}

kl_status kl_store_reserve(kl_store *store, uint64_t bytes, uint64_t *out_address, kl_error *err) {
  uint64_t block = 0;
  kl_status status = store_checkpoint_allowed(store, err);
  if (status != KL_OK) return status;
  if (bytes == 0) return kl_fail(err, KL_E_LIMIT, "no block is needed for nothing");
  kl_mutex_lock(&store->space_lock);
  status = store_reserve_run(store, store_blocks_count(bytes), &block, err);
  if (status == KL_OK) {
    *out_address = block * KL_BLOCK_SIZE;
    store_reserve_count(store);
  }
  kl_mutex_unlock(&store->space_lock);
  return status;
}

/* KL_OK: nothing has any of the run. KL_E_EXISTS: the newest checkpoint, or the one in progress, uses all of it. */
static kl_status store_reserve_vacant(kl_store *store, uint64_t block, uint64_t blocks, kl_error *err) {
  store_space_part part;
  uint64_t at = block, left = blocks, busy = 0, used = 0;
  while (store_space_next_part(&at, &left, &part)) {
    store_space_chunk *chunk = NULL;
    kl_status status = store_space_load(&store->space, part.number, &chunk, err);
    if (status != KL_OK) return status;
    busy += store_space_count(chunk->busy, part.from, part.to);
    used += store_space_count(chunk->used, part.from, part.to);
  }
  if (busy == 0) return KL_OK;
  if (used == blocks) return KL_E_EXISTS;
  return kl_fail(err, KL_E_CORRUPT,
                 "database '%s': of %" PRIu64 " blocks at %" PRIu64
                 " that the log names, others are in use; copy out what is sound",
                 store->path, blocks, block * KL_BLOCK_SIZE);
}

kl_status kl_store_reserve_at(kl_store *store, uint64_t address, uint64_t bytes, kl_error *err) {
  uint64_t block = address / KL_BLOCK_SIZE, blocks = store_blocks_count(bytes);
  kl_status status = store_checkpoint_allowed(store, err);
  if (status != KL_OK) return status;
  kl_mutex_lock(&store->space_lock);
  if (address % KL_BLOCK_SIZE != 0 || bytes == 0 || block < KL_SUPERBLOCKS || address > store->file_bytes ||
      bytes > store->file_bytes - address) {
    status = kl_fail(err, KL_E_CORRUPT,
                     "database '%s': the log names %" PRIu64 " bytes at %" PRIu64
                     ", where there are none; copy out what is sound",
                     store->path, bytes, address);
  }
  uint64_t end = block + blocks > store->space.frontier ? block + blocks : store->space.frontier;
  if (status == KL_OK) status = store_space_cover(&store->space, end, err);
  if (status == KL_OK) status = store_reserve_vacant(store, block, blocks, err);
  if (status == KL_OK) status = store_space_set_aside(&store->space, block, blocks, err);
  if (status == KL_OK) store_reserve_count(store);
  kl_mutex_unlock(&store->space_lock);
  return status;
}

void kl_store_unreserve(kl_store *store, uint64_t address, uint64_t bytes) {
  store_space *space = &store->space;
  uint64_t block = address / KL_BLOCK_SIZE, blocks = store_blocks_count(bytes);
  kl_mutex_lock(&store->space_lock);
  bool reserved = store_space_is_reserved(space, block, blocks);
  KL_ASSERT(reserved); /* STORE-14 */
  store_space_part part;
  while (reserved && store_space_next_part(&block, &blocks, &part)) {
    store_space_chunk *chunk = store_space_loaded(space, part.number);
    uint64_t size = part.to - part.from;
    store_space_clear(chunk->aside->reserved, part.from, part.to);
    store_space_clear(chunk->busy, part.from, part.to);
    chunk->aside->count -= size;
    space->reserved -= size;
    store_space_account(space, chunk, 0, 0 - size);
    store_space_drop_aside(space, chunk);
  }
  store_reserve_count(store);
  kl_mutex_unlock(&store->space_lock);
}

kl_status kl_store_write_reserved(kl_store *store, uint64_t address, const kl_slice *parts, size_t count,
                                  kl_error *err) {
  uint64_t blocks = store_blocks_of_parts(parts, count);
  kl_status status = store_checkpoint_allowed(store, err);
  if (status != KL_OK) return status; /* a checkpoint that failed may have these blocks (STORE-14) */
  kl_mutex_lock(&store->space_lock);
  bool allowed =
      address % KL_BLOCK_SIZE == 0 && store_space_is_reserved(&store->space, address / KL_BLOCK_SIZE, blocks);
  kl_mutex_unlock(&store->space_lock);
  if (allowed) return store_blocks_write(store, address, parts, count, err);
  return KL_BROKEN(err, "STORE-14: %" PRIu64 " blocks at %" PRIu64 " are to be written and are not reserved", blocks,
                   address);
}

kl_status kl_store_sync(kl_store *store, kl_error *err) {
  kl_status status = store_checkpoint_allowed(store, err);
  return status == KL_OK ? store_checkpoint_sync(store, err) : status;
}
