/* capi/handles.h: integers that stand for objects, checked at every call, without a lock.
 *
 * A handle is generation (32 bits) above slot (21 bits), so below 2^53. The generation is the kind (4 bits) above a
 * count (28 bits) of how often the slot was given out. There is one table per kind, so that a count says for certain
 * what was once given out: a transaction that has ended is told from a number that never was one.
 *
 * A slot has one atomic word: the count, a LIVE bit, and the number of pins. Every call pins the slot while it is
 * inside, and closing clears LIVE: the object is destroyed by whoever takes the last pin away. README.md (CAPI-1 ...
 * CAPI-7) has the protocol and the argument.
 *
 * Two ways to be inside:
 *   shared      any number of threads (databases, keyspaces, views). Enter and leave change the count of pins.
 *   exclusive   one thread (transactions, cursors, batches, checks, loads, values that are written). A second one gets KL_E_CONCURRENT_USE, also when it wants to
 *               close. Leave is a plain store, since nobody else may change the word.
 *
 * Objects embed capi_object first. Thread rules: everything from any thread. Errors are those of the public calls. */
#ifndef CAPI_HANDLES_H
#define CAPI_HANDLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../core/db/db.h"

typedef enum capi_kind {
  CAPI_DB = 1,
  CAPI_KEYSPACE = 2,
  CAPI_TXN = 3,
  CAPI_CURSOR = 4,
  CAPI_VIEW = 5,
  CAPI_BATCH = 6,
  CAPI_CHECK = 7,
  CAPI_LOAD = 8,
  CAPI_VALUE = 9
} capi_kind;

enum {
  CAPI_KINDS = 9,
  CAPI_SLOT_BITS = 21,
  CAPI_COUNT_BITS = 28,
  CAPI_SEGMENTS = 17,       /* segment k has 16 << k slots: 2,097,136 in all, below 2^21 */
  CAPI_FIRST_SEGMENT = 16,  /* slots of segment 0 */
  CAPI_WORD_LIVE_SHIFT = 35 /* pins below, LIVE here, count above */
};
#define CAPI_COUNT_MAX ((UINT64_C(1) << CAPI_COUNT_BITS) - 1)
#define CAPI_WORD_LIVE (UINT64_C(1) << CAPI_WORD_LIVE_SHIFT)
#define CAPI_WORD_PINS (CAPI_WORD_LIVE - 1)

typedef struct capi_object capi_object;
struct capi_object {
  /* Frees the object and what it holds. Runs once, when nobody is inside. `err` is nullable; the result tells how the
   * last use of an engine ended. */
  kl_status (*destroy)(capi_object *self, kl_error *err);
};

typedef struct capi_slot {
  _Alignas(64) _Atomic(uint64_t) word; /* a cache line per slot: neighbours are used by different threads */
  _Atomic(uint32_t) next_free;         /* index + 1 of the next free slot, 0: none. Of use while the slot is free */
  _Atomic(uint32_t) fork_count;        /* kl_fork_count() of the process that gave the handle out */
  capi_object *object;                 /* written before LIVE is set; read by those who hold a pin */
  uint32_t index;
  capi_kind kind;
} capi_slot;

typedef struct capi_table {
  _Atomic(capi_slot *) segments[CAPI_SEGMENTS];
  _Atomic(uint32_t) fresh;     /* slots below this index were given out at least once */
  _Atomic(uint64_t) free_head; /* tag (32 bits, against ABA) above index + 1 of the first free slot */
} capi_table;

extern capi_table capi_tables[CAPI_KINDS + 1]; /* by kind; [0] is not used */

static inline uint32_t capi_handle_slot(uint64_t handle) {
  return (uint32_t)(handle & ((UINT64_C(1) << CAPI_SLOT_BITS) - 1));
}
static inline uint64_t capi_handle_count(uint64_t handle) {
  return (handle >> CAPI_SLOT_BITS) & CAPI_COUNT_MAX;
}
static inline uint64_t capi_handle_kind(uint64_t handle) {
  return handle >> (CAPI_SLOT_BITS + CAPI_COUNT_BITS);
}

/* The word of a slot while `handle` is open and nobody is inside. */
static inline uint64_t capi_handle_word(uint64_t handle) {
  return (capi_handle_count(handle) << (CAPI_WORD_LIVE_SHIFT + 1)) | CAPI_WORD_LIVE;
}

/* The slot at an index, NULL when its segment does not exist. */
static inline capi_slot *capi_slot_at(capi_table *table, uint32_t index) {
  uint32_t block = index / CAPI_FIRST_SEGMENT + 1;
  uint32_t segment = 31U - (uint32_t)__builtin_clz(block);
  if (segment >= CAPI_SEGMENTS) return NULL;
  capi_slot *slots = atomic_load_explicit(&table->segments[segment], memory_order_acquire);
  return slots != NULL ? slots + (index - CAPI_FIRST_SEGMENT * ((1U << segment) - 1U)) : NULL;
}

/* The slot that a handle of `kind` names, NULL when it can be none. */
static inline capi_slot *capi_slot_of(capi_kind kind, uint64_t handle) {
  if (capi_handle_kind(handle) != (uint64_t)kind) return NULL;
  return capi_slot_at(&capi_tables[kind], capi_handle_slot(handle));
}

static inline bool capi_slot_forked(const capi_slot *slot) {
  return atomic_load_explicit(&slot->fork_count, memory_order_relaxed) != (uint32_t)kl_fork_count();
}

/* Says why a handle is not usable: fills err and returns KL_E_HANDLE, KL_E_FINISHED or KL_E_FORKED. */
kl_status capi_refuse(capi_kind kind, uint64_t handle, kl_error *err);
kl_status capi_refuse_concurrent(capi_kind kind, kl_error *err);

/* Gives out a handle for `object`. KL_E_LIMIT when every slot is taken, KL_E_NO_MEMORY. The object stays the caller's
 * on failure. */
kl_status capi_handle_new(capi_kind kind, capi_object *object, uint64_t *out_handle, kl_error *err);

/* Shared. On success the object stays until capi_leave_shared. */
static inline kl_status capi_enter_shared(capi_kind kind, uint64_t handle, capi_slot **out_slot, kl_error *err) {
  capi_slot *slot = capi_slot_of(kind, handle);
  *out_slot = slot;
  if (slot == NULL) return capi_refuse(kind, handle, err);
  /* Acquire: pairs with the release in capi_handle_new, so that the object is seen whole. */
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
  do {
    if ((word & ~CAPI_WORD_PINS) != capi_handle_word(handle) || capi_slot_forked(slot)) {
      return capi_refuse(kind, handle, err);
    }
  } while (
      !atomic_compare_exchange_weak_explicit(&slot->word, &word, word + 1, memory_order_acquire, memory_order_acquire));
  return KL_OK;
}

/* Destroys the object of a slot that is no longer LIVE and has no pin, and frees the slot. */
kl_status capi_slot_finish(capi_slot *slot, kl_error *err);

static inline void capi_leave_shared(capi_slot *slot) {
  /* Release: what was done with the object comes before its destruction. Acquire: the last one out sees all of that. */
  uint64_t old = atomic_fetch_sub_explicit(&slot->word, 1, memory_order_acq_rel);
  if ((old & (CAPI_WORD_LIVE | CAPI_WORD_PINS)) == 1) (void)capi_slot_finish(slot, NULL);
}

/* Whether `handle`, whose slot the caller has pinned, is still open. */
static inline bool capi_is_open(const capi_slot *slot, uint64_t handle) {
  return (atomic_load_explicit(&slot->word, memory_order_relaxed) & ~CAPI_WORD_PINS) == capi_handle_word(handle);
}

/* Closes a shared handle. When others are inside, the last of them destroys the object, and KL_OK is returned. */
kl_status capi_close_shared(capi_kind kind, uint64_t handle, kl_error *err);

/* Exclusive. */
static inline kl_status capi_enter_exclusive(capi_kind kind, uint64_t handle, capi_slot **out_slot, kl_error *err) {
  capi_slot *slot = capi_slot_of(kind, handle);
  *out_slot = slot;
  if (slot == NULL) return capi_refuse(kind, handle, err);
  uint64_t idle = capi_handle_word(handle);
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  if ((word & ~CAPI_WORD_PINS) != idle || capi_slot_forked(slot)) return capi_refuse(kind, handle, err);
  word = idle;
  /* Acquire: pairs with the release in capi_leave_exclusive, so that a transaction may go from thread to thread. */
  if (!atomic_compare_exchange_strong_explicit(&slot->word, &word, idle + 1, memory_order_acquire,
                                               memory_order_relaxed)) {
    return (word & ~CAPI_WORD_PINS) == idle ? capi_refuse_concurrent(kind, err) : capi_refuse(kind, handle, err);
  }
  return KL_OK;
}

static inline void capi_leave_exclusive(capi_slot *slot) {
  /* We hold the only pin and nobody else may change the word, so that a store does. */
  uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
  atomic_store_explicit(&slot->word, word - 1, memory_order_release);
}

/* Instead of leaving: the handle is gone, its object destroyed, its slot free. */
kl_status capi_end_exclusive(capi_slot *slot, kl_error *err);

/* Closes an exclusive handle. KL_E_CONCURRENT_USE, and nothing happens, when another thread is inside. */
kl_status capi_close_exclusive(capi_kind kind, uint64_t handle, kl_error *err);

/* The object behind a slot that the caller is inside of. */
static inline void *capi_slot_object(const capi_slot *slot) {
  return slot->object;
}

#endif
