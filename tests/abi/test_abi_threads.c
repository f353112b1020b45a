/* tests/abi/test_abi_threads.c: threads that use, misuse and close the same handles. The races are for TSan. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "abi_support.h"

enum { THREADS = 4 };

typedef struct shared {
  keel_db db;
  _Atomic(uint64_t) keyspace, txn, cursor, view, batch;
  _Atomic(int) ok, refused, unexpected;
  _Atomic(keel_status) unexpected_status;
  _Atomic(bool) stop;
} shared;

/* Counts a result; what is not in the list of those that may happen fails the test afterwards. */
static bool count(shared *s, keel_status status, int allowed_count, const keel_status *allowed) {
  if (status == KEEL_OK) {
    atomic_fetch_add(&s->ok, 1);
    return true;
  }
  for (int i = 0; i < allowed_count; i++) {
    if (status == allowed[i]) {
      atomic_fetch_add(&s->refused, 1);
      return false;
    }
  }
  atomic_fetch_add(&s->unexpected, 1);
  atomic_store(&s->unexpected_status, status);
  return false;
}
#define ALLOWED(...)                                                                   \
  (int)(sizeof((keel_status[]){__VA_ARGS__}) / sizeof(keel_status)), (keel_status[]) { \
    __VA_ARGS__                                                                        \
  }

static void run_threads(shared *s, void *(*body)(void *context)) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, body, s), 0);
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  if (atomic_load(&s->unexpected) != 0) {
    fail_msg("%d unexpected results, the last: %s", atomic_load(&s->unexpected),
             keel_status_name(atomic_load(&s->unexpected_status)));
  }
  assert_true(atomic_load(&s->ok) > 0);
}

static void open_shared(shared *s) {
  uint64_t handle = 0;
  memset(s, 0, sizeof *s);
  OK(keel_open(":memory:", NULL, &s->db, &error));
  OK(keel_keyspace_open(s->db, "ks", 2, NULL, &handle, &error));
  atomic_store(&s->keyspace, handle);
  put_row(s->db, handle, "k", "value");
}

/* ---- Everybody closes and opens everything ---- */

enum { CHURN_ROUNDS = 1500 };

static void churn_transaction(shared *s, keel_db db, keel_keyspace keyspace) {
  keel_txn txn;
  keel_view view;
  keel_cursor cursor;
  const void *value;
  size_t size;
  if (!count(s, keel_begin(db, NULL, &txn, NULL), ALLOWED(KEEL_E_HANDLE))) return;
  (void)count(s, keel_get(txn, keyspace, "k", 1, &value, &size, NULL), ALLOWED(KEEL_E_HANDLE));
  (void)count(s, keel_put(txn, keyspace, "k", 1, "value", 5, NULL), ALLOWED(KEEL_E_HANDLE));
  if (count(s, keel_get_view(txn, keyspace, "k", 1, &view, NULL), ALLOWED(KEEL_E_HANDLE))) {
    if (keel_view_data(view, &value, &size, NULL) != KEEL_OK || size != 5 || memcmp(value, "value", 5) != 0) {
      atomic_fetch_add(&s->unexpected, 1);
    }
    (void)keel_view_release(view, NULL);
  }
  if (count(s, keel_cursor_open(txn, keyspace, NULL, &cursor, NULL), ALLOWED(KEEL_E_HANDLE))) {
    (void)count(s, keel_cursor_first(cursor, NULL), ALLOWED(KEEL_E_HANDLE));
    (void)count(s, keel_cursor_close(cursor, NULL), ALLOWED(KEEL_E_HANDLE));
  }
  (void)count(s, keel_commit(txn, NULL, NULL), ALLOWED(KEEL_E_CONFLICT));
}

static void *churn(void *context) {
  shared *s = context;
  for (int i = 0; i < CHURN_ROUNDS; i++) {
    keel_keyspace keyspace = atomic_load(&s->keyspace);
    if (i % 16 == 7) {
      /* Whoever closes it opens it again; the others get KEEL_E_HANDLE meanwhile. */
      if (count(s, keel_keyspace_close(keyspace, NULL), ALLOWED(KEEL_E_HANDLE))) {
        uint64_t next = 0;
        (void)count(s, keel_keyspace_open(s->db, "ks", 2, NULL, &next, NULL), ALLOWED(KEEL_E_HANDLE));
        atomic_store(&s->keyspace, next);
      }
    } else {
      churn_transaction(s, s->db, keyspace);
    }
  }
  return NULL;
}

static void test_churn_keyspaces(void **state) {
  (void)state;
  shared s;
  open_shared(&s);
  run_threads(&s, churn);
  OK(keel_keyspace_close(atomic_load(&s.keyspace), &error));
  OK(keel_close(s.db, &error));
}

/* The database is closed while all are inside; whoever leaves last closes the engine. */
static void *use_until_closed(void *context) {
  shared *s = context;
  keel_txn txn;
  for (;;) {
    keel_status status = keel_begin(s->db, NULL, &txn, NULL);
    if (!count(s, status, ALLOWED(KEEL_E_HANDLE))) return NULL;
    (void)count(s, keel_put(txn, atomic_load(&s->keyspace), "k", 1, "v", 1, NULL), ALLOWED(KEEL_E_HANDLE));
    (void)count(s, keel_commit(txn, NULL, NULL), ALLOWED(KEEL_E_CONFLICT));
    keel_stats stats = KEEL_STATS_INIT;
    (void)count(s, keel_get_stats(s->db, &stats, NULL), ALLOWED(KEEL_E_HANDLE));
    if (atomic_load(&s->ok) > 400 && !atomic_exchange(&s->stop, true)) {
      (void)count(s, keel_keyspace_close(atomic_load(&s->keyspace), NULL), ALLOWED(KEEL_OK));
      (void)count(s, keel_close(s->db, NULL), ALLOWED(KEEL_OK));
    }
  }
}

static void test_close_while_inside(void **state) {
  (void)state;
  for (int round = 0; round < 10; round++) {
    shared s;
    open_shared(&s);
    run_threads(&s, use_until_closed);
    EXPECT(KEEL_E_HANDLE, keel_close(s.db, &error));
  }
}

/* ---- One transaction, used by all at once: refused, never broken ---- */

enum { MISUSE_ROUNDS = 3000 };

static void *misuse(void *context) {
  shared *s = context;
  const void *p;
  size_t n;
  for (int i = 0; i < MISUSE_ROUNDS; i++) {
    keel_txn txn = atomic_load(&s->txn);
    keel_cursor cursor = atomic_load(&s->cursor);
    keel_keyspace keyspace = atomic_load(&s->keyspace);
    switch (i % 5) {
      case 0:
        (void)count(s, keel_put(txn, keyspace, "k", 1, "v", 1, NULL), ALLOWED(KEEL_E_CONCURRENT_USE));
        break;
      case 1:
        (void)count(s, keel_get(txn, keyspace, "k", 1, &p, &n, NULL), ALLOWED(KEEL_E_CONCURRENT_USE));
        break;
      case 2:
        (void)count(s, keel_cursor_first(cursor, NULL), ALLOWED(KEEL_E_CONCURRENT_USE));
        break;
      case 3:
        (void)count(s, keel_cursor_next_batch(cursor, 0, 0, atomic_load(&s->batch), NULL),
                    ALLOWED(KEEL_E_CONCURRENT_USE));
        break;
      default:
        (void)count(s, keel_del_range(txn, keyspace, "x", 1, NULL, 0, NULL, NULL), ALLOWED(KEEL_E_CONCURRENT_USE));
    }
  }
  return NULL;
}

static void test_concurrent_use(void **state) {
  (void)state;
  shared s;
  uint64_t handle = 0;
  open_shared(&s);
  OK(keel_begin(s.db, NULL, &handle, &error));
  atomic_store(&s.txn, handle);
  OK(keel_cursor_open(handle, atomic_load(&s.keyspace), NULL, &handle, &error));
  atomic_store(&s.cursor, handle);
  OK(keel_batch_new(&handle, &error));
  atomic_store(&s.batch, handle);
  run_threads(&s, misuse);
  OK(keel_commit(atomic_load(&s.txn), NULL, &error));
  OK(keel_cursor_close(atomic_load(&s.cursor), &error));
  OK(keel_batch_free(atomic_load(&s.batch), &error));
  OK(keel_keyspace_close(atomic_load(&s.keyspace), &error));
  OK(keel_close(s.db, &error));
}

/* Everybody ends the transaction and puts a new one in its place: one of them does. */
static void *end_and_begin(void *context) {
  shared *s = context;
  for (int i = 0; i < CHURN_ROUNDS; i++) {
    keel_txn txn = atomic_load(&s->txn);
    keel_status status = i % 2 ? keel_commit(txn, NULL, NULL) : keel_rollback(txn, NULL);
    if (count(s, status, ALLOWED(KEEL_E_FINISHED, KEEL_E_CONCURRENT_USE))) {
      uint64_t next = 0;
      (void)count(s, keel_begin(s->db, NULL, &next, NULL), ALLOWED(KEEL_OK));
      atomic_store(&s->txn, next);
    }
    (void)count(s, keel_put(atomic_load(&s->txn), atomic_load(&s->keyspace), "k", 1, "v", 1, NULL),
                ALLOWED(KEEL_E_FINISHED, KEEL_E_CONCURRENT_USE));
  }
  return NULL;
}

static void test_one_ends_it(void **state) {
  (void)state;
  shared s;
  uint64_t txn = 0;
  open_shared(&s);
  OK(keel_begin(s.db, NULL, &txn, &error));
  atomic_store(&s.txn, txn);
  run_threads(&s, end_and_begin);
  OK(keel_rollback(atomic_load(&s.txn), &error));
  OK(keel_keyspace_close(atomic_load(&s.keyspace), &error));
  OK(keel_close(s.db, &error));
}

/* ---- Opening and closing one file from many threads ---- */

static _Atomic(const char *) open_path;

static void *open_and_close(void *context) {
  shared *s = context;
  for (int i = 0; i < 50; i++) {
    keel_db db;
    keel_keyspace keyspace;
    if (!count(s, keel_open(atomic_load(&open_path), NULL, &db, NULL), ALLOWED(KEEL_OK))) continue;
    if (count(s, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, NULL), ALLOWED(KEEL_OK))) {
      churn_transaction(s, db, keyspace);
      (void)count(s, keel_keyspace_close(keyspace, NULL), ALLOWED(KEEL_OK));
    }
    (void)count(s, keel_close(db, NULL), ALLOWED(KEEL_OK));
  }
  return NULL;
}

static void test_open_and_close_a_file(void **state) {
  (void)state;
  folder files;
  shared s;
  memset(&s, 0, sizeof s);
  folder_make(&files);
  const char *path = folder_file(&files, "shared.keel");
  keel_db db;
  keel_keyspace keyspace;
  OK(keel_open(path, NULL, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  put_row(db, keyspace, "k", "value");
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
  atomic_store(&open_path, path);
  run_threads(&s, open_and_close);
  folder_remove(&files);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_churn_keyspaces),       cmocka_unit_test(test_close_while_inside),
      cmocka_unit_test(test_concurrent_use),        cmocka_unit_test(test_one_ends_it),
      cmocka_unit_test(test_open_and_close_a_file),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
