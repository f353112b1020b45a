/* The allocator over libc, and kl_realloc. */
#include <string.h>

#include "cmocka_all.h"
#include "core/base/memory.h"
#include "failing_allocator.h"

static void test_memory_is_zeroed_and_aligned(void **state) {
  (void)state;
  kl_allocator *a = kl_allocator_libc();
  for (size_t align = 1; align <= 4096; align *= 2) {
    for (size_t size = 0; size < 300; size += 37) {
      uint8_t *p = kl_alloc_aligned(a, size, align);
      assert_non_null(p);
      assert_int_equal((uintptr_t)p & (align - 1), 0);
      for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
      memset(p, 0xAA, size); /* so that the next block, which may be this one, shows whether zeroing happens */
      kl_free(a, p, size);
    }
  }
  kl_free(a, NULL, 0);
}

static void test_absurd_sizes_are_refused(void **state) {
  (void)state;
  kl_allocator *a = kl_allocator_libc();
  assert_null(kl_alloc(a, SIZE_MAX));
  assert_null(kl_alloc_aligned(a, SIZE_MAX, 64));
  assert_null(kl_alloc_aligned(a, SIZE_MAX - 63, 64));
}

static void test_realloc_keeps_contents_and_zeroes_the_rest(void **state) {
  (void)state;
  kl_allocator *a = kl_allocator_libc();
  uint8_t *p = kl_realloc(a, NULL, 0, 10);
  assert_non_null(p);
  memset(p, 7, 10);
  p = kl_realloc(a, p, 10, 100);
  assert_non_null(p);
  for (int i = 0; i < 100; i++) assert_int_equal(p[i], i < 10 ? 7 : 0);
  p = kl_realloc(a, p, 100, 5);
  assert_non_null(p);
  for (int i = 0; i < 5; i++) assert_int_equal(p[i], 7);
  kl_free(a, p, 5);
}

static void test_realloc_without_memory_keeps_the_old_block(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  uint8_t *p = kl_alloc(&a.base, 10);
  assert_non_null(p);
  memset(p, 7, 10);
  failing_allocator_arm(&a, 1);
  assert_null(kl_realloc(&a.base, p, 10, 100));
  assert_int_equal(p[9], 7);
  assert_int_equal(a.live_bytes, 10);
  kl_free(&a.base, p, 10);
  assert_int_equal(a.live_bytes, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_memory_is_zeroed_and_aligned),
      cmocka_unit_test(test_absurd_sizes_are_refused),
      cmocka_unit_test(test_realloc_keeps_contents_and_zeroes_the_rest),
      cmocka_unit_test(test_realloc_without_memory_keeps_the_old_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
