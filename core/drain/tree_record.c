/* core/drain/tree_record.c: codec of the catalogue's rows that name trees. */
#include "tree_record.h"

#include "../base/endian.h"

enum { TREE_RECORD_VERSION = 1 };

void kl_tree_record_key(uint32_t keyspace, uint8_t out[KL_TREE_RECORD_KEY]) {
  out[0] = KL_TREE_RECORD_PREFIX;
  kl_store_u32_be(out + 1, keyspace);
}

void kl_load_record_key(uint32_t keyspace, uint8_t out[KL_LOAD_RECORD_KEY]) {
  out[0] = KL_LOAD_RECORD_PREFIX;
  kl_store_u32_be(out + 1, keyspace);
}

void kl_tree_record_encode(const kl_tree_record *record, uint8_t out[KL_TREE_RECORD_SIZE]) {
  kl_store_u16_le(out, TREE_RECORD_VERSION);
  kl_store_u16_le(out + 2, 0);
  kl_store_u32_le(out + 4, 0); /* bytes of options that follow */
  kl_store_u64_le(out + 8, record->rows);
  kl_store_u64_le(out + 16, record->root.address);
  kl_store_u32_le(out + 24, record->root.length);
  kl_store_u32_le(out + 28, record->root.checksum);
  kl_store_u64_le(out + 32, record->root.birth);
}

kl_status kl_tree_record_decode(kl_slice bytes, uint32_t keyspace, kl_tree_record *out, kl_error *err) {
  const uint8_t *p = bytes.data;
  unsigned version = bytes.size >= 4 ? kl_load_u16_le(p) : 0, flags = bytes.size >= 4 ? kl_load_u16_le(p + 2) : 0;
  if (version > TREE_RECORD_VERSION || flags != 0) {
    return kl_fail(err, KL_E_VERSION,
                   "the catalogue's tree record of keyspace %u was written by a newer version (record version %u, "
                   "flags %#x); open the database with that one",
                   (unsigned)keyspace, version, flags);
  }
  if (version == 0 || bytes.size < KL_TREE_RECORD_SIZE || kl_load_u32_le(p + 4) != bytes.size - KL_TREE_RECORD_SIZE) {
    return kl_fail(err, KL_E_CORRUPT,
                   "the catalogue's tree record of keyspace %u has %zu bytes that cannot be; restore from a backup",
                   (unsigned)keyspace, bytes.size);
  }
  if (bytes.size != KL_TREE_RECORD_SIZE) {
    return kl_fail(err, KL_E_VERSION, "the catalogue's tree record of keyspace %u has options of a newer version",
                   (unsigned)keyspace);
  }
  out->rows = kl_load_u64_le(p + 8);
  out->root = (kl_tree_pointer){.address = kl_load_u64_le(p + 16),
                                .length = kl_load_u32_le(p + 24),
                                .checksum = kl_load_u32_le(p + 28),
                                .birth = kl_load_u64_le(p + 32)};
  if (!kl_tree_pointer_is_null(&out->root)) return KL_OK;
  return kl_fail(err, KL_E_CORRUPT, "the catalogue's tree record of keyspace %u names no tree; restore from a backup",
                 (unsigned)keyspace);
}
