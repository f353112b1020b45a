/* core/os/error.h: from an errno to a status, and to one line that a person can act on. Shared by all implementations
 * of the interface, so that a simulated full disk reads exactly like a real one. For implementations only.
 *
 * Thread rules: any thread. */
#ifndef KL_OS_ERROR_H
#define KL_OS_ERROR_H

#include "../base/status.h"

/* The status that an errno means:
 *   ENOSPC EDQUOT KL_E_DISK_FULL    EACCES EPERM  KL_E_PERMISSION   EROFS           KL_E_READ_ONLY_MEDIA
 *   ENOENT ENOTDIR KL_E_NO_FILE     EISDIR ENXIO  KL_E_NOT_A_FILE   EEXIST          KL_E_EXISTS
 *   ENOMEM KL_E_NO_MEMORY           EFBIG EMFILE ENFILE KL_E_LIMIT  ENAMETOOLONG    KL_E_INVALID
 *   EAGAIN EWOULDBLOCK KL_E_LOCKED  anything else KL_E_IO */
kl_status kl_os_status_of_errno(int system_errno);

/* Fills err with `ACTION "PATH" (what to do): text of the errno` and returns the status of the errno. `format` makes
 * the action, for example "cannot read %zu bytes at offset %llu of"; it is cut at 80 bytes, and of a long path the end
 * is shown. */
kl_status kl_os_fail(kl_error *err, int system_errno, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
