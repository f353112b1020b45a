/* core/txn/sources.h: everything that a transaction sees of one keyspace, as one merge. Private to core/txn.
 *
 * Newest first: its own writes, its own run, the active delta, a committed run, the frozen delta, the tree; but for the first and
 * the third only where there are such.
 * Thread rules: those of the transaction. */
#ifndef KL_TXN_SOURCES_H
#define KL_TXN_SOURCES_H

#include "merge.h"
#include "run_source.h"
#include "txn_private.h"

/* A tree. What it shows stays readable until it has moved twice. */
typedef struct kl_tree_source_of_rows {
  kl_source source;
  kl_pages_cursor *cursor;
} kl_tree_source_of_rows;

typedef struct kl_txn_sources {
  kl_merge merge;
  kl_write_source own;
  kl_delta_source active, frozen;
  kl_run_source own_run, run;  /* cursors NULL: there is none */
  kl_tree_source_of_rows tree; /* cursor NULL: the keyspace has none */
} kl_txn_sources;

/* Positioned nowhere. Does not move in memory afterwards. What reading the root may answer; KL_E_NO_MEMORY. */
kl_status kl_txn_sources_init(kl_txn_sources *sources, kl_txn *txn, uint32_t keyspace, kl_error *err);
void kl_txn_sources_destroy(kl_txn_sources *sources);

#endif
