/* capi/packed.h: many rows in one buffer, as keel_write_batch and keel_load_batch take them: for each u8 operation, 3 zero
 * bytes, u32 key size, u32 value size, key, value; little-endian. */
#ifndef KEEL_CAPI_PACKED_H
#define KEEL_CAPI_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/db/db.h"

typedef struct capi_packed_entry {
  uint8_t operation;
  kl_slice key, value;
} capi_packed_entry;

/* Reads the entry at *offset and moves on. Checks every byte before it is used; `index` is for messages. */
kl_status capi_packed_next(const unsigned char *ops, size_t ops_size, uint64_t index, size_t *offset,
                           capi_packed_entry *out, kl_error *err);
/* All of them: KL_E_LIMIT, KL_E_INVALID, KL_E_KEY_SIZE, KL_E_VALUE_SIZE. */
kl_status capi_packed_check(const unsigned char *ops, size_t ops_size, bool puts_only, kl_error *err);

#endif
