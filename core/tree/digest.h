/* core/tree/digest.h: what a point look-up asks of a leaf, kept beside the leaf. Private to core/tree.
 *
 * A look-up in a leaf waits for two cache misses, one after the other: the page's start, where the fingerprints are,
 * and the row. A digest holds the fingerprints apart, so that those of many leaves lie in few lines, which stay in the
 * CPU's caches; and where all rows of a leaf are of one size, also where row i begins. Then a key that is there costs
 * one miss, and one that is not there mostly none.
 *
 * It is made from a page that was checked, lives and dies with the page's place in memory, and never leaves it: so the
 * file's format knows nothing of it, and its numbers are in the byte order of the machine. */
#ifndef KL_TREE_DIGEST_H
#define KL_TREE_DIGEST_H

#include "page.h"

enum {
  TREE_DIGEST_NONE = 0, /* of `kind`: not a leaf, or its fingerprints do not fit; nothing else is set */
  TREE_DIGEST_LEAF = 1,
  TREE_DIGEST_LEAF_SECOND = 2, /* with second bytes */
  TREE_DIGEST_PREFIX = 6,      /* bytes of the page's prefix that are kept */
  TREE_DIGEST_UNEVEN = 0xffff  /* of `key_size` */
};

typedef struct tree_digest {
  uint8_t kind;
  uint8_t prefix_size; /* TREE_DIGEST_PREFIX + 1: longer than what is in `prefix` */
  uint16_t count;
  uint16_t rows_at;  /* where the first row lies in the page */
  uint16_t row_size; /* bytes of a row; where they differ, of the average one, which is a guess at where they lie */
  uint16_t key_size; /* of each row's key behind the prefix. UNEVEN: rows differ in size of key or value, or one has its
                        value in an extent */
  uint8_t prefix[TREE_DIGEST_PREFIX];
  /* Of `count` rows, with room for the rest of the last sixteen. Then, of LEAF_SECOND, another byte of each row's hash:
   * of the rows of a leaf about one in eight leaves has one with the fingerprint of a key that is not there, and its
   * row would be fetched only to see that. */
  uint8_t fingerprints[];
} tree_digest;

static inline size_t tree_digest_bytes(uint32_t count) {
  return (count + 15) & ~(size_t)15;
}

/* Where the digest of a page of this source is; NULL: the source keeps none of it. Does not touch the page. */
static inline const tree_digest *tree_digest_at(const kl_tree_source *source, const uint8_t *page) {
  uint64_t offset = (uint64_t)((uintptr_t)page - (uintptr_t)source->frames);
  if (source->digests == NULL || offset >= source->frames_size) return NULL;
  return (const tree_digest *)(const void *)(source->digests + offset / KL_TREE_PAGE_MIN * KL_TREE_DIGEST_STRIDE);
}

/* The digest, if the page is a leaf that has one. */
static inline const tree_digest *tree_digest_of(const kl_tree_source *source, const uint8_t *page) {
  const tree_digest *digest = tree_digest_at(source, page);
  return digest != NULL && digest->kind != TREE_DIGEST_NONE ? digest : NULL;
}

/* All rows are of the same sizes, and the page's prefix is in the digest: no more of the page is read than the row. */
static inline bool tree_digest_is_even(const tree_digest *digest) {
  return digest->key_size != TREE_DIGEST_UNEVEN && digest->prefix_size <= TREE_DIGEST_PREFIX;
}

/* Asks for a row of a few lines; what is longer the CPU goes on with by itself. */
__attribute__((always_inline)) static inline void tree_prefetch_row(const uint8_t *row, uint32_t size) {
  __builtin_prefetch(row);
  if (size > 64) __builtin_prefetch(row + 64);
  __builtin_prefetch(row + size - 1);
}

#endif
