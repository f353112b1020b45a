/* core/txn/merge.c: the k-way merge and its two sources. See merge.h.
 *
 * With a handful of sources a linear look for the smallest key beats a heap. Going on in the same direction moves
 * only the sources that stand on the current key; turning round seeks all of them. */
#include "merge.h"

#include <string.h>

#include "../base/assert.h"

static kl_status merge_write_show(kl_write_source *source) {
  const kl_write_entry *entry = source->position.entry;
  source->source.valid = entry != NULL;
  if (entry == NULL) return KL_OK;
  source->source.kind = (kl_version_kind)entry->kind;
  source->source.key = kl_write_entry_key(entry);
  source->source.value = kl_write_entry_value(entry);
  return KL_OK;
}

/* The tree appears with the transaction's first write to the keyspace, perhaps after the cursor was opened. */
static const kl_write_tree *merge_write_tree(kl_write_source *source) {
  source->position.entry = NULL;
  return kl_write_set_tree(source->set, source->keyspace);
}

static kl_status merge_write_first(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_first(tree, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_last(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_last(tree, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_seek_ge(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_seek_ge(tree, key, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_seek_le(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  const kl_write_tree *tree = merge_write_tree(source);
  if (tree != NULL) kl_write_tree_seek_le(tree, key, &source->position);
  return merge_write_show(source);
}

static kl_status merge_write_next(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  kl_write_position_next(&source->position);
  return merge_write_show(source);
}

static kl_status merge_write_prev(kl_source *base, kl_error *err) {
  (void)err;
  kl_write_source *source = (kl_write_source *)base;
  kl_write_position_prev(&source->position);
  return merge_write_show(source);
}

static const kl_source_ops merge_write_ops = {merge_write_first,
                                              merge_write_last,
                                              merge_write_seek_ge,
                                              merge_write_seek_le,
                                              merge_write_next,
                                              merge_write_prev,
                                              NULL};

void kl_write_source_init(kl_write_source *source, const kl_write_set *set, uint32_t keyspace) {
  memset(source, 0, sizeof *source);
  source->source.ops = &merge_write_ops;
  source->set = set;
  source->keyspace = keyspace;
}

static kl_status merge_delta_show(kl_delta_source *source) {
  source->source.valid = source->cursor.valid;
  if (!source->cursor.valid) return KL_OK;
  source->source.kind = source->cursor.version.kind;
  source->source.key = source->cursor.key;
  source->source.value = source->cursor.version.value;
  return KL_OK;
}

static kl_status merge_delta_first(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_first(&source->cursor);
  return merge_delta_show(source);
}

static kl_status merge_delta_last(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_last(&source->cursor);
  return merge_delta_show(source);
}

static kl_status merge_delta_seek_ge(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_seek_ge(&source->cursor, key);
  return merge_delta_show(source);
}

static kl_status merge_delta_seek_le(kl_source *base, kl_slice key, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_seek_le(&source->cursor, key);
  return merge_delta_show(source);
}

static kl_status merge_delta_next(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_next(&source->cursor);
  return merge_delta_show(source);
}

static kl_status merge_delta_prev(kl_source *base, kl_error *err) {
  (void)err;
  kl_delta_source *source = (kl_delta_source *)base;
  kl_delta_cursor_prev(&source->cursor);
  return merge_delta_show(source);
}

static const kl_source_ops merge_delta_ops = {merge_delta_first,
                                              merge_delta_last,
                                              merge_delta_seek_ge,
                                              merge_delta_seek_le,
                                              merge_delta_next,
                                              merge_delta_prev,
                                              NULL};

void kl_delta_source_init(kl_delta_source *source, kl_delta *delta, uint32_t keyspace, uint64_t read_ts) {
  memset(source, 0, sizeof *source);
  source->source.ops = &merge_delta_ops;
  kl_delta_cursor_init(&source->cursor, delta, keyspace, read_ts);
}

/* The source whose key comes first in the direction of the merge; of equal keys, the newest source's. */
static kl_source *merge_choose(const kl_merge *merge) {
  kl_source *best = NULL;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_source *source = merge->sources[i];
    if (!source->valid) continue;
    if (best != NULL) {
      int c = kl_slice_compare(source->key, best->key);
      if (merge->forward ? c >= 0 : c <= 0) continue;
    }
    best = source;
  }
  return best;
}

/* Moves every source that stands on `key` one step in the direction of the merge. */
static kl_status merge_leave(kl_merge *merge, kl_slice key, kl_error *err) {
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_source *source = merge->sources[i];
    if (!source->valid || !kl_slice_equal(source->key, key)) continue;
    kl_status status = merge->forward ? source->ops->next(source, err) : source->ops->prev(source, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* Chooses, and passes over the keys whose version is a delete. */
static kl_status merge_settle(kl_merge *merge, kl_error *err) {
  for (;;) {
    merge->current = merge_choose(merge);
    if (merge->current == NULL || merge->current->kind != KL_VERSION_DELETE) return KL_OK;
    kl_status status = merge_leave(merge, merge->current->key, err);
    if (status != KL_OK) return status;
  }
}

kl_status kl_merge_first(kl_merge *merge, kl_error *err) {
  merge->forward = true;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_status status = merge->sources[i]->ops->first(merge->sources[i], err);
    if (status != KL_OK) return status;
  }
  return merge_settle(merge, err);
}

kl_status kl_merge_last(kl_merge *merge, kl_error *err) {
  merge->forward = false;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_status status = merge->sources[i]->ops->last(merge->sources[i], err);
    if (status != KL_OK) return status;
  }
  return merge_settle(merge, err);
}

/* Every source to the key, or to the nearest one behind it in the given direction. */
static kl_status merge_seek_all(kl_merge *merge, bool forward, kl_slice key, kl_error *err) {
  merge->forward = forward;
  for (uint32_t i = 0; i < merge->count; i++) {
    kl_source *source = merge->sources[i];
    kl_status status = forward ? source->ops->seek_ge(source, key, err) : source->ops->seek_le(source, key, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

kl_status kl_merge_seek_ge(kl_merge *merge, kl_slice key, kl_error *err) {
  kl_status status = merge_seek_all(merge, true, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_seek_le(kl_merge *merge, kl_slice key, kl_error *err) {
  kl_status status = merge_seek_all(merge, false, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_next(kl_merge *merge, kl_slice key, kl_error *err) {
  if (!merge->forward) {
    kl_status status = merge_seek_all(merge, true, key, err);
    if (status != KL_OK) return status;
  }
  kl_status status = merge_leave(merge, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_prev(kl_merge *merge, kl_slice key, kl_error *err) {
  if (merge->forward) {
    kl_status status = merge_seek_all(merge, false, key, err);
    if (status != KL_OK) return status;
  }
  kl_status status = merge_leave(merge, key, err);
  return status == KL_OK ? merge_settle(merge, err) : status;
}

kl_status kl_merge_return(kl_merge *merge, bool forward, kl_slice key, kl_error *err) {
  kl_status status = merge_seek_all(merge, forward, key, err);
  if (status == KL_OK) merge->current = merge_choose(merge);
  return status;
}

kl_status kl_merge_refresh(kl_merge *merge, kl_source *source, kl_slice key, kl_error *err) {
  kl_status status = merge->forward ? source->ops->seek_ge(source, key, err) : source->ops->seek_le(source, key, err);
  if (status != KL_OK) return status;
  merge->current = merge_choose(merge);
  /* Somebody still has the key: a delta never forgets one, and neither does a write set. */
  KL_ASSERT(merge->current != NULL && kl_slice_equal(merge->current->key, key));
  return KL_OK;
}
