/* tests/stress/stress_api.c: threads that call the whole ABI in random order on handles they all share, rightly and
 * wrongly.
 *
 * Handles lie in shared slots: one thread opens into a slot while another uses or closes what is there, and some
 * handles are guesses. What must hold all along: every function answers with a status that it documents and
 * describes; no view's bytes change before it is released, however long after the end of everything else that is;
 * what a transaction of a thread's own reads is whole and is what it wrote. At the end, when everything is closed but
 * the databases, nothing is live, and each database opens again with rows that are whole. */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>

#include "stress.h"

enum { THREADS = 4, DBS = 4, KEYSPACES = 12, TXNS = 12, CURSORS = 12, VIEWS = 48, BATCHES = 4, KEYS = 60, ROWS = 24 };

typedef _Atomic(uint64_t) slot;

typedef struct pinned_view { /* taken out of its slot by whoever looks at its bytes */
  keel_view view;
  const void *data;
  size_t size;
  uint64_t hash;
} pinned_view;

static struct {
  stress_options options;
  char paths[DBS][300]; /* the last is :memory: */
  slot dbs[DBS * 2], keyspaces[KEYSPACES], txns[TXNS], cursors[CURSORS], batches[BATCHES];
  pthread_mutex_t views_mutex;
  pinned_view views[VIEWS];
  _Atomic uint64_t stamps;
} api = {.views_mutex = PTHREAD_MUTEX_INITIALIZER};

typedef struct worker {
  stress_rng rng;
  size_t home; /* the database whose handles this step prefers; those of database i lie in slots i, i + DBS ... */
  uint8_t value[STRESS_VALUE_MAX];
  uint8_t packed[ROWS * (12 + 16 + 64)];
} worker;

/* ---- What to call with ---- */

static slot *pick(worker *w, slot *slots, size_t count) {
  if (stress_chance(&w->rng, 10)) return &slots[stress_below(&w->rng, count)];
  return &slots[w->home + DBS * stress_below(&w->rng, count / DBS)];
}

static uint64_t handle_of(worker *w, slot *slots, size_t count) {
  uint64_t handle = atomic_load(pick(w, slots, count));
  /* A guess must not hit a transaction or cursor of somebody's own, whose bytes are being looked at: of these kinds
   * only generations are guessed that are never reached. */
  bool lends = slots == api.txns || slots == api.cursors;
  switch (stress_below(&w->rng, 60)) {
    case 0:
      return lends ? stress_next(&w->rng) | UINT64_C(1) << 60 : stress_next(&w->rng);
    case 1:
      return handle + (UINT64_C(1) << (lends ? 45 : 21)); /* the generation that comes next */
    case 2:
      return handle ^ (UINT64_C(1) << (lends ? 45 + stress_below(&w->rng, 8) : stress_below(&w->rng, 53)));
    case 3:
      return atomic_load(pick(w, api.cursors, CURSORS)); /* most likely another kind */
    default:
      return handle;
  }
}
#define DB(w) handle_of(w, api.dbs, DBS * 2)
#define KEYSPACE(w) handle_of(w, api.keyspaces, KEYSPACES)
#define TXN(w) handle_of(w, api.txns, TXNS)
#define CURSOR(w) handle_of(w, api.cursors, CURSORS)
#define BATCH(w) handle_of(w, api.batches, BATCHES)

static size_t random_key(worker *w, char out[32]) {
  return (size_t)snprintf(out, 32, "key %04d", (int)stress_below(&w->rng, KEYS));
}

static size_t random_name(worker *w, char out[32]) {
  return (size_t)snprintf(out, 32, "space %d", (int)stress_below(&w->rng, 5));
}

static size_t random_value(worker *w) {
  size_t size = stress_chance(&w->rng, 20) ? stress_below(&w->rng, STRESS_VALUE_MAX) : stress_below(&w->rng, 100);
  return stress_value(w->value, atomic_fetch_add(&api.stamps, 1), size);
}

/* Puts a new handle into a slot; what was there goes to `close`, which may find it closed already. */
static void replace(slot *place, uint64_t handle, keel_status (*close)(uint64_t handle)) {
  uint64_t old = atomic_exchange(place, handle);
  if (old != 0) (void)close(old);
}
static keel_status close_db(uint64_t handle) {
  return CALL(close, handle);
}
static keel_status close_keyspace(uint64_t handle) {
  return CALL(keyspace_close, handle);
}
static keel_status close_txn(uint64_t handle) {
  return CALL(rollback, handle);
}
static keel_status close_cursor(uint64_t handle) {
  return CALL(cursor_close, handle);
}
static keel_status close_batch(uint64_t handle) {
  return CALL(batch_free, handle);
}

/* An exclusive handle may be in use by another thread, which then answers concurrent_use: it has to be closed later. */
static void close_surely(uint64_t handle, keel_status (*close)(uint64_t handle)) {
  while (close(handle) == KEEL_E_CONCURRENT_USE) (void)sched_yield();
}
static void replace_exclusive(slot *place, uint64_t handle, keel_status (*close)(uint64_t handle)) {
  uint64_t old = atomic_exchange(place, handle);
  if (old != 0) close_surely(old, close);
}

/* ---- Views ---- */

static void release_view(const pinned_view *pinned) {
  if (pinned->view == 0) return;
  const void *data = NULL;
  size_t size = 0;
  if (!MUST(view_data, pinned->view, &data, &size)) return;
  uint64_t stamp;
  if (data != pinned->data || size != pinned->size || stress_hash(data, size) != pinned->hash) {
    stress_fail("a view's bytes have changed");
  } else if (!stress_value_is_whole(data, size, &stamp)) {
    stress_fail("a view shows what nobody wrote");
  }
  (void)MUST(view_release, pinned->view);
  if (CALL(view_data, pinned->view, &data, &size) != KEEL_E_HANDLE) stress_fail("a released view still answers");
}

/* Keeps the view until another one takes its place, which may be long after its database was closed. */
static void keep_view(worker *w, keel_view view) {
  pinned_view pinned = {.view = view};
  if (!MUST(view_data, view, &pinned.data, &pinned.size)) return;
  pinned.hash = stress_hash(pinned.data, pinned.size);
  size_t place = stress_below(&w->rng, VIEWS);
  (void)pthread_mutex_lock(&api.views_mutex);
  pinned_view old = api.views[place];
  api.views[place] = pinned;
  (void)pthread_mutex_unlock(&api.views_mutex);
  release_view(&old);
}

/* ---- On shared handles: only the statuses tell; what they lend may be gone at once ---- */

static void shared_open(worker *w) {
  keel_options options = KEEL_OPTIONS_INIT;
  options.flags = stress_chance(&w->rng, 10) ? (uint32_t)stress_below(&w->rng, 9) : 0;
  options.durability = stress_chance(&w->rng, 4) ? (uint32_t)stress_below(&w->rng, 5) : 0;
  options.log_segment_size = 65536;
  options.delta_size = w->home % 2 == 0 ? 30000 : 0; /* drained all the time, or only when asked */
  options.cache_size = 1;                            /* as small as can be */
  keel_db db = 0;
  if (CALL(open, api.paths[w->home], &options, &db) != KEEL_OK) return;
  replace(&api.dbs[w->home + DBS * stress_below(&w->rng, 2)], db, close_db);
}

static void shared_keyspace(worker *w) {
  char name[32];
  size_t size = random_name(w, name);
  keel_keyspace keyspace = 0;
  keel_keyspace_options options = KEEL_KEYSPACE_OPTIONS_INIT;
  options.flags = stress_chance(&w->rng, 5);
  switch (stress_below(&w->rng, 8)) {
    case 0:
      (void)CALL(keyspace_drop, DB(w), name, size);
      break;
    case 1:
      (void)CALL(keyspace_close, KEYSPACE(w));
      break;
    case 2:
      (void)CALL(keyspace_list, DB(w), BATCH(w));
      break;
    default:
      if (CALL(keyspace_open, DB(w), name, size, &options, &keyspace) != KEEL_OK) return;
      replace(pick(w, api.keyspaces, KEYSPACES), keyspace, close_keyspace);
  }
}

static void shared_begin(worker *w) {
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  options.flags = stress_chance(&w->rng, 4);
  options.isolation = stress_chance(&w->rng, 4) ? (uint32_t)stress_below(&w->rng, 7) : 0;
  options.durability = (uint32_t)stress_below(&w->rng, 4);
  options.label = stress_chance(&w->rng, 2) ? "stress" : NULL;
  keel_txn txn = 0;
  if (CALL(begin, DB(w), stress_chance(&w->rng, 5) ? NULL : &options, &txn) != KEEL_OK) return;
  replace_exclusive(pick(w, api.txns, TXNS), txn, close_txn);
}

static void shared_read(worker *w) {
  char key[32], buffer[128];
  size_t key_size = random_key(w, key), size = 0;
  const void *value = NULL;
  keel_view view = 0;
  uint64_t offsets[4] = {0, 3, key_size, key_size};
  switch (stress_below(&w->rng, 6)) {
    case 0:
      (void)CALL(get, TXN(w), KEYSPACE(w), key, key_size, &value, &size);
      break;
    case 1:
      (void)CALL(get_copy, TXN(w), KEYSPACE(w), key, key_size, buffer, sizeof buffer, &size);
      break;
    case 2:
      if (stress_chance(&w->rng, 4)) offsets[2] = stress_next(&w->rng);
      (void)CALL(get_many, TXN(w), KEYSPACE(w), key, offsets, 3, BATCH(w));
      break;
    default:
      if (CALL(get_view, TXN(w), KEYSPACE(w), key, key_size, &view) == KEEL_OK) keep_view(w, view);
  }
}

/* Some rows for keel_write_batch; now and then damaged. */
static size_t random_packed(worker *w) {
  size_t used = 0;
  for (uint64_t rows = stress_below(&w->rng, ROWS); rows > 0; rows--) {
    char key[32];
    uint32_t key_size = (uint32_t)random_key(w, key);
    uint32_t value_size = 0;
    uint8_t *entry = w->packed + used;
    memset(entry, 0, 4);
    entry[0] = stress_chance(&w->rng, 3) ? KEEL_BATCH_DELETE : KEEL_BATCH_PUT;
    if (entry[0] == KEEL_BATCH_PUT) {
      value_size =
          (uint32_t)stress_value(entry + 12 + key_size, atomic_fetch_add(&api.stamps, 1), stress_below(&w->rng, 60));
    }
    memcpy(entry + 4, &key_size, 4);
    memcpy(entry + 8, &value_size, 4);
    memcpy(entry + 12, key, key_size);
    used += 12 + key_size + value_size;
  }
  return used;
}

static void shared_write(worker *w) {
  char key[32], key_to[32];
  size_t key_size = random_key(w, key), key_to_size = random_key(w, key_to), size;
  uint64_t count = 0;
  switch (stress_below(&w->rng, 8)) {
    case 0:
      (void)CALL(del, TXN(w), KEYSPACE(w), key, key_size);
      break;
    case 1:
      (void)CALL(del_range, TXN(w), KEYSPACE(w), key, key_size, key_to, key_to_size, &count);
      break;
    case 2:
      size = random_packed(w);
      (void)CALL(write_batch, TXN(w), KEYSPACE(w), w->packed, size, &count);
      break;
    default:
      size = random_value(w);
      (void)CALL(put, TXN(w), KEYSPACE(w), key, key_size, w->value, size);
  }
}

static void shared_end(worker *w) {
  uint64_t timestamp = 0;
  if (stress_chance(&w->rng, 4)) {
    (void)CALL(rollback, TXN(w));
  } else {
    (void)CALL(commit, TXN(w), &timestamp);
  }
}

static void shared_cursor_open(worker *w) {
  keel_cursor_options options = KEEL_CURSOR_OPTIONS_INIT;
  char lower[32], upper[32];
  if (stress_chance(&w->rng, 3)) {
    options.lower_size = random_key(w, lower);
    options.lower = lower;
  }
  if (stress_chance(&w->rng, 3)) {
    options.upper_size = random_key(w, upper);
    options.upper = upper;
  }
  if (stress_chance(&w->rng, 3)) {
    options.prefix = "key 00";
    options.prefix_size = 1 + stress_below(&w->rng, 6);
  }
  keel_cursor cursor = 0;
  if (CALL(cursor_open, TXN(w), KEYSPACE(w), &options, &cursor) != KEEL_OK) return;
  replace_exclusive(pick(w, api.cursors, CURSORS), cursor, close_cursor);
}

static void shared_cursor_use(worker *w) {
  char key[32];
  size_t key_size = random_key(w, key), value_size = 0;
  const void *row_key = NULL, *value = NULL;
  size_t max_rows = stress_below(&w->rng, 20), max_bytes = stress_below(&w->rng, 3) * 50;
  switch (stress_below(&w->rng, 10)) {
    case 0:
      (void)CALL(cursor_first, CURSOR(w));
      break;
    case 1:
      (void)CALL(cursor_last, CURSOR(w));
      break;
    case 2:
      (void)CALL(cursor_next, CURSOR(w));
      break;
    case 3:
      (void)CALL(cursor_prev, CURSOR(w));
      break;
    case 4:
      (void)CALL(cursor_seek, CURSOR(w), key, key_size);
      break;
    case 5:
      (void)CALL(cursor_seek_le, CURSOR(w), key, key_size);
      break;
    case 6:
      (void)CALL(cursor_get, CURSOR(w), &row_key, &key_size, &value, &value_size);
      break;
    case 7:
      (void)CALL(cursor_next_batch, CURSOR(w), max_rows, max_bytes, BATCH(w));
      break;
    case 8:
      (void)CALL(cursor_prev_batch, CURSOR(w), max_rows, max_bytes, BATCH(w));
      break;
    default:
      (void)CALL(cursor_close, CURSOR(w));
  }
}

static void shared_other(worker *w) {
  keel_stats stats = KEEL_STATS_INIT;
  keel_checkpoint checkpoint = KEEL_CHECKPOINT_INIT;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  keel_batch batch = 0;
  int32_t enabled = 0;
  switch (stress_below(&w->rng, 9)) {
    case 8:
      (void)CALL(make_checkpoint, DB(w));
      break;
    case 0:
      (void)CALL(close, DB(w));
      break;
    case 1:
      (void)CALL(flush, DB(w));
      break;
    case 2:
      (void)CALL(last_checkpoint, DB(w), &checkpoint);
      break;
    case 3:
      (void)CALL(get_stats, DB(w), &stats);
      break;
    case 4:
      (void)CALL(batch_data, BATCH(w), &view);
      break;
    case 5:
      (void)CALL(feature, "memory_database", &enabled);
      break;
    default:
      if (CALL(batch_new, &batch) == KEEL_OK) replace_exclusive(pick(w, api.batches, BATCHES), batch, close_batch);
  }
}

/* ---- A transaction of the thread's own, in a shared keyspace: what it sees can be checked ---- */

static void own_check(keel_txn txn, keel_keyspace keyspace, const char *key, uint64_t stamp, bool there) {
  const void *value = NULL;
  size_t size = 0;
  uint64_t found = 0;
  keel_status status = CALL(get, txn, keyspace, key, strlen(key), &value, &size);
  if (status == KEEL_E_HANDLE || status == KEEL_E_KEYSPACE_NOT_FOUND) return; /* somebody closed or dropped it */
  if (status == KEEL_E_NOT_FOUND ? there : status != KEEL_OK || !there) {
    stress_fail("own key %s: %s, written: %d", key, keel_status_name(status), there);
  } else if (there && (!stress_value_is_whole(value, size, &found) || found != stamp)) {
    stress_fail("own key %s: another value than the one written", key);
  }
}

static void own_scan(worker *w, keel_txn txn, keel_keyspace keyspace) {
  keel_cursor cursor = 0;
  char last[32] = "";
  if (CALL(cursor_open, txn, keyspace, NULL, &cursor) != KEEL_OK) return;
  keel_status status;
  int rows = 0;
  while ((status = CALL(cursor_next, cursor)) == KEEL_OK) {
    const void *key = NULL, *value = NULL;
    size_t key_size = 0, value_size = 0;
    uint64_t stamp;
    if (!MUST(cursor_get, cursor, &key, &key_size, &value, &value_size)) break;
    if (key_size >= sizeof last || memcmp(key, last, key_size) < 0) stress_fail("a scan goes backwards");
    if (!stress_value_is_whole(value, value_size, &stamp)) stress_fail("a scan shows what nobody wrote");
    if (key_size < sizeof last) {
      memcpy(last, key, key_size);
      last[key_size] = '\0';
    }
    if (++rows > KEYS) stress_fail("a scan of more rows than there are keys");
    /* The cursor goes on while its transaction writes, also the row it stands on. */
    if (stress_chance(&w->rng, 8)) (void)CALL(del, txn, keyspace, last, strlen(last));
  }
  if (status != KEEL_E_NOT_FOUND) stress_fail("a scan ended with %s", keel_status_name(status));
  if (stress_chance(&w->rng, 2)) {
    (void)MUST(cursor_close, cursor);
  } else { /* left open until after the transaction */
    replace_exclusive(pick(w, api.cursors, CURSORS), cursor, close_cursor);
  }
}

static void own_transaction(worker *w) {
  keel_txn txn = 0;
  keel_db db = DB(w);
  keel_keyspace keyspace = KEYSPACE(w);
  if (CALL(begin, db, NULL, &txn) != KEEL_OK) return;
  uint64_t stamps[8];
  bool there[8];
  char keys[8][32];
  int written = 0;
  for (; written < 8 && !stress_chance(&w->rng, 9); written++) {
    (void)snprintf(keys[written], 32, "key %04d", written * 7);
    there[written] = !stress_chance(&w->rng, 4);
    size_t size = random_value(w);
    (void)stress_value_is_whole(w->value, size, &stamps[written]);
    keel_status status = there[written] ? CALL(put, txn, keyspace, keys[written], strlen(keys[written]), w->value, size)
                                        : CALL(del, txn, keyspace, keys[written], strlen(keys[written]));
    if (status != KEEL_OK) break;
  }
  for (int i = 0; i < written; i++) own_check(txn, keyspace, keys[i], stamps[i], there[i]);
  keel_view view = 0;
  if (written > 0 && CALL(get_view, txn, keyspace, keys[0], strlen(keys[0]), &view) == KEEL_OK) keep_view(w, view);
  own_scan(w, txn, keyspace);
  uint64_t timestamp;
  keel_status end = stress_chance(&w->rng, 3) ? CALL(rollback, txn) : CALL(commit, txn, &timestamp);
  /* Another thread may move the cursor that was left open. */
  while (end == KEEL_E_CONCURRENT_USE) end = CALL(rollback, txn);
  if (CALL(commit, txn, &timestamp) != KEEL_E_FINISHED) stress_fail("an ended transaction does not say so");
}

/* ---- Threads ---- */

static void step(worker *w) {
  w->home = stress_below(&w->rng, DBS);
  switch (stress_below(&w->rng, 16)) {
    case 0:
      shared_open(w);
      break;
    case 1:
      shared_keyspace(w);
      break;
    case 2:
    case 3:
      shared_begin(w);
      break;
    case 4:
    case 5:
      shared_read(w);
      break;
    case 6:
    case 7:
    case 8:
      shared_write(w);
      break;
    case 9:
      shared_end(w);
      break;
    case 10:
      shared_cursor_open(w);
      break;
    case 11:
    case 12:
      shared_cursor_use(w);
      break;
    case 13:
      shared_other(w);
      break;
    default:
      own_transaction(w);
  }
}

static void *thread_main(void *context) {
  worker *w = context;
  while (stress_goes_on()) step(w);
  return NULL;
}

/* ---- The end ---- */

static void close_all(slot *slots, size_t count, keel_status (*close)(uint64_t handle)) {
  for (size_t i = 0; i < count; i++) replace(&slots[i], 0, close);
}

static void check_nothing_live(keel_db db) {
  keel_stats stats = KEEL_STATS_INIT;
  if (CALL(get_stats, db, &stats) != KEEL_OK) return; /* closed by somebody */
  if (stats.transactions_live != 0 || stats.views_live != 0 || stats.snapshots_live != 0 || stats.poisoned != 0) {
    stress_fail("live at the end: %" PRIu64 " transactions, %" PRIu64 " views, %" PRIu64 " snapshots; poisoned %u",
                stats.transactions_live, stats.views_live, stats.snapshots_live, stats.poisoned);
  }
}

/* Opens the database anew, and looks at every row of every keyspace. */
static void check_rows(const char *path) {
  keel_db db = 0;
  keel_txn txn = 0;
  keel_batch names = 0, rows = 0;
  keel_batch_view list = KEEL_BATCH_VIEW_INIT;
  if (!MUST(open, path, NULL, &db) || !MUST(batch_new, &names) || !MUST(batch_new, &rows) ||
      !MUST(keyspace_list, db, names) || !MUST(batch_data, names, &list) || !MUST(begin, db, NULL, &txn)) {
    return;
  }
  for (uint64_t i = 0; i < list.count; i++) {
    const char *name = (const char *)list.keys + list.key_offsets[i];
    keel_keyspace keyspace = 0;
    keel_cursor cursor = 0;
    keel_batch_view view = KEEL_BATCH_VIEW_INIT;
    if (!MUST(keyspace_open, db, name, list.key_offsets[i + 1] - list.key_offsets[i], NULL, &keyspace) ||
        !MUST(cursor_open, txn, keyspace, NULL, &cursor) || !MUST(cursor_next_batch, cursor, 0, 0, rows) ||
        !MUST(batch_data, rows, &view)) {
      return;
    }
    for (uint64_t row = 0; row < view.count; row++) {
      uint64_t stamp;
      const uint8_t *value = (const uint8_t *)view.values + view.value_offsets[row];
      if (!stress_value_is_whole(value, view.value_offsets[row + 1] - view.value_offsets[row], &stamp)) {
        stress_fail("%s: a row is damaged after reopening", path);
      }
    }
    (void)MUST(cursor_close, cursor);
    (void)MUST(keyspace_close, keyspace);
  }
  (void)MUST(rollback, txn);
  (void)MUST(batch_free, names);
  (void)MUST(batch_free, rows);
  (void)MUST(close, db);
}

int main(int argc, char **argv) {
  stress_begin(argc, argv, "stress_api", 6, &api.options);
  for (int i = 0; i < DBS - 1; i++) {
    (void)snprintf(api.paths[i], sizeof api.paths[i], "%s/db%d", api.options.folder, i);
  }
  (void)snprintf(api.paths[DBS - 1], sizeof api.paths[DBS - 1], ":memory:");
  static worker workers[THREADS];
  pthread_t threads[THREADS];
  int running = 0;
  for (; running < THREADS; running++) {
    workers[running].rng.state = api.options.seed * 1000 + (uint64_t)running;
    if (pthread_create(&threads[running], NULL, thread_main, &workers[running]) != 0) break;
  }
  for (int i = 0; i < running; i++) (void)pthread_join(threads[i], NULL);
  close_all(api.cursors, CURSORS, close_cursor);
  close_all(api.txns, TXNS, close_txn);
  close_all(api.keyspaces, KEYSPACES, close_keyspace);
  for (int i = 0; i < VIEWS; i++) release_view(&api.views[i]);
  close_all(api.batches, BATCHES, close_batch);
  for (int i = 0; i < DBS * 2; i++) check_nothing_live(atomic_load(&api.dbs[i]));
  close_all(api.dbs, DBS * 2, close_db);
  for (int i = 0; i < DBS - 1; i++) check_rows(api.paths[i]);
  return stress_end(&api.options);
}
