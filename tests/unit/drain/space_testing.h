/* tests/unit/drain/space_testing.h: the blocks of the newest checkpoint, reached and used. */
#ifndef KEEL_TESTS_SPACE_TESTING_H
#define KEEL_TESTS_SPACE_TESTING_H

#include "drain_testing.h"

/* Reads pages of the newest checkpoint, one at a time: a walk copies each. */
typedef struct space_check {
  kl_store *store;
  uint8_t *blocks; /* one byte each: it was reached */
  uint64_t count, reached, used;
  _Alignas(64) uint8_t page[KL_TREE_PAGE_MAX];
} space_check;

static inline kl_status space_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page,
                                   kl_error *err) {
  space_check *check = context;
  *out_page = check->page;
  return kl_store_read(check->store, pointer->address, check->page, pointer->length, err);
}

static inline kl_status space_reach(space_check *check, uint64_t address, uint64_t bytes) {
  uint64_t end = (address + bytes + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE;
  assert_true(end <= check->count);
  for (uint64_t block = address / KL_BLOCK_SIZE; block < end; block++) {
    if (check->blocks[block] != 0) fail_msg("block %llu is reached twice", (unsigned long long)block);
    check->blocks[block] = 1;
    check->reached++;
  }
  return KL_OK;
}

static inline kl_status space_page(void *context, const kl_tree_pointer *pointer, uint32_t level, kl_error *err) {
  (void)level;
  (void)err;
  return space_reach(context, pointer->address, pointer->length);
}

static inline kl_status space_extent(void *context, kl_slice key, const kl_tree_extent *extent, kl_error *err) {
  (void)key;
  (void)err;
  return space_reach(context, extent->address, extent->stored);
}

static inline kl_status space_used(void *context, uint64_t address, uint64_t bytes, bool is_map, kl_error *err) {
  space_check *check = context;
  (void)err;
  for (uint64_t at = address; !is_map && at < address + bytes; at += KL_BLOCK_SIZE) {
    if (check->blocks[at / KL_BLOCK_SIZE] == 0) fail_msg("block %llu is lost", (unsigned long long)at / KL_BLOCK_SIZE);
    check->used++;
  }
  return KL_OK;
}

/* The trees reach each block once, and the space map has those as used and no others. */
static inline void check_used(drain_db *db) {
  static space_check check;
  kl_tree_source source = {.load = space_load, .context = &check};
  kl_tree_visitor visitor = {space_page, space_extent, &check};
  kl_store_space space;
  kl_store_get_space(db->store, &space);
  check.store = db->store;
  check.count = space.blocks_end / KL_BLOCK_SIZE;
  check.blocks = calloc(check.count + 1, 1);
  assert_non_null(check.blocks);
  check.reached = check.used = 0;
  for (uint32_t i = 0; i <= DRAIN_SPACES; i++) {
    kl_tree_pointer root;
    DRAIN_MUST(kl_roots_find(db->roots, i, &root, &must));
    DRAIN_MUST(kl_tree_walk(db->allocator, &source, db->page_size, &root, &visitor, &must));
  }
  DRAIN_MUST(kl_store_walk_used(db->store, space_used, &check, &must));
  assert_int_equal(check.reached, check.used);
  free(check.blocks);
}

#endif
