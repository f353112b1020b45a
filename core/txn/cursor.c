/* core/txn/cursor.c: cursors over what a transaction sees. See txn.h.
 *
 * A cursor is a place: on a key, before the first, behind the last, or fresh. The sources under it may lag behind the
 * transaction's writes; before it moves on or shows something, a cursor that stands on a key compares the write
 * tree's change count with the one it saw, and looks again. The committed source never changes: it is read at the
 * snapshot. */
#include <string.h>

#include "../base/assert.h"
#include "cursor_private.h"

static kl_slice cursor_copy_bound(uint8_t *to, kl_slice bound) {
  if (bound.data == NULL) return bound;
  if (bound.size != 0) memcpy(to, bound.data, bound.size);
  return kl_slice_make(to, bound.size);
}

/* A few instructions each, but for suspending, which is rare. */
static void cursor_list_lock(kl_txn *txn) {
  while (atomic_exchange_explicit(&txn->listing, 1, memory_order_acquire) != 0) kl_thread_yield();
}

static void cursor_list_unlock(kl_txn *txn) {
  atomic_store_explicit(&txn->listing, 0, memory_order_release);
}

static void cursor_link(kl_cursor *cursor) {
  kl_txn *txn = cursor->txn;
  cursor_list_lock(txn);
  cursor->next = txn->cursors;
  cursor->link = &txn->cursors;
  if (cursor->next != NULL) cursor->next->link = &cursor->next;
  txn->cursors = cursor;
  cursor_list_unlock(txn);
}

static void cursor_unlink(kl_cursor *cursor) {
  cursor_list_lock(cursor->txn);
  *cursor->link = cursor->next;
  if (cursor->next != NULL) cursor->next->link = cursor->link;
  cursor_list_unlock(cursor->txn);
}

kl_status kl_cursor_open(kl_txn *txn, uint32_t keyspace, kl_slice lower, kl_slice upper, kl_cursor **out_cursor,
                         kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = kl_txn_check_key(lower, err);
  if (status == KL_OK) status = kl_txn_check_key(upper, err);
  if (status == KL_OK) {
    size_t size = sizeof(kl_cursor) + lower.size + upper.size;
    kl_cursor *cursor = kl_alloc(&txn->manager->allocator, size);
    if (cursor == NULL) {
      status = kl_fail(err, KL_E_NO_MEMORY, "no memory for a cursor");
    } else {
      status = kl_txn_sources_init(&cursor->sources, txn, keyspace, err);
      if (status != KL_OK) kl_free(&txn->manager->allocator, cursor, size);
    }
    if (status == KL_OK) {
      cursor->txn = txn;
      atomic_fetch_add_explicit(&txn->references, 1, memory_order_relaxed);
      cursor->keyspace = keyspace;
      cursor->size = size;
      cursor->lower = cursor_copy_bound(cursor->bounds, lower);
      cursor->upper = cursor_copy_bound(cursor->bounds + lower.size, upper);
      cursor_link(cursor);
      *out_cursor = cursor;
    }
  }
  kl_txn_leave(txn);
  return status;
}

void kl_cursor_close(kl_cursor *cursor) {
  if (cursor == NULL) return;
  kl_txn *txn = cursor->txn;
  cursor_unlink(cursor); /* from here on nobody suspends it */
  kl_txn_sources_destroy(&cursor->sources);
  kl_free(&txn->manager->allocator, cursor, cursor->size);
  kl_txn_unref(txn);
}

void kl_cursor_detach(kl_cursor *cursor, cursor_place place, kl_slice key, bool forward) {
  cursor->place = place;
  cursor->detached = place == CURSOR_ON;
  cursor->detached_forward = forward;
  cursor->detached_ahead = false;
  if (place != CURSOR_ON) return;
  if (key.size != 0 && key.data != cursor->batch_key) memcpy(cursor->batch_key, key.data, key.size);
  cursor->key = kl_slice_make(cursor->batch_key, key.size);
}

static void cursor_suspend(kl_cursor *cursor) {
  if (cursor->suspended) return;
  if (!cursor->detached) kl_cursor_detach(cursor, cursor->place, cursor->key, cursor->sources.merge.forward);
  cursor->detached_ahead = false;
  kl_txn_sources_destroy(&cursor->sources);
  cursor->suspended = true;
}

void kl_cursors_suspend(kl_txn *txn) {
  cursor_list_lock(txn);
  for (kl_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next) cursor_suspend(cursor);
  cursor_list_unlock(txn);
}

kl_status kl_cursor_enter(kl_cursor *cursor, kl_error *err) {
  kl_txn *txn = cursor->txn;
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK || !cursor->suspended) return status;
  status = kl_txn_sources_init(&cursor->sources, txn, cursor->keyspace, err);
  cursor->suspended = status != KL_OK; /* the place is kept: it may be tried again */
  if (status != KL_OK) kl_txn_leave(txn);
  return status;
}

static uint64_t cursor_changes(const kl_cursor *cursor) {
  const kl_write_tree *tree = kl_write_set_tree(&cursor->txn->writes, cursor->keyspace);
  return tree != NULL ? tree->changes : 0;
}

/* Takes the place that the merge has come to, moving forward or backward. */
static kl_status cursor_arrive(kl_cursor *cursor, bool forward) {
  const kl_source *source = cursor->sources.merge.current;
  bool inside = source != NULL;
  if (inside && forward && cursor->upper.data != NULL) inside = kl_slice_compare(source->key, cursor->upper) < 0;
  if (inside && !forward && cursor->lower.data != NULL) inside = kl_slice_compare(source->key, cursor->lower) >= 0;
  if (!inside) {
    cursor->place = forward ? CURSOR_BEHIND : CURSOR_BEFORE;
    return KL_E_NOT_FOUND;
  }
  cursor->place = CURSOR_ON;
  cursor->key = source->key;
  return KL_OK;
}

static kl_status cursor_first(kl_cursor *cursor, kl_error *err) {
  cursor->detached = false;
  cursor->changes_seen = cursor_changes(cursor);
  kl_status status = cursor->lower.data != NULL ? kl_merge_seek_ge(&cursor->sources.merge, cursor->lower, err)
                                                : kl_merge_first(&cursor->sources.merge, err);
  return status == KL_OK ? cursor_arrive(cursor, true) : status;
}

static kl_status cursor_last(kl_cursor *cursor, kl_error *err) {
  cursor->detached = false;
  cursor->changes_seen = cursor_changes(cursor);
  if (cursor->upper.data == NULL) {
    kl_status status = kl_merge_last(&cursor->sources.merge, err);
    return status == KL_OK ? cursor_arrive(cursor, false) : status;
  }
  kl_status status = kl_merge_seek_le(&cursor->sources.merge, cursor->upper, err);
  if (status != KL_OK) return status;
  const kl_source *at = cursor->sources.merge.current;
  if (at != NULL && kl_slice_equal(at->key, cursor->upper)) { /* the upper bound is outside */
    status = kl_merge_prev(&cursor->sources.merge, cursor->upper, err);
    if (status != KL_OK) return status;
  }
  return cursor_arrive(cursor, false);
}

static kl_status cursor_seek_ge(kl_cursor *cursor, kl_slice key, kl_error *err) {
  if (cursor->lower.data != NULL && kl_slice_compare(key, cursor->lower) < 0) return cursor_first(cursor, err);
  cursor->detached = false;
  cursor->changes_seen = cursor_changes(cursor);
  kl_status status = kl_merge_seek_ge(&cursor->sources.merge, key, err);
  return status == KL_OK ? cursor_arrive(cursor, true) : status;
}

static kl_status cursor_seek_le(kl_cursor *cursor, kl_slice key, kl_error *err) {
  if (cursor->upper.data != NULL && kl_slice_compare(key, cursor->upper) >= 0) return cursor_last(cursor, err);
  cursor->detached = false;
  cursor->changes_seen = cursor_changes(cursor);
  kl_status status = kl_merge_seek_le(&cursor->sources.merge, key, err);
  return status == KL_OK ? cursor_arrive(cursor, false) : status;
}

/* Puts the merge on the key of a detached cursor. A failure leaves the cursor detached. */
static kl_status cursor_attach(kl_cursor *cursor, kl_error *err) {
  cursor->detached_ahead = false;
  cursor->changes_seen = cursor_changes(cursor);
  kl_status status = kl_merge_return(&cursor->sources.merge, cursor->detached_forward, cursor->key, err);
  if (status != KL_OK) return status;
  const kl_source *current = cursor->sources.merge.current;
  if (current == NULL || !kl_slice_equal(current->key, cursor->key)) {
    return KL_BROKEN(err, "a cursor cannot find the row again that it stood on");
  }
  cursor->detached = false;
  cursor->key = current->key;
  return KL_OK;
}

/* The cursor stands on a key: makes the merge stand there too, as the transaction sees it now. */
static kl_status cursor_refresh(kl_cursor *cursor, kl_error *err) {
  if (cursor->detached) return cursor_attach(cursor, err);
  uint64_t changes = cursor_changes(cursor);
  if (changes == cursor->changes_seen) return KL_OK;
  cursor->changes_seen = changes;
  return kl_merge_refresh(&cursor->sources.merge, &cursor->sources.own.source, cursor->key, err);
}

static kl_status cursor_lost(kl_error *err) {
  return kl_fail(err, KL_E_INVALID, "the cursor has lost its place, because a move failed; seek, or go to an end");
}

static kl_status cursor_next(kl_cursor *cursor, kl_error *err) {
  cursor->txn->cursor_steps++;
  if (cursor->place == CURSOR_BEHIND) return KL_E_NOT_FOUND;
  if (cursor->place == CURSOR_LOST) return cursor_lost(err);
  if (cursor->place != CURSOR_ON) return cursor_first(cursor, err);
  kl_status status = cursor_refresh(cursor, err);
  if (status == KL_OK) status = kl_merge_next(&cursor->sources.merge, cursor->key, err);
  return status == KL_OK ? cursor_arrive(cursor, true) : status;
}

static kl_status cursor_prev(kl_cursor *cursor, kl_error *err) {
  cursor->txn->cursor_steps++;
  if (cursor->place == CURSOR_BEFORE) return KL_E_NOT_FOUND;
  if (cursor->place == CURSOR_LOST) return cursor_lost(err);
  if (cursor->place != CURSOR_ON) return cursor_last(cursor, err);
  kl_status status = cursor_refresh(cursor, err);
  if (status == KL_OK) status = kl_merge_prev(&cursor->sources.merge, cursor->key, err);
  return status == KL_OK ? cursor_arrive(cursor, false) : status;
}

kl_status kl_cursor_step(kl_cursor *cursor, bool forward, kl_error *err) {
  return forward ? cursor_next(cursor, err) : cursor_prev(cursor, err);
}

/* What a public move gives back: fills err for the end of the range, which the loops inside do not need. */
static kl_status cursor_leave(kl_cursor *cursor, kl_status status, kl_error *err) {
  if (status != KL_OK && status != KL_E_NOT_FOUND && status != KL_E_KEY_SIZE) cursor->place = CURSOR_LOST;
  kl_txn_leave(cursor->txn);
  return status == KL_E_NOT_FOUND ? kl_txn_not_found(err, "there is no key in that direction") : status;
}

kl_status kl_cursor_first(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  return cursor_leave(cursor, cursor_first(cursor, err), err);
}

kl_status kl_cursor_last(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  return cursor_leave(cursor, cursor_last(cursor, err), err);
}

kl_status kl_cursor_seek_ge(kl_cursor *cursor, kl_slice key, kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  status = kl_txn_check_key(key, err);
  return cursor_leave(cursor, status == KL_OK ? cursor_seek_ge(cursor, key, err) : status, err);
}

kl_status kl_cursor_seek_le(kl_cursor *cursor, kl_slice key, kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  cursor->txn->cursor_steps++;
  status = kl_txn_check_key(key, err);
  return cursor_leave(cursor, status == KL_OK ? cursor_seek_le(cursor, key, err) : status, err);
}

kl_status kl_cursor_next(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  return cursor_leave(cursor, cursor_next(cursor, err), err);
}

kl_status kl_cursor_prev(kl_cursor *cursor, kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  return cursor_leave(cursor, cursor_prev(cursor, err), err);
}

kl_status kl_cursor_get(kl_cursor *cursor, kl_slice *out_key, kl_slice *out_value, kl_error *err) {
  kl_status status = kl_cursor_enter(cursor, err);
  if (status != KL_OK) return status;
  if (cursor->place != CURSOR_ON) {
    status = kl_txn_not_found(err, "the cursor stands on no key");
  } else {
    status = cursor_refresh(cursor, err);
  }
  if (status == KL_OK && cursor->sources.merge.current->kind == KL_VERSION_DELETE) {
    status = kl_txn_not_found(err, "the transaction has deleted the key that the cursor stands on");
  }
  if (status == KL_OK) {
    status = kl_source_value(cursor->sources.merge.current, out_value, err);
    *out_key = cursor->sources.merge.current->key;
  }
  kl_txn_leave(cursor->txn);
  return status;
}
