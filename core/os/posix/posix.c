/* core/os/posix/posix.c: the object that names the parts of the POSIX implementation. */
#include <pthread.h>

#include "posix_private.h"

/* Never written after posix_prepare, which pthread_once orders before every use. */
static kl_os posix_os = {
    .has_threads = true,
    .open = kl_posix_open,
    .close = kl_posix_close,
    .read = kl_posix_read,
    .write = kl_posix_write,
    .overwrite = kl_posix_overwrite,
    .sync = kl_posix_sync,
    .size = kl_posix_size,
    .truncate = kl_posix_truncate,
    .allocate = kl_posix_allocate,
    .lock = kl_posix_lock,
    .stat = kl_posix_stat,
    .remove = kl_posix_remove,
    .rename = kl_posix_rename,
    .sync_directory = kl_posix_sync_directory,
    .working_directory = kl_posix_working_directory,
    .monotonic_ns = kl_posix_monotonic_ns,
    .monotonic_coarse_ns = kl_posix_monotonic_coarse_ns,
    .wall_ns = kl_posix_wall_ns,
    .sleep_ns = kl_posix_sleep_ns,
    .random = kl_posix_random,
    .process_id = kl_posix_process_id,
    .process_name = kl_posix_process_name,
    .physical_memory = kl_posix_physical_memory,
    .processors = kl_posix_processors,
    .map = kl_posix_map,
    .unmap = kl_posix_unmap,
    .commit = kl_posix_commit,
    .release = kl_posix_release,
};

static pthread_once_t posix_once = PTHREAD_ONCE_INIT;

static void posix_prepare(void) {
  posix_os.allocator = kl_allocator_libc();
  /* Should the system have no memory for the handler now, open tries again and reports it. */
  (void)kl_posix_fork_prepare(NULL);
}

kl_os *kl_os_posix(void) {
  (void)pthread_once(&posix_once, posix_prepare);
  return &posix_os;
}
