/* tests/unit/db/test_db_compact.c: whole databases give their space back, asked and in idle time, beside readers and
 * writers. */
#include <stdatomic.h>
#include <time.h>

#include "core/base/rng.h"
#include "core/os/thread.h"
#include "db_testing.h"

static kl_slice compact_key(uint32_t i, char out[24]) {
  return kl_slice_make(out, (size_t)snprintf(out, 24, "key-%07u", (unsigned)i));
}

static void compact_value(uint32_t seed, uint8_t *out, size_t size) {
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = kl_mix64(seed * UINT64_C(1000) + i);
    memcpy(out + i, &word, size - i < 8 ? size - i : 8);
  }
}

/* Puts (or deletes) rows [from, to), in transactions of a thousand. */
static void compact_write(kl_db *db, uint32_t id, uint32_t from, uint32_t to, bool put, size_t size) {
  static _Thread_local uint8_t value[1 << 16];
  char bytes[24];
  kl_error err;
  while (from < to) {
    kl_txn *txn;
    kl_txn_options options = {.durability = KL_DURABILITY_NONE};
    assert_ok(kl_txn_begin(kl_db_txn_manager(db), &options, &txn, &err), &err);
    for (uint32_t n = 0; n < 1000 && from < to; n++, from++) {
      compact_value(from, value, size);
      kl_slice key = compact_key(from, bytes);
      kl_status status =
          put ? kl_txn_put(txn, id, key, kl_slice_make(value, size), &err) : kl_txn_delete(txn, id, key, &err);
      assert_ok(status, &err);
    }
    assert_ok(kl_txn_commit(txn, NULL, &err), &err);
    kl_txn_release(txn);
  }
}

/* Rows [from, to) are there with their values, and no others. */
static void compact_read(kl_txn *txn, uint32_t id, uint32_t from, uint32_t to, size_t size) {
  static uint8_t value[1 << 16];
  char bytes[24];
  kl_error err;
  kl_cursor *cursor = NULL;
  assert_ok(kl_cursor_open(txn, id, (kl_slice){NULL, 0}, (kl_slice){NULL, 0}, &cursor, &err), &err);
  kl_status status = kl_cursor_first(cursor, &err);
  for (uint32_t i = from; i < to; i++) {
    assert_ok(status, &err);
    kl_slice key, got;
    assert_ok(kl_cursor_get(cursor, &key, &got, &err), &err);
    assert_true(kl_slice_equal(key, compact_key(i, bytes)));
    compact_value(i, value, size);
    assert_int_equal(got.size, size);
    assert_memory_equal(got.data, value, size);
    status = kl_cursor_next(cursor, &err);
  }
  assert_int_equal(status, KL_E_NOT_FOUND);
  kl_cursor_close(cursor);
}

typedef struct compact_db {
  char folder[64], path[96];
  kl_db *db;
  kl_keyspace *rows, *large;
  _Atomic bool stop;
  _Atomic uint64_t rounds;
} compact_db;

static void compact_open(compact_db *c, uint64_t delta_size) {
  kl_db_options options = {.delta_size = delta_size, .cache_size = 4 << 20};
  kl_error err;
  c->db = db_open(kl_os_posix(), c->path, &options);
  assert_ok(kl_keyspace_open(kl_db_catalogue(c->db), text("rows"), true, &c->rows, &err), &err);
  assert_ok(kl_keyspace_open(kl_db_catalogue(c->db), text("large"), true, &c->large, &err), &err);
}

static void compact_close(compact_db *c) {
  kl_keyspace_release(c->rows);
  kl_keyspace_release(c->large);
  db_close(c->db);
}

static void compact_start(compact_db *c, uint64_t delta_size) {
  memset(c, 0, sizeof *c);
  assert_true(test_folder_make(c->folder, sizeof c->folder));
  (void)snprintf(c->path, sizeof c->path, "%s/test.keel", c->folder);
  compact_open(c, delta_size);
}

static void compact_finish(compact_db *c) {
  compact_close(c);
  assert_true(test_folder_remove(c->folder));
}

static void compact_space(compact_db *c, kl_store_space *out) {
  kl_db_stats stats;
  kl_error err;
  assert_ok(kl_db_get_stats(c->db, &stats, &err), &err);
  *out = stats.space;
}

static uint64_t compact_file_size(compact_db *c) {
  kl_file_info info;
  kl_error err;
  assert_ok(kl_os_stat(kl_os_posix(), c->path, &info, &err), &err);
  return info.size;
}

static void compact_check_short(compact_db *c) {
  kl_store_space space;
  compact_space(c, &space);
  uint64_t most = space.used_bytes + space.used_bytes / 5 + (64 << 10), size = compact_file_size(c);
  if (size > most) fail_msg("%llu bytes for %llu used", (unsigned long long)size, (unsigned long long)space.used_bytes);
}

enum { COMPACT_ROWS = 20000, COMPACT_LARGE = 200, COMPACT_LEFT = 1500 };

/* The rows that are left lie at the end of the file. */
static void compact_fill(compact_db *c) {
  kl_error err;
  compact_write(c->db, kl_keyspace_id(c->rows), 0, COMPACT_ROWS, true, 400);
  compact_write(c->db, kl_keyspace_id(c->large), 0, COMPACT_LARGE, true, 50000);
  assert_ok(kl_db_make_checkpoint(c->db, &err), &err);
}

static void compact_empty(compact_db *c) {
  compact_write(c->db, kl_keyspace_id(c->rows), 0, COMPACT_ROWS - COMPACT_LEFT, false, 0);
  compact_write(c->db, kl_keyspace_id(c->large), 0, COMPACT_LARGE - 20, false, 0);
}

static void test_beside_a_snapshot(void **state) {
  (void)state;
  compact_db c;
  kl_error err;
  kl_db_compact_report report;
  kl_store_space space;
  compact_start(&c, 0);
  uint32_t rows = kl_keyspace_id(c.rows), large = kl_keyspace_id(c.large);
  compact_fill(&c);
  kl_txn *old = begin_read_only(kl_db_txn_manager(c.db));
  compact_empty(&c);
  assert_ok(kl_db_compact(c.db, NULL, NULL, &report, &err), &err);
  compact_read(old, rows, 0, COMPACT_ROWS, 400);
  compact_read(old, large, 0, COMPACT_LARGE, 50000);
  compact_space(&c, &space);
  assert_true(space.limbo_bytes > space.used_bytes);
  kl_txn_release(old);
  assert_ok(kl_db_compact(c.db, NULL, NULL, &report, &err), &err);
  assert_true(report.rounds >= 3);
  assert_true(report.file_bytes < report.file_before / 2);
  assert_int_equal(report.file_bytes, compact_file_size(&c));
  compact_check_short(&c);
  assert_ok(kl_db_compact(c.db, NULL, NULL, &report, &err), &err); /* nothing is left to do */
  assert_true(report.moved_bytes <= 16 * (uint64_t)4096);
  for (int i = 0; i < 2; i++) {
    kl_txn *now = begin_read_only(kl_db_txn_manager(c.db));
    compact_read(now, rows, COMPACT_ROWS - COMPACT_LEFT, COMPACT_ROWS, 400);
    compact_read(now, large, COMPACT_LARGE - 20, COMPACT_LARGE, 50000);
    kl_txn_release(now);
    compact_close(&c);
    compact_open(&c, 0);
    compact_check_short(&c);
  }
  compact_finish(&c);
}

static bool compact_stop_at_once(void *context, const kl_db_compact_report *report) {
  *(kl_db_compact_report *)context = *report;
  return false;
}

static void test_stops_and_goes_on(void **state) {
  (void)state;
  compact_db c;
  kl_error err;
  kl_db_compact_report seen, report;
  compact_start(&c, 0);
  compact_fill(&c);
  compact_empty(&c);
  for (int i = 0; i < 12; i++) {
    assert_ok(kl_db_compact(c.db, compact_stop_at_once, &seen, &report, &err), &err);
    assert_int_equal(report.rounds, 1);
    assert_int_equal(seen.rounds, 1);
    compact_close(&c); /* what a round has done stays done */
    compact_open(&c, 0);
  }
  assert_ok(kl_db_compact(c.db, NULL, NULL, &report, &err), &err);
  compact_check_short(&c);
  kl_txn *now = begin_read_only(kl_db_txn_manager(c.db));
  compact_read(now, kl_keyspace_id(c.rows), COMPACT_ROWS - COMPACT_LEFT, COMPACT_ROWS, 400);
  compact_read(now, kl_keyspace_id(c.large), COMPACT_LARGE - 20, COMPACT_LARGE, 50000);
  kl_txn_release(now);
  compact_finish(&c);
}

static void test_refusals(void **state) {
  (void)state;
  compact_db c;
  kl_error err;
  kl_db_options options = {.read_only = true};
  compact_start(&c, 0);
  compact_write(c.db, kl_keyspace_id(c.rows), 0, 10, true, 10);
  compact_close(&c);
  kl_db *db = db_open(kl_os_posix(), c.path, &options);
  assert_int_equal(kl_db_compact(db, NULL, NULL, NULL, &err), KL_E_READ_ONLY);
  db_close(db);
  db = db_open(kl_os_posix(), ":memory:", NULL);
  assert_ok(kl_db_compact(db, NULL, NULL, NULL, &err), &err); /* empty, and not a file */
  db_close(db);
  compact_open(&c, 0);
  compact_finish(&c);
}

/* -------- threads -------- */

static void compacting(void *context) {
  compact_db *c = context;
  while (!atomic_load(&c->stop)) {
    kl_db_compact_report report;
    kl_error err;
    assert_ok(kl_db_compact(c->db, NULL, NULL, &report, &err), &err);
    atomic_fetch_add(&c->rounds, report.rounds);
  }
}

/* Rows come and go at both ends, so that there is always something to move; drains run all the time. */
static void test_beside_writers(void **state) {
  (void)state;
  enum { WINDOW = 4000, STEP = 1000, STEPS = 40 };
  compact_db c;
  kl_error err;
  kl_thread *thread;
  compact_start(&c, 256 << 10);
  uint32_t rows = kl_keyspace_id(c.rows);
  compact_write(c.db, rows, 0, WINDOW, true, 300);
  assert_ok(kl_thread_start(kl_os_posix(), "test-compact", compacting, &c, &thread, &err), &err);
  for (uint32_t i = 0; i < STEPS || atomic_load(&c.rounds) < 10; i++) {
    kl_txn *before = begin_read_only(kl_db_txn_manager(c.db));
    compact_write(c.db, rows, WINDOW + i * STEP, WINDOW + (i + 1) * STEP, true, 300);
    compact_write(c.db, rows, i * STEP, (i + 1) * STEP, false, 0);
    compact_read(before, rows, i * STEP, WINDOW + i * STEP, 300);
    kl_txn_release(before);
    kl_txn *now = begin_read_only(kl_db_txn_manager(c.db));
    compact_read(now, rows, (i + 1) * STEP, WINDOW + (i + 1) * STEP, 300);
    kl_txn_release(now);
  }
  atomic_store(&c.stop, true);
  kl_thread_join(thread);
  kl_db_stats stats;
  assert_ok(kl_db_get_stats(c.db, &stats, &err), &err);
  assert_true(stats.checkpoints > 10);
  assert_int_equal(stats.drain_failures, 0);
  assert_ok(kl_db_compact(c.db, NULL, NULL, NULL, &err), &err);
  compact_check_short(&c);
  compact_finish(&c);
}

/* Nobody asks: a file that is mostly free becomes shorter while the database is open. */
static void test_in_idle_time(void **state) {
  (void)state;
  enum { MANY = 60000 };
  compact_db c;
  kl_error err;
  kl_store_space space;
  compact_start(&c, 1 << 20);
  uint32_t rows = kl_keyspace_id(c.rows);
  compact_write(c.db, rows, 0, MANY, true, 700);
  assert_ok(kl_db_make_checkpoint(c.db, &err), &err);
  compact_space(&c, &space);
  uint64_t before = space.file_bytes;
  assert_true(before > (uint64_t)40 << 20);
  /* What is left lies at the end. Deletes are small: some puts make the delta full, so that the thread drains. */
  compact_write(c.db, rows, 0, MANY - 1000, false, 0);
  assert_ok(kl_db_make_checkpoint(c.db, &err), &err);
  for (int i = 0; i < 4; i++) compact_write(c.db, rows, MANY - 2000, MANY, true, 700);
  for (;;) { /* ctest ends a test that hangs */
    compact_space(&c, &space);
    if (space.file_bytes < before - before / 4) break;
    struct timespec pause = {.tv_nsec = 20000000};
    (void)nanosleep(&pause, NULL);
  }
  kl_txn *now = begin_read_only(kl_db_txn_manager(c.db));
  compact_read(now, rows, MANY - 2000, MANY, 700);
  kl_txn_release(now);
  compact_finish(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_beside_a_snapshot), cmocka_unit_test(test_stops_and_goes_on),
      cmocka_unit_test(test_refusals),          cmocka_unit_test(test_beside_writers),
      cmocka_unit_test(test_in_idle_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
