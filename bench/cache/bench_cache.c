/* bench/cache/bench_cache.c: hit ratios of the eviction policies, and what a lookup costs.
 *
 * Hit ratios: the whole cache (frames, table, buffered hits, one thread) under each trace of tests/unit/cache/traces.h,
 * in parts of 100; of a trace with scans, without and with KL_CACHE_SCAN. They do not depend on the machine.
 *
 * Cost: nanoseconds of processor time of the thread per lookup that hits: an epoch of 1 and of 4 lookups each, and
 * kl_cache_find_many of 16. Random pages of a set that is larger than the processor's caches, one word of each page
 * read. The measures of a round follow each other, so that a disturbance of the machine meets all of them; medians of
 * the rounds. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../core/cache/cache.h"
#include "traces.h"

enum { PAGE = 4096, MOST_THREADS = 64, MOST_ROUNDS = 99, GROUP = 16 };
#define MIB (UINT64_C(1) << 20)

typedef struct options {
  uint64_t accesses, lookups, resident_mib;
  unsigned threads, rounds;
} options;

static kl_status bench_load(void *context, const kl_cache_ref *ref, void *frame, kl_error *err) {
  (void)err;
  ++*(uint64_t *)context;
  memcpy(frame, &ref->address, sizeof ref->address);
  return KL_OK;
}

typedef struct fixture {
  kl_epoch *epoch;
  kl_cache *cache;
  uint64_t loads;
} fixture;

static void must(kl_status status, const char *what) {
  if (status == KL_OK) return;
  (void)fprintf(stderr, "bench_cache: %s: %s\n", what, kl_status_name(status));
  exit(1);
}

static void fixture_open(fixture *f, kl_policy_kind kind, uint64_t limit) {
  f->loads = 0;
  must(kl_epoch_new(kl_allocator_libc(), &f->epoch, NULL), "epoch");
  kl_cache_options o = {.os = kl_os_posix(),
                        .allocator = kl_allocator_libc(),
                        .epoch = f->epoch,
                        .loader = {&f->loads, bench_load, NULL, NULL},
                        .policy = kind,
                        .limit = limit};
  must(kl_cache_new(&o, &f->cache, NULL), "cache");
}

static void fixture_close(fixture *f) {
  kl_cache_free(f->cache);
  kl_epoch_free(f->epoch);
}

static uint64_t lookup(fixture *f, uint64_t address, uint32_t flags) {
  const kl_cache_ref ref = {address, address, PAGE, PAGE};
  const void *frame;
  must(kl_cache_get(f->cache, &ref, flags, &frame, NULL), "lookup");
  uint64_t word;
  memcpy(&word, frame, sizeof word);
  return word;
}

/* ---- hit ratios ---- */

static double hit_ratio(kl_policy_kind kind, trace_kind which, bool hint, uint64_t accesses) {
  enum { CAPACITY_MIB = 16 };
  const uint64_t capacity = CAPACITY_MIB * MIB / PAGE * 15 / 16; /* about what it holds beside its own tables */
  fixture f;
  trace t;
  uint64_t misses_before = 0;
  fixture_open(&f, kind, CAPACITY_MIB * MIB);
  trace_init(&t, which, 10 * capacity, capacity, 7);
  for (uint64_t i = 0; i < accesses; i++) {
    bool scan;
    uint64_t page = trace_next(&t, &scan);
    if (i == accesses / 5) misses_before = f.loads; /* the first part fills the cache */
    kl_epoch_guard guard = kl_epoch_enter(f.epoch);
    (void)lookup(&f, page, scan && hint ? KL_CACHE_SCAN : 0);
    kl_epoch_leave(f.epoch, guard);
  }
  uint64_t counted = accesses - accesses / 5;
  double ratio = 100.0 * (double)(counted - (f.loads - misses_before)) / (double)counted;
  trace_done(&t);
  fixture_close(&f);
  return ratio;
}

static void print_hit_ratios(const options *o) {
  printf("| policy |");
  for (int t = 0; t < TRACE_KINDS; t++) printf(" %s |", trace_names[t]);
  printf(" %s, hint |\n|---|", trace_names[TRACE_ZIPF_SCAN]);
  for (int t = 0; t <= TRACE_KINDS; t++) printf("--:|");
  for (int k = 0; k < KL_POLICY_KINDS; k++) {
    printf("\n| %s |", kl_policy_name((kl_policy_kind)k));
    for (int t = 0; t < TRACE_KINDS; t++)
      printf(" %.1f |", hit_ratio((kl_policy_kind)k, (trace_kind)t, false, o->accesses));
    printf(" %.1f |", hit_ratio((kl_policy_kind)k, TRACE_ZIPF_SCAN, true, o->accesses));
    (void)fflush(stdout);
  }
  printf("\n\n");
}

/* ---- cost of a hit ---- */

typedef enum cost_kind { COST_ONE, COST_FOUR, COST_MANY, COST_KINDS } cost_kind;
static const char *const cost_names[COST_KINDS] = {"get, epoch of 1", "get, epoch of 4", "find_many of 16"};

typedef struct worker {
  fixture *f;
  cost_kind kind;
  uint64_t pages, lookups, seed, sum;
  double ns;
} worker;

static double now_ns(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *look_up(void *context) {
  worker *w = context;
  kl_rng rng;
  kl_rng_init(&rng, w->seed);
  double start = now_ns();
  uint64_t group = w->kind == COST_ONE ? 1 : w->kind == COST_FOUR ? 4 : GROUP;
  for (uint64_t done = 0; done < w->lookups; done += group) {
    uint64_t addresses[GROUP];
    const void *frames[GROUP];
    for (uint64_t i = 0; i < group; i++) addresses[i] = kl_rng_next(&rng) % w->pages;
    kl_epoch_guard guard = kl_epoch_enter(w->f->epoch);
    if (w->kind == COST_MANY) {
      if (kl_cache_find_many(w->f->cache, addresses, group, 0, frames) != group) exit(1);
      for (uint64_t i = 0; i < group; i++) w->sum += *(const uint64_t *)frames[i];
    } else {
      for (uint64_t i = 0; i < group; i++) w->sum += lookup(w->f, addresses[i], 0);
    }
    kl_epoch_leave(w->f->epoch, guard);
  }
  w->ns = (now_ns() - start) / (double)w->lookups;
  return NULL;
}

static double cost(fixture *f, cost_kind kind, unsigned threads, uint64_t pages, uint64_t lookups) {
  pthread_t ids[MOST_THREADS];
  worker workers[MOST_THREADS];
  double sum = 0;
  for (unsigned i = 0; i < threads; i++) {
    workers[i] = (worker){f, kind, pages, lookups, i + 1, 0, 0};
    if (pthread_create(&ids[i], NULL, look_up, &workers[i]) != 0) exit(1);
  }
  for (unsigned i = 0; i < threads; i++) {
    (void)pthread_join(ids[i], NULL);
    sum += workers[i].ns;
  }
  return sum / threads;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_costs(const options *o) {
  static double results[KL_POLICY_KINDS][2][COST_KINDS][MOST_ROUNDS];
  const uint64_t pages = o->resident_mib * MIB / PAGE;
  for (unsigned round = 0; round < o->rounds; round++) {
    for (int k = 0; k < KL_POLICY_KINDS; k++) {
      fixture f;
      fixture_open(&f, (kl_policy_kind)k, o->resident_mib * MIB * 5 / 4 + 16 * MIB);
      for (uint64_t a = 0; a < pages; a++) {
        kl_epoch_guard guard = kl_epoch_enter(f.epoch);
        (void)lookup(&f, a, 0);
        kl_epoch_leave(f.epoch, guard);
      }
      for (int c = 0; c < COST_KINDS; c++) {
        for (int many = 0; many < 2; many++) {
          results[k][many][c][round] = cost(&f, (cost_kind)c, many != 0 ? o->threads : 1, pages, o->lookups);
        }
      }
      fixture_close(&f);
    }
  }
  printf("| policy |");
  for (int c = 0; c < COST_KINDS; c++) printf(" %s, 1 thread | %u threads |", cost_names[c], o->threads);
  printf("\n|---|");
  for (int c = 0; c < COST_KINDS; c++) printf("--:|--:|");
  for (int k = 0; k < KL_POLICY_KINDS; k++) {
    printf("\n| %s |", kl_policy_name((kl_policy_kind)k));
    for (int c = 0; c < COST_KINDS; c++) {
      for (int many = 0; many < 2; many++) {
        qsort(results[k][many][c], o->rounds, sizeof(double), compare);
        printf(" %.0f |", results[k][many][c][o->rounds / 2]);
      }
    }
  }
  printf("\n");
}

static int usage(void) {
  (void)fprintf(
      stderr,
      "usage: bench_cache [--accesses N] [--lookups N] [--mib N] [--threads N] [--rounds N]\n"
      "  accesses of each trace (0: leaves the hit ratios out), lookups of each cost measure (0: leaves costs\n"
      "  out), MiB of pages that are looked up, threads of the second column, rounds\n");
  return 2;
}

int main(int argc, char **argv) {
  options o = {.accesses = 600000, .lookups = 2000000, .resident_mib = 512, .threads = 2, .rounds = 5};
  for (int i = 1; i < argc; i += 2) {
    char *end = NULL;
    if (i + 1 == argc) return usage();
    uint64_t value = strtoull(argv[i + 1], &end, 10);
    if (*end != '\0') return usage();
    if (strcmp(argv[i], "--accesses") == 0) {
      o.accesses = value;
    } else if (strcmp(argv[i], "--lookups") == 0) {
      o.lookups = value;
    } else if (strcmp(argv[i], "--mib") == 0 && value > 0) {
      o.resident_mib = value;
    } else if (strcmp(argv[i], "--threads") == 0 && value > 0 && value <= MOST_THREADS) {
      o.threads = (unsigned)value;
    } else if (strcmp(argv[i], "--rounds") == 0 && value > 0 && value <= MOST_ROUNDS) {
      o.rounds = (unsigned)value;
    } else {
      return usage();
    }
  }
  if (o.accesses > 0) print_hit_ratios(&o);
  if (o.lookups > 0) print_costs(&o);
  return 0;
}
