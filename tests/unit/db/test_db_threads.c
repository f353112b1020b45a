/* tests/unit/db/test_db_threads.c: many threads open, use and close one file; commits of all durabilities through one
 * log. */
#include "core/os/thread.h"
#include "db_testing.h"

enum { THREADS = 4 };

typedef struct shared {
  char folder[64], path[96];
  kl_db *db;
  int rounds;
  _Atomic int next_worker;
  _Atomic uint64_t errors, commits;
} shared;

static void note(shared *s, kl_status status, const kl_error *err) {
  if (status == KL_OK) return;
  (void)fprintf(stderr, "%s: %s\n", kl_status_name(status), err->message);
  atomic_fetch_add(&s->errors, 1);
}

static void start(shared *s) {
  memset(s, 0, sizeof *s);
  assert_true(test_folder_make(s->folder, sizeof s->folder));
  (void)snprintf(s->path, sizeof s->path, "%s/test.keel", s->folder);
}

static void finish(shared *s) {
  assert_true(test_folder_remove(s->folder));
  assert_int_equal(atomic_load(&s->errors), 0);
}

static void run_threads(void (*run)(void *), shared *s) {
  kl_thread *threads[THREADS];
  kl_error err;
  for (int i = 0; i < THREADS; i++) {
    assert_ok(kl_thread_start(kl_os_posix(), "test-worker", run, s, &threads[i], &err), &err);
  }
  for (int i = 0; i < THREADS; i++) kl_thread_join(threads[i]);
}

static void opening_worker(void *context) {
  shared *s = context;
  int worker = atomic_fetch_add(&s->next_worker, 1);
  for (int i = 0; i < s->rounds; i++) {
    kl_db *db;
    kl_error err;
    kl_status status = kl_db_open(kl_os_posix(), s->path, NULL, &db, &err);
    note(s, status, &err);
    if (status != KL_OK) continue;
    char key[32];
    (void)snprintf(key, sizeof key, "%d-%d", worker, i);
    note(s, db_put(db, "rows", key, "x", i % 8 == 0 ? KL_DURABILITY_FULL : KL_DURABILITY_NONE, &err), &err);
    note(s, kl_db_release(db, &err), &err);
  }
}

/* Opening waits for openings and closings of the same file by others, and for creations; nobody is told `locked` by
 * his own process, and nothing that was committed gets lost between two engines. */
static void test_open_and_close(void **state) {
  (void)state;
  shared s;
  start(&s);
  s.rounds = 40;
  run_threads(opening_worker, &s);
  kl_db *db = db_open(kl_os_posix(), s.path, NULL);
  for (int worker = 0; worker < THREADS; worker++) {
    for (int i = 0; i < s.rounds; i++) {
      char key[32];
      (void)snprintf(key, sizeof key, "%d-%d", worker, i);
      db_assert_value(db, "rows", key, "x");
    }
  }
  db_close(db);
  finish(&s);
}

static void committing_worker(void *context) {
  shared *s = context;
  int worker = atomic_fetch_add(&s->next_worker, 1);
  for (int i = 0; i < s->rounds; i++) {
    static const kl_durability durabilities[] = {KL_DURABILITY_FULL, KL_DURABILITY_GROUP, KL_DURABILITY_NONE};
    char key[32];
    kl_error err;
    (void)snprintf(key, sizeof key, "%d-%d", worker, i);
    note(s, db_put(s->db, "rows", key, key, durabilities[(i + worker) % 3], &err), &err);
    if (i % 16 == 0) note(s, kl_db_flush(s->db, &err), &err);
    if (i % 50 == 0) {
      kl_db_stats stats;
      note(s, kl_db_get_stats(s->db, &stats, &err), &err);
    }
  }
}

static void test_commit_through_one_log(void **state) {
  (void)state;
  shared s;
  start(&s);
  s.rounds = 150;
  s.db = db_open(kl_os_posix(), s.path, NULL);
  run_threads(committing_worker, &s);
  kl_db_stats stats;
  kl_error err;
  assert_ok(kl_db_get_stats(s.db, &stats, &err), &err);
  assert_int_equal(stats.commits, THREADS * 150 + 1); /* and the keyspace */
  assert_true(stats.groups <= stats.commits && stats.groups > 0);
  assert_int_equal(stats.conflicts, 0);
  db_close(s.db);
  s.db = db_open(kl_os_posix(), s.path, NULL);
  for (int worker = 0; worker < THREADS; worker++) {
    for (int i = 0; i < s.rounds; i++) {
      char key[32];
      (void)snprintf(key, sizeof key, "%d-%d", worker, i);
      db_assert_value(s.db, "rows", key, key);
    }
  }
  db_close(s.db);
  finish(&s);
}

/* -------- drains on several threads -------- */

enum { DRAIN_ROWS = 3000, DRAIN_ROUNDS = 12 };

static void drained_key(int worker, int row, char out[32]) {
  (void)snprintf(out, 32, "%06d-%d", row * 7919 % DRAIN_ROWS, worker); /* every worker writes everywhere */
}

static void drained_worker(void *context) {
  shared *s = context;
  int worker = atomic_fetch_add(&s->next_worker, 1);
  kl_error err;
  char key[32], value[256];
  memset(value, 'v', sizeof value);
  for (int round = 0; round < DRAIN_ROUNDS; round++) {
    for (int row = round; row < DRAIN_ROWS; row += DRAIN_ROUNDS) {
      drained_key(worker, row, key);
      (void)snprintf(value, sizeof value, "%0200d", row);
      note(s, db_put(s->db, "rows", key, value, KL_DURABILITY_NONE, &err), &err);
      drained_key(worker, row / 2, key); /* which another round has written, or none */
      if (row % 9 == 0) note(s, db_put(s->db, "others", key, value, KL_DURABILITY_NONE, &err), &err);
    }
  }
}

/* Commits go on beside drains that merge parts on three threads; what was committed is there, also after the file was
 * closed and opened. */
static void test_drains_on_threads(void **state) {
  (void)state;
  shared s;
  kl_db_stats stats;
  kl_error err;
  kl_db_options options = {
      .delta_size = 256 << 10, .drain_threads = 3, .drain_part_bytes = 16 << 10, .durability = KL_DURABILITY_NONE};
  start(&s);
  s.db = db_open(kl_os_posix(), s.path, &options);
  run_threads(drained_worker, &s);
  assert_ok(kl_db_make_checkpoint(s.db, &err), &err);
  assert_ok(kl_db_get_stats(s.db, &stats, &err), &err);
  assert_int_equal(stats.drain_threads, 3);
  assert_true(stats.drains.parts > 20);
  assert_int_equal(stats.drain_failures, 0);
  for (int pass = 0; pass < 2; pass++) {
    for (int row = 0; row < THREADS * DRAIN_ROWS; row += 11) {
      char key[32], value[256];
      drained_key(row % THREADS, row / THREADS, key);
      (void)snprintf(value, sizeof value, "%0200d", row / THREADS);
      db_assert_value(s.db, "rows", key, value);
    }
    db_close(s.db);
    s.db = db_open(kl_os_posix(), s.path, &options);
  }
  db_close(s.db);
  finish(&s);
}

/* How many threads there may be. */
static void test_threads_of_drains(void **state) {
  (void)state;
  shared s;
  kl_db *db = NULL;
  kl_db_stats stats;
  kl_error err;
  kl_db_options options = {.drain_threads = KL_DRAIN_LANES_MOST + 1};
  start(&s);
  assert_int_equal(kl_db_open(kl_os_posix(), s.path, &options, &db, &err), KL_E_INVALID);
  s.db = db_open(kl_os_posix(), s.path, NULL);
  assert_ok(kl_db_get_stats(s.db, &stats, &err), &err);
  assert_in_range(stats.drain_threads, 1, 4);
  options.drain_threads = 7;
  assert_int_equal(kl_db_open(kl_os_posix(), s.path, &options, &db, &err), KL_E_INVALID);
  assert_non_null(strstr(err.message, "drain_threads"));
  options.drain_threads = stats.drain_threads;
  db_close(db_open(kl_os_posix(), s.path, &options));
  db_close(s.db);
  options.drain_threads = 4;
  db = db_open(kl_os_posix(), ":memory:", &options);
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  assert_int_equal(stats.drain_threads, 1);
  db_close(db);
  finish(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open_and_close), cmocka_unit_test(test_commit_through_one_log),
      cmocka_unit_test(test_drains_on_threads), cmocka_unit_test(test_threads_of_drains)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
