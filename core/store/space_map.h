/* core/store/space_map.h: the bytes of the space map. Private to core/store; byte table: docs/format.md, "Space map".
 *
 * The map is a tree of blocks: chunks (level 0), whose bits say which blocks of the file are in use, below index blocks
 * that count them. A chunk that would be all zero is not stored: its pointer is zero. Every block is written once, by
 * the checkpoint that allocated it. */
#ifndef KL_STORE_SPACE_MAP_H
#define KL_STORE_SPACE_MAP_H

#include "superblock.h"

enum {
  STORE_MAP_WORDS = 508,
  STORE_MAP_BITS = STORE_MAP_WORDS * 64, /* blocks that a chunk covers */
  STORE_MAP_FANOUT = 127,
  STORE_MAP_LEVELS = 7 /* a root is at most at level 6: more blocks than a file can have */
};

typedef struct store_map_child {
  kl_store_pointer pointer; /* zero: nothing below it is in use */
  uint64_t used;            /* blocks below it that are in use */
} store_map_child;

/* What a parent knows of a node. */
typedef struct store_map_place {
  uint32_t level;
  uint64_t number;
  uint64_t used;
} store_map_place;

/* A block of the map, decoded. Node number n of level l covers chunks n * 127^l and on. */
typedef struct store_map_node {
  uint32_t level;
  uint64_t number;
  uint64_t used;
  union {
    uint64_t bits[STORE_MAP_WORDS];          /* level 0: bit i is block number * STORE_MAP_BITS + i; 1: in use */
    store_map_child child[STORE_MAP_FANOUT]; /* others */
  } body;
} store_map_node;

/* What the checkpoint says that the map belongs to: no block behind it is in use, no pointer is younger. */
typedef struct store_map_bounds {
  uint64_t end_block;
  uint64_t sequence;
} store_map_bounds;

/* 127 ^ level: the chunks that a node of this level covers. */
uint64_t store_map_span(uint32_t level);
/* How many bits of the words are set. */
uint64_t store_map_count(const uint64_t *words);

void store_map_encode(const store_map_node *node, uint8_t out[KL_BLOCK_SIZE]);
/* Checks every byte that is relied on: what comes out names no block outside of the bounds, counts what it has, and has
 * the superblocks as used. KL_OK; KL_E_CORRUPT or KL_E_VERSION, and *out_wrong says in a few words what it is. */
kl_status store_map_decode(const uint8_t block[KL_BLOCK_SIZE], const store_map_bounds *bounds, store_map_node *out,
                           const char **out_wrong);

/* Reads, verifies and decodes the block that `pointer`, not zero, names. `expected`: its level, number and used as the
 * parent knows them; NULL: a root, whose level must cover the bounds. KL_E_CORRUPT,
 * KL_E_VERSION, KL_E_IO. */
kl_status store_map_read(kl_store *store, const kl_store_pointer *pointer, const store_map_bounds *bounds,
                         const store_map_place *expected, store_map_node *out, kl_error *err);

/* The bits of chunk `number` of the map below `root` (zero: an empty one). `known`: the chunk's pointer in another map;
 * when it is the same block here, nothing is read of it and *out_same is true. `scratch` is overwritten. */
kl_status store_map_chunk_of(kl_store *store, const kl_store_pointer *root, const store_map_bounds *bounds,
                             uint64_t number, const kl_store_pointer *known, bool *out_same, store_map_node *scratch,
                             kl_error *err);

static inline bool store_pointer_is_null(const kl_store_pointer *p) {
  return p->address == 0 && p->length == 0 && p->checksum == 0 && p->birth == 0;
}
static inline bool store_pointer_equal(const kl_store_pointer *a, const kl_store_pointer *b) {
  return a->address == b->address && a->length == b->length && a->checksum == b->checksum && a->birth == b->birth;
}

#endif
