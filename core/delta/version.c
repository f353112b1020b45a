/* core/delta/version.c: version chains. See version.h. */
#include "version.h"

#include "../base/assert.h"

/* The log and the ABI allow values up to 2^31 - 1 bytes; the fields here are 32 bits wide. */
static const uint64_t delta_largest_size = 0x7fffffff;

kl_status kl_delta_version_check(kl_slice key, const kl_version *version, kl_error *err) {
  if (version->ts == 0) return kl_fail(err, KL_E_INVALID, "a version needs a commit timestamp above 0");
  if (version->kind != KL_VERSION_PUT && version->kind != KL_VERSION_DELETE) {
    return kl_fail(err, KL_E_INVALID, "unknown kind of version: %d", (int)version->kind);
  }
  if (key.size > delta_largest_size) {
    return kl_fail(err, KL_E_KEY_SIZE, "a key of %zu bytes is above the delta's bound of %llu", key.size,
                   (unsigned long long)delta_largest_size);
  }
  if (version->value.size > delta_largest_size) {
    return kl_fail(err, KL_E_VALUE_SIZE, "a value of %zu bytes is above the delta's bound of %llu", version->value.size,
                   (unsigned long long)delta_largest_size);
  }
  if ((key.data == NULL && key.size != 0) || (version->value.data == NULL && version->value.size != 0)) {
    return kl_fail(err, KL_E_INVALID, "a key or value has a size but no bytes");
  }
  if (version->kind == KL_VERSION_DELETE && version->value.size != 0) {
    return kl_fail(err, KL_E_INVALID, "a delete carries a value of %zu bytes; it must be empty", version->value.size);
  }
  return KL_OK;
}

static size_t delta_entry_version_offset(size_t key_size) {
  size_t align = _Alignof(delta_version);
  return (offsetof(delta_entry, key) + key_size + align - 1) & ~(align - 1);
}

size_t kl_delta_version_bytes(const kl_version *version) {
  return sizeof(delta_version) + version->value.size;
}

size_t kl_delta_entry_bytes(kl_slice key, const kl_version *version) {
  return delta_entry_version_offset(key.size) + kl_delta_version_bytes(version);
}

void kl_delta_version_fill(delta_version *memory, const kl_version *version) {
  memory->ts = version->ts;
  memory->kind = (uint8_t)version->kind;
  memory->value_size = (uint32_t)version->value.size;
  if (version->value.size != 0) memcpy(memory + 1, version->value.data, version->value.size);
}

delta_version *kl_delta_entry_own_version(delta_entry *entry) {
  return (delta_version *)(void *)((char *)entry + delta_entry_version_offset(entry->key_size));
}

void kl_delta_entry_fill(delta_entry *entry, kl_slice key, const kl_version *version) {
  entry->key_size = (uint32_t)key.size;
  if (key.size != 0) memcpy(entry->key, key.data, key.size);
  delta_version *own = kl_delta_entry_own_version(entry);
  kl_delta_version_fill(own, version);
  /* Relaxed: whoever links the entry publishes this with it. */
  atomic_store_explicit(&entry->newest, own, memory_order_relaxed);
}

bool kl_delta_entry_link(delta_entry *entry, delta_version *version) {
  _Atomic(delta_version *) *link = &entry->newest;
  delta_version *next = atomic_load_explicit(link, memory_order_acquire);
  for (;;) {
    /* A version is never unlinked, so a link that was once before our place stays before it (DELTA-2): after a lost
     * race we go on from the same link. */
    while (next != NULL && next->ts > version->ts) {
      link = &next->older;
      next = atomic_load_explicit(link, memory_order_acquire);
    }
    atomic_store_explicit(&version->older, next, memory_order_relaxed);
    /* Release publishes the version; acquire on failure, because we then read what another thread has linked. */
    if (atomic_compare_exchange_weak_explicit(link, &next, version, memory_order_release, memory_order_acquire)) break;
  }
  return next == NULL || next->ts != version->ts;
}
