/* bench/engine/leveldb.c: LevelDB through its C interface: a bloom filter and a cache, which are what its
 * documentation names for reads, and the write buffer that RocksDB has. */
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/engine/engine.h"

enum { BENCH_LEVELDB_BLOOM = 10, BENCH_LEVELDB_BUFFER = 64 << 20 };

typedef struct bench_leveldb_store {
  leveldb_t *db;
  leveldb_options_t *options;
  leveldb_cache_t *cache;
  leveldb_filterpolicy_t *filter;
  leveldb_writeoptions_t *write_options;
} bench_leveldb_store;

typedef struct bench_leveldb_session {
  bench_leveldb_store *store;
  leveldb_readoptions_t *read_options;
  leveldb_iterator_t *iterator;
  leveldb_writebatch_t *batch;
} bench_leveldb_session;

static void bench_leveldb_must(const char *error) {
  if (error != NULL) bench_die("LevelDB: %s", error);
}

static void bench_leveldb_version(char *text, size_t size) {
  (void)snprintf(text, size, "%d.%d", leveldb_major_version(), leveldb_minor_version());
}

static void bench_leveldb_describe(bench_durability durability, char *text, size_t size) {
  (void)snprintf(text, size,
                 "sync %s; bloom filter of %d bits a key, LRU cache, write_buffer_size %d MiB, no compression",
                 durability == BENCH_DURABLE ? "on" : "off", BENCH_LEVELDB_BLOOM, BENCH_LEVELDB_BUFFER >> 20);
}

static void *bench_leveldb_open(const bench_settings *settings) {
  bench_leveldb_store *store = bench_alloc(sizeof *store);
  char *error = NULL;
  store->options = leveldb_options_create();
  store->cache = leveldb_cache_create_lru((size_t)settings->cache_bytes);
  store->filter = leveldb_filterpolicy_create_bloom(BENCH_LEVELDB_BLOOM);
  leveldb_options_set_create_if_missing(store->options, 1);
  leveldb_options_set_cache(store->options, store->cache);
  leveldb_options_set_filter_policy(store->options, store->filter);
  leveldb_options_set_write_buffer_size(store->options, BENCH_LEVELDB_BUFFER);
  leveldb_options_set_compression(store->options, leveldb_no_compression);
  store->db = leveldb_open(store->options, settings->dir, &error);
  bench_leveldb_must(error);
  store->write_options = leveldb_writeoptions_create();
  leveldb_writeoptions_set_sync(store->write_options, settings->durability == BENCH_DURABLE);
  return store;
}

static void bench_leveldb_close(void *context) {
  bench_leveldb_store *store = context;
  leveldb_close(store->db);
  leveldb_writeoptions_destroy(store->write_options);
  leveldb_options_destroy(store->options);
  leveldb_cache_destroy(store->cache);
  leveldb_filterpolicy_destroy(store->filter);
  free(store);
}

static void bench_leveldb_settle(void *context) {
  bench_leveldb_store *store = context;
  leveldb_compact_range(store->db, NULL, 0, NULL, 0);
}

static void *bench_leveldb_session_open(void *store) {
  bench_leveldb_session *s = bench_alloc(sizeof *s);
  *s = (bench_leveldb_session){.store = store};
  s->read_options = leveldb_readoptions_create();
  s->batch = leveldb_writebatch_create();
  return s;
}

static void bench_leveldb_session_close(void *session) {
  bench_leveldb_session *s = session;
  leveldb_writebatch_destroy(s->batch);
  leveldb_readoptions_destroy(s->read_options);
  free(s);
}

static void bench_leveldb_put(void *session, const uint8_t *key, const uint8_t *value) {
  bench_leveldb_session *s = session;
  char *error = NULL;
  leveldb_put(s->store->db, s->store->write_options, (const char *)key, BENCH_KEY_SIZE, (const char *)value,
              BENCH_VALUE_SIZE, &error);
  bench_leveldb_must(error);
}

static void bench_leveldb_commit(bench_leveldb_session *s) {
  char *error = NULL;
  leveldb_write(s->store->db, s->store->write_options, s->batch, &error);
  bench_leveldb_must(error);
  leveldb_writebatch_clear(s->batch);
}

static void bench_leveldb_write(void *session, const bench_rows *rows) {
  bench_leveldb_session *s = session;
  for (size_t i = 0; i < rows->count; i++) {
    leveldb_writebatch_put(s->batch, (const char *)rows->keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE,
                           (const char *)rows->values + i * BENCH_VALUE_SIZE, BENCH_VALUE_SIZE);
  }
  bench_leveldb_commit(s);
}

static void bench_leveldb_erase(void *session, const uint8_t *keys, size_t count) {
  bench_leveldb_session *s = session;
  for (size_t i = 0; i < count; i++) {
    leveldb_writebatch_delete(s->batch, (const char *)keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE);
  }
  bench_leveldb_commit(s);
}

static void bench_leveldb_read_begin(void *session) {
  bench_leveldb_session *s = session;
  s->iterator = leveldb_create_iterator(s->store->db, s->read_options);
}

static void bench_leveldb_read_end(void *session) {
  bench_leveldb_session *s = session;
  leveldb_iter_destroy(s->iterator);
}

static void bench_leveldb_get(void *session, const uint8_t *key, bench_tally *tally) {
  bench_leveldb_session *s = session;
  char *error = NULL;
  size_t size;
  char *value = leveldb_get(s->store->db, s->read_options, (const char *)key, BENCH_KEY_SIZE, &size, &error);
  bench_leveldb_must(error);
  if (value == NULL) return;
  bench_tally_row(tally, key, BENCH_KEY_SIZE, value, size);
  leveldb_free(value);
}

static void bench_leveldb_row(const leveldb_iterator_t *iterator, bench_tally *tally) {
  size_t key_size, value_size;
  const char *key = leveldb_iter_key(iterator, &key_size);
  const char *value = leveldb_iter_value(iterator, &value_size);
  bench_tally_row(tally, key, key_size, value, value_size);
}

static void bench_leveldb_check(const leveldb_iterator_t *iterator) {
  char *error = NULL;
  leveldb_iter_get_error(iterator, &error);
  bench_leveldb_must(error);
}

static void bench_leveldb_scan(void *session, bool backward, bench_tally *tally) {
  bench_leveldb_session *s = session;
  leveldb_iterator_t *iterator = s->iterator;
  if (backward) {
    for (leveldb_iter_seek_to_last(iterator); leveldb_iter_valid(iterator); leveldb_iter_prev(iterator)) {
      bench_leveldb_row(iterator, tally);
    }
  } else {
    for (leveldb_iter_seek_to_first(iterator); leveldb_iter_valid(iterator); leveldb_iter_next(iterator)) {
      bench_leveldb_row(iterator, tally);
    }
  }
  bench_leveldb_check(iterator);
}

static void bench_leveldb_seek(void *session, const uint8_t *key, size_t n, bench_tally *tally) {
  bench_leveldb_session *s = session;
  leveldb_iter_seek(s->iterator, (const char *)key, BENCH_KEY_SIZE);
  while (leveldb_iter_valid(s->iterator)) {
    bench_leveldb_row(s->iterator, tally);
    if (--n == 0) return;
    leveldb_iter_next(s->iterator);
  }
  bench_leveldb_check(s->iterator);
}

const bench_engine bench_leveldb = {
    .name = "leveldb",
    .title = "LevelDB",
    .version = bench_leveldb_version,
    .describe = bench_leveldb_describe,
    .open = bench_leveldb_open,
    .close = bench_leveldb_close,
    .settle = bench_leveldb_settle,
    .session_open = bench_leveldb_session_open,
    .session_close = bench_leveldb_session_close,
    .put = bench_leveldb_put,
    .write = bench_leveldb_write,
    .erase = bench_leveldb_erase,
    .read_begin = bench_leveldb_read_begin,
    .read_end = bench_leveldb_read_end,
    .get = bench_leveldb_get,
    .scan = bench_leveldb_scan,
    .seek = bench_leveldb_seek,
};
