/* core/txn/layers.h: what a snapshot reads, layer over layer: the delta that commits go to, a run that was
 * committed, the frozen delta that is being drained, the trees of the newest checkpoint. Private to core/txn.
 *
 * Layers are made once and never changed; a freeze and the end of a drain put others in their place. A snapshot reads
 * those that were current when it began, for as long as it lives (TXN-10): they are kept alive by its slot in the
 * registry, not by a count, so that beginning touches no line that others write. Layers that are current no more are
 * *retired*, and freed when no slot names them.
 *
 * Deltas are numbered: the active delta of these layers is number `serial`, the frozen one, if any, the one before.
 *
 * Thread rules: changing the current layers needs the commit turn. Everything else as it says. */
#ifndef KL_TXN_LAYERS_H
#define KL_TXN_LAYERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../delta/delta.h"
#include "../drain/roots.h"
#include "../os/thread.h"
#include "run.h"
#include "snapshot.h"

struct kl_layers {
  kl_layers *next;  /* in the list of the retired */
  kl_delta *active; /* newest; a reference on each */
  kl_run *run;      /* NULL: none. Newer than `frozen`, older than all that is in `active` */
  kl_delta *frozen; /* NULL: none. Nothing is inserted into it any more once its last commit is visible */
  kl_roots *roots;  /* NULL: there are no trees */
  uint64_t serial;
};

enum { KL_LAYERS_HISTORY = 4 };

/* A delta that has been drained, and that commits are still compared with. */
typedef struct kl_layers_past {
  kl_delta *delta; /* a reference */
  uint64_t serial;
  uint64_t last_ts; /* of what is in it */
} kl_layers_past;

typedef struct kl_layers_book {
  kl_allocator *allocator;
  kl_snapshot_registry *snapshots;
  _Atomic(kl_layers *) current;
  _Atomic uint64_t serial; /* of the current ones: for those who may not look into them */

  kl_mutex retired_mutex; /* guards the list; taken under the turn or alone */
  kl_layers *retired;

  /* Under the turn. */
  kl_layers_past history[KL_LAYERS_HISTORY]; /* oldest first */
  uint32_t history_count;
  uint64_t frozen_last_ts;
} kl_layers_book;

/* The first layers: one empty delta over `roots`, which may be NULL. */
kl_status kl_layers_init(kl_layers_book *book, kl_allocator *allocator, kl_snapshot_registry *snapshots, kl_error *err);
void kl_layers_destroy(kl_layers_book *book); /* no snapshot is live */

/* The current layers. For whoever holds the turn, or has not started or has closed the manager. */
static inline kl_layers *kl_layers_current(kl_layers_book *book) {
  return atomic_load_explicit(&book->current, memory_order_acquire);
}

/* Puts a reference on `roots` under the current delta, in place of those there are. Under the turn, or before start. */
kl_status kl_layers_set_roots(kl_layers_book *book, kl_roots *roots, kl_error *err);
/* Under the turn: the active delta, whose newest timestamp is `last_ts`, becomes the frozen one (there is none), and
 * `fresh` the active one; the book takes over the caller's reference when it succeeds. */
kl_status kl_layers_freeze(kl_layers_book *book, kl_delta *fresh, uint64_t last_ts, kl_error *err);
/* What a run needs to become a layer, made before its commit is logged, as nothing may fail afterwards. */
typedef struct kl_layers_push {
  kl_layers *fresh;
  bool freezes; /* the active delta has something in it, which is older than the run: it becomes the frozen one */
} kl_layers_push;
/* Under the turn: there is neither a run nor a frozen delta. A reference is taken on the run. KL_E_NO_MEMORY. */
kl_status kl_layers_prepare_run(kl_layers_book *book, kl_run *run, kl_layers_push *out, kl_error *err);
/* Under the turn still; `last_ts`: of what is in the delta that is frozen, if one is. Cannot fail. */
void kl_layers_push_run(kl_layers_book *book, const kl_layers_push *push, uint64_t last_ts);
void kl_layers_cancel_push(kl_layers_book *book, kl_layers_push *push); /* it was not pushed */
/* Under the turn: all rows of the run are in `roots` (a reference is taken), and it goes. KL_E_NO_MEMORY. */
kl_status kl_layers_pop_run(kl_layers_book *book, kl_roots *roots, kl_error *err);

/* Under the turn: what was frozen is in `roots` (a reference is taken). Keeps the delta in the history if a live
 * snapshot is older than its end. */
kl_status kl_layers_drained(kl_layers_book *book, kl_roots *roots, kl_error *err);

/* Frees retired layers that no snapshot reads any more. Any thread, without the turn or with it. */
void kl_layers_collect(kl_layers_book *book);

/* Writes the sequence numbers of the checkpoints whose trees a snapshot can read, now or from now on, into `out`, as far
 * as `capacity` goes; returns how many there are. Under the turn. */
size_t kl_layers_live_roots(kl_layers_book *book, uint64_t *out, size_t capacity);

/* Of the active and the frozen delta together. Under the turn. */
void kl_layers_delta_stats(kl_layers_book *book, kl_delta_stats *out);

/* When the key was last written, as far as the deltas tell that are newer than those of `seen`, and its active one.
 * False: one of those deltas is gone (the snapshot is too old for what is remembered). Under the turn. */
bool kl_layers_newest_ts(kl_layers_book *book, const kl_layers *seen, uint32_t keyspace, kl_slice key,
                         uint64_t *out_ts);

#endif
