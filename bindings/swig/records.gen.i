/* Generated from bindings/api/keel.yml by tools/swig. Do not edit: change it and run `./dev gen`.
 *
 * KEEL_<STRUCT>_FIELDS(X, record) is X(record, field) for each field but struct_size, in the order of the
 * description. */
%{
#define KEEL_FIELD_VALUE(record, field) (uint64_t)(record)->field
#define KEEL_LOAD_REPORT_FIELDS(X, record) \
  X(record, finished), \
  X(record, rows), \
  X(record, bytes), \
  X(record, runs)
#define KEEL_CHECKPOINT_FIELDS(X, record) \
  X(record, log_needed), \
  X(record, sequence), \
  X(record, timestamp), \
  X(record, log_position), \
  X(record, wall_time_ns)
#define KEEL_STATS_FIELDS(X, record) \
  X(record, poisoned), \
  X(record, commits), \
  X(record, commits_read_only), \
  X(record, rollbacks), \
  X(record, conflicts), \
  X(record, groups), \
  X(record, gets), \
  X(record, puts), \
  X(record, deletes), \
  X(record, cursor_steps), \
  X(record, transactions_live), \
  X(record, snapshots_live), \
  X(record, views_live), \
  X(record, oldest_snapshot_age_ns), \
  X(record, visible_timestamp), \
  X(record, keyspaces), \
  X(record, delta_keys), \
  X(record, delta_versions), \
  X(record, delta_bytes), \
  X(record, log_start), \
  X(record, log_tail), \
  X(record, log_durable), \
  X(record, log_file_bytes), \
  X(record, log_segments), \
  X(record, log_segments_recycled), \
  X(record, log_appends), \
  X(record, log_appended_bytes), \
  X(record, log_syncs), \
  X(record, log_syncs_shared), \
  X(record, log_sync_ns_total), \
  X(record, log_sync_ns_max), \
  X(record, log_uses_dsync), \
  X(record, recovery_batches), \
  X(record, recovery_bytes), \
  X(record, recovery_ns), \
  X(record, memory_bytes), \
  X(record, memory_limit), \
  X(record, checkpoints), \
  X(record, drain_failures), \
  X(record, drain_ns), \
  X(record, drain_pages_written), \
  X(record, drain_pages_read), \
  X(record, drain_bytes_written), \
  X(record, spills), \
  X(record, spilled_bytes), \
  X(record, drain_threads), \
  X(record, drain_parts), \
  X(record, throttled_ns), \
  X(record, throttle_waits), \
  X(record, cache_limit), \
  X(record, cache_resident), \
  X(record, cache_pages), \
  X(record, cache_pinned), \
  X(record, cache_loads), \
  X(record, cache_evictions), \
  X(record, file_bytes), \
  X(record, file_used), \
  X(record, file_free), \
  X(record, file_held)
#define KEEL_CHECK_REPORT_FIELDS(X, record) \
  X(record, finished), \
  X(record, problems), \
  X(record, done_bytes), \
  X(record, total_bytes), \
  X(record, checkpoint), \
  X(record, keyspaces), \
  X(record, pages), \
  X(record, extents), \
  X(record, rows), \
  X(record, value_bytes), \
  X(record, lost_pages), \
  X(record, lost_extents), \
  X(record, lost_rows), \
  X(record, unreached_bytes), \
  X(record, log_commits)
%}
