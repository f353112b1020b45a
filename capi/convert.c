/* capi/convert.c: see convert.h. */
#include "convert.h"

#include <string.h>

#include "layout.gen.h"

_Static_assert(KEEL_ERROR_MESSAGE_SIZE == KL_ERROR_MESSAGE, "room for a message");
_Static_assert(KEEL_MAX_KEY_SIZE == KL_MAX_KEY, "longest key");
_Static_assert(KEEL_MAX_VALUE_SIZE == KL_MAX_VALUE, "longest value");
_Static_assert(KEEL_MAX_KEYSPACE_NAME_SIZE == KL_KEYSPACE_NAME_MAX, "longest name of a keyspace");

/* ---- Errors ---- */

keel_status capi_report_failure(kl_status status, const kl_error *detail, keel_error *err) {
  if (err != NULL) {
    err->code = status;
    err->system_errno = detail->system_errno;
    memcpy(err->message, detail->message, sizeof err->message);
  }
  return status;
}

void capi_tell_null(const char *argument, kl_error *err) {
  (void)kl_fail(err, KL_E_INVALID, "%s is NULL; pass a pointer", argument);
}

/* ---- Structs ---- */

/* Reads and checks the struct_size of a caller's struct. */
static kl_status capi_convert_struct_size(const char *name, const void *pointer, size_t first, uint32_t *out_size,
                                          kl_error *err) {
  uint32_t size;
  memcpy(&size, pointer, sizeof size); /* the caller's pointer may be unaligned */
  if (size < first || size > KEEL_MAX_STRUCT_SIZE) {
    return kl_fail(err, KL_E_INVALID, "struct_size of %s is %u; it is at least %zu: initialise it with its _INIT macro",
                   name, size, first);
  }
  *out_size = size;
  return KL_OK;
}

kl_status capi_read_struct(const char *name, const void *in, size_t first, void *out, size_t known, kl_error *err) {
  memset(out, 0, known);
  if (in == NULL) return KL_OK;
  uint32_t size = 0;
  kl_status status = capi_convert_struct_size(name, in, first, &size, err);
  if (status != KL_OK) return status;
  memcpy(out, in, size < known ? size : known);
  const unsigned char *bytes = in;
  for (size_t i = known; i < size; i++) {
    if (bytes[i] != 0) {
      return kl_fail(err, KL_E_UNSUPPORTED, "%s sets a field (at byte %zu) that Keel %s does not know; leave it 0",
                     name, i, KEEL_VERSION);
    }
  }
  return KL_OK;
}

kl_status capi_check_struct(const char *name, const void *out, size_t first, kl_error *err) {
  if (out == NULL) return capi_null(name, err);
  uint32_t size;
  return capi_convert_struct_size(name, out, first, &size, err);
}

void capi_write_struct(void *out, const void *result, size_t known) {
  uint32_t size;
  memcpy(&size, out, sizeof size);
  unsigned char *bytes = out;
  const unsigned char *from = result;
  size_t take = size < known ? size : known;
  memcpy(bytes + sizeof size, from + sizeof size, take - sizeof size);
  if (size > known) memset(bytes + known, 0, size - known);
}

kl_status capi_check_flags(const char *name, uint32_t flags, uint32_t all, kl_error *err) {
  if ((flags & ~all) == 0) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s has unknown flags 0x%x; known are 0x%x", name, flags & ~all, all);
}

kl_status capi_check_choice(const char *name, uint64_t value, uint64_t max, kl_error *err) {
  if (value <= max) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s is %llu; the highest value is %llu", name, (unsigned long long)value,
                 (unsigned long long)max);
}

kl_status capi_check_power(const char *name, uint64_t value, uint64_t min, uint64_t max, kl_error *err) {
  if (value == 0 || ((value & (value - 1)) == 0 && value >= min && value <= max)) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "%s is %llu; pass 0 or a power of two from %llu to %llu", name,
                 (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

/* ---- Bytes ---- */

void capi_tell_key(const char *name, size_t size, kl_error *err) {
  if (size > KEEL_MAX_KEY_SIZE) {
    (void)kl_fail(err, KL_E_KEY_SIZE, "%s has %zu bytes; at most %d are allowed", name, size, KEEL_MAX_KEY_SIZE);
  } else {
    (void)kl_fail(err, KL_E_INVALID, "%s is NULL but its size is %zu; pass a pointer or size 0", name, size);
  }
}

kl_status capi_bound(const char *name, const void *data, size_t size, kl_slice *out, kl_error *err) {
  *out = kl_slice_make(data, size);
  return capi_key_check(name, data, size, err);
}

kl_status capi_value(const void *data, size_t size, kl_slice *out, kl_error *err) {
  *out = kl_slice_make(data != NULL ? data : "", size);
  if (size > KEEL_MAX_VALUE_SIZE) {
    return kl_fail(err, KL_E_VALUE_SIZE, "the value has %zu bytes; at most %d are allowed", size, KEEL_MAX_VALUE_SIZE);
  }
  if (data == NULL && size != 0) {
    return kl_fail(err, KL_E_INVALID, "the value is NULL but its size is %zu; pass a pointer or size 0", size);
  }
  return KL_OK;
}

/* ---- Text ---- */

/* Length of the UTF-8 sequence at `p`, of which `left` bytes are there; 0 when it is none. */
static size_t capi_convert_utf8_length(const unsigned char *p, size_t left) {
  if (p[0] < 0x80) return 1;
  size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
  if (p[0] < 0xC2 || p[0] > 0xF4 || left < length) return 0; /* C0 and C1 would be longer forms of ASCII */
  for (size_t i = 1; i < length; i++) {
    if ((p[i] & 0xC0U) != 0x80U) return 0;
  }
  if (p[0] == 0xE0 && p[1] < 0xA0) return 0; /* longer form of two bytes */
  if (p[0] == 0xED && p[1] > 0x9F) return 0; /* surrogates */
  if (p[0] == 0xF0 && p[1] < 0x90) return 0; /* longer form of three bytes */
  if (p[0] == 0xF4 && p[1] > 0x8F) return 0; /* above U+10FFFF */
  return length;
}

bool capi_is_utf8(const char *data, size_t size) {
  const unsigned char *p = (const unsigned char *)data;
  while (size > 0) {
    size_t length = capi_convert_utf8_length(p, size);
    if (length == 0) return false;
    p += length;
    size -= length;
  }
  return true;
}

kl_status capi_buffer(const void *buffer, size_t capacity, kl_error *err) {
  if ((buffer != NULL || capacity == 0) && capacity <= PTRDIFF_MAX) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "no buffer has a capacity of %zu bytes%s", capacity,
                 buffer == NULL ? " at NULL; pass a pointer or capacity 0" : "");
}

kl_status capi_name(const char *argument, const char *data, size_t size, size_t max, kl_slice *out, kl_error *err) {
  if (data == NULL) return capi_null(argument, err);
  if (size == 0 || size > max) {
    return kl_fail(err, KL_E_INVALID, "%s has %zu bytes; 1 to %zu are allowed", argument, size, max);
  }
  if (memchr(data, 0, size) != NULL) {
    return kl_fail(err, KL_E_INVALID, "%s has a zero byte inside; leave it out", argument);
  }
  if (!capi_is_utf8(data, size)) return kl_fail(err, KL_E_INVALID, "%s is not UTF-8; encode it", argument);
  *out = kl_slice_make(data, size);
  return KL_OK;
}

kl_status capi_text(const char *argument, const char *text, size_t min, size_t max, size_t *out_size, kl_error *err) {
  if (text == NULL) return capi_null(argument, err);
  const char *end = memchr(text, 0, max + 1); /* stops at the terminator: reads nothing behind it */
  if (end == NULL) {
    return kl_fail(err, KL_E_INVALID, "%s is longer than %zu bytes, or not terminated", argument, max);
  }
  size_t size = (size_t)(end - text);
  if (size < min) return kl_fail(err, KL_E_INVALID, "%s is empty; pass at least %zu byte", argument, min);
  *out_size = size;
  return KL_OK;
}
