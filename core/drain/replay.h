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
#include "../wal/wal.h"

typedef struct kl_replay_stats {
  uint64_t highest_ts;                   /* of all commits; 0: there was none */
  kl_lsn end_lsn;                        /* where the log ended, and appending goes on */
  uint64_t batches, commits, ops, bytes; /* bytes: of payloads */
} kl_replay_stats;

/* `known_durable`: the checkpoint's, an end of the log before it is KL_E_CORRUPT. Errors: those of
 * kl_wal_reader_next; KL_E_CORRUPT also where an intact batch holds what no commit wrote (it names the LSN);
 * KL_E_VERSION for operations of a newer Keel; KL_E_NO_MEMORY. After an error the delta holds a part and is of no use.
 * `out_stats` is filled on success. */
kl_status kl_replay(kl_wal *wal, kl_delta *delta, kl_lsn from_lsn, kl_lsn known_durable, kl_replay_stats *out_stats,
                    kl_error *err);

#endif
