/* tests/unit/db/test_db_faults.c: databases on the simulated machine, with a fault at every operation in turn.
 *
 * A seeded workload of commits over several keyspaces keeps a model of every state that it has gone through. After
 * the fault the database is closed, the machine crashes or not, and what is then found must be a state that the
 * acknowledgements allow: all that was durable, nothing half-done, nothing that was refused. */
#include "core/base/rng.h"
#include "core/os/sim/sim.h"
#include "core/os/thread.h"
#include "db_testing.h"
#include "seed.h"

enum { SPACES = 3, KEYS = 6, COMMITS = 14, STATES = COMMITS + 2 };

static const char *const space_names[SPACES] = {"red", "green", "blue"};
static const char db_path[] = "folder/test.keel";

typedef struct state {
  int cells[SPACES][KEYS]; /* number of the commit that wrote it, 0: absent */
} state;

typedef struct run {
  state states[STATES]; /* after each commit that was acknowledged; [0]: empty */
  int acknowledged;     /* commits */
  int durable;          /* states[durable] was promised to survive a crash */
  bool unknown;         /* the outcome of one more commit is not known */
  state unknown_state;
  int refused;
  bool opened;
} run;

/* Values are long enough for several log segments to be touched in a run. */
static kl_slice cell_value(int commit_number, char out[600]) {
  memset(out, 'a' + commit_number % 26, 600);
  (void)snprintf(out, 600, "%d", commit_number);
  return kl_slice_make(out, 100 + (size_t)(commit_number * 37) % 500);
}

static kl_status write_cell(kl_db *db, kl_txn *txn, int space, int key, int number, kl_error *err) {
  kl_keyspace *keyspace;
  kl_status status = kl_keyspace_open(kl_db_catalogue(db), text(space_names[space]), true, &keyspace, err);
  if (status != KL_OK) return status;
  char name[24], value[600];
  (void)snprintf(name, sizeof name, "key%d", key);
  status = number == 0 ? kl_txn_delete(txn, kl_keyspace_id(keyspace), text(name), err)
                       : kl_txn_put(txn, kl_keyspace_id(keyspace), text(name), cell_value(number, value), err);
  kl_keyspace_release(keyspace);
  return status;
}

/* What the database holds, compared with one state. */
static bool holds(kl_db *db, const state *expected) {
  kl_txn *txn = begin_read_only(kl_db_txn_manager(db));
  bool equal = true;
  for (int space = 0; space < SPACES; space++) {
    kl_keyspace *keyspace;
    kl_error err;
    kl_status found = kl_keyspace_open(kl_db_catalogue(db), text(space_names[space]), false, &keyspace, &err);
    if (found != KL_OK) assert_int_equal(found, KL_E_KEYSPACE_NOT_FOUND);
    for (int key = 0; key < KEYS; key++) {
      char name[24], value[600];
      kl_slice got;
      (void)snprintf(name, sizeof name, "key%d", key);
      int number = expected->cells[space][key];
      kl_status status = KL_E_NOT_FOUND;
      if (found == KL_OK) status = kl_txn_get(txn, kl_keyspace_id(keyspace), text(name), &got, NULL);
      equal = equal && status == (number == 0 ? KL_E_NOT_FOUND : KL_OK);
      if (equal && number != 0) equal = kl_slice_equal(got, cell_value(number, value));
    }
    if (found == KL_OK) kl_keyspace_release(keyspace);
  }
  kl_txn_release(txn);
  return equal;
}

/* One commit of one to four cells. Returns what the commit, or what failed before it, gave. */
static kl_status one_commit(kl_db *db, kl_rng *rng, int number, state *next, kl_durability *out_durability) {
  static const kl_durability durabilities[] = {KL_DURABILITY_FULL, KL_DURABILITY_FULL, KL_DURABILITY_GROUP,
                                               KL_DURABILITY_NONE};
  kl_error err;
  kl_txn *txn;
  *out_durability = durabilities[kl_rng_below(rng, 4)];
  uint64_t cells = 1 + kl_rng_below(rng, 4);
  kl_txn_options options = {.durability = *out_durability};
  kl_status status = kl_txn_begin(kl_db_txn_manager(db), &options, &txn, &err);
  if (status != KL_OK) return status;
  for (uint64_t i = 0; i < cells; i++) {
    int space = (int)kl_rng_below(rng, SPACES), key = (int)kl_rng_below(rng, KEYS);
    int value = kl_rng_below(rng, 5) == 0 ? 0 : number;
    if (status == KL_OK) status = write_cell(db, txn, space, key, value, &err);
    next->cells[space][key] = value;
  }
  if (status == KL_OK) status = kl_txn_commit(txn, NULL, &err);
  kl_txn_release(txn);
  return status;
}

/* The workload, until the end or whatever the fault makes of it; the model says what may be found later. */
static void run_workload(kl_sim *sim, uint64_t seed, run *r) {
  kl_rng rng;
  kl_rng_init(&rng, seed);
  memset(r, 0, sizeof *r);
  kl_db *db = NULL;
  kl_error err;
  kl_db_options options = {.log_segment_size = UINT64_C(65536)};
  kl_status status = kl_db_open(kl_sim_os(sim), db_path, &options, &db, &err);
  if (status != KL_OK) return;
  r->opened = true;
  for (int number = 1; number <= COMMITS; number++) {
    state next = r->states[r->acknowledged];
    kl_durability durability;
    status = one_commit(db, &rng, number, &next, &durability);
    if (status == KL_OK) {
      assert_false(r->unknown); /* nothing is acknowledged after an unknown outcome */
      r->states[++r->acknowledged] = next;
      if (durability == KL_DURABILITY_FULL) r->durable = r->acknowledged;
    } else if (status == KL_E_COMMIT_UNKNOWN) {
      assert_false(r->unknown);
      r->unknown = true;
      r->unknown_state = next;
    } else {
      r->refused++;
    }
    assert_true(holds(db, &r->states[r->acknowledged])); /* readers see exactly what was acknowledged */
    kl_sim_advance_clock(sim, 3000000);
  }
  if (kl_db_flush(db, &err) == KL_OK) r->durable = r->acknowledged;
  if (kl_db_release(db, &err) == KL_OK && !r->unknown) r->durable = r->acknowledged;
}

/* The database is opened again and holds one of the states that the run allows. `crashed`: unsynced commits may be
 * lost, the last ones first. */
static void check_recovered(kl_sim *sim, const run *r, bool crashed, const char *what, uint64_t at) {
  kl_db *db = NULL;
  kl_error err;
  kl_status status = kl_db_open(kl_sim_os(sim), db_path, NULL, &db, &err);
  if (status != KL_OK) {
    (void)fprintf(stderr, "%s at operation %llu: %s\n", what, (unsigned long long)at, err.message);
    fail();
  }
  bool allowed = r->unknown && holds(db, &r->unknown_state);
  for (int i = crashed ? r->durable : r->acknowledged; i <= r->acknowledged && !allowed; i++) {
    allowed = holds(db, &r->states[i]);
  }
  if (!allowed) {
    (void)fprintf(stderr, "%s at operation %llu: not a state that may be found (durable %d, acknowledged %d)\n", what,
                  (unsigned long long)at, r->durable, r->acknowledged);
    fail();
  }
  assert_ok(db_put(db, "red", "after", "the fault", KL_DURABILITY_FULL, &err), &err); /* and it takes commits */
  db_close(db);
  db = db_open(kl_sim_os(sim), db_path, NULL);
  db_assert_value(db, "red", "after", "the fault");
  db_close(db);
}

static kl_sim *machine(uint64_t seed) {
  kl_sim *sim;
  kl_error err;
  assert_ok(kl_sim_new(seed, &sim, &err), &err);
  return sim;
}

static void machine_end(kl_sim *sim) {
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

static void test_without_faults(void **unused) {
  (void)unused;
  uint64_t seed = test_seed(31);
  run r;
  for (uint64_t i = 0; i < 20; i++) {
    kl_sim *sim = machine(seed + i);
    run_workload(sim, seed + i, &r);
    assert_true(r.opened && r.acknowledged == COMMITS && r.durable == COMMITS);
    check_recovered(sim, &r, false, "no fault", 0);
    machine_end(sim);
  }
}

static void run_fault(kl_sim_fault fault, const char *what, uint64_t seed, const uint64_t *choices,
                      size_t choice_count) {
  run r;
  kl_sim *sim = machine(seed);
  run_workload(sim, seed, &r);
  uint64_t operations = kl_sim_operations(sim);
  machine_end(sim);
  for (uint64_t at = 1; at <= operations; at++) {
    for (size_t choice = 0; choice < choice_count; choice++) {
      sim = machine(seed);
      kl_sim_inject(sim, fault, at);
      run_workload(sim, seed, &r);
      bool crash = choices[choice] != 0; /* 0: only the process ends */
      kl_sim_inject(sim, KL_SIM_FAULT_NONE, 0);
      kl_sim_give_space(sim);
      if (crash) kl_sim_restart(sim, choices[choice]);
      check_recovered(sim, &r, crash, what, at);
      machine_end(sim);
    }
  }
}

static void test_crash_at_every_operation(void **unused) {
  (void)unused;
  const uint64_t choices[] = {1, 2, KL_SIM_LOSE_ALL, KL_SIM_KEEP_ALL};
  uint64_t seed = test_seed(32);
  for (uint64_t i = 0; i < 3; i++) run_fault(KL_SIM_FAULT_CRASH, "crash", seed + i, choices, 4);
}

static void test_failure_at_every_operation(void **unused) {
  (void)unused;
  const uint64_t choices[] = {0, 1, KL_SIM_LOSE_ALL};
  uint64_t seed = test_seed(33);
  run_fault(KL_SIM_FAULT_IO_ERROR, "input/output error", seed, choices, 3);
  run_fault(KL_SIM_FAULT_SYNC_FAILS, "failed sync", seed, choices, 3);
  run_fault(KL_SIM_FAULT_SYNC_BROKEN, "broken sync", seed, choices, 3);
  run_fault(KL_SIM_FAULT_DISK_FULL, "full disk", seed, choices, 3);
  run_fault(KL_SIM_FAULT_SHORT_READ, "short read", seed, choices, 2);
}

/* A full disk refuses commits and poisons nothing: once there is space, the same database goes on. */
static void test_full_disk_passes(void **unused) {
  (void)unused;
  kl_sim *sim = machine(5);
  kl_error err;
  kl_db_options options = {.log_segment_size = UINT64_C(65536)};
  kl_db *db = db_open(kl_sim_os(sim), db_path, &options);
  char value[3000];
  memset(value, 'v', sizeof value - 1);
  value[sizeof value - 1] = '\0';
  assert_ok(db_put(db, "red", "key", "first", KL_DURABILITY_FULL, &err), &err);
  kl_sim_inject(sim, KL_SIM_FAULT_DISK_FULL, kl_sim_operations(sim) + 1);
  kl_status status = KL_OK;
  int done = 0;
  for (; status == KL_OK && done < 1000; done++) {
    status = db_put(db, "red", "key", value, KL_DURABILITY_FULL, &err);
  }
  assert_int_equal(status, KL_E_DISK_FULL);
  assert_ok(kl_db_check(db, &err), &err);
  db_assert_value(db, "red", "key", value);
  assert_int_equal(db_put(db, "red", "key", "refused", KL_DURABILITY_FULL, &err),
                   KL_E_DISK_FULL); /* no false conflict */
  kl_sim_give_space(sim);
  assert_ok(db_put(db, "red", "key", "last", KL_DURABILITY_FULL, &err), &err);
  db_assert_value(db, "red", "key", "last");
  db_close(db);
  db = db_open(kl_sim_os(sim), db_path, NULL);
  db_assert_value(db, "red", "key", "last");
  db_close(db);
  machine_end(sim);
}

/* A failed sync: the outcome is unknown, and from then on reading works and writing is refused with the reason. */
static void test_poisoned(void **unused) {
  (void)unused;
  kl_sim *sim = machine(6);
  kl_error err;
  kl_db *db = db_open(kl_sim_os(sim), db_path, NULL);
  assert_ok(db_put(db, "red", "key", "good", KL_DURABILITY_FULL, &err), &err);
  kl_txn *writer = begin(kl_db_txn_manager(db)), *late;
  put(writer, 1, "other", "lost");
  kl_sim_inject(sim, KL_SIM_FAULT_SYNC_FAILS, kl_sim_operations(sim) + 1);
  assert_int_equal(db_put(db, "red", "key", "doubtful", KL_DURABILITY_FULL, &err), KL_E_COMMIT_UNKNOWN);
  assert_int_not_equal(err.system_errno, 0);
  assert_int_equal(kl_db_check(db, &err), KL_E_POISONED);
  db_assert_value(db, "red", "key", "good");
  assert_int_equal(kl_txn_commit(writer, NULL, &err), KL_E_POISONED);
  assert_non_null(strstr(err.message, "open"));
  kl_txn_release(writer);
  assert_int_equal(kl_txn_begin(kl_db_txn_manager(db), NULL, &late, &err), KL_E_POISONED);
  assert_int_not_equal(kl_db_flush(db, &err), KL_OK);
  kl_db_stats stats;
  assert_ok(kl_db_get_stats(db, &stats, &err), &err);
  assert_true(stats.poisoned);
  assert_int_not_equal(kl_db_release(db, &err), KL_OK); /* says that not everything is safe */
  db = db_open(kl_sim_os(sim), db_path, NULL);
  assert_ok(db_put(db, "red", "key", "again", KL_DURABILITY_FULL, &err), &err);
  db_close(db);
  machine_end(sim);
}

/* As above when it is a flush that fails, for a caller who does not want to know why. */
static void test_flush_poisons(void **unused) {
  (void)unused;
  kl_sim *sim = machine(6);
  kl_error err;
  kl_txn *late;
  kl_db *db = db_open(kl_sim_os(sim), db_path, NULL);
  assert_ok(db_put(db, "red", "key", "good", KL_DURABILITY_NONE, &err), &err);
  kl_sim_inject(sim, KL_SIM_FAULT_SYNC_FAILS, kl_sim_operations(sim) + 1);
  assert_int_not_equal(kl_db_flush(db, NULL), KL_OK);
  assert_int_equal(kl_db_check(db, &err), KL_E_POISONED);
  assert_int_not_equal(err.system_errno, 0);
  assert_int_equal(kl_txn_begin(kl_db_txn_manager(db), NULL, &late, &err), KL_E_POISONED);
  db_assert_value(db, "red", "key", "good");
  assert_int_not_equal(kl_db_release(db, NULL), KL_OK);
  machine_end(sim);
}

/* Every allocation of a session fails in turn, once: each call reports it and can be repeated; nothing is lost or
 * done twice, in memory and after reopening. */
static void run_allocation(kl_sim *sim, bool in_memory, uint64_t n, bool *out_struck) {
  kl_error err;
  kl_status status;
  kl_db *db = NULL;
  const char *path = in_memory ? ":memory:" : db_path;
  kl_sim_fail_allocation(sim, n);
  uint64_t before = kl_sim_allocations(sim);
  while ((status = kl_db_open(kl_sim_os(sim), path, NULL, &db, &err)) == KL_E_NO_MEMORY) continue;
  assert_ok(status, &err);
  for (int i = 0; i < 3; i++) {
    char value[24];
    (void)snprintf(value, sizeof value, "value%d", i);
    while ((status = db_put(db, "red", "key", value, KL_DURABILITY_FULL, &err)) == KL_E_NO_MEMORY) continue;
    assert_ok(status, &err);
    kl_txn *txn = NULL;
    kl_cursor *cursor = NULL;
    kl_view *view = NULL;
    kl_txn_options read_only = {.read_only = true};
    while ((status = kl_txn_begin(kl_db_txn_manager(db), &read_only, &txn, &err)) == KL_E_NO_MEMORY) continue;
    assert_ok(status, &err);
    while ((status = kl_cursor_open(txn, 1, text(""), text("z"), &cursor, &err)) == KL_E_NO_MEMORY) continue;
    assert_ok(status, &err);
    kl_batch batch;
    kl_batch_init(&batch, kl_db_allocator(db));
    while ((status = kl_cursor_next_batch(cursor, 0, 0, &batch, &err)) == KL_E_NO_MEMORY) continue;
    assert_ok(status, &err);
    assert_int_equal(batch.count, 1);
    assert_memory_equal(batch.values, value, 6);
    kl_batch_destroy(&batch);
    while ((status = kl_txn_get_view(txn, 1, text("key"), &view, &err)) == KL_E_NO_MEMORY) continue;
    assert_ok(status, &err);
    assert_slice(kl_view_value(view), value);
    kl_cursor_close(cursor);
    kl_txn_release(txn);
    kl_view_release(view);
  }
  *out_struck = kl_sim_allocations(sim) - before >= n;
  kl_sim_fail_allocation(sim, 0);
  db_close(db);
  if (in_memory) return;
  db = db_open(kl_sim_os(sim), db_path, NULL);
  db_assert_value(db, "red", "key", "value2");
  db_close(db);
}

static void test_no_memory(void **unused) {
  (void)unused;
  for (int in_memory = 0; in_memory < 2; in_memory++) {
    uint64_t n = 1;
    for (bool struck = true; struck; n++) {
      kl_sim *sim = machine(7);
      run_allocation(sim, in_memory != 0, n, &struck);
      machine_end(sim);
    }
    assert_true(n > 30);
  }
}

/* A batch for which there is no memory leaves the cursor where it was: asked again, it gives the same rows. */
static void take_batches(kl_sim *sim, kl_db *db, bool forward, size_t max_rows, size_t max_bytes) {
  enum { ROWS = 40 };
  kl_keyspace *keyspace;
  kl_cursor *cursor;
  kl_error err;
  assert_ok(kl_keyspace_open(kl_db_catalogue(db), text("rows"), false, &keyspace, &err), &err);
  kl_txn *txn = begin_read_only(kl_db_txn_manager(db));
  kl_slice open_end = {NULL, 0};
  assert_ok(kl_cursor_open(txn, kl_keyspace_id(keyspace), open_end, open_end, &cursor, &err), &err);
  unsigned seen = 0;
  while (seen < ROWS) {
    for (uint64_t n = 1;; n++) {
      kl_batch batch; /* a new one each time, so that each call takes memory */
      kl_batch_init(&batch, kl_sim_os(sim)->allocator);
      kl_sim_fail_allocation(sim, n);
      kl_status status = forward ? kl_cursor_next_batch(cursor, max_rows, max_bytes, &batch, &err)
                                 : kl_cursor_prev_batch(cursor, max_rows, max_bytes, &batch, &err);
      kl_sim_fail_allocation(sim, 0);
      for (size_t i = 0; status == KL_OK && i < batch.count; i++, seen++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%03u", forward ? seen : ROWS - 1 - seen);
        assert_slice(
            kl_slice_make(batch.keys + batch.key_offsets[i], (size_t)(batch.key_offsets[i + 1] - batch.key_offsets[i])),
            key);
      }
      kl_batch_destroy(&batch);
      if (status == KL_OK) break;
      assert_int_equal(status, KL_E_NO_MEMORY);
    }
  }
  assert_int_equal(seen, ROWS);
  kl_cursor_close(cursor);
  kl_txn_release(txn);
  kl_keyspace_release(keyspace);
}

static void test_batches_without_memory(void **unused) {
  (void)unused;
  kl_sim *sim = machine(35);
  kl_error err;
  kl_db *db = db_open(kl_sim_os(sim), db_path, NULL);
  for (int i = 0; i < 40; i++) {
    char key[8];
    (void)snprintf(key, sizeof key, "%03d", i);
    assert_ok(db_put(db, "rows", key, "value", KL_DURABILITY_NONE, &err), &err);
  }
  for (int drained = 0; drained < 2; drained++) { /* from the delta, then from the tree alone */
    take_batches(sim, db, true, 7, 0);
    take_batches(sim, db, false, 7, 0);
    take_batches(sim, db, true, 0, 60); /* seven rows of eight bytes */
    take_batches(sim, db, false, 0, 60);
    assert_ok(kl_db_make_checkpoint(db, &err), &err);
  }
  db_close(db);
  machine_end(sim);
}

/* An allocator that fails for good from the n-th allocation on, until it is mended. */
typedef struct broken_allocator {
  kl_allocator base;
  uint64_t count, broken_from; /* 0: never */
  uint64_t live_bytes;
} broken_allocator;

static void *broken_alloc(kl_allocator *self, size_t size, size_t align) {
  broken_allocator *a = (broken_allocator *)self;
  if (++a->count >= a->broken_from && a->broken_from != 0) return NULL;
  a->live_bytes += size;
  return kl_alloc_aligned(kl_allocator_libc(), size, align);
}

static void broken_free(kl_allocator *self, void *memory, size_t size) {
  broken_allocator *a = (broken_allocator *)self;
  if (memory != NULL) a->live_bytes -= size;
  kl_free(kl_allocator_libc(), memory, size);
}

static void no_sleep(kl_os *os, uint64_t ns) {
  (void)os;
  (void)ns;
}

/* Memory runs out and does not come back: the commit is refused before it is logged, or poisons the database after
 * (TXN-5); readers never see half of it, and the published past stays readable. */
static void test_memory_stays_out(void **unused) {
  (void)unused;
  uint64_t refused = 0, poisoned = 0;
  for (uint64_t n = 1, committed = 0; committed == 0; n++) {
    broken_allocator broken = {.base = {broken_alloc, broken_free, NULL}};
    kl_os os = *kl_os_posix();
    os.allocator = &broken.base;
    os.sleep_ns = no_sleep; /* the pauses between two tries need not be waited for */
    kl_db *db = db_open(&os, ":memory:", NULL);
    kl_error err;
    assert_ok(db_put(db, "red", "key0", "before", KL_DURABILITY_FULL, &err), &err);
    kl_txn *txn = begin(kl_db_txn_manager(db)), *late;
    char key[24], value[2000]; /* large enough for the commit to hold memory back */
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 100; i++) {
      (void)snprintf(key, sizeof key, "key%d", i);
      put(txn, 1, key, value);
    }
    broken.broken_from = broken.count + n;
    kl_status status = kl_txn_commit(txn, NULL, &err);
    broken.broken_from = 0;
    kl_txn_release(txn);
    if (status == KL_OK) {
      committed++;
      db_assert_value(db, "red", "key99", value);
    } else {
      db_assert_value(db, "red", "key0", "before");
      db_assert_value(db, "red", "key1", NULL);
      db_assert_value(db, "red", "key99", NULL);
      if (status == KL_E_NO_MEMORY) {
        refused++;
        assert_ok(db_put(db, "red", "key1", "after", KL_DURABILITY_FULL, &err), &err);
      } else {
        poisoned++;
        assert_int_equal(status, KL_E_POISONED);
        assert_int_equal(kl_db_check(db, &err), KL_E_POISONED);
        assert_int_equal(kl_txn_begin(kl_db_txn_manager(db), NULL, &late, &err), KL_E_POISONED);
      }
    }
    db_close(db);
    assert_int_equal(broken.live_bytes, 0);
  }
  assert_true(refused > 0 && poisoned > 0);
}

/* A creation that is interrupted at any point is taken up again, or has left nothing. */
static void test_creation_is_atomic(void **unused) {
  (void)unused;
  uint64_t operations = 0;
  for (int fault = KL_SIM_FAULT_CRASH; fault <= KL_SIM_FAULT_DISK_FULL; fault++) {
    for (uint64_t at = 1; operations == 0 || at <= operations; at++) {
      kl_sim *sim = machine(at);
      kl_error err;
      kl_db *db = NULL;
      kl_sim_inject(sim, (kl_sim_fault)fault, at);
      kl_status status = kl_db_open(kl_sim_os(sim), db_path, NULL, &db, &err);
      if (status == KL_OK) {
        if (operations == 0 && kl_sim_operations(sim) < at) operations = at;
        (void)kl_db_release(db, &err);
      }
      kl_sim_inject(sim, KL_SIM_FAULT_NONE, 0);
      kl_sim_give_space(sim);
      if (fault == KL_SIM_FAULT_CRASH) kl_sim_restart(sim, at);
      db = db_open(kl_sim_os(sim), db_path, NULL);
      assert_ok(db_put(db, "red", "key", "value", KL_DURABILITY_FULL, &err), &err);
      db_close(db);
      machine_end(sim);
    }
  }
  assert_true(operations > 10);
}

/* Several threads at once on the simulated machine, and a fault in the middle: what was acknowledged is there
 * afterwards, what was attempted may be, and nothing else. Each worker counts upwards in two keyspaces at once. */
typedef struct worker {
  kl_db *db;
  int number;
  int64_t acknowledged, attempted;
  bool wrong;
} worker;

enum { WORKERS = 4, WORKER_COMMITS = 25 };

static void run_worker(void *context) {
  worker *w = context;
  for (int64_t i = 1; i <= WORKER_COMMITS; i++) {
    kl_txn *txn;
    kl_error err;
    kl_status status = kl_txn_begin(kl_db_txn_manager(w->db), NULL, &txn, &err);
    if (status != KL_OK) {
      w->wrong = w->wrong || status != KL_E_POISONED;
      return;
    }
    char key[24];
    (void)snprintf(key, sizeof key, "worker%d", w->number);
    w->wrong = w->wrong || kl_txn_put(txn, 1, text(key), kl_slice_make(&i, sizeof i), &err) != KL_OK;
    w->wrong = w->wrong || kl_txn_put(txn, 2, text(key), kl_slice_make(&i, sizeof i), &err) != KL_OK;
    w->attempted = i;
    status = kl_txn_commit(txn, NULL, &err);
    kl_txn_release(txn);
    if (status != KL_OK) {
      if (status == KL_E_POISONED) w->attempted = w->acknowledged; /* nothing was written */
      w->wrong = w->wrong || (status != KL_E_COMMIT_UNKNOWN && status != KL_E_POISONED);
      return;
    }
    w->acknowledged = i;
  }
}

static int64_t read_count(kl_db *db, uint32_t keyspace, int number) {
  kl_txn *txn = begin_read_only(kl_db_txn_manager(db));
  char key[24];
  kl_slice value;
  int64_t count = 0;
  (void)snprintf(key, sizeof key, "worker%d", number);
  if (kl_txn_get(txn, keyspace, text(key), &value, NULL) == KL_OK) memcpy(&count, value.data, sizeof count);
  kl_txn_release(txn);
  return count;
}

static void run_workers(kl_sim_fault fault, uint64_t seed) {
  kl_sim *sim = machine(seed);
  kl_error err;
  kl_db_options options = {.log_segment_size = UINT64_C(65536)};
  kl_db *db = db_open(kl_sim_os(sim), db_path, &options);
  assert_ok(db_put(db, "red", "k", "v", KL_DURABILITY_FULL, &err), &err);
  assert_ok(db_put(db, "green", "k", "v", KL_DURABILITY_FULL, &err), &err);
  kl_sim_inject(sim, fault, kl_sim_operations(sim) + 1 + seed * 7 % 120);
  worker workers[WORKERS] = {0};
  kl_thread *threads[WORKERS];
  for (int i = 0; i < WORKERS; i++) {
    workers[i].db = db;
    workers[i].number = i;
    assert_ok(kl_thread_start(kl_os_posix(), "test-worker", run_worker, &workers[i], &threads[i], &err), &err);
  }
  for (int i = 0; i < WORKERS; i++) kl_thread_join(threads[i]);
  for (int i = 0; i < WORKERS; i++) { /* readers see what was acknowledged, no more and no less */
    assert_false(workers[i].wrong);
    assert_int_equal(read_count(db, 1, i), workers[i].acknowledged);
  }
  (void)kl_db_release(db, &err);
  kl_sim_restart(sim, seed % 3 == 0 ? KL_SIM_LOSE_ALL : seed);
  db = db_open(kl_sim_os(sim), db_path, NULL);
  for (int i = 0; i < WORKERS; i++) {
    int64_t count = read_count(db, 1, i);
    assert_int_equal(count, read_count(db, 2, i));
    assert_in_range(count, workers[i].acknowledged, workers[i].attempted);
  }
  db_close(db);
  machine_end(sim);
}

static void test_threads_and_faults(void **unused) {
  (void)unused;
  uint64_t seed = test_seed(34);
  for (uint64_t i = 0; i < 60; i++) {
    run_workers(KL_SIM_FAULT_CRASH, seed + i);
    run_workers(KL_SIM_FAULT_SYNC_FAILS, seed + i);
    run_workers(KL_SIM_FAULT_IO_ERROR, seed + i);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_without_faults),
                                     cmocka_unit_test(test_crash_at_every_operation),
                                     cmocka_unit_test(test_failure_at_every_operation),
                                     cmocka_unit_test(test_full_disk_passes),
                                     cmocka_unit_test(test_poisoned),
                                     cmocka_unit_test(test_flush_poisons),
                                     cmocka_unit_test(test_no_memory),
                                     cmocka_unit_test(test_batches_without_memory),
                                     cmocka_unit_test(test_memory_stays_out),
                                     cmocka_unit_test(test_creation_is_atomic),
                                     cmocka_unit_test(test_threads_and_faults)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
