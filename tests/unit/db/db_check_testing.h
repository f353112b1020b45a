/* tests/unit/db/db_check_testing.h: a database with every kind of page, its history, and what should be in it; for the
 * tests of damage, verification and salvage. On the simulated os. */
#ifndef KEEL_TESTS_DB_CHECK_TESTING_H
#define KEEL_TESTS_DB_CHECK_TESTING_H

#include "core/os/sim/sim.h"
#include "core/store/superblock.h"
#include "db_testing.h"

#define CHECK_PATH "checked.keel"
#define CHECK_COPY "copy.keel"

enum { CHECK_MANY = 24, CHECK_SPACES = 3 + CHECK_MANY, CHECK_ROUNDS = 3, CHECK_NAME = 200 };

/* Rows of keyspace number `space`. Small rows in leaves; long keys with long separators, for many levels; values in
 * extents; and many keyspaces of one row, whose long names make the catalogue more than one page. */
static inline uint32_t check_rows(uint32_t space) {
  static const uint32_t rows[] = {500, 240, 36};
  return space < 3 ? rows[space] : 1;
}

static inline kl_slice check_name(uint32_t space, char out[CHECK_NAME]) {
  static const char *const names[] = {"small", "deep", "large"};
  if (space < 3) return kl_slice_make(names[space], strlen(names[space]));
  (void)snprintf(out, CHECK_NAME, "many-%02u", space);
  memset(out + 7, 'n', CHECK_NAME - 7);
  return kl_slice_make(out, CHECK_NAME);
}

static inline kl_slice check_key(uint32_t space, uint32_t row, char out[1024]) {
  if (space != 1) return kl_slice_make(out, (size_t)snprintf(out, 1024, "key-%05u", row));
  /* Groups of twenty with 900 bytes in common: what separates two leaves of a group is as long. */
  memset(out, 'a' + (int)(row / 20), 900);
  return kl_slice_make(out, 900 + (size_t)snprintf(out + 900, 124, "%05u", row));
}

/* The round that wrote the row last, of those up to `round`; 0: it is absent. */
static inline uint32_t check_version(uint32_t space, uint32_t row, uint32_t round) {
  if (round >= 3 && (row + space) % 17 == 3) return 0;
  if (round >= 3 && (row + space) % 7 == 1) return 3;
  if (round >= 2 && (row + space) % 5 == 2) return 2;
  return round >= 1 ? 1 : 0;
}

static inline kl_slice check_bytes(uint32_t space, uint32_t row, uint32_t version, uint8_t *out) {
  size_t size = space == 1 ? 300 : 40 + row % 23;
  if (space == 2) size = row == 7 ? 70000 : 1000 + row * 211;
  uint32_t state = space * 7919 + row * 104729 + version * 1299709 + 1;
  for (size_t i = 0; i < size; i++) {
    state = state * 1664525 + 1013904223;
    out[i] = (uint8_t)(state >> 24);
  }
  return kl_slice_make(out, size);
}

/* What each round changes. */
static inline void check_write_round(kl_db *db, uint32_t round) {
  char name[CHECK_NAME], key[1024];
  static uint8_t value[80000];
  kl_error err;
  for (uint32_t space = 0; space < CHECK_SPACES; space++) {
    kl_keyspace *keyspace;
    kl_txn *txn;
    assert_ok(kl_keyspace_open(kl_db_catalogue(db), check_name(space, name), true, &keyspace, &err), &err);
    assert_ok(kl_txn_begin(kl_db_txn_manager(db), NULL, &txn, &err), &err);
    for (uint32_t row = 0; row < check_rows(space); row++) {
      uint32_t version = check_version(space, row, round);
      if (version == check_version(space, row, round - 1)) continue;
      kl_status status = version == 0 ? kl_txn_delete(txn, kl_keyspace_id(keyspace), check_key(space, row, key), &err)
                                      : kl_txn_put(txn, kl_keyspace_id(keyspace), check_key(space, row, key),
                                                   check_bytes(space, row, version, value), &err);
      assert_ok(status, &err);
    }
    assert_ok(kl_txn_commit(txn, NULL, &err), &err);
    kl_txn_release(txn);
    kl_keyspace_release(keyspace);
  }
}

static inline uint64_t check_live_rows(uint32_t round) {
  uint64_t rows = 0;
  for (uint32_t space = 0; space < CHECK_SPACES; space++) {
    for (uint32_t row = 0; row < check_rows(space); row++) rows += check_version(space, row, round) != 0;
  }
  return rows;
}

/* The bytes of a file. */
typedef struct check_image {
  uint8_t *bytes;
  size_t size;
} check_image;

static inline check_image check_image_take(kl_sim *sim) {
  kl_error err;
  kl_file_info info;
  check_image image = {0};
  assert_ok(kl_os_stat(kl_sim_os(sim), CHECK_PATH, &info, &err), &err);
  image.size = (size_t)info.size;
  image.bytes = malloc(image.size);
  assert_non_null(image.bytes);
  size_t got = 0;
  assert_int_equal(kl_sim_peek(sim, CHECK_PATH, 0, image.bytes, image.size, &got), KL_OK);
  assert_int_equal(got, image.size);
  return image;
}

typedef struct check_history {
  kl_sim *sim;                         /* the database is closed */
  check_image image[CHECK_ROUNDS + 1]; /* behind each round; [0]: as it is closed */
  uint64_t sequence[CHECK_ROUNDS + 1]; /* of the checkpoint behind each round */
} check_history;

static inline void check_history_make(check_history *history, uint64_t seed) {
  kl_error err;
  kl_checkpoint checkpoint;
  kl_db_options options = {.page_size = 4096, .log_segment_size = 65536};
  assert_ok(kl_sim_new(seed, &history->sim, &err), &err);
  kl_db *db = db_open(kl_sim_os(history->sim), CHECK_PATH, &options);
  for (uint32_t round = 1; round <= CHECK_ROUNDS; round++) {
    check_write_round(db, round);
    assert_ok(kl_db_make_checkpoint(db, &err), &err);
    assert_ok(kl_db_last_checkpoint(db, &checkpoint, &err), &err);
    history->sequence[round] = checkpoint.sequence;
    history->image[round] = check_image_take(history->sim);
  }
  db_close(db);
  history->image[0] = check_image_take(history->sim);
}

static inline void check_history_free(check_history *history) {
  for (size_t i = 0; i <= CHECK_ROUNDS; i++) free(history->image[i].bytes);
  kl_sim_free(history->sim);
}

/* Runs a verification to its end. */
static inline kl_check_report check_verify(kl_db *db, bool show) {
  kl_verify *verify;
  kl_error err;
  kl_check_report report;
  uint64_t steps = 0;
  assert_ok(kl_verify_begin(db, &verify, &err), &err);
  do {
    assert_ok(kl_verify_step(verify, 16384, &err), &err);
    kl_verify_report(verify, &report);
    assert_true(report.done_bytes <= report.total_bytes);
    steps++;
  } while (!report.finished);
  assert_true(steps > 1 || report.done_bytes < 65536);
  for (uint64_t i = 0; i < report.problems && i < KL_CHECK_PROBLEMS; i++) {
    assert_non_null(kl_verify_problem(verify, i));
    if (show) print_message("%s\n", kl_verify_problem(verify, i));
  }
  assert_null(kl_verify_problem(verify, report.problems));
  kl_verify_end(verify);
  return report;
}

static inline kl_status check_salvage(kl_os *os, kl_check_report *out, bool show, kl_error *err) {
  kl_salvage *salvage;
  kl_status status = kl_salvage_begin(os, CHECK_PATH, CHECK_COPY, &salvage, err);
  if (status != KL_OK) return status;
  do {
    status = kl_salvage_step(salvage, 65536, err);
    kl_salvage_report(salvage, out);
    assert_true(out->done_bytes <= out->total_bytes);
  } while (status == KL_OK && !out->finished);
  for (uint64_t i = 0; show && i < out->problems && i < KL_CHECK_PROBLEMS; i++) {
    print_message("%s\n", kl_salvage_problem(salvage, i));
  }
  kl_salvage_end(salvage);
  return status;
}

/* Destroys the newest superblock that is intact. */
static inline void check_destroy_newest(kl_sim *sim) {
  uint64_t newest = 0, sequence = 0;
  for (uint64_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    uint8_t block[KL_SUPERBLOCK_SIZE];
    size_t got;
    store_superblock superblock;
    assert_int_equal(kl_sim_peek(sim, CHECK_PATH, slot * sizeof block, block, sizeof block, &got), KL_OK);
    if (got != sizeof block || store_superblock_decode(block, (uint32_t)slot, &superblock) != KL_OK) continue;
    if (superblock.checkpoint.sequence < sequence) continue;
    sequence = superblock.checkpoint.sequence;
    newest = slot;
  }
  assert_true(sequence != 0);
  assert_int_equal(kl_sim_poke(sim, CHECK_PATH, newest * KL_SUPERBLOCK_SIZE + 100, "damage", 6), KL_OK);
}

#endif
