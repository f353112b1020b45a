/* core/drain/compact.c: the run of a compaction: each tree is merged with nothing, and what lies behind the boundary
 * moves. See drain.h.
 *
 * The store hands out the first free blocks there are. As soon as a page does not find one before the boundary, nothing
 * more moves: the blocks behind would only change places. What is left is the next round's, for which the blocks are
 * free that this one leaves. An extent that does not fit stays, and others are tried. */
#include "../base/assert.h"
#include "../base/endian.h"
#include "drain_private.h"

typedef struct compact_run {
  const kl_drain_input *input;
  const kl_compact_limits *limits;
  drain_io io;
  kl_drain_stats written;
  kl_compact_stats stats;
  kl_tree_pointer catalogue;
  drain_root_list roots;
} compact_run;

/* -------- what moves -------- */

static bool compact_over(void *context) {
  compact_run *run = context;
  const kl_compact_limits *limits = run->limits;
  bool over = run->io.full || (limits->max_bytes != 0 && run->written.bytes_written >= limits->max_bytes);
  uint64_t read = run->written.pages_read * run->io.pages->page_size;
  bool may_yield = run->written.bytes_written >= KL_COMPACT_YIELD || read / 16 >= KL_COMPACT_YIELD;
  /* Relaxed: a hint; nothing is read by it. */
  if (may_yield && limits->yield != NULL) over |= atomic_load_explicit(limits->yield, memory_order_relaxed);
  if (over) run->stats.complete = false;
  return over;
}

static bool compact_moves(compact_run *run, uint64_t address, uint64_t bytes) {
  uint64_t blocks = (bytes + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE;
  return address + blocks * KL_BLOCK_SIZE > run->io.boundary && !compact_over(run);
}

static bool compact_page(void *context, const kl_tree_pointer *pointer) {
  return compact_moves(context, pointer->address, pointer->length);
}

static bool compact_extent(void *context, const kl_tree_extent *extent) {
  return compact_moves(context, extent->address, extent->stored);
}

static kl_status compact_copy(void *context, const kl_tree_extent *extent, kl_tree_extent *out, bool *out_moved,
                              kl_error *err) {
  compact_run *run = context;
  kl_status status = kl_drain_io_copy(&run->io, extent, out, out_moved, err);
  if (status == KL_OK && !*out_moved) run->stats.complete = false;
  return status;
}

/* -------- trees -------- */

static kl_status compact_no_change(void *context, kl_tree_change *out, kl_error *err) {
  (void)context;
  (void)out;
  (void)err;
  return KL_E_NOT_FOUND;
}

static kl_status compact_tree(compact_run *run, const kl_tree_changes *changes, kl_tree_pointer *root, kl_error *err) {
  kl_tree_merge_stats merged = {0};
  kl_tree_move move = {.page = compact_page,
                       .extent = run->limits->extents ? compact_extent : NULL,
                       .copy = compact_copy,
                       .over = compact_over,
                       .context = run};
  kl_tree_merge_options options = {.allocator = run->input->allocator,
                                   .page_size = run->io.pages->page_size,
                                   .source = &run->io.source,
                                   .sink = &run->io.sink,
                                   .freed = &run->io.freed,
                                   .move = &move};
  run->io.warm = false;
  kl_status status = kl_tree_merge(&options, root, changes, root, &merged, err);
  run->io.source.pause(&run->io);
  if (status != KL_OK) return status;
  run->stats.pages += merged.pages_written;
  run->stats.extents += merged.extents_written;
  return KL_OK;
}

/* The tree record behind `after` in the catalogue of `base`. KL_E_NOT_FOUND: there is none. Between two calls no page
 * is held, and each looks for its place anew: trees are merged in between, with the same source. */
static kl_status compact_next_keyspace(compact_run *run, bool first, uint32_t after, drain_root *out, kl_error *err) {
  uint8_t key[KL_TREE_RECORD_KEY];
  kl_tree_cursor *cursor = kl_alloc(run->input->allocator, sizeof *cursor); /* with a key: large for a stack */
  kl_tree_row row;
  if (cursor == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to go through the keyspaces; free some");
  kl_tree_cursor_init(cursor, &run->io.source, &run->catalogue);
  kl_tree_record_key(first ? 0 : after + 1, key);
  kl_status status = !first && after == UINT32_MAX
                         ? KL_E_NOT_FOUND
                         : kl_tree_cursor_seek_ge(cursor, kl_slice_make(key, sizeof key), err);
  if (status == KL_OK) status = kl_tree_cursor_row(cursor, &row, err);
  if (status == KL_OK && (row.key.size != sizeof key || memcmp(row.key.data, key, 1) != 0)) status = KL_E_NOT_FOUND;
  if (status == KL_OK) {
    memset(out, 0, sizeof *out);
    out->keyspace = kl_load_u32_be((const uint8_t *)row.key.data + 1);
    status = kl_tree_record_decode(row.value.bytes, out->keyspace, &out->record, err);
  }
  run->io.source.pause(&run->io);
  kl_free(run->input->allocator, cursor, sizeof *cursor);
  return status;
}

/* Between begin and publish. */
static kl_status compact_trees(void *context, kl_checkpoint *checkpoint, kl_tree_pointer *out_catalogue,
                               kl_error *err) {
  compact_run *run = context;
  const kl_drain_input *input = run->input;
  const kl_tree_changes nothing = {compact_no_change, NULL};
  drain_root root = {0};
  (void)checkpoint; /* the input's */
  kl_status status = kl_store_compact(input->store, &run->io.boundary, err);
  if (status == KL_OK) status = kl_roots_find(input->base, 0, &run->catalogue, err);
  for (bool first = true; status == KL_OK; first = false) {
    status = compact_next_keyspace(run, first, root.keyspace, &root, err);
    if (status != KL_OK) break;
    kl_tree_pointer old = root.record.root;
    status = compact_tree(run, &nothing, &root.record.root, err);
    if (status != KL_OK || kl_drain_same_pointer(&old, &root.record.root)) continue;
    status = kl_drain_add_root(&run->roots, input->allocator, &root, err);
  }
  if (status != KL_E_NOT_FOUND) return status;
  drain_records records = {.roots = &run->roots};
  const kl_tree_changes moved = {kl_drain_next_record, &records};
  status = compact_tree(run, &moved, &run->catalogue, err);
  *out_catalogue = run->catalogue;
  return status;
}

kl_status kl_drain_compact(const kl_drain_input *input, const kl_compact_limits *limits, kl_roots **out_roots,
                           kl_compact_stats *out_stats, kl_error *err) {
  compact_run run = {.input = input, .limits = limits, .stats = {.complete = true}};
  kl_status status = kl_drain_check_base(input, err);
  if (status == KL_OK) {
    status = kl_drain_make(input, &run.io, &run.written, &run.roots, compact_trees, &run, out_roots, err);
  }
  kl_drain_free_roots(&run.roots, input->allocator);
  if (status != KL_OK) return status;
  run.stats.boundary = run.io.boundary;
  run.stats.bytes = run.written.bytes_written;
  if (out_stats != NULL) *out_stats = run.stats;
  return KL_OK;
}
