/* bench/engine/lmdb.c: LMDB. Its documentation names what makes it fast: a writable map without syncs where a crash
 * may damage the file, MDB_APPEND for sorted input, one read transaction for many reads, and a large map (which is
 * address space only). */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/engine/engine.h"

typedef struct bench_lmdb_store {
  MDB_env *env;
  MDB_dbi dbi;
} bench_lmdb_store;

typedef struct bench_lmdb_session {
  bench_lmdb_store *store;
  MDB_txn *reader;
  MDB_cursor *cursor;
} bench_lmdb_session;

static void bench_lmdb_must(int rc) {
  if (rc != MDB_SUCCESS) bench_die("LMDB: %s", mdb_strerror(rc));
}

static void bench_lmdb_version(char *text, size_t size) {
  int major, minor, patch;
  (void)mdb_version(&major, &minor, &patch);
  (void)snprintf(text, size, "%d.%d.%d", major, minor, patch);
}

static void bench_lmdb_describe(bench_durability durability, char *text, size_t size) {
  (void)snprintf(text, size, "%s; MDB_APPEND for sorted rows; no cache of its own: the system's page cache, unbounded",
                 durability == BENCH_DURABLE ? "default flags" : "MDB_WRITEMAP | MDB_NOSYNC");
}

static void *bench_lmdb_open(const bench_settings *settings) {
  bench_lmdb_store *store = bench_alloc(sizeof *store);
  MDB_txn *txn;
  unsigned flags = settings->durability == BENCH_DURABLE ? 0 : MDB_WRITEMAP | MDB_NOSYNC;
  bench_lmdb_must(mdb_env_create(&store->env));
  bench_lmdb_must(mdb_env_set_mapsize(store->env, (settings->data_bytes * 6 + (UINT64_C(1) << 28)) & ~UINT64_C(4095)));
  bench_lmdb_must(mdb_env_open(store->env, settings->dir, flags, 0600));
  bench_lmdb_must(mdb_txn_begin(store->env, NULL, 0, &txn));
  bench_lmdb_must(mdb_dbi_open(txn, NULL, 0, &store->dbi));
  bench_lmdb_must(mdb_txn_commit(txn));
  return store;
}

static void bench_lmdb_close(void *context) {
  bench_lmdb_store *store = context;
  mdb_env_close(store->env);
  free(store);
}

static void bench_lmdb_settle(void *context) {
  bench_lmdb_store *store = context;
  bench_lmdb_must(mdb_env_sync(store->env, 1));
}

static void *bench_lmdb_session_open(void *store) {
  bench_lmdb_session *s = bench_alloc(sizeof *s);
  *s = (bench_lmdb_session){.store = store};
  return s;
}

static void bench_lmdb_session_close(void *session) {
  free(session);
}

static MDB_val bench_lmdb_val(const uint8_t *bytes, size_t size) {
  return (MDB_val){size, (void *)(uintptr_t)bytes}; /* the interface has no const, but does not write */
}

static void bench_lmdb_put(void *session, const uint8_t *key, const uint8_t *value) {
  bench_lmdb_session *s = session;
  MDB_txn *txn;
  MDB_val k = bench_lmdb_val(key, BENCH_KEY_SIZE), v = bench_lmdb_val(value, BENCH_VALUE_SIZE);
  bench_lmdb_must(mdb_txn_begin(s->store->env, NULL, 0, &txn));
  bench_lmdb_must(mdb_put(txn, s->store->dbi, &k, &v, 0));
  bench_lmdb_must(mdb_txn_commit(txn));
}

static void bench_lmdb_write(void *session, const bench_rows *rows) {
  bench_lmdb_session *s = session;
  MDB_txn *txn;
  MDB_cursor *cursor;
  unsigned flags = rows->sorted ? MDB_APPEND : 0;
  bench_lmdb_must(mdb_txn_begin(s->store->env, NULL, 0, &txn));
  bench_lmdb_must(mdb_cursor_open(txn, s->store->dbi, &cursor));
  for (size_t i = 0; i < rows->count; i++) {
    MDB_val k = bench_lmdb_val(rows->keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE);
    MDB_val v = bench_lmdb_val(rows->values + i * BENCH_VALUE_SIZE, BENCH_VALUE_SIZE);
    bench_lmdb_must(mdb_cursor_put(cursor, &k, &v, flags));
  }
  mdb_cursor_close(cursor);
  bench_lmdb_must(mdb_txn_commit(txn));
}

static void bench_lmdb_erase(void *session, const uint8_t *keys, size_t count) {
  bench_lmdb_session *s = session;
  MDB_txn *txn;
  bench_lmdb_must(mdb_txn_begin(s->store->env, NULL, 0, &txn));
  for (size_t i = 0; i < count; i++) {
    MDB_val k = bench_lmdb_val(keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE);
    bench_lmdb_must(mdb_del(txn, s->store->dbi, &k, NULL));
  }
  bench_lmdb_must(mdb_txn_commit(txn));
}

/* Everything in one transaction. */
static void bench_lmdb_load(void *session, bench_source *source, void *context) {
  bench_lmdb_session *s = session;
  MDB_txn *txn;
  MDB_cursor *cursor;
  bench_rows rows;
  bench_lmdb_must(mdb_txn_begin(s->store->env, NULL, 0, &txn));
  bench_lmdb_must(mdb_cursor_open(txn, s->store->dbi, &cursor));
  while (source(context, &rows)) {
    for (size_t i = 0; i < rows.count; i++) {
      MDB_val k = bench_lmdb_val(rows.keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE);
      MDB_val v = bench_lmdb_val(rows.values + i * BENCH_VALUE_SIZE, BENCH_VALUE_SIZE);
      bench_lmdb_must(mdb_cursor_put(cursor, &k, &v, MDB_APPEND));
    }
  }
  mdb_cursor_close(cursor);
  bench_lmdb_must(mdb_txn_commit(txn));
}

static void bench_lmdb_read_begin(void *session) {
  bench_lmdb_session *s = session;
  bench_lmdb_must(mdb_txn_begin(s->store->env, NULL, MDB_RDONLY, &s->reader));
  bench_lmdb_must(mdb_cursor_open(s->reader, s->store->dbi, &s->cursor));
}

static void bench_lmdb_read_end(void *session) {
  bench_lmdb_session *s = session;
  mdb_cursor_close(s->cursor);
  mdb_txn_abort(s->reader);
}

static void bench_lmdb_get(void *session, const uint8_t *key, bench_tally *tally) {
  bench_lmdb_session *s = session;
  MDB_val k = bench_lmdb_val(key, BENCH_KEY_SIZE), v;
  int rc = mdb_get(s->reader, s->store->dbi, &k, &v);
  if (rc == MDB_NOTFOUND) return;
  bench_lmdb_must(rc);
  bench_tally_row(tally, key, BENCH_KEY_SIZE, v.mv_data, v.mv_size);
}

static void bench_lmdb_scan(void *session, bool backward, bench_tally *tally) {
  bench_lmdb_session *s = session;
  MDB_val k, v;
  MDB_cursor_op step = backward ? MDB_PREV : MDB_NEXT;
  int rc = mdb_cursor_get(s->cursor, &k, &v, backward ? MDB_LAST : MDB_FIRST);
  for (; rc == MDB_SUCCESS; rc = mdb_cursor_get(s->cursor, &k, &v, step)) {
    bench_tally_row(tally, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
  }
  if (rc != MDB_NOTFOUND) bench_lmdb_must(rc);
}

static void bench_lmdb_seek(void *session, const uint8_t *key, size_t n, bench_tally *tally) {
  bench_lmdb_session *s = session;
  MDB_val k = bench_lmdb_val(key, BENCH_KEY_SIZE), v;
  int rc = mdb_cursor_get(s->cursor, &k, &v, MDB_SET_RANGE);
  while (rc == MDB_SUCCESS) {
    bench_tally_row(tally, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
    if (--n == 0) return;
    rc = mdb_cursor_get(s->cursor, &k, &v, MDB_NEXT);
  }
  if (rc != MDB_NOTFOUND) bench_lmdb_must(rc);
}

const bench_engine bench_lmdb = {
    .name = "lmdb",
    .title = "LMDB",
    .version = bench_lmdb_version,
    .describe = bench_lmdb_describe,
    .open = bench_lmdb_open,
    .close = bench_lmdb_close,
    .settle = bench_lmdb_settle,
    .session_open = bench_lmdb_session_open,
    .session_close = bench_lmdb_session_close,
    .put = bench_lmdb_put,
    .write = bench_lmdb_write,
    .erase = bench_lmdb_erase,
    .load = bench_lmdb_load,
    .read_begin = bench_lmdb_read_begin,
    .read_end = bench_lmdb_read_end,
    .get = bench_lmdb_get,
    .scan = bench_lmdb_scan,
    .seek = bench_lmdb_seek,
};
