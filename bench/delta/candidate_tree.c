/* bench/delta/candidate_tree.c: the delta of the engine itself, on ordinary memory and on huge pages. */
#include <stdatomic.h>

#include "../../core/os/os.h"
#include "candidate.h"

/* Address space, handed out from its beginning; given back as a whole. Enough for 10 million keys. */
#define CANDIDATE_HUGE_SPACE (UINT64_C(8) << 30)

typedef struct candidate_memory {
  kl_allocator allocator;
  unsigned char *space; /* NULL: ordinary memory */
  _Atomic size_t used;
  kl_delta *delta;
} candidate_memory;

static void *candidate_huge_alloc(kl_allocator *self, size_t size, size_t align) {
  candidate_memory *memory = (candidate_memory *)self;
  size_t taken =
      (size + align + 63) & ~(size_t)63; /* multiples of 64: aligned to that, which is all that is asked for */
  size_t begin = atomic_fetch_add_explicit(&memory->used, taken, memory_order_relaxed);
  return begin + taken <= CANDIDATE_HUGE_SPACE ? memory->space + begin : NULL;
}

static void candidate_huge_free(kl_allocator *self, void *block, size_t size) {
  (void)self;
  (void)block;
  (void)size;
}

static void candidate_tree_drop(void *map) {
  candidate_memory *memory = map;
  kl_os *os = kl_os_posix();
  kl_delta_unref(memory->delta);
  if (memory->space != NULL) os->unmap(os, memory->space, CANDIDATE_HUGE_SPACE);
  kl_free(kl_allocator_libc(), memory, sizeof *memory);
}

static void *candidate_make(bool huge) {
  kl_os *os = kl_os_posix();
  candidate_memory *memory = kl_alloc(kl_allocator_libc(), sizeof *memory);
  if (memory == NULL) return NULL;
  memory->allocator = (kl_allocator){candidate_huge_alloc, candidate_huge_free, NULL};
  kl_allocator *allocator = huge ? &memory->allocator : kl_allocator_libc();
  void *space = NULL;
  kl_status status = huge ? os->map(os, CANDIDATE_HUGE_SPACE, &space, NULL) : KL_OK;
  memory->space = space;
  if (status == KL_OK && huge) status = os->commit(os, space, CANDIDATE_HUGE_SPACE, true, NULL);
  if (status == KL_OK) status = kl_delta_new(allocator, &memory->delta, NULL);
  if (status == KL_OK) return memory;
  candidate_tree_drop(memory);
  return NULL;
}

static void *candidate_tree_make(void) {
  return candidate_make(false);
}
static void *candidate_huge_make(void) {
  return candidate_make(true);
}

static bool candidate_tree_insert(void *map, kl_slice key, kl_slice value, uint64_t ts) {
  kl_version version = {ts, KL_VERSION_PUT, value};
  return kl_delta_insert(((candidate_memory *)map)->delta, 1, key, &version, NULL) == KL_OK;
}

static bool candidate_tree_get(void *map, kl_slice key, kl_slice *out_value) {
  kl_version version;
  if (!kl_delta_get(((candidate_memory *)map)->delta, 1, key, UINT64_MAX, &version)) return false;
  *out_value = version.value;
  return true;
}

static uint64_t candidate_tree_get_many(void *map, const kl_slice *keys, size_t count, uint64_t *sum) {
  kl_version versions[CANDIDATE_MANY];
  uint64_t found = 0;
  kl_delta_get_many(((candidate_memory *)map)->delta, 1, keys, count, UINT64_MAX, versions);
  for (size_t i = 0; i < count; i++) {
    if (versions[i].ts == 0) continue;
    *sum += *(const unsigned char *)versions[i].value.data;
    found++;
  }
  return found;
}

static uint64_t candidate_tree_scan(void *map, kl_slice from, bool forward, uint64_t limit, uint64_t *sum) {
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, ((candidate_memory *)map)->delta, 1, UINT64_MAX);
  if (!forward) {
    kl_delta_cursor_last(&cursor);
  } else if (from.data == NULL) {
    kl_delta_cursor_first(&cursor);
  } else {
    kl_delta_cursor_seek_ge(&cursor, from);
  }
  uint64_t rows = 0;
  while (cursor.valid && rows < limit) {
    *sum += *(const unsigned char *)cursor.key.data + *(const unsigned char *)cursor.version.value.data;
    rows++;
    if (forward) {
      kl_delta_cursor_next(&cursor);
    } else {
      kl_delta_cursor_prev(&cursor);
    }
  }
  return rows;
}

static uint64_t candidate_tree_bytes(void *map) {
  kl_delta_stats stats;
  kl_delta_get_stats(((candidate_memory *)map)->delta, &stats);
  return stats.bytes;
}

const candidate candidate_tree = {.name = "tree",
                                  .make = candidate_tree_make,
                                  .drop = candidate_tree_drop,
                                  .insert = candidate_tree_insert,
                                  .get = candidate_tree_get,
                                  .get_many = candidate_tree_get_many,
                                  .scan = candidate_tree_scan,
                                  .bytes = candidate_tree_bytes};

const candidate candidate_tree_huge = {.name = "tree-huge",
                                       .make = candidate_huge_make,
                                       .drop = candidate_tree_drop,
                                       .insert = candidate_tree_insert,
                                       .get = candidate_tree_get,
                                       .get_many = candidate_tree_get_many,
                                       .scan = candidate_tree_scan,
                                       .bytes = candidate_tree_bytes};
