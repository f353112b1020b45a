/* tests/unit/store/test_space_format.c: the space map lies on disk as docs/format.md says.
 *
 * The decoder below knows no offset but those that it reads from the document's tables. */
#include "core/base/endian.h"
#include "format_tables.h"
#include "space_model.h"

typedef struct map_reading {
  kl_sim *sim;
  uint64_t used;  /* blocks whose bits are set */
  uint64_t nodes; /* blocks of the map */
  uint64_t end;   /* blocks_end of the superblock, in blocks */
  uint8_t *bits;  /* of all blocks below `end`, as they were read */
} map_reading;

static void map_peek(kl_sim *sim, uint64_t address, uint8_t block[KL_BLOCK_SIZE]) {
  size_t got = 0;
  assert_int_equal(kl_sim_peek(sim, MODEL_PATH, address, block, KL_BLOCK_SIZE, &got), KL_OK);
  assert_int_equal(got, KL_BLOCK_SIZE);
}

static uint64_t map_power(uint64_t level) {
  uint64_t n = 1;
  while (level-- > 0) n *= 127;
  return n;
}

/* Reads the node that a child pointer names; returns its count of used blocks. */
static uint64_t map_read(map_reading *reading, const uint8_t *pointer, uint64_t level, uint64_t number) {
  static const char chunk[] = "Space map chunk", index[] = "Space map index block";
  const char *heading = level == 0 ? chunk : index;
  uint8_t block[KL_BLOCK_SIZE];
  uint64_t below = 0;
  assert_int_equal(format_number(pointer, "Child pointer", "length"), KL_BLOCK_SIZE);
  map_peek(reading->sim, format_number(pointer, "Child pointer", "address"), block);
  assert_int_equal(format_number(pointer, "Child pointer", "checksum"), format_crc(0, block, sizeof block));
  assert_memory_equal(block + format_row(heading, "magic").offset, "KSM\x1a", 4);
  assert_int_equal(format_number(block, heading, "version"), 1);
  assert_int_equal(format_number(block, heading, "flags"), 0);
  assert_int_equal(format_number(block, heading, "level"), level);
  assert_int_equal(format_number(block, heading, "number"), number);
  assert_int_equal(format_number(block, heading, "reserved"), 0);
  reading->nodes++;
  format_field body = format_row(heading, level == 0 ? "bits" : "children");
  assert_int_equal(body.offset + body.size, KL_BLOCK_SIZE);
  if (level == 0) {
    for (uint64_t i = 0; i < body.size * 8; i++) {
      if ((block[body.offset + i / 8] >> (i % 8) & 1) == 0) continue;
      uint64_t at = number * 32512 + i;
      assert_true(at < reading->end);
      reading->bits[at] = 1;
      reading->used++;
      below++;
    }
  } else {
    for (uint64_t i = 0; i < 127; i++) {
      const uint8_t *child = block + body.offset + 32 * i;
      uint64_t count = kl_load_u64_le(child + 24);
      if (format_number(child, "Child pointer", "address") == 0) {
        assert_int_equal(count, 0);
        continue;
      }
      assert_int_equal(map_read(reading, child, level - 1, number * 127 + i), count);
      below += count;
    }
  }
  assert_int_equal(format_number(block, heading, "used"), below);
  return below;
}

static void the_document_describes_the_map(void **state) {
  (void)state;
  kl_sim *sim = NULL;
  model m;
  kl_error err = {0};
  assert_int_equal(kl_sim_new(7, &sim, NULL), KL_OK);
  model_open(&m, sim, 7);
  m.written_sparsely = true;
  m.most_blocks = 45000;
  m.target_runs = 60;
  while (m.newest->map_count < 4) {
    if (model_checkpoint(&m, 20, &err) != KL_OK) fail_msg("%s", err.message);
    model_check(&m);
  }
  uint8_t superblock[KL_BLOCK_SIZE];
  map_peek(sim, m.newest->sequence % 4 * KL_BLOCK_SIZE, superblock);
  assert_int_equal(format_number(superblock, "Superblock", "sequence"), m.newest->sequence);
  map_reading reading = {.sim = sim, .end = format_number(superblock, "Superblock", "blocks_end") / KL_BLOCK_SIZE};
  reading.bits = test_calloc(reading.end, 1);
  uint64_t level = 0;
  while (map_power(level) * 32512 < reading.end) level++;
  assert_true(level > 0);
  uint64_t used = map_read(&reading, superblock + format_row("Superblock", "space_map").offset, level, 0);
  assert_int_equal(used, reading.used);
  assert_int_equal(reading.nodes, m.newest->map_count);
  assert_int_equal(reading.bits[reading.end - 1], 1);
  /* What it has as used: the superblocks, its own blocks, and what the model knows. */
  for (uint64_t i = 0; i < 4; i++) reading.used -= reading.bits[i];
  for (size_t i = 0; i < m.newest->map_count; i++) {
    reading.used -= reading.bits[m.newest->maps[i].address / KL_BLOCK_SIZE];
  }
  for (size_t i = 0; i < m.newest->run_count; i++) {
    const model_run *run = &m.newest->runs[i];
    uint64_t blocks = (run->bytes + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE;
    for (uint64_t b = 0; b < blocks; b++) reading.used -= reading.bits[run->address / KL_BLOCK_SIZE + b];
  }
  assert_int_equal(reading.used, 0);
  test_free(reading.bits);
  model_close(&m);
  kl_sim_free(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_document_describes_the_map)};
  return cmocka_run_group_tests(tests, format_load_document, format_free_document);
}
