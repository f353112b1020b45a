/* core/wal/recover.c: is a place that cannot be read the end of the log, or damage; and how the end is made final. */
#include <inttypes.h>
#include <string.h>

#include "wal_private.h"

enum { WAL_RECOVER_CHUNK = 64 << 10 };

/* What a search looks for: batches behind `end` that prove that bytes at or behind it were durable. */
typedef struct wal_evidence {
  kl_wal *wal;
  kl_lsn end;
  uint8_t *chunk;
  bool found;
  kl_lsn at, claims; /* the batch that proves it, and what it knew durable */
} wal_evidence;

/* `inside`: where in a segment's data the header was found. */
static void wal_recover_weigh(wal_evidence *evidence, const uint8_t *bytes, uint64_t inside) {
  const kl_wal *wal = evidence->wal;
  wal_batch_header header;
  if (!wal_batch_header_decode(bytes, wal->seed, &header)) return;
  if (header.lsn % wal->data_size != inside || header.lsn < evidence->end) return;
  /* What earlier lives left behind their end is no evidence (WAL-5); a life that the header does not know of is. */
  if (header.incarnation < wal->header.incarnation) return;
  bool unknown_life = header.incarnation > wal->header.incarnation;
  if (!unknown_life && header.durable_lsn <= evidence->end) return;
  evidence->found = true;
  evidence->at = header.lsn;
  evidence->claims = unknown_life ? header.lsn : header.durable_lsn;
}

/* Looks at every aligned place of a slot's data from `inside` on. Headers never lie across segments. */
static kl_status wal_recover_search_slot(wal_evidence *evidence, uint32_t slot, uint64_t inside, kl_error *err) {
  kl_wal *wal = evidence->wal;
  uint64_t data = wal_space_slot_offset(wal, slot) + WAL_SEGMENT_HEADER;
  while (!evidence->found && inside + WAL_BATCH_HEADER <= wal->data_size) {
    size_t want = WAL_RECOVER_CHUNK, got = 0;
    if (want > wal->data_size - inside) want = (size_t)(wal->data_size - inside);
    kl_status status = kl_os_read(wal->os, wal->file, evidence->chunk, want, data + inside, &got, err);
    if (status != KL_OK) return status;
    size_t at = 0;
    for (; !evidence->found && at + WAL_BATCH_HEADER <= got; at += WAL_ALIGN) {
      if (wal_batch_header_has_magic(evidence->chunk + at)) {
        wal_recover_weigh(evidence, evidence->chunk + at, inside + at);
      }
    }
    if (got < want || at == 0) break;
    inside += at; /* a header that the chunk cuts is looked at again */
  }
  return KL_OK;
}

/* Searches the segment where the log stopped from there on, all that follow, and slots whose headers say nothing: with
 * a segment's header damaged, its batches still know where they belong. */
static kl_status wal_recover_search(wal_evidence *evidence, kl_error *err) {
  kl_wal *wal = evidence->wal;
  uint64_t sequence = evidence->end / wal->data_size;
  kl_status status = KL_OK;
  for (uint32_t i = 0; i < wal->segment_count && status == KL_OK && !evidence->found; i++) {
    const wal_segment *segment = &wal->segments[i];
    if (segment->sequence < sequence) continue;
    uint64_t inside = segment->sequence == sequence ? evidence->end % wal->data_size : 0;
    status = wal_recover_search_slot(evidence, segment->slot, inside, err);
  }
  for (uint32_t i = 0; i < wal->free_count && status == KL_OK && !evidence->found; i++) {
    status = wal_recover_search_slot(evidence, wal->free_slots[i], 0, err);
  }
  return status;
}

static kl_status wal_recover_damaged(kl_wal *wal, kl_lsn end, kl_lsn durable, const char *who, kl_error *err) {
  uint64_t offset = 0, run;
  kl_mutex_lock(&wal->lock);
  bool located = wal_space_locate(wal, end, &offset, &run);
  kl_mutex_unlock(&wal->lock);
  return kl_fail(err, KL_E_CORRUPT,
                 "log '%s' is damaged at offset %" PRIu64 " (LSN %" PRIu64 ")%s: %s shows that bytes up to LSN %" PRIu64
                 " were durable; restore from a backup",
                 wal->path, offset, end, located ? "" : ", where a segment is missing", who, durable);
}

kl_status wal_recover_judge(kl_wal *wal, kl_lsn end, kl_lsn known_durable, kl_error *err) {
  if (end < wal->header.incarnation_start) {
    return wal_recover_damaged(wal, end, wal->header.incarnation_start, "its header", err);
  }
  if (end < known_durable) return wal_recover_damaged(wal, end, known_durable, "the checkpoint", err);
  wal_evidence evidence = {.wal = wal, .end = end};
  evidence.chunk = kl_alloc(wal->os->allocator, WAL_RECOVER_CHUNK);
  if (evidence.chunk == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to recover log '%s'", wal->path);
  kl_status status = wal_recover_search(&evidence, err);
  kl_free(wal->os->allocator, evidence.chunk, WAL_RECOVER_CHUNK);
  if (status != KL_OK) return status;
  return evidence.found ? wal_recover_damaged(wal, end, evidence.claims, "a later batch", err) : KL_E_NOT_FOUND;
}

/* WAL-10: that bytes can be read does not say that they are on stable storage, nor that a sync would put them there:
 * after a failed sync the kernel shows pages that it will not write again. So what is not known to be durable is
 * written once more, byte for byte, before the next sync vouches for it. */
static kl_status wal_recover_rewrite(kl_wal *wal, kl_lsn from, kl_lsn end, kl_error *err) {
  uint8_t *chunk = kl_alloc(wal->os->allocator, WAL_RECOVER_CHUNK);
  if (chunk == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to recover log '%s'", wal->path);
  uint64_t first = (from + wal->data_size - 1) / wal->data_size;
  kl_status status = wal_space_rewrite_headers(wal, first, end / wal->data_size, err);
  while (status == KL_OK && from < end) {
    size_t want = end - from < WAL_RECOVER_CHUNK ? (size_t)(end - from) : WAL_RECOVER_CHUNK, got = 0;
    status = wal_space_read(wal, from, chunk, want, &got, err);
    kl_slice part = kl_slice_make(chunk, got);
    if (status == KL_OK) status = wal_space_write(wal, wal->file, from, &part, 1, err);
    /* All batches were read, so what is missing is the gap between the last one of a segment and the first of the next,
     * when the segment's slot is the last of a file that was not prewritten. */
    from = got != 0 ? from + got : (from / wal->data_size + 1) * wal->data_size;
  }
  kl_free(wal->os->allocator, chunk, WAL_RECOVER_CHUNK);
  return status;
}

/* WAL-5. The order matters: first all that was read becomes durable, because the header, once it names `end` as the
 * start of a new life, vouches for it. Then the copies of the header one after the other, so that one is durable at any
 * time; which one first, and why its number has the parity of the incarnation, is WAL-11. */
static kl_status wal_recover_begin_life(kl_wal *wal, kl_lsn end, kl_error *err) {
  wal_header header = wal->header;
  kl_lsn durable = wal->scanned_durable;
  if (header.incarnation >= UINT64_MAX - 1) { /* forged: nothing was recovered that often */
    return kl_fail(err, KL_E_CORRUPT, "log '%s' claims more lives than there are numbers; restore from a backup",
                   wal->path);
  }
  if (durable < header.incarnation_start) durable = header.incarnation_start;
  durable = wal_align_up(durable, WAL_SYNC_BLOCK); /* what follows it begins there (WAL-3) */
  header.incarnation++;
  if (header.incarnation % 2 != wal->header_first) header.incarnation++;
  header.incarnation_start = end;
  kl_status status = wal_recover_rewrite(wal, durable, end, err);
  if (status == KL_OK) status = kl_os_sync(wal->os, wal->file, false, err);
  for (unsigned i = 0; i < 2 && status == KL_OK; i++) {
    status = wal_store_header(wal, &header, (wal->header_first + i) % 2, err);
    if (status == KL_OK) status = kl_os_sync(wal->os, wal->file, true, err);
  }
  if (status == KL_OK) wal->header = header;
  return status;
}

kl_status kl_wal_recover_end(kl_wal *wal, kl_lsn end, kl_error *err) {
  kl_error cause = {0};
  kl_mutex_lock(&wal->lock);
  bool running = wal->running, right = wal->scanned && wal->scanned_end == end, poisoned = wal->poisoned;
  kl_mutex_unlock(&wal->lock);
  if (running) return kl_fail(err, KL_E_INVALID, "log '%s' has been recovered already", wal->path);
  if (poisoned) return wal_refuse(wal, err);
  if (!right) {
    return kl_fail(err, KL_E_INVALID, "LSN %" PRIu64 " is not where a reader found the end of log '%s'", end,
                   wal->path);
  }
  kl_status status = wal->read_only ? KL_OK : wal_recover_begin_life(wal, end, &cause);
  kl_mutex_lock(&wal->lock);
  if (status == KL_OK) {
    wal->tail = wal->durable = wal->cut = end;
    wal_space_settle(wal);
    wal->running = true;
  } else {
    wal_poison(wal, &cause);
    if (err != NULL) *err = cause;
  }
  kl_mutex_unlock(&wal->lock);
  return status;
}
