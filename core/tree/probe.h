/* core/tree/probe.h: fingerprints: one byte per row of a leaf, and finding a byte among them. Private to core/tree.
 *
 * A wrong row has the right fingerprint once in 256, so a look-up in a leaf of 32 rows reads one key, and an absent key
 * mostly none. The hash is part of the format (docs/format.md): it must give the same byte everywhere and for ever. */
#ifndef KL_TREE_PROBE_H
#define KL_TREE_PROBE_H

#include "../base/endian.h"
#include "../base/slice.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Up to seven bytes as a little-endian number, without a loop and without reading beside them. */
static inline uint64_t tree_hash_tail(const uint8_t *p, size_t rest) {
  if (rest >= 4) return kl_load_u32_le(p) | (uint64_t)kl_load_u32_le(p + rest - 4) << (8 * (rest - 4));
  return (uint64_t)p[0] | (uint64_t)p[rest / 2] << (8 * (rest / 2)) | (uint64_t)p[rest - 1] << (8 * (rest - 1));
}

static inline uint64_t tree_hash(kl_slice key) {
  const uint8_t *p = key.data;
  size_t left = key.size;
  uint64_t hash = left * UINT64_C(0x9e3779b97f4a7c15);
  for (; left >= 8; left -= 8, p += 8) {
    hash = (hash ^ kl_load_u64_le(p)) * UINT64_C(0xd6e8feb86659fd93);
    hash ^= hash >> 32;
  }
  if (left != 0) {
    hash = (hash ^ tree_hash_tail(p, left)) * UINT64_C(0xd6e8feb86659fd93);
    hash ^= hash >> 32;
  }
  return hash;
}

/* The byte that pages have. */
static inline uint8_t tree_hash_fingerprint(uint64_t hash) {
  return (uint8_t)(hash >> 56);
}
static inline uint8_t tree_fingerprint(kl_slice key) {
  return tree_hash_fingerprint(tree_hash(key));
}
/* Another byte, which only digests have. */
static inline uint8_t tree_hash_second(uint64_t hash) {
  return (uint8_t)(hash >> 48);
}

/* A bit for each of the sixteen bytes at `at` that equals `byte`, the first byte lowest. */
static inline uint32_t tree_probe_portable(const uint8_t *at, uint8_t byte) {
  uint32_t mask = 0;
  for (uint32_t i = 0; i < 16; i++) mask |= (uint32_t)(at[i] == byte) << i;
  return mask;
}

static inline uint32_t tree_probe(const uint8_t *at, uint8_t byte) {
#if defined(__SSE2__)
  __m128i group = _mm_loadu_si128((const __m128i *)(const void *)at);
  return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(group, _mm_set1_epi8((char)byte)));
#elif defined(__ARM_NEON) && defined(__aarch64__)
  static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  uint8x16_t bits = vandq_u8(vceqq_u8(vld1q_u8(at), vdupq_n_u8(byte)), vld1q_u8(weights));
  return (uint32_t)vaddv_u8(vget_low_u8(bits)) | (uint32_t)vaddv_u8(vget_high_u8(bits)) << 8;
#else
  return tree_probe_portable(at, byte);
#endif
}

#endif
