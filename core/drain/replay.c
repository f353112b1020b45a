/* core/drain/replay.c: see replay.h. */
#include "replay.h"

#include <inttypes.h>

#include "../wal/commit_record.h"

/* Says where the trouble is: the codec knows only the payload. */
static kl_status replay_fail(const kl_wal_batch *batch, const kl_error *cause, kl_error *err) {
  return kl_fail(err, cause->code, "log batch at LSN %" PRIu64 ": %s", batch->lsn, cause->message);
}

static kl_status replay_ops(kl_commit_reader *reader, uint64_t ts, kl_delta *delta, kl_error *err) {
  kl_op op;
  kl_status status;
  while ((status = kl_commit_reader_next_op(reader, &op, err)) == KL_OK) {
    kl_version version = {.ts = ts, .kind = KL_VERSION_PUT, .value = op.value};
    if (op.kind == KL_OP_DELETE) version.kind = KL_VERSION_DELETE;
    status = kl_delta_insert(delta, op.keyspace, op.key, &version, err);
    if (status != KL_OK) return status;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

static kl_status replay_batch(const kl_wal_batch *batch, kl_delta *delta, kl_replay_stats *stats, kl_error *err) {
  kl_commit_reader reader;
  kl_error cause = {0};
  kl_status status;
  uint64_t ts, ops;
  kl_commit_reader_init(&reader, batch->payload);
  while ((status = kl_commit_reader_next_commit(&reader, &ts, &ops, &cause)) == KL_OK) {
    if (ts <= stats->highest_ts) {
      return kl_fail(err, KL_E_CORRUPT, "log batch at LSN %" PRIu64 ": commit %" PRIu64 " comes after commit %" PRIu64,
                     batch->lsn, ts, stats->highest_ts);
    }
    status = replay_ops(&reader, ts, delta, &cause);
    if (status != KL_OK) break;
    stats->highest_ts = ts;
    stats->commits++;
    stats->ops += ops;
  }
  if (status != KL_E_NOT_FOUND) return replay_fail(batch, &cause, err);
  if (batch->ts != stats->highest_ts) {
    return kl_fail(err, KL_E_CORRUPT,
                   "log batch at LSN %" PRIu64 " is of timestamp %" PRIu64 ", but its last commit is %" PRIu64,
                   batch->lsn, batch->ts, stats->highest_ts);
  }
  stats->batches++;
  stats->bytes += batch->payload.size;
  return KL_OK;
}

kl_status kl_replay(kl_wal *wal, kl_delta *delta, kl_lsn from_lsn, kl_lsn known_durable, kl_replay_stats *out_stats,
                    kl_error *err) {
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  kl_replay_stats stats = {0};
  kl_status status = kl_wal_reader_new(wal, from_lsn, &reader, err);
  if (status != KL_OK) return status;
  kl_wal_reader_expect(reader, known_durable);
  while ((status = kl_wal_reader_next(reader, &batch, err)) == KL_OK) {
    status = replay_batch(&batch, delta, &stats, err);
    if (status != KL_OK) break;
  }
  stats.end_lsn = kl_wal_reader_position(reader);
  kl_wal_reader_free(reader);
  if (status != KL_E_NOT_FOUND) return status;
  *out_stats = stats;
  return KL_OK;
}
