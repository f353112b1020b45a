/* tests/unit/db/test_db_damage.c: every block of a closed database is damaged in every way, one at a time. Then each way of
 * reading gives right data or KL_E_CORRUPT with the file and the block, never wrong data; rows that do not need the
 * block are read; verification finds the damage; salvage gets out all rows that do not lie in it. (DB-8 ... DB-13) */
#include "core/base/rng.h"
#include "db_check_testing.h"
#include "seed.h"

typedef enum damage_kind { DAMAGE_FIRST_BYTE, DAMAGE_ANY_BIT, DAMAGE_ZERO, DAMAGE_SWAP, DAMAGE_STALE } damage_kind;

typedef struct damage_seen {
  uint64_t right, corrupt; /* answers to point reads */
  bool keyspace_lost;      /* a keyspace could not be opened, or its root not be found */
} damage_seen;

static void damage_message(const kl_error *err) {
  assert_int_equal(err->code, KL_E_CORRUPT);
  if (strstr(err->message, CHECK_PATH) == NULL || strstr(err->message, "block") == NULL) {
    fail_msg("a message without file or block: %s", err->message);
  }
}

static void damage_assert_value(uint32_t space, uint32_t row, uint32_t round, kl_slice value) {
  static uint8_t expected[80000];
  uint32_t version = check_version(space, row, round);
  assert_int_not_equal(version, 0);
  assert_true(kl_slice_equal(value, check_bytes(space, row, version, expected)));
}

static void damage_read_points(kl_txn *txn, uint32_t id, uint32_t space, damage_seen *seen) {
  char key[1024];
  kl_error err;
  kl_slice value;
  for (uint32_t row = 0; row < check_rows(space); row++) {
    kl_status status = kl_txn_get(txn, id, check_key(space, row, key), &value, &err);
    bool present = check_version(space, row, CHECK_ROUNDS) != 0;
    if (status == KL_OK) {
      damage_assert_value(space, row, CHECK_ROUNDS, value);
      seen->right++;
    } else if (status == KL_E_NOT_FOUND) {
      assert_false(present);
    } else {
      damage_message(&err);
      seen->corrupt += present;
    }
  }
}

static void damage_read_many(kl_txn *txn, uint32_t id, uint32_t space) {
  enum { DAMAGE_GROUP = 20 };
  static char keys[DAMAGE_GROUP * 1024];
  uint64_t offsets[DAMAGE_GROUP + 1] = {0};
  kl_batch batch;
  kl_error err;
  kl_batch_init(&batch, kl_allocator_libc());
  for (uint32_t from = 0; from < check_rows(space); from += DAMAGE_GROUP) {
    uint32_t count = check_rows(space) - from < DAMAGE_GROUP ? check_rows(space) - from : DAMAGE_GROUP;
    for (uint32_t i = 0; i < count; i++) {
      char key[1024];
      kl_slice slice = check_key(space, from + i, key);
      memcpy(keys + offsets[i], slice.data, slice.size);
      offsets[i + 1] = offsets[i] + slice.size;
    }
    kl_status status = kl_txn_get_many(txn, id, keys, offsets, count, &batch, &err);
    if (status != KL_OK) damage_message(&err);
    for (uint32_t i = 0; i < count && status == KL_OK; i++) {
      assert_int_equal(batch.found[i] != 0, check_version(space, from + i, CHECK_ROUNDS) != 0);
      if (batch.found[i] == 0) continue;
      kl_slice value = kl_slice_make(batch.values + batch.value_offsets[i],
                                     (size_t)(batch.value_offsets[i + 1] - batch.value_offsets[i]));
      damage_assert_value(space, from + i, CHECK_ROUNDS, value);
    }
  }
  kl_batch_destroy(&batch);
}

/* The next row that is there, from `row` on in the direction. */
static uint32_t damage_next(uint32_t space, uint32_t row, bool forward, uint32_t round) {
  while (row < check_rows(space) && check_version(space, row, round) == 0) row += forward ? 1 : UINT32_MAX;
  return row;
}

/* Rows come in order and without a gap, up to the end or to the damage. */
static void damage_scan(kl_txn *txn, uint32_t id, uint32_t space, bool forward, uint32_t round, bool all) {
  char key[1024];
  kl_error err;
  kl_cursor *cursor;
  kl_slice none = {NULL, 0}, found, value;
  kl_status status = kl_cursor_open(txn, id, none, none, &cursor, &err);
  if (status != KL_OK) {
    damage_message(&err);
    return;
  }
  uint32_t row = forward ? 0 : check_rows(space) - 1;
  while ((status = forward ? kl_cursor_next(cursor, &err) : kl_cursor_prev(cursor, &err)) == KL_OK) {
    row = damage_next(space, row, forward, round);
    assert_true(row < check_rows(space));
    status = kl_cursor_get(cursor, &found, &value, &err);
    if (status != KL_OK) break;
    assert_true(kl_slice_equal(found, check_key(space, row, key)));
    damage_assert_value(space, row, round, value);
    row += forward ? 1 : UINT32_MAX;
  }
  if (status == KL_E_NOT_FOUND) {
    assert_true(damage_next(space, row, forward, round) >= check_rows(space));
  } else {
    assert_false(all);
    damage_message(&err);
  }
  kl_cursor_close(cursor);
}

static void damage_read(kl_db *db, damage_seen *seen) {
  char name[CHECK_NAME];
  kl_error err;
  for (uint32_t space = 0; space < CHECK_SPACES; space++) {
    kl_keyspace *keyspace;
    kl_status status = kl_keyspace_open(kl_db_catalogue(db), check_name(space, name), false, &keyspace, &err);
    if (status != KL_OK) {
      damage_message(&err);
      seen->keyspace_lost = true;
      continue;
    }
    kl_txn *txn = begin_read_only(kl_db_txn_manager(db));
    uint32_t id = kl_keyspace_id(keyspace);
    damage_read_points(txn, id, space, seen);
    damage_read_many(txn, id, space);
    damage_scan(txn, id, space, true, CHECK_ROUNDS, false);
    damage_scan(txn, id, space, false, CHECK_ROUNDS, false);
    kl_txn_release(txn);
    kl_keyspace_release(keyspace);
  }
}

/* What salvage has written is right, and as much as it says. */
static void damage_check_copy(kl_os *os, uint32_t round, uint64_t rows) {
  char name[CHECK_NAME], key[1024];
  kl_error err;
  uint64_t found = 0;
  kl_db_options options = {.read_only = true};
  kl_db *db = db_open(os, CHECK_COPY, &options);
  for (uint32_t space = 0; space < CHECK_SPACES; space++) {
    kl_keyspace *keyspace;
    kl_slice value;
    kl_status status = kl_keyspace_open(kl_db_catalogue(db), check_name(space, name), false, &keyspace, &err);
    if (status == KL_E_KEYSPACE_NOT_FOUND) { /* the row that names it was lost, or the one of its tree */
      (void)snprintf(name, sizeof name, "lost-keyspace-%u", space + 1);
      status = kl_keyspace_open(kl_db_catalogue(db), text(name), false, &keyspace, &err);
    }
    if (status == KL_E_KEYSPACE_NOT_FOUND) continue;
    assert_ok(status, &err);
    kl_txn *txn = begin_read_only(kl_db_txn_manager(db));
    for (uint32_t row = 0; row < check_rows(space); row++) {
      status = kl_txn_get(txn, kl_keyspace_id(keyspace), check_key(space, row, key), &value, &err);
      if (status == KL_E_NOT_FOUND) continue;
      assert_ok(status, &err);
      damage_assert_value(space, row, round, value);
      found++;
    }
    kl_txn_release(txn);
    kl_keyspace_release(keyspace);
  }
  db_close(db);
  assert_int_equal(found, rows);
}

typedef struct damage_totals {
  uint64_t cases, refused, found, corrupt, older;
} damage_totals;

/* `needed`: the block is one that the database needs, and its bytes are others now. */
static void damage_try(const check_history *history, kl_sim *sim, bool needed, damage_totals *totals) {
  kl_os *os = kl_sim_os(sim);
  kl_error err;
  kl_db *db = NULL;
  kl_db_options options = {.read_only = true};
  kl_check_report verified = {0}, saved = {0};
  damage_seen seen = {0};
  kl_status status = kl_db_open(os, CHECK_PATH, &options, &db, &err);
  if (status == KL_OK) {
    damage_read(db, &seen);
    verified = check_verify(db, false);
    db_close(db);
    if (needed || seen.corrupt != 0 || seen.keyspace_lost) assert_int_not_equal(verified.problems, 0);
    if (!seen.keyspace_lost) assert_int_equal(seen.right + seen.corrupt, check_live_rows(CHECK_ROUNDS));
    /* No row but those that hang below the block is lost. */
    if (!seen.keyspace_lost) assert_int_equal(seen.corrupt, verified.lost_rows);
    totals->found += verified.problems != 0;
  } else {
    assert_int_equal(status, KL_E_CORRUPT);
    assert_non_null(strstr(err.message, CHECK_PATH));
    totals->refused++;
  }
  totals->cases++;
  totals->corrupt += seen.corrupt;
  if (status == KL_OK && verified.problems == 0) return;
  assert_ok(check_salvage(os, &saved, false, &err), &err);
  if (saved.lost_pages + saved.lost_extents != 0) assert_int_not_equal(saved.problems, 0);
  uint32_t round = CHECK_ROUNDS;
  while (round > 1 && saved.checkpoint < history->sequence[round]) round--;
  totals->older += round != CHECK_ROUNDS;
  if (round == CHECK_ROUNDS && status == KL_OK && !seen.keyspace_lost) {
    assert_int_equal(saved.lost_rows, verified.lost_rows);
  }
  assert_int_equal(saved.rows + saved.lost_rows, check_live_rows(round));
  damage_check_copy(os, round, saved.rows);
}

/* Which blocks the closed database uses. */
static kl_status damage_use(void *context, uint64_t address, uint64_t bytes, bool is_map, kl_error *err) {
  bool *used = context;
  (void)is_map;
  (void)err;
  for (uint64_t block = address / KL_BLOCK_SIZE; block < (address + bytes) / KL_BLOCK_SIZE; block++) used[block] = true;
  return KL_OK;
}

static bool *damage_used(const check_history *history, size_t blocks) {
  kl_store *store;
  kl_error err;
  bool *used = calloc(blocks, sizeof *used);
  assert_non_null(used);
  kl_store_options options = {.read_only = true};
  assert_ok(kl_store_open(kl_sim_os(history->sim), CHECK_PATH, &options, &store, &err), &err);
  assert_ok(kl_store_walk_used(store, damage_use, used, &err), &err);
  kl_store_close(store);
  return used;
}

/* The damaged bytes of a block, and of its mate (== block: none). */
static void damage_make(const check_history *history, damage_kind kind, kl_rng *rng, size_t block, size_t mate,
                        kl_sim *sim) {
  uint8_t bytes[KL_BLOCK_SIZE];
  const uint8_t *now = history->image[0].bytes;
  memcpy(bytes, now + block * KL_BLOCK_SIZE, sizeof bytes);
  if (kind == DAMAGE_FIRST_BYTE) bytes[0] ^= 0x10;
  if (kind == DAMAGE_ANY_BIT) bytes[kl_rng_below(rng, sizeof bytes)] ^= (uint8_t)(1u << kl_rng_below(rng, 8));
  if (kind == DAMAGE_ZERO) memset(bytes, 0, sizeof bytes);
  if (kind == DAMAGE_SWAP) {
    assert_int_equal(kl_sim_poke(sim, CHECK_PATH, mate * KL_BLOCK_SIZE, bytes, sizeof bytes), KL_OK);
    memcpy(bytes, now + mate * KL_BLOCK_SIZE, sizeof bytes);
  }
  if (kind == DAMAGE_STALE) {
    const check_image *old = &history->image[1 + kl_rng_below(rng, CHECK_ROUNDS)];
    memset(bytes, 0, sizeof bytes);
    if ((block + 1) * KL_BLOCK_SIZE <= old->size) memcpy(bytes, old->bytes + block * KL_BLOCK_SIZE, sizeof bytes);
  }
  assert_int_equal(kl_sim_poke(sim, CHECK_PATH, block * KL_BLOCK_SIZE, bytes, sizeof bytes), KL_OK);
}

static void run_damage(damage_kind kind) {
  check_history history;
  kl_rng rng;
  damage_totals totals = {0};
  uint64_t seed = test_seed(61);
  kl_rng_init(&rng, seed + kind);
  check_history_make(&history, seed);
  size_t blocks = history.image[0].size / KL_BLOCK_SIZE;
  bool *used = damage_used(&history, blocks);
  for (size_t block = 0; block < blocks; block++) {
    size_t mate = block;
    while (kind == DAMAGE_SWAP && mate == block) mate = (size_t)kl_rng_below(&rng, blocks);
    kl_sim *sim;
    assert_int_equal(kl_sim_clone(history.sim, &sim), KL_OK);
    damage_make(&history, kind, &rng, block, mate, sim);
    bool certain = kind == DAMAGE_FIRST_BYTE || kind == DAMAGE_ZERO || kind == DAMAGE_SWAP;
    damage_try(&history, sim, certain && (used[block] || block < KL_SUPERBLOCKS), &totals);
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
  }
  print_message(
      "%zu blocks: %d cases, %d refused at opening, %d found by verification, %d reads corrupt, %d salvaged from "
      "an older checkpoint\n",
      blocks, (int)totals.cases, (int)totals.refused, (int)totals.found, (int)totals.corrupt, (int)totals.older);
  assert_true(totals.found > 20);
  assert_true(totals.corrupt > 100);
  free(used);
  check_history_free(&history);
}

static void test_first_bytes(void **state) {
  (void)state;
  run_damage(DAMAGE_FIRST_BYTE);
}

static void test_any_bits(void **state) {
  (void)state;
  run_damage(DAMAGE_ANY_BIT);
}

static void test_zeroed_blocks(void **state) {
  (void)state;
  run_damage(DAMAGE_ZERO);
}

static void test_swapped_blocks(void **state) {
  (void)state;
  run_damage(DAMAGE_SWAP);
}

static void test_stale_blocks(void **state) {
  (void)state;
  run_damage(DAMAGE_STALE);
}

/* Without damage: nothing is found, and everything is copied. */
static void test_sound(void **state) {
  (void)state;
  check_history history;
  kl_check_report report;
  kl_error err;
  kl_db_options options = {.read_only = true};
  check_history_make(&history, test_seed(62));
  kl_db *db = db_open(kl_sim_os(history.sim), CHECK_PATH, &options);
  report = check_verify(db, true);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.rows, check_live_rows(CHECK_ROUNDS));
  assert_int_equal(report.keyspaces, CHECK_SPACES);
  print_message("%d pages, %d extents\n", (int)report.pages, (int)report.extents);
  assert_true(report.extents > 20 && report.pages > 50);
  db_close(db);
  assert_ok(check_salvage(kl_sim_os(history.sim), &report, true, &err), &err);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.rows, check_live_rows(CHECK_ROUNDS));
  damage_check_copy(kl_sim_os(history.sim), CHECK_ROUNDS, report.rows);
  check_history_free(&history);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sound),         cmocka_unit_test(test_first_bytes),    cmocka_unit_test(test_any_bits),
      cmocka_unit_test(test_zeroed_blocks), cmocka_unit_test(test_swapped_blocks), cmocka_unit_test(test_stale_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
