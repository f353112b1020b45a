/* core/tree/merge.c: an old tree and a sorted run of changes become a new tree.
 *
 * One pass from left to right. A page in whose range no change falls is taken as it is, with all below it; any other
 * is opened: rows of leaves are merged with the changes and go to the builder, inner pages give their children one by
 * one. A page is opened too when the builder refuses it, because what lies before it would be left too small (TREE-6).
 * Changes are given to children by the separators of the old tree, so that an old separator stays true in the new one
 * (TREE-5). */
#include "merge.h"

#include "../base/assert.h"

static kl_status tree_merge_check_change(tree_merge *merge, kl_error *err) {
  const kl_tree_change *change = &merge->change;
  if (change->kind < KL_TREE_PUT || change->kind > KL_TREE_DELETE) {
    return kl_fail(err, KL_E_INVALID, "tree: change of kind %d; give put, put extent or delete", (int)change->kind);
  }
  if (change->key.size > KL_TREE_KEY_MAX) {
    return kl_fail(err, KL_E_KEY_SIZE, "tree: key of %zu bytes; at most %d fit", change->key.size, KL_TREE_KEY_MAX);
  }
  if (merge->any_change && kl_slice_compare(kl_slice_make(merge->last, merge->last_size), change->key) >= 0) {
    return kl_fail(err, KL_E_INVALID, "tree: changes are not in strictly ascending order of keys; sort them first");
  }
  const kl_tree_part *part = merge->part;
  if (part != NULL && (kl_slice_compare(change->key, part->low) < 0 ||
                       (part->has_high && kl_slice_compare(change->key, part->high) >= 0))) {
    return kl_fail(err, KL_E_INVALID, "tree: a change outside of its part of the tree; give each part its own");
  }
  if (change->key.size != 0) memcpy(merge->last, change->key.data, change->key.size);
  merge->last_size = change->key.size;
  merge->any_change = true;
  return KL_OK;
}

kl_status tree_merge_advance(tree_merge *merge, kl_error *err) {
  const kl_tree_source *source = merge->options->source;
  merge->has_change = false;
  for (;;) {
    memset(&merge->change, 0, sizeof merge->change);
    kl_status status = merge->changes->next(merge->changes->context, &merge->change, err);
    if (status == KL_E_NOT_FOUND) return KL_OK;
    if (status == KL_OK) status = tree_merge_check_change(merge, err);
    if (status != KL_OK) return status;
    if (merge->change.kind != KL_TREE_DELETE) break;
    if (kl_tree_pointer_is_null(&merge->root)) continue;
    kl_tree_value value;
    status = kl_tree_get(source, &merge->root, merge->change.key, &value, err);
    if (source->pause != NULL) source->pause(source->context);
    if (status == KL_OK) break;
    if (status != KL_E_NOT_FOUND) return status;
  }
  merge->has_change = true;
  return KL_OK;
}

bool tree_merge_change_within(const tree_merge *merge, const tree_range *range) {
  return merge->has_change && (!range->has_high || kl_slice_compare(merge->change.key, range->high) < 0);
}

static kl_status tree_merge_free_page(tree_merge *merge, const kl_tree_pointer *pointer, kl_error *err) {
  const kl_tree_freed *freed = merge->options->freed;
  merge->stats.pages_freed++;
  return freed != NULL && freed->page != NULL ? freed->page(freed->context, pointer, err) : KL_OK;
}

static kl_status tree_merge_free_value(tree_merge *merge, const kl_tree_value *value, kl_error *err) {
  const kl_tree_freed *freed = merge->options->freed;
  if (!value->is_extent) return KL_OK;
  merge->stats.extents_freed++;
  if (freed == NULL || freed->extent == NULL) return KL_OK;
  kl_tree_extent extent;
  kl_tree_value_extent(value, &extent);
  return freed->extent(freed->context, &extent, err);
}

kl_status tree_merge_open(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, const uint8_t **out_page,
                          kl_error *err) {
  kl_status status = tree_frames_load(&merge->frames, pointer, level, out_page, err);
  return status == KL_OK ? tree_merge_free_page(merge, pointer, err) : status;
}

kl_status tree_merge_apply(tree_merge *merge, kl_slice low, kl_error *err) {
  const kl_tree_change *change = &merge->change;
  const kl_tree_sink *sink = merge->options->sink;
  uint8_t reference[KL_TREE_EXTENT_SIZE];
  kl_slice value = change->value;
  kl_tree_extent extent = change->extent;
  bool is_extent = change->kind == KL_TREE_PUT_EXTENT;
  if (change->kind == KL_TREE_DELETE) {
    merge->stats.deletes++;
    return tree_merge_advance(merge, err);
  }
  if (!is_extent && value.size > kl_tree_inline_max(merge->options->page_size)) {
    if (sink->write_extent == NULL) {
      return kl_fail(err, KL_E_VALUE_SIZE,
                     "tree: value of %zu bytes, and no place for extents; at most %zu fit in a leaf", value.size,
                     kl_tree_inline_max(merge->options->page_size));
    }
    kl_status status = sink->write_extent(sink->context, value, &extent, err);
    if (status != KL_OK) return status;
    merge->stats.extents_written++;
    is_extent = true;
  }
  if (is_extent) {
    tree_extent_encode(&extent, reference);
    value = kl_slice_make(reference, sizeof reference);
  }
  kl_status status = tree_builder_row(&merge->builder, low, change->key, value, is_extent, err);
  if (status != KL_OK) return status;
  merge->stats.puts++;
  return tree_merge_advance(merge, err);
}

/* -------- moving -------- */

static bool tree_merge_moves_extent(const tree_merge *merge, const kl_tree_value *value, kl_tree_extent *out_extent) {
  const kl_tree_move *move = merge->options->move;
  if (move == NULL || move->extent == NULL || !value->is_extent) return false;
  kl_tree_value_extent(value, out_extent);
  return move->extent(move->context, out_extent);
}

/* Whether a page, or anything below it, shall not stay where it is. Reads into the frames of `level` and below, which
 * nobody is using. The recursion goes down one level at a time. */
static kl_status tree_merge_moves(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, bool *out_moves,
                                  kl_error *err) {
  const kl_tree_move *move = merge->options->move;
  const uint8_t *page = NULL;
  kl_tree_extent extent;
  *out_moves = false;
  if (move == NULL || (move->over != NULL && move->over(move->context))) return KL_OK;
  *out_moves = move->page(move->context, pointer);
  if (*out_moves || (level == 0 && move->extent == NULL)) return KL_OK;
  kl_status status = tree_frames_load(&merge->frames, pointer, level, &page, err);
  if (status != KL_OK) return status;
  level = tree_page_level(page);
  if (level == 0) {
    tree_keys keys = tree_leaf_keys(page);
    for (uint32_t i = 0; i < keys.count && !*out_moves; i++) {
      kl_tree_value value;
      tree_leaf_value(&keys, i, &value);
      *out_moves = tree_merge_moves_extent(merge, &value, &extent);
    }
    return KL_OK;
  }
  for (uint32_t i = 0; i < tree_page_count(page) && status == KL_OK && !*out_moves; i++) {
    kl_tree_pointer child;
    tree_inner_child(page, i, &child);
    status = tree_merge_moves(merge, &child, level - 1, out_moves, err);
  }
  return status;
}

/* Adds a row of the old tree that stays, with its extent moved where that is wanted. */
static kl_status tree_merge_row(tree_merge *merge, kl_slice low, kl_slice key, const kl_tree_value *value,
                                kl_error *err) {
  const kl_tree_move *move = merge->options->move;
  uint8_t reference[KL_TREE_EXTENT_SIZE];
  kl_tree_extent extent, copy;
  kl_slice bytes = value->bytes;
  if (tree_merge_moves_extent(merge, value, &extent)) {
    bool moved = false;
    kl_status status = move->copy(move->context, &extent, &copy, &moved, err);
    if (status == KL_OK && moved) {
      merge->stats.extents_written++;
      tree_extent_encode(&copy, reference);
      bytes = kl_slice_make(reference, sizeof reference);
      status = tree_merge_free_value(merge, value, err);
    }
    if (status != KL_OK) return status;
  }
  return tree_builder_row(&merge->builder, low, key, bytes, value->is_extent, err);
}

kl_status tree_merge_leaf(tree_merge *merge, const uint8_t *page, uint32_t first, uint32_t end, const tree_range *range,
                          kl_error *err) {
  tree_keys keys = tree_leaf_keys(page);
  kl_status status = KL_OK;
  for (uint32_t i = first; i < end && status == KL_OK; i++) {
    kl_tree_value value;
    kl_slice key = tree_keys_copy(&keys, i, merge->key);
    int order = 1; /* of the change at hand, against this row */
    while (status == KL_OK && tree_merge_change_within(merge, range)) {
      order = kl_slice_compare(merge->change.key, key);
      if (order >= 0) break;
      status = tree_merge_apply(merge, range->low, err);
      order = 1;
    }
    if (status != KL_OK) return status;
    tree_leaf_value(&keys, i, &value);
    if (order == 0) { /* the change replaces or removes the row */
      status = tree_merge_free_value(merge, &value, err);
      if (status == KL_OK) status = tree_merge_apply(merge, range->low, err);
    } else {
      status = tree_merge_row(merge, range->low, key, &value, err);
    }
  }
  while (status == KL_OK && tree_merge_change_within(merge, range)) status = tree_merge_apply(merge, range->low, err);
  return status;
}

kl_slice tree_merge_low(const uint8_t *page, uint32_t i, kl_slice page_low, uint8_t *out) {
  if (i == 0) return page_low;
  tree_keys keys = tree_inner_keys(page);
  return tree_keys_copy(&keys, i - 1, out);
}

kl_status tree_merge_spill(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, kl_slice low,
                           kl_error *err) {
  const uint8_t *page = NULL;
  kl_status status = tree_merge_open(merge, pointer, level, &page, err);
  if (status != KL_OK) return status;
  level = tree_page_level(page);
  if (level == 0) {
    tree_keys keys = tree_leaf_keys(page);
    for (uint32_t i = 0; i < keys.count && status == KL_OK; i++) {
      kl_tree_value value;
      tree_leaf_value(&keys, i, &value);
      kl_slice key = tree_keys_copy(&keys, i, merge->key);
      status = tree_merge_row(merge, low, key, &value, err);
    }
    return status;
  }
  for (uint32_t i = 0; i < tree_page_count(page) && status == KL_OK; i++) {
    kl_tree_pointer child;
    tree_inner_child(page, i, &child);
    kl_slice child_low = tree_merge_low(page, i, low, merge->bound[level].low);
    status = tree_merge_keep(merge, &child, level - 1, child_low, tree_inner_rows(page, i), err);
  }
  return status;
}

kl_status tree_merge_keep(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, kl_slice low,
                          uint64_t rows, kl_error *err) {
  bool taken = false, moves = false;
  kl_status status = tree_merge_moves(merge, pointer, level, &moves, err);
  if (status == KL_OK && !moves) {
    status = tree_builder_take(&merge->builder, level, low, pointer, rows, &taken, err);
  }
  if (status != KL_OK || taken) return status;
  return tree_merge_spill(merge, pointer, level, low, err);
}

kl_status tree_merge_page(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, const tree_range *range,
                          kl_error *err) {
  const uint8_t *page = NULL;
  kl_status status = tree_merge_open(merge, pointer, level, &page, err);
  if (status != KL_OK) return status;
  level = tree_page_level(page);
  if (level == 0) return tree_merge_leaf(merge, page, 0, tree_page_count(page), range, err);
  uint32_t count = tree_page_count(page);
  for (uint32_t i = 0; i < count && status == KL_OK;) {
    uint32_t next = tree_merge_change_within(merge, range) ? tree_inner_search(page, merge->change.key) : count;
    if (next < i) return KL_BROKEN(err, "TREE-5: a change below child %u came after it", (unsigned)i);
    kl_tree_pointer child;
    for (; i < next && status == KL_OK; i++) {
      tree_inner_child(page, i, &child);
      kl_slice low = tree_merge_low(page, i, range->low, merge->bound[level].low);
      status = tree_merge_keep(merge, &child, level - 1, low, tree_inner_rows(page, i), err);
    }
    if (status != KL_OK || i == count) break;
    tree_range below = *range;
    below.low = tree_merge_low(page, i, range->low, merge->bound[level].low);
    if (i + 1 < count) {
      below.high = tree_merge_low(page, i + 1, range->low, merge->bound[level].high);
      below.has_high = true;
    }
    tree_inner_child(page, i, &child);
    status = tree_merge_page(merge, &child, level - 1, &below, err);
    i++;
  }
  return status;
}

/* What is pending at `level` is too small for a page, and nothing comes behind it: joins it with the page before it. */
static kl_status tree_merge_borrow(tree_merge *merge, uint32_t level, kl_error *err) {
  tree_builder *builder = &merge->builder;
  uint8_t low[KL_TREE_KEY_MAX];
  size_t low_size = 0;
  kl_tree_pointer pointer;
  const uint8_t *page = NULL;
  if (builder->level[level + 1].count == 0) { /* it is the last page below an entry further up */
    kl_status status = tree_merge_borrow(merge, level + 1, err);
    if (status != KL_OK) return status;
  }
  tree_builder_untake(builder, level, &pointer, low, &low_size);
  kl_status status = tree_merge_open(merge, &pointer, level, &page, err);
  if (status != KL_OK) return status;
  return tree_builder_prepend(builder, level, page, kl_slice_make(low, low_size), err);
}

kl_status tree_merge_finish(tree_merge *merge, kl_tree_pointer *out_root, kl_error *err) {
  tree_builder *builder = &merge->builder;
  memset(out_root, 0, sizeof *out_root);
  for (uint32_t level = 0; level < KL_TREE_LEVELS; level++) {
    uint32_t top = tree_builder_top(builder);
    if (top == KL_TREE_LEVELS) return KL_OK;
    if (level < top && tree_builder_is_underfull(builder, level)) {
      kl_status status = tree_merge_borrow(merge, level, err);
      if (status != KL_OK) return status;
      top = tree_builder_top(builder);
    }
    const tree_level *pending = &builder->level[level];
    if (level > 0 && level == top && pending->count == 1) {
      const uint8_t *value = pending->data + pending->entries[0].at + pending->entries[0].key_size;
      tree_pointer_decode(value, out_root);
      merge->stats.rows = kl_load_u64_le(value + KL_TREE_POINTER_SIZE);
      return KL_OK;
    }
    kl_status status = tree_builder_flush(builder, level, err);
    if (status != KL_OK) return status;
  }
  return KL_BROKEN(err, "TREE-7: no root came out of a merge");
}

static kl_status tree_merge_run(tree_merge *merge, kl_tree_pointer *out_root, kl_error *err) {
  tree_range all = {{NULL, 0}, {NULL, 0}, false};
  kl_status status = tree_merge_advance(merge, err);
  if (status != KL_OK) return status;
  if (!merge->has_change) {
    bool moves = false;
    if (!kl_tree_pointer_is_null(&merge->root)) {
      status = tree_merge_moves(merge, &merge->root, TREE_LEVEL_ANY, &moves, err);
    }
    if (status != KL_OK || !moves) {
      *out_root = merge->root;
      return status;
    }
  }
  if (!kl_tree_pointer_is_null(&merge->root)) {
    status = tree_merge_page(merge, &merge->root, TREE_LEVEL_ANY, &all, err);
  }
  while (status == KL_OK && merge->has_change) status = tree_merge_apply(merge, all.low, err);
  return status == KL_OK ? tree_merge_finish(merge, out_root, err) : status;
}

kl_status tree_merge_new(const kl_tree_merge_options *options, const kl_tree_pointer *root,
                         const kl_tree_changes *changes, tree_merge **out_merge, kl_error *err) {
  if (!kl_tree_pointer_is_null(root) && options->source == NULL) {
    return kl_fail(err, KL_E_INVALID, "tree: no source to read the old tree from; give one");
  }
  tree_merge *merge = kl_alloc(options->allocator, sizeof *merge); /* some 80 KiB: too much for a stack */
  if (merge == NULL) return kl_fail(err, KL_E_NO_MEMORY, "tree: no memory for a merge; free some and try again");
  merge->options = options;
  merge->changes = changes;
  merge->root = *root;
  merge->frames =
      (tree_frames){.allocator = options->allocator, .source = options->source, .page_size = options->page_size};
  kl_status status = tree_builder_init(&merge->builder, options, &merge->stats, err);
  if (status == KL_OK) {
    *out_merge = merge;
  } else {
    kl_free(options->allocator, merge, sizeof *merge);
  }
  return status;
}

void tree_merge_free(tree_merge *merge) {
  tree_frames_free(&merge->frames);
  tree_builder_free(&merge->builder);
  kl_free(merge->options->allocator, merge, sizeof *merge);
}

kl_status kl_tree_merge(const kl_tree_merge_options *options, const kl_tree_pointer *root,
                        const kl_tree_changes *changes, kl_tree_pointer *out_root, kl_tree_merge_stats *out_stats,
                        kl_error *err) {
  kl_tree_pointer new_root;
  tree_merge *merge = NULL;
  kl_status status = tree_merge_new(options, root, changes, &merge, err);
  if (status != KL_OK) return status;
  status = tree_merge_run(merge, &new_root, err);
  if (status == KL_OK) {
    *out_root = new_root;
    if (out_stats != NULL) *out_stats = merge->stats;
  }
  tree_merge_free(merge);
  return status;
}

/* Passes changes on, but no deletes. */
static kl_status tree_build_next(void *context, kl_tree_change *out_change, kl_error *err) {
  const kl_tree_changes *rows = context;
  kl_status status = rows->next(rows->context, out_change, err);
  if (status == KL_OK && out_change->kind == KL_TREE_DELETE) {
    return kl_fail(err, KL_E_INVALID, "tree: a delete among the rows of a bulk load; merge it instead");
  }
  return status;
}

kl_status kl_tree_build(const kl_tree_merge_options *options, const kl_tree_changes *rows, kl_tree_pointer *out_root,
                        kl_tree_merge_stats *out_stats, kl_error *err) {
  kl_tree_pointer empty = {0};
  kl_tree_changes puts = *rows, filtered = {tree_build_next, &puts};
  return kl_tree_merge(options, &empty, &filtered, out_root, out_stats, err);
}
