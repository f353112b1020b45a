/* core/tree/builder.c: see builder.h. */
#include "builder.h"

#include "../base/assert.h"

kl_status tree_builder_init(tree_builder *builder, const kl_tree_merge_options *options, kl_tree_merge_stats *stats,
                            kl_error *err) {
  uint32_t page_size = options->page_size, fill = options->fill_percent == 0 ? 100 : options->fill_percent;
  memset(builder, 0, sizeof *builder);
  if (page_size < KL_TREE_PAGE_MIN || page_size > KL_TREE_PAGE_MAX || (page_size & (page_size - 1)) != 0) {
    return kl_fail(err, KL_E_INVALID, "tree: page size %u is not a power of two from 4096 to 65536",
                   (unsigned)page_size);
  }
  if (fill < 50 || fill > 100)
    return kl_fail(err, KL_E_INVALID, "tree: fill of %u percent; give 50 to 100", (unsigned)fill);
  if (options->sink == NULL || options->sink->write == NULL) {
    return kl_fail(err, KL_E_INVALID, "tree: no sink; give one that places pages");
  }
  builder->allocator = options->allocator;
  builder->sink = options->sink;
  builder->page_size = page_size;
  builder->target = (size_t)page_size * fill / 100;
  builder->underfull = page_size / 3;
  builder->stats = stats;
  builder->page = kl_alloc(options->allocator, page_size);
  if (builder->page == NULL)
    return kl_fail(err, KL_E_NO_MEMORY, "tree: no memory for a page of %u bytes", (unsigned)page_size);
  return KL_OK;
}

static void tree_level_free(kl_allocator *allocator, tree_level *level) {
  if (level->data != NULL) kl_free(allocator, level->data, level->data_capacity);
  if (level->entries != NULL) kl_free(allocator, level->entries, level->capacity * sizeof *level->entries);
}

void tree_builder_free(tree_builder *builder) {
  for (size_t i = 0; i < KL_TREE_LEVELS; i++) tree_level_free(builder->allocator, &builder->level[i]);
  if (builder->page != NULL) kl_free(builder->allocator, builder->page, builder->page_size);
}

static kl_status tree_level_reserve(tree_builder *builder, tree_level *level, size_t bytes, kl_error *err) {
  size_t needed = level->data_size + bytes;
  if (needed > level->data_capacity || level->data == NULL) { /* an only row may have an empty key and value */
    size_t capacity = level->data_capacity == 0 ? (size_t)builder->page_size * 2 : level->data_capacity;
    while (capacity < needed) capacity *= 2;
    uint8_t *data = kl_realloc(builder->allocator, level->data, level->data_capacity, capacity);
    if (data == NULL) return kl_fail(err, KL_E_NO_MEMORY, "tree: no memory for %zu bytes of pending rows", capacity);
    level->data = data;
    level->data_capacity = capacity;
  }
  if (level->count == level->capacity) {
    size_t capacity = level->capacity == 0 ? builder->page_size / 64 : level->capacity * 2, unit = sizeof(tree_entry);
    tree_entry *entries = kl_realloc(builder->allocator, level->entries, level->capacity * unit, capacity * unit);
    if (entries == NULL) return kl_fail(err, KL_E_NO_MEMORY, "tree: no memory for %zu pending rows", capacity);
    level->entries = entries;
    level->capacity = capacity;
  }
  return KL_OK;
}

static size_t tree_level_bytes(const tree_level *level, size_t from, size_t to, uint32_t number) {
  return tree_page_size_of(level->data, level->entries + from, to - from, number);
}

static kl_status tree_builder_add(tree_builder *builder, uint32_t number, kl_slice key, kl_slice value, bool is_extent,
                                  kl_error *err);

/* The shortest key that is behind `before` and not behind `key`. */
static size_t tree_separator_size(kl_slice before, kl_slice key) {
  size_t common = tree_common_prefix(before, key);
  KL_ASSERT(common < key.size); /* before < key, so key goes on where they part */
  return common + 1;
}

/* Takes the first `n` entries away. */
static void tree_level_drop(tree_level *level, size_t n) {
  size_t bytes = n == level->count ? level->data_size : level->entries[n].at;
  memmove(level->data, level->data + bytes, level->data_size - bytes);
  level->data_size -= bytes;
  level->count -= n;
  for (size_t i = 0; i < level->count; i++) {
    level->entries[i] = level->entries[i + n];
    level->entries[i].at -= bytes;
  }
  level->start = level->start > n ? level->start - n : 0;
}

static uint64_t tree_level_rows(const tree_level *level, size_t n, uint32_t number) {
  if (number == 0) return n;
  uint64_t rows = 0;
  for (size_t i = 0; i < n; i++) {
    const tree_entry *entry = &level->entries[i];
    rows += kl_load_u64_le(level->data + entry->at + entry->key_size + KL_TREE_POINTER_SIZE);
  }
  return rows;
}

/* Writes the first `n` entries as a page, which becomes an entry of the level above. */
static kl_status tree_builder_emit(tree_builder *builder, uint32_t number, size_t n, kl_error *err) {
  tree_level *level = &builder->level[number];
  kl_tree_pointer pointer = {0};
  uint8_t child[TREE_CHILD_SIZE], low_copy[KL_TREE_KEY_MAX];
  if (number + 1 == KL_TREE_LEVELS) {
    return kl_fail(err, KL_E_LIMIT, "tree: more than %d levels; use larger pages or shorter keys", KL_TREE_LEVELS);
  }
  if (tree_level_bytes(level, 0, n, number) > builder->page_size) {
    return KL_BROKEN(err, "TREE-2: a page of level %u does not fit", (unsigned)number);
  }
  size_t length = tree_page_encode(level->data, level->entries, n, number, builder->page);
  kl_status status = builder->sink->write(builder->sink->context, builder->page, length, &pointer, err);
  if (status != KL_OK) return status;
  builder->stats->pages_written++;
  builder->stats->bytes_written += length;
  tree_pointer_encode(&pointer, child);
  kl_store_u64_le(child + KL_TREE_POINTER_SIZE, tree_level_rows(level, n, number));
  kl_slice low = number == 0 ? kl_slice_make(level->low, level->low_size) : tree_entry_key(level->data, level->entries);
  memcpy(low_copy, low.data, low.size);
  low.data = low_copy;
  if (number == 0 && n < level->count) {
    kl_slice next = tree_entry_key(level->data, &level->entries[n]);
    level->low_size = tree_separator_size(tree_entry_key(level->data, &level->entries[n - 1]), next);
    memcpy(level->low, next.data, level->low_size);
  }
  tree_level_drop(level, n);
  return tree_builder_add(builder, number + 1, low, kl_slice_make(child, sizeof child), false, err);
}

/* Adds an entry; writes a page when a third one begins. The recursion goes up one level at a time. */
static kl_status tree_builder_add(tree_builder *builder, uint32_t number, kl_slice key, kl_slice value, bool is_extent,
                                  kl_error *err) {
  tree_level *level = &builder->level[number];
  kl_status status = tree_level_reserve(builder, level, key.size + value.size, err);
  if (status != KL_OK) return status;
  level->entries[level->count++] = (tree_entry){level->data_size, (uint32_t)value.size, (uint16_t)key.size, is_extent};
  if (key.size != 0) memcpy(level->data + level->data_size, key.data, key.size);
  if (value.size != 0) memcpy(level->data + level->data_size + key.size, value.data, value.size);
  level->data_size += key.size + value.size;
  size_t least = number == 0 ? 1 : 2; /* entries of a page */
  if (level->count - 1 - level->start < least) return KL_OK;
  if (tree_level_bytes(level, level->start, level->count, number) <= builder->target) return KL_OK;
  if (level->start != 0) status = tree_builder_emit(builder, number, level->start, err);
  level->start = level->count - 1;
  return status;
}

kl_status tree_builder_row(tree_builder *builder, kl_slice low, kl_slice key, kl_slice value, bool is_extent,
                           kl_error *err) {
  tree_level *leaf = &builder->level[0];
  if (leaf->count == 0) {
    if (low.size != 0) memcpy(leaf->low, low.data, low.size);
    leaf->low_size = low.size;
  }
  return tree_builder_add(builder, 0, key, value, is_extent, err);
}

uint32_t tree_builder_top(const tree_builder *builder) {
  for (uint32_t i = KL_TREE_LEVELS; i > 0; i--) {
    if (builder->level[i - 1].count != 0) return i - 1;
  }
  return KL_TREE_LEVELS;
}

bool tree_builder_is_underfull(const tree_builder *builder, uint32_t number) {
  const tree_level *level = &builder->level[number];
  if (level->count == 0) return false;
  if (number > 0 && level->count < 2) return true;
  return tree_level_bytes(level, 0, level->count, number) < builder->underfull;
}

kl_status tree_builder_flush(tree_builder *builder, uint32_t number, kl_error *err) {
  tree_level *level = &builder->level[number];
  size_t least = number == 0 ? 1 : 2, end = level->count;
  if (end == 0) return KL_OK;
  if (level->start != 0 && tree_level_bytes(level, 0, end, number) <= builder->page_size) level->start = 0;
  if (level->start != 0) {
    size_t cut = level->start;
    if (end - cut < least || tree_level_bytes(level, cut, end, number) < builder->underfull) {
      /* Share evenly: move the cut left while the right page stays the smaller one. */
      while (cut > least && tree_level_bytes(level, cut - 1, end, number) <= builder->page_size &&
             (end - cut < least ||
              tree_level_bytes(level, cut - 1, end, number) <= tree_level_bytes(level, 0, cut - 1, number))) {
        cut--;
      }
    }
    kl_status status = tree_builder_emit(builder, number, cut, err);
    if (status != KL_OK) return status;
  }
  return tree_builder_emit(builder, number, level->count, err);
}

kl_status tree_builder_take(tree_builder *builder, uint32_t number, kl_slice low, const kl_tree_pointer *pointer,
                            uint64_t rows, bool *out_taken, kl_error *err) {
  uint8_t child[TREE_CHILD_SIZE];
  *out_taken = false;
  for (uint32_t i = 0; i <= number; i++) {
    if (tree_builder_is_underfull(builder, i)) return KL_OK;
    kl_status status = tree_builder_flush(builder, i, err);
    if (status != KL_OK) return status;
  }
  tree_pointer_encode(pointer, child);
  kl_store_u64_le(child + KL_TREE_POINTER_SIZE, rows);
  *out_taken = true;
  return tree_builder_add(builder, number + 1, low, kl_slice_make(child, sizeof child), false, err);
}

void tree_builder_untake(tree_builder *builder, uint32_t number, kl_tree_pointer *out_pointer, uint8_t *low,
                         size_t *out_low_size) {
  tree_level *above = &builder->level[number + 1];
  const tree_entry *entry = &above->entries[above->count - 1];
  memcpy(low, above->data + entry->at, entry->key_size);
  *out_low_size = entry->key_size;
  tree_pointer_decode(above->data + entry->at + entry->key_size, out_pointer);
  above->data_size = entry->at;
  above->count--;
  if (above->start >= above->count)
    above->start = 0; /* the page in progress is gone; the full one is now in progress */
}

kl_status tree_builder_prepend(tree_builder *builder, uint32_t number, const uint8_t *page, kl_slice low,
                               kl_error *err) {
  tree_level *level = &builder->level[number], old = *level;
  uint8_t key[KL_TREE_KEY_MAX];
  kl_status status = KL_OK;
  memset(level, 0, sizeof *level);
  memcpy(level->low, low.data, low.size);
  level->low_size = low.size;
  tree_keys keys = number == 0 ? tree_leaf_keys(page) : tree_inner_keys(page);
  for (uint32_t i = 0; i < tree_page_count(page) && status == KL_OK; i++) {
    if (number == 0) {
      kl_tree_value value;
      tree_leaf_value(&keys, i, &value);
      status = tree_builder_add(builder, 0, tree_keys_copy(&keys, i, key), value.bytes, value.is_extent, err);
    } else {
      uint8_t child[TREE_CHILD_SIZE];
      memcpy(child, tree_inner_child_at(page, i), KL_TREE_POINTER_SIZE);
      kl_store_u64_le(child + KL_TREE_POINTER_SIZE, tree_inner_rows(page, i));
      kl_slice least = i == 0 ? low : tree_keys_copy(&keys, i - 1, key);
      status = tree_builder_add(builder, number, least, kl_slice_make(child, sizeof child), false, err);
    }
  }
  for (size_t i = 0; i < old.count && status == KL_OK; i++) {
    const tree_entry *entry = &old.entries[i];
    kl_slice value = kl_slice_make(old.data + entry->at + entry->key_size, entry->value_size);
    status = tree_builder_add(builder, number, tree_entry_key(old.data, entry), value, entry->is_extent, err);
  }
  tree_level_free(builder->allocator, &old);
  return status;
}
