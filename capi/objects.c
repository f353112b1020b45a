/* capi/objects.c: see objects.h. */
#include "objects.h"

void *capi_object_new(size_t size, kl_status (*destroy)(capi_object *self, kl_error *err), kl_error *err) {
  capi_object *object = kl_alloc(kl_allocator_libc(), size);
  if (object == NULL) {
    (void)kl_fail(err, KL_E_NO_MEMORY, "no memory for a handle; free some and try again");
    return NULL;
  }
  object->destroy = destroy;
  return object;
}

void capi_object_free(void *object, size_t size) {
  kl_free(kl_allocator_libc(), object, size);
}

kl_status capi_publish(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err) {
  kl_status status = capi_handle_new(kind, object, out_handle, err);
  if (status != KL_OK) (void)object->destroy(object, NULL);
  return status;
}

/* Finds `handle` among the lent pins of the transaction, or pins it and lends it in place of another. */
static kl_status capi_objects_lend(capi_txn *txn, keel_keyspace handle, capi_keyspace **out_keyspace, kl_error *err) {
  capi_lent *lent = &txn->lent[capi_handle_slot(handle) % CAPI_LENT];
  if (lent->slot == NULL || lent->handle != handle || !capi_is_open(lent->slot, handle)) {
    capi_slot *slot;
    kl_status status = capi_enter_shared(CAPI_KEYSPACE, handle, &slot, err);
    if (status != KL_OK) return status;
    capi_keyspace *keyspace = capi_slot_object(slot);
    if (keyspace->engine != txn->engine) {
      capi_leave_shared(slot);
      return kl_fail(err, KL_E_HANDLE, "keyspace %llu belongs to another database than the transaction",
                     (unsigned long long)handle);
    }
    if (lent->slot != NULL) capi_leave_shared(lent->slot);
    lent->slot = slot;
    lent->handle = handle;
  }
  *out_keyspace = capi_slot_object(lent->slot);
  return KL_OK;
}

kl_status capi_scope_enter(keel_txn txn, keel_keyspace keyspace, capi_scope *out_scope, kl_error *err) {
  kl_status status = capi_enter_exclusive(CAPI_TXN, txn, &out_scope->slot, err);
  if (status != KL_OK) return status;
  out_scope->txn = capi_slot_object(out_scope->slot);
  capi_keyspace *object = NULL;
  status = capi_objects_lend(out_scope->txn, keyspace, &object, err);
  if (status == KL_OK) status = kl_keyspace_check(object->keyspace, err);
  if (status != KL_OK) {
    capi_leave_exclusive(out_scope->slot);
    return status;
  }
  out_scope->keyspace = kl_keyspace_id(object->keyspace);
  return KL_OK;
}

kl_status capi_scope_enter_batch(keel_txn txn, keel_keyspace keyspace, keel_batch batch, capi_scope *out_scope,
                                 capi_slot **out_batch, kl_error *err) {
  kl_status status = capi_scope_enter(txn, keyspace, out_scope, err);
  if (status != KL_OK) return status;
  status = capi_enter_exclusive(CAPI_BATCH, batch, out_batch, err);
  if (status != KL_OK) capi_scope_leave(out_scope);
  return status;
}
