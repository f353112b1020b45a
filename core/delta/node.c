/* core/delta/node.c: the longer half of node.h: ties, bounds, and all that writers do to one node. */
#include "node.h"

#include "../base/assert.h"
#include "../os/thread.h"

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
