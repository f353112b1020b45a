/* core/base/status.h: how every fallible function in core/ reports.
 *
 * A function that can fail returns a kl_status (KL_OK or a negative KL_E_* code) and takes a nullable
 * `kl_error *err` last. Where it fails it fills `err` (code, errno of the system where there is one, and one line
 * that says what was wrong and what to do). On success `err` is left alone. There is no global or thread-local
 * last error: goroutines and worker threads change OS threads between two calls.
 *
 * The codes are generated from bindings/api/keel.yml, the same source as the public KEEL_E_* codes; the two sets
 * have equal values (asserted in capi/).
 *
 * Thread rules: everything here is safe from any thread; a kl_error belongs to its caller. */
#ifndef KL_BASE_STATUS_H
#define KL_BASE_STATUS_H

#include <stdint.h>

#include "status_codes.h" /* generated: enum of KL_OK, KL_E_* */

typedef int32_t kl_status;

enum { KL_ERROR_MESSAGE = 248 };

typedef struct kl_error {
  kl_status code;                 /* KL_E_*; 0 while unused */
  int32_t system_errno;           /* errno of the failed system call, or 0 */
  char message[KL_ERROR_MESSAGE]; /* one line, UTF-8, always terminated; cut with "..." when too long */
} kl_error;

/* Fills err (when not NULL) and returns code, so that callers write `return kl_fail(err, KL_E_IO, "...", ...)`. */
kl_status kl_fail(kl_error *err, kl_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As kl_fail, with an errno: it is stored, and its text is appended to the message. */
kl_status kl_fail_errno(kl_error *err, kl_status code, int system_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#ifdef __clang_analyzer__
/* The analyzer looks at one file at a time; this tells it that a failure yields its code, and so is never KL_OK. */
#define kl_fail(err, code, ...) ((kl_fail)((err), (code), __VA_ARGS__), (kl_status)(code))
#define kl_fail_errno(err, code, ...) ((kl_fail_errno)((err), (code), __VA_ARGS__), (kl_status)(code))
#endif

/* "conflict", "not_found" ...: the stable lower-case name; "unknown" for a code that does not exist. */
const char *kl_status_name(kl_status code);

#endif
