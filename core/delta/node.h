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

#include "../base/endian.h"
#include "version.h"

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
