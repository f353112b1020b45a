/* core/base/assert.h: what the library does about its own bugs.
 *
 * Bytes from disk and arguments from callers are validated and answered with a status, never asserted. What is
 * left are invariants that only a bug in Keel can break. A guest must not end its host's process, so:
 *
 * KL_ASSERT(condition)
 *   An invariant whose break the code below survives anyway, or that is too costly to check in release. With
 *   KL_DEBUG: prints the condition and its place to stderr and aborts. Otherwise the condition is compiled but not
 *   evaluated, so it must have no side effect.
 *
 * return KL_BROKEN(err, "TXN-4: visible %llu behind published %llu", ...)
 *   An invariant whose break can be reached in release and must be answered. With KL_DEBUG: aborts likewise.
 *   Otherwise fills err with KL_E_INTERNAL, the place and the text, and yields KL_E_INTERNAL, which the caller returns
 *   (a module that can no longer trust its memory poisons itself first, so that nothing wrong reaches the disk).
 *   Begin the text with the number of the invariant in the module's README. */
#ifndef KL_BASE_ASSERT_H
#define KL_BASE_ASSERT_H

#include "status.h"

#ifdef KL_DEBUG
_Noreturn void kl_assert_failed(const char *file, int line, const char *text);
#define KL_ASSERT(condition) ((condition) ? (void)0 : kl_assert_failed(__FILE__, __LINE__, #condition))
#elif defined(__clang_analyzer__) /* may believe what is asserted */
#define KL_ASSERT(condition) ((condition) ? (void)0 : __builtin_unreachable())
#else
#define KL_ASSERT(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#ifdef __clang_analyzer__ /* see status.h */
#define KL_BROKEN(err, ...) (kl_broken((err), __FILE__, __LINE__, __VA_ARGS__), (kl_status)KL_E_INTERNAL)
#else
#define KL_BROKEN(err, ...) kl_broken((err), __FILE__, __LINE__, __VA_ARGS__)
#endif

kl_status kl_broken(kl_error *err, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
