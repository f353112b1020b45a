/* capi/batch.c: batches: columns of rows that belong to no database. */
#include "layout.gen.h"
#include "objects.h"

static kl_status capi_batch_destroy(capi_object *self, kl_error *err) {
  (void)err;
  capi_batch *object = (capi_batch *)self;
  kl_batch_destroy(&object->batch);
  capi_object_free(object, sizeof *object);
  return KL_OK;
}

keel_status keel_batch_new(keel_batch *out_batch, keel_error *err) {
  kl_error detail;
  if (out_batch == NULL) return capi_report(capi_null("out_batch", capi_detail(err, &detail)), &detail, err);
  (void)kl_os_posix(); /* the first call begins to count forks, and a batch may be the first thing that is made */
  capi_batch *object = capi_object_new(sizeof *object, capi_batch_destroy, capi_detail(err, &detail));
  if (object == NULL) return capi_report(KL_E_NO_MEMORY, &detail, err);
  kl_batch_init(&object->batch, kl_allocator_libc());
  kl_status status = capi_publish(CAPI_BATCH, &object->object, out_batch, capi_detail(err, &detail));
  return capi_report(status, &detail, err);
}

keel_status keel_batch_free(keel_batch batch, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_exclusive(CAPI_BATCH, batch, capi_detail(err, &detail)), &detail, err);
}

keel_status keel_batch_data(keel_batch batch, keel_batch_view *out_view, keel_error *err) {
  static const uint64_t no_offsets[1] = {0};
  kl_error detail;
  capi_slot *slot;
  kl_status status = capi_check_struct("out_view", out_view, CAPI_BATCH_VIEW_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_BATCH, batch, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_batch *object = capi_slot_object(slot);
  const kl_batch *rows = &object->batch;
  keel_batch_view result = KEEL_BATCH_VIEW_INIT;
  result.count = rows->count;
  result.keys = rows->keys;
  result.key_offsets = rows->key_offsets != NULL ? rows->key_offsets : no_offsets;
  result.values = rows->values;
  result.value_offsets = rows->value_offsets != NULL ? rows->value_offsets : no_offsets;
  result.found = rows->count != 0 ? rows->found : NULL;
  capi_leave_exclusive(slot);
  capi_write_struct(out_view, &result, sizeof result);
  return KEEL_OK;
}
