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
