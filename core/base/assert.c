/* core/base/assert.c: see assert.h. */
#include "assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef KL_DEBUG
_Noreturn void kl_assert_failed(const char *file, int line, const char *text) {
  (void)fprintf(stderr, "keel: broken invariant at %s:%d: %s\n", file, line, text);
  abort();
}
#endif

kl_status kl_broken(kl_error *err, const char *file, int line, const char *format, ...) {
  char text[KL_ERROR_MESSAGE];
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(text, sizeof text, format, arguments) < 0) text[0] = '\0';
  va_end(arguments);
#ifdef KL_DEBUG
  (void)err;
  kl_assert_failed(file, line, text);
#else
  return kl_fail(err, KL_E_INTERNAL, "broken invariant at %s:%d (a bug in Keel, please report it): %s", file, line,
                 text);
#endif
}
