/* tests/unit/drain/drain_testing.h: a database of deltas and drains without log and transactions, and a model of it.
 *
 * The model is a sorted array for each keyspace; values are made from a seed, so that it is small and can be copied:
 * each roots that a test keeps has its own. */
#ifndef KEEL_TESTS_DRAIN_TESTING_H
#define KEEL_TESTS_DRAIN_TESTING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/arena.h"
#include "core/base/rng.h"
#include "core/drain/drain.h"
#include "core/os/sim/sim.h"
#include "core/wal/commit_record.h"
#include "seed.h"

#define DRAIN_PATH "/db/drain.keel"

/* The tests of drains are compiled twice: once as they are, and once for drains in parts (DRAIN-19), with lanes that are taken
 * in turn, and, in test_drain_threads, with threads. */
#ifndef DRAIN_LANES
#define DRAIN_LANES 1
#define DRAIN_PART_BYTES 0
#endif
#ifndef DRAIN_SPACES
#define DRAIN_SPACES 4 /* keyspaces 1 ... 4; the catalogue is 0 */
#endif
enum { DRAIN_LIVE = 6 };

/* -------- the model -------- */

typedef struct model_row {
  uint8_t *key; /* in an arena: copies of the model share it */
  size_t key_size, value_size;
  uint64_t seed;
} model_row;

typedef struct model_space {
  model_row *rows;
  size_t count, capacity;
} model_space;

typedef struct model {
  model_space space[DRAIN_SPACES + 1];
} model;

static inline void model_value(const model_row *row, uint8_t *out) {
  for (size_t i = 0; i < row->value_size; i += 8) {
    uint64_t word = kl_mix64(row->seed + i);
    memcpy(out + i, &word, row->value_size - i < 8 ? row->value_size - i : 8);
  }
}

static inline size_t model_find(const model_space *space, kl_slice key, bool *out_found) {
  size_t low = 0, high = space->count;
  *out_found = false;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int order = kl_slice_compare(kl_slice_make(space->rows[middle].key, space->rows[middle].key_size), key);
    if (order == 0) *out_found = true;
    if (order == 0) return middle;
    if (order < 0) low = middle + 1;
    if (order > 0) high = middle;
  }
  return low;
}

static inline void model_put(model_space *space, kl_arena *keys, kl_slice key, uint64_t seed, size_t value_size) {
  bool found;
  size_t at = model_find(space, key, &found);
  if (!found) {
    if (space->count == space->capacity) {
      space->capacity = space->capacity == 0 ? 64 : 2 * space->capacity;
      space->rows = realloc(space->rows, space->capacity * sizeof *space->rows);
      assert_non_null(space->rows);
    }
    memmove(space->rows + at + 1, space->rows + at, (space->count - at) * sizeof *space->rows);
    space->count++;
    space->rows[at].key = kl_arena_alloc(keys, key.size + 1, 1);
    assert_non_null(space->rows[at].key);
    if (key.size != 0) memcpy(space->rows[at].key, key.data, key.size);
    space->rows[at].key_size = key.size;
  }
  space->rows[at].seed = seed;
  space->rows[at].value_size = value_size;
}

static inline void model_delete(model_space *space, kl_slice key) {
  bool found;
  size_t at = model_find(space, key, &found);
  if (!found) return;
  memmove(space->rows + at, space->rows + at + 1, (space->count - at - 1) * sizeof *space->rows);
  space->count--;
}

static inline void model_copy(model *to, const model *from) {
  for (int i = 0; i <= DRAIN_SPACES; i++) {
    model_space *space = &to->space[i];
    *space = from->space[i];
    space->rows = malloc((space->capacity + 1) * sizeof *space->rows);
    assert_non_null(space->rows);
    if (space->count != 0) memcpy(space->rows, from->space[i].rows, space->count * sizeof *space->rows);
  }
}

static inline void model_free(model *m) {
  for (int i = 0; i <= DRAIN_SPACES; i++) free(m->space[i].rows);
  memset(m, 0, sizeof *m);
}

/* -------- the database -------- */

typedef struct drain_kept {
  kl_roots *roots;
  model model;
} drain_kept;

typedef struct drain_db {
  kl_sim *sim;
  kl_os *os;
  kl_allocator *allocator;
  kl_store *store;
  kl_pages *pages;
  kl_roots *roots;
  kl_delta *delta;
  uint64_t ts;
  kl_arena keys;
  model now; /* with what is in the delta */
  model drained;
  drain_kept kept[DRAIN_LIVE];
  size_t kept_count;
  uint32_t page_size;
  bool memory;
  uint64_t cache_limit;
  bool dropped[DRAIN_SPACES + 1];
  kl_drain_place *place; /* NULL: drains are not sliced */
  uint64_t slice_bytes;
  kl_drain_crew *crew; /* NULL: one lane */
  uint64_t parts;      /* that drains have merged */
} drain_db;

/* As fail_msg, which says nothing when it is called on a thread that cmocka did not start. */
#define drain_fail(...)                 \
  do {                                  \
    (void)fprintf(stderr, __VA_ARGS__); \
    (void)fputc('\n', stderr);          \
    fail_msg(__VA_ARGS__);              \
  } while (0)

/* `call` names its error `&must`. */
#define DRAIN_MUST(call)                                                                                  \
  do {                                                                                                    \
    kl_error must = {0};                                                                                  \
    kl_status must_status = (call);                                                                       \
    if (must_status != KL_OK) drain_fail("%s: %s: %s", #call, kl_status_name(must_status), must.message); \
  } while (0)

static inline void drain_db_attach(drain_db *db) {
  kl_checkpoint checkpoint;
  kl_pages_options options = {
      .os = db->os, .allocator = db->allocator, .store = db->store, .cache_limit = db->cache_limit};
  DRAIN_MUST(kl_pages_new(&options, &db->pages, &must));
  kl_store_checkpoint(db->store, &checkpoint);
  kl_tree_pointer root = {checkpoint.catalogue.address, checkpoint.catalogue.length, checkpoint.catalogue.checksum,
                          checkpoint.catalogue.birth};
  DRAIN_MUST(kl_roots_open(db->pages, &root, checkpoint.sequence, checkpoint.ts, &db->roots, &must));
}

static inline void drain_db_open(drain_db *db, uint64_t seed, uint32_t page_size, bool memory, uint64_t cache_limit) {
  memset(db, 0, sizeof *db);
  DRAIN_MUST(kl_sim_new(seed, &db->sim, &must));
  db->os = kl_sim_os(db->sim);
  db->allocator = db->os->allocator;
  db->page_size = page_size;
  db->memory = memory;
  db->cache_limit = cache_limit;
  db->ts = 1;
  kl_arena_init(&db->keys, kl_allocator_libc());
  kl_store_options options = {.page_size = page_size};
  if (memory) DRAIN_MUST(kl_store_new_memory(db->os, page_size, &db->store, &must));
  if (!memory) DRAIN_MUST(kl_store_create(db->os, DRAIN_PATH, &options, &db->store, &must));
  drain_db_attach(db);
  DRAIN_MUST(kl_delta_new(db->allocator, &db->delta, &must));
  if (DRAIN_LANES > 1) DRAIN_MUST(kl_drain_crew_new(db->os, db->allocator, DRAIN_LANES, true, &db->crew, &must));
}

static inline void drain_db_detach(drain_db *db) {
  for (size_t i = 0; i < db->kept_count; i++) {
    kl_roots_unref(db->kept[i].roots);
    model_free(&db->kept[i].model);
  }
  db->kept_count = 0;
  kl_roots_unref(db->roots);
  kl_pages_detach(db->pages);
  kl_pages_unref(db->pages);
  kl_store_close(db->store);
}

/* Frees all; nothing may be left of what the os gave. */
static inline void drain_db_close(drain_db *db) {
  drain_db_detach(db);
  kl_drain_crew_free(db->crew);
  kl_delta_unref(db->delta);
  model_free(&db->now);
  model_free(&db->drained);
  kl_arena_destroy(&db->keys);
  assert_int_equal(kl_sim_live_bytes(db->sim), 0);
  kl_sim_free(db->sim);
}

static inline void drain_db_reopen(drain_db *db) {
  kl_store_options options = {0};
  drain_db_detach(db);
  DRAIN_MUST(kl_store_open(db->os, DRAIN_PATH, &options, &db->store, &must));
  drain_db_attach(db);
}

static inline void drain_db_write(drain_db *db, uint32_t keyspace, kl_slice key, bool put, uint64_t seed, size_t size) {
  model_row row = {.seed = seed, .value_size = size};
  uint8_t *value = malloc(size + 1);
  assert_non_null(value);
  model_value(&row, value);
  kl_version version = {.ts = ++db->ts, .kind = put ? KL_VERSION_PUT : KL_VERSION_DELETE};
  version.value = kl_slice_make(value, put ? size : 0);
  DRAIN_MUST(kl_delta_insert(db->delta, keyspace, key, &version, &must));
  if (put) model_put(&db->now.space[keyspace], &db->keys, key, seed, size);
  if (!put) model_delete(&db->now.space[keyspace], key);
  free(value);
}

/* The catalogue's row of a dropped keyspace; afterwards the keyspace is empty, whatever else the delta has of it. */
static inline void drain_db_drop(drain_db *db, uint32_t keyspace) {
  uint8_t marker[KL_DROP_MARKER_SIZE];
  kl_drop_marker_encode(keyspace, marker);
  drain_db_write(db, 0, kl_slice_make(marker, sizeof marker), true, 1, 12);
  db->now.space[keyspace].count = 0;
  db->dropped[keyspace] = true;
}

static inline kl_status drain_db_try(drain_db *db, kl_roots **out, kl_drain_stats *stats, kl_error *err) {
  uint64_t live[DRAIN_LIVE + 1];
  kl_drain_input input = {.pages = db->pages,
                          .store = db->store,
                          .allocator = db->allocator,
                          .delta = db->delta,
                          .ts = db->ts,
                          .base = db->roots,
                          .live = live,
                          .live_count = db->kept_count + 1,
                          .place = db->place,
                          .slice_bytes = db->slice_bytes,
                          .crew = db->crew,
                          .part_bytes = DRAIN_PART_BYTES};
  kl_drain_stats own = {0};
  for (size_t i = 0; i < db->kept_count; i++) live[i] = kl_roots_sequence(db->kept[i].roots);
  live[db->kept_count] = kl_roots_sequence(db->roots);
  kl_status status = kl_drain_run(&input, out, &own, err);
  db->parts += own.parts;
  if (stats != NULL) *stats = own;
  return status;
}

/* After a drain that worked: its roots are the database's, and the delta begins anew. */
static inline void drain_db_adopt(drain_db *db, kl_roots *roots) {
  kl_roots_unref(db->roots);
  db->roots = roots;
  kl_delta_unref(db->delta);
  DRAIN_MUST(kl_delta_new(db->allocator, &db->delta, &must));
  model_free(&db->drained);
  model_copy(&db->drained, &db->now);
}

static inline void drain_db_drain(drain_db *db, kl_drain_stats *stats) {
  kl_roots *roots = NULL;
  DRAIN_MUST(drain_db_try(db, &roots, stats, &must));
  assert_int_equal(kl_roots_ts(roots), db->ts);
  assert_true(kl_roots_sequence(roots) > kl_roots_sequence(db->roots));
  drain_db_adopt(db, roots);
}

/* One round. */
static inline kl_status drain_db_try_compact(drain_db *db, const kl_compact_limits *limits, kl_roots **out,
                                             kl_compact_stats *stats, kl_error *err) {
  uint64_t live[DRAIN_LIVE + 1];
  kl_checkpoint checkpoint;
  kl_store_checkpoint(db->store, &checkpoint);
  kl_drain_input input = {.pages = db->pages,
                          .store = db->store,
                          .allocator = db->allocator,
                          .ts = checkpoint.ts,
                          .log_lsn = checkpoint.log_lsn,
                          .known_durable = checkpoint.known_durable,
                          .log_needed = checkpoint.log_needed,
                          .base = db->roots,
                          .live = live,
                          .live_count = db->kept_count + 1};
  for (size_t i = 0; i < db->kept_count; i++) live[i] = kl_roots_sequence(db->kept[i].roots);
  live[db->kept_count] = kl_roots_sequence(db->roots);
  return kl_drain_compact(&input, limits, out, stats, err);
}

static inline void drain_db_compact(drain_db *db, const kl_compact_limits *limits, kl_compact_stats *stats) {
  kl_roots *roots = NULL;
  uint64_t ts = kl_roots_ts(db->roots);
  DRAIN_MUST(drain_db_try_compact(db, limits, &roots, stats, &must));
  assert_int_equal(kl_roots_ts(roots), ts);
  kl_roots_unref(db->roots);
  db->roots = roots;
}

static inline void drain_db_keep(drain_db *db) {
  if (db->kept_count == DRAIN_LIVE) return;
  drain_kept *kept = &db->kept[db->kept_count++];
  kl_roots_ref(db->roots);
  kept->roots = db->roots;
  model_copy(&kept->model, &db->drained);
}

static inline void drain_db_let_go(drain_db *db, size_t i) {
  kl_roots_unref(db->kept[i].roots);
  model_free(&db->kept[i].model);
  db->kept[i] = db->kept[--db->kept_count];
}

/* -------- calling off -------- */

/* `cancel` is seen at whatever page it comes. The allocator counts, so that it comes at each of its calls. */
typedef struct cancelling {
  kl_allocator base;
  kl_allocator *under;
  uint64_t left;
  _Atomic bool cancel;
} cancelling;

static inline void *cancelling_alloc(kl_allocator *self, size_t size, size_t align) {
  cancelling *c = (cancelling *)self;
  if (c->left-- == 0) atomic_store(&c->cancel, true);
  return kl_alloc_aligned(c->under, size, align);
}

static inline void cancelling_free(kl_allocator *self, void *memory, size_t size) {
  kl_free(((cancelling *)self)->under, memory, size);
}

/* -------- comparing -------- */

static inline void check_value(const model_row *row, kl_slice value) {
  assert_int_equal(value.size, row->value_size);
  for (size_t i = 0; i < row->value_size; i += 8) {
    uint64_t word = kl_mix64(row->seed + i);
    assert_memory_equal((const uint8_t *)value.data + i, &word, row->value_size - i < 8 ? row->value_size - i : 8);
  }
}

static inline void check_key(const model_row *row, kl_slice key) {
  assert_int_equal(key.size, row->key_size);
  if (key.size != 0) assert_memory_equal(key.data, row->key, key.size);
}

static inline kl_slice model_key(const model_row *row) {
  return kl_slice_make(row->key, row->key_size);
}

static inline void check_cursor(kl_pages_cursor *cursor, const model_row *row) {
  kl_slice value = {NULL, 0};
  assert_true(cursor->valid);
  if (cursor->waits) assert_true(cursor->key.data == NULL && cursor->value.data == NULL && !cursor->is_far);
  if (cursor->waits) DRAIN_MUST(kl_pages_cursor_value(cursor, &value, &must));
  check_key(row, cursor->key);
  assert_int_equal(cursor->value.size, row->value_size);
  DRAIN_MUST(kl_pages_cursor_value(cursor, &value, &must));
  check_value(row, value);
}

/* All rows of all keyspaces, by point and by scan. */
static inline void check_all(kl_roots *roots, const model *m) {
  kl_held held = {0};
  for (uint32_t space = 1; space <= DRAIN_SPACES; space++) {
    kl_tree_pointer root;
    kl_pages_cursor *cursor = NULL;
    DRAIN_MUST(kl_roots_find(roots, space, &root, &must));
    DRAIN_MUST(kl_pages_cursor_new(kl_roots_pages(roots), &root, &cursor, &must));
    kl_status status = kl_pages_cursor_first(cursor, NULL);
    for (size_t i = 0; i < m->space[space].count; i++, status = kl_pages_cursor_next(cursor, NULL)) {
      const model_row *row = &m->space[space].rows[i];
      assert_int_equal(status, KL_OK);
      check_cursor(cursor, row);
      DRAIN_MUST(kl_pages_get(kl_roots_pages(roots), &root, model_key(row), &held, &must));
      check_value(row, held.value);
    }
    assert_int_equal(status, KL_E_NOT_FOUND);
    kl_pages_cursor_free(cursor);
  }
  kl_held_destroy(&held);
}

/* How rows of the catalogue that the drain wrote are told from the model's. */
static inline bool is_tree_record(kl_slice key) {
  return key.size == 5 && *(const uint8_t *)key.data == 'r';
}

#endif
