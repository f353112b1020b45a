/* bench/delta/candidate.h: what a structure must do to be compared as the delta's index. */
#ifndef KL_BENCH_DELTA_CANDIDATE_H
#define KL_BENCH_DELTA_CANDIDATE_H

#include "../../core/delta/delta.h"

enum { CANDIDATE_MANY = 64 }; /* most keys of one get_many */

typedef struct candidate {
  const char *name;
  void *(*make)(void); /* NULL: no memory */
  void (*drop)(void *map);
  bool (*insert)(void *map, kl_slice key, kl_slice value, uint64_t ts);
  bool (*get)(void *map, kl_slice key, kl_slice *out_value);
  /* The same for many keys; NULL where the structure has nothing better than one after the other. Returns how many it
   * found. */
  uint64_t (*get_many)(void *map, const kl_slice *keys, size_t count, uint64_t *sum);
  /* Visits up to `limit` rows from the first key at or behind `from` (from the first key: data == NULL), or backwards
   * from the last one; touches each key and value; returns how many rows there were. */
  uint64_t (*scan)(void *map, kl_slice from, bool forward, uint64_t limit, uint64_t *sum);
  uint64_t (*bytes)(void *map);
} candidate;

extern const candidate candidate_skiplist;
extern const candidate candidate_tree;      /* core/delta as it is */
extern const candidate candidate_tree_huge; /* the same, with its memory on huge pages where the system gives them */

#endif
