/* core/base/arena.c: the arena of one thread. See arena.h; the concurrent one is in shared_arena.c. */
#include "arena.h"

#include <string.h>

#include "assert.h"

enum {
  ARENA_FIRST_CHUNK = 1024,
  ARENA_LARGEST_CHUNK = 256 * 1024 /* a larger request gets a chunk of exactly its size */
};

struct kl_arena_chunk {
  kl_arena_chunk *next;
  size_t size; /* of the whole chunk, this header included */
  size_t used; /* likewise; everything from here on is still zero */
};

void kl_arena_init(kl_arena *arena, kl_allocator *allocator) {
  arena->allocator = allocator;
  arena->chunks = NULL;
  arena->next_chunk_size = ARENA_FIRST_CHUNK;
  arena->bytes_reserved = 0;
}

/* The place in `chunk` for such a block, or NULL when it does not fit. Aligns the address, not the offset, because a
 * chunk itself is only aligned to max_align_t. */
static void *arena_carve(kl_arena_chunk *chunk, size_t size, size_t align) {
  uintptr_t base = (uintptr_t)chunk;
  size_t start = (size_t)(((base + chunk->used + (align - 1)) & ~(uintptr_t)(align - 1)) - base);
  if (start > chunk->size || size > chunk->size - start) return NULL;
  chunk->used = start + size;
  return (char *)chunk + start;
}

static kl_arena_chunk *arena_chunk_new(kl_arena *arena, size_t size) {
  kl_arena_chunk *chunk = kl_alloc(arena->allocator, size);
  if (chunk == NULL) return NULL;
  chunk->size = size;
  chunk->used = sizeof *chunk;
  arena->bytes_reserved += size;
  return chunk;
}

void *kl_arena_alloc(kl_arena *arena, size_t size, size_t align) {
  KL_ASSERT(align != 0 && (align & (align - 1)) == 0 && align <= 64);
  if (size == 0) size = 1; /* so that two blocks never have one address */
  if (arena->chunks != NULL) {
    void *block = arena_carve(arena->chunks, size, align);
    if (block != NULL) return block;
  }
  if (size > SIZE_MAX - sizeof(kl_arena_chunk) - align) return NULL;
  size_t needed = sizeof(kl_arena_chunk) + align + size;
  if (needed > ARENA_LARGEST_CHUNK) {
    kl_arena_chunk *own = arena_chunk_new(arena, needed);
    if (own == NULL) return NULL;
    if (arena->chunks == NULL) {
      arena->chunks = own;
    } else { /* behind the newest, whose remaining room stays in use */
      own->next = arena->chunks->next;
      arena->chunks->next = own;
    }
    return arena_carve(own, size, align);
  }
  size_t chunk_size = arena->next_chunk_size;
  while (chunk_size < needed) chunk_size *= 2;
  kl_arena_chunk *chunk = arena_chunk_new(arena, chunk_size);
  if (chunk == NULL) return NULL;
  chunk->next = arena->chunks;
  arena->chunks = chunk;
  arena->next_chunk_size = chunk_size < ARENA_LARGEST_CHUNK ? chunk_size * 2 : ARENA_LARGEST_CHUNK;
  return arena_carve(chunk, size, align);
}

static void arena_free_chunks(kl_arena *arena, kl_arena_chunk *chunk) {
  while (chunk != NULL) {
    kl_arena_chunk *next = chunk->next;
    arena->bytes_reserved -= chunk->size;
    kl_free(arena->allocator, chunk, chunk->size);
    chunk = next;
  }
}

void kl_arena_reset(kl_arena *arena) {
  kl_arena_chunk *keep = arena->chunks;
  if (keep == NULL) return;
  arena_free_chunks(arena, keep->next);
  keep->next = NULL;
  if (keep->size > ARENA_LARGEST_CHUNK) { /* made for one large block: not worth keeping */
    arena->chunks = NULL;
    arena_free_chunks(arena, keep);
    return;
  }
  memset((char *)keep + sizeof *keep, 0, keep->used - sizeof *keep);
  keep->used = sizeof *keep;
}

void kl_arena_destroy(kl_arena *arena) {
  arena_free_chunks(arena, arena->chunks);
  arena->chunks = NULL;
  arena->next_chunk_size = ARENA_FIRST_CHUNK;
}
