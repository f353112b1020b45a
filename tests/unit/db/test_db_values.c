/* tests/unit/db/test_db_values.c: values that are written and read in parts, wherever they lie: among a transaction's own
 * writes, in deltas, in trees, after reopening. */
#include "core/base/rng.h"
#include "core/db/salvage_private.h"
#include "core/os/sim/sim.h"
#include "core/store/store.h"
#include "core/txn/txn.h"
#include "db_testing.h"
#include "seed.h"

#define VALUES_PATH "/db/values.keel"
enum { VALUES_ROWS = 5, VALUES_MOST = 4 << 20, VALUES_SPILL = 256 << 10 }; /* larger values go straight to the file */
static const size_t values_sizes[VALUES_ROWS] = {0, 1, 5000, 1 << 20, (3 << 20) + 77777};

typedef struct values_test {
  kl_sim *sim;
  kl_os *os;
  kl_db *db;
  kl_keyspace *keyspace;
  uint32_t id;
} values_test;

static uint8_t values_byte(uint64_t row, uint64_t at) {
  return (uint8_t)(kl_mix64(row * 1000003 + at / 8) >> (8 * (at % 8)));
}

static void values_attach(values_test *t) {
  kl_error err;
  t->db = db_open(t->os, t->sim != NULL ? VALUES_PATH : ":memory:",
                  &(kl_db_options){.cache_size = 8 << 20, .spill_size = VALUES_SPILL});
  assert_ok(kl_keyspace_open(kl_db_catalogue(t->db), text("values"), true, &t->keyspace, &err), &err);
  t->id = kl_keyspace_id(t->keyspace);
}

static void values_detach(values_test *t) {
  kl_keyspace_release(t->keyspace);
  db_close(t->db);
}

static void values_open(values_test *t, bool memory) {
  *t = (values_test){.os = kl_os_posix()};
  if (!memory) {
    assert_int_equal(kl_sim_new(5, &t->sim, NULL), KL_OK);
    t->os = kl_sim_os(t->sim);
  }
  values_attach(t);
}

static void values_close(values_test *t) {
  values_detach(t);
  if (t->sim != NULL) assert_int_equal(kl_sim_live_bytes(t->sim), 0);
  if (t->sim != NULL) kl_sim_free(t->sim);
}

static kl_slice values_key(uint64_t row, char out[16]) {
  return kl_slice_make(out, (size_t)snprintf(out, 16, "row-%u", (unsigned)row));
}

/* In pieces of any size. */
static kl_status values_write(kl_value_writer *writer, uint64_t row, uint64_t size, kl_rng *rng, kl_error *err) {
  static uint8_t piece[700000];
  for (uint64_t at = 0; at < size;) {
    size_t n = (size_t)kl_rng_below(rng, sizeof piece + 1);
    if (n > size - at) n = (size_t)(size - at);
    for (size_t i = 0; i < n; i++) piece[i] = values_byte(row, at + i);
    kl_status status = kl_value_write(writer, piece, n, err);
    if (status != KL_OK) return status;
    at += n;
  }
  return KL_OK;
}

static void values_put(values_test *t, kl_txn *txn, uint64_t row, uint64_t size, kl_rng *rng) {
  char key[16];
  kl_error err;
  kl_value_writer *writer = NULL;
  assert_ok(kl_value_begin(txn, t->id, values_key(row, key), size, &writer, &err), &err);
  assert_ok(values_write(writer, row, size, rng, &err), &err);
  assert_ok(kl_value_finish(writer, &err), &err);
  kl_value_free(writer);
}

static void values_check_part(values_test *t, kl_txn *txn, uint64_t row, uint64_t offset, size_t capacity) {
  static uint8_t buffer[VALUES_MOST + 16];
  char key[16];
  kl_error err;
  uint64_t length = values_sizes[row], size = 0;
  size_t got = 0, want = offset >= length ? 0 : length - offset < capacity ? (size_t)(length - offset) : capacity;
  memset(buffer, 0x5a, capacity + 1);
  assert_ok(kl_txn_get_part(txn, t->id, values_key(row, key), offset, buffer, capacity, &got, &size, &err), &err);
  assert_int_equal(size, length);
  assert_int_equal(got, want);
  for (size_t i = 0; i < want; i++) {
    if (buffer[i] != values_byte(row, offset + i)) fail_msg("row %u, byte %zu", (unsigned)row, (size_t)offset + i);
  }
  assert_int_equal(buffer[want], 0x5a);
}

/* What the transaction sees, by random parts and as a whole. */
static void values_check(values_test *t, kl_txn *txn, kl_rng *rng) {
  char key[16];
  kl_error err;
  uint64_t size = 0;
  size_t got = 0;
  for (uint64_t row = 0; row < VALUES_ROWS; row++) {
    size_t length = values_sizes[row];
    kl_slice value;
    values_check_part(t, txn, row, 0, length + 1);
    values_check_part(t, txn, row, length, 10);
    values_check_part(t, txn, row, UINT64_MAX, 10);
    values_check_part(t, txn, row, 0, 0);
    for (int i = 0; i < 20; i++) {
      values_check_part(t, txn, row, kl_rng_below(rng, length + 2), (size_t)kl_rng_below(rng, 200000));
    }
    assert_ok(kl_txn_get(txn, t->id, values_key(row, key), &value, &err), &err);
    assert_int_equal(value.size, length);
  }
  assert_int_equal(kl_txn_get_part(txn, t->id, text("absent"), 0, NULL, 0, &got, &size, &err), KL_E_NOT_FOUND);
  static char long_key[KL_MAX_KEY + 1];
  kl_slice too_long = kl_slice_make(long_key, sizeof long_key);
  assert_int_equal(kl_txn_get_part(txn, t->id, too_long, 0, NULL, 0, &got, &size, &err), KL_E_KEY_SIZE);
}

static void values_check_new(values_test *t, kl_rng *rng) {
  kl_txn *txn = begin_read_only(kl_db_txn_manager(t->db));
  values_check(t, txn, rng);
  kl_txn_release(txn);
}

static void run_values(bool memory) {
  values_test t;
  kl_rng rng;
  kl_error err;
  kl_rng_init(&rng, test_seed(150));
  values_open(&t, memory);
  kl_txn *txn = begin(kl_db_txn_manager(t.db));
  for (uint64_t row = 0; row < VALUES_ROWS; row++) values_put(&t, txn, row, values_sizes[row], &rng);
  values_check(&t, txn, &rng);
  (void)commit(txn);
  values_check_new(&t, &rng);
  kl_txn *before = begin_read_only(kl_db_txn_manager(t.db));
  values_check_part(&t, before, 4, 1000, 100);
  assert_ok(kl_db_make_checkpoint(t.db, &err), &err);
  values_check_new(&t, &rng);
  values_check(&t, before, &rng); /* its layers are still the deltas */
  kl_txn_release(before);
  if (!memory) {
    values_detach(&t);
    values_attach(&t);
    values_check_new(&t, &rng);
  }
  /* A snapshot of the trees reads what it saw, while others replace it and the file moves under it. */
  kl_txn *old = begin_read_only(kl_db_txn_manager(t.db));
  values_check_part(&t, old, 4, 0, 70000);
  for (int round = 0; round < 4; round++) {
    txn = begin(kl_db_txn_manager(t.db));
    for (uint64_t row = 0; row < VALUES_ROWS; row++) values_put(&t, txn, row, 300000, &rng);
    (void)commit(txn);
    assert_ok(kl_db_make_checkpoint(t.db, &err), &err);
    values_check_part(&t, old, 4, (uint64_t)round * 70000, 70000);
  }
  values_check(&t, old, &rng);
  kl_txn_release(old);
  values_close(&t);
}

static void test_values(void **state) {
  (void)state;
  run_values(false);
}

static void test_values_in_memory(void **state) {
  (void)state;
  run_values(true);
}

static void test_misuse(void **state) {
  (void)state;
  values_test t;
  kl_error err;
  kl_value_writer *writer = NULL, *other = NULL;
  static char long_key[KL_MAX_KEY + 1];
  values_open(&t, false);
  kl_txn *reader = begin_read_only(kl_db_txn_manager(t.db)), *txn = begin(kl_db_txn_manager(t.db));
  assert_int_equal(kl_value_begin(reader, t.id, text("k"), 10, &writer, &err), KL_E_READ_ONLY);
  kl_txn_release(reader);
  assert_int_equal(kl_value_begin(txn, t.id, kl_slice_make(long_key, sizeof long_key), 1, &writer, &err),
                   KL_E_KEY_SIZE);
  assert_int_equal(kl_value_begin(txn, t.id, text("k"), KL_MAX_LARGE_VALUE + 1, &writer, &err), KL_E_VALUE_SIZE);
  assert_ok(kl_value_begin(txn, t.id, text("k"), 10, &writer, &err), &err);
  assert_ok(kl_value_begin(txn, t.id, text("other"), 3, &other, &err), &err);
  assert_ok(kl_value_write(writer, "01234", 5, &err), &err);
  assert_int_equal(kl_value_write(writer, "012345", 6, &err), KL_E_INVALID);
  assert_int_equal(kl_value_finish(writer, &err), KL_E_INVALID);
  assert_value(txn, t.id, "k", NULL); /* nothing is seen of it */
  assert_ok(kl_value_write(writer, "56789", 5, &err), &err);
  assert_ok(kl_value_finish(writer, &err), &err);
  assert_value(txn, t.id, "k", "0123456789");
  assert_int_equal(kl_value_finish(writer, &err), KL_E_FINISHED);
  assert_int_equal(kl_value_write(writer, "", 0, &err), KL_E_FINISHED);
  kl_value_free(writer);
  assert_ok(kl_value_write(other, "abc", 3, &err), &err);
  (void)commit(txn); /* without the other, which keeps the object alive */
  assert_int_equal(kl_value_finish(other, &err), KL_E_FINISHED);
  assert_int_equal(kl_value_write(other, "d", 1, &err), KL_E_FINISHED);
  kl_value_free(other);
  kl_value_free(NULL);
  db_assert_value(t.db, "values", "k", "0123456789");
  db_assert_value(t.db, "values", "other", NULL);
  /* Given up by its owner or with its transaction, a large one leaves no block behind. */
  for (int how = 0; how < 3; how++) {
    kl_rng rng;
    kl_rng_init(&rng, 1);
    txn = begin(kl_db_txn_manager(t.db));
    assert_ok(kl_value_begin(txn, t.id, text("large"), KL_VALUE_DIRECT + 1, &writer, &err), &err);
    assert_ok(values_write(writer, 1, 2 << 20, &rng, &err), &err);
    assert_int_equal(kl_value_finish(writer, &err), KL_E_INVALID);
    if (how == 0) kl_value_free(writer);
    kl_txn_release(txn);
    if (how == 1) assert_int_equal(kl_value_write(writer, "x", 1, &err), KL_E_FINISHED);
    if (how != 0) kl_value_free(writer);
  }
  kl_db_stats stats;
  assert_ok(kl_db_get_stats(t.db, &stats, &err), &err);
  assert_int_equal(stats.space.reserved_bytes, 0);
  values_close(&t);
}

/* A writer may outlive everything: what it has is freed with it. */
static void test_writer_outlives_the_database(void **state) {
  (void)state;
  values_test t;
  kl_error err;
  kl_rng rng;
  kl_value_writer *large = NULL, *small = NULL;
  kl_rng_init(&rng, 1);
  values_open(&t, false);
  kl_txn *txn = begin(kl_db_txn_manager(t.db));
  assert_ok(kl_value_begin(txn, t.id, text("large"), KL_VALUE_DIRECT + 1, &large, &err), &err);
  assert_ok(kl_value_begin(txn, t.id, text("small"), 100, &small, &err), &err);
  assert_ok(values_write(large, 1, 3 << 20, &rng, &err), &err);
  values_detach(&t);
  assert_int_not_equal(values_write(large, 1, 3 << 20, &rng, &err), KL_OK);
  kl_txn_release(txn);
  kl_value_free(large);
  kl_value_free(small);
  assert_int_equal(kl_sim_live_bytes(t.sim), 0);
  values_attach(&t);
  db_assert_value(t.db, "values", "large", NULL);
  values_close(&t);
}

/* Each allocation, and each operation of the machine, may fail. */
static void values_fault(uint64_t n, bool allocations, bool *out_struck) {
  values_test t;
  kl_error err = {0};
  kl_rng rng;
  kl_rng_init(&rng, 3);
  values_open(&t, false);
  uint64_t allocated = kl_sim_allocations(t.sim), operated = kl_sim_operations(t.sim), size = 0;
  uint8_t byte = 0;
  size_t got = 0;
  kl_txn *txn = NULL;
  kl_value_writer *writer[2] = {NULL, NULL};
  if (allocations) kl_sim_fail_allocation(t.sim, n);
  if (!allocations) kl_sim_inject(t.sim, KL_SIM_FAULT_IO_ERROR, operated + n);
  kl_status status = kl_txn_begin(kl_db_txn_manager(t.db), NULL, &txn, &err);
  if (status == KL_OK) status = kl_value_begin(txn, t.id, text("a"), 5000, &writer[0], &err);
  if (status == KL_OK) status = kl_value_begin(txn, t.id, text("b"), 2 * VALUES_SPILL, &writer[1], &err);
  if (status == KL_OK) status = values_write(writer[0], 1, 5000, &rng, &err);
  if (status == KL_OK) status = values_write(writer[1], 1, 2 * VALUES_SPILL, &rng, &err);
  if (status == KL_OK) status = kl_value_finish(writer[0], &err);
  if (status == KL_OK) {
    status = kl_value_finish(writer[1], &err);
    if (status != KL_OK) (void)kl_value_finish(writer[1], NULL); /* it may be finished again, or has been lost */
  }
  if (status == KL_OK) status = kl_txn_get_part(txn, t.id, text("b"), VALUES_SPILL, &byte, 1, &got, &size, &err);
  if (status == KL_OK) assert_int_equal(byte, values_byte(1, VALUES_SPILL));
  if (status == KL_OK) status = kl_txn_get_part(txn, t.id, text("a"), 4999, &byte, 1, &got, &size, &err);
  *out_struck = allocations ? kl_sim_allocations(t.sim) - allocated >= n : kl_sim_operations(t.sim) - operated >= n;
  kl_sim_fail_allocation(t.sim, 0);
  kl_sim_inject(t.sim, KL_SIM_FAULT_NONE, 0);
  if (status != KL_OK && allocations) assert_int_equal(status, KL_E_NO_MEMORY);
  if (status != KL_OK && !allocations)
    assert_true(status == KL_E_IO || status == KL_E_POISONED || status == KL_E_COMMIT_UNKNOWN);
  if (status == KL_OK) assert_int_equal(byte, values_byte(1, 4999));
  kl_value_free(writer[1]);
  kl_value_free(writer[0]);
  if (txn != NULL) kl_txn_release(txn);
  kl_keyspace_release(t.keyspace);
  kl_status closed = kl_db_release(t.db, &err);
  assert_true(closed == KL_OK || closed == KL_E_POISONED); /* a log that could not be written says so */
  assert_int_equal(kl_sim_live_bytes(t.sim), 0);
  kl_sim_free(t.sim);
}

static void test_faults(void **state) {
  (void)state;
  for (int allocations = 0; allocations < 2; allocations++) {
    bool struck = true;
    for (uint64_t n = 1; struck; n++) values_fault(n, allocations == 1, &struck);
  }
}

/* -------- damage -------- */

#define VALUES_COPY "/db/copy.keel"
enum { VALUES_LARGE = 4 }; /* the row that has a table of checksums */

static uint64_t values_find(values_test *t) {
  uint8_t bytes[16], first[16];
  size_t got = 0;
  for (size_t i = 0; i < sizeof first; i++) first[i] = values_byte(VALUES_LARGE, i);
  for (uint64_t at = KL_SUPERBLOCKS * KL_BLOCK_SIZE;; at += KL_BLOCK_SIZE) {
    assert_int_equal(kl_sim_peek(t->sim, VALUES_PATH, at, bytes, sizeof bytes, &got), KL_OK);
    assert_int_equal(got, sizeof bytes);
    if (memcmp(bytes, first, sizeof bytes) == 0) return at;
  }
}

static void values_flip(values_test *t, uint64_t at) {
  uint8_t byte = 0;
  size_t got = 0;
  assert_int_equal(kl_sim_peek(t->sim, VALUES_PATH, at, &byte, 1, &got), KL_OK);
  byte ^= 1;
  assert_int_equal(kl_sim_poke(t->sim, VALUES_PATH, at, &byte, 1), KL_OK);
}

/* A verification, or a salvage to VALUES_COPY, loses so many values, and says which. */
static void values_check_report(values_test *t, bool salvages, bool in_parts, uint64_t lost) {
  kl_error err;
  kl_verify *verify = NULL;
  kl_salvage *salvage = NULL;
  kl_check_report report = {0};
  if (salvages) assert_ok(kl_salvage_begin(t->os, VALUES_PATH, VALUES_COPY, &salvage, &err), &err);
  if (in_parts) salvage->whole_most = 100000;
  if (!salvages) assert_ok(kl_verify_begin(t->db, &verify, &err), &err);
  while (!report.finished) {
    assert_ok(salvages ? kl_salvage_step(salvage, 1 << 20, &err) : kl_verify_step(verify, 1 << 20, &err), &err);
    if (salvages) kl_salvage_report(salvage, &report);
    if (!salvages) kl_verify_report(verify, &report);
  }
  assert_int_equal(report.lost_extents, lost);
  assert_int_equal(report.lost_rows, lost);
  assert_int_equal(report.problems, lost);
  if (lost != 0) {
    const char *text = salvages ? kl_salvage_problem(salvage, 0) : kl_verify_problem(verify, 0);
    assert_non_null(strstr(text, "row-4"));
    assert_non_null(strstr(text, "block"));
  }
  kl_salvage_end(salvage);
  kl_verify_end(verify);
}

static void values_check_copy(values_test *t, bool large) {
  kl_error err;
  char key[16];
  kl_db *db = t->db;
  t->db = db_open(t->os, VALUES_COPY, &(kl_db_options){.cache_size = 8 << 20, .spill_size = VALUES_SPILL});
  kl_keyspace *keyspace = t->keyspace;
  uint32_t id = t->id;
  assert_ok(kl_keyspace_open(kl_db_catalogue(t->db), text("values"), false, &t->keyspace, &err), &err);
  t->id = kl_keyspace_id(t->keyspace);
  kl_txn *txn = begin_read_only(kl_db_txn_manager(t->db));
  for (uint64_t row = 0; row < VALUES_ROWS; row++) {
    kl_slice value;
    if (large || row != VALUES_LARGE) values_check_part(t, txn, row, 0, values_sizes[row] + 1);
    if (!large && row == VALUES_LARGE) {
      assert_int_equal(kl_txn_get(txn, t->id, values_key(row, key), &value, &err), KL_E_NOT_FOUND);
    }
  }
  kl_txn_release(txn);
  values_detach(t);
  t->db = db;
  t->keyspace = keyspace;
  t->id = id;
  assert_ok(kl_os_remove(t->os, VALUES_COPY, &err), &err);
}

/* One bit in a part, in the last one, or in the table: verification and salvage lose that value and no other. */
static void test_damage(void **state) {
  (void)state;
  values_test t;
  kl_rng rng;
  kl_error err;
  kl_rng_init(&rng, test_seed(151));
  values_open(&t, false);
  kl_txn *txn = begin(kl_db_txn_manager(t.db));
  for (uint64_t row = 0; row < VALUES_ROWS; row++) values_put(&t, txn, row, values_sizes[row], &rng);
  (void)commit(txn);
  assert_ok(kl_db_make_checkpoint(t.db, &err), &err);
  uint64_t size = values_sizes[VALUES_LARGE], at = values_find(&t);
  uint64_t table = (size + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE * KL_BLOCK_SIZE;
  const uint64_t bad[] = {UINT64_MAX,     UINT64_MAX, 0,     0,
                          5 * 65536 + 77, size - 1,   table, table + 4 * (size / 65536) + 3};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    bool damaged = bad[i] != UINT64_MAX;
    if (damaged) values_flip(&t, at + bad[i]);
    values_check_report(&t, false, false, damaged);
    values_detach(&t); /* a salvage wants the file alone */
    values_check_report(&t, true, i % 2 == 0, damaged);
    values_attach(&t);
    values_check_copy(&t, !damaged);
    if (damaged) values_flip(&t, at + bad[i]);
  }
  values_check_new(&t, &rng);
  values_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values), cmocka_unit_test(test_values_in_memory),
      cmocka_unit_test(test_misuse), cmocka_unit_test(test_writer_outlives_the_database),
      cmocka_unit_test(test_faults), cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
