/* core/cache/cache.c: life, lookups, statistics. */
#include "cache.h"

#include "../base/assert.h"
#include "cache_private.h"

/* ---- what the policy asks; all under the policy mutex, so that the table's entries stay where they are ---- */

static uint32_t cache_heat(void *context, uint32_t frame, uint64_t address) {
  kl_cache_head *head = kl_cache_head_of(context, frame);
  KL_ASSERT(head->address == address);
  (void)address;
  return atomic_load_explicit(&head->heat, memory_order_relaxed);
}

static void cache_set_heat(void *context, uint32_t frame, uint64_t address, uint32_t heat) {
  kl_cache_head *head = kl_cache_head_of(context, frame);
  KL_ASSERT(head->address == address);
  (void)address;
  atomic_store_explicit(&head->heat, (uint8_t)heat, memory_order_relaxed);
}

static bool cache_held(void *context, uint32_t frame) {
  kl_cache *cache = context;
  return atomic_load_explicit(&kl_cache_frame_at(cache, frame)->pins, memory_order_relaxed) != 0;
}

/* ---- life ---- */

static kl_status cache_init_locks(kl_cache *cache, kl_error *err) {
  kl_status status = kl_mutex_init(&cache->policy_mutex, err);
  if (status == KL_OK) status = kl_mutex_init(&cache->arena_mutex, err);
  for (int i = 0; i < KL_TABLE_PARTITIONS && status == KL_OK; i++) {
    status = kl_mutex_init(&cache->partitions[i].mutex, err);
    if (status == KL_OK) status = kl_cond_init(&cache->partitions[i].loaded, err);
  }
  return status;
}

static kl_status cache_init_policy(kl_cache *cache, kl_policy_kind kind, uint64_t limit, kl_error *err) {
  kl_policy_host host = {cache, cache_heat, cache_set_heat, cache_held};
  kl_status status = kl_policy_new(cache->allocator, kind, &host, limit / KL_CACHE_BLOCK, &cache->policy, err);
  if (status != KL_OK) return status;
  cache->heat_limit = kl_policy_heat_limit(cache->policy);
  if (cache->heat_limit > 0) return KL_OK;
  cache->hits = kl_alloc_aligned(cache->allocator, KL_CACHE_HIT_SHARDS * sizeof(kl_hits), _Alignof(kl_hits));
  return cache->hits != NULL ? KL_OK
                             : kl_fail(err, KL_E_NO_MEMORY, "no memory for the hit buffers of a cache; free some");
}

kl_status kl_cache_new(const kl_cache_options *options, kl_cache **out_cache, kl_error *err) {
  kl_cache *cache = kl_alloc_aligned(options->allocator, sizeof *cache, _Alignof(kl_cache));
  if (cache == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a cache (%zu bytes); free some", sizeof *cache);
  cache->os = options->os;
  cache->allocator = options->allocator;
  cache->epoch = options->epoch;
  cache->loader = options->loader;
  cache->limit_most = options->limit_most;
  cache->pin_budget = options->pin_budget;
  atomic_init(&cache->limit, options->limit);
  kl_table_init(&cache->table, cache->allocator);
  kl_status status = cache_init_locks(cache, err);
  if (status == KL_OK) status = cache_init_policy(cache, options->policy, options->limit, err);
  if (status == KL_OK) status = kl_cache_arena_open(cache, err);
  if (status != KL_OK) {
    kl_cache_free(cache);
    return status;
  }
  *out_cache = cache;
  return KL_OK;
}

void kl_cache_free(kl_cache *cache) {
  if (cache == NULL) return;
  /* Acquire: the last reclaim callback is done with the cache. */
  while (atomic_load_explicit(&cache->retired_frames, memory_order_acquire) != 0 ||
         atomic_load_explicit(&cache->table.retired, memory_order_acquire) != 0) {
    if (kl_epoch_collect(cache->epoch) == 0) kl_thread_yield();
  }
  KL_ASSERT(atomic_load_explicit(&cache->pinned, memory_order_relaxed) == 0);
  kl_cache_arena_close(cache);
  kl_table_destroy(&cache->table);
  kl_policy_free(cache->policy);
  if (cache->hits != NULL) kl_free(cache->allocator, cache->hits, KL_CACHE_HIT_SHARDS * sizeof(kl_hits));
  kl_mutex_destroy(&cache->policy_mutex);
  kl_mutex_destroy(&cache->arena_mutex);
  for (int i = 0; i < KL_TABLE_PARTITIONS; i++) {
    kl_mutex_destroy(&cache->partitions[i].mutex);
    kl_cond_destroy(&cache->partitions[i].loaded);
  }
  kl_free(cache->allocator, cache, sizeof *cache);
}

/* ---- lookups ---- */

/* The number of the frame + 1, and the hit marked; 0: not there. Inside an epoch.
 *
 * The memo first: it is a plain array by the low bits of the address, a fraction of the table's size, so that it stays
 * in the CPU's cache where the table does not; and the head of the note that it leads to, which tells whether it is the
 * right frame, is what a look-up reads next anyway. It shows a frame from when its page has been entered in the table
 * until just before it leaves that, unless another page with the same low bits came later (CACHE-11). */
static inline uint32_t cache_find(kl_cache *cache, uint64_t address, uint32_t flags) {
  /* Acquire: the page's bytes, note and head were written before its frame was stored here. */
  uint32_t frame = atomic_load_explicit(kl_cache_memo_of(cache, address), memory_order_acquire);
  if (frame == 0 || kl_cache_head_of(cache, frame - 1)->address != address) {
    frame = kl_table_find(&cache->table, address);
    if (frame == 0) return 0;
  }
  if ((flags & KL_CACHE_SCAN) == 0) kl_cache_mark(cache, kl_cache_head_of(cache, frame - 1), address);
  return frame;
}

kl_status kl_cache_get(kl_cache *cache, const kl_cache_ref *ref, uint32_t flags, const void **out_frame,
                       kl_error *err) {
  uint32_t frame = cache_find(cache, ref->address, flags);
  if (frame == 0) return kl_cache_load(cache, ref, NULL, flags, out_frame, err);
  /* CACHE-4: a freed block was dropped before its address came to mean another page. */
  KL_ASSERT(kl_cache_frame_at(cache, frame - 1)->checksum == ref->checksum);
  *out_frame = kl_cache_bytes_of(cache, frame - 1);
  return KL_OK;
}

const void *kl_cache_find(kl_cache *cache, uint64_t address, uint64_t checksum, uint32_t flags) {
  uint32_t frame = cache_find(cache, address, flags);
  if (frame == 0) return NULL;
  KL_ASSERT(kl_cache_frame_at(cache, frame - 1)->checksum == checksum); /* CACHE-4 */
  (void)checksum;
  return kl_cache_bytes_of(cache, frame - 1);
}

size_t kl_cache_find_many(kl_cache *cache, const uint64_t *addresses, size_t count, uint32_t flags,
                          const void **out_frames) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t frame = atomic_load_explicit(kl_cache_memo_of(cache, addresses[i]), memory_order_relaxed);
    if (frame != 0) {
      __builtin_prefetch(kl_cache_head_of(cache, frame - 1));
    } else {
      kl_table_prefetch(&cache->table, addresses[i]);
    }
  }
  for (size_t i = 0; i < count; i++) {
    uint32_t frame = cache_find(cache, addresses[i], flags);
    out_frames[i] = frame != 0 ? kl_cache_bytes_of(cache, frame - 1) : NULL;
    found += frame != 0;
  }
  return found;
}

kl_status kl_cache_put(kl_cache *cache, const kl_cache_ref *ref, const void *bytes, uint32_t flags, kl_error *err) {
  const void *frame;
  return kl_cache_load(cache, ref, bytes, flags, &frame, err);
}

kl_cache_notes kl_cache_get_notes(const kl_cache *cache) {
  const uint8_t *notes = cache->loader.note != NULL ? cache->notes + KL_CACHE_NOTE_HEAD : NULL;
  return (kl_cache_notes){cache->base, notes, (uint64_t)cache->chunk_count * KL_CACHE_CHUNK};
}

void kl_cache_read_stats(const kl_cache *cache, kl_cache_stats *out_stats) {
  *out_stats = (kl_cache_stats){
      .limit = atomic_load_explicit(&cache->limit, memory_order_relaxed),
      .resident = kl_cache_resident(cache),
      .cached = atomic_load_explicit(&cache->cached, memory_order_relaxed),
      .retired = atomic_load_explicit(&cache->retired, memory_order_relaxed),
      .pinned = atomic_load_explicit(&cache->pinned, memory_order_relaxed),
      .pages = kl_counter_read(&cache->pages),
      .loads = kl_counter_read(&cache->loads),
      .load_errors = kl_counter_read(&cache->load_errors),
      .waits = kl_counter_read(&cache->waits),
      .evictions = kl_counter_read(&cache->evictions),
      .drops = kl_counter_read(&cache->drops),
      .retries = kl_counter_read(&cache->retries),
      .pin_refusals = kl_counter_read(&cache->pin_refusals),
  };
}
