/* core/delta/version.h: a key's entry and its chain of versions; private to the delta and its benchmarks.
 *
 * An entry is one key: made once, never moved, never freed before the arena. From it hangs a chain of versions,
 * newest first (DELTA-2), to which versions are only ever added. The first version lies in the same block as the
 * entry, so that a key that was written once costs one run of memory: header, key, version, value.
 *
 *   entry:   newest 8 | key_size 4 | key bytes | padding to 8 | version
 *   version: older 8 | ts 8 | value_size 4 | kind 1 | unused 3 | value bytes
 *
 * A value begins at a multiple of 8, so that a view of it can be read as an array of numbers. */
#ifndef KL_DELTA_VERSION_H
#define KL_DELTA_VERSION_H

#include <stdatomic.h>

#include "../base/arena.h"
#include "delta.h"

typedef struct delta_version delta_version;
struct delta_version {
  _Atomic(delta_version *) older; /* towards smaller timestamps */
  uint64_t ts;
  uint32_t value_size;
  uint8_t kind;
  /* the value's bytes follow */
};

typedef struct delta_entry {
  _Atomic(delta_version *) newest; /* never NULL once the entry is reachable */
  uint32_t key_size;
  unsigned char key[];
} delta_entry;

static inline kl_slice delta_entry_key(const delta_entry *entry) {
  return kl_slice_make(entry->key, entry->key_size);
}

/* How many bytes two keys begin with in common. */
static inline uint32_t delta_entry_same(const delta_entry *a, const delta_entry *b) {
  uint32_t shortest = a->key_size < b->key_size ? a->key_size : b->key_size;
  uint32_t same = 0;
  while (same < shortest && a->key[same] == b->key[same]) same++;
  return same;
}

/* Asks for an entry: its key, and where its version often begins. */
static inline void delta_entry_prefetch(const void *entry) {
  __builtin_prefetch(entry);
  __builtin_prefetch((const char *)entry + 64);
}

/* As comparing whole slices, without a call: keys are short. */
static inline bool delta_key_equal(const delta_entry *entry, kl_slice key) {
  if (entry->key_size != key.size) return false;
  const unsigned char *a = entry->key, *b = key.data;
  size_t n = key.size;
  for (; n >= 8; n -= 8, a += 8, b += 8) {
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    if (x != y) return false;
  }
  for (; n != 0; n--, a++, b++) {
    if (*a != *b) return false;
  }
  return true;
}

static inline const void *delta_version_value(const delta_version *version) {
  return version + 1;
}

/* The newest version at or below read_ts, NULL when there is none. */
static inline const delta_version *delta_entry_visible(const delta_entry *entry, uint64_t read_ts) {
  /* Acquire: pairs with the release that linked the version; its fields and value are visible. */
  const delta_version *version = atomic_load_explicit(&entry->newest, memory_order_acquire);
  while (version != NULL && version->ts > read_ts) {
    version = atomic_load_explicit(&version->older, memory_order_acquire);
  }
  return version;
}

static inline void delta_version_export(const delta_version *version, kl_version *out) {
  out->ts = version->ts;
  out->kind = (kl_version_kind)version->kind;
  out->value = kl_slice_make(delta_version_value(version), version->value_size);
}

/* KL_E_INVALID (timestamp 0, unknown kind, missing bytes), KL_E_KEY_SIZE, KL_E_VALUE_SIZE: what cannot be stored. */
kl_status kl_delta_version_check(kl_slice key, const kl_version *version, kl_error *err);

/* How many bytes an entry with its key and first version takes, and a version alone. */
size_t kl_delta_entry_bytes(kl_slice key, const kl_version *version);
size_t kl_delta_version_bytes(const kl_version *version);

/* Fills zeroed memory of that many bytes, aligned to 8. Not reachable for others until linked. */
void kl_delta_entry_fill(delta_entry *entry, kl_slice key, const kl_version *version);
void kl_delta_version_fill(delta_version *memory, const kl_version *version);

/* The version inside an entry that was just filled. */
delta_version *kl_delta_entry_own_version(delta_entry *entry);

/* Links `version` into the entry's chain at its place. Returns false when a version of this ts was there before; that
 * one stays in the chain behind the new one and is never seen again. Any number of threads at once. */
bool kl_delta_entry_link(delta_entry *entry, delta_version *version);

#endif
