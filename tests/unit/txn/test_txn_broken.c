/* A broken invariant of the engine: it poisons the database and answers KL_E_INTERNAL; only a debug build aborts. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/txn/txn_private.h"
#include "txn_testing.h"

/* As a bug would: timestamps that were given out are forgotten. */
static void break_order(kl_txn_manager *manager) {
  manager->pipeline.last_ts = 0;
}

static kl_status commit_after_break(kl_txn_manager *manager, kl_error *err) {
  kl_txn *txn = begin(manager);
  put(txn, 1, "a", "two");
  break_order(manager);
  kl_status status = kl_txn_commit(txn, NULL, err);
  kl_txn_release(txn);
  return status;
}

static kl_txn_manager *manager_with_a_row(void) {
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_txn *txn = begin(manager);
  put(txn, 1, "a", "one");
  (void)commit(txn);
  return manager;
}

#ifdef KL_DEBUG
static void test_broken_invariant(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_with_a_row();
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)freopen("/dev/null", "w", stderr);
    (void)signal(SIGABRT, SIG_DFL); /* cmocka's handler would take the abort for a failed test */
    (void)commit_after_break(manager, NULL);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); /* a sanitizer may turn the signal into an exit */
  manager_close(manager);
}
#else
static void test_broken_invariant(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_with_a_row();
  kl_error err = {0};
  assert_int_equal(commit_after_break(manager, &err), KL_E_INTERNAL);
  assert_non_null(strstr(err.message, "TXN-7"));
  /* From now on nothing is written; what is there can be read, and nothing of the refused commit is. */
  kl_txn *reader = begin_read_only(manager);
  assert_value(reader, 1, "a", "one");
  kl_txn_release(reader);
  kl_txn *refused = NULL;
  assert_int_equal(kl_txn_begin(manager, NULL, &refused, &err), KL_E_POISONED);
  assert_non_null(strstr(err.message, "TXN-7"));
  manager_close(manager);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_broken_invariant)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
