/* tests/unit/store/test_space.c: blocks, the space map and reclamation, against a plain model (space_model.h). */
#include <stdlib.h>
#include <string.h>

#include "seed.h"
#include "space_model.h"

static void space_or_fail(kl_status status, const kl_error *err, uint64_t seed) {
  if (status != KL_OK) fail_msg("seed %llu: %d: %s", (unsigned long long)seed, status, err->message);
}

/* Random checkpoints, aborted ones, seals, snapshots, reopening. */
static void space_churn(model *m, size_t rounds, size_t changes) {
  kl_error err = {0};
  m->surprises = true;
  for (size_t round = 0; round < rounds; round++) {
    uint64_t dice = kl_rng_below(&m->rng, 20);
    if (m->reserves) space_or_fail(model_reserve(m, &err), &err, m->seed);
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
      model_reopen(m);
    }
    if (kl_rng_below(&m->rng, 3) == 0) model_toggle_snapshot(m);
    if (kl_rng_below(&m->rng, 8) == 0) m->log_needed = !m->log_needed;
    model_check(m);
  }
}

static void blocks_hold_what_versions_need(void **state) {
  (void)state;
  uint64_t first = test_seed(77);
  for (uint64_t run = 0; run < 6; run++) {
    uint64_t seed = first + run;
    kl_sim *sim = NULL;
    model m;
    assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
    model_open(&m, sim, seed);
    m.target_runs = run % 2 == 0 ? 60 : 300;
    m.reserves = run >= 3;
    space_churn(&m, 60, run % 3 == 0 ? 10 : 200);
    model_close(&m);
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
  }
}

static void memory_stores_do_the_same(void **state) {
  (void)state;
  uint64_t first = test_seed(78);
  for (uint64_t run = 0; run < 3; run++) {
    uint64_t seed = first + run;
    model m;
    model_open(&m, NULL, seed);
    assert_true(kl_store_is_memory(m.store));
    m.reserves = run > 0;
    space_churn(&m, 50, 100);
    model_close(&m);
  }
}

/* Runs longer than a chunk of the map, and a root above chunks. */
static void files_of_many_chunks(void **state) {
  (void)state;
  uint64_t first = test_seed(82);
  for (uint64_t run = 0; run < 6; run++) {
    uint64_t seed = first + run;
    kl_sim *sim = NULL;
    model m;
    if (run > 1) assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
    model_open(&m, sim, seed);
    m.written_sparsely = true;
    m.most_blocks = 45000;
    m.target_runs = 25;
    m.reserves = run % 2 == 1;
    space_churn(&m, 40, 12);
    model_close(&m);
    kl_sim_free(sim);
  }
}

/* -------- sizes -------- */

static kl_store_space space_numbers(model *m) {
  kl_store_space space;
  kl_store_get_space(m->store, &space);
  return space;
}

/* Frees every run, and lets the limbo go. */
static void space_empty(model *m) {
  kl_error err = {0};
  space_or_fail(model_begin(m, &err), &err, m->seed);
  while (m->work->run_count > 0) {
    const model_run run = m->work->runs[--m->work->run_count];
    space_or_fail(kl_store_free(m->store, run.address, run.bytes, run.birth, &err), &err, m->seed);
  }
  space_or_fail(model_publish(m, &err), &err, m->seed);
  /* What died is given back after the next one; and the one after that moves to the front what was written behind it.
   */
  for (size_t i = 0; i < 4; i++) space_or_fail(model_checkpoint(m, 1, &err), &err, m->seed);
  model_check(m);
}

static void memory_is_given_back(void **state) {
  (void)state;
  model m;
  model_open(&m, NULL, test_seed(83));
  kl_error err = {0};
  m.target_runs = 1000;
  m.most_blocks = 200;
  for (size_t i = 0; i < 4; i++) space_or_fail(model_checkpoint(&m, 400, &err), &err, m.seed);
  kl_store_space full = space_numbers(&m);
  assert_true(full.file_bytes > (8 << 20));
  space_empty(&m);
  kl_store_space empty = space_numbers(&m);
  assert_true(empty.file_bytes <= (4 << 20));
  const model_run run = m.newest->run_count > 0 ? m.newest->runs[0] : (model_run){0};
  if (run.bytes != 0) {
    assert_non_null(kl_store_memory(m.store, run.address, (size_t)run.bytes));
    assert_null(kl_store_memory(m.store, run.address, SIZE_MAX));
  }
  assert_null(kl_store_memory(m.store, 0, 1));
  model_close(&m);
}

static uint64_t space_file_size(kl_sim *sim) {
  kl_file_info info;
  assert_int_equal(kl_os_stat(kl_sim_os(sim), MODEL_PATH, &info, NULL), KL_OK);
  return info.size;
}

static void files_grow_and_shrink(void **state) {
  (void)state;
  kl_sim *sim = NULL;
  model m;
  kl_error err = {0};
  assert_int_equal(kl_sim_new(1, &sim, NULL), KL_OK);
  model_open(&m, sim, test_seed(84));
  m.target_runs = 1000;
  m.most_blocks = 200;
  for (size_t i = 0; i < 4; i++) space_or_fail(model_checkpoint(&m, 400, &err), &err, m.seed);
  kl_store_space full = space_numbers(&m);
  assert_true(full.file_bytes > (8 << 20));
  assert_int_equal(space_file_size(sim), full.file_bytes);
  model_reopen(&m); /* closed, it ends with its last block */
  assert_int_equal(space_file_size(sim), space_numbers(&m).blocks_end);
  space_empty(&m);
  assert_true(space_file_size(sim) <= (3 << 20));
  model_reopen(&m);
  assert_true(space_file_size(sim) < (1 << 20));
  model_close(&m);
  kl_sim_free(sim);
}

/* STORE-8: however long it goes on, a snapshot costs one image. */
static void old_snapshots_hold_one_image_each(void **state) {
  (void)state;
  enum { RUNS = 400, SNAPSHOTS = 3 };
  kl_sim *sim = NULL;
  model m;
  kl_error err = {0};
  assert_int_equal(kl_sim_new(2, &sim, NULL), KL_OK);
  model_open(&m, sim, test_seed(85));
  m.target_runs = RUNS;
  m.most_blocks = 1;
  for (size_t round = 0; round < 150; round++) {
    if (round == 20 || round == 25 || round == 60) m.newest->live = true;
    space_or_fail(model_checkpoint(&m, 60, &err), &err, m.seed);
  }
  model_check(&m);
  kl_store_space space = space_numbers(&m);
  /* An image is at most 2 * RUNS runs of up to 5 blocks; live, one for each snapshot, the last two checkpoints' dead.
   */
  assert_true(space.used_bytes + space.limbo_bytes < (uint64_t)(2 + SNAPSHOTS) * space.used_bytes);
  for (size_t i = 0; i < MODEL_VERSIONS; i++) m.versions[i].live = false;
  for (size_t round = 0; round < 3; round++) space_or_fail(model_checkpoint(&m, 5, &err), &err, m.seed);
  space = space_numbers(&m);
  assert_true(space.limbo_bytes < space.used_bytes / 4);
  model_close(&m);
  kl_sim_free(sim);
}

static void misuse_is_answered(void **state) {
  (void)state;
  kl_sim *sim = NULL;
  model m;
  uint64_t address = 0;
  assert_int_equal(kl_sim_new(3, &sim, NULL), KL_OK);
  model_open(&m, sim, 1);
  assert_int_equal(kl_store_allocate(m.store, 1, &address, NULL), KL_E_INVALID);
  assert_int_equal(kl_store_free(m.store, 16384, 1, 1, NULL), KL_E_INVALID);
  kl_store_abort(m.store);
  assert_int_equal(kl_store_begin(m.store, NULL, 0, NULL), KL_OK);
  assert_int_equal(kl_store_begin(m.store, NULL, 0, NULL), KL_E_INVALID);
  assert_int_equal(kl_store_allocate(m.store, 0, &address, NULL), KL_E_LIMIT);
  assert_int_equal(kl_store_allocate(m.store, UINT64_MAX, &address, NULL), KL_E_LIMIT);
  assert_int_equal(kl_store_allocate(m.store, 5000, &address, NULL), KL_OK);
  uint64_t birth = kl_store_birth(m.store);
  assert_int_equal(kl_store_free(m.store, address + 1, 1, birth, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_free(m.store, address, 5000, birth - 1, NULL), KL_E_CORRUPT); /* it is younger */
  assert_int_equal(kl_store_free(m.store, address, 9000, birth, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_free(m.store, 0, 1, birth, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_free(m.store, address, UINT64_MAX, birth, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_free(m.store, address, 5000, birth, NULL), KL_OK);
  assert_int_equal(kl_store_free(m.store, address, 5000, birth, NULL), KL_E_CORRUPT);
  uint8_t byte = 0;
  assert_int_equal(kl_store_read(m.store, address + 1, &byte, 1, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_read(m.store, 4096, &byte, 1, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_read(m.store, UINT64_C(1) << 40, &byte, 1, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_read(m.store, UINT64_MAX - 4095, &byte, 1, NULL), KL_E_CORRUPT);
  assert_null(kl_store_memory(m.store, address, 1));
  model_close(&m); /* with a checkpoint in progress */
  kl_store_options reading = {.read_only = true};
  kl_store *store = NULL;
  assert_int_equal(kl_store_open(kl_sim_os(sim), MODEL_PATH, &reading, &store, NULL), KL_OK);
  assert_int_equal(kl_store_begin(store, NULL, 0, NULL), KL_E_READ_ONLY);
  kl_store_close(store);
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_hold_what_versions_need),
      cmocka_unit_test(memory_stores_do_the_same),
      cmocka_unit_test(files_of_many_chunks),
      cmocka_unit_test(memory_is_given_back),
      cmocka_unit_test(files_grow_and_shrink),
      cmocka_unit_test(old_snapshots_hold_one_image_each),
      cmocka_unit_test(misuse_is_answered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
