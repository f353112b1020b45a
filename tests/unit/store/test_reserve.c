/* tests/unit/store/test_reserve.c: reserved blocks: STORE-14 and STORE-15. Crashes, faults and random mixtures with
 * checkpoints are in test_space and test_space_faults. */
#include <stdatomic.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/rng.h"
#include "core/os/sim/sim.h"
#include "core/os/thread.h"
#include "core/store/store.h"
#include "seed.h"

#define RESERVE_PATH "/db/reserve.keel"
#define RESERVE_MIB (UINT64_C(1) << 20)

typedef struct reserve_test {
  kl_sim *sim;
  kl_store *store;
} reserve_test;

static void reserve_open(reserve_test *t, bool create) {
  kl_error err = {0};
  kl_store_options options = {0};
  if (create) assert_int_equal(kl_sim_new(7, &t->sim, NULL), KL_OK);
  kl_status status = create ? kl_store_create(kl_sim_os(t->sim), RESERVE_PATH, &options, &t->store, &err)
                            : kl_store_open(kl_sim_os(t->sim), RESERVE_PATH, &options, &t->store, &err);
  if (status != KL_OK) fail_msg("%s", err.message);
}

static void reserve_close(reserve_test *t) {
  kl_store_close(t->store);
  assert_int_equal(kl_sim_live_bytes(t->sim), 0);
  kl_sim_free(t->sim);
}

static kl_store_space reserve_numbers(const reserve_test *t) {
  kl_store_space space;
  kl_store_get_space(t->store, &space);
  return space;
}

static uint64_t reserve_some(const reserve_test *t, uint64_t bytes) {
  kl_error err = {0};
  uint64_t address = 0;
  if (kl_store_reserve(t->store, bytes, &address, &err) != KL_OK) fail_msg("%s", err.message);
  return address;
}

/* A checkpoint that uses one more block, so that there is a map. */
static void reserve_publish(const reserve_test *t) {
  kl_checkpoint checkpoint = {0};
  uint64_t address = 0;
  uint8_t block[KL_BLOCK_SIZE] = {1};
  kl_slice part = kl_slice_make(block, sizeof block);
  assert_int_equal(kl_store_begin(t->store, NULL, 0, NULL), KL_OK);
  assert_int_equal(kl_store_allocate(t->store, sizeof block, &address, NULL), KL_OK);
  assert_int_equal(kl_store_write(t->store, address, &part, 1, NULL), KL_OK);
  assert_int_equal(kl_store_publish(t->store, &checkpoint, NULL), KL_OK);
}

static void reserved_blocks_keep_the_file(void **state) {
  (void)state;
  reserve_test t;
  uint64_t end = 0;
  reserve_open(&t, true);
  uint64_t first = reserve_some(&t, 20 * RESERVE_MIB), second = reserve_some(&t, 4 * RESERVE_MIB + 1);
  assert_int_equal(second, first + 20 * RESERVE_MIB);
  assert_int_equal(reserve_numbers(&t).reserved_bytes, 24 * RESERVE_MIB + KL_BLOCK_SIZE);
  kl_store_unreserve(t.store, first, 20 * RESERVE_MIB);
  /* Three checkpoints, of which one is to make the file shorter, and an aborted one. */
  reserve_publish(&t);
  assert_int_equal(kl_store_begin(t.store, NULL, 0, NULL), KL_OK);
  assert_int_equal(kl_store_compact(t.store, &end, NULL), KL_OK);
  kl_checkpoint checkpoint = {0};
  assert_int_equal(kl_store_publish(t.store, &checkpoint, NULL), KL_OK);
  assert_int_equal(kl_store_begin(t.store, NULL, 0, NULL), KL_OK);
  kl_store_abort(t.store);
  reserve_publish(&t);
  kl_store_space space = reserve_numbers(&t);
  assert_true(space.file_bytes >= second + 4 * RESERVE_MIB + KL_BLOCK_SIZE);
  assert_int_equal(space.blocks_end, second + 4 * RESERVE_MIB + KL_BLOCK_SIZE);
  uint8_t block[KL_BLOCK_SIZE] = {7}, got[KL_BLOCK_SIZE];
  kl_slice part = kl_slice_make(block, sizeof block);
  assert_int_equal(kl_store_write_reserved(t.store, second + 4 * RESERVE_MIB, &part, 1, NULL), KL_OK);
  assert_int_equal(kl_store_read(t.store, second + 4 * RESERVE_MIB, got, sizeof got, NULL), KL_OK);
  assert_memory_equal(block, got, sizeof got);
  /* Closed with it, the file keeps it: its owner may have named it in a log. */
  kl_store_close(t.store);
  reserve_open(&t, false);
  assert_int_equal(reserve_numbers(&t).reserved_bytes, 0);
  assert_int_equal(kl_store_reserve_at(t.store, second, 4 * RESERVE_MIB + 1, NULL), KL_OK);
  assert_int_equal(kl_store_read(t.store, second + 4 * RESERVE_MIB, got, sizeof got, NULL), KL_OK);
  assert_memory_equal(block, got, sizeof got);
  kl_store_unreserve(t.store, second, 4 * RESERVE_MIB + 1);
  reserve_publish(&t);
  assert_true(reserve_numbers(&t).file_bytes < 4 * RESERVE_MIB);
  reserve_close(&t);
}

/* What a checkpoint adopted and freed again belongs to whoever reserved it, until the checkpoint is durable. */
static void an_abort_gives_back_what_was_adopted(void **state) {
  (void)state;
  reserve_test t;
  reserve_open(&t, true);
  reserve_publish(&t);
  uint64_t run = reserve_some(&t, 3 * KL_BLOCK_SIZE), other = 0;
  for (int round = 0; round < 2; round++) {
    bool publish = round == 1;
    kl_checkpoint checkpoint = {0};
    assert_int_equal(kl_store_begin(t.store, NULL, 0, NULL), KL_OK);
    uint64_t birth = kl_store_birth(t.store);
    assert_int_equal(kl_store_adopt(t.store, run, 3 * KL_BLOCK_SIZE, NULL), KL_OK);
    assert_int_equal(kl_store_free(t.store, run + KL_BLOCK_SIZE, KL_BLOCK_SIZE, birth, NULL), KL_OK);
    assert_int_equal(kl_store_allocate(t.store, KL_BLOCK_SIZE, &other, NULL), KL_OK);
    assert_true(other < run || other >= run + 3 * KL_BLOCK_SIZE);
    assert_int_equal(reserve_numbers(&t).reserved_bytes, 3 * KL_BLOCK_SIZE);
    if (publish) {
      assert_int_equal(kl_store_publish(t.store, &checkpoint, NULL), KL_OK);
    } else {
      kl_store_abort(t.store);
    }
    kl_store_space space = reserve_numbers(&t);
    assert_int_equal(space.reserved_bytes, publish ? 0 : 3 * KL_BLOCK_SIZE);
    assert_int_equal(
        space.used_bytes + space.free_bytes + space.limbo_bytes + space.reserved_bytes + KL_SUPERBLOCKS * KL_BLOCK_SIZE,
        space.blocks_end);
  }
  /* The middle block is free now, and the first that is. */
  assert_int_equal(reserve_some(&t, KL_BLOCK_SIZE), run + KL_BLOCK_SIZE);
  reserve_close(&t);
}

static void misuse_is_answered(void **state) {
  (void)state;
  reserve_test t;
  uint64_t address = 0;
  uint8_t block[KL_BLOCK_SIZE] = {0};
  kl_slice part = kl_slice_make(block, sizeof block);
  reserve_open(&t, true);
  assert_int_equal(kl_store_reserve(t.store, 0, &address, NULL), KL_E_LIMIT);
  assert_int_equal(kl_store_reserve(t.store, UINT64_MAX, &address, NULL), KL_E_LIMIT);
  assert_int_equal(kl_store_adopt(t.store, 16384, 1, NULL), KL_E_INVALID);
  assert_int_equal(kl_store_reserve_at(t.store, 16385, 1, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_reserve_at(t.store, 0, 1, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_reserve_at(t.store, 16384, UINT64_MAX, NULL), KL_E_CORRUPT);
  assert_int_equal(kl_store_reserve_at(t.store, UINT64_C(1) << 40, 1, NULL), KL_E_CORRUPT);
  uint64_t run = reserve_some(&t, 2 * KL_BLOCK_SIZE);
  assert_int_equal(kl_store_reserve_at(t.store, run, 1, NULL), KL_E_CORRUPT);
#ifndef KL_DEBUG
  assert_int_equal(kl_store_write_reserved(t.store, run + 2 * KL_BLOCK_SIZE, &part, 1, NULL), KL_E_INTERNAL);
  assert_int_equal(kl_store_write_reserved(t.store, run + 1, &part, 1, NULL), KL_E_INTERNAL);
  kl_store_unreserve(t.store, run, 3 * KL_BLOCK_SIZE);
  assert_int_equal(reserve_numbers(&t).reserved_bytes, 2 * KL_BLOCK_SIZE);
  assert_int_equal(kl_store_begin(t.store, NULL, 0, NULL), KL_OK);
  assert_int_equal(kl_store_adopt(t.store, run, 3 * KL_BLOCK_SIZE, NULL), KL_E_INTERNAL);
  assert_int_equal(kl_store_adopt(t.store, run, KL_BLOCK_SIZE, NULL), KL_OK);
  assert_int_equal(kl_store_adopt(t.store, run, KL_BLOCK_SIZE, NULL), KL_E_INTERNAL);
  assert_int_equal(kl_store_write_reserved(t.store, run, &part, 1, NULL), KL_E_INTERNAL);
  kl_store_abort(t.store);
#endif
  assert_int_equal(kl_store_write_reserved(t.store, run, &part, 1, NULL), KL_OK);
  /* After a sync that failed nothing is known of what was written. */
  kl_sim_inject(t.sim, KL_SIM_FAULT_SYNC_FAILS, kl_sim_operations(t.sim) + 1);
  assert_int_equal(kl_store_sync(t.store, NULL), KL_E_IO);
  kl_sim_inject(t.sim, KL_SIM_FAULT_NONE, 0);
  assert_int_equal(kl_store_sync(t.store, NULL), KL_E_POISONED);
  assert_int_equal(kl_store_write_reserved(t.store, run, &part, 1, NULL), KL_E_POISONED);
  assert_int_equal(kl_store_reserve(t.store, 1, &address, NULL), KL_E_POISONED);
  assert_int_equal(kl_store_begin(t.store, NULL, 0, NULL), KL_E_POISONED);
  kl_store_unreserve(t.store, run, 2 * KL_BLOCK_SIZE);
  kl_store_close(t.store);
  kl_store_options reading = {.read_only = true};
  assert_int_equal(kl_store_open(kl_sim_os(t.sim), RESERVE_PATH, &reading, &t.store, NULL), KL_OK);
  assert_int_equal(kl_store_reserve(t.store, 1, &address, NULL), KL_E_READ_ONLY);
  assert_int_equal(kl_store_reserve_at(t.store, 16384, 1, NULL), KL_E_READ_ONLY);
  reserve_close(&t);
}

/* -------- threads -------- */

enum { RESERVE_THREADS = 3, RESERVE_HELD = 12, RESERVE_GIFTS = 60 };

typedef struct reserve_worker {
  kl_store *store;
  kl_rng rng;
  uint64_t tag;
  bool failed; /* to be read when it has ended */
  _Atomic bool ended;
  _Atomic bool *stop;
  /* To the thread that makes checkpoints, which adopts it: 0, or the address of a run of two blocks. */
  _Atomic uint64_t gift;
} reserve_worker;

static void reserve_fill(uint64_t tag, uint64_t address, uint8_t out[KL_BLOCK_SIZE]) {
  uint64_t word = kl_mix64(tag ^ kl_mix64(address));
  for (size_t i = 0; i < KL_BLOCK_SIZE; i += sizeof word) memcpy(out + i, &word, sizeof word);
}

static bool reserve_put(kl_store *store, uint64_t tag, uint64_t address, uint64_t blocks) {
  uint8_t block[KL_BLOCK_SIZE];
  for (uint64_t i = 0; i < blocks; i++) {
    kl_slice part = kl_slice_make(block, sizeof block);
    reserve_fill(tag, address + i * KL_BLOCK_SIZE, block);
    if (kl_store_write_reserved(store, address + i * KL_BLOCK_SIZE, &part, 1, NULL) != KL_OK) return false;
  }
  return true;
}

static bool reserve_has(kl_store *store, uint64_t tag, uint64_t address, uint64_t blocks) {
  uint8_t block[KL_BLOCK_SIZE], got[KL_BLOCK_SIZE];
  for (uint64_t i = 0; i < blocks; i++) {
    reserve_fill(tag, address + i * KL_BLOCK_SIZE, block);
    if (kl_store_read(store, address + i * KL_BLOCK_SIZE, got, sizeof got, NULL) != KL_OK) return false;
    if (memcmp(block, got, sizeof got) != 0) return false;
  }
  return true;
}

static void reserve_work(void *context) {
  reserve_worker *worker = context;
  uint64_t address[RESERVE_HELD] = {0}, blocks[RESERVE_HELD] = {0};
  while (!atomic_load(worker->stop) && !worker->failed) {
    size_t i = (size_t)kl_rng_below(&worker->rng, RESERVE_HELD);
    if (blocks[i] != 0) { /* what was written is there still, and goes */
      worker->failed = !reserve_has(worker->store, worker->tag, address[i], blocks[i]);
      kl_store_unreserve(worker->store, address[i], blocks[i] * KL_BLOCK_SIZE);
    }
    blocks[i] = 1 + kl_rng_below(&worker->rng, 600);
    if (kl_store_reserve(worker->store, blocks[i] * KL_BLOCK_SIZE, &address[i], NULL) != KL_OK) worker->failed = true;
    if (worker->failed || !reserve_put(worker->store, worker->tag, address[i], blocks[i] < 4 ? blocks[i] : 4)) {
      worker->failed = true;
    }
    if (blocks[i] > 4) { /* the rest of a long one goes at once */
      kl_store_unreserve(worker->store, address[i] + 4 * KL_BLOCK_SIZE, (blocks[i] - 4) * KL_BLOCK_SIZE);
      blocks[i] = 4;
    }
    uint64_t gift = 0;
    if (atomic_load(&worker->gift) != 0 || kl_store_reserve(worker->store, 2 * KL_BLOCK_SIZE, &gift, NULL) != KL_OK) {
      continue;
    }
    if (!reserve_put(worker->store, worker->tag, gift, 2) || kl_store_sync(worker->store, NULL) != KL_OK) {
      worker->failed = true;
    }
    atomic_store(&worker->gift, gift);
  }
  atomic_store(&worker->ended, true);
}

/* STORE-15: reservations beside checkpoints, aborted ones, and each other. */
static void threads_reserve_beside_checkpoints(void **state) {
  (void)state;
  reserve_test t = {.sim = NULL};
  reserve_worker workers[RESERVE_THREADS];
  kl_thread *threads[RESERVE_THREADS];
  uint64_t seed = test_seed(90), adopted[2 * RESERVE_GIFTS], tags[2 * RESERVE_GIFTS];
  size_t count = 0;
  _Atomic bool stop;
  atomic_init(&stop, false);
  assert_int_equal(kl_store_new_memory(kl_os_posix(), 0, &t.store, NULL), KL_OK);
  for (size_t i = 0; i < RESERVE_THREADS; i++) {
    memset(&workers[i], 0, sizeof workers[i]);
    workers[i].store = t.store;
    workers[i].tag = i + 1;
    kl_rng_init(&workers[i].rng, seed + i);
    workers[i].stop = &stop;
    atomic_init(&workers[i].ended, false);
    atomic_init(&workers[i].gift, 0);
    assert_int_equal(kl_thread_start(kl_os_posix(), "reserve", reserve_work, &workers[i], &threads[i], NULL), KL_OK);
  }
  for (int round = 0; count < RESERVE_GIFTS && !atomic_load(&workers[0].ended); round++) {
    size_t before = count;
    uint64_t own = 0;
    kl_checkpoint checkpoint = {0};
    assert_int_equal(kl_store_begin(t.store, NULL, 0, NULL), KL_OK);
    assert_int_equal(kl_store_allocate(t.store, 5 * KL_BLOCK_SIZE, &own, NULL), KL_OK);
    uint64_t gifts[RESERVE_THREADS] = {0};
    for (size_t i = 0; i < RESERVE_THREADS; i++) {
      gifts[i] = atomic_load(&workers[i].gift);
      if (gifts[i] == 0) continue;
      assert_int_equal(kl_store_adopt(t.store, gifts[i], 2 * KL_BLOCK_SIZE, NULL), KL_OK);
      adopted[count] = gifts[i];
      tags[count++] = workers[i].tag;
    }
    if (round % 3 == 0) {
      kl_store_abort(t.store);
      count = before;
      continue;
    }
    assert_int_equal(kl_store_free(t.store, own, 5 * KL_BLOCK_SIZE, kl_store_birth(t.store), NULL), KL_OK);
    assert_int_equal(kl_store_publish(t.store, &checkpoint, NULL), KL_OK);
    for (size_t i = 0; i < RESERVE_THREADS; i++) {
      if (gifts[i] != 0) atomic_store(&workers[i].gift, 0);
    }
  }
  atomic_store(&stop, true);
  for (size_t i = 0; i < RESERVE_THREADS; i++) kl_thread_join(threads[i]);
  for (size_t i = 0; i < RESERVE_THREADS; i++) assert_false(workers[i].failed);
  for (size_t i = 0; i < count; i++) assert_true(reserve_has(t.store, tags[i], adopted[i], 2));
  assert_true(count >= RESERVE_GIFTS);
  kl_store_close(t.store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reserved_blocks_keep_the_file),
      cmocka_unit_test(an_abort_gives_back_what_was_adopted),
      cmocka_unit_test(misuse_is_answered),
      cmocka_unit_test(threads_reserve_beside_checkpoints),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
