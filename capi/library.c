/* capi/library.c: version, features, statuses. */
#include <string.h>

#include "convert.h"

const char *keel_version(void) {
  return KEEL_VERSION;
}

uint32_t keel_version_number(void) {
  return KEEL_VERSION_NUMBER;
}

typedef struct capi_library_feature {
  const char *name;
  int32_t (*enabled)(void);
} capi_library_feature;

static int32_t capi_library_crc32c_hardware(void) {
  return kl_crc32c_is_hardware() != 0;
}
static int32_t capi_library_always(void) {
  return 1;
}
static int32_t capi_library_never(void) {
  return 0;
}

static const capi_library_feature capi_library_features[] = {
    {"crc32c_hardware", capi_library_crc32c_hardware},
    {"memory_database", capi_library_always},
    {"serializable", capi_library_never},
};

keel_status keel_feature(const char *name, int32_t *out_enabled, keel_error *err) {
  kl_error detail;
  size_t size;
  kl_status status = capi_text("name", name, 1, KEEL_MAX_LABEL_SIZE, &size, capi_detail(err, &detail));
  if (status == KL_OK && out_enabled == NULL) status = capi_null("out_enabled", capi_detail(err, &detail));
  if (status != KL_OK) return capi_report(status, &detail, err);
  for (size_t i = 0; i < sizeof capi_library_features / sizeof capi_library_features[0]; i++) {
    if (strcmp(capi_library_features[i].name, name) == 0) {
      *out_enabled = capi_library_features[i].enabled();
      return KEEL_OK;
    }
  }
  status = kl_fail(capi_detail(err, &detail), KL_E_INVALID, "Keel %s has no feature named \"%s\"", KEEL_VERSION, name);
  return capi_report(status, &detail, err);
}

const char *keel_status_name(keel_status status) {
  return kl_status_name(status);
}

const char *keel_status_class(keel_status status) {
  return kl_status_class(status);
}

int32_t keel_status_is_retryable(keel_status status) {
  return kl_status_is_retryable(status);
}
