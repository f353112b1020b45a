/* core/txn/snapshot.c: the registry of live snapshots. See snapshot.h.
 *
 * Why no reader is overlooked (TXN-6). kl_snapshot_begin claims a slot (state PENDING) *before* it reads `visible`,
 * and kl_snapshot_oldest_ts reads `visible` *before* it looks at the slots; all four accesses are sequentially
 * consistent. If the scan finds a slot free, then the claim comes after the scan's look at it in the one order of
 * these accesses, so the reader's load of `visible` comes after the scan's, and yields at least the same: such a
 * reader is not below the result. If the scan finds it PENDING, the reader may have read an older `visible` already;
 * it is about to store it, in a few instructions, so the scan waits for that.
 *
 * Why layers and timestamp fit (TXN-10). A beginning loads the current layers, then `visible`, then looks whether the
 * layers are still the current ones, and begins anew if not. Trees hold only what was visible before they became
 * current, so `visible`, loaded later, is not older than they are. And what is committed into a delta that came after
 * these layers becomes visible only after its layers have become current: had the loaded timestamp been one of those,
 * the last look would have found them. That layers are not freed between the first look and the last: whoever retires
 * them asks kl_snapshot_uses after it has made others current, which waits for PENDING slots as above; so an address
 * cannot come back meanwhile either.
 *
 * Why nobody loses trees that it reads (TXN-13). kl_snapshot_uses_trees looks at `off_trees` of a slot that it found live
 * on layers which are retired. As above, that owner claimed the slot before they were, its state was seen live, and
 * with it (acquire) the `false` that it stored before: so a `true` is its own, stored after its last read (release), or
 * that of a successor, and then the owner is gone. A `false` that is out of date keeps blocks once too often. */
#include "snapshot.h"

#include <string.h>

#include "../base/arena.h"
#include "../base/assert.h"
#include "../base/rng.h"

enum {
  SNAPSHOT_FIRST_SLOTS = 64,
  SNAPSHOT_PROBES = 8, /* looked at in each table before it counts as crowded */
  SNAPSHOT_LABEL_WORDS = KL_SNAPSHOT_LABEL / 8
};

/* States of a slot; a live one holds its timestamp + SNAPSHOT_LIVE. */
enum { SNAPSHOT_FREE = 0, SNAPSHOT_PENDING = 1, SNAPSHOT_LIVE = 2 };

/* The label is stored as atomic words, because the statistics read it while the slot changes hands; `serial` tells
 * them when that has happened. */
struct kl_snapshot_slot {
  _Alignas(64) _Atomic uint64_t state;
  _Atomic(kl_layers *) layers; /* stored before a state that is live */
  _Atomic bool off_trees;      /* likewise; becomes true when the snapshot leaves its trees */
  _Atomic uint64_t serial;
  _Atomic uint64_t begin_ns;
  _Atomic uint64_t label[SNAPSHOT_LABEL_WORDS];
};

struct kl_snapshot_table {
  kl_snapshot_table *older;
  size_t count; /* power of two */
  kl_snapshot_slot slots[];
};

static size_t snapshot_table_size(size_t count) {
  return sizeof(kl_snapshot_table) + count * sizeof(kl_snapshot_slot);
}

static kl_snapshot_table *snapshot_table_new(kl_allocator *allocator, size_t count) {
  kl_snapshot_table *table = kl_alloc_aligned(allocator, snapshot_table_size(count), _Alignof(kl_snapshot_table));
  if (table != NULL) table->count = count;
  return table;
}

kl_status kl_snapshot_registry_init(kl_snapshot_registry *registry, kl_allocator *allocator,
                                    const _Atomic uint64_t *visible, _Atomic(kl_layers *) *layers, kl_error *err) {
  registry->allocator = allocator;
  registry->visible = visible;
  registry->layers = layers;
  kl_snapshot_table *table = snapshot_table_new(allocator, SNAPSHOT_FIRST_SLOTS);
  if (table == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the table of snapshots");
  kl_status status = kl_mutex_init(&registry->growing, err);
  if (status != KL_OK) {
    kl_free(allocator, table, snapshot_table_size(table->count));
    return status;
  }
  atomic_init(&registry->newest, table);
  return KL_OK;
}

void kl_snapshot_registry_destroy(kl_snapshot_registry *registry) {
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_acquire);
  while (table != NULL) {
    kl_snapshot_table *older = table->older;
    kl_free(registry->allocator, table, snapshot_table_size(table->count));
    table = older;
  }
  kl_mutex_destroy(&registry->growing);
}

static bool snapshot_claim(kl_snapshot_slot *slot) {
  uint64_t free_state = SNAPSHOT_FREE;
  if (atomic_load_explicit(&slot->state, memory_order_relaxed) != SNAPSHOT_FREE) return false;
  /* Sequentially consistent: see the top of this file. */
  return atomic_compare_exchange_strong_explicit(&slot->state, &free_state, SNAPSHOT_PENDING, memory_order_seq_cst,
                                                 memory_order_relaxed);
}

/* A free slot of the table, claimed, or NULL when `probes` of them from `start` on were taken. */
static kl_snapshot_slot *snapshot_search(kl_snapshot_table *table, uint64_t start, size_t probes) {
  if (probes > table->count) probes = table->count;
  for (size_t i = 0; i < probes; i++) {
    kl_snapshot_slot *slot = &table->slots[(start + i) & (table->count - 1)];
    if (snapshot_claim(slot)) return slot;
  }
  return NULL;
}

/* Puts a table of twice the size in front of `crowded`. False: no memory. */
static bool snapshot_grow(kl_snapshot_registry *registry, kl_snapshot_table *crowded) {
  bool grown = true;
  kl_mutex_lock(&registry->growing); /* so that several crowded-out threads make one table, not one each */
  if (atomic_load_explicit(&registry->newest, memory_order_relaxed) == crowded) {
    kl_snapshot_table *table = snapshot_table_new(registry->allocator, crowded->count * 2);
    if (table != NULL) {
      table->older = crowded;
      atomic_store_explicit(&registry->newest, table, memory_order_seq_cst);
    }
    grown = table != NULL;
  }
  kl_mutex_unlock(&registry->growing);
  return grown;
}

/* The last resort, when there is no memory for a larger table: any free slot anywhere. */
static kl_snapshot_slot *snapshot_search_all(kl_snapshot_registry *registry) {
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_acquire);
  kl_snapshot_slot *slot = NULL;
  for (; table != NULL && slot == NULL; table = table->older) slot = snapshot_search(table, 0, table->count);
  return slot;
}

static void snapshot_set_label(kl_snapshot_slot *slot, const char *label) {
  uint64_t words[SNAPSHOT_LABEL_WORDS] = {0};
  if (label != NULL) {
    size_t size = strlen(label);
    memcpy(words, label, size < KL_SNAPSHOT_LABEL - 1 ? size : KL_SNAPSHOT_LABEL - 1);
  }
  for (int i = 0; i < SNAPSHOT_LABEL_WORDS; i++) {
    atomic_store_explicit(&slot->label[i], words[i], memory_order_relaxed);
  }
}

/* The slot is PENDING, and ours: begins on what is the newest now. */
static void snapshot_enter(kl_snapshot_registry *registry, kl_snapshot_slot *slot, kl_snapshot *out) {
  kl_layers *layers = atomic_load_explicit(registry->layers, memory_order_seq_cst);
  uint64_t ts;
  for (;;) { /* see the top of this file */
    ts = atomic_load_explicit(registry->visible, memory_order_seq_cst);
    kl_layers *now = atomic_load_explicit(registry->layers, memory_order_seq_cst);
    if (now == layers) break;
    layers = now;
  }
  atomic_store_explicit(&slot->layers, layers, memory_order_relaxed);
  atomic_store_explicit(&slot->off_trees, false, memory_order_relaxed);
  /* Release: who sees it live sees layers, label and time of birth. */
  atomic_store_explicit(&slot->state, ts + SNAPSHOT_LIVE, memory_order_seq_cst);
  out->ts = ts;
  out->layers = layers;
  out->slot = slot;
}

kl_status kl_snapshot_begin(kl_snapshot_registry *registry, uint64_t now_ns, const char *label, kl_snapshot *out,
                            kl_error *err) {
  uint64_t start = kl_thread_hint();
  kl_snapshot_slot *slot = NULL;
  while (slot == NULL) {
    kl_snapshot_table *newest = atomic_load_explicit(&registry->newest, memory_order_acquire);
    kl_snapshot_table *table = newest;
    KL_ASSERT(newest != NULL); /* the first is made with the registry */
    for (; table != NULL && slot == NULL; table = table->older) {
      /* In a larger table a thread that holds many snapshots must not always begin at the same, taken, place. No two
       * live snapshots lie at one address. */
      uint64_t own = (uint64_t)(uintptr_t)out;
      uint64_t from = table->count == SNAPSHOT_FIRST_SLOTS ? start * SNAPSHOT_PROBES : kl_mix64(own);
      slot = snapshot_search(table, from, SNAPSHOT_PROBES);
    }
    if (slot == NULL && !snapshot_grow(registry, newest)) {
      slot = snapshot_search_all(registry);
      if (slot == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for one more snapshot");
    }
  }
  atomic_fetch_add_explicit(&slot->serial, 1, memory_order_relaxed);
  atomic_store_explicit(&slot->begin_ns, now_ns, memory_order_relaxed);
  snapshot_set_label(slot, label);
  snapshot_enter(registry, slot, out);
  return KL_OK;
}

void kl_snapshot_renew(kl_snapshot_registry *registry, kl_snapshot *snapshot) {
  /* As an end and a claim in one: see the top of this file for the order, kl_snapshot_end for the release. */
  (void)atomic_exchange_explicit(&snapshot->slot->state, SNAPSHOT_PENDING, memory_order_seq_cst);
  snapshot_enter(registry, snapshot->slot, snapshot);
}

void kl_snapshot_end(kl_snapshot *snapshot) {
  /* Release: the reads of this snapshot come before its end for whoever reclaims what only it could see. */
  atomic_store_explicit(&snapshot->slot->state, SNAPSHOT_FREE, memory_order_release);
  snapshot->slot = NULL;
}

void kl_snapshot_leave_trees(kl_snapshot *snapshot) {
  /* Release: what was read from them comes before for whoever gives their blocks away. */
  atomic_store_explicit(&snapshot->slot->off_trees, true, memory_order_release);
}

/* The state of a slot, once it is one that lasts. */
static uint64_t snapshot_settled(const kl_snapshot_slot *slot) {
  uint64_t state = atomic_load_explicit(&slot->state, memory_order_seq_cst);
  while (state == SNAPSHOT_PENDING) {
    kl_thread_yield();
    state = atomic_load_explicit(&slot->state, memory_order_seq_cst);
  }
  return state;
}

static bool snapshot_uses(kl_snapshot_registry *registry, const kl_layers *layers, bool trees) {
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_seq_cst);
  for (; table != NULL; table = table->older) {
    for (size_t i = 0; i < table->count; i++) {
      /* A slot that changes hands between the two loads shows the layers of its next owner, or of one that has ended:
       * either way the owner that we are asked about is gone, or we answer yes once too often. */
      kl_snapshot_slot *slot = &table->slots[i];
      if (snapshot_settled(slot) < SNAPSHOT_LIVE) continue;
      if (atomic_load_explicit(&slot->layers, memory_order_relaxed) != layers) continue;
      if (!trees || !atomic_load_explicit(&slot->off_trees, memory_order_acquire)) return true;
    }
  }
  return false;
}

bool kl_snapshot_uses(kl_snapshot_registry *registry, const kl_layers *layers) {
  return snapshot_uses(registry, layers, false);
}

bool kl_snapshot_uses_trees(kl_snapshot_registry *registry, const kl_layers *layers) {
  return snapshot_uses(registry, layers, true);
}

uint64_t kl_snapshot_oldest_ts(kl_snapshot_registry *registry) {
  uint64_t oldest = atomic_load_explicit(registry->visible, memory_order_seq_cst);
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_seq_cst);
  for (; table != NULL; table = table->older) {
    for (size_t i = 0; i < table->count; i++) {
      uint64_t state = snapshot_settled(&table->slots[i]);
      if (state >= SNAPSHOT_LIVE && state - SNAPSHOT_LIVE < oldest) oldest = state - SNAPSHOT_LIVE;
    }
  }
  return oldest;
}

/* Copies what the slot says into the summary if it is the oldest so far, and if it did not change hands meanwhile. */
static void snapshot_summarise_slot(kl_snapshot_slot *slot, kl_snapshot_summary *out) {
  uint64_t serial = atomic_load_explicit(&slot->serial, memory_order_relaxed);
  uint64_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
  if (state < SNAPSHOT_LIVE) return;
  out->live++;
  uint64_t begin_ns = atomic_load_explicit(&slot->begin_ns, memory_order_relaxed);
  if (begin_ns >= out->oldest_begin_ns) return;
  uint64_t words[SNAPSHOT_LABEL_WORDS];
  for (int i = 0; i < SNAPSHOT_LABEL_WORDS; i++) {
    words[i] = atomic_load_explicit(&slot->label[i], memory_order_relaxed);
  }
  if (atomic_load_explicit(&slot->state, memory_order_acquire) != state ||
      atomic_load_explicit(&slot->serial, memory_order_relaxed) != serial) {
    return; /* ended, or a successor took the slot: the next call tells */
  }
  out->oldest_begin_ns = begin_ns;
  memcpy(out->oldest_label, words, sizeof words);
}

void kl_snapshot_summarise(kl_snapshot_registry *registry, kl_snapshot_summary *out) {
  memset(out, 0, sizeof *out);
  out->oldest_ts = kl_snapshot_oldest_ts(registry);
  out->oldest_begin_ns = UINT64_MAX;
  kl_snapshot_table *table = atomic_load_explicit(&registry->newest, memory_order_acquire);
  for (; table != NULL; table = table->older) {
    for (size_t i = 0; i < table->count; i++) snapshot_summarise_slot(&table->slots[i], out);
  }
  if (out->oldest_begin_ns == UINT64_MAX) out->oldest_begin_ns = 0;
}
