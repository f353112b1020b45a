/* tests/support/tree_page_use.h: does everything with a page that kl_tree_page_check has accepted.
 *
 * For bytes from anywhere: whatever is in an accepted page, every read ends, stays inside of the page (the sanitizers
 * see to that; give a block of exactly the page's size), and the ways to read agree with each other. */
#ifndef KEEL_TESTS_TREE_PAGE_USE_H
#define KEEL_TESTS_TREE_PAGE_USE_H

#include <stdlib.h>
#include <string.h>

#include "core/tree/tree.h"

typedef struct tree_page_use {
  const uint8_t *page;
  uint8_t *written[8]; /* what a merge places: address = index + 2 */
  size_t count;
} tree_page_use;

/* Every pointer but the merge's own leads to the page: children of an inner page are of a wrong level. */
static inline kl_status tree_page_use_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out,
                                           kl_error *err) {
  tree_page_use *use = context;
  (void)err;
  bool own = pointer->checksum == 0xfeed && pointer->address >= 2 && pointer->address - 2 < use->count;
  *out = own ? use->written[pointer->address - 2] : use->page;
  return KL_OK;
}

static inline kl_status tree_page_use_write(void *context, const void *page, size_t length, kl_tree_pointer *out,
                                            kl_error *err) {
  tree_page_use *use = context;
  uint8_t *copy = use->count < 8 ? aligned_alloc(16, (length + 15) / 16 * 16) : NULL;
  if (copy == NULL) return kl_fail(err, KL_E_LIMIT, "too many pages");
  memcpy(copy, page, length);
  use->written[use->count++] = copy;
  *out = (kl_tree_pointer){use->count + 1, (uint32_t)length, 0xfeed, 1};
  return kl_tree_page_check(copy, length, out, err);
}

static inline kl_status tree_page_use_next(void *context, kl_tree_change *out, kl_error *err) {
  int *left = context;
  (void)err;
  if (--*left < 0) return KL_E_NOT_FOUND;
  out->kind = KL_TREE_PUT;
  out->key = kl_slice_make(*left == 1 ? "K" : "k", 1);
  out->value = kl_slice_make("value", 5);
  return KL_OK;
}

/* Point reads of the row that a cursor is at. */
static inline bool tree_page_use_row(const kl_tree_source *source, const kl_tree_pointer *root, const kl_tree_row *row,
                                     uint64_t number) {
  kl_tree_value one, many;
  kl_slice key = row->key;
  uint64_t rank = 0;
  uint8_t bytes[KL_TREE_KEY_MAX];
  size_t size = 0;
  if (kl_tree_get(source, root, key, &one, NULL) != KL_OK || one.bytes.data != row->value.bytes.data) return false;
  if (kl_tree_get_many(source, root, &key, 1, &many, NULL) != KL_OK || many.bytes.data != one.bytes.data) return false;
  if (kl_tree_rank(source, root, key, &rank, NULL) != KL_OK || rank != number) return false;
  if (kl_tree_select(source, root, number, bytes, &size, NULL) != KL_OK) return false;
  return kl_slice_equal(kl_slice_make(bytes, size), key);
}

/* By digest: the row that a cursor is at, and keys that are not there. */
static inline bool tree_page_use_digest(const kl_tree_source *source, const kl_tree_pointer *root,
                                        const kl_tree_row *row) {
  uint8_t longer[KL_TREE_KEY_MAX + 1];
  kl_tree_value with, without;
  kl_tree_source plain = *source;
  plain.digests = NULL;
  memcpy(longer, row->key.data, row->key.size);
  longer[row->key.size] = 0;
  for (size_t size = row->key.size == 0 ? 0 : row->key.size - 1; size <= row->key.size + 1; size++) {
    kl_slice key = kl_slice_make(longer, size);
    kl_status status = kl_tree_get(source, root, key, &with, NULL);
    if (status != kl_tree_get(&plain, root, key, &without, NULL)) return false;
    if (status != KL_OK) continue;
    if (with.bytes.data != without.bytes.data || with.bytes.size != without.bytes.size) return false;
    if (with.is_extent != without.is_extent) return false;
  }
  return true;
}

/* A merge over it: a tree of it and two more rows, or, for an inner page, an error. */
static inline bool tree_page_use_merge(tree_page_use *use, const kl_tree_source *source, const kl_tree_pointer *root) {
  int left = 2;
  kl_error err = {0};
  kl_tree_pointer merged;
  kl_tree_sink sink = {tree_page_use_write, NULL, use};
  kl_tree_changes changes = {tree_page_use_next, &left};
  kl_tree_visitor visitor = {NULL, NULL, NULL};
  kl_tree_merge_options options = {
      .allocator = kl_allocator_libc(), .page_size = KL_TREE_PAGE_MAX, .source = source, .sink = &sink};
  kl_status status = kl_tree_merge(&options, root, &changes, &merged, NULL, &err);
  bool good = status == KL_OK
                  ? kl_tree_walk(options.allocator, source, KL_TREE_PAGE_MAX, &merged, &visitor, &err) == KL_OK
                  : status == KL_E_CORRUPT;
  while (use->count > 0) free(use->written[--use->count]);
  return good;
}

/* False: two ways to read do not agree, or a status is not one of those that a damaged tree may give. */
static inline bool tree_page_use_all(const uint8_t *page, size_t size) {
  static const char *const keys[] = {"", "a", "k000", "zzzzzzzz", "\xff\xff\xff\xff\xff"};
  tree_page_use use = {.page = page};
  kl_tree_source source = {.load = tree_page_use_load, .context = &use}, digested = source;
  _Alignas(16) uint8_t digest[KL_TREE_DIGEST_SIZE];
  kl_tree_pointer root = {1, (uint32_t)size, 0, 1};
  kl_tree_cursor cursor;
  kl_tree_row row;
  uint64_t number = 0;
  bool is_leaf = page[5] == 0;
  kl_status allowed = is_leaf ? KL_OK : KL_E_CORRUPT;
  kl_tree_digest(page, digest, sizeof digest);
  digested.frames = page;
  digested.frames_size = KL_TREE_PAGE_MIN;
  digested.digests = digest;
  kl_tree_cursor_init(&cursor, &source, &root);
  kl_status status = kl_tree_cursor_first(&cursor, NULL);
  if (status != allowed) return false;
  for (; status == KL_OK; status = kl_tree_cursor_next(&cursor, NULL), number++) {
    if (kl_tree_cursor_row(&cursor, &row, NULL) != KL_OK || !tree_page_use_row(&source, &root, &row, number))
      return false;
    if (!tree_page_use_digest(&digested, &root, &row)) return false;
  }
  for (status = kl_tree_cursor_last(&cursor, NULL); status == KL_OK; status = kl_tree_cursor_prev(&cursor, NULL))
    number--;
  if (is_leaf && number != 0) return false;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    kl_slice key = kl_slice_make(keys[i], strlen(keys[i]));
    kl_tree_value value;
    status = kl_tree_get(&source, &root, key, &value, NULL);
    if (status != allowed && !(is_leaf && status == KL_E_NOT_FOUND)) return false;
    status = kl_tree_cursor_seek_ge(&cursor, key, NULL);
    if (status != allowed && !(is_leaf && status == KL_E_NOT_FOUND)) return false;
    status = kl_tree_cursor_seek_le(&cursor, key, NULL);
    if (status != allowed && !(is_leaf && status == KL_E_NOT_FOUND)) return false;
  }
  return tree_page_use_merge(&use, &source, &root);
}

#endif
