/* core/drain/roots.c: the roots of one checkpoint, remembered as they are found.
 *
 * A radix tree of four bits a level, from the lowest bits, because ids are given in sequence. A slot is NULL, an entry,
 * or (lowest bit set) a further table; it only ever goes in that order, by compare-and-swap, and nothing is freed
 * before all is. Two threads that look for the same keyspace find the same row, as the trees below a checkpoint never
 * change; the second one throws its entry away. */
#include "roots.h"

#include <stdatomic.h>

#include "../base/assert.h"
#include "drain_private.h"
#include "tree_record.h"

enum { ROOTS_FAN = 16, ROOTS_FAN_BITS = 4 };

typedef struct roots_entry {
  kl_tree_pointer root;
  uint32_t keyspace;
} roots_entry;

typedef struct roots_table {
  _Atomic uintptr_t slot[ROOTS_FAN];
} roots_table;

struct kl_roots {
  kl_pages *pages;
  kl_allocator *allocator;
  kl_tree_pointer catalogue;
  uint64_t sequence, ts;
  _Atomic uint64_t references;
  roots_table found;
};

/* -------- life -------- */

kl_status kl_roots_open(kl_pages *pages, const kl_tree_pointer *catalogue, uint64_t sequence, uint64_t ts,
                        kl_roots **out_roots, kl_error *err) {
  kl_roots *roots = kl_alloc(pages->allocator, sizeof *roots);
  if (roots == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the roots of a checkpoint; free some");
  roots->pages = pages;
  roots->allocator = pages->allocator;
  roots->catalogue = *catalogue;
  roots->sequence = sequence;
  roots->ts = ts;
  atomic_init(&roots->references, 1);
  kl_pages_ref(pages);
  *out_roots = roots;
  return KL_OK;
}

void kl_roots_ref(kl_roots *roots) {
  /* Relaxed: the caller has a reference already. */
  uint64_t before = atomic_fetch_add_explicit(&roots->references, 1, memory_order_relaxed);
  KL_ASSERT(before != 0);
  (void)before;
}

/* The recursion ends after eight levels: an id has no more bits. */
static void roots_free_table(kl_roots *roots, roots_table *table) {
  for (int i = 0; i < ROOTS_FAN; i++) {
    uintptr_t slot = atomic_load_explicit(&table->slot[i], memory_order_relaxed);
    if ((slot & 1) != 0) {
      roots_table *further = (roots_table *)(slot - 1); /* NOLINT(performance-no-int-to-ptr): a tagged pointer */
      roots_free_table(roots, further);
      kl_free(roots->allocator, further, sizeof *further);
    } else if (slot != 0) {
      kl_free(roots->allocator, (roots_entry *)slot, sizeof(roots_entry)); /* NOLINT(performance-no-int-to-ptr) */
    }
  }
}

void kl_roots_unref(kl_roots *roots) {
  if (roots == NULL) return;
  /* Release: our use ends before; acquire: the one that frees has seen all others end. */
  uint64_t before = atomic_fetch_sub_explicit(&roots->references, 1, memory_order_acq_rel);
  KL_ASSERT(before != 0);
  if (before != 1) return;
  kl_pages *pages = roots->pages;
  roots_free_table(roots, &roots->found);
  kl_free(roots->allocator, roots, sizeof *roots);
  kl_pages_unref(pages);
}

/* -------- finding -------- */

static uint32_t roots_index(uint32_t keyspace, unsigned depth) {
  return keyspace >> (ROOTS_FAN_BITS * depth) & (ROOTS_FAN - 1);
}

static const roots_entry *roots_lookup(const kl_roots *roots, uint32_t keyspace) {
  const roots_table *table = &roots->found;
  for (unsigned depth = 0;; depth++) {
    /* Acquire: pairs with the release that stored the slot; the entry or table is visible. */
    uintptr_t slot = atomic_load_explicit(&table->slot[roots_index(keyspace, depth)], memory_order_acquire);
    if ((slot & 1) == 0) {
      const roots_entry *entry = (const roots_entry *)slot; /* NOLINT(performance-no-int-to-ptr) */
      return entry != NULL && entry->keyspace == keyspace ? entry : NULL;
    }
    table = (const roots_table *)(slot - 1); /* NOLINT(performance-no-int-to-ptr) */
  }
}

void kl_roots_remember(kl_roots *roots, uint32_t keyspace, const kl_tree_pointer *root) {
  roots_entry *made = kl_alloc(roots->allocator, sizeof *made);
  roots_table *table = &roots->found, *further = NULL;
  if (made == NULL) return;
  made->keyspace = keyspace;
  made->root = *root;
  for (unsigned depth = 0;;) {
    _Atomic uintptr_t *slot = &table->slot[roots_index(keyspace, depth)];
    uintptr_t there = atomic_load_explicit(slot, memory_order_acquire), wanted = (uintptr_t)made;
    if ((there & 1) != 0) {
      table = (roots_table *)(there - 1); /* NOLINT(performance-no-int-to-ptr) */
      depth++;
      continue;
    }
    if (there != 0) {
      const roots_entry *other = (const roots_entry *)there; /* NOLINT(performance-no-int-to-ptr) */
      if (other->keyspace == keyspace) break;                /* another thread was faster */
      if (further == NULL) further = kl_alloc(roots->allocator, sizeof *further);
      if (further == NULL) break;
      memset(further, 0, sizeof *further); /* it may have been made for another slot */
      atomic_store_explicit(&further->slot[roots_index(other->keyspace, depth + 1)], there, memory_order_relaxed);
      wanted = (uintptr_t)further + 1;
    }
    /* Release publishes the entry or table; on failure we look again at what another thread made. */
    if (!atomic_compare_exchange_strong_explicit(slot, &there, wanted, memory_order_release, memory_order_relaxed)) {
      continue;
    }
    if (wanted == (uintptr_t)made) {
      made = NULL;
      break;
    }
    further = NULL;
  }
  if (made != NULL) kl_free(roots->allocator, made, sizeof *made);
  if (further != NULL) kl_free(roots->allocator, further, sizeof *further);
}

typedef struct roots_row {
  uint32_t keyspace;
  kl_tree_record record;
} roots_row;

/* Without a row the root stays null. */
static kl_status roots_read_row(void *context, size_t index, bool found, kl_slice value, kl_error *err) {
  roots_row *row = context;
  (void)index;
  return found ? kl_tree_record_decode(value, row->keyspace, &row->record, err) : KL_OK;
}

kl_status kl_roots_find(kl_roots *roots, uint32_t keyspace, kl_tree_pointer *out_root, kl_error *err) {
  const roots_entry *entry;
  uint8_t bytes[KL_TREE_RECORD_KEY];
  roots_row row = {.keyspace = keyspace};
  if (keyspace == 0) {
    *out_root = roots->catalogue;
    return KL_OK;
  }
  entry = roots_lookup(roots, keyspace);
  if (entry != NULL) {
    *out_root = entry->root;
    return KL_OK;
  }
  kl_tree_record_key(keyspace, bytes);
  kl_slice key = kl_slice_make(bytes, sizeof bytes);
  kl_status status = kl_pages_get_many(roots->pages, &roots->catalogue, &key, 1, roots_read_row, &row, err);
  if (status != KL_OK) return status;
  *out_root = row.record.root;
  kl_roots_remember(roots, keyspace, out_root);
  return KL_OK;
}

/* -------- questions -------- */

uint64_t kl_roots_sequence(const kl_roots *roots) {
  return roots->sequence;
}

uint64_t kl_roots_ts(const kl_roots *roots) {
  return roots->ts;
}

kl_pages *kl_roots_pages(const kl_roots *roots) {
  return roots->pages;
}

void kl_roots_set_sequence(kl_roots *roots, uint64_t sequence) {
  roots->sequence = sequence;
}
