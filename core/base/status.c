/* core/base/status.c: filling a kl_error. See status.h; the names of the codes are in status_names.c. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_ERRNO_TEXT = 128 };

/* strerror_r has two shapes: GNU's returns the text (perhaps not in the buffer), POSIX's fills the buffer. */
static inline const char *status_text_of_gnu(const char *result, const char *buffer) {
  return result != NULL ? result : buffer;
}
static inline const char *status_text_of_posix(int result, const char *buffer) {
  return result == 0 ? buffer : "unknown system error";
}
#define STATUS_TEXT_OF(call, buffer) \
  _Generic((call), int : status_text_of_posix, default : status_text_of_gnu)((call), (buffer))

/* Cuts a message that filled its buffer, so that it ends in "..." and not inside a UTF-8 sequence. */
static void status_mark_cut(char message[KL_ERROR_MESSAGE]) {
  size_t end = KL_ERROR_MESSAGE - 4;
  while (end > 0 && ((unsigned char)message[end] & 0xC0U) == 0x80U) end--;
  memcpy(message + end, "...", 4);
}

/* A path or a name may hold a line feed or an escape sequence; a message is one harmless line. */
static void status_make_one_line(char *message) {
  for (char *p = message; *p != '\0'; p++) {
    unsigned char c = (unsigned char)*p;
    if (c < 0x20 || c == 0x7F) *p = '?';
  }
}

static void status_fill(kl_error *err, kl_status code, int system_errno, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));

static void status_fill(kl_error *err, kl_status code, int system_errno, const char *format, va_list arguments) {
  err->code = code;
  err->system_errno = system_errno;
  int length = vsnprintf(err->message, sizeof err->message, format, arguments);
  if (length < 0) { /* a malformed wide string among the arguments: the code still tells what happened */
    (void)snprintf(err->message, sizeof err->message, "%s", kl_status_name(code));
    length = 0;
  }
  if (system_errno != 0 && (size_t)length < sizeof err->message) {
    char buffer[STATUS_ERRNO_TEXT] = "";
    const char *text = STATUS_TEXT_OF(strerror_r(system_errno, buffer, sizeof buffer), buffer);
    size_t used = strlen(err->message);
    int more = snprintf(err->message + used, sizeof err->message - used, ": %s (errno %d)", text, system_errno);
    if (more > 0) length = (int)used + more;
  }
  if ((size_t)length >= sizeof err->message) status_mark_cut(err->message);
  status_make_one_line(err->message);
}

kl_status(kl_fail)(kl_error *err, kl_status code, const char *format, ...) {
  if (err == NULL) return code;
  va_list arguments;
  va_start(arguments, format);
  status_fill(err, code, 0, format, arguments);
  va_end(arguments);
  return code;
}

kl_status(kl_fail_errno)(kl_error *err, kl_status code, int system_errno, const char *format, ...) {
  if (err == NULL) return code;
  va_list arguments;
  va_start(arguments, format);
  status_fill(err, code, system_errno, format, arguments);
  va_end(arguments);
  return code;
}
