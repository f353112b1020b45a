/* The cache by one thread: lookups, room, pins, limits, drops, failures. Invariants: core/cache/README.md. */
#include <stdlib.h>

#include "cache_testing.h"
#include "core/cache/cache_private.h"
#include "core/os/sim/sim.h"
#include "seed.h"

#define MIB (UINT64_C(1) << 20)
enum { PAGE = 4096 };

static void test_a_page_is_loaded_once(void **state) {
  (void)state;
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    cache_fixture f;
    fixture_open(&f, kl_os_posix(), (kl_policy_kind)kind, 16 * MIB);
    for (int round = 0; round < 3; round++) {
      for (uint64_t a = 0; a < 1000; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
    }
    assert_int_equal(atomic_load(&f.source.loads), 1000);
    kl_cache_stats stats = stats_of(&f);
    assert_int_equal(stats.loads, 1000);
    assert_int_equal(stats.pages, 1000);
    assert_int_equal(stats.cached, 1000 * PAGE);
    assert_int_equal(stats.evictions, 0);
    fixture_close(&f);
  }
}

static void test_an_empty_cache_is_small(void **state) {
  (void)state;
  cache_fixture f;
  fixture_open(&f, kl_os_posix(), KL_POLICY_SIEVE, 1024 * MIB);
  assert_true(stats_of(&f).resident < 64 << 10);
  fixture_close(&f);
}

/* CACHE-6: pages of every size, far more of them than fit. */
static void test_the_limit_is_kept_with_pages_of_all_sizes(void **state) {
  (void)state;
  static const uint32_t lengths[] = {100,    4096,    8192,    16384,  32768,   65536,   65537, 100000,   200000,
                                     500000, 1000000, 1048577, 300000, 2097152, 3000000, 4096,  4096 * 3, 40000};
  uint64_t seed = test_seed(71);
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    cache_fixture f;
    kl_rng rng;
    kl_rng_init(&rng, seed);
    fixture_open(&f, kl_os_posix(), (kl_policy_kind)kind, 64 * MIB);
    for (int i = 0; i < 1500; i++) {
      uint64_t n = kl_rng_below(&rng, 400);
      uint32_t length = lengths[n % (sizeof lengths / sizeof *lengths)];
      kl_error err = {0};
      kl_status status = read_page(&f, n * 1024, length, kl_rng_below(&rng, 8) == 0 ? KL_CACHE_SCAN : 0, &err);
      if (status != KL_OK)
        fail_msg("seed %llu, %s, step %d: %s", (unsigned long long)seed, kl_policy_name((kl_policy_kind)kind), i,
                 err.message);
      kl_cache_stats stats = stats_of(&f);
      if (stats.resident > stats.limit + KL_CACHE_SLACK) {
        fail_msg("seed %llu, %s, step %d: %llu resident", (unsigned long long)seed,
                 kl_policy_name((kl_policy_kind)kind), i, (unsigned long long)stats.resident);
      }
      assert_true(stats.cached + stats.retired <= stats.resident);
    }
    kl_cache_stats stats = stats_of(&f);
    assert_true(stats.evictions > 0);
    assert_true(stats.cached > stats.limit / 4);
    fixture_close(&f);
  }
}

/* A cache of one size of page uses its limit. */
static void test_the_limit_is_used(void **state) {
  (void)state;
  cache_fixture f;
  fixture_open(&f, kl_os_posix(), KL_POLICY_SIEVE, 32 * MIB);
  for (uint64_t a = 0; a < 20000; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
  kl_cache_stats stats = stats_of(&f);
  assert_true(stats.resident <= stats.limit + KL_CACHE_SLACK);
  assert_true(stats.cached > stats.limit / 100 * 85);
  assert_int_equal(stats.retries, 0); /* frames are freed ahead: nobody who leaves epochs ever has to start again */
  fixture_close(&f);
}

/* CACHE-2: inside one epoch all frames stay, however much is loaded; then room is refused, not waited for. */
static void test_one_epoch_cannot_lose_its_frames(void **state) {
  (void)state;
  enum { MOST = 8192 };
  static const void *frames[MOST];
  cache_fixture f;
  fixture_open(&f, kl_os_posix(), KL_POLICY_SIEVE, 8 * MIB);
  for (uint64_t a = 0; a < 3000; a++) assert_int_equal(read_page(&f, MOST + a, PAGE, 0, NULL), KL_OK);
  kl_epoch_guard guard = kl_epoch_enter(f.epoch);
  uint64_t count = 0;
  kl_status status = KL_OK;
  for (; count < MOST; count++) {
    kl_cache_ref ref = ref_to(count, PAGE);
    status = kl_cache_get(f.cache, &ref, 0, &frames[count], NULL);
    if (status != KL_OK) break;
  }
  assert_int_equal(status, KL_CACHE_RETRY);
  assert_true(count >= KL_CACHE_SLACK / PAGE / 2);
  for (uint64_t a = 0; a < count; a++) assert_true(page_is(frames[a], a, PAGE));
  assert_true(stats_of(&f).resident <= 8 * MIB + KL_CACHE_SLACK);
  kl_epoch_leave(f.epoch, guard);
  assert_int_equal(kl_cache_make_room(f.cache, PAGE, NULL), KL_OK);
  for (uint64_t a = 0; a < MOST; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
  fixture_close(&f);
}

static void test_pins_keep_frames_and_have_a_budget(void **state) {
  (void)state;
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    enum { MOST = 1024 };
    static const void *pinned[MOST];
    cache_fixture f;
    fixture_open(&f, kl_os_posix(), (kl_policy_kind)kind, 8 * MIB);
    uint64_t count = 0;
    for (; count < MOST; count++) {
      kl_cache_ref ref = ref_to(count, PAGE);
      kl_epoch_guard guard = kl_epoch_enter(f.epoch);
      assert_int_equal(kl_cache_get(f.cache, &ref, 0, &pinned[count], NULL), KL_OK);
      bool taken = kl_cache_pin(f.cache, pinned[count]);
      if (taken) assert_true(kl_cache_pin(f.cache, (const char *)pinned[count] + 100)); /* again; charged once */
      kl_epoch_leave(f.epoch, guard);
      if (!taken) break;
      kl_cache_unpin(f.cache, pinned[count]);
    }
    assert_int_equal(count, 8 * MIB / 4 / PAGE); /* a quarter of the limit */
    assert_int_equal(stats_of(&f).pinned, count * PAGE);
    assert_int_equal(stats_of(&f).pin_refusals, 1);
    for (uint64_t a = MOST; a < 10 * MOST; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
    for (uint64_t a = 0; a < count; a += 2) kl_cache_drop(f.cache, &a, 1);
    for (uint64_t a = 0; a < 10 * MOST; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
    for (uint64_t a = 0; a < count; a++) assert_true(page_is(pinned[a], a, PAGE));
    for (uint64_t a = 0; a < count; a++) kl_cache_unpin(f.cache, pinned[a]);
    assert_int_equal(stats_of(&f).pinned, 0);
    while (kl_epoch_collect(f.epoch) != 0) {
    }
    assert_int_equal(stats_of(&f).retired, 0);
    fixture_close(&f);
  }
}

/* CACHE-8: with everything pinned a load ends, with an error that says so. */
static void test_everything_pinned_ends(void **state) {
  (void)state;
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    enum { MOST = 4096 };
    static const void *pinned[MOST];
    cache_fixture f = {0};
    assert_int_equal(kl_epoch_new(kl_allocator_libc(), &f.epoch, NULL), KL_OK);
    kl_cache_options options = {.os = kl_os_posix(),
                                .allocator = kl_allocator_libc(),
                                .epoch = f.epoch,
                                .loader = {&f.source, source_load, source_verify, source_note},
                                .policy = (kl_policy_kind)kind,
                                .limit = 8 * MIB,
                                .pin_budget = 64 * MIB};
    assert_int_equal(kl_cache_new(&options, &f.cache, NULL), KL_OK);
    uint64_t count = 0;
    kl_error err = {0};
    kl_status status = KL_OK;
    for (; count < MOST && status == KL_OK; count += status == KL_OK) {
      kl_cache_ref ref = ref_to(count, PAGE);
      kl_epoch_guard guard = kl_epoch_enter(f.epoch);
      status = kl_cache_get(f.cache, &ref, 0, &pinned[count], &err);
      if (status == KL_OK) assert_true(kl_cache_pin(f.cache, pinned[count]));
      kl_epoch_leave(f.epoch, guard);
    }
    assert_int_equal(status, KL_E_LIMIT);
    assert_non_null(strstr(err.message, "pinned"));
    assert_int_equal(kl_cache_make_room(f.cache, PAGE, NULL), KL_E_LIMIT);
    assert_int_equal(read_page(&f, 999999, 3000000, 0, NULL), KL_E_LIMIT);
    kl_cache_unpin(f.cache, pinned[count / 2]);
    assert_int_equal(read_page(&f, MOST, PAGE, 0, NULL), KL_OK); /* one is free: enough */
    for (uint64_t a = 0; a < count; a++) {
      assert_true(a == count / 2 || page_is(pinned[a], a, PAGE));
      if (a != count / 2) kl_cache_unpin(f.cache, pinned[a]);
    }
    for (uint64_t a = 0; a < MOST; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
    fixture_close(&f);
  }
}

static void test_the_limit_moves(void **state) {
  (void)state;
  cache_fixture f;
  kl_error err = {0};
  fixture_open(&f, kl_os_posix(), KL_POLICY_SIEVE, 64 * MIB);
  for (uint64_t a = 0; a < 20000; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
  assert_true(stats_of(&f).resident > 56 * MIB);
  assert_int_equal(kl_cache_set_limit(f.cache, 12 * MIB, NULL), KL_OK);
  while (kl_epoch_collect(f.epoch) != 0) {
  }
  assert_true(stats_of(&f).resident <= 12 * MIB);
  for (uint64_t a = 0; a < 20000; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
  assert_true(stats_of(&f).resident <= 12 * MIB + KL_CACHE_SLACK);
  assert_int_equal(kl_cache_set_limit(f.cache, 128 * MIB, NULL), KL_OK);
  for (uint64_t a = 0; a < 20000; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
  uint64_t loads = atomic_load(&f.source.loads);
  for (uint64_t a = 0; a < 20000; a++) assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
  assert_int_equal(atomic_load(&f.source.loads), loads); /* all fit now */
  assert_int_equal(kl_cache_set_limit(f.cache, 1, &err), KL_E_INVALID);
  assert_int_equal(kl_cache_set_limit(f.cache, UINT64_MAX, &err), KL_E_INVALID);
  fixture_close(&f);
}

static void test_drop_forgets(void **state) {
  (void)state;
  cache_fixture f;
  fixture_open(&f, kl_os_posix(), KL_POLICY_ARC, 16 * MIB);
  uint64_t addresses[100];
  for (uint64_t a = 0; a < 100; a++) {
    addresses[a] = 2 * a;
    assert_int_equal(read_page(&f, a, PAGE, 0, NULL), KL_OK);
  }
  kl_cache_drop(f.cache, addresses, 100); /* half of them are not there */
  assert_int_equal(stats_of(&f).drops, 50);
  const void *found[100];
  uint64_t all[100];
  for (uint64_t a = 0; a < 100; a++) all[a] = a;
  kl_epoch_guard guard = kl_epoch_enter(f.epoch);
  assert_int_equal(kl_cache_find_many(f.cache, all, 100, 0, found), 50);
  for (uint64_t a = 0; a < 100; a++) {
    assert_true(a % 2 == 0 ? found[a] == NULL : page_is(found[a], a, PAGE));
  }
  kl_epoch_leave(f.epoch, guard);
  /* The block holds another page now, of another length. */
  assert_int_equal(read_page(&f, 0, 2 * PAGE, 0, NULL), KL_OK);
  fixture_close(&f);
}

static uint8_t heat_of(const cache_fixture *f, uint64_t address) {
  uint32_t frame = kl_table_find(&f->cache->table, address);
  assert_int_not_equal(frame, 0);
  return atomic_load(&kl_cache_head_of(f->cache, frame - 1)->heat);
}

/* CACHE-11: three pages that want one place of the memo. Each is found, whichever has it, and none after it was
 * dropped. */
static void test_pages_that_share_a_place_of_the_memo(void **state) {
  (void)state;
  enum { SHARERS = 3 };
  cache_fixture f;
  fixture_open(&f, kl_os_posix(), KL_POLICY_SIEVE, 8 * MIB);
  uint64_t addresses[SHARERS];
  bool there[SHARERS] = {false};
  kl_rng rng;
  kl_rng_init(&rng, test_seed(17));
  for (uint64_t i = 0; i < SHARERS; i++) addresses[i] = 5 + i * (f.cache->memo_mask + 1);
  for (int step = 0; step < 500; step++) {
    uint64_t i = kl_rng_below(&rng, SHARERS);
    if (kl_rng_below(&rng, 2) == 0) {
      assert_int_equal(read_page(&f, addresses[i], PAGE, 0, NULL), KL_OK);
    } else {
      kl_cache_drop(f.cache, &addresses[i], 1);
    }
    there[i] = kl_table_find(&f.cache->table, addresses[i]) != 0;
    kl_epoch_guard guard = kl_epoch_enter(f.epoch);
    for (uint64_t j = 0; j < SHARERS; j++) {
      const void *frame = kl_cache_find(f.cache, addresses[j], addresses[j], 0), *many = NULL;
      assert_int_equal(frame != NULL, there[j]);
      assert_int_equal(kl_cache_find_many(f.cache, &addresses[j], 1, 0, &many), there[j]);
      assert_ptr_equal(frame, many);
      if (frame != NULL) assert_true(page_is(frame, addresses[j], PAGE) && note_is(f.cache, frame, addresses[j], PAGE));
    }
    uint32_t shown = atomic_load(kl_cache_memo_of(f.cache, addresses[0]));
    bool live = false;
    for (uint64_t j = 0; j < SHARERS; j++) live |= there[j] && kl_table_find(&f.cache->table, addresses[j]) == shown;
    assert_true(shown == 0 || live);
    kl_epoch_leave(f.epoch, guard);
  }
  fixture_close(&f);
}

/* CACHE-9: a scan that looks ahead many at a time makes no page look used. */
static void test_scans_are_no_hits(void **state) {
  (void)state;
  cache_fixture f;
  fixture_open(&f, kl_os_posix(), KL_POLICY_S3_FIFO, 16 * MIB);
  uint64_t address = 7;
  const void *found = NULL;
  assert_int_equal(read_page(&f, address, PAGE, KL_CACHE_SCAN, NULL), KL_OK);
  assert_int_equal(read_page(&f, address, PAGE, KL_CACHE_SCAN, NULL), KL_OK);
  kl_epoch_guard guard = kl_epoch_enter(f.epoch);
  assert_int_equal(kl_cache_find_many(f.cache, &address, 1, KL_CACHE_SCAN, &found), 1);
  assert_int_equal(heat_of(&f, address), 0);
  assert_int_equal(kl_cache_find_many(f.cache, &address, 1, 0, &found), 1);
  assert_int_equal(heat_of(&f, address), 1);
  kl_epoch_leave(f.epoch, guard);
  fixture_close(&f);
}

static void test_put_spares_the_load(void **state) {
  (void)state;
  cache_fixture f;
  unsigned char page[3 * PAGE];
  fixture_open(&f, kl_os_posix(), KL_POLICY_SIEVE, 8 * MIB);
  make_page(7, page, sizeof page);
  kl_cache_ref ref = ref_to(7, sizeof page);
  assert_int_equal(kl_cache_put(f.cache, &ref, page, 0, NULL), KL_OK);
  assert_int_equal(read_page(&f, 7, sizeof page, 0, NULL), KL_OK);
  assert_int_equal(atomic_load(&f.source.loads), 0);
  memset(page, 0, sizeof page);
  assert_int_equal(kl_cache_put(f.cache, &ref, page, 0, NULL), KL_OK); /* stays as it is */
  assert_int_equal(read_page(&f, 7, sizeof page, 0, NULL), KL_OK);
  fixture_close(&f);
}

static void test_failed_loads_leave_nothing(void **state) {
  (void)state;
  cache_fixture f;
  kl_error err = {0};
  fixture_open(&f, kl_os_posix(), KL_POLICY_SIEVE, 8 * MIB);
  atomic_store(&f.source.fail_load_at, 1);
  assert_int_equal(read_page(&f, 5, PAGE, 0, &err), KL_E_IO);
  assert_string_equal(err.message, "block 5 cannot be read");
  atomic_store(&f.source.fail_verify_at, 2);
  assert_int_equal(read_page(&f, 5, PAGE, 0, &err), KL_E_CORRUPT);
  assert_string_equal(err.message, "block 5 is damaged");
  assert_int_equal(stats_of(&f).pages, 0);
  assert_int_equal(stats_of(&f).load_errors, 2);
  assert_int_equal(read_page(&f, 5, PAGE, 0, &err), KL_OK);
  assert_int_equal(read_page(&f, 6, 0, 0, &err), KL_E_INVALID);
  assert_int_equal(read_page(&f, 6, KL_CACHE_PAGE_MAX + 1, 0, &err), KL_E_INVALID);
  assert_int_equal(read_page(&f, 6, 9 << 20, 0, &err), KL_E_LIMIT);
  atomic_store(&f.source.corrupt_address, 77 + 1);
  for (int i = 0; i < 5000; i++)
    assert_int_equal(read_page(&f, 77, PAGE, 0, NULL), KL_E_CORRUPT); /* no leak of frames */
  assert_int_equal(stats_of(&f).cached, PAGE);
  fixture_close(&f);
}

/* Fails each allocation, mapping and commit of memory in turn, through the simulated os: either the lookup answers
 * NO_MEMORY and works when repeated, or it did not need the memory. Nothing leaks. */
static void test_each_allocation_fails_once(void **state) {
  (void)state;
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
      cache_fixture f = {0};
      kl_sim *sim = NULL;
      assert_int_equal(kl_sim_new(n, &sim, NULL), KL_OK);
      assert_int_equal(kl_epoch_new(kl_allocator_libc(), &f.epoch, NULL), KL_OK);
      kl_cache_options options = {.os = kl_sim_os(sim),
                                  .allocator = kl_sim_os(sim)->allocator,
                                  .epoch = f.epoch,
                                  .loader = {&f.source, source_load, source_verify, source_note},
                                  .policy = (kl_policy_kind)kind,
                                  .limit = 8 * MIB};
      kl_sim_fail_allocation(sim, n);
      kl_status status = kl_cache_new(&options, &f.cache, NULL);
      if (status == KL_E_NO_MEMORY) {
        assert_int_equal(kl_sim_live_bytes(sim), 0);
        status = kl_cache_new(&options, &f.cache, NULL);
      }
      assert_int_equal(status, KL_OK);
      for (uint64_t a = 0; a < 700; a++) {
        uint64_t address = a % 600;
        uint32_t length = address % 100 == 0 ? 2 * PAGE : address == 333 ? 3 << 20 : PAGE;
        status = read_page(&f, address, length, 0, NULL);
        if (status == KL_E_NO_MEMORY) status = read_page(&f, address, length, 0, NULL);
        if (status != KL_OK)
          fail_msg("%s, allocation %llu: %d", kl_policy_name((kl_policy_kind)kind), (unsigned long long)n, status);
      }
      failed = kl_sim_allocations(sim) >= n;
      fixture_close(&f);
      assert_int_equal(kl_sim_live_bytes(sim), 0);
      kl_sim_free(sim);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_page_is_loaded_once),
      cmocka_unit_test(test_an_empty_cache_is_small),
      cmocka_unit_test(test_the_limit_is_kept_with_pages_of_all_sizes),
      cmocka_unit_test(test_the_limit_is_used),
      cmocka_unit_test(test_one_epoch_cannot_lose_its_frames),
      cmocka_unit_test(test_pins_keep_frames_and_have_a_budget),
      cmocka_unit_test(test_everything_pinned_ends),
      cmocka_unit_test(test_the_limit_moves),
      cmocka_unit_test(test_drop_forgets),
      cmocka_unit_test(test_pages_that_share_a_place_of_the_memo),
      cmocka_unit_test(test_scans_are_no_hits),
      cmocka_unit_test(test_put_spares_the_load),
      cmocka_unit_test(test_failed_loads_leave_nothing),
      cmocka_unit_test(test_each_allocation_fails_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
