/* core/txn/txn_private.h: transactions and their manager from inside; what the files of core/txn share. */
#ifndef KL_TXN_TXN_PRIVATE_H
#define KL_TXN_TXN_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../base/counter.h"
#include "../drain/pages.h"
#include "../drain/roots.h"
#include "commit.h"
#include "layers.h"
#include "manager.h"
#include "run.h"
#include "snapshot.h"
#include "throttle.h"
#include "txn.h"
#include "write_set.h"

/* Two groups of counters, by how a transaction uses them. */
enum { TXN_COMMITS, TXN_COMMITS_READ_ONLY, TXN_ROLLBACKS, TXN_CONFLICTS, TXN_GROUPS, TXN_VIEWS, TXN_MEMORY, TXN_RUNS };
enum { TXN_GETS, TXN_PUTS, TXN_DELETES, TXN_CURSOR_STEPS, TXN_SPILLS, TXN_SPILLED_BYTES };

enum {
  TXN_SPILL_LEEWAY = 4,        /* times spill_size: what a transaction may hold whose writes cannot be moved */
  TXN_SPARES = 16,             /* a power of two */
  TXN_SPARE_MEMORY = 64 * 1024 /* a write set larger than this is not kept for reuse */
};

/* A finished transaction that waits for its next use, so that beginning one allocates nothing and touches no shared
 * line. It keeps its reference on the manager. NULL: empty; the manager's own address: closed for good. */
typedef struct kl_txn_spare {
  _Alignas(64) _Atomic(kl_txn *) txn;
} kl_txn_spare;

/* Chunks of deltas that are gone, for those that come: clearing them anew costs a writer a fifth of its time. */
enum { TXN_KEPT_CHUNKS = 32 };
typedef struct kl_txn_kept {
  kl_mutex mutex;
  void *chunks[TXN_KEPT_CHUNKS];
  size_t count, most; /* a delta's worth */
} kl_txn_kept;

struct kl_txn_manager {
  kl_allocator allocator; /* counts, then asks os->allocator */
  kl_os *os;
  kl_wal *wal; /* NULL: nothing is logged */
  kl_txn_manager_options options;
  _Atomic uint64_t references;
  _Atomic bool open;
  kl_snapshot_registry snapshots;
  kl_layers_book layers;
  kl_throttle throttle;
  uint64_t tree_bytes;   /* under the turn: that count against memory_limit, too */
  kl_lsn frozen_log_end; /* under the turn: the log below this is in the frozen delta or under it */
  kl_run *runs;          /* under the turn: committed ones that live snapshots can be older than; a reference on each */
  kl_counters counters, operations;
  kl_txn_spare spares[TXN_SPARES];
  kl_txn_kept kept;
  /* The newest timestamp that is committed, durable as asked and inserted, together with all before it (TXN-3). */
  _Alignas(64) _Atomic uint64_t visible_ts;
  kl_commit_pipeline pipeline;
};

typedef enum kl_txn_state { KL_TXN_ACTIVE, KL_TXN_COMMITTED, KL_TXN_ROLLED_BACK } kl_txn_state;

struct kl_txn {
  kl_txn_manager *manager; /* a reference */
  _Atomic uint32_t busy;   /* 1 while a thread is inside */
  _Atomic uint32_t references;
  kl_txn_state state;
  kl_durability durability;
  bool read_only, uncounted;
  kl_snapshot snapshot;
  kl_held held;        /* the value that the last read from a tree lent */
  kl_pages_part *part; /* of the value that was read in parts last; NULL: of none */
  kl_write_set writes;
  kl_run *run;              /* NULL, or what it has written that is not in `writes` any more: that is newer */
  kl_snapshot run_view;     /* keeps the trees of the run readable, as they were when it grew last */
  _Atomic uint32_t listing; /* 1 while a thread is at the list: a cursor may be closed while another thread is inside */
  kl_cursor *cursors;       /* that are open on it */
  uint64_t gets, puts, deletes, cursor_steps;
};

/* Entry to every operation: KL_E_CONCURRENT_USE when another thread is inside, KL_E_FINISHED after the end. */
kl_status kl_txn_enter(kl_txn *txn, kl_error *err);
static inline void kl_txn_leave(kl_txn *txn) {
  /* Release: the next thread that enters sees what this one did. */
  atomic_store_explicit(&txn->busy, 0, memory_order_release);
}

/* Drops one of the references that the caller, cursors included, hold on the object. */
void kl_txn_unref(kl_txn *txn);
/* Frees the spares and keeps none from now on. */
void kl_txn_close_spares(kl_txn_manager *manager);

/* kl_fail for the commonest answer, without the cost of formatting. `text` is shorter than KL_ERROR_MESSAGE. */
static inline kl_status kl_txn_not_found(kl_error *err, const char *text) {
  if (err != NULL) {
    err->code = KL_E_NOT_FOUND;
    err->system_errno = 0;
    memcpy(err->message, text, strlen(text) + 1);
  }
  return KL_E_NOT_FOUND;
}

/* -------- value.c -------- */

/* Does a value of this size go straight to where it stays? What would take more memory than all other writes may. */
static inline bool kl_txn_is_large(const kl_txn *txn, uint64_t size) {
  const kl_txn_manager_options *options = &txn->manager->options;
  return options->spill != NULL && (size > KL_VALUE_DIRECT || size > options->spill_size);
}
/* Inside of the transaction: puts a value that is. */
kl_status kl_txn_put_large(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice value, kl_error *err);
/* Inside of the transaction: may it write to this key? */
kl_status kl_txn_check_write(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err);

/* -------- spill.c -------- */

/* After a write: have the writes become so many that they are to move? The engine's own transactions never do: moving is what some of them
 * are for. */
static inline bool kl_txn_wants_spill(const kl_txn *txn) {
  const kl_txn_manager_options *options = &txn->manager->options;
  return options->spill != NULL && !txn->uncounted && txn->writes.arena.bytes_reserved > options->spill_size;
}
/* Moves the writes into the run. Cursors keep their places. On failure they stay where they are. */
kl_status kl_txn_spill(kl_txn *txn, kl_error *err);
/* Inside of the transaction, whose key and keyspace have been checked: puts a value that lies in reserved blocks. What was written before it
 * moves first. *out_taken, also after a failure: the extent is
 * the transaction's; otherwise it is the caller's still. There is `spill` among the manager's options. */
kl_status kl_txn_put_extent(kl_txn *txn, uint32_t keyspace, kl_slice key, const kl_tree_extent *extent, bool *out_taken,
                            kl_error *err);
/* Moves what is left and commits. */
kl_status kl_txn_commit_run(kl_txn *txn, uint64_t *out_ts, kl_error *err);
/* The transaction ends: its run is the database's, or goes. */
void kl_txn_leave_run(kl_txn *txn, bool committed);
/* Before its writes move: its cursors keep their places in memory of their own, and let go of what they read. */
void kl_cursors_suspend(kl_txn *txn);

/* The newest version of a key that the transaction sees in memory. */
typedef struct kl_txn_recent {
  bool known;      /* there is one; otherwise the tree has the last word */
  bool deleted;    /* it is a delete */
  kl_delta *delta; /* where it lies, not referenced; NULL: among the transaction's own writes */
  kl_slice value;
} kl_txn_recent;
void kl_txn_find_recent(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_txn_recent *out);
/* The same where some of it may lie in runs: what is known without a tree, or the tree whose row, if it has one, is what the transaction
 * sees; *out_pages NULL: there is none. `own` false: as if it had not written anything. */
kl_status kl_txn_find(kl_txn *txn, uint32_t keyspace, kl_slice key, bool own, kl_txn_recent *out, kl_pages **out_pages,
                      kl_tree_pointer *out_root, kl_error *err);
/* Is there a run that the transaction sees something of? */
static inline bool kl_txn_has_runs(const kl_txn *txn) {
  const kl_layers *layers = txn->snapshot.layers;
  return txn->run != NULL || (layers->run != NULL && layers->run->ts <= txn->snapshot.ts);
}
/* The tree under the deltas, *out_pages NULL when there is none. */
kl_status kl_txn_tree(kl_txn *txn, uint32_t keyspace, kl_pages **out_pages, kl_tree_pointer *out_root, kl_error *err);
/* KL_OK: the transaction sees a value of the key. KL_E_NOT_FOUND, without a message. */
kl_status kl_txn_exists(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err);

#endif
