/* tests/unit/drain/test_drain_slices.c: drains in slices (DRAIN-13): what partial checkpoints hold, what they say of the log, what
 * they cost, and what becomes of one that is begun anew. */
#include "drain_testing.h"

enum { ROWS = 3000, SLICES_MAX = 2000 };

static void write_row(drain_db *db, kl_rng *rng, uint32_t row) {
  char key[32];
  size_t size = kl_rng_below(rng, 100) == 0 ? 20000 : kl_rng_below(rng, 150);
  int length = snprintf(key, sizeof key, "row-%06u", row);
  bool put = kl_rng_below(rng, 8) != 0;
  drain_db_write(db, 1 + row % 3, kl_slice_make(key, (size_t)length), put, kl_rng_next(rng), size);
}

/* Rows in keyspaces 1 to 4, drained whole; then changes of most rows of 1 to 3, and 4 is dropped. */
static void slices_begin(drain_db *db, kl_rng *rng, bool memory) {
  uint64_t seed = test_seed(0x51);
  drain_db_open(db, seed, 4096, memory, KL_CACHE_LIMIT_MIN);
  kl_rng_init(rng, seed);
  for (uint32_t row = 0; row < ROWS; row++) write_row(db, rng, row);
  for (unsigned i = 0; i < 26; i++)
    drain_db_write(db, 4, kl_slice_make(&"abcdefghijklmnopqrstuvwxyz"[i], 1), true, i, 500);
  drain_db_drain(db, NULL);
  drain_db_keep(db);
  for (uint32_t i = 0; i < ROWS; i++) write_row(db, rng, (uint32_t)kl_rng_below(rng, ROWS + ROWS / 4));
  drain_db_drop(db, 4);
}

/* Whether the slices that ended at `place` have merged the key. */
static bool is_merged(const kl_drain_place *place, uint32_t space, kl_slice key) {
  if (place->complete || space != place->keyspace) return place->complete || space < place->keyspace;
  return kl_slice_compare(key, kl_slice_make(place->key, place->key_size)) < 0;
}

/* The tree of `space` has, key for key, the rows of `now` before the place and those of `drained` from there on. */
static void check_space(drain_db *db, kl_roots *roots, uint32_t space, const kl_drain_place *place) {
  const model_space *old = &db->drained.space[space], *new = &db->now.space[space];
  kl_tree_pointer root;
  kl_pages_cursor *cursor = NULL;
  DRAIN_MUST(kl_roots_find(roots, space, &root, &must));
  DRAIN_MUST(kl_pages_cursor_new(db->pages, &root, &cursor, &must));
  kl_status status = kl_pages_cursor_first(cursor, NULL);
  for (size_t at = 0; at < new->count &&is_merged(place, space, model_key(&new->rows[at])); at++) {
    assert_int_equal(status, KL_OK);
    check_cursor(cursor, &new->rows[at]);
    status = kl_pages_cursor_next(cursor, NULL);
  }
  for (size_t at = 0; at < old->count; at++) {
    if (is_merged(place, space, model_key(&old->rows[at]))) continue;
    assert_int_equal(status, KL_OK);
    check_cursor(cursor, &old->rows[at]);
    status = kl_pages_cursor_next(cursor, NULL);
  }
  assert_int_equal(status, KL_E_NOT_FOUND);
  kl_pages_cursor_free(cursor);
}

/* One slice; its roots become the base of the next. Returns whether it was the last. */
static bool run_slice(drain_db *db, kl_drain_stats *total) {
  kl_roots *roots = NULL;
  kl_drain_stats stats;
  kl_checkpoint before, after;
  uint64_t ts = kl_roots_ts(db->roots);
  kl_store_checkpoint(db->store, &before);
  DRAIN_MUST(drain_db_try(db, &roots, &stats, &must));
  kl_store_checkpoint(db->store, &after);
  for (uint32_t space = 1; space < DRAIN_SPACES; space++) check_space(db, roots, space, db->place);
  kl_tree_pointer dropped;
  DRAIN_MUST(kl_roots_find(roots, 4, &dropped, &must));
  assert_true(kl_tree_pointer_is_null(&dropped)); /* with the first slice */
  assert_int_equal(after.ts, db->place->complete ? db->ts : ts);
  assert_int_equal(kl_roots_ts(roots), after.ts);
  if (!db->place->complete) assert_int_equal(after.log_lsn, before.log_lsn);
  total->bytes_written += stats.bytes_written;
  if (db->place->complete) {
    drain_db_adopt(db, roots);
    return true;
  }
  kl_roots_unref(db->roots);
  db->roots = roots;
  return false;
}

static void run_slices(bool memory) {
  drain_db db;
  kl_rng rng;
  kl_drain_place place = {0};
  kl_drain_stats total = {0};
  int slices = 1;
  slices_begin(&db, &rng, memory);
  db.place = &place;
  db.slice_bytes = 32 << 10;
  while (!run_slice(&db, &total)) assert_true(slices++ < SLICES_MAX);
  print_message("%d slices of 32 KiB, %llu KiB written\n", slices, (unsigned long long)(total.bytes_written >> 10));
  assert_in_range(slices, 10, 200);
  if (DRAIN_LANES > 1) assert_true(db.parts > 2 * (uint64_t)slices);
  check_all(db.roots, &db.drained);
  check_all(db.kept[0].roots, &db.kept[0].model); /* what the first checkpoint showed is there yet */
  if (!memory) {
    drain_db_reopen(&db);
    check_all(db.roots, &db.drained);
  }
  db.place = NULL;
  drain_db_close(&db);
}

static void test_slices_in_memory(void **state) {
  (void)state;
  run_slices(true);
}

static void test_slices_in_a_file(void **state) {
  (void)state;
  run_slices(false);
}

/* Half merged, then all of it from the beginning, whole: rows that are there already are put once more. */
static void test_begun_anew(void **state) {
  (void)state;
  drain_db db;
  kl_rng rng;
  kl_drain_place place = {0};
  kl_drain_stats total = {0};
  slices_begin(&db, &rng, false);
  db.place = &place;
  db.slice_bytes = 64 << 10;
  for (int i = 0; i < 5; i++) assert_false(run_slice(&db, &total));
  db.place = NULL;
  drain_db_drain(&db, NULL);
  check_all(db.roots, &db.drained);
  for (uint32_t space = 1; space <= DRAIN_SPACES; space++) { /* counted once */
    kl_tree_pointer root;
    uint64_t rows = 0;
    DRAIN_MUST(kl_roots_find(db.roots, space, &root, &must));
    if (!kl_tree_pointer_is_null(&root)) DRAIN_MUST(kl_pages_rows(db.pages, &root, &rows, &must));
    assert_int_equal(rows, db.drained.space[space].count);
  }
  drain_db_close(&db);
}

/* A slice that fails leaves the place, the roots and the file as they were. */
static void test_a_slice_fails(void **state) {
  (void)state;
  drain_db db;
  kl_rng rng;
  kl_drain_place place = {0};
  kl_drain_stats total = {0};
  kl_roots *roots = NULL;
  kl_error err;
  slices_begin(&db, &rng, false);
  db.place = &place;
  db.slice_bytes = 64 << 10;
  assert_false(run_slice(&db, &total));
  kl_checkpoint before, after;
  kl_store_checkpoint(db.store, &before);
  int failures = 0;
  for (uint64_t n = 1; n < 40; n++) {
    kl_drain_place was = place;
    kl_sim_fail_allocation(db.sim, n);
    kl_status status = drain_db_try(&db, &roots, NULL, &err);
    kl_sim_fail_allocation(db.sim, 0);
    if (status == KL_OK) { /* there are not so many: it is a slice like others */
      kl_roots_unref(db.roots);
      db.roots = roots;
      break;
    }
    assert_int_equal(status, KL_E_NO_MEMORY);
    failures++;
    assert_memory_equal(&was, &place, sizeof place);
    kl_store_checkpoint(db.store, &after);
    assert_int_equal(after.sequence, before.sequence);
  }
  assert_true(failures >= 3);
  while (!run_slice(&db, &total)) continue;
  check_all(db.roots, &db.drained);
  db.place = NULL;
  drain_db_close(&db);
}

/* Everything changes, again and again: whole drains need room for three trees, slices for little more than one. */
static uint64_t churn(uint64_t slice_bytes) {
  drain_db db;
  kl_rng rng;
  kl_drain_place place = {0};
  kl_store_space space;
  drain_db_open(&db, test_seed(0x52), 4096, false, KL_CACHE_LIMIT_MIN);
  kl_rng_init(&rng, test_seed(0x52));
  for (int round = 0; round < 6; round++) {
    for (uint32_t row = 0; row < ROWS; row++) {
      char key[32];
      int length = snprintf(key, sizeof key, "row-%06u", row);
      drain_db_write(&db, 1, kl_slice_make(key, (size_t)length), true, kl_rng_next(&rng), 300);
    }
    kl_roots *roots = NULL;
    do {
      db.place = slice_bytes == 0 ? NULL : &place;
      db.slice_bytes = slice_bytes;
      DRAIN_MUST(drain_db_try(&db, &roots, NULL, &must));
      if (db.place == NULL || place.complete) break;
      kl_roots_unref(db.roots);
      db.roots = roots;
    } while (true);
    drain_db_adopt(&db, roots);
    memset(&place, 0, sizeof place);
  }
  kl_store_get_space(db.store, &space);
  uint64_t percent = space.blocks_end * 100 / space.used_bytes;
  check_all(db.roots, &db.drained);
  db.place = NULL;
  drain_db_close(&db);
  return percent;
}

static void test_the_file_stays_short(void **state) {
  (void)state;
  uint64_t whole = churn(0), sliced = churn(64 << 10);
  print_message("the file ends at %llu %% of what is used with whole drains, at %llu %% with slices\n",
                (unsigned long long)whole, (unsigned long long)sliced);
  assert_true(whole >= 250);
  assert_true(sliced <= (DRAIN_LANES > 1 ? 150 : 135)); /* each part has paths of its own, and these are small */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_slices_in_memory),     cmocka_unit_test(test_slices_in_a_file),
      cmocka_unit_test(test_begun_anew),           cmocka_unit_test(test_a_slice_fails),
      cmocka_unit_test(test_the_file_stays_short),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
