/* core/drain/stored.h: is what lies in the file what a pointer names? For those who bring bytes from the file into
 * memory: the pages (pages.h), drains, and verification, which reads past every cache. `path` is for messages, which
 * name the file and the block. Values in extents: extent.h. Pure functions. */
#ifndef KL_DRAIN_STORED_H
#define KL_DRAIN_STORED_H

#include "../base/status.h"
#include "../tree/tree.h"

/* Before reading: KL_E_CORRUPT when the pointer cannot be one of a page. */
kl_status kl_stored_check_pointer(const char *path, const kl_tree_pointer *pointer, uint32_t page_size, kl_error *err);
/* `bytes` (pointer->length of them) are the page: checksum, and all that a reader relies on. KL_E_CORRUPT,
 * KL_E_VERSION. */
kl_status kl_stored_check_page(const char *path, const kl_tree_pointer *pointer, const void *bytes, kl_error *err);

#endif
