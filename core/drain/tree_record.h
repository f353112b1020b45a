/* core/drain/tree_record.h: the rows of the catalogue that the drain writes, and those that it reads. Byte tables:
 * docs/format.md, "Catalogue". For core/drain, and for core/db, which verifies and salvages them. */
#ifndef KL_DRAIN_TREE_RECORD_H
#define KL_DRAIN_TREE_RECORD_H

#include "../tree/tree.h"

enum { KL_TREE_RECORD_KEY = 5, KL_TREE_RECORD_SIZE = 40, KL_TREE_RECORD_PREFIX = 'r' };

typedef struct kl_tree_record {
  kl_tree_pointer root; /* not null: a keyspace without rows has no record */
  uint64_t rows;
} kl_tree_record;

void kl_tree_record_key(uint32_t keyspace, uint8_t out[KL_TREE_RECORD_KEY]);
void kl_tree_record_encode(const kl_tree_record *record, uint8_t out[KL_TREE_RECORD_SIZE]);
/* KL_E_CORRUPT, KL_E_VERSION. */
kl_status kl_tree_record_decode(kl_slice bytes, uint32_t keyspace, kl_tree_record *out, kl_error *err);

/* The catalogue's row of a keyspace that belongs to what has not ended, as a load. Its value is core/keyspace's. */
enum { KL_LOAD_RECORD_KEY = 5, KL_LOAD_RECORD_PREFIX = 'l' };
void kl_load_record_key(uint32_t keyspace, uint8_t out[KL_LOAD_RECORD_KEY]);

#endif
