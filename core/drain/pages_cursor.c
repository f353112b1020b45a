/* core/drain/pages_cursor.c: cursors that read ahead.
 *
 * A refill enters the epoch once, copies some rows into the buffer that is not shown, parks the tree's cursor on the
 * last of them and leaves. So between two calls nothing is held, and most moves touch neither pages nor epoch. When a
 * refill loses its place (no room in the cache, a page that cannot be read), the next one finds it again by key. */
#include "pages_cursor.h"

/* -------- life -------- */

kl_status kl_pages_cursor_new(kl_pages *pages, const kl_tree_pointer *root, kl_pages_cursor **out_cursor,
                              kl_error *err) {
  pages_cursor *cursor = kl_alloc(pages->allocator, sizeof *cursor);
  if (cursor == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a cursor (%zu bytes)", sizeof *cursor);
  cursor->pages = pages;
  kl_pages_ref(pages);
  kl_pages_cursor_reset(&cursor->face, root);
  *out_cursor = &cursor->face;
  return KL_OK;
}

void kl_pages_cursor_free(kl_pages_cursor *face) {
  pages_cursor *cursor = (pages_cursor *)face;
  if (cursor == NULL) return;
  kl_pages *pages = cursor->pages;
  kl_held_destroy(&cursor->far);
  for (int i = 0; i < 2; i++) {
    pages_buffer *buffer = &cursor->buffers[i];
    if (buffer->capacity != 0) kl_free(pages->allocator, buffer->data, buffer->capacity);
  }
  kl_free(pages->allocator, cursor, sizeof *cursor);
  kl_pages_unref(pages);
}

kl_status pages_cursor_nowhere(pages_cursor *cursor, kl_status status) {
  cursor->face.valid = false;
  cursor->face.is_far = false;
  cursor->face.waits = false;
  cursor->face.key = kl_slice_make(NULL, 0);
  cursor->face.value = kl_slice_make(NULL, 0);
  cursor->placed = 0;
  return status;
}

void kl_pages_cursor_reset(kl_pages_cursor *face, const kl_tree_pointer *root) {
  pages_cursor *cursor = (pages_cursor *)face;
  cursor->root = *root;
  cursor->run = 0;
  cursor->batch = 0;
  cursor->ahead = PAGES_AHEAD_FIRST;
  cursor->room = PAGES_ROOM_FIRST;
  kl_tree_cursor_init(&cursor->place, &cursor->op.source, root);
  (void)pages_cursor_nowhere(cursor, KL_OK);
}

/* -------- reading ahead -------- */

static kl_status pages_cursor_reserve(const pages_cursor *cursor, pages_buffer *buffer, size_t size, kl_error *err) {
  if (buffer->capacity >= size) return KL_OK;
  uint8_t *data = kl_alloc(cursor->pages->allocator, size);
  if (data == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for %zu bytes of rows; free some", size);
  if (buffer->capacity != 0) kl_free(cursor->pages->allocator, buffer->data, buffer->capacity);
  buffer->data = data;
  buffer->capacity = size;
  return KL_OK;
}

/* Copies row `i` of the leaf. KL_E_BUFFER_SIZE: there are rows already, and no room for one more. KL_CACHE_RETRY. */
static kl_status pages_cursor_append(pages_cursor *cursor, pages_buffer *buffer, const kl_tree_leaf *leaf, uint32_t i,
                                     bool forward, kl_error *err) {
  kl_slice suffix = kl_tree_leaf_suffix(leaf, i), value;
  kl_tree_value found;
  bool is_far = false;
  kl_tree_leaf_value(leaf, i, &found);
  value = found.bytes;
  if (found.is_extent) {
    kl_tree_extent extent;
    bool is_frame;
    kl_tree_value_extent(&found, &extent);
    is_far = extent.length > KL_PAGES_FAR;
    kl_status status = is_far ? pages_extent_check(cursor->pages, &extent, err)
                              : pages_extent_bytes(&cursor->op, &extent, &value, &is_frame, err);
    if (status == KL_E_LIMIT) is_far = true; /* no room in the cache: when it is asked for */
    if (status != KL_OK && status != KL_E_LIMIT) return status;
    if (is_far) value = kl_slice_make(NULL, (size_t)extent.length);
  }
  size_t copied = is_far ? 0 : value.size, need = leaf->prefix.size + suffix.size + copied;
  if (buffer->used + need > buffer->capacity) {
    if (buffer->low != buffer->high) return KL_E_BUFFER_SIZE;
    kl_status status = pages_cursor_reserve(cursor, buffer, need, err);
    if (status != KL_OK) return status;
  }
  kl_pages_row *row = &buffer->rows[forward ? buffer->high++ : --buffer->low];
  uint8_t *at = buffer->data + buffer->used;
  row->key = kl_slice_make(at, leaf->prefix.size + suffix.size);
  memcpy(at, leaf->prefix.data, leaf->prefix.size);
  memcpy(at + leaf->prefix.size, suffix.data, suffix.size);
  at += row->key.size;
  row->value = kl_slice_make(is_far ? NULL : at, value.size);
  if (copied != 0) memcpy(at, value.data, copied);
  buffer->used += need;
  return KL_OK;
}

/* After a seek, asks for the rows of the batch that is likely to come, as far as this leaf has them: side by side they
 * take hardly longer than the first one alone. (Always inlined, and no loop: see pages_prefetch_part.) */
__attribute__((always_inline)) static inline void pages_cursor_prefetch(const kl_tree_leaf *leaf, uint32_t rows,
                                                                        bool forward) {
  uint32_t i = leaf->index, other = forward ? i + rows : i - (rows < i ? rows : i);
  if (other >= leaf->count) other = leaf->count - 1;
  kl_slice first = kl_tree_leaf_suffix(leaf, forward ? i : other),
           last = kl_tree_leaf_suffix(leaf, forward ? other : i);
  const uint8_t *at = first.data, *end = last.data;
  size_t lines = (size_t)(end - at) / 64;
  if (lines > PAGES_AHEAD_LINES && !forward) at = end - (size_t)PAGES_AHEAD_LINES * 64;
  __builtin_prefetch(at);
  __builtin_prefetch(at + 64);
  __builtin_prefetch(at + 128);
  __builtin_prefetch(at + 192);
  if (lines <= 4) return;
  __builtin_prefetch(at + 256);
  __builtin_prefetch(at + 320);
  __builtin_prefetch(at + 384);
  __builtin_prefetch(at + 448);
  if (lines <= 8) return;
  __builtin_prefetch(at + 512);
  __builtin_prefetch(at + 576);
  __builtin_prefetch(at + 640);
  __builtin_prefetch(at + 704);
  if (lines <= 12) return;
  __builtin_prefetch(at + 768);
  __builtin_prefetch(at + 832);
  __builtin_prefetch(at + 896);
  __builtin_prefetch(at + 960);
}

/* Copies rows of one leaf, from the cursor's on; leaves `place` on the last that was copied. KL_OK: the leaf has no
 * more, or it is enough. */
static kl_status pages_cursor_read_leaf(pages_cursor *cursor, pages_buffer *buffer, bool forward, kl_error *err) {
  kl_tree_leaf leaf;
  kl_status status = kl_tree_cursor_leaf(&cursor->place, &leaf, err);
  if (status != KL_OK) return status;
  if (cursor->batch > 1 && cursor->run == 0) pages_cursor_prefetch(&leaf, cursor->batch, forward);
  uint32_t i = leaf.index, end = forward ? leaf.count - 1 : 0;
  for (;;) {
    status = pages_cursor_append(cursor, buffer, &leaf, i, forward, err);
    if (status != KL_OK) { /* back to the last that was copied, when that is of this leaf */
      if (i == leaf.index) return status;
      kl_tree_cursor_stand(&cursor->place, forward ? i - 1 : i + 1);
      cursor->placed = forward ? 1 : -1;
      return status;
    }
    pages_prefetch_part(&cursor->op, i, leaf.count);
    if (i == end || buffer->high - buffer->low == cursor->ahead) break;
    i = forward ? i + 1 : i - 1;
  }
  kl_tree_cursor_stand(&cursor->place, i);
  cursor->placed = forward ? 1 : -1;
  return KL_OK;
}

/* Rows from `place` on, at least one. What fails behind the first row fails again, and is told, when the cursor gets
 * there. */
static kl_status pages_cursor_read(pages_cursor *cursor, pages_buffer *buffer, bool forward, kl_error *err) {
  kl_error ignored;
  for (;;) {
    bool some = buffer->low != buffer->high;
    cursor->placed = 0;
    kl_status status = pages_cursor_read_leaf(cursor, buffer, forward, some ? &ignored : err);
    if (status == KL_E_BUFFER_SIZE && cursor->room < PAGES_ROOM_MOST) cursor->room *= 4;
    if (status != KL_OK) return buffer->low != buffer->high ? KL_OK : status;
    if (buffer->high - buffer->low >= cursor->ahead) return KL_OK;
    status = /* the leaf is at its end; is there another one? */
        forward ? kl_tree_cursor_next(&cursor->place, &ignored) : kl_tree_cursor_prev(&cursor->place, &ignored);
    if (status == KL_E_NOT_FOUND && forward) buffer->ends = true;
    if (status == KL_E_NOT_FOUND && !forward) buffer->begins = true;
    if (status != KL_OK) {
      cursor->placed = 0;
      return KL_OK;
    }
  }
}

kl_status pages_cursor_place(pages_cursor *cursor, pages_from from, kl_error *err) {
  kl_tree_cursor *place = &cursor->place;
  kl_slice key = pages_cursor_sought(cursor);
  kl_tree_row row;
  kl_status status;
  switch (from) {
    case PAGES_FIRST:
      return kl_tree_cursor_first(place, err);
    case PAGES_LAST:
      return kl_tree_cursor_last(place, err);
    case PAGES_AT:
    case PAGES_AT_BACK:
      return KL_OK;
    case PAGES_ON:
      return kl_tree_cursor_next(place, err);
    case PAGES_BACK:
      return kl_tree_cursor_prev(place, err);
    case PAGES_GE:
    case PAGES_GT:
      status = kl_tree_cursor_seek_ge(place, key, err);
      break;
    default:
      status = kl_tree_cursor_seek_le(place, key, err);
      break;
  }
  if (status != KL_OK || from == PAGES_GE || from == PAGES_LE) return status;
  status = kl_tree_cursor_row(place, &row, err);
  if (status != KL_OK || !kl_slice_equal(row.key, key)) return status;
  return from == PAGES_GT ? kl_tree_cursor_next(place, err) : kl_tree_cursor_prev(place, err);
}

pages_from pages_cursor_lost(pages_cursor *cursor, pages_from from) {
  const pages_buffer *buffer = &cursor->buffers[cursor->current];
  if (from == PAGES_AT) return PAGES_GE;
  if (from == PAGES_AT_BACK) return PAGES_LE;
  if (from == PAGES_ON) {
    pages_cursor_seek_key(cursor, buffer->rows[buffer->high - 1].key);
    return PAGES_GT;
  }
  if (from == PAGES_BACK) {
    pages_cursor_seek_key(cursor, buffer->rows[buffer->low].key);
    return PAGES_LT;
  }
  return from;
}

static kl_status pages_cursor_prepare(pages_cursor *cursor, pages_buffer *buffer, bool forward, kl_error *err) {
  buffer->low = buffer->high = forward ? 0 : PAGES_AHEAD_MOST;
  buffer->used = 0;
  buffer->begins = buffer->ends = false;
  kl_error refused;
  kl_status status = pages_cursor_reserve(cursor, buffer, cursor->room, &refused);
  if (status == KL_OK || buffer->capacity != 0) return KL_OK; /* what there is does, if more slowly */
  if (err != NULL) *err = refused;
  return status;
}

/* `status` of a refill that read nothing. */
static kl_status pages_cursor_explain(pages_cursor *cursor, pages_from from, kl_status status, kl_error *err) {
  if (status == KL_E_NOT_FOUND) return status;
  int direction = 0;
  from = pages_cursor_lost(cursor, from);
  if (from == PAGES_FIRST || from == PAGES_LAST) pages_cursor_seek_key(cursor, kl_slice_make(NULL, 0));
  if (from == PAGES_LAST) { /* behind every key */
    memset(cursor->sought, 0xff, sizeof cursor->sought);
    cursor->sought_size = sizeof cursor->sought;
  }
  if (from != PAGES_FIRST && from != PAGES_LAST) direction = pages_from_direction(from);
  return pages_explain(cursor->pages, &cursor->op.failed, &cursor->root, pages_cursor_sought(cursor), direction, status,
                       err);
}

kl_status pages_cursor_fill(pages_cursor *cursor, pages_from from, kl_error *err) {
  bool forward = pages_from_direction(from) > 0;
  pages_buffer *buffer = &cursor->buffers[cursor->current ^ 1];
  kl_status status = kl_tree_pointer_is_null(&cursor->root) ? KL_E_NOT_FOUND : KL_OK;
  if (status == KL_OK) status = pages_cursor_prepare(cursor, buffer, forward, err);
  if (status != KL_OK) return pages_cursor_nowhere(cursor, status);
  pages_op_begin(&cursor->op, cursor->pages, cursor->run >= PAGES_RUN_SCAN ? KL_CACHE_SCAN : 0);
  if (cursor->run > 0) cursor->op.source.prefetch = pages_prefetch_page;
  for (;;) {
    status = pages_cursor_place(cursor, from, err);
    if (status == KL_OK) status = pages_cursor_read(cursor, buffer, forward, err);
    if (status != KL_CACHE_RETRY) break;
    from = pages_cursor_lost(cursor, from);
    pages_op_retry(&cursor->op);
  }
  kl_tree_cursor_park(&cursor->place);
  pages_op_end(&cursor->op);
  if (status != KL_OK) {
    status = pages_cursor_explain(cursor, from, status, err);
    return pages_cursor_nowhere(cursor, status);
  }
  cursor->current ^= 1;
  cursor->run++;
  cursor->ahead = cursor->ahead * 4 < PAGES_AHEAD_MOST ? cursor->ahead * 4 : PAGES_AHEAD_MOST;
  cursor->face.first = &buffer->rows[buffer->low];
  cursor->face.last = &buffer->rows[buffer->high - 1];
  cursor->face.row = forward ? cursor->face.first : cursor->face.last;
  cursor->face.valid = true;
  cursor->face.waits = false;
  kl_pages_cursor_show(&cursor->face);
  return KL_OK;
}

/* -------- moves -------- */

static kl_status pages_cursor_jump(kl_pages_cursor *face, pages_from from, kl_error *err) {
  pages_cursor *cursor = (pages_cursor *)face;
  cursor->ahead = cursor->batch != 0 ? 1 : PAGES_AHEAD_FIRST;
  cursor->run = 0;
  return pages_cursor_fill(cursor, from, err);
}

kl_status pages_cursor_settle(pages_cursor *cursor, bool forward, kl_error *err) {
  pages_from from = forward ? PAGES_AT : PAGES_AT_BACK;
  if (cursor->placed == 0) from = pages_cursor_lost(cursor, from);
  cursor->ahead = PAGES_AHEAD_FIRST;
  cursor->run = 0;
  return pages_cursor_fill(cursor, from, err);
}

kl_status kl_pages_cursor_first(kl_pages_cursor *face, kl_error *err) {
  return pages_cursor_jump(face, PAGES_FIRST, err);
}

kl_status kl_pages_cursor_last(kl_pages_cursor *face, kl_error *err) {
  return pages_cursor_jump(face, PAGES_LAST, err);
}

kl_status kl_pages_cursor_seek_ge(kl_pages_cursor *face, kl_slice key, kl_error *err) {
  pages_cursor_seek_key((pages_cursor *)face, key);
  return pages_cursor_jump(face, PAGES_GE, err);
}

kl_status kl_pages_cursor_seek_le(kl_pages_cursor *face, kl_slice key, kl_error *err) {
  pages_cursor_seek_key((pages_cursor *)face, key);
  return pages_cursor_jump(face, PAGES_LE, err);
}

static kl_status pages_cursor_turn(kl_pages_cursor *face, bool forward, kl_error *err) {
  pages_cursor *cursor = (pages_cursor *)face;
  const pages_buffer *buffer = &cursor->buffers[cursor->current];
  if (!face->valid) return KL_E_NOT_FOUND;
  cursor->batch = 0;
  if (face->waits) {
    kl_status status = pages_cursor_settle(cursor, forward, err);
    if (status != KL_OK) return status;
    if (face->row != (forward ? face->last : face->first)) {
      return forward ? kl_pages_cursor_next(face, err) : kl_pages_cursor_prev(face, err);
    }
    buffer = &cursor->buffers[cursor->current];
  }
  if (forward ? buffer->ends : buffer->begins) return pages_cursor_nowhere(cursor, KL_E_NOT_FOUND);
  pages_from from = forward ? PAGES_ON : PAGES_BACK;
  if (cursor->placed != (forward ? 1 : -1)) { /* it was read the other way, or the place was lost */
    from = pages_cursor_lost(cursor, from);
  }
  return pages_cursor_fill(cursor, from, err);
}

kl_status kl_pages_cursor_next_slow(kl_pages_cursor *face, kl_error *err) {
  return pages_cursor_turn(face, true, err);
}

kl_status kl_pages_cursor_prev_slow(kl_pages_cursor *face, kl_error *err) {
  return pages_cursor_turn(face, false, err);
}

/* -------- far values -------- */

kl_status kl_pages_cursor_load(kl_pages_cursor *face, kl_error *err) {
  pages_cursor *cursor = (pages_cursor *)face;
  kl_status status = face->waits ? pages_cursor_settle(cursor, true, err) : KL_OK;
  if (status != KL_OK || !face->is_far) return status;
  status = kl_pages_get(cursor->pages, &cursor->root, face->key, &cursor->far, err);
  if (status == KL_E_NOT_FOUND) {
    return kl_fail(err, KL_E_CORRUPT, "a row that a cursor saw is gone from its tree; restore from a backup");
  }
  if (status != KL_OK) return status;
  face->value = cursor->far.value;
  face->is_far = false;
  return KL_OK;
}
