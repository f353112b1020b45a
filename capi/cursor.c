/* capi/cursor.c: cursors. */
#include <string.h>

#include "layout.gen.h"
#include "objects.h"

static kl_status capi_cursor_destroy(capi_object *self, kl_error *err) {
  capi_cursor *object = (capi_cursor *)self;
  kl_cursor_close(object->cursor);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

/* What a cursor sees: the rows between two bounds, each NULL when open. */
typedef struct capi_cursor_range {
  kl_slice lower, upper;
  unsigned char after_prefix[KEEL_MAX_KEY_SIZE]; /* the first key behind all that start with the prefix */
} capi_cursor_range;

/* Narrows the range to the keys that start with `prefix`. */
static void capi_cursor_apply_prefix(capi_cursor_range *range, kl_slice prefix) {
  if (range->lower.data == NULL || kl_slice_compare(range->lower, prefix) < 0) range->lower = prefix;
  /* Cut the trailing 0xFF bytes and count the last other byte up. When there is none, no key lies behind. */
  memcpy(range->after_prefix, prefix.data, prefix.size);
  size_t size = prefix.size;
  while (size > 0 && range->after_prefix[size - 1] == 0xFF) size--;
  if (size == 0) return;
  range->after_prefix[size - 1]++;
  kl_slice end = kl_slice_make(range->after_prefix, size);
  if (range->upper.data == NULL || kl_slice_compare(end, range->upper) < 0) range->upper = end;
}

static kl_status capi_cursor_read_options(const keel_cursor_options *in, capi_cursor_range *out, kl_error *err) {
  keel_cursor_options options;
  kl_status status =
      capi_read_struct("keel_cursor_options", in, CAPI_CURSOR_OPTIONS_FIRST_SIZE, &options, sizeof options, err);
  if (status != KL_OK) return status;
  kl_slice prefix;
  status = capi_check_flags("keel_cursor_options.flags", options.flags, CAPI_CURSOR_OPTIONS_FLAGS_MAX, err);
  if (status != KL_OK) return status;
  status = capi_bound("keel_cursor_options.lower", options.lower, options.lower_size, &out->lower, err);
  if (status != KL_OK) return status;
  status = capi_bound("keel_cursor_options.upper", options.upper, options.upper_size, &out->upper, err);
  if (status != KL_OK) return status;
  status = capi_bound("keel_cursor_options.prefix", options.prefix, options.prefix_size, &prefix, err);
  if (status != KL_OK) return status;
  if (prefix.data != NULL) capi_cursor_apply_prefix(out, prefix);
  return KL_OK;
}

static kl_status capi_cursor_open_in(const capi_scope *scope, const capi_cursor_range *range, keel_cursor *out_cursor,
                                     kl_error *err) {
  capi_cursor *object = capi_object_new(sizeof *object, capi_cursor_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_cursor_open(scope->txn->txn, scope->keyspace, range->lower, range->upper, &object->cursor, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  kl_db_ref(scope->txn->engine);
  object->engine = scope->txn->engine;
  return capi_publish(CAPI_CURSOR, &object->object, out_cursor, err);
}

keel_status keel_cursor_open(keel_txn txn, keel_keyspace keyspace, const keel_cursor_options *options,
                             keel_cursor *out_cursor, keel_error *err) {
  kl_error detail;
  capi_cursor_range range;
  capi_scope scope;
  kl_status status = out_cursor != NULL ? KL_OK : capi_null("out_cursor", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_cursor_read_options(options, &range, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_cursor_open_in(&scope, &range, out_cursor, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_close(keel_cursor cursor, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_exclusive(CAPI_CURSOR, cursor, capi_detail(err, &detail)), &detail, err);
}

/* ---- Moves ---- */

static keel_status capi_cursor_move(keel_cursor cursor, kl_status (*move)(kl_cursor *cursor, kl_error *err),
                                    keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_cursor *object = capi_slot_object(slot);
    status = move(object->cursor, capi_detail(err, &detail));
    capi_leave_exclusive(slot);
  }
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_first(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_first, err);
}
keel_status keel_cursor_last(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_last, err);
}
keel_status keel_cursor_next(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_next, err);
}
keel_status keel_cursor_prev(keel_cursor cursor, keel_error *err) {
  return capi_cursor_move(cursor, kl_cursor_prev, err);
}

static keel_status capi_cursor_move_to(keel_cursor cursor, const void *key, size_t key_size,
                                       kl_status (*move)(kl_cursor *cursor, kl_slice key, kl_error *err),
                                       keel_error *err) {
  kl_error detail;
  kl_slice name;
  capi_slot *slot;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_cursor *object = capi_slot_object(slot);
  status = move(object->cursor, name, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_seek(keel_cursor cursor, const void *key, size_t key_size, keel_error *err) {
  return capi_cursor_move_to(cursor, key, key_size, kl_cursor_seek_ge, err);
}

keel_status keel_cursor_seek_le(keel_cursor cursor, const void *key, size_t key_size, keel_error *err) {
  return capi_cursor_move_to(cursor, key, key_size, kl_cursor_seek_le, err);
}

/* ---- Rows ---- */

keel_status keel_cursor_get(keel_cursor cursor, const void **out_key, size_t *out_key_size, const void **out_value,
                            size_t *out_value_size, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_slice key, value;
  kl_status status = KL_OK;
  if (out_key == NULL) status = capi_null("out_key", capi_detail(err, &detail));
  if (status == KL_OK && out_key_size == NULL) status = capi_null("out_key_size", capi_detail(err, &detail));
  if (status == KL_OK && out_value == NULL) status = capi_null("out_value", capi_detail(err, &detail));
  if (status == KL_OK && out_value_size == NULL) status = capi_null("out_value_size", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_cursor *object = capi_slot_object(slot);
  status = kl_cursor_get(object->cursor, &key, &value, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  if (status != KL_OK) return capi_report(status, &detail, err);
  *out_key = key.data != NULL ? key.data : "";
  *out_key_size = key.size;
  *out_value = value.data != NULL ? value.data : "";
  *out_value_size = value.size;
  return KEEL_OK;
}

static keel_status capi_cursor_collect(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                       kl_status (*collect)(kl_cursor *cursor, size_t max_rows, size_t max_bytes,
                                                            kl_batch *batch, kl_error *err),
                                       keel_error *err) {
  kl_error detail;
  capi_slot *slot, *batch_slot;
  kl_status status = capi_enter_exclusive(CAPI_CURSOR, cursor, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_enter_exclusive(CAPI_BATCH, batch, &batch_slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_cursor *object = capi_slot_object(slot);
    capi_batch *rows = capi_slot_object(batch_slot);
    status = collect(object->cursor, max_rows, max_bytes, &rows->batch, capi_detail(err, &detail));
    capi_leave_exclusive(batch_slot);
  }
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_cursor_next_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                   keel_error *err) {
  return capi_cursor_collect(cursor, max_rows, max_bytes, batch, kl_cursor_next_batch, err);
}

keel_status keel_cursor_prev_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                   keel_error *err) {
  return capi_cursor_collect(cursor, max_rows, max_bytes, batch, kl_cursor_prev_batch, err);
}
