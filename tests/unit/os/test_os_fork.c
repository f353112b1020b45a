/* Forks and processes: a child neither holds nor ends its parent's locks (OS-4). */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "core/os/thread.h"

static char path[64];

static int setup(void **state) {
  (void)state;
  (void)snprintf(path, sizeof path, "os_fork_XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  (void)close(fd);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return unlink(path);
}

static kl_file *open_file(void) {
  kl_file *file = NULL;
  kl_error error = {0};
  if (kl_os_open(kl_os_posix(), path, KL_OPEN_WRITE, 0, &file, &error) != KL_OK) fail_msg("%s", error.message);
  return file;
}

static kl_status try_lock(void) {
  kl_os *os = kl_os_posix();
  kl_file *file = NULL;
  kl_status status = kl_os_open(os, path, KL_OPEN_WRITE, 0, &file, NULL);
  if (status == KL_OK) status = kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL);
  kl_os_close(os, file);
  return status;
}

static int wait_for(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) != child) assert_int_equal(errno, EINTR);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

/* A child that does nothing and stays until it is ended, or until its parent is gone. */
static pid_t fork_lingering(void) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) (void)pause();
  }
  return child;
}

static void end_lingering(pid_t child) {
  int status;
  assert_int_equal(kill(child, SIGKILL), 0);
  assert_int_equal(waitpid(child, &status, 0), child);
}

static void test_processes_exclude_each_other(void **state) {
  (void)state;
  kl_os *os = kl_os_posix();
  kl_file *file = open_file();
  assert_int_equal(kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  pid_t child = fork();
  if (child == 0) _exit(try_lock() == KL_E_LOCKED ? 0 : 1);
  assert_int_equal(wait_for(child), 0);
  kl_os_close(os, file);
  child = fork();
  if (child == 0) _exit(try_lock() == KL_OK ? 0 : 1);
  assert_int_equal(wait_for(child), 0);
  assert_int_equal(try_lock(), KL_OK); /* ended with the child */
}

/* Whether every call on a file of the parent is refused, and freeing it is harmless. */
static bool child_is_kept_out(kl_file *file, uint64_t fork_count) {
  kl_os *os = kl_os_posix();
  char byte = 'x';
  size_t size;
  uint64_t file_size;
  kl_slice part = kl_slice_make(&byte, 1);
  if (kl_fork_count() == fork_count) return false;
  bool good =
      kl_os_read(os, file, &byte, 1, 0, &size, NULL) == KL_E_FORKED &&
      kl_os_write(os, file, &part, 1, 0, NULL) == KL_E_FORKED && kl_os_sync(os, file, true, NULL) == KL_E_FORKED &&
      kl_os_size(os, file, &file_size, NULL) == KL_E_FORKED && kl_os_truncate(os, file, 0, NULL) == KL_E_FORKED &&
      kl_os_allocate(os, file, 0, 1, NULL) == KL_E_FORKED && kl_os_lock(os, file, KL_LOCK_SHARED, NULL) == KL_E_FORKED;
  /* The child's own file takes the number of the descriptor that was closed, and a lock. Closing the old file must
   * leave both alone. */
  kl_file *own = NULL, *other = NULL;
  uint32_t flags = KL_OPEN_WRITE | KL_OPEN_CREATE;
  good = good && kl_os_open(os, "os_fork_child", flags, 0, &own, NULL) == KL_OK &&
         kl_os_open(os, "os_fork_child", flags, 0, &other, NULL) == KL_OK &&
         kl_os_lock(os, own, KL_LOCK_EXCLUSIVE, NULL) == KL_OK;
  kl_os_close(os, file);
  good = good && kl_os_lock(os, other, KL_LOCK_SHARED, NULL) == KL_E_LOCKED;
  kl_os_close(os, own);
  good = good && kl_os_lock(os, other, KL_LOCK_SHARED, NULL) == KL_OK;
  kl_os_close(os, other);
  return kl_os_remove(os, "os_fork_child", NULL) == KL_OK && good;
}

static void test_child_is_kept_out(void **state) {
  (void)state;
  kl_os *os = kl_os_posix();
  kl_file *file = open_file();
  uint64_t fork_count = kl_fork_count();
  assert_int_equal(kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  pid_t child = fork();
  if (child == 0) _exit(child_is_kept_out(file, fork_count) ? 0 : 1);
  assert_int_equal(wait_for(child), 0);
  assert_int_equal(kl_fork_count(), fork_count);
  assert_int_equal(try_lock(), KL_E_LOCKED); /* the parent's lock is where it was */
  assert_int_equal(kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  kl_os_close(os, file);
}

static void test_a_living_child_does_not_keep_the_lock(void **state) {
  (void)state;
  kl_os *os = kl_os_posix();
  kl_file *file = open_file();
  assert_int_equal(kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  pid_t child = fork_lingering();
  kl_os_close(os, file);
  assert_int_equal(try_lock(), KL_OK);
  end_lingering(child);
}

/* The holder dies without closing anything, as by SIGKILL, while its own child lives on. */
static void test_a_dead_parent_does_not_leave_the_lock_to_its_child(void **state) {
  (void)state;
  kl_os *os = kl_os_posix();
  int ready[2], stay[2];
  char byte;
  assert_int_equal(pipe(ready), 0);
  assert_int_equal(pipe(stay), 0);
  pid_t holder = fork();
  if (holder == 0) {
    kl_file *file = open_file();
    if (kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL) != KL_OK) _exit(1);
    (void)close(stay[1]);
    pid_t grandchild = fork();
    if (grandchild == 0) {
      if (write(ready[1], "r", 1) != 1) _exit(1);
      (void)close(ready[1]);
      _exit(read(stay[0], &byte, 1) == 0 ? 0 : 1);
    }
    _exit(grandchild > 0 && try_lock() == KL_E_LOCKED ? 0 : 1);
  }
  (void)close(ready[1]);
  (void)close(stay[0]);
  assert_int_equal(wait_for(holder), 0);
  assert_int_equal(read(ready[0], &byte, 1), 1); /* the grandchild runs, so its fork handler has run */
  assert_int_equal(try_lock(), KL_OK);
  (void)close(stay[1]);
  (void)close(ready[0]);
}

/* More locks at once than one chunk of the list of watched descriptors holds. */
static void test_many_locks(void **state) {
  (void)state;
  enum { LOCKS = 100 };
  kl_os *os = kl_os_posix();
  kl_file *files[LOCKS];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < LOCKS; i++) {
      files[i] = open_file();
      assert_int_equal(kl_os_lock(os, files[i], KL_LOCK_SHARED, NULL), KL_OK);
    }
    pid_t child = fork_lingering();
    for (int i = 0; i < LOCKS; i++) kl_os_close(os, files[i]);
    assert_int_equal(try_lock(), KL_OK);
    end_lingering(child);
  }
}

static void test_a_file_without_a_lock_is_the_childs_own_copy(void **state) {
  (void)state;
  kl_os *os = kl_os_posix();
  kl_file *file = open_file();
  kl_slice part = kl_slice_make("parent", 6);
  pid_t child = fork();
  if (child == 0) {
    kl_os_close(os, file); /* frees, and closes the child's copy only */
    _exit(0);
  }
  assert_int_equal(wait_for(child), 0);
  assert_int_equal(kl_os_write(os, file, &part, 1, 0, NULL), KL_OK);
  kl_os_close(os, file);
}

static void wait_for_ever(void *context) {
  atomic_bool *stop = context;
  while (!atomic_load(stop)) kl_thread_yield();
}

static void test_join_in_the_child_does_not_wait(void **state) {
  (void)state;
  atomic_bool stop = false;
  kl_thread *thread = NULL;
  assert_int_equal(kl_thread_start(kl_os_posix(), "keel-stay", wait_for_ever, &stop, &thread, NULL), KL_OK);
  pid_t child = fork();
  if (child == 0) {
    kl_thread_join(thread); /* the thread did not come along: nobody would ever set stop here */
    _exit(0);
  }
  assert_int_equal(wait_for(child), 0);
  atomic_store(&stop, true);
  kl_thread_join(thread);
}

typedef struct locker {
  atomic_bool stop;
  atomic_uint rounds, failures;
} locker;

/* Opens, locks and closes without pause. Nobody else locks the file, so the lock must be free each time, although
 * children that were forked at any moment of this are alive. */
static void lock_and_close(void *context) {
  locker *locker_state = context;
  while (!atomic_load(&locker_state->stop)) {
    if (try_lock() != KL_OK) atomic_fetch_add(&locker_state->failures, 1);
    atomic_fetch_add(&locker_state->rounds, 1);
  }
}

static void test_forks_at_any_moment_of_locking(void **state) {
  (void)state;
  enum { FORKS = 150, ALIVE = 8 };
  locker locker_state;
  pid_t children[ALIVE];
  kl_thread *thread = NULL;
  atomic_init(&locker_state.stop, false);
  atomic_init(&locker_state.rounds, 0);
  atomic_init(&locker_state.failures, 0);
  assert_int_equal(kl_thread_start(kl_os_posix(), "keel-lock", lock_and_close, &locker_state, &thread, NULL), KL_OK);
  for (int i = 0; i < FORKS; i++) {
    if (i >= ALIVE) end_lingering(children[i % ALIVE]);
    children[i % ALIVE] = fork_lingering();
  }
  unsigned after_forks = atomic_load(&locker_state.rounds);
  while (atomic_load(&locker_state.rounds) < after_forks + 2) kl_thread_yield();
  atomic_store(&locker_state.stop, true);
  kl_thread_join(thread);
  for (int i = 0; i < ALIVE; i++) end_lingering(children[i]);
  assert_int_equal(atomic_load(&locker_state.failures), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_processes_exclude_each_other, setup, teardown),
      cmocka_unit_test_setup_teardown(test_child_is_kept_out, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_living_child_does_not_keep_the_lock, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_dead_parent_does_not_leave_the_lock_to_its_child, setup, teardown),
      cmocka_unit_test_setup_teardown(test_many_locks, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_file_without_a_lock_is_the_childs_own_copy, setup, teardown),
      cmocka_unit_test_setup_teardown(test_join_in_the_child_does_not_wait, setup, teardown),
      cmocka_unit_test_setup_teardown(test_forks_at_any_moment_of_locking, setup, teardown),
  };
  return cmocka_run_group_tests_name("os_posix_fork", tests, NULL, NULL);
}
