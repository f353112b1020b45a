/* tests/unit/tree/tree_testing.h: trees in memory, and a sorted model to compare them with.
 *
 * tree_pages is a source and a sink in one. Each page lies in a block of exactly its size, so that the sanitizers see
 * a read beyond it, and is never written after it was placed. Freed pages are destroyed once no kept root can reach
 * them (tree_pages_forget), so that a page that was reported freed too early is a failed load. Any call can be made to
 * fail. */
#ifndef KEEL_TESTS_TREE_TESTING_H
#define KEEL_TESTS_TREE_TESTING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/crc32c.h"
#include "core/base/rng.h"
#include "core/tree/tree.h"
#include "failing_allocator.h"
#include "seed.h"

typedef struct tree_block {
  uint8_t *bytes; /* NULL: destroyed */
  uint32_t size, crc;
  uint64_t birth, died; /* died 0: alive */
  uint64_t seen;        /* by the walk of this number */
} tree_block;

typedef struct tree_pages {
  tree_block *block; /* address = index + 1 */
  size_t count, capacity;
  tree_block *extent; /* the same for extents, without bytes */
  size_t extent_count, extent_capacity;
  uint64_t version; /* of the merge under way; births and deaths */
  uint64_t walk;
  size_t alive, alive_extents; /* allocated - freed */
  uint64_t calls, fail_at;     /* the n-th call of any callback fails with KL_E_IO; 0: none */
  uint64_t loads, prefetches, pauses;
  size_t largest;
  kl_tree_source source;
  kl_tree_sink sink;
  kl_tree_freed freed;
} tree_pages;

static inline bool tree_pages_fails(tree_pages *pages) {
  return ++pages->calls == pages->fail_at;
}

static inline tree_block *tree_block_new(tree_block **array, size_t *count, size_t *capacity) {
  if (*count == *capacity) {
    *capacity = *capacity == 0 ? 256 : *capacity * 2;
    *array = realloc(*array, *capacity * sizeof **array);
    assert_non_null(*array);
  }
  memset(&(*array)[*count], 0, sizeof **array);
  return &(*array)[(*count)++];
}

static inline kl_status tree_pages_write(void *context, const void *page, size_t length, kl_tree_pointer *out,
                                         kl_error *err) {
  tree_pages *pages = context;
  if (tree_pages_fails(pages)) return kl_fail(err, KL_E_IO, "write was made to fail");
  tree_block *block = tree_block_new(&pages->block, &pages->count, &pages->capacity);
  block->bytes = aligned_alloc(16, (length + 15) / 16 * 16);
  assert_non_null(block->bytes);
  memcpy(block->bytes, page, length);
  block->size = (uint32_t)length;
  block->crc = kl_crc32c(0, page, length);
  block->birth = pages->version;
  pages->alive++;
  if (length > pages->largest) pages->largest = length;
  *out = (kl_tree_pointer){pages->count, (uint32_t)length, block->crc, pages->version};
  return kl_tree_page_check(block->bytes, length, out, err); /* whatever is written must be believed */
}

static inline kl_status tree_pages_write_extent(void *context, kl_slice value, kl_tree_extent *out, kl_error *err) {
  tree_pages *pages = context;
  if (tree_pages_fails(pages)) return kl_fail(err, KL_E_IO, "write was made to fail");
  tree_block *block = tree_block_new(&pages->extent, &pages->extent_count, &pages->extent_capacity);
  block->crc = kl_crc32c(0, value.data, value.size);
  block->birth = pages->version;
  pages->alive_extents++;
  *out = (kl_tree_extent){pages->extent_count, value.size, value.size, pages->version, block->crc, 0};
  return KL_OK;
}

static inline kl_status tree_pages_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out,
                                        kl_error *err) {
  tree_pages *pages = context;
  pages->loads++;
  if (tree_pages_fails(pages)) return kl_fail(err, KL_E_IO, "read was made to fail");
  assert_in_range(pointer->address, 1, pages->count);
  const tree_block *block = &pages->block[pointer->address - 1];
  assert_non_null(block->bytes);
  assert_int_equal(pointer->length, block->size);
  assert_int_equal(pointer->checksum, block->crc);
  assert_int_equal(pointer->birth, block->birth);
  *out = block->bytes;
  return KL_OK;
}

static inline void tree_pages_prefetch(void *context, const kl_tree_pointer *pointer) {
  (void)pointer;
  ((tree_pages *)context)->prefetches++;
}

static inline void tree_pages_pause(void *context) {
  ((tree_pages *)context)->pauses++;
}

static inline kl_status tree_pages_free_page(void *context, const kl_tree_pointer *pointer, kl_error *err) {
  tree_pages *pages = context;
  if (tree_pages_fails(pages)) return kl_fail(err, KL_E_IO, "freeing was made to fail");
  tree_block *block = &pages->block[pointer->address - 1];
  assert_int_equal(block->died, 0); /* freed once */
  block->died = pages->version;
  pages->alive--;
  return KL_OK;
}

static inline kl_status tree_pages_free_extent(void *context, const kl_tree_extent *extent, kl_error *err) {
  tree_pages *pages = context;
  if (tree_pages_fails(pages)) return kl_fail(err, KL_E_IO, "freeing was made to fail");
  tree_block *block = &pages->extent[extent->address - 1];
  assert_int_equal(block->died, 0);
  assert_int_equal(extent->checksum, block->crc);
  assert_int_equal(extent->birth, block->birth);
  block->died = pages->version;
  pages->alive_extents--;
  return KL_OK;
}

static inline void tree_pages_init(tree_pages *pages) {
  memset(pages, 0, sizeof *pages);
  pages->version = 1;
  pages->source = (kl_tree_source){
      .load = tree_pages_load, .prefetch = tree_pages_prefetch, .pause = tree_pages_pause, .context = pages};
  pages->sink = (kl_tree_sink){tree_pages_write, tree_pages_write_extent, pages};
  pages->freed = (kl_tree_freed){tree_pages_free_page, tree_pages_free_extent, pages};
}

/* Destroys what died at or before `version`: only roots of later versions are read from now on. */
static inline void tree_pages_forget(tree_pages *pages, uint64_t version) {
  for (size_t i = 0; i < pages->count; i++) {
    tree_block *block = &pages->block[i];
    if (block->died == 0 || block->died > version) continue;
    free(block->bytes);
    block->bytes = NULL;
  }
}

/* Undoes a merge that failed: what it placed is discarded, and what it called free is not. */
static inline void tree_pages_abandon(tree_pages *pages) {
  for (size_t i = 0; i < pages->count; i++) {
    tree_block *block = &pages->block[i];
    if (block->died == pages->version && block->birth != pages->version) {
      block->died = 0;
      pages->alive++;
    }
    if (block->birth == pages->version && block->bytes != NULL) {
      if (block->died == 0) pages->alive--;
      block->died = pages->version;
      free(block->bytes);
      block->bytes = NULL;
    }
  }
  for (size_t i = 0; i < pages->extent_count; i++) {
    tree_block *block = &pages->extent[i];
    if (block->died == pages->version && block->birth != pages->version) {
      block->died = 0;
      pages->alive_extents++;
    } else if (block->birth == pages->version && block->died == 0) {
      block->died = pages->version;
      pages->alive_extents--;
    }
  }
}

static inline void tree_pages_destroy(tree_pages *pages) {
  for (size_t i = 0; i < pages->count; i++) free(pages->block[i].bytes);
  free(pages->block);
  free(pages->extent);
}

/* -------- the model -------- */

typedef struct tree_model_row {
  uint8_t *key; /* shared between models: belongs to the test's pool */
  uint8_t *value;
  size_t key_size, value_size;
} tree_model_row;

typedef struct tree_model {
  tree_model_row *row; /* ascending */
  size_t count;
} tree_model;

/* Memory of keys and values, freed as a whole. */
typedef struct tree_pool {
  void **block;
  size_t count, capacity;
} tree_pool;

static inline uint8_t *tree_pool_bytes(tree_pool *pool, size_t size) {
  if (pool->count == pool->capacity) {
    pool->capacity = pool->capacity == 0 ? 1024 : pool->capacity * 2;
    pool->block = realloc(pool->block, pool->capacity * sizeof *pool->block);
    assert_non_null(pool->block);
  }
  uint8_t *bytes = malloc(size != 0 ? size : 1);
  assert_non_null(bytes);
  pool->block[pool->count++] = bytes;
  return bytes;
}

static inline void tree_pool_free(tree_pool *pool) {
  for (size_t i = 0; i < pool->count; i++) free(pool->block[i]);
  free(pool->block);
  memset(pool, 0, sizeof *pool);
}

static inline kl_slice tree_model_key(const tree_model_row *row) {
  return kl_slice_make(row->key, row->key_size);
}

static inline int tree_model_compare(const void *a, const void *b) {
  return kl_slice_compare(tree_model_key(a), tree_model_key(b));
}

/* The first row at or behind `key`. */
static inline size_t tree_model_seek(const tree_model *model, kl_slice key) {
  size_t low = 0, high = model->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (kl_slice_compare(tree_model_key(&model->row[middle]), key) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* A run of changes: rows whose value is NULL are deletes. Sorted, without repeats. */
typedef struct tree_run {
  tree_model_row *row;
  size_t count, at;
  tree_pages *pages; /* its calls can be made to fail; NULL: they cannot */
} tree_run;

static inline void tree_run_sort(tree_run *run) {
  size_t kept = 0;
  qsort(run->row, run->count, sizeof *run->row, tree_model_compare);
  for (size_t i = 0; i < run->count; i++) {
    if (kept == 0 || tree_model_compare(&run->row[kept - 1], &run->row[i]) != 0) run->row[kept++] = run->row[i];
  }
  run->count = kept;
  run->at = 0;
}

static inline kl_status tree_run_next(void *context, kl_tree_change *out, kl_error *err) {
  tree_run *run = context;
  if (run->pages != NULL && tree_pages_fails(run->pages)) return kl_fail(err, KL_E_IO, "change was made to fail");
  if (run->at == run->count) return KL_E_NOT_FOUND;
  const tree_model_row *row = &run->row[run->at++];
  out->kind = row->value == NULL ? KL_TREE_DELETE : KL_TREE_PUT;
  out->key = kl_slice_make(row->key, row->key_size);
  out->value = kl_slice_make(row->value, row->value_size);
  return KL_OK;
}

static inline tree_model tree_model_merge(const tree_model *old, const tree_run *run) {
  tree_model model = {malloc((old->count + run->count + 1) * sizeof *old->row), 0};
  size_t i = 0, j = 0;
  assert_non_null(model.row);
  while (i < old->count || j < run->count) {
    int order = i == old->count ? 1 : j == run->count ? -1 : tree_model_compare(&old->row[i], &run->row[j]);
    if (order < 0) {
      model.row[model.count++] = old->row[i++];
    } else {
      if (order == 0) i++;
      if (run->row[j].value != NULL) model.row[model.count++] = run->row[j];
      j++;
    }
  }
  return model;
}

/* What kl_tree_merge does, in parts cut at `cuts`, ascending: each part on its own, then joined. */
static inline kl_status tree_merge_in_parts(const kl_tree_merge_options *options, const kl_tree_pointer *root,
                                            tree_run *run, const kl_slice *cuts, size_t cut_count,
                                            kl_tree_pointer *out_root, kl_tree_merge_stats *stats, kl_error *err) {
  kl_tree_part *parts = calloc(cut_count + 1, sizeof *parts);
  tree_model changes = {run->row, run->count};
  kl_status status = KL_OK;
  size_t from = 0;
  kl_tree_merge_stats one = {0};
  assert_non_null(parts);
  for (size_t i = 0; i <= cut_count && status == KL_OK; i++) {
    if (i != 0) parts[i].low = cuts[i - 1];
    parts[i].has_high = i < cut_count;
    if (i < cut_count) parts[i].high = cuts[i];
    size_t end = i < cut_count ? tree_model_seek(&changes, cuts[i]) : run->count;
    tree_run own = {run->row + from, end - from, 0, run->pages};
    kl_tree_changes next = {tree_run_next, &own};
    status = kl_tree_merge_part(options, root, &next, &parts[i], &one, err);
    stats->puts += one.puts;
    stats->deletes += one.deletes;
    stats->pages_written += one.pages_written;
    stats->pages_freed += one.pages_freed;
    if (status == KL_OK) assert_int_equal(own.at, own.count);
    from = end;
  }
  run->at = run->count;
  if (status == KL_OK) status = kl_tree_join(options, root, parts, cut_count + 1, out_root, &one, err);
  if (status == KL_OK) {
    stats->pages_written += one.pages_written;
    stats->pages_freed += one.pages_freed;
    if (one.rows != 0) stats->rows = one.rows;
  }
  free(parts);
  return status;
}

static inline void tree_check_value(tree_pages *pages, uint32_t page_size, const tree_model_row *row,
                                    const kl_tree_value *value) {
  assert_true(value->found);
  assert_int_equal(value->is_extent, row->value_size > kl_tree_inline_max(page_size));
  if (value->is_extent) {
    kl_tree_extent extent;
    kl_tree_value_extent(value, &extent);
    assert_int_equal(extent.length, row->value_size);
    assert_int_equal(extent.checksum, kl_crc32c(0, row->value, row->value_size));
    assert_int_equal(pages->extent[extent.address - 1].birth, extent.birth);
  } else {
    assert_true(kl_slice_equal(value->bytes, kl_slice_make(row->value, row->value_size)));
  }
}

/* -------- comparing -------- */

/* A tree as it was at a version. */
typedef struct tree_state {
  kl_tree_pointer root;
  tree_model model;
  uint64_t version;
} tree_state;

/* Every row, forward and back. */
static inline void tree_check_scan(tree_pages *pages, uint32_t page_size, const tree_state *state) {
  kl_tree_cursor cursor;
  kl_tree_row row;
  kl_tree_cursor_init(&cursor, &pages->source, &state->root);
  kl_status status = kl_tree_cursor_first(&cursor, NULL);
  for (size_t i = 0; i < state->model.count; i++) {
    assert_int_equal(status, KL_OK);
    assert_int_equal(kl_tree_cursor_row(&cursor, &row, NULL), KL_OK);
    assert_true(kl_slice_equal(row.key, tree_model_key(&state->model.row[i])));
    tree_check_value(pages, page_size, &state->model.row[i], &row.value);
    status = kl_tree_cursor_next(&cursor, NULL);
  }
  assert_int_equal(status, KL_E_NOT_FOUND);
  assert_int_equal(kl_tree_cursor_row(&cursor, &row, NULL), KL_E_NOT_FOUND);
  status = kl_tree_cursor_last(&cursor, NULL);
  for (size_t i = state->model.count; i > 0; i--) {
    assert_int_equal(status, KL_OK);
    assert_int_equal(kl_tree_cursor_row(&cursor, &row, NULL), KL_OK);
    assert_true(kl_slice_equal(row.key, tree_model_key(&state->model.row[i - 1])));
    status = kl_tree_cursor_prev(&cursor, NULL);
  }
  assert_int_equal(status, KL_E_NOT_FOUND);
}

static inline kl_status tree_check_visit(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err) {
  tree_pages *pages = context;
  tree_block *block = &pages->block[pointer->address - 1];
  (void)level;
  (void)err;
  assert_int_not_equal(block->seen, pages->walk); /* a tree, not a web */
  assert_int_equal(block->died, 0);
  block->seen = pages->walk;
  return KL_OK;
}

static inline kl_status tree_check_visit_extent(void *context, kl_slice key, const kl_tree_extent *extent,
                                                kl_error *err) {
  tree_pages *pages = context;
  tree_block *block = &pages->extent[extent->address - 1];
  (void)key;
  (void)err;
  assert_int_not_equal(block->seen, pages->walk);
  assert_int_equal(block->died, 0);
  block->seen = pages->walk;
  return KL_OK;
}

/* TREE-8: allocated - freed = reachable, page by page and extent by extent. For the newest root. */
static inline void tree_check_reachable(tree_pages *pages, uint32_t page_size, const kl_tree_pointer *root) {
  kl_error err = {0};
  kl_tree_visitor visitor = {tree_check_visit, tree_check_visit_extent, pages};
  size_t reached = 0, extents = 0;
  pages->walk++;
  kl_status status = kl_tree_walk(kl_allocator_libc(), &pages->source, page_size, root, &visitor, &err);
  if (status != KL_OK) fail_msg("walk: %s", err.message);
  for (size_t i = 0; i < pages->count; i++) reached += pages->block[i].seen == pages->walk;
  for (size_t i = 0; i < pages->extent_count; i++) extents += pages->extent[i].seen == pages->walk;
  assert_int_equal(reached, pages->alive);
  assert_int_equal(extents, pages->alive_extents);
}

/* Reads around one key, in every way. */
static inline void tree_check_key(tree_pages *pages, uint32_t page_size, const tree_state *state, kl_slice key) {
  const tree_model *model = &state->model;
  size_t at = tree_model_seek(model, key);
  bool there = at < model->count && kl_slice_equal(tree_model_key(&model->row[at]), key);
  kl_tree_value value;
  kl_tree_cursor cursor;
  kl_tree_row row;
  uint64_t rank = 0;
  assert_int_equal(kl_tree_get(&pages->source, &state->root, key, &value, NULL), there ? KL_OK : KL_E_NOT_FOUND);
  if (there) tree_check_value(pages, page_size, &model->row[at], &value);
  assert_int_equal(kl_tree_rank(&pages->source, &state->root, key, &rank, NULL), KL_OK);
  assert_int_equal(rank, at);
  kl_tree_cursor_init(&cursor, &pages->source, &state->root);
  assert_int_equal(kl_tree_cursor_seek_ge(&cursor, key, NULL), at < model->count ? KL_OK : KL_E_NOT_FOUND);
  for (size_t i = at; i < model->count && i < at + 3; i++) {
    assert_int_equal(kl_tree_cursor_row(&cursor, &row, NULL), KL_OK);
    assert_true(kl_slice_equal(row.key, tree_model_key(&model->row[i])));
    if ((i & 1) != 0) kl_tree_cursor_park(&cursor);
    assert_int_equal(kl_tree_cursor_next(&cursor, NULL), i + 1 < model->count ? KL_OK : KL_E_NOT_FOUND);
  }
  size_t end = there ? at + 1 : at; /* rows at or before key */
  assert_int_equal(kl_tree_cursor_seek_le(&cursor, key, NULL), end > 0 ? KL_OK : KL_E_NOT_FOUND);
  for (size_t i = end; i > 0 && i + 3 > end; i--) {
    assert_int_equal(kl_tree_cursor_row(&cursor, &row, NULL), KL_OK);
    assert_true(kl_slice_equal(row.key, tree_model_key(&model->row[i - 1])));
    if ((i & 1) != 0) kl_tree_cursor_park(&cursor);
    assert_int_equal(kl_tree_cursor_prev(&cursor, NULL), i > 1 ? KL_OK : KL_E_NOT_FOUND);
  }
}

#endif
