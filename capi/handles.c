/* capi/handles.c: giving out and taking back handles. See handles.h; the argument is in README.md. */
#include "handles.h"

capi_table capi_tables[CAPI_KINDS + 1];

static const char *const capi_handles_kind_names[CAPI_KINDS + 1] = {
    "",          "keel_db",    "keel_keyspace", "keel_txn",  "keel_cursor",
    "keel_view", "keel_batch", "keel_check",    "keel_load", "keel_value"};

/* ---- Why a handle is refused ---- */

static kl_status capi_handles_refuse_stale(capi_kind kind, uint64_t handle, bool ended, kl_error *err) {
  const char *name = capi_handles_kind_names[kind];
  unsigned long long number = (unsigned long long)handle;
  if (!ended) return kl_fail(err, KL_E_HANDLE, "%s %llu was never given out; pass a handle that is open", name, number);
  if (kind == CAPI_TXN) {
    return kl_fail(err, KL_E_FINISHED, "transaction %llu has ended; begin a new one", number);
  }
  return kl_fail(err, KL_E_HANDLE, "%s %llu is closed; pass a handle that is open", name, number);
}

kl_status capi_refuse(capi_kind kind, uint64_t handle, kl_error *err) {
  const char *name = capi_handles_kind_names[kind];
  if (handle == 0) return kl_fail(err, KL_E_HANDLE, "the %s is 0; pass a handle that is open", name);
  uint64_t given = capi_handle_kind(handle);
  if (given != (uint64_t)kind) {
    if (given == 0 || given > CAPI_KINDS) {
      return kl_fail(err, KL_E_HANDLE, "%llu is no handle; pass a %s", (unsigned long long)handle, name);
    }
    return kl_fail(err, KL_E_HANDLE, "%llu is a %s; pass a %s", (unsigned long long)handle,
                   capi_handles_kind_names[given], name);
  }
  capi_table *table = &capi_tables[kind];
  uint32_t index = capi_handle_slot(handle);
  capi_slot *slot = capi_slot_at(table, index);
  uint64_t count = capi_handle_count(handle);
  if (slot == NULL || count == 0) return capi_handles_refuse_stale(kind, handle, false, err);
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
  uint64_t issued = word >> (CAPI_WORD_LIVE_SHIFT + 1);
  if (count > issued) return capi_handles_refuse_stale(kind, handle, false, err);
  if (count == issued && (word & CAPI_WORD_LIVE) != 0 && capi_slot_forked(slot)) {
    return kl_fail(err, KL_E_FORKED, "this %s was made before a fork; open the database anew in the child", name);
  }
  return capi_handles_refuse_stale(kind, handle, true, err);
}

kl_status capi_refuse_concurrent(capi_kind kind, kl_error *err) {
  return kl_fail(err, KL_E_CONCURRENT_USE, "another thread is inside a call with this %s; use it from one at a time",
                 capi_handles_kind_names[kind]);
}

/* ---- Free slots: a stack (R. K. Treiber, 1986), tagged so that a head that came back is seen to have changed ---- */

static void capi_handles_push_free(capi_table *table, capi_slot *slot) {
  uint64_t head = atomic_load_explicit(&table->free_head, memory_order_relaxed);
  uint64_t next;
  do {
    atomic_store_explicit(&slot->next_free, (uint32_t)head, memory_order_relaxed);
    next = (((head >> 32) + 1) << 32) | (slot->index + 1);
    /* Release: next_free and the word are seen by who pops. */
  } while (!atomic_compare_exchange_weak_explicit(&table->free_head, &head, next, memory_order_release,
                                                  memory_order_relaxed));
}

static capi_slot *capi_handles_pop_free(capi_table *table) {
  uint64_t head = atomic_load_explicit(&table->free_head, memory_order_acquire);
  while ((uint32_t)head != 0) {
    /* Slots are never given back to the allocator, so that reading one that another thread has just popped is
     * harmless. */
    capi_slot *slot = capi_slot_at(table, (uint32_t)head - 1);
    uint64_t rest = atomic_load_explicit(&slot->next_free, memory_order_relaxed);
    uint64_t next = (((head >> 32) + 1) << 32) | rest;
    if (atomic_compare_exchange_weak_explicit(&table->free_head, &head, next, memory_order_acquire,
                                              memory_order_acquire)) {
      return slot;
    }
  }
  return NULL;
}

/* ---- Growth: lock-free too, so that a fork at any moment leaves the child a table that it can use ---- */

/* The segment that holds `index`, made when absent. False: no memory. */
static bool capi_handles_have_segment(capi_kind kind, uint32_t index) {
  uint32_t segment = 31U - (uint32_t)__builtin_clz(index / CAPI_FIRST_SEGMENT + 1);
  _Atomic(capi_slot *) *place = &capi_tables[kind].segments[segment];
  if (atomic_load_explicit(place, memory_order_acquire) != NULL) return true;
  kl_allocator *allocator = kl_allocator_libc();
  size_t count = (size_t)CAPI_FIRST_SEGMENT << segment;
  capi_slot *slots = kl_alloc_aligned(allocator, count * sizeof(capi_slot), _Alignof(capi_slot));
  if (slots == NULL) return false;
  uint32_t first = CAPI_FIRST_SEGMENT * ((1U << segment) - 1U);
  for (size_t i = 0; i < count; i++) {
    atomic_init(&slots[i].word, 0);
    atomic_init(&slots[i].next_free, 0);
    atomic_init(&slots[i].fork_count, 0);
    slots[i].index = first + (uint32_t)i;
    slots[i].kind = kind;
  }
  capi_slot *expected = NULL;
  if (!atomic_compare_exchange_strong_explicit(place, &expected, slots, memory_order_acq_rel, memory_order_acquire)) {
    kl_free(allocator, slots, count * sizeof(capi_slot)); /* another thread was faster */
  }
  return true;
}

static kl_status capi_handles_fresh_slot(capi_kind kind, capi_slot **out_slot, kl_error *err) {
  capi_table *table = &capi_tables[kind];
  uint32_t limit = CAPI_FIRST_SEGMENT * ((1U << CAPI_SEGMENTS) - 1U);
  uint32_t index = atomic_load_explicit(&table->fresh, memory_order_relaxed);
  do {
    if (index >= limit) {
      return kl_fail(err, KL_E_LIMIT, "%u handles of kind %s are open; close some", limit,
                     capi_handles_kind_names[kind]);
    }
    if (!capi_handles_have_segment(kind, index)) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for more handles of kind %s", capi_handles_kind_names[kind]);
    }
  } while (!atomic_compare_exchange_weak_explicit(&table->fresh, &index, index + 1, memory_order_relaxed,
                                                  memory_order_relaxed));
  *out_slot = capi_slot_at(table, index);
  return KL_OK;
}

/* ---- The life of a handle ---- */

kl_status capi_handle_new(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err) {
  capi_slot *slot = capi_handles_pop_free(&capi_tables[kind]);
  if (slot == NULL) {
    kl_status status = capi_handles_fresh_slot(kind, &slot, err);
    if (status != KL_OK) return status;
  }
  /* The slot is ours alone until LIVE is set. */
  uint64_t count = (atomic_load_explicit(&slot->word, memory_order_relaxed) >> (CAPI_WORD_LIVE_SHIFT + 1)) + 1;
  slot->object = object;
  atomic_store_explicit(&slot->fork_count, (uint32_t)kl_fork_count(), memory_order_relaxed);
  uint64_t generation = ((uint64_t)kind << CAPI_COUNT_BITS) | count;
  uint64_t handle = (generation << CAPI_SLOT_BITS) | slot->index;
  /* Release: who finds LIVE finds the object. */
  atomic_store_explicit(&slot->word, capi_handle_word(handle), memory_order_release);
  *out_handle = handle;
  return KL_OK;
}

kl_status capi_slot_finish(capi_slot *slot, kl_error *err) {
  capi_object *object = slot->object;
  slot->object = NULL;
  kl_status status = object->destroy(object, err);
  uint64_t count = atomic_load_explicit(&slot->word, memory_order_relaxed) >> (CAPI_WORD_LIVE_SHIFT + 1);
  /* A slot whose count is used up is retired: a count that began anew would make old handles valid. */
  if (count < CAPI_COUNT_MAX) capi_handles_push_free(&capi_tables[slot->kind], slot);
  return status;
}

kl_status capi_close_shared(capi_kind kind, uint64_t handle, kl_error *err) {
  capi_slot *slot = capi_slot_of(kind, handle);
  if (slot == NULL) return capi_refuse(kind, handle, err);
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
  do {
    if ((word & ~CAPI_WORD_PINS) != capi_handle_word(handle) || capi_slot_forked(slot)) {
      return capi_refuse(kind, handle, err);
    }
    /* One thread clears LIVE; from then on nobody enters. Acquire: what those did who have left is seen. Release: not
     * needed for the object, but orders what the closer did before with it. */
  } while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, word & ~CAPI_WORD_LIVE, memory_order_acq_rel,
                                                  memory_order_acquire));
  return (word & CAPI_WORD_PINS) == 0 ? capi_slot_finish(slot, err) : KL_OK;
}

kl_status capi_end_exclusive(capi_slot *slot, kl_error *err) {
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  atomic_store_explicit(&slot->word, word & ~(CAPI_WORD_LIVE | CAPI_WORD_PINS), memory_order_release);
  return capi_slot_finish(slot, err);
}

kl_status capi_close_exclusive(capi_kind kind, uint64_t handle, kl_error *err) {
  capi_slot *slot;
  kl_status status = capi_enter_exclusive(kind, handle, &slot, err);
  return status == KL_OK ? capi_end_exclusive(slot, err) : status;
}
