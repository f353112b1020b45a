/* tests/abi/test_abi_media.c: read-only and full file systems, as real ones: a small tmpfs in a mount namespace of its own.
 *
 * Needs to be root or to be allowed user namespaces; otherwise the tests say so and are skipped (the simulated disk of
 * tests/unit fills up and fails everywhere). */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi_support.h"

enum { CANNOT = 77 };

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

/* A tmpfs of `size` on the folder, for this process only. */
static int mount_own(const char *size) {
  char options[64];
  (void)snprintf(options, sizeof options, "size=%s,mode=0777", size);
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return CANNOT;
  if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return CANNOT;
  return mount("none", files.path, "tmpfs", 0, options) == 0 ? 0 : CANNOT;
}

static int remount_read_only(void) {
  return mount("none", files.path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
}

/* Runs the body in a child; skips the test when namespaces are not to be had. */
static void in_namespace(int (*body)(void)) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) _exit(body());
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT) {
    print_message("skipped: no mount namespace for this user\n");
    skip();
  }
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static int put_one(keel_db db, keel_keyspace keyspace, const void *key, size_t key_size, const void *value, size_t size,
                   keel_error *err) {
  keel_txn txn;
  keel_status status = keel_begin(db, NULL, &txn, err);
  if (status != KEEL_OK) return status;
  status = keel_put(txn, keyspace, key, key_size, value, size, err);
  if (status != KEEL_OK) {
    (void)keel_rollback(txn, NULL);
    return status;
  }
  return keel_commit(txn, NULL, err);
}

/* How many rows 0, 1, 2 ... the keyspace has without a gap, each with its value whole; -1 when it has others. */
static int count_rows(keel_db db, keel_keyspace keyspace, size_t size) {
  keel_txn txn;
  keel_cursor cursor;
  int count = 0;
  keel_txn_options reading = KEEL_TXN_OPTIONS_INIT;
  reading.flags = KEEL_TXN_READ_ONLY;
  if (keel_begin(db, &reading, &txn, NULL) != KEEL_OK) return -1;
  if (keel_cursor_open(txn, keyspace, NULL, &cursor, NULL) != KEEL_OK) return -1;
  while (keel_cursor_next(cursor, NULL) == KEEL_OK) {
    const void *key, *value;
    size_t key_size, value_size;
    char expected[16];
    (void)snprintf(expected, sizeof expected, "%08d", count);
    if (keel_cursor_get(cursor, &key, &key_size, &value, &value_size, NULL) != KEEL_OK) return -1;
    if (key_size != 8 || memcmp(key, expected, 8) != 0 || value_size != size) return -1;
    count++;
  }
  if (keel_cursor_close(cursor, NULL) != KEEL_OK || keel_rollback(txn, NULL) != KEEL_OK) return -1;
  return count;
}

/* ---- Read-only ---- */

static int read_only_media(void) {
  int can = mount_own("16m");
  if (can != 0) return can;
  char path[512];
  (void)snprintf(path, sizeof path, "%s", folder_file(&files, "ro.keel"));
  keel_db db;
  keel_keyspace keyspace;
  keel_options options = KEEL_OPTIONS_INIT;
  options.log_segment_size = 65536;
  CHILD_EXPECT(KEEL_OK, keel_open(path, &options, &db, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  CHILD_EXPECT(KEEL_OK, put_one(db, keyspace, "00000000", 8, "v", 1, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_close(keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_close(db, &error));
  if (remount_read_only() != 0) return CANNOT;
  file_sum before = file_sum_of(path);
  CHILD_EXPECT(KEEL_E_READ_ONLY_MEDIA, keel_open(path, NULL, &db, &error));
  CHILD_EXPECT(KEEL_E_READ_ONLY_MEDIA, keel_open(folder_file(&files, "new.keel"), NULL, &db, &error));
  options.flags = KEEL_OPEN_READ_ONLY;
  CHILD_EXPECT(KEEL_OK, keel_open(path, &options, &db, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  if (count_rows(db, keyspace, 1) != 1) return 2;
  CHILD_EXPECT(KEEL_OK, keel_keyspace_close(keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_close(db, &error));
  file_sum after = file_sum_of(path);
  return memcmp(&before, &after, sizeof before) == 0 ? 0 : 3;
}

static void test_read_only_media(void **state) {
  (void)state;
  in_namespace(read_only_media);
}

/* ---- Full ---- */

enum { VALUE = 3000, BALLAST = 256 << 10 };

static int write_ballast(const char *name) {
  static char bytes[BALLAST];
  memset(bytes, 'b', sizeof bytes);
  int file = open(name, O_CREAT | O_WRONLY, 0600);
  if (file < 0) return -1;
  ssize_t wrote = write(file, bytes, sizeof bytes);
  return close(file) == 0 && wrote == (ssize_t)sizeof bytes ? 0 : -1;
}

/* Commits rows from `from` on until one is refused; returns the number of the first that was. */
static int fill(keel_db db, keel_keyspace keyspace, int from, keel_error *err) {
  static const char value[VALUE];
  for (int i = from;; i++) {
    char key[16];
    (void)snprintf(key, sizeof key, "%08d", i);
    if (put_one(db, keyspace, key, 8, value, VALUE, err) != KEEL_OK) return i;
  }
}

/* Fills the disk; every row that was acknowledged is there, before and after making room, and after opening again. */
static int full_disk(void) {
  int can = mount_own("2m");
  if (can != 0) return can;
  char path[512], ballast[512];
  (void)snprintf(path, sizeof path, "%s", folder_file(&files, "full.keel"));
  (void)snprintf(ballast, sizeof ballast, "%s", folder_file(&files, "ballast"));
  keel_db db;
  keel_keyspace keyspace;
  keel_error why = {0, 0, ""};
  keel_options options = KEEL_OPTIONS_INIT;
  options.log_segment_size = 65536;
  if (write_ballast(ballast) != 0) return CANNOT;
  CHILD_EXPECT(KEEL_OK, keel_open(path, &options, &db, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  int rows = fill(db, keyspace, 0, &why);
  if (why.code != KEEL_E_DISK_FULL || rows < 100) {
    (void)fprintf(stderr, "child: %d rows, then %s: %s\n", rows, keel_status_name(why.code), why.message);
    return 2;
  }
  if (count_rows(db, keyspace, VALUE) != rows) return 3;
  if (unlink(ballast) != 0) return 4;
  /* Room again: the database goes on at once, unless the failure has poisoned it; then it does after opening anew. */
  int more = fill(db, keyspace, rows, &why);
  if (more == rows && why.code != KEEL_E_POISONED) return 5;
  CHILD_EXPECT(KEEL_OK, keel_keyspace_close(keyspace, &error));
  keel_status closed = keel_close(db, &why);
  if (closed != KEEL_OK && closed != KEEL_E_POISONED) return 6;
  CHILD_EXPECT(KEEL_OK, keel_open(path, NULL, &db, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  if (count_rows(db, keyspace, VALUE) != more) return 7;
  CHILD_EXPECT(KEEL_OK, keel_keyspace_close(keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_close(db, &error));
  return 0;
}

static void test_full_disk(void **state) {
  (void)state;
  in_namespace(full_disk);
}

/* The same, but the disk has room again before anything is opened anew: a commit that is refused for lack of room must not
 * end the database. */
static int make_room_and_go_on(void) {
  int can = mount_own("2m");
  if (can != 0) return can;
  char ballast[512];
  (void)snprintf(ballast, sizeof ballast, "%s", folder_file(&files, "ballast"));
  keel_db db;
  keel_keyspace keyspace;
  keel_error why = {0, 0, ""};
  keel_options options = KEEL_OPTIONS_INIT;
  options.log_segment_size = 65536;
  if (write_ballast(ballast) != 0) return CANNOT;
  CHILD_EXPECT(KEEL_OK, keel_open(folder_file(&files, "room.keel"), &options, &db, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  int rows = fill(db, keyspace, 0, &why);
  for (int again = 0; again < 3; again++) {
    if (fill(db, keyspace, rows, &why) != rows || why.code != KEEL_E_DISK_FULL) {
      (void)fprintf(stderr, "child: then %s: %s\n", keel_status_name(why.code), why.message);
      return 2;
    }
  }
  if (unlink(ballast) != 0) return 3;
  int more = fill(db, keyspace, rows, &why);
  if (more <= rows || count_rows(db, keyspace, VALUE) != more) {
    (void)fprintf(stderr, "child: with room, %d rows more, then %s: %s\n", more - rows, keel_status_name(why.code),
                  why.message);
    return 4;
  }
  CHILD_EXPECT(KEEL_OK, keel_keyspace_close(keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_close(db, &error));
  return 0;
}

static void test_make_room_and_go_on(void **state) {
  (void)state;
  in_namespace(make_room_and_go_on);
}

/* No room for a new database: an error, and nothing is left behind. */
static int no_room_to_create(void) {
  int can = mount_own("8k");
  if (can != 0) return can;
  keel_db db;
  const char *path = folder_file(&files, "none.keel");
  CHILD_EXPECT(KEEL_E_DISK_FULL, keel_open(path, NULL, &db, &error));
  keel_options existing = KEEL_OPTIONS_INIT;
  existing.flags = KEEL_OPEN_NO_CREATE;
  CHILD_EXPECT(KEEL_E_NO_FILE, keel_open(path, &existing, &db, &error));
  return 0;
}

static void test_no_room_to_create(void **state) {
  (void)state;
  in_namespace(no_room_to_create);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_read_only_media, setup, teardown),
      cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
      cmocka_unit_test_setup_teardown(test_make_room_and_go_on, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_room_to_create, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
