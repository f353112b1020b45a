/* core/db/salvage_private.h: what the two files of salvage share. salvage.c reads the old database, salvage_log.c its log;
 * both write the new one through the functions at the end. */
#ifndef KL_DB_SALVAGE_PRIVATE_H
#define KL_DB_SALVAGE_PRIVATE_H

#include "../store/superblock.h"
#include "../wal/wal.h"
#include "check_private.h"
#include "db.h"

typedef enum salvage_phase {
  SALVAGE_CATALOGUE,
  SALVAGE_TREES,
  SALVAGE_LOG,
  SALVAGE_CLOSE,
  SALVAGE_FINISHED,
  SALVAGE_FAILED
} salvage_phase;

struct kl_salvage {
  kl_os *os;
  kl_allocator *allocator;
  char *from;
  size_t from_size;
  kl_file *file; /* of the old database, with a shared lock */
  uint64_t file_bytes;
  store_superblock chosen;
  uint64_t newest; /* sequence number of the newest intact superblock */

  check_reader reader;
  check_problems problems;
  check_spaces spaces;
  kl_tree_walker *walker;
  kl_tree_item item;
  salvage_phase phase;
  size_t at;        /* in SALVAGE_TREES: the keyspace */
  bool begun;       /* its tree */
  kl_error failure; /* in SALVAGE_FAILED */

  kl_wal *wal;
  kl_wal_reader *log;
  uint64_t log_total, log_bytes; /* to be read, and read */

  kl_db *target;
  kl_txn *txn;        /* of the target; NULL: none is open */
  uint64_t txn_bytes; /* written in it */
  uint8_t *value;     /* room for a value */
  size_t value_capacity;
  uint64_t whole_most; /* bytes of the longest value that is read into it; others are copied part by part */
  kl_check_report report;
};

/* -------- salvage.c -------- */

static inline kl_status salvage_pass(kl_status status, const kl_error *cause, kl_error *err) {
  if (err != NULL) *err = *cause;
  return status;
}

/* The keyspace of the new database for one of the old; it is made under its name, or, when that is lost, under a new
 * one. */
kl_status salvage_target(kl_salvage *salvage, check_space *space, kl_error *err);
kl_status salvage_put(kl_salvage *salvage, const check_space *space, kl_slice key, kl_slice value, kl_error *err);
kl_status salvage_delete(kl_salvage *salvage, const check_space *space, kl_slice key, kl_error *err);
/* For the log: all rows of a tree go into the keyspace with the id `into`, which has a target; or all its keys are deleted there. What is
 * damaged is a problem. */
kl_status salvage_take(kl_salvage *salvage, const kl_tree_record *tree, uint32_t into, bool deletes, kl_error *err);
kl_status salvage_commit(kl_salvage *salvage, kl_error *err); /* KL_OK when there is nothing */

/* -------- salvage_log.c -------- */

/* Opens the log of the chosen checkpoint, if it needs one. What is wrong with it is a problem, and no failure. */
kl_status salvage_log_open(kl_salvage *salvage, kl_error *err);
/* Applies the next batch; *out_end: there are no more, or no more that are sound. */
kl_status salvage_log_step(kl_salvage *salvage, bool *out_end, kl_error *err);
void salvage_log_close(kl_salvage *salvage);

#endif
