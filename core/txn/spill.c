/* core/txn/spill.c: the writes of a transaction move into trees, when they have become many. See run.h; who writes the trees is
 * core/db. */
#include "../base/assert.h"
#include "txn_private.h"

/* The first time: a run without parts, and a snapshot that keeps the trees of the newest checkpoint readable. */
static kl_status spill_begin(kl_txn *txn, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_run *run;
  kl_status status = kl_run_new(&manager->allocator, &run, err);
  if (status != KL_OK) return status;
  status =
      kl_snapshot_begin(&manager->snapshots, kl_os_monotonic_coarse_ns(manager->os), "keel spill", &txn->run_view, err);
  if (status != KL_OK) {
    kl_run_unref(run);
    return status;
  }
  txn->run = run;
  kl_counters_add(&manager->counters, TXN_RUNS, 1);
  return KL_OK;
}

/* Before the run grows. */
static kl_status spill_enter(kl_txn *txn, kl_error *err) {
  kl_cursors_suspend(txn);
  kl_held_clear(&txn->held); /* what it lent is over with this call */
  kl_pages_part_free(txn->part);
  txn->part = NULL;
  return txn->run == NULL ? spill_begin(txn, err) : KL_OK;
}

/* Afterwards, also when it failed: parts may have been merged, and the list of parts fits the newest trees only (TXN-14). */
static void spill_leave(kl_txn *txn) {
  kl_snapshot_renew(&txn->manager->snapshots, &txn->run_view);
  kl_layers_collect(&txn->manager->layers);
}

static void spill_count(kl_txn *txn, uint64_t bytes) {
  kl_counters_add(&txn->manager->operations, TXN_SPILLS, 1);
  kl_counters_add(&txn->manager->operations, TXN_SPILLED_BYTES, bytes);
}

kl_status kl_txn_spill(kl_txn *txn, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_status status = spill_enter(txn, err);
  if (status != KL_OK) return status;
  status = manager->options.spill->write(manager->options.drain_context, txn->run, &txn->writes, err);
  spill_leave(txn);
  if (status != KL_OK) return status;
  spill_count(txn, txn->writes.payload_bytes);
  kl_write_set_destroy(&txn->writes);
  kl_write_set_init(&txn->writes, &manager->allocator);
  return KL_OK;
}

kl_status kl_txn_put_extent(kl_txn *txn, uint32_t keyspace, kl_slice key, const kl_tree_extent *extent, bool *out_taken,
                            kl_error *err) {
  const kl_txn_manager_options *options = &txn->manager->options;
  *out_taken = false;
  kl_status status = txn->writes.count != 0 ? kl_txn_spill(txn, err) : KL_OK; /* it would hide the new value */
  if (status == KL_OK) status = spill_enter(txn, err);
  if (status != KL_OK) return status;
  status = options->spill->write_extent(options->drain_context, txn->run, keyspace, key, extent, out_taken, err);
  spill_leave(txn);
  if (status == KL_OK) spill_count(txn, key.size + extent->length);
  return status;
}

void kl_txn_leave_run(kl_txn *txn, bool committed) {
  kl_txn_manager *manager = txn->manager;
  kl_snapshot_end(&txn->run_view);
  /* Once the manager is closed nothing can be dropped any more, and its owner may be gone. */
  if (!committed && atomic_load_explicit(&manager->open, memory_order_acquire)) {
    manager->options.spill->abandon(manager->options.drain_context, txn->run);
  }
  kl_run_unref(txn->run);
  txn->run = NULL;
  kl_counters_add(&manager->counters, TXN_RUNS, (uint64_t)0 - 1);
  kl_layers_collect(&manager->layers);
}

kl_status kl_txn_commit_run(kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_status status = txn->writes.count != 0 ? kl_txn_spill(txn, err) : KL_OK;
  if (status != KL_OK) return status;
  return manager->options.spill->commit(manager->options.drain_context, txn, out_ts, err);
}
