/* core/delta/tree_insert.c: insertion into a tree. See tree.h, node.h and README.md ("How a writer works").
 *
 * A writer finds its leaf as a reader does, locks it and puts the key in. When nodes must be split or replaced, it
 * first locks all that are concerned, from the leaf upwards, and makes all new nodes (the plan, which can fail for
 * want of memory and has then changed nothing); then it publishes them, again from the leaf upwards. Locks are only
 * ever taken upwards and, on one level, to the right (DELTA-7), so that no two writers wait for each other in a
 * circle. */
#include "../base/assert.h"
#include "tree.h"

enum { DELTA_RUN = 8 }; /* so many insertions in a row at one place count as sequential */

typedef enum delta_action {
  DELTA_PUT,     /* there is room */
  DELTA_REPLACE, /* by one new node: larger, or with another prefix */
  DELTA_SPLIT,   /* `right` takes a part; the node keeps the rest, or `left` replaces it */
  DELTA_SWAP     /* nothing to put in: a child was replaced */
} delta_action;

typedef struct delta_step {
  delta_action action;
  delta_node *node; /* locked */
  unsigned at;      /* where the new slot goes in `node` */
  void *pointer;    /* the new slot: an entry or a child, and its key */
  const delta_entry *key;
  delta_node *replaced, *replacement; /* a child that was replaced one level below, or NULL */
  delta_node *left, *right;           /* new nodes, locked and filled */
  unsigned cut;                       /* SPLIT: how many slots stay on the left */
  bool put_right;                     /* SPLIT: the new slot went to `right` */
} delta_step;

typedef struct delta_plan {
  delta_tree *tree;
  const delta_memory *memory;
  delta_node *root;                    /* the new root, when there is to be one */
  delta_node *path[DELTA_TREE_LEVELS]; /* the way down; NULL above the root of that time */
  unsigned steps;
  delta_step step[DELTA_TREE_LEVELS]; /* the first `steps` are initialised */
} delta_plan;

/* All from one shard: nodes are made rarely, and lie close together this way, on few pages. */
static delta_node *delta_node_alloc(const delta_memory *memory, unsigned capacity) {
  return kl_shared_arena_alloc(memory->nodes, 0, kl_delta_node_bytes(capacity), 64);
}

delta_tree *kl_delta_tree_new(const delta_memory *memory, uint32_t keyspace) {
  delta_tree *tree = kl_shared_arena_alloc(memory->nodes, 0, sizeof *tree, 16);
  delta_node *leaf = delta_node_alloc(memory, DELTA_NODE_FIRST_SLOTS);
  if (tree == NULL || leaf == NULL) return NULL;
  kl_delta_node_init(leaf, DELTA_NODE_FIRST_SLOTS, 0);
  tree->keyspace = keyspace;
  atomic_store_explicit(&tree->root, leaf, memory_order_relaxed); /* published with the tree */
  return tree;
}

/* Locks the node that covers the key, beginning with one that is it or lies to the left of it. */
static delta_node *delta_lock_covering(delta_node *node, delta_probe *probe) {
  for (;;) {
    if (kl_delta_node_lock(node)) {
      delta_node *right = delta_node_beyond(node, probe, false);
      if (right == NULL) return node;
      kl_delta_node_unlock(node); /* before the next: holding one lock is enough to walk, as nodes are never freed */
      node = right;
    } else {
      node = delta_node_next(node);
    }
  }
}

static delta_node *delta_lock_parent(delta_plan *plan, unsigned level, delta_probe *probe) {
  delta_node *node = plan->path[level];
  if (node == NULL) { /* the tree has grown since we came down, or we came by a hint */
    node = delta_tree_root(plan->tree);
    while (node->level > level) {
      delta_node *right = delta_node_beyond(node, probe, false);
      node = right != NULL ? right : delta_node_pointer(node, delta_node_bound(node, probe, true) - 1);
    }
  }
  return delta_lock_covering(node, probe);
}

static delta_node *delta_plan_node(delta_plan *plan, unsigned capacity) {
  return delta_node_alloc(plan->memory, capacity);
}

static const delta_entry *delta_node_high(const delta_node *node) {
  const delta_node *next = delta_node_next(node);
  return next != NULL ? next->low : NULL;
}

static delta_fill delta_step_fill(const delta_step *step, unsigned begin, unsigned end, bool has_extra) {
  delta_fill fill = {.from = step->node,
                     .begin = begin,
                     .end = end,
                     .has_extra = has_extra,
                     .extra_at = step->at - begin,
                     .extra = step->pointer,
                     .extra_key = step->key,
                     .replaced = step->replaced,
                     .replacement = step->replacement,
                     .low = step->node->low,
                     .high = delta_node_high(step->node)};
  return fill;
}

/* Would the new slot of an inner node have the head of a neighbour, and could another prefix tell them apart? */
static bool delta_step_wants_prefix(const delta_step *step) {
  const delta_node *node = step->node;
  if (node->level == 0) return false; /* leaves fill up soon, and are looked at when they split */
  uint64_t head = delta_head(delta_entry_key(step->key), node->skip);
  unsigned count = delta_node_count(node);
  bool tied = (step->at > 1 && delta_node_head(node, step->at - 1) == head) ||
              (step->at < count && delta_node_head(node, step->at) == head);
  if (!tied) return false;
  delta_fill fill = delta_step_fill(step, 0, count, true);
  return kl_delta_fill_skip(&fill) > node->skip;
}

static void delta_step_choose(delta_step *step) {
  const delta_node *node = step->node;
  bool full = delta_node_count(node) == node->capacity;
  if (full && node->capacity == DELTA_NODE_SLOTS) {
    step->action = DELTA_SPLIT;
  } else if (!full && delta_node_prefix_order(node, delta_entry_key(step->key)) == 0 &&
             !delta_step_wants_prefix(step)) {
    step->action = DELTA_PUT;
  } else {
    step->action = DELTA_REPLACE;
  }
}

/* Where to cut a full node: in the middle; but where insertions are sequential, at the place where they go on, so
 * that the nodes they leave behind are full. */
static void delta_step_choose_cut(delta_step *step) {
  const delta_node *node = step->node;
  unsigned count = delta_node_count(node), at = step->at;
  bool sequential = node->run >= DELTA_RUN && (at == node->last || at == node->last + 1u);
  bool appending = delta_node_next(node) == NULL && at >= count - count / 8;
  step->cut = sequential || appending ? at : count / 2;
  step->put_right = appending || step->cut == count || at > step->cut;
}

static bool delta_step_ties(const delta_node *node, unsigned count) {
  unsigned ties = 0;
  for (unsigned i = node->level != 0 ? 2 : 1; i < count; i++) {
    ties += delta_node_head(node, i) == delta_node_head(node, i - 1);
  }
  return ties > count / 8;
}

static bool delta_plan_replace(delta_plan *plan, delta_step *step) {
  delta_node *node = step->node;
  unsigned count = delta_node_count(node);
  unsigned capacity = count < node->capacity ? node->capacity : node->capacity * 2u;
  step->left = delta_plan_node(plan, capacity);
  if (step->left == NULL) return false;
  delta_fill fill = delta_step_fill(step, 0, count, true);
  kl_delta_node_fill(step->left, capacity, kl_delta_fill_skip(&fill), &fill, delta_node_next(node));
  return true;
}

static bool delta_plan_split(delta_plan *plan, delta_step *step) {
  delta_node *node = step->node;
  delta_step_choose_cut(step);
  step->right = delta_plan_node(plan, DELTA_NODE_SLOTS);
  if (step->right == NULL) return false;
  delta_fill fill = delta_step_fill(step, step->cut, delta_node_count(node), step->put_right);
  fill.low = step->put_right && step->at == step->cut ? step->key : delta_node_slot_entry(node, step->cut);
  uint32_t skip = kl_delta_fill_skip(&fill);
  if (step->put_right && step->cut == delta_node_count(node) && fill.high == NULL) {
    /* One key and no upper bound say nothing. Keys that are appended mostly go on as those before them, up to a byte in
     * which a number carries over; one that does not makes its writer replace the node. */
    uint32_t same = delta_entry_same(delta_node_slot_entry(node, node->level != 0 ? 1 : 0), step->key);
    skip = same > 0 ? same - 1 : 0;
  }
  kl_delta_node_fill(step->right, DELTA_NODE_SLOTS, skip, &fill, delta_node_next(node));
  /* The left half now has an upper bound, and with it perhaps a longer prefix. */
  fill = delta_step_fill(step, 0, step->cut, !step->put_right);
  fill.high = step->right->low;
  skip = kl_delta_fill_skip(&fill);
  bool fits = step->put_right || delta_node_prefix_order(node, delta_entry_key(step->key)) == 0;
  if (fits && !(skip > node->skip && delta_step_ties(node, step->cut))) return true;
  step->left = delta_plan_node(plan, DELTA_NODE_SLOTS);
  if (step->left == NULL) return false;
  kl_delta_node_fill(step->left, DELTA_NODE_SLOTS, skip, &fill, step->right);
  return true;
}

static bool delta_plan_root(delta_plan *plan, const delta_step *top) {
  delta_node *child = top->left != NULL ? top->left : top->node;
  plan->root = delta_plan_node(plan, DELTA_NODE_SLOTS);
  if (plan->root == NULL) return false;
  kl_delta_node_init(plan->root, DELTA_NODE_SLOTS, child->level + 1u);
  /* Not reachable yet: plain puts. The first slot of an inner node has no key (node.h). */
  atomic_store_explicit(&delta_node_pointers(plan->root)[0], child, memory_order_relaxed);
  atomic_store_explicit(&plan->root->count, 1, memory_order_relaxed);
  kl_delta_node_put(plan->root, 1, top->right, top->right->low);
  return true;
}

/* Completes the plan from its first step, whose node, place and new slot are given. False: no memory. */
static bool delta_plan_make(delta_plan *plan) {
  for (;;) {
    delta_step *step = &plan->step[plan->steps - 1];
    if (step->action != DELTA_SWAP) delta_step_choose(step);
    if (step->action == DELTA_PUT || step->action == DELTA_SWAP) return true;
    if (step->action == DELTA_REPLACE ? !delta_plan_replace(plan, step) : !delta_plan_split(plan, step)) return false;
    /* Only who holds the lock of the root makes another node the root. */
    if (atomic_load_explicit(&plan->tree->root, memory_order_relaxed) == step->node) {
      return step->action == DELTA_REPLACE || delta_plan_root(plan, step);
    }
    KL_ASSERT(plan->steps < DELTA_TREE_LEVELS);
    if (plan->steps == DELTA_TREE_LEVELS) return false;
    delta_step *upper = &plan->step[plan->steps];
    memset(upper, 0, sizeof *upper);
    const delta_entry *key = step->action == DELTA_SPLIT ? step->right->low : step->key;
    delta_probe probe = delta_probe_make(delta_entry_key(key));
    upper->node = delta_lock_parent(plan, plan->steps, &probe);
    upper->action = step->action == DELTA_SPLIT ? DELTA_PUT : DELTA_SWAP;
    upper->at = delta_node_bound(upper->node, &probe, true);
    upper->pointer = step->right;
    upper->key = key;
    upper->replaced = step->left != NULL ? step->node : NULL;
    upper->replacement = step->left;
    plan->steps++;
  }
}

/* In a node that stays: its child was replaced. The key of the slot remains, so this is one store. The child's left
 * neighbour still leads to the dead node; that would be right but slow for ever, so it gets the new one, where it is
 * at hand. Its lock is not needed: whatever its holder does with the old pointer stays right, and a pointer that the
 * holder has set is not touched. */
static void delta_step_swap(const delta_step *step) {
  if (step->replaced == NULL) return;
  _Atomic(void *) *pointers = delta_node_pointers(step->node);
  for (unsigned i = 0; i < delta_node_count(step->node); i++) {
    if (delta_node_pointer(step->node, i) != step->replaced) continue;
    /* Release: publishes the replacement. */
    atomic_store_explicit(&pointers[i], step->replacement, memory_order_release);
    if (i != 0) {
      delta_node *neighbour = delta_node_pointer(step->node, i - 1), *expected = step->replaced;
      atomic_compare_exchange_strong_explicit(&neighbour->next, &expected, step->replacement, memory_order_release,
                                              memory_order_relaxed);
    }
    return;
  }
}

static void delta_step_publish(const delta_step *step) {
  switch (step->action) {
    case DELTA_SWAP:
      delta_step_swap(step);
      break;
    case DELTA_PUT:
      delta_step_swap(step);
      kl_delta_node_put(step->node, step->at, step->pointer, step->key);
      break;
    case DELTA_REPLACE:
      kl_delta_node_retire(step->node, step->left);
      break;
    case DELTA_SPLIT:
      if (step->left != NULL) {
        kl_delta_node_retire(step->node, step->left);
        break;
      }
      kl_delta_node_truncate(step->node, step->cut, step->right);
      delta_step_swap(step);
      if (!step->put_right) kl_delta_node_put(step->node, step->at, step->pointer, step->key);
      break;
  }
}

/* Unlocks what is still in use, from the top down: a node whose lock is free has its place in its parent (DELTA-8). */
static void delta_plan_unlock(delta_plan *plan, bool published) {
  for (unsigned i = plan->steps; i-- > 0;) {
    delta_step *step = &plan->step[i];
    if (published && step->right != NULL) kl_delta_node_unlock(step->right);
    if (published && step->left != NULL) kl_delta_node_unlock(step->left);
    if (!published || step->left == NULL) kl_delta_node_unlock(step->node);
  }
}

static void delta_plan_publish(delta_plan *plan) {
  for (unsigned i = 0; i < plan->steps; i++) delta_step_publish(&plan->step[i]);
  const delta_step *top = &plan->step[plan->steps - 1];
  delta_node *root = plan->root != NULL ? plan->root : top->left;
  /* Release: publishes the new root. */
  if (root != NULL) atomic_store_explicit(&plan->tree->root, root, memory_order_release);
  delta_plan_unlock(plan, true);
}

static delta_node *delta_plan_descend(delta_plan *plan, delta_probe *probe) {
  delta_node *node = delta_tree_root(plan->tree);
  while (node->level != 0) {
    unsigned at = delta_node_bound(node, probe, true);
    if (at >= delta_node_count(node)) {
      delta_node *right = delta_node_beyond(node, probe, false);
      if (right != NULL) {
        node = right;
        continue;
      }
    }
    plan->path[node->level] = node;
    node = delta_node_pointer(node, at - 1);
    delta_node_prefetch(node, false);
  }
  return node;
}

/* The place for the key in a locked leaf; its entry when it is there already. */
static delta_entry *delta_leaf_place(const delta_node *leaf, delta_probe *probe, unsigned *out_at) {
  *out_at = delta_node_bound(leaf, probe, false);
  if (*out_at >= delta_node_count(leaf)) return NULL;
  delta_entry *entry = delta_node_pointer(leaf, *out_at);
  return kl_slice_equal(delta_entry_key(entry), probe->key) ? entry : NULL;
}

/* Puts a new key in. When another thread was faster, its entry is returned, otherwise NULL. */
static kl_status delta_plan_run(delta_plan *plan, delta_node *leaf, delta_probe *probe, delta_entry *entry,
                                delta_entry **out_other, kl_error *err) {
  delta_step *step = &plan->step[0];
  memset(step, 0, sizeof *step);
  step->pointer = entry;
  step->key = entry;
  plan->steps = 1;
  step->node = delta_lock_covering(leaf, probe);
  *out_other = delta_leaf_place(step->node, probe, &step->at);
  if (*out_other != NULL) {
    kl_delta_node_unlock(step->node);
    return KL_OK;
  }
  if (!delta_plan_make(plan)) {
    delta_plan_unlock(plan, false);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a node of the delta");
  }
  delta_plan_publish(plan);
  return KL_OK;
}

static kl_status delta_tree_add_version(delta_entry *entry, const delta_memory *memory, const kl_version *version,
                                        bool *out_new_version, kl_error *err) {
  delta_version *added = kl_shared_arena_alloc(memory->entries, kl_thread_hint(), kl_delta_version_bytes(version), 8);
  if (added == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a version in the delta");
  kl_delta_version_fill(added, version);
  *out_new_version = kl_delta_entry_link(entry, added);
  return KL_OK;
}

kl_status kl_delta_tree_insert(delta_tree *tree, const delta_memory *memory, const delta_node *place, kl_slice key,
                               const kl_version *version, bool *out_new_key, bool *out_new_version, kl_error *err) {
  delta_plan plan; /* large: only what is used is initialised */
  plan.tree = tree;
  plan.memory = memory;
  plan.root = NULL;
  memset(plan.path, 0, sizeof plan.path);
  delta_probe probe = delta_probe_make(key);
  delta_node *leaf = (delta_node *)(uintptr_t)place; /* only readers see nodes as const */
  if (leaf == NULL) leaf = delta_plan_descend(&plan, &probe);
  *out_new_key = false;
  delta_entry *other = kl_delta_leaf_find(leaf, &probe); /* a key that is there needs no lock */
  if (other != NULL) return delta_tree_add_version(other, memory, version, out_new_version, err);
  /* Copied before the lock is taken: a value may be large. */
  delta_entry *entry = kl_shared_arena_alloc(memory->entries, kl_thread_hint(), kl_delta_entry_bytes(key, version), 8);
  if (entry == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a key in the delta");
  kl_delta_entry_fill(entry, key, version);
  kl_status status = delta_plan_run(&plan, leaf, &probe, entry, &other, err);
  if (status != KL_OK) return status;
  *out_new_key = other == NULL;
  /* Another thread was faster with this key: our version is as good in its chain. */
  *out_new_version = other == NULL || kl_delta_entry_link(other, kl_delta_entry_own_version(entry));
  return KL_OK;
}
