/* core/db/db.h: an open database: open/close, options, wiring, stats. The only header of core/ that capi includes.
 *
 * A path that is opened twice in one process gives two references on one engine (found by device and inode); a second
 * process gets KL_E_LOCKED with the holder's process id and name. The last release stops the threads, syncs what was
 * acknowledged with durability `group`, and closes the files.
 *
 * Thread rules: any thread. After fork, kl_db_check answers KL_E_FORKED in the child, and nothing of the parent's is
 * touched. */
#ifndef KL_DB_DB_H
#define KL_DB_DB_H

#include <stdbool.h>
#include <stdint.h>

/* capi/ reaches assertions, the checksum query and the fork count through this header. */
#include "../base/assert.h"
#include "../base/crc32c.h"
#include "../drain/drain.h"
#include "../keyspace/keyspace.h"
#include "../os/os.h"
#include "../os/thread.h"
#include "../store/store.h"
#include "../txn/txn.h"
#include "check.h"
#include "load.h"

typedef struct kl_db kl_db;

typedef struct kl_db_options {
  bool read_only;   /* shared lock, no write of any kind, works on read-only media */
  bool no_create;   /* KL_E_NO_FILE when absent */
  bool must_create; /* KL_E_EXISTS when present */
  kl_durability durability;
  uint64_t group_interval_ns; /* 0: 10 ms */
  uint64_t log_segment_size;  /* 0: default */
  uint64_t memory_limit;      /* bytes of deltas, 0: half of physical memory; beyond it commits wait for the drain */
  uint64_t cache_size;        /* bytes of pages kept in memory, 0: a quarter of physical memory */
  uint64_t
      spill_size; /* bytes of a transaction's writes from which on they go into the file; 0: an eighth of memory_limit */
  uint64_t delta_size;       /* bytes of commits from which on they are drained, 0: by memory_limit */
  uint32_t drain_threads;    /* that a drain of much merges on, 0: by the processors */
  uint64_t drain_part_bytes; /* about what each merges at once, 0: chosen. For tests; not in the C interface */
  uint32_t page_size;        /* format parameter at creation, 0: default */
  uint32_t file_mode;        /* 0: 0600 */
} kl_db_options;

/* ":memory:" is a private database without files. */
kl_status kl_db_open(kl_os *os, const char *path, const kl_db_options *options, kl_db **out_db, kl_error *err);
void kl_db_ref(kl_db *db);
/* The last one closes; `err` (nullable) tells when the final sync failed. */
kl_status kl_db_release(kl_db *db, kl_error *err);
/* KL_OK, KL_E_FORKED, KL_E_POISONED. Two relaxed loads. */
kl_status kl_db_check(kl_db *db, kl_error *err);

kl_txn_manager *kl_db_txn_manager(kl_db *db);
kl_catalogue *kl_db_catalogue(kl_db *db);
kl_allocator *kl_db_allocator(kl_db *db);

kl_status kl_db_flush(kl_db *db, kl_error *err); /* everything acknowledged so far is on disk when it returns */
/* Everything committed so far is in the trees, and a checkpoint says so, when it returns. Errors of the drain. */
kl_status kl_db_make_checkpoint(kl_db *db, kl_error *err);
kl_status kl_db_last_checkpoint(kl_db *db, kl_checkpoint *out, kl_error *err);

/* Another cache_size, from now on. Those below the least are the least. KL_E_INVALID: more than the cache has address space
 * for (limit_most of core/cache). */
kl_status kl_db_set_cache_size(kl_db *db, uint64_t bytes, kl_error *err);

typedef struct kl_db_compact_report {
  uint64_t file_before, file_bytes; /* size of the file at the beginning, and now */
  uint64_t used_bytes;              /* of it, by the newest checkpoint */
  uint64_t moved_bytes;             /* all that was written to move */
  uint64_t rounds;                  /* checkpoints that were made */
} kl_db_compact_report;
/* After each round. False: end here; calling again later goes on. */
typedef bool (*kl_db_compact_progress)(void *context, const kl_db_compact_report *report);

/* Drains, then moves what lies at the end of the file to free blocks further to the front, round by round, each a
 * checkpoint, and cuts the file, until it is hardly longer than what is used, or no more can be gained: what old
 * snapshots keep from being free is not waited for. It ends, also under writers that go on, when it has moved twice what
 * is used. Others read and write meanwhile; drains come in between. A crash leaves what the last round left. `progress`
 * and `out` may be NULL. Errors: those of a drain; KL_E_CORRUPT also for a damaged large value. */
kl_status kl_db_compact(kl_db *db, kl_db_compact_progress progress, void *context, kl_db_compact_report *out,
                        kl_error *err);

typedef struct kl_db_stats {
  uint64_t commits, commits_read_only, rollbacks, conflicts,
      groups; /* groups: log batches; commits / groups = group size */
  uint64_t gets, puts, deletes, cursor_steps;
  uint64_t transactions_live, snapshots_live, views_live;
  uint64_t oldest_snapshot_age_ns;
  uint64_t visible_ts;
  uint64_t keyspaces;
  uint64_t delta_keys, delta_versions, delta_bytes;
  kl_wal_stats log; /* zeros for :memory: */
  uint64_t recovery_batches, recovery_bytes, recovery_ns;
  uint64_t memory_bytes, memory_limit;
  kl_cache_stats cache;
  kl_store_space space;
  uint64_t checkpoints, drain_failures;
  kl_drain_stats drains; /* of all: pages written and read, bytes written, parts, ns */
  uint32_t drain_threads;
  uint64_t spills, spilled_bytes;
  uint64_t throttled_ns, throttle_waits;
  bool poisoned;
} kl_db_stats;
kl_status kl_db_get_stats(kl_db *db, kl_db_stats *out, kl_error *err);

#endif
