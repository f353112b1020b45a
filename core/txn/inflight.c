/* core/txn/inflight.c: open addressing with linear probing. See inflight.h. */
#include "inflight.h"

#include <string.h>

#include "../base/assert.h"
#include "../base/rng.h"

enum {
  INFLIGHT_FIRST_SLOTS = 2048,
  INFLIGHT_KEPT_SLOTS = 16384 /* a larger table, made for a large commit, is given back once it is empty */
};

/* Withdrawn: keeps the probe chain together, never newer than any snapshot. */
#define INFLIGHT_WITHDRAWN ((uint64_t)1)

uint64_t kl_inflight_hash(uint64_t seed, uint32_t keyspace, kl_slice key) {
  /* Mixed before the bytes come in: the size must not be able to make up for a difference in them. */
  uint64_t hash = kl_mix64(seed ^ ((uint64_t)keyspace << 32 | (uint64_t)(uint32_t)key.size));
  const uint8_t *bytes = key.data;
  size_t left = key.size;
  for (; left >= 8; left -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    hash = kl_mix64(hash ^ word) + seed;
  }
  if (left != 0) {
    uint64_t word = 0;
    memcpy(&word, bytes, left);
    hash = kl_mix64(hash ^ word);
  }
  return kl_mix64(hash);
}

void kl_inflight_init(kl_inflight *table, kl_allocator *allocator) {
  memset(table, 0, sizeof *table);
  table->allocator = allocator;
}

static void inflight_empty(kl_inflight *table) {
  kl_free(table->allocator, table->entries, table->capacity * sizeof *table->entries);
  table->entries = NULL;
  table->capacity = table->used = 0;
  table->forgotten = table->newest;
}

void kl_inflight_destroy(kl_inflight *table) {
  inflight_empty(table);
}

static kl_inflight_entry *inflight_slot(kl_inflight_entry *entries, size_t capacity, uint64_t hash) {
  size_t i = (size_t)hash & (capacity - 1);
  while (entries[i].ts != 0 && entries[i].hash != hash) i = (i + 1) & (capacity - 1);
  return &entries[i];
}

bool kl_inflight_reserve(kl_inflight *table, size_t count, uint64_t visible) {
  if (table->newest <= visible && table->capacity > INFLIGHT_KEPT_SLOTS) inflight_empty(table);
  if (table->used + count <= table->capacity / 2) return true;
  size_t live = 0;
  for (size_t i = 0; i < table->capacity; i++) live += table->entries[i].ts > visible;
  if (count > SIZE_MAX / 64 - live) return false;
  /* Twice what is needed now, so that sweeps are rare: a table is at most a quarter full after one. */
  size_t capacity = INFLIGHT_FIRST_SLOTS;
  while (capacity / 4 < live + count) capacity *= 2;
  if (capacity < table->capacity && table->capacity <= INFLIGHT_KEPT_SLOTS) capacity = table->capacity;
  if (live == 0 && capacity == table->capacity) {
    memset(table->entries, 0, capacity * sizeof *table->entries);
    table->used = 0;
    table->forgotten = visible;
    return true;
  }
  kl_inflight_entry *entries = kl_alloc(table->allocator, capacity * sizeof *entries);
  if (entries == NULL) return false;
  for (size_t i = 0; i < table->capacity; i++) {
    if (table->entries[i].ts > visible) *inflight_slot(entries, capacity, table->entries[i].hash) = table->entries[i];
  }
  kl_free(table->allocator, table->entries, table->capacity * sizeof *table->entries);
  table->entries = entries;
  table->capacity = capacity;
  table->used = live;
  table->forgotten = visible;
  return true;
}

void kl_inflight_add(kl_inflight *table, uint64_t hash, uint64_t ts) {
  KL_ASSERT(table->used < table->capacity);
  kl_inflight_entry *entry = inflight_slot(table->entries, table->capacity, hash);
  if (entry->ts == 0) table->used++;
  entry->hash = hash;
  entry->ts = ts;
  if (ts > table->newest) table->newest = ts;
}

uint64_t kl_inflight_find(const kl_inflight *table, uint64_t hash) {
  if (table->capacity == 0) return 0;
  return inflight_slot(table->entries, table->capacity, hash)->ts;
}

void kl_inflight_withdraw(kl_inflight *table, uint64_t hash, uint64_t ts) {
  if (table->capacity == 0) return;
  kl_inflight_entry *entry = inflight_slot(table->entries, table->capacity, hash);
  if (entry->ts == ts) entry->ts = INFLIGHT_WITHDRAWN;
  /* The entry may have replaced an older one, which somebody's precheck was too early to see. */
  table->forgotten = table->newest;
}
