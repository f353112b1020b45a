/* tests/abi/test_abi_check.c: verification and salvage as a program sees them, and the program keel-check. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi_support.h"

enum { ROWS = 3000 };

static void write_database(const char *path) {
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  OK(keel_open(path, NULL, &db, &error));
  OK(keel_keyspace_open(db, "rows", 4, NULL, &keyspace, &error));
  OK(keel_begin(db, NULL, &txn, &error));
  for (int i = 0; i < ROWS; i++) {
    char key[32], value[64];
    int key_size = snprintf(key, sizeof key, "key-%06d", i),
        value_size = snprintf(value, sizeof value, "value %d %050d", i, i);
    OK(keel_put(txn, keyspace, key, (size_t)key_size, value, (size_t)value_size, &error));
  }
  OK(keel_commit(txn, NULL, &error));
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
}

/* Damages each page that begins like a leaf, up to `most` of them; the roots are inner pages here. */
static int damage_leaves(const char *path, int most) {
  unsigned char block[4096];
  int file = open(path, O_RDWR), damaged = 0;
  assert_true(file >= 0);
  for (off_t at = 4 * 4096; damaged < most && pread(file, block, sizeof block, at) == (ssize_t)sizeof block;
       at += 4096) {
    if (memcmp(block, "KPG\x1a", 4) != 0 || block[5] != 0) continue;
    if (block[12] < 20) continue; /* a leaf of the catalogue has few rows */
    block[100] ^= 0xFF;
    assert_int_equal(pwrite(file, block, sizeof block, at), sizeof block);
    damaged++;
  }
  assert_int_equal(close(file), 0);
  return damaged;
}

static keel_check_report run_to_end(keel_check check) {
  keel_check_report report = KEEL_CHECK_REPORT_INIT;
  do {
    OK(keel_check_step(check, 10000, &report, &error));
    assert_true(report.done_bytes <= report.total_bytes);
  } while (!report.finished);
  return report;
}

static void test_sound(void **state) {
  (void)state;
  folder f;
  keel_db db;
  keel_check check;
  size_t size = 0;
  folder_make(&f);
  const char *path = folder_file(&f, "sound.keel");
  write_database(path);
  OK(keel_open(path, NULL, &db, &error));
  OK(keel_verify_begin(db, &check, &error));
  OK(keel_close(db, &error)); /* the check keeps the engine */
  keel_check_report report = run_to_end(check);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.rows, ROWS);
  assert_int_equal(report.keyspaces, 1);
  EXPECT(KEEL_E_NOT_FOUND, keel_check_problem(check, 0, NULL, 0, &size, &error));
  EXPECT(KEEL_E_LOCKED, keel_salvage_begin(path, folder_file(&f, "copy.keel"), &check, &error));
  OK(keel_check_close(check, &error));
  EXPECT(KEEL_E_HANDLE, keel_check_step(check, 1, &report, &error));
  folder_remove(&f);
}

static void test_damaged(void **state) {
  (void)state;
  folder f;
  keel_db db;
  keel_check check;
  keel_options read_only = KEEL_OPTIONS_INIT;
  char text[KEEL_CHECK_TEXT_SIZE], some[10];
  size_t size = 0;
  folder_make(&f);
  const char *path = folder_file(&f, "damaged.keel");
  write_database(path);
  assert_int_equal(damage_leaves(path, 3), 3);
  read_only.flags = KEEL_OPEN_READ_ONLY;
  OK(keel_open(path, &read_only, &db, &error));
  OK(keel_verify_begin(db, &check, &error));
  keel_check_report report = run_to_end(check);
  assert_int_equal(report.problems, 3);
  assert_int_equal(report.lost_pages, 3);
  assert_int_equal(report.rows + report.lost_rows, ROWS);
  OK(keel_check_problem(check, 0, text, sizeof text, &size, &error));
  assert_int_equal(strlen(text), size);
  assert_non_null(strstr(text, "\"rows\""));
  assert_non_null(strstr(text, "damaged.keel"));
  assert_non_null(strstr(text, "block"));
  EXPECT(KEEL_E_BUFFER_SIZE, keel_check_problem(check, 0, some, sizeof some, &size, &error));
  assert_int_equal(strlen(some), sizeof some - 1);
  assert_memory_equal(some, text, sizeof some - 1);
  OK(keel_check_close(check, &error));
  OK(keel_close(db, &error));
  uint64_t lost = report.lost_rows;
  OK(keel_salvage_begin(path, folder_file(&f, "saved.keel"), &check, &error));
  report = run_to_end(check);
  assert_int_equal(report.lost_rows, lost);
  assert_int_equal(report.rows, ROWS - lost);
  OK(keel_check_close(check, &error));
  OK(keel_open(folder_file(&f, "saved.keel"), &read_only, &db, &error));
  OK(keel_verify_begin(db, &check, &error));
  report = run_to_end(check);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.rows, ROWS - lost);
  OK(keel_check_close(check, &error));
  OK(keel_close(db, &error));
  folder_remove(&f);
}

typedef struct writer {
  keel_db db;
  _Atomic int stop, ended;
  keel_status status; /* of the first call that failed */
  uint64_t commits;
} writer;

/* Random rows, drained in the background all the time. */
static void *write_on(void *argument) {
  writer *self = argument;
  keel_keyspace keyspace = 0;
  char value[200];
  memset(value, 'w', sizeof value);
  self->status = keel_keyspace_open(self->db, "rows", 4, NULL, &keyspace, NULL);
  for (uint32_t i = 1; self->status == KEEL_OK && atomic_load(&self->stop) == 0; i++) {
    keel_txn txn;
    self->status = keel_begin(self->db, NULL, &txn, NULL);
    for (uint32_t j = 0; self->status == KEEL_OK && j < 50; j++) {
      char key[32];
      int size = snprintf(key, sizeof key, "key-%06u", (i * 2654435761U + j * 40503U) % 20000U);
      self->status = keel_put(txn, keyspace, key, (size_t)size, value, sizeof value, NULL);
    }
    if (self->status == KEEL_OK) self->status = keel_commit(txn, NULL, NULL);
    self->commits++;
    if (i % 20 == 0 && self->status == KEEL_OK) self->status = keel_make_checkpoint(self->db, NULL);
  }
  if (keyspace != 0) (void)keel_keyspace_close(keyspace, NULL); /* it would keep the engine beyond keel_close */
  atomic_store(&self->ended, 1);
  return NULL;
}

static void test_beside_writers(void **state) {
  (void)state;
  folder f;
  keel_options options = KEEL_OPTIONS_INIT;
  keel_check check;
  writer self = {0};
  pthread_t thread;
  folder_make(&f);
  options.durability = KEEL_DURABILITY_NONE;
  const char *path = folder_file(&f, "busy.keel");
  write_database(path);
  OK(keel_open(path, &options, &self.db, &error));
  assert_int_equal(pthread_create(&thread, NULL, write_on, &self), 0);
  /* Until five checkpoints have come and gone between them. */
  uint64_t seen = 0, newest = 0;
  for (int i = 0; (i < 12 || seen < 5) && atomic_load(&self.ended) == 0; i++) {
    OK(keel_verify_begin(self.db, &check, &error));
    keel_check_report report = run_to_end(check);
    assert_int_equal(report.problems, 0);
    assert_true(report.rows >= ROWS);
    seen += report.checkpoint != newest;
    newest = report.checkpoint;
    OK(keel_check_close(check, &error));
  }
  atomic_store(&self.stop, 1);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(self.status, KEEL_OK);
  assert_true(self.commits > 0);
  OK(keel_close(self.db, &error));
  folder_remove(&f);
}

/* Runs keel-check with the words, its output in `out`. Returns its exit status. */
static int run_program(char *out, size_t capacity, const char *words) {
  char command[1200];
  (void)snprintf(command, sizeof command, "'%s' %s 2>&1", KEEL_CHECK_PROGRAM, words);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  size_t size = fread(out, 1, capacity - 1, pipe);
  out[size] = '\0';
  int status = pclose(pipe);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void test_program(void **state) {
  (void)state;
  folder f;
  static char out[40000];
  char words[900];
  folder_make(&f);
  const char *path = folder_file(&f, "d.keel");
  write_database(path);
  (void)snprintf(words, sizeof words, "verify '%s'", path);
  assert_int_equal(run_program(out, sizeof out, words), 0);
  assert_non_null(strstr(out, "sound"));
  assert_non_null(strstr(out, "3000 rows"));
  assert_int_equal(damage_leaves(path, 2), 2);
  assert_int_equal(run_program(out, sizeof out, words), 1);
  assert_non_null(strstr(out, "problem: keyspace \"rows\""));
  (void)snprintf(words, sizeof words, "verify --json '%s'", path);
  assert_int_equal(run_program(out, sizeof out, words), 1);
  assert_non_null(strstr(out, "\"sound\": false"));
  assert_non_null(strstr(out, "\"problem_count\": 2"));
  (void)snprintf(words, sizeof words, "salvage '%s' '%s-saved'", path, path);
  assert_int_equal(run_program(out, sizeof out, words), 1);
  assert_int_equal(run_program(out, sizeof out, words), 3); /* it exists now */
  (void)snprintf(words, sizeof words, "verify --quiet '%s-saved'", path);
  assert_int_equal(run_program(out, sizeof out, words), 0);
  (void)snprintf(words, sizeof words, "verify '%s-absent'", path);
  assert_int_equal(run_program(out, sizeof out, words), 3);
  assert_int_equal(run_program(out, sizeof out, "verify"), 2);
  assert_int_equal(run_program(out, sizeof out, "mend it"), 2);
  assert_int_equal(run_program(out, sizeof out, "verify --unknown it"), 2);
  assert_int_equal(run_program(out, sizeof out, "--help"), 0);
  assert_non_null(strstr(out, "usage:"));
  assert_int_equal(run_program(out, sizeof out, "--version"), 0);
  folder_remove(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sound),
      cmocka_unit_test(test_damaged),
      cmocka_unit_test(test_beside_writers),
      cmocka_unit_test(test_program),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
