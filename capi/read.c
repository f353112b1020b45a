/* capi/read.c: looking up keys: borrowed, copied, pinned, many at once; and views. */
#include "objects.h"

static kl_status capi_read_get(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size,
                               kl_slice *out_value, kl_error *err) {
  kl_slice name;
  kl_status status = capi_key("key", key, key_size, &name, err);
  if (status != KL_OK) return status;
  capi_scope scope;
  status = capi_scope_enter(txn, keyspace, &scope, err);
  if (status != KL_OK) return status;
  status = kl_txn_get(scope.txn->txn, scope.keyspace, name, out_value, err);
  capi_scope_leave(&scope);
  return status;
}

keel_status keel_get(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, const void **out_value,
                     size_t *out_value_size, keel_error *err) {
  kl_error detail;
  if (out_value == NULL) return capi_report(capi_null("out_value", capi_detail(err, &detail)), &detail, err);
  if (out_value_size == NULL) return capi_report(capi_null("out_value_size", capi_detail(err, &detail)), &detail, err);
  kl_slice value;
  kl_status status = capi_read_get(txn, keyspace, key, key_size, &value, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  *out_value = value.data != NULL ? value.data : "";
  *out_value_size = value.size;
  return KEEL_OK;
}

static kl_status capi_read_get_copy(keel_txn txn, keel_keyspace keyspace, kl_slice key, void *buffer, size_t capacity,
                                    size_t *out_value_size, kl_error *err) {
  capi_scope scope;
  kl_status status = capi_scope_enter(txn, keyspace, &scope, err);
  if (status != KL_OK) return status;
  size_t size = 0;
  status = kl_txn_get_copy(scope.txn->txn, scope.keyspace, key, buffer, capacity, &size, err);
  capi_scope_leave(&scope);
  if (status == KL_OK || status == KL_E_BUFFER_SIZE) *out_value_size = size;
  return status;
}

keel_status keel_get_copy(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, void *buffer,
                          size_t capacity, size_t *out_value_size, keel_error *err) {
  kl_error detail;
  kl_slice name;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK && out_value_size == NULL) status = capi_null("out_value_size", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_buffer(buffer, capacity, capi_detail(err, &detail));
  if (status == KL_OK) {
    status = capi_read_get_copy(txn, keyspace, name, buffer, capacity, out_value_size, capi_detail(err, &detail));
  }
  return capi_report(status, &detail, err);
}

/* ---- Views ---- */

static kl_status capi_read_view_destroy(capi_object *self, kl_error *err) {
  capi_view *object = (capi_view *)self;
  kl_view_release(object->view);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_read_get_view(const capi_scope *scope, kl_slice key, keel_view *out_view, kl_error *err) {
  capi_view *object = capi_object_new(sizeof *object, capi_read_view_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_txn_get_view(scope->txn->txn, scope->keyspace, key, &object->view, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  kl_db_ref(scope->txn->engine);
  object->engine = scope->txn->engine;
  return capi_publish(CAPI_VIEW, &object->object, out_view, err);
}

keel_status keel_get_view(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, keel_view *out_view,
                          keel_error *err) {
  kl_error detail;
  kl_slice name;
  capi_scope scope;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK && out_view == NULL) status = capi_null("out_view", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_read_get_view(&scope, name, out_view, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_view_data(keel_view view, const void **out_data, size_t *out_size, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = KL_OK;
  if (out_data == NULL) status = capi_null("out_data", capi_detail(err, &detail));
  if (status == KL_OK && out_size == NULL) status = capi_null("out_size", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_VIEW, view, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_view *object = capi_slot_object(slot);
  kl_slice value = kl_view_value(object->view);
  capi_leave_shared(slot);
  *out_data = value.data != NULL ? value.data : "";
  *out_size = value.size;
  return KEEL_OK;
}

keel_status keel_view_release(keel_view view, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_shared(CAPI_VIEW, view, capi_detail(err, &detail)), &detail, err);
}

/* ---- Many keys ---- */

/* Checks the offsets before anything is read through them. */
static kl_status capi_read_check_offsets(const void *keys, const uint64_t *key_offsets, size_t count, kl_error *err) {
  if (count > KEEL_MAX_GET_MANY) {
    return kl_fail(err, KL_E_LIMIT, "count is %zu; at most %d keys in one call", count, KEEL_MAX_GET_MANY);
  }
  if (count == 0) return KL_OK;
  if (key_offsets == NULL) return capi_null("key_offsets", err);
  if (key_offsets[0] != 0) return kl_fail(err, KL_E_INVALID, "key_offsets[0] is not 0");
  for (size_t i = 0; i < count; i++) {
    if (key_offsets[i + 1] < key_offsets[i]) {
      return kl_fail(err, KL_E_INVALID, "key_offsets[%zu] is below key_offsets[%zu]; they must ascend", i + 1, i);
    }
    if (key_offsets[i + 1] - key_offsets[i] > KEEL_MAX_KEY_SIZE) {
      return kl_fail(err, KL_E_KEY_SIZE, "key %zu has %llu bytes; at most %d are allowed", i,
                     (unsigned long long)(key_offsets[i + 1] - key_offsets[i]), KEEL_MAX_KEY_SIZE);
    }
  }
  return keys != NULL || key_offsets[count] == 0 ? KL_OK : capi_null("keys", err);
}

keel_status keel_get_many(keel_txn txn, keel_keyspace keyspace, const void *keys, const uint64_t *key_offsets,
                          size_t count, keel_batch batch, keel_error *err) {
  static const uint64_t no_offsets[1] = {0};
  kl_error detail;
  capi_scope scope;
  capi_slot *batch_slot;
  kl_status status = capi_read_check_offsets(keys, key_offsets, count, capi_detail(err, &detail));
  if (status == KL_OK) {
    status = capi_scope_enter_batch(txn, keyspace, batch, &scope, &batch_slot, capi_detail(err, &detail));
  }
  if (status != KL_OK) return capi_report(status, &detail, err);
  capi_batch *rows = capi_slot_object(batch_slot);
  status = kl_txn_get_many(scope.txn->txn, scope.keyspace, keys != NULL ? keys : "",
                           count != 0 ? key_offsets : no_offsets, count, &rows->batch, capi_detail(err, &detail));
  capi_leave_exclusive(batch_slot);
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}
