/* Each fault of the simulated os does what core/os/sim/sim.h says of it. */
#include <errno.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/os/sim/sim.h"

static kl_sim *new_sim(uint64_t seed) {
  kl_sim *sim = NULL;
  assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
  return sim;
}

static void free_sim(kl_sim *sim) {
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

static kl_file *must_open(kl_sim *sim, const char *path, uint32_t flags) {
  kl_file *file = NULL;
  kl_error error = {0};
  if (kl_os_open(kl_sim_os(sim), path, flags, 0, &file, &error) != KL_OK) fail_msg("%s", error.message);
  return file;
}

static kl_status put(kl_sim *sim, kl_file *file, uint64_t offset, const void *bytes, size_t size, kl_error *err) {
  kl_slice part = kl_slice_make(bytes, size);
  return kl_os_write(kl_sim_os(sim), file, &part, 1, offset, err);
}

static void inject_next(kl_sim *sim, kl_sim_fault fault) {
  kl_sim_inject(sim, fault, kl_sim_operations(sim) + 1);
}

/* ---- one call of each kind, for faults that hit any ---- */

enum { CALLS = 12 };

static kl_status call(kl_sim *sim, kl_file *file, int which, kl_error *err) {
  kl_os *os = kl_sim_os(sim);
  char byte = 'x';
  size_t size;
  uint64_t file_size;
  kl_file_info info;
  kl_file *opened = NULL;
  kl_status status;
  switch (which) {
    case 0:
      status = kl_os_open(os, "/new", KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &opened, err);
      kl_os_close(os, opened);
      return status;
    case 1:
      return kl_os_read(os, file, &byte, 1, 0, &size, err);
    case 2:
      return put(sim, file, 0, &byte, 1, err);
    case 3:
      return kl_os_sync(os, file, true, err);
    case 4:
      return kl_os_size(os, file, &file_size, err);
    case 5:
      return kl_os_truncate(os, file, 3, err);
    case 6:
      return kl_os_allocate(os, file, 0, 5000, err);
    case 7:
      return kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, err);
    case 8:
      return kl_os_stat(os, "/file", &info, err);
    case 9:
      return kl_os_remove(os, "/other", err);
    case 10:
      return kl_os_rename(os, "/file", "/renamed", err);
    default:
      return kl_os_sync_directory(os, "/file", err);
  }
}

static kl_sim *prepare(kl_file **out_file) {
  kl_sim *sim = new_sim(5);
  *out_file = must_open(sim, "/file", KL_OPEN_WRITE | KL_OPEN_CREATE);
  kl_os_close(kl_sim_os(sim), must_open(sim, "/other", KL_OPEN_WRITE | KL_OPEN_CREATE));
  assert_int_equal(put(sim, *out_file, 0, "0123456789", 10, NULL), KL_OK);
  return sim;
}

static void test_each_call_is_one_operation(void **state) {
  (void)state;
  for (int which = 0; which < CALLS; which++) {
    kl_file *file;
    kl_sim *sim = prepare(&file);
    uint64_t before = kl_sim_operations(sim);
    assert_int_equal(call(sim, file, which, NULL), KL_OK);
    assert_int_equal(kl_sim_operations(sim), before + 1);
    (void)kl_os_wall_ns(kl_sim_os(sim));
    kl_os_close(kl_sim_os(sim), file);
    assert_int_equal(kl_sim_operations(sim), before + 1);
    free_sim(sim);
  }
}

static void test_io_error_strikes_each_call_once(void **state) {
  (void)state;
  for (int which = 0; which < CALLS; which++) {
    kl_file *file;
    kl_error error = {0};
    kl_sim *sim = prepare(&file);
    inject_next(sim, KL_SIM_FAULT_IO_ERROR);
    assert_true(kl_sim_fault_waits(sim));
    assert_int_equal(call(sim, file, which, &error), KL_E_IO);
    assert_int_equal(error.system_errno, EIO);
    assert_non_null(strstr(error.message, "\"/"));
    assert_false(kl_sim_fault_waits(sim));
    assert_false(kl_sim_crashed(sim));
    assert_int_equal(call(sim, file, which, NULL), KL_OK);
    kl_os_close(kl_sim_os(sim), file);
    free_sim(sim);
  }
}

static void test_after_a_crash_everything_fails(void **state) {
  (void)state;
  for (int which = 0; which < CALLS; which++) {
    kl_file *file;
    kl_error error = {0};
    kl_sim *sim = prepare(&file);
    uint64_t at = kl_sim_operations(sim) + 1;
    inject_next(sim, KL_SIM_FAULT_CRASH);
    assert_int_equal(call(sim, file, which, &error), KL_E_IO);
    assert_non_null(strstr(error.message, "simulated power"));
    assert_true(kl_sim_crashed(sim));
    for (int later = 0; later < CALLS; later++) assert_int_equal(call(sim, file, later, NULL), KL_E_IO);
    assert_int_equal(kl_sim_operations(sim), at); /* which is where a replay has to crash */
    kl_sim_restart(sim, 0);
    assert_false(kl_sim_crashed(sim));
    for (int later = 1; later < 8; later++) assert_int_equal(call(sim, file, later, NULL), KL_E_IO);
    assert_int_equal(kl_sim_operations(sim), at); /* the file's program is gone */
    kl_os_close(kl_sim_os(sim), file);
    free_sim(sim);
  }
}

/* ---- short transfers ---- */

static void test_short_calls_are_continued(void **state) {
  (void)state;
  unsigned char written[3000], read[3000];
  for (size_t i = 0; i < sizeof written; i++) written[i] = (unsigned char)(i * 31 + 7);
  for (uint64_t seed = 0; seed < 50; seed++) {
    kl_sim *sim = new_sim(seed);
    size_t size = 0;
    kl_file *file = must_open(sim, "/file", KL_OPEN_WRITE | KL_OPEN_CREATE);
    inject_next(sim, KL_SIM_FAULT_SHORT_WRITE);
    assert_true(kl_sim_fault_waits(sim));
    assert_int_equal(put(sim, file, 0, written, sizeof written, NULL), KL_OK);
    assert_false(kl_sim_fault_waits(sim));
    inject_next(sim, KL_SIM_FAULT_SHORT_READ);
    assert_int_equal(kl_os_read(kl_sim_os(sim), file, read, sizeof read, 0, &size, NULL), KL_OK);
    assert_false(kl_sim_fault_waits(sim));
    assert_int_equal(size, sizeof written);
    assert_memory_equal(read, written, size);
    kl_os_close(kl_sim_os(sim), file);
    free_sim(sim);
  }
}

static void test_failed_writes_store_any_part(void **state) {
  (void)state;
  bool none = false, some = false;
  unsigned char bytes[1000];
  memset(bytes, 'n', sizeof bytes);
  for (uint64_t seed = 0; seed < 200; seed++) {
    kl_sim *sim = new_sim(seed);
    uint64_t size = 0;
    kl_file *file = must_open(sim, "/file", KL_OPEN_WRITE | KL_OPEN_CREATE);
    inject_next(sim, KL_SIM_FAULT_IO_ERROR);
    assert_int_equal(put(sim, file, 0, bytes, sizeof bytes, NULL), KL_E_IO);
    assert_int_equal(kl_os_size(kl_sim_os(sim), file, &size, NULL), KL_OK);
    assert_true(size < sizeof bytes);
    if (size == 0) none = true;
    if (size > 0) some = true;
    kl_os_close(kl_sim_os(sim), file);
    free_sim(sim);
  }
  assert_true(none && some);
}

/* ---- space ---- */

static void test_full_disk(void **state) {
  (void)state;
  kl_sim *sim = new_sim(1);
  kl_os *os = kl_sim_os(sim);
  kl_file *opened = NULL;
  kl_error error = {0};
  uint64_t size = 0;
  static const unsigned char bytes[20000] = {1};
  kl_file *file = must_open(sim, "/file", KL_OPEN_WRITE | KL_OPEN_CREATE);
  assert_int_equal(put(sim, file, 0, bytes, 10000, NULL), KL_OK);
  assert_int_equal(kl_os_allocate(os, file, 12288, 8192, NULL), KL_OK); /* 20480 bytes; a hole at 12288 is not one */
  assert_int_equal(kl_os_truncate(os, file, 40960, NULL), KL_OK);
  inject_next(sim, KL_SIM_FAULT_DISK_FULL);
  /* What has its space goes on: old bytes, allocated ones, reading, syncing, and making holes. */
  assert_int_equal(put(sim, file, 0, bytes, 10000, NULL), KL_OK);
  assert_int_equal(put(sim, file, 12288, bytes, 8192, NULL), KL_OK);
  assert_int_equal(kl_os_sync(os, file, false, NULL), KL_OK);
  assert_int_equal(kl_os_truncate(os, file, 50000, NULL), KL_OK);
  assert_true(kl_sim_fault_waits(sim));
  /* What needs more does not. */
  assert_int_equal(put(sim, file, 50000, bytes, 1, &error), KL_E_DISK_FULL);
  assert_int_equal(error.system_errno, ENOSPC);
  assert_false(kl_sim_fault_waits(sim));
  assert_int_equal(put(sim, file, 20480, bytes, 1, NULL), KL_E_DISK_FULL); /* into the hole */
  assert_int_equal(put(sim, file, 18000, bytes, 8000, NULL), KL_E_DISK_FULL);
  assert_int_equal(kl_os_allocate(os, file, 0, 60000, NULL), KL_E_DISK_FULL);
  assert_int_equal(kl_os_open(os, "/new", KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &opened, NULL), KL_E_DISK_FULL);
  assert_int_equal(kl_os_size(os, file, &size, NULL), KL_OK);
  assert_int_equal(size, 50000);
  kl_sim_give_space(sim);
  assert_int_equal(put(sim, file, 50000, bytes, 1, NULL), KL_OK);
  kl_os_close(os, must_open(sim, "/new", KL_OPEN_WRITE | KL_OPEN_CREATE));
  kl_os_close(os, file);
  free_sim(sim);
}

static void test_read_only_media(void **state) {
  (void)state;
  static const kl_status expected[CALLS] = {KL_E_READ_ONLY_MEDIA,
                                            KL_OK,
                                            KL_E_READ_ONLY_MEDIA,
                                            KL_OK,
                                            KL_OK,
                                            KL_E_READ_ONLY_MEDIA,
                                            KL_E_READ_ONLY_MEDIA,
                                            KL_OK,
                                            KL_OK,
                                            KL_E_READ_ONLY_MEDIA,
                                            KL_E_READ_ONLY_MEDIA,
                                            KL_OK};
  kl_file *file;
  kl_sim *sim = prepare(&file);
  inject_next(sim, KL_SIM_FAULT_READ_ONLY);
  for (int which = 0; which < CALLS; which++) assert_int_equal(call(sim, file, which, NULL), expected[which]);
  assert_false(kl_sim_fault_waits(sim));
  kl_os_close(kl_sim_os(sim), must_open(sim, "/file", KL_OPEN_READ));
  kl_os_close(kl_sim_os(sim), file);
  free_sim(sim);
}

static void test_absurd_sizes(void **state) {
  (void)state;
  kl_file *file;
  kl_sim *sim = prepare(&file);
  assert_int_equal(put(sim, file, UINT64_C(1) << 40, "x", 1, NULL), KL_E_LIMIT);
  assert_int_equal(kl_os_truncate(kl_sim_os(sim), file, UINT64_C(1) << 40, NULL), KL_E_LIMIT);
  assert_int_equal(kl_os_allocate(kl_sim_os(sim), file, 0, UINT64_C(1) << 40, NULL), KL_E_LIMIT);
  assert_int_equal(put(sim, file, UINT64_C(1) << 33, "x", 1, NULL), KL_OK); /* large, sparse, cheap */
  kl_os_close(kl_sim_os(sim), file);
  free_sim(sim);
}

/* ---- syncs ---- */

static void test_sync_fails_once_or_for_ever(void **state) {
  (void)state;
  static const kl_sim_fault faults[] = {KL_SIM_FAULT_SYNC_FAILS, KL_SIM_FAULT_SYNC_BROKEN};
  for (int i = 0; i < 2; i++) {
    for (int kind = 0; kind < 3; kind++) { /* the three ways to sync */
      kl_sim *sim = new_sim(3);
      kl_os *os = kl_sim_os(sim);
      kl_file *plain = must_open(sim, "/file", KL_OPEN_WRITE | KL_OPEN_CREATE);
      kl_file *dsync = must_open(sim, "/file", KL_OPEN_WRITE | KL_OPEN_DSYNC);
      inject_next(sim, faults[i]);
      assert_int_equal(put(sim, plain, 0, "written", 7, NULL), KL_OK); /* no sync in it */
      for (int try = 0; try < 3; try++) {
        kl_status status = kind == 0   ? kl_os_sync(os, plain, true, NULL)
                           : kind == 1 ? kl_os_sync_directory(os, "/file", NULL)
                                       : put(sim, dsync, 0, "written", 7, NULL);
        assert_int_equal(status, try == 0 || faults[i] == KL_SIM_FAULT_SYNC_BROKEN ? KL_E_IO : KL_OK);
      }
      char read[7];
      size_t size = 0;
      assert_int_equal(kl_os_read(os, plain, read, 7, 0, &size, NULL), KL_OK);
      assert_memory_equal(read, "written", 7); /* what could not be stored is still seen */
      kl_os_close(os, plain);
      kl_os_close(os, dsync);
      free_sim(sim);
    }
  }
}

/* ---- memory ---- */

static void test_allocations_fail_when_told(void **state) {
  (void)state;
  kl_sim *sim = new_sim(1);
  kl_os *os = kl_sim_os(sim);
  kl_allocator *allocator = os->allocator;
  kl_file *file = NULL;
  uint64_t before = kl_sim_allocations(sim);
  void *first = kl_alloc(allocator, 100), *second = kl_alloc_aligned(allocator, 200, 64);
  assert_true(first != NULL && second != NULL && (uintptr_t)second % 64 == 0);
  assert_int_equal(kl_sim_allocations(sim), before + 2);
  assert_int_equal(kl_sim_live_bytes(sim), 300);
  kl_sim_fail_allocation(sim, 2);
  kl_free(allocator, first, 100);
  first = kl_alloc(allocator, 50);
  assert_non_null(first);
  assert_null(kl_alloc(allocator, 50));
  kl_free(allocator, kl_alloc(allocator, 50), 50); /* once */
  kl_sim_fail_allocation(sim, 1);
  assert_int_equal(kl_os_open(os, "/a", KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, NULL), KL_E_NO_MEMORY);
  assert_int_equal(kl_os_open(os, "/a", KL_OPEN_WRITE, 0, &file, NULL), KL_E_NO_FILE); /* nothing was done */
  kl_sim_fail_allocation(sim, 1);
  kl_sim_fail_allocation(sim, 0);
  file = must_open(sim, "/a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  assert_true(kl_sim_live_bytes(sim) > 250); /* a file that is not closed is a leak */
  kl_os_close(os, file);
  kl_free(allocator, first, 50);
  kl_free(allocator, second, 200);
  kl_free(allocator, NULL, 10);
  free_sim(sim);
}

/* ---- the machine around it ---- */

static void test_clock_is_virtual(void **state) {
  (void)state;
  kl_sim *sim = new_sim(1);
  kl_os *os = kl_sim_os(sim);
  uint64_t monotonic = kl_os_monotonic_ns(os), wall = kl_os_wall_ns(os);
  assert_int_equal(kl_os_monotonic_ns(os), monotonic);
  kl_os_sleep_ns(os, UINT64_C(3600) * 1000000000); /* an hour, at once */
  kl_sim_advance_clock(sim, 5);
  assert_int_equal(kl_os_monotonic_ns(os) - monotonic, UINT64_C(3600) * 1000000000 + 5);
  assert_int_equal(kl_os_wall_ns(os) - wall, UINT64_C(3600) * 1000000000 + 5);
  kl_file *file = must_open(sim, "/a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  assert_true(kl_os_monotonic_ns(os) - monotonic > UINT64_C(3600) * 1000000000 + 5); /* calls take time */
  kl_os_close(os, file);
  uint64_t process = kl_os_process_id(os);
  kl_sim_restart(sim, 0);
  assert_int_not_equal(kl_os_process_id(os), process);
  assert_false(os->has_threads);
  free_sim(sim);
}

static void test_poke_and_peek(void **state) {
  (void)state;
  kl_sim *sim = new_sim(1);
  char read[16];
  size_t size = 7;
  uint64_t before = kl_sim_operations(sim);
  assert_int_equal(kl_sim_peek(sim, "/a", 0, read, 4, &size), KL_E_NO_FILE);
  assert_int_equal(size, 0);
  assert_int_equal(kl_sim_poke(sim, "/a", 3, "abc", 3), KL_OK);
  assert_int_equal(kl_sim_make_directory(sim, "/a"), KL_E_EXISTS);
  kl_sim_restart(sim, KL_SIM_LOSE_ALL); /* poked bytes and names are durable */
  assert_int_equal(kl_sim_peek(sim, "/a", 0, read, sizeof read, &size), KL_OK);
  assert_int_equal(size, 6);
  assert_memory_equal(read, "\0\0\0abc", 6);
  kl_file *file = must_open(sim, "/a", KL_OPEN_WRITE);
  assert_int_equal(put(sim, file, 0, "pending", 7, NULL), KL_OK);
  assert_int_equal(kl_sim_poke(sim, "/a", 2, "XY", 2), KL_OK);
  assert_int_equal(kl_sim_peek(sim, "/a", 0, read, sizeof read, &size), KL_OK);
  assert_memory_equal(read, "peXYing", 7);
  kl_os_close(kl_sim_os(sim), file);
  kl_sim_restart(sim, KL_SIM_LOSE_ALL);
  assert_int_equal(kl_sim_peek(sim, "/a", 0, read, sizeof read, &size), KL_OK);
  assert_memory_equal(read, "\0\0XYbc", 6);
  assert_int_equal(kl_sim_operations(sim), before + 2);
  free_sim(sim);
}

static void test_restart_takes_files_and_locks(void **state) {
  (void)state;
  kl_file *file;
  kl_sim *sim = prepare(&file);
  kl_os *os = kl_sim_os(sim);
  assert_int_equal(kl_os_lock(os, file, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  kl_sim_restart(sim, KL_SIM_KEEP_ALL);
  kl_file *again = must_open(sim, "/file", KL_OPEN_WRITE);
  assert_int_equal(kl_os_lock(os, again, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  assert_int_equal(put(sim, file, 0, "ghost", 5, NULL), KL_E_IO);
  kl_os_close(os, file); /* the dead program's; the lock of the living stays */
  file = must_open(sim, "/file", KL_OPEN_WRITE);
  assert_int_equal(kl_os_lock(os, file, KL_LOCK_SHARED, NULL), KL_E_LOCKED);
  kl_os_close(os, file);
  kl_os_close(os, again);
  free_sim(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_call_is_one_operation),
      cmocka_unit_test(test_io_error_strikes_each_call_once),
      cmocka_unit_test(test_after_a_crash_everything_fails),
      cmocka_unit_test(test_short_calls_are_continued),
      cmocka_unit_test(test_failed_writes_store_any_part),
      cmocka_unit_test(test_full_disk),
      cmocka_unit_test(test_read_only_media),
      cmocka_unit_test(test_absurd_sizes),
      cmocka_unit_test(test_sync_fails_once_or_for_ever),
      cmocka_unit_test(test_allocations_fail_when_told),
      cmocka_unit_test(test_clock_is_virtual),
      cmocka_unit_test(test_poke_and_peek),
      cmocka_unit_test(test_restart_takes_files_and_locks),
  };
  return cmocka_run_group_tests_name("os_sim_faults", tests, NULL, NULL);
}
