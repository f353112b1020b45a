/* core/cache/policy_clock.c: CLOCK (F. J. Corbato, "A paging experiment with the Multics system", 1968).
 *
 * The clock's face is a list whose oldest end is where the hand stands: a page that was hit since the hand last passed
 * loses its mark and goes behind the hand; the first one without a mark goes. New pages come behind the hand, unmarked.
 */
#include "policy_private.h"

enum { CLOCK_LIST };

static void clock_insert(kl_policy *policy, uint32_t node) {
  kl_policy_push(policy, CLOCK_LIST, node);
}

static uint32_t clock_choose(kl_policy *policy) {
  /* Two rounds: the first may find every page marked. Hits by other threads meanwhile can mark them again, so the
   * second can fail too; then the oldest that is not held goes, marked or not. */
  for (uint32_t left = 2 * policy->lists[CLOCK_LIST].count; left > 0; left--) {
    uint32_t node = policy->lists[CLOCK_LIST].oldest;
    if (!kl_policy_held(policy, node)) {
      if (kl_policy_heat(policy, node) == 0) return node;
      kl_policy_set_heat(policy, node, 0);
    }
    kl_policy_move(policy, CLOCK_LIST, node);
  }
  return kl_policy_oldest(policy, CLOCK_LIST);
}

static void clock_evict(kl_policy *policy, uint32_t node) {
  kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
}

const kl_policy_ops kl_policy_clock = {
    .name = "clock",
    .heat_limit = 1,
    .insert = clock_insert,
    .choose = clock_choose,
    .evict = clock_evict,
    .remove = kl_policy_unlist,
};
