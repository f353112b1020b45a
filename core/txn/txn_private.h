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
#include "snapshot.h"
#include "throttle.h"
#include "txn.h"
#include "write_set.h"

/* Two groups of counters, by how a transaction uses them. */
enum { TXN_COMMITS, TXN_COMMITS_READ_ONLY, TXN_ROLLBACKS, TXN_CONFLICTS, TXN_GROUPS, TXN_VIEWS, TXN_MEMORY };
enum { TXN_GETS, TXN_PUTS, TXN_DELETES, TXN_CURSOR_STEPS };

enum {
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

/* The newest version of a key that the transaction sees in memory. */
typedef struct kl_txn_recent {
  bool known;      /* there is one; otherwise the tree has the last word */
  bool deleted;    /* it is a delete */
  kl_delta *delta; /* where it lies, not referenced; NULL: among the transaction's own writes */
  kl_slice value;
} kl_txn_recent;
void kl_txn_find_recent(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_txn_recent *out);
/* The tree under the deltas, *out_pages NULL when there is none. */
kl_status kl_txn_tree(kl_txn *txn, uint32_t keyspace, kl_pages **out_pages, kl_tree_pointer *out_root, kl_error *err);
/* KL_OK: the transaction sees a value of the key. KL_E_NOT_FOUND, without a message. */
kl_status kl_txn_exists(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err);

#endif
