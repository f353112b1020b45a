/* core/tree/locate.c: which keys a page is about, told from the pages above it. */
#include "page.h"

/* A page on the way down, and what the separators say of it. */
typedef struct tree_place {
  kl_tree_pointer pointer;
  uint32_t level; /* or TREE_LEVEL_ANY */
  kl_tree_range range;
} tree_place;

static bool tree_pointer_equal(const kl_tree_pointer *a, const kl_tree_pointer *b) {
  return a->address == b->address && a->length == b->length && a->checksum == b->checksum && a->birth == b->birth;
}

/* From an inner page to its child `i`. */
static void tree_place_child(tree_place *place, const uint8_t *page, uint32_t i) {
  tree_keys keys = tree_inner_keys(page);
  if (i > 0) place->range.low.size = tree_keys_copy(&keys, i - 1, place->range.low.key).size;
  if (i < keys.count) {
    place->range.high.size = tree_keys_copy(&keys, i, place->range.high.key).size;
    place->range.has_high = true;
  }
  tree_inner_child(page, i, &place->pointer);
  place->level = tree_page_level(page) - 1;
}

/* Down to `wanted` by the child of `key`, or by the first (edge 1) or last (edge -1) child. With `beside` NULL or not
 * filled: no page on the way had a child beside the one taken. KL_E_NOT_FOUND: a leaf was reached. */
static kl_status tree_locate_down(const kl_tree_source *source, tree_place *place, kl_slice key, int edge,
                                  int direction, const kl_tree_pointer *wanted, tree_place *beside, bool *out_beside,
                                  kl_error *err) {
  while (!tree_pointer_equal(&place->pointer, wanted)) {
    const uint8_t *page = NULL;
    kl_status status = tree_load(source, &place->pointer, place->level, &page, err);
    if (status != KL_OK) return status;
    if (tree_page_level(page) == 0) return KL_E_NOT_FOUND;
    uint32_t last = tree_page_count(page) - 1;
    uint32_t i = edge > 0 ? 0 : edge < 0 ? last : tree_inner_search(page, key);
    if (direction > 0 ? i < last : direction < 0 && i > 0) {
      *beside = *place;
      *out_beside = true;
      tree_place_child(beside, page, direction > 0 ? i + 1 : i - 1);
    }
    tree_place_child(place, page, i);
  }
  return KL_OK;
}

kl_status kl_tree_locate(const kl_tree_source *source, const kl_tree_pointer *root, kl_slice key, int direction,
                         const kl_tree_pointer *wanted, kl_tree_range *out_range, kl_error *err) {
  tree_place place = {.pointer = *root, .level = TREE_LEVEL_ANY}, beside;
  bool has_beside = false;
  if (kl_tree_pointer_is_null(root)) return KL_E_NOT_FOUND;
  kl_status status = tree_locate_down(source, &place, key, 0, direction, wanted, &beside, &has_beside, err);
  if (status == KL_E_NOT_FOUND && has_beside) {
    place = beside;
    status = tree_locate_down(source, &place, key, direction, 0, wanted, &beside, &has_beside, err);
  }
  if (status == KL_OK) *out_range = place.range;
  return status;
}
