/* core/store/space_walk.c: reading all of a space map: for verification. See kl_store_walk_used in store.h.
 *
 * Two passes over the map: the first learns which blocks are its own, the second reports runs and cuts them there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_private.h"

typedef struct store_walk {
  kl_store *store;
  store_map_bounds bounds;
  uint64_t *own; /* addresses of the map's blocks, ascending in the second pass */
  size_t own_count, own_capacity, own_next;
  bool counting; /* the first pass */
  kl_store_visit visit;
  void *context;
  uint64_t start, end; /* the run that is not reported yet, in blocks; empty: start == end */
} store_walk;

static kl_status store_walk_report(store_walk *walk, uint64_t start, uint64_t end, bool is_map, kl_error *err) {
  if (start == end) return KL_OK;
  return walk->visit(walk->context, start * KL_BLOCK_SIZE, (end - start) * KL_BLOCK_SIZE, is_map, err);
}

/* Reports the run, cut at the blocks of the map. */
static kl_status store_walk_flush(store_walk *walk, kl_error *err) {
  uint64_t start = walk->start;
  while (start < walk->end) {
    uint64_t own = walk->own_next < walk->own_count ? walk->own[walk->own_next] / KL_BLOCK_SIZE : UINT64_MAX;
    if (own < start) {
      return kl_fail(err, KL_E_CORRUPT,
                     "database '%s': the space map has a block of its own, at %" PRIu64 ", as free; copy the data out",
                     walk->store->path, own * KL_BLOCK_SIZE);
    }
    uint64_t end = own < walk->end ? own : walk->end;
    kl_status status = store_walk_report(walk, start, end, false, err);
    bool hit = own < walk->end;
    if (status == KL_OK && hit) status = store_walk_report(walk, own, own + 1, true, err);
    if (status != KL_OK) return status;
    start = hit ? own + 1 : end;
    walk->own_next += hit;
  }
  walk->start = walk->end;
  return KL_OK;
}

static kl_status store_walk_bits(store_walk *walk, uint64_t first, const uint64_t *bits, kl_error *err) {
  for (uint64_t bit = 0; bit < STORE_MAP_BITS; bit++) {
    uint64_t word = bits[bit / 64];
    if (word == 0) {
      bit |= 63;
      continue;
    }
    uint64_t block = first + bit;
    if ((word >> (bit % 64) & 1) == 0 || block < KL_SUPERBLOCKS) continue;
    if (walk->end != block) {
      kl_status status = store_walk_flush(walk, err);
      if (status != KL_OK) return status;
      walk->start = block;
    }
    walk->end = block + 1;
  }
  return KL_OK;
}

static kl_status store_walk_remember(store_walk *walk, uint64_t address, kl_error *err) {
  if (walk->own_count == walk->own_capacity) {
    kl_allocator *allocator = walk->store->os->allocator;
    size_t capacity = walk->own_capacity == 0 ? 64 : walk->own_capacity * 2, size = sizeof *walk->own;
    void *grown = kl_realloc(allocator, walk->own, walk->own_capacity * size, capacity * size);
    if (grown == NULL) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory to walk the space map of database '%s'", walk->store->path);
    }
    walk->own = grown;
    walk->own_capacity = capacity;
  }
  walk->own[walk->own_count++] = address;
  return KL_OK;
}

/* The part of the map below a pointer; at most STORE_MAP_LEVELS deep, for levels descend. */
static kl_status store_walk_node(store_walk *walk, const kl_store_pointer *pointer, const store_map_place *expected,
                                 kl_error *err) {
  kl_allocator *allocator = walk->store->os->allocator;
  store_map_node *node = kl_alloc(allocator, sizeof *node);
  if (node == NULL) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to walk the space map of database '%s'", walk->store->path);
  }
  kl_status status = store_map_read(walk->store, pointer, &walk->bounds, expected, node, err);
  if (status == KL_OK && walk->counting) status = store_walk_remember(walk, pointer->address, err);
  if (status == KL_OK && node->level == 0 && !walk->counting) {
    status = store_walk_bits(walk, node->number * STORE_MAP_BITS, node->body.bits, err);
  }
  for (size_t i = 0; i < STORE_MAP_FANOUT && status == KL_OK && node->level > 0; i++) {
    const store_map_child *child = &node->body.child[i];
    if (store_pointer_is_null(&child->pointer)) continue;
    store_map_place below;
    below.level = node->level - 1;
    below.number = node->number * STORE_MAP_FANOUT + i;
    below.used = child->used;
    /* Of chunks, the first pass needs to know no more than where they are; but one that lies twice, or not as it
     * should, is found by reading it. */
    status = store_walk_node(walk, &child->pointer, &below, err);
  }
  kl_free(allocator, node, sizeof *node);
  return status;
}

static int store_walk_compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static kl_status store_walk_sort_own(store_walk *walk, kl_error *err) {
  qsort(walk->own, walk->own_count, sizeof *walk->own, store_walk_compare);
  for (size_t i = 1; i < walk->own_count; i++) {
    if (walk->own[i] != walk->own[i - 1]) continue;
    return kl_fail(err, KL_E_CORRUPT, "database '%s': the space map uses the block at %" PRIu64 " twice",
                   walk->store->path, walk->own[i]);
  }
  return KL_OK;
}

static kl_status store_walk_file(store_walk *walk, const kl_store_pointer *root, kl_error *err) {
  if (store_pointer_is_null(root)) return KL_OK;
  walk->counting = true;
  kl_status status = store_walk_node(walk, root, NULL, err);
  if (status == KL_OK) status = store_walk_sort_own(walk, err);
  walk->counting = false;
  if (status == KL_OK) status = store_walk_node(walk, root, NULL, err);
  if (status == KL_OK) status = store_walk_flush(walk, err);
  if (status == KL_OK && walk->own_next < walk->own_count) {
    status = kl_fail(err, KL_E_CORRUPT,
                     "database '%s': the space map has a block of its own, at %" PRIu64 ", as free; copy the data out",
                     walk->store->path, walk->own[walk->own_next]);
  }
  return status;
}

/* A memory store has no map but the one in use. */
static kl_status store_walk_memory(store_walk *walk, kl_error *err) {
  kl_store *store = walk->store;
  uint64_t bits[STORE_MAP_WORDS];
  for (uint64_t number = 0;; number++) {
    kl_mutex_lock(&store->space_lock); /* others may reserve meanwhile, which uses nothing, but loads chunks */
    bool inside = number * STORE_MAP_BITS < store->space.frontier;
    const store_space_chunk *chunk = inside ? store_space_loaded(&store->space, number) : NULL;
    if (chunk != NULL) memcpy(bits, chunk->used, sizeof bits);
    kl_mutex_unlock(&store->space_lock);
    if (!inside) return store_walk_flush(walk, err);
    if (chunk == NULL) continue; /* nothing in it was ever used, or is used now */
    kl_status status = store_walk_bits(walk, number * STORE_MAP_BITS, bits, err);
    if (status != KL_OK) return status;
  }
}

kl_status kl_store_walk_used(kl_store *store, kl_store_visit visit, void *context, kl_error *err) {
  store_walk walk = {.store = store, .visit = visit, .context = context};
  if (kl_store_is_memory(store)) return store_walk_memory(&walk, err);
  kl_mutex_lock(&store->lock);
  const kl_store_pointer root = store->newest.space_map;
  walk.bounds = store_superblock_bounds(&store->newest);
  kl_mutex_unlock(&store->lock);
  kl_status status = store_walk_file(&walk, &root, err);
  kl_free(store->os->allocator, walk.own, walk.own_capacity * sizeof *walk.own);
  return status;
}
