/* core/drain/replay.h: from the log to the delta: what was committed after the checkpoint is put back into memory.
 *
 * The log is read by its one reader from the checkpoint's position on; every commit in it is decoded, checked and
 * inserted into the delta with its timestamp. Replaying a log twice gives the same delta (an insert with the same key
 * and timestamp replaces). Nothing is written: what follows is kl_wal_recover_end with `end_lsn`, which makes the log
 * ready for appending.
 *
 * Thread rules: one thread, before the log and the delta are given to others. */
#ifndef KL_DRAIN_REPLAY_H
#define KL_DRAIN_REPLAY_H

#include <stdint.h>

#include "../base/status.h"
#include "../delta/delta.h"
#include "../wal/commit_record.h"
#include "../wal/wal.h"

typedef struct kl_replay_stats {
  uint64_t highest_ts;                   /* of all commits; 0: there was none */
  kl_lsn end_lsn;                        /* where the log ended, and appending goes on */
  uint64_t batches, commits, ops, bytes; /* bytes: of payloads */
} kl_replay_stats;

/* A commit of a run (core/wal/commit_record.h) in the log. */
typedef struct kl_replay_run {
  uint64_t ts, before_ts; /* of the commit, and of the one before it */
  kl_lsn begin, end;      /* of its batch */
} kl_replay_run;

/* Where commits go. */
typedef struct kl_replay_target {
  kl_delta *delta; /* what is replayed first goes in here */
  void *context;
  /* Each op of a commit of a run; then its end, which says where what comes behind it goes. What they answer ends the replay. */
  kl_status (*run_op)(void *context, const kl_op *op, kl_error *err);
  kl_status (*run_end)(void *context, const kl_replay_run *run, kl_delta **out_delta, kl_error *err);
} kl_replay_target;

/* `known_durable`: the checkpoint's, an end of the log before it is KL_E_CORRUPT. Errors: those of
 * kl_wal_reader_next; KL_E_CORRUPT also where an intact batch holds what no commit wrote (it names the LSN);
 * KL_E_VERSION for operations of a newer Keel; KL_E_NO_MEMORY. After an error the delta holds a part and is of no use.
 * `out_stats` is filled on success. */
kl_status kl_replay(kl_wal *wal, const kl_replay_target *target, kl_lsn from_lsn, kl_lsn known_durable,
                    kl_replay_stats *out_stats, kl_error *err);

#endif
