/* tests/abi/abuse_support.c: see abuse_support.h. */
#include "abuse_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

char abuse_long_text[8192];
const char abuse_bad_utf8[4] = "\xC3\x28\xFF";
const char abuse_zero_inside[4] = "a\0b";

static void must(keel_status status, const keel_error *error) {
  if (status != KEEL_OK) fail_msg("fixture: %s: %s", keel_status_name(status), error->message);
}

static void open_one_of_each(uint64_t handles[ABUSE_KINDS]) {
  keel_error error;
  keel_cursor_options all = KEEL_CURSOR_OPTIONS_INIT;
  must(keel_open(":memory:", NULL, &handles[ABUSE_DB], &error), &error);
  must(keel_keyspace_open(handles[ABUSE_DB], "ks", 2, NULL, &handles[ABUSE_KEYSPACE], &error), &error);
  must(keel_begin(handles[ABUSE_DB], NULL, &handles[ABUSE_TXN], &error), &error);
  keel_txn txn = handles[ABUSE_TXN];
  keel_keyspace keyspace = handles[ABUSE_KEYSPACE];
  must(keel_put(txn, keyspace, "key", 3, "value", 5, &error), &error);
  must(keel_put(txn, keyspace, "kez", 3, "other", 5, &error), &error);
  must(keel_put(txn, keyspace, "kf", 2, "third", 5, &error), &error);
  must(keel_cursor_open(txn, keyspace, &all, &handles[ABUSE_CURSOR], &error), &error);
  must(keel_cursor_seek(handles[ABUSE_CURSOR], "kez", 3, &error), &error);
  must(keel_get_view(txn, keyspace, "key", 3, &handles[ABUSE_VIEW], &error), &error);
  must(keel_batch_new(&handles[ABUSE_BATCH], &error), &error);
  must(keel_verify_begin(handles[ABUSE_DB], &handles[ABUSE_CHECK], &error), &error);
  must(keel_load_begin(handles[ABUSE_DB], "loaded", 6, NULL, &handles[ABUSE_LOAD], &error), &error);
  must(keel_value_begin(txn, keyspace, "parts", 5, 100, &handles[ABUSE_VALUE], &error), &error);
}

void abuse_close(enum abuse_kind kind, uint64_t handle) {
  keel_error error;
  switch (kind) {
    case ABUSE_DB:
      must(keel_close(handle, &error), &error);
      break;
    case ABUSE_KEYSPACE:
      must(keel_keyspace_close(handle, &error), &error);
      break;
    case ABUSE_TXN:
      must(keel_rollback(handle, &error), &error);
      break;
    case ABUSE_CURSOR:
      must(keel_cursor_close(handle, &error), &error);
      break;
    case ABUSE_VIEW:
      must(keel_view_release(handle, &error), &error);
      break;
    case ABUSE_BATCH:
      must(keel_batch_free(handle, &error), &error);
      break;
    case ABUSE_CHECK:
      must(keel_check_close(handle, &error), &error);
      break;
    case ABUSE_LOAD:
      must(keel_load_end(handle, &error), &error);
      break;
    case ABUSE_VALUE:
      must(keel_value_end(handle, &error), &error);
      break;
    case ABUSE_KINDS:
      fail_msg("no kind");
  }
}

static int total_cases;

int abuse_report(void **state) {
  (void)state;
  print_message("%d wrong calls, each answered\n", total_cases);
  return total_cases > 0 ? 0 : -1;
}

static void close_all(uint64_t handles[ABUSE_KINDS]) {
  for (int kind = 0; kind < ABUSE_KINDS; kind++) {
    if (handles[kind] != 0) abuse_close((enum abuse_kind)kind, handles[kind]);
    handles[kind] = 0;
  }
}

int abuse_setup(void **state) {
  keel_error error;
  abuse *a = calloc(1, sizeof *a);
  assert_non_null(a);
  memset(abuse_long_text, 'x', sizeof abuse_long_text - 1);
  open_one_of_each(a->closed);
  uint64_t gone[ABUSE_KINDS];
  memcpy(gone, a->closed, sizeof gone);
  /* An orphan must outlive its transaction, and the committed one must be another. */
  must(keel_begin(gone[ABUSE_DB], NULL, &a->committed_txn, &error), &error);
  must(keel_cursor_open(a->committed_txn, gone[ABUSE_KEYSPACE], NULL, &a->orphan_cursor, &error), &error);
  must(keel_commit(a->committed_txn, NULL, &error), &error);
  close_all(gone);
  open_one_of_each(a->foreign);
  open_one_of_each(a->live);
  *state = a;
  return 0;
}

int abuse_teardown(void **state) {
  abuse *a = *state;
  close_all(a->live);
  close_all(a->foreign);
  abuse_close(ABUSE_CURSOR, a->orphan_cursor);
  total_cases += a->cases;
  free(a);
  return 0;
}

int abuse_wrong_handles(const abuse *a, enum abuse_kind kind, uint64_t out[ABUSE_WRONG_HANDLES]) {
  int n = 0;
  out[n++] = 0;
  out[n++] = 1;
  out[n++] = UINT64_MAX;
  out[n++] = (UINT64_C(1) << 53) - 1;
  out[n++] = a->live[kind] | UINT64_C(1) << 60;         /* bits above the 53 that a handle has */
  out[n++] = a->live[kind] + (UINT64_C(1000) << 21);    /* the slot, a generation that is yet to come */
  out[n++] = a->live[kind] | ((UINT64_C(1) << 21) - 1); /* the last slot, never given out */
  out[n++] = a->live[kind] & ((UINT64_C(1) << 21) - 1); /* the slot without a generation */
  for (int other = 0; other < ABUSE_KINDS; other++) {
    if (other != (int)kind) out[n++] = a->live[other];
  }
  return n;
}

void abuse_guard_take(abuse_guard *guard, void *memory, size_t size) {
  assert_true(size <= sizeof guard->before);
  guard->memory = memory;
  guard->size = size;
  memcpy(guard->before, memory, size);
}

/* Every handle of the fixture works, and shows what it showed at the beginning. */
static void check_unharmed(const abuse *a) {
  keel_error error;
  const void *key, *value;
  size_t key_size, value_size;
  keel_stats stats = KEEL_STATS_INIT;
  keel_batch_view columns = KEEL_BATCH_VIEW_INIT;
  must(keel_get_stats(a->live[ABUSE_DB], &stats, &error), &error);
  must(keel_get(a->live[ABUSE_TXN], a->live[ABUSE_KEYSPACE], "key", 3, &value, &value_size, &error), &error);
  assert_int_equal(value_size, 5);
  assert_memory_equal(value, "value", 5);
  must(keel_get(a->live[ABUSE_TXN], a->live[ABUSE_KEYSPACE], "kf", 2, &value, &value_size, &error), &error);
  must(keel_cursor_get(a->live[ABUSE_CURSOR], &key, &key_size, &value, &value_size, &error), &error);
  assert_int_equal(key_size, 3);
  assert_memory_equal(key, "kez", 3);
  must(keel_view_data(a->live[ABUSE_VIEW], &value, &value_size, &error), &error);
  assert_int_equal(value_size, 5);
  assert_memory_equal(value, "value", 5);
  must(keel_batch_data(a->live[ABUSE_BATCH], &columns, &error), &error);
  assert_int_equal(columns.count, 0);
}

void abuse_expect(abuse *a, const char *what, keel_status expected, keel_status without_error, keel_status with_error,
                  const keel_error *error, const abuse_guard *guards, int guard_count) {
  a->cases++;
  if (without_error != expected || with_error != expected) {
    fail_msg("%s, %s: expected %s, got %s without and %s (%s) with a keel_error", a->function, what,
             keel_status_name(expected), keel_status_name(without_error), keel_status_name(with_error), error->message);
  }
  assert_int_equal(error->code, expected);
  size_t length = strnlen(error->message, sizeof error->message);
  if (length == 0 || length == sizeof error->message || strchr(error->message, '\n') != NULL) {
    fail_msg("%s, %s: the message is not one line of text: \"%.*s\"", a->function, what, (int)length, error->message);
  }
  for (int i = 0; i < guard_count; i++) {
    if (memcmp(guards[i].memory, guards[i].before, guards[i].size) != 0) {
      fail_msg("%s, %s: output %d was written", a->function, what, i);
    }
  }
  check_unharmed(a);
}

void abuse_expect_ok(abuse *a, keel_status status, const keel_error *error) {
  if (status != KEEL_OK) {
    fail_msg("%s: the valid call gave %s: %s", a->function, keel_status_name(status), error->message);
  }
}

void abuse_consumed(abuse *a, enum abuse_kind kind) {
  a->live[kind] = 0;
}
