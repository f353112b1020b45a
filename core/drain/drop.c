/* core/drain/drop.c: trees of which nothing is kept. See drain_private.h. */
#include "../wal/commit_record.h"
#include "drain_private.h"

kl_status kl_drain_is_dropped(kl_pages *pages, const kl_tree_pointer *catalogue, uint32_t keyspace, bool *out_dropped,
                              kl_error *err) {
  uint8_t marker[KL_DROP_MARKER_SIZE];
  kl_drop_marker_encode(keyspace, marker);
  kl_status status = kl_pages_contains(pages, catalogue, kl_slice_make(marker, sizeof marker), err);
  *out_dropped = status == KL_OK;
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

/* Frees what the walk of a dropped tree has come to. *out_leaked: it stays allocated. */
static kl_status drop_item(drain_io *io, const kl_tree_item *item, bool *out_leaked, kl_error *err) {
  kl_tree_extent extent;
  kl_error cause;
  kl_status status = KL_OK;
  if (item->kind == KL_TREE_ITEM_DAMAGE) {
    *out_leaked = true;
  } else if (item->kind == KL_TREE_ITEM_PAGE) {
    status = io->freed.page(io, &item->pointer, &cause);
    io->stats->pages_freed += status == KL_OK;
  } else if (item->value.is_extent) {
    kl_tree_value_extent(&item->value, &extent);
    status = io->freed.extent(io, &extent, &cause);
    io->stats->extents_freed += status == KL_OK;
  }
  if (status == KL_E_CORRUPT) { /* the space map does not have it as used, or cannot be read there */
    *out_leaked = true;
    return KL_OK;
  }
  if (status != KL_OK && err != NULL) *err = cause;
  return status;
}

kl_status kl_drain_drop(const kl_drain_input *input, drain_io *io, const kl_tree_pointer *root, kl_error *err) {
  kl_tree_walker *walker = NULL;
  kl_tree_item item;
  bool leaked = false;
  kl_status status = kl_tree_walker_new(input->allocator, &io->source, io->pages->page_size, &walker, err);
  if (status != KL_OK) return status;
  kl_tree_walker_start(walker, root, true);
  while ((status = kl_tree_walker_next(walker, &item, err)) == KL_OK) {
    status = drop_item(io, &item, &leaked, err);
    if (status != KL_OK) break;
  }
  kl_tree_walker_free(walker);
  io->source.pause(io);
  if (status != KL_E_NOT_FOUND) return status;
  io->stats->trees_dropped++;
  io->stats->leaked_trees += leaked;
  return KL_OK;
}
