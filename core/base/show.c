/* core/base/show.c: see show.h. */
#include "show.h"

#include <stdint.h>
#include <string.h>

void kl_show_bytes(kl_slice bytes, size_t most, char *out) {
  static const char show_digits[] = "0123456789abcdef";
  const uint8_t *from = bytes.data;
  *out++ = '"';
  for (size_t i = 0; i < bytes.size && i < most; i++) {
    uint8_t c = from[i];
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      *out++ = (char)c;
      continue;
    }
    *out++ = '\\';
    *out++ = 'x';
    *out++ = show_digits[c >> 4];
    *out++ = show_digits[c & 15];
  }
  const char *end = bytes.size > most ? "...\"" : "\"";
  memcpy(out, end, strlen(end) + 1);
}
