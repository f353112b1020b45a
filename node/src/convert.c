/* node/src/convert.c: JavaScript values to the ABI's arguments and back, and errors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addon.h"

/* --- errors ------------------------------------------------------------------------------------------------------- */

napi_value kn_error_new(napi_env env, const keel_error *err) {
  napi_value class = kn_error_class(env), arguments[3], error = NULL;
  bool made = napi_create_string_utf8(env, err->message, NAPI_AUTO_LENGTH, &arguments[0]) == napi_ok &&
              napi_create_int32(env, err->code, &arguments[1]) == napi_ok &&
              napi_create_int32(env, err->system_errno, &arguments[2]) == napi_ok;
  if (!made) return NULL;
  if (class != NULL) return napi_new_instance(env, class, 3, arguments, &error) == napi_ok ? error : NULL;
  return napi_create_error(env, NULL, arguments[0], &error) == napi_ok ? error : NULL;
}

void kn_throw(napi_env env, const keel_error *err) {
  napi_value error = kn_error_new(env, err);
  if (error != NULL) (void)napi_throw(env, error);
}

void kn_throw_invalid(napi_env env, const char *name, const char *what) {
  keel_error error = {.code = KEEL_E_INVALID};
  (void)snprintf(error.message, sizeof error.message, "%s: %s", name, what);
  kn_throw(env, &error);
}

void kn_throw_no_memory(napi_env env) {
  keel_error error = {.code = KEEL_E_NO_MEMORY, .message = "out of memory for an argument; pass less at once"};
  kn_throw(env, &error);
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static const char kn_want_bytes[] = "expected a string, Buffer, TypedArray, DataView or ArrayBuffer";

void kn_bytes_clear(kn_bytes *bytes) {
  bytes->data = NULL;
  bytes->size = 0;
  bytes->heap = NULL;
}

void kn_bytes_free(kn_bytes *bytes) {
  free(bytes->heap);
}

/* The string goes into `local` in one step when it may fit: V8 stops at the end of the room, at a whole character, so
 * that less than the room minus a character's greatest size means that all of it is there. */
static bool kn_string_in(napi_env env, napi_value value, kn_bytes *bytes) {
  size_t size = 0;
  if (napi_get_value_string_utf8(env, value, bytes->local, sizeof bytes->local, &size) != napi_ok) return false;
  bytes->data = bytes->local;
  bytes->size = size;
  if (size + 4 < sizeof bytes->local) return true;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &size) != napi_ok) return false;
  bytes->heap = malloc(size + 1);
  if (bytes->heap == NULL) {
    kn_throw_no_memory(env);
    return false;
  }
  bytes->data = bytes->heap;
  return napi_get_value_string_utf8(env, value, bytes->heap, size + 1, &bytes->size) == napi_ok;
}

bool kn_bytes_in(napi_env env, napi_value value, const char *name, bool optional, kn_bytes *bytes) {
  napi_valuetype type = napi_undefined;
  bool is_view = false, is_array_buffer = false;
  void *data = NULL;
  if (napi_typeof(env, value, &type) != napi_ok) return false;
  if (type == napi_string) return kn_string_in(env, value, bytes);
  if (optional && (type == napi_undefined || type == napi_null)) return true;
  if (type == napi_object) {
    /* Node counts every view on an ArrayBuffer as a "buffer" here: typed arrays and DataViews too. */
    if (napi_is_buffer(env, value, &is_view) != napi_ok) return false;
    if (is_view && napi_get_buffer_info(env, value, &data, &bytes->size) != napi_ok) return false;
    if (!is_view && napi_is_arraybuffer(env, value, &is_array_buffer) != napi_ok) return false;
    if (is_array_buffer && napi_get_arraybuffer_info(env, value, &data, &bytes->size) != napi_ok) return false;
  }
  if (!is_view && !is_array_buffer) {
    kn_throw_invalid(env, name, kn_want_bytes);
    return false;
  }
  /* An empty view may have no memory; NULL would mean an open end. */
  bytes->data = bytes->size == 0 ? bytes->local : data;
  return true;
}

bool kn_text_in(napi_env env, napi_value value, const char *name, bool optional, kn_bytes *bytes) {
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) != napi_ok) return false;
  if (optional && (type == napi_undefined || type == napi_null)) return true;
  if (type != napi_string) {
    kn_throw_invalid(env, name, "expected a string");
    return false;
  }
  if (!kn_string_in(env, value, bytes)) return false;
  if (memchr(bytes->data, 0, bytes->size) != NULL) {
    kn_throw_invalid(env, name, "the string holds a zero character; remove it");
    return false;
  }
  return true;
}

/* --- many keys ---------------------------------------------------------------------------------------------------- */

void kn_packed_clear(kn_packed *packed) {
  memset(packed, 0, sizeof *packed);
}

void kn_packed_free(kn_packed *packed) {
  free(packed->data);
  free(packed->offsets);
}

static bool kn_packed_append(napi_env env, kn_packed *packed, const void *data, size_t size) {
  if (size > packed->capacity - packed->size) {
    size_t capacity = packed->capacity < 4096 ? 4096 : packed->capacity * 2;
    while (capacity - packed->size < size) capacity *= 2;
    uint8_t *grown = realloc(packed->data, capacity);
    if (grown == NULL) {
      kn_throw_no_memory(env);
      return false;
    }
    packed->data = grown;
    packed->capacity = capacity;
  }
  if (size != 0) memcpy(packed->data + packed->size, data, size);
  packed->size += size;
  return true;
}

static bool kn_packed_element(napi_env env, napi_value array, uint32_t index, const char *name, kn_packed *packed) {
  napi_handle_scope scope;
  napi_value element;
  kn_bytes bytes;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  kn_bytes_clear(&bytes);
  bool added = napi_get_element(env, array, index, &element) == napi_ok &&
               kn_bytes_in(env, element, name, false, &bytes) && kn_packed_append(env, packed, bytes.data, bytes.size);
  kn_bytes_free(&bytes);
  packed->offsets[index + 1] = packed->size;
  return napi_close_handle_scope(env, scope) == napi_ok && added;
}

bool kn_packed_in(napi_env env, napi_value value, const char *name, kn_packed *packed) {
  bool is_array = false;
  uint32_t count = 0;
  if (napi_is_array(env, value, &is_array) != napi_ok) return false;
  if (!is_array) {
    kn_throw_invalid(env, name, "expected an array of keys");
    return false;
  }
  if (napi_get_array_length(env, value, &count) != napi_ok) return false;
  packed->offsets = malloc(((size_t)count + 1) * sizeof *packed->offsets);
  if (packed->offsets == NULL) {
    kn_throw_no_memory(env);
    return false;
  }
  packed->offsets[0] = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (!kn_packed_element(env, value, i, name, packed)) return false;
  }
  packed->count = count;
  return true;
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static const double kn_safe_end = 9007199254740992.0; /* 2^53 */

uint64_t kn_handle_in(napi_env env, napi_value value) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) return 0;
  if (!(number >= 0 && number < kn_safe_end)) return 0;
  uint64_t handle = (uint64_t)number;
  return (double)handle == number ? handle : 0;
}

bool kn_number_in(napi_env env, napi_value value, const char *name, uint64_t max, uint64_t *out) {
  napi_valuetype type = napi_undefined;
  double number = 0;
  if (napi_typeof(env, value, &type) != napi_ok) return false;
  *out = 0;
  if (type == napi_undefined) return true;
  bool whole = type == napi_number && napi_get_value_double(env, value, &number) == napi_ok && number >= 0 &&
               number < kn_safe_end && (double)(uint64_t)number == number;
  if (!whole || (uint64_t)number > max) {
    kn_throw_invalid(env, name, whole ? "the number is too large" : "expected a whole number, 0 or greater");
    return false;
  }
  *out = (uint64_t)number;
  return true;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

napi_value kn_buffer_out(napi_env env, const void *data, size_t size) {
  napi_value buffer = NULL;
  return napi_create_buffer_copy(env, size, data, NULL, &buffer) == napi_ok ? buffer : NULL;
}

napi_value kn_number_out(napi_env env, uint64_t value) {
  napi_value number = NULL;
  return napi_create_double(env, (double)value, &number) == napi_ok ? number : NULL;
}

napi_value kn_record_out(napi_env env, const kn_field *fields, size_t count) {
  napi_value object = NULL;
  if (napi_create_object(env, &object) != napi_ok) return NULL;
  for (size_t i = 0; i < count; i++) {
    napi_value number = NULL;
    napi_status made = fields[i].value >> 53 != 0 ? napi_create_bigint_uint64(env, fields[i].value, &number)
                                                  : napi_create_double(env, (double)fields[i].value, &number);
    if (made != napi_ok || napi_set_named_property(env, object, fields[i].name, number) != napi_ok) return NULL;
  }
  return object;
}
