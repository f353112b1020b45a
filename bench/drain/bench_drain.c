/* bench/drain/bench_drain.c: what drains cost, and reads through store, cache and epochs.
 *
 * bench_drain [--threads N] [--drains] [path] [rows] [rounds] [cache MiB]
 *
 * Rows of 16-byte random keys and 100-byte values in one keyspace of a fresh database at `path` (which is removed; ""
 * or no path: a memory database). Each round runs every workload; the best counts, as whatever else the machine does
 * only adds. Nanoseconds per key, row or change: of drains, which merge on `--threads` (1), what passes on the clock and, in
 * the second column, CPU time of all threads; of reads, CPU time of the one thread. Filling is in memory before each drain and is not measured. `--drains`: nothing else. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../core/base/rng.h"
#include "../../core/drain/drain.h"

enum { BENCH_KEY = 16, BENCH_VALUE = 100, BENCH_MANY = 1000, BENCH_CHANGES = 10000, BENCH_BATCH = 1000 };

typedef enum bench_work {
  BENCH_FILL,
  BENCH_GET,
  BENCH_ABSENT,
  BENCH_GET_MANY,
  BENCH_NEXT,
  BENCH_PREV,
  BENCH_COLLECT,
  BENCH_COLLECT_BACK,
  BENCH_SEEK_10,
  BENCH_SEEK_100,
  BENCH_UPDATE,
  BENCH_UPDATE_MANY,
  BENCH_WORKS
} bench_work;

static const char *const bench_names[BENCH_WORKS] = {"drain of all rows",
                                                     "get",
                                                     "get, absent",
                                                     "get_many of 1000",
                                                     "cursor next",
                                                     "cursor prev",
                                                     "collect forward",
                                                     "collect back",
                                                     "seek + 10",
                                                     "seek + 100",
                                                     "drain of 10000 updates",
                                                     "drain of rows/4 updates"};

typedef struct bench {
  uint64_t rows;
  uint8_t *keys, *probes, *absent;
  kl_store *store;
  kl_pages *pages;
  kl_roots *roots;
  kl_tree_pointer root;
  uint64_t ts;
  kl_drain_crew *crew;
  uint64_t parts; /* of all drains */
  double best[BENCH_WORKS];
  double cpu[BENCH_WORKS]; /* of drains: the least CPU time of all threads */
  uint64_t drain_cpu;      /* of the last drain */
} bench;

static volatile uint64_t bench_sink_of_results; /* so that no read is optimised away */

static void bench_check(kl_status status, const kl_error *err) {
  if (status == KL_OK) return;
  (void)fprintf(stderr, "%s: %s\n", kl_status_name(status), err->message);
  exit(1);
}

static uint64_t bench_clock_ns(clockid_t which) {
  struct timespec now;
  if (clock_gettime(which, &now) != 0) exit(1);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t bench_cpu_ns(void) {
  return bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static uint64_t bench_wall_ns(void) {
  return kl_os_monotonic_ns(kl_os_posix());
}

static kl_slice bench_key(const uint8_t *keys, uint64_t i) {
  return kl_slice_make(keys + i * BENCH_KEY, BENCH_KEY);
}

/* A delta of `count` rows at equal distances, drained; only the drain is measured. */
static uint64_t bench_drain(bench *b, uint64_t count) {
  static const uint8_t value[BENCH_VALUE] = "a value of one hundred bytes";
  kl_error err = {0};
  kl_delta *delta = NULL;
  kl_drain_stats stats;
  bench_check(kl_delta_new(kl_allocator_libc(), &delta, &err), &err);
  kl_version version = {.ts = ++b->ts, .kind = KL_VERSION_PUT, .value = kl_slice_make(value, sizeof value)};
  for (uint64_t i = 0; i < count; i++) {
    bench_check(kl_delta_insert(delta, 1, bench_key(b->keys, i * (b->rows / count)), &version, &err), &err);
  }
  kl_drain_input input = {.pages = b->pages,
                          .store = b->store,
                          .allocator = kl_allocator_libc(),
                          .delta = delta,
                          .ts = b->ts,
                          .base = b->roots,
                          .crew = b->crew};
  uint64_t begin = bench_wall_ns(), cpu = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  kl_roots *roots = NULL;
  bench_check(kl_drain_run(&input, &roots, &stats, &err), &err);
  uint64_t ns = bench_wall_ns() - begin;
  b->drain_cpu = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  b->parts += stats.parts;
  kl_roots_unref(b->roots);
  b->roots = roots;
  bench_check(kl_roots_find(roots, 1, &b->root, &err), &err);
  kl_delta_unref(delta);
  return ns;
}

static void bench_gets(bench *b, const uint8_t *probes, kl_status expected) {
  kl_held held = {0};
  kl_error err = {0};
  for (uint64_t i = 0; i < b->rows; i++) {
    kl_status status = kl_pages_get(b->pages, &b->root, bench_key(probes, i), &held, &err);
    if (status != expected) bench_check(status == KL_OK ? KL_E_INTERNAL : status, &err);
    if (status == KL_OK) bench_sink_of_results += *(const uint8_t *)held.value.data;
  }
  kl_held_destroy(&held);
}

static kl_status bench_row(void *context, size_t index, bool found, kl_slice value, kl_error *err) {
  (void)index;
  (void)err;
  if (found) *(uint64_t *)context += *(const uint8_t *)value.data;
  return found ? KL_OK : KL_E_INTERNAL;
}

static void bench_get_many(bench *b) {
  static kl_slice keys[BENCH_MANY];
  kl_error err = {0};
  uint64_t sum = 0;
  for (uint64_t i = 0; i + BENCH_MANY <= b->rows; i += BENCH_MANY) {
    for (uint64_t k = 0; k < BENCH_MANY; k++) keys[k] = bench_key(b->probes, i + k);
    bench_check(kl_pages_get_many(b->pages, &b->root, keys, BENCH_MANY, bench_row, &sum, &err), &err);
  }
  bench_sink_of_results += sum;
}

static void bench_scan(bench *b, bool forward) {
  kl_pages_cursor *cursor = NULL;
  kl_error err = {0};
  uint64_t sum = 0;
  bench_check(kl_pages_cursor_new(b->pages, &b->root, &cursor, &err), &err);
  kl_status status = forward ? kl_pages_cursor_first(cursor, &err) : kl_pages_cursor_last(cursor, &err);
  while (status == KL_OK) {
    sum += *(const uint8_t *)cursor->value.data;
    status = forward ? kl_pages_cursor_next(cursor, &err) : kl_pages_cursor_prev(cursor, &err);
  }
  bench_sink_of_results += sum;
  kl_pages_cursor_free(cursor);
}

typedef struct bench_batch { /* as a batch cursor of the C interface fills it */
  size_t used;
  uint8_t bytes[BENCH_BATCH * (BENCH_KEY + BENCH_VALUE)];
} bench_batch;

static kl_status bench_take(void *context, kl_slice key, kl_slice value, kl_error *err) {
  bench_batch *batch = context;
  (void)err;
  memcpy(batch->bytes + batch->used, key.data, key.size);
  memcpy(batch->bytes + batch->used + key.size, value.data, value.size);
  batch->used += key.size + value.size;
  return KL_OK;
}

static void bench_collect(bench *b, bool forward) {
  static bench_batch batch;
  kl_pages_collect how = {.forward = forward, .max_rows = BENCH_BATCH, .take = bench_take, .context = &batch};
  kl_pages_cursor *cursor = NULL;
  kl_error err = {0};
  size_t rows = 0, sum = 0;
  bench_check(kl_pages_cursor_new(b->pages, &b->root, &cursor, &err), &err);
  kl_status status = forward ? kl_pages_cursor_first(cursor, &err) : kl_pages_cursor_last(cursor, &err);
  while (status == KL_OK) {
    batch.used = 0;
    status = kl_pages_cursor_collect(cursor, &how, &rows, &err);
    sum += rows;
  }
  if (sum != b->rows) bench_check(KL_E_INTERNAL, &err);
  kl_pages_cursor_free(cursor);
}

static void bench_seeks(bench *b, int length) {
  kl_pages_cursor *cursor = NULL;
  kl_error err = {0};
  uint64_t sum = 0;
  bench_check(kl_pages_cursor_new(b->pages, &b->root, &cursor, &err), &err);
  for (uint64_t i = 0; i < b->rows / 8; i++) {
    kl_status status = kl_pages_cursor_seek_ge(cursor, bench_key(b->probes, i), &err);
    for (int k = 0; k < length && status == KL_OK; k++) {
      sum += *(const uint8_t *)cursor->value.data;
      status = kl_pages_cursor_next(cursor, &err);
    }
  }
  bench_sink_of_results += sum;
  kl_pages_cursor_free(cursor);
}

/* One workload; returns nanoseconds for each key, row or change. */
static double bench_run(bench *b, bench_work work) {
  uint64_t begin = bench_cpu_ns(), count = b->rows;
  switch (work) {
    case BENCH_FILL:
      return (double)bench_drain(b, b->rows) / (double)b->rows;
    case BENCH_UPDATE:
      return (double)bench_drain(b, BENCH_CHANGES) / BENCH_CHANGES;
    case BENCH_UPDATE_MANY:
      return (double)bench_drain(b, b->rows / 4) / ((double)b->rows / 4);
    case BENCH_GET:
      bench_gets(b, b->probes, KL_OK);
      break;
    case BENCH_ABSENT:
      bench_gets(b, b->absent, KL_E_NOT_FOUND);
      break;
    case BENCH_GET_MANY:
      bench_get_many(b);
      break;
    case BENCH_NEXT:
    case BENCH_PREV:
      bench_scan(b, work == BENCH_NEXT);
      break;
    case BENCH_COLLECT:
    case BENCH_COLLECT_BACK:
      bench_collect(b, work == BENCH_COLLECT);
      break;
    default:
      bench_seeks(b, work == BENCH_SEEK_10 ? 10 : 100);
      count = b->rows / 8;
      break;
  }
  return (double)(bench_cpu_ns() - begin) / (double)count;
}

static int bench_compare(const void *a, const void *b) {
  return memcmp(a, b, BENCH_KEY);
}

static void bench_make_keys(bench *b) {
  kl_rng rng;
  b->keys = malloc(b->rows * BENCH_KEY);
  b->probes = malloc(b->rows * BENCH_KEY);
  b->absent = malloc(b->rows * BENCH_KEY);
  if (b->keys == NULL || b->probes == NULL || b->absent == NULL) exit(1);
  kl_rng_init(&rng, 1);
  kl_rng_fill(&rng, b->keys, b->rows * BENCH_KEY);
  kl_rng_fill(&rng, b->absent, b->rows * BENCH_KEY);
  qsort(b->keys, b->rows, BENCH_KEY, bench_compare);
  for (uint64_t i = 0; i < b->rows; i++) {
    memcpy(b->probes + i * BENCH_KEY, b->keys + kl_rng_below(&rng, b->rows) * BENCH_KEY, BENCH_KEY);
  }
}

/* The options in front; what is left are the arguments by position. */
static void bench_options(int *argc, char ***argv, unsigned long *threads, bool *drains) {
  while (*argc > 1 && strncmp((*argv)[1], "--", 2) == 0) {
    int used = 1;
    if (strcmp((*argv)[1], "--threads") == 0 && *argc > 2) {
      *threads = strtoul((*argv)[2], NULL, 10);
      used = 2;
    } else if (strcmp((*argv)[1], "--drains") == 0) {
      *drains = true;
    } else {
      *threads = 0;
    }
    *argc -= used;
    *argv += used;
  }
}

static bool bench_is_drain(int work) {
  return work == BENCH_FILL || work == BENCH_UPDATE || work == BENCH_UPDATE_MANY;
}

int main(int argc, char **argv) {
  unsigned long threads = 1;
  bool drains = false;
  bench_options(&argc, &argv, &threads, &drains);
  const char *path = argc > 1 ? argv[1] : "";
  bench b = {.rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000, .ts = 1};
  uint64_t rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 3;
  uint64_t cache = argc > 4 ? strtoull(argv[4], NULL, 10) : 512;
  kl_os *os = kl_os_posix();
  kl_store_options options = {0};
  kl_error err = {0};
  kl_tree_pointer none = {0};
  if (argc > 5 || b.rows < BENCH_CHANGES || rounds == 0 || threads == 0 || threads > KL_DRAIN_LANES_MOST) {
    (void)fprintf(stderr,
                  "usage: bench_drain [--threads 1 to %d] [--drains] [path] [rows, at least %d] [rounds] [cache MiB]\n",
                  KL_DRAIN_LANES_MOST, BENCH_CHANGES);
    return 2;
  }
  if (threads > 1) {
    bench_check(kl_drain_crew_new(os, kl_allocator_libc(), (uint32_t)threads, true, &b.crew, &err), &err);
  }
  bench_make_keys(&b);
  if (*path != '\0') (void)kl_os_remove(os, path, NULL);
  bench_check(*path != '\0' ? kl_store_create(os, path, &options, &b.store, &err)
                            : kl_store_new_memory(os, KL_PAGE_SIZE_DEFAULT, &b.store, &err),
              &err);
  kl_pages_options pages = {.os = os, .allocator = kl_allocator_libc(), .store = b.store, .cache_limit = cache << 20};
  bench_check(kl_pages_new(&pages, &b.pages, &err), &err);
  bench_check(kl_roots_open(b.pages, &none, 1, 0, &b.roots, &err), &err);
  for (int work = 0; work < BENCH_WORKS; work++) b.best[work] = b.cpu[work] = 1e18;
  for (uint64_t round = 0; round < rounds; round++) {
    for (int work = 0; work < BENCH_WORKS; work++) {
      if (drains && !bench_is_drain(work)) continue;
      double ns = bench_run(&b, (bench_work)work);
      if (ns < b.best[work]) b.best[work] = ns;
      double cpu = (double)b.drain_cpu / (work == BENCH_FILL     ? (double)b.rows
                                          : work == BENCH_UPDATE ? BENCH_CHANGES
                                                                 : (double)b.rows / 4);
      if (cpu < b.cpu[work]) b.cpu[work] = cpu;
    }
  }
  (void)printf("%" PRIu64 " rows, cache of %" PRIu64 " MiB, best of %" PRIu64 " rounds, drains on %lu threads (%" PRIu64
               " parts), nanoseconds\n",
               b.rows, cache, rounds, threads, b.parts);
  for (int work = 0; work < BENCH_WORKS; work++) {
    if (bench_is_drain(work)) {
      (void)printf("%-24s %10.1f %10.1f\n", bench_names[work], b.best[work], b.cpu[work]);
    } else if (!drains) {
      (void)printf("%-24s %10.1f\n", bench_names[work], b.best[work]);
    }
  }
  kl_drain_crew_free(b.crew);
  kl_roots_unref(b.roots);
  kl_pages_detach(b.pages);
  kl_pages_unref(b.pages);
  kl_store_close(b.store);
  if (*path != '\0') (void)kl_os_remove(os, path, NULL);
  free(b.keys);
  free(b.probes);
  free(b.absent);
  return 0;
}
