/* core/os/posix/posix_private.h: what the files of the POSIX implementation share. */
#ifndef KL_OS_POSIX_PRIVATE_H
#define KL_OS_POSIX_PRIVATE_H

#include <stdatomic.h>

#include "../error.h"
#include "../os.h"
#include "../path.h"
#include "../thread.h"

typedef struct kl_posix_watch kl_posix_watch; /* a descriptor that a forked child must close (fork.c) */

/* The part of a file that is mapped for overwriting, or that was found unfit for it (overwrite.c). */
typedef struct kl_posix_window {
  _Atomic bool busy;     /* whoever sets it owns the fields below until it clears it */
  bool refused;          /* this file is never mapped */
  unsigned char *memory; /* NULL: no mapping, [start, end) is written by system calls */
  uint64_t start, end;
} kl_posix_window;

struct kl_file {
  int fd;
  bool writable;
  kl_posix_window window;
  uint64_t fork_count;   /* of the process that opened it */
  kl_posix_watch *watch; /* not NULL once a lock was asked for */
  size_t struct_size;    /* as allocated, with the path */
  char path[];           /* for messages, as it was given to open */
};

/* fork.c. Registers the fork handler unless that is done; KL_E_NO_MEMORY when the system refuses. */
kl_status kl_posix_fork_prepare(kl_error *err);
/* From now on a forked child closes its copy of fd. NULL: no memory. */
kl_posix_watch *kl_posix_watch_begin(int fd);
void kl_posix_watch_end(kl_posix_watch *watch); /* to be called before close(fd) */

/* file.c */
kl_status kl_posix_open(kl_os *os, const char *path, uint32_t flags, uint32_t mode, kl_file **out, kl_error *err);
void kl_posix_close(kl_os *os, kl_file *file);
kl_status kl_posix_read(kl_os *os, kl_file *file, void *buffer, size_t size, uint64_t offset, size_t *out_read,
                        kl_error *err);
kl_status kl_posix_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset, kl_error *err);
kl_status kl_posix_sync(kl_os *os, kl_file *file, bool data_only, kl_error *err);
kl_status kl_posix_size(kl_os *os, kl_file *file, uint64_t *out_size, kl_error *err);
kl_status kl_posix_truncate(kl_os *os, kl_file *file, uint64_t size, kl_error *err);
kl_status kl_posix_allocate(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err);
kl_status kl_posix_lock(kl_os *os, kl_file *file, kl_lock_mode mode, kl_error *err);

/* overwrite.c */
kl_status kl_posix_overwrite(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                             kl_error *err);
/* Unmaps: before the file is cut or closed. Not in a forked child, which has no copy of the mapping. */
void kl_posix_window_forget(kl_file *file);

/* directory.c */
kl_status kl_posix_stat(kl_os *os, const char *path, kl_file_info *out, kl_error *err);
kl_status kl_posix_remove(kl_os *os, const char *path, kl_error *err);
kl_status kl_posix_rename(kl_os *os, const char *from, const char *to, kl_error *err);
bool kl_posix_working_directory(kl_os *os, char *out, size_t capacity);
kl_status kl_posix_sync_directory(kl_os *os, const char *path, kl_error *err);

/* clock.c */
uint64_t kl_posix_monotonic_ns(kl_os *os);
uint64_t kl_posix_monotonic_coarse_ns(kl_os *os);
uint64_t kl_posix_wall_ns(kl_os *os);
void kl_posix_sleep_ns(kl_os *os, uint64_t ns);

/* host.c */
void kl_posix_random(kl_os *os, void *out, size_t size);
uint64_t kl_posix_process_id(kl_os *os);
void kl_posix_process_name(kl_os *os, char *out, size_t capacity);
uint64_t kl_posix_physical_memory(kl_os *os);
uint32_t kl_posix_processors(kl_os *os);

/* memory.c */
kl_status kl_posix_map(kl_os *os, uint64_t size, void **out_memory, kl_error *err);
void kl_posix_unmap(kl_os *os, void *memory, uint64_t size);
kl_status kl_posix_commit(kl_os *os, void *memory, uint64_t size, bool huge, kl_error *err);
void kl_posix_release(kl_os *os, void *memory, uint64_t size);

#endif
