/* core/tree/read.c: point look-ups, one and many; counts, ranks, split points. */
#include "page.h"
#include "probe.h"

/* The row of `key` in a leaf. Candidates are read in order; mostly there is one, and it is the row. */
static bool tree_leaf_find(const uint8_t *page, kl_slice key, uint8_t fingerprint, kl_tree_value *out_value) {
  tree_keys keys = tree_leaf_keys(page);
  size_t prefix = keys.prefix_size;
  for (uint32_t base = 0; base < keys.count; base += 16) {
    uint32_t mask = tree_probe(page + TREE_HEADER + base, fingerprint);
    if (keys.count - base < 16) mask &= (1U << (keys.count - base)) - 1;
    for (; mask != 0; mask &= mask - 1) {
      uint32_t i = base + (uint32_t)__builtin_ctz(mask);
      kl_slice suffix = tree_keys_suffix(&keys, i);
      if (prefix + suffix.size != key.size) continue;
      if (suffix.size != 0 && memcmp(suffix.data, (const uint8_t *)key.data + prefix, suffix.size) != 0) continue;
      if (prefix != 0 && memcmp(keys.prefix, key.data, prefix) != 0) continue;
      tree_leaf_value(&keys, i, out_value);
      return true;
    }
  }
  return false;
}

/* The arrays at a page's start. Always inlined, and line by line: gcc 12 takes a function or a loop that only prefetches
 * for one that does nothing, and removes it. */
__attribute__((always_inline)) static inline void tree_prefetch_arrays(const uint8_t *page) {
  __builtin_prefetch(page);
  __builtin_prefetch(page + 64);
  __builtin_prefetch(page + 128);
  __builtin_prefetch(page + 192);
  __builtin_prefetch(page + 256);
  __builtin_prefetch(page + 320);
}

kl_status kl_tree_get(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice key, kl_tree_value *out_value,
                      kl_error *err) {
  kl_tree_pointer pointer = *root;
  uint32_t level = TREE_LEVEL_ANY;
  const uint8_t *page = NULL;
  if (kl_tree_pointer_is_null(root) || key.size > KL_TREE_KEY_MAX) return KL_E_NOT_FOUND;
  for (;;) {
    kl_status status = tree_load(source, &pointer, level, &page, err);
    if (status != KL_OK) return status;
    /* A search goes through the arrays at the page's start one cache miss after the other; asked for at once, they come
     * side by side. */
    tree_prefetch_arrays(page);
    level = tree_page_level(page);
    if (level == 0) break;
    tree_inner_child(page, tree_inner_search(page, key), &pointer);
    level--;
  }
  return tree_leaf_find(page, key, tree_fingerprint(key), out_value) ? KL_OK : KL_E_NOT_FOUND;
}

/* -------- many keys -------- */

/* A look-up alone waits for one cache miss after the other. Sixteen of them side by side, each a step at a time, wait
 * for sixteen misses at once: every step asks for the line that the next one reads. Sixteen is about what a core keeps
 * in flight. */
typedef struct tree_lane {
  kl_slice key;
  const uint8_t *child; /* where the pointer to the next page stands */
  kl_tree_value *value;
  uint32_t candidate; /* in a leaf: a row with the right fingerprint, or the number of rows */
  uint8_t fingerprint;
} tree_lane;

typedef struct tree_group {
  size_t count;
  tree_lane lane[KL_TREE_GROUP];
  kl_tree_pointer pointer[KL_TREE_GROUP];
  const uint8_t *page[KL_TREE_GROUP];
} tree_group;

/* The first row with this fingerprint; the number of rows where there is none. */
static uint32_t tree_leaf_candidate(const uint8_t *page, uint8_t fingerprint) {
  uint32_t count = tree_page_count(page);
  for (uint32_t base = 0; base < count; base += 16) {
    uint32_t mask = tree_probe(page + TREE_HEADER + base, fingerprint);
    if (mask == 0) continue;
    uint32_t i = base + (uint32_t)__builtin_ctz(mask);
    return i < count ? i : count;
  }
  return count;
}

static kl_status tree_group_load(const kl_tree_source *source, tree_group *group, uint32_t level, kl_error *err) {
  size_t count = group->count;
  if (source->load_many != NULL) {
    kl_status status = source->load_many(source->context, group->pointer, count, group->page, err);
    if (status != KL_OK) return status;
  }
  for (size_t i = 0; i < count && source->prefetch != NULL && source->load_many == NULL; i++) {
    source->prefetch(source->context, &group->pointer[i]);
  }
  for (size_t i = 0; i < count; i++) {
    if (source->load_many == NULL) {
      kl_status status = source->load(source->context, &group->pointer[i], &group->page[i], err);
      if (status != KL_OK) return status;
    }
    tree_prefetch_arrays(group->page[i]);
  }
  for (size_t i = 0; i < count; i++) { /* TREE-3: only now, as it reads the page */
    uint32_t found = tree_page_level(group->page[i]);
    if (found != level) return tree_level_wrong(&group->pointer[i], found, level, err);
  }
  return KL_OK;
}

static void tree_group_leaves(tree_group *group) {
  for (size_t i = 0; i < group->count; i++) {
    tree_lane *lane = &group->lane[i];
    const uint8_t *page = group->page[i];
    lane->fingerprint = tree_fingerprint(lane->key);
    lane->candidate = tree_leaf_candidate(page, lane->fingerprint);
    tree_keys keys = tree_leaf_keys(page);
    if (lane->candidate < keys.count) __builtin_prefetch(keys.slots + 4 * (size_t)lane->candidate);
  }
  for (size_t i = 0; i < group->count; i++) {
    tree_keys keys = tree_leaf_keys(group->page[i]);
    uint32_t candidate = group->lane[i].candidate;
    if (candidate < keys.count) __builtin_prefetch(tree_keys_suffix(&keys, candidate).data);
  }
  for (size_t i = 0; i < group->count; i++) {
    tree_lane *lane = &group->lane[i];
    if (lane->candidate < tree_page_count(group->page[i])) {
      (void)tree_leaf_find(group->page[i], lane->key, lane->fingerprint, lane->value);
    }
  }
}

static kl_status tree_group_get(const kl_tree_source *source, const uint8_t *root, tree_group *group, kl_error *err) {
  for (size_t i = 0; i < group->count; i++) group->page[i] = root;
  for (uint32_t level = tree_page_level(root); level > 0; level--) {
    for (size_t i = 0; i < group->count; i++) {
      tree_lane *lane = &group->lane[i];
      lane->child = tree_inner_child_at(group->page[i], tree_inner_search(group->page[i], lane->key));
      __builtin_prefetch(lane->child);
    }
    for (size_t i = 0; i < group->count; i++) tree_pointer_decode(group->lane[i].child, &group->pointer[i]);
    kl_status status = tree_group_load(source, group, level - 1, err);
    if (status != KL_OK) return status;
  }
  tree_group_leaves(group);
  return KL_OK;
}

kl_status kl_tree_get_many(const kl_tree_source *source, const kl_tree_pointer *root, const kl_slice *keys,
                           size_t count, kl_tree_value *out_values, kl_error *err) {
  tree_group group;
  const uint8_t *page = NULL;
  if (count != 0) memset(out_values, 0, count * sizeof *out_values);
  if (count == 0 || kl_tree_pointer_is_null(root)) return KL_OK;
  kl_status status = tree_load(source, root, TREE_LEVEL_ANY, &page, err);
  for (size_t i = 0; i < count && status == KL_OK;) {
    group.count = 0;
    for (; i < count && group.count < KL_TREE_GROUP; i++) {
      if (keys[i].size > KL_TREE_KEY_MAX) continue;
      group.lane[group.count].key = keys[i];
      group.lane[group.count].value = &out_values[i];
      group.count++;
    }
    status = tree_group_get(source, page, &group, err);
  }
  return status;
}

/* -------- counts -------- */

static uint64_t tree_page_rows(const uint8_t *page) {
  if (tree_page_level(page) == 0) return tree_page_count(page);
  uint64_t rows = 0;
  for (uint32_t i = 0; i < tree_page_count(page); i++) rows += tree_inner_rows(page, i);
  return rows;
}

kl_status kl_tree_rows(const kl_tree_source *source, const kl_tree_pointer *root, uint64_t *out_rows, kl_error *err) {
  const uint8_t *page = NULL;
  *out_rows = 0;
  if (kl_tree_pointer_is_null(root)) return KL_OK;
  kl_status status = tree_load(source, root, TREE_LEVEL_ANY, &page, err);
  if (status == KL_OK) *out_rows = tree_page_rows(page);
  return status;
}

kl_status kl_tree_rank(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice key, uint64_t *out_rank,
                       kl_error *err) {
  kl_tree_pointer pointer = *root;
  uint32_t level = TREE_LEVEL_ANY;
  const uint8_t *page = NULL;
  bool equal;
  *out_rank = 0;
  if (kl_tree_pointer_is_null(root)) return KL_OK;
  for (;;) {
    kl_status status = tree_load(source, &pointer, level, &page, err);
    if (status != KL_OK) return status;
    level = tree_page_level(page);
    if (level == 0) break;
    uint32_t child = tree_inner_search(page, key);
    for (uint32_t i = 0; i < child; i++) *out_rank += tree_inner_rows(page, i);
    tree_inner_child(page, child, &pointer);
    level--;
  }
  tree_keys keys = tree_leaf_keys(page);
  *out_rank += tree_keys_search(&keys, key, &equal);
  return KL_OK;
}

/* The ranks at which a range begins and ends. */
static kl_status tree_range_ranks(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice low,
                                  const kl_slice *high, uint64_t *out_first, uint64_t *out_end, kl_error *err) {
  kl_status status = kl_tree_rank(source, root, low, out_first, err);
  if (status != KL_OK) return status;
  status = high != NULL ? kl_tree_rank(source, root, *high, out_end, err) : kl_tree_rows(source, root, out_end, err);
  if (status == KL_OK && *out_end < *out_first) *out_end = *out_first; /* high before low: an empty range */
  return status;
}

kl_status kl_tree_count(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice low, const kl_slice *high,
                        uint64_t *out_count, kl_error *err) {
  uint64_t first = 0, end = 0;
  kl_status status = tree_range_ranks(source, root, low, high, &first, &end, err);
  *out_count = end - first;
  return status;
}

kl_status kl_tree_select(const kl_tree_source *source, const kl_tree_pointer *root, uint64_t rank, uint8_t *out_key,
                         size_t *out_size, kl_error *err) {
  kl_tree_pointer pointer = *root;
  uint32_t level = TREE_LEVEL_ANY;
  const uint8_t *page = NULL;
  if (kl_tree_pointer_is_null(root)) return KL_E_NOT_FOUND;
  for (;;) {
    kl_status status = tree_load(source, &pointer, level, &page, err);
    if (status != KL_OK) return status;
    level = tree_page_level(page);
    uint32_t count = tree_page_count(page), child = 0;
    if (level == 0) {
      if (rank >= count) return KL_E_NOT_FOUND;
      tree_keys keys = tree_leaf_keys(page);
      *out_size = tree_keys_copy(&keys, (uint32_t)rank, out_key).size;
      return KL_OK;
    }
    for (; child < count && rank >= tree_inner_rows(page, child); child++) rank -= tree_inner_rows(page, child);
    if (child == count) return KL_E_NOT_FOUND;
    tree_inner_child(page, child, &pointer);
    level--;
  }
}

kl_status kl_tree_split_points(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice low,
                               const kl_slice *high, size_t wanted, kl_tree_split *out_splits, size_t *out_count,
                               kl_error *err) {
  uint64_t first = 0, end = 0;
  *out_count = 0;
  kl_status status = tree_range_ranks(source, root, low, high, &first, &end, err);
  if (status != KL_OK) return status;
  uint64_t rows = end - first, parts = rows <= wanted ? rows : (uint64_t)wanted + 1;
  for (uint64_t i = 1; i < parts; i++) {
    /* first + rows * i / parts, which must not overflow: the quotient and what is left of it apart. */
    uint64_t rank = first + rows / parts * i + rows % parts * i / parts;
    kl_tree_split *split = &out_splits[*out_count];
    status = kl_tree_select(source, root, rank, split->key, &split->size, err);
    if (status == KL_E_NOT_FOUND) {
      return kl_fail(err, KL_E_CORRUPT, "tree at %llu has fewer rows than it counts; run a verification",
                     (unsigned long long)root->address);
    }
    if (status != KL_OK) return status;
    (*out_count)++;
  }
  return KL_OK;
}
