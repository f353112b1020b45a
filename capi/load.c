/* capi/load.c: bulk loads. */
#include "layout.gen.h"
#include "objects.h"
#include "packed.h"

static kl_status capi_load_destroy(capi_object *self, kl_error *err) {
  capi_load *object = (capi_load *)self;
  kl_load_end(object->load);
  kl_status status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_load_begin_in(kl_db *engine, kl_slice name, const kl_load_options *options, keel_load *out_load,
                                    kl_error *err) {
  capi_load *object = capi_object_new(sizeof *object, capi_load_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_load_begin(engine, name, options, &object->load, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  kl_db_ref(engine);
  object->engine = engine;
  return capi_publish(CAPI_LOAD, &object->object, out_load, err);
}

static kl_status capi_load_begin(keel_db db, const char *name, size_t name_size, const keel_load_options *options,
                                 keel_load *out_load, kl_error *err) {
  kl_slice converted;
  keel_load_options known;
  capi_slot *slot;
  kl_status status = capi_name("name", name, name_size, KEEL_MAX_KEYSPACE_NAME_SIZE, &converted, err);
  if (status != KL_OK) return status;
  if (out_load == NULL) return capi_null("out_load", err);
  status = capi_read_struct("keel_load_options", options, CAPI_LOAD_OPTIONS_FIRST_SIZE, &known, sizeof known, err);
  if (status == KL_OK) status = capi_check_flags("keel_load_options.flags", known.flags, CAPI_LOAD_FLAGS_ALL, err);
  if (status == KL_OK) status = capi_enter_shared(CAPI_DB, db, &slot, err);
  if (status != KL_OK) return status;
  const capi_db *object = capi_slot_object(slot);
  kl_load_options asked = {.replace = (known.flags & KEEL_LOAD_REPLACE) != 0, .buffer_size = known.buffer_size};
  status = capi_load_begin_in(object->engine, converted, &asked, out_load, err);
  capi_leave_shared(slot);
  return status;
}

keel_status keel_load_begin(keel_db db, const char *name, size_t name_size, const keel_load_options *options,
                            keel_load *out_load, keel_error *err) {
  kl_error detail;
  kl_status status = capi_load_begin(db, name, name_size, options, out_load, capi_detail(err, &detail));
  return capi_report(status, &detail, err);
}

keel_status keel_load_put(keel_load load, const void *key, size_t key_size, const void *value, size_t value_size,
                          keel_error *err) {
  kl_error detail;
  kl_slice name, content;
  capi_slot *slot;
  kl_status status = capi_key("key", key, key_size, &name, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_value(value, value_size, &content, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_LOAD, load, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_load *object = capi_slot_object(slot);
  status = kl_load_put(object->load, name, content, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

static kl_status capi_load_take(kl_load *load, const unsigned char *ops, size_t ops_size, uint64_t *count,
                                kl_error *err) {
  kl_status status = KL_OK;
  capi_packed_entry entry;
  for (size_t offset = 0; offset < ops_size && status == KL_OK;) {
    status = capi_packed_next(ops, ops_size, *count, &offset, &entry, err);
    if (status == KL_OK) status = kl_load_put(load, entry.key, entry.value, err);
    *count += status == KL_OK;
  }
  return status;
}

keel_status keel_load_batch(keel_load load, const void *ops, size_t ops_size, uint64_t *out_count, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  uint64_t count = 0;
  kl_status status = capi_packed_check(ops, ops_size, true, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_LOAD, load, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    const capi_load *object = capi_slot_object(slot);
    status = capi_load_take(object->load, ops, ops_size, &count, capi_detail(err, &detail));
    capi_leave_exclusive(slot);
    if (out_count != NULL) *out_count = count; /* also when a row in between could not be written */
  }
  return capi_report(status, &detail, err);
}

keel_status keel_load_finish(keel_load load, keel_load_report *out_report, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_load_report report;
  kl_status status =
      capi_check_struct("out_report", out_report, CAPI_LOAD_REPORT_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_LOAD, load, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_load *object = capi_slot_object(slot);
  status = kl_load_finish(object->load, capi_detail(err, &detail));
  kl_load_get_report(object->load, &report);
  capi_leave_exclusive(slot);
  if (status == KL_OK) {
    keel_load_report result = KEEL_LOAD_REPORT_INIT;
    result.finished = report.finished;
    result.rows = report.rows;
    result.bytes = report.bytes;
    result.runs = report.runs;
    capi_write_struct(out_report, &result, sizeof result);
  }
  return capi_report(status, &detail, err);
}

keel_status keel_load_end(keel_load load, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_exclusive(CAPI_LOAD, load, capi_detail(err, &detail)), &detail, err);
}
