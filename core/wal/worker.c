/* core/wal/worker.c: the log's one background thread. It prepares space before an append would have to, and keeps the
 * deadline of durability `group`. Both end in sync rounds, so a second thread would only wait for the first. It is
 * started at the first need: a database that is only read, or opened and closed, has none. */
#include "wal_private.h"

/* The lock is held (let go meanwhile). An error poisons, or (disk full, no memory) meets the append that needs the
 * space. */
static void wal_worker_extend(kl_wal *wal) {
  wal->want_space = false;
  if (wal->extending || wal->poisoned) return; /* an append is at it: it takes a whole step */
  wal->extending = true;
  kl_lsn need = wal->ready + 1;
  kl_mutex_unlock(&wal->lock);
  (void)wal_space_extend(wal, need, false, NULL);
  kl_mutex_lock(&wal->lock);
  wal->extending = false;
  kl_cond_broadcast(&wal->changed);
}

/* The lock is held (let go meanwhile). An error poisons, and so meets the next append. */
static void wal_worker_flush(kl_wal *wal) {
  kl_lsn upto = wal->tail;
  wal->flush_at = 0;
  while (wal->durable < upto && !wal->poisoned) {
    if (wal->syncing) {
      kl_cond_wait(&wal->changed, &wal->lock);
    } else {
      (void)wal_sync_round(wal, false, NULL);
    }
  }
}

static void wal_worker_run(void *context) {
  kl_wal *wal = context;
  kl_mutex_lock(&wal->lock);
  while (!wal->stop) {
    uint64_t now = wal->flush_at != 0 ? kl_os_monotonic_ns(wal->os) : 0;
    if (wal->flush_at != 0 && now >= wal->flush_at) {
      wal_worker_flush(wal);
    } else if (wal->want_space) {
      wal_worker_extend(wal);
    } else if (wal->flush_at != 0) {
      (void)kl_cond_wait_ns(&wal->work, &wal->lock, wal->flush_at - now);
    } else {
      kl_cond_wait(&wal->work, &wal->lock);
    }
  }
  kl_mutex_unlock(&wal->lock);
}

bool wal_worker_wake(kl_wal *wal) {
  if (!wal->os->has_threads || wal->thread_failed || wal->stop) return false;
  if (wal->thread == NULL && kl_thread_start(wal->os, "keel-log", wal_worker_run, wal, &wal->thread, NULL) != KL_OK) {
    wal->thread = NULL;
    wal->thread_failed = true; /* not tried at every append; appends and sync_soon do its work */
    return false;
  }
  kl_cond_signal(&wal->work);
  return true;
}

void wal_worker_stop(kl_wal *wal) {
  kl_mutex_lock(&wal->lock);
  wal->stop = true;
  kl_thread *thread = wal->thread;
  kl_cond_signal(&wal->work);
  kl_mutex_unlock(&wal->lock);
  if (thread != NULL) kl_thread_join(thread);
  wal->thread = NULL;
}
