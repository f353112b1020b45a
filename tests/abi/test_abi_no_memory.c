/* tests/abi/test_abi_no_memory.c: a small program through the ABI, run once for each allocation that it makes, with that one
 * failing: KEEL_E_NO_MEMORY and nothing else, nothing lost, and the same call works when it is made again.
 *
 * The library's calls of the C library's allocator are replaced by the linker (--wrap). */
#include <stdatomic.h>
#include <stdbool.h>

#include "abi_support.h"

void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

static _Atomic(uint64_t) allocations, fail_at; /* counted from 1; 0: none fails */

static bool must_fail(void) {
  return atomic_fetch_add(&allocations, 1) + 1 == atomic_load(&fail_at);
}

void *__wrap_calloc(size_t count, size_t size) {
  return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size) {
  return must_fail() ? NULL : __real_aligned_alloc(align, size);
}

/* Makes a call; when it had no memory, makes it again, which must work. Anything else fails the test. */
#define STEP(call)                                                                                     \
  do {                                                                                                 \
    keel_error error = {0, 0, ""};                                                                     \
    keel_status step_status = (call);                                                                  \
    if (step_status == KEEL_E_NO_MEMORY) {                                                             \
      (*refused)++;                                                                                    \
      step_status = (call);                                                                            \
    }                                                                                                  \
    if (step_status != KEEL_OK) {                                                                      \
      fail_msg("allocation %llu failed: %s: %s: %s", (unsigned long long)atomic_load(&fail_at), #call, \
               keel_status_name(step_status), error.message);                                          \
    }                                                                                                  \
  } while (0)

static void read_back(keel_db db, keel_keyspace keyspace, int *refused) {
  keel_txn txn;
  keel_cursor cursor;
  keel_batch batch;
  keel_view view;
  const void *value;
  size_t size;
  uint64_t offsets[] = {0, 3, 6}, whole = 0;
  char buffer[8];
  STEP(keel_begin(db, NULL, &txn, &error));
  STEP(keel_batch_new(&batch, &error));
  STEP(keel_get(txn, keyspace, "one", 3, &value, &size, &error));
  assert_int_equal(size, 1);
  STEP(keel_get_copy(txn, keyspace, "two", 3, buffer, sizeof buffer, &size, &error));
  STEP(keel_get_part(txn, keyspace, "two", 3, 0, buffer, sizeof buffer, &size, &whole, &error));
  STEP(keel_get_view(txn, keyspace, "two", 3, &view, &error));
  STEP(keel_get_many(txn, keyspace, "onetwo", offsets, 2, batch, &error));
  STEP(keel_cursor_open(txn, keyspace, NULL, &cursor, &error));
  STEP(keel_cursor_first(cursor, &error));
  STEP(keel_cursor_next_batch(cursor, 0, 0, batch, &error));
  STEP(keel_keyspace_list(db, batch, &error));
  STEP(keel_cursor_close(cursor, &error));
  STEP(keel_rollback(txn, &error));
  STEP(keel_view_data(view, &value, &size, &error));
  assert_memory_equal(value, "2", 1);
  STEP(keel_view_release(view, &error));
  STEP(keel_batch_free(batch, &error));
}

/* A commit that had no memory has ended its transaction: it is run again from the beginning. */
static void write_rows(keel_db db, keel_keyspace keyspace, int *refused) {
  for (;;) {
    keel_txn txn;
    uint64_t count;
    STEP(keel_begin(db, NULL, &txn, &error));
    STEP(keel_put(txn, keyspace, "one", 3, "1", 1, &error));
    STEP(keel_put(txn, keyspace, "two", 3, "2", 1, &error));
    STEP(keel_put(txn, keyspace, "xxx", 3, "x", 1, &error));
    keel_value parts;
    STEP(keel_value_begin(txn, keyspace, "two", 3, 1, &parts, &error));
    STEP(keel_value_write(parts, "2", 1, &error));
    STEP(keel_value_finish(parts, &error));
    STEP(keel_value_end(parts, &error));
    STEP(keel_value_begin(txn, keyspace, "never", 5, 20 << 20, &parts, &error));
    STEP(keel_value_write(parts, "2", 1, &error));
    STEP(keel_value_end(parts, &error));
    STEP(keel_write_batch(txn, keyspace, "\2\0\0\0\3\0\0\0\0\0\0\0xxx", 15, &count, &error));
    STEP(keel_del_range(txn, keyspace, "x", 1, NULL, 0, NULL, &error));
    keel_error why;
    keel_status status = keel_commit(txn, NULL, &why);
    if (status == KEEL_OK) return;
    if (status != KEEL_E_NO_MEMORY) fail_msg("commit: %s: %s", keel_status_name(status), why.message);
    EXPECT(KEEL_E_FINISHED, keel_rollback(txn, &error));
    (*refused)++;
  }
}

static void program(const char *path, int *refused) {
  keel_db db;
  keel_keyspace keyspace;
  keel_stats stats = KEEL_STATS_INIT;
  STEP(keel_open(path, NULL, &db, &error));
  STEP(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error));
  write_rows(db, keyspace, refused);
  read_back(db, keyspace, refused);
  STEP(keel_get_stats(db, &stats, &error));
  STEP(keel_flush(db, &error));
  STEP(keel_keyspace_close(keyspace, &error));
  STEP(keel_close(db, &error));
}

/* Runs the program with the n-th allocation failing, for every n until none is left to fail. */
static void fail_each(const char *path) {
  int refused = 0;
  atomic_store(&fail_at, 0);
  program(path, &refused); /* what is made once per process is made here */
  assert_int_equal(refused, 0);
  uint64_t n = 0;
  int hits = 0;
  do {
    n++;
    refused = 0;
    atomic_store(&allocations, 0);
    atomic_store(&fail_at, n);
    program(path, &refused);
    assert_true(refused <= 1);
    hits += refused;
  } while (atomic_load(&allocations) >= n);
  atomic_store(&fail_at, 0);
  print_message("%s: %llu allocations failed in turn, %d calls were refused\n", path, (unsigned long long)n - 1, hits);
  assert_true(hits > 10);
}

static void test_in_memory(void **state) {
  (void)state;
  fail_each(":memory:");
}

static void test_in_a_file(void **state) {
  (void)state;
  folder files;
  folder_make(&files);
  fail_each(folder_file(&files, "memory.keel"));
  folder_remove(&files);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_memory), cmocka_unit_test(test_in_a_file)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
