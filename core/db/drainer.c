/* core/db/drainer.c: see drainer.h. */
#include "drainer.h"

#include <string.h>

#include "../txn/run.h"
#include "db_private.h"

#define DRAINER_FIRST_PAUSE_NS UINT64_C(50000000) /* after a failure; doubles ... */
#define DRAINER_LAST_PAUSE_NS UINT64_C(5000000000)

enum {
  DRAINER_SLICE_SHARE = 16,     /* a slice is this part of the used bytes, ... */
  DRAINER_SLICE_LEAST_SHARE = 4 /* ... but at least this part of a delta: a checkpoint has its price, too */
};

kl_status kl_db_drainer_init(kl_db *db, kl_error *err) {
  db_drainer *drainer = &db->drainer;
  kl_status status = kl_mutex_init(&drainer->draining, err);
  if (status != KL_OK) return status;
  status = kl_mutex_init(&drainer->mutex, err);
  if (status == KL_OK) {
    status = kl_cond_init(&drainer->changed, err);
    if (status != KL_OK) kl_mutex_destroy(&drainer->mutex);
  }
  if (status != KL_OK) kl_mutex_destroy(&drainer->draining);
  return status;
}

void kl_db_drainer_destroy(kl_db *db) {
  db_drainer *drainer = &db->drainer;
  kl_cond_destroy(&drainer->changed);
  kl_mutex_destroy(&drainer->mutex);
  kl_mutex_destroy(&drainer->draining);
}

kl_status kl_db_drainer_install(kl_db *db, uint64_t took_ns, kl_error *err) {
  kl_roots *made = db->drainer.made;
  kl_status status = KL_OK;
  switch (db->drainer.made_as) {
    case DB_MADE_UNDER:
      status = kl_txn_manager_moved(db->manager, made, err);
      break;
    case DB_MADE_DRAINED:
      status = kl_txn_manager_drained(db->manager, made, took_ns, err);
      break;
    case DB_MADE_MERGED:
      status = kl_txn_manager_merged(db->manager, made, err);
      break;
  }
  if (status != KL_OK) return status;
  kl_roots_unref(db->drainer.made);
  db->drainer.made = NULL;
  if (kl_store_is_memory(db->store)) {
    kl_store_space space;
    kl_store_get_space(db->store, &space);
    kl_txn_manager_set_tree_bytes(db->manager, space.file_bytes);
  }
  /* What fails here fails again, and is told, when the log is written next. */
  if (db->wal != NULL) (void)kl_wal_release(db->wal, kl_store_log_release_point(db->store), NULL);
  return KL_OK;
}

/* The checkpoints whose trees are being read. */
static kl_status drainer_live(kl_db *db, db_drain_base *out, kl_error *err) {
  kl_allocator *allocator = db->os->allocator;
  for (size_t capacity = 64;;) {
    uint64_t *live = kl_alloc(allocator, capacity * sizeof *live);
    if (live == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to list the snapshots");
    size_t count = kl_txn_manager_live_roots(db->manager, live, capacity);
    if (count <= capacity) {
      out->input.live = out->live = live;
      out->input.live_count = count;
      out->live_capacity = capacity;
      return KL_OK;
    }
    kl_free(allocator, live, capacity * sizeof *live);
    capacity = count * 2;
  }
}

/* Under `draining`. Without memory for a crew a drain goes on without one. */
static kl_drain_crew *drainer_crew(kl_db *db) {
  kl_drain_crew **crew = &db->drainer.crew;
  if (*crew == NULL && db->options.drain_threads > 1 &&
      kl_drain_crew_new(db->os, db->os->allocator, db->options.drain_threads, true, crew, NULL) != KL_OK) {
    *crew = NULL;
  }
  return *crew;
}

kl_status kl_db_drainer_base(kl_db *db, db_drain_base *out, kl_error *err) {
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  out->input = (kl_drain_input){.pages = db->pages,
                                .store = db->store,
                                .allocator = kl_txn_manager_allocator(db->manager),
                                .ts = checkpoint.ts,
                                .log_lsn = checkpoint.log_lsn,
                                .known_durable = checkpoint.known_durable,
                                .log_needed = checkpoint.log_needed,
                                .crew = drainer_crew(db),
                                .part_bytes = db->options.drain_part_bytes};
  kl_status status = drainer_live(db, out, err);
  if (status == KL_OK) out->input.base = kl_txn_manager_roots(db->manager);
  return status;
}

void kl_db_drainer_base_free(kl_db *db, db_drain_base *base) {
  kl_roots_unref(base->input.base);
  kl_free(db->os->allocator, base->live, base->live_capacity * sizeof *base->live);
}

static void drainer_count(kl_db *db, const kl_drain_stats *stats) {
  db_drainer *drainer = &db->drainer;
  kl_mutex_lock(&drainer->mutex);
  drainer->checkpoints++;
  drainer->totals.pages_written += stats->pages_written;
  drainer->totals.pages_read += stats->pages_read;
  drainer->totals.bytes_written += stats->bytes_written;
  drainer->totals.parts += stats->parts;
  drainer->totals.ns += stats->ns;
  kl_mutex_unlock(&drainer->mutex);
}

/* Bytes after which a drain publishes what it has. What a slice replaced is in limbo until the next checkpoint is
 * there, and takes as much of the file as the next slice: together an eighth of the trees. */
static uint64_t drainer_slice_bytes(kl_db *db) {
  uint64_t least = db->options.delta_size / DRAINER_SLICE_LEAST_SHARE;
  kl_store_space space;
  kl_store_get_space(db->store, &space);
  uint64_t bytes = space.used_bytes / DRAINER_SLICE_SHARE;
  return bytes < least ? least : bytes;
}

/* Under `draining`. One slice of the frozen delta goes into the trees. */
static kl_status drainer_slice(kl_db *db, const kl_txn_frozen *frozen, kl_drain_place *place, uint64_t begin,
                               kl_error *err) {
  db_drain_base base;
  kl_drain_stats stats = {0};
  kl_status status = kl_db_drainer_base(db, &base, err);
  if (status != KL_OK) return status;
  base.input.delta = frozen->delta;
  base.input.ts = frozen->ts;
  base.input.log_lsn = base.input.known_durable = frozen->log_end;
  base.input.log_needed = db->wal != NULL;
  base.input.place = place;
  base.input.slice_bytes = drainer_slice_bytes(db);
  status = kl_drain_run(&base.input, &db->drainer.made, &stats, err);
  kl_db_drainer_base_free(db, &base);
  if (status != KL_OK) {
    db->drainer.made = NULL;
    return status;
  }
  db->drainer.made_as = place->complete ? DB_MADE_DRAINED : DB_MADE_UNDER;
  drainer_count(db, &stats);
  return kl_db_drainer_install(db, kl_os_monotonic_ns(db->os) - begin, err);
}

/* What a checkpoint holds may not be ahead of the log (DB-16): replay begins at log_end, which has to be there. */
static kl_status drainer_sync_log(kl_db *db, kl_lsn log_end, kl_error *err) {
  if (db->wal == NULL) return KL_OK;
  kl_status status = kl_wal_sync(db->wal, log_end, err);
  if (status != KL_OK) kl_txn_manager_poison(db->manager, err);
  return status;
}

/* Under `draining`. One slice of the rows of a run goes into the tree of a keyspace. */
static kl_status drainer_move_slice(kl_db *db, const kl_txn_frozen *frozen, const kl_drain_move *move,
                                    bool *out_complete, kl_error *err) {
  db_drain_base base;
  kl_drain_stats stats = {0};
  kl_status status = kl_db_drainer_base(db, &base, err);
  if (status != KL_OK) return status;
  base.input.known_durable = frozen->log_end;
  if (move->final) {
    base.input.ts = frozen->ts;
    base.input.log_lsn = frozen->log_end;
  }
  base.input.slice_bytes = drainer_slice_bytes(db);
  status = kl_drain_move_run(&base.input, move, out_complete, &db->drainer.made, &stats, err);
  kl_db_drainer_base_free(db, &base);
  if (status != KL_OK) {
    db->drainer.made = NULL;
    return status;
  }
  db->drainer.made_as = move->final && *out_complete ? DB_MADE_MERGED : DB_MADE_UNDER;
  drainer_count(db, &stats);
  return kl_db_drainer_install(db, 0, err);
}

/* Under `draining`. The rows of a run go into the trees of its keyspaces, one after the other. What was moved stays moved, whatever
 * happens: so this goes on where it ended, also after a crash. */
static kl_status drainer_move(kl_db *db, const kl_txn_frozen *frozen, kl_error *err) {
  kl_run *run = frozen->run;
  kl_drain_part *parts = kl_alloc(run->allocator, run->part_count * sizeof *parts);
  if (parts == NULL)
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to list %zu parts of a transaction", run->part_count);
  kl_run_ref(run); /* installing the last slice lets it go */
  kl_status status = drainer_sync_log(db, frozen->log_end, err);
  for (size_t i = 0; i < run->range_count && status == KL_OK; i++) {
    kl_drain_move move = {.target = run->ranges[i].keyspace, .parts = parts, .final = i + 1 == run->range_count};
    bool complete = false;
    for (size_t j = run->part_count; j-- > 0;) {
      if (run->parts[j].keyspace == move.target) parts[move.part_count++] = run->parts[j].trees;
    }
    if (move.final) {
      move.ended = run->ids;
      move.ended_count = run->id_count;
    }
    while (status == KL_OK && !complete) status = drainer_move_slice(db, frozen, &move, &complete, err);
  }
  kl_free(run->allocator, parts, run->part_count * sizeof *parts);
  kl_run_unref(run);
  return status;
}

kl_status kl_db_drain_frozen(kl_db *db, const kl_txn_frozen *frozen, kl_error *err) {
  if (frozen->run != NULL) return drainer_move(db, frozen, err);
  uint64_t begin = kl_os_monotonic_ns(db->os);
  kl_drain_place place = {0};
  kl_status status = drainer_sync_log(db, frozen->log_end, err);
  while (status == KL_OK && !place.complete) status = drainer_slice(db, frozen, &place, begin, err);
  return status;
}

/* All is drained: the checkpoint says that the log is not needed. */
static kl_status drainer_let_log_go(kl_db *db, kl_error *err) {
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  if (!checkpoint.log_needed) return KL_OK;
  kl_wal_stats stats;
  kl_wal_get_stats(db->wal, &stats);
  checkpoint.log_lsn = checkpoint.known_durable = stats.tail_lsn;
  checkpoint.log_needed = false;
  return kl_store_publish(db->store, &checkpoint, err);
}

kl_status kl_db_drain_held(kl_db *db, bool last, kl_error *err) {
  kl_txn_frozen frozen = {.left = true};
  kl_status status = db->drainer.made != NULL ? kl_db_drainer_install(db, 0, err) : KL_OK;
  /* What was left, by a drain that failed or by a commit of a run, lies under what the call is about. */
  while (status == KL_OK && (frozen.left || last)) {
    status = kl_txn_manager_freeze(db->manager, &frozen, err);
    if (status != KL_OK || (frozen.delta == NULL && frozen.run == NULL)) break;
    status = kl_db_drain_frozen(db, &frozen, err);
  }
  if (status == KL_OK && last && db->wal != NULL) status = drainer_let_log_go(db, err);
  return status;
}

void kl_db_drain_failed(kl_db *db, const kl_error *reason) {
  kl_mutex_lock(&db->drainer.mutex);
  db->drainer.failures++;
  kl_mutex_unlock(&db->drainer.mutex);
  kl_txn_manager_drain_failed(db->manager, reason);
}

void kl_db_drainer_lock(kl_db *db) {
  /* Relaxed: a hint, so that a compaction lets the lock go that we wait for. */
  atomic_store_explicit(&db->drainer.hurry, true, memory_order_relaxed);
  kl_mutex_lock(&db->drainer.draining);
  atomic_store_explicit(&db->drainer.hurry, false, memory_order_relaxed);
}

kl_status kl_db_drain(kl_db *db, bool last, kl_error *err) {
  kl_error error = {0};
  kl_db_drainer_lock(db);
  kl_status status = kl_db_drain_held(db, last, &error);
  kl_mutex_unlock(&db->drainer.draining);
  if (status != KL_OK) {
    kl_db_drain_failed(db, &error);
    if (err != NULL) *err = error;
  }
  return status;
}

/* True: stop. */
static bool drainer_wait(db_drainer *drainer, uint64_t pause_ns) {
  kl_mutex_lock(&drainer->mutex);
  if (pause_ns != 0) {
    if (!drainer->stop) (void)kl_cond_wait_ns(&drainer->changed, &drainer->mutex, pause_ns);
  } else {
    while (!drainer->stop && !drainer->wanted) kl_cond_wait(&drainer->changed, &drainer->mutex);
  }
  drainer->wanted = false;
  bool stop = drainer->stop;
  kl_mutex_unlock(&drainer->mutex);
  return stop;
}

bool kl_db_drainer_idle(kl_db *db, uint64_t ns) {
  db_drainer *drainer = &db->drainer;
  kl_mutex_lock(&drainer->mutex);
  if (!drainer->stop && !drainer->wanted) (void)kl_cond_wait_ns(&drainer->changed, &drainer->mutex, ns);
  bool idle = !drainer->stop && !drainer->wanted;
  kl_mutex_unlock(&drainer->mutex);
  return idle;
}

static void drainer_main(void *context) {
  kl_db *db = context;
  uint64_t pause_ns = 0;
  while (!drainer_wait(&db->drainer, pause_ns)) {
    if (kl_db_drain(db, false, NULL) == KL_OK) {
      pause_ns = 0;
      kl_db_compact_idle(db);
    } else {
      pause_ns = pause_ns == 0 ? DRAINER_FIRST_PAUSE_NS : pause_ns * 2;
      if (pause_ns > DRAINER_LAST_PAUSE_NS) pause_ns = DRAINER_LAST_PAUSE_NS;
    }
  }
}

void kl_db_drain_wanted(void *context) {
  kl_db *db = context;
  db_drainer *drainer = &db->drainer;
  bool inline_drain = !db->os->has_threads;
  atomic_store_explicit(&drainer->hurry, true, memory_order_relaxed);
  if (!inline_drain) {
    kl_mutex_lock(&drainer->mutex);
    drainer->wanted = true;
    if (drainer->thread == NULL && !drainer->stop &&
        kl_thread_start(db->os, "keel-drain", drainer_main, db, &drainer->thread, NULL) != KL_OK) {
      drainer->thread = NULL;
      inline_drain = true;
    }
    kl_cond_broadcast(&drainer->changed);
    kl_mutex_unlock(&drainer->mutex);
  }
  /* The commit that brings us here has happened; that draining failed is no failure of it. */
  if (inline_drain) (void)kl_db_drain(db, false, NULL);
}

void kl_db_drainer_stop(kl_db *db) {
  db_drainer *drainer = &db->drainer;
  kl_mutex_lock(&drainer->mutex);
  drainer->stop = true;
  atomic_store_explicit(&drainer->hurry, true, memory_order_relaxed);
  kl_cond_broadcast(&drainer->changed);
  kl_mutex_unlock(&drainer->mutex);
  kl_thread_join(drainer->thread);
  drainer->thread = NULL;
}
