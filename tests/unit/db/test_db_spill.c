/* tests/unit/db/test_db_spill.c: transactions larger than memory: what they read before they commit, what others see and when, conflicts, what is
 * left of one that does not commit; crashes and failures at each step. */
#include "core/base/rng.h"
#include "db_check_testing.h"
#include "failing_allocator.h"
#include "seed.h"

enum { SPILL_KEYS = 1500, SPILL_SPACES = 2, SPILL_VALUE = 160, SPILL_SIZE = 24 << 10 };

/* What a reader sees: the number of the write that each key has its value from, 0: no value. */
typedef struct model {
  uint32_t row[SPILL_SPACES][SPILL_KEYS];
} model;

static const char *const space_names[SPILL_SPACES] = {"first", "second"};

typedef struct machine {
  kl_sim *sim;
  kl_db *db;
  kl_keyspace *spaces[SPILL_SPACES];
} machine;

static kl_slice spill_key(uint32_t key, char out[24]) {
  return kl_slice_make(out, (size_t)snprintf(out, 24, "key-%05u", key));
}

/* Every fiftieth value lies in an extent, and some of them are so large that they never lie in memory. */
static kl_slice spill_value(uint32_t row, uint8_t *out) {
  size_t size = row % 50 == 0 ? 6000 + row % 3000 : kl_mix64(row) % SPILL_VALUE;
  if (row % 250 == 0) size = 30000 + row % 10000;
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)((row >> (i % 4 * 8)) + i / 256);
  return kl_slice_make(out, size);
}

static void machine_open(machine *m) {
  kl_error err;
  kl_db_options options = {.spill_size = SPILL_SIZE, .delta_size = 32 << 10};
  m->db = db_open(kl_sim_os(m->sim), CHECK_PATH, &options);
  for (int i = 0; i < SPILL_SPACES; i++) {
    assert_ok(kl_keyspace_open(kl_db_catalogue(m->db), text(space_names[i]), true, &m->spaces[i], &err), &err);
  }
}

static void machine_close(machine *m) {
  for (int i = 0; i < SPILL_SPACES; i++) kl_keyspace_release(m->spaces[i]);
  db_close(m->db);
}

static void machine_new(machine *m, uint64_t number) {
  kl_error err;
  assert_ok(kl_sim_new(test_seed(number), &m->sim, &err), &err);
  machine_open(m);
}

static void machine_end(machine *m) {
  machine_close(m);
  assert_int_equal(kl_sim_live_bytes(m->sim), 0);
  kl_sim_free(m->sim);
}

static void check_sound(kl_db *db) {
  kl_error err;
  assert_ok(kl_db_make_checkpoint(db, &err), &err);
  kl_check_report report = check_verify(db, true);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.unreached_bytes, 0);
}

static kl_txn *begin_txn(machine *m, bool read_only) {
  kl_error err;
  kl_txn *txn;
  kl_txn_options options = {.read_only = read_only};
  assert_ok(kl_txn_begin(kl_db_txn_manager(m->db), &options, &txn, &err), &err);
  return txn;
}

static uint32_t id_of(const machine *m, int space) {
  return kl_keyspace_id(m->spaces[space]);
}

static kl_status put_row(machine *m, kl_txn *txn, int space, uint32_t key, uint32_t row, kl_error *err) {
  char bytes[24];
  uint8_t value[40000];
  return row == 0 ? kl_txn_delete(txn, id_of(m, space), spill_key(key, bytes), err)
                  : kl_txn_put(txn, id_of(m, space), spill_key(key, bytes), spill_value(row, value), err);
}

static void write_row(machine *m, kl_txn *txn, model *own, int space, uint32_t key, uint32_t row) {
  kl_error err;
  assert_ok(put_row(m, txn, space, key, row, &err), &err);
  own->row[space][key] = row;
}

/* -------- looking -------- */

static void check_get(machine *m, kl_txn *txn, const model *seen, int space, uint32_t key) {
  char bytes[24];
  uint8_t expected[40000];
  kl_slice value;
  kl_error err;
  kl_status status = kl_txn_get(txn, id_of(m, space), spill_key(key, bytes), &value, &err);
  uint32_t row = seen->row[space][key];
  assert_int_equal(status, row != 0 ? KL_OK : KL_E_NOT_FOUND);
  if (row == 0) return;
  kl_slice whole = spill_value(row, expected);
  assert_true(kl_slice_equal(value, whole));
  uint8_t part[16];
  size_t got;
  uint64_t size, from = whole.size / 3;
  assert_ok(kl_txn_get_part(txn, id_of(m, space), spill_key(key, bytes), from, part, sizeof part, &got, &size, &err),
            &err);
  assert_int_equal(size, whole.size);
  assert_int_equal(got, whole.size - from < sizeof part ? whole.size - from : sizeof part);
  if (got != 0) assert_memory_equal(part, expected + from, got);
}

static void check_many(machine *m, kl_txn *txn, const model *seen, int space, uint32_t first) {
  enum { MANY = 200 };
  char keys[MANY * 24];
  uint64_t offsets[MANY + 1] = {0};
  uint8_t expected[40000];
  kl_batch batch;
  kl_error err;
  for (uint32_t i = 0; i < MANY; i++) {
    kl_slice key = spill_key((first + i * 7) % SPILL_KEYS, keys + offsets[i]);
    offsets[i + 1] = offsets[i] + key.size;
  }
  kl_batch_init(&batch, kl_db_allocator(m->db));
  assert_ok(kl_txn_get_many(txn, id_of(m, space), keys, offsets, MANY, &batch, &err), &err);
  assert_int_equal(batch.count, MANY);
  for (uint32_t i = 0; i < MANY; i++) {
    uint32_t row = seen->row[space][(first + i * 7) % SPILL_KEYS];
    assert_int_equal(batch.found[i], row != 0);
    if (row == 0) continue;
    size_t size = (size_t)(batch.value_offsets[i + 1] - batch.value_offsets[i]);
    assert_true(kl_slice_equal(kl_slice_make(batch.values + batch.value_offsets[i], size), spill_value(row, expected)));
  }
  kl_batch_destroy(&batch);
}

static void check_row(kl_cursor *cursor, const model *seen, int space, uint32_t key) {
  char bytes[24];
  uint8_t expected[40000];
  kl_slice got_key, value;
  kl_error err;
  assert_ok(kl_cursor_get(cursor, &got_key, &value, &err), &err);
  assert_true(kl_slice_equal(got_key, spill_key(key, bytes)));
  assert_true(kl_slice_equal(value, spill_value(seen->row[space][key], expected)));
}

/* All rows, in both directions, row by row and in batches. */
static void check_scan(machine *m, kl_txn *txn, const model *seen, int space) {
  kl_cursor *cursor;
  kl_error err;
  kl_batch batch;
  kl_slice open_end = {NULL, 0};
  size_t count = 0;
  assert_ok(kl_cursor_open(txn, id_of(m, space), open_end, open_end, &cursor, &err), &err);
  for (uint32_t i = 0; i < SPILL_KEYS; i++) {
    if (seen->row[space][i] == 0) continue;
    assert_ok(kl_cursor_next(cursor, &err), &err);
    check_row(cursor, seen, space, i);
    count++;
  }
  assert_int_equal(kl_cursor_next(cursor, &err), KL_E_NOT_FOUND);
  for (uint32_t i = SPILL_KEYS; i-- > 0;) {
    if (seen->row[space][i] == 0) continue;
    assert_ok(kl_cursor_prev(cursor, &err), &err);
    check_row(cursor, seen, space, i);
  }
  assert_int_equal(kl_cursor_prev(cursor, &err), KL_E_NOT_FOUND);
  kl_batch_init(&batch, kl_db_allocator(m->db));
  do {
    assert_ok(kl_cursor_next_batch(cursor, 100, 0, &batch, &err), &err);
    count -= batch.count;
  } while (batch.count != 0);
  assert_int_equal(count, 0);
  kl_batch_destroy(&batch);
  kl_cursor_close(cursor);
}

static void check_all(machine *m, kl_txn *txn, const model *seen) {
  for (int space = 0; space < SPILL_SPACES; space++) {
    for (uint32_t i = 0; i < SPILL_KEYS; i += 3) check_get(m, txn, seen, space, i);
    check_many(m, txn, seen, space, 11);
    check_scan(m, txn, seen, space);
  }
}

/* As whoever begins now sees it. */
static void check_committed(machine *m, const model *seen) {
  kl_txn *txn = begin_txn(m, true);
  check_all(m, txn, seen);
  kl_txn_release(txn);
}

/* -------- one transaction -------- */

static uint32_t next_row = 1;

static void write_some(machine *m, kl_txn *txn, model *own, kl_rng *rng, uint32_t count) {
  kl_error err;
  for (uint32_t i = 0; i < count; i++) {
    int space = (int)kl_rng_below(rng, SPILL_SPACES);
    uint32_t key = (uint32_t)kl_rng_below(rng, SPILL_KEYS);
    uint64_t what = kl_rng_below(rng, 400);
    if (what == 0) {
      char from[24], to[24];
      uint32_t end = key + 1 + (uint32_t)kl_rng_below(rng, 60);
      uint64_t deleted, expected = 0;
      if (end > SPILL_KEYS) end = SPILL_KEYS;
      for (uint32_t j = key; j < end; j++) expected += own->row[space][j] != 0;
      assert_ok(kl_txn_delete_range(txn, id_of(m, space), spill_key(key, from), spill_key(end, to), &deleted, &err),
                &err);
      assert_int_equal(deleted, expected);
      for (uint32_t j = key; j < end; j++) own->row[space][j] = 0;
    } else {
      write_row(m, txn, own, space, key, what < 100 ? 0 : next_row++);
    }
    if (what == 1) check_get(m, txn, own, space, key);
  }
}

/* Commits a few writes of somebody else to keys that end in 7. */
static void write_others(machine *m, model *committed, kl_rng *rng) {
  kl_error err;
  kl_txn *txn = begin_txn(m, false);
  for (int i = 0; i < 20; i++) {
    write_row(m, txn, committed, (int)kl_rng_below(rng, SPILL_SPACES),
              (uint32_t)kl_rng_below(rng, SPILL_KEYS / 10) * 10 + 7, next_row++);
  }
  assert_ok(kl_txn_commit(txn, NULL, &err), &err);
  kl_txn_release(txn);
}

static void test_reads_its_writes(void **state) {
  (void)state;
  machine m;
  kl_error err;
  kl_rng rng;
  static model own, committed;
  memset(&committed, 0, sizeof committed);
  kl_rng_init(&rng, test_seed(101));
  machine_new(&m, 101);
  for (int round = 0; round < 6; round++) {
    kl_txn *before = begin_txn(&m, true), *txn = begin_txn(&m, false);
    own = committed;
    for (int step = 0; step < 6; step++) {
      write_some(&m, txn, &own, &rng, 900);
      check_all(&m, txn, &own);
      check_committed(&m, &committed);
    }
    if (round % 3 == 2) {
      assert_ok(kl_txn_rollback(txn, &err), &err);
    } else {
      uint64_t ts;
      assert_ok(kl_txn_commit(txn, &ts, &err), &err);
      check_all(&m, before, &committed);
      committed = own;
    }
    kl_txn_release(txn);
    check_committed(&m, &committed);
    kl_txn_release(before);
    check_sound(m.db);
    if (round % 2 == 1) {
      machine_close(&m);
      machine_open(&m);
      check_committed(&m, &committed);
    }
  }
  machine_end(&m);
}

/* A cursor stays where it is while the writes of its transaction move, whatever it stands on. */
static void test_cursors_stay(void **state) {
  (void)state;
  machine m;
  kl_error err;
  static model own;
  memset(&own, 0, sizeof own);
  machine_new(&m, 102);
  kl_txn *txn = begin_txn(&m, false);
  kl_cursor *cursors[4];
  kl_slice open_end = {NULL, 0};
  for (uint32_t i = 0; i < SPILL_KEYS; i += 2) write_row(&m, txn, &own, 0, i, next_row++);
  for (uint32_t i = 0; i < 4; i++) {
    char bytes[24];
    assert_ok(kl_cursor_open(txn, id_of(&m, 0), open_end, open_end, &cursors[i], &err), &err);
    assert_ok(kl_cursor_seek_ge(cursors[i], spill_key(100 + 2 * i, bytes), &err), &err);
  }
  for (uint32_t i = 0; i < SPILL_KEYS; i += 2) write_row(&m, txn, &own, 0, i, i == 100 ? 0 : next_row++);
  for (uint32_t i = 1; i < SPILL_KEYS; i += 2) write_row(&m, txn, &own, 0, i, next_row++);
  kl_slice key, value;
  assert_int_equal(kl_cursor_get(cursors[0], &key, &value, &err), KL_E_NOT_FOUND); /* deleted under it */
  assert_ok(kl_cursor_next(cursors[0], &err), &err);
  check_row(cursors[0], &own, 0, 101);
  check_row(cursors[1], &own, 0, 102);
  assert_ok(kl_cursor_prev(cursors[2], &err), &err);
  check_row(cursors[2], &own, 0, 103);
  kl_batch batch;
  kl_batch_init(&batch, kl_db_allocator(m.db));
  assert_ok(kl_cursor_next_batch(cursors[3], 1, 0, &batch, &err), &err);
  assert_int_equal(batch.count, 1);
  check_row(cursors[3], &own, 0, 107);
  kl_batch_destroy(&batch);
  for (int i = 0; i < 4; i++) kl_cursor_close(cursors[i]);
  assert_ok(kl_txn_commit(txn, NULL, &err), &err);
  kl_txn_release(txn);
  check_committed(&m, &own);
  machine_end(&m);
}

/* -------- conflicts -------- */

/* Writes all keys that do not end in 7. */
static void write_large(machine *m, kl_txn *txn, model *own) {
  for (uint32_t i = 0; i < SPILL_KEYS; i++) {
    if (i % 10 != 7) write_row(m, txn, own, (int)(i % SPILL_SPACES), i, next_row++);
  }
}

static void test_others_commit_meanwhile(void **state) {
  (void)state;
  machine m;
  kl_error err;
  kl_rng rng;
  static model own, committed;
  memset(&committed, 0, sizeof committed);
  kl_rng_init(&rng, test_seed(103));
  machine_new(&m, 103);
  for (int round = 0; round < 3; round++) {
    kl_txn *txn = begin_txn(&m, false);
    own = committed;
    for (uint32_t i = 0; i < SPILL_KEYS; i++) {
      if (i % 10 != 7) write_row(&m, txn, &own, (int)(i % SPILL_SPACES), i, next_row++);
      if (i % 100 == 0) write_others(&m, &committed, &rng);
    }
    check_all(&m, txn, &own);
    assert_ok(kl_txn_commit(txn, NULL, &err), &err);
    kl_txn_release(txn);
    for (int space = 0; space < SPILL_SPACES; space++) {
      for (uint32_t i = 0; i < SPILL_KEYS; i++) {
        if (i % 10 != 7) committed.row[space][i] = own.row[space][i];
      }
    }
    check_committed(&m, &committed);
    write_others(&m, &committed, &rng);
    check_committed(&m, &committed);
  }
  check_sound(m.db);
  machine_end(&m);
}

/* One key is written by somebody else: early, so that it has long been drained, or late; also back to what it was before. */
static void test_conflicts(void **state) {
  (void)state;
  machine m;
  kl_error err;
  kl_rng rng;
  static model own, committed;
  memset(&committed, 0, sizeof committed);
  kl_rng_init(&rng, test_seed(104));
  machine_new(&m, 104);
  for (int when = 0; when < 4; when++) {
    kl_txn *txn = begin_txn(&m, false), *other;
    own = committed;
    write_row(&m, txn, &own, 0, 5, next_row++);
    uint32_t old = committed.row[0][5];
    if (when < 2) {
      other = begin_txn(&m, false);
      write_row(&m, other, &committed, 0, 5, next_row++);
      assert_ok(kl_txn_commit(other, NULL, &err), &err);
      kl_txn_release(other);
    }
    write_large(&m, txn, &own);
    for (int i = 0; i < 40 && when == 0; i++) write_others(&m, &committed, &rng);
    if (when == 1) { /* nobody can have seen the difference */
      other = begin_txn(&m, false);
      write_row(&m, other, &committed, 0, 5, old);
      assert_ok(kl_txn_commit(other, NULL, &err), &err);
      kl_txn_release(other);
      assert_ok(kl_db_make_checkpoint(m.db, &err), &err);
    }
    if (when == 2) {
      other = begin_txn(&m, false);
      write_row(&m, other, &committed, 0, 5, next_row++);
      assert_ok(kl_txn_commit(other, NULL, &err), &err);
      kl_txn_release(other);
    }
    if (when == 3) assert_ok(kl_keyspace_drop(kl_db_catalogue(m.db), text("second"), &err), &err);
    kl_status status = kl_txn_commit(txn, NULL, &err);
    kl_txn_release(txn);
    if (when == 1) {
      assert_ok(status, &err);
      for (int space = 0; space < SPILL_SPACES; space++) {
        for (uint32_t i = 0; i < SPILL_KEYS; i++) {
          if (own.row[space][i] != 0) committed.row[space][i] = own.row[space][i];
        }
      }
    } else {
      assert_int_equal(status, KL_E_CONFLICT);
      assert_non_null(strstr(err.message, when == 3 ? "dropped" : "key-00005"));
    }
    if (when < 3) check_committed(&m, &committed);
    check_sound(m.db);
  }
  machine_end(&m);
}

/* The large one commits first: a small one that began before it, and wrote what could be among its keys, runs again. */
static void test_the_other_way_round(void **state) {
  (void)state;
  machine m;
  kl_error err;
  static model own, none;
  memset(&own, 0, sizeof own);
  machine_new(&m, 105);
  kl_txn *txn = begin_txn(&m, false), *inside = begin_txn(&m, false), *outside = begin_txn(&m, false),
         *reader = begin_txn(&m, true);
  write_large(&m, txn, &own);
  assert_ok(put_row(&m, inside, 0, 500, 77, &err), &err);
  assert_ok(kl_txn_put(outside, id_of(&m, 0), text("zzz"), text("value"), &err), &err);
  assert_ok(kl_txn_commit(txn, NULL, &err), &err);
  assert_int_equal(kl_txn_commit(inside, NULL, &err), KL_E_CONFLICT);
  assert_ok(kl_txn_commit(outside, NULL, &err), &err);
  check_all(&m, reader, &none);
  kl_txn_release(txn);
  kl_txn_release(inside);
  kl_txn_release(reader);
  inside = begin_txn(&m, false);
  write_row(&m, inside, &own, 0, 500, next_row++);
  assert_ok(kl_txn_commit(inside, NULL, &err), &err);
  kl_txn_release(inside);
  kl_txn_release(outside);
  outside = begin_txn(&m, false);
  assert_ok(kl_txn_delete(outside, id_of(&m, 0), text("zzz"), &err), &err);
  assert_ok(kl_txn_commit(outside, NULL, &err), &err);
  kl_txn_release(outside);
  check_committed(&m, &own);
  check_sound(m.db);
  machine_end(&m);
}

/* Two large ones at once, with different keys and with one in common. */
static void test_two_large(void **state) {
  (void)state;
  machine m;
  kl_error err;
  static model one, two, both;
  for (int common = 0; common < 2; common++) {
    memset(&one, 0, sizeof one);
    memset(&two, 0, sizeof two);
    machine_new(&m, 106);
    kl_txn *a = begin_txn(&m, false), *b = begin_txn(&m, false);
    for (uint32_t i = 0; i < SPILL_KEYS - 1; i++) {
      if (i % 2 == 0) write_row(&m, a, &one, 0, i, next_row++);
      if (i % 2 == 1) write_row(&m, b, &two, 0, i, next_row++);
    }
    if (common) write_row(&m, b, &two, 0, 1000, next_row++);
    assert_ok(kl_txn_commit(a, NULL, &err), &err);
    assert_int_equal(kl_txn_commit(b, NULL, &err), common ? KL_E_CONFLICT : KL_OK);
    kl_txn_release(a);
    kl_txn_release(b);
    both = one;
    for (uint32_t i = 1; i < SPILL_KEYS && !common; i += 2) both.row[0][i] = two.row[0][i];
    check_committed(&m, &both);
    check_sound(m.db);
    machine_end(&m);
  }
}

/* -------- what goes wrong -------- */

/* Something that is there, then one large transaction over it, then something on top. `own`: with the large one. */
static kl_status story(machine *m, model *before, model *own, model *last, bool *out_tried, kl_error *err) {
  kl_status status = KL_OK;
  *out_tried = false;
  kl_txn *txn = begin_txn(m, false);
  for (uint32_t i = 0; i < SPILL_KEYS && status == KL_OK; i += 20) {
    status = put_row(m, txn, 0, i, 1000 + i, err);
    before->row[0][i] = 1000 + i;
  }
  if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
  kl_txn_release(txn);
  *own = *last = *before;
  if (status != KL_OK) return status;
  txn = begin_txn(m, false);
  for (uint32_t i = 0; i < SPILL_KEYS && status == KL_OK; i++) {
    uint32_t key = i * 7 % SPILL_KEYS, row = i % 9 == 0 ? 0 : 5000 + i;
    status = put_row(m, txn, (int)(i % SPILL_SPACES), key, row, err);
    own->row[i % SPILL_SPACES][key] = row;
  }
  *last = *own;
  if (status == KL_OK) {
    *out_tried = true;
    status = kl_txn_commit(txn, NULL, err);
  }
  kl_txn_release(txn);
  if (status != KL_OK) return status;
  txn = begin_txn(m, false);
  status = put_row(m, txn, 1, 3, 9000, err);
  last->row[1][3] = 9000;
  if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
  kl_txn_release(txn);
  return status;
}

static bool sees(machine *m, int space, uint32_t key, uint32_t row) {
  char bytes[24];
  uint8_t expected[40000];
  kl_slice value;
  kl_error err;
  kl_txn *txn = begin_txn(m, true);
  kl_status status = kl_txn_get(txn, id_of(m, space), spill_key(key, bytes), &value, &err);
  bool same =
      row == 0 ? status == KL_E_NOT_FOUND : status == KL_OK && kl_slice_equal(value, spill_value(row, expected));
  kl_txn_release(txn);
  return same;
}

/* Whatever happened: one of the states that the story went through, whole. */
static int check_state(machine *m, const model *before, const model *own, const model *last) {
  static const model none;
  int which = sees(m, 1, 3, last->row[1][3]) && last->row[1][3] != own->row[1][3] ? 3
              : sees(m, 0, 70, own->row[0][70]) && own->row[0][70] != 0           ? 2
              : sees(m, 0, 0, before->row[0][0]) && before->row[0][0] != 0        ? 1
                                                                                  : 0;
  const model *states[] = {&none, before, own, last};
  check_committed(m, states[which]);
  check_sound(m->db);
  return which;
}

static void test_crashes(void **state) {
  (void)state;
  static model before, own, last;
  int crashes = 0, states[4] = {0};
  for (uint64_t n = 1;; n += n < 100 ? 2 : 7) {
    machine m;
    kl_error err;
    bool tried;
    memset(&before, 0, sizeof before);
    machine_new(&m, 200 + n);
    kl_sim_inject(m.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(m.sim) + n);
    kl_status status = story(&m, &before, &own, &last, &tried, &err);
    bool crashed = kl_sim_crashed(m.sim);
    for (int i = 0; i < SPILL_SPACES; i++) kl_keyspace_release(m.spaces[i]);
    (void)kl_db_release(m.db, NULL);
    kl_sim_restart(m.sim, n);
    machine_open(&m);
    int which = check_state(&m, &before, &own, &last);
    if (status == KL_OK) assert_int_equal(which, 3);
    states[which]++;
    crashes += crashed;
    machine_close(&m); /* all is in the file now, and there is no log */
    machine_open(&m);
    assert_int_equal(check_state(&m, &before, &own, &last), which);
    machine_end(&m);
    if (!crashed) break;
  }
  print_message("%d crashes; found before anything %d, before the large one %d, with it %d, at the end %d\n", crashes,
                states[0], states[1], states[2], states[3]);
  assert_true(states[1] > 10 && states[2] > 5 && states[3] > 0);
}

/* A crash, and one more at each operation of the recovery that goes on with the merging. */
static void test_crashes_of_recovery(void **state) {
  (void)state;
  static model before, own, last;
  int crashes = 0;
  for (uint64_t n = 1;; n += 1 + n / 10) {
    machine m;
    kl_error err;
    bool tried = false;
    memset(&before, 0, sizeof before);
    machine_new(&m, 107);
    /* In the middle of the merging: after the commit, before the end. */
    uint64_t first = kl_sim_operations(m.sim);
    static uint64_t middle;
    if (middle == 0) {
      assert_ok(story(&m, &before, &own, &last, &tried, &err), &err);
      middle = kl_sim_operations(m.sim) - first;
      machine_end(&m);
      memset(&before, 0, sizeof before);
      machine_new(&m, 107);
    }
    kl_sim_inject(m.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(m.sim) + middle - 12);
    (void)story(&m, &before, &own, &last, &tried, &err);
    for (int i = 0; i < SPILL_SPACES; i++) kl_keyspace_release(m.spaces[i]);
    (void)kl_db_release(m.db, NULL);
    kl_sim_restart(m.sim, 3);
    kl_sim_inject(m.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(m.sim) + n);
    kl_db_options options = {.spill_size = SPILL_SIZE, .delta_size = 32 << 10};
    kl_status status = kl_db_open(kl_sim_os(m.sim), CHECK_PATH, &options, &m.db, &err);
    if (status == KL_OK) (void)kl_db_release(m.db, NULL);
    bool crashed = kl_sim_crashed(m.sim);
    crashes += crashed;
    if (crashed) {
      kl_sim_restart(m.sim, n);
    } else {
      kl_sim_inject(m.sim, KL_SIM_FAULT_CRASH, UINT64_MAX);
    }
    machine_open(&m);
    assert_int_equal(check_state(&m, &before, &own, &last), 2);
    machine_end(&m);
    if (!crashed) break;
  }
  print_message("%d crashes of the recovery\n", crashes);
  assert_true(crashes > 10);
}

/* After a crash anywhere, a recovery that has to fall back by one checkpoint finds the same: the record of the run may be behind it, and then
 * the trees that it names are in it (TXN-15, DB-22). */
static void test_falls_back(void **state) {
  (void)state;
  static model before, own, last;
  int states[4] = {0};
  for (uint64_t n = 1;; n += 3) {
    machine m, damaged;
    kl_error err;
    bool tried;
    memset(&before, 0, sizeof before);
    machine_new(&m, 300);
    kl_sim_inject(m.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(m.sim) + n);
    (void)story(&m, &before, &own, &last, &tried, &err);
    bool crashed = kl_sim_crashed(m.sim);
    for (int i = 0; i < SPILL_SPACES; i++) kl_keyspace_release(m.spaces[i]);
    (void)kl_db_release(m.db, NULL);
    kl_sim_restart(m.sim, n);
    assert_int_equal(kl_sim_clone(m.sim, &damaged.sim), KL_OK);
    check_destroy_newest(damaged.sim);
    machine_open(&m);
    machine_open(&damaged);
    int which = check_state(&m, &before, &own, &last);
    assert_int_equal(check_state(&damaged, &before, &own, &last), which);
    states[which]++;
    machine_end(&m);
    machine_end(&damaged);
    if (!crashed) break;
  }
  print_message("fell back to: nothing %d, before the large one %d, with it %d, the end %d\n", states[0], states[1],
                states[2], states[3]);
  assert_true(states[1] > 10 && states[2] > 2);
}

/* What a salvage gets out of it is the same. */
static void check_salvaged(machine *m, const model *expected) {
  kl_error err;
  kl_check_report report;
  assert_ok(check_salvage(kl_sim_os(m->sim), &report, true, &err), &err);
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.keyspaces, SPILL_SPACES);
  m->db = db_open(kl_sim_os(m->sim), CHECK_COPY, NULL);
  for (int i = 0; i < SPILL_SPACES; i++) {
    assert_ok(kl_keyspace_open(kl_db_catalogue(m->db), text(space_names[i]), false, &m->spaces[i], &err), &err);
  }
  check_committed(m, expected);
  machine_close(m);
}

/* Opened for reading after a crash: the run is a layer, and nothing is written. */
static void test_read_only(void **state) {
  (void)state;
  static model before, own, last;
  machine m;
  kl_error err;
  bool tried;
  int with_run = 0;
  for (uint64_t back = 4; back < 60; back += 4) {
    memset(&before, 0, sizeof before);
    machine_new(&m, 108);
    uint64_t first = kl_sim_operations(m.sim);
    assert_ok(story(&m, &before, &own, &last, &tried, &err), &err);
    uint64_t all = kl_sim_operations(m.sim) - first;
    machine_end(&m);
    memset(&before, 0, sizeof before);
    machine_new(&m, 108);
    kl_sim_inject(m.sim, KL_SIM_FAULT_CRASH, kl_sim_operations(m.sim) + all - back);
    (void)story(&m, &before, &own, &last, &tried, &err);
    for (int i = 0; i < SPILL_SPACES; i++) kl_keyspace_release(m.spaces[i]);
    (void)kl_db_release(m.db, NULL);
    kl_sim_restart(m.sim, 3);
    kl_db_options options = {.read_only = true};
    m.db = db_open(kl_sim_os(m.sim), CHECK_PATH, &options);
    for (int i = 0; i < SPILL_SPACES; i++) {
      assert_ok(kl_keyspace_open(kl_db_catalogue(m.db), text(space_names[i]), false, &m.spaces[i], &err), &err);
    }
    with_run += sees(&m, 0, 70, own.row[0][70]);
    const model *found = sees(&m, 1, 3, 9000) ? &last : sees(&m, 0, 70, own.row[0][70]) ? &own : &before;
    check_committed(&m, found);
    machine_close(&m);
    check_salvaged(&m, found);
    assert_int_equal(kl_sim_live_bytes(m.sim), 0);
    kl_sim_free(m.sim);
  }
  print_message("%d times with the run\n", with_run);
  assert_true(with_run > 0);
}

/* Each allocation in turn: an error, everything as before, and it works when it is tried again. */
static void test_no_memory(void **state) {
  (void)state;
  static model before, own, last;
  int struck = 0;
  uint64_t latest = 0;
  for (uint64_t n = 1; n < latest + 80; n += 1 + n / 50) {
    machine m;
    kl_error err;
    bool tried;
    memset(&before, 0, sizeof before);
    machine_new(&m, 109);
    kl_sim_fail_allocation(m.sim, n);
    kl_status status = story(&m, &before, &own, &last, &tried, &err);
    kl_sim_fail_allocation(m.sim, 0);
    if (status != KL_OK) {
      assert_true(status == KL_E_NO_MEMORY || status == KL_E_LIMIT || status == KL_E_COMMIT_UNKNOWN);
      latest = n;
      struck++;
    }
    if (status == KL_OK || status == KL_E_NO_MEMORY) {
      int which = check_state(&m, &before, &own, &last);
      if (status == KL_OK) assert_int_equal(which, 3);
      memset(&before, 0, sizeof before);
      if (status != KL_OK && which == 0) assert_ok(story(&m, &before, &own, &last, &tried, &err), &err);
    }
    machine_end(&m);
  }
  print_message("%d allocations failed in turn\n", struck);
  assert_true(struck > 20);
}

/* No room: the write that finds it out says so, and is taken; with room the transaction goes on and commits. */
static void test_full_disk(void **state) {
  (void)state;
  machine m;
  kl_error err;
  static model own;
  int refused = 0;
  for (uint64_t n = 5; n < 200; n += 13) {
    memset(&own, 0, sizeof own);
    machine_new(&m, 110);
    kl_txn *txn = begin_txn(&m, false);
    kl_sim_inject(m.sim, KL_SIM_FAULT_DISK_FULL, kl_sim_operations(m.sim) + n);
    for (uint32_t i = 0; i < 2 * SPILL_KEYS; i++) {
      uint32_t key = i * 7 % SPILL_KEYS;
      kl_status status = put_row(&m, txn, 0, key, 10 * (i + 1), &err); /* every fifth value is a large one */
      own.row[0][key] = 10 * (i + 1);
      if (status == KL_OK) continue;
      assert_int_equal(status, KL_E_DISK_FULL);
      refused++;
      kl_sim_give_space(m.sim);
    }
    kl_sim_give_space(m.sim);
    check_all(&m, txn, &own);
    assert_ok(kl_txn_commit(txn, NULL, &err), &err);
    kl_txn_release(txn);
    check_committed(&m, &own);
    check_sound(m.db);
    machine_end(&m);
  }
  print_message("%d times the disk was full\n", refused);
  assert_true(refused > 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reads_its_writes),
      cmocka_unit_test(test_cursors_stay),
      cmocka_unit_test(test_others_commit_meanwhile),
      cmocka_unit_test(test_conflicts),
      cmocka_unit_test(test_the_other_way_round),
      cmocka_unit_test(test_two_large),
      cmocka_unit_test(test_crashes),
      cmocka_unit_test(test_crashes_of_recovery),
      cmocka_unit_test(test_read_only),
      cmocka_unit_test(test_falls_back),
      cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_full_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
