/* core/tree/page.h: where things lie in a page, and how a key is found in it. Private to core/tree.
 *
 * Pages are immutable, so nothing has room to grow: arrays and records lie one behind the other, and the number of
 * entries says where each begins. Everything here relies on kl_tree_page_check and checks nothing. Byte tables:
 * docs/format.md.
 *
 * Two kinds of search. A range of a page is found by its heads: the four bytes of each key behind the page's common
 * prefix, as a number, in one array that binary search walks without touching a key. A point is found by fingerprint
 * (probe.h): one byte per row, sixteen compared at once, and mostly a single row is looked at. */
#ifndef KL_TREE_PAGE_H
#define KL_TREE_PAGE_H

#include "../base/endian.h"
#include "heads.h"
#include "tree.h"

enum {
  TREE_MAGIC = 0x1a47504b, /* "KPG" and 0x1A */
  TREE_VERSION = 1,
  TREE_HEADER = 32,
  TREE_AT_MAGIC = 0,
  TREE_AT_VERSION = 4,
  TREE_AT_LEVEL = 5,
  TREE_AT_FLAGS = 6,
  TREE_AT_LENGTH = 8,
  TREE_AT_COUNT = 12,
  TREE_AT_PREFIX = 14,
  TREE_SLOT_EXTENT = 0x8000, /* in the key size of a leaf's slot: the value is a reference to an extent */
  TREE_CHILD_SIZE = KL_TREE_POINTER_SIZE + 8
};

static inline uint32_t tree_page_level(const uint8_t *page) {
  return page[TREE_AT_LEVEL];
}
static inline uint32_t tree_page_length(const uint8_t *page) {
  return kl_load_u32_le(page + TREE_AT_LENGTH);
}
static inline uint32_t tree_page_count(const uint8_t *page) {
  return kl_load_u16_le(page + TREE_AT_COUNT);
}
static inline uint32_t tree_page_prefix_size(const uint8_t *page) {
  return kl_load_u16_le(page + TREE_AT_PREFIX);
}

/* The keys of a page: rows of a leaf, separators of an inner page (one fewer than children). */
typedef struct tree_keys {
  const uint8_t *page, *heads, *slots, *prefix;
  uint32_t count, prefix_size;
  bool is_leaf;
} tree_keys;

static inline uint32_t tree_leaf_heads_at(uint32_t count) {
  return TREE_HEADER + ((count + 15) & ~UINT32_C(15));
}
static inline uint32_t tree_leaf_prefix_at(uint32_t count) {
  return tree_leaf_heads_at(count) + 8 * count;
}
static inline uint32_t tree_inner_children_at(uint32_t children) {
  return (TREE_HEADER + 6 * (children - 1) + 7) & ~UINT32_C(7);
}
static inline uint32_t tree_inner_prefix_at(uint32_t children) {
  return tree_inner_children_at(children) + TREE_CHILD_SIZE * children;
}

static inline tree_keys tree_leaf_keys(const uint8_t *page) {
  uint32_t count = tree_page_count(page);
  const uint8_t *heads = page + tree_leaf_heads_at(count), *slots = heads + 4 * (size_t)count;
  return (tree_keys){page, heads, slots, slots + 4 * (size_t)count, count, tree_page_prefix_size(page), true};
}

static inline tree_keys tree_inner_keys(const uint8_t *page) {
  uint32_t children = tree_page_count(page), count = children - 1;
  const uint8_t *heads = page + TREE_HEADER, *prefix = page + tree_inner_prefix_at(children);
  return (tree_keys){page, heads, heads + 4 * (size_t)count, prefix, count, tree_page_prefix_size(page), false};
}

/* A key without the page's prefix. */
static inline kl_slice tree_keys_suffix(const tree_keys *keys, uint32_t i) {
  if (keys->is_leaf) {
    const uint8_t *slot = keys->slots + 4 * (size_t)i;
    return kl_slice_make(keys->page + kl_load_u16_le(slot), kl_load_u16_le(slot + 2) & (TREE_SLOT_EXTENT - 1));
  }
  const uint8_t *slot = keys->slots + 2 * (size_t)i;
  uint32_t at = kl_load_u16_le(slot);
  uint32_t end = i + 1 < keys->count ? kl_load_u16_le(slot + 2) : tree_page_length(keys->page);
  return kl_slice_make(keys->page + at, end - at);
}

static inline void tree_leaf_value(const tree_keys *keys, uint32_t i, kl_tree_value *out) {
  const uint8_t *slot = keys->slots + 4 * (size_t)i;
  uint32_t field = kl_load_u16_le(slot + 2), at = kl_load_u16_le(slot) + (field & (TREE_SLOT_EXTENT - 1));
  uint32_t end = i + 1 < keys->count ? kl_load_u16_le(slot + 4) : tree_page_length(keys->page);
  out->bytes = kl_slice_make(keys->page + at, end - at);
  out->found = true;
  out->is_extent = (field & TREE_SLOT_EXTENT) != 0;
}

/* The whole key, put together in `out` (KL_TREE_KEY_MAX bytes). */
static inline kl_slice tree_keys_copy(const tree_keys *keys, uint32_t i, uint8_t *out) {
  kl_slice suffix = tree_keys_suffix(keys, i);
  memcpy(out, keys->prefix, keys->prefix_size);
  memcpy(out + keys->prefix_size, suffix.data, suffix.size);
  return kl_slice_make(out, keys->prefix_size + suffix.size);
}

/* The first four bytes as a number that sorts as they do; missing ones count as zero, so that equal heads decide
 * nothing. */
static inline uint32_t tree_head(const uint8_t *data, size_t size) {
  if (size >= 4) return kl_load_u32_be(data);
  uint32_t head = 0;
  for (size_t i = 0; i < size; i++) head |= (uint32_t)data[i] << (24 - 8 * i);
  return head;
}

static inline size_t tree_common_prefix(kl_slice a, kl_slice b) {
  size_t n = a.size < b.size ? a.size : b.size, i = 0;
  const uint8_t *p = a.data, *q = b.data;
  while (i < n && p[i] == q[i]) i++;
  return i;
}

/* The first key that is not before `key`; *out_equal: it is `key`. */
static inline uint32_t tree_keys_search(const tree_keys *keys, kl_slice key, bool *out_equal) {
  *out_equal = false;
  if (keys->prefix_size != 0) {
    size_t n = key.size < keys->prefix_size ? key.size : keys->prefix_size;
    int order = n != 0 ? memcmp(key.data, keys->prefix, n) : 0;
    if (order < 0 || (order == 0 && key.size < keys->prefix_size)) return 0;
    if (order > 0) return keys->count;
    key = kl_slice_make((const uint8_t *)key.data + keys->prefix_size, key.size - keys->prefix_size);
  }
  uint32_t head = tree_head(key.data, key.size), low = 0, left = keys->count;
  while (left > TREE_HEADS_RUN) { /* without branches that depend on the keys */
    uint32_t half = left / 2;
    low += kl_load_u32_le(keys->heads + 4 * (size_t)(low + half - 1)) < head ? half : 0;
    left -= half;
  }
  low += tree_heads_below(keys->heads + 4 * (size_t)low, left, head);
  uint32_t high = keys->count;
  while (low < high && kl_load_u32_le(keys->heads + 4 * (size_t)low) == head) { /* equal heads: the rest decides */
    uint32_t middle = low + (high - low) / 2;
    if (kl_load_u32_le(keys->heads + 4 * (size_t)middle) != head) {
      high = middle;
      continue;
    }
    int order = kl_slice_compare(tree_keys_suffix(keys, middle), key);
    if (order == 0) {
      *out_equal = true;
      return middle;
    }
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* The child whose range holds `key`. */
static inline uint32_t tree_inner_search(const uint8_t *page, kl_slice key) {
  tree_keys keys = tree_inner_keys(page);
  bool equal;
  uint32_t i = tree_keys_search(&keys, key, &equal);
  return i + (equal ? 1 : 0);
}

static inline const uint8_t *tree_inner_child_at(const uint8_t *page, uint32_t i) {
  return page + tree_inner_children_at(tree_page_count(page)) + (size_t)KL_TREE_POINTER_SIZE * i;
}

static inline void tree_pointer_decode(const uint8_t *from, kl_tree_pointer *out) {
  out->address = kl_load_u64_le(from);
  out->length = kl_load_u32_le(from + 8);
  out->checksum = kl_load_u32_le(from + 12);
  out->birth = kl_load_u64_le(from + 16);
}
static inline void tree_pointer_encode(const kl_tree_pointer *pointer, uint8_t *to) {
  kl_store_u64_le(to, pointer->address);
  kl_store_u32_le(to + 8, pointer->length);
  kl_store_u32_le(to + 12, pointer->checksum);
  kl_store_u64_le(to + 16, pointer->birth);
}
void tree_extent_encode(const kl_tree_extent *extent, uint8_t *to);
void tree_extent_decode(const uint8_t *from, kl_tree_extent *out);

static inline void tree_inner_child(const uint8_t *page, uint32_t i, kl_tree_pointer *out) {
  tree_pointer_decode(tree_inner_child_at(page, i), out);
}
/* The number of rows below a child. */
static inline uint64_t tree_inner_rows(const uint8_t *page, uint32_t i) {
  uint32_t children = tree_page_count(page);
  return kl_load_u64_le(page + tree_inner_children_at(children) + (size_t)KL_TREE_POINTER_SIZE * children +
                        8 * (size_t)i);
}

/* -------- making pages -------- */

/* An entry on its way into a page: the key's bytes, then the value's, at `data + at`. In a leaf the value is the
 * row's, or an encoded extent; in an inner page it is an encoded pointer and the number of rows (TREE_CHILD_SIZE
 * bytes), and the key is the least key that may be below it. Entries lie in order without gaps, which makes the size
 * of a run O(1). */
typedef struct tree_entry {
  size_t at;
  uint32_t value_size;
  uint16_t key_size;
  bool is_extent;
} tree_entry;

static inline kl_slice tree_entry_key(const uint8_t *data, const tree_entry *entry) {
  return kl_slice_make(data + entry->at, entry->key_size);
}

/* Bytes of a page of `count` entries; `level` 0 makes a leaf. */
size_t tree_page_size_of(const uint8_t *data, const tree_entry *entries, size_t count, uint32_t level);
/* Writes that page into `out`, zeroing what no field covers; returns its length. Its size must fit. */
size_t tree_page_encode(const uint8_t *data, const tree_entry *entries, size_t count, uint32_t level, uint8_t *out);

/* -------- following pointers -------- */

enum { TREE_LEVEL_ANY = KL_TREE_LEVELS }; /* for a root */

kl_status tree_level_wrong(const kl_tree_pointer *pointer, uint32_t found, uint32_t wanted, kl_error *err);

/* Loads a page and sees to it that it is of the level that its parent promises (TREE-3). */
static inline kl_status tree_load(const kl_tree_source *source, const kl_tree_pointer *pointer, uint32_t level,
                                  const uint8_t **out_page, kl_error *err) {
  kl_status status = source->load(source->context, pointer, out_page, err);
  if (status != KL_OK) return status;
  if (level != TREE_LEVEL_ANY && tree_page_level(*out_page) != level) {
    return tree_level_wrong(pointer, tree_page_level(*out_page), level, err);
  }
  return KL_OK;
}

/* Asks for the arrays at a page's start. A search goes through them one cache miss after the other; asked for at once,
 * they come side by side. Always inlined, and line by line: gcc 12 takes a function or a loop that only prefetches
 * for one that does nothing, and removes it. */
__attribute__((always_inline)) static inline void tree_prefetch_arrays(const uint8_t *page) {
  __builtin_prefetch(page);
  __builtin_prefetch(page + 64);
  __builtin_prefetch(page + 128);
  __builtin_prefetch(page + 192);
  __builtin_prefetch(page + 256);
  __builtin_prefetch(page + 320);
}

/* Own copies of pages, one per level, for whoever reads on for longer than an epoch should last. */
typedef struct tree_frames {
  kl_allocator *allocator;
  const kl_tree_source *source;
  uint32_t page_size;
  uint8_t *page[KL_TREE_LEVELS];
} tree_frames;

/* The page, in the frame of its level; there until the next load of that level. KL_E_NO_MEMORY, as tree_load
 * otherwise. */
kl_status tree_frames_load(tree_frames *frames, const kl_tree_pointer *pointer, uint32_t level,
                           const uint8_t **out_page, kl_error *err);
void tree_frames_free(tree_frames *frames);

#endif
