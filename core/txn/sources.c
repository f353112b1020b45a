/* core/txn/sources.c: see sources.h. */
#include "sources.h"

static kl_status sources_tree_show(kl_tree_source_of_rows *tree, kl_status status) {
  tree->source.valid = status == KL_OK;
  if (status == KL_OK) {
    tree->source.kind = KL_VERSION_PUT;
    tree->source.key = tree->cursor->key;
    tree->source.value = tree->cursor->value;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

static kl_status sources_tree_first(kl_source *source, kl_error *err) {
  kl_tree_source_of_rows *tree = (kl_tree_source_of_rows *)source;
  return sources_tree_show(tree, kl_pages_cursor_first(tree->cursor, err));
}

static kl_status sources_tree_last(kl_source *source, kl_error *err) {
  kl_tree_source_of_rows *tree = (kl_tree_source_of_rows *)source;
  return sources_tree_show(tree, kl_pages_cursor_last(tree->cursor, err));
}

static kl_status sources_tree_seek_ge(kl_source *source, kl_slice key, kl_error *err) {
  kl_tree_source_of_rows *tree = (kl_tree_source_of_rows *)source;
  return sources_tree_show(tree, kl_pages_cursor_seek_ge(tree->cursor, key, err));
}

static kl_status sources_tree_seek_le(kl_source *source, kl_slice key, kl_error *err) {
  kl_tree_source_of_rows *tree = (kl_tree_source_of_rows *)source;
  return sources_tree_show(tree, kl_pages_cursor_seek_le(tree->cursor, key, err));
}

static kl_status sources_tree_next(kl_source *source, kl_error *err) {
  kl_tree_source_of_rows *tree = (kl_tree_source_of_rows *)source;
  return sources_tree_show(tree, kl_pages_cursor_next(tree->cursor, err));
}

static kl_status sources_tree_prev(kl_source *source, kl_error *err) {
  kl_tree_source_of_rows *tree = (kl_tree_source_of_rows *)source;
  return sources_tree_show(tree, kl_pages_cursor_prev(tree->cursor, err));
}

static kl_status sources_tree_value(kl_source *source, kl_slice *out_value, kl_error *err) {
  kl_tree_source_of_rows *tree = (kl_tree_source_of_rows *)source;
  return kl_pages_cursor_value(tree->cursor, out_value, err);
}

static const kl_source_ops sources_tree_ops = {
    .first = sources_tree_first,
    .last = sources_tree_last,
    .seek_ge = sources_tree_seek_ge,
    .seek_le = sources_tree_seek_le,
    .next = sources_tree_next,
    .prev = sources_tree_prev,
    .value = sources_tree_value,
};

/* The runs that the transaction sees. On failure there is nothing to destroy. */
static kl_status sources_init_runs(kl_txn_sources *sources, kl_txn *txn, uint32_t keyspace, kl_error *err) {
  const kl_layers *layers = txn->snapshot.layers;
  kl_allocator *allocator = &txn->manager->allocator;
  kl_status status = KL_OK;
  if (txn->run != NULL) {
    status = kl_run_source_init(&sources->own_run, allocator, txn->run, txn->run_view.layers->roots, keyspace, err);
  }
  if (status == KL_OK && layers->run != NULL && layers->run->ts <= txn->snapshot.ts) {
    status = kl_run_source_init(&sources->run, allocator, layers->run, layers->roots, keyspace, err);
    if (status != KL_OK) kl_run_source_destroy(&sources->own_run);
  }
  return status;
}

kl_status kl_txn_sources_init(kl_txn_sources *sources, kl_txn *txn, uint32_t keyspace, kl_error *err) {
  const kl_snapshot *snapshot = &txn->snapshot;
  memset(&sources->tree, 0, sizeof sources->tree);
  memset(&sources->own_run, 0, sizeof sources->own_run);
  memset(&sources->run, 0, sizeof sources->run);
  kl_pages *pages;
  kl_tree_pointer root;
  kl_status status = kl_txn_tree(txn, keyspace, &pages, &root, err);
  if (status == KL_OK && pages != NULL) status = kl_pages_cursor_new(pages, &root, &sources->tree.cursor, err);
  if (status != KL_OK) {
    sources->tree.cursor = NULL;
    return status;
  }
  if (kl_txn_has_runs(txn)) status = sources_init_runs(sources, txn, keyspace, err);
  if (status != KL_OK) {
    kl_txn_sources_destroy(sources);
    return status;
  }
  kl_merge_init(&sources->merge);
  kl_write_source_init(&sources->own, &txn->writes, keyspace);
  kl_merge_add(&sources->merge, &sources->own.source);
  if (sources->own_run.cursors != NULL) kl_merge_add(&sources->merge, &sources->own_run.source);
  kl_delta_source_init(&sources->active, snapshot->layers->active, keyspace, snapshot->ts);
  kl_merge_add(&sources->merge, &sources->active.source);
  if (sources->run.cursors != NULL) kl_merge_add(&sources->merge, &sources->run.source);
  if (snapshot->layers->frozen != NULL) {
    kl_delta_source_init(&sources->frozen, snapshot->layers->frozen, keyspace, snapshot->ts);
    kl_merge_add(&sources->merge, &sources->frozen.source);
  }
  if (sources->tree.cursor != NULL) {
    sources->tree.source.ops = &sources_tree_ops;
    kl_merge_add(&sources->merge, &sources->tree.source);
  }
  return KL_OK;
}

void kl_txn_sources_destroy(kl_txn_sources *sources) {
  kl_pages_cursor_free(sources->tree.cursor);
  sources->tree.cursor = NULL;
  kl_run_source_destroy(&sources->own_run);
  kl_run_source_destroy(&sources->run);
}
