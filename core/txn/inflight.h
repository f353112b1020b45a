/* core/txn/inflight.h: the keys of commits that have a timestamp and cannot all be found in the delta yet.
 *
 * Validation compares a key with what was committed since the snapshot. What the delta does not show yet is here: a
 * hash table from a 64-bit hash of (keyspace, key) to the newest timestamp that a commit in flight writes it with.
 * Two keys with one hash are taken for one, which can refuse a commit that need not be refused (about once in 2^64 /
 * keys in flight), and never the other way round; the hash is seeded per database, so that nobody can provoke it.
 *
 * An entry at or below the visible timestamp is stale: its commit is in the delta, whole. Stale entries are
 * overwritten and swept as the table fills; nothing removes them one by one.
 *
 * Thread rules: whoever holds the commit turn. */
#ifndef KL_TXN_INFLIGHT_H
#define KL_TXN_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/slice.h"

typedef struct kl_inflight_entry {
  uint64_t hash;
  uint64_t ts; /* 0: the slot has never been used since the last sweep */
} kl_inflight_entry;

typedef struct kl_inflight {
  kl_allocator *allocator;
  kl_inflight_entry *entries;
  size_t capacity;    /* power of two, or 0 */
  size_t used;        /* slots with ts != 0 */
  uint64_t newest;    /* timestamp of all entries; once it is visible, all of them are stale */
  uint64_t forgotten; /* what is at or below this may be missing; everything above is here */
} kl_inflight;

uint64_t kl_inflight_hash(uint64_t seed, uint32_t keyspace, kl_slice key);

void kl_inflight_init(kl_inflight *table, kl_allocator *allocator);
void kl_inflight_destroy(kl_inflight *table);

/* Makes sure that `count` more hashes fit, dropping what is at or below `visible`. False: no memory. */
bool kl_inflight_reserve(kl_inflight *table, size_t count, uint64_t visible);
/* Within what was reserved. */
void kl_inflight_add(kl_inflight *table, uint64_t hash, uint64_t ts);
/* The newest timestamp of the hash, 0 when it is not here. May be stale. */
uint64_t kl_inflight_find(const kl_inflight *table, uint64_t hash);
/* Takes back what was added at `ts`: the commit did not happen. */
void kl_inflight_withdraw(kl_inflight *table, uint64_t hash, uint64_t ts);

#endif
