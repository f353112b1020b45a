/* core/txn/run_source.h: a run as one source of a merge: for each key what its newest part says, deletes included. Private
 * to core/txn. */
#ifndef KL_TXN_RUN_SOURCE_H
#define KL_TXN_RUN_SOURCE_H

#include "merge.h"
#include "run.h"

typedef struct kl_run_cursor {
  kl_pages_cursor *cursor;
  bool deletes; /* its keys are deleted */
} kl_run_cursor;

/* What it shows stays readable until it has moved twice. */
typedef struct kl_run_source {
  kl_source source;
  kl_allocator *allocator;
  kl_run_cursor *cursors; /* newest part first; NULL: there is no source */
  size_t count, capacity;
  kl_run_cursor *current; /* what it shows */
  bool forward; /* each cursor stands on its first key at or behind the current one; else: its last at or before */
} kl_run_source;

/* Over the parts of `keyspace`, in the trees of `roots`, both held by the caller. KL_OK with `cursors` NULL: the run says nothing
 * about the keyspace. KL_E_NO_MEMORY, and what finding roots may answer: then there is nothing to destroy. */
kl_status kl_run_source_init(kl_run_source *source, kl_allocator *allocator, const kl_run *run, kl_roots *roots,
                             uint32_t keyspace, kl_error *err);
void kl_run_source_destroy(kl_run_source *source); /* also one that was zeroed only */

#endif
