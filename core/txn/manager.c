/* core/txn/manager.c: life, limits and statistics of the transactional half of a database. See manager.h. */
#include "manager.h"

#include <string.h>

#include "../base/assert.h"
#include "txn_private.h"

static void *manager_alloc(kl_allocator *self, size_t size, size_t align) {
  kl_txn_manager *manager = (kl_txn_manager *)self; /* `allocator` is its first member */
  void *memory = manager->os->allocator->alloc(manager->os->allocator, size, align);
  if (memory != NULL) kl_counters_add(&manager->counters, TXN_MEMORY, size);
  return memory;
}

static void manager_free(kl_allocator *self, void *memory, size_t size) {
  kl_txn_manager *manager = (kl_txn_manager *)self;
  if (memory == NULL) return;
  kl_counters_add(&manager->counters, TXN_MEMORY, (uint64_t)0 - size);
  manager->os->allocator->free(manager->os->allocator, memory, size);
}

static kl_status manager_init(kl_txn_manager *manager, kl_error *err) {
  kl_status status = kl_delta_new(&manager->allocator, &manager->delta, err);
  if (status != KL_OK) return status;
  status = kl_snapshot_registry_init(&manager->snapshots, &manager->allocator, &manager->visible_ts, err);
  if (status != KL_OK) goto no_registry;
  uint64_t seed;
  kl_os_random(manager->os, &seed, sizeof seed);
  status = kl_commit_pipeline_init(&manager->pipeline, &manager->allocator, seed, err);
  if (status != KL_OK) goto no_pipeline;
  return KL_OK;
no_pipeline:
  kl_snapshot_registry_destroy(&manager->snapshots);
no_registry:
  kl_delta_unref(manager->delta);
  return status;
}

kl_status kl_txn_manager_new(kl_os *os, const kl_txn_manager_options *options, kl_txn_manager **out, kl_error *err) {
  kl_txn_manager *manager = kl_alloc_aligned(os->allocator, sizeof *manager, _Alignof(kl_txn_manager));
  if (manager == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open a database");
  manager->allocator.alloc = manager_alloc;
  manager->allocator.free = manager_free;
  manager->os = os;
  manager->options = *options;
  if (manager->options.durability == KL_DURABILITY_DEFAULT) manager->options.durability = KL_DURABILITY_FULL;
  atomic_init(&manager->references, 1);
  atomic_init(&manager->visible_ts, KL_TS_EMPTY);
  kl_status status = manager_init(manager, err);
  if (status != KL_OK) {
    kl_free(os->allocator, manager, sizeof *manager);
    return status;
  }
  *out = manager;
  return KL_OK;
}

void kl_txn_manager_ref(kl_txn_manager *manager) {
  atomic_fetch_add_explicit(&manager->references, 1, memory_order_relaxed);
}

void kl_txn_manager_unref(kl_txn_manager *manager) {
  if (manager == NULL) return;
  /* Release: our use ends before; acquire: the one that frees has seen all others end. */
  if (atomic_fetch_sub_explicit(&manager->references, 1, memory_order_acq_rel) != 1) return;
  kl_commit_pipeline_destroy(&manager->pipeline);
  kl_snapshot_registry_destroy(&manager->snapshots);
  kl_delta_unref(manager->delta);
  kl_os *os = manager->os;
  kl_free(os->allocator, manager, sizeof *manager);
}

kl_allocator *kl_txn_manager_allocator(kl_txn_manager *manager) {
  return &manager->allocator;
}
kl_os *kl_txn_manager_os(kl_txn_manager *manager) {
  return manager->os;
}
kl_delta *kl_txn_manager_delta(kl_txn_manager *manager) {
  return manager->delta;
}
bool kl_txn_manager_is_read_only(const kl_txn_manager *manager) {
  return manager->options.read_only;
}

void kl_txn_manager_start(kl_txn_manager *manager, kl_wal *wal, uint64_t last_ts) {
  if (last_ts < KL_TS_EMPTY) last_ts = KL_TS_EMPTY;
  manager->wal = wal;
  manager->pipeline.last_ts = last_ts;
  atomic_store_explicit(&manager->visible_ts, last_ts, memory_order_seq_cst);
  /* Release: whoever finds it open sees the above. */
  atomic_store_explicit(&manager->open, true, memory_order_release);
}

void kl_txn_manager_close(kl_txn_manager *manager) {
  atomic_store_explicit(&manager->open, false, memory_order_release);
  kl_commit_pipeline_close(&manager->pipeline);
  kl_txn_close_spares(manager);
}

kl_status kl_txn_manager_flush(kl_txn_manager *manager, kl_error *err) {
  if (manager->wal == NULL) return KL_OK;
  kl_wal_stats stats;
  kl_wal_get_stats(manager->wal, &stats);
  kl_error error;
  kl_status status = kl_wal_sync(manager->wal, stats.tail_lsn, &error);
  if (status == KL_OK) return KL_OK;
  kl_txn_manager_poison(manager, &error); /* the log is, so writing is over; say so at the next beginning */
  if (err != NULL) *err = error;
  return status;
}

kl_status kl_txn_manager_check(kl_txn_manager *manager, kl_error *err) {
  /* Acquire: the reason was written before. */
  if (!atomic_load_explicit(&manager->pipeline.poisoned, memory_order_acquire)) return KL_OK;
  kl_status status = kl_fail(err, KL_E_POISONED, "the database takes no more writes until it is opened again: %s",
                             manager->pipeline.poison.message);
  if (err != NULL) err->system_errno = manager->pipeline.poison.system_errno;
  return status;
}

void kl_txn_manager_poison(kl_txn_manager *manager, const kl_error *reason) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_mutex_lock(&pipeline->publishing);
  if (!atomic_load_explicit(&pipeline->poisoned, memory_order_relaxed)) {
    pipeline->poison = *reason;
    /* Release: the reason, for kl_txn_manager_check. */
    atomic_store_explicit(&pipeline->poisoned, true, memory_order_release);
  }
  kl_mutex_unlock(&pipeline->publishing);
}

uint64_t kl_txn_manager_oldest_ts(kl_txn_manager *manager) {
  return kl_snapshot_oldest_ts(&manager->snapshots);
}

void kl_txn_manager_get_stats(kl_txn_manager *manager, kl_txn_manager_stats *out) {
  memset(out, 0, sizeof *out);
  const kl_counters *counters = &manager->counters;
  out->commits = kl_counters_sum(counters, TXN_COMMITS);
  out->commits_read_only = kl_counters_sum(counters, TXN_COMMITS_READ_ONLY);
  out->rollbacks = kl_counters_sum(counters, TXN_ROLLBACKS);
  out->conflicts = kl_counters_sum(counters, TXN_CONFLICTS);
  out->groups = kl_counters_sum(counters, TXN_GROUPS);
  out->views_live = kl_counters_sum(counters, TXN_VIEWS);
  out->memory_bytes = kl_counters_sum(counters, TXN_MEMORY) + sizeof *manager;
  out->gets = kl_counters_sum(&manager->operations, TXN_GETS);
  out->puts = kl_counters_sum(&manager->operations, TXN_PUTS);
  out->deletes = kl_counters_sum(&manager->operations, TXN_DELETES);
  out->cursor_steps = kl_counters_sum(&manager->operations, TXN_CURSOR_STEPS);
  kl_snapshot_summary summary;
  kl_snapshot_summarise(&manager->snapshots, &summary);
  out->snapshots_live = summary.live;
  out->transactions_live = summary.live; /* each has its own, until snapshots can be shared */
  uint64_t now = kl_os_monotonic_ns(manager->os);
  if (summary.live != 0 && now > summary.oldest_begin_ns) out->oldest_snapshot_age_ns = now - summary.oldest_begin_ns;
  memcpy(out->oldest_snapshot_label, summary.oldest_label, sizeof out->oldest_snapshot_label);
  out->visible_ts = atomic_load_explicit(&manager->visible_ts, memory_order_acquire);
  out->poisoned = atomic_load_explicit(&manager->pipeline.poisoned, memory_order_relaxed);
}
