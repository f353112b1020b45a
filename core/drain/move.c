/* core/drain/move.c: the run of a move, or of a slice of one: rows of parts come into the tree of one keyspace. See
 * drain.h; invariants DRAIN-14 to DRAIN-16.
 *
 * A slice reads the parts from their first rows on, all at once, and merges what it reads into the target. Where it
 * stops, it takes what it has read out of the parts. As these are trees like others, a reader of older roots has them
 * as they were.
 *
 * When the target is a part, what a row does to its `deletes` is noted, and merged as soon as the notes are full: so
 * the two trees come as far, and a slice knows after each *step* what both of them have cost. */
#include "../base/assert.h"
#include "../base/endian.h"
#include "drain_private.h"

enum {
  MOVE_NOTES = 256 << 10, /* bytes of keys between two merges into target_deletes */
  MOVE_NOTE_HEAD = 2,
  MOVE_NOTE_PUT = 0x8000 /* in the head, which is the key's size otherwise: the row was put */
};

typedef struct move_tree {
  uint32_t keyspace; /* 0: there is none */
  kl_tree_pointer old, root;
  uint64_t rows; /* when `root` is not `old` */
} move_tree;

/* A tree of a part that has rows. */
typedef struct move_source {
  move_tree tree;
  size_t part;
  bool deletes;
  kl_tree_walker *walker;
  bool has_row; /* key and value: the walker's, until it moves */
  bool taken;   /* the row was moved: the walker goes on before the next one is looked for */
  kl_slice key;
  kl_tree_value value;
} move_source;

typedef struct move_run {
  const kl_drain_input *input;
  const kl_drain_move *move;
  drain_io io;
  kl_drain_stats stats;
  drain_root_list roots;
  move_tree target, deletes;
  move_source *sources; /* newest first; of a part the puts first */
  size_t source_count, source_capacity;
  kl_tree_item item;
  bool complete;                /* the sources have no more rows */
  uint8_t end[KL_TREE_KEY_MAX]; /* when not complete: the first key that was not moved */
  size_t end_size;
  uint8_t *notes; /* NULL: none are needed */
  size_t noted, note;
} move_run;

/* -------- trees -------- */

static kl_status move_find(move_run *run, uint32_t keyspace, move_tree *out, kl_error *err) {
  kl_status status = KL_OK;
  out->keyspace = keyspace;
  if (keyspace != 0) status = kl_roots_find(run->input->base, keyspace, &out->old, err);
  out->root = out->old;
  return status;
}

static kl_status move_find_source(move_run *run, size_t part, bool deletes, kl_error *err) {
  const kl_drain_part *of = &run->move->parts[part];
  move_source *source = &run->sources[run->source_count];
  memset(source, 0, sizeof *source);
  source->part = part;
  source->deletes = deletes;
  kl_status status = move_find(run, deletes ? of->deletes : of->puts, &source->tree, err);
  if (!kl_tree_pointer_is_null(&source->tree.old)) run->source_count++;
  return status;
}

static kl_status move_find_all(move_run *run, kl_error *err) {
  const kl_drain_move *move = run->move;
  kl_status status = move_find(run, move->target, &run->target, err);
  if (status == KL_OK) status = move_find(run, move->target_deletes, &run->deletes, err);
  if (status != KL_OK || move->part_count == 0) return status;
  run->source_capacity = 2 * move->part_count;
  run->sources = kl_alloc(run->input->allocator, run->source_capacity * sizeof *run->sources);
  if (run->sources == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to move %zu parts", move->part_count);
  for (size_t i = 0; i < move->part_count && status == KL_OK; i++) {
    status = move_find_source(run, i, false, err);
    if (status == KL_OK) status = move_find_source(run, i, true, err);
  }
  return status;
}

static void move_free(move_run *run) {
  kl_allocator *allocator = run->input->allocator;
  for (size_t i = 0; i < run->source_count; i++) kl_tree_walker_free(run->sources[i].walker);
  if (run->sources != NULL) kl_free(allocator, run->sources, run->source_capacity * sizeof *run->sources);
  if (run->notes != NULL) kl_free(allocator, run->notes, MOVE_NOTES);
  kl_drain_free_roots(&run->roots, allocator);
}

static kl_status move_merge(move_run *run, move_tree *tree, const kl_tree_changes *changes, kl_error *err) {
  kl_tree_pointer before = tree->root;
  uint64_t rows = 0;
  kl_status status = kl_drain_merge(run->input, &run->io, changes, &tree->root, &rows, err);
  if (status == KL_OK && !kl_drain_same_pointer(&before, &tree->root)) tree->rows = rows;
  return status;
}

/* -------- what the sources have -------- */

/* The next row of a source. */
static kl_status move_advance(move_run *run, move_source *source, kl_error *err) {
  bool warm = run->io.warm;
  kl_status status;
  do {
    status = kl_tree_walker_next(source->walker, &run->item, err);
  } while (status == KL_OK && run->item.kind == KL_TREE_ITEM_PAGE);
  run->io.warm = warm; /* says of the page that a merge replaces whether it was in the cache; this was another one */
  source->taken = false;
  source->has_row = status == KL_OK;
  if (status == KL_E_NOT_FOUND) return KL_OK;
  if (status != KL_OK) return status;
  if (run->item.kind == KL_TREE_ITEM_DAMAGE) {
    if (err != NULL) *err = run->item.cause;
    return run->item.cause.code;
  }
  source->key = run->item.key;
  source->value = run->item.value;
  return KL_OK;
}

/* The newest of the rows with the least key; NULL: there is none. */
static const move_source *move_least(const move_run *run) {
  const move_source *least = NULL;
  for (size_t i = 0; i < run->source_count; i++) {
    const move_source *source = &run->sources[i];
    if (source->has_row && (least == NULL || kl_slice_compare(source->key, least->key) < 0)) least = source;
  }
  return least;
}

/* Takes the row and the older ones that it hides. Of these nothing is left: their large values are freed here, as a row
 * that leaves its part frees none. */
static kl_status move_take(move_run *run, const move_source *winner, kl_error *err) {
  kl_status status = KL_OK;
  kl_tree_extent extent;
  for (size_t i = 0; i < run->source_count && status == KL_OK; i++) {
    move_source *source = &run->sources[i];
    if (!source->has_row || kl_slice_compare(source->key, winner->key) != 0) continue;
    source->taken = true;
    if (source == winner) continue;
    if (source->part == winner->part) return KL_BROKEN(err, "DRAIN-14: a key is put and deleted by one part");
    if (!source->value.is_extent) continue;
    kl_tree_value_extent(&source->value, &extent);
    status = run->io.freed.extent(&run->io, &extent, err);
    run->stats.extents_freed++;
  }
  return status;
}

/* -------- into the target -------- */

static bool move_is_full(const move_run *run) {
  uint64_t bytes = run->stats.bytes_written;
  return run->input->slice_bytes != 0 && bytes != 0 && bytes >= run->input->slice_bytes;
}

static void move_note(move_run *run, const move_source *source) {
  bool put = !source->deletes;
  if (run->notes == NULL || (put && kl_tree_pointer_is_null(&run->deletes.old))) return;
  uint8_t *to = run->notes + run->noted;
  kl_store_u16_le(to, (uint16_t)(source->key.size | (put ? MOVE_NOTE_PUT : 0)));
  if (source->key.size != 0) memcpy(to + MOVE_NOTE_HEAD, source->key.data, source->key.size);
  run->noted += MOVE_NOTE_HEAD + source->key.size;
}

static kl_status move_next(void *context, kl_tree_change *out, kl_error *err) {
  move_run *run = context;
  for (size_t i = 0; i < run->source_count; i++) {
    kl_status status = run->sources[i].taken ? move_advance(run, &run->sources[i], err) : KL_OK;
    if (status != KL_OK) return status;
  }
  const move_source *source = move_least(run);
  run->complete = source == NULL;
  if (source == NULL) return KL_E_NOT_FOUND;
  if (move_is_full(run) || run->noted + MOVE_NOTE_HEAD + KL_TREE_KEY_MAX > MOVE_NOTES) {
    run->end_size = source->key.size;
    if (source->key.size != 0) memcpy(run->end, source->key.data, source->key.size);
    return KL_E_NOT_FOUND;
  }
  kl_status status = move_take(run, source, err);
  if (status != KL_OK) return status;
  move_note(run, source);
  out->key = source->key;
  out->kind = source->deletes ? KL_TREE_DELETE : source->value.is_extent ? KL_TREE_PUT_EXTENT : KL_TREE_PUT;
  if (out->kind == KL_TREE_PUT) out->value = source->value.bytes;
  if (out->kind == KL_TREE_PUT_EXTENT) kl_tree_value_extent(&source->value, &out->extent);
  return KL_OK;
}

/* What the rows of a step do to the target's `deletes`. */
static kl_status move_next_note(void *context, kl_tree_change *out, kl_error *err) {
  move_run *run = context;
  (void)err;
  if (run->note == run->noted) return KL_E_NOT_FOUND;
  const uint8_t *from = run->notes + run->note;
  unsigned head = kl_load_u16_le(from);
  out->kind = (head & MOVE_NOTE_PUT) != 0 ? KL_TREE_DELETE : KL_TREE_PUT;
  out->key = kl_slice_make(from + MOVE_NOTE_HEAD, head & ~(unsigned)MOVE_NOTE_PUT);
  out->value = kl_slice_make("", 0);
  run->note += MOVE_NOTE_HEAD + out->key.size;
  return KL_OK;
}

static kl_status move_begin(move_run *run, kl_error *err) {
  kl_allocator *allocator = run->input->allocator;
  bool notes = !kl_tree_pointer_is_null(&run->deletes.old);
  kl_status status = KL_OK;
  for (size_t i = 0; i < run->source_count && status == KL_OK; i++) {
    move_source *source = &run->sources[i];
    status = kl_tree_walker_new(allocator, &run->io.source, run->io.pages->page_size, &source->walker, err);
    if (status == KL_OK) kl_tree_walker_start(source->walker, &source->tree.old, true);
    source->taken = true; /* before its first row */
    notes |= source->deletes && run->deletes.keyspace != 0;
  }
  if (status != KL_OK || !notes) return status;
  run->notes = kl_alloc(allocator, MOVE_NOTES);
  if (run->notes != NULL) return KL_OK;
  return kl_fail(err, KL_E_NO_MEMORY, "no memory for the keys of a move (%d KiB); free some", MOVE_NOTES >> 10);
}

static kl_status move_in(move_run *run, kl_error *err) {
  const kl_tree_changes rows = {move_next, run}, notes = {move_next_note, run};
  kl_status status = move_begin(run, err);
  run->stats.keyspaces = 1;
  while (status == KL_OK) {
    run->noted = run->note = 0;
    status = move_merge(run, &run->target, &rows, err);
    if (status == KL_OK && run->noted != 0) status = move_merge(run, &run->deletes, &notes, err);
    if (run->complete || move_is_full(run)) break;
  }
  return status;
}

/* -------- out of the parts -------- */

typedef struct move_leaving {
  move_run *run;
  move_source *source;
} move_leaving;

static kl_status move_next_out(void *context, kl_tree_change *out, kl_error *err) {
  const move_leaving *leaving = context;
  move_source *source = leaving->source;
  kl_slice end = kl_slice_make(leaving->run->end, leaving->run->end_size);
  kl_status status = move_advance(leaving->run, source, err);
  if (status != KL_OK) return status;
  if (!source->has_row || kl_slice_compare(source->key, end) >= 0) return KL_E_NOT_FOUND;
  out->kind = KL_TREE_DELETE;
  out->key = source->key;
  return KL_OK;
}

static kl_status move_free_page(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err) {
  drain_io *io = context;
  (void)level;
  io->stats->pages_freed++;
  return io->freed.page(io, pointer, err);
}

/* Frees the pages of a source. Its large values live on in the target, or are freed. */
static kl_status move_free_pages(move_run *run, move_source *source, kl_error *err) {
  const kl_tree_visitor visitor = {.page = move_free_page, .context = &run->io};
  kl_status status =
      kl_tree_walk(run->input->allocator, &run->io.source, run->io.pages->page_size, &source->tree.old, &visitor, err);
  source->tree.root = (kl_tree_pointer){0};
  return status;
}

/* Takes from a source what lies before `end`. */
static kl_status move_out(move_run *run, move_source *source, kl_error *err) {
  const kl_tree_freed pages = {.page = run->io.freed.page, .context = &run->io};
  kl_tree_merge_stats merged = {0};
  kl_tree_merge_options options = {.allocator = run->input->allocator,
                                   .page_size = run->io.pages->page_size,
                                   .source = &run->io.source,
                                   .sink = &run->io.sink,
                                   .freed = &pages};
  move_leaving leaving = {run, source};
  const kl_tree_changes rows = {move_next_out, &leaving};
  if (run->complete) return move_free_pages(run, source, err);
  kl_tree_walker_start(source->walker, &source->tree.old, true);
  run->io.warm = false;
  kl_status status = kl_tree_merge(&options, &source->tree.old, &rows, &source->tree.root, &merged, err);
  run->io.source.pause(&run->io);
  run->stats.pages_written += merged.pages_written;
  run->stats.pages_freed += merged.pages_freed;
  source->tree.rows = merged.rows;
  return status;
}

/* -------- without moving rows -------- */

static kl_status move_hand_over(move_run *run, move_source *source, move_tree *to, kl_error *err) {
  to->root = source->tree.old;
  source->tree.root = (kl_tree_pointer){0};
  kl_status status = kl_tree_rows(&run->io.source, &to->root, &to->rows, err);
  run->io.source.pause(&run->io);
  return status;
}

/* Whether the trees of the parts can become those of the target as they are: nothing hides a row of another, or is
 * hidden. Deletes are no-ops then, when they have no tree to go to. */
static bool move_can_hand_over(const move_run *run) {
  bool is_part = run->deletes.keyspace != 0, before = false;
  const move_source *puts = NULL;
  if (!kl_tree_pointer_is_null(&run->target.old) || !kl_tree_pointer_is_null(&run->deletes.old)) return false;
  for (size_t i = 0; i < run->source_count; i++) {
    const move_source *source = &run->sources[i];
    if (is_part && source->part != run->sources[0].part) return false;
    if (!source->deletes && (puts != NULL || before)) return false;
    if (source->deletes) before = true;
    if (!source->deletes) puts = source;
  }
  return true;
}

static kl_status move_roots(move_run *run, kl_error *err) {
  kl_status status = KL_OK;
  for (size_t i = 0; i < run->source_count && status == KL_OK; i++) {
    move_source *source = &run->sources[i];
    if (!source->deletes) {
      status = move_hand_over(run, source, &run->target, err);
    } else if (run->deletes.keyspace != 0) {
      status = move_hand_over(run, source, &run->deletes, err);
    } else {
      status = move_free_pages(run, source, err);
    }
  }
  run->complete = true;
  return status;
}

/* The target was dropped: nobody's rows. */
static kl_status move_discard(move_run *run, kl_error *err) {
  kl_status status = KL_OK;
  for (size_t i = 0; i < run->source_count && status == KL_OK; i++) {
    status = kl_drain_drop(run->input, &run->io, &run->sources[i].tree.old, err);
    run->sources[i].tree.root = (kl_tree_pointer){0};
  }
  run->complete = true;
  return status;
}

static kl_status move_rows(move_run *run, kl_error *err) {
  kl_status status = move_in(run, err);
  for (size_t i = 0; i < run->source_count && status == KL_OK; i++) status = move_out(run, &run->sources[i], err);
  return status;
}

/* -------- the catalogue -------- */

/* Adds a root that has changed, in order. */
static kl_status move_add_root(move_run *run, const move_tree *tree, kl_error *err) {
  drain_root root = {.keyspace = tree->keyspace, .gone = kl_tree_pointer_is_null(&tree->root)};
  if (kl_drain_same_pointer(&tree->old, &tree->root)) return KL_OK;
  root.record.root = tree->root;
  root.record.rows = tree->rows;
  kl_status status = kl_drain_add_root(&run->roots, run->input->allocator, &root, err);
  if (status != KL_OK) return status;
  drain_root *items = run->roots.items;
  size_t at = run->roots.count - 1;
  for (; at > 0 && items[at - 1].keyspace > root.keyspace; at--) items[at] = items[at - 1];
  items[at] = root;
  return KL_OK;
}

typedef struct move_records {
  const kl_drain_move *move; /* NULL: nothing ends, or all that does was given */
  uint32_t last;             /* that was given; 0: none */
  uint8_t key[KL_LOAD_RECORD_KEY];
  drain_records roots;
} move_records;

/* What ended, ascending; then the roots, whose keys lie behind. */
static kl_status move_next_record(void *context, kl_tree_change *out, kl_error *err) {
  move_records *records = context;
  uint32_t next = 0;
  for (size_t i = 0; records->move != NULL && i < records->move->ended_count; i++) {
    uint32_t keyspace = records->move->ended[i];
    if (keyspace > records->last && (next == 0 || keyspace < next)) next = keyspace;
  }
  if (next == 0) {
    records->move = NULL;
    return kl_drain_next_record(&records->roots, out, err);
  }
  kl_load_record_key(next, records->key);
  records->last = next;
  out->kind = KL_TREE_DELETE;
  out->key = kl_slice_make(records->key, sizeof records->key);
  return KL_OK;
}

/* Between begin and publish. */
static kl_status move_trees(void *context, kl_checkpoint *checkpoint, kl_tree_pointer *out_catalogue, kl_error *err) {
  move_run *run = context;
  bool dropped = false;
  uint64_t rows;
  kl_status status = kl_roots_find(run->input->base, 0, out_catalogue, err);
  if (status == KL_OK) status = kl_drain_is_dropped(run->io.pages, out_catalogue, run->move->target, &dropped, err);
  if (status == KL_OK) status = move_find_all(run, err);
  if (status != KL_OK) return status;
  if (dropped) {
    status = move_discard(run, err);
  } else if (move_can_hand_over(run)) {
    status = move_roots(run, err);
  } else {
    status = move_rows(run, err);
  }
  if (status == KL_OK) status = move_add_root(run, &run->target, err);
  if (status == KL_OK) status = move_add_root(run, &run->deletes, err);
  for (size_t i = 0; i < run->source_count && status == KL_OK; i++) {
    status = move_add_root(run, &run->sources[i].tree, err);
  }
  if (status != KL_OK) return status;
  move_records records = {.move = run->complete ? run->move : NULL, .roots = {.roots = &run->roots}};
  const kl_tree_changes changes = {move_next_record, &records};
  status = kl_drain_merge(run->input, &run->io, &changes, out_catalogue, &rows, err);
  if (!run->complete || !run->move->final) kl_drain_mark_partial(run->input, checkpoint);
  return status;
}

kl_status kl_drain_move_run(const kl_drain_input *input, const kl_drain_move *move, bool *out_complete,
                            kl_roots **out_roots, kl_drain_stats *out_stats, kl_error *err) {
  move_run run = {.input = input, .move = move};
  uint64_t begun = kl_os_monotonic_ns(input->pages->os);
  if (move->final && input->ts < kl_roots_ts(input->base)) {
    return KL_BROKEN(err, "DRAIN-7: a move to timestamp %llu behind %llu", (unsigned long long)input->ts,
                     (unsigned long long)kl_roots_ts(input->base));
  }
  kl_status status = kl_drain_make(input, &run.io, &run.stats, &run.roots, move_trees, &run, out_roots, err);
  move_free(&run);
  if (status != KL_OK) return status;
  run.stats.ns = kl_os_monotonic_ns(input->pages->os) - begun;
  *out_complete = run.complete;
  if (out_stats != NULL) *out_stats = run.stats;
  return KL_OK;
}
