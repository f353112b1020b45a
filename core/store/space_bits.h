/* core/store/space_bits.h: runs of bits in the bitmaps of a chunk. Private to core/store. Pure functions. */
#ifndef KL_STORE_SPACE_BITS_H
#define KL_STORE_SPACE_BITS_H

#include "space_map.h"

static inline uint64_t store_space_mask(uint64_t from, uint64_t to, uint64_t word) {
  uint64_t low = from > word * 64 ? from - word * 64 : 0, high = to - word * 64;
  return (high >= 64 ? UINT64_MAX : (UINT64_C(1) << high) - 1) & (UINT64_MAX << low);
}

/* The bits of a run that lie in one chunk. */
typedef struct store_space_part {
  uint64_t number; /* of the chunk */
  uint64_t from, to;
} store_space_part;

/* Cuts the next part off a run; false at its end. */
static inline bool store_space_next_part(uint64_t *block, uint64_t *blocks, store_space_part *out) {
  if (*blocks == 0) return false;
  out->number = *block / STORE_MAP_BITS;
  out->from = *block % STORE_MAP_BITS;
  out->to = *blocks < STORE_MAP_BITS - out->from ? out->from + *blocks : STORE_MAP_BITS;
  *block += out->to - out->from;
  *blocks -= out->to - out->from;
  return true;
}

/* How many bits from `from` to `to` are set. */
static inline uint64_t store_space_count(const uint64_t *words, uint64_t from, uint64_t to) {
  uint64_t count = 0;
  for (uint64_t word = from / 64; word * 64 < to; word++) {
    count += (uint64_t)__builtin_popcountll(words[word] & store_space_mask(from, to, word));
  }
  return count;
}

static inline void store_space_set(uint64_t *words, uint64_t from, uint64_t to) {
  for (uint64_t word = from / 64; word * 64 < to; word++) words[word] |= store_space_mask(from, to, word);
}

static inline void store_space_clear(uint64_t *words, uint64_t from, uint64_t to) {
  for (uint64_t word = from / 64; word * 64 < to; word++) words[word] &= ~store_space_mask(from, to, word);
}

/* The first bit from `from` on that is set (`set`) or clear; `to` when there is none before. */
static inline uint64_t store_space_scan(const uint64_t *words, uint64_t from, uint64_t to, bool set) {
  for (uint64_t word = from / 64; word * 64 < to; word++) {
    uint64_t hits = (set ? words[word] : ~words[word]) & store_space_mask(from, to, word);
    if (hits != 0) return word * 64 + (uint64_t)__builtin_ctzll(hits);
  }
  return to;
}

#endif
