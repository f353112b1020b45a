/* core/tree/heads.h: how many of a run of ascending heads are below one. Private to core/tree.
 *
 * A binary search is a chain: each look waits for the one before. Of a few dozen heads it is faster to compare all of
 * them, four at a time, and to count: nothing waits for anything, and no branch depends on the keys. */
#ifndef KL_TREE_HEADS_H
#define KL_TREE_HEADS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/endian.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Heads up to which counting beats halving once more. */
enum { TREE_HEADS_RUN = 48 };

static inline uint32_t tree_heads_below_portable(const uint8_t *heads, uint32_t count, uint32_t head) {
  uint32_t below = 0;
  for (uint32_t i = 0; i < count; i++) below += kl_load_u32_le(heads + 4 * (size_t)i) < head ? 1 : 0;
  return below;
}

/* Of `count` heads (little-endian, as pages have them); reads nothing behind the last. */
static inline uint32_t tree_heads_below(const uint8_t *heads, uint32_t count, uint32_t head) {
#if defined(__SSE2__)
  /* Only signed numbers can be compared: turning the top bit round keeps their order. */
  const __m128i bias = _mm_set1_epi32(INT32_MIN), wanted = _mm_xor_si128(_mm_set1_epi32((int32_t)head), bias);
  __m128i sum = _mm_setzero_si128();
  uint32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    __m128i four = _mm_loadu_si128((const __m128i *)(const void *)(heads + 4 * (size_t)i));
    sum = _mm_sub_epi32(sum, _mm_cmpgt_epi32(wanted, _mm_xor_si128(four, bias)));
  }
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return (uint32_t)_mm_cvtsi128_si32(sum) + tree_heads_below_portable(heads + 4 * (size_t)i, count - i, head);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  const uint32x4_t wanted = vdupq_n_u32(head);
  uint32x4_t sum = vdupq_n_u32(0);
  uint32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    uint32x4_t four = vreinterpretq_u32_u8(vld1q_u8(heads + 4 * (size_t)i));
    sum = vsubq_u32(sum, vcltq_u32(four, wanted));
  }
  return vaddvq_u32(sum) + tree_heads_below_portable(heads + 4 * (size_t)i, count - i, head);
#else
  return tree_heads_below_portable(heads, count, head);
#endif
}

#endif
