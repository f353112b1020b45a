/* tests/unit/drain/test_drain_move_faults.c: each allocation, each operation on the file fails in turn, and the power goes at
 * each, while rows move: what the trees show stays, and the move goes on to the same end (DRAIN-10, DRAIN-14 to 16). */
#include "move_testing.h"

typedef enum move_kind { MOVE_TO_KEYSPACE, MOVE_TO_PART, MOVE_HAND_OVER, MOVE_KINDS } move_kind;

enum { FAULT_KEYS = 360 };

static size_t fault_size(uint64_t i) {
  if (i % 60 == 7) return 70000;
  return i % 10 == 3 ? 2000 + i : 60;
}

/* Every `step`th key from `first` on; `put` false: of a tree of deletes. */
static void fault_fill(move_fixture *f, uint32_t keyspace, kl_rng *rng, uint64_t first, uint64_t step, bool put) {
  for (uint64_t i = first; i < FAULT_KEYS; i += step) {
    char key[64];
    int size = snprintf(key, sizeof key, "a-key-that-is-not-the-shortest-of-all-%05u", (unsigned)i);
    move_write(f, keyspace, kl_slice_make(key, (size_t)size), rng, put ? fault_size(i + keyspace) : 0);
  }
}

/* Two parts over a target, or one that is handed over; an older checkpoint is kept. */
static void fault_prepare(move_fixture *f, move_kind kind, bool memory) {
  kl_rng rng;
  bool whole = kind == MOVE_HAND_OVER;
  memset(f, 0, sizeof *f);
  kl_rng_init(&rng, 3);
  drain_db_open(&f->db, 78, 4096, memory, KL_CACHE_LIMIT_MIN);
  f->move = (kl_drain_move){.target = 3, .target_deletes = kind == MOVE_TO_PART ? 1 : 0, .ended_count = 4};
  f->move.part_count = whole ? 1 : 2;
  f->move.final = kind != MOVE_TO_PART;
  f->parts[0] = (kl_drain_part){.puts = 5, .deletes = 2};
  f->parts[1] = (kl_drain_part){.puts = 4, .deletes = 6};
  if (!whole) fault_fill(f, 3, &rng, 0, 2, true);
  if (kind == MOVE_TO_PART) fault_fill(f, 1, &rng, 1, 6, false);
  drain_db_drain(&f->db, NULL);
  drain_db_keep(&f->db);
  fault_fill(f, 5, &rng, 0, 3, true);
  fault_fill(f, 2, &rng, 1, 3, false);
  if (!whole) fault_fill(f, 4, &rng, 0, 4, true);
  if (!whole) fault_fill(f, 6, &rng, 1, 4, false);
  for (uint32_t i = 0; i < 4; i++) {
    static const uint32_t hidden[] = {5, 2, 4, 6};
    f->ended[i] = hidden[i];
    move_announce(f, hidden[i]);
  }
  move_ready(f);
  f->slice_bytes = 1;
}

/* Slices until one fails, or all is done. */
static kl_status fault_run(move_fixture *f, bool *out_complete, kl_error *err) {
  kl_status status = KL_OK;
  *out_complete = false;
  while (status == KL_OK && !*out_complete) {
    kl_roots *roots = NULL;
    status = move_try(f, out_complete, &roots, NULL, err);
    if (status == KL_OK) move_adopt(f, roots);
  }
  return status;
}

/* Whatever happened: the same end. */
static void fault_end(move_fixture *f, bool complete) {
  kl_drain_stats stats = {0};
  move_check(f);
  for (size_t i = 0; i < f->db.kept_count; i++) check_all(f->db.kept[i].roots, &f->db.kept[i].model);
  if (!complete) (void)move_run_all(f, &stats);
  if (complete) move_check_complete(f);
}

static void run_allocations(move_kind kind, bool memory) {
  uint64_t failures = 0;
  for (uint64_t n = 1;; n++) {
    move_fixture f;
    kl_error err = {0};
    bool complete = false;
    fault_prepare(&f, kind, memory);
    uint64_t before = kl_sim_allocations(f.db.sim);
    kl_sim_fail_allocation(f.db.sim, n);
    kl_status status = fault_run(&f, &complete, &err);
    kl_sim_fail_allocation(f.db.sim, 0);
    bool unused = kl_sim_allocations(f.db.sim) - before < n; /* there are not so many */
    if (status != KL_OK) {
      failures++;
      assert_int_equal(status, KL_E_NO_MEMORY);
      assert_true(err.message[0] != '\0');
    }
    fault_end(&f, complete);
    move_close(&f);
    if (unused) break;
  }
  assert_true(failures > 5);
}

static void test_each_allocation_fails(void **state) {
  (void)state;
  for (move_kind kind = 0; kind < MOVE_KINDS; kind++) run_allocations(kind, false);
}

static void test_each_allocation_fails_in_memory(void **state) {
  (void)state;
  run_allocations(MOVE_TO_PART, true);
}

/* A failed write of pages leaves the store usable; a failed sync poisons it, and what is durable is found by opening
 * it again. */
static void run_operations(move_kind kind, uint64_t least) {
  uint64_t struck = 0;
  for (uint64_t n = 1;; n++) {
    move_fixture f;
    kl_error err = {0};
    bool complete = false;
    fault_prepare(&f, kind, false);
    kl_sim_inject(f.db.sim, KL_SIM_FAULT_IO_ERROR, kl_sim_operations(f.db.sim) + n);
    kl_status status = fault_run(&f, &complete, &err);
    bool waits = kl_sim_fault_waits(f.db.sim);
    kl_sim_inject(f.db.sim, KL_SIM_FAULT_NONE, 0);
    if (status != KL_OK) {
      struck++;
      assert_false(waits);
      move_check_view(&f); /* reads go on, poisoned or not */
      status = fault_run(&f, &complete, &err);
      if (status != KL_OK) assert_int_equal(status, KL_E_POISONED);
      drain_db_reopen(&f.db);
      complete = status == KL_OK || !move_is_announced(&f, 5); /* a failed publication may be durable */
    }
    fault_end(&f, complete);
    move_close(&f);
    if (waits) break;
  }
  assert_true(struck >= least);
}

static void test_each_operation_fails(void **state) {
  (void)state;
  for (move_kind kind = 0; kind < MOVE_KINDS; kind++) run_operations(kind, 3);
}

/* The power goes at each operation: what is found afterwards shows the same, and the move goes on. */
static void run_crashes(move_kind kind) {
  uint64_t between = 0, after = 0;
  for (uint64_t n = 1;; n++) {
    move_fixture f;
    bool complete = false;
    fault_prepare(&f, kind, false);
    kl_sim_inject(f.db.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(f.db.sim) + n);
    (void)fault_run(&f, &complete, NULL);
    bool waits = kl_sim_fault_waits(f.db.sim);
    drain_db_detach(&f.db);
    kl_sim_restart(f.db.sim, n);
    kl_store_options options = {0};
    DRAIN_MUST(kl_store_open(f.db.os, DRAIN_PATH, &options, &f.db.store, &must));
    drain_db_attach(&f.db);
    if (complete) assert_false(move_is_announced(&f, 5)); /* it was published, durably */
    complete = !move_is_announced(&f, 5);
    between += !complete;
    after += complete;
    fault_end(&f, complete);
    move_close(&f);
    if (waits) break;
  }
  print_message("kind %d: %llu crashes on the way, %llu behind\n", (int)kind, (unsigned long long)between,
                (unsigned long long)after);
  assert_true(between >= (kind == MOVE_HAND_OVER ? 2U : 10U) && after > 0);
}

static void test_crash_at_each_operation(void **state) {
  (void)state;
  for (move_kind kind = 0; kind < MOVE_KINDS; kind++) run_crashes(kind);
}

/* Whenever it is called off, all is as it was. */
static void test_called_off(void **state) {
  (void)state;
  uint64_t stopped = 0;
  for (uint64_t n = 0; n < 40; n++) {
    move_fixture f;
    fault_prepare(&f, MOVE_TO_PART, false);
    cancelling c = {{cancelling_alloc, cancelling_free, NULL}, f.db.allocator, n, false};
    uint64_t live[2] = {kl_roots_sequence(f.db.roots), kl_roots_sequence(f.db.kept[0].roots)};
    kl_drain_input input = {.pages = f.db.pages,
                            .store = f.db.store,
                            .allocator = &c.base,
                            .known_durable = 5000,
                            .base = f.db.roots,
                            .live = live,
                            .live_count = 2,
                            .cancel = &c.cancel};
    kl_roots *roots = NULL;
    kl_error err = {0};
    bool complete = false;
    kl_status status = kl_drain_move_run(&input, &f.move, &complete, &roots, NULL, &err);
    if (status == KL_OK) {
      move_adopt(&f, roots);
      assert_true(complete);
    } else {
      assert_int_equal(status, KL_E_CLOSED);
      assert_false(complete);
      stopped++;
    }
    fault_end(&f, complete);
    move_close(&f);
  }
  assert_true(stopped > 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_allocation_fails),
      cmocka_unit_test(test_each_allocation_fails_in_memory),
      cmocka_unit_test(test_each_operation_fails),
      cmocka_unit_test(test_crash_at_each_operation),
      cmocka_unit_test(test_called_off),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
