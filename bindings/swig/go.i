/* go.i: how the ABI's arguments cross into Go.
 *
 * A raw function takes Go slices and pointers to Go numbers and returns the status; the layer above (go/call.go) turns a
 * status and the keel_error into a Go error. cgo keeps what the arguments point to in place during the call, and nothing
 * that C lends outlives it: values are copied into slices of Go inside the wrapper; only a view's bytes are C memory,
 * pinned until the view is released. tools/swig/run.py renames the functions from X to rawX, because SWIG exports every name. */

%insert(cgo_comment_typedefs) %{
#include <stddef.h>
#include <stdint.h>
%}

/* Go's scheduler hands the processor to another thread while a call into C takes long: nothing to do here. */
%define KEEL_BLOCKING(function)
%enddef

/* --- statuses and errors --- */
%typemap(gotype) keel_status "int32"
%typemap(out) keel_status "$result = (int)$1;"
%typemap(in) keel_status "$1 = (keel_status)$input;"
/* rawError in go/call.go has the layout of keel_error. */
%typemap(gotype) keel_error *err "*rawError"
%typemap(in) keel_error *err "$1 = (keel_error *)$input;"

/* --- handles and numbers out --- */
%typemap(gotype) uint64_t *GO_OUT "*uint64"
%typemap(in) uint64_t *GO_OUT "$1 = (uint64_t *)$input;"
%apply uint64_t *GO_OUT {
  keel_db *out_db, keel_keyspace *out_keyspace, keel_txn *out_txn, keel_cursor *out_cursor, keel_view *out_view,
  keel_batch *out_batch, keel_check *out_check, keel_load *out_load, keel_value *out_value, uint64_t *out_timestamp, uint64_t *out_count, uint64_t *out_value_size, uint64_t *out_keys_size, uint64_t *out_values_size
};
%typemap(gotype) size_t *out_value_size "*uint64"
%typemap(in) size_t *out_value_size (size_t size) {
  size = 0;
  $1 = &size;
}
%typemap(argout) size_t *out_value_size "*(uint64_t *)$input = *$1;"
%apply size_t *out_value_size { size_t *out_size };
%typemap(gotype) int32_t "int32"
%typemap(out) int32_t "$result = (int)$1;"
%typemap(gotype) int32_t *out_enabled "*int32"
%typemap(in) int32_t *out_enabled "$1 = (int32_t *)$input;"
%typemap(gotype) size_t "uint64"

/* --- bytes in: a slice; nil is NULL, and for a bound an open end --- */
%typemap(gotype) (const void *key, size_t key_size) "[]byte"
%typemap(in) (const void *key, size_t key_size) {
  $1 = ($1_ltype)$input.array;
  $2 = (size_t)$input.len;
}
%apply (const void *key, size_t key_size) {
  (const void *value, size_t value_size), (const void *data, size_t data_size), (const void *from, size_t from_size), (const void *to, size_t to_size),
  (const void *lower, size_t lower_size), (const void *upper, size_t upper_size),
  (const void *prefix, size_t prefix_size), (const void *ops, size_t ops_size), (void *buffer, size_t capacity)
};
%typemap(gotype) (const char *name, size_t name_size) "string"
%typemap(in) (const char *name, size_t name_size) {
  $1 = ($1_ltype)$input.p;
  $2 = (size_t)$input.n;
}
/* The keys back to back, and where each starts, with one more for the end. */
%typemap(gotype) const void *keys "[]byte"
%typemap(in) const void *keys "$1 = ($1_ltype)$input.array;"
%typemap(gotype) (const void *offsets, size_t count) "[]uint64"
%typemap(in) (const void *offsets, size_t count) {
  $1 = ($1_ltype)$input.array;
  $2 = $input.len == 0 ? 0 : (size_t)$input.len - 1;
}

/* --- text: terminated bytes, made in go/call.go; nil is NULL --- */
%typemap(gotype) const char *path "[]byte"
%typemap(in) const char *path "$1 = ($1_ltype)$input.array;"
%typemap(freearg) const char *path ""
%apply const char *path { const char *new_path, const char *label, const char *name };

/* --- records: the fields as numbers, in the order of the description --- */
%define KEELGO_RECORD(type, parameter, each)
%typemap(gotype) type *parameter "[]uint64"
%typemap(in) type *parameter (type record) {
  memset(&record, 0, sizeof record);
  record.struct_size = (uint32_t)sizeof record;
  $1 = &record;
}
%typemap(argout) type *parameter {
  if (result == KEEL_OK) {
    const uint64_t values[] = {each(KEEL_FIELD_VALUE, $1)};
    size_t wanted = (size_t)$input.len * sizeof values[0];
    memcpy($input.array, values, wanted < sizeof values ? wanted : sizeof values);
  }
}
%enddef
KEELGO_RECORD(keel_stats, out_stats, KEEL_STATS_FIELDS)
KEELGO_RECORD(keel_checkpoint, out_checkpoint, KEEL_CHECKPOINT_FIELDS)
KEELGO_RECORD(keel_check_report, out_report, KEEL_CHECK_REPORT_FIELDS)
KEELGO_RECORD(keel_load_report, out_report, KEEL_LOAD_REPORT_FIELDS)

/* --- what is lent in C: copied here, or a view's address --- */
%ignore keel_get;
%ignore keel_cursor_get;
%ignore keel_batch_data;
%ignore keel_view_data;
%ignore keel_get_many;
/* Known on the Go side already (constants_gen.go), or text. */
%ignore keel_version;
/* SWIG's own way for returned text is what `go vet` calls a misuse of unsafe.Pointer: see keelgo_check_problem. */
%ignore keel_flat_check_problem;
%ignore keel_status_name;
%ignore keel_status_class;
%ignore keel_status_is_retryable;

%typemap(gotype) void **out_address "*uintptr"
%typemap(in) void **out_address "$1 = (void **)$input;"
%typemap(gotype) uint64_t *COLUMN "[]uint64"
%typemap(in) uint64_t *COLUMN "$1 = (uint64_t *)$input.array;"
%apply uint64_t *COLUMN { uint64_t *key_ends, uint64_t *value_ends };
%typemap(gotype) uint8_t *COLUMN "[]byte"
%typemap(in) uint8_t *COLUMN "$1 = (uint8_t *)$input.array;"
%apply uint8_t *COLUMN { uint8_t *keys_out, uint8_t *values_out, uint8_t *found_out };

%inline %{
/* keel_get_many with the offsets as plain bytes: SWIG would name their type in a way that C compilers take for another. */
static keel_status keelgo_get_many(keel_txn txn, keel_keyspace keyspace, const void *keys, const void *offsets,
                                   size_t count, keel_batch batch, keel_error *err) {
  return keel_get_many(txn, keyspace, keys, offsets, count, batch, err);
}

/* Copies the version's text; returns its size. */
static int32_t keelgo_version(void *buffer, size_t capacity) {
  const char *text = keel_version();
  size_t size = strlen(text);
  if (size > capacity) size = capacity;
  memcpy(buffer, text, size);
  return (int32_t)size;
}

/* Copies the text of a problem into KEEL_CHECK_TEXT_SIZE bytes; returns its size, 0 when there is none of that number. */
static int32_t keelgo_check_problem(keel_check check, uint64_t index, void *buffer, size_t capacity) {
  size_t size = 0;
  return keel_check_problem(check, index, buffer, capacity, &size, NULL) == KEEL_OK ? (int32_t)size : 0;
}

/* The size of a batch: rows, bytes of all keys, bytes of all values. */
static keel_status keelgo_batch_size(keel_batch batch, uint64_t *out_count, uint64_t *out_keys_size,
                                     uint64_t *out_values_size, keel_error *err) {
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  keel_status status = keel_batch_data(batch, &view, err);
  if (status != KEEL_OK) return status;
  *out_count = view.count;
  *out_keys_size = view.count == 0 ? 0 : view.key_offsets[view.count];
  *out_values_size = view.count == 0 ? 0 : view.value_offsets[view.count];
  return KEEL_OK;
}

/* Copies the columns; the slices have the sizes that keelgo_batch_size told, and the batch was not used since. Where key i and value i end goes
 * to key_ends and value_ends. */
static keel_status keelgo_batch_copy(keel_batch batch, uint8_t *keys_out, uint64_t *key_ends, uint8_t *values_out,
                                     uint64_t *value_ends, uint8_t *found_out, keel_error *err) {
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  keel_status status = keel_batch_data(batch, &view, err);
  if (status != KEEL_OK || view.count == 0) return status;
  if (view.key_offsets[view.count] != 0) memcpy(keys_out, view.keys, (size_t)view.key_offsets[view.count]);
  if (view.value_offsets[view.count] != 0) memcpy(values_out, view.values, (size_t)view.value_offsets[view.count]);
  memcpy(key_ends, view.key_offsets + 1, (size_t)view.count * sizeof *key_ends);
  memcpy(value_ends, view.value_offsets + 1, (size_t)view.count * sizeof *value_ends);
  memcpy(found_out, view.found, (size_t)view.count);
  return KEEL_OK;
}

/* Where a view's bytes are: pinned until the view is released. */
static keel_status keelgo_view_data(keel_view view, void **out_address, uint64_t *out_count, keel_error *err) {
  const void *data = NULL;
  size_t size = 0;
  keel_status status = keel_view_data(view, &data, &size, err);
  if (status != KEEL_OK) return status;
  *out_address = (void *)data;
  *out_count = size;
  return KEEL_OK;
}

/* The row under a cursor, copied: sizes first (buffers may be too small: nothing is copied then), then bytes. */
static keel_status keelgo_cursor_copy(keel_cursor cursor, void *buffer, size_t capacity, uint64_t *out_keys_size,
                                      uint64_t *out_values_size, keel_error *err) {
  const void *key = NULL, *value = NULL;
  size_t key_size = 0, value_size = 0;
  keel_status status = keel_cursor_get(cursor, &key, &key_size, &value, &value_size, err);
  if (status != KEEL_OK) return status;
  *out_keys_size = key_size;
  *out_values_size = value_size;
  if (key_size + value_size > capacity) return KEEL_E_BUFFER_SIZE;
  if (key_size != 0) memcpy(buffer, key, key_size);
  if (value_size != 0) memcpy((char *)buffer + key_size, value, value_size);
  return KEEL_OK;
}
%}
