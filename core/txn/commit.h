/* core/txn/commit.h: the group-commit pipeline. The argument why it is right: core/txn/README.md.
 *
 * Private to core/txn. */
#ifndef KL_TXN_COMMIT_H
#define KL_TXN_COMMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "../os/thread.h"
#include "inflight.h"
#include "txn.h"

typedef struct kl_commit_request kl_commit_request;
typedef struct kl_commit_group kl_commit_group;

enum { KL_COMMIT_PARKS = 16 };

typedef struct kl_commit_park {
  _Alignas(64) kl_mutex mutex;
  kl_cond cond;
} kl_commit_park;

typedef struct kl_commit_pipeline {
  /* Transactions that want to commit, newest first. Whoever pushes onto the empty queue leads the next group. */
  _Alignas(64) _Atomic(kl_commit_request *) queue;

  /* The commit turn: held while a group is validated, timestamped and appended to the log. Guards the fields below. */
  _Alignas(64) kl_mutex turn;
  uint64_t last_ts; /* the newest timestamp given out */
  kl_inflight inflight;
  uint64_t hash_seed;
  bool closed;
  uint64_t memory_bound;           /* the delta and what is admitted take no more than this; 0: not known */
  _Atomic uint64_t reserved_bytes; /* of delta memory, by commits that are admitted and not inserted */

  /* Guards the list of groups that are appended and not published, oldest first, and the poison. Taken under the
   * turn, or alone. */
  _Alignas(64) kl_mutex publishing;
  kl_cond drained; /* signalled when the list has become empty */
  kl_commit_group *first, *last;
  uint32_t watchers; /* wait for `drained` to be signalled at each publication, too */
  bool stopped;      /* a group failed after it was appended: nothing is published any more */
  kl_error poison;
  _Atomic bool poisoned;

  kl_commit_park parks[KL_COMMIT_PARKS]; /* where committers sleep */
} kl_commit_pipeline;

kl_status kl_commit_pipeline_init(kl_commit_pipeline *pipeline, kl_allocator *allocator, uint64_t hash_seed,
                                  kl_error *err);
void kl_commit_pipeline_destroy(kl_commit_pipeline *pipeline);
void kl_commit_pipeline_close(kl_commit_pipeline *pipeline);
/* Under `publishing`: no group that got its timestamp at or before `last_ts` waits to be published. */
bool kl_commit_published(const kl_commit_pipeline *pipeline, uint64_t last_ts);

/* Commits the write set of a transaction, which is not empty. On KL_OK it is visible, and durable as asked. */
kl_status kl_commit_run(kl_txn *txn, uint64_t *out_ts, kl_error *err);

#endif
