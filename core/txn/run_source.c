/* core/txn/run_source.c: see run_source.h. */
#include "run_source.h"

#include <string.h>

/* The newest cursor with the nearest key is shown. */
static void run_source_settle(kl_run_source *run) {
  kl_run_cursor *best = NULL;
  for (size_t i = 0; i < run->count; i++) {
    kl_run_cursor *at = &run->cursors[i];
    if (!at->cursor->valid) continue;
    int order = best == NULL ? 0 : kl_slice_compare(at->cursor->key, best->cursor->key);
    if (best == NULL || (run->forward ? order < 0 : order > 0)) best = at;
  }
  run->current = best;
  run->source.valid = best != NULL;
  if (best == NULL) return;
  run->source.key = best->cursor->key;
  run->source.kind = best->deletes ? KL_VERSION_DELETE : KL_VERSION_PUT;
  run->source.value = best->deletes ? kl_slice_make(NULL, 0) : best->cursor->value;
}

typedef enum run_source_move { RUN_FIRST, RUN_LAST, RUN_SEEK_GE, RUN_SEEK_LE } run_source_move;

static kl_status run_source_move_one(kl_pages_cursor *cursor, run_source_move move, kl_slice key, kl_error *err) {
  kl_status status = KL_OK;
  switch (move) {
    case RUN_FIRST:
      status = kl_pages_cursor_first(cursor, err);
      break;
    case RUN_LAST:
      status = kl_pages_cursor_last(cursor, err);
      break;
    case RUN_SEEK_GE:
      status = kl_pages_cursor_seek_ge(cursor, key, err);
      break;
    case RUN_SEEK_LE:
      status = kl_pages_cursor_seek_le(cursor, key, err);
      break;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

static kl_status run_source_move_all(kl_run_source *run, run_source_move move, kl_slice key, kl_error *err) {
  run->forward = move == RUN_FIRST || move == RUN_SEEK_GE;
  run->source.valid = false;
  for (size_t i = 0; i < run->count; i++) {
    kl_status status = run_source_move_one(run->cursors[i].cursor, move, key, err);
    if (status != KL_OK) return status;
  }
  run_source_settle(run);
  return KL_OK;
}

static kl_status run_source_first(kl_source *source, kl_error *err) {
  return run_source_move_all((kl_run_source *)source, RUN_FIRST, kl_slice_make(NULL, 0), err);
}
static kl_status run_source_last(kl_source *source, kl_error *err) {
  return run_source_move_all((kl_run_source *)source, RUN_LAST, kl_slice_make(NULL, 0), err);
}
static kl_status run_source_seek_ge(kl_source *source, kl_slice key, kl_error *err) {
  return run_source_move_all((kl_run_source *)source, RUN_SEEK_GE, key, err);
}
static kl_status run_source_seek_le(kl_source *source, kl_slice key, kl_error *err) {
  return run_source_move_all((kl_run_source *)source, RUN_SEEK_LE, key, err);
}

/* All cursors that stand on the current key move on; the others stand behind it in that direction already, unless it has
 * turned round. */
static kl_status run_source_step(kl_run_source *run, bool forward, kl_error *err) {
  uint8_t bytes[KL_MAX_KEY];
  kl_slice shown = run->source.key;
  if (shown.size != 0) memcpy(bytes, shown.data, shown.size);
  kl_slice key = kl_slice_make(bytes, shown.size);
  if (run->forward != forward) {
    kl_status status = run_source_move_all(run, forward ? RUN_SEEK_GE : RUN_SEEK_LE, key, err);
    if (status != KL_OK) return status;
  }
  run->source.valid = false;
  for (size_t i = 0; i < run->count; i++) {
    kl_pages_cursor *cursor = run->cursors[i].cursor;
    if (!cursor->valid || !kl_slice_equal(cursor->key, key)) continue;
    kl_status status = forward ? kl_pages_cursor_next(cursor, err) : kl_pages_cursor_prev(cursor, err);
    if (status != KL_OK && status != KL_E_NOT_FOUND) return status;
  }
  run_source_settle(run);
  return KL_OK;
}

static kl_status run_source_next(kl_source *source, kl_error *err) {
  return run_source_step((kl_run_source *)source, true, err);
}
static kl_status run_source_prev(kl_source *source, kl_error *err) {
  return run_source_step((kl_run_source *)source, false, err);
}

static kl_status run_source_value(kl_source *source, kl_slice *out_value, kl_error *err) {
  kl_run_source *run = (kl_run_source *)source;
  *out_value = kl_slice_make(NULL, 0);
  return run->current->deletes ? KL_OK : kl_pages_cursor_value(run->current->cursor, out_value, err);
}

static const kl_source_ops run_source_ops = {
    .first = run_source_first,
    .last = run_source_last,
    .seek_ge = run_source_seek_ge,
    .seek_le = run_source_seek_le,
    .next = run_source_next,
    .prev = run_source_prev,
    .value = run_source_value,
};

static kl_status run_source_add(kl_run_source *source, kl_roots *roots, uint32_t id, bool deletes, kl_error *err) {
  kl_tree_pointer root;
  if (id == 0) return KL_OK;
  kl_status status = kl_roots_find(roots, id, &root, err);
  if (status != KL_OK || kl_tree_pointer_is_null(&root)) return status;
  kl_pages_cursor *cursor;
  status = kl_pages_cursor_new(kl_roots_pages(roots), &root, &cursor, err);
  if (status == KL_OK) source->cursors[source->count++] = (kl_run_cursor){cursor, deletes};
  return status;
}

kl_status kl_run_source_init(kl_run_source *source, kl_allocator *allocator, const kl_run *run, kl_roots *roots,
                             uint32_t keyspace, kl_error *err) {
  memset(source, 0, sizeof *source);
  for (size_t i = 0; i < run->part_count; i++) source->capacity += run->parts[i].keyspace == keyspace ? 2 : 0;
  if (source->capacity == 0) return KL_OK;
  source->allocator = allocator;
  source->source.ops = &run_source_ops;
  source->cursors = kl_alloc(allocator, source->capacity * sizeof *source->cursors);
  if (source->cursors == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a cursor");
  kl_status status = KL_OK;
  for (size_t i = run->part_count; i-- > 0 && status == KL_OK;) {
    const kl_run_part *part = &run->parts[i];
    if (part->keyspace != keyspace) continue;
    status = run_source_add(source, roots, part->trees.puts, false, err);
    if (status == KL_OK) status = run_source_add(source, roots, part->trees.deletes, true, err);
  }
  if (status != KL_OK) kl_run_source_destroy(source);
  return status;
}

void kl_run_source_destroy(kl_run_source *source) {
  for (size_t i = 0; i < source->count; i++) kl_pages_cursor_free(source->cursors[i].cursor);
  if (source->cursors != NULL) {
    kl_free(source->allocator, source->cursors, source->capacity * sizeof *source->cursors);
  }
  memset(source, 0, sizeof *source);
}
