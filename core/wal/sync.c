/* core/wal/sync.c: sync rounds, and the choice between fdatasync and O_DSYNC.
 *
 * One round at a time; it covers everything below the tail at its start. Threads that ask meanwhile wait, and when it
 * has ended and did not cover them, one of them leads the next round for all. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/assert.h"
#include "wal_private.h"

static int wal_probe_compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* The method of the next round that can be done by either. The rounds of a probe alternate, so that both methods meet
 * the same sizes and the same load. */
static wal_method wal_probe_method(const wal_probe *probe) {
  if (probe->count < 2 * WAL_PROBE_SAMPLES) return probe->count % 2 == 0 ? WAL_FDATASYNC : WAL_DSYNC;
  return probe->chosen;
}

static void wal_probe_note(wal_probe *probe, wal_method method, uint64_t ns) {
  if (probe->count == 2 * WAL_PROBE_SAMPLES) {
    if (++probe->rounds >= WAL_PROBE_INTERVAL)
      probe->count = probe->rounds = 0; /* the device's habits may have changed */
    return;
  }
  probe->samples[method][probe->count / 2] = ns;
  if (++probe->count < 2 * WAL_PROBE_SAMPLES) return;
  for (int m = 0; m < 2; m++) qsort(probe->samples[m], WAL_PROBE_SAMPLES, sizeof(uint64_t), wal_probe_compare);
  /* Medians: one slow round of many does not decide. */
  probe->chosen =
      probe->samples[WAL_DSYNC][WAL_PROBE_SAMPLES / 2] < probe->samples[WAL_FDATASYNC][WAL_PROBE_SAMPLES / 2]
          ? WAL_DSYNC
          : WAL_FDATASYNC;
}

/* Fixes what the round covers. The lock is held. WAL-3: from now on appends start in a block of their own; one that is
 * already writing into the block where the tail lies is waited for, and covered. */
static kl_lsn wal_sync_cut(kl_wal *wal) {
  kl_lsn block_end = wal_align_up(wal->tail, WAL_SYNC_BLOCK);
  kl_lsn cut = wal->appending && wal->append_start < block_end ? wal->append_end : wal->tail;
  if (wal->cut < cut) wal->cut = cut;
  while (wal->appending && wal->append_start < wal_align_up(wal->tail, WAL_SYNC_BLOCK)) {
    kl_cond_wait(&wal->changed, &wal->lock);
  }
  if (wal->cut < wal->tail) wal->cut = wal->tail;
  return wal->tail;
}

/* The storage half of a round; the lock is not held. */
static kl_status wal_sync_store(kl_wal *wal, wal_method method, kl_error *err) {
  kl_status status = KL_OK;
  if (wal->busy.size != 0) {
    kl_slice part = kl_slice_make(wal->busy.data, wal->busy.size);
    status = wal_space_write(wal, method == WAL_DSYNC ? wal->dsync_file : wal->file, wal->busy.start, &part, 1, err);
  }
  if (status == KL_OK && method == WAL_FDATASYNC) status = kl_os_sync(wal->os, wal->file, true, err);
  return status;
}

kl_status wal_sync_round(kl_wal *wal, bool must_flush, kl_error *err) {
  KL_ASSERT(!wal->syncing);
  wal->syncing = true;
  kl_lsn target = wal_sync_cut(wal);
  KL_ASSERT(wal->busy.size == 0);
  wal_buffer taken = wal->active;
  wal->active = wal->busy;
  wal->busy = taken;
  /* O_DSYNC covers its own bytes only, so nothing else may be waiting for a sync (WAL-6). */
  bool either = taken.size != 0 && !wal->dirty && !must_flush && wal->dsync_file != NULL;
  wal_method method = either ? wal_probe_method(&wal->probe) : WAL_FDATASYNC;
  if (method == WAL_FDATASYNC) wal->dirty = false;
  kl_mutex_unlock(&wal->lock);

  kl_error cause = {0};
  uint64_t begin = kl_os_monotonic_ns(wal->os);
  kl_status status = wal_sync_store(wal, method, &cause);
  uint64_t ns = kl_os_monotonic_ns(wal->os) - begin;

  kl_mutex_lock(&wal->lock);
  wal->syncing = false;
  if (status == KL_OK) {
    wal->busy.size = 0; /* not after a failure: readers must not look where nothing may have been written */
    KL_ASSERT(target >= wal->durable);
    wal->durable = target;
    wal->syncs++;
    wal->sync_ns_total += ns;
    if (ns > wal->sync_ns_max) wal->sync_ns_max = ns;
    if (either) wal_probe_note(&wal->probe, method, ns);
  } else {
    /* Whatever failed, and however little: the kernel may have dropped dirty pages of this file (WAL-9). */
    wal_poison(wal, &cause);
    if (err != NULL) *err = cause;
  }
  kl_cond_broadcast(&wal->changed);
  return status;
}

kl_status kl_wal_sync(kl_wal *wal, kl_lsn upto, kl_error *err) {
  kl_status status = KL_OK;
  bool led = false;
  kl_mutex_lock(&wal->lock);
  if (upto > wal->tail) {
    status = kl_fail(err, KL_E_INVALID, "log '%s' ends at LSN %" PRIu64 ": it cannot be synced up to %" PRIu64,
                     wal->path, wal->tail, upto);
  }
  while (status == KL_OK && wal->durable < upto) {
    if (wal->poisoned) {
      status = wal_refuse(wal, err);
    } else if (wal->syncing) {
      kl_cond_wait(&wal->changed, &wal->lock);
    } else {
      led = true;
      status = wal_sync_round(wal, false, err);
    }
  }
  if (status == KL_OK && !led) wal->syncs_shared++;
  kl_mutex_unlock(&wal->lock);
  return status;
}

kl_status kl_wal_sync_soon(kl_wal *wal, uint64_t interval_ns, kl_error *err) {
  kl_mutex_lock(&wal->lock);
  kl_lsn upto = wal->tail;
  if (wal->poisoned || wal->durable >= upto) {
    kl_status status = wal->poisoned && wal->durable < upto ? wal_refuse(wal, err) : KL_OK;
    kl_mutex_unlock(&wal->lock);
    return status;
  }
  uint64_t now = kl_os_monotonic_ns(wal->os);
  uint64_t deadline = interval_ns < UINT64_MAX - now ? now + interval_ns : UINT64_MAX;
  bool earlier = wal->flush_at == 0 || deadline < wal->flush_at;
  if (earlier) wal->flush_at = deadline;
  bool due = now >= wal->flush_at;
  bool thread = wal->thread != NULL && !earlier ? true : wal_worker_wake(wal);
  if (!thread && due) wal->flush_at = 0;
  kl_mutex_unlock(&wal->lock);
  return !thread && due ? kl_wal_sync(wal, upto, err) : KL_OK;
}
