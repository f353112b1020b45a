/* tests/unit/drain/test_drain_compact.c: rounds of compaction make a file with holes short, whatever
 * fails meanwhile. */
#include "drain_testing.h"

enum { COMPACT_ROWS = 6000 };

static kl_slice compact_key(uint64_t i, char out[32]) {
  return kl_slice_make(out, (size_t)snprintf(out, 32, "key-%06u", (unsigned)i));
}

/* Rows in two keyspaces, some with values of their own blocks; then all but one of `share` are deleted. With `keep`,
 * what was before is held meanwhile. */
static void compact_prepare(drain_db *db, uint32_t page_size, bool memory, uint64_t rows, uint64_t share, bool keep) {
  char bytes[32];
  kl_drain_stats stats;
  drain_db_open(db, 91, page_size, memory, KL_CACHE_LIMIT_MIN);
  for (uint64_t i = 0; i < rows; i++) {
    drain_db_write(db, 1, compact_key(i, bytes), true, i, 150);
    if (i % 50 == 0) drain_db_write(db, 2, compact_key(i, bytes), true, i, i % 300 == 0 ? 90000 : 9000);
  }
  drain_db_drain(db, &stats);
  if (keep) drain_db_keep(db);
  /* The last rows lie at the end of the file: they stay. */
  for (uint64_t i = 0; i < rows - rows / share; i++) {
    drain_db_write(db, 1, compact_key(i, bytes), false, 0, 0);
    if (i % 50 == 0) drain_db_write(db, 2, compact_key(i, bytes), false, 0, 0);
  }
  drain_db_drain(db, &stats);
}

/* What a recovery could fall back to needs nothing of before any more. */
static void compact_settle(drain_db *db) {
  char bytes[32];
  kl_drain_stats stats;
  for (uint64_t i = 0; i < 2; i++) {
    drain_db_write(db, 3, compact_key(1, bytes), true, i, 10);
    drain_db_drain(db, &stats);
  }
}

/* Rounds until three have moved nothing. */
static void compact_all(drain_db *db, const kl_compact_limits *limits, kl_store_space *out) {
  kl_compact_stats stats = {0};
  int rounds = 0;
  for (int still = 0; still < 3; rounds++) {
    drain_db_compact(db, limits, &stats);
    still = stats.pages == 0 && stats.extents == 0 ? still + 1 : 0;
    assert_true(rounds < 300);
  }
  kl_store_get_space(db->store, out);
}

static void run_shrinks(uint32_t page_size, bool memory, uint64_t max_bytes) {
  drain_db db;
  kl_store_space before, after;
  kl_compact_limits limits = {.max_bytes = max_bytes, .extents = true};
  compact_prepare(&db, page_size, memory, COMPACT_ROWS, 5, false);
  kl_store_get_space(db.store, &before);
  assert_true(before.blocks_end > 3 * before.used_bytes);
  compact_all(&db, &limits, &after);
  check_all(db.roots, &db.drained);
  /* A thirty-second and sixteen blocks to spare, and paths that were written on the way. */
  uint64_t goal = after.used_bytes + after.used_bytes / 8 + 40 * (uint64_t)KL_BLOCK_SIZE;
  if (after.blocks_end > goal) {
    fail_msg("pages of %u: blocks end at %llu, %llu are used", (unsigned)page_size,
             (unsigned long long)after.blocks_end, (unsigned long long)after.used_bytes);
  }
  if (!memory) assert_int_equal(after.file_bytes, after.blocks_end);
  if (!memory) {
    drain_db_reopen(&db);
    check_all(db.roots, &db.drained);
  }
  drain_db_close(&db);
}

static void test_shrinks(void **state) {
  (void)state;
  run_shrinks(4096, false, 0);
  run_shrinks(4096, false, 50000);
  run_shrinks(16384, false, 0);
  run_shrinks(4096, true, 0);
}

/* Without large values nothing is read of the leaves that stay, and those values stay where they are. */
static void test_only_pages(void **state) {
  (void)state;
  drain_db db;
  kl_compact_stats stats;
  kl_compact_limits limits = {.max_bytes = 0};
  compact_prepare(&db, 4096, false, COMPACT_ROWS, 5, false);
  compact_settle(&db);
  drain_db_compact(&db, &limits, &stats);
  assert_int_equal(stats.extents, 0);
  assert_true(stats.pages > 10);
  limits.extents = true;
  drain_db_compact(&db, &limits, &stats);
  assert_true(stats.extents > 5);
  check_all(db.roots, &db.drained);
  drain_db_close(&db);
}

/* What an old checkpoint holds stays readable, is not waited for, and is given back when it is let go. */
static void test_beside_snapshots(void **state) {
  (void)state;
  drain_db db;
  kl_store_space held, after;
  kl_compact_limits limits = {.extents = true};
  compact_prepare(&db, 4096, false, COMPACT_ROWS, 5, true);
  compact_all(&db, &limits, &held);
  check_all(db.roots, &db.drained);
  check_all(db.kept[0].roots, &db.kept[0].model);
  assert_true(held.limbo_bytes > held.used_bytes); /* which no round could move */
  drain_db_let_go(&db, 0);
  compact_all(&db, &limits, &after);
  check_all(db.roots, &db.drained);
  assert_true(after.file_bytes < held.file_bytes / 2);
  assert_true(after.file_bytes < after.used_bytes + after.used_bytes / 4);
  drain_db_close(&db);
}

/* With a bound each round moves so much, one value more, a page for each level of the trees in hand and the catalogue,
 * and nothing else. */
static void test_bounded(void **state) {
  (void)state;
  drain_db db;
  kl_compact_stats stats = {0};
  kl_compact_limits limits = {.max_bytes = 10 * 4096, .extents = true};
  compact_prepare(&db, 4096, false, COMPACT_ROWS, 3, false);
  compact_settle(&db);
  uint32_t stopped = 0;
  do {
    drain_db_compact(&db, &limits, &stats);
    stopped += !stats.complete;
    assert_true(stats.bytes <= limits.max_bytes + 92000 + 16 * (uint64_t)4096);
    check_all(db.roots, &db.drained);
  } while (stats.pages != 0 || stats.extents != 0);
  assert_true(stopped > 5);
  drain_db_close(&db);
}

/* Who asks it to make way gets it after the least amount; what has moved is published. */
static void test_makes_way(void **state) {
  (void)state;
  drain_db db;
  kl_compact_stats stats;
  _Atomic bool yield = true;
  kl_compact_limits limits = {.extents = true, .yield = &yield};
  char bytes[32];
  kl_drain_stats drained;
  drain_db_open(&db, 92, 4096, false, KL_CACHE_LIMIT_MIN);
  for (uint64_t i = 0; i < 60; i++) drain_db_write(&db, 1, compact_key(i, bytes), true, i, 1 << 20);
  drain_db_drain(&db, &drained);
  for (uint64_t i = 0; i < 35; i++) drain_db_write(&db, 1, compact_key(i, bytes), false, 0, 0);
  drain_db_drain(&db, &drained);
  compact_settle(&db);
  drain_db_compact(&db, &limits, &stats);
  assert_false(stats.complete);
  assert_in_range(stats.bytes, KL_COMPACT_YIELD, KL_COMPACT_YIELD + (2 << 20));
  check_all(db.roots, &db.drained);
  drain_db_close(&db);
}

/* -------- faults -------- */

static void fault_prepare(drain_db *db, bool memory) {
  compact_prepare(db, 4096, memory, 1500, 5, true);
  drain_db_let_go(db, 0);
  compact_settle(db);
  drain_db_keep(db);
}

static void fault_check(drain_db *db) {
  check_all(db->roots, &db->drained);
  for (size_t i = 0; i < db->kept_count; i++) check_all(db->kept[i].roots, &db->kept[i].model);
}

static void run_allocations(bool memory) {
  kl_compact_limits limits = {.extents = true};
  uint64_t failures = 0;
  for (uint64_t n = 1;; n++) {
    drain_db db;
    kl_roots *roots = NULL;
    kl_error err = {0};
    kl_compact_stats stats;
    fault_prepare(&db, memory);
    uint64_t before = kl_sim_allocations(db.sim);
    kl_sim_fail_allocation(db.sim, n);
    kl_status status = drain_db_try_compact(&db, &limits, &roots, &stats, &err);
    kl_sim_fail_allocation(db.sim, 0);
    bool unused = kl_sim_allocations(db.sim) - before < n;
    if (status == KL_OK) {
      kl_roots_unref(db.roots);
      db.roots = roots;
      assert_true(stats.pages > 0 && stats.extents > 0);
    } else {
      failures++;
      assert_int_equal(status, KL_E_NO_MEMORY);
      assert_true(err.message[0] != '\0');
      fault_check(&db);
      drain_db_compact(&db, &limits, &stats);
    }
    fault_check(&db);
    drain_db_close(&db);
    if (unused) break;
  }
  assert_true(failures > 15);
}

static void test_each_allocation_fails(void **state) {
  (void)state;
  run_allocations(false);
  run_allocations(true);
}

static void run_operations(kl_sim_fault fault, uint64_t least) {
  kl_compact_limits limits = {.extents = true};
  uint64_t struck = 0;
  for (uint64_t n = 1;; n++) {
    drain_db db;
    kl_roots *roots = NULL;
    kl_error err = {0};
    fault_prepare(&db, false);
    kl_sim_inject(db.sim, fault, kl_sim_operations(db.sim) + n);
    kl_status status = drain_db_try_compact(&db, &limits, &roots, NULL, &err);
    bool waits = kl_sim_fault_waits(db.sim);
    kl_sim_inject(db.sim, KL_SIM_FAULT_NONE, 0);
    if (fault == KL_SIM_FAULT_DISK_FULL) kl_sim_give_space(db.sim);
    if (status == KL_OK) {
      kl_roots_unref(db.roots);
      db.roots = roots;
    } else {
      struck++;
      assert_true(err.message[0] != '\0');
    }
    fault_check(&db); /* reads go on, poisoned or not */
    kl_status again = drain_db_try_compact(&db, &limits, &roots, NULL, &err);
    if (again == KL_OK) kl_roots_unref(roots);
    if (again != KL_OK) assert_int_equal(again, KL_E_POISONED);
    drain_db_reopen(&db);
    check_all(db.roots, &db.drained);
    drain_db_close(&db);
    if (waits) break;
  }
  assert_true(struck >= least);
}

static void test_each_operation_fails(void **state) {
  (void)state;
  run_operations(KL_SIM_FAULT_IO_ERROR, 5);
}

/* The power goes at each operation of the first rounds: the rows are there, and rounds go on. */
static void test_crash_at_each_operation(void **state) {
  (void)state;
  kl_compact_limits limits = {.max_bytes = 60000, .extents = true};
  uint64_t crashes = 0;
  for (uint64_t n = 1;; n++) {
    drain_db db;
    kl_roots *roots = NULL;
    kl_store_space after;
    fault_prepare(&db, false);
    drain_db_let_go(&db, 0);
    kl_sim_inject(db.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(db.sim) + n);
    for (int i = 0; i < 4 && drain_db_try_compact(&db, &limits, &roots, NULL, NULL) == KL_OK; i++) {
      kl_roots_unref(db.roots);
      db.roots = roots;
    }
    bool waits = kl_sim_fault_waits(db.sim);
    crashes += !waits;
    drain_db_detach(&db);
    kl_sim_restart(db.sim, n);
    kl_store_options options = {0};
    DRAIN_MUST(kl_store_open(db.os, DRAIN_PATH, &options, &db.store, &must));
    drain_db_attach(&db);
    check_all(db.roots, &db.drained);
    compact_all(&db, &limits, &after);
    check_all(db.roots, &db.drained);
    assert_true(after.file_bytes < after.used_bytes + after.used_bytes / 4 + 40 * (uint64_t)KL_BLOCK_SIZE);
    drain_db_close(&db);
    if (waits) break;
  }
  assert_true(crashes > 20);
}

/* Finds the extent that lies last in the file. */
typedef struct compact_find {
  kl_store *store;
  _Alignas(64) uint8_t page[KL_TREE_PAGE_MAX];
  kl_tree_extent last;
} compact_find;

static kl_status find_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page, kl_error *err) {
  compact_find *find = context;
  *out_page = find->page;
  return kl_store_read(find->store, pointer->address, find->page, pointer->length, err);
}

static kl_status find_extent(void *context, kl_slice key, const kl_tree_extent *extent, kl_error *err) {
  compact_find *find = context;
  (void)key;
  (void)err;
  if (extent->address > find->last.address) find->last = *extent;
  return KL_OK;
}

/* A value that is damaged is not given a new checksum: the round fails and says where it is, and changes nothing. */
static void test_damaged_value(void **state) {
  (void)state;
  static compact_find find;
  drain_db db;
  kl_roots *roots = NULL;
  kl_tree_pointer root;
  kl_error err = {0};
  char where[32];
  uint8_t byte = 0;
  size_t got = 0;
  kl_compact_limits limits = {.extents = true};
  kl_tree_source source = {.load = find_load, .context = &find};
  kl_tree_visitor visitor = {.extent = find_extent, .context = &find};
  fault_prepare(&db, false);
  find.store = db.store;
  DRAIN_MUST(kl_roots_find(db.roots, 2, &root, &must));
  DRAIN_MUST(kl_tree_walk(db.allocator, &source, 4096, &root, &visitor, &must));
  assert_int_equal(kl_sim_peek(db.sim, DRAIN_PATH, find.last.address + 100, &byte, 1, &got), KL_OK);
  byte ^= 4;
  assert_int_equal(kl_sim_poke(db.sim, DRAIN_PATH, find.last.address + 100, &byte, 1), KL_OK);
  assert_int_equal(drain_db_try_compact(&db, &limits, &roots, NULL, &err), KL_E_CORRUPT);
  (void)snprintf(where, sizeof where, "at block %llu", (unsigned long long)find.last.address / KL_BLOCK_SIZE);
  assert_non_null(strstr(err.message, where));
  byte ^= 4;
  assert_int_equal(kl_sim_poke(db.sim, DRAIN_PATH, find.last.address + 100, &byte, 1), KL_OK);
  fault_check(&db);
  drain_db_close(&db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shrinks),
      cmocka_unit_test(test_only_pages),
      cmocka_unit_test(test_beside_snapshots),
      cmocka_unit_test(test_bounded),
      cmocka_unit_test(test_makes_way),
      cmocka_unit_test(test_each_allocation_fails),
      cmocka_unit_test(test_each_operation_fails),
      cmocka_unit_test(test_crash_at_each_operation),
      cmocka_unit_test(test_damaged_value),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
