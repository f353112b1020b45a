/* core/os/posix/fork.c: what happens to Keel in a forked child.
 *
 * A lock belongs to the open file description, which parent and child share: as long as the child holds a copy of the
 * descriptor, the parent's lock outlives the parent. So the child closes its copies, in the child handler of
 * pthread_atfork. That handler runs with whatever another thread of the parent was doing frozen half-way, so it may
 * take no lock and allocate nothing: it walks a list of slots that only grows and whose slots are single atomics.
 *
 * The order that makes this tight (OS-4 in core/os/README.md): a slot is filled before the lock is taken, so there is
 * no moment when a child could keep a lock unknowingly; and before a slot is emptied its lock is given up explicitly,
 * which ends it for every copy of the description. A slot is emptied before its descriptor is closed, for after that
 * the number may name something else. */
#include <pthread.h>
#include <unistd.h>

#include "posix_private.h"

struct kl_posix_watch {
  atomic_int fd_plus_1; /* 0: the slot is free */
};

enum { POSIX_WATCHES_PER_CHUNK = 32 };

/* Chunks are never freed, for a child may be about to walk them; there are as many as were ever needed at once. */
typedef struct posix_watch_chunk posix_watch_chunk;
struct posix_watch_chunk {
  kl_posix_watch watches[POSIX_WATCHES_PER_CHUNK];
  _Atomic(posix_watch_chunk *) next;
};

static posix_watch_chunk posix_watch_first;
static _Atomic uint64_t posix_fork_counter;
static atomic_bool posix_fork_registered;

uint64_t kl_fork_count(void) {
  return atomic_load_explicit(&posix_fork_counter, memory_order_relaxed);
}

/* Runs in the child, alone. Uses atomics and close only. */
static void posix_fork_in_child(void) {
  atomic_fetch_add_explicit(&posix_fork_counter, 1, memory_order_relaxed);
  for (posix_watch_chunk *chunk = &posix_watch_first; chunk != NULL; chunk = atomic_load(&chunk->next)) {
    for (size_t i = 0; i < POSIX_WATCHES_PER_CHUNK; i++) {
      int fd = atomic_exchange(&chunk->watches[i].fd_plus_1, 0) - 1;
      if (fd >= 0) (void)close(fd);
    }
  }
}

kl_status kl_posix_fork_prepare(kl_error *err) {
  if (atomic_load(&posix_fork_registered)) return KL_OK;
  /* Called under pthread_once; only when that call failed can two threads meet here. Should both register, the child
   * counts one fork as two, which changes nothing: counts are only compared for being equal. */
  int failed = pthread_atfork(NULL, NULL, posix_fork_in_child);
  if (failed != 0) {
    return kl_fail_errno(err, KL_E_NO_MEMORY, failed, "the fork handler cannot be registered (free some memory)");
  }
  atomic_store(&posix_fork_registered, true);
  return KL_OK;
}

static kl_posix_watch *posix_watch_claim(posix_watch_chunk *chunk, int fd) {
  for (size_t i = 0; i < POSIX_WATCHES_PER_CHUNK; i++) {
    int free_slot = 0;
    if (atomic_compare_exchange_strong(&chunk->watches[i].fd_plus_1, &free_slot, fd + 1)) return &chunk->watches[i];
  }
  return NULL;
}

kl_posix_watch *kl_posix_watch_begin(int fd) {
  for (posix_watch_chunk *chunk = &posix_watch_first;;) {
    kl_posix_watch *watch = posix_watch_claim(chunk, fd);
    if (watch != NULL) return watch;
    posix_watch_chunk *next = atomic_load(&chunk->next);
    if (next == NULL) {
      kl_allocator *allocator = kl_allocator_libc();
      posix_watch_chunk *fresh = kl_alloc(allocator, sizeof *fresh);
      if (fresh == NULL) return NULL;
      if (atomic_compare_exchange_strong(&chunk->next, &next, fresh)) {
        next = fresh;
      } else {
        kl_free(allocator, fresh, sizeof *fresh); /* another thread was first; `next` is its chunk now */
      }
    }
    chunk = next;
  }
}

void kl_posix_watch_end(kl_posix_watch *watch) {
  atomic_store(&watch->fd_plus_1, 0);
}
