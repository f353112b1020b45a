/* core/cache/load.c: the miss path: one thread loads a page, the others wait for it. */
#include <string.h>

#include "../base/assert.h"
#include "cache_private.h"

/* On the stack of the thread that loads; found through its partition, under that mutex. */
struct kl_cache_loading {
  kl_cache_loading *next;
  uint64_t address;
  bool doomed; /* the block was freed meanwhile */
};

static kl_cache_loading *load_find(const kl_partition *partition, uint64_t address) {
  kl_cache_loading *load = partition->loads;
  while (load != NULL && load->address != address) load = load->next;
  return load;
}

static void load_unlink(kl_partition *partition, kl_cache_loading *load) {
  kl_cache_loading **link = &partition->loads;
  while (*link != load) link = &(*link)->next;
  *link = load->next;
}

void kl_cache_doom_loads(kl_cache *cache, uint64_t address) {
  kl_partition *partition = &cache->partitions[kl_table_partition(address)];
  kl_mutex_lock(&partition->mutex);
  kl_cache_loading *load = load_find(partition, address);
  if (load != NULL) load->doomed = true;
  kl_mutex_unlock(&partition->mutex);
}

/* The frame of the address, waiting for a load of it that is under way; 0: the caller loads, `load` is registered. */
static uint32_t load_begin(kl_cache *cache, kl_partition *partition, kl_cache_loading *load, uint64_t address,
                           bool scan) {
  bool waited = false;
  kl_mutex_lock(&partition->mutex);
  for (;;) {
    uint32_t frame = kl_table_find(&cache->table, address);
    if (frame != 0) {
      kl_mutex_unlock(&partition->mutex);
      if (!scan) kl_cache_mark(cache, kl_cache_head_of(cache, frame - 1), address);
      return frame;
    }
    if (load_find(partition, address) == NULL) break;
    if (!waited) kl_counter_add(&cache->waits, 1);
    waited = true;
    kl_cond_wait(&partition->loaded, &partition->mutex);
  }
  *load = (kl_cache_loading){partition->loads, address, false};
  partition->loads = load;
  kl_mutex_unlock(&partition->mutex);
  return 0;
}

/* CACHE-10: before anybody can find the frame, and after it was verified. */
static void load_note(const kl_cache *cache, const kl_cache_ref *ref, const kl_frame *frame) {
  kl_cache_head *head = kl_cache_head_of(cache, frame->number);
  head->address = ref->address;
  atomic_store_explicit(&head->heat, 0, memory_order_relaxed);
  if (cache->loader.note == NULL || ref->length > KL_CACHE_NOTED) return;
  cache->loader.note(cache->loader.context, ref, kl_cache_bytes_of(cache, frame->number),
                     (unsigned char *)head + KL_CACHE_NOTE_HEAD,
                     kl_cache_frame_bytes(cache, frame) / KL_CACHE_BLOCK * KL_CACHE_NOTE - KL_CACHE_NOTE_HEAD);
}

/* Takes a frame and fills it. No lock is held (CACHE-5). */
static kl_status load_fill(kl_cache *cache, const kl_cache_ref *ref, const void *bytes, kl_frame **out_frame,
                           kl_error *err) {
  if (cache->hits != NULL) { /* policies that read heat are told nothing beforehand */
    kl_mutex_lock(&cache->policy_mutex);
    kl_cache_hits_apply(cache);
    kl_policy_prepare(cache->policy, ref->address);
    kl_mutex_unlock(&cache->policy_mutex);
  }
  kl_status status = kl_cache_take(cache, ref->length, out_frame, err);
  if (status != KL_OK) return status;
  void *memory = kl_cache_bytes_of(cache, (*out_frame)->number);
  if (bytes != NULL) {
    memcpy(memory, bytes, ref->length);
    load_note(cache, ref, *out_frame);
    return KL_OK;
  }
  status = cache->loader.load(cache->loader.context, ref, memory, err);
  /* CACHE-3: nobody can find the frame yet. */
  if (status == KL_OK && cache->loader.verify != NULL) {
    status = cache->loader.verify(cache->loader.context, ref, memory, err);
  }
  kl_counter_add(status == KL_OK ? &cache->loads : &cache->load_errors, 1);
  if (status == KL_OK) {
    load_note(cache, ref, *out_frame);
    return KL_OK;
  }
  kl_cache_frame_give(cache, *out_frame);
  *out_frame = NULL;
  return status;
}

/* Ends the load, and enters the page when there is a frame and nothing speaks against it. False: it was not entered. */
static bool load_publish(kl_cache *cache, kl_partition *partition, kl_cache_loading *load, const kl_cache_ref *ref,
                         bool scan, kl_frame *frame, kl_epoch_entry **out_array) {
  bool entered = false;
  *out_array = NULL;
  kl_mutex_lock(&cache->policy_mutex);
  kl_mutex_lock(&partition->mutex);
  if (frame != NULL && !load->doomed) {
    frame->address = ref->address;
    frame->checksum = ref->checksum;
    atomic_store_explicit(&frame->state, KL_FRAME_CACHED, memory_order_relaxed);
    entered = kl_table_insert(&cache->table, ref->address, frame->number, out_array);
    /* Release: as the table's. In place of whatever page had this place before (CACHE-11). */
    if (entered) {
      atomic_store_explicit(kl_cache_memo_of(cache, ref->address), frame->number + 1, memory_order_release);
    }
  }
  load_unlink(partition, load);
  kl_cond_broadcast(&partition->loaded);
  kl_mutex_unlock(&partition->mutex);
  if (entered) {
    /* Between table and policy a reader can find the page already: what a policy is told of it comes under this mutex.
     */
    uint64_t bytes = kl_cache_frame_bytes(cache, frame);
    frame->node =
        kl_policy_insert(cache->policy, ref->address, frame->number, (uint32_t)(bytes / KL_CACHE_BLOCK), scan);
    atomic_fetch_add_explicit(&cache->cached, bytes, memory_order_relaxed);
    kl_counter_add(&cache->pages, 1);
  } else if (frame != NULL) {
    atomic_store_explicit(&frame->state, KL_FRAME_PRIVATE, memory_order_relaxed);
  }
  kl_mutex_unlock(&cache->policy_mutex);
  return entered;
}

kl_status kl_cache_load(kl_cache *cache, const kl_cache_ref *ref, const void *bytes, uint32_t flags,
                        const void **out_frame, kl_error *err) {
  kl_partition *partition = &cache->partitions[kl_table_partition(ref->address)];
  bool scan = (flags & KL_CACHE_SCAN) != 0;
  if (ref->length == 0 || ref->length > KL_CACHE_PAGE_MAX) {
    return kl_fail(err, KL_E_INVALID, "the page at block %llu has a length of %u bytes; 1 to %u are possible",
                   (unsigned long long)ref->address, ref->length, KL_CACHE_PAGE_MAX);
  }
  for (;;) {
    kl_cache_loading load;
    kl_frame *frame = NULL;
    kl_epoch_entry *array;
    uint32_t number = load_begin(cache, partition, &load, ref->address, scan);
    if (number != 0) {
      *out_frame = kl_cache_bytes_of(cache, number - 1);
      return KL_OK;
    }
    kl_status status = load_fill(cache, ref, bytes, &frame, err);
    bool entered = load_publish(cache, partition, &load, ref, scan, frame, &array);
    if (array != NULL) kl_epoch_retire(cache->epoch, array);
    if (entered) {
      *out_frame = kl_cache_bytes_of(cache, frame->number);
      return KL_OK;
    }
    if (frame == NULL) return status;
    kl_cache_frame_give(cache, frame);
    if (!load.doomed) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for the page table of the cache (block %llu); free some",
                     (unsigned long long)ref->address);
    }
    /* The block was freed while we read it, so these bytes may be of before or after: again. */
  }
}
