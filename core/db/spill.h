/* core/db/spill.h: where the writes of a transaction go that is larger than memory, and how it commits. Private to core/db.
 *
 * Parts of a run (core/txn/run.h) are trees of keyspaces without a name (unnamed.h). A write set becomes a part; rows behind those of
 * the newest part are added to it, so that a transaction which writes in order makes one; and four parts of about the same size become
 * one, so that there are few: a row is written as often as the logarithm, to base four, of how many times the memory the
 * transaction is. It is the scheme of O'Neil, Cheng, Gawlick, O'Neil (The Log-Structured Merge-Tree, 1996) with tiers. */
#ifndef KL_DB_SPILL_H
#define KL_DB_SPILL_H

#include "../drain/replay.h"
#include "../txn/manager.h"

typedef struct kl_db kl_db;

/* For kl_txn_manager_options; the context is the database. */
extern const kl_spill_ops kl_db_spill_ops;
/* Bytes of memory from which on a transaction's writes move. */
uint64_t kl_db_spill_size(const kl_db *db);

/* For the replay of a log that has a run in it. */
typedef struct kl_db_spill_replay {
  kl_db *db;
  kl_run *run; /* whose ops are being read; NULL: none is */
} kl_db_spill_replay;
kl_status kl_db_spill_replay_op(void *context, const kl_op *op, kl_error *err);
kl_status kl_db_spill_replay_end(void *context, const kl_replay_run *at, kl_delta **out_delta, kl_error *err);

#endif
