/* core/drain/pages.h: the pages of one database file, for everyone who reads trees.
 *
 * kl_pages binds a store, a cache and an epoch domain into what core/tree calls a source, and hides what that takes:
 * entering the epoch, loads and their checks, KL_CACHE_RETRY, values in extents, pins. For a memory store there is no
 * cache: a page is where it lies.
 *
 * Roots. Every function takes the root of a tree (kl_roots_find). All that hangs below it must stay allocated during
 * the call: its checkpoint is among the `live` ones of every drain that runs meanwhile (drain.h). A null root is an
 * empty tree.
 *
 * Errors. KL_E_CORRUPT names the file, the block and the keys that the damaged page is about; it affects only reads
 * that need that block. KL_E_IO likewise. KL_E_NO_MEMORY. KL_E_VERSION: written by a newer Keel. KL_E_CLOSED: loads
 * after kl_pages_detach.
 *
 * Thread rules: kl_pages from any thread; a kl_held and a kl_pages_cursor belong to one thread at a time. Callbacks run
 * inside an epoch: they copy and return, and call nothing of this header. */
#ifndef KL_DRAIN_PAGES_H
#define KL_DRAIN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"
#include "../cache/cache.h"
#include "../os/os.h"
#include "../store/store.h"
#include "../tree/tree.h"

typedef struct kl_pages kl_pages;

typedef struct kl_pages_options {
  kl_os *os;
  kl_allocator *allocator; /* outlives the pages, and every kl_held and cursor of them */
  kl_store *store;         /* until kl_pages_detach */
  uint64_t cache_limit;    /* bytes, at least KL_CACHE_LIMIT_MIN; ignored for a memory store */
  kl_policy_kind policy;   /* 0: the default */
} kl_pages_options;

/* One reference. KL_E_INVALID (limit), KL_E_NO_MEMORY. */
kl_status kl_pages_new(const kl_pages_options *options, kl_pages **out_pages, kl_error *err);
void kl_pages_ref(kl_pages *pages);
void kl_pages_unref(kl_pages *pages); /* NULL is allowed */
/* The store is about to be closed: nobody is inside a call, and loads answer KL_E_CLOSED from now on. What is pinned,
 * or was copied, stays readable. */
void kl_pages_detach(kl_pages *pages);

/* All zero for a memory store. */
void kl_pages_cache_stats(const kl_pages *pages, kl_cache_stats *out_stats);
/* Outside of any callback. As kl_cache_set_limit; nothing for a memory store. */
kl_status kl_pages_set_limit(kl_pages *pages, uint64_t limit, kl_error *err);

/* -------- single values -------- */

/* A value that was read and stays readable, whatever is evicted, drained or reused. Small ones (KL_HELD_COPY) are
 * copied into a buffer that is kept for the next; of larger ones the frame is pinned; where the budget of pins is used
 * up, or the value is larger than the cache takes, it is in memory of its own. Zero-initialised it holds nothing. All
 * but `value` is private. */
typedef struct kl_held {
  kl_slice value; /* empty when it holds nothing */
  kl_pages *pages;
  const void *pin; /* what is pinned; NULL: nothing is */
  void *buffer;
  size_t capacity;
  kl_allocator *allocator; /* of the buffer */
  bool owns_pages;         /* has a reference on `pages` */
} kl_held;

/* Bytes of the largest value that is read as a whole: a longer one answers KL_E_LIMIT, and is read in parts. */
#define KL_PAGES_WHOLE ((UINT64_C(1) << 31) - 1)

enum {
  KL_HELD_COPY = 4096,      /* bytes up to which a value is copied */
  KL_HELD_BUFFER = 64 << 10 /* a larger buffer is given back when the value goes */
};

void kl_held_clear(kl_held *held);   /* lets go of the value, keeps the buffer */
void kl_held_destroy(kl_held *held); /* lets go of all; it may be used again */

/* Both let go of what `held` holds before. On any failure, it holds nothing. KL_E_NOT_FOUND comes without a message.
 * kl_pages_get: for the time of a transaction: let go before the last reference on the pages is dropped.
 * kl_pages_hold: for a view of its own life: it keeps the pages alive when it has to. */
kl_status kl_pages_get(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_held *held, kl_error *err);
kl_status kl_pages_hold(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_held *held, kl_error *err);
/* KL_OK: the key is there; KL_E_NOT_FOUND. */
kl_status kl_pages_contains(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_error *err);

/* As kl_pages_get, but a value in an extent is not loaded: *out_is_extent, and *out_extent says where it lies. */
kl_status kl_pages_look(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_held *held, bool *out_is_extent,
                        kl_tree_extent *out_extent, kl_error *err);

/* Called once for each key, in order of index. `value` is valid inside the callback only. Anything but KL_OK ends the
 * whole with that status. */
typedef kl_status (*kl_pages_get_row)(void *context, size_t index, bool found, kl_slice value, kl_error *err);
/* Many keys in any order, with their cache misses side by side. */
kl_status kl_pages_get_many(kl_pages *pages, const kl_tree_pointer *root, const kl_slice *keys, size_t count,
                            kl_pages_get_row row, void *context, kl_error *err);

/* -------- parts of values -------- */

/* What is kept of the value that was read in parts last: so that reading on, or about the same place, costs no more than
 * the bytes. Some 70 KiB, and 4 bytes for each 64 MiB of the value. One thread at a time. */
typedef struct kl_pages_part kl_pages_part;

/* Copies the bytes of the value from `offset` on, as many as it has and `capacity` is; *out_got: how many, 0 at its end
 * and behind it. *out_size: the size of the whole value. Only what is asked for is read from the file, up to parts of
 * 64 KiB, and all of it is verified; but a value without a table of checksums (extent.h), which is at most 1 MiB if this
 * version wrote it, is read as a whole. Large values are read past the cache. *part: NULL at first; for reads of any
 * values of any trees of these pages, and freed before the last reference on them. On failure the buffer may have been
 * changed. KL_E_NOT_FOUND comes without a message. */
kl_status kl_pages_get_part(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, uint64_t offset, void *buffer,
                            size_t capacity, kl_pages_part **part, size_t *out_got, uint64_t *out_size, kl_error *err);
void kl_pages_part_free(kl_pages_part *part); /* NULL is allowed */

/* -------- counts -------- */

/* As the functions of core/tree of these names. `high` NULL: to the end. */
kl_status kl_pages_rows(kl_pages *pages, const kl_tree_pointer *root, uint64_t *out_rows, kl_error *err);
kl_status kl_pages_rank(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, uint64_t *out_rank, kl_error *err);
kl_status kl_pages_count(kl_pages *pages, const kl_tree_pointer *root, kl_slice low, const kl_slice *high,
                         uint64_t *out_count, kl_error *err);
kl_status kl_pages_split_points(kl_pages *pages, const kl_tree_pointer *root, kl_slice low, const kl_slice *high,
                                size_t wanted, kl_tree_split *out_splits, size_t *out_count, kl_error *err);

/* -------- cursors -------- */

/* A row that was read ahead. Values above KL_PAGES_FAR bytes are not: `value.data` is NULL, and `value.size` their
 * size. */
typedef struct kl_pages_row {
  kl_slice key, value;
} kl_pages_row;

enum { KL_PAGES_FAR = 64 << 10 };

/* A place in a tree. It reads ahead, more from refill to refill, into buffers of its own, so that most moves are a few
 * instructions and no epoch is held between calls. Two buffers take turns: key and value of a row stay readable until
 * the second refill after they were shown, so at least until the move after the next. Keys that are given to a seek may
 * point into the cursor's buffers.
 *
 * `valid`, `is_far`, `waits`, `key`, `value` may be read; the rest is private. */
typedef struct kl_pages_cursor {
  bool valid;  /* stands on a row */
  bool is_far; /* value.data is NULL: kl_pages_cursor_value loads it */
  bool waits;  /* after a collect: the row at the cursor was not read yet; key and value are empty until
                  kl_pages_cursor_value. A move goes on from it as from any row */
  kl_slice key, value;
  const kl_pages_row *row, *first, *last; /* of the buffer at hand */
} kl_pages_cursor;

/* Nowhere. The cursor has a reference on the pages. It takes some KiB, and buffers when it reads. */
kl_status kl_pages_cursor_new(kl_pages *pages, const kl_tree_pointer *root, kl_pages_cursor **out_cursor,
                              kl_error *err);
void kl_pages_cursor_free(kl_pages_cursor *cursor); /* NULL is allowed */
/* The same cursor for another tree of the same pages: nowhere, its buffers kept. */
void kl_pages_cursor_reset(kl_pages_cursor *cursor, const kl_tree_pointer *root);

/* Each of these moves: KL_OK: it stands on a row; KL_E_NOT_FOUND (without a message): there is none, it is nowhere; an
 * error: it is nowhere. */
kl_status kl_pages_cursor_first(kl_pages_cursor *cursor, kl_error *err);
kl_status kl_pages_cursor_last(kl_pages_cursor *cursor, kl_error *err);
kl_status kl_pages_cursor_seek_ge(kl_pages_cursor *cursor, kl_slice key, kl_error *err);
kl_status kl_pages_cursor_seek_le(kl_pages_cursor *cursor, kl_slice key, kl_error *err);

/* Past the end of what was read ahead. */
kl_status kl_pages_cursor_next_slow(kl_pages_cursor *cursor, kl_error *err);
kl_status kl_pages_cursor_prev_slow(kl_pages_cursor *cursor, kl_error *err);

static inline void kl_pages_cursor_show(kl_pages_cursor *cursor) {
  cursor->key = cursor->row->key;
  cursor->value = cursor->row->value;
  cursor->is_far = cursor->value.data == NULL;
}

/* From nowhere: KL_E_NOT_FOUND. */
static inline kl_status kl_pages_cursor_next(kl_pages_cursor *cursor, kl_error *err) {
  if (!cursor->valid || cursor->row == cursor->last) return kl_pages_cursor_next_slow(cursor, err);
  cursor->row++;
  kl_pages_cursor_show(cursor);
  return KL_OK;
}
static inline kl_status kl_pages_cursor_prev(kl_pages_cursor *cursor, kl_error *err) {
  if (!cursor->valid || cursor->row == cursor->first) return kl_pages_cursor_prev_slow(cursor, err);
  cursor->row--;
  kl_pages_cursor_show(cursor);
  return KL_OK;
}

kl_status kl_pages_cursor_load(kl_pages_cursor *cursor, kl_error *err);
/* The value of the row at the cursor, loaded where it is far: then valid until the cursor moves. The cursor stays where
 * it is on failure, but for one that waits, which is nowhere then. KL_E_NOT_FOUND: it is nowhere. */
static inline kl_status kl_pages_cursor_value(kl_pages_cursor *cursor, kl_slice *out_value, kl_error *err) {
  if (!cursor->valid) return KL_E_NOT_FOUND;
  if (cursor->is_far || cursor->waits) {
    kl_status status = kl_pages_cursor_load(cursor, err);
    if (status != KL_OK) return status;
  }
  *out_value = cursor->value;
  return KL_OK;
}

/* Takes a row, whose bytes are valid inside the callback only. KL_OK: taken, go on. Anything else ends the whole with
 * that status; the row is not taken, and the cursor stands on it. */
typedef kl_status (*kl_pages_take_row)(void *context, kl_slice key, kl_slice value, kl_error *err);

typedef struct kl_pages_collect {
  bool forward;
  bool beyond;           /* begin behind (before) the row at the cursor, which does not wait, and not with it */
  const kl_slice *bound; /* forward: rows before it; backward: rows at or behind it; NULL: to the end */
  size_t max_rows;       /* 0: no bound */
  size_t max_bytes;      /* of keys and values, at least one row is taken; 0: no bound */
  kl_pages_take_row take;
  void *context;
} kl_pages_collect;

/* Gives the row at the cursor and those behind (before) it to the callback, straight from the pages. KL_OK: one of the
 * maxima was reached, and the cursor stands on the first row that was not given (it may wait); or it stands on a row
 * whose value is far (is_far), which the caller takes by kl_pages_cursor_value. KL_E_NOT_FOUND: the end or the bound
 * was reached; the cursor is nowhere. `out_rows`: how many were taken, in any case. */
kl_status kl_pages_cursor_collect(kl_pages_cursor *cursor, const kl_pages_collect *how, size_t *out_rows,
                                  kl_error *err);

#endif
