/* core/drain/pages_collect.c: scans that give rows straight from the pages.
 *
 * First what the cursor has read ahead, then leaf by leaf, without copying: the key is put together in one buffer, the
 * value lies in the frame. The epoch is left every few leaves, so that a scan keeps no evicted frame for long. Where it
 * ends, the cursor stands on the first row that was not given, and waits: mostly the next collect goes on there, and
 * nobody reads it. */
#include "pages_cursor.h"

enum { PAGES_COLLECT_STAY = 16 }; /* leaves for one entry into the epoch */

typedef struct pages_collecting {
  pages_cursor *cursor;
  const kl_pages_collect *how;
  size_t rows, bytes;
  bool stopped; /* before the row whose key is in cursor->sought */
  bool is_far;  /* because of its value */
  bool ended;   /* at the bound, or at the end of the tree */
  uint8_t key[KL_TREE_KEY_MAX];
} pages_collecting;

static inline bool pages_collect_is_full(const pages_collecting *collect, size_t more) {
  const kl_pages_collect *how = collect->how;
  if (how->max_rows != 0 && collect->rows >= how->max_rows) return true;
  return how->max_bytes != 0 && collect->rows != 0 && collect->bytes + more > how->max_bytes;
}

static bool pages_collect_is_behind(const pages_collecting *collect, kl_slice key) {
  const kl_pages_collect *how = collect->how;
  if (how->bound == NULL) return false;
  int order = kl_slice_compare(key, *how->bound);
  return how->forward ? order >= 0 : order < 0;
}

static inline kl_status pages_collect_take(pages_collecting *collect, kl_slice key, kl_slice value, kl_error *err) {
  kl_status status = collect->how->take(collect->how->context, key, value, err);
  if (status != KL_OK) return status;
  collect->rows++;
  collect->bytes += key.size + value.size;
  return KL_OK;
}

/* The rows that were read ahead. KL_OK and not `stopped`, not `ended`: all are taken. */
static kl_status pages_collect_buffered(pages_collecting *collect, kl_error *err) {
  kl_pages_cursor *face = &collect->cursor->face;
  const kl_pages_row *end = collect->how->forward ? face->last : face->first;
  if (collect->how->beyond) {
    if (face->row == end) return KL_OK;
    face->row += collect->how->forward ? 1 : -1;
    kl_pages_cursor_show(face);
  }
  for (;;) {
    if (pages_collect_is_behind(collect, face->key)) {
      collect->ended = true;
      return KL_OK;
    }
    collect->stopped = face->is_far || pages_collect_is_full(collect, face->key.size + face->value.size);
    if (collect->stopped) return KL_OK;
    kl_status status = pages_collect_take(collect, face->key, face->value, err);
    collect->stopped = status != KL_OK;
    if (status != KL_OK || face->row == end) return status;
    face->row += collect->how->forward ? 1 : -1;
    kl_pages_cursor_show(face);
  }
}

/* The value of a row in an extent. *out_far: it is not to be loaded here. */
static kl_status pages_collect_extent(pages_collecting *collect, kl_tree_value *value, bool *out_far, kl_error *err) {
  kl_tree_extent extent;
  bool is_frame;
  kl_tree_value_extent(value, &extent);
  if (extent.length > KL_PAGES_FAR) {
    *out_far = true;
    return pages_extent_check(collect->cursor->pages, &extent, err);
  }
  kl_status status = pages_extent_bytes(&collect->cursor->op, &extent, &value->bytes, &is_frame, err);
  *out_far = status == KL_E_LIMIT;
  return *out_far ? KL_OK : status;
}

/* The rows of one leaf from its row `i` on. Leaves the key of the last row that was looked at in `key`: with KL_OK and
 * not `stopped` that of the last one taken, otherwise of the first one not taken. KL_CACHE_RETRY. */
static kl_status pages_collect_leaf(pages_collecting *collect, const kl_tree_leaf *leaf, uint32_t i, kl_slice *out_key,
                                    kl_error *err) {
  bool forward = collect->how->forward, bounded = false;
  uint32_t end = forward ? leaf->count - 1 : 0;
  size_t prefix = leaf->prefix.size;
  kl_slice key;
  if (collect->how->bound != NULL) { /* mostly its last row is before the bound, and so is each */
    bounded = pages_collect_is_behind(collect, kl_tree_leaf_key(leaf, end, collect->key));
  }
  if (prefix != 0) memcpy(collect->key, leaf->prefix.data, prefix);
  for (;; i = forward ? i + 1 : i - 1) {
    kl_slice suffix = kl_tree_leaf_suffix(leaf, i);
    kl_tree_value value;
    bool is_far = false;
    kl_tree_leaf_value(leaf, i, &value);
    pages_prefetch_part(&collect->cursor->op, i, leaf->count);
    memcpy(collect->key + prefix, suffix.data, suffix.size);
    key = *out_key = kl_slice_make(collect->key, prefix + suffix.size);
    if (bounded && pages_collect_is_behind(collect, key)) {
      collect->ended = true;
      return KL_OK;
    }
    if (value.is_extent) {
      kl_status status = pages_collect_extent(collect, &value, &is_far, err);
      if (status != KL_OK) return status;
    }
    collect->is_far = is_far;
    collect->stopped = is_far || pages_collect_is_full(collect, key.size + value.bytes.size);
    kl_status status = collect->stopped ? KL_OK : pages_collect_take(collect, key, value.bytes, err);
    if (status != KL_OK) collect->stopped = true;
    if (collect->stopped) {
      kl_tree_cursor_stand(&collect->cursor->place, i);
      return status;
    }
    if (i == end) return KL_OK;
  }
}

/* From leaf to leaf. The key of the row to go on from is always in `sought`, as the place may be lost. */
static kl_status pages_collect_leaves(pages_collecting *collect, pages_from *from, kl_error *err) {
  pages_cursor *cursor = collect->cursor;
  bool forward = collect->how->forward;
  kl_status status = pages_cursor_place(cursor, *from, err);
  for (uint32_t leaves = 1; status == KL_OK; leaves++) {
    kl_tree_leaf leaf;
    kl_slice key = {NULL, 0};
    status = kl_tree_cursor_leaf(&cursor->place, &leaf, err);
    if (status != KL_OK) break;
    status = pages_collect_leaf(collect, &leaf, leaf.index, &key, err);
    pages_cursor_seek_key(cursor, key);
    *from = forward ? PAGES_GT : PAGES_LT;
    if (status == KL_CACHE_RETRY) *from = forward ? PAGES_GE : PAGES_LE; /* `key` was not taken */
    if (status != KL_OK || collect->stopped || collect->ended) break;
    kl_tree_cursor_stand(&cursor->place, forward ? leaf.count - 1 : 0);
    if (leaves % PAGES_COLLECT_STAY == 0) {
      kl_tree_cursor_park(&cursor->place);
      pages_op_renew(&cursor->op);
    }
    status = forward ? kl_tree_cursor_next(&cursor->place, err) : kl_tree_cursor_prev(&cursor->place, err);
  }
  if (status != KL_E_NOT_FOUND || collect->stopped) return status;
  collect->ended = true;
  return KL_OK;
}

static kl_status pages_collect_tree(pages_collecting *collect, kl_error *err) {
  pages_cursor *cursor = collect->cursor;
  bool forward = collect->how->forward, waits = cursor->face.waits;
  const pages_buffer *buffer = &cursor->buffers[cursor->current];
  pages_from from = waits ? (forward ? PAGES_AT : PAGES_AT_BACK) : forward ? PAGES_ON : PAGES_BACK;
  kl_status status;
  if (!waits && (forward ? buffer->ends : buffer->begins)) {
    collect->ended = true;
    return KL_OK;
  }
  /* It was read the other way, or the place was lost. */
  if (waits ? cursor->placed == 0 : cursor->placed != (forward ? 1 : -1)) from = pages_cursor_lost(cursor, from);
  pages_op_begin(&cursor->op, cursor->pages, KL_CACHE_SCAN);
  cursor->op.source.prefetch = pages_prefetch_page;
  while ((status = pages_collect_leaves(collect, &from, err)) == KL_CACHE_RETRY) {
    from = pages_cursor_lost(cursor, from);
    pages_op_retry(&cursor->op);
  }
  kl_tree_cursor_park(&cursor->place);
  pages_op_end(&cursor->op);
  cursor->placed = collect->stopped ? 1 : 0;
  if (status == KL_OK || collect->stopped) return status;
  (void)pages_cursor_lost(cursor, from); /* the key that it was about */
  return pages_explain(cursor->pages, &cursor->op.failed, &cursor->root, pages_cursor_sought(cursor), forward ? 1 : -1,
                       status, err);
}

kl_status kl_pages_cursor_collect(kl_pages_cursor *face, const kl_pages_collect *how, size_t *out_rows, kl_error *err) {
  pages_cursor *cursor = (pages_cursor *)face;
  pages_collecting collect;
  *out_rows = 0;
  if (!face->valid) return KL_E_NOT_FOUND;
  collect.cursor = cursor;
  collect.how = how;
  collect.rows = collect.bytes = 0;
  collect.stopped = collect.is_far = collect.ended = false;
  kl_status status = face->waits ? KL_OK : pages_collect_buffered(&collect, err);
  bool buffered = status != KL_OK || collect.stopped || collect.ended;
  if (!buffered) status = pages_collect_tree(&collect, err);
  *out_rows = collect.rows;
  cursor->batch = collect.rows < UINT32_MAX ? (uint32_t)collect.rows : UINT32_MAX;
  if (collect.ended) return pages_cursor_nowhere(cursor, KL_E_NOT_FOUND);
  if (!collect.stopped) return pages_cursor_nowhere(cursor, status);
  if (buffered) return status;
  pages_cursor_wait(cursor);
  return collect.is_far ? pages_cursor_settle(cursor, how->forward, err) : status;
}
