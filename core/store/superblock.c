/* core/store/superblock.c: see superblock.h. Every multi-byte integer is little-endian. */
#include "superblock.h"

#include <string.h>

#include "../base/crc32c.h"
#include "../base/endian.h"

static const uint8_t store_magic[8] = {'K', 'E', 'E', 'L', '-', 'D', 'B', 0x1a};

enum {
  STORE_AT_VERSION = 8,
  STORE_AT_COMPATIBLE = 12,
  STORE_AT_READ_ONLY = 16,
  STORE_AT_INCOMPATIBLE = 20,
  STORE_AT_ID = 24,
  STORE_AT_SEQUENCE = 40,
  STORE_AT_TS = 48,
  STORE_AT_LOG_LSN = 56,
  STORE_AT_KNOWN_DURABLE = 64,
  STORE_AT_WALL = 72,
  STORE_AT_CREATED = 80,
  STORE_AT_PAGE_SIZE = 88,
  STORE_AT_FLAGS = 92,
  STORE_AT_CATALOGUE = 96,
  STORE_AT_SPACE_MAP = 120,
  STORE_AT_BLOCKS_END = 144,
  STORE_AT_CHECKSUM = KL_SUPERBLOCK_SIZE - 4
};

void store_pointer_encode(const kl_store_pointer *pointer, uint8_t *out) {
  kl_store_u64_le(out, pointer->address);
  kl_store_u32_le(out + 8, pointer->length);
  kl_store_u32_le(out + 12, pointer->checksum);
  kl_store_u64_le(out + 16, pointer->birth);
}

kl_store_pointer store_pointer_decode(const uint8_t *bytes) {
  return (kl_store_pointer){kl_load_u64_le(bytes), kl_load_u32_le(bytes + 8), kl_load_u32_le(bytes + 12),
                            kl_load_u64_le(bytes + 16)};
}

void store_superblock_encode(const store_superblock *superblock, uint8_t out[KL_SUPERBLOCK_SIZE]) {
  const kl_checkpoint *checkpoint = &superblock->checkpoint;
  memset(out, 0, KL_SUPERBLOCK_SIZE);
  memcpy(out, store_magic, sizeof store_magic);
  kl_store_u32_le(out + STORE_AT_VERSION, superblock->version);
  kl_store_u32_le(out + STORE_AT_COMPATIBLE, superblock->features_compatible);
  kl_store_u32_le(out + STORE_AT_READ_ONLY, superblock->features_read_only);
  kl_store_u32_le(out + STORE_AT_INCOMPATIBLE, superblock->features_incompatible);
  memcpy(out + STORE_AT_ID, superblock->database_id, KL_DATABASE_ID_SIZE);
  kl_store_u64_le(out + STORE_AT_SEQUENCE, checkpoint->sequence);
  kl_store_u64_le(out + STORE_AT_TS, checkpoint->ts);
  kl_store_u64_le(out + STORE_AT_LOG_LSN, checkpoint->log_lsn);
  kl_store_u64_le(out + STORE_AT_KNOWN_DURABLE, checkpoint->known_durable);
  kl_store_u64_le(out + STORE_AT_WALL, checkpoint->wall_ns);
  kl_store_u64_le(out + STORE_AT_CREATED, superblock->created_ns);
  kl_store_u32_le(out + STORE_AT_PAGE_SIZE, superblock->page_size);
  kl_store_u32_le(out + STORE_AT_FLAGS, checkpoint->log_needed ? STORE_FLAG_LOG_NEEDED : 0);
  store_pointer_encode(&superblock->checkpoint.catalogue, out + STORE_AT_CATALOGUE);
  store_pointer_encode(&superblock->space_map, out + STORE_AT_SPACE_MAP);
  kl_store_u64_le(out + STORE_AT_BLOCKS_END, superblock->blocks_end);
  kl_store_u32_le(out + STORE_AT_CHECKSUM, kl_crc32c(0, out, STORE_AT_CHECKSUM));
}

static bool store_page_size_valid(uint32_t size) {
  return size >= KL_PAGE_SIZE_MIN && size <= KL_PAGE_SIZE_MAX && (size & (size - 1)) == 0;
}

kl_status store_superblock_decode(const uint8_t bytes[KL_SUPERBLOCK_SIZE], uint32_t slot, store_superblock *out) {
  if (memcmp(bytes, store_magic, sizeof store_magic) != 0) return KL_E_FORMAT;
  /* Magic, version and checksum keep their places in every version, so damage and novelty can be told apart. */
  if (kl_load_u32_le(bytes + STORE_AT_CHECKSUM) != kl_crc32c(0, bytes, STORE_AT_CHECKSUM)) return KL_E_CORRUPT;
  out->version = kl_load_u32_le(bytes + STORE_AT_VERSION);
  if (out->version != STORE_VERSION) return KL_E_VERSION;
  out->features_compatible = kl_load_u32_le(bytes + STORE_AT_COMPATIBLE);
  out->features_read_only = kl_load_u32_le(bytes + STORE_AT_READ_ONLY);
  out->features_incompatible = kl_load_u32_le(bytes + STORE_AT_INCOMPATIBLE);
  memcpy(out->database_id, bytes + STORE_AT_ID, KL_DATABASE_ID_SIZE);
  uint32_t flags = kl_load_u32_le(bytes + STORE_AT_FLAGS);
  out->checkpoint = (kl_checkpoint){.sequence = kl_load_u64_le(bytes + STORE_AT_SEQUENCE),
                                    .ts = kl_load_u64_le(bytes + STORE_AT_TS),
                                    .log_lsn = kl_load_u64_le(bytes + STORE_AT_LOG_LSN),
                                    .known_durable = kl_load_u64_le(bytes + STORE_AT_KNOWN_DURABLE),
                                    .wall_ns = kl_load_u64_le(bytes + STORE_AT_WALL),
                                    .log_needed = (flags & STORE_FLAG_LOG_NEEDED) != 0};
  out->created_ns = kl_load_u64_le(bytes + STORE_AT_CREATED);
  out->page_size = kl_load_u32_le(bytes + STORE_AT_PAGE_SIZE);
  out->checkpoint.catalogue = store_pointer_decode(bytes + STORE_AT_CATALOGUE);
  out->space_map = store_pointer_decode(bytes + STORE_AT_SPACE_MAP);
  out->blocks_end = kl_load_u64_le(bytes + STORE_AT_BLOCKS_END);
  bool sane = out->checkpoint.sequence != 0 && out->checkpoint.sequence <= STORE_SEQUENCE_MOST &&
              out->checkpoint.sequence % KL_SUPERBLOCKS == slot && store_page_size_valid(out->page_size);
  return sane ? KL_OK : KL_E_CORRUPT;
}
