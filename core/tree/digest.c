/* core/tree/digest.c: making digests. See digest.h. */
#include "digest.h"

#include "probe.h"

/* The size of the keys' suffixes when all rows are of the same sizes, TREE_DIGEST_UNEVEN otherwise. */
static uint16_t tree_digest_key_size(const tree_keys *keys, uint32_t row_size) {
  uint32_t field = kl_load_u16_le(keys->slots + 2), length = tree_page_length(keys->page);
  if (field >= TREE_SLOT_EXTENT) return TREE_DIGEST_UNEVEN;
  for (uint32_t i = 0; i < keys->count; i++) {
    const uint8_t *slot = keys->slots + 4 * (size_t)i;
    uint32_t end = i + 1 < keys->count ? kl_load_u16_le(slot + 4) : length;
    if (end - kl_load_u16_le(slot) != row_size || kl_load_u16_le(slot + 2) != field) return TREE_DIGEST_UNEVEN;
  }
  return (uint16_t)field;
}

static void tree_digest_seconds(const tree_keys *keys, uint8_t *out) {
  uint8_t key[KL_TREE_KEY_MAX];
  for (uint32_t i = 0; i < keys->count; i++) out[i] = tree_hash_second(tree_hash(tree_keys_copy(keys, i, key)));
}

void kl_tree_digest(const uint8_t *page, uint8_t *out, size_t size) {
  tree_digest *digest = (tree_digest *)(void *)out;
  uint32_t count = tree_page_count(page);
  size_t bytes = tree_digest_bytes(count);
  digest->kind = TREE_DIGEST_NONE;
  if (tree_page_level(page) != 0 || sizeof *digest + bytes > size) return;
  tree_keys keys = tree_leaf_keys(page);
  uint32_t rows_at = kl_load_u16_le(keys.slots), row_size = (tree_page_length(page) - rows_at) / count;
  digest->kind = sizeof *digest + 2 * bytes <= size ? TREE_DIGEST_LEAF_SECOND : TREE_DIGEST_LEAF;
  digest->prefix_size = (uint8_t)(keys.prefix_size <= TREE_DIGEST_PREFIX ? keys.prefix_size : TREE_DIGEST_PREFIX + 1);
  digest->count = (uint16_t)count;
  digest->rows_at = (uint16_t)rows_at;
  digest->row_size = (uint16_t)row_size;
  digest->key_size = tree_digest_key_size(&keys, row_size);
  if (keys.prefix_size <= TREE_DIGEST_PREFIX) memcpy(digest->prefix, keys.prefix, keys.prefix_size);
  memcpy(digest->fingerprints, page + TREE_HEADER, bytes); /* the page has them in sixteens, too */
  if (digest->kind != TREE_DIGEST_LEAF_SECOND) return;
  memset(digest->fingerprints + bytes, 0, bytes);
  tree_digest_seconds(&keys, digest->fingerprints + bytes);
}
