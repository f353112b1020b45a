/* tests/abi/abuse.gen.c: every function of the ABI, called wrongly in every way that its description implies.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`. */
/* clang-format off */
#include <string.h>

#include "abuse_support.h"
#include "capi/layout.gen.h"
#include "cmocka_all.h"

_Static_assert(ABUSE_KINDS == 9, "abuse_support.h knows every kind of handle");
_Static_assert(ABUSE_DB == 0, "db");
_Static_assert(ABUSE_KEYSPACE == 1, "keyspace");
_Static_assert(ABUSE_TXN == 2, "txn");
_Static_assert(ABUSE_CURSOR == 3, "cursor");
_Static_assert(ABUSE_VIEW == 4, "view");
_Static_assert(ABUSE_BATCH == 5, "batch");
_Static_assert(ABUSE_CHECK == 6, "check");
_Static_assert(ABUSE_LOAD == 7, "load");
_Static_assert(ABUSE_VALUE == 8, "value");

static void test_keel_version(void **state) {
  (void)state;
  assert_non_null(keel_version());
}

static void test_keel_version_number(void **state) {
  (void)state;
  assert_true(keel_version_number() > 0);
}

static void test_keel_feature(void **state) {
  abuse *a = *state;
  a->function = "keel_feature";
  keel_error error;
  const char *name = "memory_database";
  int32_t storage_out_enabled = 77, *out_enabled = &storage_out_enabled;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_enabled, sizeof storage_out_enabled); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_feature(name, out_enabled, NULL); \
    keel_status with = keel_feature(name, out_enabled, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  WITH(const char *, name, NULL, KEEL_E_INVALID);
  WITH(const char *, name, abuse_long_text, KEEL_E_INVALID);
  WITH(const char *, name, abuse_long_text + sizeof abuse_long_text - 1 - (KEEL_MAX_LABEL_SIZE + 1), KEEL_E_INVALID);
  WITH(int32_t *, out_enabled, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_feature(name, out_enabled, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_feature: nothing was tried");
}

static void test_keel_status_name(void **state) {
  (void)state;
  const int32_t numbers[] = {0, 1, -1, -100, -101, -999, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    assert_non_null(keel_status_name(numbers[i]));
  }
}

static void test_keel_status_class(void **state) {
  (void)state;
  const int32_t numbers[] = {0, 1, -1, -100, -101, -999, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    assert_non_null(keel_status_class(numbers[i]));
  }
}

static void test_keel_status_is_retryable(void **state) {
  (void)state;
  const int32_t numbers[] = {0, 1, -1, -100, -101, -999, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    assert_in_range(keel_status_is_retryable(numbers[i]), 0, 1);
  }
}

static void test_keel_open(void **state) {
  abuse *a = *state;
  a->function = "keel_open";
  keel_error error;
  const char *path = ":memory:";
  struct {
    keel_options known;
    unsigned char tail[KEEL_MAX_STRUCT_SIZE];
  } storage_options;
  const keel_options right_options = KEEL_OPTIONS_INIT;
  memset(&storage_options, 0, sizeof storage_options);
  storage_options.known = right_options;
  const keel_options *options = &storage_options.known;
  keel_db storage_out_db = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_db = &storage_out_db;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_db, sizeof storage_out_db); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_open(path, options, out_db, NULL); \
    keel_status with = keel_open(path, options, out_db, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  WITH(const char *, path, NULL, KEEL_E_INVALID);
  WITH(const char *, path, "", KEEL_E_INVALID);
  WITH(const char *, path, abuse_long_text, KEEL_E_INVALID);
  WITH(const char *, path, abuse_long_text + sizeof abuse_long_text - 1 - (KEEL_MAX_PATH_SIZE + 1), KEEL_E_INVALID);
  const uint32_t sizes_options[] = {0, 1, 4, CAPI_OPTIONS_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_options / sizeof sizes_options[0]; i++) {
    storage_options.known.struct_size = sizes_options[i];
    ABUSE("struct_size of options", KEEL_E_INVALID);
  }
  storage_options.known.struct_size = KEEL_MAX_STRUCT_SIZE;
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 1;
  ABUSE("options with an unknown field", KEEL_E_UNSUPPORTED);
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 0;
  storage_options.known = right_options;
#define FIELD(field, value, expected)                      \
  do {                                                     \
    storage_options.known.field = (value);                       \
    ABUSE("options->" #field " = " #value, expected);            \
    storage_options.known = right_options;                             \
  } while (0)
  FIELD(flags, 8, KEEL_E_INVALID);
  FIELD(flags, UINT32_C(0x80000000), KEEL_E_INVALID);
  FIELD(flags, UINT32_MAX, KEEL_E_INVALID);
  FIELD(durability, 4, KEEL_E_INVALID);
  FIELD(durability, UINT32_MAX, KEEL_E_INVALID);
  FIELD(page_size, UINT64_C(65536) + 1, KEEL_E_INVALID);
  FIELD(page_size, UINT32_MAX, KEEL_E_INVALID);
  FIELD(page_size, UINT64_C(65536) * 2, KEEL_E_INVALID);
  FIELD(page_size, UINT64_C(4096) + 1, KEEL_E_INVALID);
  FIELD(page_size, UINT64_C(4096) / 2, KEEL_E_INVALID);
  FIELD(page_size, 1, KEEL_E_INVALID);
  FIELD(group_interval_ms, UINT64_C(60000) + 1, KEEL_E_INVALID);
  FIELD(group_interval_ms, UINT32_MAX, KEEL_E_INVALID);
  FIELD(file_mode, UINT64_C(511) + 1, KEEL_E_INVALID);
  FIELD(file_mode, UINT32_MAX, KEEL_E_INVALID);
  FIELD(log_segment_size, UINT64_C(1073741824) + 1, KEEL_E_INVALID);
  FIELD(log_segment_size, UINT32_MAX, KEEL_E_INVALID);
  FIELD(log_segment_size, UINT64_C(1073741824) * 2, KEEL_E_INVALID);
  FIELD(log_segment_size, UINT64_C(65536) + 1, KEEL_E_INVALID);
  FIELD(log_segment_size, UINT64_C(65536) / 2, KEEL_E_INVALID);
  FIELD(log_segment_size, 1, KEEL_E_INVALID);
  FIELD(drain_threads, UINT64_C(64) + 1, KEEL_E_INVALID);
  FIELD(drain_threads, UINT32_MAX, KEEL_E_INVALID);
#undef FIELD
  WITH(keel_db *, out_db, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_open(path, options, out_db, &error), &error);
  abuse_close(ABUSE_DB, storage_out_db);
  if (a->cases == 0 && 3 > 0) fail_msg("keel_open: nothing was tried");
}

static void test_keel_close(void **state) {
  abuse *a = *state;
  a->function = "keel_close";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_close(db, NULL); \
    keel_status with = keel_close(db, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_close(db, &error), &error);
  abuse_consumed(a, ABUSE_DB);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_close: nothing was tried");
}

static void test_keel_flush(void **state) {
  abuse *a = *state;
  a->function = "keel_flush";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_flush(db, NULL); \
    keel_status with = keel_flush(db, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_flush(db, &error), &error);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_flush: nothing was tried");
}

static void test_keel_make_checkpoint(void **state) {
  abuse *a = *state;
  a->function = "keel_make_checkpoint";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_make_checkpoint(db, NULL); \
    keel_status with = keel_make_checkpoint(db, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_make_checkpoint(db, &error), &error);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_make_checkpoint: nothing was tried");
}

static void test_keel_compact(void **state) {
  abuse *a = *state;
  a->function = "keel_compact";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_compact(db, NULL); \
    keel_status with = keel_compact(db, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_compact(db, &error), &error);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_compact: nothing was tried");
}

static void test_keel_set_cache_size(void **state) {
  abuse *a = *state;
  a->function = "keel_set_cache_size";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  uint64_t bytes = 1;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_set_cache_size(db, bytes, NULL); \
    keel_status with = keel_set_cache_size(db, bytes, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_set_cache_size(db, bytes, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_set_cache_size: nothing was tried");
}

static void test_keel_last_checkpoint(void **state) {
  abuse *a = *state;
  a->function = "keel_last_checkpoint";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  keel_checkpoint storage_out_checkpoint;
  memset(&storage_out_checkpoint, 0xA5, sizeof storage_out_checkpoint);
  storage_out_checkpoint.struct_size = (uint32_t)sizeof storage_out_checkpoint;
  keel_checkpoint *out_checkpoint = &storage_out_checkpoint;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_checkpoint, sizeof storage_out_checkpoint); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_last_checkpoint(db, out_checkpoint, NULL); \
    keel_status with = keel_last_checkpoint(db, out_checkpoint, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  WITH(keel_checkpoint *, out_checkpoint, NULL, KEEL_E_INVALID);
  const uint32_t sizes_out_checkpoint[] = {0, 1, 4, CAPI_CHECKPOINT_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_out_checkpoint / sizeof sizes_out_checkpoint[0]; i++) {
    storage_out_checkpoint.struct_size = sizes_out_checkpoint[i];
    ABUSE("struct_size of out_checkpoint", KEEL_E_INVALID);
  }
  storage_out_checkpoint.struct_size = (uint32_t)sizeof storage_out_checkpoint;
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_last_checkpoint(db, out_checkpoint, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_last_checkpoint: nothing was tried");
}

static void test_keel_get_stats(void **state) {
  abuse *a = *state;
  a->function = "keel_get_stats";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  keel_stats storage_out_stats;
  memset(&storage_out_stats, 0xA5, sizeof storage_out_stats);
  storage_out_stats.struct_size = (uint32_t)sizeof storage_out_stats;
  keel_stats *out_stats = &storage_out_stats;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_stats, sizeof storage_out_stats); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_get_stats(db, out_stats, NULL); \
    keel_status with = keel_get_stats(db, out_stats, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  WITH(keel_stats *, out_stats, NULL, KEEL_E_INVALID);
  const uint32_t sizes_out_stats[] = {0, 1, 4, CAPI_STATS_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_out_stats / sizeof sizes_out_stats[0]; i++) {
    storage_out_stats.struct_size = sizes_out_stats[i];
    ABUSE("struct_size of out_stats", KEEL_E_INVALID);
  }
  storage_out_stats.struct_size = (uint32_t)sizeof storage_out_stats;
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_get_stats(db, out_stats, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_get_stats: nothing was tried");
}

static void test_keel_verify_begin(void **state) {
  abuse *a = *state;
  a->function = "keel_verify_begin";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  keel_check storage_out_check = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_check = &storage_out_check;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_check, sizeof storage_out_check); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_verify_begin(db, out_check, NULL); \
    keel_status with = keel_verify_begin(db, out_check, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  WITH(keel_check *, out_check, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_verify_begin(db, out_check, &error), &error);
  abuse_close(ABUSE_CHECK, storage_out_check);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_verify_begin: nothing was tried");
}

static void test_keel_salvage_begin(void **state) {
  abuse *a = *state;
  a->function = "keel_salvage_begin";
  keel_error error;
  const char *path = ":memory:";
  const char *new_path = "memory_database";
  keel_check storage_out_check = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_check = &storage_out_check;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_check, sizeof storage_out_check); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_salvage_begin(path, new_path, out_check, NULL); \
    keel_status with = keel_salvage_begin(path, new_path, out_check, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  WITH(const char *, path, NULL, KEEL_E_INVALID);
  WITH(const char *, path, "", KEEL_E_INVALID);
  WITH(const char *, path, abuse_long_text, KEEL_E_INVALID);
  WITH(const char *, path, abuse_long_text + sizeof abuse_long_text - 1 - (KEEL_MAX_PATH_SIZE + 1), KEEL_E_INVALID);
  WITH(const char *, new_path, NULL, KEEL_E_INVALID);
  WITH(const char *, new_path, "", KEEL_E_INVALID);
  WITH(const char *, new_path, abuse_long_text, KEEL_E_INVALID);
  WITH(const char *, new_path, abuse_long_text + sizeof abuse_long_text - 1 - (KEEL_MAX_PATH_SIZE + 1), KEEL_E_INVALID);
  WITH(keel_check *, out_check, NULL, KEEL_E_INVALID);
  ABUSE("all is right", KEEL_E_NO_FILE);
#undef WITH
#undef ABUSE

  if (a->cases == 0 && 3 > 0) fail_msg("keel_salvage_begin: nothing was tried");
}

static void test_keel_check_step(void **state) {
  abuse *a = *state;
  a->function = "keel_check_step";
  keel_error error;
  keel_check check = a->live[ABUSE_CHECK];
  uint64_t max_bytes = 1;
  keel_check_report storage_out_report;
  memset(&storage_out_report, 0xA5, sizeof storage_out_report);
  storage_out_report.struct_size = (uint32_t)sizeof storage_out_report;
  keel_check_report *out_report = &storage_out_report;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_report, sizeof storage_out_report); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_check_step(check, max_bytes, out_report, NULL); \
    keel_status with = keel_check_step(check, max_bytes, out_report, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_check[ABUSE_WRONG_HANDLES];
  int wrong_check_count = abuse_wrong_handles(a, ABUSE_CHECK, wrong_check);
  for (int i = 0; i < wrong_check_count; i++) WITH(keel_check, check, wrong_check[i], KEEL_E_HANDLE);
  WITH(keel_check, check, a->closed[ABUSE_CHECK], KEEL_E_HANDLE);
  WITH(keel_check_report *, out_report, NULL, KEEL_E_INVALID);
  const uint32_t sizes_out_report[] = {0, 1, 4, CAPI_CHECK_REPORT_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_out_report / sizeof sizes_out_report[0]; i++) {
    storage_out_report.struct_size = sizes_out_report[i];
    ABUSE("struct_size of out_report", KEEL_E_INVALID);
  }
  storage_out_report.struct_size = (uint32_t)sizeof storage_out_report;
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_check_step(check, max_bytes, out_report, &error), &error);
  if (a->cases == 0 && 3 > 0) fail_msg("keel_check_step: nothing was tried");
}

static void test_keel_check_problem(void **state) {
  abuse *a = *state;
  a->function = "keel_check_problem";
  keel_error error;
  keel_check check = a->live[ABUSE_CHECK];
  uint64_t index = 1;
  unsigned char storage_buffer[16] = {0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5};
  void *buffer = storage_buffer;
  size_t capacity = sizeof storage_buffer;
  size_t storage_out_value_size = 77, *out_value_size = &storage_out_value_size;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_buffer, sizeof storage_buffer); \
    abuse_guard_take(&guards[guard_count++], &storage_out_value_size, sizeof storage_out_value_size); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_check_problem(check, index, buffer, capacity, out_value_size, NULL); \
    keel_status with = keel_check_problem(check, index, buffer, capacity, out_value_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_check[ABUSE_WRONG_HANDLES];
  int wrong_check_count = abuse_wrong_handles(a, ABUSE_CHECK, wrong_check);
  for (int i = 0; i < wrong_check_count; i++) WITH(keel_check, check, wrong_check[i], KEEL_E_HANDLE);
  WITH(keel_check, check, a->closed[ABUSE_CHECK], KEEL_E_HANDLE);
  WITH(void *, buffer, NULL, KEEL_E_INVALID);
  WITH(size_t, capacity, SIZE_MAX, KEEL_E_INVALID);
  WITH(size_t *, out_value_size, NULL, KEEL_E_INVALID);
  ABUSE("all is right", KEEL_E_NOT_FOUND);
#undef WITH
#undef ABUSE

  if (a->cases == 0 && 4 > 0) fail_msg("keel_check_problem: nothing was tried");
}

static void test_keel_check_close(void **state) {
  abuse *a = *state;
  a->function = "keel_check_close";
  keel_error error;
  keel_check check = a->live[ABUSE_CHECK];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_check_close(check, NULL); \
    keel_status with = keel_check_close(check, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_check[ABUSE_WRONG_HANDLES];
  int wrong_check_count = abuse_wrong_handles(a, ABUSE_CHECK, wrong_check);
  for (int i = 0; i < wrong_check_count; i++) WITH(keel_check, check, wrong_check[i], KEEL_E_HANDLE);
  WITH(keel_check, check, a->closed[ABUSE_CHECK], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_check_close(check, &error), &error);
  abuse_consumed(a, ABUSE_CHECK);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_check_close: nothing was tried");
}

static void test_keel_keyspace_open(void **state) {
  abuse *a = *state;
  a->function = "keel_keyspace_open";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  const char *name = "ks";
  size_t name_size = 2;
  struct {
    keel_keyspace_options known;
    unsigned char tail[KEEL_MAX_STRUCT_SIZE];
  } storage_options;
  const keel_keyspace_options right_options = KEEL_KEYSPACE_OPTIONS_INIT;
  memset(&storage_options, 0, sizeof storage_options);
  storage_options.known = right_options;
  const keel_keyspace_options *options = &storage_options.known;
  keel_keyspace storage_out_keyspace = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_keyspace = &storage_out_keyspace;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_keyspace, sizeof storage_out_keyspace); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_keyspace_open(db, name, name_size, options, out_keyspace, NULL); \
    keel_status with = keel_keyspace_open(db, name, name_size, options, out_keyspace, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  WITH(const char *, name, NULL, KEEL_E_INVALID);
  WITH(size_t, name_size, 0, KEEL_E_INVALID);
  WITH(size_t, name_size, (size_t)KEEL_MAX_KEYSPACE_NAME_SIZE + 1, KEEL_E_INVALID);
  WITH(size_t, name_size, SIZE_MAX, KEEL_E_INVALID);
  WITH(const char *, name, abuse_bad_utf8, KEEL_E_INVALID);
  WITH(const char *, name, abuse_zero_inside, KEEL_E_INVALID);
  const uint32_t sizes_options[] = {0, 1, 4, CAPI_KEYSPACE_OPTIONS_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_options / sizeof sizes_options[0]; i++) {
    storage_options.known.struct_size = sizes_options[i];
    ABUSE("struct_size of options", KEEL_E_INVALID);
  }
  storage_options.known.struct_size = KEEL_MAX_STRUCT_SIZE;
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 1;
  ABUSE("options with an unknown field", KEEL_E_UNSUPPORTED);
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 0;
  storage_options.known = right_options;
#define FIELD(field, value, expected)                      \
  do {                                                     \
    storage_options.known.field = (value);                       \
    ABUSE("options->" #field " = " #value, expected);            \
    storage_options.known = right_options;                             \
  } while (0)
  FIELD(flags, 2, KEEL_E_INVALID);
  FIELD(flags, UINT32_C(0x80000000), KEEL_E_INVALID);
  FIELD(flags, UINT32_MAX, KEEL_E_INVALID);
#undef FIELD
  WITH(keel_keyspace *, out_keyspace, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_keyspace_open(db, name, name_size, options, out_keyspace, &error), &error);
  abuse_close(ABUSE_KEYSPACE, storage_out_keyspace);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_keyspace_open: nothing was tried");
}

static void test_keel_keyspace_close(void **state) {
  abuse *a = *state;
  a->function = "keel_keyspace_close";
  keel_error error;
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_keyspace_close(keyspace, NULL); \
    keel_status with = keel_keyspace_close(keyspace, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_keyspace_close(keyspace, &error), &error);
  abuse_consumed(a, ABUSE_KEYSPACE);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_keyspace_close: nothing was tried");
}

static void test_keel_keyspace_drop(void **state) {
  abuse *a = *state;
  a->function = "keel_keyspace_drop";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  const char *name = "ks";
  size_t name_size = 2;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_keyspace_drop(db, name, name_size, NULL); \
    keel_status with = keel_keyspace_drop(db, name, name_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  WITH(const char *, name, NULL, KEEL_E_INVALID);
  WITH(size_t, name_size, 0, KEEL_E_INVALID);
  WITH(size_t, name_size, (size_t)KEEL_MAX_KEYSPACE_NAME_SIZE + 1, KEEL_E_INVALID);
  WITH(size_t, name_size, SIZE_MAX, KEEL_E_INVALID);
  WITH(const char *, name, abuse_bad_utf8, KEEL_E_INVALID);
  WITH(const char *, name, abuse_zero_inside, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_keyspace_drop(db, name, name_size, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_keyspace_drop: nothing was tried");
}

static void test_keel_keyspace_list(void **state) {
  abuse *a = *state;
  a->function = "keel_keyspace_list";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  keel_batch batch = a->live[ABUSE_BATCH];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_keyspace_list(db, batch, NULL); \
    keel_status with = keel_keyspace_list(db, batch, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  uint64_t wrong_batch[ABUSE_WRONG_HANDLES];
  int wrong_batch_count = abuse_wrong_handles(a, ABUSE_BATCH, wrong_batch);
  for (int i = 0; i < wrong_batch_count; i++) WITH(keel_batch, batch, wrong_batch[i], KEEL_E_HANDLE);
  WITH(keel_batch, batch, a->closed[ABUSE_BATCH], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_keyspace_list(db, batch, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_keyspace_list: nothing was tried");
}

static void test_keel_begin(void **state) {
  abuse *a = *state;
  a->function = "keel_begin";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  struct {
    keel_txn_options known;
    unsigned char tail[KEEL_MAX_STRUCT_SIZE];
  } storage_options;
  const keel_txn_options right_options = KEEL_TXN_OPTIONS_INIT;
  memset(&storage_options, 0, sizeof storage_options);
  storage_options.known = right_options;
  const keel_txn_options *options = &storage_options.known;
  keel_txn storage_out_txn = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_txn = &storage_out_txn;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_txn, sizeof storage_out_txn); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_begin(db, options, out_txn, NULL); \
    keel_status with = keel_begin(db, options, out_txn, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  const uint32_t sizes_options[] = {0, 1, 4, CAPI_TXN_OPTIONS_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_options / sizeof sizes_options[0]; i++) {
    storage_options.known.struct_size = sizes_options[i];
    ABUSE("struct_size of options", KEEL_E_INVALID);
  }
  storage_options.known.struct_size = KEEL_MAX_STRUCT_SIZE;
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 1;
  ABUSE("options with an unknown field", KEEL_E_UNSUPPORTED);
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 0;
  storage_options.known = right_options;
#define FIELD(field, value, expected)                      \
  do {                                                     \
    storage_options.known.field = (value);                       \
    ABUSE("options->" #field " = " #value, expected);            \
    storage_options.known = right_options;                             \
  } while (0)
  FIELD(flags, 2, KEEL_E_INVALID);
  FIELD(flags, UINT32_C(0x80000000), KEEL_E_INVALID);
  FIELD(flags, UINT32_MAX, KEEL_E_INVALID);
  FIELD(isolation, 6, KEEL_E_INVALID);
  FIELD(isolation, UINT32_MAX, KEEL_E_INVALID);
  FIELD(durability, 4, KEEL_E_INVALID);
  FIELD(durability, UINT32_MAX, KEEL_E_INVALID);
  FIELD(label, abuse_long_text, KEEL_E_INVALID);
  FIELD(label, abuse_long_text + sizeof abuse_long_text - 1 - (255 + 1), KEEL_E_INVALID);
  FIELD(label, abuse_bad_utf8, KEEL_E_INVALID);
#undef FIELD
  WITH(keel_txn *, out_txn, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_begin(db, options, out_txn, &error), &error);
  abuse_close(ABUSE_TXN, storage_out_txn);
  if (a->cases == 0 && 3 > 0) fail_msg("keel_begin: nothing was tried");
}

static void test_keel_commit(void **state) {
  abuse *a = *state;
  a->function = "keel_commit";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  uint64_t storage_out_timestamp = 77, *out_timestamp = &storage_out_timestamp;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_timestamp, sizeof storage_out_timestamp); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_commit(txn, out_timestamp, NULL); \
    keel_status with = keel_commit(txn, out_timestamp, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_commit(txn, out_timestamp, &error), &error);
  abuse_consumed(a, ABUSE_TXN);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_commit: nothing was tried");
}

static void test_keel_rollback(void **state) {
  abuse *a = *state;
  a->function = "keel_rollback";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_rollback(txn, NULL); \
    keel_status with = keel_rollback(txn, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_rollback(txn, &error), &error);
  abuse_consumed(a, ABUSE_TXN);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_rollback: nothing was tried");
}

static void test_keel_get(void **state) {
  abuse *a = *state;
  a->function = "keel_get";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *key = "key";
  size_t key_size = 3;
  const void *storage_out_value = a, **out_value = &storage_out_value;
  size_t storage_out_value_size = 77, *out_value_size = &storage_out_value_size;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_value, sizeof storage_out_value); \
    abuse_guard_take(&guards[guard_count++], &storage_out_value_size, sizeof storage_out_value_size); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_get(txn, keyspace, key, key_size, out_value, out_value_size, NULL); \
    keel_status with = keel_get(txn, keyspace, key, key_size, out_value, out_value_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(const void **, out_value, NULL, KEEL_E_INVALID);
  WITH(size_t *, out_value_size, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_get(txn, keyspace, key, key_size, out_value, out_value_size, &error), &error);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_get: nothing was tried");
}

static void test_keel_get_copy(void **state) {
  abuse *a = *state;
  a->function = "keel_get_copy";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *key = "key";
  size_t key_size = 3;
  unsigned char storage_buffer[16] = {0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5};
  void *buffer = storage_buffer;
  size_t capacity = sizeof storage_buffer;
  size_t storage_out_value_size = 77, *out_value_size = &storage_out_value_size;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_buffer, sizeof storage_buffer); \
    abuse_guard_take(&guards[guard_count++], &storage_out_value_size, sizeof storage_out_value_size); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_get_copy(txn, keyspace, key, key_size, buffer, capacity, out_value_size, NULL); \
    keel_status with = keel_get_copy(txn, keyspace, key, key_size, buffer, capacity, out_value_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(void *, buffer, NULL, KEEL_E_INVALID);
  WITH(size_t, capacity, SIZE_MAX, KEEL_E_INVALID);
  WITH(size_t *, out_value_size, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_get_copy(txn, keyspace, key, key_size, buffer, capacity, out_value_size, &error), &error);
  if (a->cases == 0 && 5 > 0) fail_msg("keel_get_copy: nothing was tried");
}

static void test_keel_get_part(void **state) {
  abuse *a = *state;
  a->function = "keel_get_part";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *key = "key";
  size_t key_size = 3;
  uint64_t offset = 1;
  unsigned char storage_buffer[16] = {0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5};
  void *buffer = storage_buffer;
  size_t capacity = sizeof storage_buffer;
  size_t storage_out_size = 77, *out_size = &storage_out_size;
  uint64_t storage_out_value_size = 77, *out_value_size = &storage_out_value_size;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_buffer, sizeof storage_buffer); \
    abuse_guard_take(&guards[guard_count++], &storage_out_size, sizeof storage_out_size); \
    abuse_guard_take(&guards[guard_count++], &storage_out_value_size, sizeof storage_out_value_size); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_get_part(txn, keyspace, key, key_size, offset, buffer, capacity, out_size, out_value_size, NULL); \
    keel_status with = keel_get_part(txn, keyspace, key, key_size, offset, buffer, capacity, out_size, out_value_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(void *, buffer, NULL, KEEL_E_INVALID);
  WITH(size_t, capacity, SIZE_MAX, KEEL_E_INVALID);
  WITH(size_t *, out_size, NULL, KEEL_E_INVALID);
  WITH(uint64_t *, out_value_size, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_get_part(txn, keyspace, key, key_size, offset, buffer, capacity, out_size, out_value_size, &error), &error);
  if (a->cases == 0 && 7 > 0) fail_msg("keel_get_part: nothing was tried");
}

static void test_keel_get_view(void **state) {
  abuse *a = *state;
  a->function = "keel_get_view";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *key = "key";
  size_t key_size = 3;
  keel_view storage_out_view = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_view = &storage_out_view;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_view, sizeof storage_out_view); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_get_view(txn, keyspace, key, key_size, out_view, NULL); \
    keel_status with = keel_get_view(txn, keyspace, key, key_size, out_view, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(keel_view *, out_view, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_get_view(txn, keyspace, key, key_size, out_view, &error), &error);
  abuse_close(ABUSE_VIEW, storage_out_view);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_get_view: nothing was tried");
}

static void test_keel_view_data(void **state) {
  abuse *a = *state;
  a->function = "keel_view_data";
  keel_error error;
  keel_view view = a->live[ABUSE_VIEW];
  const void *storage_out_data = a, **out_data = &storage_out_data;
  size_t storage_out_size = 77, *out_size = &storage_out_size;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_data, sizeof storage_out_data); \
    abuse_guard_take(&guards[guard_count++], &storage_out_size, sizeof storage_out_size); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_view_data(view, out_data, out_size, NULL); \
    keel_status with = keel_view_data(view, out_data, out_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_view[ABUSE_WRONG_HANDLES];
  int wrong_view_count = abuse_wrong_handles(a, ABUSE_VIEW, wrong_view);
  for (int i = 0; i < wrong_view_count; i++) WITH(keel_view, view, wrong_view[i], KEEL_E_HANDLE);
  WITH(keel_view, view, a->closed[ABUSE_VIEW], KEEL_E_HANDLE);
  WITH(const void **, out_data, NULL, KEEL_E_INVALID);
  WITH(size_t *, out_size, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_view_data(view, out_data, out_size, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_view_data: nothing was tried");
}

static void test_keel_view_release(void **state) {
  abuse *a = *state;
  a->function = "keel_view_release";
  keel_error error;
  keel_view view = a->live[ABUSE_VIEW];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_view_release(view, NULL); \
    keel_status with = keel_view_release(view, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_view[ABUSE_WRONG_HANDLES];
  int wrong_view_count = abuse_wrong_handles(a, ABUSE_VIEW, wrong_view);
  for (int i = 0; i < wrong_view_count; i++) WITH(keel_view, view, wrong_view[i], KEEL_E_HANDLE);
  WITH(keel_view, view, a->closed[ABUSE_VIEW], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_view_release(view, &error), &error);
  abuse_consumed(a, ABUSE_VIEW);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_view_release: nothing was tried");
}

static void test_keel_get_many(void **state) {
  abuse *a = *state;
  a->function = "keel_get_many";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *keys = "key";
  uint64_t storage_key_offsets[2] = {0, 3};
  const uint64_t *key_offsets = storage_key_offsets;
  size_t count = 1;
  keel_batch batch = a->live[ABUSE_BATCH];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_get_many(txn, keyspace, keys, key_offsets, count, batch, NULL); \
    keel_status with = keel_get_many(txn, keyspace, keys, key_offsets, count, batch, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, keys, NULL, KEEL_E_INVALID);
  WITH(const uint64_t *, key_offsets, NULL, KEEL_E_INVALID);
  storage_key_offsets[0] = 1;
  ABUSE("key_offsets do not begin at 0", KEEL_E_INVALID);
  storage_key_offsets[0] = 4;
  ABUSE("key_offsets descend", KEEL_E_INVALID);
  storage_key_offsets[0] = 0;
  storage_key_offsets[1] = KEEL_MAX_KEY_SIZE + 1;
  ABUSE("key_offsets: a long key", KEEL_E_KEY_SIZE);
  storage_key_offsets[1] = UINT64_MAX;
  ABUSE("key_offsets: an absurd key", KEEL_E_KEY_SIZE);
  storage_key_offsets[1] = 3;
  WITH(size_t, count, (size_t)KEEL_MAX_GET_MANY + 1, KEEL_E_LIMIT);
  WITH(size_t, count, (size_t)-1, KEEL_E_LIMIT);
  uint64_t wrong_batch[ABUSE_WRONG_HANDLES];
  int wrong_batch_count = abuse_wrong_handles(a, ABUSE_BATCH, wrong_batch);
  for (int i = 0; i < wrong_batch_count; i++) WITH(keel_batch, batch, wrong_batch[i], KEEL_E_HANDLE);
  WITH(keel_batch, batch, a->closed[ABUSE_BATCH], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_get_many(txn, keyspace, keys, key_offsets, count, batch, &error), &error);
  if (a->cases == 0 && 6 > 0) fail_msg("keel_get_many: nothing was tried");
}

static void test_keel_put(void **state) {
  abuse *a = *state;
  a->function = "keel_put";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *key = "key";
  size_t key_size = 3;
  const void *value = "key";
  size_t value_size = 3;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_put(txn, keyspace, key, key_size, value, value_size, NULL); \
    keel_status with = keel_put(txn, keyspace, key, key_size, value, value_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(const void *, value, NULL, KEEL_E_INVALID);
  WITH(size_t, value_size, (size_t)KEEL_MAX_VALUE_SIZE + 1, KEEL_E_VALUE_SIZE);
  WITH(size_t, value_size, SIZE_MAX, KEEL_E_VALUE_SIZE);
  WITH(size_t, value_size, SIZE_MAX / 2 + 1, KEEL_E_VALUE_SIZE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_put(txn, keyspace, key, key_size, value, value_size, &error), &error);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_put: nothing was tried");
}

static void test_keel_del(void **state) {
  abuse *a = *state;
  a->function = "keel_del";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *key = "key";
  size_t key_size = 3;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_del(txn, keyspace, key, key_size, NULL); \
    keel_status with = keel_del(txn, keyspace, key, key_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_del(txn, keyspace, key, key_size, &error), &error);
  if (a->cases == 0 && 3 > 0) fail_msg("keel_del: nothing was tried");
}

static void test_keel_del_range(void **state) {
  abuse *a = *state;
  a->function = "keel_del_range";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *from = "kx";
  size_t from_size = 2;
  const void *to = "kz";
  size_t to_size = 2;
  uint64_t storage_out_count = 77, *out_count = &storage_out_count;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_count, sizeof storage_out_count); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_del_range(txn, keyspace, from, from_size, to, to_size, out_count, NULL); \
    keel_status with = keel_del_range(txn, keyspace, from, from_size, to, to_size, out_count, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, from, NULL, KEEL_E_INVALID);
  WITH(size_t, from_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, from_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, from_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(const void *, to, NULL, KEEL_E_INVALID);
  WITH(size_t, to_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, to_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, to_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_del_range(txn, keyspace, from, from_size, to, to_size, out_count, &error), &error);
  if (a->cases == 0 && 5 > 0) fail_msg("keel_del_range: nothing was tried");
}

static void test_keel_write_batch(void **state) {
  abuse *a = *state;
  a->function = "keel_write_batch";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *ops = "\1\0\0\0" "\2\0\0\0" "\0\0\0\0" "zz";
  size_t ops_size = 14;
  uint64_t storage_out_count = 77, *out_count = &storage_out_count;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_count, sizeof storage_out_count); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_write_batch(txn, keyspace, ops, ops_size, out_count, NULL); \
    keel_status with = keel_write_batch(txn, keyspace, ops, ops_size, out_count, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, ops, NULL, KEEL_E_INVALID);
  WITH(size_t, ops_size, (size_t)KEEL_MAX_WRITE_BATCH + 1, KEEL_E_LIMIT);
  WITH(size_t, ops_size, SIZE_MAX, KEEL_E_LIMIT);
  WITH(size_t, ops_size, SIZE_MAX / 2 + 1, KEEL_E_LIMIT);
  WITH(const void *, ops, "\3\0\0\0" "\2\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\0\0\0\0" "\2\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\2\1\0\0" "\2\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\2\0\0\0" "\1\0\0\0" "\1\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\2\0\0\0" "\3\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\1\0\0\0" "\2\0\0\0" "\1\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\1\0\0\0" "\2\0\0\0" "\xFF\xFF\xFF\x7F" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\1\0\0\0" "\2\0\0\0" "\xFF\xFF\xFF\xFF" "zz", KEEL_E_VALUE_SIZE);
  WITH(const void *, ops, "\1\0\0\0" "\1\4\0\0" "\0\0\0\0" "zz", KEEL_E_KEY_SIZE);
  WITH(const void *, ops, "\1\0\0\0" "\xFF\xFF\xFF\xFF" "\0\0\0\0" "zz", KEEL_E_KEY_SIZE);
  WITH(size_t, ops_size, 13, KEEL_E_INVALID);
  WITH(size_t, ops_size, 11, KEEL_E_INVALID);
  WITH(size_t, ops_size, 1, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_write_batch(txn, keyspace, ops, ops_size, out_count, &error), &error);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_write_batch: nothing was tried");
}

static void test_keel_value_begin(void **state) {
  abuse *a = *state;
  a->function = "keel_value_begin";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  const void *key = "key";
  size_t key_size = 3;
  uint64_t size = 1;
  keel_value storage_out_value = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_value = &storage_out_value;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_value, sizeof storage_out_value); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_value_begin(txn, keyspace, key, key_size, size, out_value, NULL); \
    keel_status with = keel_value_begin(txn, keyspace, key, key_size, size, out_value, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(uint64_t, size, (uint64_t)KEEL_MAX_LARGE_VALUE_SIZE + 1, KEEL_E_VALUE_SIZE);
  WITH(uint64_t, size, (uint64_t)-1, KEEL_E_VALUE_SIZE);
  WITH(keel_value *, out_value, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_value_begin(txn, keyspace, key, key_size, size, out_value, &error), &error);
  abuse_close(ABUSE_VALUE, storage_out_value);
  if (a->cases == 0 && 5 > 0) fail_msg("keel_value_begin: nothing was tried");
}

static void test_keel_value_write(void **state) {
  abuse *a = *state;
  a->function = "keel_value_write";
  keel_error error;
  keel_value value = a->live[ABUSE_VALUE];
  const void *data = "key";
  size_t data_size = 3;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_value_write(value, data, data_size, NULL); \
    keel_status with = keel_value_write(value, data, data_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_value[ABUSE_WRONG_HANDLES];
  int wrong_value_count = abuse_wrong_handles(a, ABUSE_VALUE, wrong_value);
  for (int i = 0; i < wrong_value_count; i++) WITH(keel_value, value, wrong_value[i], KEEL_E_HANDLE);
  WITH(keel_value, value, a->closed[ABUSE_VALUE], KEEL_E_HANDLE);
  WITH(const void *, data, NULL, KEEL_E_INVALID);
  WITH(size_t, data_size, (size_t)KEEL_MAX_VALUE_SIZE + 1, KEEL_E_VALUE_SIZE);
  WITH(size_t, data_size, SIZE_MAX, KEEL_E_VALUE_SIZE);
  WITH(size_t, data_size, SIZE_MAX / 2 + 1, KEEL_E_VALUE_SIZE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_value_write(value, data, data_size, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_value_write: nothing was tried");
}

static void test_keel_value_finish(void **state) {
  abuse *a = *state;
  a->function = "keel_value_finish";
  keel_error error;
  keel_value value = a->live[ABUSE_VALUE];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_value_finish(value, NULL); \
    keel_status with = keel_value_finish(value, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_value[ABUSE_WRONG_HANDLES];
  int wrong_value_count = abuse_wrong_handles(a, ABUSE_VALUE, wrong_value);
  for (int i = 0; i < wrong_value_count; i++) WITH(keel_value, value, wrong_value[i], KEEL_E_HANDLE);
  WITH(keel_value, value, a->closed[ABUSE_VALUE], KEEL_E_HANDLE);
  ABUSE("all is right", KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  if (a->cases == 0 && 1 > 0) fail_msg("keel_value_finish: nothing was tried");
}

static void test_keel_value_end(void **state) {
  abuse *a = *state;
  a->function = "keel_value_end";
  keel_error error;
  keel_value value = a->live[ABUSE_VALUE];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_value_end(value, NULL); \
    keel_status with = keel_value_end(value, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_value[ABUSE_WRONG_HANDLES];
  int wrong_value_count = abuse_wrong_handles(a, ABUSE_VALUE, wrong_value);
  for (int i = 0; i < wrong_value_count; i++) WITH(keel_value, value, wrong_value[i], KEEL_E_HANDLE);
  WITH(keel_value, value, a->closed[ABUSE_VALUE], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_value_end(value, &error), &error);
  abuse_consumed(a, ABUSE_VALUE);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_value_end: nothing was tried");
}

static void test_keel_load_begin(void **state) {
  abuse *a = *state;
  a->function = "keel_load_begin";
  keel_error error;
  keel_db db = a->live[ABUSE_DB];
  const char *name = "ks";
  size_t name_size = 2;
  struct {
    keel_load_options known;
    unsigned char tail[KEEL_MAX_STRUCT_SIZE];
  } storage_options;
  const keel_load_options right_options = KEEL_LOAD_OPTIONS_INIT;
  memset(&storage_options, 0, sizeof storage_options);
  storage_options.known = right_options;
  const keel_load_options *options = &storage_options.known;
  keel_load storage_out_load = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_load = &storage_out_load;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_load, sizeof storage_out_load); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_load_begin(db, name, name_size, options, out_load, NULL); \
    keel_status with = keel_load_begin(db, name, name_size, options, out_load, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_db[ABUSE_WRONG_HANDLES];
  int wrong_db_count = abuse_wrong_handles(a, ABUSE_DB, wrong_db);
  for (int i = 0; i < wrong_db_count; i++) WITH(keel_db, db, wrong_db[i], KEEL_E_HANDLE);
  WITH(keel_db, db, a->closed[ABUSE_DB], KEEL_E_HANDLE);
  WITH(const char *, name, NULL, KEEL_E_INVALID);
  WITH(size_t, name_size, 0, KEEL_E_INVALID);
  WITH(size_t, name_size, (size_t)KEEL_MAX_KEYSPACE_NAME_SIZE + 1, KEEL_E_INVALID);
  WITH(size_t, name_size, SIZE_MAX, KEEL_E_INVALID);
  WITH(const char *, name, abuse_bad_utf8, KEEL_E_INVALID);
  WITH(const char *, name, abuse_zero_inside, KEEL_E_INVALID);
  const uint32_t sizes_options[] = {0, 1, 4, CAPI_LOAD_OPTIONS_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_options / sizeof sizes_options[0]; i++) {
    storage_options.known.struct_size = sizes_options[i];
    ABUSE("struct_size of options", KEEL_E_INVALID);
  }
  storage_options.known.struct_size = KEEL_MAX_STRUCT_SIZE;
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 1;
  ABUSE("options with an unknown field", KEEL_E_UNSUPPORTED);
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 0;
  storage_options.known = right_options;
#define FIELD(field, value, expected)                      \
  do {                                                     \
    storage_options.known.field = (value);                       \
    ABUSE("options->" #field " = " #value, expected);            \
    storage_options.known = right_options;                             \
  } while (0)
  FIELD(flags, 2, KEEL_E_INVALID);
  FIELD(flags, UINT32_C(0x80000000), KEEL_E_INVALID);
  FIELD(flags, UINT32_MAX, KEEL_E_INVALID);
  FIELD(buffer_size, UINT64_C(1073741824) + 1, KEEL_E_INVALID);
  FIELD(buffer_size, UINT32_MAX, KEEL_E_INVALID);
#undef FIELD
  WITH(keel_load *, out_load, NULL, KEEL_E_INVALID);
  ABUSE("all is right", KEEL_E_EXISTS);
#undef WITH
#undef ABUSE

  if (a->cases == 0 && 4 > 0) fail_msg("keel_load_begin: nothing was tried");
}

static void test_keel_load_put(void **state) {
  abuse *a = *state;
  a->function = "keel_load_put";
  keel_error error;
  keel_load load = a->live[ABUSE_LOAD];
  const void *key = "key";
  size_t key_size = 3;
  const void *value = "key";
  size_t value_size = 3;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_load_put(load, key, key_size, value, value_size, NULL); \
    keel_status with = keel_load_put(load, key, key_size, value, value_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_load[ABUSE_WRONG_HANDLES];
  int wrong_load_count = abuse_wrong_handles(a, ABUSE_LOAD, wrong_load);
  for (int i = 0; i < wrong_load_count; i++) WITH(keel_load, load, wrong_load[i], KEEL_E_HANDLE);
  WITH(keel_load, load, a->closed[ABUSE_LOAD], KEEL_E_HANDLE);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
  WITH(const void *, value, NULL, KEEL_E_INVALID);
  WITH(size_t, value_size, (size_t)KEEL_MAX_VALUE_SIZE + 1, KEEL_E_VALUE_SIZE);
  WITH(size_t, value_size, SIZE_MAX, KEEL_E_VALUE_SIZE);
  WITH(size_t, value_size, SIZE_MAX / 2 + 1, KEEL_E_VALUE_SIZE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_load_put(load, key, key_size, value, value_size, &error), &error);
  if (a->cases == 0 && 3 > 0) fail_msg("keel_load_put: nothing was tried");
}

static void test_keel_load_batch(void **state) {
  abuse *a = *state;
  a->function = "keel_load_batch";
  keel_error error;
  keel_load load = a->live[ABUSE_LOAD];
  const void *ops = "\1\0\0\0" "\2\0\0\0" "\0\0\0\0" "zz";
  size_t ops_size = 14;
  uint64_t storage_out_count = 77, *out_count = &storage_out_count;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_count, sizeof storage_out_count); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_load_batch(load, ops, ops_size, out_count, NULL); \
    keel_status with = keel_load_batch(load, ops, ops_size, out_count, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_load[ABUSE_WRONG_HANDLES];
  int wrong_load_count = abuse_wrong_handles(a, ABUSE_LOAD, wrong_load);
  for (int i = 0; i < wrong_load_count; i++) WITH(keel_load, load, wrong_load[i], KEEL_E_HANDLE);
  WITH(keel_load, load, a->closed[ABUSE_LOAD], KEEL_E_HANDLE);
  WITH(const void *, ops, NULL, KEEL_E_INVALID);
  WITH(size_t, ops_size, (size_t)KEEL_MAX_WRITE_BATCH + 1, KEEL_E_LIMIT);
  WITH(size_t, ops_size, SIZE_MAX, KEEL_E_LIMIT);
  WITH(size_t, ops_size, SIZE_MAX / 2 + 1, KEEL_E_LIMIT);
  WITH(const void *, ops, "\3\0\0\0" "\2\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\0\0\0\0" "\2\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\2\1\0\0" "\2\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\2\0\0\0" "\1\0\0\0" "\1\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\2\0\0\0" "\3\0\0\0" "\0\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\1\0\0\0" "\2\0\0\0" "\1\0\0\0" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\1\0\0\0" "\2\0\0\0" "\xFF\xFF\xFF\x7F" "zz", KEEL_E_INVALID);
  WITH(const void *, ops, "\1\0\0\0" "\2\0\0\0" "\xFF\xFF\xFF\xFF" "zz", KEEL_E_VALUE_SIZE);
  WITH(const void *, ops, "\1\0\0\0" "\1\4\0\0" "\0\0\0\0" "zz", KEEL_E_KEY_SIZE);
  WITH(const void *, ops, "\1\0\0\0" "\xFF\xFF\xFF\xFF" "\0\0\0\0" "zz", KEEL_E_KEY_SIZE);
  WITH(size_t, ops_size, 13, KEEL_E_INVALID);
  WITH(size_t, ops_size, 11, KEEL_E_INVALID);
  WITH(size_t, ops_size, 1, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_load_batch(load, ops, ops_size, out_count, &error), &error);
  if (a->cases == 0 && 3 > 0) fail_msg("keel_load_batch: nothing was tried");
}

static void test_keel_load_finish(void **state) {
  abuse *a = *state;
  a->function = "keel_load_finish";
  keel_error error;
  keel_load load = a->live[ABUSE_LOAD];
  keel_load_report storage_out_report;
  memset(&storage_out_report, 0xA5, sizeof storage_out_report);
  storage_out_report.struct_size = (uint32_t)sizeof storage_out_report;
  keel_load_report *out_report = &storage_out_report;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_report, sizeof storage_out_report); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_load_finish(load, out_report, NULL); \
    keel_status with = keel_load_finish(load, out_report, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_load[ABUSE_WRONG_HANDLES];
  int wrong_load_count = abuse_wrong_handles(a, ABUSE_LOAD, wrong_load);
  for (int i = 0; i < wrong_load_count; i++) WITH(keel_load, load, wrong_load[i], KEEL_E_HANDLE);
  WITH(keel_load, load, a->closed[ABUSE_LOAD], KEEL_E_HANDLE);
  WITH(keel_load_report *, out_report, NULL, KEEL_E_INVALID);
  const uint32_t sizes_out_report[] = {0, 1, 4, CAPI_LOAD_REPORT_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_out_report / sizeof sizes_out_report[0]; i++) {
    storage_out_report.struct_size = sizes_out_report[i];
    ABUSE("struct_size of out_report", KEEL_E_INVALID);
  }
  storage_out_report.struct_size = (uint32_t)sizeof storage_out_report;
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_load_finish(load, out_report, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_load_finish: nothing was tried");
}

static void test_keel_load_end(void **state) {
  abuse *a = *state;
  a->function = "keel_load_end";
  keel_error error;
  keel_load load = a->live[ABUSE_LOAD];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_load_end(load, NULL); \
    keel_status with = keel_load_end(load, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_load[ABUSE_WRONG_HANDLES];
  int wrong_load_count = abuse_wrong_handles(a, ABUSE_LOAD, wrong_load);
  for (int i = 0; i < wrong_load_count; i++) WITH(keel_load, load, wrong_load[i], KEEL_E_HANDLE);
  WITH(keel_load, load, a->closed[ABUSE_LOAD], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_load_end(load, &error), &error);
  abuse_consumed(a, ABUSE_LOAD);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_load_end: nothing was tried");
}

static void test_keel_cursor_open(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_open";
  keel_error error;
  keel_txn txn = a->live[ABUSE_TXN];
  keel_keyspace keyspace = a->live[ABUSE_KEYSPACE];
  struct {
    keel_cursor_options known;
    unsigned char tail[KEEL_MAX_STRUCT_SIZE];
  } storage_options;
  const keel_cursor_options right_options = KEEL_CURSOR_OPTIONS_INIT;
  memset(&storage_options, 0, sizeof storage_options);
  storage_options.known = right_options;
  const keel_cursor_options *options = &storage_options.known;
  keel_cursor storage_out_cursor = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_cursor = &storage_out_cursor;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_cursor, sizeof storage_out_cursor); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_open(txn, keyspace, options, out_cursor, NULL); \
    keel_status with = keel_cursor_open(txn, keyspace, options, out_cursor, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_txn[ABUSE_WRONG_HANDLES];
  int wrong_txn_count = abuse_wrong_handles(a, ABUSE_TXN, wrong_txn);
  for (int i = 0; i < wrong_txn_count; i++) WITH(keel_txn, txn, wrong_txn[i], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->closed[ABUSE_TXN], KEEL_E_FINISHED);
  WITH(keel_txn, txn, a->committed_txn, KEEL_E_FINISHED);
  uint64_t wrong_keyspace[ABUSE_WRONG_HANDLES];
  int wrong_keyspace_count = abuse_wrong_handles(a, ABUSE_KEYSPACE, wrong_keyspace);
  for (int i = 0; i < wrong_keyspace_count; i++) WITH(keel_keyspace, keyspace, wrong_keyspace[i], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->closed[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_keyspace, keyspace, a->foreign[ABUSE_KEYSPACE], KEEL_E_HANDLE);
  WITH(keel_txn, txn, a->foreign[ABUSE_TXN], KEEL_E_HANDLE);
  const uint32_t sizes_options[] = {0, 1, 4, CAPI_CURSOR_OPTIONS_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_options / sizeof sizes_options[0]; i++) {
    storage_options.known.struct_size = sizes_options[i];
    ABUSE("struct_size of options", KEEL_E_INVALID);
  }
  storage_options.known.struct_size = KEEL_MAX_STRUCT_SIZE;
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 1;
  ABUSE("options with an unknown field", KEEL_E_UNSUPPORTED);
  ((unsigned char *)&storage_options)[KEEL_MAX_STRUCT_SIZE - 1] = 0;
  storage_options.known = right_options;
#define FIELD(field, value, expected)                      \
  do {                                                     \
    storage_options.known.field = (value);                       \
    ABUSE("options->" #field " = " #value, expected);            \
    storage_options.known = right_options;                             \
  } while (0)
  FIELD(flags, UINT64_C(0) + 1, KEEL_E_INVALID);
  FIELD(flags, UINT32_MAX, KEEL_E_INVALID);
  FIELD(lower_size, 1, KEEL_E_INVALID); /* its pointer is NULL */
  FIELD(lower_size, UINT64_C(1024) + 1, KEEL_E_KEY_SIZE);
  FIELD(lower_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  FIELD(upper_size, 1, KEEL_E_INVALID); /* its pointer is NULL */
  FIELD(upper_size, UINT64_C(1024) + 1, KEEL_E_KEY_SIZE);
  FIELD(upper_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  FIELD(prefix_size, 1, KEEL_E_INVALID); /* its pointer is NULL */
  FIELD(prefix_size, UINT64_C(1024) + 1, KEEL_E_KEY_SIZE);
  FIELD(prefix_size, SIZE_MAX, KEEL_E_KEY_SIZE);
#undef FIELD
  WITH(keel_cursor *, out_cursor, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_open(txn, keyspace, options, out_cursor, &error), &error);
  abuse_close(ABUSE_CURSOR, storage_out_cursor);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_cursor_open: nothing was tried");
}

static void test_keel_cursor_close(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_close";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_close(cursor, NULL); \
    keel_status with = keel_cursor_close(cursor, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_close(cursor, &error), &error);
  abuse_consumed(a, ABUSE_CURSOR);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_cursor_close: nothing was tried");
}

static void test_keel_cursor_first(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_first";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_first(cursor, NULL); \
    keel_status with = keel_cursor_first(cursor, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_first(cursor, &error), &error);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_cursor_first: nothing was tried");
}

static void test_keel_cursor_last(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_last";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_last(cursor, NULL); \
    keel_status with = keel_cursor_last(cursor, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_last(cursor, &error), &error);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_cursor_last: nothing was tried");
}

static void test_keel_cursor_next(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_next";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_next(cursor, NULL); \
    keel_status with = keel_cursor_next(cursor, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_next(cursor, &error), &error);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_cursor_next: nothing was tried");
}

static void test_keel_cursor_prev(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_prev";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_prev(cursor, NULL); \
    keel_status with = keel_cursor_prev(cursor, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_prev(cursor, &error), &error);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_cursor_prev: nothing was tried");
}

static void test_keel_cursor_seek(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_seek";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  const void *key = "key";
  size_t key_size = 3;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_seek(cursor, key, key_size, NULL); \
    keel_status with = keel_cursor_seek(cursor, key, key_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_seek(cursor, key, key_size, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_cursor_seek: nothing was tried");
}

static void test_keel_cursor_seek_le(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_seek_le";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  const void *key = "key";
  size_t key_size = 3;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_seek_le(cursor, key, key_size, NULL); \
    keel_status with = keel_cursor_seek_le(cursor, key, key_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
  WITH(const void *, key, NULL, KEEL_E_INVALID);
  WITH(size_t, key_size, (size_t)KEEL_MAX_KEY_SIZE + 1, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX, KEEL_E_KEY_SIZE);
  WITH(size_t, key_size, SIZE_MAX / 2 + 1, KEEL_E_KEY_SIZE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_seek_le(cursor, key, key_size, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_cursor_seek_le: nothing was tried");
}

static void test_keel_cursor_get(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_get";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  const void *storage_out_key = a, **out_key = &storage_out_key;
  size_t storage_out_key_size = 77, *out_key_size = &storage_out_key_size;
  const void *storage_out_value = a, **out_value = &storage_out_value;
  size_t storage_out_value_size = 77, *out_value_size = &storage_out_value_size;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_key, sizeof storage_out_key); \
    abuse_guard_take(&guards[guard_count++], &storage_out_key_size, sizeof storage_out_key_size); \
    abuse_guard_take(&guards[guard_count++], &storage_out_value, sizeof storage_out_value); \
    abuse_guard_take(&guards[guard_count++], &storage_out_value_size, sizeof storage_out_value_size); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_get(cursor, out_key, out_key_size, out_value, out_value_size, NULL); \
    keel_status with = keel_cursor_get(cursor, out_key, out_key_size, out_value, out_value_size, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
  WITH(const void **, out_key, NULL, KEEL_E_INVALID);
  WITH(size_t *, out_key_size, NULL, KEEL_E_INVALID);
  WITH(const void **, out_value, NULL, KEEL_E_INVALID);
  WITH(size_t *, out_value_size, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_get(cursor, out_key, out_key_size, out_value, out_value_size, &error), &error);
  if (a->cases == 0 && 3 > 0) fail_msg("keel_cursor_get: nothing was tried");
}

static void test_keel_cursor_next_batch(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_next_batch";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  size_t max_rows = 1;
  size_t max_bytes = 1;
  keel_batch batch = a->live[ABUSE_BATCH];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_next_batch(cursor, max_rows, max_bytes, batch, NULL); \
    keel_status with = keel_cursor_next_batch(cursor, max_rows, max_bytes, batch, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
  uint64_t wrong_batch[ABUSE_WRONG_HANDLES];
  int wrong_batch_count = abuse_wrong_handles(a, ABUSE_BATCH, wrong_batch);
  for (int i = 0; i < wrong_batch_count; i++) WITH(keel_batch, batch, wrong_batch[i], KEEL_E_HANDLE);
  WITH(keel_batch, batch, a->closed[ABUSE_BATCH], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_next_batch(cursor, max_rows, max_bytes, batch, &error), &error);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_cursor_next_batch: nothing was tried");
}

static void test_keel_cursor_prev_batch(void **state) {
  abuse *a = *state;
  a->function = "keel_cursor_prev_batch";
  keel_error error;
  keel_cursor cursor = a->live[ABUSE_CURSOR];
  size_t max_rows = 1;
  size_t max_bytes = 1;
  keel_batch batch = a->live[ABUSE_BATCH];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_cursor_prev_batch(cursor, max_rows, max_bytes, batch, NULL); \
    keel_status with = keel_cursor_prev_batch(cursor, max_rows, max_bytes, batch, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_cursor[ABUSE_WRONG_HANDLES];
  int wrong_cursor_count = abuse_wrong_handles(a, ABUSE_CURSOR, wrong_cursor);
  for (int i = 0; i < wrong_cursor_count; i++) WITH(keel_cursor, cursor, wrong_cursor[i], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->closed[ABUSE_CURSOR], KEEL_E_HANDLE);
  WITH(keel_cursor, cursor, a->orphan_cursor, KEEL_E_FINISHED);
  uint64_t wrong_batch[ABUSE_WRONG_HANDLES];
  int wrong_batch_count = abuse_wrong_handles(a, ABUSE_BATCH, wrong_batch);
  for (int i = 0; i < wrong_batch_count; i++) WITH(keel_batch, batch, wrong_batch[i], KEEL_E_HANDLE);
  WITH(keel_batch, batch, a->closed[ABUSE_BATCH], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_cursor_prev_batch(cursor, max_rows, max_bytes, batch, &error), &error);
  if (a->cases == 0 && 4 > 0) fail_msg("keel_cursor_prev_batch: nothing was tried");
}

static void test_keel_batch_new(void **state) {
  abuse *a = *state;
  a->function = "keel_batch_new";
  keel_error error;
  keel_batch storage_out_batch = UINT64_C(0xA5A5A5A5A5A5A5A5), *out_batch = &storage_out_batch;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_batch, sizeof storage_out_batch); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_batch_new(out_batch, NULL); \
    keel_status with = keel_batch_new(out_batch, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  WITH(keel_batch *, out_batch, NULL, KEEL_E_INVALID);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_batch_new(out_batch, &error), &error);
  abuse_close(ABUSE_BATCH, storage_out_batch);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_batch_new: nothing was tried");
}

static void test_keel_batch_free(void **state) {
  abuse *a = *state;
  a->function = "keel_batch_free";
  keel_error error;
  keel_batch batch = a->live[ABUSE_BATCH];
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_batch_free(batch, NULL); \
    keel_status with = keel_batch_free(batch, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_batch[ABUSE_WRONG_HANDLES];
  int wrong_batch_count = abuse_wrong_handles(a, ABUSE_BATCH, wrong_batch);
  for (int i = 0; i < wrong_batch_count; i++) WITH(keel_batch, batch, wrong_batch[i], KEEL_E_HANDLE);
  WITH(keel_batch, batch, a->closed[ABUSE_BATCH], KEEL_E_HANDLE);
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_batch_free(batch, &error), &error);
  abuse_consumed(a, ABUSE_BATCH);
  if (a->cases == 0 && 1 > 0) fail_msg("keel_batch_free: nothing was tried");
}

static void test_keel_batch_data(void **state) {
  abuse *a = *state;
  a->function = "keel_batch_data";
  keel_error error;
  keel_batch batch = a->live[ABUSE_BATCH];
  keel_batch_view storage_out_view;
  memset(&storage_out_view, 0xA5, sizeof storage_out_view);
  storage_out_view.struct_size = (uint32_t)sizeof storage_out_view;
  keel_batch_view *out_view = &storage_out_view;
  abuse_guard guards[8];
  int guard_count = 0;
#define ABUSE(what, expected)                                                        \
  do {                                                                               \
    guard_count = 0;                                                                 \
    abuse_guard_take(&guards[guard_count++], &storage_out_view, sizeof storage_out_view); \
    memset(&error, 0, sizeof error);                                                 \
    keel_status without = keel_batch_data(batch, out_view, NULL); \
    keel_status with = keel_batch_data(batch, out_view, &error); \
    abuse_expect(a, what, expected, without, with, &error, guards, guard_count);     \
  } while (0)
#define WITH(type, name, value, expected) \
  do {                                    \
    type saved = name;                    \
    name = (value);                       \
    ABUSE(#name " = " #value, expected);  \
    name = saved;                         \
  } while (0)

  uint64_t wrong_batch[ABUSE_WRONG_HANDLES];
  int wrong_batch_count = abuse_wrong_handles(a, ABUSE_BATCH, wrong_batch);
  for (int i = 0; i < wrong_batch_count; i++) WITH(keel_batch, batch, wrong_batch[i], KEEL_E_HANDLE);
  WITH(keel_batch, batch, a->closed[ABUSE_BATCH], KEEL_E_HANDLE);
  WITH(keel_batch_view *, out_view, NULL, KEEL_E_INVALID);
  const uint32_t sizes_out_view[] = {0, 1, 4, CAPI_BATCH_VIEW_FIRST_SIZE - 1, KEEL_MAX_STRUCT_SIZE + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes_out_view / sizeof sizes_out_view[0]; i++) {
    storage_out_view.struct_size = sizes_out_view[i];
    ABUSE("struct_size of out_view", KEEL_E_INVALID);
  }
  storage_out_view.struct_size = (uint32_t)sizeof storage_out_view;
#undef WITH
#undef ABUSE

  abuse_expect_ok(a, keel_batch_data(batch, out_view, &error), &error);
  if (a->cases == 0 && 2 > 0) fail_msg("keel_batch_data: nothing was tried");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_keel_version, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_version_number, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_feature, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_status_name, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_status_class, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_status_is_retryable, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_open, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_close, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_flush, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_make_checkpoint, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_compact, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_set_cache_size, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_last_checkpoint, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_get_stats, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_verify_begin, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_salvage_begin, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_check_step, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_check_problem, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_check_close, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_keyspace_open, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_keyspace_close, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_keyspace_drop, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_keyspace_list, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_begin, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_commit, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_rollback, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_get, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_get_copy, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_get_part, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_get_view, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_view_data, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_view_release, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_get_many, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_put, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_del, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_del_range, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_write_batch, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_value_begin, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_value_write, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_value_finish, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_value_end, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_load_begin, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_load_put, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_load_batch, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_load_finish, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_load_end, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_open, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_close, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_first, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_last, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_next, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_prev, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_seek, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_seek_le, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_get, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_next_batch, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_cursor_prev_batch, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_batch_new, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_batch_free, abuse_setup, abuse_teardown),
      cmocka_unit_test_setup_teardown(test_keel_batch_data, abuse_setup, abuse_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, abuse_report);
}
