/* White-box: after any history, the nodes of a tree satisfy the invariants of core/delta/README.md. */
#include <pthread.h>

#include "core/base/endian.h"
#include "core/delta/tree.h"
#include "delta_testing.h"

typedef struct structure {
  delta_memory memory;
  delta_tree *tree;
  const delta_node *oldest; /* the leaf that the tree began with */
  uint64_t seed, insertions;
} structure;

static structure structure_make(void) {
  structure s = {.seed = testing_seed()};
  assert_int_equal(kl_shared_arena_new(kl_allocator_libc(), &s.memory.nodes, NULL), KL_OK);
  assert_int_equal(kl_shared_arena_new(kl_allocator_libc(), &s.memory.entries, NULL), KL_OK);
  s.tree = kl_delta_tree_new(&s.memory, 1);
  assert_non_null(s.tree);
  s.oldest = delta_tree_root(s.tree);
  return s;
}

static void structure_free(structure *s) {
  kl_shared_arena_free(s->memory.nodes);
  kl_shared_arena_free(s->memory.entries);
}

/* Where an insertion may begin: nowhere in particular, where a look-up ends now, or where one ended when the tree was
 * made, in a leaf that has been split and replaced ever since. */
static const delta_node *structure_place(structure *s, kl_slice key, uint64_t turn) {
  const delta_node *place = NULL;
  delta_entry *entry;
  if (turn % 4 == 1) kl_delta_tree_find_many(s->tree, &key, 1, &entry, &place);
  if (turn % 64 == 3) place = s->oldest;
  return place;
}

static void structure_insert(structure *s, kl_slice key) {
  kl_version version = testing_put(1, key);
  bool new_key, new_version;
  const delta_node *place = structure_place(s, key, s->insertions++);
  assert_int_equal(kl_delta_tree_insert(s->tree, &s->memory, place, key, &version, &new_key, &new_version, NULL),
                   KL_OK);
}

/* Compares a slot's key with a bound; NULL is below everything. */
static int structure_order(const delta_entry *a, const delta_entry *b) {
  if (a == NULL || b == NULL) return (a != NULL) - (b != NULL);
  return kl_slice_compare(delta_entry_key(a), delta_entry_key(b));
}

/* DELTA-3, 4, 6: the slots of one node that is in use; `high` is its upper bound, NULL for none. */
static void structure_check_slots(const structure *s, const delta_node *node, const delta_entry *high) {
  unsigned count = delta_node_count(node);
  unsigned begin = node->level != 0 ? 1 : 0;
  CHECK_SEED(count <= node->capacity && count >= begin, s->seed);
  CHECK_SEED(atomic_load(&node->lock) == DELTA_LOCK_FREE, s->seed);
  uint64_t high_head = high != NULL ? delta_head(delta_entry_key(high), node->skip) : UINT64_MAX;
  CHECK_SEED(atomic_load(&node->high_head) == high_head, s->seed);
  if (high != NULL) CHECK_SEED(structure_order(node->low, high) < 0, s->seed);
  for (unsigned i = 0; i < count; i++) {
    const delta_entry *key = delta_node_slot_entry(node, i);
    if (i == 0 && node->low != NULL) CHECK_SEED(key == node->low, s->seed);
    if (i < begin) continue;
    CHECK_SEED(structure_order(node->low, key) <= 0, s->seed);
    CHECK_SEED(high == NULL || structure_order(key, high) < 0, s->seed);
    if (i != 0) CHECK_SEED(structure_order(delta_node_slot_entry(node, i - 1), key) < 0, s->seed);
    CHECK_SEED(delta_node_prefix_order(node, delta_entry_key(key)) == 0, s->seed);
    CHECK_SEED(delta_node_head(node, i) == delta_head(delta_entry_key(key), node->skip), s->seed);
  }
}

/* What replaced a dead node. */
static const delta_node *structure_live(const delta_node *node) {
  while (node != NULL && atomic_load(&node->lock) == DELTA_LOCK_DEAD) node = delta_node_next(node);
  return node;
}

/* Checks the subtree and (DELTA-8) that the children are exactly the chain of the level below. Returns its leaves'
 * keys. */
static uint64_t structure_check_node(const structure *s, const delta_node *node, const delta_entry *high) {
  structure_check_slots(s, node, high);
  unsigned count = delta_node_count(node);
  if (node->level == 0) return count;
  uint64_t keys = 0;
  for (unsigned i = 0; i < count; i++) {
    const delta_node *child = delta_node_pointer(node, i);
    CHECK_SEED(child->level + 1 == node->level, s->seed);
    CHECK_SEED(child->low == (i == 0 ? node->low : delta_node_slot_entry(node, i)), s->seed);
    const delta_entry *child_high = i + 1 < count ? delta_node_slot_entry(node, i + 1) : high;
    if (i + 1 < count) {
      CHECK_SEED(structure_live(delta_node_next(child)) == delta_node_pointer(node, i + 1), s->seed);
    } else {
      const delta_node *right = structure_live(delta_node_next(child));
      CHECK_SEED((right == NULL) == (high == NULL) && (right == NULL || right->low == high), s->seed);
    }
    keys += structure_check_node(s, child, child_high);
  }
  return keys;
}

static void structure_check(const structure *s, uint64_t keys) {
  const delta_node *root = delta_tree_root(s->tree);
  assert_null(root->low);
  assert_null(delta_node_next(root));
  CHECK_SEED(structure_check_node(s, root, NULL) == keys, s->seed);
}

/* How many slots of the leaves are in use, in percent. */
static unsigned structure_fill_percent(const structure *s) {
  const delta_node *node = delta_tree_root(s->tree);
  while (node->level != 0) node = delta_node_pointer(node, 0);
  uint64_t used = 0, all = 0;
  for (; node != NULL; node = structure_live(delta_node_next(node))) {
    used += delta_node_count(node);
    all += node->capacity;
  }
  return (unsigned)(used * 100 / all);
}

static kl_slice structure_key(uint64_t n, const char *prefix, bool decimal, unsigned char out[64]) {
  size_t size = strlen(prefix);
  memcpy(out, prefix, size);
  if (decimal)
    return kl_slice_make(out, size + (size_t)snprintf((char *)out + size, 24, "%012llu", (unsigned long long)n));
  kl_store_u64_be(out + size, n);
  return kl_slice_make(out, size + 8);
}

enum { STRUCTURE_KEYS = 15000 };

typedef enum order { ORDER_UP, ORDER_DOWN, ORDER_RANDOM, ORDER_STREAMS, ORDERS } order;

static uint64_t structure_number(order o, uint64_t i) {
  switch (o) {
    case ORDER_UP:
      return i;
    case ORDER_DOWN:
      return STRUCTURE_KEYS - i;
    case ORDER_STREAMS: /* sixteen places that grow in turn */
      return (i % 16) * 1000000 + i;
    default:
      return kl_mix64(i) % 1000000000 * 1000 + i % 1000;
  }
}

static void test_orders(void **state) {
  (void)state;
  static const char *const prefixes[] = {"", "user:", "tenant-0001/customer/address/"};
  for (order o = ORDER_UP; o < ORDERS; o++) {
    for (size_t p = 0; p < 3; p++) {
      for (int decimal = 0; decimal < 2; decimal++) {
        structure s = structure_make();
        unsigned char key[64];
        for (uint64_t i = 0; i < STRUCTURE_KEYS; i++) {
          structure_insert(&s, structure_key(structure_number(o, i), prefixes[p], decimal != 0, key));
          if (i % 2999 == 0 || (i < 300 && i % 7 == 0)) structure_check(&s, i + 1);
        }
        structure_check(&s, STRUCTURE_KEYS);
        for (uint64_t i = 0; i < STRUCTURE_KEYS; i++) {
          kl_slice k = structure_key(structure_number(o, i), prefixes[p], decimal != 0, key);
          const delta_entry *entry = kl_delta_tree_find(s.tree, k);
          assert_true(entry != NULL && kl_slice_equal(delta_entry_key(entry), k));
        }
        /* Sequential insertion leaves full leaves behind, also at many places in turn. */
        unsigned percent = structure_fill_percent(&s);
        assert_true(percent >= (o == ORDER_RANDOM ? 60 : 95));
        structure_free(&s);
      }
    }
  }
}

/* Keys that grow in one place, in front of keys that begin otherwise: what is split off begins with the new key, and
 * does not consist of it alone. */
static void test_run_before_others(void **state) {
  (void)state;
  static const char *const others[] = {"nbank", "ncounters", "nforks", "nstamps", "nbrief 0"};
  structure s = structure_make();
  uint64_t keys = 0;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++, keys++) {
    structure_insert(&s, kl_slice_make(others[i], strlen(others[i])));
  }
  for (uint64_t i = 0; i < 500; i++) {
    unsigned char key[64];
    structure_insert(&s, structure_key(i, "d", false, key));
    structure_check(&s, ++keys);
    for (size_t other = 0; other < sizeof others / sizeof others[0]; other++) {
      assert_non_null(kl_delta_tree_find(s.tree, kl_slice_make(others[other], strlen(others[other]))));
    }
  }
  structure_free(&s);
}

/* Keys of all lengths from a small alphabet, so that prefixes of nodes must shrink and grow. */
static void lengths_run(uint64_t seed) {
  structure s = structure_make();
  s.seed = seed;
  kl_rng rng;
  kl_rng_init(&rng, seed);
  uint64_t keys = 0;
  for (int i = 0; i < 6000; i++) {
    unsigned char key[64];
    size_t size = kl_rng_below(&rng, 40), same = kl_rng_below(&rng, 40);
    memset(key, 'a', sizeof key);
    for (size_t k = same; k < size; k++) key[k] = (unsigned char)('a' + kl_rng_below(&rng, 3));
    kl_slice k = kl_slice_make(key, size);
    keys += kl_delta_tree_find(s.tree, k) == NULL;
    structure_insert(&s, k);
    if (i % 499 == 0) structure_check(&s, keys);
  }
  structure_check(&s, keys);
  structure_free(&s);
}

static void test_lengths(void **state) {
  (void)state;
  for (uint64_t round = 0; round < 12; round++) lengths_run(testing_seed() + round);
}

enum { STRUCTURE_THREADS = 4, STRUCTURE_EACH = 8000 };

typedef struct structure_thread {
  structure *structure;
  unsigned number;
} structure_thread;

static void *structure_writer(void *argument) {
  structure_thread *t = argument;
  kl_rng rng;
  kl_rng_init(&rng, t->structure->seed + t->number);
  for (uint64_t i = 0; i < STRUCTURE_EACH; i++) {
    unsigned char key[64];
    uint64_t n = i * STRUCTURE_THREADS + t->number;
    kl_slice k = i % 2 == 0 ? structure_key(n, "append/", true, key) : structure_key(kl_mix64(n), "", false, key);
    kl_version version = testing_put(1, k);
    bool new_key, new_version;
    const delta_node *place = structure_place(t->structure, k, kl_rng_next(&rng));
    if (kl_delta_tree_insert(t->structure->tree, &t->structure->memory, place, k, &version, &new_key, &new_version,
                             NULL) != KL_OK ||
        !new_key) {
      return t;
    }
  }
  return NULL;
}

static void test_parallel_writers(void **state) {
  (void)state;
  structure s = structure_make();
  pthread_t threads[STRUCTURE_THREADS];
  structure_thread arguments[STRUCTURE_THREADS];
  for (unsigned i = 0; i < STRUCTURE_THREADS; i++) {
    arguments[i] = (structure_thread){&s, i};
    assert_int_equal(pthread_create(&threads[i], NULL, structure_writer, &arguments[i]), 0);
  }
  for (unsigned i = 0; i < STRUCTURE_THREADS; i++) {
    void *failed;
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
  structure_check(&s, (uint64_t)STRUCTURE_THREADS * STRUCTURE_EACH);
  structure_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_orders),
      cmocka_unit_test(test_run_before_others),
      cmocka_unit_test(test_lengths),
      cmocka_unit_test(test_parallel_writers),
  };
  return cmocka_run_group_tests_name("delta structure", tests, NULL, NULL);
}
