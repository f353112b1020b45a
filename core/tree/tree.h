/* core/tree/tree.h: the copy-on-write B+tree of ordered bytes.
 *
 * A tree is an immutable set of pages, written once, that hang below one root pointer; an empty tree is a null root.
 * kl_tree_merge reads an old tree and a sorted run of changes, writes the pages of a new one that shares all that did
 * not change, and says which pages the new one no longer uses. Nobody ever changes a page, so that a reader of any
 * root needs no lock, and a failed merge leaves nothing to undo.
 *
 * The module knows neither files nor caches: pages come from a kl_tree_source and go to a kl_tree_sink. Bytes of a
 * page: docs/format.md. Invariants TREE-1 ... and the sources: README.md.
 *
 * Keys are byte strings of 0 ... KL_TREE_KEY_MAX bytes in memcmp order. A value is stored in its leaf up to
 * kl_tree_inline_max(page_size) bytes, above as a reference to an extent.
 *
 * Thread rules: every read from any thread at once; a cursor, a merge and a walk belong to one thread at a time. Page
 * lifetime: what a source gives stays valid inside the caller's epoch; every slice that a read returns points into
 * such a page (or into the cursor) and lives as long. */
#ifndef KL_TREE_TREE_H
#define KL_TREE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/slice.h"
#include "../base/status.h"

enum {
  KL_TREE_KEY_MAX = 1024,
  KL_TREE_PAGE_MIN = 4096, /* bytes; page sizes are powers of two */
  KL_TREE_PAGE_MAX = 65536,
  KL_TREE_LEVELS = 24, /* a root is at most at level 23; every page above the leaves has at least two children */
  KL_TREE_POINTER_SIZE = 24,
  KL_TREE_EXTENT_SIZE = 40,
  KL_TREE_GROUP = 16,         /* keys that kl_tree_get_many looks up side by side */
  KL_TREE_DIGEST_SIZE = 112,  /* bytes of a page's digest, at least */
  KL_TREE_DIGEST_STRIDE = 128 /* from one to the next, for each KL_TREE_PAGE_MIN bytes of pages */
};

/* Where a page lies and what must be found there. All zero: there is none. */
typedef struct kl_tree_pointer {
  uint64_t address;
  uint32_t length;   /* bytes as stored */
  uint32_t checksum; /* CRC-32C of the bytes as stored */
  uint64_t birth;    /* the version (checkpoint) that wrote it */
} kl_tree_pointer;

static inline bool kl_tree_pointer_is_null(const kl_tree_pointer *p) {
  return p->address == 0 && p->length == 0 && p->checksum == 0 && p->birth == 0;
}

/* A value outside of the tree: contiguous bytes. The tree carries it, and never looks at what it refers to: what
 * `stored`, `checksum` and `chunk` mean is settled between those who write and who read it. */
typedef struct kl_tree_extent {
  uint64_t address;
  uint64_t length; /* bytes of the value */
  uint64_t stored; /* bytes as stored */
  uint64_t birth;
  uint32_t checksum;
  uint32_t chunk;
} kl_tree_extent;

/* -------- pages in and out -------- */

typedef struct kl_tree_source {
  /* The page that `pointer` names, whole and checked: the source compares the checksum and calls kl_tree_page_check
   * once, when it brings the page into memory. The tree checks nothing again but that a child is of the level below
   * its parent (a damaged tree cannot lead it in circles). The page starts at a multiple of 16. */
  kl_status (*load)(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page, kl_error *err);
  /* A load of `pointer` is near: begin to fetch what it will need. Never fails, never waits. May be NULL. */
  void (*prefetch)(void *context, const kl_tree_pointer *pointer);
  /* As `load` for each of up to KL_TREE_GROUP pointers, with the misses side by side. NULL: `load` is called for each. */
  kl_status (*load_many)(void *context, const kl_tree_pointer *pointers, size_t count, const uint8_t **out_pages,
                         kl_error *err);
  /* Merges and walks, which take long, call this whenever they hold no page: the place to leave the epoch and enter it
   * again. May be NULL. */
  void (*pause)(void *context);
  void *context;
  /* Digests of pages, for point look-ups: the page at `frames` + i * KL_TREE_PAGE_MIN, of those below frames_size, has
   * its digest (kl_tree_digest) at `digests` + i * KL_TREE_DIGEST_STRIDE, valid as long as the page. `digests` NULL:
   * none. */
  const uint8_t *frames, *digests;
  uint64_t frames_size;
} kl_tree_source;

typedef struct kl_tree_sink {
  /* Places a page (`length` <= page size; the bytes are the caller's afterwards). Any failure ends the merge with that
   * status; the owner of the sink then discards all that was placed. */
  kl_status (*write)(void *context, const void *page, size_t length, kl_tree_pointer *out_pointer, kl_error *err);
  /* Places a value that is too large for a leaf. NULL: such values are refused with KL_E_VALUE_SIZE. */
  kl_status (*write_extent)(void *context, kl_slice value, kl_tree_extent *out_extent, kl_error *err);
  void *context;
} kl_tree_sink;

/* Called for each page and extent that the old tree uses and the new one does not, once, in no promised order. A page
 * that the same merge had just placed may be among them (it was joined with its neighbour). Either may be NULL. A
 * failure ends the merge. They count only when the merge succeeds. */
typedef struct kl_tree_freed {
  kl_status (*page)(void *context, const kl_tree_pointer *pointer, kl_error *err);
  kl_status (*extent)(void *context, const kl_tree_extent *extent, kl_error *err);
  void *context;
} kl_tree_freed;

/* The largest value that is stored in a leaf: about a quarter of the page, so that two rows of the largest size always
 * share a page. */
static inline size_t kl_tree_inline_max(uint32_t page_size) {
  return page_size / 4 - 64;
}

/* Checks every byte that a reader relies on: sizes, counts, offsets, order, heads, fingerprints, child pointers.
 * KL_OK, or KL_E_CORRUPT with what is wrong; KL_E_VERSION for a page of a newer format. Never reads outside of the
 * `size` bytes at `page`. `pointer` is for the message, NULL allowed. */
kl_status kl_tree_page_check(const uint8_t *page, size_t size, const kl_tree_pointer *pointer, kl_error *err);

/* Writes the digest of a page that kl_tree_page_check has accepted: what point look-ups ask of a leaf, so that they
 * need not touch the page itself (README.md, TREE-12). `out` starts at a multiple of 16; `size` >=
 * KL_TREE_DIGEST_SIZE. */
void kl_tree_digest(const uint8_t *page, uint8_t *out, size_t size);

/* -------- reading -------- */

typedef struct kl_tree_value {
  kl_slice bytes; /* the value; with is_extent the reference as stored (kl_tree_value_extent) */
  bool found;     /* kl_tree_get_many only: false leaves the rest zero */
  bool is_extent;
} kl_tree_value;

void kl_tree_value_extent(const kl_tree_value *value, kl_tree_extent *out_extent);

/* KL_E_NOT_FOUND (without a message: it is an ordinary answer); KL_E_CORRUPT; whatever the source answers. A key longer
 * than KL_TREE_KEY_MAX is in no tree. */
kl_status kl_tree_get(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice key, kl_tree_value *out_value,
                      kl_error *err);

/* The same for many keys in any order, sixteen at a time, with their cache misses side by side. */
kl_status kl_tree_get_many(const kl_tree_source *source, const kl_tree_pointer *root, const kl_slice *keys,
                           size_t count, kl_tree_value *out_values, kl_error *err);

/* The number of keys before `key`; exact, from the counts in inner pages: one path is read. */
kl_status kl_tree_rank(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice key, uint64_t *out_rank,
                       kl_error *err);
/* The number of keys in the tree; reads the root. */
kl_status kl_tree_rows(const kl_tree_source *source, const kl_tree_pointer *root, uint64_t *out_rows, kl_error *err);
/* The number of keys in [low, high); `high` NULL: to the end. Exact; two paths are read. */
kl_status kl_tree_count(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice low, const kl_slice *high,
                        uint64_t *out_count, kl_error *err);
/* The key number `rank`, counted from 0. `out_key` has KL_TREE_KEY_MAX bytes. KL_E_NOT_FOUND: there are not so many. */
kl_status kl_tree_select(const kl_tree_source *source, const kl_tree_pointer *root, uint64_t rank, uint8_t *out_key,
                         size_t *out_size, kl_error *err);

/* A key that cuts a range. */
typedef struct kl_tree_split {
  size_t size;
  uint8_t key[KL_TREE_KEY_MAX];
} kl_tree_split;

/* Keys of the tree, ascending, that cut [low, high) into *out_count + 1 parts whose numbers of rows differ by at most
 * one. Fewer than `wanted` where the range has not that many rows: no part is empty unless the range is. */
kl_status kl_tree_split_points(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice low,
                               const kl_slice *high, size_t wanted, kl_tree_split *out_splits, size_t *out_count,
                               kl_error *err);

/* The keys that a page is about: `low` <= key, and key < `high` where it has one. */
typedef struct kl_tree_range {
  kl_tree_split low, high;
  bool has_high;
} kl_tree_range;

/* Finds out what is lost with a page that cannot be loaded, from the separators above it: the page that `wanted` names
 * (which is not loaded) on the path to `key` (direction 0), or on the path to the next leaf before or behind that of
 * `key` (-1, 1). KL_E_NOT_FOUND: it is on neither; errors of the source. `out_range` is some 2 KiB. */
kl_status kl_tree_locate(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice key, int direction,
                         const kl_tree_pointer *wanted, kl_tree_range *out_range, kl_error *err);

/* -------- cursors -------- */

/* A place in a tree. The caller owns the memory; nothing has to be freed. The fields are private. */
typedef struct kl_tree_cursor {
  const kl_tree_source *source;
  kl_tree_pointer root;
  uint32_t depth; /* pages on the stack; 0: nowhere */
  struct {
    kl_tree_pointer pointer;
    const uint8_t *page; /* NULL: parked */
    uint32_t index;
    uint32_t level;
  } stack[KL_TREE_LEVELS];
  uint8_t key[KL_TREE_KEY_MAX]; /* of the row, where its page holds it in two parts */
  const uint8_t *prefix_page;   /* whose prefix stands in `key` */
} kl_tree_cursor;

typedef struct kl_tree_row {
  kl_slice key;
  kl_tree_value value;
} kl_tree_row;

/* A cursor that is nowhere. `source` must outlive it. */
void kl_tree_cursor_init(kl_tree_cursor *cursor, const kl_tree_source *source, const kl_tree_pointer *root);
/* Each of these moves: KL_OK; KL_E_NOT_FOUND: there is no such row, and the cursor is nowhere; an error: likewise
 * nowhere. */
kl_status kl_tree_cursor_first(kl_tree_cursor *cursor, kl_error *err);
kl_status kl_tree_cursor_last(kl_tree_cursor *cursor, kl_error *err);
kl_status kl_tree_cursor_seek_ge(kl_tree_cursor *cursor, kl_slice key,
                                 kl_error *err); /* the first row at or behind key */
kl_status kl_tree_cursor_seek_le(kl_tree_cursor *cursor, kl_slice key,
                                 kl_error *err); /* the last row at or before key */
/* From nowhere: KL_E_NOT_FOUND. */
kl_status kl_tree_cursor_next(kl_tree_cursor *cursor, kl_error *err);
kl_status kl_tree_cursor_prev(kl_tree_cursor *cursor, kl_error *err);
/* The row at the cursor: valid until it moves, is parked, or the epoch is left. KL_E_NOT_FOUND: it is nowhere. */
kl_status kl_tree_cursor_row(kl_tree_cursor *cursor, kl_tree_row *out_row, kl_error *err);
/* Forgets the pages, not the place: call it before the epoch is left. The next call, in another epoch, loads them
 * again. */
void kl_tree_cursor_park(kl_tree_cursor *cursor);

/* -------- writing -------- */

typedef enum kl_tree_change_kind { KL_TREE_PUT = 1, KL_TREE_PUT_EXTENT = 2, KL_TREE_DELETE = 3 } kl_tree_change_kind;

typedef struct kl_tree_change {
  kl_tree_change_kind kind;
  kl_slice key;
  kl_slice value;        /* KL_TREE_PUT */
  kl_tree_extent extent; /* KL_TREE_PUT_EXTENT: already placed by the caller */
} kl_tree_change;

/* Changes in strictly ascending order of keys. KL_OK and a change, whose bytes stay valid until the next call;
 * KL_E_NOT_FOUND: there are no more; anything else ends the merge with that status. */
typedef struct kl_tree_changes {
  kl_status (*next)(void *context, kl_tree_change *out_change, kl_error *err);
  void *context;
} kl_tree_changes;

/* Moving what changes nothing: what a merge would keep where it is can be placed anew instead, so that it comes to lie
 * elsewhere. Neighbours that move are packed together. Inner pages are read to find what hangs below them, and with
 * `extent` leaves, too; each some times over, at most once for each level. `page` and `extent` may be asked more than
 * once about the same thing, and may answer otherwise then: the tree is right all the same. */
typedef struct kl_tree_move {
  /* This page shall not stay where it is. */
  bool (*page)(void *context, const kl_tree_pointer *pointer);
  /* The same for an extent. NULL: extents stay, and leaves that stay are not read. */
  bool (*extent)(void *context, const kl_tree_extent *extent);
  /* Copies an extent for which `extent` was true; *out_moved false: it stays after all. */
  kl_status (*copy)(void *context, const kl_tree_extent *extent, kl_tree_extent *out_extent, bool *out_moved,
                    kl_error *err);
  /* NULL, or: true from some time on: nothing moves any more, and nothing is read to find what could. */
  bool (*over)(void *context);
  void *context;
} kl_tree_move;

typedef struct kl_tree_merge_options {
  kl_allocator *allocator;
  uint32_t page_size;           /* KL_TREE_PAGE_MIN ... KL_TREE_PAGE_MAX, a power of two; one size for all of a tree */
  uint32_t fill_percent;        /* how full pages are made, 50 ... 100; 0: 100 */
  const kl_tree_source *source; /* of the old tree, and of what the sink placed; not needed for kl_tree_build */
  const kl_tree_sink *sink;
  const kl_tree_freed *freed; /* may be NULL */
  const kl_tree_move *move;   /* NULL: what does not change stays where it is */
} kl_tree_merge_options;

typedef struct kl_tree_merge_stats {
  uint64_t puts;    /* rows put, new or in place of an old one */
  uint64_t deletes; /* rows removed; deletes of what is absent are not counted, and rewrite nothing */
  uint64_t pages_written, bytes_written, pages_freed;
  uint64_t extents_written, extents_freed;
  uint64_t rows; /* of the new tree, when the merge changed or built anything */
} kl_tree_merge_stats;

/* Old tree + changes -> new tree. Rewrites the paths to what changes, and neighbours of pages that would be left less
 * than a third full. The old tree stays as it is. No effective change, and nothing to move: *out_root is `root`, and
 * nothing was written.
 * Memory: for each level a copy of a page and the rows of about two pages, whatever the size of the trees or of the
 * run. `out_stats` may be NULL. On failure *out_root is untouched. KL_E_INVALID (options, or changes out of order),
 * KL_E_KEY_SIZE, KL_E_VALUE_SIZE (see kl_tree_sink), KL_E_NO_MEMORY, KL_E_CORRUPT, KL_E_LIMIT (too many levels), and
 * whatever the callbacks answer. */
kl_status kl_tree_merge(const kl_tree_merge_options *options, const kl_tree_pointer *root,
                        const kl_tree_changes *changes, kl_tree_pointer *out_root, kl_tree_merge_stats *out_stats,
                        kl_error *err);

/* The same into an empty tree, for bulk loads: a delete is KL_E_INVALID; no source is needed. */
kl_status kl_tree_build(const kl_tree_merge_options *options, const kl_tree_changes *rows, kl_tree_pointer *out_root,
                        kl_tree_merge_stats *out_stats, kl_error *err);

/* A part of a tree on its way into a merge on several threads: the keys from `low` on (empty: from the first) to before
 * `high`, where it has one. The slices are the caller's. */
typedef struct kl_tree_part {
  kl_slice low, high;
  bool has_high;
  bool changed;         /* set by kl_tree_merge_part: `root` counts. False: the part is what it was */
  kl_tree_pointer root; /* of a tree of the part alone; null: no rows are left in it */
} kl_tree_part;

/* Merges the changes of one part, all of which have keys in it, into the old tree's rows in it. Parts may be merged side by
 * side, each with a source, sink and freed of its own; what they free belongs to different pages and extents. `move` is
 * not looked at. Of the stats, `rows` are those of the part, if it changed. Errors as kl_tree_merge; KL_E_INVALID also: a
 * change outside of the part. On failure `part` is untouched. */
kl_status kl_tree_merge_part(const kl_tree_merge_options *options, const kl_tree_pointer *root,
                             const kl_tree_changes *changes, kl_tree_part *part, kl_tree_merge_stats *out_stats,
                             kl_error *err);
/* Makes one tree of the parts, which are all of the old tree's keys, ascending, one behind the other. Its source finds
 * what the parts have placed. It reads and writes about two pages of each level for each part, and frees their roots, and
 * the old tree's pages that reach over a cut. Parts that did not change are taken from the old tree, so that only what
 * changes need be merged before. None has changed: *out_root is `root`, and nothing was written. Of the stats, `rows` are
 * those of the new tree, when there are two parts or more and one changed. Errors as kl_tree_merge. */
kl_status kl_tree_join(const kl_tree_merge_options *options, const kl_tree_pointer *root, const kl_tree_part *parts,
                       size_t count, kl_tree_pointer *out_root, kl_tree_merge_stats *out_stats, kl_error *err);

/* -------- walking -------- */

typedef enum kl_tree_item_kind {
  KL_TREE_ITEM_PAGE = 1,  /* a page that is sound, before what is in it or below it */
  KL_TREE_ITEM_ROW = 2,   /* a row of the leaf that came last */
  KL_TREE_ITEM_DAMAGE = 3 /* a page that cannot be loaded (KL_E_CORRUPT, KL_E_IO, KL_E_VERSION), or is not what its
                             parent says; what lies below it is passed over */
} kl_tree_item_kind;

/* What a walk has come to. Slices are valid until the next call. */
typedef struct kl_tree_item {
  kl_tree_item_kind kind;
  kl_tree_pointer pointer; /* of the page; of a row's leaf */
  uint32_t level;          /* of the page; of a damaged root it is not known: KL_TREE_LEVELS */
  kl_slice low, high;      /* of a page, by its parents: low <= key, and key < high where it has one */
  bool has_high;
  uint64_t rows; /* of a page: rows below it; of a damaged one by its parent, 0 for a root */
  kl_slice key;  /* of a row, as the value */
  kl_tree_value value;
  kl_error cause; /* of damage */
} kl_tree_item;

/* Visits every page and row of a tree, in order, and checks what kl_tree_page_check cannot see in one page: that all
 * keys of a child lie between the separators around it, and that the counts are right. It goes on behind damage. It
 * works on copies of pages, one for each level, so that it may rest between two calls; one walker serves any number of
 * walks, one after the other. Some 50 KiB and a page for each level. `page_size` as in kl_tree_merge_options. */
typedef struct kl_tree_walker kl_tree_walker;
kl_status kl_tree_walker_new(kl_allocator *allocator, const kl_tree_source *source, uint32_t page_size,
                             kl_tree_walker **out_walker, kl_error *err); /* KL_E_NO_MEMORY; `source` outlives it */
void kl_tree_walker_free(kl_tree_walker *walker);                         /* NULL is allowed */
/* Begins at a root, null allowed. `leaves` false: leaves below inner pages are passed over. */
void kl_tree_walker_start(kl_tree_walker *walker, const kl_tree_pointer *root, bool leaves);
/* KL_E_NOT_FOUND without a message: that was all. KL_E_NO_MEMORY, and what the source answers but for damage: the next
 * call tries the same page again. */
kl_status kl_tree_walker_next(kl_tree_walker *walker, kl_tree_item *out_item, kl_error *err);

typedef struct kl_tree_visitor {
  /* Each may be NULL; a failure ends the walk with that status. */
  kl_status (*page)(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err);
  kl_status (*extent)(void *context, kl_slice key, const kl_tree_extent *extent, kl_error *err);
  void *context;
} kl_tree_visitor;

/* The same by callbacks, up to the first damage, which is the result: KL_E_CORRUPT, KL_E_IO, KL_E_VERSION. Also
 * KL_E_NO_MEMORY, and whatever the callbacks answer. */
kl_status kl_tree_walk(kl_allocator *allocator, const kl_tree_source *source, uint32_t page_size,
                       const kl_tree_pointer *root, const kl_tree_visitor *visitor, kl_error *err);

#endif
