/* tests/unit/txn/test_txn_model.c: transactions against a model that is too simple to be wrong.
 *
 * A fixed, sorted universe of keys makes the model a table: per keyspace and key the committed value and the commit
 * that wrote it. A transaction of the model is a copy of that table plus its own writes. Every answer of the engine
 * is compared: values, cursor positions, batches, and whether a commit conflicts, which the model predicts exactly.
 *
 * Without trees first; then with drains in between, which freeze the delta in one step and finish in a later one, over
 * a store in memory and over a simulated file whose cache is as small as it can be (TXN-10 to TXN-12). */
#include <stdlib.h>

#include "core/base/rng.h"
#include "core/drain/drain.h"
#include "core/os/sim/sim.h"
#include "seed.h"
#include "txn_testing.h"

enum { SPACES = 3, KEYS = 72, TXNS = 6, CURSORS = 3, VIEWS = 16, STEPS = 150000, MODEL_VALUE_MAX = 6000, HISTORY = 4 };
enum { ABSENT = 0, DELETED = 1, FIRST_VALUE = 2 }; /* what a cell holds; from FIRST_VALUE on: the number of a value */

typedef struct model_key {
  uint8_t bytes[40];
  size_t size;
} model_key;
static model_key keys[KEYS];

typedef enum place { FRESH, BEFORE, ON, BEHIND } place;

typedef struct model_cursor {
  kl_cursor *cursor;
  uint32_t space;
  int lower, upper; /* key numbers: [lower, upper) */
  place place;
  int at;
} model_cursor;

typedef struct model_txn {
  kl_txn *txn;
  bool read_only;
  uint64_t begun_at; /* commits so far */
  uint64_t drains;   /* likewise */
  uint32_t seen[SPACES][KEYS];
  uint32_t own[SPACES][KEYS]; /* ABSENT: not written */
  model_cursor cursors[CURSORS];
} model_txn;

typedef enum model_store { NO_STORE, MEMORY_STORE, FILE_STORE } model_store;

typedef struct model {
  kl_os *os;
  kl_store *store;
  kl_pages *pages;
  uint64_t drains, too_old;
  kl_drain_place place; /* how far the drain has come */
  uint64_t slices;      /* that were not the last */
  kl_rng rng;
  uint64_t seed, step;
  kl_txn_manager *manager;
  uint64_t commits, last_ts, conflicts;
  uint32_t committed[SPACES][KEYS]; /* ABSENT or a value */
  uint64_t written_at[SPACES][KEYS];
  uint32_t next_value;
  model_txn txns[TXNS];
  struct {
    kl_view *view;
    uint32_t value;
  } views[VIEWS];
  kl_batch batch;
} model;

#define CHECK(condition)                                                                                           \
  do {                                                                                                             \
    if (!(condition)) {                                                                                            \
      (void)fprintf(stderr, "seed %llu step %llu: %s\n", (unsigned long long)m->seed, (unsigned long long)m->step, \
                    #condition);                                                                                   \
      fail();                                                                                                      \
    }                                                                                                              \
  } while (0)

static int compare_keys(const void *a, const void *b) {
  const model_key *x = a, *y = b;
  return kl_slice_compare(kl_slice_make(x->bytes, x->size), kl_slice_make(y->bytes, y->size));
}

/* Keys that share prefixes, differ only in length, contain zeros, and one that is empty. */
static void make_keys(void) {
  static const char *const prefixes[] = {"",         "a",  "abcdefgh",         "abcdefg",
                                         "\x00\x00", "zz", "abcdefghijklmnop", "\xff\xff"};
  for (size_t i = 0; i < KEYS; i++) {
    size_t size = i % 8 == 4 ? 2 : strlen(prefixes[i % 8]);
    memcpy(keys[i].bytes, prefixes[i % 8], size);
    for (size_t j = 0; j < i / 8; j++) keys[i].bytes[size + j] = (uint8_t)(j % 2 == 0 ? i / 8 - 1 : 0);
    keys[i].size = size + i / 8;
  }
  qsort(keys, KEYS, sizeof keys[0], compare_keys);
  for (size_t i = 1; i < KEYS; i++) assert_true(compare_keys(&keys[i - 1], &keys[i]) < 0);
}

/* An empty key is passed with a pointer: NULL would mean an open bound. */
static kl_slice key_slice(int i) {
  return kl_slice_make(keys[i].bytes, keys[i].size);
}

/* Value number n: most are short, some empty, a few larger than a page. */
static size_t value_size(uint32_t n) {
  uint64_t h = kl_mix64(n);
  if (h % 50 == 0) return (size_t)(h >> 32) % MODEL_VALUE_MAX;
  return (size_t)(h >> 32) % 60;
}

static kl_slice value_make(uint32_t n, uint8_t out[MODEL_VALUE_MAX]) {
  size_t size = value_size(n);
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(n + i * 7 + (n >> 8));
  return kl_slice_make(out, size);
}

static bool value_is(kl_slice got, uint32_t n) {
  uint8_t bytes[MODEL_VALUE_MAX];
  return kl_slice_equal(got, value_make(n, bytes));
}

static uint32_t below(model *m, uint32_t bound) {
  return (uint32_t)kl_rng_below(&m->rng, bound);
}

/* Keyspace 0 is the catalogue, where drains have rows of their own. */
static uint32_t keyspace_of(uint32_t space) {
  return space + 1;
}

/* The value number that the transaction sees, or ABSENT. */
static uint32_t sees(const model_txn *t, uint32_t space, int key) {
  uint32_t own = t->own[space][key];
  if (own == DELETED) return ABSENT;
  return own != ABSENT ? own : t->seen[space][key];
}

/* The nearest key that the transaction sees at or behind `from` in steps of `by`, within [low, high); -1: none. */
static int nearest(const model_txn *t, uint32_t space, int from, int by, int low, int high) {
  for (int i = from; i >= low && i < high; i += by) {
    if (sees(t, space, i) != ABSENT) return i;
  }
  return -1;
}

static void model_begin(model *m, model_txn *t) {
  memset(t, 0, sizeof *t);
  t->read_only = below(m, 5) == 0;
  kl_txn_options options = {.read_only = t->read_only, .label = "model"};
  kl_error err;
  assert_ok(kl_txn_begin(m->manager, &options, &t->txn, &err), &err);
  CHECK(kl_txn_is_read_only(t->txn) == t->read_only);
  t->begun_at = m->commits;
  t->drains = m->drains;
  memcpy(t->seen, m->committed, sizeof t->seen);
}

static void model_close_cursors(model_txn *t, bool finished) {
  for (int i = 0; i < CURSORS; i++) {
    if (t->cursors[i].cursor == NULL) continue;
    kl_slice key, value;
    kl_error err;
    if (finished) {
      assert_int_equal(kl_cursor_next(t->cursors[i].cursor, &err), KL_E_FINISHED);
      assert_int_equal(kl_cursor_get(t->cursors[i].cursor, &key, &value, &err), KL_E_FINISHED);
    }
    kl_cursor_close(t->cursors[i].cursor);
    t->cursors[i].cursor = NULL;
  }
}

static void model_end(model *m, model_txn *t, bool do_commit) {
  kl_error err;
  bool wrote = false, conflict = false;
  for (uint32_t s = 0; s < SPACES; s++) {
    for (int k = 0; k < KEYS; k++) {
      if (t->own[s][k] == ABSENT) continue;
      wrote = true;
      conflict = conflict || m->written_at[s][k] > t->begun_at;
    }
  }
  if (do_commit) {
    uint64_t ts = 77;
    kl_status status = kl_txn_commit(t->txn, &ts, &err);
    /* A transaction that many drains have passed may be refused without a conflict: what it would have to be compared
     * with is forgotten. */
    bool too_old = status == KL_E_CONFLICT && !conflict;
    if (too_old) {
      CHECK(wrote && m->drains > t->drains + HISTORY && strstr(err.message, "older than the writes") != NULL);
      m->too_old++;
    } else {
      CHECK(status == (conflict ? KL_E_CONFLICT : KL_OK));
    }
    if (status == KL_OK) CHECK(wrote ? ts > m->last_ts : ts == 0);
    if (status == KL_E_CONFLICT) m->conflicts++;
    if (status == KL_OK && wrote) {
      m->last_ts = ts;
      m->commits++;
      for (uint32_t s = 0; s < SPACES; s++) {
        for (int k = 0; k < KEYS; k++) {
          if (t->own[s][k] == ABSENT) continue;
          m->committed[s][k] = t->own[s][k] == DELETED ? ABSENT : t->own[s][k];
          m->written_at[s][k] = m->commits;
        }
      }
    }
  } else if (below(m, 2) == 0) {
    assert_ok(kl_txn_rollback(t->txn, &err), &err);
  } else {
    kl_txn_release(t->txn); /* releasing rolls back; its cursors keep it alive */
    t->txn = NULL;
  }
  if (t->txn != NULL) {
    CHECK(kl_txn_commit(t->txn, NULL, &err) == KL_E_FINISHED);
    CHECK(kl_txn_rollback(t->txn, &err) == KL_E_FINISHED);
    kl_txn_release(t->txn);
    t->txn = NULL;
  }
  model_close_cursors(t, true);
}

static void model_write(model *m, model_txn *t) {
  uint32_t space = below(m, SPACES);
  int key = (int)below(m, KEYS);
  bool deleting = below(m, 3) == 0;
  uint32_t value = m->next_value;
  uint8_t bytes[MODEL_VALUE_MAX];
  kl_error err;
  kl_status status = deleting ? kl_txn_delete(t->txn, keyspace_of(space), key_slice(key), &err)
                              : kl_txn_put(t->txn, keyspace_of(space), key_slice(key), value_make(value, bytes), &err);
  if (t->read_only) {
    CHECK(status == KL_E_READ_ONLY);
    return;
  }
  assert_ok(status, &err);
  if (!deleting) m->next_value++;
  t->own[space][key] = deleting ? (uint32_t)DELETED : value;
}

static void model_delete_range(model *m, model_txn *t) {
  uint32_t space = below(m, SPACES);
  int low = (int)below(m, KEYS), high = low + (int)below(m, 12);
  kl_slice from = key_slice(low), to = {NULL, 0};
  if (high < KEYS) to = key_slice(high);
  if (high >= KEYS) high = KEYS;
  if (low == 0 && below(m, 2) == 0) from.data = NULL;
  if (from.data == NULL) from.size = 0;
  uint64_t count = 0, expected = 0;
  kl_error err;
  kl_status status = kl_txn_delete_range(t->txn, keyspace_of(space), from, to, &count, &err);
  if (t->read_only) {
    CHECK(status == KL_E_READ_ONLY);
    return;
  }
  assert_ok(status, &err);
  for (int k = low; k < high; k++) {
    if (sees(t, space, k) == ABSENT) continue;
    t->own[space][k] = DELETED;
    expected++;
  }
  CHECK(count == expected);
}

static void model_get(model *m, model_txn *t) {
  uint32_t space = below(m, SPACES);
  int key = (int)below(m, KEYS);
  uint32_t expected = sees(t, space, key);
  kl_slice value;
  kl_error err;
  kl_status status = kl_txn_get(t->txn, keyspace_of(space), key_slice(key), &value, &err);
  CHECK(status == (expected == ABSENT ? KL_E_NOT_FOUND : KL_OK));
  if (status == KL_OK) CHECK(value_is(value, expected)); /* borrowed until the next call */
  uint8_t buffer[32], bytes[MODEL_VALUE_MAX];
  size_t size;
  status = kl_txn_get_copy(t->txn, keyspace_of(space), key_slice(key), buffer, sizeof buffer, &size, &err);
  if (expected == ABSENT) {
    CHECK(status == KL_E_NOT_FOUND);
  } else {
    CHECK(size == value_size(expected));
    CHECK(status == (size > sizeof buffer ? KL_E_BUFFER_SIZE : KL_OK));
    value = value_make(expected, bytes);
    CHECK(memcmp(buffer, value.data, size < sizeof buffer ? size : sizeof buffer) == 0);
  }
}

/* A view is kept across the ends of transactions and checked when its place is needed. */
static void model_view(model *m, model_txn *t) {
  uint32_t i = below(m, VIEWS), space = below(m, SPACES);
  int key = (int)below(m, KEYS);
  if (m->views[i].view != NULL) CHECK(value_is(kl_view_value(m->views[i].view), m->views[i].value));
  kl_view_release(m->views[i].view);
  m->views[i].view = NULL;
  uint32_t expected = sees(t, space, key);
  kl_error err;
  kl_status status = kl_txn_get_view(t->txn, keyspace_of(space), key_slice(key), &m->views[i].view, &err);
  CHECK(status == (expected == ABSENT ? KL_E_NOT_FOUND : KL_OK));
  m->views[i].value = expected;
}

static void model_get_many(model *m, model_txn *t) {
  uint32_t space = below(m, SPACES);
  uint8_t packed[10 * sizeof keys[0].bytes];
  uint64_t offsets[11] = {0};
  int wanted[10];
  uint32_t count = below(m, 11);
  for (uint32_t i = 0; i < count; i++) {
    wanted[i] = (int)below(m, KEYS);
    memcpy(packed + offsets[i], keys[wanted[i]].bytes, keys[wanted[i]].size);
    offsets[i + 1] = offsets[i] + keys[wanted[i]].size;
  }
  kl_error err;
  assert_ok(kl_txn_get_many(t->txn, keyspace_of(space), packed, offsets, count, &m->batch, &err), &err);
  CHECK(m->batch.count == count && m->batch.key_offsets[0] == 0 && m->batch.value_offsets[0] == 0);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t expected = sees(t, space, wanted[i]);
    CHECK(m->batch.found[i] == (expected != ABSENT));
    uint64_t from = m->batch.value_offsets[i], to = m->batch.value_offsets[i + 1];
    if (expected == ABSENT) {
      CHECK(from == to);
    } else {
      CHECK(value_is(kl_slice_make(m->batch.values + from, to - from), expected));
    }
  }
}

static void cursor_replace(model *m, model_txn *t, model_cursor *c) {
  kl_cursor_close(c->cursor);
  memset(c, 0, sizeof *c);
  c->space = below(m, SPACES);
  c->upper = KEYS;
  kl_slice lower = {NULL, 0}, upper = {NULL, 0};
  if (below(m, 3) == 0) {
    c->lower = (int)below(m, KEYS);
    lower = key_slice(c->lower);
  }
  if (below(m, 3) == 0) {
    c->upper = (int)below(m, KEYS);
    upper = key_slice(c->upper);
  }
  kl_error err;
  assert_ok(kl_cursor_open(t->txn, keyspace_of(c->space), lower, upper, &c->cursor, &err), &err);
}

/* Sets the model cursor to key number `to`, or off the end in the given direction. */
static kl_status cursor_expect(model_cursor *c, int to, bool forward) {
  c->place = to >= 0 ? ON : forward ? BEHIND : BEFORE;
  c->at = to;
  return to >= 0 ? KL_OK : KL_E_NOT_FOUND;
}

static kl_status expect_step(const model_txn *t, model_cursor *c, bool forward) {
  if (c->place == (forward ? BEHIND : BEFORE)) return KL_E_NOT_FOUND;
  int from = forward ? c->lower : c->upper - 1;
  if (c->place == ON) from = forward ? c->at + 1 : c->at - 1;
  return cursor_expect(c, nearest(t, c->space, from, forward ? 1 : -1, c->lower, c->upper), forward);
}

static void cursor_check(model *m, const model_txn *t, const model_cursor *c) {
  kl_slice key, value;
  kl_error err;
  kl_status status = kl_cursor_get(c->cursor, &key, &value, &err);
  uint32_t expected = c->place == ON ? sees(t, c->space, c->at) : (uint32_t)ABSENT;
  CHECK(status == (expected == ABSENT ? KL_E_NOT_FOUND : KL_OK));
  if (status != KL_OK) return;
  CHECK(kl_slice_equal(key, key_slice(c->at)));
  CHECK(value_is(value, expected));
}

static void cursor_move(model *m, const model_txn *t, model_cursor *c) {
  kl_error err;
  kl_status status, expected;
  int key = (int)below(m, KEYS);
  int low = key > c->lower ? key : c->lower, high = key < c->upper ? key : c->upper - 1;
  switch (below(m, 10)) {
    case 0:
      status = kl_cursor_first(c->cursor, &err);
      expected = cursor_expect(c, nearest(t, c->space, c->lower, 1, c->lower, c->upper), true);
      break;
    case 1:
      status = kl_cursor_last(c->cursor, &err);
      expected = cursor_expect(c, nearest(t, c->space, c->upper - 1, -1, c->lower, c->upper), false);
      break;
    case 2:
      status = kl_cursor_seek_ge(c->cursor, key_slice(key), &err);
      expected = cursor_expect(c, nearest(t, c->space, low, 1, c->lower, c->upper), true);
      break;
    case 3:
      status = kl_cursor_seek_le(c->cursor, key_slice(key), &err);
      expected = cursor_expect(c, nearest(t, c->space, high, -1, c->lower, c->upper), false);
      break;
    case 4:
    case 5:
    case 6:
      status = kl_cursor_next(c->cursor, &err);
      expected = expect_step(t, c, true);
      break;
    default:
      status = kl_cursor_prev(c->cursor, &err);
      expected = expect_step(t, c, false);
      break;
  }
  CHECK(status == expected);
}

static void cursor_batch(model *m, const model_txn *t, model_cursor *c) {
  bool forward = below(m, 2) == 0;
  size_t max_rows = below(m, 8), max_bytes = below(m, 300);
  kl_error err;
  assert_ok(forward ? kl_cursor_next_batch(c->cursor, max_rows, max_bytes, &m->batch, &err)
                    : kl_cursor_prev_batch(c->cursor, max_rows, max_bytes, &m->batch, &err),
            &err);
  size_t rows = 0, bytes = 0;
  for (;;) {
    model_cursor before = *c;
    if (max_rows != 0 && rows == max_rows) break;
    if (expect_step(t, c, forward) != KL_OK) {
      if (rows != 0) *c = before; /* it stays on the last row; without one it has run off the end */
      break;
    }
    uint32_t value = sees(t, c->space, c->at);
    size_t size = keys[c->at].size + value_size(value);
    if (rows != 0 && bytes + size > (max_bytes == 0 ? (size_t)1048576 : max_bytes)) {
      *c = before;
      break;
    }
    CHECK(rows < m->batch.count && m->batch.found[rows] == 1);
    uint64_t key_from = m->batch.key_offsets[rows], value_from = m->batch.value_offsets[rows];
    CHECK(kl_slice_equal(kl_slice_make(m->batch.keys + key_from, m->batch.key_offsets[rows + 1] - key_from),
                         key_slice(c->at)));
    CHECK(value_is(kl_slice_make(m->batch.values + value_from, m->batch.value_offsets[rows + 1] - value_from), value));
    bytes += size;
    rows++;
  }
  CHECK(m->batch.count == rows);
}

static void model_open_store(model *m, model_store kind) {
  kl_error err;
  kl_store_options options = {.page_size = 4096};
  if (kind == NO_STORE) return;
  if (kind == MEMORY_STORE) {
    assert_ok(kl_store_new_memory(m->os, 4096, &m->store, &err), &err);
  } else {
    assert_ok(kl_store_create(m->os, "model", &options, &m->store, &err), &err);
  }
  kl_pages_options pages = {.os = m->os,
                            .allocator = kl_txn_manager_allocator(m->manager),
                            .store = m->store,
                            .cache_limit = KL_CACHE_LIMIT_MIN};
  assert_ok(kl_pages_new(&pages, &m->pages, &err), &err);
  kl_roots *roots;
  kl_tree_pointer none = {0};
  assert_ok(kl_roots_open(m->pages, &none, 1, 0, &roots, &err), &err);
  assert_ok(kl_txn_manager_set_roots(m->manager, roots, &err), &err);
  kl_roots_unref(roots);
}

static void model_close_store(model *m) {
  if (m->store == NULL) return;
  kl_pages_detach(m->pages);
  kl_pages_unref(m->pages);
  kl_store_close(m->store);
}

/* Freezes; or, if something is frozen already, drains it, or a slice of it. */
static void model_drain(model *m) {
  kl_txn_frozen frozen;
  kl_error err;
  uint64_t live[64];
  assert_ok(kl_txn_manager_freeze(m->manager, &frozen, &err), &err);
  if (frozen.delta == NULL || below(m, 2) == 0) return;
  kl_roots *base = kl_txn_manager_roots(m->manager), *roots;
  kl_drain_input input = {.pages = m->pages,
                          .store = m->store,
                          .allocator = m->os->allocator,
                          .delta = frozen.delta,
                          .ts = frozen.ts,
                          .base = base,
                          .live = live,
                          .place = &m->place,
                          .slice_bytes = (uint64_t)below(m, 8) * 4096};
  input.live_count = kl_txn_manager_live_roots(m->manager, live, 64);
  CHECK(input.live_count >= 1 && input.live_count <= TXNS + 1);
  assert_ok(kl_drain_run(&input, &roots, NULL, &err), &err);
  if (m->place.complete) {
    assert_ok(kl_txn_manager_drained(m->manager, roots, 1, &err), &err);
    memset(&m->place, 0, sizeof m->place);
    m->drains++;
  } else {
    assert_ok(kl_txn_manager_moved(m->manager, roots, &err), &err);
    m->slices++;
  }
  kl_roots_unref(base);
  kl_roots_unref(roots);
}

static void model_step(model *m) {
  if (m->store != NULL && below(m, 4) == 0) model_drain(m);
  model_txn *t = &m->txns[below(m, TXNS)];
  if (t->txn == NULL) {
    model_begin(m, t);
    return;
  }
  uint32_t what = below(m, 100);
  model_cursor *c = &t->cursors[below(m, CURSORS)];
  if (what < 30) {
    model_write(m, t);
  } else if (what < 40) {
    model_get(m, t);
  } else if (what < 42) {
    model_view(m, t);
  } else if (what < 44) {
    model_get_many(m, t);
  } else if (what < 45) {
    model_delete_range(m, t);
  } else if (what < 48) {
    model_end(m, t, what < 47);
  } else if (c->cursor == NULL || what < 50) {
    cursor_replace(m, t, c);
  } else if (what < 56) {
    cursor_batch(m, t, c);
  } else if (what < 92) {
    cursor_move(m, t, c);
  }
  if (t->txn != NULL && c->cursor != NULL) cursor_check(m, t, c);
}

static void run_model(kl_os *os, model_store kind, uint64_t seed) {
  model *m = calloc(1, sizeof *m);
  assert_non_null(m);
  m->seed = seed;
  m->next_value = FIRST_VALUE;
  kl_rng_init(&m->rng, seed);
  m->os = os;
  kl_error err;
  kl_txn_manager_options options = {0};
  assert_ok(kl_txn_manager_new(os, &options, &m->manager, &err), &err);
  model_open_store(m, kind);
  kl_txn_manager_start(m->manager, NULL, 0);
  kl_batch_init(&m->batch, os->allocator);
  for (m->step = 0; m->step < STEPS; m->step++) model_step(m);
  for (int i = 0; i < TXNS; i++) {
    if (m->txns[i].txn != NULL) model_end(m, &m->txns[i], true);
  }
  kl_txn_manager_stats stats;
  kl_txn_manager_get_stats(m->manager, &stats);
  CHECK(stats.commits == m->commits && stats.conflicts == m->conflicts);
  CHECK(stats.transactions_live == 0 && stats.snapshots_live == 0);
  CHECK(m->commits > 500 && m->conflicts > 100); /* the run has tried what it is for */
  CHECK(kind == NO_STORE || (m->drains > 1000 && m->slices > 100 && m->too_old != 0));
  kl_batch_destroy(&m->batch);
  kl_txn_manager_close(m->manager);
  model_close_store(m);
  kl_txn_manager_unref(m->manager);
  for (int i = 0; i < VIEWS; i++) { /* views outlive everything */
    if (m->views[i].view != NULL) CHECK(value_is(kl_view_value(m->views[i].view), m->views[i].value));
    kl_view_release(m->views[i].view);
  }
  free(m);
}

static void test_model(void **state) {
  (void)state;
  uint64_t seed = test_seed(0x6b65656c);
  for (uint64_t i = 0; i < 2; i++) run_model(kl_os_posix(), NO_STORE, seed + i);
}

static void test_drains_in_memory(void **state) {
  (void)state;
  uint64_t seed = test_seed(0x6b65656c);
  for (uint64_t i = 0; i < 2; i++) run_model(kl_os_posix(), MEMORY_STORE, seed + i);
}

static void test_drains_to_a_file(void **state) {
  (void)state;
  uint64_t seed = test_seed(0x6b65656c);
  for (uint64_t i = 0; i < 2; i++) {
    kl_sim *sim;
    kl_error err;
    assert_ok(kl_sim_new(seed + i, &sim, &err), &err);
    run_model(kl_sim_os(sim), FILE_STORE, seed + i);
    assert_int_equal(kl_sim_live_bytes(sim), 0);
    kl_sim_free(sim);
  }
}

int main(void) {
  make_keys();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_model), cmocka_unit_test(test_drains_in_memory),
                                     cmocka_unit_test(test_drains_to_a_file)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
