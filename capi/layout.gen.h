/* capi/layout.gen.h: what of the description must hold at compile time, and the struct sizes of the first versions.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`. */
/* clang-format off */
#ifndef CAPI_LAYOUT_GEN_H
#define CAPI_LAYOUT_GEN_H

#include "../core/db/db.h"
#include "include/keel/keel.h"

/* The smallest struct_size that is accepted: the struct as its first version had it. */
enum {
  CAPI_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_options, drain_threads) + sizeof(((keel_options *)0)->drain_threads)),
  CAPI_KEYSPACE_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_keyspace_options, flags) + sizeof(((keel_keyspace_options *)0)->flags)),
  CAPI_LOAD_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_load_options, buffer_size) + sizeof(((keel_load_options *)0)->buffer_size)),
  CAPI_LOAD_REPORT_FIRST_SIZE = (int)(offsetof(keel_load_report, runs) + sizeof(((keel_load_report *)0)->runs)),
  CAPI_TXN_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_txn_options, label) + sizeof(((keel_txn_options *)0)->label)),
  CAPI_CURSOR_OPTIONS_FIRST_SIZE = (int)(offsetof(keel_cursor_options, prefix_size) + sizeof(((keel_cursor_options *)0)->prefix_size)),
  CAPI_CHECKPOINT_FIRST_SIZE = (int)(offsetof(keel_checkpoint, wall_time_ns) + sizeof(((keel_checkpoint *)0)->wall_time_ns)),
  CAPI_STATS_FIRST_SIZE = (int)(offsetof(keel_stats, file_held) + sizeof(((keel_stats *)0)->file_held)),
  CAPI_CHECK_REPORT_FIRST_SIZE = (int)(offsetof(keel_check_report, log_commits) + sizeof(((keel_check_report *)0)->log_commits)),
  CAPI_BATCH_VIEW_FIRST_SIZE = (int)(offsetof(keel_batch_view, found) + sizeof(((keel_batch_view *)0)->found))
};

/* Every bit that is a flag. */
enum {
  CAPI_OPEN_FLAGS_ALL = 7,
  CAPI_KEYSPACE_FLAGS_ALL = 1,
  CAPI_LOAD_FLAGS_ALL = 1,
  CAPI_TXN_FLAGS_ALL = 1
};

/* The highest value of each choice; all from 0 or 1 up to it exist. */
enum {
  CAPI_DURABILITY_MAX = 3,
  CAPI_ISOLATION_MAX = 5,
  CAPI_BATCH_OP_MAX = 2
};

/* Bounds of fields. */
#define CAPI_OPTIONS_PAGE_SIZE_MIN UINT64_C(4096)
#define CAPI_OPTIONS_PAGE_SIZE_MAX UINT64_C(65536)
#define CAPI_OPTIONS_GROUP_INTERVAL_MS_MAX UINT64_C(60000)
#define CAPI_OPTIONS_FILE_MODE_MAX UINT64_C(511)
#define CAPI_OPTIONS_LOG_SEGMENT_SIZE_MIN UINT64_C(65536)
#define CAPI_OPTIONS_LOG_SEGMENT_SIZE_MAX UINT64_C(1073741824)
#define CAPI_OPTIONS_DRAIN_THREADS_MAX UINT64_C(64)
#define CAPI_LOAD_OPTIONS_BUFFER_SIZE_MIN UINT64_C(65536)
#define CAPI_LOAD_OPTIONS_BUFFER_SIZE_MAX UINT64_C(1073741824)
#define CAPI_TXN_OPTIONS_LABEL_MAX UINT64_C(255)
#define CAPI_CURSOR_OPTIONS_FLAGS_MAX UINT64_C(0)
#define CAPI_CURSOR_OPTIONS_LOWER_SIZE_MAX UINT64_C(1024)
#define CAPI_CURSOR_OPTIONS_UPPER_SIZE_MAX UINT64_C(1024)
#define CAPI_CURSOR_OPTIONS_PREFIX_SIZE_MAX UINT64_C(1024)

/* The public status codes are the internal ones. */
_Static_assert(KEEL_OK == (keel_status)KL_OK, "OK");
_Static_assert(KEEL_E_INVALID == (keel_status)KL_E_INVALID, "E_INVALID");
_Static_assert(KEEL_E_HANDLE == (keel_status)KL_E_HANDLE, "E_HANDLE");
_Static_assert(KEEL_E_FINISHED == (keel_status)KL_E_FINISHED, "E_FINISHED");
_Static_assert(KEEL_E_READ_ONLY == (keel_status)KL_E_READ_ONLY, "E_READ_ONLY");
_Static_assert(KEEL_E_KEY_SIZE == (keel_status)KL_E_KEY_SIZE, "E_KEY_SIZE");
_Static_assert(KEEL_E_VALUE_SIZE == (keel_status)KL_E_VALUE_SIZE, "E_VALUE_SIZE");
_Static_assert(KEEL_E_BUFFER_SIZE == (keel_status)KL_E_BUFFER_SIZE, "E_BUFFER_SIZE");
_Static_assert(KEEL_E_CONCURRENT_USE == (keel_status)KL_E_CONCURRENT_USE, "E_CONCURRENT_USE");
_Static_assert(KEEL_E_FORKED == (keel_status)KL_E_FORKED, "E_FORKED");
_Static_assert(KEEL_E_CLOSED == (keel_status)KL_E_CLOSED, "E_CLOSED");
_Static_assert(KEEL_E_UNSUPPORTED == (keel_status)KL_E_UNSUPPORTED, "E_UNSUPPORTED");
_Static_assert(KEEL_E_NOT_FOUND == (keel_status)KL_E_NOT_FOUND, "E_NOT_FOUND");
_Static_assert(KEEL_E_KEYSPACE_NOT_FOUND == (keel_status)KL_E_KEYSPACE_NOT_FOUND, "E_KEYSPACE_NOT_FOUND");
_Static_assert(KEEL_E_NO_FILE == (keel_status)KL_E_NO_FILE, "E_NO_FILE");
_Static_assert(KEEL_E_EXISTS == (keel_status)KL_E_EXISTS, "E_EXISTS");
_Static_assert(KEEL_E_CONFLICT == (keel_status)KL_E_CONFLICT, "E_CONFLICT");
_Static_assert(KEEL_E_DEADLOCK == (keel_status)KL_E_DEADLOCK, "E_DEADLOCK");
_Static_assert(KEEL_E_SNAPSHOT_TOO_OLD == (keel_status)KL_E_SNAPSHOT_TOO_OLD, "E_SNAPSHOT_TOO_OLD");
_Static_assert(KEEL_E_COMMIT_UNKNOWN == (keel_status)KL_E_COMMIT_UNKNOWN, "E_COMMIT_UNKNOWN");
_Static_assert(KEEL_E_LOCKED == (keel_status)KL_E_LOCKED, "E_LOCKED");
_Static_assert(KEEL_E_TIMEOUT == (keel_status)KL_E_TIMEOUT, "E_TIMEOUT");
_Static_assert(KEEL_E_CANCELLED == (keel_status)KL_E_CANCELLED, "E_CANCELLED");
_Static_assert(KEEL_E_IO == (keel_status)KL_E_IO, "E_IO");
_Static_assert(KEEL_E_DISK_FULL == (keel_status)KL_E_DISK_FULL, "E_DISK_FULL");
_Static_assert(KEEL_E_PERMISSION == (keel_status)KL_E_PERMISSION, "E_PERMISSION");
_Static_assert(KEEL_E_READ_ONLY_MEDIA == (keel_status)KL_E_READ_ONLY_MEDIA, "E_READ_ONLY_MEDIA");
_Static_assert(KEEL_E_NOT_A_FILE == (keel_status)KL_E_NOT_A_FILE, "E_NOT_A_FILE");
_Static_assert(KEEL_E_POISONED == (keel_status)KL_E_POISONED, "E_POISONED");
_Static_assert(KEEL_E_CORRUPT == (keel_status)KL_E_CORRUPT, "E_CORRUPT");
_Static_assert(KEEL_E_FORMAT == (keel_status)KL_E_FORMAT, "E_FORMAT");
_Static_assert(KEEL_E_VERSION == (keel_status)KL_E_VERSION, "E_VERSION");
_Static_assert(KEEL_E_NO_MEMORY == (keel_status)KL_E_NO_MEMORY, "E_NO_MEMORY");
_Static_assert(KEEL_E_LIMIT == (keel_status)KL_E_LIMIT, "E_LIMIT");
_Static_assert(KEEL_E_INTERNAL == (keel_status)KL_E_INTERNAL, "E_INTERNAL");

/* Structs have no hole in front of a field, so that struct_size cuts between fields. */
_Static_assert(offsetof(keel_options, flags) == offsetof(keel_options, struct_size) + sizeof(((keel_options *)0)->struct_size), "options.flags");
_Static_assert(offsetof(keel_options, durability) == offsetof(keel_options, flags) + sizeof(((keel_options *)0)->flags), "options.durability");
_Static_assert(offsetof(keel_options, page_size) == offsetof(keel_options, durability) + sizeof(((keel_options *)0)->durability), "options.page_size");
_Static_assert(offsetof(keel_options, group_interval_ms) == offsetof(keel_options, page_size) + sizeof(((keel_options *)0)->page_size), "options.group_interval_ms");
_Static_assert(offsetof(keel_options, file_mode) == offsetof(keel_options, group_interval_ms) + sizeof(((keel_options *)0)->group_interval_ms), "options.file_mode");
_Static_assert(offsetof(keel_options, log_segment_size) == offsetof(keel_options, file_mode) + sizeof(((keel_options *)0)->file_mode), "options.log_segment_size");
_Static_assert(offsetof(keel_options, memory_limit) == offsetof(keel_options, log_segment_size) + sizeof(((keel_options *)0)->log_segment_size), "options.memory_limit");
_Static_assert(offsetof(keel_options, cache_size) == offsetof(keel_options, memory_limit) + sizeof(((keel_options *)0)->memory_limit), "options.cache_size");
_Static_assert(offsetof(keel_options, delta_size) == offsetof(keel_options, cache_size) + sizeof(((keel_options *)0)->cache_size), "options.delta_size");
_Static_assert(offsetof(keel_options, drain_threads) == offsetof(keel_options, delta_size) + sizeof(((keel_options *)0)->delta_size), "options.drain_threads");
_Static_assert(offsetof(keel_keyspace_options, flags) == offsetof(keel_keyspace_options, struct_size) + sizeof(((keel_keyspace_options *)0)->struct_size), "keyspace_options.flags");
_Static_assert(offsetof(keel_load_options, flags) == offsetof(keel_load_options, struct_size) + sizeof(((keel_load_options *)0)->struct_size), "load_options.flags");
_Static_assert(offsetof(keel_load_options, buffer_size) == offsetof(keel_load_options, flags) + sizeof(((keel_load_options *)0)->flags), "load_options.buffer_size");
_Static_assert(offsetof(keel_load_report, finished) == offsetof(keel_load_report, struct_size) + sizeof(((keel_load_report *)0)->struct_size), "load_report.finished");
_Static_assert(offsetof(keel_load_report, rows) == offsetof(keel_load_report, finished) + sizeof(((keel_load_report *)0)->finished), "load_report.rows");
_Static_assert(offsetof(keel_load_report, bytes) == offsetof(keel_load_report, rows) + sizeof(((keel_load_report *)0)->rows), "load_report.bytes");
_Static_assert(offsetof(keel_load_report, runs) == offsetof(keel_load_report, bytes) + sizeof(((keel_load_report *)0)->bytes), "load_report.runs");
_Static_assert(offsetof(keel_txn_options, flags) == offsetof(keel_txn_options, struct_size) + sizeof(((keel_txn_options *)0)->struct_size), "txn_options.flags");
_Static_assert(offsetof(keel_txn_options, isolation) == offsetof(keel_txn_options, flags) + sizeof(((keel_txn_options *)0)->flags), "txn_options.isolation");
_Static_assert(offsetof(keel_txn_options, durability) == offsetof(keel_txn_options, isolation) + sizeof(((keel_txn_options *)0)->isolation), "txn_options.durability");
_Static_assert(offsetof(keel_txn_options, label) == offsetof(keel_txn_options, durability) + sizeof(((keel_txn_options *)0)->durability), "txn_options.label");
_Static_assert(offsetof(keel_cursor_options, flags) == offsetof(keel_cursor_options, struct_size) + sizeof(((keel_cursor_options *)0)->struct_size), "cursor_options.flags");
_Static_assert(offsetof(keel_cursor_options, lower) == offsetof(keel_cursor_options, flags) + sizeof(((keel_cursor_options *)0)->flags), "cursor_options.lower");
_Static_assert(offsetof(keel_cursor_options, lower_size) == offsetof(keel_cursor_options, lower) + sizeof(((keel_cursor_options *)0)->lower), "cursor_options.lower_size");
_Static_assert(offsetof(keel_cursor_options, upper) == offsetof(keel_cursor_options, lower_size) + sizeof(((keel_cursor_options *)0)->lower_size), "cursor_options.upper");
_Static_assert(offsetof(keel_cursor_options, upper_size) == offsetof(keel_cursor_options, upper) + sizeof(((keel_cursor_options *)0)->upper), "cursor_options.upper_size");
_Static_assert(offsetof(keel_cursor_options, prefix) == offsetof(keel_cursor_options, upper_size) + sizeof(((keel_cursor_options *)0)->upper_size), "cursor_options.prefix");
_Static_assert(offsetof(keel_cursor_options, prefix_size) == offsetof(keel_cursor_options, prefix) + sizeof(((keel_cursor_options *)0)->prefix), "cursor_options.prefix_size");
_Static_assert(offsetof(keel_checkpoint, log_needed) == offsetof(keel_checkpoint, struct_size) + sizeof(((keel_checkpoint *)0)->struct_size), "checkpoint.log_needed");
_Static_assert(offsetof(keel_checkpoint, sequence) == offsetof(keel_checkpoint, log_needed) + sizeof(((keel_checkpoint *)0)->log_needed), "checkpoint.sequence");
_Static_assert(offsetof(keel_checkpoint, timestamp) == offsetof(keel_checkpoint, sequence) + sizeof(((keel_checkpoint *)0)->sequence), "checkpoint.timestamp");
_Static_assert(offsetof(keel_checkpoint, log_position) == offsetof(keel_checkpoint, timestamp) + sizeof(((keel_checkpoint *)0)->timestamp), "checkpoint.log_position");
_Static_assert(offsetof(keel_checkpoint, wall_time_ns) == offsetof(keel_checkpoint, log_position) + sizeof(((keel_checkpoint *)0)->log_position), "checkpoint.wall_time_ns");
_Static_assert(offsetof(keel_stats, poisoned) == offsetof(keel_stats, struct_size) + sizeof(((keel_stats *)0)->struct_size), "stats.poisoned");
_Static_assert(offsetof(keel_stats, commits) == offsetof(keel_stats, poisoned) + sizeof(((keel_stats *)0)->poisoned), "stats.commits");
_Static_assert(offsetof(keel_stats, commits_read_only) == offsetof(keel_stats, commits) + sizeof(((keel_stats *)0)->commits), "stats.commits_read_only");
_Static_assert(offsetof(keel_stats, rollbacks) == offsetof(keel_stats, commits_read_only) + sizeof(((keel_stats *)0)->commits_read_only), "stats.rollbacks");
_Static_assert(offsetof(keel_stats, conflicts) == offsetof(keel_stats, rollbacks) + sizeof(((keel_stats *)0)->rollbacks), "stats.conflicts");
_Static_assert(offsetof(keel_stats, groups) == offsetof(keel_stats, conflicts) + sizeof(((keel_stats *)0)->conflicts), "stats.groups");
_Static_assert(offsetof(keel_stats, gets) == offsetof(keel_stats, groups) + sizeof(((keel_stats *)0)->groups), "stats.gets");
_Static_assert(offsetof(keel_stats, puts) == offsetof(keel_stats, gets) + sizeof(((keel_stats *)0)->gets), "stats.puts");
_Static_assert(offsetof(keel_stats, deletes) == offsetof(keel_stats, puts) + sizeof(((keel_stats *)0)->puts), "stats.deletes");
_Static_assert(offsetof(keel_stats, cursor_steps) == offsetof(keel_stats, deletes) + sizeof(((keel_stats *)0)->deletes), "stats.cursor_steps");
_Static_assert(offsetof(keel_stats, transactions_live) == offsetof(keel_stats, cursor_steps) + sizeof(((keel_stats *)0)->cursor_steps), "stats.transactions_live");
_Static_assert(offsetof(keel_stats, snapshots_live) == offsetof(keel_stats, transactions_live) + sizeof(((keel_stats *)0)->transactions_live), "stats.snapshots_live");
_Static_assert(offsetof(keel_stats, views_live) == offsetof(keel_stats, snapshots_live) + sizeof(((keel_stats *)0)->snapshots_live), "stats.views_live");
_Static_assert(offsetof(keel_stats, oldest_snapshot_age_ns) == offsetof(keel_stats, views_live) + sizeof(((keel_stats *)0)->views_live), "stats.oldest_snapshot_age_ns");
_Static_assert(offsetof(keel_stats, visible_timestamp) == offsetof(keel_stats, oldest_snapshot_age_ns) + sizeof(((keel_stats *)0)->oldest_snapshot_age_ns), "stats.visible_timestamp");
_Static_assert(offsetof(keel_stats, keyspaces) == offsetof(keel_stats, visible_timestamp) + sizeof(((keel_stats *)0)->visible_timestamp), "stats.keyspaces");
_Static_assert(offsetof(keel_stats, delta_keys) == offsetof(keel_stats, keyspaces) + sizeof(((keel_stats *)0)->keyspaces), "stats.delta_keys");
_Static_assert(offsetof(keel_stats, delta_versions) == offsetof(keel_stats, delta_keys) + sizeof(((keel_stats *)0)->delta_keys), "stats.delta_versions");
_Static_assert(offsetof(keel_stats, delta_bytes) == offsetof(keel_stats, delta_versions) + sizeof(((keel_stats *)0)->delta_versions), "stats.delta_bytes");
_Static_assert(offsetof(keel_stats, log_start) == offsetof(keel_stats, delta_bytes) + sizeof(((keel_stats *)0)->delta_bytes), "stats.log_start");
_Static_assert(offsetof(keel_stats, log_tail) == offsetof(keel_stats, log_start) + sizeof(((keel_stats *)0)->log_start), "stats.log_tail");
_Static_assert(offsetof(keel_stats, log_durable) == offsetof(keel_stats, log_tail) + sizeof(((keel_stats *)0)->log_tail), "stats.log_durable");
_Static_assert(offsetof(keel_stats, log_file_bytes) == offsetof(keel_stats, log_durable) + sizeof(((keel_stats *)0)->log_durable), "stats.log_file_bytes");
_Static_assert(offsetof(keel_stats, log_segments) == offsetof(keel_stats, log_file_bytes) + sizeof(((keel_stats *)0)->log_file_bytes), "stats.log_segments");
_Static_assert(offsetof(keel_stats, log_segments_recycled) == offsetof(keel_stats, log_segments) + sizeof(((keel_stats *)0)->log_segments), "stats.log_segments_recycled");
_Static_assert(offsetof(keel_stats, log_appends) == offsetof(keel_stats, log_segments_recycled) + sizeof(((keel_stats *)0)->log_segments_recycled), "stats.log_appends");
_Static_assert(offsetof(keel_stats, log_appended_bytes) == offsetof(keel_stats, log_appends) + sizeof(((keel_stats *)0)->log_appends), "stats.log_appended_bytes");
_Static_assert(offsetof(keel_stats, log_syncs) == offsetof(keel_stats, log_appended_bytes) + sizeof(((keel_stats *)0)->log_appended_bytes), "stats.log_syncs");
_Static_assert(offsetof(keel_stats, log_syncs_shared) == offsetof(keel_stats, log_syncs) + sizeof(((keel_stats *)0)->log_syncs), "stats.log_syncs_shared");
_Static_assert(offsetof(keel_stats, log_sync_ns_total) == offsetof(keel_stats, log_syncs_shared) + sizeof(((keel_stats *)0)->log_syncs_shared), "stats.log_sync_ns_total");
_Static_assert(offsetof(keel_stats, log_sync_ns_max) == offsetof(keel_stats, log_sync_ns_total) + sizeof(((keel_stats *)0)->log_sync_ns_total), "stats.log_sync_ns_max");
_Static_assert(offsetof(keel_stats, log_uses_dsync) == offsetof(keel_stats, log_sync_ns_max) + sizeof(((keel_stats *)0)->log_sync_ns_max), "stats.log_uses_dsync");
_Static_assert(offsetof(keel_stats, recovery_batches) == offsetof(keel_stats, log_uses_dsync) + sizeof(((keel_stats *)0)->log_uses_dsync), "stats.recovery_batches");
_Static_assert(offsetof(keel_stats, recovery_bytes) == offsetof(keel_stats, recovery_batches) + sizeof(((keel_stats *)0)->recovery_batches), "stats.recovery_bytes");
_Static_assert(offsetof(keel_stats, recovery_ns) == offsetof(keel_stats, recovery_bytes) + sizeof(((keel_stats *)0)->recovery_bytes), "stats.recovery_ns");
_Static_assert(offsetof(keel_stats, memory_bytes) == offsetof(keel_stats, recovery_ns) + sizeof(((keel_stats *)0)->recovery_ns), "stats.memory_bytes");
_Static_assert(offsetof(keel_stats, memory_limit) == offsetof(keel_stats, memory_bytes) + sizeof(((keel_stats *)0)->memory_bytes), "stats.memory_limit");
_Static_assert(offsetof(keel_stats, checkpoints) == offsetof(keel_stats, memory_limit) + sizeof(((keel_stats *)0)->memory_limit), "stats.checkpoints");
_Static_assert(offsetof(keel_stats, drain_failures) == offsetof(keel_stats, checkpoints) + sizeof(((keel_stats *)0)->checkpoints), "stats.drain_failures");
_Static_assert(offsetof(keel_stats, drain_ns) == offsetof(keel_stats, drain_failures) + sizeof(((keel_stats *)0)->drain_failures), "stats.drain_ns");
_Static_assert(offsetof(keel_stats, drain_pages_written) == offsetof(keel_stats, drain_ns) + sizeof(((keel_stats *)0)->drain_ns), "stats.drain_pages_written");
_Static_assert(offsetof(keel_stats, drain_pages_read) == offsetof(keel_stats, drain_pages_written) + sizeof(((keel_stats *)0)->drain_pages_written), "stats.drain_pages_read");
_Static_assert(offsetof(keel_stats, drain_bytes_written) == offsetof(keel_stats, drain_pages_read) + sizeof(((keel_stats *)0)->drain_pages_read), "stats.drain_bytes_written");
_Static_assert(offsetof(keel_stats, spills) == offsetof(keel_stats, drain_bytes_written) + sizeof(((keel_stats *)0)->drain_bytes_written), "stats.spills");
_Static_assert(offsetof(keel_stats, spilled_bytes) == offsetof(keel_stats, spills) + sizeof(((keel_stats *)0)->spills), "stats.spilled_bytes");
_Static_assert(offsetof(keel_stats, drain_threads) == offsetof(keel_stats, spilled_bytes) + sizeof(((keel_stats *)0)->spilled_bytes), "stats.drain_threads");
_Static_assert(offsetof(keel_stats, drain_parts) == offsetof(keel_stats, drain_threads) + sizeof(((keel_stats *)0)->drain_threads), "stats.drain_parts");
_Static_assert(offsetof(keel_stats, throttled_ns) == offsetof(keel_stats, drain_parts) + sizeof(((keel_stats *)0)->drain_parts), "stats.throttled_ns");
_Static_assert(offsetof(keel_stats, throttle_waits) == offsetof(keel_stats, throttled_ns) + sizeof(((keel_stats *)0)->throttled_ns), "stats.throttle_waits");
_Static_assert(offsetof(keel_stats, cache_limit) == offsetof(keel_stats, throttle_waits) + sizeof(((keel_stats *)0)->throttle_waits), "stats.cache_limit");
_Static_assert(offsetof(keel_stats, cache_resident) == offsetof(keel_stats, cache_limit) + sizeof(((keel_stats *)0)->cache_limit), "stats.cache_resident");
_Static_assert(offsetof(keel_stats, cache_pages) == offsetof(keel_stats, cache_resident) + sizeof(((keel_stats *)0)->cache_resident), "stats.cache_pages");
_Static_assert(offsetof(keel_stats, cache_pinned) == offsetof(keel_stats, cache_pages) + sizeof(((keel_stats *)0)->cache_pages), "stats.cache_pinned");
_Static_assert(offsetof(keel_stats, cache_loads) == offsetof(keel_stats, cache_pinned) + sizeof(((keel_stats *)0)->cache_pinned), "stats.cache_loads");
_Static_assert(offsetof(keel_stats, cache_evictions) == offsetof(keel_stats, cache_loads) + sizeof(((keel_stats *)0)->cache_loads), "stats.cache_evictions");
_Static_assert(offsetof(keel_stats, file_bytes) == offsetof(keel_stats, cache_evictions) + sizeof(((keel_stats *)0)->cache_evictions), "stats.file_bytes");
_Static_assert(offsetof(keel_stats, file_used) == offsetof(keel_stats, file_bytes) + sizeof(((keel_stats *)0)->file_bytes), "stats.file_used");
_Static_assert(offsetof(keel_stats, file_free) == offsetof(keel_stats, file_used) + sizeof(((keel_stats *)0)->file_used), "stats.file_free");
_Static_assert(offsetof(keel_stats, file_held) == offsetof(keel_stats, file_free) + sizeof(((keel_stats *)0)->file_free), "stats.file_held");
_Static_assert(offsetof(keel_check_report, finished) == offsetof(keel_check_report, struct_size) + sizeof(((keel_check_report *)0)->struct_size), "check_report.finished");
_Static_assert(offsetof(keel_check_report, problems) == offsetof(keel_check_report, finished) + sizeof(((keel_check_report *)0)->finished), "check_report.problems");
_Static_assert(offsetof(keel_check_report, done_bytes) == offsetof(keel_check_report, problems) + sizeof(((keel_check_report *)0)->problems), "check_report.done_bytes");
_Static_assert(offsetof(keel_check_report, total_bytes) == offsetof(keel_check_report, done_bytes) + sizeof(((keel_check_report *)0)->done_bytes), "check_report.total_bytes");
_Static_assert(offsetof(keel_check_report, checkpoint) == offsetof(keel_check_report, total_bytes) + sizeof(((keel_check_report *)0)->total_bytes), "check_report.checkpoint");
_Static_assert(offsetof(keel_check_report, keyspaces) == offsetof(keel_check_report, checkpoint) + sizeof(((keel_check_report *)0)->checkpoint), "check_report.keyspaces");
_Static_assert(offsetof(keel_check_report, pages) == offsetof(keel_check_report, keyspaces) + sizeof(((keel_check_report *)0)->keyspaces), "check_report.pages");
_Static_assert(offsetof(keel_check_report, extents) == offsetof(keel_check_report, pages) + sizeof(((keel_check_report *)0)->pages), "check_report.extents");
_Static_assert(offsetof(keel_check_report, rows) == offsetof(keel_check_report, extents) + sizeof(((keel_check_report *)0)->extents), "check_report.rows");
_Static_assert(offsetof(keel_check_report, value_bytes) == offsetof(keel_check_report, rows) + sizeof(((keel_check_report *)0)->rows), "check_report.value_bytes");
_Static_assert(offsetof(keel_check_report, lost_pages) == offsetof(keel_check_report, value_bytes) + sizeof(((keel_check_report *)0)->value_bytes), "check_report.lost_pages");
_Static_assert(offsetof(keel_check_report, lost_extents) == offsetof(keel_check_report, lost_pages) + sizeof(((keel_check_report *)0)->lost_pages), "check_report.lost_extents");
_Static_assert(offsetof(keel_check_report, lost_rows) == offsetof(keel_check_report, lost_extents) + sizeof(((keel_check_report *)0)->lost_extents), "check_report.lost_rows");
_Static_assert(offsetof(keel_check_report, unreached_bytes) == offsetof(keel_check_report, lost_rows) + sizeof(((keel_check_report *)0)->lost_rows), "check_report.unreached_bytes");
_Static_assert(offsetof(keel_check_report, log_commits) == offsetof(keel_check_report, unreached_bytes) + sizeof(((keel_check_report *)0)->unreached_bytes), "check_report.log_commits");
_Static_assert(offsetof(keel_batch_view, flags) == offsetof(keel_batch_view, struct_size) + sizeof(((keel_batch_view *)0)->struct_size), "batch_view.flags");
_Static_assert(offsetof(keel_batch_view, count) == offsetof(keel_batch_view, flags) + sizeof(((keel_batch_view *)0)->flags), "batch_view.count");
_Static_assert(offsetof(keel_batch_view, keys) == offsetof(keel_batch_view, count) + sizeof(((keel_batch_view *)0)->count), "batch_view.keys");
_Static_assert(offsetof(keel_batch_view, key_offsets) == offsetof(keel_batch_view, keys) + sizeof(((keel_batch_view *)0)->keys), "batch_view.key_offsets");
_Static_assert(offsetof(keel_batch_view, values) == offsetof(keel_batch_view, key_offsets) + sizeof(((keel_batch_view *)0)->key_offsets), "batch_view.values");
_Static_assert(offsetof(keel_batch_view, value_offsets) == offsetof(keel_batch_view, values) + sizeof(((keel_batch_view *)0)->values), "batch_view.value_offsets");
_Static_assert(offsetof(keel_batch_view, found) == offsetof(keel_batch_view, value_offsets) + sizeof(((keel_batch_view *)0)->value_offsets), "batch_view.found");

#endif
