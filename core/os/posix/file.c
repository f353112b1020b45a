/* core/os/posix/file.c: files, by descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../checks.h"
#include "../transfer.h"
#include "posix_private.h"

/* A file of the parent, in a forked child: its descriptor may be closed, or be that of another file by now. */
static kl_status posix_file_check(const kl_file *file, kl_error *err) {
  char shown[KL_PATH_SHOWN];
  if (file->fork_count == kl_fork_count()) return KL_OK;
  return kl_fail(err, KL_E_FORKED, "\"%s\" was opened before a fork; open it again in the child",
                 kl_path_shown(file->path, shown));
}

static int posix_open_flags(uint32_t flags) {
  /* O_NONBLOCK: opening a FIFO must not wait for its other end; regular files do not know it. Symbolic links are
   * followed: people do keep files behind them, and a database is identified by device and inode, not by its name. */
  int system = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | ((flags & KL_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
  if ((flags & KL_OPEN_CREATE) != 0) system |= O_CREAT;
  if ((flags & KL_OPEN_EXCLUSIVE) != 0) system |= O_EXCL;
  if ((flags & KL_OPEN_DSYNC) != 0) system |= O_DSYNC;
  return system;
}

/* Opens a descriptor above 2 (OS-5). A host may have closed its standard streams; were a database to get their numbers,
 * the host's next message would be written into it. */
static int posix_open_fd(const char *path, int flags, mode_t mode) {
  int fd;
  do {
    fd = open(path, flags, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int failed = errno;
  (void)close(fd);
  errno = failed;
  return high;
}

static kl_status posix_open_regular(const char *path, int flags, mode_t mode, int *out_fd, kl_error *err) {
  struct stat info;
  int fd = posix_open_fd(path, flags, mode);
  if (fd < 0) return kl_os_fail(err, errno, path, "cannot open");
  kl_status status = KL_OK;
  if (fstat(fd, &info) != 0) {
    status = kl_os_fail(err, errno, path, "cannot examine");
  } else if (!S_ISREG(info.st_mode)) {
    /* A directory opened for reading, a device, a FIFO: what open refuses has the same answer. */
    status = kl_os_fail(err, S_ISDIR(info.st_mode) ? EISDIR : ENXIO, path, "cannot open");
  }
  if (status != KL_OK) {
    (void)close(fd);
    return status;
  }
  *out_fd = fd;
  return KL_OK;
}

kl_status kl_posix_open(kl_os *os, const char *path, uint32_t flags, uint32_t mode, kl_file **out, kl_error *err) {
  int fd = -1;
  size_t path_size = strlen(path) + 1;
  size_t struct_size = sizeof(kl_file) + path_size;
  kl_status status = kl_check_open_flags(path, flags, err);
  if (status == KL_OK) status = kl_posix_fork_prepare(err);
  if (status != KL_OK) return status;
  kl_file *file = kl_alloc(os->allocator, struct_size);
  if (file == NULL) return kl_os_fail(err, ENOMEM, path, "cannot open");
  status = posix_open_regular(path, posix_open_flags(flags), (mode_t)(mode != 0 ? mode : 0600), &fd, err);
  if (status != KL_OK) {
    kl_free(os->allocator, file, struct_size);
    return status;
  }
  file->fd = fd;
  file->writable = (flags & KL_OPEN_WRITE) != 0;
  file->window.refused = (flags & KL_OPEN_DSYNC) != 0; /* a store into a mapping promises nothing */
  file->fork_count = kl_fork_count();
  file->struct_size = struct_size;
  memcpy(file->path, path, path_size);
  *out = file;
  return KL_OK;
}

static int posix_file_ofd_lock(int fd, short type) {
#ifdef F_OFD_SETLK
  struct flock request = {.l_type = type, .l_whence = SEEK_SET};
  return fcntl(fd, F_OFD_SETLK, &request) == 0 ? 0 : errno;
#else
  (void)fd;
  (void)type;
  return EINVAL;
#endif
}

/* Locks (F_RDLCK, F_WRLCK) or unlocks (F_UNLCK) the open file description (OS-3); 0 or an errno. Where the kernel has
 * no such locks over byte ranges (EINVAL), flock has the same semantics. A kernel gives every process the same answer,
 * so that two processes never use different kinds. */
static int posix_file_set_lock(int fd, short type) {
  int failed;
  do {
    failed = posix_file_ofd_lock(fd, type);
    if (failed == EINVAL) {
      int operation = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
      failed = flock(fd, operation | LOCK_NB) == 0 ? 0 : errno;
    }
  } while (failed == EINTR);
  return failed;
}

void kl_posix_close(kl_os *os, kl_file *file) {
  if (file == NULL) return;
  bool ours = file->fork_count == kl_fork_count();
  if (ours) kl_posix_window_forget(file);
  if (file->watch != NULL && ours) {
    /* In this order, see fork.c. The unlock is for copies that a child may have made a moment ago. */
    (void)posix_file_set_lock(file->fd, F_UNLCK);
    kl_posix_watch_end(file->watch);
  }
  /* In a forked child a locked file's descriptor is closed already, and to unlock it would end the parent's lock. Any
   * other is this process's own copy. EINTR is no reason to repeat: Linux has closed the descriptor then. */
  if (file->watch == NULL || ours) (void)close(file->fd);
  kl_free(os->allocator, file, file->struct_size);
}

kl_status kl_posix_lock(kl_os *os, kl_file *file, kl_lock_mode mode, kl_error *err) {
  (void)os;
  kl_status status = posix_file_check(file, err);
  if (status == KL_OK) status = kl_check_writable(file->path, file->writable || mode == KL_LOCK_SHARED, err);
  if (status != KL_OK) return status;
  if (file->watch == NULL) file->watch = kl_posix_watch_begin(file->fd);
  if (file->watch == NULL) return kl_os_fail(err, ENOMEM, file->path, "cannot lock");
  int failed = posix_file_set_lock(file->fd, mode == KL_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK);
  if (failed == EACCES) failed = EAGAIN; /* POSIX allows either for a lock that is held */
  return failed == 0 ? KL_OK : kl_os_fail(err, failed, file->path, "cannot lock");
}

static int64_t posix_raw_read(void *context, void *buffer, size_t size, uint64_t offset) {
  const kl_file *file = context;
  ssize_t moved = pread(file->fd, buffer, size, (off_t)offset);
  return moved < 0 ? -(int64_t)errno : moved;
}

static int64_t posix_raw_write(void *context, const kl_slice *parts, size_t count, uint64_t offset) {
  const kl_file *file = context;
  struct iovec vectors[KL_TRANSFER_PARTS];
  for (size_t i = 0; i < count; i++) {
    vectors[i].iov_base = (void *)(uintptr_t)parts[i].data; /* iovec serves reads too and has no const */
    vectors[i].iov_len = parts[i].size;
  }
  ssize_t moved = pwritev(file->fd, vectors, (int)count, (off_t)offset);
  return moved < 0 ? -(int64_t)errno : moved;
}

kl_status kl_posix_read(kl_os *os, kl_file *file, void *buffer, size_t size, uint64_t offset, size_t *out_read,
                        kl_error *err) {
  (void)os;
  kl_status status = posix_file_check(file, err);
  if (status != KL_OK) return status;
  return kl_transfer_read(posix_raw_read, file, file->path, buffer, size, offset, out_read, err);
}

/* Everything that changes a file asks this first: the errors of a read-only descriptor differ between calls. */
static kl_status posix_file_check_writable(const kl_file *file, kl_error *err) {
  kl_status status = posix_file_check(file, err);
  return status != KL_OK ? status : kl_check_writable(file->path, file->writable, err);
}

kl_status kl_posix_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                         kl_error *err) {
  (void)os;
  kl_status status = posix_file_check_writable(file, err);
  if (status != KL_OK) return status;
  return kl_transfer_write(posix_raw_write, file, file->path, parts, count, offset, err);
}

kl_status kl_posix_sync(kl_os *os, kl_file *file, bool data_only, kl_error *err) {
  (void)os;
  int result;
  kl_status status = posix_file_check(file, err);
  if (status != KL_OK) return status;
  /* OS-2: only EINTR is repeated, for nothing was tried then. After any other failure the kernel may have marked the
   * pages clean, and a second sync would promise what is not so; the caller has to hear of the first. */
  do {
    result = data_only ? fdatasync(file->fd) : fsync(file->fd);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? KL_OK : kl_os_fail(err, errno, file->path, "cannot sync");
}

kl_status kl_posix_size(kl_os *os, kl_file *file, uint64_t *out_size, kl_error *err) {
  (void)os;
  struct stat info;
  kl_status status = posix_file_check(file, err);
  if (status != KL_OK) return status;
  if (fstat(file->fd, &info) != 0) return kl_os_fail(err, errno, file->path, "cannot examine");
  *out_size = (uint64_t)info.st_size;
  return KL_OK;
}

static kl_status posix_file_resize(const kl_file *file, uint64_t size, kl_error *err) {
  int result;
  do {
    result = ftruncate(file->fd, (off_t)size);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return KL_OK;
  return kl_os_fail(err, errno, file->path, "cannot set the size to %llu of", (unsigned long long)size);
}

kl_status kl_posix_truncate(kl_os *os, kl_file *file, uint64_t size, kl_error *err) {
  (void)os;
  kl_status status = posix_file_check_writable(file, err);
  if (status == KL_OK) status = kl_check_range(file->path, 0, size, err);
  if (status != KL_OK) return status;
  kl_posix_window_forget(file); /* what is cut off and comes again may be a hole */
  return posix_file_resize(file, size, err);
}

kl_status kl_posix_allocate(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err) {
  int result;
  uint64_t now = 0;
  kl_status status = posix_file_check_writable(file, err);
  if (status == KL_OK) status = kl_check_range(file->path, offset, size, err);
  if (status != KL_OK || size == 0) return status;
  do {
    result = fallocate(file->fd, 0, (off_t)offset, (off_t)size);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return KL_OK;
  if (errno != EOPNOTSUPP && errno != ENOSYS) {
    return kl_os_fail(err, errno, file->path, "cannot reserve %llu bytes at offset %llu of", (unsigned long long)size,
                      (unsigned long long)offset);
  }
  /* This file system reserves nothing: then the file grows only. posix_fallocate is no help, it writes into files. */
  status = kl_posix_size(os, file, &now, err);
  if (status != KL_OK || now >= offset + size) return status;
  return posix_file_resize(file, offset + size, err);
}
