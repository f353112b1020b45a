/* core/db/drainer.h: when the engine drains, and on which thread. Private to core/db.
 *
 * A drain freezes the active delta, merges it into the trees, publishes a checkpoint and lets the log go that it does
 * not need any more. One thread of the database does that whenever a delta is full; it is started by the first that
 * is. Where there are no threads, or none can be had, whoever filled the delta drains it.
 *
 * A drain that fails leaves all as it was, and is tried again, after pauses that grow to a few seconds; meanwhile
 * everything goes on as long as memory_limit allows.
 *
 * Locks: `mutex` guards the state below and is held for moments; `draining` is held for the length of a drain, of a round of
 * compaction, or of the beginning of a verification. At close it is taken under `busy` of the database; nothing else
 * is held when it is taken. */
#ifndef KL_DB_DRAINER_H
#define KL_DB_DRAINER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "../drain/drain.h"
#include "../os/thread.h"

typedef struct kl_db kl_db;

typedef struct db_drainer {
  kl_mutex draining; /* one of those at a time */
  kl_roots *made;    /* of a checkpoint that is published but not installed yet, for want of memory; under `draining` */
  bool made_under;   /* ... by a compaction or by a slice that is not the last: the deltas stay over it */
  kl_drain_crew *crew; /* under `draining`; NULL: there is none yet */
  _Atomic bool hurry;  /* a drain is wanted, or the thread is to stop: a compaction makes way */

  kl_mutex mutex;
  kl_cond changed;
  kl_thread *thread; /* NULL: not started */
  bool wanted, stop;
  uint64_t checkpoints, failures; /* drains that published, and that failed */
  kl_drain_stats totals;          /* of its fields: pages written and read, bytes written, parts, ns */
} db_drainer;

kl_status kl_db_drainer_init(kl_db *db, kl_error *err);
void kl_db_drainer_destroy(kl_db *db);

/* For kl_txn_manager_options.drain_wanted; `context` is the database. */
void kl_db_drain_wanted(void *context);
/* Stops the thread, after the drain it is in. */
void kl_db_drainer_stop(kl_db *db);

/* Drains now, on this thread. `last`: the log is not needed behind the checkpoint. KL_OK also when there was nothing to
 * drain. */
kl_status kl_db_drain(kl_db *db, bool last, kl_error *err);

/* -------- for compact.c and load.c, under `draining` -------- */

/* Gives what a drain or compaction made to the transactions, and the log's old segments back. KL_E_NO_MEMORY: it stays
 * in `made`. */
kl_status kl_db_drainer_install(kl_db *db, uint64_t took_ns, kl_error *err);
/* What a checkpoint with the same rows begins with: the newest one's numbers, its roots, and who reads what. */
typedef struct db_drain_base {
  kl_drain_input input; /* without a delta; a reference on `base` */
  uint64_t *live;
  size_t live_capacity;
} db_drain_base;
kl_status kl_db_drainer_base(kl_db *db, db_drain_base *out, kl_error *err);
void kl_db_drainer_base_free(kl_db *db, db_drain_base *base);
/* Waits so long, or until a drain is wanted or the thread is to stop: then false. */
bool kl_db_drainer_idle(kl_db *db, uint64_t ns);

/* -------- compact.c -------- */

/* On the drainer's thread, after a drain: while nobody wants anything, moves some of what lies at the end of a file that
 * is mostly free, a bounded amount at a time. */
void kl_db_compact_idle(kl_db *db);

#endif
