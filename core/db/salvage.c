/* core/db/salvage.c: copies what is sound of a database into a new one. See check.h; README.md (DB-11 ... DB-13).
 *
 * Nothing of the engine opens the old file: it is read here, by the bytes that docs/format.md describes. The new one is
 * an ordinary database, written by ordinary transactions without a sync for each; closing it stores everything. */
#include "salvage_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SALVAGE_LOST_NAME = 40 };
#define SALVAGE_COMMIT_BYTES (UINT64_C(1) << 20) /* a transaction of the new database: about so much */

/* -------- choosing -------- */

/* How much hangs below a superblock, as far as its catalogue and inner pages tell. */
typedef struct salvage_weight {
  uint64_t rows, lost; /* rows that can be reached; rows below pages that cannot be read */
  uint64_t damage;     /* of the catalogue */
} salvage_weight;

/* A checkpoint that has lost more than this part of its rows gives way to an older one that has more of them. With
 * less, going back would cost more than it saves: all that was committed between the two. */
enum { SALVAGE_LOSS_SHARE = 10 };

static bool salvage_weight_good(const salvage_weight *weight) {
  return weight->damage == 0 && weight->lost <= weight->rows / SALVAGE_LOSS_SHARE;
}

static kl_status salvage_weigh_tree(kl_salvage *salvage, const kl_tree_record *tree, salvage_weight *weight,
                                    kl_error *err) {
  kl_status status;
  kl_tree_item item;
  bool is_root = true;
  kl_tree_walker_start(salvage->walker, &tree->root, false);
  while ((status = kl_tree_walker_next(salvage->walker, &item, err)) == KL_OK) {
    if (item.kind == KL_TREE_ITEM_DAMAGE) weight->lost += is_root ? tree->rows : item.rows;
    /* The rows below an inner page of level 1; or of a tree that is a single leaf. */
    if (item.kind == KL_TREE_ITEM_PAGE && item.level <= 1) weight->rows += item.rows;
    is_root = false;
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

static kl_status salvage_read_catalogue(kl_salvage *salvage, const store_superblock *superblock, check_spaces *spaces,
                                        uint64_t *out_damage, kl_error *err) {
  const kl_store_pointer *root = &superblock->checkpoint.catalogue;
  kl_tree_pointer catalogue = {
      .address = root->address, .length = root->length, .checksum = root->checksum, .birth = root->birth};
  kl_tree_item item;
  kl_status status;
  kl_error cause;
  *out_damage = 0;
  kl_tree_walker_start(salvage->walker, &catalogue, true);
  while ((status = kl_tree_walker_next(salvage->walker, &item, err)) == KL_OK) {
    if (item.kind == KL_TREE_ITEM_DAMAGE) ++*out_damage;
    if (item.kind != KL_TREE_ITEM_ROW || item.value.is_extent) continue;
    status = check_spaces_take(spaces, item.key, item.value.bytes, &cause);
    if (check_is_damage(status)) {
      ++*out_damage;
    } else if (status != KL_OK) {
      return salvage_pass(status, &cause, err);
    }
  }
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

/* Readers of what a superblock names go by it. */
static void salvage_use(kl_salvage *salvage, const store_superblock *superblock) {
  salvage->reader.page_size = superblock->page_size;
  salvage->reader.birth_most = superblock->checkpoint.sequence;
}

static kl_status salvage_weigh(kl_salvage *salvage, const store_superblock *superblock, salvage_weight *out,
                               kl_error *err) {
  check_spaces spaces = {.allocator = salvage->allocator};
  *out = (salvage_weight){0};
  salvage_use(salvage, superblock);
  kl_status status = salvage_read_catalogue(salvage, superblock, &spaces, &out->damage, err);
  for (size_t i = 0; i < spaces.count && status == KL_OK; i++) {
    if (spaces.list[i].has_tree) status = salvage_weigh_tree(salvage, &spaces.list[i].tree, out, err);
  }
  check_spaces_destroy(&spaces);
  return status;
}

/* A block of zeros has mostly never been one. */
static bool salvage_slot_lost(const uint8_t *block, kl_status status) {
  bool zero = true;
  for (size_t i = 0; i < KL_SUPERBLOCK_SIZE && zero; i++) zero = block[i] == 0;
  return status == KL_E_CORRUPT || status == KL_E_IO || (status == KL_E_FORMAT && !zero);
}

/* The superblocks that are intact, newest first. */
static kl_status salvage_read_ring(kl_salvage *salvage, store_superblock *out, size_t *out_count, kl_error *err) {
  uint8_t block[KL_SUPERBLOCK_SIZE];
  bool newer = false, damaged = false;
  *out_count = 0;
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    store_superblock found;
    size_t got = 0, at = *out_count;
    kl_error cause;
    memset(block, 0, sizeof block);
    kl_status status =
        kl_os_read(salvage->os, salvage->file, block, sizeof block, (uint64_t)slot * sizeof block, &got, &cause);
    if (status == KL_OK) status = got == sizeof block ? store_superblock_decode(block, slot, &found) : KL_E_FORMAT;
    newer = newer || status == KL_E_VERSION || (status == KL_OK && found.features_incompatible != 0);
    damaged = damaged || status == KL_E_CORRUPT || status == KL_E_IO;
    if (salvage_slot_lost(block, status)) {
      check_problem(&salvage->problems, "'%s': the superblock in block %" PRIu32 " is damaged", salvage->from, slot);
    }
    if (status != KL_OK) continue;
    for (; at > 0 && out[at - 1].checkpoint.sequence < found.checkpoint.sequence; at--) out[at] = out[at - 1];
    out[at] = found;
    ++*out_count;
  }
  if (newer) {
    return kl_fail(err, KL_E_VERSION, "'%s' was written by a newer Keel; salvage it with that", salvage->from);
  }
  if (*out_count != 0) return KL_OK;
  if (!damaged) return kl_fail(err, KL_E_FORMAT, "'%s' is not a Keel database", salvage->from);
  return kl_fail(err, KL_E_CORRUPT, "'%s': none of its superblocks is intact, and nothing else names its trees",
                 salvage->from);
}

static kl_status salvage_choose(kl_salvage *salvage, kl_error *err) {
  store_superblock ring[KL_SUPERBLOCKS];
  salvage_weight weight, best = {0};
  size_t count, chosen = 0;
  kl_status status = salvage_read_ring(salvage, ring, &count, err);
  for (size_t i = 0; i < count && status == KL_OK; i++) {
    status = salvage_weigh(salvage, &ring[i], &weight, err);
    if (status != KL_OK) break;
    bool good = salvage_weight_good(&weight);
    if (i == 0 || good || weight.rows > best.rows) {
      best = weight;
      chosen = i;
    }
    if (good) break;
  }
  if (status != KL_OK) return status;
  salvage->chosen = ring[chosen];
  salvage->newest = ring[0].checkpoint.sequence;
  salvage_use(salvage, &salvage->chosen);
  salvage->report.checkpoint = salvage->chosen.checkpoint.sequence;
  if (chosen != 0) {
    check_problem(&salvage->problems,
                  "'%s': what checkpoint %" PRIu64 " names is damaged near its roots; checkpoint %" PRIu64
                  " is taken instead",
                  salvage->from, salvage->newest, salvage->report.checkpoint);
  }
  return KL_OK;
}

/* -------- the new database -------- */

kl_status salvage_commit(kl_salvage *salvage, kl_error *err) {
  if (salvage->txn == NULL) return KL_OK;
  kl_status status = kl_txn_commit(salvage->txn, NULL, err);
  kl_txn_release(salvage->txn);
  salvage->txn = NULL;
  salvage->txn_bytes = 0;
  return status;
}

/* A transaction that is open, with room for one more row. */
static kl_status salvage_begin_write(kl_salvage *salvage, size_t bytes, kl_error *err) {
  kl_status status = KL_OK;
  if (salvage->txn_bytes >= SALVAGE_COMMIT_BYTES) status = salvage_commit(salvage, err);
  if (status == KL_OK && salvage->txn == NULL) {
    kl_txn_options options = {.durability = KL_DURABILITY_NONE, .label = "keel salvage"};
    status = kl_txn_begin(kl_db_txn_manager(salvage->target), &options, &salvage->txn, err);
    if (status != KL_OK) salvage->txn = NULL;
  }
  salvage->txn_bytes += bytes + 64;
  return status;
}

kl_status salvage_put(kl_salvage *salvage, const check_space *space, kl_slice key, kl_slice value, kl_error *err) {
  kl_status status = salvage_begin_write(salvage, key.size + value.size, err);
  return status == KL_OK ? kl_txn_put(salvage->txn, kl_keyspace_id(space->target), key, value, err) : status;
}

kl_status salvage_delete(kl_salvage *salvage, const check_space *space, kl_slice key, kl_error *err) {
  kl_status status = salvage_begin_write(salvage, key.size, err);
  return status == KL_OK ? kl_txn_delete(salvage->txn, kl_keyspace_id(space->target), key, err) : status;
}

/* A name that no keyspace has, old or new. */
static kl_status salvage_invent_name(kl_salvage *salvage, check_space *space, kl_error *err) {
  char name[SALVAGE_LOST_NAME];
  for (uint32_t attempt = 0;; attempt++) {
    int size = snprintf(name, sizeof name, "lost-keyspace-%" PRIu32, space->id);
    if (attempt > 0) size = snprintf(name, sizeof name, "lost-keyspace-%" PRIu32 "-%" PRIu32, space->id, attempt);
    kl_slice slice = kl_slice_make(name, (size_t)size);
    bool taken = false;
    for (size_t i = 0; i < salvage->spaces.count && !taken; i++) {
      const check_space *other = &salvage->spaces.list[i];
      taken = other->name != NULL && kl_slice_equal(kl_slice_make(other->name, other->name_size), slice);
    }
    if (taken) continue;
    check_problem(&salvage->problems, "'%s': the name of keyspace number %" PRIu32 " is lost; its rows go to \"%s\"",
                  salvage->from, space->id, name);
    return check_space_rename(&salvage->spaces, space, slice, err);
  }
}

kl_status salvage_target(kl_salvage *salvage, check_space *space, kl_error *err) {
  if (space->target != NULL) return KL_OK;
  kl_status status = space->name == NULL ? salvage_invent_name(salvage, space, err) : KL_OK;
  if (status != KL_OK) return status;
  status = kl_keyspace_open(kl_db_catalogue(salvage->target), kl_slice_make(space->name, space->name_size), true,
                            &space->target, err);
  if (status != KL_OK) space->target = NULL;
  return status;
}

/* -------- beginning and end -------- */

static kl_status salvage_open_source(kl_salvage *salvage, kl_error *err) {
  kl_os *os = salvage->os;
  kl_file_info info;
  kl_status status = kl_os_stat(os, salvage->from, &info, err); /* first: opening a fifo would wait */
  if (status != KL_OK) return status;
  if (info.kind == KL_FILE_ABSENT) return kl_fail(err, KL_E_NO_FILE, "there is no database '%s'", salvage->from);
  if (info.kind != KL_FILE_REGULAR) {
    return kl_fail(err, KL_E_NOT_A_FILE, "'%s' is not a regular file; name the file of a database", salvage->from);
  }
  status = kl_os_open(os, salvage->from, KL_OPEN_READ, 0, &salvage->file, err);
  if (status != KL_OK) {
    salvage->file = NULL;
    return status;
  }
  status = kl_os_lock(os, salvage->file, KL_LOCK_SHARED, err);
  if (status == KL_E_LOCKED) {
    return kl_fail(err, status, "'%s' is open; close it there, then salvage it", salvage->from);
  }
  if (status == KL_OK) status = kl_os_size(os, salvage->file, &salvage->file_bytes, err);
  if (status != KL_OK) return status;
  salvage->reader =
      (check_reader){.os = os, .allocator = salvage->allocator, .file = salvage->file, .path = salvage->from};
  status = check_reader_init(&salvage->reader, err);
  if (status != KL_OK) return status;
  status = kl_tree_walker_new(salvage->allocator, &salvage->reader.source, KL_PAGE_SIZE_MAX, &salvage->walker, err);
  if (status != KL_OK) salvage->walker = NULL;
  return status;
}

static kl_status salvage_open_target(kl_salvage *salvage, const char *to, kl_error *err) {
  kl_db_options options = {
      .must_create = true, .durability = KL_DURABILITY_NONE, .page_size = salvage->chosen.page_size};
  if (strcmp(to, ":memory:") == 0) {
    return kl_fail(err, KL_E_INVALID, "a salvage needs a file to write to; \":memory:\" would be lost");
  }
  kl_status status = kl_db_open(salvage->os, to, &options, &salvage->target, err);
  if (status != KL_OK) salvage->target = NULL;
  return status;
}

kl_status kl_salvage_begin(kl_os *os, const char *from, const char *to, kl_salvage **out_salvage, kl_error *err) {
  kl_allocator *allocator = os->allocator;
  kl_salvage *salvage = kl_alloc(allocator, sizeof *salvage);
  size_t size = strlen(from) + 1;
  char *copy = kl_alloc(allocator, size);
  if (salvage == NULL || copy == NULL) {
    kl_free(allocator, copy, size);
    kl_free(allocator, salvage, sizeof *salvage);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to salvage '%s'", from);
  }
  memcpy(copy, from, size);
  salvage->os = os;
  salvage->allocator = salvage->problems.allocator = salvage->spaces.allocator = allocator;
  salvage->from = copy;
  salvage->whole_most = KL_VALUE_DIRECT;
  salvage->from_size = size;
  kl_status status = salvage_open_source(salvage, err);
  if (status == KL_OK) status = salvage_choose(salvage, err);
  if (status == KL_OK) status = salvage_log_open(salvage, err);
  if (status == KL_OK) status = salvage_open_target(salvage, to, err);
  if (status != KL_OK) {
    kl_salvage_end(salvage);
    return status;
  }
  const kl_store_pointer *root = &salvage->chosen.checkpoint.catalogue;
  kl_tree_pointer catalogue = {
      .address = root->address, .length = root->length, .checksum = root->checksum, .birth = root->birth};
  kl_tree_walker_start(salvage->walker, &catalogue, true);
  *out_salvage = salvage;
  return KL_OK;
}

static kl_status salvage_close_target(kl_salvage *salvage, kl_error *err) {
  for (size_t i = 0; i < salvage->spaces.count; i++) {
    kl_keyspace_release(salvage->spaces.list[i].target);
    salvage->spaces.list[i].target = NULL;
  }
  kl_db *target = salvage->target;
  salvage->target = NULL;
  return kl_db_release(target, err);
}

void kl_salvage_end(kl_salvage *salvage) {
  if (salvage == NULL) return;
  kl_allocator *allocator = salvage->allocator;
  if (salvage->target != NULL) {
    (void)salvage_commit(salvage, NULL);
    (void)salvage_close_target(salvage, NULL);
  }
  salvage_log_close(salvage);
  kl_tree_walker_free(salvage->walker);
  if (salvage->reader.allocator != NULL) check_reader_destroy(&salvage->reader);
  if (salvage->file != NULL) kl_os_close(salvage->os, salvage->file);
  check_problems_destroy(&salvage->problems);
  check_spaces_destroy(&salvage->spaces);
  kl_free(allocator, salvage->value, salvage->value_capacity);
  kl_free(allocator, salvage->from, salvage->from_size);
  kl_free(allocator, salvage, sizeof *salvage);
}

/* -------- copying -------- */

/* The keyspace whose tree is copied; NULL: it is the catalogue. */
static check_space *salvage_space(kl_salvage *salvage) {
  return salvage->phase == SALVAGE_CATALOGUE ? NULL : &salvage->spaces.list[salvage->at];
}

static void salvage_damage(kl_salvage *salvage) {
  kl_tree_item *item = &salvage->item;
  const check_space *space = salvage_space(salvage);
  if (!salvage->begun && space != NULL) item->rows = space->tree.rows;
  salvage->begun = true;
  salvage->report.lost_pages++;
  if (space != NULL) salvage->report.lost_rows += item->rows;
  check_problem_page(&salvage->problems, space, item);
}

static kl_status salvage_begin_value(kl_salvage *salvage, const kl_tree_extent *extent, check_value *out,
                                     kl_error *err) {
  kl_status status = check_value_begin(&salvage->reader, extent, out, err);
  if (status != KL_OK || extent->length <= salvage->file_bytes) return status;
  return kl_fail(err, KL_E_CORRUPT, "'%s': a value of %" PRIu64 " bytes at block %" PRIu64 " cannot be", salvage->from,
                 extent->length, extent->address / KL_BLOCK_SIZE);
}

/* The whole value of an extent, into salvage->value. */
static kl_status salvage_read_value(kl_salvage *salvage, const kl_tree_extent *extent, kl_error *err) {
  check_value value;
  kl_status status = salvage_begin_value(salvage, extent, &value, err);
  if (status != KL_OK) return status;
  if (salvage->value_capacity < extent->length) {
    kl_free(salvage->allocator, salvage->value, salvage->value_capacity);
    salvage->value_capacity = 0;
    salvage->value = kl_alloc(salvage->allocator, (size_t)extent->length);
    if (salvage->value == NULL) {
      return kl_fail(err, KL_E_NO_MEMORY, "no memory for a value of %" PRIu64 " bytes", extent->length);
    }
    salvage->value_capacity = (size_t)extent->length;
  }
  while (status == KL_OK && value.left != 0) {
    status = check_value_part(&salvage->reader, &value, salvage->value + (extent->length - value.left), err);
  }
  return status;
}

/* Writes a value in parts that is too long to be in memory; what is damaged is never finished. `cause` tells of damage,
 * `err` of what ends the salvage: one of the two statuses is KL_OK. */
static kl_status salvage_copy_value(kl_salvage *salvage, const check_space *space, kl_slice key,
                                    const kl_tree_extent *extent, kl_status *out_damage, kl_error *cause,
                                    kl_error *err) {
  check_value value;
  kl_value_writer *writer = NULL;
  *out_damage = salvage_begin_value(salvage, extent, &value, cause);
  if (*out_damage != KL_OK) return KL_OK;
  kl_status status = salvage_begin_write(salvage, key.size, err);
  if (status == KL_OK) {
    status = kl_value_begin(salvage->txn, kl_keyspace_id(space->target), key, extent->length, &writer, err);
  }
  while (status == KL_OK && *out_damage == KL_OK && value.left != 0) {
    size_t size = value.left < CHECK_PART ? (size_t)value.left : CHECK_PART;
    *out_damage = check_value_part(&salvage->reader, &value, NULL, cause);
    if (*out_damage == KL_OK) status = kl_value_write(writer, salvage->reader.part, size, err);
  }
  if (status == KL_OK && *out_damage == KL_OK) status = kl_value_finish(writer, err);
  kl_value_free(writer);
  return status;
}

static kl_status salvage_row(kl_salvage *salvage, kl_error *err) {
  const kl_tree_item *item = &salvage->item;
  check_space *space = salvage_space(salvage);
  kl_slice value = item->value.bytes;
  kl_error cause;
  kl_status status = KL_OK;
  bool copied = false;
  if (item->value.is_extent) {
    kl_tree_extent extent;
    kl_tree_value_extent(&item->value, &extent);
    copied = space != NULL && extent.length > salvage->whole_most;
    if (copied) {
      kl_status ended = salvage_copy_value(salvage, space, item->key, &extent, &status, &cause, err);
      if (ended != KL_OK) return ended;
    } else {
      status = salvage_read_value(salvage, &extent, &cause);
    }
    if (check_is_damage(status)) {
      salvage->report.lost_extents++;
      if (space != NULL) salvage->report.lost_rows++;
      check_problem_value(&salvage->problems, space, item->key, &cause);
      return KL_OK;
    }
    if (status != KL_OK) return salvage_pass(status, &cause, err);
    value = kl_slice_make(salvage->value, copied ? 0 : (size_t)extent.length);
    salvage->report.extents++;
    salvage->report.value_bytes += extent.length;
  }
  if (space != NULL) {
    if (!copied) status = salvage_put(salvage, space, item->key, value, err);
    if (status == KL_OK) salvage->report.rows++;
    return status;
  }
  status = check_spaces_take(&salvage->spaces, item->key, value, &cause);
  if (check_is_damage(status)) {
    check_problem(&salvage->problems, "'%s': %s", salvage->from, cause.message);
    return KL_OK;
  }
  return status == KL_OK ? status : salvage_pass(status, &cause, err);
}

/* The tree at hand is done: the next one, or the log. */
static kl_status salvage_next_tree(kl_salvage *salvage, kl_error *err) {
  check_spaces *spaces = &salvage->spaces;
  kl_status status = KL_OK;
  if (salvage->phase == SALVAGE_CATALOGUE) {
    salvage->phase = SALVAGE_TREES;
    salvage->at = 0;
    /* All of them first, also the empty ones; and those with a name before any is invented. */
    for (int named = 1; named >= 0; named--) {
      for (size_t i = 0; i < spaces->count && status == KL_OK; i++) {
        bool has_name = spaces->list[i].name != NULL;
        /* What an unfinished load has is nobody's; one that the log finishes gets its rows from there. */
        if (spaces->list[i].is_load) continue;
        if (named == 0 || has_name) status = salvage_target(salvage, &spaces->list[i], err);
      }
    }
    for (size_t i = 0; i < spaces->count; i++) salvage->report.keyspaces += !spaces->list[i].is_load;
  } else {
    salvage->at++;
  }
  while (salvage->at < spaces->count && (!spaces->list[salvage->at].has_tree || spaces->list[salvage->at].is_load)) {
    salvage->at++;
  }
  salvage->begun = false;
  if (salvage->at < spaces->count) {
    kl_tree_walker_start(salvage->walker, &spaces->list[salvage->at].tree.root, true);
  } else {
    salvage->phase = SALVAGE_LOG;
  }
  return status;
}

static kl_status salvage_copy(kl_salvage *salvage, kl_error *err) {
  kl_status status = kl_tree_walker_next(salvage->walker, &salvage->item, err);
  if (status == KL_E_NOT_FOUND) return salvage_next_tree(salvage, err);
  if (status != KL_OK) return status;
  if (salvage->item.kind == KL_TREE_ITEM_ROW) return salvage_row(salvage, err);
  if (salvage->item.kind == KL_TREE_ITEM_DAMAGE) {
    salvage_damage(salvage);
  } else {
    salvage->begun = true;
    salvage->report.pages++;
  }
  return KL_OK;
}

kl_status salvage_take(kl_salvage *salvage, const kl_tree_record *tree, uint32_t into, bool deletes, kl_error *err) {
  salvage->at = (size_t)(check_spaces_find(&salvage->spaces, into) - salvage->spaces.list);
  salvage->begun = true;
  kl_tree_walker_start(salvage->walker, &tree->root, true);
  for (;;) {
    kl_status status = kl_tree_walker_next(salvage->walker, &salvage->item, err);
    if (status == KL_E_NOT_FOUND) return KL_OK;
    if (status != KL_OK) return status;
    if (salvage->item.kind == KL_TREE_ITEM_ROW) {
      status =
          deletes ? salvage_delete(salvage, salvage_space(salvage), salvage->item.key, err) : salvage_row(salvage, err);
    } else if (salvage->item.kind == KL_TREE_ITEM_DAMAGE) {
      if (salvage->item.level == KL_TREE_LEVELS) salvage->item.rows = tree->rows;
      salvage_damage(salvage);
    } else {
      salvage->report.pages++;
    }
    if (status != KL_OK) return status;
  }
}

static kl_status salvage_advance(kl_salvage *salvage, kl_error *err) {
  bool end = false;
  kl_status status;
  switch (salvage->phase) {
    case SALVAGE_CATALOGUE:
    case SALVAGE_TREES:
      return salvage_copy(salvage, err);
    case SALVAGE_LOG:
      status = salvage_log_step(salvage, &end, err);
      if (status == KL_OK && end) salvage->phase = SALVAGE_CLOSE;
      return status;
    case SALVAGE_CLOSE:
      status = salvage_commit(salvage, err);
      if (status == KL_OK) status = kl_db_make_checkpoint(salvage->target, err);
      if (status == KL_OK) status = salvage_close_target(salvage, err);
      if (status == KL_OK) salvage->phase = SALVAGE_FINISHED;
      return status;
    default:
      return KL_OK;
  }
}

static uint64_t salvage_done(const kl_salvage *salvage) {
  return salvage->reader.bytes + salvage->log_bytes;
}

kl_status kl_salvage_step(kl_salvage *salvage, uint64_t bytes, kl_error *err) {
  uint64_t begin = salvage_done(salvage);
  kl_error cause;
  kl_status status = KL_OK;
  if (salvage->phase == SALVAGE_FAILED) return salvage_pass(salvage->failure.code, &salvage->failure, err);
  do {
    if (salvage->phase == SALVAGE_FINISHED) return KL_OK;
    status = salvage_advance(salvage, &cause);
  } while (status == KL_OK && salvage_done(salvage) - begin < bytes);
  if (status == KL_OK) return KL_OK;
  salvage->failure = cause;
  salvage->failure.code = status;
  salvage->phase = SALVAGE_FAILED;
  return salvage_pass(status, &cause, err);
}

/* -------- what was found -------- */

void kl_salvage_report(const kl_salvage *salvage, kl_check_report *out_report) {
  *out_report = salvage->report;
  out_report->finished = salvage->phase == SALVAGE_FINISHED;
  out_report->problems = salvage->problems.count;
  out_report->done_bytes = salvage_done(salvage);
  out_report->total_bytes = salvage->file_bytes + salvage->log_total;
  if (out_report->finished || out_report->total_bytes < out_report->done_bytes) {
    out_report->total_bytes = out_report->done_bytes;
  }
}

const char *kl_salvage_problem(const kl_salvage *salvage, uint64_t index) {
  return check_problem_text(&salvage->problems, index);
}
