/* capi/value.c: parts of values: reading them, and writing a value in parts. */
#include "objects.h"

_Static_assert(KEEL_MAX_LARGE_VALUE_SIZE == KL_MAX_LARGE_VALUE, "longest value that is written in parts");

/* ---- reading ---- */

static kl_status capi_value_read(keel_txn txn, keel_keyspace keyspace, kl_slice key, uint64_t offset, void *buffer,
                                 size_t capacity, size_t *out_size, uint64_t *out_value_size, kl_error *err) {
  capi_scope scope;
  kl_status status = capi_scope_enter(txn, keyspace, &scope, err);
  if (status != KL_OK) return status;
  size_t size = 0;
  uint64_t whole = 0;
  status = kl_txn_get_part(scope.txn->txn, scope.keyspace, key, offset, buffer, capacity, &size, &whole, err);
  capi_scope_leave(&scope);
  if (status != KL_OK) return status;
  *out_size = size;
  *out_value_size = whole;
  return KL_OK;
}

keel_status keel_get_part(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t offset,
                          void *buffer, size_t capacity, size_t *out_size, uint64_t *out_value_size, keel_error *err) {
  kl_error detail;
  kl_slice name;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK && out_size == NULL) status = capi_null("out_size", capi_detail(err, &detail));
  if (status == KL_OK && out_value_size == NULL) status = capi_null("out_value_size", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_buffer(buffer, capacity, capi_detail(err, &detail));
  if (status == KL_OK) {
    status = capi_value_read(txn, keyspace, name, offset, buffer, capacity, out_size, out_value_size,
                             capi_detail(err, &detail));
  }
  return capi_report(status, &detail, err);
}

/* ---- writing ---- */

static kl_status capi_value_destroy(capi_object *self, kl_error *err) {
  capi_writer *object = (capi_writer *)self;
  kl_value_free(object->writer);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_value_begin_in(const capi_scope *scope, kl_slice key, uint64_t size, keel_value *out_value,
                                     kl_error *err) {
  capi_writer *object = capi_object_new(sizeof *object, capi_value_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_value_begin(scope->txn->txn, scope->keyspace, key, size, &object->writer, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  kl_db_ref(scope->txn->engine);
  object->engine = scope->txn->engine;
  return capi_publish(CAPI_VALUE, &object->object, out_value, err);
}

keel_status keel_value_begin(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t size,
                             keel_value *out_value, keel_error *err) {
  kl_error detail;
  kl_slice name;
  capi_scope scope;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK && out_value == NULL) status = capi_null("out_value", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_value_begin_in(&scope, name, size, out_value, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_value_write(keel_value value, const void *data, size_t data_size, keel_error *err) {
  kl_error detail;
  kl_slice bytes;
  capi_slot *slot;
  kl_status status = capi_value(data, data_size, &bytes, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_VALUE, value, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_writer *object = capi_slot_object(slot);
  status = kl_value_write(object->writer, bytes.data, bytes.size, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_value_finish(keel_value value, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(CAPI_VALUE, value, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_writer *object = capi_slot_object(slot);
  status = kl_value_finish(object->writer, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_value_end(keel_value value, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_exclusive(CAPI_VALUE, value, capi_detail(err, &detail)), &detail, err);
}
