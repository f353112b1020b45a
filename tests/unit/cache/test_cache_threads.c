/* The cache by several threads: readers hold frames through epochs and pins and check every word against the page's
 * stamps, while others load, drop and resize. A frame that was used again too early (CACHE-2), a frame of another page
 * (CACHE-1) or a page that was seen before it was whole (CACHE-3) shows as a wrong stamp, and under the thread
 * sanitizer as a race. */
#include <pthread.h>
#include <sched.h>

#include "cache_testing.h"
#include "seed.h"

#define MIB (UINT64_C(1) << 20)
enum { READERS = 3, ROUNDS = 2500, HELD = 12, PAGES = 6000 };

static struct {
  cache_fixture f;
  _Atomic uint64_t wrong, failed;
  atomic_bool stop;
  uint64_t seed;
} shared;

static uint32_t length_of(uint64_t address) {
  static const uint32_t lengths[] = {4096, 4096, 4096, 8192, 4096, 16384, 70000};
  return address % 500 == 499 ? 1200000 : lengths[address % (sizeof lengths / sizeof *lengths)];
}

/* Looks at some words only: the page may be large, and the point is when, not how much. */
static void check(const void *frame, uint64_t address, kl_rng *rng) {
  uint32_t words = length_of(address) / 8, stride = page_stride(length_of(address));
  for (int i = 0; i < 4; i++) {
    uint64_t index = kl_rng_below(rng, (words - 1) / stride + 1) * stride;
    if (!page_word_is(frame, address, index)) atomic_fetch_add(&shared.wrong, 1);
  }
  if (!note_is(shared.f.cache, frame, address, length_of(address))) atomic_fetch_add(&shared.wrong, 1); /* CACHE-10 */
}

static uint64_t pick(kl_rng *rng) {
  return kl_rng_below(rng, 4) == 0 ? kl_rng_below(rng, PAGES) : kl_rng_below(rng, PAGES / 20);
}

/* One operation: several pages in one epoch, all looked at again at its end. */
static void operate(kl_rng *rng) {
  const void *frames[HELD];
  uint64_t addresses[HELD];
  kl_status status = KL_OK;
  uint32_t count = 0, wanted = 1 + (uint32_t)kl_rng_below(rng, HELD - 1), length = 0;
  kl_epoch_guard guard = kl_epoch_enter(shared.f.epoch);
  while (count < wanted && status == KL_OK) {
    addresses[count] = pick(rng);
    length = length_of(addresses[count]);
    kl_cache_ref ref = ref_to(addresses[count], length);
    status = kl_cache_get(shared.f.cache, &ref, kl_rng_below(rng, 6) == 0 ? KL_CACHE_SCAN : 0, &frames[count], NULL);
    if (status == KL_OK) check(frames[count], addresses[count], rng);
    count += status == KL_OK;
    if (kl_rng_below(rng, 16) == 0) sched_yield();
  }
  for (uint32_t i = 0; i < count; i++) check(frames[i], addresses[i], rng);
  const void *pinned = count > 0 && kl_rng_below(rng, 4) == 0 ? frames[0] : NULL;
  if (pinned != NULL && !kl_cache_pin(shared.f.cache, pinned)) pinned = NULL;
  (void)kl_cache_find_many(shared.f.cache, addresses, count, 0, frames);
  for (uint32_t i = 0; i < count; i++) {
    if (frames[i] != NULL) check(frames[i], addresses[i], rng);
  }
  kl_epoch_leave(shared.f.epoch, guard);
  if (pinned != NULL) { /* outside of the epoch */
    sched_yield();
    check(pinned, addresses[0], rng);
    kl_cache_unpin(shared.f.cache, pinned);
  }
  if (status == KL_CACHE_RETRY) status = kl_cache_make_room(shared.f.cache, length, NULL);
  if (status != KL_OK && status != KL_E_LIMIT) atomic_fetch_add(&shared.failed, 1);
}

static void *read_pages(void *context) {
  kl_rng rng;
  kl_rng_init(&rng, shared.seed + *(const uint64_t *)context);
  for (int i = 0; i < ROUNDS; i++) operate(&rng);
  return NULL;
}

static void *disturb(void *context) {
  (void)context;
  kl_rng rng;
  kl_rng_init(&rng, shared.seed + 1000);
  while (!atomic_load_explicit(&shared.stop, memory_order_relaxed)) {
    uint64_t addresses[20];
    for (int i = 0; i < 20; i++) addresses[i] = pick(&rng);
    kl_cache_drop(shared.f.cache, addresses, 20);
    uint64_t limit = (12 + kl_rng_below(&rng, 20)) * MIB;
    if (kl_rng_below(&rng, 8) == 0 && kl_cache_set_limit(shared.f.cache, limit, NULL) != KL_OK) {
      atomic_fetch_add(&shared.failed, 1);
    }
    (void)kl_epoch_collect(shared.f.epoch);
    for (int i = 0; i < 20; i++) sched_yield();
  }
  return NULL;
}

static void test_readers_see_their_pages(void **state) {
  (void)state;
  shared.seed = test_seed(91);
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    fixture_open(&shared.f, kl_os_posix(), (kl_policy_kind)kind, 16 * MIB);
    atomic_store(&shared.stop, false);
    pthread_t readers[READERS], disturber;
    uint64_t numbers[READERS];
    for (int i = 0; i < READERS; i++) {
      numbers[i] = (uint64_t)(kind * READERS + i);
      assert_int_equal(pthread_create(&readers[i], NULL, read_pages, &numbers[i]), 0);
    }
    assert_int_equal(pthread_create(&disturber, NULL, disturb, NULL), 0);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_join(readers[i], NULL), 0);
    atomic_store(&shared.stop, true);
    assert_int_equal(pthread_join(disturber, NULL), 0);
    kl_cache_stats stats = stats_of(&shared.f);
    if (atomic_load(&shared.wrong) != 0 || atomic_load(&shared.failed) != 0) {
      fail_msg("seed %llu, %s: %llu wrong, %llu failed", (unsigned long long)shared.seed,
               kl_policy_name((kl_policy_kind)kind), (unsigned long long)atomic_load(&shared.wrong),
               (unsigned long long)atomic_load(&shared.failed));
    }
    assert_true(stats.evictions > 0 && stats.drops > 0);
    assert_int_equal(stats.pinned, 0);
    fixture_close(&shared.f);
  }
}

/* CACHE-5: many want one page at the same time; it is loaded once for all of them. */
static struct {
  cache_fixture f;
  pthread_barrier_t barrier;
  _Atomic uint64_t loading, overlaps;
} herd;

static kl_status slow_load(void *context, const kl_cache_ref *ref, void *frame, kl_error *err) {
  if (atomic_fetch_add(&herd.loading, 1) != 0) atomic_fetch_add(&herd.overlaps, 1);
  for (int i = 0; i < 200; i++) sched_yield();
  kl_status status = source_load(context, ref, frame, err);
  atomic_fetch_sub(&herd.loading, 1);
  return status;
}

static void *want_the_same(void *context) {
  (void)context;
  for (uint64_t a = 0; a < 100; a++) {
    (void)pthread_barrier_wait(&herd.barrier);
    if (read_page(&herd.f, a, 4096, 0, NULL) != KL_OK) atomic_fetch_add(&herd.overlaps, 1);
  }
  return NULL;
}

static void test_one_loads_the_others_wait(void **state) {
  (void)state;
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  assert_int_equal(kl_epoch_new(kl_allocator_libc(), &herd.f.epoch, NULL), KL_OK);
  kl_cache_options options = {.os = kl_os_posix(),
                              .allocator = kl_allocator_libc(),
                              .epoch = herd.f.epoch,
                              .loader = {&herd.f.source, slow_load, source_verify, source_note},
                              .limit = 16 * MIB};
  assert_int_equal(kl_cache_new(&options, &herd.f.cache, NULL), KL_OK);
  assert_int_equal(pthread_barrier_init(&herd.barrier, NULL, THREADS), 0);
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, want_the_same, NULL), 0);
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(atomic_load(&herd.overlaps), 0);
  assert_int_equal(atomic_load(&herd.f.source.loads), 100);
  assert_int_equal(stats_of(&herd.f).loads, 100);
  (void)pthread_barrier_destroy(&herd.barrier);
  fixture_close(&herd.f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_readers_see_their_pages),
      cmocka_unit_test(test_one_loads_the_others_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
