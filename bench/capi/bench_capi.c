/* bench/capi/bench_capi.c: what a call through the ABI costs above the call that it makes.
 *
 *     build/release/bench/capi/bench_capi [ROWS]
 *
 * Prints nanoseconds per call, the least of several rounds: the handle path alone, calls that do next to nothing, and keel_get beside
 * kl_txn_get on the same transaction. Then keel_get from several threads that share one keyspace handle. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capi/objects.h"

enum { ROUNDS = 9, CALLS = 200000, MANY = 16, MOST_THREADS = 4 };

static uint64_t rows = 10000;
static keel_db db;
static keel_keyspace keyspace;
static keel_txn txn;
static keel_view view;
static keel_cursor cursor;
static keel_batch batch;
static char (*keys)[17];
static uint32_t *picks; /* CALLS random rows */
static uint64_t sink;   /* so that nothing is optimised away */

static void must(keel_status status, const keel_error *error) {
  if (status == KEEL_OK) return;
  (void)fprintf(stderr, "%s: %s\n", keel_status_name(status), error->message);
  exit(1);
}

static double now_ns(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void load(void) {
  keel_error error;
  uint64_t random = 88172645463325252u;
  char value[100];
  keys = calloc(rows, sizeof *keys);
  picks = calloc(CALLS, sizeof *picks);
  if (keys == NULL || picks == NULL) exit(1);
  memset(value, 'v', sizeof value);
  must(keel_open(":memory:", NULL, &db, &error), &error);
  must(keel_keyspace_open(db, "bench", 5, NULL, &keyspace, &error), &error);
  must(keel_begin(db, NULL, &txn, &error), &error);
  for (uint64_t i = 0; i < rows; i++) {
    (void)snprintf(keys[i], sizeof keys[i], "%016" PRIx64, next_random(&random));
    must(keel_put(txn, keyspace, keys[i], 16, value, sizeof value, &error), &error);
  }
  must(keel_commit(txn, NULL, &error), &error);
  for (size_t i = 0; i < CALLS; i++) picks[i] = (uint32_t)(next_random(&random) % rows);
  must(keel_begin(db, NULL, &txn, &error), &error);
  must(keel_get_view(txn, keyspace, keys[0], 16, &view, &error), &error);
  must(keel_cursor_open(txn, keyspace, NULL, &cursor, &error), &error);
  must(keel_cursor_first(cursor, &error), &error);
  must(keel_batch_new(&batch, &error), &error);
}

/* ---- What is measured: each body makes CALLS calls ---- */

static void scope_alone(void) {
  capi_scope scope;
  for (size_t i = 0; i < CALLS; i++) {
    if (capi_scope_enter(txn, keyspace, &scope, NULL) != KL_OK) exit(1);
    sink += scope.keyspace;
    capi_scope_leave(&scope);
  }
}

static void exclusive_alone(void) {
  capi_slot *slot;
  for (size_t i = 0; i < CALLS; i++) {
    if (capi_enter_exclusive(CAPI_TXN, txn, &slot, NULL) != KL_OK) exit(1);
    sink += slot->index;
    capi_leave_exclusive(slot);
  }
}

static void shared_alone(void) {
  capi_slot *slot;
  for (size_t i = 0; i < CALLS; i++) {
    if (capi_enter_shared(CAPI_DB, db, &slot, NULL) != KL_OK) exit(1);
    sink += slot->index;
    capi_leave_shared(slot);
  }
}

static void view_data(void) {
  const void *data;
  size_t size;
  keel_error error;
  for (size_t i = 0; i < CALLS; i++) {
    if (keel_view_data(view, &data, &size, &error) != KEEL_OK) exit(1);
    sink += size;
  }
}

static void cursor_get(void) {
  const void *key, *value;
  size_t key_size, value_size;
  keel_error error;
  for (size_t i = 0; i < CALLS; i++) {
    if (keel_cursor_get(cursor, &key, &key_size, &value, &value_size, &error) != KEEL_OK) exit(1);
    sink += value_size;
  }
}

static void stale(void) {
  const void *data;
  size_t size;
  for (size_t i = 0; i < CALLS; i++) {
    if (keel_view_data(txn, &data, &size, NULL) != KEEL_E_HANDLE) exit(1);
  }
}

static void get_through_abi(void) {
  const void *value;
  size_t size;
  keel_error error;
  for (size_t i = 0; i < CALLS; i++) {
    if (keel_get(txn, keyspace, keys[picks[i]], 16, &value, &size, &error) != KEEL_OK) exit(1);
    sink += size;
  }
}

static void get_below_abi(void) {
  capi_scope scope;
  kl_slice value;
  kl_error error;
  if (capi_scope_enter(txn, keyspace, &scope, &error) != KL_OK) exit(1);
  for (size_t i = 0; i < CALLS; i++) {
    if (kl_txn_get(scope.txn->txn, scope.keyspace, kl_slice_make(keys[picks[i]], 16), &value, &error) != KL_OK) exit(1);
    sink += value.size;
  }
  capi_scope_leave(&scope);
}

static void get_missing(void) {
  const void *value;
  size_t size;
  keel_error error;
  for (size_t i = 0; i < CALLS; i++) {
    if (keel_get(txn, keyspace, keys[picks[i]], 15, &value, &size, &error) != KEEL_E_NOT_FOUND) exit(1);
  }
}

static void get_missing_no_error(void) {
  const void *value;
  size_t size;
  for (size_t i = 0; i < CALLS; i++) {
    if (keel_get(txn, keyspace, keys[picks[i]], 15, &value, &size, NULL) != KEEL_E_NOT_FOUND) exit(1);
  }
}

static void get_many(void) {
  char packed[MANY * 16];
  uint64_t offsets[MANY + 1];
  keel_error error;
  for (size_t i = 0; i <= MANY; i++) offsets[i] = 16 * i;
  for (size_t i = 0; i + MANY <= CALLS; i += MANY) {
    for (size_t k = 0; k < MANY; k++) memcpy(packed + 16 * k, keys[picks[i + k]], 16);
    if (keel_get_many(txn, keyspace, packed, offsets, MANY, batch, &error) != KEEL_OK) exit(1);
  }
}

static void begin_and_rollback(void) {
  keel_txn other;
  keel_error error;
  for (size_t i = 0; i < CALLS; i++) {
    if (keel_begin(db, NULL, &other, &error) != KEEL_OK || keel_rollback(other, &error) != KEEL_OK) exit(1);
  }
}

static double measure(void (*body)(void)) {
  double best = 1e18;
  for (int i = 0; i < ROUNDS; i++) {
    double start = now_ns();
    body();
    double taken = (now_ns() - start) / CALLS;
    if (taken < best) best = taken;
  }
  return best;
}

/* ---- Threads that share one keyspace handle, each with a transaction of its own ---- */

static void *read_alone(void *context) {
  double *out = context;
  keel_txn own;
  const void *value;
  size_t size;
  keel_error error;
  if (keel_begin(db, NULL, &own, &error) != KEEL_OK) exit(1);
  double start = now_ns();
  for (int round = 0; round < ROUNDS; round++) {
    for (size_t i = 0; i < CALLS; i++) {
      if (keel_get(own, keyspace, keys[picks[i]], 16, &value, &size, &error) != KEEL_OK) exit(1);
    }
  }
  *out = (now_ns() - start) / CALLS / ROUNDS;
  if (keel_rollback(own, &error) != KEEL_OK) exit(1);
  return NULL;
}

static void measure_threads(int count) {
  pthread_t threads[MOST_THREADS];
  double taken[MOST_THREADS], sum = 0;
  for (int i = 0; i < count; i++) {
    if (pthread_create(&threads[i], NULL, read_alone, &taken[i]) != 0) exit(1);
  }
  for (int i = 0; i < count; i++) {
    (void)pthread_join(threads[i], NULL);
    sum += taken[i];
  }
  (void)printf("keel_get, %d threads, one keyspace %8.1f ns per call in each\n", count, sum / count);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*body)(void);
  } benches[] = {
      {"enter + leave, exclusive", exclusive_alone},
      {"enter + leave, shared", shared_alone},
      {"enter + leave, transaction + keyspace", scope_alone},
      {"keel_view_data", view_data},
      {"keel_cursor_get", cursor_get},
      {"a wrong handle", stale},
      {"keel_get", get_through_abi},
      {"kl_txn_get, without the ABI", get_below_abi},
      {"keel_get, no such key", get_missing},
      {"keel_get, no such key, err == NULL", get_missing_no_error},
      {"keel_get_many, 16 keys, per key", get_many},
      {"keel_begin + keel_rollback", begin_and_rollback},
  };
  if (argc > 1) rows = strtoull(argv[1], NULL, 10);
  if (rows == 0) return 2;
  load();
  for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
    (void)printf("%-38s %8.1f ns\n", benches[i].name, measure(benches[i].body));
  }
  for (int count = 1; count <= MOST_THREADS; count *= 2) measure_threads(count);
  return sink == 0;
}
