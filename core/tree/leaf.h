/* core/tree/leaf.h: the rows of a leaf, for whoever reads many of them: a scan that asks a cursor for each row pays two
 * calls a row, and this costs none.
 *
 * kl_tree_cursor_leaf shows the leaf that a cursor stands in; the functions below read it; kl_tree_cursor_stand puts
 * the cursor on another row of it. All that is shown is valid as the cursor's row is: until the cursor moves to another
 * leaf, is parked, or the epoch is left. */
#ifndef KL_TREE_LEAF_H
#define KL_TREE_LEAF_H

#include "page.h"

typedef struct kl_tree_leaf {
  tree_keys keys;  /* private */
  uint32_t index;  /* the row at the cursor */
  uint32_t count;  /* rows of the leaf */
  kl_slice prefix; /* what every key of it begins with */
} kl_tree_leaf;

/* KL_E_NOT_FOUND: the cursor is nowhere. Errors as kl_tree_cursor_row. */
kl_status kl_tree_cursor_leaf(kl_tree_cursor *cursor, kl_tree_leaf *out_leaf, kl_error *err);
/* `index` < leaf->count, of the leaf that was shown last. */
void kl_tree_cursor_stand(kl_tree_cursor *cursor, uint32_t index);

/* The key without the prefix. */
static inline kl_slice kl_tree_leaf_suffix(const kl_tree_leaf *leaf, uint32_t i) {
  return tree_keys_suffix(&leaf->keys, i);
}
static inline void kl_tree_leaf_value(const kl_tree_leaf *leaf, uint32_t i, kl_tree_value *out_value) {
  tree_leaf_value(&leaf->keys, i, out_value);
}
/* The whole key, put together in `out` (KL_TREE_KEY_MAX bytes). */
static inline kl_slice kl_tree_leaf_key(const kl_tree_leaf *leaf, uint32_t i, uint8_t *out) {
  return tree_keys_copy(&leaf->keys, i, out);
}

/* Of a whole page: 0 is a leaf. */
static inline uint32_t kl_tree_page_level(const uint8_t *page) {
  return tree_page_level(page);
}

#endif
