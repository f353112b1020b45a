/* tests/unit/wal/test_wal_threads.c: many threads append in turn and sync at once; on the real file system with the
 * log's own thread at work, and on the simulated one with syncs that fail. Run under the thread sanitizer too. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "wal_fixture.h"

enum { THREADS_COUNT = 4, THREADS_BATCHES = 250, THREADS_TOTAL = THREADS_COUNT * THREADS_BATCHES };

typedef struct threads_run {
  kl_wal *wal;
  pthread_mutex_t turn; /* the commit turn: one append at a time */
  uint64_t next;        /* under turn */
  bool soon;            /* some ask for durability `group` */
  atomic_uchar acknowledged[THREADS_TOTAL];
  atomic_uint failures;
  atomic_bool stop;
} threads_run;

static void *threads_commit(void *context) {
  threads_run *run = context;
  for (int i = 0; i < THREADS_BATCHES; i++) {
    kl_lsn end = 0;
    (void)pthread_mutex_lock(&run->turn);
    uint64_t number = run->next;
    size_t size = number % 100 == 50 ? 2 << 20 : number % 10 == 3 ? 20000 : 16 + number * 13 % 600;
    kl_status status = wal_test_append(run->wal, number, size, number % 3 != 0, &end, NULL);
    if (status == KL_OK) run->next++;
    (void)pthread_mutex_unlock(&run->turn);
    if (status == KL_OK && run->soon && number % 5 == 0) {
      status = kl_wal_sync_soon(run->wal, 1000000, NULL);
    } else if (status == KL_OK) {
      status = kl_wal_sync(run->wal, end, NULL);
      kl_wal_stats stats;
      kl_wal_get_stats(run->wal, &stats);
      if (status == KL_OK && stats.durable_lsn < end) status = KL_E_INTERNAL;
      if (status == KL_OK) atomic_store(&run->acknowledged[number], 1);
    }
    if (status != KL_OK) {
      atomic_fetch_add(&run->failures, 1);
      if (status == KL_E_INTERNAL) atomic_fetch_add(&run->failures, 1000000);
      return NULL;
    }
  }
  return NULL;
}

/* Asks for statistics and reads what is there, while the others append. */
static void *threads_meddle(void *context) {
  threads_run *run = context;
  while (!atomic_load(&run->stop)) {
    kl_wal_stats stats;
    kl_wal_reader *reader = NULL;
    kl_wal_batch batch;
    kl_wal_get_stats(run->wal, &stats);
    if (kl_wal_reader_new(run->wal, stats.start_lsn, &reader, NULL) == KL_OK) {
      kl_status status = KL_OK;
      for (int i = 0; i < 50 && status == KL_OK; i++) {
        status = kl_wal_reader_next(reader, &batch, NULL);
        if (status == KL_OK && wal_test_number(batch.payload) == UINT64_MAX) atomic_fetch_add(&run->failures, 1000000);
      }
      if (status != KL_OK && status != KL_E_NOT_FOUND) atomic_fetch_add(&run->failures, 1000000);
      kl_wal_reader_free(reader);
    }
  }
  return NULL;
}

static void threads_go(threads_run *run) {
  pthread_t threads[THREADS_COUNT], meddler;
  assert_int_equal(pthread_mutex_init(&run->turn, NULL), 0);
  assert_int_equal(pthread_create(&meddler, NULL, threads_meddle, run), 0);
  for (int i = 0; i < THREADS_COUNT; i++) assert_int_equal(pthread_create(&threads[i], NULL, threads_commit, run), 0);
  for (int i = 0; i < THREADS_COUNT; i++) (void)pthread_join(threads[i], NULL);
  atomic_store(&run->stop, true);
  (void)pthread_join(meddler, NULL);
  (void)pthread_mutex_destroy(&run->turn);
}

static void threads_share_syncs(void **state) {
  (void)state;
  const char *tmp = getenv("TMPDIR");
  char folder[256], path[300];
  (void)snprintf(folder, sizeof folder, "%s/keel-wal-XXXXXX", tmp != NULL ? tmp : "/tmp");
  assert_non_null(mkdtemp(folder));
  (void)snprintf(path, sizeof path, "%s/test-wal", folder);
  kl_os *os = kl_os_posix();
  kl_wal_options options = wal_test_options();
  kl_error err = {0};
  threads_run *run = calloc(1, sizeof *run);
  assert_non_null(run);
  run->soon = true;
  if (kl_wal_create(os, path, &options, &run->wal, &err) != KL_OK) fail_msg("%s", err.message);
  threads_go(run);
  assert_int_equal(atomic_load(&run->failures), 0);
  assert_int_equal(run->next, THREADS_TOTAL);
  kl_wal_stats stats;
  kl_wal_get_stats(run->wal, &stats);
  print_message("%llu appends, %llu syncs, %llu shared, %s\n", (unsigned long long)stats.appends,
                (unsigned long long)stats.syncs, (unsigned long long)stats.syncs_shared,
                stats.uses_dsync ? "O_DSYNC" : "fdatasync");
  assert_int_equal(stats.appends, THREADS_TOTAL);
  kl_wal_close(run->wal);
  uint64_t next;
  kl_lsn end;
  if (kl_wal_open(os, path, &options, &run->wal, &err) != KL_OK) fail_msg("%s", err.message);
  if (wal_test_read(run->wal, 0, 0, &next, &end, &err) != KL_E_NOT_FOUND) fail_msg("%s", err.message);
  assert_int_equal(next, THREADS_TOTAL);
  assert_int_equal(kl_wal_recover_end(run->wal, end, NULL), KL_OK);
  kl_wal_close(run->wal);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(folder), 0);
  free(run);
}

/* A sync fails while several threads wait for it: nobody is told that his batch is durable when it is not. */
static void nobody_is_acknowledged_by_a_failed_sync(void **state) {
  (void)state;
  uint64_t seed = test_seed(0x7ead);
  for (uint64_t point = 12; point < 200; point += 9) {
    kl_sim *sim = NULL;
    kl_wal_options options = wal_test_options();
    kl_error err = {0};
    threads_run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    assert_int_equal(kl_sim_new(seed + point, &sim, NULL), KL_OK);
    assert_int_equal(kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &run->wal, NULL), KL_OK);
    kl_sim_inject(sim, KL_SIM_FAULT_SYNC_FAILS, point);
    threads_go(run);
    assert_true(atomic_load(&run->failures) < 1000000);
    kl_sim_restart(sim, point % 2 == 0 ? KL_SIM_LOSE_ALL : point);
    kl_wal_close(run->wal);
    uint64_t next, acknowledged = 0;
    kl_lsn end;
    if (kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, &options, &run->wal, &err) != KL_OK) fail_msg("%s", err.message);
    if (wal_test_read(run->wal, 0, 0, &next, &end, &err) != KL_E_NOT_FOUND) fail_msg("%s", err.message);
    for (uint64_t i = 0; i < THREADS_TOTAL; i++) {
      if (atomic_load(&run->acknowledged[i])) acknowledged = i + 1;
    }
    if (next < acknowledged || next > run->next + 1) {
      fail_msg("seed %llu point %llu: %llu batches are there, %llu were acknowledged, %llu appended",
               (unsigned long long)seed, (unsigned long long)point, (unsigned long long)next,
               (unsigned long long)acknowledged, (unsigned long long)run->next);
    }
    kl_wal_close(run->wal);
    kl_sim_free(sim);
    free(run);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_share_syncs),
      cmocka_unit_test(nobody_is_acknowledged_by_a_failed_sync),
  };
  return cmocka_run_group_tests_name("wal threads", tests, NULL, NULL);
}
