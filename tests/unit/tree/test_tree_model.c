/* tests/unit/tree/test_tree_model.c: sequences of merges against a sorted model.
 *
 * Each family of keys and page size gets its own sequence: batches of puts and deletes of every size and shape are
 * merged, and after each one the tree must be what the model says, every page that is not freed reachable and every
 * other not (TREE-8), and older roots, as long as they are kept, what they were (TREE-1). */
#include "tree_testing.h"

static uint64_t model_seed;

typedef size_t model_keys(kl_rng *rng, uint8_t *out);

static size_t model_random_16(kl_rng *rng, uint8_t *out) {
  kl_rng_fill(rng, out, 16);
  return 16;
}

/* Few different bytes, all lengths from 0: prefixes of each other, zero bytes, the empty key. */
static size_t model_dense(kl_rng *rng, uint8_t *out) {
  static const uint8_t bytes[] = {0, 0, 1, 0x7f, 0x80, 0xff};
  size_t size = (size_t)kl_rng_below(rng, 9);
  for (size_t i = 0; i < size; i++) out[i] = bytes[kl_rng_below(rng, sizeof bytes)];
  return size;
}

/* Groups with long common prefixes, so that prefixes of pages change from page to page. */
static size_t model_prefixed(kl_rng *rng, uint8_t *out) {
  uint64_t group = kl_rng_below(rng, 6);
  size_t prefix = (size_t)(group * group * 35);
  memset(out, (int)(0x61 + group), prefix);
  return prefix + (size_t)snprintf((char *)out + prefix, 24, "%06llu", (unsigned long long)kl_rng_below(rng, 3000));
}

/* The longest that there are: four separators fill an inner page of 4 KiB. */
static size_t model_longest(kl_rng *rng, uint8_t *out) {
  memset(out, 0x6c, KL_TREE_KEY_MAX);
  size_t at = kl_rng_below(rng, 2) * 1000;
  kl_rng_fill(rng, out + at, 3);
  kl_rng_fill(rng, out + KL_TREE_KEY_MAX - 4, 2);
  return KL_TREE_KEY_MAX - (size_t)kl_rng_below(rng, 3);
}

/* Groups that differ in their first bytes, and rows that differ in their last: separators between two rows of a group
 * are as long as keys, and those of two groups share nothing, so that inner pages have few children and trees many
 * levels. */
static size_t model_deep(kl_rng *rng, uint8_t *out) {
  memset(out, 0x64, KL_TREE_KEY_MAX);
  out[0] = (uint8_t)kl_rng_below(rng, 150);
  kl_rng_fill(rng, out + KL_TREE_KEY_MAX - 2, 2);
  return KL_TREE_KEY_MAX;
}

/* A counter: mostly appends. */
static size_t model_ascending(kl_rng *rng, uint8_t *out) {
  static uint64_t counter;
  uint64_t n = kl_rng_below(rng, 10) < 9 ? ++counter : kl_rng_below(rng, counter + 1);
  for (int i = 0; i < 8; i++) out[i] = (uint8_t)(n >> (56 - 8 * i));
  return 8;
}

/* Any length, any bytes. */
static size_t model_mixed(kl_rng *rng, uint8_t *out) {
  size_t size =
      kl_rng_below(rng, 3) == 0 ? (size_t)kl_rng_below(rng, KL_TREE_KEY_MAX + 1) : (size_t)kl_rng_below(rng, 20);
  kl_rng_fill(rng, out, size);
  return size;
}

static const struct {
  const char *name;
  model_keys *make;
  size_t most; /* rows, about */
} model_families[] = {{"random", model_random_16, 4000},  {"dense", model_dense, 6000},
                      {"prefixed", model_prefixed, 3000}, {"longest", model_longest, 400},
                      {"deep", model_deep, 2500},         {"ascending", model_ascending, 4000},
                      {"mixed", model_mixed, 1500}};

enum { MODEL_KEPT = 4, MODEL_CUTS = 12 };

typedef struct model_test {
  kl_rng rng;
  tree_pages pages;
  tree_pool pool;
  uint32_t page_size;
  model_keys *make;
  uint64_t moves_salt, moves_share; /* which pages and extents are to move: about one of so many; 0: none */
  uint64_t moves_left;              /* pages and extents until it is over */
  uint64_t moved_pages, moved_extents;
  tree_state state[MODEL_KEPT]; /* newest first */
  size_t kept;
} model_test;

static size_t model_value_size(model_test *test) {
  switch (kl_rng_below(&test->rng, 8)) {
    case 0:
      return 0;
    case 1: /* around what still fits in a leaf */
      return kl_tree_inline_max(test->page_size) - 2 + (size_t)kl_rng_below(&test->rng, 5);
    default:
      return (size_t)kl_rng_below(&test->rng, 100);
  }
}

/* A batch: any keys, keys of the tree, or a stretch of neighbours (which empties whole pages when they are deletes). */
static tree_run model_run(model_test *test, size_t most) {
  kl_rng *rng = &test->rng;
  const tree_model *model = &test->state[0].model;
  static const size_t sizes[] = {1, 2, 10, 100, 500};
  tree_run run = {0};
  run.count = (size_t)kl_rng_below(rng, sizes[kl_rng_below(rng, 5)]) + 1;
  bool stretch = kl_rng_below(rng, 4) == 0, shrink = model->count > most || kl_rng_below(rng, 5) == 0;
  if (kl_rng_below(rng, 100) == 0) run.count = model->count, stretch = shrink = true;
  if (stretch && run.count > model->count) run.count = model->count;
  size_t from = stretch ? (size_t)kl_rng_below(rng, model->count - run.count + 1) : 0;
  if (kl_rng_below(rng, 3) == 0) from = stretch ? model->count - run.count : 0; /* the end of the tree */
  run.row = calloc(run.count + 1, sizeof *run.row);
  assert_non_null(run.row);
  for (size_t i = 0; i < run.count; i++) {
    uint8_t key[KL_TREE_KEY_MAX];
    size_t size;
    bool old = model->count != 0 && (stretch || kl_rng_below(rng, shrink ? 8 : 3) != 0) &&
               (stretch || shrink || kl_rng_below(rng, 2) == 0);
    if (old) {
      const tree_model_row *row = &model->row[stretch ? from + i : (size_t)kl_rng_below(rng, model->count)];
      size = row->key_size;
      memcpy(key, row->key, size);
    } else {
      size = test->make(rng, key);
    }
    run.row[i].key = tree_pool_bytes(&test->pool, size);
    memcpy(run.row[i].key, key, size);
    run.row[i].key_size = size;
    if (shrink ? kl_rng_below(rng, 10) != 0 : kl_rng_below(rng, 5) == 0) continue;
    run.row[i].value_size = model_value_size(test);
    run.row[i].value = tree_pool_bytes(&test->pool, run.row[i].value_size);
    kl_rng_fill(rng, run.row[i].value, run.row[i].value_size);
  }
  tree_run_sort(&run);
  return run;
}

static void model_check_reads(model_test *test, const tree_state *state, size_t keys) {
  kl_slice many[40];
  kl_tree_value values[40];
  uint8_t bytes[40][KL_TREE_KEY_MAX];
  for (size_t i = 0; i < keys && i < 40; i++) {
    size_t size = test->make(&test->rng, bytes[i]);
    if (state->model.count != 0 && kl_rng_below(&test->rng, 2) == 0) {
      const tree_model_row *row = &state->model.row[kl_rng_below(&test->rng, state->model.count)];
      size = row->key_size;
      memcpy(bytes[i], row->key, size);
      if (size > 0 && kl_rng_below(&test->rng, 3) == 0) size--; /* just before a key */
    }
    many[i] = kl_slice_make(bytes[i], size);
    tree_check_key(&test->pages, test->page_size, state, many[i]);
  }
  size_t n = keys < 40 ? keys : 40;
  assert_int_equal(kl_tree_get_many(&test->pages.source, &state->root, many, n, values, NULL), KL_OK);
  for (size_t i = 0; i < n; i++) {
    size_t at = tree_model_seek(&state->model, many[i]);
    bool there = at < state->model.count && kl_slice_equal(tree_model_key(&state->model.row[at]), many[i]);
    assert_int_equal(values[i].found, there);
    if (there) tree_check_value(&test->pages, test->page_size, &state->model.row[at], &values[i]);
  }
}

/* Counts and split points of a random range. */
static void model_check_ranges(model_test *test, const tree_state *state) {
  static kl_tree_split splits[16];
  uint8_t low[KL_TREE_KEY_MAX], high[KL_TREE_KEY_MAX];
  kl_slice from = kl_slice_make(low, test->make(&test->rng, low)),
           to = kl_slice_make(high, test->make(&test->rng, high));
  const kl_slice *end = kl_rng_below(&test->rng, 3) == 0 ? NULL : &to;
  size_t first = tree_model_seek(&state->model, from);
  size_t last = end != NULL ? tree_model_seek(&state->model, to) : state->model.count;
  uint64_t count = 0, rows = last > first ? last - first : 0;
  const kl_tree_source *source = &test->pages.source;
  assert_int_equal(kl_tree_count(source, &state->root, from, end, &count, NULL), KL_OK);
  assert_int_equal(count, rows);
  size_t wanted = (size_t)kl_rng_below(&test->rng, 17), got = 0;
  assert_int_equal(kl_tree_split_points(source, &state->root, from, end, wanted, splits, &got, NULL), KL_OK);
  assert_int_equal(got, rows > wanted ? wanted : rows == 0 ? 0 : rows - 1);
  size_t before = first;
  for (size_t i = 0; i <= got && rows != 0; i++) {
    size_t at = i < got ? tree_model_seek(&state->model, kl_slice_make(splits[i].key, splits[i].size)) : last;
    assert_in_range(at - before, rows / (got + 1), rows / (got + 1) + (rows % (got + 1) != 0));
    before = at;
  }
}

static bool model_moves(model_test *test, uint64_t address, uint64_t birth) {
  return birth != test->pages.version && kl_mix64(address ^ test->moves_salt) % test->moves_share == 0;
}

static bool model_move_page(void *context, const kl_tree_pointer *pointer) {
  model_test *test = context;
  bool moves = model_moves(test, pointer->address, pointer->birth);
  test->moved_pages += moves;
  return moves;
}

static bool model_move_extent(void *context, const kl_tree_extent *extent) {
  return model_moves(context, extent->address, extent->birth);
}

static kl_status model_copy_extent(void *context, const kl_tree_extent *extent, kl_tree_extent *out, bool *out_moved,
                                   kl_error *err) {
  model_test *test = context;
  (void)err;
  *out_moved = kl_mix64(extent->address) % 5 != 0; /* some find no room */
  if (!*out_moved) return KL_OK;
  tree_block *block = tree_block_new(&test->pages.extent, &test->pages.extent_count, &test->pages.extent_capacity);
  block->crc = extent->checksum;
  block->birth = test->pages.version;
  test->pages.alive_extents++;
  *out = (kl_tree_extent){test->pages.extent_count, extent->length, extent->stored, block->birth,
                          extent->checksum,         extent->chunk};
  test->moved_extents++;
  if (test->moves_left > 0) test->moves_left--;
  return KL_OK;
}

static bool model_move_over(void *context) {
  return ((model_test *)context)->moves_left == 0;
}

/* What of the old tree was to move, and is asked for after a whole pass, is nowhere in the new one. */
static kl_status model_has_moved(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err) {
  model_test *test = context;
  (void)level;
  (void)err;
  assert_false(model_moves(test, pointer->address, pointer->birth));
  return KL_OK;
}

/* Some cuts, ascending: keys of the tree, of the changes, others, and what keys begin with, as separators do. */
static size_t model_cuts(model_test *test, const tree_run *run, kl_slice *out) {
  kl_rng *rng = &test->rng;
  const tree_model *model = &test->state[0].model;
  tree_run cuts = {calloc(MODEL_CUTS, sizeof *cuts.row), 1 + (size_t)kl_rng_below(rng, MODEL_CUTS), 0, NULL};
  assert_non_null(cuts.row);
  for (size_t i = 0; i < cuts.count; i++) {
    uint8_t key[KL_TREE_KEY_MAX];
    size_t size = test->make(rng, key);
    const tree_model_row *row = NULL;
    if (model->count != 0 && kl_rng_below(rng, 3) != 0) row = &model->row[kl_rng_below(rng, model->count)];
    if (run->count != 0 && kl_rng_below(rng, 4) == 0) row = &run->row[kl_rng_below(rng, run->count)];
    if (row != NULL) memcpy(key, row->key, size = row->key_size);
    if (size > 1 && kl_rng_below(rng, 2) == 0) size -= (size_t)kl_rng_below(rng, size < 4 ? size : 4);
    if (size == 0) key[size++] = 0; /* a cut before the first key would leave an empty part */
    cuts.row[i].key = tree_pool_bytes(&test->pool, size);
    cuts.row[i].key_size = size;
    memcpy(cuts.row[i].key, key, size);
  }
  tree_run_sort(&cuts);
  for (size_t i = 0; i < cuts.count; i++) out[i] = kl_slice_make(cuts.row[i].key, cuts.row[i].key_size);
  free(cuts.row);
  return cuts.count;
}

static void model_step(model_test *test, size_t most) {
  kl_error err = {0};
  kl_tree_merge_stats stats = {0};
  tree_run run = model_run(test, most);
  kl_tree_changes changes = {tree_run_next, &run};
  kl_tree_merge_options options = {
      .allocator = kl_allocator_libc(),
      .page_size = test->page_size,
      .fill_percent = kl_rng_below(&test->rng, 2) == 0 ? 0 : 50 + (uint32_t)kl_rng_below(&test->rng, 51),
      .source = &test->pages.source,
      .sink = &test->pages.sink,
      .freed = &test->pages.freed};
  tree_state next = {.version = ++test->pages.version};
  kl_tree_move move = {.page = model_move_page, .copy = model_copy_extent, .over = model_move_over, .context = test};
  bool moves = kl_rng_below(&test->rng, 2) == 0, whole = kl_rng_below(&test->rng, 2) == 0;
  if (moves) {
    test->moves_salt = kl_rng_next(&test->rng);
    test->moves_share = 1 + kl_rng_below(&test->rng, kl_rng_below(&test->rng, 3) == 0 ? 500 : 5);
    test->moves_left = whole ? UINT64_MAX : kl_rng_below(&test->rng, 20);
    if (kl_rng_below(&test->rng, 2) == 0) move.extent = model_move_extent;
    if (kl_rng_below(&test->rng, 3) == 0) run.count = 0; /* nothing but moves */
    options.move = &move;
  }
  next.model = tree_model_merge(&test->state[0].model, &run);
  size_t alive = test->pages.alive;
  kl_status status;
  if (moves || kl_rng_below(&test->rng, 2) == 0) {
    status = kl_tree_merge(&options, &test->state[0].root, &changes, &next.root, &stats, &err);
  } else { /* TREE-11 */
    kl_slice cuts[MODEL_CUTS];
    size_t count = model_cuts(test, &run, cuts);
    status = tree_merge_in_parts(&options, &test->state[0].root, &run, cuts, count, &next.root, &stats, &err);
    if (stats.rows != 0) assert_int_equal(stats.rows, next.model.count);
    if (stats.puts + stats.deletes == 0) assert_memory_equal(&next.root, &test->state[0].root, sizeof next.root);
  }
  if (status != KL_OK) fail_msg("merge: %s", err.message);
  assert_int_equal(test->pages.alive, alive + stats.pages_written - stats.pages_freed);
  assert_int_equal(run.at, run.count);
  free(run.row);
  if (test->kept == MODEL_KEPT) {
    free(test->state[--test->kept].model.row);
    tree_pages_forget(&test->pages, test->state[test->kept - 1].version);
  }
  memmove(test->state + 1, test->state, test->kept * sizeof *test->state);
  test->state[0] = next;
  test->kept++;
  uint64_t rows = 0;
  assert_int_equal(kl_tree_rows(&test->pages.source, &next.root, &rows, NULL), KL_OK);
  assert_int_equal(rows, next.model.count);
  assert_int_equal(kl_tree_pointer_is_null(&next.root), next.model.count == 0);
  tree_check_reachable(&test->pages, test->page_size, &next.root);
  assert_true(test->pages.largest <= test->page_size);
  if (!moves || !whole) return;
  kl_tree_visitor visitor = {.page = model_has_moved, .context = test};
  status = kl_tree_walk(options.allocator, &test->pages.source, test->page_size, &next.root, &visitor, &err);
  assert_int_equal(status, KL_OK);
}

static void model_sequence(size_t family, uint32_t page_size, size_t batches) {
  model_test test = {.page_size = page_size, .make = model_families[family].make, .kept = 1};
  kl_rng_init(&test.rng, model_seed + family * 100 + page_size);
  tree_pages_init(&test.pages);
  for (size_t i = 0; i < batches; i++) {
    model_step(&test, model_families[family].most);
    if (i % 7 == 0) model_check_reads(&test, &test.state[0], 10);
    if (i % 25 == 0 || i + 1 == batches) {
      tree_check_scan(&test.pages, page_size, &test.state[0]);
      tree_check_scan(&test.pages, page_size, &test.state[test.kept - 1]); /* an old root */
      model_check_reads(&test, &test.state[test.kept - 1], 40);
      for (size_t k = 0; k < 10; k++) model_check_ranges(&test, &test.state[k % test.kept]);
    }
  }
  assert_true(test.moved_pages > 0 && test.moved_extents > 0);
  for (size_t i = 0; i < test.kept; i++) free(test.state[i].model.row);
  tree_pages_destroy(&test.pages);
  tree_pool_free(&test.pool);
}

static void test_merges(void **state) {
  (void)state;
  for (size_t family = 0; family < sizeof model_families / sizeof *model_families; family++) {
    for (uint32_t page_size = KL_TREE_PAGE_MIN; page_size <= KL_TREE_PAGE_MAX; page_size *= 2) {
      (void)fprintf(stderr, "%s keys, pages of %u, seed %" PRIu64 "\n", model_families[family].name,
                    (unsigned)page_size, model_seed);
      size_t batches = page_size == KL_TREE_PAGE_MIN ? 400 : 80;
      if (model_families[family].make == model_deep && page_size == KL_TREE_PAGE_MIN) batches = 1500;
      model_sequence(family, page_size, batches);
    }
  }
}

int main(void) {
  model_seed = test_seed(20261120);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_merges)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
