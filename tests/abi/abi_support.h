/* tests/abi/abi_support.h: what the hand-written tests of the ABI share. They see keel.h only. */
#ifndef KEEL_TESTS_ABI_SUPPORT_H
#define KEEL_TESTS_ABI_SUPPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capi/include/keel/keel.h"
#include "cmocka_all.h"

/* Fails the test with the message when `call` (whose last argument is &error) does not give `expected`. */
#define EXPECT(expected, call)                                                                                    \
  do {                                                                                                            \
    keel_error error = {0, 0, ""};                                                                                \
    keel_status expect_status = (call);                                                                           \
    if (expect_status != (expected)) {                                                                            \
      fail_msg("%s: expected %s, got %s: %s", #call, keel_status_name(expected), keel_status_name(expect_status), \
               error.message);                                                                                    \
    }                                                                                                             \
  } while (0)
#define OK(call) EXPECT(KEEL_OK, call)

/* As EXPECT, and the message contains `text`. */
#define EXPECT_MESSAGE(expected, text, call)                                                         \
  do {                                                                                               \
    keel_error error = {0, 0, ""};                                                                   \
    keel_status expect_status = (call);                                                              \
    if (expect_status != (expected) || strstr(error.message, (text)) == NULL) {                      \
      fail_msg("%s: expected %s with \"%s\", got %s: %s", #call, keel_status_name(expected), (text), \
               keel_status_name(expect_status), error.message);                                      \
    }                                                                                                \
  } while (0)

/* As EXPECT, in a child: reports, and returns 1 from its body. cmocka's assertions would run the parent's clean-up. */
#define CHILD_EXPECT(expected, call)                                                                   \
  do {                                                                                                 \
    keel_error error = {0, 0, ""};                                                                     \
    keel_status got = (call);                                                                          \
    if (got != (expected)) {                                                                           \
      (void)fprintf(stderr, "child: %s: expected %s, got %s: %s\n", #call, keel_status_name(expected), \
                    keel_status_name(got), error.message);                                             \
      return 1;                                                                                        \
    }                                                                                                  \
  } while (0)

/* A fresh folder for files, removed with all that is in it by folder_remove. */
typedef struct folder {
  char path[256];
} folder;
void folder_make(folder *f);
void folder_remove(folder *f);
/* "FOLDER/name", in a buffer that the next call but three uses again. */
const char *folder_file(const folder *f, const char *name);

/* The bytes of a file: their size, and a sum that changes when any of them does. */
typedef struct file_sum {
  uint64_t size, sum;
} file_sum;
file_sum file_sum_of(const char *path);
/* Both 0 when the file is absent. */

void file_write(const char *path, const void *bytes, size_t size);
void file_patch(const char *path, size_t offset, const void *bytes, size_t size);
uint64_t file_size(const char *path); /* 0 when absent */

/* Puts one row in a transaction of its own. */
void put_row(keel_db db, keel_keyspace keyspace, const char *key, const char *value);
/* Fails unless the row has this value; NULL: unless there is no such row. */
void check_row(keel_db db, keel_keyspace keyspace, const char *key, const char *value);

/* Runs `body` in a forked child and fails unless it returns 0. */
void in_child(int (*body)(void *context), void *context);

#endif
