/* Writers and readers on one delta at once. Every check is an invariant that holds at any moment; nothing depends on
 * time. Run it under the thread sanitizer too. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "core/base/endian.h"
#include "delta_testing.h"

enum { STRESS_WRITERS = 4, STRESS_READERS = 3, STRESS_MOST_THREADS = 8 };

typedef struct stress stress;
typedef struct stress_thread {
  stress *stress;
  uint32_t number;
} stress_thread;

struct stress {
  kl_delta *delta;
  uint64_t seed;
  uint64_t rounds;
  void (*key)(uint32_t writer, uint64_t index, unsigned char out[16]);
  _Atomic uint64_t complete[STRESS_WRITERS]; /* per writer: how many of its keys are in */
  _Atomic uint64_t next_ts, visible;         /* of the commits in test_snapshots */
  _Atomic uint32_t writing;                  /* writers not yet done */
  _Atomic bool failed;
};

#define CHECK_STRESS(s, condition)                                                                           \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "%s:%d: KEEL_TEST_SEED=%llu: %s\n", __FILE__, __LINE__, (unsigned long long)(s)->seed, \
              #condition);                                                                                   \
      atomic_store(&(s)->failed, true);                                                                      \
      return NULL;                                                                                           \
    }                                                                                                        \
  } while (0)

static void stress_run(stress *s, uint32_t writers, void *(*write)(void *), uint32_t readers, void *(*read)(void *)) {
  pthread_t threads[STRESS_MOST_THREADS];
  stress_thread arguments[STRESS_MOST_THREADS];
  assert_true(writers + readers <= STRESS_MOST_THREADS);
  assert_int_equal(kl_delta_new(kl_allocator_libc(), &s->delta, NULL), KL_OK);
  atomic_store(&s->writing, writers);
  for (uint32_t i = 0; i < writers + readers; i++) {
    arguments[i] = (stress_thread){s, i < writers ? i : i - writers};
    assert_int_equal(pthread_create(&threads[i], NULL, i < writers ? write : read, &arguments[i]), 0);
  }
  for (uint32_t i = 0; i < writers + readers; i++) pthread_join(threads[i], NULL);
  assert_false(atomic_load(&s->failed));
}

/* --- one key, one writer: nothing is lost, doubled or out of order ------------------------------ */

static void key_scattered(uint32_t writer, uint64_t index, unsigned char out[16]) {
  kl_store_u64_be(out, kl_mix64(index * STRESS_WRITERS + writer));
  kl_store_u32_be(out + 8, writer);
  kl_store_u32_be(out + 12, (uint32_t)index);
}

/* All writers append at one place: behind a common prefix, so that ties have to be told apart by the whole key. */
static void key_appended(uint32_t writer, uint64_t index, unsigned char out[16]) {
  memcpy(out, "prefix: ", 8);
  kl_store_u32_be(out + 8, (uint32_t)index);
  kl_store_u32_be(out + 12, writer);
}

static void key_descending(uint32_t writer, uint64_t index, unsigned char out[16]) {
  kl_store_u64_be(out, UINT64_MAX - index);
  kl_store_u64_be(out + 8, writer);
}

static void *distinct_write(void *argument) {
  stress_thread *thread = argument;
  stress *s = thread->stress;
  for (uint64_t i = 0; i < s->rounds; i++) {
    unsigned char key[16], value[12];
    s->key(thread->number, i, key);
    kl_store_u32_be(value, thread->number);
    kl_store_u64_be(value + 4, i);
    kl_version version = testing_put(i + 1, kl_slice_make(value, sizeof value));
    /* Every other time as a commit does: looks first, and inserts where it looked, while others split that leaf. */
    kl_slice looked = kl_slice_make(key, 16);
    kl_delta_place place = NULL;
    uint64_t newest = 0;
    if (i % 2 == 1) kl_delta_look_many(s->delta, 5, &looked, 1, &newest, &place);
    CHECK_STRESS(s, newest == 0);
    CHECK_STRESS(s, kl_delta_insert_at(s->delta, 5, place, looked, &version, NULL) == KL_OK);
    kl_version got;
    CHECK_STRESS(s, kl_delta_get(s->delta, 5, kl_slice_make(key, 16), i + 1, &got));
    CHECK_STRESS(s, got.ts == i + 1 && kl_slice_equal(got.value, version.value));
    CHECK_STRESS(s, !kl_delta_get(s->delta, 5, kl_slice_make(key, 16), i, &got));
    atomic_store_explicit(&s->complete[thread->number], i + 1, memory_order_release);
  }
  atomic_fetch_sub(&s->writing, 1);
  return NULL;
}

/* One whole scan; every key that was complete when it began must be met exactly once, in order. */
static void *distinct_scan(stress *s, bool forward) {
  uint64_t complete[STRESS_WRITERS], met[STRESS_WRITERS] = {0};
  for (uint32_t w = 0; w < STRESS_WRITERS; w++) {
    complete[w] = atomic_load_explicit(&s->complete[w], memory_order_acquire);
  }
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, s->delta, 5, UINT64_MAX);
  kl_slice last = {NULL, 0};
  if (forward) {
    kl_delta_cursor_first(&cursor);
  } else {
    kl_delta_cursor_last(&cursor);
  }
  while (cursor.valid) {
    if (last.data != NULL) CHECK_STRESS(s, (kl_slice_compare(last, cursor.key) < 0) == forward);
    if (last.data != NULL) CHECK_STRESS(s, !kl_slice_equal(last, cursor.key));
    last = cursor.key;
    CHECK_STRESS(s, cursor.version.value.size == 12);
    uint32_t writer = kl_load_u32_be(cursor.version.value.data);
    uint64_t index = kl_load_u64_be((const unsigned char *)cursor.version.value.data + 4);
    CHECK_STRESS(s, writer < STRESS_WRITERS && cursor.version.ts == index + 1);
    unsigned char key[16];
    s->key(writer, index, key);
    CHECK_STRESS(s, kl_slice_equal(cursor.key, kl_slice_make(key, 16)));
    if (index < complete[writer]) met[writer]++;
    if (forward) {
      kl_delta_cursor_next(&cursor);
    } else {
      kl_delta_cursor_prev(&cursor);
    }
  }
  for (uint32_t w = 0; w < STRESS_WRITERS; w++) CHECK_STRESS(s, met[w] == complete[w]);
  return s;
}

/* Single look-ups: what is complete is found; what has been found once is found again, by any way. */
static void *distinct_probe(stress *s, kl_rng *rng) {
  uint32_t writer = (uint32_t)kl_rng_below(rng, STRESS_WRITERS);
  uint64_t complete = atomic_load_explicit(&s->complete[writer], memory_order_acquire);
  uint64_t index = kl_rng_below(rng, complete + 2);
  unsigned char bytes[16];
  s->key(writer, index, bytes);
  kl_slice key = kl_slice_make(bytes, 16);
  kl_version got;
  bool found = kl_delta_get(s->delta, 5, key, UINT64_MAX, &got);
  CHECK_STRESS(s, found || index >= complete);
  kl_version many[2] = {{0, 0, {NULL, 0}}, {0, 0, {NULL, 0}}};
  kl_slice twice[2] = {key, key};
  kl_delta_get_many(s->delta, 5, twice, 2, UINT64_MAX, many);
  CHECK_STRESS(s, !found || (many[0].ts == index + 1 && many[1].ts == index + 1));
  if (!found) return s;
  CHECK_STRESS(s, got.ts == index + 1);
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, s->delta, 5, UINT64_MAX);
  kl_delta_cursor_seek_ge(&cursor, key);
  CHECK_STRESS(s, cursor.valid && kl_slice_equal(cursor.key, key));
  kl_delta_cursor_prev(&cursor);
  CHECK_STRESS(s, !cursor.valid || kl_slice_compare(cursor.key, key) < 0);
  kl_delta_cursor_seek_le(&cursor, key);
  CHECK_STRESS(s, cursor.valid && kl_slice_equal(cursor.key, key));
  kl_delta_cursor_next(&cursor);
  CHECK_STRESS(s, !cursor.valid || kl_slice_compare(cursor.key, key) > 0);
  CHECK_STRESS(s, kl_delta_newest_ts(s->delta, 5, key) == index + 1);
  return s;
}

static void *distinct_read(void *argument) {
  stress_thread *thread = argument;
  stress *s = thread->stress;
  kl_rng rng;
  kl_rng_init(&rng, s->seed + thread->number);
  bool last_round = false;
  while (!last_round && !atomic_load(&s->failed)) {
    last_round = atomic_load(&s->writing) == 0; /* the last scan sees everything */
    if (distinct_scan(s, (thread->number & 1) == 0) == NULL) return NULL;
    for (int i = 0; i < 200; i++) {
      if (distinct_probe(s, &rng) == NULL) return NULL;
    }
  }
  return NULL;
}

static void distinct_run(void (*key)(uint32_t, uint64_t, unsigned char[16])) {
  stress s = {.seed = testing_seed(), .rounds = 8000, .key = key};
  stress_run(&s, STRESS_WRITERS, distinct_write, STRESS_READERS, distinct_read);
  kl_delta_stats stats;
  kl_delta_get_stats(s.delta, &stats);
  assert_int_equal(stats.keys, STRESS_WRITERS * s.rounds);
  assert_int_equal(stats.versions, STRESS_WRITERS * s.rounds);
  kl_delta_unref(s.delta);
}

static void test_scattered(void **state) {
  (void)state;
  distinct_run(key_scattered);
}

static void test_appended(void **state) {
  (void)state;
  distinct_run(key_appended);
}

static void test_descending(void **state) {
  (void)state;
  distinct_run(key_descending);
}

/* --- snapshots: a commit is seen whole or not at all ------------------------------ */

enum { SNAPSHOT_GROUPS = 800, SNAPSHOT_GROUP = 6 };

static void snapshot_key(uint64_t group, uint64_t member, unsigned char out[16]) {
  kl_store_u64_be(out, kl_mix64(group + member * 100003)); /* the members lie far apart */
  kl_store_u32_be(out + 8, (uint32_t)group);
  kl_store_u32_be(out + 12, (uint32_t)member);
}

/* A commit takes a timestamp, writes all keys of one group in some keyspaces and then waits for its turn to publish. */
static void *snapshot_write(void *argument) {
  stress_thread *thread = argument;
  stress *s = thread->stress;
  kl_rng rng;
  kl_rng_init(&rng, s->seed * 31 + thread->number);
  for (uint64_t i = 0; i < s->rounds; i++) {
    uint64_t ts = atomic_fetch_add(&s->next_ts, 1) + 1;
    uint64_t group = kl_rng_below(&rng, SNAPSHOT_GROUPS);
    kl_version version =
        kl_rng_below(&rng, 4) == 0 ? testing_delete(ts) : testing_put(ts, kl_slice_make(&ts, sizeof ts));
    for (uint64_t member = 0; member < SNAPSHOT_GROUP; member++) {
      unsigned char key[16];
      snapshot_key(group, member, key);
      CHECK_STRESS(s, kl_delta_insert(s->delta, (uint32_t)member & 1, kl_slice_make(key, 16), &version, NULL) == KL_OK);
    }
    while (atomic_load_explicit(&s->visible, memory_order_acquire) != ts - 1) sched_yield();
    atomic_store_explicit(&s->visible, ts, memory_order_release);
  }
  atomic_fetch_sub(&s->writing, 1);
  return NULL;
}

static void *snapshot_note(stress *s, uint64_t seen[SNAPSHOT_GROUPS], uint32_t count[SNAPSHOT_GROUPS],
                           const kl_delta_cursor *cursor) {
  uint32_t group = kl_load_u32_be((const unsigned char *)cursor->key.data + 8);
  CHECK_STRESS(s, group < SNAPSHOT_GROUPS && cursor->version.ts <= cursor->read_ts);
  CHECK_STRESS(s, seen[group] == 0 || seen[group] == cursor->version.ts); /* all members show one commit */
  seen[group] = cursor->version.ts;
  count[group]++;
  return s;
}

static void *snapshot_read(void *argument) {
  stress_thread *thread = argument;
  stress *s = thread->stress;
  uint64_t seen[SNAPSHOT_GROUPS];
  uint32_t count[SNAPSHOT_GROUPS];
  bool last_round = false;
  while (!last_round && !atomic_load(&s->failed)) {
    last_round = atomic_load(&s->writing) == 0;
    memset(seen, 0, sizeof seen);
    memset(count, 0, sizeof count);
    uint64_t read_ts = atomic_load_explicit(&s->visible, memory_order_acquire);
    for (uint32_t keyspace = 0; keyspace < 2; keyspace++) {
      kl_delta_cursor cursor;
      kl_delta_cursor_init(&cursor, s->delta, keyspace, read_ts);
      if ((thread->number + keyspace) % 2 == 0) {
        for (kl_delta_cursor_first(&cursor); cursor.valid; kl_delta_cursor_next(&cursor)) {
          if (snapshot_note(s, seen, count, &cursor) == NULL) return NULL;
        }
      } else {
        for (kl_delta_cursor_last(&cursor); cursor.valid; kl_delta_cursor_prev(&cursor)) {
          if (snapshot_note(s, seen, count, &cursor) == NULL) return NULL;
        }
      }
    }
    for (uint32_t group = 0; group < SNAPSHOT_GROUPS; group++) {
      CHECK_STRESS(s, count[group] == 0 || count[group] == SNAPSHOT_GROUP);
      for (uint64_t member = 0; member < SNAPSHOT_GROUP; member++) {
        unsigned char key[16];
        snapshot_key(group, member, key);
        kl_version got;
        bool found = kl_delta_get(s->delta, (uint32_t)member & 1, kl_slice_make(key, 16), read_ts, &got);
        CHECK_STRESS(s, found == (seen[group] != 0)); /* the snapshot does not move while others commit */
        if (found) CHECK_STRESS(s, got.ts == seen[group]);
      }
    }
  }
  return NULL;
}

static void test_snapshots(void **state) {
  (void)state;
  stress s = {.seed = testing_seed(), .rounds = 1200};
  stress_run(&s, STRESS_WRITERS, snapshot_write, STRESS_READERS, snapshot_read);
  kl_delta_stats stats;
  kl_delta_get_stats(s.delta, &stats);
  assert_int_equal(stats.versions, STRESS_WRITERS * s.rounds * SNAPSHOT_GROUP);
  kl_delta_unref(s.delta);
}

/* --- one key, all writers at once ------------------------------ */

enum { SHARED_KEYS = 4000 };

static void *shared_write(void *argument) {
  stress_thread *thread = argument;
  stress *s = thread->stress;
  for (uint64_t i = 0; i < SHARED_KEYS; i++) {
    unsigned char key[16];
    key_scattered(0, i, key);
    uint64_t ts = 1 + (i + thread->number) % STRESS_MOST_THREADS; /* each writer in another order of timestamps */
    kl_version version = testing_put(ts, kl_slice_make(&thread->number, sizeof thread->number));
    CHECK_STRESS(s, kl_delta_insert(s->delta, (uint32_t)i % 40, kl_slice_make(key, 16), &version, NULL) == KL_OK);
  }
  return NULL;
}

static void test_shared_keys(void **state) {
  (void)state;
  stress s = {.seed = testing_seed()};
  stress_run(&s, STRESS_MOST_THREADS, shared_write, 0, NULL);
  for (uint64_t i = 0; i < SHARED_KEYS; i++) {
    unsigned char key[16];
    key_scattered(0, i, key);
    for (uint64_t ts = 1; ts <= STRESS_MOST_THREADS; ts++) {
      kl_version got;
      assert_true(kl_delta_get(s.delta, (uint32_t)i % 40, kl_slice_make(key, 16), ts, &got));
      assert_int_equal(got.ts, ts);
      uint32_t writer;
      memcpy(&writer, got.value.data, sizeof writer);
      assert_int_equal(1 + (i + writer) % STRESS_MOST_THREADS, ts);
    }
  }
  kl_delta_stats stats;
  kl_delta_get_stats(s.delta, &stats);
  assert_int_equal(stats.keys, SHARED_KEYS);
  assert_int_equal(stats.versions, SHARED_KEYS * STRESS_MOST_THREADS);
  kl_delta_unref(s.delta);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scattered), cmocka_unit_test(test_appended),    cmocka_unit_test(test_descending),
      cmocka_unit_test(test_snapshots), cmocka_unit_test(test_shared_keys),
  };
  return cmocka_run_group_tests_name("delta threads", tests, NULL, NULL);
}
