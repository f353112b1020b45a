/* core/txn/run.h: what a transaction larger than memory has written, in trees. For core/txn, and for core/db,
 * which writes them.
 *
 * A *run* is a list of *parts*, each made when the write set had grown too large: rows in one tree, keys that are deleted in
 * another, both of keyspaces without a name (core/keyspace, loads). A newer part hides what older ones say about a key. Which
 * trees these are now is found through the roots of a checkpoint, so that they may move, be merged and become empty, as
 * checkpoints do, without the run knowing.
 *
 * Before its commit a run belongs to its transaction and grows. From the commit on it never changes, has a timestamp, and is a layer
 * for those who read (layers.h) until its rows are in the trees of their keyspaces.
 *
 * Thread rules: the transaction's before the commit; any thread afterwards. */
#ifndef KL_TXN_RUN_H
#define KL_TXN_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/slice.h"
#include "../base/status.h"
#include "../drain/drain.h"
#include "../drain/roots.h"
#include "txn.h"

typedef struct kl_run_part {
  uint32_t keyspace; /* that is written to */
  kl_drain_part trees;
  uint64_t bytes; /* of keys and values, as far as they were put here */
  bool open;      /* rows behind `last` may be added */
  uint16_t last_size;
  uint8_t last[KL_MAX_KEY]; /* its greatest key */
} kl_run_part;

/* What lies between the least and the greatest key that are written to a keyspace. */
typedef struct kl_run_range {
  uint32_t keyspace;
  uint16_t low_size, high_size;
  uint8_t low[KL_MAX_KEY], high[KL_MAX_KEY];
} kl_run_range;

typedef struct kl_run {
  _Atomic uint32_t references;
  kl_allocator *allocator;
  struct kl_run *next; /* in the manager's list of those that commits are compared with */
  uint64_t ts;         /* 0 before the commit */
  kl_lsn log_end;      /* the log below this holds its record */
  kl_run_part *parts;  /* oldest first */
  size_t part_count, part_capacity;
  kl_run_range *ranges; /* ascending keyspaces */
  size_t range_count, range_capacity;
  uint32_t *ids; /* all keyspaces that were made for it, also those that are empty again */
  size_t id_count, id_capacity;
  uint32_t *free_ids; /* of them: empty, for the next part */
  size_t free_count, free_capacity;
} kl_run;

/* One reference. KL_E_NO_MEMORY. */
kl_status kl_run_new(kl_allocator *allocator, kl_run **out, kl_error *err);
void kl_run_ref(kl_run *run);
void kl_run_unref(kl_run *run); /* NULL is allowed */

/* Before the commit; KL_E_NO_MEMORY leaves the run as it was. */
kl_status kl_run_reserve_part(kl_run *run, kl_error *err);  /* room for one more part */
void kl_run_add_part(kl_run *run, const kl_run_part *part); /* within that */
void kl_run_remove_part(kl_run *run, size_t index);
kl_status kl_run_add_id(kl_run *run, uint32_t id, kl_error *err);
/* There is room for all ids: kl_run_add_id sees to it. */
void kl_run_put_free(kl_run *run, uint32_t id);
uint32_t kl_run_take_free(kl_run *run); /* 0: there is none */
/* `low` and `high` are written to. */
kl_status kl_run_widen(kl_run *run, uint32_t keyspace, kl_slice low, kl_slice high, kl_error *err);

/* Is the keyspace written to? */
bool kl_run_has(const kl_run *run, uint32_t keyspace);
/* Could the key be: does it lie in the keyspace's range? */
bool kl_run_covers(const kl_run *run, uint32_t keyspace, kl_slice key);
/* Is the keyspace one of those that were made for it? */
bool kl_run_owns(const kl_run *run, uint32_t id);

/* Looks for the newest part that says something about the key, in the trees of `roots`. KL_OK: *out_deleted, or the tree whose
 * row counts; KL_E_NOT_FOUND, without a message: none does. What reading trees may answer. */
kl_status kl_run_find(const kl_run *run, kl_roots *roots, uint32_t keyspace, kl_slice key, bool *out_deleted,
                      kl_tree_pointer *out_root, kl_error *err);

#endif
