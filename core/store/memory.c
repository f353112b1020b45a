/* core/store/memory.c: the blocks of a memory store: one run of address space, whose pages come and go at its end. */
#include <inttypes.h>

#include "store_private.h"

#define STORE_MEMORY_UNKNOWN \
  (UINT64_C(64) << 30) /* address space when the system does not tell how much memory it has */
#define STORE_MEMORY_LEAST (UINT64_C(16) << 20)

static uint64_t store_memory_round(uint64_t bytes) {
  return (bytes + KL_MEMORY_HUGE - 1) / KL_MEMORY_HUGE * KL_MEMORY_HUGE;
}

kl_status store_memory_new(kl_store *store, kl_error *err) {
  store_memory *memory = &store->memory;
  uint64_t physical = kl_os_physical_memory(store->os);
  /* Twice of what there is leaves room for swapping; address space costs nothing. Where it is limited, less will do. */
  uint64_t want = store_memory_round(physical != 0 ? physical * 2 : STORE_MEMORY_UNKNOWN);
  kl_status status = KL_E_NO_MEMORY;
  for (; want >= STORE_MEMORY_LEAST; want = store_memory_round(want / 2)) {
    void *base = NULL;
    status = kl_os_map(store->os, want, &base, err);
    if (status == KL_OK) {
      memory->base = base;
      memory->reserved = want;
    }
    if (status != KL_E_NO_MEMORY) break;
  }
  return status;
}

void store_memory_free(kl_store *store) {
  if (store->memory.base != NULL) kl_os_unmap(store->os, store->memory.base, store->memory.reserved);
}

kl_status store_memory_ensure(kl_store *store, uint64_t bytes, kl_error *err) {
  store_memory *memory = &store->memory;
  if (bytes > memory->reserved) {
    return kl_fail(err, KL_E_NO_MEMORY,
                   "the database in memory needs %" PRIu64 " bytes and has address space for %" PRIu64
                   "; delete something, or use a file",
                   bytes, memory->reserved);
  }
  if (bytes > memory->committed) {
    uint64_t want = store_memory_round(bytes + store_blocks_step(bytes));
    if (want > memory->reserved) want = memory->reserved;
    /* The first pages are small ones: most databases in memory are, too. */
    kl_status status = kl_os_commit(store->os, memory->base + memory->committed, want - memory->committed,
                                    memory->committed != 0, err);
    if (status != KL_OK) return status;
    memory->committed = want;
    atomic_store_explicit(&memory->readable, want, memory_order_release); /* see kl_store_memory */
  }
  store->file_bytes = memory->committed;
  return KL_OK;
}

void store_memory_shrink(kl_store *store, uint64_t bytes) {
  uint64_t keep = store_memory_round(bytes);
  if (keep >= store->file_bytes) return;
  kl_os_release(store->os, store->memory.base + keep, store->file_bytes - keep);
  store->file_bytes = keep; /* stays committed */
}
