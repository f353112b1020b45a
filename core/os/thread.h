/* core/os/thread.h: mutexes, condition variables, threads.
 *
 * Keel starts few threads, all named ("keel-..."), all joined at close, with stacks of 256 KiB. They block every signal
 * but the faults that they make themselves (SIGSEGV and its like), so that a host's handlers run on the host's threads.
 * Where `os->has_threads` is false none is started (KL_E_UNSUPPORTED).
 *
 * kl_mutex and kl_cond are plain storage (no allocation, cannot fail after init) and stay where they were initialised.
 * A mutex is not recursive. A timed wait measures on the monotonic clock. */
#ifndef KL_OS_THREAD_H
#define KL_OS_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "os.h"

typedef struct kl_mutex {
  _Alignas(8) unsigned char storage[64];
} kl_mutex;
typedef struct kl_cond {
  _Alignas(8) unsigned char storage[64];
} kl_cond;
typedef struct kl_thread kl_thread;

kl_status kl_mutex_init(kl_mutex *mutex, kl_error *err);
void kl_mutex_destroy(kl_mutex *mutex);
void kl_mutex_lock(kl_mutex *mutex);
bool kl_mutex_try_lock(kl_mutex *mutex);
void kl_mutex_unlock(kl_mutex *mutex);

kl_status kl_cond_init(kl_cond *cond, kl_error *err);
void kl_cond_destroy(kl_cond *cond);
void kl_cond_wait(kl_cond *cond, kl_mutex *mutex);
/* False on time-out. May wake without a signal: callers loop on their condition. */
bool kl_cond_wait_ns(kl_cond *cond, kl_mutex *mutex, uint64_t timeout_ns);
void kl_cond_signal(kl_cond *cond);
void kl_cond_broadcast(kl_cond *cond);

/* `name` at most 15 bytes; more are cut. KL_E_LIMIT: the system allows no more threads. */
kl_status kl_thread_start(kl_os *os, const char *name, void (*run)(void *context), void *context, kl_thread **out,
                          kl_error *err);
/* Waits for run to return and frees the thread. In a forked child, where there is no such thread, frees only. NULL is
 * allowed. */
void kl_thread_join(kl_thread *thread);
void kl_thread_yield(void); /* gives up the time slice; for bounded spinning */
/* Between two looks at what another thread is about to change: tens of nanoseconds in which this CPU does nothing. */
static inline void kl_thread_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield" ::: "memory");
#endif
}

/* Equal numbers: the same process. It changes in the child at each fork after the first kl_os_posix() of the process.
 * Objects remember the value of their creation; another value means: forked, touch nothing. One relaxed load.
 * Kept by a pthread_atfork child handler, which also closes the child's copies of locked files, so that a child cannot
 * hold the parent's lock. Not seen: vfork, posix_spawn, raw clone and _Fork, after which POSIX allows little but
 * exec. */
uint64_t kl_fork_count(void);

#endif
