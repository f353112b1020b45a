/* core/db/db.c: opening and closing. See db.h; the files are in files.c, the registry in registry.c. */
#include "db_private.h"

#include <string.h>

#include "registry.h"
#include "spill.h"

#define DB_GROUP_INTERVAL_NS ((uint64_t)10 * 1000 * 1000)

/* Without options, of memory_limit: a delta is a thirty-second part, within these bounds, and at most a quarter. Larger deltas make drains
 * rarer, and each of them touches pages once for more rows. */
#define DB_DELTA_SHARE 32
#define DB_DELTA_MIN ((uint64_t)4 << 20)
#define DB_DELTA_MAX ((uint64_t)256 << 20)
#define DB_DRAIN_THREADS_MOST 4          /* without an option */
#define DB_CACHE_MAX ((uint64_t)1 << 42) /* more than any machine has; four times that is address space */

static const char db_memory_path[] = ":memory:";

static kl_status db_check_options(const char *path, const kl_db_options *options, kl_error *err) {
  if (options->durability > KL_DURABILITY_NONE) {
    return kl_fail(err, KL_E_INVALID, "unknown durability %d", (int)options->durability);
  }
  if (options->drain_threads > KL_DRAIN_LANES_MOST) {
    return kl_fail(err, KL_E_INVALID, "drain_threads of %u; at most %d are possible", (unsigned)options->drain_threads,
                   KL_DRAIN_LANES_MOST);
  }
  if (options->no_create && options->must_create) {
    return kl_fail(err, KL_E_INVALID, "no_create and must_create exclude each other");
  }
  if (options->read_only && options->must_create) {
    return kl_fail(err, KL_E_INVALID, "read_only and must_create exclude each other");
  }
  size_t size = strlen(path);
  if (size == 0) return kl_fail(err, KL_E_INVALID, "the path is empty; \":memory:\" names a database without files");
  if (size > DB_PATH_MAX) {
    return kl_fail(err, KL_E_INVALID, "the path has %zu bytes; at most %d are possible", size, DB_PATH_MAX);
  }
  return KL_OK;
}

static uint64_t db_clamp(uint64_t value, uint64_t least, uint64_t most) {
  return value < least ? least : value > most ? most : value;
}

static uint64_t db_clamp_cache(uint64_t size) {
  return db_clamp(size, KL_CACHE_LIMIT_MIN, DB_CACHE_MAX);
}

/* Half of the processors are left to those who write and read. */
static uint32_t db_default_threads(kl_os *os) {
  return (uint32_t)db_clamp(kl_os_processors(os) / 2, 1, DB_DRAIN_THREADS_MOST);
}

static void db_default_sizes(kl_db_options *options, uint64_t physical) {
  if (options->memory_limit == 0) options->memory_limit = physical / 2;
  uint64_t share = options->memory_limit == 0 ? DB_DELTA_MAX : options->memory_limit / DB_DELTA_SHARE;
  uint64_t quarter = options->memory_limit / 4;
  share = db_clamp(share, DB_DELTA_MIN, DB_DELTA_MAX);
  if (options->memory_limit != 0 && share > quarter) share = quarter + 1; /* several fit; 0 would mean: no drain */
  if (options->delta_size == 0) options->delta_size = share;
  options->cache_size = db_clamp_cache(options->cache_size != 0 ? options->cache_size : physical / 4);
}

/* The path as it is used: a relative one is made absolute, so that NAME-wal is found at close wherever the process has
 * gone meanwhile. One that would become too long stays as it is. */
static char *db_absolute_path(kl_os *os, const char *path, size_t *out_size) {
  char folder[DB_PATH_MAX + 1] = "";
  bool relative = path[0] != '/' && strcmp(path, db_memory_path) != 0;
  if (!relative || !kl_os_working_directory(os, folder, sizeof folder) || strlen(folder) + strlen(path) > DB_PATH_MAX) {
    folder[0] = '\0';
  }
  size_t prefix = strlen(folder), size = strlen(path) + 1;
  char *absolute = kl_alloc(os->allocator, prefix + size);
  if (absolute == NULL) return NULL;
  memcpy(absolute, folder, prefix);
  memcpy(absolute + prefix, path, size);
  *out_size = prefix + size;
  return absolute;
}

/* An object without an engine: `busy` held, one reference, one holder. */
static kl_status db_new(kl_os *os, const char *path, const kl_db_options *options, kl_db **out, kl_error *err) {
  kl_db *db = kl_alloc(os->allocator, sizeof *db);
  if (db == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open a database");
  db->os = os;
  db->path = db_absolute_path(os, path, &db->path_size);
  kl_status status = db->path == NULL ? kl_fail(err, KL_E_NO_MEMORY, "no memory to open a database") : KL_OK;
  if (status == KL_OK) status = kl_mutex_init(&db->busy, err);
  if (status == KL_OK) {
    status = kl_db_drainer_init(db, err);
    if (status != KL_OK) kl_mutex_destroy(&db->busy);
  }
  if (status != KL_OK) {
    kl_free(os->allocator, db->path, db->path_size);
    kl_free(os->allocator, db, sizeof *db);
    return status;
  }
  db->fork_count = kl_fork_count();
  atomic_init(&db->references, 1);
  db->holders = 1;
  db->options = *options;
  if (db->options.durability == KL_DURABILITY_DEFAULT) db->options.durability = KL_DURABILITY_FULL;
  if (db->options.group_interval_ns == 0) db->options.group_interval_ns = DB_GROUP_INTERVAL_NS;
  db_default_sizes(&db->options, kl_os_physical_memory(os));
  if (db->options.drain_threads == 0) db->options.drain_threads = db_default_threads(os);
  kl_mutex_lock(&db->busy);
  *out = db;
  return KL_OK;
}

static kl_status db_open_memory(kl_db *db, kl_error *err) {
  kl_status status = kl_db_engine_new(db, err);
  if (status != KL_OK) return status;
  uint32_t page_size = db->options.page_size != 0 ? db->options.page_size : KL_PAGE_SIZE_DEFAULT;
  db->options.drain_threads =
      1; /* where nothing is written to a file there is less to gain than to split and to join */
  status = kl_store_new_memory(db->os, page_size, &db->store, err);
  if (status == KL_OK) status = kl_db_engine_attach(db, err);
  if (status == KL_OK) {
    kl_txn_manager_start(db->manager, NULL, 0);
    status = kl_catalogue_new(db->manager, kl_txn_manager_allocator(db->manager), &db->catalogue, err);
    if (status != KL_OK) kl_txn_manager_close(db->manager);
  }
  if (status != KL_OK) {
    kl_db_engine_detach(db);
    kl_store_close(db->store);
    kl_txn_manager_unref(db->manager);
  }
  return status;
}

kl_status kl_db_engine_attach(kl_db *db, kl_error *err) {
  kl_pages_options options = {.os = db->os,
                              .allocator = kl_txn_manager_allocator(db->manager),
                              .store = db->store,
                              .cache_limit = db->options.cache_size};
  kl_status status = kl_pages_new(&options, &db->pages, err);
  if (status != KL_OK) {
    db->pages = NULL;
    return status;
  }
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  const kl_store_pointer *root = &checkpoint.catalogue;
  kl_tree_pointer catalogue = {
      .address = root->address, .length = root->length, .checksum = root->checksum, .birth = root->birth};
  kl_roots *roots;
  status = kl_roots_open(db->pages, &catalogue, checkpoint.sequence, checkpoint.ts, &roots, err);
  if (status != KL_OK) return status;
  status = kl_txn_manager_set_roots(db->manager, roots, err);
  kl_roots_unref(roots);
  return status;
}

void kl_db_engine_detach(kl_db *db) {
  kl_drain_crew_free(db->drainer.crew);
  db->drainer.crew = NULL;
  if (db->pages == NULL) return;
  kl_roots_unref(db->drainer.made);
  db->drainer.made = NULL;
  kl_pages_detach(db->pages);
  kl_pages_unref(db->pages);
  db->pages = NULL;
}

kl_status kl_db_engine_new(kl_db *db, kl_error *err) {
  kl_txn_manager_options options = {.read_only = db->options.read_only,
                                    .durability = db->options.durability,
                                    .group_interval_ns = db->options.group_interval_ns,
                                    .memory_limit = db->options.memory_limit,
                                    .delta_size = db->options.read_only ? 0 : db->options.delta_size,
                                    .drain_wanted = kl_db_drain_wanted,
                                    .drain_context = db,
                                    .spill_size = kl_db_spill_size(db)};
  if (!db->options.read_only && db->path != NULL && strcmp(db->path, db_memory_path) != 0) {
    options.spill = &kl_db_spill_ops; /* a database in memory has no other place for them */
  }
  return kl_txn_manager_new(db->os, &options, &db->manager, err);
}

/* A second opening of an open database: what it asks for must be what is there. Creation parameters are not compared:
 * they do not apply to a database that exists. */
static kl_status db_check_compatible(const kl_db *db, const kl_db_options *asked, kl_error *err) {
  const char *which = NULL;
  if (asked->must_create) return kl_fail(err, KL_E_EXISTS, "%s exists and is open in this process", db->path);
  if (asked->read_only != db->options.read_only) which = "read_only";
  if (asked->durability != KL_DURABILITY_DEFAULT && asked->durability != db->options.durability) which = "durability";
  if (asked->group_interval_ns != 0 && asked->group_interval_ns != db->options.group_interval_ns) {
    which = "group_interval";
  }
  if (asked->memory_limit != 0 && asked->memory_limit != db->options.memory_limit) which = "memory_limit";
  if (asked->cache_size != 0 && db_clamp_cache(asked->cache_size) != db->options.cache_size) which = "cache_size";
  if (asked->delta_size != 0 && asked->delta_size != db->options.delta_size) which = "delta_size";
  if (asked->drain_threads != 0 && asked->drain_threads != db->options.drain_threads) which = "drain_threads";
  if (which == NULL) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s is open in this process with another %s; ask for the same, or close it first",
                 db->path, which);
}

/* What the path names now. An empty file counts as none: creation replaces it. */
static kl_status db_identify(kl_os *os, const char *path, db_identity *out, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_os_stat(os, path, &info, err);
  if (status != KL_OK) return status;
  if (info.kind == KL_FILE_DIRECTORY) return kl_fail(err, KL_E_NOT_A_FILE, "%s is a directory", path);
  if (info.kind == KL_FILE_OTHER) return kl_fail(err, KL_E_NOT_A_FILE, "%s is not a regular file", path);
  out->known = info.kind == KL_FILE_REGULAR && info.size != 0;
  out->device = info.device;
  out->inode = info.inode;
  return KL_OK;
}

/* Opens the files of `db`, which has been registered, and tells the registry how it ended. */
static kl_status db_open_registered(kl_db *db, bool create, kl_error *err) {
  kl_status status = kl_db_files_open(db, create, err);
  db_identity identity;
  if (status == KL_OK) {
    status = db_identify(db->os, db->path, &identity, err);
    if (status == KL_OK && !identity.known)
      status = kl_fail(err, KL_E_IO, "%s was removed while it was opened", db->path);
    if (status != KL_OK) {
      kl_catalogue_free(db->catalogue);
      kl_txn_manager_close(db->manager);
      kl_db_drainer_stop(db);
      (void)kl_db_files_close(db, NULL); /* the first error is the one to tell */
      kl_txn_manager_unref(db->manager);
    }
  }
  if (status == KL_OK) {
    kl_db_registry_opened(db, &identity);
  } else {
    kl_db_registry_remove(db);
  }
  return status;
}

kl_status kl_db_open(kl_os *os, const char *path, const kl_db_options *options, kl_db **out_db, kl_error *err) {
  static const kl_db_options db_default_options;
  if (options == NULL) options = &db_default_options;
  kl_status status = db_check_options(path, options, err);
  if (status != KL_OK) return status;
  kl_db *db = NULL, *found = NULL;
  status = db_new(os, path, options, &db, err);
  if (status != KL_OK) return status;
  if (strcmp(path, db_memory_path) == 0) {
    status = db_open_memory(db, err);
    if (status != KL_OK) {
      kl_db_registry_remove(db);
      return status;
    }
    db->state = DB_OPEN;
    kl_mutex_unlock(&db->busy);
    *out_db = db;
    return KL_OK;
  }
  db_identity identity;
  bool again = true;
  while (status == KL_OK && again) {
    status = db_identify(os, db->path, &identity, err);
    if (status == KL_OK) kl_db_registry_claim(db, &identity, &found, &again);
  }
  if (status != KL_OK || found != NULL) {
    kl_db_registry_remove(db); /* was not registered: just freed */
    if (status != KL_OK) return status;
    status = db_check_compatible(found, options, err);
    if (status != KL_OK) {
      (void)kl_db_release(found, NULL);
      return status;
    }
    *out_db = found;
    return KL_OK;
  }
  status = db_open_registered(db, !identity.known, err);
  if (status == KL_OK) *out_db = db;
  return status;
}

void kl_db_ref(kl_db *db) {
  atomic_fetch_add_explicit(&db->references, 1, memory_order_relaxed);
}

static kl_status db_check_fork(const kl_db *db, kl_error *err) {
  if (db->fork_count == kl_fork_count()) return KL_OK;
  return kl_fail(err, KL_E_FORKED,
                 "the database was opened before this process was forked and belongs to the parent; open it anew");
}

kl_status kl_db_release(kl_db *db, kl_error *err) {
  if (db == NULL) return KL_OK;
  kl_status status = db_check_fork(db, err);
  if (status != KL_OK) return status;
  if (!kl_db_registry_release(db)) return KL_OK;
  kl_catalogue_free(db->catalogue);
  kl_txn_manager_close(db->manager);
  kl_db_drainer_stop(db);
  status = kl_db_files_close(db, err);
  kl_txn_manager_unref(db->manager);
  kl_db_registry_remove(db);
  return status;
}

kl_status kl_db_check(kl_db *db, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  return status == KL_OK ? kl_txn_manager_check(db->manager, err) : status;
}

kl_txn_manager *kl_db_txn_manager(kl_db *db) {
  return db->manager;
}
kl_catalogue *kl_db_catalogue(kl_db *db) {
  return db->catalogue;
}
kl_allocator *kl_db_allocator(kl_db *db) {
  return kl_txn_manager_allocator(db->manager);
}

kl_status kl_db_flush(kl_db *db, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  return status == KL_OK ? kl_txn_manager_flush(db->manager, err) : status;
}

kl_status kl_db_make_checkpoint(kl_db *db, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  if (status == KL_OK && db->options.read_only) {
    status = kl_fail(err, KL_E_READ_ONLY, "the database is open read-only; open it for writing to make a checkpoint");
  }
  return status == KL_OK ? kl_db_drain(db, false, err) : status;
}

kl_status kl_db_set_cache_size(kl_db *db, uint64_t bytes, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  return status == KL_OK ? kl_pages_set_limit(db->pages, db_clamp_cache(bytes), err) : status;
}

kl_status kl_db_last_checkpoint(kl_db *db, kl_checkpoint *out, kl_error *err) {
  kl_status status = db_check_fork(db, err);
  if (status != KL_OK) return status;
  memset(out, 0, sizeof *out);
  if (!kl_store_is_memory(db->store)) kl_store_checkpoint(db->store, out);
  return KL_OK;
}
