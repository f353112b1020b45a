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
#include "../txn/manager.h"

typedef struct kl_db kl_db;

/* What a checkpoint that was published is to those who read. */
typedef enum db_made {
  DB_MADE_UNDER,   /* of a compaction, a load, or a slice that is not the last: all layers stay over it */
  DB_MADE_DRAINED, /* the frozen delta is in it */
  DB_MADE_MERGED   /* the run is in it */
} db_made;

typedef struct db_drainer {
  kl_mutex draining; /* one of those at a time */
  kl_roots *made;    /* of a checkpoint that is published but not installed yet, for want of memory; under `draining` */
  db_made made_as;   /* what it is */
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

/* Takes `draining` as whoever wants a drain does: what can make way does. */
void kl_db_drainer_lock(kl_db *db);
/* A drain has failed: counts it, and tells those who wait for it. Without `draining`. */
void kl_db_drain_failed(kl_db *db, const kl_error *reason);

/* -------- for compact.c, unnamed.c and spill.c, under `draining` -------- */

/* Everything that was committed before the call goes into the trees; `last` as above. */
kl_status kl_db_drain_held(kl_db *db, bool last, kl_error *err);
/* What kl_txn_manager_freeze gave goes into the trees. */
kl_status kl_db_drain_frozen(kl_db *db, const kl_txn_frozen *frozen, kl_error *err);

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

/* Under `draining`: one more checkpoint with other roots and the same rows. What was in the trees before is then also in the checkpoint that
 * a recovery could fall back to. */
kl_status kl_db_settle(kl_db *db, kl_error *err);

/* On the drainer's thread, after a drain: while nobody wants anything, moves some of what lies at the end of a file that
 * is mostly free, a bounded amount at a time. */
void kl_db_compact_idle(kl_db *db);

#endif
