/* core/os/posix/directory.c: files by name, and the names themselves. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../checks.h"
#include "posix_private.h"

kl_status kl_posix_stat(kl_os *os, const char *path, kl_file_info *out, kl_error *err) {
  (void)os;
  struct stat info;
  memset(out, 0, sizeof *out);
  if (stat(path, &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return KL_OK; /* KL_FILE_ABSENT */
    return kl_os_fail(err, errno, path, "cannot examine");
  }
  out->kind = S_ISREG(info.st_mode) ? KL_FILE_REGULAR : S_ISDIR(info.st_mode) ? KL_FILE_DIRECTORY : KL_FILE_OTHER;
  out->size = (uint64_t)info.st_size;
  out->device = (uint64_t)info.st_dev;
  out->inode = (uint64_t)info.st_ino;
  return KL_OK;
}

kl_status kl_posix_remove(kl_os *os, const char *path, kl_error *err) {
  (void)os;
  if (unlink(path) == 0) return KL_OK;
  return kl_os_fail(err, errno, path, "cannot remove");
}

kl_status kl_posix_rename(kl_os *os, const char *from, const char *to, kl_error *err) {
  (void)os;
  kl_status status = kl_check_rename(from, to, err);
  if (status != KL_OK) return status;
  if (rename(from, to) == 0) return KL_OK;
  return kl_os_fail(err, errno, from, "cannot rename");
}

bool kl_posix_working_directory(kl_os *os, char *out, size_t capacity) {
  (void)os;
  if (getcwd(out, capacity) == NULL || out[0] != '/') return false; /* "(unreachable)...": Linux, outside of a chroot */
  size_t size = strlen(out);
  if (out[size - 1] == '/') return true;
  if (size + 2 > capacity) return false;
  memcpy(out + size, "/", 2);
  return true;
}

static int posix_open_directory(const char *path) {
  int fd;
  do {
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

kl_status kl_posix_sync_directory(kl_os *os, const char *path, kl_error *err) {
  int result;
  size_t size = kl_path_directory_size(path);
  char *directory = kl_alloc(os->allocator, size + 2);
  if (directory == NULL) return kl_os_fail(err, ENOMEM, path, "cannot sync the directory of");
  memcpy(directory, path, size);
  if (size == 0) directory[size++] = '.';
  int fd = posix_open_directory(directory);
  kl_free(os->allocator, directory, kl_path_directory_size(path) + 2);
  if (fd < 0) return kl_os_fail(err, errno, path, "cannot open the directory of");
  do {
    result = fsync(fd);
  } while (result != 0 && errno == EINTR);
  int failed = result == 0 ? 0 : errno;
  (void)close(fd);
  /* EINVAL: a file system whose directories need no sync, such as some network ones. */
  if (failed == 0 || failed == EINVAL) return KL_OK;
  return kl_os_fail(err, failed, path, "cannot sync the directory of");
}
