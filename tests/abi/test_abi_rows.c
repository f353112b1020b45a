/* tests/abi/test_abi_rows.c: reading and writing rows through keel.h, on a database in memory. */
#include "abi_support.h"

typedef struct fixture {
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  keel_batch batch;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  OK(keel_open(":memory:", NULL, &f->db, &error));
  OK(keel_keyspace_open(f->db, "rows", 4, NULL, &f->keyspace, &error));
  OK(keel_begin(f->db, NULL, &f->txn, &error));
  OK(keel_batch_new(&f->batch, &error));
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  OK(keel_batch_free(f->batch, &error));
  OK(keel_rollback(f->txn, &error));
  OK(keel_keyspace_close(f->keyspace, &error));
  OK(keel_close(f->db, &error));
  free(f);
  return 0;
}

static void put(fixture *f, const char *key, const char *value) {
  OK(keel_put(f->txn, f->keyspace, key, strlen(key), value, strlen(value), &error));
}

static void check(fixture *f, const char *key, size_t key_size, const char *value) {
  const void *found = NULL;
  size_t size = 0;
  OK(keel_get(f->txn, f->keyspace, key, key_size, &found, &size, &error));
  assert_int_equal(size, strlen(value));
  assert_memory_equal(found, value, size);
}

static void check_absent(fixture *f, const char *key) {
  const void *found = f;
  size_t size = 77;
  EXPECT(KEEL_E_NOT_FOUND, keel_get(f->txn, f->keyspace, key, strlen(key), &found, &size, &error));
  assert_ptr_equal(found, f);
  assert_int_equal(size, 77);
}

static void test_put_get_del(void **state) {
  fixture *f = *state;
  put(f, "a", "one");
  check(f, "a", 1, "one");
  put(f, "a", "two");
  check(f, "a", 1, "two");
  OK(keel_del(f->txn, f->keyspace, "a", 1, &error));
  check_absent(f, "a");
  OK(keel_del(f->txn, f->keyspace, "a", 1, &error));
}

/* In a database without a file there is nothing to cut, but memory to give back. */
static void test_compact(void **state) {
  fixture *f = *state;
  keel_stats before = KEEL_STATS_INIT, after = KEEL_STATS_INIT;
  keel_txn txn;
  char key[32];
  for (int i = 0; i < 60000; i++) {
    (void)snprintf(key, sizeof key, "key-%06d", i);
    put(f, key, "a value that takes some bytes, so that there are pages to move and to cut off");
  }
  OK(keel_commit(f->txn, NULL, &error));
  OK(keel_make_checkpoint(f->db, &error));
  OK(keel_get_stats(f->db, &before, &error));
  OK(keel_begin(f->db, NULL, &txn, &error));
  for (int i = 0; i < 59000; i++) {
    (void)snprintf(key, sizeof key, "key-%06d", i);
    OK(keel_del(txn, f->keyspace, key, strlen(key), &error));
  }
  OK(keel_commit(txn, NULL, &error));
  OK(keel_compact(f->db, &error));
  OK(keel_get_stats(f->db, &after, &error));
  assert_true(after.file_bytes < before.file_bytes / 2);
  OK(keel_begin(f->db, NULL, &f->txn, &error)); /* the teardown's */
  check(f, "key-059000", 10, "a value that takes some bytes, so that there are pages to move and to cut off");
  check_absent(f, "key-058999");
}

/* The empty key and the empty value are a key and a value; NULL with size 0 is how C says them. */
static void test_empty(void **state) {
  fixture *f = *state;
  const void *found;
  size_t size;
  EXPECT(KEEL_E_NOT_FOUND, keel_get(f->txn, f->keyspace, NULL, 0, &found, &size, &error));
  OK(keel_put(f->txn, f->keyspace, NULL, 0, "v", 1, &error));
  check(f, "", 0, "v");
  OK(keel_put(f->txn, f->keyspace, "e", 1, NULL, 0, &error));
  OK(keel_get(f->txn, f->keyspace, "e", 1, &found, &size, &error));
  assert_non_null(found);
  assert_int_equal(size, 0);
}

static void test_longest_key(void **state) {
  fixture *f = *state;
  char key[KEEL_MAX_KEY_SIZE];
  memset(key, 0xFF, sizeof key);
  OK(keel_put(f->txn, f->keyspace, key, sizeof key, "v", 1, &error));
  check(f, key, sizeof key, "v");
  EXPECT_MESSAGE(KEEL_E_KEY_SIZE, "1025", keel_put(f->txn, f->keyspace, key, sizeof key + 1, "v", 1, &error));
}

static void test_get_copy(void **state) {
  fixture *f = *state;
  char buffer[8] = "???????";
  size_t size = 0;
  put(f, "k", "12345");
  OK(keel_get_copy(f->txn, f->keyspace, "k", 1, buffer, sizeof buffer, &size, &error));
  assert_int_equal(size, 5);
  assert_memory_equal(buffer, "12345??", 7);
  size = 0;
  EXPECT(KEEL_E_BUFFER_SIZE, keel_get_copy(f->txn, f->keyspace, "k", 1, buffer, 2, &size, &error));
  assert_int_equal(size, 5);
  size = 0;
  EXPECT(KEEL_E_BUFFER_SIZE, keel_get_copy(f->txn, f->keyspace, "k", 1, NULL, 0, &size, &error));
  assert_int_equal(size, 5);
  OK(keel_put(f->txn, f->keyspace, "empty", 5, NULL, 0, &error));
  OK(keel_get_copy(f->txn, f->keyspace, "empty", 5, NULL, 0, &size, &error));
  assert_int_equal(size, 0);
}

static void test_get_part(void **state) {
  fixture *f = *state;
  char buffer[8] = "???????";
  size_t size = 0;
  uint64_t whole = 0;
  put(f, "k", "0123456789");
  OK(keel_get_part(f->txn, f->keyspace, "k", 1, 3, buffer, 4, &size, &whole, &error));
  assert_int_equal(size, 4);
  assert_int_equal(whole, 10);
  assert_memory_equal(buffer, "3456???", 7);
  OK(keel_get_part(f->txn, f->keyspace, "k", 1, 8, buffer, 4, &size, &whole, &error));
  assert_int_equal(size, 2);
  assert_memory_equal(buffer, "8956???", 7);
  OK(keel_get_part(f->txn, f->keyspace, "k", 1, UINT64_MAX, buffer, 4, &size, &whole, &error));
  assert_int_equal(size, 0);
  OK(keel_get_part(f->txn, f->keyspace, "k", 1, 0, NULL, 0, &size, &whole, &error));
  assert_int_equal(size, 0);
  assert_int_equal(whole, 10);
  size = 7;
  EXPECT(KEEL_E_NOT_FOUND, keel_get_part(f->txn, f->keyspace, "l", 1, 0, buffer, 4, &size, &whole, &error));
  assert_int_equal(size, 7);
}

static void test_value(void **state) {
  fixture *f = *state;
  keel_value value, other;
  OK(keel_value_begin(f->txn, f->keyspace, "k", 1, 6, &value, &error));
  OK(keel_value_begin(f->txn, f->keyspace, "o", 1, 1, &other, &error));
  OK(keel_value_write(value, "abc", 3, &error));
  EXPECT_MESSAGE(KEEL_E_INVALID, "too many", keel_value_write(value, "defg", 4, &error));
  EXPECT_MESSAGE(KEEL_E_INVALID, "3 were written", keel_value_finish(value, &error));
  check_absent(f, "k");
  OK(keel_value_write(value, NULL, 0, &error));
  OK(keel_value_write(value, "def", 3, &error));
  OK(keel_value_finish(value, &error));
  check(f, "k", 1, "abcdef");
  EXPECT(KEEL_E_FINISHED, keel_value_finish(value, &error));
  OK(keel_value_end(value, &error));
  EXPECT(KEEL_E_HANDLE, keel_value_end(value, &error));
  OK(keel_value_end(other, &error)); /* given up */
  check_absent(f, "o");
  OK(keel_value_begin(f->txn, f->keyspace, "", 0, 0, &value, &error));
  OK(keel_value_finish(value, &error));
  OK(keel_value_end(value, &error));
  check(f, "", 0, "");
  EXPECT_MESSAGE(KEEL_E_VALUE_SIZE, "281474976710657",
                 keel_value_begin(f->txn, f->keyspace, "k", 1, KEEL_MAX_LARGE_VALUE_SIZE + 1, &value, &error));
}

/* One that is in the file before its row is, and one that outlives its transaction. */
static void test_large_value(void **state) {
  fixture *f = *state;
  static char piece[1 << 20];
  keel_value value;
  memset(piece, 'x', sizeof piece);
  OK(keel_value_begin(f->txn, f->keyspace, "k", 1, 17 << 20, &value, &error));
  for (int i = 0; i < 16; i++) OK(keel_value_write(value, piece, sizeof piece, &error));
  EXPECT(KEEL_E_INVALID, keel_value_finish(value, &error));
  OK(keel_rollback(f->txn, &error));
  EXPECT(KEEL_E_FINISHED, keel_value_write(value, piece, sizeof piece, &error));
  EXPECT(KEEL_E_FINISHED, keel_value_finish(value, &error));
  OK(keel_value_end(value, &error));
  OK(keel_begin(f->db, NULL, &f->txn, &error));
  check_absent(f, "k");
}

static void test_del_range(void **state) {
  fixture *f = *state;
  uint64_t count = 0;
  const char *keys[] = {"a", "b", "c", "d", "e"};
  for (size_t i = 0; i < 5; i++) put(f, keys[i], "v");
  OK(keel_del_range(f->txn, f->keyspace, "b", 1, "d", 1, &count, &error));
  assert_int_equal(count, 2);
  check_absent(f, "b");
  check_absent(f, "c");
  check(f, "d", 1, "v");
  OK(keel_del_range(f->txn, f->keyspace, "e", 1, NULL, 0, &count, &error));
  assert_int_equal(count, 1);
  OK(keel_del_range(f->txn, f->keyspace, NULL, 0, NULL, 0, NULL, &error));
  check_absent(f, "a");
  check_absent(f, "d");
}

/* An end that is the empty key is not an open end: nothing sorts before it. */
static void test_del_range_empty_bound(void **state) {
  fixture *f = *state;
  uint64_t count = 77;
  put(f, "a", "v");
  OK(keel_del_range(f->txn, f->keyspace, NULL, 0, "", 0, &count, &error));
  assert_int_equal(count, 0);
  OK(keel_del_range(f->txn, f->keyspace, "", 0, NULL, 0, &count, &error));
  assert_int_equal(count, 1);
}

static size_t add_entry(unsigned char *ops, size_t at, uint8_t operation, const char *key, const char *value) {
  uint32_t key_size = (uint32_t)strlen(key), value_size = (uint32_t)strlen(value);
  unsigned char header[12] = {operation, 0, 0, 0};
  for (size_t i = 0; i < 4; i++) {
    header[4 + i] = (unsigned char)(key_size >> (8 * i));
    header[8 + i] = (unsigned char)(value_size >> (8 * i));
  }
  memcpy(ops + at, header, sizeof header);
  memcpy(ops + at + 12, key, key_size);
  memcpy(ops + at + 12 + key_size, value, value_size);
  return at + 12 + key_size + value_size;
}

static void test_write_batch(void **state) {
  fixture *f = *state;
  unsigned char ops[256];
  put(f, "old", "v");
  size_t size = add_entry(ops, 0, KEEL_BATCH_PUT, "x", "10");
  size = add_entry(ops, size, KEEL_BATCH_DELETE, "old", "");
  size = add_entry(ops, size, KEEL_BATCH_PUT, "", "empty key");
  size = add_entry(ops, size, KEEL_BATCH_PUT, "y", "");
  uint64_t count = 0;
  OK(keel_write_batch(f->txn, f->keyspace, ops, size, &count, &error));
  assert_int_equal(count, 4);
  check(f, "x", 1, "10");
  check(f, "", 0, "empty key");
  check(f, "y", 1, "");
  check_absent(f, "old");
  OK(keel_write_batch(f->txn, f->keyspace, NULL, 0, &count, &error));
  assert_int_equal(count, 0);
}

/* The last entry is wrong: nothing of the first ones is applied. */
static void test_write_batch_whole(void **state) {
  fixture *f = *state;
  unsigned char ops[256];
  uint64_t count = 77;
  size_t good = add_entry(ops, 0, KEEL_BATCH_PUT, "x", "10");
  size_t size = add_entry(ops, good, KEEL_BATCH_PUT, "y", "20");
  EXPECT_MESSAGE(KEEL_E_INVALID, "entry 1 at byte 15",
                 keel_write_batch(f->txn, f->keyspace, ops, size - 1, &count, &error));
  ops[good] = 9;
  EXPECT_MESSAGE(KEEL_E_INVALID, "operation (9)", keel_write_batch(f->txn, f->keyspace, ops, size, &count, &error));
  assert_int_equal(count, 77);
  check_absent(f, "x");
}

static void check_rows(fixture *f, size_t count, const char *const *keys) {
  keel_batch_view rows = KEEL_BATCH_VIEW_INIT;
  OK(keel_batch_data(f->batch, &rows, &error));
  assert_int_equal(rows.count, count);
  assert_int_equal(rows.key_offsets[0], 0);
  assert_int_equal(rows.value_offsets[0], 0);
  for (size_t i = 0; i < count; i++) {
    size_t size = (size_t)(rows.key_offsets[i + 1] - rows.key_offsets[i]);
    assert_int_equal(size, strlen(keys[i]));
    assert_memory_equal((const char *)rows.keys + rows.key_offsets[i], keys[i], size);
  }
}

static void test_get_many(void **state) {
  fixture *f = *state;
  put(f, "a", "1");
  put(f, "ccc", "333");
  uint64_t offsets[] = {0, 1, 3, 6, 6};
  OK(keel_get_many(f->txn, f->keyspace, "abbccc", offsets, 4, f->batch, &error));
  keel_batch_view rows = KEEL_BATCH_VIEW_INIT;
  OK(keel_batch_data(f->batch, &rows, &error));
  assert_int_equal(rows.count, 4);
  const uint8_t found[] = {1, 0, 1, 0};
  assert_memory_equal(rows.found, found, 4);
  assert_int_equal(rows.value_offsets[4], 4);
  assert_memory_equal(rows.values, "1333", 4);
  OK(keel_get_many(f->txn, f->keyspace, NULL, NULL, 0, f->batch, &error));
  OK(keel_batch_data(f->batch, &rows, &error));
  assert_int_equal(rows.count, 0);
}

static void check_cursor(keel_cursor cursor, const char *key, const char *value) {
  const void *found_key, *found_value;
  size_t key_size, value_size;
  OK(keel_cursor_get(cursor, &found_key, &key_size, &found_value, &value_size, &error));
  assert_int_equal(key_size, strlen(key));
  assert_memory_equal(found_key, key, key_size);
  assert_int_equal(value_size, strlen(value));
  assert_memory_equal(found_value, value, value_size);
}

static void test_cursor(void **state) {
  fixture *f = *state;
  keel_cursor cursor;
  put(f, "b", "2");
  put(f, "d", "4");
  put(f, "f", "6");
  OK(keel_cursor_open(f->txn, f->keyspace, NULL, &cursor, &error));
  const void *p;
  size_t n;
  EXPECT(KEEL_E_NOT_FOUND, keel_cursor_get(cursor, &p, &n, &p, &n, &error));
  OK(keel_cursor_next(cursor, &error));
  check_cursor(cursor, "b", "2");
  OK(keel_cursor_last(cursor, &error));
  check_cursor(cursor, "f", "6");
  EXPECT(KEEL_E_NOT_FOUND, keel_cursor_next(cursor, &error));
  OK(keel_cursor_prev(cursor, &error));
  check_cursor(cursor, "f", "6");
  OK(keel_cursor_seek(cursor, "c", 1, &error));
  check_cursor(cursor, "d", "4");
  OK(keel_cursor_seek_le(cursor, "c", 1, &error));
  check_cursor(cursor, "b", "2");
  EXPECT(KEEL_E_NOT_FOUND, keel_cursor_seek(cursor, "g", 1, &error));
  EXPECT(KEEL_E_NOT_FOUND, keel_cursor_seek_le(cursor, "a", 1, &error));
  OK(keel_cursor_first(cursor, &error));
  put(f, "c", "3"); /* writes after the cursor was opened are seen */
  OK(keel_cursor_next(cursor, &error));
  check_cursor(cursor, "c", "3");
  OK(keel_cursor_close(cursor, &error));
  EXPECT(KEEL_E_HANDLE, keel_cursor_close(cursor, &error));
}

static void collect(fixture *f, const keel_cursor_options *options, int backward) {
  keel_cursor cursor;
  OK(keel_cursor_open(f->txn, f->keyspace, options, &cursor, &error));
  if (backward) {
    OK(keel_cursor_prev_batch(cursor, 0, 0, f->batch, &error));
  } else {
    OK(keel_cursor_next_batch(cursor, 0, 0, f->batch, &error));
  }
  OK(keel_cursor_close(cursor, &error));
}

#define ROWS(...)                                                              \
  (sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]) { \
    __VA_ARGS__                                                                \
  }

static void test_bounds(void **state) {
  fixture *f = *state;
  const char *keys[] = {"a", "b", "ba", "bb", "c"};
  for (size_t i = 0; i < 5; i++) put(f, keys[i], "v");
  keel_cursor_options options = KEEL_CURSOR_OPTIONS_INIT;
  collect(f, &options, 0);
  check_rows(f, ROWS("a", "b", "ba", "bb", "c"));
  options.lower = "b";
  options.lower_size = 1;
  collect(f, &options, 0);
  check_rows(f, ROWS("b", "ba", "bb", "c"));
  options.upper = "bb";
  options.upper_size = 2;
  collect(f, &options, 1);
  check_rows(f, ROWS("ba", "b"));
  options.upper = "a";
  options.upper_size = 1;
  collect(f, &options, 0);
  check_rows(f, 0, NULL);
  options = (keel_cursor_options)KEEL_CURSOR_OPTIONS_INIT;
  options.upper = "";
  collect(f, &options, 0);
  check_rows(f, 0, NULL);
}

static void test_prefix(void **state) {
  fixture *f = *state;
  const char *keys[] = {"a", "b", "ba", "b\xFF", "b\xFF\x01", "c", "\xFF", "\xFF\xFF"};
  for (size_t i = 0; i < 8; i++) put(f, keys[i], "v");
  keel_cursor_options options = KEEL_CURSOR_OPTIONS_INIT;
  options.prefix = "b";
  options.prefix_size = 1;
  collect(f, &options, 0);
  check_rows(f, ROWS("b", "ba", "b\xFF", "b\xFF\x01"));
  options.prefix = "b\xFF";
  options.prefix_size = 2;
  collect(f, &options, 0);
  check_rows(f, ROWS("b\xFF", "b\xFF\x01"));
  options.prefix = "\xFF"; /* no key lies behind all that start with it */
  options.prefix_size = 1;
  collect(f, &options, 1);
  check_rows(f, ROWS("\xFF\xFF", "\xFF"));
  options.prefix = "";
  options.prefix_size = 0;
  collect(f, &options, 0);
  check_rows(f, ROWS("a", "b", "ba", "b\xFF", "b\xFF\x01", "c", "\xFF", "\xFF\xFF"));
  options.prefix = "b"; /* prefix and bounds hold at once */
  options.prefix_size = 1;
  options.lower = "ba";
  options.lower_size = 2;
  options.upper = "b\xFF\x01";
  options.upper_size = 3;
  collect(f, &options, 0);
  check_rows(f, ROWS("ba", "b\xFF"));
}

static void test_batches(void **state) {
  fixture *f = *state;
  char key[16];
  for (int i = 0; i < 100; i++) {
    (void)snprintf(key, sizeof key, "%03d", i);
    put(f, key, "0123456789");
  }
  keel_cursor cursor;
  keel_batch_view rows = KEEL_BATCH_VIEW_INIT;
  uint64_t total = 0;
  OK(keel_cursor_open(f->txn, f->keyspace, NULL, &cursor, &error));
  for (;;) {
    OK(keel_cursor_next_batch(cursor, 7, 0, f->batch, &error));
    OK(keel_batch_data(f->batch, &rows, &error));
    if (rows.count == 0) break;
    assert_true(rows.count <= 7);
    total += rows.count;
  }
  assert_int_equal(total, 100);
  OK(keel_cursor_first(cursor, &error));
  OK(keel_cursor_next_batch(cursor, SIZE_MAX, 1, f->batch, &error)); /* one row is always taken */
  check_rows(f, ROWS("001"));
  OK(keel_cursor_next_batch(cursor, SIZE_MAX, SIZE_MAX, f->batch, &error));
  OK(keel_batch_data(f->batch, &rows, &error));
  assert_int_equal(rows.count, 98);
  OK(keel_cursor_close(cursor, &error));
}

static void test_keyspaces(void **state) {
  fixture *f = *state;
  keel_keyspace other;
  OK(keel_keyspace_open(f->db, "z\xC3\xA9", 3, NULL, &other, &error));
  OK(keel_keyspace_list(f->db, f->batch, &error));
  check_rows(f, ROWS("rows", "z\xC3\xA9"));
  put_row(f->db, other, "k", "v");
  put_row(f->db, f->keyspace, "k", "w");
  check_row(f->db, other, "k", "v");
  OK(keel_keyspace_drop(f->db, "z\xC3\xA9", 3, &error));
  keel_txn txn;
  const void *found;
  size_t size;
  OK(keel_begin(f->db, NULL, &txn, &error));
  EXPECT(KEEL_E_KEYSPACE_NOT_FOUND, keel_get(txn, other, "k", 1, &found, &size, &error));
  OK(keel_rollback(txn, &error));
  EXPECT(KEEL_E_KEYSPACE_NOT_FOUND, keel_keyspace_drop(f->db, "z\xC3\xA9", 3, &error));
  OK(keel_keyspace_close(other, &error));
  keel_keyspace_options options = KEEL_KEYSPACE_OPTIONS_INIT;
  options.flags = KEEL_KEYSPACE_NO_CREATE;
  EXPECT_MESSAGE(KEEL_E_KEYSPACE_NOT_FOUND, "nothere",
                 keel_keyspace_open(f->db, "nothere", 7, &options, &other, &error));
  OK(keel_keyspace_open(f->db, "z\xC3\xA9", 3, NULL, &other, &error));
  check_row(f->db, other, "k", NULL); /* a new one of the same name is empty */
  OK(keel_keyspace_close(other, &error));
}

static void test_conflict(void **state) {
  fixture *f = *state;
  keel_txn first, second;
  uint64_t timestamp = 0;
  OK(keel_begin(f->db, NULL, &first, &error));
  OK(keel_begin(f->db, NULL, &second, &error));
  OK(keel_put(first, f->keyspace, "k", 1, "1", 1, &error));
  OK(keel_put(second, f->keyspace, "k", 1, "2", 1, &error));
  OK(keel_commit(first, &timestamp, &error));
  assert_true(timestamp > 0);
  EXPECT(KEEL_E_CONFLICT, keel_commit(second, NULL, &error));
  EXPECT(KEEL_E_FINISHED, keel_commit(second, NULL, &error));
  EXPECT(KEEL_E_FINISHED, keel_rollback(first, &error));
  check_row(f->db, f->keyspace, "k", "1");
}

static void test_read_only_transaction(void **state) {
  fixture *f = *state;
  keel_txn txn;
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  options.flags = KEEL_TXN_READ_ONLY;
  options.label = "reader";
  OK(keel_begin(f->db, &options, &txn, &error));
  EXPECT(KEEL_E_READ_ONLY, keel_put(txn, f->keyspace, "k", 1, "v", 1, &error));
  EXPECT(KEEL_E_READ_ONLY, keel_del(txn, f->keyspace, "k", 1, &error));
  uint64_t timestamp = 77;
  OK(keel_commit(txn, &timestamp, &error));
  assert_int_equal(timestamp, 0);
}

static void test_stats(void **state) {
  fixture *f = *state;
  keel_stats before = KEEL_STATS_INIT, after = KEEL_STATS_INIT;
  OK(keel_get_stats(f->db, &before, &error));
  put_row(f->db, f->keyspace, "k", "v");
  check_row(f->db, f->keyspace, "k", "v");
  OK(keel_get_stats(f->db, &after, &error));
  assert_int_equal(after.commits, before.commits + 1);
  assert_true(after.rollbacks > before.rollbacks);
  assert_int_equal(after.gets, before.gets + 1);
  assert_int_equal(after.puts, before.puts + 1);
  assert_int_equal(after.keyspaces, 1);
  assert_int_equal(after.transactions_live, 1);
  assert_true(after.visible_timestamp > before.visible_timestamp);
  assert_true(after.delta_keys > before.delta_keys);
  assert_int_equal(after.poisoned, 0);
  assert_int_equal(after.log_appends, 0);
}

#define ROW_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ROW_TEST(test_put_get_del), ROW_TEST(test_compact),
      ROW_TEST(test_empty),       ROW_TEST(test_longest_key),
      ROW_TEST(test_get_copy),    ROW_TEST(test_get_part),
      ROW_TEST(test_value),       ROW_TEST(test_large_value),
      ROW_TEST(test_del_range),   ROW_TEST(test_del_range_empty_bound),
      ROW_TEST(test_write_batch), ROW_TEST(test_write_batch_whole),
      ROW_TEST(test_get_many),    ROW_TEST(test_cursor),
      ROW_TEST(test_bounds),      ROW_TEST(test_prefix),
      ROW_TEST(test_batches),     ROW_TEST(test_keyspaces),
      ROW_TEST(test_conflict),    ROW_TEST(test_read_only_transaction),
      ROW_TEST(test_stats),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
