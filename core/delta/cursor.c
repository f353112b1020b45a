/* core/delta/cursor.c: cursors: seeks and steps in a tree, without locks. See delta.h, node.h and README.md.
 *
 * A cursor stands on an entry and remembers in which slot of which leaf it was last met. Slots move under it, only to
 * the right; so it looks from there to the right, and when a split has taken the entry away, in the neighbours, or
 * anew from the root. Each step reads the slot beside its own and then makes sure that its own had not moved
 * (DELTA-9). */
#include "../base/assert.h"
#include "tree.h"

enum { DELTA_SCAN_AHEAD = 8 }; /* how many entries ahead of a cursor are asked for */

void kl_delta_cursor_init(kl_delta_cursor *cursor, kl_delta *delta, uint32_t keyspace, uint64_t read_ts) {
  memset(cursor, 0, sizeof *cursor);
  cursor->delta = delta;
  cursor->keyspace = keyspace;
  cursor->read_ts = read_ts;
}

/* Is the entry whose head was read as `head` (from its slot in the leaf, before its pointer was) sure to lie before
 * the leaf's upper bound? Only then are the slots around it all that there is around it. */
static inline bool delta_leaf_holds(const delta_node *leaf, uint64_t head, const delta_entry *entry) {
  if (head < atomic_load_explicit(&leaf->high_head, memory_order_acquire)) return true;
  return kl_delta_node_beyond_slow(leaf, delta_entry_key(entry), false) == NULL;
}

static inline bool delta_cursor_stand(kl_delta_cursor *cursor, const delta_node *leaf, unsigned slot,
                                      delta_entry *entry) {
  cursor->leaf = leaf;
  cursor->slot = slot;
  cursor->entry = entry;
  return true;
}

/* The cursor has come to slot `at` from elsewhere: asks for the entries on one side of it, up to as far as the steps
 * that follow look ahead. */
static void delta_scan_begin(const delta_node *leaf, unsigned at, bool forward) {
  unsigned count = delta_node_count(leaf);
  for (unsigned i = 1; i <= DELTA_SCAN_AHEAD; i++) {
    if (forward ? at + i >= count : at < i) break;
    delta_entry_prefetch(delta_node_pointer(leaf, forward ? at + i : at - i));
  }
}

/* --- seeks: each stands on an entry, whatever its versions, and returns false when there is none
 * ------------------------------ */

/* The first key at or behind the probe's (`strict`: behind it), in this leaf or to the right of it. */
static bool delta_cursor_seek_right(kl_delta_cursor *cursor, const delta_node *leaf, delta_probe *probe, bool strict) {
  for (; leaf != NULL; leaf = delta_node_next(leaf)) {
    unsigned at = delta_node_bound(leaf, probe, strict);
    delta_scan_begin(leaf, at, true);
    for (; at < delta_node_count(leaf); at++) {
      uint64_t head = delta_node_head(leaf, at);
      delta_entry *entry = delta_node_pointer(leaf, at);
      int order = kl_slice_compare(delta_entry_key(entry), probe->key);
      if (order < 0 || (strict && order == 0)) continue; /* moved here since the bound was found */
      if (delta_leaf_holds(leaf, head, entry)) return delta_cursor_stand(cursor, leaf, at, entry);
      break; /* it belongs to a neighbour by now, where keys may have come before it */
    }
  }
  return false;
}

/* The last key before `key`, or at it when `equal`. */
static bool delta_cursor_seek_before(kl_delta_cursor *cursor, kl_slice key, bool equal) {
  delta_probe probe = delta_probe_make(key);
  const delta_node *leaf = delta_tree_descend(cursor->tree, &probe, !equal, true);
  for (;;) {
    delta_entry *entry = NULL;
    unsigned at = delta_node_bound(leaf, &probe, equal);
    if (at > 1) delta_scan_begin(leaf, at - 1, false);
    for (;;) {
      if (at != 0) entry = delta_node_pointer(leaf, at - 1);
      /* A slot is written on the right before it is overwritten on the left. So if what stood before `at` had moved
       * when we read its place, looking at `at` again shows it there, and we go on to the right. */
      unsigned again = delta_node_bound(leaf, &probe, equal);
      if (again == at) break;
      at = again;
    }
    const delta_node *right = delta_node_beyond(leaf, &probe, !equal);
    if (right == NULL) {
      /* DELTA-6: a leaf with a lower bound begins with it, so only the leftmost one has nothing before the key. */
      KL_ASSERT(at != 0 || leaf->low == NULL);
      return at != 0 && delta_cursor_stand(cursor, leaf, at - 1, entry);
    }
    leaf = right;
  }
}

static bool delta_cursor_seek_last(kl_delta_cursor *cursor) {
  const delta_node *node = delta_tree_root(cursor->tree);
  for (;;) {
    const delta_node *right = delta_node_next(node);
    unsigned count = delta_node_count(node);
    if (right != NULL) {
      node = right;
    } else if (node->level != 0) {
      node = delta_node_pointer(node, count - 1);
    } else {
      delta_entry *entry = count != 0 ? delta_node_pointer(node, count - 1) : NULL;
      /* An insertion makes `count` larger before it moves slots, and a split names its neighbour before it makes
       * `count` smaller: with both unchanged, what we read was the last. */
      if (delta_node_count(node) != count || delta_node_next(node) != NULL) continue;
      return entry != NULL && delta_cursor_stand(cursor, node, count - 1, entry);
    }
  }
}

/* --- steps
 * ---------------------------------------------------------------------------------------------------------- */

/* The slot of the cursor's entry in its leaf; `count` or more when a split took it away. */
static inline unsigned delta_cursor_slot(const kl_delta_cursor *cursor) {
  unsigned at = cursor->slot;
  while (delta_node_pointer(cursor->leaf, at) != cursor->entry) {
    if (++at >= delta_node_count(cursor->leaf)) break;
  }
  return at;
}

static inline bool delta_cursor_step_right(kl_delta_cursor *cursor) {
  const delta_node *leaf = cursor->leaf;
  for (;;) {
    unsigned at = delta_cursor_slot(cursor), count = delta_node_count(leaf);
    if (at + 1 >= count) break;
    uint64_t head = delta_node_head(leaf, at + 1);
    delta_entry *entry = delta_node_pointer(leaf, at + 1);
    if (entry == cursor->entry) { /* it is just being moved, and stays at least there */
      cursor->slot = at + 1;
      continue;
    }
    /* Ours is still where it was, so it was so when we read the slot behind it. */
    if (delta_node_pointer(leaf, at) != cursor->entry) continue;
    if (!delta_leaf_holds(leaf, head, entry)) break;
    if (at + 1 + DELTA_SCAN_AHEAD < count) {
      delta_entry_prefetch(delta_node_pointer(leaf, at + 1 + DELTA_SCAN_AHEAD));
    } else if (at + 1 + DELTA_SCAN_AHEAD == count) { /* soon through: the next leaf */
      const delta_node *right = delta_node_next(leaf);
      if (right != NULL) delta_node_prefetch(right, true);
    }
    return delta_cursor_stand(cursor, leaf, at + 1, entry);
  }
  delta_probe probe = delta_probe_make(delta_entry_key(cursor->entry));
  return delta_cursor_seek_right(cursor, leaf, &probe, true);
}

static inline bool delta_cursor_step_left(kl_delta_cursor *cursor) {
  const delta_node *leaf = cursor->leaf;
  for (;;) {
    unsigned at = delta_cursor_slot(cursor);
    if (at == 0 || at >= delta_node_count(leaf)) break; /* what comes before lies in another leaf */
    uint64_t head = delta_node_head(leaf, at);
    delta_entry *entry = delta_node_pointer(leaf, at - 1);
    if (delta_node_pointer(leaf, at) != cursor->entry) continue; /* moved: what we read may have moved too */
    if (entry == cursor->entry) { /* it is just being moved, and we stood on its new place */
      cursor->slot = at - 1;
      continue;
    }
    if (!delta_leaf_holds(leaf, head, cursor->entry)) break;
    if (at > DELTA_SCAN_AHEAD) delta_entry_prefetch(delta_node_pointer(leaf, at - 1 - DELTA_SCAN_AHEAD));
    return delta_cursor_stand(cursor, leaf, at - 1, entry);
  }
  return delta_cursor_seek_before(cursor, delta_entry_key(cursor->entry), false);
}

/* --- what is visible
 * ------------------------------------------------------------------------------------------------- */

/* Shows the entry that the cursor stands on; false when none of its versions is visible. */
static inline bool delta_cursor_show(kl_delta_cursor *cursor) {
  const delta_entry *entry = cursor->entry;
  const delta_version *version = delta_entry_visible(entry, cursor->read_ts);
  if (version == NULL) return false;
  cursor->key = delta_entry_key(entry);
  delta_version_export(version, &cursor->version);
  return true;
}

/* From the entry that the cursor stands on, if it does (`standing`), to the first visible one that way. */
static void delta_cursor_settle(kl_delta_cursor *cursor, bool standing, bool forward) {
  while (standing && !delta_cursor_show(cursor)) {
    standing = forward ? delta_cursor_step_right(cursor) : delta_cursor_step_left(cursor);
  }
  cursor->valid = standing;
}

/* False while nothing was ever inserted into the keyspace. */
static bool delta_cursor_find_tree(kl_delta_cursor *cursor) {
  cursor->valid = false;
  if (cursor->tree == NULL) cursor->tree = kl_delta_find_tree(cursor->delta, cursor->keyspace);
  return cursor->tree != NULL;
}

void kl_delta_cursor_seek_ge(kl_delta_cursor *cursor, kl_slice key) {
  if (!delta_cursor_find_tree(cursor)) return;
  delta_probe probe = delta_probe_make(key);
  const delta_node *leaf = delta_tree_descend(cursor->tree, &probe, false, true);
  delta_cursor_settle(cursor, delta_cursor_seek_right(cursor, leaf, &probe, false), true);
}

void kl_delta_cursor_seek_le(kl_delta_cursor *cursor, kl_slice key) {
  if (!delta_cursor_find_tree(cursor)) return;
  delta_cursor_settle(cursor, delta_cursor_seek_before(cursor, key, true), false);
}

void kl_delta_cursor_first(kl_delta_cursor *cursor) {
  kl_delta_cursor_seek_ge(cursor, kl_slice_make("", 0)); /* the empty key sorts before all others */
}

void kl_delta_cursor_last(kl_delta_cursor *cursor) {
  if (!delta_cursor_find_tree(cursor)) return;
  delta_cursor_settle(cursor, delta_cursor_seek_last(cursor), false);
}

void kl_delta_cursor_next(kl_delta_cursor *cursor) {
  if (cursor->valid) delta_cursor_settle(cursor, delta_cursor_step_right(cursor), true);
}

void kl_delta_cursor_prev(kl_delta_cursor *cursor) {
  if (cursor->valid) delta_cursor_settle(cursor, delta_cursor_step_left(cursor), false);
}
