/* core/drain/pages_fault.c: a message about a page that cannot be read says which keys are lost with it. */
#include <inttypes.h>
#include <stdio.h>

#include "pages_private.h"

enum { PAGES_KEY_SHOWN = 12, PAGES_KEY_TEXT = 4 * PAGES_KEY_SHOWN + 8 };

/* The first bytes of a key, in quotes; what is not a printable character of ASCII as \xNN. */
static void pages_fault_show_key(const kl_tree_split *key, char out[PAGES_KEY_TEXT]) {
  size_t at = 0;
  out[at++] = '"';
  for (size_t i = 0; i < key->size && i < PAGES_KEY_SHOWN; i++) {
    uint8_t c = key->key[i];
    bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    int written = snprintf(out + at, PAGES_KEY_TEXT - at, plain ? "%c" : "\\x%02x", c);
    if (written > 0) at += (size_t)written;
  }
  (void)snprintf(out + at, PAGES_KEY_TEXT - at, "%s", key->size > PAGES_KEY_SHOWN ? "...\"" : "\"");
}

/* The ranges take some KiB, and the path to here is rare: they are not worth the stack of every read. */
static kl_status pages_fault_locate(kl_pages *pages, const kl_tree_pointer *failed, const kl_tree_pointer *root,
                                    kl_slice key, int direction, kl_tree_range *out_range) {
  pages_op op;
  kl_status status;
  pages_op_begin(&op, pages, 0);
  while ((status = kl_tree_locate(&op.source, root, key, direction, failed, out_range, NULL)) == KL_CACHE_RETRY) {
    pages_op_retry(&op);
  }
  pages_op_end(&op);
  return status;
}

kl_status pages_explain(kl_pages *pages, const kl_tree_pointer *failed, const kl_tree_pointer *root, kl_slice key,
                        int direction, kl_status status, kl_error *err) {
  char low[PAGES_KEY_TEXT], high[PAGES_KEY_TEXT];
  if (err == NULL || (status != KL_E_CORRUPT && status != KL_E_IO && status != KL_E_VERSION)) return status;
  if (kl_tree_pointer_is_null(failed)) return status;
  kl_tree_range *range = kl_alloc(pages->allocator, sizeof *range);
  if (range == NULL) return status;
  if (pages_fault_locate(pages, failed, root, key, direction, range) == KL_OK) {
    kl_error cause = *err;
    pages_fault_show_key(&range->low, low);
    pages_fault_show_key(&range->high, high);
    kl_fail_errno(err, cause.code, 0, "keys from %s %s%s: %s", low, range->has_high ? "to before " : "on",
                  range->has_high ? high : "", cause.message);
    err->system_errno = cause.system_errno;
  }
  kl_free(pages->allocator, range, sizeof *range);
  return status;
}
