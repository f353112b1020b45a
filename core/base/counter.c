/* core/base/counter.c: see counter.h. */
#include "counter.h"

void kl_counter_raise(kl_counter *counter, uint64_t n) {
  uint64_t seen = atomic_load_explicit(&counter->value, memory_order_relaxed);
  while (seen < n && !atomic_compare_exchange_weak_explicit(&counter->value, &seen, n, memory_order_relaxed,
                                                            memory_order_relaxed)) {
  }
}

uint64_t kl_counters_sum(const kl_counters *counters, unsigned which) {
  uint64_t sum = 0; /* wraps as the parts do, so that one shard may hold the additions and another the subtractions */
  for (int i = 0; i < KL_COUNTERS_SHARDS; i++) {
    sum += atomic_load_explicit(&counters->shard[i].value[which], memory_order_relaxed);
  }
  return sum;
}
