/* tests/unit/txn/test_write_set.c: the ordered write set against a sorted array, and its failures. */
#include <stdlib.h>

#include "core/base/rng.h"
#include "core/txn/write_set.h"
#include "core/wal/commit_record.h"
#include "failing_allocator.h"
#include "seed.h"
#include "txn_testing.h"

enum { MANY = 20000 };

static kl_slice number_key(uint64_t n, uint8_t out[12]) {
  (void)snprintf((char *)out, 12, "%08x", (unsigned)n);
  return kl_slice_make(out, 8);
}

static void assert_write(kl_write_set *set, uint32_t keyspace, kl_slice key, kl_version_kind kind, kl_slice value) {
  kl_error err;
  assert_ok(kl_write_set_write(set, keyspace, key, kind, value, &err), &err);
}

/* Walks the tree both ways and checks order, count and the recorded sizes. */
static void check_tree(const kl_write_set *set, const kl_write_tree *tree) {
  uint64_t count = 0;
  kl_write_position at, back;
  kl_slice previous = {NULL, 0};
  kl_write_tree_first(tree, &at);
  for (; at.entry != NULL; kl_write_position_next(&at)) {
    kl_slice key = kl_write_entry_key(at.entry);
    if (count != 0) assert_true(kl_slice_compare(previous, key) < 0);
    previous = key;
    count++;
    assert_ptr_equal(kl_write_tree_find(tree, key), at.entry);
  }
  assert_int_equal(count, tree->count);
  kl_write_tree_last(tree, &back);
  for (; back.entry != NULL; kl_write_position_prev(&back)) count--;
  assert_int_equal(count, 0);
  assert_ptr_equal(kl_write_set_tree(set, tree->keyspace), tree);
}

static void check_sizes(const kl_write_set *set) {
  uint64_t encoded = 0, payload = 0, count = 0;
  for (uint32_t i = 0; i < set->tree_count; i++) {
    if (i != 0) assert_true(set->trees[i - 1]->keyspace < set->trees[i]->keyspace);
    check_tree(set, set->trees[i]);
    kl_write_position at;
    kl_write_tree_first(set->trees[i], &at);
    for (; at.entry != NULL; kl_write_position_next(&at)) {
      kl_op op = {set->trees[i]->keyspace, at.entry->kind == KL_VERSION_PUT ? KL_OP_PUT : KL_OP_DELETE,
                  kl_write_entry_key(at.entry), kl_write_entry_value(at.entry)};
      encoded += kl_op_encoded_size(&op);
      payload += op.key.size + op.value.size;
      count++;
    }
  }
  assert_int_equal(encoded, set->encoded_bytes);
  assert_int_equal(payload, set->payload_bytes);
  assert_int_equal(count, set->count);
}

/* Ascending, descending and random orders; every key is found, every seek lands where the order says. */
static void run_order(uint64_t seed, int order) {
  kl_write_set set;
  kl_write_set_init(&set, kl_allocator_libc());
  kl_rng rng;
  kl_rng_init(&rng, seed);
  uint32_t *numbers = calloc(MANY, sizeof *numbers);
  assert_non_null(numbers);
  for (uint32_t i = 0; i < MANY; i++) numbers[i] = order == 1 ? MANY - 1 - i : i;
  for (uint32_t i = MANY - 1; order == 2 && i > 0; i--) {
    uint32_t j = (uint32_t)kl_rng_below(&rng, i + 1), x = numbers[i];
    numbers[i] = numbers[j];
    numbers[j] = x;
  }
  uint8_t bytes[12];
  for (uint32_t i = 0; i < MANY; i++) { /* only even numbers are keys */
    assert_write(&set, 9, number_key(2 * (uint64_t)numbers[i], bytes), KL_VERSION_PUT, text("v"));
  }
  free(numbers);
  const kl_write_tree *tree = kl_write_set_tree(&set, 9);
  assert_non_null(tree);
  assert_int_equal(tree->count, MANY);
  check_sizes(&set);
  for (uint32_t i = 0; i < 2 * MANY; i++) {
    uint8_t wanted[12];
    kl_slice key = number_key(i, bytes);
    kl_write_position ge, le;
    kl_write_tree_seek_ge(tree, key, &ge);
    kl_write_tree_seek_le(tree, key, &le);
    bool even = i % 2 == 0;
    assert_true((kl_write_tree_find(tree, key) != NULL) == even);
    assert_true(kl_slice_equal(kl_write_entry_key(le.entry), number_key(even ? i : i - 1, wanted)));
    if (i == 2 * MANY - 1) {
      assert_null(ge.entry);
    } else {
      assert_true(kl_slice_equal(kl_write_entry_key(ge.entry), number_key(even ? i : i + 1, wanted)));
    }
  }
  kl_write_set_destroy(&set);
}

static void test_orders(void **state) {
  (void)state;
  for (int order = 0; order < 3; order++) run_order(test_seed(11), order);
}

/* Ascending puts fill the leaves: that is what makes them cheap in memory. */
static void test_ascending_puts_are_dense(void **state) {
  (void)state;
  kl_write_set set;
  kl_write_set_init(&set, kl_allocator_libc());
  uint8_t bytes[12];
  for (uint32_t i = 0; i < MANY; i++) assert_write(&set, 1, number_key(i, bytes), KL_VERSION_PUT, text(""));
  /* An entry takes 32 bytes here and a slot 16; half-full leaves would make 64 of them. */
  assert_true(set.arena.bytes_reserved < (size_t)MANY * 60);
  kl_write_set_destroy(&set);
}

static void test_overwrites(void **state) {
  (void)state;
  kl_write_set set;
  kl_write_set_init(&set, kl_allocator_libc());
  kl_rng rng;
  kl_rng_init(&rng, test_seed(12));
  static uint8_t noise[300];
  kl_rng_fill(&rng, noise, sizeof noise);
  struct {
    bool written, deleted;
    size_t from, size;
  } model[3][64] = {0};
  for (int i = 0; i < 20000; i++) {
    uint32_t space = (uint32_t)kl_rng_below(&rng, 3);
    uint64_t n = kl_rng_below(&rng, 64);
    uint8_t bytes[12];
    bool deleting = kl_rng_below(&rng, 4) == 0;
    size_t from = (size_t)kl_rng_below(&rng, 100), size = deleting ? 0 : (size_t)kl_rng_below(&rng, 200);
    assert_write(&set, space * 7, number_key(n, bytes), deleting ? KL_VERSION_DELETE : KL_VERSION_PUT,
                 kl_slice_make(noise + from, size));
    model[space][n].written = true;
    model[space][n].deleted = deleting;
    model[space][n].from = from;
    model[space][n].size = size;
  }
  check_sizes(&set);
  for (uint32_t space = 0; space < 3; space++) {
    const kl_write_tree *tree = kl_write_set_tree(&set, space * 7);
    for (uint64_t n = 0; n < 64; n++) {
      uint8_t bytes[12];
      const kl_write_entry *entry = kl_write_tree_find(tree, number_key(n, bytes));
      assert_true((entry != NULL) == model[space][n].written);
      if (entry == NULL) continue;
      assert_int_equal(entry->kind, model[space][n].deleted ? KL_VERSION_DELETE : KL_VERSION_PUT);
      assert_true(kl_slice_equal(kl_write_entry_value(entry),
                                 kl_slice_make(noise + model[space][n].from, model[space][n].size)));
    }
  }
  assert_null(kl_write_set_tree(&set, 3));
  kl_write_set_destroy(&set);
}

/* A value that is borrowed from the set may be written back, to the same key or another. */
static void test_borrowed_values(void **state) {
  (void)state;
  kl_write_set set;
  kl_write_set_init(&set, kl_allocator_libc());
  assert_write(&set, 1, text("a"), KL_VERSION_PUT, text("0123456789"));
  const kl_write_entry *a = kl_write_tree_find(kl_write_set_tree(&set, 1), text("a"));
  assert_write(&set, 1, text("b"), KL_VERSION_PUT, kl_write_entry_value(a));
  assert_write(&set, 1, text("a"), KL_VERSION_PUT, kl_slice_make(a->value + 3, 5)); /* overlaps where it goes */
  assert_slice(kl_write_entry_value(a), "34567");
  assert_slice(kl_write_entry_value(kl_write_tree_find(kl_write_set_tree(&set, 1), text("b"))), "0123456789");
  kl_write_set_reset(&set);
  assert_null(kl_write_set_tree(&set, 1));
  assert_write(&set, 1, text("a"), KL_VERSION_PUT, text("again"));
  check_sizes(&set);
  kl_write_set_destroy(&set);
}

/* Every allocation fails in turn: the write reports it, and the set goes on as if it had not been tried. */
static void test_no_memory(void **state) {
  (void)state;
  failing_allocator failing;
  failing_allocator_init(&failing);
  uint64_t failures = 0;
  for (uint64_t n = 1;; n++) {
    kl_write_set set;
    kl_write_set_init(&set, &failing.base);
    failing_allocator_arm(&failing, n);
    uint64_t failed = 0;
    uint8_t bytes[12], large[2000] = {0};
    for (uint32_t i = 0; i < 3000; i++) {
      kl_slice key = number_key((i * 7919U) % 3000U, bytes);
      kl_slice value = i % 10 == 0 ? kl_slice_make(large, sizeof large) : text("x");
      kl_error err;
      kl_status status = kl_write_set_write(&set, i % 5, key, KL_VERSION_PUT, value, &err);
      if (status != KL_OK) {
        assert_int_equal(status, KL_E_NO_MEMORY);
        failed++;
        assert_write(&set, i % 5, key, KL_VERSION_PUT, value); /* only one allocation fails */
      }
    }
    check_sizes(&set);
    assert_int_equal(set.count, 3000);
    kl_write_set_destroy(&set);
    assert_int_equal(atomic_load(&failing.live_bytes), 0);
    failures += failed;
    if (failed == 0) break;
  }
  assert_true(failures > 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_orders), cmocka_unit_test(test_ascending_puts_are_dense),
                                     cmocka_unit_test(test_overwrites), cmocka_unit_test(test_borrowed_values),
                                     cmocka_unit_test(test_no_memory)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
