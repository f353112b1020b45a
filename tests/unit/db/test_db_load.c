/* tests/unit/db/test_db_load.c: bulk loads: what comes out of rows in and out of order, beside writers and compaction; what a load that
 * does not end leaves; crashes and failures at each step. */
#include "core/base/rng.h"
#include "db_check_testing.h"
#include "failing_allocator.h"
#include "seed.h"

enum { LOAD_KEYS = 4096, LOAD_VALUE = 200 };

/* The number of the row that wrote each key last; 0: none. */
static uint32_t expected[LOAD_KEYS];

static kl_slice load_test_key(uint32_t key, char out[24]) {
  return kl_slice_make(out, (size_t)snprintf(out, 24, "key-%05u", key));
}

static kl_slice load_test_value(uint32_t row, uint8_t *out) {
  size_t size = 8 + kl_mix64(row) % LOAD_VALUE;
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(row >> (i % 4 * 8));
  return kl_slice_make(out, size);
}

static kl_status put_one(kl_load *load, uint32_t key, uint32_t row, kl_error *err) {
  char bytes[24];
  uint8_t value[8 + LOAD_VALUE];
  return kl_load_put(load, load_test_key(key, bytes), load_test_value(row, value), err);
}

/* Row `row` for key `key`, in the load and in the model. */
static void give(kl_load *load, uint32_t key, uint32_t row) {
  kl_error err;
  assert_ok(put_one(load, key, row, &err), &err);
  expected[key] = row;
}

static bool has_space(kl_db *db, const char *name) {
  kl_keyspace *keyspace;
  kl_error err;
  kl_status status = kl_keyspace_open(kl_db_catalogue(db), text(name), false, &keyspace, &err);
  if (status == KL_OK) kl_keyspace_release(keyspace);
  assert_true(status == KL_OK || status == KL_E_KEYSPACE_NOT_FOUND);
  return status == KL_OK;
}

/* The keyspace has exactly what the model has. */
static void check_loaded(kl_db *db, const char *name) {
  kl_keyspace *keyspace;
  kl_cursor *cursor;
  kl_error err;
  assert_ok(kl_keyspace_open(kl_db_catalogue(db), text(name), false, &keyspace, &err), &err);
  kl_txn_options options = {.read_only = true};
  kl_txn *txn;
  assert_ok(kl_txn_begin(kl_db_txn_manager(db), &options, &txn, &err), &err);
  kl_slice open_end = {NULL, 0};
  assert_ok(kl_cursor_open(txn, kl_keyspace_id(keyspace), open_end, open_end, &cursor, &err), &err);
  kl_status status = kl_cursor_first(cursor, &err);
  for (uint32_t i = 0; i < LOAD_KEYS; i++) {
    if (expected[i] == 0) continue;
    char bytes[24];
    uint8_t value[8 + LOAD_VALUE];
    kl_slice key, got;
    assert_ok(status, &err);
    assert_ok(kl_cursor_get(cursor, &key, &got, &err), &err);
    assert_true(kl_slice_equal(key, load_test_key(i, bytes)));
    assert_true(kl_slice_equal(got, load_test_value(expected[i], value)));
    status = kl_cursor_next(cursor, &err);
  }
  assert_int_equal(status, KL_E_NOT_FOUND);
  kl_cursor_close(cursor);
  kl_txn_release(txn);
  kl_keyspace_release(keyspace);
}

static kl_load *load_begin(kl_db *db, const char *name, bool replace) {
  kl_load *load;
  kl_error err;
  kl_load_options options = {.replace = replace, .buffer_size = 64 << 10};
  assert_ok(kl_load_begin(db, text(name), &options, &load, &err), &err);
  return load;
}

static uint64_t finish(kl_load *load) {
  kl_error err;
  kl_load_report report;
  assert_ok(kl_load_finish(load, &err), &err);
  kl_load_get_report(load, &report);
  assert_true(report.finished);
  kl_load_end(load);
  return report.runs;
}

static kl_sim *load_machine(uint64_t number) {
  kl_sim *sim;
  kl_error err;
  assert_ok(kl_sim_new(test_seed(number), &sim, &err), &err);
  memset(expected, 0, sizeof expected);
  return sim;
}

static void load_machine_end(kl_sim *sim) {
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

/* Nothing wrong, and no block that belongs to nothing. */
static void check_sound(kl_db *db) {
  kl_error err;
  assert_ok(kl_db_make_checkpoint(db, &err), &err);
  kl_check_report report = check_verify(db, true);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.unreached_bytes, 0);
}

/* -------- orders -------- */

static void test_sorted(void **state) {
  (void)state;
  for (int memory = 0; memory < 2; memory++) {
    kl_sim *sim = load_machine(81);
    kl_db *db = db_open(kl_sim_os(sim), memory ? ":memory:" : CHECK_PATH, NULL);
    kl_load *load = load_begin(db, "sorted", false);
    for (uint32_t i = 0; i < LOAD_KEYS; i += 1 + i % 3) give(load, i, i + 1);
    assert_false(has_space(db, "sorted"));
    assert_int_equal(finish(load), 1); /* written once */
    check_loaded(db, "sorted");
    check_sound(db);
    db_close(db);
    if (!memory) {
      db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
      check_loaded(db, "sorted");
      db_close(db);
    }
    load_machine_end(sim);
  }
}

/* Random order, with keys that come several times, in the same buffer and in others. */
static void test_unsorted(void **state) {
  (void)state;
  kl_sim *sim = load_machine(82);
  kl_rng rng;
  kl_rng_init(&rng, test_seed(82));
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  kl_load *load = load_begin(db, "random", false);
  for (uint32_t row = 1; row <= 6 * LOAD_KEYS; row++) give(load, (uint32_t)kl_rng_below(&rng, LOAD_KEYS), row);
  uint64_t runs = finish(load);
  assert_in_range(runs, 33, 200); /* more than are merged at once */
  check_loaded(db, "random");
  check_sound(db);
  db_close(db);
  db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  check_loaded(db, "random");
  db_close(db);
  load_machine_end(sim);
}

/* Two sorted halves, the second one before the first: two runs. */
static void test_two_halves(void **state) {
  (void)state;
  kl_sim *sim = load_machine(83);
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  kl_load *load = load_begin(db, "halves", false);
  for (uint32_t i = 0; i < LOAD_KEYS; i++) give(load, (i + LOAD_KEYS / 2) % LOAD_KEYS, i + 1);
  assert_in_range(finish(load), 2, 3); /* the buffer in which they meet is sorted, and does not follow either */
  check_loaded(db, "halves");
  check_sound(db);
  db_close(db);
  load_machine_end(sim);
}

/* The empty key, the longest one, values of no bytes, of more than the buffer and of exactly what is left of it. */
static void test_sizes(void **state) {
  (void)state;
  static uint8_t large[300000], long_key[KL_MAX_KEY];
  static const size_t sizes[] = {0, 1, 4000, 32000, 33000, 65536, 300000};
  kl_sim *sim = load_machine(84);
  kl_error err;
  kl_keyspace *keyspace;
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  kl_load *load = load_begin(db, "sizes", false);
  memset(long_key, 'k', sizeof long_key);
  for (size_t i = 0; i < sizeof large; i++) large[i] = (uint8_t)(i * 7 + i / 251);
  for (size_t round = 0; round < 2; round++) { /* the second time each key is a duplicate */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      kl_slice key = kl_slice_make(long_key, i * (KL_MAX_KEY / 6));
      assert_ok(kl_load_put(load, key, kl_slice_make(large + i + round, sizes[i] - (i == 6 ? 8 : 0)), &err), &err);
    }
  }
  static uint8_t too_long[KL_MAX_KEY + 1];
  assert_int_equal(kl_load_put(load, kl_slice_make(too_long, sizeof too_long), text("v"), &err), KL_E_KEY_SIZE);
  finish(load);
  assert_ok(kl_keyspace_open(kl_db_catalogue(db), text("sizes"), false, &keyspace, &err), &err);
  kl_txn *txn;
  assert_ok(kl_txn_begin(kl_db_txn_manager(db), NULL, &txn, &err), &err);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    kl_slice key = kl_slice_make(long_key, i * (KL_MAX_KEY / 6)), value;
    assert_ok(kl_txn_get(txn, kl_keyspace_id(keyspace), key, &value, &err), &err);
    assert_int_equal(value.size, sizes[i] - (i == 6 ? 8 : 0));
    if (value.size != 0) assert_memory_equal(value.data, large + i + 1, value.size);
  }
  kl_txn_release(txn);
  kl_keyspace_release(keyspace);
  check_sound(db);
  db_close(db);
  load_machine_end(sim);
}

/* -------- beside others -------- */

static void test_beside_writers(void **state) {
  (void)state;
  kl_sim *sim = load_machine(85);
  kl_error err;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(85));
  kl_db_options options = {.delta_size = 16 << 10};
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, &options);
  kl_load *load = load_begin(db, "loaded", false);
  for (uint32_t row = 1; row <= 3 * LOAD_KEYS; row++) {
    give(load, (uint32_t)kl_rng_below(&rng, LOAD_KEYS), row);
    if (row % 64 == 0) {
      char key[24], value[24];
      (void)snprintf(key, sizeof key, "key-%u", row % 512);
      (void)snprintf(value, sizeof value, "value-%u", row);
      assert_ok(db_put(db, "other", key, value, KL_DURABILITY_FULL, &err), &err);
    }
    if (row % 5000 == 0) assert_ok(kl_db_compact(db, NULL, NULL, NULL, &err), &err);
    if (row % 7000 == 0) { /* unfinished, it is no problem, and nobody's */
      kl_check_report report = check_verify(db, true);
      assert_int_equal(report.problems, 0);
      uint64_t spaces;
      assert_ok(kl_keyspace_count(kl_db_catalogue(db), &spaces, &err), &err);
      assert_int_equal(spaces, 1);
    }
  }
  finish(load);
  check_loaded(db, "loaded");
  db_assert_value(db, "other", "key-0", "value-12288");
  check_sound(db);
  db_close(db);
  load_machine_end(sim);
}

static void test_replace(void **state) {
  (void)state;
  kl_sim *sim = load_machine(86);
  kl_error err;
  kl_load *load;
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  assert_ok(db_put(db, "rows", "old", "value", KL_DURABILITY_FULL, &err), &err);
  assert_int_equal(kl_load_begin(db, text("rows"), NULL, &load, &err), KL_E_EXISTS);
  kl_keyspace *keyspace;
  assert_ok(kl_keyspace_open(kl_db_catalogue(db), text("rows"), false, &keyspace, &err), &err);
  kl_txn *reader;
  assert_ok(kl_txn_begin(kl_db_txn_manager(db), NULL, &reader, &err), &err);
  load = load_begin(db, "rows", true);
  for (uint32_t i = 0; i < 100; i++) give(load, i, i + 1);
  db_assert_value(db, "rows", "old", "value");
  finish(load);
  kl_slice value; /* an older snapshot sees the old rows; the old keyspace is dropped for everyone else */
  assert_ok(kl_txn_get(reader, kl_keyspace_id(keyspace), text("old"), &value, &err), &err);
  assert_int_equal(kl_keyspace_check(keyspace, &err), KL_E_KEYSPACE_NOT_FOUND);
  kl_txn_release(reader);
  kl_keyspace_release(keyspace);
  check_loaded(db, "rows");
  /* Somebody makes the keyspace while it is loaded: the load is refused, and can still be finished when that is gone. */
  load = load_begin(db, "late", false);
  for (uint32_t i = 0; i < 100; i++) give(load, i, i + 1);
  assert_ok(db_put(db, "late", "mine", "value", KL_DURABILITY_FULL, &err), &err);
  assert_int_equal(kl_load_finish(load, &err), KL_E_EXISTS);
  db_assert_value(db, "late", "mine", "value");
  assert_ok(kl_keyspace_drop(kl_db_catalogue(db), text("late"), &err), &err);
  assert_ok(kl_load_finish(load, &err), &err);
  assert_int_equal(kl_load_finish(load, &err), KL_E_FINISHED);
  assert_int_equal(put_one(load, 1, 1, &err), KL_E_FINISHED);
  kl_load_end(load);
  check_loaded(db, "late");
  check_sound(db);
  db_close(db);
  load_machine_end(sim);
}

static bool keep_none(void *context, uint32_t id) {
  (void)context;
  (void)id;
  return false;
}

/* A load that was refused its name goes on taking rows: of the keyspaces that it has tried, one stays. */
static void test_goes_on_after_a_refusal(void **state) {
  (void)state;
  kl_sim *sim = load_machine(92);
  kl_error err;
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  for (uint32_t rows = 0; rows <= LOAD_KEYS; rows += LOAD_KEYS / 2) {
    memset(expected, 0, sizeof expected);
    kl_load *load = load_begin(db, "rows", false);
    for (uint32_t i = 0; i < rows; i++) give(load, i * 2731 % LOAD_KEYS, i + 1);
    assert_ok(db_put(db, "rows", "mine", "value", KL_DURABILITY_FULL, &err), &err);
    assert_int_equal(kl_load_finish(load, &err), KL_E_EXISTS);
    assert_ok(kl_keyspace_drop(kl_db_catalogue(db), text("rows"), &err), &err);
    for (uint32_t i = 0; i < LOAD_KEYS; i += 7) give(load, i, LOAD_KEYS + i);
    finish(load);
    check_loaded(db, "rows");
    uint64_t left;
    assert_ok(kl_keyspace_load_sweep(kl_db_catalogue(db), keep_none, NULL, &left, &err), &err);
    assert_int_equal(left, 0);
    check_sound(db);
    assert_ok(kl_keyspace_drop(kl_db_catalogue(db), text("rows"), &err), &err);
  }
  db_close(db);
  load_machine_end(sim);
}

static void test_refusals(void **state) {
  (void)state;
  kl_sim *sim = load_machine(87);
  kl_error err;
  kl_load *load;
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  kl_load_options small = {.buffer_size = 1000}, huge = {.buffer_size = UINT64_C(1) << 40};
  assert_int_equal(kl_load_begin(db, text("x"), &small, &load, &err), KL_E_INVALID);
  assert_int_equal(kl_load_begin(db, text("x"), &huge, &load, &err), KL_E_INVALID);
  assert_int_equal(kl_load_begin(db, text(""), NULL, &load, &err), KL_E_INVALID);
  load = load_begin(db, "empty", false); /* no rows are rows, too */
  assert_int_equal(finish(load), 0);
  check_loaded(db, "empty");
  load = load_begin(db, "never", false);
  for (uint32_t i = 0; i < LOAD_KEYS; i++) assert_ok(put_one(load, i * 7 % LOAD_KEYS, i + 1, &err), &err);
  kl_load_end(load); /* leaves nothing */
  assert_false(has_space(db, "never"));
  check_sound(db);
  kl_store_space space;
  kl_db_stats stats;
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  space = stats.space;
  assert_true(space.used_bytes < 100000);
  db_close(db);
  kl_db_options read_only = {.read_only = true};
  db = db_open(kl_sim_os(sim), CHECK_PATH, &read_only);
  assert_int_equal(kl_load_begin(db, text("x"), NULL, &load, &err), KL_E_READ_ONLY);
  db_close(db);
  load_machine_end(sim);
}

/* On the real system, where a thread of the load sorts and writes: in and out of order, and ended in the middle. */
static void test_with_threads(void **state) {
  (void)state;
  char folder[64], path[96];
  kl_error err;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(91));
  memset(expected, 0, sizeof expected);
  assert_true(test_folder_make(folder, sizeof folder));
  (void)snprintf(path, sizeof path, "%s/test.keel", folder);
  kl_db_options options = {.delta_size = 64 << 10};
  kl_db *db = db_open(kl_os_posix(), path, &options);
  kl_load *load = load_begin(db, "random", false), *never = load_begin(db, "never", false);
  for (uint32_t row = 1; row <= 4 * LOAD_KEYS; row++) {
    give(load, (uint32_t)kl_rng_below(&rng, LOAD_KEYS), row);
    assert_ok(put_one(never, (uint32_t)kl_rng_below(&rng, LOAD_KEYS), row, &err), &err);
    if (row % 512 == 0) assert_ok(db_put(db, "other", "key", "value", KL_DURABILITY_NONE, &err), &err);
  }
  kl_load_end(never);
  assert_true(finish(load) > 20);
  check_loaded(db, "random");
  assert_false(has_space(db, "never"));
  memset(expected, 0, sizeof expected);
  load = load_begin(db, "sorted", false);
  for (uint32_t i = 0; i < LOAD_KEYS; i++) give(load, i, i + 1);
  assert_int_equal(finish(load), 1);
  check_loaded(db, "sorted");
  check_sound(db);
  db_close(db);
  db = db_open(kl_os_posix(), path, NULL);
  check_loaded(db, "sorted");
  db_close(db);
  assert_true(test_folder_remove(folder));
}

/* The thread of a load runs out of memory: a later call says so, once, and all rows are there when it is tried again. */
static void test_thread_without_memory(void **state) {
  (void)state;
  uint64_t refused = 0;
  for (uint64_t n = 1; n < 200; n += 3) {
    failing_allocator allocator;
    kl_error err;
    failing_allocator_init(&allocator);
    kl_os os = *kl_os_posix();
    os.allocator = &allocator.base;
    memset(expected, 0, sizeof expected);
    kl_db *db = db_open(&os, ":memory:", NULL);
    kl_load *load = load_begin(db, "rows", false);
    failing_allocator_arm(&allocator, n);
    for (uint32_t row = 1; row <= LOAD_KEYS; row++) {
      uint32_t key = row * 2731 % LOAD_KEYS;
      kl_status status = put_one(load, key, row, &err);
      if (status != KL_OK) {
        assert_int_equal(status, KL_E_NO_MEMORY);
        refused++;
        assert_ok(put_one(load, key, row, &err), &err);
      }
      expected[key] = row;
    }
    kl_status status = kl_load_finish(load, &err);
    if (status != KL_OK) {
      assert_int_equal(status, KL_E_NO_MEMORY);
      assert_ok(kl_load_finish(load, &err), &err);
    }
    failing_allocator_arm(&allocator, 0);
    kl_load_end(load);
    check_loaded(db, "rows");
    db_close(db);
    assert_int_equal(atomic_load(&allocator.live_bytes), 0);
  }
  print_message("%llu rows were refused at first\n", (unsigned long long)refused);
  assert_true(refused > 5);
}

/* -------- what goes wrong -------- */

/* A whole story: a keyspace that is there, a load out of order, its end. Returns how far it came. */
static kl_status story(kl_db *db, bool *out_finished, kl_error *err) {
  kl_load *load;
  kl_load_options options = {.buffer_size = 64 << 10};
  *out_finished = false;
  kl_status status = db_put(db, "other", "key", "value", KL_DURABILITY_FULL, err);
  if (status == KL_OK) status = kl_load_begin(db, text("loaded"), &options, &load, err);
  if (status != KL_OK) return status;
  for (uint32_t row = 1; row <= LOAD_KEYS && status == KL_OK; row++) {
    status = put_one(load, row * 2731 % LOAD_KEYS, row, err);
    expected[row * 2731 % LOAD_KEYS] = row;
  }
  if (status == KL_OK) status = kl_load_finish(load, err);
  *out_finished = status == KL_OK;
  kl_load_end(load);
  return status;
}

/* Opened again: the keyspace is there whole or not at all, it is if its load was finished, and no space is lost. */
static bool check_after(kl_sim *sim, bool finished) {
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  bool there = has_space(db, "loaded");
  if (finished) assert_true(there);
  if (there) check_loaded(db, "loaded");
  check_sound(db);
  db_close(db);
  return there;
}

static void test_crashes(void **state) {
  (void)state;
  int crashes = 0, wholes = 0;
  for (uint64_t n = 1;; n += 1 + n / 16) {
    kl_sim *sim = load_machine(88 + n);
    kl_error err;
    bool finished = false;
    kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
    kl_sim_inject(sim, KL_SIM_FAULT_CRASH, kl_sim_operations(sim) + n);
    (void)story(db, &finished, &err);
    bool crashed = kl_sim_crashed(sim);
    (void)kl_db_release(db, NULL);
    kl_sim_restart(sim, n);
    kl_sim *damaged; /* a recovery that has to fall back by one finds the same (DB-22) */
    assert_int_equal(kl_sim_clone(sim, &damaged), KL_OK);
    check_destroy_newest(damaged);
    bool there = check_after(sim, finished);
    assert_int_equal(check_after(damaged, finished), there);
    load_machine_end(damaged);
    crashes += crashed;
    wholes += finished;
    load_machine_end(sim);
    if (!crashed) break;
  }
  print_message("%d crashes, %d of them after the end of the load\n", crashes, wholes - 1);
  assert_true(crashes > 30);
}

/* The story again and again, until it works: a failure changes nothing but what is left to do. */
static void run_without_memory(uint64_t n, bool *out_struck) {
  kl_sim *sim = load_machine(89);
  kl_error err;
  bool finished = false;
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  kl_sim_fail_allocation(sim, n);
  kl_status status = story(db, &finished, &err);
  kl_sim_fail_allocation(sim, 0);
  *out_struck = status != KL_OK;
  if (status != KL_OK) {
    assert_int_equal(status, KL_E_NO_MEMORY);
    assert_false(has_space(db, "loaded"));
    check_sound(db);
    assert_ok(story(db, &finished, &err), &err);
  }
  check_loaded(db, "loaded");
  check_sound(db);
  db_close(db);
  load_machine_end(sim);
}

static void test_no_memory(void **state) {
  (void)state;
  int struck_count = 0;
  uint64_t last = 0;
  for (uint64_t n = 1; n < last + 60; n += 1 + n / 40) {
    bool struck;
    run_without_memory(n, &struck);
    struck_count += struck;
    if (struck) last = n;
  }
  print_message("%d allocations failed in turn\n", struck_count);
  assert_true(struck_count > 20);
}

/* A load that could not be written goes on when there is room again: nothing is lost, nothing is double. */
static void test_full_disk(void **state) {
  (void)state;
  kl_sim *sim = load_machine(90);
  kl_error err;
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  assert_ok(db_put(db, "other", "key", "value", KL_DURABILITY_FULL, &err), &err);
  kl_load *load = load_begin(db, "loaded", false);
  kl_sim_inject(sim, KL_SIM_FAULT_DISK_FULL, kl_sim_operations(sim) + 40);
  int refused = 0;
  for (uint32_t row = 1; row <= 2 * LOAD_KEYS; row++) {
    uint32_t key = row * 2731 % LOAD_KEYS;
    kl_status status = put_one(load, key, row, &err);
    if (status != KL_OK) {
      assert_int_equal(status, KL_E_DISK_FULL);
      refused++;
      kl_sim_give_space(sim);
      assert_ok(put_one(load, key, row, &err), &err);
    }
    expected[key] = row;
  }
  assert_int_equal(refused, 1);
  finish(load);
  check_loaded(db, "loaded");
  check_sound(db);
  db_close(db);
  load_machine_end(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sorted),
      cmocka_unit_test(test_unsorted),
      cmocka_unit_test(test_two_halves),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_beside_writers),
      cmocka_unit_test(test_replace),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_crashes),
      cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_full_disk),
      cmocka_unit_test(test_with_threads),
      cmocka_unit_test(test_goes_on_after_a_refusal),
      cmocka_unit_test(test_thread_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
