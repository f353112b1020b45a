/* core/delta/tree.h: the keys of one keyspace: a B+-tree with links to the right. Private. See README.md. */
#ifndef KL_DELTA_TREE_H
#define KL_DELTA_TREE_H

#include "node.h"

enum {
  DELTA_TREE_LEVELS = 16
}; /* nodes come to have eight slots and more, whatever the order of insertion: 8^16 keys */

typedef struct delta_tree {
  _Atomic(delta_node *) root;
  uint32_t keyspace;
} delta_tree;

/* Where a delta's memory comes from. Apart, because a look-up reads many nodes and one entry: the nodes of a million keys are
 * some twenty megabytes, and stay in caches and in the TLB when they do not lie scattered among ten times as many bytes of
 * entries. */
typedef struct delta_memory {
  kl_shared_arena *nodes;
  kl_shared_arena *entries; /* keys, versions and values */
} delta_memory;

static inline delta_node *delta_tree_root(const delta_tree *tree) {
  /* Acquire: pairs with the release that made this node the root; its slots are visible. */
  return atomic_load_explicit(&tree->root, memory_order_acquire);
}

/* Makes a tree with an empty leaf; NULL: no memory. */
delta_tree *kl_delta_tree_new(const delta_memory *memory, uint32_t keyspace);

/* The key's entry in this leaf, or NULL: then it may have moved to the right (delta_node_beyond). */
delta_entry *kl_delta_leaf_find(const delta_node *leaf, delta_probe *probe);

/* The same, and goes on to the right. */
delta_entry *kl_delta_leaf_find_right(const delta_node *leaf, delta_probe *probe);

/* The key's entry, or NULL. */
delta_entry *kl_delta_tree_find(const delta_tree *tree, kl_slice key);

/* The same for `count` keys at once, with their cache misses side by side. */
void kl_delta_tree_find_many(const delta_tree *tree, const kl_slice *keys, size_t count, delta_entry **out_entries);

/* Adds a version, and the key when it is new. *out_new_key, *out_new_version say what was added. KL_E_NO_MEMORY leaves the
 * tree as it was. The arguments are checked already. */
kl_status kl_delta_tree_insert(delta_tree *tree, const delta_memory *memory, kl_slice key, const kl_version *version,
                               bool *out_new_key, bool *out_new_version, kl_error *err);

/* A place in a tree: an entry, and where it was last met. `entry` NULL: nowhere. */
typedef struct delta_place {
  const delta_node *leaf;
  unsigned index;
  delta_entry *entry;
} delta_place;

delta_place kl_delta_tree_seek_ge(const delta_tree *tree, kl_slice key);
/* The last key before `key`, or at it when `equal`. */
delta_place kl_delta_tree_seek_before(const delta_tree *tree, kl_slice key, bool equal);
delta_place kl_delta_tree_last(const delta_tree *tree);
delta_place kl_delta_tree_next(delta_place place);
delta_place kl_delta_tree_prev(const delta_tree *tree, delta_place place);

#endif
