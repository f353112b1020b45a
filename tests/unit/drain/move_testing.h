/* tests/unit/drain/move_testing.h: parts over a target, a model of what they show together, and slices of a move.
 *
 * Each tree is a keyspace of the database that drain_testing.h makes; what it has is in that one's model, too. */
#ifndef KEEL_TESTS_MOVE_TESTING_H
#define KEEL_TESTS_MOVE_TESTING_H

#define DRAIN_SPACES 12
#include "core/drain/tree_record.h"
#include "space_testing.h"

enum { MOVE_PARTS = 4, MOVE_TREES = 2 * (MOVE_PARTS + 1), MOVE_SLICES_MAX = 3000 };
#define MOVE_DELETED SIZE_MAX /* the size of a row that says that there is none */

typedef struct move_fixture {
  drain_db db;
  kl_drain_part parts[MOVE_PARTS];
  kl_drain_move move;
  uint32_t ended[MOVE_TREES];
  uint64_t slice_bytes;
  model_space shown;              /* by the parts over the target; of a target that is a part its deletes, too */
  void (*between)(void *context); /* NULL, or: called after each slice but the last */
  void *context;
} move_fixture;

/* -------- what is there -------- */

static inline void move_write(move_fixture *f, uint32_t keyspace, kl_slice key, kl_rng *rng, size_t size) {
  drain_db_write(&f->db, keyspace, key, true, kl_rng_next(rng), size);
}

/* The row of `ended` keyspaces in the catalogue, as what has not ended has it. */
static inline void move_announce(move_fixture *f, uint32_t keyspace) {
  uint8_t key[KL_LOAD_RECORD_KEY];
  kl_load_record_key(keyspace, key);
  drain_db_write(&f->db, 0, kl_slice_make(key, sizeof key), true, keyspace, 20);
}

static inline bool move_is_announced(move_fixture *f, uint32_t keyspace) {
  uint8_t key[KL_LOAD_RECORD_KEY];
  kl_tree_pointer catalogue;
  kl_load_record_key(keyspace, key);
  DRAIN_MUST(kl_roots_find(f->db.roots, 0, &catalogue, &must));
  kl_status status = kl_pages_contains(f->db.pages, &catalogue, kl_slice_make(key, sizeof key), NULL);
  assert_true(status == KL_OK || status == KL_E_NOT_FOUND);
  return status == KL_OK;
}

/* Lays the rows of two trees over what is shown so far. */
static inline void move_lay(move_fixture *f, uint32_t puts, uint32_t deletes, bool mark) {
  const model_space *rows = puts != 0 ? &f->db.now.space[puts] : NULL;
  const model_space *gone = deletes != 0 ? &f->db.now.space[deletes] : NULL;
  for (size_t i = 0; rows != NULL && i < rows->count; i++) {
    const model_row *row = &rows->rows[i];
    model_put(&f->shown, &f->db.keys, model_key(row), row->seed, row->value_size);
  }
  for (size_t i = 0; gone != NULL && i < gone->count; i++) {
    kl_slice key = model_key(&gone->rows[i]);
    if (mark) model_put(&f->shown, &f->db.keys, key, 0, MOVE_DELETED);
    if (!mark) model_delete(&f->shown, key);
  }
}

/* What was written becomes a checkpoint, and what it shows is remembered. */
static inline void move_ready(move_fixture *f) {
  bool mark = f->move.target_deletes != 0;
  drain_db_drain(&f->db, NULL);
  f->move.parts = f->parts;
  f->move.ended = f->ended;
  move_lay(f, f->move.target, f->move.target_deletes, mark);
  for (size_t i = f->move.part_count; i-- > 0;) move_lay(f, f->parts[i].puts, f->parts[i].deletes, mark);
}

static inline void move_close(move_fixture *f) {
  free(f->shown.rows);
  drain_db_close(&f->db);
}

/* -------- one slice -------- */

static inline kl_status move_try(move_fixture *f, bool *out_complete, kl_roots **out, kl_drain_stats *stats,
                                 kl_error *err) {
  drain_db *db = &f->db;
  uint64_t live[DRAIN_LIVE + 1];
  kl_drain_input input = {.pages = db->pages,
                          .store = db->store,
                          .allocator = db->allocator,
                          .ts = db->ts + 1000,
                          .log_lsn = 4711,
                          .known_durable = 5000,
                          .log_needed = true,
                          .base = db->roots,
                          .live = live,
                          .live_count = db->kept_count + 1,
                          .slice_bytes = f->slice_bytes};
  for (size_t i = 0; i < db->kept_count; i++) live[i] = kl_roots_sequence(db->kept[i].roots);
  live[db->kept_count] = kl_roots_sequence(db->roots);
  return kl_drain_move_run(&input, &f->move, out_complete, out, stats, err);
}

static inline void move_adopt(move_fixture *f, kl_roots *roots) {
  kl_roots_unref(f->db.roots);
  f->db.roots = roots;
}

/* What the new checkpoint says of itself. */
static inline void move_check_checkpoint(move_fixture *f, const kl_checkpoint *before, bool complete) {
  kl_checkpoint after;
  bool final = complete && f->move.final;
  kl_store_checkpoint(f->db.store, &after);
  assert_true(after.sequence > before->sequence);
  assert_int_equal(after.ts, final ? f->db.ts + 1000 : before->ts);
  assert_int_equal(after.log_lsn, final ? 4711 : before->log_lsn);
  assert_int_equal(after.log_needed, final || before->log_needed);
  assert_int_equal(after.known_durable, 5000);
  assert_int_equal(kl_roots_ts(f->db.roots), after.ts);
  assert_int_equal(kl_roots_sequence(f->db.roots), after.sequence);
}

/* -------- what the trees show -------- */

typedef struct move_view {
  kl_pages_cursor *cursor[MOVE_TREES]; /* newest first; the target's last */
  bool deletes[MOVE_TREES];
  size_t count;
} move_view;

static inline void move_view_add(move_view *view, move_fixture *f, uint32_t keyspace, bool deletes) {
  kl_tree_pointer root;
  if (keyspace == 0) return;
  DRAIN_MUST(kl_roots_find(f->db.roots, keyspace, &root, &must));
  DRAIN_MUST(kl_pages_cursor_new(f->db.pages, &root, &view->cursor[view->count], &must));
  kl_status status = kl_pages_cursor_first(view->cursor[view->count], NULL);
  assert_true(status == KL_OK || status == KL_E_NOT_FOUND);
  view->deletes[view->count++] = deletes;
}

/* The newest of the rows with the least key. */
static inline size_t move_view_least(const move_view *view) {
  size_t least = SIZE_MAX;
  for (size_t i = 0; i < view->count; i++) {
    if (!view->cursor[i]->valid) continue;
    if (least == SIZE_MAX || kl_slice_compare(view->cursor[i]->key, view->cursor[least]->key) < 0) least = i;
  }
  return least;
}

static inline void move_view_pass(move_view *view, const model_row *row) {
  for (size_t i = 0; i < view->count; i++) {
    kl_pages_cursor *cursor = view->cursor[i];
    if (!cursor->valid || kl_slice_compare(cursor->key, model_key(row)) != 0) continue;
    kl_status status = kl_pages_cursor_next(cursor, NULL);
    assert_true(status == KL_OK || status == KL_E_NOT_FOUND);
  }
}

/* DRAIN-15: the parts over the target show what they did. */
static inline void move_check_view(move_fixture *f) {
  move_view view = {.count = 0};
  bool mark = f->move.target_deletes != 0;
  for (size_t i = 0; i < f->move.part_count; i++) {
    move_view_add(&view, f, f->parts[i].puts, false);
    move_view_add(&view, f, f->parts[i].deletes, true);
  }
  move_view_add(&view, f, f->move.target, false);
  move_view_add(&view, f, f->move.target_deletes, true);
  size_t at = 0;
  for (size_t i; (i = move_view_least(&view)) != SIZE_MAX;) {
    bool deleted = view.deletes[i];
    uint8_t bytes[KL_TREE_KEY_MAX];
    model_row row = {.key = bytes, .key_size = view.cursor[i]->key.size};
    if (row.key_size != 0) memcpy(bytes, view.cursor[i]->key.data, row.key_size);
    if (!deleted || mark) {
      assert_true(at < f->shown.count);
      assert_int_equal(f->shown.rows[at].value_size == MOVE_DELETED, deleted);
      if (deleted) check_key(&f->shown.rows[at], view.cursor[i]->key);
      if (deleted) assert_int_equal(view.cursor[i]->value.size, 0);
      if (!deleted) check_cursor(view.cursor[i], &f->shown.rows[at]);
      at++;
    }
    move_view_pass(&view, &row);
  }
  assert_int_equal(at, f->shown.count);
  for (size_t i = 0; i < view.count; i++) kl_pages_cursor_free(view.cursor[i]);
}

/* DRAIN-8: a tree has a record when it has rows, and the record counts them. Read from the file's newest checkpoint. */
static inline void move_check_records(move_fixture *f) {
  kl_checkpoint checkpoint;
  kl_roots *roots = NULL;
  kl_held held = {0};
  kl_store_checkpoint(f->db.store, &checkpoint);
  kl_tree_pointer catalogue = {checkpoint.catalogue.address, checkpoint.catalogue.length, checkpoint.catalogue.checksum,
                               checkpoint.catalogue.birth};
  DRAIN_MUST(kl_roots_open(f->db.pages, &catalogue, checkpoint.sequence, checkpoint.ts, &roots, &must));
  for (uint32_t i = 1; i <= DRAIN_SPACES; i++) {
    uint8_t key[KL_TREE_RECORD_KEY];
    kl_tree_pointer root, same;
    kl_tree_record record;
    uint64_t rows = 0;
    DRAIN_MUST(kl_roots_find(f->db.roots, i, &root, &must));
    DRAIN_MUST(kl_roots_find(roots, i, &same, &must));
    assert_int_equal(root.address, same.address);
    assert_int_equal(root.checksum, same.checksum);
    if (kl_tree_pointer_is_null(&root)) continue;
    kl_tree_record_key(i, key);
    DRAIN_MUST(kl_pages_get(f->db.pages, &catalogue, kl_slice_make(key, sizeof key), &held, &must));
    DRAIN_MUST(kl_tree_record_decode(held.value, i, &record, &must));
    DRAIN_MUST(kl_pages_rows(f->db.pages, &root, &rows, &must));
    assert_int_equal(record.rows, rows);
    assert_true(rows > 0);
  }
  kl_held_destroy(&held);
  kl_roots_unref(roots);
}

static inline void move_check(move_fixture *f) {
  move_check_view(f);
  move_check_records(f);
  check_used(&f->db);
}

/* After the move: the target has what was shown, and the parts nothing. */
static inline void move_check_complete(move_fixture *f) {
  model_space *rows = &f->db.now.space[f->move.target], *gone = NULL;
  if (f->move.target_deletes != 0) gone = &f->db.now.space[f->move.target_deletes];
  for (size_t i = 0; i < f->move.part_count; i++) {
    if (f->parts[i].puts != 0) f->db.now.space[f->parts[i].puts].count = 0;
    if (f->parts[i].deletes != 0) f->db.now.space[f->parts[i].deletes].count = 0;
  }
  rows->count = 0;
  if (gone != NULL) gone->count = 0;
  for (size_t i = 0; i < f->shown.count; i++) {
    const model_row *row = &f->shown.rows[i];
    bool deleted = row->value_size == MOVE_DELETED;
    model_put(deleted ? gone : rows, &f->db.keys, model_key(row), row->seed, deleted ? 0 : row->value_size);
  }
  check_all(f->db.roots, &f->db.now);
  for (size_t i = 0; i < f->move.ended_count; i++) {
    if (f->ended[i] != 0) assert_false(move_is_announced(f, f->ended[i]));
  }
}

/* Until it is complete; checked after each slice. */
static inline int move_run_all(move_fixture *f, kl_drain_stats *total) {
  bool complete = false;
  int slices = 0;
  while (!complete) {
    kl_checkpoint before;
    kl_roots *roots = NULL;
    kl_drain_stats stats = {0};
    kl_store_checkpoint(f->db.store, &before);
    DRAIN_MUST(move_try(f, &complete, &roots, &stats, &must));
    move_adopt(f, roots);
    move_check_checkpoint(f, &before, complete);
    move_check(f);
    if (f->between != NULL && !complete) f->between(f->context);
    for (size_t i = 0; i < f->move.ended_count && !complete; i++) {
      if (f->ended[i] != 0) assert_true(move_is_announced(f, f->ended[i]));
    }
    total->bytes_written += stats.bytes_written;
    total->extents_written += stats.extents_written;
    total->extents_freed += stats.extents_freed;
    total->pages_written += stats.pages_written;
    total->puts += stats.puts;
    assert_true(++slices < MOVE_SLICES_MAX);
  }
  move_check_complete(f);
  return slices;
}

#endif
