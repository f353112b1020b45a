/* tests/unit/db/test_db_spill_threads.c: transactions larger than memory beside readers and other writers, on real threads. */
#include <stdatomic.h>

#include "db_check_testing.h"

static kl_slice spill_key(uint32_t key, char out[24]) {
  return kl_slice_make(out, (size_t)snprintf(out, 24, "key-%05u", key));
}

static void check_sound(kl_db *db) {
  kl_error err;
  assert_ok(kl_db_make_checkpoint(db, &err), &err);
  kl_check_report report = check_verify(db, true);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.unreached_bytes, 0);
}

enum { SHARED_ROWS = 4000, SHARED_ROUNDS = 3, SHARED_WRITERS = 2 };

typedef struct shared {
  kl_db *db;
  uint32_t large, small; /* keyspaces */
  _Atomic bool stop;
  _Atomic uint64_t scans, commits;
  _Atomic int wrong;
} shared;

/* All rows of the large keyspace are of one generation, in every snapshot. */
static void reader_main(void *context) {
  shared *at = context;
  kl_slice open_end = {NULL, 0};
  while (!at->stop) {
    kl_txn *txn;
    kl_cursor *cursor;
    kl_error err;
    uint64_t rows = 0, generation = 0;
    const kl_txn_options options = {.read_only = true};
    if (kl_txn_begin(kl_db_txn_manager(at->db), &options, &txn, &err) != KL_OK) break;
    if (kl_cursor_open(txn, at->large, open_end, open_end, &cursor, &err) == KL_OK) {
      while (kl_cursor_next(cursor, &err) == KL_OK) {
        kl_slice key, value;
        uint64_t number;
        at->wrong += kl_cursor_get(cursor, &key, &value, &err) != KL_OK || value.size < sizeof number;
        memcpy(&number, value.data, sizeof number);
        at->wrong += rows++ != 0 && number != generation;
        generation = number;
      }
      kl_cursor_close(cursor);
      at->wrong += rows != 0 && rows != SHARED_ROWS;
      at->scans++;
    }
    kl_txn_release(txn);
  }
}

/* Small commits, which never conflict with the large ones. */
static void writer_main(void *context) {
  shared *at = context;
  for (uint32_t i = 0; !at->stop; i++) {
    char key[24];
    kl_txn *txn;
    kl_error err;
    if (kl_txn_begin(kl_db_txn_manager(at->db), NULL, &txn, &err) != KL_OK) break;
    kl_status status = kl_txn_put(txn, at->small, spill_key(i % 1000, key), text("value"), &err);
    if (status == KL_OK) status = kl_txn_commit(txn, NULL, &err);
    at->wrong += status != KL_OK && status != KL_E_CONFLICT;
    at->commits++;
    kl_txn_release(txn);
  }
}

static void commit_generation(shared *at, uint64_t generation) {
  uint8_t value[40] = {0};
  kl_txn *txn;
  kl_error err;
  memcpy(value, &generation, sizeof generation);
  assert_ok(kl_txn_begin(kl_db_txn_manager(at->db), NULL, &txn, &err), &err);
  for (uint32_t i = 0; i < SHARED_ROWS; i++) {
    char key[24];
    uint32_t row =
        (uint32_t)((i * UINT64_C(2654435761) + generation) % SHARED_ROWS); /* a permutation: the factor is odd */
    assert_ok(kl_txn_put(txn, at->large, spill_key(row, key), kl_slice_make(value, sizeof value), &err), &err);
  }
  assert_ok(kl_txn_commit(txn, NULL, &err), &err);
  kl_txn_release(txn);
}

static void test_beside_others(void **state) {
  (void)state;
  char folder[64], path[96];
  kl_error err;
  kl_keyspace *large, *small;
  kl_thread *threads[SHARED_WRITERS + 1];
  assert_true(test_folder_make(folder, sizeof folder));
  (void)snprintf(path, sizeof path, "%s/test.keel", folder);
  kl_db_options options = {.delta_size = 64 << 10, .spill_size = 32 << 10, .durability = KL_DURABILITY_NONE};
  shared at = {.db = db_open(kl_os_posix(), path, &options)};
  assert_ok(kl_keyspace_open(kl_db_catalogue(at.db), text("large"), true, &large, &err), &err);
  assert_ok(kl_keyspace_open(kl_db_catalogue(at.db), text("small"), true, &small, &err), &err);
  at.large = kl_keyspace_id(large);
  at.small = kl_keyspace_id(small);
  for (int i = 0; i <= SHARED_WRITERS; i++) {
    assert_ok(kl_thread_start(kl_os_posix(), "test", i == 0 ? reader_main : writer_main, &at, &threads[i], &err), &err);
  }
  for (uint64_t generation = 1; generation <= SHARED_ROUNDS; generation++) {
    commit_generation(&at, generation);
    uint64_t scans = at.scans; /* somebody has looked at it */
    while (at.scans < scans + 2) kl_thread_yield();
  }
  at.stop = true;
  for (int i = 0; i <= SHARED_WRITERS; i++) kl_thread_join(threads[i]);
  assert_int_equal(at.wrong, 0);
  assert_true(at.commits > 0);
  print_message("%llu scans, %llu small commits beside %d large ones\n", (unsigned long long)at.scans,
                (unsigned long long)at.commits, SHARED_ROUNDS);
  kl_keyspace_release(large);
  kl_keyspace_release(small);
  check_sound(at.db);
  db_close(at.db);
  assert_true(test_folder_remove(folder));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_beside_others),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
