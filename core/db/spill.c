/* core/db/spill.c: see spill.h; the argument why a commit of a run is right: core/txn/README.md, "Larger than memory". */
#include "spill.h"

#include <string.h>

#include "../txn/run.h"
#include "../txn/write_set.h"
#include "db_private.h"
#include "unnamed.h"

#define SPILL_LEAST (UINT64_C(1) << 20)
#define SPILL_SLICE (UINT64_C(32) << 20)       /* of a merge of parts: how long others wait */
#define SPILL_COMMIT_DELTA (UINT64_C(1) << 20) /* bytes of deltas that are looked through while all commits wait */

enum {
  SPILL_SHARE = 8,       /* of memory_limit */
  SPILL_TIER = 4,        /* parts that are merged into one */
  SPILL_COMMIT_TRIES = 8 /* drains to get the active delta small, while others fill it */
};

uint64_t kl_db_spill_size(const kl_db *db) {
  uint64_t size = db->options.spill_size != 0 ? db->options.spill_size : db->options.memory_limit / SPILL_SHARE;
  return db->options.spill_size == 0 && size < SPILL_LEAST ? SPILL_LEAST : size;
}

/* -------- parts -------- */

/* The puts, or the deletes, of one keyspace. */
typedef struct spill_rows {
  kl_write_position at;
  bool deletes;
} spill_rows;

static kl_status spill_next(void *context, kl_tree_change *out, kl_error *err) {
  spill_rows *rows = context;
  (void)err;
  while (rows->at.entry != NULL && (rows->at.entry->kind == KL_VERSION_DELETE) != rows->deletes) {
    kl_write_position_next(&rows->at);
  }
  if (rows->at.entry == NULL) return KL_E_NOT_FOUND;
  *out = (kl_tree_change){
      .kind = KL_TREE_PUT, .key = kl_write_entry_key(rows->at.entry), .value = kl_write_entry_value(rows->at.entry)};
  kl_write_position_next(&rows->at);
  return KL_OK;
}

/* What is to be put into a part: one tree of a write set, or one row whose value has been written. */
typedef struct spill_content {
  uint32_t keyspace;
  const kl_write_tree *tree; /* NULL: one row */
  const kl_tree_extent *extent;
  bool *extent_taken; /* it is in a tree */
  uint64_t puts, deletes, bytes;
  kl_slice first, last; /* keys */
} spill_content;

static void spill_measure(const kl_write_tree *tree, spill_content *out) {
  kl_write_position at;
  *out = (spill_content){.keyspace = tree->keyspace, .tree = tree};
  for (kl_write_tree_first(tree, &at); at.entry != NULL; kl_write_position_next(&at)) {
    *(at.entry->kind == KL_VERSION_DELETE ? &out->deletes : &out->puts) += 1;
    out->bytes += at.entry->key_size + (uint64_t)at.entry->value_size;
  }
  kl_write_tree_first(tree, &at);
  out->first = kl_write_entry_key(at.entry);
  kl_write_tree_last(tree, &at);
  out->last = kl_write_entry_key(at.entry);
}

static kl_status spill_write_rows(kl_db *db, uint32_t keyspace, const spill_content *content, bool deletes,
                                  kl_error *err) {
  spill_rows rows = {.deletes = deletes};
  const kl_tree_changes changes = {spill_next, &rows};
  if (content->tree == NULL) {
    kl_db_unnamed_one one = {.row = {.kind = KL_TREE_PUT_EXTENT, .key = content->first, .extent = *content->extent}};
    const kl_tree_changes row = {kl_db_unnamed_next_one, &one};
    return kl_db_unnamed_put(db, keyspace, &row, content->extent_taken, err);
  }
  kl_write_tree_first(content->tree, &rows.at);
  return kl_db_unnamed_merge(db, keyspace, &changes, NULL, NULL, err);
}

/* A keyspace without rows. The run knows it from here on, so that it goes with the run, whatever happens. */
static kl_status spill_new_id(kl_db *db, kl_run *run, uint32_t *out, kl_error *err) {
  *out = kl_run_take_free(run);
  if (*out != 0) return KL_OK;
  kl_status status = kl_db_unnamed_new(db, out, err);
  if (status == KL_OK) {
    status = kl_run_add_id(run, *out, err);
    if (status != KL_OK) (void)kl_keyspace_load_abandon(db->catalogue, out, 1, NULL);
  }
  if (status != KL_OK) *out = 0;
  return status;
}

/* The newest part of the keyspace, NULL: there is none. */
static kl_run_part *spill_newest(const kl_run *run, uint32_t keyspace) {
  for (size_t i = run->part_count; i-- > 0;) {
    if (run->parts[i].keyspace == keyspace) return &run->parts[i];
  }
  return NULL;
}

/* Puts the rows into the trees of a part, and notes it there. On failure the part may have some of them, which are in the write set, too,
 * and newer there: nothing may be added to it behind them. */
static kl_status spill_fill(kl_db *db, kl_run *run, kl_run_part *part, const spill_content *content, kl_error *err) {
  kl_status status = KL_OK;
  part->open = false;
  if (part->trees.puts == 0) status = spill_new_id(db, run, &part->trees.puts, err);
  if (status == KL_OK && content->deletes != 0 && part->trees.deletes == 0) {
    status = spill_new_id(db, run, &part->trees.deletes, err);
  }
  if (status == KL_OK && content->deletes != 0) status = spill_write_rows(db, part->trees.deletes, content, true, err);
  if (status == KL_OK && content->puts != 0) status = spill_write_rows(db, part->trees.puts, content, false, err);
  if (status != KL_OK) return status;
  part->open = true;
  part->bytes += content->bytes;
  part->last_size = (uint16_t)content->last.size;
  if (content->last.size != 0) memcpy(part->last, content->last.data, content->last.size);
  return KL_OK;
}

/* The newest part, if all of its keys lie before `first`: then rows may be added to it. */
static kl_run_part *spill_open_part(const kl_run *run, uint32_t keyspace, kl_slice first) {
  kl_run_part *newest = spill_newest(run, keyspace);
  if (newest == NULL || !newest->open) return NULL;
  return kl_slice_compare(first, kl_slice_make(newest->last, newest->last_size)) > 0 ? newest : NULL;
}

static kl_status spill_add(kl_db *db, kl_run *run, const spill_content *content, kl_error *err) {
  kl_status status = kl_run_reserve_part(run, err); /* what is written can be noted */
  if (status == KL_OK) status = kl_run_widen(run, content->keyspace, content->first, content->last, err);
  if (status != KL_OK) return status;
  kl_run_part *part = spill_open_part(run, content->keyspace, content->first);
  if (part != NULL) return spill_fill(db, run, part, content, err);
  part = kl_alloc(run->allocator, sizeof *part); /* a kilobyte: not on the stack of whoever writes */
  if (part == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a part of a transaction");
  part->keyspace = content->keyspace;
  status = spill_fill(db, run, part, content, err);
  if (status == KL_OK) kl_run_add_part(run, part);
  kl_free(run->allocator, part, sizeof *part);
  return status;
}

/* -------- merging parts -------- */

/* The newest parts of the keyspace, newest first. */
static size_t spill_tier(const kl_run *run, uint32_t keyspace, size_t out[SPILL_TIER]) {
  size_t count = 0;
  for (size_t i = run->part_count; i-- > 0 && count < SPILL_TIER;) {
    if (run->parts[i].keyspace == keyspace) out[count++] = i;
  }
  return count;
}

static kl_status spill_move_slice(kl_db *db, const kl_drain_move *move, bool *out_complete, kl_error *err) {
  db_drain_base base;
  kl_drain_stats stats;
  kl_db_drainer_lock(db);
  kl_status status = db->drainer.made != NULL ? kl_db_drainer_install(db, 0, err) : KL_OK;
  if (status == KL_OK) status = kl_db_drainer_base(db, &base, err);
  if (status == KL_OK) {
    base.input.cold = true;
    base.input.slice_bytes = SPILL_SLICE;
    status = kl_drain_move_run(&base.input, move, out_complete, &db->drainer.made, &stats, err);
    kl_db_drainer_base_free(db, &base);
    if (status != KL_OK) db->drainer.made = NULL;
    if (status == KL_OK) {
      db->drainer.made_as = DB_MADE_UNDER;
      status = kl_db_drainer_install(db, 0, err);
    }
  }
  kl_mutex_unlock(&db->drainer.draining);
  return status;
}

/* The oldest of the tier gets the rows of the others. On failure some were moved: all parts stay, and say the same. */
static kl_status spill_merge_tier(kl_db *db, kl_run *run, const size_t tier[SPILL_TIER], kl_error *err) {
  kl_run_part *oldest = &run->parts[tier[SPILL_TIER - 1]];
  kl_drain_part parts[SPILL_TIER - 1];
  bool deletes = false, complete = false;
  kl_status status = KL_OK;
  for (size_t i = 0; i < SPILL_TIER - 1; i++) {
    parts[i] = run->parts[tier[i]].trees;
    deletes = deletes || parts[i].deletes != 0;
  }
  oldest->open = false;
  if (deletes && oldest->trees.deletes == 0) status = spill_new_id(db, run, &oldest->trees.deletes, err);
  kl_drain_move move = {.target = oldest->trees.puts,
                        .target_deletes = oldest->trees.deletes,
                        .parts = parts,
                        .part_count = SPILL_TIER - 1};
  while (status == KL_OK && !complete) status = spill_move_slice(db, &move, &complete, err);
  if (status != KL_OK) return status;
  for (size_t i = 0; i < SPILL_TIER - 1; i++) { /* newest first: the indices of the others stay right */
    const kl_run_part *gone = &run->parts[tier[i]];
    kl_slice last = kl_slice_make(gone->last, gone->last_size);
    oldest->bytes += gone->bytes;
    if (kl_slice_compare(last, kl_slice_make(oldest->last, oldest->last_size)) > 0) {
      oldest->last_size = gone->last_size;
      memcpy(oldest->last, gone->last, sizeof oldest->last);
    }
    kl_run_put_free(run, gone->trees.puts);
    kl_run_put_free(run, gone->trees.deletes);
    kl_run_remove_part(run, tier[i]);
  }
  oldest->open = true;
  return KL_OK;
}

static kl_status spill_merge_parts(kl_db *db, kl_run *run, uint32_t keyspace, kl_error *err) {
  for (;;) {
    size_t tier[SPILL_TIER];
    uint64_t newer = 0;
    if (spill_tier(run, keyspace, tier) < SPILL_TIER) return KL_OK;
    for (size_t i = 0; i < SPILL_TIER - 1; i++) newer += run->parts[tier[i]].bytes;
    if (run->parts[tier[SPILL_TIER - 1]].bytes > 2 * newer) return KL_OK;
    kl_status status = spill_merge_tier(db, run, tier, err);
    if (status != KL_OK) return status;
  }
}

static kl_status spill_write(void *context, kl_run *run, const kl_write_set *writes, kl_error *err) {
  kl_db *db = context;
  kl_status status = KL_OK;
  for (uint32_t i = 0; i < writes->tree_count && status == KL_OK; i++) {
    spill_content content;
    if (writes->trees[i]->count == 0) continue;
    spill_measure(writes->trees[i], &content);
    status = spill_add(db, run, &content, err);
  }
  /* What is in the parts is in the parts: merging them is for later reads, and is tried again with the next part. */
  for (uint32_t i = 0; i < writes->tree_count && status == KL_OK; i++) {
    (void)spill_merge_parts(db, run, writes->trees[i]->keyspace, NULL);
  }
  return status;
}

static kl_status spill_write_extent(void *context, kl_run *run, uint32_t keyspace, kl_slice key,
                                    const kl_tree_extent *extent, bool *out_taken, kl_error *err) {
  const spill_content content = {.keyspace = keyspace,
                                 .extent = extent,
                                 .extent_taken = out_taken,
                                 .puts = 1,
                                 .bytes = key.size,
                                 .first = key,
                                 .last = key};
  *out_taken = false;
  kl_status status = spill_add(context, run, &content, err);
  if (status == KL_OK) (void)spill_merge_parts(context, run, keyspace, NULL);
  return status;
}

static void spill_abandon(void *context, kl_run *run) {
  kl_db *db = context;
  if (kl_keyspace_load_abandon(db->catalogue, run->ids, run->id_count, NULL) == KL_OK) kl_db_drain_wanted(db);
}

/* -------- the commit -------- */

/* Under `draining`. */
static kl_status spill_commit_held(kl_db *db, kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_status status = kl_db_drain_held(db, false, err);
  if (status == KL_OK) status = kl_db_settle(db, err);
  if (status == KL_OK) status = kl_txn_run_check(txn, err);
  for (int i = 0; i < SPILL_COMMIT_TRIES && status == KL_OK; i++) {
    kl_txn_frozen frozen;
    if (i != 0 && kl_txn_manager_active_bytes(db->manager) <= SPILL_COMMIT_DELTA) break;
    status = kl_txn_manager_freeze(db->manager, &frozen, err);
    if (status != KL_OK || frozen.delta == NULL) break;
    status = kl_txn_run_check_delta(txn, frozen.delta, err);
    if (status == KL_OK) status = kl_db_drain_frozen(db, &frozen, err);
  }
  return status == KL_OK ? kl_txn_run_commit(txn, out_ts, err) : status;
}

static kl_status spill_commit(void *context, kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_db *db = context;
  kl_db_drainer_lock(db);
  kl_status status = spill_commit_held(db, txn, out_ts, err);
  kl_mutex_unlock(&db->drainer.draining);
  /* The run is to be merged; or, after a failure, something may have been left frozen. */
  kl_db_drain_wanted(db);
  return status;
}

const kl_spill_ops kl_db_spill_ops = {
    .write = spill_write, .write_extent = spill_write_extent, .commit = spill_commit, .abandon = spill_abandon};

/* -------- replay -------- */

kl_status kl_db_spill_replay_op(void *context, const kl_op *op, kl_error *err) {
  kl_db_spill_replay *replay = context;
  kl_allocator *allocator = kl_txn_manager_allocator(replay->db->manager);
  uint8_t high[KL_MAX_KEY];
  kl_status status = replay->run == NULL ? kl_run_new(allocator, &replay->run, err) : KL_OK;
  if (status != KL_OK) return status;
  if (kl_run_has(replay->run, op->keyspace)) {
    return kl_fail(err, KL_E_CORRUPT, "two runs of keyspace %u in one commit", op->keyspace);
  }
  /* What it may have written is not known any more; who could conflict with it is gone. */
  memset(high, 0xff, sizeof high);
  status = kl_run_widen(replay->run, op->keyspace, kl_slice_make("", 0), kl_slice_make(high, sizeof high), err);
  kl_run_part *part = kl_alloc(allocator, sizeof *part);
  if (part == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a part of a transaction");
  part->keyspace = op->keyspace;
  for (size_t i = op->value.size / KL_OP_RUN_PART; i-- > 0 && status == KL_OK;) { /* oldest first */
    kl_op_run_part trees;
    kl_op_run_part_decode(op->value, i, &trees);
    part->trees = (kl_drain_part){trees.puts, trees.deletes};
    status = kl_run_reserve_part(replay->run, err);
    if (status == KL_OK) kl_run_add_part(replay->run, part);
    if (status == KL_OK && trees.puts != 0) status = kl_run_add_id(replay->run, trees.puts, err);
    if (status == KL_OK && trees.deletes != 0) status = kl_run_add_id(replay->run, trees.deletes, err);
  }
  kl_free(allocator, part, sizeof *part);
  return status;
}

kl_status kl_db_spill_replay_end(void *context, const kl_replay_run *at, kl_delta **out_delta, kl_error *err) {
  kl_db_spill_replay *replay = context;
  kl_txn_manager *manager = replay->db->manager;
  kl_run *run = replay->run;
  replay->run = NULL;
  run->ts = at->ts;
  kl_status status = kl_txn_manager_replay_run(manager, run, at->before_ts, at->begin, at->end, err);
  kl_run_unref(run); /* the layers have their own */
  *out_delta = kl_txn_manager_delta(manager);
  return status;
}
