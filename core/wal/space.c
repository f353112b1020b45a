/* core/wal/space.c: segments and slots.
 *
 * A slot is a place in the file, a segment a range of LSNs; wal->segments says which segment lies in which slot, and
 * wal->free_slots holds the slots whose segment was released. Growth prepares space ahead of the tail: a segment's
 * header names its sequence number, bytes that the file does not have yet are allocated and written with zeros, then
 * one sync makes it all durable, and only then `ready` moves (WAL-6). */
#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "wal_private.h"

/* Written ahead of the tail. */
static const uint8_t wal_space_zeros[64 << 10];

uint64_t wal_space_slot_offset(const kl_wal *wal, uint32_t slot) {
  return WAL_SEGMENTS_OFFSET + (uint64_t)slot * wal->segment_size;
}

/* Index of the first segment with a sequence at or above `sequence`. Most questions are about the last two. */
static uint32_t wal_space_find(const kl_wal *wal, uint64_t sequence) {
  uint32_t low = 0, high = wal->segment_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (wal->segments[middle].sequence < sequence) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static bool wal_space_has(const kl_wal *wal, uint64_t sequence, uint32_t *out_index) {
  uint32_t i = wal_space_find(wal, sequence);
  if (out_index != NULL) *out_index = i;
  return i < wal->segment_count && wal->segments[i].sequence == sequence;
}

bool wal_space_locate(const kl_wal *wal, kl_lsn lsn, uint64_t *out_offset, uint64_t *out_run) {
  uint32_t i;
  uint64_t inside = lsn % wal->data_size;
  if (!wal_space_has(wal, lsn / wal->data_size, &i)) return false;
  *out_offset = wal_space_slot_offset(wal, wal->segments[i].slot) + WAL_SEGMENT_HEADER + inside;
  *out_run = wal->data_size - inside;
  return true;
}

/* Room for one more segment and one more slot, so that what follows cannot fail. */
static kl_status wal_space_reserve(kl_wal *wal, kl_error *err) {
  if (wal->segment_count == wal->segment_capacity) {
    uint32_t capacity = wal->segment_capacity == 0 ? 8 : wal->segment_capacity * 2;
    wal_segment *grown =
        kl_realloc(wal->os->allocator, wal->segments, wal->segment_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the segment table of log '%s'", wal->path);
    wal->segments = grown;
    wal->segment_capacity = capacity;
  }
  if (wal->free_capacity <= wal->slot_count) {
    uint32_t capacity = wal->free_capacity == 0 ? 8 : wal->free_capacity * 2;
    uint32_t *grown =
        kl_realloc(wal->os->allocator, wal->free_slots, wal->free_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the slot table of log '%s'", wal->path);
    wal->free_slots = grown;
    wal->free_capacity = capacity;
  }
  return KL_OK;
}

static void wal_space_insert(kl_wal *wal, uint32_t index, wal_segment segment) {
  KL_ASSERT(wal->segment_count < wal->segment_capacity);
  memmove(wal->segments + index + 1, wal->segments + index, (wal->segment_count - index) * sizeof segment);
  wal->segments[index] = segment;
  wal->segment_count++;
}

static void wal_space_give_back(kl_wal *wal, uint32_t slot) {
  KL_ASSERT(wal->free_count < wal->free_capacity);
  wal->free_slots[wal->free_count++] = slot;
}

/* Removes segments [from, to) of the table; their slots become free. */
static void wal_space_drop(kl_wal *wal, uint32_t from, uint32_t to) {
  if (from == to) return; /* there may be no table yet */
  for (uint32_t i = from; i < to; i++) wal_space_give_back(wal, wal->segments[i].slot);
  memmove(wal->segments + from, wal->segments + to, (wal->segment_count - to) * sizeof *wal->segments);
  wal->segment_count -= to - from;
}

kl_status wal_space_load(kl_wal *wal, kl_error *err) {
  uint8_t block[WAL_PAGE];
  uint64_t bytes = wal->file_bytes > WAL_SEGMENTS_OFFSET ? wal->file_bytes - WAL_SEGMENTS_OFFSET : 0;
  uint64_t slots = (bytes + wal->segment_size - 1) / wal->segment_size;
  if (slots > UINT32_MAX / 2) {
    return kl_fail(err, KL_E_LIMIT, "log '%s' has %" PRIu64 " segments, more than fit", wal->path, slots);
  }
  for (uint32_t slot = 0; slot < slots; slot++) {
    size_t got = 0;
    wal_segment_header header;
    kl_status status = wal_space_reserve(wal, err);
    if (status == KL_OK) {
      status = kl_os_read(wal->os, wal->file, block, sizeof block, wal_space_slot_offset(wal, slot), &got, err);
    }
    if (status != KL_OK) return status;
    wal->slot_count = slot + 1;
    if (got != sizeof block || !wal_segment_header_decode(block, wal->header.database_id, &header)) {
      wal_space_give_back(wal, slot);
      continue;
    }
    if (header.assignment >= wal->next_assignment) wal->next_assignment = header.assignment + 1;
    uint32_t i;
    wal_segment segment = {header.sequence, header.assignment, slot};
    if (!wal_space_has(wal, header.sequence, &i)) {
      wal_space_insert(wal, i, segment);
    } else if (wal->segments[i].assignment < header.assignment) {
      wal_space_give_back(wal, wal->segments[i].slot);
      wal->segments[i] = segment;
    } else {
      wal_space_give_back(wal, slot);
    }
  }
  return KL_OK;
}

void wal_space_free(kl_wal *wal) {
  kl_free(wal->os->allocator, wal->segments, wal->segment_capacity * sizeof *wal->segments);
  kl_free(wal->os->allocator, wal->free_slots, wal->free_capacity * sizeof *wal->free_slots);
}

/* Something was written up to this place of the file. The lock is held. */
static void wal_space_note_written(kl_wal *wal, uint64_t end) {
  if (wal->prepared_bytes < end) wal->prepared_bytes = end;
  if (wal->file_bytes < end) wal->file_bytes = end;
}

/* The LSN up to which the segment at `index` is prepared. */
static kl_lsn wal_space_prepared(const kl_wal *wal, uint32_t index) {
  uint64_t data = wal_space_slot_offset(wal, wal->segments[index].slot) + WAL_SEGMENT_HEADER;
  kl_lsn first = wal->segments[index].sequence * wal->data_size;
  uint64_t there = wal->prepared_bytes > data ? wal->prepared_bytes - data : 0;
  return first + (there < wal->data_size ? there / WAL_PAGE * WAL_PAGE : wal->data_size);
}

void wal_space_settle(kl_wal *wal) {
  uint64_t sequence = wal->tail / wal->data_size, lowest = sequence;
  uint32_t i;
  while (lowest != 0 && wal_space_has(wal, lowest - 1, NULL)) lowest--;
  /* Segments that were prepared behind the tail are prepared again when they are needed: that their headers can be read
   * does not say that they are on stable storage (WAL-10). */
  wal_space_drop(wal, wal_space_find(wal, sequence + 1), wal->segment_count);
  wal_space_drop(wal, 0, wal_space_find(wal, lowest));
  wal->start = lowest * wal->data_size;
  if (wal->start < wal->header.first_lsn) wal->start = wal->header.first_lsn;
  wal->ready = wal->tail;
  if (!wal_space_has(wal, sequence, &i)) return;
  uint32_t slot = wal->segments[i].slot;
  if (slot != 0 && slot == wal->slot_count - 1) {
    /* How much of its reserved space was written is not known any more. */
    uint64_t inside = wal_space_slot_offset(wal, slot) + WAL_SEGMENT_HEADER + wal->tail % wal->data_size;
    wal->prepared_bytes = wal_align_up(inside, WAL_PAGE);
  }
  kl_lsn prepared = wal_space_prepared(wal, i);
  if (prepared > wal->ready) wal->ready = prepared;
}

static kl_status wal_space_write_header(kl_wal *wal, const wal_segment *segment, kl_error *err) {
  uint8_t block[WAL_PAGE];
  wal_segment_header header = {.sequence = segment->sequence, .assignment = segment->assignment};
  memcpy(header.database_id, wal->header.database_id, WAL_ID_SIZE);
  wal_segment_header_encode(&header, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  return kl_os_write(wal->os, wal->file, &part, 1, wal_space_slot_offset(wal, segment->slot), err);
}

kl_status wal_space_rewrite_headers(kl_wal *wal, uint64_t first, uint64_t last, kl_error *err) {
  kl_status status = KL_OK;
  for (uint32_t i = wal_space_find(wal, first); i < wal->segment_count && status == KL_OK; i++) {
    if (wal->segments[i].sequence > last) break;
    status = wal_space_write_header(wal, &wal->segments[i], err);
  }
  return status;
}

/* Finds the slot of a segment, or gives it one and writes its header: a free slot, or a new one at the end of the file.
 * Called with the role `extending`; the lock is not held. */
static kl_status wal_space_open_segment(kl_wal *wal, uint64_t sequence, kl_error *err) {
  uint32_t from_free = UINT32_MAX;
  kl_mutex_lock(&wal->lock);
  if (wal_space_has(wal, sequence, NULL)) {
    kl_mutex_unlock(&wal->lock);
    return KL_OK;
  }
  kl_status status = wal_space_reserve(wal, err);
  if (status != KL_OK) {
    kl_mutex_unlock(&wal->lock);
    return status;
  }
  wal_segment segment = {.sequence = sequence, .slot = wal->slot_count};
  for (uint32_t i = 0; i < wal->free_count; i++) { /* the lowest, so that the end of the file tends to be free */
    if (wal->free_slots[i] < segment.slot) {
      segment.slot = wal->free_slots[i];
      from_free = i;
    }
  }
  /* The slot leaves the free list now, so that nobody shrinks the file under it; a failure puts it back. */
  if (from_free != UINT32_MAX) {
    wal->free_slots[from_free] = wal->free_slots[--wal->free_count];
  } else {
    wal->slot_count++;
  }
  segment.assignment = wal->next_assignment++; /* never used twice, also when the write below fails half-way (WAL-7) */
  kl_mutex_unlock(&wal->lock);

  status = wal_space_write_header(wal, &segment, err);

  kl_mutex_lock(&wal->lock);
  wal->dirty = true;
  if (status == KL_OK) {
    uint64_t end = wal_space_slot_offset(wal, segment.slot) + WAL_SEGMENT_HEADER;
    wal_space_insert(wal, wal_space_find(wal, sequence), segment);
    wal_space_note_written(wal, end);
    if (from_free != UINT32_MAX) wal->recycled++;
  } else {
    wal_space_give_back(wal, segment.slot);
  }
  kl_mutex_unlock(&wal->lock);
  return status;
}

static kl_status wal_space_write_zeros(kl_wal *wal, uint64_t from, uint64_t to, kl_error *err) {
  kl_slice parts[8];
  while (from < to) {
    size_t count = 0;
    uint64_t at = from;
    for (; count < sizeof parts / sizeof parts[0] && at < to; count++) {
      uint64_t size = to - at < sizeof wal_space_zeros ? to - at : sizeof wal_space_zeros;
      parts[count] = kl_slice_make(wal_space_zeros, (size_t)size);
      at += size;
    }
    kl_status status = kl_os_write(wal->os, wal->file, parts, count, from, err);
    if (status != KL_OK) return status;
    from = at;
  }
  return KL_OK;
}

/* Reserves the space of [from, to). Where a slot comes into use its whole space is reserved, so that a log with
 * released segments never waits for room in the middle of one; but the first slot, all that a small database has, and
 * any slot on a disk that is nearly full, get just what is needed. *out_end: up to where it was reserved. */
static kl_status wal_space_reserve_file(kl_wal *wal, uint64_t from, uint64_t to, uint64_t slot_end, uint64_t *out_end,
                                        kl_error *err) {
  bool first_slot = slot_end == wal_space_slot_offset(wal, 1);
  *out_end = first_slot ? to : slot_end;
  kl_status status = kl_os_allocate(wal->os, wal->file, from, *out_end - from, err);
  if (status == KL_E_DISK_FULL && *out_end != to) {
    *out_end = to;
    status = kl_os_allocate(wal->os, wal->file, from, to - from, err);
  }
  return status;
}

/* Prepares the open segment `sequence` up to the LSN `upto` or its end; *out_upto: as far as it is prepared now, which
 * may be more. `zeros`: its bytes are written, not only reserved. */
static kl_status wal_space_grow_segment(kl_wal *wal, uint64_t sequence, kl_lsn upto, bool zeros, kl_lsn *out_upto,
                                        kl_error *err) {
  uint32_t index;
  kl_mutex_lock(&wal->lock);
  bool there = wal_space_has(wal, sequence, &index);
  kl_lsn prepared = there ? wal_space_prepared(wal, index) : 0;
  /* Whole pages are counted, but the file may end inside one (when something cut it): what
   * lies below `ready` is in use and is never overwritten with zeros. */
  if (there && wal->ready > prepared && wal->ready / wal->data_size == sequence) prepared = wal->ready;
  uint64_t slot = there ? wal_space_slot_offset(wal, wal->segments[index].slot) : 0, file_bytes = wal->file_bytes;
  kl_mutex_unlock(&wal->lock);
  if (!there) return KL_BROKEN(err, "WAL-6: segment %" PRIu64 " lost its slot while it was extended", sequence);
  kl_lsn first = sequence * wal->data_size, end = first + wal->data_size;
  if (upto > end) upto = end;
  *out_upto = prepared;
  if (upto <= prepared) return KL_OK;
  upto = first + wal_align_up(upto - first, WAL_PAGE); /* data_size is a multiple of a page */
  uint64_t data = slot + WAL_SEGMENT_HEADER, from = data + (prepared - first), to = data + (upto - first),
           reserved = to;
  kl_status status = KL_OK;
  if (to > file_bytes) status = wal_space_reserve_file(wal, from, to, slot + wal->segment_size, &reserved, err);
  if (status == KL_OK && zeros) status = wal_space_write_zeros(wal, from, to, err);
  kl_mutex_lock(&wal->lock);
  wal->dirty = true;
  if (status == KL_OK) {
    wal_space_note_written(wal, to);
    if (wal->file_bytes < reserved) wal->file_bytes = reserved;
  }
  kl_mutex_unlock(&wal->lock);
  if (status == KL_OK) *out_upto = upto;
  return status;
}

static kl_status wal_space_extend_to(kl_wal *wal, kl_lsn need, bool large, kl_error *err) {
  bool zeros = wal->prewrite && !large;
  kl_mutex_lock(&wal->lock);
  kl_lsn at = wal->ready;
  kl_mutex_unlock(&wal->lock);
  while (at < need) {
    uint64_t sequence = at / wal->data_size;
    kl_lsn upto = (sequence + 1) * wal->data_size;
    kl_status status = wal_space_open_segment(wal, sequence, err);
    if (status == KL_OK) status = wal_space_grow_segment(wal, sequence, need, zeros, &upto, err);
    if (status != KL_OK) return status;
    KL_ASSERT(upto > at);
    at = upto;
  }
  kl_status status = KL_OK;
  kl_mutex_lock(&wal->lock);
  if (zeros) {
    while (wal->syncing) kl_cond_wait(&wal->changed, &wal->lock);
    status = wal->poisoned ? wal_refuse(wal, err) : wal_sync_round(wal, true, err);
  }
  if (status == KL_OK) wal->ready = at;
  kl_mutex_unlock(&wal->lock);
  return status;
}

/* Gives free slots at the end of the file back to the file system, but keeps at least `keep_free` free ones and
 * `keep_slots` in all. The lock is held (let go meanwhile), as is the role `extending`: nobody grows the file while it
 * shrinks. */
static void wal_space_shrink(kl_wal *wal, uint32_t keep_free, uint32_t keep_slots) {
  uint32_t slots = wal->slot_count;
  for (uint32_t i = 0; wal->free_count > keep_free && wal->slot_count > keep_slots && i < wal->free_count;) {
    if (wal->free_slots[i] != wal->slot_count - 1) {
      i++;
      continue;
    }
    wal->free_slots[i] = wal->free_slots[--wal->free_count];
    wal->slot_count--;
    i = 0;
  }
  uint64_t bytes = wal_space_slot_offset(wal, wal->slot_count);
  if (wal->slot_count == slots || wal->file_bytes <= bytes) return;
  wal->file_bytes = bytes;
  if (wal->prepared_bytes > bytes) wal->prepared_bytes = bytes;
  kl_mutex_unlock(&wal->lock);
  (void)kl_os_truncate(wal->os, wal->file, bytes, NULL); /* a failure leaves bytes that nobody refers to */
  kl_mutex_lock(&wal->lock);
}

kl_status wal_space_extend(kl_wal *wal, kl_lsn need, bool large, kl_error *err) {
  kl_error cause = {0};
  kl_mutex_lock(&wal->lock);
  kl_lsn ahead = wal->ready + wal->step;
  uint32_t slots_before = wal->slot_count;
  kl_mutex_unlock(&wal->lock);
  /* A step at a time, so that syncs stay rare; with the disk nearly full, just what is needed. */
  kl_status status = wal_space_extend_to(wal, large || ahead < need ? need : ahead, large, &cause);
  if (status == KL_E_DISK_FULL && ahead > need && !large) status = wal_space_extend_to(wal, need, false, &cause);
  kl_mutex_lock(&wal->lock);
  if (status == KL_OK) {
    if (!large && wal->step < WAL_STEP_MAX) wal->step *= 2;
  } else if (status == KL_E_DISK_FULL && wal->poisoned) {
    status = wal_refuse(wal, &cause); /* it was the sync that found the disk full */
  } else if (status == KL_E_DISK_FULL) {
    /* What was added in vain is given back: the host may need the room more. */
    wal->step = WAL_STEP_MIN;
    uint64_t unused = (wal->ready + wal->data_size - 1) / wal->data_size;
    wal_space_drop(wal, wal_space_find(wal, unused), wal->segment_count);
    wal_space_shrink(wal, 0, slots_before);
  } else if (status != KL_E_NO_MEMORY && status != KL_E_POISONED) {
    wal_poison(wal, &cause);
  }
  kl_mutex_unlock(&wal->lock);
  if (status != KL_OK && err != NULL) *err = cause;
  return status;
}

kl_status wal_space_ensure(kl_wal *wal, kl_lsn need, bool large, kl_error *err) {
  while (wal->ready < need) {
    if (wal->poisoned) return wal_refuse(wal, err);
    if (wal->extending) {
      kl_cond_wait(&wal->changed, &wal->lock);
      continue;
    }
    wal->extending = true;
    kl_mutex_unlock(&wal->lock);
    kl_status status = wal_space_extend(wal, need, large, err);
    kl_mutex_lock(&wal->lock);
    wal->extending = false;
    kl_cond_broadcast(&wal->changed);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

kl_status kl_wal_release(kl_wal *wal, kl_lsn lsn, kl_error *err) {
  kl_status status = KL_OK;
  kl_mutex_lock(&wal->lock);
  if (!wal->running) {
    status = kl_fail(err, KL_E_INVALID, "log '%s' is still being recovered: nothing can be released", wal->path);
  } else if (lsn > wal->tail) {
    status = kl_fail(err, KL_E_INVALID, "log '%s' ends at LSN %" PRIu64 ": %" PRIu64 " cannot be released", wal->path,
                     wal->tail, lsn);
  } else if (lsn > wal->start) {
    wal->start = lsn;
    wal_space_drop(wal, 0, wal_space_find(wal, lsn / wal->data_size));
    if (!wal->extending) {
      /* After one huge transaction the log does not stay huge: more is not kept than is likely to be used soon. */
      wal->extending = true;
      wal_space_shrink(wal, wal->segment_count + 2, 0);
      wal->extending = false;
      kl_cond_broadcast(&wal->changed);
    }
  }
  kl_mutex_unlock(&wal->lock);
  return status;
}

kl_status wal_space_write(kl_wal *wal, kl_file *file, kl_lsn lsn, const kl_slice *parts, size_t count, kl_error *err) {
  kl_slice out[WAL_PARTS_MAX];
  size_t part = 0, used = 0; /* bytes of parts[part] that are written */
  for (;;) {
    while (part < count &&
           parts[part].size == used) { /* also empty ones: behind the last byte there may be no segment */
      part++;
      used = 0;
    }
    if (part == count) return KL_OK;
    uint64_t offset, run, gathered = 0;
    size_t n = 0;
    kl_mutex_lock(&wal->lock);
    bool found = wal_space_locate(wal, lsn, &offset, &run);
    kl_mutex_unlock(&wal->lock);
    if (!found) return KL_BROKEN(err, "WAL-6: no segment for LSN %" PRIu64 " below ready", lsn);
    while (part < count && n < WAL_PARTS_MAX && gathered < run) {
      size_t left = parts[part].size - used;
      size_t take = left < run - gathered ? left : (size_t)(run - gathered);
      if (take != 0) out[n++] = kl_slice_make((const uint8_t *)parts[part].data + used, take);
      gathered += take;
      used += take;
      if (used == parts[part].size) {
        part++;
        used = 0;
      }
    }
    kl_status status = kl_os_write(wal->os, file, out, n, offset, err);
    if (status != KL_OK) return status;
    kl_mutex_lock(&wal->lock);
    wal_space_note_written(wal, offset + gathered);
    kl_mutex_unlock(&wal->lock);
    lsn += gathered;
  }
}

kl_status wal_space_read(kl_wal *wal, kl_lsn lsn, void *buffer, size_t size, size_t *out_read, kl_error *err) {
  *out_read = 0;
  while (*out_read < size) {
    uint64_t offset, run;
    size_t got = 0;
    kl_mutex_lock(&wal->lock);
    bool found = wal_space_locate(wal, lsn + *out_read, &offset, &run);
    kl_mutex_unlock(&wal->lock);
    if (!found) return KL_OK;
    size_t want = size - *out_read < run ? size - *out_read : (size_t)run;
    kl_status status = kl_os_read(wal->os, wal->file, (uint8_t *)buffer + *out_read, want, offset, &got, err);
    if (status != KL_OK) return status;
    *out_read += got;
    if (got < want) return KL_OK;
  }
  return KL_OK;
}
