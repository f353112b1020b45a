/* core/txn/run_commit.c: committing a transaction that is larger than memory. The argument is in README.md, "Larger than memory".
 *
 * First committer wins here as well (TXN-2), and is found out differently: the keys are too many for a table, and the
 * transaction has run too long for what deltas remember. When all that was committed is in the trees, a key of which the newest trees say what
 * the snapshot says has not been written since (or has been given the value again that it had). What is committed after that is
 * in a delta, whose keys are looked for in the run. */
#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "../base/show.h"
#include "../wal/commit_record.h"
#include "run_source.h"
#include "txn_private.h"

enum { RUN_COMMIT_KEY_SHOWN = 32 };

static kl_status run_commit_conflict(uint32_t keyspace, kl_slice key, kl_error *err) {
  char shown[KL_SHOW_SIZE(RUN_COMMIT_KEY_SHOWN)];
  kl_show_bytes(key, RUN_COMMIT_KEY_SHOWN, shown);
  return kl_fail(err, KL_E_CONFLICT,
                 "key %s of keyspace %" PRIu32 " was written while the transaction ran; run it again", shown, keyspace);
}

static kl_status run_commit_dropped(uint32_t keyspace, kl_error *err) {
  return kl_fail(err, KL_E_CONFLICT, "keyspace %" PRIu32 " was dropped while the transaction ran", keyspace);
}

/* -------- against the trees -------- */

/* Two moments of one key. */
typedef struct run_check {
  kl_txn *txn;
  uint32_t keyspace;
  kl_pages *pages;
  kl_tree_pointer now; /* the keyspace's newest tree */
  kl_held held_now, held_then;
} run_check;

/* `value` NULL: absent. */
static kl_status run_check_value(run_check *check, kl_slice key, const kl_slice *value, bool *out_same, kl_error *err) {
  kl_tree_extent extent;
  bool is_extent;
  kl_status status = kl_pages_look(check->pages, &check->now, key, &check->held_now, &is_extent, &extent, err);
  *out_same = value == NULL && status == KL_E_NOT_FOUND;
  if (status == KL_E_NOT_FOUND) return KL_OK;
  if (status != KL_OK || value == NULL) return status;
  if (is_extent && extent.length == value->size) {
    status = kl_pages_get(check->pages, &check->now, key, &check->held_now, err);
    if (status != KL_OK) return status;
    is_extent = false;
  }
  *out_same = !is_extent && kl_slice_equal(check->held_now.value, *value);
  return KL_OK;
}

static kl_status run_check_trees(run_check *check, kl_slice key, const kl_tree_pointer *then, bool *out_same,
                                 kl_error *err) {
  kl_tree_extent now_extent, then_extent;
  bool now_is_extent = false, then_is_extent = false;
  kl_status now = kl_pages_look(check->pages, &check->now, key, &check->held_now, &now_is_extent, &now_extent, err);
  if (now != KL_OK && now != KL_E_NOT_FOUND) return now;
  kl_status was = kl_pages_look(check->pages, then, key, &check->held_then, &then_is_extent, &then_extent, err);
  if (was != KL_OK && was != KL_E_NOT_FOUND) return was;
  *out_same = now == was && now_is_extent == then_is_extent;
  if (!*out_same || now == KL_E_NOT_FOUND) return KL_OK;
  /* A large value that a compaction has moved counts as another one: better a transaction too many that runs again than loading it. */
  *out_same = now_is_extent ? now_extent.address == then_extent.address && now_extent.birth == then_extent.birth
                            : kl_slice_equal(check->held_now.value, check->held_then.value);
  return KL_OK;
}

static kl_status run_check_key(run_check *check, kl_slice key, kl_error *err) {
  kl_txn_recent recent;
  kl_pages *pages;
  kl_tree_pointer then = {0};
  bool same = false;
  kl_status status = kl_txn_find(check->txn, check->keyspace, key, false, &recent, &pages, &then, err);
  if (status != KL_OK) return status;
  status = recent.known ? run_check_value(check, key, recent.deleted ? NULL : &recent.value, &same, err)
                        : run_check_trees(check, key, &then, &same, err);
  if (status != KL_OK || same) return status;
  return run_commit_conflict(check->keyspace, key, err);
}

static kl_status run_check_keys(run_check *check, kl_error *err) {
  kl_txn *txn = check->txn;
  kl_run_source source;
  kl_status status = kl_run_source_init(&source, &txn->manager->allocator, txn->run, txn->run_view.layers->roots,
                                        check->keyspace, err);
  if (status != KL_OK || source.cursors == NULL) return status;
  status = source.source.ops->first(&source.source, err);
  while (status == KL_OK && source.source.valid) {
    status = run_check_key(check, source.source.key, err);
    if (status == KL_OK) status = source.source.ops->next(&source.source, err);
  }
  kl_run_source_destroy(&source);
  return status;
}

/* TXN-9, and the keys. */
static kl_status run_check_keyspace(run_check *check, kl_roots *roots, kl_error *err) {
  uint8_t marker[KL_DROP_MARKER_SIZE];
  kl_tree_pointer catalogue, then = {0};
  kl_roots *old = check->txn->snapshot.layers->roots;
  kl_drop_marker_encode(check->keyspace, marker);
  kl_status status = kl_roots_find(roots, 0, &catalogue, err);
  if (status == KL_OK) {
    status = kl_pages_contains(check->pages, &catalogue, kl_slice_make(marker, sizeof marker), err);
    if (status == KL_OK) return run_commit_dropped(check->keyspace, err);
    if (status == KL_E_NOT_FOUND) status = KL_OK;
  }
  if (status == KL_OK) status = kl_roots_find(roots, check->keyspace, &check->now, err);
  if (status == KL_OK && old != NULL) status = kl_roots_find(old, check->keyspace, &then, err);
  if (status != KL_OK || memcmp(&then, &check->now, sizeof then) == 0) return status; /* nobody has written to it */
  return run_check_keys(check, err);
}

kl_status kl_txn_run_check(kl_txn *txn, kl_error *err) {
  kl_roots *roots = kl_txn_manager_roots(txn->manager);
  run_check check = {.txn = txn, .pages = kl_roots_pages(roots)};
  kl_status status = KL_OK;
  for (size_t i = 0; i < txn->run->range_count && status == KL_OK; i++) {
    check.keyspace = txn->run->ranges[i].keyspace;
    status = run_check_keyspace(&check, roots, err);
  }
  kl_held_destroy(&check.held_now);
  kl_held_destroy(&check.held_then);
  kl_roots_unref(roots);
  return status;
}

/* -------- against a delta -------- */

static kl_status run_check_delta_keys(const kl_txn *txn, kl_delta *delta, uint32_t keyspace, kl_error *err) {
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, delta, keyspace, UINT64_MAX);
  for (kl_delta_cursor_first(&cursor); cursor.valid; kl_delta_cursor_next(&cursor)) {
    bool deleted;
    kl_tree_pointer root;
    kl_status status = kl_run_find(txn->run, txn->run_view.layers->roots, keyspace, cursor.key, &deleted, &root, err);
    if (status == KL_OK) return run_commit_conflict(keyspace, cursor.key, err);
    if (status != KL_E_NOT_FOUND) return status;
  }
  return KL_OK;
}

kl_status kl_txn_run_check_delta(kl_txn *txn, kl_delta *delta, kl_error *err) {
  kl_status status = KL_OK;
  for (size_t i = 0; i < txn->run->range_count && status == KL_OK; i++) {
    uint32_t keyspace = txn->run->ranges[i].keyspace;
    uint8_t marker[KL_DROP_MARKER_SIZE];
    kl_drop_marker_encode(keyspace, marker);
    if (kl_delta_newest_ts(delta, 0, kl_slice_make(marker, sizeof marker)) != 0)
      return run_commit_dropped(keyspace, err);
    if (kl_delta_has(delta, keyspace)) status = run_check_delta_keys(txn, delta, keyspace, err);
  }
  return status;
}

/* -------- the commit -------- */

typedef struct run_record {
  uint8_t *bytes;
  size_t size, count; /* count: of ops */
  size_t allocated;
} run_record;

/* One op for each keyspace: its parts, newest first. */
static kl_status run_record_new(const kl_run *run, run_record *out, kl_error *err) {
  out->size = KL_COMMIT_HEADER_SIZE + run->range_count * KL_OP_HEADER_SIZE + run->part_count * KL_OP_RUN_PART;
  out->count = run->range_count;
  out->allocated = out->size + run->part_count * KL_OP_RUN_PART; /* and room to put an op's value together */
  out->bytes = kl_alloc(run->allocator, out->allocated);
  if (out->bytes == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to commit a transaction; nothing was written");
  uint8_t *to = out->bytes + KL_COMMIT_HEADER_SIZE;
  for (size_t i = 0; i < run->range_count; i++) {
    uint32_t keyspace = run->ranges[i].keyspace;
    uint8_t *value = out->bytes + out->size, *part = value;
    for (size_t j = run->part_count; j-- > 0;) {
      if (run->parts[j].keyspace != keyspace) continue;
      kl_op_run_part trees = {run->parts[j].trees.puts, run->parts[j].trees.deletes};
      kl_op_run_part_encode(&trees, part);
      part += KL_OP_RUN_PART;
    }
    kl_op op = {keyspace, KL_OP_RUN, kl_slice_make(NULL, 0), kl_slice_make(value, (size_t)(part - value))};
    to += kl_op_encode(&op, to);
  }
  KL_ASSERT((size_t)(to - out->bytes) == out->size);
  return KL_OK;
}

/* Under the turn: no commit is on its way any more. KL_E_POISONED: one has failed. */
static kl_status run_wait_published(kl_commit_pipeline *pipeline, kl_error *err) {
  kl_mutex_lock(&pipeline->publishing);
  while (pipeline->first != NULL) kl_cond_wait(&pipeline->drained, &pipeline->publishing);
  bool stopped = pipeline->stopped;
  kl_mutex_unlock(&pipeline->publishing);
  return stopped ? kl_fail(err, KL_E_POISONED,
                           "a commit failed halfway; nothing is written until the database is opened again")
                 : KL_OK;
}

/* An append or a sync of the record has failed: may it be on the log? */
static kl_status run_commit_failed(kl_txn_manager *manager, kl_status status, kl_error *cause, bool appended,
                                   kl_error *err) {
  kl_wal_stats stats;
  kl_wal_get_stats(manager->wal, &stats);
  if (stats.poisoned || appended) kl_txn_manager_poison(manager, cause);
  if (!appended && (!stats.poisoned || status == KL_E_POISONED)) {
    if (err != NULL) *err = *cause;
    return status;
  }
  status = kl_fail(err, KL_E_COMMIT_UNKNOWN,
                   "the outcome of the commit is unknown; close the database and open it again to learn it (%s)",
                   cause->message);
  if (err != NULL) err->system_errno = cause->system_errno;
  return status;
}

/* Under the turn: the record, and what durability asks for. */
static kl_status run_append(kl_txn *txn, const run_record *record, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_slice part = kl_slice_make(record->bytes, record->size);
  kl_error cause = {0};
  kl_lsn end = 0;
  kl_status status = kl_wal_append(manager->wal, &part, 1, txn->run->ts, NULL, &end, &cause);
  if (status != KL_OK) return run_commit_failed(manager, status, &cause, false, err);
  txn->run->log_end = end;
  bool sync = txn->durability == KL_DURABILITY_FULL;
  if (txn->durability == KL_DURABILITY_GROUP) {
    sync = kl_wal_sync_soon(manager->wal, manager->options.group_interval_ns, &cause) != KL_OK;
  }
  if (sync) status = kl_wal_sync(manager->wal, end, &cause);
  return status == KL_OK ? KL_OK : run_commit_failed(manager, status, &cause, true, err);
}

/* Forgets the runs that no live snapshot is older than. */
static void run_trim(kl_txn_manager *manager) {
  uint64_t oldest = kl_snapshot_oldest_ts(&manager->snapshots);
  for (kl_run **link = &manager->runs; *link != NULL;) {
    kl_run *run = *link;
    if (run->ts > oldest) {
      link = &run->next;
      continue;
    }
    *link = run->next;
    kl_run_unref(run);
  }
}

/* Under the turn, with nothing on its way: everything that can fail, and then what cannot. */
static kl_status run_commit_admitted(kl_txn *txn, const run_record *record, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_layers_push push = {0};
  uint64_t before = pipeline->last_ts;
  kl_status status = kl_layers_prepare_run(&manager->layers, txn->run, &push, err);
  if (status != KL_OK) return status;
  kl_wal_stats wal;
  kl_wal_get_stats(manager->wal, &wal);
  txn->run->ts = ++pipeline->last_ts;
  kl_commit_header_encode(record->bytes, txn->run->ts, record->count, record->size - KL_COMMIT_HEADER_SIZE);
  status = run_append(txn, record, err);
  if (status != KL_OK) {
    kl_layers_cancel_push(&manager->layers, &push);
    txn->run->ts = 0;
    return status;
  }
  if (push.freezes) {
    manager->frozen_log_end = wal.tail_lsn; /* in front of the record: what is frozen is older than the run */
    kl_throttle_freeze(&manager->throttle);
  }
  pipeline->memory_bound = 0;
  kl_layers_push_run(&manager->layers, &push, before);
  run_trim(manager);
  kl_run_ref(txn->run);
  txn->run->next = manager->runs;
  manager->runs = txn->run;
  /* Sequentially consistent, for TXN-6 and TXN-10: whoever sees it finds the layers that have the run. */
  atomic_store_explicit(&manager->visible_ts, txn->run->ts, memory_order_seq_cst);
  kl_counters_add(&manager->counters, TXN_GROUPS, 1);
  return KL_OK;
}

kl_status kl_txn_run_commit(kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_commit_pipeline *pipeline = &manager->pipeline;
  run_record record;
  kl_status status = run_record_new(txn->run, &record, err);
  if (status != KL_OK) return status;
  kl_mutex_lock(&pipeline->turn);
  if (pipeline->closed) status = kl_fail(err, KL_E_CLOSED, "the database was closed; nothing was written");
  if (status == KL_OK) status = kl_txn_manager_check(manager, err);
  if (status == KL_OK) status = run_wait_published(pipeline, err);
  if (status == KL_OK) status = kl_txn_run_check_delta(txn, kl_layers_current(&manager->layers)->active, err);
  if (status == KL_OK) status = run_commit_admitted(txn, &record, err);
  kl_mutex_unlock(&pipeline->turn);
  kl_free(txn->run->allocator, record.bytes, record.allocated);
  if (status != KL_OK) return status;
  kl_layers_collect(&manager->layers);
  *out_ts = txn->run->ts;
  return KL_OK;
}
