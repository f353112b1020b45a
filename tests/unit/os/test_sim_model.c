/* The simulated disk against a model that is as simple as can be: a list of steps, and for each byte the set of values
 * that it may have after a crash (OS-7). Also: one seed, one history (OS-9); and clones. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/rng.h"
#include "core/os/sim/sim.h"
#include "seed.h"

enum { LIMIT = 6000, STEPS_MAX = 400, ROUNDS = 30, STEPS_PER_ROUND = 40, CHOICES = 6 };

typedef enum step_kind { STEP_WRITE, STEP_SIZE } step_kind;

typedef struct step {
  step_kind kind;
  uint64_t offset, size; /* STEP_SIZE: size is the new one */
  unsigned char value;   /* of every byte that a write writes */
  bool durable;          /* a sync covers it */
  bool doubtful;         /* a sync failed on it: no later one covers it */
  bool dsync;            /* durable when it returned */
} step;

typedef struct model {
  unsigned char base[LIMIT]; /* durable, before all steps */
  uint64_t base_size;
  unsigned char current[LIMIT];
  uint64_t current_size;
  step steps[STEPS_MAX];
  size_t count;
} model;

static void model_add(model *m, step added) {
  assert_true(m->count < STEPS_MAX);
  m->steps[m->count++] = added;
}

static void model_resize(model *m, uint64_t size) {
  if (size == m->current_size) return;
  model_add(m, (step){.kind = STEP_SIZE, .size = size});
  if (size < m->current_size) memset(m->current + size, 0, m->current_size - size);
  m->current_size = size;
}

static void model_write(model *m, uint64_t offset, uint64_t size, unsigned char value, bool dsync) {
  if (offset + size > m->current_size) model_resize(m, offset + size);
  model_add(m, (step){.kind = STEP_WRITE, .offset = offset, .size = size, .value = value, .dsync = dsync});
  memset(m->current + offset, value, size);
}

static void model_sync(model *m, bool data_only) {
  size_t upto = m->count;
  while (data_only && upto > 0 && m->steps[upto - 1].kind != STEP_WRITE) upto--;
  for (size_t i = 0; i < upto; i++) {
    if (!m->steps[i].doubtful) m->steps[i].durable = true;
  }
}

static void model_sync_failed(model *m) {
  for (size_t i = 0; i < m->count; i++) {
    if (m->steps[i].kind == STEP_WRITE && !m->steps[i].durable && !m->steps[i].dsync) m->steps[i].doubtful = true;
  }
}

/* Which values the byte at `at` may have after a crash. */
static void model_allowed(const model *m, uint64_t at, bool allowed[256]) {
  memset(allowed, 0, 256);
  allowed[m->base[at]] = true;
  for (size_t i = 0; i < m->count; i++) {
    const step *s = &m->steps[i];
    bool touches = s->kind == STEP_WRITE ? at >= s->offset && at < s->offset + s->size : at >= s->size;
    if (!touches) continue;
    if (s->durable || s->dsync) memset(allowed, 0, 256); /* nothing older comes back */
    allowed[s->kind == STEP_WRITE ? s->value : 0] = true;
  }
}

/* Which sizes the file may have after a crash, as indices of steps (count: the base's). */
static bool model_size_allowed(const model *m, uint64_t size) {
  bool allowed = size == m->base_size;
  for (size_t i = 0; i < m->count; i++) {
    const step *s = &m->steps[i];
    if (s->kind == STEP_SIZE) {
      if (s->durable) allowed = false;
      if (s->size == size) allowed = true;
    } else if (s->dsync && size < s->offset + s->size) {
      allowed = false; /* the size that is needed to read them came with the bytes */
    }
  }
  return allowed;
}

static void check_settled(const model *m, const unsigned char *bytes, size_t size, uint64_t seed, int round) {
  if (!model_size_allowed(m, size)) fail_msg("seed %llu, round %d: size %zu", (unsigned long long)seed, round, size);
  for (size_t at = 0; at < size; at++) {
    bool allowed[256];
    model_allowed(m, at, allowed);
    if (!allowed[bytes[at]]) {
      fail_msg("seed %llu, round %d: byte %zu is %u", (unsigned long long)seed, round, at, (unsigned)bytes[at]);
    }
  }
}

/* One random step on both. `files`: a plain one and a DSYNC one, on the same file. */
static void random_step(kl_sim *sim, kl_file *files[2], model *m, kl_rng *rng) {
  static unsigned char bytes[LIMIT];
  kl_os *os = kl_sim_os(sim);
  uint64_t offset = kl_rng_below(rng, LIMIT - 1), size = 1 + kl_rng_below(rng, kl_rng_below(rng, LIMIT - offset) + 1);
  unsigned char value = (unsigned char)kl_rng_below(rng, 256);
  kl_slice part = kl_slice_make(bytes, size = size < LIMIT - offset ? size : LIMIT - offset);
  uint64_t kind = kl_rng_below(rng, 16);
  bool dsync = kind == 6 || kind == 7, data_only = kl_rng_below(rng, 2) == 0;
  if (kind < 8) {
    memset(bytes, value, size);
    assert_int_equal(kl_os_write(os, files[dsync], &part, 1, offset, NULL), KL_OK);
    model_write(m, offset, size, value, dsync);
  } else if (kind < 10) {
    assert_int_equal(kl_os_truncate(os, files[0], offset, NULL), KL_OK);
    model_resize(m, offset);
  } else if (kind == 10) {
    assert_int_equal(kl_os_allocate(os, files[0], offset, size, NULL), KL_OK);
    if (offset + size > m->current_size) model_resize(m, offset + size);
  } else if (kind == 11) {
    kl_sim_inject(sim, KL_SIM_FAULT_SYNC_FAILS, 0);
    assert_int_equal(kl_os_sync(os, files[0], data_only, NULL), KL_E_IO);
    model_sync_failed(m);
  } else if (kind < 14) {
    assert_int_equal(kl_os_sync(os, files[0], data_only, NULL), KL_OK);
    model_sync(m, data_only);
  } else {
    size_t got = 0;
    uint64_t left = offset < m->current_size ? m->current_size - offset : 0;
    assert_int_equal(kl_os_read(os, files[0], bytes, size, offset, &got, NULL), KL_OK);
    assert_int_equal(got, size < left ? size : left);
    assert_memory_equal(bytes, m->current + offset, got);
  }
}

static void open_both(kl_sim *sim, kl_file *files[2]) {
  kl_os *os = kl_sim_os(sim);
  assert_int_equal(kl_os_open(os, "/a", KL_OPEN_WRITE, 0, &files[0], NULL), KL_OK);
  assert_int_equal(kl_os_open(os, "/a", KL_OPEN_WRITE | KL_OPEN_DSYNC, 0, &files[1], NULL), KL_OK);
}

static void test_crashes_against_the_model(void **state) {
  (void)state;
  static model m;
  static unsigned char bytes[LIMIT + 1];
  uint64_t seed = test_seed(77);
  for (uint64_t run = 0; run < 6; run++) {
    kl_sim *sim = NULL;
    kl_file *files[2];
    kl_rng rng;
    kl_rng_init(&rng, seed + run);
    memset(&m, 0, sizeof m);
    assert_int_equal(kl_sim_new(seed + run, &sim, NULL), KL_OK);
    assert_int_equal(kl_sim_poke(sim, "/a", 0, NULL, 0), KL_OK);
    kl_sim_set_tear_bytes(sim, run % 2 == 0 ? 512 : 4096);
    for (int round = 0; round < ROUNDS; round++) {
      size_t size = 0;
      open_both(sim, files);
      for (int i = 0; i < STEPS_PER_ROUND; i++) random_step(sim, files, &m, &rng);
      for (uint64_t choice = 0; choice < CHOICES; choice++) {
        kl_sim *clone = NULL;
        assert_int_equal(kl_sim_clone(sim, &clone), KL_OK);
        kl_sim_restart(clone, choice);
        assert_int_equal(kl_sim_peek(clone, "/a", 0, bytes, sizeof bytes, &size), KL_OK);
        check_settled(&m, bytes, size, seed + run, round);
        kl_sim_free(clone);
      }
      kl_sim_restart(sim, (uint64_t)round);
      assert_int_equal(kl_sim_peek(sim, "/a", 0, bytes, sizeof bytes, &size), KL_OK);
      check_settled(&m, bytes, size, seed + run, round);
      memset(&m, 0, sizeof m);
      memcpy(m.base, bytes, size);
      memcpy(m.current, bytes, size);
      m.base_size = m.current_size = size;
      kl_os_close(kl_sim_os(sim), files[0]);
      kl_os_close(kl_sim_os(sim), files[1]);
    }
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
  }
}

/* ---- replay ---- */

typedef struct summary {
  unsigned char bytes[LIMIT], random[16];
  size_t size;
  uint64_t operations, clock_ns;
} summary;

/* A run with several faults, settled by `choice`; `through_clone`: a clone is what crashes. */
static summary run_history(uint64_t seed, uint64_t choice, bool through_clone) {
  static model scratch;
  summary result;
  kl_sim *sim = NULL, *clone = NULL;
  kl_file *files[2];
  kl_rng rng;
  memset(&result, 0, sizeof result);
  memset(&scratch, 0, sizeof scratch);
  kl_rng_init(&rng, 1); /* the program is the same: only the machine's seed differs */
  assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
  assert_int_equal(kl_sim_poke(sim, "/a", 0, NULL, 0), KL_OK);
  open_both(sim, files);
  for (int i = 0; i < 100; i++) random_step(sim, files, &scratch, &rng);
  kl_sim *crashing = sim;
  if (through_clone) {
    assert_int_equal(kl_sim_clone(sim, &clone), KL_OK);
    crashing = clone;
  }
  kl_sim_restart(crashing, choice);
  assert_int_equal(kl_sim_peek(crashing, "/a", 0, result.bytes, LIMIT, &result.size), KL_OK);
  kl_os_random(kl_sim_os(crashing), result.random, sizeof result.random);
  result.operations = kl_sim_operations(crashing);
  result.clock_ns = kl_os_monotonic_ns(kl_sim_os(crashing));
  kl_os_close(kl_sim_os(sim), files[0]);
  kl_os_close(kl_sim_os(sim), files[1]);
  kl_sim_free(clone);
  kl_sim_free(sim);
  return result;
}

static void test_one_seed_is_one_history(void **state) {
  (void)state;
  bool seeds_differ = false, choices_differ = false;
  for (uint64_t seed = 0; seed < 20; seed++) {
    summary first = run_history(seed, 3, false), again = run_history(seed, 3, false);
    summary cloned = run_history(seed, 3, true), other_choice = run_history(seed, 4, false);
    assert_memory_equal(&first, &again, sizeof first);
    assert_memory_equal(&first, &cloned, sizeof first);
    assert_memory_equal(first.random, other_choice.random, sizeof first.random); /* the program's chance is its own */
    if (memcmp(first.bytes, other_choice.bytes, LIMIT) != 0) choices_differ = true;
    summary other_seed = run_history(seed + 1, 3, false);
    if (memcmp(first.bytes, other_seed.bytes, LIMIT) != 0) seeds_differ = true;
    assert_memory_not_equal(first.random, other_seed.random, sizeof first.random);
  }
  assert_true(seeds_differ && choices_differ);
}

static void test_clones_are_apart(void **state) {
  (void)state;
  kl_sim *sim = NULL, *clone = NULL;
  kl_file *file = NULL, *in_clone = NULL;
  kl_slice one = kl_slice_make("one", 3), two = kl_slice_make("two", 3);
  char read[3];
  size_t size = 0;
  assert_int_equal(kl_sim_new(9, &sim, NULL), KL_OK);
  assert_int_equal(kl_os_open(kl_sim_os(sim), "/a", KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, NULL), KL_OK);
  assert_int_equal(kl_os_write(kl_sim_os(sim), file, &one, 1, 0, NULL), KL_OK);
  assert_int_equal(kl_os_lock(kl_sim_os(sim), file, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  kl_sim_inject(sim, KL_SIM_FAULT_IO_ERROR, kl_sim_operations(sim) + 3);
  assert_int_equal(kl_sim_clone(sim, &clone), KL_OK);
  assert_int_equal(kl_sim_live_bytes(clone), 0);
  assert_int_equal(kl_sim_operations(clone), kl_sim_operations(sim));
  assert_int_equal(kl_os_open(kl_sim_os(clone), "/a", KL_OPEN_WRITE, 0, &in_clone, NULL), KL_OK);
  assert_int_equal(kl_os_lock(kl_sim_os(clone), in_clone, KL_LOCK_EXCLUSIVE, NULL), KL_OK); /* no file open, no lock */
  assert_int_equal(kl_os_write(kl_sim_os(clone), in_clone, &two, 1, 0, NULL), KL_E_IO);     /* the fault came along */
  assert_int_equal(kl_os_write(kl_sim_os(clone), in_clone, &two, 1, 0, NULL), KL_OK);
  assert_int_equal(kl_sim_peek(sim, "/a", 0, read, 3, &size), KL_OK);
  assert_memory_equal(read, "one", 3);
  kl_os_close(kl_sim_os(sim), file);
  kl_sim_free(sim);
  assert_int_equal(kl_sim_peek(clone, "/a", 0, read, 3, &size), KL_OK);
  assert_memory_equal(read, "two", 3);
  kl_os_close(kl_sim_os(clone), in_clone);
  kl_sim_free(clone);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crashes_against_the_model),
      cmocka_unit_test(test_one_seed_is_one_history),
      cmocka_unit_test(test_clones_are_apart),
  };
  return cmocka_run_group_tests_name("os_sim_model", tests, NULL, NULL);
}
