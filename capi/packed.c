/* capi/packed.c: see packed.h. */
#include "packed.h"

#include "layout.gen.h"
#include "objects.h"

enum { CAPI_PACKED_HEADER = 12 };

static uint32_t capi_packed_u32(const unsigned char *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

kl_status capi_packed_next(const unsigned char *ops, size_t ops_size, uint64_t index, size_t *offset,
                           capi_packed_entry *out, kl_error *err) {
  unsigned long long number = (unsigned long long)index;
  size_t at = *offset;
  if (ops_size - at < CAPI_PACKED_HEADER) {
    return kl_fail(err, KL_E_INVALID, "entry %llu at byte %zu is cut off: its header takes %d bytes", number, at,
                   CAPI_PACKED_HEADER);
  }
  const unsigned char *header = ops + at;
  uint32_t key_size = capi_packed_u32(header + 4), value_size = capi_packed_u32(header + 8);
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
  at += CAPI_PACKED_HEADER;
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

kl_status capi_packed_check(const unsigned char *ops, size_t ops_size, bool puts_only, kl_error *err) {
  if (ops_size > KEEL_MAX_WRITE_BATCH) {
    return kl_fail(err, KL_E_LIMIT, "ops has %zu bytes; at most %d in one call", ops_size, KEEL_MAX_WRITE_BATCH);
  }
  if (ops == NULL && ops_size != 0) return capi_null("ops", err);
  capi_packed_entry entry;
  size_t offset = 0;
  for (uint64_t index = 0; offset < ops_size; index++) {
    kl_status status = capi_packed_next(ops, ops_size, index, &offset, &entry, err);
    if (status != KL_OK) return status;
    if (puts_only && entry.operation != KEEL_BATCH_PUT) {
      return kl_fail(err, KL_E_INVALID, "entry %llu before byte %zu is no put; a load takes nothing else",
                     (unsigned long long)index, offset);
    }
  }
  return KL_OK;
}
