/* core/drain/load.c: the run of a load: rows for one tree. See drain.h. */
#include "drain_private.h"

typedef struct drain_load_run {
  const kl_drain_input *input;
  uint32_t keyspace;
  const kl_tree_changes *rows;
  drain_io io;
  kl_drain_stats stats;
  drain_root_list roots;
} drain_load_run;

/* Rows whose value lies in reserved blocks (birth 0) bring it along. */
static kl_status drain_load_next(void *context, kl_tree_change *out, kl_error *err) {
  drain_load_run *run = context;
  kl_status status = run->rows->next(run->rows->context, out, err);
  if (status != KL_OK || out->kind != KL_TREE_PUT_EXTENT || out->extent.birth != 0) return status;
  return kl_drain_io_adopt(&run->io, &out->extent, err);
}

static kl_status drain_load_trees(void *context, kl_checkpoint *checkpoint, kl_tree_pointer *out_catalogue,
                                  kl_error *err) {
  drain_load_run *run = context;
  drain_root root = {.keyspace = run->keyspace};
  kl_tree_pointer old;
  uint64_t rows;
  (void)checkpoint; /* the input's */
  kl_status status = kl_roots_find(run->input->base, 0, out_catalogue, err);
  if (status == KL_OK) status = kl_roots_find(run->input->base, run->keyspace, &old, err);
  if (status != KL_OK) return status;
  root.record.root = old;
  run->stats.keyspaces = 1;
  const kl_tree_changes rows_in = {drain_load_next, run};
  status = kl_drain_merge(run->input, &run->io, &rows_in, &root.record.root, &root.record.rows, err);
  if (status != KL_OK || kl_drain_same_pointer(&root.record.root, &old)) return status;
  root.gone = kl_tree_pointer_is_null(&root.record.root);
  status = kl_drain_add_root(&run->roots, run->input->allocator, &root, err);
  if (status != KL_OK) return status;
  drain_records records = {.roots = &run->roots};
  const kl_tree_changes changes = {kl_drain_next_record, &records};
  return kl_drain_merge(run->input, &run->io, &changes, out_catalogue, &rows, err);
}

kl_status kl_drain_load(const kl_drain_input *input, uint32_t keyspace, const kl_tree_changes *rows,
                        kl_roots **out_roots, kl_drain_stats *out_stats, kl_error *err) {
  drain_load_run run = {.input = input, .keyspace = keyspace, .rows = rows};
  uint64_t begun = kl_os_monotonic_ns(input->pages->os);
  kl_status status = kl_drain_check_base(input, err);
  if (status == KL_OK) {
    status = kl_drain_make(input, &run.io, &run.stats, &run.roots, drain_load_trees, &run, out_roots, err);
  }
  kl_drain_free_roots(&run.roots, input->allocator);
  if (status != KL_OK) return status;
  run.stats.ns = kl_os_monotonic_ns(input->pages->os) - begun;
  if (out_stats != NULL) *out_stats = run.stats;
  return KL_OK;
}
