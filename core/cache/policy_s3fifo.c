/* core/cache/policy_s3fifo.c: S3-FIFO (J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all you need
 * for cache eviction", SOSP 2023).
 *
 * A page comes into the small queue, a tenth of the capacity. At its end, a page that was hit more than once goes on to
 * the main queue with its heat cleared; the others go, and are remembered as ghosts; a page that comes back while it is
 * remembered enters the main queue at once. At the end of the main queue, a page with heat loses one and starts over.
 * The heat is counted up to 3. Ghosts weigh at most as much as the main queue may, nine tenths of the capacity. */
#include "policy_private.h"

enum { S3_SMALL, S3_MAIN, S3_GHOSTS };
enum { S3_HEAT_LIMIT = 3 };

static void s3_insert(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list == S3_GHOSTS) {
    kl_policy_move(policy, S3_MAIN, node);
  } else {
    kl_policy_push(policy, S3_SMALL, node);
  }
}

static uint32_t s3_choose(kl_policy *policy) {
  kl_policy_list *small = &policy->lists[S3_SMALL], *large = &policy->lists[S3_MAIN];
  /* Each step takes a page out of the small queue for good, or cools one of the main queue, or passes one that is held;
   * so without hits by other threads this many steps find a victim if there is one. */
  uint64_t steps = (uint64_t)small->count + (S3_HEAT_LIMIT + 2) * ((uint64_t)small->count + large->count);
  for (; steps > 0; steps--) {
    bool from_small = small->count > 0 && (small->weight >= policy->capacity / 10 || large->count == 0);
    uint32_t node = from_small ? small->oldest : large->oldest;
    bool held = kl_policy_held(policy, node);
    uint32_t heat = kl_policy_heat(policy, node);
    if (from_small) {
      if (!held && heat <= 1) return node;
      kl_policy_move(policy, S3_MAIN, node);
      kl_policy_set_heat(policy, node, 0);
    } else {
      if (!held && heat == 0) return node;
      kl_policy_move(policy, S3_MAIN, node);
      if (heat > 0) kl_policy_set_heat(policy, node, heat - 1);
    }
  }
  uint32_t node = kl_policy_oldest(policy, S3_SMALL);
  return node != 0 ? node : kl_policy_oldest(policy, S3_MAIN);
}

static void s3_forget(kl_policy *policy) {
  uint32_t node = policy->lists[S3_GHOSTS].oldest;
  kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
}

static void s3_evict(kl_policy *policy, uint32_t node) {
  bool remember = kl_policy_at(policy, node)->list == S3_SMALL;
  kl_policy_unlist(policy, node);
  if (!remember) {
    kl_policy_drop(policy, node);
    return;
  }
  kl_policy_push(policy, S3_GHOSTS, node);
  kl_policy_ghost(policy, node);
  while (policy->lists[S3_GHOSTS].weight > policy->capacity - policy->capacity / 10) s3_forget(policy);
}

const kl_policy_ops kl_policy_s3_fifo = {
    .name = "s3-fifo",
    .heat_limit = S3_HEAT_LIMIT,
    .insert = s3_insert,
    .choose = s3_choose,
    .evict = s3_evict,
    .remove = kl_policy_unlist,
    .forget = s3_forget,
};
