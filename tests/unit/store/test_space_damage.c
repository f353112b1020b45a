/* tests/unit/store/test_space_damage.c: damaged, zeroed, swapped and stale blocks of the space map, and forged ones
 * with right checksums: either everything is right, or KL_E_CORRUPT, and what is not damaged can be read. */
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/endian.h"
#include "seed.h"
#include "space_model.h"

/* Offsets: docs/format.md, "Space map" and "Superblock". */
enum { HEADER = 32, CHILD = 32, LEVEL_AT = 5, USED_AT = 16, SPACE_MAP_AT = 120, CATALOGUE_AT = 96, CHECKSUM_AT = 12 };

static void damage_peek(kl_sim *sim, uint64_t address, uint8_t block[KL_BLOCK_SIZE]) {
  size_t got = 0;
  assert_int_equal(kl_sim_peek(sim, MODEL_PATH, address, block, KL_BLOCK_SIZE, &got), KL_OK);
  assert_int_equal(got, KL_BLOCK_SIZE);
}

static void damage_poke(kl_sim *sim, uint64_t address, const uint8_t block[KL_BLOCK_SIZE]) {
  assert_int_equal(kl_sim_poke(sim, MODEL_PATH, address, block, KL_BLOCK_SIZE), KL_OK);
}

static bool damage_answer(kl_status status) {
  return status == KL_OK || status == KL_E_CORRUPT || status == KL_E_VERSION;
}

static kl_status damage_count(void *context, uint64_t address, uint64_t bytes, bool is_map, kl_error *err) {
  (void)err;
  (void)is_map;
  assert_true(address >= KL_SUPERBLOCKS * KL_BLOCK_SIZE && bytes > 0);
  *(uint64_t *)context += bytes;
  return KL_OK;
}

/* Uses whatever can be opened; nothing may go wrong but by an answer. */
static kl_status damage_use(kl_sim *sim, const model_version *good, uint64_t *out_ts, kl_status *out_walk) {
  kl_store_options options = {0};
  kl_store *store = NULL;
  kl_error err = {0};
  kl_checkpoint checkpoint;
  uint64_t live = 0, address = 0, bytes = 0;
  kl_status opened = kl_store_open(kl_sim_os(sim), MODEL_PATH, &options, &store, &err);
  *out_ts = 0;
  *out_walk = opened;
  if (opened != KL_OK) {
    assert_true(opened == KL_E_CORRUPT || opened == KL_E_VERSION);
    assert_non_null(strstr(err.message, MODEL_PATH));
    return opened;
  }
  kl_store_checkpoint(store, &checkpoint);
  *out_ts = checkpoint.ts;
  *out_walk = kl_store_walk_used(store, damage_count, &bytes, &err);
  assert_true(damage_answer(*out_walk));
  kl_status status = kl_store_begin(store, &live, 1, &err);
  for (size_t i = 0; i < 40 && status == KL_OK; i++) status = kl_store_allocate(store, 5000, &address, &err);
  for (size_t i = 0; i < good->run_count && status == KL_OK && checkpoint.ts == good->ts; i++) {
    status = kl_store_free(store, good->runs[i].address, good->runs[i].bytes, good->runs[i].birth, &err);
  }
  checkpoint.catalogue = (kl_store_pointer){0};
  if (status == KL_OK) status = kl_store_publish(store, &checkpoint, &err);
  assert_true(damage_answer(status));
  kl_store_close(store);
  return status;
}

/* A database of several chunks whose last two checkpoints are `m->newest` and `m->previous`. */
static void damage_make(model *m, uint64_t seed) {
  kl_sim *sim = NULL;
  kl_error err = {0};
  assert_int_equal(kl_sim_new(seed, &sim, NULL), KL_OK);
  model_open(m, sim, seed);
  m->written_sparsely = true;
  m->most_blocks = 45000;
  m->target_runs = 50;
  for (size_t i = 0; i < 12 || m->newest->runs[0].birth != m->newest->sequence; i++) {
    if (model_checkpoint(m, 20, &err) != KL_OK) fail_msg("%s", err.message);
  }
  model_check(m);
  assert_true(m->newest->map_count >= 3);
  kl_store_close(m->store);
  m->store = NULL;
}

static uint64_t damage_pointer(kl_sim *sim, uint64_t slot, uint64_t at) {
  uint8_t block[KL_BLOCK_SIZE];
  damage_peek(sim, slot * KL_BLOCK_SIZE, block);
  return kl_load_u64_le(block + at);
}

/* The block gets `wrong`: the root leads to the checkpoint before, anything else to KL_E_CORRUPT where it is needed. */
static void damage_try(model *m, uint64_t slot, uint64_t address, const uint8_t wrong[KL_BLOCK_SIZE]) {
  kl_sim *copy = NULL;
  uint64_t ts = 0;
  kl_status walk = KL_OK;
  assert_int_equal(kl_sim_clone(m->sim, &copy), KL_OK);
  damage_poke(copy, address, wrong);
  bool root = address == damage_pointer(copy, slot, SPACE_MAP_AT);
  kl_status status = damage_use(copy, m->newest, &ts, &walk);
  if (root) {
    assert_int_equal(ts, m->previous->ts);
    assert_int_equal(status, KL_OK);
    assert_int_equal(walk, KL_OK);
  } else {
    assert_int_equal(ts, m->newest->ts);
    assert_int_equal(walk, KL_E_CORRUPT);
  }
  assert_int_equal(kl_sim_live_bytes(copy), 0);
  kl_sim_free(copy);
}

static void damage_is_found(void **state) {
  (void)state;
  static const uint8_t zeros[KL_BLOCK_SIZE];
  uint64_t first = test_seed(90);
  for (uint64_t seed = first; seed < first + 2; seed++) {
    model m;
    damage_make(&m, seed);
    uint64_t slot = m.newest->sequence % KL_SUPERBLOCKS;
    uint8_t block[KL_BLOCK_SIZE], other[KL_BLOCK_SIZE];
    for (size_t i = 0; i < m.newest->map_count; i++) {
      uint64_t address = m.newest->maps[i].address;
      damage_peek(m.sim, address, block);
      for (size_t flip = 0; flip < 8; flip++) {
        size_t at = (size_t)kl_rng_below(&m.rng, flip < 4 ? KL_BLOCK_SIZE : HEADER);
        block[at] ^= (uint8_t)(1 << flip);
        damage_try(&m, slot, address, block);
        block[at] ^= (uint8_t)(1 << flip);
      }
      damage_try(&m, slot, address, zeros);
      /* Another block of the map, of this checkpoint or of the one before. */
      damage_peek(m.sim, m.newest->maps[(i + 1) % m.newest->map_count].address, other);
      damage_try(&m, slot, address, other);
      for (size_t j = 0; j < m.previous->map_count; j++) {
        if (m.previous->maps[j].address == address) continue;
        damage_peek(m.sim, m.previous->maps[j].address, other);
        damage_try(&m, slot, address, other);
      }
    }
    model_close(&m);
    kl_sim_free(m.sim);
  }
}

/* The roots of the newest checkpoint, and then those of the one before. */
static void falling_back_goes_one_back(void **state) {
  (void)state;
  static const uint8_t zeros[KL_BLOCK_SIZE];
  static const uint64_t roots[] = {SPACE_MAP_AT, CATALOGUE_AT};
  for (size_t r = 0; r < 4; r++) {
    model m;
    damage_make(&m, test_seed(91));
    uint64_t newest = m.newest->sequence, previous = m.previous->sequence;
    uint64_t root = damage_pointer(m.sim, newest % KL_SUPERBLOCKS, roots[r % 2]);
    uint8_t good[KL_BLOCK_SIZE];
    damage_peek(m.sim, root, good);
    damage_poke(m.sim, root, zeros);
    if (r < 2) {
      m.newest = m.previous; /* what is expected */
      m.previous = NULL;
      model_reopen(&m);
      assert_true(kl_store_fell_back(m.store));
      assert_int_equal(m.newest->sequence, newest + KL_SUPERBLOCKS);
      damage_poke(m.sim, root, good); /* STORE-12: it stays dead */
      model_reopen(&m);
      kl_error err = {0};
      for (size_t i = 0; i < 5; i++) {
        if (model_checkpoint(&m, 10, &err) != KL_OK) fail_msg("%s", err.message);
        model_check(&m);
        model_reopen(&m);
        assert_false(kl_store_fell_back(m.store));
      }
    } else {
      damage_poke(m.sim, damage_pointer(m.sim, previous % KL_SUPERBLOCKS, roots[r % 2]), zeros);
      kl_store_options options = {0};
      kl_error err = {0};
      assert_int_equal(kl_store_open(kl_sim_os(m.sim), MODEL_PATH, &options, &m.store, &err), KL_E_CORRUPT);
      assert_non_null(strstr(err.message, MODEL_PATH));
    }
    model_close(&m);
    kl_sim_free(m.sim);
  }
}

/* Makes the superblock name the changed block with its right checksum. */
static void damage_forge_root(kl_sim *sim, uint64_t slot, const uint8_t root[KL_BLOCK_SIZE]) {
  uint8_t superblock[KL_BLOCK_SIZE];
  damage_peek(sim, slot * KL_BLOCK_SIZE, superblock);
  damage_poke(sim, kl_load_u64_le(superblock + SPACE_MAP_AT), root);
  kl_store_u32_le(superblock + SPACE_MAP_AT + CHECKSUM_AT, kl_crc32c(0, root, KL_BLOCK_SIZE));
  kl_store_u32_le(superblock + KL_BLOCK_SIZE - 4, kl_crc32c(0, superblock, KL_BLOCK_SIZE - 4));
  damage_poke(sim, slot * KL_BLOCK_SIZE, superblock);
}

static void forged_maps_do_no_harm(void **state) {
  (void)state;
  model m;
  damage_make(&m, test_seed(92));
  uint64_t slot = m.newest->sequence % KL_SUPERBLOCKS, at = damage_pointer(m.sim, slot, SPACE_MAP_AT);
  static const uint64_t values[] = {0, 1, 4096, 16384, UINT64_MAX, INT64_MAX, UINT64_MAX - 4095, UINT64_C(1) << 40};
  for (size_t i = 0; i < 600; i++) {
    kl_sim *copy = NULL;
    uint8_t root[KL_BLOCK_SIZE];
    uint64_t ts = 0;
    kl_status walk = KL_OK;
    assert_int_equal(kl_sim_clone(m.sim, &copy), KL_OK);
    damage_peek(copy, at, root);
    uint64_t changes = 1 + kl_rng_below(&m.rng, 3);
    for (uint64_t c = 0; c < changes; c++) {
      size_t field = (size_t)kl_rng_below(&m.rng, (HEADER + 4 * CHILD) / 8) * 8;
      uint64_t dice = kl_rng_below(&m.rng, 3);
      if (dice == 0) root[kl_rng_below(&m.rng, HEADER)] = (uint8_t)kl_rng_next(&m.rng);
      if (dice == 1) kl_store_u64_le(root + field, values[kl_rng_below(&m.rng, sizeof values / sizeof values[0])]);
      if (dice == 2) kl_store_u64_le(root + field, kl_load_u64_le(root + field) + kl_rng_below(&m.rng, 5) - 2);
    }
    damage_forge_root(copy, slot, root);
    (void)damage_use(copy, m.newest, &ts, &walk);
    assert_int_equal(kl_sim_live_bytes(copy), 0);
    kl_sim_free(copy);
  }
  model_close(&m);
  kl_sim_free(m.sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(damage_is_found),
      cmocka_unit_test(falling_back_goes_one_back),
      cmocka_unit_test(forged_maps_do_no_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
