/* core/db/compact.c: giving space back: rounds of compaction, asked for or in idle time. See db.h and drainer.h.
 *
 * A round is one checkpoint (kl_drain_compact). What it leaves behind is free after the next one only, because a
 * recovery could fall back by one; so rounds that move nothing still make the file shorter, and three that do not
 * pay (pages, large values, pages) end a compaction. Most databases have few large values, and finding those reads every leaf: rounds look for pages until
 * that pays no more, then for large values until that does not, then once more for pages. */
#include <string.h>

#include "db_private.h"

#define DB_COMPACT_PAGES_ROUND ((uint64_t)256 << 20) /* bytes of a round: how long a drain waits, ... */
#define DB_COMPACT_EXTENTS_ROUND ((uint64_t)4 << 30) /* ... though it makes a round end; and what a crash costs */
#define DB_COMPACT_IDLE_ROUND ((uint64_t)16 << 20)
#define DB_COMPACT_IDLE_ROOM ((uint64_t)16 << 20) /* a file is let be that has less than this too much */
#define DB_COMPACT_IDLE_NS UINT64_C(50000000)     /* of silence before each idle round */
#define DB_COMPACT_WORTH_LEAST ((uint64_t)64 << 10)
#define DB_COMPACT_WORTH_MOST ((uint64_t)KL_COMPACT_YIELD) /* a round that makes way has paid */

enum {
  DB_COMPACT_WORTH_SHARE = 64, /* a round pays that moves, or cuts off, this part of what is used */
  DB_COMPACT_ROUNDS_IDLE = 2   /* idle rounds that do not pay, one after the other: let it be, until the next drain */
};

typedef struct db_compact_progress {
  kl_store_space before; /* the last round */
  kl_db_compact_report report;
  uint32_t tries; /* rounds that did not pay: pages, then large values, then pages */
  bool paid;      /* the last round did */
} db_compact_progress;

/* Under `draining`. */
static kl_status db_compact_publish(kl_db *db, const kl_compact_limits *limits, kl_compact_stats *out, kl_error *err) {
  db_drain_base base;
  kl_status status = kl_db_drainer_base(db, &base, err);
  if (status != KL_OK) return status;
  status = kl_drain_compact(&base.input, limits, &db->drainer.made, out, err);
  db->drainer.made_as = DB_MADE_UNDER;
  if (status != KL_OK) db->drainer.made = NULL;
  kl_db_drainer_base_free(db, &base);
  return status;
}

kl_status kl_db_settle(kl_db *db, kl_error *err) {
  kl_compact_limits limits = {.max_bytes = 1};
  kl_compact_stats stats = {0};
  kl_status status = db_compact_publish(db, &limits, &stats, err);
  return status == KL_OK ? kl_db_drainer_install(db, 0, err) : status;
}

static kl_status db_compact_round(kl_db *db, const kl_compact_limits *limits, db_compact_progress *progress,
                                  kl_error *err) {
  kl_compact_stats stats = {0};
  kl_store_space after;
  kl_mutex_lock(&db->drainer.draining);
  kl_status status = db->drainer.made != NULL ? kl_db_drainer_install(db, 0, err) : KL_OK;
  kl_store_get_space(db->store, &progress->before);
  if (status == KL_OK) status = db_compact_publish(db, limits, &stats, err);
  if (status == KL_OK) status = kl_db_drainer_install(db, 0, err);
  kl_store_get_space(db->store, &after);
  kl_mutex_unlock(&db->drainer.draining);
  if (status != KL_OK) return status;
  uint64_t worth = after.used_bytes / DB_COMPACT_WORTH_SHARE;
  if (worth < DB_COMPACT_WORTH_LEAST) worth = DB_COMPACT_WORTH_LEAST;
  if (worth > DB_COMPACT_WORTH_MOST) worth = DB_COMPACT_WORTH_MOST;
  progress->paid = stats.bytes >= worth || after.blocks_end + worth <= progress->before.blocks_end;
  progress->report.moved_bytes += stats.bytes;
  progress->report.file_bytes = after.file_bytes;
  progress->report.used_bytes = after.used_bytes;
  progress->report.rounds++;
  return KL_OK;
}

static kl_status db_compact_rounds(kl_db *db, db_compact_progress *progress, kl_db_compact_progress tell, void *context,
                                   kl_error *err) {
  kl_db_compact_report *report = &progress->report;
  uint64_t most = 2 * report->used_bytes + DB_COMPACT_PAGES_ROUND;
  bool go_on = true;
  while (go_on && progress->tries < 3 && report->moved_bytes <= most) {
    kl_compact_limits limits = {.max_bytes = DB_COMPACT_PAGES_ROUND, .yield = &db->drainer.hurry};
    limits.extents = progress->tries == 1;
    if (limits.extents) limits.max_bytes = DB_COMPACT_EXTENTS_ROUND;
    kl_status status = KL_OK;
    /* Relaxed: a hint. Locks are not fair: whoever wants a drain might not get its turn between two rounds. */
    if (atomic_load_explicit(&db->drainer.hurry, memory_order_relaxed)) status = kl_db_drain(db, false, err);
    if (status == KL_OK) status = db_compact_round(db, &limits, progress, err);
    if (status != KL_OK) return status;
    if (!progress->paid) {
      progress->tries += report->rounds > 1; /* in the first one, what was just deleted is in limbo */
    } else if (progress->tries == 2) {
      progress->tries = 0;
    }
    go_on = tell == NULL || tell(context, report);
  }
  return KL_OK;
}

kl_status kl_db_compact(kl_db *db, kl_db_compact_progress tell, void *context, kl_db_compact_report *out,
                        kl_error *err) {
  db_compact_progress progress = {0};
  kl_store_space space;
  kl_status status = kl_db_make_checkpoint(db, err); /* what was deleted lies in the trees until it was drained */
  if (status != KL_OK) return status;
  kl_store_get_space(db->store, &space);
  progress.report.file_before = progress.report.file_bytes = space.file_bytes;
  progress.report.used_bytes = space.used_bytes;
  status = db_compact_rounds(db, &progress, tell, context, err);
  if (out != NULL) *out = progress.report;
  return status;
}

/* -------- in idle time -------- */

static bool db_compact_is_wanted(kl_db *db) {
  kl_store_space space;
  kl_store_get_space(db->store, &space);
  /* What is reserved cannot move: whoever has it is about to use it, or to give it back. */
  return space.blocks_end > 2 * (space.used_bytes + space.limbo_bytes) + space.reserved_bytes + DB_COMPACT_IDLE_ROOM;
}

void kl_db_compact_idle(kl_db *db) {
  db_compact_progress progress = {0};
  kl_compact_limits limits = {.max_bytes = DB_COMPACT_IDLE_ROUND, .yield = &db->drainer.hurry};
  for (uint32_t vain = 0; vain < DB_COMPACT_ROUNDS_IDLE && db_compact_is_wanted(db);) {
    if (!kl_db_drainer_idle(db, DB_COMPACT_IDLE_NS)) return;
    if (db_compact_round(db, &limits, &progress, NULL) != KL_OK) return;
    vain = progress.paid ? 0 : vain + 1;
  }
}
