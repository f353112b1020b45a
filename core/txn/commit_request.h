/* core/txn/commit_request.h: one transaction on its way through the pipeline, and what may stop it. Private to
 * core/txn. */
#ifndef KL_TXN_COMMIT_REQUEST_H
#define KL_TXN_COMMIT_REQUEST_H

#include "commit.h"
#include "txn_private.h"

/* On the committer's stack; others touch it until they have told the committer that it is done. */
struct kl_commit_request {
  kl_commit_request *next; /* in the queue: the one before; in a list: the one after */
  kl_txn *txn;
  kl_commit_group *group;
  uint8_t *record; /* the encoded commit; NULL without a log */
  size_t record_size;
  uint64_t *hashes;       /* of the entries, in the order of the write set */
  kl_delta_place *places; /* of the entries, in the delta of the snapshot, as the precheck met them */
  uint64_t checked_ts;    /* kl_commit_precheck has looked at everything up to here */
  kl_delta *delta;        /* that it goes into; stays until it is published, because it is not drained before */
  void *reserve;          /* memory held back until the inserts need it */
  uint64_t delta_bytes;   /* that the inserts will need, about */
  uint64_t ts;
  uint32_t park;
  _Atomic uint32_t state;
  kl_status status;
  kl_error error;
};

/* Validation in two halves. The first, on the committer's own thread, before the queue, compares every key with the
 * delta: what is visible at that moment has been inserted. KL_E_CONFLICT. */
kl_status kl_commit_precheck(kl_txn_manager *manager, kl_commit_request *request, kl_error *err);
/* The second, under the turn, compares with what came later, which is in the table of keys in flight (or with
 * everything, if the table has been swept since); checks the limits; and gives the request its timestamp. On failure
 * request->error says why. */
kl_status kl_commit_admit(kl_txn_manager *manager, kl_commit_request *request);
/* Takes back an admission: the commit did not happen, and nobody else shall conflict with it. Under the turn. */
void kl_commit_withdraw(kl_txn_manager *manager, kl_commit_request *request);

#endif
