/* core/cache/policy.h: which page goes when room is needed, as one small interface. For core/cache and its tests.
 *
 * A policy keeps a node for each page that is in the cache, and for some that were (ghosts: address only). It knows
 * nothing of memory and I/O: a page is an address, a weight (units of 4 KiB) and a frame number that it hands back.
 *
 *   policy_sieve.c    SIEVE: one queue, a hand that moves from old to new, survivors stay where they are
 *   policy_clock.c    CLOCK: one queue, second chance at its end
 *   policy_lru.c      LRU
 *   policy_2q.c       2Q, full version: a queue for first visits, ghosts of it, an LRU list for pages that came back
 *   policy_lru_k.c    LRU-2: the oldest second-last reference goes first
 *   policy_lirs.c     LIRS: reuse distance decides, by a stack with ghosts and a small queue
 *   policy_arc.c      ARC: recency and frequency lists whose shares adapt by ghost hits
 *   policy_s3fifo.c   S3-FIFO: a small and a main queue, ghosts of the small one
 *
 * Papers and our differences: core/cache/README.md. How a hit is told:
 * - SIEVE, CLOCK, S3-FIFO have heat_limit > 0: a hit raises the page's heat (a byte that the host keeps beside the
 * page's address) up to that limit, and the policy reads it when it looks for a victim.
 * - The others have heat_limit 0: the host calls kl_policy_hit, perhaps later and not for each (the cache buffers
 * hits).
 *
 * A page that is read with the scan hint goes into a short queue of its own, in front of whatever policy, and goes from
 * there first; a real hit makes it an ordinary newcomer (CACHE-9).
 *
 * Thread rules: one thread at a time (the cache's policy mutex). The callbacks are called from within. */
#ifndef KL_CACHE_POLICY_H
#define KL_CACHE_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/status.h"

typedef enum kl_policy_kind {
  KL_POLICY_S3_FIFO, /* 0: the default; docs/decisions/0010-cache-policy.md */
  KL_POLICY_SIEVE,
  KL_POLICY_CLOCK,
  KL_POLICY_LRU,
  KL_POLICY_2Q,
  KL_POLICY_LRU_K,
  KL_POLICY_LIRS,
  KL_POLICY_ARC,
  KL_POLICY_KINDS
} kl_policy_kind;

const char *kl_policy_name(kl_policy_kind kind); /* "sieve", "clock" ...; "unknown" */

/* What the policy asks of who owns the pages. `address` is the one of the frame. */
typedef struct kl_policy_host {
  void *context;
  uint32_t (*heat)(void *context, uint32_t frame, uint64_t address);
  void (*set_heat)(void *context, uint32_t frame, uint64_t address, uint32_t heat);
  bool (*held)(void *context, uint32_t frame); /* must not be chosen: pinned */
} kl_policy_host;

typedef struct kl_policy kl_policy;

/* `capacity`: units that the cache is meant to hold; shares of lists and the number of ghosts follow from it. */
kl_status kl_policy_new(kl_allocator *allocator, kl_policy_kind kind, const kl_policy_host *host, uint64_t capacity,
                        kl_policy **out_policy, kl_error *err);
void kl_policy_free(kl_policy *policy); /* NULL is allowed */
void kl_policy_set_capacity(kl_policy *policy, uint64_t capacity);
uint32_t kl_policy_heat_limit(const kl_policy *policy);
uint64_t kl_policy_bytes(const kl_policy *policy); /* taken from the allocator; from any thread */

/* So that `pages` can be inserted without allocation: false when there is no memory. Inserting never fails then. */
bool kl_policy_reserve(kl_policy *policy, uint32_t pages);

/* A page that is absent will be loaded: comes before the victims that make room for it and before its insertion.
 * Leaving it out costs precision only (ARC adapts here). */
void kl_policy_prepare(kl_policy *policy, uint64_t address);
/* The page came. Returns its node, by which it is named from now on. At most as many as reserved. */
uint32_t kl_policy_insert(kl_policy *policy, uint64_t address, uint32_t frame, uint32_t weight, bool scan);
void kl_policy_hit(kl_policy *policy, uint32_t node); /* a hit, not of a scan; for heat_limit 0 */
/* Chooses a page, forgets it (but for a ghost) and gives its frame; false when there is none that is not held. A
 * bounded number of steps, whatever is held (CACHE-8). */
bool kl_policy_evict(kl_policy *policy, uint32_t *out_frame);
void kl_policy_remove(kl_policy *policy, uint32_t node); /* the page is gone for another reason: no ghost */

#endif
