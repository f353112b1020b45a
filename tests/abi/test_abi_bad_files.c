/* tests/abi/test_abi_bad_files.c: files that are not as Keel left them: a clear error each, and every byte as it was. */
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "abi_support.h"

enum { BLOCK = 4096, AT_VERSION = 8, AT_CHECKSUM = BLOCK - 4 }; /* of superblocks and log headers: docs/format.md */

static folder files;
static char path[512], wal[544];

static int setup(void **state) {
  (void)state;
  folder_make(&files);
  (void)snprintf(path, sizeof path, "%s", folder_file(&files, "bad.keel"));
  (void)snprintf(wal, sizeof wal, "%s-wal", path);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  folder_remove(&files);
  return 0;
}

/* A database with a few commits, and its log, as a process leaves them that does not close it. */
static int make_database_in(void *context) {
  const char *name = context;
  keel_db db;
  keel_keyspace keyspace;
  keel_options options = KEEL_OPTIONS_INIT;
  options.log_segment_size = 65536; /* small files: they are read often below */
  OK(keel_open(name, &options, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  for (int i = 0; i < 50; i++) {
    char key[16];
    (void)snprintf(key, sizeof key, "key%02d", i);
    put_row(db, keyspace, key, "a value that takes some room in the log");
  }
  return 0;
}

static void make_database(const char *name) {
  in_child(make_database_in, (void *)(uintptr_t)name);
}

/* Opening gives `expected`, in each way to open, with a message that names the file, and changes nothing. */
static void check_refused_by(keel_status expected, const char *named) {
  file_sum before = file_sum_of(path), wal_before = file_sum_of(wal);
  keel_options reading = KEEL_OPTIONS_INIT, existing = KEEL_OPTIONS_INIT;
  reading.flags = KEEL_OPEN_READ_ONLY;
  existing.flags = KEEL_OPEN_NO_CREATE;
  keel_db db = 77;
  for (int i = 0; i < 2; i++) { /* the second time as the first: nothing was remembered, nothing is still locked */
    EXPECT_MESSAGE(expected, named, keel_open(path, NULL, &db, &error));
    EXPECT_MESSAGE(expected, named, keel_open(path, &existing, &db, &error));
    EXPECT_MESSAGE(expected, named, keel_open(path, &reading, &db, &error));
  }
  assert_int_equal(db, 77);
  file_sum after = file_sum_of(path), wal_after = file_sum_of(wal);
  assert_memory_equal(&before, &after, sizeof before);
  assert_memory_equal(&wal_before, &wal_after, sizeof wal_before);
}

static void check_refused(keel_status expected) {
  check_refused_by(expected, path);
}

/* CRC-32C, bit by bit: what the files are sealed with. */
static uint32_t crc32c(const unsigned char *bytes, size_t size) {
  uint32_t crc = ~UINT32_C(0);
  for (size_t i = 0; i < size; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (UINT32_C(0x82F63B78) & (0U - (crc & 1U)));
  }
  return ~crc;
}

static void put_u32(unsigned char *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (unsigned char)(value >> (8 * i));
}

/* The first blocks of the file as version 99 would write them, intact. */
static void make_newer(const char *name, size_t blocks) {
  FILE *file = fopen(name, "r+b");
  assert_non_null(file);
  for (size_t i = 0; i < blocks; i++) {
    unsigned char block[BLOCK];
    assert_int_equal(fseek(file, (long)(i * BLOCK), SEEK_SET), 0);
    assert_int_equal(fread(block, 1, BLOCK, file), BLOCK);
    if (block[0] != 'K') continue; /* a superblock that was not written yet */
    put_u32(block + AT_VERSION, 99);
    put_u32(block + AT_CHECKSUM, crc32c(block, AT_CHECKSUM));
    assert_int_equal(fseek(file, (long)(i * BLOCK), SEEK_SET), 0);
    assert_int_equal(fwrite(block, 1, BLOCK, file), BLOCK);
  }
  assert_int_equal(fclose(file), 0);
}

static void test_newer_database(void **state) {
  (void)state;
  make_database(path);
  make_newer(path, 4);
  check_refused(KEEL_E_VERSION);
}

static void test_newer_log(void **state) {
  (void)state;
  make_database(path);
  make_newer(wal, 2);
  check_refused_by(KEEL_E_VERSION, wal);
}

static void test_damaged_superblocks(void **state) {
  (void)state;
  make_database(path);
  for (size_t i = 0; i < 4; i++) file_patch(path, i * BLOCK + 100, "damage", 6);
  check_refused(KEEL_E_CORRUPT);
}

static void test_damaged_log(void **state) {
  (void)state;
  make_database(path);
  file_patch(wal, 100, "damage", 6);
  file_patch(wal, BLOCK + 100, "damage", 6);
  check_refused_by(KEEL_E_CORRUPT, wal);
}

/* A commit in the middle of the log is damaged: later ones prove that it was durable. */
static void test_damaged_commit(void **state) {
  (void)state;
  make_database(path);
  uint64_t size = file_size(wal);
  unsigned char *bytes = malloc(size);
  assert_non_null(bytes);
  FILE *file = fopen(wal, "rb");
  assert_non_null(file);
  assert_int_equal(fread(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
  size_t at = 0;
  for (size_t i = 0; i + 5 < size && at == 0; i++) {
    if (memcmp(bytes + i, "key25", 5) == 0) at = i;
  }
  free(bytes);
  assert_int_not_equal(at, 0);
  file_patch(wal, at, "KEY", 3);
  check_refused_by(KEEL_E_CORRUPT, wal);
}

static void test_missing_log(void **state) {
  (void)state;
  make_database(path);
  assert_int_equal(unlink(wal), 0);
  check_refused_by(KEEL_E_CORRUPT, wal);
}

/* The rows that are there are the first ones that were committed. */
static void check_prefix(void) {
  keel_db db;
  keel_keyspace keyspace;
  OK(keel_open(path, NULL, &db, &error));
  if (keel_keyspace_open(db, "ks", 2, NULL, &keyspace, NULL) == KEEL_OK) {
    int there = 1;
    for (int i = 0; i < 50; i++) {
      char key[16];
      keel_txn txn;
      const void *value;
      size_t size;
      (void)snprintf(key, sizeof key, "key%02d", i);
      OK(keel_begin(db, NULL, &txn, &error));
      keel_status status = keel_get(txn, keyspace, key, strlen(key), &value, &size, NULL);
      assert_true(status == KEEL_OK ? there : status == KEEL_E_NOT_FOUND);
      there = status == KEEL_OK;
      OK(keel_rollback(txn, &error));
    }
    OK(keel_keyspace_close(keyspace, &error));
  }
  OK(keel_close(db, &error));
}

/* The log cut at every kind of place, after a crash. Where its header is gone it is refused, and not changed by being
 * looked at. A cut behind that looks as if the power had failed before those commits (nothing on the device says
 * otherwise): what is left of them is a prefix, whole. */
static void test_truncated_log(void **state) {
  (void)state;
  const uint64_t cuts[] = {0,         1,         100,           BLOCK,           2 * BLOCK - 1, 2 * BLOCK,
                           3 * BLOCK, 4 * BLOCK, 5 * BLOCK - 1, 5 * BLOCK + 100, 6 * BLOCK};
  for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
    make_database(path);
    assert_true(cuts[i] < file_size(wal));
    assert_int_equal(truncate(wal, (off_t)cuts[i]), 0);
    if (cuts[i] < 2 * BLOCK) {
      keel_db db;
      keel_error why;
      keel_status status = keel_open(path, NULL, &db, &why);
      if (status != KEEL_E_CORRUPT && status != KEEL_E_FORMAT) {
        fail_msg("log cut at %llu: expected corrupt or format, got %s: %s", (unsigned long long)cuts[i],
                 keel_status_name(status), why.message);
      }
      check_refused_by(status, wal);
    } else {
      check_prefix();
    }
    assert_int_equal(unlink(path), 0);
    (void)unlink(wal);
  }
}

static void test_log_of_another(void **state) {
  (void)state;
  char other[512], other_wal[544];
  (void)snprintf(other, sizeof other, "%s", folder_file(&files, "other.keel"));
  (void)snprintf(other_wal, sizeof other_wal, "%s-wal", other);
  make_database(path);
  make_database(other);
  assert_int_equal(rename(other_wal, wal), 0);
  check_refused_by(KEEL_E_FORMAT, wal);
}

/* A log without its database is somebody's data: it is not overwritten by a new one. */
static void test_missing_database(void **state) {
  (void)state;
  make_database(path);
  assert_int_equal(unlink(path), 0);
  file_sum before = file_sum_of(wal);
  keel_db db;
  EXPECT_MESSAGE(KEEL_E_CORRUPT, wal, keel_open(path, NULL, &db, &error));
  file_sum after = file_sum_of(wal);
  assert_memory_equal(&before, &after, sizeof before);
  assert_int_equal(file_size(path), 0);
}

static void test_garbage(void **state) {
  (void)state;
  unsigned char bytes[5 * BLOCK];
  uint32_t random = 12345;
  for (size_t i = 0; i < sizeof bytes; i++) {
    random = random * UINT32_C(1664525) + UINT32_C(1013904223);
    bytes[i] = (unsigned char)(random >> 24);
  }
  const size_t sizes[] = {1, 7, 8, 100, BLOCK - 1, BLOCK, 4 * BLOCK, sizeof bytes};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    file_write(path, bytes, sizes[i]);
    check_refused(KEEL_E_FORMAT);
  }
  file_write(path, "SQLite format 3", 16);
  check_refused(KEEL_E_FORMAT);
}

static void test_not_a_file(void **state) {
  (void)state;
  assert_int_equal(mkdir(path, 0700), 0);
  check_refused(KEEL_E_NOT_A_FILE);
  assert_int_equal(rmdir(path), 0);
  assert_int_equal(mkfifo(path, 0600), 0);
  keel_db db;
  EXPECT_MESSAGE(KEEL_E_NOT_A_FILE, path, keel_open(path, NULL, &db, &error)); /* and does not wait for a writer */
  assert_int_equal(unlink(path), 0);
  EXPECT_MESSAGE(KEEL_E_NOT_A_FILE, "/dev/null", keel_open("/dev/null", NULL, &db, &error));
  EXPECT_MESSAGE(KEEL_E_NOT_A_FILE, "/dev/zero", keel_open("/dev/zero", NULL, &db, &error));
  char below[600];
  file_write(path, "x", 1);
  (void)snprintf(below, sizeof below, "%s/below.keel", path); /* a folder of the path is a file */
  keel_status status = keel_open(below, NULL, &db, NULL);
  assert_true(status == KEEL_E_NO_FILE || status == KEEL_E_NOT_A_FILE);
}

/* An empty file is no database yet, and becomes one. */
static void test_empty_file(void **state) {
  (void)state;
  file_write(path, "", 0);
  keel_db db;
  keel_options existing = KEEL_OPTIONS_INIT;
  existing.flags = KEEL_OPEN_NO_CREATE;
  EXPECT(KEEL_E_NO_FILE, keel_open(path, &existing, &db, &error));
  OK(keel_open(path, NULL, &db, &error));
  OK(keel_close(db, &error));
}

/* As a user who may not read it. */
static int open_as_nobody(void *context) {
  keel_db db;
  keel_error error = {0, 0, ""};
  if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 2;
  keel_status status = keel_open(context, NULL, &db, &error);
  if (status != KEEL_E_PERMISSION || strstr(error.message, context) == NULL) {
    (void)fprintf(stderr, "child: expected permission, got %s: %s\n", keel_status_name(status), error.message);
    return 1;
  }
  return 0;
}

static void test_permission(void **state) {
  (void)state;
  make_database(path);
  assert_int_equal(chmod(files.path, 0755), 0);
  assert_int_equal(chmod(path, 0000), 0);
  file_sum before = file_sum_of(wal);
  in_child(open_as_nobody, path);
  char fresh[512]; /* nor may nobody make one where it may not write */
  (void)snprintf(fresh, sizeof fresh, "%s", folder_file(&files, "new.keel"));
  assert_int_equal(chmod(files.path, 0555), 0);
  in_child(open_as_nobody, fresh);
  assert_int_equal(chmod(files.path, 0755), 0);
  assert_int_equal(chmod(path, 0600), 0);
  file_sum after = file_sum_of(wal);
  assert_memory_equal(&before, &after, sizeof before);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      FILE_TEST(test_newer_database), FILE_TEST(test_newer_log),      FILE_TEST(test_damaged_superblocks),
      FILE_TEST(test_damaged_log),    FILE_TEST(test_damaged_commit), FILE_TEST(test_missing_log),
      FILE_TEST(test_truncated_log),  FILE_TEST(test_log_of_another), FILE_TEST(test_missing_database),
      FILE_TEST(test_garbage),        FILE_TEST(test_not_a_file),     FILE_TEST(test_empty_file),
      FILE_TEST(test_permission),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
