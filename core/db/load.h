/* core/db/load.h: bulk load: rows from outside become a new keyspace, past log and delta.
 *
 * A load takes rows in any order, fastest in the order of their keys, and builds trees from the bottom up. The keyspace is
 * there at once when it ends, whole; before that nobody sees anything of it, and a load that does not end, because of an
 * error, of kl_load_end or of a crash, leaves nothing. Other work goes on meanwhile.
 *
 * Rows are collected in a buffer. A full one is sorted, if it has to be, and written as a *run*: a tree of a keyspace
 * without a name (core/keyspace, loads). A buffer whose keys all come behind those of the last run goes on with that: so
 * sorted input makes one run, which is the keyspace when the load ends, and each row is written once. Other input makes
 * several, which are merged, most of them at the end, as in an external merge sort (Knuth, The Art of Computer Programming 3, 5.4).
 *
 * Thread rules: any thread, one at a time for each load. */
#ifndef KL_DB_LOAD_H
#define KL_DB_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"

typedef struct kl_db kl_db;
typedef struct kl_load kl_load;

typedef struct kl_load_options {
  bool replace;         /* a keyspace of that name is dropped in the moment in which the load ends */
  uint64_t buffer_size; /* bytes of rows that are collected; 0: an eighth of memory_limit, 1 to 32 MiB */
} kl_load_options;

typedef struct kl_load_report {
  uint64_t rows;  /* that were given */
  uint64_t bytes; /* of their keys and values */
  uint64_t runs;  /* that were written: 1 for sorted input */
  bool finished;
} kl_load_report;

/* The caller keeps the database open until kl_load_end. KL_E_EXISTS: there is such a keyspace, and `replace` is not set. KL_E_INVALID
 * (the name, see kl_keyspace_open; a buffer_size below 64 KiB or above 1 GiB), KL_E_READ_ONLY, KL_E_NO_MEMORY, KL_E_POISONED. */
kl_status kl_load_begin(kl_db *db, kl_slice name, const kl_load_options *options, kl_load **out_load, kl_error *err);
/* Takes a row; of several with one key the last one counts. KL_E_KEY_SIZE, KL_E_VALUE_SIZE. Writing a full buffer can
 * fail as a drain can (KL_E_DISK_FULL, KL_E_IO, KL_E_NO_MEMORY, KL_E_POISONED ...): then the row has not been taken, all
 * others are kept, and it may be tried again. (Where there are threads, one of the load writes while the caller goes on: then
 * it is a later call that fails.) KL_E_FINISHED: the load has ended. */
kl_status kl_load_put(kl_load *load, kl_slice key, kl_slice value, kl_error *err);
/* Writes what is left, merges the runs, gives the keyspace its name. Durable when it returns. On failure the load is
 * not finished, and it may be tried again. KL_E_EXISTS: somebody has made such a keyspace meanwhile. */
kl_status kl_load_finish(kl_load *load, kl_error *err);
/* Waits for what is being written. */
void kl_load_get_report(kl_load *load, kl_load_report *out_report);
/* Frees. What was not finished is dropped; if that fails, the next opening of the database does it. NULL is allowed. */
void kl_load_end(kl_load *load);

#endif
