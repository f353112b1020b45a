/* tests/unit/drain/test_drain_model.c: what is read from drained trees equals a model, by every way of reading, at the
 * newest checkpoint and at older ones that are kept while blocks are freed and used again. */
#include "space_testing.h"

/* -------- every way of reading -------- */

static void check_gets(kl_pages *pages, const kl_tree_pointer *root, const model_space *space, kl_rng *rng) {
  kl_held held = {0}, other = {0};
  for (size_t i = 0; i < space->count; i++) {
    const model_row *row = &space->rows[i];
    kl_held *to = kl_rng_below(rng, 4) == 0 ? &other : &held;
    bool hold = kl_rng_below(rng, 2) == 0;
    if (hold) DRAIN_MUST(kl_pages_hold(pages, root, model_key(row), to, &must));
    if (!hold) DRAIN_MUST(kl_pages_get(pages, root, model_key(row), to, &must));
    check_value(row, to->value);
    assert_int_equal(kl_pages_contains(pages, root, model_key(row), NULL), KL_OK);
  }
  for (int i = 0; i < 50; i++) {
    uint8_t key[40];
    bool found;
    size_t size = kl_rng_below(rng, sizeof key);
    kl_rng_fill(rng, key, size);
    (void)model_find(space, kl_slice_make(key, size), &found);
    kl_status expected = found ? KL_OK : KL_E_NOT_FOUND;
    assert_int_equal(kl_pages_get(pages, root, kl_slice_make(key, size), &held, NULL), expected);
    assert_int_equal(kl_pages_contains(pages, root, kl_slice_make(key, size), NULL), expected);
    if (!found) assert_int_equal(held.value.size, 0);
  }
  kl_held_destroy(&held);
  kl_held_destroy(&other);
}

typedef struct many_check {
  const model_space *space;
  kl_slice *keys;
  size_t next, stop; /* `stop`: the callback ends it there */
} many_check;

static kl_status many_row(void *context, size_t index, bool found, kl_slice value, kl_error *err) {
  many_check *check = context;
  bool expected;
  (void)err;
  assert_int_equal(index, check->next);
  if (index == check->stop) return KL_E_CANCELLED;
  check->next++;
  size_t at = model_find(check->space, check->keys[index], &expected);
  assert_int_equal(found, expected);
  if (found) check_value(&check->space->rows[at], value);
  return KL_OK;
}

static void check_many(kl_pages *pages, const kl_tree_pointer *root, const model_space *space, kl_rng *rng) {
  enum { MANY = 700 };
  static kl_slice keys[MANY];
  static uint8_t absent[MANY][24];
  many_check check = {space, keys, 0, SIZE_MAX};
  for (size_t i = 0; i < MANY; i++) {
    keys[i] = kl_slice_make(absent[i], kl_rng_below(rng, sizeof absent[i]));
    kl_rng_fill(rng, absent[i], sizeof absent[i]);
    if (space->count != 0 && kl_rng_below(rng, 5) != 0) {
      keys[i] = model_key(&space->rows[kl_rng_below(rng, space->count)]);
    }
  }
  DRAIN_MUST(kl_pages_get_many(pages, root, keys, MANY, many_row, &check, &must));
  assert_int_equal(check.next, MANY);
  check.next = 0;
  check.stop = kl_rng_below(rng, MANY);
  assert_int_equal(kl_pages_get_many(pages, root, keys, MANY, many_row, &check, NULL), KL_E_CANCELLED);
  assert_int_equal(check.next, check.stop);
}

static void check_counts(kl_pages *pages, const kl_tree_pointer *root, const model_space *space, kl_rng *rng) {
  uint64_t number = 0;
  DRAIN_MUST(kl_pages_rows(pages, root, &number, &must));
  assert_int_equal(number, space->count);
  if (space->count == 0) return;
  size_t a = kl_rng_below(rng, space->count), b = kl_rng_below(rng, space->count), parts = 1 + kl_rng_below(rng, 9);
  kl_slice low = model_key(&space->rows[a]), high = model_key(&space->rows[b]);
  DRAIN_MUST(kl_pages_rank(pages, root, low, &number, &must));
  assert_int_equal(number, a);
  DRAIN_MUST(kl_pages_count(pages, root, low, &high, &number, &must));
  assert_int_equal(number, b > a ? b - a : 0);
  DRAIN_MUST(kl_pages_count(pages, root, low, NULL, &number, &must));
  assert_int_equal(number, space->count - a);
  static kl_tree_split splits[10];
  size_t count = 0;
  DRAIN_MUST(kl_pages_split_points(pages, root, low, NULL, parts, splits, &count, &must));
  assert_true(count <= parts);
  for (size_t i = 0; i < count; i++) {
    bool found;
    (void)model_find(space, kl_slice_make(splits[i].key, splits[i].size), &found);
    assert_true(found);
  }
}

static void check_scans(kl_pages_cursor *cursor, const model_space *space) {
  kl_status status = kl_pages_cursor_first(cursor, NULL);
  for (size_t i = 0; i < space->count; i++) {
    kl_slice key = cursor->key; /* readable while the cursor moves on */
    assert_int_equal(status, KL_OK);
    check_cursor(cursor, &space->rows[i]);
    status = kl_pages_cursor_next(cursor, NULL);
    check_key(&space->rows[i], key);
  }
  assert_int_equal(status, KL_E_NOT_FOUND);
  assert_false(cursor->valid);
  assert_int_equal(kl_pages_cursor_prev(cursor, NULL), KL_E_NOT_FOUND);
  status = kl_pages_cursor_last(cursor, NULL);
  for (size_t i = space->count; i > 0; i--) {
    assert_int_equal(status, KL_OK);
    check_cursor(cursor, &space->rows[i - 1]);
    status = kl_pages_cursor_prev(cursor, NULL);
  }
  assert_int_equal(status, KL_E_NOT_FOUND);
}

/* Any move after any other. */
static void check_walk(kl_pages_cursor *cursor, const model_space *space, kl_rng *rng) {
  size_t at = SIZE_MAX, count = space->count; /* SIZE_MAX: nowhere */
  int direction = 1;
  for (int step = 0; step < 400; step++) {
    uint64_t move = kl_rng_below(rng, 40);
    bool found = false;
    kl_status status;
    if (kl_rng_below(rng, 12) == 0) direction = -direction;
    if (move < 4) {
      uint8_t bytes[1100];
      kl_slice key = kl_slice_make(bytes, kl_rng_below(rng, kl_rng_below(rng, 9) == 0 ? sizeof bytes : 20));
      kl_rng_fill(rng, bytes, key.size);
      if (count != 0 && move % 2 == 0) key = model_key(&space->rows[kl_rng_below(rng, count)]);
      if (cursor->valid && kl_rng_below(rng, 4) == 0) key = cursor->key; /* points into the cursor */
      size_t i = model_find(space, key, &found);
      if (move < 2) status = kl_pages_cursor_seek_ge(cursor, key, NULL);
      if (move >= 2) status = kl_pages_cursor_seek_le(cursor, key, NULL);
      if (move >= 2 && !found) i--; /* to SIZE_MAX before the first */
      at = i < count ? i : SIZE_MAX;
    } else if (move == 4) {
      status = direction > 0 ? kl_pages_cursor_first(cursor, NULL) : kl_pages_cursor_last(cursor, NULL);
      at = count == 0 ? SIZE_MAX : direction > 0 ? 0 : count - 1;
    } else {
      status = direction > 0 ? kl_pages_cursor_next(cursor, NULL) : kl_pages_cursor_prev(cursor, NULL);
      if (at != SIZE_MAX) at = direction > 0 ? at + 1 : at - 1;
      if (at >= count) at = SIZE_MAX;
    }
    assert_int_equal(status, at == SIZE_MAX ? KL_E_NOT_FOUND : KL_OK);
    assert_int_equal(cursor->valid, at != SIZE_MAX);
    if (at != SIZE_MAX) check_cursor(cursor, &space->rows[at]);
  }
}

typedef struct take_check {
  const model_space *space;
  size_t at;
  bool forward;
  size_t refuse; /* takes that work before one is refused */
  size_t stop;   /* the first row behind (before) the bound */
} take_check;

static kl_status take_row(void *context, kl_slice key, kl_slice value, kl_error *err) {
  take_check *check = context;
  (void)err;
  if (check->refuse-- == 0) return KL_E_BUFFER_SIZE;
  assert_true(check->at < check->space->count);
  assert_true(check->forward ? check->at < check->stop : check->at + 1 > check->stop + 1);
  check_key(&check->space->rows[check->at], key);
  check_value(&check->space->rows[check->at], value);
  check->at += check->forward ? 1 : SIZE_MAX;
  return KL_OK;
}

/* From end to end, in pieces of all kinds. */
static void check_collect(kl_pages_cursor *cursor, const model_space *space, bool forward, bool bounded, kl_rng *rng) {
  take_check check = {.space = space, .at = forward ? 0 : space->count - 1, .forward = forward};
  check.stop = forward ? space->count : SIZE_MAX;
  kl_pages_collect how = {.forward = forward, .take = take_row, .context = &check};
  kl_slice bound;
  kl_status status = forward ? kl_pages_cursor_first(cursor, NULL) : kl_pages_cursor_last(cursor, NULL);
  if (space->count == 0) {
    size_t rows = 1;
    assert_int_equal(status, KL_E_NOT_FOUND);
    assert_int_equal(kl_pages_cursor_collect(cursor, &how, &rows, NULL), KL_E_NOT_FOUND);
    assert_int_equal(rows, 0);
    return;
  }
  if (bounded) {
    size_t i = kl_rng_below(rng, space->count);
    bound = model_key(&space->rows[i]);
    how.bound = &bound;
    check.stop = forward ? i : i - 1;
  }
  for (status = KL_OK; status != KL_E_NOT_FOUND;) {
    how.beyond = !cursor->waits && kl_rng_below(rng, 3) == 0;
    if (how.beyond) check.at += forward ? 1 : SIZE_MAX;
    size_t before = check.at, rows = 0;
    how.max_rows = kl_rng_below(rng, 3) == 0 ? 0 : 1 + kl_rng_below(rng, 300);
    how.max_bytes = kl_rng_below(rng, 3) == 0 ? 0 : 1 + kl_rng_below(rng, 30000);
    check.refuse = kl_rng_below(rng, 3) == 0 ? kl_rng_below(rng, 100) : SIZE_MAX - 1;
    status = kl_pages_cursor_collect(cursor, &how, &rows, NULL);
    assert_int_equal(forward ? check.at - before : before - check.at, rows);
    if (how.max_rows != 0) assert_true(rows <= how.max_rows);
    if (status == KL_E_BUFFER_SIZE) assert_int_equal(check.refuse, SIZE_MAX);
    assert_true(status == KL_OK || status == KL_E_BUFFER_SIZE || status == KL_E_NOT_FOUND);
    if (status == KL_E_NOT_FOUND) break;
    assert_true(cursor->valid);
    if (!cursor->waits || kl_rng_below(rng, 2) == 0) check_cursor(cursor, &space->rows[check.at]);
    if (kl_rng_below(rng, 4) != 0 && !cursor->is_far && rows != 0) continue;
    if (kl_rng_below(rng, 4) == 0) { /* there and back */
      size_t there = forward ? check.at - 1 : check.at + 1;
      status = forward ? kl_pages_cursor_prev(cursor, NULL) : kl_pages_cursor_next(cursor, NULL);
      assert_int_equal(status, there < space->count ? KL_OK : KL_E_NOT_FOUND);
      if (status != KL_OK) DRAIN_MUST(kl_pages_cursor_seek_ge(cursor, model_key(&space->rows[check.at]), &must));
      if (status == KL_OK) {
        check_cursor(cursor, &space->rows[there]);
        status = forward ? kl_pages_cursor_next(cursor, NULL) : kl_pages_cursor_prev(cursor, NULL);
        assert_int_equal(status, KL_OK);
      }
      check_cursor(cursor, &space->rows[check.at]);
    }
    check.at += forward ? 1 : SIZE_MAX; /* over a row by hand: that is how far values are passed */
    status = forward ? kl_pages_cursor_next(cursor, NULL) : kl_pages_cursor_prev(cursor, NULL);
  }
  assert_false(cursor->valid);
  assert_true(forward ? check.at >= check.stop : check.at + 1 <= check.stop + 1);
}

static void check_space(kl_pages *pages, const kl_tree_pointer *root, const model_space *space, kl_rng *rng) {
  kl_pages_cursor *cursor = NULL;
  check_gets(pages, root, space, rng);
  check_many(pages, root, space, rng);
  check_counts(pages, root, space, rng);
  DRAIN_MUST(kl_pages_cursor_new(pages, root, &cursor, &must));
  check_scans(cursor, space);
  check_walk(cursor, space, rng);
  for (int i = 0; i < 4; i++) check_collect(cursor, space, i % 2 == 0, i / 2 == 0, rng);
  kl_pages_cursor_free(cursor);
}

/* The rows of the catalogue are the model's, and one for each tree. */
static void check_catalogue(kl_roots *roots, const model *m) {
  kl_tree_pointer catalogue;
  kl_pages_cursor *cursor = NULL;
  size_t trees = 0, rows = 0, expected = 0;
  DRAIN_MUST(kl_roots_find(roots, 0, &catalogue, &must));
  DRAIN_MUST(kl_pages_cursor_new(kl_roots_pages(roots), &catalogue, &cursor, &must));
  for (kl_status s = kl_pages_cursor_first(cursor, NULL); s == KL_OK; s = kl_pages_cursor_next(cursor, NULL)) {
    trees += is_tree_record(cursor->key);
    if (is_tree_record(cursor->key)) continue;
    check_cursor(cursor, &m->space[0].rows[rows++]);
  }
  for (int i = 1; i <= DRAIN_SPACES; i++) expected += m->space[i].count != 0;
  assert_int_equal(rows, m->space[0].count);
  assert_int_equal(trees, expected);
  kl_pages_cursor_free(cursor);
}

static void check_roots(kl_roots *roots, const model *m, kl_rng *rng) {
  check_catalogue(roots, m);
  for (uint32_t i = 1; i <= DRAIN_SPACES; i++) {
    kl_tree_pointer root, again;
    DRAIN_MUST(kl_roots_find(roots, i, &root, &must));
    DRAIN_MUST(kl_roots_find(roots, i, &again, &must));
    assert_memory_equal(&root, &again, sizeof root);
    assert_int_equal(kl_tree_pointer_is_null(&root), m->space[i].count == 0);
    check_space(kl_roots_pages(roots), &root, &m->space[i], rng);
  }
}

/* -------- random work -------- */

static size_t random_value_size(kl_rng *rng) {
  uint64_t kind = kl_rng_below(rng, 200);
  if (kind < 120) return kl_rng_below(rng, 120);
  if (kind < 180) return kl_rng_below(rng, 1200); /* around what a leaf takes */
  if (kind < 196) return kl_rng_below(rng, 20000);
  if (kind < 199) return 60000 + kl_rng_below(rng, 12000); /* around what cursors read ahead */
  return kl_rng_below(rng, 3 << 20);
}

static kl_slice random_key(kl_rng *rng, const model_space *space, uint8_t out[1024]) {
  if (space->count != 0 && kl_rng_below(rng, 3) != 0) { /* one that is there */
    kl_slice key = model_key(&space->rows[kl_rng_below(rng, space->count)]);
    if (key.size != 0) memcpy(out, key.data, key.size);
    return kl_slice_make(out, key.size);
  }
  uint64_t kind = kl_rng_below(rng, 50);
  size_t size = kind == 0 ? kl_rng_below(rng, 1025) : kind < 20 ? 2 + kl_rng_below(rng, 3) : kl_rng_below(rng, 30);
  kl_rng_fill(rng, out, size);
  if (kind % 2 == 0 && size > 6) memcpy(out, "prefix", 6);
  return kl_slice_make(out, size);
}

static void random_round(drain_db *db, kl_rng *rng, size_t most) {
  uint8_t bytes[1024];
  size_t ops = kl_rng_below(rng, 8) == 0 ? kl_rng_below(rng, 4) : kl_rng_below(rng, most);
  for (size_t i = 0; i < ops; i++) {
    uint32_t keyspace = 1 + (uint32_t)kl_rng_below(rng, DRAIN_SPACES);
    kl_slice key = random_key(rng, &db->now.space[keyspace], bytes);
    if (db->dropped[keyspace]) { /* as a replay may bring them: nobody's rows */
      kl_version stray = {.ts = ++db->ts, .kind = KL_VERSION_PUT, .value = kl_slice_make("stray", 5)};
      DRAIN_MUST(kl_delta_insert(db->delta, keyspace, key, &stray, &must));
      continue;
    }
    drain_db_write(db, keyspace, key, kl_rng_below(rng, 3) != 0, kl_rng_next(rng), random_value_size(rng));
  }
  for (uint64_t i = kl_rng_below(rng, 3); i > 0; i--) {
    bytes[0] = 'n';
    bytes[1] = (uint8_t)('a' + kl_rng_below(rng, 20));
    drain_db_write(db, 0, kl_slice_make(bytes, 2), kl_rng_below(rng, 3) != 0, kl_rng_next(rng), 20);
  }
}

/* Moves some of it, or all; the rows stay. */
static void random_compaction(drain_db *db, kl_rng *rng) {
  kl_compact_stats stats;
  kl_compact_limits limits = {.extents = kl_rng_below(rng, 2) == 0};
  if (kl_rng_below(rng, 2) == 0) limits.max_bytes = 1 + kl_rng_below(rng, 400000);
  drain_db_compact(db, &limits, &stats);
  check_used(db);
}

static void run_model(uint64_t number, uint32_t page_size, bool memory, int rounds, size_t most) {
  drain_db db;
  kl_rng rng;
  kl_drain_stats stats;
  kl_rng_init(&rng, test_seed(41) + number);
  drain_db_open(&db, number, page_size, memory, KL_CACHE_LIMIT_MIN);
  for (int round = 0; round < rounds; round++) {
    random_round(&db, &rng, most);
    if (round == rounds / 2) drain_db_drop(&db, 2);
    drain_db_drain(&db, &stats);
    check_used(&db);
    if (kl_rng_below(&rng, 2) == 0) check_roots(db.roots, &db.drained, &rng);
    for (uint64_t i = kl_rng_below(&rng, 4); i > 0; i--) random_compaction(&db, &rng);
    check_roots(db.roots, &db.drained, &rng);
    if (kl_rng_below(&rng, 2) == 0) drain_db_keep(&db);
    if (db.kept_count != 0) {
      size_t i = kl_rng_below(&rng, db.kept_count);
      check_roots(db.kept[i].roots, &db.kept[i].model, &rng);
      if (kl_rng_below(&rng, 2) == 0) drain_db_let_go(&db, i);
    }
    if (!memory && kl_rng_below(&rng, 5) == 0) {
      drain_db_reopen(&db);
      check_roots(db.roots, &db.drained, &rng);
    }
  }
  drain_db_close(&db);
}

static void test_model_4k(void **state) {
  (void)state;
  run_model(1, 4096, false, 14, 1500);
}

static void test_model_16k(void **state) {
  (void)state;
  run_model(2, 16384, false, 8, 1500);
}

static void test_model_64k(void **state) {
  (void)state;
  run_model(3, 65536, false, 6, 1500);
}

static void test_model_memory(void **state) {
  (void)state;
  run_model(4, 4096, true, 14, 1500);
}

static void test_model_small(void **state) { /* many drains of few rows */
  (void)state;
  run_model(5, 4096, false, 60, 30);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_model_4k),     cmocka_unit_test(test_model_16k),   cmocka_unit_test(test_model_64k),
      cmocka_unit_test(test_model_memory), cmocka_unit_test(test_model_small),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
