/* tests/unit/drain/test_drain_faults.c: each allocation, each operation on the file and each place to call a drain off
 * fails in turn. The base stays readable, and the next drain brings everything. */
#include "drain_testing.h"

enum { FAULT_KEYS = 500 };

static kl_slice fault_key(uint64_t i, char out[32]) {
  return kl_slice_make(out, (size_t)snprintf(out, 32, "key-%05u", (unsigned)(i % FAULT_KEYS)));
}

/* A database of two checkpoints, and a delta with all that a drain can meet. */
static void fault_prepare(drain_db *db, bool memory) {
  char bytes[32];
  kl_drain_stats stats;
  drain_db_open(db, 77, 4096, memory, KL_CACHE_LIMIT_MIN);
  for (uint64_t i = 0; i < FAULT_KEYS; i++) {
    drain_db_write(db, 1, fault_key(i, bytes), true, i, 100);
    if (i % 3 == 0) drain_db_write(db, 2, fault_key(i, bytes), true, i + 1000, i % 30 == 0 ? 5000 : 50);
  }
  drain_db_drain(db, &stats);
  drain_db_keep(db);
  for (uint64_t i = 0; i < FAULT_KEYS; i += 7) drain_db_write(db, 1, fault_key(i, bytes), i % 2 == 0, i + 2000, 120);
  drain_db_drain(db, &stats);
  for (uint64_t i = 0; i < FAULT_KEYS; i += 5) drain_db_write(db, 1, fault_key(i, bytes), i % 3 != 0, i + 3000, 90);
  for (uint64_t i = 0; i < 20; i++) drain_db_write(db, 3, fault_key(i, bytes), true, i, i == 7 ? 700000 : 2000);
  drain_db_drop(db, 2);
  if (DRAIN_LANES > 1) assert_true(db->parts > 20);
}

/* After a failed drain: what was is there, and the same delta can be drained. */
static void fault_recover(drain_db *db) {
  kl_drain_stats stats;
  check_all(db->roots, &db->drained);
  check_all(db->kept[0].roots, &db->kept[0].model);
  drain_db_drain(db, &stats);
  assert_int_equal(stats.leaked_trees, 0);
  assert_int_equal(stats.trees_dropped, 1);
  check_all(db->roots, &db->drained);
  check_all(db->kept[0].roots, &db->kept[0].model);
}

static void run_allocations(bool memory) {
  uint64_t failures = 0;
  for (uint64_t n = 1;; n++) {
    drain_db db;
    kl_roots *roots = NULL;
    kl_error err = {0};
    fault_prepare(&db, memory);
    uint64_t before = kl_sim_allocations(db.sim);
    kl_sim_fail_allocation(db.sim, n);
    kl_status status = drain_db_try(&db, &roots, NULL, &err);
    kl_sim_fail_allocation(db.sim, 0);
    bool unused = kl_sim_allocations(db.sim) - before < n; /* there are not so many */
    if (status == KL_OK) {
      drain_db_adopt(&db, roots); /* it could do without: a page that the cache did not take, a root not remembered */
      check_all(db.roots, &db.drained);
    } else {
      failures++;
      assert_int_equal(status, KL_E_NO_MEMORY);
      assert_true(err.message[0] != '\0');
      fault_recover(&db);
    }
    drain_db_close(&db);
    if (unused) break;
  }
  assert_true(failures > 20);
}

static void test_each_allocation_fails(void **state) {
  (void)state;
  run_allocations(false);
}

static void test_each_allocation_fails_in_memory(void **state) {
  (void)state;
  run_allocations(true);
}

/* A failed write of pages leaves the store usable; a failed sync poisons it, and what is durable is found by opening
 * it again. */
static void run_operations(kl_sim_fault fault, uint64_t least) {
  uint64_t struck = 0;
  for (uint64_t n = 1;; n++) {
    drain_db db;
    kl_roots *roots = NULL;
    kl_error err = {0};
    fault_prepare(&db, false);
    kl_sim_inject(db.sim, fault, kl_sim_operations(db.sim) + n);
    kl_status status = drain_db_try(&db, &roots, NULL, &err);
    bool waits = kl_sim_fault_waits(db.sim);
    kl_sim_inject(db.sim, KL_SIM_FAULT_NONE, 0);
    if (fault == KL_SIM_FAULT_DISK_FULL) kl_sim_give_space(db.sim);
    if (status == KL_OK) {
      drain_db_adopt(&db, roots);
      check_all(db.roots, &db.drained);
    } else {
      kl_checkpoint checkpoint;
      assert_false(waits);
      struck++;
      check_all(db.roots, &db.drained); /* reads go on, poisoned or not */
      kl_store_checkpoint(db.store, &checkpoint);
      kl_status again = drain_db_try(&db, &roots, NULL, &err);
      if (again == KL_OK) drain_db_adopt(&db, roots);
      if (again != KL_OK) assert_int_equal(again, KL_E_POISONED);
      drain_db_reopen(&db);
      /* Which of the two is durable is not known after a failed publication; each is whole. */
      check_all(db.roots, kl_roots_ts(db.roots) == db.ts ? &db.now : &db.drained);
    }
    drain_db_close(&db);
    if (waits) break;
  }
  assert_true(struck >= least);
}

static void test_each_operation_fails(void **state) {
  (void)state;
  run_operations(KL_SIM_FAULT_IO_ERROR, 4);
}

static void test_the_disk_is_full(void **state) {
  (void)state;
  run_operations(KL_SIM_FAULT_DISK_FULL, 1); /* when the file grows */
}

/* The power goes at each operation; what is found afterwards is one of the two checkpoints, whole. */
static void test_crash_at_each_operation(void **state) {
  (void)state;
  uint64_t old = 0, new = 0;
  for (uint64_t n = 1;; n++) {
    drain_db db;
    kl_roots *roots = NULL;
    fault_prepare(&db, false);
    kl_sim_inject(db.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(db.sim) + n);
    kl_status status = drain_db_try(&db, &roots, NULL, NULL);
    bool waits = kl_sim_fault_waits(db.sim);
    if (status == KL_OK) drain_db_adopt(&db, roots);
    uint64_t drained_ts = kl_roots_ts(db.roots);
    drain_db_detach(&db);
    kl_sim_restart(db.sim, n);
    kl_store_options options = {0};
    DRAIN_MUST(kl_store_open(db.os, DRAIN_PATH, &options, &db.store, &must));
    drain_db_attach(&db);
    bool is_new = kl_roots_ts(db.roots) == db.ts;
    if (!is_new) assert_int_equal(kl_roots_ts(db.roots), drained_ts);
    check_all(db.roots, is_new ? &db.now : &db.drained);
    new += is_new;
    old += !is_new;
    drain_db_close(&db);
    if (waits) break;
  }
  assert_true(old > 3 && new > 0);
}

static void test_called_off(void **state) {
  (void)state;
  uint64_t stopped = 0;
  for (uint64_t n = 0; n < 40; n++) {
    drain_db db;
    fault_prepare(&db, false);
    cancelling c = {{cancelling_alloc, cancelling_free, NULL}, db.allocator, n, false};
    uint64_t live[2] = {kl_roots_sequence(db.roots), kl_roots_sequence(db.kept[0].roots)};
    kl_drain_input input = {.pages = db.pages,
                            .store = db.store,
                            .allocator = &c.base,
                            .delta = db.delta,
                            .ts = db.ts,
                            .base = db.roots,
                            .live = live,
                            .live_count = 2,
                            .cancel = &c.cancel};
    kl_roots *roots = NULL;
    kl_error err = {0};
    kl_status status = kl_drain_run(&input, &roots, NULL, &err);
    if (status == KL_OK) {
      drain_db_adopt(&db, roots);
      check_all(db.roots, &db.drained);
    } else {
      assert_int_equal(status, KL_E_CLOSED);
      stopped++;
      fault_recover(&db);
    }
    drain_db_close(&db);
  }
  assert_true(stopped > 10);
}

/* Reads without memory: KL_E_NO_MEMORY or the right answer, and right again afterwards. */
static void test_reads_without_memory(void **state) {
  (void)state;
  drain_db db;
  fault_prepare(&db, false);
  for (uint64_t n = 1; n < 40; n++) {
    kl_tree_pointer root;
    kl_held held = {0};
    drain_db_reopen(&db); /* nothing is in the cache */
    kl_sim_fail_allocation(db.sim, n);
    kl_status status = kl_roots_find(db.roots, 2, &root, NULL);
    const model_row *row = &db.drained.space[2].rows[0]; /* in an extent */
    if (status == KL_OK) status = kl_pages_get(db.pages, &root, model_key(row), &held, NULL);
    if (status == KL_OK) check_value(row, held.value);
    if (status != KL_OK) assert_int_equal(status, KL_E_NO_MEMORY);
    kl_pages_cursor *cursor = NULL;
    if (status == KL_OK) status = kl_pages_cursor_new(db.pages, &root, &cursor, NULL);
    if (status == KL_OK) status = kl_pages_cursor_first(cursor, NULL);
    if (status == KL_OK) check_cursor(cursor, row);
    kl_sim_fail_allocation(db.sim, 0);
    kl_pages_cursor_free(cursor);
    kl_held_destroy(&held);
    DRAIN_MUST(kl_roots_find(db.roots, 2, &root, &must));
    DRAIN_MUST(kl_pages_get(db.pages, &root, model_key(row), &held, &must));
    check_value(row, held.value);
    kl_held_destroy(&held);
  }
  drain_db_close(&db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_allocation_fails),   cmocka_unit_test(test_each_allocation_fails_in_memory),
      cmocka_unit_test(test_each_operation_fails),    cmocka_unit_test(test_the_disk_is_full),
      cmocka_unit_test(test_crash_at_each_operation), cmocka_unit_test(test_called_off),
      cmocka_unit_test(test_reads_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
