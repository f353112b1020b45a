/* core/txn/run.c: see run.h. */
#include "run.h"

#include <string.h>

#include "../base/assert.h"

kl_status kl_run_new(kl_allocator *allocator, kl_run **out, kl_error *err) {
  kl_run *run = kl_alloc(allocator, sizeof *run);
  if (run == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to move a transaction's writes to the file");
  run->allocator = allocator;
  atomic_init(&run->references, 1);
  *out = run;
  return KL_OK;
}

void kl_run_ref(kl_run *run) {
  atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
}

void kl_run_unref(kl_run *run) {
  /* Release: our use ends before; acquire: the one that frees has seen all others end. */
  if (run == NULL || atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel) != 1) return;
  kl_free(run->allocator, run->parts, run->part_capacity * sizeof *run->parts);
  kl_free(run->allocator, run->ranges, run->range_capacity * sizeof *run->ranges);
  kl_free(run->allocator, run->ids, run->id_capacity * sizeof *run->ids);
  kl_free(run->allocator, run->free_ids, run->free_capacity * sizeof *run->free_ids);
  kl_free(run->allocator, run, sizeof *run);
}

/* Room for one more. */
static kl_status run_grow(kl_run *run, void **list, size_t count, size_t *capacity, size_t unit, kl_error *err) {
  if (count < *capacity) return KL_OK;
  size_t larger = *capacity == 0 ? 4 : 2 * *capacity;
  void *grown = kl_realloc(run->allocator, *list, *capacity * unit, larger * unit);
  if (grown == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to list what a transaction has in the file");
  *list = grown;
  *capacity = larger;
  return KL_OK;
}

kl_status kl_run_reserve_part(kl_run *run, kl_error *err) {
  void *list = run->parts;
  kl_status status = run_grow(run, &list, run->part_count, &run->part_capacity, sizeof *run->parts, err);
  run->parts = list;
  return status;
}

void kl_run_add_part(kl_run *run, const kl_run_part *part) {
  KL_ASSERT(run->part_count < run->part_capacity);
  run->parts[run->part_count++] = *part;
}

void kl_run_remove_part(kl_run *run, size_t index) {
  KL_ASSERT(index < run->part_count);
  memmove(&run->parts[index], &run->parts[index + 1], (run->part_count - index - 1) * sizeof *run->parts);
  run->part_count--;
}

kl_status kl_run_add_id(kl_run *run, uint32_t id, kl_error *err) {
  void *list = run->ids, *free_list = run->free_ids;
  kl_status status = run_grow(run, &list, run->id_count, &run->id_capacity, sizeof id, err);
  run->ids = list;
  if (status == KL_OK) status = run_grow(run, &free_list, run->id_count, &run->free_capacity, sizeof id, err);
  run->free_ids = free_list;
  if (status == KL_OK) run->ids[run->id_count++] = id;
  return status;
}

void kl_run_put_free(kl_run *run, uint32_t id) {
  if (id == 0) return;
  KL_ASSERT(run->free_count < run->id_count);
  run->free_ids[run->free_count++] = id;
}

uint32_t kl_run_take_free(kl_run *run) {
  return run->free_count != 0 ? run->free_ids[--run->free_count] : 0;
}

static kl_run_range *run_range(const kl_run *run, uint32_t keyspace) {
  for (size_t i = 0; i < run->range_count; i++) {
    if (run->ranges[i].keyspace == keyspace) return &run->ranges[i];
  }
  return NULL;
}

static void run_set_bound(uint8_t *to, uint16_t *to_size, kl_slice key) {
  if (key.size != 0) memcpy(to, key.data, key.size);
  *to_size = (uint16_t)key.size;
}

kl_status kl_run_widen(kl_run *run, uint32_t keyspace, kl_slice low, kl_slice high, kl_error *err) {
  kl_run_range *range = run_range(run, keyspace);
  if (range == NULL) {
    void *list = run->ranges;
    kl_status status = run_grow(run, &list, run->range_count, &run->range_capacity, sizeof *range, err);
    run->ranges = list;
    if (status != KL_OK) return status;
    size_t at = run->range_count;
    while (at > 0 && run->ranges[at - 1].keyspace > keyspace) at--;
    range = &run->ranges[at];
    memmove(range + 1, range, (run->range_count++ - at) * sizeof *range);
    range->keyspace = keyspace;
    run_set_bound(range->low, &range->low_size, low);
    run_set_bound(range->high, &range->high_size, high);
    return KL_OK;
  }
  if (kl_slice_compare(low, kl_slice_make(range->low, range->low_size)) < 0) {
    run_set_bound(range->low, &range->low_size, low);
  }
  if (kl_slice_compare(high, kl_slice_make(range->high, range->high_size)) > 0) {
    run_set_bound(range->high, &range->high_size, high);
  }
  return KL_OK;
}

bool kl_run_has(const kl_run *run, uint32_t keyspace) {
  return run_range(run, keyspace) != NULL;
}

bool kl_run_covers(const kl_run *run, uint32_t keyspace, kl_slice key) {
  const kl_run_range *range = run_range(run, keyspace);
  return range != NULL && kl_slice_compare(key, kl_slice_make(range->low, range->low_size)) >= 0 &&
         kl_slice_compare(key, kl_slice_make(range->high, range->high_size)) <= 0;
}

bool kl_run_owns(const kl_run *run, uint32_t id) {
  for (size_t i = 0; i < run->id_count; i++) {
    if (run->ids[i] == id) return true;
  }
  return false;
}

/* KL_OK: the keyspace's tree has the key. */
static kl_status run_contains(kl_roots *roots, uint32_t id, kl_slice key, kl_tree_pointer *out_root, kl_error *err) {
  if (id == 0) return KL_E_NOT_FOUND;
  kl_status status = kl_roots_find(roots, id, out_root, err);
  if (status != KL_OK) return status;
  return kl_pages_contains(kl_roots_pages(roots), out_root, key, err);
}

kl_status kl_run_find(const kl_run *run, kl_roots *roots, uint32_t keyspace, kl_slice key, bool *out_deleted,
                      kl_tree_pointer *out_root, kl_error *err) {
  if (!kl_run_covers(run, keyspace, key)) return KL_E_NOT_FOUND;
  for (size_t i = run->part_count; i-- > 0;) {
    const kl_run_part *part = &run->parts[i];
    if (part->keyspace != keyspace) continue;
    kl_status status = run_contains(roots, part->trees.puts, key, out_root, err);
    *out_deleted = false;
    if (status != KL_E_NOT_FOUND) return status;
    kl_tree_pointer deletes;
    status = run_contains(roots, part->trees.deletes, key, &deletes, err);
    *out_deleted = true;
    if (status != KL_E_NOT_FOUND) return status;
  }
  return KL_E_NOT_FOUND;
}
