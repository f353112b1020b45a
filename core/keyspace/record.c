/* core/keyspace/record.c: codec of the catalogue's records, and what a name may be. See record.h. */
#include "record.h"

#include <string.h>

#include "../base/endian.h"

enum { CATALOGUE_VERSION = 1 };

/* Every record begins with u16 version, u16 flags. */
static void catalogue_head_encode(uint8_t *out) {
  kl_store_u16_le(out, CATALOGUE_VERSION);
  kl_store_u16_le(out + 2, 0);
}

static kl_status catalogue_head_decode(kl_slice bytes, size_t size, const char *what, kl_error *err) {
  if (bytes.size < 4) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's %s has %zu bytes, too few for a record", what, bytes.size);
  }
  const uint8_t *p = bytes.data;
  unsigned version = kl_load_u16_le(p), flags = kl_load_u16_le(p + 2);
  if (version == 0) return kl_fail(err, KL_E_CORRUPT, "the catalogue's %s has version 0", what);
  if (version > CATALOGUE_VERSION || flags != 0) {
    return kl_fail(
        err, KL_E_VERSION,
        "the catalogue's %s was written by a newer version (record version %u, flags %#x); open the database "
        "with that one",
        what, version, flags);
  }
  if (bytes.size < size) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's %s has %zu bytes, %zu expected", what, bytes.size, size);
  }
  return KL_OK;
}

void catalogue_record_encode(const catalogue_record *record, uint8_t out[CATALOGUE_RECORD_SIZE]) {
  catalogue_head_encode(out);
  kl_store_u32_le(out + 4, record->id);
  kl_store_u64_le(out + 8, record->created_ns);
  kl_store_u32_le(out + 16, 0); /* bytes of options that follow */
}

kl_status catalogue_record_decode(kl_slice bytes, catalogue_record *out, kl_error *err) {
  kl_status status = catalogue_head_decode(bytes, CATALOGUE_RECORD_SIZE, "keyspace record", err);
  if (status != KL_OK) return status;
  const uint8_t *p = bytes.data;
  uint32_t options = kl_load_u32_le(p + 16);
  out->id = kl_load_u32_le(p + 4);
  out->created_ns = kl_load_u64_le(p + 8);
  if (out->id == KL_CATALOGUE_KEYSPACE) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's keyspace record names id 0, which is the catalogue's own");
  }
  if (options != bytes.size - CATALOGUE_RECORD_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's keyspace record announces %u bytes of options and has %zu",
                   options, bytes.size - CATALOGUE_RECORD_SIZE);
  }
  if (options != 0) {
    return kl_fail(err, KL_E_VERSION, "the catalogue's record of keyspace %u has options of a newer version", out->id);
  }
  return KL_OK;
}

void catalogue_next_id_encode(uint32_t next_id, uint8_t out[CATALOGUE_NEXT_ID_SIZE]) {
  catalogue_head_encode(out);
  kl_store_u32_le(out + 4, next_id);
}

kl_status catalogue_next_id_decode(kl_slice bytes, uint32_t *out_next_id, kl_error *err) {
  kl_status status = catalogue_head_decode(bytes, CATALOGUE_NEXT_ID_SIZE, "next id", err);
  if (status != KL_OK) return status;
  if (bytes.size != CATALOGUE_NEXT_ID_SIZE) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue's next id has %zu bytes, %d expected", bytes.size,
                   CATALOGUE_NEXT_ID_SIZE);
  }
  *out_next_id = kl_load_u32_le((const uint8_t *)bytes.data + 4);
  if (*out_next_id == KL_CATALOGUE_KEYSPACE) return kl_fail(err, KL_E_CORRUPT, "the catalogue's next id is 0");
  return KL_OK;
}

void catalogue_drop_encode(uint64_t dropped_ns, uint8_t out[CATALOGUE_DROP_SIZE]) {
  catalogue_head_encode(out);
  kl_store_u64_le(out + 4, dropped_ns);
}

kl_slice catalogue_name_key(kl_slice name, uint8_t out[CATALOGUE_NAME_KEY_MAX]) {
  out[0] = CATALOGUE_NAME_PREFIX;
  memcpy(out + 1, name.data, name.size);
  return kl_slice_make(out, name.size + 1);
}

/* Bytes of the well-formed UTF-8 sequence at `p` (RFC 3629), 0 when there is none within `left` bytes. */
static size_t catalogue_utf8_size(const uint8_t *p, size_t left) {
  if (p[0] < 0x80) return 1;
  size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4 || size > left) return 0;
  for (size_t i = 1; i < size; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
  }
  if (p[0] == 0xe0 && p[1] < 0xa0) return 0; /* could be shorter */
  if (p[0] == 0xed && p[1] > 0x9f) return 0; /* a surrogate */
  if (p[0] == 0xf0 && p[1] < 0x90) return 0; /* could be shorter */
  if (p[0] == 0xf4 && p[1] > 0x8f) return 0; /* behind U+10FFFF */
  return size;
}

kl_status catalogue_name_check(kl_slice name, kl_error *err) {
  if (name.size == 0 || name.size > KL_KEYSPACE_NAME_MAX) {
    return kl_fail(err, KL_E_INVALID, "a keyspace's name has 1 to %d bytes, this one %zu", KL_KEYSPACE_NAME_MAX,
                   name.size);
  }
  const uint8_t *p = name.data;
  for (size_t at = 0; at < name.size;) {
    size_t size = catalogue_utf8_size(p + at, name.size - at);
    if (size == 0) return kl_fail(err, KL_E_INVALID, "a keyspace's name is UTF-8; byte %zu of this one is not", at);
    at += size;
  }
  return KL_OK;
}

kl_slice catalogue_load_key(uint32_t id, uint8_t out[CATALOGUE_LOAD_KEY]) {
  kl_load_record_key(id, out);
  return kl_slice_make(out, CATALOGUE_LOAD_KEY);
}

kl_status catalogue_load_key_decode(kl_slice key, uint32_t *out_id, kl_error *err) {
  *out_id = key.size == CATALOGUE_LOAD_KEY ? kl_load_u32_be((const uint8_t *)key.data + 1) : 0;
  if (*out_id != 0) return KL_OK;
  return kl_fail(err, KL_E_CORRUPT, "the catalogue has a load with a key of %zu bytes, or of keyspace 0", key.size);
}
