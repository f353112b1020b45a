/* bench/engine/sqlite.c: SQLite. A table WITHOUT ROWID, which is what its documentation has for keys and values;
 * prepared statements that are kept; write-ahead log; a connection for each thread. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/engine/engine.h"

enum { BENCH_SQLITE_BUSY_MS = 60000 };

typedef struct bench_sqlite_store {
  char path[BENCH_PATH_SIZE];
  bench_settings settings;
  sqlite3 *db; /* keeps the log from being folded in whenever a session ends */
} bench_sqlite_store;

typedef enum bench_sqlite_query {
  BENCH_SQLITE_BEGIN,
  BENCH_SQLITE_BEGIN_WRITE,
  BENCH_SQLITE_COMMIT,
  BENCH_SQLITE_PUT,
  BENCH_SQLITE_DELETE,
  BENCH_SQLITE_GET,
  BENCH_SQLITE_SCAN,
  BENCH_SQLITE_SCAN_BACKWARD,
  BENCH_SQLITE_SEEK,
  BENCH_SQLITE_QUERIES
} bench_sqlite_query;

static const char *const bench_sqlite_texts[BENCH_SQLITE_QUERIES] = {
    [BENCH_SQLITE_BEGIN] = "BEGIN",
    [BENCH_SQLITE_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [BENCH_SQLITE_COMMIT] = "COMMIT",
    [BENCH_SQLITE_PUT] = "REPLACE INTO bench(k, v) VALUES (?1, ?2)",
    [BENCH_SQLITE_DELETE] = "DELETE FROM bench WHERE k = ?1",
    [BENCH_SQLITE_GET] = "SELECT v FROM bench WHERE k = ?1",
    [BENCH_SQLITE_SCAN] = "SELECT k, v FROM bench ORDER BY k",
    [BENCH_SQLITE_SCAN_BACKWARD] = "SELECT k, v FROM bench ORDER BY k DESC",
    [BENCH_SQLITE_SEEK] = "SELECT k, v FROM bench WHERE k >= ?1 ORDER BY k LIMIT ?2",
};

typedef struct bench_sqlite_session {
  sqlite3 *db;
  sqlite3_stmt *queries[BENCH_SQLITE_QUERIES];
} bench_sqlite_session;

static void bench_sqlite_must(sqlite3 *db, int rc) {
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
    bench_die("SQLite: %s", db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
  }
}

static void bench_sqlite_version(char *text, size_t size) {
  (void)snprintf(text, size, "%s", sqlite3_libversion());
}

static void bench_sqlite_describe(bench_durability durability, char *text, size_t size) {
  (void)snprintf(
      text, size,
      "journal_mode WAL, synchronous %s, WITHOUT ROWID, prepared statements, cache_size as given, mmap_size of "
      "the whole file where the cache is to hold it",
      durability == BENCH_DURABLE ? "FULL" : "OFF");
}

static sqlite3 *bench_sqlite_connect(const char *path, const bench_settings *settings) {
  char pragmas[512];
  sqlite3 *db;
  uint64_t map = settings->cache_bytes >= settings->data_bytes ? settings->data_bytes * 4 : 0;
  bench_sqlite_must(NULL,
                    sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL));
  (void)sqlite3_busy_timeout(db, BENCH_SQLITE_BUSY_MS);
  (void)snprintf(
      pragmas, sizeof pragmas,
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = %s; PRAGMA cache_size = -%llu; PRAGMA mmap_size = %llu;"
      "CREATE TABLE IF NOT EXISTS bench(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;",
      settings->durability == BENCH_DURABLE ? "FULL" : "OFF", (unsigned long long)(settings->cache_bytes / 1024 + 1),
      (unsigned long long)map);
  bench_sqlite_must(db, sqlite3_exec(db, pragmas, NULL, NULL, NULL));
  return db;
}

static void *bench_sqlite_open(const bench_settings *settings) {
  bench_sqlite_store *store = bench_alloc(sizeof *store);
  bench_path(store->path, settings->dir, "bench.db");
  store->settings = *settings;
  store->db = bench_sqlite_connect(store->path, settings);
  return store;
}

static void bench_sqlite_close(void *context) {
  bench_sqlite_store *store = context;
  bench_sqlite_must(store->db, sqlite3_close(store->db));
  free(store);
}

static void bench_sqlite_settle(void *context) {
  bench_sqlite_store *store = context;
  bench_sqlite_must(store->db, sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
}

static void *bench_sqlite_session_open(void *context) {
  bench_sqlite_store *store = context;
  bench_sqlite_session *s = bench_alloc(sizeof *s);
  s->db = bench_sqlite_connect(store->path, &store->settings);
  for (int q = 0; q < BENCH_SQLITE_QUERIES; q++) {
    bench_sqlite_must(
        s->db, sqlite3_prepare_v3(s->db, bench_sqlite_texts[q], -1, SQLITE_PREPARE_PERSISTENT, &s->queries[q], NULL));
  }
  return s;
}

static void bench_sqlite_session_close(void *session) {
  bench_sqlite_session *s = session;
  for (int q = 0; q < BENCH_SQLITE_QUERIES; q++) (void)sqlite3_finalize(s->queries[q]);
  bench_sqlite_must(s->db, sqlite3_close(s->db));
  free(s);
}

/* Runs a query that gives no rows. */
static void bench_sqlite_run(bench_sqlite_session *s, bench_sqlite_query query) {
  bench_sqlite_must(s->db, sqlite3_step(s->queries[query]));
  bench_sqlite_must(s->db, sqlite3_reset(s->queries[query]));
}

static void bench_sqlite_bind(bench_sqlite_session *s, bench_sqlite_query query, int index, const uint8_t *bytes,
                              int size) {
  bench_sqlite_must(s->db, sqlite3_bind_blob(s->queries[query], index, bytes, size, SQLITE_STATIC));
}

static void bench_sqlite_put(void *session, const uint8_t *key, const uint8_t *value) {
  bench_sqlite_session *s = session;
  bench_sqlite_bind(s, BENCH_SQLITE_PUT, 1, key, BENCH_KEY_SIZE);
  bench_sqlite_bind(s, BENCH_SQLITE_PUT, 2, value, BENCH_VALUE_SIZE);
  bench_sqlite_run(s, BENCH_SQLITE_PUT);
}

static void bench_sqlite_put_all(bench_sqlite_session *s, const bench_rows *rows) {
  for (size_t i = 0; i < rows->count; i++) {
    bench_sqlite_put(s, rows->keys + i * BENCH_KEY_SIZE, rows->values + i * BENCH_VALUE_SIZE);
  }
}

static void bench_sqlite_write(void *session, const bench_rows *rows) {
  bench_sqlite_run(session, BENCH_SQLITE_BEGIN_WRITE);
  bench_sqlite_put_all(session, rows);
  bench_sqlite_run(session, BENCH_SQLITE_COMMIT);
}

static void bench_sqlite_erase(void *session, const uint8_t *keys, size_t count) {
  bench_sqlite_session *s = session;
  bench_sqlite_run(s, BENCH_SQLITE_BEGIN_WRITE);
  for (size_t i = 0; i < count; i++) {
    bench_sqlite_bind(s, BENCH_SQLITE_DELETE, 1, keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE);
    bench_sqlite_run(s, BENCH_SQLITE_DELETE);
  }
  bench_sqlite_run(s, BENCH_SQLITE_COMMIT);
}

/* Everything in one transaction, which is its recommendation for many inserts. */
static void bench_sqlite_load(void *session, bench_source *source, void *context) {
  bench_rows rows;
  bench_sqlite_run(session, BENCH_SQLITE_BEGIN_WRITE);
  while (source(context, &rows)) bench_sqlite_put_all(session, &rows);
  bench_sqlite_run(session, BENCH_SQLITE_COMMIT);
}

static void bench_sqlite_read_begin(void *session) {
  bench_sqlite_run(session, BENCH_SQLITE_BEGIN);
}

static void bench_sqlite_read_end(void *session) {
  bench_sqlite_run(session, BENCH_SQLITE_COMMIT);
}

static void bench_sqlite_get(void *session, const uint8_t *key, bench_tally *tally) {
  bench_sqlite_session *s = session;
  sqlite3_stmt *query = s->queries[BENCH_SQLITE_GET];
  bench_sqlite_bind(s, BENCH_SQLITE_GET, 1, key, BENCH_KEY_SIZE);
  int rc = sqlite3_step(query);
  bench_sqlite_must(s->db, rc);
  if (rc == SQLITE_ROW) {
    const void *value = sqlite3_column_blob(query, 0);
    bench_tally_row(tally, key, BENCH_KEY_SIZE, value, (size_t)sqlite3_column_bytes(query, 0));
  }
  bench_sqlite_must(s->db, sqlite3_reset(query));
}

/* Steps through a query of keys and values. */
static void bench_sqlite_rows(bench_sqlite_session *s, bench_sqlite_query which, bench_tally *tally) {
  sqlite3_stmt *query = s->queries[which];
  int rc = sqlite3_step(query);
  for (; rc == SQLITE_ROW; rc = sqlite3_step(query)) {
    const void *key = sqlite3_column_blob(query, 0), *value = sqlite3_column_blob(query, 1);
    bench_tally_row(tally, key, (size_t)sqlite3_column_bytes(query, 0), value, (size_t)sqlite3_column_bytes(query, 1));
  }
  bench_sqlite_must(s->db, rc);
  bench_sqlite_must(s->db, sqlite3_reset(query));
}

static void bench_sqlite_scan(void *session, bool backward, bench_tally *tally) {
  bench_sqlite_rows(session, backward ? BENCH_SQLITE_SCAN_BACKWARD : BENCH_SQLITE_SCAN, tally);
}

static void bench_sqlite_seek(void *session, const uint8_t *key, size_t n, bench_tally *tally) {
  bench_sqlite_session *s = session;
  bench_sqlite_bind(s, BENCH_SQLITE_SEEK, 1, key, BENCH_KEY_SIZE);
  bench_sqlite_must(s->db, sqlite3_bind_int64(s->queries[BENCH_SQLITE_SEEK], 2, (sqlite3_int64)n));
  bench_sqlite_rows(s, BENCH_SQLITE_SEEK, tally);
}

const bench_engine bench_sqlite = {
    .name = "sqlite",
    .title = "SQLite",
    .version = bench_sqlite_version,
    .describe = bench_sqlite_describe,
    .open = bench_sqlite_open,
    .close = bench_sqlite_close,
    .settle = bench_sqlite_settle,
    .session_open = bench_sqlite_session_open,
    .session_close = bench_sqlite_session_close,
    .put = bench_sqlite_put,
    .write = bench_sqlite_write,
    .erase = bench_sqlite_erase,
    .load = bench_sqlite_load,
    .read_begin = bench_sqlite_read_begin,
    .read_end = bench_sqlite_read_end,
    .get = bench_sqlite_get,
    .scan = bench_sqlite_scan,
    .seek = bench_sqlite_seek,
};
