/* core/db/verify.c: verification. See check.h; README.md has the argument (DB-8 ... DB-10). */
#include <inttypes.h>
#include <string.h>

#include "../base/assert.h"
#include "check_private.h"
#include "db_private.h"

typedef enum verify_phase { VERIFY_CATALOGUE, VERIFY_TREES, VERIFY_FINISHED } verify_phase;

struct kl_verify {
  kl_db *db;
  kl_txn *txn; /* keeps the trees; NULL: not begun */
  check_reader reader;
  check_problems problems;
  check_spaces spaces;
  kl_tree_pointer catalogue;
  kl_tree_walker *walker;
  kl_tree_item item; /* what the walker came to last */
  verify_phase phase;
  size_t at;      /* in VERIFY_TREES: the keyspace */
  bool begun;     /* the tree at hand */
  bool in_value;  /* of `item`, a row: reading goes on */
  bool row_waits; /* `item` has to be taken again */
  check_value value;
  bool incomplete; /* what hangs below something damaged is not known: blocks may seem unreached */
  uint64_t blocks; /* of the file; the bitmaps below have a bit for each */
  uint64_t *used;  /* by the space map, without its own blocks; NULL: the map is not known */
  uint64_t *reached;
  kl_check_report report;
};

/* -------- blocks -------- */

static size_t verify_bitmap_size(const kl_verify *verify) {
  return (size_t)((verify->blocks + 63) / 64) * sizeof(uint64_t);
}

static bool verify_bit(const uint64_t *bits, uint64_t block) {
  return (bits[block / 64] >> (block % 64) & 1) != 0;
}

static void verify_bit_set(uint64_t *bits, uint64_t block) {
  bits[block / 64] |= UINT64_C(1) << (block % 64);
}

/* The keyspace whose tree is walked; NULL: the catalogue is. */
static const check_space *verify_space(const kl_verify *verify) {
  return verify->phase == VERIFY_CATALOGUE ? NULL : &verify->spaces.list[verify->at];
}

/* What a pointer names is reached: by nothing else, and not free. */
static void verify_mark(kl_verify *verify, uint64_t address, uint64_t bytes, const char *what) {
  uint64_t first = address / KL_BLOCK_SIZE, count = (bytes + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE;
  bool twice = false, is_free = false;
  char where[CHECK_WHERE];
  if (first > verify->blocks || count > verify->blocks - first) {
    check_show_space(verify_space(verify), where);
    check_problem(&verify->problems, "%s: a %s at block %" PRIu64 " of '%s' ends behind the file", where, what, first,
                  verify->reader.path);
    return;
  }
  for (uint64_t block = first; block < first + count; block++) {
    twice = twice || verify_bit(verify->reached, block);
    is_free = is_free || (verify->used != NULL && !verify_bit(verify->used, block));
    verify_bit_set(verify->reached, block);
  }
  if (!twice && !is_free) return;
  check_show_space(verify_space(verify), where);
  if (twice) {
    check_problem(&verify->problems, "%s: the %s at block %" PRIu64 " of '%s' lies in blocks of something else", where,
                  what, first, verify->reader.path);
  }
  if (is_free) {
    check_problem(&verify->problems, "%s: the space map has the %s at block %" PRIu64 " of '%s' as free", where, what,
                  first, verify->reader.path);
  }
}

static kl_status verify_map_run(void *context, uint64_t address, uint64_t bytes, bool is_map, kl_error *err) {
  kl_verify *verify = context;
  uint64_t first = address / KL_BLOCK_SIZE, end = first + bytes / KL_BLOCK_SIZE;
  if (is_map) verify->reader.bytes += bytes;
  if (end > verify->blocks) {
    return kl_fail(err, KL_E_CORRUPT, "'%s': the space map has block %" PRIu64 " as used, behind the end of the file",
                   verify->reader.path, end - 1);
  }
  for (uint64_t block = first; block < end && !is_map; block++) verify_bit_set(verify->used, block);
  return KL_OK;
}

/* All was reached: what the map has beyond that is lost space. */
static void verify_compare_map(kl_verify *verify) {
  if (verify->used == NULL || verify->incomplete) return;
  uint64_t first = 0, count = 0;
  for (uint64_t word = 0; word < (verify->blocks + 63) / 64; word++) {
    uint64_t left = verify->used[word] & ~verify->reached[word];
    if (left != 0 && count == 0) first = word * 64 + (uint64_t)__builtin_ctzll(left);
    count += (uint64_t)__builtin_popcountll(left);
  }
  verify->report.unreached_bytes = count * KL_BLOCK_SIZE;
  if (count == 0) return;
  check_problem(&verify->problems,
                "'%s': %" PRIu64 " blocks, block %" PRIu64
                " the first, are in use by the space map and reached by "
                "nothing: space is lost, no data",
                verify->reader.path, count, first);
}

/* -------- beginning -------- */

static void verify_ring(kl_verify *verify, uint32_t lost) {
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    if ((lost >> slot & 1) == 0) continue;
    check_problem(&verify->problems, "'%s': the superblock in block %" PRIu32 " is damaged", verify->reader.path, slot);
  }
}

/* The map of the newest checkpoint, if that is the one that is looked at. */
static kl_status verify_read_map(kl_verify *verify, const kl_checkpoint *newest, kl_error *err) {
  kl_error cause;
  const kl_store_pointer *root = &newest->catalogue;
  const kl_tree_pointer *ours = &verify->catalogue;
  bool same = root->address == ours->address && root->length == ours->length && root->checksum == ours->checksum &&
              root->birth == ours->birth;
  if (!same) return KL_OK;
  verify->used = kl_alloc(verify->reader.allocator, verify_bitmap_size(verify));
  if (verify->used == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to verify '%s'", verify->reader.path);
  kl_status status = kl_store_walk_used(verify->db->store, verify_map_run, verify, &cause);
  if (status == KL_OK) return KL_OK;
  kl_free(verify->reader.allocator, verify->used, verify_bitmap_size(verify));
  verify->used = NULL;
  if (!check_is_damage(status)) {
    if (err != NULL) *err = cause;
    return status;
  }
  check_problem(&verify->problems, "the space map is damaged: %s", cause.message);
  return KL_OK;
}

/* Under the drainer's `draining`: nothing is published meanwhile, so that snapshot, ring and map are of one moment
 * (DB-8). */
static kl_status verify_attach(kl_verify *verify, kl_error *err) {
  kl_db *db = verify->db;
  kl_txn_options options = {.read_only = true, .label = "keel verify", .uncounted = true};
  kl_checkpoint newest;
  kl_store_space space;
  uint32_t lost = 0;
  kl_status status = kl_txn_begin(db->manager, &options, &verify->txn, err);
  if (status != KL_OK) {
    verify->txn = NULL;
    return status;
  }
  kl_store_checkpoint(db->store, &newest);
  kl_store_get_space(db->store, &space);
  kl_roots *roots = kl_txn_roots(verify->txn);
  status = kl_roots_find(roots, KL_CATALOGUE_KEYSPACE, &verify->catalogue, err);
  if (status == KL_OK) status = kl_store_check_ring(db->store, &lost, err);
  if (status != KL_OK) return status;
  verify_ring(verify, lost);
  uint64_t end = space.file_bytes > space.blocks_end ? space.file_bytes : space.blocks_end;
  verify->blocks = (end + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE;
  verify->reader.birth_most = newest.sequence;
  verify->report.checkpoint = kl_roots_sequence(roots);
  verify->report.total_bytes = space.used_bytes;
  verify->reached = kl_alloc(verify->reader.allocator, verify_bitmap_size(verify));
  if (verify->reached == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to verify '%s'", verify->reader.path);
  return verify_read_map(verify, &newest, err);
}

kl_status kl_verify_begin(kl_db *db, kl_verify **out_verify, kl_error *err) {
  kl_checkpoint checkpoint;
  kl_status status = kl_db_last_checkpoint(db, &checkpoint, err); /* in a forked child the engine is not touched */
  if (status != KL_OK) return status;
  kl_allocator *allocator = db->os->allocator;
  kl_verify *verify = kl_alloc(allocator, sizeof *verify);
  if (verify == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to verify '%s'", db->path);
  verify->db = db;
  verify->problems.allocator = verify->spaces.allocator = allocator;
  verify->reader = (check_reader){.os = db->os,
                                  .allocator = allocator,
                                  .store = db->store,
                                  .path = db->path,
                                  .page_size = kl_store_page_size(db->store)};
  status = check_reader_init(&verify->reader, err);
  if (status == KL_OK) {
    status = kl_tree_walker_new(allocator, &verify->reader.source, verify->reader.page_size, &verify->walker, err);
    if (status != KL_OK) verify->walker = NULL;
  }
  if (status == KL_OK) {
    kl_mutex_lock(&db->drainer.draining);
    status = verify_attach(verify, err);
    kl_mutex_unlock(&db->drainer.draining);
  }
  if (status != KL_OK) {
    kl_verify_end(verify);
    return status;
  }
  kl_tree_walker_start(verify->walker, &verify->catalogue, true);
  *out_verify = verify;
  return KL_OK;
}

void kl_verify_end(kl_verify *verify) {
  if (verify == NULL) return;
  kl_allocator *allocator = verify->reader.allocator;
  kl_tree_walker_free(verify->walker);
  if (verify->txn != NULL) kl_txn_release(verify->txn);
  kl_free(allocator, verify->used, verify_bitmap_size(verify));
  kl_free(allocator, verify->reached, verify_bitmap_size(verify));
  check_reader_destroy(&verify->reader);
  check_problems_destroy(&verify->problems);
  check_spaces_destroy(&verify->spaces);
  kl_free(allocator, verify, sizeof *verify);
}

/* -------- walking -------- */

static void verify_page(kl_verify *verify) {
  const kl_tree_item *item = &verify->item;
  const check_space *space = verify_space(verify);
  verify->report.pages++;
  verify_mark(verify, item->pointer.address, item->pointer.length, "page");
  if (space != NULL && item->level == 0) verify->report.rows += item->rows;
  bool is_root = !verify->begun;
  verify->begun = true;
  if (space == NULL || !is_root || item->rows == space->tree.rows) return;
  char where[CHECK_WHERE];
  check_show_space(space, where);
  check_problem(&verify->problems, "%s: its tree has %" PRIu64 " rows, and the catalogue says %" PRIu64, where,
                item->rows, space->tree.rows);
}

static void verify_damage(kl_verify *verify) {
  kl_tree_item *item = &verify->item;
  const check_space *space = verify_space(verify);
  if (!verify->begun && space != NULL) item->rows = space->tree.rows;
  verify->begun = true;
  verify->incomplete = true;
  verify->report.lost_pages++;
  if (space != NULL) verify->report.lost_rows += item->rows;
  check_problem_page(&verify->problems, space, item);
}

static void verify_lost_value(kl_verify *verify, const kl_error *cause) {
  verify->in_value = false;
  verify->report.lost_extents++;
  verify->report.lost_rows++;
  check_problem_value(&verify->problems, verify_space(verify), verify->item.key, cause);
}

static kl_status verify_row(kl_verify *verify, kl_error *err) {
  const kl_tree_item *item = &verify->item;
  kl_error cause;
  if (item->value.is_extent) {
    kl_tree_extent extent;
    kl_tree_value_extent(&item->value, &extent);
    kl_status status = check_value_begin(&verify->reader, &extent, &verify->value, &cause);
    verify->in_value = status == KL_OK;
    if (status == KL_OK) {
      verify_mark(verify, extent.address, extent.stored, "value");
    } else {
      verify->incomplete = true;
      verify_lost_value(verify, &cause);
    }
    return KL_OK;
  }
  if (verify->phase != VERIFY_CATALOGUE) return KL_OK;
  kl_status status = check_spaces_take(&verify->spaces, item->key, item->value.bytes, &cause);
  if (check_is_damage(status)) {
    verify->incomplete = true;
    check_problem(&verify->problems, "'%s': %s", verify->reader.path, cause.message);
    return KL_OK;
  }
  verify->row_waits = status != KL_OK; /* for memory */
  if (status != KL_OK && err != NULL) *err = cause;
  return status;
}

static kl_status verify_value_part(kl_verify *verify, kl_error *err) {
  kl_error cause;
  kl_status status = check_value_part(&verify->reader, &verify->value, NULL, &cause);
  if (check_is_damage(status)) {
    verify_lost_value(verify, &cause);
  } else if (status != KL_OK) {
    if (err != NULL) *err = cause;
    return status;
  } else if (verify->value.left == 0) {
    verify->in_value = false;
    verify->report.extents++;
    verify->report.value_bytes += verify->value.check.extent.length;
  }
  return KL_OK;
}

/* The tree at hand is done: the next one, or the end. */
static void verify_next_tree(kl_verify *verify) {
  const check_spaces *spaces = &verify->spaces;
  if (verify->phase == VERIFY_CATALOGUE) {
    verify->phase = VERIFY_TREES;
    verify->at = 0;
    for (size_t i = 0; i < spaces->count; i++) {
      verify->report.keyspaces += spaces->list[i].name != NULL;
      if (spaces->list[i].name != NULL || spaces->list[i].is_load || verify->incomplete) continue;
      check_problem(&verify->problems, "'%s': the catalogue has a tree of keyspace number %" PRIu32 " and no name",
                    verify->reader.path, spaces->list[i].id);
    }
  } else {
    verify->at++;
  }
  while (verify->at < spaces->count && !spaces->list[verify->at].has_tree) verify->at++;
  verify->begun = false;
  if (verify->at < spaces->count) {
    kl_tree_walker_start(verify->walker, &spaces->list[verify->at].tree.root, true);
    return;
  }
  verify_compare_map(verify);
  verify->phase = VERIFY_FINISHED;
  kl_txn_release(verify->txn); /* nothing is held up any longer than needed */
  verify->txn = NULL;
}

static kl_status verify_advance(kl_verify *verify, kl_error *err) {
  if (verify->in_value) return verify_value_part(verify, err);
  if (verify->row_waits) return verify_row(verify, err);
  kl_status status = kl_tree_walker_next(verify->walker, &verify->item, err);
  if (status == KL_E_NOT_FOUND) {
    verify_next_tree(verify);
    return KL_OK;
  }
  if (status != KL_OK) return status;
  if (verify->item.kind == KL_TREE_ITEM_PAGE) {
    verify_page(verify);
  } else if (verify->item.kind == KL_TREE_ITEM_DAMAGE) {
    verify_damage(verify);
  } else {
    status = verify_row(verify, err);
  }
  return status;
}

kl_status kl_verify_step(kl_verify *verify, uint64_t bytes, kl_error *err) {
  uint64_t begin = verify->reader.bytes;
  kl_status status = KL_OK;
  do {
    if (verify->phase == VERIFY_FINISHED) return KL_OK;
    status = verify_advance(verify, err);
  } while (status == KL_OK && verify->reader.bytes - begin < bytes);
  return status;
}

/* -------- what was found -------- */

void kl_verify_report(const kl_verify *verify, kl_check_report *out_report) {
  *out_report = verify->report;
  out_report->finished = verify->phase == VERIFY_FINISHED;
  out_report->problems = verify->problems.count;
  out_report->done_bytes = verify->reader.bytes;
  if (out_report->finished || out_report->total_bytes < out_report->done_bytes) {
    out_report->total_bytes = out_report->done_bytes;
  }
}

const char *kl_verify_problem(const kl_verify *verify, uint64_t index) {
  return check_problem_text(&verify->problems, index);
}
