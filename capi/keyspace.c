/* capi/keyspace.c: opening, closing, dropping and listing keyspaces. */
#include "layout.gen.h"
#include "objects.h"

static kl_status capi_keyspace_destroy(capi_object *self, kl_error *err) {
  capi_keyspace *object = (capi_keyspace *)self;
  if (object->keyspace != NULL) kl_keyspace_release(object->keyspace);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_keyspace_open_in(kl_db *engine, kl_slice name, bool create, keel_keyspace *out_keyspace,
                                       kl_error *err) {
  capi_keyspace *object = capi_object_new(sizeof *object, capi_keyspace_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_db_ref(engine);
  object->engine = engine;
  kl_status status = kl_keyspace_open(kl_db_catalogue(engine), name, create, &object->keyspace, err);
  if (status != KL_OK) {
    object->keyspace = NULL;
    (void)capi_keyspace_destroy(&object->object, NULL);
    return status;
  }
  return capi_publish(CAPI_KEYSPACE, &object->object, out_keyspace, err);
}

static kl_status capi_keyspace_open(keel_db db, const char *name, size_t name_size,
                                    const keel_keyspace_options *options, keel_keyspace *out_keyspace, kl_error *err) {
  kl_slice converted;
  kl_status status = capi_name("name", name, name_size, KEEL_MAX_KEYSPACE_NAME_SIZE, &converted, err);
  if (status != KL_OK) return status;
  if (out_keyspace == NULL) return capi_null("out_keyspace", err);
  keel_keyspace_options known;
  status =
      capi_read_struct("keel_keyspace_options", options, CAPI_KEYSPACE_OPTIONS_FIRST_SIZE, &known, sizeof known, err);
  if (status != KL_OK) return status;
  status = capi_check_flags("keel_keyspace_options.flags", known.flags, CAPI_KEYSPACE_FLAGS_ALL, err);
  if (status != KL_OK) return status;
  capi_slot *slot;
  status = capi_enter_shared(CAPI_DB, db, &slot, err);
  if (status != KL_OK) return status;
  const capi_db *object = capi_slot_object(slot);
  bool create = (known.flags & KEEL_KEYSPACE_NO_CREATE) == 0;
  status = capi_keyspace_open_in(object->engine, converted, create, out_keyspace, err);
  capi_leave_shared(slot);
  return status;
}

keel_status keel_keyspace_open(keel_db db, const char *name, size_t name_size, const keel_keyspace_options *options,
                               keel_keyspace *out_keyspace, keel_error *err) {
  kl_error detail;
  kl_status status = capi_keyspace_open(db, name, name_size, options, out_keyspace, capi_detail(err, &detail));
  return capi_report(status, &detail, err);
}

keel_status keel_keyspace_close(keel_keyspace keyspace, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_shared(CAPI_KEYSPACE, keyspace, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_keyspace_drop(keel_db db, const char *name, size_t name_size, keel_error *err) {
  kl_error detail;
  kl_slice converted;
  capi_slot *slot;
  kl_status status =
      capi_name("name", name, name_size, KEEL_MAX_KEYSPACE_NAME_SIZE, &converted, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_db *object = capi_slot_object(slot);
  status = kl_keyspace_drop(kl_db_catalogue(object->engine), converted, capi_detail(err, &detail));
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_keyspace_list(keel_db db, keel_batch batch, keel_error *err) {
  kl_error detail;
  capi_slot *slot, *batch_slot;
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  status = capi_enter_exclusive(CAPI_BATCH, batch, &batch_slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_db *object = capi_slot_object(slot);
    capi_batch *rows = capi_slot_object(batch_slot);
    status = kl_keyspace_list(kl_db_catalogue(object->engine), &rows->batch, capi_detail(err, &detail));
    capi_leave_exclusive(batch_slot);
  }
  capi_leave_shared(slot);
  return capi_report(status, &detail, err);
}
