/* core/cache/policy_private.h: what the policies are made of: nodes, lists, ghosts. See policy.h.
 *
 * Nodes are named by numbers from 1 on and live in segments, so that more can be added without moving any. All lists of
 * a policy have their newest node first. The node of an evicted page becomes its ghost; kl_policy_ghost files it under
 * its address, and the next insertion of the address finds it, still in its ghost list. */
#ifndef KL_CACHE_POLICY_PRIVATE_H
#define KL_CACHE_POLICY_PRIVATE_H

#include "policy.h"

typedef struct kl_policy_node {
  uint64_t address;
  uint32_t next, previous; /* towards older, towards newer; in the list that `list` says */
  union {
    struct {
      uint32_t next, previous;
    } queue;              /* LIRS: its second list */
    uint64_t penultimate; /* LRU-K: time of the last reference but one; 0: there was none */
  } u;
  uint64_t last;  /* LRU-K: time of the last reference */
  uint32_t chain; /* the next ghost of its bucket; or the next free node */
  uint32_t frame; /* KL_POLICY_GHOST: none */
  uint32_t weight;
  uint32_t place; /* LRU-K: index in the heap */
  uint8_t list;   /* index into policy->lists; KL_POLICY_UNLISTED */
  uint8_t state;  /* the policy's own */
} kl_policy_node;

#define KL_POLICY_GHOST UINT32_MAX
enum { KL_POLICY_LISTS = 6, KL_POLICY_UNLISTED = 255, KL_POLICY_SCANNED = KL_POLICY_LISTS - 1 };

typedef struct kl_policy_list {
  uint32_t newest, oldest;
  uint32_t count;
  uint64_t weight;
} kl_policy_list;

typedef struct kl_policy_ops {
  const char *name;
  uint32_t heat_limit;
  bool (*reserve)(kl_policy *policy, uint32_t pages); /* NULL: nothing to do */
  void (*prepare)(kl_policy *policy, uint32_t ghost); /* NULL: nothing to do. ghost 0: the address has none */
  void (*insert)(kl_policy *policy, uint32_t node);   /* listed: a ghost that comes back; otherwise new */
  void (*hit)(kl_policy *policy, uint32_t node);      /* NULL when heat_limit > 0 */
  uint32_t (*choose)(kl_policy *policy);              /* not held; 0: none */
  void (*evict)(kl_policy *policy, uint32_t node);    /* unlists what was chosen; kl_policy_ghost or _drop */
  void (*remove)(kl_policy *policy, uint32_t node);   /* unlists a page or a ghost; no ghost */
  void (*forget)(kl_policy *policy);                  /* kl_policy_drop of the oldest ghost; NULL: has none */
  void (*done)(kl_policy *policy);                    /* frees what reserve took; NULL: nothing */
} kl_policy_ops;

struct kl_policy {
  const kl_policy_ops *ops;
  kl_allocator *allocator;
  kl_policy_host host;
  uint64_t told;     /* the capacity as the host told it, units */
  uint64_t capacity; /* less what scanned pages take of it: what the policy's own lists are measured by */
  _Atomic uint64_t bytes;

  kl_policy_node **segments;
  uint32_t segment_count, segment_capacity;
  uint32_t free; /* node; chained */

  uint32_t *buckets; /* of ghosts, by address */
  uint32_t bucket_count, ghosts;

  kl_policy_list lists[KL_POLICY_LISTS]; /* what each is, the policy's file says; the last is for scans */
  uint32_t hand;                         /* SIEVE: where the search goes on; 0: at the oldest */
  uint64_t target;                       /* ARC: p. S3-FIFO, 2Q, LIRS: none */
  bool second_ghost;                     /* ARC: the page that is coming has a ghost in B2 */
  uint64_t now;                          /* LRU-K: references so far */
  uint32_t *heap;                        /* LRU-K */
  uint32_t heap_count, heap_capacity;
};

enum { KL_POLICY_SEGMENT_BITS = 10 };

static inline kl_policy_node *kl_policy_at(const kl_policy *policy, uint32_t node) {
  return &policy->segments[node >> KL_POLICY_SEGMENT_BITS][node & ((1u << KL_POLICY_SEGMENT_BITS) - 1)];
}

void kl_policy_push(kl_policy *policy, uint32_t list, uint32_t node); /* as the newest */
void kl_policy_unlist(kl_policy *policy, uint32_t node);
static inline void kl_policy_move(kl_policy *policy, uint32_t list, uint32_t node) {
  kl_policy_unlist(policy, node);
  kl_policy_push(policy, list, node);
}
/* The oldest of the list that is not held; those that are move to the front, as if they were hit. 0: all are. */
uint32_t kl_policy_oldest(kl_policy *policy, uint32_t list);

uint32_t kl_policy_heat(const kl_policy *policy, uint32_t node);
void kl_policy_set_heat(kl_policy *policy, uint32_t node, uint32_t heat);
bool kl_policy_held(const kl_policy *policy, uint32_t node);

void kl_policy_ghost(kl_policy *policy, uint32_t node); /* its page is gone; the policy listed it among its ghosts */
void kl_policy_drop(kl_policy *policy, uint32_t node);  /* not listed any more, page or ghost: forget it */

extern const kl_policy_ops kl_policy_sieve, kl_policy_clock, kl_policy_lru, kl_policy_2q, kl_policy_lru_k,
    kl_policy_lirs, kl_policy_arc, kl_policy_s3_fifo;

#endif
