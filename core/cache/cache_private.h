/* core/cache/cache_private.h: the parts of the cache.
 *
 *   cache.c    life, lookups, statistics
 *   load.c     the miss path: one loads, others wait
 *   evict.c    room: eviction, emptying of chunks, drop, the limit
 *   frames.c   chunks, size classes, runs; frames that come back from their epoch; pins
 *   hits.c     buffered hits, for policies that want each told
 *   table.*    the page table      policy*.*  which page goes
 *
 * Lock order: policy_mutex, then one partition's mutex, then arena_mutex. None is held across a callback of the loader,
 * kl_epoch_retire or kl_epoch_collect (which run others' reclaim callbacks), nor while waiting for a load (CACHE-5).
 *
 * A frame's life: FREE -(taken)-> PRIVATE -(published: in table and policy)-> CACHED -(evicted, dropped)-> RETIRED
 * -(its epoch has passed, its pins are gone)-> FREE. */
#ifndef KL_CACHE_PRIVATE_H
#define KL_CACHE_PRIVATE_H

#include "../base/counter.h"
#include "../os/thread.h"
#include "cache.h"
#include "table.h"

enum {
  KL_CACHE_CHUNK = KL_MEMORY_HUGE,
  KL_CACHE_CHUNK_BLOCKS = KL_CACHE_CHUNK / KL_CACHE_BLOCK,
  KL_CACHE_CHUNK_NOTES = KL_CACHE_CHUNK_BLOCKS * KL_CACHE_NOTE, /* bytes; whole pages of the system's */
  KL_CACHE_CLASSES = 12,
  KL_CACHE_RUN = KL_CACHE_CLASSES, /* as a class: a run of whole chunks */
  KL_CACHE_HIT_SHARDS = 8,
  KL_CACHE_HITS = 64
};

typedef struct kl_frame {
  kl_epoch_entry entry; /* first: reclaim casts back. While the frame is free, entry.next links it */
  uint64_t address;
  uint64_t checksum;     /* of the ref: a later get with another one was not told of a drop (asserted) */
  _Atomic uint32_t pins; /* KL_FRAME_PASSED and the count */
  uint32_t number;       /* first block in the arena */
  uint32_t node;         /* of the policy; while cached. Under the policy mutex */
  uint32_t chunk;
  _Atomic uint32_t state; /* kl_frame_state. Written under the policy mutex, or by the only owner */
} kl_frame;

/* What a lookup reads of a frame, in front of its note. Written before the frame can be found, but for the heat. */
typedef struct kl_cache_head {
  uint64_t address;     /* of the page in the frame */
  _Atomic uint8_t heat; /* of the eviction policy */
} kl_cache_head;
_Static_assert(sizeof(kl_cache_head) <= KL_CACHE_NOTE_HEAD, "a note does not begin behind its head");

typedef enum kl_frame_state { KL_FRAME_FREE, KL_FRAME_PRIVATE, KL_FRAME_CACHED, KL_FRAME_RETIRED } kl_frame_state;

#define KL_FRAME_PASSED (UINT32_C(1) << 31) /* the epoch of its eviction has passed: the last unpin frees it */

typedef enum kl_chunk_kind { KL_CHUNK_VOID, KL_CHUNK_SLAB, KL_CHUNK_RUN, KL_CHUNK_TAIL } kl_chunk_kind;

/* 2 MiB of the arena. VOID: no memory. SLAB: frames of one class. RUN: the first chunk of a large page, which TAILs
 * follow. Under the arena mutex; `frames` is also read for a frame that is not free. */
typedef struct kl_chunk {
  kl_frame *frames;
  kl_epoch_entry *free; /* frames */
  uint32_t count, free_count;
  uint32_t next, previous; /* of the class's chunks with a free frame; chunk number + 1 */
  uint32_t run_blocks;     /* RUN: 4 KiB blocks of memory */
  uint8_t kind, size_class;
  bool linked;
  bool leaving; /* is being emptied: its free frames are not given out */
} kl_chunk;

typedef struct kl_cache_loading kl_cache_loading;

typedef struct kl_partition { /* the writers' side of a partition of the page table */
  _Alignas(64) kl_mutex mutex;
  kl_cond loaded;
  kl_cache_loading *loads; /* under way */
} kl_partition;

typedef struct kl_hits { /* one shard of buffered hits: addresses */
  _Alignas(64) _Atomic uint32_t count;
  _Atomic uint64_t address[KL_CACHE_HITS];
} kl_hits;

struct kl_cache {
  kl_table table;
  unsigned char *base;
  unsigned char *notes;    /* KL_CACHE_NOTE for each block of the arena */
  _Atomic(uint32_t) *memo; /* see kl_cache_find */
  uint64_t memo_mask;      /* a power of two, less one */
  uint32_t heat_limit;

  kl_os *os;
  kl_allocator *allocator;
  kl_epoch *epoch;
  kl_cache_loader loader;
  uint64_t limit_most, pin_budget;
  _Atomic uint64_t limit;

  kl_hits *hits; /* NULL: the policy reads heat */
  kl_partition partitions[KL_TABLE_PARTITIONS];

  _Alignas(64) kl_mutex policy_mutex;
  kl_policy *policy;
  _Atomic uint32_t frames; /* in all chunks: the policy keeps a node ready for each */

  _Alignas(64) kl_mutex arena_mutex;
  kl_chunk *chunks;                   /* one for each 2 MiB of address space; untouched ones cost nothing */
  uint32_t chunk_count;               /* that address space allows */
  uint32_t chunk_lowest;              /* none below is VOID */
  uint32_t chunk_top;                 /* all from here on are VOID */
  uint32_t partial[KL_CACHE_CLASSES]; /* chunks with a free frame; number + 1 */
  uint64_t free_bytes[KL_CACHE_CLASSES];

  /* Bytes. `taken`: chunks, runs, descriptors. `leaving`: the part of it that goes once its readers have left.
   * `detached`: the part of `retired` that no reader but a pin keeps. */
  _Atomic uint64_t taken, leaving, cached, retired, detached, pinned;
  _Atomic uint64_t retired_frames;
  kl_counter loads, load_errors, waits, evictions, drops, retries, pin_refusals, pages;
};

/* ---- frames.c ---- */

uint32_t kl_cache_class_of(uint32_t length);                                 /* KL_CACHE_RUN above the largest class */
uint64_t kl_cache_frame_bytes(const kl_cache *cache, const kl_frame *frame); /* that it takes in its chunk */
static inline void *kl_cache_bytes_of(const kl_cache *cache, uint32_t number) {
  return cache->base + (uint64_t)number * KL_CACHE_BLOCK;
}
static inline kl_cache_head *kl_cache_head_of(const kl_cache *cache, uint32_t number) {
  return (kl_cache_head *)(void *)(cache->notes + (uint64_t)number * KL_CACHE_NOTE);
}
static inline _Atomic(uint32_t) *kl_cache_memo_of(const kl_cache *cache, uint64_t address) {
  return &cache->memo[address & cache->memo_mask];
}
/* The frame that a block of the arena belongs to; it is not free. */
kl_frame *kl_cache_frame_at(const kl_cache *cache, uint32_t number);

kl_status kl_cache_arena_open(kl_cache *cache, kl_error *err);
void kl_cache_arena_close(kl_cache *cache);
/* A free frame of what there is, without asking for memory; NULL: none. PRIVATE and the caller's. */
kl_frame *kl_cache_frame_take(kl_cache *cache, uint32_t size_class);
/* Adds a chunk, or a run for `length` (the frame comes back in *out_run, which is NULL otherwise), when that keeps
 * within `bound` bytes. KL_E_LIMIT: it would not (err is not filled). KL_E_NO_MEMORY. */
kl_status kl_cache_arena_grow(kl_cache *cache, uint32_t size_class, uint32_t length, uint64_t bound, kl_frame **out_run,
                              kl_error *err);
void kl_cache_frame_give(kl_cache *cache, kl_frame *frame);   /* a PRIVATE frame that was never seen: free again */
void kl_cache_frame_retire(kl_cache *cache, kl_frame *frame); /* no lock is held; in neither table nor policy */
uint64_t kl_cache_resident(const kl_cache *cache);
uint64_t kl_cache_coming(const kl_cache *cache); /* bytes of frames that are free as soon as their readers have left */
/* Under the policy mutex. Marks the emptiest chunk that nothing pins and that is not of the class `spared` as leaving,
 * and gives its cached frames, at most KL_CACHE_CHUNK_BLOCKS, which the caller unpublishes and retires; with the last
 * of them its memory goes back. One without any goes back at once. False: there is no such chunk. */
bool kl_cache_chunk_leave(kl_cache *cache, uint32_t spared, kl_frame **out_frames, uint32_t *out_count);
/* Bytes of free frames of the class. */
uint64_t kl_cache_free_bytes(kl_cache *cache, uint32_t size_class);

/* ---- evict.c ---- */

/* A PRIVATE frame for `length` bytes. As kl_cache_get. */
kl_status kl_cache_take(kl_cache *cache, uint32_t length, kl_frame **out_frame, kl_error *err);

/* What goes out of the table is gathered under the policy mutex and retired without it. */
typedef struct kl_leavers {
  kl_epoch_entry *frames, *arrays;
} kl_leavers;
/* Under the policy mutex: out of the table; out of the policy too, unless that has chosen it. */
void kl_cache_unpublish(kl_cache *cache, kl_frame *frame, bool chosen, kl_leavers *leavers);
void kl_cache_retire(kl_cache *cache, kl_leavers *leavers); /* no lock is held */

/* ---- load.c ---- */

kl_status kl_cache_load(kl_cache *cache, const kl_cache_ref *ref, const void *bytes, uint32_t flags,
                        const void **out_frame, kl_error *err);
/* Under the policy mutex and no partition's: a load of the address that is under way must not stay. */
void kl_cache_doom_loads(kl_cache *cache, uint64_t address);

/* ---- hits.c ---- */

void kl_cache_hit_buffer(kl_cache *cache, uint64_t address);
void kl_cache_hits_apply(kl_cache *cache); /* under the policy mutex */

static inline void kl_cache_mark(kl_cache *cache, kl_cache_head *head, uint64_t address) {
  if (cache->hits != NULL) {
    kl_cache_hit_buffer(cache, address);
    return;
  }
  /* One relaxed store, and none once the mark is there. One of two at a time may be lost: a hint that is a little
   * wrong. */
  uint8_t heat = atomic_load_explicit(&head->heat, memory_order_relaxed);
  if (heat < cache->heat_limit) atomic_store_explicit(&head->heat, (uint8_t)(heat + 1), memory_order_relaxed);
}

#endif
