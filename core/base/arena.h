/* core/base/arena.h: bump allocation, freed as a whole.
 *
 * kl_arena: one thread at a time (write sets, parse buffers). kl_shared_arena: many threads at once without locks,
 * sharded by a hint so that writers do not share a cache line (the delta). Chunks start small (so that an empty
 * database stays small) and double up to a bound; a request above it gets a chunk of its own.
 *
 * Memory is zeroed, aligned as asked (a power of two up to 64), and lives until the arena is freed or reset. */
#ifndef KL_BASE_ARENA_H
#define KL_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "memory.h"
#include "status.h"

typedef struct kl_arena_chunk kl_arena_chunk;
typedef struct kl_arena {
  kl_allocator *allocator;
  kl_arena_chunk *chunks; /* newest first */
  size_t next_chunk_size;
  size_t bytes_reserved; /* what was taken from the allocator */
} kl_arena;

void kl_arena_init(kl_arena *arena, kl_allocator *allocator);
void *kl_arena_alloc(kl_arena *arena, size_t size, size_t align); /* NULL: no memory */
void kl_arena_reset(kl_arena *arena);                             /* frees all but perhaps one chunk */
void kl_arena_destroy(kl_arena *arena);                           /* frees all; init again before reuse */

typedef struct kl_shared_arena kl_shared_arena;
kl_status kl_shared_arena_new(kl_allocator *allocator, kl_shared_arena **out_arena, kl_error *err);
void kl_shared_arena_free(kl_shared_arena *arena); /* nobody may use it any more; NULL is allowed */
/* `hint`: any number that tends to differ between threads. NULL: no memory. */
void *kl_shared_arena_alloc(kl_shared_arena *arena, uint32_t hint, size_t size, size_t align);
size_t kl_shared_arena_bytes(const kl_shared_arena *arena); /* reserved from the allocator */

/* A small number for the calling thread, cheap to get, for sharding only; not unique, not stable across runs. */
uint32_t kl_thread_hint(void);

#endif
