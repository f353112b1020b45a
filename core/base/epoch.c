/* core/base/epoch.c: epoch-based reclamation. See epoch.h for the interface, README.md for the argument in full.
 *
 * A domain has a global epoch, a counter that only grows, and an array of slots. A slot is one 64-bit word: the epoch
 * at which its first reader entered, and how many readers share it. A collection takes the list of what was retired,
 * advances the epoch, reads all slots, and reclaims what was retired before the oldest epoch that it found
 * (BASE-EPOCH-1).
 *
 * Why that is safe. Let X be unlinked and then retired with r, and let reader R hold a pointer to X. R read the global
 * epoch e, then wrote its slot, then read the link to X; the link was still there, so all this came before the
 * unlinking, and r was read after it: e <= r. So as long as R is inside, its slot shows an epoch <= r (sharing never
 * raises a slot's epoch), and a collection that sees the slot keeps X. A collection that does not see R's slot read
 * it before R wrote it; X was unlinked before that, so R, which reads links after writing its slot, cannot find X.
 * The last step is the store-then-load pattern: R writes its slot and then reads a link; the other side writes the
 * link and then reads the slot. Both sides have a full fence in between, so at least one sees the other. */
#include "epoch.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "assert.h"

enum {
  EPOCH_SLOTS = 64, /* a power of two; more readers than that share slots */
  EPOCH_COUNT_BITS = 16,
  EPOCH_COLLECT_EVERY = 64 /* retirements between the collections that kl_epoch_retire starts */
};
#define EPOCH_COUNT_MASK ((UINT64_C(1) << EPOCH_COUNT_BITS) - 1)

/* epoch << EPOCH_COUNT_BITS | readers. The epoch means something while readers > 0. 48 bits of epoch last for 8 years
 * of a million collections a second. Each slot has its own cache line: entering must not disturb other readers. */
typedef struct epoch_slot {
  _Alignas(64) _Atomic uint64_t word;
} epoch_slot;

struct kl_epoch {
  epoch_slot slots[EPOCH_SLOTS];
  /* Written by collections only, read by every reader: apart from the line that retirements write. */
  _Alignas(64) _Atomic uint64_t global;
  kl_allocator *allocator;
  _Alignas(64) _Atomic(kl_epoch_entry *) retired; /* newest first; pushed by any thread, taken whole by the collector */
  _Atomic uint32_t uncollected;                   /* retirements since the last collection */
  atomic_flag collecting;                         /* guards what follows; only ever tried, never waited for */
  kl_epoch_entry *pending_first, *pending_last;   /* oldest first */
};

/* Thread sanitizer does not model fences, and gcc warns of it. It loses nothing here: every pair that publishes data
 * does so through the atomic words themselves; the fences only order a store before a later load of another word. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void epoch_full_fence(void) {
  atomic_thread_fence(memory_order_seq_cst);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/* The same after an atomic read-modify-write, which on x86 is a locked instruction and as such a full fence. */
static inline void epoch_fence_after_rmw(void) {
#if defined(__x86_64__) || defined(__i386__)
  atomic_signal_fence(memory_order_seq_cst); /* keeps the compiler from moving accesses */
#else
  epoch_full_fence();
#endif
}

kl_status kl_epoch_new(kl_allocator *allocator, kl_epoch **out_epoch, kl_error *err) {
  kl_epoch *epoch = kl_alloc_aligned(allocator, sizeof *epoch, _Alignof(kl_epoch));
  if (epoch == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for an epoch domain (%zu bytes)", sizeof *epoch);
  for (int i = 0; i < EPOCH_SLOTS; i++) atomic_init(&epoch->slots[i].word, 0);
  atomic_init(&epoch->global, 1);
  epoch->allocator = allocator;
  atomic_init(&epoch->retired, NULL);
  atomic_init(&epoch->uncollected, 0);
  atomic_flag_clear_explicit(&epoch->collecting, memory_order_relaxed);
  *out_epoch = epoch;
  return KL_OK;
}

/* Tries to count one more reader in a slot. `share`: also when that slot's readers entered at another epoch. */
static bool epoch_slot_take(epoch_slot *slot, uint64_t now, bool share) {
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  for (;;) {
    uint64_t next;
    if ((word & EPOCH_COUNT_MASK) == 0) {
      next = now << EPOCH_COUNT_BITS | 1;
    } else if (share && (word & EPOCH_COUNT_MASK) < EPOCH_COUNT_MASK) {
      next = word + 1; /* an older epoch than ours only keeps more alive */
    } else {
      return false;
    }
    /* Acquire-release: continues the release sequence of readers that left this slot, so that a collector that reads
     * a later word is still ordered after them. */
    if (atomic_compare_exchange_weak_explicit(&slot->word, &word, next, memory_order_acq_rel, memory_order_relaxed)) {
      return true;
    }
  }
}

kl_epoch_guard kl_epoch_enter(kl_epoch *epoch) {
  uint64_t now = atomic_load_explicit(&epoch->global, memory_order_relaxed); /* stale is old, and old is safe */
  uint32_t first = kl_thread_hint();
  /* The second pass, and the passes after it, run only when all slots are taken. */
  for (uint32_t i = 0;; i++) {
    uint32_t index = (first + i) & (EPOCH_SLOTS - 1);
    if (epoch_slot_take(&epoch->slots[index], now, i >= EPOCH_SLOTS)) {
      epoch_fence_after_rmw(); /* the slot is written before any link is read */
      return (kl_epoch_guard){index};
    }
  }
}

void kl_epoch_leave(kl_epoch *epoch, kl_epoch_guard guard) {
  /* Release: what we read under the guard was read before a collector sees us gone. */
  uint64_t before = atomic_fetch_sub_explicit(&epoch->slots[guard.slot].word, 1, memory_order_release);
  KL_ASSERT((before & EPOCH_COUNT_MASK) != 0);
  (void)before;
}

void kl_epoch_retire(kl_epoch *epoch, kl_epoch_entry *entry) {
  /* The unlinking comes before the epoch that we read here, and before every slot that a collection reads later. */
  epoch_full_fence();
  entry->retired_at = atomic_load_explicit(&epoch->global, memory_order_relaxed);
  entry->next = atomic_load_explicit(&epoch->retired, memory_order_relaxed);
  /* Release: the collector reads the entry. Pushing only, and taking the whole list, is free of ABA. */
  while (!atomic_compare_exchange_weak_explicit(&epoch->retired, &entry->next, entry, memory_order_release,
                                                memory_order_relaxed)) {
  }
  uint32_t count = atomic_fetch_add_explicit(&epoch->uncollected, 1, memory_order_relaxed) + 1;
  if (count >= EPOCH_COLLECT_EVERY) (void)kl_epoch_collect(epoch);
}

/* Moves what was retired to the end of the pending queue, in order of retirement. Under `collecting`. */
static void epoch_take_retired(kl_epoch *epoch) {
  kl_epoch_entry *entry = atomic_exchange_explicit(&epoch->retired, NULL, memory_order_acquire);
  kl_epoch_entry *first = NULL;
  kl_epoch_entry *last = entry;
  while (entry != NULL) {
    kl_epoch_entry *older = entry->next;
    entry->next = first;
    first = entry;
    entry = older;
  }
  if (first == NULL) return;
  if (epoch->pending_last != NULL) {
    epoch->pending_last->next = first;
  } else {
    epoch->pending_first = first;
  }
  epoch->pending_last = last;
}

/* The oldest epoch at which a reader may be inside; `now` when there is none. */
static uint64_t epoch_oldest_reader(kl_epoch *epoch, uint64_t now) {
  uint64_t oldest = now;
  for (int i = 0; i < EPOCH_SLOTS; i++) {
    /* Acquire: pairs with the release in kl_epoch_leave; what a reader did comes before what we free. */
    uint64_t word = atomic_load_explicit(&epoch->slots[i].word, memory_order_acquire);
    if ((word & EPOCH_COUNT_MASK) != 0 && word >> EPOCH_COUNT_BITS < oldest) oldest = word >> EPOCH_COUNT_BITS;
  }
  return oldest;
}

static uint32_t epoch_run(kl_epoch_entry *entry) {
  uint32_t count = 0;
  while (entry != NULL) {
    kl_epoch_entry *next = entry->next; /* reclaim frees the entry */
    entry->reclaim(entry, entry->context);
    entry = next;
    count++;
  }
  return count;
}

uint32_t kl_epoch_collect(kl_epoch *epoch) {
  if (atomic_flag_test_and_set_explicit(&epoch->collecting, memory_order_acquire))
    return 0; /* somebody else is at it */
  atomic_store_explicit(&epoch->uncollected, 0, memory_order_relaxed);
  epoch_take_retired(epoch);
  kl_epoch_entry *ready = NULL;
  if (epoch->pending_first != NULL) {
    /* The order matters: take the list, advance, fence, read the slots. What is retired from now on gets an epoch >=
     * now and is not looked at in this round anyway. */
    uint64_t now = atomic_fetch_add_explicit(&epoch->global, 1, memory_order_acq_rel) + 1;
    epoch_fence_after_rmw();
    uint64_t oldest = epoch_oldest_reader(epoch, now);
    /* Threads may push in another order than they read the epoch: the queue is only nearly sorted, and stopping at the
     * first entry that must stay keeps a few behind it longer than needed, which is safe. */
    kl_epoch_entry **end = &ready;
    while (epoch->pending_first != NULL && epoch->pending_first->retired_at < oldest) {
      *end = epoch->pending_first;
      end = &epoch->pending_first->next;
      epoch->pending_first = epoch->pending_first->next;
    }
    *end = NULL;
    if (epoch->pending_first == NULL) epoch->pending_last = NULL;
  }
  atomic_flag_clear_explicit(&epoch->collecting, memory_order_release);
  /* Outside: reclaiming may be slow, and may itself retire. */
  return epoch_run(ready);
}

void kl_epoch_free(kl_epoch *epoch) {
  if (epoch == NULL) return;
  /* No reader is inside, so each round reclaims everything; what that retires in turn needs another round. */
  while (kl_epoch_collect(epoch) != 0) {
  }
  KL_ASSERT(epoch->pending_first == NULL);
  KL_ASSERT(atomic_load_explicit(&epoch->retired, memory_order_relaxed) == NULL);
  kl_free(epoch->allocator, epoch, sizeof *epoch);
}
