/* core/store/superblock.h: the bytes of a superblock. Private to core/store; the table of offsets is in docs/format.md,
 * and a test checks it against what these functions write. */
#ifndef KL_STORE_SUPERBLOCK_H
#define KL_STORE_SUPERBLOCK_H

#include "store.h"

enum { STORE_VERSION = 1, STORE_FLAG_LOG_NEEDED = 1 };

/* A child pointer as in the tree: where a block lies, how long it is stored, its checksum, and the version that wrote
 * it. All zero: there is none. */
typedef struct store_pointer {
  uint64_t address;
  uint32_t length;
  uint32_t checksum;
  uint64_t birth;
} store_pointer;

typedef struct store_superblock {
  uint32_t version;
  uint32_t features_compatible;   /* unknown bits: read and write all the same */
  uint32_t features_read_only;    /* unknown bits: read only */
  uint32_t features_incompatible; /* unknown bits: do not open */
  uint8_t database_id[KL_DATABASE_ID_SIZE];
  kl_checkpoint checkpoint;
  uint64_t created_ns;
  uint32_t page_size;
  store_pointer catalogue; /* root of the tree of the catalogue; zero until there are trees */
  store_pointer space_map; /* root of the map of free space; likewise */
  uint64_t blocks_end;     /* first byte of the file that holds nothing; 0: right behind the superblocks */
} store_superblock;

void store_superblock_encode(const store_superblock *superblock, uint8_t out[KL_SUPERBLOCK_SIZE]);
/* `slot`: where it was read; a superblock counts only in its own slot. KL_OK; KL_E_FORMAT: none; KL_E_CORRUPT: a
 * damaged one; KL_E_VERSION: an intact one of a newer format. */
kl_status store_superblock_decode(const uint8_t bytes[KL_SUPERBLOCK_SIZE], uint32_t slot, store_superblock *out);

#endif
