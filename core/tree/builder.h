/* core/tree/builder.h: writes a tree bottom-up, from its rows in order. Private to core/tree.
 *
 * Each level collects entries: rows at level 0, pages of the level below above that. It keeps up to two pages' worth:
 * when a third would begin, the first is written and becomes an entry of the level above. So the last two pages of a
 * run can still share their entries evenly, and no page is written before its size is known.
 *
 * Besides rows it takes whole subtrees of an old tree (tree_builder_take), between two rows, where that leaves no page
 * behind that is too small. Call order: rows and subtrees ascending; then each level from the leaves up is flushed,
 * until one page is left (merge.c); then tree_builder_free. */
#ifndef KL_TREE_BUILDER_H
#define KL_TREE_BUILDER_H

#include "page.h"

typedef struct tree_level {
  uint8_t *data;
  size_t data_size, data_capacity;
  tree_entry *entries;
  size_t count, capacity;
  size_t start;                 /* the page in progress begins at this entry; those before it are a full page */
  uint8_t low[KL_TREE_KEY_MAX]; /* level 0: a key behind all before the first entry, and not behind the first entry */
  size_t low_size;
} tree_level;

typedef struct tree_builder {
  kl_allocator *allocator;
  const kl_tree_sink *sink;
  uint32_t page_size;
  size_t target;    /* bytes at which a page is full */
  size_t underfull; /* bytes below which it is joined with a neighbour */
  uint8_t *page;    /* being encoded */
  kl_tree_merge_stats *stats;
  tree_level level[KL_TREE_LEVELS];
} tree_builder;

/* KL_E_INVALID (page size, fill, sink), KL_E_NO_MEMORY. `stats` outlives the builder. */
kl_status tree_builder_init(tree_builder *builder, const kl_tree_merge_options *options, kl_tree_merge_stats *stats,
                            kl_error *err);
void tree_builder_free(tree_builder *builder);

/* Adds a row. `low`: a key behind everything that was added before and not behind this one; it counts only where
 * nothing is pending at level 0 (the row is the first, or the first behind a subtree). */
kl_status tree_builder_row(tree_builder *builder, kl_slice low, kl_slice key, kl_slice value, bool is_extent,
                           kl_error *err);

/* Tries to add a page of `level` with all that hangs below it. *out_taken false: what is pending would be left too
 * small; the caller opens the page and adds its contents instead. */
kl_status tree_builder_take(tree_builder *builder, uint32_t level, kl_slice low, const kl_tree_pointer *pointer,
                            uint64_t rows, bool *out_taken, kl_error *err);

/* The highest level that holds entries; KL_TREE_LEVELS: none does. */
uint32_t tree_builder_top(const tree_builder *builder);
bool tree_builder_is_underfull(const tree_builder *builder, uint32_t level);
/* Writes all that is pending at this level. */
kl_status tree_builder_flush(tree_builder *builder, uint32_t level, kl_error *err);

/* Takes back the last entry of level + 1 (there is one) into *out_pointer and its low key. */
void tree_builder_untake(tree_builder *builder, uint32_t level, kl_tree_pointer *out_pointer, uint8_t *low,
                         size_t *out_low_size);
/* Puts the contents of a page of `level`, whose low key is `low`, in front of what is pending there. */
kl_status tree_builder_prepend(tree_builder *builder, uint32_t level, const uint8_t *page, kl_slice low, kl_error *err);

#endif
