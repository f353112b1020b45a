/* A program of calls of the public ABI on one keyspace in memory, compared with a model after each.
 *
 * The input is the program: an opcode, then its operands. Packed operations and key offsets, the two formats that callers
 * write themselves, come from the input as they are; the model reads them by rules of its own, and both must agree on what
 * is malformed. Keys and values are kept short so that they meet often. */
#include <stdbool.h>
#include <string.h>

#include "capi/include/keel/keel.h"
#include "core/base/slice.h"
#include "fuzz.h"

enum { ROWS = 256, STEPS = 400, OPS_HEADER = 12 };

typedef struct row {
  kl_slice key, value; /* borrowed from the input */
} row;
typedef struct table { /* sorted by key */
  row rows[ROWS];
  size_t count;
} table;

typedef struct machine {
  const uint8_t *data;
  size_t left;
  keel_keyspace keyspace;
  keel_db db;
  keel_txn txn;
  keel_batch batch;
  table now, committed;
} machine;

/* ---- The input ---- */

static unsigned take_byte(machine *m) {
  if (m->left == 0) return 0;
  m->left--;
  return *m->data++;
}

static kl_slice take_bytes(machine *m, size_t size) {
  if (size > m->left) size = m->left;
  kl_slice bytes = kl_slice_make(m->data, size);
  m->data += size;
  m->left -= size;
  return bytes;
}

static kl_slice take_key(machine *m) {
  return take_bytes(m, take_byte(m) % 4);
}

/* ---- The model ---- */

/* First row with a key at or above `key`. */
static size_t model_find(const table *t, kl_slice key) {
  size_t i = 0;
  while (i < t->count && kl_slice_compare(t->rows[i].key, key) < 0) i++;
  return i;
}

static bool model_has(const table *t, kl_slice key, size_t *out) {
  *out = model_find(t, key);
  return *out < t->count && kl_slice_equal(t->rows[*out].key, key);
}

static void model_remove(table *t, size_t from, size_t to) {
  memmove(t->rows + from, t->rows + to, (t->count - to) * sizeof *t->rows);
  t->count -= to - from;
}

static void model_put(table *t, kl_slice key, kl_slice value) {
  size_t i;
  if (!model_has(t, key, &i)) {
    FUZZ_CHECK(t->count < ROWS); /* see room_for */
    memmove(t->rows + i + 1, t->rows + i, (t->count - i) * sizeof *t->rows);
    t->count++;
  }
  t->rows[i] = (row){key, value};
}

/* Reads packed operations as the header describes them; counts them, and applies them when `t` is given. */
static bool model_packed(kl_slice ops, table *t, uint64_t *out_count) {
  const uint8_t *p = ops.data;
  size_t left = ops.size;
  for (*out_count = 0; left != 0; ++*out_count) {
    if (left < OPS_HEADER || p[1] != 0 || p[2] != 0 || p[3] != 0) return false;
    if (p[0] != KEEL_BATCH_PUT && p[0] != KEEL_BATCH_DELETE) return false;
    uint64_t key_size = p[4] | (uint64_t)p[5] << 8 | (uint64_t)p[6] << 16 | (uint64_t)p[7] << 24;
    uint64_t value_size = p[8] | (uint64_t)p[9] << 8 | (uint64_t)p[10] << 16 | (uint64_t)p[11] << 24;
    if (key_size > KEEL_MAX_KEY_SIZE || value_size > KEEL_MAX_VALUE_SIZE) return false;
    if (key_size + value_size > left - OPS_HEADER) return false;
    if (p[0] == KEEL_BATCH_DELETE && value_size != 0) return false;
    kl_slice key = kl_slice_make(p + OPS_HEADER, (size_t)key_size);
    size_t i;
    if (t != NULL && p[0] == KEEL_BATCH_PUT) {
      model_put(t, key, kl_slice_make(p + OPS_HEADER + key_size, (size_t)value_size));
    } else if (t != NULL && model_has(t, key, &i)) {
      model_remove(t, i, i + 1);
    }
    p += OPS_HEADER + key_size + value_size;
    left -= OPS_HEADER + (size_t)(key_size + value_size);
  }
  return true;
}

/* ---- Calls ---- */

static void begin(machine *m) {
  FUZZ_CHECK(keel_begin(m->db, NULL, &m->txn, NULL) == KEEL_OK);
}

static void check_failure(keel_status status, const keel_error *err) {
  FUZZ_CHECK(status == KEEL_E_INVALID || status == KEEL_E_KEY_SIZE || status == KEEL_E_VALUE_SIZE);
  FUZZ_CHECK(err->code == status && err->message[0] != '\0');
}

static void call_packed(machine *m) {
  size_t size = take_byte(m);
  kl_slice ops = take_bytes(m, size);
  uint64_t count = 0;
  uint64_t expected = 0;
  keel_error err = {0};
  bool good = model_packed(ops, NULL, &expected);
  if (m->now.count + expected > ROWS) return;
  keel_status status = keel_write_batch(m->txn, m->keyspace, ops.data, ops.size, &count, &err);
  FUZZ_CHECK(good == (status == KEEL_OK));
  if (good) {
    FUZZ_CHECK(count == expected);
    (void)model_packed(ops, &m->now, &expected);
  } else {
    check_failure(status, &err);
  }
}

static void call_put(machine *m) {
  kl_slice key = take_key(m);
  kl_slice value = take_bytes(m, take_byte(m) % 32);
  if (m->now.count == ROWS) return;
  FUZZ_CHECK(keel_put(m->txn, m->keyspace, key.data, key.size, value.data, value.size, NULL) == KEEL_OK);
  model_put(&m->now, key, value);
}

static void call_del(machine *m) {
  kl_slice key = take_key(m);
  size_t i;
  FUZZ_CHECK(keel_del(m->txn, m->keyspace, key.data, key.size, NULL) == KEEL_OK);
  if (model_has(&m->now, key, &i)) model_remove(&m->now, i, i + 1);
}

static void call_del_range(machine *m) {
  unsigned ends = take_byte(m);
  kl_slice from = take_key(m);
  kl_slice to = take_key(m);
  if ((ends & 1) != 0) from = kl_slice_make(NULL, 0);
  if ((ends & 2) != 0) to = kl_slice_make(NULL, 0);
  uint64_t count = 0;
  FUZZ_CHECK(keel_del_range(m->txn, m->keyspace, from.data, from.size, to.data, to.size, &count, NULL) == KEEL_OK);
  size_t first = from.data != NULL ? model_find(&m->now, from) : 0;
  size_t end = to.data != NULL ? model_find(&m->now, to) : m->now.count;
  if (end < first) end = first;
  FUZZ_CHECK(count == end - first);
  model_remove(&m->now, first, end);
}

static kl_slice part_of(const void *packed, const uint64_t *offsets, size_t i) {
  size_t size = (size_t)(offsets[i + 1] - offsets[i]);
  return kl_slice_make(size != 0 ? (const uint8_t *)packed + offsets[i] : NULL, size);
}

/* Key offsets as they come: ascending or not. */
static void call_get_many(machine *m) {
  uint64_t offsets[9];
  size_t count = take_byte(m) % 8;
  bool good = true;
  kl_slice keys = take_bytes(m, 12);
  for (size_t i = 0; i <= count; i++) {
    offsets[i] = take_byte(m) % (keys.size + 1);
    good = good && (i == 0 ? offsets[0] == 0 : offsets[i] >= offsets[i - 1]);
  }
  keel_error err = {0};
  keel_status status = keel_get_many(m->txn, m->keyspace, keys.data, offsets, count, m->batch, &err);
  if (count == 0) good = true; /* there is nothing to look at */
  if (status != KEEL_OK) {
    FUZZ_CHECK(!good || count == 0);
    check_failure(status, &err);
    return;
  }
  FUZZ_CHECK(good);
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  FUZZ_CHECK(keel_batch_data(m->batch, &view, NULL) == KEEL_OK);
  FUZZ_CHECK(view.count == count);
  for (size_t i = 0; i < count; i++) {
    kl_slice key = part_of(keys.data, offsets, i);
    kl_slice value = part_of(view.values, view.value_offsets, i);
    size_t at;
    bool found = model_has(&m->now, key, &at);
    FUZZ_CHECK(view.found[i] == found);
    FUZZ_CHECK(!found || kl_slice_equal(value, m->now.rows[at].value));
  }
}

static void check_row(keel_cursor cursor, const row *expected) {
  const void *key = NULL;
  const void *value = NULL;
  size_t key_size = 0;
  size_t value_size = 0;
  FUZZ_CHECK(keel_cursor_get(cursor, &key, &key_size, &value, &value_size, NULL) == KEEL_OK);
  FUZZ_CHECK(kl_slice_equal(kl_slice_make(key, key_size), expected->key));
  FUZZ_CHECK(kl_slice_equal(kl_slice_make(value, value_size), expected->value));
}

/* A cursor that is moved about; `at` is where the model says it stands. */
static void call_cursor(machine *m) {
  keel_cursor cursor = 0;
  const table *t = &m->now;
  FUZZ_CHECK(keel_cursor_open(m->txn, m->keyspace, NULL, &cursor, NULL) == KEEL_OK);
  size_t at = 0;
  bool standing = false;
  for (unsigned moves = take_byte(m) % 16; moves > 0; moves--) {
    unsigned move = take_byte(m) % 4;
    keel_status status;
    if (move < 2) {
      kl_slice key = take_key(m);
      size_t i = model_find(t, key);
      bool exact = i < t->count && kl_slice_equal(t->rows[i].key, key);
      status = move == 0 ? keel_cursor_seek(cursor, key.data, key.size, NULL)
                         : keel_cursor_seek_le(cursor, key.data, key.size, NULL);
      standing = move == 0 ? i < t->count : exact || i > 0;
      at = move == 0 || exact ? i : i - 1;
    } else if (!standing) {
      status = move == 2 ? keel_cursor_first(cursor, NULL) : keel_cursor_last(cursor, NULL);
      standing = t->count != 0;
      at = move == 2 ? 0 : t->count - 1;
    } else {
      status = move == 2 ? keel_cursor_next(cursor, NULL) : keel_cursor_prev(cursor, NULL);
      standing = move == 2 ? at + 1 < t->count : at > 0;
      at = move == 2 ? at + 1 : at - 1;
    }
    FUZZ_CHECK(status == (standing ? KEEL_OK : KEEL_E_NOT_FOUND));
    if (standing) check_row(cursor, &t->rows[at]);
  }
  FUZZ_CHECK(keel_cursor_close(cursor, NULL) == KEEL_OK);
}

static void check_all_rows(machine *m) {
  keel_cursor cursor = 0;
  FUZZ_CHECK(keel_cursor_open(m->txn, m->keyspace, NULL, &cursor, NULL) == KEEL_OK);
  for (size_t i = 0; i < m->now.count; i++) {
    FUZZ_CHECK(keel_cursor_next(cursor, NULL) == KEEL_OK);
    check_row(cursor, &m->now.rows[i]);
  }
  FUZZ_CHECK(keel_cursor_next(cursor, NULL) == KEEL_E_NOT_FOUND);
  FUZZ_CHECK(keel_cursor_close(cursor, NULL) == KEEL_OK);
}

static void call_end(machine *m, bool commit) {
  check_all_rows(m);
  FUZZ_CHECK((commit ? keel_commit(m->txn, NULL, NULL) : keel_rollback(m->txn, NULL)) == KEEL_OK);
  if (commit) {
    m->committed = m->now;
  } else {
    m->now = m->committed;
  }
  begin(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static machine m;
  memset(&m, 0, sizeof m);
  m.data = data;
  m.left = size;
  FUZZ_CHECK(keel_open(":memory:", NULL, &m.db, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_keyspace_open(m.db, "fuzz", 4, NULL, &m.keyspace, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_batch_new(&m.batch, NULL) == KEEL_OK);
  begin(&m);
  for (int step = 0; step < STEPS && m.left > 0; step++) {
    switch (take_byte(&m) % 8) {
      case 0:
        call_packed(&m);
        break;
      case 1:
      case 2:
        call_put(&m);
        break;
      case 3:
        call_del(&m);
        break;
      case 4:
        call_del_range(&m);
        break;
      case 5:
        call_get_many(&m);
        break;
      case 6:
        call_cursor(&m);
        break;
      default:
        call_end(&m, take_byte(&m) % 2 == 0);
    }
  }
  call_end(&m, true);
  check_all_rows(&m);
  /* In an order that is not that of their making. */
  FUZZ_CHECK(keel_close(m.db, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_rollback(m.txn, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_keyspace_close(m.keyspace, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_batch_free(m.batch, NULL) == KEEL_OK);
  return 0;
}
