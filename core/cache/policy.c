/* core/cache/policy.c: nodes, lists and ghosts for the policies, and the queue of scanned pages in front of them. */
#include "policy.h"

#include <string.h>

#include "../base/assert.h"
#include "../base/rng.h"
#include "policy_private.h"

enum {
  POLICY_SEGMENT = 1 << KL_POLICY_SEGMENT_BITS, /* nodes */
  POLICY_BUCKETS_FIRST = 64,
  POLICY_SCAN_SHARE = 64 /* one part in so many of the capacity is for scanned pages ... */
};
#define POLICY_SCAN_LEAST UINT64_C(64) /* ... and at least so many units, unless the cache is very small */

static const kl_policy_ops *const policy_kinds[KL_POLICY_KINDS] = {
    [KL_POLICY_S3_FIFO] = &kl_policy_s3_fifo, [KL_POLICY_SIEVE] = &kl_policy_sieve,
    [KL_POLICY_CLOCK] = &kl_policy_clock,     [KL_POLICY_LRU] = &kl_policy_lru,
    [KL_POLICY_2Q] = &kl_policy_2q,           [KL_POLICY_LRU_K] = &kl_policy_lru_k,
    [KL_POLICY_LIRS] = &kl_policy_lirs,       [KL_POLICY_ARC] = &kl_policy_arc,
};

const char *kl_policy_name(kl_policy_kind kind) {
  return (unsigned)kind < KL_POLICY_KINDS ? policy_kinds[kind]->name : "unknown";
}

static void *policy_alloc(kl_policy *policy, size_t size) {
  void *memory = kl_alloc(policy->allocator, size);
  if (memory != NULL) atomic_fetch_add_explicit(&policy->bytes, size, memory_order_relaxed);
  return memory;
}

static void policy_free(kl_policy *policy, void *memory, size_t size) {
  if (memory == NULL) return;
  atomic_fetch_sub_explicit(&policy->bytes, size, memory_order_relaxed);
  kl_free(policy->allocator, memory, size);
}

kl_status kl_policy_new(kl_allocator *allocator, kl_policy_kind kind, const kl_policy_host *host, uint64_t capacity,
                        kl_policy **out_policy, kl_error *err) {
  if ((unsigned)kind >= KL_POLICY_KINDS) {
    return kl_fail(err, KL_E_INVALID, "there is no eviction policy %u; use one of kl_policy_kind", (unsigned)kind);
  }
  kl_policy *policy = kl_alloc(allocator, sizeof *policy);
  if (policy == NULL)
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for an eviction policy (%zu bytes)", sizeof *policy);
  policy->ops = policy_kinds[kind];
  KL_ASSERT(policy->ops->heat_limit == 0 || policy->ops->prepare == NULL); /* the host relies on it (load.c) */
  policy->allocator = allocator;
  policy->host = *host;
  kl_policy_set_capacity(policy, capacity);
  atomic_init(&policy->bytes, sizeof *policy);
  policy->buckets = policy_alloc(policy, POLICY_BUCKETS_FIRST * sizeof *policy->buckets);
  if (policy->buckets == NULL) {
    kl_free(allocator, policy, sizeof *policy);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for the ghosts of an eviction policy; free some");
  }
  policy->bucket_count = POLICY_BUCKETS_FIRST;
  *out_policy = policy;
  return KL_OK;
}

void kl_policy_free(kl_policy *policy) {
  if (policy == NULL) return;
  if (policy->ops->done != NULL) policy->ops->done(policy);
  for (uint32_t i = 0; i < policy->segment_count; i++) {
    policy_free(policy, policy->segments[i], POLICY_SEGMENT * sizeof(kl_policy_node));
  }
  policy_free(policy, policy->segments, policy->segment_capacity * sizeof *policy->segments);
  policy_free(policy, policy->buckets, policy->bucket_count * sizeof *policy->buckets);
  KL_ASSERT(atomic_load_explicit(&policy->bytes, memory_order_relaxed) == sizeof *policy);
  kl_free(policy->allocator, policy, sizeof *policy);
}

static void policy_measure(kl_policy *policy) {
  uint64_t scanned = policy->lists[KL_POLICY_SCANNED].weight;
  policy->capacity = policy->told > scanned ? policy->told - scanned : 0;
}

void kl_policy_set_capacity(kl_policy *policy, uint64_t capacity) {
  policy->told = capacity;
  policy_measure(policy);
}
uint32_t kl_policy_heat_limit(const kl_policy *policy) {
  return policy->ops->heat_limit;
}
uint64_t kl_policy_bytes(const kl_policy *policy) {
  return atomic_load_explicit(&policy->bytes, memory_order_relaxed);
}

/* ---- nodes ---- */

static bool policy_grow_directory(kl_policy *policy) {
  uint32_t capacity = policy->segment_capacity == 0 ? 16 : 2 * policy->segment_capacity;
  kl_policy_node **grown = policy_alloc(policy, capacity * sizeof *grown);
  if (grown == NULL) return false;
  if (policy->segment_count != 0) memcpy(grown, policy->segments, policy->segment_count * sizeof *grown);
  policy_free(policy, policy->segments, policy->segment_capacity * sizeof *grown);
  policy->segments = grown;
  policy->segment_capacity = capacity;
  return true;
}

static bool policy_add_segment(kl_policy *policy) {
  if (policy->segment_count == policy->segment_capacity && !policy_grow_directory(policy)) return false;
  kl_policy_node *nodes = policy_alloc(policy, POLICY_SEGMENT * sizeof *nodes);
  if (nodes == NULL) return false;
  uint32_t first = policy->segment_count << KL_POLICY_SEGMENT_BITS;
  policy->segments[policy->segment_count++] = nodes;
  for (uint32_t i = POLICY_SEGMENT; i-- > 0;) {
    if (first + i == 0) continue; /* node 0 means none */
    nodes[i].chain = policy->free;
    policy->free = first + i;
  }
  return true;
}

bool kl_policy_reserve(kl_policy *policy, uint32_t pages) {
  while ((uint64_t)policy->segment_count * POLICY_SEGMENT <= pages) {
    if (!policy_add_segment(policy)) return false;
  }
  return policy->ops->reserve == NULL || policy->ops->reserve(policy, pages);
}

static uint32_t policy_take_node(kl_policy *policy) {
  /* Pages never outnumber the nodes (that is what is reserved), so without a free one there is a ghost. More memory is
   * nicer to it, but not needed. */
  if (policy->free == 0 && !policy_add_segment(policy)) policy->ops->forget(policy);
  KL_ASSERT(policy->free != 0);
  uint32_t node = policy->free;
  policy->free = kl_policy_at(policy, node)->chain;
  return node;
}

/* ---- lists ---- */

void kl_policy_push(kl_policy *policy, uint32_t list, uint32_t node) {
  kl_policy_list *l = &policy->lists[list];
  kl_policy_node *n = kl_policy_at(policy, node);
  KL_ASSERT(n->list == KL_POLICY_UNLISTED);
  n->list = (uint8_t)list;
  n->previous = 0;
  n->next = l->newest;
  if (l->newest != 0) kl_policy_at(policy, l->newest)->previous = node;
  l->newest = node;
  if (l->oldest == 0) l->oldest = node;
  l->count++;
  l->weight += n->weight;
}

void kl_policy_unlist(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  KL_ASSERT(n->list < KL_POLICY_LISTS);
  kl_policy_list *l = &policy->lists[n->list];
  if (n->previous != 0) {
    kl_policy_at(policy, n->previous)->next = n->next;
  } else {
    l->newest = n->next;
  }
  if (n->next != 0) {
    kl_policy_at(policy, n->next)->previous = n->previous;
  } else {
    l->oldest = n->previous;
  }
  l->count--;
  l->weight -= n->weight;
  n->list = KL_POLICY_UNLISTED;
}

uint32_t kl_policy_oldest(kl_policy *policy, uint32_t list) {
  for (uint32_t left = policy->lists[list].count; left > 0; left--) {
    uint32_t node = policy->lists[list].oldest;
    if (!kl_policy_held(policy, node)) return node;
    kl_policy_move(policy, list, node);
  }
  return 0;
}

uint32_t kl_policy_heat(const kl_policy *policy, uint32_t node) {
  const kl_policy_node *n = kl_policy_at(policy, node);
  return policy->host.heat(policy->host.context, n->frame, n->address);
}

void kl_policy_set_heat(kl_policy *policy, uint32_t node, uint32_t heat) {
  const kl_policy_node *n = kl_policy_at(policy, node);
  policy->host.set_heat(policy->host.context, n->frame, n->address, heat);
}

bool kl_policy_held(const kl_policy *policy, uint32_t node) {
  return policy->host.held(policy->host.context, kl_policy_at(policy, node)->frame);
}

/* ---- ghosts ---- */

static uint32_t *policy_bucket(const kl_policy *policy, uint64_t address) {
  return &policy->buckets[kl_mix64(address) & (policy->bucket_count - 1)];
}

static void policy_grow_buckets(kl_policy *policy) {
  uint32_t old_count = policy->bucket_count, *old = policy->buckets;
  uint32_t count = 2 * old_count;
  uint32_t *grown = policy_alloc(policy, count * sizeof *grown);
  if (grown == NULL) return; /* longer chains: slower, not wrong */
  policy->buckets = grown;
  policy->bucket_count = count;
  for (uint32_t i = 0; i < old_count; i++) {
    for (uint32_t node = old[i]; node != 0;) {
      kl_policy_node *n = kl_policy_at(policy, node);
      uint32_t following = n->chain, *bucket = policy_bucket(policy, n->address);
      n->chain = *bucket;
      *bucket = node;
      node = following;
    }
  }
  policy_free(policy, old, old_count * sizeof *old);
}

static uint32_t policy_find_ghost(const kl_policy *policy, uint64_t address) {
  uint32_t node = *policy_bucket(policy, address);
  while (node != 0 && kl_policy_at(policy, node)->address != address) node = kl_policy_at(policy, node)->chain;
  return node;
}

static void policy_unfile_ghost(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  uint32_t *link = policy_bucket(policy, n->address);
  while (*link != node) link = &kl_policy_at(policy, *link)->chain;
  *link = n->chain;
  policy->ghosts--;
}

void kl_policy_ghost(kl_policy *policy, uint32_t node) {
  if (policy->ghosts >= policy->bucket_count) policy_grow_buckets(policy);
  kl_policy_node *n = kl_policy_at(policy, node);
  n->frame = KL_POLICY_GHOST;
  policy->ghosts++;
  uint32_t *bucket = policy_bucket(policy, n->address);
  n->chain = *bucket;
  *bucket = node;
}

void kl_policy_drop(kl_policy *policy, uint32_t node) {
  kl_policy_node *n = kl_policy_at(policy, node);
  KL_ASSERT(n->list == KL_POLICY_UNLISTED);
  if (n->frame == KL_POLICY_GHOST) policy_unfile_ghost(policy, node);
  n->chain = policy->free;
  policy->free = node;
}

/* ---- the interface ---- */

void kl_policy_prepare(kl_policy *policy, uint64_t address) {
  if (policy->ops->prepare != NULL) policy->ops->prepare(policy, policy_find_ghost(policy, address));
}

/* The ghost of the page at `address`; 0: none. Another weight means that the block was freed and used for another page.
 */
static uint32_t policy_take_ghost(kl_policy *policy, uint64_t address, uint32_t weight) {
  uint32_t node = policy_find_ghost(policy, address);
  if (node == 0) return 0;
  if (kl_policy_at(policy, node)->weight == weight) {
    policy_unfile_ghost(policy, node);
    return node;
  }
  policy->ops->remove(policy, node);
  kl_policy_drop(policy, node);
  return 0;
}

uint32_t kl_policy_insert(kl_policy *policy, uint64_t address, uint32_t frame, uint32_t weight, bool scan) {
  uint32_t node = scan ? 0 : policy_take_ghost(policy, address, weight);
  if (node == 0) {
    node = policy_take_node(policy);
    *kl_policy_at(policy, node) = (kl_policy_node){.address = address, .weight = weight, .list = KL_POLICY_UNLISTED};
  }
  kl_policy_at(policy, node)->frame = frame;
  if (scan) {
    kl_policy_push(policy, KL_POLICY_SCANNED, node);
  } else {
    policy->ops->insert(policy, node);
  }
  return node;
}

/* A scanned page that somebody else wants becomes an ordinary newcomer. */
static void policy_adopt(kl_policy *policy, uint32_t node) {
  kl_policy_unlist(policy, node);
  if (policy->ops->heat_limit > 0) kl_policy_set_heat(policy, node, 0);
  policy->ops->insert(policy, node);
}

void kl_policy_hit(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list == KL_POLICY_SCANNED) {
    policy_adopt(policy, node);
  } else if (policy->ops->hit != NULL) {
    policy->ops->hit(policy, node);
  }
}

/* The scanned page that goes, when there are enough of them; 0: the policy decides. */
static uint32_t policy_choose_scanned(kl_policy *policy, bool any) {
  kl_policy_list *scanned = &policy->lists[KL_POLICY_SCANNED];
  uint64_t share = policy->told / POLICY_SCAN_SHARE;
  if (share < POLICY_SCAN_LEAST) share = POLICY_SCAN_LEAST < policy->told / 8 ? POLICY_SCAN_LEAST : policy->told / 8;
  for (uint32_t left = scanned->count; left > 0 && (any || scanned->weight > share); left--) {
    uint32_t node = kl_policy_oldest(policy, KL_POLICY_SCANNED);
    if (node == 0) return 0;
    if (policy->ops->heat_limit == 0 || kl_policy_heat(policy, node) == 0) return node;
    policy_adopt(policy, node);
  }
  return 0;
}

bool kl_policy_evict(kl_policy *policy, uint32_t *out_frame) {
  policy_measure(policy);
  uint32_t node = policy_choose_scanned(policy, false);
  if (node == 0) node = policy->ops->choose(policy);
  if (node == 0) node = policy_choose_scanned(policy, true);
  if (node == 0) node = policy->ops->choose(policy); /* one of them may just have been adopted */
  if (node == 0) return false;
  kl_policy_node *n = kl_policy_at(policy, node);
  *out_frame = n->frame;
  if (n->list == KL_POLICY_SCANNED) {
    kl_policy_unlist(policy, node);
    kl_policy_drop(policy, node);
  } else {
    policy->ops->evict(policy, node);
  }
  return true;
}

void kl_policy_remove(kl_policy *policy, uint32_t node) {
  if (kl_policy_at(policy, node)->list == KL_POLICY_SCANNED) {
    kl_policy_unlist(policy, node);
  } else {
    policy->ops->remove(policy, node);
  }
  kl_policy_drop(policy, node);
}
