/* bench/delta/bench_delta.c: compares the structures that can be the delta's index.
 *
 * 16-byte keys, 100-byte values. In each round every candidate is built and measured in turn, so that a disturbance
 * of the machine meets all of them; the table shows the medians of the rounds, in nanoseconds of the thread's CPU
 * time per operation (so that other programs on the machine disturb less), and the ratio to the first candidate. See
 * usage(). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../core/base/endian.h"
#include "../../core/base/rng.h"
#include "candidate.h"

enum { BENCH_MOST_THREADS = 64, BENCH_MOST_ROUNDS = 99, BENCH_VALUE = 100, BENCH_SEEK_ROWS = 10 };
#define BENCH_MOST_PREFIXED UINT64_C(1000000)
#define BENCH_LOOKUPS UINT64_C(500000)
#define BENCH_SCAN UINT64_C(1000000) /* rows of a scan, at most */

typedef enum measure {
  INSERT_RANDOM,
  INSERT_SEQUENTIAL,
  INSERT_PREFIXED, /* random order, all keys with one long common beginning */
  GET_HIT,
  GET_MISS,
  GET_MANY,
  GET_PREFIXED,
  SEEK_10,
  SCAN_FORWARD,
  SCAN_REVERSE,
  SCAN_SEQUENTIAL,
  BYTES_RANDOM,
  BYTES_SEQUENTIAL,
  BYTES_PREFIXED,
  MEASURES
} measure;

static const char *const measure_names[MEASURES] = {
    "insert, random",      "insert, sequential",   "insert, prefixed",     "get, hit",
    "get, miss",           "get, hit, 64 at once", "get, prefixed",        "seek + 10 rows",
    "scan forward, row",   "scan reverse, row",    "scan sequential, row", "bytes per key, random",
    "bytes per key, seq.", "bytes per key, pref."};

static const candidate *const candidates[] = {&candidate_skiplist, &candidate_tree, &candidate_tree_huge};
enum { CANDIDATES = sizeof candidates / sizeof *candidates };

typedef struct options {
  uint64_t keys;
  unsigned threads, rounds;
  const char *only; /* one candidate's name, or NULL: all */
} options;

static double results[CANDIDATES][MEASURES][BENCH_MOST_ROUNDS];

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* --- keys
 * ------------------------------------------------------------------------------------------------------------ */

typedef enum key_shape { KEY_RANDOM, KEY_SEQUENTIAL, KEY_PREFIXED } key_shape;

static void make_key(key_shape shape, uint64_t i, unsigned char out[16]) {
  if (shape == KEY_RANDOM) {
    kl_store_u64_be(out, kl_mix64(i));
    kl_store_u64_be(out + 8, i);
  } else if (shape == KEY_SEQUENTIAL) {
    kl_store_u64_be(out, i);
    kl_store_u64_be(out + 8, 0);
  } else { /* "user:" and eleven digits, met in random order */
    memcpy(out, "user:", 5);
    uint64_t n = kl_mix64(i) % UINT64_C(99999999977);
    for (int d = 15; d >= 5; d--, n /= 10) out[d] = (unsigned char)('0' + n % 10);
  }
}

/* --- one job on all threads
 * -------------------------------------------------------------------------------------------- */

typedef struct job {
  const candidate *candidate;
  void *map;
  const options *options;
  key_shape shape;
  measure measure;
  pthread_barrier_t barrier;
} job;

typedef struct worker {
  job *job;
  unsigned number;
  uint64_t operations;
  double nanoseconds;
  uint64_t sum;
  bool failed;
} worker;

static bool run_inserts(worker *w) {
  job *j = w->job;
  unsigned char value[BENCH_VALUE];
  memset(value, 'v', sizeof value);
  for (uint64_t i = w->number; i < j->options->keys; i += j->options->threads) {
    unsigned char key[16];
    make_key(j->shape, i, key);
    if (!j->candidate->insert(j->map, kl_slice_make(key, 16), kl_slice_make(value, sizeof value), i + 1)) return false;
    w->operations++;
  }
  return true;
}

static bool run_lookups(worker *w) {
  job *j = w->job;
  kl_rng rng;
  kl_rng_init(&rng, w->number + 1);
  uint64_t many = (j->measure == SEEK_10 ? BENCH_LOOKUPS / 4 : BENCH_LOOKUPS) / j->options->threads;
  for (uint64_t n = 0; n < many; n++) {
    unsigned char key[16];
    kl_slice value = {NULL, 0};
    uint64_t i = kl_rng_below(&rng, j->options->keys);
    make_key(j->shape, j->measure == GET_MISS ? i + j->options->keys : i, key);
    if (j->measure == SEEK_10) {
      j->candidate->scan(j->map, kl_slice_make(key, 16), true, BENCH_SEEK_ROWS, &w->sum);
    } else if (j->candidate->get(j->map, kl_slice_make(key, 16), &value) != (j->measure != GET_MISS)) {
      return false;
    } else if (value.data != NULL) {
      w->sum += *(const unsigned char *)value.data;
    }
  }
  w->operations = many;
  return true;
}

static bool run_many(worker *w) {
  job *j = w->job;
  kl_rng rng;
  kl_rng_init(&rng, w->number + 1);
  uint64_t many = BENCH_LOOKUPS / j->options->threads;
  unsigned char bytes[CANDIDATE_MANY][16];
  kl_slice keys[CANDIDATE_MANY];
  for (; w->operations < many; w->operations += CANDIDATE_MANY) {
    uint64_t found = 0;
    for (unsigned i = 0; i < CANDIDATE_MANY; i++) {
      make_key(j->shape, kl_rng_below(&rng, j->options->keys), bytes[i]);
      keys[i] = kl_slice_make(bytes[i], 16);
    }
    if (j->candidate->get_many != NULL) {
      found = j->candidate->get_many(j->map, keys, CANDIDATE_MANY, &w->sum);
    } else {
      for (unsigned i = 0; i < CANDIDATE_MANY; i++) {
        kl_slice value;
        if (!j->candidate->get(j->map, keys[i], &value)) continue;
        w->sum += *(const unsigned char *)value.data;
        found++;
      }
    }
    if (found != CANDIDATE_MANY) return false;
  }
  return true;
}

static bool run_scans(worker *w) {
  job *j = w->job;
  uint64_t times = j->options->keys < 1000000 ? 1000000 / j->options->keys : 1;
  for (uint64_t n = 0; n < times; n++) {
    uint64_t rows = j->candidate->scan(j->map, kl_slice_make(NULL, 0), j->measure != SCAN_REVERSE, BENCH_SCAN, &w->sum);
    if (rows != (j->options->keys < BENCH_SCAN ? j->options->keys : BENCH_SCAN)) return false;
    w->operations += rows;
  }
  return true;
}

static void *worker_main(void *argument) {
  worker *w = argument;
  job *j = w->job;
  pthread_barrier_wait(&j->barrier);
  double begin = now_ns();
  switch (j->measure) {
    case INSERT_RANDOM:
    case INSERT_SEQUENTIAL:
    case INSERT_PREFIXED:
      w->failed = !run_inserts(w);
      break;
    case SCAN_FORWARD:
    case SCAN_REVERSE:
    case SCAN_SEQUENTIAL:
      w->failed = !run_scans(w);
      break;
    case GET_MANY:
      w->failed = !run_many(w);
      break;
    default:
      w->failed = !run_lookups(w);
  }
  w->nanoseconds = now_ns() - begin;
  return NULL;
}

/* Nanoseconds per operation, mean over the threads. */
static double run_job(const candidate *c, void *map, const options *o, key_shape shape, measure what) {
  job j = {.candidate = c, .map = map, .options = o, .shape = shape, .measure = what};
  pthread_t threads[BENCH_MOST_THREADS];
  worker workers[BENCH_MOST_THREADS];
  pthread_barrier_init(&j.barrier, NULL, o->threads);
  for (unsigned i = 0; i < o->threads; i++) {
    workers[i] = (worker){.job = &j, .number = i};
    if (pthread_create(&threads[i], NULL, worker_main, &workers[i]) != 0) {
      fprintf(stderr, "a thread could not be started\n");
      exit(1);
    }
  }
  double total = 0;
  for (unsigned i = 0; i < o->threads; i++) {
    pthread_join(threads[i], NULL);
    if (workers[i].failed) {
      fprintf(stderr, "%s: %s: wrong answer or no memory\n", c->name, measure_names[what]);
      exit(1);
    }
    total += workers[i].nanoseconds / (double)workers[i].operations;
  }
  pthread_barrier_destroy(&j.barrier);
  return total / o->threads;
}

/* Builds a map of one shape of keys and takes the given measures of it. */
static void run_shape(unsigned c, const options *o, unsigned round, key_shape shape, measure insert, measure bytes,
                      const measure *rest, unsigned count) {
  void *map = candidates[c]->make();
  if (map == NULL) exit(1);
  results[c][insert][round] = run_job(candidates[c], map, o, shape, insert);
  results[c][bytes][round] = (double)candidates[c]->bytes(map) / (double)o->keys;
  for (unsigned i = 0; i < count; i++) {
    results[c][rest[i]][round] = run_job(candidates[c], map, o, shape, rest[i]);
  }
  candidates[c]->drop(map);
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, unsigned count) {
  qsort(values, count, sizeof *values, compare_doubles);
  return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static bool is_wanted(const options *o, unsigned c) {
  return o->only == NULL || strcmp(o->only, candidates[c]->name) == 0;
}

static void print_table(const options *o) {
  printf("\n%llu keys, %u thread%s, %u rounds, median ns of CPU time per operation\n\n", (unsigned long long)o->keys,
         o->threads, o->threads == 1 ? "" : "s", o->rounds);
  printf("| measure |");
  for (unsigned c = 0; c < CANDIDATES; c++) {
    if (is_wanted(o, c)) printf(" %s |", candidates[c]->name);
  }
  for (unsigned c = 1; c < CANDIDATES; c++) {
    if (o->only == NULL) printf(" %s / %s |", candidates[c]->name, candidates[0]->name);
  }
  printf("\n|---|");
  for (unsigned c = 0; c < (o->only == NULL ? 2 * (unsigned)CANDIDATES - 1 : 1); c++) printf("--:|");
  printf("\n");
  for (unsigned m = 0; m < MEASURES; m++) {
    double medians[CANDIDATES];
    bool measured = false;
    for (unsigned c = 0; c < CANDIDATES; c++) measured = measured || results[c][m][0] != 0;
    if (!measured) continue; /* not at this size */
    printf("| %s |", measure_names[m]);
    for (unsigned c = 0; c < CANDIDATES; c++) {
      medians[c] = median(results[c][m], o->rounds);
      if (is_wanted(o, c)) printf(" %.1f |", medians[c]);
    }
    for (unsigned c = 1; c < CANDIDATES; c++) {
      if (o->only == NULL) printf(" %.2f |", medians[c] / medians[0]);
    }
    printf("\n");
  }
  fflush(stdout);
}

static void run(const options *o) {
  static const measure random_rest[] = {GET_HIT, GET_MISS, GET_MANY, SEEK_10, SCAN_FORWARD, SCAN_REVERSE};
  static const measure sequential_rest[] = {SCAN_SEQUENTIAL};
  static const measure prefixed_rest[] = {GET_PREFIXED};
  memset(results, 0, sizeof results);
  for (unsigned round = 0; round < o->rounds; round++) {
    for (unsigned n = 0; n < CANDIDATES; n++) {
      unsigned c = (n + round) % CANDIDATES; /* each goes first as often as the others */
      if (!is_wanted(o, c)) continue;
      run_shape(c, o, round, KEY_RANDOM, INSERT_RANDOM, BYTES_RANDOM, random_rest, 6);
      run_shape(c, o, round, KEY_SEQUENTIAL, INSERT_SEQUENTIAL, BYTES_SEQUENTIAL, sequential_rest, 1);
      /* Keys whose difference lies behind their first eight bytes teach the same at any size. */
      if (o->keys <= BENCH_MOST_PREFIXED) {
        run_shape(c, o, round, KEY_PREFIXED, INSERT_PREFIXED, BYTES_PREFIXED, prefixed_rest, 1);
      }
    }
  }
  print_table(o);
}

static void usage(void) {
  printf(
      "bench_delta [--keys N] [--threads N] [--rounds N] [--only NAME]\n"
      "Compares the structures that can be the delta's index. Without --keys: 10000, 1000000 and 10000000 keys, each "
      "with 1 "
      "and 2\nthreads, 5 rounds (3 for the largest, without prefixed keys); the largest takes about 3 GiB of "
      "memory.\n");
}

int main(int argc, char **argv) {
  options o = {0, 0, 0, NULL};
  for (int i = 1; i < argc; i++) {
    bool has_value = i + 1 < argc;
    if (strcmp(argv[i], "--keys") == 0 && has_value) {
      o.keys = strtoull(argv[++i], NULL, 10);
    } else if (strcmp(argv[i], "--threads") == 0 && has_value) {
      o.threads = (unsigned)strtoul(argv[++i], NULL, 10);
    } else if (strcmp(argv[i], "--rounds") == 0 && has_value) {
      o.rounds = (unsigned)strtoul(argv[++i], NULL, 10);
    } else if (strcmp(argv[i], "--only") == 0 && has_value) {
      o.only = argv[++i];
    } else {
      usage();
      return strcmp(argv[i], "--help") == 0 ? 0 : 2;
    }
  }
  if (o.threads > BENCH_MOST_THREADS || o.rounds > BENCH_MOST_ROUNDS) {
    usage();
    return 2;
  }
  static const uint64_t sizes[] = {10000, 1000000, 10000000};
  for (unsigned s = 0; s < 3; s++) {
    for (unsigned threads = 1; threads <= 2; threads++) {
      options one = {o.keys != 0 ? o.keys : sizes[s], o.threads != 0 ? o.threads : threads,
                     o.rounds != 0 ? o.rounds : (s == 2 ? 3u : 5u), o.only};
      if ((o.keys != 0 && s != 0) || (o.threads != 0 && threads != 1)) continue;
      run(&one);
    }
  }
  return 0;
}
