/* core/tree/page_check.c: is this a page? Bytes from a disk are believed after this, and only then.
 *
 * A checksum finds damage; this finds what a checksum cannot: a page that somebody made on purpose, or a mistake of the
 * program that wrote it. The order of the checks is such that each reads only what the ones before it have shown to lie
 * inside of the page. */
#include "page.h"
#include "probe.h"

typedef struct tree_check {
  const kl_tree_pointer *pointer;
  kl_error *err;
} tree_check;

static kl_status tree_check_fail(const tree_check *check, const char *what, unsigned index, unsigned value) {
  unsigned long long address = check->pointer != NULL ? check->pointer->address : 0;
  return kl_fail(check->err, KL_E_CORRUPT,
                 "tree page at %llu is damaged: %s (entry %u, value %u); restore from a backup", address, what, index,
                 value);
}

static kl_status tree_check_header(const tree_check *check, const uint8_t *page, size_t size) {
  if (size < TREE_HEADER) return tree_check_fail(check, "shorter than a header", 0, (unsigned)size);
  if (size > KL_TREE_PAGE_MAX) return tree_check_fail(check, "longer than any page", 0, 0);
  if (kl_load_u32_le(page + TREE_AT_MAGIC) != TREE_MAGIC) return tree_check_fail(check, "not a tree page", 0, page[0]);
  if (page[TREE_AT_VERSION] == 0) return tree_check_fail(check, "version", 0, 0);
  if (page[TREE_AT_VERSION] > TREE_VERSION || kl_load_u16_le(page + TREE_AT_FLAGS) != 0) {
    return kl_fail(
        check->err, KL_E_VERSION,
        "tree page at %llu has version %u and flags %u, which this version of Keel does not know; use a newer one",
        check->pointer != NULL ? (unsigned long long)check->pointer->address : 0ULL, (unsigned)page[TREE_AT_VERSION],
        (unsigned)kl_load_u16_le(page + TREE_AT_FLAGS));
  }
  if (tree_page_length(page) != size) return tree_check_fail(check, "length", 0, tree_page_length(page));
  if (tree_page_level(page) >= KL_TREE_LEVELS) return tree_check_fail(check, "level", 0, tree_page_level(page));
  uint32_t count = tree_page_count(page), prefix = tree_page_prefix_size(page);
  if (count < (tree_page_level(page) == 0 ? 1U : 2U)) return tree_check_fail(check, "too few entries", 0, count);
  if (prefix > KL_TREE_KEY_MAX) return tree_check_fail(check, "prefix size", 0, prefix);
  /* The arrays: at most 65535 * 38 bytes, which a uint32_t holds. */
  uint32_t prefix_at = tree_page_level(page) == 0 ? tree_leaf_prefix_at(count) : tree_inner_prefix_at(count);
  if (prefix_at + prefix > size) return tree_check_fail(check, "arrays beyond the end", 0, count);
  return KL_OK;
}

/* Records lie one behind the other from the end of the prefix to the end of the page, each with its key inside. */
static kl_status tree_check_records(const tree_check *check, const tree_keys *keys, uint32_t length) {
  uint32_t width = keys->is_leaf ? 4 : 2;
  uint32_t at = (uint32_t)(keys->prefix - keys->page) + keys->prefix_size;
  for (uint32_t i = 0; i < keys->count; i++) {
    const uint8_t *slot = keys->slots + (size_t)width * i;
    if (kl_load_u16_le(slot) != at) return tree_check_fail(check, "offset of a record", i, kl_load_u16_le(slot));
    uint32_t end = i + 1 < keys->count ? kl_load_u16_le(slot + width) : length;
    if (end < at || end > length) return tree_check_fail(check, "end of a record", i, end);
    uint32_t field = keys->is_leaf ? kl_load_u16_le(slot + 2) : end - at;
    uint32_t key_size = keys->is_leaf ? field & (TREE_SLOT_EXTENT - 1) : field;
    if (key_size > end - at || keys->prefix_size + key_size > KL_TREE_KEY_MAX) {
      return tree_check_fail(check, "size of a key", i, key_size);
    }
    if (keys->is_leaf && (field & TREE_SLOT_EXTENT) != 0 && end - at - key_size != KL_TREE_EXTENT_SIZE) {
      return tree_check_fail(check, "size of a reference to an extent", i, end - at - key_size);
    }
    at = end;
  }
  if (at != length) return tree_check_fail(check, "bytes behind the last record", keys->count, length - at);
  return KL_OK;
}

static kl_status tree_check_keys(const tree_check *check, const tree_keys *keys) {
  uint8_t key[KL_TREE_KEY_MAX];
  kl_slice before = {NULL, 0};
  memcpy(key, keys->prefix, keys->prefix_size);
  for (uint32_t i = 0; i < keys->count; i++) {
    kl_slice suffix = tree_keys_suffix(keys, i);
    uint32_t head = kl_load_u32_le(keys->heads + 4 * (size_t)i);
    if (head != tree_head(suffix.data, suffix.size)) return tree_check_fail(check, "head of a key", i, head);
    if (i > 0 && kl_slice_compare(before, suffix) >= 0) return tree_check_fail(check, "order of the keys", i, 0);
    before = suffix;
    if (!keys->is_leaf) continue;
    memcpy(key + keys->prefix_size, suffix.data, suffix.size);
    uint8_t fingerprint = keys->page[TREE_HEADER + i];
    if (fingerprint != tree_fingerprint(kl_slice_make(key, keys->prefix_size + suffix.size))) {
      return tree_check_fail(check, "fingerprint", i, fingerprint);
    }
  }
  return KL_OK;
}

static kl_status tree_check_children(const tree_check *check, const uint8_t *page) {
  uint64_t rows = 0;
  for (uint32_t i = 0; i < tree_page_count(page); i++) {
    kl_tree_pointer child;
    tree_inner_child(page, i, &child);
    if (kl_tree_pointer_is_null(&child)) return tree_check_fail(check, "null pointer", i, 0);
    uint64_t below = tree_inner_rows(page, i);
    if (below == 0 || rows + below < rows) return tree_check_fail(check, "number of rows", i, 0);
    rows += below;
  }
  return KL_OK;
}

kl_status kl_tree_page_check(const uint8_t *page, size_t size, const kl_tree_pointer *pointer, kl_error *err) {
  tree_check check = {pointer, err};
  kl_status status = tree_check_header(&check, page, size);
  if (status != KL_OK) return status;
  bool is_leaf = tree_page_level(page) == 0;
  tree_keys keys = is_leaf ? tree_leaf_keys(page) : tree_inner_keys(page);
  status = tree_check_records(&check, &keys, (uint32_t)size);
  if (status == KL_OK) status = tree_check_keys(&check, &keys);
  if (status == KL_OK && !is_leaf) status = tree_check_children(&check, page);
  return status;
}
