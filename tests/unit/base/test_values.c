/* The small ones: endian access, the generator, counters, slices, thread hints. */
#include <pthread.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/counter.h"
#include "core/base/endian.h"
#include "core/base/rng.h"
#include "core/base/slice.h"
#include "seed.h"

static void test_byte_order(void **state) {
  (void)state;
  uint8_t b[9];
  kl_store_u64_le(b + 1, UINT64_C(0x0102030405060708));
  assert_memory_equal(b + 1, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
  assert_int_equal(kl_load_u64_le(b + 1), UINT64_C(0x0102030405060708));
  assert_int_equal(kl_load_u64_be(b + 1), UINT64_C(0x0807060504030201));
  assert_int_equal(kl_load_u32_le(b + 1), 0x05060708);
  assert_int_equal(kl_load_u32_be(b + 1), 0x08070605);
  assert_int_equal(kl_load_u16_le(b + 1), 0x0708);
  assert_int_equal(kl_load_u16_be(b + 1), 0x0807);
  kl_store_u64_be(b + 1, UINT64_C(0x8102030405060788));
  assert_memory_equal(b + 1, "\x81\x02\x03\x04\x05\x06\x07\x88", 8);
  kl_store_u32_le(b + 1, 0x81020384);
  assert_memory_equal(b + 1, "\x84\x03\x02\x81", 4);
  kl_store_u32_be(b + 1, 0x81020384);
  assert_memory_equal(b + 1, "\x81\x02\x03\x84", 4);
  kl_store_u16_le(b + 1, 0x81fe);
  assert_memory_equal(b + 1, "\xfe\x81", 2);
  kl_store_u16_be(b + 1, 0x81fe);
  assert_memory_equal(b + 1, "\x81\xfe", 2);
  memset(b, 0xff, sizeof b);
  assert_int_equal(kl_load_u64_le(b), UINT64_MAX);
  assert_int_equal(kl_load_u16_be(b), 0xffff);
}

static void test_generator_is_xoshiro256_star_star(void **state) {
  (void)state;
  /* First outputs of the authors' splitmix64.c seeded with 0, and of their xoshiro256starstar.c from {1, 2, 3, 4}. */
  kl_rng rng;
  kl_rng_init(&rng, 0);
  assert_int_equal(rng.state[0], UINT64_C(0xe220a8397b1dcdaf));
  assert_int_equal(rng.state[1], UINT64_C(0x6e789e6aa1b965f4));
  assert_int_equal(rng.state[2], UINT64_C(0x06c45d188009454f));
  assert_int_equal(rng.state[3], UINT64_C(0xf88bb8a8724c81ec));
  for (uint64_t i = 0; i < 4; i++) rng.state[i] = i + 1;
  static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
  for (int i = 0; i < 4; i++) assert_int_equal(kl_rng_next(&rng), expected[i]);
}

static void test_below_is_in_range_and_reaches_all(void **state) {
  (void)state;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(41));
  assert_int_equal(kl_rng_below(&rng, 0), 0);
  assert_int_equal(kl_rng_below(&rng, 1), 0);
  unsigned seen[7] = {0};
  for (int i = 0; i < 70000; i++) {
    uint64_t value = kl_rng_below(&rng, 7);
    assert_true(value < 7);
    seen[value]++;
  }
  for (int i = 0; i < 7; i++) assert_in_range(seen[i], 9000, 11000);
  uint64_t huge = UINT64_C(0xc000000000000000);
  for (int i = 0; i < 1000; i++) assert_true(kl_rng_below(&rng, huge) < huge);
}

static void test_fill_does_not_depend_on_pieces_of_words(void **state) {
  (void)state;
  for (size_t size = 0; size < 40; size++) {
    uint8_t a[48];
    uint8_t b[48];
    memset(a, 0xEE, sizeof a);
    kl_rng rng;
    kl_rng_init(&rng, 42);
    kl_rng_fill(&rng, a, size);
    for (size_t i = size; i < sizeof a; i++) assert_int_equal(a[i], 0xEE);
    kl_rng_init(&rng, 42);
    kl_rng_fill(&rng, b, sizeof b);
    assert_memory_equal(a, b, size);
  }
}

enum { COUNTER_THREADS = 4, COUNTER_ROUNDS = 20000 };
typedef struct counted {
  kl_counters group;
  kl_counter plain, maximum;
} counted;

static void *count(void *context) {
  counted *c = context;
  for (uint64_t i = 0; i < COUNTER_ROUNDS; i++) {
    kl_counters_add(&c->group, 0, 1);
    kl_counters_add(&c->group, 7, 3);
    kl_counters_add(&c->group, 7, (uint64_t)-1);
    kl_counter_add(&c->plain, 2);
    kl_counter_subtract(&c->plain, 1);
    kl_counter_raise(&c->maximum, i);
  }
  return NULL;
}

static void test_counters_lose_nothing(void **state) {
  (void)state;
  static counted c;
  memset(&c, 0, sizeof c);
  pthread_t threads[COUNTER_THREADS];
  for (int i = 0; i < COUNTER_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, count, &c), 0);
  for (int i = 0; i < COUNTER_THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  uint64_t total = (uint64_t)COUNTER_THREADS * COUNTER_ROUNDS;
  assert_int_equal(kl_counters_sum(&c.group, 0), total);
  assert_int_equal(kl_counters_sum(&c.group, 1), 0);
  assert_int_equal(kl_counters_sum(&c.group, 7), 2 * total);
  assert_int_equal(kl_counter_read(&c.plain), total);
  assert_int_equal(kl_counter_read(&c.maximum), COUNTER_ROUNDS - 1);
  kl_counter_raise(&c.maximum, 1);
  assert_int_equal(kl_counter_read(&c.maximum), COUNTER_ROUNDS - 1);
}

static void *get_hint(void *context) {
  *(uint32_t *)context = kl_thread_hint();
  return NULL;
}

static void test_hints_stay_in_a_thread_and_differ_between_threads(void **state) {
  (void)state;
  uint32_t mine = kl_thread_hint();
  assert_int_equal(kl_thread_hint(), mine);
  uint32_t other = mine;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, get_hint, &other), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_not_equal(other, mine);
}

static void test_slices_sort_as_bytes(void **state) {
  (void)state;
  static const struct {
    const char *a;
    size_t a_size;
    const char *b;
    size_t b_size;
    int order;
  } cases[] = {
      {"", 0, "", 0, 0},          {"", 0, "a", 1, -1},       {"a", 1, "ab", 2, -1},  {"b", 1, "ab", 2, 1},
      {"\x7f", 1, "\x80", 1, -1}, {"a\0b", 3, "a\0a", 3, 1}, {NULL, 0, "\0", 1, -1}, {"same", 4, "same", 4, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    kl_slice a = kl_slice_make(cases[i].a, cases[i].a_size);
    kl_slice b = kl_slice_make(cases[i].b, cases[i].b_size);
    int forth = kl_slice_compare(a, b);
    int back = kl_slice_compare(b, a);
    assert_int_equal((forth > 0) - (forth < 0), cases[i].order);
    assert_int_equal((back > 0) - (back < 0), -cases[i].order);
    assert_int_equal(kl_slice_equal(a, b), cases[i].order == 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_byte_order),
      cmocka_unit_test(test_generator_is_xoshiro256_star_star),
      cmocka_unit_test(test_below_is_in_range_and_reaches_all),
      cmocka_unit_test(test_fill_does_not_depend_on_pieces_of_words),
      cmocka_unit_test(test_counters_lose_nothing),
      cmocka_unit_test(test_hints_stay_in_a_thread_and_differ_between_threads),
      cmocka_unit_test(test_slices_sort_as_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
