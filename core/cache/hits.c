/* core/cache/hits.c: hits for the policies that must be told of each (LRU, 2Q, LRU-K, LIRS, ARC).
 *
 * A reader writes the address into a buffer of its shard; who fills it up applies all buffers when the policy's mutex
 * is free, and otherwise the hit is lost. A miss applies them first. So with one thread no hit is lost and none comes
 * late (but for the order between shards, of which one thread uses one), and with many the lists see a sample
 * (CACHE-7). The buffer holds addresses, not frames: what was evicted meanwhile is not found, and nothing is applied to
 * another page. */
#include "cache_private.h"

static void hits_apply_shard(kl_cache *cache, kl_hits *shard) {
  uint32_t count = atomic_load_explicit(&shard->count, memory_order_acquire);
  if (count > KL_CACHE_HITS) count = KL_CACHE_HITS;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t address = atomic_load_explicit(&shard->address[i], memory_order_relaxed);
    /* The table changes under the policy mutex only: its arrays stay, what is found is cached, and its node is good. */
    uint32_t frame = kl_table_find(&cache->table, address);
    if (frame != 0) kl_policy_hit(cache->policy, kl_cache_frame_at(cache, frame - 1)->node);
  }
  atomic_store_explicit(&shard->count, 0, memory_order_release);
}

void kl_cache_hits_apply(kl_cache *cache) {
  if (cache->hits == NULL) return;
  for (int i = 0; i < KL_CACHE_HIT_SHARDS; i++) hits_apply_shard(cache, &cache->hits[i]);
}

void kl_cache_hit_buffer(kl_cache *cache, uint64_t address) {
  kl_hits *shard = &cache->hits[kl_thread_hint() & (KL_CACHE_HIT_SHARDS - 1)];
  uint32_t index = atomic_fetch_add_explicit(&shard->count, 1, memory_order_relaxed);
  if (index < KL_CACHE_HITS) atomic_store_explicit(&shard->address[index], address, memory_order_relaxed);
  if (index + 1 < KL_CACHE_HITS) return;
  if (!kl_mutex_try_lock(&cache->policy_mutex)) return;
  kl_cache_hits_apply(cache);
  kl_mutex_unlock(&cache->policy_mutex);
}
