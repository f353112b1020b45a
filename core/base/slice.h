/* core/base/slice.h: a borrowed run of bytes, and byte-wise (memcmp) order, the only key order that Keel has. */
#ifndef KL_BASE_SLICE_H
#define KL_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct kl_slice {
  const void *data; /* may be NULL when size is 0 */
  size_t size;
} kl_slice;

static inline kl_slice kl_slice_make(const void *data, size_t size) {
  kl_slice s = {data, size};
  return s;
}

/* <0, 0, >0 as a sorts before, with, or after b; a shorter key that is a prefix sorts first. */
static inline int kl_slice_compare(kl_slice a, kl_slice b) {
  size_t n = a.size < b.size ? a.size : b.size;
  int c = n != 0 ? memcmp(a.data, b.data, n) : 0;
  if (c != 0) return c;
  return (a.size > b.size) - (a.size < b.size);
}

static inline bool kl_slice_equal(kl_slice a, kl_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
