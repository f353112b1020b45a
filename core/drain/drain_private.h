/* core/drain/drain_private.h: what the files of a drain share.
 *
 *   drain.c       the run of a drain: keyspaces, the catalogue
 *   parts.c       one tree, merged in parts on the lanes of a crew (crew.h)
 *   compact.c     the run of a compaction: what lies at the end of the file, moved towards the front
 *   load.c        the run of a load: rows for one tree, from elsewhere than a delta
 *   move.c        the run of a move: rows of parts, into one tree
 *   drop.c        trees of which nothing is kept
 *   make.c        the checkpoint around a run
 *   drain_io.c    pages in and out: source, sink and freed of core/tree
 *   roots.c       the roots of a checkpoint */
#ifndef KL_DRAIN_DRAIN_PRIVATE_H
#define KL_DRAIN_DRAIN_PRIVATE_H

#include "drain.h"
#include "extent.h"
#include "pages_private.h"
#include "tree_record.h"

enum {
  DRAIN_BUFFER = 512 << 10,         /* bytes that are written at once, when they lie one behind the other */
  DRAIN_EXTENT_BUFFERED = 64 << 10, /* values up to this go through the buffer */
  DRAIN_EXTENT_WRITE = 16 << 20,    /* bytes of larger ones that are written between two looks at `cancel` */
  DRAIN_RING = KL_TREE_LEVELS + 1,  /* pages that were read past the cache: a path, and one more */
  DRAIN_ROOM_EVERY = 64,            /* pages between two looks at how full the cache is */
  DRAIN_RESERVE = 128 << 10,        /* bytes of blocks that a lane takes at once, ... */
  DRAIN_FREED = 64                  /* ... and what it frees at once */
};

/* Pages in and out. What it reads past the cache stays in the ring until `pause` and DRAIN_RING further loads. */
typedef struct drain_io {
  kl_pages *pages;
  kl_store *store;
  kl_allocator *allocator;
  const _Atomic bool *cancel;
  kl_drain_stats *stats;
  kl_tree_source source;
  kl_tree_sink sink;
  kl_tree_freed freed;
  kl_epoch_guard guard;
  bool inside;         /* the epoch: a page of the cache is being looked at */
  bool warm;           /* the page that was loaded last was in the cache */
  bool cold;           /* as in the input */
  bool has_room;       /* the cache is not full */
  uint32_t until_room; /* pages until that is looked at again */
  uint64_t birth;
  uint8_t *buffer; /* written, and not in the file yet: what lies from buffer_at on */
  size_t buffer_size;
  uint64_t buffer_at;
  size_t buffer_used;
  uint8_t *ring;
  kl_tree_pointer ring_of[DRAIN_RING];
  uint32_t ring_next;
  /* Of a lane: blocks that it has taken for what it will place, and what it is to free. */
  bool is_lane;
  uint64_t reserved_at, reserved_end;
  kl_store_run freed_runs[DRAIN_FREED];
  size_t freed_count;
  /* Of a compaction. */
  uint64_t boundary; /* what ends behind it is to move */
  bool full;         /* something did not find room before it: nothing more moves */
} drain_io;

/* What becomes of a keyspace's tree record. */
typedef struct drain_root {
  uint32_t keyspace;
  bool gone;
  kl_tree_record record;
} drain_root;

/* The roots that a run changes, ascending by keyspace. */
typedef struct drain_root_list {
  drain_root *items;
  size_t count, capacity;
} drain_root_list;

/* KL_E_NO_MEMORY; kl_drain_io_close is called in any case. */
kl_status kl_drain_io_open(drain_io *io, const kl_drain_input *input, bool is_lane, kl_drain_stats *stats,
                           kl_error *err);
void kl_drain_io_close(drain_io *io);
/* KL_E_CLOSED when the drain is to end. */
kl_status kl_drain_check_cancel(const _Atomic bool *cancel, kl_error *err);
/* A lane has ended: everything that it placed is written, what it did not use of its blocks is free again, and so is what it
 * was to free. */
kl_status kl_drain_io_finish(drain_io *io, kl_error *err);
/* Everything that was placed is written (not synced). */
kl_status kl_drain_io_flush(drain_io *io, kl_error *err);

/* A value that was written to reserved blocks becomes one of this checkpoint; sets its birth. As kl_store_adopt. */
kl_status kl_drain_io_adopt(drain_io *io, kl_tree_extent *extent, kl_error *err);
/* Moves a value to a place before the one that it has. *out_moved false: there is none. KL_E_CORRUPT: it is damaged. */
kl_status kl_drain_io_copy(drain_io *io, const kl_tree_extent *extent, kl_tree_extent *out, bool *out_moved,
                           kl_error *err);

/* -------- make.c -------- */

kl_status kl_drain_add_root(drain_root_list *list, kl_allocator *allocator, const drain_root *root, kl_error *err);
void kl_drain_free_roots(drain_root_list *list, kl_allocator *allocator);
/* The change that a root makes in the catalogue; `key` and `value` have room for it. */
void kl_drain_record(const drain_root *root, uint8_t *key, uint8_t *value, kl_tree_change *out);
/* The changes that all of a list make: for kl_tree_changes, with a drain_records as context. */
typedef struct drain_records {
  const drain_root_list *roots;
  size_t next;
  uint8_t key[KL_TREE_RECORD_KEY], value[KL_TREE_RECORD_SIZE];
} drain_records;
kl_status kl_drain_next_record(void *context, kl_tree_change *out, kl_error *err);
bool kl_drain_same_pointer(const kl_tree_pointer *a, const kl_tree_pointer *b);

/* *root becomes the tree with the changes. `out_rows` counts only when it changed. */
kl_status kl_drain_merge(const kl_drain_input *input, drain_io *io, const kl_tree_changes *changes,
                         kl_tree_pointer *root, uint64_t *out_rows, kl_error *err);

/* -------- parts.c -------- */

/* Where the changes of one tree come from: iterators over stretches of its keys, any number of them at once, each used by
 * one thread at a time. What they read does not change meanwhile. */
typedef struct drain_source {
  size_t size; /* bytes of memory, which the caller has, that an iterator needs */
  /* An iterator over the changes from `low` on, and before `high` unless that is NULL; both outlive it. `out` is
   * given, and needs nothing further than, `memory`. On failure nothing is to be closed. */
  kl_status (*open)(void *context, void *memory, kl_slice low, const kl_slice *high, kl_tree_changes *out,
                    kl_error *err);
  void (*close)(void *context, void *memory);
  void *context;
} drain_source;

typedef struct drain_lane {
  drain_io io;
  kl_drain_stats stats;
  void *changes; /* an iterator's memory */
} drain_lane;

/* The lanes of a run, for one tree after the other. */
typedef struct drain_lanes {
  const kl_drain_input *input;
  drain_lane *lanes; /* as many as the crew has, once there was something for them to do */
  size_t count;
  uint64_t birth;
  uint64_t each; /* bytes that one change has come to so far; 0: not known */
} drain_lanes;

/* Merges the changes from `low` on. Where there is a crew and much to do, in parts; otherwise *out_done is false, and
 * nothing has happened. `room`: bytes after which no part more is begun: *out_stopped, and the place in `stop`, or 0: no
 * bound. Otherwise as kl_drain_merge. */
typedef struct drain_parts_result {
  bool done, stopped;
  size_t stop_size;
  uint8_t stop[KL_TREE_KEY_MAX];
} drain_parts_result;
kl_status kl_drain_merge_parts(drain_lanes *lanes, drain_io *io, const drain_source *source, kl_slice low,
                               uint64_t room, kl_tree_pointer *root, uint64_t *out_rows, drain_parts_result *out,
                               kl_error *err);
void kl_drain_lanes_close(drain_lanes *lanes);

/* -------- checkpoints -------- */

/* For what changes no timestamp: `ts` is that of `base`. */
kl_status kl_drain_check_base(const kl_drain_input *input, kl_error *err);
/* For a checkpoint that has some of what it was made for (DRAIN-13, DRAIN-15): timestamp and place in the log are those
 * of the newest one. */
void kl_drain_mark_partial(const kl_drain_input *input, kl_checkpoint *checkpoint);
/* Makes the trees of the checkpoint in progress, through the io; *out_catalogue: the root of the catalogue's tree.
 * `checkpoint` is what the input says; it may change that. */
typedef kl_status (*drain_make_trees)(void *context, kl_checkpoint *checkpoint, kl_tree_pointer *out_catalogue,
                                      kl_error *err);
/* One checkpoint: begins it, calls `trees`, publishes. `list`: the roots that `trees` has changed, once it is done. Opens
 * and closes `io`. On failure all is as before. */
kl_status kl_drain_make(const kl_drain_input *input, drain_io *io, kl_drain_stats *stats, const drain_root_list *list,
                        drain_make_trees trees, void *context, kl_roots **out_roots, kl_error *err);

/* -------- drop.c -------- */

/* Whether the catalogue has the drop marker of a keyspace. */
kl_status kl_drain_is_dropped(kl_pages *pages, const kl_tree_pointer *catalogue, uint32_t keyspace, bool *out_dropped,
                              kl_error *err);
/* Frees all of a tree, its large values too. A page that cannot be read must not keep every later drain from
 * succeeding: then what lies below it stays allocated, reached by nothing (DRAIN-9). */
kl_status kl_drain_drop(const kl_drain_input *input, drain_io *io, const kl_tree_pointer *root, kl_error *err);

/* -------- roots.c -------- */

/* Before a kl_roots is given to anyone: the number that its checkpoint got. */
void kl_roots_set_sequence(kl_roots *roots, uint64_t sequence);
/* Tells it a root, so that it need not look for it. Harmless without memory. */
void kl_roots_remember(kl_roots *roots, uint32_t keyspace, const kl_tree_pointer *root);

#endif
