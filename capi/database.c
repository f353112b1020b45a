/* capi/database.c: opening and closing databases; flush, checkpoint, statistics. */
#include <string.h>

#include "layout.gen.h"
#include "objects.h"

static kl_status capi_database_destroy(capi_object *self, kl_error *err) {
  capi_db *db = (capi_db *)self;
  kl_status status = kl_db_release(db->engine, err);
  capi_object_free(db, sizeof *db);
  return status;
}

static kl_status capi_database_check_options(const keel_options *options, kl_error *err) {
  kl_status status = capi_check_flags("keel_options.flags", options->flags, CAPI_OPEN_FLAGS_ALL, err);
  if (status != KL_OK) return status;
  uint32_t new_and_not = KEEL_OPEN_MUST_CREATE | KEEL_OPEN_NO_CREATE;
  uint32_t new_and_read_only = KEEL_OPEN_MUST_CREATE | KEEL_OPEN_READ_ONLY;
  if ((options->flags & new_and_not) == new_and_not || (options->flags & new_and_read_only) == new_and_read_only) {
    return kl_fail(err, KL_E_INVALID,
                   "KEEL_OPEN_MUST_CREATE contradicts KEEL_OPEN_NO_CREATE and KEEL_OPEN_READ_ONLY; choose one");
  }
  status = capi_check_choice("keel_options.durability", options->durability, CAPI_DURABILITY_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_power("keel_options.page_size", options->page_size, CAPI_OPTIONS_PAGE_SIZE_MIN,
                            CAPI_OPTIONS_PAGE_SIZE_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_options.group_interval_ms", options->group_interval_ms,
                             CAPI_OPTIONS_GROUP_INTERVAL_MS_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_options.file_mode", options->file_mode, CAPI_OPTIONS_FILE_MODE_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_options.drain_threads", options->drain_threads, CAPI_OPTIONS_DRAIN_THREADS_MAX, err);
  if (status != KL_OK) return status;
  return capi_check_power("keel_options.log_segment_size", options->log_segment_size, CAPI_OPTIONS_LOG_SEGMENT_SIZE_MIN,
                          CAPI_OPTIONS_LOG_SEGMENT_SIZE_MAX, err);
}

static kl_status capi_database_read_options(const keel_options *in, kl_db_options *out, kl_error *err) {
  keel_options options;
  kl_status status = capi_read_struct("keel_options", in, CAPI_OPTIONS_FIRST_SIZE, &options, sizeof options, err);
  if (status == KL_OK) status = capi_database_check_options(&options, err);
  if (status != KL_OK) return status;
  memset(out, 0, sizeof *out);
  out->read_only = (options.flags & KEEL_OPEN_READ_ONLY) != 0;
  out->no_create = (options.flags & KEEL_OPEN_NO_CREATE) != 0;
  out->must_create = (options.flags & KEEL_OPEN_MUST_CREATE) != 0;
  out->durability = (kl_durability)options.durability;
  out->group_interval_ns = (uint64_t)options.group_interval_ms * 1000000U;
  out->log_segment_size = options.log_segment_size;
  out->memory_limit = options.memory_limit;
  out->cache_size = options.cache_size;
  out->delta_size = options.delta_size;
  out->drain_threads = (uint32_t)options.drain_threads;
  out->page_size = options.page_size;
  out->file_mode = options.file_mode;
  return KL_OK;
}

static kl_status capi_database_open(const char *path, const keel_options *options, keel_db *out_db, kl_error *err) {
  size_t path_size;
  kl_status status = capi_text("path", path, 1, KEEL_MAX_PATH_SIZE, &path_size, err);
  if (status != KL_OK) return status;
  if (out_db == NULL) return capi_null("out_db", err);
  kl_db_options converted;
  status = capi_database_read_options(options, &converted, err);
  if (status != KL_OK) return status;
  capi_db *db = capi_object_new(sizeof *db, capi_database_destroy, err);
  if (db == NULL) return KL_E_NO_MEMORY;
  status = kl_db_open(kl_os_posix(), path, &converted, &db->engine, err);
  if (status != KL_OK) {
    capi_object_free(db, sizeof *db);
    return status;
  }
  return capi_publish(CAPI_DB, &db->object, out_db, err);
}

keel_status keel_open(const char *path, const keel_options *options, keel_db *out_db, keel_error *err) {
  kl_error detail;
  return capi_report(capi_database_open(path, options, out_db, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_close(keel_db db, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_shared(CAPI_DB, db, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_flush(keel_db db, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_db *object = capi_slot_object(slot);
    status = kl_db_flush(object->engine, capi_detail(err, &detail));
    capi_leave_shared(slot);
  }
  return capi_report(status, &detail, err);
}

keel_status keel_make_checkpoint(keel_db db, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_db *object = capi_slot_object(slot);
    status = kl_db_make_checkpoint(object->engine, capi_detail(err, &detail));
    capi_leave_shared(slot);
  }
  return capi_report(status, &detail, err);
}

keel_status keel_compact(keel_db db, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_db *object = capi_slot_object(slot);
    status = kl_db_compact(object->engine, NULL, NULL, NULL, capi_detail(err, &detail));
    capi_leave_shared(slot);
  }
  return capi_report(status, &detail, err);
}

keel_status keel_set_cache_size(keel_db db, uint64_t bytes, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  status = kl_db_set_cache_size(object->engine, bytes, capi_detail(err, &detail));
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_last_checkpoint(keel_db db, keel_checkpoint *out_checkpoint, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status =
      capi_check_struct("out_checkpoint", out_checkpoint, CAPI_CHECKPOINT_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  kl_checkpoint checkpoint;
  status = kl_db_last_checkpoint(object->engine, &checkpoint, capi_detail(err, &detail));
  if (status == KL_OK) {
    keel_checkpoint result = KEEL_CHECKPOINT_INIT;
    result.log_needed = checkpoint.log_needed;
    result.sequence = checkpoint.sequence;
    result.timestamp = checkpoint.ts;
    result.log_position = checkpoint.log_lsn;
    result.wall_time_ns = checkpoint.wall_ns;
    capi_write_struct(out_checkpoint, &result, sizeof result);
  }
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

static void capi_database_convert_stats(const kl_db_stats *in, keel_stats *out) {
  out->poisoned = in->poisoned;
  out->commits = in->commits;
  out->commits_read_only = in->commits_read_only;
  out->rollbacks = in->rollbacks;
  out->conflicts = in->conflicts;
  out->groups = in->groups;
  out->gets = in->gets;
  out->puts = in->puts;
  out->deletes = in->deletes;
  out->cursor_steps = in->cursor_steps;
  out->transactions_live = in->transactions_live;
  out->snapshots_live = in->snapshots_live;
  out->views_live = in->views_live;
  out->oldest_snapshot_age_ns = in->oldest_snapshot_age_ns;
  out->visible_timestamp = in->visible_ts;
  out->keyspaces = in->keyspaces;
  out->delta_keys = in->delta_keys;
  out->delta_versions = in->delta_versions;
  out->delta_bytes = in->delta_bytes;
  out->log_start = in->log.start_lsn;
  out->log_tail = in->log.tail_lsn;
  out->log_durable = in->log.durable_lsn;
  out->log_file_bytes = in->log.file_bytes;
  out->log_segments = in->log.segments;
  out->log_segments_recycled = in->log.segments_recycled;
  out->log_appends = in->log.appends;
  out->log_appended_bytes = in->log.appended_bytes;
  out->log_syncs = in->log.syncs;
  out->log_syncs_shared = in->log.syncs_shared;
  out->log_sync_ns_total = in->log.sync_ns_total;
  out->log_sync_ns_max = in->log.sync_ns_max;
  out->log_uses_dsync = in->log.uses_dsync;
  out->recovery_batches = in->recovery_batches;
  out->recovery_bytes = in->recovery_bytes;
  out->recovery_ns = in->recovery_ns;
  out->memory_bytes = in->memory_bytes;
  out->memory_limit = in->memory_limit;
  out->checkpoints = in->checkpoints;
  out->drain_failures = in->drain_failures;
  out->drain_ns = in->drains.ns;
  out->drain_pages_written = in->drains.pages_written;
  out->drain_pages_read = in->drains.pages_read;
  out->drain_bytes_written = in->drains.bytes_written;
  out->spills = in->spills;
  out->spilled_bytes = in->spilled_bytes;
  out->drain_threads = in->drain_threads;
  out->drain_parts = in->drains.parts;
  out->throttled_ns = in->throttled_ns;
  out->throttle_waits = in->throttle_waits;
  out->cache_limit = in->cache.limit;
  out->cache_resident = in->cache.resident;
  out->cache_pages = in->cache.pages;
  out->cache_pinned = in->cache.pinned;
  out->cache_loads = in->cache.loads;
  out->cache_evictions = in->cache.evictions;
  out->file_bytes = in->space.file_bytes;
  out->file_used = in->space.used_bytes;
  out->file_free = in->space.free_bytes;
  out->file_held = in->space.limbo_bytes;
}

keel_status keel_get_stats(keel_db db, keel_stats *out_stats, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_check_struct("out_stats", out_stats, CAPI_STATS_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  kl_db_stats stats;
  status = kl_db_get_stats(object->engine, &stats, capi_detail(err, &detail));
  if (status == KL_OK) {
    keel_stats result = KEEL_STATS_INIT;
    capi_database_convert_stats(&stats, &result);
    capi_write_struct(out_stats, &result, sizeof result);
  }
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}
