/* core/drain/replay.c: see replay.h. */
#include "replay.h"

#include <inttypes.h>

#include "../wal/commit_record.h"

/* Says where the trouble is: the codec knows only the payload. */
static kl_status replay_fail(const kl_wal_batch *batch, const kl_error *cause, kl_error *err) {
  return kl_fail(err, cause->code, "log batch at LSN %" PRIu64 ": %s", batch->lsn, cause->message);
}

typedef struct replay_run {
  const kl_replay_target *target;
  kl_delta *delta; /* commits go in here now */
  kl_replay_stats stats;
} replay_run;

/* The ops of one commit. *out_runs: how many of them are runs. */
static kl_status replay_ops(replay_run *run, kl_commit_reader *reader, uint64_t ts, uint64_t *out_runs, kl_error *err) {
  kl_op op;
  kl_status status;
  *out_runs = 0;
  while ((status = kl_commit_reader_next_op(reader, &op, err)) == KL_OK) {
    if (op.kind == KL_OP_RUN) {
      ++*out_runs;
      status = run->target->run_op(run->target->context, &op, err);
    } else {
      kl_version version = {.ts = ts, .kind = KL_VERSION_PUT, .value = op.value};
      if (op.kind == KL_OP_DELETE) version.kind = KL_VERSION_DELETE;
      status = kl_delta_insert(run->delta, op.keyspace, op.key, &version, err);
    }
    if (status != KL_OK) return status;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

/* The commit was one of runs. */
static kl_status replay_end_run(replay_run *run, const kl_wal_batch *batch, kl_lsn end, uint64_t ts, bool alone,
                                kl_error *err) {
  if (!alone)
    return kl_fail(err, KL_E_CORRUPT, "commit %" PRIu64 " is of runs, and is not all that its batch holds", ts);
  kl_replay_run at = {.ts = ts, .before_ts = run->stats.highest_ts, .begin = batch->lsn, .end = end};
  return run->target->run_end(run->target->context, &at, &run->delta, err);
}

static kl_status replay_batch(replay_run *run, const kl_wal_batch *batch, kl_lsn end, kl_error *err) {
  kl_commit_reader reader;
  kl_replay_stats *stats = &run->stats;
  kl_error cause = {0};
  kl_status status;
  uint64_t ts, ops, runs, commits = 0;
  kl_commit_reader_init(&reader, batch->payload);
  while ((status = kl_commit_reader_next_commit(&reader, &ts, &ops, &cause)) == KL_OK) {
    if (ts <= stats->highest_ts) {
      return kl_fail(err, KL_E_CORRUPT, "log batch at LSN %" PRIu64 ": commit %" PRIu64 " comes after commit %" PRIu64,
                     batch->lsn, ts, stats->highest_ts);
    }
    status = replay_ops(run, &reader, ts, &runs, &cause);
    if (status == KL_OK && runs != 0) {
      bool alone = runs == ops && commits == 0 && reader.rest.size == 0;
      status = replay_end_run(run, batch, end, ts, alone, &cause);
    }
    if (status != KL_OK) break;
    stats->highest_ts = ts;
    stats->commits++;
    stats->ops += ops;
    commits++;
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

kl_status kl_replay(kl_wal *wal, const kl_replay_target *target, kl_lsn from_lsn, kl_lsn known_durable,
                    kl_replay_stats *out_stats, kl_error *err) {
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  replay_run run = {.target = target, .delta = target->delta};
  kl_status status = kl_wal_reader_new(wal, from_lsn, &reader, err);
  if (status != KL_OK) return status;
  kl_wal_reader_expect(reader, known_durable);
  while ((status = kl_wal_reader_next(reader, &batch, err)) == KL_OK) {
    status = replay_batch(&run, &batch, kl_wal_reader_position(reader), err);
    if (status != KL_OK) break;
  }
  run.stats.end_lsn = kl_wal_reader_position(reader);
  kl_wal_reader_free(reader);
  if (status != KL_E_NOT_FOUND) return status;
  *out_stats = run.stats;
  return KL_OK;
}
