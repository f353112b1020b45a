/* core/delta/delta.c: the delta as a lock-free skip list.
 *
 * W. Pugh's skip list (CACM 33(6), 1990) with insertion by compare-and-swap from the bottom level up (K. Fraser,
 * "Practical lock-freedom", 2004, chapter 4.3). Nothing is ever removed, so there are no marked pointers and no
 * reclamation. A key is in the map from the moment its node is linked on level 0; the higher levels are only shortcuts. */
#include "delta.h"

#include <stdatomic.h>

#include "../base/assert.h"
#include "../base/counter.h"
#include "../base/endian.h"
#include "../base/rng.h"
#include "version.h"

enum { SKIPLIST_LEVELS = 14 }; /* 4^14 nodes before a search slows down */

typedef struct skiplist_node skiplist_node;
struct skiplist_node {
  uint64_t head; /* the key's first eight bytes as a number, so that most comparisons stay in this node */
  uint32_t keyspace;
  uint32_t levels;
  delta_entry *entry; /* in the same block, after the tower */
  _Atomic(skiplist_node *) next[];
};

enum { SKIPLIST_KEYS, SKIPLIST_VERSIONS };

struct kl_delta {
  kl_counters counters;
  kl_allocator *allocator;
  kl_shared_arena *arena;
  _Atomic uint64_t references;
  _Atomic uint32_t levels; /* the tallest tower so far: where a search begins */
  _Atomic(skiplist_node *) start[SKIPLIST_LEVELS];
};

typedef struct skiplist_place {
  _Atomic(skiplist_node *) *link[SKIPLIST_LEVELS]; /* per level: the last link before the key */
} skiplist_place;

static uint64_t skiplist_head(kl_slice key) {
  unsigned char bytes[8] = {0};
  if (key.size != 0) memcpy(bytes, key.data, key.size < 8 ? key.size : 8);
  return kl_load_u64_be(bytes);
}

static int skiplist_compare(const skiplist_node *node, uint32_t keyspace, uint64_t head, kl_slice key) {
  if (node->keyspace != keyspace) return node->keyspace < keyspace ? -1 : 1;
  if (node->head != head) return node->head < head ? -1 : 1;
  return kl_slice_compare(delta_entry_key(node->entry), key);
}

/* Finds the key's place: *out_after (nullable) is the first node behind it. Returns the last node before it, NULL when
 * there is none. With `equal` a node of that very key counts as before. The two are neighbours at one moment: reading
 * the next node of the result later could give one that was inserted between it and the key. */
static skiplist_node *skiplist_find(kl_delta *delta, uint32_t keyspace, kl_slice key, bool equal,
                                    skiplist_node **out_after, skiplist_place *place) {
  uint64_t head = skiplist_head(key);
  skiplist_node *before = NULL;
  skiplist_node *after = NULL; /* known to lie behind the key: met one level higher */
  uint32_t level = atomic_load_explicit(&delta->levels, memory_order_relaxed);
  if (place != NULL) {
    for (uint32_t i = level; i < SKIPLIST_LEVELS; i++) place->link[i] = &delta->start[i];
  }
  while (level-- > 0) {
    _Atomic(skiplist_node *) *link = before == NULL ? &delta->start[level] : &before->next[level];
    /* Acquire: pairs with the release that linked the node; its key is visible. */
    skiplist_node *node = atomic_load_explicit(link, memory_order_acquire);
    while (node != NULL && node != after && skiplist_compare(node, keyspace, head, key) < (equal ? 1 : 0)) {
      before = node;
      link = &node->next[level];
      node = atomic_load_explicit(link, memory_order_acquire);
    }
    after = node;
    if (place != NULL) place->link[level] = link;
  }
  if (out_after != NULL) *out_after = after;
  return before;
}

/* The node of the key, NULL when there is none. */
static skiplist_node *skiplist_get(kl_delta *delta, uint32_t keyspace, kl_slice key, skiplist_place *place) {
  skiplist_node *node = NULL;
  skiplist_find(delta, keyspace, key, false, &node, place);
  return node != NULL && skiplist_compare(node, keyspace, skiplist_head(key), key) == 0 ? node : NULL;
}

kl_status kl_delta_new(kl_allocator *allocator, kl_delta **out_delta, kl_error *err) {
  kl_delta *delta = kl_alloc_aligned(allocator, sizeof *delta, _Alignof(kl_delta));
  if (delta == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a delta (%zu bytes)", sizeof *delta);
  kl_status status = kl_shared_arena_new(allocator, &delta->arena, err);
  if (status != KL_OK) {
    kl_free(allocator, delta, sizeof *delta);
    return status;
  }
  delta->allocator = allocator;
  atomic_init(&delta->references, 1);
  *out_delta = delta;
  return KL_OK;
}

void kl_delta_ref(kl_delta *delta) {
  atomic_fetch_add_explicit(&delta->references, 1, memory_order_relaxed);
}

void kl_delta_unref(kl_delta *delta) {
  if (delta == NULL) return;
  /* Release: our use of the delta ends before; acquire: the one that frees has seen all others end. */
  if (atomic_fetch_sub_explicit(&delta->references, 1, memory_order_acq_rel) != 1) return;
  kl_shared_arena_free(delta->arena);
  kl_free(delta->allocator, delta, sizeof *delta);
}

static skiplist_node *skiplist_node_new(kl_delta *delta, uint32_t keyspace, kl_slice key, const kl_version *version) {
  /* A level with probability 1/4 each. The arena's addresses differ, so mixing one gives the coin tosses. */
  uint32_t hint = kl_thread_hint();
  uint64_t count = atomic_load_explicit(
      &delta->counters.shard[hint & (KL_COUNTERS_SHARDS - 1)].value[SKIPLIST_VERSIONS], memory_order_relaxed);
  uint64_t toss = kl_mix64((uint64_t)(uintptr_t)delta ^ (count << 20) ^ hint);
  uint32_t levels = 1;
  while (levels < SKIPLIST_LEVELS && (toss & 3) == 0) {
    levels++;
    toss >>= 2;
  }
  size_t tower = sizeof(skiplist_node) + levels * sizeof(_Atomic(skiplist_node *));
  skiplist_node *node = kl_shared_arena_alloc(delta->arena, hint, tower + delta_entry_bytes(key, version), 8);
  if (node == NULL) return NULL;
  node->head = skiplist_head(key);
  node->keyspace = keyspace;
  node->levels = levels;
  node->entry = (delta_entry *)(void *)((char *)node + tower);
  delta_entry_fill(node->entry, key, version);
  return node;
}

/* Links a node on every level of its tower. A node with the same key that another thread has linked is returned. */
static skiplist_node *skiplist_link(kl_delta *delta, skiplist_node *node, skiplist_place *place) {
  kl_slice key = delta_entry_key(node->entry);
  for (uint32_t level = 0; level < node->levels; level++) {
    _Atomic(skiplist_node *) *link = place->link[level];
    skiplist_node *next = atomic_load_explicit(link, memory_order_acquire);
    for (;;) {
      while (next != NULL) {
        int order = skiplist_compare(next, node->keyspace, node->head, key);
        if (order == 0) return next; /* only on level 0: a node is linked there before it is on higher ones */
        if (order > 0) break;
        link = &next->next[level];
        next = atomic_load_explicit(link, memory_order_acquire);
      }
      atomic_store_explicit(&node->next[level], next, memory_order_relaxed);
      /* Release publishes the node; acquire on failure, because we then read the node that came first. */
      if (atomic_compare_exchange_weak_explicit(link, &next, node, memory_order_release, memory_order_acquire)) break;
    }
  }
  uint32_t levels = atomic_load_explicit(&delta->levels, memory_order_relaxed);
  while (levels < node->levels && !atomic_compare_exchange_weak_explicit(&delta->levels, &levels, node->levels,
                                                                         memory_order_relaxed, memory_order_relaxed)) {
  }
  return node;
}

kl_status kl_delta_insert(kl_delta *delta, uint32_t keyspace, kl_slice key, const kl_version *version, kl_error *err) {
  kl_status status = delta_version_check(key, version, err);
  if (status != KL_OK) return status;
  skiplist_place place;
  skiplist_node *found = skiplist_get(delta, keyspace, key, &place);
  delta_version *fresh = NULL;
  if (found == NULL) {
    skiplist_node *node = skiplist_node_new(delta, keyspace, key, version);
    if (node == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a key in the delta");
    skiplist_node *winner = skiplist_link(delta, node, &place);
    if (winner == node) {
      kl_counters_add(&delta->counters, SKIPLIST_KEYS, 1);
      kl_counters_add(&delta->counters, SKIPLIST_VERSIONS, 1);
      return KL_OK;
    }
    found = winner; /* another thread was first with this key; our version is as good in its chain */
    fresh = delta_entry_own_version(node->entry);
  } else {
    fresh = kl_shared_arena_alloc(delta->arena, kl_thread_hint(), delta_version_bytes(version), 8);
    if (fresh == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a version in the delta");
    delta_version_fill(fresh, version);
  }
  if (delta_entry_link(found->entry, fresh)) kl_counters_add(&delta->counters, SKIPLIST_VERSIONS, 1);
  return KL_OK;
}

bool kl_delta_get(kl_delta *delta, uint32_t keyspace, kl_slice key, uint64_t read_ts, kl_version *out_version) {
  skiplist_node *node = skiplist_get(delta, keyspace, key, NULL);
  const delta_version *version = node != NULL ? delta_entry_visible(node->entry, read_ts) : NULL;
  if (version == NULL) return false;
  delta_version_export(version, out_version);
  return true;
}

uint64_t kl_delta_newest_ts(kl_delta *delta, uint32_t keyspace, kl_slice key) {
  skiplist_node *node = skiplist_get(delta, keyspace, key, NULL);
  return node != NULL ? delta_entry_visible(node->entry, UINT64_MAX)->ts : 0;
}

void kl_delta_cursor_init(kl_delta_cursor *cursor, kl_delta *delta, uint32_t keyspace, uint64_t read_ts) {
  memset(cursor, 0, sizeof *cursor);
  cursor->delta = delta;
  cursor->keyspace = keyspace;
  cursor->read_ts = read_ts;
}

/* Stands on the first node from `node` on, in the given direction, that has a version to show. */
static void skiplist_settle(kl_delta_cursor *cursor, skiplist_node *node, bool forward) {
  kl_delta *delta = cursor->delta;
  cursor->valid = false;
  while (node != NULL && node->keyspace == cursor->keyspace) {
    const delta_version *version = delta_entry_visible(node->entry, cursor->read_ts);
    if (version != NULL) {
      cursor->state[0] = node;
      cursor->key = delta_entry_key(node->entry);
      delta_version_export(version, &cursor->version);
      cursor->valid = true;
      return;
    }
    node = forward ? atomic_load_explicit(&node->next[0], memory_order_acquire)
                   : skiplist_find(delta, cursor->keyspace, delta_entry_key(node->entry), false, NULL, NULL);
  }
}

void kl_delta_cursor_seek_ge(kl_delta_cursor *cursor, kl_slice key) {
  skiplist_node *node = NULL;
  skiplist_find(cursor->delta, cursor->keyspace, key, false, &node, NULL);
  skiplist_settle(cursor, node, true);
}

void kl_delta_cursor_seek_le(kl_delta_cursor *cursor, kl_slice key) {
  skiplist_settle(cursor, skiplist_find(cursor->delta, cursor->keyspace, key, true, NULL, NULL), false);
}

void kl_delta_cursor_first(kl_delta_cursor *cursor) {
  kl_delta_cursor_seek_ge(cursor, kl_slice_make(NULL, 0));
}

void kl_delta_cursor_last(kl_delta_cursor *cursor) {
  skiplist_node *node = NULL;
  if (cursor->keyspace == UINT32_MAX) { /* the last of all: along the top of the towers */
    uint32_t level = atomic_load_explicit(&cursor->delta->levels, memory_order_relaxed);
    while (level-- > 0) {
      for (;;) {
        skiplist_node *next = atomic_load_explicit(node == NULL ? &cursor->delta->start[level] : &node->next[level],
                                                   memory_order_acquire);
        if (next == NULL) break;
        node = next;
      }
    }
  } else {
    node = skiplist_find(cursor->delta, cursor->keyspace + 1, kl_slice_make(NULL, 0), false, NULL, NULL);
  }
  skiplist_settle(cursor, node, false);
}

void kl_delta_cursor_next(kl_delta_cursor *cursor) {
  if (!cursor->valid) return;
  const skiplist_node *node = cursor->state[0];
  skiplist_settle(cursor, atomic_load_explicit(&node->next[0], memory_order_acquire), true);
}

void kl_delta_cursor_prev(kl_delta_cursor *cursor) {
  if (!cursor->valid) return;
  skiplist_settle(cursor, skiplist_find(cursor->delta, cursor->keyspace, cursor->key, false, NULL, NULL), false);
}

void kl_delta_get_stats(const kl_delta *delta, kl_delta_stats *out_stats) {
  out_stats->keys = kl_counters_sum(&delta->counters, SKIPLIST_KEYS);
  out_stats->versions = kl_counters_sum(&delta->counters, SKIPLIST_VERSIONS);
  out_stats->bytes = sizeof *delta + kl_shared_arena_bytes(delta->arena);
}
