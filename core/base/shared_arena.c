/* core/base/shared_arena.c: the arena that many threads allocate from at once. See arena.h.
 *
 * A shard has one current chunk. Taking memory is one fetch_add on the chunk's `used`: what it returns is ours alone
 * (invariant BASE-ARENA-1). A thread that finds the chunk full makes a larger one and installs it with a
 * compare-and-swap; of several that do so at once one wins, the others free theirs and try again in the winner's. Chunks
 * are only ever added until the whole arena is freed, so that no pointer can go stale and the compare-and-swap cannot
 * be fooled by reuse (no ABA). Nobody waits for anybody. */
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "arena.h"
#include "assert.h"

enum {
  SHARED_ARENA_SHARDS = 8, /* a power of two */
  SHARED_ARENA_FIRST_CHUNK = 4096,
  SHARED_ARENA_LARGEST_CHUNK = 2 << 20, /* most systems' huge page; a request above a quarter gets a chunk of its own */
  SHARED_ARENA_UNIT = 16                /* `used` moves in multiples of it */
};

typedef struct shared_arena_chunk {
  struct shared_arena_chunk *next; /* older one; fixed before the chunk is published */
  size_t size;                     /* of the whole chunk */
  bool used_before;                /* not zeroed: what is handed out is cleared then, while it is brought near anyway */
  _Atomic size_t used;             /* header included; passes `size` when the chunk is full */
} shared_arena_chunk;

/* One cache line each, so that threads of different shards do not disturb one another. */
typedef struct shared_arena_shard {
  _Alignas(64) _Atomic(shared_arena_chunk *) current;
  _Atomic(shared_arena_chunk *) large; /* chunks of one block each */
  _Atomic size_t bytes;
} shared_arena_shard;

struct kl_shared_arena {
  shared_arena_shard shards[SHARED_ARENA_SHARDS];
  kl_allocator *allocator;
};

kl_status kl_shared_arena_new(kl_allocator *allocator, kl_shared_arena **out_arena, kl_error *err) {
  kl_shared_arena *arena = kl_alloc_aligned(allocator, sizeof *arena, _Alignof(kl_shared_arena));
  if (arena == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for an arena (%zu bytes)", sizeof *arena);
  arena->allocator = allocator;
  for (int i = 0; i < SHARED_ARENA_SHARDS; i++) {
    atomic_init(&arena->shards[i].current, NULL);
    atomic_init(&arena->shards[i].large, NULL);
    atomic_init(&arena->shards[i].bytes, 0);
  }
  *out_arena = arena;
  return KL_OK;
}

static void shared_arena_free_chunks(kl_allocator *allocator, shared_arena_chunk *chunk) {
  while (chunk != NULL) {
    shared_arena_chunk *next = chunk->next;
    kl_free(allocator, chunk, chunk->size);
    chunk = next;
  }
}

void kl_shared_arena_free(kl_shared_arena *arena) {
  if (arena == NULL) return;
  for (int i = 0; i < SHARED_ARENA_SHARDS; i++) {
    /* Acquire: the chunks' headers were written by other threads. */
    shared_arena_free_chunks(arena->allocator, atomic_load_explicit(&arena->shards[i].current, memory_order_acquire));
    shared_arena_free_chunks(arena->allocator, atomic_load_explicit(&arena->shards[i].large, memory_order_acquire));
  }
  kl_free(arena->allocator, arena, sizeof *arena);
}

static shared_arena_chunk *shared_arena_chunk_new(kl_allocator *allocator, size_t size) {
  shared_arena_chunk *chunk = kl_reuse(allocator, size, SHARED_ARENA_UNIT);
  bool used_before = chunk != NULL;
  if (!used_before) chunk = kl_alloc_aligned(allocator, size, SHARED_ARENA_UNIT);
  if (chunk == NULL) return NULL;
  chunk->size = size;
  chunk->used_before = used_before;
  atomic_init(&chunk->used, (sizeof *chunk + SHARED_ARENA_UNIT - 1) & ~(size_t)(SHARED_ARENA_UNIT - 1));
  return chunk;
}

static void *shared_arena_align(char *from, size_t align) {
  return from + ((0 - (uintptr_t)from) & (uintptr_t)(align - 1));
}

/* A block too large for the common chunks. */
static void *shared_arena_alloc_large(kl_shared_arena *arena, shared_arena_shard *shard, size_t reserve, size_t align) {
  if (reserve > SIZE_MAX - SHARED_ARENA_LARGEST_CHUNK) return NULL;
  size_t header = (sizeof(shared_arena_chunk) + SHARED_ARENA_UNIT - 1) & ~(size_t)(SHARED_ARENA_UNIT - 1);
  shared_arena_chunk *chunk = shared_arena_chunk_new(arena->allocator, header + reserve);
  if (chunk == NULL) return NULL;
  atomic_fetch_add_explicit(&shard->bytes, chunk->size, memory_order_relaxed);
  chunk->next = atomic_load_explicit(&shard->large, memory_order_relaxed);
  /* Release: whoever frees the arena sees the header. */
  while (!atomic_compare_exchange_weak_explicit(&shard->large, &chunk->next, chunk, memory_order_release,
                                                memory_order_relaxed)) {
  }
  if (chunk->used_before) memset((char *)chunk + header, 0, reserve);
  return shared_arena_align((char *)chunk + header, align);
}

/* Installs a chunk with room for `reserve` after `full` has run out. False: no memory. */
static bool shared_arena_grow(kl_shared_arena *arena, shared_arena_shard *shard, shared_arena_chunk *full,
                              size_t reserve) {
  /* Often another thread has been faster; this spares an allocation. The compare-and-swap below is what decides. */
  if (atomic_load_explicit(&shard->current, memory_order_relaxed) != full) return true;
  size_t size = full == NULL ? SHARED_ARENA_FIRST_CHUNK : full->size;
  if (full != NULL && size < SHARED_ARENA_LARGEST_CHUNK) size *= 2;
  while (size < reserve + 2 * sizeof(shared_arena_chunk)) size *= 2;
  shared_arena_chunk *chunk = shared_arena_chunk_new(arena->allocator, size);
  if (chunk == NULL) return false;
  chunk->next = full;
  /* Release publishes the header. On failure another thread has installed one. */
  if (atomic_compare_exchange_strong_explicit(&shard->current, &full, chunk, memory_order_release,
                                              memory_order_relaxed)) {
    atomic_fetch_add_explicit(&shard->bytes, size, memory_order_relaxed);
  } else {
    kl_free(arena->allocator, chunk, size);
  }
  return true;
}

void *kl_shared_arena_alloc(kl_shared_arena *arena, uint32_t hint, size_t size, size_t align) {
  KL_ASSERT(align != 0 && (align & (align - 1)) == 0 && align <= 64);
  if (size == 0) size = 1;
  if (size > SIZE_MAX / 2) return NULL;
  /* Chunks are aligned to SHARED_ARENA_UNIT, and so is `used`; a wider alignment reserves what moving up may cost. */
  size_t reserve = (size + SHARED_ARENA_UNIT - 1) & ~(size_t)(SHARED_ARENA_UNIT - 1);
  if (align > SHARED_ARENA_UNIT) reserve += align - SHARED_ARENA_UNIT;
  shared_arena_shard *shard = &arena->shards[hint & (SHARED_ARENA_SHARDS - 1)];
  if (reserve > SHARED_ARENA_LARGEST_CHUNK / 4) return shared_arena_alloc_large(arena, shard, reserve, align);
  for (;;) {
    /* Acquire: pairs with the release that published the chunk; its size and zeroed bytes are visible. */
    shared_arena_chunk *chunk = atomic_load_explicit(&shard->current, memory_order_acquire);
    if (chunk != NULL) {
      /* Relaxed: the number alone makes the range ours; what we write there is published by whoever links it.
       * `used` grows past `size` by one failed request per thread and growth, far from overflow. */
      size_t start = atomic_fetch_add_explicit(&chunk->used, reserve, memory_order_relaxed);
      if (start <= chunk->size && reserve <= chunk->size - start) {
        if (chunk->used_before) memset((char *)chunk + start, 0, reserve);
        return shared_arena_align((char *)chunk + start, align);
      }
    }
    if (!shared_arena_grow(arena, shard, chunk, reserve)) return NULL;
  }
}

size_t kl_shared_arena_bytes(const kl_shared_arena *arena) {
  size_t bytes = sizeof *arena;
  for (int i = 0; i < SHARED_ARENA_SHARDS; i++) {
    bytes += atomic_load_explicit(&arena->shards[i].bytes, memory_order_relaxed);
  }
  return bytes;
}
