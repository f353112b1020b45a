/* core/base/memory.h: the allocator that every module gets from its caller.
 *
 * core/ never calls malloc by itself: it takes a `kl_allocator *`, so that the simulated os can fail the n-th
 * allocation, and so that memory is accounted by part. Every allocation can fail; NULL is answered with
 * KL_E_NO_MEMORY and nothing is lost.
 *
 * Thread rules: an allocator may be used from any thread at once. */
#ifndef KL_BASE_MEMORY_H
#define KL_BASE_MEMORY_H

#include <stddef.h>

typedef struct kl_allocator kl_allocator;
struct kl_allocator {
  /* Zeroed memory of `size` bytes aligned to at least `align` (a power of two), or NULL. size 0 is allowed. */
  void *(*alloc)(kl_allocator *self, size_t size, size_t align);
  /* Frees what alloc of the same allocator gave, with its size; NULL is allowed. */
  void (*free)(kl_allocator *self, void *memory, size_t size);
  /* NULL, or: a block of that size which was freed, holding whatever it held; it is freed like others. NULL: there is
   * none. For those who would rather clear what they use than have the system clear all of it. */
  void *(*reuse)(kl_allocator *self, size_t size, size_t align);
};

/* The allocator over the C library. */
kl_allocator *kl_allocator_libc(void);

static inline void *kl_alloc(kl_allocator *a, size_t size) {
  return a->alloc(a, size, _Alignof(max_align_t));
}
static inline void *kl_alloc_aligned(kl_allocator *a, size_t size, size_t align) {
  return a->alloc(a, size, align);
}
static inline void *kl_reuse(kl_allocator *a, size_t size, size_t align) {
  return a->reuse != NULL ? a->reuse(a, size, align) : NULL;
}
static inline void kl_free(kl_allocator *a, void *memory, size_t size) {
  a->free(a, memory, size);
}

/* Grows (or shrinks) a block by allocating, copying and freeing; the old one stays valid when NULL is returned. */
void *kl_realloc(kl_allocator *a, void *memory, size_t old_size, size_t new_size);

#endif
