/* tests/unit/store/test_space_faults.c: blocks and the space map through crashes, failing operations and failing
 * allocations, against the model (space_model.h). */
#include <string.h>

#include "seed.h"
#include "space_model.h"

/* Checkpoints and seals until something fails. */
static kl_status space_until_failure(model *m, size_t rounds, kl_error *err) {
  kl_status status = KL_OK;
  for (size_t round = 0; round < rounds && status == KL_OK; round++) {
    if (kl_rng_below(&m->rng, 3) == 0) model_toggle_snapshot(m);
    if (kl_rng_below(&m->rng, 4) == 0) m->log_needed = !m->log_needed;
    if (m->reserves) status = model_reserve(m, err);
    if (status != KL_OK) break;
    status = kl_rng_below(&m->rng, 5) == 0 ? model_seal(m, err)
                                           : model_checkpoint(m, (size_t)kl_rng_below(&m->rng, 30), err);
  }
  return status;
}

static void space_crash_once(model *m) {
  kl_error err = {0};
  kl_sim_set_tear_bytes(m->sim, kl_rng_below(&m->rng, 2) == 0 ? 512 : 4096);
  kl_sim_set_garbage(m->sim, kl_rng_below(&m->rng, 2) == 0);
  kl_sim_inject(m->sim, KL_SIM_FAULT_CRASH, kl_sim_operations(m->sim) + 1 + kl_rng_below(&m->rng, 150));
  if (space_until_failure(m, 200, &err) == KL_OK) fail_msg("the power was to go");
  bool again = true;
  while (again) { /* it may go while the database is opened, too */
    uint64_t choice = kl_rng_below(&m->rng, 12);
    kl_sim_restart(m->sim, choice == 10 ? KL_SIM_LOSE_ALL : choice == 11 ? KL_SIM_KEEP_ALL : kl_rng_next(&m->rng));
    again = kl_rng_below(&m->rng, 3) == 0;
    if (again) kl_sim_inject(m->sim, KL_SIM_FAULT_CRASH, kl_sim_operations(m->sim) + 1 + kl_rng_below(&m->rng, 12));
    if (again && model_try_reopen(m, &err) == KL_OK) again = false;
    if (again) assert_true(kl_sim_crashed(m->sim));
    if (!again) kl_sim_inject(m->sim, KL_SIM_FAULT_NONE, 0);
  }
  model_reopen(m);
}

/* Every other run reserves blocks, too: STORE-14. */
static void crashes_lose_nothing(void **state) {
  (void)state;
  uint64_t first = test_seed(79);
  for (uint64_t run = 0; run < 16; run++) {
    uint64_t seed = first + run;
    kl_sim *sim = NULL;
    model m;
    assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
    model_open(&m, sim, seed);
    m.surprises = true;
    m.reserves = run % 2 == 1;
    m.target_runs = 10 + 20 * (run % 5);
    for (size_t crash = 0; crash < 15; crash++) space_crash_once(&m);
    model_close(&m);
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
  }
}

/* The same few checkpoints, whatever happens: what failed is tried again, after opening anew if need be. */
static void space_fixed_workload(model *m) {
  kl_error err = {0};
  m->target_runs = 25;
  for (size_t round = 0; round < 8; round++) {
    kl_status status = m->reserves ? model_reserve(m, &err) : KL_OK;
    if (status == KL_OK) status = round == 3 ? model_seal(m, &err) : model_checkpoint(m, 12, &err);
    if (round % 2 == 0) m->log_needed = !m->log_needed;
    if (round % 3 == 0) model_toggle_snapshot(m);
    if (status != KL_OK) {
      assert_int_equal(err.code, status);
      if (status == KL_E_DISK_FULL) kl_sim_give_space(m->sim);
    } else if (round != 5) {
      continue;
    }
    if (status == KL_OK || model_checkpoint(m, 3, &err) == KL_E_POISONED) {
      while (model_try_reopen(m, &err) != KL_OK) assert_true(m->store == NULL);
      model_adopt(m);
    }
    model_check(m);
  }
}

static void space_fail_operations(uint64_t seed, bool reserves) {
  static const kl_sim_fault faults[] = {KL_SIM_FAULT_IO_ERROR, KL_SIM_FAULT_SYNC_FAILS, KL_SIM_FAULT_DISK_FULL,
                                        KL_SIM_FAULT_SHORT_READ, KL_SIM_FAULT_SHORT_WRITE};
  uint64_t last = 1;
  for (uint64_t k = 1; k <= last; k++) {
    for (size_t f = k % 3; f < sizeof faults / sizeof faults[0]; f += 3) {
      kl_sim *sim = NULL;
      model m;
      assert_int_equal(kl_sim_new(seed + k, &sim, NULL), KL_OK);
      model_open(&m, sim, seed);
      m.reserves = reserves;
      kl_sim_inject(sim, k == last && k == 1 ? KL_SIM_FAULT_NONE : faults[f], kl_sim_operations(sim) + k);
      uint64_t before = kl_sim_operations(sim);
      space_fixed_workload(&m);
      if (k == 1) last = kl_sim_operations(sim) - before;
      kl_sim_inject(sim, KL_SIM_FAULT_NONE, 0);
      kl_sim_restart(sim, k);
      model_reopen(&m);
      model_close(&m);
      kl_sim_free(sim);
    }
  }
}

static void every_operation_may_fail(void **state) {
  (void)state;
  uint64_t seed = test_seed(80);
  space_fail_operations(seed, false);
  space_fail_operations(seed, true);
}

static void space_fail_allocations(uint64_t seed, bool reserves) {
  bool struck = true;
  for (uint64_t n = 1; struck; n++) {
    kl_sim *sim = NULL;
    model m;
    assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
    model_open(&m, sim, seed);
    m.reserves = reserves;
    uint64_t before = kl_sim_allocations(sim);
    kl_sim_fail_allocation(sim, n);
    space_fixed_workload(&m);
    struck = kl_sim_allocations(sim) - before >= n;
    kl_sim_fail_allocation(sim, 0);
    model_reopen(&m);
    model_close(&m);
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
  }
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  uint64_t seed = test_seed(81);
  space_fail_allocations(seed, false);
  space_fail_allocations(seed, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(crashes_lose_nothing),
      cmocka_unit_test(every_operation_may_fail),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
