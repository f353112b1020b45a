/* tests/unit/txn/test_throttle.c: who is slowed, who waits, who is refused. */
#include "core/os/thread.h"
#include "core/txn/throttle.h"
#include "txn_testing.h"

enum { SOFT = 1000000, HARD = 4000000 };

static void setup(kl_throttle *throttle, uint64_t soft, uint64_t hard) {
  kl_error err;
  memset(throttle, 0, sizeof *throttle);
  assert_ok(kl_throttle_init(throttle, kl_os_posix(), soft, hard, &err), &err);
}

static void test_nobody_waits_below(void **state) {
  (void)state;
  kl_throttle throttle;
  setup(&throttle, SOFT, HARD);
  for (int i = 0; i < 10; i++) {
    assert_true(kl_throttle_enter(&throttle, SOFT / 10));
    assert_false(kl_throttle_wants_drain(&throttle));
    kl_throttle_add(&throttle, SOFT / 10);
  }
  assert_true(kl_throttle_wants_drain(&throttle));
  assert_false(kl_throttle_wants_drain(&throttle)); /* once */
  assert_true(kl_throttle_enter(&throttle, SOFT));
  assert_int_equal(throttle.throttled_ns, 0);
  kl_throttle_freeze(&throttle);
  assert_false(kl_throttle_wants_drain(&throttle));
  kl_throttle_add(&throttle, SOFT);
  assert_true(kl_throttle_wants_drain(&throttle)); /* once more, after a freeze */
  kl_throttle_destroy(&throttle);

  setup(&throttle, 0, 0); /* without a drain */
  kl_throttle_add(&throttle, UINT64_C(1) << 40);
  assert_true(kl_throttle_enter(&throttle, SOFT));
  assert_false(kl_throttle_wants_drain(&throttle));
  kl_throttle_destroy(&throttle);
}

/* The more has piled up, the slower it goes; at the point where as much is left as is above, at the rate of the drain. */
static void test_smooth(void **state) {
  (void)state;
  kl_throttle throttle;
  setup(&throttle, SOFT, HARD);
  atomic_store(&throttle.rate, UINT64_C(1000000000)); /* 1 byte per ns */
  uint64_t before = 0;
  for (uint64_t active = SOFT; active < HARD; active += 100000) {
    uint64_t gap = kl_throttle_gap_ns(&throttle, active, active, 1000);
    assert_true(active == SOFT ? gap == 0 : gap > before);
    before = gap;
  }
  assert_true(before > 20000);
  assert_int_equal(kl_throttle_gap_ns(&throttle, SOFT + 1000000, SOFT + 1000000 + SOFT, 1000), 1000);
  assert_true(kl_throttle_gap_ns(&throttle, HARD, 2 * HARD, 1000) > UINT64_C(1000000000)); /* no overflow behind it */
  kl_throttle_destroy(&throttle);
}

typedef struct waiter {
  kl_throttle *throttle;
  uint64_t seen;
  kl_status status;
  kl_error err;
} waiter;

static void wait_for_room(void *context) {
  waiter *w = context;
  w->status = kl_throttle_wait_drain(w->throttle, w->seen, &w->err);
}

/* At the limit a committer waits until a drain ends, well or not. */
static void test_waits_at_the_limit(void **state) {
  (void)state;
  for (int fails = 0; fails < 2; fails++) {
    kl_throttle throttle;
    kl_error err;
    setup(&throttle, SOFT, HARD);
    kl_throttle_add(&throttle, 2 * SOFT);
    kl_throttle_freeze(&throttle);
    kl_throttle_add(&throttle, 2 * SOFT);
    assert_false(kl_throttle_enter(&throttle, 1000));
    waiter w = {.throttle = &throttle, .seen = kl_throttle_drains(&throttle)};
    kl_thread *thread;
    assert_ok(kl_thread_start(kl_os_posix(), "test-waiter", wait_for_room, &w, &thread, &err), &err);
    kl_error reason = {0};
    (void)kl_fail(&reason, KL_E_DISK_FULL, "no space for the tree");
    kl_throttle_drained(&throttle, 1000, fails ? &reason : NULL);
    kl_thread_join(thread);
    assert_int_equal(w.status, fails ? KL_E_LIMIT : KL_OK);
    if (fails) {
      assert_non_null(strstr(w.err.message, "no space for the tree"));
      assert_false(kl_throttle_enter(&throttle, 1000));
      kl_throttle_drained(&throttle, 1000, NULL);
      assert_int_equal(kl_throttle_wait_drain(&throttle, w.seen, &err), KL_OK); /* that one ended long ago */
    }
    assert_true(kl_throttle_enter(&throttle, 1000));
    kl_throttle_destroy(&throttle);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_nobody_waits_below), cmocka_unit_test(test_smooth),
                                     cmocka_unit_test(test_waits_at_the_limit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
