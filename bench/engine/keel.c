/* bench/engine/keel.c: Keel, through its C ABI alone. */
#include "keel/keel.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/engine/engine.h"

enum { BENCH_KEEL_ENTRY = 12 + BENCH_ROW_SIZE, BENCH_KEEL_ENTRY_HEAD = 12 };

typedef struct bench_keel_session {
  keel_db db;
  keel_keyspace keyspace;
  keel_txn reader;
  keel_cursor cursor;
  keel_batch batch;
  uint8_t *ops; /* packed entries of one keel_write_batch */
  size_t ops_capacity;
  uint64_t *offsets; /* of the keys of one keel_get_many */
  size_t offsets_count;
} bench_keel_session;

static void bench_keel_must(keel_status status, const keel_error *error) {
  if (status != KEEL_OK) bench_die("Keel: %s: %s", keel_status_name(status), error->message);
}

static void bench_keel_version(char *text, size_t size) {
  (void)snprintf(text, size, "%s", keel_version());
}

/* By bench_durability. Of `group` a crash of the program alone loses nothing. */
static const struct {
  uint32_t durability;
  const char *name;
} bench_keel_durabilities[] = {
    [BENCH_NOSYNC] = {KEEL_DURABILITY_NONE, "none"},
    [BENCH_PROCESS] = {KEEL_DURABILITY_GROUP, "group"},
    [BENCH_DURABLE] = {KEEL_DURABILITY_FULL, "full"},
};

static void bench_keel_describe(bench_durability durability, char *text, size_t size) {
  (void)snprintf(text, size, "durability %s; cache_size as above; every other option at its default",
                 bench_keel_durabilities[durability].name);
}

static void *bench_keel_open(const bench_settings *settings) {
  char path[BENCH_PATH_SIZE];
  keel_error error;
  keel_options options = KEEL_OPTIONS_INIT;
  keel_db *db = bench_alloc(sizeof *db);
  bench_path(path, settings->dir, "bench.keel");
  options.durability = bench_keel_durabilities[settings->durability].durability;
  options.cache_size = settings->cache_bytes;
  bench_keel_must(keel_open(path, &options, db, &error), &error);
  return db;
}

static void bench_keel_close(void *store) {
  keel_error error;
  bench_keel_must(keel_close(*(keel_db *)store, &error), &error);
  free(store);
}

static void bench_keel_settle(void *store) {
  keel_error error;
  bench_keel_must(keel_make_checkpoint(*(keel_db *)store, &error), &error);
}

static void *bench_keel_session_open(void *store) {
  keel_error error;
  bench_keel_session *s = bench_alloc(sizeof *s);
  *s = (bench_keel_session){.db = *(keel_db *)store};
  bench_keel_must(keel_keyspace_open(s->db, "bench", 5, NULL, &s->keyspace, &error), &error);
  bench_keel_must(keel_batch_new(&s->batch, &error), &error);
  return s;
}

static void bench_keel_session_close(void *session) {
  keel_error error;
  bench_keel_session *s = session;
  bench_keel_must(keel_batch_free(s->batch, &error), &error);
  bench_keel_must(keel_keyspace_close(s->keyspace, &error), &error);
  free(s->ops);
  free(s->offsets);
  free(s);
}

static void bench_keel_put(void *session, const uint8_t *key, const uint8_t *value) {
  keel_error error;
  keel_txn txn;
  bench_keel_session *s = session;
  bench_keel_must(keel_begin(s->db, NULL, &txn, &error), &error);
  bench_keel_must(keel_put(txn, s->keyspace, key, BENCH_KEY_SIZE, value, BENCH_VALUE_SIZE, &error), &error);
  bench_keel_must(keel_commit(txn, NULL, &error), &error);
}

/* Packs the rows into the entries that keel_write_batch takes; that is part of what a user pays. */
static size_t bench_keel_pack(bench_keel_session *s, const bench_rows *rows) {
  static const uint8_t head[BENCH_KEEL_ENTRY_HEAD] = {KEEL_BATCH_PUT,  0, 0, 0, BENCH_KEY_SIZE, 0, 0, 0,
                                                      BENCH_VALUE_SIZE};
  if (s->ops_capacity < rows->count) {
    free(s->ops);
    s->ops = bench_alloc(rows->count * BENCH_KEEL_ENTRY);
    s->ops_capacity = rows->count;
  }
  uint8_t *at = s->ops;
  for (size_t i = 0; i < rows->count; i++, at += BENCH_KEEL_ENTRY) {
    memcpy(at, head, sizeof head);
    memcpy(at + sizeof head, rows->keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE);
    memcpy(at + sizeof head + BENCH_KEY_SIZE, rows->values + i * BENCH_VALUE_SIZE, BENCH_VALUE_SIZE);
  }
  return rows->count * BENCH_KEEL_ENTRY;
}

static void bench_keel_write(void *session, const bench_rows *rows) {
  keel_error error;
  keel_txn txn;
  bench_keel_session *s = session;
  size_t size = bench_keel_pack(s, rows);
  bench_keel_must(keel_begin(s->db, NULL, &txn, &error), &error);
  bench_keel_must(keel_write_batch(txn, s->keyspace, s->ops, size, NULL, &error), &error);
  bench_keel_must(keel_commit(txn, NULL, &error), &error);
}

static void bench_keel_erase(void *session, const uint8_t *keys, size_t count) {
  keel_error error;
  keel_txn txn;
  bench_keel_session *s = session;
  bench_keel_must(keel_begin(s->db, NULL, &txn, &error), &error);
  for (size_t i = 0; i < count; i++, keys += BENCH_KEY_SIZE) {
    bench_keel_must(keel_del(txn, s->keyspace, keys, BENCH_KEY_SIZE, &error), &error);
  }
  bench_keel_must(keel_commit(txn, NULL, &error), &error);
}

static void bench_keel_load(void *session, bench_source *source, void *context) {
  keel_error error;
  keel_load load;
  bench_rows rows;
  bench_keel_session *s = session;
  keel_load_options options = KEEL_LOAD_OPTIONS_INIT;
  keel_load_report report = KEEL_LOAD_REPORT_INIT;
  options.flags = KEEL_LOAD_REPLACE; /* the keyspace that the session has open is empty */
  bench_keel_must(keel_load_begin(s->db, "bench", 5, &options, &load, &error), &error);
  while (source(context, &rows)) {
    size_t size = bench_keel_pack(s, &rows);
    bench_keel_must(keel_load_batch(load, s->ops, size, NULL, &error), &error);
  }
  bench_keel_must(keel_load_finish(load, &report, &error), &error);
  bench_keel_must(keel_load_end(load, &error), &error);
  bench_keel_must(keel_keyspace_close(s->keyspace, &error), &error);
  bench_keel_must(keel_keyspace_open(s->db, "bench", 5, NULL, &s->keyspace, &error), &error);
}

static void bench_keel_read_begin(void *session) {
  keel_error error;
  bench_keel_session *s = session;
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  options.flags = KEEL_TXN_READ_ONLY;
  bench_keel_must(keel_begin(s->db, &options, &s->reader, &error), &error);
  bench_keel_must(keel_cursor_open(s->reader, s->keyspace, NULL, &s->cursor, &error), &error);
}

static void bench_keel_read_end(void *session) {
  keel_error error;
  bench_keel_session *s = session;
  bench_keel_must(keel_cursor_close(s->cursor, &error), &error);
  bench_keel_must(keel_rollback(s->reader, &error), &error);
}

static void bench_keel_get(void *session, const uint8_t *key, bench_tally *tally) {
  keel_error error;
  const void *value;
  size_t size;
  bench_keel_session *s = session;
  keel_status status = keel_get(s->reader, s->keyspace, key, BENCH_KEY_SIZE, &value, &size, &error);
  if (status == KEEL_E_NOT_FOUND) return;
  bench_keel_must(status, &error);
  bench_tally_row(tally, key, BENCH_KEY_SIZE, value, size);
}

/* Hands the rows of the batch to the tally; how many there were. */
static uint64_t bench_keel_tally(const bench_keel_session *s, bench_tally *tally) {
  keel_error error;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  bench_keel_must(keel_batch_data(s->batch, &view, &error), &error);
  for (uint64_t i = 0; i < view.count; i++) {
    if (!view.found[i]) continue;
    bench_tally_row(tally, (const uint8_t *)view.keys + view.key_offsets[i],
                    view.key_offsets[i + 1] - view.key_offsets[i], (const uint8_t *)view.values + view.value_offsets[i],
                    view.value_offsets[i + 1] - view.value_offsets[i]);
  }
  return view.count;
}

static void bench_keel_get_many(void *session, const uint8_t *keys, size_t count, bench_tally *tally) {
  keel_error error;
  bench_keel_session *s = session;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  if (s->offsets_count < count + 1) {
    free(s->offsets);
    s->offsets = bench_alloc((count + 1) * sizeof *s->offsets);
    s->offsets_count = count + 1;
    for (size_t i = 0; i <= count; i++) s->offsets[i] = i * BENCH_KEY_SIZE;
  }
  bench_keel_must(keel_get_many(s->reader, s->keyspace, keys, s->offsets, count, s->batch, &error), &error);
  bench_keel_must(keel_batch_data(s->batch, &view, &error), &error);
  for (size_t i = 0; i < count; i++) {
    if (!view.found[i]) continue;
    bench_tally_row(tally, keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE,
                    (const uint8_t *)view.values + view.value_offsets[i],
                    view.value_offsets[i + 1] - view.value_offsets[i]);
  }
}

static void bench_keel_scan(void *session, bool backward, bench_tally *tally) {
  keel_error error;
  keel_cursor cursor;
  bench_keel_session *s = session;
  bench_keel_must(keel_cursor_open(s->reader, s->keyspace, NULL, &cursor, &error), &error);
  do {
    bench_keel_must(backward ? keel_cursor_prev_batch(cursor, 1000, 0, s->batch, &error)
                             : keel_cursor_next_batch(cursor, 1000, 0, s->batch, &error),
                    &error);
  } while (bench_keel_tally(s, tally) > 0);
  bench_keel_must(keel_cursor_close(cursor, &error), &error);
}

static void bench_keel_seek(void *session, const uint8_t *key, size_t n, bench_tally *tally) {
  keel_error error;
  const void *found, *value;
  size_t key_size, value_size;
  bench_keel_session *s = session;
  keel_status status = keel_cursor_seek(s->cursor, key, BENCH_KEY_SIZE, &error);
  if (status == KEEL_E_NOT_FOUND) return;
  bench_keel_must(status, &error);
  bench_keel_must(keel_cursor_get(s->cursor, &found, &key_size, &value, &value_size, &error), &error);
  bench_tally_row(tally, found, key_size, value, value_size);
  if (n == 1) return;
  bench_keel_must(keel_cursor_next_batch(s->cursor, n - 1, 0, s->batch, &error), &error);
  (void)bench_keel_tally(s, tally);
}

const bench_engine bench_keel = {
    .name = "keel",
    .title = "Keel",
    .version = bench_keel_version,
    .describe = bench_keel_describe,
    .open = bench_keel_open,
    .close = bench_keel_close,
    .settle = bench_keel_settle,
    .session_open = bench_keel_session_open,
    .session_close = bench_keel_session_close,
    .put = bench_keel_put,
    .write = bench_keel_write,
    .erase = bench_keel_erase,
    .load = bench_keel_load,
    .read_begin = bench_keel_read_begin,
    .read_end = bench_keel_read_end,
    .get = bench_keel_get,
    .get_many = bench_keel_get_many,
    .scan = bench_keel_scan,
    .seek = bench_keel_seek,
};
