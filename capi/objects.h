/* capi/objects.h: what is behind each kind of handle, and how a call gets inside several of them at once.
 *
 * Each object that belongs to a database holds a reference on the engine, so that any order of closing works. A
 * transaction also holds pins on the keyspaces that it used last ("lent pins"): the next call with the same keyspace
 * compares one number instead of changing a counter that all threads share. */
#ifndef CAPI_OBJECTS_H
#define CAPI_OBJECTS_H

#include "convert.h"
#include "handles.h"

typedef struct capi_db {
  capi_object object;
  kl_db *engine;
} capi_db;

typedef struct capi_keyspace {
  capi_object object;
  kl_db *engine;
  kl_keyspace *keyspace;
} capi_keyspace;

enum { CAPI_LENT = 4 };

typedef struct capi_lent {
  uint64_t handle;
  capi_slot *slot; /* pinned; NULL: unused */
} capi_lent;

typedef struct capi_txn {
  capi_object object;
  kl_db *engine;
  kl_txn *txn;
  capi_lent lent[CAPI_LENT]; /* by slot of the keyspace, modulo */
} capi_txn;

typedef struct capi_cursor {
  capi_object object;
  kl_db *engine;
  kl_cursor *cursor;
} capi_cursor;

typedef struct capi_view {
  capi_object object;
  kl_db *engine;
  kl_view *view;
} capi_view;

typedef struct capi_batch {
  capi_object object;
  kl_batch batch;
} capi_batch;

/* One of the two is not NULL. */
typedef struct capi_check {
  capi_object object;
  kl_db *engine; /* of a verification */
  kl_verify *verify;
  kl_salvage *salvage;
} capi_check;

typedef struct capi_load {
  capi_object object;
  kl_db *engine;
  kl_load *load;
} capi_load;

typedef struct capi_writer {
  capi_object object;
  kl_db *engine;
  kl_value_writer *writer;
} capi_writer;

/* An object of `size` bytes, zeroed, with its destructor. NULL: no memory, and err says so. */
void *capi_object_new(size_t size, kl_status (*destroy)(capi_object *self, kl_error *err), kl_error *err);
void capi_object_free(void *object, size_t size);

/* Inside a transaction and one of its keyspaces. The keyspace is known by its id from here on; KL_E_HANDLE when it
 * belongs to another database, KL_E_KEYSPACE_NOT_FOUND when it was dropped. */
typedef struct capi_scope {
  capi_slot *slot;
  capi_txn *txn;
  uint32_t keyspace;
} capi_scope;
kl_status capi_scope_enter(keel_txn txn, keel_keyspace keyspace, capi_scope *out_scope, kl_error *err);
static inline void capi_scope_leave(const capi_scope *scope) {
  capi_leave_exclusive(scope->slot);
}

/* As capi_scope_enter, and inside a batch. */
kl_status capi_scope_enter_batch(keel_txn txn, keel_keyspace keyspace, keel_batch batch, capi_scope *out_scope,
                                 capi_slot **out_batch, kl_error *err);

/* Gives a new view or cursor its handle; on failure `object` is destroyed. */
kl_status capi_publish(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err);

#endif
