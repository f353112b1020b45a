/* core/wal/append.c: batches at the tail.
 *
 * A batch goes to the file at once, or, deferred, into the active buffer that the next sync round writes. Both keep the
 * order of the log: whoever hands a batch to the file first hands over what lies before it in the buffer. */
#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "../base/crc32c.h"
#include "wal_private.h"

static const uint8_t wal_append_zeros[WAL_ALIGN];

/* Where a batch goes that is appended now. The lock is held. */
static kl_lsn wal_append_position(const kl_wal *wal, bool large) {
  kl_lsn aligned = wal_align_up(wal->tail, WAL_SYNC_BLOCK);
  /* WAL-3: what a sync round took never shares a block with what comes later. Large batches keep apart too, so that a
   * sync of what lies before them need not wait until they are written. */
  if (large || wal->tail <= wal->cut) return aligned;
  /* A header lies in one segment as a whole. */
  if (wal->data_size - wal->tail % wal->data_size < WAL_BATCH_HEADER) return aligned;
  return wal->tail;
}

static bool wal_append_buffer_reserve(kl_wal *wal, uint64_t size) {
  wal_buffer *buffer = &wal->active;
  if (size <= buffer->capacity) return true;
  if (size > WAL_BUFFER_MAX) return false;
  size_t capacity = buffer->capacity != 0 ? buffer->capacity : WAL_BUFFER_MIN;
  while (capacity < size) capacity *= 2;
  uint8_t *grown = kl_realloc(wal->os->allocator, buffer->data, buffer->capacity, capacity);
  if (grown == NULL) return false; /* the batch is handed to the os instead */
  buffer->data = grown;
  buffer->capacity = capacity;
  return true;
}

/* Puts [lsn, end) into the active buffer; false when it does not fit there. The lock is held. */
static bool wal_append_buffered(kl_wal *wal, kl_lsn lsn, kl_lsn end, const uint8_t *header, const kl_slice *parts,
                                size_t count) {
  wal_buffer *buffer = &wal->active;
  kl_lsn start = buffer->size != 0 ? buffer->start : lsn;
  if (!wal_append_buffer_reserve(wal, end - start)) return false;
  if (buffer->size == 0) buffer->follows = wal->tail;
  uint8_t *out = buffer->data + buffer->size;
  size_t gap = (size_t)(lsn - start) - buffer->size;
  memset(out, 0, gap);
  out += gap;
  memcpy(out, header, WAL_BATCH_HEADER);
  out += WAL_BATCH_HEADER;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].size == 0) continue;
    memcpy(out, parts[i].data, parts[i].size);
    out += parts[i].size;
  }
  buffer->start = start;
  buffer->size = (size_t)(end - start);
  memset(out, 0, (size_t)(buffer->data + buffer->size - out));
  return true;
}

/* The lock is held. The role `appending` keeps sync rounds off the last block, and off the active buffer, while the
 * lock is let go. */
static void wal_append_take_role(kl_wal *wal, kl_lsn start, kl_lsn end) {
  KL_ASSERT(!wal->appending);
  wal->appending = true;
  wal->append_start = start;
  wal->append_end = end;
}

static void wal_append_give_role(kl_wal *wal) {
  wal->appending = false;
  wal->dirty = true;
  kl_cond_broadcast(&wal->changed);
}

/* A write failed that harmed the log. A full disk is told as the poison that it was: KL_E_DISK_FULL means "nothing
 * happened, make room and go on". The lock is held. */
static kl_status wal_append_failed(kl_wal *wal, kl_status status, const kl_error *cause, kl_error *err) {
  wal_poison(wal, cause);
  if (status == KL_E_DISK_FULL) return wal_refuse(wal, err);
  if (err != NULL) *err = *cause;
  return status;
}

kl_status wal_append_hand_over(kl_wal *wal, kl_error *err) {
  if (wal->active.size == 0) return KL_OK;
  kl_slice part = kl_slice_make(wal->active.data, wal->active.size);
  wal_append_take_role(wal, wal->active.start, wal->active.start + wal->active.size);
  kl_mutex_unlock(&wal->lock);
  kl_error cause = {0};
  kl_status status = wal_space_write(wal, wal->file, wal->active.start, &part, 1, &cause);
  kl_mutex_lock(&wal->lock);
  wal_append_give_role(wal);
  if (status == KL_OK) {
    wal->active.size = 0; /* not after a failure: readers must not look where nothing may have been written */
    return KL_OK;
  }
  return wal_append_failed(wal, status, &cause, err); /* batches that were accepted are lost */
}

/* A write of the batch at lsn failed for lack of space, on a file system that needs some for overwriting, or without
 * prewriting. Nobody was promised the batch, but all of it may have been stored: where its header was, it is destroyed,
 * durably, so that no recovery finds it (WAL-8). */
static kl_status wal_append_retract(kl_wal *wal, kl_lsn lsn, kl_error *err) {
  static const uint8_t nothing[WAL_BATCH_HEADER];
  uint8_t bytes[WAL_BATCH_HEADER];
  wal_batch_header header;
  size_t got = 0;
  kl_status status = wal_space_read(wal, lsn, bytes, sizeof bytes, &got, err);
  if (status != KL_OK) return status;
  if (got < sizeof bytes || !wal_batch_header_decode(bytes, wal->seed, &header) || header.lsn != lsn) return KL_OK;
  kl_slice part = kl_slice_make(nothing, sizeof nothing);
  status = wal_space_write(wal, wal->file, lsn, &part, 1, err);
  return status == KL_OK ? kl_os_sync(wal->os, wal->file, true, err) : status;
}

/* Hands a batch to the file; `place` is where all of it lies in there, when it lies in one segment. The lock is not
 * held; the role is. */
static kl_status wal_append_write(kl_wal *wal, kl_lsn lsn, kl_lsn end, const uint64_t *place, const uint8_t *header,
                                  const kl_slice *parts, size_t count, kl_error *err) {
  uint64_t payload = 0;
  for (size_t i = 0; i < count; i++) payload += parts[i].size;
  kl_lsn body = lsn + WAL_BATCH_HEADER, after = body + payload;
  kl_slice head = kl_slice_make(header, WAL_BATCH_HEADER);
  kl_slice pad = kl_slice_make(wal_append_zeros, (size_t)(end - after));
  if (count < WAL_PARTS_MAX - 2) {
    kl_slice all[WAL_PARTS_MAX];
    all[0] = head;
    for (size_t i = 0; i < count; i++) all[i + 1] = parts[i];
    all[count + 1] = pad;
    if (place != NULL) return kl_os_overwrite(wal->os, wal->file, all, count + 2, *place, err);
    return wal_space_write(wal, wal->file, lsn, all, count + 2, err);
  }
  kl_status status = wal_space_write(wal, wal->file, lsn, &head, 1, err);
  if (status == KL_OK) status = wal_space_write(wal, wal->file, body, parts, count, err);
  if (status == KL_OK) status = wal_space_write(wal, wal->file, after, &pad, 1, err);
  return status;
}

/* The lock is held (let go meanwhile). */
static kl_status wal_append_direct(kl_wal *wal, kl_lsn lsn, kl_lsn end, const uint8_t *header, const kl_slice *parts,
                                   size_t count, kl_error *err) {
  kl_error cause = {0};
  kl_status status = wal_append_hand_over(wal, err);
  if (status != KL_OK) return status;
  uint64_t place, run;
  /* The file has these bytes already (WAL-6). */
  bool exists = wal_space_locate(wal, lsn, &place, &run) && end - lsn <= run && place + (end - lsn) <= wal->file_bytes;
  wal_append_take_role(wal, lsn, end);
  kl_mutex_unlock(&wal->lock);
  status = wal_append_write(wal, lsn, end, exists ? &place : NULL, header, parts, count, &cause);
  bool harmless = status == KL_E_DISK_FULL && wal_append_retract(wal, lsn, NULL) == KL_OK;
  kl_mutex_lock(&wal->lock);
  wal_append_give_role(wal);
  if (status == KL_OK || harmless) {
    if (harmless && err != NULL) *err = cause;
    return status;
  }
  return wal_append_failed(wal, status, &cause, err);
}

static kl_status wal_append_check(const kl_wal *wal, kl_error *err) {
  if (wal->read_only) return kl_fail(err, KL_E_READ_ONLY, "log '%s' is open read-only", wal->path);
  if (!wal->running) return kl_fail(err, KL_E_INVALID, "log '%s' is still being recovered", wal->path);
  if (wal->poisoned) return wal_refuse(wal, err);
  return KL_OK;
}

/* More space is prepared in the background before the tail comes to the end of what is ready. */
static void wal_append_look_ahead(kl_wal *wal) {
  if (wal->prewrite && !wal->want_space && wal->ready - wal->tail < wal->step / 4) {
    wal->want_space = true;
    (void)wal_worker_wake(wal); /* without a thread the append that needs it grows the file itself */
  }
}

/* Without a background thread the deadline of durability `group` is kept by whoever comes by. */
static kl_status wal_append_flush_due(kl_wal *wal, kl_error *err) {
  if (wal->flush_at == 0 || wal->thread != NULL || kl_os_monotonic_ns(wal->os) < wal->flush_at) return KL_OK;
  kl_status status = KL_OK;
  kl_lsn upto = wal->tail;
  wal->flush_at = 0;
  while (status == KL_OK && wal->durable < upto) {
    if (wal->poisoned) return wal_refuse(wal, err);
    if (wal->syncing) {
      kl_cond_wait(&wal->changed, &wal->lock);
      continue;
    }
    status = wal_sync_round(wal, false, err);
  }
  return status;
}

/* The lock is held (let go meanwhile). */
static kl_status wal_append_locked(kl_wal *wal, const kl_slice *parts, size_t count, wal_batch_header *header,
                                   bool deferred, kl_error *err) {
  kl_lsn end;
  bool large = header->payload_size >= WAL_LARGE_BATCH;
  kl_status status = wal_append_check(wal, err);
  if (status != KL_OK) return status;
  if (!wal_batch_end(wal_align_up(wal->tail, WAL_SYNC_BLOCK), header->payload_size, &end)) {
    return kl_fail(err, KL_E_LIMIT, "a batch of %" PRIu64 " bytes does not fit into log '%s'", header->payload_size,
                   wal->path);
  }
  status = wal_space_ensure(wal, end, large, err);
  if (status != KL_OK) return status;
  if (wal->poisoned) return wal_refuse(wal, err);
  header->lsn = wal_append_position(wal, large);
  header->gap = (uint16_t)(header->lsn - wal->tail);
  header->durable_lsn = wal->durable;
  (void)wal_batch_end(header->lsn, header->payload_size, &end);
  uint8_t bytes[WAL_BATCH_HEADER];
  wal_batch_header_encode(header, wal->seed, bytes);
  bool buffered =
      deferred && !large && wal->dsync_file != NULL && wal_append_buffered(wal, header->lsn, end, bytes, parts, count);
  if (!buffered) status = wal_append_direct(wal, header->lsn, end, bytes, parts, count, err);
  if (status != KL_OK) return status;
  wal->tail = end;
  wal->appends++;
  wal->appended_bytes += end - header->lsn;
  wal_append_look_ahead(wal);
  return wal_append_flush_due(wal, err);
}

static kl_status wal_append_batch(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, bool deferred,
                                  kl_lsn *out_lsn, kl_lsn *out_end, kl_error *err) {
  wal_batch_header header = {.ts = ts, .incarnation = wal->header.incarnation};
  for (size_t i = 0; i < count; i++) {
    header.payload_size += parts[i].size;
    header.payload_crc = kl_crc32c(header.payload_crc, parts[i].data, parts[i].size);
  }
  kl_mutex_lock(&wal->lock);
  kl_status status = wal_append_locked(wal, parts, count, &header, deferred, err);
  if (out_lsn != NULL) *out_lsn = header.lsn;
  if (out_end != NULL) *out_end = wal->tail;
  kl_mutex_unlock(&wal->lock);
  return status;
}

kl_status kl_wal_append(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn, kl_lsn *out_end,
                        kl_error *err) {
  return wal_append_batch(wal, parts, count, ts, false, out_lsn, out_end, err);
}

kl_status kl_wal_append_deferred(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn,
                                 kl_lsn *out_end, kl_error *err) {
  return wal_append_batch(wal, parts, count, ts, true, out_lsn, out_end, err);
}
