/* tests/unit/cache/policy_reference.h: plain simulators of the eviction policies, to compare the real ones with.
 *
 * Written from the papers' descriptions alone, over arrays that are searched from end to end: slow, and as short as
 * they can be. Pages of one size; a simulator answers for each access whether it hits. */
#ifndef KEEL_TESTS_POLICY_REFERENCE_H
#define KEEL_TESTS_POLICY_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cache/policy.h"

enum { REFERENCE_MOST = 4096 };

/* A sequence; [0] is the oldest (the first to go), [count - 1] the newest. */
typedef struct ref_list {
  int count;
  struct {
    uint64_t page;
    int mark; /* heat; LIRS: what it is */
  } at[REFERENCE_MOST];
} ref_list;

typedef struct ref_policy {
  kl_policy_kind kind;
  int capacity;
  ref_list a, b, ghost_a, ghost_b; /* what each is, the simulator says */
  int hand, p;
  uint64_t now;
  struct {
    uint64_t page, last, before;
  } history[REFERENCE_MOST]; /* LRU-2: of pages that are in `a` or `ghost_a` */
  int history_count;
} ref_policy;

void ref_init(ref_policy *r, kl_policy_kind kind, int capacity);
bool ref_access(ref_policy *r, uint64_t page); /* true: a hit */
bool ref_holds(const ref_policy *r, uint64_t page);

#endif
