/* core/os/posix/thread.c: mutexes, condition variables and threads over pthreads. See thread.h. */
#include "../thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../base/assert.h"

enum {
  POSIX_THREAD_STACK = 256 * 1024, /* Keel's threads neither recurse nor keep large arrays */
  POSIX_THREAD_NAME = 16           /* Linux: with the terminator */
};
#define POSIX_COND_NS_PER_S UINT64_C(1000000000)

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(kl_mutex), "kl_mutex is too small for this system");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(kl_cond), "kl_cond is too small for this system");
_Static_assert(_Alignof(pthread_mutex_t) <= _Alignof(kl_mutex), "kl_mutex is aligned too little");
_Static_assert(_Alignof(pthread_cond_t) <= _Alignof(kl_cond), "kl_cond is aligned too little");

static pthread_mutex_t *posix_mutex(kl_mutex *mutex) {
  return (pthread_mutex_t *)(void *)mutex->storage;
}
static pthread_cond_t *posix_cond(kl_cond *cond) {
  return (pthread_cond_t *)(void *)cond->storage;
}

static void posix_must_be_zero(int result) {
  /* A default mutex or condition fails only when it was never initialised or is used after its end. */
  KL_ASSERT(result == 0);
  (void)result;
}

kl_status kl_mutex_init(kl_mutex *mutex, kl_error *err) {
  pthread_mutexattr_t *kind = NULL;
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
  /* Looks again for a moment before it sleeps: our critical sections are shorter than a sleep and a wake-up. */
  pthread_mutexattr_t adaptive;
  if (pthread_mutexattr_init(&adaptive) == 0) kind = &adaptive;
  if (kind != NULL) (void)pthread_mutexattr_settype(kind, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
  int failed = pthread_mutex_init(posix_mutex(mutex), kind);
  if (kind != NULL) (void)pthread_mutexattr_destroy(kind);
  if (failed == 0) return KL_OK;
  return kl_fail_errno(err, KL_E_NO_MEMORY, failed, "a mutex cannot be initialised (free some memory)");
}

void kl_mutex_destroy(kl_mutex *mutex) {
  posix_must_be_zero(pthread_mutex_destroy(posix_mutex(mutex)));
}
void kl_mutex_lock(kl_mutex *mutex) {
  posix_must_be_zero(pthread_mutex_lock(posix_mutex(mutex)));
}
bool kl_mutex_try_lock(kl_mutex *mutex) {
  return pthread_mutex_trylock(posix_mutex(mutex)) == 0;
}
void kl_mutex_unlock(kl_mutex *mutex) {
  posix_must_be_zero(pthread_mutex_unlock(posix_mutex(mutex)));
}

kl_status kl_cond_init(kl_cond *cond, kl_error *err) {
  pthread_condattr_t attributes;
  int failed = pthread_condattr_init(&attributes);
  if (failed == 0) {
    /* The wall clock jumps; a time-out must not. */
    failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (failed == 0) failed = pthread_cond_init(posix_cond(cond), &attributes);
    (void)pthread_condattr_destroy(&attributes);
  }
  if (failed == 0) return KL_OK;
  return kl_fail_errno(err, KL_E_NO_MEMORY, failed, "a condition variable cannot be initialised (free some memory)");
}

void kl_cond_destroy(kl_cond *cond) {
  posix_must_be_zero(pthread_cond_destroy(posix_cond(cond)));
}
void kl_cond_signal(kl_cond *cond) {
  posix_must_be_zero(pthread_cond_signal(posix_cond(cond)));
}
void kl_cond_broadcast(kl_cond *cond) {
  posix_must_be_zero(pthread_cond_broadcast(posix_cond(cond)));
}

void kl_cond_wait(kl_cond *cond, kl_mutex *mutex) {
  posix_must_be_zero(pthread_cond_wait(posix_cond(cond), posix_mutex(mutex)));
}

bool kl_cond_wait_ns(kl_cond *cond, kl_mutex *mutex, uint64_t timeout_ns) {
  struct timespec until = {0, 0};
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  /* Any time-out fits: 2^64 ns are 585 years. */
  uint64_t ns = (uint64_t)until.tv_nsec + timeout_ns % POSIX_COND_NS_PER_S;
  until.tv_sec += (time_t)(timeout_ns / POSIX_COND_NS_PER_S + ns / POSIX_COND_NS_PER_S);
  until.tv_nsec = (long)(ns % POSIX_COND_NS_PER_S);
  int result = pthread_cond_timedwait(posix_cond(cond), posix_mutex(mutex), &until);
  KL_ASSERT(result == 0 || result == ETIMEDOUT);
  return result == 0;
}

struct kl_thread {
  pthread_t thread;
  kl_allocator *allocator;
  uint64_t fork_count;
  void (*run)(void *context);
  void *context;
  char name[POSIX_THREAD_NAME];
};

static void *posix_thread_main(void *argument) {
  kl_thread *thread = argument;
  (void)pthread_setname_np(pthread_self(), thread->name); /* a name is a courtesy */
  thread->run(thread->context);
  return NULL;
}

/* OS-6: everything that a host may handle goes to the host's own threads. Faults of the CPU stay open: they hit the
 * thread that made them, and a blocked one would kill the process past the host's crash reporter. */
static void posix_thread_signals(sigset_t *out) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  (void)sigfillset(out);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) (void)sigdelset(out, faults[i]);
}

static int posix_thread_create(kl_thread *thread, size_t stack) {
  pthread_attr_t attributes;
  int failed = pthread_attr_init(&attributes);
  if (failed != 0) return failed;
  if (stack != 0) failed = pthread_attr_setstacksize(&attributes, stack);
  if (failed == 0) failed = pthread_create(&thread->thread, &attributes, posix_thread_main, thread);
  (void)pthread_attr_destroy(&attributes);
  return failed;
}

kl_status kl_thread_start(kl_os *os, const char *name, void (*run)(void *context), void *context, kl_thread **out,
                          kl_error *err) {
  sigset_t blocked, before;
  if (!os->has_threads) {
    return kl_fail(err, KL_E_UNSUPPORTED, "thread \"%s\" is not started: this os has none; do its work inline", name);
  }
  kl_thread *thread = kl_alloc(os->allocator, sizeof *thread);
  if (thread == NULL) {
    return kl_fail(err, KL_E_NO_MEMORY, "thread \"%s\" cannot be started; free some memory", name);
  }
  thread->allocator = os->allocator;
  thread->fork_count = kl_fork_count();
  thread->run = run;
  thread->context = context;
  strncpy(thread->name, name, sizeof thread->name - 1);
  /* A thread inherits the mask of its creator: so there is no moment when it could take a signal. */
  posix_thread_signals(&blocked);
  (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
  int failed = posix_thread_create(thread, POSIX_THREAD_STACK);
  /* EINVAL: a host with much thread-local storage, which glibc takes out of the stack. */
  if (failed == EINVAL) failed = posix_thread_create(thread, 0);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed != 0) {
    kl_free(os->allocator, thread, sizeof *thread);
    return kl_fail_errno(err, failed == EAGAIN ? KL_E_LIMIT : KL_E_NO_MEMORY, failed,
                         "thread \"%s\" cannot be started; raise the limit of threads or free some memory", name);
  }
  *out = thread;
  return KL_OK;
}

void kl_thread_join(kl_thread *thread) {
  if (thread == NULL) return;
  /* Threads do not follow into a forked child: there is nothing to wait for there. */
  if (thread->fork_count == kl_fork_count()) posix_must_be_zero(pthread_join(thread->thread, NULL));
  kl_free(thread->allocator, thread, sizeof *thread);
}

void kl_thread_yield(void) {
  (void)sched_yield();
}
