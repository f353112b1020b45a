/* core/wal/commit_record.c: codec of commit records. Byte table: docs/format.md, "Commit record" and "Op". */
#include "commit_record.h"

#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "../base/endian.h"

/* Offsets inside a commit header and an op header. */
enum { COMMIT_RECORD_TS = 0, COMMIT_RECORD_OP_COUNT = 8, COMMIT_RECORD_OP_BYTES = 16 };
enum {
  COMMIT_RECORD_OP_KIND = 0,
  COMMIT_RECORD_OP_FLAGS = 1,
  COMMIT_RECORD_OP_KEY_SIZE = 2,
  COMMIT_RECORD_OP_KEYSPACE = 4,
  COMMIT_RECORD_OP_VALUE_SIZE = 8
};

size_t kl_op_encoded_size(const kl_op *op) {
  return KL_OP_HEADER_SIZE + op->key.size + op->value.size;
}

size_t kl_op_encode(const kl_op *op, void *out) {
  KL_ASSERT(op->key.size <= KL_OP_KEY_MAX);
  KL_ASSERT(op->value.size <= UINT32_MAX);
  KL_ASSERT(op->kind != KL_OP_DELETE || op->value.size == 0);
  uint8_t *p = out;
  p[COMMIT_RECORD_OP_KIND] = (uint8_t)op->kind;
  p[COMMIT_RECORD_OP_FLAGS] = 0;
  kl_store_u16_le(p + COMMIT_RECORD_OP_KEY_SIZE, (uint16_t)op->key.size);
  kl_store_u32_le(p + COMMIT_RECORD_OP_KEYSPACE, op->keyspace);
  kl_store_u32_le(p + COMMIT_RECORD_OP_VALUE_SIZE, (uint32_t)op->value.size);
  p += KL_OP_HEADER_SIZE;
  if (op->key.size != 0) memcpy(p, op->key.data, op->key.size);
  if (op->value.size != 0) memcpy(p + op->key.size, op->value.data, op->value.size);
  return kl_op_encoded_size(op);
}

void kl_commit_header_encode(void *out, uint64_t ts, uint64_t op_count, uint64_t op_bytes) {
  uint8_t *p = out;
  kl_store_u64_le(p + COMMIT_RECORD_TS, ts);
  kl_store_u64_le(p + COMMIT_RECORD_OP_COUNT, op_count);
  kl_store_u64_le(p + COMMIT_RECORD_OP_BYTES, op_bytes);
}

void kl_commit_reader_init(kl_commit_reader *reader, kl_slice payload) {
  reader->rest = payload;
  reader->ops = kl_slice_make(NULL, 0);
  reader->ts = 0;
  reader->ops_left = 0;
}

static kl_slice commit_record_skip(kl_slice s, size_t n) {
  return kl_slice_make((const uint8_t *)s.data + n, s.size - n);
}

kl_status kl_commit_reader_next_commit(kl_commit_reader *reader, uint64_t *out_ts, uint64_t *out_ops, kl_error *err) {
  kl_slice rest = reader->rest;
  if (rest.size == 0) return KL_E_NOT_FOUND;
  if (rest.size < KL_COMMIT_HEADER_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "commit record is cut: %zu bytes left where a header takes %d", rest.size,
                   KL_COMMIT_HEADER_SIZE);
  }
  const uint8_t *p = rest.data;
  uint64_t ts = kl_load_u64_le(p + COMMIT_RECORD_TS);
  uint64_t op_count = kl_load_u64_le(p + COMMIT_RECORD_OP_COUNT);
  uint64_t op_bytes = kl_load_u64_le(p + COMMIT_RECORD_OP_BYTES);
  if (ts == 0) return kl_fail(err, KL_E_CORRUPT, "commit record without a timestamp");
  if (op_bytes > rest.size - KL_COMMIT_HEADER_SIZE || op_count > op_bytes / KL_OP_HEADER_SIZE) {
    return kl_fail(err, KL_E_CORRUPT,
                   "commit record with timestamp %" PRIu64 " claims %" PRIu64 " ops in %" PRIu64
                   " bytes; %zu are there",
                   ts, op_count, op_bytes, rest.size - KL_COMMIT_HEADER_SIZE);
  }
  rest = commit_record_skip(rest, KL_COMMIT_HEADER_SIZE);
  reader->ops = kl_slice_make(rest.data, (size_t)op_bytes);
  reader->rest = commit_record_skip(rest, (size_t)op_bytes);
  reader->ts = *out_ts = ts;
  reader->ops_left = *out_ops = op_count;
  return KL_OK;
}

kl_status kl_commit_reader_next_op(kl_commit_reader *reader, kl_op *out_op, kl_error *err) {
  kl_slice ops = reader->ops;
  if (reader->ops_left == 0) {
    if (ops.size == 0) return KL_E_NOT_FOUND;
    return kl_fail(err, KL_E_CORRUPT, "commit record with timestamp %" PRIu64 " has %zu bytes after its last op",
                   reader->ts, ops.size);
  }
  if (ops.size < KL_OP_HEADER_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "commit record with timestamp %" PRIu64 ": %zu bytes left where an op takes %d",
                   reader->ts, ops.size, KL_OP_HEADER_SIZE);
  }
  const uint8_t *p = ops.data;
  unsigned kind = p[COMMIT_RECORD_OP_KIND], flags = p[COMMIT_RECORD_OP_FLAGS];
  size_t key_size = kl_load_u16_le(p + COMMIT_RECORD_OP_KEY_SIZE),
         value_size = kl_load_u32_le(p + COMMIT_RECORD_OP_VALUE_SIZE);
  if ((kind != KL_OP_PUT && kind != KL_OP_DELETE && kind != KL_OP_RUN) || flags != 0) {
    return kl_fail(err, KL_E_VERSION,
                   "commit record with timestamp %" PRIu64
                   " holds an op of kind %u, flags %u, which this version does"
                   " not know; open the database with a newer Keel",
                   reader->ts, kind, flags);
  }
  if (value_size > ops.size - KL_OP_HEADER_SIZE || key_size > ops.size - KL_OP_HEADER_SIZE - value_size) {
    return kl_fail(err, KL_E_CORRUPT,
                   "commit record with timestamp %" PRIu64 ": an op claims %zu + %zu bytes; %zu are there", reader->ts,
                   key_size, value_size, ops.size - KL_OP_HEADER_SIZE);
  }
  if (kind == KL_OP_DELETE && value_size != 0) {
    return kl_fail(err, KL_E_CORRUPT, "commit record with timestamp %" PRIu64 ": a delete with a value of %zu bytes",
                   reader->ts, value_size);
  }
  if (kind == KL_OP_RUN && (key_size != 0 || value_size == 0 || value_size % KL_OP_RUN_PART != 0)) {
    return kl_fail(err, KL_E_CORRUPT,
                   "commit record with timestamp %" PRIu64 ": a run with a key of %zu bytes and parts of %zu",
                   reader->ts, key_size, value_size);
  }
  out_op->keyspace = kl_load_u32_le(p + COMMIT_RECORD_OP_KEYSPACE);
  out_op->kind = (kl_op_kind)kind;
  p += KL_OP_HEADER_SIZE;
  out_op->key = kl_slice_make(p, key_size);
  out_op->value = kl_slice_make(p + key_size, value_size);
  reader->ops = commit_record_skip(ops, KL_OP_HEADER_SIZE + key_size + value_size);
  reader->ops_left--;
  return KL_OK;
}

void kl_op_run_part_encode(const kl_op_run_part *part, uint8_t out[KL_OP_RUN_PART]) {
  kl_store_u32_le(out, part->puts);
  kl_store_u32_le(out + 4, part->deletes);
}

void kl_op_run_part_decode(kl_slice value, size_t index, kl_op_run_part *out) {
  const uint8_t *p = (const uint8_t *)value.data + index * KL_OP_RUN_PART;
  KL_ASSERT((index + 1) * KL_OP_RUN_PART <= value.size);
  out->puts = kl_load_u32_le(p);
  out->deletes = kl_load_u32_le(p + 4);
}

void kl_drop_marker_encode(uint32_t keyspace, uint8_t out[KL_DROP_MARKER_SIZE]) {
  out[0] = KL_DROP_MARKER_PREFIX;
  kl_store_u32_be(out + 1, keyspace);
}
