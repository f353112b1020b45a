/* core/store/blocks.c: the bytes of blocks, and the size of the file. See store.h and store_private.h. */
#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "store_private.h"

#define STORE_BLOCKS_STEP_LEAST (UINT64_C(1) << 20)
#define STORE_BLOCKS_STEP_MOST (UINT64_C(64) << 20)
#define STORE_BLOCKS_FIRST ((uint64_t)KL_SUPERBLOCKS * KL_BLOCK_SIZE)

static bool store_blocks_address_valid(uint64_t address, uint64_t length, uint64_t end) {
  return address % KL_BLOCK_SIZE == 0 && address >= STORE_BLOCKS_FIRST && address <= end && length <= end - address;
}

kl_status kl_store_read(kl_store *store, uint64_t address, void *buffer, size_t length, kl_error *err) {
  if (store->memory.base != NULL) {
    const void *from = kl_store_memory(store, address, length);
    if (from != NULL) {
      memcpy(buffer, from, length);
      return KL_OK;
    }
  } else if (store_blocks_address_valid(address, length, INT64_MAX)) {
    size_t got = 0;
    kl_status status = kl_os_read(store->os, store->file, buffer, length, address, &got, err);
    if (status != KL_OK || got == length) return status;
  }
  return kl_fail(err, KL_E_CORRUPT,
                 "database '%s': a pointer names %zu bytes in the block at %" PRIu64 ", where there are none",
                 store->path, length, address);
}

const void *kl_store_memory(const kl_store *store, uint64_t address, size_t length) {
  if (store->memory.base == NULL) return NULL;
  /* Acquire: the memory was committed before this said so. */
  uint64_t end = atomic_load_explicit(&store->memory.readable, memory_order_acquire);
  return store_blocks_address_valid(address, length, end) ? store->memory.base + address : NULL;
}

kl_status kl_store_write(kl_store *store, uint64_t address, const kl_slice *parts, size_t count, kl_error *err) {
  uint64_t length = 0;
  for (size_t i = 0; i < count; i++) length += parts[i].size;
  uint64_t blocks = (length + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE;
  kl_mutex_lock(&store->making);
  bool ours = store->in_progress && address % KL_BLOCK_SIZE == 0 &&
              store_space_is_new(&store->space, address / KL_BLOCK_SIZE, blocks);
  kl_mutex_unlock(&store->making); /* the blocks are the caller's alone */
  if (!ours) {
    return KL_BROKEN(err, "STORE-7: %" PRIu64 " bytes at %" PRIu64 " are not of the checkpoint in progress", length,
                     address);
  }
  if (store->memory.base == NULL) return kl_os_write(store->os, store->file, parts, count, address, err);
  uint8_t *to = store->memory.base + address;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].size != 0) memcpy(to, parts[i].data, parts[i].size);
    to += parts[i].size;
  }
  return KL_OK;
}

/* -------- the size of the file -------- */

uint64_t store_blocks_step(uint64_t bytes) {
  uint64_t step = bytes / 16;
  if (step < STORE_BLOCKS_STEP_LEAST) step = STORE_BLOCKS_STEP_LEAST;
  return step > STORE_BLOCKS_STEP_MOST ? STORE_BLOCKS_STEP_MOST : step;
}

/* In steps: a file that grows by every write has its size in the file system's journal every time. */
kl_status store_blocks_ensure(kl_store *store, uint64_t bytes, kl_error *err) {
  if (bytes <= store->file_bytes) return KL_OK;
  if (store->memory.base != NULL) return store_memory_ensure(store, bytes, err);
  uint64_t roomy = store->file_bytes + store_blocks_step(store->file_bytes);
  if (roomy < bytes) roomy = bytes;
  store->size_changed = true; /* also when it fails: it may have grown by a part */
  kl_status status = kl_os_allocate(store->os, store->file, store->file_bytes, roomy - store->file_bytes, err);
  if (status == KL_E_DISK_FULL && roomy != bytes) {
    roomy = bytes;
    status = kl_os_allocate(store->os, store->file, store->file_bytes, roomy - store->file_bytes, err);
  }
  if (status == KL_OK) store->file_bytes = roomy;
  return status;
}

/* STORE-11: what those superblocks need that a recovery could take, and at least `bytes`. */
static uint64_t store_blocks_needed(const kl_store *store, uint64_t bytes) {
  if (bytes < STORE_BLOCKS_FIRST) bytes = STORE_BLOCKS_FIRST;
  if (bytes < store->newest.blocks_end) bytes = store->newest.blocks_end;
  if (store->has_previous && bytes < store->previous.blocks_end) bytes = store->previous.blocks_end;
  if (store->has_before && bytes < store->before.blocks_end) bytes = store->before.blocks_end;
  return bytes;
}

void store_blocks_shrink(kl_store *store) {
  uint64_t needed = store_blocks_needed(store, store->space.frontier * KL_BLOCK_SIZE), step = store_blocks_step(needed);
  if (store->file_bytes <= needed) return;
  if (store->space.compacting) {
    step = 0; /* whoever compacts wants the space, not room to grow */
  } else if (store->file_bytes - needed <= 2 * step) {
    return;
  }
  if (store->memory.base != NULL) {
    store_memory_shrink(store, needed + step);
    return;
  }
  store->size_changed = true;
  if (kl_os_truncate(store->os, store->file, needed + step, NULL) == KL_OK) store->file_bytes = needed + step;
}

void store_blocks_cut(kl_store *store) {
  uint64_t needed = store_blocks_needed(store, 0);
  if (store->file_bytes > needed) (void)kl_os_truncate(store->os, store->file, needed, NULL);
}
