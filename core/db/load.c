/* core/db/load.c: see load.h.
 *
 * A run grows by kl_drain_load, one buffer at a time, under the drainer's `draining`; so does what is merged from several
 * runs at the end, a slice at a time. Between two of them drains and compactions have their turn. Compaction may move
 * pages of runs: roots are looked up anew under each lock.
 *
 * Where there are threads, the buffer has two parts: while the caller fills one, a thread of the load sorts and writes the
 * other. Who may touch what: the part that is *handed over*, the runs and the catalogue are the thread's until it has
 * given the part back (under `mutex`); all else, and everything at other times, is the caller's. What the thread could
 * not write stays in the part; the caller is told at its next flush, and the flush after that tries again. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#include "../base/endian.h"
#include "db_private.h"
#include "unnamed.h"

#define LOAD_BUFFER_LEAST (UINT64_C(64) << 10)
#define LOAD_BUFFER_MOST (UINT64_C(1) << 30)
#define LOAD_BUFFER_DEFAULT_LEAST (UINT64_C(1) << 20)
#define LOAD_BUFFER_DEFAULT_MOST (UINT64_C(32) << 20)
#define LOAD_SORTED_PART \
  ((size_t)4 << 20) /* bytes of rows in order that are written: while they are in the CPU's caches */
#define LOAD_MERGE_SLICE (UINT64_C(64) << 20) /* bytes of rows: how long others wait while runs are merged */

enum {
  LOAD_FAN =
      32, /* runs that are merged into one: so many cursors are open at once for each time that a row is merged */
  LOAD_ROW_HEADER = 6, /* bytes of value and of key, before them */
  LOAD_ROW_SHARE = 32  /* an entry for so many bytes of the buffer; rows that are shorter fill the entries first */
};

/* A row of the buffer. */
typedef struct load_entry {
  uint64_t head;      /* the first bytes of the key, as a number; zeros behind a shorter one */
  const uint8_t *row; /* header, key, value. What came later lies behind */
} load_entry;

typedef struct load_run {
  uint32_t keyspace;
  uint32_t tier; /* how often its rows were merged */
  uint16_t last_size;
  uint8_t last[KL_MAX_KEY]; /* its greatest key */
} load_run;

/* One of the two halves of the buffer. */
typedef struct load_part {
  uint8_t *buffer;
  load_entry *entries;
  size_t used, count;
  bool ascending; /* strictly */
} load_part;

struct kl_load {
  kl_db *db;
  kl_allocator *allocator;
  bool replace;
  kl_load_report report;

  load_part parts[2];
  load_part *filling; /* the caller's */
  size_t part_count, capacity, entry_capacity;

  kl_thread *thread; /* NULL: the caller writes */
  kl_mutex mutex;    /* guards what follows */
  kl_cond changed;
  bool handed, stop;
  kl_status failed; /* of the last part that was handed over, as long as the caller has not been told */
  kl_error failure;

  load_run **runs; /* oldest first */
  size_t run_count, run_capacity;
  uint64_t written; /* runs, in all */
  uint32_t result;  /* the keyspace that runs are merged into; 0: none yet */

  size_t name_size;
  uint8_t name[KL_KEYSPACE_NAME_MAX];
};

/* -------- life -------- */

static uint64_t load_buffer_size(const kl_db *db, const kl_load_options *options) {
  if (options->buffer_size != 0) return options->buffer_size;
  uint64_t size = db->options.memory_limit / 8;
  if (size < LOAD_BUFFER_DEFAULT_LEAST) return LOAD_BUFFER_DEFAULT_LEAST;
  return size > LOAD_BUFFER_DEFAULT_MOST ? LOAD_BUFFER_DEFAULT_MOST : size;
}

static void load_thread_stop(kl_load *load) {
  if (load->thread == NULL) return;
  kl_mutex_lock(&load->mutex);
  load->stop = true;
  kl_cond_broadcast(&load->changed);
  kl_mutex_unlock(&load->mutex);
  kl_thread_join(load->thread);
  load->thread = NULL;
}

static void load_free(kl_load *load) {
  for (size_t i = 0; i < load->run_count; i++) kl_free(load->allocator, load->runs[i], sizeof **load->runs);
  kl_free(load->allocator, load->runs, load->run_capacity * sizeof *load->runs);
  for (size_t i = 0; i < load->part_count; i++) {
    kl_free(load->allocator, load->parts[i].entries, load->entry_capacity * sizeof *load->parts[i].entries);
    kl_free(load->allocator, load->parts[i].buffer, load->capacity);
  }
  kl_cond_destroy(&load->changed);
  kl_mutex_destroy(&load->mutex);
  kl_free(load->allocator, load, sizeof *load);
}

static kl_status load_new(kl_db *db, kl_slice name, const kl_load_options *options, kl_load **out, kl_error *err) {
  kl_allocator *allocator = kl_txn_manager_allocator(db->manager);
  kl_load *load = kl_alloc(allocator, sizeof *load);
  if (load == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a load");
  load->db = db;
  load->allocator = allocator;
  load->replace = options->replace;
  load->name_size = name.size;
  memcpy(load->name, name.data, name.size);
  kl_status status = kl_mutex_init(&load->mutex, err);
  if (status == KL_OK) {
    status = kl_cond_init(&load->changed, err);
    if (status != KL_OK) kl_mutex_destroy(&load->mutex);
  }
  if (status != KL_OK) {
    kl_free(allocator, load, sizeof *load);
    return status;
  }
  load->part_count = db->os->has_threads ? 2 : 1;
  load->capacity = (size_t)load_buffer_size(db, options) / load->part_count;
  load->entry_capacity = load->capacity / LOAD_ROW_SHARE;
  load->filling = &load->parts[0];
  for (size_t i = 0; i < load->part_count && status == KL_OK; i++) {
    load_part *part = &load->parts[i];
    part->ascending = true;
    part->buffer = kl_alloc(allocator, load->capacity);
    part->entries = kl_alloc(allocator, load->entry_capacity * sizeof *part->entries);
    if (part->buffer == NULL || part->entries == NULL) status = KL_E_NO_MEMORY;
  }
  if (status != KL_OK) {
    status = kl_fail(err, KL_E_NO_MEMORY, "no memory to load with a buffer of %zu bytes; take a smaller one",
                     load->capacity * load->part_count);
    load_free(load);
    return status;
  }
  *out = load;
  return KL_OK;
}

kl_status kl_load_begin(kl_db *db, kl_slice name, const kl_load_options *options, kl_load **out_load, kl_error *err) {
  static const kl_load_options load_defaults;
  if (options == NULL) options = &load_defaults;
  kl_status status = kl_db_check(db, err);
  if (status != KL_OK) return status;
  if (db->options.read_only) {
    return kl_fail(err, KL_E_READ_ONLY, "the database is open read-only; open it for writing to load into it");
  }
  uint64_t size = options->buffer_size;
  if (size != 0 && (size < LOAD_BUFFER_LEAST || size > LOAD_BUFFER_MOST)) {
    return kl_fail(err, KL_E_INVALID, "a load's buffer of %llu bytes; allowed are 64 KiB to 1 GiB, and 0",
                   (unsigned long long)size);
  }
  status = kl_keyspace_load_check(db->catalogue, name, err);
  if (status == KL_E_EXISTS && options->replace) status = KL_OK;
  return status == KL_OK ? load_new(db, name, options, out_load, err) : status;
}

/* The keyspaces of the load but for `except`, in memory for run_count + 1 of them. NULL: no memory. */
static uint32_t *load_keyspaces(const kl_load *load, uint32_t except, size_t *out_count, kl_error *err) {
  size_t count = 0;
  uint32_t *list = kl_alloc(load->allocator, (load->run_count + 1) * sizeof *list);
  if (list == NULL) {
    (void)kl_fail(err, KL_E_NO_MEMORY, "no memory for a list of %zu runs", load->run_count);
    return NULL;
  }
  for (size_t i = 0; i < load->run_count; i++) {
    if (load->runs[i]->keyspace != except) list[count++] = load->runs[i]->keyspace;
  }
  if (load->result != 0 && load->result != except) list[count++] = load->result;
  *out_count = count;
  return list;
}

static void load_keyspaces_free(const kl_load *load, uint32_t *list) {
  kl_free(load->allocator, list, (load->run_count + 1) * sizeof *list);
}

void kl_load_end(kl_load *load) {
  if (load == NULL) return;
  kl_error error;
  kl_status status = kl_db_check(load->db, &error);
  if (status == KL_E_FORKED) return; /* all of it is the parent's, also what its thread may have locked */
  load_thread_stop(load);
  if (!load->report.finished && status == KL_OK) { /* what fails here, the next opening does */
    size_t count;
    uint32_t *list = load_keyspaces(load, 0, &count, NULL);
    if (list != NULL) (void)kl_keyspace_load_abandon(load->db->catalogue, list, count, NULL);
    load_keyspaces_free(load, list);
  }
  load_free(load);
}

void kl_load_get_report(kl_load *load, kl_load_report *out_report) {
  *out_report = load->report;
  kl_mutex_lock(&load->mutex);
  while (load->handed) kl_cond_wait(&load->changed, &load->mutex);
  out_report->runs = load->written;
  kl_mutex_unlock(&load->mutex);
}

/* -------- the buffer -------- */

static kl_slice load_key(const load_entry *entry) {
  return kl_slice_make(entry->row + LOAD_ROW_HEADER, kl_load_u16_le(entry->row + 4));
}

static kl_slice load_value(const load_entry *entry) {
  return kl_slice_make(entry->row + LOAD_ROW_HEADER + kl_load_u16_le(entry->row + 4), kl_load_u32_le(entry->row));
}

static uint64_t load_head(kl_slice key) {
  uint8_t bytes[8] = {0};
  if (key.size >= sizeof bytes) return kl_load_u64_be(key.data);
  if (key.size != 0) memcpy(bytes, key.data, key.size);
  return kl_load_u64_be(bytes);
}

static int load_compare_keys(const load_entry *a, const load_entry *b) {
  if (a->head != b->head) return a->head < b->head ? -1 : 1;
  return kl_slice_compare(load_key(a), load_key(b));
}

/* By key, and of one key in the order in which they came. */
static int load_compare(const void *a, const void *b) {
  const load_entry *x = a, *y = b;
  int order = load_compare_keys(x, y);
  return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

/* Ascending, and of each key the last row alone. */
static void load_sort(load_part *part) {
  if (part->ascending) return;
  size_t kept = 0;
  qsort(part->entries, part->count, sizeof *part->entries, load_compare);
  for (size_t i = 0; i < part->count; i++) {
    bool last = i + 1 == part->count || load_compare_keys(&part->entries[i], &part->entries[i + 1]) != 0;
    if (last) part->entries[kept++] = part->entries[i];
  }
  part->count = kept;
  part->ascending = true;
}

/* -------- runs -------- */

static kl_status load_new_run(kl_load *load, kl_error *err) {
  if (load->run_count == load->run_capacity) {
    size_t capacity = load->run_capacity == 0 ? 16 : 2 * load->run_capacity, unit = sizeof *load->runs;
    void *grown = kl_realloc(load->allocator, load->runs, load->run_capacity * unit, capacity * unit);
    if (grown == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a list of %zu runs", capacity);
    load->runs = grown;
    load->run_capacity = capacity;
  }
  load_run *run = kl_alloc(load->allocator, sizeof *run);
  if (run == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a run of a load");
  kl_status status = kl_db_unnamed_new(load->db, &run->keyspace, err);
  if (status != KL_OK) {
    kl_free(load->allocator, run, sizeof *run);
    return status;
  }
  load->runs[load->run_count++] = run;
  load->written++;
  return KL_OK;
}

static kl_status load_merge_tier(kl_load *load, kl_error *err);

/* The run that rows from `first` on belong to: the last one, or a new one. */
static kl_status load_choose_run(kl_load *load, kl_slice first, load_run **out, kl_error *err) {
  if (load->run_count != 0) {
    load_run *last = load->runs[load->run_count - 1];
    *out = last;
    if (last->last_size == 0 && first.size != 0) return KL_OK;
    if (kl_slice_compare(first, kl_slice_make(last->last, last->last_size)) > 0) return KL_OK;
  }
  kl_status status = load_merge_tier(load, err);
  if (status == KL_OK) status = load_new_run(load, err);
  if (status == KL_OK) *out = load->runs[load->run_count - 1];
  return status;
}

typedef struct load_rows {
  const load_entry *entries;
  size_t count, next;
} load_rows;

static kl_status load_next_row(void *context, kl_tree_change *out, kl_error *err) {
  load_rows *rows = context;
  (void)err;
  if (rows->next == rows->count) return KL_E_NOT_FOUND;
  const load_entry *entry = &rows->entries[rows->next++];
  *out = (kl_tree_change){.kind = KL_TREE_PUT, .key = load_key(entry), .value = load_value(entry)};
  return KL_OK;
}

/* The rows, ascending, become part of a run. */
static kl_status load_write(kl_load *load, const kl_tree_changes *rows, kl_slice first, kl_slice last, kl_error *err) {
  load_run *run;
  kl_status status = load_choose_run(load, first, &run, err);
  if (status == KL_OK) status = kl_db_unnamed_merge(load->db, run->keyspace, rows, NULL, NULL, err);
  if (status != KL_OK) return status;
  run->last_size = (uint16_t)last.size;
  if (last.size != 0) memcpy(run->last, last.data, last.size);
  return KL_OK;
}

/* What is in a part becomes part of a run. On failure it stays in the part. */
static kl_status load_write_part(kl_load *load, load_part *part, kl_error *err) {
  if (part->count == 0) return KL_OK;
  load_sort(part);
  load_rows rows = {part->entries, part->count, 0};
  const kl_tree_changes changes = {load_next_row, &rows};
  kl_status status =
      load_write(load, &changes, load_key(&part->entries[0]), load_key(&part->entries[part->count - 1]), err);
  if (status != KL_OK) return status;
  part->used = part->count = 0;
  part->ascending = true;
  return KL_OK;
}

/* -------- the thread -------- */

static load_part *load_other(kl_load *load) {
  return load->filling == &load->parts[0] ? &load->parts[1] : &load->parts[0];
}

static void load_thread_main(void *context) {
  kl_load *load = context;
  kl_mutex_lock(&load->mutex);
  for (;;) {
    while (!load->handed && !load->stop) kl_cond_wait(&load->changed, &load->mutex);
    if (!load->handed) break;
    load_part *part = load_other(load); /* the caller changes `filling` under the mutex, while nothing is handed over */
    kl_mutex_unlock(&load->mutex);
    kl_error error = {0};
    kl_status status = load_write_part(load, part, &error);
    kl_mutex_lock(&load->mutex);
    load->failed = status;
    load->failure = error;
    load->handed = false;
    kl_cond_broadcast(&load->changed);
  }
  kl_mutex_unlock(&load->mutex);
}

static void load_hand_over(kl_load *load) {
  load->handed = true;
  kl_cond_broadcast(&load->changed);
}

/* Under the mutex: waits for the other part. KL_OK: it is empty. A failure is told once, then it is tried again. */
static kl_status load_settle(kl_load *load, kl_error *err) {
  for (;;) {
    while (load->handed) kl_cond_wait(&load->changed, &load->mutex);
    if (load_other(load)->count == 0) return KL_OK;
    if (load->failed != KL_OK) break;
    load_hand_over(load);
  }
  kl_status status = load->failed;
  if (err != NULL) *err = load->failure;
  load->failed = KL_OK;
  return status;
}

/* The part that is being filled can be filled anew when it returns KL_OK. */
static kl_status load_flush(kl_load *load, kl_error *err) {
  if (load->filling->count == 0) return KL_OK;
  if (load->thread == NULL && load->part_count > 1 &&
      kl_thread_start(load->db->os, "keel-load", load_thread_main, load, &load->thread, NULL) != KL_OK) {
    load->thread = NULL;
  }
  if (load->thread == NULL) return load_write_part(load, load->filling, err);
  kl_mutex_lock(&load->mutex);
  kl_status status = load_settle(load, err);
  if (status == KL_OK) {
    load->filling = load_other(load);
    load_hand_over(load);
  }
  kl_mutex_unlock(&load->mutex);
  return status;
}

/* All rows so far are in runs when it returns KL_OK, and the thread rests. */
static kl_status load_flush_all(kl_load *load, kl_error *err) {
  kl_status status = load_flush(load, err);
  if (status != KL_OK || load->thread == NULL) return status;
  kl_mutex_lock(&load->mutex);
  status = load_settle(load, err);
  kl_mutex_unlock(&load->mutex);
  return status;
}

/* -------- taking rows -------- */

static kl_status load_take(kl_load *load, kl_slice key, kl_slice value, kl_error *err) {
  size_t size = LOAD_ROW_HEADER + key.size + value.size;
  if (size > load->capacity / 2) { /* from where it lies */
    kl_db_unnamed_one one = {.row = {.kind = KL_TREE_PUT, .key = key, .value = value}};
    const kl_tree_changes changes = {kl_db_unnamed_next_one, &one};
    kl_status status = load_flush_all(load, err);
    return status == KL_OK ? load_write(load, &changes, key, key, err) : status;
  }
  load_part *part = load->filling;
  bool full = size > load->capacity - part->used || part->count == load->entry_capacity;
  if (full || (part->ascending && part->used >= LOAD_SORTED_PART)) {
    kl_status status = load_flush(load, err);
    if (status != KL_OK) return status;
    part = load->filling;
  }
  uint8_t *row = part->buffer + part->used;
  kl_store_u32_le(row, (uint32_t)value.size);
  kl_store_u16_le(row + 4, (uint16_t)key.size);
  if (key.size != 0) memcpy(row + LOAD_ROW_HEADER, key.data, key.size);
  if (value.size != 0) memcpy(row + LOAD_ROW_HEADER + key.size, value.data, value.size);
  load_entry *entry = &part->entries[part->count];
  *entry = (load_entry){load_head(key), row};
  if (part->count != 0 && part->ascending) part->ascending = load_compare_keys(entry - 1, entry) < 0;
  part->count++;
  part->used += size;
  return KL_OK;
}

static kl_status load_check(kl_load *load, kl_error *err) {
  if (load->report.finished) return kl_fail(err, KL_E_FINISHED, "the load has ended; begin another one");
  return kl_db_check(load->db, err);
}

kl_status kl_load_put(kl_load *load, kl_slice key, kl_slice value, kl_error *err) {
  kl_status status = kl_txn_check_key(key, err);
  if (status == KL_OK) status = kl_txn_check_value(value, err);
  if (status != KL_OK) return status;
  status = load_check(load, err);
  if (status == KL_OK) status = load_take(load, key, value, err);
  if (status == KL_OK) {
    load->report.rows++;
    load->report.bytes += key.size + value.size;
  }
  return status;
}

/* -------- merging runs -------- */

/* Some runs, one behind the other, least key first; of equal keys the row of the last run is the newest. */
typedef struct load_merge_state {
  kl_load *load;
  size_t first, count;       /* of the runs */
  uint32_t target;           /* the keyspace that they are merged into */
  kl_pages_cursor **cursors; /* NULL: it is at its end */
  size_t *heap, heap_count;  /* numbers of runs */
  uint64_t bytes;            /* given in this slice */
  bool stopped;
  bool taken; /* the row at the top was given */
  bool begun;
  uint16_t from_size;
  uint8_t from[KL_MAX_KEY]; /* where the slice begins */
} load_merge_state;

static bool load_before(const load_merge_state *m, size_t a, size_t b) {
  int order = kl_slice_compare(m->cursors[a]->key, m->cursors[b]->key);
  return order != 0 ? order < 0 : a > b;
}

static void load_sift(load_merge_state *m, size_t at) {
  for (;;) {
    size_t least = at;
    for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < m->heap_count; child++) {
      if (load_before(m, m->heap[child], m->heap[least])) least = child;
    }
    if (least == at) return;
    size_t other = m->heap[at];
    m->heap[at] = m->heap[least];
    m->heap[least] = other;
    at = least;
  }
}

/* Moves the cursor at the top of the heap on. */
static kl_status load_advance(load_merge_state *m, kl_error *err) {
  kl_status status = kl_pages_cursor_next(m->cursors[m->heap[0]], err);
  if (status == KL_E_NOT_FOUND) {
    m->heap[0] = m->heap[--m->heap_count];
  } else if (status != KL_OK) {
    return status;
  }
  load_sift(m, 0);
  return KL_OK;
}

/* Past the row that was given, and older rows of its key. */
static kl_status load_skip(load_merge_state *m, kl_error *err) {
  uint8_t key[KL_MAX_KEY];
  kl_slice top = m->cursors[m->heap[0]]->key;
  if (top.size != 0) memcpy(key, top.data, top.size);
  kl_slice given = kl_slice_make(key, top.size);
  kl_status status = load_advance(m, err);
  while (status == KL_OK && m->heap_count != 0 && kl_slice_equal(m->cursors[m->heap[0]]->key, given)) {
    status = load_advance(m, err);
  }
  return status;
}

static kl_status load_next_merged(void *context, kl_tree_change *out, kl_error *err) {
  load_merge_state *m = context;
  kl_status status = m->taken ? load_skip(m, err) : KL_OK;
  m->taken = false;
  if (status != KL_OK) return status;
  if (m->heap_count == 0) return KL_E_NOT_FOUND;
  kl_pages_cursor *cursor = m->cursors[m->heap[0]];
  m->stopped = m->bytes >= LOAD_MERGE_SLICE;
  if (m->stopped) return KL_E_NOT_FOUND;
  out->kind = KL_TREE_PUT;
  out->key = cursor->key;
  status = kl_pages_cursor_value(cursor, &out->value, err);
  if (status != KL_OK) return status;
  m->bytes += out->key.size + out->value.size;
  m->taken = true;
  return KL_OK;
}

/* Under `draining`: puts all cursors on the first row of the slice. */
static kl_status load_position(void *context, kl_roots *base, kl_error *err) {
  load_merge_state *m = context;
  kl_load *load = m->load;
  m->heap_count = 0;
  m->bytes = 0;
  m->stopped = m->taken = false;
  for (size_t i = 0; i < m->count; i++) {
    kl_tree_pointer root;
    kl_status status = kl_roots_find(base, load->runs[m->first + i]->keyspace, &root, err);
    if (status != KL_OK) return status;
    if (m->cursors[i] == NULL) {
      status = kl_pages_cursor_new(load->db->pages, &root, &m->cursors[i], err);
    } else {
      kl_pages_cursor_reset(m->cursors[i], &root);
    }
    if (status == KL_OK) {
      status = m->begun ? kl_pages_cursor_seek_ge(m->cursors[i], kl_slice_make(m->from, m->from_size), err)
                        : kl_pages_cursor_first(m->cursors[i], err);
    }
    if (status == KL_OK) m->heap[m->heap_count++] = i;
    if (status != KL_OK && status != KL_E_NOT_FOUND) return status;
  }
  for (size_t i = m->heap_count / 2; i-- > 0;) load_sift(m, i);
  return KL_OK;
}

/* Slice by slice. The target may have rows from a try that failed: they are put again. */
static kl_status load_merge_slices(load_merge_state *m, kl_error *err) {
  const kl_tree_changes rows = {load_next_merged, m};
  kl_status status;
  do {
    status = kl_db_unnamed_merge(m->load->db, m->target, &rows, load_position, m, err);
    if (status != KL_OK || !m->stopped) break;
    kl_slice next = m->cursors[m->heap[0]]->key;
    m->begun = true;
    m->from_size = (uint16_t)next.size;
    if (next.size != 0) memcpy(m->from, next.data, next.size);
  } while (true);
  return status;
}

/* The runs from `first` on become rows of the target. They stay what they are. */
static kl_status load_merge_from(kl_load *load, size_t first, uint32_t target, kl_error *err) {
  kl_allocator *allocator = load->allocator;
  size_t count = load->run_count - first;
  load_merge_state *m = kl_alloc(allocator, sizeof *m);
  if (m == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to merge %zu runs", count);
  m->load = load;
  m->first = first;
  m->count = count;
  m->target = target;
  m->cursors = kl_alloc(allocator, count * sizeof *m->cursors);
  m->heap = kl_alloc(allocator, count * sizeof *m->heap);
  kl_status status = m->cursors != NULL && m->heap != NULL
                         ? load_merge_slices(m, err)
                         : kl_fail(err, KL_E_NO_MEMORY, "no memory to merge %zu runs", count);
  for (size_t i = 0; m->cursors != NULL && i < count; i++) kl_pages_cursor_free(m->cursors[i]);
  kl_free(allocator, m->cursors, count * sizeof *m->cursors);
  kl_free(allocator, m->heap, count * sizeof *m->heap);
  kl_free(allocator, m, sizeof *m);
  return status;
}

/* The last LOAD_FAN runs have become rows of `merged`, which takes their place; they are dropped. */
static kl_status load_replace_tier(kl_load *load, load_run *merged, kl_error *err) {
  uint32_t ids[LOAD_FAN];
  size_t first = load->run_count - LOAD_FAN;
  for (size_t i = 0; i < LOAD_FAN; i++) ids[i] = load->runs[first + i]->keyspace;
  kl_status status = kl_keyspace_load_abandon(load->db->catalogue, ids, LOAD_FAN, err);
  if (status != KL_OK) return status;
  for (size_t i = first; i < load->run_count; i++) {
    load_run *gone = load->runs[i];
    if (kl_slice_compare(kl_slice_make(gone->last, gone->last_size), kl_slice_make(merged->last, merged->last_size)) >
        0) {
      merged->last_size = gone->last_size;
      memcpy(merged->last, gone->last, sizeof merged->last);
    }
    merged->tier = gone->tier + 1;
    kl_free(load->allocator, gone, sizeof *gone);
  }
  load->run_count = first;
  load->runs[load->run_count++] = merged;
  return KL_OK;
}

/* Before a run is added: as long as the last LOAD_FAN runs were merged equally often, they become one. So there are few runs, and few
 * cursors when they are merged, and a row is merged as often as the logarithm of their number to that base. */
static kl_status load_merge_tier(kl_load *load, kl_error *err) {
  while (load->run_count >= LOAD_FAN &&
         load->runs[load->run_count - LOAD_FAN]->tier == load->runs[load->run_count - 1]->tier) {
    load_run *merged = kl_alloc(load->allocator, sizeof *merged);
    if (merged == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a run of a load");
    kl_status status = kl_db_unnamed_new(load->db, &merged->keyspace, err);
    if (status == KL_OK) {
      status = load_merge_from(load, load->run_count - LOAD_FAN, merged->keyspace, err);
      if (status == KL_OK) status = load_replace_tier(load, merged, err);
      if (status != KL_OK) (void)kl_keyspace_load_abandon(load->db->catalogue, &merged->keyspace, 1, NULL);
    }
    if (status != KL_OK) {
      kl_free(load->allocator, merged, sizeof *merged);
      return status;
    }
  }
  return KL_OK;
}

static kl_status load_merge_runs(kl_load *load, kl_error *err) {
  kl_status status = load->result == 0 ? kl_db_unnamed_new(load->db, &load->result, err) : KL_OK;
  if (status != KL_OK) {
    load->result = 0;
    return status;
  }
  return load_merge_from(load, 0, load->result, err);
}

/* -------- the end -------- */

/* Gives the name to the only run, or to what the runs were merged into; drops the others. */
static kl_status load_name(kl_load *load, kl_error *err) {
  kl_slice name = kl_slice_make(load->name, load->name_size);
  uint32_t winner = load->run_count == 1 ? load->runs[0]->keyspace : load->result;
  size_t count;
  uint32_t *others = load_keyspaces(load, winner, &count, err); /* the result of a try that failed may be one */
  if (others == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_keyspace_load_finish(load->db->catalogue, winner, name, load->replace, others, count, err);
  load_keyspaces_free(load, others);
  return status;
}

kl_status kl_load_finish(kl_load *load, kl_error *err) {
  kl_status status = load_check(load, err);
  if (status == KL_OK) status = load_flush_all(load, err);
  if (status == KL_OK && load->run_count == 0 && load->result == 0) { /* an empty keyspace */
    status = kl_db_unnamed_new(load->db, &load->result, err);
  }
  if (status == KL_OK && load->run_count > 1) status = load_merge_runs(load, err);
  if (status == KL_OK) status = kl_db_unnamed_settle(load->db, err);
  if (status == KL_OK) status = load_name(load, err);
  if (status == KL_OK) {
    load->report.finished = true;
    /* The name is in the log; with this it is in the trees, and what was dropped is free. It is tried again anyway. */
    (void)kl_db_drain(load->db, false, NULL);
  }
  return status;
}
