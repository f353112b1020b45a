/* core/txn/cursor_private.h: a cursor from inside; what cursor.c and cursor_batch.c share. */
#ifndef KL_TXN_CURSOR_PRIVATE_H
#define KL_TXN_CURSOR_PRIVATE_H

#include "sources.h"

typedef enum cursor_place {
  CURSOR_FRESH,
  CURSOR_BEFORE,
  CURSOR_ON,
  CURSOR_BEHIND,
  CURSOR_LOST /* a move failed: it must be told where to go on */
} cursor_place;

struct kl_cursor {
  kl_txn *txn;             /* a reference */
  kl_cursor *next, **link; /* in the transaction's list */
  uint32_t keyspace;
  cursor_place place;
  kl_slice key; /* where it stands, when place is CURSOR_ON */
  kl_slice lower, upper;
  uint64_t changes_seen; /* of the write tree, when its source was positioned */
  kl_txn_sources sources;
  /* The merge does not stand on `key`, which is in `batch_key` then: a batch has left it elsewhere (cursor_batch.c).
   * `detached_ahead`: the tree's cursor is one row further in the direction of the batch, or at the end. */
  bool detached, detached_forward, detached_ahead;
  bool
      suspended; /* the sources are gone, since the transaction's writes have moved: they are made anew at the next use */
  size_t size;
  uint8_t batch_key[KL_MAX_KEY];
  uint8_t bounds[];
};

/* Begins each use: enters the transaction and has the sources ready. */
kl_status kl_cursor_enter(kl_cursor *cursor, kl_error *err);
/* Puts the cursor on `key` (which is not read for other places), whatever the merge and the tree's cursor do. */
void kl_cursor_detach(kl_cursor *cursor, cursor_place place, kl_slice key, bool forward);

/* Inside of the transaction: one row on, or back. As the public functions, without a message for KL_E_NOT_FOUND. */
kl_status kl_cursor_step(kl_cursor *cursor, bool forward, kl_error *err);

#endif
