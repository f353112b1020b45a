/* core/drain/drain.h: a frozen delta is merged into the trees, and becomes a checkpoint.
 *
 * kl_drain_run merges, keyspace by keyspace, the newest version of each key into the keyspace's tree, drops the trees
 * of keyspaces that were dropped, writes the new roots into the catalogue's tree, and publishes it. Until the store has
 * published, the file's checkpoint is the old one and so are all roots; a drain that fails has changed nothing, and can
 * be run again.
 *
 * Memory: a bound that depends on the page size and the number of keyspaces in the delta, not on the sizes of delta
 * and trees (README.md).
 *
 * Thread rules: one drain at a time for a store, on one thread; reads of any roots go on meanwhile, and inserts into
 * other deltas. */
#ifndef KL_DRAIN_DRAIN_H
#define KL_DRAIN_DRAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../delta/delta.h"
#include "roots.h"

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
  const _Atomic bool *cancel; /* NULL, or: when it becomes true, the drain ends soon, with KL_E_CLOSED */
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
  uint64_t leaked_trees;  /* dropped trees that a damaged page kept from being freed wholly; see README.md */
  uint64_t ns;
} kl_drain_stats;

/* *out_roots: of the new checkpoint, one reference. `out_stats` may be NULL; filled on success. Errors: what the store
 * and the trees answer (KL_E_IO, KL_E_DISK_FULL, KL_E_CORRUPT, KL_E_NO_MEMORY, KL_E_POISONED, KL_E_READ_ONLY ...), and
 * KL_E_CLOSED. After any of them no checkpoint is in progress and `base` is what it was. */
kl_status kl_drain_run(const kl_drain_input *input, kl_roots **out_roots, kl_drain_stats *out_stats, kl_error *err);

#endif
