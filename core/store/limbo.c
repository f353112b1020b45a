/* core/store/limbo.c: see limbo.h. */
#include "limbo.h"

#include <stdlib.h>
#include <string.h>

#include "../base/assert.h"

enum { STORE_LIMBO_FIRST = 64 };

void store_limbo_close(store_limbo *limbo) {
  kl_free(limbo->allocator, limbo->entries, limbo->capacity * sizeof *limbo->entries);
  kl_free(limbo->allocator, limbo->live, limbo->live_capacity * sizeof *limbo->live);
}

kl_status store_limbo_reserve(store_limbo *limbo, size_t more, kl_error *err) {
  if (limbo->capacity - limbo->count >= more) return KL_OK;
  size_t capacity = limbo->capacity < STORE_LIMBO_FIRST ? STORE_LIMBO_FIRST : limbo->capacity * 2;
  if (capacity < limbo->count + more) capacity = limbo->count + more;
  size_t size = sizeof *limbo->entries;
  void *grown = kl_realloc(limbo->allocator, limbo->entries, limbo->capacity * size, capacity * size);
  if (grown == NULL) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to remember %zu runs of freed blocks", capacity);
  }
  limbo->entries = grown;
  limbo->capacity = capacity;
  return KL_OK;
}

void store_limbo_add(store_limbo *limbo, uint64_t block, uint64_t blocks, uint64_t birth, uint64_t death) {
  KL_ASSERT(limbo->entries != NULL && limbo->count < limbo->capacity);
  limbo->blocks += blocks;
  store_limbo_entry *last = limbo->count > 0 ? &limbo->entries[limbo->count - 1] : NULL;
  if (last != NULL && last->birth == birth && last->death == death) { /* pages of one drain often die together */
    if (last->block + last->blocks == block) {
      last->blocks += blocks;
      return;
    }
    if (block + blocks == last->block) {
      last->block = block;
      last->blocks += blocks;
      return;
    }
  }
  limbo->entries[limbo->count++] = (store_limbo_entry){block, blocks, birth, death};
}

static int store_limbo_compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

kl_status store_limbo_set_live(store_limbo *limbo, const uint64_t *live, size_t count, kl_error *err) {
  if (count > limbo->live_capacity) {
    uint64_t *grown = kl_alloc(limbo->allocator, count * sizeof *grown);
    if (grown == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to remember %zu snapshots", count);
    kl_free(limbo->allocator, limbo->live, limbo->live_capacity * sizeof *limbo->live);
    limbo->live = grown;
    limbo->live_capacity = count;
  }
  if (count != 0) {
    memcpy(limbo->live, live, count * sizeof *live);
    qsort(limbo->live, count, sizeof *live, store_limbo_compare);
  }
  limbo->live_count = count;
  return KL_OK;
}

/* Some version v of `versions`, ascending, has birth <= v < death. */
static bool store_limbo_hit(const uint64_t *versions, size_t count, const store_limbo_entry *entry) {
  size_t low = 0, high = count;
  while (low < high) { /* the first version that is not before the birth */
    size_t middle = low + (high - low) / 2;
    if (versions[middle] < entry->birth) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < count && versions[low] < entry->death;
}

void store_limbo_settle(store_limbo *limbo, const uint64_t *durable, size_t durable_count,
                        void (*gone)(void *context, uint64_t block, uint64_t blocks), void *context) {
  size_t kept = 0;
  for (size_t i = 0; i < limbo->count; i++) {
    const store_limbo_entry entry = limbo->entries[i];
    bool needed = store_limbo_hit(limbo->live, limbo->live_count, &entry);
    for (size_t v = 0; v < durable_count; v++) needed |= store_limbo_hit(durable + v, 1, &entry);
    if (needed) {
      limbo->entries[kept++] = entry;
    } else {
      limbo->blocks -= entry.blocks;
      gone(context, entry.block, entry.blocks);
    }
  }
  limbo->count = kept;
}

void store_limbo_undo(store_limbo *limbo, uint64_t death) {
  size_t kept = 0;
  for (size_t i = 0; i < limbo->count; i++) {
    if (limbo->entries[i].death == death) {
      limbo->blocks -= limbo->entries[i].blocks;
    } else {
      limbo->entries[kept++] = limbo->entries[i];
    }
  }
  limbo->count = kept;
}

uint64_t store_limbo_end(const store_limbo *limbo) {
  uint64_t end = 0;
  for (size_t i = 0; i < limbo->count; i++) {
    uint64_t behind = limbo->entries[i].block + limbo->entries[i].blocks;
    if (behind > end) end = behind;
  }
  return end;
}
