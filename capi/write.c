/* capi/write.c: storing and removing keys, one at a time, by range, and many at once. */
#include <string.h>

#include "layout.gen.h"
#include "objects.h"

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

/* ---- keel_write_batch: u8 operation, 3 zero bytes, u32 key size, u32 value size, key, value; little-endian ---- */

enum { CAPI_WRITE_ENTRY_HEADER = 12 };

typedef struct capi_write_entry {
  uint8_t operation;
  kl_slice key, value;
} capi_write_entry;

static uint32_t capi_write_u32(const unsigned char *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Reads the entry at *offset and moves on. Checks every byte before it is used; `index` is for messages. */
static kl_status capi_write_next_entry(const unsigned char *ops, size_t ops_size, uint64_t index, size_t *offset,
                                       capi_write_entry *out, kl_error *err) {
  unsigned long long number = (unsigned long long)index;
  size_t at = *offset;
  if (ops_size - at < CAPI_WRITE_ENTRY_HEADER) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu is cut off: its header takes %d bytes", number, at,
                   CAPI_WRITE_ENTRY_HEADER);
  }
  const unsigned char *header = ops + at;
  uint32_t key_size = capi_write_u32(header + 4), value_size = capi_write_u32(header + 8);
  if (header[0] < KEEL_BATCH_PUT || header[0] > CAPI_BATCH_OP_MAX || (header[1] | header[2] | header[3]) != 0) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu has no known operation (%u)", number, at, header[0]);
  }
  if (key_size > KEEL_MAX_KEY_SIZE) {
    return kl_fail(err, KL_E_KEY_SIZE, "the key of entry %llu at byte %zu has %u bytes; at most %d are allowed", number,
                   at, key_size, KEEL_MAX_KEY_SIZE);
  }
  if (value_size > KEEL_MAX_VALUE_SIZE) {
    return kl_fail(err, KL_E_VALUE_SIZE, "the value of entry %llu at byte %zu has %u bytes; at most %d are allowed",
                   number, at, value_size, KEEL_MAX_VALUE_SIZE);
  }
  if (header[0] == KEEL_BATCH_DELETE && value_size != 0) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu deletes but has a value", number, at);
  }
  at += CAPI_WRITE_ENTRY_HEADER;
  if (ops_size - at < key_size || ops_size - at - key_size < value_size) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu is cut off: %zu bytes are left for its key and value",
                   number, *offset, ops_size - at);
  }
  out->operation = header[0];
  out->key = kl_slice_make(ops + at, key_size);
  out->value = kl_slice_make(ops + at + key_size, value_size);
  *offset = at + key_size + value_size;
  return KL_OK;
}

static kl_status capi_write_check_batch(const unsigned char *ops, size_t ops_size, kl_error *err) {
  if (ops_size > KEEL_MAX_WRITE_BATCH) {
    return kl_fail(err, KL_E_LIMIT, "ops has %zu bytes; at most %d in one call", ops_size, KEEL_MAX_WRITE_BATCH);
  }
  if (ops == NULL && ops_size != 0) return capi_null("ops", err);
  capi_write_entry entry;
  size_t offset = 0;
  for (uint64_t index = 0; offset < ops_size; index++) {
    kl_status status = capi_write_next_entry(ops, ops_size, index, &offset, &entry, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

static kl_status capi_write_apply_batch(const capi_scope *scope, const unsigned char *ops, size_t ops_size,
                                        uint64_t *out_count, kl_error *err) {
  capi_write_entry entry;
  size_t offset = 0;
  uint64_t index = 0;
  for (; offset < ops_size; index++) {
    kl_status status = capi_write_next_entry(ops, ops_size, index, &offset, &entry, err);
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
  kl_status status = capi_write_check_batch(ops, ops_size, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_scope_enter(txn, keyspace, &scope, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  uint64_t count = 0;
  status = capi_write_apply_batch(&scope, ops, ops_size, &count, capi_detail(err, &detail));
  capi_scope_leave(&scope);
  if (status == KL_OK && out_count != NULL) *out_count = count;
  return capi_report(status, &detail, err);
}
