/* tests/unit/delta/delta_testing.h: what the programs that test the delta share. */
#ifndef KL_TEST_DELTA_TESTING_H
#define KL_TEST_DELTA_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/rng.h"
#include "core/delta/delta.h"

static inline uint64_t testing_seed(void) {
  const char *text = getenv("KEEL_TEST_SEED");
  return text != NULL ? strtoull(text, NULL, 0) : 20240607;
}

/* As assert_true, with the seed that reproduces the failure. */
#define CHECK_SEED(condition, seed)                                                                                    \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: KEEL_TEST_SEED=%llu: %s\n", __FILE__, __LINE__, (unsigned long long)(seed), #condition); \
      fail();                                                                                                          \
    }                                                                                                                  \
  } while (0)

static inline kl_slice testing_text(const char *text) {
  return kl_slice_make(text, strlen(text));
}

static inline kl_version testing_put(uint64_t ts, kl_slice value) {
  kl_version version = {ts, KL_VERSION_PUT, value};
  return version;
}

static inline kl_version testing_delete(uint64_t ts) {
  kl_version version = {ts, KL_VERSION_DELETE, {NULL, 0}};
  return version;
}

#endif
