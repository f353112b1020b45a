/* keelpy.c: arguments, errors and copying functions of the Python binding. See keelpy.h. */
#include "keelpy.h"

#include <string.h>

/* --- errors --- */

void keelpy_raise(keel_status status, const keel_error *err) {
  /* Looked up each time instead of being kept in a static: errors are rare, and this way each interpreter of the
   * process gets its own classes. */
  PyObject *module = PyImport_ImportModule("keel._errors");
  PyObject *exception = NULL;
  if (module == NULL) return;
  const char *message = err->message[0] != '\0' ? err->message : keel_status_name(status);
  PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
  if (text != NULL) exception = PyObject_CallMethod(module, "from_status", "iOi", status, text, err->system_errno);
  if (exception != NULL) PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
  Py_XDECREF(exception);
  Py_XDECREF(text);
  Py_DECREF(module);
}

/* --- arguments --- */

static int keelpy_buffer_get_other(PyObject *object, const char *what, keelpy_buffer *buffer) {
  if (PyUnicode_Check(object)) {
    PyErr_Format(PyExc_TypeError, "%s must be bytes-like, not str: encode it, for example with .encode()", what);
    return -1;
  }
  if (!PyObject_CheckBuffer(object)) {
    PyObject *type_name = PyType_GetName(Py_TYPE(object));
    if (type_name == NULL) return -1;
    PyErr_Format(PyExc_TypeError, "%s must be bytes-like, not %U", what, type_name);
    Py_DECREF(type_name);
    return -1;
  }
  if (PyObject_GetBuffer(object, &buffer->view, PyBUF_SIMPLE) != 0) return -1;
  buffer->held = 1;
  buffer->data = buffer->view.buf != NULL ? buffer->view.buf : "";
  buffer->size = (size_t)buffer->view.len;
  return 0;
}

int keelpy_buffer_get(PyObject *object, const char *what, keelpy_buffer *buffer) {
  buffer->held = 0;
  if (!PyBytes_Check(object)) return keelpy_buffer_get_other(object, what, buffer);
  buffer->data = PyBytes_AsString(object);
  buffer->size = (size_t)PyBytes_Size(object);
  return 0;
}

int keelpy_bound_get(PyObject *object, const char *what, keelpy_buffer *buffer) {
  if (object != Py_None) return keelpy_buffer_get(object, what, buffer);
  buffer->held = 0;
  buffer->data = NULL;
  buffer->size = 0;
  return 0;
}

/* Room for `more` bytes at the end; NULL with MemoryError set. */
static unsigned char *keelpy_packed_extend(keelpy_packed *packed, size_t more) {
  if (packed->capacity - packed->size < more) {
    size_t capacity = packed->capacity < 4096 ? 4096 : packed->capacity;
    while (capacity - packed->size < more) {
      if (capacity > (size_t)PY_SSIZE_T_MAX / 2) {
        PyErr_NoMemory();
        return NULL;
      }
      capacity *= 2;
    }
    unsigned char *data = PyMem_Realloc(packed->data, capacity);
    if (data == NULL) {
      PyErr_NoMemory();
      return NULL;
    }
    packed->data = data;
    packed->capacity = capacity;
  }
  unsigned char *end = packed->data + packed->size;
  packed->size += more;
  return end;
}

static void keelpy_put_u32(unsigned char *out, uint32_t value) {
  for (int i = 0; i < 4; i++) out[i] = (unsigned char)(value >> (8 * i));
}

enum { KEELPY_OP_PUT = 1, KEELPY_OP_DELETE = 2, KEELPY_OP_HEADER = 12 };

static int keelpy_pack_operation(PyObject *key_object, PyObject *value_object, keelpy_packed *packed) {
  keelpy_buffer key, value;
  int result = -1;
  if (keelpy_buffer_get(key_object, "key", &key) != 0) return -1;
  if (keelpy_bound_get(value_object, "value", &value) != 0) {
    keelpy_buffer_release(&key);
    return -1;
  }
  if (key.size > UINT32_MAX || value.size > UINT32_MAX) {
    PyErr_SetString(PyExc_OverflowError, "key or value is larger than 4 GiB");
  } else {
    unsigned char *out = keelpy_packed_extend(packed, KEELPY_OP_HEADER + key.size + value.size);
    if (out != NULL) {
      memset(out, 0, 4);
      out[0] = value.data != NULL ? KEELPY_OP_PUT : KEELPY_OP_DELETE;
      keelpy_put_u32(out + 4, (uint32_t)key.size);
      keelpy_put_u32(out + 8, (uint32_t)value.size);
      memcpy(out + KEELPY_OP_HEADER, key.data, key.size);
      if (value.size != 0) memcpy(out + KEELPY_OP_HEADER + key.size, value.data, value.size);
      result = 0;
    }
  }
  keelpy_buffer_release(&key);
  keelpy_buffer_release(&value);
  return result;
}

int keelpy_pack_operations(PyObject *operations, keelpy_packed *packed) {
  packed->data = NULL;
  packed->size = packed->capacity = 0;
  /* A tuple cannot change while a buffer's owner runs code of its own, so borrowed items stay alive. */
  PyObject *all = PySequence_Tuple(operations);
  if (all == NULL) return -1;
  Py_ssize_t count = PyTuple_Size(all);
  int result = 0;
  for (Py_ssize_t i = 0; i < count && result == 0; i++) {
    PyObject *pair = PySequence_Tuple(PyTuple_GetItem(all, i));
    if (pair == NULL) {
      result = -1;
    } else if (PyTuple_Size(pair) != 2) {
      PyErr_Format(PyExc_ValueError, "operation %zd must be a (key, value) pair, not %zd items", i, PyTuple_Size(pair));
      result = -1;
    } else {
      result = keelpy_pack_operation(PyTuple_GetItem(pair, 0), PyTuple_GetItem(pair, 1), packed);
    }
    Py_XDECREF(pair);
  }
  Py_DECREF(all);
  return result;
}

PyObject *keelpy_tuple(const uint64_t *values, size_t count) {
  PyObject *tuple = PyTuple_New((Py_ssize_t)count);
  if (tuple == NULL) return NULL;
  for (size_t i = 0; i < count; i++) {
    PyObject *number = PyLong_FromUnsignedLongLong(values[i]);
    if (number == NULL) {
      Py_DECREF(tuple);
      return NULL;
    }
    PyTuple_SetItem(tuple, (Py_ssize_t)i, number);
  }
  return tuple;
}

/* --- point reads --- */

/* Values up to this size are fetched with one call; larger ones cost a second call that knows the size. */
enum { KEELPY_SMALL_VALUE = 2048 };

PyObject *keelpy_get(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size) {
  char small[KEELPY_SMALL_VALUE];
  keel_error err;
  size_t size = 0;
  err.message[0] = '\0';
  err.system_errno = 0;
  keel_status status = keel_get_copy(txn, keyspace, key, key_size, small, sizeof small, &size, &err);
  if (status == KEEL_OK) return PyBytes_FromStringAndSize(small, (Py_ssize_t)size);
  /* A loop, because another thread may put a longer value through the same transaction between two calls. */
  while (status == KEEL_E_BUFFER_SIZE) {
    size_t capacity = size;
    PyObject *value = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)capacity);
    if (value == NULL) return NULL;
    status = keel_get_copy(txn, keyspace, key, key_size, PyBytes_AsString(value), capacity, &size, &err);
    if (status == KEEL_OK && size == capacity) return value;
    if (status == KEEL_OK) {
      PyObject *shorter = PyBytes_FromStringAndSize(PyBytes_AsString(value), (Py_ssize_t)size);
      Py_DECREF(value);
      return shorter;
    }
    Py_DECREF(value);
  }
  if (status == KEEL_E_NOT_FOUND) Py_RETURN_NONE;
  keelpy_raise(status, &err);
  return NULL;
}

PyObject *keelpy_get_view(PyObject *module, keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size) {
  keel_error err;
  keel_view view = 0;
  err.message[0] = '\0';
  err.system_errno = 0;
  keel_status status = keel_get_view(txn, keyspace, key, key_size, &view, &err);
  if (status == KEEL_E_NOT_FOUND) Py_RETURN_NONE;
  if (status != KEEL_OK) {
    keelpy_raise(status, &err);
    return NULL;
  }
  return keelpy_view_new(module, view);
}

/* --- batches ---
 * A batch is made and freed inside one call: it is never visible to a second thread, so what it lends cannot change
 * while it is copied, whether or not the interpreter lock is held. */

static PyObject *keelpy_slice(const void *arena, const uint64_t *offsets, size_t i) {
  return PyBytes_FromStringAndSize((const char *)arena + offsets[i], (Py_ssize_t)(offsets[i + 1] - offsets[i]));
}

static PyObject *keelpy_row(const keel_batch_view *rows, size_t i, int32_t columns) {
  if (columns == KEELPY_KEYS) return keelpy_slice(rows->keys, rows->key_offsets, i);
  if (columns == KEELPY_VALUES) {
    if (!rows->found[i]) Py_RETURN_NONE;
    return keelpy_slice(rows->values, rows->value_offsets, i);
  }
  PyObject *key = keelpy_slice(rows->keys, rows->key_offsets, i);
  PyObject *value = keelpy_slice(rows->values, rows->value_offsets, i);
  PyObject *pair = key != NULL && value != NULL ? PyTuple_New(2) : NULL;
  if (pair == NULL) {
    Py_XDECREF(key);
    Py_XDECREF(value);
    return NULL;
  }
  PyTuple_SetItem(pair, 0, key);
  PyTuple_SetItem(pair, 1, value);
  return pair;
}

static PyObject *keelpy_batch_list(keel_batch batch, int32_t columns) {
  keel_batch_view rows;
  keel_error err;
  memset(&rows, 0, sizeof rows);
  rows.struct_size = (uint32_t)sizeof rows;
  err.message[0] = '\0';
  err.system_errno = 0;
  keel_status status = keel_batch_data(batch, &rows, &err);
  if (status != KEEL_OK) {
    keelpy_raise(status, &err);
    return NULL;
  }
  PyObject *list = PyList_New((Py_ssize_t)rows.count);
  if (list == NULL) return NULL;
  for (size_t i = 0; i < rows.count; i++) {
    PyObject *row = keelpy_row(&rows, i, columns);
    if (row == NULL) {
      Py_DECREF(list);
      return NULL;
    }
    PyList_SetItem(list, (Py_ssize_t)i, row);
  }
  return list;
}

/* Ends a call that filled `batch`: raises or makes the list, and frees the batch. */
static PyObject *keelpy_batch_finish(keel_status status, keel_batch batch, int32_t columns, const keel_error *err) {
  PyObject *list = NULL;
  if (status == KEEL_OK) {
    list = keelpy_batch_list(batch, columns);
  } else {
    keelpy_raise(status, err);
  }
  if (batch != 0) (void)keel_batch_free(batch, NULL);
  return list;
}

PyObject *keelpy_cursor_rows(keel_cursor cursor, size_t max_rows, size_t max_bytes, int32_t reverse, int32_t columns) {
  keel_error err;
  keel_batch batch = 0;
  keel_status status;
  err.message[0] = '\0';
  err.system_errno = 0;
  Py_BEGIN_ALLOW_THREADS;
  status = keel_batch_new(&batch, &err);
  if (status == KEEL_OK) {
    status = reverse ? keel_cursor_prev_batch(cursor, max_rows, max_bytes, batch, &err)
                     : keel_cursor_next_batch(cursor, max_rows, max_bytes, batch, &err);
  }
  Py_END_ALLOW_THREADS;
  return keelpy_batch_finish(status, batch, columns, &err);
}

PyObject *keelpy_keyspace_list(keel_db db) {
  keel_error err;
  keel_batch batch = 0;
  keel_status status;
  err.message[0] = '\0';
  err.system_errno = 0;
  Py_BEGIN_ALLOW_THREADS;
  status = keel_batch_new(&batch, &err);
  if (status == KEEL_OK) status = keel_keyspace_list(db, batch, &err);
  Py_END_ALLOW_THREADS;
  return keelpy_batch_finish(status, batch, KEELPY_KEYS, &err);
}

/* The keys of a tuple, one after the other in `arena`, with count + 1 offsets. */
static int keelpy_pack_keys(PyObject *keys, size_t count, keelpy_packed *arena, uint64_t *offsets) {
  for (size_t i = 0; i < count; i++) {
    keelpy_buffer key;
    offsets[i] = arena->size;
    if (keelpy_buffer_get(PyTuple_GetItem(keys, (Py_ssize_t)i), "key", &key) != 0) return -1;
    unsigned char *out = keelpy_packed_extend(arena, key.size);
    if (out != NULL && key.size != 0) memcpy(out, key.data, key.size);
    keelpy_buffer_release(&key);
    if (out == NULL) return -1;
  }
  offsets[count] = arena->size;
  return 0;
}

PyObject *keelpy_get_many(keel_txn txn, keel_keyspace keyspace, PyObject *keys) {
  keelpy_packed arena = {NULL, 0, 0};
  PyObject *result = NULL;
  PyObject *all = PySequence_Tuple(keys); /* see keelpy_pack_operations */
  if (all == NULL) return NULL;
  size_t count = (size_t)PyTuple_Size(all);
  uint64_t *offsets = PyMem_Malloc((count + 1) * sizeof *offsets);
  if (offsets == NULL) {
    PyErr_NoMemory();
  } else if (keelpy_pack_keys(all, count, &arena, offsets) == 0) {
    keel_error err;
    keel_batch batch = 0;
    keel_status status;
    err.message[0] = '\0';
    err.system_errno = 0;
    Py_BEGIN_ALLOW_THREADS;
    status = keel_batch_new(&batch, &err);
    if (status == KEEL_OK) {
      status =
          keel_get_many(txn, keyspace, arena.data != NULL ? (const void *)arena.data : "", offsets, count, batch, &err);
    }
    Py_END_ALLOW_THREADS;
    result = keelpy_batch_finish(status, batch, KEELPY_VALUES, &err);
  }
  PyMem_Free(offsets);
  PyMem_Free(arena.data);
  Py_DECREF(all);
  return result;
}

int keelpy_init(PyObject *module) {
  return keelpy_view_init(module);
}
