/* tests/unit/wal/test_wal_faults.c: failing reads, writes and syncs, full disks, failing allocations, damage. */
#include "wal_fixture.h"

enum { FAULT_BATCHES = 40 };

/* What a run got done before its first error. */
typedef struct fault_run {
  uint64_t next, synced;
  kl_lsn end;
  kl_status status;
} fault_run;

static size_t fault_size(uint64_t number) {
  return number % 9 == 4 ? 30000 : 16 + (number * 71) % 900;
}

/* Appends and syncs on an open log until the first error or until `upto`. */
static void fault_go_on(kl_wal *wal, uint64_t upto, fault_run *run, kl_error *err) {
  while (run->status == KL_OK && run->next < upto) {
    run->status = wal_test_append(wal, run->next, fault_size(run->next), run->next % 2 == 0, &run->end, err);
    if (run->status != KL_OK) return;
    run->next++;
    if (run->next % 3 == 0) {
      run->status = kl_wal_sync(wal, run->end, err);
      if (run->status == KL_OK) run->synced = run->next;
    }
  }
}

/* Opens, reads from the beginning, makes appendable; what was synced must be there. */
static kl_wal *fault_reopen(kl_sim *sim, fault_run *run, uint64_t most, uint64_t point) {
  kl_wal_options options = wal_test_options();
  kl_wal *wal = NULL;
  kl_error err = {0};
  uint64_t next = 0;
  kl_lsn end = 0;
  kl_status status = kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, &err);
  if (status == KL_OK) status = wal_test_read(wal, 0, 0, &next, &end, &err);
  if (status != KL_E_NOT_FOUND) fail_msg("point %llu: %s", (unsigned long long)point, err.message);
  if (next < run->synced || next > most) {
    fail_msg("point %llu: %llu batches, %llu were synced, %llu appended", (unsigned long long)point,
             (unsigned long long)next, (unsigned long long)run->synced, (unsigned long long)most);
  }
  if (kl_wal_recover_end(wal, end, &err) != KL_OK) fail_msg("point %llu: %s", (unsigned long long)point, err.message);
  run->next = run->synced = next;
  run->end = end;
  run->status = KL_OK;
  return wal;
}

/* After an error that poisons: nothing is accepted, the first error is told, what was durable is not taken back. */
static void fault_check_poisoned(kl_wal *wal, const kl_error *first) {
  kl_wal_stats stats;
  kl_error err = {0};
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.poisoned);
  assert_int_equal(wal_test_append(wal, 1, 100, false, NULL, &err), KL_E_POISONED);
  if (strlen(first->message) < 100) assert_non_null(strstr(err.message, first->message));
  assert_int_equal(wal_test_append(wal, 1, 100, true, NULL, NULL), KL_E_POISONED);
  assert_int_equal(kl_wal_sync(wal, stats.durable_lsn, NULL), KL_OK);
  if (stats.durable_lsn < stats.tail_lsn) {
    assert_int_equal(kl_wal_sync(wal, stats.tail_lsn, NULL), KL_E_POISONED);
    assert_int_equal(kl_wal_sync_soon(wal, 0, NULL), KL_E_POISONED);
  }
  uint64_t next;
  kl_lsn end;
  assert_int_equal(wal_test_read(wal, 0, 0, &next, &end, &err), KL_E_NOT_FOUND); /* what is in the file can be read */
  assert_true(end >= stats.durable_lsn);
}

/* The operation fails; the log is poisoned or in order; it is opened anew on the same machine (which may show bytes
 * that no sync will store, WAL-10), appended to, and then the power goes. */
static void fault_at(kl_sim_fault fault, uint64_t seed, uint64_t point, uint64_t *struck) {
  kl_sim *sim = NULL;
  kl_wal *wal = NULL;
  kl_error err = {0};
  kl_wal_options options = wal_test_options();
  fault_run run = {0};
  assert_int_equal(kl_sim_new(seed + point, &sim, NULL), KL_OK);
  kl_sim_inject(sim, fault, point);
  run.status = kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, &err);
  if (run.status != KL_OK) { /* it took back what it had made, unless that failed too */
    assert_null(wal);
    kl_sim_free(sim);
    ++*struck;
    return;
  }
  fault_go_on(wal, FAULT_BATCHES, &run, &err);
  uint64_t most = run.next;
  if (run.status != KL_OK) {
    ++*struck;
    assert_true(strlen(err.message) > 0);
    assert_int_equal(err.code, run.status);
    fault_check_poisoned(wal, &err);
    most++; /* the batch whose append failed may have been stored */
  }
  kl_wal_close(wal);
  kl_sim_inject(sim, KL_SIM_FAULT_NONE, 0);
  wal = fault_reopen(sim, &run, most, point);
  fault_go_on(wal, run.next + 25, &run, &err); /* through the rest of the segment, and the next */
  if (run.status != KL_OK) fail_msg("point %llu: %s", (unsigned long long)point, err.message);
  assert_int_equal(kl_wal_sync(wal, run.end, NULL), KL_OK);
  run.synced = run.next;
  kl_sim_restart(sim, point % 3 == 0 ? KL_SIM_LOSE_ALL : point);
  kl_wal_close(wal);
  kl_wal_close(fault_reopen(sim, &run, run.next, point));
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

static uint64_t fault_count_operations(uint64_t seed) {
  kl_sim *sim = NULL;
  kl_wal *wal = NULL;
  kl_wal_options options = wal_test_options();
  fault_run run = {0};
  assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
  assert_int_equal(kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
  fault_go_on(wal, FAULT_BATCHES, &run, NULL);
  assert_int_equal(run.status, KL_OK);
  kl_wal_close(wal);
  uint64_t operations = kl_sim_operations(sim);
  kl_sim_free(sim);
  return operations;
}

static void failing_operations_poison(void **state) {
  (void)state;
  static const kl_sim_fault faults[] = {KL_SIM_FAULT_IO_ERROR, KL_SIM_FAULT_SYNC_FAILS, KL_SIM_FAULT_SYNC_BROKEN};
  uint64_t seed = test_seed(0xfa17), operations = fault_count_operations(seed);
  for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
    uint64_t struck = 0;
    for (uint64_t k = 1; k <= operations; k++) fault_at(faults[f], seed, k, &struck);
    assert_true(struck > operations / 2);
  }
}

static void short_transfers_are_no_errors(void **state) {
  (void)state;
  uint64_t seed = test_seed(0xfa17), operations = fault_count_operations(seed), struck = 0;
  for (uint64_t k = 1; k <= operations; k += 3) {
    fault_at(KL_SIM_FAULT_SHORT_WRITE, seed, k, &struck);
    fault_at(KL_SIM_FAULT_SHORT_READ, seed, k, &struck);
  }
  assert_int_equal(struck, 0);
}

/* A full disk refuses the append that would grow the file, and nothing else: the log goes on as soon as there is room.
 * */
static void a_full_disk_is_survived(void **state) {
  (void)state;
  uint64_t seed = test_seed(0xf0), operations = fault_count_operations(seed), refused = 0;
  for (uint64_t k = 1; k <= operations; k++) {
    kl_sim *sim = NULL;
    kl_wal *wal = NULL;
    kl_error err = {0};
    kl_wal_options options = wal_test_options();
    kl_wal_stats stats;
    fault_run run = {0};
    assert_int_equal(kl_sim_new(seed + k, &sim, NULL), KL_OK);
    kl_sim_inject(sim, KL_SIM_FAULT_DISK_FULL, k);
    run.status = kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, &err);
    if (run.status != KL_OK) {
      assert_int_equal(run.status, KL_E_DISK_FULL);
      kl_file_info info;
      assert_int_equal(kl_os_stat(kl_sim_os(sim), WAL_TEST_PATH, &info, NULL), KL_OK);
      assert_int_equal(info.kind, KL_FILE_ABSENT);
      kl_sim_give_space(sim);
      assert_int_equal(kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
      run.status = KL_OK;
    }
    fault_go_on(wal, FAULT_BATCHES, &run, &err);
    if (run.status != KL_OK) {
      refused++;
      assert_int_equal(run.status, KL_E_DISK_FULL);
      kl_wal_get_stats(wal, &stats);
      assert_false(stats.poisoned);
      assert_int_equal(kl_wal_sync(wal, stats.tail_lsn, NULL), KL_OK); /* what it has is still in order */
      run.synced = run.next;
      if (k % 2 == 0) {
        /* The other way to make room: a checkpoint releases segments. What is left must still fit the model. */
        kl_sim_give_space(sim);
      } else {
        fault_run again = {.next = run.next};
        fault_go_on(wal, again.next + 1, &again, NULL);
        assert_int_equal(again.status, KL_E_DISK_FULL); /* still no room, still no poison */
        kl_sim_give_space(sim);
      }
      run.status = KL_OK;
      fault_go_on(wal, FAULT_BATCHES, &run, &err);
    }
    if (run.status != KL_OK) fail_msg("point %llu: %s", (unsigned long long)k, err.message);
    assert_int_equal(kl_wal_sync(wal, run.end, NULL), KL_OK);
    run.synced = run.next;
    kl_sim_restart(sim, k);
    kl_wal_close(wal);
    kl_wal_close(fault_reopen(sim, &run, run.next, k));
    kl_sim_free(sim);
  }
  assert_true(refused > 5);
}

/* A log that has come to use its segments again needs no growth, and so no room on the disk. */
static void released_segments_serve_on_a_full_disk(void **state) {
  (void)state;
  kl_sim *sim = NULL;
  kl_wal *wal = NULL;
  kl_wal_options options = wal_test_options();
  kl_wal_stats stats = {0};
  kl_lsn end = 0, released = 0;
  uint64_t number = 0;
  assert_int_equal(kl_sim_new(test_seed(3), &sim, NULL), KL_OK);
  assert_int_equal(kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
  for (int round = 0; round < 40; round++) {
    if (round == 20) kl_sim_inject(sim, KL_SIM_FAULT_DISK_FULL, kl_sim_operations(sim) + 1);
    for (int i = 0; i < 30; i++) assert_int_equal(wal_test_append(wal, number++, 2000, true, &end, NULL), KL_OK);
    assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
    assert_int_equal(kl_wal_release(wal, released, NULL), KL_OK);
    released = end; /* one round behind */
  }
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.segments_recycled > 20);
  /* Without releases it does fill up, and a release helps. */
  kl_status status = KL_OK;
  while (status == KL_OK && number < 5000) status = wal_test_append(wal, number++, 2000, true, &end, NULL);
  assert_int_equal(status, KL_E_DISK_FULL);
  kl_wal_get_stats(wal, &stats);
  assert_int_equal(kl_wal_sync(wal, stats.tail_lsn, NULL), KL_OK);
  assert_int_equal(kl_wal_release(wal, stats.tail_lsn, NULL), KL_OK);
  for (int i = 0; i < 20; i++) assert_int_equal(wal_test_append(wal, number++, 2000, true, &end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  kl_wal_close(wal);
  kl_sim_free(sim);
}

/* As on a file system that cannot reserve space. */
static kl_status fault_only_grow(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err) {
  uint64_t now = 0;
  kl_status status = kl_os_size(os, file, &now, err);
  return status == KL_OK && now < offset + size ? kl_os_truncate(os, file, offset + size, err) : status;
}

/* WAL-8: without space of its own the batch itself meets the full disk, half-way. It was refused, so it must not come back,
 * not even when the power goes at once. */
static void a_refused_batch_never_comes_back(void **state) {
  (void)state;
  uint64_t seed = test_seed(0xf1), refused = 0;
  for (uint64_t k = 8; k < 80; k++) {
    kl_sim *sim = NULL;
    kl_wal *wal = NULL;
    kl_wal_options options = wal_test_options();
    kl_wal_stats stats;
    options.prewrite = false;
    fault_run run = {0};
    assert_int_equal(kl_sim_new(seed + k, &sim, NULL), KL_OK);
    kl_sim_os(sim)->allocate = fault_only_grow;
    assert_int_equal(kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
    kl_sim_inject(sim, KL_SIM_FAULT_DISK_FULL, k);
    kl_status status = KL_OK;
    while (status == KL_OK && run.next < 60) {
      status = wal_test_append(wal, run.next, fault_size(run.next), false, &run.end, NULL);
      if (status == KL_OK) run.next++;
    }
    if (status == KL_OK) { /* the fault came later than all of it */
      kl_wal_close(wal);
      kl_sim_free(sim);
      continue;
    }
    assert_int_equal(status, KL_E_DISK_FULL);
    kl_wal_get_stats(wal, &stats);
    assert_false(stats.poisoned);
    refused++;
    if (k % 2 == 0) { /* the power goes at once; what was not refused may be there */
      kl_sim_restart(sim, KL_SIM_KEEP_ALL);
      kl_wal_close(wal);
      kl_wal_close(fault_reopen(sim, &run, run.next, k));
    } else { /* room is made, and a shorter batch takes the place of the refused one */
      kl_sim_give_space(sim);
      assert_int_equal(wal_test_append(wal, run.next, 16, false, &run.end, NULL), KL_OK);
      run.next++;
      assert_int_equal(kl_wal_sync(wal, run.end, NULL), KL_OK);
      run.synced = run.next;
      kl_sim_restart(sim, k);
      kl_wal_close(wal);
      kl_wal_close(fault_reopen(sim, &run, run.next, k));
    }
    kl_sim_free(sim);
  }
  assert_true(refused > 30);
}

/* Runs everything, retrying each call that had no memory once: it must succeed then. Returns how often that was. */
static uint64_t fault_run_without_memory(kl_sim *sim) {
  uint64_t failures = 0;
  kl_wal *wal = NULL;
  kl_wal_options options = wal_test_options();
  kl_error err = {0};
  kl_lsn end = 0;
  kl_status status = kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, &err);
  if (status == KL_E_NO_MEMORY) {
    failures++;
    status = kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, &err);
  }
  assert_int_equal(status, KL_OK);
  for (uint64_t i = 0; i < 12; i++) {
    status = wal_test_append(wal, i, i % 4 == 1 ? 90000 : 500, i % 2 == 0, &end, &err);
    if (status == KL_E_NO_MEMORY) {
      failures++;
      status = wal_test_append(wal, i, i % 4 == 1 ? 90000 : 500, i % 2 == 0, &end, &err);
    }
    assert_int_equal(status, KL_OK);
    assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  }
  kl_wal_close(wal);
  for (int tries = 0;; tries++) {
    uint64_t next;
    status = kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, &err);
    if (status == KL_OK) status = wal_test_read(wal, 0, 0, &next, &end, &err);
    if (status == KL_E_NOT_FOUND) {
      assert_int_equal(next, 12);
      status = kl_wal_recover_end(wal, end, &err);
    }
    kl_wal_close(wal);
    wal = NULL;
    if (status == KL_OK) break;
    assert_int_equal(status, KL_E_NO_MEMORY);
    assert_int_equal(tries, 0);
    failures++;
  }
  return failures;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  uint64_t seed = test_seed(5), seen = 0, n = 1;
  for (;; n++) {
    kl_sim *sim = NULL;
    assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
    kl_sim_fail_allocation(sim, n);
    uint64_t failures = fault_run_without_memory(sim);
    bool beyond = kl_sim_allocations(sim) < n;
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
    assert_true(failures <= 1); /* none: there is a way without the memory (buffer, second descriptor) */
    seen += failures;
    if (beyond) break;
  }
  assert_true(seen > 5);
}

/* Flips bits all over a log of synced batches. With the caller's knowledge of what was durable, the log either reads
 * whole or is refused; without it, what comes after the last batch that somebody vouched for may be missing, never
 * wrong. */
static void flipped_bits_are_found(void **state) {
  (void)state;
  uint64_t seed = test_seed(0xb17);
  kl_sim *sim = NULL;
  kl_wal *wal = NULL;
  kl_wal_options options = wal_test_options();
  fault_run run = {0};
  assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
  assert_int_equal(kl_wal_create(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
  fault_go_on(wal, 12, &run, NULL);
  assert_int_equal(kl_wal_sync(wal, run.end, NULL), KL_OK);
  kl_wal_close(wal);
  uint64_t corrupt = 0, whole = 0, tails = 0, size = 16384 + 4096 + run.end;
  kl_rng rng;
  kl_rng_init(&rng, seed);
  for (uint64_t at = 0; at < size; at += at % 4096 < 64 ? 1 : 1 + kl_rng_below(&rng, 24)) {
    kl_sim *copy = NULL;
    kl_wal_reader *reader = NULL;
    kl_wal_batch batch;
    kl_error err = {0};
    uint8_t byte;
    size_t got;
    assert_int_equal(kl_sim_clone(sim, &copy), KL_OK);
    assert_int_equal(kl_sim_peek(copy, WAL_TEST_PATH, at, &byte, 1, &got), KL_OK);
    byte ^= (uint8_t)(1u << kl_rng_below(&rng, 8));
    assert_int_equal(kl_sim_poke(copy, WAL_TEST_PATH, at, &byte, 1), KL_OK);
    bool vouched = kl_rng_below(&rng, 2) == 0;
    kl_status status = kl_wal_open(kl_sim_os(copy), WAL_TEST_PATH, &options, &wal, &err);
    assert_true(status == KL_OK || status == KL_E_CORRUPT || status == KL_E_FORMAT);
    if (status == KL_OK) status = kl_wal_reader_new(wal, 0, &reader, &err);
    uint64_t next = 0;
    if (reader != NULL && vouched) kl_wal_reader_expect(reader, run.end);
    while (status == KL_OK && (status = kl_wal_reader_next(reader, &batch, &err)) == KL_OK) {
      assert_int_equal(wal_test_number(batch.payload), next);
      next++;
    }
    if (status == KL_E_NOT_FOUND) {
      if (vouched) assert_int_equal(next, 12);
      assert_true(next >= 9); /* batches 9 ... 11 say that those before were durable */
      whole += next == 12;
      tails += next < 12;
    } else {
      assert_true(status == KL_E_CORRUPT);
      assert_true(strstr(err.message, WAL_TEST_PATH) != NULL);
      corrupt++;
    }
    kl_wal_reader_free(reader);
    kl_wal_close(wal);
    wal = NULL;
    kl_sim_free(copy);
  }
  kl_sim_free(sim);
  print_message("flips: %llu refused, %llu harmless, %llu cut what nobody vouched for\n", (unsigned long long)corrupt,
                (unsigned long long)whole, (unsigned long long)tails);
  assert_true(corrupt > whole);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(failing_operations_poison),        cmocka_unit_test(short_transfers_are_no_errors),
      cmocka_unit_test(a_full_disk_is_survived),          cmocka_unit_test(released_segments_serve_on_a_full_disk),
      cmocka_unit_test(a_refused_batch_never_comes_back), cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(flipped_bits_are_found),
  };
  return cmocka_run_group_tests_name("wal faults", tests, NULL, NULL);
}
