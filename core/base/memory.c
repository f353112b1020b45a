/* core/base/memory.c: the allocator over the C library. See memory.h. */
#include "memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *memory_libc_alloc(kl_allocator *self, size_t size, size_t align) {
  (void)self;
  if (size == 0) size = 1; /* a pointer that is not NULL, so that NULL always means: no memory */
  /* calloc knows which pages come fresh from the system and leaves them untouched; large blocks that are not used
   * then cost no resident memory. Wider alignment is rare and small here. */
  if (align <= _Alignof(max_align_t)) return calloc(1, size);
  if (size > SIZE_MAX - (align - 1)) return NULL;
  size_t rounded = (size + align - 1) & ~(align - 1); /* aligned_alloc wants a multiple */
  void *memory = aligned_alloc(align, rounded);
  if (memory != NULL) memset(memory, 0, rounded);
  return memory;
}

static void memory_libc_free(kl_allocator *self, void *memory, size_t size) {
  (void)self;
  (void)size;
  free(memory);
}

kl_allocator *kl_allocator_libc(void) {
  /* Holds no state: never written, so that sharing it is safe. */
  static kl_allocator libc_allocator = {memory_libc_alloc, memory_libc_free, NULL};
  return &libc_allocator;
}

void *kl_realloc(kl_allocator *a, void *memory, size_t old_size, size_t new_size) {
  void *grown = kl_alloc(a, new_size);
  if (grown == NULL) return NULL;
  size_t keep = old_size < new_size ? old_size : new_size;
  if (keep != 0 && memory != NULL) memcpy(grown, memory, keep);
  kl_free(a, memory, old_size);
  return grown;
}
