/* core/store/ring.c: the ring of superblocks: reading it, choosing a checkpoint, making sure of it. See README.md. */
#include <inttypes.h>
#include <string.h>

#include "../base/crc32c.h"
#include "store_private.h"

#define STORE_RING_END_MOST (UINT64_C(1) << 62) /* bytes; more no file has */

kl_status store_ring_write(kl_store *store, const store_superblock *superblock, kl_error *err) {
  uint8_t block[KL_SUPERBLOCK_SIZE];
  store_superblock_encode(superblock, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  uint64_t slot = superblock->checkpoint.sequence % KL_SUPERBLOCKS;
  return kl_os_write(store->os, store->file, &part, 1, slot * KL_SUPERBLOCK_SIZE, err);
}

/* -------- reading -------- */

typedef enum store_ring_state { STORE_RING_INTACT, STORE_RING_EMPTY, STORE_RING_DAMAGED } store_ring_state;

/* What the ring of superblocks says, all slots together. */
typedef struct store_ring {
  store_ring_state state[KL_SUPERBLOCKS];
  uint64_t sequence[KL_SUPERBLOCKS];       /* of those that are intact, by slot */
  store_superblock intact[KL_SUPERBLOCKS]; /* the newest first */
  size_t count;
  bool newer_version, damaged, mixed;
} store_ring;

static void store_ring_add(store_ring *ring, const store_superblock *superblock) {
  size_t at = ring->count++, size = sizeof superblock->database_id;
  if (at > 0) ring->mixed |= memcmp(ring->intact[0].database_id, superblock->database_id, size) != 0;
  for (; at > 0 && ring->intact[at - 1].checkpoint.sequence < superblock->checkpoint.sequence; at--) {
    ring->intact[at] = ring->intact[at - 1];
  }
  ring->intact[at] = *superblock;
}

static kl_status store_ring_read(kl_store *store, store_ring *ring, kl_error *err) {
  static const uint8_t zeros[KL_SUPERBLOCK_SIZE];
  uint8_t block[KL_SUPERBLOCK_SIZE];
  store_superblock superblock = {0};
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    size_t got = 0;
    kl_status status =
        kl_os_read(store->os, store->file, block, sizeof block, (uint64_t)slot * sizeof block, &got, err);
    if (status != KL_OK) return status;
    if (got != sizeof block) {
      return kl_fail(err, KL_E_FORMAT, "'%s' is not a Keel database: it is shorter than the %d bytes that each has",
                     store->path, KL_SUPERBLOCKS * KL_SUPERBLOCK_SIZE);
    }
    status = store_superblock_decode(block, slot, &superblock);
    ring->newer_version |= status == KL_E_VERSION;
    ring->damaged |= status == KL_E_CORRUPT;
    bool empty = memcmp(block, zeros, sizeof block) == 0;
    ring->state[slot] = status == KL_OK ? STORE_RING_INTACT : empty ? STORE_RING_EMPTY : STORE_RING_DAMAGED;
    if (status != KL_OK) continue;
    ring->sequence[slot] = superblock.checkpoint.sequence;
    store_ring_add(ring, &superblock);
  }
  return KL_OK;
}

static kl_status store_ring_check_features(const kl_store *store, const store_superblock *superblock, kl_error *err) {
  if (superblock->features_incompatible == 0 && (superblock->features_read_only == 0 || store->read_only)) return KL_OK;
  return kl_fail(err, KL_E_VERSION,
                 "database '%s' uses features (%" PRIx32 ", %" PRIx32 ") of a newer Keel; use that%s", store->path,
                 superblock->features_incompatible, superblock->features_read_only,
                 superblock->features_incompatible == 0 ? ", or open it read-only" : "");
}

static kl_status store_ring_judge(const kl_store *store, const store_ring *ring, kl_error *err) {
  const char *path = store->path;
  /* A superblock of a newer version counts even beside older ones: it is later than all that this version can read. */
  if (ring->newer_version) {
    return kl_fail(err, KL_E_VERSION,
                   "database '%s' has a format that this version does not know (1 is known); use a"
                   " newer Keel",
                   path);
  }
  if (ring->count == 0 && ring->damaged) {
    return kl_fail(err, KL_E_CORRUPT, "database '%s': none of its %d superblocks is intact; restore from a backup",
                   path, KL_SUPERBLOCKS);
  }
  if (ring->count == 0) return kl_fail(err, KL_E_FORMAT, "'%s' is not a Keel database", path);
  if (ring->mixed) {
    return kl_fail(err, KL_E_CORRUPT, "database '%s' holds superblocks of two databases; restore from a backup", path);
  }
  return store_ring_check_features(store, &ring->intact[0], err);
}

/* Whether the slot behind the newest superblock's held a newer one that is damaged now: it is not intact, and a ring of
 * that age has been there already. A slot of zeros was mostly never written; but between neighbours it was. */
static bool store_ring_lost_newer(const store_ring *ring) {
  uint64_t newest = ring->intact[0].checkpoint.sequence;
  uint32_t next = (uint32_t)((newest + 1) % KL_SUPERBLOCKS);
  if (ring->state[next] != STORE_RING_EMPTY) return ring->state[next] == STORE_RING_DAMAGED;
  bool full = newest >= KL_SUPERBLOCKS;
  for (uint64_t back = 1; back <= 2; back++)
    full = full && ring->sequence[(newest - back) % KL_SUPERBLOCKS] == newest - back;
  return full;
}

/* The slots whose superblock is lost, as bits. One of zeros was mostly never written; but a ring whose other three
 * follow each other has been all the way round, for the first slots were written first. */
static uint32_t store_ring_damage(const store_ring *ring) {
  uint32_t lost = 0;
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    if (ring->state[slot] == STORE_RING_DAMAGED) lost |= 1U << slot;
    if (ring->state[slot] != STORE_RING_EMPTY || ring->count != KL_SUPERBLOCKS - 1) continue;
    uint64_t next = ring->sequence[(slot + 1) % KL_SUPERBLOCKS], newest = ring->intact[0].checkpoint.sequence;
    bool follow = newest >= KL_SUPERBLOCKS;
    for (uint64_t i = 1; i < KL_SUPERBLOCKS; i++) {
      uint64_t sequence = ring->sequence[(slot + i) % KL_SUPERBLOCKS];
      follow = follow && (sequence == next + i - 1 || sequence == next + i - 1 - KL_SUPERBLOCKS);
    }
    if (follow) lost |= 1U << slot;
  }
  return lost;
}

kl_status kl_store_check_ring(kl_store *store, uint32_t *out_lost, kl_error *err) {
  store_ring ring = {0};
  *out_lost = 0;
  if (kl_store_is_memory(store)) return KL_OK;
  kl_status status = store_ring_read(store, &ring, err);
  if (status == KL_OK) *out_lost = store_ring_damage(&ring);
  return status;
}

/* -------- choosing -------- */

static bool store_ring_geometry_valid(const kl_store *store, const store_superblock *superblock) {
  uint64_t end = superblock->blocks_end, first = (uint64_t)KL_SUPERBLOCKS * KL_BLOCK_SIZE;
  const kl_store_pointer *root = &superblock->checkpoint.catalogue;
  if (end != 0 && (end % KL_BLOCK_SIZE != 0 || end < first || end > store->file_bytes || end > STORE_RING_END_MOST)) {
    return false;
  }
  if (store_pointer_is_null(root)) return true;
  /* What is reached is in use: a map that has nothing would give it away. */
  return !store_pointer_is_null(&superblock->space_map) && root->address % KL_BLOCK_SIZE == 0 &&
         root->address >= first && root->address < end && root->length != 0 && root->length <= KL_PAGE_SIZE_MAX &&
         root->length <= end - root->address && root->birth <= superblock->checkpoint.sequence;
}

/* The root of the catalogue reads back. */
static kl_status store_ring_check_root(kl_store *store, const kl_store_pointer *root, kl_error *err) {
  if (store_pointer_is_null(root)) return KL_OK;
  uint8_t *bytes = kl_alloc(store->os->allocator, root->length);
  if (bytes == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to open database '%s'", store->path);
  kl_status status = kl_store_read(store, root->address, bytes, root->length, err);
  if (status == KL_OK && kl_crc32c(0, bytes, root->length) != root->checksum) {
    status = kl_fail(err, KL_E_CORRUPT,
                     "database '%s': the root of its catalogue, in the block at %" PRIu64
                     ", is damaged, and so is the checkpoint before; restore from a backup",
                     store->path, root->address);
  }
  kl_free(store->os->allocator, bytes, root->length);
  return status;
}

/* Takes the checkpoint of a superblock if its roots verify: KL_E_CORRUPT when they do not. */
static kl_status store_ring_take(kl_store *store, const store_superblock *superblock, const store_superblock *older,
                                 kl_error *err) {
  kl_status status = store_ring_check_features(store, superblock, err);
  if (status != KL_OK) return status;
  if (!store_ring_geometry_valid(store, superblock)) {
    return kl_fail(err, KL_E_CORRUPT,
                   "database '%s': its newest checkpoint ends at %" PRIu64 " in a file of %" PRIu64
                   " bytes, or has a root elsewhere; restore from a backup",
                   store->path, superblock->blocks_end, store->file_bytes);
  }
  status = store_ring_check_root(store, &superblock->checkpoint.catalogue, err);
  if (status != KL_OK) return status;
  status = store_space_open(&store->space, store, superblock, older, err);
  if (status != KL_OK) {
    store_space_close(&store->space);
    return status;
  }
  store->newest = *superblock;
  return KL_OK;
}

/* The newest one that is older than number `from` of the list and has other roots; NULL. */
static const store_superblock *store_ring_before(const kl_store *store, const store_ring *ring, size_t from) {
  for (size_t i = from + 1; i < ring->count; i++) {
    if (store_superblock_same_roots(&ring->intact[i], &ring->intact[from])) continue;
    return store_ring_geometry_valid(store, &ring->intact[i]) ? &ring->intact[i] : NULL;
  }
  return NULL;
}

kl_status store_ring_load(kl_store *store, kl_error *err) {
  store_ring ring = {0};
  kl_status status = store_ring_read(store, &ring, err);
  if (status == KL_OK) status = store_ring_judge(store, &ring, err);
  if (status == KL_OK) status = kl_os_size(store->os, store->file, &store->file_bytes, err);
  if (status != KL_OK) return status;
  const store_superblock *before = store_ring_before(store, &ring, 0);
  store->lost_sequence = ring.intact[0].checkpoint.sequence;
  status = store_ring_take(store, &ring.intact[0], before, err);
  if (status == KL_OK) {
    store->fell_back = store_ring_lost_newer(&ring);
    store->lost_sequence++;
    store->has_previous = ring.count > 1;
    if (store->has_previous) store->previous = ring.intact[1];
    store->has_before = before != NULL;
    if (before != NULL) store->before = *before;
    return KL_OK;
  }
  /* Nothing of the checkpoint before was given back yet; of those before that it was (STORE-9). */
  if (status != KL_E_CORRUPT || before == NULL || store_ring_take(store, before, NULL, NULL) != KL_OK) return status;
  store->fell_back = true;
  return KL_OK;
}

/* -------- making sure -------- */

/* STORE-5: that a superblock can be read does not say that it is on stable storage, nor that a sync would put it there:
 * after a failed sync the kernel shows pages that it will not write again. So what was taken is published anew before
 * anything is built on it, in the next slot: the one that was read is not touched, and damage to both is needed to lose
 * it. The same goes for the names of the file and its log, which a creation may have left unsynced.
 * STORE-12: after a fall-back that is the slot of the damaged one, and the number is one that no checkpoint had: should
 * the damaged one become readable again, it is not there any more. */
kl_status store_ring_confirm(kl_store *store, kl_error *err) {
  store_superblock next = store->newest;
  next.checkpoint.sequence = store->fell_back ? store->lost_sequence + KL_SUPERBLOCKS : next.checkpoint.sequence + 1;
  store->size_number++; /* not known: what is seen may not be durable either */
  kl_status status = KL_OK;
  if (next.checkpoint.sequence <= STORE_SEQUENCE_MOST) { /* behind it nothing can be published any more */
    next.checkpoint.wall_ns = kl_os_wall_ns(store->os);
    status = store_checkpoint_seal(store, &next, err);
  }
  return status == KL_OK ? kl_os_sync_directory(store->os, store->path, err) : status;
}
