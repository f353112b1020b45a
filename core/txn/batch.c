/* core/txn/batch.c: rows in columns. See kl_batch in txn.h. */
#include <string.h>

#include "txn_private.h"

enum { BATCH_FIRST_BYTES = 1024, BATCH_FIRST_ROWS = 64 };

void kl_batch_init(kl_batch *batch, kl_allocator *allocator) {
  memset(batch, 0, sizeof *batch);
  batch->allocator = allocator;
}

void kl_batch_destroy(kl_batch *batch) {
  kl_allocator *allocator = batch->allocator;
  kl_free(allocator, batch->keys, batch->key_capacity);
  kl_free(allocator, batch->values, batch->value_capacity);
  if (batch->row_capacity != 0) {
    kl_free(allocator, batch->key_offsets, (batch->row_capacity + 1) * sizeof(uint64_t));
    kl_free(allocator, batch->value_offsets, (batch->row_capacity + 1) * sizeof(uint64_t));
    kl_free(allocator, batch->found, batch->row_capacity);
  }
  kl_batch_init(batch, allocator);
}

/* Room for `needed` bytes in one of the two byte columns. */
static bool batch_grow_bytes(kl_allocator *allocator, uint8_t **bytes, size_t *capacity, size_t needed) {
  if (needed <= *capacity) return true;
  size_t larger = *capacity < BATCH_FIRST_BYTES ? BATCH_FIRST_BYTES : *capacity;
  while (larger < needed) {
    if (larger > SIZE_MAX / 2) return false;
    larger *= 2;
  }
  uint8_t *moved = kl_realloc(allocator, *bytes, *capacity, larger);
  if (moved == NULL) return false;
  *bytes = moved;
  *capacity = larger;
  return true;
}

/* Room for one more row. The three columns have one capacity: all grow or none does. */
static bool batch_grow_rows(kl_batch *batch) {
  if (batch->count < batch->row_capacity) return true;
  kl_allocator *allocator = batch->allocator;
  size_t rows = batch->row_capacity == 0 ? BATCH_FIRST_ROWS : batch->row_capacity * 2;
  if (rows > SIZE_MAX / 2 / sizeof(uint64_t)) return false;
  size_t size = (rows + 1) * sizeof(uint64_t);
  uint64_t *key_offsets = kl_alloc(allocator, size);
  uint64_t *value_offsets = kl_alloc(allocator, size);
  uint8_t *found = kl_alloc(allocator, rows);
  if (key_offsets == NULL || value_offsets == NULL || found == NULL) {
    kl_free(allocator, key_offsets, size);
    kl_free(allocator, value_offsets, size);
    kl_free(allocator, found, rows);
    return false;
  }
  if (batch->row_capacity != 0) {
    size_t old_size = (batch->row_capacity + 1) * sizeof(uint64_t);
    memcpy(key_offsets, batch->key_offsets, old_size);
    memcpy(value_offsets, batch->value_offsets, old_size);
    memcpy(found, batch->found, batch->row_capacity);
    kl_free(allocator, batch->key_offsets, old_size);
    kl_free(allocator, batch->value_offsets, old_size);
    kl_free(allocator, batch->found, batch->row_capacity);
  }
  batch->key_offsets = key_offsets;
  batch->value_offsets = value_offsets;
  batch->found = found;
  batch->row_capacity = rows;
  return true;
}

kl_status kl_batch_start(kl_batch *batch, kl_error *err) {
  batch->count = 0;
  if (!batch_grow_rows(batch)) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a batch");
  batch->key_offsets[0] = batch->value_offsets[0] = 0;
  return KL_OK;
}

kl_status kl_batch_append(kl_batch *batch, kl_slice key, kl_slice value, bool found, kl_error *err) {
  size_t row = batch->count;
  size_t key_end = (size_t)batch->key_offsets[row];
  size_t value_end = (size_t)batch->value_offsets[row];
  if (key.size > SIZE_MAX - key_end || value.size > SIZE_MAX - value_end || !batch_grow_rows(batch) ||
      !batch_grow_bytes(batch->allocator, &batch->keys, &batch->key_capacity, key_end + key.size) ||
      !batch_grow_bytes(batch->allocator, &batch->values, &batch->value_capacity, value_end + value.size)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a batch of more than %zu rows; ask for fewer at a time", row);
  }
  if (key.size != 0) memcpy(batch->keys + key_end, key.data, key.size);
  if (value.size != 0) memcpy(batch->values + value_end, value.data, value.size);
  batch->key_offsets[row + 1] = key_end + key.size;
  batch->value_offsets[row + 1] = value_end + value.size;
  batch->found[row] = found;
  batch->count = row + 1;
  return KL_OK;
}
