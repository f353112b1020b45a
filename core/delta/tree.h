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

/* Makes a tree with an empty leaf in the arena; NULL: no memory. */
delta_tree *delta_tree_new(kl_shared_arena *arena, uint32_t keyspace);

/* The key's entry in this leaf, or NULL: then it may have moved to the right (delta_node_beyond). */
delta_entry *delta_leaf_find(const delta_node *leaf, delta_probe *probe);

/* The key's entry, or NULL. */
delta_entry *delta_tree_find(const delta_tree *tree, kl_slice key);

/* Adds a version, and the key when it is new. *out_new_key, *out_new_version say what was added. KL_E_NO_MEMORY leaves the
 * tree as it was. The arguments are checked already. */
kl_status delta_tree_insert(delta_tree *tree, kl_shared_arena *arena, kl_slice key, const kl_version *version,
                            bool *out_new_key, bool *out_new_version, kl_error *err);

/* A place in a tree: an entry, and where it was last met. `entry` NULL: nowhere. */
typedef struct delta_place {
  const delta_node *leaf;
  unsigned index;
  delta_entry *entry;
} delta_place;

delta_place delta_tree_seek_ge(const delta_tree *tree, kl_slice key);
/* The last key before `key`, or at it when `equal`. */
delta_place delta_tree_seek_before(const delta_tree *tree, kl_slice key, bool equal);
delta_place delta_tree_last(const delta_tree *tree);
delta_place delta_tree_next(delta_place place);
delta_place delta_tree_prev(const delta_tree *tree, delta_place place);

#endif
