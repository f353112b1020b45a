/* Mutexes, condition variables, threads. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/os/thread.h"
#include "failing_allocator.h"

static kl_thread *must_start(const char *name, void (*run)(void *), void *context) {
  kl_thread *thread = NULL;
  kl_error error = {0};
  if (kl_thread_start(kl_os_posix(), name, run, context, &thread, &error) != KL_OK) fail_msg("%s", error.message);
  return thread;
}

typedef struct shared_count {
  kl_mutex mutex;
  kl_cond changed;
  uint64_t value;
  bool go;
} shared_count;

static void shared_init(shared_count *shared) {
  memset(shared, 0, sizeof *shared);
  assert_int_equal(kl_mutex_init(&shared->mutex, NULL), KL_OK);
  assert_int_equal(kl_cond_init(&shared->changed, NULL), KL_OK);
}

static void shared_destroy(shared_count *shared) {
  kl_cond_destroy(&shared->changed);
  kl_mutex_destroy(&shared->mutex);
}

enum { ROUNDS = 20000, THREADS = 4 };

static void add_many(void *context) {
  shared_count *shared = context;
  for (int i = 0; i < ROUNDS; i++) {
    while (!kl_mutex_try_lock(&shared->mutex)) kl_thread_yield();
    shared->value++;
    kl_mutex_unlock(&shared->mutex);
  }
}

static void test_mutex_excludes(void **state) {
  (void)state;
  shared_count shared;
  kl_thread *threads[THREADS];
  shared_init(&shared);
  for (int i = 0; i < THREADS; i++) threads[i] = must_start("keel-add", add_many, &shared);
  for (int i = 0; i < ROUNDS; i++) {
    kl_mutex_lock(&shared.mutex);
    shared.value++;
    kl_mutex_unlock(&shared.mutex);
  }
  for (int i = 0; i < THREADS; i++) kl_thread_join(threads[i]);
  assert_int_equal(shared.value, (THREADS + 1) * ROUNDS);
  kl_mutex_lock(&shared.mutex);
  assert_false(kl_mutex_try_lock(&shared.mutex));
  kl_mutex_unlock(&shared.mutex);
  shared_destroy(&shared);
}

static void wait_and_count(void *context) {
  shared_count *shared = context;
  kl_mutex_lock(&shared->mutex);
  while (!shared->go) kl_cond_wait(&shared->changed, &shared->mutex);
  shared->value++;
  kl_cond_signal(&shared->changed);
  kl_mutex_unlock(&shared->mutex);
}

static void test_broadcast_wakes_all_and_signal_one(void **state) {
  (void)state;
  shared_count shared;
  kl_thread *threads[THREADS];
  shared_init(&shared);
  for (int i = 0; i < THREADS; i++) threads[i] = must_start("keel-wait", wait_and_count, &shared);
  kl_mutex_lock(&shared.mutex);
  shared.go = true;
  kl_cond_broadcast(&shared.changed);
  while (shared.value < THREADS) (void)kl_cond_wait_ns(&shared.changed, &shared.mutex, 1000000000);
  kl_mutex_unlock(&shared.mutex);
  for (int i = 0; i < THREADS; i++) kl_thread_join(threads[i]);
  assert_int_equal(shared.value, THREADS);
  shared_destroy(&shared);
}

static void test_timed_wait_ends(void **state) {
  (void)state;
  shared_count shared;
  kl_os *os = kl_os_posix();
  shared_init(&shared);
  kl_mutex_lock(&shared.mutex);
  uint64_t start = kl_os_monotonic_ns(os);
  while (kl_cond_wait_ns(&shared.changed, &shared.mutex, 3000000)) continue; /* true: woke without a reason */
  assert_true(kl_os_monotonic_ns(os) - start >= 3000000);
  while (kl_cond_wait_ns(&shared.changed, &shared.mutex, 0)) continue;
  kl_mutex_unlock(&shared.mutex);
  shared_destroy(&shared);
}

typedef struct thread_facts {
  char name[16];
  sigset_t blocked;
  size_t stack;
  int failed; /* cmocka's assertions are for the main thread */
} thread_facts;

static void note_facts(void *context) {
  thread_facts *facts = context;
  pthread_attr_t attributes;
  facts->failed = pthread_getname_np(pthread_self(), facts->name, sizeof facts->name);
  if (facts->failed == 0) facts->failed = pthread_sigmask(SIG_BLOCK, NULL, &facts->blocked);
  if (facts->failed == 0) facts->failed = pthread_getattr_np(pthread_self(), &attributes);
  if (facts->failed != 0) return;
  facts->failed = pthread_attr_getstacksize(&attributes, &facts->stack);
  (void)pthread_attr_destroy(&attributes);
}

/* OS-6 */
static void test_threads_are_good_guests(void **state) {
  (void)state;
  static const int hosts[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM, SIGPROF, SIGPIPE, SIGURG};
  static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  thread_facts facts;
  sigset_t before, after;
  memset(&facts, 0, sizeof facts);
  (void)pthread_sigmask(SIG_BLOCK, NULL, &before);
  kl_thread_join(must_start("keel-a-name-that-is-too-long", note_facts, &facts));
  (void)pthread_sigmask(SIG_BLOCK, NULL, &after);
  assert_int_equal(facts.failed, 0);
  assert_string_equal(facts.name, "keel-a-name-tha");
  for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
    assert_true(sigismember(&facts.blocked, hosts[i]));
    assert_int_equal(sigismember(&before, hosts[i]), sigismember(&after, hosts[i]));
  }
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) assert_false(sigismember(&facts.blocked, own[i]));
  assert_true(facts.stack <= 1024 * 1024);
}

static void do_nothing(void *context) {
  (void)context;
}

static void test_refusals(void **state) {
  (void)state;
  failing_allocator allocator;
  kl_thread *thread = NULL;
  kl_error error = {0};
  failing_allocator_init(&allocator);
  kl_os os = *kl_os_posix();
  os.allocator = &allocator.base;
  failing_allocator_arm(&allocator, 1);
  assert_int_equal(kl_thread_start(&os, "keel-x", do_nothing, NULL, &thread, &error), KL_E_NO_MEMORY);
  assert_non_null(strstr(error.message, "keel-x"));
  assert_int_equal(kl_thread_start(&os, "keel-x", do_nothing, NULL, &thread, &error), KL_OK);
  kl_thread_join(thread);
  assert_int_equal(atomic_load(&allocator.live_bytes), 0);
  os.has_threads = false;
  assert_int_equal(kl_thread_start(&os, "keel-x", do_nothing, NULL, &thread, &error), KL_E_UNSUPPORTED);
  kl_thread_join(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_mutex_excludes),  cmocka_unit_test(test_broadcast_wakes_all_and_signal_one),
      cmocka_unit_test(test_timed_wait_ends), cmocka_unit_test(test_threads_are_good_guests),
      cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests_name("os_thread", tests, NULL, NULL);
}
