/* core/db/salvage_log.c: the log behind the chosen checkpoint, applied to the new database as far as it is sound.
 *
 * Commits are applied in their order, one after the other, so that the end, wherever it is, leaves a state that the old
 * database once had (but for what its trees have lost). Rows of keyspace 0 are not copied: they say which keyspaces
 * come and go. */
#include <inttypes.h>
#include <string.h>

#include "../keyspace/record.h"
#include "../wal/commit_record.h"
#include "salvage_private.h"

static const char salvage_log_suffix[] = "-wal";

static void salvage_log_problem(kl_salvage *salvage, const kl_error *cause) {
  check_problem(&salvage->problems, "the log ends early, and what was committed behind is lost: %s", cause->message);
}

static kl_status salvage_log_open_file(kl_salvage *salvage, const char *path, kl_error *err) {
  const kl_checkpoint *checkpoint = &salvage->chosen.checkpoint;
  kl_wal_options options = {.read_only = true};
  memcpy(options.database_id, salvage->chosen.database_id, sizeof options.database_id);
  kl_status status = kl_wal_open(salvage->os, path, &options, &salvage->wal, err);
  if (status != KL_OK) {
    salvage->wal = NULL;
    return status;
  }
  kl_wal_stats stats;
  kl_wal_get_stats(salvage->wal, &stats);
  salvage->log_total = stats.file_bytes;
  status = kl_wal_reader_new(salvage->wal, checkpoint->log_lsn, &salvage->log, err);
  if (status != KL_OK) {
    salvage->log = NULL;
    return status;
  }
  kl_wal_reader_expect(salvage->log, checkpoint->known_durable);
  return KL_OK;
}

kl_status salvage_log_open(kl_salvage *salvage, kl_error *err) {
  if (!salvage->chosen.checkpoint.log_needed) return KL_OK;
  size_t size = salvage->from_size + sizeof salvage_log_suffix - 1;
  char *path = kl_alloc(salvage->allocator, size);
  if (path == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to salvage '%s'", salvage->from);
  memcpy(path, salvage->from, salvage->from_size - 1);
  memcpy(path + salvage->from_size - 1, salvage_log_suffix, sizeof salvage_log_suffix);
  kl_error cause;
  kl_status status = salvage_log_open_file(salvage, path, &cause);
  kl_free(salvage->allocator, path, size);
  if (status == KL_E_NO_MEMORY) return salvage_pass(status, &cause, err);
  if (status != KL_OK) salvage_log_problem(salvage, &cause);
  return KL_OK;
}

void salvage_log_close(kl_salvage *salvage) {
  kl_wal_reader_free(salvage->log);
  kl_wal_close(salvage->wal);
  salvage->log = NULL;
  salvage->wal = NULL;
}

/* The keyspace goes: what was written to it first. */
static kl_status salvage_log_drop(kl_salvage *salvage, kl_slice name, kl_error *err) {
  kl_status status = salvage_commit(salvage, err);
  for (size_t i = 0; i < salvage->spaces.count && status == KL_OK; i++) {
    check_space *space = &salvage->spaces.list[i];
    if (space->name == NULL || !kl_slice_equal(kl_slice_make(space->name, space->name_size), name)) continue;
    kl_free(salvage->allocator, space->name, space->name_size);
    space->name = NULL;
    space->name_size = 0;
    if (space->target == NULL) continue;
    kl_keyspace_release(space->target);
    space->target = NULL;
    status = kl_keyspace_drop(kl_db_catalogue(salvage->target), name, err);
    salvage->report.keyspaces--;
  }
  return status;
}

static kl_status salvage_log_catalogue(kl_salvage *salvage, const kl_op *op, kl_error *err) {
  const uint8_t *key = op->key.data;
  if (op->key.size < 2 || key[0] != CATALOGUE_NAME_PREFIX) return KL_OK;
  kl_slice name = kl_slice_make(key + 1, op->key.size - 1);
  if (op->kind == KL_OP_DELETE) return salvage_log_drop(salvage, name, err);
  catalogue_record record;
  kl_status status = catalogue_record_decode(op->value, &record, err);
  if (status == KL_OK) status = catalogue_name_check(name, err);
  if (status != KL_OK) return status;
  check_space *space = check_spaces_add(&salvage->spaces, record.id, err);
  if (space == NULL) return KL_E_NO_MEMORY;
  if (space->target != NULL) return KL_OK; /* its name was lost, and it has an invented one */
  status = check_space_rename(&salvage->spaces, space, name, err);
  if (status == KL_OK) status = salvage_target(salvage, space, err);
  if (status != KL_OK) return status;
  salvage->report.keyspaces++;
  if (!space->is_load) return KL_OK;
  space->is_load = false; /* the load has ended: its rows are there, whole */
  return space->has_tree ? salvage_take(salvage, &space->tree, space->id, false, err) : KL_OK;
}

/* One tree of a run, where it has any rows left. */
static kl_status salvage_log_part(kl_salvage *salvage, uint32_t tree, uint32_t into, bool deletes, kl_error *err) {
  const check_space *from = tree != 0 ? check_spaces_find(&salvage->spaces, tree) : NULL;
  return from != NULL && from->has_tree ? salvage_take(salvage, &from->tree, into, deletes, err) : KL_OK;
}

/* Oldest part first. */
static kl_status salvage_log_run(kl_salvage *salvage, const kl_op *op, kl_error *err) {
  kl_status status = KL_OK;
  for (size_t i = op->value.size / KL_OP_RUN_PART; i-- > 0 && status == KL_OK;) {
    kl_op_run_part part;
    kl_op_run_part_decode(op->value, i, &part);
    status = salvage_log_part(salvage, part.deletes, op->keyspace, true, err);
    if (status == KL_OK) status = salvage_log_part(salvage, part.puts, op->keyspace, false, err);
  }
  return status;
}

static kl_status salvage_log_op(kl_salvage *salvage, const kl_op *op, kl_error *err) {
  if (op->keyspace == KL_CATALOGUE_KEYSPACE) return salvage_log_catalogue(salvage, op, err);
  check_space *space = check_spaces_add(&salvage->spaces, op->keyspace, err);
  if (space == NULL) return KL_E_NO_MEMORY;
  bool is_new = space->target == NULL;
  kl_status status = salvage_target(salvage, space, err);
  if (status != KL_OK) return status;
  salvage->report.keyspaces += is_new;
  if (op->kind == KL_OP_RUN) return salvage_log_run(salvage, op, err);
  return op->kind == KL_OP_PUT ? salvage_put(salvage, space, op->key, op->value, err)
                               : salvage_delete(salvage, space, op->key, err);
}

/* Whether all of a batch can be decoded: it is applied as a whole or not at all. */
static kl_status salvage_log_check(const kl_wal_batch *batch, kl_error *err) {
  kl_commit_reader reader;
  uint64_t ts, ops;
  kl_op op;
  kl_status status;
  kl_commit_reader_init(&reader, batch->payload);
  while ((status = kl_commit_reader_next_commit(&reader, &ts, &ops, err)) == KL_OK) {
    while ((status = kl_commit_reader_next_op(&reader, &op, err)) == KL_OK) {
    }
    if (status != KL_E_NOT_FOUND) return status;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

static kl_status salvage_log_apply(kl_salvage *salvage, const kl_wal_batch *batch, kl_error *err) {
  kl_commit_reader reader;
  uint64_t ts, ops;
  kl_op op;
  kl_status status;
  kl_commit_reader_init(&reader, batch->payload);
  while ((status = kl_commit_reader_next_commit(&reader, &ts, &ops, err)) == KL_OK) {
    if (ts <= salvage->chosen.checkpoint.ts) continue; /* it is in the trees */
    while ((status = kl_commit_reader_next_op(&reader, &op, err)) == KL_OK) {
      status = salvage_log_op(salvage, &op, err);
      if (status != KL_OK) return status;
    }
    if (status != KL_E_NOT_FOUND) return status;
    salvage->report.log_commits++;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

kl_status salvage_log_step(kl_salvage *salvage, bool *out_end, kl_error *err) {
  kl_wal_batch batch;
  kl_error cause;
  *out_end = true;
  if (salvage->log == NULL) return KL_OK;
  kl_status status = kl_wal_reader_next(salvage->log, &batch, &cause);
  if (status == KL_E_NOT_FOUND) return KL_OK;
  if (status == KL_OK) status = salvage_log_check(&batch, &cause);
  if (check_is_damage(status)) {
    salvage_log_problem(salvage, &cause);
    return KL_OK;
  }
  if (status != KL_OK) return salvage_pass(status, &cause, err);
  *out_end = false;
  salvage->log_bytes += batch.payload.size;
  return salvage_log_apply(salvage, &batch, err);
}
