/* core/cache/policy_lru_k.c: LRU-2 (E. J. O'Neil, P. E. O'Neil, G. Weikum, "The LRU-K page replacement algorithm for
 * database disk buffering", SIGMOD 1993), K = 2.
 *
 * The page whose last reference but one is oldest goes; pages with one reference go before all others, the least recent
 * first. Time is the number of references. The history of evicted pages is kept (the paper's retained information): of
 * as many units as the capacity, the first evicted forgotten first, in place of a period. The correlated reference
 * period is 0: the cache buffers hits, and an operation of the tree touches a page once.
 *
 * Pages are in a binary heap by (last but one, last); `place` is a page's index there. */
#include "../base/assert.h"
#include "policy_private.h"

enum { LRU_K_PAGES, LRU_K_HISTORY };

static bool lru_k_before(const kl_policy *policy, uint32_t a, uint32_t b) {
  const kl_policy_node *x = kl_policy_at(policy, a), *y = kl_policy_at(policy, b);
  return x->u.penultimate != y->u.penultimate ? x->u.penultimate < y->u.penultimate : x->last < y->last;
}

static void lru_k_place(kl_policy *policy, uint32_t index, uint32_t node) {
  policy->heap[index] = node;
  kl_policy_at(policy, node)->place = index;
}

/* Moves the node of a hole at `index` to where it belongs. */
static void lru_k_settle(kl_policy *policy, uint32_t index, uint32_t node) {
  while (index > 0 && lru_k_before(policy, node, policy->heap[(index - 1) / 2])) {
    lru_k_place(policy, index, policy->heap[(index - 1) / 2]);
    index = (index - 1) / 2;
  }
  for (;;) {
    uint32_t child = 2 * index + 1;
    if (child >= policy->heap_count) break;
    if (child + 1 < policy->heap_count && lru_k_before(policy, policy->heap[child + 1], policy->heap[child])) child++;
    if (!lru_k_before(policy, policy->heap[child], node)) break;
    lru_k_place(policy, index, policy->heap[child]);
    index = child;
  }
  lru_k_place(policy, index, node);
}

static bool lru_k_reserve(kl_policy *policy, uint32_t pages) {
  if (pages <= policy->heap_capacity) return true;
  uint32_t capacity = policy->heap_capacity < 512 ? 512 : policy->heap_capacity;
  while (capacity < pages) capacity += capacity / 2;
  uint32_t *grown =
      kl_realloc(policy->allocator, policy->heap, policy->heap_capacity * sizeof *grown, capacity * sizeof *grown);
  if (grown == NULL) return false;
  atomic_fetch_add_explicit(&policy->bytes, (capacity - policy->heap_capacity) * sizeof *grown, memory_order_relaxed);
  policy->heap = grown;
  policy->heap_capacity = capacity;
  return true;
}

static void lru_k_done(kl_policy *policy) {
  atomic_fetch_sub_explicit(&policy->bytes, policy->heap_capacity * sizeof *policy->heap, memory_order_relaxed);
  kl_free(policy->allocator, policy->heap, policy->heap_capacity * sizeof *policy->heap);
}

static void lru_k_refer(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  n->u.penultimate = n->last;
  n->last = ++policy->now;
}

static void lru_k_insert(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list == LRU_K_HISTORY) kl_policy_unlist(policy, node);
  kl_policy_push(policy, LRU_K_PAGES, node);
  lru_k_refer(policy, node);
  KL_ASSERT(policy->heap_count < policy->heap_capacity);
  lru_k_settle(policy, policy->heap_count++, node);
}

static void lru_k_hit(kl_policy *policy, uint32_t node) {
  lru_k_refer(policy, node);
  lru_k_settle(policy, kl_policy_at(policy, node)->place, node);
}

static uint32_t lru_k_choose(kl_policy *policy) {
  /* A held page counts as referenced; twice, and it is among the last. */
  for (uint64_t left = 2 * (uint64_t)policy->heap_count + 1; left > 0 && policy->heap_count > 0; left--) {
    if (!kl_policy_held(policy, policy->heap[0])) return policy->heap[0];
    lru_k_hit(policy, policy->heap[0]);
  }
  return 0;
}

static void lru_k_unlist(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list == LRU_K_HISTORY) {
    kl_policy_unlist(policy, node);
    return;
  }
  uint32_t index = kl_policy_at(policy, node)->place;
  uint32_t last = policy->heap[--policy->heap_count];
  if (last != node) lru_k_settle(policy, index, last);
  kl_policy_unlist(policy, node);
}

static void lru_k_forget(kl_policy *policy) {
  uint32_t node = policy->lists[LRU_K_HISTORY].oldest;
  kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
}

static void lru_k_evict(kl_policy *policy, uint32_t node) {
  lru_k_unlist(policy, node);
  kl_policy_push(policy, LRU_K_HISTORY, node);
  kl_policy_ghost(policy, node);
  while (policy->lists[LRU_K_HISTORY].weight > policy->capacity) lru_k_forget(policy);
}

const kl_policy_ops kl_policy_lru_k = {
    .name = "lru-2",
    .reserve = lru_k_reserve,
    .insert = lru_k_insert,
    .hit = lru_k_hit,
    .choose = lru_k_choose,
    .evict = lru_k_evict,
    .remove = lru_k_unlist,
    .forget = lru_k_forget,
    .done = lru_k_done,
};
