/* core/os/checks.h: what every implementation of the interface refuses before it does anything, with one wording.
 * For implementations only. Each gives KL_E_INVALID. Any thread. */
#ifndef KL_OS_CHECKS_H
#define KL_OS_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"

/* Flags of open that are unknown or contradict each other. */
kl_status kl_check_open_flags(const char *path, uint32_t flags, kl_error *err);
/* A range that ends past 2^63-1. */
kl_status kl_check_range(const char *path, uint64_t offset, uint64_t size, kl_error *err);
/* A change of a file that is open for reading only. */
kl_status kl_check_writable(const char *path, bool writable, kl_error *err);
/* A rename into another directory. */
kl_status kl_check_rename(const char *from, const char *to, kl_error *err);

#endif
