/* tests/unit/wal/test_wal_api.c: refusals with their messages, read-only logs, deadlines, owner, a reader that follows.
 * */
#include "wal_fixture.h"

static kl_sim *api_sim(void) {
  kl_sim *sim = NULL;
  assert_int_equal(kl_sim_new(test_seed(11), &sim, NULL), KL_OK);
  return sim;
}

static kl_wal *api_create(kl_sim *sim, const char *path, const kl_wal_options *options) {
  kl_wal *wal = NULL;
  kl_error err = {0};
  if (kl_wal_create(kl_sim_os(sim), path, options, &wal, &err) != KL_OK) fail_msg("%s", err.message);
  return wal;
}

static void api_expect_open(kl_sim *sim, const kl_wal_options *options, kl_status expected) {
  kl_wal *wal = (kl_wal *)(uintptr_t)1;
  kl_error err = {0};
  kl_status status = kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, options, &wal, &err);
  if (status != expected) fail_msg("%d instead of %d: %s", status, expected, err.message);
  assert_null(wal);
  assert_int_equal(err.code, expected);
  assert_non_null(strstr(err.message, WAL_TEST_PATH));
}

static void wrong_files_are_refused(void **state) {
  (void)state;
  kl_wal_options options = wal_test_options();
  uint8_t bytes[8192];
  kl_sim *sim = api_sim();
  api_expect_open(sim, &options, KL_E_NO_FILE);
  memset(bytes, 'x', sizeof bytes);
  assert_int_equal(kl_sim_poke(sim, WAL_TEST_PATH, 0, bytes, 100), KL_OK);
  api_expect_open(sim, &options, KL_E_FORMAT); /* short */
  assert_int_equal(kl_sim_poke(sim, WAL_TEST_PATH, 0, bytes, sizeof bytes), KL_OK);
  api_expect_open(sim, &options, KL_E_FORMAT); /* garbage */
  kl_sim_free(sim);

  sim = api_sim();
  assert_int_equal(kl_sim_make_directory(sim, WAL_TEST_PATH), KL_OK);
  api_expect_open(sim, &options, KL_E_NOT_A_FILE);
  kl_sim_free(sim);

  /* The header: a newer version, then damage in one copy, then in both, then another database. */
  sim = api_sim();
  kl_wal_close(api_create(sim, WAL_TEST_PATH, &options));
  options.database_id[3] ^= 1;
  api_expect_open(sim, &options, KL_E_FORMAT);
  options.database_id[3] ^= 1;
  uint8_t flip = 0xff;
  assert_int_equal(kl_sim_poke(sim, WAL_TEST_PATH, 100, &flip, 1), KL_OK);
  kl_wal *wal = NULL;
  assert_int_equal(kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
  kl_wal_close(wal);
  assert_int_equal(kl_sim_poke(sim, WAL_TEST_PATH, 4096 + 100, &flip, 1), KL_OK);
  api_expect_open(sim, &options, KL_E_CORRUPT);
  kl_sim_free(sim);
}

static void bad_arguments_are_refused(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_os *os = kl_sim_os(sim);
  kl_wal_options options = wal_test_options();
  kl_wal *wal = NULL;
  static const uint64_t sizes[] = {1, 65535, 65536 + 512, 32768, (uint64_t)2 << 30};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    options.segment_size = sizes[i];
    assert_int_equal(kl_wal_create(os, WAL_TEST_PATH, &options, &wal, NULL), KL_E_INVALID);
  }
  options = wal_test_options();
  wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_wal *second = NULL;
  assert_int_equal(kl_wal_create(os, WAL_TEST_PATH, &options, &second, NULL), KL_E_EXISTS);
  kl_lsn end;
  assert_int_equal(wal_test_append(wal, 0, 100, false, &end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, end + 8, NULL), KL_E_INVALID);
  assert_int_equal(kl_wal_release(wal, end + 8, NULL), KL_E_INVALID);
  assert_int_equal(kl_wal_recover_end(wal, end, NULL), KL_E_INVALID);
  kl_wal_reader *reader = NULL;
  assert_int_equal(kl_wal_reader_new(wal, end + 8, &reader, NULL), KL_E_INVALID);
  assert_int_equal(kl_wal_reader_new(wal, 4, &reader, NULL), KL_E_INVALID);
  kl_wal_close(wal);

  /* Nothing may be appended, released or ended before a reader came to the end. */
  assert_int_equal(kl_wal_open(os, WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
  assert_int_equal(wal_test_append(wal, 1, 100, false, NULL, NULL), KL_E_INVALID);
  assert_int_equal(kl_wal_release(wal, 0, NULL), KL_E_INVALID);
  assert_int_equal(kl_wal_recover_end(wal, 0, NULL), KL_E_INVALID);
  uint64_t next;
  assert_int_equal(wal_test_read(wal, 0, 0, &next, &end, NULL), KL_E_NOT_FOUND);
  assert_int_equal(kl_wal_recover_end(wal, 0, NULL), KL_E_INVALID); /* that would drop a batch */
  assert_int_equal(kl_wal_recover_end(wal, end, NULL), KL_OK);
  kl_wal_close(wal);
  kl_wal_close(NULL);
  kl_wal_reader_free(NULL);
  kl_sim_free(sim);
}

static void a_read_only_log_is_not_written(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_wal_options options = wal_test_options();
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_lsn end;
  for (uint64_t i = 0; i < 5; i++) assert_int_equal(wal_test_append(wal, i, 900, false, &end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  kl_wal_close(wal);
  kl_sim_inject(sim, KL_SIM_FAULT_READ_ONLY, 1); /* any attempt to change something fails from here on */
  options.read_only = true;
  kl_error err = {0};
  if (kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, &err) != KL_OK) fail_msg("%s", err.message);
  uint64_t next;
  assert_int_equal(wal_test_read(wal, 0, 0, &next, &end, NULL), KL_E_NOT_FOUND);
  assert_int_equal(next, 5);
  if (kl_wal_recover_end(wal, end, &err) != KL_OK) fail_msg("%s", err.message);
  assert_int_equal(wal_test_append(wal, 5, 100, false, NULL, NULL), KL_E_READ_ONLY);
  assert_int_equal(wal_test_append(wal, 5, 100, true, NULL, NULL), KL_E_READ_ONLY);
  assert_int_equal(kl_wal_write_owner(wal, NULL), KL_E_READ_ONLY);
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync_soon(wal, 0, NULL), KL_OK);
  assert_int_equal(wal_test_read(wal, 0, 0, &next, &end, NULL), KL_E_NOT_FOUND);
  assert_int_equal(next, 5);
  kl_wal_stats stats;
  kl_wal_get_stats(wal, &stats);
  assert_false(stats.poisoned);
  kl_wal_close(wal);
  assert_int_equal(kl_wal_create(kl_sim_os(sim), "/db/other-wal", &options, &wal, NULL), KL_E_READ_ONLY);
  kl_sim_free(sim);
}

/* Without threads the deadline is kept by the next append or sync_soon past it. */
static void group_durability_keeps_its_deadline(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_wal_options options = wal_test_options();
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_wal_stats stats;
  kl_lsn first, second, third;
  const uint64_t hour = (uint64_t)3600 * 1000000000u;
  assert_int_equal(wal_test_append(wal, 0, 100, false, &first, NULL), KL_OK);
  assert_int_equal(kl_wal_sync_soon(wal, hour, NULL), KL_OK);
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.durable_lsn < first);
  assert_int_equal(wal_test_append(wal, 1, 100, false, &second, NULL), KL_OK);
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.durable_lsn < first);
  kl_sim_advance_clock(sim, 2 * hour);
  assert_int_equal(wal_test_append(wal, 2, 100, false, &third, NULL), KL_OK);
  kl_wal_get_stats(wal, &stats);
  assert_int_equal(stats.durable_lsn, third);
  assert_int_equal(wal_test_append(wal, 3, 100, false, &third, NULL), KL_OK);
  assert_int_equal(kl_wal_sync_soon(wal, 0, NULL), KL_OK); /* due at once */
  kl_wal_get_stats(wal, &stats);
  assert_int_equal(stats.durable_lsn, third);
  kl_wal_close(wal);
  kl_sim_free(sim);
}

static void the_owner_is_named(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_os *os = kl_sim_os(sim);
  kl_wal_options options = wal_test_options();
  char text[256], expected[64];
  assert_int_equal(kl_wal_read_owner(os, WAL_TEST_PATH, text, sizeof text), KL_E_NOT_FOUND);
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  assert_int_equal(kl_wal_read_owner(os, WAL_TEST_PATH, text, sizeof text), KL_E_NOT_FOUND);
  assert_string_equal(text, "");
  assert_int_equal(kl_wal_write_owner(wal, NULL), KL_OK);
  assert_int_equal(kl_wal_read_owner(os, WAL_TEST_PATH, text, sizeof text), KL_OK);
  (void)snprintf(expected, sizeof expected, "process %llu (", (unsigned long long)kl_os_process_id(os));
  assert_ptr_equal(strstr(text, expected), text);
  assert_non_null(strstr(text, " UTC"));
  char small[10];
  assert_int_equal(kl_wal_read_owner(os, WAL_TEST_PATH, small, sizeof small), KL_OK);
  assert_int_equal(strlen(small), 9);
  kl_wal_close(wal);
  /* Each damaged byte of it makes it unknown, or shows the same; never something else. */
  for (uint64_t at = 0; at < 16 + strlen(text); at++) {
    kl_sim *copy = NULL;
    uint8_t byte;
    size_t got;
    char read[256];
    assert_int_equal(kl_sim_clone(sim, &copy), KL_OK);
    assert_int_equal(kl_sim_peek(copy, WAL_TEST_PATH, 8192 + at, &byte, 1, &got), KL_OK);
    byte ^= 0x15;
    assert_int_equal(kl_sim_poke(copy, WAL_TEST_PATH, 8192 + at, &byte, 1), KL_OK);
    assert_int_equal(kl_wal_read_owner(kl_sim_os(copy), WAL_TEST_PATH, read, sizeof read), KL_E_NOT_FOUND);
    kl_sim_free(copy);
  }
  kl_sim_free(sim);
}

static void a_reader_follows_a_running_log(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_wal_options options = wal_test_options();
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  kl_lsn end;
  assert_int_equal(kl_wal_reader_new(wal, 0, &reader, NULL), KL_OK);
  uint64_t read = 0;
  for (uint64_t i = 0; i < 200; i++) {
    bool deferred = i % 3 == 0;
    assert_int_equal(wal_test_append(wal, i, i % 50 == 7 ? 300000 : 16 + i * 11, deferred, &end, NULL), KL_OK);
    if (i % 5 == 0) assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
    kl_status status;
    while ((status = kl_wal_reader_next(reader, &batch, NULL)) == KL_OK) {
      assert_int_equal(wal_test_number(batch.payload), read);
      assert_true(batch.lsn < batch.end_lsn && batch.end_lsn <= end);
      read++;
    }
    assert_int_equal(status, KL_E_NOT_FOUND);
    /* A deferred batch is seen when it was handed over: with its sync, or with the next that is not deferred. */
    assert_true(read == i + 1 || deferred);
  }
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  while (kl_wal_reader_next(reader, &batch, NULL) == KL_OK) read++;
  assert_int_equal(read, 200);
  kl_wal_reader_free(reader);
  /* A reader that fell behind the release point is told so. */
  assert_int_equal(kl_wal_reader_new(wal, 0, &reader, NULL), KL_OK);
  assert_int_equal(kl_wal_release(wal, end, NULL), KL_OK);
  assert_int_equal(kl_wal_reader_next(reader, &batch, NULL), KL_E_INVALID);
  kl_wal_reader_free(reader);
  assert_int_equal(kl_wal_reader_new(wal, 0, &reader, NULL), KL_E_INVALID);
  kl_wal_close(wal);
  kl_sim_free(sim);
}

/* WAL-2: a reader that begins at the end of a batch does not step over the damaged one that follows it. */
static void the_first_batch_is_chained_too(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_wal_options options = wal_test_options();
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  kl_lsn first, second, third;
  assert_int_equal(wal_test_append(wal, 0, 64, false, &first, NULL), KL_OK);
  assert_int_equal(wal_test_append(wal, 1, 64, false, &second, NULL), KL_OK); /* in the same sync block */
  assert_int_equal(kl_wal_sync(wal, second, NULL), KL_OK);
  assert_int_equal(wal_test_append(wal, 2, 64, false, &third, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, third, NULL), KL_OK);
  assert_true(first % 512 != 0 && second < 512 && third > 512);
  kl_wal_close(wal);
  uint8_t flip = 0xee;
  assert_int_equal(kl_sim_poke(sim, WAL_TEST_PATH, 16384 + 4096 + first + 20, &flip, 1), KL_OK);
  assert_int_equal(kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
  assert_int_equal(kl_wal_reader_new(wal, first, &reader, NULL), KL_OK);
  assert_int_equal(kl_wal_reader_next(reader, &batch, NULL), KL_E_CORRUPT);
  kl_wal_reader_free(reader);
  /* Who asks for the batch behind gets it. */
  assert_int_equal(kl_wal_reader_new(wal, 512, &reader, NULL), KL_OK);
  assert_int_equal(kl_wal_reader_next(reader, &batch, NULL), KL_OK);
  assert_int_equal(wal_test_number(batch.payload), 2);
  kl_wal_reader_free(reader);
  kl_wal_close(wal);
  kl_sim_free(sim);
}

/* The log of a database that is closed may be removed, and made anew: positions go on. */
static void a_new_log_begins_where_the_old_one_ended(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_wal_options options = wal_test_options();
  options.start_lsn = 1000001;
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_wal_stats stats;
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.tail_lsn >= 1000001 && stats.tail_lsn < 1000001 + (64 << 10));
  kl_lsn start = stats.tail_lsn, end;
  assert_int_equal(wal_test_append(wal, 0, 100, true, &end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  kl_wal_close(wal);
  assert_int_equal(kl_wal_open(kl_sim_os(sim), WAL_TEST_PATH, &options, &wal, NULL), KL_OK);
  kl_wal_reader *reader = NULL;
  assert_int_equal(kl_wal_reader_new(wal, 0, &reader, NULL), KL_E_CORRUPT); /* it does not hold that */
  uint64_t next;
  assert_int_equal(wal_test_read(wal, start, 0, &next, &end, NULL), KL_E_NOT_FOUND);
  assert_int_equal(next, 1);
  kl_wal_close(wal);
  kl_sim_free(sim);
}

static void an_empty_log_stays_small(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_wal_options options = wal_test_options();
  options.segment_size = 0;
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_wal_stats stats;
  kl_lsn end;
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.file_bytes <= 16384);
  assert_int_equal(wal_test_append(wal, 0, 100, true, &end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.file_bytes <= 256 << 10);
  kl_wal_close(wal);
  kl_sim_free(sim);
}

/* What one huge batch took is given back when it is released. */
static void the_file_shrinks_after_a_huge_batch(void **state) {
  (void)state;
  kl_sim *sim = api_sim();
  kl_wal_options options = wal_test_options();
  kl_wal *wal = api_create(sim, WAL_TEST_PATH, &options);
  kl_wal_stats stats;
  kl_lsn end;
  assert_int_equal(wal_test_append(wal, 0, 8 << 20, true, &end, NULL), KL_OK);
  assert_int_equal(wal_test_append(wal, 1, 100, true, &end, NULL), KL_OK);
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.file_bytes > 8 << 20);
  assert_int_equal(kl_wal_release(wal, end, NULL), KL_OK);
  for (uint64_t i = 0; i < 400; i++) { /* on into the low slots; then the high ones are free */
    assert_int_equal(wal_test_append(wal, i, 4000, true, &end, NULL), KL_OK);
    assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
    assert_int_equal(kl_wal_release(wal, end, NULL), KL_OK);
  }
  kl_wal_get_stats(wal, &stats);
  assert_true(stats.file_bytes < 2 << 20);
  kl_wal_close(wal);
  kl_sim_free(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_files_are_refused),
      cmocka_unit_test(bad_arguments_are_refused),
      cmocka_unit_test(a_read_only_log_is_not_written),
      cmocka_unit_test(group_durability_keeps_its_deadline),
      cmocka_unit_test(the_owner_is_named),
      cmocka_unit_test(a_reader_follows_a_running_log),
      cmocka_unit_test(the_first_batch_is_chained_too),
      cmocka_unit_test(a_new_log_begins_where_the_old_one_ended),
      cmocka_unit_test(an_empty_log_stays_small),
      cmocka_unit_test(the_file_shrinks_after_a_huge_batch),
  };
  return cmocka_run_group_tests_name("wal api", tests, NULL, NULL);
}
