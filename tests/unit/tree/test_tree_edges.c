/* tests/unit/tree/test_tree_edges.c: sizes at their limits, errors, joins, and the bytes of docs/format.md. */
#include "core/base/endian.h"
#include "core/tree/probe.h"
#include "tree_testing.h"

typedef struct edges_test {
  tree_pages pages;
  kl_tree_merge_options options;
} edges_test;

static int edges_setup(void **state) {
  edges_test *test = calloc(1, sizeof *test);
  assert_non_null(test);
  tree_pages_init(&test->pages);
  test->options = (kl_tree_merge_options){.allocator = kl_allocator_libc(),
                                          .page_size = KL_TREE_PAGE_MIN,
                                          .source = &test->pages.source,
                                          .sink = &test->pages.sink,
                                          .freed = &test->pages.freed};
  *state = test;
  return 0;
}

static int edges_teardown(void **state) {
  edges_test *test = *state;
  tree_pages_destroy(&test->pages);
  free(test);
  return 0;
}

/* Changes numbered from `at` to `end`: keys of `key_size` bytes that begin or end with the number, values of
 * `value_size`. */
typedef struct edges_run {
  uint64_t at, end, step;
  size_t key_size, value_size;
  kl_tree_change_kind kind;
  bool number_last;
  uint8_t key[2048], value[4096];
} edges_run;

static kl_status edges_next(void *context, kl_tree_change *out, kl_error *err) {
  edges_run *run = context;
  (void)err;
  if (run->at >= run->end) return KL_E_NOT_FOUND;
  if (run->key_size >= 8) kl_store_u64_be(run->key + (run->number_last ? run->key_size - 8 : 0), run->at);
  memset(run->value, (int)(run->at % 251), run->value_size);
  out->kind = run->kind;
  out->key = kl_slice_make(run->key, run->key_size);
  out->value = kl_slice_make(run->value, run->value_size);
  out->extent = (kl_tree_extent){run->at + 1, 77, 78, 79, 80, 81};
  run->at += run->step;
  return KL_OK;
}

static kl_status edges_merge(edges_test *test, edges_run *run, kl_tree_pointer *root, kl_tree_merge_stats *stats,
                             kl_error *err) {
  kl_tree_changes changes = {edges_next, run};
  if (run->step == 0) run->step = 1;
  if (run->kind == 0) run->kind = KL_TREE_PUT;
  test->pages.version++;
  kl_status status = kl_tree_merge(&test->options, root, &changes, root, stats, err);
  if (status == KL_OK) tree_check_reachable(&test->pages, test->options.page_size, root);
  return status;
}

static void test_an_empty_tree(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  edges_run nothing = {.end = 0}, deletes = {.end = 5, .key_size = 8, .kind = KL_TREE_DELETE};
  kl_tree_cursor cursor;
  kl_tree_value value;
  kl_slice key = kl_slice_make("k", 1);
  uint64_t number = 7;
  uint8_t bytes[KL_TREE_KEY_MAX];
  size_t size = 0;
  assert_int_equal(edges_merge(test, &nothing, &root, NULL, NULL), KL_OK);
  assert_int_equal(edges_merge(test, &deletes, &root, NULL, NULL), KL_OK);
  assert_true(kl_tree_pointer_is_null(&root));
  assert_int_equal(test->pages.count, 0);
  assert_int_equal(kl_tree_get(&test->pages.source, &root, key, &value, NULL), KL_E_NOT_FOUND);
  assert_int_equal(kl_tree_get_many(&test->pages.source, &root, &key, 1, &value, NULL), KL_OK);
  assert_false(value.found);
  assert_int_equal(kl_tree_rank(&test->pages.source, &root, key, &number, NULL), KL_OK);
  assert_int_equal(number, 0);
  assert_int_equal(kl_tree_select(&test->pages.source, &root, 0, bytes, &size, NULL), KL_E_NOT_FOUND);
  kl_tree_cursor_init(&cursor, &test->pages.source, &root);
  assert_int_equal(kl_tree_cursor_first(&cursor, NULL), KL_E_NOT_FOUND);
  assert_int_equal(kl_tree_cursor_last(&cursor, NULL), KL_E_NOT_FOUND);
  assert_int_equal(kl_tree_cursor_seek_ge(&cursor, key, NULL), KL_E_NOT_FOUND);
  assert_int_equal(kl_tree_cursor_seek_le(&cursor, key, NULL), KL_E_NOT_FOUND);
  assert_int_equal(kl_tree_cursor_next(&cursor, NULL), KL_E_NOT_FOUND);
}

/* TREE-2: two rows of the largest size share a leaf, and inner pages with the longest separators have four children. */
static void test_the_largest_rows(void **state) {
  edges_test *test = *state;
  for (uint32_t page_size = KL_TREE_PAGE_MIN; page_size <= KL_TREE_PAGE_MAX; page_size *= 2) {
    kl_tree_pointer root = {0};
    kl_tree_merge_stats stats = {0};
    edges_run run = {.end = 2, .key_size = KL_TREE_KEY_MAX, .value_size = kl_tree_inline_max(page_size)};
    test->options.page_size = page_size;
    if (run.value_size > sizeof run.value) run.value_size = sizeof run.value;
    assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
    assert_int_equal(stats.pages_written, 1);
    assert_int_equal(stats.rows, 2);
    run = (edges_run){
        .at = 2, .end = 300, .key_size = KL_TREE_KEY_MAX, .value_size = run.value_size, .number_last = true};
    memset(run.key, 0xfe, sizeof run.key);
    assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
    assert_int_equal(stats.rows, 300);
    edges_run remove = {.at = 2, .end = 300, .key_size = KL_TREE_KEY_MAX, .kind = KL_TREE_DELETE, .number_last = true};
    memset(remove.key, 0xfe, sizeof remove.key);
    assert_int_equal(edges_merge(test, &remove, &root, &stats, NULL), KL_OK);
    assert_int_equal(stats.rows, 2);
    assert_int_equal(test->pages.block[root.address - 1].bytes[5], 0); /* one leaf again */
    run = (edges_run){.end = 2, .key_size = KL_TREE_KEY_MAX, .kind = KL_TREE_DELETE};
    assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
    assert_true(kl_tree_pointer_is_null(&root));
    assert_int_equal(test->pages.alive, 0);
  }
}

static void test_sizes_that_are_refused(void **state) {
  edges_test *test = *state;
  kl_error err = {0};
  kl_tree_pointer root = {0};
  edges_run run = {.end = 1, .key_size = KL_TREE_KEY_MAX + 1};
  assert_int_equal(edges_merge(test, &run, &root, NULL, &err), KL_E_KEY_SIZE);
  assert_non_null(strstr(err.message, "1025"));
  run = (edges_run){.end = 1, .key_size = 8, .value_size = kl_tree_inline_max(KL_TREE_PAGE_MIN) + 1};
  test->pages.sink.write_extent = NULL;
  assert_int_equal(edges_merge(test, &run, &root, NULL, &err), KL_E_VALUE_SIZE);
  uint8_t longest[KL_TREE_KEY_MAX + 1] = {0};
  kl_tree_value value;
  kl_slice key = kl_slice_make(longest, sizeof longest);
  run = (edges_run){.end = 1, .key_size = 8};
  assert_int_equal(edges_merge(test, &run, &root, NULL, &err), KL_OK);
  assert_int_equal(kl_tree_get(&test->pages.source, &root, key, &value, NULL), KL_E_NOT_FOUND);
  assert_int_equal(kl_tree_get_many(&test->pages.source, &root, &key, 1, &value, NULL), KL_OK);
  assert_false(value.found);
}

static void test_mistakes_of_the_caller(void **state) {
  edges_test *test = *state;
  static const uint32_t sizes[] = {0, 2048, 4097, 12288, 131072}, fills[] = {1, 49, 101};
  kl_tree_pointer root = {0};
  edges_run run = {.end = 3, .key_size = 8};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    test->options.page_size = sizes[i];
    assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_E_INVALID);
  }
  test->options.page_size = KL_TREE_PAGE_MIN;
  for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
    test->options.fill_percent = fills[i];
    assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_E_INVALID);
  }
  test->options.fill_percent = 0;
  run = (edges_run){.end = 3, .key_size = 0}; /* the empty key, again and again */
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_E_INVALID);
  run = (edges_run){.end = 3, .key_size = 8, .kind = (kl_tree_change_kind)4};
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_E_INVALID);
  run = (edges_run){.end = 3, .step = 1, .key_size = 8, .kind = KL_TREE_DELETE};
  kl_tree_changes changes = {edges_next, &run};
  assert_int_equal(kl_tree_build(&test->options, &changes, &root, NULL, NULL), KL_E_INVALID);
  test->options.sink = NULL;
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_E_INVALID);
}

/* Changes that change nothing write nothing and free nothing. */
static void test_deletes_of_what_is_absent(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  kl_tree_merge_stats stats = {0};
  edges_run run = {.end = 4000, .step = 2, .key_size = 8, .value_size = 20};
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_OK);
  kl_tree_pointer before = root;
  size_t count = test->pages.count;
  run = (edges_run){.at = 1, .end = 4000, .step = 2, .key_size = 8, .kind = KL_TREE_DELETE};
  assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
  assert_memory_equal(&before, &root, sizeof root);
  assert_int_equal(test->pages.count, count);
  assert_int_equal(stats.deletes, 0);
}

/* One change rewrites one path. */
static void test_only_the_path_is_rewritten(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  kl_tree_merge_stats stats = {0};
  edges_run run = {.end = 40000, .key_size = 16, .value_size = 40, .number_last = true};
  test->options.fill_percent = 80; /* room for the new row */
  assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
  test->options.fill_percent = 0;
  uint32_t level = test->pages.block[root.address - 1].bytes[5];
  assert_true(level >= 2);
  run = (edges_run){.at = 20000, .end = 20001, .key_size = 16, .value_size = 41, .number_last = true};
  assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
  assert_int_equal(stats.pages_written, level + 1);
  assert_int_equal(stats.pages_freed, level + 1);
}

/* Of what the last merge wrote, only the root may be less than a third full: all rows are small and alike. */
static void edges_check_fill(const edges_test *test, const kl_tree_pointer *root) {
  for (size_t i = 0; i < test->pages.count; i++) {
    const tree_block *block = &test->pages.block[i];
    if (block->birth != test->pages.version || block->died != 0 || i + 1 == root->address) continue;
    assert_in_range(block->size, test->options.page_size / 3, test->options.page_size);
  }
}

/* TREE-6: wherever rows are removed, what is left of a page is joined with its neighbour. */
static void test_thin_pages_are_joined(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  kl_tree_merge_stats stats = {0};
  kl_rng rng;
  kl_rng_init(&rng, test_seed(5));
  edges_run run = {.end = 20000, .key_size = 8, .value_size = 40};
  assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
  size_t full = test->pages.alive;
  for (int i = 0; i < 700; i++) {
    uint64_t start = kl_rng_below(&rng, 20000);
    run = (edges_run){.at = start, .end = start + 1 + kl_rng_below(&rng, 150), .key_size = 8, .kind = KL_TREE_DELETE};
    if (run.end > 20000) run.end = 20000;
    assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
    edges_check_fill(test, &root);
  }
  uint64_t rows = 0;
  assert_int_equal(kl_tree_rows(&test->pages.source, &root, &rows, NULL), KL_OK);
  assert_in_range(rows, 500, 5000);
  assert_true(test->pages.alive <= full * rows / 20000 * 3 + 5); /* each page at least a third full */
  run = (edges_run){.end = 19999, .key_size = 8, .kind = KL_TREE_DELETE};
  assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
  run = (edges_run){.at = 19999, .end = 20000, .key_size = 8};
  assert_int_equal(edges_merge(test, &run, &root, &stats, NULL), KL_OK);
  assert_int_equal(stats.rows, 1);
  assert_int_equal(test->pages.alive, 1);
}

/* References to extents pass through merges, and are freed exactly when they go. */
static void test_extents(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  kl_tree_merge_stats stats = {0};
  kl_tree_value value;
  kl_tree_extent extent;
  uint8_t key[8] = {0};
  test->options.freed = NULL; /* these are the caller's own */
  edges_run run = {.end = 500, .key_size = 8, .kind = KL_TREE_PUT_EXTENT};
  kl_tree_changes changes = {edges_next, &run};
  run.step = 1;
  assert_int_equal(kl_tree_build(&test->options, &changes, &root, &stats, NULL), KL_OK);
  assert_int_equal(stats.extents_written, 0);
  kl_store_u64_be(key, 123);
  assert_int_equal(kl_tree_get(&test->pages.source, &root, kl_slice_make(key, 8), &value, NULL), KL_OK);
  assert_true(value.is_extent);
  kl_tree_value_extent(&value, &extent);
  assert_int_equal(extent.address, 124);
  assert_int_equal(extent.length, 77);
  assert_int_equal(extent.stored, 78);
  assert_int_equal(extent.chunk, 81);
  assert_int_equal(extent.birth, 79);
  assert_int_equal(extent.checksum, 80);
  run = (edges_run){.at = 100, .end = 110, .step = 1, .key_size = 8, .kind = KL_TREE_DELETE};
  assert_int_equal(kl_tree_merge(&test->options, &root, &changes, &root, &stats, NULL), KL_OK);
  assert_int_equal(stats.extents_freed, 10);
  run = (edges_run){.at = 120, .end = 121, .step = 1, .key_size = 8, .kind = KL_TREE_PUT};
  assert_int_equal(kl_tree_merge(&test->options, &root, &changes, &root, &stats, NULL), KL_OK);
  assert_int_equal(stats.extents_freed, 1);
}

/* A parked cursor loads only what it needs; a scan asks for the next leaf; a merge pauses. */
static void test_hooks(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  kl_tree_cursor cursor;
  kl_tree_row row;
  edges_run run = {.end = 2000, .key_size = 8, .value_size = 40};
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_OK);
  run = (edges_run){.at = 77, .end = 78, .key_size = 8, .value_size = 1};
  test->pages.pauses = test->pages.loads = 0;
  kl_tree_changes changes = {edges_next, &run};
  run.step = 1, run.kind = KL_TREE_PUT;
  assert_int_equal(kl_tree_merge(&test->options, &root, &changes, &root, NULL, NULL), KL_OK);
  assert_int_equal(test->pages.pauses, test->pages.loads);
  kl_tree_cursor_init(&cursor, &test->pages.source, &root);
  test->pages.prefetches = 0;
  assert_int_equal(kl_tree_cursor_first(&cursor, NULL), KL_OK);
  assert_int_equal(test->pages.prefetches, 1);
  kl_tree_cursor_park(&cursor);
  test->pages.loads = 0;
  assert_int_equal(kl_tree_cursor_next(&cursor, NULL), KL_OK);
  assert_int_equal(kl_tree_cursor_row(&cursor, &row, NULL), KL_OK);
  assert_int_equal(test->pages.loads, 1);
  assert_int_equal(kl_load_u64_be(row.key.data), 1);
}

/* A page whose parent promises another level is found when it is reached (TREE-3); a wrong count by a walk. */
static void test_pages_in_the_wrong_place(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  kl_tree_value value;
  kl_error err = {0};
  uint8_t key[8] = {0};
  kl_tree_visitor visitor = {NULL, NULL, NULL};
  edges_run run = {.end = 2000, .key_size = 8, .value_size = 40};
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_OK);
  tree_block *block = &test->pages.block[root.address - 1];
  uint8_t *children = block->bytes + (32 + 6 * ((size_t)kl_load_u16_le(block->bytes + 12) - 1) + 7) / 8 * 8;
  uint8_t *rows = children + 24 * (size_t)kl_load_u16_le(block->bytes + 12), saved[24];
  memcpy(saved, children, 24);
  kl_store_u64_le(children, root.address); /* itself */
  kl_store_u32_le(children + 8, root.length);
  kl_store_u32_le(children + 12, root.checksum);
  assert_int_equal(kl_tree_get(&test->pages.source, &root, kl_slice_make(key, 8), &value, &err), KL_E_CORRUPT);
  memcpy(children, children + 24, 24); /* its neighbour */
  assert_int_equal(kl_tree_walk(kl_allocator_libc(), &test->pages.source, 4096, &root, &visitor, &err), KL_E_CORRUPT);
  memcpy(children, saved, 24);
  assert_int_equal(kl_tree_walk(kl_allocator_libc(), &test->pages.source, 4096, &root, &visitor, &err), KL_OK);
  rows[0]++;
  assert_int_equal(kl_tree_walk(kl_allocator_libc(), &test->pages.source, 4096, &root, &visitor, &err), KL_E_CORRUPT);
  rows[0]--;
}

/* A leaf, byte by byte as docs/format.md says, with nothing of the code but the little-endian loads. */
static void test_bytes_of_a_leaf(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  edges_run run = {.at = 5, .end = 8, .key_size = 12, .value_size = 2};
  memcpy(run.key + 8, "tail", 4);
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_OK);
  static const uint8_t records[] = {5,   't', 'a', 'i', 'l', 5,   5,   6,   't', 'a', 'i',
                                    'l', 6,   6,   7,   't', 'a', 'i', 'l', 7,   7};
  const uint8_t *page = test->pages.block[root.address - 1].bytes;
  assert_memory_equal(page, "KPG\x1a\x01\0\0\0", 8);
  assert_int_equal(root.length, 32 + 16 + 3 * 8 + 7 + sizeof records);
  assert_int_equal(kl_load_u32_le(page + 8), root.length);
  assert_int_equal(kl_load_u16_le(page + 12), 3);
  assert_int_equal(kl_load_u16_le(page + 14), 7);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(kl_load_u32_le(page + 48 + 4 * i), (5 + i) << 24 | 't' << 16 | 'a' << 8 | 'i');
    assert_int_equal(kl_load_u16_le(page + 60 + 4 * i), 79 + 7 * i);
    assert_int_equal(kl_load_u16_le(page + 62 + 4 * i), 5);
    uint64_t hash = 12 * UINT64_C(0x9e3779b97f4a7c15); /* of 8 bytes, then of 4 with zeros */
    hash = (hash ^ (5 + i) << 56) * UINT64_C(0xd6e8feb86659fd93), hash ^= hash >> 32;
    hash = (hash ^ UINT64_C(0x6c696174)) * UINT64_C(0xd6e8feb86659fd93), hash ^= hash >> 32;
    assert_int_equal(page[32 + i], hash >> 56);
  }
  for (size_t i = 16; i < 32; i++) assert_int_equal(page[i], 0);
  for (size_t i = 35; i < 48; i++) assert_int_equal(page[i], 0);
  for (size_t i = 72; i < 79; i++) assert_int_equal(page[i], 0); /* the prefix */
  assert_memory_equal(page + 79, records, sizeof records);
}

/* The root over leaves: separators no longer than they must be, pointers, counts. */
static void test_bytes_of_an_inner_page(void **state) {
  edges_test *test = *state;
  kl_tree_pointer root = {0};
  edges_run run = {.end = 8, .key_size = 500, .value_size = 600};
  assert_int_equal(edges_merge(test, &run, &root, NULL, NULL), KL_OK);
  const uint8_t *page = test->pages.block[root.address - 1].bytes;
  uint64_t rows = 0;
  assert_memory_equal(page, "KPG\x1a\x01\x01\0\0", 8);
  size_t n = kl_load_u16_le(page + 12), m = n - 1, c = (32 + 6 * m + 7) / 8 * 8, p = kl_load_u16_le(page + 14);
  assert_int_equal(n, 3); /* three rows of 1109 bytes fit in a page */
  assert_int_equal(p, 7); /* the separators are the numbers 3 and 6, of eight bytes, and not the 492 behind them */
  for (size_t i = 0; i < m; i++) {
    assert_int_equal(kl_load_u32_le(page + 32 + 4 * i), (3 + 3 * i) << 24);
    assert_int_equal(kl_load_u16_le(page + 32 + 4 * m + 2 * i), c + 32 * n + p + i);
    assert_int_equal(page[c + 32 * n + p + i], 3 + 3 * i);
  }
  for (size_t i = 0; i < p; i++) assert_int_equal(page[c + 32 * n + i], 0);
  assert_int_equal(root.length, c + 32 * n + p + m);
  for (size_t i = 0; i < n; i++) {
    const uint8_t *child = page + c + 24 * i;
    const tree_block *block = &test->pages.block[kl_load_u64_le(child) - 1];
    assert_int_equal(kl_load_u32_le(child + 8), block->size);
    assert_int_equal(kl_load_u32_le(child + 12), block->crc);
    assert_int_equal(kl_load_u64_le(child + 16), block->birth);
    assert_int_equal(kl_load_u64_le(page + c + 24 * n + 8 * i), kl_load_u16_le(block->bytes + 12));
    rows += kl_load_u64_le(page + c + 24 * n + 8 * i);
  }
  assert_int_equal(rows, 8);
}

/* The instructions and the loop find the same. */
static void test_probes_agree(void **state) {
  (void)state;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(9));
  for (int round = 0; round < 10000; round++) {
    uint8_t bytes[17];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(kl_rng_below(&rng, 3) * 127);
    for (unsigned value = 0; value < 256; value += 127) {
      uint32_t mask = tree_probe_portable(bytes + 1, (uint8_t)value);
      assert_int_equal(tree_probe(bytes + 1, (uint8_t)value), mask);
      for (size_t i = 0; i < 16; i++) assert_int_equal(mask >> i & 1, bytes[1 + i] == value);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_an_empty_tree, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_the_largest_rows, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_sizes_that_are_refused, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_mistakes_of_the_caller, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_deletes_of_what_is_absent, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_only_the_path_is_rewritten, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_thin_pages_are_joined, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_extents, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_hooks, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_pages_in_the_wrong_place, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_bytes_of_a_leaf, edges_setup, edges_teardown),
      cmocka_unit_test_setup_teardown(test_bytes_of_an_inner_page, edges_setup, edges_teardown),
      cmocka_unit_test(test_probes_agree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
