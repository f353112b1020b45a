/* core/wal/format.c: see format.h. Every multi-byte integer is little-endian. */
#include "format.h"

#include <string.h>

#include "../base/crc32c.h"
#include "../base/endian.h"

static const char wal_header_magic[9] = "KEEL-WAL";
static const char wal_segment_magic[9] = "KEEL-SEG";
static const char wal_owner_magic[9] = "KEEL-OWN";
static const uint8_t wal_batch_magic[4] = {'K', 'b', 0xa7, 0x01};

enum {
  WAL_HEADER_VERSION = 8,
  WAL_HEADER_COMPATIBLE = 12,
  WAL_HEADER_READ_ONLY = 16,
  WAL_HEADER_INCOMPATIBLE = 20,
  WAL_HEADER_ID = 24,
  WAL_HEADER_SEGMENT_SIZE = 40,
  WAL_HEADER_INCARNATION = 48,
  WAL_HEADER_INCARNATION_START = 56,
  WAL_HEADER_FIRST_LSN = 64,
  WAL_HEADER_CREATED = 72
};
enum { WAL_SEGMENT_SEQUENCE = 8, WAL_SEGMENT_ASSIGNMENT = 16, WAL_SEGMENT_ID = 24 };
enum {
  WAL_BATCH_CRC = 4,
  WAL_BATCH_LSN = 8,
  WAL_BATCH_PAYLOAD_SIZE = 16,
  WAL_BATCH_TS = 24,
  WAL_BATCH_DURABLE = 32,
  WAL_BATCH_INCARNATION = 40,
  WAL_BATCH_PAYLOAD_CRC = 48,
  WAL_BATCH_GAP = 52,
  WAL_BATCH_FLAGS = 54
};
enum { WAL_OWNER_SIZE_FIELD = 8, WAL_OWNER_CRC = 12, WAL_OWNER_BYTES = 16 };

static void wal_block_seal(uint8_t block[WAL_PAGE]) {
  kl_store_u32_le(block + WAL_CHECKSUM_OFFSET, kl_crc32c(0, block, WAL_CHECKSUM_OFFSET));
}

static bool wal_block_intact(const uint8_t block[WAL_PAGE]) {
  return kl_load_u32_le(block + WAL_CHECKSUM_OFFSET) == kl_crc32c(0, block, WAL_CHECKSUM_OFFSET);
}

void wal_header_encode(const wal_header *header, uint8_t out[WAL_PAGE]) {
  memset(out, 0, WAL_PAGE);
  memcpy(out, wal_header_magic, 8);
  kl_store_u32_le(out + WAL_HEADER_VERSION, header->version);
  kl_store_u32_le(out + WAL_HEADER_COMPATIBLE, header->features_compatible);
  kl_store_u32_le(out + WAL_HEADER_READ_ONLY, header->features_read_only);
  kl_store_u32_le(out + WAL_HEADER_INCOMPATIBLE, header->features_incompatible);
  memcpy(out + WAL_HEADER_ID, header->database_id, WAL_ID_SIZE);
  kl_store_u64_le(out + WAL_HEADER_SEGMENT_SIZE, header->segment_size);
  kl_store_u64_le(out + WAL_HEADER_INCARNATION, header->incarnation);
  kl_store_u64_le(out + WAL_HEADER_INCARNATION_START, header->incarnation_start);
  kl_store_u64_le(out + WAL_HEADER_FIRST_LSN, header->first_lsn);
  kl_store_u64_le(out + WAL_HEADER_CREATED, header->created_ns);
  wal_block_seal(out);
}

kl_status wal_header_decode(const uint8_t bytes[WAL_PAGE], wal_header *out) {
  if (memcmp(bytes, wal_header_magic, 8) != 0) return KL_E_FORMAT;
  /* Magic, version and checksum keep their places in every version, so damage and novelty can be told apart. */
  if (!wal_block_intact(bytes)) return KL_E_CORRUPT;
  out->version = kl_load_u32_le(bytes + WAL_HEADER_VERSION);
  if (out->version != WAL_VERSION) return KL_E_VERSION;
  out->features_compatible = kl_load_u32_le(bytes + WAL_HEADER_COMPATIBLE);
  out->features_read_only = kl_load_u32_le(bytes + WAL_HEADER_READ_ONLY);
  out->features_incompatible = kl_load_u32_le(bytes + WAL_HEADER_INCOMPATIBLE);
  memcpy(out->database_id, bytes + WAL_HEADER_ID, WAL_ID_SIZE);
  out->segment_size = kl_load_u64_le(bytes + WAL_HEADER_SEGMENT_SIZE);
  out->incarnation = kl_load_u64_le(bytes + WAL_HEADER_INCARNATION);
  out->incarnation_start = kl_load_u64_le(bytes + WAL_HEADER_INCARNATION_START);
  out->first_lsn = kl_load_u64_le(bytes + WAL_HEADER_FIRST_LSN);
  out->created_ns = kl_load_u64_le(bytes + WAL_HEADER_CREATED);
  bool sane = out->segment_size >= WAL_SEGMENT_SIZE_MIN && out->segment_size <= WAL_SEGMENT_SIZE_MAX &&
              (out->segment_size & (out->segment_size - 1)) == 0 && out->incarnation != 0 &&
              out->incarnation_start % WAL_ALIGN == 0 && out->first_lsn <= out->incarnation_start;
  return sane ? KL_OK : KL_E_CORRUPT;
}

void wal_segment_header_encode(const wal_segment_header *header, uint8_t out[WAL_PAGE]) {
  memset(out, 0, WAL_PAGE);
  memcpy(out, wal_segment_magic, 8);
  kl_store_u64_le(out + WAL_SEGMENT_SEQUENCE, header->sequence);
  kl_store_u64_le(out + WAL_SEGMENT_ASSIGNMENT, header->assignment);
  memcpy(out + WAL_SEGMENT_ID, header->database_id, WAL_ID_SIZE);
  wal_block_seal(out);
}

bool wal_segment_header_decode(const uint8_t bytes[WAL_PAGE], const uint8_t id[WAL_ID_SIZE], wal_segment_header *out) {
  if (memcmp(bytes, wal_segment_magic, 8) != 0 || !wal_block_intact(bytes)) return false;
  if (memcmp(bytes + WAL_SEGMENT_ID, id, WAL_ID_SIZE) != 0) return false;
  out->sequence = kl_load_u64_le(bytes + WAL_SEGMENT_SEQUENCE);
  out->assignment = kl_load_u64_le(bytes + WAL_SEGMENT_ASSIGNMENT);
  memcpy(out->database_id, id, WAL_ID_SIZE);
  return true;
}

uint32_t wal_batch_seed(const uint8_t id[WAL_ID_SIZE]) {
  return kl_crc32c(0, id, WAL_ID_SIZE);
}

void wal_batch_header_encode(const wal_batch_header *header, uint32_t seed, uint8_t out[WAL_BATCH_HEADER]) {
  memcpy(out, wal_batch_magic, sizeof wal_batch_magic);
  kl_store_u64_le(out + WAL_BATCH_LSN, header->lsn);
  kl_store_u64_le(out + WAL_BATCH_PAYLOAD_SIZE, header->payload_size);
  kl_store_u64_le(out + WAL_BATCH_TS, header->ts);
  kl_store_u64_le(out + WAL_BATCH_DURABLE, header->durable_lsn);
  kl_store_u64_le(out + WAL_BATCH_INCARNATION, header->incarnation);
  kl_store_u32_le(out + WAL_BATCH_PAYLOAD_CRC, header->payload_crc);
  kl_store_u16_le(out + WAL_BATCH_GAP, header->gap);
  kl_store_u16_le(out + WAL_BATCH_FLAGS, header->flags);
  kl_store_u32_le(out + WAL_BATCH_CRC, kl_crc32c(seed, out + WAL_BATCH_LSN, WAL_BATCH_HEADER - WAL_BATCH_LSN));
}

bool wal_batch_header_has_magic(const uint8_t *bytes) {
  return memcmp(bytes, wal_batch_magic, sizeof wal_batch_magic) == 0;
}

bool wal_batch_header_decode(const uint8_t bytes[WAL_BATCH_HEADER], uint32_t seed, wal_batch_header *out) {
  if (!wal_batch_header_has_magic(bytes)) return false;
  uint32_t crc = kl_crc32c(seed, bytes + WAL_BATCH_LSN, WAL_BATCH_HEADER - WAL_BATCH_LSN);
  if (kl_load_u32_le(bytes + WAL_BATCH_CRC) != crc) return false;
  out->lsn = kl_load_u64_le(bytes + WAL_BATCH_LSN);
  out->payload_size = kl_load_u64_le(bytes + WAL_BATCH_PAYLOAD_SIZE);
  out->ts = kl_load_u64_le(bytes + WAL_BATCH_TS);
  out->durable_lsn = kl_load_u64_le(bytes + WAL_BATCH_DURABLE);
  out->incarnation = kl_load_u64_le(bytes + WAL_BATCH_INCARNATION);
  out->payload_crc = kl_load_u32_le(bytes + WAL_BATCH_PAYLOAD_CRC);
  out->gap = kl_load_u16_le(bytes + WAL_BATCH_GAP);
  out->flags = kl_load_u16_le(bytes + WAL_BATCH_FLAGS);
  return true;
}

bool wal_batch_end(uint64_t lsn, uint64_t payload_size, uint64_t *out_end) {
  /* Positions stay below 2^62, so that aligning up and adding a step never wraps. */
  const uint64_t limit = (uint64_t)1 << 62;
  if (lsn >= limit || payload_size >= limit - lsn - WAL_BATCH_HEADER - WAL_ALIGN) return false;
  *out_end = wal_align_up(lsn + WAL_BATCH_HEADER + payload_size, WAL_ALIGN);
  return true;
}

void wal_owner_encode(const char *text, uint8_t out[WAL_PAGE]) {
  size_t size = strlen(text);
  if (size >= WAL_OWNER_TEXT) size = WAL_OWNER_TEXT - 1;
  memset(out, 0, WAL_PAGE);
  memcpy(out, wal_owner_magic, 8);
  kl_store_u32_le(out + WAL_OWNER_SIZE_FIELD, (uint32_t)size);
  kl_store_u32_le(out + WAL_OWNER_CRC, kl_crc32c(0, text, size));
  memcpy(out + WAL_OWNER_BYTES, text, size);
}

bool wal_owner_decode(const uint8_t bytes[WAL_PAGE], char out_text[WAL_OWNER_TEXT]) {
  if (memcmp(bytes, wal_owner_magic, 8) != 0) return false;
  size_t size = kl_load_u32_le(bytes + WAL_OWNER_SIZE_FIELD);
  if (size >= WAL_OWNER_TEXT) return false;
  if (kl_load_u32_le(bytes + WAL_OWNER_CRC) != kl_crc32c(0, bytes + WAL_OWNER_BYTES, size)) return false;
  for (size_t i = 0; i < size; i++) {
    uint8_t c = bytes[WAL_OWNER_BYTES + i];
    if (c < 0x20 || c == 0x7f) return false; /* it ends in a message: no control characters */
  }
  memcpy(out_text, bytes + WAL_OWNER_BYTES, size);
  out_text[size] = 0;
  return true;
}
