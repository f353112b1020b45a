/* tests/abi/test_abi_options.c: versions, statuses, features; options and structs of other versions; read-only opening. */
#include <stdbool.h>

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

static void test_version(void **state) {
  (void)state;
  assert_string_equal(keel_version(), KEEL_VERSION);
  assert_int_equal(keel_version_number(), KEEL_VERSION_NUMBER);
  assert_int_equal(KEEL_VERSION_NUMBER, KEEL_VERSION_MAJOR * 1000000 + KEEL_VERSION_MINOR * 1000 + KEEL_VERSION_PATCH);
}

static void test_statuses(void **state) {
  (void)state;
  assert_string_equal(keel_status_name(KEEL_OK), "ok");
  assert_string_equal(keel_status_name(KEEL_E_NOT_FOUND), "not_found");
  assert_string_equal(keel_status_class(KEEL_E_KEYSPACE_NOT_FOUND), "not_found");
  assert_string_equal(keel_status_class(KEEL_E_POISONED), "io");
  assert_string_equal(keel_status_name(-4711), "unknown");
  assert_string_equal(keel_status_class(4711), "unknown");
  assert_int_equal(keel_status_is_retryable(KEEL_E_CONFLICT), 1);
  assert_int_equal(keel_status_is_retryable(KEEL_E_SNAPSHOT_TOO_OLD), 1);
  assert_int_equal(keel_status_is_retryable(KEEL_E_COMMIT_UNKNOWN), 0);
  assert_int_equal(keel_status_is_retryable(KEEL_E_LOCKED), 0);
  assert_int_equal(keel_status_is_retryable(KEEL_OK), 0);
}

static void test_features(void **state) {
  (void)state;
  int32_t enabled = 7;
  OK(keel_feature("memory_database", &enabled, &error));
  assert_int_equal(enabled, 1);
  enabled = 7;
  OK(keel_feature("crc32c_hardware", &enabled, &error));
  assert_in_range(enabled, 0, 1);
  EXPECT_MESSAGE(KEEL_E_INVALID, "teleport", keel_feature("teleport", &enabled, &error));
}

/* What the feature query says about serializable isolation is what keel_begin does. */
static void test_isolations(void **state) {
  (void)state;
  keel_db db;
  keel_txn txn;
  int32_t serializable = 7;
  OK(keel_open(":memory:", NULL, &db, &error));
  OK(keel_feature("serializable", &serializable, &error));
  for (uint32_t level = KEEL_ISOLATION_DEFAULT; level <= KEEL_ISOLATION_READ_UNCOMMITTED; level++) {
    keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
    options.isolation = level;
    bool given = level != KEEL_ISOLATION_SERIALIZABLE || serializable == 1;
    EXPECT(given ? KEEL_OK : KEEL_E_UNSUPPORTED, keel_begin(db, &options, &txn, &error));
    if (given) OK(keel_rollback(txn, &error));
  }
  OK(keel_close(db, &error));
}

/* On success a keel_error is left alone; NULL is allowed everywhere. */
static void test_error_untouched(void **state) {
  (void)state;
  keel_error error;
  memset(&error, 0x5A, sizeof error);
  keel_error before = error;
  keel_db db;
  assert_int_equal(keel_open(":memory:", NULL, &db, &error), KEEL_OK);
  assert_int_equal(keel_close(db, &error), KEEL_OK);
  assert_memory_equal(&error, &before, sizeof error);
  assert_int_equal(keel_close(db, NULL), KEEL_E_HANDLE);
}

static void test_create_flags(void **state) {
  (void)state;
  keel_db db;
  keel_options options = KEEL_OPTIONS_INIT;
  const char *path = folder_file(&files, "flags.keel");
  options.flags = KEEL_OPEN_NO_CREATE;
  EXPECT_MESSAGE(KEEL_E_NO_FILE, path, keel_open(path, &options, &db, &error));
  options.flags = KEEL_OPEN_READ_ONLY;
  EXPECT_MESSAGE(KEEL_E_NO_FILE, path, keel_open(path, &options, &db, &error));
  assert_int_equal(file_size(path), 0);
  options.flags = KEEL_OPEN_MUST_CREATE;
  OK(keel_open(path, &options, &db, &error));
  OK(keel_close(db, &error));
  EXPECT_MESSAGE(KEEL_E_EXISTS, path, keel_open(path, &options, &db, &error));
  options.flags = KEEL_OPEN_MUST_CREATE | KEEL_OPEN_NO_CREATE;
  EXPECT(KEEL_E_INVALID, keel_open(path, &options, &db, &error));
  options.flags = KEEL_OPEN_MUST_CREATE | KEEL_OPEN_READ_ONLY;
  EXPECT(KEEL_E_INVALID, keel_open(path, &options, &db, &error));
  options.flags = KEEL_OPEN_NO_CREATE;
  OK(keel_open(path, &options, &db, &error));
  OK(keel_close(db, &error));
  EXPECT(KEEL_E_NO_FILE, keel_open(folder_file(&files, "no/such/folder.keel"), NULL, &db, &error));
}

static void test_read_only(void **state) {
  (void)state;
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  keel_options options = KEEL_OPTIONS_INIT;
  const char *path = folder_file(&files, "read.keel");
  OK(keel_open(path, NULL, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  put_row(db, keyspace, "k", "v");
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
  char wal[512];
  (void)snprintf(wal, sizeof wal, "%s-wal", path);
  file_sum before = file_sum_of(path), wal_before = file_sum_of(wal);
  options.flags = KEEL_OPEN_READ_ONLY;
  OK(keel_open(path, &options, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  EXPECT_MESSAGE(KEEL_E_READ_ONLY, "read-only", keel_begin(db, NULL, &txn, &error));
  keel_txn_options reading = KEEL_TXN_OPTIONS_INIT;
  reading.flags = KEEL_TXN_READ_ONLY;
  OK(keel_begin(db, &reading, &txn, &error));
  const void *value;
  size_t size;
  OK(keel_get(txn, keyspace, "k", 1, &value, &size, &error));
  EXPECT(KEEL_E_READ_ONLY, keel_put(txn, keyspace, "k", 1, "w", 1, &error));
  OK(keel_commit(txn, NULL, &error));
  keel_keyspace other;
  EXPECT(KEEL_E_KEYSPACE_NOT_FOUND, keel_keyspace_open(db, "new", 3, NULL, &other, &error));
  EXPECT(KEEL_E_READ_ONLY, keel_keyspace_drop(db, "ks", 2, &error));
  OK(keel_flush(db, &error));
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
  file_sum after = file_sum_of(path), wal_after = file_sum_of(wal);
  assert_memory_equal(&before, &after, sizeof before);
  assert_memory_equal(&wal_before, &wal_after, sizeof wal_before);
}

/* A program that was compiled with a newer header: a larger struct, whose unknown part is zero. */
static void test_larger_structs(void **state) {
  (void)state;
  struct {
    keel_options known;
    unsigned char more[64];
  } options;
  struct {
    keel_stats known;
    unsigned char more[64];
  } stats;
  memset(&options, 0, sizeof options);
  memset(&stats, 0xEE, sizeof stats);
  options.known.struct_size = sizeof options;
  stats.known.struct_size = sizeof stats;
  keel_db db;
  OK(keel_open(":memory:", &options.known, &db, &error));
  OK(keel_get_stats(db, &stats.known, &error));
  assert_int_equal(stats.known.struct_size, sizeof stats);
  assert_int_equal(stats.known.commits, 0);
  for (size_t i = 0; i < sizeof stats.more; i++) assert_int_equal(stats.more[i], 0);
  OK(keel_close(db, &error));
  options.more[63] = 1;
  EXPECT_MESSAGE(KEEL_E_UNSUPPORTED, "keel_options", keel_open(":memory:", &options.known, &db, &error));
}

/* CAPI-9: no byte behind struct_size is written, and structs need no alignment. */
static void test_unaligned_struct(void **state) {
  (void)state;
  keel_db db;
  unsigned char memory[sizeof(keel_checkpoint) + 2];
  memset(memory, 0xEE, sizeof memory);
  uint32_t size = sizeof(keel_checkpoint);
  memcpy(memory + 1, &size, sizeof size);
  OK(keel_open(folder_file(&files, "unaligned.keel"), NULL, &db, &error));
  OK(keel_last_checkpoint(db, (keel_checkpoint *)(void *)(memory + 1), &error));
  assert_int_equal(memory[0], 0xEE);
  assert_int_equal(memory[sizeof memory - 1], 0xEE);
  keel_checkpoint checkpoint;
  memcpy(&checkpoint, memory + 1, sizeof checkpoint);
  assert_true(checkpoint.sequence > 0);
  assert_true(checkpoint.wall_time_ns > UINT64_C(1500000000) * 1000000000);
  OK(keel_close(db, &error));
}

static void test_durabilities(void **state) {
  (void)state;
  for (uint32_t durability = KEEL_DURABILITY_DEFAULT; durability <= KEEL_DURABILITY_NONE; durability++) {
    keel_db db;
    keel_keyspace keyspace;
    keel_txn txn;
    char name[32];
    keel_options options = KEEL_OPTIONS_INIT;
    keel_txn_options txn_options = KEEL_TXN_OPTIONS_INIT;
    (void)snprintf(name, sizeof name, "durable%u.keel", durability);
    options.durability = durability;
    options.log_segment_size = 65536;
    options.page_size = 8192;
    options.file_mode = 0640;
    OK(keel_open(folder_file(&files, name), &options, &db, &error));
    OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
    put_row(db, keyspace, "k", "v");
    txn_options.durability = KEEL_DURABILITY_NONE;
    OK(keel_begin(db, &txn_options, &txn, &error));
    OK(keel_put(txn, keyspace, "l", 1, "w", 1, &error));
    OK(keel_commit(txn, NULL, &error));
    keel_stats stats = KEEL_STATS_INIT;
    OK(keel_flush(db, &error));
    OK(keel_get_stats(db, &stats, &error));
    assert_int_equal(stats.log_durable, stats.log_tail);
    OK(keel_keyspace_close(keyspace, &error));
    OK(keel_close(db, &error));
    OK(keel_open(folder_file(&files, name), NULL, &db, &error));
    OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
    check_row(db, keyspace, "k", "v");
    check_row(db, keyspace, "l", "w");
    OK(keel_keyspace_close(keyspace, &error));
    OK(keel_close(db, &error));
  }
}

/* Beyond the memory limit commits are refused, and the database goes on. */
static void test_memory_limit(void **state) {
  (void)state;
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  keel_options options = KEEL_OPTIONS_INIT;
  options.memory_limit = 4 << 20;
  char *value = calloc(1, 64 << 10);
  assert_non_null(value);
  OK(keel_open(":memory:", &options, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  keel_status status = KEEL_OK;
  int stored = 0;
  for (; stored < 1000 && status == KEEL_OK; stored++) {
    OK(keel_begin(db, NULL, &txn, &error));
    status = keel_put(txn, keyspace, &stored, sizeof stored, value, 64 << 10, NULL);
    keel_status committed = keel_commit(txn, NULL, NULL);
    if (status == KEEL_OK) status = committed;
  }
  assert_int_equal(status, KEEL_E_LIMIT);
  assert_in_range(stored, 10, 100);
  int first = 0;
  const void *found;
  size_t size;
  OK(keel_begin(db, NULL, &txn, &error));
  OK(keel_get(txn, keyspace, &first, sizeof first, &found, &size, &error));
  OK(keel_rollback(txn, &error));
  free(value);
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_version),          cmocka_unit_test(test_statuses),
      cmocka_unit_test(test_features),         cmocka_unit_test(test_isolations),
      cmocka_unit_test(test_error_untouched),  cmocka_unit_test(test_create_flags),
      cmocka_unit_test(test_read_only),        cmocka_unit_test(test_larger_structs),
      cmocka_unit_test(test_unaligned_struct), cmocka_unit_test(test_durabilities),
      cmocka_unit_test(test_memory_limit),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
