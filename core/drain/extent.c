/* core/drain/extent.c: see extent.h. */
#include "extent.h"

#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "../base/crc32c.h"
#include "../base/endian.h"
#include "../store/store.h"

enum { EXTENT_SUM = 4 /* bytes of a checksum in a table */ };
#define EXTENT_ADDRESS_MOST ((uint64_t)1 << 62) /* nothing that is added to it overflows */

uint64_t kl_extent_table_at(uint64_t length) {
  return (length + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE * KL_BLOCK_SIZE;
}

uint64_t kl_extent_parts(uint64_t length, uint32_t chunk) {
  return (length + (UINT64_C(1) << chunk) - 1) >> chunk;
}

uint64_t kl_extent_stored(uint64_t length, uint32_t chunk) {
  return chunk == 0 ? length : kl_extent_table_at(length) + kl_extent_parts(length, chunk) * EXTENT_SUM;
}

/* -------- messages -------- */

kl_status kl_extent_wrong(const char *path, const kl_tree_extent *extent, kl_error *err) {
  return kl_fail(err, KL_E_CORRUPT,
                 "'%s': a row names a value of %" PRIu64 " bytes at %" PRIu64
                 ", which cannot be; restore from a "
                 "backup",
                 path, extent->length, extent->address);
}

kl_status kl_extent_damaged(const char *path, const kl_tree_extent *extent, uint64_t at, uint64_t size, kl_error *err) {
  if (extent->chunk == 0) {
    return kl_fail(err, KL_E_CORRUPT,
                   "'%s' is damaged in the value of %" PRIu64 " bytes at block %" PRIu64 "; restore from a backup",
                   path, extent->length, extent->address / KL_BLOCK_SIZE);
  }
  return kl_fail(err, KL_E_CORRUPT,
                 "'%s' is damaged at block %" PRIu64 ", in bytes %" PRIu64 " to %" PRIu64 " of the value of %" PRIu64
                 " bytes; restore from a backup",
                 path, (extent->address + at) / KL_BLOCK_SIZE, at, at + size - 1, extent->length);
}

kl_status kl_extent_table_damaged(const char *path, const kl_tree_extent *extent, kl_error *err) {
  return kl_fail(err, KL_E_CORRUPT,
                 "'%s' is damaged at block %" PRIu64 ", in the checksums of the value of %" PRIu64
                 " bytes; restore from a backup",
                 path, (extent->address + kl_extent_table_at(extent->length)) / KL_BLOCK_SIZE, extent->length);
}

kl_status kl_extent_check_reference(const char *path, const kl_tree_extent *extent, kl_error *err) {
  bool plain = extent->chunk == 0;
  if (extent->address % KL_BLOCK_SIZE != 0 || extent->address > EXTENT_ADDRESS_MOST || extent->length == 0 ||
      extent->length > KL_EXTENT_LENGTH_MOST) {
    return kl_extent_wrong(path, extent, err);
  }
  bool known = plain || (extent->chunk >= KL_EXTENT_CHUNK_LEAST && extent->chunk <= KL_EXTENT_CHUNK_MOST);
  if (known && extent->stored == kl_extent_stored(extent->length, extent->chunk)) return KL_OK;
  return kl_fail(err, KL_E_VERSION,
                 "'%s': a value of %" PRIu64 " bytes is stored as %" PRIu64 "; open the database with a newer Keel",
                 path, extent->length, extent->stored);
}

/* -------- writing -------- */

void kl_extent_sums_begin(kl_extent_sums *sums, const kl_tree_extent *extent, kl_extent_write write, void *context) {
  memset(sums, 0, offsetof(kl_extent_sums, table));
  sums->extent = *extent;
  sums->table_at = extent->address + kl_extent_table_at(extent->length);
  sums->write = write;
  sums->context = context;
}

static kl_status extent_sums_flush(kl_extent_sums *sums, kl_error *err) {
  if (sums->table_used == 0) return KL_OK;
  sums->table_crc = kl_crc32c(sums->table_crc, sums->table, sums->table_used);
  size_t whole = (size_t)kl_extent_table_at(sums->table_used);
  memset(sums->table + sums->table_used, 0, whole - sums->table_used);
  kl_status status = sums->write(sums->context, sums->table_at, kl_slice_make(sums->table, whole), err);
  sums->table_at += whole;
  sums->table_used = 0;
  return status;
}

static kl_status extent_sums_part(kl_extent_sums *sums, kl_error *err) {
  kl_status status = sums->table_used == KL_EXTENT_TABLE ? extent_sums_flush(sums, err) : KL_OK;
  kl_store_u32_le(sums->table + sums->table_used, sums->crc);
  sums->table_used += EXTENT_SUM;
  sums->crc = 0;
  return status;
}

/* Bytes up to the end of the part that byte `seen` is in. */
static size_t extent_part_left(uint32_t chunk, uint64_t seen, size_t size) {
  if (chunk == 0) return size;
  uint64_t part = UINT64_C(1) << chunk, left = part - (seen & (part - 1));
  return left < size ? (size_t)left : size;
}

static bool extent_part_ends(const kl_tree_extent *extent, uint64_t seen) {
  return seen == extent->length || (extent->chunk != 0 && (seen & ((UINT64_C(1) << extent->chunk) - 1)) == 0);
}

kl_status kl_extent_sums_add(kl_extent_sums *sums, const void *bytes, size_t size, kl_error *err) {
  const uint8_t *from = bytes;
  kl_status status = KL_OK;
  KL_ASSERT(size <= sums->extent.length - sums->seen);
  while (size != 0 && status == KL_OK) {
    size_t n = extent_part_left(sums->extent.chunk, sums->seen, size);
    sums->crc = kl_crc32c(sums->crc, from, n);
    sums->seen += n;
    from += n;
    size -= n;
    if (sums->extent.chunk != 0 && extent_part_ends(&sums->extent, sums->seen)) status = extent_sums_part(sums, err);
  }
  return status;
}

kl_status kl_extent_sums_finish(kl_extent_sums *sums, kl_error *err) {
  KL_ASSERT(sums->seen == sums->extent.length);
  kl_status status = extent_sums_flush(sums, err);
  sums->extent.checksum = sums->extent.chunk == 0 ? sums->crc : sums->table_crc;
  return status;
}

/* -------- checking -------- */

kl_status kl_extent_check_begin(kl_extent_check *check, const char *path, const kl_tree_extent *extent,
                                kl_extent_read read, void *context, kl_error *err) {
  memset(check, 0, offsetof(kl_extent_check, table));
  check->extent = *extent;
  check->path = path;
  check->read = read;
  check->context = context;
  check->table_next = KL_EXTENT_TABLE;
  if (extent->chunk != 0) check->table_left = extent->stored - kl_extent_table_at(extent->length);
  return kl_extent_check_reference(path, extent, err);
}

/* The checksum of the part at hand, as the table has it. */
static kl_status extent_check_next_sum(kl_extent_check *check, uint32_t *out, kl_error *err) {
  if (check->table_next == KL_EXTENT_TABLE) {
    size_t size = check->table_left < KL_EXTENT_TABLE ? (size_t)check->table_left : KL_EXTENT_TABLE;
    uint64_t address = check->extent.address + check->extent.stored - check->table_left;
    kl_status status = check->read(check->context, address, check->table, size, err);
    if (status != KL_OK) return status;
    check->table_crc = kl_crc32c(check->table_crc, check->table, size);
    check->table_left -= size;
    check->table_next = 0;
  }
  *out = kl_load_u32_le(check->table + check->table_next);
  check->table_next += EXTENT_SUM;
  return KL_OK;
}

/* A part is complete, or the value. That the table is the one that was written is known when all of it was read. */
static kl_status extent_check_part(kl_extent_check *check, kl_error *err) {
  const kl_tree_extent *extent = &check->extent;
  uint32_t expected = extent->checksum;
  uint64_t part = UINT64_C(1) << extent->chunk, at = extent->chunk == 0 ? 0 : (check->seen - 1) & ~(part - 1);
  kl_status status = extent->chunk == 0 ? KL_OK : extent_check_next_sum(check, &expected, err);
  if (status != KL_OK) return status;
  bool is_last = check->seen == extent->length && extent->chunk != 0;
  if (is_last && check->table_crc != extent->checksum) return kl_extent_table_damaged(check->path, extent, err);
  if (check->crc != expected) return kl_extent_damaged(check->path, extent, at, check->seen - at, err);
  check->crc = 0;
  return KL_OK;
}

kl_status kl_extent_check_add(kl_extent_check *check, const void *bytes, size_t size, kl_error *err) {
  const uint8_t *from = bytes;
  kl_status status = KL_OK;
  KL_ASSERT(size <= check->extent.length - check->seen);
  while (size != 0 && status == KL_OK) {
    size_t n = extent_part_left(check->extent.chunk, check->seen, size);
    check->crc = kl_crc32c(check->crc, from, n);
    check->seen += n;
    from += n;
    size -= n;
    if (extent_part_ends(&check->extent, check->seen)) status = extent_check_part(check, err);
  }
  return status;
}

typedef struct extent_memory {
  const uint8_t *bytes;
  uint64_t address;
} extent_memory;

static kl_status extent_read_memory(void *context, uint64_t address, void *buffer, size_t length, kl_error *err) {
  const extent_memory *memory = context;
  (void)err;
  memcpy(buffer, memory->bytes + (address - memory->address), length);
  return KL_OK;
}

kl_status kl_extent_check_whole(const char *path, const kl_tree_extent *extent, const void *bytes, kl_error *err) {
  extent_memory memory = {bytes, extent->address};
  kl_extent_check check;
  kl_status status = kl_extent_check_begin(&check, path, extent, extent_read_memory, &memory, err);
  return status == KL_OK ? kl_extent_check_add(&check, bytes, (size_t)extent->length, err) : status;
}
