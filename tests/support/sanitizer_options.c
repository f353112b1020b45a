/* tests/support/sanitizer_options.c: the sanitizers' settings, linked into every test, so that a test behaves the same
 * under ctest and by hand. An absurd size must give NULL as it does in production, not end the program; a data race is
 * a failure at once. The environment's options still come after these. */
#include "sanitizer_options.h"

const char *__asan_default_options(void) {
  return "allocator_may_return_null=1:detect_stack_use_after_return=1:strict_string_checks=1";
}

const char *__tsan_default_options(void) {
  return "allocator_may_return_null=1:halt_on_error=1:second_deadlock_stack=1";
}

const char *__ubsan_default_options(void) {
  return "print_stacktrace=1";
}
