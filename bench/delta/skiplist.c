/* bench/delta/skiplist.c: the lock-free skip list that the delta's tree is measured against.
 *
 * W. Pugh's skip list (CACM 33(6), 1990) with insertion by compare-and-swap from the bottom level up (K. Fraser,
 * "Practical lock-freedom", 2004, chapter 4.3). Nothing is ever removed, so there are no marked pointers and no
 * reclamation. A key is in the map from the moment its node is linked on level 0; the higher levels are only shortcuts.
 * Entries and version chains are the delta's own, so that only the index differs. */
#include <stdatomic.h>

#include "../../core/base/counter.h"
#include "../../core/base/endian.h"
#include "../../core/base/rng.h"
#include "../../core/delta/version.h"
#include "candidate.h"

enum { SKIPLIST_LEVELS = 14 }; /* with a level per four nodes: 4^14 nodes before a search slows down */

typedef struct skiplist_node skiplist_node;
struct skiplist_node {
  uint64_t head;      /* the key's first eight bytes as a number, so that most comparisons stay in this node */
  delta_entry *entry; /* in the same block, after the tower */
  uint32_t levels;
  _Atomic(skiplist_node *) next[];
};

typedef struct skiplist {
  kl_counters counters;
  kl_shared_arena *arena;
  _Atomic uint32_t levels; /* the tallest tower so far: where a search begins */
  _Atomic(skiplist_node *) start[SKIPLIST_LEVELS];
} skiplist;

typedef struct skiplist_place {
  _Atomic(skiplist_node *) *link[SKIPLIST_LEVELS]; /* per level: the last link before the key */
} skiplist_place;

static uint64_t skiplist_head(kl_slice key) {
  unsigned char bytes[8] = {0};
  if (key.size != 0) memcpy(bytes, key.data, key.size < 8 ? key.size : 8);
  return kl_load_u64_be(bytes);
}

static int skiplist_compare(const skiplist_node *node, uint64_t head, kl_slice key) {
  if (node->head != head) return node->head < head ? -1 : 1;
  return kl_slice_compare(delta_entry_key(node->entry), key);
}

/* Finds the key's place: *out_after (nullable) is the first node not before it. Returns the last node before it, NULL
 * when there is none. The two are neighbours at one moment: reading the next node of the result later could give one
 * that was inserted between it and the key. */
static skiplist_node *skiplist_find(skiplist *list, kl_slice key, skiplist_node **out_after, skiplist_place *place) {
  uint64_t head = skiplist_head(key);
  skiplist_node *before = NULL;
  skiplist_node *after = NULL; /* known not to lie before the key: met one level higher */
  uint32_t level = atomic_load_explicit(&list->levels, memory_order_relaxed);
  if (place != NULL) {
    for (uint32_t i = level; i < SKIPLIST_LEVELS; i++) place->link[i] = &list->start[i];
  }
  while (level-- > 0) {
    _Atomic(skiplist_node *) *link = before == NULL ? &list->start[level] : &before->next[level];
    /* Acquire: pairs with the release that linked the node; its key is visible. */
    skiplist_node *node = atomic_load_explicit(link, memory_order_acquire);
    while (node != NULL && node != after && skiplist_compare(node, head, key) < 0) {
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

static skiplist_node *skiplist_get_node(skiplist *list, kl_slice key, skiplist_place *place) {
  skiplist_node *node = NULL;
  skiplist_find(list, key, &node, place);
  return node != NULL && skiplist_compare(node, skiplist_head(key), key) == 0 ? node : NULL;
}

static void *skiplist_make(void) {
  kl_allocator *allocator = kl_allocator_libc();
  skiplist *list = kl_alloc_aligned(allocator, sizeof *list, _Alignof(skiplist));
  if (list != NULL && kl_shared_arena_new(allocator, &list->arena, NULL) != KL_OK) {
    kl_free(allocator, list, sizeof *list);
    list = NULL;
  }
  return list;
}

static void skiplist_drop(void *map) {
  skiplist *list = map;
  kl_shared_arena_free(list->arena);
  kl_free(kl_allocator_libc(), list, sizeof *list);
}

static skiplist_node *skiplist_node_new(skiplist *list, kl_slice key, const kl_version *version) {
  /* One level more with probability 1/4 each; a counter of its own per shard, mixed, gives the coin tosses. */
  uint32_t hint = kl_thread_hint();
  uint64_t count =
      atomic_load_explicit(&list->counters.shard[hint & (KL_COUNTERS_SHARDS - 1)].value[0], memory_order_relaxed);
  uint64_t toss = kl_mix64((uint64_t)(uintptr_t)list ^ (count << 20) ^ hint);
  uint32_t levels = 1;
  while (levels < SKIPLIST_LEVELS && (toss & 3) == 0) {
    levels++;
    toss >>= 2;
  }
  size_t tower = sizeof(skiplist_node) + levels * sizeof(_Atomic(skiplist_node *));
  skiplist_node *node = kl_shared_arena_alloc(list->arena, hint, tower + kl_delta_entry_bytes(key, version), 8);
  if (node == NULL) return NULL;
  node->head = skiplist_head(key);
  node->levels = levels;
  node->entry = (delta_entry *)(void *)((char *)node + tower);
  kl_delta_entry_fill(node->entry, key, version);
  return node;
}

/* Links a node on every level of its tower. A node with the same key that another thread has linked is returned. */
static skiplist_node *skiplist_link(skiplist *list, skiplist_node *node, skiplist_place *place) {
  kl_slice key = delta_entry_key(node->entry);
  for (uint32_t level = 0; level < node->levels; level++) {
    _Atomic(skiplist_node *) *link = place->link[level];
    skiplist_node *next = atomic_load_explicit(link, memory_order_acquire);
    for (;;) {
      while (next != NULL) {
        int order = skiplist_compare(next, node->head, key);
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
  uint32_t levels = atomic_load_explicit(&list->levels, memory_order_relaxed);
  while (levels < node->levels && !atomic_compare_exchange_weak_explicit(&list->levels, &levels, node->levels,
                                                                         memory_order_relaxed, memory_order_relaxed)) {
  }
  return node;
}

static bool skiplist_insert(void *map, kl_slice key, kl_slice value, uint64_t ts) {
  skiplist *list = map;
  kl_version version = {ts, KL_VERSION_PUT, value};
  skiplist_place place;
  skiplist_node *found = skiplist_get_node(list, key, &place);
  delta_version *fresh = NULL;
  if (found == NULL) {
    skiplist_node *node = skiplist_node_new(list, key, &version);
    if (node == NULL) return false;
    kl_counters_add(&list->counters, 0, 1);
    found = skiplist_link(list, node, &place);
    if (found == node) return true;
    fresh = kl_delta_entry_own_version(node->entry); /* another thread was first with this key */
  } else {
    fresh = kl_shared_arena_alloc(list->arena, kl_thread_hint(), kl_delta_version_bytes(&version), 8);
    if (fresh == NULL) return false;
    kl_delta_version_fill(fresh, &version);
  }
  kl_delta_entry_link(found->entry, fresh);
  return true;
}

static bool skiplist_get(void *map, kl_slice key, kl_slice *out_value) {
  skiplist_node *node = skiplist_get_node(map, key, NULL);
  if (node == NULL) return false;
  const delta_version *version = delta_entry_visible(node->entry, UINT64_MAX);
  *out_value = kl_slice_make(delta_version_value(version), version->value_size);
  return true;
}

/* Along the top of the towers. */
static skiplist_node *skiplist_last(skiplist *list) {
  skiplist_node *node = NULL;
  for (uint32_t level = atomic_load_explicit(&list->levels, memory_order_relaxed); level-- > 0;) {
    for (;;) {
      skiplist_node *next =
          atomic_load_explicit(node == NULL ? &list->start[level] : &node->next[level], memory_order_acquire);
      if (next == NULL) break;
      node = next;
    }
  }
  return node;
}

static uint64_t skiplist_scan(void *map, kl_slice from, bool forward, uint64_t limit, uint64_t *sum) {
  skiplist *list = map;
  skiplist_node *node = NULL;
  if (forward) {
    skiplist_find(list, from, &node, NULL);
  } else {
    node = skiplist_last(list);
  }
  uint64_t rows = 0;
  while (node != NULL && rows < limit) {
    const delta_version *version = delta_entry_visible(node->entry, UINT64_MAX);
    *sum += node->entry->key[0] + *(const unsigned char *)delta_version_value(version);
    rows++;
    if (forward) {
      node = atomic_load_explicit(&node->next[0], memory_order_acquire);
    } else { /* a step back is a search of its own, as there are no links to the left */
      node = skiplist_find(list, delta_entry_key(node->entry), NULL, NULL);
    }
  }
  return rows;
}

static uint64_t skiplist_bytes(void *map) {
  skiplist *list = map;
  return sizeof *list + kl_shared_arena_bytes(list->arena);
}

const candidate candidate_skiplist = {.name = "skiplist",
                                      .make = skiplist_make,
                                      .drop = skiplist_drop,
                                      .insert = skiplist_insert,
                                      .get = skiplist_get,
                                      .scan = skiplist_scan,
                                      .bytes = skiplist_bytes};
