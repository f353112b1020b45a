/* Each allocation of each insertion fails in turn (DELTA-10).
 *
 * The delta's sources are compiled into this program with the arena's allocation redefined, because an arena asks its
 * allocator only once in a while: here an insertion is tried again and again, with its first, second, ... allocation
 * failing, until it needs no more of them than were allowed. */
#include "core/base/arena.h"
#include "delta_testing.h"

static uint64_t memory_allowed = UINT64_MAX; /* allocations until one fails */

static void *memory_alloc(kl_shared_arena *arena, uint32_t hint, size_t size, size_t align) {
  if (memory_allowed == 0) return NULL;
  memory_allowed--;
  return kl_shared_arena_alloc(arena, hint, size, align);
}
#define kl_shared_arena_alloc memory_alloc

#include "core/delta/cursor.c"
#include "core/delta/delta.c"
#include "core/delta/node.c"
#include "core/delta/tree_insert.c"
#include "core/delta/tree_many.c"
#include "core/delta/tree_read.c"
#include "core/delta/version.c"

/* All keys of the keyspace in order, both ways. */
static void memory_scan(kl_delta *delta, uint64_t keys) {
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, delta, 9, UINT64_MAX);
  uint64_t met = 0;
  kl_slice last = {NULL, 0};
  for (kl_delta_cursor_first(&cursor); cursor.valid; kl_delta_cursor_next(&cursor), met++) {
    assert_true(met == 0 || kl_slice_compare(last, cursor.key) < 0);
    last = cursor.key;
  }
  assert_int_equal(met, keys);
  for (kl_delta_cursor_last(&cursor); cursor.valid; kl_delta_cursor_prev(&cursor)) met--;
  assert_int_equal(met, 0);
}

/* Returns how many times the insertion failed. */
static uint64_t memory_insert(kl_delta *delta, kl_slice key, uint64_t ts, uint64_t keys) {
  kl_version version = testing_put(ts, testing_text("value")), got;
  for (uint64_t failures = 0;; failures++) {
    memory_allowed = failures;
    kl_error err = {0};
    kl_status status = kl_delta_insert(delta, 9, key, &version, &err);
    memory_allowed = UINT64_MAX;
    if (status == KL_OK) {
      assert_true(kl_delta_get(delta, 9, key, ts, &got) && got.ts == ts);
      return failures;
    }
    assert_int_equal(status, KL_E_NO_MEMORY);
    assert_int_equal(err.code, KL_E_NO_MEMORY);
    kl_delta_stats stats;
    kl_delta_get_stats(delta, &stats);
    assert_int_equal(stats.keys, keys);
    assert_true(!kl_delta_get(delta, 9, key, ts, &got) || got.ts != ts);
    if (failures > 1) memory_scan(delta, keys); /* more than the entry: nodes were to change */
  }
}

static void memory_run(bool sequential, const char *prefix) {
  kl_delta *delta = NULL;
  assert_int_equal(kl_delta_new(kl_allocator_libc(), &delta, NULL), KL_OK);
  uint64_t most = 0;
  for (uint64_t i = 0; i < 12000; i++) {
    char key[64];
    uint64_t n = sequential ? i : kl_mix64(i) % 1000000 * 100000 + i;
    snprintf(key, sizeof key, "%s%012llu", prefix, (unsigned long long)n);
    uint64_t failures = memory_insert(delta, testing_text(key), 1, i);
    if (failures > most) most = failures;
    if (i % 16 == 0) assert_int_equal(memory_insert(delta, testing_text(key), 2, i + 1), 1); /* a version: one block */
  }
  memory_scan(delta, 12000);
  assert_true(most >= 4); /* splits on two levels at once were among them */
  kl_delta_unref(delta);
}

static void test_each_allocation(void **state) {
  (void)state;
  memory_run(true, "");
  memory_run(true, "some/longer/prefix/");
  memory_run(false, "");
  memory_run(false, "some/longer/prefix/");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation)};
  return cmocka_run_group_tests_name("delta memory", tests, NULL, NULL);
}
