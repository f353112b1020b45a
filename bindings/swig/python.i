/* python.i: how the ABI's arguments cross into Python. C helpers: python/ext/keelpy.h.
 *
 * The code sticks to the limited API (abi3, CPython 3.11), so that one wheel serves all later versions. */

%{
#include "keelpy.h"
%}

/* --- calls that may wait: the interpreter lock is released around them ---
 * A buffer argument stays as it is meanwhile, because its owner's export is held until the wrapper returns. */
%define KEEL_BLOCKING(function)
%exception function {
  Py_BEGIN_ALLOW_THREADS
  $action
  Py_END_ALLOW_THREADS
}
%enddef

/* --- errors --- */
%typemap(out, noblock=1) keel_status ""
%typemap(in, numinputs=0, noblock=1) keel_error *err (keel_error error) {
  error.code = 0;
  error.system_errno = 0;
  error.message[0] = 0;
  $1 = &error;
}
%typemap(argout, noblock=1) keel_error *err {
  if (result != KEEL_OK) {
    Py_CLEAR($result);
    keelpy_raise(result, $1);
    SWIG_fail;
  }
  if (!$result) $result = SWIG_Py_Void();
}

/* --- handles --- */
%typemap(in, noblock=1) keel_db, keel_keyspace, keel_txn, keel_cursor, keel_view, keel_batch, keel_check, keel_load,
    keel_value {
  $1 = PyLong_AsUnsignedLongLong($input);
  if ($1 == (uint64_t)-1 && PyErr_Occurred()) SWIG_fail;
}
%typemap(in, numinputs=0, noblock=1) keel_db *out_db (keel_db made), keel_keyspace *out_keyspace (keel_keyspace made),
    keel_txn *out_txn (keel_txn made), keel_cursor *out_cursor (keel_cursor made), keel_check *out_check (keel_check made),
    keel_load *out_load (keel_load made), keel_value *out_value (keel_value made), uint64_t *out_timestamp (uint64_t made), uint64_t *out_count (uint64_t made) {
  made = 0;
  $1 = &made;
}
%typemap(argout, noblock=1) keel_db *out_db, keel_keyspace *out_keyspace, keel_txn *out_txn, keel_cursor *out_cursor,
    keel_check *out_check, keel_load *out_load, keel_value *out_value, uint64_t *out_timestamp, uint64_t *out_count {
  if (result == KEEL_OK) {
    $result = PyLong_FromUnsignedLongLong(*$1);
    if (!$result) SWIG_fail;
  }
}
%typemap(in, numinputs=0, noblock=1) int32_t *out_enabled (int32_t enabled) {
  enabled = 0;
  $1 = &enabled;
}
%typemap(argout, noblock=1) int32_t *out_enabled {
  if (result == KEEL_OK) $result = PyBool_FromLong(*$1);
}

/* --- bytes in: bytes, or any contiguous buffer; text is refused --- */
%typemap(in, noblock=1) (const void *key, size_t key_size) (keelpy_buffer buffer) {
  if (keelpy_buffer_get($input, "$1_name", &buffer) != 0) SWIG_fail;
  $1 = ($1_ltype)buffer.data;
  $2 = buffer.size;
}
%typemap(arginit, noblock=1) (const void *key, size_t key_size) {
  buffer$argnum.held = 0;
}
%typemap(freearg, noblock=1) (const void *key, size_t key_size) {
  keelpy_buffer_release(&buffer$argnum);
}
%apply (const void *key, size_t key_size) {
  (const void *value, size_t value_size), (const void *data, size_t data_size), (const char *name, size_t name_size)
};

/* None is an open end. */
%typemap(in, noblock=1) (const void *from, size_t from_size) (keelpy_buffer buffer) {
  if (keelpy_bound_get($input, "$1_name", &buffer) != 0) SWIG_fail;
  $1 = ($1_ltype)buffer.data;
  $2 = buffer.size;
}
%typemap(arginit, noblock=1) (const void *from, size_t from_size) {
  buffer$argnum.held = 0;
}
%typemap(freearg, noblock=1) (const void *from, size_t from_size) {
  keelpy_buffer_release(&buffer$argnum);
}
%apply (const void *from, size_t from_size) {
  (const void *to, size_t to_size), (const void *lower, size_t lower_size), (const void *upper, size_t upper_size),
  (const void *prefix, size_t prefix_size)
};

/* --- text --- */
%typemap(in, noblock=1) const char *path (PyObject *encoded) {
  if (!PyUnicode_FSConverter($input, &encoded)) SWIG_fail;
  $1 = PyBytes_AsString(encoded);
}
%typemap(arginit, noblock=1) const char *path {
  encoded$argnum = NULL;
}
%typemap(freearg, noblock=1) const char *path {
  Py_XDECREF(encoded$argnum);
}
%apply const char *path { const char *new_path };
%typemap(in, noblock=1) const char *label {
  if ($input == Py_None) {
    $1 = NULL;
  } else {
    $1 = ($1_ltype)PyUnicode_AsUTF8AndSize($input, NULL);
    if (!$1) SWIG_fail;
  }
}
%typemap(freearg) const char *label ""
%apply const char *label { const char *name };

/* --- records: a tuple of the fields in the order of the description --- */
%define KEELPY_RECORD(type, name, each)
%typemap(in, numinputs=0, noblock=1) type *name (type record) {
  memset(&record, 0, sizeof record);
  record.struct_size = (uint32_t)sizeof record;
  $1 = &record;
}
%typemap(argout, noblock=1) type *name {
  if (result == KEEL_OK) {
    const uint64_t values[] = {each(KEEL_FIELD_VALUE, $1)};
    $result = keelpy_tuple(values, sizeof values / sizeof values[0]);
    if (!$result) SWIG_fail;
  }
}
%enddef
KEELPY_RECORD(keel_stats, out_stats, KEEL_STATS_FIELDS)
KEELPY_RECORD(keel_checkpoint, out_checkpoint, KEEL_CHECKPOINT_FIELDS)
KEELPY_RECORD(keel_check_report, out_report, KEEL_CHECK_REPORT_FIELDS)
KEELPY_RECORD(keel_load_report, out_report, KEEL_LOAD_REPORT_FIELDS)

/* --- what is lent in C is copied or pinned in one call; get, contains and put are python/ext/hot.c --- */
%ignore keel_put;
%ignore keel_get;
%ignore keel_get_copy;
%ignore keel_get_view;
%ignore keel_get_part;
%ignore keel_view_data;
%ignore keel_view_release;
%ignore keel_get_many;
%ignore keel_write_batch;
%ignore keel_load_batch;
%ignore keel_cursor_get;
%ignore keel_cursor_next_batch;
%ignore keel_cursor_prev_batch;
%ignore keel_keyspace_list;
%ignore keel_batch_new;
%ignore keel_batch_free;
%ignore keel_batch_data;

%rename("delete") keel_del;
%rename("delete_range") keel_del_range;
%rename("%(strip:[keelpy_])s", regextarget=1) "^keelpy_";
%typemap(in, numinputs=0, noblock=1) PyObject *module "$1 = self;"

PyObject *keelpy_get_view(PyObject *module, keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size);
PyObject *keelpy_get_part(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t offset,
                          uint64_t size);
PyObject *keelpy_get_part_into(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t offset,
                               PyObject *buffer);
PyObject *keelpy_get_many(keel_txn txn, keel_keyspace keyspace, PyObject *keys);
PyObject *keelpy_write_many(keel_txn txn, keel_keyspace keyspace, PyObject *operations);
PyObject *keelpy_load_many(keel_load load, PyObject *rows);
PyObject *keelpy_cursor_rows(keel_cursor cursor, size_t max_rows, size_t max_bytes, int32_t reverse, int32_t columns);
PyObject *keelpy_keyspace_list(keel_db db);

%init %{
  if (keelpy_init(m) != 0) return -1;
%}
