/* bench/engine/wiredtiger.c: WiredTiger: a row-store B-tree with its log on. Its documentation recommends a cache
 * that is large enough, several eviction threads, and checkpoints by log size; without sync, log records stay in its
 * buffers until they fill, which is its default and its fastest way. */
#include <stdio.h>
#include <stdlib.h>
#include <wiredtiger.h>

#include "bench/engine/engine.h"

typedef struct bench_wiredtiger_store {
  WT_CONNECTION *connection;
} bench_wiredtiger_store;

typedef struct bench_wiredtiger_session {
  WT_SESSION *session;
  WT_CURSOR *cursor;
} bench_wiredtiger_session;

static const char bench_wiredtiger_table[] = "table:bench";

static void bench_wiredtiger_must(int rc) {
  if (rc != 0) bench_die("WiredTiger: %s", wiredtiger_strerror(rc));
}

static void bench_wiredtiger_version(char *text, size_t size) {
  int major, minor, patch;
  (void)wiredtiger_version(&major, &minor, &patch);
  (void)snprintf(text, size, "%d.%d.%d", major, minor, patch);
}

static const char *bench_wiredtiger_sync(bench_durability durability) {
  switch (durability) {
    case BENCH_NOSYNC:
      return "transaction_sync=(enabled=false)";
    case BENCH_PROCESS:
      return "transaction_sync=(enabled=true,method=none)";
    default:
      return "transaction_sync=(enabled=true,method=fsync)";
  }
}

#define BENCH_WIREDTIGER_SETTINGS \
  "log=(enabled=true),checkpoint=(log_size=512MB),eviction=(threads_min=1,threads_max=4)"

static void bench_wiredtiger_describe(bench_durability durability, char *text, size_t size) {
  (void)snprintf(text, size, "%s,%s, cache_size as given", BENCH_WIREDTIGER_SETTINGS,
                 bench_wiredtiger_sync(durability));
}

static void *bench_wiredtiger_open(const bench_settings *settings) {
  char config[512];
  WT_SESSION *session;
  bench_wiredtiger_store *store = bench_alloc(sizeof *store);
  uint64_t least = 1 << 20; /* of cache_size */
  (void)snprintf(config, sizeof config, "create,cache_size=%llu,session_max=100,%s,%s",
                 (unsigned long long)(settings->cache_bytes > least ? settings->cache_bytes : least),
                 BENCH_WIREDTIGER_SETTINGS, bench_wiredtiger_sync(settings->durability));
  bench_wiredtiger_must(wiredtiger_open(settings->dir, NULL, config, &store->connection));
  bench_wiredtiger_must(store->connection->open_session(store->connection, NULL, NULL, &session));
  bench_wiredtiger_must(session->create(session, bench_wiredtiger_table, "key_format=u,value_format=u"));
  bench_wiredtiger_must(session->close(session, NULL));
  return store;
}

static void bench_wiredtiger_close(void *context) {
  bench_wiredtiger_store *store = context;
  bench_wiredtiger_must(store->connection->close(store->connection, NULL));
  free(store);
}

static void bench_wiredtiger_settle(void *context) {
  bench_wiredtiger_store *store = context;
  WT_SESSION *session;
  bench_wiredtiger_must(store->connection->open_session(store->connection, NULL, NULL, &session));
  bench_wiredtiger_must(session->checkpoint(session, NULL));
  bench_wiredtiger_must(session->close(session, NULL));
}

static void *bench_wiredtiger_session_open(void *context) {
  bench_wiredtiger_store *store = context;
  bench_wiredtiger_session *s = bench_alloc(sizeof *s);
  bench_wiredtiger_must(store->connection->open_session(store->connection, NULL, "isolation=snapshot", &s->session));
  s->cursor = NULL;
  return s;
}

static void bench_wiredtiger_session_close(void *session) {
  bench_wiredtiger_session *s = session;
  bench_wiredtiger_must(s->session->close(s->session, NULL));
  free(s);
}

/* The cursor is opened by the first use, so that a bulk cursor can have the table alone before. */
static WT_CURSOR *bench_wiredtiger_cursor(bench_wiredtiger_session *s) {
  if (s->cursor == NULL) {
    bench_wiredtiger_must(s->session->open_cursor(s->session, bench_wiredtiger_table, NULL, NULL, &s->cursor));
  }
  return s->cursor;
}

static int bench_wiredtiger_insert(WT_CURSOR *cursor, const uint8_t *key, const uint8_t *value) {
  WT_ITEM k = {.data = key, .size = BENCH_KEY_SIZE}, v = {.data = value, .size = BENCH_VALUE_SIZE};
  cursor->set_key(cursor, &k);
  cursor->set_value(cursor, &v);
  return cursor->insert(cursor);
}

static int bench_wiredtiger_remove(WT_CURSOR *cursor, const uint8_t *key) {
  WT_ITEM k = {.data = key, .size = BENCH_KEY_SIZE};
  cursor->set_key(cursor, &k);
  return cursor->remove(cursor);
}

/* An operation outside of a transaction is one of its own. It may be rolled back for want of cache: then it is run
 * again. */
static void bench_wiredtiger_put(void *session, const uint8_t *key, const uint8_t *value) {
  int rc;
  do {
    rc = bench_wiredtiger_insert(bench_wiredtiger_cursor(session), key, value);
  } while (rc == WT_ROLLBACK);
  bench_wiredtiger_must(rc);
}

/* One transaction of puts, or of deletes where there are no values; likewise. */
static void bench_wiredtiger_transaction(bench_wiredtiger_session *s, const uint8_t *keys, const uint8_t *values,
                                         size_t count) {
  WT_CURSOR *cursor = bench_wiredtiger_cursor(s);
  int rc;
  do {
    bench_wiredtiger_must(s->session->begin_transaction(s->session, NULL));
    rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
      const uint8_t *key = keys + i * BENCH_KEY_SIZE;
      rc = values != NULL ? bench_wiredtiger_insert(cursor, key, values + i * BENCH_VALUE_SIZE)
                          : bench_wiredtiger_remove(cursor, key);
    }
    if (rc != 0) {
      bench_wiredtiger_must(s->session->rollback_transaction(s->session, NULL));
    } else {
      rc = s->session->commit_transaction(s->session, NULL);
    }
  } while (rc == WT_ROLLBACK);
  bench_wiredtiger_must(rc);
}

static void bench_wiredtiger_write(void *session, const bench_rows *rows) {
  bench_wiredtiger_transaction(session, rows->keys, rows->values, rows->count);
}

static void bench_wiredtiger_erase(void *session, const uint8_t *keys, size_t count) {
  bench_wiredtiger_transaction(session, keys, NULL, count);
}

static void bench_wiredtiger_load(void *session, bench_source *source, void *context) {
  bench_wiredtiger_session *s = session;
  WT_CURSOR *bulk;
  bench_rows rows;
  bench_wiredtiger_must(s->session->open_cursor(s->session, bench_wiredtiger_table, NULL, "bulk", &bulk));
  while (source(context, &rows)) {
    for (size_t i = 0; i < rows.count; i++) {
      bench_wiredtiger_must(
          bench_wiredtiger_insert(bulk, rows.keys + i * BENCH_KEY_SIZE, rows.values + i * BENCH_VALUE_SIZE));
    }
  }
  bench_wiredtiger_must(bulk->close(bulk));
}

static void bench_wiredtiger_read_begin(void *session) {
  bench_wiredtiger_session *s = session;
  (void)bench_wiredtiger_cursor(s);
  bench_wiredtiger_must(s->session->begin_transaction(s->session, NULL));
}

static void bench_wiredtiger_read_end(void *session) {
  bench_wiredtiger_session *s = session;
  bench_wiredtiger_must(s->session->commit_transaction(s->session, NULL));
}

static void bench_wiredtiger_get(void *session, const uint8_t *key, bench_tally *tally) {
  WT_CURSOR *cursor = ((bench_wiredtiger_session *)session)->cursor;
  WT_ITEM item = {.data = key, .size = BENCH_KEY_SIZE};
  cursor->set_key(cursor, &item);
  int rc = cursor->search(cursor);
  if (rc == WT_NOTFOUND) return;
  bench_wiredtiger_must(rc);
  bench_wiredtiger_must(cursor->get_value(cursor, &item));
  bench_tally_row(tally, key, BENCH_KEY_SIZE, item.data, item.size);
}

static void bench_wiredtiger_row(WT_CURSOR *cursor, bench_tally *tally) {
  WT_ITEM key, value;
  bench_wiredtiger_must(cursor->get_key(cursor, &key));
  bench_wiredtiger_must(cursor->get_value(cursor, &value));
  bench_tally_row(tally, key.data, key.size, value.data, value.size);
}

static void bench_wiredtiger_scan(void *session, bool backward, bench_tally *tally) {
  WT_CURSOR *cursor = ((bench_wiredtiger_session *)session)->cursor;
  bench_wiredtiger_must(cursor->reset(cursor));
  int rc = backward ? cursor->prev(cursor) : cursor->next(cursor);
  for (; rc == 0; rc = backward ? cursor->prev(cursor) : cursor->next(cursor)) bench_wiredtiger_row(cursor, tally);
  if (rc != WT_NOTFOUND) bench_wiredtiger_must(rc);
}

static void bench_wiredtiger_seek(void *session, const uint8_t *key, size_t n, bench_tally *tally) {
  WT_CURSOR *cursor = ((bench_wiredtiger_session *)session)->cursor;
  WT_ITEM item = {.data = key, .size = BENCH_KEY_SIZE};
  int where;
  cursor->set_key(cursor, &item);
  int rc = cursor->search_near(cursor, &where);
  if (rc == 0 && where < 0) rc = cursor->next(cursor); /* it may find the row before */
  while (rc == 0) {
    bench_wiredtiger_row(cursor, tally);
    if (--n == 0) return;
    rc = cursor->next(cursor);
  }
  if (rc != WT_NOTFOUND) bench_wiredtiger_must(rc);
}

const bench_engine bench_wiredtiger = {
    .name = "wiredtiger",
    .title = "WiredTiger",
    .version = bench_wiredtiger_version,
    .describe = bench_wiredtiger_describe,
    .open = bench_wiredtiger_open,
    .close = bench_wiredtiger_close,
    .settle = bench_wiredtiger_settle,
    .session_open = bench_wiredtiger_session_open,
    .session_close = bench_wiredtiger_session_close,
    .put = bench_wiredtiger_put,
    .write = bench_wiredtiger_write,
    .erase = bench_wiredtiger_erase,
    .load = bench_wiredtiger_load,
    .read_begin = bench_wiredtiger_read_begin,
    .read_end = bench_wiredtiger_read_end,
    .get = bench_wiredtiger_get,
    .scan = bench_wiredtiger_scan,
    .seek = bench_wiredtiger_seek,
};
