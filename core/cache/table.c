/* core/cache/table.c: the writers' side of the page table. See table.h. */
#include "table.h"

#include "../base/assert.h"

enum {
  TABLE_BITS_FIRST = 1, /* lines of a partition's first array, as a power of two */
  TABLE_BITS_MOST = 28,
  /* Slots in use, of 16, above which an array grows and below which it shrinks: far enough apart that a cache which
   * only turns over does neither. */
  TABLE_GROW_ABOVE = 12,
  TABLE_SHRINK_BELOW = 2
};

/* In front of the lines, in a line of its own: readers never touch it. */
typedef struct table_array {
  _Alignas(64) kl_epoch_entry entry; /* first: reclaim casts back */
  kl_table *table;
  size_t size; /* bytes, with this */
} table_array;

static size_t table_size_of(uint32_t bits) {
  return sizeof(table_array) + ((size_t)1 << bits) * sizeof(kl_table_line);
}

static kl_table_line *table_lines_of(table_array *array) {
  return (kl_table_line *)(void *)(array + 1);
}

static table_array *table_array_of(uintptr_t root) {
  return (table_array *)(root & ~(uintptr_t)63) - 1; /* NOLINT(performance-no-int-to-ptr) */
}

static void table_array_free(table_array *array) {
  kl_table *table = array->table;
  atomic_fetch_sub_explicit(&table->bytes, array->size, memory_order_relaxed);
  kl_free(table->allocator, array, array->size);
}

static void table_reclaim(kl_epoch_entry *entry, void *context) {
  kl_table *table = context;
  table_array_free((table_array *)(void *)entry);
  /* Release: whoever waits for the last one before it frees the table sees that we are done with it. */
  atomic_fetch_sub_explicit(&table->retired, 1, memory_order_release);
}

static table_array *table_array_new(kl_table *table, uint32_t bits) {
  size_t size = table_size_of(bits);
  table_array *array = kl_alloc_aligned(table->allocator, size, _Alignof(table_array));
  if (array == NULL) return NULL;
  array->entry.reclaim = table_reclaim;
  array->entry.context = table;
  array->table = table;
  array->size = size;
  atomic_fetch_add_explicit(&table->bytes, size, memory_order_relaxed);
  return array;
}

void kl_table_init(kl_table *table, kl_allocator *allocator) {
  for (int i = 0; i < KL_TABLE_PARTITIONS; i++) atomic_init(&table->roots[i], 0);
  table->allocator = allocator;
  atomic_init(&table->bytes, 0);
  atomic_init(&table->retired, 0);
}

void kl_table_destroy(kl_table *table) {
  for (int i = 0; i < KL_TABLE_PARTITIONS; i++) {
    uintptr_t root = atomic_load_explicit(&table->roots[i], memory_order_relaxed);
    if (root != 0) table_array_free(table_array_of(root));
  }
  KL_ASSERT(atomic_load_explicit(&table->bytes, memory_order_relaxed) == 0);
}

/* Puts an entry into lines that have a free slot. */
static void table_put(uintptr_t root, uint64_t address, uint32_t frame) {
  uint32_t mask, index;
  kl_table_line *lines = kl_table_lines(root, kl_table_hash(address), &mask, &index);
  for (;; index = (index + 1) & mask) {
    kl_table_line *line = &lines[index];
    for (unsigned i = 0; i < KL_TABLE_SLOTS; i++) {
      if (atomic_load_explicit(&line->frame[i], memory_order_relaxed) != 0) continue;
      /* Release, twice: the 0 in the frame before the address, the address and the page's bytes before the frame. */
      atomic_store_explicit(&line->address[i], address, memory_order_release);
      atomic_store_explicit(&line->frame[i], frame + 1, memory_order_release);
      return;
    }
    atomic_fetch_add_explicit(&line->passed, 1, memory_order_relaxed);
  }
}

/* Replaces a partition's array by one of `bits`. False: no memory, and nothing changed. */
static bool table_rebuild(kl_table *table, uint32_t partition, uint32_t bits, kl_epoch_entry **out_retired) {
  table_array *array = bits <= TABLE_BITS_MOST ? table_array_new(table, bits) : NULL;
  if (array == NULL) return false;
  uintptr_t old = atomic_load_explicit(&table->roots[partition], memory_order_relaxed);
  uintptr_t root = (uintptr_t)table_lines_of(array) | bits;
  if (old != 0) {
    uint32_t mask, ignored;
    kl_table_line *lines = kl_table_lines(old, 0, &mask, &ignored);
    for (uint32_t index = 0; index <= mask; index++) {
      for (unsigned i = 0; i < KL_TABLE_SLOTS; i++) {
        uint32_t frame = atomic_load_explicit(&lines[index].frame[i], memory_order_relaxed);
        if (frame == 0) continue;
        table_put(root, atomic_load_explicit(&lines[index].address[i], memory_order_relaxed), frame - 1);
      }
    }
    atomic_fetch_add_explicit(&table->retired, 1, memory_order_relaxed);
    *out_retired = &table_array_of(old)->entry;
  }
  atomic_store_explicit(&table->roots[partition], root, memory_order_release); /* the lines come before it */
  return true;
}

bool kl_table_insert(kl_table *table, uint64_t address, uint32_t frame, kl_epoch_entry **out_retired) {
  uint32_t partition = kl_table_partition(address);
  uintptr_t root = atomic_load_explicit(&table->roots[partition], memory_order_relaxed);
  uint32_t bits = root == 0 ? TABLE_BITS_FIRST - 1 : (uint32_t)(root & 63);
  uint64_t slots = root == 0 ? 0 : (uint64_t)KL_TABLE_SLOTS << bits;
  KL_ASSERT(kl_table_find(table, address) == 0);
  *out_retired = NULL;
  if (16 * (uint64_t)(table->counts[partition] + 1) > TABLE_GROW_ABOVE * slots) {
    /* Without memory for more lines, those there are can still be filled to the last slot. */
    if (!table_rebuild(table, partition, bits + 1, out_retired) && table->counts[partition] >= slots) return false;
    root = atomic_load_explicit(&table->roots[partition], memory_order_relaxed);
  }
  table_put(root, address, frame);
  table->counts[partition]++;
  return true;
}

/* Clears the slot of an entry and takes back what it counted on its way there. */
static bool table_take(uintptr_t root, uint64_t address) {
  uint32_t mask, first;
  kl_table_line *lines = kl_table_lines(root, kl_table_hash(address), &mask, &first);
  for (uint32_t step = 0; step <= mask; step++) {
    kl_table_line *line = &lines[(first + step) & mask];
    for (unsigned i = 0; i < KL_TABLE_SLOTS; i++) {
      if (atomic_load_explicit(&line->frame[i], memory_order_relaxed) == 0 ||
          atomic_load_explicit(&line->address[i], memory_order_relaxed) != address) {
        continue;
      }
      atomic_store_explicit(&line->frame[i], 0, memory_order_relaxed);
      for (uint32_t s = 0; s < step; s++) {
        atomic_fetch_sub_explicit(&lines[(first + s) & mask].passed, 1, memory_order_relaxed);
      }
      return true;
    }
    if (atomic_load_explicit(&line->passed, memory_order_relaxed) == 0) break;
  }
  return false;
}

bool kl_table_remove(kl_table *table, uint64_t address, kl_epoch_entry **out_retired) {
  uint32_t partition = kl_table_partition(address);
  uintptr_t root = atomic_load_explicit(&table->roots[partition], memory_order_relaxed);
  *out_retired = NULL;
  if (root == 0 || !table_take(root, address)) return false;
  uint32_t bits = (uint32_t)(root & 63);
  table->counts[partition]--;
  if (bits > TABLE_BITS_FIRST &&
      16 * (uint64_t)table->counts[partition] < TABLE_SHRINK_BELOW * ((uint64_t)KL_TABLE_SLOTS << bits)) {
    (void)table_rebuild(table, partition, bits - 1, out_retired); /* only to save memory */
  }
  return true;
}
