/* tests/unit/txn/test_txn_basic.c: one behaviour each: states, limits, isolation, conflicts, borrowed memory. */
#include <stdlib.h>

#include "core/os/thread.h"
#include "txn_testing.h"

static void test_snapshot_isolation(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *before = begin_read_only(manager);
  kl_txn *writer = begin(manager);
  put(writer, 1, "a", "one");
  assert_value(writer, 1, "a", "one"); /* reads its own write */
  kl_txn *during = begin_read_only(manager);
  uint64_t first = commit(writer);
  assert_true(first > KL_TS_EMPTY);
  assert_value(before, 1, "a", NULL);
  assert_value(during, 1, "a", NULL);
  kl_txn *after = begin(manager);
  assert_value(after, 1, "a", "one");
  assert_value(after, 2, "a", NULL); /* another keyspace */
  delete_key(after, 1, "a");
  assert_value(after, 1, "a", NULL);
  assert_true(commit(after) > first);
  (void)commit(before);
  (void)commit(during);
  manager_close(manager);
}

static void test_first_committer_wins(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *one = begin(manager), *two = begin(manager), *three = begin(manager);
  put(one, 5, "k\x01y", "1");
  put(two, 5, "k\x01y", "2");
  put(three, 5, "other", "3");
  (void)commit(one);
  kl_error err;
  uint64_t ts = 99;
  assert_int_equal(kl_txn_commit(two, &ts, &err), KL_E_CONFLICT);
  assert_int_equal(ts, 99);
  assert_non_null(strstr(err.message, "k\\x01y"));
  assert_non_null(strstr(err.message, "keyspace 5"));
  kl_txn_release(two);
  (void)commit(three); /* wrote another key */
  kl_txn *reader = begin_read_only(manager);
  assert_value(reader, 5, "k\x01y", "1");
  kl_txn_release(reader);
  /* Deleting a key that does not exist is a write, too. */
  one = begin(manager);
  two = begin(manager);
  delete_key(one, 5, "absent");
  delete_key(two, 5, "absent");
  (void)commit(one);
  assert_int_equal(kl_txn_commit(two, NULL, &err), KL_E_CONFLICT);
  kl_txn_release(two);
  manager_close(manager);
}

/* Snapshot isolation as documented: reads are not validated, so that two transactions that each read what the other
 * writes both commit. (Serializable transactions are refused by name until they exist.) */
static void test_reads_are_not_validated(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *one = begin(manager), *two = begin(manager);
  assert_value(one, 1, "a", NULL);
  assert_value(two, 1, "b", NULL);
  put(one, 1, "b", "1");
  put(two, 1, "a", "2");
  (void)commit(one);
  (void)commit(two);
  manager_close(manager);
}

static void test_finished(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_error err;
  kl_slice value;
  kl_cursor *cursor, *other;
  kl_view *view;
  uint64_t count;
  for (int i = 0; i < 2; i++) {
    kl_txn *txn = begin(manager);
    put(txn, 1, "a", "1");
    assert_ok(kl_cursor_open(txn, 1, (kl_slice){NULL, 0}, (kl_slice){NULL, 0}, &cursor, &err), &err);
    if (i == 0) {
      assert_ok(kl_txn_commit(txn, NULL, &err), &err);
    } else {
      assert_ok(kl_txn_rollback(txn, &err), &err);
    }
    assert_int_equal(kl_txn_commit(txn, NULL, &err), KL_E_FINISHED);
    assert_non_null(strstr(err.message, i == 0 ? "committed" : "rolled back"));
    assert_int_equal(kl_txn_rollback(txn, &err), KL_E_FINISHED);
    assert_int_equal(kl_txn_get(txn, 1, text("a"), &value, &err), KL_E_FINISHED);
    assert_int_equal(kl_txn_get_view(txn, 1, text("a"), &view, &err), KL_E_FINISHED);
    assert_int_equal(kl_txn_put(txn, 1, text("a"), text("b"), &err), KL_E_FINISHED);
    assert_int_equal(kl_txn_delete(txn, 1, text("a"), &err), KL_E_FINISHED);
    assert_int_equal(kl_txn_delete_range(txn, 1, text("a"), text("b"), &count, &err), KL_E_FINISHED);
    assert_int_equal(kl_cursor_open(txn, 1, text("a"), text("b"), &other, &err), KL_E_FINISHED);
    assert_int_equal(kl_cursor_next(cursor, &err), KL_E_FINISHED);
    kl_txn_release(txn);
    assert_int_equal(kl_cursor_first(cursor, &err), KL_E_FINISHED); /* the cursor keeps it alive */
    kl_cursor_close(cursor);
  }
  manager_close(manager);
}

static void test_read_only(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin_read_only(manager);
  kl_error err;
  assert_true(kl_txn_is_read_only(txn));
  assert_int_equal(kl_txn_put(txn, 1, text("a"), text("b"), &err), KL_E_READ_ONLY);
  assert_int_equal(kl_txn_delete(txn, 1, text("a"), &err), KL_E_READ_ONLY);
  assert_int_equal(kl_txn_delete_range(txn, 1, text("a"), text("b"), NULL, &err), KL_E_READ_ONLY);
  uint64_t ts = 5;
  assert_ok(kl_txn_commit(txn, &ts, &err), &err);
  assert_int_equal(ts, 0);
  kl_txn_release(txn);
  manager_close(manager);

  kl_txn_manager_options options = {.read_only = true};
  manager = manager_open(kl_os_posix(), &options);
  assert_int_equal(kl_txn_begin(manager, NULL, &txn, &err), KL_E_READ_ONLY);
  txn = begin_read_only(manager);
  assert_value(txn, 1, "a", NULL);
  kl_txn_release(txn);
  manager_close(manager);
}

static void test_limits(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin(manager);
  kl_error err;
  kl_slice value;
  kl_cursor *cursor;
  static uint8_t long_key[KL_MAX_KEY + 1];
  kl_slice fits = kl_slice_make(long_key, KL_MAX_KEY), too_long = kl_slice_make(long_key, KL_MAX_KEY + 1);
  kl_slice empty = kl_slice_make("", 0), none = kl_slice_make(NULL, 0);
  assert_ok(kl_txn_put(txn, 1, fits, text("long"), &err), &err);
  assert_int_equal(kl_txn_put(txn, 1, too_long, text("x"), &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_txn_delete(txn, 1, too_long, &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_txn_get(txn, 1, too_long, &value, &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_txn_delete_range(txn, 1, too_long, none, NULL, &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_txn_delete_range(txn, 1, none, too_long, NULL, &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_cursor_open(txn, 1, too_long, none, &cursor, &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_cursor_open(txn, 1, none, too_long, &cursor, &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_txn_put(txn, 1, text("a"), kl_slice_make(long_key, KL_MAX_VALUE + 1), &err), KL_E_VALUE_SIZE);
  assert_ok(kl_cursor_open(txn, 1, none, none, &cursor, &err), &err);
  assert_int_equal(kl_cursor_seek_ge(cursor, too_long, &err), KL_E_KEY_SIZE);
  assert_int_equal(kl_cursor_seek_le(cursor, too_long, &err), KL_E_KEY_SIZE);
  kl_cursor_close(cursor);
  assert_ok(kl_txn_put(txn, 1, empty, empty, &err), &err); /* empty key, empty value */
  assert_ok(kl_txn_get(txn, 1, empty, &value, &err), &err);
  assert_int_equal(value.size, 0);
  assert_ok(kl_txn_get(txn, 1, none, &value, &err), &err); /* a key of size 0 may have no address */
  (void)commit(txn);
  kl_batch batch;
  kl_batch_init(&batch, kl_allocator_libc());
  txn = begin_read_only(manager);
  const uint64_t backwards[3] = {0, 5, 3}, huge[2] = {0, KL_MAX_KEY + 1};
  assert_int_equal(kl_txn_get_many(txn, 1, long_key, backwards, 2, &batch, &err), KL_E_INVALID);
  assert_int_equal(kl_txn_get_many(txn, 1, long_key, huge, 1, &batch, &err), KL_E_KEY_SIZE);
  assert_int_equal(batch.count, 0);
  kl_batch_destroy(&batch);
  kl_txn_release(txn);
  manager_close(manager);
}

static void test_options(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn;
  kl_error err;
  for (int isolation = KL_ISOLATION_DEFAULT; isolation <= KL_ISOLATION_READ_UNCOMMITTED; isolation++) {
    kl_txn_options options = {.isolation = (kl_isolation)isolation};
    kl_status status = kl_txn_begin(manager, &options, &txn, &err);
    if (isolation == KL_ISOLATION_SERIALIZABLE) { /* stronger than what exists: refused, never weakened */
      assert_int_equal(status, KL_E_UNSUPPORTED);
    } else {
      assert_ok(status, &err);
      kl_txn_release(txn);
    }
  }
  kl_txn_options options = {.isolation = (kl_isolation)17};
  assert_int_equal(kl_txn_begin(manager, &options, &txn, &err), KL_E_INVALID);
  options = (kl_txn_options){.durability = (kl_durability)17};
  assert_int_equal(kl_txn_begin(manager, &options, &txn, &err), KL_E_INVALID);
  manager_close(manager);
}

static void test_close_and_late_release(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin(manager);
  put(txn, 1, "a", "value");
  (void)commit(txn);
  kl_txn *reader = begin_read_only(manager), *writer = begin(manager), *fresh;
  kl_view *view;
  kl_error err;
  assert_ok(kl_txn_get_view(reader, 1, text("a"), &view, &err), &err);
  put(writer, 1, "b", "lost");
  manager_close(manager); /* everything below lives on its own references */
  assert_int_equal(kl_txn_begin(kl_txn_get_manager(reader), NULL, &fresh, &err), KL_E_CLOSED);
  assert_value(reader, 1, "a", "value");
  assert_int_equal(kl_txn_commit(writer, NULL, &err), KL_E_CLOSED);
  kl_txn_release(writer);
  kl_txn_release(reader);
  assert_slice(kl_view_value(view), "value");
  kl_view_release(view);
  kl_view_release(NULL);
  kl_cursor_close(NULL);
  kl_txn_release(NULL);
}

/* A view of the transaction's own write holds a copy. */
static void test_view_of_own_write(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin(manager);
  kl_view *view;
  kl_error err;
  put(txn, 1, "a", "first");
  assert_ok(kl_txn_get_view(txn, 1, text("a"), &view, &err), &err);
  put(txn, 1, "a", "other");
  assert_slice(kl_view_value(view), "first");
  kl_txn_release(txn);
  assert_slice(kl_view_value(view), "first");
  kl_txn_manager_stats stats;
  kl_txn_manager_get_stats(manager, &stats);
  assert_int_equal(stats.views_live, 1);
  kl_view_release(view);
  manager_close(manager);
}

static void test_memory_limit(void **state) {
  (void)state;
  kl_txn_manager_options options = {.memory_limit = 200000};
  kl_txn_manager *manager = manager_open(kl_os_posix(), &options);
  kl_error err;
  static char large[20000];
  memset(large, 'x', sizeof large - 1);
  kl_status status = KL_OK;
  int commits = 0;
  while (status == KL_OK && commits < 100) {
    kl_txn *txn = begin(manager);
    char key[16];
    (void)snprintf(key, sizeof key, "%d", commits);
    put(txn, 1, key, large);
    status = kl_txn_commit(txn, NULL, &err);
    kl_txn_release(txn);
    if (status == KL_OK) commits++;
  }
  assert_int_equal(status, KL_E_LIMIT);
  assert_in_range(commits, 2, 10);
  kl_txn *txn = begin_read_only(manager); /* reading goes on, and the refused commit has left nothing */
  char key[16];
  (void)snprintf(key, sizeof key, "%d", commits - 1);
  assert_value(txn, 1, key, large);
  (void)snprintf(key, sizeof key, "%d", commits);
  assert_value(txn, 1, key, NULL);
  kl_txn_release(txn);
  manager_close(manager);
}

/* More keys than are looked up at a time; some absent, some deleted, some only written by the transaction itself. */
static void test_get_many(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  static char packed[COUNT * 8];
  static uint64_t offsets[COUNT + 1];
  kl_txn *txn = begin(manager);
  char key[24];
  for (int i = 0; i < COUNT; i++) {
    int size = snprintf(key, sizeof key, "k%d", i);
    memcpy(packed + offsets[i], key, (size_t)size);
    offsets[i + 1] = offsets[i] + (uint64_t)size;
    if (i % 3 == 0) put(txn, 1, key, "committed");
  }
  (void)commit(txn);
  txn = begin(manager);
  for (int i = 0; i < COUNT; i++) {
    (void)snprintf(key, sizeof key, "k%d", i);
    if (i % 5 == 0) delete_key(txn, 1, key);
    if (i % 7 == 0) put(txn, 1, key, "own");
  }
  kl_batch batch;
  kl_error err;
  kl_batch_init(&batch, kl_allocator_libc());
  assert_ok(kl_txn_get_many(txn, 1, packed, offsets, COUNT, &batch, &err), &err);
  assert_int_equal(batch.count, COUNT);
  assert_memory_equal(batch.keys, packed, offsets[COUNT]);
  assert_memory_equal(batch.key_offsets, offsets, sizeof offsets);
  for (int i = 0; i < COUNT; i++) {
    const char *expected = i % 7 == 0 ? "own" : i % 5 == 0 ? "" : i % 3 == 0 ? "committed" : "";
    assert_int_equal(batch.found[i], expected[0] != '\0');
    uint64_t from = batch.value_offsets[i];
    assert_slice(kl_slice_make(batch.values + from, batch.value_offsets[i + 1] - from), expected);
  }
  assert_ok(kl_txn_get_many(txn, 1, NULL, offsets, 0, &batch, &err), &err);
  assert_int_equal(batch.count, 0);
  kl_batch_destroy(&batch);
  kl_txn_release(txn);
  manager_close(manager);
}

/* Dropping a keyspace is writing its marker (TXN-9). */
static void test_drop_marker(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  uint8_t marker[KL_DROP_MARKER_SIZE];
  kl_drop_marker_encode(7, marker);
  kl_error err;
  kl_txn *writer = begin(manager), *elsewhere = begin(manager), *drop = begin(manager), *late;
  put(writer, 7, "a", "1");
  put(elsewhere, 8, "a", "1");
  assert_ok(kl_txn_put(drop, 0, kl_slice_make(marker, sizeof marker), text("x"), &err), &err);
  (void)commit(drop);
  assert_int_equal(kl_txn_commit(writer, NULL, &err), KL_E_CONFLICT);
  assert_non_null(strstr(err.message, "dropped"));
  kl_txn_release(writer);
  (void)commit(elsewhere);
  late = begin(manager);
  assert_int_equal(kl_txn_put(late, 7, text("a"), text("2"), &err), KL_E_KEYSPACE_NOT_FOUND);
  put(late, 8, "b", "2");
  (void)commit(late);
  manager_close(manager);
}

typedef struct intruder {
  kl_txn *txn;
  _Atomic int phase;
  kl_status status;
} intruder;

static kl_status intrude(kl_txn *txn, kl_error *err) {
  kl_slice value;
  return kl_txn_get(txn, 1, text("a"), &value, err);
}

static void hammer(void *context) {
  intruder *i = context;
  kl_error err;
  while (atomic_load(&i->phase) == 0) {
    kl_status status = intrude(i->txn, &err);
    if (status == KL_E_CONCURRENT_USE) atomic_store(&i->phase, 1);
  }
}

/* Two threads inside of one transaction: one of them is told, and nothing breaks. */
static void test_concurrent_use(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin(manager);
  put(txn, 1, "a", "1");
  intruder shared = {.txn = txn};
  kl_thread *thread;
  kl_error err;
  assert_ok(kl_thread_start(kl_os_posix(), "test-intruder", hammer, &shared, &thread, &err), &err);
  while (atomic_load(&shared.phase) == 0) { /* long operations, so that the other thread meets one */
    kl_status status = kl_txn_delete_range(txn, 2, text("a"), text("b"), NULL, &err);
    if (status == KL_E_CONCURRENT_USE) atomic_store(&shared.phase, 1);
    for (int i = 0; i < 100 && status == KL_OK; i++) {
      char key[16];
      (void)snprintf(key, sizeof key, "b%d", i);
      status = kl_txn_put(txn, 1, text(key), text("value"), &err);
      if (status == KL_E_CONCURRENT_USE) atomic_store(&shared.phase, 1);
    }
  }
  kl_thread_join(thread);
  assert_value(txn, 1, "a", "1");
  (void)commit(txn);
  manager_close(manager);
}

/* The only key is the empty one, and the batch has never had a byte of keys. */
static void test_batch_of_an_empty_key(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin(manager);
  kl_cursor *cursor;
  kl_batch batch;
  kl_error err;
  kl_batch_init(&batch, kl_allocator_libc());
  put(txn, 1, "", "value");
  assert_ok(kl_cursor_open(txn, 1, kl_slice_make(NULL, 0), kl_slice_make(NULL, 0), &cursor, &err), &err);
  assert_ok(kl_cursor_next_batch(cursor, 0, 0, &batch, &err), &err);
  assert_int_equal(batch.count, 1);
  kl_slice key, value;
  assert_ok(kl_cursor_get(cursor, &key, &value, &err), &err); /* it stands on the row */
  assert_slice(key, "");
  assert_slice(value, "value");
  assert_ok(kl_cursor_next_batch(cursor, 0, 0, &batch, &err), &err);
  assert_int_equal(batch.count, 0);
  kl_batch_destroy(&batch);
  kl_cursor_close(cursor);
  kl_txn_release(txn);
  manager_close(manager);
}

/* The owner lets go of a transaction that it has ended while a cursor, on another thread, is inside of it to find that it
 * has ended. */
typedef struct late_looker {
  kl_cursor *cursor;
  _Atomic bool looking, stop;
  kl_status unexpected; /* KL_OK: none */
} late_looker;

static void look_late(void *context) {
  late_looker *looker = context;
  while (!atomic_load(&looker->stop)) {
    kl_status status = kl_cursor_first(looker->cursor, NULL);
    if (status != KL_E_FINISHED && status != KL_E_CONCURRENT_USE) looker->unexpected = status;
    atomic_store(&looker->looking, true);
  }
}

static void test_release_under_a_cursor(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  for (int round = 0; round < 300; round++) {
    kl_txn *txn = begin(manager);
    kl_cursor *cursor;
    kl_error err;
    assert_ok(kl_cursor_open(txn, 1, kl_slice_make(NULL, 0), kl_slice_make(NULL, 0), &cursor, &err), &err);
    assert_ok(kl_txn_commit(txn, NULL, &err), &err);
    late_looker looker = {.cursor = cursor};
    kl_thread *thread;
    assert_ok(kl_thread_start(kl_os_posix(), "test-looker", look_late, &looker, &thread, &err), &err);
    while (!atomic_load(&looker.looking)) kl_thread_yield();
    kl_txn_release(txn);
    atomic_store(&looker.stop, true);
    kl_thread_join(thread);
    assert_int_equal(looker.unexpected, KL_OK);
    kl_cursor_close(cursor);
  }
  manager_close(manager);
}

static void test_stats(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin(manager);
  put(txn, 1, "a", "1");
  delete_key(txn, 1, "b");
  assert_value(txn, 1, "a", "1");
  (void)commit(txn);
  kl_txn_release(begin(manager));
  (void)commit(begin_read_only(manager));
  kl_txn_options options = {.read_only = true, .label = "report"};
  kl_error err;
  assert_ok(kl_txn_begin(manager, &options, &txn, &err), &err);
  kl_txn_manager_stats stats;
  kl_txn_manager_get_stats(manager, &stats);
  assert_int_equal(stats.commits, 1);
  assert_int_equal(stats.commits_read_only, 1);
  assert_int_equal(stats.rollbacks, 1);
  assert_int_equal(stats.puts, 1);
  assert_int_equal(stats.deletes, 1);
  assert_int_equal(stats.gets, 1);
  assert_int_equal(stats.transactions_live, 1);
  assert_int_equal(stats.snapshots_live, 1);
  assert_string_equal(stats.oldest_snapshot_label, "report");
  assert_true(stats.memory_bytes > 4096);
  assert_false(stats.poisoned);
  kl_txn_release(txn);
  manager_close(manager);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_snapshot_isolation),
                                     cmocka_unit_test(test_first_committer_wins),
                                     cmocka_unit_test(test_reads_are_not_validated),
                                     cmocka_unit_test(test_finished),
                                     cmocka_unit_test(test_read_only),
                                     cmocka_unit_test(test_limits),
                                     cmocka_unit_test(test_options),
                                     cmocka_unit_test(test_close_and_late_release),
                                     cmocka_unit_test(test_view_of_own_write),
                                     cmocka_unit_test(test_memory_limit),
                                     cmocka_unit_test(test_get_many),
                                     cmocka_unit_test(test_drop_marker),
                                     cmocka_unit_test(test_concurrent_use),
                                     cmocka_unit_test(test_release_under_a_cursor),
                                     cmocka_unit_test(test_batch_of_an_empty_key),
                                     cmocka_unit_test(test_stats)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
