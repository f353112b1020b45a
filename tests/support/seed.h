/* tests/support/seed.h: one seed per test program. KEEL_TEST_SEED (decimal or 0x...) replaces the fixed default, so that
 * a failure is replayed with the seed it printed: begin a property test with test_seed(), which prints it on stderr
 * whenever it is not the default, and put it into the message of each failure. */
#ifndef KEEL_TESTS_SEED_H
#define KEEL_TESTS_SEED_H

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint64_t test_seed(uint64_t default_seed) {
  const char *text = getenv("KEEL_TEST_SEED");
  if (text == NULL || *text == '\0') return default_seed;
  char *end = NULL;
  errno = 0;
  uint64_t seed = strtoull(text, &end, 0);
  if (errno != 0 || *end != '\0') {
    (void)fprintf(stderr, "KEEL_TEST_SEED=%s is not a number\n", text);
    exit(2);
  }
  (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
  return seed;
}

#endif
