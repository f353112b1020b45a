/* core/delta/tree_many.c: many look-ups at once. See tree.h.
 *
 * One look-up is a chain of cache misses, each of which has to be waited for: leaf, pointer, entry. Those of
 * different keys do not depend on one another. So a group of look-ups goes down side by side: each does one step and
 * asks for the memory of its next one, and by the time it has its turn again that memory is there. (S. Chen and
 * others, "Improving hash join performance through prefetching", ICDE 2004, call this group prefetching.) */
#include "tree.h"

enum { DELTA_GROUP = 16 }; /* about as many misses as a core can have under way */

typedef struct delta_many {
  delta_probe probe;
  const delta_node *node;
  unsigned at;
  delta_entry *entry;
} delta_many;

/* One level down (or to the right); true when the look-up is at a leaf. */
static bool delta_many_descend(delta_many *m) {
  const delta_node *node = m->node;
  if (node->level == 0) return true;
  unsigned at = delta_node_bound(node, &m->probe, true);
  const delta_node *right = at >= delta_node_count(node) ? delta_node_beyond(node, &m->probe, false) : NULL;
  m->node = right != NULL ? right : delta_node_pointer(node, at - 1);
  delta_node_prefetch(m->node, false);
  return false;
}

/* Finds the only slot where the key is likely to be, and asks for its pointer. */
static void delta_many_place(delta_many *m) {
  if (delta_node_prefix_order(m->node, m->probe.key) != 0) return;
  m->at = delta_node_bound_heads(m->node, delta_probe_head(&m->probe, m->node));
  __builtin_prefetch((const void *)&delta_node_pointers(m->node)[m->at]);
}

static void delta_many_fetch(delta_many *m) {
  if (m->at >= delta_node_count(m->node)) return;
  if (delta_node_head(m->node, m->at) != m->probe.head) return;
  m->entry = delta_node_pointer(m->node, m->at);
  delta_entry_prefetch(m->entry);
}

/* The usual answers cost nothing more; equal heads and slots that moved meanwhile are left to the ordinary search. */
static delta_entry *delta_many_finish(delta_many *m) {
  if (m->entry != NULL && delta_key_equal(m->entry, m->probe.key)) return m->entry;
  return kl_delta_leaf_find_right(m->node, &m->probe);
}

void kl_delta_tree_find_many(const delta_tree *tree, const kl_slice *keys, size_t count, delta_entry **out_entries,
                             const delta_node **out_leaves) {
  const delta_node *root = delta_tree_root(tree);
  for (size_t begin = 0; begin < count; begin += DELTA_GROUP) {
    size_t n = count - begin < DELTA_GROUP ? count - begin : DELTA_GROUP;
    delta_many group[DELTA_GROUP];
    for (size_t i = 0; i < n; i++) group[i] = (delta_many){delta_probe_make(keys[begin + i]), root, 0, NULL};
    for (bool done = false; !done;) {
      done = true;
      for (size_t i = 0; i < n; i++) done &= delta_many_descend(&group[i]);
    }
    for (size_t i = 0; i < n; i++) delta_many_place(&group[i]);
    for (size_t i = 0; i < n; i++) delta_many_fetch(&group[i]);
    for (size_t i = 0; i < n; i++) out_entries[begin + i] = delta_many_finish(&group[i]);
    for (size_t i = 0; i < n && out_leaves != NULL; i++) out_leaves[begin + i] = group[i].node;
  }
}
