/* Any bytes as a space map: opening, allocating, freeing, walking and publishing either works or fails with an answer.
 *
 * The image is a database with a map of an index block above two chunks. The input changes it: each four bytes name one
 * of the blocks (two bits: superblock, index, first and second chunk), an offset in it and a byte. Then the checksums
 * are made right from the bottom up, so that the changes reach what lies behind them; the last two bits of the first
 * byte keep that from two of the blocks. */
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/endian.h"
#include "core/os/sim/sim.h"
#include "core/store/store.h"
#include "fuzz.h"

enum { BLOCKS = 4, FIRST = 4, CHUNK_BLOCKS = 32512, END = CHUNK_BLOCKS + 100 };
enum { HEADER = 32, CHILD = 32, SPACE_MAP_AT = 120, BLOCKS_END_AT = 144 }; /* docs/format.md */
static const char path[] = "/data/fuzzed";

typedef struct space_image {
  uint8_t block[BLOCKS][KL_BLOCK_SIZE]; /* superblock, index, chunks; in slot 1 and blocks 4, 5, 6 of the file */
} space_image;

static void put_pointer(uint8_t *at, uint64_t block, const uint8_t *bytes) {
  kl_store_u64_le(at, block * KL_BLOCK_SIZE);
  kl_store_u32_le(at + 8, KL_BLOCK_SIZE);
  kl_store_u32_le(at + 12, kl_crc32c(0, bytes, KL_BLOCK_SIZE));
  kl_store_u64_le(at + 16, 1);
}

static void put_node(uint8_t *block, uint8_t level, uint64_t number, uint64_t used) {
  memcpy(block, "KSM\x1a\x01", 5);
  block[5] = level;
  kl_store_u64_le(block + 8, number);
  kl_store_u64_le(block + 16, used);
}

/* The superblock comes from the code itself. */
static void make_image(kl_sim *sim, space_image *image) {
  kl_store *store = NULL;
  kl_store_options options = {0};
  size_t got = 0;
  memset(image, 0, sizeof *image);
  FUZZ_CHECK(kl_store_create(kl_sim_os(sim), path, &options, &store, NULL) == KL_OK);
  kl_store_close(store);
  FUZZ_CHECK(kl_sim_peek(sim, path, KL_BLOCK_SIZE, image->block[0], KL_BLOCK_SIZE, &got) == KL_OK);
  kl_store_u64_le(image->block[0] + BLOCKS_END_AT, (uint64_t)END * KL_BLOCK_SIZE);
  put_node(image->block[2], 0, 0, 8); /* the superblocks, the map, and one block more */
  image->block[2][HEADER] = 0xff;
  put_node(image->block[3], 0, 1, 8);
  image->block[3][HEADER + 12] = 0xff;
  put_node(image->block[1], 1, 0, 16);
  put_pointer(image->block[1] + HEADER, FIRST + 1, image->block[2]);
  kl_store_u64_le(image->block[1] + HEADER + 24, 8);
  put_pointer(image->block[1] + HEADER + CHILD, FIRST + 2, image->block[3]);
  kl_store_u64_le(image->block[1] + HEADER + CHILD + 24, 8);
  put_pointer(image->block[0] + SPACE_MAP_AT, FIRST, image->block[1]);
}

static void change_image(space_image *image, const uint8_t *data, size_t size) {
  uint8_t keep = size > 0 ? data[0] : 0;
  for (size_t at = 1; at + 4 <= size; at += 4) {
    size_t offset = ((size_t)data[at + 1] << 8 | data[at + 2]) % KL_BLOCK_SIZE;
    image->block[data[at] % BLOCKS][offset] = data[at + 3];
  }
  for (size_t i = 0; i < 2; i++) {
    uint8_t *pointer = image->block[1] + HEADER + CHILD * i;
    if ((keep >> i & 1) == 0) kl_store_u32_le(pointer + 12, kl_crc32c(0, image->block[2 + i], KL_BLOCK_SIZE));
  }
  uint8_t *superblock = image->block[0];
  kl_store_u32_le(superblock + SPACE_MAP_AT + 12, kl_crc32c(0, image->block[1], KL_BLOCK_SIZE));
  kl_store_u32_le(superblock + KL_BLOCK_SIZE - 4, kl_crc32c(0, superblock, KL_BLOCK_SIZE - 4));
}

static kl_status visit(void *context, uint64_t address, uint64_t bytes, bool is_map, kl_error *err) {
  uint64_t *last = context;
  (void)err;
  FUZZ_CHECK(address >= *last && bytes > 0 && address % KL_BLOCK_SIZE == 0 && bytes % KL_BLOCK_SIZE == 0);
  FUZZ_CHECK(!is_map || bytes == KL_BLOCK_SIZE);
  *last = address + bytes;
  return KL_OK;
}

static bool is_answer(kl_status status) {
  return status == KL_OK || status == KL_E_CORRUPT || status == KL_E_VERSION || status == KL_E_LIMIT;
}

/* A checkpoint in what was opened. */
static void use_store(kl_store *store, const uint8_t *data, size_t size) {
  uint64_t last = 0, address = 0, mine[8] = {0};
  kl_checkpoint checkpoint;
  kl_store_checkpoint(store, &checkpoint);
  FUZZ_CHECK(is_answer(kl_store_walk_used(store, visit, &last, NULL)));
  FUZZ_CHECK(last <= (uint64_t)END * KL_BLOCK_SIZE);
  kl_status status = kl_store_begin(store, NULL, 0, NULL);
  FUZZ_CHECK(is_answer(status));
  if (status != KL_OK) return;
  for (size_t i = 0; i < 8 && status == KL_OK; i++) {
    status = kl_store_allocate(store, i % 3 == 0 ? 1 : (i + 1) * 9000, &address, NULL);
    FUZZ_CHECK(is_answer(status));
    if (status == KL_OK) mine[i] = address;
    for (size_t j = 0; j < i && status == KL_OK; j++) FUZZ_CHECK(mine[j] != address);
    FUZZ_CHECK(status != KL_OK || (address >= FIRST * KL_BLOCK_SIZE && address % KL_BLOCK_SIZE == 0));
  }
  for (size_t at = 1; at + 4 <= size && at < 40; at += 4) {
    uint64_t block = (uint64_t)data[at] << 8 | data[at + 1];
    FUZZ_CHECK(is_answer(kl_store_free(store, block * KL_BLOCK_SIZE, 1 + data[at + 2] * 500u, data[at + 3] % 3, NULL)));
  }
  FUZZ_CHECK(is_answer(kl_store_publish(store, &checkpoint, NULL)));
  last = 0;
  FUZZ_CHECK(is_answer(kl_store_walk_used(store, visit, &last, NULL)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static space_image image;
  static const uint8_t end[KL_BLOCK_SIZE];
  kl_sim *sim = NULL;
  kl_store *store = NULL;
  kl_store_options options = {0};
  FUZZ_CHECK(kl_sim_new(1, &sim, NULL) == KL_OK);
  make_image(sim, &image);
  change_image(&image, data, size);
  FUZZ_CHECK(kl_sim_poke(sim, path, KL_BLOCK_SIZE, image.block[0], KL_BLOCK_SIZE) == KL_OK);
  FUZZ_CHECK(kl_sim_poke(sim, path, FIRST * KL_BLOCK_SIZE, image.block[1], 3 * KL_BLOCK_SIZE) == KL_OK);
  FUZZ_CHECK(kl_sim_poke(sim, path, (uint64_t)(END - 1) * KL_BLOCK_SIZE, end, sizeof end) == KL_OK);
  for (int round = 0; round < 2; round++) {
    kl_status status = kl_store_open(kl_sim_os(sim), path, &options, &store, NULL);
    FUZZ_CHECK(is_answer(status) || status == KL_E_FORMAT);
    if (status != KL_OK) break;
    use_store(store, data, size);
    kl_store_close(store);
  }
  FUZZ_CHECK(kl_sim_live_bytes(sim) == 0);
  kl_sim_free(sim);
  return 0;
}
