/* The arena of one thread: blocks do not overlap, are zeroed and aligned, and every byte comes back. */
#include <inttypes.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/arena.h"
#include "core/base/rng.h"
#include "failing_allocator.h"
#include "seed.h"

enum { BLOCKS = 3000 };

/* Fills each block with its own byte and checks all of them at the end: an overlap shows as a foreign byte. */
static void fill_and_check(kl_arena *arena, kl_rng *rng) {
  static uint8_t *blocks[BLOCKS];
  static size_t sizes[BLOCKS];
  for (int i = 0; i < BLOCKS; i++) {
    sizes[i] = (size_t)kl_rng_below(rng, kl_rng_below(rng, 50) == 0 ? 400000 : 200);
    size_t align = (size_t)1 << kl_rng_below(rng, 7);
    blocks[i] = kl_arena_alloc(arena, sizes[i], align);
    assert_non_null(blocks[i]);
    assert_int_equal((uintptr_t)blocks[i] & (align - 1), 0);
    for (size_t j = 0; j < sizes[i]; j++) {
      if (blocks[i][j] != 0) fail_msg("byte %zu of block %d is not zero", j, i);
    }
    memset(blocks[i], (i % 255) + 1, sizes[i]);
  }
  for (int i = 0; i < BLOCKS; i++) {
    for (size_t j = 0; j < sizes[i]; j++) {
      if (blocks[i][j] != (i % 255) + 1) fail_msg("block %d was overwritten", i);
    }
  }
}

static void test_blocks_are_apart_zeroed_and_aligned(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  kl_arena arena;
  kl_arena_init(&arena, &a.base);
  kl_rng rng;
  kl_rng_init(&rng, test_seed(11));
  for (int round = 0; round < 3; round++) {
    fill_and_check(&arena, &rng);
    assert_int_equal(arena.bytes_reserved, a.live_bytes);
    kl_arena_reset(&arena); /* what it keeps must be zero again in the next round */
    assert_int_equal(arena.bytes_reserved, a.live_bytes);
    assert_true(a.live_bytes <= 256 * 1024);
  }
  kl_arena_destroy(&arena);
  assert_int_equal(a.live_bytes, 0);
  assert_int_equal(arena.bytes_reserved, 0);
}

static void test_a_large_block_leaves_the_room_of_the_newest_chunk(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  kl_arena arena;
  kl_arena_init(&arena, &a.base);
  assert_non_null(kl_arena_alloc(&arena, 8, 8));
  uint64_t allocations = a.count;
  assert_non_null(kl_arena_alloc(&arena, 1024 * 1024, 64));
  assert_int_equal(a.count, allocations + 1);
  assert_non_null(kl_arena_alloc(&arena, 8, 8));
  assert_int_equal(a.count, allocations + 1);
  kl_arena_destroy(&arena);
  /* A large block as the first one, and resetting drops it. */
  assert_non_null(kl_arena_alloc(&arena, 1024 * 1024, 64));
  kl_arena_reset(&arena);
  assert_int_equal(a.live_bytes, 0);
  assert_non_null(kl_arena_alloc(&arena, 1, 1));
  kl_arena_destroy(&arena);
  assert_int_equal(a.live_bytes, 0);
}

static void test_no_memory_changes_nothing(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  kl_arena arena;
  kl_arena_init(&arena, &a.base);
  static const size_t sizes[] = {1, 5000, 1024 * 1024};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint64_t before = a.live_bytes;
    failing_allocator_arm(&a, 1);
    assert_null(kl_arena_alloc(&arena, sizes[i], 16));
    assert_int_equal(a.live_bytes, before);
    assert_int_equal(arena.bytes_reserved, before);
    assert_non_null(kl_arena_alloc(&arena, sizes[i], 16));
  }
  assert_null(kl_arena_alloc(&arena, SIZE_MAX, 1));
  assert_null(kl_arena_alloc(&arena, SIZE_MAX - 64, 64));
  kl_arena_destroy(&arena);
  assert_int_equal(a.live_bytes, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks_are_apart_zeroed_and_aligned),
      cmocka_unit_test(test_a_large_block_leaves_the_room_of_the_newest_chunk),
      cmocka_unit_test(test_no_memory_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
