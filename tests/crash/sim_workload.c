#include "sim_workload.h"

#include <stdio.h>
#include <string.h>

#include "core/base/rng.h"

#define WORKLOAD_PATH "crash.keel"

enum {
  WORKLOAD_SEGMENT_SIZE = 64 * 1024,
  WORKLOAD_DELTA_SIZE = 6000,
  WORKLOAD_SPILL_SIZE = 9000,
  WORKLOAD_OPS_MAX = 8
};

kl_status workload_open(kl_sim *sim, kl_db **out_db, kl_error *err) {
  /* Larger values than most, and transactions with some of those, go into trees of their own before they commit. Small segments, so that batches span them and a run uses many; small deltas, so that they are drained again and
   * again, between commits, beside those that the program asks for and those at close. */
  kl_db_options options = {.durability = KL_DURABILITY_FULL,
                           .log_segment_size = WORKLOAD_SEGMENT_SIZE,
                           .group_interval_ns = 5 * 1000 * 1000,
                           .memory_limit = 256u << 20,
                           .spill_size = WORKLOAD_SPILL_SIZE,
                           .delta_size = WORKLOAD_DELTA_SIZE,
                           .drain_threads = 3, /* trees with more than some changes are merged in parts (DRAIN-19) */
                           .drain_part_bytes = 1024};
  return kl_db_open(kl_sim_os(sim), WORKLOAD_PATH, &options, out_db, err);
}

static uint32_t workload_find_key(kl_slice key) {
  for (uint32_t i = 0; i < MODEL_KEYS; i++) {
    uint8_t bytes[MODEL_KEY_MAX];
    size_t size = model_key(i, bytes);
    if (kl_slice_equal(key, kl_slice_make(bytes, size))) return i;
  }
  return UINT32_MAX;
}

/* A value starts with nothing that names its tag, so the tag is found by the caller's guess: every stored value is
 * prefixed with its tag, and the rest must be what the tag says. */
static size_t workload_value(uint32_t tag, uint8_t *out) {
  memcpy(out, &tag, sizeof tag);
  return sizeof tag + model_value(tag, out + sizeof tag);
}

static bool workload_check_value(kl_slice value, uint32_t *out_tag) {
  static uint8_t expected[sizeof(uint32_t) + MODEL_VALUE_MAX];
  if (value.size < sizeof *out_tag) return false;
  memcpy(out_tag, value.data, sizeof *out_tag);
  if (*out_tag == 0) return false;
  size_t size = workload_value(*out_tag, expected);
  return kl_slice_equal(value, kl_slice_make(expected, size));
}

static bool workload_read_keyspace(kl_txn *txn, uint32_t id, uint32_t tags[MODEL_KEYS], char *reason, size_t capacity) {
  kl_error error = {0};
  kl_cursor *cursor = NULL;
  if (kl_cursor_open(txn, id, kl_slice_make(NULL, 0), kl_slice_make(NULL, 0), &cursor, &error) != KL_OK) {
    snprintf(reason, capacity, "cursor: %s", error.message);
    return false;
  }
  bool good = true;
  uint32_t forward = 0, backward = 0;
  kl_status status = kl_cursor_first(cursor, &error);
  for (; status == KL_OK && good; status = kl_cursor_next(cursor, &error)) {
    kl_slice key, value, again;
    uint32_t tag = 0;
    good = kl_cursor_get(cursor, &key, &value, &error) == KL_OK && workload_check_value(value, &tag) &&
           kl_txn_get(txn, id, key, &again, &error) == KL_OK && kl_slice_equal(value, again);
    uint32_t index = good ? workload_find_key(key) : UINT32_MAX;
    if (index == UINT32_MAX || tags[index] != 0) good = false;
    if (good) tags[index] = tag;
    forward++;
  }
  if (good && status == KL_E_NOT_FOUND) {
    for (status = kl_cursor_last(cursor, &error); status == KL_OK; status = kl_cursor_prev(cursor, &error)) backward++;
  }
  kl_cursor_close(cursor);
  if (good && status == KL_E_NOT_FOUND && forward == backward) return true;
  snprintf(reason, capacity,
           "keyspace %u: row %u is damaged or unknown, or reading failed (%s), or %u rows forward and %u backward", id,
           forward, kl_status_name(status), forward, backward);
  return false;
}

static bool workload_read_named(kl_db *db, kl_txn *txn, kl_slice name, model_state *state, char *reason,
                                size_t capacity) {
  for (uint32_t i = 0; i < MODEL_KEYSPACES; i++) {
    const char *known = model_keyspace_names[i];
    if (!kl_slice_equal(name, kl_slice_make(known, strlen(known)))) continue;
    kl_keyspace *keyspace = NULL;
    kl_error error = {0};
    if (kl_keyspace_open(kl_db_catalogue(db), name, false, &keyspace, &error) != KL_OK) {
      snprintf(reason, capacity, "keyspace %s is listed but does not open: %s", known, error.message);
      return false;
    }
    state->exists[i] = true;
    bool good = workload_read_keyspace(txn, kl_keyspace_id(keyspace), state->tags[i], reason, capacity);
    kl_keyspace_release(keyspace);
    return good;
  }
  snprintf(reason, capacity, "unknown keyspace of %zu bytes", name.size);
  return false;
}

bool workload_read_state(kl_db *db, model_state *out_state, char *reason, size_t capacity) {
  memset(out_state, 0, sizeof *out_state);
  kl_error error = {0};
  kl_batch names;
  kl_batch_init(&names, kl_allocator_libc());
  kl_txn *txn = NULL;
  kl_txn_options options = {.read_only = true};
  bool good = kl_keyspace_list(kl_db_catalogue(db), &names, &error) == KL_OK &&
              kl_txn_begin(kl_db_txn_manager(db), &options, &txn, &error) == KL_OK;
  if (!good) snprintf(reason, capacity, "reading: %s", error.message);
  for (size_t i = 0; good && i < names.count; i++) {
    size_t size = (size_t)(names.key_offsets[i + 1] - names.key_offsets[i]);
    kl_slice name = kl_slice_make(names.keys + names.key_offsets[i], size);
    good = workload_read_named(db, txn, name, out_state, reason, capacity);
  }
  if (txn != NULL) {
    kl_txn_rollback(txn, NULL);
    kl_txn_release(txn);
  }
  kl_batch_destroy(&names);
  return good;
}

/* -- the program ------------------------------------------------------------------------------------------------ */

/* The outcome of a commit on the history: `next` is what it would make of the state. */
static void workload_note_commit(workload *work, const model_state *next, kl_status status, bool durable) {
  workload_history *history = work->history;
  uint32_t index = history->acknowledged + 1;
  if (status == KL_OK) {
    history->states[index] = *next;
    history->acknowledged = history->attempted = index;
    if (durable) history->durable = index;
    return;
  }
  /* Refused before anything was logged: it must not appear. Everything else may or may not have reached the disk. */
  bool refused = status == KL_E_DISK_FULL || status == KL_E_NO_MEMORY || status == KL_E_LIMIT ||
                 status == KL_E_CONFLICT || (status == KL_E_POISONED && history->attempted == index);
  if (!refused) {
    history->states[index] = *next;
    history->attempted = index;
  }
}

static kl_status workload_set_keyspace(workload *work, uint32_t which, bool exists, kl_error *err) {
  model_state next = work->history->states[work->history->acknowledged];
  const char *name = model_keyspace_names[which];
  kl_slice slice = kl_slice_make(name, strlen(name));
  kl_status status;
  if (exists) {
    kl_keyspace *keyspace = NULL;
    status = kl_keyspace_open(kl_db_catalogue(work->db), slice, true, &keyspace, err);
    kl_keyspace_release(keyspace);
  } else {
    status = kl_keyspace_drop(kl_db_catalogue(work->db), slice, err);
  }
  next.exists[which] = exists;
  memset(next.tags[which], 0, sizeof next.tags[which]);
  workload_note_commit(work, &next, status, true);
  return status;
}

/* One operation of a transaction. *writes counts what goes into its record: a transaction without any is no commit. */
static kl_status workload_op(workload *work, kl_rng *rng, kl_txn *txn, uint32_t which, uint32_t id, model_state *next,
                             uint64_t *writes, kl_error *err) {
  static uint8_t value[sizeof(uint32_t) + MODEL_VALUE_MAX];
  uint8_t key[MODEL_KEY_MAX], upper[MODEL_KEY_MAX];
  uint32_t index = (uint32_t)kl_rng_below(rng, MODEL_KEYS);
  kl_slice key_slice = kl_slice_make(key, model_key(index, key));
  if (key_slice.size == 0) key_slice.data = "";
  uint64_t kind = kl_rng_below(rng, 20);
  uint32_t width = 1 + (uint32_t)kl_rng_below(rng, 10);
  if (kind == 0) {
    uint32_t end = index + width < MODEL_KEYS ? index + width : MODEL_KEYS;
    kl_slice upper_slice = kl_slice_make(NULL, 0);
    if (end < MODEL_KEYS) upper_slice = kl_slice_make(upper, model_key(end, upper));
    uint64_t count = 0, expected = 0;
    kl_status status = kl_txn_delete_range(txn, id, key_slice, upper_slice, &count, err);
    for (uint32_t i = index; i < end; i++) {
      expected += next->tags[which][i] != 0;
      next->tags[which][i] = 0;
    }
    if (status == KL_OK && count != expected) {
      snprintf(work->failure, sizeof work->failure, "delete_range removed %llu keys instead of %llu",
               (unsigned long long)count, (unsigned long long)expected);
    }
    *writes += count;
    return status;
  }
  *writes += 1;
  if (kind < 5) {
    next->tags[which][index] = 0;
    return kl_txn_delete(txn, id, key_slice, err);
  }
  uint32_t tag = ++work->history->next_tag;
  next->tags[which][index] = tag;
  return kl_txn_put(txn, id, key_slice, kl_slice_make(value, workload_value(tag, value)), err);
}

static kl_status workload_transaction(workload *work, kl_rng *rng, kl_error *err) {
  static const kl_durability durabilities[] = {KL_DURABILITY_FULL, KL_DURABILITY_DEFAULT, KL_DURABILITY_GROUP,
                                               KL_DURABILITY_NONE};
  kl_txn_options options = {.durability = durabilities[kl_rng_below(rng, 4)]};
  uint64_t ops = 1 + kl_rng_below(rng, WORKLOAD_OPS_MAX);
  bool roll_back = kl_rng_below(rng, 12) == 0;
  model_state next = work->history->states[work->history->acknowledged];
  kl_keyspace *keyspaces[MODEL_KEYSPACES] = {NULL};
  kl_txn *txn = NULL;
  uint64_t writes = 0;
  kl_status status = KL_OK;
  for (uint32_t i = 0; status == KL_OK && i < MODEL_KEYSPACES; i++) {
    if (!next.exists[i]) continue;
    const char *name = model_keyspace_names[i];
    status = kl_keyspace_open(kl_db_catalogue(work->db), kl_slice_make(name, strlen(name)), false, &keyspaces[i], err);
  }
  if (status == KL_OK) status = kl_txn_begin(kl_db_txn_manager(work->db), &options, &txn, err);
  for (uint64_t i = 0; status == KL_OK && i < ops; i++) {
    uint32_t which = (uint32_t)kl_rng_below(rng, MODEL_KEYSPACES);
    if (keyspaces[which] == NULL) continue;
    status = workload_op(work, rng, txn, which, kl_keyspace_id(keyspaces[which]), &next, &writes, err);
  }
  if (status == KL_OK && roll_back) {
    status = kl_txn_rollback(txn, err);
  } else if (status == KL_OK) {
    status = kl_txn_commit(txn, NULL, err);
    bool durable = options.durability == KL_DURABILITY_FULL || options.durability == KL_DURABILITY_DEFAULT;
    if (writes != 0) workload_note_commit(work, &next, status, durable);
  } else if (txn != NULL) {
    kl_txn_rollback(txn, NULL);
  }
  if (txn != NULL) kl_txn_release(txn);
  for (uint32_t i = 0; i < MODEL_KEYSPACES; i++) {
    if (keyspaces[i] != NULL) kl_keyspace_release(keyspaces[i]);
  }
  return status;
}

static kl_status workload_step(workload *work, kl_rng *rng, kl_error *err) {
  workload_history *history = work->history;
  const model_state *now = &history->states[history->acknowledged];
  uint64_t kind = kl_rng_below(rng, 100);
  uint64_t pause = kl_rng_below(rng, 8 * 1000 * 1000);
  uint32_t which = (uint32_t)kl_rng_below(rng, MODEL_KEYSPACES);
  if (kind < 4) {
    kl_status status = kl_db_flush(work->db, err);
    if (status == KL_OK) history->durable = history->acknowledged;
    return status;
  }
  if (kind < 7) { /* a drain that succeeds leaves nothing behind */
    kl_status status = kind < 6 ? kl_db_make_checkpoint(work->db, err) : kl_db_compact(work->db, NULL, NULL, NULL, err);
    if (status == KL_OK) history->durable = history->acknowledged;
    return status;
  }
  if (kind < 11 && !work->never_reopen) {
    kl_status status = kl_db_release(work->db, err);
    work->db = NULL;
    /* A clean close syncs or drains what was acknowledged with durability `group`; `none` promises nothing, so `durable`
     * stays. */
    kl_status opened = workload_open(work->sim, &work->db, status == KL_OK ? err : NULL);
    return status != KL_OK ? status : opened;
  }
  if (kind < 20 || !(now->exists[0] || now->exists[1] || now->exists[2])) {
    bool drop = now->exists[which] && kind < 14;
    if (drop || !now->exists[which]) return workload_set_keyspace(work, which, !drop, err);
  }
  kl_sim_advance_clock(work->sim, pause);
  return workload_transaction(work, rng, err);
}

kl_status workload_run(workload *work, kl_error *err) {
  workload_history *history = work->history;
  memset(history, 0, sizeof *history);
  work->db = NULL;
  work->failure[0] = '\0';
  kl_rng rng;
  kl_rng_init(&rng, work->seed);
  kl_status status = workload_open(work->sim, &work->db, err);
  history->created = status == KL_OK;
  for (uint32_t step = 0; step < work->steps && history->acknowledged < WORKLOAD_COMMITS_MAX; step++) {
    if (work->db == NULL || work->failure[0] != '\0') break;
    kl_status result = workload_step(work, &rng, err);
    if (result == KL_OK) continue;
    status = result;
    if (!work->go_on_after_errors || result == KL_E_POISONED || kl_sim_crashed(work->sim)) break;
  }
  return status;
}
