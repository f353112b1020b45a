/* core/cache/table.h: block address -> frame number, read without locks.
 *
 * 64 partitions, chosen by the top bits of the hash, each an open-addressing array of lines. A line is one cache line
 * with four slots of address and frame, so that a lookup that hits touches one line here. Each line counts the entries
 * that wanted it but were put further on: a search ends at the first line that nothing passed, and there are no
 * tombstones (the overflow counts of Facebook's F14 tables).
 *
 * Readers must be inside an epoch. Why a reader never gets a frame that belongs to another address (CACHE-1): a slot
 * holds one page from the store of its frame number to the store of 0 over it, and a frame that a reader inside an
 * epoch has seen in a slot is not used for another page until it leaves (CACHE-2). So if the reader sees the same frame
 * in the slot before and after it read the address, the slot held one page all the time, and the address is that
 * page's. Writers store the address before the frame (release), and clear the frame before a slot gets another address.
 *
 * Writers hold the partition's mutex. An array that is too full is replaced by one twice the size; the old one is
 * retired: readers that still look at it see pages as they were, whose frames are theirs until they leave. A page that
 * came since is a miss to them, and the miss path looks again under the mutex. */
#ifndef KL_CACHE_TABLE_H
#define KL_CACHE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/epoch.h"
#include "../base/memory.h"

enum { KL_TABLE_PARTITION_BITS = 6, KL_TABLE_PARTITIONS = 1 << KL_TABLE_PARTITION_BITS, KL_TABLE_SLOTS = 4 };

typedef struct kl_table_line {
  _Alignas(64) _Atomic uint64_t address[KL_TABLE_SLOTS];
  _Atomic uint32_t frame[KL_TABLE_SLOTS]; /* number + 1; 0: the slot is empty */
  _Atomic uint32_t passed;                /* entries whose search goes on behind this line */
} kl_table_line;

typedef struct kl_table {
  /* Of each partition: where its lines are, and in the low six bits log2 of their number; 0: none. */
  _Alignas(64) _Atomic uintptr_t roots[KL_TABLE_PARTITIONS];
  kl_allocator *allocator;
  _Atomic uint64_t bytes;               /* of all arrays, retired ones included */
  _Atomic uint32_t retired;             /* arrays that readers may still see */
  uint32_t counts[KL_TABLE_PARTITIONS]; /* entries; under the partition's mutex */
} kl_table;

/* Odd multiplier of Fibonacci hashing; addresses that follow each other spread over all partitions. */
static inline uint64_t kl_table_hash(uint64_t address) {
  return address * UINT64_C(0x9e3779b97f4a7c15);
}
static inline uint32_t kl_table_partition(uint64_t address) {
  return (uint32_t)(kl_table_hash(address) >> (64 - KL_TABLE_PARTITION_BITS));
}
static inline kl_table_line *kl_table_lines(uintptr_t root, uint64_t hash, uint32_t *out_mask, uint32_t *out_first) {
  uint32_t bits = (uint32_t)(root & 63);
  *out_mask = (1u << bits) - 1;
  /* The bits below those that chose the partition. */
  *out_first = (uint32_t)((hash << KL_TABLE_PARTITION_BITS) >> (64 - bits)); /* bits > 0 */
  return (kl_table_line *)(root & ~(uintptr_t)63); /* NOLINT(performance-no-int-to-ptr): aligned to a line */
}

/* The number of the frame + 1; 0: not found. Inside an epoch, or under the partition's mutex. */
static inline uint32_t kl_table_find(const kl_table *table, uint64_t address) {
  uint64_t hash = kl_table_hash(address);
  /* Acquire: the lines were written before the root. */
  uintptr_t root = atomic_load_explicit(&table->roots[hash >> (64 - KL_TABLE_PARTITION_BITS)], memory_order_acquire);
  if (root == 0) return 0;
  uint32_t mask, index;
  kl_table_line *lines = kl_table_lines(root, hash, &mask, &index);
  for (uint32_t left = mask + 1; left > 0; left--, index = (index + 1) & mask) {
    kl_table_line *line = &lines[index];
    for (unsigned i = 0; i < KL_TABLE_SLOTS; i++) {
      if (atomic_load_explicit(&line->address[i], memory_order_relaxed) != address) continue;
      /* Acquire: the page's bytes were written before its frame was stored here. */
      uint32_t frame = atomic_load_explicit(&line->frame[i], memory_order_acquire);
      /* Acquire: when this is a later page's address, the next load sees at least the 0 that came before it. */
      uint64_t same = atomic_load_explicit(&line->address[i], memory_order_acquire);
      if (frame != 0 && same == address && atomic_load_explicit(&line->frame[i], memory_order_relaxed) == frame) {
        return frame;
      }
    }
    if (atomic_load_explicit(&line->passed, memory_order_relaxed) == 0) break;
  }
  return 0;
}

/* Starts to bring the line of an address near. */
static inline void kl_table_prefetch(const kl_table *table, uint64_t address) {
  uint64_t hash = kl_table_hash(address);
  uintptr_t root = atomic_load_explicit(&table->roots[hash >> (64 - KL_TABLE_PARTITION_BITS)], memory_order_acquire);
  if (root == 0) return;
  uint32_t mask, index;
  const kl_table_line *lines = kl_table_lines(root, hash, &mask, &index);
  __builtin_prefetch(&lines[index]);
}

void kl_table_init(kl_table *table, kl_allocator *allocator);
void kl_table_destroy(kl_table *table); /* no reader, and `retired` is 0 */

/* Under the mutex of the address's partition. An address is inserted once. False: no memory. `out_retired`: an array
 * that was replaced, or NULL; to be handed to kl_epoch_retire without any lock. */
bool kl_table_insert(kl_table *table, uint64_t address, uint32_t frame, kl_epoch_entry **out_retired);
/* False: not there. Never allocates more than it may do without. */
bool kl_table_remove(kl_table *table, uint64_t address, kl_epoch_entry **out_retired);

#endif
