/* core/tree/page.c: writing pages, and own copies of pages. */
#include "page.h"

#include "../base/assert.h"
#include "probe.h"

void tree_extent_encode(const kl_tree_extent *extent, uint8_t *to) {
  kl_store_u64_le(to, extent->address);
  kl_store_u64_le(to + 8, extent->length);
  kl_store_u64_le(to + 16, extent->stored);
  kl_store_u64_le(to + 24, extent->birth);
  kl_store_u32_le(to + 32, extent->checksum);
  kl_store_u32_le(to + 36, extent->chunk);
}

void tree_extent_decode(const uint8_t *from, kl_tree_extent *out) {
  out->address = kl_load_u64_le(from);
  out->length = kl_load_u64_le(from + 8);
  out->stored = kl_load_u64_le(from + 16);
  out->birth = kl_load_u64_le(from + 24);
  out->checksum = kl_load_u32_le(from + 32);
  out->chunk = kl_load_u32_le(from + 36);
}

void kl_tree_value_extent(const kl_tree_value *value, kl_tree_extent *out_extent) {
  tree_extent_decode(value->bytes.data, out_extent);
}

/* What all keys of the page share. Of sorted keys the first and the last decide. The first entry of an inner page has
 * no separator in it: its key went to the page above. */
static size_t tree_page_prefix(const uint8_t *data, const tree_entry *entries, size_t count, size_t first) {
  if (count - first == 0) return 0;
  if (count - first == 1) return entries[first].key_size;
  return tree_common_prefix(tree_entry_key(data, &entries[first]), tree_entry_key(data, &entries[count - 1]));
}

size_t tree_page_size_of(const uint8_t *data, const tree_entry *entries, size_t count, uint32_t level) {
  size_t first = level == 0 ? 0 : 1, keys = count - first;
  size_t prefix = tree_page_prefix(data, entries, count, first);
  const tree_entry *last = &entries[count - 1];
  size_t bytes = last->at + last->key_size + last->value_size - entries[first == count ? 0 : first].at;
  if (level == 0) return tree_leaf_prefix_at((uint32_t)count) + prefix + bytes - keys * prefix;
  if (keys == 0) return tree_inner_prefix_at(1);
  return tree_inner_prefix_at((uint32_t)count) + prefix + bytes - keys * (prefix + TREE_CHILD_SIZE);
}

static void tree_page_header(uint8_t *out, uint32_t level, size_t length, size_t count, size_t prefix) {
  kl_store_u32_le(out + TREE_AT_MAGIC, TREE_MAGIC);
  out[TREE_AT_VERSION] = TREE_VERSION;
  out[TREE_AT_LEVEL] = (uint8_t)level;
  kl_store_u32_le(out + TREE_AT_LENGTH, (uint32_t)length);
  kl_store_u16_le(out + TREE_AT_COUNT, (uint16_t)count);
  kl_store_u16_le(out + TREE_AT_PREFIX, (uint16_t)prefix);
}

static size_t tree_leaf_encode(const uint8_t *data, const tree_entry *entries, size_t count, size_t prefix,
                               uint8_t *out) {
  uint8_t *heads = out + tree_leaf_heads_at((uint32_t)count), *slots = heads + 4 * count, *at = slots + 4 * count;
  memcpy(at, data + entries[0].at, prefix);
  at += prefix;
  for (size_t i = 0; i < count; i++) {
    const tree_entry *entry = &entries[i];
    const uint8_t *suffix = data + entry->at + prefix;
    size_t suffix_size = entry->key_size - prefix;
    out[TREE_HEADER + i] = tree_fingerprint(tree_entry_key(data, entry));
    kl_store_u32_le(heads + 4 * i, tree_head(suffix, suffix_size));
    kl_store_u16_le(slots + 4 * i, (uint16_t)(at - out));
    kl_store_u16_le(slots + 4 * i + 2, (uint16_t)(suffix_size | (entry->is_extent ? TREE_SLOT_EXTENT : 0)));
    memcpy(at, suffix, suffix_size + entry->value_size);
    at += suffix_size + entry->value_size;
  }
  return (size_t)(at - out);
}

static size_t tree_inner_encode(const uint8_t *data, const tree_entry *entries, size_t count, size_t prefix,
                                uint8_t *out) {
  uint8_t *heads = out + TREE_HEADER, *slots = heads + 4 * (count - 1);
  uint8_t *children = out + tree_inner_children_at((uint32_t)count), *rows = children + KL_TREE_POINTER_SIZE * count;
  uint8_t *at = rows + 8 * count;
  if (count > 1) memcpy(at, data + entries[1].at, prefix);
  at += prefix;
  for (size_t i = 0; i < count; i++) {
    const tree_entry *entry = &entries[i];
    const uint8_t *value = data + entry->at + entry->key_size;
    memcpy(children + KL_TREE_POINTER_SIZE * i, value, KL_TREE_POINTER_SIZE);
    memcpy(rows + 8 * i, value + KL_TREE_POINTER_SIZE, 8);
    if (i == 0) continue;
    const uint8_t *suffix = data + entry->at + prefix;
    size_t suffix_size = entry->key_size - prefix;
    kl_store_u32_le(heads + 4 * (i - 1), tree_head(suffix, suffix_size));
    kl_store_u16_le(slots + 2 * (i - 1), (uint16_t)(at - out));
    memcpy(at, suffix, suffix_size);
    at += suffix_size;
  }
  return (size_t)(at - out);
}

size_t tree_page_encode(const uint8_t *data, const tree_entry *entries, size_t count, uint32_t level, uint8_t *out) {
  size_t first = level == 0 ? 0 : 1;
  size_t prefix = tree_page_prefix(data, entries, count, first);
  size_t arrays = level == 0 ? tree_leaf_prefix_at((uint32_t)count) : tree_inner_prefix_at((uint32_t)count);
  memset(out, 0, arrays);
  size_t length = level == 0 ? tree_leaf_encode(data, entries, count, prefix, out)
                             : tree_inner_encode(data, entries, count, prefix, out);
  tree_page_header(out, level, length, count, prefix);
  KL_ASSERT(length == tree_page_size_of(data, entries, count, level));
  return length;
}

kl_status tree_level_wrong(const kl_tree_pointer *pointer, uint32_t found, uint32_t wanted, kl_error *err) {
  return kl_fail(err, KL_E_CORRUPT,
                 "tree page at %llu is of level %u where its parent promises level %u; run a verification, and restore "
                 "what it names",
                 (unsigned long long)pointer->address, (unsigned)found, (unsigned)wanted);
}

kl_status tree_frames_load(tree_frames *frames, const kl_tree_pointer *pointer, uint32_t level,
                           const uint8_t **out_page, kl_error *err) {
  const uint8_t *page = NULL;
  kl_status status = tree_load(frames->source, pointer, level, &page, err);
  if (status != KL_OK) return status;
  level = tree_page_level(page);
  size_t length = tree_page_length(page);
  if (length > frames->page_size) {
    status = kl_fail(err, KL_E_CORRUPT, "tree page at %llu has %zu bytes where pages have %u; is it of this database?",
                     (unsigned long long)pointer->address, length, (unsigned)frames->page_size);
  } else if (frames->page[level] == NULL &&
             (frames->page[level] = kl_alloc(frames->allocator, frames->page_size)) == NULL) {
    status = kl_fail(err, KL_E_NO_MEMORY, "no memory for a copy of a tree page of %u bytes; free some and try again",
                     (unsigned)frames->page_size);
  } else {
    memcpy(frames->page[level], page, length);
    *out_page = frames->page[level];
  }
  if (frames->source->pause != NULL) frames->source->pause(frames->source->context);
  return status;
}

void tree_frames_free(tree_frames *frames) {
  for (size_t i = 0; i < KL_TREE_LEVELS; i++) {
    if (frames->page[i] != NULL) kl_free(frames->allocator, frames->page[i], frames->page_size);
  }
}
