/* capi/convert.h: between the public types and those of core/: errors, structs with struct_size, bytes, text.
 *
 * Everything here checks before it reads: a pointer is looked at only when it is not NULL, and never beyond the size
 * that its caller vouched for. Any thread. */
#ifndef CAPI_CONVERT_H
#define CAPI_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "../core/db/db.h"
#include "include/keel/keel.h"

/* Where core/ puts an error: NULL when the caller wants none, so that no text is made in vain. */
static inline kl_error *capi_detail(keel_error *err, kl_error *detail) {
  return err != NULL ? detail : NULL;
}

/* Ends a public call: on failure copies `detail` into `err` (nullable). Returns `status`. */
keel_status capi_report_failure(kl_status status, const kl_error *detail, keel_error *err);
static inline keel_status capi_report(kl_status status, const kl_error *detail, keel_error *err) {
  return status == KL_OK ? KEEL_OK : capi_report_failure(status, detail, err);
}

/* KL_E_INVALID that names the argument. Inline, so that compiler and analyzer see that a failure is never KL_OK. */
void capi_tell_null(const char *argument, kl_error *err);
static inline kl_status capi_null(const char *argument, kl_error *err) {
  capi_tell_null(argument, err);
  return KL_E_INVALID;
}

/* Copies an option struct of the caller into `out`, whose `known` bytes are zeroed first: NULL gives zeros. `first` is
 * the size of the struct's first version. KL_E_INVALID for a struct_size that cannot be, KL_E_UNSUPPORTED when the part
 * that this library does not know is not zero. */
kl_status capi_read_struct(const char *name, const void *in, size_t first, void *out, size_t known, kl_error *err);

/* Writes a result struct (whose struct_size is set inside) to the caller's, as much as its struct_size says; what this
 * library does not know is zeroed. */
kl_status capi_check_struct(const char *name, const void *out, size_t first, kl_error *err);
void capi_write_struct(void *out, const void *result, size_t known);

/* KL_E_INVALID when `flags` has bits outside `all`. */
kl_status capi_check_flags(const char *name, uint32_t flags, uint32_t all, kl_error *err);
/* KL_E_INVALID when `value` is above `max`. */
kl_status capi_check_choice(const char *name, uint64_t value, uint64_t max, kl_error *err);
/* KL_E_INVALID unless `value` is 0 or a power of two from min to max. */
kl_status capi_check_power(const char *name, uint64_t value, uint64_t min, uint64_t max, kl_error *err);

/* Says what is wrong with a key. */
void capi_tell_key(const char *name, size_t size, kl_error *err);
static inline kl_status capi_key_check(const char *name, const void *data, size_t size, kl_error *err) {
  if (size <= KEEL_MAX_KEY_SIZE && (data != NULL || size == 0)) return KL_OK;
  capi_tell_key(name, size, err);
  return size > KEEL_MAX_KEY_SIZE ? KL_E_KEY_SIZE : KL_E_INVALID;
}
/* A key: at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0 (which is the empty key). */
static inline kl_status capi_key(const char *name, const void *data, size_t size, kl_slice *out, kl_error *err) {
  *out = kl_slice_make(data != NULL ? data : "", size);
  return capi_key_check(name, data, size, err);
}
/* An end of a range: as a key, but NULL stays NULL and means that the end is open. */
kl_status capi_bound(const char *name, const void *data, size_t size, kl_slice *out, kl_error *err);
/* A value: at most KEEL_MAX_VALUE_SIZE bytes, NULL only with size 0. */
kl_status capi_value(const void *data, size_t size, kl_slice *out, kl_error *err);

/* A buffer of the caller: NULL only with capacity 0. */
kl_status capi_buffer(const void *buffer, size_t capacity, kl_error *err);

/* A name of 1 ... max bytes of UTF-8 without a zero byte. */
kl_status capi_name(const char *argument, const char *data, size_t size, size_t max, kl_slice *out, kl_error *err);
/* Terminated text of min ... max bytes; *out_size is its length. Never reads behind max + 1 bytes. */
kl_status capi_text(const char *argument, const char *text, size_t min, size_t max, size_t *out_size, kl_error *err);
/* Whether the bytes are UTF-8 (RFC 3629: shortest forms, no surrogates, at most U+10FFFF). */
bool capi_is_utf8(const char *data, size_t size);

#endif
