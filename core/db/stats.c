/* core/db/stats.c: one picture of everything that counts. The parts are read one after the other while others go on. */
#include <string.h>

#include "db_private.h"

kl_status kl_db_get_stats(kl_db *db, kl_db_stats *out, kl_error *err) {
  if (db->fork_count != kl_fork_count()) {
    return kl_fail(err, KL_E_FORKED, "the database was opened before this process was forked; open it anew");
  }
  memset(out, 0, sizeof *out);
  kl_txn_manager_stats txn;
  kl_txn_manager_get_stats(db->manager, &txn);
  out->commits = txn.commits;
  out->commits_read_only = txn.commits_read_only;
  out->rollbacks = txn.rollbacks;
  out->conflicts = txn.conflicts;
  out->groups = txn.groups;
  out->gets = txn.gets;
  out->puts = txn.puts;
  out->deletes = txn.deletes;
  out->cursor_steps = txn.cursor_steps;
  out->transactions_live = txn.transactions_live;
  out->snapshots_live = txn.snapshots_live;
  out->views_live = txn.views_live;
  out->oldest_snapshot_age_ns = txn.oldest_snapshot_age_ns;
  out->visible_ts = txn.visible_ts;
  out->memory_bytes = txn.memory_bytes;
  out->memory_limit = db->options.memory_limit;
  out->poisoned = txn.poisoned;
  out->delta_keys = txn.deltas.keys;
  out->delta_versions = txn.deltas.versions;
  out->delta_bytes = txn.deltas.bytes;
  if (db->wal != NULL) {
    kl_wal_get_stats(db->wal, &out->log);
    out->poisoned = out->poisoned || out->log.poisoned;
  }
  out->spills = txn.spills;
  out->spilled_bytes = txn.spilled_bytes;
  out->throttled_ns = txn.throttled_ns;
  out->throttle_waits = txn.throttle_waits;
  kl_pages_cache_stats(db->pages, &out->cache);
  kl_store_get_space(db->store, &out->space);
  kl_mutex_lock(&db->drainer.mutex);
  out->checkpoints = db->drainer.checkpoints;
  out->drain_failures = db->drainer.failures;
  out->drains = db->drainer.totals;
  out->drain_threads = db->options.drain_threads;
  kl_mutex_unlock(&db->drainer.mutex);
  out->recovery_batches = db->recovery_batches;
  out->recovery_bytes = db->recovery_bytes;
  out->recovery_ns = db->recovery_ns;
  return kl_keyspace_count(db->catalogue, &out->keyspaces, err);
}
