/* Property test: the delta against a sorted array of (keyspace, key, ts), with random operations from a seed. */
#include "delta_testing.h"

enum { MODEL_KEY = 1100 };

typedef struct model_row {
  uint32_t keyspace;
  uint32_t key_size;
  uint64_t ts;
  kl_version_kind kind;
  uint32_t value_size;
  unsigned char *key;
  unsigned char *value;
} model_row;

typedef struct model {
  model_row *rows; /* sorted by keyspace, key, newest ts first */
  size_t count, capacity;
  size_t keys;
} model;

static kl_slice model_key(const model_row *row) {
  return kl_slice_make(row->key, row->key_size);
}

static int model_compare_key(const model_row *row, uint32_t keyspace, kl_slice key) {
  if (row->keyspace != keyspace) return row->keyspace < keyspace ? -1 : 1;
  return kl_slice_compare(model_key(row), key);
}

/* The first row that is not before (keyspace, key, ts). */
static size_t model_place(const model *m, uint32_t keyspace, kl_slice key, uint64_t ts) {
  size_t low = 0, high = m->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int order = model_compare_key(&m->rows[middle], keyspace, key);
    if (order == 0) order = m->rows[middle].ts > ts ? -1 : m->rows[middle].ts < ts ? 1 : 0;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static bool model_same_key(const model *m, size_t at, uint32_t keyspace, kl_slice key) {
  return at < m->count && model_compare_key(&m->rows[at], keyspace, key) == 0;
}

static unsigned char *model_copy(const void *from, size_t size) {
  unsigned char *copy = malloc(size + 1);
  assert_non_null(copy);
  if (size != 0) memcpy(copy, from, size);
  return copy;
}

static void model_insert(model *m, uint32_t keyspace, kl_slice key, const kl_version *version) {
  size_t at = model_place(m, keyspace, key, version->ts);
  if (model_same_key(m, at, keyspace, key) && m->rows[at].ts == version->ts) {
    free(m->rows[at].value); /* the later insert wins */
  } else {
    if (!model_same_key(m, at, keyspace, key) && (at == 0 || !model_same_key(m, at - 1, keyspace, key))) m->keys++;
    if (m->count == m->capacity) {
      m->capacity = m->capacity == 0 ? 1024 : m->capacity * 2;
      m->rows = realloc(m->rows, m->capacity * sizeof *m->rows);
      assert_non_null(m->rows);
    }
    memmove(&m->rows[at + 1], &m->rows[at], (m->count - at) * sizeof *m->rows);
    m->count++;
    m->rows[at].keyspace = keyspace;
    m->rows[at].key_size = (uint32_t)key.size;
    m->rows[at].key = model_copy(key.data, key.size);
    m->rows[at].ts = version->ts;
  }
  m->rows[at].kind = version->kind;
  m->rows[at].value_size = (uint32_t)version->value.size;
  m->rows[at].value = model_copy(version->value.data, version->value.size);
}

static void model_free(model *m) {
  for (size_t i = 0; i < m->count; i++) {
    free(m->rows[i].key);
    free(m->rows[i].value);
  }
  free(m->rows);
}

/* The row that a reader at read_ts sees for the key that row `at` belongs to or begins; SIZE_MAX for none. */
static size_t model_visible(const model *m, uint32_t keyspace, kl_slice key, uint64_t read_ts) {
  size_t at = model_place(m, keyspace, key, read_ts);
  return model_same_key(m, at, keyspace, key) ? at : SIZE_MAX;
}

/* From row `at` on (or back), the first key of the keyspace with a visible version. */
static size_t model_settle(const model *m, size_t at, bool forward, uint32_t keyspace, uint64_t read_ts) {
  while (at < m->count && m->rows[at].keyspace == keyspace) {
    kl_slice key = model_key(&m->rows[at]);
    size_t seen = model_visible(m, keyspace, key, read_ts);
    if (seen != SIZE_MAX) return seen;
    at = model_place(m, keyspace, key, forward ? 0 : UINT64_MAX);
    if (!forward && at-- == 0) break;
  }
  return SIZE_MAX;
}

static size_t model_seek_ge(const model *m, uint32_t keyspace, kl_slice key, uint64_t read_ts) {
  return model_settle(m, model_place(m, keyspace, key, UINT64_MAX), true, keyspace, read_ts);
}

static size_t model_seek_le(const model *m, uint32_t keyspace, kl_slice key, uint64_t read_ts) {
  size_t after = model_place(m, keyspace, key, 0);
  return after == 0 ? SIZE_MAX : model_settle(m, after - 1, false, keyspace, read_ts);
}

static size_t model_next(const model *m, size_t at, uint64_t read_ts) {
  uint32_t keyspace = m->rows[at].keyspace;
  size_t after = model_place(m, keyspace, model_key(&m->rows[at]), 0);
  return model_settle(m, after, true, keyspace, read_ts);
}

static size_t model_prev(const model *m, size_t at, uint64_t read_ts) {
  uint32_t keyspace = m->rows[at].keyspace;
  size_t begin = model_place(m, keyspace, model_key(&m->rows[at]), UINT64_MAX);
  return begin == 0 ? SIZE_MAX : model_settle(m, begin - 1, false, keyspace, read_ts);
}

static size_t model_last(const model *m, uint32_t keyspace, uint64_t read_ts) {
  size_t end = keyspace == UINT32_MAX ? m->count : model_place(m, keyspace + 1, kl_slice_make(NULL, 0), UINT64_MAX);
  return end == 0 ? SIZE_MAX : model_settle(m, end - 1, false, keyspace, read_ts);
}

static bool model_matches(const model_row *row, const kl_version *version) {
  return row->ts == version->ts && row->kind == version->kind && row->value_size == version->value.size &&
         memcmp(row->value, version->value.data, row->value_size) == 0;
}

/* --- the keys ------------------------------ */

typedef struct shape {
  const char *name;
  uint32_t keyspaces;
  uint64_t distinct; /* about how many different keys */
  uint64_t timestamps;
  int operations;
  size_t (*key)(kl_rng *rng, uint64_t distinct, unsigned char *out);
} shape;

/* Short keys over few letters: many are prefixes of one another, and the empty key is among them. */
static size_t key_prefixes(kl_rng *rng, uint64_t distinct, unsigned char *out) {
  (void)distinct;
  static const unsigned char letters[] = {0x00, 0x01, 'a', 0xff};
  size_t size = kl_rng_below(rng, 12);
  for (size_t i = 0; i < size; i++) out[i] = letters[kl_rng_below(rng, sizeof letters)];
  return size;
}

static size_t key_random16(kl_rng *rng, uint64_t distinct, unsigned char *out) {
  uint64_t n = kl_rng_below(rng, distinct);
  uint64_t words[2] = {kl_mix64(n), kl_mix64(n + 77)};
  memcpy(out, words, 16);
  return 16;
}

/* As people write them: a long common beginning and a number at the end. */
static size_t key_text(kl_rng *rng, uint64_t distinct, unsigned char *out) {
  static const char *const kinds[] = {"account", "customer/address/primary", "z"};
  int size = snprintf((char *)out, MODEL_KEY, "tenant-0001/%s/%010llu", kinds[kl_rng_below(rng, 3)],
                      (unsigned long long)kl_rng_below(rng, distinct / 3));
  return (size_t)size;
}

static size_t key_long(kl_rng *rng, uint64_t distinct, unsigned char *out) {
  memset(out, 'k', 1024);
  uint64_t n = kl_rng_below(rng, distinct);
  out[1000 + n % 20] = (unsigned char)(n >> 3); /* the difference lies near the end */
  return kl_rng_below(rng, 4) == 0 ? 1000 + n % 25 : 1024;
}

static size_t key_zeros(kl_rng *rng, uint64_t distinct, unsigned char *out) {
  (void)distinct;
  size_t size = kl_rng_below(rng, 40); /* only the length differs: padding with zeros must not make them equal */
  memset(out, 0, size);
  return size;
}

static uint32_t shape_keyspace(const shape *s, kl_rng *rng) {
  uint64_t pick = kl_rng_below(rng, s->keyspaces);
  if (pick == 0) return 0;
  if (pick == 1) return UINT32_MAX;
  return pick % 2 == 0 ? (uint32_t)pick : (uint32_t)(pick * 0x01010101u);
}

/* --- the comparison ------------------------------ */

typedef struct trial {
  const shape *shape;
  uint64_t seed;
  kl_rng rng;
  model model;
  kl_delta *delta;
} trial;

static void trial_insert(trial *t) {
  unsigned char key[MODEL_KEY], value[300];
  kl_slice k = kl_slice_make(key, t->shape->key(&t->rng, t->shape->distinct, key));
  uint32_t keyspace = shape_keyspace(t->shape, &t->rng);
  kl_version version = testing_delete(1 + kl_rng_below(&t->rng, t->shape->timestamps));
  if (kl_rng_below(&t->rng, 5) != 0) {
    size_t size = kl_rng_below(&t->rng, 20) == 0 ? kl_rng_below(&t->rng, sizeof value) : kl_rng_below(&t->rng, 9);
    kl_rng_fill(&t->rng, value, size);
    version = testing_put(version.ts, kl_slice_make(value, size));
  }
  assert_int_equal(kl_delta_insert(t->delta, keyspace, k, &version, NULL), KL_OK);
  model_insert(&t->model, keyspace, k, &version);
  memset(key, 0xEE, sizeof key); /* the delta must have copied */
}

static void trial_get(trial *t) {
  unsigned char key[MODEL_KEY];
  kl_slice k = kl_slice_make(key, t->shape->key(&t->rng, t->shape->distinct, key));
  uint32_t keyspace = shape_keyspace(t->shape, &t->rng);
  uint64_t read_ts = kl_rng_below(&t->rng, t->shape->timestamps + 2);
  size_t row = model_visible(&t->model, keyspace, k, read_ts);
  kl_version got;
  bool found = kl_delta_get(t->delta, keyspace, k, read_ts, &got);
  CHECK_SEED(found == (row != SIZE_MAX), t->seed);
  if (found) CHECK_SEED(model_matches(&t->model.rows[row], &got), t->seed);
  row = model_visible(&t->model, keyspace, k, UINT64_MAX);
  uint64_t newest = row == SIZE_MAX ? 0 : t->model.rows[row].ts;
  CHECK_SEED(kl_delta_newest_ts(t->delta, keyspace, k) == newest, t->seed);
  uint64_t looked = UINT64_MAX;
  kl_delta_place place;
  kl_delta_look_many(t->delta, keyspace, &k, 1, &looked, &place);
  CHECK_SEED(looked == newest, t->seed);
}

/* A batch of look-ups answers as single ones do. */
static void trial_get_many(trial *t) {
  enum { BATCH = 100 };
  static unsigned char bytes[BATCH][MODEL_KEY];
  kl_slice keys[BATCH];
  kl_version many[BATCH];
  size_t count = kl_rng_below(&t->rng, BATCH + 1);
  uint32_t keyspace = shape_keyspace(t->shape, &t->rng);
  uint64_t read_ts = kl_rng_below(&t->rng, t->shape->timestamps + 2);
  for (size_t i = 0; i < count; i++) {
    keys[i] = kl_slice_make(bytes[i], t->shape->key(&t->rng, t->shape->distinct, bytes[i]));
  }
  kl_delta_get_many(t->delta, keyspace, keys, count, read_ts, many);
  for (size_t i = 0; i < count; i++) {
    size_t row = model_visible(&t->model, keyspace, keys[i], read_ts);
    CHECK_SEED((many[i].ts != 0) == (row != SIZE_MAX), t->seed);
    if (row != SIZE_MAX) CHECK_SEED(model_matches(&t->model.rows[row], &many[i]), t->seed);
  }
}

static void trial_check_cursor(trial *t, const kl_delta_cursor *cursor, size_t row) {
  CHECK_SEED(cursor->valid == (row != SIZE_MAX), t->seed);
  if (row == SIZE_MAX) return;
  CHECK_SEED(kl_slice_equal(cursor->key, model_key(&t->model.rows[row])), t->seed);
  CHECK_SEED(model_matches(&t->model.rows[row], &cursor->version), t->seed);
}

/* A walk of mixed moves; now and then a key is inserted under the standing cursor. */
static void trial_walk(trial *t) {
  uint32_t keyspace = shape_keyspace(t->shape, &t->rng);
  uint64_t read_ts = kl_rng_below(&t->rng, 4) == 0 ? UINT64_MAX : kl_rng_below(&t->rng, t->shape->timestamps + 2);
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, t->delta, keyspace, read_ts);
  CHECK_SEED(!cursor.valid, t->seed);
  size_t row = SIZE_MAX;
  uint64_t bias = kl_rng_below(&t->rng, 9); /* 0..8: how often to go forward */
  for (int step = 0; step < 60; step++) {
    unsigned char key[MODEL_KEY];
    uint64_t what = kl_rng_below(&t->rng, step == 0 ? 4 : 60);
    if (what < 2) {
      kl_slice k = kl_slice_make(key, t->shape->key(&t->rng, t->shape->distinct, key));
      if (what == 0) {
        kl_delta_cursor_seek_ge(&cursor, k);
        row = model_seek_ge(&t->model, keyspace, k, read_ts);
      } else {
        kl_delta_cursor_seek_le(&cursor, k);
        row = model_seek_le(&t->model, keyspace, k, read_ts);
      }
    } else if (what == 2) {
      kl_delta_cursor_first(&cursor);
      row = model_seek_ge(&t->model, keyspace, kl_slice_make(NULL, 0), read_ts);
    } else if (what == 3) {
      kl_delta_cursor_last(&cursor);
      row = model_last(&t->model, keyspace, read_ts);
    } else if (kl_rng_below(&t->rng, 8) < bias) {
      kl_delta_cursor_next(&cursor);
      if (row != SIZE_MAX) row = model_next(&t->model, row, read_ts);
    } else {
      kl_delta_cursor_prev(&cursor);
      if (row != SIZE_MAX) row = model_prev(&t->model, row, read_ts);
    }
    trial_check_cursor(t, &cursor, row);
    if (kl_rng_below(&t->rng, 16) == 0) { /* rows move in the model: find the cursor's row again */
      kl_slice at = row == SIZE_MAX ? kl_slice_make(NULL, 0) : cursor.key;
      trial_insert(t);
      if (row != SIZE_MAX) row = model_visible(&t->model, keyspace, at, read_ts);
    }
  }
}

/* Every key of one keyspace forwards, then backwards. */
static void trial_scan(trial *t, uint32_t keyspace, uint64_t read_ts) {
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, t->delta, keyspace, read_ts);
  kl_delta_cursor_first(&cursor);
  size_t row = model_seek_ge(&t->model, keyspace, kl_slice_make(NULL, 0), read_ts);
  for (;;) {
    trial_check_cursor(t, &cursor, row);
    if (row == SIZE_MAX) break;
    kl_delta_cursor_next(&cursor);
    row = model_next(&t->model, row, read_ts);
  }
  kl_delta_cursor_next(&cursor); /* past the end: stays invalid */
  CHECK_SEED(!cursor.valid, t->seed);
  kl_delta_cursor_last(&cursor);
  row = model_last(&t->model, keyspace, read_ts);
  for (;;) {
    trial_check_cursor(t, &cursor, row);
    if (row == SIZE_MAX) break;
    kl_delta_cursor_prev(&cursor);
    row = model_prev(&t->model, row, read_ts);
  }
  kl_delta_cursor_prev(&cursor);
  CHECK_SEED(!cursor.valid, t->seed);
}

static void trial_run(const shape *s, uint64_t seed) {
  trial t = {.shape = s, .seed = seed};
  kl_rng_init(&t.rng, seed);
  assert_int_equal(kl_delta_new(kl_allocator_libc(), &t.delta, NULL), KL_OK);
  for (int i = 0; i < s->operations; i++) {
    trial_insert(&t);
    trial_insert(&t);
    trial_get(&t);
    if (i % 32 == 0) trial_walk(&t);
    if (i % 64 == 0) trial_get_many(&t);
  }
  for (uint32_t i = 0; i < 5; i++) {
    uint32_t keyspace = shape_keyspace(s, &t.rng);
    trial_scan(&t, keyspace, UINT64_MAX);
    trial_scan(&t, keyspace, s->timestamps / 2);
    trial_scan(&t, keyspace, 0);
  }
  kl_delta_stats stats;
  kl_delta_get_stats(t.delta, &stats);
  CHECK_SEED(stats.keys == t.model.keys, seed);
  CHECK_SEED(stats.versions == t.model.count, seed);
  model_free(&t.model);
  kl_delta_unref(t.delta);
}

static void test_model(void **state) {
  (void)state;
  static const shape shapes[] = {
      {"prefixes", 1, 1, 50, 4000, key_prefixes},
      {"zeros", 2, 1, 4, 1000, key_zeros},
      {"random 16", 1, 20000, 10, 6000, key_random16},
      {"random 16, many keyspaces", 200, 100, 10, 4000, key_random16},
      {"few keys, many versions", 1, 3, 100000, 2000, key_random16},
      {"text", 3, 6000, 6, 6000, key_text},
      {"long", 2, 5000, 6, 2500, key_long},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    for (uint64_t round = 0; round < 2; round++) trial_run(&shapes[i], testing_seed() + round);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
  return cmocka_run_group_tests_name("delta model", tests, NULL, NULL);
}
