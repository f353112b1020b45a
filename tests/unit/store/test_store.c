/* tests/unit/store/test_store.c: creation, the ring of superblocks, refusals, damage, crashes at every operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/crc32c.h"
#include "core/base/endian.h"
#include "core/os/sim/sim.h"
#include "core/store/store.h"
#include "seed.h"

#define STORE_PATH "/db/test.keel"

static kl_sim *store_sim(uint64_t salt) {
  kl_sim *sim = NULL;
  assert_int_equal(kl_sim_new(test_seed(21) + salt, &sim, NULL), KL_OK);
  return sim;
}

static kl_store *store_make(kl_sim *sim) {
  kl_store_options options = {0};
  kl_store *store = NULL;
  kl_error err = {0};
  if (kl_store_create(kl_sim_os(sim), STORE_PATH, &options, &store, &err) != KL_OK) fail_msg("%s", err.message);
  return store;
}

static kl_store *store_reopen(kl_sim *sim) {
  kl_store_options options = {0};
  kl_store *store = NULL;
  kl_error err = {0};
  if (kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, &err) != KL_OK) fail_msg("%s", err.message);
  return store;
}

static void store_expect_open(kl_sim *sim, bool read_only, kl_status expected) {
  kl_store_options options = {.read_only = read_only};
  kl_store *store = (kl_store *)(uintptr_t)1;
  kl_error err = {0};
  kl_status status = kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, &err);
  if (status != expected) fail_msg("%d instead of %d: %s", status, expected, err.message);
  assert_null(store);
  assert_int_equal(err.code, expected);
  assert_non_null(strstr(err.message, STORE_PATH));
}

/* A checkpoint whose fields all follow from `n`. */
static kl_checkpoint store_checkpoint_make(uint64_t n) {
  return (kl_checkpoint){.ts = n * 10, .log_lsn = n * 1000, .known_durable = n * 1000 + 8, .log_needed = true};
}

static void store_publish_or_fail(kl_store *store, uint64_t n) {
  kl_checkpoint checkpoint = store_checkpoint_make(n);
  kl_error err = {0};
  if (kl_store_publish(store, &checkpoint, &err) != KL_OK) fail_msg("%s", err.message);
}

static void checkpoints_come_back(void **state) {
  (void)state;
  kl_sim *sim = store_sim(0);
  kl_store *store = store_make(sim);
  kl_checkpoint checkpoint;
  uint8_t id[KL_DATABASE_ID_SIZE], zeros[KL_DATABASE_ID_SIZE] = {0};
  memcpy(id, kl_store_id(store), sizeof id);
  assert_memory_not_equal(id, zeros, sizeof id);
  kl_store_checkpoint(store, &checkpoint);
  assert_int_equal(checkpoint.sequence, 1);
  assert_false(checkpoint.log_needed);
  assert_int_equal(kl_store_page_size(store), KL_PAGE_SIZE_DEFAULT);
  uint64_t sequence = 1;
  for (uint64_t n = 1; n <= 20; n++) {
    store_publish_or_fail(store, n);
    sequence += n == 1 ? 2 : 1; /* the first one changes log_needed: it is written twice */
    if (n % 3 == 0) {
      kl_store_close(store);
      store = store_reopen(sim);
      sequence++; /* STORE-5 */
    }
    kl_store_checkpoint(store, &checkpoint);
    assert_int_equal(checkpoint.sequence, sequence);
    assert_int_equal(checkpoint.ts, n * 10);
    assert_int_equal(checkpoint.log_lsn, n * 1000);
    assert_int_equal(checkpoint.known_durable, n * 1000 + 8);
    assert_true(checkpoint.log_needed);
    assert_true(checkpoint.wall_ns > 0);
    assert_int_equal(kl_store_log_release_point(store), n == 1 || n % 3 == 0 ? n * 1000 : (n - 1) * 1000);
    assert_memory_equal(kl_store_id(store), id, sizeof id);
  }
  kl_store_close(store);
  kl_store_close(NULL);
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

static void two_databases_have_two_identities(void **state) {
  (void)state;
  kl_sim *sim = store_sim(0);
  kl_store_options options = {.page_size = 65536};
  kl_store *one = store_make(sim), *two = NULL;
  assert_int_equal(kl_store_create(kl_sim_os(sim), "/db/two", &options, &two, NULL), KL_OK);
  assert_memory_not_equal(kl_store_id(one), kl_store_id(two), KL_DATABASE_ID_SIZE);
  assert_int_equal(kl_store_page_size(two), 65536);
  kl_store_close(one);
  kl_store_close(two);
  kl_sim_free(sim);
}

static void wrong_files_are_refused_unharmed(void **state) {
  (void)state;
  static uint8_t garbage[20000], after[20000];
  size_t got;
  kl_sim *sim = store_sim(0);
  store_expect_open(sim, false, KL_E_NO_FILE);
  assert_int_equal(kl_sim_poke(sim, STORE_PATH, 0, garbage, 0), KL_OK);
  store_expect_open(sim, false, KL_E_NO_FILE); /* empty */
  memset(garbage, 'g', sizeof garbage);
  for (size_t size = 1; size <= sizeof garbage; size = size * 3 + 1) {
    assert_int_equal(kl_sim_poke(sim, STORE_PATH, 0, garbage, size), KL_OK);
    store_expect_open(sim, false, KL_E_FORMAT);
    store_expect_open(sim, true, KL_E_FORMAT);
    kl_store_options options = {0};
    kl_store *store = NULL;
    assert_int_equal(kl_store_create(kl_sim_os(sim), STORE_PATH, &options, &store, NULL), KL_E_EXISTS);
    assert_int_equal(kl_sim_peek(sim, STORE_PATH, 0, after, sizeof after, &got), KL_OK);
    assert_int_equal(got, size);
    assert_memory_equal(after, garbage, size);
  }
  kl_sim_free(sim);
  sim = store_sim(0);
  assert_int_equal(kl_sim_make_directory(sim, STORE_PATH), KL_OK);
  store_expect_open(sim, false, KL_E_NOT_A_FILE);
  kl_store_options options = {0};
  kl_store *store = NULL;
  assert_int_equal(kl_store_create(kl_sim_os(sim), STORE_PATH, &options, &store, NULL), KL_E_NOT_A_FILE);
  static const uint32_t sizes[] = {1, 2048, 4097, 131072};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    options.page_size = sizes[i];
    assert_int_equal(kl_store_create(kl_sim_os(sim), "/db/x", &options, &store, NULL), KL_E_INVALID);
  }
  kl_sim_free(sim);
}

/* Changes a field of slot `slot` as a newer Keel would, with the right checksum. */
static void store_alter(kl_sim *sim, uint32_t slot, size_t offset, uint32_t value) {
  uint8_t block[KL_SUPERBLOCK_SIZE];
  size_t got;
  uint64_t at = (uint64_t)slot * sizeof block;
  assert_int_equal(kl_sim_peek(sim, STORE_PATH, at, block, sizeof block, &got), KL_OK);
  kl_store_u32_le(block + offset, value);
  kl_store_u32_le(block + sizeof block - 4, kl_crc32c(0, block, sizeof block - 4));
  assert_int_equal(kl_sim_poke(sim, STORE_PATH, at, block, sizeof block), KL_OK);
}

static void newer_versions_are_refused(void **state) {
  (void)state;
  enum { VERSION_AT = 8, COMPATIBLE_AT = 12, READ_ONLY_AT = 16, INCOMPATIBLE_AT = 20 }; /* docs/format.md */
  static const struct {
    size_t offset;
    kl_status writing, reading;
  } cases[] = {{VERSION_AT, KL_E_VERSION, KL_E_VERSION},
               {INCOMPATIBLE_AT, KL_E_VERSION, KL_E_VERSION},
               {READ_ONLY_AT, KL_E_VERSION, KL_OK},
               {COMPATIBLE_AT, KL_OK, KL_OK}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    kl_sim *sim = store_sim(0);
    kl_store_close(store_make(sim));
    store_alter(sim, 1, cases[i].offset, 2);
    for (int read_only = 0; read_only < 2; read_only++) {
      kl_store_options options = {.read_only = read_only};
      kl_store *store = NULL;
      kl_status expected = read_only ? cases[i].reading : cases[i].writing;
      assert_int_equal(kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, NULL), expected);
      kl_store_close(store);
    }
    kl_sim_free(sim);
  }
}

static void a_damaged_superblock_leaves_the_one_before(void **state) {
  (void)state;
  kl_sim *sim = store_sim(0);
  kl_store *store = store_make(sim);
  kl_checkpoint checkpoint;
  for (uint64_t n = 1; n <= 6; n++) store_publish_or_fail(store, n); /* sequences 2, 3 ... 8 */
  kl_store_close(store);
  for (uint64_t at = 0; at < 200; at++) {
    kl_sim *copy = NULL;
    uint8_t byte;
    size_t got;
    assert_int_equal(kl_sim_clone(sim, &copy), KL_OK);
    uint64_t offset = at < 152 ? at : KL_SUPERBLOCK_SIZE - 200 + at; /* slot 0 holds sequence 8 */
    assert_int_equal(kl_sim_peek(copy, STORE_PATH, offset, &byte, 1, &got), KL_OK);
    byte ^= 0x40;
    assert_int_equal(kl_sim_poke(copy, STORE_PATH, offset, &byte, 1), KL_OK);
    store = store_reopen(copy);
    kl_store_checkpoint(store, &checkpoint);
    assert_true(kl_store_fell_back(store));
    assert_int_equal(checkpoint.sequence, 12); /* STORE-12: it stands in the place of the damaged one */
    assert_int_equal(checkpoint.ts, 50);
    kl_store_close(store);
    kl_sim_free(copy);
  }
  /* All four: nothing is left. Their own slots are part of what they are: moved ones do not count. */
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    uint8_t block[KL_SUPERBLOCK_SIZE];
    size_t got;
    uint64_t at = (uint64_t)slot * sizeof block;
    assert_int_equal(kl_sim_peek(sim, STORE_PATH, at, block, sizeof block, &got), KL_OK);
    if (slot != 0) {
      block[300] ^= 1;
      assert_int_equal(kl_sim_poke(sim, STORE_PATH, at, block, sizeof block), KL_OK);
    } else {
      uint8_t flip = block[50] ^ 1;
      assert_int_equal(kl_sim_poke(sim, STORE_PATH, 50, &flip, 1), KL_OK);
    }
  }
  store_expect_open(sim, false, KL_E_CORRUPT);
  kl_sim_free(sim);
}

/* STORE-4. */
static void no_single_damage_makes_the_log_look_unneeded(void **state) {
  (void)state;
  kl_sim *sim = store_sim(0);
  kl_store *store = store_make(sim);
  store_publish_or_fail(store, 1);
  kl_store_close(store);
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    kl_sim *copy = NULL;
    kl_checkpoint checkpoint;
    uint8_t bad = 0xff;
    assert_int_equal(kl_sim_clone(sim, &copy), KL_OK);
    assert_int_equal(kl_sim_poke(copy, STORE_PATH, (uint64_t)slot * KL_SUPERBLOCK_SIZE + 60, &bad, 1), KL_OK);
    store = store_reopen(copy);
    kl_store_checkpoint(store, &checkpoint);
    assert_true(checkpoint.log_needed);
    kl_store_close(store);
    kl_sim_free(copy);
  }
  kl_sim_free(sim);
}

static void locks_are_taken(void **state) {
  (void)state;
  kl_sim *sim = store_sim(0);
  kl_store *store = store_make(sim), *second = NULL, *third = NULL;
  kl_store_options writing = {0}, reading = {.read_only = true};
  kl_os *os = kl_sim_os(sim);
  store_expect_open(sim, false, KL_E_LOCKED);
  store_expect_open(sim, true, KL_E_LOCKED);
  kl_store_close(store);
  assert_int_equal(kl_store_open(os, STORE_PATH, &reading, &second, NULL), KL_OK);
  assert_int_equal(kl_store_open(os, STORE_PATH, &reading, &third, NULL), KL_OK);
  assert_int_equal(kl_store_open(os, STORE_PATH, &writing, &store, NULL), KL_E_LOCKED);
  kl_store_close(second);
  kl_store_close(third);

  /* Somebody is creating another database right now. */
  kl_file *file = NULL;
  assert_int_equal(kl_os_open(os, "/db/other-new", KL_OPEN_WRITE | KL_OPEN_CREATE, 0600, &file, NULL), KL_OK);
  assert_int_equal(kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  assert_int_equal(kl_store_create(os, "/db/other", &writing, &store, NULL), KL_E_LOCKED);
  kl_os_close(os, file); /* he died: what he left is overwritten */
  assert_int_equal(kl_sim_poke(sim, "/db/other-new", 0, "left over", 9), KL_OK);
  assert_int_equal(kl_store_create(os, "/db/other", &writing, &store, NULL), KL_OK);
  kl_store_close(store);
  assert_int_equal(kl_store_open(os, "/db/other", &writing, &store, NULL), KL_OK);
  kl_store_close(store);
  kl_sim_free(sim);
}

static void reading_writes_nothing(void **state) {
  (void)state;
  kl_sim *sim = store_sim(0);
  kl_store *store = store_make(sim);
  store_publish_or_fail(store, 1);
  kl_store_close(store);
  kl_sim_inject(sim, KL_SIM_FAULT_READ_ONLY, 1);
  kl_store_options options = {.read_only = true};
  assert_int_equal(kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, NULL), KL_OK);
  kl_checkpoint checkpoint = store_checkpoint_make(2);
  assert_int_equal(kl_store_publish(store, &checkpoint, NULL), KL_E_READ_ONLY);
  kl_store_close(store);
  store_expect_open(sim, false, KL_E_READ_ONLY_MEDIA);
  kl_sim_free(sim);
}

/* Creates and publishes until the first error. *out_acked: the last n that was acknowledged; *out_created likewise. */
static kl_status store_workload(kl_sim *sim, bool *out_created, uint64_t *out_acked) {
  kl_store_options options = {0};
  kl_store *store = NULL;
  kl_error err = {0};
  *out_created = false;
  *out_acked = 0;
  kl_status status = kl_store_create(kl_sim_os(sim), STORE_PATH, &options, &store, &err);
  if (status != KL_OK) {
    assert_true(err.code == status && strlen(err.message) > 0);
    return status;
  }
  *out_created = true;
  for (uint64_t n = 1; n <= 6 && status == KL_OK; n++) {
    kl_checkpoint checkpoint = store_checkpoint_make(n);
    status = kl_store_publish(store, &checkpoint, &err);
    if (status == KL_OK) *out_acked = n;
  }
  if (status != KL_OK && !kl_sim_crashed(sim)) {
    kl_checkpoint checkpoint = store_checkpoint_make(99);
    assert_int_equal(kl_store_publish(store, &checkpoint, NULL), KL_E_POISONED);
  }
  kl_store_close(store);
  return status;
}

/* What is found afterwards: nothing, or a whole database with the last acknowledged checkpoint or the one after. */
static void store_check(kl_sim *sim, bool created, uint64_t acked, uint64_t point) {
  kl_store_options options = {0};
  kl_store *store = NULL;
  kl_error err = {0};
  kl_status status = kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, &err);
  if (status == KL_E_NO_FILE && !created) {
    assert_int_equal(kl_store_create(kl_sim_os(sim), STORE_PATH, &options, &store, NULL), KL_OK);
    kl_store_close(store);
    return;
  }
  if (status != KL_OK) fail_msg("point %llu: %s", (unsigned long long)point, err.message);
  kl_checkpoint checkpoint;
  kl_store_checkpoint(store, &checkpoint);
  uint64_t n = checkpoint.ts / 10;
  if (n < acked || n > acked + 1) {
    fail_msg("point %llu: checkpoint %llu, %llu was acknowledged", (unsigned long long)point, (unsigned long long)n,
             (unsigned long long)acked);
  }
  assert_int_equal(checkpoint.log_lsn, n * 1000);
  kl_store_close(store);
}

static void every_operation_may_be_the_last(void **state) {
  (void)state;
  bool created;
  uint64_t acked;
  kl_sim *sim = store_sim(0);
  assert_int_equal(store_workload(sim, &created, &acked), KL_OK);
  uint64_t operations = kl_sim_operations(sim);
  kl_sim_free(sim);
  for (uint64_t k = 1; k <= operations; k++) {
    sim = store_sim(k);
    kl_sim_inject(sim, KL_SIM_FAULT_CRASH, k);
    assert_int_not_equal(store_workload(sim, &created, &acked), KL_OK);
    for (uint64_t choice = 0; choice < 20; choice++) {
      kl_sim *copy = NULL;
      assert_int_equal(kl_sim_clone(sim, &copy), KL_OK);
      kl_sim_restart(copy, choice == 18 ? KL_SIM_LOSE_ALL : choice == 19 ? KL_SIM_KEEP_ALL : choice);
      store_check(copy, created, acked, k);
      kl_sim_free(copy);
    }
    kl_sim_free(sim);
  }
}

/* An operation fails, the database is opened anew on the same machine (STORE-5), and then the power goes. */
static void every_operation_may_fail(void **state) {
  (void)state;
  static const kl_sim_fault faults[] = {KL_SIM_FAULT_IO_ERROR, KL_SIM_FAULT_SYNC_FAILS, KL_SIM_FAULT_DISK_FULL};
  bool created;
  uint64_t acked;
  kl_sim *sim = store_sim(0);
  assert_int_equal(store_workload(sim, &created, &acked), KL_OK);
  uint64_t operations = kl_sim_operations(sim);
  kl_sim_free(sim);
  for (uint64_t k = 1; k <= operations * 3; k++) {
    sim = store_sim(k);
    kl_sim_inject(sim, faults[k % 3], (k + 2) / 3);
    (void)store_workload(sim, &created, &acked);
    kl_sim_inject(sim, KL_SIM_FAULT_NONE, 0);
    kl_sim_give_space(sim);
    kl_store_options options = {0};
    kl_store *store = NULL;
    kl_status status = kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, NULL);
    if (status == KL_E_NO_FILE && !created) {
      kl_sim_free(sim);
      continue;
    }
    assert_int_equal(status, KL_OK);
    kl_checkpoint seen, after;
    kl_store_checkpoint(store, &seen);
    kl_sim_restart(sim, k % 2 == 0 ? KL_SIM_LOSE_ALL : k);
    kl_store_close(store);
    assert_int_equal(kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, NULL), KL_OK);
    kl_store_checkpoint(store, &after);
    assert_true(after.sequence > seen.sequence); /* what was seen and built upon is still there */
    assert_int_equal(after.ts, seen.ts);
    assert_true(after.ts / 10 >= acked);
    kl_store_close(store);
    kl_sim_free(sim);
  }
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  uint64_t failures = 0;
  for (uint64_t n = 1;; n++) {
    kl_sim *sim = store_sim(0);
    kl_store_options options = {0};
    kl_store *store = NULL;
    kl_sim_fail_allocation(sim, n);
    kl_status status = kl_store_create(kl_sim_os(sim), STORE_PATH, &options, &store, NULL);
    if (status == KL_E_NO_MEMORY) {
      failures++;
      status = kl_store_create(kl_sim_os(sim), STORE_PATH, &options, &store, NULL);
    }
    assert_int_equal(status, KL_OK);
    kl_store_close(store);
    status = kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, NULL);
    if (status == KL_E_NO_MEMORY) {
      failures++;
      status = kl_store_open(kl_sim_os(sim), STORE_PATH, &options, &store, NULL);
    }
    assert_int_equal(status, KL_OK);
    kl_store_close(store);
    bool beyond = kl_sim_allocations(sim) < n;
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
    if (beyond) break;
  }
  assert_true(failures >= 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(checkpoints_come_back),
      cmocka_unit_test(two_databases_have_two_identities),
      cmocka_unit_test(wrong_files_are_refused_unharmed),
      cmocka_unit_test(newer_versions_are_refused),
      cmocka_unit_test(a_damaged_superblock_leaves_the_one_before),
      cmocka_unit_test(no_single_damage_makes_the_log_look_unneeded),
      cmocka_unit_test(locks_are_taken),
      cmocka_unit_test(reading_writes_nothing),
      cmocka_unit_test(every_operation_may_be_the_last),
      cmocka_unit_test(every_operation_may_fail),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
