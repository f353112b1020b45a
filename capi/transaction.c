/* capi/transaction.c: begin, commit, roll back. */
#include <string.h>

#include "layout.gen.h"
#include "objects.h"

static kl_status capi_transaction_destroy(capi_object *self, kl_error *err) {
  capi_txn *object = (capi_txn *)self;
  for (size_t i = 0; i < CAPI_LENT; i++) {
    if (object->lent[i].slot != NULL) capi_leave_shared(object->lent[i].slot);
  }
  if (object->txn != NULL) kl_txn_release(object->txn);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_transaction_read_options(const keel_txn_options *in, kl_txn_options *out, kl_error *err) {
  keel_txn_options options;
  kl_status status =
      capi_read_struct("keel_txn_options", in, CAPI_TXN_OPTIONS_FIRST_SIZE, &options, sizeof options, err);
  if (status != KL_OK) return status;
  status = capi_check_flags("keel_txn_options.flags", options.flags, CAPI_TXN_FLAGS_ALL, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_txn_options.isolation", options.isolation, CAPI_ISOLATION_MAX, err);
  if (status != KL_OK) return status;
  status = capi_check_choice("keel_txn_options.durability", options.durability, CAPI_DURABILITY_MAX, err);
  if (status != KL_OK) return status;
  if (options.label != NULL) {
    size_t size;
    status = capi_text("keel_txn_options.label", options.label, 0, KEEL_MAX_LABEL_SIZE, &size, err);
    if (status != KL_OK) return status;
    if (!capi_is_utf8(options.label, size)) {
      return kl_fail(err, KL_E_INVALID, "keel_txn_options.label is not UTF-8; encode it");
    }
  }
  memset(out, 0, sizeof *out);
  out->read_only = (options.flags & KEEL_TXN_READ_ONLY) != 0;
  out->isolation = (kl_isolation)options.isolation;
  out->durability = (kl_durability)options.durability;
  out->label = options.label;
  return KL_OK;
}

static kl_status capi_transaction_begin_in(kl_db *engine, const kl_txn_options *options, keel_txn *out_txn,
                                           kl_error *err) {
  capi_txn *object = capi_object_new(sizeof *object, capi_transaction_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_db_ref(engine);
  object->engine = engine;
  kl_status status = kl_txn_begin(kl_db_txn_manager(engine), options, &object->txn, err);
  if (status != KL_OK) {
    object->txn = NULL;
    (void)capi_transaction_destroy(&object->object, NULL);
    return status;
  }
  return capi_publish(CAPI_TXN, &object->object, out_txn, err);
}

keel_status keel_begin(keel_db db, const keel_txn_options *options, keel_txn *out_txn, keel_error *err) {
  kl_error detail;
  kl_txn_options converted;
  capi_slot *slot;
  kl_status status = out_txn != NULL ? KL_OK : capi_null("out_txn", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_transaction_read_options(options, &converted, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  status = capi_transaction_begin_in(object->engine, &converted, out_txn, capi_detail(err, &detail));
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

/* The handle ends with the transaction, whatever the result, unless core/ says that it did not end. */
static void capi_transaction_end(capi_slot *slot, kl_status status) {
  if (status == KL_E_CONCURRENT_USE) {
    capi_leave_exclusive(slot);
  } else {
    /* The result is that of the commit; how the engine closed behind it, when this was its last use, changes nothing
     * about it. */
    (void)capi_end_exclusive(slot, NULL);
  }
}

keel_status keel_commit(keel_txn txn, uint64_t *out_timestamp, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(CAPI_TXN, txn, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_txn *object = capi_slot_object(slot);
  uint64_t timestamp = 0;
  status = kl_txn_commit(object->txn, &timestamp, capi_detail(err, &detail));
  capi_transaction_end(slot, status);
  if (status == KL_OK && out_timestamp != NULL) *out_timestamp = timestamp;
  return capi_report(status, &detail, err);
}

keel_status keel_rollback(keel_txn txn, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(CAPI_TXN, txn, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_txn *object = capi_slot_object(slot);
  status = kl_txn_rollback(object->txn, capi_detail(err, &detail));
  capi_transaction_end(slot, status);
  return capi_report(status, &detail, err);
}
