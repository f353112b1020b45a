/* tests/unit/drain/test_drain_move.c: rows of parts come into a target, a slice at a time: DRAIN-14 to DRAIN-16. */
#include "move_testing.h"

/* -------- random parts -------- */

static kl_slice random_key(kl_rng *rng, size_t keys, size_t key_size, uint8_t out[KL_TREE_KEY_MAX]) {
  uint64_t number = kl_rng_below(rng, keys);
  if (number == 0) return kl_slice_make(out, 0);
  int size = snprintf((char *)out, 32, "%08llu", (unsigned long long)kl_mix64(number) % 100000000);
  memset(out + size, 'k', key_size);
  return kl_slice_make(out, number % 3 == 0 ? (size_t)size : (size_t)size + kl_mix64(number) % key_size);
}

static size_t random_size(kl_rng *rng) {
  uint64_t kind = kl_rng_below(rng, 100);
  if (kind < 70) return kl_rng_below(rng, 100);
  if (kind < 85) return kl_rng_below(rng, 1200); /* around what a leaf takes */
  if (kind < 98) return kl_rng_below(rng, 20000);
  return kl_rng_below(rng, 300000);
}

/* Rows and deletes; no key is in both. */
static void fill_part(move_fixture *f, kl_rng *rng, kl_drain_part part, size_t ops, size_t keys, size_t key_size) {
  uint64_t deletes = part.deletes == 0 ? 0 : part.puts == 0 ? 4 : kl_rng_below(rng, 4);
  for (size_t i = 0; i < ops; i++) {
    uint8_t bytes[KL_TREE_KEY_MAX];
    bool found = false, delete = kl_rng_below(rng, 4) < deletes;
    kl_slice key = random_key(rng, keys, key_size, bytes);
    uint32_t other = delete ? part.puts : part.deletes;
    if (other != 0) (void)model_find(&f->db.now.space[other], key, &found);
    if (!found) move_write(f, delete ? part.deletes : part.puts, key, rng, delete ? 0 : random_size(rng));
  }
}

static uint32_t take_keyspace(kl_rng *rng, bool *taken) {
  uint32_t keyspace;
  do {
    keyspace = 1 + (uint32_t)kl_rng_below(rng, DRAIN_SPACES);
  } while (taken[keyspace]);
  taken[keyspace] = true;
  return keyspace;
}

typedef struct random_options {
  uint32_t page_size;
  bool memory, is_part;
  size_t ops, keys, key_size;
} random_options;

static void random_fixture(move_fixture *f, kl_rng *rng, const random_options *options) {
  bool taken[DRAIN_SPACES + 1] = {false};
  memset(f, 0, sizeof *f);
  drain_db_open(&f->db, kl_rng_next(rng), options->page_size, options->memory, KL_CACHE_LIMIT_MIN);
  f->move.target = take_keyspace(rng, taken);
  if (options->is_part) f->move.target_deletes = take_keyspace(rng, taken);
  f->move.final = kl_rng_below(rng, 2) == 0;
  kl_drain_part target = {f->move.target, f->move.target_deletes};
  if (kl_rng_below(rng, 5) != 0) fill_part(f, rng, target, options->ops, options->keys, options->key_size);
  f->move.part_count = kl_rng_below(rng, MOVE_PARTS + 1);
  for (size_t i = 0; i < f->move.part_count; i++) {
    kl_drain_part *part = &f->parts[i];
    if (kl_rng_below(rng, 6) != 0) part->puts = take_keyspace(rng, taken);
    if (part->puts == 0 || kl_rng_below(rng, 4) != 0) part->deletes = take_keyspace(rng, taken);
    size_t ops = kl_rng_below(rng, 8) == 0 ? 0 : kl_rng_below(rng, options->ops);
    fill_part(f, rng, *part, ops, options->keys, options->key_size);
    f->ended[f->move.ended_count++] = part->deletes;
    f->ended[f->move.ended_count++] = part->puts;
    if (part->puts != 0) move_announce(f, part->puts);
    if (part->deletes != 0) move_announce(f, part->deletes);
  }
  move_ready(f);
}

typedef struct beside {
  move_fixture *f;
  kl_rng *rng;
  uint32_t other; /* a keyspace that the move has nothing to do with; 0: there is none */
} beside;

/* Other checkpoints, and other processes. */
static void beside_run(void *context) {
  beside *b = context;
  kl_compact_stats stats;
  kl_compact_limits limits = {.extents = true, .max_bytes = 50000};
  uint64_t kind = kl_rng_below(b->rng, 8);
  if (kind == 0) drain_db_compact(&b->f->db, &limits, &stats);
  if (kind == 1 && !b->f->db.memory && b->f->db.kept_count == 0) drain_db_reopen(&b->f->db);
  if (kind == 2 && b->other != 0) {
    move_write(b->f, b->other, kl_slice_make("other", 5), b->rng, 300);
    drain_db_drain(&b->f->db, NULL);
  }
  if (kind <= 2) move_check(b->f);
}

static uint32_t unused_keyspace(const move_fixture *f) {
  for (uint32_t i = 1; i <= DRAIN_SPACES; i++) {
    bool used = i == f->move.target || i == f->move.target_deletes;
    for (size_t j = 0; j < f->move.part_count; j++) used |= i == f->parts[j].puts || i == f->parts[j].deletes;
    if (!used) return i;
  }
  return 0;
}

static void run_random(uint64_t number, const random_options *options, int rounds) {
  static const uint64_t slices[] = {0, 1, 5000, 20000, 100000};
  kl_rng rng;
  int total = 0;
  kl_rng_init(&rng, test_seed(61) + number);
  for (int round = 0; round < rounds; round++) {
    move_fixture f;
    kl_drain_stats stats = {0};
    random_fixture(&f, &rng, options);
    beside other = {&f, &rng, unused_keyspace(&f)};
    f.between = beside_run;
    f.context = &other;
    f.slice_bytes = slices[kl_rng_below(&rng, sizeof slices / sizeof *slices)];
    bool keep = kl_rng_below(&rng, 2) == 0;
    if (keep) drain_db_keep(&f.db);
    int count = move_run_all(&f, &stats);
    total += count;
    if (f.slice_bytes == 0) assert_int_equal(count, 1);
    assert_int_equal(stats.extents_written, 0); /* large values are not copied */
    if (keep) check_all(f.db.kept[0].roots, &f.db.kept[0].model);
    if (!options->memory) {
      if (keep) drain_db_let_go(&f.db, 0);
      drain_db_reopen(&f.db);
      check_all(f.db.roots, &f.db.now);
    }
    move_close(&f);
  }
  print_message("%d moves in %d slices\n", rounds, total);
  assert_true(total > rounds);
}

static void test_into_a_keyspace(void **state) {
  (void)state;
  const random_options options = {.page_size = 4096, .ops = 1200, .keys = 1500, .key_size = 40};
  run_random(1, &options, 15);
}

static void test_into_a_part(void **state) {
  (void)state;
  const random_options options = {.page_size = 4096, .is_part = true, .ops = 1200, .keys = 1500, .key_size = 40};
  run_random(2, &options, 15);
}

static void test_in_memory(void **state) {
  (void)state;
  random_options options = {.page_size = 4096, .memory = true, .ops = 1000, .keys = 1500, .key_size = 40};
  run_random(3, &options, 10);
  options.is_part = true;
  run_random(4, &options, 10);
}

static void test_larger_pages(void **state) {
  (void)state;
  random_options options = {.page_size = 16384, .is_part = true, .ops = 1500, .keys = 1500, .key_size = 200};
  run_random(5, &options, 6);
  options.page_size = 65536;
  options.is_part = false;
  run_random(6, &options, 6);
}

/* -------- notes -------- */

/* More keys of deletes than the notes of one step hold: both trees come as far, and a slice ends where both have cost
 * what it may. */
static void run_notes(uint64_t slice_bytes, int least) {
  enum { NOTES_KEYS = 1500 };
  move_fixture f = {0};
  kl_rng rng;
  kl_drain_stats stats = {0};
  kl_rng_init(&rng, 7);
  drain_db_open(&f.db, 7, 4096, false, KL_CACHE_LIMIT_MIN);
  f.move = (kl_drain_move){.target = 4, .target_deletes = 2, .part_count = 1};
  f.parts[0] = (kl_drain_part){.puts = 3, .deletes = 1};
  for (int i = 0; i < NOTES_KEYS; i++) {
    uint8_t bytes[900];
    memset(bytes, 'k', sizeof bytes);
    (void)snprintf((char *)bytes, 16, "%06d", i);
    kl_slice key = kl_slice_make(bytes, sizeof bytes);
    move_write(&f, i % 50 == 0 ? 3 : 1, key, &rng, i % 50 == 0 ? 3000 : 0);
    if (i % 20 == 0) move_write(&f, 4, key, &rng, 2000);
    if (i % 100 == 50) move_write(&f, 2, key, &rng, 0);
  }
  move_ready(&f);
  f.slice_bytes = slice_bytes;
  int slices = move_run_all(&f, &stats);
  print_message("%d slices, %llu KiB written\n", slices, (unsigned long long)stats.bytes_written >> 10);
  if (slice_bytes == 0) assert_int_equal(slices, 1);
  assert_true(slices >= least);
  move_close(&f);
}

static void test_more_keys_than_notes(void **state) {
  (void)state;
  run_notes(0, 1);
  run_notes(200 << 10, 3);
}

/* -------- without moving rows -------- */

typedef struct hand_over_case {
  const char *parts; /* a letter for each tree of the parts, newest first: p puts, d deletes; ',' between two parts */
  bool is_part, has_target, expected;
} hand_over_case;

static void hand_over_write(move_fixture *f, kl_rng *rng, const char *parts) {
  uint32_t next = 3;
  f->move.part_count = 1;
  for (size_t i = 0; parts[i] != '\0'; i++) {
    kl_drain_part *part = &f->parts[f->move.part_count - 1];
    f->move.part_count += parts[i] == ',';
    if (parts[i] == ',') continue;
    bool puts = parts[i] == 'p';
    if (puts) part->puts = next;
    if (!puts) part->deletes = next;
    for (unsigned row = puts ? 0 : 1; row < 2000; row += puts ? 2 : 3) { /* a part's own do not meet */
      char key[16];
      bool found = false;
      kl_slice slice = kl_slice_make(key, (size_t)snprintf(key, sizeof key, "row-%05u", row));
      if (!puts && part->puts != 0) (void)model_find(&f->db.now.space[part->puts], slice, &found);
      if (!found) move_write(f, next, slice, rng, puts ? row % 1500 : 0);
    }
    next++;
  }
}

static void run_hand_over(const hand_over_case *c) {
  move_fixture f = {0};
  kl_rng rng;
  kl_drain_stats stats = {0};
  kl_rng_init(&rng, 8);
  drain_db_open(&f.db, 8, 4096, false, KL_CACHE_LIMIT_MIN);
  f.move = (kl_drain_move){.target = 1, .target_deletes = c->is_part ? 2 : 0};
  hand_over_write(&f, &rng, c->parts);
  if (c->has_target) move_write(&f, 1, kl_slice_make("row-00001", 9), &rng, 10);
  move_ready(&f);
  f.slice_bytes = c->expected ? 1 : 20000; /* whatever the bound: it places nothing */
  int slices = move_run_all(&f, &stats);
  if (c->expected) assert_int_equal(slices, 1);
  if (c->expected) assert_true(stats.pages_written <= 1); /* of the catalogue */
  if (!c->expected) assert_true(stats.pages_written > 10);
  move_close(&f);
}

static void test_hand_over(void **state) {
  (void)state;
  static const hand_over_case cases[] = {
      {"p", false, false, true},      {"pd", false, false, true},
      {"d", false, false, true},      {",p,", false, false, true},
      {"p,d", false, false, true},    {"d,p", false, false, false}, /* the newer one hides */
      {"p,p", false, false, false},   {"p", false, true, false},
      {"p", true, false, true},       {"pd", true, false, true},
      {"d", true, false, true},       {"p,d", true, false, false},
      {",pd", true, false, true},     {"pd", true, true, false},
      {"pd,pd", false, false, false}, {"d,d,pd", true, false, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) run_hand_over(&cases[i]);
}

/* Nothing to move, and something that ends. */
static void test_empty_parts(void **state) {
  (void)state;
  move_fixture f = {0};
  kl_drain_stats stats = {0};
  drain_db_open(&f.db, 9, 4096, false, KL_CACHE_LIMIT_MIN);
  f.move = (kl_drain_move){.target = 1, .part_count = 2, .ended_count = 4, .final = true};
  f.parts[0] = (kl_drain_part){.puts = 5, .deletes = 3};
  f.ended[1] = 5;
  f.ended[2] = 3;
  f.ended[3] = 5; /* twice: once is enough */
  for (uint32_t i = 3; i <= 5; i++) move_announce(&f, i);
  move_ready(&f);
  assert_int_equal(move_run_all(&f, &stats), 1);
  assert_true(move_is_announced(&f, 4));
  move_close(&f);
}

/* -------- a dropped target -------- */

static void test_dropped_target(void **state) {
  (void)state;
  move_fixture f = {0};
  kl_rng rng;
  kl_roots *roots = NULL;
  kl_drain_stats stats = {0};
  bool complete = false;
  kl_rng_init(&rng, 10);
  drain_db_open(&f.db, 10, 4096, false, KL_CACHE_LIMIT_MIN);
  f.move = (kl_drain_move){.target = 2, .part_count = 2, .ended_count = 2};
  f.parts[0] = (kl_drain_part){.puts = 1, .deletes = 3};
  f.parts[1] = (kl_drain_part){.puts = 4};
  f.ended[0] = 3;
  f.ended[1] = 1;
  fill_part(&f, &rng, (kl_drain_part){.puts = 2}, 200, 300, 30);
  for (int i = 0; i < 2; i++) fill_part(&f, &rng, f.parts[i], 400, 300, 30);
  move_announce(&f, 1);
  move_announce(&f, 3);
  drain_db_drop(&f.db, 2);
  move_ready(&f);
  drain_db_keep(&f.db);
  f.slice_bytes = 1;
  DRAIN_MUST(move_try(&f, &complete, &roots, &stats, &must));
  assert_true(complete);
  assert_int_equal(stats.trees_dropped, 3);
  assert_int_equal(stats.leaked_trees, 0);
  assert_true(stats.extents_freed > 10);
  move_adopt(&f, roots);
  f.shown.count = 0;
  move_check(&f);
  move_check_complete(&f);
  check_all(f.db.kept[0].roots, &f.db.kept[0].model);
  move_close(&f);
}

/* -------- damage -------- */

enum { DAMAGE_PAGES = 200 };

typedef struct page_list {
  uint64_t address[DAMAGE_PAGES];
  size_t count;
} page_list;

static kl_status list_page(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err) {
  page_list *list = context;
  (void)level;
  (void)err;
  assert_true(list->count < DAMAGE_PAGES);
  list->address[list->count++] = pointer->address;
  return KL_OK;
}

static void list_pages(move_fixture *f, uint32_t keyspace, page_list *list) {
  static space_check check;
  kl_tree_source source = {.load = space_load, .context = &check};
  kl_tree_visitor visitor = {.page = list_page, .context = list};
  kl_tree_pointer root;
  check.store = f->db.store;
  DRAIN_MUST(kl_roots_find(f->db.roots, keyspace, &root, &must));
  DRAIN_MUST(kl_tree_walk(f->db.allocator, &source, f->db.page_size, &root, &visitor, &must));
}

/* A page of a part that cannot be read: nothing is lost or changed. Each page in turn. */
static void test_damaged_part(void **state) {
  (void)state;
  move_fixture f = {0};
  kl_rng rng;
  page_list pages = {.count = 0};
  kl_drain_stats stats = {0};
  kl_rng_init(&rng, 11);
  drain_db_open(&f.db, 11, 4096, false, KL_CACHE_LIMIT_MIN);
  f.move = (kl_drain_move){.target = 1, .part_count = 2};
  f.parts[0] = (kl_drain_part){.puts = 3, .deletes = 2};
  f.parts[1] = (kl_drain_part){.puts = 4, .deletes = 5};
  for (int i = 0; i < 2; i++) fill_part(&f, &rng, f.parts[i], 1000, 1500, 30);
  move_ready(&f);
  for (uint32_t i = 2; i <= 5; i++) list_pages(&f, i, &pages);
  for (size_t i = 0; i < pages.count; i++) {
    uint8_t byte;
    size_t got = 0;
    bool complete = false;
    kl_roots *roots = NULL;
    kl_error err = {0};
    kl_checkpoint before, after;
    uint64_t at = pages.address[i] + kl_rng_below(&rng, 48);
    drain_db_reopen(&f.db); /* nothing is in the cache */
    kl_store_checkpoint(f.db.store, &before);
    DRAIN_MUST(kl_sim_peek(f.db.sim, DRAIN_PATH, at, &byte, 1, &got));
    byte ^= 1;
    DRAIN_MUST(kl_sim_poke(f.db.sim, DRAIN_PATH, at, &byte, 1));
    assert_int_equal(move_try(&f, &complete, &roots, NULL, &err), KL_E_CORRUPT);
    assert_true(err.message[0] != '\0');
    kl_store_checkpoint(f.db.store, &after);
    assert_int_equal(after.sequence, before.sequence);
    byte ^= 1;
    DRAIN_MUST(kl_sim_poke(f.db.sim, DRAIN_PATH, at, &byte, 1));
  }
  assert_true(pages.count > 20);
  drain_db_reopen(&f.db);
  move_check(&f);
  assert_int_equal(move_run_all(&f, &stats), 1);
  move_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_into_a_keyspace),
      cmocka_unit_test(test_into_a_part),
      cmocka_unit_test(test_in_memory),
      cmocka_unit_test(test_larger_pages),
      cmocka_unit_test(test_more_keys_than_notes),
      cmocka_unit_test(test_hand_over),
      cmocka_unit_test(test_empty_parts),
      cmocka_unit_test(test_dropped_target),
      cmocka_unit_test(test_damaged_part),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
