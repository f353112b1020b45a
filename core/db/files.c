/* core/db/files.c: NAME and NAME-wal: creation, recovery, closing. The argument why a crash at any point is survived:
 * core/db/README.md.
 *
 * Creation: NAME, durable, with a checkpoint that needs no log; NAME-wal, durable; a checkpoint that needs the log.
 * Only after that can anything be committed. Closing goes back: all is drained, a checkpoint that needs no log, NAME-wal
 * removed. So a NAME whose checkpoint needs no log holds everything, and a NAME-wal beside it is what a crash left of a
 * creation or of a close. */
#include <inttypes.h>
#include <string.h>

#include "../drain/replay.h"
#include "../txn/run.h"
#include "db_private.h"
#include "spill.h"

enum { DB_OWNER_TEXT = 128 };

static kl_status db_files_wal_path(const kl_db *db, char **out_path, size_t *out_size, kl_error *err) {
  *out_size = db->path_size + DB_WAL_SUFFIX_SIZE - 1;
  *out_path = kl_alloc(db->os->allocator, *out_size);
  if (*out_path == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open '%s'", db->path);
  memcpy(*out_path, db->path, db->path_size - 1);
  memcpy(*out_path + db->path_size - 1, "-wal", DB_WAL_SUFFIX_SIZE);
  return KL_OK;
}

/* KL_E_LOCKED says who holds the lock, as far as the log tells. */
static kl_status db_files_name_holder(const kl_db *db, const char *wal_path, kl_error *err) {
  char owner[DB_OWNER_TEXT];
  if (err == NULL || kl_wal_read_owner(db->os, wal_path, owner, sizeof owner) != KL_OK) return KL_E_LOCKED;
  return kl_fail(err, KL_E_LOCKED, "'%s' is open in %s; close it there, or open it here when that has ended", db->path,
                 owner);
}

static void db_files_wal_options(const kl_db *db, kl_wal_options *out) {
  memset(out, 0, sizeof *out);
  memcpy(out->database_id, kl_store_id(db->store), sizeof out->database_id);
  out->segment_size = db->options.log_segment_size;
  out->file_mode = db->options.file_mode;
  out->read_only = db->options.read_only;
  out->prewrite = db->options.durability != KL_DURABILITY_NONE;
}

/* A database that needs no log (a new one, or one that was closed) gets one: a left-over one goes first. */
static kl_status db_files_make_log(kl_db *db, const char *wal_path, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_store_confirm(db->store, err);
  if (status == KL_OK) status = kl_os_stat(db->os, wal_path, &info, err);
  if (status == KL_OK && info.kind != KL_FILE_ABSENT) {
    if (info.kind != KL_FILE_REGULAR) return kl_fail(err, KL_E_NOT_A_FILE, "'%s' is not a regular file", wal_path);
    status = kl_os_remove(db->os, wal_path, err);
  }
  if (status != KL_OK) return status;
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  kl_wal_options options;
  db_files_wal_options(db, &options);
  options.start_lsn = checkpoint.log_lsn;
  status = kl_wal_create(db->os, wal_path, &options, &db->wal, err);
  if (status != KL_OK) return status;
  kl_wal_stats stats;
  kl_wal_get_stats(db->wal, &stats);
  checkpoint.log_lsn = stats.start_lsn;
  checkpoint.known_durable = stats.start_lsn;
  checkpoint.log_needed = true;
  return kl_store_publish(db->store, &checkpoint, err);
}

static kl_status db_files_recover(kl_db *db, const char *wal_path, const kl_checkpoint *checkpoint, uint64_t *out_ts,
                                  kl_error *err) {
  kl_wal_options options;
  db_files_wal_options(db, &options);
  kl_status status = kl_wal_open(db->os, wal_path, &options, &db->wal, err);
  if (status == KL_E_NO_FILE) {
    return kl_fail(
        err, KL_E_CORRUPT,
        "the log '%s' is missing, and it holds what was committed: put it back beside the database (and open a "
        "database by its own name, not through a link)",
        wal_path);
  }
  if (status != KL_OK) return status;
  uint64_t start = kl_os_monotonic_ns(db->os);
  kl_replay_stats stats;
  kl_db_spill_replay runs = {.db = db};
  const kl_replay_target target = {.delta = kl_txn_manager_delta(db->manager),
                                   .context = &runs,
                                   .run_op = kl_db_spill_replay_op,
                                   .run_end = kl_db_spill_replay_end};
  status = kl_replay(db->wal, &target, checkpoint->log_lsn, checkpoint->known_durable, &stats, err);
  kl_run_unref(runs.run); /* of a record that could not be read to its end */
  /* All that can be refused has been read; from here on it is written (DB-2). */
  if (status == KL_OK) status = kl_store_confirm(db->store, err);
  if (status == KL_OK) status = kl_wal_recover_end(db->wal, stats.end_lsn, err);
  if (status != KL_OK) return status;
  db->recovery_batches = stats.batches;
  db->recovery_bytes = stats.bytes;
  db->recovery_ns = kl_os_monotonic_ns(db->os) - start;
  *out_ts = stats.highest_ts;
  if (db->options.read_only) return KL_OK;
  return kl_wal_release(db->wal, kl_store_log_release_point(db->store), err);
}

/* A creation has failed before its checkpoint needed the log: NAME goes again, unless its log might come to stand
 * there alone, after a crash now (DB-3, DB-4). The lock is ours. */
static void db_files_uncreate(kl_db *db, const char *wal_path) {
  kl_file_info info;
  if (kl_os_stat(db->os, wal_path, &info, NULL) != KL_OK || info.kind != KL_FILE_ABSENT) return;
  if (kl_os_sync_directory(db->os, wal_path, NULL) != KL_OK) return;
  (void)kl_os_remove(db->os, db->path, NULL); /* if that fails, there is an empty database */
}

/* Of a transaction that committed: its run is being merged, or will be. */
static bool db_files_keep(void *context, uint32_t keyspace) {
  kl_db *db = context;
  const kl_run *run = kl_txn_manager_run(db->manager);
  return run != NULL && kl_run_owns(run, keyspace);
}

/* The store is open: makes or reads the log and starts the engine. `created`: just now. */
static kl_status db_files_start(kl_db *db, bool created, const char *wal_path, kl_error *err) {
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  uint64_t last_ts = 0;
  kl_status status = kl_db_engine_new(db, err);
  if (status != KL_OK) {
    if (created) db_files_uncreate(db, wal_path);
    return status;
  }
  status = kl_db_engine_attach(db, err);
  if (status != KL_OK) {
    if (created) db_files_uncreate(db, wal_path);
    kl_db_engine_detach(db);
    kl_txn_manager_unref(db->manager);
    db->manager = NULL;
    return status;
  }
  if (checkpoint.log_needed) {
    status = db_files_recover(db, wal_path, &checkpoint, &last_ts, err);
  } else if (!db->options.read_only) {
    status = db_files_make_log(db, wal_path, err);
  }
  if (status == KL_OK && db->wal != NULL) {
    kl_file_info info;
    status = kl_os_stat(db->os, wal_path, &info, err); /* which file it is that goes at close */
    db->log_identity = (db_identity){true, info.device, info.inode};
  }
  if (status == KL_OK) {
    kl_txn_manager_start(db->manager, db->wal, last_ts > checkpoint.ts ? last_ts : checkpoint.ts);
    status = kl_catalogue_new(db->manager, kl_txn_manager_allocator(db->manager), &db->catalogue, err);
  }
  /* What a crashed load has left takes space and nothing else: if it cannot be dropped now, the next opening does. */
  uint64_t swept;
  if (status == KL_OK && !db->options.read_only) {
    (void)kl_keyspace_load_sweep(db->catalogue, db_files_keep, db, &swept, NULL);
  }
  /* Advisory: a database whose holder cannot be named is as good. */
  if (status == KL_OK && !db->options.read_only) (void)kl_wal_write_owner(db->wal, NULL);
  if (status != KL_OK) {
    if (created && db->wal == NULL) db_files_uncreate(db, wal_path);
    kl_txn_manager_close(db->manager);
    kl_db_engine_detach(db);
    kl_wal_close(db->wal);
    db->wal = NULL;
    kl_txn_manager_unref(db->manager);
    db->manager = NULL;
  }
  if (status == KL_OK && !db->options.read_only && kl_txn_manager_run(db->manager) != NULL) kl_db_drain_wanted(db);
  return status;
}

/* NAME is absent (or empty). A log without its database is somebody's data, or somebody else's file. */
static kl_status db_files_create_store(kl_db *db, const char *wal_path, kl_error *err) {
  if (db->options.no_create || db->options.read_only) {
    return kl_fail(err, KL_E_NO_FILE, "there is no database '%s', and creating it was not asked for", db->path);
  }
  kl_file_info info;
  kl_status status = kl_os_stat(db->os, wal_path, &info, err);
  if (status != KL_OK) return status;
  if (info.kind != KL_FILE_ABSENT) {
    kl_file_info again; /* somebody else may have created both since we looked */
    status = kl_os_stat(db->os, db->path, &again, err);
    if (status != KL_OK) return status;
    if (again.kind == KL_FILE_REGULAR && again.size != 0) return KL_E_EXISTS;
    return kl_fail(err, KL_E_CORRUPT,
                   "'%s' is missing, but '%s' is there and may hold its data: put the database back, or move that file "
                   "away to begin a new one",
                   db->path, wal_path);
  }
  kl_store_options options = {.page_size = db->options.page_size, .file_mode = db->options.file_mode};
  return kl_store_create(db->os, db->path, &options, &db->store, err);
}

static kl_status db_files_open_store(kl_db *db, bool create, const char *wal_path, bool *out_created, kl_error *err) {
  kl_status status = KL_E_EXISTS;
  if (create) status = db_files_create_store(db, wal_path, err);
  *out_created = create && status == KL_OK;
  if (status != KL_E_EXISTS) return status == KL_E_LOCKED ? db_files_name_holder(db, wal_path, err) : status;
  if (db->options.must_create) return kl_fail(err, KL_E_EXISTS, "'%s' exists already", db->path);
  kl_store_options options = {.read_only = db->options.read_only, .unconfirmed = true};
  status = kl_store_open(db->os, db->path, &options, &db->store, err);
  return status == KL_E_LOCKED ? db_files_name_holder(db, wal_path, err) : status;
}

kl_status kl_db_files_open(kl_db *db, bool create, kl_error *err) {
  char *wal_path;
  size_t wal_path_size;
  kl_status status = db_files_wal_path(db, &wal_path, &wal_path_size, err);
  if (status != KL_OK) return status;
  bool created;
  status = db_files_open_store(db, create, wal_path, &created, err);
  if (status == KL_OK) {
    status = db_files_start(db, created, wal_path, err);
    if (status != KL_OK) {
      kl_store_close(db->store);
      db->store = NULL;
    }
  }
  kl_free(db->os->allocator, wal_path, wal_path_size);
  return status;
}

/* Everything in the log is durable: NAME says so, so that a log which loses its end while the database is closed is
 * told from one that ended there. Advisory: nothing is lost when it cannot be written. */
static void db_files_seal(kl_db *db, kl_lsn durable) {
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  if (checkpoint.known_durable >= durable) return;
  checkpoint.known_durable = durable;
  (void)kl_store_publish(db->store, &checkpoint, NULL);
}

/* NAME holds everything and says so: NAME-wal goes. When that fails, it is what a crash would have left (DB-1, DB-14). */
static void db_files_remove_log(kl_db *db) {
  char *wal_path;
  size_t wal_path_size;
  kl_file_info info;
  if (db_files_wal_path(db, &wal_path, &wal_path_size, NULL) != KL_OK) return;
  if (kl_os_stat(db->os, wal_path, &info, NULL) == KL_OK && info.kind == KL_FILE_REGULAR &&
      info.device == db->log_identity.device && info.inode == db->log_identity.inode &&
      kl_os_remove(db->os, wal_path, NULL) == KL_OK) {
    (void)kl_os_sync_directory(db->os, wal_path, NULL);
  }
  kl_free(db->os->allocator, wal_path, wal_path_size);
}

kl_status kl_db_files_close(kl_db *db, kl_error *err) {
  kl_status status = KL_OK;
  bool remove = false;
  if (db->wal != NULL && !db->options.read_only) {
    /* Also what was committed with durability `none`: closing in order loses nothing. A log that is poisoned can
     * promise nothing any more, and has said so to those who were waiting. */
    kl_wal_stats stats;
    kl_wal_get_stats(db->wal, &stats);
    if (stats.tail_lsn != stats.durable_lsn) status = kl_wal_sync(db->wal, stats.tail_lsn, err);
    bool sound = status == KL_OK && !stats.poisoned && kl_txn_manager_check(db->manager, NULL) == KL_OK;
    /* A drain that fails (a full disk, say) leaves it all in the log, where it is as safe. */
    remove = sound && kl_db_drain(db, true, NULL) == KL_OK;
    if (sound && !remove) db_files_seal(db, stats.tail_lsn);
  }
  kl_db_engine_detach(db);
  kl_wal_close(db->wal);
  if (remove) db_files_remove_log(db);
  kl_store_close(db->store);
  db->wal = NULL;
  db->store = NULL;
  return status;
}
