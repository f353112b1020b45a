/* tests/unit/store/test_space.c: blocks, the space map and reclamation, against a plain model (space_model.h). */
#include <stdlib.h>
#include <string.h>

#include "seed.h"
#include "space_model.h"

static void space_or_fail(kl_status status, const kl_error *err, uint64_t seed) {
  if (status != KL_OK) fail_msg("seed %llu: %d: %s", (unsigned long long)seed, status, err->message);
}

/* Random checkpoints, aborted ones, seals, snapshots; `reopen`: and the store closed and opened. */
static void space_churn(model *m, size_t rounds, size_t changes) {
  kl_error err = {0};
  for (size_t round = 0; round < rounds; round++) {
    uint64_t dice = kl_rng_below(&m->rng, 20);
    if (dice < 14) {
      space_or_fail(model_checkpoint(m, (size_t)kl_rng_below(&m->rng, changes), &err), &err, m->seed);
    } else if (dice < 16) {
      space_or_fail(model_begin(m, &err), &err, m->seed);
      for (size_t i = 0; i < changes / 2; i++) space_or_fail(model_change(m, &err), &err, m->seed);
      model_check(m);
      model_abort(m);
    } else if (dice < 17) {
      m->log_needed = kl_rng_below(&m->rng, 2) == 0;
      space_or_fail(model_seal(m, &err), &err, m->seed);
    } else if (dice < 18 && m->sim != NULL) {
      model_reopen(m, false);
    }
    if (kl_rng_below(&m->rng, 3) == 0) model_toggle_snapshot(m);
    if (kl_rng_below(&m->rng, 8) == 0) m->log_needed = !m->log_needed;
    model_check(m);
  }
}

static void blocks_hold_what_versions_need(void **state) {
  (void)state;
  for (uint64_t run = 0; run < 6; run++) {
    uint64_t seed = test_seed(77) + run;
    kl_sim *sim = NULL;
    model m;
    assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
    model_open(&m, sim, seed);
    m.target_runs = run % 2 == 0 ? 60 : 300;
    space_churn(&m, 80, run % 3 == 0 ? 10 : 200);
    model_close(&m);
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
  }
}

static void memory_stores_do_the_same(void **state) {
  (void)state;
  for (uint64_t run = 0; run < 3; run++) {
    uint64_t seed = test_seed(78) + run;
    model m;
    model_open(&m, NULL, seed);
    assert_true(kl_store_is_memory(m.store));
    space_churn(&m, 80, 100);
    model_close(&m);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_hold_what_versions_need),
      cmocka_unit_test(memory_stores_do_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
