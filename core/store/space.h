/* core/store/space.h: which blocks are free: the allocator. Private to core/store.
 *
 * The space map (space_map.h) in memory, loaded node by node as it is needed, and for each loaded chunk two bitmaps:
 * `used`, what the checkpoint in progress reaches, and `busy`, what may not be handed out: used, or in limbo. A chunk
 * that this checkpoint changes keeps its `used` of before in `base`, so that an abort can bring it back.
 *
 * Blocks can be `reserved`: busy, and used by nothing (kl_store_reserve). A checkpoint may `adopt` them: they are used,
 * and reserved still until it ends, so that an abort only has to forget that they were adopted (STORE-14).
 *
 * Invariants (README.md): STORE-8 (busy), STORE-10 the map describes itself, STORE-14 and 15 reservations.
 *
 * Thread rules: whoever holds the store's space_lock. */
#ifndef KL_STORE_SPACE_H
#define KL_STORE_SPACE_H

#include "limbo.h"
#include "space_map.h"

typedef struct store_space_node store_space_node;

/* What is known of a node: in its parent, or in the space for the root. */
typedef struct store_space_child {
  kl_store_pointer stored; /* on disk, in the newest checkpoint; zero: not there */
  uint64_t used;           /* blocks below it that are in use */
  uint64_t busy;           /* ... that may not be allocated; of what is not loaded, as `used` */
  store_space_node *node;  /* NULL: not loaded */
} store_space_child;

struct store_space_node {
  store_space_node *parent; /* NULL: the root */
  uint64_t number;
  uint32_t level;
  uint32_t slot; /* in the parent */
  bool dirty;    /* to be written by the checkpoint in progress; in the list of those */
  bool released; /* the block that it had is freed */
  bool placed;   /* has a new block: `next` */
  kl_store_pointer next;
};

typedef struct store_space_index {
  store_space_node node;
  store_space_child child[STORE_MAP_FANOUT];
} store_space_index;

/* Of a chunk with reserved blocks. */
typedef struct store_space_aside {
  uint64_t count; /* bits of `reserved` */
  uint64_t reserved[STORE_MAP_WORDS];
  uint64_t adopted[STORE_MAP_WORDS]; /* ... that the checkpoint in progress has taken */
} store_space_aside;

typedef struct store_space_chunk {
  store_space_node node;
  struct store_space_chunk *next_loaded;
  store_space_aside *aside; /* NULL: nothing of it is reserved */
  uint64_t used[STORE_MAP_WORDS], busy[STORE_MAP_WORDS];
  uint64_t base[STORE_MAP_WORDS]; /* of `used`, when dirty */
} store_space_chunk;

#define STORE_SPACE_NONE UINT64_MAX /* no block, no chunk */

enum { STORE_SPACE_RUN_CLASSES = 52 /* 2^50 blocks are the most */ };

typedef struct store_space {
  kl_store *store;
  store_space_child root;
  uint32_t level;            /* of the root */
  uint64_t frontier;         /* no block from here on is busy */
  uint64_t first_frontier;   /* as it was at begin */
  store_space_chunk *chunks; /* all that are loaded */
  size_t chunk_count, index_count, aside_count;
  uint64_t reserved; /* blocks */
  store_space_node **dirty;
  size_t dirty_count, dirty_capacity;
  store_limbo limbo;

  /* Of the newest checkpoint, for what is still to be loaded. */
  store_map_bounds bounds;
  /* The checkpoint before the one that was opened, until there is a newer one: what it uses may not be overwritten
   * (STORE-9). Its map is read along with the newest one's. */
  bool has_older;
  kl_store_pointer older_map;
  store_map_bounds older_bounds;

  /* Where to look for free blocks; anew for each checkpoint. */
  bool compacting;                                /* the first ones that are free, however scattered */
  uint64_t rove;                                  /* single blocks: the next one to look at */
  uint64_t threshold;                             /* ... in words of the bitmap with at least so many free */
  uint64_t run_rove[STORE_SPACE_RUN_CLASSES];     /* runs of up to 2^i blocks: there are none before */
  uint64_t reserve_rove[STORE_SPACE_RUN_CLASSES]; /* the same for what is reserved */
} store_space;

/* Takes on the map of an opened checkpoint: reads its root. `older`: the checkpoint before, or NULL. */
kl_status store_space_open(store_space *space, kl_store *store, const store_superblock *newest,
                           const store_superblock *older, kl_error *err);
void store_space_close(store_space *space);

/* Begins to search anew; and remembers where to go back to. */
void store_space_start(store_space *space);
/* From now on, until the checkpoint ends, the first free blocks of the file are taken. *out_end: all blocks that are
 * used have room before it, beside those in limbo there. What of the map lies behind it will move. */
kl_status store_space_compact(store_space *space, uint64_t *out_end, kl_error *err);
/* A run of blocks that are not busy, where one of `blocks` goes; as long as *most where those behind it are not busy
 * either, and *most becomes its length. `end` STORE_SPACE_NONE: grows the file when it must; otherwise the run lies before
 * that block (and *most is `blocks`), or KL_E_NOT_FOUND: there is none, and nothing has changed. */
kl_status store_space_allocate(store_space *space, uint64_t blocks, uint64_t *most, uint64_t end, uint64_t *out_block,
                               kl_error *err);
/* `death`: number of the checkpoint in progress. */
kl_status store_space_free(store_space *space, uint64_t block, uint64_t blocks, uint64_t birth, uint64_t death,
                           kl_error *err);
/* A run of blocks that are not busy, for a reservation: the first one, or the end of the file. Takes nothing. */
kl_status store_space_find_aside(store_space *space, uint64_t blocks, uint64_t *out_block, kl_error *err);
/* A file may grow by so many blocks: KL_E_LIMIT. */
kl_status store_space_check_size(const store_space *space, uint64_t blocks, kl_error *err);
/* The file reaches to block `end`, and the map covers it. The frontier is the caller's. */
kl_status store_space_grow(store_space *space, uint64_t end, kl_error *err);
/* All chunks of the run are loaded and dirty, so that its bits can be changed without failing. */
kl_status store_space_prepare(store_space *space, uint64_t block, uint64_t blocks, kl_error *err);
/* All of the run was allocated by the checkpoint in progress. No input or output. */
bool store_space_is_new(const store_space *space, uint64_t block, uint64_t blocks);
/* The blocks that the limbo has let go are no longer busy. Cannot fail: their chunk is loaded (STORE-8). */
void store_space_unbusy(void *space, uint64_t block, uint64_t blocks);
/* Everything as at store_space_start. */
void store_space_abort(store_space *space, uint64_t death);

/* Gives each node that the checkpoint changed a block of its own, and writes it. *out_root and *out_end_block are what
 * the superblock says then; as given, when nothing changed. */
kl_status store_space_write(store_space *space, uint64_t death, kl_store_pointer *out_root, uint64_t *out_end_block,
                            kl_error *err);
/* What store_space_write has written is durable, and the newest. */
void store_space_commit(store_space *space);
/* Only the newest checkpoint and the one before count now. `needed_end`: of those two. */
void store_space_trim(store_space *space, uint64_t needed_end);
uint64_t store_space_memory(const store_space *space);

/* -------- reserve.c: blocks that are kept for later -------- */

/* The checkpoint in progress uses a reserved run, all of it. On failure nothing has changed. */
kl_status store_space_adopt(store_space *space, uint64_t block, uint64_t blocks, kl_error *err);
/* Blocks of the chunk that were adopted and are free again stay busy: an abort makes them reserved. */
void store_space_keep_adopted(store_space_chunk *chunk, uint64_t from, uint64_t to);
/* The checkpoint in progress did not happen: what it adopted is reserved, and no more. The caller counts. */
void store_space_disown(store_space_chunk *chunk);
/* It happened: what it adopted is reserved no more. */
void store_space_settle_adopted(store_space *space, store_space_chunk *chunk);
uint64_t store_space_reserved_end(const store_space *space);                    /* first block behind; 0: none */
uint64_t store_space_reserved_before(const store_space *space, uint64_t block); /* blocks that lie before it */

/* -------- space_tree.c: the nodes in memory -------- */

static inline store_space_child *store_space_child_of(store_space *space, const store_space_node *node) {
  return node->parent == NULL ? &space->root : &((store_space_index *)node->parent)->child[node->slot];
}
/* Chunk `number`, loaded. KL_E_CORRUPT, KL_E_IO, KL_E_NO_MEMORY. The number is below what the root covers. */
kl_status store_space_load(store_space *space, uint64_t number, store_space_chunk **out, kl_error *err);
store_space_chunk *store_space_loaded(const store_space *space, uint64_t number); /* NULL: is not */
/* The first chunk from `number` on with at least `need` blocks that are not busy; STORE_SPACE_NONE. */
kl_status store_space_next_chunk(store_space *space, uint64_t number, uint64_t need, uint64_t *out, kl_error *err);
/* The last block that is used, for there is always one: the superblocks are. */
kl_status store_space_last_used(store_space *space, uint64_t *out_block, kl_error *err);
/* The checkpoint in progress writes each node anew that lies at or behind `end_block`. */
kl_status store_space_touch_behind(store_space *space, uint64_t end_block, kl_error *err);
kl_status store_space_cover(store_space *space, uint64_t end_block, kl_error *err);       /* more levels, if need be */
kl_status store_space_touch(store_space *space, store_space_chunk *chunk, kl_error *err); /* it and its path: dirty */
/* Adds to the counts of a chunk and of all above it; numbers below zero as their complement. */
void store_space_account(store_space *space, const store_space_chunk *chunk, uint64_t used, uint64_t busy);
void store_space_forget_chunks(store_space *space, size_t keep); /* clean ones without limbo, down to `keep` */
void store_space_forget_all(store_space *space);

#endif
