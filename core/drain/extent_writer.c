/* core/drain/extent_writer.c: see extent_writer.h. */
#include "extent_writer.h"

#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "pages_private.h"

struct kl_extent_writer {
  kl_pages *pages;  /* a reference */
  uint64_t flushed; /* bytes of the value in the file: whole blocks, until all are */
  size_t used;      /* bytes in the buffer, which are the next */
  bool finished, taken;
  kl_error failed; /* code 0: nothing has */
  kl_extent_sums sums;
  uint8_t buffer[KL_EXTENT_BUFFER];
};

static kl_status extent_writer_put(void *context, uint64_t address, kl_slice bytes, kl_error *err) {
  kl_store *store = atomic_load_explicit(&((kl_extent_writer *)context)->pages->store, memory_order_acquire);
  if (store == NULL) return kl_fail(err, KL_E_CLOSED, "the database was closed; the value was not written");
  return kl_store_write_reserved(store, address, &bytes, 1, err);
}

/* DRAIN-5: what the cache knows of these blocks was something else. */
static void extent_writer_forget(kl_pages *pages, uint64_t address) {
  uint64_t block = address / KL_CACHE_BLOCK, keys[2] = {block, block | PAGES_EXTENT_KEY};
  if (pages->cache != NULL) kl_cache_drop(pages->cache, keys, 2);
}

kl_status kl_extent_writer_begin(kl_pages *pages, uint64_t length, kl_extent_writer **out_writer, kl_error *err) {
  kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  if (store == NULL) return kl_fail(err, KL_E_CLOSED, "the database was closed; open it again");
  if (length == 0 || length > KL_EXTENT_LENGTH_MOST) {
    return kl_fail(err, KL_E_LIMIT, "a value of %" PRIu64 " bytes cannot be written in parts; 1 to %" PRIu64 " can",
                   length, (uint64_t)KL_EXTENT_LENGTH_MOST);
  }
  kl_extent_writer *writer = kl_alloc(pages->allocator, sizeof *writer);
  if (writer == NULL) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to write a value (%zu bytes); free some", sizeof *writer);
  }
  kl_tree_extent extent = {.length = length, .chunk = kl_extent_chunk(length)};
  extent.stored = kl_extent_stored(length, extent.chunk);
  kl_status status = kl_store_reserve(store, extent.stored, &extent.address, err);
  if (status != KL_OK) {
    kl_free(pages->allocator, writer, sizeof *writer);
    return status;
  }
  extent_writer_forget(pages, extent.address);
  writer->pages = pages;
  kl_pages_ref(pages);
  kl_extent_sums_begin(&writer->sums, &extent, extent_writer_put, writer);
  *out_writer = writer;
  return KL_OK;
}

/* Writes what the buffer has; zeros up to the end of the last block. */
static kl_status extent_writer_flush(kl_extent_writer *writer, kl_error *err) {
  size_t whole = (size_t)kl_extent_table_at(writer->used);
  if (writer->used == 0) return KL_OK;
  memset(writer->buffer + writer->used, 0, whole - writer->used);
  kl_status status = extent_writer_put(writer, writer->sums.extent.address + writer->flushed,
                                       kl_slice_make(writer->buffer, whole), err);
  if (status == KL_OK) status = kl_extent_sums_add(&writer->sums, writer->buffer, writer->used, err);
  writer->flushed += writer->used;
  writer->used = 0;
  return status;
}

static kl_status extent_writer_ready(const kl_extent_writer *writer, kl_error *err) {
  if (writer->finished) return kl_fail(err, KL_E_INVALID, "the value is written already; begin another one");
  if (writer->failed.code != KL_OK && err != NULL) *err = writer->failed;
  return (kl_status)writer->failed.code;
}

/* What cannot be taken back is remembered: of the value some bytes are missing from now on. */
static kl_status extent_writer_remember(kl_extent_writer *writer, kl_status status, const kl_error *cause,
                                        kl_error *err) {
  writer->failed = *cause;
  if (err != NULL) *err = *cause;
  return status;
}

kl_status kl_extent_writer_write(kl_extent_writer *writer, const void *bytes, size_t size, kl_error *err) {
  const uint8_t *from = bytes;
  kl_error cause;
  kl_status status = extent_writer_ready(writer, err);
  if (status != KL_OK) return status;
  uint64_t length = writer->sums.extent.length, written = kl_extent_writer_written(writer);
  if (size > length - written) {
    return kl_fail(err, KL_E_INVALID,
                   "a value of %" PRIu64 " bytes was begun; %zu more than the %" PRIu64
                   " that it has so far are too many",
                   length, size, written);
  }
  while (size != 0) {
    size_t n = size < KL_EXTENT_BUFFER - writer->used ? size : KL_EXTENT_BUFFER - writer->used;
    memcpy(writer->buffer + writer->used, from, n);
    writer->used += n;
    from += n;
    size -= n;
    if (writer->used < KL_EXTENT_BUFFER) break;
    status = extent_writer_flush(writer, &cause);
    if (status != KL_OK) return extent_writer_remember(writer, status, &cause, err);
  }
  return KL_OK;
}

kl_status kl_extent_writer_finish(kl_extent_writer *writer, kl_tree_extent *out_extent, kl_error *err) {
  kl_error cause;
  kl_status status = extent_writer_ready(writer, err);
  if (status != KL_OK) return status;
  uint64_t length = writer->sums.extent.length, written = kl_extent_writer_written(writer);
  if (written != length) {
    return kl_fail(err, KL_E_INVALID, "a value of %" PRIu64 " bytes was begun, and %" PRIu64 " were written; %s",
                   length, written, "write the others, or give it up");
  }
  status = extent_writer_flush(writer, &cause);
  if (status == KL_OK) status = kl_extent_sums_finish(&writer->sums, &cause);
  if (status != KL_OK) return extent_writer_remember(writer, status, &cause, err);
  writer->finished = true;
  if (out_extent != NULL) kl_extent_writer_take(writer, out_extent);
  return KL_OK;
}

const kl_tree_extent *kl_extent_writer_extent(const kl_extent_writer *writer) {
  KL_ASSERT(writer->finished && !writer->taken); /* DRAIN-18 */
  return &writer->sums.extent;
}

void kl_extent_writer_take(kl_extent_writer *writer, kl_tree_extent *out_extent) {
  KL_ASSERT(writer->finished && !writer->taken); /* DRAIN-18 */
  writer->taken = true;
  *out_extent = writer->sums.extent;
}

void kl_extent_writer_free(kl_extent_writer *writer) {
  if (writer == NULL) return;
  kl_pages *pages = writer->pages;
  if (!writer->taken) kl_extent_release(pages, &writer->sums.extent);
  kl_free(pages->allocator, writer, sizeof *writer);
  kl_pages_unref(pages);
}

uint64_t kl_extent_writer_written(const kl_extent_writer *writer) {
  return writer->flushed + writer->used;
}

uint64_t kl_extent_writer_length(const kl_extent_writer *writer) {
  return writer->sums.extent.length;
}

void kl_extent_release(kl_pages *pages, const kl_tree_extent *extent) {
  kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  if (store != NULL) kl_store_unreserve(store, extent->address, extent->stored);
}
