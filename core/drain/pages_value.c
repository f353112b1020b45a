/* core/drain/pages_value.c: values that stay readable: copied, pinned, or in memory of their own.
 *
 * An extent in the cache lies, with its table of checksums if it has one, behind 16 bytes that say how long it is and
 * what its checksum is. Its address alone does not: a forged tree could name the address of one extent with the length
 * of another, and would be given bytes behind its frame. */
#include <inttypes.h>

#include "../base/assert.h"
#include "pages_private.h"

/* -------- extents -------- */

/* For messages, also when the store is gone. */
static const char *pages_value_path(const kl_pages *pages) {
  const kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  return store != NULL ? kl_store_path(store) : "";
}

kl_status pages_extent_check(const kl_pages *pages, const kl_tree_extent *extent, kl_error *err) {
  return kl_extent_check_reference(pages_value_path(pages), extent, err);
}

static kl_status pages_extent_of_memory(const pages_op *op, const kl_tree_extent *extent, kl_slice *out_bytes,
                                        kl_error *err) {
  const kl_store *store = atomic_load_explicit(&op->pages->store, memory_order_acquire);
  if (store == NULL) return kl_fail(err, KL_E_CLOSED, "the database was closed; open it again");
  const void *bytes = kl_store_memory(store, extent->address, (size_t)extent->length);
  if (bytes == NULL) {
    return KL_BROKEN(err, "DRAIN-4: a value of %" PRIu64 " bytes at %" PRIu64 " is not in the memory store",
                     extent->length, extent->address);
  }
  *out_bytes = kl_slice_make(bytes, (size_t)extent->length);
  return KL_OK;
}

kl_status pages_extent_bytes(pages_op *op, const kl_tree_extent *extent, kl_slice *out_bytes, bool *out_is_frame,
                             kl_error *err) {
  kl_pages *pages = op->pages;
  kl_error cause;
  const void *frame;
  *out_is_frame = false;
  kl_status status = pages_extent_check(pages, extent, err);
  if (status != KL_OK) return status;
  if (extent->length > KL_PAGES_WHOLE) return KL_E_LIMIT;
  if (pages->cache == NULL) return pages_extent_of_memory(op, extent, out_bytes, err);
  if (extent->chunk != 0 && extent->chunk != KL_EXTENT_CHUNK) return KL_E_LIMIT; /* see pages_cache_verify */
  if (extent->stored > atomic_load_explicit(&pages->extent_most, memory_order_relaxed)) return KL_E_LIMIT;
  if (op->tries >= PAGES_TRIES) return KL_E_LIMIT;
  uint32_t length = (uint32_t)extent->length;
  kl_cache_ref ref = {.address = extent->address / KL_CACHE_BLOCK | PAGES_EXTENT_KEY,
                      .checksum = extent->birth << 32 | extent->checksum,
                      .stored_length = length,
                      .length = (uint32_t)extent->stored + PAGES_EXTENT_HEAD};
  status = kl_cache_get(pages->cache, &ref, op->flags, &frame, &cause);
  if (status == KL_CACHE_RETRY) op->wanted = ref.length;
  if (status == KL_CACHE_RETRY || status == KL_E_LIMIT) return status;
  if (status != KL_OK) {
    if (err != NULL) *err = cause;
    return status;
  }
  uint32_t found[2];
  memcpy(found, frame, sizeof found);
  if (found[0] != length || found[1] != extent->checksum) {
    return kl_extent_wrong(pages_value_path(pages), extent, err);
  }
  *out_bytes = kl_slice_make((const uint8_t *)frame + PAGES_EXTENT_HEAD, length);
  *out_is_frame = true;
  return KL_OK;
}

kl_status pages_read_store(void *context, uint64_t address, void *buffer, size_t length, kl_error *err) {
  return kl_store_read(context, address, buffer, length, err);
}

kl_status pages_extent_read(kl_pages *pages, const kl_tree_extent *extent, void *buffer, kl_error *err) {
  kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  if (store == NULL) return kl_fail(err, KL_E_CLOSED, "the database was closed; open it again");
  kl_extent_check check;
  kl_status status = kl_extent_check_begin(&check, kl_store_path(store), extent, pages_read_store, store, err);
  if (status == KL_OK) status = kl_store_read(store, extent->address, buffer, (size_t)extent->length, err);
  return status == KL_OK ? kl_extent_check_add(&check, buffer, (size_t)extent->length, err) : status;
}

/* -------- held values -------- */

void kl_held_clear(kl_held *held) {
  if (held->pin != NULL) kl_cache_unpin(held->pages->cache, held->pin);
  if (held->owns_pages) kl_pages_unref(held->pages);
  if (held->capacity > KL_HELD_BUFFER) {
    kl_free(held->allocator, held->buffer, held->capacity);
    held->buffer = NULL;
    held->capacity = 0;
  }
  held->value = kl_slice_make(NULL, 0);
  held->pin = NULL;
  held->pages = NULL;
  held->owns_pages = false;
}

void kl_held_destroy(kl_held *held) {
  kl_held_clear(held);
  if (held->capacity != 0) kl_free(held->allocator, held->buffer, held->capacity);
  held->buffer = NULL;
  held->capacity = 0;
}

kl_status pages_held_reserve(kl_held *held, kl_pages *pages, size_t size, kl_error *err) {
  enum { PAGES_HELD_LEAST = 256 };
  if (size <= held->capacity && held->capacity != 0) return KL_OK;
  size_t capacity = size;
  if (size <= KL_HELD_BUFFER) { /* it is kept: in few sizes, so that it soon is large enough */
    capacity = PAGES_HELD_LEAST;
    while (capacity < size) capacity *= 2;
  }
  void *buffer = kl_alloc(pages->allocator, capacity);
  if (buffer == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a value of %zu bytes; free some", size);
  if (held->capacity != 0) kl_free(held->allocator, held->buffer, held->capacity);
  held->buffer = buffer;
  held->capacity = capacity;
  held->allocator = pages->allocator;
  return KL_OK;
}

kl_status pages_held_copy(kl_held *held, kl_pages *pages, kl_slice value, kl_error *err) {
  kl_status status = pages_held_reserve(held, pages, value.size, err);
  if (status != KL_OK) return status;
  if (value.size != 0) memcpy(held->buffer, value.data, value.size);
  held->value = kl_slice_make(held->buffer, value.size);
  return KL_OK;
}

/* `is_frame`: the bytes lie in a frame of the cache, and not in memory that ends with the operation. A memory store's
 * blocks cannot be pinned: they are used again when no checkpoint needs them (DRAIN-6). */
static kl_status pages_held_keep(kl_held *held, pages_op *op, kl_slice value, bool is_frame, bool own_life,
                                 kl_error *err) {
  if (value.size <= KL_HELD_COPY || !is_frame || !kl_cache_pin(op->pages->cache, value.data)) {
    return pages_held_copy(held, op->pages, value, err);
  }
  held->value = value;
  held->pin = value.data;
  held->pages = op->pages;
  held->owns_pages = own_life;
  if (own_life) kl_pages_ref(op->pages);
  return KL_OK;
}

kl_status pages_held_take(kl_held *held, pages_op *op, const kl_tree_value *value, bool own_life,
                          pages_extent *out_later, kl_error *err) {
  kl_slice bytes = {NULL, 0};
  bool is_frame;
  if (!value->is_extent) {
    is_frame = op->pages->cache != NULL && op->asides == NULL;
    return pages_held_keep(held, op, value->bytes, is_frame, own_life, err);
  }
  kl_tree_value_extent(value, &out_later->extent);
  kl_status status = pages_extent_bytes(op, &out_later->extent, &bytes, &is_frame, err);
  if (status == KL_E_LIMIT) {
    out_later->waits = true;
    return KL_OK;
  }
  return status == KL_OK ? pages_held_keep(held, op, bytes, is_frame, own_life, err) : status;
}
