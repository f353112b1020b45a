/* core/db/db_private.h: an open database from inside. */
#ifndef KL_DB_DB_PRIVATE_H
#define KL_DB_DB_PRIVATE_H

#include <stdatomic.h>

#include "../txn/manager.h"
#include "../wal/wal.h"
#include "db.h"
#include "drainer.h"

enum {
  DB_PATH_MAX = 4095,    /* bytes, without the terminator */
  DB_WAL_SUFFIX_SIZE = 5 /* "-wal" and the terminator */
};

typedef enum db_state {
  DB_OPENING, /* whoever made it is busy with the files and holds `busy` */
  DB_OPEN,
  DB_CLOSING, /* likewise */
  DB_GONE     /* not in the registry any more */
} db_state;

/* Which file it is. `known` is false while a database is being created: then it may become any file. */
typedef struct db_identity {
  bool known;
  uint64_t device, inode;
} db_identity;

struct kl_db {
  kl_os *os;
  uint64_t fork_count;         /* of the process that opened it */
  _Atomic uint64_t references; /* falls to zero under the registry's lock only */
  kl_db_options options;       /* with the defaults filled in */
  char *path;                  /* for messages; NULL for :memory: */
  size_t path_size;

  kl_txn_manager *manager;
  kl_catalogue *catalogue;
  db_identity log_identity; /* of NAME-wal */
  kl_wal *wal;              /* NULL for :memory:, and for a read-only database that has none yet */
  kl_store *store;          /* of a :memory: database, one in memory */
  kl_pages *pages;
  db_drainer drainer;
  uint64_t recovery_batches, recovery_bytes, recovery_ns;

  /* The registry's. */
  kl_db *next;
  db_state state;
  db_identity identity;
  uint32_t holders; /* those that will still look at this object, waiting openers included; the last one frees it */
  kl_mutex busy;    /* held while it is being opened or closed: what waiting openers wait for */
};

/* Makes db->manager from the options; not started yet. */
kl_status kl_db_engine_new(kl_db *db, kl_error *err);

/* Over db->store, which is open: db->pages, and the trees of the newest checkpoint for db->manager. */
kl_status kl_db_engine_attach(kl_db *db, kl_error *err);
/* The store is about to be closed. */
void kl_db_engine_detach(kl_db *db);

/* Files (files.c): opens or creates NAME and NAME-wal and starts the manager. On failure everything is closed again. */
kl_status kl_db_files_open(kl_db *db, bool create, kl_error *err);
/* Drains what is left, so that one file remains; when that fails, syncs the log and leaves it. Closes. The manager has
 * been closed. */
kl_status kl_db_files_close(kl_db *db, kl_error *err);

#endif
