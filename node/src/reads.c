/* node/src/reads.c: the calls that read rows.
 *
 * In C they lend memory, or fill a batch that lends it. Between a call and the copy another thread could take that
 * memory back: an asynchronous commit of the same transaction runs on a thread of Node's pool, and nothing but good
 * manners keeps a handle's number inside one worker. So each function here copies from what the call itself owns: the
 * scratch buffer (keel_get_copy), a view that it took (keel_get_view), or the environment's batch, which no JavaScript
 * ever sees. */
#include <stdlib.h>
#include <string.h>

#include "addon.h"

/* The arguments of a call, or false with an exception pending. */
static bool kn_arguments(napi_env env, napi_callback_info info, napi_value *arguments, size_t count) {
  size_t given = count;
  return napi_get_cb_info(env, info, &given, arguments, NULL, NULL) == napi_ok;
}

static napi_value kn_undefined(napi_env env) {
  napi_value undefined = NULL;
  (void)napi_get_undefined(env, &undefined);
  return undefined;
}

/* --- one value ---------------------------------------------------------------------------------------------------- */

static napi_value kn_get_large(napi_env env, keel_txn txn, keel_keyspace keyspace, const kn_bytes *key) {
  keel_error error = {.code = 0};
  keel_view view = 0;
  const void *data = NULL;
  size_t size = 0;
  keel_status status = keel_get_view(txn, keyspace, key->data, key->size, &view, &error);
  if (status == KEEL_OK) status = keel_view_data(view, &data, &size, &error);
  napi_value value = status == KEEL_OK ? kn_buffer_out(env, data, size) : NULL;
  if (view != 0) (void)keel_view_release(view, NULL);
  if (status == KEEL_E_NOT_FOUND) return kn_undefined(env);
  if (status != KEEL_OK) kn_throw(env, &error);
  return value;
}

/* get(txn, keyspace, key): undefined when the key has no value; the size of the value, which is then in the scratch
 * buffer; or, when it does not fit there, a Buffer. JavaScript makes a small Buffer in a third of the time that
 * Node-API takes (README.md), hence the scratch buffer. */
static napi_value kn_get(napi_env env, napi_callback_info info) {
  napi_value arguments[3], value = NULL;
  size_t size = 0, room_size = 0;
  kn_bytes key;
  if (!kn_arguments(env, info, arguments, 3)) return NULL;
  keel_txn txn = kn_handle_in(env, arguments[0]);
  keel_keyspace keyspace = kn_handle_in(env, arguments[1]);
  void *room = kn_scratch_of(env, &room_size);
  kn_bytes_clear(&key);
  if (kn_bytes_in(env, arguments[2], "key", false, &key)) {
    keel_error error = {.code = 0};
    keel_status status = keel_get_copy(txn, keyspace, key.data, key.size, room, room_size, &size, &error);
    if (status == KEEL_OK) {
      value = kn_number_out(env, size);
    } else if (status == KEEL_E_NOT_FOUND) {
      value = kn_undefined(env);
    } else if (status == KEEL_E_BUFFER_SIZE) {
      value = kn_get_large(env, txn, keyspace, &key);
    } else {
      kn_throw(env, &error);
    }
  }
  kn_bytes_free(&key);
  return value;
}

/* has(txn, keyspace, key): whether the key has a value. */
static napi_value kn_has(napi_env env, napi_callback_info info) {
  napi_value arguments[3], answer = NULL;
  size_t size = 0;
  kn_bytes key;
  if (!kn_arguments(env, info, arguments, 3)) return NULL;
  keel_txn txn = kn_handle_in(env, arguments[0]);
  keel_keyspace keyspace = kn_handle_in(env, arguments[1]);
  kn_bytes_clear(&key);
  if (kn_bytes_in(env, arguments[2], "key", false, &key)) {
    /* Any value is larger than no room at all, and that is no error here: the engine need not write a message for it.
     * */
    keel_status status = keel_get_copy(txn, keyspace, key.data, key.size, NULL, 0, &size, NULL);
    if (status == KEEL_OK || status == KEEL_E_BUFFER_SIZE || status == KEEL_E_NOT_FOUND) {
      (void)napi_get_boolean(env, status != KEEL_E_NOT_FOUND, &answer);
    } else {
      keel_error error = {.code = status};
      (void)keel_get_copy(txn, keyspace, key.data, key.size, NULL, 0, &size, &error);
      kn_throw(env, &error);
    }
  }
  kn_bytes_free(&key);
  return answer;
}

/* get_part(txn, keyspace, key, offset, size): a Buffer with at most so many bytes of the value, or undefined. */
static napi_value kn_get_part(napi_env env, napi_callback_info info) {
  napi_value arguments[5], value = NULL;
  keel_error error = {.code = 0};
  uint64_t offset = 0, size = 0, whole = 0;
  size_t got = 0;
  void *room = NULL;
  kn_bytes key;
  if (!kn_arguments(env, info, arguments, 5)) return NULL;
  keel_txn txn = kn_handle_in(env, arguments[0]);
  keel_keyspace keyspace = kn_handle_in(env, arguments[1]);
  if (!kn_number_in(env, arguments[3], "offset", UINT64_MAX, &offset)) return NULL;
  if (!kn_number_in(env, arguments[4], "size", UINT64_MAX, &size)) return NULL;
  kn_bytes_clear(&key);
  if (!kn_bytes_in(env, arguments[2], "key", false, &key)) {
    kn_bytes_free(&key);
    return NULL;
  }
  /* Its size first: what is asked for may be far more than there is. */
  keel_status status = keel_get_part(txn, keyspace, key.data, key.size, 0, NULL, 0, &got, &whole, &error);
  if (status == KEEL_OK) {
    uint64_t left = offset < whole ? whole - offset : 0;
    if (size > left) size = left;
    if (napi_create_buffer(env, (size_t)size, &room, &value) != napi_ok) value = NULL; /* with an exception */
    if (value != NULL && size != 0) {
      status = keel_get_part(txn, keyspace, key.data, key.size, offset, room, (size_t)size, &got, &whole, &error);
    }
  }
  kn_bytes_free(&key);
  if (status == KEEL_E_NOT_FOUND) return kn_undefined(env);
  if (status == KEEL_OK) return value;
  kn_throw(env, &error);
  return NULL;
}

/* value_size(txn, keyspace, key): bytes of the value, or undefined. */
static napi_value kn_value_size(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  keel_error error = {.code = 0};
  uint64_t whole = 0;
  size_t got = 0;
  kn_bytes key;
  if (!kn_arguments(env, info, arguments, 3)) return NULL;
  keel_txn txn = kn_handle_in(env, arguments[0]);
  keel_keyspace keyspace = kn_handle_in(env, arguments[1]);
  kn_bytes_clear(&key);
  bool given = kn_bytes_in(env, arguments[2], "key", false, &key);
  keel_status status =
      given ? keel_get_part(txn, keyspace, key.data, key.size, 0, NULL, 0, &got, &whole, &error) : KEEL_OK;
  kn_bytes_free(&key);
  if (!given) return NULL;
  if (status == KEEL_E_NOT_FOUND) return kn_undefined(env);
  if (status == KEEL_OK) return kn_number_out(env, whole);
  kn_throw(env, &error);
  return NULL;
}

/* --- views -------------------------------------------------------------------------------------------------------- */

/* The part [start, end) of a view; an end beyond the view is its end. False with an exception pending. */
static bool kn_view_part(napi_env env, const napi_value *arguments, const uint8_t **out_data, size_t *out_size) {
  keel_error error = {.code = 0};
  const void *data = NULL;
  size_t size = 0;
  uint64_t start = 0, end = 0;
  keel_status status = keel_view_data(kn_handle_in(env, arguments[0]), &data, &size, &error);
  if (status != KEEL_OK) {
    kn_throw(env, &error);
    return false;
  }
  if (!kn_number_in(env, arguments[1], "start", UINT64_MAX, &start)) return false;
  if (!kn_number_in(env, arguments[2], "end", UINT64_MAX, &end)) return false;
  if (end > size) end = size;
  if (start > end) start = end;
  *out_data = (const uint8_t *)data + start;
  *out_size = (size_t)(end - start);
  return true;
}

/* view_size(view): bytes. */
static napi_value kn_view_size(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  keel_error error = {.code = 0};
  const void *data = NULL;
  size_t size = 0;
  if (!kn_arguments(env, info, arguments, 1)) return NULL;
  if (keel_view_data(kn_handle_in(env, arguments[0]), &data, &size, &error) == KEEL_OK) return kn_number_out(env, size);
  kn_throw(env, &error);
  return NULL;
}

/* view_slice(view, start, end): a Buffer with a copy of that part. */
static napi_value kn_view_slice(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  const uint8_t *data = NULL;
  size_t size = 0;
  if (!kn_arguments(env, info, arguments, 3) || !kn_view_part(env, arguments, &data, &size)) return NULL;
  return kn_buffer_out(env, data, size);
}

/* view_copy(view, start, end, target, target_start): copies what fits, and says how many bytes that were. */
static napi_value kn_view_copy(napi_env env, napi_callback_info info) {
  napi_value arguments[5];
  const uint8_t *data = NULL;
  size_t size = 0, target_size = 0;
  bool is_view = false;
  void *target = NULL;
  uint64_t target_start = 0;
  if (!kn_arguments(env, info, arguments, 5) || !kn_view_part(env, arguments, &data, &size)) return NULL;
  if (napi_is_buffer(env, arguments[3], &is_view) != napi_ok) return NULL;
  if (!is_view) {
    kn_throw_invalid(env, "target", "expected a Buffer, TypedArray or DataView");
    return NULL;
  }
  if (napi_get_buffer_info(env, arguments[3], &target, &target_size) != napi_ok) return NULL;
  if (!kn_number_in(env, arguments[4], "targetStart", target_size, &target_start)) return NULL;
  if (size > target_size - (size_t)target_start) size = target_size - (size_t)target_start;
  if (size != 0) memcpy((uint8_t *)target + target_start, data, size);
  return kn_number_out(env, size);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* The columns of the environment's batch, or false with an exception pending. */
static bool kn_columns(napi_env env, keel_batch batch, keel_batch_view *out) {
  keel_error error = {.code = 0};
  memset(out, 0, sizeof *out);
  out->struct_size = (uint32_t)sizeof *out;
  if (keel_batch_data(batch, out, &error) == KEEL_OK) return true;
  kn_throw(env, &error);
  return false;
}

static napi_value kn_offsets_out(napi_env env, const uint64_t *offsets, uint64_t count) {
  napi_value buffer = NULL, array = NULL;
  void *room = NULL;
  size_t entries = (size_t)count + 1;
  if (napi_create_arraybuffer(env, entries * sizeof(double), &room, &buffer) != napi_ok) return NULL;
  double *out = room;
  for (size_t i = 0; i < entries; i++) out[i] = (double)offsets[i];
  return napi_create_typedarray(env, napi_float64_array, entries, buffer, 0, &array) == napi_ok ? array : NULL;
}

static bool kn_set(napi_env env, napi_value object, const char *name, napi_value value) {
  return value != NULL && napi_set_named_property(env, object, name, value) == napi_ok;
}

/* {count, keys, keyOffsets, values, valueOffsets, found}: row i has the key keys[keyOffsets[i], keyOffsets[i + 1]). */
static napi_value kn_columns_out(napi_env env, const keel_batch_view *view, bool with_found) {
  napi_value object = NULL;
  uint64_t key_bytes = view->key_offsets[view->count], value_bytes = view->value_offsets[view->count];
  bool made = napi_create_object(env, &object) == napi_ok &&
              kn_set(env, object, "count", kn_number_out(env, view->count)) &&
              kn_set(env, object, "keys", kn_buffer_out(env, view->keys, (size_t)key_bytes)) &&
              kn_set(env, object, "keyOffsets", kn_offsets_out(env, view->key_offsets, view->count)) &&
              kn_set(env, object, "values", kn_buffer_out(env, view->values, (size_t)value_bytes)) &&
              kn_set(env, object, "valueOffsets", kn_offsets_out(env, view->value_offsets, view->count));
  if (made && with_found) {
    made = kn_set(env, object, "found", kn_buffer_out(env, view->found, (size_t)view->count));
  }
  kn_batch_done(env, key_bytes + value_bytes);
  return made ? object : NULL;
}

/* get_many(txn, keyspace, keys): columns. */
static napi_value kn_get_many(napi_env env, napi_callback_info info) {
  napi_value arguments[3], columns = NULL;
  keel_error error = {.code = 0};
  keel_batch_view view;
  kn_packed keys;
  keel_batch batch = 0;
  if (!kn_arguments(env, info, arguments, 3)) return NULL;
  keel_txn txn = kn_handle_in(env, arguments[0]);
  keel_keyspace keyspace = kn_handle_in(env, arguments[1]);
  kn_packed_clear(&keys);
  if (kn_packed_in(env, arguments[2], "keys", &keys) && (batch = kn_batch_of(env)) != 0) {
    if (keel_get_many(txn, keyspace, keys.data, keys.offsets, keys.count, batch, &error) != KEEL_OK) {
      kn_throw(env, &error);
    } else if (kn_columns(env, batch, &view)) {
      columns = kn_columns_out(env, &view, true);
    }
  }
  kn_packed_free(&keys);
  return columns;
}

static napi_value kn_cursor_batch(napi_env env, napi_callback_info info, bool forward) {
  napi_value arguments[3];
  keel_error error = {.code = 0};
  keel_batch_view view;
  uint64_t max_rows = 0, max_bytes = 0;
  if (!kn_arguments(env, info, arguments, 3)) return NULL;
  keel_cursor cursor = kn_handle_in(env, arguments[0]);
  if (!kn_number_in(env, arguments[1], "maxRows", SIZE_MAX, &max_rows)) return NULL;
  if (!kn_number_in(env, arguments[2], "maxBytes", SIZE_MAX, &max_bytes)) return NULL;
  keel_batch batch = kn_batch_of(env);
  if (batch == 0) return NULL;
  keel_status status = forward ? keel_cursor_next_batch(cursor, (size_t)max_rows, (size_t)max_bytes, batch, &error)
                               : keel_cursor_prev_batch(cursor, (size_t)max_rows, (size_t)max_bytes, batch, &error);
  if (status != KEEL_OK) {
    kn_throw(env, &error);
    return NULL;
  }
  return kn_columns(env, batch, &view) ? kn_columns_out(env, &view, false) : NULL;
}

/* cursor_next_batch(cursor, maxRows, maxBytes), cursor_prev_batch(...): columns; no rows at the end. */
static napi_value kn_cursor_next_batch(napi_env env, napi_callback_info info) {
  return kn_cursor_batch(env, info, true);
}

static napi_value kn_cursor_prev_batch(napi_env env, napi_callback_info info) {
  return kn_cursor_batch(env, info, false);
}

/* cursor_row(cursor): columns with the one row on which the cursor stands, or undefined when it stands on none. The
 * row that keel_cursor_get lends is only asked for; to have it in the batch the cursor takes a step back and one
 * forward. */
static napi_value kn_cursor_row(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  keel_error error = {.code = 0};
  keel_batch_view view;
  const void *key = NULL, *value = NULL;
  size_t key_size = 0, value_size = 0;
  if (!kn_arguments(env, info, arguments, 1)) return NULL;
  keel_cursor cursor = kn_handle_in(env, arguments[0]);
  keel_status status = keel_cursor_get(cursor, &key, &key_size, &value, &value_size, &error);
  if (status == KEEL_E_NOT_FOUND) return kn_undefined(env);
  if (status == KEEL_OK) status = keel_cursor_prev(cursor, &error);
  if (status == KEEL_E_NOT_FOUND) status = KEEL_OK; /* it stood on the first row, and now stands before it */
  keel_batch batch = status == KEEL_OK ? kn_batch_of(env) : 0;
  if (status == KEEL_OK && batch == 0) return NULL;
  if (status == KEEL_OK) status = keel_cursor_next_batch(cursor, 1, 0, batch, &error);
  if (status != KEEL_OK) {
    kn_throw(env, &error);
    return NULL;
  }
  return kn_columns(env, batch, &view) ? kn_columns_out(env, &view, false) : NULL;
}

/* keyspace_list(db): columns; the names are the keys. */
static napi_value kn_keyspace_list(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  keel_error error = {.code = 0};
  keel_batch_view view;
  if (!kn_arguments(env, info, arguments, 1)) return NULL;
  keel_batch batch = kn_batch_of(env);
  if (batch == 0) return NULL;
  if (keel_keyspace_list(kn_handle_in(env, arguments[0]), batch, &error) != KEEL_OK) {
    kn_throw(env, &error);
    return NULL;
  }
  return kn_columns(env, batch, &view) ? kn_columns_out(env, &view, false) : NULL;
}

bool kn_reads_register(napi_env env, napi_value exports) {
  static const napi_property_descriptor functions[] = {
      {"get", NULL, kn_get, NULL, NULL, NULL, napi_default, NULL},
      {"has", NULL, kn_has, NULL, NULL, NULL, napi_default, NULL},
      {"get_part", NULL, kn_get_part, NULL, NULL, NULL, napi_default, NULL},
      {"value_size", NULL, kn_value_size, NULL, NULL, NULL, napi_default, NULL},
      {"get_many", NULL, kn_get_many, NULL, NULL, NULL, napi_default, NULL},
      {"view_size", NULL, kn_view_size, NULL, NULL, NULL, napi_default, NULL},
      {"view_slice", NULL, kn_view_slice, NULL, NULL, NULL, napi_default, NULL},
      {"view_copy", NULL, kn_view_copy, NULL, NULL, NULL, napi_default, NULL},
      {"cursor_next_batch", NULL, kn_cursor_next_batch, NULL, NULL, NULL, napi_default, NULL},
      {"cursor_prev_batch", NULL, kn_cursor_prev_batch, NULL, NULL, NULL, napi_default, NULL},
      {"cursor_row", NULL, kn_cursor_row, NULL, NULL, NULL, napi_default, NULL},
      {"keyspace_list", NULL, kn_keyspace_list, NULL, NULL, NULL, napi_default, NULL},
  };
  return napi_define_properties(env, exports, sizeof functions / sizeof functions[0], functions) == napi_ok;
}
