/* core/drain/pages_part.c: parts of large values. See kl_pages_get_part in pages.h.
 *
 * The checksum in the row vouches for the table of an extent as a whole, and the table is too long to be kept: so it is
 * read once when a value is first asked for, and of each of its blocks a checksum is remembered, which vouches for the
 * block when it is read again (DRAIN-17). */
#include <string.h>

#include "../base/assert.h"
#include "../base/crc32c.h"
#include "../base/endian.h"
#include "pages_private.h"

enum {
  PAGES_PART_SUMS = KL_EXTENT_TABLE / 4, /* parts that a block of the table is about */
  PAGES_PART_READ = 1 << 20              /* bytes of whole parts that are read at once */
};
#define PAGES_PART_NONE UINT64_MAX

struct kl_pages_part {
  kl_allocator *allocator;
  kl_tree_extent extent; /* all that follows is about it; length 0: nothing is known */
  uint32_t *table_crc;   /* of each block of its table */
  size_t table_blocks;   /* that there is room for */
  uint64_t table_at;     /* the block that is in `table` */
  uint64_t part;         /* the part that is in `bytes` */
  size_t bytes_capacity;
  uint8_t *bytes;
  kl_held whole; /* an extent without a table that the cache does not take */
  uint8_t table[KL_EXTENT_TABLE];
};

void kl_pages_part_free(kl_pages_part *part) {
  if (part == NULL) return;
  kl_held_destroy(&part->whole);
  kl_free(part->allocator, part->table_crc, part->table_blocks * sizeof *part->table_crc);
  kl_free(part->allocator, part->bytes, part->bytes_capacity);
  kl_free(part->allocator, part, sizeof *part);
}

static void pages_part_forget(kl_pages_part *part) {
  part->extent.length = 0;
  part->table_at = part->part = PAGES_PART_NONE;
  kl_held_clear(&part->whole);
}

static bool pages_part_same(const kl_tree_extent *a, const kl_tree_extent *b) {
  return a->address == b->address && a->length == b->length && a->stored == b->stored && a->birth == b->birth &&
         a->checksum == b->checksum && a->chunk == b->chunk;
}

static kl_status pages_part_no_memory(kl_error *err) {
  return kl_fail(err, KL_E_NO_MEMORY, "no memory to read a value in parts; free some");
}

static uint64_t pages_part_size(const kl_pages_part *part, uint64_t number) {
  uint64_t size = UINT64_C(1) << part->extent.chunk, left = part->extent.length - (number << part->extent.chunk);
  return left < size ? left : size;
}

/* -------- the table -------- */

static kl_status pages_part_room(kl_pages_part *part, const kl_tree_extent *extent, size_t blocks, kl_error *err) {
  size_t capacity = (size_t)1 << extent->chunk;
  if (part->table_blocks < blocks) {
    uint32_t *grown = kl_alloc(part->allocator, blocks * sizeof *grown);
    if (grown == NULL) return pages_part_no_memory(err);
    kl_free(part->allocator, part->table_crc, part->table_blocks * sizeof *part->table_crc);
    part->table_crc = grown;
    part->table_blocks = blocks;
  }
  if (part->bytes_capacity < capacity) {
    uint8_t *grown = kl_alloc(part->allocator, capacity);
    if (grown == NULL) return pages_part_no_memory(err);
    kl_free(part->allocator, part->bytes, part->bytes_capacity);
    part->bytes = grown;
    part->bytes_capacity = capacity;
  }
  return KL_OK;
}

/* Reads all of the table through `bytes`. */
static kl_status pages_part_open(kl_pages_part *part, kl_store *store, const kl_tree_extent *extent, kl_error *err) {
  uint64_t size = kl_extent_parts(extent->length, extent->chunk) * 4, left = size;
  uint32_t crc = 0;
  pages_part_forget(part);
  kl_status status = pages_part_room(part, extent, (size_t)((size + KL_EXTENT_TABLE - 1) / KL_EXTENT_TABLE), err);
  for (uint64_t block = 0; status == KL_OK && left != 0;) {
    size_t n = left < part->bytes_capacity ? (size_t)left : part->bytes_capacity;
    status = kl_store_read(store, extent->address + extent->stored - left, part->bytes, n, err);
    if (status != KL_OK) break;
    crc = kl_crc32c(crc, part->bytes, n);
    for (size_t at = 0; at < n; at += KL_EXTENT_TABLE) {
      part->table_crc[block++] = kl_crc32c(0, part->bytes + at, n - at < KL_EXTENT_TABLE ? n - at : KL_EXTENT_TABLE);
    }
    left -= n;
  }
  if (status == KL_OK && crc != extent->checksum) {
    status = kl_extent_table_damaged(kl_store_path(store), extent, err);
  }
  if (status == KL_OK) part->extent = *extent;
  return status;
}

/* What the checksum of a part must be. */
static kl_status pages_part_sum(kl_pages_part *part, kl_store *store, uint64_t number, uint32_t *out, kl_error *err) {
  const kl_tree_extent *extent = &part->extent;
  uint64_t block = number / PAGES_PART_SUMS;
  if (part->table_at != block) {
    uint64_t from = kl_extent_table_at(extent->length) + block * KL_EXTENT_TABLE, left = extent->stored - from;
    size_t n = left < KL_EXTENT_TABLE ? (size_t)left : KL_EXTENT_TABLE;
    part->table_at = PAGES_PART_NONE;
    kl_status status = kl_store_read(store, extent->address + from, part->table, n, err);
    if (status != KL_OK) return status;
    if (kl_crc32c(0, part->table, n) != part->table_crc[block]) {
      return kl_extent_table_damaged(kl_store_path(store), extent, err);
    }
    part->table_at = block;
  }
  *out = kl_load_u32_le(part->table + number % PAGES_PART_SUMS * 4);
  return KL_OK;
}

/* -------- the bytes -------- */

static kl_status pages_part_check(kl_pages_part *part, kl_store *store, uint64_t number, const uint8_t *bytes,
                                  kl_error *err) {
  uint64_t size = pages_part_size(part, number);
  uint32_t expected = 0;
  kl_status status = pages_part_sum(part, store, number, &expected, err);
  if (status != KL_OK || kl_crc32c(0, bytes, (size_t)size) == expected) return status;
  return kl_extent_damaged(kl_store_path(store), &part->extent, number << part->extent.chunk, size, err);
}

/* Whole parts, straight into the caller's buffer: as many as are read at once. *out_size: their bytes. */
static kl_status pages_part_straight(kl_pages_part *part, kl_store *store, uint64_t number, uint8_t *to, size_t room,
                                     size_t *out_size, kl_error *err) {
  uint64_t chunk = part->extent.chunk, at = number << chunk, size = pages_part_size(part, number), next = number + 1;
  while (at + size < part->extent.length) {
    uint64_t more = pages_part_size(part, next);
    if (size + more > room || size + more > PAGES_PART_READ) break;
    size += more;
    next++;
  }
  kl_status status = kl_store_read(store, part->extent.address + at, to, (size_t)size, err);
  for (; number < next && status == KL_OK; number++) {
    status = pages_part_check(part, store, number, to + ((number << chunk) - at), err);
  }
  *out_size = (size_t)size;
  return status;
}

static kl_status pages_part_load(kl_pages_part *part, kl_store *store, uint64_t number, kl_error *err) {
  if (part->part == number) return KL_OK;
  part->part = PAGES_PART_NONE;
  uint64_t address = part->extent.address + (number << part->extent.chunk);
  kl_status status = kl_store_read(store, address, part->bytes, (size_t)pages_part_size(part, number), err);
  if (status == KL_OK) status = pages_part_check(part, store, number, part->bytes, err);
  if (status == KL_OK) part->part = number;
  return status;
}

/* `size` bytes from `offset` on, all inside of the value. */
static kl_status pages_part_copy(kl_pages_part *part, kl_store *store, uint64_t offset, uint8_t *to, size_t size,
                                 kl_error *err) {
  kl_status status = KL_OK;
  while (size != 0 && status == KL_OK) {
    uint64_t number = offset >> part->extent.chunk, within = offset - (number << part->extent.chunk);
    uint64_t left = pages_part_size(part, number) - within;
    size_t n = left < size ? (size_t)left : size;
    if (within == 0 && n == left && part->part != number) {
      status = pages_part_straight(part, store, number, to, size, &n, err);
    } else {
      status = pages_part_load(part, store, number, err);
      if (status == KL_OK) memcpy(to, part->bytes + within, n);
    }
    offset += n;
    to += n;
    size -= n;
  }
  return status;
}

/* -------- one read -------- */

typedef struct pages_part_want {
  uint64_t offset;
  uint8_t *buffer;
  size_t capacity;
  size_t got;
  uint64_t size; /* of the value */
} pages_part_want;

/* Now that its size is known. */
static void pages_part_clip(pages_part_want *want, uint64_t size) {
  uint64_t left = want->offset < size ? size - want->offset : 0;
  want->size = size;
  want->got = left < want->capacity ? (size_t)left : want->capacity;
}

static void pages_part_take(pages_part_want *want, kl_slice value) {
  pages_part_clip(want, value.size);
  if (want->got != 0) memcpy(want->buffer, (const uint8_t *)value.data + want->offset, want->got);
}

/* Inside of the epoch: what is in a page, or in the cache. *out_later->waits: it is to be read outside. */
static kl_status pages_part_inside(pages_op *op, const kl_tree_value *value, pages_part_want *want,
                                   pages_extent *out_later, kl_error *err) {
  kl_tree_extent *extent = &out_later->extent;
  kl_slice bytes = value->bytes;
  kl_status status = KL_OK;
  bool is_frame;
  if (value->is_extent) {
    kl_tree_value_extent(value, extent);
    status = pages_extent_check(op->pages, extent, err);
    if (status != KL_OK) return status;
    out_later->waits = op->pages->cache == NULL || extent->chunk != 0;
    if (!out_later->waits) status = pages_extent_bytes(op, extent, &bytes, &is_frame, err);
    out_later->waits |= status == KL_E_LIMIT;
    if (out_later->waits) return KL_OK;
  }
  if (status == KL_OK) pages_part_take(want, bytes);
  return status;
}

/* One without a table, which the cache does not take: all of it is read, and kept. */
static kl_status pages_part_whole(kl_pages_part *part, kl_pages *pages, const kl_tree_extent *extent,
                                  pages_part_want *want, kl_error *err) {
  if (!pages_part_same(&part->extent, extent)) {
    pages_part_forget(part);
    kl_status status = extent->length > KL_PAGES_WHOLE
                           ? kl_fail(err, KL_E_LIMIT, "a value of %llu bytes has one checksum, and does not fit memory",
                                     (unsigned long long)extent->length)
                           : pages_held_reserve(&part->whole, pages, (size_t)extent->length, err);
    if (status == KL_OK) status = pages_extent_read(pages, extent, part->whole.buffer, err);
    if (status != KL_OK) return status;
    part->whole.value = kl_slice_make(part->whole.buffer, (size_t)extent->length);
    part->extent = *extent;
  }
  pages_part_take(want, part->whole.value);
  return KL_OK;
}

/* From `offset` on, whatever the size: nothing is checked in a memory store (DRAIN-4). */
static kl_status pages_part_of_memory(const kl_store *store, const kl_tree_extent *extent, const pages_part_want *want,
                                      kl_error *err) {
  const uint8_t *bytes = kl_store_memory(store, extent->address, (size_t)extent->length);
  if (bytes == NULL) {
    return KL_BROKEN(err, "DRAIN-4: a value of %llu bytes at %llu is not in the memory store",
                     (unsigned long long)extent->length, (unsigned long long)extent->address);
  }
  memcpy(want->buffer, bytes + want->offset, want->got);
  return KL_OK;
}

static kl_status pages_part_outside(kl_pages_part **part, kl_pages *pages, const kl_tree_extent *extent,
                                    pages_part_want *want, kl_error *err) {
  kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  if (store == NULL) return kl_fail(err, KL_E_CLOSED, "the database was closed; open it again");
  pages_part_clip(want, extent->length);
  if (want->got == 0) return KL_OK;
  if (pages->cache == NULL) return pages_part_of_memory(store, extent, want, err);
  if (*part == NULL) {
    *part = kl_alloc(pages->allocator, sizeof **part);
    if (*part == NULL) return pages_part_no_memory(err);
    (*part)->allocator = pages->allocator;
    pages_part_forget(*part);
  }
  if (extent->chunk == 0) return pages_part_whole(*part, pages, extent, want, err);
  kl_status status = pages_part_same(&(*part)->extent, extent) ? KL_OK : pages_part_open(*part, store, extent, err);
  return status == KL_OK ? pages_part_copy(*part, store, want->offset, want->buffer, want->got, err) : status;
}

kl_status kl_pages_get_part(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, uint64_t offset, void *buffer,
                            size_t capacity, kl_pages_part **part, size_t *out_got, uint64_t *out_size, kl_error *err) {
  pages_part_want want = {.offset = offset, .buffer = buffer, .capacity = capacity};
  pages_extent later = {.waits = false};
  pages_op op;
  kl_status status;
  if (kl_tree_pointer_is_null(root)) return KL_E_NOT_FOUND;
  pages_op_begin(&op, pages, 0);
  for (;;) {
    kl_tree_value value;
    status = kl_tree_get(&op.source, root, key, &value, err);
    if (status == KL_OK) status = pages_part_inside(&op, &value, &want, &later, err);
    if (status != KL_CACHE_RETRY) break;
    pages_op_retry(&op);
  }
  pages_op_end(&op);
  if (later.waits && status == KL_OK) status = pages_part_outside(part, pages, &later.extent, &want, err);
  if (status == KL_OK) {
    *out_got = want.got;
    *out_size = want.size;
  }
  if (status == KL_OK || status == KL_E_NOT_FOUND) return status;
  return pages_explain(pages, &op.failed, root, key, 0, status, err);
}
