/* tests/unit/wal/test_wal_crash.c: the power goes at every operation of seeded workloads.
 *
 * A workload appends (at once and deferred), syncs, releases and reopens. For each operation number k the same workload
 * runs on a machine that crashes at k; the crashed disk is settled in several ways, and each time the log must hold,
 * from the release point on: every batch that was synced, then a run without gaps of those that were not, and nothing
 * else. Then the log is appended to, crashes again and is checked again: what the first crash left behind its end must
 * never be read (WAL-5). Each batch carries the life in which it was written, so that a left-over batch of an earlier
 * life with the right number is told from the right one. */
#include "wal_fixture.h"

enum { CRASH_STEPS = 70, CRASH_BATCHES = 4096, CRASH_CHOICES = 3 };

/* What must be in the log. */
typedef struct crash_model {
  bool created;
  uint64_t life;
  uint64_t base, synced, next; /* numbers: first kept, first not known durable, next to append */
  kl_lsn base_lsn, end;
  bool in_flight;                /* the append of `next` failed: it may be there */
  uint64_t recycled;             /* segments used again, so far */
  uint64_t lives[CRASH_BATCHES]; /* which life wrote a number last */
} crash_model;

static uint64_t crash_tag(const crash_model *m, uint64_t number) {
  return m->lives[number] << 32 | number;
}

static kl_status crash_append(kl_wal *wal, crash_model *m, size_t size, bool deferred, kl_error *err) {
  assert_true(m->next < CRASH_BATCHES);
  m->lives[m->next] = m->life;
  m->in_flight = true;
  kl_status status = wal_test_append(wal, crash_tag(m, m->next), size, deferred, &m->end, err);
  if (status == KL_OK) {
    m->in_flight = false;
    m->next++;
  }
  return status;
}

static kl_status crash_sync(kl_wal *wal, crash_model *m, kl_error *err) {
  kl_status status = kl_wal_sync(wal, m->end, err);
  if (status == KL_OK) m->synced = m->next;
  return status;
}

/* Reads the log from the base; *out_next: the number after the last batch. */
static kl_status crash_read(kl_wal *wal, const crash_model *m, uint64_t *out_next, kl_lsn *out_end, kl_error *err) {
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  *out_next = m->base;
  kl_status status = kl_wal_reader_new(wal, m->base_lsn, &reader, err);
  if (status != KL_OK) return status;
  while ((status = kl_wal_reader_next(reader, &batch, err)) == KL_OK) {
    if (*out_next >= CRASH_BATCHES || wal_test_number(batch.payload) != crash_tag(m, *out_next)) {
      kl_wal_reader_free(reader);
      return kl_fail(err, KL_E_INTERNAL, "batch %llu at LSN %llu is not what was appended",
                     (unsigned long long)*out_next, (unsigned long long)batch.lsn);
    }
    ++*out_next;
  }
  *out_end = kl_wal_reader_position(reader);
  kl_wal_reader_free(reader);
  return status;
}

/* Opens, reads, compares with the model, makes the log appendable. The model then says what is in it. */
static kl_status crash_recover(kl_os *os, const kl_wal_options *options, crash_model *m, kl_wal **out_wal,
                               kl_error *err) {
  uint64_t next = 0;
  kl_lsn end = 0;
  kl_status status = kl_wal_open(os, WAL_TEST_PATH, options, out_wal, err);
  if (status != KL_OK) return status;
  status = crash_read(*out_wal, m, &next, &end, err);
  if (status != KL_E_NOT_FOUND) return status == KL_OK ? KL_E_INTERNAL : status;
  if (next < m->synced || next > m->next + (m->in_flight ? 1 : 0)) {
    return kl_fail(err, KL_E_INTERNAL, "the log ends at batch %llu; %llu were synced, %llu appended",
                   (unsigned long long)next, (unsigned long long)m->synced, (unsigned long long)m->next);
  }
  status = kl_wal_recover_end(*out_wal, end, err);
  if (status != KL_OK) return status;
  m->next = m->synced = next;
  m->in_flight = false;
  m->end = end;
  m->life++;
  return kl_wal_release(*out_wal, m->base_lsn, err);
}

static size_t crash_size(kl_rng *rng) {
  uint64_t kind = kl_rng_below(rng, 20);
  /* Batches of whole sync blocks: a batch of the next life then ends just where a left-over one begins. */
  if (kind > 11) return kind > 17 ? 1024 - 56 : 512 - 56;
  if (kind == 0) return 16 + (size_t)kl_rng_below(rng, 200 << 10);
  if (kind < 6) return 16 + (size_t)kl_rng_below(rng, 9000);
  return 16 + (size_t)kl_rng_below(rng, 700);
}

static void crash_close(kl_wal *wal, crash_model *m) {
  kl_wal_stats stats;
  if (wal == NULL) return;
  kl_wal_get_stats(wal, &stats);
  m->recycled += stats.segments_recycled;
  kl_wal_close(wal);
}

static kl_status crash_release(kl_wal *wal, crash_model *m, kl_error *err) {
  kl_status status = crash_sync(wal, m, err);
  if (status != KL_OK) return status;
  m->base = m->next;
  m->base_lsn = m->end;
  return kl_wal_release(wal, m->base_lsn, err);
}

/* Runs until the first error, which it returns. */
static kl_status crash_workload(kl_os *os, const kl_wal_options *options, uint64_t seed, bool reopens, crash_model *m,
                                kl_error *err) {
  kl_rng rng;
  kl_wal *wal = NULL;
  kl_rng_init(&rng, seed);
  *m = (crash_model){.life = 1};
  kl_status status = kl_wal_create(os, WAL_TEST_PATH, options, &wal, err);
  if (status == KL_OK) m->created = true;
  for (int i = 0; i < 3 && status == KL_OK; i++) { /* as much as a segment each: segments are used again from here on */
    status = crash_append(wal, m, 62000, i == 1, err);
    if (status == KL_OK) status = crash_release(wal, m, err);
  }
  for (int step = 0; step < CRASH_STEPS && status == KL_OK; step++) {
    uint64_t what = kl_rng_below(&rng, 100);
    if (what < 58) {
      status = crash_append(wal, m, crash_size(&rng), kl_rng_below(&rng, 2) == 0, err);
    } else if (what < 80) {
      status = crash_sync(wal, m, err);
    } else if (what < 95) {
      status = crash_release(wal, m, err);
    } else if (reopens) {
      crash_close(wal, m);
      wal = NULL;
      uint64_t expected = m->next;
      status = crash_recover(os, options, m, &wal, err);
      if (status == KL_OK && m->next != expected) {
        status = kl_fail(err, KL_E_INTERNAL, "a log that was closed and opened lost batches");
      }
    }
  }
  crash_close(wal, m);
  return status;
}

/* Appends to the recovered log, loses power again, checks again; twice. */
static kl_status crash_second_life(kl_sim *sim, const kl_wal_options *options, crash_model *m, uint64_t seed,
                                   kl_error *err) {
  kl_rng rng;
  kl_rng_init(&rng, seed);
  for (int round = 0; round < 2; round++) {
    kl_wal *wal = NULL;
    kl_status status = crash_recover(kl_sim_os(sim), options, m, &wal, err);
    uint64_t appends = kl_rng_below(&rng, 5);
    for (uint64_t i = 0; i < appends && status == KL_OK; i++) {
      status = crash_append(wal, m, crash_size(&rng), kl_rng_below(&rng, 2) == 0, err);
      if (status == KL_OK && kl_rng_below(&rng, 3) == 0) status = crash_sync(wal, m, err);
    }
    kl_sim_restart(sim, kl_rng_next(&rng)); /* power loss: the open files are gone */
    kl_wal_close(wal);
    if (status != KL_OK) return status;
  }
  kl_wal *wal = NULL;
  kl_status status = crash_recover(kl_sim_os(sim), options, m, &wal, err);
  kl_wal_close(wal);
  return status;
}

typedef struct crash_kind {
  bool prewrite, garbage;
  uint32_t tear_bytes;
} crash_kind;

static void crash_check(const crash_kind *kind, uint64_t seed, uint64_t k, uint64_t choice, const kl_error *err) {
  fail_msg("seed %llu operation %llu choice %llu prewrite %d garbage %d tear %u: %s (%d)", (unsigned long long)seed,
           (unsigned long long)k, (unsigned long long)choice, kind->prewrite, kind->garbage, kind->tear_bytes,
           err->message, err->code);
}

static void crash_at_every_operation(uint64_t seed, crash_kind kind, uint64_t *points) {
  kl_sim *sim = NULL;
  kl_error err = {0};
  kl_wal_options options = wal_test_options();
  options.prewrite = kind.prewrite;
  /* Recovery rewrites in place what it does not know to be durable; a device that destroys the sectors it is writing
   * when the power goes can lose a synced batch then (README, "What it does not do"). */
  bool reopens = !kind.garbage;
  crash_model *m = calloc(2, sizeof *m);
  assert_non_null(m);
  assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
  if (crash_workload(kl_sim_os(sim), &options, seed, reopens, m, &err) != KL_OK) crash_check(&kind, seed, 0, 0, &err);
  uint64_t operations = kl_sim_operations(sim);
  assert_true(m->recycled > 0);
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
  for (uint64_t k = 1; k <= operations; k++) {
    assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
    kl_sim_set_tear_bytes(sim, kind.tear_bytes);
    kl_sim_set_garbage(sim, kind.garbage);
    kl_sim_inject(sim, KL_SIM_FAULT_CRASH, k);
    kl_status status = crash_workload(kl_sim_os(sim), &options, seed, reopens, m, &err);
    if (status == KL_E_INTERNAL) crash_check(&kind, seed, k, 0, &err);
    for (uint64_t choice = 0; choice < CRASH_CHOICES; choice++) {
      kl_sim *copy = NULL;
      m[1] = m[0];
      err = (kl_error){0};
      assert_int_equal(kl_sim_clone(sim, &copy), KL_OK);
      kl_sim_restart(copy, choice);
      status = crash_second_life(copy, &options, &m[1], seed ^ (k * CRASH_CHOICES + choice), &err);
      if (status != KL_OK && (m->created || status == KL_E_INTERNAL)) crash_check(&kind, seed, k, choice, &err);
      assert_int_equal(kl_sim_live_bytes(copy), 0);
      kl_sim_free(copy);
      ++*points;
    }
    kl_sim_free(sim);
  }
  free(m);
}

static void synced_batches_survive(void **state) {
  (void)state;
  uint64_t seed = test_seed(0x5eed), points = 0;
  for (uint64_t i = 0; i < 3; i++) crash_at_every_operation(seed + i, (crash_kind){true, false, 512}, &points);
  crash_at_every_operation(seed + 10, (crash_kind){true, false, 4096}, &points);
  print_message("%llu crash points\n", (unsigned long long)points);
  assert_true(points > 1000);
}

static void synced_batches_survive_without_prewriting(void **state) {
  (void)state;
  uint64_t seed = test_seed(0x5eed), points = 0;
  for (uint64_t i = 20; i < 22; i++) crash_at_every_operation(seed + i, (crash_kind){false, false, 512}, &points);
  print_message("%llu crash points\n", (unsigned long long)points);
  assert_true(points > 300);
}

/* WAL-3: the sync block that is being written when the power goes is lost as a whole, neighbours included. */
static void synced_batches_survive_destroyed_sectors(void **state) {
  (void)state;
  uint64_t seed = test_seed(0x5eed), points = 0;
  for (uint64_t i = 30; i < 33; i++) crash_at_every_operation(seed + i, (crash_kind){i != 32, true, 512}, &points);
  print_message("%llu crash points\n", (unsigned long long)points);
  assert_true(points > 300);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(synced_batches_survive),
      cmocka_unit_test(synced_batches_survive_without_prewriting),
      cmocka_unit_test(synced_batches_survive_destroyed_sectors),
  };
  return cmocka_run_group_tests_name("wal crash", tests, NULL, NULL);
}
