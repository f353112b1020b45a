/* core/cache/frames.c: the arena: chunks of 2 MiB, cut into frames of one size class, or runs of them for large pages.
 */
#include "../base/assert.h"
#include "cache_private.h"

/* Up to 64 KiB by doubling, as pages are; then finer, for values in extents: at most a third of a frame is unused. */
static const uint16_t frames_class_blocks[KL_CACHE_CLASSES] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256};

/* Below this much memory chunks get small pages: a small database should not cost 2 MiB for each size of page it has.
 */
#define FRAMES_HUGE_FROM (UINT64_C(8) << 20)
#define FRAMES_ADDRESS_SPACE_LEAST (UINT64_C(16) << 30)
#define FRAMES_LIMIT_MOST (UINT64_C(4) << 40) /* frame numbers have 32 bits, and address space is twice the limit */

uint32_t kl_cache_class_of(uint32_t length) {
  uint32_t blocks = (length + KL_CACHE_BLOCK - 1) / KL_CACHE_BLOCK, c = 0;
  while (c < KL_CACHE_CLASSES && frames_class_blocks[c] < blocks) c++;
  return c;
}

static kl_chunk *frames_chunk_of(const kl_cache *cache, const kl_frame *frame) {
  return &cache->chunks[frame->chunk];
}

static uint32_t frames_blocks(const kl_chunk *chunk) {
  return chunk->kind == KL_CHUNK_SLAB ? frames_class_blocks[chunk->size_class] : chunk->run_blocks;
}

uint64_t kl_cache_frame_bytes(const kl_cache *cache, const kl_frame *frame) {
  return (uint64_t)frames_blocks(frames_chunk_of(cache, frame)) * KL_CACHE_BLOCK;
}

kl_frame *kl_cache_frame_at(const kl_cache *cache, uint32_t number) {
  const kl_chunk *chunk = &cache->chunks[number / KL_CACHE_CHUNK_BLOCKS];
  if (chunk->kind != KL_CHUNK_SLAB) return chunk->frames; /* a tail has its run's */
  return &chunk->frames[number % KL_CACHE_CHUNK_BLOCKS / frames_class_blocks[chunk->size_class]];
}

/* ---- the arena as a whole ---- */

static uint64_t frames_chunk_table_bytes(uint32_t chunk_count) {
  return ((uint64_t)chunk_count * sizeof(kl_chunk) + KL_MEMORY_PAGE - 1) / KL_MEMORY_PAGE * KL_MEMORY_PAGE;
}

static uint64_t frames_notes_bytes(const kl_cache *cache) {
  return (uint64_t)cache->chunk_count * KL_CACHE_CHUNK_NOTES;
}

/* Twice the limit and room for one page of the largest size, so that runs find a gap between what is scattered. */
static uint32_t frames_chunks_for(uint64_t limit) {
  return (uint32_t)(2 * (limit / KL_CACHE_CHUNK) + KL_CACHE_PAGE_MAX / KL_CACHE_CHUNK + 1);
}

static uint32_t frames_per_slab(uint32_t size_class) {
  return (uint32_t)KL_CACHE_CHUNK_BLOCKS / frames_class_blocks[size_class];
}

static uint64_t frames_memo_bytes(const kl_cache *cache) {
  return (cache->memo_mask + 1) * sizeof(uint32_t);
}

/* Twice as many places as the limit has blocks. It is address space until it is used, and a share of it is counted with
 * each chunk. */
static kl_status frames_open_memo(kl_cache *cache, uint64_t limit, kl_error *err) {
  uint64_t places = KL_MEMORY_PAGE / sizeof(uint32_t);
  void *memory = NULL;
  while (places < 2 * (limit / KL_CACHE_BLOCK)) places *= 2;
  kl_status status = kl_os_map(cache->os, places * sizeof(uint32_t), &memory, err);
  if (status != KL_OK) return status;
  cache->memo = memory;
  cache->memo_mask = places - 1;
  return kl_os_commit(cache->os, memory, frames_memo_bytes(cache), false, err);
}

kl_status kl_cache_arena_open(kl_cache *cache, kl_error *err) {
  uint64_t limit = atomic_load_explicit(&cache->limit, memory_order_relaxed);
  bool asked = cache->limit_most != 0;
  uint64_t most = asked ? cache->limit_most : limit > UINT64_MAX / 4 ? UINT64_MAX : 4 * limit;
  if (!asked && most < FRAMES_ADDRESS_SPACE_LEAST) most = FRAMES_ADDRESS_SPACE_LEAST;
  if (!asked && most > FRAMES_LIMIT_MOST && limit <= FRAMES_LIMIT_MOST) most = FRAMES_LIMIT_MOST;
  if (limit < KL_CACHE_LIMIT_MIN || most < limit || most > FRAMES_LIMIT_MOST) {
    return kl_fail(err, KL_E_INVALID,
                   "a cache limit of %llu bytes (at most %llu later) is refused: %llu to %llu are possible",
                   (unsigned long long)limit, (unsigned long long)most, (unsigned long long)KL_CACHE_LIMIT_MIN,
                   (unsigned long long)FRAMES_LIMIT_MOST);
  }
  void *memory = NULL;
  kl_status status;
  for (;;) {
    cache->chunk_count = frames_chunks_for(most);
    status = kl_os_map(cache->os, (uint64_t)cache->chunk_count * KL_CACHE_CHUNK, &memory, err);
    /* A process whose address space is limited: what nobody asked for is only nice to have. */
    if (status == KL_OK || asked || most / 2 < limit) break;
    most /= 2;
  }
  if (status != KL_OK) return status;
  cache->base = memory;
  cache->limit_most = most;
  uint64_t size = frames_chunk_table_bytes(cache->chunk_count);
  status = kl_os_map(cache->os, size, &memory, err);
  if (status != KL_OK) return status;
  cache->chunks = memory;
  status = kl_os_commit(cache->os, memory, size, false, err);
  if (status == KL_OK) status = kl_os_map(cache->os, frames_notes_bytes(cache), &memory, err);
  if (status != KL_OK) return status;
  cache->notes = memory;
  return frames_open_memo(cache, limit, err);
}

/* Bytes of notes of a chunk; of a run only the head is used. */
static uint64_t frames_chunk_notes(uint32_t size_class) {
  return size_class < KL_CACHE_RUN ? KL_CACHE_CHUNK_NOTES : KL_MEMORY_PAGE;
}

/* What a chunk, or a run, takes beside its memory and descriptors: its notes, and its part of the memo. */
static uint64_t frames_chunk_aside(uint32_t size_class) {
  return frames_chunk_notes(size_class) + sizeof(uint32_t) * 4 * KL_CACHE_CHUNK_BLOCKS;
}

static unsigned char *frames_notes_of(const kl_cache *cache, uint32_t chunk) {
  return cache->notes + (uint64_t)chunk * KL_CACHE_CHUNK_NOTES;
}

static uint64_t frames_chunk_taken(const kl_chunk *chunk) {
  uint64_t bytes = chunk->kind == KL_CHUNK_SLAB ? KL_CACHE_CHUNK : (uint64_t)chunk->run_blocks * KL_CACHE_BLOCK;
  return bytes + chunk->count * sizeof(kl_frame) + frames_chunk_aside(chunk->size_class);
}

void kl_cache_arena_close(kl_cache *cache) {
  for (uint32_t i = 0; i < cache->chunk_top; i++) {
    kl_chunk *chunk = &cache->chunks[i];
    if (chunk->kind != KL_CHUNK_SLAB && chunk->kind != KL_CHUNK_RUN) continue;
    kl_free(cache->allocator, chunk->frames, chunk->count * sizeof(kl_frame));
  }
  if (cache->notes != NULL) kl_os_unmap(cache->os, cache->notes, frames_notes_bytes(cache));
  if (cache->memo != NULL) kl_os_unmap(cache->os, (void *)cache->memo, frames_memo_bytes(cache));
  kl_os_unmap(cache->os, cache->chunks, frames_chunk_table_bytes(cache->chunk_count));
  kl_os_unmap(cache->os, cache->base, (uint64_t)cache->chunk_count * KL_CACHE_CHUNK);
}

uint64_t kl_cache_resident(const kl_cache *cache) {
  return atomic_load_explicit(&cache->taken, memory_order_relaxed) +
         atomic_load_explicit(&cache->table.bytes, memory_order_relaxed) + kl_policy_bytes(cache->policy) +
         sizeof *cache + (cache->hits != NULL ? KL_CACHE_HIT_SHARDS * sizeof(kl_hits) : 0);
}

/* ---- chunks; all under the arena mutex ---- */

static void frames_link(kl_cache *cache, uint32_t number) {
  kl_chunk *chunk = &cache->chunks[number];
  uint32_t *head = &cache->partial[chunk->size_class];
  chunk->previous = 0;
  chunk->next = *head;
  if (*head != 0) cache->chunks[*head - 1].previous = number + 1;
  *head = number + 1;
  chunk->linked = true;
}

static void frames_unlink(kl_cache *cache, uint32_t number) {
  kl_chunk *chunk = &cache->chunks[number];
  if (!chunk->linked) return;
  if (chunk->previous != 0) {
    cache->chunks[chunk->previous - 1].next = chunk->next;
  } else {
    cache->partial[chunk->size_class] = chunk->next;
  }
  if (chunk->next != 0) cache->chunks[chunk->next - 1].previous = chunk->previous;
  chunk->linked = false;
}

/* Its free frames are not given out any more. */
static void frames_close_chunk(kl_cache *cache, uint32_t number) {
  kl_chunk *chunk = &cache->chunks[number];
  if (chunk->linked)
    cache->free_bytes[chunk->size_class] -= (uint64_t)chunk->free_count * frames_blocks(chunk) * KL_CACHE_BLOCK;
  frames_unlink(cache, number);
  chunk->leaving = true;
  atomic_fetch_add_explicit(&cache->leaving, frames_chunk_taken(chunk), memory_order_relaxed);
}

/* All frames of a leaving chunk are free: its memory goes back. */
static void frames_release(kl_cache *cache, uint32_t number) {
  kl_chunk *chunk = &cache->chunks[number];
  KL_ASSERT(chunk->leaving && !chunk->linked && chunk->free_count == chunk->count);
  uint64_t taken = frames_chunk_taken(chunk);
  uint32_t blocks = chunk->kind == KL_CHUNK_SLAB ? KL_CACHE_CHUNK_BLOCKS : chunk->run_blocks;
  uint32_t chunks = (blocks + KL_CACHE_CHUNK_BLOCKS - 1) / KL_CACHE_CHUNK_BLOCKS;
  kl_os_release(cache->os, kl_cache_bytes_of(cache, number * KL_CACHE_CHUNK_BLOCKS), (uint64_t)blocks * KL_CACHE_BLOCK);
  kl_os_release(cache->os, frames_notes_of(cache, number), frames_chunk_notes(chunk->size_class));
  kl_free(cache->allocator, chunk->frames, chunk->count * sizeof(kl_frame));
  atomic_fetch_sub_explicit(&cache->frames, chunk->count, memory_order_relaxed);
  for (uint32_t i = 0; i < chunks; i++) cache->chunks[number + i] = (kl_chunk){0};
  if (number < cache->chunk_lowest) cache->chunk_lowest = number;
  while (cache->chunk_top > 0 && cache->chunks[cache->chunk_top - 1].kind == KL_CHUNK_VOID) cache->chunk_top--;
  atomic_fetch_sub_explicit(&cache->leaving, taken, memory_order_relaxed);
  atomic_fetch_sub_explicit(&cache->taken, taken, memory_order_relaxed);
}

/* The first gap of so many chunks; chunk_count: there is none. */
static uint32_t frames_find_gap(kl_cache *cache, uint32_t wanted) {
  uint32_t first = cache->chunk_lowest;
  while (first < cache->chunk_top && cache->chunks[first].kind != KL_CHUNK_VOID) first++;
  cache->chunk_lowest = first;
  for (uint32_t i = first; i < cache->chunk_top && i - first < wanted; i++) {
    if (cache->chunks[i].kind != KL_CHUNK_VOID) first = i + 1;
  }
  return first <= cache->chunk_count - wanted ? first : cache->chunk_count;
}

static void frames_push_free(kl_chunk *chunk, kl_frame *frame) {
  atomic_store_explicit(&frame->pins, 0, memory_order_relaxed);
  atomic_store_explicit(&frame->state, KL_FRAME_FREE, memory_order_relaxed);
  frame->entry.next = chunk->free;
  chunk->free = &frame->entry;
  chunk->free_count++;
}

static void frames_free_locked(kl_cache *cache, kl_frame *frame) {
  uint32_t number = frame->chunk;
  kl_chunk *chunk = &cache->chunks[number];
  frames_push_free(chunk, frame);
  uint64_t limit = atomic_load_explicit(&cache->limit, memory_order_relaxed);
  if (!chunk->leaving) {
    bool whole = chunk->free_count == chunk->count;
    if (chunk->kind == KL_CHUNK_SLAB) {
      cache->free_bytes[chunk->size_class] += (uint64_t)frames_blocks(chunk) * KL_CACHE_BLOCK;
      if (!chunk->linked) frames_link(cache, number);
    }
    /* A large page's memory is of no use to a page of another length. */
    if (whole && (chunk->kind == KL_CHUNK_RUN || kl_cache_resident(cache) > limit)) frames_close_chunk(cache, number);
  }
  if (chunk->leaving && chunk->free_count == chunk->count) frames_release(cache, number);
}

/* ---- frames ---- */

static void frames_free(kl_cache *cache, kl_frame *frame) {
  kl_mutex_lock(&cache->arena_mutex);
  frames_free_locked(cache, frame);
  kl_mutex_unlock(&cache->arena_mutex);
}

kl_frame *kl_cache_frame_take(kl_cache *cache, uint32_t size_class) {
  kl_frame *frame = NULL;
  kl_mutex_lock(&cache->arena_mutex);
  uint32_t head = cache->partial[size_class];
  if (head != 0) {
    kl_chunk *chunk = &cache->chunks[head - 1];
    frame = (kl_frame *)(void *)chunk->free;
    chunk->free = frame->entry.next;
    chunk->free_count--;
    cache->free_bytes[size_class] -= (uint64_t)frames_blocks(chunk) * KL_CACHE_BLOCK;
    if (chunk->free_count == 0) frames_unlink(cache, head - 1);
    atomic_store_explicit(&frame->state, KL_FRAME_PRIVATE, memory_order_relaxed);
  }
  kl_mutex_unlock(&cache->arena_mutex);
  return frame;
}

uint64_t kl_cache_free_bytes(kl_cache *cache, uint32_t size_class) {
  if (size_class >= KL_CACHE_CLASSES) return 0;
  kl_mutex_lock(&cache->arena_mutex);
  uint64_t bytes = cache->free_bytes[size_class];
  kl_mutex_unlock(&cache->arena_mutex);
  return bytes;
}

void kl_cache_frame_give(kl_cache *cache, kl_frame *frame) {
  KL_ASSERT(atomic_load_explicit(&frame->state, memory_order_relaxed) == KL_FRAME_PRIVATE);
  frames_free(cache, frame);
}

/* Neither reader nor pin has the frame any more. */
static void frames_let_go(kl_cache *cache, kl_frame *frame, uint64_t bytes) {
  atomic_fetch_sub_explicit(&cache->retired, bytes, memory_order_relaxed);
  atomic_fetch_sub_explicit(&cache->detached, bytes, memory_order_relaxed);
  frames_free(cache, frame);
}

uint64_t kl_cache_coming(const kl_cache *cache) {
  uint64_t detached = atomic_load_explicit(&cache->detached, memory_order_relaxed);
  uint64_t retired = atomic_load_explicit(&cache->retired, memory_order_relaxed);
  return retired > detached ? retired - detached : 0;
}

/* No reader can see the frame's page any more; whoever pinned it still does (CACHE-2). */
static void frames_reclaim(kl_epoch_entry *entry, void *context) {
  kl_cache *cache = context;
  kl_frame *frame = (kl_frame *)(void *)entry;
  uint64_t bytes = kl_cache_frame_bytes(cache, frame);
  atomic_fetch_add_explicit(&cache->detached, bytes, memory_order_relaxed); /* before an unpin can take it back */
  /* One of this and the last unpin finds the other's mark: acquire-release, so that what a pin's holder read comes
   * before the frame is used again. */
  if (atomic_fetch_or_explicit(&frame->pins, KL_FRAME_PASSED, memory_order_acq_rel) == 0)
    frames_let_go(cache, frame, bytes);
  /* Release, and last: kl_cache_free waits for 0 and then frees what we used. */
  atomic_fetch_sub_explicit(&cache->retired_frames, 1, memory_order_release);
}

void kl_cache_frame_retire(kl_cache *cache, kl_frame *frame) {
  uint64_t bytes = kl_cache_frame_bytes(cache, frame);
  kl_chunk *chunk = frames_chunk_of(cache, frame);
  if (chunk->kind == KL_CHUNK_RUN) { /* goes back as a whole, so it counts as on its way from now on */
    kl_mutex_lock(&cache->arena_mutex);
    if (!chunk->leaving) frames_close_chunk(cache, frame->chunk);
    kl_mutex_unlock(&cache->arena_mutex);
  }
  atomic_fetch_sub_explicit(&cache->cached, bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&cache->retired, bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&cache->retired_frames, 1, memory_order_relaxed);
  frame->entry.reclaim = frames_reclaim;
  frame->entry.context = cache;
  kl_epoch_retire(cache->epoch, &frame->entry);
}

/* ---- growth ---- */

/* Commits the memory of new chunks and enters them. */
static kl_status frames_enter(kl_cache *cache, uint32_t number, uint32_t size_class, uint32_t blocks, kl_frame *frames,
                              kl_error *err) {
  unsigned char *memory = kl_cache_bytes_of(cache, number * KL_CACHE_CHUNK_BLOCKS);
  bool huge = atomic_load_explicit(&cache->taken, memory_order_relaxed) > FRAMES_HUGE_FROM;
  uint64_t whole = (uint64_t)blocks / KL_CACHE_CHUNK_BLOCKS * KL_CACHE_CHUNK, all = (uint64_t)blocks * KL_CACHE_BLOCK;
  kl_status status = whole != 0 ? kl_os_commit(cache->os, memory, whole, huge, err) : KL_OK;
  /* The end of a run: only what it needs, and so in small pages. */
  if (status == KL_OK && all > whole) status = kl_os_commit(cache->os, memory + whole, all - whole, false, err);
  if (status == KL_OK) {
    status = kl_os_commit(cache->os, frames_notes_of(cache, number), frames_chunk_notes(size_class), false, err);
  }
  if (status != KL_OK) return status;
  bool slab = size_class < KL_CACHE_RUN;
  uint32_t count = slab ? frames_per_slab(size_class) : 1;
  uint32_t chunks = (blocks + KL_CACHE_CHUNK_BLOCKS - 1) / KL_CACHE_CHUNK_BLOCKS;
  for (uint32_t i = 0; i < chunks; i++) {
    kl_chunk *chunk = &cache->chunks[number + i];
    *chunk = (kl_chunk){.frames = frames, .count = i == 0 ? count : 0, .run_blocks = slab ? 0 : blocks};
    chunk->kind = slab ? KL_CHUNK_SLAB : i == 0 ? KL_CHUNK_RUN : KL_CHUNK_TAIL;
    chunk->size_class = (uint8_t)size_class;
  }
  if (number + chunks > cache->chunk_top) cache->chunk_top = number + chunks;
  for (uint32_t i = count; i-- > 0;) {
    frames[i].chunk = number;
    frames[i].number = number * KL_CACHE_CHUNK_BLOCKS + i * (slab ? frames_class_blocks[size_class] : 0);
    if (slab) {
      frames_push_free(&cache->chunks[number], &frames[i]);
    } else {
      atomic_store_explicit(&frames[i].state, KL_FRAME_PRIVATE, memory_order_relaxed);
    }
  }
  if (slab) {
    cache->free_bytes[size_class] += (uint64_t)count * frames_class_blocks[size_class] * KL_CACHE_BLOCK;
    frames_link(cache, number);
  }
  return KL_OK;
}

/* Makes the policy ready for `count` more pages. */
static bool frames_reserve_nodes(kl_cache *cache, uint32_t count) {
  kl_mutex_lock(&cache->policy_mutex);
  uint32_t frames = atomic_fetch_add_explicit(&cache->frames, count, memory_order_relaxed) + count;
  bool ready = kl_policy_reserve(cache->policy, frames);
  kl_mutex_unlock(&cache->policy_mutex);
  return ready;
}

static kl_status frames_grow_locked(kl_cache *cache, uint32_t size_class, uint32_t blocks, uint64_t bytes,
                                    uint64_t bound, kl_frame *frames, kl_error *err) {
  if (kl_cache_resident(cache) + bytes > bound) return KL_E_LIMIT;
  uint32_t chunks = (blocks + KL_CACHE_CHUNK_BLOCKS - 1) / KL_CACHE_CHUNK_BLOCKS;
  uint32_t number = frames_find_gap(cache, chunks);
  if (number == cache->chunk_count) return KL_E_LIMIT;
  kl_status status = frames_enter(cache, number, size_class, blocks, frames, err);
  if (status == KL_OK) atomic_fetch_add_explicit(&cache->taken, bytes, memory_order_relaxed);
  return status;
}

kl_status kl_cache_arena_grow(kl_cache *cache, uint32_t size_class, uint32_t length, uint64_t bound, kl_frame **out_run,
                              kl_error *err) {
  bool slab = size_class < KL_CACHE_RUN;
  uint32_t blocks = slab ? KL_CACHE_CHUNK_BLOCKS : (length + KL_CACHE_BLOCK - 1) / KL_CACHE_BLOCK;
  uint32_t count = slab ? frames_per_slab(size_class) : 1;
  uint64_t descriptors = count * sizeof(kl_frame);
  uint64_t bytes = (uint64_t)blocks * KL_CACHE_BLOCK + descriptors + frames_chunk_aside(size_class);
  *out_run = NULL;
  if (kl_cache_resident(cache) + bytes > bound) return KL_E_LIMIT; /* again under the mutex; here it saves the work */
  kl_frame *frames = kl_alloc(cache->allocator, descriptors);
  bool ready = frames_reserve_nodes(cache, count);
  kl_status status = KL_OK;
  if (frames == NULL || !ready) {
    status = kl_fail(err, KL_E_NO_MEMORY, "no memory for the descriptors of %u cache frames; free some", count);
  } else {
    kl_mutex_lock(&cache->arena_mutex);
    status = frames_grow_locked(cache, size_class, blocks, bytes, bound, frames, err);
    kl_mutex_unlock(&cache->arena_mutex);
  }
  if (status == KL_OK) {
    if (!slab) *out_run = frames;
    return KL_OK;
  }
  kl_free(cache->allocator, frames, descriptors);
  atomic_fetch_sub_explicit(&cache->frames, count, memory_order_relaxed);
  return status;
}

/* ---- emptying a chunk; under the arena mutex ---- */

/* Bytes of its frames that hold something; UINT64_MAX: it cannot be emptied now. */
static uint64_t frames_in_use(const kl_chunk *chunk) {
  if (chunk->leaving || (chunk->kind != KL_CHUNK_SLAB && chunk->kind != KL_CHUNK_RUN)) return UINT64_MAX;
  return (uint64_t)(chunk->count - chunk->free_count) * frames_blocks(chunk) * KL_CACHE_BLOCK;
}

static bool frames_can_leave(const kl_chunk *chunk) {
  for (uint32_t i = 0; i < chunk->count; i++) {
    const kl_frame *frame = &chunk->frames[i];
    if ((atomic_load_explicit(&frame->pins, memory_order_relaxed) & ~KL_FRAME_PASSED) != 0) return false;
    if (atomic_load_explicit(&frame->state, memory_order_relaxed) == KL_FRAME_PRIVATE) return false;
  }
  return true;
}

bool kl_cache_chunk_leave(kl_cache *cache, uint32_t spared, kl_frame **out_frames, uint32_t *out_count) {
  uint32_t best = 0;
  uint64_t least = UINT64_MAX;
  kl_mutex_lock(&cache->arena_mutex);
  for (uint32_t i = 0; i < cache->chunk_top && least > 0; i++) {
    const kl_chunk *chunk = &cache->chunks[i];
    uint64_t used = frames_in_use(chunk);
    if (used >= least || chunk->size_class == spared || !frames_can_leave(chunk)) continue;
    best = i;
    least = used;
  }
  *out_count = 0;
  if (least != UINT64_MAX) {
    kl_chunk *chunk = &cache->chunks[best];
    frames_close_chunk(cache, best);
    /* Cached frames stay so while the policy mutex is held; and as long as there is one, the chunk stays. */
    for (uint32_t i = 0; i < chunk->count; i++) {
      if (atomic_load_explicit(&chunk->frames[i].state, memory_order_relaxed) == KL_FRAME_CACHED) {
        out_frames[(*out_count)++] = &chunk->frames[i];
      }
    }
    if (chunk->free_count == chunk->count) frames_release(cache, best);
  }
  kl_mutex_unlock(&cache->arena_mutex);
  return least != UINT64_MAX;
}

/* ---- pins ---- */

static kl_frame *frames_of_pointer(const kl_cache *cache, const void *pointer) {
  uint64_t offset = (uint64_t)((const unsigned char *)pointer - cache->base);
  KL_ASSERT(offset < (uint64_t)cache->chunk_count * KL_CACHE_CHUNK);
  return kl_cache_frame_at(cache, (uint32_t)(offset / KL_CACHE_BLOCK));
}

static bool frames_charge_pin(kl_cache *cache, uint64_t bytes) {
  uint64_t limit = atomic_load_explicit(&cache->limit, memory_order_relaxed);
  uint64_t budget = cache->pin_budget != 0 ? cache->pin_budget : limit / 4;
  if (atomic_fetch_add_explicit(&cache->pinned, bytes, memory_order_relaxed) + bytes <= budget) return true;
  atomic_fetch_sub_explicit(&cache->pinned, bytes, memory_order_relaxed);
  return false;
}

bool kl_cache_pin(kl_cache *cache, const void *pointer) {
  kl_frame *frame = frames_of_pointer(cache, pointer);
  uint64_t bytes = kl_cache_frame_bytes(cache, frame);
  uint32_t pins = atomic_load_explicit(&frame->pins, memory_order_relaxed);
  bool charged = false;
  for (;;) {
    /* The budget counts frames: whoever takes the count from 0 to 1 charges, whoever takes it back to 0 discharges. */
    if ((pins & ~KL_FRAME_PASSED) == 0 && !charged) {
      if (!frames_charge_pin(cache, bytes)) {
        kl_counter_add(&cache->pin_refusals, 1);
        return false;
      }
      charged = true;
    }
    /* Relaxed: the epoch that the caller is in keeps the frame until the count is visible to its reclamation. */
    if (atomic_compare_exchange_weak_explicit(&frame->pins, &pins, pins + 1, memory_order_relaxed,
                                              memory_order_relaxed)) {
      break;
    }
  }
  if (charged && (pins & ~KL_FRAME_PASSED) != 0) atomic_fetch_sub_explicit(&cache->pinned, bytes, memory_order_relaxed);
  return true;
}

void kl_cache_unpin(kl_cache *cache, const void *pointer) {
  kl_frame *frame = frames_of_pointer(cache, pointer);
  uint64_t bytes = kl_cache_frame_bytes(cache, frame);
  /* Acquire-release: see frames_reclaim. */
  uint32_t before = atomic_fetch_sub_explicit(&frame->pins, 1, memory_order_acq_rel);
  KL_ASSERT((before & ~KL_FRAME_PASSED) != 0);
  if ((before & ~KL_FRAME_PASSED) != 1) return;
  atomic_fetch_sub_explicit(&cache->pinned, bytes, memory_order_relaxed);
  if ((before & KL_FRAME_PASSED) == 0) return; /* still cached, or its epoch has not passed */
  frames_let_go(cache, frame, bytes);
}
