/* tests/unit/tree/test_tree_faults.c: each allocation and each call of a callback fails once (TREE-9).
 *
 * A merge that fails leaves the old tree as it was, and the merge works when it is repeated. A read that fails says
 * so, and works when it is repeated. */
#include "tree_testing.h"

enum { FAULTS_ROWS = 900, FAULTS_CHANGES = 60 };

typedef struct faults_test {
  tree_pages pages;
  tree_pool pool;
  failing_allocator allocator;
  tree_state old;
  tree_run changes;
} faults_test;

static void faults_row(faults_test *test, tree_model_row *row, uint64_t number, size_t value_size, uint8_t fill) {
  row->key = tree_pool_bytes(&test->pool, 64);
  row->key_size = (size_t)snprintf((char *)row->key, 64, "a key of some length and with a common prefix %08llu",
                                   (unsigned long long)number);
  row->value = NULL;
  row->value_size = value_size;
  if (value_size == SIZE_MAX) return; /* a delete */
  row->value = tree_pool_bytes(&test->pool, value_size);
  memset(row->value, fill, value_size);
}

static kl_status faults_merge(faults_test *test, tree_run *run, const kl_tree_pointer *root,
                              kl_tree_pointer *out_root) {
  kl_error err = {0};
  kl_tree_changes changes = {tree_run_next, run};
  kl_tree_merge_options options = {.allocator = &test->allocator.base,
                                   .page_size = KL_TREE_PAGE_MIN,
                                   .source = &test->pages.source,
                                   .sink = &test->pages.sink,
                                   .freed = &test->pages.freed};
  run->at = 0;
  kl_status status = kl_tree_merge(&options, root, &changes, out_root, NULL, &err);
  assert_int_equal(status, err.code);
  assert_int_equal(atomic_load(&test->allocator.live_bytes), 0);
  return status;
}

/* A tree of three levels; changes that split pages, empty them, join neighbours, and replace and remove extents. */
static void faults_setup(faults_test *test) {
  memset(test, 0, sizeof *test);
  tree_pages_init(&test->pages);
  failing_allocator_init(&test->allocator);
  tree_run rows = {calloc(FAULTS_ROWS, sizeof *rows.row), FAULTS_ROWS, 0, NULL};
  tree_model none = {NULL, 0};
  kl_tree_pointer empty = {0};
  assert_non_null(rows.row);
  for (uint64_t i = 0; i < FAULTS_ROWS; i++) faults_row(test, &rows.row[i], i * 10, i % 50 == 0 ? 3000 : 700, 1);
  test->old.model = tree_model_merge(&none, &rows);
  assert_int_equal(faults_merge(test, &rows, &empty, &test->old.root), KL_OK);
  free(rows.row);
  tree_run *run = &test->changes;
  *run = (tree_run){calloc(FAULTS_CHANGES, sizeof *run->row), FAULTS_CHANGES, 0, &test->pages};
  assert_non_null(run->row);
  for (uint64_t i = 0; i < FAULTS_CHANGES; i++) {
    uint64_t number = i < 20 ? i * 5 : i < 40 ? 1000 + i * 10 : FAULTS_ROWS * 10 - (FAULTS_CHANGES - i) * 10;
    faults_row(test, &run->row[i], number, i < 20 ? (i % 7 == 0 ? 4000 : 200) : SIZE_MAX, 2);
  }
  tree_run_sort(run);
  test->pages.version = 2;
}

static void faults_teardown(faults_test *test) {
  free(test->old.model.row);
  free(test->changes.row);
  tree_pages_destroy(&test->pages);
  tree_pool_free(&test->pool);
}

static void faults_check_old(faults_test *test) {
  tree_check_scan(&test->pages, KL_TREE_PAGE_MIN, &test->old);
  tree_check_reachable(&test->pages, KL_TREE_PAGE_MIN, &test->old.root);
}

static void faults_check_success(faults_test *test, const kl_tree_pointer *root) {
  tree_state now = {.root = *root, .model = tree_model_merge(&test->old.model, &test->changes)};
  tree_check_scan(&test->pages, KL_TREE_PAGE_MIN, &now);
  tree_check_scan(&test->pages, KL_TREE_PAGE_MIN, &test->old);
  tree_check_reachable(&test->pages, KL_TREE_PAGE_MIN, root);
  free(now.model.row);
}

static void test_merge_fails_at_each_call(void **state) {
  (void)state;
  faults_test test;
  uint64_t at = 1;
  faults_setup(&test);
  for (;; at++, test.pages.version++) {
    kl_tree_pointer root = {1, 2, 3, 4};
    test.pages.calls = 0;
    test.pages.fail_at = at;
    kl_status status = faults_merge(&test, &test.changes, &test.old.root, &root);
    test.pages.fail_at = 0;
    if (status == KL_OK) {
      faults_check_success(&test, &root);
      break;
    }
    assert_int_equal(status, KL_E_IO);
    assert_int_equal(root.birth, 4); /* untouched */
    tree_pages_abandon(&test.pages);
    faults_check_old(&test);
  }
  assert_true(at > 150); /* changes, loads, writes, frees */
  faults_teardown(&test);
}

static void test_merge_fails_at_each_allocation(void **state) {
  (void)state;
  faults_test test;
  uint64_t at = 1;
  faults_setup(&test);
  for (;; at++, test.pages.version++) {
    kl_tree_pointer root = {0};
    failing_allocator_arm(&test.allocator, at);
    kl_status status = faults_merge(&test, &test.changes, &test.old.root, &root);
    failing_allocator_arm(&test.allocator, 0);
    if (status == KL_OK) {
      faults_check_success(&test, &root);
      break;
    }
    assert_int_equal(status, KL_E_NO_MEMORY);
    tree_pages_abandon(&test.pages);
    faults_check_old(&test);
  }
  assert_true(at > 8);
  faults_teardown(&test);
}

/* The reads, by number. Each answers KL_OK on this tree. */
static kl_status faults_read(faults_test *test, int which, failing_allocator *allocator) {
  static kl_tree_split splits[5];
  const kl_tree_source *source = &test->pages.source;
  const kl_tree_pointer *root = &test->old.root;
  kl_tree_visitor visitor = {NULL, NULL, NULL};
  kl_slice key = tree_model_key(&test->old.model.row[400]), keys[20];
  kl_tree_value value, values[20];
  uint64_t number = 0;
  size_t count = 0;
  uint8_t bytes[KL_TREE_KEY_MAX];
  for (size_t i = 0; i < 20; i++) keys[i] = tree_model_key(&test->old.model.row[i * 40]);
  switch (which) {
    case 0:
      return kl_tree_get(source, root, key, &value, NULL);
    case 1:
      return kl_tree_get_many(source, root, keys, 20, values, NULL);
    case 2:
      return kl_tree_count(source, root, keys[1], &keys[5], &number, NULL);
    case 3:
      return kl_tree_count(source, root, keys[1], NULL, &number, NULL);
    case 4:
      return kl_tree_select(source, root, 300, bytes, &count, NULL);
    case 5:
      return kl_tree_split_points(source, root, kl_slice_make(NULL, 0), NULL, 5, splits, &count, NULL);
    default:
      return kl_tree_walk(&allocator->base, source, KL_TREE_PAGE_MIN, root, &visitor, NULL);
  }
}

static void test_reads_fail_at_each_load(void **state) {
  (void)state;
  faults_test test;
  faults_setup(&test);
  for (int which = 0; which <= 6; which++) {
    uint64_t at = 1;
    for (;; at++) {
      test.pages.calls = 0;
      test.pages.fail_at = at;
      kl_status status = faults_read(&test, which, &test.allocator);
      test.pages.fail_at = 0;
      if (status == KL_OK) break;
      assert_int_equal(status, KL_E_IO);
      assert_int_equal(faults_read(&test, which, &test.allocator), KL_OK);
    }
    assert_true(at > 3);
  }
  uint64_t at = 1;
  for (;; at++) {
    failing_allocator_arm(&test.allocator, at);
    kl_status status = faults_read(&test, 6, &test.allocator);
    failing_allocator_arm(&test.allocator, 0);
    assert_int_equal(atomic_load(&test.allocator.live_bytes), 0);
    if (status == KL_OK) break;
    assert_int_equal(status, KL_E_NO_MEMORY);
  }
  assert_true(at > 3);
  faults_teardown(&test);
}

/* Whatever load of a scan fails, also after parking: the cursor is nowhere, and works when it is asked again. */
static void test_cursor_fails_at_each_load(void **state) {
  (void)state;
  faults_test test;
  kl_tree_cursor cursor;
  kl_tree_row row;
  faults_setup(&test);
  kl_tree_cursor_init(&cursor, &test.pages.source, &test.old.root);
  bool failed = true;
  for (uint64_t at = 1; failed; at += 3) {
    size_t seen = 0;
    test.pages.calls = 0;
    test.pages.fail_at = at;
    kl_status status = kl_tree_cursor_last(&cursor, NULL);
    while (status == KL_OK && (status = kl_tree_cursor_row(&cursor, &row, NULL)) == KL_OK) {
      assert_true(kl_slice_equal(row.key, tree_model_key(&test.old.model.row[FAULTS_ROWS - ++seen])));
      if (seen % 10 == 0) kl_tree_cursor_park(&cursor);
      status = kl_tree_cursor_prev(&cursor, NULL);
    }
    failed = status == KL_E_IO;
    assert_true(failed || (status == KL_E_NOT_FOUND && seen == FAULTS_ROWS));
    assert_int_equal(kl_tree_cursor_next(&cursor, NULL), KL_E_NOT_FOUND);
    test.pages.fail_at = 0;
    assert_int_equal(kl_tree_cursor_seek_ge(&cursor, tree_model_key(&test.old.model.row[7]), NULL), KL_OK);
    assert_int_equal(kl_tree_cursor_row(&cursor, &row, NULL), KL_OK);
    assert_true(kl_slice_equal(row.key, tree_model_key(&test.old.model.row[7])));
  }
  faults_teardown(&test);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_merge_fails_at_each_call), cmocka_unit_test(test_merge_fails_at_each_allocation),
      cmocka_unit_test(test_reads_fail_at_each_load), cmocka_unit_test(test_cursor_fails_at_each_load)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
