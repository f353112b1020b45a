/* core/wal/reader.c: the one reader of batches.
 *
 * It stands at the end of a batch and looks for the next one in two places: right there, and at the next sync block. A
 * batch counts only if its header says the same about where it lies and what gap lies before it, so padding needs no
 * mark and a damaged batch cannot be stepped over (WAL-2). */
#include <inttypes.h>
#include <string.h>

#include "../base/crc32c.h"
#include "wal_private.h"

struct kl_wal_reader {
  kl_wal *wal;
  kl_lsn position;      /* end of the last batch */
  kl_lsn known_durable; /* what kl_wal_reader_expect said */
  kl_lsn claimed;       /* the highest that the batches read claim to be durable; never below where reading began */
  uint64_t incarnation; /* of the last batch */
  bool begun;           /* a batch was read */
  uint8_t *window;      /* bytes [window_start, window_start + window_size) of the log */
  kl_lsn window_start;
  size_t window_size;
  bool window_of_recovery; /* it may reach behind the end of the log: of no use once appends have begun */
  uint8_t *big;            /* the payload of a batch that the window cannot hold */
  size_t big_capacity;
};

/* What a place in the log turned out to hold. */
typedef enum wal_reader_finding { WAL_FOUND, WAL_FOUND_NONE, WAL_FOUND_FAILURE } wal_reader_finding;

kl_status kl_wal_reader_new(kl_wal *wal, kl_lsn from, kl_wal_reader **out_reader, kl_error *err) {
  uint64_t offset, run;
  *out_reader = NULL;
  kl_mutex_lock(&wal->lock);
  kl_lsn first = wal->running ? wal->start : wal->header.first_lsn;
  bool beyond = wal->running && from > wal->tail;
  bool inside = from % wal->data_size == 0 || wal_space_locate(wal, from, &offset, &run);
  kl_mutex_unlock(&wal->lock);
  if (from % WAL_ALIGN != 0 || beyond) {
    return kl_fail(err, KL_E_INVALID, "LSN %" PRIu64 " is no place in log '%s' where a batch could begin", from,
                   wal->path);
  }
  if (from < first || !inside) {
    return kl_fail(err, wal->running ? KL_E_INVALID : KL_E_CORRUPT,
                   "log '%s' does not hold LSN %" PRIu64 " (it was cut, or is older or newer than the database file)",
                   wal->path, from);
  }
  kl_allocator *allocator = wal->os->allocator;
  kl_wal_reader *reader = kl_alloc(allocator, sizeof *reader);
  uint8_t *window = kl_alloc(allocator, WAL_WINDOW_SIZE);
  if (reader == NULL || window == NULL) {
    kl_free(allocator, window, WAL_WINDOW_SIZE);
    kl_free(allocator, reader, sizeof *reader);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to read log '%s'", wal->path);
  }
  reader->wal = wal;
  reader->position = reader->claimed = from;
  reader->window = window;
  *out_reader = reader;
  return KL_OK;
}

void kl_wal_reader_expect(kl_wal_reader *reader, kl_lsn known_durable) {
  reader->known_durable = known_durable;
}

kl_lsn kl_wal_reader_position(const kl_wal_reader *reader) {
  return reader->position;
}

void kl_wal_reader_free(kl_wal_reader *reader) {
  if (reader == NULL) return;
  kl_allocator *allocator = reader->wal->os->allocator;
  kl_free(allocator, reader->big, reader->big_capacity);
  kl_free(allocator, reader->window, WAL_WINDOW_SIZE);
  kl_free(allocator, reader, sizeof *reader);
}

/* Bytes below this may be read: everything, in recovery; what has been handed to the os, in a running log. */
static kl_lsn wal_reader_limit(kl_wal *wal) {
  kl_mutex_lock(&wal->lock);
  kl_lsn limit = wal->running ? wal->tail : UINT64_MAX;
  if (wal->active.size != 0 && wal->active.follows < limit) limit = wal->active.follows;
  if (wal->busy.size != 0 && wal->busy.follows < limit) limit = wal->busy.follows;
  kl_mutex_unlock(&wal->lock);
  return limit;
}

/* *out_bytes: the `size` bytes at lsn, borrowed from the window; NULL when the log does not have them. */
static kl_status wal_reader_bytes(kl_wal_reader *reader, kl_lsn lsn, size_t size, kl_lsn limit,
                                  const uint8_t **out_bytes, kl_error *err) {
  bool recovery = limit == UINT64_MAX;
  *out_bytes = NULL;
  if (limit < lsn || limit - lsn < size) return KL_OK;
  if (recovery != reader->window_of_recovery) reader->window_size = 0;
  reader->window_of_recovery = recovery;
  if (lsn < reader->window_start || lsn + size > reader->window_start + reader->window_size) {
    size_t want = limit - lsn < WAL_WINDOW_SIZE ? (size_t)(limit - lsn) : WAL_WINDOW_SIZE;
    reader->window_size = 0;
    kl_status status = wal_space_read(reader->wal, lsn, reader->window, want, &reader->window_size, err);
    if (status != KL_OK) {
      reader->window_size = 0;
      return status;
    }
    reader->window_start = lsn;
    if (reader->window_size < size) return KL_OK;
  }
  *out_bytes = reader->window + (lsn - reader->window_start);
  return KL_OK;
}

/* Reads a payload that is larger than the window into memory of its own. The header's checksum held, so the size is
 * what was written; it is compared with the file before memory is taken all the same. */
static kl_status wal_reader_big(kl_wal_reader *reader, kl_lsn lsn, uint64_t size, const uint8_t **out_bytes,
                                kl_error *err) {
  kl_wal *wal = reader->wal;
  *out_bytes = NULL;
  kl_mutex_lock(&wal->lock);
  uint64_t held = wal->file_bytes;
  kl_mutex_unlock(&wal->lock);
  if (size > held || size > SIZE_MAX) return KL_OK;
  if (size > reader->big_capacity) {
    kl_free(wal->os->allocator, reader->big, reader->big_capacity);
    reader->big_capacity = 0;
    reader->big = kl_alloc(wal->os->allocator, (size_t)size);
    if (reader->big == NULL) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for a batch of %" PRIu64 " bytes of log '%s'", size, wal->path);
    }
    reader->big_capacity = (size_t)size;
  }
  size_t got = 0;
  kl_status status = wal_space_read(wal, lsn, reader->big, (size_t)size, &got, err);
  if (status == KL_OK && got == size) *out_bytes = reader->big;
  return status;
}

/* WAL-5: which writer's life a batch must come from, by where it lies. */
static bool wal_reader_incarnation_fits(const kl_wal_reader *reader, const wal_batch_header *header) {
  const wal_header *log = &reader->wal->header;
  if (header->lsn >= log->incarnation_start) return header->incarnation == log->incarnation;
  return header->incarnation < log->incarnation && header->incarnation >= reader->incarnation;
}

/* Looks for a batch at lsn that follows `gap` bytes after the reader's position. */
static wal_reader_finding wal_reader_try(kl_wal_reader *reader, kl_lsn lsn, kl_lsn limit, kl_wal_batch *out,
                                         kl_status *out_status, kl_error *err) {
  kl_wal *wal = reader->wal;
  const uint8_t *bytes;
  wal_batch_header header;
  kl_lsn end;
  *out_status = wal_reader_bytes(reader, lsn, WAL_BATCH_HEADER, limit, &bytes, err);
  if (*out_status != KL_OK) return WAL_FOUND_FAILURE;
  if (bytes == NULL || !wal_batch_header_decode(bytes, wal->seed, &header)) return WAL_FOUND_NONE;
  /* Who begins at a batch, and not at the end of one, does not know what gap lies before it. */
  bool follows = header.gap == lsn - reader->position || (!reader->begun && lsn == reader->position);
  if (header.lsn != lsn || !follows) return WAL_FOUND_NONE;
  if (!wal_reader_incarnation_fits(reader, &header)) return WAL_FOUND_NONE;
  if (header.flags != 0) {
    *out_status =
        kl_fail(err, KL_E_VERSION, "log '%s' holds a batch with flags %u at LSN %" PRIu64 "; use a newer Keel",
                wal->path, (unsigned)header.flags, lsn);
    return WAL_FOUND_FAILURE;
  }
  if (!wal_batch_end(lsn, header.payload_size, &end) || end > limit) return WAL_FOUND_NONE;
  if (header.payload_size <= WAL_WINDOW_SIZE - WAL_BATCH_HEADER) {
    size_t size = WAL_BATCH_HEADER + (size_t)header.payload_size;
    *out_status = wal_reader_bytes(reader, lsn, size, limit, &bytes, err);
    if (bytes != NULL) bytes += WAL_BATCH_HEADER;
  } else {
    *out_status = wal_reader_big(reader, lsn + WAL_BATCH_HEADER, header.payload_size, &bytes, err);
  }
  if (*out_status != KL_OK) return WAL_FOUND_FAILURE;
  if (bytes == NULL || kl_crc32c(0, bytes, (size_t)header.payload_size) != header.payload_crc) return WAL_FOUND_NONE;
  *out = (kl_wal_batch){lsn, end, header.ts, kl_slice_make(bytes, (size_t)header.payload_size)};
  reader->incarnation = header.incarnation;
  if (header.durable_lsn > reader->claimed) reader->claimed = header.durable_lsn;
  return WAL_FOUND;
}

/* Nothing more can be read at the reader's position: is that the end? */
static kl_status wal_reader_end(kl_wal_reader *reader, kl_error *err) {
  kl_wal *wal = reader->wal;
  kl_lsn position = reader->position;
  kl_mutex_lock(&wal->lock);
  bool running = wal->running, released = running && position < wal->start;
  kl_lsn start = wal->start;
  kl_mutex_unlock(&wal->lock);
  if (released) {
    return kl_fail(err, KL_E_INVALID, "LSN %" PRIu64 " of log '%s' was released; the log begins at %" PRIu64, position,
                   wal->path, start);
  }
  if (running) {
    return kl_fail(err, KL_E_CORRUPT, "log '%s' is damaged at LSN %" PRIu64 ", which this process wrote or recovered",
                   wal->path, position);
  }
  kl_status status = wal_recover_judge(wal, position, reader->known_durable, err);
  if (status == KL_E_NOT_FOUND) {
    kl_mutex_lock(&wal->lock);
    wal->scanned = true;
    wal->scanned_end = position;
    wal->scanned_durable = reader->claimed;
    if (wal->scanned_durable < reader->known_durable) wal->scanned_durable = reader->known_durable;
    kl_mutex_unlock(&wal->lock);
  }
  return status;
}

kl_status kl_wal_reader_next(kl_wal_reader *reader, kl_wal_batch *out_batch, kl_error *err) {
  kl_status status = KL_OK;
  kl_lsn limit = wal_reader_limit(reader->wal), position = reader->position;
  if (position >= limit) return KL_E_NOT_FOUND; /* the end of a running log */
  wal_reader_finding found = wal_reader_try(reader, position, limit, out_batch, &status, err);
  kl_lsn aligned = wal_align_up(position, WAL_SYNC_BLOCK);
  if (found == WAL_FOUND_NONE && aligned != position) {
    found = wal_reader_try(reader, aligned, limit, out_batch, &status, err);
  }
  if (found == WAL_FOUND_FAILURE) return status;
  if (found == WAL_FOUND_NONE) return wal_reader_end(reader, err);
  reader->position = out_batch->end_lsn;
  reader->begun = true;
  return KL_OK;
}
