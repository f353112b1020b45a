/* core/txn/snapshot.h: which snapshots are being read: the registry that reclamation and statistics ask.
 *
 * A snapshot is a timestamp, registered in a slot of its own cache line while somebody reads at it. Beginning one is a
 * compare-and-swap on a free slot near the thread's last one, and ending it is a store: threads do not meet. The table
 * grows when it gets crowded and never shrinks. Thread rules: everything from any thread; one kl_snapshot by one
 * thread at a time. */
#ifndef KL_TXN_SNAPSHOT_H
#define KL_TXN_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/status.h"
#include "../os/thread.h"

enum { KL_SNAPSHOT_LABEL = 32 }; /* bytes kept of a label, terminator included */

typedef struct kl_snapshot_slot kl_snapshot_slot;
typedef struct kl_layers kl_layers; /* what there is to read (layers.h); here only remembered */
typedef struct kl_snapshot_table kl_snapshot_table;

typedef struct kl_snapshot_registry {
  kl_allocator *allocator;
  const _Atomic uint64_t *visible;     /* the newest timestamp that may be read */
  _Atomic(kl_layers *) *layers;        /* where that is to be read */
  _Atomic(kl_snapshot_table *) newest; /* the largest table; older ones hang behind it */
  kl_mutex growing;
} kl_snapshot_registry;

typedef struct kl_snapshot {
  uint64_t ts;
  kl_layers *layers; /* hold all that may be read at ts, and stay as long as the snapshot (TXN-10) */
  kl_snapshot_slot *slot;
} kl_snapshot;

typedef struct kl_snapshot_summary {
  uint64_t live;
  uint64_t oldest_ts; /* `visible` when none is live */
  uint64_t oldest_begin_ns;
  char oldest_label[KL_SNAPSHOT_LABEL];
} kl_snapshot_summary;

/* `visible` and `layers` are read at each beginning. */
kl_status kl_snapshot_registry_init(kl_snapshot_registry *registry, kl_allocator *allocator,
                                    const _Atomic uint64_t *visible, _Atomic(kl_layers *) *layers, kl_error *err);
void kl_snapshot_registry_destroy(kl_snapshot_registry *registry); /* no snapshot is live */

/* A snapshot of the newest visible timestamp. `now_ns` is its time of birth; `label` may be NULL. */
kl_status kl_snapshot_begin(kl_snapshot_registry *registry, uint64_t now_ns, const char *label, kl_snapshot *out,
                            kl_error *err);
/* Ends it and begins another one in its place, which cannot fail. */
void kl_snapshot_renew(kl_snapshot_registry *registry, kl_snapshot *snapshot);
void kl_snapshot_end(kl_snapshot *snapshot);
/* From now on until its end, nothing is read from the trees of its layers: what only they need may go (TXN-13). */
void kl_snapshot_leave_trees(kl_snapshot *snapshot);

/* No snapshot that is live, and none that begins later, is below the returned timestamp. Looks at every slot. */
uint64_t kl_snapshot_oldest_ts(kl_snapshot_registry *registry);
/* Does a live snapshot read these layers? They are not the current ones any more, so that none will begin to. */
bool kl_snapshot_uses(kl_snapshot_registry *registry, const kl_layers *layers);
/* Likewise: one that may still look into their trees? */
bool kl_snapshot_uses_trees(kl_snapshot_registry *registry, const kl_layers *layers);
void kl_snapshot_summarise(kl_snapshot_registry *registry, kl_snapshot_summary *out);

#endif
