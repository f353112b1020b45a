/* core/cache/policy_sieve.c: SIEVE (Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi, "SIEVE is simpler than LRU",
 * NSDI 2024).
 *
 * One queue in order of arrival, which hits do not change. The hand moves from the oldest page to the newest: it takes
 * the mark off pages that were hit and leaves them where they are; the first one without a mark goes, and the hand
 * stays there. So newcomers meet the hand soon, and pages that proved themselves are looked at once a round. */
#include "policy_private.h"

enum { SIEVE_QUEUE };

static void sieve_insert(kl_policy *policy, uint32_t node) {
  kl_policy_push(policy, SIEVE_QUEUE, node);
}

static void sieve_unlist(kl_policy *policy, uint32_t node) {
  /* Beyond the newest page the hand starts over at the oldest, which 0 stands for. */
  if (policy->hand == node) policy->hand = kl_policy_at(policy, node)->previous;
  kl_policy_unlist(policy, node);
}

/* The first page from the hand on that may go; `marked`: also one that was hit. At most `steps` pages are looked at. */
static uint32_t sieve_search(kl_policy *policy, uint64_t steps, bool marked) {
  for (; steps > 0; steps--) {
    uint32_t node = policy->hand != 0 ? policy->hand : policy->lists[SIEVE_QUEUE].oldest;
    policy->hand = node;
    if (!kl_policy_held(policy, node)) {
      if (marked || kl_policy_heat(policy, node) == 0) return node;
      kl_policy_set_heat(policy, node, 0);
    }
    policy->hand = kl_policy_at(policy, node)->previous;
  }
  return 0;
}

static uint32_t sieve_choose(kl_policy *policy) {
  uint64_t count = policy->lists[SIEVE_QUEUE].count;
  uint32_t node = sieve_search(policy, 2 * count, false);
  /* Other threads may hit pages as fast as the marks are taken off. */
  return node != 0 ? node : sieve_search(policy, count, true);
}

static void sieve_evict(kl_policy *policy, uint32_t node) {
  sieve_unlist(policy, node);
  kl_policy_drop(policy, node);
}

const kl_policy_ops kl_policy_sieve = {
    .name = "sieve",
    .heat_limit = 1,
    .insert = sieve_insert,
    .choose = sieve_choose,
    .evict = sieve_evict,
    .remove = sieve_unlist,
};
