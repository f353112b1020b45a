/* core/txn/write_set.h: what one transaction has written and not yet committed, in key order.
 *
 * One ordered tree per keyspace (a B+tree in the transaction's arena). A key that was written stays in the set for
 * the life of the transaction: a delete is an entry of its own kind, a second put changes the entry's value. So
 * entries never move and never go away, which is what lets a cursor hold on to one while the transaction goes on
 * writing: `changes` tells it to look again.
 *
 * Memory comes from the arena and goes back as a whole. A write that fails for memory leaves the set as it was.
 * Thread rules: one thread at a time; any number of readers while nobody writes. */
#ifndef KL_TXN_WRITE_SET_H
#define KL_TXN_WRITE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/arena.h"
#include "../base/slice.h"
#include "../base/status.h"
#include "../delta/delta.h"

/* The last write to one key. Its address is stable; `value` and `kind` change with later writes. */
typedef struct kl_write_entry {
  uint8_t *value; /* NULL when it has never had bytes */
  uint32_t value_size, value_capacity;
  uint16_t key_size;
  uint8_t kind; /* kl_version_kind */
  uint8_t key[];
} kl_write_entry;

typedef struct kl_write_leaf kl_write_leaf;

/* The writes to one keyspace. */
typedef struct kl_write_tree {
  uint32_t keyspace;
  uint32_t height; /* inner levels above the leaves */
  void *root;
  kl_write_leaf *first, *last;
  uint64_t count;   /* entries */
  uint64_t changes; /* +1 for every write: a position is current while this has not moved */
} kl_write_tree;

typedef struct kl_write_set {
  kl_arena arena;
  kl_write_tree **trees; /* ascending keyspace ids */
  uint32_t tree_count, tree_capacity;
  kl_write_tree *recent;  /* the tree that was written last */
  uint64_t count;         /* entries in all trees */
  uint64_t encoded_bytes; /* of all entries as log operations (wal/commit_record.h) */
  uint64_t payload_bytes; /* of all keys and values */
} kl_write_set;

void kl_write_set_init(kl_write_set *set, kl_allocator *allocator);
void kl_write_set_reset(kl_write_set *set);   /* empty again, some memory kept for the next use */
void kl_write_set_destroy(kl_write_set *set); /* all memory goes; init again before reuse */

/* Sets the key to a value (KL_VERSION_PUT) or to deleted (KL_VERSION_DELETE, empty value). The bytes are copied; they
 * may come from the set itself. */
kl_status kl_write_set_write(kl_write_set *set, uint32_t keyspace, kl_slice key, kl_version_kind kind, kl_slice value,
                             kl_error *err);

/* NULL when the transaction has not written to the keyspace, or to the key. */
kl_write_tree *kl_write_set_tree(const kl_write_set *set, uint32_t keyspace);
const kl_write_entry *kl_write_tree_find(const kl_write_tree *tree, kl_slice key);

/* A place in a tree; entry is NULL when there is none. Invalid once tree->changes has moved. */
typedef struct kl_write_position {
  kl_write_leaf *leaf;
  uint32_t index;
  const kl_write_entry *entry;
} kl_write_position;

void kl_write_tree_first(const kl_write_tree *tree, kl_write_position *out);
void kl_write_tree_last(const kl_write_tree *tree, kl_write_position *out);
void kl_write_tree_seek_ge(const kl_write_tree *tree, kl_slice key, kl_write_position *out);
void kl_write_tree_seek_le(const kl_write_tree *tree, kl_slice key, kl_write_position *out);
void kl_write_position_next(kl_write_position *position); /* entry is not NULL */
void kl_write_position_prev(kl_write_position *position);

static inline kl_slice kl_write_entry_key(const kl_write_entry *entry) {
  return kl_slice_make(entry->key, entry->key_size);
}
static inline kl_slice kl_write_entry_value(const kl_write_entry *entry) {
  return kl_slice_make(entry->value, entry->value_size);
}

#endif
