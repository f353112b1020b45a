#include "os_suite.h"

#include <stdio.h>
#include <string.h>

#include "core/base/rng.h"
#include "seed.h"

const char *os_path(const os_fixture *fixture, const char *name) {
  static char paths[4][128];
  static unsigned next;
  char *path = paths[next++ % 4];
  (void)snprintf(path, sizeof paths[0], "%s/%s", fixture->directory, name);
  return path;
}

kl_file *os_must_open(const os_fixture *fixture, const char *name, uint32_t flags) {
  kl_file *file = NULL;
  kl_error error = {0};
  if (kl_os_open(fixture->os, os_path(fixture, name), flags, 0, &file, &error) != KL_OK) fail_msg("%s", error.message);
  return file;
}

void os_must_write(const os_fixture *fixture, kl_file *file, uint64_t offset, const void *bytes, size_t size) {
  kl_error error = {0};
  kl_slice part = kl_slice_make(bytes, size);
  if (kl_os_write(fixture->os, file, &part, 1, offset, &error) != KL_OK) fail_msg("%s", error.message);
}

static void expect_content(const os_fixture *fixture, kl_file *file, uint64_t offset, const char *expected) {
  char read[64];
  size_t size = 0;
  assert_int_equal(kl_os_read(fixture->os, file, read, strlen(expected), offset, &size, NULL), KL_OK);
  assert_int_equal(size, strlen(expected));
  assert_memory_equal(read, expected, size);
}

static uint64_t size_of(const os_fixture *fixture, kl_file *file) {
  uint64_t size = UINT64_MAX;
  assert_int_equal(kl_os_size(fixture->os, file, &size, NULL), KL_OK);
  return size;
}

static kl_file_kind kind_of(const os_fixture *fixture, const char *name) {
  kl_file_info info;
  assert_int_equal(kl_os_stat(fixture->os, os_path(fixture, name), &info, NULL), KL_OK);
  return info.kind;
}

static void suite_opens_what_the_flags_say(void **state) {
  const os_fixture *f = *state;
  kl_error error = {0};
  kl_file *file = NULL;
  assert_int_equal(kl_os_open(f->os, os_path(f, "a"), KL_OPEN_WRITE, 0, &file, &error), KL_E_NO_FILE);
  assert_int_equal(error.code, KL_E_NO_FILE);
  assert_non_null(strstr(error.message, "/a\""));
  assert_int_not_equal(error.system_errno, 0);
  assert_int_equal(kind_of(f, "a"), KL_FILE_ABSENT);
  kl_os_close(f->os, os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_EXCLUSIVE));
  assert_int_equal(kind_of(f, "a"), KL_FILE_REGULAR);
  uint32_t again = KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_EXCLUSIVE;
  assert_int_equal(kl_os_open(f->os, os_path(f, "a"), again, 0, &file, &error), KL_E_EXISTS);
  kl_os_close(f->os, os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE));
  kl_os_close(f->os, NULL);
}

static void suite_refuses_impossible_flags(void **state) {
  const os_fixture *f = *state;
  static const uint32_t impossible[] = {0,
                                        KL_OPEN_CREATE,
                                        KL_OPEN_READ | KL_OPEN_CREATE,
                                        KL_OPEN_WRITE | KL_OPEN_EXCLUSIVE,
                                        KL_OPEN_DSYNC,
                                        KL_OPEN_WRITE | 1024u};
  for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
    kl_file *file = NULL;
    assert_int_equal(kl_os_open(f->os, os_path(f, "a"), impossible[i], 0, &file, NULL), KL_E_INVALID);
  }
  assert_int_equal(kind_of(f, "a"), KL_FILE_ABSENT);
}

static void suite_refuses_directories(void **state) {
  os_fixture *f = *state;
  static const uint32_t ways[] = {KL_OPEN_READ, KL_OPEN_WRITE, KL_OPEN_WRITE | KL_OPEN_CREATE};
  f->make_directory(f, os_path(f, "d"));
  assert_int_equal(kind_of(f, "d"), KL_FILE_DIRECTORY);
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    kl_file *file = NULL;
    kl_error error = {0};
    assert_int_equal(kl_os_open(f->os, os_path(f, "d"), ways[i], 0, &file, &error), KL_E_NOT_A_FILE);
    assert_non_null(strstr(error.message, "/d\""));
  }
  assert_int_equal(kl_os_remove(f->os, os_path(f, "d"), NULL), KL_E_NOT_A_FILE);
}

static void suite_protects_files_that_are_open_for_reading(void **state) {
  const os_fixture *f = *state;
  kl_slice part = kl_slice_make("x", 1);
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  os_must_write(f, file, 0, "kept", 4);
  kl_os_close(f->os, file);
  file = os_must_open(f, "a", KL_OPEN_READ);
  assert_int_equal(kl_os_write(f->os, file, &part, 1, 0, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_truncate(f->os, file, 0, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_allocate(f->os, file, 0, 4096, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_lock(f->os, file, KL_LOCK_EXCLUSIVE, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_lock(f->os, file, KL_LOCK_SHARED, NULL), KL_OK);
  expect_content(f, file, 0, "kept");
  assert_int_equal(size_of(f, file), 4);
  kl_os_close(f->os, file);
}

static void suite_writes_parts_in_order(void **state) {
  const os_fixture *f = *state;
  enum { PARTS = 200 }; /* more than one system call takes */
  unsigned char bytes[PARTS], read[PARTS + 10];
  kl_slice parts[2 * PARTS];
  size_t size = 0;
  for (size_t i = 0; i < PARTS; i++) {
    bytes[i] = (unsigned char)(i + 1);
    parts[2 * i] = kl_slice_make(&bytes[i], 1);
    parts[2 * i + 1] = kl_slice_make(NULL, 0); /* empty ones between, and at the end */
  }
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  assert_int_equal(kl_os_write(f->os, file, parts, 2 * PARTS, 5, NULL), KL_OK);
  assert_int_equal(kl_os_read(f->os, file, read, sizeof read, 0, &size, NULL), KL_OK);
  assert_int_equal(size, PARTS + 5);
  assert_memory_equal(read, "\0\0\0\0\0", 5);
  assert_memory_equal(read + 5, bytes, PARTS);
  assert_int_equal(kl_os_write(f->os, file, NULL, 0, 5000, NULL), KL_OK);
  assert_int_equal(size_of(f, file), PARTS + 5);
  assert_int_equal(kl_os_read(f->os, file, read, 10, PARTS + 5, &size, NULL), KL_OK);
  assert_int_equal(size, 0);
  kl_os_close(f->os, file);
}

static void suite_sizes(void **state) {
  const os_fixture *f = *state;
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  os_must_write(f, file, 0, "0123456789", 10);
  assert_int_equal(kl_os_truncate(f->os, file, 4, NULL), KL_OK);
  assert_int_equal(size_of(f, file), 4);
  assert_int_equal(kl_os_truncate(f->os, file, 8, NULL), KL_OK);
  char read[9] = "";
  size_t size = 0;
  assert_int_equal(kl_os_read(f->os, file, read, 9, 0, &size, NULL), KL_OK);
  assert_int_equal(size, 8);
  assert_memory_equal(read, "0123\0\0\0\0", 8); /* what was cut does not come back */
  assert_int_equal(kl_os_allocate(f->os, file, 2, 4, NULL), KL_OK);
  assert_int_equal(size_of(f, file), 8);
  assert_int_equal(kl_os_allocate(f->os, file, 6, 100000, NULL), KL_OK);
  assert_int_equal(size_of(f, file), 100006);
  assert_int_equal(kl_os_allocate(f->os, file, 500000, 0, NULL), KL_OK);
  assert_int_equal(size_of(f, file), 100006);
  expect_content(f, file, 0, "0123");
  kl_os_close(f->os, file);
}

static void suite_refuses_ranges_that_no_file_has(void **state) {
  const os_fixture *f = *state;
  char byte = 0;
  size_t size = 0;
  kl_slice part = kl_slice_make(&byte, 1), huge[2] = {{&byte, SIZE_MAX}, {&byte, 2}};
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  assert_int_equal(kl_os_write(f->os, file, &part, 1, INT64_MAX, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_write(f->os, file, &part, 1, UINT64_MAX, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_write(f->os, file, huge, 2, 0, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_read(f->os, file, &byte, 1, UINT64_MAX, &size, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_truncate(f->os, file, (uint64_t)INT64_MAX + 1, NULL), KL_E_INVALID);
  assert_int_equal(kl_os_allocate(f->os, file, INT64_MAX, 1, NULL), KL_E_INVALID);
  assert_int_equal(size_of(f, file), 0);
  kl_os_close(f->os, file);
}

static void suite_syncs(void **state) {
  const os_fixture *f = *state;
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_DSYNC);
  os_must_write(f, file, 0, "data", 4);
  assert_int_equal(kl_os_sync(f->os, file, true, NULL), KL_OK);
  assert_int_equal(kl_os_sync(f->os, file, false, NULL), KL_OK);
  assert_int_equal(kl_os_sync_directory(f->os, os_path(f, "a"), NULL), KL_OK);
  expect_content(f, file, 0, "data");
  kl_os_close(f->os, file);
}

/* Two locks on one file: which pairs go together (OS-3). */
static void suite_lock_pair(const os_fixture *f, kl_lock_mode first, kl_lock_mode second, kl_status expected) {
  kl_error error = {0};
  kl_file *a = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE), *b = os_must_open(f, "a", KL_OPEN_WRITE);
  assert_int_equal(kl_os_lock(f->os, a, first, NULL), KL_OK);
  assert_int_equal(kl_os_lock(f->os, b, second, &error), expected);
  if (expected != KL_OK) assert_non_null(strstr(error.message, "/a\""));
  kl_os_close(f->os, a);
  assert_int_equal(kl_os_lock(f->os, b, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  kl_os_close(f->os, b);
}

static void suite_locks_exclude(void **state) {
  const os_fixture *f = *state;
  suite_lock_pair(f, KL_LOCK_SHARED, KL_LOCK_SHARED, KL_OK);
  suite_lock_pair(f, KL_LOCK_SHARED, KL_LOCK_EXCLUSIVE, KL_E_LOCKED);
  suite_lock_pair(f, KL_LOCK_EXCLUSIVE, KL_LOCK_SHARED, KL_E_LOCKED);
  suite_lock_pair(f, KL_LOCK_EXCLUSIVE, KL_LOCK_EXCLUSIVE, KL_E_LOCKED);
}

static void suite_locks_change_and_end(void **state) {
  const os_fixture *f = *state;
  kl_file *a = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE), *b = os_must_open(f, "a", KL_OPEN_WRITE);
  kl_file *other = os_must_open(f, "b", KL_OPEN_WRITE | KL_OPEN_CREATE);
  assert_int_equal(kl_os_lock(f->os, a, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  assert_int_equal(kl_os_lock(f->os, a, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  assert_int_equal(kl_os_lock(f->os, other, KL_LOCK_EXCLUSIVE, NULL), KL_OK);
  /* Closing another file of the same name ends no lock, as it would with the older locks of POSIX. */
  kl_os_close(f->os, os_must_open(f, "a", KL_OPEN_READ));
  assert_int_equal(kl_os_lock(f->os, b, KL_LOCK_SHARED, NULL), KL_E_LOCKED);
  assert_int_equal(kl_os_lock(f->os, a, KL_LOCK_SHARED, NULL), KL_OK);
  assert_int_equal(kl_os_lock(f->os, b, KL_LOCK_SHARED, NULL), KL_OK);
  assert_int_equal(kl_os_lock(f->os, a, KL_LOCK_EXCLUSIVE, NULL), KL_E_LOCKED);
  kl_os_close(f->os, a);
  kl_os_close(f->os, b);
  kl_os_close(f->os, other);
}

static void suite_stat_tells_files_apart(void **state) {
  const os_fixture *f = *state;
  kl_file_info a, b, again;
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  os_must_write(f, file, 0, "12345", 5);
  kl_os_close(f->os, file);
  kl_os_close(f->os, os_must_open(f, "b", KL_OPEN_WRITE | KL_OPEN_CREATE));
  assert_int_equal(kl_os_stat(f->os, os_path(f, "a"), &a, NULL), KL_OK);
  assert_int_equal(kl_os_stat(f->os, os_path(f, "b"), &b, NULL), KL_OK);
  assert_int_equal(a.size, 5);
  assert_int_equal(b.size, 0);
  assert_true(a.device == b.device && a.inode != b.inode);
  assert_int_equal(kl_os_rename(f->os, os_path(f, "a"), os_path(f, "c"), NULL), KL_OK);
  assert_int_equal(kl_os_stat(f->os, os_path(f, "c"), &again, NULL), KL_OK);
  assert_true(again.device == a.device && again.inode == a.inode && again.size == a.size);
}

static void suite_removes_and_renames(void **state) {
  const os_fixture *f = *state;
  kl_error error = {0};
  kl_file *a = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE),
          *b = os_must_open(f, "b", KL_OPEN_WRITE | KL_OPEN_CREATE);
  os_must_write(f, a, 0, "from a", 6);
  os_must_write(f, b, 0, "from b", 6);
  assert_int_equal(kl_os_rename(f->os, os_path(f, "a"), os_path(f, "b"), NULL), KL_OK);
  assert_int_equal(kind_of(f, "a"), KL_FILE_ABSENT);
  expect_content(f, b, 0, "from b"); /* replaced, but open */
  kl_os_close(f->os, a);
  a = os_must_open(f, "b", KL_OPEN_READ);
  expect_content(f, a, 0, "from a");
  assert_int_equal(kl_os_remove(f->os, os_path(f, "b"), NULL), KL_OK);
  expect_content(f, a, 0, "from a");
  assert_int_equal(kl_os_remove(f->os, os_path(f, "b"), &error), KL_E_NO_FILE);
  assert_non_null(strstr(error.message, "/b\""));
  assert_int_equal(kl_os_rename(f->os, os_path(f, "b"), os_path(f, "c"), NULL), KL_E_NO_FILE);
  assert_int_equal(kl_os_rename(f->os, os_path(f, "b"), "elsewhere/b", NULL), KL_E_INVALID);
  kl_os_close(f->os, a);
  kl_os_close(f->os, b);
}

/* Random writes, overwrites, truncations, allocations and reads against an array. */
static void suite_behaves_like_an_array(void **state) {
  const os_fixture *f = *state;
  enum { LIMIT = 40000, STEPS = 3000 };
  static unsigned char model[LIMIT], bytes[LIMIT];
  uint64_t seed = test_seed(20240601), model_size = 0;
  kl_rng rng;
  kl_rng_init(&rng, seed);
  memset(model, 0, sizeof model);
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  for (int step = 0; step < STEPS; step++) {
    uint64_t offset = kl_rng_below(&rng, LIMIT), size = kl_rng_below(&rng, kl_rng_below(&rng, LIMIT - offset) + 1);
    size_t got = 0, expected;
    switch (kl_rng_below(&rng, 8)) {
      case 0:
        assert_int_equal(kl_os_truncate(f->os, file, offset, NULL), KL_OK);
        if (offset < model_size) memset(model + offset, 0, model_size - offset);
        model_size = offset;
        break;
      case 1:
        assert_int_equal(kl_os_allocate(f->os, file, offset, size, NULL), KL_OK);
        if (size > 0 && offset + size > model_size) model_size = offset + size;
        break;
      case 2:
      case 3:
      case 4:
        kl_rng_fill(&rng, bytes, size);
        if (kl_rng_below(&rng, 4) == 0) memset(bytes, 0, size);
        if (offset + size <= model_size && kl_rng_below(&rng, 2) == 0) {
          kl_slice halves[2] = {kl_slice_make(bytes, size / 2), kl_slice_make(bytes + size / 2, size - size / 2)};
          assert_int_equal(kl_os_overwrite(f->os, file, halves, 2, offset, NULL), KL_OK);
        } else {
          os_must_write(f, file, offset, bytes, size);
        }
        memcpy(model + offset, bytes, size);
        if (size > 0 && offset + size > model_size) model_size = offset + size;
        break;
      default:
        expected = offset >= model_size ? 0 : size < model_size - offset ? size : model_size - offset;
        assert_int_equal(kl_os_read(f->os, file, bytes, size, offset, &got, NULL), KL_OK);
        if (got != expected || memcmp(bytes, model + offset, got) != 0) {
          fail_msg("seed %llu, step %d: read %zu of %llu bytes at %llu, or other ones than were written",
                   (unsigned long long)seed, step, got, (unsigned long long)size, (unsigned long long)offset);
        }
        break;
    }
    assert_int_equal(size_of(f, file), model_size);
  }
  kl_os_close(f->os, file);
}

static void suite_clocks_and_chance(void **state) {
  const os_fixture *f = *state;
  unsigned char a[64] = {0}, b[64] = {0};
  char name[8];
  uint64_t monotonic = kl_os_monotonic_ns(f->os), wall = kl_os_wall_ns(f->os);
  kl_os_sleep_ns(f->os, 2000000);
  assert_true(kl_os_monotonic_ns(f->os) - monotonic >= 2000000);
  assert_true(wall > UINT64_C(1600000000000000000)); /* September 2020: nanoseconds since 1970, not something else */
  kl_os_random(f->os, a, sizeof a);
  kl_os_random(f->os, b, sizeof b);
  assert_memory_not_equal(a, b, sizeof a);
  assert_true(kl_os_process_id(f->os) != 0);
  assert_int_equal(kl_os_process_id(f->os), kl_os_process_id(f->os));
  kl_os_process_name(f->os, name, sizeof name); /* cut, with its end */
  assert_non_null(memchr(name, '\0', sizeof name));
  assert_in_range(kl_os_processors(f->os), 1, 1 << 20);
  assert_true(kl_os_physical_memory(f->os) == 0 || kl_os_physical_memory(f->os) > 1 << 20);
}

static void suite_gives_memory_in_parts(void **state) {
  const os_fixture *f = *state;
  const uint64_t size = UINT64_C(16) << 30; /* far more than is ever touched */
  void *memory = NULL;
  assert_int_equal(kl_os_map(f->os, size, &memory, NULL), KL_OK);
  assert_int_equal((uintptr_t)memory % KL_MEMORY_HUGE, 0);
  for (int huge = 0; huge < 2; huge++) {
    unsigned char *part = (unsigned char *)memory + (huge != 0 ? size - KL_MEMORY_HUGE : KL_MEMORY_PAGE);
    uint64_t part_size = huge != 0 ? KL_MEMORY_HUGE : 3 * KL_MEMORY_PAGE;
    assert_int_equal(kl_os_commit(f->os, part, part_size, huge != 0, NULL), KL_OK);
    assert_int_equal(part[0] | part[part_size - 1], 0);
    memset(part, 0xa5, part_size);
    kl_os_release(f->os, part, part_size - KL_MEMORY_PAGE);
    assert_int_equal(part[0] | part[part_size - KL_MEMORY_PAGE - 1], 0); /* given back ... */
    assert_int_equal(part[part_size - KL_MEMORY_PAGE], 0xa5);            /* ... to the byte ... */
    part[0] = 1;                                                         /* ... and still usable */
    assert_int_equal(kl_os_commit(f->os, part, part_size, huge == 0, NULL), KL_OK);
    assert_int_equal(part[0], 1);
  }
  kl_os_unmap(f->os, memory, size);
  kl_os_unmap(f->os, NULL, size);
  kl_error error = {0};
  assert_int_equal(kl_os_map(f->os, UINT64_C(1) << 62, &memory, &error), KL_E_NO_MEMORY);
  assert_non_null(strstr(error.message, "4611686018427387904"));
}

int os_suite_run(const char *name, CMFixtureFunction setup, CMFixtureFunction teardown) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(suite_opens_what_the_flags_say, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_refuses_impossible_flags, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_refuses_directories, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_protects_files_that_are_open_for_reading, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_writes_parts_in_order, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_sizes, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_refuses_ranges_that_no_file_has, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_syncs, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_locks_exclude, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_locks_change_and_end, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_stat_tells_files_apart, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_removes_and_renames, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_behaves_like_an_array, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_clocks_and_chance, setup, teardown),
      cmocka_unit_test_setup_teardown(suite_gives_memory_in_parts, setup, teardown),
  };
  return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
