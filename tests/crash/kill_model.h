/* tests/crash/kill_model.h: what a writer thread writes in its n-th transaction, so that n alone says what must be there.
 *
 * Transaction n of thread t, all in one commit, over three keyspaces:
 *   events   put (t, n) -> bytes that (t, n) determines, 0 ... 2 KiB, now and then 64 KiB; delete (t, n - KILL_WINDOW)
 *   state    put t -> n, put t' -> ~n (two keys that only a half-done commit could leave in disagreement)
 *   shared   every fourth: add 1 to one counter that all threads read and write (so that commits conflict and run again)
 * Hence a database in which thread t stands at n must hold exactly the events n - KILL_WINDOW + 1 ... n of t, and the counter must be
 * the sum of n / 4 over the threads. */
#ifndef TESTS_CRASH_KILL_MODEL_H
#define TESTS_CRASH_KILL_MODEL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KILL_THREADS_MAX = 4, KILL_WINDOW = 50, KILL_VALUE_MAX = 64 * 1024, KILL_EVENT_KEY = 9 };

/* What the writer reports for each acknowledged commit, in one write of a pipe (atomic: it is below PIPE_BUF). */
typedef struct kill_ack {
  uint64_t thread, n;
} kill_ack;

static inline void kill_event_key(uint64_t thread, uint64_t n, uint8_t out[KILL_EVENT_KEY]) {
  out[0] = (uint8_t)thread;
  for (int i = 0; i < 8; i++) out[1 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static inline size_t kill_event_value(uint64_t thread, uint64_t n, uint8_t *out) {
  uint64_t x = (thread + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ n * UINT64_C(0xbf58476d1ce4e5b9);
  x ^= x >> 29;
  size_t size = n % 97 == 3 ? KILL_VALUE_MAX : (size_t)(x % 2048);
  for (size_t i = 0; i < size; i++) {
    x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    out[i] = (uint8_t)(x >> 56);
  }
  return size;
}

#endif
