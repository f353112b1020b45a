/* core/cache/policy_2q.c: 2Q, full version (T. Johnson, D. Shasha, "2Q: a low overhead high performance buffer
 * management replacement algorithm", VLDB 1994).
 *
 * A page comes into A1in, a queue; hits there are taken for one visit and change nothing. What leaves A1in is
 * remembered in A1out (ghosts); a page that comes back while it is remembered goes to Am, an LRU list. Kin is a quarter
 * of the capacity, Kout a half, as the paper advises. */
#include "policy_private.h"

enum { TWO_Q_IN, TWO_Q_MAIN, TWO_Q_OUT };

static void two_q_insert(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list == TWO_Q_OUT) {
    kl_policy_move(policy, TWO_Q_MAIN, node);
  } else {
    kl_policy_push(policy, TWO_Q_IN, node);
  }
}

static void two_q_hit(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list == TWO_Q_MAIN) kl_policy_move(policy, TWO_Q_MAIN, node);
}

static uint32_t two_q_choose(kl_policy *policy) {
  bool in_first = policy->lists[TWO_Q_IN].weight > policy->capacity / 4 || policy->lists[TWO_Q_MAIN].count == 0;
  uint32_t node = kl_policy_oldest(policy, in_first ? TWO_Q_IN : TWO_Q_MAIN);
  return node != 0 ? node : kl_policy_oldest(policy, in_first ? TWO_Q_MAIN : TWO_Q_IN);
}

static void two_q_forget(kl_policy *policy) {
  uint32_t node = policy->lists[TWO_Q_OUT].oldest;
  kl_policy_unlist(policy, node);
  kl_policy_drop(policy, node);
}

static void two_q_evict(kl_policy *policy, uint32_t node) {
  bool remember = kl_policy_at(policy, node)->list == TWO_Q_IN;
  kl_policy_unlist(policy, node);
  if (!remember) {
    kl_policy_drop(policy, node);
    return;
  }
  kl_policy_push(policy, TWO_Q_OUT, node);
  kl_policy_ghost(policy, node);
  while (policy->lists[TWO_Q_OUT].weight > policy->capacity / 2) two_q_forget(policy);
}

const kl_policy_ops kl_policy_2q = {
    .name = "2q",
    .insert = two_q_insert,
    .hit = two_q_hit,
    .choose = two_q_choose,
    .evict = two_q_evict,
    .remove = kl_policy_unlist,
    .forget = two_q_forget,
};
