/* core/os/os.h: everything that Keel asks of the operating system, as one interface.
 *
 * Two implementations: posix/ (the real one) and sim/ (virtual files, virtual clock, seeded faults; os/sim/sim.h).
 * All code above this floor gets a `kl_os *` and never makes a system call by itself. Platform #ifdefs live in
 * os/posix and (later) os/win only.
 *
 * Paths are UTF-8, NUL-terminated. Sizes and offsets are bytes, offset + size at most 2^63-1 (KL_E_INVALID beyond).
 * Calls that can fail return kl_status and fill err with the path and the errno. Interrupted calls are restarted
 * inside, short transfers continued. What an errno becomes is in os/error.h; the usual ones: KL_E_NO_FILE,
 * KL_E_EXISTS, KL_E_NOT_A_FILE, KL_E_PERMISSION, KL_E_READ_ONLY_MEDIA, KL_E_DISK_FULL, KL_E_LIMIT, KL_E_NO_MEMORY, and
 * KL_E_IO for all that no caller can tell apart.
 *
 * Thread rules: all calls from any thread; one kl_file may be used by many threads at once (positional I/O only),
 * except that close is the last call, and that lock, truncate and allocate of one file are one thread's at a time and
 * no other thread writes past its end meanwhile.
 *
 * After a fork, a kl_file of the parent answers every call in the child with KL_E_FORKED; close frees it there and
 * leaves the parent's lock alone. */
#ifndef KL_OS_OS_H
#define KL_OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/slice.h"
#include "../base/status.h"

typedef struct kl_os kl_os;
typedef struct kl_file kl_file;

enum {
  KL_OPEN_READ = 1,      /* read only; changing calls give KL_E_INVALID */
  KL_OPEN_WRITE = 2,     /* read and write */
  KL_OPEN_CREATE = 4,    /* with WRITE: create when absent, with the bits of `mode` (0: 0600) less the umask */
  KL_OPEN_EXCLUSIVE = 8, /* with CREATE: fail with KL_E_EXISTS when present */
  KL_OPEN_DSYNC = 16     /* every write returns when its data is on stable storage */
};

typedef enum kl_file_kind { KL_FILE_ABSENT, KL_FILE_REGULAR, KL_FILE_DIRECTORY, KL_FILE_OTHER } kl_file_kind;

typedef struct kl_file_info {
  kl_file_kind kind;
  uint64_t size;
  uint64_t device, inode; /* identity: equal for two names of one file */
} kl_file_info;

enum { KL_MEMORY_PAGE = 4096, KL_MEMORY_HUGE = 2 << 20 }; /* units of kl_os_map and its fellows */

typedef enum kl_lock_mode { KL_LOCK_SHARED, KL_LOCK_EXCLUSIVE } kl_lock_mode;

/* The interface. Use the kl_os_* wrappers below; only implementations name this. */
struct kl_os {
  kl_allocator *allocator; /* the allocator of this os; the simulated one can fail */
  bool has_threads;        /* false: no background threads may be started (simulation); do such work inline */

  /* Regular files only (KL_E_NOT_A_FILE); symbolic links are followed. Impossible flags: KL_E_INVALID. */
  kl_status (*open)(kl_os *, const char *path, uint32_t flags, uint32_t mode, kl_file **out, kl_error *);
  void (*close)(kl_os *, kl_file *); /* gives up the lock, does not sync; NULL is allowed */
  /* Reads up to size bytes at offset; *out_read < size only at end of file. */
  kl_status (*read)(kl_os *, kl_file *, void *buffer, size_t size, uint64_t offset, size_t *out_read, kl_error *);
  /* Writes all of the parts, in order, from offset on, or fails. A failed write may have written any part. */
  kl_status (*write)(kl_os *, kl_file *, const kl_slice *parts, size_t count, uint64_t offset, kl_error *);
  /* As write, for bytes inside the file whose space is reserved already. Small parts may be copied into a shared
   * mapping of the file instead of being handed over by a system call (OS-10). Either way they are the system's when it
   * returns: a process that is killed loses none of them, reads see them and sync covers them. */
  kl_status (*overwrite)(kl_os *, kl_file *, const kl_slice *parts, size_t count, uint64_t offset, kl_error *);
  /* When it returns KL_OK, every write to the file that was finished before the call is on stable storage, from
   * whatever kl_file of it. data_only (fdatasync): and with them what is needed to read them back, such as the size; a
   * truncation or allocation after the last write may stay behind. The name of a new file needs sync_directory.
   * After a failure nothing is known about any write since the last good sync, and a later good one does not change
   * that (OS-2). */
  kl_status (*sync)(kl_os *, kl_file *, bool data_only, kl_error *);
  kl_status (*size)(kl_os *, kl_file *, uint64_t *out_size, kl_error *);
  kl_status (*truncate)(kl_os *, kl_file *, uint64_t size, kl_error *);
  /* Reserves space for the range without changing bytes that exist; the file grows to offset + size when it is shorter
   * (new bytes read as zeros). Where the file system cannot reserve, the file only grows. */
  kl_status (*allocate)(kl_os *, kl_file *, uint64_t offset, uint64_t size, kl_error *);
  /* Advisory whole-file lock of this kl_file, never waits: KL_E_LOCKED when another process, or another kl_file of
   * this one, holds a lock that excludes it. Exclusive needs KL_OPEN_WRITE (KL_E_INVALID). A second call changes the
   * mode; when that fails the first lock may be lost. Ends with close, or with the process that opened the file, even
   * if a forked child lives on. */
  kl_status (*lock)(kl_os *, kl_file *, kl_lock_mode, kl_error *);

  kl_status (*stat)(kl_os *, const char *path, kl_file_info *out, kl_error *); /* absent is KL_OK + KL_FILE_ABSENT */
  kl_status (*remove)(kl_os *, const char *path, kl_error *);
  /* Atomic; a file named `to` is replaced. Both names are in one directory (KL_E_INVALID), spelled alike. */
  kl_status (*rename)(kl_os *, const char *from, const char *to, kl_error *);
  /* Creations, renames and removals in the directory are durable when it returns KL_OK. */
  kl_status (*sync_directory)(kl_os *, const char *path_of_a_file_in_it, kl_error *);

  /* What a relative path is relative to, "/" at its end, terminated. False: there is none, it cannot be told, or it does
   * not fit. */
  bool (*working_directory)(kl_os *, char *out, size_t capacity);

  uint64_t (*monotonic_ns)(kl_os *);
  uint64_t (*monotonic_coarse_ns)(kl_os *); /* the same clock, up to 10 ms behind, at a fraction of the cost */
  uint64_t (*wall_ns)(kl_os *);             /* since 1970-01-01 UTC */
  void (*sleep_ns)(kl_os *, uint64_t ns);
  /* For identities and seeds, not for keys: it cannot fail, so it falls back to weaker sources. Seeded in the
   * simulation. */
  void (*random)(kl_os *, void *out, size_t size);
  uint64_t (*process_id)(kl_os *);
  void (*process_name)(kl_os *, char *out, size_t capacity); /* for messages; "" when unknown */
  uint64_t (*physical_memory)(kl_os *);                      /* bytes, or a container's limit; 0 when unknown */
  uint32_t (*processors)(kl_os *); /* that this process may run on at once, or a container's limit; at least 1 */

  /* Anonymous memory whose address space is taken first and whose pages come later. `size` of each call, and `memory`
   * of commit and release, are multiples of KL_MEMORY_PAGE. KL_E_NO_MEMORY: the system refuses.
   * map: address space only, aligned to KL_MEMORY_HUGE; it may not be touched before it is committed. */
  kl_status (*map)(kl_os *, uint64_t size, void **out_memory, kl_error *);
  void (*unmap)(kl_os *, void *memory, uint64_t size); /* all of what map gave */
  /* From now on the range may be used, and costs physical memory where it is touched. `huge`: pages of KL_MEMORY_HUGE
   * where the system gives them (one touch may then cost that much); false: never. Again, on a committed range: only
   * changes the kind of pages. Bytes that were never touched read as zeros. */
  kl_status (*commit)(kl_os *, void *memory, uint64_t size, bool huge, kl_error *);
  /* Gives the physical memory of a committed range back; it stays committed and reads as zeros from now on. */
  void (*release)(kl_os *, void *memory, uint64_t size);
};

/* The real operating system. One static object; never freed. */
kl_os *kl_os_posix(void);

/* Wrappers, one per entry: kl_os_open(os, ...), and so on. */
static inline kl_status kl_os_open(kl_os *os, const char *path, uint32_t flags, uint32_t mode, kl_file **out,
                                   kl_error *err) {
  return os->open(os, path, flags, mode, out, err);
}
static inline void kl_os_close(kl_os *os, kl_file *file) {
  os->close(os, file);
}
static inline kl_status kl_os_read(kl_os *os, kl_file *file, void *buffer, size_t size, uint64_t offset,
                                   size_t *out_read, kl_error *err) {
  return os->read(os, file, buffer, size, offset, out_read, err);
}
static inline kl_status kl_os_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                                    kl_error *err) {
  return os->write(os, file, parts, count, offset, err);
}
static inline kl_status kl_os_overwrite(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                                        kl_error *err) {
  return os->overwrite(os, file, parts, count, offset, err);
}
static inline kl_status kl_os_sync(kl_os *os, kl_file *file, bool data_only, kl_error *err) {
  return os->sync(os, file, data_only, err);
}
static inline kl_status kl_os_size(kl_os *os, kl_file *file, uint64_t *out_size, kl_error *err) {
  return os->size(os, file, out_size, err);
}
static inline kl_status kl_os_truncate(kl_os *os, kl_file *file, uint64_t size, kl_error *err) {
  return os->truncate(os, file, size, err);
}
static inline kl_status kl_os_allocate(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err) {
  return os->allocate(os, file, offset, size, err);
}
static inline kl_status kl_os_lock(kl_os *os, kl_file *file, kl_lock_mode mode, kl_error *err) {
  return os->lock(os, file, mode, err);
}
static inline kl_status kl_os_stat(kl_os *os, const char *path, kl_file_info *out, kl_error *err) {
  return os->stat(os, path, out, err);
}
static inline kl_status kl_os_remove(kl_os *os, const char *path, kl_error *err) {
  return os->remove(os, path, err);
}
static inline kl_status kl_os_rename(kl_os *os, const char *from, const char *to, kl_error *err) {
  return os->rename(os, from, to, err);
}
static inline kl_status kl_os_sync_directory(kl_os *os, const char *path, kl_error *err) {
  return os->sync_directory(os, path, err);
}
static inline bool kl_os_working_directory(kl_os *os, char *out, size_t capacity) {
  return os->working_directory(os, out, capacity);
}
static inline uint64_t kl_os_monotonic_ns(kl_os *os) {
  return os->monotonic_ns(os);
}
static inline uint64_t kl_os_monotonic_coarse_ns(kl_os *os) {
  return os->monotonic_coarse_ns(os);
}
static inline uint64_t kl_os_wall_ns(kl_os *os) {
  return os->wall_ns(os);
}
static inline void kl_os_sleep_ns(kl_os *os, uint64_t ns) {
  os->sleep_ns(os, ns);
}
static inline void kl_os_random(kl_os *os, void *out, size_t size) {
  os->random(os, out, size);
}
static inline uint64_t kl_os_process_id(kl_os *os) {
  return os->process_id(os);
}
static inline void kl_os_process_name(kl_os *os, char *out, size_t capacity) {
  os->process_name(os, out, capacity);
}
static inline uint64_t kl_os_physical_memory(kl_os *os) {
  return os->physical_memory(os);
}
static inline uint32_t kl_os_processors(kl_os *os) {
  return os->processors(os);
}
static inline kl_status kl_os_map(kl_os *os, uint64_t size, void **out_memory, kl_error *err) {
  return os->map(os, size, out_memory, err);
}
static inline void kl_os_unmap(kl_os *os, void *memory, uint64_t size) {
  os->unmap(os, memory, size);
}
static inline kl_status kl_os_commit(kl_os *os, void *memory, uint64_t size, bool huge, kl_error *err) {
  return os->commit(os, memory, size, huge, err);
}
static inline void kl_os_release(kl_os *os, void *memory, uint64_t size) {
  os->release(os, memory, size);
}

#endif
