/* core/tree/read.c: point look-ups, one and many; counts, ranks, split points. */
#include "digest.h"
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

/* -------- by digest -------- */

/* Asks for all that comparing and taking row `i` reads. Where rows differ in size, their average tells about where they
 * lie, and the slot says it exactly. (Always inlined: see tree_prefetch_arrays.) */
__attribute__((always_inline)) static inline void tree_digest_prefetch(const tree_digest *digest, const uint8_t *page,
                                                                       uint32_t i) {
  const uint8_t *row = page + digest->rows_at + (size_t)digest->row_size * i;
  tree_prefetch_row(row, digest->row_size);
  if (tree_digest_is_even(digest)) return;
  __builtin_prefetch(page);
  __builtin_prefetch(page + tree_leaf_heads_at(digest->count) + 4 * ((size_t)digest->count + i));
}

/* The first row from `i` on that may be that of a key with this hash; the number of rows where there is none. The row
 * is asked for before the second byte is looked at, which may be a miss of its own. */
static inline uint32_t tree_digest_candidate(const tree_digest *digest, const uint8_t *page, uint32_t i,
                                             uint64_t hash) {
  uint32_t count = digest->count, skip = i & 15;
  for (uint32_t base = i - skip; base < count; base += 16, skip = 0) {
    const uint8_t *at = digest->fingerprints + base;
    uint32_t mask = tree_probe(at, tree_hash_fingerprint(hash)) >> skip << skip;
    if (count - base < 16) mask &= (1U << (count - base)) - 1;
    if (mask == 0) continue;
    tree_digest_prefetch(digest, page, base + (uint32_t)__builtin_ctz(mask));
    if (digest->kind == TREE_DIGEST_LEAF_SECOND) {
      mask &= tree_probe(at + tree_digest_bytes(count), tree_hash_second(hash));
    }
    if (mask != 0) return base + (uint32_t)__builtin_ctz(mask);
  }
  return count;
}

/* Row `i` of a leaf whose rows are of one size and whose prefix is in the digest: is it the row of `key`? */
static inline bool tree_digest_even_row(const tree_digest *digest, const uint8_t *page, uint32_t i, kl_slice key,
                                        kl_tree_value *out_value) {
  size_t prefix = digest->prefix_size, suffix = digest->key_size;
  const uint8_t *row = page + digest->rows_at + (size_t)digest->row_size * i, *bytes = key.data;
  if (prefix + suffix != key.size) return false;
  if (suffix != 0 && memcmp(row, bytes + prefix, suffix) != 0) return false;
  if (prefix != 0 && memcmp(digest->prefix, bytes, prefix) != 0) return false;
  *out_value = (kl_tree_value){kl_slice_make(row + suffix, digest->row_size - suffix), true, false};
  return true;
}

/* As tree_leaf_find, for a leaf with a digest; `i` is the first candidate. */
static bool tree_digest_find(const tree_digest *digest, const uint8_t *page, uint32_t i, kl_slice key, uint64_t hash,
                             kl_tree_value *out_value) {
  if (i == digest->count) return false;
  if (!tree_digest_is_even(digest)) return tree_leaf_find(page, key, tree_hash_fingerprint(hash), out_value);
  for (; i < digest->count; i = tree_digest_candidate(digest, page, i + 1, hash)) {
    if (tree_digest_even_row(digest, page, i, key, out_value)) return true;
  }
  return false;
}

/* -------- one key -------- */

kl_status kl_tree_get(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice key, kl_tree_value *out_value,
                      kl_error *err) {
  kl_tree_pointer pointer = *root;
  uint32_t level = TREE_LEVEL_ANY;
  const uint8_t *page = NULL;
  if (kl_tree_pointer_is_null(root) || key.size > KL_TREE_KEY_MAX) return KL_E_NOT_FOUND;
  for (;;) {
    kl_status status = source->load(source->context, &pointer, &page, err);
    if (status != KL_OK) return status;
    if (level == 0 || level == TREE_LEVEL_ANY) {
      const tree_digest *digest = tree_digest_of(source, page);
      if (digest != NULL) { /* so it is a leaf (TREE-3) */
        uint64_t hash = tree_hash(key);
        uint32_t i = tree_digest_candidate(digest, page, 0, hash);
        return tree_digest_find(digest, page, i, key, hash, out_value) ? KL_OK : KL_E_NOT_FOUND;
      }
    }
    if (level != TREE_LEVEL_ANY && tree_page_level(page) != level) {
      return tree_level_wrong(&pointer, tree_page_level(page), level, err);
    }
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
  const tree_digest *digest; /* of a leaf, where it has one */
  uint32_t candidate;        /* in a leaf: the first row with the right fingerprint */
  bool found;                /* there is one */
  uint64_t hash;
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

/* The pages of the next level, and, of leaves, their digests. Nothing of them is read. */
static kl_status tree_group_load(const kl_tree_source *source, tree_group *group, kl_error *err) {
  size_t count = group->count;
  if (source->load_many != NULL) return source->load_many(source->context, group->pointer, count, group->page, err);
  for (size_t i = 0; i < count && source->prefetch != NULL; i++) {
    source->prefetch(source->context, &group->pointer[i]);
  }
  for (size_t i = 0; i < count; i++) {
    kl_status status = source->load(source->context, &group->pointer[i], &group->page[i], err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* Asks for what the next step reads of each page; then TREE-3, as that reads the page. */
static kl_status tree_group_arrive(tree_group *group, uint32_t level, kl_error *err) {
  for (size_t i = 0; i < group->count; i++) {
    if (group->lane[i].digest == NULL) tree_prefetch_arrays(group->page[i]);
  }
  for (size_t i = 0; i < group->count; i++) {
    if (group->lane[i].digest != NULL) continue; /* so it is a leaf */
    uint32_t found = tree_page_level(group->page[i]);
    if (found != level) return tree_level_wrong(&group->pointer[i], found, level, err);
  }
  return KL_OK;
}

static void tree_group_digests(const kl_tree_source *source, tree_group *group) {
  for (size_t i = 0; i < group->count; i++) {
    const uint8_t *at = (const uint8_t *)tree_digest_at(source, group->page[i]);
    __builtin_prefetch(at);
    __builtin_prefetch(at + 64);
  }
  for (size_t i = 0; i < group->count; i++) group->lane[i].digest = tree_digest_of(source, group->page[i]);
}

/* The row that is likely to be the key's. */
static void tree_lane_candidate(tree_lane *lane, const uint8_t *page) {
  lane->hash = tree_hash(lane->key);
  if (lane->digest != NULL) {
    lane->candidate = tree_digest_candidate(lane->digest, page, 0, lane->hash);
    lane->found = lane->candidate < lane->digest->count;
    return;
  }
  tree_keys keys = tree_leaf_keys(page);
  lane->candidate = tree_leaf_candidate(page, tree_hash_fingerprint(lane->hash));
  lane->found = lane->candidate < keys.count;
  if (lane->found) __builtin_prefetch(keys.slots + 4 * (size_t)lane->candidate);
}

static void tree_group_leaves(tree_group *group) {
  for (size_t i = 0; i < group->count; i++) tree_lane_candidate(&group->lane[i], group->page[i]);
  for (size_t i = 0; i < group->count; i++) {
    const tree_lane *lane = &group->lane[i];
    if (!lane->found || lane->digest != NULL) continue;
    tree_keys keys = tree_leaf_keys(group->page[i]);
    __builtin_prefetch(tree_keys_suffix(&keys, lane->candidate).data);
  }
  for (size_t i = 0; i < group->count; i++) {
    const tree_lane *lane = &group->lane[i];
    if (!lane->found) continue;
    if (lane->digest != NULL) {
      (void)tree_digest_find(lane->digest, group->page[i], lane->candidate, lane->key, lane->hash, lane->value);
    } else {
      (void)tree_leaf_find(group->page[i], lane->key, tree_hash_fingerprint(lane->hash), lane->value);
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
    kl_status status = tree_group_load(source, group, err);
    if (status == KL_OK && level == 1 && source->digests != NULL) tree_group_digests(source, group);
    if (status == KL_OK) status = tree_group_arrive(group, level - 1, err);
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
      group.lane[group.count].digest = NULL;
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
