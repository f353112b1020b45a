/* What a crash does: what can be lost, torn and reordered (OS-8), and what cannot (OS-7). */
#include <string.h>

#include "cmocka_all.h"
#include "core/os/sim/sim.h"
#include "seed.h"

enum { CHOICES = 200, UNIT = 512 };

static kl_sim *new_sim(uint64_t seed) {
  kl_sim *sim = NULL;
  assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
  return sim;
}

static kl_file *must_open(kl_sim *sim, const char *path, uint32_t flags) {
  kl_file *file = NULL;
  kl_error error = {0};
  if (kl_os_open(kl_sim_os(sim), path, flags, 0, &file, &error) != KL_OK) fail_msg("%s", error.message);
  return file;
}

static void fill(kl_sim *sim, kl_file *file, uint64_t offset, char with, size_t size) {
  char bytes[16384];
  memset(bytes, with, size);
  kl_slice part = kl_slice_make(bytes, size);
  assert_int_equal(kl_os_write(kl_sim_os(sim), file, &part, 1, offset, NULL), KL_OK);
}

static void sync_all(kl_sim *sim, kl_file *file, const char *path) {
  assert_int_equal(kl_os_sync(kl_sim_os(sim), file, false, NULL), KL_OK);
  assert_int_equal(kl_os_sync_directory(kl_sim_os(sim), path, NULL), KL_OK);
}

/* A machine with a durable /a of `size` times 'o'; *out_file is open for writing with `flags` besides. */
static kl_sim *with_old_file(size_t size, uint32_t flags, kl_file **out_file) {
  kl_sim *sim = new_sim(test_seed(11));
  *out_file = must_open(sim, "/a", KL_OPEN_WRITE | KL_OPEN_CREATE | flags);
  if (size > 0) fill(sim, *out_file, 0, 'o', size);
  sync_all(sim, *out_file, "/a");
  return sim;
}

/* What /a holds when a clone of the machine crashes now and settles by `choice`. */
static size_t after_crash(const kl_sim *sim, uint64_t choice, char *out, size_t capacity) {
  kl_sim *clone = NULL;
  size_t size = 0;
  assert_int_equal(kl_sim_clone(sim, &clone), KL_OK);
  kl_sim_restart(clone, choice);
  assert_int_equal(kl_sim_peek(clone, "/a", 0, out, capacity, &size), KL_OK);
  kl_sim_free(clone);
  return size;
}

static size_t count_of(const char *bytes, size_t size, char wanted) {
  size_t count = 0;
  for (size_t i = 0; i < size; i++) count += bytes[i] == wanted;
  return count;
}

static void test_pending_writes_are_kept_lost_torn_and_reordered(void **state) {
  (void)state;
  enum { SIZE = 4 * UNIT };
  char now[SIZE + 1];
  kl_file *file;
  size_t lost = 0, kept = 0, torn = 0, early_only = 0, late_only = 0;
  kl_sim *sim = with_old_file(SIZE, 0, &file);
  fill(sim, file, 0, '1', 2 * UNIT);
  fill(sim, file, 2 * UNIT, '2', 2 * UNIT);
  for (uint64_t choice = 0; choice < CHOICES; choice++) {
    assert_int_equal(after_crash(sim, choice, now, sizeof now), SIZE);
    size_t old = count_of(now, SIZE, 'o'), first = count_of(now, SIZE, '1'), second = count_of(now, SIZE, '2');
    assert_int_equal(old + first + second, SIZE);
    assert_int_equal(count_of(now, 2 * UNIT, '2') + count_of(now + 2 * UNIT, 2 * UNIT, '1'), 0);
    lost += old == SIZE;
    kept += old == 0;
    torn += count_of(now, UNIT, '1') % UNIT != 0; /* a unit that is neither old nor new */
    early_only += first == 2 * UNIT && second == 0;
    late_only += first == 0 && second == 2 * UNIT;
  }
  assert_true(lost > 0 && kept > 0 && torn > 0 && early_only > 0 && late_only > 0);
  assert_int_equal(after_crash(sim, KL_SIM_LOSE_ALL, now, sizeof now), SIZE);
  assert_int_equal(count_of(now, SIZE, 'o'), SIZE);
  assert_int_equal(after_crash(sim, KL_SIM_KEEP_ALL, now, sizeof now), SIZE);
  assert_int_equal(count_of(now, SIZE, 'o'), 0);
  kl_os_close(kl_sim_os(sim), file);
  kl_sim_free(sim);
}

/* Two writes to one place: the older may be what stays. */
static void test_overwrites_may_be_lost_too(void **state) {
  (void)state;
  char now[UNIT + 1];
  kl_file *file;
  size_t seen[3] = {0, 0, 0};
  kl_sim *sim = with_old_file(UNIT, 0, &file);
  fill(sim, file, 0, '1', UNIT);
  fill(sim, file, 0, '2', UNIT);
  for (uint64_t choice = 0; choice < CHOICES; choice++) {
    assert_int_equal(after_crash(sim, choice, now, sizeof now), UNIT);
    seen[0] += count_of(now, UNIT, 'o') == UNIT;
    seen[1] += count_of(now, UNIT, '1') == UNIT;
    seen[2] += count_of(now, UNIT, '2') == UNIT;
  }
  assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
  kl_os_close(kl_sim_os(sim), file);
  kl_sim_free(sim);
}

static void test_synced_bytes_stay(void **state) {
  (void)state;
  char now[4 * UNIT + 1];
  kl_file *file;
  kl_sim *sim = with_old_file(4 * UNIT, 0, &file);
  fill(sim, file, 0, '1', 4 * UNIT);
  assert_int_equal(kl_os_sync(kl_sim_os(sim), file, true, NULL), KL_OK);
  fill(sim, file, UNIT / 2, '2', UNIT); /* pending, in units that hold synced bytes */
  for (uint64_t choice = 0; choice < CHOICES; choice++) {
    assert_int_equal(after_crash(sim, choice, now, sizeof now), 4 * UNIT);
    assert_int_equal(count_of(now, UNIT / 2, '1'), UNIT / 2);
    assert_int_equal(count_of(now + UNIT + UNIT / 2, 2 * UNIT + UNIT / 2, '1'), 2 * UNIT + UNIT / 2);
    assert_int_equal(count_of(now, 4 * UNIT, 'o'), 0);
  }
  kl_os_close(kl_sim_os(sim), file);
  kl_sim_free(sim);
}

static void test_dsync_writes_stay_and_bring_nothing_along(void **state) {
  (void)state;
  char now[4 * UNIT];
  kl_file *plain, *dsync;
  size_t neighbour_lost = 0;
  kl_sim *sim = with_old_file(0, 0, &plain);
  dsync = must_open(sim, "/a", KL_OPEN_WRITE | KL_OPEN_DSYNC);
  fill(sim, plain, 0, '1', 2 * UNIT);
  fill(sim, dsync, UNIT / 2, '2', UNIT); /* over the pending one, which must not come back over it */
  for (uint64_t choice = 0; choice < CHOICES; choice++) {
    assert_true(after_crash(sim, choice, now, sizeof now) >= UNIT + UNIT / 2); /* the size came with it */
    assert_int_equal(count_of(now + UNIT / 2, UNIT, '2'), UNIT);
    neighbour_lost += count_of(now, UNIT / 2, '1') == 0;
  }
  assert_true(neighbour_lost > 0);
  kl_os_close(kl_sim_os(sim), plain);
  kl_os_close(kl_sim_os(sim), dsync);
  kl_sim_free(sim);
}

static void test_sizes_are_pending(void **state) {
  (void)state;
  char now[8 * UNIT];
  kl_file *file;
  size_t old = 0, grown = 0, cut = 0, overtaken = 0;
  kl_sim *sim = with_old_file(2 * UNIT, 0, &file);
  fill(sim, file, 2 * UNIT, '1', UNIT);
  assert_int_equal(kl_os_truncate(kl_sim_os(sim), file, UNIT, NULL), KL_OK);
  fill(sim, file, 0, '2', UNIT / 2);
  for (uint64_t choice = 0; choice < CHOICES; choice++) {
    size_t size = after_crash(sim, choice, now, sizeof now);
    assert_true(size == 2 * UNIT || size == 3 * UNIT || size == UNIT); /* one that the file has had */
    assert_int_equal(count_of(now + UNIT / 2, UNIT / 2, 'o'), UNIT / 2);
    overtaken += size == 2 * UNIT && count_of(now, UNIT / 2, '2') == UNIT / 2; /* by a write that is younger */
    old += size == 2 * UNIT;
    grown += size == 3 * UNIT;
    cut += size == UNIT;
  }
  assert_true(old > 0 && grown > 0 && cut > 0 && overtaken > 0);
  kl_os_close(kl_sim_os(sim), file);
  kl_sim_free(sim);
}

static void test_data_only_sync_owes_the_size_that_data_needs(void **state) {
  (void)state;
  char now[16 * UNIT];
  kl_file *file;
  bool later_lost = false;
  kl_sim *sim = with_old_file(UNIT, 0, &file);
  kl_os *os = kl_sim_os(sim);
  assert_int_equal(kl_os_allocate(os, file, 0, 8 * UNIT, NULL), KL_OK);
  fill(sim, file, 2 * UNIT, '1', UNIT);
  assert_int_equal(kl_os_allocate(os, file, 0, 12 * UNIT, NULL), KL_OK); /* after the last write: not owed */
  assert_int_equal(kl_os_sync(os, file, true, NULL), KL_OK);
  for (uint64_t choice = 0; choice < CHOICES; choice++) {
    size_t size = after_crash(sim, choice, now, sizeof now);
    assert_true(size == 8 * UNIT || size == 12 * UNIT);
    assert_int_equal(count_of(now + 2 * UNIT, UNIT, '1'), UNIT);
    if (size == 8 * UNIT) later_lost = true;
  }
  assert_true(later_lost);
  assert_int_equal(kl_os_sync(os, file, false, NULL), KL_OK);
  assert_int_equal(after_crash(sim, KL_SIM_LOSE_ALL, now, sizeof now), 12 * UNIT);
  kl_os_close(os, file);
  kl_sim_free(sim);
}

/* A truncation that was not synced must not cut what is written and synced afterwards. */
static void test_synced_writes_survive_older_truncations(void **state) {
  (void)state;
  static const uint32_t ways[] = {0, KL_OPEN_DSYNC};
  for (size_t i = 0; i < 2; i++) {
    char now[8 * UNIT];
    kl_file *file;
    kl_sim *sim = with_old_file(4 * UNIT, ways[i], &file);
    kl_os *os = kl_sim_os(sim);
    assert_int_equal(kl_os_truncate(os, file, 0, NULL), KL_OK);
    assert_int_equal(kl_os_truncate(os, file, 4 * UNIT, NULL), KL_OK);
    fill(sim, file, UNIT, '1', UNIT);
    if (ways[i] == 0) assert_int_equal(kl_os_sync(os, file, true, NULL), KL_OK);
    for (uint64_t choice = 0; choice < CHOICES; choice++) {
      assert_true(after_crash(sim, choice, now, sizeof now) >= 2 * UNIT);
      assert_int_equal(count_of(now + UNIT, UNIT, '1'), UNIT);
    }
    kl_os_close(os, file);
    kl_sim_free(sim);
  }
}

/* The reason for OS-2. */
static void test_failed_syncs_give_writes_up(void **state) {
  (void)state;
  enum { SIZE = 8 * UNIT };
  char now[SIZE];
  size_t all = 0, none = 0, some = 0, back = 0;
  for (uint64_t seed = 0; seed < CHOICES; seed++) {
    kl_file *file;
    kl_sim *sim = new_sim(seed);
    kl_os *os = kl_sim_os(sim);
    size_t size = 0;
    file = must_open(sim, "/a", KL_OPEN_WRITE | KL_OPEN_CREATE);
    fill(sim, file, 0, 'o', SIZE);
    sync_all(sim, file, "/a");
    fill(sim, file, 0, '1', SIZE);
    kl_sim_inject(sim, KL_SIM_FAULT_SYNC_FAILS, 0);
    assert_int_equal(kl_os_sync(os, file, true, NULL), KL_E_IO);
    assert_int_equal(kl_os_sync(os, file, true, NULL), KL_OK); /* which promises nothing about them */
    assert_int_equal(kl_os_read(os, file, now, SIZE, 0, &size, NULL), KL_OK);
    assert_int_equal(count_of(now, size, '1'), SIZE);
    assert_int_equal(after_crash(sim, KL_SIM_LOSE_ALL, now, SIZE), SIZE);
    size_t stored = count_of(now, SIZE, '1');
    assert_int_equal(stored % UNIT, 0);
    all += stored == SIZE;
    none += stored == 0;
    some += stored > 0 && stored < SIZE;
    assert_int_equal(after_crash(sim, KL_SIM_KEEP_ALL, now, SIZE), SIZE); /* they may have been stored all the same */
    back += stored == 0 && count_of(now, SIZE, '1') == SIZE;
    /* Written anew and synced, they are as good as any. */
    fill(sim, file, 0, '2', SIZE);
    assert_int_equal(kl_os_sync(os, file, true, NULL), KL_OK);
    for (uint64_t choice = 0; choice < 8; choice++) {
      assert_int_equal(after_crash(sim, choice, now, SIZE), SIZE);
      assert_int_equal(count_of(now, SIZE, '2'), SIZE);
    }
    kl_os_close(os, file);
    kl_sim_free(sim);
  }
  assert_true(all > 0 && none > 0 && some > 0 && back > 0);
}

static bool exists(kl_sim *sim, const char *path) {
  kl_file_info info;
  assert_int_equal(kl_os_stat(kl_sim_os(sim), path, &info, NULL), KL_OK);
  return info.kind == KL_FILE_REGULAR;
}

static void test_names_need_their_directory_synced(void **state) {
  (void)state;
  size_t created = 0, removed = 0, renamed = 0;
  kl_file *file;
  kl_sim *sim = with_old_file(UNIT, 0, &file);
  kl_os *os = kl_sim_os(sim);
  kl_os_close(os, file);
  kl_os_close(os, must_open(sim, "/gone", KL_OPEN_WRITE | KL_OPEN_CREATE));
  assert_int_equal(kl_os_sync_directory(os, "/a", NULL), KL_OK);
  file = must_open(sim, "/new", KL_OPEN_WRITE | KL_OPEN_CREATE);
  fill(sim, file, 0, 'n', UNIT);
  assert_int_equal(kl_os_sync(os, file, false, NULL), KL_OK); /* of the file: says nothing about its name */
  assert_int_equal(kl_os_remove(os, "/gone", NULL), KL_OK);
  assert_int_equal(kl_os_rename(os, "/a", "/b", NULL), KL_OK);
  assert_int_equal(kl_os_sync_directory(os, "/elsewhere/a", NULL), KL_OK);
  for (uint64_t choice = 0; choice < CHOICES; choice++) {
    kl_sim *clone = NULL;
    char byte;
    size_t size = 0;
    assert_int_equal(kl_sim_clone(sim, &clone), KL_OK);
    kl_sim_restart(clone, choice);
    assert_true(exists(clone, "/a") != exists(clone, "/b")); /* a rename is whole */
    created += exists(clone, "/new");
    removed += !exists(clone, "/gone");
    renamed += exists(clone, "/b");
    if (exists(clone, "/new")) {
      assert_int_equal(kl_sim_peek(clone, "/new", UNIT - 1, &byte, 1, &size), KL_OK);
      assert_true(size == 1 && byte == 'n');
    }
    kl_sim_free(clone);
  }
  assert_true(created > 0 && created < CHOICES && removed > 0 && removed < CHOICES);
  assert_true(renamed > 0 && renamed < CHOICES);
  assert_int_equal(kl_os_sync_directory(os, "/whatever", NULL), KL_OK);
  kl_os_close(os, file);
  kl_sim_restart(sim, KL_SIM_LOSE_ALL);
  assert_true(exists(sim, "/b") && exists(sim, "/new") && !exists(sim, "/a") && !exists(sim, "/gone"));
  kl_sim_free(sim);
}

/* Transitions between old and new bytes inside of one unit: a torn one has one. */
static size_t transitions_in_unit(const char *bytes, size_t unit) {
  size_t count = 0;
  for (size_t i = 1; i < unit; i++) count += bytes[i] != bytes[i - 1];
  return count;
}

static void test_tear_granularity(void **state) {
  (void)state;
  static const uint32_t units[] = {512, 4096};
  char now[16384];
  for (size_t u = 0; u < 2; u++) {
    kl_file *file;
    size_t most_in_4096 = 0;
    kl_sim *sim = with_old_file(sizeof now, 0, &file);
    kl_sim_set_tear_bytes(sim, units[u]);
    fill(sim, file, 0, '1', sizeof now);
    for (uint64_t choice = 0; choice < CHOICES; choice++) {
      assert_int_equal(after_crash(sim, choice, now, sizeof now), sizeof now);
      for (size_t at = 0; at < sizeof now; at += units[u]) assert_true(transitions_in_unit(now + at, units[u]) <= 1);
      for (size_t at = 0; at < sizeof now; at += 4096) {
        size_t count = transitions_in_unit(now + at, 4096);
        if (count > most_in_4096) most_in_4096 = count;
      }
    }
    assert_true(units[u] == 4096 ? most_in_4096 == 1 : most_in_4096 > 1);
    kl_os_close(kl_sim_os(sim), file);
    kl_sim_free(sim);
  }
}

static void test_garbage_stays_inside_of_torn_units(void **state) {
  (void)state;
  char now[4 * UNIT];
  for (int on = 0; on < 2; on++) {
    kl_file *file;
    size_t neighbours_damaged = 0;
    kl_sim *sim = with_old_file(4 * UNIT, 0, &file);
    kl_sim_set_garbage(sim, on == 1);
    fill(sim, file, UNIT + 100, '1', 50);
    for (uint64_t choice = 0; choice < CHOICES; choice++) {
      assert_int_equal(after_crash(sim, choice, now, sizeof now), 4 * UNIT);
      assert_int_equal(count_of(now, UNIT, 'o'), UNIT);
      assert_int_equal(count_of(now + 2 * UNIT, 2 * UNIT, 'o'), 2 * UNIT);
      neighbours_damaged += count_of(now + UNIT, 100, 'o') < 100;
    }
    assert_true(on == 1 ? neighbours_damaged > 0 : neighbours_damaged == 0);
    kl_os_close(kl_sim_os(sim), file);
    kl_sim_free(sim);
  }
}

/* Files that are only held open are gone when the machine comes back. */
static void test_removed_files_do_not_come_back(void **state) {
  (void)state;
  kl_file *file;
  kl_sim *sim = with_old_file(UNIT, 0, &file);
  kl_os *os = kl_sim_os(sim);
  assert_int_equal(kl_os_remove(os, "/a", NULL), KL_OK);
  assert_int_equal(kl_os_sync_directory(os, "/a", NULL), KL_OK);
  fill(sim, file, 0, '1', UNIT);
  kl_sim_restart(sim, KL_SIM_KEEP_ALL);
  assert_false(exists(sim, "/a"));
  kl_os_close(os, file);
  kl_sim_free(sim);
}

/* ---- a program that crashes at each of its operations ---- */

/* Replaces /a by a new version, whole or not at all, if `careful`; the careless one trusts that writes arrive. */
static kl_status replace_file(kl_os *os, bool careful, char with) {
  kl_file *file = NULL;
  char bytes[3 * UNIT];
  memset(bytes, with, sizeof bytes);
  kl_slice part = kl_slice_make(bytes, sizeof bytes);
  kl_status status = kl_os_open(os, "/a-new", KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, NULL);
  if (status == KL_OK) status = kl_os_truncate(os, file, 0, NULL);
  if (status == KL_OK) status = kl_os_write(os, file, &part, 1, 0, NULL);
  if (status == KL_OK && careful) status = kl_os_sync(os, file, true, NULL);
  if (status == KL_OK) status = kl_os_rename(os, "/a-new", "/a", NULL);
  if (status == KL_OK && careful) status = kl_os_sync_directory(os, "/a", NULL);
  kl_os_close(os, file);
  return status;
}

/* Crashes at each operation, in several ways each; returns how often /a was neither version whole, or an acknowledged
 * version was gone. */
static size_t count_broken_replacements(bool careful) {
  size_t broken = 0;
  for (uint64_t at = 1;; at++) {
    kl_file *file;
    kl_sim *sim = with_old_file(3 * UNIT, 0, &file);
    kl_os_close(kl_sim_os(sim), file);
    kl_sim_inject(sim, KL_SIM_FAULT_CRASH, kl_sim_operations(sim) + at);
    bool done = replace_file(kl_sim_os(sim), careful, 'n') == KL_OK;
    for (uint64_t choice = 0; choice < 40; choice++) {
      char now[4 * UNIT];
      size_t size = after_crash(sim, choice, now, sizeof now);
      bool is_old = size == 3 * UNIT && count_of(now, size, 'o') == size;
      bool is_new = size == 3 * UNIT && count_of(now, size, 'n') == size;
      broken += done ? !is_new : !is_old && !is_new;
    }
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
    if (done) return broken;
  }
}

static void test_crashes_at_each_operation_find_what_a_missing_sync_breaks(void **state) {
  (void)state;
  assert_int_equal(count_broken_replacements(true), 0);
  assert_true(count_broken_replacements(false) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pending_writes_are_kept_lost_torn_and_reordered),
      cmocka_unit_test(test_overwrites_may_be_lost_too),
      cmocka_unit_test(test_synced_bytes_stay),
      cmocka_unit_test(test_dsync_writes_stay_and_bring_nothing_along),
      cmocka_unit_test(test_sizes_are_pending),
      cmocka_unit_test(test_data_only_sync_owes_the_size_that_data_needs),
      cmocka_unit_test(test_synced_writes_survive_older_truncations),
      cmocka_unit_test(test_failed_syncs_give_writes_up),
      cmocka_unit_test(test_names_need_their_directory_synced),
      cmocka_unit_test(test_tear_granularity),
      cmocka_unit_test(test_garbage_stays_inside_of_torn_units),
      cmocka_unit_test(test_removed_files_do_not_come_back),
      cmocka_unit_test(test_crashes_at_each_operation_find_what_a_missing_sync_breaks),
  };
  return cmocka_run_group_tests_name("os_sim_crash", tests, NULL, NULL);
}
