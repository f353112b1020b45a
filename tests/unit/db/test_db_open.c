/* tests/unit/db/test_db_open.c: opening on the real file system: options, one engine per file, locks, odd files,
 * fork. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db_testing.h"

typedef struct folder {
  char path[64];
  char db[96], wal[112];
} folder;

static int folder_make(void **state) {
  folder *f = calloc(1, sizeof *f);
  if (f == NULL) return -1;
  if (!test_folder_make(f->path, sizeof f->path)) return -1;
  (void)snprintf(f->db, sizeof f->db, "%s/test.keel", f->path);
  (void)snprintf(f->wal, sizeof f->wal, "%s-wal", f->db);
  *state = f;
  return 0;
}

static int folder_remove(void **state) {
  folder *f = *state;
  bool removed = test_folder_remove(f->path);
  free(f);
  return removed ? 0 : -1;
}

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

static void write_file(const char *path, const void *bytes, size_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, bytes, size), size);
  assert_int_equal(close(fd), 0);
}

static off_t file_size(const char *path) {
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  return info.st_size;
}

/* What a process leaves behind that ends without closing: a row, in a log that is needed. */
static void leave_behind(const folder *f) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    kl_db *db = NULL;
    kl_error err;
    if (kl_db_open(kl_os_posix(), f->db, NULL, &db, &err) != KL_OK) _exit(1);
    _exit(db_put(db, "a", "k", "v", KL_DURABILITY_DEFAULT, &err) == KL_OK ? 0 : 2);
  }
  int result;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_int_equal(result, 0);
  assert_true(exists(f->db) && exists(f->wal));
}

static void test_create_and_reopen(void **state) {
  folder *f = *state;
  kl_error err;
  kl_db_options no_create = {.no_create = true}, must_create = {.must_create = true};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &no_create, &err), KL_E_NO_FILE);
  assert_false(exists(f->db));
  kl_db *db = db_open(kl_os_posix(), f->db, &must_create);
  assert_true(exists(f->db) && exists(f->wal));
  assert_ok(db_put(db, "users", "ann", "1", KL_DURABILITY_DEFAULT, &err), &err);
  assert_ok(db_put(db, "users", "bob", "2", KL_DURABILITY_GROUP, &err), &err);
  assert_ok(db_put(db, "orders", "o1", "3", KL_DURABILITY_NONE, &err), &err);
  kl_checkpoint checkpoint;
  assert_ok(kl_db_last_checkpoint(db, &checkpoint, &err), &err);
  assert_true(checkpoint.log_needed);
  assert_ok(kl_db_flush(db, &err), &err);
  kl_db_stats stats;
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  assert_int_equal(stats.keyspaces, 2);
  assert_int_equal(stats.commits, 5);
  assert_int_equal(stats.log.tail_lsn, stats.log.durable_lsn);
  assert_int_equal(stats.delta_keys, 6);
  db_close(db);
  assert_true(exists(f->db) && !exists(f->wal)); /* closed, it is one file */
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &must_create, &err), KL_E_EXISTS);
  db = db_open(kl_os_posix(), f->db, &no_create);
  db_assert_value(db, "users", "ann", "1");
  db_assert_value(db, "users", "bob", "2");
  db_assert_value(db, "orders", "o1", "3");
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  assert_int_equal(stats.recovery_batches, 0);
  assert_int_equal(stats.delta_keys, 0);
  assert_int_equal(stats.visible_ts, 6);
  assert_ok(kl_db_last_checkpoint(db, &checkpoint, &err), &err);
  assert_true(checkpoint.log_needed);
  assert_int_equal(checkpoint.ts, 6);
  assert_ok(db_put(db, "users", "cid", "4", KL_DURABILITY_DEFAULT, &err), &err);
  db_close(db);
  db = db_open(kl_os_posix(), f->db, NULL);
  db_assert_value(db, "users", "ann", "1");
  db_assert_value(db, "users", "cid", "4");
  db_close(db);

  leave_behind(f);
  db = db_open(kl_os_posix(), f->db, NULL);
  db_assert_value(db, "users", "bob", "2"); /* from the tree */
  db_assert_value(db, "a", "k", "v");       /* from the log */
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  assert_int_equal(stats.recovery_batches, 2);
  assert_int_equal(stats.keyspaces, 3);
  db_close(db);
  assert_false(exists(f->wal));
}

/* A checkpoint that is asked for holds everything, and the log begins behind it. */
static void test_make_checkpoint(void **state) {
  folder *f = *state;
  kl_error err;
  kl_checkpoint before, after;
  kl_db_stats stats;
  kl_db *db = db_open(kl_os_posix(), f->db, NULL);
  assert_ok(kl_db_last_checkpoint(db, &before, &err), &err);
  assert_ok(db_put(db, "a", "k", "v", KL_DURABILITY_NONE, &err), &err);
  assert_ok(kl_db_make_checkpoint(db, &err), &err);
  assert_ok(kl_db_last_checkpoint(db, &after, &err), &err);
  assert_int_equal(after.sequence, before.sequence + 1);
  assert_int_equal(after.ts, 3);
  assert_true(after.log_needed && after.log_lsn > before.log_lsn);
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  assert_int_equal(stats.delta_versions, 0);
  assert_int_equal(stats.checkpoints, 1);
  assert_true(stats.drains.pages_written >= 2 && stats.space.used_bytes != 0);
  assert_ok(kl_db_make_checkpoint(db, &err), &err); /* nothing to do */
  assert_ok(kl_db_last_checkpoint(db, &before, &err), &err);
  assert_int_equal(after.sequence, before.sequence);
  db_assert_value(db, "a", "k", "v");
  db_close(db);
  kl_db_options read_only = {.read_only = true};
  db = db_open(kl_os_posix(), f->db, &read_only);
  assert_int_equal(kl_db_make_checkpoint(db, &err), KL_E_READ_ONLY);
  db_assert_value(db, "a", "k", "v");
  db_close(db);
}

static void test_one_engine_per_file(void **state) {
  folder *f = *state;
  char other_name[128], relative[192];
  kl_error err;
  kl_db *one = db_open(kl_os_posix(), f->db, NULL);
  (void)snprintf(other_name, sizeof other_name, "%s/link.keel", f->path);
  (void)snprintf(relative, sizeof relative, "./%s/../%s/test.keel", f->path, f->path);
  assert_int_equal(link(f->db, other_name), 0);
  kl_db *two = db_open(kl_os_posix(), relative, NULL), *three = db_open(kl_os_posix(), other_name, NULL);
  assert_ptr_equal(one, two);
  assert_ptr_equal(one, three);
  db_close(one);
  db_close(three);
  assert_ok(db_put(two, "a", "k", "v", KL_DURABILITY_DEFAULT, &err), &err); /* still open */
  /* What a second opening asks for must be what is there. */
  const struct {
    kl_db_options options;
    const char *names;
  } asked[] = {{{.read_only = true}, "read_only"},
               {{.durability = KL_DURABILITY_NONE}, "durability"},
               {{.group_interval_ns = 77}, "group_interval"},
               {{.memory_limit = 4711}, "memory_limit"}};
  for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
    assert_int_equal(db_open_fails(kl_os_posix(), f->db, &asked[i].options, &err), KL_E_INVALID);
    assert_non_null(strstr(err.message, asked[i].names));
  }
  kl_db_options same = {.durability = KL_DURABILITY_FULL, .group_interval_ns = UINT64_C(10000000)};
  db_close(db_open(kl_os_posix(), f->db, &same));
  kl_db_options must_create = {.must_create = true};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &must_create, &err), KL_E_EXISTS);
  db_close(two);
  kl_db *fresh = db_open(kl_os_posix(), f->db, &asked[1].options); /* closed for good: anything may be asked */
  db_close(fresh);
}

static void test_options(void **state) {
  folder *f = *state;
  kl_error err;
  static char long_path[5000];
  memset(long_path, 'x', sizeof long_path - 1);
  kl_db_options options = {.no_create = true, .must_create = true};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &options, &err), KL_E_INVALID);
  options = (kl_db_options){.read_only = true, .must_create = true};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &options, &err), KL_E_INVALID);
  options = (kl_db_options){.durability = (kl_durability)9};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &options, &err), KL_E_INVALID);
  options = (kl_db_options){.page_size = 12345};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &options, &err), KL_E_INVALID);
  options = (kl_db_options){.log_segment_size = 12345};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &options, &err), KL_E_INVALID);
  assert_int_equal(db_open_fails(kl_os_posix(), "", NULL, &err), KL_E_INVALID);
  assert_int_equal(db_open_fails(kl_os_posix(), long_path, NULL, &err), KL_E_INVALID);
  assert_false(exists(f->db)); /* nothing was left behind */
  assert_false(exists(f->wal));
}

static void test_memory(void **state) {
  (void)state;
  kl_error err;
  kl_db *one = db_open(kl_os_posix(), ":memory:", NULL), *two = db_open(kl_os_posix(), ":memory:", NULL);
  assert_ptr_not_equal(one, two); /* private */
  assert_ok(db_put(one, "a", "k", "v", KL_DURABILITY_DEFAULT, &err), &err);
  db_assert_value(one, "a", "k", "v");
  db_assert_value(two, "a", "k", NULL);
  assert_ok(kl_db_flush(one, &err), &err);
  assert_ok(kl_db_check(one, &err), &err);
  kl_checkpoint checkpoint;
  assert_ok(kl_db_last_checkpoint(one, &checkpoint, &err), &err);
  assert_int_equal(checkpoint.sequence, 0);
  kl_db_ref(one);
  db_close(one);
  db_assert_value(one, "a", "k", "v");
  db_close(one);
  db_close(two);
  assert_int_equal(kl_db_release(NULL, &err), KL_OK);
  assert_false(exists(":memory:"));
}

static void test_read_only(void **state) {
  folder *f = *state;
  kl_error err;
  kl_db_options read_only = {.read_only = true};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &read_only, &err), KL_E_NO_FILE);
  leave_behind(f);
  assert_int_equal(chmod(f->db, 0400), 0);
  assert_int_equal(chmod(f->wal, 0400), 0);
  kl_db *db = db_open(kl_os_posix(), f->db, &read_only);
  db_assert_value(db, "a", "k", "v");
  kl_txn *txn;
  assert_int_equal(kl_txn_begin(kl_db_txn_manager(db), NULL, &txn, &err), KL_E_READ_ONLY);
  kl_db_stats stats;
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  assert_int_equal(stats.keyspaces, 1);
  db_close(db);
}

/* Whatever is not ours is named, and not touched. */
static void test_odd_files(void **state) {
  folder *f = *state;
  kl_error err;
  static char garbage[20000];
  memset(garbage, 'g', sizeof garbage);
  assert_int_equal(db_open_fails(kl_os_posix(), f->path, NULL, &err), KL_E_NOT_A_FILE);
  assert_int_equal(db_open_fails(kl_os_posix(), "/dev/null", NULL, &err), KL_E_NOT_A_FILE);
  write_file(f->db, garbage, sizeof garbage);
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, NULL, &err), KL_E_FORMAT);
  assert_int_equal(file_size(f->db), sizeof garbage);
  assert_false(exists(f->wal));
  write_file(f->db, garbage, 100);
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, NULL, &err), KL_E_FORMAT);
  assert_int_equal(file_size(f->db), 100);
  write_file(f->db, garbage, 0); /* empty: as if absent */
  kl_db_options no_create = {.no_create = true};
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, &no_create, &err), KL_E_NO_FILE);
  leave_behind(f);

  assert_int_equal(unlink(f->db), 0); /* a log without its database */
  off_t size = file_size(f->wal);
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, NULL, &err), KL_E_CORRUPT);
  assert_non_null(strstr(err.message, "-wal"));
  assert_int_equal(file_size(f->wal), size);
  assert_false(exists(f->db));

  assert_int_equal(unlink(f->wal), 0); /* a database without its log */
  leave_behind(f);
  assert_int_equal(unlink(f->wal), 0);
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, NULL, &err), KL_E_CORRUPT);
  assert_non_null(strstr(err.message, "missing"));
  write_file(f->wal, garbage, sizeof garbage);
  assert_int_equal(db_open_fails(kl_os_posix(), f->db, NULL, &err), KL_E_FORMAT);
  assert_int_equal(file_size(f->wal), sizeof garbage);
}

/* Another process is told who holds the database; a forked child can neither use nor harm what its parent has open. */
static void test_processes(void **state) {
  folder *f = *state;
  kl_error err;
  kl_db *db = db_open(kl_os_posix(), f->db, NULL);
  assert_ok(db_put(db, "a", "k", "v", KL_DURABILITY_DEFAULT, &err), &err);
  pid_t parent = getpid(), child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int wrong = 0;
    char pid[32];
    kl_checkpoint checkpoint;
    kl_db_stats stats;
    (void)snprintf(pid, sizeof pid, "%d", (int)parent);
    wrong |= (kl_db_check(db, &err) != KL_E_FORKED) << 0;
    wrong |= (kl_db_flush(db, &err) != KL_E_FORKED) << 1;
    wrong |= (kl_db_last_checkpoint(db, &checkpoint, &err) != KL_E_FORKED) << 2;
    wrong |= (kl_db_get_stats(db, &stats, &err) != KL_E_FORKED) << 3;
    wrong |= (kl_db_release(db, &err) != KL_E_FORKED) << 4;
    kl_db *mine = NULL;
    wrong |= (kl_db_open(kl_os_posix(), f->db, NULL, &mine, &err) != KL_E_LOCKED) << 5;
    wrong |= (strstr(err.message, pid) == NULL) << 6;
    wrong |= (kl_db_open(kl_os_posix(), ":memory:", NULL, &mine, &err) != KL_OK) << 7; /* its own are fine */
    _exit(wrong);
  }
  int result;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFEXITED(result));
  assert_int_equal(WEXITSTATUS(result), 0);
  assert_ok(db_put(db, "a", "k", "w", KL_DURABILITY_DEFAULT, &err), &err); /* the parent goes on */
  db_close(db);
  child = fork();
  if (child == 0) { /* free now */
    kl_db *mine = NULL;
    kl_status status = kl_db_open(kl_os_posix(), f->db, NULL, &mine, &err);
    if (status == KL_OK) status = kl_db_release(mine, &err);
    _exit(status == KL_OK ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_int_equal(result, 0);
  db = db_open(kl_os_posix(), f->db, NULL);
  db_assert_value(db, "a", "k", "w");
  db_close(db);
}

/* Where the process stands is asked at opening only. */
static void test_relative_path_survives_chdir(void **state) {
  folder *f = *state;
  kl_error err;
  char here[4096];
  assert_non_null(getcwd(here, sizeof here));
  kl_db *db = db_open(kl_os_posix(), f->db, NULL);
  assert_int_equal(chdir("/"), 0);
  for (int i = 0; i < 300; i++) { /* enough to need another segment of the smallest size */
    char key[24];
    (void)snprintf(key, sizeof key, "%d", i);
    assert_ok(db_put(db, "a", key, "some value", KL_DURABILITY_NONE, &err), &err);
  }
  assert_ok(kl_db_flush(db, &err), &err);
  db_close(db);
  assert_int_equal(chdir(here), 0);
  assert_false(exists(f->wal)); /* closing found it */
  db = db_open(kl_os_posix(), f->db, NULL);
  db_assert_value(db, "a", "299", "some value");
  db_close(db);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_create_and_reopen), CASE(test_make_checkpoint), CASE(test_one_engine_per_file),
      CASE(test_options),           CASE(test_memory),          CASE(test_read_only),
      CASE(test_odd_files),         CASE(test_processes),       CASE(test_relative_path_survives_chdir)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
