/* core/tree/join.c: a merge in parts, on several threads, and how its parts become one tree.
 *
 * Cuts are keys, any keys. A page of the old tree *straddles* when a cut lies inside of its range: neither its low key,
 * nor behind its last. Every other page is of one part, which frees it when it opens it. The pages that straddle are
 * opened by each part that they reach into, for what is theirs, and freed by whoever joins (TREE-11).
 *
 * A part is built as any tree is, with a root of its own; so all of its pages but the root are large enough (TREE-6).
 * Joining gives the children of the roots to one builder, one behind the other, as a merge does with what it keeps: it
 * opens, and shares evenly, where they do not fit. Roots of different levels need nothing else: a builder takes pages of
 * any level. */
#include "merge.h"

static bool tree_part_straddles(const kl_tree_part *part, const tree_range *range) {
  if (kl_slice_compare(range->low, part->low) < 0) return true;
  return part->has_high && (!range->has_high || kl_slice_compare(range->high, part->high) > 0);
}

/* What a leaf that straddles has for the part. */
static kl_status tree_part_leaf(tree_merge *merge, const uint8_t *page, const tree_range *range,
                                const kl_tree_part *part, kl_error *err) {
  tree_range inside = *range;
  tree_keys keys = tree_leaf_keys(page);
  uint32_t end = keys.count;
  bool equal;
  if (kl_slice_compare(inside.low, part->low) < 0) inside.low = part->low;
  if (part->has_high) {
    end = tree_keys_search(&keys, part->high, &equal);
    if (!inside.has_high || kl_slice_compare(inside.high, part->high) > 0) inside.high = part->high;
    inside.has_high = true;
  }
  return tree_merge_leaf(merge, page, tree_keys_search(&keys, part->low, &equal), end, &inside, err);
}

/* What a page that straddles has for the part; the page is not freed. The recursion goes down one level at a time. */
static kl_status tree_part_page(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level,
                                const tree_range *range, const kl_tree_part *part, kl_error *err) {
  const uint8_t *page = NULL;
  bool equal;
  kl_status status = tree_frames_load(&merge->frames, pointer, level, &page, err);
  if (status != KL_OK) return status;
  level = tree_page_level(page);
  if (level == 0) return tree_part_leaf(merge, page, range, part, err);
  tree_keys keys = tree_inner_keys(page);
  uint32_t count = tree_page_count(page);
  /* A separator that is `high` ends the child before it. */
  uint32_t last = part->has_high ? tree_keys_search(&keys, part->high, &equal) : count - 1;
  for (uint32_t i = tree_inner_search(page, part->low); i <= last && status == KL_OK; i++) {
    kl_tree_pointer child;
    tree_range below = *range;
    tree_inner_child(page, i, &child);
    below.low = tree_merge_low(page, i, range->low, merge->bound[level].low);
    if (i + 1 < count) {
      below.high = tree_merge_low(page, i + 1, range->low, merge->bound[level].high);
      below.has_high = true;
    }
    if (tree_part_straddles(part, &below)) {
      status = tree_part_page(merge, &child, level - 1, &below, part, err);
    } else if (tree_merge_change_within(merge, &below)) {
      status = tree_merge_page(merge, &child, level - 1, &below, err);
    } else {
      status = tree_merge_keep(merge, &child, level - 1, below.low, tree_inner_rows(page, i), err);
    }
  }
  return status;
}

/* The old tree's pages in the range of the part, and the changes there. */
static kl_status tree_part_old(tree_merge *merge, const kl_tree_part *part, kl_error *err) {
  tree_range all = {{NULL, 0}, {NULL, 0}, false};
  if (kl_tree_pointer_is_null(&merge->root)) return KL_OK;
  return tree_part_straddles(part, &all) ? tree_part_page(merge, &merge->root, TREE_LEVEL_ANY, &all, part, err)
                                         : tree_merge_page(merge, &merge->root, TREE_LEVEL_ANY, &all, err);
}

kl_status kl_tree_merge_part(const kl_tree_merge_options *options, const kl_tree_pointer *root,
                             const kl_tree_changes *changes, kl_tree_part *part, kl_tree_merge_stats *out_stats,
                             kl_error *err) {
  tree_merge *merge = NULL;
  kl_status status = tree_merge_new(options, root, changes, &merge, err);
  if (status != KL_OK) return status;
  merge->part = part;
  status = tree_merge_advance(merge, err);
  bool changed = merge->has_change;
  kl_tree_pointer new_root = {0};
  if (status == KL_OK && changed) {
    status = tree_part_old(merge, part, err);
    while (status == KL_OK && merge->has_change) status = tree_merge_apply(merge, part->low, err);
    if (status == KL_OK) status = tree_merge_finish(merge, &new_root, err);
  }
  if (status == KL_OK) {
    part->changed = changed;
    part->root = new_root;
    if (out_stats != NULL) *out_stats = merge->stats;
  }
  tree_merge_free(merge);
  return status;
}

/* -------- joining -------- */

/* Frees a page that the cuts before parts `from` to `to` lie inside of, and those below it that straddle. */
static kl_status tree_join_free(tree_merge *merge, const kl_tree_pointer *pointer, uint32_t level, kl_slice low,
                                const kl_tree_part *from, const kl_tree_part *to, kl_error *err) {
  const uint8_t *page = NULL;
  kl_status status = tree_merge_open(merge, pointer, level, &page, err);
  if (status != KL_OK) return status;
  level = tree_page_level(page);
  if (level == 0) return KL_OK;
  uint32_t count = tree_page_count(page);
  while (from < to && status == KL_OK) {
    uint32_t i = tree_inner_search(page, from->low);
    kl_slice child_low = tree_merge_low(page, i, low, merge->bound[level].low), child_high = {NULL, 0};
    const kl_tree_part *end = from + 1;
    if (kl_slice_compare(from->low, child_low) == 0) { /* a cut between two children */
      from = end;
      continue;
    }
    if (i + 1 < count) child_high = tree_merge_low(page, i + 1, low, merge->bound[level].high);
    while (end < to && (i + 1 == count || kl_slice_compare(end->low, child_high) < 0)) end++;
    kl_tree_pointer child;
    tree_inner_child(page, i, &child);
    status = tree_join_free(merge, &child, level - 1, child_low, from, end, err);
    from = end;
  }
  return status;
}

static kl_status tree_join_check(const kl_tree_part *parts, size_t count, bool *out_changed, kl_error *err) {
  *out_changed = false;
  bool whole = count != 0 && parts[0].low.size == 0 && !parts[count - 1].has_high;
  for (size_t i = 0; i < count && whole; i++) {
    *out_changed |= parts[i].changed;
    if (i + 1 == count) break;
    whole = parts[i].has_high && kl_slice_compare(parts[i].high, parts[i + 1].low) == 0 &&
            kl_slice_compare(parts[i].low, parts[i].high) < 0;
  }
  if (whole) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "tree: parts that are not one behind the other, or not all of a tree");
}

static kl_status tree_join_run(tree_merge *merge, const kl_tree_part *parts, size_t count, kl_tree_pointer *out_root,
                               kl_error *err) {
  kl_slice least = {NULL, 0};
  kl_status status = KL_OK;
  for (size_t i = 0; i < count && status == KL_OK; i++) {
    if (!parts[i].changed) {
      status = tree_part_old(merge, &parts[i], err);
    } else if (!kl_tree_pointer_is_null(&parts[i].root)) {
      status = tree_merge_spill(merge, &parts[i].root, TREE_LEVEL_ANY, parts[i].low, err);
    }
  }
  if (status == KL_OK && count > 1 && !kl_tree_pointer_is_null(&merge->root)) {
    status = tree_join_free(merge, &merge->root, TREE_LEVEL_ANY, least, parts + 1, parts + count, err);
  }
  return status == KL_OK ? tree_merge_finish(merge, out_root, err) : status;
}

kl_status kl_tree_join(const kl_tree_merge_options *options, const kl_tree_pointer *root, const kl_tree_part *parts,
                       size_t count, kl_tree_pointer *out_root, kl_tree_merge_stats *out_stats, kl_error *err) {
  tree_merge *merge = NULL;
  kl_tree_pointer new_root = {0};
  bool changed = false;
  kl_status status = tree_join_check(parts, count, &changed, err);
  if (status != KL_OK) return status;
  if (!changed || count == 1) {
    *out_root = changed ? parts[0].root : *root;
    if (out_stats != NULL) memset(out_stats, 0, sizeof *out_stats);
    return KL_OK;
  }
  status = tree_merge_new(options, root, NULL, &merge, err);
  if (status != KL_OK) return status;
  status = tree_join_run(merge, parts, count, &new_root, err);
  if (status == KL_OK) {
    *out_root = new_root;
    if (out_stats != NULL) *out_stats = merge->stats;
  }
  tree_merge_free(merge);
  return status;
}
