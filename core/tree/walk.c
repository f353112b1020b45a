/* core/tree/walk.c: every page and row of a tree, each in its place.
 *
 * The walker keeps a copy of one page for each level, and where it stands in it; so it can rest between two steps for
 * as long as its caller likes, and holds nothing of the source meanwhile. */
#include "page.h"

/* What a parent says about a page. */
typedef struct tree_promise {
  kl_slice low, high; /* every key k: low <= k < high; they lie in the bounds of the parents' levels */
  bool has_high, has_rows;
  uint64_t rows;
} tree_promise;

/* An open page. */
typedef struct tree_walk_level {
  kl_tree_pointer pointer;
  const uint8_t *page;
  uint32_t next; /* the child or row that comes next */
  tree_promise promise;
  uint8_t low[KL_TREE_KEY_MAX], high[KL_TREE_KEY_MAX]; /* of its child that was entered last */
} tree_walk_level;

struct kl_tree_walker {
  tree_frames frames;
  bool leaves;
  bool waits; /* the page that is entered next: the three fields below */
  kl_tree_pointer pointer;
  uint32_t level; /* of it; when none waits, of the page that is open lowest */
  tree_promise promise;
  uint32_t top; /* level of the root */
  bool done;
  uint8_t key[KL_TREE_KEY_MAX];
  tree_walk_level open[KL_TREE_LEVELS];
};

static kl_status tree_walk_fail(const kl_tree_pointer *pointer, const char *what, kl_error *err) {
  return kl_fail(err, KL_E_CORRUPT, "tree page at %llu %s; restore from a backup", (unsigned long long)pointer->address,
                 what);
}

/* The first and the last key of a page lie between the separators around it; those between them do too. */
static kl_status tree_walk_bounds(const kl_tree_pointer *pointer, const tree_keys *keys, const tree_promise *promise,
                                  kl_error *err) {
  uint8_t key[KL_TREE_KEY_MAX];
  int least = kl_slice_compare(promise->low, tree_keys_copy(keys, 0, key));
  /* A leaf may begin with its separator; an inner page's first separator has a child before it. */
  if (keys->is_leaf ? least > 0 : least >= 0 && promise->low.size != 0) {
    return tree_walk_fail(pointer, "has a key before its range", err);
  }
  if (promise->has_high && kl_slice_compare(tree_keys_copy(keys, keys->count - 1, key), promise->high) >= 0) {
    return tree_walk_fail(pointer, "has a key behind its range", err);
  }
  return KL_OK;
}

static tree_keys tree_walk_keys(const uint8_t *page) {
  return tree_page_level(page) == 0 ? tree_leaf_keys(page) : tree_inner_keys(page);
}

/* Loads the page that waits, and compares it with what its parent says. */
static kl_status tree_walk_load(kl_tree_walker *walker, const uint8_t **out_page, uint64_t *out_rows, kl_error *err) {
  kl_status status = tree_frames_load(&walker->frames, &walker->pointer, walker->level, out_page, err);
  if (status != KL_OK) return status;
  uint32_t level = tree_page_level(*out_page);
  tree_keys keys = tree_walk_keys(*out_page);
  uint64_t rows = level == 0 ? keys.count : 0;
  for (uint32_t i = 0; level > 0 && i <= keys.count; i++) rows += tree_inner_rows(*out_page, i);
  *out_rows = rows;
  if (walker->promise.has_rows && rows != walker->promise.rows) {
    return tree_walk_fail(&walker->pointer, "has another number of rows than its parent counts", err);
  }
  return tree_walk_bounds(&walker->pointer, &keys, &walker->promise, err);
}

/* The pages above the one at hand go on with their next child. */
static void tree_walk_leave(kl_tree_walker *walker, uint32_t level) {
  walker->done = level >= walker->top;
  walker->level = level + 1;
}

static kl_status tree_walk_enter(kl_tree_walker *walker, kl_tree_item *out, kl_error *err) {
  const uint8_t *page = NULL;
  kl_error cause;
  *out = (kl_tree_item){.kind = KL_TREE_ITEM_PAGE,
                        .pointer = walker->pointer,
                        .level = walker->level,
                        .low = walker->promise.low,
                        .high = walker->promise.high,
                        .has_high = walker->promise.has_high,
                        .rows = walker->promise.rows};
  kl_status status = tree_walk_load(walker, &page, &out->rows, &cause);
  bool is_root = walker->level == TREE_LEVEL_ANY;
  bool damaged = status == KL_E_CORRUPT || status == KL_E_IO || status == KL_E_VERSION;
  if (status != KL_OK && !damaged) { /* it still waits */
    if (err != NULL) *err = cause;
    return status;
  }
  walker->waits = false;
  if (damaged) {
    out->kind = KL_TREE_ITEM_DAMAGE;
    out->rows = walker->promise.rows;
    out->cause = cause;
    if (is_root) {
      walker->done = true;
    } else {
      tree_walk_leave(walker, walker->level);
    }
    return KL_OK;
  }
  walker->level = out->level = tree_page_level(page);
  if (is_root) walker->top = walker->level;
  tree_walk_level *open = &walker->open[walker->level];
  open->pointer = walker->pointer;
  open->page = page;
  open->next = 0;
  open->promise = walker->promise;
  return KL_OK;
}

/* The next row of the leaf at hand; false: there is none. */
static bool tree_walk_row(kl_tree_walker *walker, kl_tree_item *out) {
  tree_walk_level *open = &walker->open[0];
  tree_keys keys = tree_leaf_keys(open->page);
  if (open->next == keys.count) return false;
  *out = (kl_tree_item){.kind = KL_TREE_ITEM_ROW, .pointer = open->pointer};
  out->key = tree_keys_copy(&keys, open->next, walker->key);
  tree_leaf_value(&keys, open->next, &out->value);
  open->next++;
  return true;
}

/* The next child of the inner page at hand waits; false: there is none. */
static bool tree_walk_child(kl_tree_walker *walker) {
  tree_walk_level *open = &walker->open[walker->level];
  tree_keys keys = tree_inner_keys(open->page);
  uint32_t i = open->next;
  if (i > keys.count || (walker->level == 1 && !walker->leaves)) return false;
  walker->promise = open->promise;
  if (i > 0) walker->promise.low = tree_keys_copy(&keys, i - 1, open->low);
  if (i < keys.count) {
    walker->promise.high = tree_keys_copy(&keys, i, open->high);
    walker->promise.has_high = true;
  }
  walker->promise.rows = tree_inner_rows(open->page, i);
  walker->promise.has_rows = true;
  tree_inner_child(open->page, i, &walker->pointer);
  walker->level--;
  walker->waits = true;
  open->next++;
  return true;
}

kl_status kl_tree_walker_new(kl_allocator *allocator, const kl_tree_source *source, uint32_t page_size,
                             kl_tree_walker **out_walker, kl_error *err) {
  kl_tree_walker *walker = kl_alloc(allocator, sizeof *walker);
  if (walker == NULL) return kl_fail(err, KL_E_NO_MEMORY, "tree: no memory for a walk; free some and try again");
  walker->frames = (tree_frames){.allocator = allocator, .source = source, .page_size = page_size};
  walker->done = true;
  *out_walker = walker;
  return KL_OK;
}

void kl_tree_walker_free(kl_tree_walker *walker) {
  if (walker == NULL) return;
  tree_frames_free(&walker->frames);
  kl_free(walker->frames.allocator, walker, sizeof *walker);
}

void kl_tree_walker_start(kl_tree_walker *walker, const kl_tree_pointer *root, bool leaves) {
  walker->leaves = leaves;
  walker->done = kl_tree_pointer_is_null(root);
  walker->waits = true;
  walker->pointer = *root;
  walker->level = TREE_LEVEL_ANY;
  walker->promise = (tree_promise){0};
}

kl_status kl_tree_walker_next(kl_tree_walker *walker, kl_tree_item *out_item, kl_error *err) {
  while (!walker->done) {
    if (walker->waits) return tree_walk_enter(walker, out_item, err);
    if (walker->level == 0) {
      if (tree_walk_row(walker, out_item)) return KL_OK;
    } else if (tree_walk_child(walker)) {
      continue;
    }
    tree_walk_leave(walker, walker->level);
  }
  return KL_E_NOT_FOUND;
}

kl_status kl_tree_walk(kl_allocator *allocator, const kl_tree_source *source, uint32_t page_size,
                       const kl_tree_pointer *root, const kl_tree_visitor *visitor, kl_error *err) {
  kl_tree_walker *walker;
  kl_tree_item item;
  if (kl_tree_pointer_is_null(root)) return KL_OK;
  kl_status status = kl_tree_walker_new(allocator, source, page_size, &walker, err);
  if (status != KL_OK) return status;
  kl_tree_walker_start(walker, root, true);
  while (status == KL_OK && (status = kl_tree_walker_next(walker, &item, err)) == KL_OK) {
    if (item.kind == KL_TREE_ITEM_DAMAGE) {
      if (err != NULL) *err = item.cause;
      status = item.cause.code;
    } else if (item.kind == KL_TREE_ITEM_PAGE) {
      if (visitor->page != NULL) status = visitor->page(visitor->context, &item.pointer, item.level, err);
    } else if (item.value.is_extent && visitor->extent != NULL) {
      kl_tree_extent extent;
      kl_tree_value_extent(&item.value, &extent);
      status = visitor->extent(visitor->context, item.key, &extent, err);
    }
  }
  kl_tree_walker_free(walker);
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}
