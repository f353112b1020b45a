/* tests/stress/stress.h: what the stress programs share: options, seed, failures, values that prove themselves, and the
 * statuses that keel.h documents for each function.
 *
 * Each program takes --seconds N and --seed N (or KEEL_STRESS_SECONDS and KEEL_TEST_SEED), prints both, and ends with
 * 1 when anything was wrong. Threads make the order of events differ from run to run; the seed repeats what each
 * thread asks for. */
#ifndef KEEL_TESTS_STRESS_H
#define KEEL_TESTS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capi/include/keel/keel.h"

typedef struct stress_options {
  uint64_t seed;
  uint64_t seconds;
  char folder[256]; /* fresh; removed by stress_end when nothing failed */
} stress_options;

/* Reads the command line and the environment, reads keel.h, makes the folder. Ends the program when it cannot. */
void stress_begin(int argc, char **argv, const char *name, uint64_t default_seconds, stress_options *out);
/* Prints the result; what main returns. */
int stress_end(const stress_options *options);

/* Counts a failure, and describes the first twenty. Any thread. */
void stress_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool stress_failed(void);

/* True until this part (in thousandths) of the seconds is over, or something has failed. */
bool stress_goes_on_until(uint64_t part);
static inline bool stress_goes_on(void) {
  return stress_goes_on_until(1000);
}

/* ---- Random numbers: one generator per thread ---- */

typedef struct stress_rng {
  uint64_t state;
} stress_rng;
uint64_t stress_next(stress_rng *rng);
static inline uint64_t stress_below(stress_rng *rng, uint64_t n) {
  return stress_next(rng) % n;
}
static inline bool stress_chance(stress_rng *rng, uint64_t one_in) {
  return stress_below(rng, one_in) == 0;
}

/* ---- Statuses ---- */

/* clang-format off */
#define STRESS_FUNCTIONS(X) \
  X(feature) X(open) X(close) X(flush) X(make_checkpoint) X(last_checkpoint) X(get_stats) X(keyspace_open) X(keyspace_close) \
  X(keyspace_drop) X(keyspace_list) X(begin) X(commit) X(rollback) X(get) X(get_copy) X(get_view) X(view_data) \
  X(view_release) X(get_many) X(put) X(del) X(del_range) X(write_batch) X(cursor_open) X(cursor_close) \
  X(cursor_first) X(cursor_last) X(cursor_next) X(cursor_prev) X(cursor_seek) X(cursor_seek_le) X(cursor_get) \
  X(cursor_next_batch) X(cursor_prev_batch) X(batch_new) X(batch_free) X(batch_data)
/* clang-format on */
#define STRESS_ENUM(name) STRESS_##name,
typedef enum stress_function { STRESS_FUNCTIONS(STRESS_ENUM) STRESS_FUNCTION_COUNT } stress_function;

/* Fails unless the function documents the status, or `err` does not describe it. Returns the status. */
keel_status stress_check(stress_function function, keel_status status, const keel_error *err);

/* CALL(put, txn, ...) is keel_put(txn, ..., &error) with its status checked. */
#define CALL(name, ...)                           \
  (memset(&stress_error, 0, sizeof stress_error), \
   stress_check(STRESS_##name, keel_##name(__VA_ARGS__, &stress_error), &stress_error))
extern _Thread_local keel_error stress_error;

/* As CALL, and anything but KEEL_OK is a failure. True on success. */
#define MUST(name, ...) stress_must(#name, CALL(name, __VA_ARGS__))
bool stress_must(const char *function, keel_status status);

/* ---- Values that prove themselves: 8 bytes stamp, 4 bytes length, then bytes that follow from both ---- */

enum { STRESS_VALUE_MIN = 12, STRESS_VALUE_MAX = 9000 };
size_t stress_value(uint8_t *out, uint64_t stamp, size_t size);
/* False when the bytes cannot have been made by stress_value. */
bool stress_value_is_whole(const void *value, size_t size, uint64_t *out_stamp);
uint64_t stress_hash(const void *bytes, size_t size);

#endif
