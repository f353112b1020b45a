/* core/drain/drain.c: the run of a drain, or of a slice of one: keyspaces in order of their ids, then the catalogue. */
#include "drain.h"

#include "../base/assert.h"
#include "../base/endian.h"
#include "../wal/commit_record.h"
#include "drain_private.h"
#include "tree_record.h"

enum { DRAIN_CANCEL_EVERY = 1024 }; /* changes between two looks at `cancel` */

typedef struct drain_run {
  const kl_drain_input *input;
  kl_drain_stats stats;
  drain_io io;
  kl_tree_pointer catalogue; /* of `base`, and at the end the new one */
  uint32_t *keyspaces;       /* of the delta */
  size_t keyspace_count;
  drain_root_list roots; /* that changed */
  drain_lanes lanes;
  drain_parts_result parts;
  bool stopped;         /* the slice is full */
  kl_drain_place place; /* where it stopped, or zeros */
} drain_run;

/* -------- changes -------- */

/* A tree whose changes are asked for. */
typedef struct drain_tree {
  drain_run *run;
  uint32_t keyspace;
  bool stops; /* the changes end where the slice is full */
} drain_tree;

/* The newest versions of one keyspace's keys; for keyspace 0 together with the tree records. */
typedef struct drain_changes {
  drain_run *run;
  kl_delta_cursor cursor;
  const kl_slice *high; /* what is to end before; NULL: nothing */
  bool taken;           /* the row at the cursor was given */
  bool stops;
  uint32_t keyspace;
  uint32_t count;
  size_t root; /* the next tree record; root_count: none is to come */
  uint8_t key[KL_TREE_RECORD_KEY], value[KL_TREE_RECORD_SIZE];
} drain_changes;

static kl_status drain_changes_next(void *context, kl_tree_change *out, kl_error *err);

/* The one place that says what a drain merges into a tree: the changes of a keyspace from `low` on, before `high` unless
 * that is NULL. Several may be open at once, each used by one thread: for drain_source. */
static kl_status drain_changes_open(void *context, void *memory, kl_slice low, const kl_slice *high,
                                    kl_tree_changes *out, kl_error *err) {
  const drain_tree *tree = context;
  drain_changes *changes = memory;
  drain_run *run = tree->run;
  const kl_drain_place *from = run->input->place;
  (void)err;
  memset(changes, 0, sizeof *changes);
  changes->run = run;
  changes->keyspace = tree->keyspace;
  changes->stops = tree->stops;
  changes->high = high;
  changes->root = tree->keyspace == 0 ? 0 : run->roots.count;
  kl_delta_cursor_init(&changes->cursor, run->input->delta, tree->keyspace, run->input->ts);
  if (tree->keyspace == 0 && from != NULL && from->begun) {
    changes->cursor.valid = false; /* the first slice has merged the catalogue's rows */
  } else {
    kl_delta_cursor_seek_ge(&changes->cursor, low);
  }
  *out = (kl_tree_changes){drain_changes_next, changes};
  return KL_OK;
}

static void drain_changes_close(void *context, void *memory) {
  (void)context;
  (void)memory;
}

/* The slice is full: the next one goes on in this keyspace, at this key. */
static void drain_stop(drain_run *run, uint32_t keyspace, kl_slice key) {
  kl_drain_place *place = &run->place;
  run->stopped = true;
  place->begun = true;
  place->keyspace = keyspace;
  place->key_size = (uint16_t)key.size;
  if (key.size != 0) memcpy(place->key, key.data, key.size);
}

static bool drain_is_full(const drain_run *run) {
  uint64_t bytes = run->stats.bytes_written;
  return run->input->place != NULL && bytes != 0 && bytes >= run->input->slice_bytes;
}

static kl_status drain_changes_next(void *context, kl_tree_change *out, kl_error *err) {
  drain_changes *changes = context;
  kl_delta_cursor *cursor = &changes->cursor;
  if (++changes->count % DRAIN_CANCEL_EVERY == 0) {
    kl_status status = kl_drain_check_cancel(changes->run->input->cancel, err);
    if (status != KL_OK) return status;
  }
  if (changes->taken) kl_delta_cursor_next(cursor);
  changes->taken = false;
  if (changes->root < changes->run->roots.count) {
    const drain_root *root = &changes->run->roots.items[changes->root];
    kl_tree_record_key(root->keyspace, changes->key);
    int order = cursor->valid ? kl_slice_compare(cursor->key, kl_slice_make(changes->key, sizeof changes->key)) : 1;
    if (order == 0) return KL_BROKEN(err, "DRAIN-8: a transaction wrote a tree record");
    if (order > 0) {
      kl_drain_record(root, changes->key, changes->value, out);
      changes->root++;
      return KL_OK;
    }
  }
  if (!cursor->valid) return KL_E_NOT_FOUND;
  if (changes->high != NULL && kl_slice_compare(cursor->key, *changes->high) >= 0) return KL_E_NOT_FOUND;
  if (changes->stops && drain_is_full(changes->run)) {
    drain_stop(changes->run, changes->keyspace, cursor->key);
    return KL_E_NOT_FOUND;
  }
  out->kind = cursor->version.kind == KL_VERSION_DELETE ? KL_TREE_DELETE : KL_TREE_PUT;
  out->key = cursor->key;
  out->value = cursor->version.value;
  changes->taken = true;
  return KL_OK;
}

/* -------- one tree -------- */

/* Where the changes of a keyspace begin. */
static kl_slice drain_low(const drain_run *run, uint32_t keyspace) {
  const kl_drain_place *from = run->input->place;
  bool inside = from != NULL && from->begun && keyspace != 0 && keyspace == from->keyspace;
  return kl_slice_make(inside ? from->key : NULL, inside ? from->key_size : 0);
}

static kl_status drain_merge_whole(drain_run *run, drain_tree *tree, kl_tree_pointer *root, uint64_t *out_rows,
                                   kl_error *err) {
  drain_changes memory;
  kl_tree_changes changes;
  kl_status status = drain_changes_open(tree, &memory, drain_low(run, tree->keyspace), NULL, &changes, err);
  if (status != KL_OK) return status;
  status = kl_drain_merge(run->input, &run->io, &changes, root, out_rows, err);
  drain_changes_close(tree, &memory);
  return status;
}

/* *root becomes the new one. `out_rows` counts only when it changed. */
static kl_status drain_merge(drain_run *run, uint32_t keyspace, kl_tree_pointer *root, uint64_t *out_rows,
                             kl_error *err) {
  drain_tree tree = {run, keyspace, false};
  const drain_source source = {sizeof(drain_changes), drain_changes_open, drain_changes_close, &tree};
  drain_parts_result *result = &run->parts;
  uint64_t room = 0, used = run->stats.bytes_written;
  if (run->input->place != NULL) room = run->input->slice_bytes > used ? run->input->slice_bytes - used : 1;
  result->done = false;
  if (keyspace != 0 && !drain_is_full(run)) {
    kl_status status = kl_drain_merge_parts(&run->lanes, &run->io, &source, drain_low(run, keyspace), room, root,
                                            out_rows, result, err);
    if (status != KL_OK) return status;
  }
  if (!result->done) {
    tree.stops = keyspace != 0;
    return drain_merge_whole(run, &tree, root, out_rows, err);
  }
  if (result->stopped) drain_stop(run, keyspace, kl_slice_make(result->stop, result->stop_size));
  return KL_OK;
}

/* -------- keyspaces -------- */

static kl_status drain_keyspace(drain_run *run, uint32_t keyspace, bool dropped, kl_error *err) {
  drain_root root = {.keyspace = keyspace};
  kl_tree_pointer old;
  kl_status status = KL_OK;
  if (!dropped) status = kl_drain_is_dropped(run->io.pages, &run->catalogue, keyspace, &dropped, err);
  if (status == KL_OK) status = kl_roots_find(run->input->base, keyspace, &old, err);
  if (status != KL_OK) return status;
  root.record.root = old;
  if (dropped) {
    if (kl_tree_pointer_is_null(&old)) return KL_OK;
    memset(&root.record, 0, sizeof root.record);
    status = kl_drain_drop(run->input, &run->io, &old, err);
  } else {
    run->stats.keyspaces++;
    status = drain_merge(run, keyspace, &root.record.root, &root.record.rows, err);
  }
  if (status != KL_OK || kl_drain_same_pointer(&root.record.root, &old)) return status;
  root.gone = kl_tree_pointer_is_null(&root.record.root);
  return kl_drain_add_root(&run->roots, run->input->allocator, &root, err);
}

/* The next drop marker in the delta, from the cursor's row on. */
static bool drain_next_marker(kl_delta_cursor *cursor, uint32_t *out_keyspace) {
  for (; cursor->valid && cursor->key.size != 0; kl_delta_cursor_next(cursor)) {
    const uint8_t *key = cursor->key.data;
    if (key[0] != KL_DROP_MARKER_PREFIX) return false;
    if (cursor->key.size != KL_DROP_MARKER_SIZE || cursor->version.kind != KL_VERSION_PUT) continue;
    *out_keyspace = kl_load_u32_be(key + 1);
    return true;
  }
  return false;
}

/* The keyspaces of the delta and those that it drops, ascending: two lists in order. All that it drops goes with the
 * first slice, whose checkpoint has the drop records (DRAIN-9, DRAIN-13). */
static kl_status drain_keyspaces(drain_run *run, kl_error *err) {
  static const uint8_t prefix = KL_DROP_MARKER_PREFIX;
  const kl_drain_place *from = run->input->place;
  bool first_slice = from == NULL || !from->begun;
  kl_delta_cursor markers;
  size_t at = 0;
  kl_status status = KL_OK;
  kl_delta_cursor_init(&markers, run->input->delta, 0, run->input->ts);
  if (first_slice) kl_delta_cursor_seek_ge(&markers, kl_slice_make(&prefix, 1));
  while (status == KL_OK) {
    uint32_t marked = 0;
    bool has_marker = first_slice && drain_next_marker(&markers, &marked);
    /* The catalogue comes last; others may be for an earlier slice, or for a later one. */
    bool passed = at < run->keyspace_count &&
                  (run->keyspaces[at] == 0 || run->stopped || (!first_slice && run->keyspaces[at] < from->keyspace));
    if (passed && (!has_marker || run->keyspaces[at] < marked)) {
      at++;
    } else if (at < run->keyspace_count && (!has_marker || run->keyspaces[at] < marked)) {
      status = drain_keyspace(run, run->keyspaces[at++], false, err);
    } else if (has_marker) {
      if (at < run->keyspace_count && run->keyspaces[at] == marked) at++;
      if (marked != 0) status = drain_keyspace(run, marked, true, err);
      kl_delta_cursor_next(&markers);
    } else {
      break;
    }
  }
  return status;
}

static kl_status drain_list_keyspaces(drain_run *run, kl_error *err) {
  size_t count = kl_delta_keyspaces(run->input->delta, NULL, 0);
  if (count == 0) return KL_OK;
  run->keyspaces = kl_alloc(run->input->allocator, count * sizeof *run->keyspaces);
  if (run->keyspaces == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to list %zu keyspaces", count);
  run->keyspace_count = count;
  (void)kl_delta_keyspaces(run->input->delta, run->keyspaces, count); /* it is frozen: the same ones */
  return KL_OK;
}

/* -------- the run -------- */

/* Between begin and publish. */
static kl_status drain_trees(void *context, kl_checkpoint *checkpoint, kl_tree_pointer *out_catalogue, kl_error *err) {
  drain_run *run = context;
  uint64_t rows;
  kl_status status = drain_list_keyspaces(run, err);
  if (status == KL_OK) status = kl_roots_find(run->input->base, 0, &run->catalogue, err);
  if (status == KL_OK) status = drain_keyspaces(run, err);
  if (status == KL_OK) status = drain_merge(run, 0, &run->catalogue, &rows, err);
  if (status != KL_OK) return status;
  if (run->stopped) kl_drain_mark_partial(run->input, checkpoint);
  *out_catalogue = run->catalogue;
  return KL_OK;
}

kl_status kl_drain_run(const kl_drain_input *input, kl_roots **out_roots, kl_drain_stats *out_stats, kl_error *err) {
  drain_run run = {.input = input, .lanes = {.input = input}};
  uint64_t begun = kl_os_monotonic_ns(input->pages->os);
  if (input->ts < kl_roots_ts(input->base)) {
    return KL_BROKEN(err, "DRAIN-7: a drain to timestamp %llu behind one to %llu", (unsigned long long)input->ts,
                     (unsigned long long)kl_roots_ts(input->base));
  }
  if (input->place != NULL) run.lanes.each = input->place->each;
  kl_status status = kl_drain_make(input, &run.io, &run.stats, &run.roots, drain_trees, &run, out_roots, err);
  kl_drain_lanes_close(&run.lanes);
  if (run.keyspaces != NULL) kl_free(input->allocator, run.keyspaces, run.keyspace_count * sizeof *run.keyspaces);
  kl_drain_free_roots(&run.roots, input->allocator);
  if (status != KL_OK) return status;
  run.stats.ns = kl_os_monotonic_ns(input->pages->os) - begun;
  if (out_stats != NULL) *out_stats = run.stats;
  if (input->place != NULL) {
    run.place.complete = !run.stopped;
    run.place.each = run.lanes.each;
    *input->place = run.place;
  }
  return KL_OK;
}
