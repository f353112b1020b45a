/* core/keyspace/record.h: the bytes of the catalogue's records. Byte tables: docs/format.md, "Catalogue".
 *
 * Keyspace 0 holds five kinds of keys, told apart by their first byte:
 *   'n' name   -> the keyspace of that name
 *   'd' id     -> the mark that a keyspace was dropped (core/wal/commit_record.h, kl_drop_marker_encode)
 *   'm'        -> the id that the next keyspace gets
 *   'l' id     -> the keyspace belongs to a load that has not ended; its value is that of a name
 *                 (core/drain/tree_record.h, kl_load_record_key)
 *   'r' id     -> the root of a keyspace's tree: core/drain's alone (core/drain/tree_record.h)
 *
 * For core/keyspace, and for core/db, which verifies and salvages them. Decoding validates every byte: KL_E_CORRUPT, or KL_E_VERSION for what a newer version
 * wrote. */
#ifndef KL_KEYSPACE_RECORD_H
#define KL_KEYSPACE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"
#include "../drain/tree_record.h"
#include "keyspace.h"

enum {
  CATALOGUE_NAME_PREFIX = 'n',
  CATALOGUE_NEXT_ID_KEY = 'm',
  CATALOGUE_LOAD_PREFIX = KL_LOAD_RECORD_PREFIX,
  CATALOGUE_LOAD_KEY = KL_LOAD_RECORD_KEY,
  CATALOGUE_NAME_KEY_MAX = 1 + KL_KEYSPACE_NAME_MAX,
  CATALOGUE_RECORD_SIZE = 20,
  CATALOGUE_NEXT_ID_SIZE = 8,
  CATALOGUE_DROP_SIZE = 12
};

typedef struct catalogue_record {
  uint32_t id;         /* 1 ... */
  uint64_t created_ns; /* wall clock, since 1970 */
} catalogue_record;

void catalogue_record_encode(const catalogue_record *record, uint8_t out[CATALOGUE_RECORD_SIZE]);
kl_status catalogue_record_decode(kl_slice bytes, catalogue_record *out, kl_error *err);

void catalogue_next_id_encode(uint32_t next_id, uint8_t out[CATALOGUE_NEXT_ID_SIZE]);
kl_status catalogue_next_id_decode(kl_slice bytes, uint32_t *out_next_id, kl_error *err);

/* The value of a drop marker: when it was. Nothing reads it but people. */
void catalogue_drop_encode(uint64_t dropped_ns, uint8_t out[CATALOGUE_DROP_SIZE]);

/* Fills `out` with the catalogue key of a name and returns it as a slice. */
kl_slice catalogue_name_key(kl_slice name, uint8_t out[CATALOGUE_NAME_KEY_MAX]);
/* Fills `out` with the catalogue key of a load's keyspace and returns it as a slice. */
kl_slice catalogue_load_key(uint32_t id, uint8_t out[CATALOGUE_LOAD_KEY]);
/* The id; KL_E_CORRUPT. */
kl_status catalogue_load_key_decode(kl_slice key, uint32_t *out_id, kl_error *err);
/* KL_E_INVALID unless the name is 1 ... 255 bytes of well-formed UTF-8. */
kl_status catalogue_name_check(kl_slice name, kl_error *err);

#endif
