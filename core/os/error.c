/* core/os/error.c: see error.h. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "path.h"

typedef struct os_error_row {
  int system_errno;
  kl_status status;
  const char *advice; /* what to do about it */
} os_error_row;

static const os_error_row os_error_rows[] = {
    {ENOSPC, KL_E_DISK_FULL, "free some disk space"},
    {EDQUOT, KL_E_DISK_FULL, "free some space or raise the disk quota"},
    {EACCES, KL_E_PERMISSION, "check the permissions of the file and its directory"},
    {EPERM, KL_E_PERMISSION, "check the owner, permissions and attributes"},
    {EROFS, KL_E_READ_ONLY_MEDIA, "open it read-only"},
    {ENOENT, KL_E_NO_FILE, "check the path"},
    {ENOTDIR, KL_E_NO_FILE, "a part of the path is not a directory"},
    {EISDIR, KL_E_NOT_A_FILE, "give the path of a file"},
    {ENXIO, KL_E_NOT_A_FILE, "give the path of a regular file"},
    {EEXIST, KL_E_EXISTS, "choose another name or remove it"},
    {ENOMEM, KL_E_NO_MEMORY, "free some memory"},
    {EFBIG, KL_E_LIMIT, "raise the limit of file size"},
    {EMFILE, KL_E_LIMIT, "raise the process's limit of open files"},
    {ENFILE, KL_E_LIMIT, "raise the system's limit of open files"},
    {ENAMETOOLONG, KL_E_INVALID, "use a shorter path"},
    {EAGAIN, KL_E_LOCKED, "another process or handle holds it; close it there"},
};

static const os_error_row *os_error_find(int system_errno) {
  static const os_error_row other = {0, KL_E_IO, "check the device and the system's log"};
  for (size_t i = 0; i < sizeof os_error_rows / sizeof os_error_rows[0]; i++) {
    if (os_error_rows[i].system_errno == system_errno) return &os_error_rows[i];
  }
  /* Not in the table: it equals EAGAIN on some systems, and a table may not hold a value twice there. */
  if (system_errno == EWOULDBLOCK) return os_error_find(EAGAIN);
  return &other;
}

kl_status kl_os_status_of_errno(int system_errno) {
  return os_error_find(system_errno)->status;
}

kl_status kl_os_fail(kl_error *err, int system_errno, const char *path, const char *format, ...) {
  const os_error_row *row = os_error_find(system_errno);
  char action[81], shown[KL_PATH_SHOWN];
  va_list arguments;
  if (err == NULL) return row->status;
  va_start(arguments, format);
  if (vsnprintf(action, sizeof action, format, arguments) < 0) action[0] = '\0';
  va_end(arguments);
  return kl_fail_errno(err, row->status, system_errno, "%s \"%s\" (%s)", action, kl_path_shown(path, shown),
                       row->advice);
}
