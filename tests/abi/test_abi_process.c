/* tests/abi/test_abi_process.c: other processes: who is locked out, and what a forked child may do. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
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

/* A child that was forked before anything was opened: a process of its own, as far as Keel can tell. */
static pid_t start_child(int (*body)(void *context, int wait_fd), void *context, int *out_go) {
  int pipes[2];
  assert_int_equal(pipe(pipes), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)close(pipes[1]);
    _exit(body(context, pipes[0]));
  }
  (void)close(pipes[0]);
  *out_go = pipes[1];
  return child;
}

static void let_go(pid_t child, int go) {
  int status;
  assert_int_equal(write(go, "g", 1), 1);
  assert_int_equal(waitpid(child, &status, 0), child);
  (void)close(go);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static int expect_locked(void *context, int wait_fd) {
  const char *path = context;
  char byte, holder[32];
  keel_db db;
  keel_options reader = KEEL_OPTIONS_INIT;
  reader.flags = KEEL_OPEN_READ_ONLY;
  if (read(wait_fd, &byte, 1) != 1) return 1;
  CHILD_EXPECT(KEEL_E_LOCKED, keel_open(path, NULL, &db, &error));
  CHILD_EXPECT(KEEL_E_LOCKED, keel_open(path, &reader, &db, &error));
  keel_error error;
  (void)keel_open(path, NULL, &db, &error);
  (void)snprintf(holder, sizeof holder, "%ld", (long)getppid());
  if (strstr(error.message, holder) == NULL || strstr(error.message, path) == NULL) {
    (void)fprintf(stderr, "child: the message names neither process %s nor file: %s\n", holder, error.message);
    return 1;
  }
  return 0;
}

static void test_locked(void **state) {
  (void)state;
  char path[512];
  (void)snprintf(path, sizeof path, "%s", folder_file(&files, "locked.keel"));
  int go;
  pid_t child = start_child(expect_locked, path, &go);
  keel_db db;
  OK(keel_open(path, NULL, &db, &error));
  let_go(child, go);
  OK(keel_flush(db, &error));
  OK(keel_close(db, &error));
}

static int expect_row(void *context, int wait_fd) {
  char byte;
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  const void *value;
  size_t size;
  if (read(wait_fd, &byte, 1) != 1) return 1;
  CHILD_EXPECT(KEEL_OK, keel_open(context, NULL, &db, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_begin(db, NULL, &txn, &error));
  CHILD_EXPECT(KEEL_OK, keel_get(txn, keyspace, "k", 1, &value, &size, &error));
  CHILD_EXPECT(KEEL_OK, keel_rollback(txn, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_close(keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_close(db, &error));
  return 0;
}

/* What one process closed, another opens. */
static void test_handed_over(void **state) {
  (void)state;
  char path[512];
  (void)snprintf(path, sizeof path, "%s", folder_file(&files, "over.keel"));
  int go;
  pid_t child = start_child(expect_row, path, &go);
  keel_db db;
  keel_keyspace keyspace;
  OK(keel_open(path, NULL, &db, &error));
  OK(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  put_row(db, keyspace, "k", "v");
  OK(keel_keyspace_close(keyspace, &error));
  OK(keel_close(db, &error));
  let_go(child, go);
}

/* ---- Fork: CAPI-8 ---- */

typedef struct forked {
  const char *path;
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  keel_cursor cursor;
  keel_view view;
  keel_batch batch;
} forked;

static void forked_open(forked *f, const char *path) {
  f->path = path;
  OK(keel_open(path, NULL, &f->db, &error));
  OK(keel_keyspace_open(f->db, "ks", 2, NULL, &f->keyspace, &error));
  put_row(f->db, f->keyspace, "k", "v");
  OK(keel_begin(f->db, NULL, &f->txn, &error));
  OK(keel_cursor_open(f->txn, f->keyspace, NULL, &f->cursor, &error));
  OK(keel_get_view(f->txn, f->keyspace, "k", 1, &f->view, &error));
  OK(keel_batch_new(&f->batch, &error));
}

static void forked_close(forked *f) {
  OK(keel_batch_free(f->batch, &error));
  OK(keel_view_release(f->view, &error));
  OK(keel_cursor_close(f->cursor, &error));
  OK(keel_keyspace_close(f->keyspace, &error));
  OK(keel_close(f->db, &error));
}

static int every_call_forked(void *context) {
  forked *f = context;
  const void *p = NULL;
  size_t n = 0;
  uint64_t handle = 0, offsets[2] = {0, 1};
  keel_stats stats = KEEL_STATS_INIT;
  keel_checkpoint checkpoint = KEEL_CHECKPOINT_INIT;
  keel_batch_view rows = KEEL_BATCH_VIEW_INIT;
  CHILD_EXPECT(KEEL_E_FORKED, keel_flush(f->db, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_get_stats(f->db, &stats, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_last_checkpoint(f->db, &checkpoint, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_keyspace_open(f->db, "ks", 2, NULL, &handle, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_keyspace_list(f->db, f->batch, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_keyspace_drop(f->db, "ks", 2, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_begin(f->db, NULL, &handle, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_get(f->txn, f->keyspace, "k", 1, &p, &n, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_get_many(f->txn, f->keyspace, "k", offsets, 1, f->batch, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_get_view(f->txn, f->keyspace, "k", 1, &handle, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_put(f->txn, f->keyspace, "k", 1, "child", 5, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_del(f->txn, f->keyspace, "k", 1, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_cursor_open(f->txn, f->keyspace, NULL, &handle, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_cursor_next(f->cursor, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_cursor_get(f->cursor, &p, &n, &p, &n, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_view_data(f->view, &p, &n, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_batch_data(f->batch, &rows, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_cursor_close(f->cursor, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_view_release(f->view, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_batch_free(f->batch, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_keyspace_close(f->keyspace, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_commit(f->txn, NULL, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_rollback(f->txn, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_close(f->db, &error));
  return 0;
}

/* The child may have databases of its own. */
static int own_database(void) {
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  CHILD_EXPECT(KEEL_OK, keel_open(":memory:", NULL, &db, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_begin(db, NULL, &txn, &error));
  CHILD_EXPECT(KEEL_OK, keel_put(txn, keyspace, "k", 1, "v", 1, &error));
  CHILD_EXPECT(KEEL_OK, keel_commit(txn, NULL, &error));
  CHILD_EXPECT(KEEL_OK, keel_keyspace_close(keyspace, &error));
  CHILD_EXPECT(KEEL_OK, keel_close(db, &error));
  return 0;
}

static int child_of_fork(void *context) {
  forked *f = context;
  keel_db db;
  if (every_call_forked(f) != 0) return 1;
  CHILD_EXPECT(KEEL_E_LOCKED, keel_open(f->path, NULL, &db, &error)); /* the parent has it, not the child */
  return own_database();
}

static void test_fork(void **state) {
  (void)state;
  forked f;
  forked_open(&f, folder_file(&files, "fork.keel"));
  in_child(child_of_fork, &f);
  OK(keel_put(f.txn, f.keyspace, "k", 1, "parent", 6, &error));
  OK(keel_commit(f.txn, NULL, &error));
  check_row(f.db, f.keyspace, "k", "parent");
  put_row(f.db, f.keyspace, "after", "fork");
  forked_close(&f);
}

static int wait_for_byte(void *context, int wait_fd) {
  char byte;
  (void)context;
  return read(wait_fd, &byte, 1) == 1 ? 0 : 1;
}

/* A child that does nothing but live keeps nothing locked. */
static void test_fork_holds_no_lock(void **state) {
  (void)state;
  char path[512];
  (void)snprintf(path, sizeof path, "%s", folder_file(&files, "held.keel"));
  int other_go, go;
  pid_t other = start_child(expect_row, path, &other_go);
  forked f;
  forked_open(&f, path);
  pid_t child = start_child(wait_for_byte, NULL, &go);
  OK(keel_rollback(f.txn, &error));
  forked_close(&f);
  let_go(other, other_go);
  let_go(child, go);
}

/* ---- Fork while other threads are inside calls ---- */

typedef struct busy {
  forked f;
  keel_txn txn;
  _Atomic(int) stop, rounds;
} busy;

static void *keep_busy(void *context) {
  busy *b = context;
  while (!atomic_load(&b->stop)) {
    keel_txn txn;
    if (keel_begin(b->f.db, NULL, &txn, NULL) != KEEL_OK) break;
    (void)keel_put(txn, b->f.keyspace, "k", 1, "v", 1, NULL);
    (void)keel_commit(txn, NULL, NULL);
    (void)keel_put(b->txn, b->f.keyspace, "k", 1, "v", 1, NULL);
    atomic_fetch_add(&b->rounds, 1);
  }
  return NULL;
}

static int child_of_busy(void *context) {
  busy *b = context;
  CHILD_EXPECT(KEEL_E_FORKED, keel_put(b->txn, b->f.keyspace, "k", 1, "v", 1, &error));
  CHILD_EXPECT(KEEL_E_FORKED, keel_commit(b->txn, NULL, &error));
  return every_call_forked(&b->f);
}

static void test_fork_while_busy(void **state) {
  (void)state;
  busy b = {.stop = 0};
  pthread_t thread;
  forked_open(&b.f, folder_file(&files, "busy.keel"));
  OK(keel_begin(b.f.db, NULL, &b.txn, &error));
  assert_int_equal(pthread_create(&thread, NULL, keep_busy, &b), 0);
  for (int i = 0; i < 20; i++) {
    int before = atomic_load(&b.rounds);
    while (atomic_load(&b.rounds) == before) (void)usleep(100);
    in_child(child_of_busy, &b);
  }
  atomic_store(&b.stop, 1);
  assert_int_equal(pthread_join(thread, NULL), 0);
  OK(keel_rollback(b.txn, &error));
  OK(keel_rollback(b.f.txn, &error));
  check_row(b.f.db, b.f.keyspace, "k", "v");
  forked_close(&b.f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_locked),
      cmocka_unit_test(test_handed_over),
      cmocka_unit_test(test_fork),
      cmocka_unit_test(test_fork_holds_no_lock),
      cmocka_unit_test(test_fork_while_busy),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
