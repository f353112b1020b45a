/* tests/unit/wal/test_wal_basic.c: the log without faults: create, append, sync, read, recover, recycle. */
#include "wal_fixture.h"

typedef struct basic_state {
  kl_sim *sim;
  kl_os *os;
} basic_state;

static int basic_setup(void **state) {
  basic_state *s = calloc(1, sizeof *s);
  assert_non_null(s);
  assert_int_equal(kl_sim_new(test_seed(1), &s->sim, NULL), KL_OK);
  s->os = kl_sim_os(s->sim);
  *state = s;
  return 0;
}

static int basic_teardown(void **state) {
  basic_state *s = *state;
  assert_int_equal(kl_sim_live_bytes(s->sim), 0);
  kl_sim_free(s->sim);
  free(s);
  return 0;
}

static kl_wal *basic_create(basic_state *s) {
  kl_wal_options options = wal_test_options();
  kl_wal *wal = NULL;
  kl_error err = {0};
  if (kl_wal_create(s->os, WAL_TEST_PATH, &options, &wal, &err) != KL_OK) fail_msg("%s", err.message);
  return wal;
}

/* Opens, reads all, recovers. */
static kl_wal *basic_reopen(basic_state *s, kl_lsn from, uint64_t first, uint64_t expect_next) {
  kl_wal_options options = wal_test_options();
  kl_wal *wal = NULL;
  kl_error err = {0};
  uint64_t next;
  kl_lsn end;
  if (kl_wal_open(s->os, WAL_TEST_PATH, &options, &wal, &err) != KL_OK) fail_msg("%s", err.message);
  kl_status status = wal_test_read(wal, from, first, &next, &end, &err);
  if (status != KL_E_NOT_FOUND) fail_msg("%s", err.message);
  assert_int_equal(next, expect_next);
  if (kl_wal_recover_end(wal, end, &err) != KL_OK) fail_msg("%s", err.message);
  return wal;
}

static void appends_are_read_back(void **state) {
  basic_state *s = *state;
  kl_wal *wal = basic_create(s);
  kl_lsn end = 0;
  for (uint64_t i = 1; i <= 300; i++) {
    assert_int_equal(wal_test_append(wal, i, 16 + (i * 37) % 2000, i % 3 == 0, &end, NULL), KL_OK);
    if (i % 3 == 0 || i % 7 == 0) assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  }
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  uint64_t next;
  kl_lsn read_end;
  assert_int_equal(wal_test_read(wal, 0, 1, &next, &read_end, NULL), KL_E_NOT_FOUND);
  assert_int_equal(next, 301);
  assert_int_equal(read_end, end);
  kl_wal_close(wal);
  wal = basic_reopen(s, 0, 1, 301);
  assert_int_equal(wal_test_append(wal, 301, 100, false, &end, NULL), KL_OK);
  kl_wal_close(wal);
  kl_wal_close(basic_reopen(s, 0, 1, 302));
}

static void a_batch_may_span_many_segments(void **state) {
  basic_state *s = *state;
  kl_wal *wal = basic_create(s);
  kl_lsn end;
  assert_int_equal(wal_test_append(wal, 1, 100, false, &end, NULL), KL_OK);
  assert_int_equal(wal_test_append(wal, 2, 5 << 20, false, &end, NULL), KL_OK);
  assert_int_equal(wal_test_append(wal, 3, 300 << 10, true, &end, NULL), KL_OK);
  assert_int_equal(wal_test_append(wal, 4, 100, true, &end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  kl_wal_close(wal);
  kl_wal_close(basic_reopen(s, 0, 1, 5));
}

static void released_segments_are_recycled(void **state) {
  basic_state *s = *state;
  kl_wal *wal = basic_create(s);
  kl_lsn end = 0, released = 0;
  uint64_t number = 1, oldest = 1, recycled = 0;
  kl_wal_stats stats;
  for (int round = 0; round < 40; round++) {
    for (int i = 0; i < 30; i++) assert_int_equal(wal_test_append(wal, number++, 1500, i % 2, &end, NULL), KL_OK);
    assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
    if (round % 3 == 2) {
      assert_int_equal(kl_wal_release(wal, end, NULL), KL_OK);
      oldest = number;
      released = end;
    }
    if (round % 5 == 4) {
      kl_wal_get_stats(wal, &stats);
      recycled += stats.segments_recycled;
      kl_wal_close(wal);
      wal = basic_reopen(s, released, oldest, number);
      assert_int_equal(kl_wal_release(wal, released, NULL), KL_OK);
    }
  }
  kl_wal_get_stats(wal, &stats);
  assert_true(recycled > 10);
  assert_true(stats.file_bytes < (uint64_t)12 * (64 << 10)); /* 40 rounds wrote more than 30 segments */
  kl_wal_close(wal);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(appends_are_read_back, basic_setup, basic_teardown),
      cmocka_unit_test_setup_teardown(a_batch_may_span_many_segments, basic_setup, basic_teardown),
      cmocka_unit_test_setup_teardown(released_segments_are_recycled, basic_setup, basic_teardown),
  };
  return cmocka_run_group_tests_name("wal basic", tests, NULL, NULL);
}
