/* core/base/counter.h: counters for statistics. They order nothing: every access is relaxed.
 *
 * kl_counter: one number, for things that happen rarely or by one thread.
 * kl_counters: a group of up to eight counters for hot paths. Each shard is one cache line that holds all eight; a
 * thread adds in the shard of its hint, so that threads do not pass a line around, and reading sums over the shards.
 * 512 bytes for the group. A sum that is read while others add is some value between before and after.
 *
 * Zeroed memory is an initialised counter. A kl_counters is aligned to 64 bytes: allocate what embeds it with
 * kl_alloc_aligned(..., _Alignof(type)). Thread rules: any thread. */
#ifndef KL_BASE_COUNTER_H
#define KL_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

#include "arena.h"

typedef struct kl_counter {
  _Atomic uint64_t value;
} kl_counter;

static inline void kl_counter_add(kl_counter *counter, uint64_t n) {
  atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}
static inline void kl_counter_subtract(kl_counter *counter, uint64_t n) {
  atomic_fetch_sub_explicit(&counter->value, n, memory_order_relaxed);
}
static inline uint64_t kl_counter_read(const kl_counter *counter) {
  return atomic_load_explicit(&counter->value, memory_order_relaxed);
}
/* Raises the counter to at least `n`: for maxima. */
void kl_counter_raise(kl_counter *counter, uint64_t n);

enum { KL_COUNTERS_GROUP = 8, KL_COUNTERS_SHARDS = 8 }; /* both powers of two */

typedef struct kl_counters {
  struct {
    _Alignas(64) _Atomic uint64_t value[KL_COUNTERS_GROUP];
  } shard[KL_COUNTERS_SHARDS];
} kl_counters;

/* `which` < KL_COUNTERS_GROUP; give them names with an enum of your own. Negative amounts: add (uint64_t)-n. */
static inline void kl_counters_add(kl_counters *counters, unsigned which, uint64_t n) {
  uint32_t shard = kl_thread_hint() & (KL_COUNTERS_SHARDS - 1);
  atomic_fetch_add_explicit(&counters->shard[shard].value[which], n, memory_order_relaxed);
}
uint64_t kl_counters_sum(const kl_counters *counters, unsigned which);

#endif
