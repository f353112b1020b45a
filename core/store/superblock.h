/* core/store/superblock.h: the bytes of a superblock. For core/store, and for salvage (core/db); the table of offsets is in docs/format.md,
 * and a test checks it against what these functions write. */
#ifndef KL_STORE_SUPERBLOCK_H
#define KL_STORE_SUPERBLOCK_H

#include "store.h"

enum { STORE_VERSION = 1, STORE_FLAG_LOG_NEEDED = 1 };

/* The last sequence number. No database gets there; one that says so is a damaged or forged one. */
#define STORE_SEQUENCE_MOST ((uint64_t)INT64_MAX)

typedef struct store_superblock {
  uint32_t version;
  uint32_t features_compatible;   /* unknown bits: read and write all the same */
  uint32_t features_read_only;    /* unknown bits: read only */
  uint32_t features_incompatible; /* unknown bits: do not open */
  uint8_t database_id[KL_DATABASE_ID_SIZE];
  kl_checkpoint checkpoint; /* with the root of the catalogue */
  uint64_t created_ns;
  uint32_t page_size;
  kl_store_pointer space_map; /* root of the space map; zero: no block is in use */
  uint64_t blocks_end;        /* first byte of the file that holds nothing; 0: right behind the superblocks */
} store_superblock;

/* A child pointer as in docs/format.md: 24 bytes. */
enum { STORE_POINTER_SIZE = 24 };
void store_pointer_encode(const kl_store_pointer *pointer, uint8_t *out);
kl_store_pointer store_pointer_decode(const uint8_t *bytes);

void store_superblock_encode(const store_superblock *superblock, uint8_t out[KL_SUPERBLOCK_SIZE]);
/* `slot`: where it was read; a superblock counts only in its own slot. KL_OK; KL_E_FORMAT: none; KL_E_CORRUPT: a
 * damaged one; KL_E_VERSION: an intact one of a newer format. */
kl_status store_superblock_decode(const uint8_t bytes[KL_SUPERBLOCK_SIZE], uint32_t slot, store_superblock *out);

#endif
