/* Several transactions at once, one call after the other, compared with a model that knows every answer.
 *
 * The input is a program: an opcode, then its operands. Up to three transactions live at a time, with cursors that
 * move while they write, views that outlive everything, and keyspaces that are dropped and made again under all of
 * them. The model keeps each transaction's snapshot as a copy, and says for each commit whether it conflicts, and for
 * each cursor where it stands. */
#include <stdbool.h>
#include <string.h>

#include "capi/include/keel/keel.h"
#include "core/base/slice.h"
#include "fuzz.h"

enum { KEYS = 20, SPACES = 6, TXNS = 3, CURSORS = 4, VIEWS = 8, STEPS = 500, VALUE_MAX = 300, NOT_WRITTEN = -1 };

/* Sorted. Prefixes of each other, equal in their first eight bytes, zeros and 0xFF at the ends. */
static const struct api_key {
  const char *bytes;
  size_t size;
} api_keys[KEYS] = {{"", 0},         {"\0", 1},         {"\0\0", 2},      {"\0\1", 2},      {"a", 1},
                    {"a\0", 2},      {"aa", 2},         {"abcdefg", 7},   {"abcdefg\0", 8}, {"abcdefg\0\0", 9},
                    {"abcdefgh", 8}, {"abcdefgh\0", 9}, {"abcdefghi", 9}, {"abcdefgi", 8},  {"b", 1},
                    {"b\xff", 2},    {"b\xff\xff", 3},  {"c", 1},         {"\xff", 1},      {"\xff\xff", 2}};

/* Values by number; 0: no value. */
typedef struct api_rows {
  int value[KEYS];
} api_rows;

typedef struct api_space { /* one life of a keyspace; a name that is made again is another one */
  keel_keyspace handle;
  bool made, dropped;
  uint64_t drop_time;
  api_rows rows;
  uint64_t time[KEYS]; /* of the last committed write, deletes included */
} api_space;

typedef struct api_txn {
  keel_txn handle; /* 0: none */
  uint64_t snapshot;
  bool read_only;
  api_rows seen[SPACES]; /* the snapshot */
  int written[SPACES][KEYS];
} api_txn;

typedef enum api_place { FRESH, BEFORE, ON, BEHIND } api_place;
typedef struct api_cursor {
  keel_cursor handle; /* 0: none */
  size_t txn, space;
  keel_txn of;              /* the transaction that it was opened in, which may have ended */
  int lower, upper, prefix; /* keys; -1: none */
  api_place place;
  int at;
} api_cursor;

typedef struct api_machine {
  const uint8_t *data;
  size_t left;
  keel_db db;
  keel_batch batch;
  uint64_t now, last_timestamp;
  int next_value;
  size_t spaces; /* lives so far; the newest is the one that the name means */
  api_space space[SPACES];
  api_txn txn[TXNS];
  api_cursor cursor[CURSORS];
  keel_view view[VIEWS];
  int view_value[VIEWS];
} api_machine;

static unsigned api_take(api_machine *m, unsigned below) {
  if (m->left == 0) return 0;
  m->left--;
  return *m->data++ % below;
}

static size_t api_value(int number, uint8_t out[VALUE_MAX]) {
  size_t size = (size_t)(number * 7 % VALUE_MAX);
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(number + (int)i);
  return size;
}

static void api_check_value(int number, const void *value, size_t size) {
  uint8_t expected[VALUE_MAX];
  FUZZ_CHECK(number > 0);
  FUZZ_CHECK(size == api_value(number, expected));
  FUZZ_CHECK(value != NULL && memcmp(value, expected, size) == 0);
}

static kl_slice api_key(int number) {
  return kl_slice_make(api_keys[number].bytes, api_keys[number].size);
}

static int api_seen(const api_txn *t, size_t space, int key) {
  int own = t->written[space][key];
  return own != NOT_WRITTEN ? own : t->seen[space].value[key];
}

/* ---- Keyspaces ---- */

static void api_make_space(api_machine *m) {
  if (m->spaces == SPACES) return;
  api_space *s = &m->space[m->spaces];
  FUZZ_CHECK(keel_keyspace_open(m->db, "space", 5, NULL, &s->handle, NULL) == KEEL_OK);
  s->made = true;
  m->spaces++;
  m->now++;
}

static void api_drop(api_machine *m) {
  if (m->spaces == SPACES) return;
  api_space *s = &m->space[m->spaces - 1];
  FUZZ_CHECK(keel_keyspace_drop(m->db, "space", 5, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_keyspace_drop(m->db, "space", 5, NULL) == KEEL_E_KEYSPACE_NOT_FOUND);
  s->dropped = true;
  s->drop_time = ++m->now;
  api_make_space(m);
}

/* ---- Transactions ---- */

static void api_begin(api_machine *m) {
  api_txn *t = &m->txn[api_take(m, TXNS)];
  if (t->handle != 0) return;
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  t->read_only = api_take(m, 8) == 7;
  options.flags = t->read_only ? KEEL_TXN_READ_ONLY : 0;
  FUZZ_CHECK(keel_begin(m->db, &options, &t->handle, NULL) == KEEL_OK);
  t->snapshot = m->now;
  for (size_t space = 0; space < SPACES; space++) {
    t->seen[space] = m->space[space].rows;
    for (int key = 0; key < KEYS; key++) t->written[space][key] = NOT_WRITTEN;
  }
}

static bool api_conflicts(const api_machine *m, const api_txn *t, bool *out_wrote) {
  bool conflict = false;
  *out_wrote = false;
  for (size_t space = 0; space < SPACES; space++) {
    for (int key = 0; key < KEYS; key++) {
      if (t->written[space][key] == NOT_WRITTEN) continue;
      *out_wrote = true;
      conflict |= m->space[space].time[key] > t->snapshot;
      conflict |= m->space[space].dropped && m->space[space].drop_time > t->snapshot;
    }
  }
  return conflict;
}

static void api_end(api_machine *m, bool commit) {
  api_txn *t = &m->txn[api_take(m, TXNS)];
  if (t->handle == 0) return;
  bool wrote, conflict = api_conflicts(m, t, &wrote);
  if (commit) {
    uint64_t timestamp = 77;
    keel_status status = keel_commit(t->handle, &timestamp, NULL);
    FUZZ_CHECK(status == (conflict ? KEEL_E_CONFLICT : KEEL_OK));
    if (!wrote) FUZZ_CHECK(timestamp == 0);
    if (conflict) FUZZ_CHECK(timestamp == 77);
    if (wrote && !conflict) {
      FUZZ_CHECK(timestamp > m->last_timestamp);
      m->last_timestamp = timestamp;
      m->now++;
      for (size_t space = 0; space < SPACES; space++) {
        for (int key = 0; key < KEYS; key++) {
          if (t->written[space][key] == NOT_WRITTEN) continue;
          m->space[space].rows.value[key] = t->written[space][key];
          m->space[space].time[key] = m->now;
        }
      }
    }
  } else {
    FUZZ_CHECK(keel_rollback(t->handle, NULL) == KEEL_OK);
  }
  FUZZ_CHECK(keel_commit(t->handle, NULL, NULL) == KEEL_E_FINISHED);
  t->handle = 0;
}

/* What a write or read in this keyspace answers before anything else; KEEL_OK: it is done. */
static keel_status api_expected(const api_machine *m, const api_txn *t, size_t space, bool write) {
  if (m->space[space].dropped) return KEEL_E_KEYSPACE_NOT_FOUND;
  return write && t->read_only ? KEEL_E_READ_ONLY : KEEL_OK;
}

static void api_put(api_machine *m) {
  api_txn *t = &m->txn[api_take(m, TXNS)];
  size_t space = api_take(m, (unsigned)m->spaces);
  int key = (int)api_take(m, KEYS), number = ++m->next_value;
  if (t->handle == 0) return;
  uint8_t value[VALUE_MAX];
  size_t size = api_value(number, value);
  keel_status expected = api_expected(m, t, space, true);
  keel_status status =
      keel_put(t->handle, m->space[space].handle, api_keys[key].bytes, api_keys[key].size, value, size, NULL);
  FUZZ_CHECK(status == expected);
  if (status == KEEL_OK) t->written[space][key] = number;
}

static void api_del(api_machine *m) {
  api_txn *t = &m->txn[api_take(m, TXNS)];
  size_t space = api_take(m, (unsigned)m->spaces);
  int key = (int)api_take(m, KEYS);
  if (t->handle == 0) return;
  keel_status status = keel_del(t->handle, m->space[space].handle, api_keys[key].bytes, api_keys[key].size, NULL);
  FUZZ_CHECK(status == api_expected(m, t, space, true));
  if (status == KEEL_OK) t->written[space][key] = 0;
}

static void api_del_range(api_machine *m) {
  api_txn *t = &m->txn[api_take(m, TXNS)];
  size_t space = api_take(m, (unsigned)m->spaces);
  int from = (int)api_take(m, KEYS + 1) - 1, to = (int)api_take(m, KEYS + 1) - 1;
  if (t->handle == 0) return;
  kl_slice first = from < 0 ? kl_slice_make(NULL, 0) : api_key(from), end = to < 0 ? first : api_key(to);
  if (to < 0) end = kl_slice_make(NULL, 0);
  uint64_t count = 99, removed = 0;
  keel_status status =
      keel_del_range(t->handle, m->space[space].handle, first.data, first.size, end.data, end.size, &count, NULL);
  FUZZ_CHECK(status == api_expected(m, t, space, true));
  if (status != KEEL_OK) return;
  for (int key = from < 0 ? 0 : from; key < (to < 0 ? KEYS : to); key++) {
    if (api_seen(t, space, key) == 0) continue;
    t->written[space][key] = 0;
    removed++;
  }
  FUZZ_CHECK(count == removed);
}

static void api_get(api_machine *m) {
  api_txn *t = &m->txn[api_take(m, TXNS)];
  size_t space = api_take(m, (unsigned)m->spaces);
  int key = (int)api_take(m, KEYS);
  unsigned how = api_take(m, 12);
  if (t->handle == 0) return;
  keel_status expected = api_expected(m, t, space, false);
  int number = api_seen(t, space, key);
  if (expected == KEEL_OK && number == 0) expected = KEEL_E_NOT_FOUND;
  keel_keyspace keyspace = m->space[space].handle;
  const void *value = NULL;
  uint8_t copy[VALUE_MAX];
  size_t size = 0;
  if (how < VIEWS) {
    keel_view *view = &m->view[how];
    if (*view != 0) return;
    FUZZ_CHECK(keel_get_view(t->handle, keyspace, api_keys[key].bytes, api_keys[key].size, view, NULL) == expected);
    m->view_value[how] = number;
    return;
  }
  if (how < VIEWS + 2) {
    FUZZ_CHECK(keel_get_copy(t->handle, keyspace, api_keys[key].bytes, api_keys[key].size, copy, sizeof copy, &size,
                             NULL) == expected);
    value = copy;
  } else {
    FUZZ_CHECK(keel_get(t->handle, keyspace, api_keys[key].bytes, api_keys[key].size, &value, &size, NULL) == expected);
  }
  if (expected == KEEL_OK) api_check_value(number, value, size);
}

static void api_release_view(api_machine *m, size_t which) {
  const void *value = NULL;
  size_t size = 0;
  if (m->view[which] == 0) return;
  FUZZ_CHECK(keel_view_data(m->view[which], &value, &size, NULL) == KEEL_OK);
  api_check_value(m->view_value[which], value, size);
  FUZZ_CHECK(keel_view_release(m->view[which], NULL) == KEEL_OK);
  m->view[which] = 0;
}

/* ---- Cursors ---- */

static bool api_inside(const api_cursor *c, int key) {
  if (c->lower >= 0 && key < c->lower) return false;
  if (c->upper >= 0 && key >= c->upper) return false;
  if (c->prefix < 0) return true;
  const struct api_key *prefix = &api_keys[c->prefix], *bytes = &api_keys[key];
  return bytes->size >= prefix->size && memcmp(bytes->bytes, prefix->bytes, prefix->size) == 0;
}

/* Moves the model's cursor to the first row at or behind `key`, or the last at or before it. */
static keel_status api_model_seek(const api_machine *m, api_cursor *c, int key, bool forward) {
  const api_txn *t = &m->txn[c->txn];
  for (; key >= 0 && key < KEYS; key += forward ? 1 : -1) {
    if (!api_inside(c, key) || api_seen(t, c->space, key) == 0) continue;
    c->place = ON;
    c->at = key;
    return KEEL_OK;
  }
  c->place = forward ? BEHIND : BEFORE;
  return KEEL_E_NOT_FOUND;
}

static keel_status api_model_step(const api_machine *m, api_cursor *c, bool forward) {
  if (c->place == (forward ? BEHIND : BEFORE)) return KEEL_E_NOT_FOUND;
  if (c->place == ON) return api_model_seek(m, c, c->at + (forward ? 1 : -1), forward);
  return api_model_seek(m, c, forward ? 0 : KEYS - 1, forward);
}

static void api_cursor_open(api_machine *m) {
  api_cursor *c = &m->cursor[api_take(m, CURSORS)];
  size_t txn = api_take(m, TXNS), space = api_take(m, (unsigned)m->spaces);
  int lower = (int)api_take(m, KEYS * 2) - KEYS, upper = (int)api_take(m, KEYS * 2) - KEYS;
  int prefix = (int)api_take(m, KEYS * 4) - KEYS * 3;
  if (m->txn[txn].handle == 0) return;
  if (c->handle != 0) FUZZ_CHECK(keel_cursor_close(c->handle, NULL) == KEEL_OK);
  *c = (api_cursor){.txn = txn, .space = space, .of = m->txn[txn].handle, .lower = -1, .upper = -1, .prefix = -1};
  keel_cursor_options options = KEEL_CURSOR_OPTIONS_INIT;
  if (lower >= 0) {
    options.lower = api_keys[c->lower = lower].bytes;
    options.lower_size = api_keys[lower].size;
  }
  if (upper >= 0) {
    options.upper = api_keys[c->upper = upper].bytes;
    options.upper_size = api_keys[upper].size;
  }
  if (prefix >= 0) {
    options.prefix = api_keys[c->prefix = prefix].bytes;
    options.prefix_size = api_keys[prefix].size;
  }
  keel_status status = keel_cursor_open(c->of, m->space[space].handle, &options, &c->handle, NULL);
  FUZZ_CHECK(status == api_expected(m, &m->txn[txn], space, false));
  if (status != KEEL_OK) c->handle = 0;
}

static void api_check_row(const api_machine *m, const api_cursor *c) {
  const void *key = NULL, *value = NULL;
  size_t key_size = 0, value_size = 0;
  int number = c->place == ON ? api_seen(&m->txn[c->txn], c->space, c->at) : 0;
  keel_status status = keel_cursor_get(c->handle, &key, &key_size, &value, &value_size, NULL);
  FUZZ_CHECK(status == (number != 0 ? KEEL_OK : KEEL_E_NOT_FOUND));
  if (number == 0) return;
  FUZZ_CHECK(kl_slice_equal(kl_slice_make(key, key_size), api_key(c->at)));
  api_check_value(number, value, value_size);
}

static void api_cursor_batch(api_machine *m, api_cursor *c, bool forward) {
  size_t rows = api_take(m, KEYS), taken = 0;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  keel_status status = forward ? keel_cursor_next_batch(c->handle, rows, 0, m->batch, NULL)
                               : keel_cursor_prev_batch(c->handle, rows, 0, m->batch, NULL);
  FUZZ_CHECK(status == KEEL_OK);
  FUZZ_CHECK(keel_batch_data(m->batch, &view, NULL) == KEEL_OK);
  while (rows == 0 || taken < rows) {
    api_cursor before = *c;
    if (api_model_step(m, c, forward) != KEEL_OK) {
      if (taken != 0) *c = before; /* it stays on the last row taken */
      break;
    }
    FUZZ_CHECK(taken < view.count);
    const uint64_t *k = view.key_offsets + taken, *v = view.value_offsets + taken;
    /* Without any bytes a column may be NULL. */
    const uint8_t *keys = view.keys != NULL ? view.keys : m->data,
                  *values = view.values != NULL ? view.values : m->data;
    FUZZ_CHECK(kl_slice_equal(kl_slice_make(keys + k[0], (size_t)(k[1] - k[0])), api_key(c->at)));
    api_check_value(api_seen(&m->txn[c->txn], c->space, c->at), values + v[0], (size_t)(v[1] - v[0]));
    taken++;
  }
  FUZZ_CHECK(view.count == taken);
}

static void api_cursor_move(api_machine *m) {
  api_cursor *c = &m->cursor[api_take(m, CURSORS)];
  unsigned how = api_take(m, 9);
  int key = (int)api_take(m, KEYS);
  if (c->handle == 0) return;
  if (m->txn[c->txn].handle != c->of) {
    FUZZ_CHECK(keel_cursor_next(c->handle, NULL) == KEEL_E_FINISHED);
    FUZZ_CHECK(keel_cursor_close(c->handle, NULL) == KEEL_OK);
    c->handle = 0;
    return;
  }
  const struct api_key *bytes = &api_keys[key];
  if (how == 0) FUZZ_CHECK(keel_cursor_first(c->handle, NULL) == api_model_seek(m, c, 0, true));
  if (how == 1) FUZZ_CHECK(keel_cursor_last(c->handle, NULL) == api_model_seek(m, c, KEYS - 1, false));
  if (how == 2 || how == 8) FUZZ_CHECK(keel_cursor_next(c->handle, NULL) == api_model_step(m, c, true));
  if (how == 3) FUZZ_CHECK(keel_cursor_prev(c->handle, NULL) == api_model_step(m, c, false));
  if (how == 4) {
    FUZZ_CHECK(keel_cursor_seek(c->handle, bytes->bytes, bytes->size, NULL) == api_model_seek(m, c, key, true));
  }
  if (how == 5) {
    FUZZ_CHECK(keel_cursor_seek_le(c->handle, bytes->bytes, bytes->size, NULL) == api_model_seek(m, c, key, false));
  }
  if (how == 6 || how == 7) api_cursor_batch(m, c, how == 6);
  api_check_row(m, c);
}

/* ---- The program ---- */

static void api_step(api_machine *m) {
  switch (api_take(m, 16)) {
    case 0:
    case 1:
      api_begin(m);
      break;
    case 2:
      api_end(m, true);
      break;
    case 3:
      api_end(m, api_take(m, 3) != 0);
      break;
    case 4:
      if (api_take(m, 4) == 3) api_drop(m);
      break;
    case 5:
      api_del_range(m);
      break;
    case 6:
      api_del(m);
      break;
    case 7:
      api_get(m);
      break;
    case 8:
      api_release_view(m, api_take(m, VIEWS));
      break;
    case 9:
      api_cursor_open(m);
      break;
    case 10:
    case 11:
    case 12:
      api_cursor_move(m);
      break;
    default:
      api_put(m);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static api_machine m;
  memset(&m, 0, sizeof m);
  m.data = data;
  m.left = size;
  FUZZ_CHECK(keel_open(":memory:", NULL, &m.db, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_batch_new(&m.batch, NULL) == KEEL_OK);
  api_make_space(&m);
  for (int step = 0; step < STEPS && m.left != 0; step++) api_step(&m);
  keel_stats stats = KEEL_STATS_INIT;
  for (size_t i = 0; i < TXNS; i++) {
    if (m.txn[i].handle != 0) FUZZ_CHECK(keel_rollback(m.txn[i].handle, NULL) == KEEL_OK);
  }
  for (size_t i = 0; i < CURSORS; i++) {
    if (m.cursor[i].handle != 0) FUZZ_CHECK(keel_cursor_close(m.cursor[i].handle, NULL) == KEEL_OK);
  }
  for (size_t i = 0; i < m.spaces; i++) FUZZ_CHECK(keel_keyspace_close(m.space[i].handle, NULL) == KEEL_OK);
  FUZZ_CHECK(keel_get_stats(m.db, &stats, NULL) == KEEL_OK);
  FUZZ_CHECK(stats.transactions_live == 0 && stats.snapshots_live == 0 && stats.keyspaces == 1);
  FUZZ_CHECK(keel_close(m.db, NULL) == KEEL_OK);
  for (size_t i = 0; i < VIEWS; i++) api_release_view(&m, i);
  FUZZ_CHECK(keel_batch_free(m.batch, NULL) == KEEL_OK);
  return 0;
}
