/* core/delta/delta.c: the face of the delta: life, keyspaces, versions by key. See delta.h and README.md. */
#include "delta.h"

#include <stdatomic.h>

#include "../base/assert.h"
#include "../base/counter.h"
#include "tree.h"

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

bool kl_delta_has(const kl_delta *delta, uint32_t keyspace) {
  return delta_find_tree(delta, keyspace) != NULL;
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

/* What hangs below a table, in no order. */
static size_t delta_table_list(const delta_table *table, uint32_t *out, size_t capacity, size_t count) {
  for (unsigned i = 0; i < DELTA_FAN; i++) {
    uintptr_t slot = atomic_load_explicit(&table->slot[i], memory_order_acquire);
    if (slot == 0) continue;
    if ((slot & 1) != 0) {
      count = delta_table_list((const delta_table *)(slot - 1), out, capacity, count);
      continue;
    }
    if (count < capacity) out[count] = ((const delta_tree *)slot)->keyspace;
    count++;
  }
  return count;
}

/* Makes the heap whose root is `at` one again, after that changed. */
static void delta_heap_sink(uint32_t *heap, size_t count, size_t at) {
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= count) return;
    if (child + 1 < count && heap[child + 1] > heap[child]) child++;
    if (heap[at] >= heap[child]) return;
    uint32_t greater = heap[child];
    heap[child] = heap[at];
    heap[at] = greater;
    at = child;
  }
}

size_t kl_delta_keyspaces(const kl_delta *delta, uint32_t *out, size_t capacity) {
  size_t count = delta_table_list(&delta->trees, out, capacity, 0), filled = count < capacity ? count : capacity;
  /* Heapsort: the library's qsort may allocate behind our back. */
  for (size_t i = filled / 2; i > 0; i--) delta_heap_sink(out, filled, i - 1);
  for (size_t left = filled; left > 1; left--) {
    uint32_t greatest = out[0];
    out[0] = out[left - 1];
    out[left - 1] = greatest;
    delta_heap_sink(out, left - 1, 0);
  }
  return count;
}

/* --- versions
 * ------------------------------------------------------------------------------------------------------- */

kl_status kl_delta_insert_at(kl_delta *delta, uint32_t keyspace, kl_delta_place place, kl_slice key,
                             const kl_version *version, kl_error *err) {
  kl_status status = kl_delta_version_check(key, version, err);
  if (status != KL_OK) return status;
  delta_tree *tree = delta_find_tree(delta, keyspace);
  if (tree == NULL) tree = delta_make_tree(delta, keyspace);
  if (tree == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for keyspace %u in the delta", (unsigned)keyspace);
  bool new_key, new_version;
  status = kl_delta_tree_insert(tree, &delta->memory, place, key, version, &new_key, &new_version, err);
  if (status != KL_OK) return status;
  if (new_key) kl_counters_add(&delta->counters, DELTA_COUNT_KEYS, 1);
  if (new_version) kl_counters_add(&delta->counters, DELTA_COUNT_VERSIONS, 1);
  return KL_OK;
}

kl_status kl_delta_insert(kl_delta *delta, uint32_t keyspace, kl_slice key, const kl_version *version, kl_error *err) {
  return kl_delta_insert_at(delta, keyspace, NULL, key, version, err);
}

void kl_delta_prefetch(kl_delta_place place) {
  if (place != NULL) delta_node_prefetch(place, true);
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

enum { DELTA_MANY = 64 };

/* The newest versions at or below read_ts of up to DELTA_MANY keys, NULL where there is none. `places`: may be NULL. */
static void delta_find_versions(const kl_delta *delta, uint32_t keyspace, const kl_slice *keys, size_t count,
                                uint64_t read_ts, const delta_version **out, kl_delta_place *places) {
  const delta_tree *tree = delta_find_tree(delta, keyspace);
  delta_entry *entries[DELTA_MANY];
  if (tree != NULL) {
    kl_delta_tree_find_many(tree, keys, count, entries, places);
    for (size_t i = 0; i < count; i++) {
      out[i] = entries[i] != NULL ? delta_entry_visible(entries[i], read_ts) : NULL;
    }
    return;
  }
  for (size_t i = 0; i < count; i++) {
    out[i] = NULL;
    if (places != NULL) places[i] = NULL;
  }
}

void kl_delta_get_many(kl_delta *delta, uint32_t keyspace, const kl_slice *keys, size_t count, uint64_t read_ts,
                       kl_version *out_versions) {
  for (size_t begin = 0; begin < count; begin += DELTA_MANY) {
    size_t n = count - begin < DELTA_MANY ? count - begin : DELTA_MANY;
    const delta_version *found[DELTA_MANY];
    delta_find_versions(delta, keyspace, keys + begin, n, read_ts, found, NULL);
    for (size_t i = 0; i < n; i++) {
      out_versions[begin + i] = (kl_version){0, KL_VERSION_PUT, {NULL, 0}};
      if (found[i] != NULL) delta_version_export(found[i], &out_versions[begin + i]);
    }
  }
}

void kl_delta_look_many(kl_delta *delta, uint32_t keyspace, const kl_slice *keys, size_t count, uint64_t *out_newest,
                        kl_delta_place *out_places) {
  for (size_t begin = 0; begin < count; begin += DELTA_MANY) {
    size_t n = count - begin < DELTA_MANY ? count - begin : DELTA_MANY;
    const delta_version *found[DELTA_MANY];
    delta_find_versions(delta, keyspace, keys + begin, n, UINT64_MAX, found, out_places + begin);
    for (size_t i = 0; i < n; i++) out_newest[begin + i] = found[i] != NULL ? found[i]->ts : 0;
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
