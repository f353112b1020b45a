/* core/base/status_codes.h: the status codes, and what is known about each.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`. */
#ifndef KL_BASE_STATUS_CODES_H
#define KL_BASE_STATUS_CODES_H

#include <stdint.h>

enum {
  /* ok: The call did what it says. */
  KL_OK = 0,
  /* usage: The program made a mistake; calling again in the same way fails in the same way. */
  KL_E_INVALID = -101,
  KL_E_HANDLE = -102,
  KL_E_FINISHED = -103,
  KL_E_READ_ONLY = -104,
  KL_E_KEY_SIZE = -105,
  KL_E_VALUE_SIZE = -106,
  KL_E_BUFFER_SIZE = -107,
  KL_E_CONCURRENT_USE = -108,
  KL_E_FORKED = -109,
  KL_E_CLOSED = -110,
  KL_E_UNSUPPORTED = -111,
  /* not_found: Something is absent (or present) that should not be; often an ordinary answer. */
  KL_E_NOT_FOUND = -201,
  KL_E_KEYSPACE_NOT_FOUND = -202,
  KL_E_NO_FILE = -203,
  KL_E_EXISTS = -204,
  /* conflict: The transaction lost against another one. */
  KL_E_CONFLICT = -301,
  KL_E_DEADLOCK = -302,
  KL_E_SNAPSHOT_TOO_OLD = -303,
  KL_E_COMMIT_UNKNOWN = -304,
  /* busy: Someone else is in the way; the same call may succeed later. */
  KL_E_LOCKED = -401,
  KL_E_TIMEOUT = -402,
  KL_E_CANCELLED = -403,
  /* io: The operating system refused or failed an operation on a file. */
  KL_E_IO = -501,
  KL_E_DISK_FULL = -502,
  KL_E_PERMISSION = -503,
  KL_E_READ_ONLY_MEDIA = -504,
  KL_E_NOT_A_FILE = -505,
  KL_E_POISONED = -506,
  /* corrupt: Bytes of a file are not what Keel wrote. */
  KL_E_CORRUPT = -601,
  KL_E_FORMAT = -602,
  KL_E_VERSION = -603,
  /* resource: Memory or another bound is used up. */
  KL_E_NO_MEMORY = -701,
  KL_E_LIMIT = -702,
  /* internal: A mistake in Keel. */
  KL_E_INTERNAL = -901
};

/* The class of a code, "not_found", "usage" ...; "unknown" for a code that does not exist. (kl_status_name: status.h.) */
const char *kl_status_class(int32_t code);

/* 1 when running the whole transaction again, on a new snapshot, is the right answer; 0 otherwise. */
int32_t kl_status_is_retryable(int32_t code);

#endif
