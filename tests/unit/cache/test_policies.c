/* The eviction policies alone, against the simulators of policy_reference.c, access for access. */
#include <math.h>
#include <string.h>

#include "cmocka_all.h"
#include "failing_allocator.h"
#include "policy_reference.h"
#include "seed.h"
#include "traces.h"

enum { MOST = 1024 };

/* A cache without pages: as many frames as the capacity. */
typedef struct model {
  kl_policy *policy;
  uint32_t capacity, used, heat_limit;
  uint64_t address[MOST];
  uint32_t node[MOST];
  uint32_t heat[MOST];
  bool taken[MOST], pinned[MOST];
} model;

static uint32_t model_heat(void *context, uint32_t frame, uint64_t address) {
  model *m = context;
  assert_int_equal(m->address[frame], address);
  return m->heat[frame];
}
static void model_set_heat(void *context, uint32_t frame, uint64_t address, uint32_t heat) {
  model *m = context;
  assert_int_equal(m->address[frame], address);
  m->heat[frame] = heat;
}
static bool model_held(void *context, uint32_t frame) {
  return ((model *)context)->pinned[frame];
}

static void model_open(model *m, kl_allocator *allocator, kl_policy_kind kind, uint32_t capacity) {
  memset(m, 0, sizeof *m);
  m->capacity = capacity;
  kl_policy_host host = {m, model_heat, model_set_heat, model_held};
  assert_int_equal(kl_policy_new(allocator, kind, &host, capacity, &m->policy, NULL), KL_OK);
  assert_true(kl_policy_reserve(m->policy, capacity));
  m->heat_limit = kl_policy_heat_limit(m->policy);
}

static uint32_t model_find(const model *m, uint64_t address) {
  uint32_t frame = 0;
  while (frame < m->capacity && !(m->taken[frame] && m->address[frame] == address)) frame++;
  return frame;
}

static bool model_access(model *m, uint64_t address, bool scan) {
  uint32_t frame = model_find(m, address);
  if (frame < m->capacity) {
    if (scan) return true;
    if (m->heat_limit == 0) {
      kl_policy_hit(m->policy, m->node[frame]);
    } else if (m->heat[frame] < m->heat_limit) {
      m->heat[frame]++;
    }
    return true;
  }
  kl_policy_prepare(m->policy, address);
  if (m->used == m->capacity) {
    assert_true(kl_policy_evict(m->policy, &frame));
    assert_true(m->taken[frame] && !m->pinned[frame]);
    m->taken[frame] = false;
    m->used--;
  }
  frame = 0;
  while (m->taken[frame]) frame++;
  m->taken[frame] = true;
  m->address[frame] = address;
  m->heat[frame] = 0;
  m->used++;
  m->node[frame] = kl_policy_insert(m->policy, address, frame, 1, scan);
  return false;
}

static void test_hit_for_hit_as_the_papers_say(void **state) {
  (void)state;
  static model m;
  static ref_policy r;
  static const uint32_t capacities[] = {10, 100, 300};
  uint64_t seed = test_seed(81);
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    for (int t = 0; t < TRACE_KINDS; t++) {
      for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
        trace accesses;
        bool scan;
        uint32_t capacity = capacities[c], hits = 0;
        trace_init(&accesses, (trace_kind)t, 10 * capacity, capacity, seed);
        model_open(&m, kl_allocator_libc(), (kl_policy_kind)kind, capacity);
        ref_init(&r, (kl_policy_kind)kind, (int)capacity);
        for (int i = 0; i < 6000; i++) {
          uint64_t page = trace_next(&accesses, &scan);
          bool expected = ref_access(&r, page);
          hits += expected;
          if (model_access(&m, page, false) != expected) {
            fail_msg("seed %llu, %s, %s, capacity %u: access %d of page %llu should %s", (unsigned long long)seed,
                     kl_policy_name((kl_policy_kind)kind), trace_names[t], capacity, i, (unsigned long long)page,
                     expected ? "hit" : "miss");
          }
        }
        assert_true(hits > 0 || t == TRACE_LOOP); /* the trace tells something */
        kl_policy_free(m.policy);
        trace_done(&accesses);
      }
    }
  }
}

/* CACHE-9: a working set of half the cache, used again and again; then one scan of ten times the cache, while a tenth
 * of the accesses go on in the working set. Returns how much of it is left, in parts of 100. */
static uint32_t left_after_scan(model *m, kl_policy_kind kind, bool hint) {
  enum { CAPACITY = 1000, SET = CAPACITY / 2 };
  kl_rng rng;
  kl_rng_init(&rng, 3);
  model_open(m, kl_allocator_libc(), kind, CAPACITY);
  for (int i = 0; i < 40 * SET; i++) {
    /* Some traffic besides, so that the set is told from what is seen once. */
    uint64_t page = kl_rng_below(&rng, 10) == 0 ? 100000 + (uint64_t)i : kl_rng_below(&rng, SET);
    (void)model_access(m, page, false);
  }
  for (uint64_t i = 0; i < 10 * CAPACITY; i++) {
    (void)model_access(m, 1000000 + i, hint);
    if (kl_rng_below(&rng, 10) == 0) (void)model_access(m, kl_rng_below(&rng, SET), false);
  }
  uint32_t left = 0;
  for (uint64_t page = 0; page < SET; page++) left += model_find(m, page) < CAPACITY;
  kl_policy_free(m->policy);
  return left * 100 / SET;
}

static void test_a_scan_does_not_flush_the_working_set(void **state) {
  (void)state;
  static model m;
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    uint32_t hinted = left_after_scan(&m, (kl_policy_kind)kind, true);
    uint32_t plain = left_after_scan(&m, (kl_policy_kind)kind, false);
    print_message("%-8s left of the working set: %3u of 100 with the hint, %3u without\n",
                  kl_policy_name((kl_policy_kind)kind), hinted, plain);
    assert_true(hinted >= 95);
    /* These need no hint. */
    bool resists = kind == KL_POLICY_2Q || kind == KL_POLICY_LRU_K || kind == KL_POLICY_LIRS || kind == KL_POLICY_ARC ||
                   kind == KL_POLICY_S3_FIFO;
    if (resists) assert_true(plain >= 75);
  }
}

/* CACHE-8. */
static void test_with_everything_held_it_ends(void **state) {
  (void)state;
  static model m;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(82));
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    enum { CAPACITY = 200 };
    uint32_t frame;
    model_open(&m, kl_allocator_libc(), (kl_policy_kind)kind, CAPACITY);
    assert_false(kl_policy_evict(m.policy, &frame)); /* none at all */
    for (int i = 0; i < 5000; i++) (void)model_access(&m, kl_rng_below(&rng, 400), kl_rng_below(&rng, 5) == 0);
    for (int i = 0; i < CAPACITY; i++) m.pinned[i] = true;
    for (int i = 0; i < 3; i++) assert_false(kl_policy_evict(m.policy, &frame));
    for (uint32_t one = 0; one < CAPACITY; one += 7) {
      m.pinned[one] = false; /* the only one that can go */
      assert_true(kl_policy_evict(m.policy, &frame));
      assert_int_equal(frame, one);
      m.node[one] = kl_policy_insert(m.policy, 100000 + one, one, 1, false);
      m.address[one] = 100000 + one;
      m.pinned[one] = true;
    }
    kl_policy_free(m.policy);
  }
}

/* Anything in any order, pages of different weights, against a count of what must be there. */
static void test_any_order_of_calls(void **state) {
  (void)state;
  static model m;
  uint64_t seed = test_seed(83);
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    enum { CAPACITY = 150 };
    kl_rng rng;
    kl_rng_init(&rng, seed + (uint64_t)kind);
    model_open(&m, kl_allocator_libc(), (kl_policy_kind)kind, 600);
    m.capacity = CAPACITY;
    for (int i = 0; i < 30000; i++) {
      uint64_t page = kl_rng_below(&rng, 400);
      uint32_t frame = model_find(&m, page);
      uint64_t what = kl_rng_below(&rng, 100);
      if (what < 3 && frame < CAPACITY) {
        kl_policy_remove(m.policy, m.node[frame]);
        m.taken[frame] = false;
        m.pinned[frame] = false;
        m.used--;
      } else if (what < 6) {
        kl_policy_set_capacity(m.policy, 200 + kl_rng_below(&rng, 600));
      } else if (what < 16 && frame < CAPACITY) {
        m.pinned[frame] = !m.pinned[frame];
      } else if (what < 40 && frame == CAPACITY && m.used < CAPACITY) {
        kl_policy_prepare(m.policy, page);
        for (frame = 0; m.taken[frame];) frame++;
        m.taken[frame] = true;
        m.address[frame] = page;
        m.heat[frame] = 0;
        m.used++;
        m.node[frame] = kl_policy_insert(m.policy, page, frame, 1 + (uint32_t)kl_rng_below(&rng, 8), what < 20);
      } else if (what < 55) {
        uint32_t free_to_go = 0;
        for (uint32_t f = 0; f < CAPACITY; f++) free_to_go += m.taken[f] && !m.pinned[f];
        bool any = kl_policy_evict(m.policy, &frame);
        if (any != (free_to_go > 0)) fail_msg("seed %llu, kind %d, step %d", (unsigned long long)seed, kind, i);
        if (!any) continue;
        assert_true(m.taken[frame] && !m.pinned[frame]);
        m.taken[frame] = false;
        m.used--;
      } else if (frame < CAPACITY) {
        (void)model_access(&m, page, what < 60);
      }
    }
    for (uint32_t f = 0; f < CAPACITY; f++) m.pinned[f] = false;
    uint32_t frame;
    for (; m.used > 0; m.used--) assert_true(kl_policy_evict(m.policy, &frame));
    assert_false(kl_policy_evict(m.policy, &frame));
    kl_policy_free(m.policy);
  }
}

/* Each allocation fails in turn: reserving says so, and what was reserved can be inserted whatever fails then. */
static void test_each_allocation_fails_once(void **state) {
  (void)state;
  static model m;
  for (int kind = 0; kind < KL_POLICY_KINDS; kind++) {
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
      failing_allocator allocator;
      failing_allocator_init(&allocator);
      memset(&m, 0, sizeof m);
      m.capacity = 700;
      kl_policy_host host = {&m, model_heat, model_set_heat, model_held};
      failing_allocator_arm(&allocator, n);
      kl_status status = kl_policy_new(&allocator.base, (kl_policy_kind)kind, &host, m.capacity, &m.policy, NULL);
      if (status != KL_OK) {
        assert_int_equal(status, KL_E_NO_MEMORY);
        assert_int_equal(kl_policy_new(&allocator.base, (kl_policy_kind)kind, &host, m.capacity, &m.policy, NULL),
                         KL_OK);
      }
      if (!kl_policy_reserve(m.policy, m.capacity)) assert_true(kl_policy_reserve(m.policy, m.capacity));
      m.heat_limit = kl_policy_heat_limit(m.policy);
      for (uint64_t i = 0; i < 5000; i++) (void)model_access(&m, i * i % 1999, false);
      failed = atomic_load(&allocator.count) >= atomic_load(&allocator.fail_at);
      kl_policy_free(m.policy);
      assert_int_equal(atomic_load(&allocator.live_bytes), 0);
    }
  }
}

static void test_unknown_policies_are_refused(void **state) {
  (void)state;
  kl_policy_host host = {0};
  kl_policy *policy = NULL;
  assert_int_equal(kl_policy_new(kl_allocator_libc(), KL_POLICY_KINDS, &host, 1, &policy, NULL), KL_E_INVALID);
  assert_string_equal(kl_policy_name(KL_POLICY_KINDS), "unknown");
  assert_string_equal(kl_policy_name(KL_POLICY_SIEVE), "sieve");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hit_for_hit_as_the_papers_say),
      cmocka_unit_test(test_a_scan_does_not_flush_the_working_set),
      cmocka_unit_test(test_with_everything_held_it_ends),
      cmocka_unit_test(test_any_order_of_calls),
      cmocka_unit_test(test_each_allocation_fails_once),
      cmocka_unit_test(test_unknown_policies_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
