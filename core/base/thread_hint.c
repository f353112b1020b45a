/* core/base/thread_hint.c: see arena.h (kl_thread_hint). */
#include <stdatomic.h>

#include "arena.h"

uint32_t kl_thread_hint(void) {
  /* Numbers in order of first use: the first N threads of a process land on N different shards. 0 means: none yet.
   * This is a hint for sharding: nothing is kept per thread, so that there is nothing to clean up when one ends. */
  static atomic_uint hint_next = 1;
  static _Thread_local uint32_t hint_mine;
  if (hint_mine == 0) {
    hint_mine = atomic_fetch_add_explicit(&hint_next, 1, memory_order_relaxed);
    if (hint_mine == 0) hint_mine = 1; /* after 2^32 threads */
  }
  return hint_mine;
}
