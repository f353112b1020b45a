/* tests/unit/txn/test_txn_threads.c: the pipeline under concurrency: bank transfers, lost updates, order of
 * visibility. */
#include <stdlib.h>

#include "core/base/rng.h"
#include "core/os/thread.h"
#include "seed.h"
#include "txn_testing.h"

enum { THREADS = 4, ACCOUNTS = 20, START = 1000 };

typedef struct shared {
  kl_txn_manager *manager;
  uint64_t seed;
  int rounds;
  _Atomic int next_worker;
  _Atomic uint64_t newest_acknowledged; /* the newest timestamp that a commit has returned with */
  _Atomic uint64_t errors, conflicts, commits;
  _Atomic bool stop;
} shared;

static void note(shared *s, bool good) {
  if (!good) atomic_fetch_add(&s->errors, 1);
}

static void account_key(int i, char out[24]) {
  (void)snprintf(out, 24, "account%03d", i);
}

static int64_t read_number(kl_txn *txn, const char *key, shared *s) {
  kl_slice value;
  int64_t number = 0;
  kl_status status = kl_txn_get(txn, 1, text(key), &value, NULL);
  note(s, status == KL_OK && value.size == sizeof number);
  if (status == KL_OK) memcpy(&number, value.data, sizeof number);
  return number;
}

static void write_number(kl_txn *txn, const char *key, int64_t number, shared *s) {
  note(s, kl_txn_put(txn, 1, text(key), kl_slice_make(&number, sizeof number), NULL) == KL_OK);
}

/* Raises the shared maximum: what this thread was told is committed. */
static void acknowledge(shared *s, uint64_t ts) {
  uint64_t seen = atomic_load(&s->newest_acknowledged);
  while (seen < ts && !atomic_compare_exchange_weak(&s->newest_acknowledged, &seen, ts)) {
  }
}

static void run_threads(void (*run)(void *), shared *s) {
  kl_thread *threads[THREADS];
  kl_error err;
  for (int i = 0; i < THREADS; i++) {
    assert_ok(kl_thread_start(kl_os_posix(), "test-worker", run, s, &threads[i], &err), &err);
  }
  for (int i = 0; i < THREADS; i++) kl_thread_join(threads[i]);
}

static int64_t sum_of_accounts(kl_txn *txn, shared *s) {
  int64_t sum = 0;
  kl_cursor *cursor;
  int rows = 0;
  note(s, kl_cursor_open(txn, 1, text("account"), text("b"), &cursor, NULL) == KL_OK);
  while (kl_cursor_next(cursor, NULL) == KL_OK) {
    kl_slice key, value;
    int64_t number = 0;
    note(s, kl_cursor_get(cursor, &key, &value, NULL) == KL_OK && value.size == sizeof number);
    memcpy(&number, value.data, sizeof number);
    sum += number;
    rows++;
  }
  note(s, rows == ACCOUNTS);
  kl_cursor_close(cursor);
  return sum;
}

static void bank_worker(void *context) {
  shared *s = context;
  kl_rng rng;
  kl_rng_init(&rng, s->seed + (uint64_t)atomic_fetch_add(&s->next_worker, 1));
  for (int i = 0; i < s->rounds; i++) {
    kl_txn *txn;
    bool check = kl_rng_below(&rng, 4) == 0;
    kl_txn_options options = {.read_only = check};
    note(s, kl_txn_begin(s->manager, &options, &txn, NULL) == KL_OK);
    if (check) {
      note(s, sum_of_accounts(txn, s) == (int64_t)ACCOUNTS * START);
    } else {
      char from[24], to[24];
      int a = (int)kl_rng_below(&rng, ACCOUNTS), b = (int)kl_rng_below(&rng, ACCOUNTS - 1);
      account_key(a, from);
      account_key(b + (b >= a), to);
      int64_t amount = (int64_t)kl_rng_below(&rng, 100);
      write_number(txn, from, read_number(txn, from, s) - amount, s);
      write_number(txn, to, read_number(txn, to, s) + amount, s);
      note(s, sum_of_accounts(txn, s) == (int64_t)ACCOUNTS * START);
      uint64_t ts;
      kl_status status = kl_txn_commit(txn, &ts, NULL);
      note(s, status == KL_OK || status == KL_E_CONFLICT);
      atomic_fetch_add(status == KL_OK ? &s->commits : &s->conflicts, 1);
    }
    kl_txn_release(txn);
  }
}

/* Money is neither made nor lost, in any snapshot. */
static void test_bank(void **state) {
  (void)state;
  shared s = {.manager = manager_open(kl_os_posix(), NULL), .seed = test_seed(21), .rounds = 3000};
  kl_txn *txn = begin(s.manager);
  for (int i = 0; i < ACCOUNTS; i++) {
    char key[24];
    account_key(i, key);
    write_number(txn, key, START, &s);
  }
  (void)commit(txn);
  run_threads(bank_worker, &s);
  txn = begin_read_only(s.manager);
  assert_int_equal(sum_of_accounts(txn, &s), ACCOUNTS * START);
  kl_txn_release(txn);
  assert_int_equal(atomic_load(&s.errors), 0);
  assert_true(atomic_load(&s.commits) > 100);
  manager_close(s.manager);
}

static void counter_worker(void *context) {
  shared *s = context;
  for (int done = 0; done < s->rounds;) {
    kl_txn *txn;
    note(s, kl_txn_begin(s->manager, NULL, &txn, NULL) == KL_OK);
    write_number(txn, "counter", read_number(txn, "counter", s) + 1, s);
    kl_status status = kl_txn_commit(txn, NULL, NULL);
    note(s, status == KL_OK || status == KL_E_CONFLICT);
    if (status == KL_OK) done++;
    kl_txn_release(txn);
  }
}

static void test_no_lost_update(void **state) {
  (void)state;
  shared s = {.manager = manager_open(kl_os_posix(), NULL), .rounds = 2000};
  kl_txn *txn = begin(s.manager);
  write_number(txn, "counter", 0, &s);
  (void)commit(txn);
  run_threads(counter_worker, &s);
  txn = begin_read_only(s.manager);
  assert_int_equal(read_number(txn, "counter", &s), THREADS * 2000);
  kl_txn_release(txn);
  assert_int_equal(atomic_load(&s.errors), 0);
  manager_close(s.manager);
}

/* Each worker writes its own keys. After a commit has returned, every transaction that begins later, on any thread,
 * sees it; and a reader that sees a commit sees all that were acknowledged before it. */
static void order_worker(void *context) {
  shared *s = context;
  int worker = atomic_fetch_add(&s->next_worker, 1);
  char own[24];
  (void)snprintf(own, sizeof own, "worker%d", worker);
  uint64_t previous = 0;
  for (int i = 1; i <= s->rounds; i++) {
    uint64_t acknowledged = atomic_load(&s->newest_acknowledged);
    kl_txn *txn;
    note(s, kl_txn_begin(s->manager, NULL, &txn, NULL) == KL_OK);
    kl_txn_manager_stats stats;
    if (i % 64 == 0) {
      kl_txn_manager_get_stats(s->manager, &stats);
      note(s, stats.visible_ts >= acknowledged);
    }
    if (i > 1) note(s, read_number(txn, own, s) == i - 1); /* what I committed, I see */
    write_number(txn, own, i, s);
    uint64_t ts = 0;
    note(s, kl_txn_commit(txn, &ts, NULL) == KL_OK); /* nobody else writes this key */
    note(s, ts > acknowledged && ts > previous);     /* begun after those were visible: later than they */
    previous = ts;
    acknowledge(s, ts);
    kl_txn_release(txn);
  }
}

static void test_order_of_visibility(void **state) {
  (void)state;
  shared s = {.manager = manager_open(kl_os_posix(), NULL), .rounds = 5000};
  run_threads(order_worker, &s);
  assert_int_equal(atomic_load(&s.errors), 0);
  kl_txn_manager_stats stats;
  kl_txn_manager_get_stats(s.manager, &stats);
  assert_int_equal(stats.commits, THREADS * 5000);
  assert_int_equal(stats.visible_ts, KL_TS_EMPTY + (uint64_t)THREADS * 5000);
  manager_close(s.manager);
}

/* Pairs are always written together, with one number: a snapshot never shows two numbers. Large and small commits
 * mix. */
static void atomic_worker(void *context) {
  shared *s = context;
  int worker = atomic_fetch_add(&s->next_worker, 1);
  kl_rng rng;
  kl_rng_init(&rng, s->seed + (uint64_t)worker);
  for (int i = 0; i < s->rounds; i++) {
    kl_txn *txn;
    note(s, kl_txn_begin(s->manager, NULL, &txn, NULL) == KL_OK);
    char key[32];
    int rows = kl_rng_below(&rng, 20) == 0 ? 500 : 2;
    int64_t first = 0;
    for (int row = 0; row < rows; row++) { /* every worker's rows are one group: equal in any snapshot */
      (void)snprintf(key, sizeof key, "%d-%d", (worker + 1) % THREADS, row);
      kl_slice value;
      int64_t number = 0;
      if (kl_txn_get(txn, 1, text(key), &value, NULL) == KL_OK) memcpy(&number, value.data, sizeof number);
      if (row == 0) first = number;
      if (row < 2) note(s, number == first);
    }
    for (int row = 0; row < rows; row++) {
      (void)snprintf(key, sizeof key, "%d-%d", worker, row);
      write_number(txn, key, i, s);
    }
    note(s, kl_txn_commit(txn, NULL, NULL) == KL_OK);
    kl_txn_release(txn);
  }
}

static void test_commits_are_atomic(void **state) {
  (void)state;
  shared s = {.manager = manager_open(kl_os_posix(), NULL), .seed = test_seed(22), .rounds = 600};
  run_threads(atomic_worker, &s);
  assert_int_equal(atomic_load(&s.errors), 0);
  manager_close(s.manager);
}

static void closing_worker(void *context) {
  shared *s = context;
  while (!atomic_load(&s->stop)) {
    kl_txn *txn;
    kl_status status = kl_txn_begin(s->manager, NULL, &txn, NULL);
    note(s, status == KL_OK || status == KL_E_CLOSED);
    if (status != KL_OK) return;
    write_number(txn, "k", 1, s);
    status = kl_txn_commit(txn, NULL, NULL);
    note(s, status == KL_OK || status == KL_E_CONFLICT || status == KL_E_CLOSED);
    kl_txn_release(txn);
    atomic_fetch_add(&s->commits, 1);
  }
}

/* Closing waits for commits on their way and refuses the others. */
static void test_close_while_committing(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    shared s = {.manager = manager_open(kl_os_posix(), NULL)};
    kl_thread *threads[THREADS];
    kl_error err;
    for (int i = 0; i < THREADS; i++) {
      assert_ok(kl_thread_start(kl_os_posix(), "test-closing", closing_worker, &s, &threads[i], &err), &err);
    }
    while (atomic_load(&s.commits) < 50) kl_thread_yield();
    kl_txn_manager_close(s.manager);
    kl_txn_manager_stats before, after;
    kl_txn_manager_get_stats(s.manager, &before);
    for (int i = 0; i < THREADS; i++) kl_thread_join(threads[i]);
    kl_txn_manager_get_stats(s.manager, &after);
    assert_int_equal(before.visible_ts, after.visible_ts); /* nothing was published after close had returned */
    kl_txn_manager_unref(s.manager);
    assert_int_equal(atomic_load(&s.errors), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bank), cmocka_unit_test(test_no_lost_update), cmocka_unit_test(test_order_of_visibility),
      cmocka_unit_test(test_commits_are_atomic), cmocka_unit_test(test_close_while_committing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
