/* core/os/checks.c: see checks.h. */
#include "checks.h"

#include <string.h>

#include "os.h"
#include "path.h"

kl_status kl_check_open_flags(const char *path, uint32_t flags, kl_error *err) {
  const uint32_t known = KL_OPEN_READ | KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_EXCLUSIVE | KL_OPEN_DSYNC;
  bool readable = (flags & (KL_OPEN_READ | KL_OPEN_WRITE)) != 0, writable = (flags & KL_OPEN_WRITE) != 0;
  bool create = (flags & KL_OPEN_CREATE) != 0, exclusive = (flags & KL_OPEN_EXCLUSIVE) != 0;
  char shown[KL_PATH_SHOWN];
  if ((flags & ~known) == 0 && readable && (writable || !create) && (create || !exclusive)) return KL_OK;
  return kl_fail(err, KL_E_INVALID,
                 "cannot open \"%s\": flags 0x%x need READ or WRITE, CREATE needs WRITE, EXCLUSIVE needs CREATE",
                 kl_path_shown(path, shown), (unsigned)flags);
}

kl_status kl_check_range(const char *path, uint64_t offset, uint64_t size, kl_error *err) {
  char shown[KL_PATH_SHOWN];
  if (offset <= INT64_MAX && size <= INT64_MAX - offset) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%llu bytes at offset %llu of \"%s\" end beyond 2^63-1, where files end",
                 (unsigned long long)size, (unsigned long long)offset, kl_path_shown(path, shown));
}

kl_status kl_check_writable(const char *path, bool writable, kl_error *err) {
  char shown[KL_PATH_SHOWN];
  if (writable) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "\"%s\" is open for reading only; open it for writing to change or claim it",
                 kl_path_shown(path, shown));
}

kl_status kl_check_rename(const char *from, const char *to, kl_error *err) {
  char shown_from[KL_PATH_SHOWN], shown_to[KL_PATH_SHOWN];
  size_t size = kl_path_directory_size(from);
  if (size == kl_path_directory_size(to) && memcmp(from, to, size) == 0) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "cannot rename \"%s\" to \"%s\": keep both in one directory",
                 kl_path_shown(from, shown_from), kl_path_shown(to, shown_to));
}
