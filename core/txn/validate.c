/* core/txn/validate.c: may this transaction commit? First committer wins (TXN-2). See commit_request.h. */
#include <inttypes.h>

#include "../base/assert.h"
#include "../base/show.h"
#include "../wal/commit_record.h"
#include "commit_request.h"

enum {
  VALIDATE_KEY_SHOWN = 32, /* bytes */
  VALIDATE_GROUP = 64      /* keys that are looked for side by side */
};

/* Where a key is looked for: in the delta that was active when the snapshot began, in all deltas since, among the keys
 * in flight. All but the first need the turn. */
enum { VALIDATE_OWN = 1, VALIDATE_DELTAS = 2, VALIDATE_INFLIGHT = 4 };

/* When the key was last written, as far as `where` tells. UINT64_MAX: that is not remembered any more. */
static uint64_t validate_newest(kl_txn_manager *manager, int where, const kl_layers *seen, uint32_t keyspace,
                                kl_slice key, uint64_t hash) {
  uint64_t newest = 0;
  if ((where & VALIDATE_OWN) != 0) newest = kl_delta_newest_ts(seen->active, keyspace, key);
  if ((where & VALIDATE_DELTAS) != 0 && !kl_layers_newest_ts(&manager->layers, seen, keyspace, key, &newest)) {
    return UINT64_MAX;
  }
  if ((where & VALIDATE_INFLIGHT) != 0) {
    uint64_t inflight = kl_inflight_find(&manager->pipeline.inflight, hash);
    if (inflight > newest) newest = inflight;
  }
  return newest;
}

static kl_status validate_too_old(uint64_t snapshot_ts, kl_error *err) {
  return kl_fail(err, KL_E_CONFLICT,
                 "the snapshot at %" PRIu64
                 " is older than the writes that are remembered for conflicts; run the "
                 "transaction again, and commit sooner after it begins",
                 snapshot_ts);
}

/* TXN-9: a write to a keyspace reads its drop marker. */
static kl_status validate_keyspace(kl_txn_manager *manager, int where, const kl_snapshot *snapshot, uint32_t keyspace,
                                   kl_error *err) {
  if (keyspace == 0) return KL_OK;
  uint8_t bytes[KL_DROP_MARKER_SIZE];
  kl_drop_marker_encode(keyspace, bytes);
  kl_slice marker = kl_slice_make(bytes, sizeof bytes);
  uint64_t hash = kl_inflight_hash(manager->pipeline.hash_seed, 0, marker);
  uint64_t dropped = validate_newest(manager, where, snapshot->layers, 0, marker, hash);
  if (dropped == UINT64_MAX) return validate_too_old(snapshot->ts, err);
  if (dropped <= snapshot->ts) return KL_OK;
  return kl_fail(err, KL_E_CONFLICT, "keyspace %" PRIu32 " was dropped while the transaction ran", keyspace);
}

static kl_status validate_key(uint64_t newest, uint64_t snapshot_ts, uint32_t keyspace, kl_slice key, kl_error *err) {
  if (newest <= snapshot_ts) return KL_OK;
  if (newest == UINT64_MAX) return validate_too_old(snapshot_ts, err);
  char shown[KL_SHOW_SIZE(VALIDATE_KEY_SHOWN)];
  kl_show_bytes(key, VALIDATE_KEY_SHOWN, shown);
  return kl_fail(err, KL_E_CONFLICT,
                 "key %s of keyspace %" PRIu32 " was written at %" PRIu64 ", after the snapshot at %" PRIu64
                 "; run the transaction again",
                 shown, keyspace, newest, snapshot_ts);
}

/* The keys of one tree among those in flight, and where asked for in the deltas. `first`: the number of the tree's
 * first entry in the write set. */
static kl_status validate_tree(kl_txn_manager *manager, int where, const kl_commit_request *request,
                               const kl_write_tree *tree, uint64_t first, kl_error *err) {
  const kl_snapshot *snapshot = &request->txn->snapshot;
  const uint64_t *hashes = request->hashes + first;
  kl_write_position at;
  kl_write_tree_first(tree, &at);
  for (; at.entry != NULL; kl_write_position_next(&at)) {
    kl_slice key = kl_write_entry_key(at.entry);
    uint64_t newest = validate_newest(manager, where, snapshot->layers, tree->keyspace, key, *hashes++);
    kl_status status = validate_key(newest, snapshot->ts, tree->keyspace, key, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* The keys of one tree in the delta of the snapshot; their places there are kept for the inserts. */
static kl_status validate_tree_own(const kl_commit_request *request, const kl_write_tree *tree, uint64_t first,
                                   kl_error *err) {
  const kl_snapshot *snapshot = &request->txn->snapshot;
  kl_delta_place *places = request->places + first;
  kl_write_position at;
  kl_write_tree_first(tree, &at);
  while (at.entry != NULL) {
    kl_slice keys[VALIDATE_GROUP];
    uint64_t newest[VALIDATE_GROUP];
    size_t count = 0;
    for (; at.entry != NULL && count < VALIDATE_GROUP; kl_write_position_next(&at)) {
      keys[count++] = kl_write_entry_key(at.entry);
    }
    kl_delta_look_many(snapshot->layers->active, tree->keyspace, keys, count, newest, places);
    places += count;
    for (size_t i = 0; i < count; i++) {
      kl_status status = validate_key(newest[i], snapshot->ts, tree->keyspace, keys[i], err);
      if (status != KL_OK) return status;
    }
  }
  return KL_OK;
}

static kl_status validate_writes(kl_txn_manager *manager, int where, const kl_commit_request *request, kl_error *err) {
  const kl_write_set *writes = &request->txn->writes;
  uint64_t first = 0;
  kl_status status = KL_OK;
  for (uint32_t i = 0; i < writes->tree_count && status == KL_OK; i++) {
    const kl_write_tree *tree = writes->trees[i];
    status = validate_keyspace(manager, where, &request->txn->snapshot, tree->keyspace, err);
    if (status != KL_OK) break;
    status = where == VALIDATE_OWN ? validate_tree_own(request, tree, first, err)
                                   : validate_tree(manager, where, request, tree, first, err);
    first += tree->count;
  }
  return status;
}

/* Under the turn. A run that was committed since the snapshot may have written any key of its ranges: looking for it would be reading
 * trees under the turn, and such a commit is rare. */
static kl_status validate_runs(const kl_txn_manager *manager, const kl_commit_request *request, kl_error *err) {
  uint64_t snapshot_ts = request->txn->snapshot.ts;
  const kl_write_set *writes = &request->txn->writes;
  for (const kl_run *run = manager->runs; run != NULL && run->ts > snapshot_ts; run = run->next) { /* newest first */
    for (uint32_t i = 0; i < writes->tree_count; i++) {
      const kl_write_tree *tree = writes->trees[i];
      kl_write_position at;
      if (!kl_run_has(run, tree->keyspace)) continue;
      for (kl_write_tree_first(tree, &at); at.entry != NULL; kl_write_position_next(&at)) {
        if (!kl_run_covers(run, tree->keyspace, kl_write_entry_key(at.entry))) continue;
        return validate_key(run->ts, snapshot_ts, tree->keyspace, kl_write_entry_key(at.entry), err);
      }
    }
  }
  return KL_OK;
}

kl_status kl_commit_precheck(kl_txn_manager *manager, kl_commit_request *request, kl_error *err) {
  /* Acquire: the inserts of everything up to this timestamp. */
  request->checked_ts = atomic_load_explicit(&manager->visible_ts, memory_order_acquire);
  kl_status status = validate_writes(manager, VALIDATE_OWN, request, err);
  /* Acquire: with the release of a freeze, which came before all commits into another delta. If the number is that of
   * our delta still, what was visible above has all gone into it. */
  uint64_t serial = atomic_load_explicit(&manager->layers.serial, memory_order_acquire);
  if (serial != request->txn->snapshot.layers->serial) request->checked_ts = 0;
  return status;
}

/* Asking the delta for its size reads the lines that its writers write. So between two times of asking a bound is
 * kept: twice what was admitted since comes on top, because memory is taken in chunks that may be half empty. */
static kl_status validate_memory(kl_txn_manager *manager, kl_commit_request *request, kl_error *err) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  uint64_t limit = manager->options.memory_limit;
  if (limit == 0) return KL_OK;
  uint64_t bound = pipeline->memory_bound;
  if (bound != 0 && bound <= limit && 2 * request->delta_bytes <= limit - bound) {
    pipeline->memory_bound = bound + 2 * request->delta_bytes;
    return KL_OK;
  }
  kl_delta_stats stats;
  kl_layers_delta_stats(&manager->layers, &stats);
  uint64_t reserved = atomic_load_explicit(&pipeline->reserved_bytes, memory_order_relaxed);
  uint64_t bytes = stats.bytes + reserved + manager->tree_bytes;
  pipeline->memory_bound = 0;
  if (bytes + request->delta_bytes <= limit) {
    pipeline->memory_bound = bytes + 2 * request->delta_bytes;
    return KL_OK;
  }
  return kl_fail(err, KL_E_LIMIT,
                 "the commit needs %" PRIu64 " bytes beside the %" PRIu64 " in use, and memory_limit is %" PRIu64
                 "; nothing was written",
                 request->delta_bytes, bytes, limit);
}

/* TXN-3 and TXN-7, in release too: a timestamp at or below one that may be read already would change the past of every
 * snapshot. It takes one load to find out, before anything is on the log. */
static kl_status validate_order(kl_txn_manager *manager, kl_error *err) {
  uint64_t visible = atomic_load_explicit(&manager->visible_ts, memory_order_relaxed);
  if (manager->pipeline.last_ts >= visible) return KL_OK;
  kl_status status = KL_BROKEN(err, "TXN-7: timestamp %" PRIu64 " would follow %" PRIu64 ", which is visible",
                               manager->pipeline.last_ts + 1, visible);
  kl_txn_manager_poison(manager, err);
  return status;
}

kl_status kl_commit_admit(kl_txn_manager *manager, kl_commit_request *request) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  const kl_write_set *writes = &request->txn->writes;
  kl_error *err = &request->error;
  if (pipeline->closed) return kl_fail(err, KL_E_CLOSED, "the database was closed; nothing was written");
  kl_status status = kl_txn_manager_check(manager, err);
  if (status == KL_OK) status = validate_order(manager, err);
  if (status == KL_OK) status = validate_memory(manager, request, err);
  if (status != KL_OK) return status;
  int where = VALIDATE_INFLIGHT;
  if (request->checked_ts < pipeline->inflight.forgotten) where |= VALIDATE_DELTAS;
  status = validate_writes(manager, where, request, err);
  if (status == KL_OK && manager->runs != NULL) status = validate_runs(manager, request, err);
  if (status != KL_OK) return status;
  uint64_t visible = atomic_load_explicit(&manager->visible_ts, memory_order_acquire);
  if (!kl_inflight_reserve(&pipeline->inflight, (size_t)writes->count, visible)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for the keys of a commit in flight; nothing was written");
  }
  request->ts = ++pipeline->last_ts;
  request->delta = kl_layers_current(&manager->layers)->active;
  for (uint64_t i = 0; i < writes->count; i++) kl_inflight_add(&pipeline->inflight, request->hashes[i], request->ts);
  if (request->record != NULL) {
    kl_commit_header_encode(request->record, request->ts, writes->count, writes->encoded_bytes);
  }
  atomic_fetch_add_explicit(&pipeline->reserved_bytes, request->delta_bytes, memory_order_relaxed);
  kl_throttle_add(&manager->throttle, request->delta_bytes);
  return KL_OK;
}

void kl_commit_withdraw(kl_txn_manager *manager, kl_commit_request *request) {
  for (uint64_t i = 0; i < request->txn->writes.count; i++) {
    kl_inflight_withdraw(&manager->pipeline.inflight, request->hashes[i], request->ts);
  }
  atomic_fetch_sub_explicit(&manager->pipeline.reserved_bytes, request->delta_bytes, memory_order_relaxed);
}
