/* core/cache/policy_arc.c: ARC (N. Megiddo, D. S. Modha, "ARC: a self-tuning, low overhead replacement cache", FAST
 * 2003).
 *
 * T1 holds pages seen once, T2 pages seen again, both in LRU order; B1 and B2 are their ghosts. `target` is the paper's
 * p, the share of T1: a page that comes back while in B1 says that T1 was too small, one in B2 that T2 was.
 * Differences: room is made by kl_policy_evict when the cache needs it, not with each miss, and sizes are sums of
 * weights. */
#include "policy_private.h"

enum { ARC_T1, ARC_T2, ARC_B1, ARC_B2 };

static void arc_forget_oldest(kl_policy *policy, uint32_t list) {
  uint32_t node = policy->lists[list].oldest;
  kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
}

/* Cases II and III of the paper: adapts the target by how much the other ghost list outweighs this one. */
static void arc_adapt(kl_policy *policy, uint32_t ghost) {
  uint64_t b1 = policy->lists[ARC_B1].weight, b2 = policy->lists[ARC_B2].weight;
  if (kl_policy_at(policy, ghost)->list == ARC_B1) {
    uint64_t step = b1 >= b2 ? 1 : b2 / b1;
    policy->target = policy->target + step < policy->capacity ? policy->target + step : policy->capacity;
  } else {
    uint64_t step = b2 >= b1 ? 1 : b1 / b2;
    policy->target = policy->target > step ? policy->target - step : 0;
    policy->second_ghost = true;
  }
}

static void arc_prepare(kl_policy *policy, uint32_t ghost) {
  policy->second_ghost = false;
  if (ghost != 0) arc_adapt(policy, ghost);
}

static void arc_insert(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list != KL_POLICY_UNLISTED) {
    kl_policy_move(policy, ARC_T2, node);
  } else {
    kl_policy_push(policy, ARC_T1, node);
  }
  policy->second_ghost = false;
  /* Case IV: T1 and B1 together stay within the capacity, all four lists within twice that. */
  const kl_policy_list *l = policy->lists;
  while (l[ARC_B1].count > 0 && l[ARC_T1].weight + l[ARC_B1].weight > policy->capacity) {
    arc_forget_oldest(policy, ARC_B1);
  }
  while (l[ARC_B2].count > 0 &&
         l[ARC_T1].weight + l[ARC_T2].weight + l[ARC_B1].weight + l[ARC_B2].weight > 2 * policy->capacity) {
    arc_forget_oldest(policy, ARC_B2);
  }
}

static void arc_hit(kl_policy *policy, uint32_t node) {
  kl_policy_move(policy, ARC_T2, node);
}

/* REPLACE of the paper. */
static uint32_t arc_choose(kl_policy *policy) {
  uint64_t t1 = policy->lists[ARC_T1].weight;
  bool first = t1 > 0 && (t1 > policy->target || (policy->second_ghost && t1 == policy->target));
  uint32_t node = kl_policy_oldest(policy, first ? ARC_T1 : ARC_T2);
  return node != 0 ? node : kl_policy_oldest(policy, first ? ARC_T2 : ARC_T1);
}

static void arc_evict(kl_policy *policy, uint32_t node) {
  kl_policy_move(policy, kl_policy_at(policy, node)->list == ARC_T1 ? ARC_B1 : ARC_B2, node);
  kl_policy_ghost(policy, node);
}

static void arc_forget(kl_policy *policy) {
  const kl_policy_list *l = policy->lists;
  arc_forget_oldest(policy, l[ARC_B2].count == 0 || l[ARC_B1].weight > l[ARC_B2].weight ? ARC_B1 : ARC_B2);
}

const kl_policy_ops kl_policy_arc = {
    .name = "arc",
    .prepare = arc_prepare,
    .insert = arc_insert,
    .hit = arc_hit,
    .choose = arc_choose,
    .evict = arc_evict,
    .remove = kl_policy_unlist,
    .forget = arc_forget,
};
