/* view.c: keel.View, a pinned value with the buffer protocol.
 *
 * The view holds a keel_view handle. What it shows stays valid until the handle is released, whatever happens to the
 * transaction and the database, so the address is asked for once and kept. The handle is released by release(), at
 * the end of a `with` block, or when the object goes. While a memoryview (or numpy array ...) still looks at it,
 * release() refuses with BufferError, as bytearray and mmap do; and such an exporter keeps the View alive, so
 * collection cannot pull the memory away.
 *
 * A view that is the last user of its engine closes it when it is released, which drains what is left into the file. So
 * the interpreter lock is let go meanwhile. */
#include <string.h>

#include "keelpy.h"

typedef struct keelpy_view {
  PyObject_HEAD keel_view handle; /* 0 once released */
  const void *data;
  size_t size;
  Py_ssize_t exports; /* buffers given out and not returned yet */
} keelpy_view;

static void keelpy_view_let_go(keel_view handle) {
  Py_BEGIN_ALLOW_THREADS;
  (void)keel_view_release(handle, NULL);
  Py_END_ALLOW_THREADS;
}

PyObject *keelpy_view_new(PyObject *module, keel_view handle) {
  keel_error err;
  const void *data = NULL;
  size_t size = 0;
  err.message[0] = '\0';
  err.system_errno = 0;
  keel_status status = keel_view_data(handle, &data, &size, &err);
  if (status != KEEL_OK) {
    keelpy_raise(status, &err);
    (void)keel_view_release(handle, NULL);
    return NULL;
  }
  PyObject *type = PyObject_GetAttrString(module, "View");
  keelpy_view *view = type != NULL ? (keelpy_view *)PyType_GenericAlloc((PyTypeObject *)type, 0) : NULL;
  Py_XDECREF(type);
  if (view == NULL) {
    (void)keel_view_release(handle, NULL);
    return NULL;
  }
  view->handle = handle;
  view->data = size != 0 ? data : "";
  view->size = size;
  return (PyObject *)view;
}

static void keelpy_view_dealloc(PyObject *self) {
  keelpy_view *view = (keelpy_view *)self;
  PyTypeObject *type = Py_TYPE(self);
  /* In a forked child this fails and touches nothing of the parent's, which is what we want. */
  if (view->handle != 0) keelpy_view_let_go(view->handle);
  PyObject_Free(self);
  Py_DECREF((PyObject *)type);
}

static int keelpy_view_check(keelpy_view *view) {
  if (view->handle != 0) return 0;
  PyErr_SetString(PyExc_ValueError, "the view has been released: take a new one with view()");
  return -1;
}

static PyObject *keelpy_view_release(PyObject *self, PyObject *Py_UNUSED(args)) {
  keelpy_view *view = (keelpy_view *)self;
  if (view->exports != 0) {
    PyErr_Format(PyExc_BufferError, "the view still has %zd exported buffers: release the memoryviews first",
                 view->exports);
    return NULL;
  }
  keel_view handle = view->handle;
  view->handle = 0;
  view->data = "";
  view->size = 0;
  if (handle != 0) keelpy_view_let_go(handle);
  Py_RETURN_NONE;
}

static PyObject *keelpy_view_enter(PyObject *self, PyObject *Py_UNUSED(args)) {
  if (keelpy_view_check((keelpy_view *)self) != 0) return NULL;
  return Py_NewRef(self);
}

static PyObject *keelpy_view_exit(PyObject *self, PyObject *Py_UNUSED(args)) {
  return keelpy_view_release(self, NULL);
}

static int keelpy_view_getbuffer(PyObject *self, Py_buffer *buffer, int flags) {
  keelpy_view *view = (keelpy_view *)self;
  if (keelpy_view_check(view) != 0) {
    buffer->obj = NULL;
    return -1;
  }
  /* The cast drops const for the struct's sake only: the buffer is filled in as read-only. */
  if (PyBuffer_FillInfo(buffer, self, (void *)(uintptr_t)view->data, (Py_ssize_t)view->size, 1, flags) != 0) return -1;
  view->exports++;
  return 0;
}

static void keelpy_view_releasebuffer(PyObject *self, Py_buffer *Py_UNUSED(buffer)) {
  ((keelpy_view *)self)->exports--;
}

static Py_ssize_t keelpy_view_length(PyObject *self) {
  if (keelpy_view_check((keelpy_view *)self) != 0) return -1;
  return (Py_ssize_t)((keelpy_view *)self)->size;
}

static PyObject *keelpy_view_bytes(PyObject *self, PyObject *Py_UNUSED(args)) {
  keelpy_view *view = (keelpy_view *)self;
  if (keelpy_view_check(view) != 0) return NULL;
  return PyBytes_FromStringAndSize(view->data, (Py_ssize_t)view->size);
}

static PyObject *keelpy_view_get_released(PyObject *self, void *Py_UNUSED(closure)) {
  return PyBool_FromLong(((keelpy_view *)self)->handle == 0);
}

static PyObject *keelpy_view_get_nbytes(PyObject *self, void *Py_UNUSED(closure)) {
  Py_ssize_t size = keelpy_view_length(self);
  return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *keelpy_view_repr(PyObject *self) {
  keelpy_view *view = (keelpy_view *)self;
  if (view->handle == 0) return PyUnicode_FromString("<keel.View released>");
  return PyUnicode_FromFormat("<keel.View of %zu bytes>", view->size);
}

static PyMethodDef keelpy_view_methods[] = {
    {"release", keelpy_view_release, METH_NOARGS,
     "release($self, /)\n--\n\nLet the value go. BufferError while a memoryview of it is alive; twice is harmless."},
    {"__enter__", keelpy_view_enter, METH_NOARGS, NULL},
    {"__exit__", keelpy_view_exit, METH_VARARGS, NULL},
    {"__bytes__", keelpy_view_bytes, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef keelpy_view_properties[] = {
    {"released", keelpy_view_get_released, NULL, "whether the value has been let go", NULL},
    {"nbytes", keelpy_view_get_nbytes, NULL, "size of the value in bytes", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int keelpy_view_init(PyObject *module) {
  static PyType_Slot slots[] = {
      {Py_tp_doc, (void *)(uintptr_t) "A pinned value: valid until released, whatever becomes of its transaction."},
      {Py_tp_dealloc, (void *)(uintptr_t)keelpy_view_dealloc},
      {Py_tp_repr, (void *)(uintptr_t)keelpy_view_repr},
      {Py_tp_methods, keelpy_view_methods},
      {Py_tp_getset, keelpy_view_properties},
      {Py_sq_length, (void *)(uintptr_t)keelpy_view_length},
      {Py_bf_getbuffer, (void *)(uintptr_t)keelpy_view_getbuffer},
      {Py_bf_releasebuffer, (void *)(uintptr_t)keelpy_view_releasebuffer},
      {0, NULL},
  };
  static PyType_Spec spec = {
      .name = "keel.View",
      .basicsize = (int)sizeof(keelpy_view),
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
      .slots = slots,
  };
  PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
  if (type == NULL) return -1;
  int result = PyModule_AddObjectRef(module, "View", type);
  Py_DECREF(type);
  return result;
}
