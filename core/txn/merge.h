/* core/txn/merge.h: several ordered sources of versions, read as one.
 *
 * A source is anything that can stand on a key and step either way: the transaction's own writes, the delta as of a
 * snapshot, later frozen deltas and the tree. Each key comes at most once from a source. The merge shows each key
 * once, with the version of the first source that has it (newest first), and skips keys whose version is a delete.
 *
 * Keys and values that a source shows stay readable as long as what the source reads from is held, also after the
 * source has moved on; those of sources that read trees only until they have moved twice. Thread rules: one thread at a time. */
#ifndef KL_TXN_MERGE_H
#define KL_TXN_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"
#include "../delta/delta.h"
#include "write_set.h"

typedef struct kl_source kl_source;

/* Each sets the source's `valid`, and key, kind and value with it. Failing is for sources that read files. */
typedef struct kl_source_ops {
  kl_status (*first)(kl_source *source, kl_error *err);
  kl_status (*last)(kl_source *source, kl_error *err);
  kl_status (*seek_ge)(kl_source *source, kl_slice key, kl_error *err); /* first key >= */
  kl_status (*seek_le)(kl_source *source, kl_slice key, kl_error *err); /* last key <= */
  kl_status (*next)(kl_source *source, kl_error *err);                  /* valid before */
  kl_status (*prev)(kl_source *source, kl_error *err);
  /* Valid: the value, where `value` may have no bytes yet because it is large. NULL: `value` always has them. */
  kl_status (*value)(kl_source *source, kl_slice *out_value, kl_error *err);
} kl_source_ops;

struct kl_source {
  const kl_source_ops *ops;
  bool valid; /* stands on a key */
  kl_version_kind kind;
  kl_slice key, value;
};

static inline kl_status kl_source_value(kl_source *source, kl_slice *out_value, kl_error *err) {
  *out_value = source->value;
  return source->ops->value != NULL ? source->ops->value(source, out_value, err) : KL_OK;
}

/* The transaction's writes to one keyspace. Positions are lost when the transaction writes: reposition by key. */
typedef struct kl_write_source {
  kl_source source;
  const kl_write_set *set;
  uint32_t keyspace;
  kl_write_position position;
} kl_write_source;
void kl_write_source_init(kl_write_source *source, const kl_write_set *set, uint32_t keyspace);

/* A delta as of a timestamp; the caller holds a reference on it. */
typedef struct kl_delta_source {
  kl_source source;
  kl_delta_cursor cursor;
} kl_delta_source;
void kl_delta_source_init(kl_delta_source *source, kl_delta *delta, uint32_t keyspace, uint64_t read_ts);

enum { KL_MERGE_SOURCES = 6 };

typedef struct kl_merge {
  kl_source *sources[KL_MERGE_SOURCES]; /* newest first */
  uint32_t count;
  bool forward; /* every source stands on its first key at or behind the current one; else: on its last at or before */
  kl_source *current; /* what the merge stands on; NULL: nothing */
} kl_merge;

static inline void kl_merge_init(kl_merge *merge) {
  merge->count = 0;
  merge->forward = false;
  merge->current = NULL;
}
static inline void kl_merge_add(kl_merge *merge, kl_source *source) { /* newest first, at most KL_MERGE_SOURCES */
  merge->sources[merge->count++] = source;
}

/* After each, `current` is NULL when there is no such key. */
kl_status kl_merge_first(kl_merge *merge, kl_error *err);
kl_status kl_merge_last(kl_merge *merge, kl_error *err);
kl_status kl_merge_seek_ge(kl_merge *merge, kl_slice key, kl_error *err);
kl_status kl_merge_seek_le(kl_merge *merge, kl_slice key, kl_error *err);
/* Moves away from `key`, where the merge stands or stood: its `current` may have become a delete, or a source may
 * have been repositioned to it. */
kl_status kl_merge_next(kl_merge *merge, kl_slice key, kl_error *err);
kl_status kl_merge_prev(kl_merge *merge, kl_slice key, kl_error *err);
/* Makes the merge stand on `key` again, where it stood once, also when the key's version is a delete now. */
kl_status kl_merge_return(kl_merge *merge, bool forward, kl_slice key, kl_error *err);
/* Positions one source anew, after what it reads from has changed, while the merge stands on `key`; `current` becomes
 * the source whose version of `key` counts, which may be a delete now. */
kl_status kl_merge_refresh(kl_merge *merge, kl_source *source, kl_slice key, kl_error *err);

#endif
