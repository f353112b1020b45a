/* tests/abi/abuse_support.h: what the generated abuse test (abuse.gen.c) stands on.
 *
 * abuse_setup makes two databases in memory and in the first one of each kind of handle; beside each a closed one. The
 * generated test calls each function with one thing wrong at a time and hands the outcome to abuse_expect, which demands the
 * right status, a message of one line, untouched outputs, and handles that still work. */
#ifndef KEEL_TESTS_ABI_ABUSE_SUPPORT_H
#define KEEL_TESTS_ABI_ABUSE_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "capi/include/keel/keel.h"

/* In the order of the description. */
enum abuse_kind {
  ABUSE_DB,
  ABUSE_KEYSPACE,
  ABUSE_TXN,
  ABUSE_CURSOR,
  ABUSE_VIEW,
  ABUSE_BATCH,
  ABUSE_CHECK,
  ABUSE_LOAD,
  ABUSE_VALUE,
  ABUSE_KINDS
};

typedef struct abuse {
  uint64_t live[ABUSE_KINDS];
  uint64_t closed[ABUSE_KINDS];  /* the transaction was rolled back */
  uint64_t committed_txn;        /* a transaction that was committed */
  uint64_t orphan_cursor;        /* a cursor whose transaction has ended */
  uint64_t foreign[ABUSE_KINDS]; /* of the other database */
  const char *function;          /* whose test runs */
  int cases;                     /* how many wrong calls were made */
} abuse;

int abuse_setup(void **state);
int abuse_teardown(void **state);
int abuse_report(void **state); /* prints how many wrong calls were made; fails when there were none */

/* Numbers that are no handle of `kind`: 0, small ones, all bits set, other kinds, never given out. NULL-terminated by count. */
enum { ABUSE_WRONG_HANDLES = 16 };
int abuse_wrong_handles(const abuse *a, enum abuse_kind kind, uint64_t out[ABUSE_WRONG_HANDLES]);

/* Memory that a call must not write: filled with a pattern, compared afterwards. */
typedef struct abuse_guard {
  void *memory;
  size_t size;
  unsigned char before[1024];
} abuse_guard;
void abuse_guard_take(abuse_guard *guard, void *memory, size_t size);

/* Checks one wrong call that was made twice, without and with a keel_error. */
void abuse_expect(abuse *a, const char *what, keel_status expected, keel_status without_error, keel_status with_error,
                  const keel_error *error, const abuse_guard *guards, int guard_count);

/* The valid call at the end of each test: proves that nothing but the one wrong thing was wrong before. */
void abuse_expect_ok(abuse *a, keel_status status, const keel_error *error);
/* Closes what the valid call opened. */
void abuse_close(enum abuse_kind kind, uint64_t handle);
/* The valid call has closed the handle of this kind. */
void abuse_consumed(abuse *a, enum abuse_kind kind);

/* Texts that are always wrong. */
extern char abuse_long_text[8192]; /* after abuse_setup: 8191 times 'x' */
extern const char abuse_bad_utf8[4];
extern const char abuse_zero_inside[4];

#endif
