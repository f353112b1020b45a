/* tests/unit/cache/traces.h: synthetic traces, for the tests and the benchmark of the eviction policies. */
#ifndef KEEL_TESTS_CACHE_TRACES_H
#define KEEL_TESTS_CACHE_TRACES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/base/rng.h"

typedef enum trace_kind { TRACE_ZIPF, TRACE_ZIPF_SCAN, TRACE_LOOP, TRACE_SHIFT, TRACE_KINDS } trace_kind;

static const char *const trace_names[TRACE_KINDS] = {"zipf 0.9", "zipf 0.9 + scans", "loop of 1.2 x", "shifting zipf"};

typedef struct trace {
  trace_kind kind;
  uint64_t pages, capacity, step;
  uint64_t scan_left, scan_next;
  kl_rng rng;
  double *cumulative; /* of the Zipf distribution over `pages` */
} trace;

static inline void trace_init(trace *t, trace_kind kind, uint64_t pages, uint64_t capacity, uint64_t seed) {
  *t = (trace){.kind = kind, .pages = pages, .capacity = capacity};
  kl_rng_init(&t->rng, seed);
  t->cumulative = calloc(pages, sizeof *t->cumulative);
  if (t->cumulative == NULL) abort();
  double sum = 0;
  for (uint64_t i = 0; i < pages; i++) t->cumulative[i] = sum += pow((double)(i + 1), -0.9);
  for (uint64_t i = 0; i < pages; i++) t->cumulative[i] /= sum;
}

static inline void trace_done(trace *t) {
  free(t->cumulative);
}

static inline uint64_t trace_zipf(trace *t) {
  double u = (double)(kl_rng_next(&t->rng) >> 11) * 0x1p-53;
  uint64_t low = 0, high = t->pages - 1;
  while (low < high) {
    uint64_t middle = (low + high) / 2;
    if (t->cumulative[middle] < u) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low * UINT64_C(2654435761) % UINT64_C(4294967291); /* popular pages are not neighbours */
}

/* The next page; *out_scan: it is one of a scan. */
static inline uint64_t trace_next(trace *t, bool *out_scan) {
  *out_scan = false;
  t->step++;
  switch (t->kind) {
    case TRACE_LOOP:
      return t->step % (t->capacity * 12 / 10);
    case TRACE_SHIFT: /* what is popular changes every 20 fillings of the cache */
      return trace_zipf(t) + t->step / (t->capacity * 20) * UINT64_C(0x1000000000);
    case TRACE_ZIPF_SCAN: /* one access in three is a scan's, once it runs; a scan is twice the cache */
      if (t->scan_left == 0 && t->step % (t->capacity * 10) == 0) t->scan_left = 2 * t->capacity;
      if (t->scan_left > 0 && t->step % 3 == 0) {
        t->scan_left--;
        *out_scan = true;
        return UINT64_C(0x2000000000) + t->scan_next++;
      }
      return trace_zipf(t);
    default:
      return trace_zipf(t);
  }
}

#endif
