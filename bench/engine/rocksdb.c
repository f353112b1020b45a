/* bench/engine/rocksdb.c: RocksDB through its C interface, with what its wiki recommends to every user ("Setup
 * Options and Basic Tuning"): bloom filters, a block cache that also holds index and filter blocks, 16 KiB blocks,
 * dynamic level sizes, background threads. The write-ahead log is always on. */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/engine/engine.h"

enum { BENCH_ROCKSDB_JOBS = 6, BENCH_ROCKSDB_BLOCK = 16 * 1024, BENCH_ROCKSDB_BLOOM = 10, BENCH_ROCKSDB_MANY = 1000 };

typedef struct bench_rocksdb_store {
  rocksdb_t *db;
  rocksdb_column_family_handle_t *family;
  rocksdb_options_t *options;
  rocksdb_cache_t *cache;
  rocksdb_writeoptions_t *write_options;
  char dir[BENCH_PATH_SIZE];
} bench_rocksdb_store;

typedef struct bench_rocksdb_session {
  bench_rocksdb_store *store;
  rocksdb_readoptions_t *read_options;
  rocksdb_iterator_t *iterator;
  rocksdb_writebatch_t *batch;
} bench_rocksdb_session;

static void bench_rocksdb_must(const char *error) {
  if (error != NULL) bench_die("RocksDB: %s", error);
}

static void bench_rocksdb_version(char *text, size_t size) {
  (void)snprintf(text, size, "%s", BENCH_ROCKSDB_VERSION);
}

static void bench_rocksdb_describe(bench_durability durability, char *text, size_t size) {
  (void)snprintf(
      text, size,
      "WAL on, sync %s; bloom filter of %d bits a key, %d KiB blocks, block cache with index and filter blocks "
      "(level 0 pinned), format_version 5, level_compaction_dynamic_level_bytes, max_background_jobs %d, "
      "bytes_per_sync 1 MiB, no compression (the rows do not compress)",
      durability == BENCH_DURABLE ? "on" : "off", BENCH_ROCKSDB_BLOOM, BENCH_ROCKSDB_BLOCK / 1024, BENCH_ROCKSDB_JOBS);
}

static void *bench_rocksdb_open(const bench_settings *settings) {
  bench_rocksdb_store *store = bench_alloc(sizeof *store);
  char *error = NULL;
  const char *name = "default";
  rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
  (void)snprintf(store->dir, sizeof store->dir, "%s", settings->dir);
  store->options = rocksdb_options_create();
  store->cache = rocksdb_cache_create_lru((size_t)settings->cache_bytes);
  rocksdb_block_based_options_set_block_cache(table, store->cache);
  rocksdb_block_based_options_set_block_size(table, BENCH_ROCKSDB_BLOCK);
  rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(BENCH_ROCKSDB_BLOOM));
  rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
  rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
  rocksdb_block_based_options_set_format_version(table, 5);
  rocksdb_options_set_block_based_table_factory(store->options, table);
  rocksdb_block_based_options_destroy(table);
  rocksdb_options_set_create_if_missing(store->options, 1);
  rocksdb_options_set_level_compaction_dynamic_level_bytes(store->options, 1);
  rocksdb_options_set_max_background_jobs(store->options, BENCH_ROCKSDB_JOBS);
  rocksdb_options_set_bytes_per_sync(store->options, 1 << 20);
  rocksdb_options_set_compression(store->options, rocksdb_no_compression);
  const rocksdb_options_t *family_options = store->options;
  store->db =
      rocksdb_open_column_families(store->options, settings->dir, 1, &name, &family_options, &store->family, &error);
  bench_rocksdb_must(error);
  store->write_options = rocksdb_writeoptions_create();
  rocksdb_writeoptions_set_sync(store->write_options, settings->durability == BENCH_DURABLE);
  return store;
}

static void bench_rocksdb_close(void *context) {
  bench_rocksdb_store *store = context;
  rocksdb_column_family_handle_destroy(store->family);
  rocksdb_close(store->db);
  rocksdb_writeoptions_destroy(store->write_options);
  rocksdb_options_destroy(store->options);
  rocksdb_cache_destroy(store->cache);
  free(store);
}

/* Compaction of everything, as its benchmarks do before they read. */
static void bench_rocksdb_settle(void *context) {
  bench_rocksdb_store *store = context;
  rocksdb_compact_range_cf(store->db, store->family, NULL, 0, NULL, 0);
}

static void *bench_rocksdb_session_open(void *store) {
  bench_rocksdb_session *s = bench_alloc(sizeof *s);
  *s = (bench_rocksdb_session){.store = store};
  s->read_options = rocksdb_readoptions_create();
  s->batch = rocksdb_writebatch_create();
  return s;
}

static void bench_rocksdb_session_close(void *session) {
  bench_rocksdb_session *s = session;
  rocksdb_writebatch_destroy(s->batch);
  rocksdb_readoptions_destroy(s->read_options);
  free(s);
}

static void bench_rocksdb_put(void *session, const uint8_t *key, const uint8_t *value) {
  bench_rocksdb_session *s = session;
  char *error = NULL;
  rocksdb_put_cf(s->store->db, s->store->write_options, s->store->family, (const char *)key, BENCH_KEY_SIZE,
                 (const char *)value, BENCH_VALUE_SIZE, &error);
  bench_rocksdb_must(error);
}

static void bench_rocksdb_commit(bench_rocksdb_session *s) {
  char *error = NULL;
  rocksdb_write(s->store->db, s->store->write_options, s->batch, &error);
  bench_rocksdb_must(error);
  rocksdb_writebatch_clear(s->batch);
}

static void bench_rocksdb_write(void *session, const bench_rows *rows) {
  bench_rocksdb_session *s = session;
  for (size_t i = 0; i < rows->count; i++) {
    rocksdb_writebatch_put(s->batch, (const char *)rows->keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE,
                           (const char *)rows->values + i * BENCH_VALUE_SIZE, BENCH_VALUE_SIZE);
  }
  bench_rocksdb_commit(s);
}

static void bench_rocksdb_erase(void *session, const uint8_t *keys, size_t count) {
  bench_rocksdb_session *s = session;
  for (size_t i = 0; i < count; i++) {
    rocksdb_writebatch_delete(s->batch, (const char *)keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE);
  }
  bench_rocksdb_commit(s);
}

/* A table file written outside of the database, and moved into it. */
static void bench_rocksdb_load(void *session, bench_source *source, void *context) {
  bench_rocksdb_session *s = session;
  bench_rows rows;
  char *error = NULL, path[BENCH_PATH_SIZE];
  const char *files[1] = {path};
  rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
  rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(environment, s->store->options);
  rocksdb_ingestexternalfileoptions_t *ingest = rocksdb_ingestexternalfileoptions_create();
  bench_path(path, s->store->dir, "load.sst");
  rocksdb_sstfilewriter_open(writer, path, &error);
  bench_rocksdb_must(error);
  while (source(context, &rows)) {
    for (size_t i = 0; i < rows.count; i++) {
      rocksdb_sstfilewriter_put(writer, (const char *)rows.keys + i * BENCH_KEY_SIZE, BENCH_KEY_SIZE,
                                (const char *)rows.values + i * BENCH_VALUE_SIZE, BENCH_VALUE_SIZE, &error);
      bench_rocksdb_must(error);
    }
  }
  rocksdb_sstfilewriter_finish(writer, &error);
  bench_rocksdb_must(error);
  rocksdb_ingestexternalfileoptions_set_move_files(ingest, 1);
  rocksdb_ingest_external_file_cf(s->store->db, s->store->family, files, 1, ingest, &error);
  bench_rocksdb_must(error);
  rocksdb_ingestexternalfileoptions_destroy(ingest);
  rocksdb_sstfilewriter_destroy(writer);
  rocksdb_envoptions_destroy(environment);
}

static void bench_rocksdb_read_begin(void *session) {
  bench_rocksdb_session *s = session;
  s->iterator = rocksdb_create_iterator_cf(s->store->db, s->read_options, s->store->family);
}

static void bench_rocksdb_read_end(void *session) {
  bench_rocksdb_session *s = session;
  rocksdb_iter_destroy(s->iterator);
}

static void bench_rocksdb_tally(bench_tally *tally, const uint8_t *key, rocksdb_pinnableslice_t *slice) {
  size_t size;
  const char *value;
  if (slice == NULL) return;
  value = rocksdb_pinnableslice_value(slice, &size);
  bench_tally_row(tally, key, BENCH_KEY_SIZE, value, size);
  rocksdb_pinnableslice_destroy(slice);
}

static void bench_rocksdb_get(void *session, const uint8_t *key, bench_tally *tally) {
  bench_rocksdb_session *s = session;
  char *error = NULL;
  rocksdb_pinnableslice_t *slice =
      rocksdb_get_pinned_cf(s->store->db, s->read_options, s->store->family, (const char *)key, BENCH_KEY_SIZE, &error);
  bench_rocksdb_must(error);
  bench_rocksdb_tally(tally, key, slice);
}

static void bench_rocksdb_get_many(void *session, const uint8_t *keys, size_t count, bench_tally *tally) {
  bench_rocksdb_session *s = session;
  const char *list[BENCH_ROCKSDB_MANY] = {NULL};
  char *errors[BENCH_ROCKSDB_MANY];
  size_t sizes[BENCH_ROCKSDB_MANY] = {0};
  rocksdb_pinnableslice_t *slices[BENCH_ROCKSDB_MANY];
  if (count > BENCH_ROCKSDB_MANY) bench_die("RocksDB: more keys in one call than the adapter has room for");
  for (size_t i = 0; i < count; i++) {
    list[i] = (const char *)keys + i * BENCH_KEY_SIZE;
    sizes[i] = BENCH_KEY_SIZE;
  }
  rocksdb_batched_multi_get_cf(s->store->db, s->read_options, s->store->family, count, list, sizes, slices, errors, 0);
  for (size_t i = 0; i < count; i++) {
    bench_rocksdb_must(errors[i]);
    bench_rocksdb_tally(tally, keys + i * BENCH_KEY_SIZE, slices[i]);
  }
}

static void bench_rocksdb_row(const rocksdb_iterator_t *iterator, bench_tally *tally) {
  size_t key_size, value_size;
  const char *key = rocksdb_iter_key(iterator, &key_size);
  const char *value = rocksdb_iter_value(iterator, &value_size);
  bench_tally_row(tally, key, key_size, value, value_size);
}

static void bench_rocksdb_check(const rocksdb_iterator_t *iterator) {
  char *error = NULL;
  rocksdb_iter_get_error(iterator, &error);
  bench_rocksdb_must(error);
}

static void bench_rocksdb_scan(void *session, bool backward, bench_tally *tally) {
  bench_rocksdb_session *s = session;
  rocksdb_iterator_t *iterator = s->iterator;
  if (backward) {
    for (rocksdb_iter_seek_to_last(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_prev(iterator)) {
      bench_rocksdb_row(iterator, tally);
    }
  } else {
    for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
      bench_rocksdb_row(iterator, tally);
    }
  }
  bench_rocksdb_check(iterator);
}

static void bench_rocksdb_seek(void *session, const uint8_t *key, size_t n, bench_tally *tally) {
  bench_rocksdb_session *s = session;
  rocksdb_iter_seek(s->iterator, (const char *)key, BENCH_KEY_SIZE);
  while (rocksdb_iter_valid(s->iterator)) {
    bench_rocksdb_row(s->iterator, tally);
    if (--n == 0) return;
    rocksdb_iter_next(s->iterator);
  }
  bench_rocksdb_check(s->iterator);
}

const bench_engine bench_rocksdb = {
    .name = "rocksdb",
    .title = "RocksDB",
    .version = bench_rocksdb_version,
    .describe = bench_rocksdb_describe,
    .open = bench_rocksdb_open,
    .close = bench_rocksdb_close,
    .settle = bench_rocksdb_settle,
    .session_open = bench_rocksdb_session_open,
    .session_close = bench_rocksdb_session_close,
    .put = bench_rocksdb_put,
    .write = bench_rocksdb_write,
    .erase = bench_rocksdb_erase,
    .load = bench_rocksdb_load,
    .read_begin = bench_rocksdb_read_begin,
    .read_end = bench_rocksdb_read_end,
    .get = bench_rocksdb_get,
    .get_many = bench_rocksdb_get_many,
    .scan = bench_rocksdb_scan,
    .seek = bench_rocksdb_seek,
};
