/* core/drain/stored.c: see stored.h. */
#include "stored.h"

#include <inttypes.h>

#include "../base/crc32c.h"
#include "../store/store.h"

kl_status kl_stored_check_pointer(const char *path, const kl_tree_pointer *pointer, uint32_t page_size, kl_error *err) {
  if (pointer->address % KL_BLOCK_SIZE == 0 && pointer->length != 0 && pointer->length <= page_size) return KL_OK;
  return kl_fail(err, KL_E_CORRUPT,
                 "'%s': a pointer names a page of %" PRIu32 " bytes at %" PRIu64
                 ", which cannot be; restore from a "
                 "backup",
                 path, pointer->length, pointer->address);
}

kl_status kl_stored_check_page(const char *path, const kl_tree_pointer *pointer, const void *bytes, kl_error *err) {
  kl_error cause;
  uint32_t found = kl_crc32c(0, bytes, pointer->length);
  uint64_t block = pointer->address / KL_BLOCK_SIZE;
  if (found != pointer->checksum) {
    return kl_fail(err, KL_E_CORRUPT,
                   "'%s' is damaged at block %" PRIu64 ": checksum %08" PRIx32 ", expected %08" PRIx32
                   "; restore from a backup",
                   path, block, found, pointer->checksum);
  }
  kl_status status = kl_tree_page_check(bytes, pointer->length, pointer, &cause);
  if (status == KL_OK) return KL_OK;
  return kl_fail(err, status, "'%s', block %" PRIu64 ": %s", path, block, cause.message);
}

kl_status kl_stored_extent_wrong(const char *path, const kl_tree_extent *extent, kl_error *err) {
  return kl_fail(err, KL_E_CORRUPT,
                 "'%s': a row names a value of %" PRIu64 " bytes at %" PRIu64
                 ", which cannot be; restore from a "
                 "backup",
                 path, extent->length, extent->address);
}

kl_status kl_stored_check_extent(const char *path, const kl_tree_extent *extent, kl_error *err) {
  if (extent->address % KL_BLOCK_SIZE != 0 || extent->length == 0 || extent->length > (uint64_t)INT64_MAX) {
    return kl_stored_extent_wrong(path, extent, err);
  }
  if (extent->length != extent->stored) {
    return kl_fail(err, KL_E_VERSION,
                   "'%s': a value of %" PRIu64 " bytes is stored as %" PRIu64 "; open the database with a newer Keel",
                   path, extent->length, extent->stored);
  }
  return KL_OK;
}

kl_status kl_stored_check_value(const char *path, const kl_tree_extent *extent, uint32_t found, kl_error *err) {
  if (found == extent->checksum) return KL_OK;
  return kl_fail(err, KL_E_CORRUPT,
                 "'%s' is damaged in the value of %" PRIu64 " bytes at block %" PRIu64 "; restore from a backup", path,
                 extent->length, extent->address / KL_BLOCK_SIZE);
}
