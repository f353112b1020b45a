/* core/base/epoch.h: epoch-based reclamation (K. Fraser, "Practical lock-freedom", 2004, chapter 5).
 *
 * Readers of lock-free structures announce themselves once per operation; memory that was unlinked is freed when
 * every reader that could have seen it has left. Difference to the paper: a reader claims one of a fixed number of
 * cache-line slots per entry (found from a per-thread hint, one uncontended compare-and-swap) rather than owning one
 * for the life of its thread, so there is no registration, nothing to clean up at thread exit, and a goroutine or a
 * worker that changes threads between calls is harmless. An entry must be left by the same call chain; entries nest
 * (each takes a slot).
 *
 * Thread rules: all functions from any thread. */
#ifndef KL_BASE_EPOCH_H
#define KL_BASE_EPOCH_H

#include <stdint.h>

#include "memory.h"
#include "status.h"

typedef struct kl_epoch kl_epoch; /* one reclamation domain; one per open database */

typedef struct kl_epoch_guard {
  uint32_t slot;
} kl_epoch_guard;

kl_status kl_epoch_new(kl_allocator *allocator, kl_epoch **out_epoch, kl_error *err);
/* No reader may be inside. Runs every pending reclamation. NULL is allowed. */
void kl_epoch_free(kl_epoch *epoch);

kl_epoch_guard kl_epoch_enter(kl_epoch *epoch);
void kl_epoch_leave(kl_epoch *epoch, kl_epoch_guard guard);

/* Something to free later. The caller embeds it in the object that it unlinks: retiring never allocates. */
typedef struct kl_epoch_entry kl_epoch_entry;
struct kl_epoch_entry {
  kl_epoch_entry *next;
  uint64_t retired_at;
  void (*reclaim)(kl_epoch_entry *entry, void *context);
  void *context;
};

/* `entry` is no longer reachable for readers that enter from now on; `reclaim` runs once none can hold it, from some
 * thread that calls kl_epoch_retire, kl_epoch_collect or kl_epoch_free. */
void kl_epoch_retire(kl_epoch *epoch, kl_epoch_entry *entry);
/* Tries to advance the epoch and runs what has become free; returns how many were reclaimed. Never waits. */
uint32_t kl_epoch_collect(kl_epoch *epoch);

#endif
