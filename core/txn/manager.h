/* core/txn/manager.h: the transactional half of one open database, as its owner (core/db) and the catalogue see it.
 *
 * Life: kl_txn_manager_new; fill kl_txn_manager_delta from the log; kl_txn_manager_start; ...; kl_txn_manager_close;
 * unref. The memory of a manager lives until the last transaction, cursor and view of it is gone, which may be long
 * after close.
 *
 * Timestamps: 0 is no timestamp, KL_TS_EMPTY (1) is the database before its first commit; commits count up from
 * there.
 *
 * Thread rules: any thread, after kl_txn_manager_start. */
#ifndef KL_TXN_MANAGER_H
#define KL_TXN_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "../delta/delta.h"
#include "../drain/roots.h"
#include "../os/os.h"
#include "../wal/commit_record.h"
#include "../wal/wal.h"
#include "txn.h"

#define KL_TS_EMPTY ((uint64_t)1)

typedef struct kl_run kl_run;
typedef struct kl_write_set kl_write_set;

/* What the manager's owner does for transactions that are larger than memory. `context` is drain_context. */
typedef struct kl_spill_ops {
  /* Writes all of a write set into parts of the run. On failure the run says what it said before, or the same once more. */
  kl_status (*write)(void *context, kl_run *run, const kl_write_set *writes, kl_error *err);
  /* The same of one row whose value has been written already (core/drain/extent_writer.h). *out_taken, also after a failure: the extent is the
   * trees' now; otherwise it is the caller's still. */
  kl_status (*write_extent)(void *context, kl_run *run, uint32_t keyspace, kl_slice key, const kl_tree_extent *extent,
                            bool *out_taken, kl_error *err);
  /* Commits a transaction whose writes are all in its run: calls kl_txn_run_check and kl_txn_run_commit when nothing else drains,
   * freezes, or publishes. */
  kl_status (*commit)(void *context, kl_txn *txn, uint64_t *out_ts, kl_error *err);
  /* The trees of the run are not needed; what cannot be dropped now the next opening drops. */
  void (*abandon)(void *context, kl_run *run);
} kl_spill_ops;

typedef struct kl_txn_manager_options {
  bool read_only;             /* transactions that write are refused with KL_E_READ_ONLY */
  kl_durability durability;   /* what KL_DURABILITY_DEFAULT of a transaction means; DEFAULT here means FULL */
  uint64_t group_interval_ns; /* for KL_DURABILITY_GROUP */
  uint64_t memory_limit;      /* bytes of deltas beyond which commits get KL_E_LIMIT; 0: none */
  /* With a drain: the active delta is to be drained from so many bytes on (0: never); whoever commits the bytes that
   * reach it calls drain_wanted, without any lock, once per freeze. It may drain there and then. */
  uint64_t delta_size;
  void (*drain_wanted)(void *context);
  void *drain_context;
  /* From so many bytes of memory on, the writes of a transaction go into trees. NULL: they never do. */
  const kl_spill_ops *spill;
  uint64_t spill_size;
} kl_txn_manager_options;

/* One reference. Nothing can be begun before kl_txn_manager_start; once it was started, close it before the last
 * unref. */
kl_status kl_txn_manager_new(kl_os *os, const kl_txn_manager_options *options, kl_txn_manager **out, kl_error *err);
void kl_txn_manager_ref(kl_txn_manager *manager);
void kl_txn_manager_unref(kl_txn_manager *manager); /* NULL is allowed */

/* Before start: what the deltas lie over. Takes a reference on `roots`. KL_E_NO_MEMORY. */
kl_status kl_txn_manager_set_roots(kl_txn_manager *manager, kl_roots *roots, kl_error *err);

/* Counts what is allocated through it, for kl_txn_manager_stats.memory_bytes; lives as long as the manager. */
kl_allocator *kl_txn_manager_allocator(kl_txn_manager *manager);
kl_os *kl_txn_manager_os(kl_txn_manager *manager);
kl_delta *kl_txn_manager_delta(kl_txn_manager *manager); /* the active one; before start */
bool kl_txn_manager_is_read_only(const kl_txn_manager *manager);

/* Opens for business: everything in the delta is at or below `last_ts` (0: nothing). `wal` is where commits are
 * logged, NULL for a database without one; borrowed until kl_txn_manager_close. */
void kl_txn_manager_start(kl_txn_manager *manager, kl_wal *wal, uint64_t last_ts);

/* Refuses what begins or commits from now on with KL_E_CLOSED, and waits for the commits that are on their way.
 * Snapshots that are being read go on. The log is not touched any more when it returns. */
void kl_txn_manager_close(kl_txn_manager *manager);

/* The trees that the transaction's snapshot reads, not referenced: their blocks stay as they are as long as it lives.
 * NULL: there are none. */
kl_roots *kl_txn_roots(kl_txn *txn);

/* ---- Draining: one thread at a time, any thread, also after close ---- */

typedef struct kl_txn_frozen {
  kl_delta *delta; /* not referenced: stays until kl_txn_manager_drained. NULL: there is none to drain */
  kl_run *run;     /* not referenced, likewise until kl_txn_manager_merged; with it there is no delta */
  uint64_t ts;     /* of the newest commit in it */
  kl_lsn log_end;  /* the log below this is in it, or in the trees */
  bool left;       /* it was frozen (or committed, a run) before: there may be more when it is drained */
} kl_txn_frozen;
/* Gives what is to be drained first: the delta that is frozen already, or else the run that was committed, or else the active delta,
 * which is frozen now unless it is empty. Waits for the commits on their way into it. KL_E_NO_MEMORY: nothing was frozen.
 * KL_E_POISONED: one of them has failed, so that it cannot be drained. */
kl_status kl_txn_manager_freeze(kl_txn_manager *manager, kl_txn_frozen *out, kl_error *err);
/* What was frozen is in the trees of `roots`; takes a reference. `took_ns`: how long it took, for the throttle. On
 * KL_E_NO_MEMORY all is as before; the roots are right all the same: try again. */
kl_status kl_txn_manager_drained(kl_txn_manager *manager, kl_roots *roots, uint64_t took_ns, kl_error *err);
/* All rows of the run are in the trees of `roots`; likewise. */
kl_status kl_txn_manager_merged(kl_txn_manager *manager, kl_roots *roots, kl_error *err);
/* The trees of the newest checkpoint that was installed; one reference for the caller. */
kl_roots *kl_txn_manager_roots(kl_txn_manager *manager);
/* Under the deltas that there are, `roots` show the same rows as those that kl_txn_manager_roots gives: these have only
 * moved in the file, or some of what is frozen is in them. What begins from now on reads them. Takes a reference. One at a time with freezes and drains. On KL_E_NO_MEMORY all is as
 * before; try again. */
kl_status kl_txn_manager_moved(kl_txn_manager *manager, kl_roots *roots, kl_error *err);
/* The checkpoints whose trees are read or can be, for kl_drain_input.live: as many as `capacity` allows; returns how
 * many there are. */
size_t kl_txn_manager_live_roots(kl_txn_manager *manager, uint64_t *out, size_t capacity);
/* ---- Transactions larger than memory: whoever may drain, between two drains ---- */

/* Bytes that the active delta takes. */
uint64_t kl_txn_manager_active_bytes(kl_txn_manager *manager);
/* May the transaction commit, as far as the trees tell? Everything that was committed is in them, but for what has been
 * committed since this began. KL_E_CONFLICT; what reading may answer. */
kl_status kl_txn_run_check(kl_txn *txn, kl_error *err);
/* Likewise, as far as a frozen delta tells, which has nothing in it that was there when kl_txn_run_check began. */
kl_status kl_txn_run_check_delta(kl_txn *txn, kl_delta *delta, kl_error *err);
/* Commits it, if what is in the active delta allows. Neither a delta is frozen nor is there a run; what kl_txn_run_check has not seen is
 * in the active delta, or was checked. Errors: as kl_txn_commit. */
kl_status kl_txn_run_commit(kl_txn *txn, uint64_t *out_ts, kl_error *err);
/* Before start: the log has a run here. `last_ts`: of what was replayed before it, into kl_txn_manager_delta, which is another one
 * afterwards. `log_begin`, `log_end`: before and behind its batch. KL_E_CORRUPT: there is one already. KL_E_NO_MEMORY. */
kl_status kl_txn_manager_replay_run(kl_txn_manager *manager, kl_run *run, uint64_t last_ts, kl_lsn log_begin,
                                    kl_lsn log_end, kl_error *err);
/* The run that is a layer now, NULL: there is none. Not referenced; for the opening, and for whoever may drain. */
const kl_run *kl_txn_manager_run(kl_txn_manager *manager);

/* How much memory the trees take: what a database in memory counts against memory_limit, too. */
void kl_txn_manager_set_tree_bytes(kl_txn_manager *manager, uint64_t bytes);
/* The drain has failed; committers that wait for room stop waiting, until the next one succeeds. */
void kl_txn_manager_drain_failed(kl_txn_manager *manager, const kl_error *reason);

/* Everything that was acknowledged before the call is on stable storage when it returns. */
kl_status kl_txn_manager_flush(kl_txn_manager *manager, kl_error *err);

/* KL_OK, or KL_E_POISONED with what poisoned it. One load. */
kl_status kl_txn_manager_check(kl_txn_manager *manager, kl_error *err);
/* From now on nothing is written any more: commits and beginnings of transactions that write get KL_E_POISONED. The
 * first reason stays. Reads go on. */
void kl_txn_manager_poison(kl_txn_manager *manager, const kl_error *reason);

typedef struct kl_txn_manager_stats {
  /* Of finished transactions: what one does is added up when it ends. */
  uint64_t commits, commits_read_only, rollbacks, conflicts, groups;
  uint64_t gets, puts, deletes, cursor_steps;
  uint64_t transactions_live, snapshots_live, views_live;
  uint64_t oldest_snapshot_age_ns;
  char oldest_snapshot_label[32];
  uint64_t visible_ts;
  uint64_t memory_bytes;
  kl_delta_stats deltas;          /* the active and the frozen one */
  uint64_t spills, spilled_bytes; /* moves of writes into runs, and the keys and values that were moved */
  uint64_t throttled_ns, throttle_waits;
  bool poisoned;
} kl_txn_manager_stats;
void kl_txn_manager_get_stats(kl_txn_manager *manager, kl_txn_manager_stats *out);

#endif
