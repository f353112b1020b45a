/* core/cache/policy_lru.c: LRU. One list, the most recently used page first; the oldest goes. */
#include "policy_private.h"

enum { LRU_LIST };

static void lru_insert(kl_policy *policy, uint32_t node) {
  kl_policy_push(policy, LRU_LIST, node);
}
static void lru_hit(kl_policy *policy, uint32_t node) {
  kl_policy_move(policy, LRU_LIST, node);
}
static uint32_t lru_choose(kl_policy *policy) {
  return kl_policy_oldest(policy, LRU_LIST);
}
static void lru_evict(kl_policy *policy, uint32_t node) {
  kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
}

const kl_policy_ops kl_policy_lru = {
    .name = "lru",
    .insert = lru_insert,
    .hit = lru_hit,
    .choose = lru_choose,
    .evict = lru_evict,
    .remove = kl_policy_unlist,
};
