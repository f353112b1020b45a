/* tests/unit/drain/test_drain_threads.c: readers run while drains free blocks and use them again, in a small cache and
 * in a memory store. Each reader takes the newest roots under a lock, which makes its checkpoint a live one. */
#include <pthread.h>

#include "core/os/thread.h"
#include "drain_testing.h"

enum { RACE_READERS = 3, RACE_ROUNDS = 40, RACE_KEYS = 4000, RACE_CHANGES = 300, RACE_HELD = 8, RACE_WORDS = 3030 };

typedef struct race {
  drain_db db;
  pthread_mutex_t lock; /* guards the roots at hand, and the numbers of those that are read */
  kl_roots *newest;
  uint64_t live[RACE_READERS];
  atomic_bool stop;
  atomic_uint_fast64_t reads;
  kl_drain_crew *crew; /* NULL, or with threads; */
  kl_os os;            /* which the simulation's own os does not start */
  uint64_t parts;
} race;

typedef struct race_reader {
  race *race;
  int number;
  uint64_t seed;
} race_reader;

static kl_slice race_key(uint64_t i, char out[32]) {
  return kl_slice_make(out, (size_t)snprintf(out, 32, "key-%05u", (unsigned)i));
}

/* A value of the round that wrote it: the round, the key, and bytes that follow from both; some are in extents. */
static size_t race_value(uint64_t key, uint64_t round, uint64_t *out) {
  size_t words = key % 50 == 0 ? 3000 + key % 30 : 4 + key % 20;
  out[0] = round;
  out[1] = key;
  for (size_t i = 2; i < words; i++) out[i] = kl_mix64(round * 1000003 + key + i);
  return words * 8;
}

static void race_check(uint64_t key, uint64_t newest_round, kl_slice value) {
  uint64_t expected[RACE_WORDS], round = 0;
  if (value.size < 16) drain_fail("a value of %zu bytes", value.size);
  memcpy(&round, value.data, sizeof round);
  size_t size = race_value(key, round, expected);
  if (round > newest_round)
    drain_fail("a value of round %llu in roots of %llu", (unsigned long long)round, (unsigned long long)newest_round);
  if (size != value.size || memcmp(expected, value.data, size) != 0) drain_fail("wrong bytes of key %u", (unsigned)key);
}

typedef struct race_many {
  const uint64_t *numbers;
  uint64_t round;
} race_many;

static kl_status race_row(void *context, size_t index, bool found, kl_slice value, kl_error *err) {
  race_many *many = context;
  (void)err;
  if (found) race_check(many->numbers[index], many->round, value);
  return found ? KL_OK : KL_E_INTERNAL;
}

static void race_read(kl_roots *roots, kl_rng *rng, kl_held *held) {
  kl_tree_pointer root;
  char bytes[32], many_bytes[32][32];
  kl_slice keys[32];
  uint64_t numbers[32], round = kl_roots_ts(roots);
  kl_pages *pages = kl_roots_pages(roots);
  DRAIN_MUST(kl_roots_find(roots, 1, &root, &must));
  for (int i = 0; i < 40; i++) {
    uint64_t key = kl_rng_below(rng, RACE_KEYS);
    if (i % 2 == 0) key -= key % 50; /* in an extent */
    kl_held *to = &held[kl_rng_below(rng, RACE_HELD)];
    DRAIN_MUST(kl_pages_hold(pages, &root, race_key(key, bytes), to, &must));
    race_check(key, round, to->value);
  }
  for (int i = 0; i < 32; i++) {
    numbers[i] = kl_rng_below(rng, RACE_KEYS);
    keys[i] = race_key(numbers[i], many_bytes[i]);
  }
  race_many many = {numbers, round};
  DRAIN_MUST(kl_pages_get_many(pages, &root, keys, 32, race_row, &many, &must));
  kl_pages_cursor *cursor = NULL;
  uint64_t key = kl_rng_below(rng, RACE_KEYS);
  DRAIN_MUST(kl_pages_cursor_new(pages, &root, &cursor, &must));
  kl_status status = kl_pages_cursor_seek_ge(cursor, race_key(key, bytes), NULL);
  for (int i = 0; i < 300 && status == KL_OK; i++, key++) {
    race_check(key, round, cursor->value);
    status = kl_pages_cursor_next(cursor, NULL);
  }
  if (status != KL_OK && (status != KL_E_NOT_FOUND || key != RACE_KEYS)) {
    drain_fail("the cursor says %s at key %u", kl_status_name(status), (unsigned)key);
  }
  kl_pages_cursor_free(cursor);
}

static void *race_reader_run(void *context) {
  race_reader *reader = context;
  race *r = reader->race;
  kl_rng rng;
  kl_held held[RACE_HELD];
  memset(held, 0, sizeof held);
  kl_rng_init(&rng, reader->seed);
  while (!atomic_load(&r->stop)) {
    pthread_mutex_lock(&r->lock);
    kl_roots *roots = r->newest;
    kl_roots_ref(roots);
    r->live[reader->number] = kl_roots_sequence(roots);
    pthread_mutex_unlock(&r->lock);
    for (uint64_t i = kl_rng_below(&rng, 4); i > 0; i--) race_read(roots, &rng, held);
    pthread_mutex_lock(&r->lock);
    r->live[reader->number] = 0;
    pthread_mutex_unlock(&r->lock);
    kl_roots_unref(roots);
    /* What is held outlives the roots: it does not change. */
    for (int i = 0; i < RACE_HELD; i++) {
      uint64_t key = 0;
      if (held[i].value.size < 16) continue;
      memcpy(&key, (const uint8_t *)held[i].value.data + 8, sizeof key);
      race_check(key, UINT64_MAX, held[i].value);
    }
    atomic_fetch_add(&r->reads, 1);
  }
  for (int i = 0; i < RACE_HELD; i++) kl_held_destroy(&held[i]);
  return NULL;
}

static void race_drain(race *r, uint64_t round) {
  drain_db *db = &r->db;
  kl_delta *delta = NULL;
  kl_roots *roots = NULL;
  kl_rng rng;
  uint64_t words[RACE_WORDS], live[RACE_READERS + 1];
  char bytes[32];
  size_t count = 0;
  kl_rng_init(&rng, round);
  DRAIN_MUST(kl_delta_new(db->allocator, &delta, &must));
  for (uint64_t i = 0; i < (round == 1 ? RACE_KEYS : RACE_CHANGES); i++) {
    uint64_t key = round == 1 ? i : kl_rng_below(&rng, RACE_KEYS);
    kl_version version = {.ts = round, .kind = KL_VERSION_PUT};
    version.value = kl_slice_make(words, race_value(key, round, words));
    DRAIN_MUST(kl_delta_insert(delta, 1, race_key(key, bytes), &version, &must));
  }
  pthread_mutex_lock(&r->lock);
  for (int i = 0; i < RACE_READERS; i++) {
    if (r->live[i] != 0) live[count++] = r->live[i];
  }
  live[count++] = kl_roots_sequence(r->newest);
  pthread_mutex_unlock(&r->lock);
  kl_drain_input input = {.pages = db->pages,
                          .store = db->store,
                          .allocator = db->allocator,
                          .delta = delta,
                          .ts = round,
                          .base = r->newest,
                          .live = live,
                          .live_count = count,
                          .crew = r->crew,
                          .part_bytes = DRAIN_PART_BYTES};
  kl_drain_stats stats;
  DRAIN_MUST(kl_drain_run(&input, &roots, &stats, &must));
  r->parts += stats.parts;
  pthread_mutex_lock(&r->lock);
  kl_roots *old = r->newest;
  r->newest = roots;
  pthread_mutex_unlock(&r->lock);
  kl_roots_unref(old);
  kl_delta_unref(delta);
}

static void run_race(bool memory) {
  static race r;
  pthread_t threads[RACE_READERS];
  race_reader readers[RACE_READERS];
  memset(&r, 0, sizeof r);
  drain_db_open(&r.db, 9, 4096, memory, KL_CACHE_LIMIT_MIN);
  r.newest = r.db.roots;
  r.os = *r.db.os;
  r.os.has_threads = true;
  if (DRAIN_LANES > 1) DRAIN_MUST(kl_drain_crew_new(&r.os, r.db.allocator, DRAIN_LANES, true, &r.crew, &must));
  assert_int_equal(pthread_mutex_init(&r.lock, NULL), 0);
  race_drain(&r, 1);
  for (int i = 0; i < RACE_READERS; i++) {
    readers[i] = (race_reader){&r, i, test_seed(47) + (uint64_t)i};
    assert_int_equal(pthread_create(&threads[i], NULL, race_reader_run, &readers[i]), 0);
  }
  for (uint64_t round = 2; round < RACE_ROUNDS; round++) race_drain(&r, round);
  while (atomic_load(&r.reads) < RACE_READERS) kl_thread_yield(); /* the readers may come late */
  atomic_store(&r.stop, true);
  for (int i = 0; i < RACE_READERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  kl_drain_crew_free(r.crew);
  if (DRAIN_LANES > 1) assert_true(r.parts > RACE_ROUNDS * 2);
  r.db.roots = r.newest;
  assert_int_equal(pthread_mutex_destroy(&r.lock), 0);
  drain_db_close(&r.db);
}

static void test_readers_and_drains(void **state) {
  (void)state;
  run_race(false);
}

static void test_readers_and_drains_in_memory(void **state) {
  (void)state;
  run_race(true);
}

/* Threads that look for the same keyspaces at once. */
enum { FIND_SPACES = 200 };

static void *find_run(void *context) {
  kl_roots *roots = context;
  for (int pass = 0; pass < 3; pass++) {
    for (uint32_t i = 1; i <= FIND_SPACES; i++) {
      kl_tree_pointer root;
      uint64_t rows = 0;
      DRAIN_MUST(kl_roots_find(roots, i * 37, &root, &must));
      DRAIN_MUST(kl_pages_rows(kl_roots_pages(roots), &root, &rows, &must));
      if (rows != i % 3) drain_fail("keyspace %u has %u rows", (unsigned)i * 37, (unsigned)rows);
    }
  }
  return NULL;
}

static void test_find_many_keyspaces(void **state) {
  (void)state;
  drain_db db;
  kl_roots *roots = NULL;
  pthread_t threads[RACE_READERS];
  char bytes[32];
  drain_db_open(&db, 3, 4096, false, KL_CACHE_LIMIT_MIN);
  for (uint32_t i = 1; i <= FIND_SPACES; i++) {
    for (uint32_t k = 0; k < i % 3; k++) {
      kl_version version = {.ts = 2, .kind = KL_VERSION_PUT, .value = kl_slice_make("v", 1)};
      DRAIN_MUST(kl_delta_insert(db.delta, i * 37, race_key(k, bytes), &version, &must));
    }
  }
  db.ts = 2;
  DRAIN_MUST(drain_db_try(&db, &roots, NULL, &must));
  drain_db_adopt(&db, roots);
  drain_db_reopen(&db); /* roots that remember nothing */
  for (int i = 0; i < RACE_READERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, find_run, db.roots), 0);
  for (int i = 0; i < RACE_READERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  drain_db_close(&db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_readers_and_drains),
      cmocka_unit_test(test_readers_and_drains_in_memory),
      cmocka_unit_test(test_find_many_keyspaces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
