/* capi/write.c: storing and removing keys, one at a time, by range, and many at once. */
#include "layout.gen.h"
#include "objects.h"
#include "packed.h"

keel_status keel_put(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, const void *value,
                     size_t value_size, keel_error *err) {
  kl_error detail;
  kl_slice name, content;
  capi_scope scope;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_value(value, value_size, &content, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = kl_txn_put(scope.txn->txn, scope.keyspace, name, content, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_del(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, keel_error *err) {
  kl_error detail;
  kl_slice name;
  capi_scope scope;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = kl_txn_delete(scope.txn->txn, scope.keyspace, name, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  return capi_report(status, &detail, err);
}

keel_status keel_del_range(keel_txn txn, keel_keyspace keyspace, const void *from, size_t from_size, const void *to,
                           size_t to_size, uint64_t *out_count, keel_error *err) {
  kl_error detail;
  kl_slice first, end;
  capi_scope scope;
  kl_status status = capi_bound("from", from, from_size, &first, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_bound("to", to, to_size, &end, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  uint64_t count = 0;
  status = kl_txn_delete_range(scope.txn->txn, scope.keyspace, first, end, &count, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  if (status == KL_OK && out_count != NULL) *out_count = count;
  return capi_report(status, &detail, err);
}

/* ---- many at once ---- */

static kl_status capi_write_apply_batch(const capi_scope *scope, const unsigned char *ops, size_t ops_size,
                                        uint64_t *out_count, kl_error *err) {
  capi_packed_entry entry;
  size_t offset = 0;
  uint64_t index = 0;
  for (; offset < ops_size; index++) {
    kl_status status = capi_packed_next(ops, ops_size, index, &offset, &entry, err);
    if (status != KL_OK) return status;
    kl_txn *txn = scope->txn->txn;
    status = entry.operation == KEEL_BATCH_PUT ? kl_txn_put(txn, scope->keyspace, entry.key, entry.value, err)
                                               : kl_txn_delete(txn, scope->keyspace, entry.key, err);
    if (status != KL_OK) return status;
  }
  *out_count = index;
  return KL_OK;
}

keel_status keel_write_batch(keel_txn txn, keel_keyspace keyspace, const void *ops, size_t ops_size,
                             uint64_t *out_count, keel_error *err) {
  kl_error detail;
  capi_scope scope;
  kl_status status = capi_packed_check(ops, ops_size, false, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  uint64_t count = 0;
  status = capi_write_apply_batch(&scope, ops, ops_size, &count, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  if (status == KL_OK && out_count != NULL) *out_count = count;
  return capi_report(status, &detail, err);
}
