/* capi/check.c: verification and salvage. */
#include <string.h>

#include "layout.gen.h"
#include "objects.h"

_Static_assert((int)KEEL_CHECK_PROBLEMS == KL_CHECK_PROBLEMS && (int)KEEL_CHECK_TEXT_SIZE == KL_CHECK_TEXT,
               "the limits that are told are those in force");

static kl_status capi_check_destroy(capi_object *self, kl_error *err) {
  capi_check *object = (capi_check *)self;
  kl_status status = KL_OK;
  kl_verify_end(object->verify);
  kl_salvage_end(object->salvage);
  if (object->engine != NULL) status = kl_db_release(object->engine, err);
  capi_object_free(object, sizeof *object);
  return status;
}

static kl_status capi_check_verify(const capi_db *db, keel_check *out_check, kl_error *err) {
  capi_check *object = capi_object_new(sizeof *object, capi_check_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_verify_begin(db->engine, &object->verify, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  kl_db_ref(db->engine);
  object->engine = db->engine;
  return capi_publish(CAPI_CHECK, &object->object, out_check, err);
}

keel_status keel_verify_begin(keel_db db, keel_check *out_check, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  if (out_check == NULL) return capi_report(capi_null("out_check", capi_detail(err, &detail)), &detail, err);
  kl_status status = capi_enter_shared(CAPI_DB, db, &slot, capi_detail(err, &detail));
  if (status == KL_OK) {
    status = capi_check_verify(capi_slot_object(slot), out_check, capi_detail(err, &detail));
    capi_leave_shared(slot);
  }
  return capi_report(status, &detail, err);
}

static kl_status capi_check_salvage(const char *path, const char *new_path, keel_check *out_check, kl_error *err) {
  size_t size;
  kl_status status = capi_text("path", path, 1, KEEL_MAX_PATH_SIZE, &size, err);
  if (status == KL_OK) status = capi_text("new_path", new_path, 1, KEEL_MAX_PATH_SIZE, &size, err);
  if (status != KL_OK) return status;
  if (out_check == NULL) return capi_null("out_check", err);
  capi_check *object = capi_object_new(sizeof *object, capi_check_destroy, err);
  if (object == NULL) return KL_E_NO_MEMORY;
  status = kl_salvage_begin(kl_os_posix(), path, new_path, &object->salvage, err);
  if (status != KL_OK) {
    capi_object_free(object, sizeof *object);
    return status;
  }
  return capi_publish(CAPI_CHECK, &object->object, out_check, err);
}

keel_status keel_salvage_begin(const char *path, const char *new_path, keel_check *out_check, keel_error *err) {
  kl_error detail;
  return capi_report(capi_check_salvage(path, new_path, out_check, capi_detail(err, &detail)), &detail, err);
}

static void capi_check_convert(const kl_check_report *in, keel_check_report *out) {
  out->finished = in->finished;
  out->problems = in->problems;
  out->done_bytes = in->done_bytes;
  out->total_bytes = in->total_bytes;
  out->checkpoint = in->checkpoint;
  out->keyspaces = in->keyspaces;
  out->pages = in->pages;
  out->extents = in->extents;
  out->rows = in->rows;
  out->value_bytes = in->value_bytes;
  out->lost_pages = in->lost_pages;
  out->lost_extents = in->lost_extents;
  out->lost_rows = in->lost_rows;
  out->unreached_bytes = in->unreached_bytes;
  out->log_commits = in->log_commits;
}

keel_status keel_check_step(keel_check check, uint64_t max_bytes, keel_check_report *out_report, keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status =
      capi_check_struct("out_report", out_report, CAPI_CHECK_REPORT_FIRST_SIZE, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_CHECK, check, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_check *object = capi_slot_object(slot);
  kl_check_report report;
  if (object->verify != NULL) {
    status = kl_verify_step(object->verify, max_bytes, capi_detail(err, &detail));
    kl_verify_report(object->verify, &report);
  } else {
    status = kl_salvage_step(object->salvage, max_bytes, capi_detail(err, &detail));
    kl_salvage_report(object->salvage, &report);
  }
  capi_leave_exclusive(slot);
  if (status != KL_OK) return capi_report(status, &detail, err);
  keel_check_report result = KEEL_CHECK_REPORT_INIT;
  capi_check_convert(&report, &result);
  capi_write_struct(out_report, &result, sizeof result);
  return KEEL_OK;
}

/* The text of a problem, or as much of it as fits. */
static kl_status capi_check_copy_text(const char *text, char *buffer, size_t capacity, size_t *out_size,
                                      kl_error *err) {
  if (text == NULL) return kl_fail(err, KL_E_NOT_FOUND, "there is no such problem, or its text was not kept");
  size_t size = strlen(text);
  *out_size = size;
  if (capacity > 0) {
    size_t fits = size < capacity ? size : capacity - 1;
    memcpy(buffer, text, fits);
    buffer[fits] = '\0';
  }
  if (size < capacity) return KL_OK;
  return kl_fail(err, KL_E_BUFFER_SIZE, "the text has %zu bytes and a terminator; the buffer has %zu", size, capacity);
}

keel_status keel_check_problem(keel_check check, uint64_t index, void *buffer, size_t capacity, size_t *out_value_size,
                               keel_error *err) {
  kl_error detail;
  capi_slot *slot;
  kl_status status = KL_OK;
  if (out_value_size == NULL) status = capi_null("out_value_size", capi_detail(err, &detail));
  if (status == KL_OK) status = capi_buffer(buffer, capacity, capi_detail(err, &detail));
  if (status == KL_OK) status = capi_enter_exclusive(CAPI_CHECK, check, &slot, capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  const capi_check *object = capi_slot_object(slot);
  const char *text =
      object->verify != NULL ? kl_verify_problem(object->verify, index) : kl_salvage_problem(object->salvage, index);
  status = capi_check_copy_text(text, buffer, capacity, out_value_size, capi_detail(err, &detail));
  capi_leave_exclusive(slot);
  return capi_report(status, &detail, err);
}

keel_status keel_check_close(keel_check check, keel_error *err) {
  kl_error detail;
  return capi_report(capi_close_exclusive(CAPI_CHECK, check, capi_detail(err, &detail)), &detail, err);
}
