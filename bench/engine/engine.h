/* bench/engine/engine.h: what the harness asks of an engine, and how an adapter answers.
 *
 * An adapter is one file with one `const bench_engine bench_<name>`. It does what a careful user of that engine would
 * write, with the settings that the engine's own documentation recommends, and says in describe() what they are.
 *
 * Rows have keys of BENCH_KEY_SIZE and values of BENCH_VALUE_SIZE bytes; rows of one call lie packed one after the
 * other. An adapter never returns an error: it ends its process with bench_die(), and the harness, which runs each
 * engine in a process of its own, reports that and fails. What an adapter reads it hands to bench_tally_row(), which
 * checks the sizes and looks at both ends of the value, so that no engine gets away with not touching it. */
#ifndef BENCH_ENGINE_ENGINE_H
#define BENCH_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BENCH_KEY_SIZE = 16, BENCH_VALUE_SIZE = 100, BENCH_ROW_SIZE = BENCH_KEY_SIZE + BENCH_VALUE_SIZE };

/* What a commit that returned has survived. */
typedef enum bench_durability {
  BENCH_NOSYNC,  /* whatever the engine's fastest way with a log (or copy-on-write) gives; nothing is promised */
  BENCH_PROCESS, /* a crash of the program, not of the machine */
  BENCH_DURABLE  /* a crash of the machine */
} bench_durability;

typedef struct bench_settings {
  const char *dir; /* a folder of its own, which exists */
  bench_durability durability;
  uint64_t cache_bytes; /* memory for cached data, where the engine has such a setting */
  uint64_t data_bytes;  /* keys and values that will be stored at most */
} bench_settings;

/* Rows that are written by one call: one transaction (or atomic batch). */
typedef struct bench_rows {
  const uint8_t *keys;
  const uint8_t *values;
  size_t count;
  bool sorted; /* ascending, and all after every key that is stored: the engine may use its append path */
} bench_rows;

/* What was read: how many rows, and a sum over them that does not depend on their order. */
typedef struct bench_tally {
  uint64_t rows;
  uint64_t sum;
} bench_tally;

/* Gives the next rows of a bulk load, in ascending order; false at the end. */
typedef bool bench_source(void *context, bench_rows *out_rows);

typedef struct bench_engine {
  const char *name;  /* for --engines */
  const char *title; /* for the report */
  /* The version of the library that runs, and the settings used for a durability; text into a buffer. */
  void (*version)(char *text, size_t size);
  void (*describe)(bench_durability durability, char *text, size_t size);

  /* Opens the store in settings->dir, and makes it when there is none. */
  void *(*open)(const bench_settings *settings);
  void (*close)(void *store);
  /* Returns when what the engine does in the background after writes is done: compaction, checkpoint. */
  void (*settle)(void *store);

  /* What one thread uses. */
  void *(*session_open)(void *store);
  void (*session_close)(void *session);

  void (*put)(void *session, const uint8_t *key, const uint8_t *value); /* one transaction */
  void (*write)(void *session, const bench_rows *rows);                 /* one transaction */
  void (*erase)(void *session, const uint8_t *keys, size_t count);      /* one transaction; the keys are there */
  /* Fills an empty store from sorted rows in the fastest way that the engine has; NULL when that is write() of 1000
   * rows at a time. */
  void (*load)(void *session, bench_source *source, void *context);

  /* One snapshot for all reads between these two, where the engine has snapshots. */
  void (*read_begin)(void *session);
  void (*read_end)(void *session);
  /* Adds the row to the tally when the key is there. */
  void (*get)(void *session, const uint8_t *key, bench_tally *tally);
  /* The same for many keys in one call; NULL when the engine has no such call. */
  void (*get_many)(void *session, const uint8_t *keys, size_t count, bench_tally *tally);
  void (*scan)(void *session, bool backward, bench_tally *tally); /* all rows, in order */
  /* The first n rows whose keys are not below the key, or as many as there are. */
  void (*seek)(void *session, const uint8_t *key, size_t n, bench_tally *tally);
} bench_engine;

extern const bench_engine bench_keel;
extern const bench_engine bench_lmdb;
extern const bench_engine bench_rocksdb;
extern const bench_engine bench_sqlite;
extern const bench_engine bench_wiredtiger;
extern const bench_engine bench_leveldb;

/* Prints the message on stderr and ends the process with status 1. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* malloc that does not fail. */
void *bench_alloc(size_t size);

/* Writes DIR/NAME into a buffer of BENCH_PATH_SIZE bytes. */
enum { BENCH_PATH_SIZE = 4096 };
void bench_path(char *buffer, const char *dir, const char *name);

static inline uint64_t bench_load64(const void *bytes) {
  uint64_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}

/* What one row adds to a tally: the whole key and both ends of the value, so mixed that a value under a wrong key
 * shows. */
static inline uint64_t bench_row_sum(const void *key, const void *value) {
  const uint8_t *k = key, *v = value;
  return ((bench_load64(k) ^ bench_load64(k + 8) * 3) | 1) *
         (bench_load64(v) + bench_load64(v + BENCH_VALUE_SIZE - 8) * 5);
}

static inline void bench_tally_row(bench_tally *tally, const void *key, size_t key_size, const void *value,
                                   size_t value_size) {
  if (key_size != BENCH_KEY_SIZE || value_size != BENCH_VALUE_SIZE) {
    bench_die("a row came back with %zu bytes of key and %zu of value", key_size, value_size);
  }
  tally->rows++;
  tally->sum += bench_row_sum(key, value);
}

#endif
