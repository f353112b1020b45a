/* core/tree/walk.c: every page of a tree, each in its place. */
#include "page.h"

typedef struct tree_walk {
  tree_frames frames;
  const kl_tree_visitor *visitor;
  kl_error *err;
  struct {
    uint8_t low[KL_TREE_KEY_MAX], high[KL_TREE_KEY_MAX];
  } bound[KL_TREE_LEVELS]; /* of the child at hand of the open page of each level */
} tree_walk;

/* What a parent says about a page. */
typedef struct tree_promise {
  kl_slice low, high; /* every key k: low <= k < high */
  bool has_high, has_rows;
  uint64_t rows;
} tree_promise;

static kl_status tree_walk_fail(tree_walk *walk, const kl_tree_pointer *pointer, const char *what) {
  return kl_fail(walk->err, KL_E_CORRUPT, "tree page at %llu %s; restore from a backup",
                 (unsigned long long)pointer->address, what);
}

/* The first and the last key of a page lie between the separators around it; those between them do too. */
static kl_status tree_walk_bounds(tree_walk *walk, const kl_tree_pointer *pointer, const tree_keys *keys,
                                  const tree_promise *promise) {
  uint8_t key[KL_TREE_KEY_MAX];
  int least = kl_slice_compare(promise->low, tree_keys_copy(keys, 0, key));
  /* A leaf may begin with its separator; an inner page's first separator has a child before it. */
  if (keys->is_leaf ? least > 0 : least >= 0 && promise->low.size != 0) {
    return tree_walk_fail(walk, pointer, "has a key before its range");
  }
  if (promise->has_high && kl_slice_compare(tree_keys_copy(keys, keys->count - 1, key), promise->high) >= 0) {
    return tree_walk_fail(walk, pointer, "has a key behind its range");
  }
  return KL_OK;
}

static kl_status tree_walk_leaf(tree_walk *walk, const tree_keys *keys) {
  uint8_t key[KL_TREE_KEY_MAX];
  const kl_tree_visitor *visitor = walk->visitor;
  for (uint32_t i = 0; i < keys->count && visitor->extent != NULL; i++) {
    kl_tree_value value;
    kl_tree_extent extent;
    tree_leaf_value(keys, i, &value);
    if (!value.is_extent) continue;
    kl_tree_value_extent(&value, &extent);
    kl_status status = visitor->extent(visitor->context, tree_keys_copy(keys, i, key), &extent, walk->err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* The recursion goes down one level at a time. */
static kl_status tree_walk_page(tree_walk *walk, const kl_tree_pointer *pointer, uint32_t level,
                                const tree_promise *promise) {
  const uint8_t *page = NULL;
  kl_status status = tree_frames_load(&walk->frames, pointer, level, &page, walk->err);
  if (status != KL_OK) return status;
  level = tree_page_level(page);
  const kl_tree_visitor *visitor = walk->visitor;
  if (visitor->page != NULL) status = visitor->page(visitor->context, pointer, level, walk->err);
  if (status != KL_OK) return status;
  tree_keys keys = level == 0 ? tree_leaf_keys(page) : tree_inner_keys(page);
  uint64_t rows = level == 0 ? keys.count : 0;
  for (uint32_t i = 0; level > 0 && i <= keys.count; i++) rows += tree_inner_rows(page, i);
  if (promise->has_rows && rows != promise->rows)
    return tree_walk_fail(walk, pointer, "has another number of rows than its parent counts");
  status = tree_walk_bounds(walk, pointer, &keys, promise);
  if (status != KL_OK || level == 0) return status == KL_OK ? tree_walk_leaf(walk, &keys) : status;
  for (uint32_t i = 0; i <= keys.count && status == KL_OK; i++) {
    tree_promise below = *promise;
    kl_tree_pointer child;
    if (i > 0) below.low = tree_keys_copy(&keys, i - 1, walk->bound[level].low);
    if (i < keys.count) {
      below.high = tree_keys_copy(&keys, i, walk->bound[level].high);
      below.has_high = true;
    }
    below.rows = tree_inner_rows(page, i);
    below.has_rows = true;
    tree_inner_child(page, i, &child);
    status = tree_walk_page(walk, &child, level - 1, &below);
  }
  return status;
}

kl_status kl_tree_walk(kl_allocator *allocator, const kl_tree_source *source, uint32_t page_size,
                       const kl_tree_pointer *root, const kl_tree_visitor *visitor, kl_error *err) {
  tree_promise nothing = {{NULL, 0}, {NULL, 0}, false, false, 0};
  if (kl_tree_pointer_is_null(root)) return KL_OK;
  tree_walk *walk = kl_alloc(allocator, sizeof *walk); /* some 50 KiB: too much for a stack */
  if (walk == NULL) return kl_fail(err, KL_E_NO_MEMORY, "tree: no memory for a walk; free some and try again");
  walk->frames = (tree_frames){.allocator = allocator, .source = source, .page_size = page_size};
  walk->visitor = visitor;
  walk->err = err;
  kl_status status = tree_walk_page(walk, root, TREE_LEVEL_ANY, &nothing);
  tree_frames_free(&walk->frames);
  kl_free(allocator, walk, sizeof *walk);
  return status;
}
