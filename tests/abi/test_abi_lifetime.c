/* tests/abi/test_abi_lifetime.c: two openings of one file, every order of closing, and what outlives what. */
#include <sys/stat.h>
#include <unistd.h>

#include "abi_support.h"

static folder files;

static int setup(void **state) {
  (void)state;
  folder_make(&files);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  folder_remove(&files);
  return 0;
}

/* One path opened twice, also under another name, is one engine. */
static void test_two_openings(void **state) {
  (void)state;
  keel_db first, second;
  keel_keyspace of_first, of_second;
  const char *path = folder_file(&files, "twice.keel"), *link = folder_file(&files, "link.keel");
  OK(keel_open(path, NULL, &first, &error));
  assert_int_equal(symlink("twice.keel", link), 0);
  OK(keel_open(link, NULL, &second, &error));
  assert_int_not_equal(first, second);
  OK(keel_keyspace_open(first, "ks", 2, NULL, &of_first, &error));
  OK(keel_keyspace_open(second, "ks", 2, NULL, &of_second, &error));
  put_row(first, of_first, "k", "v");
  check_row(second, of_second, "k", "v");
  put_row(second, of_first, "k", "w"); /* one engine, so that the keyspaces of both openings fit */
  OK(keel_keyspace_close(of_first, &error));
  OK(keel_close(first, &error));
  EXPECT(KEEL_E_HANDLE, keel_flush(first, &error));
  check_row(second, of_second, "k", "w");
  put_row(second, of_second, "l", "x");
  OK(keel_close(second, &error));
  OK(keel_keyspace_close(of_second, &error));
  OK(keel_open(path, NULL, &first, &error));
  OK(keel_keyspace_open(first, "ks", 2, NULL, &of_first, &error));
  check_row(first, of_first, "l", "x");
  OK(keel_keyspace_close(of_first, &error));
  OK(keel_close(first, &error));
}

/* Two databases in memory are two databases. */
static void test_two_in_memory(void **state) {
  (void)state;
  keel_db first, second;
  keel_keyspace keyspace, none;
  keel_keyspace_options existing = KEEL_KEYSPACE_OPTIONS_INIT;
  existing.flags = KEEL_KEYSPACE_NO_CREATE;
  OK(keel_open(":memory:", NULL, &first, &error));
  OK(keel_open(":memory:", NULL, &second, &error));
  OK(keel_keyspace_open(first, "ks", 2, NULL, &keyspace, &error));
  EXPECT(KEEL_E_KEYSPACE_NOT_FOUND, keel_keyspace_open(second, "ks", 2, &existing, &none, &error));
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(second, &error));
  OK(keel_close(first, &error));
}

/* ---- Every order of closing: CAPI-11 ---- */

enum { DB, KEYSPACE, TXN, CURSOR, VIEW, BATCH, KINDS };

static void open_all(const char *path, uint64_t handles[KINDS]) {
  OK(keel_open(path, NULL, &handles[DB], &error));
  OK(keel_keyspace_open(handles[DB], "ks", 2, NULL, &handles[KEYSPACE], &error));
  put_row(handles[DB], handles[KEYSPACE], "k", "value");
  OK(keel_begin(handles[DB], NULL, &handles[TXN], &error));
  OK(keel_cursor_open(handles[TXN], handles[KEYSPACE], NULL, &handles[CURSOR], &error));
  OK(keel_cursor_first(handles[CURSOR], &error));
  OK(keel_get_view(handles[TXN], handles[KEYSPACE], "k", 1, &handles[VIEW], &error));
  OK(keel_batch_new(&handles[BATCH], &error));
}

static void close_one(int kind, uint64_t handle) {
  switch (kind) {
    case DB:
      OK(keel_close(handle, &error));
      break;
    case KEYSPACE:
      OK(keel_keyspace_close(handle, &error));
      break;
    case TXN:
      OK(keel_rollback(handle, &error));
      break;
    case CURSOR:
      OK(keel_cursor_close(handle, &error));
      break;
    case VIEW:
      OK(keel_view_release(handle, &error));
      break;
    default:
      OK(keel_batch_free(handle, &error));
  }
}

/* What is still open works, as far as what it needs is open. `open` has a bit per kind. */
static void check_open(const uint64_t handles[KINDS], unsigned open) {
  const void *key, *value;
  size_t key_size, size;
  if (open & 1U << VIEW) {
    OK(keel_view_data(handles[VIEW], &value, &size, &error));
    assert_int_equal(size, 5);
    assert_memory_equal(value, "value", 5);
  }
  if (open & 1U << CURSOR) {
    keel_status expected = open & 1U << TXN ? KEEL_OK : KEEL_E_FINISHED;
    EXPECT(expected, keel_cursor_last(handles[CURSOR], &error));
    EXPECT(expected, keel_cursor_get(handles[CURSOR], &key, &key_size, &value, &size, &error));
  }
  if (open & 1U << TXN) {
    keel_status expected = open & 1U << KEYSPACE ? KEEL_OK : KEEL_E_HANDLE;
    EXPECT(expected, keel_get(handles[TXN], handles[KEYSPACE], "k", 1, &value, &size, &error));
  }
  if (open & 1U << DB) OK(keel_flush(handles[DB], &error));
  if ((open & 1U << CURSOR) && (open & 1U << TXN) && (open & 1U << BATCH)) {
    OK(keel_cursor_next_batch(handles[CURSOR], 1, 0, handles[BATCH], &error));
  }
}

/* The n-th permutation of the kinds. */
static void permutation(int n, int out[KINDS]) {
  int rest[KINDS];
  for (int i = 0; i < KINDS; i++) rest[i] = i;
  for (int i = 0; i < KINDS; i++) {
    int at = n % (KINDS - i);
    n /= KINDS - i;
    out[i] = rest[at];
    memmove(rest + at, rest + at + 1, (size_t)(KINDS - i - at - 1) * sizeof rest[0]);
  }
}

static void close_in_order(const char *path, int n) {
  uint64_t handles[KINDS];
  int order[KINDS];
  unsigned open = (1U << KINDS) - 1;
  permutation(n, order);
  open_all(path, handles);
  check_open(handles, open);
  for (int i = 0; i < KINDS; i++) {
    close_one(order[i], handles[order[i]]);
    open &= ~(1U << order[i]);
    check_open(handles, open);
  }
}

static void test_every_order_in_memory(void **state) {
  (void)state;
  for (int n = 0; n < 720; n++) close_in_order(":memory:", n);
}

static int open_in_child(void *context) {
  keel_db db;
  return keel_open(context, NULL, &db, NULL) == KEEL_OK && keel_close(db, NULL) == KEEL_OK ? 0 : 1;
}

/* The file is released by whatever is closed last: another process can open it then. */
static void test_orders_in_a_file(void **state) {
  (void)state;
  char path[512];
  (void)snprintf(path, sizeof path, "%s", folder_file(&files, "orders.keel"));
  for (int n = 0; n < 720; n += 37) {
    close_in_order(path, n);
    in_child(open_in_child, path);
  }
}

/* A view shows its bytes after its key was overwritten, its keyspace dropped, its transaction and database closed. */
static void test_view_outlives(void **state) {
  (void)state;
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  keel_view small, large, own;
  const void *data;
  size_t size;
  char *bytes = malloc(1 << 20);
  assert_non_null(bytes);
  memset(bytes, 'L', 1 << 20);
  OK(keel_open(folder_file(&files, "views.keel"), NULL, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  OK(keel_begin(db, NULL, &txn, &error));
  OK(keel_put(txn, keyspace, "small", 5, "s", 1, &error));
  OK(keel_put(txn, keyspace, "large", 5, bytes, 1 << 20, &error));
  OK(keel_commit(txn, NULL, &error));
  OK(keel_begin(db, NULL, &txn, &error));
  OK(keel_get_view(txn, keyspace, "small", 5, &small, &error));
  OK(keel_get_view(txn, keyspace, "large", 5, &large, &error));
  OK(keel_put(txn, keyspace, "own", 3, "mine", 4, &error));
  OK(keel_get_view(txn, keyspace, "own", 3, &own, &error)); /* of a write that is never committed */
  OK(keel_put(txn, keyspace, "own", 3, "other", 5, &error));
  OK(keel_rollback(txn, &error));
  put_row(db, keyspace, "small", "changed");
  OK(keel_keyspace_drop(db, "ks", 2, &error));
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
  OK(keel_view_data(small, &data, &size, &error));
  assert_int_equal(size, 1);
  assert_memory_equal(data, "s", 1);
  OK(keel_view_data(large, &data, &size, &error));
  assert_int_equal(size, 1 << 20);
  assert_memory_equal(data, bytes, size);
  OK(keel_view_data(own, &data, &size, &error));
  assert_int_equal(size, 4);
  assert_memory_equal(data, "mine", 4);
  OK(keel_view_release(small, &error));
  OK(keel_view_release(large, &error));
  OK(keel_view_release(own, &error));
  EXPECT(KEEL_E_HANDLE, keel_view_data(small, &data, &size, &error));
  free(bytes);
}

/* A keyspace that was closed cannot be used any more, although its transaction still holds what it lent. */
static void test_lent_keyspace_closed(void **state) {
  (void)state;
  keel_db db;
  keel_keyspace keyspace, others[6];
  keel_txn txn;
  const void *value;
  size_t size;
  OK(keel_open(":memory:", NULL, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  OK(keel_begin(db, NULL, &txn, &error));
  OK(keel_put(txn, keyspace, "k", 1, "v", 1, &error));
  OK(keel_keyspace_close(keyspace, &error));
  EXPECT(KEEL_E_HANDLE, keel_put(txn, keyspace, "k", 1, "w", 1, &error));
  EXPECT(KEEL_E_HANDLE, keel_keyspace_close(keyspace, &error));
  for (int i = 0; i < 6; i++) { /* more than a transaction keeps at hand */
    char name[] = {'a', (char)('0' + i)};
    OK(keel_keyspace_open(db, name, 2, NULL, &others[i], &error));
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 6; i++) OK(keel_put(txn, others[i], "k", 1, "v", 1, &error));
  }
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  OK(keel_get(txn, keyspace, "k", 1, &value, &size, &error));
  OK(keel_commit(txn, NULL, &error));
  check_row(db, keyspace, "k", "v");
  for (int i = 0; i < 6; i++) {
    check_row(db, others[i], "k", "v");
    OK(keel_keyspace_close(others[i], &error));
  }
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_two_openings),          cmocka_unit_test(test_two_in_memory),
      cmocka_unit_test(test_every_order_in_memory), cmocka_unit_test(test_orders_in_a_file),
      cmocka_unit_test(test_view_outlives),         cmocka_unit_test(test_lent_keyspace_closed),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
