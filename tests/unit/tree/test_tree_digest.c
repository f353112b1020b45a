/* tests/unit/tree/test_tree_digest.c: point look-ups by digest find what those without find (TREE-12), and counting
 * heads is searching them. */
#include "core/tree/heads.h"
#include "tree_testing.h"

enum { DIGEST_ROWS = 3000, DIGEST_MANY = 40 };

/* A tree whose pages lie as the frames of a cache do, each with its digest. */
typedef struct digest_test {
  tree_pages pages;
  tree_pool pool;
  uint32_t page_size;
  kl_tree_pointer root;
  tree_model model;
  uint8_t *frames, *digests;
  size_t with, even; /* leaves that have a digest; of those, with rows of one size */
  uint64_t swapped;  /* loads of this address give the root instead; 0: none */
  kl_tree_source source;
} digest_test;

static kl_status digest_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out, kl_error *err) {
  digest_test *test = context;
  uint64_t address = pointer->address == test->swapped ? test->root.address : pointer->address;
  (void)err;
  *out = test->frames + (address - 1) * test->page_size;
  return KL_OK;
}

static void digest_place(digest_test *test) {
  size_t count = test->pages.count, blocks = test->page_size / KL_TREE_PAGE_MIN;
  size_t digest_size = blocks * KL_TREE_DIGEST_STRIDE;
  test->frames = aligned_alloc(KL_TREE_PAGE_MIN, count * test->page_size);
  test->digests = aligned_alloc(64, count * digest_size);
  assert_non_null(test->frames);
  assert_non_null(test->digests);
  memset(test->digests, 0xee, count * digest_size);
  for (size_t i = 0; i < count; i++) {
    uint8_t *digest = test->digests + i * digest_size;
    memcpy(test->frames + i * test->page_size, test->pages.block[i].bytes, test->pages.block[i].size);
    kl_tree_digest(test->frames + i * test->page_size, digest, digest_size);
    uint16_t key_size;
    memcpy(&key_size, digest + 8, sizeof key_size);
    test->with += digest[0] != 0;
    test->even += digest[0] != 0 && key_size != 0xffff;
  }
  test->source = (kl_tree_source){.load = digest_load,
                                  .context = test,
                                  .frames = test->frames,
                                  .frames_size = count * test->page_size,
                                  .digests = test->digests};
}

/* How keys and values look. */
typedef struct digest_family {
  const char *name;
  size_t prefix;      /* bytes that all keys begin with */
  size_t key, spread; /* bytes behind it: key ... key + spread */
  size_t value, value_spread;
  bool even, digested; /* what is expected of most leaves of 4 KiB */
} digest_family;

static const digest_family digest_families[] = {
    {"usual", 0, 16, 0, 100, 0, true, true},
    {"values of many sizes", 0, 16, 0, 60, 80, false, true},
    {"keys of many sizes", 0, 8, 20, 50, 0, false, true},
    {"a long prefix", 40, 8, 0, 100, 0, true, true},
    {"small rows", 0, 8, 0, 1, 0, true, false},
    {"rows of one line", 3, 13, 0, 34, 0, true, true},
    {"no values", 0, 40, 0, 0, 0, true, true},
    {"extents", 0, 16, 0, 900, 400, false, true},
    {"few rows a leaf", 0, 9, 0, 900, 0, true, true},
};

static void digest_make(digest_test *test, const digest_family *family, uint32_t page_size, kl_rng *rng) {
  tree_run run = {malloc(DIGEST_ROWS * sizeof *run.row), DIGEST_ROWS, 0, NULL};
  kl_tree_changes changes = {tree_run_next, &run};
  memset(test, 0, sizeof *test);
  tree_pages_init(&test->pages);
  test->page_size = page_size;
  assert_non_null(run.row);
  for (size_t i = 0; i < run.count; i++) {
    tree_model_row *row = &run.row[i];
    row->key_size = family->prefix + family->key + (size_t)kl_rng_below(rng, family->spread + 1);
    row->value_size = family->value + (size_t)kl_rng_below(rng, family->value_spread + 1);
    row->key = tree_pool_bytes(&test->pool, row->key_size);
    row->value = tree_pool_bytes(&test->pool, row->value_size);
    memset(row->key, 'p', row->key_size);
    kl_rng_fill(rng, row->key + family->prefix, row->key_size - family->prefix);
    kl_rng_fill(rng, row->value, row->value_size);
  }
  tree_run_sort(&run);
  kl_tree_merge_options options = {
      .allocator = kl_allocator_libc(), .page_size = page_size, .sink = &test->pages.sink, .freed = &test->pages.freed};
  assert_int_equal(kl_tree_build(&options, &changes, &test->root, NULL, NULL), KL_OK);
  test->model = (tree_model){run.row, run.count};
  digest_place(test);
}

static void digest_free(digest_test *test) {
  tree_pages_destroy(&test->pages);
  tree_pool_free(&test->pool);
  free(test->model.row);
  free(test->frames);
  free(test->digests);
}

static void digest_check(digest_test *test, kl_slice key, const kl_tree_value *value, kl_status status) {
  size_t at = tree_model_seek(&test->model, key);
  bool there = at < test->model.count && kl_slice_equal(tree_model_key(&test->model.row[at]), key);
  assert_int_equal(status, there ? KL_OK : KL_E_NOT_FOUND);
  if (there) tree_check_value(&test->pages, test->page_size, &test->model.row[at], value);
}

/* The key of a row, or one that is near. */
static kl_slice digest_key(const tree_model_row *row, kl_rng *rng, uint8_t *out) {
  size_t size = row->key_size;
  memcpy(out, row->key, size);
  switch (kl_rng_below(rng, 6)) {
    case 0:
      return kl_slice_make(out, size - 1);
    case 1:
      out[size] = 0;
      return kl_slice_make(out, size + 1);
    case 2:
      out[kl_rng_below(rng, size)] ^= (uint8_t)(1 << kl_rng_below(rng, 8));
      return kl_slice_make(out, size);
    default:
      return kl_slice_make(out, size);
  }
}

static void digest_check_reads(digest_test *test, kl_rng *rng) {
  uint8_t bytes[DIGEST_MANY][128];
  kl_slice keys[DIGEST_MANY];
  kl_tree_value value, values[DIGEST_MANY];
  for (size_t i = 0; i < test->model.count; i++) { /* each row */
    kl_slice key = tree_model_key(&test->model.row[i]);
    digest_check(test, key, &value, kl_tree_get(&test->source, &test->root, key, &value, NULL));
  }
  for (int round = 0; round < 100; round++) {
    for (size_t i = 0; i < DIGEST_MANY; i++) {
      keys[i] = digest_key(&test->model.row[kl_rng_below(rng, test->model.count)], rng, bytes[i]);
      digest_check(test, keys[i], &value, kl_tree_get(&test->source, &test->root, keys[i], &value, NULL));
    }
    assert_int_equal(kl_tree_get_many(&test->source, &test->root, keys, DIGEST_MANY, values, NULL), KL_OK);
    for (size_t i = 0; i < DIGEST_MANY; i++) {
      digest_check(test, keys[i], &values[i], values[i].found ? KL_OK : KL_E_NOT_FOUND);
    }
  }
}

static void test_digests_find_what_is_there(void **state) {
  (void)state;
  uint64_t seed = test_seed(4711);
  for (size_t f = 0; f < sizeof digest_families / sizeof *digest_families; f++) {
    const digest_family *family = &digest_families[f];
    for (uint32_t page_size = KL_TREE_PAGE_MIN; page_size <= KL_TREE_PAGE_MAX; page_size *= 4) {
      kl_rng rng;
      digest_test test;
      kl_rng_init(&rng, seed + f);
      digest_make(&test, family, page_size, &rng);
      digest_check_reads(&test, &rng);
      if (page_size == KL_TREE_PAGE_MIN && (test.with > test.pages.count / 2) != family->digested) {
        fail_msg("seed %llu, %s: %zu of %zu pages have a digest", (unsigned long long)seed, family->name, test.with,
                 test.pages.count);
      }
      if (test.with != 0 && (test.even > test.with / 2) != family->even) {
        fail_msg("seed %llu, %s: %zu of %zu digests are even", (unsigned long long)seed, family->name, test.even,
                 test.with);
      }
      digest_free(&test);
    }
  }
}

/* TREE-3: a page of another level where a leaf is promised. */
static void test_a_digest_does_not_hide_a_wrong_level(void **state) {
  (void)state;
  kl_rng rng;
  kl_error err = {0};
  kl_tree_value value;
  digest_test test;
  kl_rng_init(&rng, 5);
  digest_make(&test, &digest_families[0], KL_TREE_PAGE_MIN, &rng);
  kl_slice key = tree_model_key(&test.model.row[0]);
  test.swapped = 1; /* the first page that was written is the first leaf */
  assert_int_equal(kl_tree_get(&test.source, &test.root, key, &value, &err), KL_E_CORRUPT);
  assert_non_null(strstr(err.message, "promises level 0"));
  assert_int_equal(kl_tree_get_many(&test.source, &test.root, &key, 1, &value, &err), KL_E_CORRUPT);
  assert_non_null(strstr(err.message, "promises level 0"));
  digest_free(&test);
}

static void test_counting_heads_is_searching_them(void **state) {
  (void)state;
  static const uint32_t edges[] = {0, 1, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff};
  uint8_t heads[4 * 60];
  for (uint32_t count = 0; count <= 60; count++) {
    uint8_t *exact = malloc(count != 0 ? 4 * (size_t)count : 1); /* so that the sanitizers see a read behind it */
    assert_non_null(exact);
    for (uint32_t i = 0; i < count; i++) kl_store_u32_le(heads + 4 * (size_t)i, edges[i * 7 / count]);
    memcpy(exact, heads, 4 * (size_t)count);
    for (size_t e = 0; e < sizeof edges / sizeof *edges; e++) {
      assert_int_equal(tree_heads_below(exact, count, edges[e]), tree_heads_below_portable(heads, count, edges[e]));
    }
    free(exact);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_digests_find_what_is_there),
      cmocka_unit_test(test_a_digest_does_not_hide_a_wrong_level),
      cmocka_unit_test(test_counting_heads_is_searching_them),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
