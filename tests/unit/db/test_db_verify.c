/* tests/unit/db/test_db_verify.c: verification beside writers and drains, and of `:memory:` databases; salvage with the log,
 * and of what cannot be opened; both when memory and input or output fail. (DB-8 ... DB-13) */
#include "core/db/check_private.h"
#include "core/store/superblock.h"
#include "db_check_testing.h"
#include "seed.h"

static void write_rows(kl_db *db, const char *space, uint32_t from, uint32_t count, const char *value) {
  kl_keyspace *keyspace;
  kl_txn *txn;
  kl_error err;
  char key[32];
  assert_ok(kl_keyspace_open(kl_db_catalogue(db), text(space), true, &keyspace, &err), &err);
  assert_ok(kl_txn_begin(kl_db_txn_manager(db), NULL, &txn, &err), &err);
  for (uint32_t i = from; i < from + count; i++) {
    (void)snprintf(key, sizeof key, "row-%06u", i);
    assert_ok(kl_txn_put(txn, kl_keyspace_id(keyspace), text(key), text(value), &err), &err);
  }
  assert_ok(kl_txn_commit(txn, NULL, &err), &err);
  kl_txn_release(txn);
  kl_keyspace_release(keyspace);
}

/* Every second step of the verification the database is changed and drained. */
static void run_online(const char *path) {
  kl_sim *sim;
  kl_error err;
  kl_verify *verify;
  kl_check_report report;
  assert_ok(kl_sim_new(test_seed(71), &sim, &err), &err);
  kl_db *db = db_open(kl_sim_os(sim), path, NULL);
  write_rows(db, "online", 0, 4000, "the value that the verification sees, in a leaf of its own size");
  write_rows(db, "other", 0, 10, "few");
  assert_ok(kl_db_make_checkpoint(db, &err), &err);
  assert_ok(kl_verify_begin(db, &verify, &err), &err);
  uint32_t steps = 0;
  do {
    assert_ok(kl_verify_step(verify, 1, &err), &err);
    if (steps++ % 2 == 0 && steps < 60) {
      write_rows(db, "online", steps * 31, 100, "another value, so that its page is replaced and its block freed");
      assert_ok(kl_db_make_checkpoint(db, &err), &err);
    }
    kl_verify_report(verify, &report);
  } while (!report.finished);
  for (uint64_t i = 0; i < report.problems; i++) print_message("%s\n", kl_verify_problem(verify, i));
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.rows, 4010);
  assert_int_equal(report.keyspaces, 2);
  assert_true(steps > 40);
  assert_ok(kl_verify_step(verify, 4096, &err), &err); /* nothing more */
  kl_verify_end(verify);
  report = check_verify(db, true); /* the newest checkpoint, with all that was freed meanwhile */
  assert_int_equal(report.problems, 0);
  db_close(db);
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

static void test_online(void **state) {
  (void)state;
  run_online(CHECK_PATH);
}

static void test_memory_database(void **state) {
  (void)state;
  run_online(":memory:");
}

/* Ended early, at each step in turn. */
static void test_cancel(void **state) {
  (void)state;
  check_history history;
  kl_error err;
  check_history_make(&history, test_seed(72));
  kl_os *os = kl_sim_os(history.sim);
  for (uint32_t steps = 0; steps < 40; steps++) {
    kl_verify *verify;
    kl_salvage *salvage;
    kl_db_options options = {.read_only = true};
    kl_db *db = db_open(os, CHECK_PATH, &options);
    assert_ok(kl_verify_begin(db, &verify, &err), &err);
    for (uint32_t i = 0; i < steps; i++) assert_ok(kl_verify_step(verify, 0, &err), &err);
    kl_verify_end(verify);
    db_close(db);
    assert_ok(kl_salvage_begin(os, CHECK_PATH, CHECK_COPY, &salvage, &err), &err);
    for (uint32_t i = 0; i < steps * 20; i++) assert_ok(kl_salvage_step(salvage, 0, &err), &err);
    kl_salvage_end(salvage);
    db = db_open(os, CHECK_COPY, NULL); /* a part, and a database all the same */
    assert_int_equal(check_verify(db, true).problems, 0);
    db_close(db);
    assert_ok(kl_os_remove(os, CHECK_COPY, &err), &err);
    assert_int_equal(kl_sim_live_bytes(history.sim), 0);
  }
  check_history_free(&history);
}

/* Each allocation fails once: the answer is KL_E_NO_MEMORY, and going on gives the right result. */
static void test_no_memory(void **state) {
  (void)state;
  check_history history;
  kl_error err;
  check_history_make(&history, test_seed(73));
  kl_os *os = kl_sim_os(history.sim);
  kl_db_options options = {.read_only = true};
  kl_db *db = db_open(os, CHECK_PATH, &options);
  uint64_t failures = 0;
  for (uint64_t n = 1;; n++) {
    kl_verify *verify = NULL;
    kl_check_report report = {0};
    uint64_t before = kl_sim_allocations(history.sim), refused = 0;
    kl_sim_fail_allocation(history.sim, n);
    kl_status status = kl_verify_begin(db, &verify, &err);
    if (status != KL_OK) {
      assert_int_equal(status, KL_E_NO_MEMORY);
      failures++;
      continue;
    }
    while (!report.finished) {
      status = kl_verify_step(verify, UINT64_MAX, &err);
      if (status != KL_OK) {
        assert_int_equal(status, KL_E_NO_MEMORY);
        assert_int_equal(++refused, 1);
      }
      kl_verify_report(verify, &report);
    }
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.rows, check_live_rows(CHECK_ROUNDS));
    kl_verify_end(verify);
    failures += refused;
    if (kl_sim_allocations(history.sim) - before < n) break;
  }
  kl_sim_fail_allocation(history.sim, 0);
  assert_true(failures > 10);
  db_close(db);
  assert_int_equal(kl_sim_live_bytes(history.sim), 0);
  check_history_free(&history);
}

/* Every allocation and every operation of a salvage fails in turn: it says so, leaks nothing, and changes nothing in the
 * old database; another attempt succeeds. */
static void run_salvage_faults(bool memory) {
  check_history history;
  kl_error err;
  kl_check_report report;
  uint64_t failures = 0;
  check_history_make(&history, test_seed(74));
  for (uint64_t n = 1, step = 1;; n += step) {
    kl_sim *sim;
    assert_int_equal(kl_sim_clone(history.sim, &sim), KL_OK);
    uint64_t before = kl_sim_allocations(sim), operations = kl_sim_operations(sim);
    if (memory) {
      kl_sim_fail_allocation(sim, n);
    } else {
      kl_sim_inject(sim, KL_SIM_FAULT_IO_ERROR, operations + n);
    }
    kl_status status = check_salvage(kl_sim_os(sim), &report, false, &err);
    uint64_t done = memory ? kl_sim_allocations(sim) - before : kl_sim_operations(sim) - operations;
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_inject(sim, KL_SIM_FAULT_NONE, 0);
    kl_sim_fail_allocation(sim, 0);
    if (status != KL_OK) {
      failures++;
      assert_true(status == KL_E_NO_MEMORY || status == KL_E_IO || status == KL_E_POISONED ||
                  status == KL_E_COMMIT_UNKNOWN || status == KL_E_CORRUPT);
    } else {
      /* A read that failed is a loss that is told; a row that is neither copied nor counted would not be. */
      assert_true(report.rows + report.lost_rows == check_live_rows(CHECK_ROUNDS) || report.problems != 0);
    }
    check_image now = check_image_take(sim);
    assert_int_equal(now.size, history.image[0].size);
    assert_memory_equal(now.bytes, history.image[0].bytes, now.size);
    free(now.bytes);
    kl_sim_free(sim);
    if (done < n) break;
    if (n > 200) step = 7; /* what comes later is the same again and again */
  }
  assert_true(failures > 20);
  check_history_free(&history);
}

static void test_salvage_no_memory(void **state) {
  (void)state;
  run_salvage_faults(true);
}

static void test_salvage_io_errors(void **state) {
  (void)state;
  run_salvage_faults(false);
}

/* Rows, a new keyspace and a dropped one that are in the log alone. */
static void test_salvage_log(void **state) {
  (void)state;
  kl_sim *sim;
  kl_error err;
  kl_check_report report;
  assert_ok(kl_sim_new(test_seed(75), &sim, &err), &err);
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  assert_ok(db_put(db, "old", "a", "1", KL_DURABILITY_FULL, &err), &err);
  assert_ok(db_put(db, "old", "b", "1", KL_DURABILITY_FULL, &err), &err);
  assert_ok(db_put(db, "gone", "a", "1", KL_DURABILITY_FULL, &err), &err);
  assert_ok(kl_db_make_checkpoint(db, &err), &err);
  assert_ok(db_put(db, "old", "b", "2", KL_DURABILITY_FULL, &err), &err);
  assert_ok(db_put(db, "new", "c", "2", KL_DURABILITY_FULL, &err), &err);
  assert_ok(kl_keyspace_drop(kl_db_catalogue(db), text("gone"), &err), &err);
  assert_ok(db_put(db, "gone", "again", "3", KL_DURABILITY_FULL, &err), &err);
  kl_salvage *salvage;
  assert_int_equal(kl_salvage_begin(kl_sim_os(sim), CHECK_PATH, CHECK_COPY, &salvage, &err), KL_E_LOCKED);
  kl_sim *crashed;
  assert_int_equal(kl_sim_clone(sim, &crashed), KL_OK);
  kl_sim_restart(crashed, KL_SIM_LOSE_ALL);
  kl_os *os = kl_sim_os(crashed);
  assert_ok(check_salvage(os, &report, true, &err), &err);
  assert_int_equal(report.problems, 0);
  assert_true(report.log_commits >= 4);
  kl_db *copy = db_open(os, CHECK_COPY, NULL);
  db_assert_value(copy, "old", "a", "1");
  db_assert_value(copy, "old", "b", "2");
  db_assert_value(copy, "new", "c", "2");
  db_assert_value(copy, "gone", "a", NULL);
  db_assert_value(copy, "gone", "again", "3");
  db_close(copy);
  assert_int_equal(kl_salvage_begin(os, CHECK_PATH, CHECK_COPY, &salvage, &err), KL_E_EXISTS);
  /* Without its log it cannot be opened; salvage gets out what the trees have, and says what is missing. */
  assert_ok(kl_os_remove(os, CHECK_PATH "-wal", &err), &err);
  assert_ok(kl_os_remove(os, CHECK_COPY, &err), &err);
  assert_int_equal(db_open_fails(os, CHECK_PATH, NULL, &err), KL_E_CORRUPT);
  assert_ok(check_salvage(os, &report, false, &err), &err);
  assert_int_equal(report.problems, 1);
  copy = db_open(os, CHECK_COPY, NULL);
  db_assert_value(copy, "old", "b", "1");
  db_assert_value(copy, "gone", "a", "1");
  db_close(copy);
  kl_sim_free(crashed);
  db_close(db);
  kl_sim_free(sim);
}

static void test_salvage_refusals(void **state) {
  (void)state;
  kl_sim *sim;
  kl_error err;
  kl_salvage *salvage;
  static const char not_keel[20000] = "this is no database";
  assert_ok(kl_sim_new(test_seed(76), &sim, &err), &err);
  kl_os *os = kl_sim_os(sim);
  assert_int_equal(kl_salvage_begin(os, CHECK_PATH, CHECK_COPY, &salvage, &err), KL_E_NO_FILE);
  assert_int_equal(kl_sim_poke(sim, CHECK_PATH, 0, not_keel, sizeof not_keel), KL_OK);
  assert_int_equal(kl_salvage_begin(os, CHECK_PATH, CHECK_COPY, &salvage, &err), KL_E_FORMAT);
  assert_int_equal(kl_sim_make_directory(sim, "folder"), KL_OK);
  assert_int_equal(kl_salvage_begin(os, "folder", CHECK_COPY, &salvage, &err), KL_E_NOT_A_FILE);
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

/* One superblock that only a newer Keel can read is enough to leave the file to it. */
static void test_salvage_of_a_newer_format(void **state) {
  (void)state;
  kl_sim *sim;
  kl_error err;
  kl_salvage *salvage;
  uint8_t block[KL_SUPERBLOCK_SIZE];
  size_t got;
  assert_ok(kl_sim_new(test_seed(77), &sim, &err), &err);
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, NULL);
  write_rows(db, "rows", 0, 10, "value");
  db_close(db);
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    store_superblock found;
    uint64_t offset = (uint64_t)slot * sizeof block;
    assert_int_equal(kl_sim_peek(sim, CHECK_PATH, offset, block, sizeof block, &got), KL_OK);
    if (store_superblock_decode(block, slot, &found) != KL_OK) continue;
    uint8_t changed[KL_SUPERBLOCK_SIZE];
    found.features_incompatible = 1;
    store_superblock_encode(&found, changed);
    assert_int_equal(kl_sim_poke(sim, CHECK_PATH, offset, changed, sizeof changed), KL_OK);
    assert_int_equal(kl_salvage_begin(kl_sim_os(sim), CHECK_PATH, CHECK_COPY, &salvage, &err), KL_E_VERSION);
    assert_int_equal(kl_sim_poke(sim, CHECK_PATH, offset, block, sizeof block), KL_OK);
  }
  assert_ok(kl_salvage_begin(kl_sim_os(sim), CHECK_PATH, CHECK_COPY, &salvage, &err), &err);
  kl_salvage_end(salvage);
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

/* A checkpoint that somebody made by hand, in a database that is otherwise sound. */
typedef struct forge {
  kl_store *store;
  check_reader reader;
  kl_checkpoint checkpoint;
  kl_tree_pointer catalogue;
} forge;

static void forge_begin(forge *f, kl_sim *sim) {
  kl_error err;
  kl_store_options options = {0};
  memset(f, 0, sizeof *f);
  kl_os *os = kl_sim_os(sim);
  assert_ok(kl_store_open(os, CHECK_PATH, &options, &f->store, &err), &err);
  kl_store_checkpoint(f->store, &f->checkpoint);
  const kl_store_pointer *root = &f->checkpoint.catalogue;
  f->catalogue = (kl_tree_pointer){
      .address = root->address, .length = root->length, .checksum = root->checksum, .birth = root->birth};
  f->reader = (check_reader){.os = os,
                             .allocator = os->allocator,
                             .store = f->store,
                             .path = CHECK_PATH,
                             .page_size = kl_store_page_size(f->store),
                             .birth_most = UINT64_MAX};
  assert_ok(check_reader_init(&f->reader, &err), &err);
  assert_ok(kl_store_begin(f->store, NULL, 0, &err), &err);
}

/* Publishes it, and says what a verification finds. */
static kl_check_report forge_end(forge *f, kl_sim *sim) {
  kl_error err;
  kl_db_options options = {.read_only = true};
  f->checkpoint.catalogue =
      (kl_store_pointer){f->catalogue.address, f->catalogue.length, f->catalogue.checksum, f->catalogue.birth};
  assert_ok(kl_store_publish(f->store, &f->checkpoint, &err), &err);
  check_reader_destroy(&f->reader);
  kl_store_close(f->store);
  kl_db *db = db_open(kl_sim_os(sim), CHECK_PATH, &options);
  kl_check_report report = check_verify(db, true);
  db_close(db);
  return report;
}

/* The keyspace's tree record. */
static kl_tree_record forge_find(forge *f, uint32_t id) {
  kl_error err;
  kl_tree_value value;
  kl_tree_record record;
  uint8_t key[KL_TREE_RECORD_KEY];
  kl_tree_record_key(id, key);
  assert_ok(kl_tree_get(&f->reader.source, &f->catalogue, kl_slice_make(key, sizeof key), &value, &err), &err);
  assert_ok(kl_tree_record_decode(value.bytes, id, &record, &err), &err);
  return record;
}

/* A block that is in use and belongs to nothing. */
static void test_lost_space(void **state) {
  (void)state;
  check_history history;
  forge f;
  kl_error err;
  uint64_t address;
  check_history_make(&history, test_seed(77));
  forge_begin(&f, history.sim);
  assert_ok(kl_store_allocate(f.store, 3 * KL_BLOCK_SIZE, &address, &err), &err);
  kl_check_report report = forge_end(&f, history.sim);
  assert_int_equal(report.problems, 1);
  assert_int_equal(report.unreached_bytes, 3 * KL_BLOCK_SIZE);
  assert_int_equal(report.lost_rows, 0);
  check_history_free(&history);
}

/* A page that is reached and free: the root of a keyspace's tree. */
static void test_free_page(void **state) {
  (void)state;
  check_history history;
  forge f;
  kl_error err;
  check_history_make(&history, test_seed(78));
  forge_begin(&f, history.sim);
  kl_tree_pointer root = forge_find(&f, 1).root;
  assert_ok(kl_store_free(f.store, root.address, root.length, root.birth, &err), &err);
  kl_check_report report = forge_end(&f, history.sim);
  assert_int_equal(report.problems, 1);
  assert_int_equal(report.unreached_bytes, 0);
  assert_int_equal(report.lost_rows, 0);
  check_history_free(&history);
}

static kl_status forge_write(void *context, const void *page, size_t length, kl_tree_pointer *out, kl_error *err) {
  forge *f = context;
  uint64_t address;
  kl_status status = kl_store_allocate(f->store, length, &address, err);
  kl_slice part = kl_slice_make(page, length);
  if (status == KL_OK) status = kl_store_write(f->store, address, &part, 1, err);
  *out = (kl_tree_pointer){.address = address,
                           .length = (uint32_t)length,
                           .checksum = kl_crc32c(0, page, length),
                           .birth = kl_store_birth(f->store)};
  return status;
}

static kl_status forge_free(void *context, const kl_tree_pointer *pointer, kl_error *err) {
  forge *f = context;
  return kl_store_free(f->store, pointer->address, pointer->length, pointer->birth, err);
}

typedef struct forge_change {
  kl_tree_change change;
  bool given;
} forge_change;

static kl_status forge_next(void *context, kl_tree_change *out, kl_error *err) {
  forge_change *one = context;
  (void)err;
  if (one->given) return KL_E_NOT_FOUND;
  one->given = true;
  *out = one->change;
  return KL_OK;
}

/* Puts a tree record into the catalogue. */
static void forge_record(forge *f, uint32_t id, const kl_tree_record *record) {
  kl_error err;
  uint8_t key[KL_TREE_RECORD_KEY], value[KL_TREE_RECORD_SIZE];
  kl_tree_record_key(id, key);
  kl_tree_record_encode(record, value);
  forge_change one = {.change = {.kind = KL_TREE_PUT,
                                 .key = kl_slice_make(key, sizeof key),
                                 .value = kl_slice_make(value, sizeof value)}};
  kl_tree_sink sink = {.write = forge_write, .context = f};
  kl_tree_freed freed = {.page = forge_free, .context = f};
  kl_tree_changes changes = {.next = forge_next, .context = &one};
  kl_tree_merge_options options = {.allocator = f->reader.allocator,
                                   .page_size = f->reader.page_size,
                                   .source = &f->reader.source,
                                   .sink = &sink,
                                   .freed = &freed};
  kl_tree_pointer root = f->catalogue;
  assert_ok(kl_tree_merge(&options, &root, &changes, &f->catalogue, NULL, &err), &err);
}

/* Two keyspaces with one tree: each of its blocks is reached twice. */
static void test_shared_tree(void **state) {
  (void)state;
  check_history history;
  forge f;
  check_history_make(&history, test_seed(79));
  forge_begin(&f, history.sim);
  kl_tree_record shared = forge_find(&f, 1);
  forge_record(&f, 2, &shared);
  kl_check_report report = forge_end(&f, history.sim);
  /* And what was the tree of the second one belongs to nothing. */
  assert_true(report.problems > 2);
  assert_true(report.unreached_bytes > 10 * KL_BLOCK_SIZE);
  check_history_free(&history);
}

/* A tree record with another number of rows, one of a tree from the future, and one without a keyspace. */
static void test_wrong_records(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    check_history history;
    forge f;
    check_history_make(&history, test_seed(80));
    forge_begin(&f, history.sim);
    kl_tree_record record = forge_find(&f, 1);
    if (kind == 0) record.rows++;
    if (kind == 1) record.root.birth += 1000;
    forge_record(&f, kind == 2 ? 12345 : 1, &record);
    kl_check_report report = forge_end(&f, history.sim);
    assert_int_equal(report.lost_pages, kind == 1);
    if (kind < 2) assert_int_equal(report.problems, 1);
    if (kind == 2) assert_true(report.problems > 1); /* it is reached twice, too */
    check_history_free(&history);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_online),
      cmocka_unit_test(test_memory_database),
      cmocka_unit_test(test_lost_space),
      cmocka_unit_test(test_free_page),
      cmocka_unit_test(test_shared_tree),
      cmocka_unit_test(test_wrong_records),
      cmocka_unit_test(test_cancel),
      cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_salvage_no_memory),
      cmocka_unit_test(test_salvage_io_errors),
      cmocka_unit_test(test_salvage_log),
      cmocka_unit_test(test_salvage_refusals),
      cmocka_unit_test(test_salvage_of_a_newer_format),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
