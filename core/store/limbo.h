/* core/store/limbo.h: blocks that were freed and are still needed. Private to core/store.
 *
 * An entry is a run of blocks, born at checkpoint b and dead at checkpoint d: it belongs to every version v with
 * b <= v < d. It is let go when there is no such v among those that are held (STORE-8).
 *
 * Thread rules: as space.h. */
#ifndef KL_STORE_LIMBO_H
#define KL_STORE_LIMBO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/status.h"

typedef struct store_limbo_entry {
  uint64_t block, blocks;
  uint64_t birth, death;
} store_limbo_entry;

typedef struct store_limbo {
  kl_allocator *allocator;
  store_limbo_entry *entries;
  size_t count, capacity;
  uint64_t blocks; /* of all entries */
  /* The versions that readers held when the checkpoint in progress began, ascending. */
  uint64_t *live;
  size_t live_count, live_capacity;
} store_limbo;

void store_limbo_close(store_limbo *limbo);
/* Room for `more` entries, so that adding them cannot fail. */
kl_status store_limbo_reserve(store_limbo *limbo, size_t more, kl_error *err);
void store_limbo_add(store_limbo *limbo, uint64_t block, uint64_t blocks, uint64_t birth, uint64_t death);
/* Remembers which versions are held. On failure those of before stay. */
kl_status store_limbo_set_live(store_limbo *limbo, const uint64_t *live, size_t count, kl_error *err);
/* Lets go what neither a live version nor one of `durable` needs; calls `gone` for each run. */
void store_limbo_settle(store_limbo *limbo, const uint64_t *durable, size_t durable_count,
                        void (*gone)(void *context, uint64_t block, uint64_t blocks), void *context);
/* The checkpoint `death` did not happen: forgets what died in it. */
void store_limbo_undo(store_limbo *limbo, uint64_t death);
uint64_t store_limbo_end(const store_limbo *limbo);                    /* first block behind all entries */
uint64_t store_limbo_before(const store_limbo *limbo, uint64_t block); /* blocks of entries that lie before it */

#endif
