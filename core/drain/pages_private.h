/* core/drain/pages_private.h: what the files of kl_pages share.
 *
 *   pages.c         life; the source; the loader behind the cache
 *   pages_value.c   values: copied, pinned, or in memory of their own
 *   pages_read.c    points, counts      pages_part.c   parts of large values
 *   pages_look.c    points, without loading what is large
 *   pages_cursor.c  cursors      pages_collect.c  scans straight from the pages
 *   pages_fault.c   which keys a page that cannot be read is about */
#ifndef KL_DRAIN_PAGES_PRIVATE_H
#define KL_DRAIN_PAGES_PRIVATE_H

#include <stdatomic.h>

#include "../base/epoch.h"
#include "extent.h"
#include "pages.h"
#include "stored.h"

struct kl_pages {
  kl_cache *cache; /* NULL: a memory store */
  kl_epoch *epoch; /* likewise */
  kl_cache_notes notes;
  kl_os *os;
  kl_allocator *allocator;
  _Atomic(kl_store *) store;    /* NULL after kl_pages_detach */
  _Atomic uint64_t extent_most; /* bytes of the largest value that goes through the cache */
  uint32_t page_size;
  _Atomic uint64_t references;
};

/* Bytes that were read past the cache: the cache had no room. */
typedef struct pages_aside {
  struct pages_aside *next;
  size_t size; /* of the allocation */
  _Alignas(16) uint8_t bytes[];
} pages_aside;

/* One operation: a stay inside the epoch, and what it read aside. `source` is for core/tree; it leads back here. */
typedef struct pages_op {
  kl_tree_source source;
  kl_pages *pages;
  kl_epoch_guard guard;
  uint32_t flags;       /* of kl_cache_get */
  uint32_t tries;       /* KL_CACHE_RETRY answers */
  uint32_t wanted;      /* bytes of the page that there was no room for */
  pages_aside *asides;  /* newest first */
  const uint8_t *ahead; /* the leaf behind this one; only ever asked for, as it may be gone */
  uint32_t ahead_size;
  kl_tree_pointer failed; /* the page whose load failed last */
} pages_op;

enum {
  PAGES_TRIES = 8, /* then the operation reads past the cache, so that it ends whatever others do */
  PAGES_EXTENT_HEAD = 16
};

/* What a reference of the cache says beside where and how long: bits of kl_cache_ref.address and .checksum. Pages and
 * extents have keys of their own, so that a forged tree cannot have bytes that were never checked as a page taken for
 * one. No block number reaches that high: a file has less than 2^63 bytes. */
#define PAGES_EXTENT_KEY (UINT64_C(1) << 52)

static inline kl_cache_ref pages_ref_of_page(const kl_tree_pointer *pointer) {
  return (kl_cache_ref){.address = pointer->address / KL_CACHE_BLOCK,
                        .checksum = pointer->birth << 32 | pointer->checksum,
                        .stored_length = pointer->length,
                        .length = pointer->length};
}

/* Enters the epoch. */
void pages_op_begin(pages_op *op, kl_pages *pages, uint32_t flags);
void pages_op_end(pages_op *op);
/* After KL_CACHE_RETRY: leaves the epoch, waits for room, enters again. All that was got is gone. */
void pages_op_retry(pages_op *op);
/* Leaves the epoch and enters it again, so that what others evicted can be used. */
void pages_op_renew(pages_op *op);

/* `prefetch` of a scan: the leaf that comes next, into op->ahead. */
void pages_prefetch_page(void *context, const kl_tree_pointer *pointer);
/* With row `i` of the `count` of this leaf, asks for the start of as large a part of the next one. All at once would be
 * more than the CPU keeps in flight, and what it foresees by itself ends with each page. (Always inlined, and no
 * loop: gcc 12 removes functions and loops that only prefetch.) */
__attribute__((always_inline)) static inline void pages_prefetch_part(const pages_op *op, uint32_t i, uint32_t count) {
  if (op->ahead == NULL) return;
  const uint8_t *at = op->ahead + (size_t)op->ahead_size * i / count;
  __builtin_prefetch(at);
  __builtin_prefetch(at + 64);
}

/* -------- values -------- */

/* An extent that is read after the epoch was left. */
typedef struct pages_extent {
  kl_tree_extent extent;
  bool waits;
} pages_extent;

/* The bytes of an extent, valid inside the operation: KL_OK; KL_CACHE_RETRY; KL_E_LIMIT without a message: it is not one
 * for the cache, read it with pages_extent_read outside of the epoch. */
kl_status pages_extent_bytes(pages_op *op, const kl_tree_extent *extent, kl_slice *out_bytes, bool *out_is_frame,
                             kl_error *err);
/* Bytes of the file, for kl_extent_check; `context` is the store. */
kl_status pages_read_store(void *context, uint64_t address, void *buffer, size_t length, kl_error *err);
/* Fills `buffer`, extent->length bytes, from the file, and checks it. */
kl_status pages_extent_read(kl_pages *pages, const kl_tree_extent *extent, void *buffer, kl_error *err);
kl_status pages_extent_check(const kl_pages *pages, const kl_tree_extent *extent, kl_error *err);

/* Makes `held`, which holds nothing, hold a copy. */
kl_status pages_held_copy(kl_held *held, kl_pages *pages, kl_slice value, kl_error *err);
/* Room for `size` bytes in its buffer, whose contents are lost. */
kl_status pages_held_reserve(kl_held *held, kl_pages *pages, size_t size, kl_error *err);
/* Makes it hold the value that was found, or says in *out_later what is to be read outside. KL_CACHE_RETRY. */
kl_status pages_held_take(kl_held *held, pages_op *op, const kl_tree_value *value, bool own_life,
                          pages_extent *out_later, kl_error *err);

/* -------- faults -------- */

/* `status` of an operation for `key`; direction -1, 0, 1: the page that failed is on the way to the key, or the next
 * one before or behind it. When it is about a page, says in `err` which keys that page holds; when it is about the
 * value of the key (`failed` null, direction 0), which key. Outside of the operation's epoch. Returns `status`. */
kl_status pages_explain(kl_pages *pages, const kl_tree_pointer *failed, const kl_tree_pointer *root, kl_slice key,
                        int direction, kl_status status, kl_error *err);

#endif
