/* keel.c: Keel 0.1.0, an embedded, transactional, ordered database engine, as one file.
 *
 * Written by tools/amalgamate.py from core/ and capi/. Do not edit: change those and run `./dev gen`.
 * Copyright: the Keel authors. Licensed under the Apache License, Version 2.0.
 *
 * Compile this file, with keel.h beside it, as C11 or later, and link with -lpthread:
 *
 *     cc -O2 -fno-strict-aliasing -c keel.c
 *
 * Only what keel.h declares is visible outside of a shared library that is built from it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* POSIX.1-2008 and the Linux calls behind it */
#endif
#define KEEL_BUILDING 1

#if defined(__clang__)
/* Inline functions of internal headers that nothing calls here: clang tells them from those of a real header. */
#pragma clang diagnostic ignored "-Wunused-function"
#endif

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "keel.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* ---- core/base/arena.c ---- */
/* core/base/arena.c: the arena of one thread. See arena.h; the concurrent one is in shared_arena.c. */

/* ---- core/base/arena.h ---- */
/* core/base/arena.h: bump allocation, freed as a whole.
 *
 * kl_arena: one thread at a time (write sets, parse buffers). kl_shared_arena: many threads at once without locks,
 * sharded by a hint so that writers do not share a cache line (the delta). Chunks start small (so that an empty
 * database stays small) and double up to a bound; a request above it gets a chunk of its own.
 *
 * Memory is zeroed, aligned as asked (a power of two up to 64), and lives until the arena is freed or reset. */
#ifndef KL_BASE_ARENA_H
#define KL_BASE_ARENA_H

/* ---- core/base/memory.h ---- */
/* core/base/memory.h: the allocator that every module gets from its caller.
 *
 * core/ never calls malloc by itself: it takes a `kl_allocator *`, so that the simulated os can fail the n-th
 * allocation, and so that memory is accounted by part. Every allocation can fail; NULL is answered with
 * KL_E_NO_MEMORY and nothing is lost.
 *
 * Thread rules: an allocator may be used from any thread at once. */
#ifndef KL_BASE_MEMORY_H
#define KL_BASE_MEMORY_H

typedef struct kl_allocator kl_allocator;
struct kl_allocator {
  /* Zeroed memory of `size` bytes aligned to at least `align` (a power of two), or NULL. size 0 is allowed. */
  void *(*alloc)(kl_allocator *self, size_t size, size_t align);
  /* Frees what alloc of the same allocator gave, with its size; NULL is allowed. */
  void (*free)(kl_allocator *self, void *memory, size_t size);
};

/* The allocator over the C library. */
kl_allocator *kl_allocator_libc(void);

static inline void *kl_alloc(kl_allocator *a, size_t size) {
  return a->alloc(a, size, _Alignof(max_align_t));
}
static inline void *kl_alloc_aligned(kl_allocator *a, size_t size, size_t align) {
  return a->alloc(a, size, align);
}
static inline void kl_free(kl_allocator *a, void *memory, size_t size) {
  a->free(a, memory, size);
}

/* Grows (or shrinks) a block by allocating, copying and freeing; the old one stays valid when NULL is returned. */
void *kl_realloc(kl_allocator *a, void *memory, size_t old_size, size_t new_size);

#endif

/* ---- core/base/status.h ---- */
/* core/base/status.h: how every fallible function in core/ reports.
 *
 * A function that can fail returns a kl_status (KL_OK or a negative KL_E_* code) and takes a nullable
 * `kl_error *err` last. Where it fails it fills `err` (code, errno of the system where there is one, and one line
 * that says what was wrong and what to do). On success `err` is left alone. There is no global or thread-local
 * last error: goroutines and worker threads change OS threads between two calls.
 *
 * The codes are generated from bindings/api/keel.yml, the same source as the public KEEL_E_* codes; the two sets
 * have equal values (asserted in capi/).
 *
 * Thread rules: everything here is safe from any thread; a kl_error belongs to its caller. */
#ifndef KL_BASE_STATUS_H
#define KL_BASE_STATUS_H

/* ---- core/base/status_codes.h ---- */
/* core/base/status_codes.h: the status codes, and what is known about each.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`. */
#ifndef KL_BASE_STATUS_CODES_H
#define KL_BASE_STATUS_CODES_H

enum {
  /* ok: The call did what it says. */
  KL_OK = 0,
  /* usage: The program made a mistake; calling again in the same way fails in the same way. */
  KL_E_INVALID = -101,
  KL_E_HANDLE = -102,
  KL_E_FINISHED = -103,
  KL_E_READ_ONLY = -104,
  KL_E_KEY_SIZE = -105,
  KL_E_VALUE_SIZE = -106,
  KL_E_BUFFER_SIZE = -107,
  KL_E_CONCURRENT_USE = -108,
  KL_E_FORKED = -109,
  KL_E_CLOSED = -110,
  KL_E_UNSUPPORTED = -111,
  /* not_found: Something is absent (or present) that should not be; often an ordinary answer. */
  KL_E_NOT_FOUND = -201,
  KL_E_KEYSPACE_NOT_FOUND = -202,
  KL_E_NO_FILE = -203,
  KL_E_EXISTS = -204,
  /* conflict: The transaction lost against another one. */
  KL_E_CONFLICT = -301,
  KL_E_DEADLOCK = -302,
  KL_E_SNAPSHOT_TOO_OLD = -303,
  KL_E_COMMIT_UNKNOWN = -304,
  /* busy: Someone else is in the way; the same call may succeed later. */
  KL_E_LOCKED = -401,
  KL_E_TIMEOUT = -402,
  KL_E_CANCELLED = -403,
  /* io: The operating system refused or failed an operation on a file. */
  KL_E_IO = -501,
  KL_E_DISK_FULL = -502,
  KL_E_PERMISSION = -503,
  KL_E_READ_ONLY_MEDIA = -504,
  KL_E_NOT_A_FILE = -505,
  KL_E_POISONED = -506,
  /* corrupt: Bytes of a file are not what Keel wrote. */
  KL_E_CORRUPT = -601,
  KL_E_FORMAT = -602,
  KL_E_VERSION = -603,
  /* resource: Memory or another bound is used up. */
  KL_E_NO_MEMORY = -701,
  KL_E_LIMIT = -702,
  /* internal: A mistake in Keel. */
  KL_E_INTERNAL = -901
};

/* The class of a code, "not_found", "usage" ...; "unknown" for a code that does not exist. (kl_status_name: status.h.) */
const char *kl_status_class(int32_t code);

/* 1 when running the whole transaction again, on a new snapshot, is the right answer; 0 otherwise. */
int32_t kl_status_is_retryable(int32_t code);

#endif

typedef int32_t kl_status;

enum { KL_ERROR_MESSAGE = 248 };

typedef struct kl_error {
  kl_status code;                 /* KL_E_*; 0 while unused */
  int32_t system_errno;           /* errno of the failed system call, or 0 */
  char message[KL_ERROR_MESSAGE]; /* one line, UTF-8, always terminated; cut with "..." when too long */
} kl_error;

/* Fills err (when not NULL) and returns code, so that callers write `return kl_fail(err, KL_E_IO, "...", ...)`. */
kl_status kl_fail(kl_error *err, kl_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As kl_fail, with an errno: it is stored, and its text is appended to the message. */
kl_status kl_fail_errno(kl_error *err, kl_status code, int system_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#ifdef __clang_analyzer__
/* The analyzer looks at one file at a time; this tells it that a failure yields its code, and so is never KL_OK. */
#define kl_fail(err, code, ...) ((kl_fail)((err), (code), __VA_ARGS__), (kl_status)(code))
#define kl_fail_errno(err, code, ...) ((kl_fail_errno)((err), (code), __VA_ARGS__), (kl_status)(code))
#endif

/* "conflict", "not_found" ...: the stable lower-case name; "unknown" for a code that does not exist. */
const char *kl_status_name(kl_status code);

#endif

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

/* ---- core/base/assert.h ---- */
/* core/base/assert.h: what the library does about its own bugs.
 *
 * Bytes from disk and arguments from callers are validated and answered with a status, never asserted. What is
 * left are invariants that only a bug in Keel can break. A guest must not end its host's process, so:
 *
 * KL_ASSERT(condition)
 *   An invariant whose break the code below survives anyway, or that is too costly to check in release. With
 *   KL_DEBUG: prints the condition and its place to stderr and aborts. Otherwise the condition is compiled but not
 *   evaluated, so it must have no side effect.
 *
 * return KL_BROKEN(err, "TXN-4: visible %llu behind published %llu", ...)
 *   An invariant whose break can be reached in release and must be answered. With KL_DEBUG: aborts likewise.
 *   Otherwise fills err with KL_E_INTERNAL, the place and the text, and yields KL_E_INTERNAL, which the caller returns
 *   (a module that can no longer trust its memory poisons itself first, so that nothing wrong reaches the disk).
 *   Begin the text with the number of the invariant in the module's README. */
#ifndef KL_BASE_ASSERT_H
#define KL_BASE_ASSERT_H

#ifdef KL_DEBUG
_Noreturn void kl_assert_failed(const char *file, int line, const char *text);
#define KL_ASSERT(condition) ((condition) ? (void)0 : kl_assert_failed(__FILE__, __LINE__, #condition))
#elif defined(__clang_analyzer__) /* may believe what is asserted */
#define KL_ASSERT(condition) ((condition) ? (void)0 : __builtin_unreachable())
#else
#define KL_ASSERT(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#ifdef __clang_analyzer__ /* see status.h */
#define KL_BROKEN(err, ...) (kl_broken((err), __FILE__, __LINE__, __VA_ARGS__), (kl_status)KL_E_INTERNAL)
#else
#define KL_BROKEN(err, ...) kl_broken((err), __FILE__, __LINE__, __VA_ARGS__)
#endif

kl_status kl_broken(kl_error *err, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif

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

/* ---- core/base/assert.c ---- */
/* core/base/assert.c: see assert.h. */

#ifdef KL_DEBUG
_Noreturn void kl_assert_failed(const char *file, int line, const char *text) {
  (void)fprintf(stderr, "keel: broken invariant at %s:%d: %s\n", file, line, text);
  abort();
}
#endif

kl_status kl_broken(kl_error *err, const char *file, int line, const char *format, ...) {
  char text[KL_ERROR_MESSAGE];
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(text, sizeof text, format, arguments) < 0) text[0] = '\0';
  va_end(arguments);
#ifdef KL_DEBUG
  (void)err;
  kl_assert_failed(file, line, text);
#else
  return kl_fail(err, KL_E_INTERNAL, "broken invariant at %s:%d (a bug in Keel, please report it): %s", file, line,
                 text);
#endif
}

/* ---- core/base/counter.c ---- */
/* core/base/counter.c: see counter.h. */

/* ---- core/base/counter.h ---- */
/* core/base/counter.h: counters for statistics. They order nothing: every access is relaxed.
 *
 * kl_counter: one number, for things that happen rarely or by one thread.
 * kl_counters: a group of up to eight counters for hot paths. Each shard is one cache line that holds all eight; a
 * thread adds in the shard of its hint, so that threads do not pass a line around, and reading sums over the shards.
 * 512 bytes for the group. A sum that is read while others add is some value between before and after.
 *
 * Zeroed memory is an initialised counter. A kl_counters is aligned to 64 bytes: allocate what embeds it with
 * kl_alloc_aligned(..., _Alignof(type)). Thread rules: any thread. */
#ifndef KL_BASE_COUNTER_H
#define KL_BASE_COUNTER_H

typedef struct kl_counter {
  _Atomic uint64_t value;
} kl_counter;

static inline void kl_counter_add(kl_counter *counter, uint64_t n) {
  atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}
static inline void kl_counter_subtract(kl_counter *counter, uint64_t n) {
  atomic_fetch_sub_explicit(&counter->value, n, memory_order_relaxed);
}
static inline uint64_t kl_counter_read(const kl_counter *counter) {
  return atomic_load_explicit(&counter->value, memory_order_relaxed);
}
/* Raises the counter to at least `n`: for maxima. */
void kl_counter_raise(kl_counter *counter, uint64_t n);

enum { KL_COUNTERS_GROUP = 8, KL_COUNTERS_SHARDS = 8 }; /* both powers of two */

typedef struct kl_counters {
  struct {
    _Alignas(64) _Atomic uint64_t value[KL_COUNTERS_GROUP];
  } shard[KL_COUNTERS_SHARDS];
} kl_counters;

/* `which` < KL_COUNTERS_GROUP; give them names with an enum of your own. Negative amounts: add (uint64_t)-n. */
static inline void kl_counters_add(kl_counters *counters, unsigned which, uint64_t n) {
  uint32_t shard = kl_thread_hint() & (KL_COUNTERS_SHARDS - 1);
  atomic_fetch_add_explicit(&counters->shard[shard].value[which], n, memory_order_relaxed);
}
uint64_t kl_counters_sum(const kl_counters *counters, unsigned which);

#endif

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

/* ---- core/base/crc32c.c ---- */
/* core/base/crc32c.c: see crc32c.h.
 *
 * Three implementations, one result:
 *  - portable: "slicing by 8" (M. Kounavis, F. Berry, "A systematic approach to building high performance software-based
 *    CRC generators", 2005): eight tables, eight bytes a step;
 *  - x86: the crc32 instruction of SSE4.2. It has a latency of three cycles and can start every cycle, so long inputs are
 *    read as three streams at once; the partial results are joined by carry-less multiplication (V. Gopal et al., "Fast
 *    CRC computation for iSCSI polynomial using CRC32 instruction", 2011);
 *  - ARMv8: the crc32c instructions.
 *
 * The conditional code here depends on the CPU. What depends on the operating system lives in core/os; the one
 * exception is how Linux tells an ARM program what its CPU has. */

/* ---- core/base/crc32c.h ---- */
/* core/base/crc32c.h: CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected; RFC 3720 appendix B.4).
 *
 * Uses the CPU's instruction (SSE4.2, ARMv8 CRC) when present at run time, a table otherwise; both give the same
 * result and both are tested against the RFC's vectors. Any thread. */
#ifndef KL_BASE_CRC32C_H
#define KL_BASE_CRC32C_H

/* Continues `crc` (0 to start) over `size` bytes: crc(crc(0, a), b) == crc(0, ab). */
uint32_t kl_crc32c(uint32_t crc, const void *data, size_t size);
uint32_t kl_crc32c_portable(uint32_t crc, const void *data, size_t size);
int kl_crc32c_is_hardware(void);

#endif

/* ---- core/base/endian.h ---- */
/* core/base/endian.h: integers in byte buffers, at any alignment, whatever the order of the CPU.
 *
 * Files and the log are little-endian (_le). Big-endian (_be) serves integers inside keys, because their bytes then
 * sort as the numbers do. Compilers turn each of these into one load or store (and a swap). */
#ifndef KL_BASE_ENDIAN_H
#define KL_BASE_ENDIAN_H

static inline uint16_t kl_load_u16_le(const void *from) {
  const uint8_t *p = from;
  return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}
static inline uint32_t kl_load_u32_le(const void *from) {
  const uint8_t *p = from;
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t kl_load_u64_le(const void *from) {
  const uint8_t *p = from;
  return (uint64_t)kl_load_u32_le(p) | (uint64_t)kl_load_u32_le(p + 4) << 32;
}
static inline uint16_t kl_load_u16_be(const void *from) {
  const uint8_t *p = from;
  return (uint16_t)((uint16_t)(p[0] << 8) | p[1]);
}
static inline uint32_t kl_load_u32_be(const void *from) {
  const uint8_t *p = from;
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}
static inline uint64_t kl_load_u64_be(const void *from) {
  const uint8_t *p = from;
  return (uint64_t)kl_load_u32_be(p) << 32 | (uint64_t)kl_load_u32_be(p + 4);
}

static inline void kl_store_u16_le(void *to, uint16_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)value;
  p[1] = (uint8_t)(value >> 8);
}
static inline void kl_store_u32_le(void *to, uint32_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)value;
  p[1] = (uint8_t)(value >> 8);
  p[2] = (uint8_t)(value >> 16);
  p[3] = (uint8_t)(value >> 24);
}
static inline void kl_store_u64_le(void *to, uint64_t value) {
  uint8_t *p = to;
  kl_store_u32_le(p, (uint32_t)value);
  kl_store_u32_le(p + 4, (uint32_t)(value >> 32));
}
static inline void kl_store_u16_be(void *to, uint16_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}
static inline void kl_store_u32_be(void *to, uint32_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)(value >> 24);
  p[1] = (uint8_t)(value >> 16);
  p[2] = (uint8_t)(value >> 8);
  p[3] = (uint8_t)value;
}
static inline void kl_store_u64_be(void *to, uint64_t value) {
  uint8_t *p = to;
  kl_store_u32_be(p, (uint32_t)(value >> 32));
  kl_store_u32_be(p + 4, (uint32_t)value);
}

#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#if defined(__linux__) && !defined(__ARM_FEATURE_CRC32)
#include <sys/auxv.h>
#endif
#endif

/* crc32c_table[0] is the table of one byte; crc32c_table[k] that of one byte followed by k zero bytes. The unit test
 * computes each entry anew from the polynomial. */
static const uint32_t crc32c_table[8][256] = {
    {0x00000000, 0xf26b8303, 0xe13b70f7, 0x1350f3f4, 0xc79a971f, 0x35f1141c, 0x26a1e7e8, 0xd4ca64eb, 0x8ad958cf,
     0x78b2dbcc, 0x6be22838, 0x9989ab3b, 0x4d43cfd0, 0xbf284cd3, 0xac78bf27, 0x5e133c24, 0x105ec76f, 0xe235446c,
     0xf165b798, 0x030e349b, 0xd7c45070, 0x25afd373, 0x36ff2087, 0xc494a384, 0x9a879fa0, 0x68ec1ca3, 0x7bbcef57,
     0x89d76c54, 0x5d1d08bf, 0xaf768bbc, 0xbc267848, 0x4e4dfb4b, 0x20bd8ede, 0xd2d60ddd, 0xc186fe29, 0x33ed7d2a,
     0xe72719c1, 0x154c9ac2, 0x061c6936, 0xf477ea35, 0xaa64d611, 0x580f5512, 0x4b5fa6e6, 0xb93425e5, 0x6dfe410e,
     0x9f95c20d, 0x8cc531f9, 0x7eaeb2fa, 0x30e349b1, 0xc288cab2, 0xd1d83946, 0x23b3ba45, 0xf779deae, 0x05125dad,
     0x1642ae59, 0xe4292d5a, 0xba3a117e, 0x4851927d, 0x5b016189, 0xa96ae28a, 0x7da08661, 0x8fcb0562, 0x9c9bf696,
     0x6ef07595, 0x417b1dbc, 0xb3109ebf, 0xa0406d4b, 0x522bee48, 0x86e18aa3, 0x748a09a0, 0x67dafa54, 0x95b17957,
     0xcba24573, 0x39c9c670, 0x2a993584, 0xd8f2b687, 0x0c38d26c, 0xfe53516f, 0xed03a29b, 0x1f682198, 0x5125dad3,
     0xa34e59d0, 0xb01eaa24, 0x42752927, 0x96bf4dcc, 0x64d4cecf, 0x77843d3b, 0x85efbe38, 0xdbfc821c, 0x2997011f,
     0x3ac7f2eb, 0xc8ac71e8, 0x1c661503, 0xee0d9600, 0xfd5d65f4, 0x0f36e6f7, 0x61c69362, 0x93ad1061, 0x80fde395,
     0x72966096, 0xa65c047d, 0x5437877e, 0x4767748a, 0xb50cf789, 0xeb1fcbad, 0x197448ae, 0x0a24bb5a, 0xf84f3859,
     0x2c855cb2, 0xdeeedfb1, 0xcdbe2c45, 0x3fd5af46, 0x7198540d, 0x83f3d70e, 0x90a324fa, 0x62c8a7f9, 0xb602c312,
     0x44694011, 0x5739b3e5, 0xa55230e6, 0xfb410cc2, 0x092a8fc1, 0x1a7a7c35, 0xe811ff36, 0x3cdb9bdd, 0xceb018de,
     0xdde0eb2a, 0x2f8b6829, 0x82f63b78, 0x709db87b, 0x63cd4b8f, 0x91a6c88c, 0x456cac67, 0xb7072f64, 0xa457dc90,
     0x563c5f93, 0x082f63b7, 0xfa44e0b4, 0xe9141340, 0x1b7f9043, 0xcfb5f4a8, 0x3dde77ab, 0x2e8e845f, 0xdce5075c,
     0x92a8fc17, 0x60c37f14, 0x73938ce0, 0x81f80fe3, 0x55326b08, 0xa759e80b, 0xb4091bff, 0x466298fc, 0x1871a4d8,
     0xea1a27db, 0xf94ad42f, 0x0b21572c, 0xdfeb33c7, 0x2d80b0c4, 0x3ed04330, 0xccbbc033, 0xa24bb5a6, 0x502036a5,
     0x4370c551, 0xb11b4652, 0x65d122b9, 0x97baa1ba, 0x84ea524e, 0x7681d14d, 0x2892ed69, 0xdaf96e6a, 0xc9a99d9e,
     0x3bc21e9d, 0xef087a76, 0x1d63f975, 0x0e330a81, 0xfc588982, 0xb21572c9, 0x407ef1ca, 0x532e023e, 0xa145813d,
     0x758fe5d6, 0x87e466d5, 0x94b49521, 0x66df1622, 0x38cc2a06, 0xcaa7a905, 0xd9f75af1, 0x2b9cd9f2, 0xff56bd19,
     0x0d3d3e1a, 0x1e6dcdee, 0xec064eed, 0xc38d26c4, 0x31e6a5c7, 0x22b65633, 0xd0ddd530, 0x0417b1db, 0xf67c32d8,
     0xe52cc12c, 0x1747422f, 0x49547e0b, 0xbb3ffd08, 0xa86f0efc, 0x5a048dff, 0x8ecee914, 0x7ca56a17, 0x6ff599e3,
     0x9d9e1ae0, 0xd3d3e1ab, 0x21b862a8, 0x32e8915c, 0xc083125f, 0x144976b4, 0xe622f5b7, 0xf5720643, 0x07198540,
     0x590ab964, 0xab613a67, 0xb831c993, 0x4a5a4a90, 0x9e902e7b, 0x6cfbad78, 0x7fab5e8c, 0x8dc0dd8f, 0xe330a81a,
     0x115b2b19, 0x020bd8ed, 0xf0605bee, 0x24aa3f05, 0xd6c1bc06, 0xc5914ff2, 0x37faccf1, 0x69e9f0d5, 0x9b8273d6,
     0x88d28022, 0x7ab90321, 0xae7367ca, 0x5c18e4c9, 0x4f48173d, 0xbd23943e, 0xf36e6f75, 0x0105ec76, 0x12551f82,
     0xe03e9c81, 0x34f4f86a, 0xc69f7b69, 0xd5cf889d, 0x27a40b9e, 0x79b737ba, 0x8bdcb4b9, 0x988c474d, 0x6ae7c44e,
     0xbe2da0a5, 0x4c4623a6, 0x5f16d052, 0xad7d5351},
    {0x00000000, 0x13a29877, 0x274530ee, 0x34e7a899, 0x4e8a61dc, 0x5d28f9ab, 0x69cf5132, 0x7a6dc945, 0x9d14c3b8,
     0x8eb65bcf, 0xba51f356, 0xa9f36b21, 0xd39ea264, 0xc03c3a13, 0xf4db928a, 0xe7790afd, 0x3fc5f181, 0x2c6769f6,
     0x1880c16f, 0x0b225918, 0x714f905d, 0x62ed082a, 0x560aa0b3, 0x45a838c4, 0xa2d13239, 0xb173aa4e, 0x859402d7,
     0x96369aa0, 0xec5b53e5, 0xfff9cb92, 0xcb1e630b, 0xd8bcfb7c, 0x7f8be302, 0x6c297b75, 0x58ced3ec, 0x4b6c4b9b,
     0x310182de, 0x22a31aa9, 0x1644b230, 0x05e62a47, 0xe29f20ba, 0xf13db8cd, 0xc5da1054, 0xd6788823, 0xac154166,
     0xbfb7d911, 0x8b507188, 0x98f2e9ff, 0x404e1283, 0x53ec8af4, 0x670b226d, 0x74a9ba1a, 0x0ec4735f, 0x1d66eb28,
     0x298143b1, 0x3a23dbc6, 0xdd5ad13b, 0xcef8494c, 0xfa1fe1d5, 0xe9bd79a2, 0x93d0b0e7, 0x80722890, 0xb4958009,
     0xa737187e, 0xff17c604, 0xecb55e73, 0xd852f6ea, 0xcbf06e9d, 0xb19da7d8, 0xa23f3faf, 0x96d89736, 0x857a0f41,
     0x620305bc, 0x71a19dcb, 0x45463552, 0x56e4ad25, 0x2c896460, 0x3f2bfc17, 0x0bcc548e, 0x186eccf9, 0xc0d23785,
     0xd370aff2, 0xe797076b, 0xf4359f1c, 0x8e585659, 0x9dface2e, 0xa91d66b7, 0xbabffec0, 0x5dc6f43d, 0x4e646c4a,
     0x7a83c4d3, 0x69215ca4, 0x134c95e1, 0x00ee0d96, 0x3409a50f, 0x27ab3d78, 0x809c2506, 0x933ebd71, 0xa7d915e8,
     0xb47b8d9f, 0xce1644da, 0xddb4dcad, 0xe9537434, 0xfaf1ec43, 0x1d88e6be, 0x0e2a7ec9, 0x3acdd650, 0x296f4e27,
     0x53028762, 0x40a01f15, 0x7447b78c, 0x67e52ffb, 0xbf59d487, 0xacfb4cf0, 0x981ce469, 0x8bbe7c1e, 0xf1d3b55b,
     0xe2712d2c, 0xd69685b5, 0xc5341dc2, 0x224d173f, 0x31ef8f48, 0x050827d1, 0x16aabfa6, 0x6cc776e3, 0x7f65ee94,
     0x4b82460d, 0x5820de7a, 0xfbc3faf9, 0xe861628e, 0xdc86ca17, 0xcf245260, 0xb5499b25, 0xa6eb0352, 0x920cabcb,
     0x81ae33bc, 0x66d73941, 0x7575a136, 0x419209af, 0x523091d8, 0x285d589d, 0x3bffc0ea, 0x0f186873, 0x1cbaf004,
     0xc4060b78, 0xd7a4930f, 0xe3433b96, 0xf0e1a3e1, 0x8a8c6aa4, 0x992ef2d3, 0xadc95a4a, 0xbe6bc23d, 0x5912c8c0,
     0x4ab050b7, 0x7e57f82e, 0x6df56059, 0x1798a91c, 0x043a316b, 0x30dd99f2, 0x237f0185, 0x844819fb, 0x97ea818c,
     0xa30d2915, 0xb0afb162, 0xcac27827, 0xd960e050, 0xed8748c9, 0xfe25d0be, 0x195cda43, 0x0afe4234, 0x3e19eaad,
     0x2dbb72da, 0x57d6bb9f, 0x447423e8, 0x70938b71, 0x63311306, 0xbb8de87a, 0xa82f700d, 0x9cc8d894, 0x8f6a40e3,
     0xf50789a6, 0xe6a511d1, 0xd242b948, 0xc1e0213f, 0x26992bc2, 0x353bb3b5, 0x01dc1b2c, 0x127e835b, 0x68134a1e,
     0x7bb1d269, 0x4f567af0, 0x5cf4e287, 0x04d43cfd, 0x1776a48a, 0x23910c13, 0x30339464, 0x4a5e5d21, 0x59fcc556,
     0x6d1b6dcf, 0x7eb9f5b8, 0x99c0ff45, 0x8a626732, 0xbe85cfab, 0xad2757dc, 0xd74a9e99, 0xc4e806ee, 0xf00fae77,
     0xe3ad3600, 0x3b11cd7c, 0x28b3550b, 0x1c54fd92, 0x0ff665e5, 0x759baca0, 0x663934d7, 0x52de9c4e, 0x417c0439,
     0xa6050ec4, 0xb5a796b3, 0x81403e2a, 0x92e2a65d, 0xe88f6f18, 0xfb2df76f, 0xcfca5ff6, 0xdc68c781, 0x7b5fdfff,
     0x68fd4788, 0x5c1aef11, 0x4fb87766, 0x35d5be23, 0x26772654, 0x12908ecd, 0x013216ba, 0xe64b1c47, 0xf5e98430,
     0xc10e2ca9, 0xd2acb4de, 0xa8c17d9b, 0xbb63e5ec, 0x8f844d75, 0x9c26d502, 0x449a2e7e, 0x5738b609, 0x63df1e90,
     0x707d86e7, 0x0a104fa2, 0x19b2d7d5, 0x2d557f4c, 0x3ef7e73b, 0xd98eedc6, 0xca2c75b1, 0xfecbdd28, 0xed69455f,
     0x97048c1a, 0x84a6146d, 0xb041bcf4, 0xa3e32483},
    {0x00000000, 0xa541927e, 0x4f6f520d, 0xea2ec073, 0x9edea41a, 0x3b9f3664, 0xd1b1f617, 0x74f06469, 0x38513ec5,
     0x9d10acbb, 0x773e6cc8, 0xd27ffeb6, 0xa68f9adf, 0x03ce08a1, 0xe9e0c8d2, 0x4ca15aac, 0x70a27d8a, 0xd5e3eff4,
     0x3fcd2f87, 0x9a8cbdf9, 0xee7cd990, 0x4b3d4bee, 0xa1138b9d, 0x045219e3, 0x48f3434f, 0xedb2d131, 0x079c1142,
     0xa2dd833c, 0xd62de755, 0x736c752b, 0x9942b558, 0x3c032726, 0xe144fb14, 0x4405696a, 0xae2ba919, 0x0b6a3b67,
     0x7f9a5f0e, 0xdadbcd70, 0x30f50d03, 0x95b49f7d, 0xd915c5d1, 0x7c5457af, 0x967a97dc, 0x333b05a2, 0x47cb61cb,
     0xe28af3b5, 0x08a433c6, 0xade5a1b8, 0x91e6869e, 0x34a714e0, 0xde89d493, 0x7bc846ed, 0x0f382284, 0xaa79b0fa,
     0x40577089, 0xe516e2f7, 0xa9b7b85b, 0x0cf62a25, 0xe6d8ea56, 0x43997828, 0x37691c41, 0x92288e3f, 0x78064e4c,
     0xdd47dc32, 0xc76580d9, 0x622412a7, 0x880ad2d4, 0x2d4b40aa, 0x59bb24c3, 0xfcfab6bd, 0x16d476ce, 0xb395e4b0,
     0xff34be1c, 0x5a752c62, 0xb05bec11, 0x151a7e6f, 0x61ea1a06, 0xc4ab8878, 0x2e85480b, 0x8bc4da75, 0xb7c7fd53,
     0x12866f2d, 0xf8a8af5e, 0x5de93d20, 0x29195949, 0x8c58cb37, 0x66760b44, 0xc337993a, 0x8f96c396, 0x2ad751e8,
     0xc0f9919b, 0x65b803e5, 0x1148678c, 0xb409f5f2, 0x5e273581, 0xfb66a7ff, 0x26217bcd, 0x8360e9b3, 0x694e29c0,
     0xcc0fbbbe, 0xb8ffdfd7, 0x1dbe4da9, 0xf7908dda, 0x52d11fa4, 0x1e704508, 0xbb31d776, 0x511f1705, 0xf45e857b,
     0x80aee112, 0x25ef736c, 0xcfc1b31f, 0x6a802161, 0x56830647, 0xf3c29439, 0x19ec544a, 0xbcadc634, 0xc85da25d,
     0x6d1c3023, 0x8732f050, 0x2273622e, 0x6ed23882, 0xcb93aafc, 0x21bd6a8f, 0x84fcf8f1, 0xf00c9c98, 0x554d0ee6,
     0xbf63ce95, 0x1a225ceb, 0x8b277743, 0x2e66e53d, 0xc448254e, 0x6109b730, 0x15f9d359, 0xb0b84127, 0x5a968154,
     0xffd7132a, 0xb3764986, 0x1637dbf8, 0xfc191b8b, 0x595889f5, 0x2da8ed9c, 0x88e97fe2, 0x62c7bf91, 0xc7862def,
     0xfb850ac9, 0x5ec498b7, 0xb4ea58c4, 0x11abcaba, 0x655baed3, 0xc01a3cad, 0x2a34fcde, 0x8f756ea0, 0xc3d4340c,
     0x6695a672, 0x8cbb6601, 0x29faf47f, 0x5d0a9016, 0xf84b0268, 0x1265c21b, 0xb7245065, 0x6a638c57, 0xcf221e29,
     0x250cde5a, 0x804d4c24, 0xf4bd284d, 0x51fcba33, 0xbbd27a40, 0x1e93e83e, 0x5232b292, 0xf77320ec, 0x1d5de09f,
     0xb81c72e1, 0xccec1688, 0x69ad84f6, 0x83834485, 0x26c2d6fb, 0x1ac1f1dd, 0xbf8063a3, 0x55aea3d0, 0xf0ef31ae,
     0x841f55c7, 0x215ec7b9, 0xcb7007ca, 0x6e3195b4, 0x2290cf18, 0x87d15d66, 0x6dff9d15, 0xc8be0f6b, 0xbc4e6b02,
     0x190ff97c, 0xf321390f, 0x5660ab71, 0x4c42f79a, 0xe90365e4, 0x032da597, 0xa66c37e9, 0xd29c5380, 0x77ddc1fe,
     0x9df3018d, 0x38b293f3, 0x7413c95f, 0xd1525b21, 0x3b7c9b52, 0x9e3d092c, 0xeacd6d45, 0x4f8cff3b, 0xa5a23f48,
     0x00e3ad36, 0x3ce08a10, 0x99a1186e, 0x738fd81d, 0xd6ce4a63, 0xa23e2e0a, 0x077fbc74, 0xed517c07, 0x4810ee79,
     0x04b1b4d5, 0xa1f026ab, 0x4bdee6d8, 0xee9f74a6, 0x9a6f10cf, 0x3f2e82b1, 0xd50042c2, 0x7041d0bc, 0xad060c8e,
     0x08479ef0, 0xe2695e83, 0x4728ccfd, 0x33d8a894, 0x96993aea, 0x7cb7fa99, 0xd9f668e7, 0x9557324b, 0x3016a035,
     0xda386046, 0x7f79f238, 0x0b899651, 0xaec8042f, 0x44e6c45c, 0xe1a75622, 0xdda47104, 0x78e5e37a, 0x92cb2309,
     0x378ab177, 0x437ad51e, 0xe63b4760, 0x0c158713, 0xa954156d, 0xe5f54fc1, 0x40b4ddbf, 0xaa9a1dcc, 0x0fdb8fb2,
     0x7b2bebdb, 0xde6a79a5, 0x3444b9d6, 0x91052ba8},
    {0x00000000, 0xdd45aab8, 0xbf672381, 0x62228939, 0x7b2231f3, 0xa6679b4b, 0xc4451272, 0x1900b8ca, 0xf64463e6,
     0x2b01c95e, 0x49234067, 0x9466eadf, 0x8d665215, 0x5023f8ad, 0x32017194, 0xef44db2c, 0xe964b13d, 0x34211b85,
     0x560392bc, 0x8b463804, 0x924680ce, 0x4f032a76, 0x2d21a34f, 0xf06409f7, 0x1f20d2db, 0xc2657863, 0xa047f15a,
     0x7d025be2, 0x6402e328, 0xb9474990, 0xdb65c0a9, 0x06206a11, 0xd725148b, 0x0a60be33, 0x6842370a, 0xb5079db2,
     0xac072578, 0x71428fc0, 0x136006f9, 0xce25ac41, 0x2161776d, 0xfc24ddd5, 0x9e0654ec, 0x4343fe54, 0x5a43469e,
     0x8706ec26, 0xe524651f, 0x3861cfa7, 0x3e41a5b6, 0xe3040f0e, 0x81268637, 0x5c632c8f, 0x45639445, 0x98263efd,
     0xfa04b7c4, 0x27411d7c, 0xc805c650, 0x15406ce8, 0x7762e5d1, 0xaa274f69, 0xb327f7a3, 0x6e625d1b, 0x0c40d422,
     0xd1057e9a, 0xaba65fe7, 0x76e3f55f, 0x14c17c66, 0xc984d6de, 0xd0846e14, 0x0dc1c4ac, 0x6fe34d95, 0xb2a6e72d,
     0x5de23c01, 0x80a796b9, 0xe2851f80, 0x3fc0b538, 0x26c00df2, 0xfb85a74a, 0x99a72e73, 0x44e284cb, 0x42c2eeda,
     0x9f874462, 0xfda5cd5b, 0x20e067e3, 0x39e0df29, 0xe4a57591, 0x8687fca8, 0x5bc25610, 0xb4868d3c, 0x69c32784,
     0x0be1aebd, 0xd6a40405, 0xcfa4bccf, 0x12e11677, 0x70c39f4e, 0xad8635f6, 0x7c834b6c, 0xa1c6e1d4, 0xc3e468ed,
     0x1ea1c255, 0x07a17a9f, 0xdae4d027, 0xb8c6591e, 0x6583f3a6, 0x8ac7288a, 0x57828232, 0x35a00b0b, 0xe8e5a1b3,
     0xf1e51979, 0x2ca0b3c1, 0x4e823af8, 0x93c79040, 0x95e7fa51, 0x48a250e9, 0x2a80d9d0, 0xf7c57368, 0xeec5cba2,
     0x3380611a, 0x51a2e823, 0x8ce7429b, 0x63a399b7, 0xbee6330f, 0xdcc4ba36, 0x0181108e, 0x1881a844, 0xc5c402fc,
     0xa7e68bc5, 0x7aa3217d, 0x52a0c93f, 0x8fe56387, 0xedc7eabe, 0x30824006, 0x2982f8cc, 0xf4c75274, 0x96e5db4d,
     0x4ba071f5, 0xa4e4aad9, 0x79a10061, 0x1b838958, 0xc6c623e0, 0xdfc69b2a, 0x02833192, 0x60a1b8ab, 0xbde41213,
     0xbbc47802, 0x6681d2ba, 0x04a35b83, 0xd9e6f13b, 0xc0e649f1, 0x1da3e349, 0x7f816a70, 0xa2c4c0c8, 0x4d801be4,
     0x90c5b15c, 0xf2e73865, 0x2fa292dd, 0x36a22a17, 0xebe780af, 0x89c50996, 0x5480a32e, 0x8585ddb4, 0x58c0770c,
     0x3ae2fe35, 0xe7a7548d, 0xfea7ec47, 0x23e246ff, 0x41c0cfc6, 0x9c85657e, 0x73c1be52, 0xae8414ea, 0xcca69dd3,
     0x11e3376b, 0x08e38fa1, 0xd5a62519, 0xb784ac20, 0x6ac10698, 0x6ce16c89, 0xb1a4c631, 0xd3864f08, 0x0ec3e5b0,
     0x17c35d7a, 0xca86f7c2, 0xa8a47efb, 0x75e1d443, 0x9aa50f6f, 0x47e0a5d7, 0x25c22cee, 0xf8878656, 0xe1873e9c,
     0x3cc29424, 0x5ee01d1d, 0x83a5b7a5, 0xf90696d8, 0x24433c60, 0x4661b559, 0x9b241fe1, 0x8224a72b, 0x5f610d93,
     0x3d4384aa, 0xe0062e12, 0x0f42f53e, 0xd2075f86, 0xb025d6bf, 0x6d607c07, 0x7460c4cd, 0xa9256e75, 0xcb07e74c,
     0x16424df4, 0x106227e5, 0xcd278d5d, 0xaf050464, 0x7240aedc, 0x6b401616, 0xb605bcae, 0xd4273597, 0x09629f2f,
     0xe6264403, 0x3b63eebb, 0x59416782, 0x8404cd3a, 0x9d0475f0, 0x4041df48, 0x22635671, 0xff26fcc9, 0x2e238253,
     0xf36628eb, 0x9144a1d2, 0x4c010b6a, 0x5501b3a0, 0x88441918, 0xea669021, 0x37233a99, 0xd867e1b5, 0x05224b0d,
     0x6700c234, 0xba45688c, 0xa345d046, 0x7e007afe, 0x1c22f3c7, 0xc167597f, 0xc747336e, 0x1a0299d6, 0x782010ef,
     0xa565ba57, 0xbc65029d, 0x6120a825, 0x0302211c, 0xde478ba4, 0x31035088, 0xec46fa30, 0x8e647309, 0x5321d9b1,
     0x4a21617b, 0x9764cbc3, 0xf54642fa, 0x2803e842},
    {0x00000000, 0x38116fac, 0x7022df58, 0x4833b0f4, 0xe045beb0, 0xd854d11c, 0x906761e8, 0xa8760e44, 0xc5670b91,
     0xfd76643d, 0xb545d4c9, 0x8d54bb65, 0x2522b521, 0x1d33da8d, 0x55006a79, 0x6d1105d5, 0x8f2261d3, 0xb7330e7f,
     0xff00be8b, 0xc711d127, 0x6f67df63, 0x5776b0cf, 0x1f45003b, 0x27546f97, 0x4a456a42, 0x725405ee, 0x3a67b51a,
     0x0276dab6, 0xaa00d4f2, 0x9211bb5e, 0xda220baa, 0xe2336406, 0x1ba8b557, 0x23b9dafb, 0x6b8a6a0f, 0x539b05a3,
     0xfbed0be7, 0xc3fc644b, 0x8bcfd4bf, 0xb3debb13, 0xdecfbec6, 0xe6ded16a, 0xaeed619e, 0x96fc0e32, 0x3e8a0076,
     0x069b6fda, 0x4ea8df2e, 0x76b9b082, 0x948ad484, 0xac9bbb28, 0xe4a80bdc, 0xdcb96470, 0x74cf6a34, 0x4cde0598,
     0x04edb56c, 0x3cfcdac0, 0x51eddf15, 0x69fcb0b9, 0x21cf004d, 0x19de6fe1, 0xb1a861a5, 0x89b90e09, 0xc18abefd,
     0xf99bd151, 0x37516aae, 0x0f400502, 0x4773b5f6, 0x7f62da5a, 0xd714d41e, 0xef05bbb2, 0xa7360b46, 0x9f2764ea,
     0xf236613f, 0xca270e93, 0x8214be67, 0xba05d1cb, 0x1273df8f, 0x2a62b023, 0x625100d7, 0x5a406f7b, 0xb8730b7d,
     0x806264d1, 0xc851d425, 0xf040bb89, 0x5836b5cd, 0x6027da61, 0x28146a95, 0x10050539, 0x7d1400ec, 0x45056f40,
     0x0d36dfb4, 0x3527b018, 0x9d51be5c, 0xa540d1f0, 0xed736104, 0xd5620ea8, 0x2cf9dff9, 0x14e8b055, 0x5cdb00a1,
     0x64ca6f0d, 0xccbc6149, 0xf4ad0ee5, 0xbc9ebe11, 0x848fd1bd, 0xe99ed468, 0xd18fbbc4, 0x99bc0b30, 0xa1ad649c,
     0x09db6ad8, 0x31ca0574, 0x79f9b580, 0x41e8da2c, 0xa3dbbe2a, 0x9bcad186, 0xd3f96172, 0xebe80ede, 0x439e009a,
     0x7b8f6f36, 0x33bcdfc2, 0x0badb06e, 0x66bcb5bb, 0x5eadda17, 0x169e6ae3, 0x2e8f054f, 0x86f90b0b, 0xbee864a7,
     0xf6dbd453, 0xcecabbff, 0x6ea2d55c, 0x56b3baf0, 0x1e800a04, 0x269165a8, 0x8ee76bec, 0xb6f60440, 0xfec5b4b4,
     0xc6d4db18, 0xabc5decd, 0x93d4b161, 0xdbe70195, 0xe3f66e39, 0x4b80607d, 0x73910fd1, 0x3ba2bf25, 0x03b3d089,
     0xe180b48f, 0xd991db23, 0x91a26bd7, 0xa9b3047b, 0x01c50a3f, 0x39d46593, 0x71e7d567, 0x49f6bacb, 0x24e7bf1e,
     0x1cf6d0b2, 0x54c56046, 0x6cd40fea, 0xc4a201ae, 0xfcb36e02, 0xb480def6, 0x8c91b15a, 0x750a600b, 0x4d1b0fa7,
     0x0528bf53, 0x3d39d0ff, 0x954fdebb, 0xad5eb117, 0xe56d01e3, 0xdd7c6e4f, 0xb06d6b9a, 0x887c0436, 0xc04fb4c2,
     0xf85edb6e, 0x5028d52a, 0x6839ba86, 0x200a0a72, 0x181b65de, 0xfa2801d8, 0xc2396e74, 0x8a0ade80, 0xb21bb12c,
     0x1a6dbf68, 0x227cd0c4, 0x6a4f6030, 0x525e0f9c, 0x3f4f0a49, 0x075e65e5, 0x4f6dd511, 0x777cbabd, 0xdf0ab4f9,
     0xe71bdb55, 0xaf286ba1, 0x9739040d, 0x59f3bff2, 0x61e2d05e, 0x29d160aa, 0x11c00f06, 0xb9b60142, 0x81a76eee,
     0xc994de1a, 0xf185b1b6, 0x9c94b463, 0xa485dbcf, 0xecb66b3b, 0xd4a70497, 0x7cd10ad3, 0x44c0657f, 0x0cf3d58b,
     0x34e2ba27, 0xd6d1de21, 0xeec0b18d, 0xa6f30179, 0x9ee26ed5, 0x36946091, 0x0e850f3d, 0x46b6bfc9, 0x7ea7d065,
     0x13b6d5b0, 0x2ba7ba1c, 0x63940ae8, 0x5b856544, 0xf3f36b00, 0xcbe204ac, 0x83d1b458, 0xbbc0dbf4, 0x425b0aa5,
     0x7a4a6509, 0x3279d5fd, 0x0a68ba51, 0xa21eb415, 0x9a0fdbb9, 0xd23c6b4d, 0xea2d04e1, 0x873c0134, 0xbf2d6e98,
     0xf71ede6c, 0xcf0fb1c0, 0x6779bf84, 0x5f68d028, 0x175b60dc, 0x2f4a0f70, 0xcd796b76, 0xf56804da, 0xbd5bb42e,
     0x854adb82, 0x2d3cd5c6, 0x152dba6a, 0x5d1e0a9e, 0x650f6532, 0x081e60e7, 0x300f0f4b, 0x783cbfbf, 0x402dd013,
     0xe85bde57, 0xd04ab1fb, 0x9879010f, 0xa0686ea3},
    {0x00000000, 0xef306b19, 0xdb8ca0c3, 0x34bccbda, 0xb2f53777, 0x5dc55c6e, 0x697997b4, 0x8649fcad, 0x6006181f,
     0x8f367306, 0xbb8ab8dc, 0x54bad3c5, 0xd2f32f68, 0x3dc34471, 0x097f8fab, 0xe64fe4b2, 0xc00c303e, 0x2f3c5b27,
     0x1b8090fd, 0xf4b0fbe4, 0x72f90749, 0x9dc96c50, 0xa975a78a, 0x4645cc93, 0xa00a2821, 0x4f3a4338, 0x7b8688e2,
     0x94b6e3fb, 0x12ff1f56, 0xfdcf744f, 0xc973bf95, 0x2643d48c, 0x85f4168d, 0x6ac47d94, 0x5e78b64e, 0xb148dd57,
     0x370121fa, 0xd8314ae3, 0xec8d8139, 0x03bdea20, 0xe5f20e92, 0x0ac2658b, 0x3e7eae51, 0xd14ec548, 0x570739e5,
     0xb83752fc, 0x8c8b9926, 0x63bbf23f, 0x45f826b3, 0xaac84daa, 0x9e748670, 0x7144ed69, 0xf70d11c4, 0x183d7add,
     0x2c81b107, 0xc3b1da1e, 0x25fe3eac, 0xcace55b5, 0xfe729e6f, 0x1142f576, 0x970b09db, 0x783b62c2, 0x4c87a918,
     0xa3b7c201, 0x0e045beb, 0xe13430f2, 0xd588fb28, 0x3ab89031, 0xbcf16c9c, 0x53c10785, 0x677dcc5f, 0x884da746,
     0x6e0243f4, 0x813228ed, 0xb58ee337, 0x5abe882e, 0xdcf77483, 0x33c71f9a, 0x077bd440, 0xe84bbf59, 0xce086bd5,
     0x213800cc, 0x1584cb16, 0xfab4a00f, 0x7cfd5ca2, 0x93cd37bb, 0xa771fc61, 0x48419778, 0xae0e73ca, 0x413e18d3,
     0x7582d309, 0x9ab2b810, 0x1cfb44bd, 0xf3cb2fa4, 0xc777e47e, 0x28478f67, 0x8bf04d66, 0x64c0267f, 0x507ceda5,
     0xbf4c86bc, 0x39057a11, 0xd6351108, 0xe289dad2, 0x0db9b1cb, 0xebf65579, 0x04c63e60, 0x307af5ba, 0xdf4a9ea3,
     0x5903620e, 0xb6330917, 0x828fc2cd, 0x6dbfa9d4, 0x4bfc7d58, 0xa4cc1641, 0x9070dd9b, 0x7f40b682, 0xf9094a2f,
     0x16392136, 0x2285eaec, 0xcdb581f5, 0x2bfa6547, 0xc4ca0e5e, 0xf076c584, 0x1f46ae9d, 0x990f5230, 0x763f3929,
     0x4283f2f3, 0xadb399ea, 0x1c08b7d6, 0xf338dccf, 0xc7841715, 0x28b47c0c, 0xaefd80a1, 0x41cdebb8, 0x75712062,
     0x9a414b7b, 0x7c0eafc9, 0x933ec4d0, 0xa7820f0a, 0x48b26413, 0xcefb98be, 0x21cbf3a7, 0x1577387d, 0xfa475364,
     0xdc0487e8, 0x3334ecf1, 0x0788272b, 0xe8b84c32, 0x6ef1b09f, 0x81c1db86, 0xb57d105c, 0x5a4d7b45, 0xbc029ff7,
     0x5332f4ee, 0x678e3f34, 0x88be542d, 0x0ef7a880, 0xe1c7c399, 0xd57b0843, 0x3a4b635a, 0x99fca15b, 0x76ccca42,
     0x42700198, 0xad406a81, 0x2b09962c, 0xc439fd35, 0xf08536ef, 0x1fb55df6, 0xf9fab944, 0x16cad25d, 0x22761987,
     0xcd46729e, 0x4b0f8e33, 0xa43fe52a, 0x90832ef0, 0x7fb345e9, 0x59f09165, 0xb6c0fa7c, 0x827c31a6, 0x6d4c5abf,
     0xeb05a612, 0x0435cd0b, 0x308906d1, 0xdfb96dc8, 0x39f6897a, 0xd6c6e263, 0xe27a29b9, 0x0d4a42a0, 0x8b03be0d,
     0x6433d514, 0x508f1ece, 0xbfbf75d7, 0x120cec3d, 0xfd3c8724, 0xc9804cfe, 0x26b027e7, 0xa0f9db4a, 0x4fc9b053,
     0x7b757b89, 0x94451090, 0x720af422, 0x9d3a9f3b, 0xa98654e1, 0x46b63ff8, 0xc0ffc355, 0x2fcfa84c, 0x1b736396,
     0xf443088f, 0xd200dc03, 0x3d30b71a, 0x098c7cc0, 0xe6bc17d9, 0x60f5eb74, 0x8fc5806d, 0xbb794bb7, 0x544920ae,
     0xb206c41c, 0x5d36af05, 0x698a64df, 0x86ba0fc6, 0x00f3f36b, 0xefc39872, 0xdb7f53a8, 0x344f38b1, 0x97f8fab0,
     0x78c891a9, 0x4c745a73, 0xa344316a, 0x250dcdc7, 0xca3da6de, 0xfe816d04, 0x11b1061d, 0xf7fee2af, 0x18ce89b6,
     0x2c72426c, 0xc3422975, 0x450bd5d8, 0xaa3bbec1, 0x9e87751b, 0x71b71e02, 0x57f4ca8e, 0xb8c4a197, 0x8c786a4d,
     0x63480154, 0xe501fdf9, 0x0a3196e0, 0x3e8d5d3a, 0xd1bd3623, 0x37f2d291, 0xd8c2b988, 0xec7e7252, 0x034e194b,
     0x8507e5e6, 0x6a378eff, 0x5e8b4525, 0xb1bb2e3c},
    {0x00000000, 0x68032cc8, 0xd0065990, 0xb8057558, 0xa5e0c5d1, 0xcde3e919, 0x75e69c41, 0x1de5b089, 0x4e2dfd53,
     0x262ed19b, 0x9e2ba4c3, 0xf628880b, 0xebcd3882, 0x83ce144a, 0x3bcb6112, 0x53c84dda, 0x9c5bfaa6, 0xf458d66e,
     0x4c5da336, 0x245e8ffe, 0x39bb3f77, 0x51b813bf, 0xe9bd66e7, 0x81be4a2f, 0xd27607f5, 0xba752b3d, 0x02705e65,
     0x6a7372ad, 0x7796c224, 0x1f95eeec, 0xa7909bb4, 0xcf93b77c, 0x3d5b83bd, 0x5558af75, 0xed5dda2d, 0x855ef6e5,
     0x98bb466c, 0xf0b86aa4, 0x48bd1ffc, 0x20be3334, 0x73767eee, 0x1b755226, 0xa370277e, 0xcb730bb6, 0xd696bb3f,
     0xbe9597f7, 0x0690e2af, 0x6e93ce67, 0xa100791b, 0xc90355d3, 0x7106208b, 0x19050c43, 0x04e0bcca, 0x6ce39002,
     0xd4e6e55a, 0xbce5c992, 0xef2d8448, 0x872ea880, 0x3f2bddd8, 0x5728f110, 0x4acd4199, 0x22ce6d51, 0x9acb1809,
     0xf2c834c1, 0x7ab7077a, 0x12b42bb2, 0xaab15eea, 0xc2b27222, 0xdf57c2ab, 0xb754ee63, 0x0f519b3b, 0x6752b7f3,
     0x349afa29, 0x5c99d6e1, 0xe49ca3b9, 0x8c9f8f71, 0x917a3ff8, 0xf9791330, 0x417c6668, 0x297f4aa0, 0xe6ecfddc,
     0x8eefd114, 0x36eaa44c, 0x5ee98884, 0x430c380d, 0x2b0f14c5, 0x930a619d, 0xfb094d55, 0xa8c1008f, 0xc0c22c47,
     0x78c7591f, 0x10c475d7, 0x0d21c55e, 0x6522e996, 0xdd279cce, 0xb524b006, 0x47ec84c7, 0x2fefa80f, 0x97eadd57,
     0xffe9f19f, 0xe20c4116, 0x8a0f6dde, 0x320a1886, 0x5a09344e, 0x09c17994, 0x61c2555c, 0xd9c72004, 0xb1c40ccc,
     0xac21bc45, 0xc422908d, 0x7c27e5d5, 0x1424c91d, 0xdbb77e61, 0xb3b452a9, 0x0bb127f1, 0x63b20b39, 0x7e57bbb0,
     0x16549778, 0xae51e220, 0xc652cee8, 0x959a8332, 0xfd99affa, 0x459cdaa2, 0x2d9ff66a, 0x307a46e3, 0x58796a2b,
     0xe07c1f73, 0x887f33bb, 0xf56e0ef4, 0x9d6d223c, 0x25685764, 0x4d6b7bac, 0x508ecb25, 0x388de7ed, 0x808892b5,
     0xe88bbe7d, 0xbb43f3a7, 0xd340df6f, 0x6b45aa37, 0x034686ff, 0x1ea33676, 0x76a01abe, 0xcea56fe6, 0xa6a6432e,
     0x6935f452, 0x0136d89a, 0xb933adc2, 0xd130810a, 0xccd53183, 0xa4d61d4b, 0x1cd36813, 0x74d044db, 0x27180901,
     0x4f1b25c9, 0xf71e5091, 0x9f1d7c59, 0x82f8ccd0, 0xeafbe018, 0x52fe9540, 0x3afdb988, 0xc8358d49, 0xa036a181,
     0x1833d4d9, 0x7030f811, 0x6dd54898, 0x05d66450, 0xbdd31108, 0xd5d03dc0, 0x8618701a, 0xee1b5cd2, 0x561e298a,
     0x3e1d0542, 0x23f8b5cb, 0x4bfb9903, 0xf3feec5b, 0x9bfdc093, 0x546e77ef, 0x3c6d5b27, 0x84682e7f, 0xec6b02b7,
     0xf18eb23e, 0x998d9ef6, 0x2188ebae, 0x498bc766, 0x1a438abc, 0x7240a674, 0xca45d32c, 0xa246ffe4, 0xbfa34f6d,
     0xd7a063a5, 0x6fa516fd, 0x07a63a35, 0x8fd9098e, 0xe7da2546, 0x5fdf501e, 0x37dc7cd6, 0x2a39cc5f, 0x423ae097,
     0xfa3f95cf, 0x923cb907, 0xc1f4f4dd, 0xa9f7d815, 0x11f2ad4d, 0x79f18185, 0x6414310c, 0x0c171dc4, 0xb412689c,
     0xdc114454, 0x1382f328, 0x7b81dfe0, 0xc384aab8, 0xab878670, 0xb66236f9, 0xde611a31, 0x66646f69, 0x0e6743a1,
     0x5daf0e7b, 0x35ac22b3, 0x8da957eb, 0xe5aa7b23, 0xf84fcbaa, 0x904ce762, 0x2849923a, 0x404abef2, 0xb2828a33,
     0xda81a6fb, 0x6284d3a3, 0x0a87ff6b, 0x17624fe2, 0x7f61632a, 0xc7641672, 0xaf673aba, 0xfcaf7760, 0x94ac5ba8,
     0x2ca92ef0, 0x44aa0238, 0x594fb2b1, 0x314c9e79, 0x8949eb21, 0xe14ac7e9, 0x2ed97095, 0x46da5c5d, 0xfedf2905,
     0x96dc05cd, 0x8b39b544, 0xe33a998c, 0x5b3fecd4, 0x333cc01c, 0x60f48dc6, 0x08f7a10e, 0xb0f2d456, 0xd8f1f89e,
     0xc5144817, 0xad1764df, 0x15121187, 0x7d113d4f},
    {0x00000000, 0x493c7d27, 0x9278fa4e, 0xdb448769, 0x211d826d, 0x6821ff4a, 0xb3657823, 0xfa590504, 0x423b04da,
     0x0b0779fd, 0xd043fe94, 0x997f83b3, 0x632686b7, 0x2a1afb90, 0xf15e7cf9, 0xb86201de, 0x847609b4, 0xcd4a7493,
     0x160ef3fa, 0x5f328edd, 0xa56b8bd9, 0xec57f6fe, 0x37137197, 0x7e2f0cb0, 0xc64d0d6e, 0x8f717049, 0x5435f720,
     0x1d098a07, 0xe7508f03, 0xae6cf224, 0x7528754d, 0x3c14086a, 0x0d006599, 0x443c18be, 0x9f789fd7, 0xd644e2f0,
     0x2c1de7f4, 0x65219ad3, 0xbe651dba, 0xf759609d, 0x4f3b6143, 0x06071c64, 0xdd439b0d, 0x947fe62a, 0x6e26e32e,
     0x271a9e09, 0xfc5e1960, 0xb5626447, 0x89766c2d, 0xc04a110a, 0x1b0e9663, 0x5232eb44, 0xa86bee40, 0xe1579367,
     0x3a13140e, 0x732f6929, 0xcb4d68f7, 0x827115d0, 0x593592b9, 0x1009ef9e, 0xea50ea9a, 0xa36c97bd, 0x782810d4,
     0x31146df3, 0x1a00cb32, 0x533cb615, 0x8878317c, 0xc1444c5b, 0x3b1d495f, 0x72213478, 0xa965b311, 0xe059ce36,
     0x583bcfe8, 0x1107b2cf, 0xca4335a6, 0x837f4881, 0x79264d85, 0x301a30a2, 0xeb5eb7cb, 0xa262caec, 0x9e76c286,
     0xd74abfa1, 0x0c0e38c8, 0x453245ef, 0xbf6b40eb, 0xf6573dcc, 0x2d13baa5, 0x642fc782, 0xdc4dc65c, 0x9571bb7b,
     0x4e353c12, 0x07094135, 0xfd504431, 0xb46c3916, 0x6f28be7f, 0x2614c358, 0x1700aeab, 0x5e3cd38c, 0x857854e5,
     0xcc4429c2, 0x361d2cc6, 0x7f2151e1, 0xa465d688, 0xed59abaf, 0x553baa71, 0x1c07d756, 0xc743503f, 0x8e7f2d18,
     0x7426281c, 0x3d1a553b, 0xe65ed252, 0xaf62af75, 0x9376a71f, 0xda4ada38, 0x010e5d51, 0x48322076, 0xb26b2572,
     0xfb575855, 0x2013df3c, 0x692fa21b, 0xd14da3c5, 0x9871dee2, 0x4335598b, 0x0a0924ac, 0xf05021a8, 0xb96c5c8f,
     0x6228dbe6, 0x2b14a6c1, 0x34019664, 0x7d3deb43, 0xa6796c2a, 0xef45110d, 0x151c1409, 0x5c20692e, 0x8764ee47,
     0xce589360, 0x763a92be, 0x3f06ef99, 0xe44268f0, 0xad7e15d7, 0x572710d3, 0x1e1b6df4, 0xc55fea9d, 0x8c6397ba,
     0xb0779fd0, 0xf94be2f7, 0x220f659e, 0x6b3318b9, 0x916a1dbd, 0xd856609a, 0x0312e7f3, 0x4a2e9ad4, 0xf24c9b0a,
     0xbb70e62d, 0x60346144, 0x29081c63, 0xd3511967, 0x9a6d6440, 0x4129e329, 0x08159e0e, 0x3901f3fd, 0x703d8eda,
     0xab7909b3, 0xe2457494, 0x181c7190, 0x51200cb7, 0x8a648bde, 0xc358f6f9, 0x7b3af727, 0x32068a00, 0xe9420d69,
     0xa07e704e, 0x5a27754a, 0x131b086d, 0xc85f8f04, 0x8163f223, 0xbd77fa49, 0xf44b876e, 0x2f0f0007, 0x66337d20,
     0x9c6a7824, 0xd5560503, 0x0e12826a, 0x472eff4d, 0xff4cfe93, 0xb67083b4, 0x6d3404dd, 0x240879fa, 0xde517cfe,
     0x976d01d9, 0x4c2986b0, 0x0515fb97, 0x2e015d56, 0x673d2071, 0xbc79a718, 0xf545da3f, 0x0f1cdf3b, 0x4620a21c,
     0x9d642575, 0xd4585852, 0x6c3a598c, 0x250624ab, 0xfe42a3c2, 0xb77edee5, 0x4d27dbe1, 0x041ba6c6, 0xdf5f21af,
     0x96635c88, 0xaa7754e2, 0xe34b29c5, 0x380faeac, 0x7133d38b, 0x8b6ad68f, 0xc256aba8, 0x19122cc1, 0x502e51e6,
     0xe84c5038, 0xa1702d1f, 0x7a34aa76, 0x3308d751, 0xc951d255, 0x806daf72, 0x5b29281b, 0x1215553c, 0x230138cf,
     0x6a3d45e8, 0xb179c281, 0xf845bfa6, 0x021cbaa2, 0x4b20c785, 0x906440ec, 0xd9583dcb, 0x613a3c15, 0x28064132,
     0xf342c65b, 0xba7ebb7c, 0x4027be78, 0x091bc35f, 0xd25f4436, 0x9b633911, 0xa777317b, 0xee4b4c5c, 0x350fcb35,
     0x7c33b612, 0x866ab316, 0xcf56ce31, 0x14124958, 0x5d2e347f, 0xe54c35a1, 0xac704886, 0x7734cfef, 0x3e08b2c8,
     0xc451b7cc, 0x8d6dcaeb, 0x56294d82, 0x1f1530a5},
};

/* The functions below work on the inverted register, as the algorithm defines it; kl_crc32c inverts outside. */
static uint32_t crc32c_bytes_portable(uint32_t crc, const uint8_t *p, size_t size) {
  while (size >= 8) {
    uint32_t low = crc ^ kl_load_u32_le(p);
    uint32_t high = kl_load_u32_le(p + 4);
    crc = crc32c_table[7][low & 0xff] ^ crc32c_table[6][low >> 8 & 0xff] ^ crc32c_table[5][low >> 16 & 0xff] ^
          crc32c_table[4][low >> 24] ^ crc32c_table[3][high & 0xff] ^ crc32c_table[2][high >> 8 & 0xff] ^
          crc32c_table[1][high >> 16 & 0xff] ^ crc32c_table[0][high >> 24];
    p += 8;
    size -= 8;
  }
  while (size > 0) {
    crc = crc32c_table[0][(crc ^ *p++) & 0xff] ^ crc >> 8;
    size--;
  }
  return crc;
}

uint32_t kl_crc32c_portable(uint32_t crc, const void *data, size_t size) {
  return ~crc32c_bytes_portable(~crc, data, size);
}

#if defined(__x86_64__)

enum { CRC32C_LANE = 1024, CRC32C_SHORT_LANE = 128 }; /* bytes per stream and round */
/* Multiplying by these moves a CRC register over that many zero bytes: x^(8n - 33) mod P, reflected. */
#define CRC32C_SHIFT_LANE UINT32_C(0x170076fa)
#define CRC32C_SHIFT_2_LANES UINT32_C(0xa51b6135)
#define CRC32C_SHIFT_SHORT UINT32_C(0x0d3b6092)
#define CRC32C_SHIFT_2_SHORTS UINT32_C(0xb9e02b86)

__attribute__((target("sse4.2"))) static uint32_t crc32c_bytes_sse42(uint32_t crc, const uint8_t *p, size_t size) {
  uint64_t wide = crc;
  while (size >= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    wide = _mm_crc32_u64(wide, word);
    p += 8;
    size -= 8;
  }
  crc = (uint32_t)wide;
  while (size > 0) {
    crc = _mm_crc32_u8(crc, *p++);
    size--;
  }
  return crc;
}

/* The register after `lane` zero bytes, where `shift` is the constant for that many. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t crc32c_shift(uint64_t crc, uint32_t shift) {
  __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128((long long)shift), 0);
  return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* Rounds of three lanes side by side. Moves *data on and returns the register; fewer than 3 * lane bytes remain. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t crc32c_lanes(uint32_t crc, const uint8_t **data,
                                                                             size_t *size, size_t lane,
                                                                             uint32_t shift_1, uint32_t shift_2) {
  const uint8_t *p = *data;
  while (*size >= 3 * lane) {
    uint64_t a = crc;
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < lane; i += 8) {
      uint64_t word_a;
      uint64_t word_b;
      uint64_t word_c;
      memcpy(&word_a, p + i, 8);
      memcpy(&word_b, p + lane + i, 8);
      memcpy(&word_c, p + 2 * lane + i, 8);
      a = _mm_crc32_u64(a, word_a);
      b = _mm_crc32_u64(b, word_b);
      c = _mm_crc32_u64(c, word_c);
    }
    crc = crc32c_shift(a, shift_2) ^ crc32c_shift(b, shift_1) ^ (uint32_t)c;
    p += 3 * lane;
    *size -= 3 * lane;
  }
  *data = p;
  return crc;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc32c_bytes_clmul(uint32_t crc, const uint8_t *p,
                                                                            size_t size) {
  crc = crc32c_lanes(crc, &p, &size, CRC32C_LANE, CRC32C_SHIFT_LANE, CRC32C_SHIFT_2_LANES);
  crc = crc32c_lanes(crc, &p, &size, CRC32C_SHORT_LANE, CRC32C_SHIFT_SHORT, CRC32C_SHIFT_2_SHORTS);
  return crc32c_bytes_sse42(crc, p, size);
}

/* Reads what the compiler's runtime found out before main; no state of ours. */
int kl_crc32c_is_hardware(void) {
  return __builtin_cpu_supports("sse4.2") != 0;
}

uint32_t kl_crc32c(uint32_t crc, const void *data, size_t size) {
  if (!kl_crc32c_is_hardware()) return kl_crc32c_portable(crc, data, size);
  if (size < 3 * (size_t)CRC32C_SHORT_LANE || !__builtin_cpu_supports("pclmul")) {
    return ~crc32c_bytes_sse42(~crc, data, size);
  }
  return ~crc32c_bytes_clmul(~crc, data, size);
}

#elif defined(__aarch64__) && (defined(__ARM_FEATURE_CRC32) || defined(__linux__))

#if defined(__ARM_FEATURE_CRC32)
#define CRC32C_TARGET
#elif defined(__clang__)
#define CRC32C_TARGET __attribute__((target("crc")))
#else
#define CRC32C_TARGET __attribute__((target("+crc")))
#endif

CRC32C_TARGET static uint32_t crc32c_bytes_armv8(uint32_t crc, const uint8_t *p, size_t size) {
  while (size >= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    crc = __crc32cd(crc, word);
    p += 8;
    size -= 8;
  }
  while (size > 0) {
    crc = __crc32cb(crc, *p++);
    size--;
  }
  return crc;
}

int kl_crc32c_is_hardware(void) {
#if defined(__ARM_FEATURE_CRC32)
  return 1;
#else
  enum { CRC32C_HWCAP = 1 << 7 }; /* HWCAP_CRC32 of <asm/hwcap.h>, frozen ABI of the kernel */
  return (getauxval(AT_HWCAP) & CRC32C_HWCAP) != 0;
#endif
}

uint32_t kl_crc32c(uint32_t crc, const void *data, size_t size) {
  if (!kl_crc32c_is_hardware()) return kl_crc32c_portable(crc, data, size);
  return ~crc32c_bytes_armv8(~crc, data, size);
}

#else

int kl_crc32c_is_hardware(void) {
  return 0;
}

uint32_t kl_crc32c(uint32_t crc, const void *data, size_t size) {
  return kl_crc32c_portable(crc, data, size);
}

#endif

/* ---- core/base/epoch.c ---- */
/* core/base/epoch.c: epoch-based reclamation. See epoch.h for the interface, README.md for the argument in full.
 *
 * A domain has a global epoch, a counter that only grows, and an array of slots. A slot is one 64-bit word: the epoch
 * at which its first reader entered, and how many readers share it. A collection takes the list of what was retired,
 * advances the epoch, reads all slots, and reclaims what was retired before the oldest epoch that it found
 * (BASE-EPOCH-1).
 *
 * Why that is safe. Let X be unlinked and then retired with r, and let reader R hold a pointer to X. R read the global
 * epoch e, then wrote its slot, then read the link to X; the link was still there, so all this came before the
 * unlinking, and r was read after it: e <= r. So as long as R is inside, its slot shows an epoch <= r (sharing never
 * raises a slot's epoch), and a collection that sees the slot keeps X. A collection that does not see R's slot read
 * it before R wrote it; X was unlinked before that, so R, which reads links after writing its slot, cannot find X.
 * The last step is the store-then-load pattern: R writes its slot and then reads a link; the other side writes the
 * link and then reads the slot. Both sides have a full fence in between, so at least one sees the other. */

/* ---- core/base/epoch.h ---- */
/* core/base/epoch.h: epoch-based reclamation (K. Fraser, "Practical lock-freedom", 2004, chapter 5).
 *
 * Readers of lock-free structures announce themselves once per operation; memory that was unlinked is freed when
 * every reader that could have seen it has left. Difference to the paper: a reader claims one of a fixed number of
 * cache-line slots per entry (found from a per-thread hint, one uncontended compare-and-swap) rather than owning one
 * for the life of its thread, so there is no registration, nothing to clean up at thread exit, and a goroutine or a
 * worker that changes threads between calls is harmless. An entry must be left by the same call chain; entries nest
 * (each takes a slot).
 *
 * Thread rules: all functions from any thread. */
#ifndef KL_BASE_EPOCH_H
#define KL_BASE_EPOCH_H

typedef struct kl_epoch kl_epoch; /* one reclamation domain; one per open database */

typedef struct kl_epoch_guard {
  uint32_t slot;
} kl_epoch_guard;

kl_status kl_epoch_new(kl_allocator *allocator, kl_epoch **out_epoch, kl_error *err);
/* No reader may be inside. Runs every pending reclamation. NULL is allowed. */
void kl_epoch_free(kl_epoch *epoch);

kl_epoch_guard kl_epoch_enter(kl_epoch *epoch);
void kl_epoch_leave(kl_epoch *epoch, kl_epoch_guard guard);

/* Something to free later. The caller embeds it in the object that it unlinks: retiring never allocates. */
typedef struct kl_epoch_entry kl_epoch_entry;
struct kl_epoch_entry {
  kl_epoch_entry *next;
  uint64_t retired_at;
  void (*reclaim)(kl_epoch_entry *entry, void *context);
  void *context;
};

/* `entry` is no longer reachable for readers that enter from now on; `reclaim` runs once none can hold it, from some
 * thread that calls kl_epoch_retire, kl_epoch_collect or kl_epoch_free. */
void kl_epoch_retire(kl_epoch *epoch, kl_epoch_entry *entry);
/* Tries to advance the epoch and runs what has become free; returns how many were reclaimed. Never waits. */
uint32_t kl_epoch_collect(kl_epoch *epoch);

#endif

enum {
  EPOCH_SLOTS = 64, /* a power of two; more readers than that share slots */
  EPOCH_COUNT_BITS = 16,
  EPOCH_COLLECT_EVERY = 64 /* retirements between the collections that kl_epoch_retire starts */
};
#define EPOCH_COUNT_MASK ((UINT64_C(1) << EPOCH_COUNT_BITS) - 1)

/* epoch << EPOCH_COUNT_BITS | readers. The epoch means something while readers > 0. 48 bits of epoch last for 8 years
 * of a million collections a second. Each slot has its own cache line: entering must not disturb other readers. */
typedef struct epoch_slot {
  _Alignas(64) _Atomic uint64_t word;
} epoch_slot;

struct kl_epoch {
  epoch_slot slots[EPOCH_SLOTS];
  /* Written by collections only, read by every reader: apart from the line that retirements write. */
  _Alignas(64) _Atomic uint64_t global;
  kl_allocator *allocator;
  _Alignas(64) _Atomic(kl_epoch_entry *) retired; /* newest first; pushed by any thread, taken whole by the collector */
  _Atomic uint32_t uncollected;                   /* retirements since the last collection */
  atomic_flag collecting;                         /* guards what follows; only ever tried, never waited for */
  kl_epoch_entry *pending_first, *pending_last;   /* oldest first */
};

/* Thread sanitizer does not model fences, and gcc warns of it. It loses nothing here: every pair that publishes data
 * does so through the atomic words themselves; the fences only order a store before a later load of another word. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void epoch_full_fence(void) {
  atomic_thread_fence(memory_order_seq_cst);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/* The same after an atomic read-modify-write, which on x86 is a locked instruction and as such a full fence. */
static inline void epoch_fence_after_rmw(void) {
#if defined(__x86_64__) || defined(__i386__)
  atomic_signal_fence(memory_order_seq_cst); /* keeps the compiler from moving accesses */
#else
  epoch_full_fence();
#endif
}

kl_status kl_epoch_new(kl_allocator *allocator, kl_epoch **out_epoch, kl_error *err) {
  kl_epoch *epoch = kl_alloc_aligned(allocator, sizeof *epoch, _Alignof(kl_epoch));
  if (epoch == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for an epoch domain (%zu bytes)", sizeof *epoch);
  for (int i = 0; i < EPOCH_SLOTS; i++) atomic_init(&epoch->slots[i].word, 0);
  atomic_init(&epoch->global, 1);
  epoch->allocator = allocator;
  atomic_init(&epoch->retired, NULL);
  atomic_init(&epoch->uncollected, 0);
  atomic_flag_clear_explicit(&epoch->collecting, memory_order_relaxed);
  *out_epoch = epoch;
  return KL_OK;
}

/* Tries to count one more reader in a slot. `share`: also when that slot's readers entered at another epoch. */
static bool epoch_slot_take(epoch_slot *slot, uint64_t now, bool share) {
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  for (;;) {
    uint64_t next;
    if ((word & EPOCH_COUNT_MASK) == 0) {
      next = now << EPOCH_COUNT_BITS | 1;
    } else if (share && (word & EPOCH_COUNT_MASK) < EPOCH_COUNT_MASK) {
      next = word + 1; /* an older epoch than ours only keeps more alive */
    } else {
      return false;
    }
    /* Acquire-release: continues the release sequence of readers that left this slot, so that a collector that reads
     * a later word is still ordered after them. */
    if (atomic_compare_exchange_weak_explicit(&slot->word, &word, next, memory_order_acq_rel, memory_order_relaxed)) {
      return true;
    }
  }
}

kl_epoch_guard kl_epoch_enter(kl_epoch *epoch) {
  uint64_t now = atomic_load_explicit(&epoch->global, memory_order_relaxed); /* stale is old, and old is safe */
  uint32_t first = kl_thread_hint();
  /* The second pass, and the passes after it, run only when all slots are taken. */
  for (uint32_t i = 0;; i++) {
    uint32_t index = (first + i) & (EPOCH_SLOTS - 1);
    if (epoch_slot_take(&epoch->slots[index], now, i >= EPOCH_SLOTS)) {
      epoch_fence_after_rmw(); /* the slot is written before any link is read */
      return (kl_epoch_guard){index};
    }
  }
}

void kl_epoch_leave(kl_epoch *epoch, kl_epoch_guard guard) {
  /* Release: what we read under the guard was read before a collector sees us gone. */
  uint64_t before = atomic_fetch_sub_explicit(&epoch->slots[guard.slot].word, 1, memory_order_release);
  KL_ASSERT((before & EPOCH_COUNT_MASK) != 0);
  (void)before;
}

void kl_epoch_retire(kl_epoch *epoch, kl_epoch_entry *entry) {
  /* The unlinking comes before the epoch that we read here, and before every slot that a collection reads later. */
  epoch_full_fence();
  entry->retired_at = atomic_load_explicit(&epoch->global, memory_order_relaxed);
  entry->next = atomic_load_explicit(&epoch->retired, memory_order_relaxed);
  /* Release: the collector reads the entry. Pushing only, and taking the whole list, is free of ABA. */
  while (!atomic_compare_exchange_weak_explicit(&epoch->retired, &entry->next, entry, memory_order_release,
                                                memory_order_relaxed)) {
  }
  uint32_t count = atomic_fetch_add_explicit(&epoch->uncollected, 1, memory_order_relaxed) + 1;
  if (count >= EPOCH_COLLECT_EVERY) (void)kl_epoch_collect(epoch);
}

/* Moves what was retired to the end of the pending queue, in order of retirement. Under `collecting`. */
static void epoch_take_retired(kl_epoch *epoch) {
  kl_epoch_entry *entry = atomic_exchange_explicit(&epoch->retired, NULL, memory_order_acquire);
  kl_epoch_entry *first = NULL;
  kl_epoch_entry *last = entry;
  while (entry != NULL) {
    kl_epoch_entry *older = entry->next;
    entry->next = first;
    first = entry;
    entry = older;
  }
  if (first == NULL) return;
  if (epoch->pending_last != NULL) {
    epoch->pending_last->next = first;
  } else {
    epoch->pending_first = first;
  }
  epoch->pending_last = last;
}

/* The oldest epoch at which a reader may be inside; `now` when there is none. */
static uint64_t epoch_oldest_reader(kl_epoch *epoch, uint64_t now) {
  uint64_t oldest = now;
  for (int i = 0; i < EPOCH_SLOTS; i++) {
    /* Acquire: pairs with the release in kl_epoch_leave; what a reader did comes before what we free. */
    uint64_t word = atomic_load_explicit(&epoch->slots[i].word, memory_order_acquire);
    if ((word & EPOCH_COUNT_MASK) != 0 && word >> EPOCH_COUNT_BITS < oldest) oldest = word >> EPOCH_COUNT_BITS;
  }
  return oldest;
}

static uint32_t epoch_run(kl_epoch_entry *entry) {
  uint32_t count = 0;
  while (entry != NULL) {
    kl_epoch_entry *next = entry->next; /* reclaim frees the entry */
    entry->reclaim(entry, entry->context);
    entry = next;
    count++;
  }
  return count;
}

uint32_t kl_epoch_collect(kl_epoch *epoch) {
  if (atomic_flag_test_and_set_explicit(&epoch->collecting, memory_order_acquire))
    return 0; /* somebody else is at it */
  atomic_store_explicit(&epoch->uncollected, 0, memory_order_relaxed);
  epoch_take_retired(epoch);
  kl_epoch_entry *ready = NULL;
  if (epoch->pending_first != NULL) {
    /* The order matters: take the list, advance, fence, read the slots. What is retired from now on gets an epoch >=
     * now and is not looked at in this round anyway. */
    uint64_t now = atomic_fetch_add_explicit(&epoch->global, 1, memory_order_acq_rel) + 1;
    epoch_fence_after_rmw();
    uint64_t oldest = epoch_oldest_reader(epoch, now);
    /* Threads may push in another order than they read the epoch: the queue is only nearly sorted, and stopping at the
     * first entry that must stay keeps a few behind it longer than needed, which is safe. */
    kl_epoch_entry **end = &ready;
    while (epoch->pending_first != NULL && epoch->pending_first->retired_at < oldest) {
      *end = epoch->pending_first;
      end = &epoch->pending_first->next;
      epoch->pending_first = epoch->pending_first->next;
    }
    *end = NULL;
    if (epoch->pending_first == NULL) epoch->pending_last = NULL;
  }
  atomic_flag_clear_explicit(&epoch->collecting, memory_order_release);
  /* Outside: reclaiming may be slow, and may itself retire. */
  return epoch_run(ready);
}

void kl_epoch_free(kl_epoch *epoch) {
  if (epoch == NULL) return;
  /* No reader is inside, so each round reclaims everything; what that retires in turn needs another round. */
  while (kl_epoch_collect(epoch) != 0) {
  }
  KL_ASSERT(epoch->pending_first == NULL);
  KL_ASSERT(atomic_load_explicit(&epoch->retired, memory_order_relaxed) == NULL);
  kl_free(epoch->allocator, epoch, sizeof *epoch);
}

/* ---- core/base/memory.c ---- */
/* core/base/memory.c: the allocator over the C library. See memory.h. */

static void *memory_libc_alloc(kl_allocator *self, size_t size, size_t align) {
  (void)self;
  if (size == 0) size = 1; /* a pointer that is not NULL, so that NULL always means: no memory */
  /* calloc knows which pages come fresh from the system and leaves them untouched; large blocks that are not used
   * then cost no resident memory. Wider alignment is rare and small here. */
  if (align <= _Alignof(max_align_t)) return calloc(1, size);
  if (size > SIZE_MAX - (align - 1)) return NULL;
  size_t rounded = (size + align - 1) & ~(align - 1); /* aligned_alloc wants a multiple */
  void *memory = aligned_alloc(align, rounded);
  if (memory != NULL) memset(memory, 0, rounded);
  return memory;
}

static void memory_libc_free(kl_allocator *self, void *memory, size_t size) {
  (void)self;
  (void)size;
  free(memory);
}

kl_allocator *kl_allocator_libc(void) {
  /* Holds no state: never written, so that sharing it is safe. */
  static kl_allocator libc_allocator = {memory_libc_alloc, memory_libc_free};
  return &libc_allocator;
}

void *kl_realloc(kl_allocator *a, void *memory, size_t old_size, size_t new_size) {
  void *grown = kl_alloc(a, new_size);
  if (grown == NULL) return NULL;
  size_t keep = old_size < new_size ? old_size : new_size;
  if (keep != 0 && memory != NULL) memcpy(grown, memory, keep);
  kl_free(a, memory, old_size);
  return grown;
}

/* ---- core/base/rng.c ---- */
/* core/base/rng.c: see rng.h. */

/* ---- core/base/rng.h ---- */
/* core/base/rng.h: a seeded pseudo-random generator for simulation, tests, jitter and skip-list heights.
 *
 * xoshiro256** 1.0 (D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021),
 * seeded by splitmix64. One seed gives one sequence on every machine. Not for secrets: identities of databases come
 * from kl_os_random. Thread rules: a generator belongs to one thread at a time. */
#ifndef KL_BASE_RNG_H
#define KL_BASE_RNG_H

typedef struct kl_rng {
  uint64_t state[4];
} kl_rng;

void kl_rng_init(kl_rng *rng, uint64_t seed); /* any seed, 0 included */
uint64_t kl_rng_next(kl_rng *rng);            /* 64 uniform bits */
/* Uniform in [0, bound), without bias; 0 when bound is 0. */
uint64_t kl_rng_below(kl_rng *rng, uint64_t bound);
void kl_rng_fill(kl_rng *rng, void *out, size_t size);

/* splitmix64's mixing step: a cheap, good hash of an integer. */
uint64_t kl_mix64(uint64_t value);

#endif

uint64_t kl_mix64(uint64_t value) {
  value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
  return value ^ (value >> 31);
}

void kl_rng_init(kl_rng *rng, uint64_t seed) {
  /* Four successive outputs of splitmix64: never all zero, the one state that xoshiro cannot leave, because its
   * outputs are a bijection of four different counters. */
  for (int i = 0; i < 4; i++) {
    seed += UINT64_C(0x9e3779b97f4a7c15);
    rng->state[i] = kl_mix64(seed);
  }
}

static inline uint64_t rng_rotate_left(uint64_t value, int count) {
  return value << count | value >> (64 - count);
}

uint64_t kl_rng_next(kl_rng *rng) {
  uint64_t *s = rng->state;
  uint64_t result = rng_rotate_left(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rng_rotate_left(s[3], 45);
  return result;
}

uint64_t kl_rng_below(kl_rng *rng, uint64_t bound) {
  if (bound == 0) return 0;
  /* Numbers from `threshold` on fall into whole multiples of bound; the few below it would favour small results.
   * (0 - bound) % bound is 2^64 mod bound. */
  uint64_t threshold = (0 - bound) % bound;
  for (;;) {
    uint64_t value = kl_rng_next(rng);
    if (value >= threshold) return value % bound;
  }
}

void kl_rng_fill(kl_rng *rng, void *out, size_t size) {
  uint8_t *p = out;
  uint8_t word[8];
  while (size > 0) {
    size_t n = size < sizeof word ? size : sizeof word;
    kl_store_u64_le(word, kl_rng_next(rng)); /* by bytes, so that one seed gives the same bytes on every CPU */
    memcpy(p, word, n);
    p += n;
    size -= n;
  }
}

/* ---- core/base/shared_arena.c ---- */
/* core/base/shared_arena.c: the arena that many threads allocate from at once. See arena.h.
 *
 * A shard has one current chunk. Taking memory is one fetch_add on the chunk's `used`: what it returns is ours alone
 * (invariant BASE-ARENA-1). A thread that finds the chunk full makes a larger one and installs it with a
 * compare-and-swap; of several that do so at once one wins, the others free theirs and try again in the winner's. Chunks
 * are only ever added until the whole arena is freed, so that no pointer can go stale and the compare-and-swap cannot
 * be fooled by reuse (no ABA). Nobody waits for anybody. */

enum {
  SHARED_ARENA_SHARDS = 8, /* a power of two */
  SHARED_ARENA_FIRST_CHUNK = 4096,
  SHARED_ARENA_LARGEST_CHUNK = 1024 * 1024, /* a request above a quarter of it gets a chunk of its own */
  SHARED_ARENA_UNIT = 16                    /* `used` moves in multiples of it */
};

typedef struct shared_arena_chunk {
  struct shared_arena_chunk *next; /* older one; fixed before the chunk is published */
  size_t size;                     /* of the whole chunk */
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
  shared_arena_chunk *chunk = kl_alloc_aligned(allocator, size, SHARED_ARENA_UNIT);
  if (chunk == NULL) return NULL;
  chunk->size = size;
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

/* ---- core/base/status.c ---- */
/* core/base/status.c: filling a kl_error. See status.h; the names of the codes are in status_names.c. */

enum { STATUS_ERRNO_TEXT = 128 };

/* strerror_r has two shapes: GNU's returns the text (perhaps not in the buffer), POSIX's fills the buffer. */
static inline const char *status_text_of_gnu(const char *result, const char *buffer) {
  return result != NULL ? result : buffer;
}
static inline const char *status_text_of_posix(int result, const char *buffer) {
  return result == 0 ? buffer : "unknown system error";
}
#define STATUS_TEXT_OF(call, buffer) \
  _Generic((call), int : status_text_of_posix, default : status_text_of_gnu)((call), (buffer))

/* Cuts a message that filled its buffer, so that it ends in "..." and not inside a UTF-8 sequence. */
static void status_mark_cut(char message[KL_ERROR_MESSAGE]) {
  size_t end = KL_ERROR_MESSAGE - 4;
  while (end > 0 && ((unsigned char)message[end] & 0xC0U) == 0x80U) end--;
  memcpy(message + end, "...", 4);
}

/* A path or a name may hold a line feed or an escape sequence; a message is one harmless line. */
static void status_make_one_line(char *message) {
  for (char *p = message; *p != '\0'; p++) {
    unsigned char c = (unsigned char)*p;
    if (c < 0x20 || c == 0x7F) *p = '?';
  }
}

static void status_fill(kl_error *err, kl_status code, int system_errno, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));

static void status_fill(kl_error *err, kl_status code, int system_errno, const char *format, va_list arguments) {
  err->code = code;
  err->system_errno = system_errno;
  int length = vsnprintf(err->message, sizeof err->message, format, arguments);
  if (length < 0) { /* a malformed wide string among the arguments: the code still tells what happened */
    (void)snprintf(err->message, sizeof err->message, "%s", kl_status_name(code));
    length = 0;
  }
  if (system_errno != 0 && (size_t)length < sizeof err->message) {
    char buffer[STATUS_ERRNO_TEXT] = "";
    const char *text = STATUS_TEXT_OF(strerror_r(system_errno, buffer, sizeof buffer), buffer);
    size_t used = strlen(err->message);
    int more = snprintf(err->message + used, sizeof err->message - used, ": %s (errno %d)", text, system_errno);
    if (more > 0) length = (int)used + more;
  }
  if ((size_t)length >= sizeof err->message) status_mark_cut(err->message);
  status_make_one_line(err->message);
}

kl_status(kl_fail)(kl_error *err, kl_status code, const char *format, ...) {
  if (err == NULL) return code;
  va_list arguments;
  va_start(arguments, format);
  status_fill(err, code, 0, format, arguments);
  va_end(arguments);
  return code;
}

kl_status(kl_fail_errno)(kl_error *err, kl_status code, int system_errno, const char *format, ...) {
  if (err == NULL) return code;
  va_list arguments;
  va_start(arguments, format);
  status_fill(err, code, system_errno, format, arguments);
  va_end(arguments);
  return code;
}

/* ---- core/base/status_names.c ---- */
/* core/base/status_names.c: names and classes of the status codes.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`. */

typedef struct status_names_entry {
  kl_status code;
  int32_t retryable;
  const char *name;
  const char *class_name;
} status_names_entry;

static const status_names_entry status_names_table[] = {
    {KL_OK, 0, "ok", "ok"},
    {KL_E_INVALID, 0, "invalid", "usage"},
    {KL_E_HANDLE, 0, "handle", "usage"},
    {KL_E_FINISHED, 0, "finished", "usage"},
    {KL_E_READ_ONLY, 0, "read_only", "usage"},
    {KL_E_KEY_SIZE, 0, "key_size", "usage"},
    {KL_E_VALUE_SIZE, 0, "value_size", "usage"},
    {KL_E_BUFFER_SIZE, 0, "buffer_size", "usage"},
    {KL_E_CONCURRENT_USE, 0, "concurrent_use", "usage"},
    {KL_E_FORKED, 0, "forked", "usage"},
    {KL_E_CLOSED, 0, "closed", "usage"},
    {KL_E_UNSUPPORTED, 0, "unsupported", "usage"},
    {KL_E_NOT_FOUND, 0, "not_found", "not_found"},
    {KL_E_KEYSPACE_NOT_FOUND, 0, "keyspace_not_found", "not_found"},
    {KL_E_NO_FILE, 0, "no_file", "not_found"},
    {KL_E_EXISTS, 0, "exists", "not_found"},
    {KL_E_CONFLICT, 1, "conflict", "conflict"},
    {KL_E_DEADLOCK, 1, "deadlock", "conflict"},
    {KL_E_SNAPSHOT_TOO_OLD, 1, "snapshot_too_old", "conflict"},
    {KL_E_COMMIT_UNKNOWN, 0, "commit_unknown", "conflict"},
    {KL_E_LOCKED, 0, "locked", "busy"},
    {KL_E_TIMEOUT, 0, "timeout", "busy"},
    {KL_E_CANCELLED, 0, "cancelled", "busy"},
    {KL_E_IO, 0, "io", "io"},
    {KL_E_DISK_FULL, 0, "disk_full", "io"},
    {KL_E_PERMISSION, 0, "permission", "io"},
    {KL_E_READ_ONLY_MEDIA, 0, "read_only_media", "io"},
    {KL_E_NOT_A_FILE, 0, "not_a_file", "io"},
    {KL_E_POISONED, 0, "poisoned", "io"},
    {KL_E_CORRUPT, 0, "corrupt", "corrupt"},
    {KL_E_FORMAT, 0, "format", "corrupt"},
    {KL_E_VERSION, 0, "version", "corrupt"},
    {KL_E_NO_MEMORY, 0, "no_memory", "resource"},
    {KL_E_LIMIT, 0, "limit", "resource"},
    {KL_E_INTERNAL, 0, "internal", "internal"},
};

static const status_names_entry *status_names_find(kl_status code) {
  for (size_t i = 0; i < sizeof status_names_table / sizeof status_names_table[0]; i++) {
    if (status_names_table[i].code == code) return &status_names_table[i];
  }
  return NULL;
}

const char *kl_status_name(kl_status code) {
  const status_names_entry *entry = status_names_find(code);
  return entry != NULL ? entry->name : "unknown";
}

const char *kl_status_class(int32_t code) {
  const status_names_entry *entry = status_names_find(code);
  return entry != NULL ? entry->class_name : "unknown";
}

int32_t kl_status_is_retryable(int32_t code) {
  const status_names_entry *entry = status_names_find(code);
  return entry != NULL ? entry->retryable : 0;
}

/* ---- core/base/thread_hint.c ---- */
/* core/base/thread_hint.c: see arena.h (kl_thread_hint). */

uint32_t kl_thread_hint(void) {
  /* Numbers in order of first use: the first N threads of a process land on N different shards. 0 means: none yet.
   * This is a hint for sharding: nothing is kept per thread, so that there is nothing to clean up when one ends. */
  static atomic_uint hint_next = 1;
  static _Thread_local uint32_t hint_mine;
  if (hint_mine == 0) {
    hint_mine = atomic_fetch_add_explicit(&hint_next, 1, memory_order_relaxed);
    if (hint_mine == 0) hint_mine = 1; /* after 2^32 threads */
  }
  return hint_mine;
}

/* ---- core/os/checks.c ---- */
/* core/os/checks.c: see checks.h. */

/* ---- core/os/checks.h ---- */
/* core/os/checks.h: what every implementation of the interface refuses before it does anything, with one wording.
 * For implementations only. Each gives KL_E_INVALID. Any thread. */
#ifndef KL_OS_CHECKS_H
#define KL_OS_CHECKS_H

/* Flags of open that are unknown or contradict each other. */
kl_status kl_check_open_flags(const char *path, uint32_t flags, kl_error *err);
/* A range that ends past 2^63-1. */
kl_status kl_check_range(const char *path, uint64_t offset, uint64_t size, kl_error *err);
/* A change of a file that is open for reading only. */
kl_status kl_check_writable(const char *path, bool writable, kl_error *err);
/* A rename into another directory. */
kl_status kl_check_rename(const char *from, const char *to, kl_error *err);

#endif

/* ---- core/os/os.h ---- */
/* core/os/os.h: everything that Keel asks of the operating system, as one interface.
 *
 * Two implementations: posix/ (the real one) and sim/ (virtual files, virtual clock, seeded faults; os/sim/sim.h).
 * All code above this floor gets a `kl_os *` and never makes a system call by itself. Platform #ifdefs live in
 * os/posix and (later) os/win only.
 *
 * Paths are UTF-8, NUL-terminated. Sizes and offsets are bytes, offset + size at most 2^63-1 (KL_E_INVALID beyond).
 * Calls that can fail return kl_status and fill err with the path and the errno. Interrupted calls are restarted
 * inside, short transfers continued. What an errno becomes is in os/error.h; the usual ones: KL_E_NO_FILE,
 * KL_E_EXISTS, KL_E_NOT_A_FILE, KL_E_PERMISSION, KL_E_READ_ONLY_MEDIA, KL_E_DISK_FULL, KL_E_LIMIT, KL_E_NO_MEMORY, and
 * KL_E_IO for all that no caller can tell apart.
 *
 * Thread rules: all calls from any thread; one kl_file may be used by many threads at once (positional I/O only),
 * except that close is the last call, and that lock, truncate and allocate of one file are one thread's at a time and
 * no other thread writes past its end meanwhile.
 *
 * After a fork, a kl_file of the parent answers every call in the child with KL_E_FORKED; close frees it there and
 * leaves the parent's lock alone. */
#ifndef KL_OS_OS_H
#define KL_OS_OS_H

/* ---- core/base/slice.h ---- */
/* core/base/slice.h: a borrowed run of bytes, and byte-wise (memcmp) order, the only key order that Keel has. */
#ifndef KL_BASE_SLICE_H
#define KL_BASE_SLICE_H

typedef struct kl_slice {
  const void *data; /* may be NULL when size is 0 */
  size_t size;
} kl_slice;

static inline kl_slice kl_slice_make(const void *data, size_t size) {
  kl_slice s = {data, size};
  return s;
}

/* <0, 0, >0 as a sorts before, with, or after b; a shorter key that is a prefix sorts first. */
static inline int kl_slice_compare(kl_slice a, kl_slice b) {
  size_t n = a.size < b.size ? a.size : b.size;
  int c = n != 0 ? memcmp(a.data, b.data, n) : 0;
  if (c != 0) return c;
  return (a.size > b.size) - (a.size < b.size);
}

static inline bool kl_slice_equal(kl_slice a, kl_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif

typedef struct kl_os kl_os;
typedef struct kl_file kl_file;

enum {
  KL_OPEN_READ = 1,      /* read only; changing calls give KL_E_INVALID */
  KL_OPEN_WRITE = 2,     /* read and write */
  KL_OPEN_CREATE = 4,    /* with WRITE: create when absent, with the bits of `mode` (0: 0600) less the umask */
  KL_OPEN_EXCLUSIVE = 8, /* with CREATE: fail with KL_E_EXISTS when present */
  KL_OPEN_DSYNC = 16     /* every write returns when its data is on stable storage */
};

typedef enum kl_file_kind { KL_FILE_ABSENT, KL_FILE_REGULAR, KL_FILE_DIRECTORY, KL_FILE_OTHER } kl_file_kind;

typedef struct kl_file_info {
  kl_file_kind kind;
  uint64_t size;
  uint64_t device, inode; /* identity: equal for two names of one file */
} kl_file_info;

enum { KL_MEMORY_PAGE = 4096, KL_MEMORY_HUGE = 2 << 20 }; /* units of kl_os_map and its fellows */

typedef enum kl_lock_mode { KL_LOCK_SHARED, KL_LOCK_EXCLUSIVE } kl_lock_mode;

/* The interface. Use the kl_os_* wrappers below; only implementations name this. */
struct kl_os {
  kl_allocator *allocator; /* the allocator of this os; the simulated one can fail */
  bool has_threads;        /* false: no background threads may be started (simulation); do such work inline */

  /* Regular files only (KL_E_NOT_A_FILE); symbolic links are followed. Impossible flags: KL_E_INVALID. */
  kl_status (*open)(kl_os *, const char *path, uint32_t flags, uint32_t mode, kl_file **out, kl_error *);
  void (*close)(kl_os *, kl_file *); /* gives up the lock, does not sync; NULL is allowed */
  /* Reads up to size bytes at offset; *out_read < size only at end of file. */
  kl_status (*read)(kl_os *, kl_file *, void *buffer, size_t size, uint64_t offset, size_t *out_read, kl_error *);
  /* Writes all of the parts, in order, from offset on, or fails. A failed write may have written any part. */
  kl_status (*write)(kl_os *, kl_file *, const kl_slice *parts, size_t count, uint64_t offset, kl_error *);
  /* When it returns KL_OK, every write to the file that was finished before the call is on stable storage, from
   * whatever kl_file of it. data_only (fdatasync): and with them what is needed to read them back, such as the size; a
   * truncation or allocation after the last write may stay behind. The name of a new file needs sync_directory.
   * After a failure nothing is known about any write since the last good sync, and a later good one does not change
   * that (OS-2). */
  kl_status (*sync)(kl_os *, kl_file *, bool data_only, kl_error *);
  kl_status (*size)(kl_os *, kl_file *, uint64_t *out_size, kl_error *);
  kl_status (*truncate)(kl_os *, kl_file *, uint64_t size, kl_error *);
  /* Reserves space for the range without changing bytes that exist; the file grows to offset + size when it is shorter
   * (new bytes read as zeros). Where the file system cannot reserve, the file only grows. */
  kl_status (*allocate)(kl_os *, kl_file *, uint64_t offset, uint64_t size, kl_error *);
  /* Advisory whole-file lock of this kl_file, never waits: KL_E_LOCKED when another process, or another kl_file of
   * this one, holds a lock that excludes it. Exclusive needs KL_OPEN_WRITE (KL_E_INVALID). A second call changes the
   * mode; when that fails the first lock may be lost. Ends with close, or with the process that opened the file, even
   * if a forked child lives on. */
  kl_status (*lock)(kl_os *, kl_file *, kl_lock_mode, kl_error *);

  kl_status (*stat)(kl_os *, const char *path, kl_file_info *out, kl_error *); /* absent is KL_OK + KL_FILE_ABSENT */
  kl_status (*remove)(kl_os *, const char *path, kl_error *);
  /* Atomic; a file named `to` is replaced. Both names are in one directory (KL_E_INVALID), spelled alike. */
  kl_status (*rename)(kl_os *, const char *from, const char *to, kl_error *);
  /* Creations, renames and removals in the directory are durable when it returns KL_OK. */
  kl_status (*sync_directory)(kl_os *, const char *path_of_a_file_in_it, kl_error *);

  uint64_t (*monotonic_ns)(kl_os *);
  uint64_t (*wall_ns)(kl_os *); /* since 1970-01-01 UTC */
  void (*sleep_ns)(kl_os *, uint64_t ns);
  /* For identities and seeds, not for keys: it cannot fail, so it falls back to weaker sources. Seeded in the
   * simulation. */
  void (*random)(kl_os *, void *out, size_t size);
  uint64_t (*process_id)(kl_os *);
  void (*process_name)(kl_os *, char *out, size_t capacity); /* for messages; "" when unknown */
  uint64_t (*physical_memory)(kl_os *);                      /* bytes, or a container's limit; 0 when unknown */

  /* Anonymous memory whose address space is taken first and whose pages come later. `size` of each call, and `memory`
   * of commit and release, are multiples of KL_MEMORY_PAGE. KL_E_NO_MEMORY: the system refuses.
   * map: address space only, aligned to KL_MEMORY_HUGE; it may not be touched before it is committed. */
  kl_status (*map)(kl_os *, uint64_t size, void **out_memory, kl_error *);
  void (*unmap)(kl_os *, void *memory, uint64_t size); /* all of what map gave */
  /* From now on the range may be used, and costs physical memory where it is touched. `huge`: pages of KL_MEMORY_HUGE
   * where the system gives them (one touch may then cost that much); false: never. Again, on a committed range: only
   * changes the kind of pages. Bytes that were never touched read as zeros. */
  kl_status (*commit)(kl_os *, void *memory, uint64_t size, bool huge, kl_error *);
  /* Gives the physical memory of a committed range back; it stays committed and reads as zeros from now on. */
  void (*release)(kl_os *, void *memory, uint64_t size);
};

/* The real operating system. One static object; never freed. */
kl_os *kl_os_posix(void);

/* Wrappers, one per entry: kl_os_open(os, ...), and so on. */
static inline kl_status kl_os_open(kl_os *os, const char *path, uint32_t flags, uint32_t mode, kl_file **out,
                                   kl_error *err) {
  return os->open(os, path, flags, mode, out, err);
}
static inline void kl_os_close(kl_os *os, kl_file *file) {
  os->close(os, file);
}
static inline kl_status kl_os_read(kl_os *os, kl_file *file, void *buffer, size_t size, uint64_t offset,
                                   size_t *out_read, kl_error *err) {
  return os->read(os, file, buffer, size, offset, out_read, err);
}
static inline kl_status kl_os_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                                    kl_error *err) {
  return os->write(os, file, parts, count, offset, err);
}
static inline kl_status kl_os_sync(kl_os *os, kl_file *file, bool data_only, kl_error *err) {
  return os->sync(os, file, data_only, err);
}
static inline kl_status kl_os_size(kl_os *os, kl_file *file, uint64_t *out_size, kl_error *err) {
  return os->size(os, file, out_size, err);
}
static inline kl_status kl_os_truncate(kl_os *os, kl_file *file, uint64_t size, kl_error *err) {
  return os->truncate(os, file, size, err);
}
static inline kl_status kl_os_allocate(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err) {
  return os->allocate(os, file, offset, size, err);
}
static inline kl_status kl_os_lock(kl_os *os, kl_file *file, kl_lock_mode mode, kl_error *err) {
  return os->lock(os, file, mode, err);
}
static inline kl_status kl_os_stat(kl_os *os, const char *path, kl_file_info *out, kl_error *err) {
  return os->stat(os, path, out, err);
}
static inline kl_status kl_os_remove(kl_os *os, const char *path, kl_error *err) {
  return os->remove(os, path, err);
}
static inline kl_status kl_os_rename(kl_os *os, const char *from, const char *to, kl_error *err) {
  return os->rename(os, from, to, err);
}
static inline kl_status kl_os_sync_directory(kl_os *os, const char *path, kl_error *err) {
  return os->sync_directory(os, path, err);
}
static inline uint64_t kl_os_monotonic_ns(kl_os *os) {
  return os->monotonic_ns(os);
}
static inline uint64_t kl_os_wall_ns(kl_os *os) {
  return os->wall_ns(os);
}
static inline void kl_os_sleep_ns(kl_os *os, uint64_t ns) {
  os->sleep_ns(os, ns);
}
static inline void kl_os_random(kl_os *os, void *out, size_t size) {
  os->random(os, out, size);
}
static inline uint64_t kl_os_process_id(kl_os *os) {
  return os->process_id(os);
}
static inline void kl_os_process_name(kl_os *os, char *out, size_t capacity) {
  os->process_name(os, out, capacity);
}
static inline uint64_t kl_os_physical_memory(kl_os *os) {
  return os->physical_memory(os);
}
static inline kl_status kl_os_map(kl_os *os, uint64_t size, void **out_memory, kl_error *err) {
  return os->map(os, size, out_memory, err);
}
static inline void kl_os_unmap(kl_os *os, void *memory, uint64_t size) {
  os->unmap(os, memory, size);
}
static inline kl_status kl_os_commit(kl_os *os, void *memory, uint64_t size, bool huge, kl_error *err) {
  return os->commit(os, memory, size, huge, err);
}
static inline void kl_os_release(kl_os *os, void *memory, uint64_t size) {
  os->release(os, memory, size);
}

#endif

/* ---- core/os/path.h ---- */
/* core/os/path.h: the little that Keel needs to know about paths. Any thread. */
#ifndef KL_OS_PATH_H
#define KL_OS_PATH_H

enum { KL_PATH_SHOWN = 84 }; /* bytes that kl_path_shown needs, with its terminator */

/* The path as messages show it: whole when it is short, otherwise "..." and its end, which tells more than its start.
 * `out` has KL_PATH_SHOWN bytes; returns out. Never cuts inside of a UTF-8 character. */
const char *kl_path_shown(const char *path, char *out);

/* How many bytes of `path` name its directory, without the slashes at their end: 4 of "/a/b//c". 1 of "/c" (the
 * root), 0 of "c" (the working directory). */
size_t kl_path_directory_size(const char *path);

#endif

kl_status kl_check_open_flags(const char *path, uint32_t flags, kl_error *err) {
  const uint32_t known = KL_OPEN_READ | KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_EXCLUSIVE | KL_OPEN_DSYNC;
  bool readable = (flags & (KL_OPEN_READ | KL_OPEN_WRITE)) != 0, writable = (flags & KL_OPEN_WRITE) != 0;
  bool create = (flags & KL_OPEN_CREATE) != 0, exclusive = (flags & KL_OPEN_EXCLUSIVE) != 0;
  char shown[KL_PATH_SHOWN];
  if ((flags & ~known) == 0 && readable && (writable || !create) && (create || !exclusive)) return KL_OK;
  return kl_fail(err, KL_E_INVALID,
                 "cannot open \"%s\": flags 0x%x need READ or WRITE, CREATE needs WRITE, EXCLUSIVE needs CREATE",
                 kl_path_shown(path, shown), (unsigned)flags);
}

kl_status kl_check_range(const char *path, uint64_t offset, uint64_t size, kl_error *err) {
  char shown[KL_PATH_SHOWN];
  if (offset <= INT64_MAX && size <= INT64_MAX - offset) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%llu bytes at offset %llu of \"%s\" end beyond 2^63-1, where files end",
                 (unsigned long long)size, (unsigned long long)offset, kl_path_shown(path, shown));
}

kl_status kl_check_writable(const char *path, bool writable, kl_error *err) {
  char shown[KL_PATH_SHOWN];
  if (writable) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "\"%s\" is open for reading only; open it for writing to change or claim it",
                 kl_path_shown(path, shown));
}

kl_status kl_check_rename(const char *from, const char *to, kl_error *err) {
  char shown_from[KL_PATH_SHOWN], shown_to[KL_PATH_SHOWN];
  size_t size = kl_path_directory_size(from);
  if (size == kl_path_directory_size(to) && memcmp(from, to, size) == 0) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "cannot rename \"%s\" to \"%s\": keep both in one directory",
                 kl_path_shown(from, shown_from), kl_path_shown(to, shown_to));
}

/* ---- core/os/error.c ---- */
/* core/os/error.c: see error.h. */

/* ---- core/os/error.h ---- */
/* core/os/error.h: from an errno to a status, and to one line that a person can act on. Shared by all implementations
 * of the interface, so that a simulated full disk reads exactly like a real one. For implementations only.
 *
 * Thread rules: any thread. */
#ifndef KL_OS_ERROR_H
#define KL_OS_ERROR_H

/* The status that an errno means:
 *   ENOSPC EDQUOT KL_E_DISK_FULL    EACCES EPERM  KL_E_PERMISSION   EROFS           KL_E_READ_ONLY_MEDIA
 *   ENOENT ENOTDIR KL_E_NO_FILE     EISDIR ENXIO  KL_E_NOT_A_FILE   EEXIST          KL_E_EXISTS
 *   ENOMEM KL_E_NO_MEMORY           EFBIG EMFILE ENFILE KL_E_LIMIT  ENAMETOOLONG    KL_E_INVALID
 *   EAGAIN EWOULDBLOCK KL_E_LOCKED  anything else KL_E_IO */
kl_status kl_os_status_of_errno(int system_errno);

/* Fills err with `ACTION "PATH" (what to do): text of the errno` and returns the status of the errno. `format` makes
 * the action, for example "cannot read %zu bytes at offset %llu of"; it is cut at 80 bytes, and of a long path the end
 * is shown. */
kl_status kl_os_fail(kl_error *err, int system_errno, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif

typedef struct os_error_row {
  int system_errno;
  kl_status status;
  const char *advice; /* what to do about it */
} os_error_row;

static const os_error_row os_error_rows[] = {
    {ENOSPC, KL_E_DISK_FULL, "free some disk space"},
    {EDQUOT, KL_E_DISK_FULL, "free some space or raise the disk quota"},
    {EACCES, KL_E_PERMISSION, "check the permissions of the file and its directory"},
    {EPERM, KL_E_PERMISSION, "check the owner, permissions and attributes"},
    {EROFS, KL_E_READ_ONLY_MEDIA, "open it read-only"},
    {ENOENT, KL_E_NO_FILE, "check the path"},
    {ENOTDIR, KL_E_NO_FILE, "a part of the path is not a directory"},
    {EISDIR, KL_E_NOT_A_FILE, "give the path of a file"},
    {ENXIO, KL_E_NOT_A_FILE, "give the path of a regular file"},
    {EEXIST, KL_E_EXISTS, "choose another name or remove it"},
    {ENOMEM, KL_E_NO_MEMORY, "free some memory"},
    {EFBIG, KL_E_LIMIT, "raise the limit of file size"},
    {EMFILE, KL_E_LIMIT, "raise the process's limit of open files"},
    {ENFILE, KL_E_LIMIT, "raise the system's limit of open files"},
    {ENAMETOOLONG, KL_E_INVALID, "use a shorter path"},
    {EAGAIN, KL_E_LOCKED, "another process or handle holds it; close it there"},
};

static const os_error_row *os_error_find(int system_errno) {
  static const os_error_row other = {0, KL_E_IO, "check the device and the system's log"};
  for (size_t i = 0; i < sizeof os_error_rows / sizeof os_error_rows[0]; i++) {
    if (os_error_rows[i].system_errno == system_errno) return &os_error_rows[i];
  }
  /* Not in the table: it equals EAGAIN on some systems, and a table may not hold a value twice there. */
  if (system_errno == EWOULDBLOCK) return os_error_find(EAGAIN);
  return &other;
}

kl_status kl_os_status_of_errno(int system_errno) {
  return os_error_find(system_errno)->status;
}

kl_status kl_os_fail(kl_error *err, int system_errno, const char *path, const char *format, ...) {
  const os_error_row *row = os_error_find(system_errno);
  char action[81], shown[KL_PATH_SHOWN];
  va_list arguments;
  if (err == NULL) return row->status;
  va_start(arguments, format);
  if (vsnprintf(action, sizeof action, format, arguments) < 0) action[0] = '\0';
  va_end(arguments);
  return kl_fail_errno(err, row->status, system_errno, "%s \"%s\" (%s)", action, kl_path_shown(path, shown),
                       row->advice);
}

/* ---- core/os/path.c ---- */
/* core/os/path.c: see path.h. */

const char *kl_path_shown(const char *path, char *out) {
  size_t size = strlen(path);
  if (size < KL_PATH_SHOWN) return memcpy(out, path, size + 1);
  const char *tail = path + size - (KL_PATH_SHOWN - 4);
  while (((unsigned char)*tail & 0xC0) == 0x80) tail++; /* a continuation byte starts no character */
  memcpy(out, "...", 3);
  memcpy(out + 3, tail, strlen(tail) + 1);
  return out;
}

size_t kl_path_directory_size(const char *path) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL) return 0;
  while (slash > path && slash[-1] == '/') slash--;
  return slash == path ? 1 : (size_t)(slash - path);
}

/* ---- core/os/posix/clock.c ---- */
/* core/os/posix/clock.c: time. */

/* ---- core/os/posix/posix_private.h ---- */
/* core/os/posix/posix_private.h: what the files of the POSIX implementation share. */
#ifndef KL_OS_POSIX_PRIVATE_H
#define KL_OS_POSIX_PRIVATE_H

/* ---- core/os/thread.h ---- */
/* core/os/thread.h: mutexes, condition variables, threads.
 *
 * Keel starts few threads, all named ("keel-..."), all joined at close, with stacks of 256 KiB. They block every signal
 * but the faults that they make themselves (SIGSEGV and its like), so that a host's handlers run on the host's threads.
 * Where `os->has_threads` is false none is started (KL_E_UNSUPPORTED).
 *
 * kl_mutex and kl_cond are plain storage (no allocation, cannot fail after init) and stay where they were initialised.
 * A mutex is not recursive. A timed wait measures on the monotonic clock. */
#ifndef KL_OS_THREAD_H
#define KL_OS_THREAD_H

typedef struct kl_mutex {
  _Alignas(8) unsigned char storage[64];
} kl_mutex;
typedef struct kl_cond {
  _Alignas(8) unsigned char storage[64];
} kl_cond;
typedef struct kl_thread kl_thread;

kl_status kl_mutex_init(kl_mutex *mutex, kl_error *err);
void kl_mutex_destroy(kl_mutex *mutex);
void kl_mutex_lock(kl_mutex *mutex);
bool kl_mutex_try_lock(kl_mutex *mutex);
void kl_mutex_unlock(kl_mutex *mutex);

kl_status kl_cond_init(kl_cond *cond, kl_error *err);
void kl_cond_destroy(kl_cond *cond);
void kl_cond_wait(kl_cond *cond, kl_mutex *mutex);
/* False on time-out. May wake without a signal: callers loop on their condition. */
bool kl_cond_wait_ns(kl_cond *cond, kl_mutex *mutex, uint64_t timeout_ns);
void kl_cond_signal(kl_cond *cond);
void kl_cond_broadcast(kl_cond *cond);

/* `name` at most 15 bytes; more are cut. KL_E_LIMIT: the system allows no more threads. */
kl_status kl_thread_start(kl_os *os, const char *name, void (*run)(void *context), void *context, kl_thread **out,
                          kl_error *err);
/* Waits for run to return and frees the thread. In a forked child, where there is no such thread, frees only. NULL is
 * allowed. */
void kl_thread_join(kl_thread *thread);
void kl_thread_yield(void); /* gives up the time slice; for bounded spinning */

/* Equal numbers: the same process. It changes in the child at each fork after the first kl_os_posix() of the process.
 * Objects remember the value of their creation; another value means: forked, touch nothing. One relaxed load.
 * Kept by a pthread_atfork child handler, which also closes the child's copies of locked files, so that a child cannot
 * hold the parent's lock. Not seen: vfork, posix_spawn, raw clone and _Fork, after which POSIX allows little but
 * exec. */
uint64_t kl_fork_count(void);

#endif

typedef struct kl_posix_watch kl_posix_watch; /* a descriptor that a forked child must close (fork.c) */

struct kl_file {
  int fd;
  bool writable;
  uint64_t fork_count;   /* of the process that opened it */
  kl_posix_watch *watch; /* not NULL once a lock was asked for */
  size_t struct_size;    /* as allocated, with the path */
  char path[];           /* for messages, as it was given to open */
};

/* fork.c. Registers the fork handler unless that is done; KL_E_NO_MEMORY when the system refuses. */
kl_status kl_posix_fork_prepare(kl_error *err);
/* From now on a forked child closes its copy of fd. NULL: no memory. */
kl_posix_watch *kl_posix_watch_begin(int fd);
void kl_posix_watch_end(kl_posix_watch *watch); /* to be called before close(fd) */

/* file.c */
kl_status kl_posix_open(kl_os *os, const char *path, uint32_t flags, uint32_t mode, kl_file **out, kl_error *err);
void kl_posix_close(kl_os *os, kl_file *file);
kl_status kl_posix_read(kl_os *os, kl_file *file, void *buffer, size_t size, uint64_t offset, size_t *out_read,
                        kl_error *err);
kl_status kl_posix_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset, kl_error *err);
kl_status kl_posix_sync(kl_os *os, kl_file *file, bool data_only, kl_error *err);
kl_status kl_posix_size(kl_os *os, kl_file *file, uint64_t *out_size, kl_error *err);
kl_status kl_posix_truncate(kl_os *os, kl_file *file, uint64_t size, kl_error *err);
kl_status kl_posix_allocate(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err);
kl_status kl_posix_lock(kl_os *os, kl_file *file, kl_lock_mode mode, kl_error *err);

/* directory.c */
kl_status kl_posix_stat(kl_os *os, const char *path, kl_file_info *out, kl_error *err);
kl_status kl_posix_remove(kl_os *os, const char *path, kl_error *err);
kl_status kl_posix_rename(kl_os *os, const char *from, const char *to, kl_error *err);
kl_status kl_posix_sync_directory(kl_os *os, const char *path, kl_error *err);

/* clock.c */
uint64_t kl_posix_monotonic_ns(kl_os *os);
uint64_t kl_posix_wall_ns(kl_os *os);
void kl_posix_sleep_ns(kl_os *os, uint64_t ns);

/* host.c */
void kl_posix_random(kl_os *os, void *out, size_t size);
uint64_t kl_posix_process_id(kl_os *os);
void kl_posix_process_name(kl_os *os, char *out, size_t capacity);
uint64_t kl_posix_physical_memory(kl_os *os);

/* memory.c */
kl_status kl_posix_map(kl_os *os, uint64_t size, void **out_memory, kl_error *err);
void kl_posix_unmap(kl_os *os, void *memory, uint64_t size);
kl_status kl_posix_commit(kl_os *os, void *memory, uint64_t size, bool huge, kl_error *err);
void kl_posix_release(kl_os *os, void *memory, uint64_t size);

#endif

#define POSIX_NS_PER_S UINT64_C(1000000000)

static uint64_t posix_clock_ns(clockid_t clock) {
  struct timespec now = {0, 0};
  (void)clock_gettime(clock, &now); /* fails for unknown clocks only, and POSIX has both of ours */
  return (uint64_t)now.tv_sec * POSIX_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t kl_posix_monotonic_ns(kl_os *os) {
  (void)os;
  return posix_clock_ns(CLOCK_MONOTONIC);
}

uint64_t kl_posix_wall_ns(kl_os *os) {
  (void)os;
  return posix_clock_ns(CLOCK_REALTIME);
}

void kl_posix_sleep_ns(kl_os *os, uint64_t ns) {
  (void)os;
  struct timespec left = {(time_t)(ns / POSIX_NS_PER_S), (long)(ns % POSIX_NS_PER_S)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

/* ---- core/os/posix/directory.c ---- */
/* core/os/posix/directory.c: files by name, and the names themselves. */

kl_status kl_posix_stat(kl_os *os, const char *path, kl_file_info *out, kl_error *err) {
  (void)os;
  struct stat info;
  memset(out, 0, sizeof *out);
  if (stat(path, &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return KL_OK; /* KL_FILE_ABSENT */
    return kl_os_fail(err, errno, path, "cannot examine");
  }
  out->kind = S_ISREG(info.st_mode) ? KL_FILE_REGULAR : S_ISDIR(info.st_mode) ? KL_FILE_DIRECTORY : KL_FILE_OTHER;
  out->size = (uint64_t)info.st_size;
  out->device = (uint64_t)info.st_dev;
  out->inode = (uint64_t)info.st_ino;
  return KL_OK;
}

kl_status kl_posix_remove(kl_os *os, const char *path, kl_error *err) {
  (void)os;
  if (unlink(path) == 0) return KL_OK;
  return kl_os_fail(err, errno, path, "cannot remove");
}

kl_status kl_posix_rename(kl_os *os, const char *from, const char *to, kl_error *err) {
  (void)os;
  kl_status status = kl_check_rename(from, to, err);
  if (status != KL_OK) return status;
  if (rename(from, to) == 0) return KL_OK;
  return kl_os_fail(err, errno, from, "cannot rename");
}

static int posix_open_directory(const char *path) {
  int fd;
  do {
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

kl_status kl_posix_sync_directory(kl_os *os, const char *path, kl_error *err) {
  int result;
  size_t size = kl_path_directory_size(path);
  char *directory = kl_alloc(os->allocator, size + 2);
  if (directory == NULL) return kl_os_fail(err, ENOMEM, path, "cannot sync the directory of");
  memcpy(directory, path, size);
  if (size == 0) directory[size++] = '.';
  int fd = posix_open_directory(directory);
  kl_free(os->allocator, directory, kl_path_directory_size(path) + 2);
  if (fd < 0) return kl_os_fail(err, errno, path, "cannot open the directory of");
  do {
    result = fsync(fd);
  } while (result != 0 && errno == EINTR);
  int failed = result == 0 ? 0 : errno;
  (void)close(fd);
  /* EINVAL: a file system whose directories need no sync, such as some network ones. */
  if (failed == 0 || failed == EINVAL) return KL_OK;
  return kl_os_fail(err, failed, path, "cannot sync the directory of");
}

/* ---- core/os/posix/file.c ---- */
/* core/os/posix/file.c: files, by descriptor. */

/* ---- core/os/transfer.h ---- */
/* core/os/transfer.h: whole reads and writes out of system calls that may stop early. For implementations only.
 *
 * A system call moves less than asked when a signal comes, at end of file, near the end of space, or because it wants
 * to. The loops that go on live here once; posix/ runs them over pread and pwritev, sim/ over its virtual calls, which
 * stop early when a fault says so. Thus the loop that is tested with faults is the loop that is shipped.
 *
 * Thread rules: no state; any thread. */
#ifndef KL_OS_TRANSFER_H
#define KL_OS_TRANSFER_H

/* One system call: bytes moved (0 from a read: end of file), or a negative errno. */
typedef int64_t (*kl_raw_read)(void *context, void *buffer, size_t size, uint64_t offset);
typedef int64_t (*kl_raw_write)(void *context, const kl_slice *parts, size_t count, uint64_t offset);

enum { KL_TRANSFER_PARTS = 64 }; /* at most so many parts reach one kl_raw_write */

/* As kl_os_read and kl_os_write say. `path` is for messages. EINTR is restarted. A write call that moves nothing is
 * an error (EIO), for going on could take for ever. Offsets past INT64_MAX give KL_E_INVALID. */
kl_status kl_transfer_read(kl_raw_read raw, void *context, const char *path, void *buffer, size_t size, uint64_t offset,
                           size_t *out_read, kl_error *err);
kl_status kl_transfer_write(kl_raw_write raw, void *context, const char *path, const kl_slice *parts, size_t count,
                            uint64_t offset, kl_error *err);

#endif

/* A file of the parent, in a forked child: its descriptor may be closed, or be that of another file by now. */
static kl_status posix_file_check(const kl_file *file, kl_error *err) {
  char shown[KL_PATH_SHOWN];
  if (file->fork_count == kl_fork_count()) return KL_OK;
  return kl_fail(err, KL_E_FORKED, "\"%s\" was opened before a fork; open it again in the child",
                 kl_path_shown(file->path, shown));
}

static int posix_open_flags(uint32_t flags) {
  /* O_NONBLOCK: opening a FIFO must not wait for its other end; regular files do not know it. Symbolic links are
   * followed: people do keep files behind them, and a database is identified by device and inode, not by its name. */
  int system = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | ((flags & KL_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
  if ((flags & KL_OPEN_CREATE) != 0) system |= O_CREAT;
  if ((flags & KL_OPEN_EXCLUSIVE) != 0) system |= O_EXCL;
  if ((flags & KL_OPEN_DSYNC) != 0) system |= O_DSYNC;
  return system;
}

/* Opens a descriptor above 2 (OS-5). A host may have closed its standard streams; were a database to get their numbers,
 * the host's next message would be written into it. */
static int posix_open_fd(const char *path, int flags, mode_t mode) {
  int fd;
  do {
    fd = open(path, flags, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int failed = errno;
  (void)close(fd);
  errno = failed;
  return high;
}

static kl_status posix_open_regular(const char *path, int flags, mode_t mode, int *out_fd, kl_error *err) {
  struct stat info;
  int fd = posix_open_fd(path, flags, mode);
  if (fd < 0) return kl_os_fail(err, errno, path, "cannot open");
  kl_status status = KL_OK;
  if (fstat(fd, &info) != 0) {
    status = kl_os_fail(err, errno, path, "cannot examine");
  } else if (!S_ISREG(info.st_mode)) {
    /* A directory opened for reading, a device, a FIFO: what open refuses has the same answer. */
    status = kl_os_fail(err, S_ISDIR(info.st_mode) ? EISDIR : ENXIO, path, "cannot open");
  }
  if (status != KL_OK) {
    (void)close(fd);
    return status;
  }
  *out_fd = fd;
  return KL_OK;
}

kl_status kl_posix_open(kl_os *os, const char *path, uint32_t flags, uint32_t mode, kl_file **out, kl_error *err) {
  int fd = -1;
  size_t path_size = strlen(path) + 1;
  size_t struct_size = sizeof(kl_file) + path_size;
  kl_status status = kl_check_open_flags(path, flags, err);
  if (status == KL_OK) status = kl_posix_fork_prepare(err);
  if (status != KL_OK) return status;
  kl_file *file = kl_alloc(os->allocator, struct_size);
  if (file == NULL) return kl_os_fail(err, ENOMEM, path, "cannot open");
  status = posix_open_regular(path, posix_open_flags(flags), (mode_t)(mode != 0 ? mode : 0600), &fd, err);
  if (status != KL_OK) {
    kl_free(os->allocator, file, struct_size);
    return status;
  }
  file->fd = fd;
  file->writable = (flags & KL_OPEN_WRITE) != 0;
  file->fork_count = kl_fork_count();
  file->struct_size = struct_size;
  memcpy(file->path, path, path_size);
  *out = file;
  return KL_OK;
}

static int posix_file_ofd_lock(int fd, short type) {
#ifdef F_OFD_SETLK
  struct flock request = {.l_type = type, .l_whence = SEEK_SET};
  return fcntl(fd, F_OFD_SETLK, &request) == 0 ? 0 : errno;
#else
  (void)fd;
  (void)type;
  return EINVAL;
#endif
}

/* Locks (F_RDLCK, F_WRLCK) or unlocks (F_UNLCK) the open file description (OS-3); 0 or an errno. Where the kernel has
 * no such locks over byte ranges (EINVAL), flock has the same semantics. A kernel gives every process the same answer,
 * so that two processes never use different kinds. */
static int posix_file_set_lock(int fd, short type) {
  int failed;
  do {
    failed = posix_file_ofd_lock(fd, type);
    if (failed == EINVAL) {
      int operation = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
      failed = flock(fd, operation | LOCK_NB) == 0 ? 0 : errno;
    }
  } while (failed == EINTR);
  return failed;
}

void kl_posix_close(kl_os *os, kl_file *file) {
  if (file == NULL) return;
  bool ours = file->fork_count == kl_fork_count();
  if (file->watch != NULL && ours) {
    /* In this order, see fork.c. The unlock is for copies that a child may have made a moment ago. */
    (void)posix_file_set_lock(file->fd, F_UNLCK);
    kl_posix_watch_end(file->watch);
  }
  /* In a forked child a locked file's descriptor is closed already, and to unlock it would end the parent's lock. Any
   * other is this process's own copy. EINTR is no reason to repeat: Linux has closed the descriptor then. */
  if (file->watch == NULL || ours) (void)close(file->fd);
  kl_free(os->allocator, file, file->struct_size);
}

kl_status kl_posix_lock(kl_os *os, kl_file *file, kl_lock_mode mode, kl_error *err) {
  (void)os;
  kl_status status = posix_file_check(file, err);
  if (status == KL_OK) status = kl_check_writable(file->path, file->writable || mode == KL_LOCK_SHARED, err);
  if (status != KL_OK) return status;
  if (file->watch == NULL) file->watch = kl_posix_watch_begin(file->fd);
  if (file->watch == NULL) return kl_os_fail(err, ENOMEM, file->path, "cannot lock");
  int failed = posix_file_set_lock(file->fd, mode == KL_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK);
  if (failed == EACCES) failed = EAGAIN; /* POSIX allows either for a lock that is held */
  return failed == 0 ? KL_OK : kl_os_fail(err, failed, file->path, "cannot lock");
}

static int64_t posix_raw_read(void *context, void *buffer, size_t size, uint64_t offset) {
  const kl_file *file = context;
  ssize_t moved = pread(file->fd, buffer, size, (off_t)offset);
  return moved < 0 ? -(int64_t)errno : moved;
}

static int64_t posix_raw_write(void *context, const kl_slice *parts, size_t count, uint64_t offset) {
  const kl_file *file = context;
  struct iovec vectors[KL_TRANSFER_PARTS];
  for (size_t i = 0; i < count; i++) {
    vectors[i].iov_base = (void *)(uintptr_t)parts[i].data; /* iovec serves reads too and has no const */
    vectors[i].iov_len = parts[i].size;
  }
  ssize_t moved = pwritev(file->fd, vectors, (int)count, (off_t)offset);
  return moved < 0 ? -(int64_t)errno : moved;
}

kl_status kl_posix_read(kl_os *os, kl_file *file, void *buffer, size_t size, uint64_t offset, size_t *out_read,
                        kl_error *err) {
  (void)os;
  kl_status status = posix_file_check(file, err);
  if (status != KL_OK) return status;
  return kl_transfer_read(posix_raw_read, file, file->path, buffer, size, offset, out_read, err);
}

/* Everything that changes a file asks this first: the errors of a read-only descriptor differ between calls. */
static kl_status posix_file_check_writable(const kl_file *file, kl_error *err) {
  kl_status status = posix_file_check(file, err);
  return status != KL_OK ? status : kl_check_writable(file->path, file->writable, err);
}

kl_status kl_posix_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                         kl_error *err) {
  (void)os;
  kl_status status = posix_file_check_writable(file, err);
  if (status != KL_OK) return status;
  return kl_transfer_write(posix_raw_write, file, file->path, parts, count, offset, err);
}

kl_status kl_posix_sync(kl_os *os, kl_file *file, bool data_only, kl_error *err) {
  (void)os;
  int result;
  kl_status status = posix_file_check(file, err);
  if (status != KL_OK) return status;
  /* OS-2: only EINTR is repeated, for nothing was tried then. After any other failure the kernel may have marked the
   * pages clean, and a second sync would promise what is not so; the caller has to hear of the first. */
  do {
    result = data_only ? fdatasync(file->fd) : fsync(file->fd);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? KL_OK : kl_os_fail(err, errno, file->path, "cannot sync");
}

kl_status kl_posix_size(kl_os *os, kl_file *file, uint64_t *out_size, kl_error *err) {
  (void)os;
  struct stat info;
  kl_status status = posix_file_check(file, err);
  if (status != KL_OK) return status;
  if (fstat(file->fd, &info) != 0) return kl_os_fail(err, errno, file->path, "cannot examine");
  *out_size = (uint64_t)info.st_size;
  return KL_OK;
}

static kl_status posix_file_resize(const kl_file *file, uint64_t size, kl_error *err) {
  int result;
  do {
    result = ftruncate(file->fd, (off_t)size);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return KL_OK;
  return kl_os_fail(err, errno, file->path, "cannot set the size to %llu of", (unsigned long long)size);
}

kl_status kl_posix_truncate(kl_os *os, kl_file *file, uint64_t size, kl_error *err) {
  (void)os;
  kl_status status = posix_file_check_writable(file, err);
  if (status == KL_OK) status = kl_check_range(file->path, 0, size, err);
  return status == KL_OK ? posix_file_resize(file, size, err) : status;
}

kl_status kl_posix_allocate(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err) {
  int result;
  uint64_t now = 0;
  kl_status status = posix_file_check_writable(file, err);
  if (status == KL_OK) status = kl_check_range(file->path, offset, size, err);
  if (status != KL_OK || size == 0) return status;
  do {
    result = fallocate(file->fd, 0, (off_t)offset, (off_t)size);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return KL_OK;
  if (errno != EOPNOTSUPP && errno != ENOSYS) {
    return kl_os_fail(err, errno, file->path, "cannot reserve %llu bytes at offset %llu of", (unsigned long long)size,
                      (unsigned long long)offset);
  }
  /* This file system reserves nothing: then the file grows only. posix_fallocate is no help, it writes into files. */
  status = kl_posix_size(os, file, &now, err);
  if (status != KL_OK || now >= offset + size) return status;
  return posix_file_resize(file, offset + size, err);
}

/* ---- core/os/posix/fork.c ---- */
/* core/os/posix/fork.c: what happens to Keel in a forked child.
 *
 * A lock belongs to the open file description, which parent and child share: as long as the child holds a copy of the
 * descriptor, the parent's lock outlives the parent. So the child closes its copies, in the child handler of
 * pthread_atfork. That handler runs with whatever another thread of the parent was doing frozen half-way, so it may
 * take no lock and allocate nothing: it walks a list of slots that only grows and whose slots are single atomics.
 *
 * The order that makes this tight (OS-4 in core/os/README.md): a slot is filled before the lock is taken, so there is
 * no moment when a child could keep a lock unknowingly; and before a slot is emptied its lock is given up explicitly,
 * which ends it for every copy of the description. A slot is emptied before its descriptor is closed, for after that
 * the number may name something else. */

struct kl_posix_watch {
  atomic_int fd_plus_1; /* 0: the slot is free */
};

enum { POSIX_WATCHES_PER_CHUNK = 32 };

/* Chunks are never freed, for a child may be about to walk them; there are as many as were ever needed at once. */
typedef struct posix_watch_chunk posix_watch_chunk;
struct posix_watch_chunk {
  kl_posix_watch watches[POSIX_WATCHES_PER_CHUNK];
  _Atomic(posix_watch_chunk *) next;
};

static posix_watch_chunk posix_watch_first;
static _Atomic uint64_t posix_fork_counter;
static atomic_bool posix_fork_registered;

uint64_t kl_fork_count(void) {
  return atomic_load_explicit(&posix_fork_counter, memory_order_relaxed);
}

/* Runs in the child, alone. Uses atomics and close only. */
static void posix_fork_in_child(void) {
  atomic_fetch_add_explicit(&posix_fork_counter, 1, memory_order_relaxed);
  for (posix_watch_chunk *chunk = &posix_watch_first; chunk != NULL; chunk = atomic_load(&chunk->next)) {
    for (size_t i = 0; i < POSIX_WATCHES_PER_CHUNK; i++) {
      int fd = atomic_exchange(&chunk->watches[i].fd_plus_1, 0) - 1;
      if (fd >= 0) (void)close(fd);
    }
  }
}

kl_status kl_posix_fork_prepare(kl_error *err) {
  if (atomic_load(&posix_fork_registered)) return KL_OK;
  /* Called under pthread_once; only when that call failed can two threads meet here. Should both register, the child
   * counts one fork as two, which changes nothing: counts are only compared for being equal. */
  int failed = pthread_atfork(NULL, NULL, posix_fork_in_child);
  if (failed != 0) {
    return kl_fail_errno(err, KL_E_NO_MEMORY, failed, "the fork handler cannot be registered (free some memory)");
  }
  atomic_store(&posix_fork_registered, true);
  return KL_OK;
}

static kl_posix_watch *posix_watch_claim(posix_watch_chunk *chunk, int fd) {
  for (size_t i = 0; i < POSIX_WATCHES_PER_CHUNK; i++) {
    int free_slot = 0;
    if (atomic_compare_exchange_strong(&chunk->watches[i].fd_plus_1, &free_slot, fd + 1)) return &chunk->watches[i];
  }
  return NULL;
}

kl_posix_watch *kl_posix_watch_begin(int fd) {
  for (posix_watch_chunk *chunk = &posix_watch_first;;) {
    kl_posix_watch *watch = posix_watch_claim(chunk, fd);
    if (watch != NULL) return watch;
    posix_watch_chunk *next = atomic_load(&chunk->next);
    if (next == NULL) {
      kl_allocator *allocator = kl_allocator_libc();
      posix_watch_chunk *fresh = kl_alloc(allocator, sizeof *fresh);
      if (fresh == NULL) return NULL;
      if (atomic_compare_exchange_strong(&chunk->next, &next, fresh)) {
        next = fresh;
      } else {
        kl_free(allocator, fresh, sizeof *fresh); /* another thread was first; `next` is its chunk now */
      }
    }
    chunk = next;
  }
}

void kl_posix_watch_end(kl_posix_watch *watch) {
  atomic_store(&watch->fd_plus_1, 0);
}

/* ---- core/os/posix/host.c ---- */
/* core/os/posix/host.c: random bytes, and what process and machine this is. */

/* Fills `out` from a file as far as it gives; returns the bytes filled. */
static size_t posix_read_some(const char *path, void *out, size_t size) {
  size_t done = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  while (done < size) {
    ssize_t moved = read(fd, (unsigned char *)out + done, size - done);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) break;
    done += (size_t)moved;
  }
  (void)close(fd);
  return done;
}

static size_t posix_random_call(unsigned char *out, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t moved = getrandom(out + done, size - done, 0);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) break;
    done += (size_t)moved;
  }
  return done;
}

void kl_posix_random(kl_os *os, void *out, size_t size) {
  unsigned char *bytes = out;
  size_t done = posix_random_call(bytes, size);
  /* A kernel older than the call, or a sandbox that forbids it. */
  if (done < size) done += posix_read_some("/dev/urandom", bytes + done, size - done);
  if (done == size) return;
  /* A sandbox without either: two databases still get different identities, which is what the bytes are for. */
  kl_rng rng;
  static _Atomic uint64_t calls;
  kl_rng_init(&rng, kl_mix64(kl_posix_monotonic_ns(os)) ^ kl_mix64(kl_posix_wall_ns(os) + 1) ^
                        kl_mix64((uint64_t)getpid() << 32 | atomic_fetch_add(&calls, 1)));
  kl_rng_fill(&rng, bytes + done, size - done);
}

uint64_t kl_posix_process_id(kl_os *os) {
  (void)os;
  return (uint64_t)getpid();
}

void kl_posix_process_name(kl_os *os, char *out, size_t capacity) {
  (void)os;
  if (capacity == 0) return;
#ifdef __GLIBC__
  (void)snprintf(out, capacity, "%s", program_invocation_short_name);
#else
  size_t size = posix_read_some("/proc/self/comm", out, capacity - 1);
  if (size > 0 && out[size - 1] == '\n') size--;
  out[size] = '\0';
#endif
}

/* A container's limit; UINT64_MAX when there is none, or "max". */
static uint64_t posix_memory_limit(const char *path) {
  char text[32];
  char *end;
  text[posix_read_some(path, text, sizeof text - 1)] = '\0';
  errno = 0;
  unsigned long long limit = strtoull(text, &end, 10);
  return end == text || errno != 0 || limit == 0 ? UINT64_MAX : limit;
}

uint64_t kl_posix_physical_memory(kl_os *os) {
  (void)os;
  long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGE_SIZE);
  if (pages <= 0 || page_size <= 0) return 0;
  uint64_t memory = (uint64_t)pages * (uint64_t)page_size;
  /* Version 2 and version 1 of control groups, as a container sees its own. */
  uint64_t limits[] = {posix_memory_limit("/sys/fs/cgroup/memory.max"),
                       posix_memory_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes")};
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    if (limits[i] < memory) memory = limits[i];
  }
  return memory;
}

/* ---- core/os/posix/memory.c ---- */
/* core/os/posix/memory.c: address space and anonymous memory. See os.h. */

static kl_status posix_memory_refused(int system_errno, const char *what, uint64_t size, kl_error *err) {
  return kl_fail_errno(err, KL_E_NO_MEMORY, system_errno,
                       "%s of %llu bytes is refused; free some memory or raise the limit", what,
                       (unsigned long long)size);
}

kl_status kl_posix_map(kl_os *os, uint64_t size, void **out_memory, kl_error *err) {
  (void)os;
  KL_ASSERT(size > 0 && size % KL_MEMORY_PAGE == 0);
  if (size > SIZE_MAX - KL_MEMORY_HUGE) return posix_memory_refused(ENOMEM, "address space", size, err);
  /* No access: nothing is charged to the system's commit limit yet, and a stray access is a fault. */
  size_t taken = (size_t)size + KL_MEMORY_HUGE;
  unsigned char *memory = mmap(NULL, taken, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return posix_memory_refused(errno, "address space", size, err);
  /* Huge pages need their alignment, which mmap does not promise: take more and give the edges back. */
  size_t before = (size_t)(-(uintptr_t)memory & (KL_MEMORY_HUGE - 1));
  if (before != 0) (void)munmap(memory, before);
  (void)munmap(memory + before + size, KL_MEMORY_HUGE - before);
  *out_memory = memory + before;
  return KL_OK;
}

void kl_posix_unmap(kl_os *os, void *memory, uint64_t size) {
  (void)os;
  if (memory != NULL) (void)munmap(memory, (size_t)size);
}

kl_status kl_posix_commit(kl_os *os, void *memory, uint64_t size, bool huge, kl_error *err) {
  (void)os;
  KL_ASSERT((uintptr_t)memory % KL_MEMORY_PAGE == 0 && size % KL_MEMORY_PAGE == 0);
  if (mprotect(memory, (size_t)size, PROT_READ | PROT_WRITE) != 0) {
    return posix_memory_refused(errno, "memory", size, err);
  }
  /* Advice: a kernel without huge pages refuses it, and small ones do. */
#ifdef MADV_HUGEPAGE
  (void)madvise(memory, (size_t)size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
  (void)huge;
#endif
  return KL_OK;
}

void kl_posix_release(kl_os *os, void *memory, uint64_t size) {
  (void)os;
  KL_ASSERT((uintptr_t)memory % KL_MEMORY_PAGE == 0 && size % KL_MEMORY_PAGE == 0);
  /* On Linux the pages go at once and zeros take their place. It can fail for locked memory only (mlockall), which the
   * host wants to stay resident: then the bytes are cleared, to keep the promise of zeros. */
  if (madvise(memory, (size_t)size, MADV_DONTNEED) == 0) return;
  unsigned char *bytes = memory;
  for (uint64_t i = 0; i < size; i++) bytes[i] = 0;
}

/* ---- core/os/posix/posix.c ---- */
/* core/os/posix/posix.c: the object that names the parts of the POSIX implementation. */

/* Never written after posix_prepare, which pthread_once orders before every use. */
static kl_os posix_os = {
    .has_threads = true,
    .open = kl_posix_open,
    .close = kl_posix_close,
    .read = kl_posix_read,
    .write = kl_posix_write,
    .sync = kl_posix_sync,
    .size = kl_posix_size,
    .truncate = kl_posix_truncate,
    .allocate = kl_posix_allocate,
    .lock = kl_posix_lock,
    .stat = kl_posix_stat,
    .remove = kl_posix_remove,
    .rename = kl_posix_rename,
    .sync_directory = kl_posix_sync_directory,
    .monotonic_ns = kl_posix_monotonic_ns,
    .wall_ns = kl_posix_wall_ns,
    .sleep_ns = kl_posix_sleep_ns,
    .random = kl_posix_random,
    .process_id = kl_posix_process_id,
    .process_name = kl_posix_process_name,
    .physical_memory = kl_posix_physical_memory,
    .map = kl_posix_map,
    .unmap = kl_posix_unmap,
    .commit = kl_posix_commit,
    .release = kl_posix_release,
};

static pthread_once_t posix_once = PTHREAD_ONCE_INIT;

static void posix_prepare(void) {
  posix_os.allocator = kl_allocator_libc();
  /* Should the system have no memory for the handler now, open tries again and reports it. */
  (void)kl_posix_fork_prepare(NULL);
}

kl_os *kl_os_posix(void) {
  (void)pthread_once(&posix_once, posix_prepare);
  return &posix_os;
}

/* ---- core/os/posix/thread.c ---- */
/* core/os/posix/thread.c: mutexes, condition variables and threads over pthreads. See thread.h. */

enum {
  POSIX_THREAD_STACK = 256 * 1024, /* Keel's threads neither recurse nor keep large arrays */
  POSIX_THREAD_NAME = 16           /* Linux: with the terminator */
};
#define POSIX_COND_NS_PER_S UINT64_C(1000000000)

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(kl_mutex), "kl_mutex is too small for this system");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(kl_cond), "kl_cond is too small for this system");
_Static_assert(_Alignof(pthread_mutex_t) <= _Alignof(kl_mutex), "kl_mutex is aligned too little");
_Static_assert(_Alignof(pthread_cond_t) <= _Alignof(kl_cond), "kl_cond is aligned too little");

static pthread_mutex_t *posix_mutex(kl_mutex *mutex) {
  return (pthread_mutex_t *)(void *)mutex->storage;
}
static pthread_cond_t *posix_cond(kl_cond *cond) {
  return (pthread_cond_t *)(void *)cond->storage;
}

static void posix_must_be_zero(int result) {
  /* A default mutex or condition fails only when it was never initialised or is used after its end. */
  KL_ASSERT(result == 0);
  (void)result;
}

kl_status kl_mutex_init(kl_mutex *mutex, kl_error *err) {
  int failed = pthread_mutex_init(posix_mutex(mutex), NULL);
  if (failed == 0) return KL_OK;
  return kl_fail_errno(err, KL_E_NO_MEMORY, failed, "a mutex cannot be initialised (free some memory)");
}

void kl_mutex_destroy(kl_mutex *mutex) {
  posix_must_be_zero(pthread_mutex_destroy(posix_mutex(mutex)));
}
void kl_mutex_lock(kl_mutex *mutex) {
  posix_must_be_zero(pthread_mutex_lock(posix_mutex(mutex)));
}
bool kl_mutex_try_lock(kl_mutex *mutex) {
  return pthread_mutex_trylock(posix_mutex(mutex)) == 0;
}
void kl_mutex_unlock(kl_mutex *mutex) {
  posix_must_be_zero(pthread_mutex_unlock(posix_mutex(mutex)));
}

kl_status kl_cond_init(kl_cond *cond, kl_error *err) {
  pthread_condattr_t attributes;
  int failed = pthread_condattr_init(&attributes);
  if (failed == 0) {
    /* The wall clock jumps; a time-out must not. */
    failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (failed == 0) failed = pthread_cond_init(posix_cond(cond), &attributes);
    (void)pthread_condattr_destroy(&attributes);
  }
  if (failed == 0) return KL_OK;
  return kl_fail_errno(err, KL_E_NO_MEMORY, failed, "a condition variable cannot be initialised (free some memory)");
}

void kl_cond_destroy(kl_cond *cond) {
  posix_must_be_zero(pthread_cond_destroy(posix_cond(cond)));
}
void kl_cond_signal(kl_cond *cond) {
  posix_must_be_zero(pthread_cond_signal(posix_cond(cond)));
}
void kl_cond_broadcast(kl_cond *cond) {
  posix_must_be_zero(pthread_cond_broadcast(posix_cond(cond)));
}

void kl_cond_wait(kl_cond *cond, kl_mutex *mutex) {
  posix_must_be_zero(pthread_cond_wait(posix_cond(cond), posix_mutex(mutex)));
}

bool kl_cond_wait_ns(kl_cond *cond, kl_mutex *mutex, uint64_t timeout_ns) {
  struct timespec until = {0, 0};
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  /* Any time-out fits: 2^64 ns are 585 years. */
  uint64_t ns = (uint64_t)until.tv_nsec + timeout_ns % POSIX_COND_NS_PER_S;
  until.tv_sec += (time_t)(timeout_ns / POSIX_COND_NS_PER_S + ns / POSIX_COND_NS_PER_S);
  until.tv_nsec = (long)(ns % POSIX_COND_NS_PER_S);
  int result = pthread_cond_timedwait(posix_cond(cond), posix_mutex(mutex), &until);
  KL_ASSERT(result == 0 || result == ETIMEDOUT);
  return result == 0;
}

struct kl_thread {
  pthread_t thread;
  kl_allocator *allocator;
  uint64_t fork_count;
  void (*run)(void *context);
  void *context;
  char name[POSIX_THREAD_NAME];
};

static void *posix_thread_main(void *argument) {
  kl_thread *thread = argument;
  (void)pthread_setname_np(pthread_self(), thread->name); /* a name is a courtesy */
  thread->run(thread->context);
  return NULL;
}

/* OS-6: everything that a host may handle goes to the host's own threads. Faults of the CPU stay open: they hit the
 * thread that made them, and a blocked one would kill the process past the host's crash reporter. */
static void posix_thread_signals(sigset_t *out) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  (void)sigfillset(out);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) (void)sigdelset(out, faults[i]);
}

static int posix_thread_create(kl_thread *thread, size_t stack) {
  pthread_attr_t attributes;
  int failed = pthread_attr_init(&attributes);
  if (failed != 0) return failed;
  if (stack != 0) failed = pthread_attr_setstacksize(&attributes, stack);
  if (failed == 0) failed = pthread_create(&thread->thread, &attributes, posix_thread_main, thread);
  (void)pthread_attr_destroy(&attributes);
  return failed;
}

kl_status kl_thread_start(kl_os *os, const char *name, void (*run)(void *context), void *context, kl_thread **out,
                          kl_error *err) {
  sigset_t blocked, before;
  if (!os->has_threads) {
    return kl_fail(err, KL_E_UNSUPPORTED, "thread \"%s\" is not started: this os has none; do its work inline", name);
  }
  kl_thread *thread = kl_alloc(os->allocator, sizeof *thread);
  if (thread == NULL) {
    return kl_fail(err, KL_E_NO_MEMORY, "thread \"%s\" cannot be started; free some memory", name);
  }
  thread->allocator = os->allocator;
  thread->fork_count = kl_fork_count();
  thread->run = run;
  thread->context = context;
  strncpy(thread->name, name, sizeof thread->name - 1);
  /* A thread inherits the mask of its creator: so there is no moment when it could take a signal. */
  posix_thread_signals(&blocked);
  (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
  int failed = posix_thread_create(thread, POSIX_THREAD_STACK);
  /* EINVAL: a host with much thread-local storage, which glibc takes out of the stack. */
  if (failed == EINVAL) failed = posix_thread_create(thread, 0);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed != 0) {
    kl_free(os->allocator, thread, sizeof *thread);
    return kl_fail_errno(err, failed == EAGAIN ? KL_E_LIMIT : KL_E_NO_MEMORY, failed,
                         "thread \"%s\" cannot be started; raise the limit of threads or free some memory", name);
  }
  *out = thread;
  return KL_OK;
}

void kl_thread_join(kl_thread *thread) {
  if (thread == NULL) return;
  /* Threads do not follow into a forked child: there is nothing to wait for there. */
  if (thread->fork_count == kl_fork_count()) posix_must_be_zero(pthread_join(thread->thread, NULL));
  kl_free(thread->allocator, thread, sizeof *thread);
}

void kl_thread_yield(void) {
  (void)sched_yield();
}

/* ---- core/os/transfer.c ---- */
/* core/os/transfer.c: see transfer.h. */

/* Linux moves at most 0x7ffff000 bytes a call; asking for no more keeps every count inside of 32 bits elsewhere too. */
#define TRANSFER_CALL_MAX ((size_t)1 << 30)

kl_status kl_transfer_read(kl_raw_read raw, void *context, const char *path, void *buffer, size_t size, uint64_t offset,
                           size_t *out_read, kl_error *err) {
  size_t done = 0;
  kl_status status = kl_check_range(path, offset, size, err);
  *out_read = 0;
  if (status != KL_OK) return status;
  while (done < size) {
    size_t ask = size - done < TRANSFER_CALL_MAX ? size - done : TRANSFER_CALL_MAX;
    int64_t moved = raw(context, (unsigned char *)buffer + done, ask, offset + done);
    if (moved == -EINTR) continue;
    if (moved < 0) {
      return kl_os_fail(err, (int)-moved, path, "cannot read %zu bytes at offset %llu of", size - done,
                        (unsigned long long)(offset + done));
    }
    if (moved == 0) break;
    done += (size_t)moved;
  }
  *out_read = done;
  return KL_OK;
}

/* The parts that are still to be written: `skip` bytes of the first one are done. */
typedef struct transfer_rest {
  const kl_slice *parts;
  size_t count, skip;
} transfer_rest;

static void transfer_advance(transfer_rest *rest, size_t moved) {
  rest->skip += moved;
  while (rest->count > 0 && rest->skip >= rest->parts->size) {
    rest->skip -= rest->parts->size;
    rest->parts++;
    rest->count--;
  }
}

/* Fills `window` with what the next call shall write; returns the number of parts, *out_size their bytes. */
static size_t transfer_window(const transfer_rest *rest, kl_slice *window, size_t *out_size) {
  size_t used = 0, skip = rest->skip, size = 0;
  for (size_t i = 0; i < rest->count && used < KL_TRANSFER_PARTS && size < TRANSFER_CALL_MAX; i++) {
    size_t left = rest->parts[i].size - skip;
    if (left > TRANSFER_CALL_MAX - size) left = TRANSFER_CALL_MAX - size;
    if (left > 0) window[used++] = kl_slice_make((const unsigned char *)rest->parts[i].data + skip, left);
    size += left;
    skip = 0;
  }
  *out_size = size;
  return used;
}

kl_status kl_transfer_write(kl_raw_write raw, void *context, const char *path, const kl_slice *parts, size_t count,
                            uint64_t offset, kl_error *err) {
  transfer_rest rest = {parts, count, 0};
  uint64_t total = 0;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].size > INT64_MAX || total > INT64_MAX) return kl_check_range(path, offset, UINT64_MAX, err);
    total += parts[i].size;
  }
  kl_status status = kl_check_range(path, offset, total, err);
  if (status != KL_OK) return status;
  for (transfer_advance(&rest, 0); rest.count > 0;) {
    kl_slice window[KL_TRANSFER_PARTS];
    size_t size;
    size_t used = transfer_window(&rest, window, &size);
    int64_t moved = raw(context, window, used, offset);
    if (moved == -EINTR) continue;
    if (moved <= 0) {
      return kl_os_fail(err, moved == 0 ? EIO : (int)-moved, path, "cannot write %zu bytes at offset %llu of", size,
                        (unsigned long long)offset);
    }
    offset += (uint64_t)moved;
    transfer_advance(&rest, (size_t)moved);
  }
  return KL_OK;
}

/* ---- core/store/store.c ---- */
/* core/store/store.c: creating and opening the database file, and publishing checkpoints. */

/* ---- core/store/store.h ---- */
/* core/store/store.h: the database file NAME: the ring of superblocks (and, with the tree, blocks and the space map).
 *
 * The file starts with KL_SUPERBLOCKS blocks of 4 KiB, each one a superblock, self-checksummed, sharing no field that
 * changes in place. Publishing checkpoint n writes slot n % KL_SUPERBLOCKS and syncs; the newest valid one counts, and
 * a damaged newest one leaves the one before it. Byte table: docs/format.md. Invariants: core/store/README.md.
 *
 * Thread rules: one publisher at a time; kl_store_checkpoint and the other questions from any thread. */
#ifndef KL_STORE_STORE_H
#define KL_STORE_STORE_H

enum { KL_SUPERBLOCKS = 4, KL_SUPERBLOCK_SIZE = 4096, KL_DATABASE_ID_SIZE = 16 };
enum { KL_PAGE_SIZE_MIN = 4096, KL_PAGE_SIZE_MAX = 65536, KL_PAGE_SIZE_DEFAULT = 4096 };

typedef struct kl_store kl_store;

typedef struct kl_checkpoint {
  uint64_t sequence;      /* 1 at creation, +1 per checkpoint */
  uint64_t ts;            /* commits up to this timestamp are in the tree */
  uint64_t log_lsn;       /* replay starts here */
  uint64_t known_durable; /* log position that was durable when it was written */
  uint64_t wall_ns;       /* when, since 1970 */
  bool log_needed;        /* false: everything is in this file and NAME-wal may be absent or left over from a crashed
                             creation or close; true: a missing NAME-wal is KL_E_CORRUPT, never "empty" */
} kl_checkpoint;

typedef struct kl_store_options {
  uint32_t page_size; /* 4 KiB ... 64 KiB, power of two; a format parameter, fixed at creation; 0: default */
  uint32_t file_mode; /* 0: 0600 */
  bool read_only;
} kl_store_options;

/* Creates the file; durable (file and directory entry) when it returns, with a new random identity and checkpoint 1
 * (log_needed false). It is written and synced as NAME-new under the exclusive lock, then renamed, so that NAME is
 * never seen half-made; a left-over NAME-new of a crashed creation is overwritten. The lock stays with the store.
 * KL_E_EXISTS when NAME exists and is not empty (an empty NAME is replaced); KL_E_LOCKED when another process is
 * creating it right now; KL_E_NOT_A_FILE (a directory ...); KL_E_INVALID for a bad page size. */
kl_status kl_store_create(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                          kl_error *err);
/* KL_E_NO_FILE (absent or empty), KL_E_NOT_A_FILE (a directory ...), KL_E_FORMAT (not a Keel database; also a short
 * one), KL_E_VERSION (made by a newer Keel), KL_E_CORRUPT (no superblock verifies), KL_E_LOCKED: each leaves the file
 * as it was. Takes the lock: exclusive, or shared when read-only. */
kl_status kl_store_open(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                        kl_error *err);
void kl_store_close(kl_store *store); /* lets the lock go; NULL is allowed */

const uint8_t *kl_store_id(const kl_store *store); /* 16 bytes */
uint32_t kl_store_page_size(const kl_store *store);
void kl_store_checkpoint(kl_store *store, kl_checkpoint *out_checkpoint);
/* The log below this is needed by no checkpoint that a recovery could take, the newest or the one before it (which
 * counts when the newest is found damaged): what may be given to kl_wal_release. */
uint64_t kl_store_log_release_point(kl_store *store);
/* Writes the next superblock and syncs it. `checkpoint->sequence` and `wall_ns` are set inside. A checkpoint that
 * changes log_needed is written twice, with two sequence numbers: no single damaged superblock can then make a log that
 * is needed look unneeded (STORE-4). A failed write or sync poisons: KL_E_POISONED from then on. KL_E_READ_ONLY. */
kl_status kl_store_publish(kl_store *store, kl_checkpoint *checkpoint, kl_error *err);

#endif

/* ---- core/store/superblock.h ---- */
/* core/store/superblock.h: the bytes of a superblock. Private to core/store; the table of offsets is in docs/format.md,
 * and a test checks it against what these functions write. */
#ifndef KL_STORE_SUPERBLOCK_H
#define KL_STORE_SUPERBLOCK_H

enum { STORE_VERSION = 1, STORE_FLAG_LOG_NEEDED = 1 };

/* A child pointer as in the tree: where a block lies, how long it is stored, its checksum, and the version that wrote
 * it. All zero: there is none. */
typedef struct store_pointer {
  uint64_t address;
  uint32_t length;
  uint32_t checksum;
  uint64_t birth;
} store_pointer;

typedef struct store_superblock {
  uint32_t version;
  uint32_t features_compatible;   /* unknown bits: read and write all the same */
  uint32_t features_read_only;    /* unknown bits: read only */
  uint32_t features_incompatible; /* unknown bits: do not open */
  uint8_t database_id[KL_DATABASE_ID_SIZE];
  kl_checkpoint checkpoint;
  uint64_t created_ns;
  uint32_t page_size;
  store_pointer catalogue; /* root of the tree of the catalogue; zero until there are trees */
  store_pointer space_map; /* root of the map of free space; likewise */
  uint64_t blocks_end;     /* first byte of the file that holds nothing; 0: right behind the superblocks */
} store_superblock;

void store_superblock_encode(const store_superblock *superblock, uint8_t out[KL_SUPERBLOCK_SIZE]);
/* `slot`: where it was read; a superblock counts only in its own slot. KL_OK; KL_E_FORMAT: none; KL_E_CORRUPT: a
 * damaged one; KL_E_VERSION: an intact one of a newer format. */
kl_status store_superblock_decode(const uint8_t bytes[KL_SUPERBLOCK_SIZE], uint32_t slot, store_superblock *out);

#endif

struct kl_store {
  kl_os *os;
  char *path;
  size_t path_size; /* with the terminator */
  kl_file *file;
  bool read_only;

  kl_mutex lock; /* guards what follows; not held during input and output */
  store_superblock newest;
  uint64_t previous_log_lsn; /* of the checkpoint before the newest, when that one needs the log */
  bool previous_log_needed;
  bool poisoned;
};

static void store_destroy(kl_store *store) {
  kl_allocator *allocator = store->os->allocator;
  if (store->file != NULL) kl_os_close(store->os, store->file);
  kl_mutex_destroy(&store->lock);
  kl_free(allocator, store->path, store->path_size);
  kl_free(allocator, store, sizeof *store);
}

static kl_status store_new(kl_os *os, const char *path, bool read_only, kl_store **out, kl_error *err) {
  size_t path_size = strlen(path) + 1;
  kl_store *store = kl_alloc(os->allocator, sizeof *store);
  char *copy = kl_alloc(os->allocator, path_size);
  kl_status status = KL_OK;
  if (store == NULL || copy == NULL) {
    status = kl_fail(err, KL_E_NO_MEMORY, "no memory to open database '%s'", path);
  } else {
    status = kl_mutex_init(&store->lock, err);
  }
  if (status != KL_OK) {
    kl_free(os->allocator, copy, path_size);
    kl_free(os->allocator, store, sizeof *store);
    return status;
  }
  memcpy(copy, path, path_size);
  store->os = os;
  store->path = copy;
  store->path_size = path_size;
  store->read_only = read_only;
  *out = store;
  return KL_OK;
}

static kl_status store_write_superblock(kl_store *store, const store_superblock *superblock, kl_error *err) {
  uint8_t block[KL_SUPERBLOCK_SIZE];
  store_superblock_encode(superblock, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  uint64_t slot = superblock->checkpoint.sequence % KL_SUPERBLOCKS;
  return kl_os_write(store->os, store->file, &part, 1, slot * KL_SUPERBLOCK_SIZE, err);
}

/* Writes the new file under its temporary name and gives it its own. The lock is held. */
static kl_status store_write_new_file(kl_store *store, const char *temporary, kl_error *err) {
  static const uint8_t zeros[KL_SUPERBLOCK_SIZE];
  kl_os *os = store->os;
  kl_slice parts[KL_SUPERBLOCKS];
  for (int i = 0; i < KL_SUPERBLOCKS; i++) parts[i] = kl_slice_make(zeros, sizeof zeros);
  kl_status status = kl_os_truncate(os, store->file, 0, err); /* of a crashed creation there may be anything */
  if (status == KL_OK) status = kl_os_write(os, store->file, parts, KL_SUPERBLOCKS, 0, err);
  if (status == KL_OK) status = store_write_superblock(store, &store->newest, err);
  if (status == KL_OK) status = kl_os_sync(os, store->file, false, err);
  if (status == KL_OK) status = kl_os_rename(os, temporary, store->path, err);
  if (status == KL_OK) status = kl_os_sync_directory(os, store->path, err);
  return status;
}

/* KL_OK when a database may be created at path: nothing is there, or an empty file. */
static kl_status store_check_vacant(kl_os *os, const char *path, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_os_stat(os, path, &info, err);
  if (status != KL_OK || info.kind == KL_FILE_ABSENT) return status;
  if (info.kind != KL_FILE_REGULAR) {
    return kl_fail(err, KL_E_NOT_A_FILE, "'%s' is not a regular file; name a file for the database", path);
  }
  if (info.size != 0) return kl_fail(err, KL_E_EXISTS, "'%s' exists already; open it, or choose another name", path);
  return KL_OK;
}

static kl_status store_create_locked(kl_store *store, const char *temporary, uint32_t mode, kl_error *err) {
  kl_os *os = store->os;
  kl_status status = kl_os_open(os, temporary, KL_OPEN_WRITE | KL_OPEN_CREATE, mode, &store->file, err);
  if (status != KL_OK) {
    store->file = NULL;
    return status;
  }
  status = kl_os_lock(os, store->file, KL_LOCK_EXCLUSIVE, err);
  if (status != KL_OK) return status;
  /* Only now is it certain that nobody else is creating it; but somebody may have finished just before, and what was
   * opened as NAME-new may even be his NAME. */
  status = store_check_vacant(os, store->path, err);
  bool theirs = status == KL_E_EXISTS;
  if (status == KL_OK) status = store_write_new_file(store, temporary, err);
  if (status != KL_OK) {
    kl_file_info info;
    /* Removing NAME-new is safe under its lock; where it is NAME by now, there is nothing of that name to remove. */
    if (theirs || (kl_os_stat(os, temporary, &info, NULL) == KL_OK && info.kind == KL_FILE_REGULAR)) {
      (void)kl_os_remove(os, temporary, NULL);
    }
  }
  return status;
}

kl_status kl_store_create(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                          kl_error *err) {
  *out_store = NULL;
  uint32_t page_size = options->page_size != 0 ? options->page_size : KL_PAGE_SIZE_DEFAULT;
  if (page_size < KL_PAGE_SIZE_MIN || page_size > KL_PAGE_SIZE_MAX || (page_size & (page_size - 1)) != 0) {
    return kl_fail(err, KL_E_INVALID, "page size %" PRIu32 " is not a power of two from 4 KiB to 64 KiB", page_size);
  }
  if (options->read_only) return kl_fail(err, KL_E_READ_ONLY, "cannot create '%s': opened read-only", path);
  kl_status status = store_check_vacant(os, path, err);
  if (status != KL_OK) return status;
  kl_store *store = NULL;
  status = store_new(os, path, false, &store, err);
  if (status != KL_OK) return status;
  store_superblock *first = &store->newest;
  first->version = STORE_VERSION;
  kl_os_random(os, first->database_id, sizeof first->database_id);
  first->page_size = page_size;
  first->created_ns = kl_os_wall_ns(os);
  first->checkpoint.sequence = 1;
  first->checkpoint.wall_ns = first->created_ns;

  size_t size = strlen(path) + sizeof "-new";
  char *temporary = kl_alloc(os->allocator, size);
  if (temporary == NULL) {
    status = kl_fail(err, KL_E_NO_MEMORY, "no memory to create database '%s'", path);
  } else {
    memcpy(temporary, path, strlen(path));
    memcpy(temporary + strlen(path), "-new", sizeof "-new");
    status = store_create_locked(store, temporary, options->file_mode != 0 ? options->file_mode : 0600, err);
    kl_free(os->allocator, temporary, size);
  }
  if (status != KL_OK) {
    store_destroy(store);
    return status;
  }
  *out_store = store;
  return KL_OK;
}

/* What the ring of superblocks says, all slots together. */
typedef struct store_ring {
  store_superblock newest, previous;
  bool has_newest, has_previous;
  bool newer_version, damaged, mixed;
} store_ring;

static void store_ring_add(store_ring *ring, const store_superblock *superblock) {
  if (ring->has_newest &&
      memcmp(superblock->database_id, ring->newest.database_id, sizeof superblock->database_id) != 0) {
    ring->mixed = true;
  }
  if (!ring->has_newest || superblock->checkpoint.sequence > ring->newest.checkpoint.sequence) {
    ring->previous = ring->newest;
    ring->has_previous = ring->has_newest;
    ring->newest = *superblock;
    ring->has_newest = true;
  } else if (!ring->has_previous || superblock->checkpoint.sequence > ring->previous.checkpoint.sequence) {
    ring->previous = *superblock;
    ring->has_previous = true;
  }
}

static kl_status store_judge(const kl_store *store, const store_ring *ring, kl_error *err) {
  const char *path = store->path;
  /* A superblock of a newer version counts even beside older ones: it is later than all that this version can read. */
  if (ring->newer_version) {
    return kl_fail(err, KL_E_VERSION,
                   "database '%s' has a format that this version does not know (1 is known); use a"
                   " newer Keel",
                   path);
  }
  if (!ring->has_newest && ring->damaged) {
    return kl_fail(err, KL_E_CORRUPT, "database '%s': none of its %d superblocks is intact; restore from a backup",
                   path, KL_SUPERBLOCKS);
  }
  if (!ring->has_newest) return kl_fail(err, KL_E_FORMAT, "'%s' is not a Keel database", path);
  if (ring->mixed) {
    return kl_fail(err, KL_E_CORRUPT, "database '%s' holds superblocks of two databases; restore from a backup", path);
  }
  const store_superblock *newest = &ring->newest;
  if (newest->features_incompatible != 0 || (newest->features_read_only != 0 && !store->read_only)) {
    return kl_fail(err, KL_E_VERSION,
                   "database '%s' uses features (%" PRIx32 ", %" PRIx32 ") of a newer Keel; use that%s", path,
                   newest->features_incompatible, newest->features_read_only,
                   newest->features_incompatible == 0 ? ", or open it read-only" : "");
  }
  return KL_OK;
}

static kl_status store_load(kl_store *store, kl_error *err) {
  store_ring ring = {0};
  uint8_t block[KL_SUPERBLOCK_SIZE];
  store_superblock superblock = {0};
  bool short_file = false;
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    size_t got = 0;
    kl_status status =
        kl_os_read(store->os, store->file, block, sizeof block, (uint64_t)slot * sizeof block, &got, err);
    if (status != KL_OK) return status;
    if (got != sizeof block) {
      short_file = true;
      break;
    }
    status = store_superblock_decode(block, slot, &superblock);
    if (status == KL_OK) store_ring_add(&ring, &superblock);
    ring.newer_version |= status == KL_E_VERSION;
    ring.damaged |= status == KL_E_CORRUPT;
  }
  if (short_file) {
    return kl_fail(err, KL_E_FORMAT, "'%s' is not a Keel database: it is shorter than the %d bytes that each has",
                   store->path, KL_SUPERBLOCKS * KL_SUPERBLOCK_SIZE);
  }
  kl_status status = store_judge(store, &ring, err);
  if (status != KL_OK) return status;
  store->newest = ring.newest;
  const kl_checkpoint *fallback = ring.has_previous ? &ring.previous.checkpoint : &ring.newest.checkpoint;
  store->previous_log_lsn = fallback->log_lsn;
  store->previous_log_needed = fallback->log_needed;
  return KL_OK;
}

/* STORE-5: that a superblock can be read does not say that it is on stable storage, nor that a sync would put it there:
 * after a failed sync the kernel shows pages that it will not write again. So the newest is written once more, byte for
 * byte (a torn write of equal bytes changes nothing), before anything is built on it. The same goes for the names of
 * the file and its log, which a creation may have left unsynced. */
static kl_status store_confirm(kl_store *store, kl_error *err) {
  kl_status status = store_write_superblock(store, &store->newest, err);
  if (status == KL_OK) status = kl_os_sync(store->os, store->file, false, err);
  return status == KL_OK ? kl_os_sync_directory(store->os, store->path, err) : status;
}

kl_status kl_store_open(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                        kl_error *err) {
  kl_file_info info;
  *out_store = NULL;
  kl_status status = kl_os_stat(os, path, &info, err); /* first: opening a fifo would wait */
  if (status != KL_OK) return status;
  if (info.kind == KL_FILE_ABSENT) return kl_fail(err, KL_E_NO_FILE, "there is no database '%s'", path);
  if (info.kind != KL_FILE_REGULAR) return kl_fail(err, KL_E_NOT_A_FILE, "'%s' is not a regular file", path);
  if (info.size == 0) return kl_fail(err, KL_E_NO_FILE, "'%s' is empty: no database has been created in it", path);
  kl_store *store = NULL;
  status = store_new(os, path, options->read_only, &store, err);
  if (status != KL_OK) return status;
  status = kl_os_open(os, path, options->read_only ? KL_OPEN_READ : KL_OPEN_WRITE, 0, &store->file, err);
  if (status != KL_OK) store->file = NULL;
  /* The lock comes before the first byte is read, so that no publisher is writing meanwhile. */
  if (status == KL_OK) {
    status = kl_os_lock(os, store->file, options->read_only ? KL_LOCK_SHARED : KL_LOCK_EXCLUSIVE, err);
  }
  if (status == KL_OK) status = store_load(store, err);
  if (status == KL_OK && !options->read_only) status = store_confirm(store, err);
  if (status != KL_OK) {
    store_destroy(store);
    return status;
  }
  *out_store = store;
  return KL_OK;
}

void kl_store_close(kl_store *store) {
  if (store != NULL) store_destroy(store);
}

const uint8_t *kl_store_id(const kl_store *store) {
  return store->newest.database_id;
}

uint32_t kl_store_page_size(const kl_store *store) {
  return store->newest.page_size;
}

void kl_store_checkpoint(kl_store *store, kl_checkpoint *out_checkpoint) {
  kl_mutex_lock(&store->lock);
  *out_checkpoint = store->newest.checkpoint;
  kl_mutex_unlock(&store->lock);
}

uint64_t kl_store_log_release_point(kl_store *store) {
  kl_mutex_lock(&store->lock);
  uint64_t lsn = store->newest.checkpoint.log_lsn;
  if (store->previous_log_needed && store->previous_log_lsn < lsn) lsn = store->previous_log_lsn;
  kl_mutex_unlock(&store->lock);
  return lsn;
}

/* One slot of the ring: written, synced, then the newest. */
static kl_status store_publish_one(kl_store *store, const kl_checkpoint *checkpoint, kl_error *err) {
  store_superblock next = store->newest; /* one publisher: nobody else changes it */
  next.checkpoint = *checkpoint;
  next.checkpoint.sequence = store->newest.checkpoint.sequence + 1;
  next.checkpoint.wall_ns = kl_os_wall_ns(store->os);
  kl_status status = store_write_superblock(store, &next, err);
  if (status == KL_OK) status = kl_os_sync(store->os, store->file, true, err);
  kl_mutex_lock(&store->lock);
  if (status == KL_OK) {
    store->previous_log_lsn = store->newest.checkpoint.log_lsn;
    store->previous_log_needed = store->newest.checkpoint.log_needed;
    store->newest = next;
  } else {
    store->poisoned = true; /* which of the two is on disk is not known */
  }
  kl_mutex_unlock(&store->lock);
  return status;
}

kl_status kl_store_publish(kl_store *store, kl_checkpoint *checkpoint, kl_error *err) {
  if (store->read_only) return kl_fail(err, KL_E_READ_ONLY, "database '%s' is open read-only", store->path);
  if (store->poisoned) {
    return kl_fail(err, KL_E_POISONED, "a checkpoint of database '%s' could not be written; open it anew", store->path);
  }
  bool twice = checkpoint->log_needed != store->newest.checkpoint.log_needed;
  kl_status status = store_publish_one(store, checkpoint, err);
  if (status == KL_OK && twice) status = store_publish_one(store, checkpoint, err);
  if (status == KL_OK) *checkpoint = store->newest.checkpoint;
  return status;
}

/* ---- core/store/superblock.c ---- */
/* core/store/superblock.c: see superblock.h. Every multi-byte integer is little-endian. */

static const uint8_t store_magic[8] = {'K', 'E', 'E', 'L', '-', 'D', 'B', 0x1a};

enum {
  STORE_AT_VERSION = 8,
  STORE_AT_COMPATIBLE = 12,
  STORE_AT_READ_ONLY = 16,
  STORE_AT_INCOMPATIBLE = 20,
  STORE_AT_ID = 24,
  STORE_AT_SEQUENCE = 40,
  STORE_AT_TS = 48,
  STORE_AT_LOG_LSN = 56,
  STORE_AT_KNOWN_DURABLE = 64,
  STORE_AT_WALL = 72,
  STORE_AT_CREATED = 80,
  STORE_AT_PAGE_SIZE = 88,
  STORE_AT_FLAGS = 92,
  STORE_AT_CATALOGUE = 96,
  STORE_AT_SPACE_MAP = 120,
  STORE_AT_BLOCKS_END = 144,
  STORE_AT_CHECKSUM = KL_SUPERBLOCK_SIZE - 4
};

static void store_pointer_encode(const store_pointer *pointer, uint8_t *out) {
  kl_store_u64_le(out, pointer->address);
  kl_store_u32_le(out + 8, pointer->length);
  kl_store_u32_le(out + 12, pointer->checksum);
  kl_store_u64_le(out + 16, pointer->birth);
}

static store_pointer store_pointer_decode(const uint8_t *bytes) {
  return (store_pointer){kl_load_u64_le(bytes), kl_load_u32_le(bytes + 8), kl_load_u32_le(bytes + 12),
                         kl_load_u64_le(bytes + 16)};
}

void store_superblock_encode(const store_superblock *superblock, uint8_t out[KL_SUPERBLOCK_SIZE]) {
  const kl_checkpoint *checkpoint = &superblock->checkpoint;
  memset(out, 0, KL_SUPERBLOCK_SIZE);
  memcpy(out, store_magic, sizeof store_magic);
  kl_store_u32_le(out + STORE_AT_VERSION, superblock->version);
  kl_store_u32_le(out + STORE_AT_COMPATIBLE, superblock->features_compatible);
  kl_store_u32_le(out + STORE_AT_READ_ONLY, superblock->features_read_only);
  kl_store_u32_le(out + STORE_AT_INCOMPATIBLE, superblock->features_incompatible);
  memcpy(out + STORE_AT_ID, superblock->database_id, KL_DATABASE_ID_SIZE);
  kl_store_u64_le(out + STORE_AT_SEQUENCE, checkpoint->sequence);
  kl_store_u64_le(out + STORE_AT_TS, checkpoint->ts);
  kl_store_u64_le(out + STORE_AT_LOG_LSN, checkpoint->log_lsn);
  kl_store_u64_le(out + STORE_AT_KNOWN_DURABLE, checkpoint->known_durable);
  kl_store_u64_le(out + STORE_AT_WALL, checkpoint->wall_ns);
  kl_store_u64_le(out + STORE_AT_CREATED, superblock->created_ns);
  kl_store_u32_le(out + STORE_AT_PAGE_SIZE, superblock->page_size);
  kl_store_u32_le(out + STORE_AT_FLAGS, checkpoint->log_needed ? STORE_FLAG_LOG_NEEDED : 0);
  store_pointer_encode(&superblock->catalogue, out + STORE_AT_CATALOGUE);
  store_pointer_encode(&superblock->space_map, out + STORE_AT_SPACE_MAP);
  kl_store_u64_le(out + STORE_AT_BLOCKS_END, superblock->blocks_end);
  kl_store_u32_le(out + STORE_AT_CHECKSUM, kl_crc32c(0, out, STORE_AT_CHECKSUM));
}

static bool store_page_size_valid(uint32_t size) {
  return size >= KL_PAGE_SIZE_MIN && size <= KL_PAGE_SIZE_MAX && (size & (size - 1)) == 0;
}

kl_status store_superblock_decode(const uint8_t bytes[KL_SUPERBLOCK_SIZE], uint32_t slot, store_superblock *out) {
  if (memcmp(bytes, store_magic, sizeof store_magic) != 0) return KL_E_FORMAT;
  /* Magic, version and checksum keep their places in every version, so damage and novelty can be told apart. */
  if (kl_load_u32_le(bytes + STORE_AT_CHECKSUM) != kl_crc32c(0, bytes, STORE_AT_CHECKSUM)) return KL_E_CORRUPT;
  out->version = kl_load_u32_le(bytes + STORE_AT_VERSION);
  if (out->version != STORE_VERSION) return KL_E_VERSION;
  out->features_compatible = kl_load_u32_le(bytes + STORE_AT_COMPATIBLE);
  out->features_read_only = kl_load_u32_le(bytes + STORE_AT_READ_ONLY);
  out->features_incompatible = kl_load_u32_le(bytes + STORE_AT_INCOMPATIBLE);
  memcpy(out->database_id, bytes + STORE_AT_ID, KL_DATABASE_ID_SIZE);
  uint32_t flags = kl_load_u32_le(bytes + STORE_AT_FLAGS);
  out->checkpoint = (kl_checkpoint){.sequence = kl_load_u64_le(bytes + STORE_AT_SEQUENCE),
                                    .ts = kl_load_u64_le(bytes + STORE_AT_TS),
                                    .log_lsn = kl_load_u64_le(bytes + STORE_AT_LOG_LSN),
                                    .known_durable = kl_load_u64_le(bytes + STORE_AT_KNOWN_DURABLE),
                                    .wall_ns = kl_load_u64_le(bytes + STORE_AT_WALL),
                                    .log_needed = (flags & STORE_FLAG_LOG_NEEDED) != 0};
  out->created_ns = kl_load_u64_le(bytes + STORE_AT_CREATED);
  out->page_size = kl_load_u32_le(bytes + STORE_AT_PAGE_SIZE);
  out->catalogue = store_pointer_decode(bytes + STORE_AT_CATALOGUE);
  out->space_map = store_pointer_decode(bytes + STORE_AT_SPACE_MAP);
  out->blocks_end = kl_load_u64_le(bytes + STORE_AT_BLOCKS_END);
  bool sane = out->checkpoint.sequence != 0 && out->checkpoint.sequence % KL_SUPERBLOCKS == slot &&
              store_page_size_valid(out->page_size);
  return sane ? KL_OK : KL_E_CORRUPT;
}

/* ---- core/wal/append.c ---- */
/* core/wal/append.c: batches at the tail.
 *
 * A batch goes to the file at once, or, deferred, into the active buffer that the next sync round writes. Both keep the
 * order of the log: whoever hands a batch to the file first hands over what lies before it in the buffer. */

/* ---- core/wal/wal_private.h ---- */
/* core/wal/wal_private.h: the state of an open log, shared by the files of core/wal.
 *
 *   wal.c      create, open, close, stats, owner, poisoning
 *   format.c   bytes of every structure
 *   space.c    segments and slots: where an LSN lies, growth ahead of the tail, release
 *   append.c   batches into the file or the buffer
 *   sync.c     sync rounds, the choice between fdatasync and O_DSYNC
 *   worker.c   the background thread: growth ahead of need, flushes of durability `group`
 *   reader.c   batches out of the file
 *   recover.c  what the end of the log is, and making it final
 *
 * One mutex, `lock`, guards everything below it in the struct and is never held during a system call that touches
 * storage. Three roles order such calls; a role is a bool under the lock, waited for on `changed`:
 *   appending  writes batches at the tail, and moves it
 *   syncing    makes everything below the tail durable, and moves `durable`
 *   extending  prepares segments ahead, and moves `ready`
 * A thread takes the roles in the order extending, syncing, and appending never together with another; the round of a
 * `syncing` thread waits for an append only when that append writes into the last block being synced (WAL-3).
 */
#ifndef KL_WAL_PRIVATE_H
#define KL_WAL_PRIVATE_H

/* ---- core/wal/format.h ---- */
/* core/wal/format.h: the bytes of NAME-wal: log header, owner block, segment header, batch header.
 *
 * Private to core/wal. Pure functions between structs and bytes; the tables with every offset are in docs/format.md,
 * which a test checks against what these functions write.
 *
 *   offset 0      log header, first copy     (one block of 4096 bytes)
 *          4096   log header, second copy
 *          8192   owner block
 *          12288  reserved, zero
 *          16384  segment slot 0: segment header (4096), data (segment_size - 4096)
 *          16384 + segment_size   slot 1, and so on
 *
 * An LSN counts data bytes only: data byte `lsn` lies in the segment with sequence number lsn / data_size, at
 * lsn % data_size behind its header, so that the batch stream has no holes at the ends of segments. */
#ifndef KL_WAL_FORMAT_H
#define KL_WAL_FORMAT_H

enum {
  WAL_VERSION = 1,
  WAL_PAGE = 4096,      /* size of every header block; writes are padded to it */
  WAL_SYNC_BLOCK = 512, /* synced bytes never share such a block with bytes written later */
  WAL_ALIGN = 8,        /* of every batch */
  WAL_OWNER_OFFSET = 2 * WAL_PAGE,
  WAL_SEGMENTS_OFFSET = 4 * WAL_PAGE,
  WAL_SEGMENT_HEADER = WAL_PAGE,
  WAL_BATCH_HEADER = 56,
  WAL_ID_SIZE = 16,
  WAL_CHECKSUM_OFFSET = WAL_PAGE - 4 /* of log header and segment header: covers all bytes before it */
};
#define WAL_SEGMENT_SIZE_MIN ((uint64_t)64 << 10)
#define WAL_SEGMENT_SIZE_MAX ((uint64_t)1 << 30)
#define WAL_SEGMENT_SIZE_DEFAULT ((uint64_t)16 << 20)

static inline uint64_t wal_align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

/* The log header. Both copies are equal, except between the two writes that change them. */
typedef struct wal_header {
  uint32_t version;
  uint32_t features_compatible, features_read_only, features_incompatible;
  uint8_t database_id[WAL_ID_SIZE];
  uint64_t segment_size;
  uint64_t incarnation;       /* number of the current writer's life; +1 at each recovery */
  uint64_t incarnation_start; /* LSN at which it began: everything below was durable then (WAL-4, WAL-5) */
  uint64_t first_lsn;         /* of this file, at its creation */
  uint64_t created_ns;        /* wall clock, since 1970 */
} wal_header;

void wal_header_encode(const wal_header *header, uint8_t out[WAL_PAGE]);
/* KL_OK; KL_E_FORMAT: not a log's header; KL_E_CORRUPT: one that is damaged; KL_E_VERSION: of a newer format. */
kl_status wal_header_decode(const uint8_t bytes[WAL_PAGE], wal_header *out);

typedef struct wal_segment_header {
  uint64_t sequence;
  uint64_t
      assignment; /* grows with every slot assignment of the file; of two slots with one sequence the higher counts */
  uint8_t database_id[WAL_ID_SIZE];
} wal_segment_header;

void wal_segment_header_encode(const wal_segment_header *header, uint8_t out[WAL_PAGE]);
bool wal_segment_header_decode(const uint8_t bytes[WAL_PAGE], const uint8_t id[WAL_ID_SIZE], wal_segment_header *out);

/* The batch header. `gap`: bytes between the end of the batch before and `lsn` (0 ... 511). It chains batches: a reader
 * that stands at the end of one accepts only a batch that says it follows there. */
typedef struct wal_batch_header {
  uint64_t lsn;
  uint64_t payload_size;
  uint64_t ts;
  uint64_t durable_lsn; /* what its writer knew durable when it wrote this */
  uint64_t incarnation;
  uint32_t payload_crc;
  uint16_t gap;
  uint16_t flags; /* 0; a reader that meets others answers KL_E_VERSION */
} wal_batch_header;

/* `seed`: checksum of the database id, so that no log's batch is valid in another's. */
uint32_t wal_batch_seed(const uint8_t id[WAL_ID_SIZE]);
void wal_batch_header_encode(const wal_batch_header *header, uint32_t seed, uint8_t out[WAL_BATCH_HEADER]);
bool wal_batch_header_has_magic(const uint8_t *bytes); /* looks at 4 bytes */
/* True when magic and checksum hold; what the fields mean is the reader's to judge. */
bool wal_batch_header_decode(const uint8_t bytes[WAL_BATCH_HEADER], uint32_t seed, wal_batch_header *out);
/* First byte after a batch; false where the sum would not fit. */
bool wal_batch_end(uint64_t lsn, uint64_t payload_size, uint64_t *out_end);

/* Owner block: advisory text of at most WAL_OWNER_TEXT bytes with the terminator. Decoding answers false unless
 * checksum and length hold and every byte is printable. */
enum { WAL_OWNER_TEXT = 256 };
void wal_owner_encode(const char *text, uint8_t out[WAL_PAGE]);
bool wal_owner_decode(const uint8_t bytes[WAL_PAGE], char out_text[WAL_OWNER_TEXT]);

#endif

/* ---- core/wal/wal.h ---- */
/* core/wal/wal.h: the write-ahead log: segments in one file, batches in segments, group sync, one reader.
 *
 * The log is a sequence of bytes addressed by LSN (a 64-bit logical position that only grows, for the life of the
 * database). It is stored in NAME-wal as segments of equal size; a segment whose bytes all lie below the release point
 * is recycled: it gets the next sequence number, and every checksum in it covers the LSN and so that number (the
 * generation), so that stale bytes never look like a record. Space ahead of the tail is allocated, prewritten with
 * zeros and synced before any batch is written there, so that a durable commit changes no metadata. Byte tables:
 * docs/format.md. Invariants, and why it is crash-safe: core/wal/README.md.
 *
 * One batch = one unit of atomicity: header + payload, checksummed together; a torn batch is as if never written.
 * Payloads are opaque here (core/wal/commit_record.h has the codec of commits, shared by commit and replay).
 *
 * Durability: kl_wal_append returns with the batch handed to the operating system; kl_wal_sync returns when everything
 * below an LSN is on stable storage. Syncs are shared: threads that ask while one runs ride on the next. A batch that
 * was synced is never in one 512-byte block with bytes that are written later.
 *
 * Poisoning: after a failed write or sync the log refuses every append, and every sync of what is not durable yet, with
 * KL_E_POISONED until it is opened anew (after a failed fsync the kernel has marked the pages clean: nothing can be
 * known about them). The message carries the first error.
 *
 * Thread rules: append by one thread at a time (the commit turn of core/txn orders them); sync, release, stats from any
 * thread, also while an append runs. A reader by one thread at a time; several readers at once are fine. */
#ifndef KL_WAL_WAL_H
#define KL_WAL_WAL_H

typedef struct kl_wal kl_wal;
typedef uint64_t kl_lsn;

typedef struct kl_wal_options {
  uint8_t database_id[16]; /* of the superblock; a log of another database is refused with KL_E_FORMAT */
  uint64_t segment_size;   /* bytes, a power of two, 64 KiB ... 1 GiB, 0: 16 MiB; used at creation, then the file's */
  kl_lsn start_lsn;        /* used at creation: the log begins here, rounded up to the next segment; 0 for a new
                              database, the checkpoint's position when a log is made anew, so that LSNs only grow */
  uint32_t file_mode;      /* permission bits for creation, 0: 0600 */
  bool read_only;          /* no write at all: for read-only databases; appends give KL_E_READ_ONLY */
  bool prewrite;           /* zero ahead of the tail and sync it; off for databases that never sync */
} kl_wal_options;

/* Creates NAME-wal, durable when it returns (file and directory entry), ready for appending. KL_E_EXISTS when there is
 * one, KL_E_INVALID for a bad segment size. A creation that fails removes what it made. */
kl_status kl_wal_create(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err);

/* Opens an existing log for recovery: reading comes first, appending is possible after kl_wal_recover_end.
 * KL_E_NO_FILE; KL_E_NOT_A_FILE; KL_E_FORMAT: not a log, or of another database; KL_E_VERSION: of a newer Keel;
 * KL_E_CORRUPT: both copies of the header are damaged. Nothing is written. */
kl_status kl_wal_open(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err);
/* Stops the log's threads, closes the file. Does not sync. Readers have been freed. NULL is allowed. */
void kl_wal_close(kl_wal *wal);

/* One batch as read. Borrowed until the next call. */
typedef struct kl_wal_batch {
  kl_lsn lsn;     /* of its first byte */
  kl_lsn end_lsn; /* first byte after it */
  uint64_t ts;    /* as given to append: the highest commit timestamp in it */
  kl_slice payload;
} kl_wal_batch;

/* The one reader: recovery, and later followers, change feeds and restore. On a log that is open for appending it sees
 * what has been handed to the operating system, and may go on after KL_E_NOT_FOUND when more was appended. */
typedef struct kl_wal_reader kl_wal_reader;
/* `from`: 0 or start of a fresh log, or an end_lsn or lsn of a batch. KL_E_CORRUPT when the file does not hold it. */
kl_status kl_wal_reader_new(kl_wal *wal, kl_lsn from, kl_wal_reader **out_reader, kl_error *err);
/* What the caller knows to have been durable (a checkpoint says so): an end before it is KL_E_CORRUPT. */
void kl_wal_reader_expect(kl_wal_reader *reader, kl_lsn known_durable);
/* KL_E_NOT_FOUND at the end of the log. KL_E_CORRUPT when a batch is damaged that is known to have been durable (a
 * later valid batch, the log's header, or kl_wal_reader_expect says so): then nothing is dropped silently, and the
 * message names file, offset and LSN. A torn tail that nobody was promised is the end. KL_E_VERSION for a batch of a
 * newer Keel; KL_E_INVALID when the position has been released meanwhile. */
kl_status kl_wal_reader_next(kl_wal_reader *reader, kl_wal_batch *out_batch, kl_error *err);
/* Where the next batch is looked for: the end of the last one read. */
kl_lsn kl_wal_reader_position(const kl_wal_reader *reader);
void kl_wal_reader_free(kl_wal_reader *reader); /* NULL is allowed */

/* After a reader came to the end (KL_E_NOT_FOUND): the tail is set to `end`, its position, and what was torn behind it
 * is made unreadable, durably, before anything new is written; appends may start. KL_E_INVALID for another `end`:
 * nothing that could be read is dropped. With read_only only the tail is set. Segments below the checkpoint are still
 * held: call kl_wal_release with its position next. */
kl_status kl_wal_recover_end(kl_wal *wal, kl_lsn end, kl_error *err);

/* Appends one batch made of `parts`. *out_lsn is its start, *out_end what to pass to kl_wal_sync (both nullable).
 * KL_E_DISK_FULL: there is no room for it; nothing was appended and the log is in order: make room and go on.
 * KL_E_NO_MEMORY likewise. KL_E_READ_ONLY, KL_E_POISONED. */
kl_status kl_wal_append(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn, kl_lsn *out_end,
                        kl_error *err);
/* As kl_wal_append, by a caller who will call kl_wal_sync for it next: the batch may stay in memory until then, so that
 * one O_DSYNC write can both store it and make it durable. Use this for commits with durability `full`: the probe for
 * the faster method works on these alone. Until the sync a crash of the process loses it. */
kl_status kl_wal_append_deferred(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn,
                                 kl_lsn *out_end, kl_error *err);
/* Returns when every byte below `upto` is durable; at once when it is already (also in a poisoned log: what was
 * durable stays so). KL_E_INVALID when `upto` is behind the tail. */
kl_status kl_wal_sync(kl_wal *wal, kl_lsn upto, kl_error *err);
/* Durability `group`: asks that everything appended be durable within `interval_ns`; returns at once. A thread of the
 * log (started at the first such call) does it; without threads the next append or sync_soon past the deadline does. */
kl_status kl_wal_sync_soon(kl_wal *wal, uint64_t interval_ns, kl_error *err);

/* Everything below `lsn` may be recycled (a checkpoint at or past it is durable). A lower `lsn` than before is no
 * error. */
kl_status kl_wal_release(kl_wal *wal, kl_lsn lsn, kl_error *err);

typedef struct kl_wal_stats {
  kl_lsn start_lsn;                                      /* oldest byte kept */
  kl_lsn tail_lsn;                                       /* first byte after the last append */
  kl_lsn durable_lsn;                                    /* everything below is on stable storage */
  uint64_t file_bytes, segments, segments_recycled;      /* size of NAME-wal; slots in it; slots used again */
  uint64_t appends, appended_bytes, syncs, syncs_shared; /* shared: requests that another request's sync served */
  uint64_t sync_ns_total, sync_ns_max;
  bool uses_dsync; /* the probe chose O_DSYNC over fdatasync */
  bool poisoned;
} kl_wal_stats;
void kl_wal_get_stats(kl_wal *wal, kl_wal_stats *out_stats);

/* Who has the database open, written beside the log's header so that a second process can name the holder. Advisory
 * text (process id, name, time), read without a lock and validated; not synced. */
kl_status kl_wal_write_owner(kl_wal *wal, kl_error *err);
/* "process 4711 (python3), since 2026-01-31 12:00:00 UTC". KL_E_NOT_FOUND when there is none that is intact, with "" in
 * out_text. */
kl_status kl_wal_read_owner(kl_os *os, const char *path, char *out_text, size_t capacity);

#endif

enum {
  WAL_LARGE_BATCH = 1 << 20,    /* from here on a batch is written without prewriting its space */
  WAL_BUFFER_MIN = 64 << 10,    /* first size of the buffer of deferred batches */
  WAL_BUFFER_MAX = 1 << 20,     /* its largest; what does not fit is handed to the os at once */
  WAL_STEP_MIN = 64 << 10,      /* growth ahead of the tail starts with this, doubles with each step ... */
  WAL_STEP_MAX = 4 << 20,       /* ... up to this */
  WAL_WINDOW_SIZE = 128 << 10,  /* of a reader */
  WAL_PROBE_SAMPLES = 8,        /* per method */
  WAL_PROBE_INTERVAL = 1 << 14, /* rounds from one probe to the next */
  WAL_PARTS_MAX = 32            /* slices per write call */
};

/* A segment that has a slot. `wal->segments` is sorted by sequence. */
typedef struct wal_segment {
  uint64_t sequence, assignment;
  uint32_t slot;
} wal_segment;

/* Deferred batches: the bytes of [start, start + size), contiguous, not yet handed to the os. */
typedef struct wal_buffer {
  uint8_t *data;
  size_t capacity, size;
  kl_lsn start;
  kl_lsn follows; /* end of the batch before: below that all is in the file */
} wal_buffer;

typedef enum wal_method { WAL_FDATASYNC = 0, WAL_DSYNC = 1 } wal_method;

typedef struct wal_probe {
  uint64_t samples[2][WAL_PROBE_SAMPLES];
  uint32_t count;  /* samples taken of this probe; 2 * WAL_PROBE_SAMPLES: decided */
  uint32_t rounds; /* since the decision */
  wal_method chosen;
} wal_probe;

struct kl_wal {
  kl_os *os;
  char *path;
  size_t path_size; /* with the terminator */
  kl_file *file;
  kl_file *dsync_file; /* the same file with KL_OPEN_DSYNC; NULL: not to be had */
  bool read_only, prewrite;
  uint32_t seed;                    /* of batch checksums */
  uint64_t segment_size, data_size; /* with and without the segment's header */
  wal_header header;                /* changes in kl_wal_recover_end only, before threads start */
  unsigned header_first;            /* the copy that is overwritten first: the other one is durable (WAL-11) */

  kl_mutex lock;
  kl_cond changed; /* a role was given back, a position moved, the log was poisoned */
  kl_cond work;    /* for the background thread */

  bool running; /* false: opened for reading; appends come after kl_wal_recover_end */
  bool scanned; /* a reader came to the end, at scanned_end */
  kl_lsn scanned_end;
  kl_lsn scanned_durable; /* what of that is known to be on stable storage, not in the page cache only */
  bool poisoned;
  kl_error first_error;

  /* start <= durable <= tail <= ready; tail is 8-aligned */
  kl_lsn start;   /* oldest byte kept */
  kl_lsn tail;    /* end of the last batch */
  kl_lsn durable; /* everything below is on stable storage */
  kl_lsn cut;     /* end of what the last sync round took: a batch at or behind it starts a new sync block (WAL-3) */
  kl_lsn ready;   /* segments are prepared up to here: a batch that ends below may be written */
  bool appending, syncing, extending;
  kl_lsn append_start, append_end; /* of the running append */
  bool dirty; /* something was written that only an fdatasync makes durable, since the last one started */

  wal_segment *segments;
  uint32_t segment_count, segment_capacity;
  uint32_t *free_slots; /* capacity >= slot_count: giving a slot back cannot fail */
  uint32_t free_count, free_capacity;
  uint32_t slot_count;
  uint64_t next_assignment;
  uint64_t file_bytes;     /* bytes that the file has */
  uint64_t prepared_bytes; /* of those, how many were written; the rest is reserved space at the end */
  uint64_t step;           /* size of the next growth */

  wal_buffer active, busy; /* appends go into active; a sync round swaps them and writes busy */
  wal_probe probe;

  kl_thread *thread;
  bool thread_failed, stop, want_space;
  uint64_t flush_at; /* monotonic deadline of durability `group`; 0: none */

  uint64_t appends, appended_bytes, syncs, syncs_shared, sync_ns_total, sync_ns_max, recycled;
};

/* wal.c */
/* The lock is held. The first error stays; `cause` was filled by the call that failed. */
void wal_poison(kl_wal *wal, const kl_error *cause);
kl_status wal_refuse(const kl_wal *wal, kl_error *err); /* KL_E_POISONED with the first error */
kl_status wal_store_header(kl_wal *wal, const wal_header *header, unsigned copy, kl_error *err);

/* space.c */
kl_status wal_space_load(kl_wal *wal, kl_error *err); /* at open: what the slots' headers say */
void wal_space_free(kl_wal *wal);
/* The lock is held. False when no segment holds lsn. *out_run: bytes to the end of its segment. */
bool wal_space_locate(const kl_wal *wal, kl_lsn lsn, uint64_t *out_offset, uint64_t *out_run);
uint64_t wal_space_slot_offset(const kl_wal *wal, uint32_t slot);
/* The lock is held; may let it go and take it again. On KL_OK ready >= need. `large`: without prewriting. */
kl_status wal_space_ensure(kl_wal *wal, kl_lsn need, bool large, kl_error *err);
/* The lock is not held; the caller has the role `extending`. */
kl_status wal_space_extend(kl_wal *wal, kl_lsn need, bool large, kl_error *err);
/* The lock is held: the log ends at wal->tail; forgets what is not connected with it, sets start and ready. */
void wal_space_settle(kl_wal *wal);
/* Writes the headers of the segments `first` ... `last` that have a slot once more. Only in recovery: nobody else is
 * there. */
kl_status wal_space_rewrite_headers(kl_wal *wal, uint64_t first, uint64_t last, kl_error *err);
/* Writes parts at lsn on, over segment ends, through `file`. The lock is not held. */
kl_status wal_space_write(kl_wal *wal, kl_file *file, kl_lsn lsn, const kl_slice *parts, size_t count, kl_error *err);
/* Reads up to size bytes; *out_read < size where the log's file ends. The lock is not held. */
kl_status wal_space_read(kl_wal *wal, kl_lsn lsn, void *buffer, size_t size, size_t *out_read, kl_error *err);

/* append.c */
/* The lock is held, as is no role. Hands deferred batches that nobody synced to the os. */
kl_status wal_append_hand_over(kl_wal *wal, kl_error *err);

/* sync.c */
/* The lock is held (let go meanwhile), nobody is syncing. One round: everything below the tail becomes durable.
 * must_flush: by fdatasync, so that writes of other than batches are covered too. A failure poisons. */
kl_status wal_sync_round(kl_wal *wal, bool must_flush, kl_error *err);

/* worker.c */
/* The lock is held. True when the background thread runs (it is started at the first need). */
bool wal_worker_wake(kl_wal *wal);
void wal_worker_stop(kl_wal *wal);

/* recover.c */
/* The log cannot be read beyond `end`. KL_E_NOT_FOUND when that is its end, KL_E_CORRUPT when durable bytes are
 * missing. */
kl_status wal_recover_judge(kl_wal *wal, kl_lsn end, kl_lsn known_durable, kl_error *err);

#endif

static const uint8_t wal_append_zeros[WAL_ALIGN];

/* Where a batch goes that is appended now. The lock is held. */
static kl_lsn wal_append_position(const kl_wal *wal, bool large) {
  kl_lsn aligned = wal_align_up(wal->tail, WAL_SYNC_BLOCK);
  /* WAL-3: what a sync round took never shares a block with what comes later. Large batches keep apart too, so that a
   * sync of what lies before them need not wait until they are written. */
  if (large || wal->tail <= wal->cut) return aligned;
  /* A header lies in one segment as a whole. */
  if (wal->data_size - wal->tail % wal->data_size < WAL_BATCH_HEADER) return aligned;
  return wal->tail;
}

static bool wal_append_buffer_reserve(kl_wal *wal, uint64_t size) {
  wal_buffer *buffer = &wal->active;
  if (size <= buffer->capacity) return true;
  if (size > WAL_BUFFER_MAX) return false;
  size_t capacity = buffer->capacity != 0 ? buffer->capacity : WAL_BUFFER_MIN;
  while (capacity < size) capacity *= 2;
  uint8_t *grown = kl_realloc(wal->os->allocator, buffer->data, buffer->capacity, capacity);
  if (grown == NULL) return false; /* the batch is handed to the os instead */
  buffer->data = grown;
  buffer->capacity = capacity;
  return true;
}

/* Puts [lsn, end) into the active buffer; false when it does not fit there. The lock is held. */
static bool wal_append_buffered(kl_wal *wal, kl_lsn lsn, kl_lsn end, const uint8_t *header, const kl_slice *parts,
                                size_t count) {
  wal_buffer *buffer = &wal->active;
  kl_lsn start = buffer->size != 0 ? buffer->start : lsn;
  if (!wal_append_buffer_reserve(wal, end - start)) return false;
  if (buffer->size == 0) buffer->follows = wal->tail;
  uint8_t *out = buffer->data + buffer->size;
  size_t gap = (size_t)(lsn - start) - buffer->size;
  memset(out, 0, gap);
  out += gap;
  memcpy(out, header, WAL_BATCH_HEADER);
  out += WAL_BATCH_HEADER;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].size == 0) continue;
    memcpy(out, parts[i].data, parts[i].size);
    out += parts[i].size;
  }
  buffer->start = start;
  buffer->size = (size_t)(end - start);
  memset(out, 0, (size_t)(buffer->data + buffer->size - out));
  return true;
}

/* The lock is held. The role `appending` keeps sync rounds off the last block, and off the active buffer, while the
 * lock is let go. */
static void wal_append_take_role(kl_wal *wal, kl_lsn start, kl_lsn end) {
  KL_ASSERT(!wal->appending);
  wal->appending = true;
  wal->append_start = start;
  wal->append_end = end;
}

static void wal_append_give_role(kl_wal *wal) {
  wal->appending = false;
  wal->dirty = true;
  kl_cond_broadcast(&wal->changed);
}

/* A write failed that harmed the log. A full disk is told as the poison that it was: KL_E_DISK_FULL means "nothing
 * happened, make room and go on". The lock is held. */
static kl_status wal_append_failed(kl_wal *wal, kl_status status, const kl_error *cause, kl_error *err) {
  wal_poison(wal, cause);
  if (status == KL_E_DISK_FULL) return wal_refuse(wal, err);
  if (err != NULL) *err = *cause;
  return status;
}

kl_status wal_append_hand_over(kl_wal *wal, kl_error *err) {
  if (wal->active.size == 0) return KL_OK;
  kl_slice part = kl_slice_make(wal->active.data, wal->active.size);
  wal_append_take_role(wal, wal->active.start, wal->active.start + wal->active.size);
  kl_mutex_unlock(&wal->lock);
  kl_error cause = {0};
  kl_status status = wal_space_write(wal, wal->file, wal->active.start, &part, 1, &cause);
  kl_mutex_lock(&wal->lock);
  wal_append_give_role(wal);
  if (status == KL_OK) {
    wal->active.size = 0; /* not after a failure: readers must not look where nothing may have been written */
    return KL_OK;
  }
  return wal_append_failed(wal, status, &cause, err); /* batches that were accepted are lost */
}

/* A write of the batch at lsn failed for lack of space, on a file system that needs some for overwriting, or without
 * prewriting. Nobody was promised the batch, but all of it may have been stored: where its header was, it is destroyed,
 * durably, so that no recovery finds it (WAL-8). */
static kl_status wal_append_retract(kl_wal *wal, kl_lsn lsn, kl_error *err) {
  static const uint8_t nothing[WAL_BATCH_HEADER];
  uint8_t bytes[WAL_BATCH_HEADER];
  wal_batch_header header;
  size_t got = 0;
  kl_status status = wal_space_read(wal, lsn, bytes, sizeof bytes, &got, err);
  if (status != KL_OK) return status;
  if (got < sizeof bytes || !wal_batch_header_decode(bytes, wal->seed, &header) || header.lsn != lsn) return KL_OK;
  kl_slice part = kl_slice_make(nothing, sizeof nothing);
  status = wal_space_write(wal, wal->file, lsn, &part, 1, err);
  return status == KL_OK ? kl_os_sync(wal->os, wal->file, true, err) : status;
}

/* The lock is held (let go meanwhile). */
static kl_status wal_append_direct(kl_wal *wal, kl_lsn lsn, kl_lsn end, const uint8_t *header, const kl_slice *parts,
                                   size_t count, kl_error *err) {
  kl_error cause = {0};
  kl_status status = wal_append_hand_over(wal, err);
  if (status != KL_OK) return status;
  uint64_t payload = 0;
  for (size_t i = 0; i < count; i++) payload += parts[i].size;
  kl_lsn body = lsn + WAL_BATCH_HEADER, after = body + payload;
  kl_slice head = kl_slice_make(header, WAL_BATCH_HEADER);
  kl_slice pad = kl_slice_make(wal_append_zeros, (size_t)(end - after));
  wal_append_take_role(wal, lsn, end);
  kl_mutex_unlock(&wal->lock);
  if (count < WAL_PARTS_MAX - 2) {
    kl_slice all[WAL_PARTS_MAX];
    all[0] = head;
    for (size_t i = 0; i < count; i++) all[i + 1] = parts[i];
    all[count + 1] = pad;
    status = wal_space_write(wal, wal->file, lsn, all, count + 2, &cause);
  } else {
    status = wal_space_write(wal, wal->file, lsn, &head, 1, &cause);
    if (status == KL_OK) status = wal_space_write(wal, wal->file, body, parts, count, &cause);
    if (status == KL_OK) status = wal_space_write(wal, wal->file, after, &pad, 1, &cause);
  }
  bool harmless = status == KL_E_DISK_FULL && wal_append_retract(wal, lsn, NULL) == KL_OK;
  kl_mutex_lock(&wal->lock);
  wal_append_give_role(wal);
  if (status == KL_OK || harmless) {
    if (harmless && err != NULL) *err = cause;
    return status;
  }
  return wal_append_failed(wal, status, &cause, err);
}

static kl_status wal_append_check(const kl_wal *wal, kl_error *err) {
  if (wal->read_only) return kl_fail(err, KL_E_READ_ONLY, "log '%s' is open read-only", wal->path);
  if (!wal->running) return kl_fail(err, KL_E_INVALID, "log '%s' is still being recovered", wal->path);
  if (wal->poisoned) return wal_refuse(wal, err);
  return KL_OK;
}

/* More space is prepared in the background before the tail comes to the end of what is ready. */
static void wal_append_look_ahead(kl_wal *wal) {
  if (wal->prewrite && !wal->want_space && wal->ready - wal->tail < wal->step / 4) {
    wal->want_space = true;
    (void)wal_worker_wake(wal); /* without a thread the append that needs it grows the file itself */
  }
}

/* Without a background thread the deadline of durability `group` is kept by whoever comes by. */
static kl_status wal_append_flush_due(kl_wal *wal, kl_error *err) {
  if (wal->flush_at == 0 || wal->thread != NULL || kl_os_monotonic_ns(wal->os) < wal->flush_at) return KL_OK;
  kl_status status = KL_OK;
  kl_lsn upto = wal->tail;
  wal->flush_at = 0;
  while (status == KL_OK && wal->durable < upto) {
    if (wal->poisoned) return wal_refuse(wal, err);
    if (wal->syncing) {
      kl_cond_wait(&wal->changed, &wal->lock);
      continue;
    }
    status = wal_sync_round(wal, false, err);
  }
  return status;
}

/* The lock is held (let go meanwhile). */
static kl_status wal_append_locked(kl_wal *wal, const kl_slice *parts, size_t count, wal_batch_header *header,
                                   bool deferred, kl_error *err) {
  kl_lsn end;
  bool large = header->payload_size >= WAL_LARGE_BATCH;
  kl_status status = wal_append_check(wal, err);
  if (status != KL_OK) return status;
  if (!wal_batch_end(wal_align_up(wal->tail, WAL_SYNC_BLOCK), header->payload_size, &end)) {
    return kl_fail(err, KL_E_LIMIT, "a batch of %" PRIu64 " bytes does not fit into log '%s'", header->payload_size,
                   wal->path);
  }
  status = wal_space_ensure(wal, end, large, err);
  if (status != KL_OK) return status;
  if (wal->poisoned) return wal_refuse(wal, err);
  header->lsn = wal_append_position(wal, large);
  header->gap = (uint16_t)(header->lsn - wal->tail);
  header->durable_lsn = wal->durable;
  (void)wal_batch_end(header->lsn, header->payload_size, &end);
  uint8_t bytes[WAL_BATCH_HEADER];
  wal_batch_header_encode(header, wal->seed, bytes);
  bool buffered =
      deferred && !large && wal->dsync_file != NULL && wal_append_buffered(wal, header->lsn, end, bytes, parts, count);
  if (!buffered) status = wal_append_direct(wal, header->lsn, end, bytes, parts, count, err);
  if (status != KL_OK) return status;
  wal->tail = end;
  wal->appends++;
  wal->appended_bytes += end - header->lsn;
  wal_append_look_ahead(wal);
  return wal_append_flush_due(wal, err);
}

static kl_status wal_append_batch(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, bool deferred,
                                  kl_lsn *out_lsn, kl_lsn *out_end, kl_error *err) {
  wal_batch_header header = {.ts = ts, .incarnation = wal->header.incarnation};
  for (size_t i = 0; i < count; i++) {
    header.payload_size += parts[i].size;
    header.payload_crc = kl_crc32c(header.payload_crc, parts[i].data, parts[i].size);
  }
  kl_mutex_lock(&wal->lock);
  kl_status status = wal_append_locked(wal, parts, count, &header, deferred, err);
  if (out_lsn != NULL) *out_lsn = header.lsn;
  if (out_end != NULL) *out_end = wal->tail;
  kl_mutex_unlock(&wal->lock);
  return status;
}

kl_status kl_wal_append(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn, kl_lsn *out_end,
                        kl_error *err) {
  return wal_append_batch(wal, parts, count, ts, false, out_lsn, out_end, err);
}

kl_status kl_wal_append_deferred(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn,
                                 kl_lsn *out_end, kl_error *err) {
  return wal_append_batch(wal, parts, count, ts, true, out_lsn, out_end, err);
}

/* ---- core/wal/commit_record.c ---- */
/* core/wal/commit_record.c: codec of commit records. Byte table: docs/format.md, "Commit record" and "Op". */

/* ---- core/wal/commit_record.h ---- */
/* core/wal/commit_record.h: the bytes of one commit inside a log batch. One codec for commit (writes) and replay
 * (reads).
 *
 * A batch's payload is a sequence of commit records, in order of timestamp. A record holds the final images of one
 * transaction's writes: for each, keyspace id, kind, key, value. Byte table in docs/format.md. Kinds 1 (put) and 2
 * (delete) exist; numbers up to 15 are kept for merge operands, 16 and up for pointers to spilled runs and extents,
 * prepared transactions and their outcomes. A reader that meets a kind it does not know answers KL_E_VERSION: it never
 * guesses.
 *
 * Nothing is aligned: records and ops follow each other without gaps. Thread rules: pure functions over caller memory.
 * */
#ifndef KL_WAL_COMMIT_RECORD_H
#define KL_WAL_COMMIT_RECORD_H

typedef enum kl_op_kind { KL_OP_PUT = 1, KL_OP_DELETE = 2 } kl_op_kind;

typedef struct kl_op {
  uint32_t keyspace;
  kl_op_kind kind;
  kl_slice key, value; /* key: at most KL_OP_KEY_MAX bytes; value: at most 2^32 - 1, empty for DELETE */
} kl_op;

enum {
  KL_COMMIT_HEADER_SIZE = 24, /* timestamp, number of ops, bytes of ops */
  KL_OP_HEADER_SIZE = 12,     /* kind, flags, key size, keyspace, value size */
  KL_OP_KEY_MAX = 65535       /* what the format can say; core/txn allows less */
};

/* Encoding: a header (whose ts is set at commit time, when it is known, without touching the rest), then ops. */
/* Bytes that one op takes. */
size_t kl_op_encoded_size(const kl_op *op);
/* Writes one op; returns the bytes written. `out` has room for kl_op_encoded_size; the limits of kl_op are the caller's
 * to keep (asserted). */
size_t kl_op_encode(const kl_op *op, void *out);
/* Writes the header of a record: commit timestamp (> 0), number of ops, bytes of ops that follow. */
void kl_commit_header_encode(void *out, uint64_t ts, uint64_t op_count, uint64_t op_bytes);

/* Decoding; every byte is validated, and KL_E_CORRUPT says what was wrong. Slices borrow from the payload. */
typedef struct kl_commit_reader {
  kl_slice rest; /* what of the payload is unread */
  kl_slice ops;  /* what of the current commit is unread */
  uint64_t ts;   /* of the current commit */
  uint64_t ops_left;
} kl_commit_reader;
void kl_commit_reader_init(kl_commit_reader *reader, kl_slice payload);
/* Moves to the next commit; ops of the current one that were not read are skipped. */
kl_status kl_commit_reader_next_commit(kl_commit_reader *reader, uint64_t *out_ts, uint64_t *out_ops, kl_error *err);
kl_status kl_commit_reader_next_op(kl_commit_reader *reader, kl_op *out_op, kl_error *err);
/* Both give KL_E_NOT_FOUND at the end (of the payload; of the commit) and leave err alone then: the end is no failure.
 * */

#endif

/* Offsets inside a commit header and an op header. */
enum { COMMIT_RECORD_TS = 0, COMMIT_RECORD_OP_COUNT = 8, COMMIT_RECORD_OP_BYTES = 16 };
enum {
  COMMIT_RECORD_OP_KIND = 0,
  COMMIT_RECORD_OP_FLAGS = 1,
  COMMIT_RECORD_OP_KEY_SIZE = 2,
  COMMIT_RECORD_OP_KEYSPACE = 4,
  COMMIT_RECORD_OP_VALUE_SIZE = 8
};

size_t kl_op_encoded_size(const kl_op *op) {
  return KL_OP_HEADER_SIZE + op->key.size + op->value.size;
}

size_t kl_op_encode(const kl_op *op, void *out) {
  KL_ASSERT(op->key.size <= KL_OP_KEY_MAX);
  KL_ASSERT(op->value.size <= UINT32_MAX);
  KL_ASSERT(op->kind == KL_OP_PUT || op->value.size == 0);
  uint8_t *p = out;
  p[COMMIT_RECORD_OP_KIND] = (uint8_t)op->kind;
  p[COMMIT_RECORD_OP_FLAGS] = 0;
  kl_store_u16_le(p + COMMIT_RECORD_OP_KEY_SIZE, (uint16_t)op->key.size);
  kl_store_u32_le(p + COMMIT_RECORD_OP_KEYSPACE, op->keyspace);
  kl_store_u32_le(p + COMMIT_RECORD_OP_VALUE_SIZE, (uint32_t)op->value.size);
  p += KL_OP_HEADER_SIZE;
  if (op->key.size != 0) memcpy(p, op->key.data, op->key.size);
  if (op->value.size != 0) memcpy(p + op->key.size, op->value.data, op->value.size);
  return kl_op_encoded_size(op);
}

void kl_commit_header_encode(void *out, uint64_t ts, uint64_t op_count, uint64_t op_bytes) {
  uint8_t *p = out;
  kl_store_u64_le(p + COMMIT_RECORD_TS, ts);
  kl_store_u64_le(p + COMMIT_RECORD_OP_COUNT, op_count);
  kl_store_u64_le(p + COMMIT_RECORD_OP_BYTES, op_bytes);
}

void kl_commit_reader_init(kl_commit_reader *reader, kl_slice payload) {
  reader->rest = payload;
  reader->ops = kl_slice_make(NULL, 0);
  reader->ts = 0;
  reader->ops_left = 0;
}

static kl_slice commit_record_skip(kl_slice s, size_t n) {
  return kl_slice_make((const uint8_t *)s.data + n, s.size - n);
}

kl_status kl_commit_reader_next_commit(kl_commit_reader *reader, uint64_t *out_ts, uint64_t *out_ops, kl_error *err) {
  kl_slice rest = reader->rest;
  if (rest.size == 0) return KL_E_NOT_FOUND;
  if (rest.size < KL_COMMIT_HEADER_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "commit record is cut: %zu bytes left where a header takes %d", rest.size,
                   KL_COMMIT_HEADER_SIZE);
  }
  const uint8_t *p = rest.data;
  uint64_t ts = kl_load_u64_le(p + COMMIT_RECORD_TS);
  uint64_t op_count = kl_load_u64_le(p + COMMIT_RECORD_OP_COUNT);
  uint64_t op_bytes = kl_load_u64_le(p + COMMIT_RECORD_OP_BYTES);
  if (ts == 0) return kl_fail(err, KL_E_CORRUPT, "commit record without a timestamp");
  if (op_bytes > rest.size - KL_COMMIT_HEADER_SIZE || op_count > op_bytes / KL_OP_HEADER_SIZE) {
    return kl_fail(err, KL_E_CORRUPT,
                   "commit record with timestamp %" PRIu64 " claims %" PRIu64 " ops in %" PRIu64
                   " bytes; %zu are there",
                   ts, op_count, op_bytes, rest.size - KL_COMMIT_HEADER_SIZE);
  }
  rest = commit_record_skip(rest, KL_COMMIT_HEADER_SIZE);
  reader->ops = kl_slice_make(rest.data, (size_t)op_bytes);
  reader->rest = commit_record_skip(rest, (size_t)op_bytes);
  reader->ts = *out_ts = ts;
  reader->ops_left = *out_ops = op_count;
  return KL_OK;
}

kl_status kl_commit_reader_next_op(kl_commit_reader *reader, kl_op *out_op, kl_error *err) {
  kl_slice ops = reader->ops;
  if (reader->ops_left == 0) {
    if (ops.size == 0) return KL_E_NOT_FOUND;
    return kl_fail(err, KL_E_CORRUPT, "commit record with timestamp %" PRIu64 " has %zu bytes after its last op",
                   reader->ts, ops.size);
  }
  if (ops.size < KL_OP_HEADER_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "commit record with timestamp %" PRIu64 ": %zu bytes left where an op takes %d",
                   reader->ts, ops.size, KL_OP_HEADER_SIZE);
  }
  const uint8_t *p = ops.data;
  unsigned kind = p[COMMIT_RECORD_OP_KIND], flags = p[COMMIT_RECORD_OP_FLAGS];
  size_t key_size = kl_load_u16_le(p + COMMIT_RECORD_OP_KEY_SIZE),
         value_size = kl_load_u32_le(p + COMMIT_RECORD_OP_VALUE_SIZE);
  if ((kind != KL_OP_PUT && kind != KL_OP_DELETE) || flags != 0) {
    return kl_fail(err, KL_E_VERSION,
                   "commit record with timestamp %" PRIu64
                   " holds an op of kind %u, flags %u, which this version does"
                   " not know; open the database with a newer Keel",
                   reader->ts, kind, flags);
  }
  if (value_size > ops.size - KL_OP_HEADER_SIZE || key_size > ops.size - KL_OP_HEADER_SIZE - value_size) {
    return kl_fail(err, KL_E_CORRUPT,
                   "commit record with timestamp %" PRIu64 ": an op claims %zu + %zu bytes; %zu are there", reader->ts,
                   key_size, value_size, ops.size - KL_OP_HEADER_SIZE);
  }
  if (kind == KL_OP_DELETE && value_size != 0) {
    return kl_fail(err, KL_E_CORRUPT, "commit record with timestamp %" PRIu64 ": a delete with a value of %zu bytes",
                   reader->ts, value_size);
  }
  out_op->keyspace = kl_load_u32_le(p + COMMIT_RECORD_OP_KEYSPACE);
  out_op->kind = (kl_op_kind)kind;
  p += KL_OP_HEADER_SIZE;
  out_op->key = kl_slice_make(p, key_size);
  out_op->value = kl_slice_make(p + key_size, value_size);
  reader->ops = commit_record_skip(ops, KL_OP_HEADER_SIZE + key_size + value_size);
  reader->ops_left--;
  return KL_OK;
}

/* ---- core/wal/format.c ---- */
/* core/wal/format.c: see format.h. Every multi-byte integer is little-endian. */

static const char wal_header_magic[9] = "KEEL-WAL";
static const char wal_segment_magic[9] = "KEEL-SEG";
static const char wal_owner_magic[9] = "KEEL-OWN";
static const uint8_t wal_batch_magic[4] = {'K', 'b', 0xa7, 0x01};

enum {
  WAL_HEADER_VERSION = 8,
  WAL_HEADER_COMPATIBLE = 12,
  WAL_HEADER_READ_ONLY = 16,
  WAL_HEADER_INCOMPATIBLE = 20,
  WAL_HEADER_ID = 24,
  WAL_HEADER_SEGMENT_SIZE = 40,
  WAL_HEADER_INCARNATION = 48,
  WAL_HEADER_INCARNATION_START = 56,
  WAL_HEADER_FIRST_LSN = 64,
  WAL_HEADER_CREATED = 72
};
enum { WAL_SEGMENT_SEQUENCE = 8, WAL_SEGMENT_ASSIGNMENT = 16, WAL_SEGMENT_ID = 24 };
enum {
  WAL_BATCH_CRC = 4,
  WAL_BATCH_LSN = 8,
  WAL_BATCH_PAYLOAD_SIZE = 16,
  WAL_BATCH_TS = 24,
  WAL_BATCH_DURABLE = 32,
  WAL_BATCH_INCARNATION = 40,
  WAL_BATCH_PAYLOAD_CRC = 48,
  WAL_BATCH_GAP = 52,
  WAL_BATCH_FLAGS = 54
};
enum { WAL_OWNER_SIZE_FIELD = 8, WAL_OWNER_CRC = 12, WAL_OWNER_BYTES = 16 };

static void wal_block_seal(uint8_t block[WAL_PAGE]) {
  kl_store_u32_le(block + WAL_CHECKSUM_OFFSET, kl_crc32c(0, block, WAL_CHECKSUM_OFFSET));
}

static bool wal_block_intact(const uint8_t block[WAL_PAGE]) {
  return kl_load_u32_le(block + WAL_CHECKSUM_OFFSET) == kl_crc32c(0, block, WAL_CHECKSUM_OFFSET);
}

void wal_header_encode(const wal_header *header, uint8_t out[WAL_PAGE]) {
  memset(out, 0, WAL_PAGE);
  memcpy(out, wal_header_magic, 8);
  kl_store_u32_le(out + WAL_HEADER_VERSION, header->version);
  kl_store_u32_le(out + WAL_HEADER_COMPATIBLE, header->features_compatible);
  kl_store_u32_le(out + WAL_HEADER_READ_ONLY, header->features_read_only);
  kl_store_u32_le(out + WAL_HEADER_INCOMPATIBLE, header->features_incompatible);
  memcpy(out + WAL_HEADER_ID, header->database_id, WAL_ID_SIZE);
  kl_store_u64_le(out + WAL_HEADER_SEGMENT_SIZE, header->segment_size);
  kl_store_u64_le(out + WAL_HEADER_INCARNATION, header->incarnation);
  kl_store_u64_le(out + WAL_HEADER_INCARNATION_START, header->incarnation_start);
  kl_store_u64_le(out + WAL_HEADER_FIRST_LSN, header->first_lsn);
  kl_store_u64_le(out + WAL_HEADER_CREATED, header->created_ns);
  wal_block_seal(out);
}

kl_status wal_header_decode(const uint8_t bytes[WAL_PAGE], wal_header *out) {
  if (memcmp(bytes, wal_header_magic, 8) != 0) return KL_E_FORMAT;
  /* Magic, version and checksum keep their places in every version, so damage and novelty can be told apart. */
  if (!wal_block_intact(bytes)) return KL_E_CORRUPT;
  out->version = kl_load_u32_le(bytes + WAL_HEADER_VERSION);
  if (out->version != WAL_VERSION) return KL_E_VERSION;
  out->features_compatible = kl_load_u32_le(bytes + WAL_HEADER_COMPATIBLE);
  out->features_read_only = kl_load_u32_le(bytes + WAL_HEADER_READ_ONLY);
  out->features_incompatible = kl_load_u32_le(bytes + WAL_HEADER_INCOMPATIBLE);
  memcpy(out->database_id, bytes + WAL_HEADER_ID, WAL_ID_SIZE);
  out->segment_size = kl_load_u64_le(bytes + WAL_HEADER_SEGMENT_SIZE);
  out->incarnation = kl_load_u64_le(bytes + WAL_HEADER_INCARNATION);
  out->incarnation_start = kl_load_u64_le(bytes + WAL_HEADER_INCARNATION_START);
  out->first_lsn = kl_load_u64_le(bytes + WAL_HEADER_FIRST_LSN);
  out->created_ns = kl_load_u64_le(bytes + WAL_HEADER_CREATED);
  bool sane = out->segment_size >= WAL_SEGMENT_SIZE_MIN && out->segment_size <= WAL_SEGMENT_SIZE_MAX &&
              (out->segment_size & (out->segment_size - 1)) == 0 && out->incarnation != 0 &&
              out->incarnation_start % WAL_ALIGN == 0 && out->first_lsn <= out->incarnation_start;
  return sane ? KL_OK : KL_E_CORRUPT;
}

void wal_segment_header_encode(const wal_segment_header *header, uint8_t out[WAL_PAGE]) {
  memset(out, 0, WAL_PAGE);
  memcpy(out, wal_segment_magic, 8);
  kl_store_u64_le(out + WAL_SEGMENT_SEQUENCE, header->sequence);
  kl_store_u64_le(out + WAL_SEGMENT_ASSIGNMENT, header->assignment);
  memcpy(out + WAL_SEGMENT_ID, header->database_id, WAL_ID_SIZE);
  wal_block_seal(out);
}

bool wal_segment_header_decode(const uint8_t bytes[WAL_PAGE], const uint8_t id[WAL_ID_SIZE], wal_segment_header *out) {
  if (memcmp(bytes, wal_segment_magic, 8) != 0 || !wal_block_intact(bytes)) return false;
  if (memcmp(bytes + WAL_SEGMENT_ID, id, WAL_ID_SIZE) != 0) return false;
  out->sequence = kl_load_u64_le(bytes + WAL_SEGMENT_SEQUENCE);
  out->assignment = kl_load_u64_le(bytes + WAL_SEGMENT_ASSIGNMENT);
  memcpy(out->database_id, id, WAL_ID_SIZE);
  return true;
}

uint32_t wal_batch_seed(const uint8_t id[WAL_ID_SIZE]) {
  return kl_crc32c(0, id, WAL_ID_SIZE);
}

void wal_batch_header_encode(const wal_batch_header *header, uint32_t seed, uint8_t out[WAL_BATCH_HEADER]) {
  memcpy(out, wal_batch_magic, sizeof wal_batch_magic);
  kl_store_u64_le(out + WAL_BATCH_LSN, header->lsn);
  kl_store_u64_le(out + WAL_BATCH_PAYLOAD_SIZE, header->payload_size);
  kl_store_u64_le(out + WAL_BATCH_TS, header->ts);
  kl_store_u64_le(out + WAL_BATCH_DURABLE, header->durable_lsn);
  kl_store_u64_le(out + WAL_BATCH_INCARNATION, header->incarnation);
  kl_store_u32_le(out + WAL_BATCH_PAYLOAD_CRC, header->payload_crc);
  kl_store_u16_le(out + WAL_BATCH_GAP, header->gap);
  kl_store_u16_le(out + WAL_BATCH_FLAGS, header->flags);
  kl_store_u32_le(out + WAL_BATCH_CRC, kl_crc32c(seed, out + WAL_BATCH_LSN, WAL_BATCH_HEADER - WAL_BATCH_LSN));
}

bool wal_batch_header_has_magic(const uint8_t *bytes) {
  return memcmp(bytes, wal_batch_magic, sizeof wal_batch_magic) == 0;
}

bool wal_batch_header_decode(const uint8_t bytes[WAL_BATCH_HEADER], uint32_t seed, wal_batch_header *out) {
  if (!wal_batch_header_has_magic(bytes)) return false;
  uint32_t crc = kl_crc32c(seed, bytes + WAL_BATCH_LSN, WAL_BATCH_HEADER - WAL_BATCH_LSN);
  if (kl_load_u32_le(bytes + WAL_BATCH_CRC) != crc) return false;
  out->lsn = kl_load_u64_le(bytes + WAL_BATCH_LSN);
  out->payload_size = kl_load_u64_le(bytes + WAL_BATCH_PAYLOAD_SIZE);
  out->ts = kl_load_u64_le(bytes + WAL_BATCH_TS);
  out->durable_lsn = kl_load_u64_le(bytes + WAL_BATCH_DURABLE);
  out->incarnation = kl_load_u64_le(bytes + WAL_BATCH_INCARNATION);
  out->payload_crc = kl_load_u32_le(bytes + WAL_BATCH_PAYLOAD_CRC);
  out->gap = kl_load_u16_le(bytes + WAL_BATCH_GAP);
  out->flags = kl_load_u16_le(bytes + WAL_BATCH_FLAGS);
  return true;
}

bool wal_batch_end(uint64_t lsn, uint64_t payload_size, uint64_t *out_end) {
  /* Positions stay below 2^62, so that aligning up and adding a step never wraps. */
  const uint64_t limit = (uint64_t)1 << 62;
  if (lsn >= limit || payload_size >= limit - lsn - WAL_BATCH_HEADER - WAL_ALIGN) return false;
  *out_end = wal_align_up(lsn + WAL_BATCH_HEADER + payload_size, WAL_ALIGN);
  return true;
}

void wal_owner_encode(const char *text, uint8_t out[WAL_PAGE]) {
  size_t size = strlen(text);
  if (size >= WAL_OWNER_TEXT) size = WAL_OWNER_TEXT - 1;
  memset(out, 0, WAL_PAGE);
  memcpy(out, wal_owner_magic, 8);
  kl_store_u32_le(out + WAL_OWNER_SIZE_FIELD, (uint32_t)size);
  kl_store_u32_le(out + WAL_OWNER_CRC, kl_crc32c(0, text, size));
  memcpy(out + WAL_OWNER_BYTES, text, size);
}

bool wal_owner_decode(const uint8_t bytes[WAL_PAGE], char out_text[WAL_OWNER_TEXT]) {
  if (memcmp(bytes, wal_owner_magic, 8) != 0) return false;
  size_t size = kl_load_u32_le(bytes + WAL_OWNER_SIZE_FIELD);
  if (size >= WAL_OWNER_TEXT) return false;
  if (kl_load_u32_le(bytes + WAL_OWNER_CRC) != kl_crc32c(0, bytes + WAL_OWNER_BYTES, size)) return false;
  for (size_t i = 0; i < size; i++) {
    uint8_t c = bytes[WAL_OWNER_BYTES + i];
    if (c < 0x20 || c == 0x7f) return false; /* it ends in a message: no control characters */
  }
  memcpy(out_text, bytes + WAL_OWNER_BYTES, size);
  out_text[size] = 0;
  return true;
}

/* ---- core/wal/reader.c ---- */
/* core/wal/reader.c: the one reader of batches.
 *
 * It stands at the end of a batch and looks for the next one in two places: right there, and at the next sync block. A
 * batch counts only if its header says the same about where it lies and what gap lies before it, so padding needs no
 * mark and a damaged batch cannot be stepped over (WAL-2). */

struct kl_wal_reader {
  kl_wal *wal;
  kl_lsn position;      /* end of the last batch */
  kl_lsn known_durable; /* what kl_wal_reader_expect said */
  kl_lsn claimed;       /* the highest that the batches read claim to be durable; never below where reading began */
  uint64_t incarnation; /* of the last batch */
  bool begun;           /* a batch was read */
  uint8_t *window;      /* bytes [window_start, window_start + window_size) of the log */
  kl_lsn window_start;
  size_t window_size;
  bool window_of_recovery; /* it may reach behind the end of the log: of no use once appends have begun */
  uint8_t *big;            /* the payload of a batch that the window cannot hold */
  size_t big_capacity;
};

/* What a place in the log turned out to hold. */
typedef enum wal_reader_finding { WAL_FOUND, WAL_FOUND_NONE, WAL_FOUND_FAILURE } wal_reader_finding;

kl_status kl_wal_reader_new(kl_wal *wal, kl_lsn from, kl_wal_reader **out_reader, kl_error *err) {
  uint64_t offset, run;
  *out_reader = NULL;
  kl_mutex_lock(&wal->lock);
  kl_lsn first = wal->running ? wal->start : wal->header.first_lsn;
  bool beyond = wal->running && from > wal->tail;
  bool inside = from % wal->data_size == 0 || wal_space_locate(wal, from, &offset, &run);
  kl_mutex_unlock(&wal->lock);
  if (from % WAL_ALIGN != 0 || beyond) {
    return kl_fail(err, KL_E_INVALID, "LSN %" PRIu64 " is no place in log '%s' where a batch could begin", from,
                   wal->path);
  }
  if (from < first || !inside) {
    return kl_fail(err, wal->running ? KL_E_INVALID : KL_E_CORRUPT,
                   "log '%s' does not hold LSN %" PRIu64 " (it was cut, or is older or newer than the database file)",
                   wal->path, from);
  }
  kl_allocator *allocator = wal->os->allocator;
  kl_wal_reader *reader = kl_alloc(allocator, sizeof *reader);
  uint8_t *window = kl_alloc(allocator, WAL_WINDOW_SIZE);
  if (reader == NULL || window == NULL) {
    kl_free(allocator, window, WAL_WINDOW_SIZE);
    kl_free(allocator, reader, sizeof *reader);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to read log '%s'", wal->path);
  }
  reader->wal = wal;
  reader->position = reader->claimed = from;
  reader->window = window;
  *out_reader = reader;
  return KL_OK;
}

void kl_wal_reader_expect(kl_wal_reader *reader, kl_lsn known_durable) {
  reader->known_durable = known_durable;
}

kl_lsn kl_wal_reader_position(const kl_wal_reader *reader) {
  return reader->position;
}

void kl_wal_reader_free(kl_wal_reader *reader) {
  if (reader == NULL) return;
  kl_allocator *allocator = reader->wal->os->allocator;
  kl_free(allocator, reader->big, reader->big_capacity);
  kl_free(allocator, reader->window, WAL_WINDOW_SIZE);
  kl_free(allocator, reader, sizeof *reader);
}

/* Bytes below this may be read: everything, in recovery; what has been handed to the os, in a running log. */
static kl_lsn wal_reader_limit(kl_wal *wal) {
  kl_mutex_lock(&wal->lock);
  kl_lsn limit = wal->running ? wal->tail : UINT64_MAX;
  if (wal->active.size != 0 && wal->active.follows < limit) limit = wal->active.follows;
  if (wal->busy.size != 0 && wal->busy.follows < limit) limit = wal->busy.follows;
  kl_mutex_unlock(&wal->lock);
  return limit;
}

/* *out_bytes: the `size` bytes at lsn, borrowed from the window; NULL when the log does not have them. */
static kl_status wal_reader_bytes(kl_wal_reader *reader, kl_lsn lsn, size_t size, kl_lsn limit,
                                  const uint8_t **out_bytes, kl_error *err) {
  bool recovery = limit == UINT64_MAX;
  *out_bytes = NULL;
  if (limit < lsn || limit - lsn < size) return KL_OK;
  if (recovery != reader->window_of_recovery) reader->window_size = 0;
  reader->window_of_recovery = recovery;
  if (lsn < reader->window_start || lsn + size > reader->window_start + reader->window_size) {
    size_t want = limit - lsn < WAL_WINDOW_SIZE ? (size_t)(limit - lsn) : WAL_WINDOW_SIZE;
    reader->window_size = 0;
    kl_status status = wal_space_read(reader->wal, lsn, reader->window, want, &reader->window_size, err);
    if (status != KL_OK) {
      reader->window_size = 0;
      return status;
    }
    reader->window_start = lsn;
    if (reader->window_size < size) return KL_OK;
  }
  *out_bytes = reader->window + (lsn - reader->window_start);
  return KL_OK;
}

/* Reads a payload that is larger than the window into memory of its own. The header's checksum held, so the size is
 * what was written; it is compared with the file before memory is taken all the same. */
static kl_status wal_reader_big(kl_wal_reader *reader, kl_lsn lsn, uint64_t size, const uint8_t **out_bytes,
                                kl_error *err) {
  kl_wal *wal = reader->wal;
  *out_bytes = NULL;
  kl_mutex_lock(&wal->lock);
  uint64_t held = wal->file_bytes;
  kl_mutex_unlock(&wal->lock);
  if (size > held || size > SIZE_MAX) return KL_OK;
  if (size > reader->big_capacity) {
    kl_free(wal->os->allocator, reader->big, reader->big_capacity);
    reader->big_capacity = 0;
    reader->big = kl_alloc(wal->os->allocator, (size_t)size);
    if (reader->big == NULL) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for a batch of %" PRIu64 " bytes of log '%s'", size, wal->path);
    }
    reader->big_capacity = (size_t)size;
  }
  size_t got = 0;
  kl_status status = wal_space_read(wal, lsn, reader->big, (size_t)size, &got, err);
  if (status == KL_OK && got == size) *out_bytes = reader->big;
  return status;
}

/* WAL-5: which writer's life a batch must come from, by where it lies. */
static bool wal_reader_incarnation_fits(const kl_wal_reader *reader, const wal_batch_header *header) {
  const wal_header *log = &reader->wal->header;
  if (header->lsn >= log->incarnation_start) return header->incarnation == log->incarnation;
  return header->incarnation < log->incarnation && header->incarnation >= reader->incarnation;
}

/* Looks for a batch at lsn that follows `gap` bytes after the reader's position. */
static wal_reader_finding wal_reader_try(kl_wal_reader *reader, kl_lsn lsn, kl_lsn limit, kl_wal_batch *out,
                                         kl_status *out_status, kl_error *err) {
  kl_wal *wal = reader->wal;
  const uint8_t *bytes;
  wal_batch_header header;
  kl_lsn end;
  *out_status = wal_reader_bytes(reader, lsn, WAL_BATCH_HEADER, limit, &bytes, err);
  if (*out_status != KL_OK) return WAL_FOUND_FAILURE;
  if (bytes == NULL || !wal_batch_header_decode(bytes, wal->seed, &header)) return WAL_FOUND_NONE;
  /* Who begins at a batch, and not at the end of one, does not know what gap lies before it. */
  bool follows = header.gap == lsn - reader->position || (!reader->begun && lsn == reader->position);
  if (header.lsn != lsn || !follows) return WAL_FOUND_NONE;
  if (!wal_reader_incarnation_fits(reader, &header)) return WAL_FOUND_NONE;
  if (header.flags != 0) {
    *out_status =
        kl_fail(err, KL_E_VERSION, "log '%s' holds a batch with flags %u at LSN %" PRIu64 "; use a newer Keel",
                wal->path, (unsigned)header.flags, lsn);
    return WAL_FOUND_FAILURE;
  }
  if (!wal_batch_end(lsn, header.payload_size, &end) || end > limit) return WAL_FOUND_NONE;
  if (header.payload_size <= WAL_WINDOW_SIZE - WAL_BATCH_HEADER) {
    size_t size = WAL_BATCH_HEADER + (size_t)header.payload_size;
    *out_status = wal_reader_bytes(reader, lsn, size, limit, &bytes, err);
    if (bytes != NULL) bytes += WAL_BATCH_HEADER;
  } else {
    *out_status = wal_reader_big(reader, lsn + WAL_BATCH_HEADER, header.payload_size, &bytes, err);
  }
  if (*out_status != KL_OK) return WAL_FOUND_FAILURE;
  if (bytes == NULL || kl_crc32c(0, bytes, (size_t)header.payload_size) != header.payload_crc) return WAL_FOUND_NONE;
  *out = (kl_wal_batch){lsn, end, header.ts, kl_slice_make(bytes, (size_t)header.payload_size)};
  reader->incarnation = header.incarnation;
  if (header.durable_lsn > reader->claimed) reader->claimed = header.durable_lsn;
  return WAL_FOUND;
}

/* Nothing more can be read at the reader's position: is that the end? */
static kl_status wal_reader_end(kl_wal_reader *reader, kl_error *err) {
  kl_wal *wal = reader->wal;
  kl_lsn position = reader->position;
  kl_mutex_lock(&wal->lock);
  bool running = wal->running, released = running && position < wal->start;
  kl_lsn start = wal->start;
  kl_mutex_unlock(&wal->lock);
  if (released) {
    return kl_fail(err, KL_E_INVALID, "LSN %" PRIu64 " of log '%s' was released; the log begins at %" PRIu64, position,
                   wal->path, start);
  }
  if (running) {
    return kl_fail(err, KL_E_CORRUPT, "log '%s' is damaged at LSN %" PRIu64 ", which this process wrote or recovered",
                   wal->path, position);
  }
  kl_status status = wal_recover_judge(wal, position, reader->known_durable, err);
  if (status == KL_E_NOT_FOUND) {
    kl_mutex_lock(&wal->lock);
    wal->scanned = true;
    wal->scanned_end = position;
    wal->scanned_durable = reader->claimed;
    if (wal->scanned_durable < reader->known_durable) wal->scanned_durable = reader->known_durable;
    kl_mutex_unlock(&wal->lock);
  }
  return status;
}

kl_status kl_wal_reader_next(kl_wal_reader *reader, kl_wal_batch *out_batch, kl_error *err) {
  kl_status status = KL_OK;
  kl_lsn limit = wal_reader_limit(reader->wal), position = reader->position;
  if (position >= limit) return KL_E_NOT_FOUND; /* the end of a running log */
  wal_reader_finding found = wal_reader_try(reader, position, limit, out_batch, &status, err);
  kl_lsn aligned = wal_align_up(position, WAL_SYNC_BLOCK);
  if (found == WAL_FOUND_NONE && aligned != position) {
    found = wal_reader_try(reader, aligned, limit, out_batch, &status, err);
  }
  if (found == WAL_FOUND_FAILURE) return status;
  if (found == WAL_FOUND_NONE) return wal_reader_end(reader, err);
  reader->position = out_batch->end_lsn;
  reader->begun = true;
  return KL_OK;
}

/* ---- core/wal/recover.c ---- */
/* core/wal/recover.c: is a place that cannot be read the end of the log, or damage; and how the end is made final. */

enum { WAL_RECOVER_CHUNK = 64 << 10 };

/* What a search looks for: batches behind `end` that prove that bytes at or behind it were durable. */
typedef struct wal_evidence {
  kl_wal *wal;
  kl_lsn end;
  uint8_t *chunk;
  bool found;
  kl_lsn at, claims; /* the batch that proves it, and what it knew durable */
} wal_evidence;

/* `inside`: where in a segment's data the header was found. */
static void wal_recover_weigh(wal_evidence *evidence, const uint8_t *bytes, uint64_t inside) {
  const kl_wal *wal = evidence->wal;
  wal_batch_header header;
  if (!wal_batch_header_decode(bytes, wal->seed, &header)) return;
  if (header.lsn % wal->data_size != inside || header.lsn < evidence->end) return;
  /* What earlier lives left behind their end is no evidence (WAL-5); a life that the header does not know of is. */
  if (header.incarnation < wal->header.incarnation) return;
  bool unknown_life = header.incarnation > wal->header.incarnation;
  if (!unknown_life && header.durable_lsn <= evidence->end) return;
  evidence->found = true;
  evidence->at = header.lsn;
  evidence->claims = unknown_life ? header.lsn : header.durable_lsn;
}

/* Looks at every aligned place of a slot's data from `inside` on. Headers never lie across segments. */
static kl_status wal_recover_search_slot(wal_evidence *evidence, uint32_t slot, uint64_t inside, kl_error *err) {
  kl_wal *wal = evidence->wal;
  uint64_t data = wal_space_slot_offset(wal, slot) + WAL_SEGMENT_HEADER;
  while (!evidence->found && inside + WAL_BATCH_HEADER <= wal->data_size) {
    size_t want = WAL_RECOVER_CHUNK, got = 0;
    if (want > wal->data_size - inside) want = (size_t)(wal->data_size - inside);
    kl_status status = kl_os_read(wal->os, wal->file, evidence->chunk, want, data + inside, &got, err);
    if (status != KL_OK) return status;
    size_t at = 0;
    for (; !evidence->found && at + WAL_BATCH_HEADER <= got; at += WAL_ALIGN) {
      if (wal_batch_header_has_magic(evidence->chunk + at)) {
        wal_recover_weigh(evidence, evidence->chunk + at, inside + at);
      }
    }
    if (got < want || at == 0) break;
    inside += at; /* a header that the chunk cuts is looked at again */
  }
  return KL_OK;
}

/* Searches the segment where the log stopped from there on, all that follow, and slots whose headers say nothing: with
 * a segment's header damaged, its batches still know where they belong. */
static kl_status wal_recover_search(wal_evidence *evidence, kl_error *err) {
  kl_wal *wal = evidence->wal;
  uint64_t sequence = evidence->end / wal->data_size;
  kl_status status = KL_OK;
  for (uint32_t i = 0; i < wal->segment_count && status == KL_OK && !evidence->found; i++) {
    const wal_segment *segment = &wal->segments[i];
    if (segment->sequence < sequence) continue;
    uint64_t inside = segment->sequence == sequence ? evidence->end % wal->data_size : 0;
    status = wal_recover_search_slot(evidence, segment->slot, inside, err);
  }
  for (uint32_t i = 0; i < wal->free_count && status == KL_OK && !evidence->found; i++) {
    status = wal_recover_search_slot(evidence, wal->free_slots[i], 0, err);
  }
  return status;
}

static kl_status wal_recover_damaged(kl_wal *wal, kl_lsn end, kl_lsn durable, const char *who, kl_error *err) {
  uint64_t offset = 0, run;
  kl_mutex_lock(&wal->lock);
  bool located = wal_space_locate(wal, end, &offset, &run);
  kl_mutex_unlock(&wal->lock);
  return kl_fail(err, KL_E_CORRUPT,
                 "log '%s' is damaged at offset %" PRIu64 " (LSN %" PRIu64 ")%s: %s shows that bytes up to LSN %" PRIu64
                 " were durable; restore from a backup",
                 wal->path, offset, end, located ? "" : ", where a segment is missing", who, durable);
}

kl_status wal_recover_judge(kl_wal *wal, kl_lsn end, kl_lsn known_durable, kl_error *err) {
  if (end < wal->header.incarnation_start) {
    return wal_recover_damaged(wal, end, wal->header.incarnation_start, "its header", err);
  }
  if (end < known_durable) return wal_recover_damaged(wal, end, known_durable, "the checkpoint", err);
  wal_evidence evidence = {.wal = wal, .end = end};
  evidence.chunk = kl_alloc(wal->os->allocator, WAL_RECOVER_CHUNK);
  if (evidence.chunk == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to recover log '%s'", wal->path);
  kl_status status = wal_recover_search(&evidence, err);
  kl_free(wal->os->allocator, evidence.chunk, WAL_RECOVER_CHUNK);
  if (status != KL_OK) return status;
  return evidence.found ? wal_recover_damaged(wal, end, evidence.claims, "a later batch", err) : KL_E_NOT_FOUND;
}

/* WAL-10: that bytes can be read does not say that they are on stable storage, nor that a sync would put them there:
 * after a failed sync the kernel shows pages that it will not write again. So what is not known to be durable is
 * written once more, byte for byte, before the next sync vouches for it. */
static kl_status wal_recover_rewrite(kl_wal *wal, kl_lsn from, kl_lsn end, kl_error *err) {
  uint8_t *chunk = kl_alloc(wal->os->allocator, WAL_RECOVER_CHUNK);
  if (chunk == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to recover log '%s'", wal->path);
  uint64_t first = (from + wal->data_size - 1) / wal->data_size;
  kl_status status = wal_space_rewrite_headers(wal, first, end / wal->data_size, err);
  while (status == KL_OK && from < end) {
    size_t want = end - from < WAL_RECOVER_CHUNK ? (size_t)(end - from) : WAL_RECOVER_CHUNK, got = 0;
    status = wal_space_read(wal, from, chunk, want, &got, err);
    kl_slice part = kl_slice_make(chunk, got);
    if (status == KL_OK) status = wal_space_write(wal, wal->file, from, &part, 1, err);
    /* All batches were read, so what is missing is the gap between the last one of a segment and the first of the next,
     * when the segment's slot is the last of a file that was not prewritten. */
    from = got != 0 ? from + got : (from / wal->data_size + 1) * wal->data_size;
  }
  kl_free(wal->os->allocator, chunk, WAL_RECOVER_CHUNK);
  return status;
}

/* WAL-5. The order matters: first all that was read becomes durable, because the header, once it names `end` as the
 * start of a new life, vouches for it. Then the copies of the header one after the other, so that one is durable at any
 * time; which one first, and why its number has the parity of the incarnation, is WAL-11. */
static kl_status wal_recover_begin_life(kl_wal *wal, kl_lsn end, kl_error *err) {
  wal_header header = wal->header;
  kl_lsn durable = wal->scanned_durable;
  if (header.incarnation >= UINT64_MAX - 1) { /* forged: nothing was recovered that often */
    return kl_fail(err, KL_E_CORRUPT, "log '%s' claims more lives than there are numbers; restore from a backup",
                   wal->path);
  }
  if (durable < header.incarnation_start) durable = header.incarnation_start;
  durable = wal_align_up(durable, WAL_SYNC_BLOCK); /* what follows it begins there (WAL-3) */
  header.incarnation++;
  if (header.incarnation % 2 != wal->header_first) header.incarnation++;
  header.incarnation_start = end;
  kl_status status = wal_recover_rewrite(wal, durable, end, err);
  if (status == KL_OK) status = kl_os_sync(wal->os, wal->file, false, err);
  for (unsigned i = 0; i < 2 && status == KL_OK; i++) {
    status = wal_store_header(wal, &header, (wal->header_first + i) % 2, err);
    if (status == KL_OK) status = kl_os_sync(wal->os, wal->file, true, err);
  }
  if (status == KL_OK) wal->header = header;
  return status;
}

kl_status kl_wal_recover_end(kl_wal *wal, kl_lsn end, kl_error *err) {
  kl_error cause = {0};
  kl_mutex_lock(&wal->lock);
  bool running = wal->running, right = wal->scanned && wal->scanned_end == end, poisoned = wal->poisoned;
  kl_mutex_unlock(&wal->lock);
  if (running) return kl_fail(err, KL_E_INVALID, "log '%s' has been recovered already", wal->path);
  if (poisoned) return wal_refuse(wal, err);
  if (!right) {
    return kl_fail(err, KL_E_INVALID, "LSN %" PRIu64 " is not where a reader found the end of log '%s'", end,
                   wal->path);
  }
  kl_status status = wal->read_only ? KL_OK : wal_recover_begin_life(wal, end, &cause);
  kl_mutex_lock(&wal->lock);
  if (status == KL_OK) {
    wal->tail = wal->durable = wal->cut = end;
    wal_space_settle(wal);
    wal->running = true;
  } else {
    wal_poison(wal, &cause);
    if (err != NULL) *err = cause;
  }
  kl_mutex_unlock(&wal->lock);
  return status;
}

/* ---- core/wal/space.c ---- */
/* core/wal/space.c: segments and slots.
 *
 * A slot is a place in the file, a segment a range of LSNs; wal->segments says which segment lies in which slot, and
 * wal->free_slots holds the slots whose segment was released. Growth prepares space ahead of the tail: a segment's
 * header names its sequence number, bytes that the file does not have yet are allocated and written with zeros, then
 * one sync makes it all durable, and only then `ready` moves (WAL-6). */

/* Written ahead of the tail. */
static const uint8_t wal_space_zeros[64 << 10];

uint64_t wal_space_slot_offset(const kl_wal *wal, uint32_t slot) {
  return WAL_SEGMENTS_OFFSET + (uint64_t)slot * wal->segment_size;
}

/* Index of the first segment with a sequence at or above `sequence`. Most questions are about the last two. */
static uint32_t wal_space_find(const kl_wal *wal, uint64_t sequence) {
  uint32_t low = 0, high = wal->segment_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (wal->segments[middle].sequence < sequence) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static bool wal_space_has(const kl_wal *wal, uint64_t sequence, uint32_t *out_index) {
  uint32_t i = wal_space_find(wal, sequence);
  if (out_index != NULL) *out_index = i;
  return i < wal->segment_count && wal->segments[i].sequence == sequence;
}

bool wal_space_locate(const kl_wal *wal, kl_lsn lsn, uint64_t *out_offset, uint64_t *out_run) {
  uint32_t i;
  uint64_t inside = lsn % wal->data_size;
  if (!wal_space_has(wal, lsn / wal->data_size, &i)) return false;
  *out_offset = wal_space_slot_offset(wal, wal->segments[i].slot) + WAL_SEGMENT_HEADER + inside;
  *out_run = wal->data_size - inside;
  return true;
}

/* Room for one more segment and one more slot, so that what follows cannot fail. */
static kl_status wal_space_reserve(kl_wal *wal, kl_error *err) {
  if (wal->segment_count == wal->segment_capacity) {
    uint32_t capacity = wal->segment_capacity == 0 ? 8 : wal->segment_capacity * 2;
    wal_segment *grown =
        kl_realloc(wal->os->allocator, wal->segments, wal->segment_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the segment table of log '%s'", wal->path);
    wal->segments = grown;
    wal->segment_capacity = capacity;
  }
  if (wal->free_capacity <= wal->slot_count) {
    uint32_t capacity = wal->free_capacity == 0 ? 8 : wal->free_capacity * 2;
    uint32_t *grown =
        kl_realloc(wal->os->allocator, wal->free_slots, wal->free_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the slot table of log '%s'", wal->path);
    wal->free_slots = grown;
    wal->free_capacity = capacity;
  }
  return KL_OK;
}

static void wal_space_insert(kl_wal *wal, uint32_t index, wal_segment segment) {
  KL_ASSERT(wal->segment_count < wal->segment_capacity);
  memmove(wal->segments + index + 1, wal->segments + index, (wal->segment_count - index) * sizeof segment);
  wal->segments[index] = segment;
  wal->segment_count++;
}

static void wal_space_give_back(kl_wal *wal, uint32_t slot) {
  KL_ASSERT(wal->free_count < wal->free_capacity);
  wal->free_slots[wal->free_count++] = slot;
}

/* Removes segments [from, to) of the table; their slots become free. */
static void wal_space_drop(kl_wal *wal, uint32_t from, uint32_t to) {
  if (from == to) return; /* there may be no table yet */
  for (uint32_t i = from; i < to; i++) wal_space_give_back(wal, wal->segments[i].slot);
  memmove(wal->segments + from, wal->segments + to, (wal->segment_count - to) * sizeof *wal->segments);
  wal->segment_count -= to - from;
}

kl_status wal_space_load(kl_wal *wal, kl_error *err) {
  uint8_t block[WAL_PAGE];
  uint64_t bytes = wal->file_bytes > WAL_SEGMENTS_OFFSET ? wal->file_bytes - WAL_SEGMENTS_OFFSET : 0;
  uint64_t slots = (bytes + wal->segment_size - 1) / wal->segment_size;
  if (slots > UINT32_MAX / 2) {
    return kl_fail(err, KL_E_LIMIT, "log '%s' has %" PRIu64 " segments, more than fit", wal->path, slots);
  }
  for (uint32_t slot = 0; slot < slots; slot++) {
    size_t got = 0;
    wal_segment_header header;
    kl_status status = wal_space_reserve(wal, err);
    if (status == KL_OK) {
      status = kl_os_read(wal->os, wal->file, block, sizeof block, wal_space_slot_offset(wal, slot), &got, err);
    }
    if (status != KL_OK) return status;
    wal->slot_count = slot + 1;
    if (got != sizeof block || !wal_segment_header_decode(block, wal->header.database_id, &header)) {
      wal_space_give_back(wal, slot);
      continue;
    }
    if (header.assignment >= wal->next_assignment) wal->next_assignment = header.assignment + 1;
    uint32_t i;
    wal_segment segment = {header.sequence, header.assignment, slot};
    if (!wal_space_has(wal, header.sequence, &i)) {
      wal_space_insert(wal, i, segment);
    } else if (wal->segments[i].assignment < header.assignment) {
      wal_space_give_back(wal, wal->segments[i].slot);
      wal->segments[i] = segment;
    } else {
      wal_space_give_back(wal, slot);
    }
  }
  return KL_OK;
}

void wal_space_free(kl_wal *wal) {
  kl_free(wal->os->allocator, wal->segments, wal->segment_capacity * sizeof *wal->segments);
  kl_free(wal->os->allocator, wal->free_slots, wal->free_capacity * sizeof *wal->free_slots);
}

/* Something was written up to this place of the file. The lock is held. */
static void wal_space_note_written(kl_wal *wal, uint64_t end) {
  if (wal->prepared_bytes < end) wal->prepared_bytes = end;
  if (wal->file_bytes < end) wal->file_bytes = end;
}

/* The LSN up to which the segment at `index` is prepared. */
static kl_lsn wal_space_prepared(const kl_wal *wal, uint32_t index) {
  uint64_t data = wal_space_slot_offset(wal, wal->segments[index].slot) + WAL_SEGMENT_HEADER;
  kl_lsn first = wal->segments[index].sequence * wal->data_size;
  uint64_t there = wal->prepared_bytes > data ? wal->prepared_bytes - data : 0;
  return first + (there < wal->data_size ? there / WAL_PAGE * WAL_PAGE : wal->data_size);
}

void wal_space_settle(kl_wal *wal) {
  uint64_t sequence = wal->tail / wal->data_size, lowest = sequence;
  uint32_t i;
  while (lowest != 0 && wal_space_has(wal, lowest - 1, NULL)) lowest--;
  /* Segments that were prepared behind the tail are prepared again when they are needed: that their headers can be read
   * does not say that they are on stable storage (WAL-10). */
  wal_space_drop(wal, wal_space_find(wal, sequence + 1), wal->segment_count);
  wal_space_drop(wal, 0, wal_space_find(wal, lowest));
  wal->start = lowest * wal->data_size;
  if (wal->start < wal->header.first_lsn) wal->start = wal->header.first_lsn;
  wal->ready = wal->tail;
  if (!wal_space_has(wal, sequence, &i)) return;
  uint32_t slot = wal->segments[i].slot;
  if (slot != 0 && slot == wal->slot_count - 1) {
    /* How much of its reserved space was written is not known any more. */
    uint64_t inside = wal_space_slot_offset(wal, slot) + WAL_SEGMENT_HEADER + wal->tail % wal->data_size;
    wal->prepared_bytes = wal_align_up(inside, WAL_PAGE);
  }
  kl_lsn prepared = wal->prewrite ? wal_space_prepared(wal, i) : (sequence + 1) * wal->data_size;
  if (prepared > wal->ready) wal->ready = prepared;
}

static kl_status wal_space_write_header(kl_wal *wal, const wal_segment *segment, kl_error *err) {
  uint8_t block[WAL_PAGE];
  wal_segment_header header = {.sequence = segment->sequence, .assignment = segment->assignment};
  memcpy(header.database_id, wal->header.database_id, WAL_ID_SIZE);
  wal_segment_header_encode(&header, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  return kl_os_write(wal->os, wal->file, &part, 1, wal_space_slot_offset(wal, segment->slot), err);
}

kl_status wal_space_rewrite_headers(kl_wal *wal, uint64_t first, uint64_t last, kl_error *err) {
  kl_status status = KL_OK;
  for (uint32_t i = wal_space_find(wal, first); i < wal->segment_count && status == KL_OK; i++) {
    if (wal->segments[i].sequence > last) break;
    status = wal_space_write_header(wal, &wal->segments[i], err);
  }
  return status;
}

/* Finds the slot of a segment, or gives it one and writes its header: a free slot, or a new one at the end of the file.
 * Called with the role `extending`; the lock is not held. */
static kl_status wal_space_open_segment(kl_wal *wal, uint64_t sequence, kl_error *err) {
  uint32_t from_free = UINT32_MAX;
  kl_mutex_lock(&wal->lock);
  if (wal_space_has(wal, sequence, NULL)) {
    kl_mutex_unlock(&wal->lock);
    return KL_OK;
  }
  kl_status status = wal_space_reserve(wal, err);
  if (status != KL_OK) {
    kl_mutex_unlock(&wal->lock);
    return status;
  }
  wal_segment segment = {.sequence = sequence, .slot = wal->slot_count};
  for (uint32_t i = 0; i < wal->free_count; i++) { /* the lowest, so that the end of the file tends to be free */
    if (wal->free_slots[i] < segment.slot) {
      segment.slot = wal->free_slots[i];
      from_free = i;
    }
  }
  /* The slot leaves the free list now, so that nobody shrinks the file under it; a failure puts it back. */
  if (from_free != UINT32_MAX) {
    wal->free_slots[from_free] = wal->free_slots[--wal->free_count];
  } else {
    wal->slot_count++;
  }
  segment.assignment = wal->next_assignment++; /* never used twice, also when the write below fails half-way (WAL-7) */
  kl_mutex_unlock(&wal->lock);

  status = wal_space_write_header(wal, &segment, err);

  kl_mutex_lock(&wal->lock);
  wal->dirty = true;
  if (status == KL_OK) {
    uint64_t end = wal_space_slot_offset(wal, segment.slot) + WAL_SEGMENT_HEADER;
    wal_space_insert(wal, wal_space_find(wal, sequence), segment);
    wal_space_note_written(wal, end);
    if (from_free != UINT32_MAX) wal->recycled++;
  } else {
    wal_space_give_back(wal, segment.slot);
  }
  kl_mutex_unlock(&wal->lock);
  return status;
}

static kl_status wal_space_write_zeros(kl_wal *wal, uint64_t from, uint64_t to, kl_error *err) {
  kl_slice parts[8];
  while (from < to) {
    size_t count = 0;
    uint64_t at = from;
    for (; count < sizeof parts / sizeof parts[0] && at < to; count++) {
      uint64_t size = to - at < sizeof wal_space_zeros ? to - at : sizeof wal_space_zeros;
      parts[count] = kl_slice_make(wal_space_zeros, (size_t)size);
      at += size;
    }
    kl_status status = kl_os_write(wal->os, wal->file, parts, count, from, err);
    if (status != KL_OK) return status;
    from = at;
  }
  return KL_OK;
}

/* Reserves the space of [from, to). Where a slot comes into use its whole space is reserved, so that a log with
 * released segments never waits for room in the middle of one; but the first slot, all that a small database has, and
 * any slot on a disk that is nearly full, get just what is needed. *out_end: up to where it was reserved. */
static kl_status wal_space_reserve_file(kl_wal *wal, uint64_t from, uint64_t to, uint64_t slot_end, uint64_t *out_end,
                                        kl_error *err) {
  bool first_slot = slot_end == wal_space_slot_offset(wal, 1);
  *out_end = first_slot ? to : slot_end;
  kl_status status = kl_os_allocate(wal->os, wal->file, from, *out_end - from, err);
  if (status == KL_E_DISK_FULL && *out_end != to) {
    *out_end = to;
    status = kl_os_allocate(wal->os, wal->file, from, to - from, err);
  }
  return status;
}

/* Prepares the open segment `sequence` up to the LSN `upto` or its end; *out_upto: as far as it is prepared now, which
 * may be more. `zeros`: its bytes are written, not only reserved. */
static kl_status wal_space_grow_segment(kl_wal *wal, uint64_t sequence, kl_lsn upto, bool zeros, kl_lsn *out_upto,
                                        kl_error *err) {
  uint32_t index;
  kl_mutex_lock(&wal->lock);
  bool there = wal_space_has(wal, sequence, &index);
  kl_lsn prepared = there ? wal_space_prepared(wal, index) : 0;
  /* Whole pages are counted, but the file may end inside one (when something cut it): what
   * lies below `ready` is in use and is never overwritten with zeros. */
  if (there && wal->ready > prepared && wal->ready / wal->data_size == sequence) prepared = wal->ready;
  uint64_t slot = there ? wal_space_slot_offset(wal, wal->segments[index].slot) : 0, file_bytes = wal->file_bytes;
  kl_mutex_unlock(&wal->lock);
  if (!there) return KL_BROKEN(err, "WAL-6: segment %" PRIu64 " lost its slot while it was extended", sequence);
  kl_lsn first = sequence * wal->data_size, end = first + wal->data_size;
  if (upto > end) upto = end;
  *out_upto = prepared;
  if (upto <= prepared) return KL_OK;
  upto = first + wal_align_up(upto - first, WAL_PAGE); /* data_size is a multiple of a page */
  uint64_t data = slot + WAL_SEGMENT_HEADER, from = data + (prepared - first), to = data + (upto - first),
           reserved = to;
  kl_status status = KL_OK;
  if (to > file_bytes) status = wal_space_reserve_file(wal, from, to, slot + wal->segment_size, &reserved, err);
  if (status == KL_OK && zeros) status = wal_space_write_zeros(wal, from, to, err);
  kl_mutex_lock(&wal->lock);
  wal->dirty = true;
  if (status == KL_OK) {
    wal_space_note_written(wal, to);
    if (wal->file_bytes < reserved) wal->file_bytes = reserved;
  }
  kl_mutex_unlock(&wal->lock);
  if (status == KL_OK) *out_upto = upto;
  return status;
}

static kl_status wal_space_extend_to(kl_wal *wal, kl_lsn need, bool large, kl_error *err) {
  bool zeros = wal->prewrite && !large;
  kl_mutex_lock(&wal->lock);
  kl_lsn at = wal->ready;
  kl_mutex_unlock(&wal->lock);
  while (at < need) {
    uint64_t sequence = at / wal->data_size;
    kl_lsn upto = (sequence + 1) * wal->data_size;
    kl_status status = wal_space_open_segment(wal, sequence, err);
    if (status == KL_OK && wal->prewrite) status = wal_space_grow_segment(wal, sequence, need, zeros, &upto, err);
    if (status != KL_OK) return status;
    KL_ASSERT(upto > at);
    at = upto;
  }
  kl_status status = KL_OK;
  kl_mutex_lock(&wal->lock);
  if (zeros) {
    while (wal->syncing) kl_cond_wait(&wal->changed, &wal->lock);
    status = wal->poisoned ? wal_refuse(wal, err) : wal_sync_round(wal, true, err);
  }
  if (status == KL_OK) wal->ready = at;
  kl_mutex_unlock(&wal->lock);
  return status;
}

/* Gives free slots at the end of the file back to the file system, but keeps at least `keep_free` free ones and
 * `keep_slots` in all. The lock is held (let go meanwhile), as is the role `extending`: nobody grows the file while it
 * shrinks. */
static void wal_space_shrink(kl_wal *wal, uint32_t keep_free, uint32_t keep_slots) {
  uint32_t slots = wal->slot_count;
  for (uint32_t i = 0; wal->free_count > keep_free && wal->slot_count > keep_slots && i < wal->free_count;) {
    if (wal->free_slots[i] != wal->slot_count - 1) {
      i++;
      continue;
    }
    wal->free_slots[i] = wal->free_slots[--wal->free_count];
    wal->slot_count--;
    i = 0;
  }
  uint64_t bytes = wal_space_slot_offset(wal, wal->slot_count);
  if (wal->slot_count == slots || wal->file_bytes <= bytes) return;
  wal->file_bytes = bytes;
  if (wal->prepared_bytes > bytes) wal->prepared_bytes = bytes;
  kl_mutex_unlock(&wal->lock);
  (void)kl_os_truncate(wal->os, wal->file, bytes, NULL); /* a failure leaves bytes that nobody refers to */
  kl_mutex_lock(&wal->lock);
}

kl_status wal_space_extend(kl_wal *wal, kl_lsn need, bool large, kl_error *err) {
  kl_error cause = {0};
  kl_mutex_lock(&wal->lock);
  kl_lsn ahead = wal->ready + wal->step;
  uint32_t slots_before = wal->slot_count;
  kl_mutex_unlock(&wal->lock);
  /* A step at a time, so that syncs stay rare; with the disk nearly full, just what is needed. */
  kl_status status = wal_space_extend_to(wal, large || ahead < need ? need : ahead, large, &cause);
  if (status == KL_E_DISK_FULL && ahead > need && !large) status = wal_space_extend_to(wal, need, false, &cause);
  kl_mutex_lock(&wal->lock);
  if (status == KL_OK) {
    if (!large && wal->step < WAL_STEP_MAX) wal->step *= 2;
  } else if (status == KL_E_DISK_FULL && wal->poisoned) {
    status = wal_refuse(wal, &cause); /* it was the sync that found the disk full */
  } else if (status == KL_E_DISK_FULL) {
    /* What was added in vain is given back: the host may need the room more. */
    wal->step = WAL_STEP_MIN;
    uint64_t unused = (wal->ready + wal->data_size - 1) / wal->data_size;
    wal_space_drop(wal, wal_space_find(wal, unused), wal->segment_count);
    wal_space_shrink(wal, 0, slots_before);
  } else if (status != KL_E_NO_MEMORY && status != KL_E_POISONED) {
    wal_poison(wal, &cause);
  }
  kl_mutex_unlock(&wal->lock);
  if (status != KL_OK && err != NULL) *err = cause;
  return status;
}

kl_status wal_space_ensure(kl_wal *wal, kl_lsn need, bool large, kl_error *err) {
  while (wal->ready < need) {
    if (wal->poisoned) return wal_refuse(wal, err);
    if (wal->extending) {
      kl_cond_wait(&wal->changed, &wal->lock);
      continue;
    }
    wal->extending = true;
    kl_mutex_unlock(&wal->lock);
    kl_status status = wal_space_extend(wal, need, large, err);
    kl_mutex_lock(&wal->lock);
    wal->extending = false;
    kl_cond_broadcast(&wal->changed);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

kl_status kl_wal_release(kl_wal *wal, kl_lsn lsn, kl_error *err) {
  kl_status status = KL_OK;
  kl_mutex_lock(&wal->lock);
  if (!wal->running) {
    status = kl_fail(err, KL_E_INVALID, "log '%s' is still being recovered: nothing can be released", wal->path);
  } else if (lsn > wal->tail) {
    status = kl_fail(err, KL_E_INVALID, "log '%s' ends at LSN %" PRIu64 ": %" PRIu64 " cannot be released", wal->path,
                     wal->tail, lsn);
  } else if (lsn > wal->start) {
    wal->start = lsn;
    wal_space_drop(wal, 0, wal_space_find(wal, lsn / wal->data_size));
    if (!wal->extending) {
      /* After one huge transaction the log does not stay huge: more is not kept than is likely to be used soon. */
      wal->extending = true;
      wal_space_shrink(wal, wal->segment_count + 2, 0);
      wal->extending = false;
      kl_cond_broadcast(&wal->changed);
    }
  }
  kl_mutex_unlock(&wal->lock);
  return status;
}

kl_status wal_space_write(kl_wal *wal, kl_file *file, kl_lsn lsn, const kl_slice *parts, size_t count, kl_error *err) {
  kl_slice out[WAL_PARTS_MAX];
  size_t part = 0, used = 0; /* bytes of parts[part] that are written */
  for (;;) {
    while (part < count &&
           parts[part].size == used) { /* also empty ones: behind the last byte there may be no segment */
      part++;
      used = 0;
    }
    if (part == count) return KL_OK;
    uint64_t offset, run, gathered = 0;
    size_t n = 0;
    kl_mutex_lock(&wal->lock);
    bool found = wal_space_locate(wal, lsn, &offset, &run);
    kl_mutex_unlock(&wal->lock);
    if (!found) return KL_BROKEN(err, "WAL-6: no segment for LSN %" PRIu64 " below ready", lsn);
    while (part < count && n < WAL_PARTS_MAX && gathered < run) {
      size_t left = parts[part].size - used;
      size_t take = left < run - gathered ? left : (size_t)(run - gathered);
      if (take != 0) out[n++] = kl_slice_make((const uint8_t *)parts[part].data + used, take);
      gathered += take;
      used += take;
      if (used == parts[part].size) {
        part++;
        used = 0;
      }
    }
    kl_status status = kl_os_write(wal->os, file, out, n, offset, err);
    if (status != KL_OK) return status;
    kl_mutex_lock(&wal->lock);
    wal_space_note_written(wal, offset + gathered);
    kl_mutex_unlock(&wal->lock);
    lsn += gathered;
  }
}

kl_status wal_space_read(kl_wal *wal, kl_lsn lsn, void *buffer, size_t size, size_t *out_read, kl_error *err) {
  *out_read = 0;
  while (*out_read < size) {
    uint64_t offset, run;
    size_t got = 0;
    kl_mutex_lock(&wal->lock);
    bool found = wal_space_locate(wal, lsn + *out_read, &offset, &run);
    kl_mutex_unlock(&wal->lock);
    if (!found) return KL_OK;
    size_t want = size - *out_read < run ? size - *out_read : (size_t)run;
    kl_status status = kl_os_read(wal->os, wal->file, (uint8_t *)buffer + *out_read, want, offset, &got, err);
    if (status != KL_OK) return status;
    *out_read += got;
    if (got < want) return KL_OK;
  }
  return KL_OK;
}

/* ---- core/wal/sync.c ---- */
/* core/wal/sync.c: sync rounds, and the choice between fdatasync and O_DSYNC.
 *
 * One round at a time; it covers everything below the tail at its start. Threads that ask meanwhile wait, and when it
 * has ended and did not cover them, one of them leads the next round for all. */

static int wal_probe_compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* The method of the next round that can be done by either. The rounds of a probe alternate, so that both methods meet
 * the same sizes and the same load. */
static wal_method wal_probe_method(const wal_probe *probe) {
  if (probe->count < 2 * WAL_PROBE_SAMPLES) return probe->count % 2 == 0 ? WAL_FDATASYNC : WAL_DSYNC;
  return probe->chosen;
}

static void wal_probe_note(wal_probe *probe, wal_method method, uint64_t ns) {
  if (probe->count == 2 * WAL_PROBE_SAMPLES) {
    if (++probe->rounds >= WAL_PROBE_INTERVAL)
      probe->count = probe->rounds = 0; /* the device's habits may have changed */
    return;
  }
  probe->samples[method][probe->count / 2] = ns;
  if (++probe->count < 2 * WAL_PROBE_SAMPLES) return;
  for (int m = 0; m < 2; m++) qsort(probe->samples[m], WAL_PROBE_SAMPLES, sizeof(uint64_t), wal_probe_compare);
  /* Medians: one slow round of many does not decide. */
  probe->chosen =
      probe->samples[WAL_DSYNC][WAL_PROBE_SAMPLES / 2] < probe->samples[WAL_FDATASYNC][WAL_PROBE_SAMPLES / 2]
          ? WAL_DSYNC
          : WAL_FDATASYNC;
}

/* Fixes what the round covers. The lock is held. WAL-3: from now on appends start in a block of their own; one that is
 * already writing into the block where the tail lies is waited for, and covered. */
static kl_lsn wal_sync_cut(kl_wal *wal) {
  kl_lsn block_end = wal_align_up(wal->tail, WAL_SYNC_BLOCK);
  kl_lsn cut = wal->appending && wal->append_start < block_end ? wal->append_end : wal->tail;
  if (wal->cut < cut) wal->cut = cut;
  while (wal->appending && wal->append_start < wal_align_up(wal->tail, WAL_SYNC_BLOCK)) {
    kl_cond_wait(&wal->changed, &wal->lock);
  }
  if (wal->cut < wal->tail) wal->cut = wal->tail;
  return wal->tail;
}

/* The storage half of a round; the lock is not held. */
static kl_status wal_sync_store(kl_wal *wal, wal_method method, kl_error *err) {
  kl_status status = KL_OK;
  if (wal->busy.size != 0) {
    kl_slice part = kl_slice_make(wal->busy.data, wal->busy.size);
    status = wal_space_write(wal, method == WAL_DSYNC ? wal->dsync_file : wal->file, wal->busy.start, &part, 1, err);
  }
  if (status == KL_OK && method == WAL_FDATASYNC) status = kl_os_sync(wal->os, wal->file, true, err);
  return status;
}

kl_status wal_sync_round(kl_wal *wal, bool must_flush, kl_error *err) {
  KL_ASSERT(!wal->syncing);
  wal->syncing = true;
  kl_lsn target = wal_sync_cut(wal);
  KL_ASSERT(wal->busy.size == 0);
  wal_buffer taken = wal->active;
  wal->active = wal->busy;
  wal->busy = taken;
  /* O_DSYNC covers its own bytes only, so nothing else may be waiting for a sync (WAL-6). */
  bool either = taken.size != 0 && !wal->dirty && !must_flush && wal->dsync_file != NULL;
  wal_method method = either ? wal_probe_method(&wal->probe) : WAL_FDATASYNC;
  if (method == WAL_FDATASYNC) wal->dirty = false;
  kl_mutex_unlock(&wal->lock);

  kl_error cause = {0};
  uint64_t begin = kl_os_monotonic_ns(wal->os);
  kl_status status = wal_sync_store(wal, method, &cause);
  uint64_t ns = kl_os_monotonic_ns(wal->os) - begin;

  kl_mutex_lock(&wal->lock);
  wal->syncing = false;
  if (status == KL_OK) {
    wal->busy.size = 0; /* not after a failure: readers must not look where nothing may have been written */
    KL_ASSERT(target >= wal->durable);
    wal->durable = target;
    wal->syncs++;
    wal->sync_ns_total += ns;
    if (ns > wal->sync_ns_max) wal->sync_ns_max = ns;
    if (either) wal_probe_note(&wal->probe, method, ns);
  } else {
    /* Whatever failed, and however little: the kernel may have dropped dirty pages of this file (WAL-9). */
    wal_poison(wal, &cause);
    if (err != NULL) *err = cause;
  }
  kl_cond_broadcast(&wal->changed);
  return status;
}

kl_status kl_wal_sync(kl_wal *wal, kl_lsn upto, kl_error *err) {
  kl_status status = KL_OK;
  bool led = false;
  kl_mutex_lock(&wal->lock);
  if (upto > wal->tail) {
    status = kl_fail(err, KL_E_INVALID, "log '%s' ends at LSN %" PRIu64 ": it cannot be synced up to %" PRIu64,
                     wal->path, wal->tail, upto);
  }
  while (status == KL_OK && wal->durable < upto) {
    if (wal->poisoned) {
      status = wal_refuse(wal, err);
    } else if (wal->syncing) {
      kl_cond_wait(&wal->changed, &wal->lock);
    } else {
      led = true;
      status = wal_sync_round(wal, false, err);
    }
  }
  if (status == KL_OK && !led) wal->syncs_shared++;
  kl_mutex_unlock(&wal->lock);
  return status;
}

kl_status kl_wal_sync_soon(kl_wal *wal, uint64_t interval_ns, kl_error *err) {
  kl_mutex_lock(&wal->lock);
  kl_lsn upto = wal->tail;
  if (wal->poisoned || wal->durable >= upto) {
    kl_status status = wal->poisoned && wal->durable < upto ? wal_refuse(wal, err) : KL_OK;
    kl_mutex_unlock(&wal->lock);
    return status;
  }
  uint64_t now = kl_os_monotonic_ns(wal->os);
  uint64_t deadline = interval_ns < UINT64_MAX - now ? now + interval_ns : UINT64_MAX;
  bool earlier = wal->flush_at == 0 || deadline < wal->flush_at;
  if (earlier) wal->flush_at = deadline;
  bool due = now >= wal->flush_at;
  bool thread = wal->thread != NULL && !earlier ? true : wal_worker_wake(wal);
  if (!thread && due) wal->flush_at = 0;
  kl_mutex_unlock(&wal->lock);
  return !thread && due ? kl_wal_sync(wal, upto, err) : KL_OK;
}

/* ---- core/wal/wal.c ---- */
/* core/wal/wal.c: creating, opening and closing a log; its header; statistics; the owner block. */

void wal_poison(kl_wal *wal, const kl_error *cause) {
  if (wal->poisoned) return;
  wal->poisoned = true;
  wal->first_error = *cause;
}

kl_status wal_refuse(const kl_wal *wal, kl_error *err) {
  return kl_fail(err, KL_E_POISONED, "log '%s' takes no more writes after an error (%s); open the database anew",
                 wal->path, wal->first_error.message);
}

kl_status wal_store_header(kl_wal *wal, const wal_header *header, unsigned copy, kl_error *err) {
  uint8_t block[WAL_PAGE];
  wal_header_encode(header, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  return kl_os_write(wal->os, wal->file, &part, 1, (uint64_t)copy * WAL_PAGE, err);
}

static void wal_destroy(kl_wal *wal) {
  kl_allocator *allocator = wal->os->allocator;
  if (wal->dsync_file != NULL) kl_os_close(wal->os, wal->dsync_file);
  if (wal->file != NULL) kl_os_close(wal->os, wal->file);
  wal_space_free(wal);
  kl_free(allocator, wal->active.data, wal->active.capacity);
  kl_free(allocator, wal->busy.data, wal->busy.capacity);
  kl_cond_destroy(&wal->work);
  kl_cond_destroy(&wal->changed);
  kl_mutex_destroy(&wal->lock);
  kl_free(allocator, wal->path, wal->path_size);
  kl_free(allocator, wal, sizeof *wal);
}

static kl_status wal_new(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out, kl_error *err) {
  size_t path_size = strlen(path) + 1;
  kl_wal *wal = kl_alloc(os->allocator, sizeof *wal);
  char *copy = kl_alloc(os->allocator, path_size);
  if (wal == NULL || copy == NULL) {
    kl_free(os->allocator, copy, path_size);
    kl_free(os->allocator, wal, sizeof *wal);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to open log '%s'", path);
  }
  kl_status status = kl_mutex_init(&wal->lock, err);
  if (status == KL_OK) {
    status = kl_cond_init(&wal->changed, err);
    if (status == KL_OK) {
      status = kl_cond_init(&wal->work, err);
      if (status != KL_OK) kl_cond_destroy(&wal->changed);
    }
    if (status != KL_OK) kl_mutex_destroy(&wal->lock);
  }
  if (status != KL_OK) {
    kl_free(os->allocator, copy, path_size);
    kl_free(os->allocator, wal, sizeof *wal);
    return status;
  }
  memcpy(copy, path, path_size);
  wal->os = os;
  wal->path = copy;
  wal->path_size = path_size;
  wal->read_only = options->read_only;
  wal->prewrite = options->prewrite;
  wal->seed = wal_batch_seed(options->database_id);
  wal->step = WAL_STEP_MIN;
  wal->next_assignment = 1;
  *out = wal;
  return KL_OK;
}

static void wal_use_header(kl_wal *wal, const wal_header *header) {
  wal->header = *header;
  wal->segment_size = header->segment_size;
  wal->data_size = header->segment_size - WAL_SEGMENT_HEADER;
}

/* Without the second descriptor everything works with fdatasync alone, so a failure here is none. It is opened at once
 * and not when the probe wants it: by then the path may name another file. */
static void wal_open_dsync(kl_wal *wal) {
  if (kl_os_open(wal->os, wal->path, KL_OPEN_WRITE | KL_OPEN_DSYNC, 0, &wal->dsync_file, NULL) != KL_OK) {
    wal->dsync_file = NULL;
  }
}

static kl_status wal_write_new_file(kl_wal *wal, kl_error *err) {
  wal->file_bytes = wal->prepared_bytes = WAL_SEGMENTS_OFFSET;
  kl_status status = wal_store_header(wal, &wal->header, 0, err);
  if (status == KL_OK) status = wal_store_header(wal, &wal->header, 1, err);
  if (status == KL_OK) status = kl_os_sync(wal->os, wal->file, false, err);
  if (status == KL_OK) status = kl_os_sync_directory(wal->os, wal->path, err);
  return status;
}

kl_status kl_wal_create(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err) {
  *out_wal = NULL;
  uint64_t segment_size = options->segment_size != 0 ? options->segment_size : WAL_SEGMENT_SIZE_DEFAULT;
  if (segment_size < WAL_SEGMENT_SIZE_MIN || segment_size > WAL_SEGMENT_SIZE_MAX ||
      (segment_size & (segment_size - 1)) != 0) {
    return kl_fail(err, KL_E_INVALID, "log segment size %" PRIu64 " is not a power of two from 64 KiB to 1 GiB",
                   segment_size);
  }
  if (options->read_only) return kl_fail(err, KL_E_READ_ONLY, "cannot create log '%s': opened read-only", path);
  kl_wal *wal = NULL;
  kl_status status = wal_new(os, path, options, &wal, err);
  if (status != KL_OK) return status;
  uint64_t data_size = segment_size - WAL_SEGMENT_HEADER;
  uint64_t first = (options->start_lsn + data_size - 1) / data_size * data_size;
  wal_header header = {.version = WAL_VERSION,
                       .segment_size = segment_size,
                       .incarnation = 1,
                       .incarnation_start = first,
                       .first_lsn = first,
                       .created_ns = kl_os_wall_ns(os)};
  memcpy(header.database_id, options->database_id, WAL_ID_SIZE);
  wal_use_header(wal, &header);
  uint32_t mode = options->file_mode != 0 ? options->file_mode : 0600;
  status = kl_os_open(os, path, KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_EXCLUSIVE, mode, &wal->file, err);
  if (status != KL_OK) {
    wal->file = NULL;
    wal_destroy(wal);
    return status;
  }
  status = wal_write_new_file(wal, err);
  if (status != KL_OK) {
    wal_destroy(wal);
    (void)kl_os_remove(os, path, NULL); /* ours: it was created exclusively */
    return status;
  }
  wal_open_dsync(wal);
  wal->start = wal->tail = wal->durable = wal->cut = wal->ready = first;
  wal->running = true;
  *out_wal = wal;
  return KL_OK;
}

/* WAL-11: which copy may be destroyed, of two that were read with these incarnations (0: damaged). */
static unsigned wal_header_expendable(const uint64_t incarnations[2]) {
  if (incarnations[0] == 0 || incarnations[1] == 0) return incarnations[0] == 0 ? 0 : 1;
  if (incarnations[0] != incarnations[1]) return incarnations[0] > incarnations[1] ? 0 : 1;
  return (unsigned)((incarnations[0] + 1) % 2);
}

/* Reads both copies of the header; the one with the higher incarnation counts (they differ only when a crash came
 * between the two writes, or when one is damaged). */
static kl_status wal_load_header(kl_wal *wal, const uint8_t id[WAL_ID_SIZE], kl_error *err) {
  uint8_t block[WAL_PAGE];
  wal_header header = {0}, best = {0};
  kl_status verdict = KL_E_FORMAT; /* the most telling of the two failures: version, corrupt, format */
  bool found = false;
  uint64_t incarnations[2] = {0, 0};
  for (unsigned copy = 0; copy < 2; copy++) {
    size_t got = 0;
    kl_status status = kl_os_read(wal->os, wal->file, block, sizeof block, (uint64_t)copy * WAL_PAGE, &got, err);
    if (status != KL_OK) return status;
    status = got == sizeof block ? wal_header_decode(block, &header) : KL_E_FORMAT;
    if (status == KL_OK) incarnations[copy] = header.incarnation;
    if (status == KL_OK && (!found || header.incarnation > best.incarnation)) {
      best = header;
      found = true;
    }
    if (status == KL_E_VERSION || (status == KL_E_CORRUPT && verdict == KL_E_FORMAT)) verdict = status;
  }
  if (!found && verdict == KL_E_VERSION) {
    return kl_fail(err, KL_E_VERSION,
                   "log '%s' has a format that this version does not know (1 is known); use a newer"
                   " Keel",
                   wal->path);
  }
  if (!found && verdict == KL_E_CORRUPT) {
    return kl_fail(err, KL_E_CORRUPT, "log '%s': both copies of its header are damaged; restore from a backup",
                   wal->path);
  }
  if (!found) return kl_fail(err, KL_E_FORMAT, "'%s' is not the log of a Keel database", wal->path);
  if (best.features_incompatible != 0 || (best.features_read_only != 0 && !wal->read_only)) {
    return kl_fail(err, KL_E_VERSION, "log '%s' uses features (%" PRIx32 ", %" PRIx32 ") of a newer Keel; use that",
                   wal->path, best.features_incompatible, best.features_read_only);
  }
  if (memcmp(best.database_id, id, WAL_ID_SIZE) != 0) {
    return kl_fail(err, KL_E_FORMAT, "log '%s' belongs to another database; put the right one in its place", wal->path);
  }
  wal->header_first = wal_header_expendable(incarnations);
  wal_use_header(wal, &best);
  return KL_OK;
}

static kl_status wal_check_kind(kl_os *os, const char *path, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_os_stat(os, path, &info, err);
  if (status != KL_OK) return status;
  if (info.kind == KL_FILE_ABSENT) return kl_fail(err, KL_E_NO_FILE, "there is no log '%s'", path);
  if (info.kind != KL_FILE_REGULAR) return kl_fail(err, KL_E_NOT_A_FILE, "log '%s' is not a regular file", path);
  return KL_OK;
}

kl_status kl_wal_open(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err) {
  *out_wal = NULL;
  kl_status status = wal_check_kind(os, path, err); /* opening a fifo would wait */
  if (status != KL_OK) return status;
  kl_wal *wal = NULL;
  status = wal_new(os, path, options, &wal, err);
  if (status != KL_OK) return status;
  status = kl_os_open(os, path, options->read_only ? KL_OPEN_READ : KL_OPEN_WRITE, 0, &wal->file, err);
  if (status != KL_OK) wal->file = NULL;
  if (status == KL_OK) status = wal_load_header(wal, options->database_id, err);
  if (status == KL_OK) status = kl_os_size(os, wal->file, &wal->file_bytes, err);
  wal->prepared_bytes = wal->file_bytes;
  if (status == KL_OK) status = wal_space_load(wal, err);
  if (status != KL_OK) {
    wal_destroy(wal);
    return status;
  }
  if (!wal->read_only) wal_open_dsync(wal);
  *out_wal = wal;
  return KL_OK;
}

void kl_wal_close(kl_wal *wal) {
  if (wal == NULL) return;
  wal_worker_stop(wal);
  kl_mutex_lock(&wal->lock);
  if (!wal->poisoned) (void)wal_append_hand_over(wal, NULL);
  kl_mutex_unlock(&wal->lock);
  wal_destroy(wal);
}

void kl_wal_get_stats(kl_wal *wal, kl_wal_stats *out_stats) {
  kl_mutex_lock(&wal->lock);
  *out_stats = (kl_wal_stats){.start_lsn = wal->start,
                              .tail_lsn = wal->tail,
                              .durable_lsn = wal->durable,
                              .file_bytes = wal->file_bytes,
                              .segments = wal->slot_count,
                              .segments_recycled = wal->recycled,
                              .appends = wal->appends,
                              .appended_bytes = wal->appended_bytes,
                              .syncs = wal->syncs,
                              .syncs_shared = wal->syncs_shared,
                              .sync_ns_total = wal->sync_ns_total,
                              .sync_ns_max = wal->sync_ns_max,
                              .uses_dsync = wal->probe.chosen == WAL_DSYNC,
                              .poisoned = wal->poisoned};
  kl_mutex_unlock(&wal->lock);
}

/* Days since 1970 to a date of the Gregorian calendar, counted in eras of 400 years that begin on 1 March. */
static void wal_owner_time(uint64_t wall_ns, char *out, size_t capacity) {
  uint64_t seconds = wall_ns / 1000000000u, days = seconds / 86400 + 719468, rest = seconds % 86400;
  uint64_t era = days / 146097, day_of_era = days % 146097;
  uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  uint64_t month_from_march = (5 * day_of_year + 2) / 153;
  uint64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  uint64_t year = year_of_era + era * 400 + (month <= 2);
  (void)snprintf(out, capacity,
                 "%04" PRIu64 "-%02" PRIu64 "-%02" PRIu64 " %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " UTC", year, month,
                 day, rest / 3600, rest / 60 % 60, rest % 60);
}

kl_status kl_wal_write_owner(kl_wal *wal, kl_error *err) {
  if (wal->read_only) return kl_fail(err, KL_E_READ_ONLY, "log '%s' is open read-only", wal->path);
  char name[64] = "", time[64], text[WAL_OWNER_TEXT];
  kl_os_process_name(wal->os, name, sizeof name);
  for (char *c = name; *c != 0; c++) {
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?'; /* a process may name itself anything */
  }
  wal_owner_time(kl_os_wall_ns(wal->os), time, sizeof time);
  (void)snprintf(text, sizeof text, "process %" PRIu64 " (%s), since %s", kl_os_process_id(wal->os),
                 name[0] != 0 ? name : "unnamed", time);
  uint8_t block[WAL_PAGE];
  wal_owner_encode(text, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  return kl_os_write(wal->os, wal->file, &part, 1, WAL_OWNER_OFFSET, err);
}

kl_status kl_wal_read_owner(kl_os *os, const char *path, char *out_text, size_t capacity) {
  uint8_t block[WAL_PAGE];
  char text[WAL_OWNER_TEXT];
  size_t got = 0;
  kl_file *file = NULL;
  if (capacity != 0) out_text[0] = 0;
  if (wal_check_kind(os, path, NULL) != KL_OK) return KL_E_NOT_FOUND;
  if (kl_os_open(os, path, KL_OPEN_READ, 0, &file, NULL) != KL_OK) return KL_E_NOT_FOUND;
  kl_status status = kl_os_read(os, file, block, sizeof block, WAL_OWNER_OFFSET, &got, NULL);
  kl_os_close(os, file);
  if (status != KL_OK || got != sizeof block || !wal_owner_decode(block, text)) return KL_E_NOT_FOUND;
  (void)snprintf(out_text, capacity, "%s", text);
  return KL_OK;
}

/* ---- core/wal/worker.c ---- */
/* core/wal/worker.c: the log's one background thread. It prepares space before an append would have to, and keeps the
 * deadline of durability `group`. Both end in sync rounds, so a second thread would only wait for the first. It is
 * started at the first need: a database that is only read, or opened and closed, has none. */

/* The lock is held (let go meanwhile). An error poisons, or (disk full, no memory) meets the append that needs the
 * space. */
static void wal_worker_extend(kl_wal *wal) {
  wal->want_space = false;
  if (wal->extending || wal->poisoned) return; /* an append is at it: it takes a whole step */
  wal->extending = true;
  kl_lsn need = wal->ready + 1;
  kl_mutex_unlock(&wal->lock);
  (void)wal_space_extend(wal, need, false, NULL);
  kl_mutex_lock(&wal->lock);
  wal->extending = false;
  kl_cond_broadcast(&wal->changed);
}

/* The lock is held (let go meanwhile). An error poisons, and so meets the next append. */
static void wal_worker_flush(kl_wal *wal) {
  kl_lsn upto = wal->tail;
  wal->flush_at = 0;
  while (wal->durable < upto && !wal->poisoned) {
    if (wal->syncing) {
      kl_cond_wait(&wal->changed, &wal->lock);
    } else {
      (void)wal_sync_round(wal, false, NULL);
    }
  }
}

static void wal_worker_run(void *context) {
  kl_wal *wal = context;
  kl_mutex_lock(&wal->lock);
  while (!wal->stop) {
    uint64_t now = wal->flush_at != 0 ? kl_os_monotonic_ns(wal->os) : 0;
    if (wal->flush_at != 0 && now >= wal->flush_at) {
      wal_worker_flush(wal);
    } else if (wal->want_space) {
      wal_worker_extend(wal);
    } else if (wal->flush_at != 0) {
      (void)kl_cond_wait_ns(&wal->work, &wal->lock, wal->flush_at - now);
    } else {
      kl_cond_wait(&wal->work, &wal->lock);
    }
  }
  kl_mutex_unlock(&wal->lock);
}

bool wal_worker_wake(kl_wal *wal) {
  if (!wal->os->has_threads || wal->thread_failed || wal->stop) return false;
  if (wal->thread == NULL && kl_thread_start(wal->os, "keel-log", wal_worker_run, wal, &wal->thread, NULL) != KL_OK) {
    wal->thread = NULL;
    wal->thread_failed = true; /* not tried at every append; appends and sync_soon do its work */
    return false;
  }
  kl_cond_signal(&wal->work);
  return true;
}

void wal_worker_stop(kl_wal *wal) {
  kl_mutex_lock(&wal->lock);
  wal->stop = true;
  kl_thread *thread = wal->thread;
  kl_cond_signal(&wal->work);
  kl_mutex_unlock(&wal->lock);
  if (thread != NULL) kl_thread_join(thread);
  wal->thread = NULL;
}

/* ---- core/delta/cursor.c ---- */
/* core/delta/cursor.c: cursors: seeks and steps in a tree, without locks. See delta.h, node.h and README.md.
 *
 * A cursor stands on an entry and remembers in which slot of which leaf it was last met. Slots move under it, only to
 * the right; so it looks from there to the right, and when a split has taken the entry away, in the neighbours, or
 * anew from the root. Each step reads the slot beside its own and then makes sure that its own had not moved
 * (DELTA-9). */

/* ---- core/delta/tree.h ---- */
/* core/delta/tree.h: the keys of one keyspace: a B+-tree with links to the right. Private. See README.md. */
#ifndef KL_DELTA_TREE_H
#define KL_DELTA_TREE_H

/* ---- core/delta/node.h ---- */
/* core/delta/node.h: one node of a delta tree: its layout and how a reader searches it without a lock. Private.
 *
 * A node holds up to `capacity` slots (head, pointer), sorted. In a leaf (level 0) the pointer is a delta_entry;
 * above, it is a child node, and the slot's key is the child's `low`. A head is eight bytes of the key, from byte
 * `skip` on, as a big-endian number; all keys that the node was built for share their first `skip` bytes, its prefix.
 * Most searches therefore touch the header and the array of heads, and then one pointer.
 *
 *   header, 64 bytes | heads, 8 x capacity | pointers, 8 x capacity
 *
 * A node covers the keys from `low` (NULL: no bound) up to the `low` of its right neighbour `next` (NULL: no bound).
 *
 * How slots change (invariant DELTA-4, README.md "Why readers need no lock"): only insertions under the node's lock,
 * which move slots one place to the right, from the last one down, writing pointer before head, each with release. So
 * at every moment, and for good at every index, the keys only get smaller with time, both arrays are sorted, the
 * pointer at an index is never behind the head beside it, and an entry never moves left. A split makes `count`
 * smaller and leaves the moved slots as they are, until later insertions overwrite them in the same order. */
#ifndef KL_DELTA_NODE_H
#define KL_DELTA_NODE_H

/* ---- core/delta/version.h ---- */
/* core/delta/version.h: a key's entry and its chain of versions; private to the delta and its benchmarks.
 *
 * An entry is one key: made once, never moved, never freed before the arena. From it hangs a chain of versions,
 * newest first (DELTA-2), to which versions are only ever added. The first version lies in the same block as the
 * entry, so that a key that was written once costs one run of memory: header, key, version, value.
 *
 *   entry:   newest 8 | key_size 4 | key bytes | padding to 8 | version
 *   version: older 8 | ts 8 | value_size 4 | kind 1 | unused 3 | value bytes
 *
 * A value begins at a multiple of 8, so that a view of it can be read as an array of numbers. */
#ifndef KL_DELTA_VERSION_H
#define KL_DELTA_VERSION_H

/* ---- core/delta/delta.h ---- */
/* core/delta/delta.h: the in-memory, concurrent, ordered, multi-version index of recent commits.
 *
 * A map from (keyspace id, key) to a chain of versions, newest first; each version has a commit timestamp, a kind and
 * a value. Order is keyspace id, then key bytes. Keys and values are copied into the delta's arena on insert and
 * never move or change; nothing is removed: a delta is freed as a whole when the last reference is dropped.
 *
 * Readers take no locks and never wait; writers run in parallel. A version becomes reachable atomically. Readers pass
 * a read timestamp and see, per key, the newest version at or below it; publishing (which timestamps may be read) is
 * the business of core/txn.
 *
 * Lifetime: pointers handed out (keys, values) stay valid as long as the caller holds a reference on the delta; a
 * delta holds no pointer into anything else. Thread rules: all functions from any thread; a cursor by one thread at a
 * time. */
#ifndef KL_DELTA_DELTA_H
#define KL_DELTA_DELTA_H

typedef struct kl_delta kl_delta;

typedef enum kl_version_kind {
  KL_VERSION_PUT = 1,
  KL_VERSION_DELETE = 2
  /* merge operands (add, min, max, append) get kinds of their own with issue-level work on transactions */
} kl_version_kind;

typedef struct kl_version {
  uint64_t ts; /* commit timestamp, > 0 */
  kl_version_kind kind;
  kl_slice value; /* empty for DELETE */
} kl_version;

kl_status kl_delta_new(kl_allocator *allocator, kl_delta **out_delta, kl_error *err); /* one reference */
void kl_delta_ref(kl_delta *delta);
void kl_delta_unref(kl_delta *delta); /* the last one frees; NULL is allowed */

/* Adds a version. Versions of one key may arrive in any order of ts; the chain stays sorted. Two versions with the same
 * key and ts: the later insert wins (replay and re-drive are idempotent). KL_E_NO_MEMORY leaves the delta as it was. */
kl_status kl_delta_insert(kl_delta *delta, uint32_t keyspace, kl_slice key, const kl_version *version, kl_error *err);

/* The newest version at or below read_ts; false when there is none (a DELETE is a version, and is returned). */
bool kl_delta_get(kl_delta *delta, uint32_t keyspace, kl_slice key, uint64_t read_ts, kl_version *out_version);
/* kl_delta_get for `count` keys of one keyspace: out_versions[i] belongs to keys[i]; its ts is 0 where the key has no
 * such version. A few times as fast per key as single calls when the delta is larger than the CPU's caches. */
void kl_delta_get_many(kl_delta *delta, uint32_t keyspace, const kl_slice *keys, size_t count, uint64_t read_ts,
                       kl_version *out_versions);
/* The ts of the newest version of the key, 0 when there is none: for write-conflict detection. */
uint64_t kl_delta_newest_ts(kl_delta *delta, uint32_t keyspace, kl_slice key);

/* Cursor over the keys of one keyspace as of read_ts, DELETE versions included (the caller merges sources and must
 * see them). Keys with no version at or below read_ts are skipped. Sees a consistent past: inserts with ts > read_ts
 * that happen meanwhile never show. Plain storage, no allocation, nothing to close; it borrows the delta's
 * reference of its caller. After first/last/seek/next/prev, kl_delta_cursor_valid says whether it stands on a key;
 * moving off an end makes it invalid, and it stays so until positioned anew. */
typedef struct kl_delta_cursor {
  kl_delta *delta;
  uint64_t read_ts;
  uint32_t keyspace;
  bool valid;
  kl_slice key;
  kl_version version;
  /* the structure's own: where the key was last met */
  const struct delta_tree *tree;
  const struct delta_node *leaf;
  struct delta_entry *entry;
  uint32_t slot;
} kl_delta_cursor;

void kl_delta_cursor_init(kl_delta_cursor *cursor, kl_delta *delta, uint32_t keyspace, uint64_t read_ts);
void kl_delta_cursor_first(kl_delta_cursor *cursor);
void kl_delta_cursor_last(kl_delta_cursor *cursor);
void kl_delta_cursor_seek_ge(kl_delta_cursor *cursor, kl_slice key); /* first key >= */
void kl_delta_cursor_seek_le(kl_delta_cursor *cursor, kl_slice key); /* last key <= */
void kl_delta_cursor_next(kl_delta_cursor *cursor);
void kl_delta_cursor_prev(kl_delta_cursor *cursor);

typedef struct kl_delta_stats {
  uint64_t keys;     /* distinct (keyspace, key) */
  uint64_t versions; /* including deletes */
  uint64_t bytes;    /* memory reserved */
} kl_delta_stats;
void kl_delta_get_stats(const kl_delta *delta, kl_delta_stats *out_stats);

#endif

typedef struct delta_version delta_version;
struct delta_version {
  _Atomic(delta_version *) older; /* towards smaller timestamps */
  uint64_t ts;
  uint32_t value_size;
  uint8_t kind;
  /* the value's bytes follow */
};

typedef struct delta_entry {
  _Atomic(delta_version *) newest; /* never NULL once the entry is reachable */
  uint32_t key_size;
  unsigned char key[];
} delta_entry;

static inline kl_slice delta_entry_key(const delta_entry *entry) {
  return kl_slice_make(entry->key, entry->key_size);
}

/* How many bytes two keys begin with in common. */
static inline uint32_t delta_entry_same(const delta_entry *a, const delta_entry *b) {
  uint32_t shortest = a->key_size < b->key_size ? a->key_size : b->key_size;
  uint32_t same = 0;
  while (same < shortest && a->key[same] == b->key[same]) same++;
  return same;
}

/* Asks for an entry: its key, and where its version often begins. */
static inline void delta_entry_prefetch(const void *entry) {
  __builtin_prefetch(entry);
  __builtin_prefetch((const char *)entry + 64);
}

/* As comparing whole slices, without a call: keys are short. */
static inline bool delta_key_equal(const delta_entry *entry, kl_slice key) {
  if (entry->key_size != key.size) return false;
  const unsigned char *a = entry->key, *b = key.data;
  size_t n = key.size;
  for (; n >= 8; n -= 8, a += 8, b += 8) {
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    if (x != y) return false;
  }
  for (; n != 0; n--, a++, b++) {
    if (*a != *b) return false;
  }
  return true;
}

static inline const void *delta_version_value(const delta_version *version) {
  return version + 1;
}

/* The newest version at or below read_ts, NULL when there is none. */
static inline const delta_version *delta_entry_visible(const delta_entry *entry, uint64_t read_ts) {
  /* Acquire: pairs with the release that linked the version; its fields and value are visible. */
  const delta_version *version = atomic_load_explicit(&entry->newest, memory_order_acquire);
  while (version != NULL && version->ts > read_ts) {
    version = atomic_load_explicit(&version->older, memory_order_acquire);
  }
  return version;
}

static inline void delta_version_export(const delta_version *version, kl_version *out) {
  out->ts = version->ts;
  out->kind = (kl_version_kind)version->kind;
  out->value = kl_slice_make(delta_version_value(version), version->value_size);
}

/* KL_E_INVALID (timestamp 0, unknown kind, missing bytes), KL_E_KEY_SIZE, KL_E_VALUE_SIZE: what cannot be stored. */
kl_status kl_delta_version_check(kl_slice key, const kl_version *version, kl_error *err);

/* How many bytes an entry with its key and first version takes, and a version alone. */
size_t kl_delta_entry_bytes(kl_slice key, const kl_version *version);
size_t kl_delta_version_bytes(const kl_version *version);

/* Fills zeroed memory of that many bytes, aligned to 8. Not reachable for others until linked. */
void kl_delta_entry_fill(delta_entry *entry, kl_slice key, const kl_version *version);
void kl_delta_version_fill(delta_version *memory, const kl_version *version);

/* The version inside an entry that was just filled. */
delta_version *kl_delta_entry_own_version(delta_entry *entry);

/* Links `version` into the entry's chain at its place. Returns false when a version of this ts was there before; that
 * one stays in the chain behind the new one and is never seen again. Any number of threads at once. */
bool kl_delta_entry_link(delta_entry *entry, delta_version *version);

#endif

enum {
  DELTA_NODE_SLOTS = 64,     /* of every node but a tree's first leaves */
  DELTA_NODE_FIRST_SLOTS = 8 /* of a tree's first leaf, so that a small keyspace stays small */
};

typedef enum delta_lock_state { DELTA_LOCK_FREE = 0, DELTA_LOCK_HELD = 1, DELTA_LOCK_DEAD = 2 } delta_lock_state;

typedef struct delta_node delta_node;
struct delta_node {
  _Atomic uint64_t high_head;  /* head of next->low; UINT64_MAX when next is NULL; 0 when the node is dead */
  _Atomic(delta_node *) next;  /* right neighbour; of a dead node: what replaced it */
  const delta_entry *low;      /* fixed; NULL: no lower bound */
  const unsigned char *prefix; /* fixed; `skip` bytes, in some entry; NULL when skip is 0 */
  uint64_t prefix_start[2];    /* fixed; the prefix's first sixteen bytes as heads, zeros from `skip` on */
  uint32_t skip;               /* fixed */
  uint16_t capacity;           /* fixed */
  uint8_t level;               /* fixed */
  uint8_t run;                 /* under the lock: insertions in a row that continued `last` */
  _Atomic uint16_t count;
  uint16_t last; /* under the lock: where the last insertion went */
  _Atomic uint32_t lock;
  _Alignas(64) _Atomic uint64_t heads[]; /* then the pointers */
};

/* A key on its way down: its head for the `skip` of the node it was last compared in. */
typedef struct delta_probe {
  kl_slice key;
  uint64_t head;
  uint32_t skip;
} delta_probe;

static inline _Atomic(void *) *delta_node_pointers(const delta_node *node) {
  return (_Atomic(void *) *)(uintptr_t)(const void *)(node->heads + node->capacity);
}

/* All loads of slots and counts are acquire: a reader that sees one store of a writer sees all that came before it. */
static inline uint64_t delta_node_head(const delta_node *node, unsigned i) {
  return atomic_load_explicit(&node->heads[i], memory_order_acquire);
}
static inline void *delta_node_pointer(const delta_node *node, unsigned i) {
  return atomic_load_explicit(&delta_node_pointers(node)[i], memory_order_acquire);
}
static inline unsigned delta_node_count(const delta_node *node) {
  return atomic_load_explicit(&node->count, memory_order_acquire);
}
static inline delta_node *delta_node_next(const delta_node *node) {
  return atomic_load_explicit(&node->next, memory_order_acquire);
}

/* The entry whose key is the slot's key; NULL only for the first slot of the leftmost inner nodes. */
static inline const delta_entry *delta_node_slot_entry(const delta_node *node, unsigned i) {
  const void *pointer = delta_node_pointer(node, i);
  return node->level == 0 ? (const delta_entry *)pointer : ((const delta_node *)pointer)->low;
}

/* Asks for the lines of a node that a search reads first, all at once, so that they are waited for only once: header
 * and heads, and on the way to a leaf that will be scanned the pointers too. */
static inline void delta_node_prefetch(const delta_node *node, bool pointers) {
  const char *at = (const char *)node;
  const char *end = at + sizeof(delta_node) + (size_t)(pointers ? 2 : 1) * DELTA_NODE_SLOTS * sizeof(uint64_t);
  for (; at != end; at += 64) __builtin_prefetch(at);
}

/* Eight bytes of the key from byte `skip` on, as a number; zeros where the key has ended. */
static inline uint64_t delta_head(kl_slice key, size_t skip) {
  const unsigned char *bytes = key.data;
  if (key.size >= skip + 8) return kl_load_u64_be(bytes + skip);
  if (key.size <= skip) return 0;
  unsigned rest = (unsigned)(key.size - skip); /* 1 to 7 */
  if (key.size >= 8) return kl_load_u64_be(bytes + key.size - 8) << (8 * (8 - rest));
  uint64_t head = 0;
  for (unsigned i = 0; i < rest; i++) head |= (uint64_t)bytes[skip + i] << (8 * (7 - i));
  return head;
}

static inline uint64_t delta_probe_head(delta_probe *probe, const delta_node *node) {
  if (probe->skip != node->skip) {
    probe->skip = node->skip;
    probe->head = delta_head(probe->key, node->skip);
  }
  return probe->head;
}

static inline delta_probe delta_probe_make(kl_slice key) {
  delta_probe probe = {key, delta_head(key, 0), 0};
  return probe;
}

/* <0, 0, >0: the key sorts before all keys with the node's prefix, begins with it, or sorts after them. A key may
 * come to a node that does not cover it, when the reader met its parent in the middle of a change; this is what makes
 * that harmless. */
static inline int delta_node_prefix_order(const delta_node *node, kl_slice key) {
  size_t skip = node->skip;
  if (skip == 0) return 0;
  const unsigned char *bytes = key.data;
  for (size_t i = 0; i < 2 && key.size >= 8 * (i + 1); i++) { /* almost always all there is to compare */
    uint64_t part = kl_load_u64_be(bytes + 8 * i);
    if (skip < 8 * (i + 1)) part &= ~(UINT64_MAX >> (8 * (skip - 8 * i)));
    if (part != node->prefix_start[i]) return part < node->prefix_start[i] ? -1 : 1;
    if (skip <= 8 * (i + 1)) return 0;
  }
  size_t n = key.size < skip ? key.size : skip;
  int order = n != 0 ? memcmp(bytes, node->prefix, n) : 0;
  return order == 0 && key.size < skip ? -1 : order;
}

/* The first slot from `at` on whose key is not before the probe's (`upper`: is behind it), when all slots before `at`
 * are known to be before it. Settles equal heads by whole keys, and goes on to the right over what moved meanwhile. */
unsigned kl_delta_node_bound_from(const delta_node *node, const delta_probe *probe, uint64_t head, unsigned at,
                                  bool upper);

/* The number of slots whose head is below `head`; an inner node's first slot counts as below everything. Every slot
 * before the result was below at the moment it was read, and so it stays (DELTA-4); others may have become so
 * meanwhile. */
static inline unsigned delta_node_bound_heads(const delta_node *node, uint64_t head) {
  unsigned at = node->level != 0 ? 1 : 0;
  unsigned left = delta_node_count(node) - at;
  while (left > 1) { /* without branches: the outcome of each step is a coin toss */
    unsigned half = left / 2;
    at += delta_node_head(node, at + half - 1) < head ? half : 0;
    left -= half;
  }
  if (left == 1 && delta_node_head(node, at) < head) at++;
  return at;
}

/* The first slot of the node whose key is not before the probe's (`upper`: is behind it); `count` when there is none.
 * For an inner node at least 1. */
static inline unsigned delta_node_bound(const delta_node *node, delta_probe *probe, bool upper) {
  int order = delta_node_prefix_order(node, probe->key);
  if (order != 0) return order < 0 ? (node->level != 0 ? 1 : 0) : delta_node_count(node);
  uint64_t head = delta_probe_head(probe, node);
  return kl_delta_node_bound_from(node, probe, head, delta_node_bound_heads(node, head), upper);
}

/* The node to the right where the key belongs instead, or NULL when this node covers it. To be asked after the slots
 * were read: a key that was not found because a split took it away is then noticed, for the split announced itself
 * here before anything overwrote its slots. With `strict` the first key before the probe's is what is wanted: a node
 * that begins with just that key is no better. */
delta_node *kl_delta_node_beyond_slow(const delta_node *node, kl_slice key, bool strict);

static inline delta_node *delta_node_beyond(const delta_node *node, delta_probe *probe, bool strict) {
  uint64_t high = atomic_load_explicit(&node->high_head, memory_order_acquire);
  int order = delta_node_prefix_order(node, probe->key);
  if (order == 0 && delta_probe_head(probe, node) < high) return NULL;
  if (order < 0 && high != 0) return NULL;
  return kl_delta_node_beyond_slow(node, probe->key, strict);
}

/* --- for writers ------------------------------ */

/* False when the node is dead: what replaced it is its `next`. Waits for another writer's critical section. */
bool kl_delta_node_lock(delta_node *node);
void kl_delta_node_unlock(delta_node *node);

size_t kl_delta_node_bytes(unsigned capacity);

/* What a new node will hold: slots [begin, end) of a locked node, with one more put in, and perhaps one child
 * replaced. */
typedef struct delta_fill {
  const delta_node *from;
  unsigned begin, end;
  bool has_extra;
  unsigned extra_at; /* its index among the new node's slots */
  void *extra;       /* an entry, or a child */
  const delta_entry *extra_key;
  const delta_node *replaced; /* a child of `from`, or NULL */
  delta_node *replacement;
  const delta_entry *low, *high; /* the new node's bounds; NULL: none */
} delta_fill;

/* How many bytes the keys of such a node share as far as can be told: by its bounds, and where it has none by its
 * first and last key (a later key that does not fit makes its writer replace the node); 0 with fewer than two keys to
 * compare. */
uint32_t kl_delta_fill_skip(const delta_fill *fill);

/* Fills zeroed memory of kl_delta_node_bytes(capacity), aligned to 64, from a locked node. The new node's lock is
 * held, and it is not reachable yet. */
void kl_delta_node_fill(delta_node *node, unsigned capacity, uint32_t skip, const delta_fill *fill, delta_node *next);

/* An empty node without bounds, unlocked. */
void kl_delta_node_init(delta_node *node, unsigned capacity, unsigned level);

/* Puts a slot in at index `at`, under the lock, with room for it and a key that has the node's prefix. */
void kl_delta_node_put(delta_node *node, unsigned at, void *pointer, const delta_entry *key);

/* Makes `right` the neighbour of `node` and leaves `count` slots in it, under the lock. */
void kl_delta_node_truncate(delta_node *node, unsigned count, delta_node *right);

/* Takes the node out of use, under its lock: whoever stands in it or comes to it goes on in `replacement`. */
void kl_delta_node_retire(delta_node *node, delta_node *replacement);

#endif

/* Nodes come to have eight slots and more, whatever the order of insertion: room for 8^16 keys. */
enum { DELTA_TREE_LEVELS = 16 };

typedef struct delta_tree delta_tree;
struct delta_tree {
  _Atomic(delta_node *) root;
  uint32_t keyspace;
};

/* Where a delta's memory comes from. Apart, because a look-up reads many nodes and one entry: the nodes of a million
 * keys are some twenty megabytes, and stay in caches and in the TLB when they do not lie scattered among ten times as
 * many bytes of entries. */
typedef struct delta_memory {
  kl_shared_arena *nodes;
  kl_shared_arena *entries; /* keys, versions and values */
} delta_memory;

static inline delta_node *delta_tree_root(const delta_tree *tree) {
  /* Acquire: pairs with the release that made this node the root; its slots are visible. */
  return atomic_load_explicit(&tree->root, memory_order_acquire);
}

/* Down to the leaf for the key: in an inner node into the last child that begins at or before it (`strict`: before
 * it), and to the right where a node does not reach that far. May end too far to the left, when it met a change
 * half-way, and never too far to the right (DELTA-5); the search in the leaf goes on to the right by itself. */
static inline const delta_node *delta_tree_descend(const delta_tree *tree, delta_probe *probe, bool strict, bool scan) {
  const delta_node *node = delta_tree_root(tree);
  while (node->level != 0) {
    unsigned at = delta_node_bound(node, probe, !strict);
    if (at >= delta_node_count(node)) {
      const delta_node *right = delta_node_beyond(node, probe, strict);
      if (right != NULL) {
        node = right;
        continue;
      }
    }
    bool pointers = scan && node->level == 1;
    node = delta_node_pointer(node, at - 1);
    delta_node_prefetch(node, pointers);
  }
  return node;
}

/* Makes a tree with an empty leaf; NULL: no memory. */
delta_tree *kl_delta_tree_new(const delta_memory *memory, uint32_t keyspace);

/* The key's entry in this leaf, or NULL: then it may have moved to the right (delta_node_beyond). */
delta_entry *kl_delta_leaf_find(const delta_node *leaf, delta_probe *probe);

/* The same, and goes on to the right. */
delta_entry *kl_delta_leaf_find_right(const delta_node *leaf, delta_probe *probe);

/* The key's entry, or NULL. */
delta_entry *kl_delta_tree_find(const delta_tree *tree, kl_slice key);

/* The same for `count` keys at once, with their cache misses side by side. */
void kl_delta_tree_find_many(const delta_tree *tree, const kl_slice *keys, size_t count, delta_entry **out_entries);

/* Adds a version, and the key when it is new. *out_new_key, *out_new_version say what was added. KL_E_NO_MEMORY
 * leaves the tree as it was. The arguments are checked already. */
kl_status kl_delta_tree_insert(delta_tree *tree, const delta_memory *memory, kl_slice key, const kl_version *version,
                               bool *out_new_key, bool *out_new_version, kl_error *err);

/* The keyspace's tree; NULL while nothing was ever inserted into it. */
const delta_tree *kl_delta_find_tree(const kl_delta *delta, uint32_t keyspace);

#endif

enum { DELTA_SCAN_AHEAD = 8 }; /* how many entries ahead of a cursor are asked for */

void kl_delta_cursor_init(kl_delta_cursor *cursor, kl_delta *delta, uint32_t keyspace, uint64_t read_ts) {
  memset(cursor, 0, sizeof *cursor);
  cursor->delta = delta;
  cursor->keyspace = keyspace;
  cursor->read_ts = read_ts;
}

/* Is the entry whose head was read as `head` (from its slot in the leaf, before its pointer was) sure to lie before
 * the leaf's upper bound? Only then are the slots around it all that there is around it. */
static inline bool delta_leaf_holds(const delta_node *leaf, uint64_t head, const delta_entry *entry) {
  if (head < atomic_load_explicit(&leaf->high_head, memory_order_acquire)) return true;
  return kl_delta_node_beyond_slow(leaf, delta_entry_key(entry), false) == NULL;
}

static inline bool delta_cursor_stand(kl_delta_cursor *cursor, const delta_node *leaf, unsigned slot,
                                      delta_entry *entry) {
  cursor->leaf = leaf;
  cursor->slot = slot;
  cursor->entry = entry;
  return true;
}

/* The cursor has come to slot `at` from elsewhere: asks for the entries on one side of it, up to as far as the steps
 * that follow look ahead. */
static void delta_scan_begin(const delta_node *leaf, unsigned at, bool forward) {
  unsigned count = delta_node_count(leaf);
  for (unsigned i = 1; i <= DELTA_SCAN_AHEAD; i++) {
    if (forward ? at + i >= count : at < i) break;
    delta_entry_prefetch(delta_node_pointer(leaf, forward ? at + i : at - i));
  }
}

/* --- seeks: each stands on an entry, whatever its versions, and returns false when there is none
 * ------------------------------ */

/* The first key at or behind the probe's (`strict`: behind it), in this leaf or to the right of it. */
static bool delta_cursor_seek_right(kl_delta_cursor *cursor, const delta_node *leaf, delta_probe *probe, bool strict) {
  for (; leaf != NULL; leaf = delta_node_next(leaf)) {
    unsigned at = delta_node_bound(leaf, probe, strict);
    delta_scan_begin(leaf, at, true);
    for (; at < delta_node_count(leaf); at++) {
      uint64_t head = delta_node_head(leaf, at);
      delta_entry *entry = delta_node_pointer(leaf, at);
      int order = kl_slice_compare(delta_entry_key(entry), probe->key);
      if (order < 0 || (strict && order == 0)) continue; /* moved here since the bound was found */
      if (delta_leaf_holds(leaf, head, entry)) return delta_cursor_stand(cursor, leaf, at, entry);
      break; /* it belongs to a neighbour by now, where keys may have come before it */
    }
  }
  return false;
}

/* The last key before `key`, or at it when `equal`. */
static bool delta_cursor_seek_before(kl_delta_cursor *cursor, kl_slice key, bool equal) {
  delta_probe probe = delta_probe_make(key);
  const delta_node *leaf = delta_tree_descend(cursor->tree, &probe, !equal, true);
  for (;;) {
    delta_entry *entry = NULL;
    unsigned at = delta_node_bound(leaf, &probe, equal);
    if (at > 1) delta_scan_begin(leaf, at - 1, false);
    for (;;) {
      if (at != 0) entry = delta_node_pointer(leaf, at - 1);
      /* A slot is written on the right before it is overwritten on the left. So if what stood before `at` had moved
       * when we read its place, looking at `at` again shows it there, and we go on to the right. */
      unsigned again = delta_node_bound(leaf, &probe, equal);
      if (again == at) break;
      at = again;
    }
    const delta_node *right = delta_node_beyond(leaf, &probe, !equal);
    if (right == NULL) {
      /* DELTA-6: a leaf with a lower bound begins with it, so only the leftmost one has nothing before the key. */
      KL_ASSERT(at != 0 || leaf->low == NULL);
      return at != 0 && delta_cursor_stand(cursor, leaf, at - 1, entry);
    }
    leaf = right;
  }
}

static bool delta_cursor_seek_last(kl_delta_cursor *cursor) {
  const delta_node *node = delta_tree_root(cursor->tree);
  for (;;) {
    const delta_node *right = delta_node_next(node);
    unsigned count = delta_node_count(node);
    if (right != NULL) {
      node = right;
    } else if (node->level != 0) {
      node = delta_node_pointer(node, count - 1);
    } else {
      delta_entry *entry = count != 0 ? delta_node_pointer(node, count - 1) : NULL;
      /* An insertion makes `count` larger before it moves slots, and a split names its neighbour before it makes
       * `count` smaller: with both unchanged, what we read was the last. */
      if (delta_node_count(node) != count || delta_node_next(node) != NULL) continue;
      return entry != NULL && delta_cursor_stand(cursor, node, count - 1, entry);
    }
  }
}

/* --- steps
 * ---------------------------------------------------------------------------------------------------------- */

/* The slot of the cursor's entry in its leaf; `count` or more when a split took it away. */
static inline unsigned delta_cursor_slot(const kl_delta_cursor *cursor) {
  unsigned at = cursor->slot;
  while (delta_node_pointer(cursor->leaf, at) != cursor->entry) {
    if (++at >= delta_node_count(cursor->leaf)) break;
  }
  return at;
}

static inline bool delta_cursor_step_right(kl_delta_cursor *cursor) {
  const delta_node *leaf = cursor->leaf;
  for (;;) {
    unsigned at = delta_cursor_slot(cursor), count = delta_node_count(leaf);
    if (at + 1 >= count) break;
    uint64_t head = delta_node_head(leaf, at + 1);
    delta_entry *entry = delta_node_pointer(leaf, at + 1);
    if (entry == cursor->entry) { /* it is just being moved, and stays at least there */
      cursor->slot = at + 1;
      continue;
    }
    /* Ours is still where it was, so it was so when we read the slot behind it. */
    if (delta_node_pointer(leaf, at) != cursor->entry) continue;
    if (!delta_leaf_holds(leaf, head, entry)) break;
    if (at + 1 + DELTA_SCAN_AHEAD < count) {
      delta_entry_prefetch(delta_node_pointer(leaf, at + 1 + DELTA_SCAN_AHEAD));
    } else if (at + 1 + DELTA_SCAN_AHEAD == count) { /* soon through: the next leaf */
      const delta_node *right = delta_node_next(leaf);
      if (right != NULL) delta_node_prefetch(right, true);
    }
    return delta_cursor_stand(cursor, leaf, at + 1, entry);
  }
  delta_probe probe = delta_probe_make(delta_entry_key(cursor->entry));
  return delta_cursor_seek_right(cursor, leaf, &probe, true);
}

static inline bool delta_cursor_step_left(kl_delta_cursor *cursor) {
  const delta_node *leaf = cursor->leaf;
  for (;;) {
    unsigned at = delta_cursor_slot(cursor);
    if (at == 0 || at >= delta_node_count(leaf)) break; /* what comes before lies in another leaf */
    uint64_t head = delta_node_head(leaf, at);
    delta_entry *entry = delta_node_pointer(leaf, at - 1);
    if (delta_node_pointer(leaf, at) != cursor->entry) continue; /* moved: what we read may have moved too */
    if (entry == cursor->entry) { /* it is just being moved, and we stood on its new place */
      cursor->slot = at - 1;
      continue;
    }
    if (!delta_leaf_holds(leaf, head, cursor->entry)) break;
    if (at > DELTA_SCAN_AHEAD) delta_entry_prefetch(delta_node_pointer(leaf, at - 1 - DELTA_SCAN_AHEAD));
    return delta_cursor_stand(cursor, leaf, at - 1, entry);
  }
  return delta_cursor_seek_before(cursor, delta_entry_key(cursor->entry), false);
}

/* --- what is visible
 * ------------------------------------------------------------------------------------------------- */

/* Shows the entry that the cursor stands on; false when none of its versions is visible. */
static inline bool delta_cursor_show(kl_delta_cursor *cursor) {
  const delta_entry *entry = cursor->entry;
  const delta_version *version = delta_entry_visible(entry, cursor->read_ts);
  if (version == NULL) return false;
  cursor->key = delta_entry_key(entry);
  delta_version_export(version, &cursor->version);
  return true;
}

/* From the entry that the cursor stands on, if it does (`standing`), to the first visible one that way. */
static void delta_cursor_settle(kl_delta_cursor *cursor, bool standing, bool forward) {
  while (standing && !delta_cursor_show(cursor)) {
    standing = forward ? delta_cursor_step_right(cursor) : delta_cursor_step_left(cursor);
  }
  cursor->valid = standing;
}

/* False while nothing was ever inserted into the keyspace. */
static bool delta_cursor_find_tree(kl_delta_cursor *cursor) {
  cursor->valid = false;
  if (cursor->tree == NULL) cursor->tree = kl_delta_find_tree(cursor->delta, cursor->keyspace);
  return cursor->tree != NULL;
}

void kl_delta_cursor_seek_ge(kl_delta_cursor *cursor, kl_slice key) {
  if (!delta_cursor_find_tree(cursor)) return;
  delta_probe probe = delta_probe_make(key);
  const delta_node *leaf = delta_tree_descend(cursor->tree, &probe, false, true);
  delta_cursor_settle(cursor, delta_cursor_seek_right(cursor, leaf, &probe, false), true);
}

void kl_delta_cursor_seek_le(kl_delta_cursor *cursor, kl_slice key) {
  if (!delta_cursor_find_tree(cursor)) return;
  delta_cursor_settle(cursor, delta_cursor_seek_before(cursor, key, true), false);
}

void kl_delta_cursor_first(kl_delta_cursor *cursor) {
  kl_delta_cursor_seek_ge(cursor, kl_slice_make("", 0)); /* the empty key sorts before all others */
}

void kl_delta_cursor_last(kl_delta_cursor *cursor) {
  if (!delta_cursor_find_tree(cursor)) return;
  delta_cursor_settle(cursor, delta_cursor_seek_last(cursor), false);
}

void kl_delta_cursor_next(kl_delta_cursor *cursor) {
  if (cursor->valid) delta_cursor_settle(cursor, delta_cursor_step_right(cursor), true);
}

void kl_delta_cursor_prev(kl_delta_cursor *cursor) {
  if (cursor->valid) delta_cursor_settle(cursor, delta_cursor_step_left(cursor), false);
}

/* ---- core/delta/delta.c ---- */
/* core/delta/delta.c: the face of the delta: life, keyspaces, versions by key. See delta.h and README.md. */

/* The trees are found by keyspace in a radix tree of four bits a level, from the lowest bits, because the catalogue
 * gives ids in sequence. A slot is NULL, a tree, or (lowest bit set) a further table; it only ever goes in that
 * order. */
enum { DELTA_FAN = 16, DELTA_FAN_BITS = 4 };

typedef struct delta_table {
  _Atomic uintptr_t slot[DELTA_FAN];
} delta_table;

enum { DELTA_COUNT_KEYS, DELTA_COUNT_VERSIONS };

struct kl_delta {
  kl_counters counters;
  delta_table trees;
  kl_allocator *allocator;
  delta_memory memory;
  _Atomic uint64_t references;
};

static void delta_free(kl_delta *delta) {
  kl_shared_arena_free(delta->memory.nodes);
  kl_shared_arena_free(delta->memory.entries);
  kl_free(delta->allocator, delta, sizeof *delta);
}

kl_status kl_delta_new(kl_allocator *allocator, kl_delta **out_delta, kl_error *err) {
  kl_delta *delta = kl_alloc_aligned(allocator, sizeof *delta, _Alignof(kl_delta));
  if (delta == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a delta (%zu bytes)", sizeof *delta);
  delta->allocator = allocator;
  atomic_init(&delta->references, 1);
  kl_status status = kl_shared_arena_new(allocator, &delta->memory.nodes, err);
  if (status == KL_OK) status = kl_shared_arena_new(allocator, &delta->memory.entries, err);
  if (status != KL_OK) {
    delta_free(delta);
    return status;
  }
  *out_delta = delta;
  return KL_OK;
}

void kl_delta_ref(kl_delta *delta) {
  /* Relaxed: the caller has a reference already. */
  uint64_t before = atomic_fetch_add_explicit(&delta->references, 1, memory_order_relaxed);
  KL_ASSERT(before != 0);
  (void)before;
}

void kl_delta_unref(kl_delta *delta) {
  if (delta == NULL) return;
  /* Release: our use of the delta ends before; acquire: the one that frees has seen all others end. */
  uint64_t before = atomic_fetch_sub_explicit(&delta->references, 1, memory_order_acq_rel);
  KL_ASSERT(before != 0);
  if (before != 1) return;
  delta_free(delta);
}

/* --- keyspaces
 * ------------------------------------------------------------------------------------------------------ */

static uint32_t delta_table_index(uint32_t keyspace, unsigned depth) {
  return keyspace >> (DELTA_FAN_BITS * depth) & (DELTA_FAN - 1);
}

static delta_tree *delta_find_tree(const kl_delta *delta, uint32_t keyspace) {
  const delta_table *table = &delta->trees;
  for (unsigned depth = 0;; depth++) {
    /* Acquire: pairs with the release that stored the slot; the tree or table is visible. */
    uintptr_t slot = atomic_load_explicit(&table->slot[delta_table_index(keyspace, depth)], memory_order_acquire);
    if ((slot & 1) == 0) {
      delta_tree *tree = (delta_tree *)slot;
      return tree != NULL && tree->keyspace == keyspace ? tree : NULL;
    }
    table = (const delta_table *)(slot - 1);
  }
}

const delta_tree *kl_delta_find_tree(const kl_delta *delta, uint32_t keyspace) {
  return delta_find_tree(delta, keyspace);
}

/* The same, and makes the tree when there is none; NULL: no memory. */
static delta_tree *delta_make_tree(kl_delta *delta, uint32_t keyspace) {
  delta_tree *made = NULL;
  delta_table *table = &delta->trees;
  unsigned depth = 0;
  for (;;) {
    _Atomic uintptr_t *slot = &table->slot[delta_table_index(keyspace, depth)];
    uintptr_t there = atomic_load_explicit(slot, memory_order_acquire);
    if ((there & 1) != 0) {
      table = (delta_table *)(there - 1);
      depth++;
      continue;
    }
    delta_tree *tree = (delta_tree *)there;
    if (tree != NULL && tree->keyspace == keyspace) return tree;
    uintptr_t wanted;
    if (tree == NULL) {
      if (made == NULL) made = kl_delta_tree_new(&delta->memory, keyspace);
      wanted = (uintptr_t)made;
    } else { /* another keyspace: both go one table further */
      delta_table *further = kl_shared_arena_alloc(delta->memory.nodes, 0, sizeof *further, 16);
      if (further != NULL) {
        atomic_store_explicit(&further->slot[delta_table_index(tree->keyspace, depth + 1)], there,
                              memory_order_relaxed);
      }
      wanted = further != NULL ? (uintptr_t)further + 1 : 0;
    }
    if (wanted == 0) return NULL;
    /* Release publishes the tree or table. On failure another thread was faster, and we look again at what it made. */
    atomic_compare_exchange_strong_explicit(slot, &there, wanted, memory_order_release, memory_order_relaxed);
  }
}

/* --- versions
 * ------------------------------------------------------------------------------------------------------- */

kl_status kl_delta_insert(kl_delta *delta, uint32_t keyspace, kl_slice key, const kl_version *version, kl_error *err) {
  kl_status status = kl_delta_version_check(key, version, err);
  if (status != KL_OK) return status;
  delta_tree *tree = delta_find_tree(delta, keyspace);
  if (tree == NULL) tree = delta_make_tree(delta, keyspace);
  if (tree == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for keyspace %u in the delta", (unsigned)keyspace);
  bool new_key, new_version;
  status = kl_delta_tree_insert(tree, &delta->memory, key, version, &new_key, &new_version, err);
  if (status != KL_OK) return status;
  if (new_key) kl_counters_add(&delta->counters, DELTA_COUNT_KEYS, 1);
  if (new_version) kl_counters_add(&delta->counters, DELTA_COUNT_VERSIONS, 1);
  return KL_OK;
}

static const delta_version *delta_find_version(const kl_delta *delta, uint32_t keyspace, kl_slice key,
                                               uint64_t read_ts) {
  const delta_tree *tree = delta_find_tree(delta, keyspace);
  const delta_entry *entry = tree != NULL ? kl_delta_tree_find(tree, key) : NULL;
  return entry != NULL ? delta_entry_visible(entry, read_ts) : NULL;
}

bool kl_delta_get(kl_delta *delta, uint32_t keyspace, kl_slice key, uint64_t read_ts, kl_version *out_version) {
  const delta_version *version = delta_find_version(delta, keyspace, key, read_ts);
  if (version == NULL) return false;
  delta_version_export(version, out_version);
  return true;
}

void kl_delta_get_many(kl_delta *delta, uint32_t keyspace, const kl_slice *keys, size_t count, uint64_t read_ts,
                       kl_version *out_versions) {
  enum { DELTA_MANY = 64 };
  const delta_tree *tree = delta_find_tree(delta, keyspace);
  for (size_t begin = 0; begin < count; begin += DELTA_MANY) {
    size_t n = count - begin < DELTA_MANY ? count - begin : DELTA_MANY;
    delta_entry *entries[DELTA_MANY] = {NULL};
    if (tree != NULL) kl_delta_tree_find_many(tree, keys + begin, n, entries);
    for (size_t i = 0; i < n; i++) {
      const delta_version *version = entries[i] != NULL ? delta_entry_visible(entries[i], read_ts) : NULL;
      out_versions[begin + i] = (kl_version){0, KL_VERSION_PUT, {NULL, 0}};
      if (version != NULL) delta_version_export(version, &out_versions[begin + i]);
    }
  }
}

uint64_t kl_delta_newest_ts(kl_delta *delta, uint32_t keyspace, kl_slice key) {
  const delta_version *version = delta_find_version(delta, keyspace, key, UINT64_MAX);
  return version != NULL ? version->ts : 0;
}

void kl_delta_get_stats(const kl_delta *delta, kl_delta_stats *out_stats) {
  out_stats->keys = kl_counters_sum(&delta->counters, DELTA_COUNT_KEYS);
  out_stats->versions = kl_counters_sum(&delta->counters, DELTA_COUNT_VERSIONS);
  out_stats->bytes =
      sizeof *delta + kl_shared_arena_bytes(delta->memory.nodes) + kl_shared_arena_bytes(delta->memory.entries);
}

/* ---- core/delta/node.c ---- */
/* core/delta/node.c: the longer half of node.h: ties, bounds, and all that writers do to one node. */

enum { DELTA_LOCK_SPINS = 64 }; /* a critical section is some tens of stores; past that its owner has lost its CPU */

_Static_assert(offsetof(delta_node, heads) == 64, "the header is one cache line");

/* Slot `i` against the probe, by whole keys. */
static int delta_slot_compare(const delta_node *node, unsigned i, const delta_probe *probe) {
  return kl_slice_compare(delta_entry_key(delta_node_slot_entry(node, i)), probe->key);
}

/* Among slots from `at` on that have this head: skips those before the probe (`upper`: or at it), by bisection,
 * because a comparison of whole keys is a cache miss. Slots before the result are before the probe and stay so. */
static unsigned delta_node_skip_ties(const delta_node *node, const delta_probe *probe, uint64_t head, unsigned at,
                                     unsigned count, bool upper) {
  unsigned end = at + 1;
  while (end < count && delta_node_head(node, end) == head) end++;
  while (at < end) {
    unsigned middle = at + (end - at) / 2;
    int order = delta_slot_compare(node, middle, probe);
    if (order < 0 || (upper && order == 0)) {
      at = middle + 1;
    } else {
      end = middle;
    }
  }
  return at;
}

unsigned kl_delta_node_bound_from(const delta_node *node, const delta_probe *probe, uint64_t head, unsigned at,
                                  bool upper) {
  for (;;) {
    unsigned count = delta_node_count(node);
    if (at >= count) return at;
    uint64_t there = delta_node_head(node, at);
    if (there > head) return at;
    if (there < head) {
      at++; /* moved here since the bisection */
      continue;
    }
    unsigned after = delta_node_skip_ties(node, probe, head, at, count, upper);
    if (after == at) return at;
    at = after;
  }
}

delta_node *kl_delta_node_beyond_slow(const delta_node *node, kl_slice key, bool strict) {
  delta_node *next = delta_node_next(node);
  if (next == NULL) return NULL;
  if (next->low == NULL) return next; /* the replacement of a dead leftmost node */
  int order = kl_slice_compare(key, delta_entry_key(next->low));
  return order > 0 || (order == 0 && !strict) ? next : NULL;
}

/* --- for writers ------------------------------ */

bool kl_delta_node_lock(delta_node *node) {
  for (unsigned spins = 0;; spins++) {
    /* Acquire, both: what the last holder wrote is visible; of a dead node, its replacement. */
    uint32_t state = atomic_load_explicit(&node->lock, memory_order_acquire);
    if (state == DELTA_LOCK_FREE && atomic_compare_exchange_weak_explicit(&node->lock, &state, DELTA_LOCK_HELD,
                                                                          memory_order_acquire, memory_order_relaxed)) {
      return true;
    }
    if (state == DELTA_LOCK_DEAD) return false;
    if (spins % DELTA_LOCK_SPINS == DELTA_LOCK_SPINS - 1) kl_thread_yield();
  }
}

void kl_delta_node_unlock(delta_node *node) {
  KL_ASSERT(atomic_load_explicit(&node->lock, memory_order_relaxed) == DELTA_LOCK_HELD);
  /* Release: what we wrote is visible to the next holder. */
  atomic_store_explicit(&node->lock, DELTA_LOCK_FREE, memory_order_release);
}

size_t kl_delta_node_bytes(unsigned capacity) {
  return offsetof(delta_node, heads) + capacity * (sizeof(uint64_t) + sizeof(void *));
}

void kl_delta_node_init(delta_node *node, unsigned capacity, unsigned level) {
  node->capacity = (uint16_t)capacity;
  node->level = (uint8_t)level;
  atomic_init(&node->high_head, UINT64_MAX);
}

static void delta_slot_store(delta_node *node, unsigned i, void *pointer, uint64_t head) {
  /* Release, and the pointer first (DELTA-4): a reader that sees this slot sees what the pointer shows to, and all
   * stores to the slots right of it. */
  atomic_store_explicit(&delta_node_pointers(node)[i], pointer, memory_order_release);
  atomic_store_explicit(&node->heads[i], head, memory_order_release);
}

void kl_delta_node_put(delta_node *node, unsigned at, void *pointer, const delta_entry *key) {
  unsigned count = delta_node_count(node);
  KL_ASSERT(count < node->capacity && at <= count);
  KL_ASSERT(delta_node_prefix_order(node, delta_entry_key(key)) == 0);
  uint64_t head = delta_head(delta_entry_key(key), node->skip);
  if (at == count) {
    delta_slot_store(node, at, pointer, head);
    atomic_store_explicit(&node->count, (uint16_t)(count + 1), memory_order_release);
  } else {
    delta_slot_store(node, count, delta_node_pointer(node, count - 1), delta_node_head(node, count - 1));
    /* Before anything moves away from the old last slot, readers must look at the new one. */
    atomic_store_explicit(&node->count, (uint16_t)(count + 1), memory_order_release);
    for (unsigned i = count - 1; i > at; i--) {
      delta_slot_store(node, i, delta_node_pointer(node, i - 1), delta_node_head(node, i - 1));
    }
    delta_slot_store(node, at, pointer, head);
  }
  bool continues = at == node->last || at == node->last + 1u;
  node->run = (uint8_t)(!continues ? 0 : node->run < UINT8_MAX ? node->run + 1 : UINT8_MAX);
  node->last = (uint16_t)at;
}

void kl_delta_node_truncate(delta_node *node, unsigned count, delta_node *right) {
  uint64_t head = delta_head(delta_entry_key(right->low), node->skip);
  /* Release, in this order: who finds slots overwritten or gone finds the bound, and who finds the bound the
   * neighbour. */
  atomic_store_explicit(&node->next, right, memory_order_release);
  atomic_store_explicit(&node->high_head, head, memory_order_release);
  atomic_store_explicit(&node->count, (uint16_t)count, memory_order_release);
}

void kl_delta_node_retire(delta_node *node, delta_node *replacement) {
  atomic_store_explicit(&node->next, replacement, memory_order_release);
  atomic_store_explicit(&node->high_head, 0, memory_order_release);
  /* Release: a writer that finds the node dead finds the replacement. */
  atomic_store_explicit(&node->lock, DELTA_LOCK_DEAD, memory_order_release);
}

/* --- new nodes
 * ------------------------------------------------------------------------------------------------------ */

static unsigned delta_fill_count(const delta_fill *fill) {
  return fill->end - fill->begin + (fill->has_extra ? 1 : 0);
}

/* The k-th slot of the new node: its pointer and (nullable) its key. */
static void *delta_fill_slot(const delta_fill *fill, unsigned k, const delta_entry **out_key) {
  if (fill->has_extra && k == fill->extra_at) {
    *out_key = fill->extra_key;
    return fill->extra;
  }
  unsigned i = fill->begin + k - (fill->has_extra && k > fill->extra_at ? 1 : 0);
  *out_key = delta_node_slot_entry(fill->from, i);
  void *pointer = delta_node_pointer(fill->from, i);
  return pointer == fill->replaced ? fill->replacement : pointer;
}

uint32_t kl_delta_fill_skip(const delta_fill *fill) {
  const delta_entry *first = fill->low, *last = fill->high;
  unsigned count = delta_fill_count(fill);
  unsigned begin = fill->from->level != 0 ? 1 : 0; /* an inner node's first slot stands for everything below */
  if (first == NULL && begin < count) delta_fill_slot(fill, begin, &first);
  if (last == NULL && begin < count) delta_fill_slot(fill, count - 1, &last);
  if (first == NULL || last == NULL || first == last) return 0;
  return delta_entry_same(first, last);
}

static void delta_node_set_prefix(delta_node *node, uint32_t skip, const delta_entry *key) {
  node->skip = skip;
  if (skip == 0) return;
  node->prefix = key->key;
  for (uint32_t i = 0; i < 2; i++) {
    uint64_t part = delta_head(delta_entry_key(key), 8 * (size_t)i);
    if (skip <= 8 * i) {
      part = 0;
    } else if (skip < 8 * (i + 1)) {
      part &= ~(UINT64_MAX >> (8 * (skip - 8 * i)));
    }
    node->prefix_start[i] = part;
  }
}

void kl_delta_node_fill(delta_node *node, unsigned capacity, uint32_t skip, const delta_fill *fill, delta_node *next) {
  unsigned count = delta_fill_count(fill);
  KL_ASSERT(count <= capacity);
  kl_delta_node_init(node, capacity, fill->from->level);
  unsigned begin = node->level != 0 ? 1 : 0;
  const delta_entry *key = fill->low;
  if (key == NULL && begin < count) delta_fill_slot(fill, begin, &key);
  KL_ASSERT(key != NULL);
  node->low = fill->low;
  delta_node_set_prefix(node, skip, key); /* any of its keys has the prefix */
  for (unsigned k = 0; k < count; k++) {
    void *pointer = delta_fill_slot(fill, k, &key);
    KL_ASSERT(k < begin || delta_node_prefix_order(node, delta_entry_key(key)) == 0); /* DELTA-3 */
    uint64_t head = k >= begin ? delta_head(delta_entry_key(key), skip) : 0;
    /* Relaxed, as all below: whoever makes the node reachable publishes it. */
    atomic_store_explicit(&delta_node_pointers(node)[k], pointer, memory_order_relaxed);
    atomic_store_explicit(&node->heads[k], head, memory_order_relaxed);
  }
  uint64_t high = fill->high != NULL ? delta_head(delta_entry_key(fill->high), skip) : UINT64_MAX;
  atomic_store_explicit(&node->count, (uint16_t)count, memory_order_relaxed);
  atomic_store_explicit(&node->next, next, memory_order_relaxed);
  atomic_store_explicit(&node->high_head, high, memory_order_relaxed);
  atomic_store_explicit(&node->lock, DELTA_LOCK_HELD, memory_order_relaxed);
  /* A run of insertions goes on where its last one went. */
  node->run = fill->has_extra ? fill->from->run : 0;
  node->last = (uint16_t)(fill->has_extra ? fill->extra_at : 0);
}

/* ---- core/delta/tree_insert.c ---- */
/* core/delta/tree_insert.c: insertion into a tree. See tree.h, node.h and README.md ("How a writer works").
 *
 * A writer finds its leaf as a reader does, locks it and puts the key in. When nodes must be split or replaced, it
 * first locks all that are concerned, from the leaf upwards, and makes all new nodes (the plan, which can fail for
 * want of memory and has then changed nothing); then it publishes them, again from the leaf upwards. Locks are only
 * ever taken upwards and, on one level, to the right (DELTA-7), so that no two writers wait for each other in a
 * circle. */

enum { DELTA_RUN = 8 }; /* so many insertions in a row at one place count as sequential */

typedef enum delta_action {
  DELTA_PUT,     /* there is room */
  DELTA_REPLACE, /* by one new node: larger, or with another prefix */
  DELTA_SPLIT,   /* `right` takes a part; the node keeps the rest, or `left` replaces it */
  DELTA_SWAP     /* nothing to put in: a child was replaced */
} delta_action;

typedef struct delta_step {
  delta_action action;
  delta_node *node; /* locked */
  unsigned at;      /* where the new slot goes in `node` */
  void *pointer;    /* the new slot: an entry or a child, and its key */
  const delta_entry *key;
  delta_node *replaced, *replacement; /* a child that was replaced one level below, or NULL */
  delta_node *left, *right;           /* new nodes, locked and filled */
  unsigned cut;                       /* SPLIT: how many slots stay on the left */
  bool put_right;                     /* SPLIT: the new slot went to `right` */
} delta_step;

typedef struct delta_plan {
  delta_tree *tree;
  const delta_memory *memory;
  delta_node *root;                    /* the new root, when there is to be one */
  delta_node *path[DELTA_TREE_LEVELS]; /* the way down; NULL above the root of that time */
  unsigned steps;
  delta_step step[DELTA_TREE_LEVELS]; /* the first `steps` are initialised */
} delta_plan;

/* All from one shard: nodes are made rarely, and lie close together this way, on few pages. */
static delta_node *delta_node_alloc(const delta_memory *memory, unsigned capacity) {
  return kl_shared_arena_alloc(memory->nodes, 0, kl_delta_node_bytes(capacity), 64);
}

delta_tree *kl_delta_tree_new(const delta_memory *memory, uint32_t keyspace) {
  delta_tree *tree = kl_shared_arena_alloc(memory->nodes, 0, sizeof *tree, 16);
  delta_node *leaf = delta_node_alloc(memory, DELTA_NODE_FIRST_SLOTS);
  if (tree == NULL || leaf == NULL) return NULL;
  kl_delta_node_init(leaf, DELTA_NODE_FIRST_SLOTS, 0);
  tree->keyspace = keyspace;
  atomic_store_explicit(&tree->root, leaf, memory_order_relaxed); /* published with the tree */
  return tree;
}

/* Locks the node that covers the key, beginning with one that is it or lies to the left of it. */
static delta_node *delta_lock_covering(delta_node *node, delta_probe *probe) {
  for (;;) {
    if (kl_delta_node_lock(node)) {
      delta_node *right = delta_node_beyond(node, probe, false);
      if (right == NULL) return node;
      kl_delta_node_unlock(node); /* before the next: holding one lock is enough to walk, as nodes are never freed */
      node = right;
    } else {
      node = delta_node_next(node);
    }
  }
}

static delta_node *delta_lock_parent(delta_plan *plan, unsigned level, delta_probe *probe) {
  delta_node *node = plan->path[level];
  if (node == NULL) { /* the tree has grown since we came down */
    node = delta_tree_root(plan->tree);
    while (node->level > level) {
      delta_node *right = delta_node_beyond(node, probe, false);
      node = right != NULL ? right : delta_node_pointer(node, delta_node_bound(node, probe, true) - 1);
    }
  }
  return delta_lock_covering(node, probe);
}

static delta_node *delta_plan_node(delta_plan *plan, unsigned capacity) {
  return delta_node_alloc(plan->memory, capacity);
}

static const delta_entry *delta_node_high(const delta_node *node) {
  const delta_node *next = delta_node_next(node);
  return next != NULL ? next->low : NULL;
}

static delta_fill delta_step_fill(const delta_step *step, unsigned begin, unsigned end, bool has_extra) {
  delta_fill fill = {.from = step->node,
                     .begin = begin,
                     .end = end,
                     .has_extra = has_extra,
                     .extra_at = step->at - begin,
                     .extra = step->pointer,
                     .extra_key = step->key,
                     .replaced = step->replaced,
                     .replacement = step->replacement,
                     .low = step->node->low,
                     .high = delta_node_high(step->node)};
  return fill;
}

/* Would the new slot of an inner node have the head of a neighbour, and could another prefix tell them apart? */
static bool delta_step_wants_prefix(const delta_step *step) {
  const delta_node *node = step->node;
  if (node->level == 0) return false; /* leaves fill up soon, and are looked at when they split */
  uint64_t head = delta_head(delta_entry_key(step->key), node->skip);
  unsigned count = delta_node_count(node);
  bool tied = (step->at > 1 && delta_node_head(node, step->at - 1) == head) ||
              (step->at < count && delta_node_head(node, step->at) == head);
  if (!tied) return false;
  delta_fill fill = delta_step_fill(step, 0, count, true);
  return kl_delta_fill_skip(&fill) > node->skip;
}

static void delta_step_choose(delta_step *step) {
  const delta_node *node = step->node;
  bool full = delta_node_count(node) == node->capacity;
  if (full && node->capacity == DELTA_NODE_SLOTS) {
    step->action = DELTA_SPLIT;
  } else if (!full && delta_node_prefix_order(node, delta_entry_key(step->key)) == 0 &&
             !delta_step_wants_prefix(step)) {
    step->action = DELTA_PUT;
  } else {
    step->action = DELTA_REPLACE;
  }
}

/* Where to cut a full node: in the middle; but where insertions are sequential, at the place where they go on, so
 * that the nodes they leave behind are full. */
static void delta_step_choose_cut(delta_step *step) {
  const delta_node *node = step->node;
  unsigned count = delta_node_count(node), at = step->at;
  bool sequential = node->run >= DELTA_RUN && (at == node->last || at == node->last + 1u);
  bool appending = delta_node_next(node) == NULL && at >= count - count / 8;
  step->cut = sequential || appending ? at : count / 2;
  step->put_right = appending || step->cut == count || at > step->cut;
}

static bool delta_step_ties(const delta_node *node, unsigned count) {
  unsigned ties = 0;
  for (unsigned i = node->level != 0 ? 2 : 1; i < count; i++) {
    ties += delta_node_head(node, i) == delta_node_head(node, i - 1);
  }
  return ties > count / 8;
}

static bool delta_plan_replace(delta_plan *plan, delta_step *step) {
  delta_node *node = step->node;
  unsigned count = delta_node_count(node);
  unsigned capacity = count < node->capacity ? node->capacity : node->capacity * 2u;
  step->left = delta_plan_node(plan, capacity);
  if (step->left == NULL) return false;
  delta_fill fill = delta_step_fill(step, 0, count, true);
  kl_delta_node_fill(step->left, capacity, kl_delta_fill_skip(&fill), &fill, delta_node_next(node));
  return true;
}

static bool delta_plan_split(delta_plan *plan, delta_step *step) {
  delta_node *node = step->node;
  delta_step_choose_cut(step);
  step->right = delta_plan_node(plan, DELTA_NODE_SLOTS);
  if (step->right == NULL) return false;
  delta_fill fill = delta_step_fill(step, step->cut, delta_node_count(node), step->put_right);
  fill.low = step->put_right && step->at == step->cut ? step->key : delta_node_slot_entry(node, step->cut);
  uint32_t skip = kl_delta_fill_skip(&fill);
  if (step->put_right && step->cut == delta_node_count(node) && fill.high == NULL) {
    /* One key and no upper bound say nothing. Keys that are appended mostly go on as those before them, up to a byte in
     * which a number carries over; one that does not makes its writer replace the node. */
    uint32_t same = delta_entry_same(delta_node_slot_entry(node, node->level != 0 ? 1 : 0), step->key);
    skip = same > 0 ? same - 1 : 0;
  }
  kl_delta_node_fill(step->right, DELTA_NODE_SLOTS, skip, &fill, delta_node_next(node));
  /* The left half now has an upper bound, and with it perhaps a longer prefix. */
  fill = delta_step_fill(step, 0, step->cut, !step->put_right);
  fill.high = step->right->low;
  skip = kl_delta_fill_skip(&fill);
  bool fits = step->put_right || delta_node_prefix_order(node, delta_entry_key(step->key)) == 0;
  if (fits && !(skip > node->skip && delta_step_ties(node, step->cut))) return true;
  step->left = delta_plan_node(plan, DELTA_NODE_SLOTS);
  if (step->left == NULL) return false;
  kl_delta_node_fill(step->left, DELTA_NODE_SLOTS, skip, &fill, step->right);
  return true;
}

static bool delta_plan_root(delta_plan *plan, const delta_step *top) {
  delta_node *child = top->left != NULL ? top->left : top->node;
  plan->root = delta_plan_node(plan, DELTA_NODE_SLOTS);
  if (plan->root == NULL) return false;
  kl_delta_node_init(plan->root, DELTA_NODE_SLOTS, child->level + 1u);
  /* Not reachable yet: plain puts. The first slot of an inner node has no key (node.h). */
  atomic_store_explicit(&delta_node_pointers(plan->root)[0], child, memory_order_relaxed);
  atomic_store_explicit(&plan->root->count, 1, memory_order_relaxed);
  kl_delta_node_put(plan->root, 1, top->right, top->right->low);
  return true;
}

/* Completes the plan from its first step, whose node, place and new slot are given. False: no memory. */
static bool delta_plan_make(delta_plan *plan) {
  for (;;) {
    delta_step *step = &plan->step[plan->steps - 1];
    if (step->action != DELTA_SWAP) delta_step_choose(step);
    if (step->action == DELTA_PUT || step->action == DELTA_SWAP) return true;
    if (step->action == DELTA_REPLACE ? !delta_plan_replace(plan, step) : !delta_plan_split(plan, step)) return false;
    /* Only who holds the lock of the root makes another node the root. */
    if (atomic_load_explicit(&plan->tree->root, memory_order_relaxed) == step->node) {
      return step->action == DELTA_REPLACE || delta_plan_root(plan, step);
    }
    KL_ASSERT(plan->steps < DELTA_TREE_LEVELS);
    if (plan->steps == DELTA_TREE_LEVELS) return false;
    delta_step *upper = &plan->step[plan->steps];
    memset(upper, 0, sizeof *upper);
    const delta_entry *key = step->action == DELTA_SPLIT ? step->right->low : step->key;
    delta_probe probe = delta_probe_make(delta_entry_key(key));
    upper->node = delta_lock_parent(plan, plan->steps, &probe);
    upper->action = step->action == DELTA_SPLIT ? DELTA_PUT : DELTA_SWAP;
    upper->at = delta_node_bound(upper->node, &probe, true);
    upper->pointer = step->right;
    upper->key = key;
    upper->replaced = step->left != NULL ? step->node : NULL;
    upper->replacement = step->left;
    plan->steps++;
  }
}

/* In a node that stays: its child was replaced. The key of the slot remains, so this is one store. The child's left
 * neighbour still leads to the dead node; that would be right but slow for ever, so it gets the new one, where it is
 * at hand. Its lock is not needed: whatever its holder does with the old pointer stays right, and a pointer that the
 * holder has set is not touched. */
static void delta_step_swap(const delta_step *step) {
  if (step->replaced == NULL) return;
  _Atomic(void *) *pointers = delta_node_pointers(step->node);
  for (unsigned i = 0; i < delta_node_count(step->node); i++) {
    if (delta_node_pointer(step->node, i) != step->replaced) continue;
    /* Release: publishes the replacement. */
    atomic_store_explicit(&pointers[i], step->replacement, memory_order_release);
    if (i != 0) {
      delta_node *neighbour = delta_node_pointer(step->node, i - 1), *expected = step->replaced;
      atomic_compare_exchange_strong_explicit(&neighbour->next, &expected, step->replacement, memory_order_release,
                                              memory_order_relaxed);
    }
    return;
  }
}

static void delta_step_publish(const delta_step *step) {
  switch (step->action) {
    case DELTA_SWAP:
      delta_step_swap(step);
      break;
    case DELTA_PUT:
      delta_step_swap(step);
      kl_delta_node_put(step->node, step->at, step->pointer, step->key);
      break;
    case DELTA_REPLACE:
      kl_delta_node_retire(step->node, step->left);
      break;
    case DELTA_SPLIT:
      if (step->left != NULL) {
        kl_delta_node_retire(step->node, step->left);
        break;
      }
      kl_delta_node_truncate(step->node, step->cut, step->right);
      delta_step_swap(step);
      if (!step->put_right) kl_delta_node_put(step->node, step->at, step->pointer, step->key);
      break;
  }
}

/* Unlocks what is still in use, from the top down: a node whose lock is free has its place in its parent (DELTA-8). */
static void delta_plan_unlock(delta_plan *plan, bool published) {
  for (unsigned i = plan->steps; i-- > 0;) {
    delta_step *step = &plan->step[i];
    if (published && step->right != NULL) kl_delta_node_unlock(step->right);
    if (published && step->left != NULL) kl_delta_node_unlock(step->left);
    if (!published || step->left == NULL) kl_delta_node_unlock(step->node);
  }
}

static void delta_plan_publish(delta_plan *plan) {
  for (unsigned i = 0; i < plan->steps; i++) delta_step_publish(&plan->step[i]);
  const delta_step *top = &plan->step[plan->steps - 1];
  delta_node *root = plan->root != NULL ? plan->root : top->left;
  /* Release: publishes the new root. */
  if (root != NULL) atomic_store_explicit(&plan->tree->root, root, memory_order_release);
  delta_plan_unlock(plan, true);
}

static delta_node *delta_plan_descend(delta_plan *plan, delta_probe *probe) {
  delta_node *node = delta_tree_root(plan->tree);
  while (node->level != 0) {
    unsigned at = delta_node_bound(node, probe, true);
    if (at >= delta_node_count(node)) {
      delta_node *right = delta_node_beyond(node, probe, false);
      if (right != NULL) {
        node = right;
        continue;
      }
    }
    plan->path[node->level] = node;
    node = delta_node_pointer(node, at - 1);
    delta_node_prefetch(node, false);
  }
  return node;
}

/* The place for the key in a locked leaf; its entry when it is there already. */
static delta_entry *delta_leaf_place(const delta_node *leaf, delta_probe *probe, unsigned *out_at) {
  *out_at = delta_node_bound(leaf, probe, false);
  if (*out_at >= delta_node_count(leaf)) return NULL;
  delta_entry *entry = delta_node_pointer(leaf, *out_at);
  return kl_slice_equal(delta_entry_key(entry), probe->key) ? entry : NULL;
}

/* Puts a new key in. When another thread was faster, its entry is returned, otherwise NULL. */
static kl_status delta_plan_run(delta_plan *plan, delta_node *leaf, delta_probe *probe, delta_entry *entry,
                                delta_entry **out_other, kl_error *err) {
  delta_step *step = &plan->step[0];
  memset(step, 0, sizeof *step);
  step->pointer = entry;
  step->key = entry;
  plan->steps = 1;
  step->node = delta_lock_covering(leaf, probe);
  *out_other = delta_leaf_place(step->node, probe, &step->at);
  if (*out_other != NULL) {
    kl_delta_node_unlock(step->node);
    return KL_OK;
  }
  if (!delta_plan_make(plan)) {
    delta_plan_unlock(plan, false);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a node of the delta");
  }
  delta_plan_publish(plan);
  return KL_OK;
}

static kl_status delta_tree_add_version(delta_entry *entry, const delta_memory *memory, const kl_version *version,
                                        bool *out_new_version, kl_error *err) {
  delta_version *added = kl_shared_arena_alloc(memory->entries, kl_thread_hint(), kl_delta_version_bytes(version), 8);
  if (added == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a version in the delta");
  kl_delta_version_fill(added, version);
  *out_new_version = kl_delta_entry_link(entry, added);
  return KL_OK;
}

kl_status kl_delta_tree_insert(delta_tree *tree, const delta_memory *memory, kl_slice key, const kl_version *version,
                               bool *out_new_key, bool *out_new_version, kl_error *err) {
  delta_plan plan; /* large: only what is used is initialised */
  plan.tree = tree;
  plan.memory = memory;
  plan.root = NULL;
  memset(plan.path, 0, sizeof plan.path);
  delta_probe probe = delta_probe_make(key);
  delta_node *leaf = delta_plan_descend(&plan, &probe);
  *out_new_key = false;
  delta_entry *other = kl_delta_leaf_find(leaf, &probe); /* a key that is there needs no lock */
  if (other != NULL) return delta_tree_add_version(other, memory, version, out_new_version, err);
  /* Copied before the lock is taken: a value may be large. */
  delta_entry *entry = kl_shared_arena_alloc(memory->entries, kl_thread_hint(), kl_delta_entry_bytes(key, version), 8);
  if (entry == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a key in the delta");
  kl_delta_entry_fill(entry, key, version);
  kl_status status = delta_plan_run(&plan, leaf, &probe, entry, &other, err);
  if (status != KL_OK) return status;
  *out_new_key = other == NULL;
  /* Another thread was faster with this key: our version is as good in its chain. */
  *out_new_version = other == NULL || kl_delta_entry_link(other, kl_delta_entry_own_version(entry));
  return KL_OK;
}

/* ---- core/delta/tree_many.c ---- */
/* core/delta/tree_many.c: many look-ups at once. See tree.h.
 *
 * One look-up is a chain of cache misses, each of which has to be waited for: leaf, pointer, entry. Those of
 * different keys do not depend on one another. So a group of look-ups goes down side by side: each does one step and
 * asks for the memory of its next one, and by the time it has its turn again that memory is there. (S. Chen and
 * others, "Improving hash join performance through prefetching", ICDE 2004, call this group prefetching.) */

enum { DELTA_GROUP = 16 }; /* about as many misses as a core can have under way */

typedef struct delta_many {
  delta_probe probe;
  const delta_node *node;
  unsigned at;
  delta_entry *entry;
} delta_many;

/* One level down (or to the right); true when the look-up is at a leaf. */
static bool delta_many_descend(delta_many *m) {
  const delta_node *node = m->node;
  if (node->level == 0) return true;
  unsigned at = delta_node_bound(node, &m->probe, true);
  const delta_node *right = at >= delta_node_count(node) ? delta_node_beyond(node, &m->probe, false) : NULL;
  m->node = right != NULL ? right : delta_node_pointer(node, at - 1);
  delta_node_prefetch(m->node, false);
  return false;
}

/* Finds the only slot where the key is likely to be, and asks for its pointer. */
static void delta_many_place(delta_many *m) {
  if (delta_node_prefix_order(m->node, m->probe.key) != 0) return;
  m->at = delta_node_bound_heads(m->node, delta_probe_head(&m->probe, m->node));
  __builtin_prefetch((const void *)&delta_node_pointers(m->node)[m->at]);
}

static void delta_many_fetch(delta_many *m) {
  if (m->at >= delta_node_count(m->node)) return;
  if (delta_node_head(m->node, m->at) != m->probe.head) return;
  m->entry = delta_node_pointer(m->node, m->at);
  delta_entry_prefetch(m->entry);
}

/* The usual answers cost nothing more; equal heads and slots that moved meanwhile are left to the ordinary search. */
static delta_entry *delta_many_finish(delta_many *m) {
  if (m->entry != NULL && delta_key_equal(m->entry, m->probe.key)) return m->entry;
  return kl_delta_leaf_find_right(m->node, &m->probe);
}

void kl_delta_tree_find_many(const delta_tree *tree, const kl_slice *keys, size_t count, delta_entry **out_entries) {
  const delta_node *root = delta_tree_root(tree);
  for (size_t begin = 0; begin < count; begin += DELTA_GROUP) {
    size_t n = count - begin < DELTA_GROUP ? count - begin : DELTA_GROUP;
    delta_many group[DELTA_GROUP];
    for (size_t i = 0; i < n; i++) group[i] = (delta_many){delta_probe_make(keys[begin + i]), root, 0, NULL};
    for (bool done = false; !done;) {
      done = true;
      for (size_t i = 0; i < n; i++) done &= delta_many_descend(&group[i]);
    }
    for (size_t i = 0; i < n; i++) delta_many_place(&group[i]);
    for (size_t i = 0; i < n; i++) delta_many_fetch(&group[i]);
    for (size_t i = 0; i < n; i++) out_entries[begin + i] = delta_many_finish(&group[i]);
  }
}

/* ---- core/delta/tree_read.c ---- */
/* core/delta/tree_read.c: single look-ups in a tree, without locks. See tree.h, node.h and README.md. */

/* The key among the slots from `at` on, where heads are equal or slots have moved under the search. */
static delta_entry *delta_leaf_find_slow(const delta_node *leaf, const delta_probe *probe, uint64_t head, unsigned at) {
  for (;; at++) {
    at = kl_delta_node_bound_from(leaf, probe, head, at, false);
    if (at >= delta_node_count(leaf)) return NULL;
    delta_entry *entry = delta_node_pointer(leaf, at);
    int order = kl_slice_compare(delta_entry_key(entry), probe->key);
    if (order == 0) return entry;
    if (order > 0) return NULL;
  }
}

delta_entry *kl_delta_leaf_find(const delta_node *leaf, delta_probe *probe) {
  if (delta_node_prefix_order(leaf, probe->key) != 0) return NULL;
  uint64_t head = delta_probe_head(probe, leaf);
  unsigned at = delta_node_bound_heads(leaf, head);
  if (at >= delta_node_count(leaf)) return NULL;
  uint64_t there = delta_node_head(leaf, at);
  if (there > head) return NULL;
  if (there == head) {
    delta_entry *entry = delta_node_pointer(leaf, at);
    delta_entry_prefetch(entry);
    if (delta_key_equal(entry, probe->key)) return entry;
  }
  return delta_leaf_find_slow(leaf, probe, head, at);
}

delta_entry *kl_delta_leaf_find_right(const delta_node *leaf, delta_probe *probe) {
  do {
    delta_entry *entry = kl_delta_leaf_find(leaf, probe);
    if (entry != NULL) return entry;
    leaf = delta_node_beyond(leaf, probe, false);
  } while (leaf != NULL);
  return NULL;
}

delta_entry *kl_delta_tree_find(const delta_tree *tree, kl_slice key) {
  delta_probe probe = delta_probe_make(key);
  return kl_delta_leaf_find_right(delta_tree_descend(tree, &probe, false, false), &probe);
}

/* ---- core/delta/version.c ---- */
/* core/delta/version.c: version chains. See version.h. */

/* The log and the ABI allow values up to 2^31 - 1 bytes; the fields here are 32 bits wide. */
static const uint64_t delta_largest_size = 0x7fffffff;

kl_status kl_delta_version_check(kl_slice key, const kl_version *version, kl_error *err) {
  if (version->ts == 0) return kl_fail(err, KL_E_INVALID, "a version needs a commit timestamp above 0");
  if (version->kind != KL_VERSION_PUT && version->kind != KL_VERSION_DELETE) {
    return kl_fail(err, KL_E_INVALID, "unknown kind of version: %d", (int)version->kind);
  }
  if (key.size > delta_largest_size) {
    return kl_fail(err, KL_E_KEY_SIZE, "a key of %zu bytes is above the delta's bound of %llu", key.size,
                   (unsigned long long)delta_largest_size);
  }
  if (version->value.size > delta_largest_size) {
    return kl_fail(err, KL_E_VALUE_SIZE, "a value of %zu bytes is above the delta's bound of %llu", version->value.size,
                   (unsigned long long)delta_largest_size);
  }
  if ((key.data == NULL && key.size != 0) || (version->value.data == NULL && version->value.size != 0)) {
    return kl_fail(err, KL_E_INVALID, "a key or value has a size but no bytes");
  }
  if (version->kind == KL_VERSION_DELETE && version->value.size != 0) {
    return kl_fail(err, KL_E_INVALID, "a delete carries a value of %zu bytes; it must be empty", version->value.size);
  }
  return KL_OK;
}

static size_t delta_entry_version_offset(size_t key_size) {
  size_t align = _Alignof(delta_version);
  return (offsetof(delta_entry, key) + key_size + align - 1) & ~(align - 1);
}

size_t kl_delta_version_bytes(const kl_version *version) {
  return sizeof(delta_version) + version->value.size;
}

size_t kl_delta_entry_bytes(kl_slice key, const kl_version *version) {
  return delta_entry_version_offset(key.size) + kl_delta_version_bytes(version);
}

void kl_delta_version_fill(delta_version *memory, const kl_version *version) {
  memory->ts = version->ts;
  memory->kind = (uint8_t)version->kind;
  memory->value_size = (uint32_t)version->value.size;
  if (version->value.size != 0) memcpy(memory + 1, version->value.data, version->value.size);
}

delta_version *kl_delta_entry_own_version(delta_entry *entry) {
  return (delta_version *)(void *)((char *)entry + delta_entry_version_offset(entry->key_size));
}

void kl_delta_entry_fill(delta_entry *entry, kl_slice key, const kl_version *version) {
  entry->key_size = (uint32_t)key.size;
  if (key.size != 0) memcpy(entry->key, key.data, key.size);
  delta_version *own = kl_delta_entry_own_version(entry);
  kl_delta_version_fill(own, version);
  /* Relaxed: whoever links the entry publishes this with it. */
  atomic_store_explicit(&entry->newest, own, memory_order_relaxed);
}

bool kl_delta_entry_link(delta_entry *entry, delta_version *version) {
  _Atomic(delta_version *) *link = &entry->newest;
  delta_version *next = atomic_load_explicit(link, memory_order_acquire);
  for (;;) {
    /* A version is never unlinked, so a link that was once before our place stays before it (DELTA-2): after a lost
     * race we go on from the same link. */
    while (next != NULL && next->ts > version->ts) {
      link = &next->older;
      next = atomic_load_explicit(link, memory_order_acquire);
    }
    atomic_store_explicit(&version->older, next, memory_order_relaxed);
    /* Release publishes the version; acquire on failure, because we then read what another thread has linked. */
    if (atomic_compare_exchange_weak_explicit(link, &next, version, memory_order_release, memory_order_acquire)) break;
  }
  return next == NULL || next->ts != version->ts;
}

/* ---- core/drain/replay.c ---- */
/* core/drain/replay.c: see replay.h. */

/* ---- core/drain/replay.h ---- */
/* core/drain/replay.h: from the log to the delta: what was committed after the checkpoint is put back into memory.
 *
 * The log is read by its one reader from the checkpoint's position on; every commit in it is decoded, checked and
 * inserted into the delta with its timestamp. Replaying a log twice gives the same delta (an insert with the same key
 * and timestamp replaces). At the end the log is made ready for appending (kl_wal_recover_end), which writes nothing
 * when it was opened read-only.
 *
 * Thread rules: one thread, before the log and the delta are given to others. */
#ifndef KL_DRAIN_REPLAY_H
#define KL_DRAIN_REPLAY_H

typedef struct kl_replay_stats {
  uint64_t highest_ts;                   /* of all commits; 0: there was none */
  kl_lsn end_lsn;                        /* where the log ended, and appending goes on */
  uint64_t batches, commits, ops, bytes; /* bytes: of payloads */
} kl_replay_stats;

/* `known_durable`: the checkpoint's, an end of the log before it is KL_E_CORRUPT. Errors: those of kl_wal_reader_next
 * and kl_wal_recover_end; KL_E_CORRUPT also where an intact batch holds what no commit wrote (it names the LSN);
 * KL_E_VERSION for operations of a newer Keel; KL_E_NO_MEMORY. After an error the delta holds a part and is of no use;
 * the log has not been changed, unless it was kl_wal_recover_end that failed. `out_stats` is filled on success. */
kl_status kl_replay(kl_wal *wal, kl_delta *delta, kl_lsn from_lsn, kl_lsn known_durable, kl_replay_stats *out_stats,
                    kl_error *err);

#endif

/* Says where the trouble is: the codec knows only the payload. */
static kl_status replay_fail(const kl_wal_batch *batch, const kl_error *cause, kl_error *err) {
  return kl_fail(err, cause->code, "log batch at LSN %" PRIu64 ": %s", batch->lsn, cause->message);
}

static kl_status replay_ops(kl_commit_reader *reader, uint64_t ts, kl_delta *delta, kl_error *err) {
  kl_op op;
  kl_status status;
  while ((status = kl_commit_reader_next_op(reader, &op, err)) == KL_OK) {
    kl_version version = {.ts = ts, .kind = KL_VERSION_PUT, .value = op.value};
    if (op.kind == KL_OP_DELETE) version.kind = KL_VERSION_DELETE;
    status = kl_delta_insert(delta, op.keyspace, op.key, &version, err);
    if (status != KL_OK) return status;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

static kl_status replay_batch(const kl_wal_batch *batch, kl_delta *delta, kl_replay_stats *stats, kl_error *err) {
  kl_commit_reader reader;
  kl_error cause = {0};
  kl_status status;
  uint64_t ts, ops;
  kl_commit_reader_init(&reader, batch->payload);
  while ((status = kl_commit_reader_next_commit(&reader, &ts, &ops, &cause)) == KL_OK) {
    if (ts <= stats->highest_ts) {
      return kl_fail(err, KL_E_CORRUPT, "log batch at LSN %" PRIu64 ": commit %" PRIu64 " comes after commit %" PRIu64,
                     batch->lsn, ts, stats->highest_ts);
    }
    status = replay_ops(&reader, ts, delta, &cause);
    if (status != KL_OK) break;
    stats->highest_ts = ts;
    stats->commits++;
    stats->ops += ops;
  }
  if (status != KL_E_NOT_FOUND) return replay_fail(batch, &cause, err);
  if (batch->ts != stats->highest_ts) {
    return kl_fail(err, KL_E_CORRUPT,
                   "log batch at LSN %" PRIu64 " is of timestamp %" PRIu64 ", but its last commit is %" PRIu64,
                   batch->lsn, batch->ts, stats->highest_ts);
  }
  stats->batches++;
  stats->bytes += batch->payload.size;
  return KL_OK;
}

kl_status kl_replay(kl_wal *wal, kl_delta *delta, kl_lsn from_lsn, kl_lsn known_durable, kl_replay_stats *out_stats,
                    kl_error *err) {
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  kl_replay_stats stats = {0};
  kl_status status = kl_wal_reader_new(wal, from_lsn, &reader, err);
  if (status != KL_OK) return status;
  kl_wal_reader_expect(reader, known_durable);
  while ((status = kl_wal_reader_next(reader, &batch, err)) == KL_OK) {
    status = replay_batch(&batch, delta, &stats, err);
    if (status != KL_OK) break;
  }
  stats.end_lsn = kl_wal_reader_position(reader);
  kl_wal_reader_free(reader);
  if (status != KL_E_NOT_FOUND) return status;
  status = kl_wal_recover_end(wal, stats.end_lsn, err);
  if (status == KL_OK) *out_stats = stats;
  return status;
}

/* ---- core/txn/batch.c ---- */
/* core/txn/batch.c: rows in columns. See kl_batch in txn.h. */

/* ---- core/txn/txn_private.h ---- */
/* core/txn/txn_private.h: transactions and their manager from inside; what the files of core/txn share. */
#ifndef KL_TXN_TXN_PRIVATE_H
#define KL_TXN_TXN_PRIVATE_H

/* ---- core/txn/commit.h ---- */
/* core/txn/commit.h: the group-commit pipeline. The argument why it is right: core/txn/README.md.
 *
 * Private to core/txn. */
#ifndef KL_TXN_COMMIT_H
#define KL_TXN_COMMIT_H

/* ---- core/txn/inflight.h ---- */
/* core/txn/inflight.h: the keys of commits that have a timestamp and cannot all be found in the delta yet.
 *
 * Validation compares a key with what was committed since the snapshot. What the delta does not show yet is here: a
 * hash table from a 64-bit hash of (keyspace, key) to the newest timestamp that a commit in flight writes it with.
 * Two keys with one hash are taken for one, which can refuse a commit that need not be refused (about once in 2^64 /
 * keys in flight), and never the other way round; the hash is seeded per database, so that nobody can provoke it.
 *
 * An entry at or below the visible timestamp is stale: its commit is in the delta, whole. Stale entries are
 * overwritten and swept as the table fills; nothing removes them one by one.
 *
 * Thread rules: whoever holds the commit turn. */
#ifndef KL_TXN_INFLIGHT_H
#define KL_TXN_INFLIGHT_H

typedef struct kl_inflight_entry {
  uint64_t hash;
  uint64_t ts; /* 0: the slot has never been used since the last sweep */
} kl_inflight_entry;

typedef struct kl_inflight {
  kl_allocator *allocator;
  kl_inflight_entry *entries;
  size_t capacity;    /* power of two, or 0 */
  size_t used;        /* slots with ts != 0 */
  uint64_t newest;    /* timestamp of all entries; once it is visible, all of them are stale */
  uint64_t forgotten; /* what is at or below this may be missing; everything above is here */
} kl_inflight;

uint64_t kl_inflight_hash(uint64_t seed, uint32_t keyspace, kl_slice key);

void kl_inflight_init(kl_inflight *table, kl_allocator *allocator);
void kl_inflight_destroy(kl_inflight *table);

/* Makes sure that `count` more hashes fit, dropping what is at or below `visible`. False: no memory. */
bool kl_inflight_reserve(kl_inflight *table, size_t count, uint64_t visible);
/* Within what was reserved. */
void kl_inflight_add(kl_inflight *table, uint64_t hash, uint64_t ts);
/* The newest timestamp of the hash, 0 when it is not here. May be stale. */
uint64_t kl_inflight_find(const kl_inflight *table, uint64_t hash);
/* Takes back what was added at `ts`: the commit did not happen. */
void kl_inflight_withdraw(kl_inflight *table, uint64_t hash, uint64_t ts);

#endif

/* ---- core/txn/txn.h ---- */
/* core/txn/txn.h: snapshots, transactions, the group-commit pipeline.
 *
 * A kl_txn_manager is the transactional half of one open database: timestamps, snapshots, the commit pipeline over
 * one log (or none, for :memory:) and the delta. A transaction reads one snapshot, buffers its writes in a private
 * ordered write set that its own reads merge, and commits atomically across keyspaces. Read core/txn/README.md for
 * the pipeline, its invariants and its lock order.
 *
 * Reference rules: a transaction keeps the manager alive, a cursor keeps its transaction alive, a view keeps what it
 * shows alive, in any order of release. Thread rules: no thread affinity; a transaction and its cursors are used by
 * one thread at a time, and a second one inside at the same moment gets KL_E_CONCURRENT_USE. Everything else from any
 * thread. */
#ifndef KL_TXN_TXN_H
#define KL_TXN_TXN_H

enum { KL_MAX_KEY = 1024 };
#define KL_MAX_VALUE ((size_t)0x7fffffff)

typedef enum kl_durability {
  KL_DURABILITY_DEFAULT = 0, /* the database's */
  KL_DURABILITY_FULL = 1,    /* acknowledged = on disk */
  KL_DURABILITY_GROUP = 2,   /* acknowledged at once, on disk within the group interval */
  KL_DURABILITY_NONE = 3 /* on disk when the system gets round to it; order is kept, nothing half-done after a crash */
} kl_durability;

/* What exists is snapshot isolation: a commit is validated against later writes to the keys that it writes, not against
 * what it read. A weaker name gets the next stronger level that exists; a stronger one is refused, never weakened. */
typedef enum kl_isolation {
  KL_ISOLATION_DEFAULT = 0,      /* snapshot */
  KL_ISOLATION_SERIALIZABLE = 1, /* KL_E_UNSUPPORTED */
  KL_ISOLATION_SNAPSHOT = 2,
  KL_ISOLATION_READ_COMMITTED = 3, /* from here on: accepted names, given snapshot */
  KL_ISOLATION_REPEATABLE_READ = 4,
  KL_ISOLATION_READ_UNCOMMITTED = 5
} kl_isolation;

typedef struct kl_txn_manager kl_txn_manager;
typedef struct kl_txn kl_txn;
typedef struct kl_cursor kl_cursor;
typedef struct kl_view kl_view;

typedef struct kl_txn_options {
  bool read_only;
  kl_isolation isolation;
  kl_durability durability;
  const char *label; /* creator's name for stats, copied; may be NULL */
  bool uncounted;    /* one of the engine's own: its operations and its rollback are in no statistics */
} kl_txn_options;

/* `options` may be NULL. KL_E_READ_ONLY (the database is), KL_E_UNSUPPORTED, KL_E_INVALID, KL_E_POISONED (of a
 * transaction that writes), KL_E_CLOSED, KL_E_NO_MEMORY. */
kl_status kl_txn_begin(kl_txn_manager *manager, const kl_txn_options *options, kl_txn **out_txn, kl_error *err);
/* Ends the transaction whatever the result, except KL_E_CONCURRENT_USE and KL_E_FINISHED. *out_ts (nullable): the
 * commit timestamp, 0 when nothing was written. When it returns KL_OK the commit is visible to all that begin later.
 * KL_E_CONFLICT: another transaction committed a write to one of its keys after its snapshot, or dropped a keyspace
 * that it wrote to; run it again. KL_E_LIMIT, KL_E_NO_MEMORY, KL_E_DISK_FULL, KL_E_POISONED, KL_E_CLOSED. In all these
 * cases nothing was written. KL_E_COMMIT_UNKNOWN: writing or syncing the log failed, and only opening the database
 * again can tell whether the commit happened. */
kl_status kl_txn_commit(kl_txn *txn, uint64_t *out_ts, kl_error *err);
kl_status kl_txn_rollback(kl_txn *txn, kl_error *err);
/* Drops the caller's reference; an unfinished transaction whose last user reference goes is rolled back. */
void kl_txn_release(kl_txn *txn);
kl_txn_manager *kl_txn_get_manager(kl_txn *txn);
bool kl_txn_is_read_only(const kl_txn *txn);

/* `keyspace` is an id from the catalogue (core/keyspace). KL_E_NOT_FOUND when the key has no value. The value is
 * borrowed: it stays valid until the transaction's next write or end. */
kl_status kl_txn_get(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, kl_error *err);
/* Copies up to `capacity` bytes inside the call; *out_size is the value's full size. KL_E_BUFFER_SIZE when it did not
 * fit. */
kl_status kl_txn_get_copy(kl_txn *txn, uint32_t keyspace, kl_slice key, void *buffer, size_t capacity, size_t *out_size,
                          kl_error *err);
/* Pins the value: valid until kl_view_release, whatever happens to transaction and database. */
kl_status kl_txn_get_view(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_view **out_view, kl_error *err);
kl_slice kl_view_value(const kl_view *view);
void kl_view_release(kl_view *view); /* NULL is allowed */

kl_status kl_txn_put(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice value, kl_error *err);
kl_status kl_txn_delete(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err); /* absent is no error */
/* Deletes every key that the transaction sees in [from, to); data == NULL: open end. *out_count (nullable): how
 * many. Walks them: costs a scan and a write per key. When it fails in the middle, some are deleted: roll back. */
kl_status kl_txn_delete_range(kl_txn *txn, uint32_t keyspace, kl_slice from, kl_slice to, uint64_t *out_count,
                              kl_error *err);

/* A cursor sees the transaction's snapshot merged with its own writes, also those made after the cursor was opened.
 * Bounds: [lower, upper), data == NULL: open. Copied. */
kl_status kl_cursor_open(kl_txn *txn, uint32_t keyspace, kl_slice lower, kl_slice upper, kl_cursor **out_cursor,
                         kl_error *err);
void kl_cursor_close(kl_cursor *cursor); /* NULL is allowed */
/* Each gives KL_OK when it now stands on a key, KL_E_NOT_FOUND when there is none that way. A fresh cursor stands
 * before the first and after the last at once: next goes to the first, prev to the last. After running off an end,
 * moving back goes to the key at that end. */
kl_status kl_cursor_first(kl_cursor *cursor, kl_error *err);
kl_status kl_cursor_last(kl_cursor *cursor, kl_error *err);
kl_status kl_cursor_seek_ge(kl_cursor *cursor, kl_slice key, kl_error *err);
kl_status kl_cursor_seek_le(kl_cursor *cursor, kl_slice key, kl_error *err);
kl_status kl_cursor_next(kl_cursor *cursor, kl_error *err);
kl_status kl_cursor_prev(kl_cursor *cursor, kl_error *err);
/* KL_E_NOT_FOUND when it stands on no key. Borrowed until the cursor moves, or the transaction writes or ends. */
kl_status kl_cursor_get(kl_cursor *cursor, kl_slice *out_key, kl_slice *out_value, kl_error *err);

/* Columnar rows in memory of their own: key i is keys[key_offsets[i] .. key_offsets[i+1]). Reused between calls. */
typedef struct kl_batch {
  kl_allocator *allocator;
  size_t count;
  uint8_t *keys, *values;
  uint64_t *key_offsets, *value_offsets; /* count + 1 each */
  uint8_t *found;                        /* get_many: 1 where the key has a value; cursor batches: all 1 */
  size_t key_capacity, value_capacity, row_capacity;
} kl_batch;
void kl_batch_init(kl_batch *batch, kl_allocator *allocator); /* columns are NULL until the first use */
void kl_batch_destroy(kl_batch *batch);
/* For those who fill batches: empties it (from here on the offset columns have their first element, 0); adds one row,
 * whose bytes are copied. KL_E_NO_MEMORY leaves the rows as they were. */
kl_status kl_batch_start(kl_batch *batch, kl_error *err);
kl_status kl_batch_append(kl_batch *batch, kl_slice key, kl_slice value, bool found, kl_error *err);
/* Moves up to max_rows times (0: no bound) and collects; stops before keys + values exceed max_bytes (0: 1 MiB), but
 * always takes one row. count 0 = the end. The cursor stands on the last row taken. */
kl_status kl_cursor_next_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err);
kl_status kl_cursor_prev_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err);
/* Looks up `count` keys, packed in `keys` at key_offsets (count + 1). Absent keys are rows with found = 0. */
kl_status kl_txn_get_many(kl_txn *txn, uint32_t keyspace, const void *keys, const uint64_t *key_offsets, size_t count,
                          kl_batch *batch, kl_error *err);

#endif

typedef struct kl_commit_request kl_commit_request;
typedef struct kl_commit_group kl_commit_group;

enum { KL_COMMIT_PARKS = 16 };

typedef struct kl_commit_park {
  _Alignas(64) kl_mutex mutex;
  kl_cond cond;
} kl_commit_park;

typedef struct kl_commit_pipeline {
  /* Transactions that want to commit, newest first. Whoever pushes onto the empty queue leads the next group. */
  _Alignas(64) _Atomic(kl_commit_request *) queue;

  /* The commit turn: held while a group is validated, timestamped and appended to the log. Guards the fields below. */
  _Alignas(64) kl_mutex turn;
  uint64_t last_ts; /* the newest timestamp given out */
  kl_inflight inflight;
  uint64_t hash_seed;
  bool closed;
  uint64_t memory_bound;           /* the delta and what is admitted take no more than this; 0: not known */
  _Atomic uint64_t reserved_bytes; /* of delta memory, by commits that are admitted and not inserted */

  /* Guards the list of groups that are appended and not published, oldest first, and the poison. Taken under the
   * turn, or alone. */
  _Alignas(64) kl_mutex publishing;
  kl_cond drained; /* signalled when the list has become empty */
  kl_commit_group *first, *last;
  bool stopped; /* a group failed after it was appended: nothing is published any more */
  kl_error poison;
  _Atomic bool poisoned;

  kl_commit_park parks[KL_COMMIT_PARKS]; /* where committers sleep */
} kl_commit_pipeline;

kl_status kl_commit_pipeline_init(kl_commit_pipeline *pipeline, kl_allocator *allocator, uint64_t hash_seed,
                                  kl_error *err);
void kl_commit_pipeline_destroy(kl_commit_pipeline *pipeline);
void kl_commit_pipeline_close(kl_commit_pipeline *pipeline);

/* Commits the write set of a transaction, which is not empty. On KL_OK it is visible, and durable as asked. */
kl_status kl_commit_run(kl_txn *txn, uint64_t *out_ts, kl_error *err);

#endif

/* ---- core/txn/manager.h ---- */
/* core/txn/manager.h: the transactional half of one open database, as its owner (core/db) and the catalogue see it.
 *
 * Life: kl_txn_manager_new; fill kl_txn_manager_delta from the log; kl_txn_manager_start; ...; kl_txn_manager_close;
 * unref. The memory of a manager lives until the last transaction, cursor and view of it is gone, which may be long
 * after close.
 *
 * Timestamps: 0 is no timestamp, KL_TS_EMPTY (1) is the database before its first commit; commits count up from
 * there.
 *
 * Thread rules: any thread, after kl_txn_manager_start. */
#ifndef KL_TXN_MANAGER_H
#define KL_TXN_MANAGER_H

#define KL_TS_EMPTY ((uint64_t)1)

typedef struct kl_txn_manager_options {
  bool read_only;             /* transactions that write are refused with KL_E_READ_ONLY */
  kl_durability durability;   /* what KL_DURABILITY_DEFAULT of a transaction means; DEFAULT here means FULL */
  uint64_t group_interval_ns; /* for KL_DURABILITY_GROUP */
  uint64_t memory_limit;      /* bytes of delta beyond which commits get KL_E_LIMIT; 0: none */
} kl_txn_manager_options;

/* One reference. Nothing can be begun before kl_txn_manager_start; once it was started, close it before the last
 * unref. */
kl_status kl_txn_manager_new(kl_os *os, const kl_txn_manager_options *options, kl_txn_manager **out, kl_error *err);
void kl_txn_manager_ref(kl_txn_manager *manager);
void kl_txn_manager_unref(kl_txn_manager *manager); /* NULL is allowed */

/* Counts what is allocated through it, for kl_txn_manager_stats.memory_bytes; lives as long as the manager. */
kl_allocator *kl_txn_manager_allocator(kl_txn_manager *manager);
kl_os *kl_txn_manager_os(kl_txn_manager *manager);
kl_delta *kl_txn_manager_delta(kl_txn_manager *manager);
bool kl_txn_manager_is_read_only(const kl_txn_manager *manager);

/* Opens for business: everything in the delta is at or below `last_ts` (0: nothing). `wal` is where commits are
 * logged, NULL for a database without one; borrowed until kl_txn_manager_close. */
void kl_txn_manager_start(kl_txn_manager *manager, kl_wal *wal, uint64_t last_ts);

/* Refuses what begins or commits from now on with KL_E_CLOSED, and waits for the commits that are on their way.
 * Snapshots that are being read go on. The log is not touched any more when it returns. */
void kl_txn_manager_close(kl_txn_manager *manager);

/* Everything that was acknowledged before the call is on stable storage when it returns. */
kl_status kl_txn_manager_flush(kl_txn_manager *manager, kl_error *err);

/* KL_OK, or KL_E_POISONED with what poisoned it. One load. */
kl_status kl_txn_manager_check(kl_txn_manager *manager, kl_error *err);
/* From now on nothing is written any more: commits and beginnings of transactions that write get KL_E_POISONED. The
 * first reason stays. Reads go on. */
void kl_txn_manager_poison(kl_txn_manager *manager, const kl_error *reason);

/* A timestamp that no live snapshot is below, and none will be: for reclamation. */
uint64_t kl_txn_manager_oldest_ts(kl_txn_manager *manager);

typedef struct kl_txn_manager_stats {
  /* Of finished transactions: what one does is added up when it ends. */
  uint64_t commits, commits_read_only, rollbacks, conflicts, groups;
  uint64_t gets, puts, deletes, cursor_steps;
  uint64_t transactions_live, snapshots_live, views_live;
  uint64_t oldest_snapshot_age_ns;
  char oldest_snapshot_label[32];
  uint64_t visible_ts;
  uint64_t memory_bytes;
  bool poisoned;
} kl_txn_manager_stats;
void kl_txn_manager_get_stats(kl_txn_manager *manager, kl_txn_manager_stats *out);

/* Dropping a keyspace is a commit that writes the keyspace's drop marker: this key of keyspace 0. A transaction that
 * writes to a keyspace reads the marker at its snapshot (present: KL_E_KEYSPACE_NOT_FOUND), and its commit is
 * validated against it as if it had written it, so that a drop and a write to the dropped keyspace never both succeed
 * unordered. */
enum { KL_DROP_MARKER_SIZE = 5 };
void kl_drop_marker_encode(uint32_t keyspace, uint8_t out[KL_DROP_MARKER_SIZE]);

#endif

/* ---- core/txn/snapshot.h ---- */
/* core/txn/snapshot.h: which snapshots are being read: the registry that reclamation and statistics ask.
 *
 * A snapshot is a timestamp, registered in a slot of its own cache line while somebody reads at it. Beginning one is a
 * compare-and-swap on a free slot near the thread's last one, and ending it is a store: threads do not meet. The table
 * grows when it gets crowded and never shrinks. Thread rules: everything from any thread; one kl_snapshot by one
 * thread at a time. */
#ifndef KL_TXN_SNAPSHOT_H
#define KL_TXN_SNAPSHOT_H

enum { KL_SNAPSHOT_LABEL = 32 }; /* bytes kept of a label, terminator included */

typedef struct kl_snapshot_slot kl_snapshot_slot;
typedef struct kl_snapshot_table kl_snapshot_table;

typedef struct kl_snapshot_registry {
  kl_allocator *allocator;
  const _Atomic uint64_t *visible;     /* the newest timestamp that may be read */
  _Atomic(kl_snapshot_table *) newest; /* the largest table; older ones hang behind it */
  kl_mutex growing;
} kl_snapshot_registry;

typedef struct kl_snapshot {
  uint64_t ts;
  kl_snapshot_slot *slot;
} kl_snapshot;

typedef struct kl_snapshot_summary {
  uint64_t live;
  uint64_t oldest_ts; /* `visible` when none is live */
  uint64_t oldest_begin_ns;
  char oldest_label[KL_SNAPSHOT_LABEL];
} kl_snapshot_summary;

kl_status kl_snapshot_registry_init(kl_snapshot_registry *registry, kl_allocator *allocator,
                                    const _Atomic uint64_t *visible, kl_error *err);
void kl_snapshot_registry_destroy(kl_snapshot_registry *registry); /* no snapshot is live */

/* A snapshot of the newest visible timestamp. `now_ns` is its time of birth; `label` may be NULL. */
kl_status kl_snapshot_begin(kl_snapshot_registry *registry, uint64_t now_ns, const char *label, kl_snapshot *out,
                            kl_error *err);
void kl_snapshot_end(kl_snapshot *snapshot);

/* No snapshot that is live, and none that begins later, is below the returned timestamp. Looks at every slot. */
uint64_t kl_snapshot_oldest_ts(kl_snapshot_registry *registry);
void kl_snapshot_summarise(kl_snapshot_registry *registry, kl_snapshot_summary *out);

#endif

/* ---- core/txn/write_set.h ---- */
/* core/txn/write_set.h: what one transaction has written and not yet committed, in key order.
 *
 * One ordered tree per keyspace (a B+tree in the transaction's arena). A key that was written stays in the set for
 * the life of the transaction: a delete is an entry of its own kind, a second put changes the entry's value. So
 * entries never move and never go away, which is what lets a cursor hold on to one while the transaction goes on
 * writing: `changes` tells it to look again.
 *
 * Memory comes from the arena and goes back as a whole. A write that fails for memory leaves the set as it was.
 * Thread rules: one thread at a time; any number of readers while nobody writes. */
#ifndef KL_TXN_WRITE_SET_H
#define KL_TXN_WRITE_SET_H

/* The last write to one key. Its address is stable; `value` and `kind` change with later writes. */
typedef struct kl_write_entry {
  uint8_t *value; /* NULL when it has never had bytes */
  uint32_t value_size, value_capacity;
  uint16_t key_size;
  uint8_t kind; /* kl_version_kind */
  uint8_t key[];
} kl_write_entry;

typedef struct kl_write_leaf kl_write_leaf;

/* The writes to one keyspace. */
typedef struct kl_write_tree {
  uint32_t keyspace;
  uint32_t height; /* inner levels above the leaves */
  void *root;
  kl_write_leaf *first, *last;
  uint64_t count;   /* entries */
  uint64_t changes; /* +1 for every write: a position is current while this has not moved */
} kl_write_tree;

typedef struct kl_write_set {
  kl_arena arena;
  kl_write_tree **trees; /* ascending keyspace ids */
  uint32_t tree_count, tree_capacity;
  kl_write_tree *recent;  /* the tree that was written last */
  uint64_t count;         /* entries in all trees */
  uint64_t encoded_bytes; /* of all entries as log operations (wal/commit_record.h) */
  uint64_t payload_bytes; /* of all keys and values */
} kl_write_set;

void kl_write_set_init(kl_write_set *set, kl_allocator *allocator);
void kl_write_set_reset(kl_write_set *set);   /* empty again, some memory kept for the next use */
void kl_write_set_destroy(kl_write_set *set); /* all memory goes; init again before reuse */

/* Sets the key to a value (KL_VERSION_PUT) or to deleted (KL_VERSION_DELETE, empty value). The bytes are copied; they
 * may come from the set itself. */
kl_status kl_write_set_write(kl_write_set *set, uint32_t keyspace, kl_slice key, kl_version_kind kind, kl_slice value,
                             kl_error *err);

/* NULL when the transaction has not written to the keyspace, or to the key. */
kl_write_tree *kl_write_set_tree(const kl_write_set *set, uint32_t keyspace);
const kl_write_entry *kl_write_tree_find(const kl_write_tree *tree, kl_slice key);

/* A place in a tree; entry is NULL when there is none. Invalid once tree->changes has moved. */
typedef struct kl_write_position {
  kl_write_leaf *leaf;
  uint32_t index;
  const kl_write_entry *entry;
} kl_write_position;

void kl_write_tree_first(const kl_write_tree *tree, kl_write_position *out);
void kl_write_tree_last(const kl_write_tree *tree, kl_write_position *out);
void kl_write_tree_seek_ge(const kl_write_tree *tree, kl_slice key, kl_write_position *out);
void kl_write_tree_seek_le(const kl_write_tree *tree, kl_slice key, kl_write_position *out);
void kl_write_position_next(kl_write_position *position); /* entry is not NULL */
void kl_write_position_prev(kl_write_position *position);

static inline kl_slice kl_write_entry_key(const kl_write_entry *entry) {
  return kl_slice_make(entry->key, entry->key_size);
}
static inline kl_slice kl_write_entry_value(const kl_write_entry *entry) {
  return kl_slice_make(entry->value, entry->value_size);
}

#endif

/* Two groups of counters, by how a transaction uses them. */
enum { TXN_COMMITS, TXN_COMMITS_READ_ONLY, TXN_ROLLBACKS, TXN_CONFLICTS, TXN_GROUPS, TXN_VIEWS, TXN_MEMORY };
enum { TXN_GETS, TXN_PUTS, TXN_DELETES, TXN_CURSOR_STEPS };

enum {
  TXN_SPARES = 16,             /* a power of two */
  TXN_SPARE_MEMORY = 64 * 1024 /* a write set larger than this is not kept for reuse */
};

/* A finished transaction that waits for its next use, so that beginning one allocates nothing and touches no shared
 * line. It keeps its reference on the manager. NULL: empty; the manager's own address: closed for good. */
typedef struct kl_txn_spare {
  _Alignas(64) _Atomic(kl_txn *) txn;
} kl_txn_spare;

struct kl_txn_manager {
  kl_allocator allocator; /* counts, then asks os->allocator */
  kl_os *os;
  kl_wal *wal; /* NULL: nothing is logged */
  kl_delta *delta;
  kl_txn_manager_options options;
  _Atomic uint64_t references;
  _Atomic bool open;
  kl_snapshot_registry snapshots;
  kl_counters counters, operations;
  kl_txn_spare spares[TXN_SPARES];
  /* The newest timestamp that is committed, durable as asked and inserted, together with all before it (TXN-3). */
  _Alignas(64) _Atomic uint64_t visible_ts;
  kl_commit_pipeline pipeline;
};

typedef enum kl_txn_state { KL_TXN_ACTIVE, KL_TXN_COMMITTED, KL_TXN_ROLLED_BACK } kl_txn_state;

struct kl_txn {
  kl_txn_manager *manager; /* a reference */
  _Atomic uint32_t busy;   /* 1 while a thread is inside */
  _Atomic uint32_t references;
  kl_txn_state state;
  kl_durability durability;
  bool read_only, uncounted;
  kl_delta *delta; /* what the snapshot reads; held by the manager */
  kl_snapshot snapshot;
  kl_write_set writes;
  uint64_t gets, puts, deletes, cursor_steps;
};

/* Entry to every operation: KL_E_CONCURRENT_USE when another thread is inside, KL_E_FINISHED after the end. */
kl_status kl_txn_enter(kl_txn *txn, kl_error *err);
static inline void kl_txn_leave(kl_txn *txn) {
  /* Release: the next thread that enters sees what this one did. */
  atomic_store_explicit(&txn->busy, 0, memory_order_release);
}

/* Drops one of the references that the caller, cursors included, hold on the object. */
void kl_txn_unref(kl_txn *txn);
/* Frees the spares and keeps none from now on. */
void kl_txn_close_spares(kl_txn_manager *manager);

/* kl_fail for the commonest answer, without the cost of formatting. `text` is shorter than KL_ERROR_MESSAGE. */
static inline kl_status kl_txn_not_found(kl_error *err, const char *text) {
  if (err != NULL) {
    err->code = KL_E_NOT_FOUND;
    err->system_errno = 0;
    memcpy(err->message, text, strlen(text) + 1);
  }
  return KL_E_NOT_FOUND;
}

kl_status kl_txn_check_key(kl_slice key, kl_error *err);
/* The newest version that the transaction sees, its own writes first. False when there is none, or a delete. */
bool kl_txn_lookup(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, bool *out_own);

#endif

enum { BATCH_FIRST_BYTES = 1024, BATCH_FIRST_ROWS = 64 };

void kl_batch_init(kl_batch *batch, kl_allocator *allocator) {
  memset(batch, 0, sizeof *batch);
  batch->allocator = allocator;
}

void kl_batch_destroy(kl_batch *batch) {
  kl_allocator *allocator = batch->allocator;
  kl_free(allocator, batch->keys, batch->key_capacity);
  kl_free(allocator, batch->values, batch->value_capacity);
  if (batch->row_capacity != 0) {
    kl_free(allocator, batch->key_offsets, (batch->row_capacity + 1) * sizeof(uint64_t));
    kl_free(allocator, batch->value_offsets, (batch->row_capacity + 1) * sizeof(uint64_t));
    kl_free(allocator, batch->found, batch->row_capacity);
  }
  kl_batch_init(batch, allocator);
}

/* Room for `needed` bytes in one of the two byte columns. */
static bool batch_grow_bytes(kl_allocator *allocator, uint8_t **bytes, size_t *capacity, size_t needed) {
  if (needed <= *capacity) return true;
  size_t larger = *capacity < BATCH_FIRST_BYTES ? BATCH_FIRST_BYTES : *capacity;
  while (larger < needed) {
    if (larger > SIZE_MAX / 2) return false;
    larger *= 2;
  }
  uint8_t *moved = kl_realloc(allocator, *bytes, *capacity, larger);
  if (moved == NULL) return false;
  *bytes = moved;
  *capacity = larger;
  return true;
}

/* Room for one more row. The three columns have one capacity: all grow or none does. */
static bool batch_grow_rows(kl_batch *batch) {
  if (batch->count < batch->row_capacity) return true;
  kl_allocator *allocator = batch->allocator;
  size_t rows = batch->row_capacity == 0 ? BATCH_FIRST_ROWS : batch->row_capacity * 2;
  if (rows > SIZE_MAX / 2 / sizeof(uint64_t)) return false;
  size_t size = (rows + 1) * sizeof(uint64_t);
  uint64_t *key_offsets = kl_alloc(allocator, size);
  uint64_t *value_offsets = kl_alloc(allocator, size);
  uint8_t *found = kl_alloc(allocator, rows);
  if (key_offsets == NULL || value_offsets == NULL || found == NULL) {
    kl_free(allocator, key_offsets, size);
    kl_free(allocator, value_offsets, size);
    kl_free(allocator, found, rows);
    return false;
  }
  if (batch->row_capacity != 0) {
    size_t old_size = (batch->row_capacity + 1) * sizeof(uint64_t);
    memcpy(key_offsets, batch->key_offsets, old_size);
    memcpy(value_offsets, batch->value_offsets, old_size);
    memcpy(found, batch->found, batch->row_capacity);
    kl_free(allocator, batch->key_offsets, old_size);
    kl_free(allocator, batch->value_offsets, old_size);
    kl_free(allocator, batch->found, batch->row_capacity);
  }
  batch->key_offsets = key_offsets;
  batch->value_offsets = value_offsets;
  batch->found = found;
  batch->row_capacity = rows;
  return true;
}

kl_status kl_batch_start(kl_batch *batch, kl_error *err) {
  batch->count = 0;
  if (!batch_grow_rows(batch)) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a batch");
  batch->key_offsets[0] = batch->value_offsets[0] = 0;
  return KL_OK;
}

kl_status kl_batch_append(kl_batch *batch, kl_slice key, kl_slice value, bool found, kl_error *err) {
  size_t row = batch->count;
  size_t key_end = (size_t)batch->key_offsets[row];
  size_t value_end = (size_t)batch->value_offsets[row];
  if (key.size > SIZE_MAX - key_end || value.size > SIZE_MAX - value_end || !batch_grow_rows(batch) ||
      !batch_grow_bytes(batch->allocator, &batch->keys, &batch->key_capacity, key_end + key.size) ||
      !batch_grow_bytes(batch->allocator, &batch->values, &batch->value_capacity, value_end + value.size)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a batch of more than %zu rows; ask for fewer at a time", row);
  }
  if (key.size != 0) memcpy(batch->keys + key_end, key.data, key.size);
  if (value.size != 0) memcpy(batch->values + value_end, value.data, value.size);
  batch->key_offsets[row + 1] = key_end + key.size;
  batch->value_offsets[row + 1] = value_end + value.size;
  batch->found[row] = found;
  batch->count = row + 1;
  return KL_OK;
}

/* ---- core/txn/commit.c ---- */
/* core/txn/commit.c: the group-commit pipeline. See commit.h; invariants and the argument are in README.md.
 *
 * One commit: kl_commit_run -> commit_prepare (own thread, no lock) -> queue -> a leader's commit_lead, which under
 * the turn calls kl_commit_admit (validate.c) and commit_append -> each member's commit_insert -> commit_leave_group
 * -> commit_publish. */

/* ---- core/txn/commit_request.h ---- */
/* core/txn/commit_request.h: one transaction on its way through the pipeline, and what may stop it. Private to
 * core/txn. */
#ifndef KL_TXN_COMMIT_REQUEST_H
#define KL_TXN_COMMIT_REQUEST_H

/* On the committer's stack; others touch it until they have told the committer that it is done. */
struct kl_commit_request {
  kl_commit_request *next; /* in the queue: the one before; in a list: the one after */
  kl_txn *txn;
  kl_commit_group *group;
  uint8_t *record; /* the encoded commit; NULL without a log */
  size_t record_size;
  uint64_t *hashes;     /* of the entries, in the order of the write set */
  uint64_t checked_ts;  /* kl_commit_precheck has looked at everything up to here */
  void *reserve;        /* memory held back until the inserts need it */
  uint64_t delta_bytes; /* that the inserts will need, about */
  uint64_t ts;
  uint32_t park;
  _Atomic uint32_t state;
  kl_status status;
  kl_error error;
};

/* Validation in two halves. The first, on the committer's own thread, before the queue, compares every key with the
 * delta: what is visible at that moment has been inserted. KL_E_CONFLICT. */
kl_status kl_commit_precheck(kl_txn_manager *manager, kl_commit_request *request, kl_error *err);
/* The second, under the turn, compares with what came later, which is in the table of keys in flight (or with
 * everything, if the table has been swept since); checks the limits; and gives the request its timestamp. On failure
 * request->error says why. */
kl_status kl_commit_admit(kl_txn_manager *manager, kl_commit_request *request);
/* Takes back an admission: the commit did not happen, and nobody else shall conflict with it. Under the turn. */
void kl_commit_withdraw(kl_txn_manager *manager, kl_commit_request *request);

#endif

enum {
  COMMIT_SPINS = 100,                    /* looks at the state before a committer goes to sleep */
  COMMIT_PARTS = 64,                     /* members of one log batch */
  COMMIT_BATCH_BYTES = 16 * 1024 * 1024, /* a log batch of several members stays below */
  COMMIT_ENTRY_OVERHEAD = 96,            /* bytes that the delta takes for an entry beside key and value */
  COMMIT_RESERVE_FROM = 64 * 1024,       /* smaller commits do not hold memory back */
  COMMIT_INSERT_TRIES = 9,               /* with pauses of 1, 2, 4 ... 128 ms between them */
  COMMIT_KEY_SHOWN = 40
};

/* The state of a request. PARKED is or-ed to the first two while the committer sleeps. */
enum { COMMIT_WAITING = 0, COMMIT_INSERT = 1, COMMIT_DONE = 2, COMMIT_PARKED = 4 };

/* On the leader's stack; the leader's request is completed last. */
struct kl_commit_group {
  kl_commit_group *next;
  kl_commit_request *leader;
  kl_commit_request *members; /* on the log, in order of timestamp */
  uint64_t last_ts;
  kl_lsn end;
  bool wants_sync, wants_sync_soon;
  bool ready; /* guarded by pipeline->publishing */
  _Atomic bool failed;
  _Atomic uint32_t pending; /* followers that have not inserted yet, + 1 for the leader */
};

kl_status kl_commit_pipeline_init(kl_commit_pipeline *pipeline, kl_allocator *allocator, uint64_t hash_seed,
                                  kl_error *err) {
  kl_inflight_init(&pipeline->inflight, allocator);
  pipeline->hash_seed = hash_seed;
  uint32_t made = 0;
  kl_status status = kl_mutex_init(&pipeline->turn, err);
  if (status != KL_OK) return status;
  status = kl_mutex_init(&pipeline->publishing, err);
  if (status != KL_OK) goto no_publishing;
  status = kl_cond_init(&pipeline->drained, err);
  if (status != KL_OK) goto no_drained;
  for (; made < KL_COMMIT_PARKS; made++) {
    status = kl_mutex_init(&pipeline->parks[made].mutex, err);
    if (status != KL_OK) goto no_parks;
    status = kl_cond_init(&pipeline->parks[made].cond, err);
    if (status != KL_OK) {
      kl_mutex_destroy(&pipeline->parks[made].mutex);
      goto no_parks;
    }
  }
  return KL_OK;
no_parks:
  while (made-- > 0) {
    kl_cond_destroy(&pipeline->parks[made].cond);
    kl_mutex_destroy(&pipeline->parks[made].mutex);
  }
  kl_cond_destroy(&pipeline->drained);
no_drained:
  kl_mutex_destroy(&pipeline->publishing);
no_publishing:
  kl_mutex_destroy(&pipeline->turn);
  return status;
}

void kl_commit_pipeline_destroy(kl_commit_pipeline *pipeline) {
  for (uint32_t i = 0; i < KL_COMMIT_PARKS; i++) {
    kl_cond_destroy(&pipeline->parks[i].cond);
    kl_mutex_destroy(&pipeline->parks[i].mutex);
  }
  kl_cond_destroy(&pipeline->drained);
  kl_mutex_destroy(&pipeline->publishing);
  kl_mutex_destroy(&pipeline->turn);
  kl_inflight_destroy(&pipeline->inflight);
}

void kl_commit_pipeline_close(kl_commit_pipeline *pipeline) {
  kl_mutex_lock(&pipeline->turn);
  pipeline->closed = true;
  kl_mutex_unlock(&pipeline->turn);
  kl_mutex_lock(&pipeline->publishing);
  while (pipeline->first != NULL) kl_cond_wait(&pipeline->drained, &pipeline->publishing);
  kl_mutex_unlock(&pipeline->publishing);
}

/* Sleeping and waking. The committer goes to sleep by adding PARKED to the state, under the lock of its park; whoever
 * changes the state does so with one exchange, and if that shows PARKED it takes the lock before it signals. So the
 * signal comes either before the committer's compare-and-swap, which then fails, or after it has begun to wait
 * (TXN-8). */

static void commit_signal(kl_commit_pipeline *pipeline, kl_commit_request *request, uint32_t state) {
  kl_commit_park *park = &pipeline->parks[request->park]; /* the request may be gone after the exchange */
  /* Release: the status, error and timestamp that were written. Acquire: nothing, but an exchange is both at no
   * cost. */
  uint32_t before = atomic_exchange_explicit(&request->state, state, memory_order_acq_rel);
  if ((before & COMMIT_PARKED) == 0) return;
  kl_mutex_lock(&park->mutex);
  kl_cond_broadcast(&park->cond); /* not signal: several committers share a park */
  kl_mutex_unlock(&park->mutex);
}

/* Waits while the state is `state`; returns the new one. */
static uint32_t commit_wait(kl_commit_pipeline *pipeline, kl_commit_request *request, uint32_t state) {
  uint32_t now = state;
  for (int i = 0; i < COMMIT_SPINS && now == state; i++) {
    now = atomic_load_explicit(&request->state, memory_order_acquire);
  }
  if (now != state) return now;
  kl_commit_park *park = &pipeline->parks[request->park];
  kl_mutex_lock(&park->mutex);
  now = state;
  if (atomic_compare_exchange_strong_explicit(&request->state, &now, state | COMMIT_PARKED, memory_order_acq_rel,
                                              memory_order_acquire)) {
    do {
      kl_cond_wait(&park->cond, &park->mutex);
      now = atomic_load_explicit(&request->state, memory_order_acquire);
    } while (now == (state | COMMIT_PARKED));
  }
  kl_mutex_unlock(&park->mutex);
  return now;
}

/* Before the queue, on the committer's thread: all that needs memory or work and no order among commits. */

static void commit_encode(kl_commit_request *request) {
  const kl_write_set *writes = &request->txn->writes;
  uint8_t *out = request->record + KL_COMMIT_HEADER_SIZE;
  for (uint32_t i = 0; i < writes->tree_count; i++) {
    kl_write_position at;
    kl_write_tree_first(writes->trees[i], &at);
    for (; at.entry != NULL; kl_write_position_next(&at)) {
      kl_op op = {writes->trees[i]->keyspace, at.entry->kind == KL_VERSION_PUT ? KL_OP_PUT : KL_OP_DELETE,
                  kl_write_entry_key(at.entry), kl_write_entry_value(at.entry)};
      out += kl_op_encode(&op, out);
    }
  }
  KL_ASSERT((size_t)(out - request->record) == request->record_size);
}

static void commit_hash(kl_commit_request *request, uint64_t seed) {
  const kl_write_set *writes = &request->txn->writes;
  uint64_t *out = request->hashes;
  for (uint32_t i = 0; i < writes->tree_count; i++) {
    kl_write_position at;
    kl_write_tree_first(writes->trees[i], &at);
    for (; at.entry != NULL; kl_write_position_next(&at)) {
      *out++ = kl_inflight_hash(seed, writes->trees[i]->keyspace, kl_write_entry_key(at.entry));
    }
  }
}

static kl_status commit_prepare(kl_txn_manager *manager, kl_commit_request *request, kl_error *err) {
  kl_write_set *writes = &request->txn->writes;
  if (writes->count > SIZE_MAX / sizeof(uint64_t) || writes->encoded_bytes > SIZE_MAX - KL_COMMIT_HEADER_SIZE) {
    return kl_fail(err, KL_E_LIMIT, "the transaction does not fit into memory as one log record");
  }
  request->hashes = kl_arena_alloc(&writes->arena, (size_t)writes->count * sizeof(uint64_t), _Alignof(uint64_t));
  if (manager->wal != NULL) {
    request->record_size = KL_COMMIT_HEADER_SIZE + (size_t)writes->encoded_bytes;
    request->record = kl_arena_alloc(&writes->arena, request->record_size, _Alignof(uint64_t));
  }
  request->delta_bytes = writes->payload_bytes + writes->count * COMMIT_ENTRY_OVERHEAD;
  /* A commit that is on the log must get into the delta, and the delta takes its memory then. A large commit holds as
   * much back from here on, so that want of memory shows before anything is logged (TXN-5). */
  if (request->delta_bytes >= COMMIT_RESERVE_FROM) {
    request->reserve = kl_alloc(&manager->allocator, (size_t)request->delta_bytes);
  }
  if (request->hashes == NULL || (manager->wal != NULL && request->record == NULL) ||
      (request->delta_bytes >= COMMIT_RESERVE_FROM && request->reserve == NULL)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to commit a transaction of %" PRIu64 " bytes; nothing was written",
                   writes->payload_bytes);
  }
  if (manager->wal != NULL) commit_encode(request);
  commit_hash(request, manager->pipeline.hash_seed);
  return kl_commit_precheck(manager, request, err);
}

static void commit_free_reserve(kl_txn_manager *manager, kl_commit_request *request) {
  kl_free(&manager->allocator, request->reserve, (size_t)request->delta_bytes);
  request->reserve = NULL;
}

/* Under the turn. */

/* An append failed. What the members are told depends on whether the log may hold the batch all the same. */
static void commit_append_failed(kl_txn_manager *manager, kl_commit_request *first, size_t count, kl_status status,
                                 const kl_error *error) {
  kl_wal_stats stats;
  kl_wal_get_stats(manager->wal, &stats);
  if (stats.poisoned) kl_txn_manager_poison(manager, error);
  for (kl_commit_request *request = first; count > 0; count--, request = request->next) {
    kl_commit_withdraw(manager, request);
    request->error = *error;
    request->status = status;
    if (stats.poisoned && status != KL_E_POISONED) {
      request->status = kl_fail(&request->error, KL_E_COMMIT_UNKNOWN,
                                "writing the commit to the log failed, so its outcome is unknown; open the database "
                                "again to learn it (%s)",
                                error->message);
      request->error.system_errno = error->system_errno;
    }
  }
}

/* Appends the admitted members as one batch, or a few when they are many or large. Those whose append failed have
 * their status set. */
static void commit_append(kl_txn_manager *manager, kl_commit_group *group, kl_commit_request *members) {
  for (kl_commit_request *member = members; member != NULL; member = member->next) {
    group->wants_sync = group->wants_sync || member->txn->durability == KL_DURABILITY_FULL;
    group->wants_sync_soon = group->wants_sync_soon || member->txn->durability == KL_DURABILITY_GROUP;
  }
  while (members != NULL && manager->wal != NULL) {
    kl_slice parts[COMMIT_PARTS];
    size_t count = 0, bytes = 0;
    uint64_t ts = 0;
    kl_commit_request *request = members;
    for (; request != NULL && count < COMMIT_PARTS; request = request->next) {
      if (count != 0 && request->record_size > COMMIT_BATCH_BYTES - bytes) break;
      parts[count++] = kl_slice_make(request->record, request->record_size);
      bytes = bytes + request->record_size < COMMIT_BATCH_BYTES ? bytes + request->record_size : COMMIT_BATCH_BYTES;
      ts = request->ts;
    }
    kl_error error = {0};
    /* When a sync follows anyway, the log may write the batch then. */
    kl_status status = group->wants_sync
                           ? kl_wal_append_deferred(manager->wal, parts, count, ts, NULL, &group->end, &error)
                           : kl_wal_append(manager->wal, parts, count, ts, NULL, &group->end, &error);
    if (status == KL_OK) {
      kl_counters_add(&manager->counters, TXN_GROUPS, 1);
    } else {
      commit_append_failed(manager, members, count, status, &error);
    }
    members = request;
  }
}

static kl_commit_request *commit_take_queue(kl_commit_pipeline *pipeline) {
  /* Acquire: what the members prepared. From here on the next committer finds the queue empty and leads. */
  kl_commit_request *newest = atomic_exchange_explicit(&pipeline->queue, NULL, memory_order_acq_rel);
  kl_commit_request *list = NULL;
  while (newest != NULL) {
    kl_commit_request *before = newest->next;
    newest->next = list;
    list = newest;
    newest = before;
  }
  return list;
}

/* Splits `list` into those whose status is KL_OK, in order, and the others. */
static void commit_sort_out(kl_commit_request *list, kl_commit_request **out_good, kl_commit_request **out_bad) {
  kl_commit_request **good = out_good, **bad = out_bad;
  for (; list != NULL; list = list->next) {
    if (list->status == KL_OK) {
      *good = list;
      good = &list->next;
    } else {
      *bad = list;
      bad = &list->next;
    }
  }
  *good = *bad = NULL;
}

static void commit_enqueue_group(kl_txn_manager *manager, kl_commit_group *group) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  uint32_t followers = 0;
  for (kl_commit_request *member = group->members; member != NULL; member = member->next) {
    member->group = group;
    group->last_ts = member->ts;
    followers += member != group->leader;
  }
  atomic_init(&group->pending, followers + 1);
  kl_mutex_lock(&pipeline->publishing);
  if (pipeline->last != NULL) {
    pipeline->last->next = group;
  } else {
    pipeline->first = group;
  }
  pipeline->last = group;
  kl_mutex_unlock(&pipeline->publishing);
}

/* After the turn. */

/* What a member of a group is told that was appended and cannot be published. */
static void commit_fail_member(kl_txn_manager *manager, kl_commit_request *member) {
  /* Does not change once it is set, and it was set before the group was found to have failed. */
  const kl_error *reason = &manager->pipeline.poison;
  if (manager->wal == NULL) {
    member->status = kl_fail(&member->error, KL_E_POISONED, "nothing was committed, and nothing will be any more (%s)",
                             reason->message);
  } else {
    member->status = kl_fail(
        &member->error, KL_E_COMMIT_UNKNOWN,
        "the outcome of the commit is unknown; close the database and open it again to learn it (%s)", reason->message);
  }
  member->error.system_errno = reason->system_errno;
}

static void commit_complete_group(kl_txn_manager *manager, kl_commit_group *group, bool published) {
  kl_commit_request *leader = group->leader;
  for (kl_commit_request *member = group->members, *next; member != NULL; member = next) {
    next = member->next;
    if (!published) commit_fail_member(manager, member);
    if (member != leader) commit_signal(&manager->pipeline, member, COMMIT_DONE);
  }
  commit_signal(&manager->pipeline, leader, COMMIT_DONE); /* last: the group is on its stack */
}

/* The group is durable as asked and inserted, or has failed. Publishes it, and those behind it that were ready before
 * it, unless one before it is not ready: then the last of those will do it (TXN-3). */
static void commit_publish(kl_txn_manager *manager, kl_commit_group *group) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_mutex_lock(&pipeline->publishing);
  group->ready = true;
  while (pipeline->first != NULL && pipeline->first->ready) {
    kl_commit_group *oldest = pipeline->first;
    pipeline->first = oldest->next;
    if (pipeline->first == NULL) pipeline->last = NULL;
    /* Once a group has failed, none behind it is published either: they may have read what it did not write. */
    if (atomic_load_explicit(&oldest->failed, memory_order_relaxed)) pipeline->stopped = true;
    bool published = !pipeline->stopped;
    if (published) {
      /* Sequentially consistent, for TXN-6; as a release it publishes the inserts of all members. */
      atomic_store_explicit(&manager->visible_ts, oldest->last_ts, memory_order_seq_cst);
    }
    if (pipeline->first == NULL) kl_cond_broadcast(&pipeline->drained);
    /* Waking takes other locks; and a group that becomes ready meanwhile is found by the next turn of the loop. */
    kl_mutex_unlock(&pipeline->publishing);
    commit_complete_group(manager, oldest, published);
    kl_mutex_lock(&pipeline->publishing);
  }
  kl_mutex_unlock(&pipeline->publishing);
}

static void commit_group_failed(kl_txn_manager *manager, kl_commit_group *group, const kl_error *reason) {
  kl_txn_manager_poison(manager, reason);
  /* Relaxed: the decrement of `pending` that follows is what others synchronise with. */
  atomic_store_explicit(&group->failed, true, memory_order_relaxed);
}

/* One of those that the group waits for is through. The group may be gone when this returns, unless the caller is a
 * member that has not been completed. */
static void commit_leave_group(kl_txn_manager *manager, kl_commit_group *group) {
  /* Release: our inserts; acquire: those of the others, for the one that publishes. */
  if (atomic_fetch_sub_explicit(&group->pending, 1, memory_order_acq_rel) == 1) commit_publish(manager, group);
}

static kl_status commit_insert_entry(kl_txn_manager *manager, uint32_t keyspace, const kl_write_entry *entry,
                                     uint64_t ts, kl_error *err) {
  kl_version version = {ts, (kl_version_kind)entry->kind, kl_write_entry_value(entry)};
  kl_status status = KL_E_NO_MEMORY;
  /* The commit is on the log: want of memory may pass, a database that has to be opened again is worse than a pause. */
  for (unsigned try = 0; try < COMMIT_INSERT_TRIES && status == KL_E_NO_MEMORY; try++) {
    if (try != 0) kl_os_sleep_ns(manager->os, (uint64_t)1000000 << (try - 1));
    status = kl_delta_insert(manager->delta, keyspace, kl_write_entry_key(entry), &version, err);
  }
  return status;
}

static void commit_insert(kl_txn_manager *manager, kl_commit_request *request) {
  const kl_write_set *writes = &request->txn->writes;
  commit_free_reserve(manager, request);
  kl_error error;
  kl_status status = KL_OK;
  for (uint32_t i = 0; i < writes->tree_count && status == KL_OK; i++) {
    kl_write_position at;
    kl_write_tree_first(writes->trees[i], &at);
    for (; at.entry != NULL && status == KL_OK; kl_write_position_next(&at)) {
      status = commit_insert_entry(manager, writes->trees[i]->keyspace, at.entry, request->ts, &error);
    }
  }
  atomic_fetch_sub_explicit(&manager->pipeline.reserved_bytes, request->delta_bytes, memory_order_relaxed);
  if (status != KL_OK) commit_group_failed(manager, request->group, &error);
}

/* The leader's part after the append: durability. */
static void commit_sync_group(kl_txn_manager *manager, kl_commit_group *group) {
  if (manager->wal == NULL) return;
  kl_error error;
  kl_status status = KL_OK;
  if (!group->wants_sync && group->wants_sync_soon) {
    status = kl_wal_sync_soon(manager->wal, manager->options.group_interval_ns, &error);
    if (status != KL_OK) group->wants_sync = true; /* no thread to do it later, say: then now */
  }
  if (group->wants_sync) status = kl_wal_sync(manager->wal, group->end, &error);
  if (status != KL_OK) commit_group_failed(manager, group, &error);
}

static void commit_lead(kl_txn_manager *manager, kl_commit_request *own) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_commit_group group = {.leader = own};
  kl_commit_request *admitted, *refused, *refused_later;
  kl_mutex_lock(&pipeline->turn);
  kl_commit_request *list = commit_take_queue(pipeline);
  for (kl_commit_request *member = list; member != NULL; member = member->next) {
    member->status = kl_commit_admit(manager, member);
  }
  commit_sort_out(list, &admitted, &refused);
  commit_append(manager, &group, admitted);
  commit_sort_out(admitted, &group.members, &refused_later);
  if (group.members != NULL) commit_enqueue_group(manager, &group);
  /* The next group is validated and appended while this one is inserted and synced. */
  kl_mutex_unlock(&pipeline->turn);

  for (int i = 0; i < 2; i++, refused = refused_later) {
    while (refused != NULL) {
      kl_commit_request *next = refused->next;
      if (refused != own) commit_signal(pipeline, refused, COMMIT_DONE);
      refused = next;
    }
  }
  if (group.members == NULL) return; /* its leader was refused too */
  bool leads_only = own->status != KL_OK;
  for (kl_commit_request *member = group.members; member != NULL; member = member->next) {
    if (member != own) commit_signal(pipeline, member, COMMIT_INSERT);
  }
  commit_sync_group(manager, &group);
  if (!leads_only) commit_insert(manager, own);
  commit_leave_group(manager, &group);
  commit_wait(pipeline, own, COMMIT_WAITING);
}

static void commit_follow(kl_txn_manager *manager, kl_commit_request *own) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  if (commit_wait(pipeline, own, COMMIT_WAITING) == COMMIT_DONE) return; /* refused */
  commit_insert(manager, own);
  commit_leave_group(manager, own->group);
  commit_wait(pipeline, own, COMMIT_INSERT);
}

/* True when the queue was empty: the caller leads the next group. */
static bool commit_join_queue(kl_commit_pipeline *pipeline, kl_commit_request *request) {
  kl_commit_request *newest = atomic_load_explicit(&pipeline->queue, memory_order_relaxed);
  do {
    request->next = newest;
    /* Release: what was prepared, for the leader. Nobody but the leader follows `next`, and it takes the whole queue
     * with an exchange, so that a request which comes, goes and comes again cannot deceive the compare-and-swap. */
  } while (!atomic_compare_exchange_weak_explicit(&pipeline->queue, &newest, request, memory_order_acq_rel,
                                                  memory_order_relaxed));
  return newest == NULL;
}

kl_status kl_commit_run(kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_commit_request request = {.txn = txn, .park = kl_thread_hint() & (KL_COMMIT_PARKS - 1)};
  kl_status status = commit_prepare(manager, &request, err);
  if (status == KL_OK) {
    if (commit_join_queue(&manager->pipeline, &request)) {
      commit_lead(manager, &request);
    } else {
      commit_follow(manager, &request);
    }
    status = request.status;
    if (status == KL_OK) *out_ts = request.ts;
    if (status != KL_OK && err != NULL) *err = request.error;
  }
  commit_free_reserve(manager, &request);
  return status;
}

/* ---- core/txn/cursor.c ---- */
/* core/txn/cursor.c: cursors over what a transaction sees. See txn.h.
 *
 * A cursor is a place: on a key, before the first, behind the last, or fresh. The sources under it may lag behind the
 * transaction's writes; before it moves on or shows something, a cursor that stands on a key compares the write
 * tree's change count with the one it saw, and looks again. The committed source never changes: it is read at the
 * snapshot. */

/* ---- core/txn/merge.h ---- */
/* core/txn/merge.h: several ordered sources of versions, read as one.
 *
 * A source is anything that can stand on a key and step either way: the transaction's own writes, the delta as of a
 * snapshot, later frozen deltas and the tree. Each key comes at most once from a source. The merge shows each key
 * once, with the version of the first source that has it (newest first), and skips keys whose version is a delete.
 *
 * Keys and values that a source shows stay readable as long as what the source reads from is held, also after the
 * source has moved on. Thread rules: one thread at a time. */
#ifndef KL_TXN_MERGE_H
#define KL_TXN_MERGE_H

typedef struct kl_source kl_source;

/* Each sets the source's `valid`, and key, kind and value with it. Failing is for sources that read files. */
typedef struct kl_source_ops {
  kl_status (*first)(kl_source *source, kl_error *err);
  kl_status (*last)(kl_source *source, kl_error *err);
  kl_status (*seek_ge)(kl_source *source, kl_slice key, kl_error *err); /* first key >= */
  kl_status (*seek_le)(kl_source *source, kl_slice key, kl_error *err); /* last key <= */
  kl_status (*next)(kl_source *source, kl_error *err);                  /* valid before */
  kl_status (*prev)(kl_source *source, kl_error *err);
} kl_source_ops;

struct kl_source {
  const kl_source_ops *ops;
  bool valid; /* stands on a key */
  kl_version_kind kind;
  kl_slice key, value;
};

/* The transaction's writes to one keyspace. Positions are lost when the transaction writes: reposition by key. */
typedef struct kl_write_source {
  kl_source source;
  const kl_write_set *set;
  uint32_t keyspace;
  kl_write_position position;
} kl_write_source;
void kl_write_source_init(kl_write_source *source, const kl_write_set *set, uint32_t keyspace);

/* A delta as of a timestamp; the caller holds a reference on it. */
typedef struct kl_delta_source {
  kl_source source;
  kl_delta_cursor cursor;
} kl_delta_source;
void kl_delta_source_init(kl_delta_source *source, kl_delta *delta, uint32_t keyspace, uint64_t read_ts);

enum { KL_MERGE_SOURCES = 2 };

typedef struct kl_merge {
  kl_source *sources[KL_MERGE_SOURCES]; /* newest first */
  uint32_t count;
  bool forward; /* every source stands on its first key at or behind the current one; else: on its last at or before */
  kl_source *current; /* what the merge stands on; NULL: nothing */
} kl_merge;

static inline void kl_merge_init(kl_merge *merge) {
  merge->count = 0;
  merge->forward = false;
  merge->current = NULL;
}
static inline void kl_merge_add(kl_merge *merge, kl_source *source) { /* newest first, at most KL_MERGE_SOURCES */
  merge->sources[merge->count++] = source;
}

/* After each, `current` is NULL when there is no such key. */
kl_status kl_merge_first(kl_merge *merge, kl_error *err);
kl_status kl_merge_last(kl_merge *merge, kl_error *err);
kl_status kl_merge_seek_ge(kl_merge *merge, kl_slice key, kl_error *err);
kl_status kl_merge_seek_le(kl_merge *merge, kl_slice key, kl_error *err);
/* Moves away from `key`, where the merge stands or stood: its `current` may have become a delete, or a source may
 * have been repositioned to it. */
kl_status kl_merge_next(kl_merge *merge, kl_slice key, kl_error *err);
kl_status kl_merge_prev(kl_merge *merge, kl_slice key, kl_error *err);
/* Makes the merge stand on `key` again, where it stood once, also when the key's version is a delete now. */
kl_status kl_merge_return(kl_merge *merge, bool forward, kl_slice key, kl_error *err);
/* Positions one source anew, after what it reads from has changed, while the merge stands on `key`; `current` becomes
 * the source whose version of `key` counts, which may be a delete now. */
kl_status kl_merge_refresh(kl_merge *merge, kl_source *source, kl_slice key, kl_error *err);

#endif

enum { CURSOR_BATCH_BYTES = 1024 * 1024 };

typedef enum cursor_place { CURSOR_FRESH, CURSOR_BEFORE, CURSOR_ON, CURSOR_BEHIND } cursor_place;

struct kl_cursor {
  kl_txn *txn; /* a reference */
  uint32_t keyspace;
  cursor_place place;
  kl_slice key; /* where it stands, when place is CURSOR_ON */
  kl_slice lower, upper;
  uint64_t changes_seen; /* of the write tree, when its source was positioned */
  kl_merge merge;
  kl_write_source own;
  kl_delta_source committed;
  size_t size;
  uint8_t bounds[];
};

static kl_slice cursor_copy_bound(uint8_t *to, kl_slice bound) {
  if (bound.data == NULL) return bound;
  if (bound.size != 0) memcpy(to, bound.data, bound.size);
  return kl_slice_make(to, bound.size);
}

kl_status kl_cursor_open(kl_txn *txn, uint32_t keyspace, kl_slice lower, kl_slice upper, kl_cursor **out_cursor,
                         kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = kl_txn_check_key(lower, err);
  if (status == KL_OK) status = kl_txn_check_key(upper, err);
  if (status == KL_OK) {
    size_t size = sizeof(kl_cursor) + lower.size + upper.size;
    kl_cursor *cursor = kl_alloc(&txn->manager->allocator, size);
    if (cursor == NULL) {
      status = kl_fail(err, KL_E_NO_MEMORY, "no memory for a cursor");
    } else {
      cursor->txn = txn;
      atomic_fetch_add_explicit(&txn->references, 1, memory_order_relaxed);
      cursor->keyspace = keyspace;
      cursor->size = size;
      cursor->lower = cursor_copy_bound(cursor->bounds, lower);
      cursor->upper = cursor_copy_bound(cursor->bounds + lower.size, upper);
      kl_write_source_init(&cursor->own, &txn->writes, keyspace);
      kl_delta_source_init(&cursor->committed, txn->delta, keyspace, txn->snapshot.ts);
      kl_merge_init(&cursor->merge);
      kl_merge_add(&cursor->merge, &cursor->own.source);
      kl_merge_add(&cursor->merge, &cursor->committed.source);
      *out_cursor = cursor;
    }
  }
  kl_txn_leave(txn);
  return status;
}

void kl_cursor_close(kl_cursor *cursor) {
  if (cursor == NULL) return;
  kl_txn *txn = cursor->txn;
  kl_free(&txn->manager->allocator, cursor, cursor->size);
  kl_txn_unref(txn);
}

static uint64_t cursor_changes(const kl_cursor *cursor) {
  const kl_write_tree *tree = kl_write_set_tree(&cursor->txn->writes, cursor->keyspace);
  return tree != NULL ? tree->changes : 0;
}

/* Takes the place that the merge has come to, moving forward or backward. */
static kl_status cursor_arrive(kl_cursor *cursor, bool forward) {
  const kl_source *source = cursor->merge.current;
  bool inside = source != NULL;
  if (inside && forward && cursor->upper.data != NULL) inside = kl_slice_compare(source->key, cursor->upper) < 0;
  if (inside && !forward && cursor->lower.data != NULL) inside = kl_slice_compare(source->key, cursor->lower) >= 0;
  if (!inside) {
    cursor->place = forward ? CURSOR_BEHIND : CURSOR_BEFORE;
    return KL_E_NOT_FOUND;
  }
  cursor->place = CURSOR_ON;
  cursor->key = source->key;
  return KL_OK;
}

static kl_status cursor_first(kl_cursor *cursor, kl_error *err) {
  cursor->changes_seen = cursor_changes(cursor);
  kl_status status = cursor->lower.data != NULL ? kl_merge_seek_ge(&cursor->merge, cursor->lower, err)
                                                : kl_merge_first(&cursor->merge, err);
  return status == KL_OK ? cursor_arrive(cursor, true) : status;
}

static kl_status cursor_last(kl_cursor *cursor, kl_error *err) {
  cursor->changes_seen = cursor_changes(cursor);
  if (cursor->upper.data == NULL) {
    kl_status status = kl_merge_last(&cursor->merge, err);
    return status == KL_OK ? cursor_arrive(cursor, false) : status;
  }
  kl_status status = kl_merge_seek_le(&cursor->merge, cursor->upper, err);
  if (status != KL_OK) return status;
  const kl_source *at = cursor->merge.current;
  if (at != NULL && kl_slice_equal(at->key, cursor->upper)) { /* the upper bound is outside */
    status = kl_merge_prev(&cursor->merge, cursor->upper, err);
    if (status != KL_OK) return status;
  }
  return cursor_arrive(cursor, false);
}

static kl_status cursor_seek_ge(kl_cursor *cursor, kl_slice key, kl_error *err) {
  if (cursor->lower.data != NULL && kl_slice_compare(key, cursor->lower) < 0) return cursor_first(cursor, err);
  cursor->changes_seen = cursor_changes(cursor);
  kl_status status = kl_merge_seek_ge(&cursor->merge, key, err);
  return status == KL_OK ? cursor_arrive(cursor, true) : status;
}

static kl_status cursor_seek_le(kl_cursor *cursor, kl_slice key, kl_error *err) {
  if (cursor->upper.data != NULL && kl_slice_compare(key, cursor->upper) >= 0) return cursor_last(cursor, err);
  cursor->changes_seen = cursor_changes(cursor);
  kl_status status = kl_merge_seek_le(&cursor->merge, key, err);
  return status == KL_OK ? cursor_arrive(cursor, false) : status;
}

/* The cursor stands on a key: makes the merge stand there too, as the transaction sees it now. */
static kl_status cursor_refresh(kl_cursor *cursor, kl_error *err) {
  uint64_t changes = cursor_changes(cursor);
  if (changes == cursor->changes_seen) return KL_OK;
  cursor->changes_seen = changes;
  return kl_merge_refresh(&cursor->merge, &cursor->own.source, cursor->key, err);
}

static kl_status cursor_next(kl_cursor *cursor, kl_error *err) {
  cursor->txn->cursor_steps++;
  if (cursor->place == CURSOR_BEHIND) return KL_E_NOT_FOUND;
  if (cursor->place != CURSOR_ON) return cursor_first(cursor, err);
  kl_status status = cursor_refresh(cursor, err);
  if (status == KL_OK) status = kl_merge_next(&cursor->merge, cursor->key, err);
  return status == KL_OK ? cursor_arrive(cursor, true) : status;
}

static kl_status cursor_prev(kl_cursor *cursor, kl_error *err) {
  cursor->txn->cursor_steps++;
  if (cursor->place == CURSOR_BEFORE) return KL_E_NOT_FOUND;
  if (cursor->place != CURSOR_ON) return cursor_last(cursor, err);
  kl_status status = cursor_refresh(cursor, err);
  if (status == KL_OK) status = kl_merge_prev(&cursor->merge, cursor->key, err);
  return status == KL_OK ? cursor_arrive(cursor, false) : status;
}

/* What a public move gives back: fills err for the end of the range, which the loops inside do not need. */
static kl_status cursor_leave(kl_cursor *cursor, kl_status status, kl_error *err) {
  kl_txn_leave(cursor->txn);
  return status == KL_E_NOT_FOUND ? kl_txn_not_found(err, "there is no key in that direction") : status;
}

kl_status kl_cursor_first(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  return cursor_leave(cursor, cursor_first(cursor, err), err);
}

kl_status kl_cursor_last(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  return cursor_leave(cursor, cursor_last(cursor, err), err);
}

kl_status kl_cursor_seek_ge(kl_cursor *cursor, kl_slice key, kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  status = kl_txn_check_key(key, err);
  return cursor_leave(cursor, status == KL_OK ? cursor_seek_ge(cursor, key, err) : status, err);
}

kl_status kl_cursor_seek_le(kl_cursor *cursor, kl_slice key, kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  status = kl_txn_check_key(key, err);
  return cursor_leave(cursor, status == KL_OK ? cursor_seek_le(cursor, key, err) : status, err);
}

kl_status kl_cursor_next(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  return cursor_leave(cursor, cursor_next(cursor, err), err);
}

kl_status kl_cursor_prev(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  return cursor_leave(cursor, cursor_prev(cursor, err), err);
}

kl_status kl_cursor_get(kl_cursor *cursor, kl_slice *out_key, kl_slice *out_value, kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  if (cursor->place != CURSOR_ON) {
    status = kl_txn_not_found(err, "the cursor stands on no key");
  } else {
    status = cursor_refresh(cursor, err);
  }
  if (status == KL_OK && cursor->merge.current->kind == KL_VERSION_DELETE) {
    status = kl_txn_not_found(err, "the transaction has deleted the key that the cursor stands on");
  }
  if (status == KL_OK) {
    *out_key = cursor->merge.current->key;
    *out_value = cursor->merge.current->value;
  }
  kl_txn_leave(cursor->txn);
  return status;
}

/* Puts the cursor back on `key` after a move that shall not count. */
static kl_status cursor_return(kl_cursor *cursor, cursor_place place, kl_slice key, bool forward, kl_error *err) {
  cursor->place = place;
  if (place != CURSOR_ON) return KL_OK;
  cursor->key = key;
  cursor->changes_seen = cursor_changes(cursor);
  return kl_merge_return(&cursor->merge, forward, key, err);
}

/* Inside of the transaction: collects rows in one direction. */
static kl_status cursor_collect(kl_cursor *cursor, bool forward, size_t max_rows, size_t max_bytes, kl_batch *batch,
                                kl_error *err) {
  cursor_place start_place = cursor->place, place = cursor->place;
  kl_slice start_key = cursor->key, key = cursor->key;
  size_t bytes = 0;
  kl_status status = KL_OK;
  while (max_rows == 0 || batch->count < max_rows) {
    status = forward ? cursor_next(cursor, err) : cursor_prev(cursor, err);
    if (status != KL_OK) break;
    const kl_source *row = cursor->merge.current;
    size_t size = row->key.size + row->value.size;
    if (batch->count != 0 && (size > max_bytes || bytes > max_bytes - size)) {
      return cursor_return(cursor, place, key, forward, err);
    }
    status = kl_batch_append(batch, row->key, row->value, true, err);
    if (status != KL_OK) break;
    bytes += size;
    place = cursor->place;
    key = cursor->key;
  }
  if (status == KL_E_NOT_FOUND && batch->count == 0) return KL_OK;
  if (status == KL_E_NOT_FOUND) return cursor_return(cursor, place, key, forward, err);
  if (status != KL_OK) {
    kl_status back = cursor_return(cursor, start_place, start_key, forward, NULL);
    if (back != KL_OK) cursor->place = CURSOR_FRESH;
  }
  return status;
}

static kl_status cursor_batch(kl_cursor *cursor, bool forward, size_t max_rows, size_t max_bytes, kl_batch *batch,
                              kl_error *err) {
  kl_status status = kl_txn_enter(cursor->txn, err);
  if (status != KL_OK) return status;
  if (max_bytes == 0) max_bytes = CURSOR_BATCH_BYTES;
  status = kl_batch_start(batch, err);
  if (status == KL_OK) status = cursor_collect(cursor, forward, max_rows, max_bytes, batch, err);
  if (status != KL_OK) batch->count = 0;
  kl_txn_leave(cursor->txn);
  return status;
}

kl_status kl_cursor_next_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err) {
  return cursor_batch(cursor, true, max_rows, max_bytes, batch, err);
}

kl_status kl_cursor_prev_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err) {
  return cursor_batch(cursor, false, max_rows, max_bytes, batch, err);
}

/* ---- core/txn/inflight.c ---- */
/* core/txn/inflight.c: open addressing with linear probing. See inflight.h. */

enum {
  INFLIGHT_FIRST_SLOTS = 2048,
  INFLIGHT_KEPT_SLOTS = 16384 /* a larger table, made for a large commit, is given back once it is empty */
};

/* Withdrawn: keeps the probe chain together, never newer than any snapshot. */
#define INFLIGHT_WITHDRAWN ((uint64_t)1)

uint64_t kl_inflight_hash(uint64_t seed, uint32_t keyspace, kl_slice key) {
  /* Mixed before the bytes come in: the size must not be able to make up for a difference in them. */
  uint64_t hash = kl_mix64(seed ^ ((uint64_t)keyspace << 32 | (uint64_t)(uint32_t)key.size));
  const uint8_t *bytes = key.data;
  size_t left = key.size;
  for (; left >= 8; left -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    hash = kl_mix64(hash ^ word) + seed;
  }
  if (left != 0) {
    uint64_t word = 0;
    memcpy(&word, bytes, left);
    hash = kl_mix64(hash ^ word);
  }
  return kl_mix64(hash);
}

void kl_inflight_init(kl_inflight *table, kl_allocator *allocator) {
  memset(table, 0, sizeof *table);
  table->allocator = allocator;
}

static void inflight_empty(kl_inflight *table) {
  kl_free(table->allocator, table->entries, table->capacity * sizeof *table->entries);
  table->entries = NULL;
  table->capacity = table->used = 0;
  table->forgotten = table->newest;
}

void kl_inflight_destroy(kl_inflight *table) {
  inflight_empty(table);
}

static kl_inflight_entry *inflight_slot(kl_inflight_entry *entries, size_t capacity, uint64_t hash) {
  size_t i = (size_t)hash & (capacity - 1);
  while (entries[i].ts != 0 && entries[i].hash != hash) i = (i + 1) & (capacity - 1);
  return &entries[i];
}

bool kl_inflight_reserve(kl_inflight *table, size_t count, uint64_t visible) {
  if (table->newest <= visible && table->capacity > INFLIGHT_KEPT_SLOTS) inflight_empty(table);
  if (table->used + count <= table->capacity / 2) return true;
  size_t live = 0;
  for (size_t i = 0; i < table->capacity; i++) live += table->entries[i].ts > visible;
  if (count > SIZE_MAX / 64 - live) return false;
  /* Twice what is needed now, so that sweeps are rare: a table is at most a quarter full after one. */
  size_t capacity = INFLIGHT_FIRST_SLOTS;
  while (capacity / 4 < live + count) capacity *= 2;
  if (capacity < table->capacity && table->capacity <= INFLIGHT_KEPT_SLOTS) capacity = table->capacity;
  if (live == 0 && capacity == table->capacity) {
    memset(table->entries, 0, capacity * sizeof *table->entries);
    table->used = 0;
    table->forgotten = visible;
    return true;
  }
  kl_inflight_entry *entries = kl_alloc(table->allocator, capacity * sizeof *entries);
  if (entries == NULL) return false;
  for (size_t i = 0; i < table->capacity; i++) {
    if (table->entries[i].ts > visible) *inflight_slot(entries, capacity, table->entries[i].hash) = table->entries[i];
  }
  kl_free(table->allocator, table->entries, table->capacity * sizeof *table->entries);
  table->entries = entries;
  table->capacity = capacity;
  table->used = live;
  table->forgotten = visible;
  return true;
}

void kl_inflight_add(kl_inflight *table, uint64_t hash, uint64_t ts) {
  KL_ASSERT(table->used < table->capacity);
  kl_inflight_entry *entry = inflight_slot(table->entries, table->capacity, hash);
  if (entry->ts == 0) table->used++;
  entry->hash = hash;
  entry->ts = ts;
  if (ts > table->newest) table->newest = ts;
}

uint64_t kl_inflight_find(const kl_inflight *table, uint64_t hash) {
  if (table->capacity == 0) return 0;
  return inflight_slot(table->entries, table->capacity, hash)->ts;
}

void kl_inflight_withdraw(kl_inflight *table, uint64_t hash, uint64_t ts) {
  if (table->capacity == 0) return;
  kl_inflight_entry *entry = inflight_slot(table->entries, table->capacity, hash);
  if (entry->ts == ts) entry->ts = INFLIGHT_WITHDRAWN;
  /* The entry may have replaced an older one, which somebody's precheck was too early to see. */
  table->forgotten = table->newest;
}

/* ---- core/txn/manager.c ---- */
/* core/txn/manager.c: life, limits and statistics of the transactional half of a database. See manager.h. */

static void *manager_alloc(kl_allocator *self, size_t size, size_t align) {
  kl_txn_manager *manager = (kl_txn_manager *)self; /* `allocator` is its first member */
  void *memory = manager->os->allocator->alloc(manager->os->allocator, size, align);
  if (memory != NULL) kl_counters_add(&manager->counters, TXN_MEMORY, size);
  return memory;
}

static void manager_free(kl_allocator *self, void *memory, size_t size) {
  kl_txn_manager *manager = (kl_txn_manager *)self;
  if (memory == NULL) return;
  kl_counters_add(&manager->counters, TXN_MEMORY, (uint64_t)0 - size);
  manager->os->allocator->free(manager->os->allocator, memory, size);
}

static kl_status manager_init(kl_txn_manager *manager, kl_error *err) {
  kl_status status = kl_delta_new(&manager->allocator, &manager->delta, err);
  if (status != KL_OK) return status;
  status = kl_snapshot_registry_init(&manager->snapshots, &manager->allocator, &manager->visible_ts, err);
  if (status != KL_OK) goto no_registry;
  uint64_t seed;
  kl_os_random(manager->os, &seed, sizeof seed);
  status = kl_commit_pipeline_init(&manager->pipeline, &manager->allocator, seed, err);
  if (status != KL_OK) goto no_pipeline;
  return KL_OK;
no_pipeline:
  kl_snapshot_registry_destroy(&manager->snapshots);
no_registry:
  kl_delta_unref(manager->delta);
  return status;
}

kl_status kl_txn_manager_new(kl_os *os, const kl_txn_manager_options *options, kl_txn_manager **out, kl_error *err) {
  kl_txn_manager *manager = kl_alloc_aligned(os->allocator, sizeof *manager, _Alignof(kl_txn_manager));
  if (manager == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open a database");
  manager->allocator.alloc = manager_alloc;
  manager->allocator.free = manager_free;
  manager->os = os;
  manager->options = *options;
  if (manager->options.durability == KL_DURABILITY_DEFAULT) manager->options.durability = KL_DURABILITY_FULL;
  atomic_init(&manager->references, 1);
  atomic_init(&manager->visible_ts, KL_TS_EMPTY);
  kl_status status = manager_init(manager, err);
  if (status != KL_OK) {
    kl_free(os->allocator, manager, sizeof *manager);
    return status;
  }
  *out = manager;
  return KL_OK;
}

void kl_txn_manager_ref(kl_txn_manager *manager) {
  atomic_fetch_add_explicit(&manager->references, 1, memory_order_relaxed);
}

void kl_txn_manager_unref(kl_txn_manager *manager) {
  if (manager == NULL) return;
  /* Release: our use ends before; acquire: the one that frees has seen all others end. */
  if (atomic_fetch_sub_explicit(&manager->references, 1, memory_order_acq_rel) != 1) return;
  kl_commit_pipeline_destroy(&manager->pipeline);
  kl_snapshot_registry_destroy(&manager->snapshots);
  kl_delta_unref(manager->delta);
  kl_os *os = manager->os;
  kl_free(os->allocator, manager, sizeof *manager);
}

kl_allocator *kl_txn_manager_allocator(kl_txn_manager *manager) {
  return &manager->allocator;
}
kl_os *kl_txn_manager_os(kl_txn_manager *manager) {
  return manager->os;
}
kl_delta *kl_txn_manager_delta(kl_txn_manager *manager) {
  return manager->delta;
}
bool kl_txn_manager_is_read_only(const kl_txn_manager *manager) {
  return manager->options.read_only;
}

void kl_txn_manager_start(kl_txn_manager *manager, kl_wal *wal, uint64_t last_ts) {
  if (last_ts < KL_TS_EMPTY) last_ts = KL_TS_EMPTY;
  manager->wal = wal;
  manager->pipeline.last_ts = last_ts;
  atomic_store_explicit(&manager->visible_ts, last_ts, memory_order_seq_cst);
  /* Release: whoever finds it open sees the above. */
  atomic_store_explicit(&manager->open, true, memory_order_release);
}

void kl_txn_manager_close(kl_txn_manager *manager) {
  atomic_store_explicit(&manager->open, false, memory_order_release);
  kl_commit_pipeline_close(&manager->pipeline);
  kl_txn_close_spares(manager);
}

kl_status kl_txn_manager_flush(kl_txn_manager *manager, kl_error *err) {
  if (manager->wal == NULL) return KL_OK;
  kl_wal_stats stats;
  kl_wal_get_stats(manager->wal, &stats);
  kl_error error;
  kl_status status = kl_wal_sync(manager->wal, stats.tail_lsn, &error);
  if (status == KL_OK) return KL_OK;
  kl_txn_manager_poison(manager, &error); /* the log is, so writing is over; say so at the next beginning */
  if (err != NULL) *err = error;
  return status;
}

kl_status kl_txn_manager_check(kl_txn_manager *manager, kl_error *err) {
  /* Acquire: the reason was written before. */
  if (!atomic_load_explicit(&manager->pipeline.poisoned, memory_order_acquire)) return KL_OK;
  kl_status status = kl_fail(err, KL_E_POISONED, "the database takes no more writes until it is opened again: %s",
                             manager->pipeline.poison.message);
  if (err != NULL) err->system_errno = manager->pipeline.poison.system_errno;
  return status;
}

void kl_txn_manager_poison(kl_txn_manager *manager, const kl_error *reason) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_mutex_lock(&pipeline->publishing);
  if (!atomic_load_explicit(&pipeline->poisoned, memory_order_relaxed)) {
    pipeline->poison = *reason;
    /* Release: the reason, for kl_txn_manager_check. */
    atomic_store_explicit(&pipeline->poisoned, true, memory_order_release);
  }
  kl_mutex_unlock(&pipeline->publishing);
}

uint64_t kl_txn_manager_oldest_ts(kl_txn_manager *manager) {
  return kl_snapshot_oldest_ts(&manager->snapshots);
}

void kl_txn_manager_get_stats(kl_txn_manager *manager, kl_txn_manager_stats *out) {
  memset(out, 0, sizeof *out);
  const kl_counters *counters = &manager->counters;
  out->commits = kl_counters_sum(counters, TXN_COMMITS);
  out->commits_read_only = kl_counters_sum(counters, TXN_COMMITS_READ_ONLY);
  out->rollbacks = kl_counters_sum(counters, TXN_ROLLBACKS);
  out->conflicts = kl_counters_sum(counters, TXN_CONFLICTS);
  out->groups = kl_counters_sum(counters, TXN_GROUPS);
  out->views_live = kl_counters_sum(counters, TXN_VIEWS);
  out->memory_bytes = kl_counters_sum(counters, TXN_MEMORY) + sizeof *manager;
  out->gets = kl_counters_sum(&manager->operations, TXN_GETS);
  out->puts = kl_counters_sum(&manager->operations, TXN_PUTS);
  out->deletes = kl_counters_sum(&manager->operations, TXN_DELETES);
  out->cursor_steps = kl_counters_sum(&manager->operations, TXN_CURSOR_STEPS);
  kl_snapshot_summary summary;
  kl_snapshot_summarise(&manager->snapshots, &summary);
  out->snapshots_live = summary.live;
  out->transactions_live = summary.live; /* each has its own, until snapshots can be shared */
  uint64_t now = kl_os_monotonic_ns(manager->os);
  if (summary.live != 0 && now > summary.oldest_begin_ns) out->oldest_snapshot_age_ns = now - summary.oldest_begin_ns;
  memcpy(out->oldest_snapshot_label, summary.oldest_label, sizeof out->oldest_snapshot_label);
  out->visible_ts = atomic_load_explicit(&manager->visible_ts, memory_order_acquire);
  out->poisoned = atomic_load_explicit(&manager->pipeline.poisoned, memory_order_relaxed);
}

void kl_drop_marker_encode(uint32_t keyspace, uint8_t out[KL_DROP_MARKER_SIZE]) {
  out[0] = 'd';
  kl_store_u32_be(out + 1, keyspace);
}

/* ---- core/txn/merge.c ---- */
/* core/txn/merge.c: the k-way merge and its two sources. See merge.h.
 *
 * With a handful of sources a linear look for the smallest key beats a heap. Going on in the same direction moves
 * only the sources that stand on the current key; turning round seeks all of them. */

static kl_status merge_write_show(kl_write_source *source) {
  const kl_write_entry *entry = source->position.entry;
  source->source.valid = entry != NULL;
  if (entry == NULL) return KL_OK;
  source->source.kind = (kl_version_kind)entry->kind;
  source->source.key = kl_write_entry_key(entry);
  source->source.value = kl_write_entry_value(entry);
  return KL_OK;
}

/* The tree appears with the transaction's first write to the keyspace, perhaps after the cursor was opened. */
static const kl_write_tree *merge_write_tree(kl_write_source *source) {
  source->position.entry = NULL;
  return kl_write_set_tree(source->set, source->keyspace);
}

static kl_status merge_write_first(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_first(tree, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_last(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_last(tree, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_seek_ge(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_seek_ge(tree, key, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_seek_le(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_seek_le(tree, key, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_next(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  kl_write_position_next(&source->position);
  return merge_write_show(source);
}

static kl_status merge_write_prev(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  kl_write_position_prev(&source->position);
  return merge_write_show(source);
}

static const kl_source_ops merge_write_ops = {merge_write_first,   merge_write_last, merge_write_seek_ge,
                                              merge_write_seek_le, merge_write_next, merge_write_prev};

void kl_write_source_init(kl_write_source *source, const kl_write_set *set, uint32_t keyspace) {
  memset(source, 0, sizeof *source);
  source->source.ops = &merge_write_ops;
  source->set = set;
  source->keyspace = keyspace;
}

static kl_status merge_delta_show(kl_delta_source *source) {
  source->source.valid = source->cursor.valid;
  if (!source->cursor.valid) return KL_OK;
  source->source.kind = source->cursor.version.kind;
  source->source.key = source->cursor.key;
  source->source.value = source->cursor.version.value;
  return KL_OK;
}

static kl_status merge_delta_first(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_first(&source->cursor);
  return merge_delta_show(source);
}

static kl_status merge_delta_last(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_last(&source->cursor);
  return merge_delta_show(source);
}

static kl_status merge_delta_seek_ge(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_seek_ge(&source->cursor, key);
  return merge_delta_show(source);
}

static kl_status merge_delta_seek_le(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_seek_le(&source->cursor, key);
  return merge_delta_show(source);
}

static kl_status merge_delta_next(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_next(&source->cursor);
  return merge_delta_show(source);
}

static kl_status merge_delta_prev(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_prev(&source->cursor);
  return merge_delta_show(source);
}

static const kl_source_ops merge_delta_ops = {merge_delta_first,   merge_delta_last, merge_delta_seek_ge,
                                              merge_delta_seek_le, merge_delta_next, merge_delta_prev};

void kl_delta_source_init(kl_delta_source *source, kl_delta *delta, uint32_t keyspace, uint64_t read_ts) {
  memset(source, 0, sizeof *source);
  source->source.ops = &merge_delta_ops;
  kl_delta_cursor_init(&source->cursor, delta, keyspace, read_ts);
}

/* The source whose key comes first in the direction of the merge; of equal keys, the newest source's. */
static kl_source *merge_choose(const kl_merge *merge) {
  kl_source *best = NULL;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_source *source = merge->sources[i];
    if (!source->valid) continue;
    if (best != NULL) {
      int c = kl_slice_compare(source->key, best->key);
      if (merge->forward ? c >= 0 : c <= 0) continue;
    }
    best = source;
  }
  return best;
}

/* Moves every source that stands on `key` one step in the direction of the merge. */
static kl_status merge_leave(kl_merge *merge, kl_slice key, kl_error *err) {
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_source *source = merge->sources[i];
    if (!source->valid || !kl_slice_equal(source->key, key)) continue;
    kl_status status = merge->forward ? source->ops->next(source, err) : source->ops->prev(source, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* Chooses, and passes over the keys whose version is a delete. */
static kl_status merge_settle(kl_merge *merge, kl_error *err) {
  for (;;) {
    merge->current = merge_choose(merge);
    if (merge->current == NULL || merge->current->kind != KL_VERSION_DELETE) return KL_OK;
    kl_status status = merge_leave(merge, merge->current->key, err);
    if (status != KL_OK) return status;
  }
}

kl_status kl_merge_first(kl_merge *merge, kl_error *err) {
  merge->forward = true;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_status status = merge->sources[i]->ops->first(merge->sources[i], err);
    if (status != KL_OK) return status;
  }
  return merge_settle(merge, err);
}

kl_status kl_merge_last(kl_merge *merge, kl_error *err) {
  merge->forward = false;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_status status = merge->sources[i]->ops->last(merge->sources[i], err);
    if (status != KL_OK) return status;
  }
  return merge_settle(merge, err);
}

/* Every source to the key, or to the nearest one behind it in the given direction. */
static kl_status merge_seek_all(kl_merge *merge, bool forward, kl_slice key, kl_error *err) {
  merge->forward = forward;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_source *source = merge->sources[i];
    kl_status status = forward ? source->ops->seek_ge(source, key, err) : source->ops->seek_le(source, key, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

kl_status kl_merge_seek_ge(kl_merge *merge, kl_slice key, kl_error *err) {
  kl_status status = merge_seek_all(merge, true, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_seek_le(kl_merge *merge, kl_slice key, kl_error *err) {
  kl_status status = merge_seek_all(merge, false, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_next(kl_merge *merge, kl_slice key, kl_error *err) {
  if (!merge->forward) {
    kl_status status = merge_seek_all(merge, true, key, err);
    if (status != KL_OK) return status;
  }
  kl_status status = merge_leave(merge, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_prev(kl_merge *merge, kl_slice key, kl_error *err) {
  if (merge->forward) {
    kl_status status = merge_seek_all(merge, false, key, err);
    if (status != KL_OK) return status;
  }
  kl_status status = merge_leave(merge, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_return(kl_merge *merge, bool forward, kl_slice key, kl_error *err) {
  kl_status status = merge_seek_all(merge, forward, key, err);
  if (status == KL_OK) merge->current = merge_choose(merge);
  return status;
}

kl_status kl_merge_refresh(kl_merge *merge, kl_source *source, kl_slice key, kl_error *err) {
  kl_status status = merge->forward ? source->ops->seek_ge(source, key, err) : source->ops->seek_le(source, key, err);
  if (status != KL_OK) return status;
  merge->current = merge_choose(merge);
  /* Somebody still has the key: a delta never forgets one, and neither does a write set. */
  KL_ASSERT(merge->current != NULL && kl_slice_equal(merge->current->key, key));
  return KL_OK;
}

/* ---- core/txn/read.c ---- */
/* core/txn/read.c: point reads of a transaction. See txn.h. */

enum { READ_MANY = 128 }; /* keys that get_many looks up at a time */

bool kl_txn_lookup(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, bool *out_own) {
  const kl_write_tree *tree = kl_write_set_tree(&txn->writes, keyspace);
  if (tree != NULL) {
    const kl_write_entry *entry = kl_write_tree_find(tree, key);
    if (entry != NULL) {
      *out_own = true;
      *out_value = kl_write_entry_value(entry);
      return entry->kind != KL_VERSION_DELETE;
    }
  }
  kl_version version;
  if (!kl_delta_get(txn->delta, keyspace, key, txn->snapshot.ts, &version)) return false;
  *out_own = false;
  *out_value = version.value;
  return version.kind != KL_VERSION_DELETE;
}

/* Inside of the transaction. */
static kl_status read_value(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, bool *out_own,
                            kl_error *err) {
  kl_status status = kl_txn_check_key(key, err);
  if (status != KL_OK) return status;
  txn->gets++;
  if (kl_txn_lookup(txn, keyspace, key, out_value, out_own)) return KL_OK;
  return kl_txn_not_found(err, "the key has no value");
}

kl_status kl_txn_get(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  bool own;
  status = read_value(txn, keyspace, key, out_value, &own, err);
  kl_txn_leave(txn);
  return status;
}

kl_status kl_txn_get_copy(kl_txn *txn, uint32_t keyspace, kl_slice key, void *buffer, size_t capacity, size_t *out_size,
                          kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  bool own;
  kl_slice value;
  status = read_value(txn, keyspace, key, &value, &own, err);
  if (status == KL_OK) {
    size_t size = value.size < capacity ? value.size : capacity;
    if (size != 0) memcpy(buffer, value.data, size);
    *out_size = value.size;
    if (value.size > capacity) {
      status = kl_fail(err, KL_E_BUFFER_SIZE, "the value has %zu bytes, and the buffer has room for %zu", value.size,
                       capacity);
    }
  }
  kl_txn_leave(txn);
  return status;
}

/* A view of a committed value points into the delta, which the manager holds; a view of the transaction's own write
 * carries a copy, because the write set goes with the transaction. */
struct kl_view {
  kl_txn_manager *manager; /* a reference */
  kl_slice value;
  size_t size; /* of this block */
  uint8_t copy[];
};

kl_status kl_txn_get_view(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_view **out_view, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  bool own;
  kl_slice value;
  status = read_value(txn, keyspace, key, &value, &own, err);
  if (status == KL_OK) {
    size_t size = sizeof(kl_view) + (own ? value.size : 0);
    kl_view *view = kl_alloc(&txn->manager->allocator, size);
    if (view == NULL) {
      status = kl_fail(err, KL_E_NO_MEMORY, "no memory for a view (%zu bytes)", size);
    } else {
      if (own && value.size != 0) memcpy(view->copy, value.data, value.size);
      view->manager = txn->manager;
      view->value = own ? kl_slice_make(view->copy, value.size) : value;
      view->size = size;
      kl_txn_manager_ref(view->manager);
      kl_counters_add(&view->manager->counters, TXN_VIEWS, 1);
      *out_view = view;
    }
  }
  kl_txn_leave(txn);
  return status;
}

kl_slice kl_view_value(const kl_view *view) {
  return view->value;
}

void kl_view_release(kl_view *view) {
  if (view == NULL) return;
  kl_txn_manager *manager = view->manager;
  kl_counters_add(&manager->counters, TXN_VIEWS, (uint64_t)0 - 1);
  kl_free(&manager->allocator, view, view->size);
  kl_txn_manager_unref(manager);
}

static kl_status read_check_offsets(const uint64_t *key_offsets, size_t count, kl_error *err) {
  for (size_t i = 0; i < count; i++) {
    if (key_offsets[i + 1] < key_offsets[i]) {
      return kl_fail(err, KL_E_INVALID, "the offset of key %zu lies behind that of key %zu", i, i + 1);
    }
    if (key_offsets[i + 1] - key_offsets[i] > KL_MAX_KEY) {
      return kl_fail(err, KL_E_KEY_SIZE, "key %zu has %llu bytes; at most %d are possible", i,
                     (unsigned long long)(key_offsets[i + 1] - key_offsets[i]), KL_MAX_KEY);
    }
  }
  return KL_OK;
}

/* Looks up `count` <= READ_MANY keys side by side, so that the delta can overlap their cache misses, and adds the
 * rows. */
static kl_status read_rows(kl_txn *txn, uint32_t keyspace, const uint8_t *keys, const uint64_t *offsets, size_t count,
                           kl_batch *batch, kl_error *err) {
  kl_slice wanted[READ_MANY] = {{NULL, 0}};
  kl_version versions[READ_MANY];
  for (size_t i = 0; i < count; i++) {
    size_t size = (size_t)(offsets[i + 1] - offsets[i]);
    wanted[i] = kl_slice_make(size != 0 ? keys + offsets[i] : NULL, size);
  }
  kl_delta_get_many(txn->delta, keyspace, wanted, count, txn->snapshot.ts, versions);
  const kl_write_tree *tree = kl_write_set_tree(&txn->writes, keyspace);
  kl_status status = KL_OK;
  for (size_t i = 0; i < count && status == KL_OK; i++) {
    const kl_write_entry *own = tree != NULL ? kl_write_tree_find(tree, wanted[i]) : NULL;
    bool found = own != NULL ? own->kind == KL_VERSION_PUT : versions[i].ts != 0 && versions[i].kind == KL_VERSION_PUT;
    kl_slice value = {NULL, 0};
    if (found) value = own != NULL ? kl_write_entry_value(own) : versions[i].value;
    status = kl_batch_append(batch, wanted[i], value, found, err);
  }
  return status;
}

kl_status kl_txn_get_many(kl_txn *txn, uint32_t keyspace, const void *keys, const uint64_t *key_offsets, size_t count,
                          kl_batch *batch, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = kl_batch_start(batch, err);
  if (status == KL_OK) status = read_check_offsets(key_offsets, count, err);
  for (size_t done = 0; done < count && status == KL_OK; done += READ_MANY) {
    size_t some = count - done < READ_MANY ? count - done : READ_MANY;
    status = read_rows(txn, keyspace, keys, key_offsets + done, some, batch, err);
    if (status == KL_OK) txn->gets += some;
  }
  if (status != KL_OK) batch->count = 0;
  kl_txn_leave(txn);
  return status;
}

/* ---- core/txn/snapshot.c ---- */
/* core/txn/snapshot.c: the registry of live snapshots. See snapshot.h.
 *
 * Why no reader is overlooked (TXN-6). kl_snapshot_begin claims a slot (state PENDING) *before* it reads `visible`,
 * and kl_snapshot_oldest_ts reads `visible` *before* it looks at the slots; all four accesses are sequentially
 * consistent. If the scan finds a slot free, then the claim comes after the scan's look at it in the one order of
 * these accesses, so the reader's load of `visible` comes after the scan's, and yields at least the same: such a
 * reader is not below the result. If the scan finds it PENDING, the reader may have read an older `visible` already;
 * it is about to store it, in a few instructions, so the scan waits for that. */

enum {
  SNAPSHOT_FIRST_SLOTS = 64,
  SNAPSHOT_PROBES = 8, /* looked at in each table before it counts as crowded */
  SNAPSHOT_LABEL_WORDS = KL_SNAPSHOT_LABEL / 8
};

/* States of a slot; a live one holds its timestamp + SNAPSHOT_LIVE. */
enum { SNAPSHOT_FREE = 0, SNAPSHOT_PENDING = 1, SNAPSHOT_LIVE = 2 };

/* The label is stored as atomic words, because the statistics read it while the slot changes hands; `serial` tells
 * them when that has happened. */
struct kl_snapshot_slot {
  _Alignas(64) _Atomic uint64_t state;
  _Atomic uint64_t serial;
  _Atomic uint64_t begin_ns;
  _Atomic uint64_t label[SNAPSHOT_LABEL_WORDS];
};

struct kl_snapshot_table {
  kl_snapshot_table *older;
  size_t count; /* power of two */
  kl_snapshot_slot slots[];
};

static size_t snapshot_table_size(size_t count) {
  return sizeof(kl_snapshot_table) + count * sizeof(kl_snapshot_slot);
}

static kl_snapshot_table *snapshot_table_new(kl_allocator *allocator, size_t count) {
  kl_snapshot_table *table = kl_alloc_aligned(allocator, snapshot_table_size(count), _Alignof(kl_snapshot_table));
  if (table != NULL) table->count = count;
  return table;
}

kl_status kl_snapshot_registry_init(kl_snapshot_registry *registry, kl_allocator *allocator,
                                    const _Atomic uint64_t *visible, kl_error *err) {
  registry->allocator = allocator;
  registry->visible = visible;
  kl_snapshot_table *table = snapshot_table_new(allocator, SNAPSHOT_FIRST_SLOTS);
  if (table == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the table of snapshots");
  kl_status status = kl_mutex_init(&registry->growing, err);
  if (status != KL_OK) {
    kl_free(allocator, table, snapshot_table_size(table->count));
    return status;
  }
  atomic_init(&registry->newest, table);
  return KL_OK;
}

void kl_snapshot_registry_destroy(kl_snapshot_registry *registry) {
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_acquire);
  while (table != NULL) {
    kl_snapshot_table *older = table->older;
    kl_free(registry->allocator, table, snapshot_table_size(table->count));
    table = older;
  }
  kl_mutex_destroy(&registry->growing);
}

static bool snapshot_claim(kl_snapshot_slot *slot) {
  uint64_t free_state = SNAPSHOT_FREE;
  if (atomic_load_explicit(&slot->state, memory_order_relaxed) != SNAPSHOT_FREE) return false;
  /* Sequentially consistent: see the top of this file. */
  return atomic_compare_exchange_strong_explicit(&slot->state, &free_state, SNAPSHOT_PENDING, memory_order_seq_cst,
                                                 memory_order_relaxed);
}

/* A free slot of the table, claimed, or NULL when `probes` of them from `start` on were taken. */
static kl_snapshot_slot *snapshot_search(kl_snapshot_table *table, uint64_t start, size_t probes) {
  if (probes > table->count) probes = table->count;
  for (size_t i = 0; i < probes; i++) {
    kl_snapshot_slot *slot = &table->slots[(start + i) & (table->count - 1)];
    if (snapshot_claim(slot)) return slot;
  }
  return NULL;
}

/* Puts a table of twice the size in front of `crowded`. False: no memory. */
static bool snapshot_grow(kl_snapshot_registry *registry, kl_snapshot_table *crowded) {
  bool grown = true;
  kl_mutex_lock(&registry->growing); /* so that several crowded-out threads make one table, not one each */
  if (atomic_load_explicit(&registry->newest, memory_order_relaxed) == crowded) {
    kl_snapshot_table *table = snapshot_table_new(registry->allocator, crowded->count * 2);
    if (table != NULL) {
      table->older = crowded;
      atomic_store_explicit(&registry->newest, table, memory_order_seq_cst);
    }
    grown = table != NULL;
  }
  kl_mutex_unlock(&registry->growing);
  return grown;
}

/* The last resort, when there is no memory for a larger table: any free slot anywhere. */
static kl_snapshot_slot *snapshot_search_all(kl_snapshot_registry *registry) {
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_acquire);
  kl_snapshot_slot *slot = NULL;
  for (; table != NULL && slot == NULL; table = table->older) slot = snapshot_search(table, 0, table->count);
  return slot;
}

static void snapshot_set_label(kl_snapshot_slot *slot, const char *label) {
  uint64_t words[SNAPSHOT_LABEL_WORDS] = {0};
  if (label != NULL) {
    size_t size = strlen(label);
    memcpy(words, label, size < KL_SNAPSHOT_LABEL - 1 ? size : KL_SNAPSHOT_LABEL - 1);
  }
  for (int i = 0; i < SNAPSHOT_LABEL_WORDS; i++) {
    atomic_store_explicit(&slot->label[i], words[i], memory_order_relaxed);
  }
}

kl_status kl_snapshot_begin(kl_snapshot_registry *registry, uint64_t now_ns, const char *label, kl_snapshot *out,
                            kl_error *err) {
  uint64_t start = kl_thread_hint();
  kl_snapshot_slot *slot = NULL;
  while (slot == NULL) {
    kl_snapshot_table *newest = atomic_load_explicit(&registry->newest, memory_order_acquire);
    kl_snapshot_table *table = newest;
    KL_ASSERT(newest != NULL); /* the first is made with the registry */
    for (; table != NULL && slot == NULL; table = table->older) {
      /* In a larger table a thread that holds many snapshots must not always begin at the same, taken, place. */
      uint64_t from = table->count == SNAPSHOT_FIRST_SLOTS ? start * SNAPSHOT_PROBES : kl_mix64(start ^ now_ns);
      slot = snapshot_search(table, from, SNAPSHOT_PROBES);
    }
    if (slot == NULL && !snapshot_grow(registry, newest)) {
      slot = snapshot_search_all(registry);
      if (slot == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for one more snapshot");
    }
  }
  atomic_fetch_add_explicit(&slot->serial, 1, memory_order_relaxed);
  atomic_store_explicit(&slot->begin_ns, now_ns, memory_order_relaxed);
  snapshot_set_label(slot, label);
  uint64_t ts = atomic_load_explicit(registry->visible, memory_order_seq_cst);
  /* Release: who sees it live sees label and time of birth. */
  atomic_store_explicit(&slot->state, ts + SNAPSHOT_LIVE, memory_order_seq_cst);
  out->ts = ts;
  out->slot = slot;
  return KL_OK;
}

void kl_snapshot_end(kl_snapshot *snapshot) {
  /* Release: the reads of this snapshot come before its end for whoever reclaims what only it could see. */
  atomic_store_explicit(&snapshot->slot->state, SNAPSHOT_FREE, memory_order_release);
  snapshot->slot = NULL;
}

uint64_t kl_snapshot_oldest_ts(kl_snapshot_registry *registry) {
  uint64_t oldest = atomic_load_explicit(registry->visible, memory_order_seq_cst);
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_seq_cst);
  for (; table != NULL; table = table->older) {
    for (size_t i = 0; i < table->count; i++) {
      uint64_t state = atomic_load_explicit(&table->slots[i].state, memory_order_seq_cst);
      while (state == SNAPSHOT_PENDING) {
        kl_thread_yield();
        state = atomic_load_explicit(&table->slots[i].state, memory_order_seq_cst);
      }
      if (state >= SNAPSHOT_LIVE && state - SNAPSHOT_LIVE < oldest) oldest = state - SNAPSHOT_LIVE;
    }
  }
  return oldest;
}

/* Copies what the slot says into the summary if it is the oldest so far, and if it did not change hands meanwhile. */
static void snapshot_summarise_slot(kl_snapshot_slot *slot, kl_snapshot_summary *out) {
  uint64_t serial = atomic_load_explicit(&slot->serial, memory_order_relaxed);
  uint64_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
  if (state < SNAPSHOT_LIVE) return;
  out->live++;
  uint64_t begin_ns = atomic_load_explicit(&slot->begin_ns, memory_order_relaxed);
  if (begin_ns >= out->oldest_begin_ns) return;
  uint64_t words[SNAPSHOT_LABEL_WORDS];
  for (int i = 0; i < SNAPSHOT_LABEL_WORDS; i++) {
    words[i] = atomic_load_explicit(&slot->label[i], memory_order_relaxed);
  }
  if (atomic_load_explicit(&slot->state, memory_order_acquire) != state ||
      atomic_load_explicit(&slot->serial, memory_order_relaxed) != serial) {
    return; /* ended, or a successor took the slot: the next call tells */
  }
  out->oldest_begin_ns = begin_ns;
  memcpy(out->oldest_label, words, sizeof words);
}

void kl_snapshot_summarise(kl_snapshot_registry *registry, kl_snapshot_summary *out) {
  memset(out, 0, sizeof *out);
  out->oldest_ts = kl_snapshot_oldest_ts(registry);
  out->oldest_begin_ns = UINT64_MAX;
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_acquire);
  for (; table != NULL; table = table->older) {
    for (size_t i = 0; i < table->count; i++) snapshot_summarise_slot(&table->slots[i], out);
  }
  if (out->oldest_begin_ns == UINT64_MAX) out->oldest_begin_ns = 0;
}

/* ---- core/txn/txn.c ---- */
/* core/txn/txn.c: the life of a transaction: begin, write, end. See txn.h. Reading is in read.c and cursor.c. */

static kl_status txn_check_options(const kl_txn_manager *manager, const kl_txn_options *options, kl_error *err) {
  switch (options->isolation) {
    case KL_ISOLATION_DEFAULT:
    case KL_ISOLATION_SNAPSHOT:
    /* These three get snapshot isolation, the next stronger level that exists. */
    case KL_ISOLATION_READ_COMMITTED:
    case KL_ISOLATION_REPEATABLE_READ:
    case KL_ISOLATION_READ_UNCOMMITTED:
      break;
    case KL_ISOLATION_SERIALIZABLE:
      return kl_fail(err, KL_E_UNSUPPORTED,
                     "serializable isolation is stronger than what this version gives; ask for snapshot isolation");
    default:
      return kl_fail(err, KL_E_INVALID, "unknown isolation %d", (int)options->isolation);
  }
  if (options->durability > KL_DURABILITY_NONE) {
    return kl_fail(err, KL_E_INVALID, "unknown durability %d", (int)options->durability);
  }
  if (!options->read_only && manager->options.read_only) {
    return kl_fail(err, KL_E_READ_ONLY, "the database is open read-only; begin the transaction as read-only");
  }
  return KL_OK;
}

static kl_txn *txn_new(kl_txn_manager *manager) {
  kl_txn *txn = kl_alloc(&manager->allocator, sizeof *txn);
  if (txn == NULL) return NULL;
  kl_txn_manager_ref(manager);
  txn->manager = manager;
  kl_write_set_init(&txn->writes, &manager->allocator);
  return txn;
}

static void txn_free(kl_txn *txn) {
  kl_txn_manager *manager = txn->manager;
  kl_write_set_destroy(&txn->writes);
  kl_free(&manager->allocator, txn, sizeof *txn);
  kl_txn_manager_unref(manager);
}

static kl_txn *txn_spares_closed(kl_txn_manager *manager) {
  return (kl_txn *)(void *)manager;
}

static kl_txn_spare *txn_spare(kl_txn_manager *manager) {
  return &manager->spares[kl_thread_hint() & (TXN_SPARES - 1)];
}

static kl_txn *txn_take_spare(kl_txn_manager *manager) {
  kl_txn_spare *spare = txn_spare(manager);
  kl_txn *txn = atomic_load_explicit(&spare->txn, memory_order_relaxed);
  if (txn == NULL || txn == txn_spares_closed(manager)) return NULL;
  /* Acquire: what its last user left. That it may have been taken and put back since the load does no harm. */
  if (!atomic_compare_exchange_strong_explicit(&spare->txn, &txn, NULL, memory_order_acquire, memory_order_relaxed)) {
    return NULL;
  }
  return txn;
}

/* Nobody refers to the transaction any more. */
static void txn_keep_or_free(kl_txn *txn) {
  kl_txn *none = NULL;
  if (!atomic_compare_exchange_strong_explicit(&txn_spare(txn->manager)->txn, &none, txn, memory_order_release,
                                               memory_order_relaxed)) {
    txn_free(txn);
  }
}

void kl_txn_close_spares(kl_txn_manager *manager) {
  for (int i = 0; i < TXN_SPARES; i++) {
    kl_txn *txn = atomic_exchange_explicit(&manager->spares[i].txn, txn_spares_closed(manager), memory_order_acquire);
    if (txn != NULL && txn != txn_spares_closed(manager)) txn_free(txn);
  }
}

kl_status kl_txn_begin(kl_txn_manager *manager, const kl_txn_options *options, kl_txn **out_txn, kl_error *err) {
  static const kl_txn_options txn_default_options;
  if (options == NULL) options = &txn_default_options;
  if (!atomic_load_explicit(&manager->open, memory_order_acquire)) {
    return kl_fail(err, KL_E_CLOSED, "the database is closed");
  }
  kl_status status = txn_check_options(manager, options, err);
  if (status == KL_OK && !options->read_only) status = kl_txn_manager_check(manager, err);
  if (status != KL_OK) return status;
  kl_txn *txn = txn_take_spare(manager);
  if (txn == NULL) txn = txn_new(manager);
  if (txn == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a transaction");
  status = kl_snapshot_begin(&manager->snapshots, kl_os_monotonic_ns(manager->os), options->label, &txn->snapshot, err);
  if (status != KL_OK) {
    txn_keep_or_free(txn);
    return status;
  }
  atomic_store_explicit(&txn->references, 1, memory_order_relaxed);
  txn->state = KL_TXN_ACTIVE;
  txn->read_only = options->read_only;
  txn->uncounted = options->uncounted;
  txn->durability = options->durability == KL_DURABILITY_DEFAULT ? manager->options.durability : options->durability;
  txn->delta = manager->delta;
  txn->gets = txn->puts = txn->deletes = txn->cursor_steps = 0;
  *out_txn = txn;
  return KL_OK;
}

kl_status kl_txn_enter(kl_txn *txn, kl_error *err) {
  /* Acquire: what the thread before did. */
  if (atomic_exchange_explicit(&txn->busy, 1, memory_order_acquire) != 0) {
    return kl_fail(err, KL_E_CONCURRENT_USE, "another thread is using the transaction at this moment");
  }
  if (txn->state != KL_TXN_ACTIVE) {
    const char *how = txn->state == KL_TXN_COMMITTED ? "committed" : "rolled back";
    kl_txn_leave(txn);
    return kl_fail(err, KL_E_FINISHED, "the transaction has been %s", how);
  }
  return KL_OK;
}

/* Gives back everything but the object itself. */
static void txn_end(kl_txn *txn, kl_txn_state state) {
  kl_txn_manager *manager = txn->manager;
  if (txn->writes.arena.bytes_reserved > TXN_SPARE_MEMORY) {
    kl_write_set_destroy(&txn->writes);
    kl_write_set_init(&txn->writes, &manager->allocator);
  } else if (txn->writes.arena.bytes_reserved != 0) {
    kl_write_set_reset(&txn->writes);
  }
  kl_snapshot_end(&txn->snapshot);
  txn->state = state;
  if (txn->uncounted) return;
  if (txn->gets != 0) kl_counters_add(&manager->operations, TXN_GETS, txn->gets);
  if (txn->puts != 0) kl_counters_add(&manager->operations, TXN_PUTS, txn->puts);
  if (txn->deletes != 0) kl_counters_add(&manager->operations, TXN_DELETES, txn->deletes);
  if (txn->cursor_steps != 0) kl_counters_add(&manager->operations, TXN_CURSOR_STEPS, txn->cursor_steps);
}

kl_status kl_txn_commit(kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  kl_txn_manager *manager = txn->manager;
  uint64_t ts = 0;
  unsigned counter = TXN_COMMITS_READ_ONLY;
  if (txn->writes.count != 0) {
    status = kl_commit_run(txn, &ts, err);
    counter = status == KL_OK ? TXN_COMMITS : status == KL_E_CONFLICT ? TXN_CONFLICTS : TXN_ROLLBACKS;
  }
  kl_counters_add(&manager->counters, counter, 1);
  if (status == KL_OK && out_ts != NULL) *out_ts = ts;
  txn_end(txn, status == KL_OK ? KL_TXN_COMMITTED : KL_TXN_ROLLED_BACK);
  kl_txn_leave(txn);
  return status;
}

kl_status kl_txn_rollback(kl_txn *txn, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  if (!txn->uncounted) kl_counters_add(&txn->manager->counters, TXN_ROLLBACKS, 1);
  txn_end(txn, KL_TXN_ROLLED_BACK);
  kl_txn_leave(txn);
  return KL_OK;
}

void kl_txn_unref(kl_txn *txn) {
  /* Release: our use ends before; acquire: the one that frees has seen all others end. */
  if (atomic_fetch_sub_explicit(&txn->references, 1, memory_order_acq_rel) != 1) return;
  txn_keep_or_free(txn);
}

void kl_txn_release(kl_txn *txn) {
  if (txn == NULL) return;
  kl_status status = kl_txn_rollback(txn, NULL);
  /* Its owner uses it no more; only cursors that it left open may be inside, and those only to find that it has ended.
   * The state has not changed since our last use, so that reading it without having entered is no race. */
  KL_ASSERT(status != KL_E_CONCURRENT_USE || txn->state != KL_TXN_ACTIVE);
  (void)status;
  kl_txn_unref(txn);
}

kl_txn_manager *kl_txn_get_manager(kl_txn *txn) {
  return txn->manager;
}
bool kl_txn_is_read_only(const kl_txn *txn) {
  return txn->read_only;
}

kl_status kl_txn_check_key(kl_slice key, kl_error *err) {
  if (key.size <= KL_MAX_KEY) return KL_OK;
  return kl_fail(err, KL_E_KEY_SIZE, "the key has %zu bytes; at most %d are possible", key.size, KL_MAX_KEY);
}

/* Before the first write to a keyspace: was it dropped before our snapshot? A drop after it is the commit's to find. */
static kl_status txn_check_keyspace(kl_txn *txn, uint32_t keyspace, kl_error *err) {
  if (keyspace == 0 || kl_write_set_tree(&txn->writes, keyspace) != NULL) return KL_OK;
  uint8_t marker[KL_DROP_MARKER_SIZE];
  kl_drop_marker_encode(keyspace, marker);
  kl_slice value;
  bool own;
  if (!kl_txn_lookup(txn, 0, kl_slice_make(marker, sizeof marker), &value, &own)) return KL_OK;
  return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND, "keyspace %u has been dropped", keyspace);
}

/* Inside of the transaction. */
static kl_status txn_write(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_version_kind kind, kl_slice value,
                           kl_error *err) {
  if (txn->read_only) return kl_fail(err, KL_E_READ_ONLY, "the transaction was begun as read-only");
  kl_status status = kl_txn_check_key(key, err);
  if (status == KL_OK) status = txn_check_keyspace(txn, keyspace, err);
  if (status == KL_OK) status = kl_write_set_write(&txn->writes, keyspace, key, kind, value, err);
  return status;
}

kl_status kl_txn_put(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice value, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  if (value.size > KL_MAX_VALUE) {
    status =
        kl_fail(err, KL_E_VALUE_SIZE, "the value has %zu bytes; at most %zu are possible", value.size, KL_MAX_VALUE);
  } else {
    status = txn_write(txn, keyspace, key, KL_VERSION_PUT, value, err);
  }
  if (status == KL_OK) txn->puts++;
  kl_txn_leave(txn);
  return status;
}

kl_status kl_txn_delete(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = txn_write(txn, keyspace, key, KL_VERSION_DELETE, kl_slice_make(NULL, 0), err);
  if (status == KL_OK) txn->deletes++;
  kl_txn_leave(txn);
  return status;
}

/* Walks what the transaction sees and deletes it: the sources hold on to the keys while the write set grows. */
static kl_status txn_delete_rows(kl_txn *txn, uint32_t keyspace, kl_slice from, kl_slice to, uint64_t *count,
                                 kl_error *err) {
  kl_merge merge;
  kl_write_source own;
  kl_delta_source committed;
  kl_write_source_init(&own, &txn->writes, keyspace);
  kl_delta_source_init(&committed, txn->delta, keyspace, txn->snapshot.ts);
  kl_merge_init(&merge);
  kl_merge_add(&merge, &own.source);
  kl_merge_add(&merge, &committed.source);
  kl_status status = from.data == NULL ? kl_merge_first(&merge, err) : kl_merge_seek_ge(&merge, from, err);
  while (status == KL_OK && merge.current != NULL) {
    kl_slice key = merge.current->key;
    if (to.data != NULL && kl_slice_compare(key, to) >= 0) break;
    status = txn_write(txn, keyspace, key, KL_VERSION_DELETE, kl_slice_make(NULL, 0), err);
    if (status != KL_OK) break;
    ++*count;
    status = kl_merge_refresh(&merge, &own.source, key, err);
    if (status == KL_OK) status = kl_merge_next(&merge, key, err);
  }
  return status;
}

kl_status kl_txn_delete_range(kl_txn *txn, uint32_t keyspace, kl_slice from, kl_slice to, uint64_t *out_count,
                              kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  uint64_t count = 0;
  if (txn->read_only) status = kl_fail(err, KL_E_READ_ONLY, "the transaction was begun as read-only");
  if (status == KL_OK) status = kl_txn_check_key(from, err);
  if (status == KL_OK) status = kl_txn_check_key(to, err);
  if (status == KL_OK) status = txn_delete_rows(txn, keyspace, from, to, &count, err);
  txn->deletes += count;
  if (out_count != NULL) *out_count = count;
  kl_txn_leave(txn);
  return status;
}

/* ---- core/txn/validate.c ---- */
/* core/txn/validate.c: may this transaction commit? First committer wins (TXN-2). See commit_request.h. */

enum { VALIDATE_KEY_SHOWN = 40 };

/* The key as messages show it: printable ASCII as it is, the rest as \xNN, cut when long. */
static const char *validate_show_key(kl_slice key, char out[VALIDATE_KEY_SHOWN]) {
  static const char digits[] = "0123456789abcdef";
  size_t used = 0;
  for (size_t i = 0; i < key.size; i++) {
    uint8_t byte = ((const uint8_t *)key.data)[i];
    if (used + 4 + 3 >= VALIDATE_KEY_SHOWN) {
      memcpy(out + used, "...", 3);
      used += 3;
      break;
    }
    if (byte >= 0x20 && byte < 0x7f && byte != '\\') {
      out[used++] = (char)byte;
    } else {
      out[used++] = '\\';
      out[used++] = 'x';
      out[used++] = digits[byte >> 4];
      out[used++] = digits[byte & 15];
    }
  }
  out[used] = '\0';
  return out;
}

/* Where a key is looked for: in the delta, among the keys in flight, or both. The latter needs the turn. */
enum { VALIDATE_DELTA = 1, VALIDATE_INFLIGHT = 2 };

/* When the key was last written, as far as `where` tells. */
static uint64_t validate_newest(kl_txn_manager *manager, int where, uint32_t keyspace, kl_slice key, uint64_t hash) {
  uint64_t newest = 0;
  if ((where & VALIDATE_DELTA) != 0) newest = kl_delta_newest_ts(manager->delta, keyspace, key);
  if ((where & VALIDATE_INFLIGHT) != 0) {
    uint64_t inflight = kl_inflight_find(&manager->pipeline.inflight, hash);
    if (inflight > newest) newest = inflight;
  }
  return newest;
}

static kl_status validate_tree(kl_txn_manager *manager, int where, uint64_t snapshot_ts, const kl_write_tree *tree,
                               const uint64_t *hashes, kl_error *err) {
  if (tree->keyspace != 0) { /* TXN-9: a write to a keyspace reads its drop marker */
    uint8_t bytes[KL_DROP_MARKER_SIZE];
    kl_drop_marker_encode(tree->keyspace, bytes);
    kl_slice marker = kl_slice_make(bytes, sizeof bytes);
    uint64_t hash = kl_inflight_hash(manager->pipeline.hash_seed, 0, marker);
    if (validate_newest(manager, where, 0, marker, hash) > snapshot_ts) {
      return kl_fail(err, KL_E_CONFLICT, "keyspace %" PRIu32 " was dropped while the transaction ran", tree->keyspace);
    }
  }
  kl_write_position at;
  kl_write_tree_first(tree, &at);
  for (; at.entry != NULL; kl_write_position_next(&at)) {
    kl_slice key = kl_write_entry_key(at.entry);
    uint64_t newest = validate_newest(manager, where, tree->keyspace, key, *hashes++);
    if (newest > snapshot_ts) {
      char shown[VALIDATE_KEY_SHOWN];
      return kl_fail(err, KL_E_CONFLICT,
                     "key \"%s\" of keyspace %" PRIu32 " was written at %" PRIu64 ", after the snapshot at %" PRIu64
                     "; run the transaction again",
                     validate_show_key(key, shown), tree->keyspace, newest, snapshot_ts);
    }
  }
  return KL_OK;
}

static kl_status validate_writes(kl_txn_manager *manager, int where, const kl_commit_request *request, kl_error *err) {
  const kl_write_set *writes = &request->txn->writes;
  const uint64_t *hashes = request->hashes;
  kl_status status = KL_OK;
  for (uint32_t i = 0; i < writes->tree_count && status == KL_OK; i++) {
    status = validate_tree(manager, where, request->txn->snapshot.ts, writes->trees[i], hashes, err);
    hashes += writes->trees[i]->count;
  }
  return status;
}

kl_status kl_commit_precheck(kl_txn_manager *manager, kl_commit_request *request, kl_error *err) {
  /* Acquire: the inserts of everything up to this timestamp. */
  request->checked_ts = atomic_load_explicit(&manager->visible_ts, memory_order_acquire);
  return validate_writes(manager, VALIDATE_DELTA, request, err);
}

/* Asking the delta for its size reads the lines that its writers write. So between two times of asking a bound is
 * kept: twice what was admitted since comes on top, because memory is taken in chunks that may be half empty. */
static kl_status validate_memory(kl_txn_manager *manager, kl_commit_request *request, kl_error *err) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  uint64_t limit = manager->options.memory_limit;
  if (limit == 0) return KL_OK;
  uint64_t bound = pipeline->memory_bound;
  if (bound != 0 && bound <= limit && 2 * request->delta_bytes <= limit - bound) {
    pipeline->memory_bound = bound + 2 * request->delta_bytes;
    return KL_OK;
  }
  kl_delta_stats stats;
  kl_delta_get_stats(manager->delta, &stats);
  uint64_t bytes = stats.bytes + atomic_load_explicit(&pipeline->reserved_bytes, memory_order_relaxed);
  pipeline->memory_bound = 0;
  if (bytes + request->delta_bytes <= limit) {
    pipeline->memory_bound = bytes + 2 * request->delta_bytes;
    return KL_OK;
  }
  return kl_fail(err, KL_E_LIMIT,
                 "the commit needs %" PRIu64 " bytes beside the %" PRIu64 " in use, and memory_limit is %" PRIu64
                 "; nothing was written",
                 request->delta_bytes, bytes, limit);
}

/* TXN-3 and TXN-7, in release too: a timestamp at or below one that may be read already would change the past of every
 * snapshot. It takes one load to find out, before anything is on the log. */
static kl_status validate_order(kl_txn_manager *manager, kl_error *err) {
  uint64_t visible = atomic_load_explicit(&manager->visible_ts, memory_order_relaxed);
  if (manager->pipeline.last_ts >= visible) return KL_OK;
  kl_status status = KL_BROKEN(err, "TXN-7: timestamp %" PRIu64 " would follow %" PRIu64 ", which is visible",
                               manager->pipeline.last_ts + 1, visible);
  kl_txn_manager_poison(manager, err);
  return status;
}

kl_status kl_commit_admit(kl_txn_manager *manager, kl_commit_request *request) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  const kl_write_set *writes = &request->txn->writes;
  kl_error *err = &request->error;
  if (pipeline->closed) return kl_fail(err, KL_E_CLOSED, "the database was closed; nothing was written");
  kl_status status = kl_txn_manager_check(manager, err);
  if (status == KL_OK) status = validate_order(manager, err);
  if (status == KL_OK) status = validate_memory(manager, request, err);
  if (status != KL_OK) return status;
  int where = VALIDATE_INFLIGHT;
  if (request->checked_ts < pipeline->inflight.forgotten) where |= VALIDATE_DELTA;
  status = validate_writes(manager, where, request, err);
  if (status != KL_OK) return status;
  uint64_t visible = atomic_load_explicit(&manager->visible_ts, memory_order_acquire);
  if (!kl_inflight_reserve(&pipeline->inflight, (size_t)writes->count, visible)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for the keys of a commit in flight; nothing was written");
  }
  request->ts = ++pipeline->last_ts;
  for (uint64_t i = 0; i < writes->count; i++) kl_inflight_add(&pipeline->inflight, request->hashes[i], request->ts);
  if (request->record != NULL) {
    kl_commit_header_encode(request->record, request->ts, writes->count, writes->encoded_bytes);
  }
  atomic_fetch_add_explicit(&pipeline->reserved_bytes, request->delta_bytes, memory_order_relaxed);
  return KL_OK;
}

void kl_commit_withdraw(kl_txn_manager *manager, kl_commit_request *request) {
  for (uint64_t i = 0; i < request->txn->writes.count; i++) {
    kl_inflight_withdraw(&manager->pipeline.inflight, request->hashes[i], request->ts);
  }
  atomic_fetch_sub_explicit(&manager->pipeline.reserved_bytes, request->delta_bytes, memory_order_relaxed);
}

/* ---- core/txn/write_set.c ---- */
/* core/txn/write_set.c: the ordered trees of a transaction's own writes. See write_set.h.
 *
 * A B+tree whose nodes hold, beside the pointers to the entries, the first eight bytes of each key as one number, so
 * that most comparisons touch one array. Full nodes are split on the way down, so that an insert never has to climb
 * back; a split that happens at the right edge leaves the left node full, which makes ascending puts fill nodes to
 * the brim, and a put behind the last key skips the descent altogether. Nothing is ever taken out, so nothing is ever
 * merged. */

enum {
  WRITE_FANOUT = 32,
  WRITE_FIRST_TREES = 4,
  WRITE_VALUE_ALIGN = 1 /* values are bytes */
};

struct kl_write_leaf {
  kl_write_leaf *prev, *next;
  uint32_t count;
  uint64_t heads[WRITE_FANOUT]; /* write_head of each key, for comparing */
  kl_write_entry *entries[WRITE_FANOUT];
};

/* children[i] holds the keys below separators[i] and, for i > 0, at or above separators[i - 1]. */
typedef struct write_inner {
  uint32_t count; /* children */
  uint64_t heads[WRITE_FANOUT - 1];
  kl_write_entry *separators[WRITE_FANOUT - 1];
  void *children[WRITE_FANOUT];
} write_inner;

void kl_write_set_init(kl_write_set *set, kl_allocator *allocator) {
  memset(set, 0, sizeof *set);
  kl_arena_init(&set->arena, allocator);
}

static void write_set_forget(kl_write_set *set) {
  set->trees = NULL;
  set->tree_count = set->tree_capacity = 0;
  set->recent = NULL;
  set->count = set->encoded_bytes = set->payload_bytes = 0;
}

void kl_write_set_reset(kl_write_set *set) {
  kl_arena_reset(&set->arena);
  write_set_forget(set);
}

void kl_write_set_destroy(kl_write_set *set) {
  kl_arena_destroy(&set->arena);
  write_set_forget(set);
}

/* The first eight bytes as a big-endian number, zeros behind a shorter key: if the heads of two keys differ, they
 * order as the keys do; if they are equal, nothing is known. */
static uint64_t write_head(kl_slice key) {
  if (key.size >= 8) return kl_load_u64_be(key.data);
  uint8_t padded[8] = {0};
  if (key.size != 0) memcpy(padded, key.data, key.size);
  return kl_load_u64_be(padded);
}

static int write_compare(uint64_t head, kl_slice key, uint64_t other_head, const kl_write_entry *other) {
  if (head != other_head) return head < other_head ? -1 : 1;
  return kl_slice_compare(key, kl_write_entry_key(other));
}

/* The first of `count` slots whose key is at or above `key`. */
static uint32_t write_lower_bound(const uint64_t *heads, kl_write_entry *const *entries, uint32_t count, uint64_t head,
                                  kl_slice key, bool *out_equal) {
  uint32_t low = 0, high = count;
  *out_equal = false;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    int c = write_compare(head, key, heads[middle], entries[middle]);
    if (c == 0) {
      *out_equal = true;
      return middle;
    }
    if (c > 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* Which child of an inner node covers the key. */
static uint32_t write_child(const write_inner *inner, uint64_t head, kl_slice key) {
  bool equal;
  uint32_t i = write_lower_bound(inner->heads, inner->separators, inner->count - 1, head, key, &equal);
  return equal ? i + 1 : i;
}

static kl_write_leaf *write_leaf_for(const kl_write_tree *tree, uint64_t head, kl_slice key) {
  void *node = tree->root;
  for (uint32_t level = tree->height; level > 0; level--) {
    write_inner *inner = node;
    node = inner->children[write_child(inner, head, key)];
  }
  return node;
}

/* The trees of the keyspaces, sorted by id: where `keyspace` is or belongs. */
static uint32_t write_tree_slot(const kl_write_set *set, uint32_t keyspace) {
  uint32_t low = 0, high = set->tree_count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (set->trees[middle]->keyspace < keyspace) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

kl_write_tree *kl_write_set_tree(const kl_write_set *set, uint32_t keyspace) {
  if (set->recent != NULL && set->recent->keyspace == keyspace) return set->recent;
  uint32_t slot = write_tree_slot(set, keyspace);
  if (slot < set->tree_count && set->trees[slot]->keyspace == keyspace) return set->trees[slot];
  return NULL;
}

static kl_write_tree *write_tree_new(kl_write_set *set, uint32_t keyspace) {
  kl_write_leaf *leaf = kl_arena_alloc(&set->arena, sizeof *leaf, _Alignof(kl_write_leaf));
  kl_write_tree *tree = kl_arena_alloc(&set->arena, sizeof *tree, _Alignof(kl_write_tree));
  if (leaf == NULL || tree == NULL) return NULL;
  if (set->tree_count == set->tree_capacity) {
    uint32_t capacity = set->tree_capacity == 0 ? WRITE_FIRST_TREES : set->tree_capacity * 2;
    kl_write_tree **trees = kl_arena_alloc(&set->arena, capacity * sizeof *trees, _Alignof(kl_write_tree *));
    if (trees == NULL) return NULL;
    if (set->tree_count != 0) memcpy(trees, set->trees, set->tree_count * sizeof *trees);
    set->trees = trees;
    set->tree_capacity = capacity;
  }
  tree->keyspace = keyspace;
  tree->root = tree->first = tree->last = leaf;
  uint32_t slot = write_tree_slot(set, keyspace);
  memmove(set->trees + slot + 1, set->trees + slot, (set->tree_count - slot) * sizeof *set->trees);
  set->trees[slot] = tree;
  set->tree_count++;
  return tree;
}

/* How many of a full node's `count` slots stay on the left when it is split for a key that belongs at `slot`. */
static uint32_t write_split_at(uint32_t count, uint32_t slot, bool rightmost) {
  return rightmost && slot == count ? count - 1 : count / 2;
}

/* Splits the full leaf that is child `at` of `parent`, which has room. False: no memory, nothing changed. */
static bool write_split_leaf(kl_write_set *set, kl_write_tree *tree, write_inner *parent, uint32_t at, uint32_t slot) {
  kl_write_leaf *left = parent->children[at];
  kl_write_leaf *right = kl_arena_alloc(&set->arena, sizeof *right, _Alignof(kl_write_leaf));
  if (right == NULL) return false;
  uint32_t keep = write_split_at(left->count, slot, left == tree->last);
  right->count = left->count - keep;
  memcpy(right->heads, left->heads + keep, right->count * sizeof *right->heads);
  memcpy(right->entries, left->entries + keep, right->count * sizeof *right->entries);
  left->count = keep;
  right->prev = left;
  right->next = left->next;
  if (right->next != NULL) {
    right->next->prev = right;
  } else {
    tree->last = right;
  }
  left->next = right;
  uint32_t behind = parent->count - 1 - at;
  memmove(parent->heads + at + 1, parent->heads + at, behind * sizeof *parent->heads);
  memmove(parent->separators + at + 1, parent->separators + at, behind * sizeof *parent->separators);
  memmove(parent->children + at + 2, parent->children + at + 1, behind * sizeof *parent->children);
  parent->heads[at] = right->heads[0];
  parent->separators[at] = right->entries[0];
  parent->children[at + 1] = right;
  parent->count++;
  return true;
}

/* As above for an inner node: the separator between the halves moves up. */
static bool write_split_inner(kl_write_set *set, write_inner *parent, uint32_t at, uint32_t slot, bool rightmost) {
  write_inner *left = parent->children[at];
  write_inner *right = kl_arena_alloc(&set->arena, sizeof *right, _Alignof(write_inner));
  if (right == NULL) return false;
  uint32_t keep = write_split_at(left->count, slot + 1, rightmost);
  right->count = left->count - keep;
  memcpy(right->heads, left->heads + keep, (right->count - 1) * sizeof *right->heads);
  memcpy(right->separators, left->separators + keep, (right->count - 1) * sizeof *right->separators);
  memcpy(right->children, left->children + keep, right->count * sizeof *right->children);
  left->count = keep;
  uint32_t behind = parent->count - 1 - at;
  memmove(parent->heads + at + 1, parent->heads + at, behind * sizeof *parent->heads);
  memmove(parent->separators + at + 1, parent->separators + at, behind * sizeof *parent->separators);
  memmove(parent->children + at + 2, parent->children + at + 1, behind * sizeof *parent->children);
  parent->heads[at] = left->heads[keep - 1];
  parent->separators[at] = left->separators[keep - 1];
  parent->children[at + 1] = right;
  parent->count++;
  return true;
}

/* Puts an inner node above a full root, so that the root can be split like any other node. */
static bool write_grow(kl_write_set *set, kl_write_tree *tree) {
  write_inner *root = kl_arena_alloc(&set->arena, sizeof *root, _Alignof(write_inner));
  if (root == NULL) return false;
  root->count = 1;
  root->children[0] = tree->root;
  tree->root = root;
  tree->height++;
  return true;
}

static bool write_root_is_full(const kl_write_tree *tree) {
  if (tree->height == 0) return ((const kl_write_leaf *)tree->root)->count == WRITE_FANOUT;
  return ((const write_inner *)tree->root)->count == WRITE_FANOUT;
}

/* The leaf that the key belongs in, with room for one more; every full node on the way has been split. NULL: no memory;
 * the tree is then sound, with the splits made so far. */
static kl_write_leaf *write_leaf_with_room(kl_write_set *set, kl_write_tree *tree, uint64_t head, kl_slice key) {
  if (write_root_is_full(tree) && !write_grow(set, tree)) return NULL;
  void *node = tree->root;
  bool rightmost = true;
  for (uint32_t level = tree->height; level > 0; level--) {
    write_inner *inner = node;
    uint32_t at = write_child(inner, head, key);
    rightmost = rightmost && at == inner->count - 1;
    if (level == 1) {
      kl_write_leaf *leaf = inner->children[at];
      if (leaf->count == WRITE_FANOUT) {
        bool equal;
        uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
        if (!write_split_leaf(set, tree, inner, at, slot)) return NULL;
        at = write_child(inner, head, key);
      }
    } else {
      write_inner *child = inner->children[at];
      if (child->count == WRITE_FANOUT) {
        if (!write_split_inner(set, inner, at, write_child(child, head, key), rightmost)) return NULL;
        at = write_child(inner, head, key);
      }
    }
    node = inner->children[at];
  }
  return node;
}

static size_t write_encoded_size(uint32_t keyspace, kl_version_kind kind, size_t key_size, size_t value_size) {
  kl_op op = {keyspace, kind == KL_VERSION_PUT ? KL_OP_PUT : KL_OP_DELETE, {NULL, key_size}, {NULL, value_size}};
  return kl_op_encoded_size(&op);
}

/* Gives the entry its new value; the old bytes are overwritten when the new ones fit. False: no memory. */
static bool write_entry_set(kl_write_set *set, kl_write_entry *entry, kl_version_kind kind, kl_slice value) {
  if (value.size > entry->value_capacity) {
    uint8_t *bytes = kl_arena_alloc(&set->arena, value.size, WRITE_VALUE_ALIGN);
    if (bytes == NULL) return false;
    entry->value = bytes;
    entry->value_capacity = (uint32_t)value.size;
  }
  /* memmove: the new value may be a part of the old one, borrowed by the caller. */
  if (value.size != 0) memmove(entry->value, value.data, value.size);
  entry->value_size = (uint32_t)value.size;
  entry->kind = (uint8_t)kind;
  return true;
}

static bool write_entry_change(kl_write_set *set, kl_write_tree *tree, kl_write_entry *entry, kl_version_kind kind,
                               kl_slice value) {
  size_t old_size = entry->value_size;
  size_t old_encoded = write_encoded_size(tree->keyspace, (kl_version_kind)entry->kind, entry->key_size, old_size);
  if (!write_entry_set(set, entry, kind, value)) return false;
  set->encoded_bytes += write_encoded_size(tree->keyspace, kind, entry->key_size, value.size) - old_encoded;
  set->payload_bytes += value.size - old_size; /* modulo 2^64: right also when it shrinks */
  tree->changes++;
  return true;
}

/* Key and value in one block: the common entry is written once. */
static kl_write_entry *write_entry_new(kl_write_set *set, kl_slice key, kl_version_kind kind, kl_slice value) {
  size_t size = sizeof(kl_write_entry) + key.size + value.size;
  kl_write_entry *entry = kl_arena_alloc(&set->arena, size, _Alignof(kl_write_entry));
  if (entry == NULL) return NULL;
  entry->key_size = (uint16_t)key.size;
  entry->kind = (uint8_t)kind;
  if (key.size != 0) memcpy(entry->key, key.data, key.size);
  entry->value = entry->key + key.size;
  entry->value_size = entry->value_capacity = (uint32_t)value.size;
  if (value.size != 0) memcpy(entry->value, value.data, value.size);
  return entry;
}

static bool write_tree_write(kl_write_set *set, kl_write_tree *tree, kl_slice key, kl_version_kind kind,
                             kl_slice value) {
  uint64_t head = write_head(key);
  kl_write_leaf *leaf = tree->last;
  uint32_t slot = leaf->count;
  bool behind_all = slot != 0 && write_compare(head, key, leaf->heads[slot - 1], leaf->entries[slot - 1]) > 0;
  if (!behind_all || slot == WRITE_FANOUT) {
    leaf = write_leaf_for(tree, head, key);
    bool equal;
    slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
    if (equal) return write_entry_change(set, tree, leaf->entries[slot], kind, value);
    if (leaf->count == WRITE_FANOUT) {
      leaf = write_leaf_with_room(set, tree, head, key);
      if (leaf == NULL) {
        tree->changes++; /* some nodes on the way may have been split */
        return false;
      }
      slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
    }
  }
  kl_write_entry *entry = write_entry_new(set, key, kind, value);
  if (entry == NULL) {
    tree->changes++;
    return false;
  }
  KL_ASSERT(leaf->count < WRITE_FANOUT);
  memmove(leaf->heads + slot + 1, leaf->heads + slot, (leaf->count - slot) * sizeof *leaf->heads);
  memmove(leaf->entries + slot + 1, leaf->entries + slot, (leaf->count - slot) * sizeof *leaf->entries);
  leaf->heads[slot] = head;
  leaf->entries[slot] = entry;
  leaf->count++;
  tree->count++;
  tree->changes++;
  set->count++;
  set->encoded_bytes += write_encoded_size(tree->keyspace, kind, key.size, value.size);
  set->payload_bytes += key.size + value.size;
  return true;
}

kl_status kl_write_set_write(kl_write_set *set, uint32_t keyspace, kl_slice key, kl_version_kind kind, kl_slice value,
                             kl_error *err) {
  kl_write_tree *tree = kl_write_set_tree(set, keyspace);
  if (tree == NULL) tree = write_tree_new(set, keyspace);
  if (tree == NULL || !write_tree_write(set, tree, key, kind, value)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a write of %zu bytes in a transaction of %llu bytes",
                   key.size + value.size, (unsigned long long)set->payload_bytes);
  }
  set->recent = tree;
  return KL_OK;
}

const kl_write_entry *kl_write_tree_find(const kl_write_tree *tree, kl_slice key) {
  uint64_t head = write_head(key);
  const kl_write_leaf *leaf = write_leaf_for(tree, head, key);
  bool equal;
  uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
  return equal ? leaf->entries[slot] : NULL;
}

static void write_position_set(kl_write_position *out, kl_write_leaf *leaf, uint32_t index) {
  out->leaf = leaf;
  out->index = index;
  out->entry = leaf->entries[index];
}

/* Only the first leaf of an empty tree is empty: a split leaves entries on both sides. */
void kl_write_tree_first(const kl_write_tree *tree, kl_write_position *out) {
  out->entry = NULL;
  if (tree->count != 0) write_position_set(out, tree->first, 0);
}

void kl_write_tree_last(const kl_write_tree *tree, kl_write_position *out) {
  out->entry = NULL;
  if (tree->count != 0) write_position_set(out, tree->last, tree->last->count - 1);
}

void kl_write_tree_seek_ge(const kl_write_tree *tree, kl_slice key, kl_write_position *out) {
  uint64_t head = write_head(key);
  kl_write_leaf *leaf = write_leaf_for(tree, head, key);
  bool equal;
  uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
  if (slot == leaf->count) {
    leaf = leaf->next;
    slot = 0;
  }
  out->entry = NULL;
  if (leaf != NULL && leaf->count != 0) write_position_set(out, leaf, slot);
}

void kl_write_tree_seek_le(const kl_write_tree *tree, kl_slice key, kl_write_position *out) {
  uint64_t head = write_head(key);
  kl_write_leaf *leaf = write_leaf_for(tree, head, key);
  bool equal;
  uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
  out->entry = NULL;
  if (equal) {
    write_position_set(out, leaf, slot);
  } else if (slot != 0) {
    write_position_set(out, leaf, slot - 1);
  } else if (leaf->prev != NULL) {
    write_position_set(out, leaf->prev, leaf->prev->count - 1);
  }
}

void kl_write_position_next(kl_write_position *position) {
  kl_write_leaf *leaf = position->leaf;
  uint32_t index = position->index + 1;
  if (index == leaf->count) {
    leaf = leaf->next;
    index = 0;
  }
  position->entry = NULL;
  if (leaf != NULL) write_position_set(position, leaf, index);
}

void kl_write_position_prev(kl_write_position *position) {
  kl_write_leaf *leaf = position->leaf;
  uint32_t index = position->index;
  if (index == 0) {
    leaf = leaf->prev;
    if (leaf != NULL) index = leaf->count;
  }
  position->entry = NULL;
  if (leaf != NULL) write_position_set(position, leaf, index - 1);
}

/* ---- core/keyspace/catalogue.c ---- */
/* core/keyspace/catalogue.c: opening, creating, dropping and listing keyspaces. See keyspace.h.
 *
 * Two locks. `changing` is held by whoever creates or drops a keyspace, or opens one that nobody has open: it makes
 * "look, then create" one step, and lasts as long as the commit. `table` guards the table of open keyspaces and is
 * held for a few instructions. Order: changing, then table. */

/* ---- core/keyspace/keyspace.h ---- */
/* core/keyspace/keyspace.h: the catalogue: named keyspaces of a database.
 *
 * Keyspace 0 is the catalogue itself, an ordinary keyspace of records name -> {id, created_at, options}, so that
 * creating and dropping are ordinary, logged, atomic commits. Ids are never reused. Byte tables: docs/format.md,
 * "Catalogue".
 *
 * A kl_keyspace is shared by all who open the same name; it is reference counted. Thread rules: any thread. */
#ifndef KL_KEYSPACE_KEYSPACE_H
#define KL_KEYSPACE_KEYSPACE_H

enum { KL_KEYSPACE_NAME_MAX = 255, KL_CATALOGUE_KEYSPACE = 0 };

typedef struct kl_catalogue kl_catalogue;
typedef struct kl_keyspace kl_keyspace;

/* The manager has been started. KL_E_VERSION or KL_E_CORRUPT when the database holds a catalogue that this version
 * cannot read. The catalogue keeps the manager alive. */
kl_status kl_catalogue_new(kl_txn_manager *manager, kl_allocator *allocator, kl_catalogue **out, kl_error *err);
void kl_catalogue_free(kl_catalogue *catalogue); /* every keyspace has been released */

/* Names are 1 ... 255 bytes of UTF-8 (KL_E_INVALID). KL_E_KEYSPACE_NOT_FOUND when absent, and `create` is false or
 * the database is open read-only. Creating is a commit with the database's durability, and can fail as any commit
 * can; of several who create one name at once, one does and all get the same keyspace. A transaction may write to a
 * keyspace that is younger than its snapshot. */
kl_status kl_keyspace_open(kl_catalogue *catalogue, kl_slice name, bool create, kl_keyspace **out, kl_error *err);
void kl_keyspace_release(kl_keyspace *keyspace);
uint32_t kl_keyspace_id(const kl_keyspace *keyspace);
kl_slice kl_keyspace_name(const kl_keyspace *keyspace);
/* After a drop: KL_E_KEYSPACE_NOT_FOUND. Checked by every operation that names the keyspace. */
kl_status kl_keyspace_check(const kl_keyspace *keyspace, kl_error *err);
/* KL_E_KEYSPACE_NOT_FOUND when absent. A commit; transactions that wrote to the keyspace and commit later get
 * KL_E_CONFLICT; running snapshots keep seeing the old rows. Its memory and disk space come back with the drain. */
kl_status kl_keyspace_drop(kl_catalogue *catalogue, kl_slice name, kl_error *err);
/* Names in order, as keys of the batch; values are empty. */
kl_status kl_keyspace_list(kl_catalogue *catalogue, kl_batch *batch, kl_error *err);
/* How many there are; counts them. */
kl_status kl_keyspace_count(kl_catalogue *catalogue, uint64_t *out_count, kl_error *err);

#endif

/* ---- core/keyspace/record.h ---- */
/* core/keyspace/record.h: the bytes of the catalogue's records. Byte tables: docs/format.md, "Catalogue".
 *
 * Keyspace 0 holds three kinds of keys, told apart by their first byte:
 *   'n' name   -> the keyspace of that name
 *   'd' id     -> the mark that a keyspace was dropped (core/txn/manager.h, kl_drop_marker_encode)
 *   'm'        -> the id that the next keyspace gets
 *
 * Private to core/keyspace. Decoding validates every byte: KL_E_CORRUPT, or KL_E_VERSION for what a newer version
 * wrote. */
#ifndef KL_KEYSPACE_RECORD_H
#define KL_KEYSPACE_RECORD_H

enum {
  CATALOGUE_NAME_PREFIX = 'n',
  CATALOGUE_NEXT_ID_KEY = 'm',
  CATALOGUE_NAME_KEY_MAX = 1 + KL_KEYSPACE_NAME_MAX,
  CATALOGUE_RECORD_SIZE = 20,
  CATALOGUE_NEXT_ID_SIZE = 8,
  CATALOGUE_DROP_SIZE = 12
};

typedef struct catalogue_record {
  uint32_t id;         /* 1 ... */
  uint64_t created_ns; /* wall clock, since 1970 */
} catalogue_record;

void catalogue_record_encode(const catalogue_record *record, uint8_t out[CATALOGUE_RECORD_SIZE]);
kl_status catalogue_record_decode(kl_slice bytes, catalogue_record *out, kl_error *err);

void catalogue_next_id_encode(uint32_t next_id, uint8_t out[CATALOGUE_NEXT_ID_SIZE]);
kl_status catalogue_next_id_decode(kl_slice bytes, uint32_t *out_next_id, kl_error *err);

/* The value of a drop marker: when it was. Nothing reads it but people. */
void catalogue_drop_encode(uint64_t dropped_ns, uint8_t out[CATALOGUE_DROP_SIZE]);

/* Fills `out` with the catalogue key of a name and returns it as a slice. */
kl_slice catalogue_name_key(kl_slice name, uint8_t out[CATALOGUE_NAME_KEY_MAX]);
/* KL_E_INVALID unless the name is 1 ... 255 bytes of well-formed UTF-8. */
kl_status catalogue_name_check(kl_slice name, kl_error *err);

#endif

enum { CATALOGUE_BUCKETS = 256 };

struct kl_keyspace {
  kl_catalogue *catalogue;
  kl_keyspace *next;   /* in its bucket; guarded by catalogue->table */
  uint64_t references; /* likewise */
  _Atomic bool dropped;
  uint32_t id;
  uint32_t name_size;
  uint8_t name[];
};

struct kl_catalogue {
  kl_txn_manager *manager; /* a reference */
  kl_allocator *allocator;
  kl_mutex changing;
  kl_mutex table;
  kl_keyspace *buckets[CATALOGUE_BUCKETS]; /* open and not dropped, by name */
};

static kl_slice catalogue_next_id_key(void) {
  static const uint8_t catalogue_next_id_bytes[1] = {CATALOGUE_NEXT_ID_KEY};
  return kl_slice_make(catalogue_next_id_bytes, sizeof catalogue_next_id_bytes);
}

/* 1 while there is no record: no keyspace has been created yet. */
static kl_status catalogue_read_next_id(kl_txn *txn, uint32_t *out, kl_error *err) {
  kl_slice value;
  kl_status status = kl_txn_get(txn, KL_CATALOGUE_KEYSPACE, catalogue_next_id_key(), &value, NULL);
  if (status == KL_OK) return catalogue_next_id_decode(value, out, err);
  if (status != KL_E_NOT_FOUND) return kl_fail(err, status, "cannot read the catalogue");
  *out = KL_CATALOGUE_KEYSPACE + 1;
  return KL_OK;
}

/* KL_E_KEYSPACE_NOT_FOUND when there is none of that name. */
static kl_status catalogue_read(kl_txn *txn, kl_slice name, catalogue_record *out, kl_error *err) {
  uint8_t key[CATALOGUE_NAME_KEY_MAX];
  kl_slice value;
  kl_status status = kl_txn_get(txn, KL_CATALOGUE_KEYSPACE, catalogue_name_key(name, key), &value, NULL);
  if (status == KL_OK) return catalogue_record_decode(value, out, err);
  if (status != KL_E_NOT_FOUND) return kl_fail(err, status, "cannot read the catalogue");
  return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND, "there is no keyspace \"%.*s\"", (int)name.size,
                 (const char *)name.data);
}

static kl_status catalogue_begin(kl_catalogue *catalogue, bool read_only, kl_txn **out, kl_error *err) {
  kl_txn_options options = {.read_only = read_only, .label = "keel catalogue", .uncounted = true};
  return kl_txn_begin(catalogue->manager, &options, out, err);
}

kl_status kl_catalogue_new(kl_txn_manager *manager, kl_allocator *allocator, kl_catalogue **out, kl_error *err) {
  kl_catalogue *catalogue = kl_alloc(allocator, sizeof *catalogue);
  if (catalogue == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the catalogue of keyspaces");
  catalogue->manager = manager;
  catalogue->allocator = allocator;
  kl_status status = kl_mutex_init(&catalogue->changing, err);
  if (status != KL_OK) goto no_changing;
  status = kl_mutex_init(&catalogue->table, err);
  if (status != KL_OK) goto no_table;
  /* A catalogue that cannot be read is better found now than at the first name. */
  kl_txn *txn;
  uint32_t next_id;
  status = catalogue_begin(catalogue, true, &txn, err);
  if (status == KL_OK) {
    status = catalogue_read_next_id(txn, &next_id, err);
    kl_txn_release(txn);
  }
  if (status != KL_OK) goto unreadable;
  kl_txn_manager_ref(manager);
  *out = catalogue;
  return KL_OK;
unreadable:
  kl_mutex_destroy(&catalogue->table);
no_table:
  kl_mutex_destroy(&catalogue->changing);
no_changing:
  kl_free(allocator, catalogue, sizeof *catalogue);
  return status;
}

void kl_catalogue_free(kl_catalogue *catalogue) {
  if (catalogue == NULL) return;
  kl_txn_manager *manager = catalogue->manager;
  kl_mutex_destroy(&catalogue->table);
  kl_mutex_destroy(&catalogue->changing);
  kl_free(catalogue->allocator, catalogue, sizeof *catalogue);
  kl_txn_manager_unref(manager);
}

static kl_keyspace **catalogue_bucket(kl_catalogue *catalogue, kl_slice name) {
  return &catalogue->buckets[kl_crc32c(0, name.data, name.size) % CATALOGUE_BUCKETS];
}

/* The keyspace if somebody has it open, with one more reference. */
static kl_keyspace *catalogue_find_open(kl_catalogue *catalogue, kl_slice name) {
  kl_mutex_lock(&catalogue->table);
  kl_keyspace *keyspace = *catalogue_bucket(catalogue, name);
  while (keyspace != NULL && !kl_slice_equal(kl_keyspace_name(keyspace), name)) keyspace = keyspace->next;
  if (keyspace != NULL) keyspace->references++;
  kl_mutex_unlock(&catalogue->table);
  return keyspace;
}

/* Under `table`. Takes it out of the table if it is there. */
static void catalogue_unlink(kl_catalogue *catalogue, kl_keyspace *keyspace) {
  kl_keyspace **link = catalogue_bucket(catalogue, kl_keyspace_name(keyspace));
  while (*link != NULL && *link != keyspace) link = &(*link)->next;
  if (*link != NULL) *link = keyspace->next;
}

static size_t catalogue_keyspace_size(size_t name_size) {
  return sizeof(kl_keyspace) + name_size;
}

/* Puts a keyspace of that name, with one reference, into the table; its id follows. */
static kl_keyspace *catalogue_keyspace_new(kl_catalogue *catalogue, kl_slice name) {
  kl_keyspace *keyspace = kl_alloc(catalogue->allocator, catalogue_keyspace_size(name.size));
  if (keyspace == NULL) return NULL;
  keyspace->catalogue = catalogue;
  keyspace->references = 1;
  keyspace->name_size = (uint32_t)name.size;
  memcpy(keyspace->name, name.data, name.size);
  return keyspace;
}

/* In a transaction that writes: adds the record of a new keyspace. */
static kl_status catalogue_write_new(kl_catalogue *catalogue, kl_txn *txn, kl_slice name, catalogue_record *out,
                                     kl_error *err) {
  kl_status status = catalogue_read_next_id(txn, &out->id, err);
  if (status != KL_OK) return status;
  if (out->id == UINT32_MAX)
    return kl_fail(err, KL_E_LIMIT, "the database has had %u keyspaces, which is the limit", out->id);
  out->created_ns = kl_os_wall_ns(kl_txn_manager_os(catalogue->manager));
  uint8_t key[CATALOGUE_NAME_KEY_MAX], record[CATALOGUE_RECORD_SIZE], next_id[CATALOGUE_NEXT_ID_SIZE];
  catalogue_record_encode(out, record);
  catalogue_next_id_encode(out->id + 1, next_id);
  status =
      kl_txn_put(txn, KL_CATALOGUE_KEYSPACE, catalogue_name_key(name, key), kl_slice_make(record, sizeof record), err);
  if (status != KL_OK) return status;
  return kl_txn_put(txn, KL_CATALOGUE_KEYSPACE, catalogue_next_id_key(), kl_slice_make(next_id, sizeof next_id), err);
}

/* Under `changing`: finds the record, or creates it. */
static kl_status catalogue_read_or_create(kl_catalogue *catalogue, kl_slice name, bool create, catalogue_record *out,
                                          kl_error *err) {
  kl_txn *txn;
  bool writable = create && !kl_txn_manager_is_read_only(catalogue->manager);
  kl_status status = catalogue_begin(catalogue, true, &txn, err);
  if (status != KL_OK) return status;
  status = catalogue_read(txn, name, out, err);
  kl_txn_release(txn);
  if (status != KL_E_KEYSPACE_NOT_FOUND || !create) return status;
  if (!writable) {
    return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND,
                   "there is no keyspace \"%.*s\", and the database is open read-only, so it cannot be created",
                   (int)name.size, (const char *)name.data);
  }
  status = catalogue_begin(catalogue, false, &txn, err);
  if (status != KL_OK) return status;
  status = catalogue_write_new(catalogue, txn, name, out, err);
  if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
  kl_txn_release(txn);
  return status;
}

kl_status kl_keyspace_open(kl_catalogue *catalogue, kl_slice name, bool create, kl_keyspace **out, kl_error *err) {
  kl_status status = catalogue_name_check(name, err);
  if (status != KL_OK) return status;
  *out = catalogue_find_open(catalogue, name);
  if (*out != NULL) return KL_OK;
  kl_mutex_lock(&catalogue->changing);
  *out = catalogue_find_open(catalogue, name); /* opened while we waited? */
  if (*out == NULL) {
    /* The object first: once the keyspace is created, nothing can fail any more. */
    kl_keyspace *keyspace = catalogue_keyspace_new(catalogue, name);
    catalogue_record record;
    if (keyspace == NULL) {
      status = kl_fail(err, KL_E_NO_MEMORY, "no memory to open a keyspace");
    } else {
      status = catalogue_read_or_create(catalogue, name, create, &record, err);
    }
    if (status == KL_OK) {
      keyspace->id = record.id;
      kl_mutex_lock(&catalogue->table);
      kl_keyspace **bucket = catalogue_bucket(catalogue, name);
      keyspace->next = *bucket;
      *bucket = keyspace;
      kl_mutex_unlock(&catalogue->table);
      *out = keyspace;
    } else {
      kl_free(catalogue->allocator, keyspace, catalogue_keyspace_size(name.size));
    }
  }
  kl_mutex_unlock(&catalogue->changing);
  return status;
}

void kl_keyspace_release(kl_keyspace *keyspace) {
  if (keyspace == NULL) return;
  kl_catalogue *catalogue = keyspace->catalogue;
  kl_mutex_lock(&catalogue->table);
  KL_ASSERT(keyspace->references != 0);
  bool last = --keyspace->references == 0;
  if (last) catalogue_unlink(catalogue, keyspace);
  kl_mutex_unlock(&catalogue->table);
  if (last) kl_free(catalogue->allocator, keyspace, catalogue_keyspace_size(keyspace->name_size));
}

uint32_t kl_keyspace_id(const kl_keyspace *keyspace) {
  return keyspace->id;
}
kl_slice kl_keyspace_name(const kl_keyspace *keyspace) {
  return kl_slice_make(keyspace->name, keyspace->name_size);
}

kl_status kl_keyspace_check(const kl_keyspace *keyspace, kl_error *err) {
  /* Relaxed: it orders nothing. A write that slips through is found by validation (TXN-9). */
  if (!atomic_load_explicit(&keyspace->dropped, memory_order_relaxed)) return KL_OK;
  return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND, "keyspace \"%.*s\" has been dropped", (int)keyspace->name_size,
                 (const char *)keyspace->name);
}

/* In a transaction that writes: takes the record away and leaves the marker. */
static kl_status catalogue_write_drop(kl_catalogue *catalogue, kl_txn *txn, kl_slice name, kl_error *err) {
  catalogue_record record;
  kl_status status = catalogue_read(txn, name, &record, err);
  if (status != KL_OK) return status;
  uint8_t key[CATALOGUE_NAME_KEY_MAX], marker[KL_DROP_MARKER_SIZE], value[CATALOGUE_DROP_SIZE];
  kl_drop_marker_encode(record.id, marker);
  catalogue_drop_encode(kl_os_wall_ns(kl_txn_manager_os(catalogue->manager)), value);
  status = kl_txn_delete(txn, KL_CATALOGUE_KEYSPACE, catalogue_name_key(name, key), err);
  if (status != KL_OK) return status;
  return kl_txn_put(txn, KL_CATALOGUE_KEYSPACE, kl_slice_make(marker, sizeof marker),
                    kl_slice_make(value, sizeof value), err);
}

kl_status kl_keyspace_drop(kl_catalogue *catalogue, kl_slice name, kl_error *err) {
  kl_status status = catalogue_name_check(name, err);
  if (status != KL_OK) return status;
  kl_txn *txn;
  kl_mutex_lock(&catalogue->changing);
  status = catalogue_begin(catalogue, false, &txn, err);
  if (status == KL_OK) {
    status = catalogue_write_drop(catalogue, txn, name, err);
    if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
    kl_txn_release(txn);
  }
  if (status == KL_OK) {
    kl_mutex_lock(&catalogue->table);
    kl_keyspace *keyspace = *catalogue_bucket(catalogue, name);
    while (keyspace != NULL && !kl_slice_equal(kl_keyspace_name(keyspace), name)) keyspace = keyspace->next;
    if (keyspace != NULL) {
      atomic_store_explicit(&keyspace->dropped, true, memory_order_relaxed);
      catalogue_unlink(catalogue, keyspace); /* its owners keep the object; the name is free for a new keyspace */
    }
    kl_mutex_unlock(&catalogue->table);
  }
  kl_mutex_unlock(&catalogue->changing);
  return status;
}

/* Calls `visit` with every name in order. */
static kl_status catalogue_walk(kl_catalogue *catalogue,
                                kl_status (*visit)(void *context, kl_slice name, kl_error *err), void *context,
                                kl_error *err) {
  static const uint8_t catalogue_names_from[1] = {CATALOGUE_NAME_PREFIX};
  static const uint8_t catalogue_names_to[1] = {CATALOGUE_NAME_PREFIX + 1};
  kl_txn *txn;
  kl_status status = catalogue_begin(catalogue, true, &txn, err);
  if (status != KL_OK) return status;
  kl_cursor *cursor;
  status = kl_cursor_open(txn, KL_CATALOGUE_KEYSPACE, kl_slice_make(catalogue_names_from, 1),
                          kl_slice_make(catalogue_names_to, 1), &cursor, err);
  if (status == KL_OK) {
    kl_error end;
    while (status == KL_OK) {
      kl_slice key, value;
      status = kl_cursor_next(cursor, &end);
      if (status != KL_OK) break;
      status = kl_cursor_get(cursor, &key, &value, &end);
      if (status != KL_OK) break;
      status = visit(context, kl_slice_make((const uint8_t *)key.data + 1, key.size - 1), &end);
    }
    if (status == KL_E_NOT_FOUND) {
      status = KL_OK;
    } else if (err != NULL) {
      *err = end;
    }
    kl_cursor_close(cursor);
  }
  kl_txn_release(txn);
  return status;
}

static kl_status catalogue_visit_list(void *context, kl_slice name, kl_error *err) {
  return kl_batch_append(context, name, kl_slice_make(NULL, 0), true, err);
}

kl_status kl_keyspace_list(kl_catalogue *catalogue, kl_batch *batch, kl_error *err) {
  kl_status status = kl_batch_start(batch, err);
  if (status == KL_OK) status = catalogue_walk(catalogue, catalogue_visit_list, batch, err);
  if (status != KL_OK) batch->count = 0;
  return status;
}

static kl_status catalogue_visit_count(void *context, kl_slice name, kl_error *err) {
  (void)name;
  (void)err;
  ++*(uint64_t *)context;
  return KL_OK;
}

kl_status kl_keyspace_count(kl_catalogue *catalogue, uint64_t *out_count, kl_error *err) {
  *out_count = 0;
  return catalogue_walk(catalogue, catalogue_visit_count, out_count, err);
}

/* ---- core/keyspace/record.c ---- */
/* core/keyspace/record.c: codec of the catalogue's records, and what a name may be. See record.h. */

enum { CATALOGUE_VERSION = 1 };

/* Every record begins with u16 version, u16 flags. */
static void catalogue_head_encode(uint8_t *out) {
  kl_store_u16_le(out, CATALOGUE_VERSION);
  kl_store_u16_le(out + 2, 0);
}

static kl_status catalogue_head_decode(kl_slice bytes, size_t size, const char *what, kl_error *err) {
  if (bytes.size < 4) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's %s has %zu bytes, too few for a record", what, bytes.size);
  }
  const uint8_t *p = bytes.data;
  unsigned version = kl_load_u16_le(p), flags = kl_load_u16_le(p + 2);
  if (version == 0) return kl_fail(err, KL_E_CORRUPT, "the catalogue's %s has version 0", what);
  if (version > CATALOGUE_VERSION || flags != 0) {
    return kl_fail(
        err, KL_E_VERSION,
        "the catalogue's %s was written by a newer version (record version %u, flags %#x); open the database "
        "with that one",
        what, version, flags);
  }
  if (bytes.size < size) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's %s has %zu bytes, %zu expected", what, bytes.size, size);
  }
  return KL_OK;
}

void catalogue_record_encode(const catalogue_record *record, uint8_t out[CATALOGUE_RECORD_SIZE]) {
  catalogue_head_encode(out);
  kl_store_u32_le(out + 4, record->id);
  kl_store_u64_le(out + 8, record->created_ns);
  kl_store_u32_le(out + 16, 0); /* bytes of options that follow */
}

kl_status catalogue_record_decode(kl_slice bytes, catalogue_record *out, kl_error *err) {
  kl_status status = catalogue_head_decode(bytes, CATALOGUE_RECORD_SIZE, "keyspace record", err);
  if (status != KL_OK) return status;
  const uint8_t *p = bytes.data;
  uint32_t options = kl_load_u32_le(p + 16);
  out->id = kl_load_u32_le(p + 4);
  out->created_ns = kl_load_u64_le(p + 8);
  if (out->id == KL_CATALOGUE_KEYSPACE) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's keyspace record names id 0, which is the catalogue's own");
  }
  if (options != bytes.size - CATALOGUE_RECORD_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's keyspace record announces %u bytes of options and has %zu",
                   options, bytes.size - CATALOGUE_RECORD_SIZE);
  }
  if (options != 0) {
    return kl_fail(err, KL_E_VERSION, "the catalogue's record of keyspace %u has options of a newer version", out->id);
  }
  return KL_OK;
}

void catalogue_next_id_encode(uint32_t next_id, uint8_t out[CATALOGUE_NEXT_ID_SIZE]) {
  catalogue_head_encode(out);
  kl_store_u32_le(out + 4, next_id);
}

kl_status catalogue_next_id_decode(kl_slice bytes, uint32_t *out_next_id, kl_error *err) {
  kl_status status = catalogue_head_decode(bytes, CATALOGUE_NEXT_ID_SIZE, "next id", err);
  if (status != KL_OK) return status;
  if (bytes.size != CATALOGUE_NEXT_ID_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's next id has %zu bytes, %d expected", bytes.size,
                   CATALOGUE_NEXT_ID_SIZE);
  }
  *out_next_id = kl_load_u32_le((const uint8_t *)bytes.data + 4);
  if (*out_next_id == KL_CATALOGUE_KEYSPACE) return kl_fail(err, KL_E_CORRUPT, "the catalogue's next id is 0");
  return KL_OK;
}

void catalogue_drop_encode(uint64_t dropped_ns, uint8_t out[CATALOGUE_DROP_SIZE]) {
  catalogue_head_encode(out);
  kl_store_u64_le(out + 4, dropped_ns);
}

kl_slice catalogue_name_key(kl_slice name, uint8_t out[CATALOGUE_NAME_KEY_MAX]) {
  out[0] = CATALOGUE_NAME_PREFIX;
  memcpy(out + 1, name.data, name.size);
  return kl_slice_make(out, name.size + 1);
}

/* Bytes of the well-formed UTF-8 sequence at `p` (RFC 3629), 0 when there is none within `left` bytes. */
static size_t catalogue_utf8_size(const uint8_t *p, size_t left) {
  if (p[0] < 0x80) return 1;
  size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4 || size > left) return 0;
  for (size_t i = 1; i < size; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
  }
  if (p[0] == 0xe0 && p[1] < 0xa0) return 0; /* could be shorter */
  if (p[0] == 0xed && p[1] > 0x9f) return 0; /* a surrogate */
  if (p[0] == 0xf0 && p[1] < 0x90) return 0; /* could be shorter */
  if (p[0] == 0xf4 && p[1] > 0x8f) return 0; /* behind U+10FFFF */
  return size;
}

kl_status catalogue_name_check(kl_slice name, kl_error *err) {
  if (name.size == 0 || name.size > KL_KEYSPACE_NAME_MAX) {
    return kl_fail(err, KL_E_INVALID, "a keyspace's name has 1 to %d bytes, this one %zu", KL_KEYSPACE_NAME_MAX,
                   name.size);
  }
  const uint8_t *p = name.data;
  for (size_t at = 0; at < name.size;) {
    size_t size = catalogue_utf8_size(p + at, name.size - at);
    if (size == 0) return kl_fail(err, KL_E_INVALID, "a keyspace's name is UTF-8; byte %zu of this one is not", at);
    at += size;
  }
  return KL_OK;
}

/* ---- core/db/db.c ---- */
/* core/db/db.c: opening and closing. See db.h; the files are in files.c, the registry in registry.c. */

/* ---- core/db/db_private.h ---- */
/* core/db/db_private.h: an open database from inside. */
#ifndef KL_DB_DB_PRIVATE_H
#define KL_DB_DB_PRIVATE_H

/* ---- core/db/db.h ---- */
/* core/db/db.h: an open database: open/close, options, wiring, stats. The only header of core/ that capi includes.
 *
 * A path that is opened twice in one process gives two references on one engine (found by device and inode); a second
 * process gets KL_E_LOCKED with the holder's process id and name. The last release stops the threads, syncs what was
 * acknowledged with durability `group`, and closes the files.
 *
 * Thread rules: any thread. After fork, kl_db_check answers KL_E_FORKED in the child, and nothing of the parent's is
 * touched. */
#ifndef KL_DB_DB_H
#define KL_DB_DB_H

/* capi/ reaches assertions, the checksum query and the fork count through this header. */

typedef struct kl_db kl_db;

typedef struct kl_db_options {
  bool read_only;   /* shared lock, no write of any kind, works on read-only media */
  bool no_create;   /* KL_E_NO_FILE when absent */
  bool must_create; /* KL_E_EXISTS when present */
  kl_durability durability;
  uint64_t group_interval_ns; /* 0: 10 ms */
  uint64_t log_segment_size;  /* 0: default */
  uint64_t memory_limit;      /* bytes of delta, 0: half of physical memory; beyond it commits get KL_E_LIMIT */
  uint32_t page_size;         /* format parameter at creation, 0: default */
  uint32_t file_mode;         /* 0: 0600 */
} kl_db_options;

/* ":memory:" is a private database without files. */
kl_status kl_db_open(kl_os *os, const char *path, const kl_db_options *options, kl_db **out_db, kl_error *err);
void kl_db_ref(kl_db *db);
/* The last one closes; `err` (nullable) tells when the final sync failed. */
kl_status kl_db_release(kl_db *db, kl_error *err);
/* KL_OK, KL_E_FORKED, KL_E_POISONED. Two relaxed loads. */
kl_status kl_db_check(kl_db *db, kl_error *err);

kl_txn_manager *kl_db_txn_manager(kl_db *db);
kl_catalogue *kl_db_catalogue(kl_db *db);
kl_allocator *kl_db_allocator(kl_db *db);

kl_status kl_db_flush(kl_db *db, kl_error *err); /* everything acknowledged so far is on disk when it returns */
kl_status kl_db_last_checkpoint(kl_db *db, kl_checkpoint *out, kl_error *err);

typedef struct kl_db_stats {
  uint64_t commits, commits_read_only, rollbacks, conflicts,
      groups; /* groups: log batches; commits / groups = group size */
  uint64_t gets, puts, deletes, cursor_steps;
  uint64_t transactions_live, snapshots_live, views_live;
  uint64_t oldest_snapshot_age_ns;
  uint64_t visible_ts;
  uint64_t keyspaces;
  uint64_t delta_keys, delta_versions, delta_bytes;
  kl_wal_stats log; /* zeros for :memory: */
  uint64_t recovery_batches, recovery_bytes, recovery_ns;
  uint64_t memory_bytes, memory_limit;
  bool poisoned;
} kl_db_stats;
kl_status kl_db_get_stats(kl_db *db, kl_db_stats *out, kl_error *err);

#endif

enum {
  DB_PATH_MAX = 4095,    /* bytes, without the terminator */
  DB_WAL_SUFFIX_SIZE = 5 /* "-wal" and the terminator */
};

typedef enum db_state {
  DB_OPENING, /* whoever made it is busy with the files and holds `busy` */
  DB_OPEN,
  DB_CLOSING, /* likewise */
  DB_GONE     /* not in the registry any more */
} db_state;

/* Which file it is. `known` is false while a database is being created: then it may become any file. */
typedef struct db_identity {
  bool known;
  uint64_t device, inode;
} db_identity;

struct kl_db {
  kl_os *os;
  uint64_t fork_count;         /* of the process that opened it */
  _Atomic uint64_t references; /* falls to zero under the registry's lock only */
  kl_db_options options;       /* with the defaults filled in */
  char *path;                  /* for messages; NULL for :memory: */
  size_t path_size;

  kl_txn_manager *manager;
  kl_catalogue *catalogue;
  kl_wal *wal;     /* NULL for :memory:, and for a read-only database that has none yet */
  kl_store *store; /* NULL for :memory: */
  uint64_t recovery_batches, recovery_bytes, recovery_ns;

  /* The registry's. */
  kl_db *next;
  db_state state;
  db_identity identity;
  uint32_t holders; /* those that will still look at this object, waiting openers included; the last one frees it */
  kl_mutex busy;    /* held while it is being opened or closed: what waiting openers wait for */
};

/* Makes db->manager from the options; not started yet. */
kl_status kl_db_engine_new(kl_db *db, kl_error *err);

/* Files (files.c): opens or creates NAME and NAME-wal and starts the manager. On failure everything is closed again. */
kl_status kl_db_files_open(kl_db *db, bool create, kl_error *err);
/* Syncs what was acknowledged and closes. The manager has been closed. */
kl_status kl_db_files_close(kl_db *db, kl_error *err);

#endif

/* ---- core/db/registry.h ---- */
/* core/db/registry.h: the open databases of this process, so that a file that is opened twice gets one engine.
 *
 * This is the one piece of global state in core/. It is found by device and inode, not by path. While a database is
 * being opened or closed, others who want the same file wait for the end of that and look again; while one is being
 * created, its file has no identity yet, so everybody waits for it.
 *
 * A forked child starts with an empty registry: what its parent had open is the parent's. The lock is a word that
 * holds the fork count of the process that took it, so that a lock that was held by another thread of the parent at
 * the moment of the fork does not count in the child.
 *
 * Private to core/db. */
#ifndef KL_DB_REGISTRY_H
#define KL_DB_REGISTRY_H

/* Finds the open database of that identity under this os and returns it with one more reference; or registers `fresh`
 * (state DB_OPENING, `busy` held by the caller) with that identity and returns NULL in *out_found. Waits for openings
 * and closings of the same file. *out_again is set when it has waited: the file may be another one now, so look at it
 * again. */
void kl_db_registry_claim(kl_db *fresh, const db_identity *identity, kl_db **out_found, bool *out_again);
/* The opening of `db` has succeeded; `identity` is known now. */
void kl_db_registry_opened(kl_db *db, const db_identity *identity);
/* The opening of `db` has failed, or its closing is done: takes it out and lets those who wait go on. `busy` is held
 * by the caller and released here; the object is freed with the last holder. */
void kl_db_registry_remove(kl_db *db);
/* Drops one reference; true when it was the last: `db` is DB_CLOSING then, and the caller holds `busy`. */
bool kl_db_registry_release(kl_db *db);

#endif

#define DB_GROUP_INTERVAL_NS ((uint64_t)10 * 1000 * 1000)

static const char db_memory_path[] = ":memory:";

static kl_status db_check_options(const char *path, const kl_db_options *options, kl_error *err) {
  if (options->durability > KL_DURABILITY_NONE) {
    return kl_fail(err, KL_E_INVALID, "unknown durability %d", (int)options->durability);
  }
  if (options->no_create && options->must_create) {
    return kl_fail(err, KL_E_INVALID, "no_create and must_create exclude each other");
  }
  if (options->read_only && options->must_create) {
    return kl_fail(err, KL_E_INVALID, "read_only and must_create exclude each other");
  }
  size_t size = strlen(path);
  if (size == 0) return kl_fail(err, KL_E_INVALID, "the path is empty; \":memory:\" names a database without files");
  if (size > DB_PATH_MAX) {
    return kl_fail(err, KL_E_INVALID, "the path has %zu bytes; at most %d are possible", size, DB_PATH_MAX);
  }
  return KL_OK;
}

/* An object without an engine: `busy` held, one reference, one holder. */
static kl_status db_new(kl_os *os, const char *path, const kl_db_options *options, kl_db **out, kl_error *err) {
  kl_db *db = kl_alloc(os->allocator, sizeof *db);
  if (db == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open a database");
  db->os = os;
  db->path_size = strlen(path) + 1;
  db->path = kl_alloc(os->allocator, db->path_size);
  kl_status status = db->path == NULL ? kl_fail(err, KL_E_NO_MEMORY, "no memory to open a database") : KL_OK;
  if (status == KL_OK) status = kl_mutex_init(&db->busy, err);
  if (status != KL_OK) {
    kl_free(os->allocator, db->path, db->path_size);
    kl_free(os->allocator, db, sizeof *db);
    return status;
  }
  memcpy(db->path, path, db->path_size);
  db->fork_count = kl_fork_count();
  atomic_init(&db->references, 1);
  db->holders = 1;
  db->options = *options;
  if (db->options.durability == KL_DURABILITY_DEFAULT) db->options.durability = KL_DURABILITY_FULL;
  if (db->options.group_interval_ns == 0) db->options.group_interval_ns = DB_GROUP_INTERVAL_NS;
  if (db->options.memory_limit == 0) db->options.memory_limit = kl_os_physical_memory(os) / 2;
  kl_mutex_lock(&db->busy);
  *out = db;
  return KL_OK;
}

static kl_status db_open_memory(kl_db *db, kl_error *err) {
  kl_status status = kl_db_engine_new(db, err);
  if (status != KL_OK) return status;
  kl_txn_manager_start(db->manager, NULL, 0);
  status = kl_catalogue_new(db->manager, kl_txn_manager_allocator(db->manager), &db->catalogue, err);
  if (status != KL_OK) {
    kl_txn_manager_close(db->manager);
    kl_txn_manager_unref(db->manager);
  }
  return status;
}

kl_status kl_db_engine_new(kl_db *db, kl_error *err) {
  kl_txn_manager_options options = {.read_only = db->options.read_only,
                                    .durability = db->options.durability,
                                    .group_interval_ns = db->options.group_interval_ns,
                                    .memory_limit = db->options.memory_limit};
  return kl_txn_manager_new(db->os, &options, &db->manager, err);
}

/* A second opening of an open database: what it asks for must be what is there. Creation parameters are not compared:
 * they do not apply to a database that exists. */
static kl_status db_check_compatible(const kl_db *db, const kl_db_options *asked, kl_error *err) {
  const char *which = NULL;
  if (asked->must_create) return kl_fail(err, KL_E_EXISTS, "%s exists and is open in this process", db->path);
  if (asked->read_only != db->options.read_only) which = "read_only";
  if (asked->durability != KL_DURABILITY_DEFAULT && asked->durability != db->options.durability) which = "durability";
  if (asked->group_interval_ns != 0 && asked->group_interval_ns != db->options.group_interval_ns) {
    which = "group_interval";
  }
  if (asked->memory_limit != 0 && asked->memory_limit != db->options.memory_limit) which = "memory_limit";
  if (which == NULL) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s is open in this process with another %s; ask for the same, or close it first",
                 db->path, which);
}

/* What the path names now. An empty file counts as none: creation replaces it. */
static kl_status db_identify(kl_os *os, const char *path, db_identity *out, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_os_stat(os, path, &info, err);
  if (status != KL_OK) return status;
  if (info.kind == KL_FILE_DIRECTORY) return kl_fail(err, KL_E_NOT_A_FILE, "%s is a directory", path);
  if (info.kind == KL_FILE_OTHER) return kl_fail(err, KL_E_NOT_A_FILE, "%s is not a regular file", path);
  out->known = info.kind == KL_FILE_REGULAR && info.size != 0;
  out->device = info.device;
  out->inode = info.inode;
  return KL_OK;
}

/* Opens the files of `db`, which has been registered, and tells the registry how it ended. */
static kl_status db_open_registered(kl_db *db, bool create, kl_error *err) {
  kl_status status = kl_db_files_open(db, create, err);
  db_identity identity;
  if (status == KL_OK) {
    status = db_identify(db->os, db->path, &identity, err);
    if (status == KL_OK && !identity.known)
      status = kl_fail(err, KL_E_IO, "%s was removed while it was opened", db->path);
    if (status != KL_OK) {
      kl_catalogue_free(db->catalogue);
      kl_txn_manager_close(db->manager);
      (void)kl_db_files_close(db, NULL); /* the first error is the one to tell */
      kl_txn_manager_unref(db->manager);
    }
  }
  if (status == KL_OK) {
    kl_db_registry_opened(db, &identity);
  } else {
    kl_db_registry_remove(db);
  }
  return status;
}

kl_status kl_db_open(kl_os *os, const char *path, const kl_db_options *options, kl_db **out_db, kl_error *err) {
  static const kl_db_options db_default_options;
  if (options == NULL) options = &db_default_options;
  kl_status status = db_check_options(path, options, err);
  if (status != KL_OK) return status;
  kl_db *db = NULL, *found = NULL;
  status = db_new(os, path, options, &db, err);
  if (status != KL_OK) return status;
  if (strcmp(path, db_memory_path) == 0) {
    status = db_open_memory(db, err);
    if (status != KL_OK) {
      kl_db_registry_remove(db);
      return status;
    }
    db->state = DB_OPEN;
    kl_mutex_unlock(&db->busy);
    *out_db = db;
    return KL_OK;
  }
  db_identity identity;
  bool again = true;
  while (status == KL_OK && again) {
    status = db_identify(os, path, &identity, err);
    if (status == KL_OK) kl_db_registry_claim(db, &identity, &found, &again);
  }
  if (status != KL_OK || found != NULL) {
    kl_db_registry_remove(db); /* was not registered: just freed */
    if (status != KL_OK) return status;
    status = db_check_compatible(found, options, err);
    if (status != KL_OK) {
      (void)kl_db_release(found, NULL);
      return status;
    }
    *out_db = found;
    return KL_OK;
  }
  status = db_open_registered(db, !identity.known, err);
  if (status == KL_OK) *out_db = db;
  return status;
}

void kl_db_ref(kl_db *db) {
  atomic_fetch_add_explicit(&db->references, 1, memory_order_relaxed);
}

static kl_status db_check_fork(const kl_db *db, kl_error *err) {
  if (db->fork_count == kl_fork_count()) return KL_OK;
  return kl_fail(err, KL_E_FORKED,
                 "the database was opened before this process was forked and belongs to the parent; open it anew");
}

kl_status kl_db_release(kl_db *db, kl_error *err) {
  if (db == NULL) return KL_OK;
  kl_status status = db_check_fork(db, err);
  if (status != KL_OK) return status;
  if (!kl_db_registry_release(db)) return KL_OK;
  kl_catalogue_free(db->catalogue);
  kl_txn_manager_close(db->manager);
  status = kl_db_files_close(db, err);
  kl_txn_manager_unref(db->manager);
  kl_db_registry_remove(db);
  return status;
}

kl_status kl_db_check(kl_db *db, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  return status == KL_OK ? kl_txn_manager_check(db->manager, err) : status;
}

kl_txn_manager *kl_db_txn_manager(kl_db *db) {
  return db->manager;
}
kl_catalogue *kl_db_catalogue(kl_db *db) {
  return db->catalogue;
}
kl_allocator *kl_db_allocator(kl_db *db) {
  return kl_txn_manager_allocator(db->manager);
}

kl_status kl_db_flush(kl_db *db, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  return status == KL_OK ? kl_txn_manager_flush(db->manager, err) : status;
}

kl_status kl_db_last_checkpoint(kl_db *db, kl_checkpoint *out, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  if (status != KL_OK) return status;
  memset(out, 0, sizeof *out);
  if (db->store != NULL) kl_store_checkpoint(db->store, out);
  return KL_OK;
}

/* ---- core/db/files.c ---- */
/* core/db/files.c: NAME and NAME-wal: creation, recovery, closing. The argument why a crash at any point is survived:
 * core/db/README.md.
 *
 * Creation: NAME, durable, with a checkpoint that needs no log; NAME-wal, durable; a checkpoint that needs the log.
 * Only after that can anything be committed. So a NAME whose checkpoint needs no log was never committed to, and a
 * NAME-wal beside it is what a crash left of its creation. */

enum { DB_OWNER_TEXT = 128 };

static kl_status db_files_wal_path(const kl_db *db, char **out_path, size_t *out_size, kl_error *err) {
  *out_size = db->path_size + DB_WAL_SUFFIX_SIZE - 1;
  *out_path = kl_alloc(db->os->allocator, *out_size);
  if (*out_path == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open '%s'", db->path);
  memcpy(*out_path, db->path, db->path_size - 1);
  memcpy(*out_path + db->path_size - 1, "-wal", DB_WAL_SUFFIX_SIZE);
  return KL_OK;
}

/* KL_E_LOCKED says who holds the lock, as far as the log tells. */
static kl_status db_files_name_holder(const kl_db *db, const char *wal_path, kl_error *err) {
  char owner[DB_OWNER_TEXT];
  if (err == NULL || kl_wal_read_owner(db->os, wal_path, owner, sizeof owner) != KL_OK) return KL_E_LOCKED;
  return kl_fail(err, KL_E_LOCKED, "'%s' is open in %s; close it there, or open it here when that has ended", db->path,
                 owner);
}

static void db_files_wal_options(const kl_db *db, kl_wal_options *out) {
  memset(out, 0, sizeof *out);
  memcpy(out->database_id, kl_store_id(db->store), sizeof out->database_id);
  out->segment_size = db->options.log_segment_size;
  out->file_mode = db->options.file_mode;
  out->read_only = db->options.read_only;
  out->prewrite = db->options.durability != KL_DURABILITY_NONE;
}

/* A database that has never been committed to gets its log: a left-over one goes first. */
static kl_status db_files_make_log(kl_db *db, const char *wal_path, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_os_stat(db->os, wal_path, &info, err);
  if (status == KL_OK && info.kind != KL_FILE_ABSENT) {
    if (info.kind != KL_FILE_REGULAR) return kl_fail(err, KL_E_NOT_A_FILE, "'%s' is not a regular file", wal_path);
    status = kl_os_remove(db->os, wal_path, err);
  }
  if (status != KL_OK) return status;
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  kl_wal_options options;
  db_files_wal_options(db, &options);
  options.start_lsn = checkpoint.log_lsn;
  status = kl_wal_create(db->os, wal_path, &options, &db->wal, err);
  if (status != KL_OK) return status;
  kl_wal_stats stats;
  kl_wal_get_stats(db->wal, &stats);
  checkpoint.log_lsn = stats.start_lsn;
  checkpoint.known_durable = stats.start_lsn;
  checkpoint.log_needed = true;
  return kl_store_publish(db->store, &checkpoint, err);
}

static kl_status db_files_recover(kl_db *db, const char *wal_path, const kl_checkpoint *checkpoint, uint64_t *out_ts,
                                  kl_error *err) {
  kl_wal_options options;
  db_files_wal_options(db, &options);
  kl_status status = kl_wal_open(db->os, wal_path, &options, &db->wal, err);
  if (status == KL_E_NO_FILE) {
    return kl_fail(
        err, KL_E_CORRUPT,
        "the log '%s' is missing, and it holds what was committed: put it back beside the database (and open a "
        "database by its own name, not through a link)",
        wal_path);
  }
  if (status != KL_OK) return status;
  uint64_t start = kl_os_monotonic_ns(db->os);
  kl_replay_stats stats;
  status = kl_replay(db->wal, kl_txn_manager_delta(db->manager), checkpoint->log_lsn, checkpoint->known_durable, &stats,
                     err);
  if (status != KL_OK) return status;
  db->recovery_batches = stats.batches;
  db->recovery_bytes = stats.bytes;
  db->recovery_ns = kl_os_monotonic_ns(db->os) - start;
  *out_ts = stats.highest_ts;
  if (db->options.read_only) return KL_OK;
  return kl_wal_release(db->wal, kl_store_log_release_point(db->store), err);
}

/* A creation has failed before its checkpoint needed the log: NAME goes again, unless its log might come to stand
 * there alone, after a crash now (DB-3, DB-4). The lock is ours. */
static void db_files_uncreate(kl_db *db, const char *wal_path) {
  kl_file_info info;
  if (kl_os_stat(db->os, wal_path, &info, NULL) != KL_OK || info.kind != KL_FILE_ABSENT) return;
  if (kl_os_sync_directory(db->os, wal_path, NULL) != KL_OK) return;
  (void)kl_os_remove(db->os, db->path, NULL); /* if that fails, there is an empty database */
}

/* The store is open: makes or reads the log and starts the engine. `created`: just now. */
static kl_status db_files_start(kl_db *db, bool created, const char *wal_path, kl_error *err) {
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  uint64_t last_ts = 0;
  kl_status status = kl_db_engine_new(db, err);
  if (status != KL_OK) {
    if (created) db_files_uncreate(db, wal_path);
    return status;
  }
  if (checkpoint.log_needed) {
    status = db_files_recover(db, wal_path, &checkpoint, &last_ts, err);
  } else if (!db->options.read_only) {
    status = db_files_make_log(db, wal_path, err);
  }
  if (status == KL_OK) {
    kl_txn_manager_start(db->manager, db->wal, last_ts > checkpoint.ts ? last_ts : checkpoint.ts);
    status = kl_catalogue_new(db->manager, kl_txn_manager_allocator(db->manager), &db->catalogue, err);
  }
  /* Advisory: a database whose holder cannot be named is as good. */
  if (status == KL_OK && !db->options.read_only) (void)kl_wal_write_owner(db->wal, NULL);
  if (status != KL_OK) {
    if (created && db->wal == NULL) db_files_uncreate(db, wal_path);
    kl_txn_manager_close(db->manager);
    kl_wal_close(db->wal);
    db->wal = NULL;
    kl_txn_manager_unref(db->manager);
    db->manager = NULL;
  }
  return status;
}

/* NAME is absent (or empty). A log without its database is somebody's data, or somebody else's file. */
static kl_status db_files_create_store(kl_db *db, const char *wal_path, kl_error *err) {
  if (db->options.no_create || db->options.read_only) {
    return kl_fail(err, KL_E_NO_FILE, "there is no database '%s', and creating it was not asked for", db->path);
  }
  kl_file_info info;
  kl_status status = kl_os_stat(db->os, wal_path, &info, err);
  if (status != KL_OK) return status;
  if (info.kind != KL_FILE_ABSENT) {
    kl_file_info again; /* somebody else may have created both since we looked */
    status = kl_os_stat(db->os, db->path, &again, err);
    if (status != KL_OK) return status;
    if (again.kind == KL_FILE_REGULAR && again.size != 0) return KL_E_EXISTS;
    return kl_fail(err, KL_E_CORRUPT,
                   "'%s' is missing, but '%s' is there and may hold its data: put the database back, or move that file "
                   "away to begin a new one",
                   db->path, wal_path);
  }
  kl_store_options options = {.page_size = db->options.page_size, .file_mode = db->options.file_mode};
  return kl_store_create(db->os, db->path, &options, &db->store, err);
}

static kl_status db_files_open_store(kl_db *db, bool create, const char *wal_path, bool *out_created, kl_error *err) {
  kl_status status = KL_E_EXISTS;
  if (create) status = db_files_create_store(db, wal_path, err);
  *out_created = create && status == KL_OK;
  if (status != KL_E_EXISTS) return status == KL_E_LOCKED ? db_files_name_holder(db, wal_path, err) : status;
  if (db->options.must_create) return kl_fail(err, KL_E_EXISTS, "'%s' exists already", db->path);
  kl_store_options options = {.read_only = db->options.read_only};
  status = kl_store_open(db->os, db->path, &options, &db->store, err);
  return status == KL_E_LOCKED ? db_files_name_holder(db, wal_path, err) : status;
}

kl_status kl_db_files_open(kl_db *db, bool create, kl_error *err) {
  char *wal_path;
  size_t wal_path_size;
  kl_status status = db_files_wal_path(db, &wal_path, &wal_path_size, err);
  if (status != KL_OK) return status;
  bool created;
  status = db_files_open_store(db, create, wal_path, &created, err);
  if (status == KL_OK) {
    status = db_files_start(db, created, wal_path, err);
    if (status != KL_OK) {
      kl_store_close(db->store);
      db->store = NULL;
    }
  }
  kl_free(db->os->allocator, wal_path, wal_path_size);
  return status;
}

/* Everything in the log is durable: NAME says so, so that a log which loses its end while the database is closed is
 * told from one that ended there. Advisory: nothing is lost when it cannot be written. */
static void db_files_seal(kl_db *db, kl_lsn durable) {
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  if (checkpoint.known_durable >= durable) return;
  checkpoint.known_durable = durable;
  (void)kl_store_publish(db->store, &checkpoint, NULL);
}

kl_status kl_db_files_close(kl_db *db, kl_error *err) {
  kl_status status = KL_OK;
  if (db->wal != NULL && !db->options.read_only) {
    /* Also what was committed with durability `none`: closing in order loses nothing. A log that is poisoned can
     * promise nothing any more, and has said so to those who were waiting. */
    kl_wal_stats stats;
    kl_wal_get_stats(db->wal, &stats);
    if (stats.tail_lsn != stats.durable_lsn) status = kl_wal_sync(db->wal, stats.tail_lsn, err);
    if (status == KL_OK && !stats.poisoned) db_files_seal(db, stats.tail_lsn);
  }
  kl_wal_close(db->wal);
  kl_store_close(db->store);
  db->wal = NULL;
  db->store = NULL;
  return status;
}

/* ---- core/db/registry.c ---- */
/* core/db/registry.c: see registry.h.
 *
 * Lock order: a database's `busy`, then the registry's word. Nobody waits for `busy` with the word held. */

static struct {
  _Atomic uint64_t lock; /* 0: free; else the fork count of its holder's process, plus one */
  uint64_t fork_count;   /* of the process that `first` belongs to */
  kl_db *first;
} db_registry;

static void db_registry_lock(void) {
  uint64_t mine = kl_fork_count() + 1;
  for (;;) {
    uint64_t held = 0;
    if (atomic_compare_exchange_weak_explicit(&db_registry.lock, &held, mine, memory_order_acquire,
                                              memory_order_relaxed)) {
      break;
    }
    /* Held in a process that we are a fork of: its holder does not exist here. */
    if (held != 0 && held != mine &&
        atomic_compare_exchange_strong_explicit(&db_registry.lock, &held, mine, memory_order_acquire,
                                                memory_order_relaxed)) {
      break;
    }
    kl_thread_yield(); /* it is held for a few instructions */
  }
  if (db_registry.fork_count != kl_fork_count()) {
    db_registry.fork_count = kl_fork_count();
    db_registry.first = NULL; /* the parent's databases are not ours */
  }
}

static void db_registry_unlock(void) {
  atomic_store_explicit(&db_registry.lock, 0, memory_order_release);
}

/* Under the lock. True when the last holder has let go: free it, after unlocking. */
static bool db_registry_let_go(kl_db *db) {
  KL_ASSERT(db->holders != 0);
  return --db->holders == 0;
}

static void db_registry_free(kl_db *db) {
  kl_mutex_destroy(&db->busy);
  kl_free(db->os->allocator, db->path, db->path_size);
  kl_free(db->os->allocator, db, sizeof *db);
}

/* Under the lock: the database that the identity means, or one that might turn out to be it. */
static kl_db *db_registry_find(const kl_os *os, const db_identity *identity) {
  for (kl_db *db = db_registry.first; db != NULL; db = db->next) {
    if (db->os != os) continue;
    if (!db->identity.known || !identity->known) {
      if (db->state != DB_OPEN) return db;
      continue;
    }
    if (db->identity.device == identity->device && db->identity.inode == identity->inode) return db;
  }
  return NULL;
}

void kl_db_registry_claim(kl_db *fresh, const db_identity *identity, kl_db **out_found, bool *out_again) {
  *out_found = NULL;
  *out_again = false;
  db_registry_lock();
  kl_db *db = db_registry_find(fresh->os, identity);
  if (db == NULL) {
    fresh->identity = *identity;
    fresh->next = db_registry.first;
    db_registry.first = fresh;
  } else if (db->state == DB_OPEN) {
    atomic_fetch_add_explicit(&db->references, 1, memory_order_relaxed);
    *out_found = db;
  } else {
    db->holders++;
    *out_again = true;
  }
  db_registry_unlock();
  if (!*out_again) return;
  kl_mutex_lock(&db->busy); /* until the opening or closing is over */
  kl_mutex_unlock(&db->busy);
  db_registry_lock();
  bool last = db_registry_let_go(db);
  db_registry_unlock();
  if (last) db_registry_free(db);
}

void kl_db_registry_opened(kl_db *db, const db_identity *identity) {
  db_registry_lock();
  db->identity = *identity;
  db->state = DB_OPEN;
  db_registry_unlock();
  kl_mutex_unlock(&db->busy);
}

void kl_db_registry_remove(kl_db *db) {
  db_registry_lock();
  kl_db **link = &db_registry.first;
  while (*link != NULL && *link != db) link = &(*link)->next;
  if (*link != NULL) *link = db->next; /* a database without a file is in no list */
  db->state = DB_GONE;
  db_registry_unlock();
  kl_mutex_unlock(&db->busy);
  db_registry_lock();
  bool last = db_registry_let_go(db);
  db_registry_unlock();
  if (last) db_registry_free(db);
}

bool kl_db_registry_release(kl_db *db) {
  uint64_t references = atomic_load_explicit(&db->references, memory_order_relaxed);
  while (references > 1) { /* not the last one: nothing to guard */
    /* Release: our use ends before whoever closes it begins to. */
    if (atomic_compare_exchange_weak_explicit(&db->references, &references, references - 1, memory_order_release,
                                              memory_order_relaxed)) {
      return false;
    }
  }
  kl_mutex_lock(&db->busy);
  db_registry_lock();
  /* Acquire: the others' uses. Under the lock nobody can find the database and take a new reference. */
  bool last = atomic_fetch_sub_explicit(&db->references, 1, memory_order_acq_rel) == 1;
  if (last) db->state = DB_CLOSING;
  db_registry_unlock();
  if (!last) kl_mutex_unlock(&db->busy);
  return last;
}

/* ---- core/db/stats.c ---- */
/* core/db/stats.c: one picture of everything that counts. The parts are read one after the other while others go on. */

kl_status kl_db_get_stats(kl_db *db, kl_db_stats *out, kl_error *err) {
  if (db->fork_count != kl_fork_count()) {
    return kl_fail(err, KL_E_FORKED, "the database was opened before this process was forked; open it anew");
  }
  memset(out, 0, sizeof *out);
  kl_txn_manager_stats txn;
  kl_txn_manager_get_stats(db->manager, &txn);
  out->commits = txn.commits;
  out->commits_read_only = txn.commits_read_only;
  out->rollbacks = txn.rollbacks;
  out->conflicts = txn.conflicts;
  out->groups = txn.groups;
  out->gets = txn.gets;
  out->puts = txn.puts;
  out->deletes = txn.deletes;
  out->cursor_steps = txn.cursor_steps;
  out->transactions_live = txn.transactions_live;
  out->snapshots_live = txn.snapshots_live;
  out->views_live = txn.views_live;
  out->oldest_snapshot_age_ns = txn.oldest_snapshot_age_ns;
  out->visible_ts = txn.visible_ts;
  out->memory_bytes = txn.memory_bytes;
  out->memory_limit = db->options.memory_limit;
  out->poisoned = txn.poisoned;
  kl_delta_stats delta;
  kl_delta_get_stats(kl_txn_manager_delta(db->manager), &delta);
  out->delta_keys = delta.keys;
  out->delta_versions = delta.versions;
  out->delta_bytes = delta.bytes;
  if (db->wal != NULL) {
    kl_wal_get_stats(db->wal, &out->log);
    out->poisoned = out->poisoned || out->log.poisoned;
  }
  out->recovery_batches = db->recovery_batches;
  out->recovery_bytes = db->recovery_bytes;
  out->recovery_ns = db->recovery_ns;
  return kl_keyspace_count(db->catalogue, &out->keyspaces, err);
}

/* ---- capi/batch.c ---- */
/* capi/batch.c: batches: columns of rows that belong to no database. */

/* ---- capi/layout.gen.h ---- */
/* capi/layout.gen.h: what of the description must hold at compile time, and the struct sizes of the first versions.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`. */
/* clang-format off */
#ifndef CAPI_LAYOUT_GEN_H
#define CAPI_LAYOUT_GEN_H

/* The smallest struct_size that is accepted: the struct as its first version had it. */
enum {
  CAPI_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_options, memory_limit) + sizeof(((keel_options *)0)->memory_limit)),
  CAPI_KEYSPACE_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_keyspace_options, flags) + sizeof(((keel_keyspace_options *)0)->flags)),
  CAPI_TXN_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_txn_options, label) + sizeof(((keel_txn_options *)0)->label)),
  CAPI_CURSOR_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_cursor_options, prefix_size) + sizeof(((keel_cursor_options *)0)->prefix_size)),
  CAPI_CHECKPOINT_FIRST_SIZE = (int)(offsetof(keel_checkpoint, wall_time_ns) + sizeof(((keel_checkpoint *)0)->wall_time_ns)),
  CAPI_STATS_FIRST_SIZE = (int)(offsetof(keel_stats, memory_limit) + sizeof(((keel_stats *)0)->memory_limit)),
  CAPI_BATCH_VIEW_FIRST_SIZE = (int)(offsetof(keel_batch_view, found) + sizeof(((keel_batch_view *)0)->found))
};

/* Every bit that is a flag. */
enum {
  CAPI_OPEN_FLAGS_ALL = 7,
  CAPI_KEYSPACE_FLAGS_ALL = 1,
  CAPI_TXN_FLAGS_ALL = 1
};

/* The highest value of each choice; all from 0 or 1 up to it exist. */
enum {
  CAPI_DURABILITY_MAX = 3,
  CAPI_ISOLATION_MAX = 5,
  CAPI_BATCH_OP_MAX = 2
};

/* Bounds of fields. */
#define CAPI_OPTIONS_PAGE_SIZE_MIN UINT64_C(4096)
#define CAPI_OPTIONS_PAGE_SIZE_MAX UINT64_C(65536)
#define CAPI_OPTIONS_GROUP_INTERVAL_MS_MAX UINT64_C(60000)
#define CAPI_OPTIONS_FILE_MODE_MAX UINT64_C(511)
#define CAPI_OPTIONS_LOG_SEGMENT_SIZE_MIN UINT64_C(65536)
#define CAPI_OPTIONS_LOG_SEGMENT_SIZE_MAX UINT64_C(1073741824)
#define CAPI_TXN_OPTIONS_LABEL_MAX UINT64_C(255)
#define CAPI_CURSOR_OPTIONS_FLAGS_MAX UINT64_C(0)
#define CAPI_CURSOR_OPTIONS_LOWER_SIZE_MAX UINT64_C(1024)
#define CAPI_CURSOR_OPTIONS_UPPER_SIZE_MAX UINT64_C(1024)
#define CAPI_CURSOR_OPTIONS_PREFIX_SIZE_MAX UINT64_C(1024)

/* The public status codes are the internal ones. */
_Static_assert(KEEL_OK == (keel_status)KL_OK, "OK");
_Static_assert(KEEL_E_INVALID == (keel_status)KL_E_INVALID, "E_INVALID");
_Static_assert(KEEL_E_HANDLE == (keel_status)KL_E_HANDLE, "E_HANDLE");
_Static_assert(KEEL_E_FINISHED == (keel_status)KL_E_FINISHED, "E_FINISHED");
_Static_assert(KEEL_E_READ_ONLY == (keel_status)KL_E_READ_ONLY, "E_READ_ONLY");
_Static_assert(KEEL_E_KEY_SIZE == (keel_status)KL_E_KEY_SIZE, "E_KEY_SIZE");
_Static_assert(KEEL_E_VALUE_SIZE == (keel_status)KL_E_VALUE_SIZE, "E_VALUE_SIZE");
_Static_assert(KEEL_E_BUFFER_SIZE == (keel_status)KL_E_BUFFER_SIZE, "E_BUFFER_SIZE");
_Static_assert(KEEL_E_CONCURRENT_USE == (keel_status)KL_E_CONCURRENT_USE, "E_CONCURRENT_USE");
_Static_assert(KEEL_E_FORKED == (keel_status)KL_E_FORKED, "E_FORKED");
_Static_assert(KEEL_E_CLOSED == (keel_status)KL_E_CLOSED, "E_CLOSED");
_Static_assert(KEEL_E_UNSUPPORTED == (keel_status)KL_E_UNSUPPORTED, "E_UNSUPPORTED");
_Static_assert(KEEL_E_NOT_FOUND == (keel_status)KL_E_NOT_FOUND, "E_NOT_FOUND");
_Static_assert(KEEL_E_KEYSPACE_NOT_FOUND == (keel_status)KL_E_KEYSPACE_NOT_FOUND, "E_KEYSPACE_NOT_FOUND");
_Static_assert(KEEL_E_NO_FILE == (keel_status)KL_E_NO_FILE, "E_NO_FILE");
_Static_assert(KEEL_E_EXISTS == (keel_status)KL_E_EXISTS, "E_EXISTS");
_Static_assert(KEEL_E_CONFLICT == (keel_status)KL_E_CONFLICT, "E_CONFLICT");
_Static_assert(KEEL_E_DEADLOCK == (keel_status)KL_E_DEADLOCK, "E_DEADLOCK");
_Static_assert(KEEL_E_SNAPSHOT_TOO_OLD == (keel_status)KL_E_SNAPSHOT_TOO_OLD, "E_SNAPSHOT_TOO_OLD");
_Static_assert(KEEL_E_COMMIT_UNKNOWN == (keel_status)KL_E_COMMIT_UNKNOWN, "E_COMMIT_UNKNOWN");
_Static_assert(KEEL_E_LOCKED == (keel_status)KL_E_LOCKED, "E_LOCKED");
_Static_assert(KEEL_E_TIMEOUT == (keel_status)KL_E_TIMEOUT, "E_TIMEOUT");
_Static_assert(KEEL_E_CANCELLED == (keel_status)KL_E_CANCELLED, "E_CANCELLED");
_Static_assert(KEEL_E_IO == (keel_status)KL_E_IO, "E_IO");
_Static_assert(KEEL_E_DISK_FULL == (keel_status)KL_E_DISK_FULL, "E_DISK_FULL");
_Static_assert(KEEL_E_PERMISSION == (keel_status)KL_E_PERMISSION, "E_PERMISSION");
_Static_assert(KEEL_E_READ_ONLY_MEDIA == (keel_status)KL_E_READ_ONLY_MEDIA, "E_READ_ONLY_MEDIA");
_Static_assert(KEEL_E_NOT_A_FILE == (keel_status)KL_E_NOT_A_FILE, "E_NOT_A_FILE");
_Static_assert(KEEL_E_POISONED == (keel_status)KL_E_POISONED, "E_POISONED");
_Static_assert(KEEL_E_CORRUPT == (keel_status)KL_E_CORRUPT, "E_CORRUPT");
_Static_assert(KEEL_E_FORMAT == (keel_status)KL_E_FORMAT, "E_FORMAT");
_Static_assert(KEEL_E_VERSION == (keel_status)KL_E_VERSION, "E_VERSION");
_Static_assert(KEEL_E_NO_MEMORY == (keel_status)KL_E_NO_MEMORY, "E_NO_MEMORY");
_Static_assert(KEEL_E_LIMIT == (keel_status)KL_E_LIMIT, "E_LIMIT");
_Static_assert(KEEL_E_INTERNAL == (keel_status)KL_E_INTERNAL, "E_INTERNAL");

/* Structs have no hole in front of a field, so that struct_size cuts between fields. */
_Static_assert(offsetof(keel_options, flags) == offsetof(keel_options, struct_size) + sizeof(((keel_options *)0)->struct_size), "options.flags");
_Static_assert(offsetof(keel_options, durability) == offsetof(keel_options, flags) + sizeof(((keel_options *)0)->flags), "options.durability");
_Static_assert(offsetof(keel_options, page_size) == offsetof(keel_options, durability) + sizeof(((keel_options *)0)->durability), "options.page_size");
_Static_assert(offsetof(keel_options, group_interval_ms) == offsetof(keel_options, page_size) + sizeof(((keel_options *)0)->page_size), "options.group_interval_ms");
_Static_assert(offsetof(keel_options, file_mode) == offsetof(keel_options, group_interval_ms) + sizeof(((keel_options *)0)->group_interval_ms), "options.file_mode");
_Static_assert(offsetof(keel_options, log_segment_size) == offsetof(keel_options, file_mode) + sizeof(((keel_options *)0)->file_mode), "options.log_segment_size");
_Static_assert(offsetof(keel_options, memory_limit) == offsetof(keel_options, log_segment_size) + sizeof(((keel_options *)0)->log_segment_size), "options.memory_limit");
_Static_assert(offsetof(keel_keyspace_options, flags) == offsetof(keel_keyspace_options, struct_size) + sizeof(((keel_keyspace_options *)0)->struct_size), "keyspace_options.flags");
_Static_assert(offsetof(keel_txn_options, flags) == offsetof(keel_txn_options, struct_size) + sizeof(((keel_txn_options *)0)->struct_size), "txn_options.flags");
_Static_assert(offsetof(keel_txn_options, isolation) == offsetof(keel_txn_options, flags) + sizeof(((keel_txn_options *)0)->flags), "txn_options.isolation");
_Static_assert(offsetof(keel_txn_options, durability) == offsetof(keel_txn_options, isolation) + sizeof(((keel_txn_options *)0)->isolation), "txn_options.durability");
_Static_assert(offsetof(keel_txn_options, label) == offsetof(keel_txn_options, durability) + sizeof(((keel_txn_options *)0)->durability), "txn_options.label");
_Static_assert(offsetof(keel_cursor_options, flags) == offsetof(keel_cursor_options, struct_size) + sizeof(((keel_cursor_options *)0)->struct_size), "cursor_options.flags");
_Static_assert(offsetof(keel_cursor_options, lower) == offsetof(keel_cursor_options, flags) + sizeof(((keel_cursor_options *)0)->flags), "cursor_options.lower");
_Static_assert(offsetof(keel_cursor_options, lower_size) == offsetof(keel_cursor_options, lower) + sizeof(((keel_cursor_options *)0)->lower), "cursor_options.lower_size");
_Static_assert(offsetof(keel_cursor_options, upper) == offsetof(keel_cursor_options, lower_size) + sizeof(((keel_cursor_options *)0)->lower_size), "cursor_options.upper");
_Static_assert(offsetof(keel_cursor_options, upper_size) == offsetof(keel_cursor_options, upper) + sizeof(((keel_cursor_options *)0)->upper), "cursor_options.upper_size");
_Static_assert(offsetof(keel_cursor_options, prefix) == offsetof(keel_cursor_options, upper_size) + sizeof(((keel_cursor_options *)0)->upper_size), "cursor_options.prefix");
_Static_assert(offsetof(keel_cursor_options, prefix_size) == offsetof(keel_cursor_options, prefix) + sizeof(((keel_cursor_options *)0)->prefix), "cursor_options.prefix_size");
_Static_assert(offsetof(keel_checkpoint, log_needed) == offsetof(keel_checkpoint, struct_size) + sizeof(((keel_checkpoint *)0)->struct_size), "checkpoint.log_needed");
_Static_assert(offsetof(keel_checkpoint, sequence) == offsetof(keel_checkpoint, log_needed) + sizeof(((keel_checkpoint *)0)->log_needed), "checkpoint.sequence");
_Static_assert(offsetof(keel_checkpoint, timestamp) == offsetof(keel_checkpoint, sequence) + sizeof(((keel_checkpoint *)0)->sequence), "checkpoint.timestamp");
_Static_assert(offsetof(keel_checkpoint, log_position) == offsetof(keel_checkpoint, timestamp) + sizeof(((keel_checkpoint *)0)->timestamp), "checkpoint.log_position");
_Static_assert(offsetof(keel_checkpoint, wall_time_ns) == offsetof(keel_checkpoint, log_position) + sizeof(((keel_checkpoint *)0)->log_position), "checkpoint.wall_time_ns");
_Static_assert(offsetof(keel_stats, poisoned) == offsetof(keel_stats, struct_size) + sizeof(((keel_stats *)0)->struct_size), "stats.poisoned");
_Static_assert(offsetof(keel_stats, commits) == offsetof(keel_stats, poisoned) + sizeof(((keel_stats *)0)->poisoned), "stats.commits");
_Static_assert(offsetof(keel_stats, commits_read_only) == offsetof(keel_stats, commits) + sizeof(((keel_stats *)0)->commits), "stats.commits_read_only");
_Static_assert(offsetof(keel_stats, rollbacks) == offsetof(keel_stats, commits_read_only) + sizeof(((keel_stats *)0)->commits_read_only), "stats.rollbacks");
_Static_assert(offsetof(keel_stats, conflicts) == offsetof(keel_stats, rollbacks) + sizeof(((keel_stats *)0)->rollbacks), "stats.conflicts");
_Static_assert(offsetof(keel_stats, groups) == offsetof(keel_stats, conflicts) + sizeof(((keel_stats *)0)->conflicts), "stats.groups");
_Static_assert(offsetof(keel_stats, gets) == offsetof(keel_stats, groups) + sizeof(((keel_stats *)0)->groups), "stats.gets");
_Static_assert(offsetof(keel_stats, puts) == offsetof(keel_stats, gets) + sizeof(((keel_stats *)0)->gets), "stats.puts");
_Static_assert(offsetof(keel_stats, deletes) == offsetof(keel_stats, puts) + sizeof(((keel_stats *)0)->puts), "stats.deletes");
_Static_assert(offsetof(keel_stats, cursor_steps) == offsetof(keel_stats, deletes) + sizeof(((keel_stats *)0)->deletes), "stats.cursor_steps");
_Static_assert(offsetof(keel_stats, transactions_live) == offsetof(keel_stats, cursor_steps) + sizeof(((keel_stats *)0)->cursor_steps), "stats.transactions_live");
_Static_assert(offsetof(keel_stats, snapshots_live) == offsetof(keel_stats, transactions_live) + sizeof(((keel_stats *)0)->transactions_live), "stats.snapshots_live");
_Static_assert(offsetof(keel_stats, views_live) == offsetof(keel_stats, snapshots_live) + sizeof(((keel_stats *)0)->snapshots_live), "stats.views_live");
_Static_assert(offsetof(keel_stats, oldest_snapshot_age_ns) == offsetof(keel_stats, views_live) + sizeof(((keel_stats *)0)->views_live), "stats.oldest_snapshot_age_ns");
_Static_assert(offsetof(keel_stats, visible_timestamp) == offsetof(keel_stats, oldest_snapshot_age_ns) + sizeof(((keel_stats *)0)->oldest_snapshot_age_ns), "stats.visible_timestamp");
_Static_assert(offsetof(keel_stats, keyspaces) == offsetof(keel_stats, visible_timestamp) + sizeof(((keel_stats *)0)->visible_timestamp), "stats.keyspaces");
_Static_assert(offsetof(keel_stats, delta_keys) == offsetof(keel_stats, keyspaces) + sizeof(((keel_stats *)0)->keyspaces), "stats.delta_keys");
_Static_assert(offsetof(keel_stats, delta_versions) == offsetof(keel_stats, delta_keys) + sizeof(((keel_stats *)0)->delta_keys), "stats.delta_versions");
_Static_assert(offsetof(keel_stats, delta_bytes) == offsetof(keel_stats, delta_versions) + sizeof(((keel_stats *)0)->delta_versions), "stats.delta_bytes");
_Static_assert(offsetof(keel_stats, log_start) == offsetof(keel_stats, delta_bytes) + sizeof(((keel_stats *)0)->delta_bytes), "stats.log_start");
_Static_assert(offsetof(keel_stats, log_tail) == offsetof(keel_stats, log_start) + sizeof(((keel_stats *)0)->log_start), "stats.log_tail");
_Static_assert(offsetof(keel_stats, log_durable) == offsetof(keel_stats, log_tail) + sizeof(((keel_stats *)0)->log_tail), "stats.log_durable");
_Static_assert(offsetof(keel_stats, log_file_bytes) == offsetof(keel_stats, log_durable) + sizeof(((keel_stats *)0)->log_durable), "stats.log_file_bytes");
_Static_assert(offsetof(keel_stats, log_segments) == offsetof(keel_stats, log_file_bytes) + sizeof(((keel_stats *)0)->log_file_bytes), "stats.log_segments");
_Static_assert(offsetof(keel_stats, log_segments_recycled) == offsetof(keel_stats, log_segments) + sizeof(((keel_stats *)0)->log_segments), "stats.log_segments_recycled");
_Static_assert(offsetof(keel_stats, log_appends) == offsetof(keel_stats, log_segments_recycled) + sizeof(((keel_stats *)0)->log_segments_recycled), "stats.log_appends");
_Static_assert(offsetof(keel_stats, log_appended_bytes) == offsetof(keel_stats, log_appends) + sizeof(((keel_stats *)0)->log_appends), "stats.log_appended_bytes");
_Static_assert(offsetof(keel_stats, log_syncs) == offsetof(keel_stats, log_appended_bytes) + sizeof(((keel_stats *)0)->log_appended_bytes), "stats.log_syncs");
_Static_assert(offsetof(keel_stats, log_syncs_shared) == offsetof(keel_stats, log_syncs) + sizeof(((keel_stats *)0)->log_syncs), "stats.log_syncs_shared");
_Static_assert(offsetof(keel_stats, log_sync_ns_total) == offsetof(keel_stats, log_syncs_shared) + sizeof(((keel_stats *)0)->log_syncs_shared), "stats.log_sync_ns_total");
_Static_assert(offsetof(keel_stats, log_sync_ns_max) == offsetof(keel_stats, log_sync_ns_total) + sizeof(((keel_stats *)0)->log_sync_ns_total), "stats.log_sync_ns_max");
_Static_assert(offsetof(keel_stats, log_uses_dsync) == offsetof(keel_stats, log_sync_ns_max) + sizeof(((keel_stats *)0)->log_sync_ns_max), "stats.log_uses_dsync");
_Static_assert(offsetof(keel_stats, recovery_batches) == offsetof(keel_stats, log_uses_dsync) + sizeof(((keel_stats *)0)->log_uses_dsync), "stats.recovery_batches");
_Static_assert(offsetof(keel_stats, recovery_bytes) == offsetof(keel_stats, recovery_batches) + sizeof(((keel_stats *)0)->recovery_batches), "stats.recovery_bytes");
_Static_assert(offsetof(keel_stats, recovery_ns) == offsetof(keel_stats, recovery_bytes) + sizeof(((keel_stats *)0)->recovery_bytes), "stats.recovery_ns");
_Static_assert(offsetof(keel_stats, memory_bytes) == offsetof(keel_stats, recovery_ns) + sizeof(((keel_stats *)0)->recovery_ns), "stats.memory_bytes");
_Static_assert(offsetof(keel_stats, memory_limit) == offsetof(keel_stats, memory_bytes) + sizeof(((keel_stats *)0)->memory_bytes), "stats.memory_limit");
_Static_assert(offsetof(keel_batch_view, flags) == offsetof(keel_batch_view, struct_size) + sizeof(((keel_batch_view *)0)->struct_size), "batch_view.flags");
_Static_assert(offsetof(keel_batch_view, count) == offsetof(keel_batch_view, flags) + sizeof(((keel_batch_view *)0)->flags), "batch_view.count");
_Static_assert(offsetof(keel_batch_view, keys) == offsetof(keel_batch_view, count) + sizeof(((keel_batch_view *)0)->count), "batch_view.keys");
_Static_assert(offsetof(keel_batch_view, key_offsets) == offsetof(keel_batch_view, keys) + sizeof(((keel_batch_view *)0)->keys), "batch_view.key_offsets");
_Static_assert(offsetof(keel_batch_view, values) == offsetof(keel_batch_view, key_offsets) + sizeof(((keel_batch_view *)0)->key_offsets), "batch_view.values");
_Static_assert(offsetof(keel_batch_view, value_offsets) == offsetof(keel_batch_view, values) + sizeof(((keel_batch_view *)0)->values), "batch_view.value_offsets");
_Static_assert(offsetof(keel_batch_view, found) == offsetof(keel_batch_view, value_offsets) + sizeof(((keel_batch_view *)0)->value_offsets), "batch_view.found");

#endif

/* ---- capi/objects.h ---- */
/* capi/objects.h: what is behind each kind of handle, and how a call gets inside several of them at once.
 *
 * Each object that belongs to a database holds a reference on the engine, so that any order of closing works. A
 * transaction also holds pins on the keyspaces that it used last ("lent pins"): the next call with the same keyspace
 * compares one number instead of changing a counter that all threads share. */
#ifndef CAPI_OBJECTS_H
#define CAPI_OBJECTS_H

/* ---- capi/convert.h ---- */
/* capi/convert.h: between the public types and those of core/: errors, structs with struct_size, bytes, text.
 *
 * Everything here checks before it reads: a pointer is looked at only when it is not NULL, and never beyond the size
 * that its caller vouched for. Any thread. */
#ifndef CAPI_CONVERT_H
#define CAPI_CONVERT_H

/* Where core/ puts an error: NULL when the caller wants none, so that no text is made in vain. */
static inline kl_error *capi_detail(keel_error *err, kl_error *detail) {
  return err != NULL ? detail : NULL;
}

/* Ends a public call: on failure copies `detail` into `err` (nullable). Returns `status`. */
keel_status capi_report_failure(kl_status status, const kl_error *detail, keel_error *err);
static inline keel_status capi_report(kl_status status, const kl_error *detail, keel_error *err) {
  return status == KL_OK ? KEEL_OK : capi_report_failure(status, detail, err);
}

/* KL_E_INVALID that names the argument. Inline, so that compiler and analyzer see that a failure is never KL_OK. */
void capi_tell_null(const char *argument, kl_error *err);
static inline kl_status capi_null(const char *argument, kl_error *err) {
  capi_tell_null(argument, err);
  return KL_E_INVALID;
}

/* Copies an option struct of the caller into `out`, whose `known` bytes are zeroed first: NULL gives zeros. `first` is
 * the size of the struct's first version. KL_E_INVALID for a struct_size that cannot be, KL_E_UNSUPPORTED when the part
 * that this library does not know is not zero. */
kl_status capi_read_struct(const char *name, const void *in, size_t first, void *out, size_t known, kl_error *err);

/* Writes a result struct (whose struct_size is set inside) to the caller's, as much as its struct_size says; what this
 * library does not know is zeroed. */
kl_status capi_check_struct(const char *name, const void *out, size_t first, kl_error *err);
void capi_write_struct(void *out, const void *result, size_t known);

/* KL_E_INVALID when `flags` has bits outside `all`. */
kl_status capi_check_flags(const char *name, uint32_t flags, uint32_t all, kl_error *err);
/* KL_E_INVALID when `value` is above `max`. */
kl_status capi_check_choice(const char *name, uint64_t value, uint64_t max, kl_error *err);
/* KL_E_INVALID unless `value` is 0 or a power of two from min to max. */
kl_status capi_check_power(const char *name, uint64_t value, uint64_t min, uint64_t max, kl_error *err);

/* Says what is wrong with a key. */
void capi_tell_key(const char *name, size_t size, kl_error *err);
static inline kl_status capi_key_check(const char *name, const void *data, size_t size, kl_error *err) {
  if (size <= KEEL_MAX_KEY_SIZE && (data != NULL || size == 0)) return KL_OK;
  capi_tell_key(name, size, err);
  return size > KEEL_MAX_KEY_SIZE ? KL_E_KEY_SIZE : KL_E_INVALID;
}
/* A key: at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0 (which is the empty key). */
static inline kl_status capi_key(const char *name, const void *data, size_t size, kl_slice *out, kl_error *err) {
  *out = kl_slice_make(data != NULL ? data : "", size);
  return capi_key_check(name, data, size, err);
}
/* An end of a range: as a key, but NULL stays NULL and means that the end is open. */
kl_status capi_bound(const char *name, const void *data, size_t size, kl_slice *out, kl_error *err);
/* A value: at most KEEL_MAX_VALUE_SIZE bytes, NULL only with size 0. */
kl_status capi_value(const void *data, size_t size, kl_slice *out, kl_error *err);

/* A name of 1 ... max bytes of UTF-8 without a zero byte. */
kl_status capi_name(const char *argument, const char *data, size_t size, size_t max, kl_slice *out, kl_error *err);
/* Terminated text of min ... max bytes; *out_size is its length. Never reads behind max + 1 bytes. */
kl_status capi_text(const char *argument, const char *text, size_t min, size_t max, size_t *out_size, kl_error *err);
/* Whether the bytes are UTF-8 (RFC 3629: shortest forms, no surrogates, at most U+10FFFF). */
bool capi_is_utf8(const char *data, size_t size);

#endif

/* ---- capi/handles.h ---- */
/* capi/handles.h: integers that stand for objects, checked at every call, without a lock.
 *
 * A handle is generation (32 bits) above slot (21 bits), so below 2^53. The generation is the kind (4 bits) above a
 * count (28 bits) of how often the slot was given out. There is one table per kind, so that a count says for certain
 * what was once given out: a transaction that has ended is told from a number that never was one.
 *
 * A slot has one atomic word: the count, a LIVE bit, and the number of pins. Every call pins the slot while it is
 * inside, and closing clears LIVE: the object is destroyed by whoever takes the last pin away. README.md (CAPI-1 ...
 * CAPI-7) has the protocol and the argument.
 *
 * Two ways to be inside:
 *   shared      any number of threads (databases, keyspaces, views). Enter and leave change the count of pins.
 *   exclusive   one thread (transactions, cursors, batches). A second one gets KL_E_CONCURRENT_USE, also when it wants to
 *               close. Leave is a plain store, since nobody else may change the word.
 *
 * Objects embed capi_object first. Thread rules: everything from any thread. Errors are those of the public calls. */
#ifndef CAPI_HANDLES_H
#define CAPI_HANDLES_H

typedef enum capi_kind {
  CAPI_DB = 1,
  CAPI_KEYSPACE = 2,
  CAPI_TXN = 3,
  CAPI_CURSOR = 4,
  CAPI_VIEW = 5,
  CAPI_BATCH = 6
} capi_kind;

enum {
  CAPI_KINDS = 6,
  CAPI_SLOT_BITS = 21,
  CAPI_COUNT_BITS = 28,
  CAPI_SEGMENTS = 17,       /* segment k has 16 << k slots: 2,097,136 in all, below 2^21 */
  CAPI_FIRST_SEGMENT = 16,  /* slots of segment 0 */
  CAPI_WORD_LIVE_SHIFT = 35 /* pins below, LIVE here, count above */
};
#define CAPI_COUNT_MAX ((UINT64_C(1) << CAPI_COUNT_BITS) - 1)
#define CAPI_WORD_LIVE (UINT64_C(1) << CAPI_WORD_LIVE_SHIFT)
#define CAPI_WORD_PINS (CAPI_WORD_LIVE - 1)

typedef struct capi_object capi_object;
struct capi_object {
  /* Frees the object and what it holds. Runs once, when nobody is inside. `err` is nullable; the result tells how the
   * last use of an engine ended. */
  kl_status (*destroy)(capi_object *self, kl_error *err);
};

typedef struct capi_slot {
  _Alignas(64) _Atomic(uint64_t) word; /* a cache line per slot: neighbours are used by different threads */
  _Atomic(uint32_t) next_free;         /* index + 1 of the next free slot, 0: none. Of use while the slot is free */
  _Atomic(uint32_t) fork_count;        /* kl_fork_count() of the process that gave the handle out */
  capi_object *object;                 /* written before LIVE is set; read by those who hold a pin */
  uint32_t index;
  capi_kind kind;
} capi_slot;

typedef struct capi_table {
  _Atomic(capi_slot *) segments[CAPI_SEGMENTS];
  _Atomic(uint32_t) fresh;     /* slots below this index were given out at least once */
  _Atomic(uint64_t) free_head; /* tag (32 bits, against ABA) above index + 1 of the first free slot */
} capi_table;

extern capi_table capi_tables[CAPI_KINDS + 1]; /* by kind; [0] is not used */

static inline uint32_t capi_handle_slot(uint64_t handle) {
  return (uint32_t)(handle & ((UINT64_C(1) << CAPI_SLOT_BITS) - 1));
}
static inline uint64_t capi_handle_count(uint64_t handle) {
  return (handle >> CAPI_SLOT_BITS) & CAPI_COUNT_MAX;
}
static inline uint64_t capi_handle_kind(uint64_t handle) {
  return handle >> (CAPI_SLOT_BITS + CAPI_COUNT_BITS);
}

/* The word of a slot while `handle` is open and nobody is inside. */
static inline uint64_t capi_handle_word(uint64_t handle) {
  return (capi_handle_count(handle) << (CAPI_WORD_LIVE_SHIFT + 1)) | CAPI_WORD_LIVE;
}

/* The slot at an index, NULL when its segment does not exist. */
static inline capi_slot *capi_slot_at(capi_table *table, uint32_t index) {
  uint32_t block = index / CAPI_FIRST_SEGMENT + 1;
  uint32_t segment = 31U - (uint32_t)__builtin_clz(block);
  if (segment >= CAPI_SEGMENTS) return NULL;
  capi_slot *slots = atomic_load_explicit(&table->segments[segment], memory_order_acquire);
  return slots != NULL ? slots + (index - CAPI_FIRST_SEGMENT * ((1U << segment) - 1U)) : NULL;
}

/* The slot that a handle of `kind` names, NULL when it can be none. */
static inline capi_slot *capi_slot_of(capi_kind kind, uint64_t handle) {
  if (capi_handle_kind(handle) != (uint64_t)kind) return NULL;
  return capi_slot_at(&capi_tables[kind], capi_handle_slot(handle));
}

static inline bool capi_slot_forked(const capi_slot *slot) {
  return atomic_load_explicit(&slot->fork_count, memory_order_relaxed) != (uint32_t)kl_fork_count();
}

/* Says why a handle is not usable: fills err and returns KL_E_HANDLE, KL_E_FINISHED or KL_E_FORKED. */
kl_status capi_refuse(capi_kind kind, uint64_t handle, kl_error *err);
kl_status capi_refuse_concurrent(capi_kind kind, kl_error *err);

/* Gives out a handle for `object`. KL_E_LIMIT when every slot is taken, KL_E_NO_MEMORY. The object stays the caller's
 * on failure. */
kl_status capi_handle_new(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err);

/* Shared. On success the object stays until capi_leave_shared. */
static inline kl_status capi_enter_shared(capi_kind kind, uint64_t handle, capi_slot **out_slot, kl_error *err) {
  capi_slot *slot = capi_slot_of(kind, handle);
  *out_slot = slot;
  if (slot == NULL) return capi_refuse(kind, handle, err);
  /* Acquire: pairs with the release in capi_handle_new, so that the object is seen whole. */
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
  do {
    if ((word & ~CAPI_WORD_PINS) != capi_handle_word(handle) || capi_slot_forked(slot)) {
      return capi_refuse(kind, handle, err);
    }
  } while (
      !atomic_compare_exchange_weak_explicit(&slot->word, &word, word + 1, memory_order_acquire, memory_order_acquire));
  return KL_OK;
}

/* Destroys the object of a slot that is no longer LIVE and has no pin, and frees the slot. */
kl_status capi_slot_finish(capi_slot *slot, kl_error *err);

static inline void capi_leave_shared(capi_slot *slot) {
  /* Release: what was done with the object comes before its destruction. Acquire: the last one out sees all of that. */
  uint64_t old = atomic_fetch_sub_explicit(&slot->word, 1, memory_order_acq_rel);
  if ((old & (CAPI_WORD_LIVE | CAPI_WORD_PINS)) == 1) (void)capi_slot_finish(slot, NULL);
}

/* Whether `handle`, whose slot the caller has pinned, is still open. */
static inline bool capi_is_open(const capi_slot *slot, uint64_t handle) {
  return (atomic_load_explicit(&slot->word, memory_order_relaxed) & ~CAPI_WORD_PINS) == capi_handle_word(handle);
}

/* Closes a shared handle. When others are inside, the last of them destroys the object, and KL_OK is returned. */
kl_status capi_close_shared(capi_kind kind, uint64_t handle, kl_error *err);

/* Exclusive. */
static inline kl_status capi_enter_exclusive(capi_kind kind, uint64_t handle, capi_slot **out_slot, kl_error *err) {
  capi_slot *slot = capi_slot_of(kind, handle);
  *out_slot = slot;
  if (slot == NULL) return capi_refuse(kind, handle, err);
  uint64_t idle = capi_handle_word(handle);
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  if ((word & ~CAPI_WORD_PINS) != idle || capi_slot_forked(slot)) return capi_refuse(kind, handle, err);
  word = idle;
  /* Acquire: pairs with the release in capi_leave_exclusive, so that a transaction may go from thread to thread. */
  if (!atomic_compare_exchange_strong_explicit(&slot->word, &word, idle + 1, memory_order_acquire,
                                               memory_order_relaxed)) {
    return (word & ~CAPI_WORD_PINS) == idle ? capi_refuse_concurrent(kind, err) : capi_refuse(kind, handle, err);
  }
  return KL_OK;
}

static inline void capi_leave_exclusive(capi_slot *slot) {
  /* We hold the only pin and nobody else may change the word, so that a store does. */
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  atomic_store_explicit(&slot->word, word - 1, memory_order_release);
}

/* Instead of leaving: the handle is gone, its object destroyed, its slot free. */
kl_status capi_end_exclusive(capi_slot *slot, kl_error *err);

/* Closes an exclusive handle. KL_E_CONCURRENT_USE, and nothing happens, when another thread is inside. */
kl_status capi_close_exclusive(capi_kind kind, uint64_t handle, kl_error *err);

/* The object behind a slot that the caller is inside of. */
static inline void *capi_slot_object(const capi_slot *slot) {
  return slot->object;
}

#endif

typedef struct capi_db {
  capi_object object;
  kl_db *engine;
} capi_db;

typedef struct capi_keyspace {
  capi_object object;
  kl_db *engine;
  kl_keyspace *keyspace;
} capi_keyspace;

enum { CAPI_LENT = 4 };

typedef struct capi_lent {
  uint64_t handle;
  capi_slot *slot; /* pinned; NULL: unused */
} capi_lent;

typedef struct capi_txn {
  capi_object object;
  kl_db *engine;
  kl_txn *txn;
  capi_lent lent[CAPI_LENT]; /* by slot of the keyspace, modulo */
} capi_txn;

typedef struct capi_cursor {
  capi_object object;
  kl_db *engine;
  kl_cursor *cursor;
} capi_cursor;

typedef struct capi_view {
  capi_object object;
  kl_db *engine;
  kl_view *view;
} capi_view;

typedef struct capi_batch {
  capi_object object;
  kl_batch batch;
} capi_batch;

/* An object of `size` bytes, zeroed, with its destructor. NULL: no memory, and err says so. */
void *capi_object_new(size_t size, kl_status (*destroy)(capi_object *self, kl_error *err), kl_error *err);
void capi_object_free(void *object, size_t size);

/* Inside a transaction and one of its keyspaces. The keyspace is known by its id from here on; KL_E_HANDLE when it
 * belongs to another database, KL_E_KEYSPACE_NOT_FOUND when it was dropped. */
typedef struct capi_scope {
  capi_slot *slot;
  capi_txn *txn;
  uint32_t keyspace;
} capi_scope;
kl_status capi_scope_enter(keel_txn txn, keel_keyspace keyspace, capi_scope *out_scope, kl_error *err);
static inline void capi_scope_leave(const capi_scope *scope) {
  capi_leave_exclusive(scope->slot);
}

/* As capi_scope_enter, and inside a batch. */
kl_status capi_scope_enter_batch(keel_txn txn, keel_keyspace keyspace, keel_batch batch, capi_scope *out_scope,
                                 capi_slot **out_batch, kl_error *err);

/* Gives a new view or cursor its handle; on failure `object` is destroyed. */
kl_status capi_publish(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err);

#endif

static kl_status capi_batch_destroy(capi_object *self, kl_error *err) {
  (void)err;
  capi_batch *object = (capi_batch *)self;
  kl_batch_destroy(&object->batch);
  capi_object_free(object, sizeof *object);
  return KL_OK;
}

keel_status keel_batch_new(keel_batch *out_batch, keel_error *err) {
  kl_error detail;
  if (out_batch == NULL) return capi_report(capi_null("out_batch", capi_detail(err, &detail)), &detail, err);
  (void)kl_os_posix(); /* the first call begins to count forks, and a batch may be the first thing that is made */
  capi_batch *object = capi_object_new(sizeof *object, capi_batch_destroy, capi_detail(err, &detail));
  if (object == NULL) return capi_report(KL_E_NO_MEMORY, &detail, err);
  kl_batch_init(&object->batch, kl_allocator_libc());
  kl_status status = capi_publish(CAPI_BATCH, &object->object, out_batch, capi_detail(err, &detail));
  return capi_report(status, &detail, err);
}

keel_status keel_batch_free(keel_batch batch, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_exclusive(CAPI_BATCH, batch, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_batch_data(keel_batch batch, keel_batch_view *out_view, keel_error *err) {
  static const uint64_t no_offsets[1] = {0};
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_check_struct("out_view", out_view, CAPI_BATCH_VIEW_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_BATCH, batch, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_batch *object = capi_slot_object(slot);
  const kl_batch *rows = &object->batch;
  keel_batch_view result = KEEL_BATCH_VIEW_INIT;
  result.count = rows->count;
  result.keys = rows->keys;
  result.key_offsets = rows->key_offsets != NULL ? rows->key_offsets : no_offsets;
  result.values = rows->values;
  result.value_offsets = rows->value_offsets != NULL ? rows->value_offsets : no_offsets;
  result.found = rows->count != 0 ? rows->found : NULL;
  capi_leave_exclusive(slot);
  capi_write_struct(out_view, &result, sizeof result);
  return KEEL_OK;
}

/* ---- capi/convert.c ---- */
/* capi/convert.c: see convert.h. */

_Static_assert(KEEL_ERROR_MESSAGE_SIZE == KL_ERROR_MESSAGE, "room for a message");
_Static_assert(KEEL_MAX_KEY_SIZE == KL_MAX_KEY, "longest key");
_Static_assert(KEEL_MAX_VALUE_SIZE == KL_MAX_VALUE, "longest value");
_Static_assert(KEEL_MAX_KEYSPACE_NAME_SIZE == KL_KEYSPACE_NAME_MAX, "longest name of a keyspace");

/* ---- Errors ---- */

keel_status capi_report_failure(kl_status status, const kl_error *detail, keel_error *err) {
  if (err != NULL) {
    err->code = status;
    err->system_errno = detail->system_errno;
    memcpy(err->message, detail->message, sizeof err->message);
  }
  return status;
}

void capi_tell_null(const char *argument, kl_error *err) {
  (void)kl_fail(err, KL_E_INVALID, "%s is NULL; pass a pointer", argument);
}

/* ---- Structs ---- */

/* Reads and checks the struct_size of a caller's struct. */
static kl_status capi_convert_struct_size(const char *name, const void *pointer, size_t first, uint32_t *out_size,
                                          kl_error *err) {
  uint32_t size;
  memcpy(&size, pointer, sizeof size); /* the caller's pointer may be unaligned */
  if (size < first || size > KEEL_MAX_STRUCT_SIZE) {
    return kl_fail(err, KL_E_INVALID, "struct_size of %s is %u; it is at least %zu: initialise it with its _INIT macro",
                   name, size, first);
  }
  *out_size = size;
  return KL_OK;
}

kl_status capi_read_struct(const char *name, const void *in, size_t first, void *out, size_t known, kl_error *err) {
  memset(out, 0, known);
  if (in == NULL) return KL_OK;
  uint32_t size = 0;
  kl_status status = capi_convert_struct_size(name, in, first, &size, err);
  if (status != KL_OK) return status;
  memcpy(out, in, size < known ? size : known);
  const unsigned char *bytes = in;
  for (size_t i = known; i < size; i++) {
    if (bytes[i] != 0) {
      return kl_fail(err, KL_E_UNSUPPORTED, "%s sets a field (at byte %zu) that Keel %s does not know; leave it 0",
                     name, i, KEEL_VERSION);
    }
  }
  return KL_OK;
}

kl_status capi_check_struct(const char *name, const void *out, size_t first, kl_error *err) {
  if (out == NULL) return capi_null(name, err);
  uint32_t size;
  return capi_convert_struct_size(name, out, first, &size, err);
}

void capi_write_struct(void *out, const void *result, size_t known) {
  uint32_t size;
  memcpy(&size, out, sizeof size);
  unsigned char *bytes = out;
  const unsigned char *from = result;
  size_t take = size < known ? size : known;
  memcpy(bytes + sizeof size, from + sizeof size, take - sizeof size);
  if (size > known) memset(bytes + known, 0, size - known);
}

kl_status capi_check_flags(const char *name, uint32_t flags, uint32_t all, kl_error *err) {
  if ((flags & ~all) == 0) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s has unknown flags 0x%x; known are 0x%x", name, flags & ~all, all);
}

kl_status capi_check_choice(const char *name, uint64_t value, uint64_t max, kl_error *err) {
  if (value <= max) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s is %llu; the highest value is %llu", name, (unsigned long long)value,
                 (unsigned long long)max);
}

kl_status capi_check_power(const char *name, uint64_t value, uint64_t min, uint64_t max, kl_error *err) {
  if (value == 0 || ((value & (value - 1)) == 0 && value >= min && value <= max)) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s is %llu; pass 0 or a power of two from %llu to %llu", name,
                 (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

/* ---- Bytes ---- */

void capi_tell_key(const char *name, size_t size, kl_error *err) {
  if (size > KEEL_MAX_KEY_SIZE) {
    (void)kl_fail(err, KL_E_KEY_SIZE, "%s has %zu bytes; at most %d are allowed", name, size, KEEL_MAX_KEY_SIZE);
  } else {
    (void)kl_fail(err, KL_E_INVALID, "%s is NULL but its size is %zu; pass a pointer or size 0", name, size);
  }
}

kl_status capi_bound(const char *name, const void *data, size_t size, kl_slice *out, kl_error *err) {
  *out = kl_slice_make(data, size);
  return capi_key_check(name, data, size, err);
}

kl_status capi_value(const void *data, size_t size, kl_slice *out, kl_error *err) {
  *out = kl_slice_make(data != NULL ? data : "", size);
  if (size > KEEL_MAX_VALUE_SIZE) {
    return kl_fail(err, KL_E_VALUE_SIZE, "the value has %zu bytes; at most %d are allowed", size, KEEL_MAX_VALUE_SIZE);
  }
  if (data == NULL && size != 0) {
    return kl_fail(err, KL_E_INVALID, "the value is NULL but its size is %zu; pass a pointer or size 0", size);
  }
  return KL_OK;
}

/* ---- Text ---- */

/* Length of the UTF-8 sequence at `p`, of which `left` bytes are there; 0 when it is none. */
static size_t capi_convert_utf8_length(const unsigned char *p, size_t left) {
  if (p[0] < 0x80) return 1;
  size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
  if (p[0] < 0xC2 || p[0] > 0xF4 || left < length) return 0; /* C0 and C1 would be longer forms of ASCII */
  for (size_t i = 1; i < length; i++) {
    if ((p[i] & 0xC0U) != 0x80U) return 0;
  }
  if (p[0] == 0xE0 && p[1] < 0xA0) return 0; /* longer form of two bytes */
  if (p[0] == 0xED && p[1] > 0x9F) return 0; /* surrogates */
  if (p[0] == 0xF0 && p[1] < 0x90) return 0; /* longer form of three bytes */
  if (p[0] == 0xF4 && p[1] > 0x8F) return 0; /* above U+10FFFF */
  return length;
}

bool capi_is_utf8(const char *data, size_t size) {
  const unsigned char *p = (const unsigned char *)data;
  while (size > 0) {
    size_t length = capi_convert_utf8_length(p, size);
    if (length == 0) return false;
    p += length;
    size -= length;
  }
  return true;
}

kl_status capi_name(const char *argument, const char *data, size_t size, size_t max, kl_slice *out, kl_error *err) {
  if (data == NULL) return capi_null(argument, err);
  if (size == 0 || size > max) {
    return kl_fail(err, KL_E_INVALID, "%s has %zu bytes; 1 to %zu are allowed", argument, size, max);
  }
  if (memchr(data, 0, size) != NULL) {
    return kl_fail(err, KL_E_INVALID, "%s has a zero byte inside; leave it out", argument);
  }
  if (!capi_is_utf8(data, size)) return kl_fail(err, KL_E_INVALID, "%s is not UTF-8; encode it", argument);
  *out = kl_slice_make(data, size);
  return KL_OK;
}

kl_status capi_text(const char *argument, const char *text, size_t min, size_t max, size_t *out_size, kl_error *err) {
  if (text == NULL) return capi_null(argument, err);
  const char *end = memchr(text, 0, max + 1); /* stops at the terminator: reads nothing behind it */
  if (end == NULL) {
    return kl_fail(err, KL_E_INVALID, "%s is longer than %zu bytes, or not terminated", argument, max);
  }
  size_t size = (size_t)(end - text);
  if (size < min) return kl_fail(err, KL_E_INVALID, "%s is empty; pass at least %zu byte", argument, min);
  *out_size = size;
  return KL_OK;
}

/* ---- capi/cursor.c ---- */
/* capi/cursor.c: cursors. */

static kl_status capi_cursor_destroy(capi_object *self, kl_error *err) {
  capi_cursor *object = (capi_cursor *)self;
  kl_cursor_close(object->cursor);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

/* What a cursor sees: the rows between two bounds, each NULL when open. */
typedef struct capi_cursor_range {
  kl_slice lower, upper;
  unsigned char after_prefix[KEEL_MAX_KEY_SIZE]; /* the first key behind all that start with the prefix */
} capi_cursor_range;

/* Narrows the range to the keys that start with `prefix`. */
static void capi_cursor_apply_prefix(capi_cursor_range *range, kl_slice prefix) {
  if (range->lower.data == NULL || kl_slice_compare(range->lower, prefix) < 0) range->lower = prefix;
  /* Cut the trailing 0xFF bytes and count the last other byte up. When there is none, no key lies behind. */
  memcpy(range->after_prefix, prefix.data, prefix.size);
  size_t size = prefix.size;
  while (size > 0 && range->after_prefix[size - 1] == 0xFF) size--;
  if (size == 0) return;
  range->after_prefix[size - 1]++;
  kl_slice end = kl_slice_make(range->after_prefix, size);
  if (range->upper.data == NULL || kl_slice_compare(end, range->upper) < 0) range->upper = end;
}

static kl_status capi_cursor_read_options(const keel_cursor_options *in, capi_cursor_range *out, kl_error *err) {
  keel_cursor_options options;
  kl_status status =
      capi_read_struct("keel_cursor_options", in, CAPI_CURSOR_OPTIONS_FIRST_SIZE, &options, sizeof options, err);
  if (status != KL_OK) return status;
  kl_slice prefix;
  status = capi_check_flags("keel_cursor_options.flags", options.flags, CAPI_CURSOR_OPTIONS_FLAGS_MAX, err);
  if (status != KL_OK) return status;
  status = capi_bound("keel_cursor_options.lower", options.lower, options.lower_size, &out->lower, err);
  if (status != KL_OK) return status;
  status = capi_bound("keel_cursor_options.upper", options.upper, options.upper_size, &out->upper, err);
  if (status != KL_OK) return status;
  status = capi_bound("keel_cursor_options.prefix", options.prefix, options.prefix_size, &prefix, err);
  if (status != KL_OK) return status;
  if (prefix.data != NULL) capi_cursor_apply_prefix(out, prefix);
  return KL_OK;
}

static kl_status capi_cursor_open_in(const capi_scope *scope, const capi_cursor_range *range, keel_cursor *out_cursor,
                                     kl_error *err) {
  capi_cursor *object = capi_object_new(sizeof *object, capi_cursor_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_cursor_open(scope->txn->txn, scope->keyspace, range->lower, range->upper, &object->cursor, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  kl_db_ref(scope->txn->engine);
  object->engine = scope->txn->engine;
  return capi_publish(CAPI_CURSOR, &object->object, out_cursor, err);
}

keel_status keel_cursor_open(keel_txn txn, keel_keyspace keyspace, const keel_cursor_options *options,
                             keel_cursor *out_cursor, keel_error *err) {
  kl_error detail;
  capi_cursor_range range;
  capi_scope scope;
  kl_status status = out_cursor != NULL ? KL_OK : capi_null("out_cursor", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_cursor_read_options(options, &range, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_cursor_open_in(&scope, &range, out_cursor, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_close(keel_cursor cursor, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_exclusive(CAPI_CURSOR, cursor, capi_detail(err, &detail)), &detail, err);
}

/* ---- Moves ---- */

static keel_status capi_cursor_move(keel_cursor cursor, kl_status (*move)(kl_cursor *cursor, kl_error *err),
                                    keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_cursor *object = capi_slot_object(slot);
    status = move(object->cursor, capi_detail(err, &detail));
    capi_leave_exclusive(slot);
  }
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_first(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_first, err);
}
keel_status keel_cursor_last(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_last, err);
}
keel_status keel_cursor_next(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_next, err);
}
keel_status keel_cursor_prev(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_prev, err);
}

static keel_status capi_cursor_move_to(keel_cursor cursor, const void *key, size_t key_size,
                                       kl_status (*move)(kl_cursor *cursor, kl_slice key, kl_error *err),
                                       keel_error *err) {
  kl_error detail;
  kl_slice name;
  capi_slot *slot;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_cursor *object = capi_slot_object(slot);
  status = move(object->cursor, name, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_seek(keel_cursor cursor, const void *key, size_t key_size, keel_error *err) {
  return capi_cursor_move_to(cursor, key, key_size, kl_cursor_seek_ge, err);
}

keel_status keel_cursor_seek_le(keel_cursor cursor, const void *key, size_t key_size, keel_error *err) {
  return capi_cursor_move_to(cursor, key, key_size, kl_cursor_seek_le, err);
}

/* ---- Rows ---- */

keel_status keel_cursor_get(keel_cursor cursor, const void **out_key, size_t *out_key_size, const void **out_value,
                            size_t *out_value_size, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_slice key, value;
  kl_status status = KL_OK;
  if (out_key == NULL) status = capi_null("out_key", capi_detail(err, &detail));
  if (status == KL_OK && out_key_size == NULL) status = capi_null("out_key_size", capi_detail(err, &detail));
  if (status == KL_OK && out_value == NULL) status = capi_null("out_value", capi_detail(err, &detail));
  if (status == KL_OK && out_value_size == NULL) status = capi_null("out_value_size", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_cursor *object = capi_slot_object(slot);
  status = kl_cursor_get(object->cursor, &key, &value, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  if (status != KL_OK) return capi_report(status, &detail, err);
  *out_key = key.data != NULL ? key.data : "";
  *out_key_size = key.size;
  *out_value = value.data != NULL ? value.data : "";
  *out_value_size = value.size;
  return KEEL_OK;
}

static keel_status capi_cursor_collect(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                       kl_status (*collect)(kl_cursor *cursor, size_t max_rows, size_t max_bytes,
                                                            kl_batch *batch, kl_error *err),
                                       keel_error *err) {
  kl_error detail;
  capi_slot *slot, *batch_slot;
  kl_status status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_enter_exclusive(CAPI_BATCH, batch, &batch_slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_cursor *object = capi_slot_object(slot);
    capi_batch *rows = capi_slot_object(batch_slot);
    status = collect(object->cursor, max_rows, max_bytes, &rows->batch, capi_detail(err, &detail));
    capi_leave_exclusive(batch_slot);
  }
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_next_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                   keel_error *err) {
  return capi_cursor_collect(cursor, max_rows, max_bytes, batch, kl_cursor_next_batch, err);
}

keel_status keel_cursor_prev_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                   keel_error *err) {
  return capi_cursor_collect(cursor, max_rows, max_bytes, batch, kl_cursor_prev_batch, err);
}

/* ---- capi/database.c ---- */
/* capi/database.c: opening and closing databases; flush, checkpoint, statistics. */

static kl_status capi_database_destroy(capi_object *self, kl_error *err) {
  capi_db *db = (capi_db *)self;
  kl_status status = kl_db_release(db->engine, err);
  capi_object_free(db, sizeof *db);
  return status;
}

static kl_status capi_database_check_options(const keel_options *options, kl_error *err) {
  kl_status status = capi_check_flags("keel_options.flags", options->flags, CAPI_OPEN_FLAGS_ALL, err);
  if (status != KL_OK) return status;
  uint32_t new_and_not = KEEL_OPEN_MUST_CREATE | KEEL_OPEN_NO_CREATE;
  uint32_t new_and_read_only = KEEL_OPEN_MUST_CREATE | KEEL_OPEN_READ_ONLY;
  if ((options->flags & new_and_not) == new_and_not || (options->flags & new_and_read_only) == new_and_read_only) {
    return kl_fail(err, KL_E_INVALID,
                   "KEEL_OPEN_MUST_CREATE contradicts KEEL_OPEN_NO_CREATE and KEEL_OPEN_READ_ONLY; choose one");
  }
  status = capi_check_choice("keel_options.durability", options->durability, CAPI_DURABILITY_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_power("keel_options.page_size", options->page_size, CAPI_OPTIONS_PAGE_SIZE_MIN,
                            CAPI_OPTIONS_PAGE_SIZE_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_options.group_interval_ms", options->group_interval_ms,
                             CAPI_OPTIONS_GROUP_INTERVAL_MS_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_options.file_mode", options->file_mode, CAPI_OPTIONS_FILE_MODE_MAX, err);
  if (status != KL_OK) return status;
  return capi_check_power("keel_options.log_segment_size", options->log_segment_size, CAPI_OPTIONS_LOG_SEGMENT_SIZE_MIN,
                          CAPI_OPTIONS_LOG_SEGMENT_SIZE_MAX, err);
}

static kl_status capi_database_read_options(const keel_options *in, kl_db_options *out, kl_error *err) {
  keel_options options;
  kl_status status = capi_read_struct("keel_options", in, CAPI_OPTIONS_FIRST_SIZE, &options, sizeof options, err);
  if (status == KL_OK) status = capi_database_check_options(&options, err);
  if (status != KL_OK) return status;
  memset(out, 0, sizeof *out);
  out->read_only = (options.flags & KEEL_OPEN_READ_ONLY) != 0;
  out->no_create = (options.flags & KEEL_OPEN_NO_CREATE) != 0;
  out->must_create = (options.flags & KEEL_OPEN_MUST_CREATE) != 0;
  out->durability = (kl_durability)options.durability;
  out->group_interval_ns = (uint64_t)options.group_interval_ms * 1000000U;
  out->log_segment_size = options.log_segment_size;
  out->memory_limit = options.memory_limit;
  out->page_size = options.page_size;
  out->file_mode = options.file_mode;
  return KL_OK;
}

static kl_status capi_database_open(const char *path, const keel_options *options, keel_db *out_db, kl_error *err) {
  size_t path_size;
  kl_status status = capi_text("path", path, 1, KEEL_MAX_PATH_SIZE, &path_size, err);
  if (status != KL_OK) return status;
  if (out_db == NULL) return capi_null("out_db", err);
  kl_db_options converted;
  status = capi_database_read_options(options, &converted, err);
  if (status != KL_OK) return status;
  capi_db *db = capi_object_new(sizeof *db, capi_database_destroy, err);
  if (db == NULL) return KL_E_NO_MEMORY;
  status = kl_db_open(kl_os_posix(), path, &converted, &db->engine, err);
  if (status != KL_OK) {
    capi_object_free(db, sizeof *db);
    return status;
  }
  return capi_publish(CAPI_DB, &db->object, out_db, err);
}

keel_status keel_open(const char *path, const keel_options *options, keel_db *out_db, keel_error *err) {
  kl_error detail;
  return capi_report(capi_database_open(path, options, out_db, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_close(keel_db db, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_shared(CAPI_DB, db, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_flush(keel_db db, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_db *object = capi_slot_object(slot);
    status = kl_db_flush(object->engine, capi_detail(err, &detail));
    capi_leave_shared(slot);
  }
  return capi_report(status, &detail, err);
}

keel_status keel_last_checkpoint(keel_db db, keel_checkpoint *out_checkpoint, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status =
      capi_check_struct("out_checkpoint", out_checkpoint, CAPI_CHECKPOINT_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  kl_checkpoint checkpoint;
  status = kl_db_last_checkpoint(object->engine, &checkpoint, capi_detail(err, &detail));
  if (status == KL_OK) {
    keel_checkpoint result = KEEL_CHECKPOINT_INIT;
    result.log_needed = checkpoint.log_needed;
    result.sequence = checkpoint.sequence;
    result.timestamp = checkpoint.ts;
    result.log_position = checkpoint.log_lsn;
    result.wall_time_ns = checkpoint.wall_ns;
    capi_write_struct(out_checkpoint, &result, sizeof result);
  }
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

static void capi_database_convert_stats(const kl_db_stats *in, keel_stats *out) {
  out->poisoned = in->poisoned;
  out->commits = in->commits;
  out->commits_read_only = in->commits_read_only;
  out->rollbacks = in->rollbacks;
  out->conflicts = in->conflicts;
  out->groups = in->groups;
  out->gets = in->gets;
  out->puts = in->puts;
  out->deletes = in->deletes;
  out->cursor_steps = in->cursor_steps;
  out->transactions_live = in->transactions_live;
  out->snapshots_live = in->snapshots_live;
  out->views_live = in->views_live;
  out->oldest_snapshot_age_ns = in->oldest_snapshot_age_ns;
  out->visible_timestamp = in->visible_ts;
  out->keyspaces = in->keyspaces;
  out->delta_keys = in->delta_keys;
  out->delta_versions = in->delta_versions;
  out->delta_bytes = in->delta_bytes;
  out->log_start = in->log.start_lsn;
  out->log_tail = in->log.tail_lsn;
  out->log_durable = in->log.durable_lsn;
  out->log_file_bytes = in->log.file_bytes;
  out->log_segments = in->log.segments;
  out->log_segments_recycled = in->log.segments_recycled;
  out->log_appends = in->log.appends;
  out->log_appended_bytes = in->log.appended_bytes;
  out->log_syncs = in->log.syncs;
  out->log_syncs_shared = in->log.syncs_shared;
  out->log_sync_ns_total = in->log.sync_ns_total;
  out->log_sync_ns_max = in->log.sync_ns_max;
  out->log_uses_dsync = in->log.uses_dsync;
  out->recovery_batches = in->recovery_batches;
  out->recovery_bytes = in->recovery_bytes;
  out->recovery_ns = in->recovery_ns;
  out->memory_bytes = in->memory_bytes;
  out->memory_limit = in->memory_limit;
}

keel_status keel_get_stats(keel_db db, keel_stats *out_stats, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_check_struct("out_stats", out_stats, CAPI_STATS_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  kl_db_stats stats;
  status = kl_db_get_stats(object->engine, &stats, capi_detail(err, &detail));
  if (status == KL_OK) {
    keel_stats result = KEEL_STATS_INIT;
    capi_database_convert_stats(&stats, &result);
    capi_write_struct(out_stats, &result, sizeof result);
  }
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

/* ---- capi/handles.c ---- */
/* capi/handles.c: giving out and taking back handles. See handles.h; the argument is in README.md. */

capi_table capi_tables[CAPI_KINDS + 1];

static const char *const capi_handles_kind_names[CAPI_KINDS + 1] = {
    "", "keel_db", "keel_keyspace", "keel_txn", "keel_cursor", "keel_view", "keel_batch"};

/* ---- Why a handle is refused ---- */

static kl_status capi_handles_refuse_stale(capi_kind kind, uint64_t handle, bool ended, kl_error *err) {
  const char *name = capi_handles_kind_names[kind];
  unsigned long long number = (unsigned long long)handle;
  if (!ended) return kl_fail(err, KL_E_HANDLE, "%s %llu was never given out; pass a handle that is open", name, number);
  if (kind == CAPI_TXN) {
    return kl_fail(err, KL_E_FINISHED, "transaction %llu has ended; begin a new one", number);
  }
  return kl_fail(err, KL_E_HANDLE, "%s %llu is closed; pass a handle that is open", name, number);
}

kl_status capi_refuse(capi_kind kind, uint64_t handle, kl_error *err) {
  const char *name = capi_handles_kind_names[kind];
  if (handle == 0) return kl_fail(err, KL_E_HANDLE, "the %s is 0; pass a handle that is open", name);
  uint64_t given = capi_handle_kind(handle);
  if (given != (uint64_t)kind) {
    if (given == 0 || given > CAPI_KINDS) {
      return kl_fail(err, KL_E_HANDLE, "%llu is no handle; pass a %s", (unsigned long long)handle, name);
    }
    return kl_fail(err, KL_E_HANDLE, "%llu is a %s; pass a %s", (unsigned long long)handle,
                   capi_handles_kind_names[given], name);
  }
  capi_table *table = &capi_tables[kind];
  uint32_t index = capi_handle_slot(handle);
  capi_slot *slot = capi_slot_at(table, index);
  uint64_t count = capi_handle_count(handle);
  if (slot == NULL || count == 0) return capi_handles_refuse_stale(kind, handle, false, err);
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
  uint64_t issued = word >> (CAPI_WORD_LIVE_SHIFT + 1);
  if (count > issued) return capi_handles_refuse_stale(kind, handle, false, err);
  if (count == issued && (word & CAPI_WORD_LIVE) != 0 && capi_slot_forked(slot)) {
    return kl_fail(err, KL_E_FORKED, "this %s was made before a fork; open the database anew in the child", name);
  }
  return capi_handles_refuse_stale(kind, handle, true, err);
}

kl_status capi_refuse_concurrent(capi_kind kind, kl_error *err) {
  return kl_fail(err, KL_E_CONCURRENT_USE, "another thread is inside a call with this %s; use it from one at a time",
                 capi_handles_kind_names[kind]);
}

/* ---- Free slots: a stack (R. K. Treiber, 1986), tagged so that a head that came back is seen to have changed ---- */

static void capi_handles_push_free(capi_table *table, capi_slot *slot) {
  uint64_t head = atomic_load_explicit(&table->free_head, memory_order_relaxed);
  uint64_t next;
  do {
    atomic_store_explicit(&slot->next_free, (uint32_t)head, memory_order_relaxed);
    next = (((head >> 32) + 1) << 32) | (slot->index + 1);
    /* Release: next_free and the word are seen by who pops. */
  } while (!atomic_compare_exchange_weak_explicit(&table->free_head, &head, next, memory_order_release,
                                                  memory_order_relaxed));
}

static capi_slot *capi_handles_pop_free(capi_table *table) {
  uint64_t head = atomic_load_explicit(&table->free_head, memory_order_acquire);
  while ((uint32_t)head != 0) {
    /* Slots are never given back to the allocator, so that reading one that another thread has just popped is
     * harmless. */
    capi_slot *slot = capi_slot_at(table, (uint32_t)head - 1);
    uint64_t rest = atomic_load_explicit(&slot->next_free, memory_order_relaxed);
    uint64_t next = (((head >> 32) + 1) << 32) | rest;
    if (atomic_compare_exchange_weak_explicit(&table->free_head, &head, next, memory_order_acquire,
                                              memory_order_acquire)) {
      return slot;
    }
  }
  return NULL;
}

/* ---- Growth: lock-free too, so that a fork at any moment leaves the child a table that it can use ---- */

/* The segment that holds `index`, made when absent. False: no memory. */
static bool capi_handles_have_segment(capi_kind kind, uint32_t index) {
  uint32_t segment = 31U - (uint32_t)__builtin_clz(index / CAPI_FIRST_SEGMENT + 1);
  _Atomic(capi_slot *) *place = &capi_tables[kind].segments[segment];
  if (atomic_load_explicit(place, memory_order_acquire) != NULL) return true;
  kl_allocator *allocator = kl_allocator_libc();
  size_t count = (size_t)CAPI_FIRST_SEGMENT << segment;
  capi_slot *slots = kl_alloc_aligned(allocator, count * sizeof(capi_slot), _Alignof(capi_slot));
  if (slots == NULL) return false;
  uint32_t first = CAPI_FIRST_SEGMENT * ((1U << segment) - 1U);
  for (size_t i = 0; i < count; i++) {
    atomic_init(&slots[i].word, 0);
    atomic_init(&slots[i].next_free, 0);
    atomic_init(&slots[i].fork_count, 0);
    slots[i].index = first + (uint32_t)i;
    slots[i].kind = kind;
  }
  capi_slot *expected = NULL;
  if (!atomic_compare_exchange_strong_explicit(place, &expected, slots, memory_order_acq_rel, memory_order_acquire)) {
    kl_free(allocator, slots, count * sizeof(capi_slot)); /* another thread was faster */
  }
  return true;
}

static kl_status capi_handles_fresh_slot(capi_kind kind, capi_slot **out_slot, kl_error *err) {
  capi_table *table = &capi_tables[kind];
  uint32_t limit = CAPI_FIRST_SEGMENT * ((1U << CAPI_SEGMENTS) - 1U);
  uint32_t index = atomic_load_explicit(&table->fresh, memory_order_relaxed);
  do {
    if (index >= limit) {
      return kl_fail(err, KL_E_LIMIT, "%u handles of kind %s are open; close some", limit,
                     capi_handles_kind_names[kind]);
    }
    if (!capi_handles_have_segment(kind, index)) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for more handles of kind %s", capi_handles_kind_names[kind]);
    }
  } while (!atomic_compare_exchange_weak_explicit(&table->fresh, &index, index + 1, memory_order_relaxed,
                                                  memory_order_relaxed));
  *out_slot = capi_slot_at(table, index);
  return KL_OK;
}

/* ---- The life of a handle ---- */

kl_status capi_handle_new(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err) {
  capi_slot *slot = capi_handles_pop_free(&capi_tables[kind]);
  if (slot == NULL) {
    kl_status status = capi_handles_fresh_slot(kind, &slot, err);
    if (status != KL_OK) return status;
  }
  /* The slot is ours alone until LIVE is set. */
  uint64_t count = (atomic_load_explicit(&slot->word, memory_order_relaxed) >> (CAPI_WORD_LIVE_SHIFT + 1)) + 1;
  slot->object = object;
  atomic_store_explicit(&slot->fork_count, (uint32_t)kl_fork_count(), memory_order_relaxed);
  uint64_t generation = ((uint64_t)kind << CAPI_COUNT_BITS) | count;
  uint64_t handle = (generation << CAPI_SLOT_BITS) | slot->index;
  /* Release: who finds LIVE finds the object. */
  atomic_store_explicit(&slot->word, capi_handle_word(handle), memory_order_release);
  *out_handle = handle;
  return KL_OK;
}

kl_status capi_slot_finish(capi_slot *slot, kl_error *err) {
  capi_object *object = slot->object;
  slot->object = NULL;
  kl_status status = object->destroy(object, err);
  uint64_t count = atomic_load_explicit(&slot->word, memory_order_relaxed) >> (CAPI_WORD_LIVE_SHIFT + 1);
  /* A slot whose count is used up is retired: a count that began anew would make old handles valid. */
  if (count < CAPI_COUNT_MAX) capi_handles_push_free(&capi_tables[slot->kind], slot);
  return status;
}

kl_status capi_close_shared(capi_kind kind, uint64_t handle, kl_error *err) {
  capi_slot *slot = capi_slot_of(kind, handle);
  if (slot == NULL) return capi_refuse(kind, handle, err);
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
  do {
    if ((word & ~CAPI_WORD_PINS) != capi_handle_word(handle) || capi_slot_forked(slot)) {
      return capi_refuse(kind, handle, err);
    }
    /* One thread clears LIVE; from then on nobody enters. Acquire: what those did who have left is seen. Release: not
     * needed for the object, but orders what the closer did before with it. */
  } while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, word & ~CAPI_WORD_LIVE, memory_order_acq_rel,
                                                  memory_order_acquire));
  return (word & CAPI_WORD_PINS) == 0 ? capi_slot_finish(slot, err) : KL_OK;
}

kl_status capi_end_exclusive(capi_slot *slot, kl_error *err) {
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  atomic_store_explicit(&slot->word, word & ~(CAPI_WORD_LIVE | CAPI_WORD_PINS), memory_order_release);
  return capi_slot_finish(slot, err);
}

kl_status capi_close_exclusive(capi_kind kind, uint64_t handle, kl_error *err) {
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(kind, handle, &slot, err);
  return status == KL_OK ? capi_end_exclusive(slot, err) : status;
}

/* ---- capi/keyspace.c ---- */
/* capi/keyspace.c: opening, closing, dropping and listing keyspaces. */

static kl_status capi_keyspace_destroy(capi_object *self, kl_error *err) {
  capi_keyspace *object = (capi_keyspace *)self;
  if (object->keyspace != NULL) kl_keyspace_release(object->keyspace);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_keyspace_open_in(kl_db *engine, kl_slice name, bool create, keel_keyspace *out_keyspace,
                                       kl_error *err) {
  capi_keyspace *object = capi_object_new(sizeof *object, capi_keyspace_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_db_ref(engine);
  object->engine = engine;
  kl_status status = kl_keyspace_open(kl_db_catalogue(engine), name, create, &object->keyspace, err);
  if (status != KL_OK) {
    object->keyspace = NULL;
    (void)capi_keyspace_destroy(&object->object, NULL);
    return status;
  }
  return capi_publish(CAPI_KEYSPACE, &object->object, out_keyspace, err);
}

static kl_status capi_keyspace_open(keel_db db, const char *name, size_t name_size,
                                    const keel_keyspace_options *options, keel_keyspace *out_keyspace, kl_error *err) {
  kl_slice converted;
  kl_status status = capi_name("name", name, name_size, KEEL_MAX_KEYSPACE_NAME_SIZE, &converted, err);
  if (status != KL_OK) return status;
  if (out_keyspace == NULL) return capi_null("out_keyspace", err);
  keel_keyspace_options known;
  status =
      capi_read_struct("keel_keyspace_options", options, CAPI_KEYSPACE_OPTIONS_FIRST_SIZE, &known, sizeof known, err);
  if (status != KL_OK) return status;
  status = capi_check_flags("keel_keyspace_options.flags", known.flags, CAPI_KEYSPACE_FLAGS_ALL, err);
  if (status != KL_OK) return status;
  capi_slot *slot;
  status = capi_enter_shared(CAPI_DB, db, &slot, err);
  if (status != KL_OK) return status;
  const capi_db *object = capi_slot_object(slot);
  bool create = (known.flags & KEEL_KEYSPACE_NO_CREATE) == 0;
  status = capi_keyspace_open_in(object->engine, converted, create, out_keyspace, err);
  capi_leave_shared(slot);
  return status;
}

keel_status keel_keyspace_open(keel_db db, const char *name, size_t name_size, const keel_keyspace_options *options,
                               keel_keyspace *out_keyspace, keel_error *err) {
  kl_error detail;
  kl_status status = capi_keyspace_open(db, name, name_size, options, out_keyspace, capi_detail(err, &detail));
  return capi_report(status, &detail, err);
}

keel_status keel_keyspace_close(keel_keyspace keyspace, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_shared(CAPI_KEYSPACE, keyspace, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_keyspace_drop(keel_db db, const char *name, size_t name_size, keel_error *err) {
  kl_error detail;
  kl_slice converted;
  capi_slot *slot;
  kl_status status =
      capi_name("name", name, name_size, KEEL_MAX_KEYSPACE_NAME_SIZE, &converted, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  status = kl_keyspace_drop(kl_db_catalogue(object->engine), converted, capi_detail(err, &detail));
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_keyspace_list(keel_db db, keel_batch batch, keel_error *err) {
  kl_error detail;
  capi_slot *slot, *batch_slot;
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_enter_exclusive(CAPI_BATCH, batch, &batch_slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_db *object = capi_slot_object(slot);
    capi_batch *rows = capi_slot_object(batch_slot);
    status = kl_keyspace_list(kl_db_catalogue(object->engine), &rows->batch, capi_detail(err, &detail));
    capi_leave_exclusive(batch_slot);
  }
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

/* ---- capi/library.c ---- */
/* capi/library.c: version, features, statuses. */

const char *keel_version(void) {
  return KEEL_VERSION;
}

uint32_t keel_version_number(void) {
  return KEEL_VERSION_NUMBER;
}

typedef struct capi_library_feature {
  const char *name;
  int32_t (*enabled)(void);
} capi_library_feature;

static int32_t capi_library_crc32c_hardware(void) {
  return kl_crc32c_is_hardware() != 0;
}
static int32_t capi_library_always(void) {
  return 1;
}
static int32_t capi_library_never(void) {
  return 0;
}

static const capi_library_feature capi_library_features[] = {
    {"crc32c_hardware", capi_library_crc32c_hardware},
    {"memory_database", capi_library_always},
    {"serializable", capi_library_never},
};

keel_status keel_feature(const char *name, int32_t *out_enabled, keel_error *err) {
  kl_error detail;
  size_t size;
  kl_status status = capi_text("name", name, 1, KEEL_MAX_LABEL_SIZE, &size, capi_detail(err, &detail));
  if (status == KL_OK && out_enabled == NULL) status = capi_null("out_enabled", capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  for (size_t i = 0; i < sizeof capi_library_features / sizeof capi_library_features[0]; i++) {
    if (strcmp(capi_library_features[i].name, name) == 0) {
      *out_enabled = capi_library_features[i].enabled();
      return KEEL_OK;
    }
  }
  status = kl_fail(capi_detail(err, &detail), KL_E_INVALID, "Keel %s has no feature named \"%s\"", KEEL_VERSION, name);
  return capi_report(status, &detail, err);
}

const char *keel_status_name(keel_status status) {
  return kl_status_name(status);
}

const char *keel_status_class(keel_status status) {
  return kl_status_class(status);
}

int32_t keel_status_is_retryable(keel_status status) {
  return kl_status_is_retryable(status);
}

/* ---- capi/objects.c ---- */
/* capi/objects.c: see objects.h. */

void *capi_object_new(size_t size, kl_status (*destroy)(capi_object *self, kl_error *err), kl_error *err) {
  capi_object *object = kl_alloc(kl_allocator_libc(), size);
  if (object == NULL) {
    (void)kl_fail(err, KL_E_NO_MEMORY, "no memory for a handle; free some and try again");
    return NULL;
  }
  object->destroy = destroy;
  return object;
}

void capi_object_free(void *object, size_t size) {
  kl_free(kl_allocator_libc(), object, size);
}

kl_status capi_publish(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err) {
  kl_status status = capi_handle_new(kind, object, out_handle, err);
  if (status != KL_OK) (void)object->destroy(object, NULL);
  return status;
}

/* Finds `handle` among the lent pins of the transaction, or pins it and lends it in place of another. */
static kl_status capi_objects_lend(capi_txn *txn, keel_keyspace handle, capi_keyspace **out_keyspace, kl_error *err) {
  capi_lent *lent = &txn->lent[capi_handle_slot(handle) % CAPI_LENT];
  if (lent->slot == NULL || lent->handle != handle || !capi_is_open(lent->slot, handle)) {
    capi_slot *slot;
    kl_status status = capi_enter_shared(CAPI_KEYSPACE, handle, &slot, err);
    if (status != KL_OK) return status;
    capi_keyspace *keyspace = capi_slot_object(slot);
    if (keyspace->engine != txn->engine) {
      capi_leave_shared(slot);
      return kl_fail(err, KL_E_HANDLE, "keyspace %llu belongs to another database than the transaction",
                     (unsigned long long)handle);
    }
    if (lent->slot != NULL) capi_leave_shared(lent->slot);
    lent->slot = slot;
    lent->handle = handle;
  }
  *out_keyspace = capi_slot_object(lent->slot);
  return KL_OK;
}

kl_status capi_scope_enter(keel_txn txn, keel_keyspace keyspace, capi_scope *out_scope, kl_error *err) {
  kl_status status = capi_enter_exclusive(CAPI_TXN, txn, &out_scope->slot, err);
  if (status != KL_OK) return status;
  out_scope->txn = capi_slot_object(out_scope->slot);
  capi_keyspace *object = NULL;
  status = capi_objects_lend(out_scope->txn, keyspace, &object, err);
  if (status == KL_OK) status = kl_keyspace_check(object->keyspace, err);
  if (status != KL_OK) {
    capi_leave_exclusive(out_scope->slot);
    return status;
  }
  out_scope->keyspace = kl_keyspace_id(object->keyspace);
  return KL_OK;
}

kl_status capi_scope_enter_batch(keel_txn txn, keel_keyspace keyspace, keel_batch batch, capi_scope *out_scope,
                                 capi_slot **out_batch, kl_error *err) {
  kl_status status = capi_scope_enter(txn, keyspace, out_scope, err);
  if (status != KL_OK) return status;
  status = capi_enter_exclusive(CAPI_BATCH, batch, out_batch, err);
  if (status != KL_OK) capi_scope_leave(out_scope);
  return status;
}

/* ---- capi/read.c ---- */
/* capi/read.c: looking up keys: borrowed, copied, pinned, many at once; and views. */

static kl_status capi_read_get(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size,
                               kl_slice *out_value, kl_error *err) {
  kl_slice name;
  kl_status status = capi_key("key", key, key_size, &name, err);
  if (status != KL_OK) return status;
  capi_scope scope;
  status = capi_scope_enter(txn, keyspace, &scope, err);
  if (status != KL_OK) return status;
  status = kl_txn_get(scope.txn->txn, scope.keyspace, name, out_value, err);
  capi_scope_leave(&scope);
  return status;
}

keel_status keel_get(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, const void **out_value,
                     size_t *out_value_size, keel_error *err) {
  kl_error detail;
  if (out_value == NULL) return capi_report(capi_null("out_value", capi_detail(err, &detail)), &detail, err);
  if (out_value_size == NULL) return capi_report(capi_null("out_value_size", capi_detail(err, &detail)), &detail, err);
  kl_slice value;
  kl_status status = capi_read_get(txn, keyspace, key, key_size, &value, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  *out_value = value.data != NULL ? value.data : "";
  *out_value_size = value.size;
  return KEEL_OK;
}

static kl_status capi_read_get_copy(keel_txn txn, keel_keyspace keyspace, kl_slice key, void *buffer, size_t capacity,
                                    size_t *out_value_size, kl_error *err) {
  capi_scope scope;
  kl_status status = capi_scope_enter(txn, keyspace, &scope, err);
  if (status != KL_OK) return status;
  size_t size = 0;
  status = kl_txn_get_copy(scope.txn->txn, scope.keyspace, key, buffer, capacity, &size, err);
  capi_scope_leave(&scope);
  if (status == KL_OK || status == KL_E_BUFFER_SIZE) *out_value_size = size;
  return status;
}

keel_status keel_get_copy(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, void *buffer,
                          size_t capacity, size_t *out_value_size, keel_error *err) {
  kl_error detail;
  kl_slice name;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK && out_value_size == NULL) status = capi_null("out_value_size", capi_detail(err, &detail));
  if (status == KL_OK && ((buffer == NULL && capacity != 0) || capacity > PTRDIFF_MAX)) {
    status = kl_fail(capi_detail(err, &detail), KL_E_INVALID, "no buffer has a capacity of %zu bytes%s", capacity,
                     buffer == NULL ? " at NULL; pass a pointer or capacity 0" : "");
  }
  if (status == KL_OK) {
    status = capi_read_get_copy(txn, keyspace, name, buffer, capacity, out_value_size, capi_detail(err, &detail));
  }
  return capi_report(status, &detail, err);
}

/* ---- Views ---- */

static kl_status capi_read_view_destroy(capi_object *self, kl_error *err) {
  capi_view *object = (capi_view *)self;
  kl_view_release(object->view);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_read_get_view(const capi_scope *scope, kl_slice key, keel_view *out_view, kl_error *err) {
  capi_view *object = capi_object_new(sizeof *object, capi_read_view_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_txn_get_view(scope->txn->txn, scope->keyspace, key, &object->view, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  kl_db_ref(scope->txn->engine);
  object->engine = scope->txn->engine;
  return capi_publish(CAPI_VIEW, &object->object, out_view, err);
}

keel_status keel_get_view(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, keel_view *out_view,
                          keel_error *err) {
  kl_error detail;
  kl_slice name;
  capi_scope scope;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK && out_view == NULL) status = capi_null("out_view", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_read_get_view(&scope, name, out_view, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_view_data(keel_view view, const void **out_data, size_t *out_size, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = KL_OK;
  if (out_data == NULL) status = capi_null("out_data", capi_detail(err, &detail));
  if (status == KL_OK && out_size == NULL) status = capi_null("out_size", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_VIEW, view, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_view *object = capi_slot_object(slot);
  kl_slice value = kl_view_value(object->view);
  capi_leave_shared(slot);
  *out_data = value.data != NULL ? value.data : "";
  *out_size = value.size;
  return KEEL_OK;
}

keel_status keel_view_release(keel_view view, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_shared(CAPI_VIEW, view, capi_detail(err, &detail)), &detail, err);
}

/* ---- Many keys ---- */

/* Checks the offsets before anything is read through them. */
static kl_status capi_read_check_offsets(const void *keys, const uint64_t *key_offsets, size_t count, kl_error *err) {
  if (count > KEEL_MAX_GET_MANY) {
    return kl_fail(err, KL_E_LIMIT, "count is %zu; at most %d keys in one call", count, KEEL_MAX_GET_MANY);
  }
  if (count == 0) return KL_OK;
  if (key_offsets == NULL) return capi_null("key_offsets", err);
  if (key_offsets[0] != 0) return kl_fail(err, KL_E_INVALID, "key_offsets[0] is not 0");
  for (size_t i = 0; i < count; i++) {
    if (key_offsets[i + 1] < key_offsets[i]) {
      return kl_fail(err, KL_E_INVALID, "key_offsets[%zu] is below key_offsets[%zu]; they must ascend", i + 1, i);
    }
    if (key_offsets[i + 1] - key_offsets[i] > KEEL_MAX_KEY_SIZE) {
      return kl_fail(err, KL_E_KEY_SIZE, "key %zu has %llu bytes; at most %d are allowed", i,
                     (unsigned long long)(key_offsets[i + 1] - key_offsets[i]), KEEL_MAX_KEY_SIZE);
    }
  }
  return keys != NULL || key_offsets[count] == 0 ? KL_OK : capi_null("keys", err);
}

keel_status keel_get_many(keel_txn txn, keel_keyspace keyspace, const void *keys, const uint64_t *key_offsets,
                          size_t count, keel_batch batch, keel_error *err) {
  static const uint64_t no_offsets[1] = {0};
  kl_error detail;
  capi_scope scope;
  capi_slot *batch_slot;
  kl_status status = capi_read_check_offsets(keys, key_offsets, count, capi_detail(err, &detail));
  if (status == KL_OK) {
    status = capi_scope_enter_batch(txn, keyspace, batch, &scope, &batch_slot, capi_detail(err, &detail));
  }
  if (status != KL_OK) return capi_report(status, &detail, err);
  capi_batch *rows = capi_slot_object(batch_slot);
  status = kl_txn_get_many(scope.txn->txn, scope.keyspace, keys != NULL ? keys : "",
                           count != 0 ? key_offsets : no_offsets, count, &rows->batch, capi_detail(err, &detail));
  capi_leave_exclusive(batch_slot);
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

/* ---- capi/transaction.c ---- */
/* capi/transaction.c: begin, commit, roll back. */

static kl_status capi_transaction_destroy(capi_object *self, kl_error *err) {
  capi_txn *object = (capi_txn *)self;
  for (size_t i = 0; i < CAPI_LENT; i++) {
    if (object->lent[i].slot != NULL) capi_leave_shared(object->lent[i].slot);
  }
  if (object->txn != NULL) kl_txn_release(object->txn);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_transaction_read_options(const keel_txn_options *in, kl_txn_options *out, kl_error *err) {
  keel_txn_options options;
  kl_status status =
      capi_read_struct("keel_txn_options", in, CAPI_TXN_OPTIONS_FIRST_SIZE, &options, sizeof options, err);
  if (status != KL_OK) return status;
  status = capi_check_flags("keel_txn_options.flags", options.flags, CAPI_TXN_FLAGS_ALL, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_txn_options.isolation", options.isolation, CAPI_ISOLATION_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_txn_options.durability", options.durability, CAPI_DURABILITY_MAX, err);
  if (status != KL_OK) return status;
  if (options.label != NULL) {
    size_t size;
    status = capi_text("keel_txn_options.label", options.label, 0, KEEL_MAX_LABEL_SIZE, &size, err);
    if (status != KL_OK) return status;
    if (!capi_is_utf8(options.label, size)) {
      return kl_fail(err, KL_E_INVALID, "keel_txn_options.label is not UTF-8; encode it");
    }
  }
  memset(out, 0, sizeof *out);
  out->read_only = (options.flags & KEEL_TXN_READ_ONLY) != 0;
  out->isolation = (kl_isolation)options.isolation;
  out->durability = (kl_durability)options.durability;
  out->label = options.label;
  return KL_OK;
}

static kl_status capi_transaction_begin_in(kl_db *engine, const kl_txn_options *options, keel_txn *out_txn,
                                           kl_error *err) {
  capi_txn *object = capi_object_new(sizeof *object, capi_transaction_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_db_ref(engine);
  object->engine = engine;
  kl_status status = kl_txn_begin(kl_db_txn_manager(engine), options, &object->txn, err);
  if (status != KL_OK) {
    object->txn = NULL;
    (void)capi_transaction_destroy(&object->object, NULL);
    return status;
  }
  return capi_publish(CAPI_TXN, &object->object, out_txn, err);
}

keel_status keel_begin(keel_db db, const keel_txn_options *options, keel_txn *out_txn, keel_error *err) {
  kl_error detail;
  kl_txn_options converted;
  capi_slot *slot;
  kl_status status = out_txn != NULL ? KL_OK : capi_null("out_txn", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_transaction_read_options(options, &converted, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  status = capi_transaction_begin_in(object->engine, &converted, out_txn, capi_detail(err, &detail));
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

/* The handle ends with the transaction, whatever the result, unless core/ says that it did not end. */
static void capi_transaction_end(capi_slot *slot, kl_status status) {
  if (status == KL_E_CONCURRENT_USE) {
    capi_leave_exclusive(slot);
  } else {
    /* The result is that of the commit; how the engine closed behind it, when this was its last use, changes nothing
     * about it. */
    (void)capi_end_exclusive(slot, NULL);
  }
}

keel_status keel_commit(keel_txn txn, uint64_t *out_timestamp, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(CAPI_TXN, txn, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_txn *object = capi_slot_object(slot);
  uint64_t timestamp = 0;
  status = kl_txn_commit(object->txn, &timestamp, capi_detail(err, &detail));
  capi_transaction_end(slot, status);
  if (status == KL_OK && out_timestamp != NULL) *out_timestamp = timestamp;
  return capi_report(status, &detail, err);
}

keel_status keel_rollback(keel_txn txn, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(CAPI_TXN, txn, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_txn *object = capi_slot_object(slot);
  status = kl_txn_rollback(object->txn, capi_detail(err, &detail));
  capi_transaction_end(slot, status);
  return capi_report(status, &detail, err);
}

/* ---- capi/write.c ---- */
/* capi/write.c: storing and removing keys, one at a time, by range, and many at once. */

keel_status keel_put(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, const void *value,
                     size_t value_size, keel_error *err) {
  kl_error detail;
  kl_slice name, content;
  capi_scope scope;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_value(value, value_size, &content, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = kl_txn_put(scope.txn->txn, scope.keyspace, name, content, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_del(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, keel_error *err) {
  kl_error detail;
  kl_slice name;
  capi_scope scope;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = kl_txn_delete(scope.txn->txn, scope.keyspace, name, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_del_range(keel_txn txn, keel_keyspace keyspace, const void *from, size_t from_size, const void *to,
                           size_t to_size, uint64_t *out_count, keel_error *err) {
  kl_error detail;
  kl_slice first, end;
  capi_scope scope;
  kl_status status = capi_bound("from", from, from_size, &first, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_bound("to", to, to_size, &end, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  uint64_t count = 0;
  status = kl_txn_delete_range(scope.txn->txn, scope.keyspace, first, end, &count, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  if (status == KL_OK && out_count != NULL) *out_count = count;
  return capi_report(status, &detail, err);
}

/* ---- keel_write_batch: u8 operation, 3 zero bytes, u32 key size, u32 value size, key, value; little-endian ---- */

enum { CAPI_WRITE_ENTRY_HEADER = 12 };

typedef struct capi_write_entry {
  uint8_t operation;
  kl_slice key, value;
} capi_write_entry;

static uint32_t capi_write_u32(const unsigned char *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Reads the entry at *offset and moves on. Checks every byte before it is used; `index` is for messages. */
static kl_status capi_write_next_entry(const unsigned char *ops, size_t ops_size, uint64_t index, size_t *offset,
                                       capi_write_entry *out, kl_error *err) {
  unsigned long long number = (unsigned long long)index;
  size_t at = *offset;
  if (ops_size - at < CAPI_WRITE_ENTRY_HEADER) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu is cut off: its header takes %d bytes", number, at,
                   CAPI_WRITE_ENTRY_HEADER);
  }
  const unsigned char *header = ops + at;
  uint32_t key_size = capi_write_u32(header + 4), value_size = capi_write_u32(header + 8);
  if (header[0] < KEEL_BATCH_PUT || header[0] > CAPI_BATCH_OP_MAX || (header[1] | header[2] | header[3]) != 0) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu has no known operation (%u)", number, at, header[0]);
  }
  if (key_size > KEEL_MAX_KEY_SIZE) {
    return kl_fail(err, KL_E_KEY_SIZE, "the key of entry %llu at byte %zu has %u bytes; at most %d are allowed", number,
                   at, key_size, KEEL_MAX_KEY_SIZE);
  }
  if (value_size > KEEL_MAX_VALUE_SIZE) {
    return kl_fail(err, KL_E_VALUE_SIZE, "the value of entry %llu at byte %zu has %u bytes; at most %d are allowed",
                   number, at, value_size, KEEL_MAX_VALUE_SIZE);
  }
  if (header[0] == KEEL_BATCH_DELETE && value_size != 0) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu deletes but has a value", number, at);
  }
  at += CAPI_WRITE_ENTRY_HEADER;
  if (ops_size - at < key_size || ops_size - at - key_size < value_size) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu is cut off: %zu bytes are left for its key and value",
                   number, *offset, ops_size - at);
  }
  out->operation = header[0];
  out->key = kl_slice_make(ops + at, key_size);
  out->value = kl_slice_make(ops + at + key_size, value_size);
  *offset = at + key_size + value_size;
  return KL_OK;
}

static kl_status capi_write_check_batch(const unsigned char *ops, size_t ops_size, kl_error *err) {
  if (ops_size > KEEL_MAX_WRITE_BATCH) {
    return kl_fail(err, KL_E_LIMIT, "ops has %zu bytes; at most %d in one call", ops_size, KEEL_MAX_WRITE_BATCH);
  }
  if (ops == NULL && ops_size != 0) return capi_null("ops", err);
  capi_write_entry entry;
  size_t offset = 0;
  for (uint64_t index = 0; offset < ops_size; index++) {
    kl_status status = capi_write_next_entry(ops, ops_size, index, &offset, &entry, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

static kl_status capi_write_apply_batch(const capi_scope *scope, const unsigned char *ops, size_t ops_size,
                                        uint64_t *out_count, kl_error *err) {
  capi_write_entry entry;
  size_t offset = 0;
  uint64_t index = 0;
  for (; offset < ops_size; index++) {
    kl_status status = capi_write_next_entry(ops, ops_size, index, &offset, &entry, err);
    if (status != KL_OK) return status;
    kl_txn *txn = scope->txn->txn;
    status = entry.operation == KEEL_BATCH_PUT ? kl_txn_put(txn, scope->keyspace, entry.key, entry.value, err)
                                               : kl_txn_delete(txn, scope->keyspace, entry.key, err);
    if (status != KL_OK) return status;
  }
  *out_count = index;
  return KL_OK;
}

keel_status keel_write_batch(keel_txn txn, keel_keyspace keyspace, const void *ops, size_t ops_size,
                             uint64_t *out_count, keel_error *err) {
  kl_error detail;
  capi_scope scope;
  kl_status status = capi_write_check_batch(ops, ops_size, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  uint64_t count = 0;
  status = capi_write_apply_batch(&scope, ops, ops_size, &count, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  if (status == KL_OK && out_count != NULL) *out_count = count;
  return capi_report(status, &detail, err);
}

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
