/* core/base/status_names.c: names and classes of the status codes.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`. */
#include <stddef.h>

#include "status.h"

typedef struct status_names_entry {
  kl_status code;
  int32_t retryable;
  const char *name;
  const char *class_name;
} status_names_entry;

static const status_names_entry status_names_table[] = {
    {KL_OK, 0, "ok", "ok"},
    {KL_E_INVALID, 0, "invalid", "usage"},
    {KL_E_HANDLE, 0, "handle", "usage"},
    {KL_E_FINISHED, 0, "finished", "usage"},
    {KL_E_READ_ONLY, 0, "read_only", "usage"},
    {KL_E_KEY_SIZE, 0, "key_size", "usage"},
    {KL_E_VALUE_SIZE, 0, "value_size", "usage"},
    {KL_E_BUFFER_SIZE, 0, "buffer_size", "usage"},
    {KL_E_CONCURRENT_USE, 0, "concurrent_use", "usage"},
    {KL_E_FORKED, 0, "forked", "usage"},
    {KL_E_CLOSED, 0, "closed", "usage"},
    {KL_E_UNSUPPORTED, 0, "unsupported", "usage"},
    {KL_E_NOT_FOUND, 0, "not_found", "not_found"},
    {KL_E_KEYSPACE_NOT_FOUND, 0, "keyspace_not_found", "not_found"},
    {KL_E_NO_FILE, 0, "no_file", "not_found"},
    {KL_E_EXISTS, 0, "exists", "not_found"},
    {KL_E_CONFLICT, 1, "conflict", "conflict"},
    {KL_E_DEADLOCK, 1, "deadlock", "conflict"},
    {KL_E_SNAPSHOT_TOO_OLD, 1, "snapshot_too_old", "conflict"},
    {KL_E_COMMIT_UNKNOWN, 0, "commit_unknown", "conflict"},
    {KL_E_LOCKED, 0, "locked", "busy"},
    {KL_E_TIMEOUT, 0, "timeout", "busy"},
    {KL_E_CANCELLED, 0, "cancelled", "busy"},
    {KL_E_IO, 0, "io", "io"},
    {KL_E_DISK_FULL, 0, "disk_full", "io"},
    {KL_E_PERMISSION, 0, "permission", "io"},
    {KL_E_READ_ONLY_MEDIA, 0, "read_only_media", "io"},
    {KL_E_NOT_A_FILE, 0, "not_a_file", "io"},
    {KL_E_POISONED, 0, "poisoned", "io"},
    {KL_E_CORRUPT, 0, "corrupt", "corrupt"},
    {KL_E_FORMAT, 0, "format", "corrupt"},
    {KL_E_VERSION, 0, "version", "corrupt"},
    {KL_E_NO_MEMORY, 0, "no_memory", "resource"},
    {KL_E_LIMIT, 0, "limit", "resource"},
    {KL_E_INTERNAL, 0, "internal", "internal"},
};

static const status_names_entry *status_names_find(kl_status code) {
  for (size_t i = 0; i < sizeof status_names_table / sizeof status_names_table[0]; i++) {
    if (status_names_table[i].code == code) return &status_names_table[i];
  }
  return NULL;
}

const char *kl_status_name(kl_status code) {
  const status_names_entry *entry = status_names_find(code);
  return entry != NULL ? entry->name : "unknown";
}

const char *kl_status_class(int32_t code) {
  const status_names_entry *entry = status_names_find(code);
  return entry != NULL ? entry->class_name : "unknown";
}

int32_t kl_status_is_retryable(int32_t code) {
  const status_names_entry *entry = status_names_find(code);
  return entry != NULL ? entry->retryable : 0;
}
