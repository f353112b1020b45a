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

/* Memory of the wrapper's own. */
typedef struct keelpy_packed {
  unsigned char *data; /* PyMem_Free */
  size_t size;
  size_t capacity;
} keelpy_packed;

/* Room for `more` bytes at the end; NULL with MemoryError set. */
static unsigned char *keelpy_packed_extend(keelpy_packed *packed, size_t more) {
  if (packed->capacity - packed->size < more || packed->data == NULL) {
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

/* --- views --- */

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

/* --- parts --- */

/* KEEL_OK, or -1 with an exception. */
static int keelpy_read_part(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t offset,
                            void *buffer, size_t capacity, size_t *got, uint64_t *size) {
  keel_error err;
  keel_status status;
  err.message[0] = '\0';
  err.system_errno = 0;
  Py_BEGIN_ALLOW_THREADS;
  status = keel_get_part(txn, keyspace, key, key_size, offset, buffer, capacity, got, size, &err);
  Py_END_ALLOW_THREADS;
  if (status == KEEL_OK) return 0;
  keelpy_raise(status, &err);
  return -1;
}

PyObject *keelpy_get_part(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t offset,
                          uint64_t size) {
  size_t got = 0;
  uint64_t whole = 0;
  /* Its size first: what is asked for may be far more than there is. */
  if (keelpy_read_part(txn, keyspace, key, key_size, 0, NULL, 0, &got, &whole) != 0) return NULL;
  uint64_t left = offset < whole ? whole - offset : 0;
  if (size > left) size = left;
  if (size > (uint64_t)PY_SSIZE_T_MAX) return PyErr_NoMemory();
  PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
  if (bytes == NULL) return NULL;
  /* Nobody else has seen the object yet. */
  if (keelpy_read_part(txn, keyspace, key, key_size, offset, PyBytes_AsString(bytes), (size_t)size, &got, &whole) !=
      0) {
    Py_DECREF(bytes);
    return NULL;
  }
  if (got == size) return bytes;
  PyObject *shorter = PyBytes_FromStringAndSize(PyBytes_AsString(bytes), (Py_ssize_t)got); /* rewritten meanwhile */
  Py_DECREF(bytes);
  return shorter;
}

PyObject *keelpy_get_part_into(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t offset,
                               PyObject *buffer) {
  Py_buffer view;
  size_t got = 0;
  uint64_t whole = 0;
  if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) != 0) return NULL;
  int failed = keelpy_read_part(txn, keyspace, key, key_size, offset, view.buf, (size_t)view.len, &got, &whole);
  PyBuffer_Release(&view);
  if (failed) return NULL;
  const uint64_t values[] = {got, whole};
  return keelpy_tuple(values, 2);
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

/* --- many keys ---
 * Both functions take any iterable and work in chunks, so that neither the bounds of the ABI nor memory limit its
 * length, and other threads get a turn. Code of the iterable runs between two calls of the engine, never inside. */

enum { KEELPY_CHUNK_KEYS = 16384 };

/* Up to KEELPY_CHUNK_KEYS keys of the iterator, one after the other in `arena`. How many, or -1. */
static Py_ssize_t keelpy_pack_keys(PyObject *iterator, keelpy_packed *arena, uint64_t *offsets) {
  Py_ssize_t count = 0;
  arena->size = 0;
  offsets[0] = 0;
  while (count < KEELPY_CHUNK_KEYS) {
    PyObject *object = PyIter_Next(iterator);
    if (object == NULL) return PyErr_Occurred() ? -1 : count;
    keelpy_buffer key;
    unsigned char *out = NULL;
    if (keelpy_buffer_get(object, "key", &key) == 0) {
      out = keelpy_packed_extend(arena, key.size);
      if (out != NULL) memcpy(out, key.data, key.size);
      keelpy_buffer_release(&key);
    }
    Py_DECREF(object);
    if (out == NULL) return -1;
    offsets[++count] = arena->size;
  }
  return count;
}

/* The values of one chunk of keys, as a list. */
static PyObject *keelpy_get_chunk(keel_txn txn, keel_keyspace keyspace, const keelpy_packed *arena,
                                  const uint64_t *offsets, size_t count) {
  keel_error err;
  keel_batch batch = 0;
  keel_status status;
  err.message[0] = '\0';
  err.system_errno = 0;
  Py_BEGIN_ALLOW_THREADS;
  status = keel_batch_new(&batch, &err);
  if (status == KEEL_OK) status = keel_get_many(txn, keyspace, arena->data, offsets, count, batch, &err);
  Py_END_ALLOW_THREADS;
  return keelpy_batch_finish(status, batch, KEELPY_VALUES, &err);
}

PyObject *keelpy_get_many(keel_txn txn, keel_keyspace keyspace, PyObject *keys) {
  keelpy_packed arena = {NULL, 0, 0};
  PyObject *result = NULL;
  PyObject *iterator = PyObject_GetIter(keys);
  if (iterator == NULL) return NULL;
  uint64_t *offsets = PyMem_Malloc((KEELPY_CHUNK_KEYS + 1) * sizeof *offsets);
  if (offsets == NULL) PyErr_NoMemory();
  Py_ssize_t count = offsets != NULL ? KEELPY_CHUNK_KEYS : -1;
  /* The first chunk goes ahead even without keys, so that a handle that is not valid is told in any case. */
  while (count == KEELPY_CHUNK_KEYS) {
    count = keelpy_pack_keys(iterator, &arena, offsets);
    if (count < 0 || (count == 0 && result != NULL)) break;
    PyObject *values = keelpy_get_chunk(txn, keyspace, &arena, offsets, (size_t)count);
    if (values == NULL) {
      count = -1;
    } else if (result == NULL) {
      result = values;
    } else {
      Py_ssize_t end = PyList_Size(result);
      if (PyList_SetSlice(result, end, end, values) != 0) count = -1;
      Py_DECREF(values);
    }
  }
  if (count < 0) Py_CLEAR(result);
  PyMem_Free(offsets);
  PyMem_Free(arena.data);
  Py_DECREF(iterator);
  return result;
}

/* A buffer of operations is applied when it has grown to this; larger operations go alone and are not copied. */
enum { KEELPY_CHUNK_BYTES = 1 << 20, KEELPY_OP_HEADER = 12 };

/* Where operations go: into a transaction, or, where `loads` is set, into a load, which takes puts alone. */
typedef struct keelpy_sink {
  keel_txn txn;
  keel_keyspace keyspace;
  keel_load load;
  int loads;
  keelpy_packed packed;
} keelpy_sink;

static int keelpy_sink_flush(keelpy_sink *sink) {
  keel_error err;
  keel_status status;
  err.message[0] = '\0';
  err.system_errno = 0;
  Py_BEGIN_ALLOW_THREADS;
  status = sink->loads ? keel_load_batch(sink->load, sink->packed.data, sink->packed.size, NULL, &err)
                       : keel_write_batch(sink->txn, sink->keyspace, sink->packed.data, sink->packed.size, NULL, &err);
  Py_END_ALLOW_THREADS;
  sink->packed.size = 0;
  if (status == KEEL_OK) return 0;
  keelpy_raise(status, &err);
  return -1;
}

static void keelpy_put_u32(unsigned char *out, size_t value) {
  for (int i = 0; i < 4; i++) out[i] = (unsigned char)(value >> (8 * i));
}

static int keelpy_pack_operation(const keelpy_buffer *key, const keelpy_buffer *value, keelpy_packed *packed) {
  unsigned char *out = keelpy_packed_extend(packed, KEELPY_OP_HEADER + key->size + value->size);
  if (out == NULL) return -1;
  memset(out, 0, 4);
  out[0] = value->data != NULL ? KEEL_BATCH_PUT : KEEL_BATCH_DELETE;
  keelpy_put_u32(out + 4, key->size);
  keelpy_put_u32(out + 8, value->size);
  memcpy(out + KEELPY_OP_HEADER, key->data, key->size);
  if (value->size != 0) memcpy(out + KEELPY_OP_HEADER + key->size, value->data, value->size);
  return 0;
}

static int keelpy_sink_large(const keelpy_sink *sink, const keelpy_buffer *key, const keelpy_buffer *value) {
  keel_error err;
  keel_status status;
  err.message[0] = '\0';
  err.system_errno = 0;
  Py_BEGIN_ALLOW_THREADS;
  if (sink->loads) {
    status = keel_load_put(sink->load, key->data, key->size, value->data, value->size, &err);
  } else if (value->data != NULL) {
    status = keel_put(sink->txn, sink->keyspace, key->data, key->size, value->data, value->size, &err);
  } else {
    status = keel_del(sink->txn, sink->keyspace, key->data, key->size, &err);
  }
  Py_END_ALLOW_THREADS;
  if (status == KEEL_OK) return 0;
  keelpy_raise(status, &err);
  return -1;
}

/* One operation: into the buffer, or, when it is large, applied after what is in the buffer. */
static int keelpy_sink_operation(keelpy_sink *sink, PyObject *pair) {
  keelpy_buffer key, value;
  int result = -1;
  if (PyTuple_Size(pair) != 2) {
    PyErr_Format(PyExc_ValueError, "%s must be a (key, value) pair, not %zd items",
                 sink->loads ? "a row" : "an operation", PyTuple_Size(pair));
    return -1;
  }
  if (keelpy_buffer_get(PyTuple_GetItem(pair, 0), "key", &key) != 0) return -1;
  int taken = sink->loads ? keelpy_buffer_get(PyTuple_GetItem(pair, 1), "value", &value)
                          : keelpy_bound_get(PyTuple_GetItem(pair, 1), "value", &value);
  if (taken == 0) {
    if (key.size < KEELPY_CHUNK_BYTES && value.size < KEELPY_CHUNK_BYTES) {
      result = keelpy_pack_operation(&key, &value, &sink->packed);
    } else {
      result = sink->packed.size != 0 ? keelpy_sink_flush(sink) : 0;
      if (result == 0) result = keelpy_sink_large(sink, &key, &value);
    }
    keelpy_buffer_release(&value);
  }
  keelpy_buffer_release(&key);
  if (result == 0 && sink->packed.size >= KEELPY_CHUNK_BYTES) result = keelpy_sink_flush(sink);
  return result;
}

static PyObject *keelpy_sink_all(keelpy_sink *sink, PyObject *operations) {
  PyObject *operation;
  int result = 0;
  PyObject *iterator = PyObject_GetIter(operations);
  if (iterator == NULL) return NULL;
  while (result == 0 && (operation = PyIter_Next(iterator)) != NULL) {
    PyObject *pair = PySequence_Tuple(operation);
    result = pair != NULL ? keelpy_sink_operation(sink, pair) : -1;
    Py_XDECREF(pair);
    Py_DECREF(operation);
  }
  if (PyErr_Occurred()) result = -1;
  /* Also when there was nothing, so that a handle that is not valid is told in any case. */
  if (result == 0) result = keelpy_sink_flush(sink);
  PyMem_Free(sink->packed.data);
  Py_DECREF(iterator);
  if (result != 0) return NULL;
  Py_RETURN_NONE;
}

PyObject *keelpy_write_many(keel_txn txn, keel_keyspace keyspace, PyObject *operations) {
  keelpy_sink sink = {.txn = txn, .keyspace = keyspace};
  return keelpy_sink_all(&sink, operations);
}

PyObject *keelpy_load_many(keel_load load, PyObject *rows) {
  keelpy_sink sink = {.load = load, .loads = 1};
  return keelpy_sink_all(&sink, rows);
}

int keelpy_init(PyObject *module) {
  if (keelpy_hot_init(module) != 0) return -1;
  return keelpy_view_init(module);
}
