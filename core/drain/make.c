/* core/drain/make.c: how a checkpoint is made, whatever changes the trees: begin, trees, catalogue, publish. See
 * drain_private.h. */
#include "../base/assert.h"
#include "drain_private.h"

/* -------- roots that change -------- */

bool kl_drain_same_pointer(const kl_tree_pointer *a, const kl_tree_pointer *b) {
  return a->address == b->address && a->length == b->length && a->checksum == b->checksum && a->birth == b->birth;
}

kl_status kl_drain_add_root(drain_root_list *list, kl_allocator *allocator, const drain_root *root, kl_error *err) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity, unit = sizeof(drain_root);
    drain_root *items = kl_realloc(allocator, list->items, list->capacity * unit, capacity * unit);
    if (items == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the roots of %zu keyspaces", capacity);
    list->items = items;
    list->capacity = capacity;
  }
  list->items[list->count++] = *root;
  return KL_OK;
}

void kl_drain_free_roots(drain_root_list *list, kl_allocator *allocator) {
  if (list->items != NULL) kl_free(allocator, list->items, list->capacity * sizeof *list->items);
}

void kl_drain_record(const drain_root *root, uint8_t *key, uint8_t *value, kl_tree_change *out) {
  kl_tree_record_key(root->keyspace, key);
  out->kind = root->gone ? KL_TREE_DELETE : KL_TREE_PUT;
  out->key = kl_slice_make(key, KL_TREE_RECORD_KEY);
  if (root->gone) return;
  kl_tree_record_encode(&root->record, value);
  out->value = kl_slice_make(value, KL_TREE_RECORD_SIZE);
}

kl_status kl_drain_next_record(void *context, kl_tree_change *out, kl_error *err) {
  drain_records *records = context;
  (void)err;
  if (records->next == records->roots->count) return KL_E_NOT_FOUND;
  kl_drain_record(&records->roots->items[records->next++], records->key, records->value, out);
  return KL_OK;
}

/* -------- one tree -------- */

kl_status kl_drain_merge(const kl_drain_input *input, drain_io *io, const kl_tree_changes *changes,
                         kl_tree_pointer *root, uint64_t *out_rows, kl_error *err) {
  kl_drain_stats *stats = io->stats;
  kl_tree_merge_stats merged = {0};
  kl_tree_merge_options options = {.allocator = input->allocator,
                                   .page_size = io->pages->page_size,
                                   .source = &io->source,
                                   .sink = &io->sink,
                                   .freed = &io->freed};
  io->warm = false;
  kl_status status = kl_tree_merge(&options, root, changes, root, &merged, err);
  io->source.pause(io);
  if (status != KL_OK) return status;
  stats->puts += merged.puts;
  stats->deletes += merged.deletes;
  stats->pages_written += merged.pages_written;
  stats->pages_freed += merged.pages_freed;
  stats->extents_written += merged.extents_written;
  stats->extents_freed += merged.extents_freed;
  *out_rows = merged.rows;
  return KL_OK;
}

/* -------- the checkpoint -------- */

kl_status kl_drain_check_base(const kl_drain_input *input, kl_error *err) {
  if (input->ts == kl_roots_ts(input->base)) return KL_OK;
  return KL_BROKEN(err, "DRAIN-11: a checkpoint for timestamp %llu of trees of %llu", (unsigned long long)input->ts,
                   (unsigned long long)kl_roots_ts(input->base));
}

void kl_drain_mark_partial(const kl_drain_input *input, kl_checkpoint *checkpoint) {
  kl_store_checkpoint(input->store, checkpoint);
  checkpoint->known_durable = input->known_durable; /* what is merged ahead of its place in the log is in the log */
}

/* What readers will have of the checkpoint, before it is published: afterwards nothing may fail. */
static kl_status make_roots(const kl_drain_input *input, const kl_tree_pointer *catalogue, uint64_t birth, uint64_t ts,
                            const drain_root_list *list, kl_roots **out_roots, kl_error *err) {
  kl_status status = kl_roots_open(input->pages, catalogue, birth, ts, out_roots, err);
  for (size_t i = 0; i < list->count && status == KL_OK; i++) {
    kl_roots_remember(*out_roots, list->items[i].keyspace, &list->items[i].record.root);
  }
  return status;
}

/* Between begin and publish. */
static kl_status make_trees(const kl_drain_input *input, drain_io *io, const drain_root_list *list,
                            drain_make_trees trees, void *context, kl_checkpoint *checkpoint, kl_roots **out_roots,
                            kl_error *err) {
  kl_tree_pointer root = {0};
  io->birth = kl_store_birth(input->store);
  kl_status status = trees(context, checkpoint, &root, err);
  if (status == KL_OK) status = kl_drain_io_flush(io, err);
  if (status == KL_OK) status = kl_drain_check_cancel(input->cancel, err);
  if (status != KL_OK) return status;
  checkpoint->catalogue = (kl_store_pointer){root.address, root.length, root.checksum, root.birth};
  return make_roots(input, &root, io->birth, checkpoint->ts, list, out_roots, err);
}

kl_status kl_drain_make(const kl_drain_input *input, drain_io *io, kl_drain_stats *stats, const drain_root_list *list,
                        drain_make_trees trees, void *context, kl_roots **out_roots, kl_error *err) {
  kl_roots *roots = NULL;
  kl_checkpoint checkpoint = {.ts = input->ts,
                              .log_lsn = input->log_lsn,
                              .known_durable = input->known_durable,
                              .log_needed = input->log_needed};
  kl_status status = kl_drain_io_open(io, input, false, stats, err);
  if (status == KL_OK) status = kl_store_begin(input->store, input->live, input->live_count, err);
  if (status == KL_OK) {
    status = make_trees(input, io, list, trees, context, &checkpoint, &roots, err);
    if (status == KL_OK) {
      status = kl_store_publish(input->store, &checkpoint, err); /* which ends the progress, whatever comes of it */
    } else {
      kl_store_abort(input->store);
    }
  }
  kl_drain_io_close(io);
  if (status != KL_OK) {
    kl_roots_unref(roots);
    return status;
  }
  kl_roots_set_sequence(roots, checkpoint.sequence);
  *out_roots = roots;
  return KL_OK;
}
