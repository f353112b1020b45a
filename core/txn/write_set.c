/* core/txn/write_set.c: the ordered trees of a transaction's own writes. See write_set.h.
 *
 * A B+tree whose nodes hold, beside the pointers to the entries, the first eight bytes of each key as one number, so
 * that most comparisons touch one array. Full nodes are split on the way down, so that an insert never has to climb
 * back; a split that happens at the right edge leaves the left node full, which makes ascending puts fill nodes to
 * the brim, and a put behind the last key skips the descent altogether. Nothing is ever taken out, so nothing is ever
 * merged. */
#include "write_set.h"

#include <string.h>

#include "../base/assert.h"
#include "../base/endian.h"
#include "../wal/commit_record.h"

enum {
  WRITE_FANOUT = 32,
  WRITE_FIRST_TREES = 4,
  WRITE_VALUE_ALIGN = 1 /* values are bytes */
};

struct kl_write_leaf {
  kl_write_leaf *prev, *next;
  uint32_t count;
  uint64_t heads[WRITE_FANOUT]; /* write_head of each key, for comparing */
  kl_write_entry *entries[WRITE_FANOUT];
};

/* children[i] holds the keys below separators[i] and, for i > 0, at or above separators[i - 1]. */
typedef struct write_inner {
  uint32_t count; /* children */
  uint64_t heads[WRITE_FANOUT - 1];
  kl_write_entry *separators[WRITE_FANOUT - 1];
  void *children[WRITE_FANOUT];
} write_inner;

void kl_write_set_init(kl_write_set *set, kl_allocator *allocator) {
  memset(set, 0, sizeof *set);
  kl_arena_init(&set->arena, allocator);
}

static void write_set_forget(kl_write_set *set) {
  set->trees = NULL;
  set->tree_count = set->tree_capacity = 0;
  set->recent = NULL;
  set->count = set->encoded_bytes = set->payload_bytes = 0;
}

void kl_write_set_reset(kl_write_set *set) {
  kl_arena_reset(&set->arena);
  write_set_forget(set);
}

void kl_write_set_destroy(kl_write_set *set) {
  kl_arena_destroy(&set->arena);
  write_set_forget(set);
}

/* The first eight bytes as a big-endian number, zeros behind a shorter key: if the heads of two keys differ, they
 * order as the keys do; if they are equal, nothing is known. */
static uint64_t write_head(kl_slice key) {
  if (key.size >= 8) return kl_load_u64_be(key.data);
  uint8_t padded[8] = {0};
  if (key.size != 0) memcpy(padded, key.data, key.size);
  return kl_load_u64_be(padded);
}

static int write_compare(uint64_t head, kl_slice key, uint64_t other_head, const kl_write_entry *other) {
  if (head != other_head) return head < other_head ? -1 : 1;
  return kl_slice_compare(key, kl_write_entry_key(other));
}

/* The first of `count` slots whose key is at or above `key`. */
static uint32_t write_lower_bound(const uint64_t *heads, kl_write_entry *const *entries, uint32_t count, uint64_t head,
                                  kl_slice key, bool *out_equal) {
  uint32_t low = 0, high = count;
  *out_equal = false;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    int c = write_compare(head, key, heads[middle], entries[middle]);
    if (c == 0) {
      *out_equal = true;
      return middle;
    }
    if (c > 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* Which child of an inner node covers the key. */
static uint32_t write_child(const write_inner *inner, uint64_t head, kl_slice key) {
  bool equal;
  uint32_t i = write_lower_bound(inner->heads, inner->separators, inner->count - 1, head, key, &equal);
  return equal ? i + 1 : i;
}

static kl_write_leaf *write_leaf_for(const kl_write_tree *tree, uint64_t head, kl_slice key) {
  void *node = tree->root;
  for (uint32_t level = tree->height; level > 0; level--) {
    write_inner *inner = node;
    node = inner->children[write_child(inner, head, key)];
  }
  return node;
}

/* The trees of the keyspaces, sorted by id: where `keyspace` is or belongs. */
static uint32_t write_tree_slot(const kl_write_set *set, uint32_t keyspace) {
  uint32_t low = 0, high = set->tree_count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (set->trees[middle]->keyspace < keyspace) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

kl_write_tree *kl_write_set_tree(const kl_write_set *set, uint32_t keyspace) {
  if (set->recent != NULL && set->recent->keyspace == keyspace) return set->recent;
  uint32_t slot = write_tree_slot(set, keyspace);
  if (slot < set->tree_count && set->trees[slot]->keyspace == keyspace) return set->trees[slot];
  return NULL;
}

static kl_write_tree *write_tree_new(kl_write_set *set, uint32_t keyspace) {
  kl_write_leaf *leaf = kl_arena_alloc(&set->arena, sizeof *leaf, _Alignof(kl_write_leaf));
  kl_write_tree *tree = kl_arena_alloc(&set->arena, sizeof *tree, _Alignof(kl_write_tree));
  if (leaf == NULL || tree == NULL) return NULL;
  if (set->tree_count == set->tree_capacity) {
    uint32_t capacity = set->tree_capacity == 0 ? WRITE_FIRST_TREES : set->tree_capacity * 2;
    kl_write_tree **trees = kl_arena_alloc(&set->arena, capacity * sizeof *trees, _Alignof(kl_write_tree *));
    if (trees == NULL) return NULL;
    if (set->tree_count != 0) memcpy(trees, set->trees, set->tree_count * sizeof *trees);
    set->trees = trees;
    set->tree_capacity = capacity;
  }
  tree->keyspace = keyspace;
  tree->root = tree->first = tree->last = leaf;
  uint32_t slot = write_tree_slot(set, keyspace);
  memmove(set->trees + slot + 1, set->trees + slot, (set->tree_count - slot) * sizeof *set->trees);
  set->trees[slot] = tree;
  set->tree_count++;
  return tree;
}

/* How many of a full node's `count` slots stay on the left when it is split for a key that belongs at `slot`. */
static uint32_t write_split_at(uint32_t count, uint32_t slot, bool rightmost) {
  return rightmost && slot == count ? count - 1 : count / 2;
}

/* Splits the full leaf that is child `at` of `parent`, which has room. False: no memory, nothing changed. */
static bool write_split_leaf(kl_write_set *set, kl_write_tree *tree, write_inner *parent, uint32_t at, uint32_t slot) {
  kl_write_leaf *left = parent->children[at];
  kl_write_leaf *right = kl_arena_alloc(&set->arena, sizeof *right, _Alignof(kl_write_leaf));
  if (right == NULL) return false;
  uint32_t keep = write_split_at(left->count, slot, left == tree->last);
  right->count = left->count - keep;
  memcpy(right->heads, left->heads + keep, right->count * sizeof *right->heads);
  memcpy(right->entries, left->entries + keep, right->count * sizeof *right->entries);
  left->count = keep;
  right->prev = left;
  right->next = left->next;
  if (right->next != NULL) {
    right->next->prev = right;
  } else {
    tree->last = right;
  }
  left->next = right;
  uint32_t behind = parent->count - 1 - at;
  memmove(parent->heads + at + 1, parent->heads + at, behind * sizeof *parent->heads);
  memmove(parent->separators + at + 1, parent->separators + at, behind * sizeof *parent->separators);
  memmove(parent->children + at + 2, parent->children + at + 1, behind * sizeof *parent->children);
  parent->heads[at] = right->heads[0];
  parent->separators[at] = right->entries[0];
  parent->children[at + 1] = right;
  parent->count++;
  return true;
}

/* As above for an inner node: the separator between the halves moves up. */
static bool write_split_inner(kl_write_set *set, write_inner *parent, uint32_t at, uint32_t slot, bool rightmost) {
  write_inner *left = parent->children[at];
  write_inner *right = kl_arena_alloc(&set->arena, sizeof *right, _Alignof(write_inner));
  if (right == NULL) return false;
  uint32_t keep = write_split_at(left->count, slot + 1, rightmost);
  right->count = left->count - keep;
  memcpy(right->heads, left->heads + keep, (right->count - 1) * sizeof *right->heads);
  memcpy(right->separators, left->separators + keep, (right->count - 1) * sizeof *right->separators);
  memcpy(right->children, left->children + keep, right->count * sizeof *right->children);
  left->count = keep;
  uint32_t behind = parent->count - 1 - at;
  memmove(parent->heads + at + 1, parent->heads + at, behind * sizeof *parent->heads);
  memmove(parent->separators + at + 1, parent->separators + at, behind * sizeof *parent->separators);
  memmove(parent->children + at + 2, parent->children + at + 1, behind * sizeof *parent->children);
  parent->heads[at] = left->heads[keep - 1];
  parent->separators[at] = left->separators[keep - 1];
  parent->children[at + 1] = right;
  parent->count++;
  return true;
}

/* Puts an inner node above a full root, so that the root can be split like any other node. */
static bool write_grow(kl_write_set *set, kl_write_tree *tree) {
  write_inner *root = kl_arena_alloc(&set->arena, sizeof *root, _Alignof(write_inner));
  if (root == NULL) return false;
  root->count = 1;
  root->children[0] = tree->root;
  tree->root = root;
  tree->height++;
  return true;
}

static bool write_root_is_full(const kl_write_tree *tree) {
  if (tree->height == 0) return ((const kl_write_leaf *)tree->root)->count == WRITE_FANOUT;
  return ((const write_inner *)tree->root)->count == WRITE_FANOUT;
}

/* The leaf that the key belongs in, with room for one more; every full node on the way has been split. NULL: no memory;
 * the tree is then sound, with the splits made so far. */
static kl_write_leaf *write_leaf_with_room(kl_write_set *set, kl_write_tree *tree, uint64_t head, kl_slice key) {
  if (write_root_is_full(tree) && !write_grow(set, tree)) return NULL;
  void *node = tree->root;
  bool rightmost = true;
  for (uint32_t level = tree->height; level > 0; level--) {
    write_inner *inner = node;
    uint32_t at = write_child(inner, head, key);
    rightmost = rightmost && at == inner->count - 1;
    if (level == 1) {
      kl_write_leaf *leaf = inner->children[at];
      if (leaf->count == WRITE_FANOUT) {
        bool equal;
        uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
        if (!write_split_leaf(set, tree, inner, at, slot)) return NULL;
        at = write_child(inner, head, key);
      }
    } else {
      write_inner *child = inner->children[at];
      if (child->count == WRITE_FANOUT) {
        if (!write_split_inner(set, inner, at, write_child(child, head, key), rightmost)) return NULL;
        at = write_child(inner, head, key);
      }
    }
    node = inner->children[at];
  }
  return node;
}

static size_t write_encoded_size(uint32_t keyspace, kl_version_kind kind, size_t key_size, size_t value_size) {
  kl_op op = {keyspace, kind == KL_VERSION_PUT ? KL_OP_PUT : KL_OP_DELETE, {NULL, key_size}, {NULL, value_size}};
  return kl_op_encoded_size(&op);
}

/* Gives the entry its new value; the old bytes are overwritten when the new ones fit. False: no memory. */
static bool write_entry_set(kl_write_set *set, kl_write_entry *entry, kl_version_kind kind, kl_slice value) {
  if (value.size > entry->value_capacity) {
    uint8_t *bytes = kl_arena_alloc(&set->arena, value.size, WRITE_VALUE_ALIGN);
    if (bytes == NULL) return false;
    entry->value = bytes;
    entry->value_capacity = (uint32_t)value.size;
  }
  /* memmove: the new value may be a part of the old one, borrowed by the caller. */
  if (value.size != 0) memmove(entry->value, value.data, value.size);
  entry->value_size = (uint32_t)value.size;
  entry->kind = (uint8_t)kind;
  return true;
}

static bool write_entry_change(kl_write_set *set, kl_write_tree *tree, kl_write_entry *entry, kl_version_kind kind,
                               kl_slice value) {
  size_t old_size = entry->value_size;
  size_t old_encoded = write_encoded_size(tree->keyspace, (kl_version_kind)entry->kind, entry->key_size, old_size);
  if (!write_entry_set(set, entry, kind, value)) return false;
  set->encoded_bytes += write_encoded_size(tree->keyspace, kind, entry->key_size, value.size) - old_encoded;
  set->payload_bytes += value.size - old_size; /* modulo 2^64: right also when it shrinks */
  tree->changes++;
  return true;
}

/* Key and value in one block: the common entry is written once. */
static kl_write_entry *write_entry_new(kl_write_set *set, kl_slice key, kl_version_kind kind, kl_slice value) {
  size_t size = sizeof(kl_write_entry) + key.size + value.size;
  kl_write_entry *entry = kl_arena_alloc(&set->arena, size, _Alignof(kl_write_entry));
  if (entry == NULL) return NULL;
  entry->key_size = (uint16_t)key.size;
  entry->kind = (uint8_t)kind;
  if (key.size != 0) memcpy(entry->key, key.data, key.size);
  entry->value = entry->key + key.size;
  entry->value_size = entry->value_capacity = (uint32_t)value.size;
  if (value.size != 0) memcpy(entry->value, value.data, value.size);
  return entry;
}

static bool write_tree_write(kl_write_set *set, kl_write_tree *tree, kl_slice key, kl_version_kind kind,
                             kl_slice value) {
  uint64_t head = write_head(key);
  kl_write_leaf *leaf = tree->last;
  uint32_t slot = leaf->count;
  bool behind_all = slot != 0 && write_compare(head, key, leaf->heads[slot - 1], leaf->entries[slot - 1]) > 0;
  if (!behind_all || slot == WRITE_FANOUT) {
    leaf = write_leaf_for(tree, head, key);
    bool equal;
    slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
    if (equal) return write_entry_change(set, tree, leaf->entries[slot], kind, value);
    if (leaf->count == WRITE_FANOUT) {
      leaf = write_leaf_with_room(set, tree, head, key);
      if (leaf == NULL) {
        tree->changes++; /* some nodes on the way may have been split */
        return false;
      }
      slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
    }
  }
  kl_write_entry *entry = write_entry_new(set, key, kind, value);
  if (entry == NULL) {
    tree->changes++;
    return false;
  }
  KL_ASSERT(leaf->count < WRITE_FANOUT);
  memmove(leaf->heads + slot + 1, leaf->heads + slot, (leaf->count - slot) * sizeof *leaf->heads);
  memmove(leaf->entries + slot + 1, leaf->entries + slot, (leaf->count - slot) * sizeof *leaf->entries);
  leaf->heads[slot] = head;
  leaf->entries[slot] = entry;
  leaf->count++;
  tree->count++;
  tree->changes++;
  set->count++;
  set->encoded_bytes += write_encoded_size(tree->keyspace, kind, key.size, value.size);
  set->payload_bytes += key.size + value.size;
  return true;
}

kl_status kl_write_set_write(kl_write_set *set, uint32_t keyspace, kl_slice key, kl_version_kind kind, kl_slice value,
                             kl_error *err) {
  kl_write_tree *tree = kl_write_set_tree(set, keyspace);
  if (tree == NULL) tree = write_tree_new(set, keyspace);
  if (tree == NULL || !write_tree_write(set, tree, key, kind, value)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a write of %zu bytes in a transaction of %llu bytes",
                   key.size + value.size, (unsigned long long)set->payload_bytes);
  }
  set->recent = tree;
  return KL_OK;
}

const kl_write_entry *kl_write_tree_find(const kl_write_tree *tree, kl_slice key) {
  uint64_t head = write_head(key);
  const kl_write_leaf *leaf = write_leaf_for(tree, head, key);
  bool equal;
  uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
  return equal ? leaf->entries[slot] : NULL;
}

static void write_position_set(kl_write_position *out, kl_write_leaf *leaf, uint32_t index) {
  out->leaf = leaf;
  out->index = index;
  out->entry = leaf->entries[index];
}

/* Only the first leaf of an empty tree is empty: a split leaves entries on both sides. */
void kl_write_tree_first(const kl_write_tree *tree, kl_write_position *out) {
  out->entry = NULL;
  if (tree->count != 0) write_position_set(out, tree->first, 0);
}

void kl_write_tree_last(const kl_write_tree *tree, kl_write_position *out) {
  out->entry = NULL;
  if (tree->count != 0) write_position_set(out, tree->last, tree->last->count - 1);
}

void kl_write_tree_seek_ge(const kl_write_tree *tree, kl_slice key, kl_write_position *out) {
  uint64_t head = write_head(key);
  kl_write_leaf *leaf = write_leaf_for(tree, head, key);
  bool equal;
  uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
  if (slot == leaf->count) {
    leaf = leaf->next;
    slot = 0;
  }
  out->entry = NULL;
  if (leaf != NULL && leaf->count != 0) write_position_set(out, leaf, slot);
}

void kl_write_tree_seek_le(const kl_write_tree *tree, kl_slice key, kl_write_position *out) {
  uint64_t head = write_head(key);
  kl_write_leaf *leaf = write_leaf_for(tree, head, key);
  bool equal;
  uint32_t slot = write_lower_bound(leaf->heads, leaf->entries, leaf->count, head, key, &equal);
  out->entry = NULL;
  if (equal) {
    write_position_set(out, leaf, slot);
  } else if (slot != 0) {
    write_position_set(out, leaf, slot - 1);
  } else if (leaf->prev != NULL) {
    write_position_set(out, leaf->prev, leaf->prev->count - 1);
  }
}

void kl_write_position_next(kl_write_position *position) {
  kl_write_leaf *leaf = position->leaf;
  uint32_t index = position->index + 1;
  if (index == leaf->count) {
    leaf = leaf->next;
    index = 0;
  }
  position->entry = NULL;
  if (leaf != NULL) write_position_set(position, leaf, index);
}

void kl_write_position_prev(kl_write_position *position) {
  kl_write_leaf *leaf = position->leaf;
  uint32_t index = position->index;
  if (index == 0) {
    leaf = leaf->prev;
    if (leaf != NULL) index = leaf->count;
  }
  position->entry = NULL;
  if (leaf != NULL) write_position_set(position, leaf, index - 1);
}
