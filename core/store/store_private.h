/* core/store/store_private.h: what the files of core/store share.
 *
 *   store.c        life: creating, opening, closing, questions
 *   ring.c         the ring of superblocks: reading, choosing, writing
 *   checkpoint.c   a checkpoint in progress: begin, allocate, free, abort, publish
 *   blocks.c       the bytes of blocks: reading, writing, growing and shrinking the file
 *   memory.c       the same in anonymous memory
 *   space.c        which blocks are free (space.h); space_tree.c its nodes; space_write.c writes them
 *   limbo.c        blocks that are freed and still needed
 *   space_map.c    the bytes of the space map
 *   space_walk.c   reading all of a space map */
#ifndef KL_STORE_STORE_PRIVATE_H
#define KL_STORE_STORE_PRIVATE_H

#include <stdatomic.h>

#include "../os/thread.h"
#include "space.h"
#include "superblock.h"

/* Anonymous memory in place of a file. */
typedef struct store_memory {
  uint8_t *base; /* address space; NULL: the store is a file */
  uint64_t reserved;
  uint64_t committed;        /* from the start on */
  _Atomic uint64_t readable; /* as `committed`, for readers */
} store_memory;

struct kl_store {
  kl_os *os;
  char *path;
  size_t path_size; /* with the terminator */
  kl_file *file;    /* NULL: a memory store */
  store_memory memory;
  bool read_only;
  /* Fixed once it is open, and so read without the lock. */
  bool fell_back;
  uint32_t page_size;
  uint8_t id[KL_DATABASE_ID_SIZE];
  uint64_t lost_sequence; /* of the damaged checkpoint, as far as it can be told */

  /* Of whoever makes checkpoints: one thread; between begin and publish several, and then what follows is read, and what
   * comes behind `making` is under it. */
  bool in_progress;
  uint64_t birth; /* of the checkpoint in progress */
  kl_mutex making;
  bool size_changed;   /* since the last sync of more than data */
  uint64_t file_bytes; /* length of the file; of memory: what may hold pages of the system */
  store_space space;

  kl_mutex lock; /* guards what follows; not held during input and output */
  store_superblock newest;
  store_superblock previous; /* what a recovery takes when the newest superblock is damaged */
  store_superblock before;   /* the last one with other roots: what it takes when the newest roots are */
  bool has_previous, has_before;
  bool poisoned;
  bool published; /* since it was opened */
  kl_store_space numbers;
};

/* -------- ring.c -------- */

kl_status store_ring_write(kl_store *store, const store_superblock *superblock, kl_error *err);
/* Reads and judges the ring, verifies the roots, and leaves the store with a newest checkpoint and its space. */
kl_status store_ring_load(kl_store *store, kl_error *err);
/* For a store that may write, once it is loaded: what it builds on is on stable storage (STORE-5, STORE-12). */
kl_status store_ring_confirm(kl_store *store, kl_error *err);

/* -------- checkpoint.c -------- */

/* Writes one superblock, syncs it; then it is the newest. */
kl_status store_checkpoint_seal(kl_store *store, const store_superblock *next, kl_error *err);
void store_checkpoint_count(kl_store *store); /* brings `numbers` up to date */

/* -------- blocks.c -------- */

/* The file has at least so many bytes. KL_E_DISK_FULL, KL_E_IO; KL_E_NO_MEMORY for a memory store. */
kl_status store_blocks_ensure(kl_store *store, uint64_t bytes, kl_error *err);
/* Cuts off what lies far behind the last block that anything needs; a failure leaves it there. */
void store_blocks_shrink(kl_store *store);
/* Cuts off all of it, before the file is closed. */
void store_blocks_cut(kl_store *store);
/* How much a file of this size grows or keeps at once. */
uint64_t store_blocks_step(uint64_t bytes);

/* -------- memory.c -------- */

kl_status store_memory_new(kl_store *store, kl_error *err);
void store_memory_free(kl_store *store);
kl_status store_memory_ensure(kl_store *store, uint64_t bytes, kl_error *err);
void store_memory_shrink(kl_store *store, uint64_t bytes);

static inline bool store_superblock_same_roots(const store_superblock *a, const store_superblock *b) {
  return store_pointer_equal(&a->space_map, &b->space_map) &&
         store_pointer_equal(&a->checkpoint.catalogue, &b->checkpoint.catalogue);
}

/* The end of a checkpoint's blocks and its number. */
static inline store_map_bounds store_superblock_bounds(const store_superblock *superblock) {
  uint64_t end = superblock->blocks_end / KL_BLOCK_SIZE;
  return (store_map_bounds){end > KL_SUPERBLOCKS ? end : KL_SUPERBLOCKS, superblock->checkpoint.sequence};
}

#endif
