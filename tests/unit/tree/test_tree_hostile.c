/* tests/unit/tree/test_tree_hostile.c: pages that are not what the tree wrote (TREE-3, TREE-4).
 *
 * Every byte of a leaf and of an inner page is changed in several ways, and every shorter length is tried. A page is
 * then refused, or it is a page like any other and all reads of it agree. */
#include "tree_page_use.h"
#include "tree_testing.h"

typedef struct hostile_page {
  uint8_t *bytes;
  size_t size;
} hostile_page;

/* A tree of two levels: its first leaf has a prefix, an empty value and an extent. */
static void hostile_make(tree_pages *pages, hostile_page *out_leaf, hostile_page *out_inner) {
  enum { ROWS = 200 };
  static char keys[ROWS][24];
  static uint8_t large[5000];
  tree_model_row rows[ROWS];
  tree_run run = {rows, ROWS, 0, NULL};
  kl_tree_changes changes = {tree_run_next, &run};
  kl_tree_pointer root;
  tree_pages_init(pages);
  for (size_t i = 0; i < ROWS; i++) {
    int size = snprintf(keys[i], sizeof keys[i], "key-%05zu", i * 37);
    rows[i] = (tree_model_row){(uint8_t *)keys[i], large, (size_t)size, i == 3 ? sizeof large : i % 40};
  }
  kl_tree_merge_options options = {
      .allocator = kl_allocator_libc(), .page_size = KL_TREE_PAGE_MIN, .sink = &pages->sink, .freed = &pages->freed};
  assert_int_equal(kl_tree_build(&options, &changes, &root, NULL, NULL), KL_OK);
  assert_true(pages->count > 2);
  *out_leaf = (hostile_page){pages->block[0].bytes, pages->block[0].size};
  *out_inner = (hostile_page){pages->block[root.address - 1].bytes, pages->block[root.address - 1].size};
  assert_int_equal(out_leaf->bytes[5], 0);
  assert_int_equal(out_inner->bytes[5], 1);
}

/* Returns whether the page was accepted. */
static bool hostile_try(const uint8_t *bytes, size_t size) {
  kl_error err = {0};
  kl_tree_pointer pointer = {4096, (uint32_t)size, 0, 1};
  uint8_t *page = malloc(size != 0 ? size : 1);
  assert_non_null(page);
  memcpy(page, bytes, size);
  kl_status status = kl_tree_page_check(page, size, &pointer, &err);
  if (status == KL_OK) {
    assert_true(tree_page_use_all(page, size));
  } else {
    assert_true(status == KL_E_CORRUPT || status == KL_E_VERSION);
    assert_int_equal(err.code, status);
    assert_non_null(strstr(err.message, "4096"));
  }
  free(page);
  return status == KL_OK;
}

static void hostile_every_byte(const hostile_page *page) {
  static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x10};
  uint8_t bytes[KL_TREE_PAGE_MIN + 64] = {0};
  size_t accepted = 0, header = 0;
  for (size_t at = 0; at < page->size; at++) {
    for (size_t i = 0; i < sizeof flips; i++) {
      memcpy(bytes, page->bytes, page->size);
      bytes[at] ^= flips[i];
      bool good = hostile_try(bytes, page->size);
      accepted += good;
      header += good && at < 16 && at != 5;
    }
  }
  /* Of the header only the level may change, from one inner level to another: parent and children then disagree. */
  assert_int_equal(header, 0);
  assert_true(accepted > page->size / 8); /* a byte of a value may, of the padding, of a pointer */
  for (size_t size = 0; size < page->size; size++) assert_false(hostile_try(page->bytes, size));
  memcpy(bytes, page->bytes, page->size);
  assert_false(hostile_try(bytes, page->size + 1));
}

static void test_every_byte_of_a_leaf(void **state) {
  (void)state;
  tree_pages pages;
  hostile_page leaf, inner;
  hostile_make(&pages, &leaf, &inner);
  assert_true(hostile_try(leaf.bytes, leaf.size));
  hostile_every_byte(&leaf);
  tree_pages_destroy(&pages);
}

static void test_every_byte_of_an_inner_page(void **state) {
  (void)state;
  tree_pages pages;
  hostile_page leaf, inner;
  hostile_make(&pages, &leaf, &inner);
  assert_true(hostile_try(inner.bytes, inner.size));
  hostile_every_byte(&inner);
  tree_pages_destroy(&pages);
}

/* Many changes at once, length and magic made right again. */
static void test_random_changes(void **state) {
  (void)state;
  tree_pages pages;
  hostile_page page[2];
  kl_rng rng;
  uint64_t seed = test_seed(3);
  kl_rng_init(&rng, seed);
  hostile_make(&pages, &page[0], &page[1]);
  for (int round = 0; round < 20000; round++) {
    uint8_t bytes[KL_TREE_PAGE_MIN + 64];
    const hostile_page *from = &page[round & 1];
    memcpy(bytes, from->bytes, from->size);
    for (uint64_t n = kl_rng_below(&rng, 6) + 1; n > 0; n--) {
      size_t at = (size_t)kl_rng_below(&rng, kl_rng_below(&rng, 2) == 0 ? 64 : from->size);
      bytes[at] = (uint8_t)kl_rng_below(&rng, kl_rng_below(&rng, 2) == 0 ? 4 : 256);
    }
    memcpy(bytes, from->bytes, 5);
    memcpy(bytes + 6, from->bytes + 6, 6);
    (void)hostile_try(bytes, from->size);
  }
  tree_pages_destroy(&pages);
}

/* A page of a newer format is told from a damaged one. */
static void test_newer_page(void **state) {
  (void)state;
  tree_pages pages;
  hostile_page leaf, inner;
  kl_error err = {0};
  hostile_make(&pages, &leaf, &inner);
  leaf.bytes[4] = 2;
  assert_int_equal(kl_tree_page_check(leaf.bytes, leaf.size, NULL, &err), KL_E_VERSION);
  leaf.bytes[4] = 1;
  leaf.bytes[6] = 1;
  assert_int_equal(kl_tree_page_check(leaf.bytes, leaf.size, NULL, &err), KL_E_VERSION);
  tree_pages_destroy(&pages);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_byte_of_a_leaf),
                                     cmocka_unit_test(test_every_byte_of_an_inner_page),
                                     cmocka_unit_test(test_random_changes), cmocka_unit_test(test_newer_page)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
