/* core/store/checkpoint.c: a checkpoint in progress, from begin to publish. See store.h; why it is safe: README.md. */
#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "store_private.h"

void store_checkpoint_count(kl_store *store) {
  const store_space *space = &store->space;
  uint64_t held = KL_SUPERBLOCKS + space->limbo.blocks + space->reserved;
  kl_store_space numbers = {.file_bytes = store->file_bytes,
                            .blocks_end = space->frontier * KL_BLOCK_SIZE,
                            .used_bytes = (space->root.used - KL_SUPERBLOCKS) * KL_BLOCK_SIZE,
                            .limbo_bytes = space->limbo.blocks * KL_BLOCK_SIZE,
                            .limbo_entries = space->limbo.count,
                            .reserved_bytes = space->reserved * KL_BLOCK_SIZE,
                            .map_bytes = store_space_memory(space)};
  uint64_t taken = numbers.used_bytes / KL_BLOCK_SIZE + held;
  numbers.free_bytes = space->frontier > taken ? (space->frontier - taken) * KL_BLOCK_SIZE : 0;
  kl_mutex_lock(&store->lock);
  store->numbers = numbers;
  kl_mutex_unlock(&store->lock);
}

kl_status store_checkpoint_allowed(kl_store *store, kl_error *err) {
  if (store->read_only) return kl_fail(err, KL_E_READ_ONLY, "database '%s' is open read-only", store->path);
  kl_mutex_lock(&store->lock);
  bool poisoned = store->poisoned;
  kl_mutex_unlock(&store->lock);
  if (poisoned) {
    return kl_fail(err, KL_E_POISONED, "a checkpoint of database '%s' could not be written; open it anew", store->path);
  }
  return KL_OK;
}

/* STORE-8: what no reader and no recovery needs any more is free. `taken`: one more version that readers may hold. */
static void store_checkpoint_reclaim(kl_store *store, uint64_t taken) {
  uint64_t needed[4] = {store->newest.checkpoint.sequence, taken};
  uint64_t end = store->newest.blocks_end;
  size_t count = 2;
  if (store->has_previous) {
    needed[count++] = store->previous.checkpoint.sequence;
    if (store->previous.blocks_end > end) end = store->previous.blocks_end;
  }
  if (store->has_before) {
    needed[count++] = store->before.checkpoint.sequence;
    if (store->before.blocks_end > end) end = store->before.blocks_end;
  }
  store_limbo_settle(&store->space.limbo, needed, count, store_space_unbusy, &store->space);
  end /= KL_BLOCK_SIZE;
  store_space_trim(&store->space, end > KL_SUPERBLOCKS ? end : KL_SUPERBLOCKS);
}

kl_status kl_store_begin(kl_store *store, const uint64_t *live, size_t live_count, kl_error *err) {
  kl_status status = store_checkpoint_allowed(store, err);
  if (status != KL_OK) return status;
  if (store->in_progress) {
    return kl_fail(err, KL_E_INVALID, "a checkpoint of database '%s' is in progress already", store->path);
  }
  kl_mutex_lock(&store->space_lock);
  status = store_limbo_set_live(&store->space.limbo, live, live_count, err);
  if (status == KL_OK) {
    store_checkpoint_reclaim(store, store->newest.checkpoint.sequence);
    status = store_space_cover(&store->space, store->space.frontier, err);
  }
  if (status == KL_OK) {
    store_space_start(&store->space);
    store->in_progress = true;
    store->birth = store->newest.checkpoint.sequence + 1;
    store_checkpoint_count(store);
  }
  kl_mutex_unlock(&store->space_lock);
  return status;
}

uint64_t kl_store_birth(const kl_store *store) {
  return store->birth;
}

static kl_status store_checkpoint_begun(const kl_store *store, kl_error *err) {
  if (store->in_progress) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "no checkpoint of database '%s' is in progress", store->path);
}

/* All that allocates. The run begins where one of `least` bytes is put, and has up to `most`. */
static kl_status store_checkpoint_allocate(kl_store *store, uint64_t least, uint64_t most, uint64_t end_block,
                                           uint64_t *out_address, uint64_t *out_bytes, kl_error *err) {
  kl_status status = store_checkpoint_begun(store, err);
  if (status != KL_OK) return status;
  if (least == 0) return kl_fail(err, KL_E_LIMIT, "no block is needed for nothing");
  uint64_t block = 0, blocks = store_blocks_count(most);
  kl_mutex_lock(&store->space_lock);
  status = store_space_allocate(&store->space, store_blocks_count(least), &blocks, end_block, &block, err);
  kl_mutex_unlock(&store->space_lock);
  if (status != KL_OK) return status;
  *out_address = block * KL_BLOCK_SIZE;
  *out_bytes = blocks * KL_BLOCK_SIZE;
  return KL_OK;
}

kl_status kl_store_allocate(kl_store *store, uint64_t bytes, uint64_t *out_address, kl_error *err) {
  uint64_t got;
  return store_checkpoint_allocate(store, bytes, bytes, STORE_SPACE_NONE, out_address, &got, err);
}

kl_status kl_store_allocate_some(kl_store *store, uint64_t least, uint64_t most, uint64_t *out_address,
                                 uint64_t *out_bytes, kl_error *err) {
  return store_checkpoint_allocate(store, least, most < least ? least : most, STORE_SPACE_NONE, out_address, out_bytes,
                                   err);
}

kl_status kl_store_allocate_before(kl_store *store, uint64_t bytes, uint64_t end, uint64_t *out_address,
                                   kl_error *err) {
  uint64_t got;
  return store_checkpoint_allocate(store, bytes, bytes, end / KL_BLOCK_SIZE, out_address, &got, err);
}

kl_status kl_store_compact(kl_store *store, uint64_t *out_end, kl_error *err) {
  kl_status status = store_checkpoint_begun(store, err);
  if (status != KL_OK) return status;
  uint64_t block = 0, one = 1, end = 0;
  kl_mutex_lock(&store->space_lock);
  status = store_space_compact(&store->space, &end, err);
  /* One block more and one less: the map, which describes itself, gets a new root in any case. */
  if (status == KL_OK) status = store_space_allocate(&store->space, 1, &one, STORE_SPACE_NONE, &block, err);
  if (status == KL_OK) status = store_space_free(&store->space, block, 1, store->birth, store->birth, err);
  kl_mutex_unlock(&store->space_lock);
  if (status == KL_OK) *out_end = end * KL_BLOCK_SIZE;
  return status;
}

/* Under space_lock. */
static kl_status store_checkpoint_free(kl_store *store, const kl_store_run *run, kl_error *err) {
  if (run->address % KL_BLOCK_SIZE != 0 || run->bytes == 0) {
    return kl_fail(err, KL_E_CORRUPT, "database '%s': %" PRIu64 " bytes at %" PRIu64 " are to be freed: no blocks",
                   store->path, run->bytes, run->address);
  }
  return store_space_free(&store->space, run->address / KL_BLOCK_SIZE, store_blocks_count(run->bytes), run->birth,
                          store->birth, err);
}

kl_status kl_store_free_runs(kl_store *store, const kl_store_run *runs, size_t count, kl_error *err) {
  kl_status status = store_checkpoint_begun(store, err);
  if (status != KL_OK) return status;
  kl_mutex_lock(&store->space_lock);
  for (size_t i = 0; i < count && status == KL_OK; i++) status = store_checkpoint_free(store, &runs[i], err);
  kl_mutex_unlock(&store->space_lock);
  return status;
}

kl_status kl_store_free(kl_store *store, uint64_t address, uint64_t bytes, uint64_t birth, kl_error *err) {
  const kl_store_run run = {address, bytes, birth};
  return kl_store_free_runs(store, &run, 1, err);
}

kl_status kl_store_adopt(kl_store *store, uint64_t address, uint64_t bytes, kl_error *err) {
  kl_status status = store_checkpoint_begun(store, err);
  if (status != KL_OK) return status;
  kl_mutex_lock(&store->space_lock);
  status = store_space_adopt(&store->space, address / KL_BLOCK_SIZE, store_blocks_count(bytes), err);
  kl_mutex_unlock(&store->space_lock);
  return status;
}

void kl_store_abort(kl_store *store) {
  if (!store->in_progress) return;
  kl_mutex_lock(&store->space_lock);
  store_space_abort(&store->space, store->birth);
  store->in_progress = false;
  store_checkpoint_count(store);
  kl_mutex_unlock(&store->space_lock);
}

static void store_checkpoint_advance(kl_store *store, const store_superblock *next) {
  bool in_file = !kl_store_is_memory(store);
  kl_mutex_lock(&store->lock);
  if (in_file && !store_superblock_same_roots(&store->newest, next)) {
    store->before = store->newest;
    store->has_before = true;
  }
  store->previous = store->newest;
  store->has_previous = in_file;
  store->newest = *next;
  store->published = true;
  kl_mutex_unlock(&store->lock);
}

static void store_checkpoint_poison(kl_store *store) {
  kl_mutex_lock(&store->lock);
  store->poisoned = true; /* nothing is known of what was written; trying again would not tell (OS-2) */
  kl_mutex_unlock(&store->lock);
}

kl_status store_checkpoint_seal(kl_store *store, const store_superblock *next, kl_error *err) {
  if (!kl_store_is_memory(store)) {
    kl_status status = store_ring_write(store, next, err);
    if (status == KL_OK) status = kl_os_sync(store->os, store->file, true, err);
    if (status != KL_OK) { /* which of the two is on disk is not known */
      store_checkpoint_poison(store);
      return status;
    }
  }
  store_checkpoint_advance(store, next);
  if (store->in_progress) return KL_OK; /* store_checkpoint_settle follows */
  kl_mutex_lock(&store->space_lock);
  store->space.bounds = store_superblock_bounds(next);
  kl_mutex_unlock(&store->space_lock);
  return KL_OK;
}

kl_status store_checkpoint_sync(kl_store *store, kl_error *err) {
  if (kl_store_is_memory(store)) return KL_OK;
  kl_mutex_lock(&store->space_lock);
  uint64_t number = store->size_number;
  bool size_too = store->size_synced != number;
  kl_mutex_unlock(&store->space_lock);
  kl_status status = kl_os_sync(store->os, store->file, !size_too, err);
  if (status != KL_OK) {
    store_checkpoint_poison(store);
    return status;
  }
  kl_mutex_lock(&store->space_lock);
  /* What grew meanwhile is for the next one; and of two syncs side by side the later may have begun first. */
  if (size_too && store->size_synced < number) store->size_synced = number;
  kl_mutex_unlock(&store->space_lock);
  return KL_OK;
}

/* Writes one superblock, or two that differ in nothing but number and time (STORE-4). */
static kl_status store_checkpoint_name(kl_store *store, store_superblock *next, kl_error *err) {
  if (store->newest.checkpoint.sequence > STORE_SEQUENCE_MOST - 2) {
    return kl_fail(err, KL_E_LIMIT, "database '%s' has no numbers left for checkpoints", store->path);
  }
  bool twice = next->checkpoint.log_needed != store->newest.checkpoint.log_needed && !kl_store_is_memory(store);
  kl_status status = KL_OK;
  for (int i = 0; i < (twice ? 2 : 1) && status == KL_OK; i++) {
    next->checkpoint.sequence = store->newest.checkpoint.sequence + 1;
    next->checkpoint.wall_ns = kl_os_wall_ns(store->os);
    status = store_checkpoint_seal(store, next, err);
  }
  return status;
}

/* STORE-15: what was published is the newest for the space, too, all at once. */
static void store_checkpoint_settle(kl_store *store, const store_superblock *next, bool other_roots) {
  kl_mutex_lock(&store->space_lock);
  /* A recovery goes back to what was opened, at most, and what died since is in limbo. */
  if (other_roots && !kl_store_is_memory(store)) store->space.has_older = false;
  store->space.bounds = store_superblock_bounds(next);
  store_space_commit(&store->space);
  store->in_progress = false;
  /* Readers that begin() did not know of may have taken the checkpoint that was the newest meanwhile. */
  store_checkpoint_reclaim(store, store->birth - 1);
  store_blocks_shrink(store);
  store_checkpoint_count(store);
  kl_mutex_unlock(&store->space_lock);
}

static kl_status store_checkpoint_finish(kl_store *store, store_superblock *next, kl_error *err) {
  const store_superblock base = store->newest;
  uint64_t end_block = store_superblock_bounds(&base).end_block;
  kl_mutex_lock(&store->space_lock);
  kl_status status = store_space_write(&store->space, store->birth, &next->space_map, &end_block, err);
  bool changed = store->space.dirty_count != 0;
  kl_mutex_unlock(&store->space_lock);
  if (status != KL_OK) return status;
  if (changed) {
    next->blocks_end = end_block * KL_BLOCK_SIZE;
    status = store_checkpoint_sync(store, err); /* what will be named is on stable storage before it is */
  }
  if (status == KL_OK) status = store_checkpoint_name(store, next, err);
  if (status != KL_OK) return status;
  store_checkpoint_settle(store, next, !store_superblock_same_roots(&base, next));
  return KL_OK;
}

kl_status kl_store_publish(kl_store *store, kl_checkpoint *checkpoint, kl_error *err) {
  kl_status status = store_checkpoint_allowed(store, err);
  if (status == KL_OK) {
    store_superblock next = store->newest; /* one publisher: nobody else changes it */
    next.checkpoint = *checkpoint;
    if (store->in_progress) {
      status = store_checkpoint_finish(store, &next, err);
    } else {
      next.checkpoint.catalogue = store->newest.checkpoint.catalogue;
      status = store_checkpoint_name(store, &next, err);
    }
  }
  if (status == KL_OK) {
    *checkpoint = store->newest.checkpoint;
  } else {
    kl_store_abort(store);
  }
  return status;
}
