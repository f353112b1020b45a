/* bench/tree/bench_tree.c: what reads and merges cost by page size, with pages in plain memory.
 *
 * bench_tree [rows] [rounds]
 *
 * Rows of 16-byte random keys and 100-byte values, in one tree per page size. The pages of a tree lie in one mapping,
 * with huge pages where the system gives them, and a pointer's address is an offset in it: what is measured is the
 * tree, without cache, checksum or I/O. Each round runs every workload on every size in turn; the best round counts,
 * as whatever else the machine does only adds. Time is CPU time of the one thread, which waits for nothing:
 * nanoseconds per key or row; for merges per change, with the bytes written per change. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../../core/base/rng.h"
#include "../../core/tree/tree.h"

enum {
  BENCH_SIZES = 5,
  BENCH_KEY = 16,
  BENCH_VALUE = 100,
  BENCH_MANY = 1000, /* keys a get_many */
  BENCH_CHANGES = 10000
};

typedef enum bench_work {
  BENCH_BUILD,
  BENCH_GET,
  BENCH_ABSENT,
  BENCH_GET_MANY,
  BENCH_FORWARD,
  BENCH_REVERSE,
  BENCH_SEEK_10,
  BENCH_MERGE,
  BENCH_CHECK,
  BENCH_WORKS
} bench_work;

static const char *const bench_names[BENCH_WORKS] = {
    "build",        "get",       "get, absent",    "get_many of 1000",   "scan forward",
    "scan reverse", "seek + 10", "merge of 10000", "check a page, a row"};

typedef struct bench_tree {
  uint32_t page_size;
  uint8_t *arena;
  size_t used, kept, capacity;
  uint64_t pages;
  kl_tree_source source;
  kl_tree_sink sink;
  kl_tree_pointer root;
  kl_tree_merge_stats built, merged;
  double best[BENCH_WORKS];
} bench_tree;

typedef struct bench_rows {
  const uint8_t *keys; /* ascending */
  uint64_t count, at, step, offset;
} bench_rows;

static volatile uint64_t bench_sink_of_results; /* so that no read is optimised away */

static void bench_check(kl_status status, const kl_error *err) {
  if (status == KL_OK) return;
  (void)fprintf(stderr, "%s: %s\n", kl_status_name(status), err->message);
  exit(1);
}

static kl_status bench_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page, kl_error *err) {
  (void)err;
  *out_page = ((bench_tree *)context)->arena + pointer->address;
  return KL_OK;
}

static kl_status bench_write(void *context, const void *page, size_t length, kl_tree_pointer *out, kl_error *err) {
  bench_tree *tree = context;
  if (tree->used + tree->page_size > tree->capacity)
    return kl_fail(err, KL_E_LIMIT, "the arena is full; give fewer rows");
  memcpy(tree->arena + tree->used, page, length);
  *out = (kl_tree_pointer){tree->used, (uint32_t)length, 0, 1};
  tree->used += tree->page_size; /* as frames of a cache lie */
  return KL_OK;
}

static kl_status bench_next(void *context, kl_tree_change *out, kl_error *err) {
  static const uint8_t value[BENCH_VALUE] = "a value of one hundred bytes";
  bench_rows *rows = context;
  (void)err;
  if (rows->at >= rows->count) return KL_E_NOT_FOUND;
  out->kind = KL_TREE_PUT;
  out->key = kl_slice_make(rows->keys + (rows->at + rows->offset) * BENCH_KEY, BENCH_KEY);
  out->value = kl_slice_make(value, sizeof value);
  rows->at += rows->step;
  return KL_OK;
}

static uint64_t bench_cpu_ns(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0) exit(1);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int bench_compare(const void *a, const void *b) {
  return memcmp(a, b, BENCH_KEY);
}

static void bench_tree_init(bench_tree *tree, uint32_t page_size, uint64_t rows) {
  *tree = (bench_tree){.page_size = page_size, .source = {.load = bench_load}, .sink = {.write = bench_write}};
  /* The tree, and one merge that rewrites all of it. */
  tree->capacity = (size_t)rows * (BENCH_KEY + BENCH_VALUE + 20) * 5 / 2 + 64 * (size_t)page_size;
  void *arena = mmap(NULL, tree->capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (arena == MAP_FAILED) {
    (void)fprintf(stderr, "no memory for %zu bytes; give fewer rows\n", tree->capacity);
    exit(1);
  }
  (void)madvise(arena, tree->capacity, MADV_HUGEPAGE);
  tree->arena = arena;
  tree->source.context = tree;
  tree->sink.context = tree;
  for (int i = 0; i < BENCH_WORKS; i++) tree->best[i] = 1e18;
}

static kl_tree_merge_options bench_options(bench_tree *tree) {
  return (kl_tree_merge_options){
      .allocator = kl_allocator_libc(), .page_size = tree->page_size, .source = &tree->source, .sink = &tree->sink};
}

static void bench_build(bench_tree *tree, const uint8_t *keys, uint64_t rows) {
  kl_error err = {0};
  bench_rows all = {keys, rows, 0, 1, 0};
  kl_tree_changes changes = {bench_next, &all};
  kl_tree_merge_options options = bench_options(tree);
  tree->used = tree->page_size;
  bench_check(kl_tree_build(&options, &changes, &tree->root, &tree->built, &err), &err);
  tree->kept = tree->used;
}

/* New values for rows all over the tree, at equal distances. The result is dropped: every round merges into the same
 * tree. */
static void bench_merge(bench_tree *tree, const uint8_t *keys, uint64_t rows) {
  kl_error err = {0};
  kl_tree_pointer root;
  bench_rows some = {keys, rows, 0, rows / BENCH_CHANGES, 0};
  kl_tree_changes changes = {bench_next, &some};
  kl_tree_merge_options options = bench_options(tree);
  bench_check(kl_tree_merge(&options, &tree->root, &changes, &root, &tree->merged, &err), &err);
  tree->used = tree->kept;
}

static uint64_t bench_gets(bench_tree *tree, const uint8_t *probes, uint64_t count, kl_status expected) {
  kl_error err = {0};
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; i++) {
    kl_tree_value value = {0};
    kl_status status =
        kl_tree_get(&tree->source, &tree->root, kl_slice_make(probes + i * BENCH_KEY, BENCH_KEY), &value, &err);
    if (status != expected) bench_check(status == KL_OK ? KL_E_INTERNAL : status, &err);
    if (value.found) sum += *(const uint8_t *)value.bytes.data;
  }
  return sum;
}

static uint64_t bench_get_many(bench_tree *tree, const uint8_t *probes, uint64_t count) {
  static kl_slice keys[BENCH_MANY];
  static kl_tree_value values[BENCH_MANY];
  kl_error err = {0};
  uint64_t sum = 0;
  for (uint64_t i = 0; i + BENCH_MANY <= count; i += BENCH_MANY) {
    for (uint64_t k = 0; k < BENCH_MANY; k++) keys[k] = kl_slice_make(probes + (i + k) * BENCH_KEY, BENCH_KEY);
    bench_check(kl_tree_get_many(&tree->source, &tree->root, keys, BENCH_MANY, values, &err), &err);
    for (uint64_t k = 0; k < BENCH_MANY; k++) sum += *(const uint8_t *)values[k].bytes.data;
  }
  return sum;
}

static uint64_t bench_scan(bench_tree *tree, bool forward) {
  kl_tree_cursor cursor;
  kl_tree_row row;
  kl_error err = {0};
  uint64_t sum = 0;
  kl_tree_cursor_init(&cursor, &tree->source, &tree->root);
  kl_status status = forward ? kl_tree_cursor_first(&cursor, &err) : kl_tree_cursor_last(&cursor, &err);
  while (status == KL_OK) {
    bench_check(kl_tree_cursor_row(&cursor, &row, &err), &err);
    sum += *(const uint8_t *)row.key.data + (uint64_t) * (const uint8_t *)row.value.bytes.data;
    status = forward ? kl_tree_cursor_next(&cursor, &err) : kl_tree_cursor_prev(&cursor, &err);
  }
  return sum;
}

static uint64_t bench_seeks(bench_tree *tree, const uint8_t *probes, uint64_t count) {
  kl_tree_cursor cursor;
  kl_tree_row row;
  kl_error err = {0};
  uint64_t sum = 0;
  kl_tree_cursor_init(&cursor, &tree->source, &tree->root);
  for (uint64_t i = 0; i < count; i++) {
    kl_status status = kl_tree_cursor_seek_ge(&cursor, kl_slice_make(probes + i * BENCH_KEY, BENCH_KEY), &err);
    for (int k = 0; k < 10 && status == KL_OK; k++) {
      bench_check(kl_tree_cursor_row(&cursor, &row, &err), &err);
      sum += *(const uint8_t *)row.value.bytes.data;
      status = kl_tree_cursor_next(&cursor, &err);
    }
  }
  return sum;
}

static kl_status bench_check_one(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err) {
  bench_tree *tree = context;
  if (level != 0) return KL_OK;
  return kl_tree_page_check(tree->arena + pointer->address, pointer->length, pointer, err);
}

static void bench_check_pages(bench_tree *tree) {
  kl_error err = {0};
  kl_tree_visitor visitor = {bench_check_one, NULL, tree};
  bench_check(kl_tree_walk(kl_allocator_libc(), &tree->source, tree->page_size, &tree->root, &visitor, &err), &err);
}

/* One workload; returns how many keys, rows or changes it was. */
static uint64_t bench_run(bench_tree *tree, bench_work work, const uint8_t *keys, const uint8_t *probes,
                          const uint8_t *absent, uint64_t rows) {
  switch (work) {
    case BENCH_BUILD:
      bench_build(tree, keys, rows);
      return rows;
    case BENCH_GET:
      bench_sink_of_results += bench_gets(tree, probes, rows, KL_OK);
      return rows;
    case BENCH_ABSENT:
      bench_sink_of_results += bench_gets(tree, absent, rows, KL_E_NOT_FOUND);
      return rows;
    case BENCH_GET_MANY:
      bench_sink_of_results += bench_get_many(tree, probes, rows);
      return rows / BENCH_MANY * BENCH_MANY;
    case BENCH_FORWARD:
    case BENCH_REVERSE:
      bench_sink_of_results += bench_scan(tree, work == BENCH_FORWARD);
      return rows;
    case BENCH_SEEK_10:
      bench_sink_of_results += bench_seeks(tree, probes, rows / 4);
      return rows / 4;
    case BENCH_MERGE:
      bench_merge(tree, keys, rows);
      return tree->merged.puts;
    default:
      bench_check_pages(tree);
      return rows;
  }
}

static void bench_report(const bench_tree *trees) {
  (void)printf("\n%-22s", "");
  for (int i = 0; i < BENCH_SIZES; i++) (void)printf("%9u K", (unsigned)(trees[i].page_size / 1024));
  (void)printf("\n");
  for (int work = 0; work < BENCH_WORKS; work++) {
    (void)printf("%-22s", bench_names[work]);
    for (int i = 0; i < BENCH_SIZES; i++) (void)printf("%11.1f", trees[i].best[work]);
    (void)printf("\n");
  }
  (void)printf("%-22s", "bytes per change");
  for (int i = 0; i < BENCH_SIZES; i++) {
    (void)printf("%11.0f", (double)trees[i].merged.bytes_written / (double)trees[i].merged.puts);
  }
  (void)printf("\n%-22s", "bytes per row");
  for (int i = 0; i < BENCH_SIZES; i++)
    (void)printf("%11.1f", (double)trees[i].built.bytes_written / (double)trees[i].built.rows);
  (void)printf("\n");
}

int main(int argc, char **argv) {
  static bench_tree trees[BENCH_SIZES];
  uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
  uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 5;
  kl_rng rng;
  if (argc > 3 || rows < BENCH_CHANGES || rounds == 0) {
    (void)fprintf(stderr, "usage: bench_tree [rows, at least %d] [rounds]\n", BENCH_CHANGES);
    return 2;
  }
  uint8_t *keys = malloc(rows * BENCH_KEY), *probes = malloc(rows * BENCH_KEY), *absent = malloc(rows * BENCH_KEY);
  if (keys == NULL || probes == NULL || absent == NULL) return 1;
  kl_rng_init(&rng, 1);
  kl_rng_fill(&rng, keys, rows * BENCH_KEY);
  kl_rng_fill(&rng, absent, rows * BENCH_KEY);
  qsort(keys, rows, BENCH_KEY, bench_compare);
  for (uint64_t i = 0; i < rows; i++)
    memcpy(probes + i * BENCH_KEY, keys + kl_rng_below(&rng, rows) * BENCH_KEY, BENCH_KEY);
  for (int i = 0; i < BENCH_SIZES; i++) bench_tree_init(&trees[i], UINT32_C(4096) << i, rows);
  for (uint64_t round = 0; round < rounds; round++) {
    for (int work = 0; work < BENCH_WORKS; work++) {
      for (int i = 0; i < BENCH_SIZES; i++) {
        uint64_t begin = bench_cpu_ns();
        uint64_t count = bench_run(&trees[i], (bench_work)work, keys, probes, absent, rows);
        double ns = (double)(bench_cpu_ns() - begin) / (double)count;
        if (ns < trees[i].best[work]) trees[i].best[work] = ns;
      }
    }
    (void)fprintf(stderr, "round %" PRIu64 " of %" PRIu64 "\n", round + 1, rounds);
  }
  (void)printf("%" PRIu64 " rows, best of %" PRIu64 " rounds, nanoseconds of CPU time", rows, rounds);
  bench_report(trees);
  for (int i = 0; i < BENCH_SIZES; i++) (void)munmap(trees[i].arena, trees[i].capacity);
  free(keys);
  free(probes);
  free(absent);
  return 0;
}
