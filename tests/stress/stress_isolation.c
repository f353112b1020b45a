/* tests/stress/stress_isolation.c: what snapshot isolation promises, checked on what threads see while others commit.
 *
 *   transfers   money moves between accounts: every snapshot has the same sum
 *   counters    read, add one, commit: no acknowledged increment is lost, and what was acknowledged before a
 *               transaction began is seen by it
 *   stamps      every commit rewrites all rows with one stamp: whatever way a snapshot is read, it shows one stamp
 *   forks       two counters with a writer each: no two snapshots see them in opposite orders
 *   drops       keyspaces are dropped and made anew under writers: a row never survives the keyspace it was written to
 *
 * All durabilities are mixed. After each round the database is closed, opened again, and compared with what was
 * acknowledged. One more round runs on :memory:. */
#include <inttypes.h>
#include <pthread.h>

#include "stress.h"

enum {
  THREADS = 4,
  ROUNDS = 3, /* on a file */
  ACCOUNTS = 16,
  MONEY = 1000, /* in each account at the beginning */
  COUNTERS = 6,
  STAMPED = 40,
  FORK_PAIRS = 200000,
  DROPPED_ROWS = 8
};

static struct {
  stress_options options;
  keel_db db;
  keel_keyspace bank, counters, stamps, forks;
  uint64_t until;
  _Atomic uint64_t acknowledged[COUNTERS]; /* increments */
  _Atomic uint64_t fork_acknowledged[2];
  _Atomic uint64_t next_stamp;
  pthread_mutex_t newest_mutex;
  uint64_t newest_ts, newest_stamp; /* of the acknowledged rewrites */
  _Atomic uint64_t transfers, rewrites, conflicts;
} iso = {.newest_mutex = PTHREAD_MUTEX_INITIALIZER};

typedef struct worker {
  stress_rng rng;
  keel_batch batch;
  uint64_t fork_count;
  uint64_t (*fork_seen)[2];
} worker;

/* ---- Small things ---- */

static keel_txn begin(worker *w, bool read_only) {
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  keel_txn txn = 0;
  options.flags = read_only ? KEEL_TXN_READ_ONLY : 0;
  options.durability = 1 + (uint32_t)stress_below(&w->rng, 3);
  if (stress_chance(&w->rng, 4)) options.durability = KEEL_DURABILITY_DEFAULT;
  (void)MUST(begin, iso.db, &options, &txn);
  return txn;
}

static bool commit(keel_txn txn, uint64_t *out_ts) {
  keel_status status = CALL(commit, txn, out_ts);
  if (status == KEEL_E_CONFLICT) {
    atomic_fetch_add(&iso.conflicts, 1);
  } else if (status != KEEL_OK) {
    (void)stress_must("commit", status);
  }
  return status == KEEL_OK;
}

static size_t key_of(char out[16], uint64_t number) {
  return (size_t)snprintf(out, 16, "%06" PRIu64, number);
}

/* 0 when there is none. */
static uint64_t read_number(keel_txn txn, keel_keyspace keyspace, uint64_t number) {
  char key[16];
  const void *value = NULL;
  size_t size = 0;
  uint64_t result = 0;
  keel_status status = CALL(get, txn, keyspace, key, key_of(key, number), &value, &size);
  if (status == KEEL_E_NOT_FOUND) return 0;
  if (!stress_must("get", status)) return 0;
  if (size != sizeof result) {
    stress_fail("a number of %zu bytes", size);
  } else {
    memcpy(&result, value, sizeof result);
  }
  return result;
}

static void write_number(keel_txn txn, keel_keyspace keyspace, uint64_t number, uint64_t value) {
  char key[16];
  (void)MUST(put, txn, keyspace, key, key_of(key, number), &value, sizeof value);
}

/* ---- What writers do ---- */

static void transfer(worker *w) {
  uint64_t from = stress_below(&w->rng, ACCOUNTS), to = stress_below(&w->rng, ACCOUNTS), ts = 0;
  if (from == to) return;
  keel_txn txn = begin(w, false);
  uint64_t a = read_number(txn, iso.bank, from), b = read_number(txn, iso.bank, to);
  uint64_t amount = a == 0 ? 0 : stress_below(&w->rng, a);
  write_number(txn, iso.bank, from, a - amount);
  write_number(txn, iso.bank, to, b + amount);
  if (stress_chance(&w->rng, 10)) {
    (void)MUST(rollback, txn);
  } else if (commit(txn, &ts)) {
    atomic_fetch_add(&iso.transfers, 1);
  }
}

static void increment(worker *w) {
  uint64_t which = stress_below(&w->rng, COUNTERS), ts = 0;
  uint64_t before = atomic_load(&iso.acknowledged[which]);
  keel_txn txn = begin(w, false);
  uint64_t value = read_number(txn, iso.counters, which);
  if (value < before) {
    stress_fail("counter %" PRIu64 " is %" PRIu64 " in a snapshot that began after %" PRIu64 " were acknowledged",
                which, value, before);
  }
  write_number(txn, iso.counters, which, value + 1);
  if (commit(txn, &ts)) atomic_fetch_add(&iso.acknowledged[which], 1);
}

static void rewrite_rows(worker *w, keel_txn txn, uint64_t stamp) {
  uint8_t packed[STAMPED * (12 + 6 + 8)];
  size_t used = 0;
  uint64_t count = 0;
  if (stress_chance(&w->rng, 3)) {
    (void)MUST(del_range, txn, iso.stamps, NULL, 0, NULL, 0, &count);
    if (count != STAMPED) stress_fail("del_range removed %" PRIu64 " rows of %d", count, STAMPED);
  }
  if (stress_chance(&w->rng, 2)) {
    for (uint64_t i = 0; i < STAMPED; i++) write_number(txn, iso.stamps, i, stamp);
    return;
  }
  for (uint64_t i = 0; i < STAMPED; i++) {
    static const uint8_t head[12] = {KEEL_BATCH_PUT, 0, 0, 0, 6, 0, 0, 0, 8, 0, 0, 0};
    char key[16];
    memcpy(packed + used, head, 12);
    memcpy(packed + used + 12, key, key_of(key, i));
    memcpy(packed + used + 18, &stamp, 8);
    used += 26;
  }
  (void)MUST(write_batch, txn, iso.stamps, packed, used, &count);
}

static void rewrite(worker *w) {
  uint64_t stamp = atomic_fetch_add(&iso.next_stamp, 1), ts = 0;
  keel_txn txn = begin(w, false);
  rewrite_rows(w, txn, stamp);
  if (!commit(txn, &ts)) return;
  atomic_fetch_add(&iso.rewrites, 1);
  (void)pthread_mutex_lock(&iso.newest_mutex);
  if (ts == iso.newest_ts) stress_fail("two commits have the timestamp %" PRIu64, ts);
  if (ts > iso.newest_ts) {
    iso.newest_ts = ts;
    iso.newest_stamp = stamp;
  }
  (void)pthread_mutex_unlock(&iso.newest_mutex);
}

static void fork_write(worker *w) {
  uint64_t which = stress_below(&w->rng, 2), ts = 0;
  keel_txn txn = begin(w, false);
  write_number(txn, iso.forks, which, read_number(txn, iso.forks, which) + 1);
  if (commit(txn, &ts)) atomic_fetch_add(&iso.fork_acknowledged[which], 1);
}

/* ---- What readers see ---- */

static void see_stamp(const void *key, size_t key_size, const void *value, size_t value_size, uint64_t row,
                      uint64_t *stamp) {
  char expected[16];
  uint64_t number = 0;
  if (key_size != key_of(expected, row) || memcmp(key, expected, key_size) != 0 || value_size != sizeof number) {
    stress_fail("row %" PRIu64 " of a scan is not the row that is there", row);
    return;
  }
  memcpy(&number, value, sizeof number);
  if (*stamp == 0) *stamp = number;
  if (number != *stamp) stress_fail("one scan shows the stamps %" PRIu64 " and %" PRIu64, *stamp, number);
}

static uint64_t scan_with_moves(keel_txn txn, bool forward) {
  keel_cursor cursor = 0;
  uint64_t stamp = 0, rows = 0;
  if (!MUST(cursor_open, txn, iso.stamps, NULL, &cursor)) return 0;
  while ((forward ? CALL(cursor_next, cursor) : CALL(cursor_prev, cursor)) == KEEL_OK && rows <= STAMPED) {
    const void *key = NULL, *value = NULL;
    size_t key_size = 0, value_size = 0;
    if (!MUST(cursor_get, cursor, &key, &key_size, &value, &value_size)) break;
    see_stamp(key, key_size, value, value_size, forward ? rows : STAMPED - 1 - rows, &stamp);
    rows++;
  }
  if (rows != STAMPED) stress_fail("a scan has %" PRIu64 " rows of %d", rows, STAMPED);
  (void)MUST(cursor_close, cursor);
  return stamp;
}

static uint64_t scan_with_batches(worker *w, keel_txn txn, bool forward) {
  keel_cursor cursor = 0;
  uint64_t stamp = 0, rows = 0;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  if (!MUST(cursor_open, txn, iso.stamps, NULL, &cursor)) return 0;
  do {
    size_t most = 1 + stress_below(&w->rng, 15);
    if (!(forward ? MUST(cursor_next_batch, cursor, most, 0, w->batch)
                  : MUST(cursor_prev_batch, cursor, most, 0, w->batch)) ||
        !MUST(batch_data, w->batch, &view)) {
      break;
    }
    for (uint64_t i = 0; i < view.count; i++, rows++) {
      const uint64_t *k = view.key_offsets + i, *v = view.value_offsets + i;
      see_stamp((const char *)view.keys + k[0], k[1] - k[0], (const char *)view.values + v[0], v[1] - v[0],
                forward ? rows : STAMPED - 1 - rows, &stamp);
    }
  } while (view.count != 0 && rows <= STAMPED);
  if (rows != STAMPED) stress_fail("a scan in batches has %" PRIu64 " rows of %d", rows, STAMPED);
  (void)MUST(cursor_close, cursor);
  return stamp;
}

static uint64_t scan_with_get_many(worker *w, keel_txn txn) {
  char keys[STAMPED * 16];
  uint64_t offsets[STAMPED + 1] = {0}, stamp = 0;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  for (uint64_t i = 0; i < STAMPED; i++) offsets[i + 1] = offsets[i] + key_of(keys + offsets[i], i);
  if (!MUST(get_many, txn, iso.stamps, keys, offsets, STAMPED, w->batch) || !MUST(batch_data, w->batch, &view))
    return 0;
  for (uint64_t i = 0; i < view.count; i++) {
    const uint64_t *v = view.value_offsets + i;
    if (view.found[i] != 1) stress_fail("get_many does not find row %" PRIu64, i);
    see_stamp(keys + offsets[i], offsets[i + 1] - offsets[i], (const char *)view.values + v[0], v[1] - v[0], i, &stamp);
  }
  return stamp;
}

static uint64_t scan_once(worker *w, keel_txn txn) {
  bool forward = stress_chance(&w->rng, 2);
  switch (stress_below(&w->rng, 3)) {
    case 0:
      return scan_with_moves(txn, forward);
    case 1:
      return scan_with_batches(w, txn, forward);
    default:
      return scan_with_get_many(w, txn);
  }
}

static void scan(worker *w) {
  keel_txn txn = begin(w, stress_chance(&w->rng, 2));
  uint64_t first = scan_once(w, txn);
  for (uint64_t again = stress_below(&w->rng, 4); again > 0; again--) {
    uint64_t stamp = scan_once(w, txn);
    if (stamp != first) stress_fail("one snapshot shows the stamp %" PRIu64 ", then %" PRIu64, first, stamp);
  }
  (void)MUST(rollback, txn);
}

static void audit(worker *w) {
  keel_txn txn = begin(w, stress_chance(&w->rng, 2));
  uint64_t sum = 0;
  for (uint64_t i = 0; i < ACCOUNTS; i++) sum += read_number(txn, iso.bank, i);
  if (sum != (uint64_t)ACCOUNTS * MONEY) stress_fail("the accounts have %" PRIu64 " in all", sum);
  (void)MUST(rollback, txn);
}

static void fork_read(worker *w) {
  uint64_t before[2] = {atomic_load(&iso.fork_acknowledged[0]), atomic_load(&iso.fork_acknowledged[1])};
  keel_txn txn = begin(w, true);
  uint64_t order = stress_below(&w->rng, 2), seen[2];
  seen[order] = read_number(txn, iso.forks, order);
  seen[1 - order] = read_number(txn, iso.forks, 1 - order);
  if (seen[0] < before[0] || seen[1] < before[1]) stress_fail("a snapshot lacks what was acknowledged before it");
  if (w->fork_count < FORK_PAIRS) memcpy(w->fork_seen[w->fork_count++], seen, sizeof seen);
  (void)MUST(rollback, txn);
}

/* ---- Keyspaces that come and go ---- */

static bool gone(keel_status status) {
  return status == KEEL_E_KEYSPACE_NOT_FOUND || status == KEEL_E_CONFLICT;
}

/* Row 0 is the keyspace's own number, the others repeat it. */
static void drop_check(keel_txn txn, keel_keyspace keyspace) {
  uint64_t numbers[DROPPED_ROWS] = {0};
  for (uint64_t i = 0; i < DROPPED_ROWS; i++) {
    char key[16];
    const void *value = NULL;
    size_t size = 0;
    keel_status status = CALL(get, txn, keyspace, key, key_of(key, i), &value, &size);
    if (status == KEEL_E_KEYSPACE_NOT_FOUND) return;
    if (status == KEEL_OK && size == 8) memcpy(&numbers[i], value, 8);
  }
  for (int i = 1; i < DROPPED_ROWS; i++) {
    if (numbers[i] != 0 && numbers[i] != numbers[0]) {
      stress_fail("a row of keyspace %" PRIu64 " is seen in keyspace %" PRIu64, numbers[i], numbers[0]);
    }
  }
}

static void drop_write(worker *w, keel_txn txn, keel_keyspace keyspace) {
  char key[16];
  uint64_t number = 0;
  const void *value = NULL;
  size_t size = 0;
  keel_status status = CALL(get, txn, keyspace, key, key_of(key, 0), &value, &size);
  if (status == KEEL_OK) {
    memcpy(&number, value, sizeof number);
  } else if (status == KEEL_E_NOT_FOUND) {
    number = atomic_fetch_add(&iso.next_stamp, 1);
    status = CALL(put, txn, keyspace, key, key_of(key, 0), &number, sizeof number);
  }
  uint64_t row = 1 + stress_below(&w->rng, DROPPED_ROWS - 1);
  if (status == KEEL_OK) status = CALL(put, txn, keyspace, key, key_of(key, row), &number, sizeof number);
  if (status != KEEL_OK && !gone(status)) (void)stress_must("write to a dropped keyspace", status);
}

static void drops(worker *w) {
  char name[16];
  size_t size = (size_t)snprintf(name, sizeof name, "brief %d", (int)stress_below(&w->rng, 3));
  if (stress_chance(&w->rng, 6)) {
    keel_status status = CALL(keyspace_drop, iso.db, name, size);
    if (status != KEEL_OK && !gone(status)) (void)stress_must("keyspace_drop", status);
    return;
  }
  keel_keyspace keyspace = 0;
  if (!MUST(keyspace_open, iso.db, name, size, NULL, &keyspace)) return;
  keel_txn txn = begin(w, false);
  drop_check(txn, keyspace);
  drop_write(w, txn, keyspace);
  drop_check(txn, keyspace);
  uint64_t ts;
  keel_status status = CALL(commit, txn, &ts);
  if (status != KEEL_OK && !gone(status)) (void)stress_must("commit to a dropped keyspace", status);
  (void)MUST(keyspace_close, keyspace);
}

/* ---- Rounds ---- */

static void *thread_main(void *context) {
  worker *w = context;
  if (!MUST(batch_new, &w->batch)) return NULL;
  while (stress_goes_on_until(iso.until)) {
    switch (stress_below(&w->rng, 10)) {
      case 0:
      case 1:
        transfer(w);
        break;
      case 2:
        increment(w);
        break;
      case 3:
        rewrite(w);
        break;
      case 4:
        fork_write(w);
        break;
      case 5:
        audit(w);
        break;
      case 6:
        fork_read(w);
        break;
      case 7:
        drops(w);
        break;
      default:
        scan(w);
    }
  }
  (void)MUST(batch_free, w->batch);
  return NULL;
}

static int compare_pairs(const void *a, const void *b) {
  const uint64_t *x = a, *y = b;
  if (x[0] != y[0]) return x[0] < y[0] ? -1 : 1;
  return (x[1] > y[1]) - (x[1] < y[1]);
}

/* All pairs of the round, sorted by the first counter, must be sorted by the second one too. */
static void check_forks(worker *workers, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) total += workers[i].fork_count;
  if (total == 0) return;
  uint64_t(*all)[2] = malloc(total * sizeof *all);
  if (all == NULL) exit(2);
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    memcpy(all + used, workers[i].fork_seen, workers[i].fork_count * sizeof *all);
    used += workers[i].fork_count;
    workers[i].fork_count = 0;
  }
  qsort(all, total, sizeof *all, compare_pairs);
  for (size_t i = 1; i < total; i++) {
    if (all[i][1] < all[i - 1][1]) {
      stress_fail("fork: one snapshot saw (%" PRIu64 ", %" PRIu64 "), another (%" PRIu64 ", %" PRIu64 ")",
                  all[i - 1][0], all[i - 1][1], all[i][0], all[i][1]);
      break;
    }
  }
  free(all);
}

static void open_all(const char *path) {
  keel_options options = KEEL_OPTIONS_INIT;
  options.group_interval_ms = 2;
  options.delta_size = 100000; /* drains run beside everything else */
  (void)(MUST(open, path, &options, &iso.db) && MUST(keyspace_open, iso.db, "bank", 4, NULL, &iso.bank) &&
         MUST(keyspace_open, iso.db, "counters", 8, NULL, &iso.counters) &&
         MUST(keyspace_open, iso.db, "stamps", 6, NULL, &iso.stamps) &&
         MUST(keyspace_open, iso.db, "forks", 5, NULL, &iso.forks));
}

static void close_all(void) {
  keel_stats stats = KEEL_STATS_INIT;
  if (MUST(get_stats, iso.db, &stats) &&
      (stats.transactions_live != 0 || stats.views_live != 0 || stats.snapshots_live != 0)) {
    stress_fail("something is live at the end");
  }
  (void)(MUST(keyspace_close, iso.bank) && MUST(keyspace_close, iso.counters) && MUST(keyspace_close, iso.stamps) &&
         MUST(keyspace_close, iso.forks) && MUST(close, iso.db));
}

static void fill(worker *w) {
  uint64_t ts;
  keel_txn txn = begin(w, false);
  for (uint64_t i = 0; i < ACCOUNTS; i++) write_number(txn, iso.bank, i, MONEY);
  iso.newest_stamp = atomic_fetch_add(&iso.next_stamp, 1);
  for (uint64_t i = 0; i < STAMPED; i++) write_number(txn, iso.stamps, i, iso.newest_stamp);
  (void)MUST(commit, txn, &ts);
  iso.newest_ts = ts;
  for (int i = 0; i < COUNTERS; i++) atomic_store(&iso.acknowledged[i], 0);
  for (int i = 0; i < 2; i++) atomic_store(&iso.fork_acknowledged[i], 0);
}

/* Nothing was unknown, so what is there is exactly what was acknowledged. */
static void compare(worker *w) {
  keel_txn txn = begin(w, true);
  for (uint64_t i = 0; i < COUNTERS; i++) {
    uint64_t value = read_number(txn, iso.counters, i), expected = atomic_load(&iso.acknowledged[i]);
    if (value != expected)
      stress_fail("counter %" PRIu64 " is %" PRIu64 ", acknowledged: %" PRIu64, i, value, expected);
  }
  for (uint64_t i = 0; i < 2; i++) {
    if (read_number(txn, iso.forks, i) != atomic_load(&iso.fork_acknowledged[i]))
      stress_fail("a fork counter is wrong");
  }
  uint64_t stamp = scan_with_moves(txn, true);
  if (stamp != iso.newest_stamp) {
    stress_fail("the rows have stamp %" PRIu64 "; the newest acknowledged is %" PRIu64, stamp, iso.newest_stamp);
  }
  (void)MUST(rollback, txn);
  audit(w);
}

static void run_round(worker *workers) {
  pthread_t threads[THREADS];
  int running = 0;
  for (; running < THREADS; running++) {
    if (pthread_create(&threads[running], NULL, thread_main, &workers[running]) != 0) break;
  }
  for (int i = 0; i < running; i++) (void)pthread_join(threads[i], NULL);
  check_forks(workers, THREADS);
  compare(&workers[0]);
}

int main(int argc, char **argv) {
  stress_begin(argc, argv, "stress_isolation", 6, &iso.options);
  static worker workers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    workers[i].rng.state = iso.options.seed * 1000 + (uint64_t)i;
    workers[i].fork_seen = malloc(FORK_PAIRS * sizeof *workers[i].fork_seen);
    if (workers[i].fork_seen == NULL) return 2;
  }
  char path[300];
  (void)snprintf(path, sizeof path, "%s/db", iso.options.folder);
  atomic_store(&iso.next_stamp, 1);
  for (uint64_t round = 0; round <= ROUNDS && !stress_failed(); round++) {
    iso.until = (round + 1) * 1000 / (ROUNDS + 1);
    open_all(round == ROUNDS ? ":memory:" : path);
    if (stress_failed()) break;
    if (round == 0 || round == ROUNDS) fill(&workers[0]);
    compare(&workers[0]);
    run_round(workers);
    close_all();
  }
  for (int i = 0; i < THREADS; i++) free(workers[i].fork_seen);
  (void)printf("%" PRIu64 " transfers, %" PRIu64 " rewrites, %" PRIu64 " conflicts\n", atomic_load(&iso.transfers),
               atomic_load(&iso.rewrites), atomic_load(&iso.conflicts));
  return stress_end(&iso.options);
}
