/* hot.c: the calls on single keys, with the argument convention of METH_FASTCALL.
 *
 * SWIG's wrappers take their arguments as a tuple, which has to be made and taken apart for each call. For the calls
 * that do little else this is felt: get costs 146 ns in this form and 181 to 199 with a tuple (python/bench/calls.py,
 * one row of 100 bytes). What does more work stays with SWIG. */
#include "keelpy.h"

/* Values up to this size are fetched with one call; larger ones cost a second call that knows the size. */
enum { KEELPY_SMALL_VALUE = 2048 };

static PyObject *keelpy_hot_get_value(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size) {
  char small[KEELPY_SMALL_VALUE];
  keel_error err;
  size_t size = 0;
  /* Without a keel_error first: nobody wants the text of "not found" or "does not fit", and writing it takes time. */
  keel_status status = keel_get_copy(txn, keyspace, key, key_size, small, sizeof small, &size, NULL);
  if (status == KEEL_OK) return PyBytes_FromStringAndSize(small, (Py_ssize_t)size);
  if (status == KEEL_E_NOT_FOUND) Py_RETURN_NONE;
  /* A loop, because another thread may put a longer value through the same transaction between two calls. */
  for (;;) {
    size_t capacity = status == KEEL_E_BUFFER_SIZE ? size : 0;
    PyObject *value = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)capacity);
    if (value == NULL) return NULL;
    err.message[0] = '\0';
    err.system_errno = 0;
    status = keel_get_copy(txn, keyspace, key, key_size, PyBytes_AsString(value), capacity, &size, &err);
    if (status == KEEL_OK && size == capacity) return value;
    PyObject *shorter = status == KEEL_OK ? PyBytes_FromStringAndSize(PyBytes_AsString(value), (Py_ssize_t)size) : NULL;
    Py_DECREF(value);
    if (status == KEEL_OK) return shorter;
    if (status == KEEL_E_NOT_FOUND) Py_RETURN_NONE;
    if (status != KEEL_E_BUFFER_SIZE) break;
  }
  keelpy_raise(status, &err);
  return NULL;
}

static PyObject *keelpy_hot_has_value(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size) {
  keel_error err;
  size_t size = 0;
  err.message[0] = '\0';
  err.system_errno = 0;
  /* Asks for the size only, so nothing is copied; and without a keel_error first, as in keelpy_get. */
  keel_status status = keel_get_copy(txn, keyspace, key, key_size, NULL, 0, &size, NULL);
  if (status != KEEL_OK && status != KEEL_E_BUFFER_SIZE && status != KEEL_E_NOT_FOUND) {
    status = keel_get_copy(txn, keyspace, key, key_size, NULL, 0, &size, &err);
  }
  if (status == KEEL_OK || status == KEEL_E_BUFFER_SIZE) Py_RETURN_TRUE;
  if (status == KEEL_E_NOT_FOUND) Py_RETURN_FALSE;
  keelpy_raise(status, &err);
  return NULL;
}

/* Handles and key, the arguments that all calls here begin with. 0 or -1. */
static int keelpy_hot_arguments(const char *function, PyObject *const *arguments, Py_ssize_t count, Py_ssize_t wanted,
                                keel_txn *txn, keel_keyspace *keyspace, keelpy_buffer *key) {
  if (count != wanted) {
    PyErr_Format(PyExc_TypeError, "%s expected %zd arguments, got %zd", function, wanted, count);
    return -1;
  }
  *txn = PyLong_AsUnsignedLongLong(arguments[0]);
  if (*txn == (keel_txn)-1 && PyErr_Occurred()) return -1;
  *keyspace = PyLong_AsUnsignedLongLong(arguments[1]);
  if (*keyspace == (keel_keyspace)-1 && PyErr_Occurred()) return -1;
  return keelpy_buffer_get(arguments[2], "key", key);
}

static PyObject *keelpy_hot_get(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
  keel_txn txn;
  keel_keyspace keyspace;
  keelpy_buffer key;
  (void)module;
  if (keelpy_hot_arguments("get", arguments, count, 3, &txn, &keyspace, &key) != 0) return NULL;
  PyObject *value = keelpy_hot_get_value(txn, keyspace, key.data, key.size);
  keelpy_buffer_release(&key);
  return value;
}

static PyObject *keelpy_hot_contains(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
  keel_txn txn;
  keel_keyspace keyspace;
  keelpy_buffer key;
  (void)module;
  if (keelpy_hot_arguments("contains", arguments, count, 3, &txn, &keyspace, &key) != 0) return NULL;
  PyObject *found = keelpy_hot_has_value(txn, keyspace, key.data, key.size);
  keelpy_buffer_release(&key);
  return found;
}

static PyObject *keelpy_hot_put(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
  keel_txn txn;
  keel_keyspace keyspace;
  keelpy_buffer key, value;
  keel_error err;
  keel_status status;
  (void)module;
  if (keelpy_hot_arguments("put", arguments, count, 4, &txn, &keyspace, &key) != 0) return NULL;
  if (keelpy_buffer_get(arguments[3], "value", &value) != 0) {
    keelpy_buffer_release(&key);
    return NULL;
  }
  err.message[0] = '\0';
  err.system_errno = 0;
  status = keel_put(txn, keyspace, key.data, key.size, value.data, value.size, &err);
  keelpy_buffer_release(&value);
  keelpy_buffer_release(&key);
  if (status == KEEL_OK) Py_RETURN_NONE;
  keelpy_raise(status, &err);
  return NULL;
}

/* A PyMethodDef holds every convention as a PyCFunction; the flag tells which one it is. */
#define KEELPY_HOT(name, function) \
  { name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL }

int keelpy_hot_init(PyObject *module) {
  static PyMethodDef methods[] = {
      KEELPY_HOT("get", keelpy_hot_get),
      KEELPY_HOT("contains", keelpy_hot_contains),
      KEELPY_HOT("put", keelpy_hot_put),
      {NULL, NULL, 0, NULL},
  };
  return PyModule_AddFunctions(module, methods);
}
