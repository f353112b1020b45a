/* A broken invariant in release: a status, never the end of the process. Compiles the sources anew without KL_DEBUG. */
#undef KL_DEBUG
#include "core/base/assert.c"
#include "core/base/status.c"
#include "core/base/status_names.c"

#include "cmocka_all.h"

static int evaluated;
static int touch(void) {
  evaluated++;
  return 0;
}

static kl_status find_a_bug(kl_error *err) {
  return KL_BROKEN(err, "TEST-1: %d behind %d", 3, 4);
}

static void test_broken_answers_internal(void **state) {
  (void)state;
  kl_error err = {0};
  assert_int_equal(find_a_bug(&err), KL_E_INTERNAL);
  assert_int_equal(err.code, KL_E_INTERNAL);
  assert_non_null(strstr(err.message, "TEST-1: 3 behind 4"));
  assert_non_null(strstr(err.message, "test_assert_release.c:"));
  assert_int_equal(find_a_bug(NULL), KL_E_INTERNAL);
}

static void test_assert_is_compiled_but_not_evaluated(void **state) {
  (void)state;
  KL_ASSERT(touch() == 1);
  assert_int_equal(evaluated, 0);
  assert_int_equal(touch(), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_broken_answers_internal),
      cmocka_unit_test(test_assert_is_compiled_but_not_evaluated),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
