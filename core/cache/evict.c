/* core/cache/evict.c: room for a page: free frames, more memory, or pages that go. */
#include "../base/assert.h"
#include "cache_private.h"

enum {
  EVICT_BATCH = 4,   /* victims, at most, until one has the size that is needed */
  EVICT_DROPS = 16,  /* blocks that are dropped under one lock */
  EVICT_AHEAD = 4,   /* at most so many after each load that used up a free frame */
  EVICT_ROUNDS = 64, /* for one page; a run adds one for each chunk that it needs */
  EVICT_NAP_NS = 50000,
  EVICT_NONE_SPARED = KL_CACHE_CLASSES + 1 /* no class */
};

void kl_cache_unpublish(kl_cache *cache, kl_frame *frame, bool chosen, kl_leavers *leavers) {
  kl_epoch_entry *array = NULL;
  kl_partition *partition = &cache->partitions[kl_table_partition(frame->address)];
  _Atomic(uint32_t) *memo = kl_cache_memo_of(cache, frame->address);
  /* Both are written under the policy mutex only. */
  if (atomic_load_explicit(memo, memory_order_relaxed) == frame->number + 1) {
    atomic_store_explicit(memo, 0, memory_order_relaxed);
  }
  kl_mutex_lock(&partition->mutex);
  bool there = kl_table_remove(&cache->table, frame->address, &array);
  kl_mutex_unlock(&partition->mutex);
  KL_ASSERT(there);
  (void)there;
  if (!chosen) kl_policy_remove(cache->policy, frame->node);
  atomic_store_explicit(&frame->state, KL_FRAME_RETIRED, memory_order_relaxed);
  kl_counter_subtract(&cache->pages, 1);
  frame->entry.next = leavers->frames;
  leavers->frames = &frame->entry;
  if (array == NULL) return;
  array->next = leavers->arrays;
  leavers->arrays = array;
}

void kl_cache_retire(kl_cache *cache, kl_leavers *leavers) {
  while (leavers->frames != NULL) {
    kl_epoch_entry *next = leavers->frames->next; /* retiring uses the link */
    kl_cache_frame_retire(cache, (kl_frame *)(void *)leavers->frames);
    leavers->frames = next;
  }
  while (leavers->arrays != NULL) {
    kl_epoch_entry *next = leavers->arrays->next;
    kl_epoch_retire(cache->epoch, leavers->arrays);
    leavers->arrays = next;
  }
}

/* Evicts at most `most` pages, until one of the size class goes. Returns how many; *out_match: the last was of it. */
static uint32_t evict_some(kl_cache *cache, uint32_t size_class, uint32_t most, bool *out_match) {
  kl_leavers leavers = {NULL, NULL};
  uint32_t count = 0, number;
  *out_match = false;
  kl_mutex_lock(&cache->policy_mutex);
  kl_cache_hits_apply(cache);
  /* What there is when pages have to go is what the cache can hold, with these sizes of page and its own tables beside
   * them; a policy that believed in more would never fill its lists and be another policy. */
  kl_policy_set_capacity(cache->policy, atomic_load_explicit(&cache->cached, memory_order_relaxed) / KL_CACHE_BLOCK);
  while (count < most && !*out_match && kl_policy_evict(cache->policy, &number)) {
    kl_frame *frame = kl_cache_frame_at(cache, number);
    const kl_chunk *chunk = &cache->chunks[frame->chunk];
    *out_match = chunk->size_class == size_class && !chunk->leaving;
    kl_cache_unpublish(cache, frame, true, &leavers);
    count++;
  }
  kl_mutex_unlock(&cache->policy_mutex);
  kl_cache_retire(cache, &leavers);
  kl_counter_add(&cache->evictions, count);
  return count;
}

/* Drops all of a chunk that is not of the class, the emptiest; its memory goes back when its readers have left. */
static bool evict_chunk(kl_cache *cache, uint32_t spared) {
  kl_frame *frames[KL_CACHE_CHUNK_BLOCKS];
  kl_leavers leavers = {NULL, NULL};
  uint32_t count = 0;
  kl_mutex_lock(&cache->policy_mutex);
  bool found = kl_cache_chunk_leave(cache, spared, frames, &count);
  for (uint32_t i = 0; i < count; i++) kl_cache_unpublish(cache, frames[i], false, &leavers);
  kl_mutex_unlock(&cache->policy_mutex);
  kl_cache_retire(cache, &leavers);
  kl_counter_add(&cache->evictions, count);
  return found;
}

static uint64_t evict_limit(const kl_cache *cache) {
  return atomic_load_explicit(&cache->limit, memory_order_relaxed);
}

/* Frames that are kept free, or on their way to it, so that a load seldom waits for an epoch: a sixty-fourth of the
 * limit, at most 1 MiB. */
static uint64_t evict_reserve(const kl_cache *cache) {
  uint64_t share = evict_limit(cache) / 64;
  return share < UINT64_C(1) << 20 ? share : UINT64_C(1) << 20;
}

/* After a frame was taken: replaces it ahead of the next load, when the cache is full. */
static void evict_ahead(kl_cache *cache, uint32_t size_class) {
  uint64_t reserve = evict_reserve(cache), resident = kl_cache_resident(cache), limit = evict_limit(cache);
  if (resident + KL_CACHE_CHUNK <= limit) return;
  uint64_t free_now = kl_cache_free_bytes(cache, size_class), coming = kl_cache_coming(cache);
  bool match;
  for (int i = 0; i < EVICT_AHEAD && free_now + coming < reserve; i++, coming = kl_cache_coming(cache)) {
    if (evict_some(cache, size_class, 1, &match) == 0) break;
  }
  /* What was retired in one epoch can only be used by readers that enter in a later one, so epochs must go on before
   * the free frames are gone. */
  if (free_now < reserve / 2 && coming > 0) (void)kl_epoch_collect(cache->epoch);
  /* A reader that needed more than the limit has left: back below it. */
  bool above = resident > limit + atomic_load_explicit(&cache->leaving, memory_order_relaxed);
  if (above && coming < reserve / 4) (void)evict_chunk(cache, EVICT_NONE_SPARED);
}

/* A frame from what is free, or from memory within the bound. KL_E_LIMIT (err is not filled): neither. */
static kl_status evict_try(kl_cache *cache, uint32_t size_class, uint32_t length, uint64_t bound, kl_frame **out_frame,
                           kl_error *err) {
  if (size_class < KL_CACHE_RUN) *out_frame = kl_cache_frame_take(cache, size_class);
  if (*out_frame != NULL) return KL_OK;
  kl_status status = kl_cache_arena_grow(cache, size_class, length, bound, out_frame, err);
  if (status != KL_OK || *out_frame != NULL) return status;
  *out_frame = kl_cache_frame_take(cache, size_class);
  return *out_frame != NULL ? KL_OK : KL_E_LIMIT; /* other threads were faster than we: as good as no room */
}

/* True when nothing more has to go: what is on its way back is enough, and only its readers keep it. */
static bool evict_enough(const kl_cache *cache, uint32_t size_class, uint64_t bytes) {
  uint64_t leaving = atomic_load_explicit(&cache->leaving, memory_order_relaxed);
  if (size_class == KL_CACHE_RUN) return kl_cache_resident(cache) + bytes <= evict_limit(cache) + leaving;
  return kl_cache_coming(cache) >= bytes + evict_reserve(cache);
}

/* Evicts for a page of the class: what the policy says; and when that frees nothing for this class, all of the emptiest
 * chunk of the others, so that memory goes to the sizes that are asked for. False: there is nothing that could go, or
 * no need. */
static bool evict_round(kl_cache *cache, uint32_t size_class, uint64_t bytes) {
  bool match;
  if (evict_enough(cache, size_class, bytes)) return false;
  uint32_t count = evict_some(cache, size_class, EVICT_BATCH, &match);
  if (match || (size_class == KL_CACHE_RUN && evict_enough(cache, size_class, bytes))) return true;
  return evict_chunk(cache, size_class == KL_CACHE_RUN ? EVICT_NONE_SPARED : size_class) || count > 0;
}

static kl_status evict_no_room(kl_cache *cache, uint32_t length, kl_error *err) {
  uint64_t pinned = atomic_load_explicit(&cache->pinned, memory_order_relaxed);
  if (kl_cache_coming(cache) > 0) {
    kl_counter_add(&cache->retries, 1);
    return KL_CACHE_RETRY;
  }
  return kl_fail(
      err, KL_E_LIMIT,
      "no room for a page of %u bytes: the cache's limit is %llu and %llu are pinned; release views or raise it",
      length, (unsigned long long)evict_limit(cache), (unsigned long long)pinned);
}

kl_status kl_cache_take(kl_cache *cache, uint32_t length, kl_frame **out_frame, kl_error *err) {
  uint32_t size_class = kl_cache_class_of(length);
  uint64_t bytes = ((uint64_t)length + KL_CACHE_BLOCK - 1) / KL_CACHE_BLOCK * KL_CACHE_BLOCK;
  uint64_t rounds = EVICT_ROUNDS + 2 * (bytes / KL_CACHE_CHUNK), limit = evict_limit(cache);
  *out_frame = NULL;
  if (bytes > limit) {
    return kl_fail(err, KL_E_LIMIT,
                   "a page of %u bytes is larger than the cache's limit of %llu; raise it or read around it", length,
                   (unsigned long long)limit);
  }
  for (; rounds > 0; rounds--) {
    kl_status status = evict_try(cache, size_class, length, limit, out_frame, err);
    if (status == KL_OK) {
      if (size_class < KL_CACHE_RUN) evict_ahead(cache, size_class);
      return KL_OK;
    }
    /* What waited for readers that have left since comes first. A system that has no memory is no reason to fail while
     * pages can go. */
    if (kl_epoch_collect(cache->epoch) > 0) continue;
    if (!evict_round(cache, size_class, bytes)) {
      if (status == KL_E_NO_MEMORY) return status;
      break;
    }
    (void)kl_epoch_collect(cache->epoch);
  }
  kl_status status = evict_try(cache, size_class, length, limit + KL_CACHE_SLACK, out_frame, err);
  return status == KL_E_LIMIT ? evict_no_room(cache, length, err) : status;
}

kl_status kl_cache_make_room(kl_cache *cache, uint32_t length, kl_error *err) {
  for (;;) {
    kl_frame *frame = NULL;
    kl_status status = kl_cache_take(cache, length, &frame, err);
    if (status == KL_OK) kl_cache_frame_give(cache, frame);
    if (status != KL_CACHE_RETRY) return status;
    /* Somebody reads what was evicted, and leaves within an operation. */
    kl_os_sleep_ns(cache->os, EVICT_NAP_NS);
  }
}

void kl_cache_drop(kl_cache *cache, const uint64_t *addresses, size_t count) {
  for (size_t done = 0; done < count;) {
    size_t end = count - done > EVICT_DROPS ? done + EVICT_DROPS : count;
    kl_leavers leavers = {NULL, NULL};
    uint64_t dropped = 0;
    kl_mutex_lock(&cache->policy_mutex);
    for (; done < end; done++) {
      kl_cache_doom_loads(cache, addresses[done]);
      uint32_t frame = kl_table_find(&cache->table, addresses[done]);
      if (frame == 0) continue;
      kl_cache_unpublish(cache, kl_cache_frame_at(cache, frame - 1), false, &leavers);
      dropped++;
    }
    kl_mutex_unlock(&cache->policy_mutex);
    kl_cache_retire(cache, &leavers);
    kl_counter_add(&cache->drops, dropped);
  }
}

kl_status kl_cache_set_limit(kl_cache *cache, uint64_t limit, kl_error *err) {
  if (limit < KL_CACHE_LIMIT_MIN || limit > cache->limit_most) {
    return kl_fail(
        err, KL_E_INVALID, "a cache limit of %llu bytes is refused: %llu to %llu are possible; reopen for more",
        (unsigned long long)limit, (unsigned long long)KL_CACHE_LIMIT_MIN, (unsigned long long)cache->limit_most);
  }
  atomic_store_explicit(&cache->limit, limit, memory_order_relaxed);
  while (kl_cache_resident(cache) > limit + atomic_load_explicit(&cache->leaving, memory_order_relaxed)) {
    if (!evict_chunk(cache, EVICT_NONE_SPARED)) break;
  }
  (void)kl_epoch_collect(cache->epoch);
  return KL_OK;
}
