/* core/os/posix/overwrite.c: bytes into a file that has them, without a system call for each. See os.h.
 *
 * A window of the file is mapped, shared, and small parts are copied into it. The mapping is the page cache itself, so
 * what is copied is in the file for everybody, at once, and stays when the process is killed.
 *
 * A store into a mapping has no way to fail but a signal, so the window is made where it need not (OS-10): on file
 * systems that overwrite in place, with every page loaded, given its space and made writable beforehand by a call that
 * says so when it cannot. Wherever one of these does not hold, the bytes are written as any others. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/vfs.h>
#endif

#include "posix_private.h"

enum {
  POSIX_WINDOW_SIZE = 1 << 20,
  POSIX_WINDOW_MOST = 64 << 10 /* bytes of one call: of more, a system call's share is small */
};

/* Where storing into a written block changes that block: no new space is needed, now or when it is written back. Not
 * so on btrfs and ZFS, on XFS once a file was cloned, and who knows where across a network. */
static bool posix_overwrite_in_place(int fd) {
#ifdef __linux__
  struct statfs info;
  if (fstatfs(fd, &info) != 0) return false;
  return info.f_type == 0xEF53 /* ext2, ext3, ext4 */ || info.f_type == 0x01021994 /* tmpfs */;
#else
  (void)fd;
  return false;
#endif
}

/* Loads all pages, reserves space for those that have none, and makes them writable, or says that it cannot. */
static bool posix_overwrite_populate(void *memory, size_t size) {
#ifdef __linux__
  const int populate_write = 23; /* MADV_POPULATE_WRITE, which headers before Linux 5.14 lack */
  int result;
  do {
    result = madvise(memory, size, populate_write);
  } while (result != 0 && errno == EINTR);
  return result == 0;
#else
  (void)memory;
  (void)size;
  return false;
#endif
}

/* A mapping of [start, end), or NULL. */
static unsigned char *posix_overwrite_map(int fd, uint64_t start, uint64_t end) {
  size_t size = (size_t)(end - start);
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
  if (memory == MAP_FAILED) return NULL;
  /* A forked child has no business in it. */
  if (madvise(memory, size, MADV_DONTFORK) == 0 && posix_overwrite_populate(memory, size)) return memory;
  (void)munmap(memory, size);
  return NULL;
}

static void posix_window_drop(kl_posix_window *window) {
  if (window->memory != NULL) (void)munmap(window->memory, (size_t)(window->end - window->start));
  window->memory = NULL;
  window->start = window->end = 0;
}

/* Moves the window to where `offset` lies. What cannot be mapped is remembered as a window without memory, a small one:
 * a file that grows soon has whole pages there. */
static void posix_window_move(kl_file *file, uint64_t offset) {
  kl_posix_window *window = &file->window;
  struct stat info;
  posix_window_drop(window);
  if (!posix_overwrite_in_place(file->fd) || fstat(file->fd, &info) != 0) {
    window->refused = true;
    return;
  }
  uint64_t start = offset / KL_MEMORY_PAGE * KL_MEMORY_PAGE, end = start + POSIX_WINDOW_SIZE;
  uint64_t whole = (uint64_t)info.st_size / KL_MEMORY_PAGE * KL_MEMORY_PAGE;
  if (end > whole) end = whole;
  if (end > offset) window->memory = posix_overwrite_map(file->fd, start, end);
  if (window->memory == NULL) end = start + POSIX_WINDOW_MOST;
  window->start = start;
  window->end = end;
}

/* True when all is stored. The window is ours. */
static bool posix_window_store(kl_file *file, const kl_slice *parts, size_t count, uint64_t offset, uint64_t size) {
  kl_posix_window *window = &file->window;
  if (window->refused) return false;
  if (offset < window->start || offset >= window->end) posix_window_move(file, offset);
  if (window->memory == NULL || size > window->end - offset) return false;
  unsigned char *out = window->memory + (offset - window->start);
  for (size_t i = 0; i < count; i++) {
    if (parts[i].size != 0) memcpy(out, parts[i].data, parts[i].size);
    out += parts[i].size;
  }
  return true;
}

kl_status kl_posix_overwrite(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                             kl_error *err) {
  uint64_t size = 0;
  for (size_t i = 0; i < count && size <= POSIX_WINDOW_MOST; i++) size += parts[i].size;
  bool stored = false;
  if (size <= POSIX_WINDOW_MOST && file->writable && file->fork_count == kl_fork_count() &&
      /* Acquire: the fields as their last owner left them. Whoever comes second does not wait: it writes. */
      !atomic_exchange_explicit(&file->window.busy, true, memory_order_acquire)) {
    stored = posix_window_store(file, parts, count, offset, size);
    atomic_store_explicit(&file->window.busy, false, memory_order_release);
  }
  return stored ? KL_OK : kl_posix_write(os, file, parts, count, offset, err);
}

void kl_posix_window_forget(kl_file *file) {
  /* Copies into it are short, and rare when a file is cut. */
  while (atomic_exchange_explicit(&file->window.busy, true, memory_order_acquire)) kl_thread_yield();
  posix_window_drop(&file->window);
  atomic_store_explicit(&file->window.busy, false, memory_order_release);
}
