/* The shared arena, by one thread and by several on the same shards at once (BASE-ARENA-1: a block belongs to one). */
#include <pthread.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/arena.h"
#include "core/base/rng.h"
#include "failing_allocator.h"
#include "seed.h"

enum { THREADS = 4, BLOCKS = 6000 };

typedef struct worker {
  pthread_t thread;
  kl_shared_arena *arena;
  kl_rng rng;
  uint8_t mark;
  int wrong; /* blocks found foreign, misaligned or not zero */
  int refused;
  uint8_t *blocks[BLOCKS];
  size_t sizes[BLOCKS];
} worker;

static size_t pick_size(kl_rng *rng) {
  switch (kl_rng_below(rng, 100)) {
    case 0:
      return (size_t)kl_rng_below(rng, 600000); /* chunks of its own included */
    case 1:
      return (size_t)kl_rng_below(rng, 20000);
    default:
      return (size_t)kl_rng_below(rng, 150);
  }
}

static void *run_worker(void *context) {
  worker *w = context;
  for (int i = 0; i < BLOCKS; i++) {
    w->sizes[i] = pick_size(&w->rng);
    size_t align = (size_t)1 << kl_rng_below(&w->rng, 7);
    uint8_t *p = kl_shared_arena_alloc(w->arena, (uint32_t)kl_rng_below(&w->rng, 2), w->sizes[i], align);
    w->blocks[i] = p;
    if (p == NULL) {
      w->refused++;
      continue;
    }
    if (((uintptr_t)p & (align - 1)) != 0) w->wrong++;
    for (size_t j = 0; j < w->sizes[i]; j++) {
      if (p[j] != 0) {
        w->wrong++;
        break;
      }
    }
    memset(p, w->mark, w->sizes[i]);
  }
  for (int i = 0; i < BLOCKS; i++) {
    for (size_t j = 0; w->blocks[i] != NULL && j < w->sizes[i]; j++) {
      if (w->blocks[i][j] != w->mark) {
        w->wrong++;
        break;
      }
    }
  }
  return NULL;
}

static void run_workers(failing_allocator *a, int threads, int expect_refusals) {
  kl_shared_arena *arena = NULL;
  assert_int_equal(kl_shared_arena_new(&a->base, &arena, NULL), KL_OK);
  static worker workers[THREADS];
  uint64_t seed = test_seed(21);
  for (int i = 0; i < threads; i++) {
    memset(&workers[i], 0, sizeof workers[i]);
    workers[i].arena = arena;
    workers[i].mark = (uint8_t)(i + 1);
    kl_rng_init(&workers[i].rng, seed + (uint64_t)i);
    assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
  }
  int refused = 0;
  for (int i = 0; i < threads; i++) {
    assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    assert_int_equal(workers[i].wrong, 0);
    refused += workers[i].refused;
  }
  assert_int_equal(refused != 0, expect_refusals);
  assert_int_equal(kl_shared_arena_bytes(arena), a->live_bytes);
  kl_shared_arena_free(arena);
  assert_int_equal(a->live_bytes, 0);
}

static void test_one_thread(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  run_workers(&a, 1, 0);
}

static void test_many_threads_share_two_shards(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  run_workers(&a, THREADS, 0);
}

static void test_a_refused_chunk_fails_one_request_only(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  failing_allocator_arm(&a, 5);
  run_workers(&a, 1, 1);
}

static void test_it_starts_small_and_refuses_absurd_sizes(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  kl_shared_arena *arena = NULL;
  failing_allocator_arm(&a, 1);
  kl_error err = {0};
  assert_int_equal(kl_shared_arena_new(&a.base, &arena, &err), KL_E_NO_MEMORY);
  assert_int_equal(err.code, KL_E_NO_MEMORY);
  assert_null(arena);
  assert_int_equal(kl_shared_arena_new(&a.base, &arena, NULL), KL_OK);
  assert_true(kl_shared_arena_bytes(arena) < 1024);
  assert_null(kl_shared_arena_alloc(arena, 0, SIZE_MAX, 1));
  assert_null(kl_shared_arena_alloc(arena, 0, SIZE_MAX / 2, 64));
  assert_non_null(kl_shared_arena_alloc(arena, 0, 1, 1));
  assert_true(kl_shared_arena_bytes(arena) < 8192);
  kl_shared_arena_free(arena);
  kl_shared_arena_free(NULL);
  assert_int_equal(a.live_bytes, 0);
}

static void *give_used(kl_allocator *self, size_t size, size_t align) {
  void *memory = self->alloc(self, size, align);
  if (memory != NULL) memset(memory, 0xa5, size);
  return memory;
}

/* Chunks that were somebody's before: blocks are zeroed all the same, at every size and alignment. */
static void test_used_chunks_are_cleared(void **state) {
  (void)state;
  failing_allocator allocator;
  kl_error err;
  static worker w;
  failing_allocator_init(&allocator);
  allocator.base.reuse = give_used;
  assert_int_equal(kl_shared_arena_new(&allocator.base, &w.arena, &err), KL_OK);
  kl_rng_init(&w.rng, test_seed(44));
  w.mark = 9;
  (void)run_worker(&w);
  assert_int_equal(w.wrong, 0);
  assert_int_equal(w.refused, 0);
  kl_shared_arena_free(w.arena);
  assert_int_equal(atomic_load(&allocator.live_bytes), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_thread),
      cmocka_unit_test(test_many_threads_share_two_shards),
      cmocka_unit_test(test_a_refused_chunk_fails_one_request_only),
      cmocka_unit_test(test_it_starts_small_and_refuses_absurd_sizes),
      cmocka_unit_test(test_used_chunks_are_cleared),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
