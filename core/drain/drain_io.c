/* core/drain/drain_io.c: pages in and out of a drain.
 *
 * In. What a drain reads it mostly replaces, so a page that is not in the cache is read past it: a drain of changes all
 * over a large tree does not push out what readers use. Out. Pages come one by one, and the store gives them places one
 * behind the other where it can; they are collected and written together. A page that was placed and not yet written
 * is served from there.
 *
 * The blocks that are handed out may have held something else before, which the cache may still know by that address:
 * it is told before anything can ask for the new page (CACHE-4, DRAIN-5). */
#include <inttypes.h>

#include "../base/crc32c.h"
#include "../tree/leaf.h"
#include "drain_private.h"

static uint64_t drain_blocks(uint64_t bytes) {
  return (bytes + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE * KL_BLOCK_SIZE;
}

kl_status kl_drain_check_cancel(const _Atomic bool *cancel, kl_error *err) {
  /* Relaxed: a hint; nothing is read by it. */
  if (cancel == NULL || !atomic_load_explicit(cancel, memory_order_relaxed)) return KL_OK;
  return kl_fail(err, KL_E_CLOSED, "the drain was called off; what it was to merge stays in memory and in the log");
}

/* -------- in -------- */

static void drain_pause(void *context) {
  drain_io *io = context;
  if (io->inside) kl_epoch_leave(io->pages->epoch, io->guard);
  io->inside = false;
}

/* The page in the cache, which it stays in until `pause`; NULL: it is not there. */
static const uint8_t *drain_find_cached(drain_io *io, const kl_tree_pointer *pointer) {
  uint64_t address = pointer->address / KL_CACHE_BLOCK;
  const void *frame = NULL;
  bool entered = !io->inside;
  if (io->pages->cache == NULL) return NULL;
  if (entered) io->guard = kl_epoch_enter(io->pages->epoch);
  io->inside = true;
  /* No hit: what a drain looks at it mostly replaces. */
  io->warm = kl_cache_find_many(io->pages->cache, &address, 1, KL_CACHE_SCAN, &frame) == 1;
  if (!io->warm && entered) drain_pause(io);
  return frame;
}

static bool drain_in_buffer(const drain_io *io, const kl_tree_pointer *pointer) {
  return pointer->birth == io->birth && pointer->address >= io->buffer_at &&
         pointer->address - io->buffer_at + pointer->length <= io->buffer_used;
}

/* Reads a page into the ring. */
static kl_status drain_read(drain_io *io, const kl_tree_pointer *pointer, const uint8_t **out_page, kl_error *err) {
  uint32_t slot = io->ring_next;
  uint8_t *page = io->ring + (size_t)slot * io->pages->page_size;
  kl_status status = kl_stored_check_pointer(kl_store_path(io->store), pointer, io->pages->page_size, err);
  if (status != KL_OK) return status;
  io->ring_of[slot] = (kl_tree_pointer){0};
  if (drain_in_buffer(io, pointer)) {
    memcpy(page, io->buffer + (pointer->address - io->buffer_at), pointer->length);
  } else {
    status = kl_store_read(io->store, pointer->address, page, pointer->length, err);
    io->stats->pages_read++;
  }
  if (status == KL_OK) status = kl_stored_check_page(kl_store_path(io->store), pointer, page, err);
  if (status != KL_OK) return status;
  io->ring_of[slot] = *pointer;
  io->ring_next = (slot + 1) % DRAIN_RING;
  *out_page = page;
  return KL_OK;
}

static kl_status drain_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page, kl_error *err) {
  drain_io *io = context;
  kl_status status = kl_drain_check_cancel(io->cancel, err);
  if (status != KL_OK) return status;
  *out_page = drain_find_cached(io, pointer);
  if (*out_page != NULL) return KL_OK;
  if (io->pages->cache == NULL && !drain_in_buffer(io, pointer)) {
    *out_page = kl_store_memory(io->store, pointer->address, pointer->length);
    if (*out_page != NULL) return KL_OK;
  }
  for (uint32_t i = 0; i < DRAIN_RING; i++) {
    if (!kl_drain_same_pointer(&io->ring_of[i], pointer)) continue;
    *out_page = io->ring + (size_t)i * io->pages->page_size;
    return KL_OK;
  }
  return drain_read(io, pointer, out_page, err);
}

/* -------- out -------- */

kl_status kl_drain_io_flush(drain_io *io, kl_error *err) {
  if (io->buffer_used == 0) return KL_OK;
  kl_slice part = kl_slice_make(io->buffer, io->buffer_used);
  kl_status status = kl_store_write(io->store, io->buffer_at, &part, 1, err);
  io->stats->writes++;
  io->buffer_used = 0;
  return status;
}

/* DRAIN-5. */
static void drain_placed(drain_io *io, uint64_t address, uint64_t bytes) {
  io->stats->bytes_written += drain_blocks(bytes);
  if (address + drain_blocks(bytes) > io->boundary) io->full = true;
  if (io->pages->cache == NULL) return;
  uint64_t block = address / KL_CACHE_BLOCK, keys[2] = {block, block | PAGES_EXTENT_KEY};
  kl_cache_drop(io->pages->cache, keys, 2);
}

/* What is left of the blocks that were reserved is free again. */
static kl_status drain_return(drain_io *io, kl_error *err) {
  uint64_t at = io->reserved_at, left = io->reserved_end - at;
  io->reserved_at = io->reserved_end = 0;
  return left != 0 ? kl_store_free(io->store, at, left, io->birth, err) : KL_OK;
}

/* Blocks. A lane takes them for several pages at once: what it writes lies together then, and lanes do not wait for each other
 * at each page. */
static kl_status drain_allocate(drain_io *io, uint64_t bytes, uint64_t *out_address, kl_error *err) {
  if (!io->is_lane || bytes > DRAIN_RESERVE / 4) return kl_store_allocate(io->store, bytes, out_address, err);
  uint64_t whole = drain_blocks(bytes), at = 0, size = 0;
  if (io->reserved_end - io->reserved_at < whole) {
    kl_status status = drain_return(io, err);
    if (status == KL_OK) status = kl_store_allocate_some(io->store, whole, DRAIN_RESERVE, &at, &size, err);
    if (status != KL_OK) return status;
    io->reserved_at = at;
    io->reserved_end = at + size;
  }
  *out_address = io->reserved_at;
  io->reserved_at += whole;
  return KL_OK;
}

static kl_status drain_place(drain_io *io, uint64_t bytes, uint64_t *out_address, kl_error *err) {
  kl_status status = kl_drain_check_cancel(io->cancel, err);
  if (status == KL_OK) status = drain_allocate(io, bytes, out_address, err);
  if (status == KL_OK) drain_placed(io, *out_address, bytes);
  return status;
}

/* Collects bytes that fit the buffer. */
static kl_status drain_append(drain_io *io, uint64_t address, const void *bytes, size_t length, kl_error *err) {
  size_t whole = (size_t)drain_blocks(length);
  bool follows = address == io->buffer_at + io->buffer_used && io->buffer_used + whole <= io->buffer_size;
  kl_status status = follows ? KL_OK : kl_drain_io_flush(io, err);
  if (status != KL_OK) return status;
  if (io->buffer_used == 0) io->buffer_at = address;
  uint8_t *to = io->buffer + io->buffer_used;
  memcpy(to, bytes, length);
  memset(to + length, 0, whole - length);
  io->buffer_used += whole;
  return KL_OK;
}

/* Whether the cache shall have a page that was written. Inner pages are soon read. A leaf is worth a place when there
 * are free ones, or when the one that it replaces was there: then its rows are in use. */
static void drain_put(drain_io *io, const kl_tree_pointer *pointer, const void *page) {
  kl_cache_stats stats;
  kl_cache_ref ref = pages_ref_of_page(pointer);
  if (io->pages->cache == NULL) return;
  if (io->until_room == 0) {
    kl_cache_read_stats(io->pages->cache, &stats);
    io->has_room = stats.resident < stats.limit - stats.limit / 8;
    io->until_room = DRAIN_ROOM_EVERY;
  }
  io->until_room--;
  if ((io->cold || (!io->has_room && !io->warm)) && kl_tree_page_level(page) == 0) return;
  kl_epoch_guard guard = kl_epoch_enter(io->pages->epoch);
  (void)kl_cache_put(io->pages->cache, &ref, page, 0, NULL); /* without room: whoever needs it loads it */
  kl_epoch_leave(io->pages->epoch, guard);
}

static kl_status drain_write(void *context, const void *page, size_t length, kl_tree_pointer *out_pointer,
                             kl_error *err) {
  drain_io *io = context;
  uint64_t address = 0;
  kl_status status = drain_place(io, length, &address, err);
  if (status == KL_OK) status = drain_append(io, address, page, length, err);
  if (status != KL_OK) return status;
  *out_pointer = (kl_tree_pointer){
      .address = address, .length = (uint32_t)length, .checksum = kl_crc32c(0, page, length), .birth = io->birth};
  drain_put(io, out_pointer, page);
  return KL_OK;
}

/* Writes a value past the buffer. The buffer goes first: it may hold a page whose block was freed and is now the
 * value's. */
static kl_status drain_write_large(drain_io *io, uint64_t address, kl_slice value, kl_error *err) {
  static const uint8_t zeros[KL_BLOCK_SIZE];
  kl_status status = kl_drain_io_flush(io, err);
  for (size_t at = 0; at < value.size && status == KL_OK;) {
    size_t left = value.size - at, n = left < DRAIN_EXTENT_WRITE ? left : DRAIN_EXTENT_WRITE;
    kl_slice parts[2] = {kl_slice_make((const uint8_t *)value.data + at, n),
                         kl_slice_make(zeros, (size_t)drain_blocks(n) - n)};
    status = kl_store_write(io->store, address + at, parts, parts[1].size != 0 ? 2 : 1, err);
    if (status == KL_OK) status = kl_drain_check_cancel(io->cancel, err);
    io->stats->writes++;
    at += n;
  }
  return status;
}

static kl_status drain_write_table(void *context, uint64_t address, kl_slice bytes, kl_error *err) {
  drain_io *io = context;
  return kl_store_write(io->store, address, &bytes, 1, err);
}

/* One that gets a table of checksums: its last blocks. */
static kl_status drain_write_sums(drain_io *io, const kl_tree_extent *extent, kl_slice value, uint32_t *out_checksum,
                                  kl_error *err) {
  kl_extent_sums sums;
  kl_extent_sums_begin(&sums, extent, drain_write_table, io);
  kl_status status = kl_extent_sums_add(&sums, value.data, value.size, err);
  if (status == KL_OK) status = kl_extent_sums_finish(&sums, err);
  *out_checksum = sums.extent.checksum;
  return status;
}

static kl_status drain_write_extent(void *context, kl_slice value, kl_tree_extent *out_extent, kl_error *err) {
  drain_io *io = context;
  kl_tree_extent extent = {.length = value.size, .birth = io->birth, .chunk = kl_extent_chunk(value.size)};
  extent.stored = kl_extent_stored(extent.length, extent.chunk);
  kl_status status = drain_place(io, extent.stored, &extent.address, err);
  if (status != KL_OK) return status;
  status = value.size <= DRAIN_EXTENT_BUFFERED ? drain_append(io, extent.address, value.data, value.size, err)
                                               : drain_write_large(io, extent.address, value, err);
  if (status == KL_OK) status = drain_write_sums(io, &extent, value, &extent.checksum, err);
  if (status == KL_OK) *out_extent = extent;
  return status;
}

kl_status kl_drain_io_adopt(drain_io *io, kl_tree_extent *extent, kl_error *err) {
  kl_status status = kl_store_adopt(io->store, extent->address, extent->stored, err);
  if (status == KL_OK) extent->birth = io->birth;
  return status;
}

static kl_status drain_read_table(void *context, uint64_t address, void *buffer, size_t length, kl_error *err) {
  return kl_store_read(((drain_io *)context)->store, address, buffer, length, err);
}

/* Copies bytes through the write buffer, which is empty. Those of a value are checked (`check`), of others (NULL) *crc
 * becomes the checksum. */
static kl_status drain_copy_bytes(drain_io *io, uint64_t from, uint64_t to, uint64_t bytes, kl_extent_check *check,
                                  uint32_t *crc, kl_error *err) {
  kl_status status = KL_OK;
  for (uint64_t at = 0; at < bytes && status == KL_OK;) {
    uint64_t left = bytes - at;
    size_t n = left < io->buffer_size ? (size_t)left : io->buffer_size, whole = (size_t)drain_blocks(n);
    status = kl_store_read(io->store, from + at, io->buffer, n, err);
    if (status == KL_OK && check != NULL) status = kl_extent_check_add(check, io->buffer, n, err);
    if (status != KL_OK) break;
    if (check == NULL) *crc = kl_crc32c(*crc, io->buffer, n);
    memset(io->buffer + n, 0, whole - n);
    kl_slice part = kl_slice_make(io->buffer, whole);
    status = kl_store_write(io->store, to + at, &part, 1, err);
    if (status == KL_OK) status = kl_drain_check_cancel(io->cancel, err);
    io->stats->writes++;
    at += n;
  }
  return status;
}

/* A value that is damaged is not moved: at its new place it would be as damaged, and the old one would be lost. */
static kl_status drain_copy_value(drain_io *io, const kl_tree_extent *extent, uint64_t to, kl_error *err) {
  kl_extent_check check;
  const char *path = kl_store_path(io->store);
  uint64_t table = kl_extent_table_at(extent->length);
  uint32_t crc = 0;
  kl_status status = kl_extent_check_begin(&check, path, extent, drain_read_table, io, err);
  if (status == KL_OK) status = drain_copy_bytes(io, extent->address, to, extent->length, &check, &crc, err);
  if (status != KL_OK || extent->chunk == 0) return status;
  crc = 0;
  status = drain_copy_bytes(io, extent->address + table, to + table, extent->stored - table, NULL, &crc, err);
  if (status != KL_OK || crc == extent->checksum) return status;
  return kl_extent_table_damaged(path, extent, err);
}

kl_status kl_drain_io_copy(drain_io *io, const kl_tree_extent *extent, kl_tree_extent *out, bool *out_moved,
                           kl_error *err) {
  uint64_t address = 0;
  *out_moved = false;
  kl_status status = kl_drain_check_cancel(io->cancel, err);
  if (status == KL_OK) {
    status = kl_store_allocate_before(io->store, extent->stored, extent->address, &address, err);
    if (status == KL_E_NOT_FOUND) return KL_OK; /* it stays; a smaller one may still find room */
  }
  if (status != KL_OK) return status;
  bool was_full = io->full;
  drain_placed(io, address, extent->stored);
  io->full = was_full; /* nearer to the front is better than nothing */
  status = kl_drain_io_flush(io, err);
  if (status == KL_OK) status = drain_copy_value(io, extent, address, err);
  if (status != KL_OK) return status;
  *out = *extent;
  out->address = address;
  out->birth = io->birth;
  *out_moved = true;
  return KL_OK;
}

static kl_status drain_free_now(drain_io *io, kl_error *err) {
  size_t count = io->freed_count;
  io->freed_count = 0;
  return count != 0 ? kl_store_free_runs(io->store, io->freed_runs, count, err) : KL_OK;
}

/* Blocks that this checkpoint gave out may be given out again as soon as they are freed: then nothing may be written to
 * them any more for what was there (STORE-7). */
static kl_status drain_free(drain_io *io, uint64_t address, uint64_t bytes, uint64_t birth, kl_error *err) {
  bool buffered = birth == io->birth && address < io->buffer_at + io->buffer_used && address + bytes > io->buffer_at;
  kl_status status = buffered ? kl_drain_io_flush(io, err) : KL_OK;
  if (status != KL_OK) return status;
  if (!io->is_lane) return kl_store_free(io->store, address, bytes, birth, err);
  io->freed_runs[io->freed_count++] = (kl_store_run){address, bytes, birth};
  return io->freed_count == DRAIN_FREED ? drain_free_now(io, err) : KL_OK;
}

static kl_status drain_free_page(void *context, const kl_tree_pointer *pointer, kl_error *err) {
  return drain_free(context, pointer->address, pointer->length, pointer->birth, err);
}

static kl_status drain_free_extent(void *context, const kl_tree_extent *extent, kl_error *err) {
  return drain_free(context, extent->address, extent->stored, extent->birth, err);
}

kl_status kl_drain_io_finish(drain_io *io, kl_error *err) {
  kl_status status = kl_drain_io_flush(io, err);
  if (status == KL_OK) status = drain_return(io, err);
  return status == KL_OK ? drain_free_now(io, err) : status;
}

/* -------- life -------- */

kl_status kl_drain_io_open(drain_io *io, const kl_drain_input *input, bool is_lane, kl_drain_stats *stats,
                           kl_error *err) {
  memset(io, 0, sizeof *io);
  io->pages = input->pages;
  io->store = input->store;
  io->allocator = input->allocator;
  io->cancel = input->cancel;
  io->cold = input->cold;
  io->stats = stats;
  io->boundary = UINT64_MAX;
  io->source = (kl_tree_source){.load = drain_load, .pause = drain_pause, .context = io};
  io->sink = (kl_tree_sink){.write = drain_write, .write_extent = drain_write_extent, .context = io};
  io->freed = (kl_tree_freed){.page = drain_free_page, .extent = drain_free_extent, .context = io};
  io->is_lane = is_lane;
  io->buffer_size = is_lane ? DRAIN_RESERVE : DRAIN_BUFFER; /* what lies behind a reserve is mostly another lane's */
  io->buffer = kl_alloc(io->allocator, io->buffer_size);
  io->ring = kl_alloc_aligned(io->allocator, (size_t)DRAIN_RING * io->pages->page_size, 64);
  if (io->buffer != NULL && io->ring != NULL) return KL_OK;
  return kl_fail(err, KL_E_NO_MEMORY, "no memory for the buffers of a drain (%d KiB); free some",
                 (int)((io->buffer_size + (size_t)DRAIN_RING * io->pages->page_size) / 1024));
}

void kl_drain_io_close(drain_io *io) {
  drain_pause(io);
  if (io->buffer != NULL) kl_free(io->allocator, io->buffer, io->buffer_size);
  if (io->ring != NULL) kl_free(io->allocator, io->ring, (size_t)DRAIN_RING * io->pages->page_size);
}
