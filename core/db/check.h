/* core/db/check.h: is the database sound, and what can be saved of one that is not. Reached through db.h.
 *
 * Both work in steps: the caller asks for some bytes of work at a time, reads the report, which also says how far it has
 * come, and ends it when he likes. So progress and cancelling need no callback and no thread. Both read the file itself,
 * past the cache.
 *
 * Verification (verify.c) looks at one checkpoint: every page and value that it reaches is read, and compared with
 * checksum, order, key range and counts; no block is reached twice; and the space map has as used exactly what is
 * reached. It runs beside readers, writers and drains, and holds a snapshot for its time, so that nothing that it looks
 * at is used again. What is committed behind the checkpoint lies in the log, which opening has read and checked.
 *
 * Salvage (salvage.c) copies what is sound into a new database, row by row, also out of a file that cannot be opened.
 * It never writes to the old one.
 *
 * Thread rules: one thread at a time for each object. */
#ifndef KL_DB_CHECK_H
#define KL_DB_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "../os/os.h"

typedef struct kl_db kl_db;

enum {
  KL_CHECK_PROBLEMS = 32, /* as many are kept as text; all are counted */
  KL_CHECK_TEXT = 768     /* bytes of such a text, with its terminator */
};

typedef struct kl_check_report {
  bool finished;
  uint64_t problems;                /* 0 when it is finished: all is sound; everything was copied */
  uint64_t done_bytes, total_bytes; /* total is an estimate before it is finished, and never below done */
  uint64_t checkpoint;              /* sequence number of the checkpoint that is looked at */
  uint64_t keyspaces;
  uint64_t pages, extents; /* that are sound */
  uint64_t rows;           /* of keyspaces: of sound leaves; copied by a salvage */
  uint64_t value_bytes;    /* in sound extents */
  uint64_t lost_pages, lost_extents;
  uint64_t lost_rows;       /* below damaged pages as their parents count them, and with damaged extents */
  uint64_t unreached_bytes; /* verification: in use by the space map, and reached by nothing */
  uint64_t log_commits;     /* salvage: applied from the log */
} kl_check_report;

/* -------- verification -------- */

typedef struct kl_verify kl_verify;

/* Reads the ring and the space map, and begins a snapshot. `db` outlives it. Memory: two bits for each block of the
 * file, some hundred bytes for each keyspace. KL_E_FORKED, KL_E_CLOSED, KL_E_NO_MEMORY; KL_E_IO when the ring cannot be
 * read. What is damaged is a problem in the report, and no failure. */
kl_status kl_verify_begin(kl_db *db, kl_verify **out_verify, kl_error *err);
/* Goes on for about `bytes` read, at least one page or a part of a value; nothing when it is finished. KL_E_NO_MEMORY:
 * try again. */
kl_status kl_verify_step(kl_verify *verify, uint64_t bytes, kl_error *err);
void kl_verify_report(const kl_verify *verify, kl_check_report *out_report);
/* Number `index` of the problems found, counted from 0, one line; NULL: it was not kept. Valid until the end. */
const char *kl_verify_problem(const kl_verify *verify, uint64_t index);
void kl_verify_end(kl_verify *verify); /* at any time; NULL is allowed */

/* -------- salvage -------- */

typedef struct kl_salvage kl_salvage;

/* Opens what is left of the database at `from`, under a shared lock, and makes a new one at `to`. Of the checkpoints
 * that the superblocks still name, it takes the newest whose catalogue can be read and whose inner pages tell that at
 * most a tenth of its rows is lost, or, if there is none, the one with the most rows below what can be read; then the
 * log behind it, as far as it is sound.
 * KL_E_NO_FILE, KL_E_NOT_A_FILE, KL_E_LOCKED (also when it is open in this process), KL_E_FORMAT (no superblock, and
 * nothing that was one), KL_E_CORRUPT (no superblock is intact), KL_E_VERSION; KL_E_EXISTS and the other failures of
 * creating `to`; KL_E_NO_MEMORY. */
kl_status kl_salvage_begin(kl_os *os, const char *from, const char *to, kl_salvage **out_salvage, kl_error *err);
/* Goes on for about `bytes`. Finished means that the new database is complete, on stable storage and closed. A failure
 * to write there ends it: it is not finished, and the next step gives the same failure. */
kl_status kl_salvage_step(kl_salvage *salvage, uint64_t bytes, kl_error *err);
void kl_salvage_report(const kl_salvage *salvage, kl_check_report *out_report);
const char *kl_salvage_problem(const kl_salvage *salvage, uint64_t index);
/* At any time; NULL is allowed. Before it is finished: what has been copied stays in the new database. */
void kl_salvage_end(kl_salvage *salvage);

#endif
