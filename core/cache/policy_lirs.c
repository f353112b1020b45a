/* core/cache/policy_lirs.c: LIRS (S. Jiang, X. Zhang, "LIRS: an efficient low inter-reference recency set replacement
 * policy", SIGMETRICS 2002).
 *
 * Pages with a small distance between their last two references (LIR) are kept, 99 parts of 100 of the capacity; the
 * rest (HIR) pass through the small queue Q. The stack S has, most recent first, all LIR pages and those HIR pages,
 * also ghosts, that were referenced more recently than the LIR page at its bottom; one of them that is referenced again
 * has proved a smaller distance than that page, and they change places. Difference: ghosts weigh at most twice the
 * capacity; beyond it the one that was evicted first is forgotten (the paper leaves the stack unbounded).
 *
 * Where a page is: `list` is S or none; the second pair of links is Q for a resident HIR page, and the order of
 * eviction for a ghost (lirs_chain). */
#include "../base/assert.h"
#include "policy_private.h"

enum { LIRS_STACK };
enum { LIRS_LOW = 1, LIRS_HIGH, LIRS_GHOST }; /* state: LIR, resident HIR, ghost */
enum { LIRS_Q = 1, LIRS_GHOSTS };             /* lists that are linked by the second pair */
enum { LIRS_LOWS = 3 };                       /* its weight only: that of all LIR pages */

static uint32_t lirs_chain_of(const kl_policy_node *node) {
  return node->state == LIRS_HIGH ? LIRS_Q : LIRS_GHOSTS;
}

static void lirs_chain_push(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  kl_policy_list *l = &policy->lists[lirs_chain_of(n)];
  n->u.queue.previous = 0;
  n->u.queue.next = l->newest;
  if (l->newest != 0) kl_policy_at(policy, l->newest)->u.queue.previous = node;
  l->newest = node;
  if (l->oldest == 0) l->oldest = node;
  l->count++;
  l->weight += n->weight;
}

static void lirs_chain_unlist(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  kl_policy_list *l = &policy->lists[lirs_chain_of(n)];
  uint32_t previous = n->u.queue.previous, next = n->u.queue.next;
  if (previous != 0) {
    kl_policy_at(policy, previous)->u.queue.next = next;
  } else {
    l->newest = next;
  }
  if (next != 0) {
    kl_policy_at(policy, next)->u.queue.previous = previous;
  } else {
    l->oldest = previous;
  }
  l->count--;
  l->weight -= n->weight;
}

static uint64_t lirs_low_limit(const kl_policy *policy) {
  uint64_t high = policy->capacity / 100;
  return policy->capacity - (high > 0 ? high : 1);
}

/* The bottom of the stack is always a LIR page: what lies below it says nothing any more. */
static void lirs_prune(kl_policy *policy) {
  for (;;) {
    uint32_t bottom = policy->lists[LIRS_STACK].oldest;
    if (bottom == 0 || kl_policy_at(policy, bottom)->state == LIRS_LOW) return;
    kl_policy_unlist(policy, bottom);
    if (kl_policy_at(policy, bottom)->state != LIRS_GHOST) continue;
    lirs_chain_unlist(policy, bottom);
    kl_policy_drop(policy, bottom);
  }
}

static void lirs_make_low(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  n->state = LIRS_LOW;
  policy->lists[LIRS_LOWS].weight += n->weight;
}

/* LIR pages at the bottom become HIR until the others fit; `spare` never does. */
static void lirs_fit(kl_policy *policy, uint32_t spare) {
  kl_policy_list *lows = &policy->lists[LIRS_LOWS];
  while (lows->weight > lirs_low_limit(policy)) {
    uint32_t bottom = policy->lists[LIRS_STACK].oldest;
    if (bottom == spare) return;
    kl_policy_node *n = kl_policy_at(policy, bottom);
    lows->weight -= n->weight;
    kl_policy_unlist(policy, bottom);
    n->state = LIRS_HIGH;
    lirs_chain_push(policy, bottom);
    lirs_prune(policy);
  }
}

static void lirs_insert(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  if (n->state == LIRS_GHOST) {
    lirs_chain_unlist(policy, node);
    kl_policy_move(policy, LIRS_STACK, node);
    lirs_make_low(policy, node);
    lirs_fit(policy, node);
    return;
  }
  kl_policy_push(policy, LIRS_STACK, node);
  if (policy->lists[LIRS_LOWS].weight + n->weight <= lirs_low_limit(policy)) {
    lirs_make_low(policy, node);
  } else {
    n->state = LIRS_HIGH;
    lirs_chain_push(policy, node);
    lirs_prune(policy); /* a stack of one HIR page, when there is no LIR page at all */
  }
}

static void lirs_hit(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  bool stacked = n->list == LIRS_STACK;
  if (stacked) kl_policy_unlist(policy, node);
  kl_policy_push(policy, LIRS_STACK, node);
  if (n->state == LIRS_HIGH) {
    lirs_chain_unlist(policy, node);
    if (stacked) {
      lirs_make_low(policy, node);
      lirs_fit(policy, node);
    } else {
      lirs_chain_push(policy, node);
    }
  }
  lirs_prune(policy);
}

static uint32_t lirs_choose(kl_policy *policy) {
  for (uint32_t left = policy->lists[LIRS_Q].count; left > 0; left--) {
    uint32_t node = policy->lists[LIRS_Q].oldest;
    if (!kl_policy_held(policy, node)) return node;
    lirs_chain_unlist(policy, node);
    lirs_chain_push(policy, node);
  }
  /* No HIR page, or all held: the LIR page that was longest not referenced. */
  uint32_t node = policy->lists[LIRS_STACK].oldest;
  while (node != 0) {
    const kl_policy_node *n = kl_policy_at(policy, node);
    if (n->state == LIRS_LOW && !kl_policy_held(policy, node)) return node;
    node = n->previous;
  }
  return 0;
}

/* Takes a page out of everything but the stack. */
static void lirs_detach(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  if (n->state == LIRS_LOW) {
    policy->lists[LIRS_LOWS].weight -= n->weight;
  } else {
    lirs_chain_unlist(policy, node);
  }
}

static void lirs_forget(kl_policy *policy) {
  uint32_t node = policy->lists[LIRS_GHOSTS].oldest;
  lirs_chain_unlist(policy, node);
  kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
}

static void lirs_evict(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  bool remember = n->state == LIRS_HIGH && n->list == LIRS_STACK;
  lirs_detach(policy, node);
  if (remember) {
    n->state = LIRS_GHOST;
    lirs_chain_push(policy, node);
    kl_policy_ghost(policy, node);
    while (policy->lists[LIRS_GHOSTS].weight > 2 * policy->capacity) lirs_forget(policy);
    return;
  }
  if (n->list == LIRS_STACK) kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
  lirs_prune(policy);
}

static void lirs_remove(kl_policy *policy, uint32_t node) {
  lirs_detach(policy, node);
  if (kl_policy_at(policy, node)->list == LIRS_STACK) kl_policy_unlist(policy, node);
  lirs_prune(policy);
}

const kl_policy_ops kl_policy_lirs = {
    .name = "lirs",
    .insert = lirs_insert,
    .hit = lirs_hit,
    .choose = lirs_choose,
    .evict = lirs_evict,
    .remove = lirs_remove,
    .forget = lirs_forget,
};
