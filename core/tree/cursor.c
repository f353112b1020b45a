/* core/tree/cursor.c: places in a tree. A cursor keeps the path from the root (pages have no pointers to their parents
 * or neighbours, as those would have to be rewritten with them), and moves to the next leaf through the lowest page of
 * the path that has another child. */
#include "leaf.h"

void kl_tree_cursor_init(kl_tree_cursor *cursor, const kl_tree_source *source, const kl_tree_pointer *root) {
  cursor->source = source;
  cursor->root = *root;
  cursor->depth = 0;
  cursor->prefix_page = NULL;
}

void kl_tree_cursor_park(kl_tree_cursor *cursor) {
  for (uint32_t i = 0; i < cursor->depth; i++) cursor->stack[i].page = NULL;
  cursor->prefix_page = NULL;
}

static kl_status tree_cursor_nowhere(kl_tree_cursor *cursor, kl_status status) {
  cursor->depth = 0;
  cursor->prefix_page = NULL;
  return status;
}

/* The page at this place of the stack, loaded again after the cursor was parked. */
static inline kl_status tree_cursor_page(kl_tree_cursor *cursor, uint32_t at, const uint8_t **out_page, kl_error *err) {
  if (cursor->stack[at].page == NULL) {
    kl_status status =
        tree_load(cursor->source, &cursor->stack[at].pointer, cursor->stack[at].level, &cursor->stack[at].page, err);
    if (status != KL_OK) {
      cursor->stack[at].page = NULL;
      return status;
    }
  }
  *out_page = cursor->stack[at].page;
  return KL_OK;
}

static kl_status tree_cursor_push(kl_tree_cursor *cursor, const kl_tree_pointer *pointer, uint32_t level,
                                  const uint8_t **out_page, kl_error *err) {
  kl_status status = cursor->source->load(cursor->source->context, pointer, out_page, err);
  if (status != KL_OK) return status;
  tree_prefetch_arrays(*out_page);
  if (level != TREE_LEVEL_ANY && tree_page_level(*out_page) != level) {
    return tree_level_wrong(pointer, tree_page_level(*out_page), level, err);
  }
  cursor->stack[cursor->depth].pointer = *pointer;
  cursor->stack[cursor->depth].page = *out_page;
  cursor->stack[cursor->depth].level = tree_page_level(*out_page);
  cursor->stack[cursor->depth].index = 0;
  cursor->depth++;
  return KL_OK;
}

/* Asks for the leaf behind the one that was just entered, so that a scan finds it there. */
static void tree_cursor_ahead(const kl_tree_cursor *cursor, int direction) {
  if (cursor->source->prefetch == NULL || cursor->depth < 2) return;
  const uint8_t *parent = cursor->stack[cursor->depth - 2].page;
  uint32_t index = cursor->stack[cursor->depth - 2].index;
  kl_tree_pointer pointer;
  if (parent == NULL || (direction < 0 && index == 0)) return;
  if (direction > 0 && index + 1 >= tree_page_count(parent)) return;
  tree_inner_child(parent, direction > 0 ? index + 1 : index - 1, &pointer);
  cursor->source->prefetch(cursor->source->context, &pointer);
}

/* From the page on top of the stack down to a leaf, by the first or the last child. */
static kl_status tree_cursor_edge(kl_tree_cursor *cursor, int direction, kl_error *err) {
  const uint8_t *page = NULL;
  kl_status status = tree_cursor_page(cursor, cursor->depth - 1, &page, err);
  while (status == KL_OK) {
    uint32_t level = tree_page_level(page), last = tree_page_count(page) - 1;
    uint32_t index = direction > 0 ? 0 : last;
    kl_tree_pointer child;
    cursor->stack[cursor->depth - 1].index = index;
    if (level == 0) {
      tree_cursor_ahead(cursor, direction);
      return KL_OK;
    }
    tree_inner_child(page, index, &child);
    status = tree_cursor_push(cursor, &child, level - 1, &page, err);
  }
  return tree_cursor_nowhere(cursor, status);
}

static kl_status tree_cursor_end(kl_tree_cursor *cursor, int direction, kl_error *err) {
  const uint8_t *page = NULL;
  (void)tree_cursor_nowhere(cursor, KL_OK);
  if (kl_tree_pointer_is_null(&cursor->root)) return KL_E_NOT_FOUND;
  kl_status status = tree_cursor_push(cursor, &cursor->root, TREE_LEVEL_ANY, &page, err);
  return status == KL_OK ? tree_cursor_edge(cursor, direction, err) : status;
}

kl_status kl_tree_cursor_first(kl_tree_cursor *cursor, kl_error *err) {
  return tree_cursor_end(cursor, 1, err);
}

kl_status kl_tree_cursor_last(kl_tree_cursor *cursor, kl_error *err) {
  return tree_cursor_end(cursor, -1, err);
}

/* From the end of a leaf to the next one in this direction. */
static kl_status tree_cursor_leave_leaf(kl_tree_cursor *cursor, int direction, kl_error *err) {
  cursor->depth--;
  while (cursor->depth > 0) {
    const uint8_t *page = NULL;
    kl_status status = tree_cursor_page(cursor, cursor->depth - 1, &page, err);
    if (status != KL_OK) return tree_cursor_nowhere(cursor, status);
    uint32_t *index = &cursor->stack[cursor->depth - 1].index;
    if (direction > 0 ? *index + 1 < tree_page_count(page) : *index > 0) {
      kl_tree_pointer child;
      *index = direction > 0 ? *index + 1 : *index - 1;
      tree_inner_child(page, *index, &child);
      status = tree_cursor_push(cursor, &child, tree_page_level(page) - 1, &page, err);
      return status == KL_OK ? tree_cursor_edge(cursor, direction, err) : tree_cursor_nowhere(cursor, status);
    }
    cursor->depth--;
  }
  return tree_cursor_nowhere(cursor, KL_E_NOT_FOUND);
}

kl_status kl_tree_cursor_next(kl_tree_cursor *cursor, kl_error *err) {
  const uint8_t *page = NULL;
  if (cursor->depth == 0) return KL_E_NOT_FOUND;
  kl_status status = tree_cursor_page(cursor, cursor->depth - 1, &page, err);
  if (status != KL_OK) return tree_cursor_nowhere(cursor, status);
  uint32_t *index = &cursor->stack[cursor->depth - 1].index;
  if (*index + 1 < tree_page_count(page)) {
    ++*index;
    return KL_OK;
  }
  return tree_cursor_leave_leaf(cursor, 1, err);
}

kl_status kl_tree_cursor_prev(kl_tree_cursor *cursor, kl_error *err) {
  const uint8_t *page = NULL;
  if (cursor->depth == 0) return KL_E_NOT_FOUND;
  kl_status status = tree_cursor_page(cursor, cursor->depth - 1, &page, err);
  if (status != KL_OK) return tree_cursor_nowhere(cursor, status);
  uint32_t *index = &cursor->stack[cursor->depth - 1].index;
  if (*index > 0) {
    --*index;
    return KL_OK;
  }
  return tree_cursor_leave_leaf(cursor, -1, err);
}

/* Where in the leaf below child `index` the rows before and behind `key` may lie, from the separators on both sides of
 * it, as if keys were spread evenly between them; 0: no idea. Being wrong costs a few lines that nobody reads. */
static uint32_t tree_cursor_guess(const uint8_t *page, uint32_t index, kl_slice key, uint32_t length) {
  enum { TREE_GUESS_BEFORE = 256 };
  tree_keys keys = tree_inner_keys(page);
  if (index == 0 || index >= keys.count) return 0;
  /* Between two separators that begin with the prefix: so the key does, too (TREE-5). */
  uint32_t head = tree_head((const uint8_t *)key.data + keys.prefix_size, key.size - keys.prefix_size);
  uint32_t low = kl_load_u32_le(keys.heads + 4 * (size_t)(index - 1));
  uint32_t high = kl_load_u32_le(keys.heads + 4 * (size_t)index);
  uint32_t rows_at = tree_leaf_prefix_at((uint32_t)tree_inner_rows(page, index));
  if (high <= low || rows_at >= length) return 0;
  uint32_t at = rows_at + (uint32_t)((uint64_t)(length - rows_at) * (head - low) / ((uint64_t)high - low + 1));
  return at > TREE_GUESS_BEFORE ? at - TREE_GUESS_BEFORE : at;
}

/* Asks for the lines around a guess, so that they come with the leaf's arrays and not after them. (Always inlined: see
 * tree_prefetch_arrays.) */
__attribute__((always_inline)) static inline void tree_prefetch_guess(const uint8_t *at) {
  __builtin_prefetch(at);
  __builtin_prefetch(at + 64);
  __builtin_prefetch(at + 128);
  __builtin_prefetch(at + 192);
  __builtin_prefetch(at + 256);
  __builtin_prefetch(at + 320);
  __builtin_prefetch(at + 384);
  __builtin_prefetch(at + 448);
  __builtin_prefetch(at + 512);
  __builtin_prefetch(at + 576);
}

/* To the leaf whose range holds `key`; *out_index: its first row at or behind it, perhaps one past the last. */
static kl_status tree_cursor_descend(kl_tree_cursor *cursor, kl_slice key, uint32_t *out_index, uint32_t *out_count,
                                     bool *out_equal, kl_error *err) {
  const uint8_t *page = NULL;
  (void)tree_cursor_nowhere(cursor, KL_OK);
  if (kl_tree_pointer_is_null(&cursor->root)) return KL_E_NOT_FOUND;
  kl_status status = tree_cursor_push(cursor, &cursor->root, TREE_LEVEL_ANY, &page, err);
  while (status == KL_OK && tree_page_level(page) > 0) {
    uint32_t index = tree_inner_search(page, key);
    kl_tree_pointer child;
    cursor->stack[cursor->depth - 1].index = index;
    tree_inner_child(page, index, &child);
    uint32_t guess = tree_page_level(page) == 1 ? tree_cursor_guess(page, index, key, child.length) : 0;
    status = tree_cursor_push(cursor, &child, tree_page_level(page) - 1, &page, err);
    if (guess != 0 && status == KL_OK) tree_prefetch_guess(page + guess);
  }
  if (status != KL_OK) return tree_cursor_nowhere(cursor, status);
  tree_keys keys = tree_leaf_keys(page);
  *out_index = tree_keys_search(&keys, key, out_equal);
  *out_count = keys.count;
  return KL_OK;
}

kl_status kl_tree_cursor_seek_ge(kl_tree_cursor *cursor, kl_slice key, kl_error *err) {
  uint32_t index = 0, count = 0;
  bool equal = false;
  kl_status status = tree_cursor_descend(cursor, key, &index, &count, &equal, err);
  if (status != KL_OK) return status;
  if (index == count) return tree_cursor_leave_leaf(cursor, 1, err);
  cursor->stack[cursor->depth - 1].index = index;
  return KL_OK;
}

kl_status kl_tree_cursor_seek_le(kl_tree_cursor *cursor, kl_slice key, kl_error *err) {
  uint32_t index = 0, count = 0;
  bool equal = false;
  kl_status status = tree_cursor_descend(cursor, key, &index, &count, &equal, err);
  if (status != KL_OK) return status;
  if (!equal && index == 0) return tree_cursor_leave_leaf(cursor, -1, err);
  cursor->stack[cursor->depth - 1].index = equal ? index : index - 1;
  return KL_OK;
}

kl_status kl_tree_cursor_row(kl_tree_cursor *cursor, kl_tree_row *out_row, kl_error *err) {
  const uint8_t *page = NULL;
  if (cursor->depth == 0) return KL_E_NOT_FOUND;
  kl_status status = tree_cursor_page(cursor, cursor->depth - 1, &page, err);
  if (status != KL_OK) return tree_cursor_nowhere(cursor, status);
  tree_keys keys = tree_leaf_keys(page);
  uint32_t index = cursor->stack[cursor->depth - 1].index;
  tree_leaf_value(&keys, index, &out_row->value);
  out_row->key = tree_keys_suffix(&keys, index);
  if (keys.prefix_size == 0) return KL_OK;
  if (cursor->prefix_page != page) { /* once a leaf */
    memcpy(cursor->key, keys.prefix, keys.prefix_size);
    cursor->prefix_page = page;
  }
  memcpy(cursor->key + keys.prefix_size, out_row->key.data, out_row->key.size);
  out_row->key = kl_slice_make(cursor->key, keys.prefix_size + out_row->key.size);
  return KL_OK;
}

kl_status kl_tree_cursor_leaf(kl_tree_cursor *cursor, kl_tree_leaf *out_leaf, kl_error *err) {
  const uint8_t *page = NULL;
  if (cursor->depth == 0) return KL_E_NOT_FOUND;
  kl_status status = tree_cursor_page(cursor, cursor->depth - 1, &page, err);
  if (status != KL_OK) return tree_cursor_nowhere(cursor, status);
  out_leaf->keys = tree_leaf_keys(page);
  out_leaf->index = cursor->stack[cursor->depth - 1].index;
  out_leaf->count = out_leaf->keys.count;
  out_leaf->prefix = kl_slice_make(out_leaf->keys.prefix, out_leaf->keys.prefix_size);
  return KL_OK;
}

void kl_tree_cursor_stand(kl_tree_cursor *cursor, uint32_t index) {
  cursor->stack[cursor->depth - 1].index = index;
}
