/* core/delta/tree_read.c: single look-ups in a tree, without locks. See tree.h, node.h and README.md. */
#include "tree.h"

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
