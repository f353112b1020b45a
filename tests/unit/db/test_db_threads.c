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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_open_and_close),
                                     cmocka_unit_test(test_commit_through_one_log)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
