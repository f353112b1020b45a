/* core/drain/pages_fault.c: a message about what cannot be read says which keys are lost with it. */
#include "../base/show.h"
#include "pages_private.h"

enum { PAGES_KEY_SHOWN = 12 };

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

static void pages_fault_name(kl_slice key, kl_error *err) {
  char shown[KL_SHOW_SIZE(PAGES_KEY_SHOWN)];
  kl_error cause = *err;
  kl_show_bytes(key, PAGES_KEY_SHOWN, shown);
  kl_fail_errno(err, cause.code, 0, "key %s: %s", shown, cause.message);
  err->system_errno = cause.system_errno;
}

kl_status pages_explain(kl_pages *pages, const kl_tree_pointer *failed, const kl_tree_pointer *root, kl_slice key,
                        int direction, kl_status status, kl_error *err) {
  char low[KL_SHOW_SIZE(PAGES_KEY_SHOWN)], high[KL_SHOW_SIZE(PAGES_KEY_SHOWN)];
  if (err == NULL || (status != KL_E_CORRUPT && status != KL_E_IO && status != KL_E_VERSION)) return status;
  if (kl_tree_pointer_is_null(failed)) {
    if (direction == 0) pages_fault_name(key, err);
    return status;
  }
  kl_tree_range *range = kl_alloc(pages->allocator, sizeof *range);
  if (range == NULL) return status;
  if (pages_fault_locate(pages, failed, root, key, direction, range) == KL_OK) {
    kl_error cause = *err;
    kl_show_bytes(kl_slice_make(range->low.key, range->low.size), PAGES_KEY_SHOWN, low);
    kl_show_bytes(kl_slice_make(range->high.key, range->high.size), PAGES_KEY_SHOWN, high);
    kl_fail_errno(err, cause.code, 0, "keys from %s %s%s: %s", low, range->has_high ? "to before " : "on",
                  range->has_high ? high : "", cause.message);
    err->system_errno = cause.system_errno;
  }
  kl_free(pages->allocator, range, sizeof *range);
  return status;
}
