/* tests/unit/tree/test_tree_join.c: merges in parts (TREE-11): how full pages are at the seams, parts without changes,
 * what is refused, and each call and each allocation failing. That the rows are right, and that what is freed is what is
 * no longer reached, test_tree_model tries with random cuts. */
#include "tree_testing.h"

enum { JOIN_ROWS = 40000, JOIN_FAULT_ROWS = 900, JOIN_CUTS = 40 };

typedef struct join_test {
  tree_pages pages;
  tree_pool pool;
  failing_allocator allocator;
  tree_state old;
  kl_slice cuts[JOIN_CUTS];
  size_t cut_count;
} join_test;

static kl_slice join_key(join_test *test, uint64_t number) {
  uint8_t *key = tree_pool_bytes(&test->pool, 64);
  return kl_slice_make(
      key, (size_t)snprintf((char *)key, 64, "a common prefix and number %08llu", (unsigned long long)number));
}

/* `value_size` SIZE_MAX: a delete. */
static void join_row(join_test *test, tree_model_row *row, uint64_t number, size_t value_size, uint8_t fill) {
  kl_slice key = join_key(test, number);
  *row = (tree_model_row){.key = (uint8_t *)key.data, .key_size = key.size};
  if (value_size == SIZE_MAX) return;
  row->value = tree_pool_bytes(&test->pool, value_size);
  row->value_size = value_size;
  memset(row->value, fill, value_size);
}

static kl_tree_merge_options join_options(join_test *test) {
  return (kl_tree_merge_options){.allocator = &test->allocator.base,
                                 .page_size = KL_TREE_PAGE_MIN,
                                 .source = &test->pages.source,
                                 .sink = &test->pages.sink,
                                 .freed = &test->pages.freed};
}

static void join_begin(join_test *test, size_t cuts, uint64_t distance) {
  memset(test, 0, sizeof *test);
  tree_pages_init(&test->pages);
  failing_allocator_init(&test->allocator);
  test->cut_count = cuts;
  for (size_t i = 0; i < cuts; i++) test->cuts[i] = join_key(test, (i + 1) * distance);
}

static void join_end(join_test *test) {
  free(test->old.model.row);
  tree_pages_destroy(&test->pages);
  tree_pool_free(&test->pool);
}

static kl_status join_merge(join_test *test, tree_run *run, kl_tree_pointer *out_root, kl_tree_merge_stats *stats,
                            kl_error *err) {
  kl_tree_merge_options options = join_options(test);
  kl_tree_merge_stats none = {0};
  if (stats == NULL) stats = &none;
  kl_status status =
      tree_merge_in_parts(&options, &test->old.root, run, test->cuts, test->cut_count, out_root, stats, err);
  assert_int_equal(atomic_load(&test->allocator.live_bytes), 0);
  return status;
}

static void join_rows(join_test *test, tree_run *run, uint64_t count, size_t value_size, uint8_t fill) {
  *run = (tree_run){calloc(count, sizeof *run->row), count, 0, NULL};
  assert_non_null(run->row);
  for (uint64_t i = 0; i < count; i++) join_row(test, &run->row[i], i, value_size, fill);
}

/* -------- how full pages are -------- */

typedef struct join_fill {
  const kl_tree_pointer *root;
  size_t pages[KL_TREE_LEVELS];
} join_fill;

static kl_status join_visit(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err) {
  join_fill *fill = context;
  (void)err;
  fill->pages[level]++;
  if (pointer->address != fill->root->address) assert_true(pointer->length * 3 >= KL_TREE_PAGE_MIN); /* TREE-6 */
  return KL_OK;
}

static void join_check_fill(join_test *test, const kl_tree_pointer *root, join_fill *out) {
  kl_tree_visitor visitor = {.page = join_visit, .context = out};
  memset(out, 0, sizeof *out);
  out->root = root;
  assert_int_equal(kl_tree_walk(kl_allocator_libc(), &test->pages.source, KL_TREE_PAGE_MIN, root, &visitor, NULL),
                   KL_OK);
}

/* Built in parts, of which some have few rows or none, a tree has hardly more pages than one that was built at once. */
static void test_seams(void **state) {
  (void)state;
  for (uint64_t distance = 1; distance <= 1000; distance = distance * 3 + 1) {
    join_test test;
    tree_run run;
    kl_tree_merge_stats stats = {0};
    kl_error err;
    join_fill whole, parts;
    join_begin(&test, JOIN_CUTS, distance);
    join_rows(&test, &run, JOIN_ROWS, 40, 1);
    kl_tree_merge_options options = join_options(&test);
    kl_tree_pointer none = {0}, at_once;
    kl_tree_changes changes = {tree_run_next, &run};
    assert_int_equal(kl_tree_build(&options, &changes, &at_once, NULL, &err), KL_OK);
    join_check_fill(&test, &at_once, &whole);
    test.pages.alive = 0; /* that tree is forgotten: the next one is looked at alone */
    for (size_t i = 0; i < test.pages.count; i++) test.pages.block[i].died = 1;
    test.pages.version = 2;
    test.old.root = none;
    assert_int_equal(join_merge(&test, &run, &test.old.root, &stats, &err), KL_OK);
    assert_int_equal(stats.puts, JOIN_ROWS);
    assert_int_equal(stats.rows, JOIN_ROWS);
    tree_model empty = {NULL, 0};
    test.old.model = tree_model_merge(&empty, &run);
    tree_check_scan(&test.pages, KL_TREE_PAGE_MIN, &test.old);
    tree_check_reachable(&test.pages, KL_TREE_PAGE_MIN, &test.old.root);
    join_check_fill(&test, &test.old.root, &parts);
    for (uint32_t level = 0; level < KL_TREE_LEVELS; level++) {
      assert_in_range(parts.pages[level], 0, whole.pages[level] + JOIN_CUTS + 1);
    }
    free(run.row);
    join_end(&test);
  }
}

/* -------- parts without changes -------- */

/* Changes in one part of many: the others are taken from the old tree, whose pages stay but for the paths to the cuts. */
static void test_parts_that_stay(void **state) {
  (void)state;
  join_test test;
  tree_run run, change = {0};
  kl_tree_merge_stats stats = {0};
  kl_error err;
  join_begin(&test, 0, 0);
  join_rows(&test, &run, JOIN_ROWS, 40, 1);
  assert_int_equal(join_merge(&test, &run, &test.old.root, &stats, &err), KL_OK);
  tree_model empty = {NULL, 0};
  test.old.model = tree_model_merge(&empty, &run);
  free(run.row);
  for (size_t i = 0; i < 8; i++) test.cuts[i] = join_key(&test, (i + 1) * (JOIN_ROWS / 9));
  test.cut_count = 8;
  for (uint64_t number = 0; number <= JOIN_ROWS; number += JOIN_ROWS / 20) {
    kl_tree_pointer root = {1, 2, 3, 4};
    tree_model_row row;
    change = (tree_run){&row, 1, 0, NULL};
    join_row(&test, &row, number, number % 3 == 0 ? SIZE_MAX : 60, 2);
    test.pages.version++;
    memset(&stats, 0, sizeof stats);
    assert_int_equal(join_merge(&test, &change, &root, &stats, &err), KL_OK);
    tree_state now = {.root = root, .model = tree_model_merge(&test.old.model, &change)};
    tree_check_scan(&test.pages, KL_TREE_PAGE_MIN, &now);
    tree_check_reachable(&test.pages, KL_TREE_PAGE_MIN, &now.root);
    assert_true(stats.pages_written < 100);
    free(test.old.model.row);
    test.old = now;
  }
  /* Deletes of what is not there change nothing, wherever the cuts are. */
  tree_model_row absent[2];
  kl_tree_pointer root = {1, 2, 3, 4};
  join_row(&test, &absent[0], JOIN_ROWS + 5, SIZE_MAX, 0);
  join_row(&test, &absent[1], JOIN_ROWS + 6, SIZE_MAX, 0);
  change = (tree_run){absent, 2, 0, NULL};
  test.pages.version++;
  memset(&stats, 0, sizeof stats);
  assert_int_equal(join_merge(&test, &change, &root, &stats, &err), KL_OK);
  assert_memory_equal(&root, &test.old.root, sizeof root);
  assert_int_equal(stats.pages_written, 0);
  assert_int_equal(stats.pages_freed, 0);
  join_end(&test);
}

/* Every row goes: no root is left, of any part. */
static void test_nothing_is_left(void **state) {
  (void)state;
  join_test test;
  tree_run run, all;
  kl_tree_merge_stats stats = {0};
  kl_error err;
  kl_tree_pointer root = {1, 2, 3, 4};
  join_begin(&test, JOIN_CUTS, 250);
  join_rows(&test, &run, JOIN_ROWS / 4, 3000, 1);
  assert_int_equal(join_merge(&test, &run, &test.old.root, &stats, &err), KL_OK);
  join_rows(&test, &all, JOIN_ROWS / 4, SIZE_MAX, 0);
  test.pages.version++;
  assert_int_equal(join_merge(&test, &all, &root, &stats, &err), KL_OK);
  assert_true(kl_tree_pointer_is_null(&root));
  assert_int_equal(test.pages.alive, 0);
  assert_int_equal(test.pages.alive_extents, 0);
  free(run.row);
  free(all.row);
  join_end(&test);
}

/* -------- what is refused -------- */

static void test_wrong_parts(void **state) {
  (void)state;
  join_test test;
  tree_model_row row;
  kl_tree_pointer none = {0}, root = {1, 2, 3, 4};
  kl_error err;
  join_begin(&test, 3, 100);
  kl_tree_merge_options options = join_options(&test);
  tree_run run = {&row, 1, 0, NULL};
  kl_tree_changes changes = {tree_run_next, &run};
  kl_tree_part part = {.low = test.cuts[0], .high = test.cuts[1], .has_high = true};
  static const uint64_t outside[] = {99, 200, 201};
  for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
    join_row(&test, &row, outside[i], 10, 1);
    run.at = 0;
    assert_int_equal(kl_tree_merge_part(&options, &none, &changes, &part, NULL, &err), KL_E_INVALID);
    assert_false(part.changed);
  }
  const kl_slice *cut = test.cuts;
  const kl_tree_part first = {.high = cut[0], .has_high = true}, last = {.low = cut[0]}, gap = {.low = cut[1]};
  const kl_tree_part middle = {.low = cut[0], .high = cut[0], .has_high = true};
  const kl_tree_part wrong[][3] = {{first, gap, gap}, {first, first, last}, {last, last, last}, {first, middle, last}};
  assert_int_equal(kl_tree_join(&options, &none, NULL, 0, &root, NULL, &err), KL_E_INVALID);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    for (size_t count = 1; count <= 3; count++) {
      if (i == 3 && count == 2) continue;
      assert_int_equal(kl_tree_join(&options, &none, wrong[i], count, &root, NULL, &err), KL_E_INVALID);
    }
  }
  assert_int_equal(root.birth, 4);
  join_end(&test);
}

/* -------- failures -------- */

static void join_faults_setup(join_test *test, tree_run *changes) {
  tree_run run;
  kl_error err;
  tree_model empty = {NULL, 0};
  join_begin(test, 0, 0);
  join_rows(test, &run, JOIN_FAULT_ROWS, 700, 1);
  assert_int_equal(join_merge(test, &run, &test->old.root, NULL, &err), KL_OK);
  test->old.model = tree_model_merge(&empty, &run);
  free(run.row);
  *changes = (tree_run){calloc(JOIN_FAULT_ROWS, sizeof *changes->row), 0, 0, &test->pages};
  assert_non_null(changes->row);
  for (uint64_t i = 0; i < JOIN_FAULT_ROWS; i++) {
    size_t size = i % 90 == 0 ? 4000 : 650;
    if (i < 30 || i % 60 == 0) join_row(test, &changes->row[changes->count++], i, i % 4 == 0 ? SIZE_MAX : size, 2);
  }
  for (size_t i = 0; i < 3; i++) test->cuts[i] = join_key(test, 11 + i * 400);
  test->cut_count = 3;
  test->pages.version = 2;
}

static void join_faults_check(join_test *test, const tree_state *now) {
  tree_check_scan(&test->pages, KL_TREE_PAGE_MIN, now);
  tree_check_scan(&test->pages, KL_TREE_PAGE_MIN, &test->old);
  tree_check_reachable(&test->pages, KL_TREE_PAGE_MIN, &now->root);
}

/* `calls`: each call of a callback fails in turn; otherwise each allocation. TREE-9. */
static void join_faults(bool calls, uint64_t least) {
  join_test test;
  tree_run changes;
  kl_error err;
  uint64_t at = 1;
  join_faults_setup(&test, &changes);
  for (;; at++, test.pages.version++) {
    kl_tree_pointer root = {1, 2, 3, 4};
    test.pages.calls = 0;
    test.pages.fail_at = calls ? at : 0;
    if (!calls) failing_allocator_arm(&test.allocator, at);
    kl_status status = join_merge(&test, &changes, &root, NULL, &err);
    test.pages.fail_at = 0;
    failing_allocator_arm(&test.allocator, 0);
    if (status == KL_OK) {
      tree_state now = {.root = root, .model = tree_model_merge(&test.old.model, &changes)};
      join_faults_check(&test, &now);
      free(now.model.row);
      break;
    }
    assert_int_equal(status, calls ? KL_E_IO : KL_E_NO_MEMORY);
    assert_int_equal(root.birth, 4); /* untouched */
    tree_pages_abandon(&test.pages);
    join_faults_check(&test, &test.old);
  }
  assert_true(at > least);
  free(changes.row);
  join_end(&test);
}

static void test_fails_at_each_call(void **state) {
  (void)state;
  join_faults(true, 150);
}

static void test_fails_at_each_allocation(void **state) {
  (void)state;
  join_faults(false, 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_seams),
      cmocka_unit_test(test_parts_that_stay),
      cmocka_unit_test(test_nothing_is_left),
      cmocka_unit_test(test_wrong_parts),
      cmocka_unit_test(test_fails_at_each_call),
      cmocka_unit_test(test_fails_at_each_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
