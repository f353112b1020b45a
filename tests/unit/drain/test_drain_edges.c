/* tests/unit/drain/test_drain_edges.c: values that outlive the store, the bytes of tree records, empty drains, limits. */
#include "core/drain/tree_record.h"
#include "drain_testing.h"

static void test_held_outlives_the_store(void **state) {
  (void)state;
  drain_db db;
  kl_held held[3], late = {0};
  static const size_t sizes[3] = {50, 9000, 2 << 20}; /* copied, pinned, in memory of its own */
  const model_row *rows;
  kl_tree_pointer root;
  memset(held, 0, sizeof held);
  drain_db_open(&db, 1, 4096, false, KL_CACHE_LIMIT_MIN);
  for (unsigned i = 0; i < 3; i++) drain_db_write(&db, 1, kl_slice_make(&"abc"[i], 1), true, i, sizes[i]);
  drain_db_write(&db, 1, kl_slice_make("d", 1), true, 9, 50);
  drain_db_drain(&db, NULL);
  rows = db.drained.space[1].rows;
  DRAIN_MUST(kl_roots_find(db.roots, 1, &root, &must));
  for (int i = 0; i < 3; i++) DRAIN_MUST(kl_pages_hold(db.pages, &root, model_key(&rows[i]), &held[i], &must));
  assert_null(held[0].pin);
  assert_non_null(held[1].pin);
  assert_null(held[2].pin);
  kl_cache_stats stats;
  kl_pages_cache_stats(db.pages, &stats);
  assert_true(stats.pinned >= 9000);
  kl_pages_detach(db.pages);
  assert_int_equal(kl_pages_get(db.pages, &root, kl_slice_make("d", 1), &late, NULL), KL_OK); /* it is in the cache */
  kl_held_destroy(&late);
  kl_roots_unref(db.roots);
  kl_store_close(db.store);
  kl_pages_unref(db.pages); /* the pinned one keeps it */
  for (int i = 0; i < 3; i++) check_value(&rows[i], held[i].value);
  for (int i = 0; i < 3; i++) kl_held_destroy(&held[i]);
  kl_delta_unref(db.delta);
  model_free(&db.now);
  model_free(&db.drained);
  kl_arena_destroy(&db.keys);
  assert_int_equal(kl_sim_live_bytes(db.sim), 0);
  kl_sim_free(db.sim);
}

static void test_detached_loads_nothing(void **state) {
  (void)state;
  drain_db db;
  kl_held held = {0};
  kl_tree_pointer root;
  kl_error err = {0};
  drain_db_open(&db, 1, 4096, false, KL_CACHE_LIMIT_MIN);
  drain_db_write(&db, 1, kl_slice_make("k", 1), true, 1, 50);
  drain_db_drain(&db, NULL);
  drain_db_reopen(&db);
  DRAIN_MUST(kl_roots_find(db.roots, 1, &root, &must)); /* loads the catalogue, not the keyspace */
  kl_pages_detach(db.pages);
  assert_int_equal(kl_pages_get(db.pages, &root, kl_slice_make("k", 1), &held, &err), KL_E_CLOSED);
  assert_int_equal(err.code, KL_E_CLOSED);
  kl_held_destroy(&held);
  drain_db_close(&db);
}

/* docs/format.md, "Tree record", byte by byte. */
static void test_tree_record(void **state) {
  (void)state;
  static const uint8_t expected[KL_TREE_RECORD_SIZE] = {
      1, 0, 0, 0, 0,    0,    0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0x50, 0, 0,
      0, 0, 0, 0, 0x34, 0x12, 0, 0, 0xef, 0xbe, 0xad, 0xde, 7,    0,    0,    0,    0, 0,    0, 0};
  kl_tree_record record = {{0x5000, 0x1234, 0xdeadbeef, 7}, UINT64_C(0x1122334455667788)}, back;
  uint8_t bytes[KL_TREE_RECORD_SIZE + 1] = {0}, key[KL_TREE_RECORD_KEY];
  kl_tree_record_key(0x01020304, key);
  assert_memory_equal(key, "r\x01\x02\x03\x04", 5);
  kl_tree_record_encode(&record, bytes);
  assert_memory_equal(bytes, expected, sizeof expected);
  DRAIN_MUST(kl_tree_record_decode(kl_slice_make(bytes, KL_TREE_RECORD_SIZE), 1, &back, &must));
  assert_int_equal(back.rows, record.rows);
  assert_memory_equal(&back.root, &record.root, sizeof back.root);
  for (size_t size = 0; size < KL_TREE_RECORD_SIZE; size++) {
    assert_int_equal(kl_tree_record_decode(kl_slice_make(bytes, size), 1, &back, NULL), KL_E_CORRUPT);
  }
  bytes[0] = 2; /* a newer version, flags, options, no version, no tree */
  assert_int_equal(kl_tree_record_decode(kl_slice_make(bytes, 40), 1, &back, NULL), KL_E_VERSION);
  bytes[0] = 1, bytes[2] = 1;
  assert_int_equal(kl_tree_record_decode(kl_slice_make(bytes, 40), 1, &back, NULL), KL_E_VERSION);
  bytes[2] = 0, bytes[4] = 1;
  assert_int_equal(kl_tree_record_decode(kl_slice_make(bytes, 41), 1, &back, NULL), KL_E_VERSION);
  assert_int_equal(kl_tree_record_decode(kl_slice_make(bytes, 40), 1, &back, NULL), KL_E_CORRUPT);
  bytes[4] = 0, bytes[0] = 0;
  assert_int_equal(kl_tree_record_decode(kl_slice_make(bytes, 40), 1, &back, NULL), KL_E_CORRUPT);
  bytes[0] = 1;
  memset(bytes + 16, 0, 24);
  assert_int_equal(kl_tree_record_decode(kl_slice_make(bytes, 40), 1, &back, NULL), KL_E_CORRUPT);
}

static void test_keyspaces_of_a_delta(void **state) {
  (void)state;
  kl_delta *delta = NULL;
  uint32_t found[300];
  kl_rng rng;
  DRAIN_MUST(kl_delta_new(kl_allocator_libc(), &delta, &must));
  assert_int_equal(kl_delta_keyspaces(delta, NULL, 0), 0);
  kl_rng_init(&rng, test_seed(53));
  for (int i = 0; i < 200; i++) {
    kl_version version = {.ts = 2, .kind = KL_VERSION_PUT, .value = kl_slice_make("v", 1)};
    uint32_t keyspace = i < 100 ? (uint32_t)i * 3 : (uint32_t)kl_rng_next(&rng) | 0x80000000u;
    DRAIN_MUST(kl_delta_insert(delta, keyspace, kl_slice_make("k", 1), &version, &must));
  }
  size_t count = kl_delta_keyspaces(delta, found, 300);
  assert_true(count > 190 && count <= 200);
  for (size_t i = 0; i < count; i++) {
    if (i < 100) assert_int_equal(found[i], i * 3);
    if (i > 0) assert_true(found[i] > found[i - 1]);
  }
  assert_int_equal(kl_delta_keyspaces(delta, found, 10), count);
  kl_delta_unref(delta);
}

/* A drain of nothing is a checkpoint all the same, with the same trees; deletes of what is absent write nothing. */
static void test_empty_drains(void **state) {
  (void)state;
  drain_db db;
  kl_drain_stats stats;
  kl_tree_pointer before, after;
  drain_db_open(&db, 1, 4096, false, KL_CACHE_LIMIT_MIN);
  drain_db_drain(&db, &stats);
  DRAIN_MUST(kl_roots_find(db.roots, 0, &after, &must));
  assert_true(kl_tree_pointer_is_null(&after));
  DRAIN_MUST(kl_roots_find(db.roots, 5, &after, &must));
  assert_true(kl_tree_pointer_is_null(&after));
  drain_db_write(&db, 1, kl_slice_make("k", 1), true, 1, 50);
  drain_db_drain(&db, &stats);
  DRAIN_MUST(kl_roots_find(db.roots, 1, &before, &must));
  drain_db_write(&db, 1, kl_slice_make("absent", 6), false, 1, 0);
  drain_db_drain(&db, &stats);
  DRAIN_MUST(kl_roots_find(db.roots, 1, &after, &must));
  assert_memory_equal(&before, &after, sizeof before);
  assert_int_equal(stats.pages_written, 0);
  drain_db_write(&db, 1, kl_slice_make("k", 1), false, 1, 0);
  drain_db_drain(&db, &stats); /* the last row: no tree, no record, no catalogue */
  DRAIN_MUST(kl_roots_find(db.roots, 0, &after, &must));
  assert_true(kl_tree_pointer_is_null(&after));
  drain_db_close(&db);
}

/* A cache of the least size reads a tree of several times that, with values all over, while all of its pins are used. */
static void test_small_cache_with_pins(void **state) {
  (void)state;
  enum { EDGE_ROWS = 2500, EDGE_HELD = 1000 };
  drain_db db;
  static kl_held held[EDGE_HELD];
  kl_tree_pointer root;
  char bytes[32];
  drain_db_open(&db, 1, 4096, false, KL_CACHE_LIMIT_MIN);
  for (unsigned i = 0; i < EDGE_ROWS; i++) {
    kl_slice key = kl_slice_make(bytes, (size_t)snprintf(bytes, sizeof bytes, "key-%05u", i));
    drain_db_write(&db, 1, key, true, i, i % 2 == 0 ? 12000 : 100);
  }
  drain_db_drain(&db, NULL);
  drain_db_reopen(&db);
  const model_space *space = &db.drained.space[1];
  DRAIN_MUST(kl_roots_find(db.roots, 1, &root, &must));
  for (int i = 0; i < EDGE_HELD; i++) {
    DRAIN_MUST(kl_pages_get(db.pages, &root, model_key(&space->rows[2 * i]), &held[i], &must));
  }
  kl_pages_cursor *cursor = NULL;
  DRAIN_MUST(kl_pages_cursor_new(db.pages, &root, &cursor, &must));
  kl_status status = kl_pages_cursor_first(cursor, NULL);
  for (size_t i = 0; i < space->count; i++, status = kl_pages_cursor_next(cursor, NULL)) {
    assert_int_equal(status, KL_OK);
    check_cursor(cursor, &space->rows[i]);
  }
  kl_pages_cursor_free(cursor);
  for (int i = 0; i < EDGE_HELD; i++) check_value(&space->rows[2 * i], held[i].value);
  for (int i = 0; i < EDGE_HELD; i++) kl_held_destroy(&held[i]);
  drain_db_close(&db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_held_outlives_the_store),
      cmocka_unit_test(test_detached_loads_nothing),
      cmocka_unit_test(test_tree_record),
      cmocka_unit_test(test_keyspaces_of_a_delta),
      cmocka_unit_test(test_empty_drains),
      cmocka_unit_test(test_small_cache_with_pins),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
