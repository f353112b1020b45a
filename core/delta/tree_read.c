/* core/delta/tree_read.c: look-ups and steps in a tree, without locks. See tree.h, node.h and README.md. */
#include "tree.h"

#include "../base/assert.h"

enum { DELTA_SCAN_AHEAD = 8 }; /* how many entries ahead of a cursor are asked for; measured: see the decision */

/* Down to the leaf for the key: in an inner node into the last child that begins at or before it (`strict`: before it), and
 * to the right where a node does not reach that far. May end too far to the left, when it met a change half-way, and never
 * too far to the right (DELTA-5); the search in the leaf goes on to the right by itself. */
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

/* --- places --------------------------------------------------------------------------------------------------------- */

static const delta_place delta_nowhere = {NULL, 0, NULL};

/* Is the entry whose head was read as `head` (from its slot in the leaf, before its pointer was) sure to lie before the leaf's
 * upper bound? Only then are the slots around it all that there is around it. */
static inline bool delta_leaf_holds(const delta_node *leaf, uint64_t head, const delta_entry *entry) {
  if (head < atomic_load_explicit(&leaf->high_head, memory_order_acquire)) return true;
  return kl_delta_node_beyond_slow(leaf, delta_entry_key(entry), false) == NULL;
}

/* A cursor has come to slot `at` from elsewhere: asks for the entries on one side of it, up to as far as the steps that follow
 * look ahead. */
static void delta_scan_begin(const delta_node *leaf, unsigned at, bool forward) {
  unsigned count = delta_node_count(leaf);
  for (unsigned i = 1; i <= DELTA_SCAN_AHEAD; i++) {
    if (forward ? at + i >= count : at < i) break;
    delta_entry_prefetch(delta_node_pointer(leaf, forward ? at + i : at - i));
  }
}

/* Asks for the entry that a scan to the right will come to, and in the middle of a leaf for the next leaf. */
static inline void delta_scan_ahead(const delta_node *leaf, unsigned at) {
  unsigned count = delta_node_count(leaf);
  if (at + DELTA_SCAN_AHEAD < count) delta_entry_prefetch(delta_node_pointer(leaf, at + DELTA_SCAN_AHEAD));
  if (at == count / 2) {
    const delta_node *right = delta_node_next(leaf);
    if (right != NULL) delta_node_prefetch(right, true);
  }
}

/* The first key at or behind the probe's (`strict`: behind it), in this leaf or to the right of it. */
static delta_place delta_leaf_seek_ge(const delta_node *leaf, delta_probe *probe, bool strict) {
  for (;;) {
    unsigned at = delta_node_bound(leaf, probe, strict);
    delta_scan_begin(leaf, at, true);
    for (; at < delta_node_count(leaf); at++) {
      uint64_t head = delta_node_head(leaf, at);
      delta_entry *entry = delta_node_pointer(leaf, at);
      int order = kl_slice_compare(delta_entry_key(entry), probe->key);
      if (order < 0 || (strict && order == 0)) continue; /* moved here since the bound was found */
      if (delta_leaf_holds(leaf, head, entry)) return (delta_place){leaf, at, entry};
      break; /* it belongs to a neighbour by now, where keys may have come before it */
    }
    leaf = delta_node_next(leaf);
    if (leaf == NULL) return delta_nowhere;
  }
}

delta_place kl_delta_tree_seek_ge(const delta_tree *tree, kl_slice key) {
  delta_probe probe = delta_probe_make(key);
  return delta_leaf_seek_ge(delta_tree_descend(tree, &probe, false, true), &probe, false);
}

delta_place kl_delta_tree_seek_before(const delta_tree *tree, kl_slice key, bool equal) {
  delta_probe probe = delta_probe_make(key);
  const delta_node *leaf = delta_tree_descend(tree, &probe, !equal, true);
  for (;;) {
    delta_entry *entry = NULL;
    unsigned at = delta_node_bound(leaf, &probe, equal);
    if (at > 1) delta_scan_begin(leaf, at - 1, false);
    for (;;) {
      if (at != 0) entry = delta_node_pointer(leaf, at - 1);
      /* A slot is written on the right before it is overwritten on the left. So if what stood before `at` had moved when we
       * read its place, looking at `at` again shows it there, and we go on to the right. */
      unsigned again = delta_node_bound(leaf, &probe, equal);
      if (again == at) break;
      at = again;
    }
    const delta_node *right = delta_node_beyond(leaf, &probe, !equal);
    if (right == NULL) {
      /* DELTA-6: a leaf with a lower bound begins with it, so only the leftmost one has nothing before the key. */
      KL_ASSERT(at != 0 || leaf->low == NULL);
      return at != 0 ? (delta_place){leaf, at - 1, entry} : delta_nowhere;
    }
    leaf = right;
  }
}

delta_place kl_delta_tree_last(const delta_tree *tree) {
  const delta_node *node = delta_tree_root(tree);
  for (;;) {
    const delta_node *right = delta_node_next(node);
    unsigned count = delta_node_count(node);
    if (right != NULL) {
      node = right;
    } else if (node->level != 0) {
      node = delta_node_pointer(node, count - 1);
    } else {
      delta_entry *entry = count != 0 ? delta_node_pointer(node, count - 1) : NULL;
      /* An insertion makes `count` larger before it moves slots, and a split names its neighbour before it makes `count`
       * smaller: with both unchanged, what we read was the last. */
      if (delta_node_count(node) != count || delta_node_next(node) != NULL) continue;
      return entry != NULL ? (delta_place){node, count - 1, entry} : delta_nowhere;
    }
  }
}

delta_place kl_delta_tree_next(delta_place place) {
  const delta_node *leaf = place.leaf;
  unsigned at = place.index;
  for (;;) {
    /* An entry never moves left (DELTA-4). When a split took it away we find it to the right. */
    while (at < delta_node_count(leaf) && delta_node_pointer(leaf, at) != place.entry) at++;
    if (at + 1 >= delta_node_count(leaf)) break;
    uint64_t head = delta_node_head(leaf, at + 1);
    delta_entry *entry = delta_node_pointer(leaf, at + 1);
    if (entry == place.entry) { /* it is just being moved */
      at++;
      continue;
    }
    /* Ours is still where it was, so it was so when we read the slot behind it. */
    if (delta_node_pointer(leaf, at) != place.entry) continue;
    if (!delta_leaf_holds(leaf, head, entry)) break;
    delta_scan_ahead(leaf, at + 1);
    return (delta_place){leaf, at + 1, entry};
  }
  delta_probe probe = delta_probe_make(delta_entry_key(place.entry));
  return delta_leaf_seek_ge(leaf, &probe, true);
}

delta_place kl_delta_tree_prev(const delta_tree *tree, delta_place place) {
  const delta_node *leaf = place.leaf;
  unsigned at = place.index;
  for (;;) {
    while (at < delta_node_count(leaf) && delta_node_pointer(leaf, at) != place.entry) at++;
    if (at == 0 || at >= delta_node_count(leaf)) break; /* what comes before lies in another leaf */
    uint64_t head = delta_node_head(leaf, at);
    delta_entry *entry = delta_node_pointer(leaf, at - 1);
    if (delta_node_pointer(leaf, at) != place.entry) continue; /* moved: what we read may have moved too */
    if (entry == place.entry) {
      at--;
      continue;
    }
    if (!delta_leaf_holds(leaf, head, place.entry)) break;
    if (at > DELTA_SCAN_AHEAD) delta_entry_prefetch(delta_node_pointer(leaf, at - 1 - DELTA_SCAN_AHEAD));
    return (delta_place){leaf, at - 1, entry};
  }
  return kl_delta_tree_seek_before(tree, delta_entry_key(place.entry), false);
}
