/* core/os/sim/sim_image.c: sparse, copy-on-write contents. See sim_private.h. */
#include <string.h>

#include "sim_private.h"

struct kl_sim_block {
  atomic_uint references; /* more than one: shared with another image, so not to be written */
  unsigned char bytes[KL_SIM_BLOCK];
};

/* Stands for every block that has space and holds zeros: logs are prewritten with them. Never written, never freed. */
static kl_sim_block sim_zero_block;
static const unsigned char sim_zero_bytes[KL_SIM_BLOCK];

static kl_sim_block *sim_block_share(kl_sim_block *block) {
  if (block != NULL && block != &sim_zero_block) atomic_fetch_add(&block->references, 1);
  return block;
}

static void sim_block_release(kl_sim_block *block) {
  if (block == NULL || block == &sim_zero_block) return;
  if (atomic_fetch_sub(&block->references, 1) == 1) kl_free(kl_allocator_libc(), block, sizeof *block);
}

/* The block in the slot, as one that may be written. */
static kl_sim_block *sim_block_own(kl_sim_block **slot) {
  kl_sim_block *old = *slot;
  if (old != NULL && old != &sim_zero_block && atomic_load(&old->references) == 1) return old;
  kl_sim_block *fresh = kl_alloc(kl_allocator_libc(), sizeof *fresh);
  if (fresh == NULL) return NULL;
  atomic_init(&fresh->references, 1);
  if (old != NULL) memcpy(fresh->bytes, old->bytes, KL_SIM_BLOCK);
  sim_block_release(old);
  *slot = fresh;
  return fresh;
}

static bool sim_image_extend(kl_sim_image *image, uint64_t end) {
  size_t need = (size_t)((end + KL_SIM_BLOCK - 1) / KL_SIM_BLOCK);
  if (need <= image->count) return true;
  size_t count = image->count * 2 > need ? image->count * 2 : need;
  kl_sim_block **grown =
      kl_realloc(kl_allocator_libc(), image->blocks, image->count * sizeof *grown, count * sizeof *grown);
  if (grown == NULL) return false;
  image->blocks = grown;
  image->count = count;
  return true;
}

/* The part of block `index` that lies in [offset, end). */
typedef struct sim_image_piece {
  size_t index, start, size;
} sim_image_piece;

static sim_image_piece sim_image_piece_at(uint64_t offset, uint64_t end) {
  sim_image_piece piece = {(size_t)(offset / KL_SIM_BLOCK), (size_t)(offset % KL_SIM_BLOCK), 0};
  uint64_t left = end - offset;
  piece.size = left < KL_SIM_BLOCK - piece.start ? (size_t)left : KL_SIM_BLOCK - piece.start;
  return piece;
}

static const unsigned char *sim_image_block(const kl_sim_image *image, size_t index) {
  return index < image->count && image->blocks[index] != NULL ? image->blocks[index]->bytes : sim_zero_bytes;
}

size_t kl_sim_image_read(const kl_sim_image *image, uint64_t offset, void *out, size_t size) {
  unsigned char *to = out;
  if (offset >= image->size) return 0;
  uint64_t end = size < image->size - offset ? offset + size : image->size;
  for (uint64_t at = offset; at < end;) {
    sim_image_piece piece = sim_image_piece_at(at, end);
    memcpy(to + (at - offset), sim_image_block(image, piece.index) + piece.start, piece.size);
    at += piece.size;
  }
  return (size_t)(end - offset);
}

static bool sim_image_write_piece(kl_sim_image *image, sim_image_piece piece, const unsigned char *bytes) {
  kl_sim_block **slot = &image->blocks[piece.index];
  if (memcmp(bytes, sim_zero_bytes, piece.size) == 0) {
    if (piece.size == KL_SIM_BLOCK) {
      sim_block_release(*slot);
      *slot = &sim_zero_block;
    } else if (*slot == NULL) {
      *slot = &sim_zero_block;
    }
    if (*slot == &sim_zero_block) return true;
  }
  kl_sim_block *block = sim_block_own(slot);
  if (block == NULL) return false;
  memcpy(block->bytes + piece.start, bytes, piece.size);
  return true;
}

bool kl_sim_image_write(kl_sim_image *image, uint64_t offset, const void *bytes, uint64_t size) {
  uint64_t end = offset + size;
  if (!sim_image_extend(image, end)) return false;
  for (uint64_t at = offset; at < end;) {
    sim_image_piece piece = sim_image_piece_at(at, end);
    const unsigned char *from = bytes == NULL ? sim_zero_bytes : (const unsigned char *)bytes + (at - offset);
    if (!sim_image_write_piece(image, piece, from)) return false;
    at += piece.size;
  }
  return true;
}

bool kl_sim_image_copy(kl_sim_image *to, const kl_sim_image *from, uint64_t offset, uint64_t size) {
  uint64_t end = offset + size;
  if (!sim_image_extend(to, end)) return false;
  for (uint64_t at = offset; at < end;) {
    sim_image_piece piece = sim_image_piece_at(at, end);
    if (!sim_image_write_piece(to, piece, sim_image_block(from, piece.index) + piece.start)) return false;
    at += piece.size;
  }
  return true;
}

bool kl_sim_image_reserve(kl_sim_image *image, uint64_t offset, uint64_t size) {
  if (size == 0) return true;
  uint64_t end = offset + size;
  if (!sim_image_extend(image, end)) return false;
  for (size_t i = (size_t)(offset / KL_SIM_BLOCK); i <= (size_t)((end - 1) / KL_SIM_BLOCK); i++) {
    if (image->blocks[i] == NULL) image->blocks[i] = &sim_zero_block;
  }
  return true;
}

uint64_t kl_sim_image_first_hole(const kl_sim_image *image, uint64_t offset, uint64_t end) {
  for (uint64_t at = offset; at < end;) {
    sim_image_piece piece = sim_image_piece_at(at, end);
    if (piece.index >= image->count || image->blocks[piece.index] == NULL) return at;
    at += piece.size;
  }
  return end;
}

bool kl_sim_image_cut(kl_sim_image *image) {
  size_t keep = (size_t)((image->size + KL_SIM_BLOCK - 1) / KL_SIM_BLOCK);
  size_t tail = (size_t)(image->size % KL_SIM_BLOCK);
  for (size_t i = keep; i < image->count; i++) {
    sim_block_release(image->blocks[i]);
    image->blocks[i] = NULL;
  }
  if (tail == 0 || keep > image->count) return true;
  kl_sim_block **slot = &image->blocks[keep - 1];
  if (*slot == NULL || memcmp((*slot)->bytes + tail, sim_zero_bytes, KL_SIM_BLOCK - tail) == 0) return true;
  kl_sim_block *block = sim_block_own(slot);
  if (block == NULL) return false;
  memset(block->bytes + tail, 0, KL_SIM_BLOCK - tail);
  return true;
}

bool kl_sim_image_resize(kl_sim_image *image, uint64_t size) {
  bool shrinks = size < image->size;
  image->size = size;
  return !shrinks || kl_sim_image_cut(image);
}

bool kl_sim_image_clone(const kl_sim_image *from, kl_sim_image *to) {
  kl_sim_image clone = {NULL, 0, from->size};
  size_t used = from->count;
  while (used > 0 && from->blocks[used - 1] == NULL) used--;
  if (used > 0) {
    clone.blocks = kl_alloc(kl_allocator_libc(), used * sizeof *clone.blocks);
    if (clone.blocks == NULL) return false;
    clone.count = used;
    for (size_t i = 0; i < used; i++) clone.blocks[i] = sim_block_share(from->blocks[i]);
  }
  *to = clone;
  return true;
}

void kl_sim_image_free(kl_sim_image *image) {
  for (size_t i = 0; i < image->count; i++) sim_block_release(image->blocks[i]);
  kl_free(kl_allocator_libc(), image->blocks, image->count * sizeof *image->blocks);
  *image = (kl_sim_image){NULL, 0, 0};
}
