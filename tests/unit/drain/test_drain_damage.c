/* tests/unit/drain/test_drain_damage.c: bytes of the file that are not what was written: right data or KL_E_CORRUPT,
 * never wrong data; and only for reads that need the damaged block. */
#include "drain_testing.h"

enum { DAMAGE_KEYS = 3000 };

static kl_slice damage_key(uint64_t i, char out[32]) {
  return kl_slice_make(out, (size_t)snprintf(out, 32, "key-%05u", (unsigned)i));
}

/* In leaves, and in extents: read ahead by cursors, on demand through the cache, and past it. */
static size_t damage_size(uint64_t i) {
  if (i == 1500) return 1100000;
  if (i % 100 == 0) return 3000;
  return i % 1000 == 1 ? 90000 : 60;
}

static void damage_prepare(drain_db *db) {
  char bytes[32];
  kl_drain_stats stats;
  drain_db_open(db, 5, 4096, false, KL_CACHE_LIMIT_MIN);
  for (uint64_t i = 0; i < DAMAGE_KEYS; i++) {
    drain_db_write(db, 1, damage_key(i, bytes), true, i, damage_size(i));
  }
  drain_db_drain(db, &stats);
}

static uint64_t damage_file_blocks(drain_db *db) {
  kl_file_info info;
  DRAIN_MUST(kl_os_stat(db->os, DRAIN_PATH, &info, &must));
  return info.size / KL_BLOCK_SIZE;
}

/* The message has the file, a block, and the keys. */
static void damage_message(const kl_error *err) {
  assert_int_equal(err->code, KL_E_CORRUPT);
  assert_non_null(strstr(err->message, DRAIN_PATH));
  assert_non_null(strstr(err->message, "block"));
}

typedef struct damage_count {
  uint64_t right, corrupt, ranges;
} damage_count;

/* Everything is read by point, and by cursors from both ends. */
static void damage_read(drain_db *db, damage_count *count) {
  kl_tree_pointer root;
  kl_held held = {0};
  kl_pages_cursor *cursor = NULL;
  const model_space *space = &db->drained.space[1];
  kl_error err = {0};
  kl_status status = kl_roots_find(db->roots, 1, &root, &err);
  if (status != KL_OK) {
    damage_message(&err);
    count->corrupt++;
    return;
  }
  for (size_t i = 0; i < space->count; i++) {
    status = kl_pages_get(db->pages, &root, model_key(&space->rows[i]), &held, &err);
    if (status == KL_OK) {
      check_value(&space->rows[i], held.value);
      count->right++;
      continue;
    }
    assert_int_equal(status, KL_E_CORRUPT);
    damage_message(&err);
    if (strstr(err.message, "keys from") != NULL) count->ranges++;
    count->corrupt++;
  }
  DRAIN_MUST(kl_pages_cursor_new(db->pages, &root, &cursor, &must));
  for (int forward = 0; forward < 2; forward++) {
    size_t at = forward ? 0 : space->count - 1;
    status = forward ? kl_pages_cursor_first(cursor, &err) : kl_pages_cursor_last(cursor, &err);
    while (status == KL_OK) {
      kl_slice value;
      assert_true(at < space->count);
      check_key(&space->rows[at], cursor->key);
      kl_status loaded = kl_pages_cursor_value(cursor, &value, &err);
      if (loaded == KL_OK) check_value(&space->rows[at], value);
      if (loaded != KL_OK) assert_int_equal(loaded, KL_E_CORRUPT);
      at += forward ? 1 : SIZE_MAX;
      status = forward ? kl_pages_cursor_next(cursor, &err) : kl_pages_cursor_prev(cursor, &err);
    }
    if (status == KL_E_NOT_FOUND) assert_int_equal(at, forward ? space->count : SIZE_MAX);
    if (status == KL_E_NOT_FOUND) continue;
    assert_int_equal(status, KL_E_CORRUPT);
    damage_message(&err);
  }
  kl_pages_cursor_free(cursor);
  kl_held_destroy(&held);
}

typedef enum damage_kind { DAMAGE_FLIP, DAMAGE_ZERO, DAMAGE_SWAP, DAMAGE_KINDS } damage_kind;

/* Each block in turn is damaged in one way. */
static void run_damage(damage_kind kind) {
  drain_db db;
  kl_rng rng;
  damage_count count = {0};
  kl_rng_init(&rng, test_seed(43) + kind);
  damage_prepare(&db);
  uint64_t blocks = damage_file_blocks(&db);
  for (uint64_t block = KL_SUPERBLOCKS; block < blocks; block += 1 + kl_rng_below(&rng, 3)) {
    uint8_t bytes[KL_BLOCK_SIZE], other[KL_BLOCK_SIZE], damaged[KL_BLOCK_SIZE] = {0};
    size_t got = 0;
    uint64_t mate = KL_SUPERBLOCKS + kl_rng_below(&rng, blocks - KL_SUPERBLOCKS);
    DRAIN_MUST(kl_sim_peek(db.sim, DRAIN_PATH, block * KL_BLOCK_SIZE, bytes, sizeof bytes, &got));
    DRAIN_MUST(kl_sim_peek(db.sim, DRAIN_PATH, mate * KL_BLOCK_SIZE, other, sizeof other, &got));
    memcpy(damaged, bytes, sizeof bytes);
    if (kind == DAMAGE_FLIP) damaged[kl_rng_below(&rng, sizeof damaged)] ^= (uint8_t)(1 + kl_rng_below(&rng, 255));
    if (kind == DAMAGE_ZERO) memset(damaged, 0, sizeof damaged);
    if (kind == DAMAGE_SWAP) memcpy(damaged, other, sizeof damaged);
    DRAIN_MUST(kl_sim_poke(db.sim, DRAIN_PATH, block * KL_BLOCK_SIZE, damaged, sizeof damaged));
    if (kind == DAMAGE_SWAP) {
      DRAIN_MUST(kl_sim_poke(db.sim, DRAIN_PATH, mate * KL_BLOCK_SIZE, bytes, sizeof bytes));
    }
    /* A cache that has seen nothing; the checkpoint is known already, as a database that is open knows it. */
    kl_tree_pointer catalogue;
    uint64_t sequence = kl_roots_sequence(db.roots);
    DRAIN_MUST(kl_roots_find(db.roots, 0, &catalogue, &must));
    kl_roots_unref(db.roots);
    kl_pages_unref(db.pages);
    kl_pages_options options = {
        .os = db.os, .allocator = db.allocator, .store = db.store, .cache_limit = db.cache_limit};
    DRAIN_MUST(kl_pages_new(&options, &db.pages, &must));
    DRAIN_MUST(kl_roots_open(db.pages, &catalogue, sequence, db.ts, &db.roots, &must));
    damage_read(&db, &count);
    DRAIN_MUST(kl_sim_poke(db.sim, DRAIN_PATH, block * KL_BLOCK_SIZE, bytes, sizeof bytes));
    if (kind == DAMAGE_SWAP) {
      DRAIN_MUST(kl_sim_poke(db.sim, DRAIN_PATH, mate * KL_BLOCK_SIZE, other, sizeof other));
    }
  }
  drain_db_close(&db);
  assert_true(count.corrupt > 50 && count.ranges > 20);
  assert_true(count.right > 20 * count.corrupt / 10); /* a block is about its own keys alone */
}

static void test_flipped_bits(void **state) {
  (void)state;
  run_damage(DAMAGE_FLIP);
}

static void test_zeroed_blocks(void **state) {
  (void)state;
  run_damage(DAMAGE_ZERO);
}

static void test_swapped_blocks(void **state) {
  (void)state;
  run_damage(DAMAGE_SWAP);
}

/* The file offset of the leaf that holds a key: where its bytes are found. */
static uint64_t damage_find(drain_db *db, const void *needle, size_t size) {
  uint64_t blocks = damage_file_blocks(db);
  for (uint64_t block = KL_SUPERBLOCKS; block < blocks; block++) {
    uint8_t bytes[KL_BLOCK_SIZE];
    size_t got = 0;
    DRAIN_MUST(kl_sim_peek(db->sim, DRAIN_PATH, block * KL_BLOCK_SIZE, bytes, sizeof bytes, &got));
    for (size_t i = 0; i + size <= got; i++) {
      if (memcmp(bytes + i, needle, size) == 0) return block;
    }
  }
  fail_msg("the value is nowhere");
  return 0;
}

/* A lost write: the block has what was there before, intact by itself. Its pointer knows better. */
static void test_stale_block(void **state) {
  (void)state;
  drain_db db;
  char bytes[32];
  uint8_t value[60], block_bytes[KL_BLOCK_SIZE];
  size_t got = 0;
  kl_held held = {0};
  kl_tree_pointer root;
  kl_error err = {0};
  damage_prepare(&db);
  const model_row *row = &db.drained.space[1].rows[50];
  model_value(row, value);
  uint64_t old_block = damage_find(&db, value, sizeof value);
  DRAIN_MUST(kl_sim_peek(db.sim, DRAIN_PATH, old_block * KL_BLOCK_SIZE, block_bytes, sizeof block_bytes, &got));
  drain_db_write(&db, 1, damage_key(50, bytes), true, 1u << 20, 60);
  drain_db_drain(&db, NULL);
  model_value(&db.drained.space[1].rows[50], value);
  uint64_t new_block = damage_find(&db, value, sizeof value);
  assert_int_not_equal(old_block, new_block);
  DRAIN_MUST(kl_sim_poke(db.sim, DRAIN_PATH, new_block * KL_BLOCK_SIZE, block_bytes, sizeof block_bytes));
  drain_db_reopen(&db);
  DRAIN_MUST(kl_roots_find(db.roots, 1, &root, &must));
  assert_int_equal(kl_pages_get(db.pages, &root, damage_key(50, bytes), &held, &err), KL_E_CORRUPT);
  damage_message(&err);
  assert_non_null(strstr(err.message, "keys from \""));
  DRAIN_MUST(kl_pages_get(db.pages, &root, damage_key(DAMAGE_KEYS - 1, bytes), &held, &must));
  check_value(&db.drained.space[1].rows[DAMAGE_KEYS - 1], held.value);
  kl_held_destroy(&held);
  drain_db_close(&db);
}

/* A dropped tree with a damaged page: the drop goes through, and so do later drains. */
static void test_drop_of_a_damaged_tree(void **state) {
  (void)state;
  drain_db db;
  uint8_t value[60], zeros[KL_BLOCK_SIZE] = {0};
  kl_drain_stats stats;
  damage_prepare(&db);
  model_value(&db.drained.space[1].rows[50], value);
  uint64_t block = damage_find(&db, value, sizeof value);
  DRAIN_MUST(kl_sim_poke(db.sim, DRAIN_PATH, block * KL_BLOCK_SIZE, zeros, sizeof zeros));
  drain_db_reopen(&db);
  drain_db_drop(&db, 1);
  drain_db_write(&db, 2, kl_slice_make("k", 1), true, 3, 10);
  drain_db_drain(&db, &stats);
  assert_int_equal(stats.leaked_trees, 1);
  assert_true(stats.pages_freed > 50); /* all but that page */
  assert_int_equal(stats.trees_dropped, 1);
  drain_db_write(&db, 2, kl_slice_make("l", 1), true, 4, 10);
  drain_db_drain(&db, &stats);
  assert_int_equal(stats.puts, 2); /* the row, and the record of its tree */
  drain_db_close(&db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flipped_bits),           cmocka_unit_test(test_zeroed_blocks),
      cmocka_unit_test(test_swapped_blocks),         cmocka_unit_test(test_stale_block),
      cmocka_unit_test(test_drop_of_a_damaged_tree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
