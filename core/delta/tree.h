/* core/delta/tree.h: the keys of one keyspace: a B+-tree with links to the right. Private. See README.md. */
#ifndef KL_DELTA_TREE_H
#define KL_DELTA_TREE_H

#include "node.h"

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

/* The same for `count` keys at once, with their cache misses side by side. *out_leaves (nullable): the leaves that they
 * came down to. */
void kl_delta_tree_find_many(const delta_tree *tree, const kl_slice *keys, size_t count, delta_entry **out_entries,
                             const delta_node **out_leaves);

/* Adds a version, and the key when it is new. `place`: a leaf of this tree that a look-up of the key came down to, or NULL.
 * It may have been split or replaced since: what replaced it is found from there, and its parent from the root, as
 * after any change on the way down (DELTA-5). *out_new_key, *out_new_version say what was added. KL_E_NO_MEMORY
 * leaves the tree as it was. The arguments are checked already. */
kl_status kl_delta_tree_insert(delta_tree *tree, const delta_memory *memory, const delta_node *place, kl_slice key,
                               const kl_version *version, bool *out_new_key, bool *out_new_version, kl_error *err);

/* The keyspace's tree; NULL while nothing was ever inserted into it. */
const delta_tree *kl_delta_find_tree(const kl_delta *delta, uint32_t keyspace);

#endif
