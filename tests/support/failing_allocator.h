/* tests/support/failing_allocator.h: an allocator over libc that counts, and fails the n-th allocation.
 *
 * Run a piece of code with fail_at = 0 to learn how many allocations it makes, then once per allocation with fail_at = 1,
 * 2, ...; each run must answer KL_E_NO_MEMORY, leave `live_bytes` as before, and work when repeated. Any thread. */
#ifndef KEEL_TESTS_FAILING_ALLOCATOR_H
#define KEEL_TESTS_FAILING_ALLOCATOR_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/base/memory.h"

typedef struct failing_allocator {
  kl_allocator base; /* first: the callbacks cast back; pass &x.base */
  atomic_uint_fast64_t count;
  atomic_uint_fast64_t fail_at; /* number of the allocation to fail, counted by `count` from 1; 0: none */
  atomic_uint_fast64_t live_bytes;
} failing_allocator;

static inline void *failing_allocator_alloc(kl_allocator *self, size_t size, size_t align) {
  failing_allocator *a = (failing_allocator *)self;
  uint64_t number = atomic_fetch_add(&a->count, 1) + 1;
  if (number == atomic_load(&a->fail_at)) return NULL;
  void *memory = kl_alloc_aligned(kl_allocator_libc(), size, align);
  if (memory != NULL) atomic_fetch_add(&a->live_bytes, size);
  return memory;
}

static inline void failing_allocator_free(kl_allocator *self, void *memory, size_t size) {
  failing_allocator *a = (failing_allocator *)self;
  if (memory != NULL) atomic_fetch_sub(&a->live_bytes, size);
  kl_free(kl_allocator_libc(), memory, size);
}

static inline void failing_allocator_init(failing_allocator *a) {
  a->base.alloc = failing_allocator_alloc;
  a->base.free = failing_allocator_free;
  a->base.reuse = NULL;
  atomic_init(&a->count, 0);
  atomic_init(&a->fail_at, 0);
  atomic_init(&a->live_bytes, 0);
}

/* From now on the n-th next allocation fails; 0: none does. */
static inline void failing_allocator_arm(failing_allocator *a, uint64_t n) {
  atomic_store(&a->fail_at, n == 0 ? 0 : atomic_load(&a->count) + n);
}

#endif
