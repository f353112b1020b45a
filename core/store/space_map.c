/* core/store/space_map.c: see space_map.h. Every multi-byte integer is little-endian. */
#include "space_map.h"

#include <inttypes.h>
#include <string.h>

#include "../base/crc32c.h"
#include "../base/endian.h"

static const uint8_t store_map_magic[4] = {'K', 'S', 'M', 0x1a};

enum {
  STORE_MAP_VERSION = 1,
  STORE_MAP_AT_VERSION = 4,
  STORE_MAP_AT_LEVEL = 5,
  STORE_MAP_AT_FLAGS = 6,
  STORE_MAP_AT_NUMBER = 8,
  STORE_MAP_AT_USED = 16,
  STORE_MAP_AT_BODY = 32,
  STORE_MAP_CHILD_SIZE = STORE_POINTER_SIZE + 8
};

uint64_t store_map_span(uint32_t level) {
  uint64_t span = 1;
  for (uint32_t i = 0; i < level; i++) span *= STORE_MAP_FANOUT;
  return span;
}

uint64_t store_map_count(const uint64_t *words) {
  uint64_t count = 0;
  for (size_t i = 0; i < STORE_MAP_WORDS; i++) count += (uint64_t)__builtin_popcountll(words[i]);
  return count;
}

void store_map_encode(const store_map_node *node, uint8_t out[KL_BLOCK_SIZE]) {
  memset(out, 0, KL_BLOCK_SIZE);
  memcpy(out, store_map_magic, sizeof store_map_magic);
  out[STORE_MAP_AT_VERSION] = STORE_MAP_VERSION;
  out[STORE_MAP_AT_LEVEL] = (uint8_t)node->level;
  kl_store_u64_le(out + STORE_MAP_AT_NUMBER, node->number);
  kl_store_u64_le(out + STORE_MAP_AT_USED, node->used);
  uint8_t *body = out + STORE_MAP_AT_BODY;
  if (node->level == 0) {
    for (size_t i = 0; i < STORE_MAP_WORDS; i++) kl_store_u64_le(body + 8 * i, node->body.bits[i]);
    return;
  }
  for (size_t i = 0; i < STORE_MAP_FANOUT; i++) {
    store_pointer_encode(&node->body.child[i].pointer, body + STORE_MAP_CHILD_SIZE * i);
    kl_store_u64_le(body + STORE_MAP_CHILD_SIZE * i + STORE_POINTER_SIZE, node->body.child[i].used);
  }
}

static bool store_map_pointer_valid(const kl_store_pointer *pointer, const store_map_bounds *bounds) {
  uint64_t block = pointer->address / KL_BLOCK_SIZE;
  return pointer->address % KL_BLOCK_SIZE == 0 && block >= KL_SUPERBLOCKS && block < bounds->end_block &&
         pointer->length == KL_BLOCK_SIZE && pointer->birth != 0 && pointer->birth <= bounds->sequence;
}

/* Returns what is wrong with the bits, or NULL. */
static const char *store_map_decode_bits(const uint8_t *body, const store_map_bounds *bounds, store_map_node *out) {
  uint64_t first = out->number * STORE_MAP_BITS;
  uint64_t inside = first >= bounds->end_block ? 0 : bounds->end_block - first; /* bits that may be set */
  for (size_t i = 0; i < STORE_MAP_WORDS; i++) {
    uint64_t word = kl_load_u64_le(body + 8 * i);
    uint64_t allowed = inside >= 64 * (i + 1) ? UINT64_MAX : inside <= 64 * i ? 0 : (UINT64_C(1) << (inside % 64)) - 1;
    if ((word & ~allowed) != 0) return "it has blocks in use behind the end of all blocks";
    out->body.bits[i] = word;
  }
  if (out->number == 0 && (out->body.bits[0] & 0xf) != 0xf) return "it has a superblock as free";
  return store_map_count(out->body.bits) == out->used ? NULL : "its count of used blocks is wrong";
}

static const char *store_map_decode_children(const uint8_t *body, const store_map_bounds *bounds, store_map_node *out) {
  uint64_t used = 0, most = store_map_span(out->level - 1) * STORE_MAP_BITS;
  for (size_t i = 0; i < STORE_MAP_FANOUT; i++) {
    store_map_child *child = &out->body.child[i];
    child->pointer = store_pointer_decode(body + STORE_MAP_CHILD_SIZE * i);
    child->used = kl_load_u64_le(body + STORE_MAP_CHILD_SIZE * i + STORE_POINTER_SIZE);
    bool absent = store_pointer_is_null(&child->pointer);
    if (absent && (child->used != 0 || (out->number == 0 && i == 0))) return "a part of it is missing";
    if (!absent && !store_map_pointer_valid(&child->pointer, bounds)) return "it has a pointer that cannot be";
    if (child->used > most) return "a count of used blocks is too high";
    used += child->used; /* at most 127^6 * 32512: no overflow */
  }
  return used == out->used ? NULL : "its count of used blocks is wrong";
}

kl_status store_map_decode(const uint8_t block[KL_BLOCK_SIZE], const store_map_bounds *bounds, store_map_node *out,
                           const char **out_wrong) {
  *out_wrong = "it is no block of a space map";
  if (memcmp(block, store_map_magic, sizeof store_map_magic) != 0) return KL_E_CORRUPT;
  *out_wrong = "it was written by a newer Keel; use that";
  if (block[STORE_MAP_AT_VERSION] != STORE_MAP_VERSION) return KL_E_VERSION;
  if (block[STORE_MAP_AT_FLAGS] != 0 || block[STORE_MAP_AT_FLAGS + 1] != 0) return KL_E_VERSION;
  out->level = block[STORE_MAP_AT_LEVEL];
  out->number = kl_load_u64_le(block + STORE_MAP_AT_NUMBER);
  out->used = kl_load_u64_le(block + STORE_MAP_AT_USED);
  *out_wrong = "its place in the map cannot be";
  if (out->level >= STORE_MAP_LEVELS) return KL_E_CORRUPT;
  uint64_t nodes = store_map_span(STORE_MAP_LEVELS - 1 - out->level); /* of this level in the largest map */
  if (out->number >= nodes) return KL_E_CORRUPT;
  const uint8_t *body = block + STORE_MAP_AT_BODY;
  *out_wrong =
      out->level == 0 ? store_map_decode_bits(body, bounds, out) : store_map_decode_children(body, bounds, out);
  return *out_wrong == NULL ? KL_OK : KL_E_CORRUPT;
}

static kl_status store_map_wrong(kl_store *store, const kl_store_pointer *pointer, kl_status status, const char *what,
                                 kl_error *err) {
  return kl_fail(err, status, "database '%s': the space map is damaged in the block at %" PRIu64 ": %s%s",
                 kl_store_path(store), pointer->address, what,
                 status == KL_E_CORRUPT ? "; copy the data out and restore from a backup" : "");
}

kl_status store_map_read(kl_store *store, const kl_store_pointer *pointer, const store_map_bounds *bounds,
                         const store_map_place *expected, store_map_node *out, kl_error *err) {
  uint8_t block[KL_BLOCK_SIZE];
  const char *wrong = "its address cannot be";
  if (!store_map_pointer_valid(pointer, bounds)) return store_map_wrong(store, pointer, KL_E_CORRUPT, wrong, err);
  kl_status status = kl_store_read(store, pointer->address, block, sizeof block, err);
  if (status != KL_OK) return status;
  wrong = "its checksum does not match";
  if (kl_crc32c(0, block, sizeof block) != pointer->checksum) {
    return store_map_wrong(store, pointer, KL_E_CORRUPT, wrong, err);
  }
  status = store_map_decode(block, bounds, out, &wrong);
  if (status != KL_OK) return store_map_wrong(store, pointer, status, wrong, err);
  bool fits = expected != NULL
                  ? out->level == expected->level && out->number == expected->number && out->used == expected->used
                  : out->number == 0 && store_map_span(out->level) * STORE_MAP_BITS >= bounds->end_block;
  wrong = "it is another part of the map than its parent says";
  return fits ? KL_OK : store_map_wrong(store, pointer, KL_E_CORRUPT, wrong, err);
}

kl_status store_map_chunk_of(kl_store *store, const kl_store_pointer *root, const store_map_bounds *bounds,
                             uint64_t number, const kl_store_pointer *known, bool *out_same, store_map_node *scratch,
                             kl_error *err) {
  kl_store_pointer pointer = *root;
  store_map_place expected;
  bool is_root = true;
  *out_same = false;
  for (;;) {
    if (store_pointer_equal(&pointer, known)) {
      *out_same = true; /* a block is written once: what hangs below it is equal, too */
      return KL_OK;
    }
    if (store_pointer_is_null(&pointer)) break;
    kl_status status = store_map_read(store, &pointer, bounds, is_root ? NULL : &expected, scratch, err);
    if (status != KL_OK) return status;
    if (scratch->level == 0 && scratch->number == number) return KL_OK;
    if (scratch->level == 0 || number / store_map_span(scratch->level) != scratch->number) break; /* not covered */
    uint64_t below = number / store_map_span(scratch->level - 1);
    store_map_child child = scratch->body.child[below % STORE_MAP_FANOUT];
    expected.level = scratch->level - 1;
    expected.number = below;
    expected.used = child.used;
    pointer = child.pointer;
    is_root = false;
  }
  memset(scratch, 0, sizeof *scratch);
  scratch->number = number;
  return KL_OK;
}
