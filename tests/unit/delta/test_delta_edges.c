/* Single cases of the delta: arguments, chains, large values, memory, failing allocations. */
#include "delta_testing.h"

/* An allocator that fails the n-th request and counts what it gave. */
typedef struct failing_allocator {
  kl_allocator base;
  uint64_t calls;
  uint64_t fail_at; /* 0: never */
  uint64_t live_bytes;
} failing_allocator;

static void *failing_alloc(kl_allocator *self, size_t size, size_t align) {
  failing_allocator *a = (failing_allocator *)self;
  if (++a->calls == a->fail_at) return NULL;
  void *memory = kl_alloc_aligned(kl_allocator_libc(), size, align);
  if (memory != NULL) a->live_bytes += size;
  return memory;
}

static void failing_free(kl_allocator *self, void *memory, size_t size) {
  failing_allocator *a = (failing_allocator *)self;
  if (memory != NULL) a->live_bytes -= size;
  kl_free(kl_allocator_libc(), memory, size);
}

static failing_allocator failing_make(void) {
  failing_allocator a = {{failing_alloc, failing_free, NULL}, 0, 0, 0};
  return a;
}

static kl_delta *edges_new(void) {
  kl_delta *delta = NULL;
  assert_int_equal(kl_delta_new(kl_allocator_libc(), &delta, NULL), KL_OK);
  return delta;
}

static void edges_put(kl_delta *delta, const char *key, uint64_t ts, const char *value) {
  kl_version version = testing_put(ts, testing_text(value));
  assert_int_equal(kl_delta_insert(delta, 1, testing_text(key), &version, NULL), KL_OK);
}

static void edges_expect(kl_delta *delta, const char *key, uint64_t read_ts, const char *value) {
  kl_version got;
  bool found = kl_delta_get(delta, 1, testing_text(key), read_ts, &got);
  assert_int_equal(found, value != NULL);
  if (value != NULL) assert_true(kl_slice_equal(got.value, testing_text(value)));
}

static void test_empty(void **state) {
  (void)state;
  kl_delta *delta = edges_new();
  kl_version got;
  assert_false(kl_delta_get(delta, 0, testing_text("a"), UINT64_MAX, &got));
  assert_int_equal(kl_delta_newest_ts(delta, 0, testing_text("a")), 0);
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, delta, 7, UINT64_MAX);
  kl_delta_cursor_next(&cursor); /* a cursor that was never positioned stays where it is: nowhere */
  assert_false(cursor.valid);
  kl_delta_cursor_prev(&cursor);
  assert_false(cursor.valid);
  kl_delta_cursor_first(&cursor);
  assert_false(cursor.valid);
  kl_delta_cursor_last(&cursor);
  assert_false(cursor.valid);
  kl_delta_cursor_seek_ge(&cursor, testing_text(""));
  assert_false(cursor.valid);
  kl_delta_cursor_seek_le(&cursor, testing_text("zzz"));
  assert_false(cursor.valid);
  kl_delta_stats stats;
  kl_delta_get_stats(delta, &stats);
  assert_int_equal(stats.keys, 0);
  assert_int_equal(stats.versions, 0);
  assert_true(stats.bytes > 0 && stats.bytes < 8192);
  kl_delta_unref(delta);
  kl_delta_unref(NULL);
}

static void test_arguments(void **state) {
  (void)state;
  kl_delta *delta = edges_new();
  kl_error err = {0};
  kl_version version = testing_put(0, testing_text("v"));
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("k"), &version, &err), KL_E_INVALID);
  assert_non_null(strstr(err.message, "timestamp"));
  version = testing_put(1, testing_text("v"));
  version.kind = (kl_version_kind)99;
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("k"), &version, &err), KL_E_INVALID);
  version = testing_put(1, kl_slice_make(NULL, 3));
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("k"), &version, &err), KL_E_INVALID);
  version = testing_put(1, kl_slice_make("", (size_t)1 << 31));
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("k"), &version, &err), KL_E_VALUE_SIZE);
  version = testing_put(1, testing_text("v"));
  assert_int_equal(kl_delta_insert(delta, 1, kl_slice_make("", (size_t)1 << 31), &version, &err), KL_E_KEY_SIZE);
  version = testing_put(1, testing_text("v"));
  version.kind = KL_VERSION_DELETE;
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("k"), &version, &err), KL_E_INVALID);
  kl_delta_stats stats;
  kl_delta_get_stats(delta, &stats);
  assert_int_equal(stats.versions, 0);
  kl_delta_unref(delta);
}

static void test_chain(void **state) {
  (void)state;
  kl_delta *delta = edges_new();
  edges_put(delta, "k", 20, "twenty");
  edges_put(delta, "k", 10, "ten"); /* out of order, as replay of several writers may be */
  edges_put(delta, "k", 30, "thirty");
  edges_put(delta, "k", 20, "TWENTY"); /* the later insert of one timestamp wins */
  edges_expect(delta, "k", 9, NULL);
  edges_expect(delta, "k", 10, "ten");
  edges_expect(delta, "k", 19, "ten");
  edges_expect(delta, "k", 20, "TWENTY");
  edges_expect(delta, "k", 29, "TWENTY");
  edges_expect(delta, "k", UINT64_MAX, "thirty");
  kl_version version = testing_delete(25);
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("k"), &version, NULL), KL_OK);
  kl_version got;
  assert_true(kl_delta_get(delta, 1, testing_text("k"), 26, &got));
  assert_int_equal(got.kind, KL_VERSION_DELETE);
  assert_int_equal(got.value.size, 0);
  assert_int_equal(got.ts, 25);
  edges_expect(delta, "k", 30, "thirty");
  assert_int_equal(kl_delta_newest_ts(delta, 1, testing_text("k")), 30);
  kl_delta_stats stats;
  kl_delta_get_stats(delta, &stats);
  assert_int_equal(stats.keys, 1);
  assert_int_equal(stats.versions, 4);
  kl_delta_unref(delta);
}

/* A cursor stands on a key while others are inserted around it and leaves around them. */
static void test_cursor_and_inserts(void **state) {
  (void)state;
  kl_delta *delta = edges_new();
  edges_put(delta, "m", 1, "");
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, delta, 1, 5);
  kl_delta_cursor_seek_ge(&cursor, testing_text("a"));
  assert_true(cursor.valid);
  for (int i = 0; i < 5000; i++) {
    char key[16];
    snprintf(key, sizeof key, "%c%05d", i % 2 == 0 ? 'c' : 'p', i);
    edges_put(delta, key, i % 4 < 2 ? 5 : 6, "v"); /* half of them after the cursor's time */
  }
  assert_true(kl_slice_equal(cursor.key, testing_text("m")));
  kl_delta_cursor before = cursor;
  kl_delta_cursor_prev(&before);
  assert_true(before.valid && kl_slice_equal(before.key, testing_text("c04996")));
  kl_delta_cursor_next(&cursor);
  assert_true(cursor.valid && kl_slice_equal(cursor.key, testing_text("p00001")));
  kl_delta_cursor_next(&cursor);
  assert_true(cursor.valid && kl_slice_equal(cursor.key, testing_text("p00005")));
  kl_delta_unref(delta);
}

static void test_references(void **state) {
  (void)state;
  failing_allocator allocator = failing_make();
  kl_delta *delta = NULL;
  assert_int_equal(kl_delta_new(&allocator.base, &delta, NULL), KL_OK);
  assert_true(allocator.live_bytes < 8192);
  edges_put(delta, "key", 1, "value");
  kl_version got;
  assert_true(kl_delta_get(delta, 1, testing_text("key"), 1, &got));
  kl_delta_ref(delta);
  kl_delta_unref(delta);
  assert_true(kl_slice_equal(got.value, testing_text("value"))); /* still ours */
  kl_delta_stats stats;
  kl_delta_get_stats(delta, &stats);
  assert_int_equal(stats.bytes, allocator.live_bytes);
  kl_delta_unref(delta);
  assert_int_equal(allocator.live_bytes, 0);
}

static void test_large_values(void **state) {
  (void)state;
  kl_delta *delta = edges_new();
  size_t size = (size_t)96 << 20;
  unsigned char *value = malloc(size);
  assert_non_null(value);
  memset(value, 0x5a, size);
  value[0] = 1;
  value[size - 1] = 2;
  kl_version version = testing_put(1, kl_slice_make(value, size));
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("new key"), &version, NULL), KL_OK);
  version.ts = 2;
  assert_int_equal(kl_delta_insert(delta, 1, testing_text("new key"), &version, NULL), KL_OK);
  for (uint64_t ts = 1; ts <= 2; ts++) {
    kl_version got;
    assert_true(kl_delta_get(delta, 1, testing_text("new key"), ts, &got));
    assert_int_equal(got.ts, ts);
    assert_true(kl_slice_equal(got.value, version.value));
  }
  kl_delta_stats stats;
  kl_delta_get_stats(delta, &stats);
  assert_true(stats.bytes >= 2 * size && stats.bytes < 2 * size + (1 << 20));
  free(value);
  kl_delta_unref(delta);
}

/* One program of inserts with the n-th allocation failing, for every n. */
enum { FAILURE_KEYS = 700 };

static void failure_key(int i, char *key, size_t size) {
  snprintf(key, size, "shared/prefix/%06u", (unsigned)(i * 7919) % 65536);
}

static void test_allocation_failures(void **state) {
  (void)state;
  failing_allocator allocator = failing_make();
  uint64_t total = 0;
  for (uint64_t fail_at = 0; fail_at <= total; fail_at++) {
    allocator.calls = 0;
    allocator.fail_at = fail_at;
    kl_delta *delta = NULL;
    kl_error err = {0};
    kl_status status = kl_delta_new(&allocator.base, &delta, &err);
    if (status != KL_OK) {
      assert_int_equal(status, KL_E_NO_MEMORY);
      assert_int_equal(allocator.live_bytes, 0);
      continue;
    }
    int failed = 0;
    for (int i = 0; i < FAILURE_KEYS; i++) {
      char key[32];
      failure_key(i, key, sizeof key);
      unsigned char value[400];
      memset(value, i, sizeof value);
      kl_version version = testing_put((uint64_t)i + 1, kl_slice_make(value, sizeof value));
      uint32_t keyspace = (uint32_t)i % 3;
      kl_delta_stats before, after;
      kl_delta_get_stats(delta, &before);
      status = kl_delta_insert(delta, keyspace, testing_text(key), &version, &err);
      if (status == KL_OK) continue;
      assert_int_equal(status, KL_E_NO_MEMORY);
      failed++;
      kl_delta_get_stats(delta, &after);
      assert_int_equal(before.keys, after.keys);
      assert_int_equal(before.versions, after.versions);
      kl_version got;
      assert_false(kl_delta_get(delta, keyspace, testing_text(key), UINT64_MAX, &got));
      assert_int_equal(kl_delta_insert(delta, keyspace, testing_text(key), &version, &err), KL_OK); /* and again */
    }
    assert_int_equal(failed, fail_at == 0 ? 0 : 1);
    for (uint32_t keyspace = 0; keyspace < 3; keyspace++) {
      kl_delta_cursor cursor;
      kl_delta_cursor_init(&cursor, delta, keyspace, UINT64_MAX);
      int seen = 0;
      for (kl_delta_cursor_first(&cursor); cursor.valid; kl_delta_cursor_next(&cursor)) seen++;
      assert_int_equal(seen, (FAILURE_KEYS + 2 - (int)keyspace) / 3);
    }
    if (fail_at == 0) total = allocator.calls;
    kl_delta_unref(delta);
    assert_int_equal(allocator.live_bytes, 0);
  }
  assert_true(total > 8);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_empty),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_chain),
      cmocka_unit_test(test_cursor_and_inserts),
      cmocka_unit_test(test_references),
      cmocka_unit_test(test_large_values),
      cmocka_unit_test(test_allocation_failures),
  };
  return cmocka_run_group_tests_name("delta edges", tests, NULL, NULL);
}
