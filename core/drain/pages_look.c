/* core/drain/pages_look.c: a value without loading it, where it is large. See pages.h. */
#include "pages_private.h"

kl_status kl_pages_look(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_held *held, bool *out_is_extent,
                        kl_tree_extent *out_extent, kl_error *err) {
  pages_op op;
  kl_status status;
  kl_held_clear(held);
  if (kl_tree_pointer_is_null(root)) return KL_E_NOT_FOUND;
  pages_op_begin(&op, pages, 0);
  for (;;) {
    kl_tree_value value;
    status = kl_tree_get(&op.source, root, key, &value, err);
    if (status == KL_OK) {
      *out_is_extent = value.is_extent;
      if (value.is_extent) {
        kl_tree_value_extent(&value, out_extent);
      } else {
        status = pages_held_copy(held, pages, value.bytes, err);
      }
    }
    if (status != KL_CACHE_RETRY) break;
    pages_op_retry(&op);
  }
  pages_op_end(&op);
  if (status == KL_OK || status == KL_E_NOT_FOUND) return status;
  return pages_explain(pages, &op.failed, root, key, 0, status, err);
}
