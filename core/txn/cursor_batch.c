/* core/txn/cursor_batch.c: many rows in one call. See txn.h.
 *
 * Where the keyspace has nothing but its tree, rows go from the pages into the batch, without the merge. The cursor is
 * *detached* then: it stands on the last row taken, the tree's cursor on the one behind, and the merge nowhere; what
 * comes next either goes on from there, or puts the merge on the cursor's key first. A batch that fails, or that ended
 * before a row that is for the next one, detaches the cursor as well: nothing can fail on the way back. */
#include <string.h>

#include "cursor_private.h"

enum { CURSOR_BATCH_BYTES = 1024 * 1024 };

/* The key of the last row of a batch that has rows. */
static kl_slice cursor_last_row(const kl_batch *batch) {
  uint64_t from = batch->key_offsets[batch->count - 1];
  size_t size = (size_t)(batch->key_offsets[batch->count] - from);
  return size != 0 ? kl_slice_make(batch->keys + from, size) : kl_slice_make("", 0); /* the column may be NULL */
}

/* Keeps the cursor's key, which moves on with the source that shows it; it is where kl_cursor_detach would have it. */
static kl_slice cursor_keep_key(kl_cursor *cursor) {
  if (cursor->place != CURSOR_ON) return kl_slice_make(NULL, 0);
  if (!cursor->detached && cursor->key.size != 0) memcpy(cursor->batch_key, cursor->key.data, cursor->key.size);
  return kl_slice_make(cursor->batch_key, cursor->key.size);
}

/* Row by row, as the merge gives them. */
static kl_status cursor_collect_merge(kl_cursor *cursor, bool forward, size_t max_rows, size_t max_bytes,
                                      kl_batch *batch, kl_error *err) {
  cursor_place start_place = cursor->place;
  kl_slice start_key = cursor_keep_key(cursor);
  size_t bytes = 0;
  kl_status status = KL_OK;
  while (max_rows == 0 || batch->count < max_rows) {
    status = kl_cursor_step(cursor, forward, err);
    if (status != KL_OK) break;
    kl_source *row = cursor->sources.merge.current;
    size_t size = row->key.size + row->value.size;
    if (batch->count != 0 && (size > max_bytes || bytes > max_bytes - size)) {
      status = KL_E_NOT_FOUND; /* in this batch */
      break;
    }
    kl_slice value;
    status = kl_source_value(row, &value, err);
    if (status == KL_OK) status = kl_batch_append(batch, row->key, value, true, err);
    if (status != KL_OK) break;
    bytes += size;
  }
  if (status == KL_E_NOT_FOUND) {
    if (batch->count != 0) kl_cursor_detach(cursor, CURSOR_ON, cursor_last_row(batch), forward);
    return KL_OK;
  }
  if (status != KL_OK) kl_cursor_detach(cursor, start_place, start_key, forward);
  return status;
}

/* Is the tree all that there is? Versions that come into the active delta from now on are not for this snapshot, so a
 * keyspace that it does not have now counts as absent. */
static bool cursor_is_tree_only(const kl_cursor *cursor) {
  const kl_layers *layers = cursor->txn->snapshot.layers;
  return cursor->sources.tree.cursor != NULL && !kl_txn_has_runs(cursor->txn) &&
         kl_write_set_tree(&cursor->txn->writes, cursor->keyspace) == NULL &&
         !kl_delta_has(layers->active, cursor->keyspace) &&
         (layers->frozen == NULL || !kl_delta_has(layers->frozen, cursor->keyspace));
}

/* Puts the tree's cursor on the first row to take, or, *out_beyond, on the one before it. KL_E_NOT_FOUND: there is none
 * in that direction. */
static kl_status cursor_tree_start(kl_cursor *cursor, bool forward, bool *out_beyond, kl_error *err) {
  kl_pages_cursor *tree = cursor->sources.tree.cursor;
  kl_slice bound = forward ? cursor->lower : cursor->upper;
  *out_beyond = false;
  if (cursor->place == (forward ? CURSOR_BEHIND : CURSOR_BEFORE)) return KL_E_NOT_FOUND;
  if (cursor->place == CURSOR_ON) {
    if (cursor->detached && cursor->detached_ahead && cursor->detached_forward == forward) {
      return tree->valid ? KL_OK : KL_E_NOT_FOUND;
    }
    /* Of a merge that has seen nothing but the tree, the tree's cursor stands on the key already. */
    if (cursor->detached || !tree->valid || tree->waits || !kl_slice_equal(tree->key, cursor->key)) {
      kl_status status =
          forward ? kl_pages_cursor_seek_ge(tree, cursor->key, err) : kl_pages_cursor_seek_le(tree, cursor->key, err);
      if (status != KL_OK) return status;
      if (!kl_slice_equal(tree->key, cursor->key)) return KL_OK; /* a row that the tree does not have: behind it */
    }
    *out_beyond = true;
    return KL_OK;
  }
  if (bound.data == NULL) return forward ? kl_pages_cursor_first(tree, err) : kl_pages_cursor_last(tree, err);
  if (forward) return kl_pages_cursor_seek_ge(tree, bound, err);
  kl_status status = kl_pages_cursor_seek_le(tree, bound, err); /* the upper bound is outside */
  if (status == KL_OK && kl_slice_equal(tree->key, bound)) status = kl_pages_cursor_prev(tree, err);
  return status;
}

static kl_status cursor_take_row(void *context, kl_slice key, kl_slice value, kl_error *err) {
  return kl_batch_append(context, key, value, true, err);
}

/* The row at the tree's cursor, whose value has to be loaded. *out_full: it is for the next batch. */
static kl_status cursor_take_far(kl_cursor *cursor, bool forward, size_t max_bytes, size_t *bytes, kl_batch *batch,
                                 bool *out_full, kl_error *err) {
  kl_pages_cursor *tree = cursor->sources.tree.cursor;
  size_t size = tree->key.size + tree->value.size;
  *out_full = batch->count != 0 && (size > max_bytes || *bytes > max_bytes - size);
  if (*out_full) return KL_OK;
  kl_slice value;
  kl_status status = kl_pages_cursor_value(tree, &value, err);
  if (status == KL_OK) status = kl_batch_append(batch, tree->key, value, true, err);
  if (status != KL_OK) return status;
  *bytes += size;
  return forward ? kl_pages_cursor_next(tree, err) : kl_pages_cursor_prev(tree, err);
}

/* Straight from the pages of the tree, from where its cursor stands. KL_E_NOT_FOUND: to the end. */
static kl_status cursor_collect_pages(kl_cursor *cursor, bool forward, bool beyond, size_t max_rows, size_t max_bytes,
                                      kl_batch *batch, kl_error *err) {
  kl_pages_cursor *tree = cursor->sources.tree.cursor;
  kl_slice bound = forward ? cursor->upper : cursor->lower;
  size_t bytes = 0;
  while (max_rows == 0 || batch->count < max_rows) {
    kl_pages_collect how = {.forward = forward,
                            .beyond = beyond,
                            .bound = bound.data != NULL ? &bound : NULL,
                            .max_rows = max_rows == 0 ? 0 : max_rows - batch->count,
                            .max_bytes = max_bytes > bytes ? max_bytes - bytes : 1,
                            .take = cursor_take_row,
                            .context = batch};
    size_t rows;
    kl_status status = kl_pages_cursor_collect(tree, &how, &rows, err);
    beyond = false;
    bytes = (size_t)(batch->key_offsets[batch->count] + batch->value_offsets[batch->count]);
    if (status != KL_OK) return status;
    if (!tree->is_far || (max_rows != 0 && batch->count >= max_rows)) return KL_OK;
    bool full;
    status = cursor_take_far(cursor, forward, max_bytes, &bytes, batch, &full, err);
    if (status != KL_OK || full) return status;
  }
  return KL_OK;
}

/* As kl_cursor_next_batch. On failure the cursor is back where it was. */
static kl_status cursor_collect_tree(kl_cursor *cursor, bool forward, size_t max_rows, size_t max_bytes,
                                     kl_batch *batch, kl_error *err) {
  if (cursor->place == CURSOR_LOST) return kl_cursor_step(cursor, forward, err);
  cursor_place start_place = cursor->place;
  kl_slice start_key = cursor_keep_key(cursor);
  bool beyond;
  kl_status status = cursor_tree_start(cursor, forward, &beyond, err);
  if (status == KL_OK) status = cursor_collect_pages(cursor, forward, beyond, max_rows, max_bytes, batch, err);
  cursor->txn->cursor_steps += batch->count;
  if (status != KL_OK && status != KL_E_NOT_FOUND) {
    kl_cursor_detach(cursor, start_place, start_key, forward);
    return status;
  }
  if (batch->count == 0) { /* off the end */
    kl_cursor_detach(cursor, forward ? CURSOR_BEHIND : CURSOR_BEFORE, start_key, forward);
    return KL_OK;
  }
  kl_cursor_detach(cursor, CURSOR_ON, cursor_last_row(batch), forward);
  cursor->detached_ahead = true;
  return KL_OK;
}

static kl_status cursor_batch(kl_cursor *cursor, bool forward, size_t max_rows, size_t max_bytes, kl_batch *batch,
                              kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  if (max_bytes == 0) max_bytes = CURSOR_BATCH_BYTES;
  status = kl_batch_start(batch, err);
  if (status == KL_OK && cursor_is_tree_only(cursor)) {
    status = cursor_collect_tree(cursor, forward, max_rows, max_bytes, batch, err);
  } else if (status == KL_OK) {
    status = cursor_collect_merge(cursor, forward, max_rows, max_bytes, batch, err);
  }
  if (status != KL_OK) batch->count = 0;
  kl_txn_leave(cursor->txn);
  return status;
}

kl_status kl_cursor_next_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err) {
  return cursor_batch(cursor, true, max_rows, max_bytes, batch, err);
}

kl_status kl_cursor_prev_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err) {
  return cursor_batch(cursor, false, max_rows, max_bytes, batch, err);
}
