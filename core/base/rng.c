/* core/base/rng.c: see rng.h. */
#include "rng.h"

#include <string.h>

#include "endian.h"

uint64_t kl_mix64(uint64_t value) {
  value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
  return value ^ (value >> 31);
}

void kl_rng_init(kl_rng *rng, uint64_t seed) {
  /* Four successive outputs of splitmix64: never all zero, the one state that xoshiro cannot leave, because its
   * outputs are a bijection of four different counters. */
  for (int i = 0; i < 4; i++) {
    seed += UINT64_C(0x9e3779b97f4a7c15);
    rng->state[i] = kl_mix64(seed);
  }
}

static inline uint64_t rng_rotate_left(uint64_t value, int count) {
  return value << count | value >> (64 - count);
}

uint64_t kl_rng_next(kl_rng *rng) {
  uint64_t *s = rng->state;
  uint64_t result = rng_rotate_left(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rng_rotate_left(s[3], 45);
  return result;
}

uint64_t kl_rng_below(kl_rng *rng, uint64_t bound) {
  if (bound == 0) return 0;
  /* Numbers from `threshold` on fall into whole multiples of bound; the few below it would favour small results.
   * (0 - bound) % bound is 2^64 mod bound. */
  uint64_t threshold = (0 - bound) % bound;
  for (;;) {
    uint64_t value = kl_rng_next(rng);
    if (value >= threshold) return value % bound;
  }
}

void kl_rng_fill(kl_rng *rng, void *out, size_t size) {
  uint8_t *p = out;
  uint8_t word[8];
  while (size > 0) {
    size_t n = size < sizeof word ? size : sizeof word;
    kl_store_u64_le(word, kl_rng_next(rng)); /* by bytes, so that one seed gives the same bytes on every CPU */
    memcpy(p, word, n);
    p += n;
    size -= n;
  }
}
