/* core/txn/manager.c: life, limits and statistics of the transactional half of a database. See manager.h. */
#include "manager.h"

#include <string.h>

#include "../base/assert.h"
#include "txn_private.h"

enum { MANAGER_DELTAS_MAX = 4 }; /* deltas' worth of memory that may wait to be drained */

/* Blocks of this size are the chunks of a delta that has grown: from huge pages, where the system has them, they cost
 * one page fault instead of 512, and look-ups all over them few misses of the TLB. */
static void *manager_alloc_huge(kl_os *os) {
  void *memory = NULL;
  if (kl_os_map(os, KL_MEMORY_HUGE, &memory, NULL) != KL_OK) return NULL;
  if (kl_os_commit(os, memory, KL_MEMORY_HUGE, true, NULL) == KL_OK) return memory;
  kl_os_unmap(os, memory, KL_MEMORY_HUGE);
  return NULL;
}

static void *manager_alloc(kl_allocator *self, size_t size, size_t align) {
  kl_txn_manager *manager = (kl_txn_manager *)self; /* `allocator` is its first member */
  kl_os *os = manager->os;
  void *memory = size == KL_MEMORY_HUGE ? manager_alloc_huge(os) : os->allocator->alloc(os->allocator, size, align);
  if (memory != NULL) kl_counters_add(&manager->counters, TXN_MEMORY, size);
  return memory;
}

static void *manager_reuse(kl_allocator *self, size_t size, size_t align) {
  kl_txn_kept *kept = &((kl_txn_manager *)self)->kept;
  (void)align; /* they are aligned to their size */
  if (size != KL_MEMORY_HUGE) return NULL;
  kl_mutex_lock(&kept->mutex);
  void *memory = kept->count != 0 ? kept->chunks[--kept->count] : NULL;
  kl_mutex_unlock(&kept->mutex);
  return memory;
}

static bool manager_keep(kl_txn_manager *manager, void *memory) {
  kl_txn_kept *kept = &manager->kept;
#if KL_DEBUG
  memset(memory, 0xdb, KL_MEMORY_HUGE); /* so that nobody goes on reading it unnoticed */
#endif
  kl_mutex_lock(&kept->mutex);
  bool keep = kept->count < kept->most;
  if (keep) kept->chunks[kept->count++] = memory;
  kl_mutex_unlock(&kept->mutex);
  return keep;
}

static void manager_free(kl_allocator *self, void *memory, size_t size) {
  kl_txn_manager *manager = (kl_txn_manager *)self;
  if (memory == NULL) return;
  if (size == KL_MEMORY_HUGE && manager_keep(manager, memory)) return; /* counts on as memory of ours */
  kl_counters_add(&manager->counters, TXN_MEMORY, (uint64_t)0 - size);
  if (size == KL_MEMORY_HUGE) {
    kl_os_unmap(manager->os, memory, size);
  } else {
    manager->os->allocator->free(manager->os->allocator, memory, size);
  }
}

static kl_status manager_kept_init(kl_txn_manager *manager, kl_error *err) {
  uint64_t most = manager->options.delta_size / KL_MEMORY_HUGE;
  manager->kept.most = most < TXN_KEPT_CHUNKS ? (size_t)most : TXN_KEPT_CHUNKS;
  return kl_mutex_init(&manager->kept.mutex, err);
}

/* Nobody allocates any more. */
static void manager_kept_destroy(kl_txn_manager *manager) {
  kl_txn_kept *kept = &manager->kept;
  while (kept->count != 0) kl_os_unmap(manager->os, kept->chunks[--kept->count], KL_MEMORY_HUGE);
  kl_mutex_destroy(&kept->mutex);
}

static kl_status manager_init(kl_txn_manager *manager, kl_error *err) {
  kl_status status = kl_snapshot_registry_init(&manager->snapshots, &manager->allocator, &manager->visible_ts,
                                               &manager->layers.current, err);
  if (status != KL_OK) return status;
  status = kl_layers_init(&manager->layers, &manager->allocator, &manager->snapshots, err);
  if (status != KL_OK) goto no_layers;
  /* A few deltas' worth may pile up, within what memory_limit allows. */
  uint64_t soft = manager->options.delta_size, hard = manager->options.memory_limit;
  if (hard == 0 || hard / MANAGER_DELTAS_MAX > soft) hard = soft * MANAGER_DELTAS_MAX;
  status = kl_throttle_init(&manager->throttle, manager->os, soft, hard, err);
  if (status != KL_OK) goto no_throttle;
  uint64_t seed;
  kl_os_random(manager->os, &seed, sizeof seed);
  status = kl_commit_pipeline_init(&manager->pipeline, &manager->allocator, seed, err);
  if (status != KL_OK) goto no_pipeline;
  return KL_OK;
no_pipeline:
  kl_throttle_destroy(&manager->throttle);
no_throttle:
  kl_layers_destroy(&manager->layers);
no_layers:
  kl_snapshot_registry_destroy(&manager->snapshots);
  return status;
}

kl_status kl_txn_manager_new(kl_os *os, const kl_txn_manager_options *options, kl_txn_manager **out, kl_error *err) {
  kl_txn_manager *manager = kl_alloc_aligned(os->allocator, sizeof *manager, _Alignof(kl_txn_manager));
  if (manager == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open a database");
  manager->allocator.alloc = manager_alloc;
  manager->allocator.free = manager_free;
  manager->allocator.reuse = manager_reuse;
  manager->os = os;
  manager->options = *options;
  if (manager->options.durability == KL_DURABILITY_DEFAULT) manager->options.durability = KL_DURABILITY_FULL;
  atomic_init(&manager->references, 1);
  atomic_init(&manager->visible_ts, KL_TS_EMPTY);
  kl_status status = manager_kept_init(manager, err);
  if (status != KL_OK) {
    kl_free(os->allocator, manager, sizeof *manager);
    return status;
  }
  status = manager_init(manager, err);
  if (status != KL_OK) {
    manager_kept_destroy(manager);
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
  kl_throttle_destroy(&manager->throttle);
  kl_layers_destroy(&manager->layers);
  while (manager->runs != NULL) {
    kl_run *run = manager->runs;
    manager->runs = run->next;
    kl_run_unref(run);
  }
  kl_snapshot_registry_destroy(&manager->snapshots);
  manager_kept_destroy(manager);
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
  return kl_layers_current(&manager->layers)->active;
}
kl_status kl_txn_manager_set_roots(kl_txn_manager *manager, kl_roots *roots, kl_error *err) {
  return kl_layers_set_roots(&manager->layers, roots, err);
}
bool kl_txn_manager_is_read_only(const kl_txn_manager *manager) {
  return manager->options.read_only;
}

/* Waits until all groups are published that were appended before; `last_ts` is the newest timestamp of those. */
static kl_status manager_wait_published(kl_txn_manager *manager, uint64_t last_ts, kl_error *err) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_mutex_lock(&pipeline->publishing);
  pipeline->watchers++;
  while (!kl_commit_published(pipeline, last_ts)) kl_cond_wait(&pipeline->drained, &pipeline->publishing);
  pipeline->watchers--;
  bool stopped = pipeline->stopped;
  kl_mutex_unlock(&pipeline->publishing);
  if (!stopped) return KL_OK;
  return kl_fail(err, KL_E_POISONED, "a commit failed halfway; nothing is drained until the database is opened again");
}

/* Under the turn. */
static kl_lsn manager_log_tail(kl_txn_manager *manager) {
  kl_wal_stats wal;
  if (manager->wal == NULL) return 0;
  kl_wal_get_stats(manager->wal, &wal); /* nobody appends without the turn */
  return wal.tail_lsn;
}

/* Under the turn: what is frozen already, a run, or the active delta, frozen now. */
static kl_status manager_freeze(kl_txn_manager *manager, kl_delta **fresh, kl_txn_frozen *out, kl_error *err) {
  kl_layers_book *book = &manager->layers;
  const kl_layers *current = kl_layers_current(book);
  out->left = current->frozen != NULL || current->run != NULL;
  if (current->frozen == NULL && current->run != NULL) {
    out->run = current->run;
    out->ts = current->run->ts;
    out->log_end = current->run->log_end;
    return KL_OK;
  }
  if (current->frozen == NULL) {
    kl_delta_stats stats;
    kl_delta_get_stats(current->active, &stats);
    uint64_t coming = atomic_load_explicit(&manager->pipeline.reserved_bytes, memory_order_acquire);
    if (stats.versions == 0 && coming == 0) return KL_OK;
    kl_status status = kl_layers_freeze(book, *fresh, manager->pipeline.last_ts, err);
    if (status != KL_OK) return status;
    *fresh = NULL;
    manager->pipeline.memory_bound = 0;
    manager->frozen_log_end = manager_log_tail(manager);
    kl_throttle_freeze(&manager->throttle);
    current = kl_layers_current(book);
  }
  out->delta = current->frozen;
  out->ts = book->frozen_last_ts;
  out->log_end = manager->frozen_log_end;
  return KL_OK;
}

kl_status kl_txn_manager_freeze(kl_txn_manager *manager, kl_txn_frozen *out, kl_error *err) {
  memset(out, 0, sizeof *out);
  kl_delta *fresh;
  kl_status status = kl_delta_new(&manager->allocator, &fresh, err); /* not under the turn */
  if (status != KL_OK) return status;
  kl_mutex_lock(&manager->pipeline.turn);
  status = manager_freeze(manager, &fresh, out, err);
  kl_mutex_unlock(&manager->pipeline.turn);
  kl_delta_unref(fresh); /* not needed */
  if (status != KL_OK) return status;
  if (out->delta != NULL) return manager_wait_published(manager, out->ts, err);
  if (out->run == NULL) kl_throttle_idle(&manager->throttle);
  return KL_OK;
}

kl_status kl_txn_manager_merged(kl_txn_manager *manager, kl_roots *roots, kl_error *err) {
  kl_mutex_lock(&manager->pipeline.turn);
  kl_status status = kl_layers_pop_run(&manager->layers, roots, err);
  kl_mutex_unlock(&manager->pipeline.turn);
  if (status == KL_OK) kl_layers_collect(&manager->layers);
  return status;
}

const kl_run *kl_txn_manager_run(kl_txn_manager *manager) {
  kl_mutex_lock(&manager->pipeline.turn);
  const kl_run *run = kl_layers_current(&manager->layers)->run;
  kl_mutex_unlock(&manager->pipeline.turn);
  return run;
}

uint64_t kl_txn_manager_active_bytes(kl_txn_manager *manager) {
  kl_delta_stats stats;
  kl_mutex_lock(&manager->pipeline.turn);
  kl_delta_get_stats(kl_layers_current(&manager->layers)->active, &stats);
  kl_mutex_unlock(&manager->pipeline.turn);
  return stats.bytes;
}

kl_status kl_txn_manager_replay_run(kl_txn_manager *manager, kl_run *run, uint64_t last_ts, kl_lsn log_begin,
                                    kl_lsn log_end, kl_error *err) {
  kl_layers_push push = {0};
  kl_delta_stats stats;
  const kl_layers *current = kl_layers_current(&manager->layers);
  if (current->run != NULL) { /* TXN-15 */
    return kl_fail(err, KL_E_CORRUPT,
                   "the log holds the transaction of timestamp %llu behind that of %llu, both larger than memory, "
                   "and no checkpoint between them",
                   (unsigned long long)run->ts, (unsigned long long)current->run->ts);
  }
  kl_delta_get_stats(current->active, &stats);
  kl_status status = kl_layers_prepare_run(&manager->layers, run, &push, err);
  if (status != KL_OK) return status;
  run->log_end = log_end;
  if (push.freezes) {
    manager->frozen_log_end = log_begin;
    kl_throttle_add(&manager->throttle, stats.bytes);
    kl_throttle_freeze(&manager->throttle);
  }
  kl_layers_push_run(&manager->layers, &push, last_ts);
  kl_layers_collect(&manager->layers);
  return KL_OK;
}

kl_status kl_txn_manager_drained(kl_txn_manager *manager, kl_roots *roots, uint64_t took_ns, kl_error *err) {
  kl_mutex_lock(&manager->pipeline.turn);
  kl_status status = kl_layers_drained(&manager->layers, roots, err);
  if (status == KL_OK) manager->pipeline.memory_bound = 0;
  kl_mutex_unlock(&manager->pipeline.turn);
  if (status != KL_OK) return status;
  kl_layers_collect(&manager->layers);
  kl_throttle_drained(&manager->throttle, took_ns, NULL);
  return KL_OK;
}

kl_roots *kl_txn_manager_roots(kl_txn_manager *manager) {
  kl_mutex_lock(&manager->pipeline.turn);
  kl_roots *roots = kl_layers_current(&manager->layers)->roots;
  kl_roots_ref(roots);
  kl_mutex_unlock(&manager->pipeline.turn);
  return roots;
}

kl_status kl_txn_manager_moved(kl_txn_manager *manager, kl_roots *roots, kl_error *err) {
  kl_mutex_lock(&manager->pipeline.turn);
  kl_status status = kl_layers_set_roots(&manager->layers, roots, err);
  kl_mutex_unlock(&manager->pipeline.turn);
  return status;
}

size_t kl_txn_manager_live_roots(kl_txn_manager *manager, uint64_t *out, size_t capacity) {
  kl_mutex_lock(&manager->pipeline.turn);
  size_t count = kl_layers_live_roots(&manager->layers, out, capacity);
  kl_mutex_unlock(&manager->pipeline.turn);
  return count;
}

void kl_txn_manager_set_tree_bytes(kl_txn_manager *manager, uint64_t bytes) {
  kl_mutex_lock(&manager->pipeline.turn);
  manager->tree_bytes = bytes;
  manager->pipeline.memory_bound = 0;
  kl_mutex_unlock(&manager->pipeline.turn);
}

void kl_txn_manager_drain_failed(kl_txn_manager *manager, const kl_error *reason) {
  kl_throttle_drained(&manager->throttle, 0, reason);
}

void kl_txn_manager_start(kl_txn_manager *manager, kl_wal *wal, uint64_t last_ts) {
  if (last_ts < KL_TS_EMPTY) last_ts = KL_TS_EMPTY;
  manager->wal = wal;
  manager->pipeline.last_ts = last_ts;
  kl_delta_stats replayed;
  kl_delta_get_stats(kl_txn_manager_delta(manager), &replayed);
  if (replayed.versions != 0) kl_throttle_add(&manager->throttle, replayed.bytes);
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
  out->spills = kl_counters_sum(&manager->operations, TXN_SPILLS);
  out->spilled_bytes = kl_counters_sum(&manager->operations, TXN_SPILLED_BYTES);
  kl_snapshot_summary summary;
  kl_snapshot_summarise(&manager->snapshots, &summary);
  uint64_t views =
      kl_counters_sum(counters, TXN_RUNS); /* those have a second one; it may have begun, or ended, just now */
  out->snapshots_live = summary.live > views ? summary.live - views : 0;
  out->transactions_live = out->snapshots_live; /* each has its own, until snapshots can be shared */
  uint64_t now = kl_os_monotonic_ns(manager->os);
  if (summary.live != 0 && now > summary.oldest_begin_ns) out->oldest_snapshot_age_ns = now - summary.oldest_begin_ns;
  memcpy(out->oldest_snapshot_label, summary.oldest_label, sizeof out->oldest_snapshot_label);
  out->visible_ts = atomic_load_explicit(&manager->visible_ts, memory_order_acquire);
  out->throttled_ns = atomic_load_explicit(&manager->throttle.throttled_ns, memory_order_relaxed);
  out->throttle_waits = atomic_load_explicit(&manager->throttle.waits, memory_order_relaxed);
  kl_mutex_lock(&manager->pipeline.turn);
  kl_layers_delta_stats(&manager->layers, &out->deltas);
  kl_mutex_unlock(&manager->pipeline.turn);
  out->poisoned = atomic_load_explicit(&manager->pipeline.poisoned, memory_order_relaxed);
}
