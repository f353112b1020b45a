/* core/drain/stored.h: is what lies in the file what a pointer names? For those who bring bytes from the file into
 * memory: the pages (pages.h), drains, and verification, which reads past every cache. `path` is for messages, which
 * name the file and the block. Pure functions. */
#ifndef KL_DRAIN_STORED_H
#define KL_DRAIN_STORED_H

#include "../base/status.h"
#include "../tree/tree.h"

/* Before reading: KL_E_CORRUPT when the pointer cannot be one of a page. */
kl_status kl_stored_check_pointer(const char *path, const kl_tree_pointer *pointer, uint32_t page_size, kl_error *err);
/* `bytes` (pointer->length of them) are the page: checksum, and all that a reader relies on. KL_E_CORRUPT,
 * KL_E_VERSION. */
kl_status kl_stored_check_page(const char *path, const kl_tree_pointer *pointer, const void *bytes, kl_error *err);

/* As kl_stored_check_pointer, of a value in an extent. KL_E_VERSION: it is stored in a way that this version does not
 * know. */
kl_status kl_stored_check_extent(const char *path, const kl_tree_extent *extent, kl_error *err);
/* KL_E_CORRUPT: a row has a reference to a value that cannot be there. */
kl_status kl_stored_extent_wrong(const char *path, const kl_tree_extent *extent, kl_error *err);
/* KL_E_CORRUPT unless `found`, the CRC-32C of the value's bytes, is the one that the row has. */
kl_status kl_stored_check_value(const char *path, const kl_tree_extent *extent, uint32_t found, kl_error *err);

#endif
