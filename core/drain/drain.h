/* core/drain/drain.h: a frozen delta is merged into the trees, and becomes a checkpoint.
 *
 * kl_drain_run merges, keyspace by keyspace, the newest version of each key into the keyspace's tree, drops the trees
 * of keyspaces that were dropped, writes the new roots into the catalogue's tree, and publishes it. Until the store has
 * published, the file's checkpoint is the old one and so are all roots; a drain that fails has changed nothing, and can
 * be run again.
 *
 * In slices: changes all over a large tree replace all of its pages, and what they replace cannot be used again before
 * the next checkpoint. So a drain can stop after so many bytes, publish what it has (a *partial* checkpoint, DRAIN-13),
 * and go on in another run; the file then needs room for two slices, not for two trees.
 *
 * Memory: a bound that depends on the page size and the number of keyspaces in the delta, not on the sizes of delta
 * and trees (README.md).
 *
 * Thread rules: one drain at a time for a store, on one thread, which may have a crew beside it (crew.h); reads of any roots
 * go on meanwhile, and inserts into other deltas. */
#ifndef KL_DRAIN_DRAIN_H
#define KL_DRAIN_DRAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../delta/delta.h"
#include "crew.h"
#include "roots.h"

/* How far the slices of a drain have come. All zero before the first one. */
typedef struct kl_drain_place {
  bool begun;    /* there was a slice */
  bool complete; /* all is merged: the checkpoint is no partial one */
  uint32_t keyspace;
  uint16_t key_size;
  uint8_t key[KL_TREE_KEY_MAX]; /* where the next slice goes on, in `keyspace` */
  uint64_t each;                /* bytes that a change has come to so far, where parts were merged; 0: not known */
} kl_drain_place;

typedef struct kl_drain_input {
  kl_pages *pages;
  kl_store *store; /* that of `pages` */
  kl_allocator *allocator;
  kl_delta *delta; /* frozen: nobody inserts; it holds only versions with a timestamp <= ts */
  uint64_t ts;     /* of the new checkpoint, not below that of `base` */
  uint64_t log_lsn, known_durable;
  bool log_needed;      /* these three as in kl_checkpoint */
  kl_roots *base;       /* of the newest checkpoint */
  const uint64_t *live; /* sequences of the checkpoints that anyone still reads; any order, `base` may be missing */
  size_t live_count;
  bool cold;             /* nobody reads soon what is written: leaves stay out of the cache */
  kl_drain_place *place; /* NULL, or: stop after about slice_bytes were placed; moves on when the run succeeds */
  uint64_t slice_bytes;
  const _Atomic bool *cancel; /* NULL, or: when it becomes true, the drain ends soon, with KL_E_CLOSED */
  kl_drain_crew *crew;        /* NULL, or: trees that change much are merged in parts, on its lanes (DRAIN-19) */
  uint64_t part_bytes;        /* about what a part places, and half of what is worth parts; 0: chosen by itself */
} kl_drain_input;

typedef struct kl_drain_stats {
  uint64_t keyspaces;     /* whose trees were merged into, the catalogue not counted */
  uint64_t trees_dropped; /* of keyspaces that were dropped */
  uint64_t puts, deletes; /* rows put and removed, of the catalogue, too */
  uint64_t pages_written, pages_freed;
  uint64_t extents_written, extents_freed;
  uint64_t bytes_written; /* whole blocks, pages and extents */
  uint64_t writes;        /* calls that wrote them */
  uint64_t pages_read;    /* from the file: they were not in the cache */
  uint64_t parts;         /* that were merged on lanes */
  uint64_t leaked_trees;  /* dropped trees that a damaged page kept from being freed wholly; see README.md */
  uint64_t ns;
} kl_drain_stats;

/* *out_roots: of the new checkpoint, one reference. `out_stats` may be NULL; filled on success. Errors: what the store
 * and the trees answer (KL_E_IO, KL_E_DISK_FULL, KL_E_CORRUPT, KL_E_NO_MEMORY, KL_E_POISONED, KL_E_READ_ONLY ...), and
 * KL_E_CLOSED. After any of them no checkpoint is in progress, and `base` and `place` are what they were.
 *
 * A partial checkpoint has the timestamp of `base` and the place in the log of the newest checkpoint: until the last
 * slice, the delta lies over its trees for every reader, and the log from there on is needed. The next slice has its
 * roots for `base`, and the same delta. A drain that failed between two slices may begin anew, with a place of zeros. */
kl_status kl_drain_run(const kl_drain_input *input, kl_roots **out_roots, kl_drain_stats *out_stats, kl_error *err);

/* -------- loading -------- */

/* Merges rows that come from elsewhere, ascending, into the tree of a keyspace, and publishes: all else as it is, the same
 * timestamp, and the same place in the log. The keyspace is one that no delta has rows of. `input`: as for
 * kl_drain_compact. A row of KL_TREE_PUT_EXTENT whose birth is 0 names reserved blocks (kl_extent_writer): they become
 * blocks of the checkpoint, and are reserved again when the load fails. `rows` ends with KL_E_NOT_FOUND; what else it answers, the load does, and nothing has changed. Errors
 * besides: as kl_drain_run, and KL_E_INVALID: not ascending. */
kl_status kl_drain_load(const kl_drain_input *input, uint32_t keyspace, const kl_tree_changes *rows,
                        kl_roots **out_roots, kl_drain_stats *out_stats, kl_error *err);

/* -------- moving -------- */

/* Rows that lie over those of a keyspace, in two trees of their own: no key is in both. A row of `puts` is there, a
 * key of `deletes` (whose values are empty) is not, whatever is below. */
typedef struct kl_drain_part {
  uint32_t puts, deletes; /* keyspaces; 0: there is none */
} kl_drain_part;

typedef struct kl_drain_move {
  uint32_t target; /* the keyspace whose tree gets the rows */
  /* 0: a delete removes the row of `target`, and is done. Otherwise the target is a part, and this is its `deletes`: a
   * delete removes the row of `target` and is put here, a put removes what is here. */
  uint32_t target_deletes;
  const kl_drain_part *parts; /* newest first: of two rows with the same key the first is meant; the target's not */
  size_t part_count;          /* few: each row is looked for in all of them */
  /* Keyspaces whose rows 'l' (kl_load_record_key) go with the checkpoint that completes the move; any order, 0 is
   * passed over. */
  const uint32_t *ended;
  size_t ended_count;
  bool final; /* the checkpoint that completes the move has the input's ts, log_lsn and log_needed */
} kl_drain_move;

/* One slice of a move: rows leave the parts, in order of their keys, and are put into the target in the same
 * checkpoint, until about slice_bytes were placed (0: no bound). Large values stay where they are: only what names them
 * moves. The parts over the target show the same rows before and after. *out_complete: the parts are empty and have no
 * tree records any more; until then, call it again, with the new roots for `base`. A slice begins with the first rows
 * that are left, so that it goes on whatever came between, a crash too. A target that was dropped (its drop marker is
 * in the catalogue's tree) gets nothing: the rows of the parts are freed at once.
 *
 * All keyspaces that `move` names are different ones, and no delta has rows of the parts; nor, if the target is none,
 * may rows that are newer than those of the parts come into its tree before the move is complete.
 *
 * `input`: as for kl_drain_compact, `place` being NULL. The checkpoint has ts, log_lsn and log_needed of the newest
 * checkpoint, but for the one that completes a move with `final`: that has the input's. known_durable is always the
 * input's. `out_stats` counts as puts and deletes what is done to the target, not that rows leave the parts. Errors and
 * the state after one of them: as kl_drain_run; a damaged page of a part fails the move, and all is as it was. */
kl_status kl_drain_move_run(const kl_drain_input *input, const kl_drain_move *move, bool *out_complete,
                            kl_roots **out_roots, kl_drain_stats *out_stats, kl_error *err);

/* -------- compaction -------- */

enum { KL_COMPACT_YIELD = 16 << 20 };

typedef struct kl_compact_limits {
  uint64_t max_bytes; /* after so many bytes placed nothing more is moved; 0: no bound */
  bool extents;       /* large values, too: reads every leaf. Without, only pages move */
  /* NULL, or: when it becomes true and this round has placed KL_COMPACT_YIELD bytes, or read sixteen times as many,
   * nothing more is moved; what has moved is published. */
  const _Atomic bool *yield;
} kl_compact_limits;

typedef struct kl_compact_stats {
  uint64_t boundary;     /* bytes of the file that would do: what ended behind was to move */
  uint64_t pages, bytes; /* pages and extents that were placed anew, and their bytes in whole blocks */
  uint64_t extents;      /* of them */
  bool complete;         /* nothing was left where it was for want of time, of max_bytes or of free blocks */
} kl_compact_stats;

/* Moves pages, extents and parts of the space map that lie behind a boundary to free blocks before it, and publishes a
 * checkpoint with the same rows: the same timestamp, and the same place in the log. `input`: as for a drain, but
 * `delta` is NULL, and ts, log_lsn, known_durable and log_needed are those of the newest checkpoint, which is `base`'s.
 * The boundary follows from what is used and what is in limbo (kl_store_compact), so that what snapshots hold is not
 * waited for. The blocks that become free are cut off, or used, after the next checkpoint: one round more, which finds
 * nothing to move, still makes the file shorter. Errors and the state after one of them: as kl_drain_run. */
kl_status kl_drain_compact(const kl_drain_input *input, const kl_compact_limits *limits, kl_roots **out_roots,
                           kl_compact_stats *out_stats, kl_error *err);

#endif
