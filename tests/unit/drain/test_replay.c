/* tests/unit/drain/test_replay.c: the delta after replay equals a model of what was committed; every refusal. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/rng.h"
#include "core/drain/replay.h"
#include "core/os/sim/sim.h"
#include "core/wal/commit_record.h"
#include "seed.h"

#define REPLAY_PATH "/db/replay-wal"

enum { REPLAY_KEYS = 300, REPLAY_SPACES = 3, REPLAY_COMMITS = 400, REPLAY_CAPACITY = 1 << 16 };

/* Newest state per key: value 0 means absent or deleted. */
typedef struct replay_model {
  uint64_t value[REPLAY_SPACES][REPLAY_KEYS], ts[REPLAY_SPACES][REPLAY_KEYS];
} replay_model;

static kl_wal_options replay_options(void) {
  kl_wal_options options = {.segment_size = 64 << 10, .prewrite = true};
  memset(options.database_id, 7, sizeof options.database_id);
  return options;
}

static kl_sim *replay_sim(void) {
  kl_sim *sim = NULL;
  assert_int_equal(kl_sim_new(test_seed(31), &sim, NULL), KL_OK);
  return sim;
}

static size_t replay_key(uint64_t k, char out[32]) {
  return (size_t)snprintf(out, 32, "key-%" PRIu64, k * 7919 % 1000);
}

/* One commit with up to 8 random ops; returns its encoded size. */
static size_t replay_commit(kl_rng *rng, uint64_t ts, uint8_t *out, replay_model *model) {
  size_t at = KL_COMMIT_HEADER_SIZE;
  uint64_t ops = kl_rng_below(rng, 9);
  for (uint64_t i = 0; i < ops; i++) {
    char key[32];
    uint64_t space = kl_rng_below(rng, REPLAY_SPACES), k = kl_rng_below(rng, REPLAY_KEYS), value = kl_rng_next(rng) | 1;
    kl_op op = {.keyspace = (uint32_t)space, .kind = kl_rng_below(rng, 4) == 0 ? KL_OP_DELETE : KL_OP_PUT};
    op.key = kl_slice_make(key, replay_key(k, key));
    op.value = kl_slice_make(&value, op.kind == KL_OP_PUT ? sizeof value : 0);
    at += kl_op_encode(&op, out + at);
    model->value[space][k] = op.kind == KL_OP_PUT ? value : 0;
    model->ts[space][k] = ts;
  }
  kl_commit_header_encode(out, ts, ops, at - KL_COMMIT_HEADER_SIZE);
  return at;
}

static void replay_append(kl_wal *wal, const uint8_t *bytes, size_t size, uint64_t ts, kl_lsn *out_end) {
  kl_slice part = kl_slice_make(bytes, size);
  kl_error err = {0};
  if (kl_wal_append(wal, &part, 1, ts, NULL, out_end, &err) != KL_OK) fail_msg("%s", err.message);
  if (kl_wal_sync(wal, *out_end, &err) != KL_OK) fail_msg("%s", err.message);
}

static void replay_compare(kl_delta *delta, const replay_model *model) {
  for (uint32_t space = 0; space < REPLAY_SPACES; space++) {
    for (uint64_t k = 0; k < REPLAY_KEYS; k++) {
      char key[32];
      kl_version version;
      kl_slice slice = kl_slice_make(key, replay_key(k, key));
      bool found = kl_delta_get(delta, space, slice, UINT64_MAX, &version);
      assert_int_equal(found, model->ts[space][k] != 0);
      if (!found) continue;
      assert_int_equal(version.ts, model->ts[space][k]);
      assert_int_equal(version.kind == KL_VERSION_PUT, model->value[space][k] != 0);
      if (version.kind == KL_VERSION_PUT) assert_memory_equal(version.value.data, &model->value[space][k], 8);
    }
  }
}

static void the_delta_equals_what_was_committed(void **state) {
  (void)state;
  kl_sim *sim = replay_sim();
  kl_rng rng;
  kl_rng_init(&rng, test_seed(31));
  kl_wal_options options = replay_options();
  kl_wal *wal = NULL;
  uint8_t *bytes = calloc(1, REPLAY_CAPACITY);
  replay_model *model = calloc(1, sizeof *model);
  assert_int_equal(kl_wal_create(kl_sim_os(sim), REPLAY_PATH, &options, &wal, NULL), KL_OK);
  uint64_t ts = 0, batches = 0;
  kl_lsn end = 0;
  while (ts < REPLAY_COMMITS) {
    size_t size = 0;
    for (uint64_t group = 1 + kl_rng_below(&rng, 5); group > 0; group--) {
      ts += 1 + kl_rng_below(&rng, 2); /* gaps: aborted transactions */
      size += replay_commit(&rng, ts, bytes + size, model);
    }
    replay_append(wal, bytes, size, ts, &end);
    batches++;
  }
  kl_wal_close(wal);
  for (int round = 0; round < 2; round++) { /* twice: replaying changes nothing */
    kl_delta *delta = NULL;
    kl_replay_stats stats;
    kl_error err = {0};
    assert_int_equal(kl_delta_new(kl_sim_os(sim)->allocator, &delta, NULL), KL_OK);
    assert_int_equal(kl_wal_open(kl_sim_os(sim), REPLAY_PATH, &options, &wal, NULL), KL_OK);
    if (kl_replay(wal, &(const kl_replay_target){.delta = delta}, 0, end, &stats, &err) != KL_OK)
      fail_msg("%s", err.message);
    assert_int_equal(stats.highest_ts, ts);
    assert_int_equal(stats.batches, batches);
    assert_true(stats.commits >= batches && stats.commits <= ts);
    assert_int_equal(stats.end_lsn, end);
    assert_int_equal(kl_wal_recover_end(wal, stats.end_lsn, &err), KL_OK);
    replay_compare(delta, model);
    /* The log goes on from there. */
    size_t size = replay_commit(&rng, ts + 1, bytes, model);
    replay_append(wal, bytes, size, ++ts, &end);
    batches++;
    kl_wal_close(wal);
    kl_delta_unref(delta);
  }
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
  free(bytes);
  free(model);
}

/* Writes one batch and says what replay makes of it. */
static kl_status replay_of(const uint8_t *bytes, size_t size, uint64_t batch_ts, kl_lsn known_durable, kl_error *err) {
  kl_sim *sim = replay_sim();
  kl_wal_options options = replay_options();
  kl_wal *wal = NULL;
  kl_delta *delta = NULL;
  kl_replay_stats stats;
  kl_lsn end;
  assert_int_equal(kl_wal_create(kl_sim_os(sim), REPLAY_PATH, &options, &wal, NULL), KL_OK);
  replay_append(wal, bytes, size, batch_ts, &end);
  kl_wal_close(wal);
  assert_int_equal(kl_wal_open(kl_sim_os(sim), REPLAY_PATH, &options, &wal, NULL), KL_OK);
  assert_int_equal(kl_delta_new(kl_sim_os(sim)->allocator, &delta, NULL), KL_OK);
  kl_status status = kl_replay(wal, &(const kl_replay_target){.delta = delta}, 0, known_durable, &stats, err);
  kl_wal_close(wal);
  kl_delta_unref(delta);
  kl_sim_free(sim);
  return status;
}

static void what_no_commit_wrote_is_refused(void **state) {
  (void)state;
  uint8_t bytes[512];
  kl_error err = {0};
  kl_op op = {.keyspace = 1, .kind = KL_OP_PUT, .key = kl_slice_make("key", 3), .value = kl_slice_make("value", 5)};
  size_t one = KL_COMMIT_HEADER_SIZE + kl_op_encode(&op, bytes + KL_COMMIT_HEADER_SIZE);
  kl_commit_header_encode(bytes, 5, 1, one - KL_COMMIT_HEADER_SIZE);
  memcpy(bytes + one, bytes, one);
  kl_commit_header_encode(bytes + one, 6, 1, one - KL_COMMIT_HEADER_SIZE);
  assert_int_equal(replay_of(bytes, 2 * one, 6, 0, &err), KL_OK);
  assert_int_equal(replay_of(bytes, 2 * one, 7, 0, &err), KL_E_CORRUPT); /* the batch says another timestamp */
  assert_int_equal(replay_of(bytes, 2 * one - 1, 6, 0, &err), KL_E_CORRUPT);
  assert_non_null(strstr(err.message, "LSN 0"));
  kl_commit_header_encode(bytes + one, 5, 1, one - KL_COMMIT_HEADER_SIZE); /* not ascending */
  assert_int_equal(replay_of(bytes, 2 * one, 5, 0, &err), KL_E_CORRUPT);
  kl_commit_header_encode(bytes + one, 6, 1, one - KL_COMMIT_HEADER_SIZE);
  bytes[one + KL_COMMIT_HEADER_SIZE] = 77; /* an op of the future */
  assert_int_equal(replay_of(bytes, 2 * one, 6, 0, &err), KL_E_VERSION);
  assert_int_equal(replay_of(bytes, one, 5, 1 << 20, &err), KL_E_CORRUPT); /* the checkpoint knows of more */
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  kl_sim *sim = replay_sim();
  kl_rng rng;
  kl_rng_init(&rng, test_seed(31));
  kl_wal_options options = replay_options();
  kl_wal *wal = NULL;
  uint8_t *bytes = calloc(1, REPLAY_CAPACITY);
  replay_model *model = calloc(1, sizeof *model);
  kl_lsn end = 0;
  assert_int_equal(kl_wal_create(kl_sim_os(sim), REPLAY_PATH, &options, &wal, NULL), KL_OK);
  for (uint64_t ts = 1; ts <= 60; ts++) {
    size_t size = replay_commit(&rng, ts, bytes, model);
    replay_append(wal, bytes, size, ts, &end);
  }
  kl_wal_close(wal);
  wal = NULL;
  uint64_t failures = 0;
  for (uint64_t n = 1;; n++) {
    kl_delta *delta = NULL;
    kl_replay_stats stats;
    kl_sim_fail_allocation(sim, n);
    kl_status status = kl_delta_new(kl_sim_os(sim)->allocator, &delta, NULL);
    if (status == KL_OK) status = kl_wal_open(kl_sim_os(sim), REPLAY_PATH, &options, &wal, NULL);
    if (status == KL_OK) status = kl_replay(wal, &(const kl_replay_target){.delta = delta}, 0, end, &stats, NULL);
    if (status == KL_OK) replay_compare(delta, model);
    kl_wal_close(wal);
    wal = NULL;
    kl_delta_unref(delta);
    assert_true(status == KL_OK || status == KL_E_NO_MEMORY);
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    failures += status != KL_OK;
    if (status == KL_OK && n > failures + 5) break; /* beyond the last one; a few have a way without */
  }
  kl_sim_fail_allocation(sim, 0);
  assert_true(failures >= 6);
  kl_sim_free(sim);
  free(bytes);
  free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_delta_equals_what_was_committed),
      cmocka_unit_test(what_no_commit_wrote_is_refused),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
