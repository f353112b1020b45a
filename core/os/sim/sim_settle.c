/* core/os/sim/sim_settle.c: what a crash makes of everything that is pending.
 *
 * Independent coins for each unit explore much, but almost never the states that break programs most often: all lost,
 * all kept, a clean prefix, a late write without an early one. So a plan first picks a mode, then rolls inside of
 * it. */
#include "sim_private.h"

enum { SIM_SETTLE_TORN_OF_8 = 1 }; /* of eight units that ANY decides on, so many are torn */

/* The oldest operation that left something pending; beyond the last one when nothing is. */
static uint64_t sim_settle_oldest(const kl_sim *sim) {
  uint64_t oldest = sim->operations + 1;
  for (size_t i = 0; i < sim->node_count; i++) {
    const kl_sim_node *node = sim->nodes[i];
    for (size_t c = 0; node != NULL && c < node->pending.count; c++) {
      if (node->pending.items[c].operation < oldest) oldest = node->pending.items[c].operation;
    }
  }
  for (size_t i = 0; i < sim->names.pending_count; i++) {
    if (sim->names.pending[i].operation < oldest) oldest = sim->names.pending[i].operation;
  }
  return oldest;
}

void kl_sim_plan_init(kl_sim_plan *plan, const kl_sim *sim, uint64_t choice) {
  static const kl_sim_settle_mode modes[8] = {KL_SIM_SETTLE_LOSE,  KL_SIM_SETTLE_KEEP, KL_SIM_SETTLE_BEFORE,
                                              KL_SIM_SETTLE_AFTER, KL_SIM_SETTLE_ANY,  KL_SIM_SETTLE_ANY,
                                              KL_SIM_SETTLE_ANY,   KL_SIM_SETTLE_ANY};
  static const uint32_t keeps[4] = {1, 3, 5, 7};
  uint64_t oldest = sim_settle_oldest(sim);
  kl_rng_init(&plan->rng, kl_mix64(sim->seed ^ kl_mix64(sim->operations ^ kl_mix64(choice))));
  plan->mode = modes[kl_rng_below(&plan->rng, 8)];
  if (choice == KL_SIM_LOSE_ALL) plan->mode = KL_SIM_SETTLE_LOSE;
  if (choice == KL_SIM_KEEP_ALL) plan->mode = KL_SIM_SETTLE_KEEP;
  plan->cut = oldest + kl_rng_below(&plan->rng, sim->operations + 2 - oldest);
  plan->keep_of_8 = keeps[kl_rng_below(&plan->rng, 4)];
  plan->unit = sim->tear_bytes;
  plan->garbage = sim->garbage;
}

/* What the mode says of a change as a whole: 1 survives, 0 does not, -1 each unit for itself. */
static int sim_settle_whole(const kl_sim_plan *plan, uint64_t operation) {
  switch (plan->mode) {
    case KL_SIM_SETTLE_LOSE:
      return 0;
    case KL_SIM_SETTLE_KEEP:
      return 1;
    case KL_SIM_SETTLE_BEFORE:
      return operation == plan->cut ? -1 : operation < plan->cut;
    case KL_SIM_SETTLE_AFTER:
      return operation == plan->cut ? -1 : operation > plan->cut;
    case KL_SIM_SETTLE_ANY:
      break;
  }
  return -1;
}

/* [start, end) of the change lies in one unit; the device was about to store it when the power went. */
static bool sim_settle_torn(kl_sim_node *node, const kl_sim_change *change, uint64_t start, uint64_t end,
                            kl_sim_plan *plan) {
  const unsigned char *bytes = kl_sim_change_bytes(change);
  if (plan->garbage) {
    /* The whole unit, neighbours included, is what a device leaves that does not protect a sector it is writing. */
    uint64_t unit_start = start / plan->unit * plan->unit;
    for (uint64_t at = unit_start; at < unit_start + plan->unit; at += 64) {
      unsigned char noise[64];
      size_t size =
          plan->unit - (at - unit_start) < sizeof noise ? (size_t)(plan->unit - (at - unit_start)) : sizeof noise;
      kl_rng_fill(&plan->rng, noise, size);
      if (!kl_sim_image_write(&node->durable, at, noise, size)) return false;
    }
    return true;
  }
  uint64_t middle = start + kl_rng_below(&plan->rng, end - start + 1);
  if (kl_rng_below(&plan->rng, 2) == 0) {
    end = middle;
  } else {
    start = middle;
  }
  return kl_sim_image_write(&node->durable, start, bytes == NULL ? NULL : bytes + (start - change->offset),
                            end - start);
}

static bool sim_settle_write(kl_sim_node *node, const kl_sim_change *change, kl_sim_plan *plan) {
  const unsigned char *bytes = kl_sim_change_bytes(change);
  int whole = sim_settle_whole(plan, change->operation);
  uint64_t end = change->offset + change->size;
  if (whole == 0) return true;
  if (whole == 1) return kl_sim_image_write(&node->durable, change->offset, bytes, change->size);
  for (uint64_t at = change->offset; at < end;) {
    uint64_t next = (at / plan->unit + 1) * plan->unit < end ? (at / plan->unit + 1) * plan->unit : end;
    bool ok = true;
    if (kl_rng_below(&plan->rng, 8) < SIM_SETTLE_TORN_OF_8) {
      ok = sim_settle_torn(node, change, at, next, plan);
    } else if (kl_rng_below(&plan->rng, 8) < plan->keep_of_8) {
      ok = kl_sim_image_write(&node->durable, at, bytes == NULL ? NULL : bytes + (at - change->offset), next - at);
    }
    if (!ok) return false;
    at = next;
  }
  return true;
}

/* How many of the pending sizes survive. Sizes are metadata, which a journal keeps in order: some first ones. */
static size_t sim_settle_sizes(const kl_sim_node *node, kl_sim_plan *plan) {
  size_t total = 0, before = 0;
  for (size_t i = 0; i < node->pending.count; i++) {
    if (node->pending.items[i].kind != KL_SIM_CHANGE_RESIZE) continue;
    total++;
    if (node->pending.items[i].operation < plan->cut) before++;
  }
  if (plan->mode == KL_SIM_SETTLE_LOSE) return 0;
  if (plan->mode == KL_SIM_SETTLE_KEEP) return total;
  if (plan->mode == KL_SIM_SETTLE_BEFORE) return before;
  return (size_t)kl_rng_below(&plan->rng, total + 1);
}

bool kl_sim_settle_node(kl_sim_node *node, kl_sim_plan *plan) {
  size_t sizes = sim_settle_sizes(node, plan);
  for (size_t i = 0; i < node->pending.count; i++) {
    const kl_sim_change *change = &node->pending.items[i];
    bool ok = true;
    if (change->kind == KL_SIM_CHANGE_WRITE) {
      ok = sim_settle_write(node, change, plan);
    } else if (sizes > 0) {
      sizes--;
      ok = kl_sim_image_resize(&node->durable, change->new_size) &&
           kl_sim_image_reserve(&node->durable, change->offset, change->size);
    }
    if (!ok) return false;
  }
  kl_sim_node_forget_pending(node);
  kl_sim_image_free(&node->current);
  return kl_sim_image_cut(&node->durable) && kl_sim_image_clone(&node->durable, &node->current);
}

void kl_sim_settle_names(kl_sim_names *names, kl_sim_plan *plan) {
  for (size_t i = 0; i < names->pending_count; i++) {
    int whole = sim_settle_whole(plan, names->pending[i].operation);
    if (whole < 0) whole = kl_rng_below(&plan->rng, 8) < plan->keep_of_8;
    if (whole == 1) kl_sim_names_apply(names, &names->pending[i]);
  }
  names->pending_count = 0;
  for (size_t i = 0; i < names->count; i++) names->items[i].current = names->items[i].durable;
}
