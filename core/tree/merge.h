/* core/tree/merge.h: a merge in progress, for merge.c, which makes whole trees, and join.c, which makes parts of one and
 * joins them. Private to core/tree.
 *
 * One pass from left to right: subtrees of the old tree and changes, in the order of their keys, go to the builder. Each
 * recursion goes down one level at a time. */
#ifndef KL_TREE_MERGE_H
#define KL_TREE_MERGE_H

#include "builder.h"

typedef struct tree_merge {
  tree_builder builder;
  tree_frames frames;
  const kl_tree_merge_options *options;
  const kl_tree_changes *changes;
  const kl_tree_part *part; /* that the changes are of; NULL: of the whole tree */
  kl_tree_merge_stats stats;
  kl_tree_pointer root;  /* of the old tree */
  kl_tree_change change; /* the next one, when `has_change` */
  bool has_change;
  bool any_change; /* there was one already: `last` is its key */
  uint8_t last[KL_TREE_KEY_MAX];
  size_t last_size;
  struct {
    uint8_t low[KL_TREE_KEY_MAX], high[KL_TREE_KEY_MAX];
  } bound[KL_TREE_LEVELS];      /* of the child at hand of the open page of each level */
  uint8_t key[KL_TREE_KEY_MAX]; /* of the row at hand */
} tree_merge;

/* The range of a subtree: [low, high), or [low, end). */
typedef struct tree_range {
  kl_slice low, high;
  bool has_high;
} tree_range;

/* KL_E_INVALID, KL_E_NO_MEMORY. `options` and `changes` outlive it. */
kl_status tree_merge_new(const kl_tree_merge_options *options, const kl_tree_pointer *root,
                         const kl_tree_changes *changes, tree_merge **out_merge, kl_error *err);
void tree_merge_free(tree_merge *merge);

/* Moves on to the next change that changes something: a delete of what is absent would rewrite a path for nothing. */
kl_status tree_merge_advance(tree_merge *merge, kl_error *err);
bool tree_merge_change_within(const tree_merge *merge, const tree_range *range);
/* Adds the row of the change at hand, if it is one, and moves on. */
kl_status tree_merge_apply(tree_merge *merge, kl_slice low, kl_error *err);
/* Where child i begins: the separator before it, put together in `out`; the page's own low key for the first. */
kl_slice tree_merge_low(const uint8_t *page, uint32_t i, kl_slice page_low, uint8_t *out);

/* Loads a page that the new tree will not have. */
kl_status tree_merge_open(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, const uint8_t **out_page,
                          kl_error *err);
/* Rows `first` to `end` of a leaf and the changes in its range, in one order. */
kl_status tree_merge_leaf(tree_merge *merge, const uint8_t *page, uint32_t first, uint32_t end, const tree_range *range,
                          kl_error *err);
/* A subtree with a change in its range. */
kl_status tree_merge_page(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, const tree_range *range,
                          kl_error *err);
/* A subtree without changes: taken whole, or as much of it as the builder takes and as is to stay where it is. */
kl_status tree_merge_keep(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, kl_slice low,
                          uint64_t rows, kl_error *err);
/* The same, but the page itself is opened in any case. */
kl_status tree_merge_spill(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, kl_slice low,
                           kl_error *err);
/* Writes what is pending, from the leaves up, until one page is left: the root. */
kl_status tree_merge_finish(tree_merge *merge, kl_tree_pointer *out_root, kl_error *err);

#endif
