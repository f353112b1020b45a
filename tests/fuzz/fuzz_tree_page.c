/* Any bytes as a page of a tree: it is refused, or everything can be done with it.
 *
 * Input: one byte, then the page. With bit 0 of the byte, magic, version, flags and length are made right, so that the
 * fuzzer need not find them. */
#include <string.h>

#include "core/base/endian.h"
#include "core/tree/tree.h"
#include "fuzz.h"
#include "tests/support/tree_page_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kl_error err = {0};
  if (size < 1) return 0;
  size_t length = size - 1;
  uint8_t *page = malloc(length != 0 ? length : 1); /* exactly: the sanitizers see a read behind it */
  FUZZ_CHECK(page != NULL);
  if (length != 0) memcpy(page, data + 1, length);
  if ((data[0] & 1) != 0 && length >= 16) {
    memcpy(page, "KPG\x1a\x01", 5);
    memset(page + 6, 0, 2);
    kl_store_u32_le(page + 8, (uint32_t)length);
  }
  kl_status status = kl_tree_page_check(page, length, NULL, &err);
  if (status == KL_OK) {
    FUZZ_CHECK(tree_page_use_all(page, length));
  } else {
    FUZZ_CHECK(status == KL_E_CORRUPT || status == KL_E_VERSION);
    FUZZ_CHECK(err.code == status && err.message[0] != 0);
  }
  free(page);
  return 0;
}
