/* bench/engine/data.h: the rows of all workloads, computed from their numbers, so that every engine gets the same
 * ones and every result can be checked. Nothing in a key or value compresses. */
#ifndef BENCH_ENGINE_DATA_H
#define BENCH_ENGINE_DATA_H

#include "bench/engine/engine.h"

/* A bijection of 64-bit numbers that looks random. */
uint64_t bench_mix(uint64_t number);

/* The key of row `index`: 16 bytes that differ from every other row's. Random ones sort in no useful order,
 * sequential ones (decimal digits) by their index. */
void bench_key_random(uint64_t index, uint8_t *out);
void bench_key_sequential(uint64_t index, uint8_t *out);
/* The value of row `index` after it was updated `version` times. */
void bench_value(uint64_t index, uint32_t version, uint8_t *out);

/* What reading row `index` (a random key) adds to a tally. */
uint64_t bench_expected_sum(uint64_t index, uint32_t version);

/* A row of the random data set by the order of its key. */
typedef struct bench_rank {
  uint64_t head; /* first 8 bytes of the key as a big-endian number: unique */
  uint64_t index;
} bench_rank;

/* All rows of the random data set, 0 ... rows - 1, in the order of their keys. */
typedef struct bench_data {
  uint64_t rows;
  bench_rank *ranks;
  bench_tally all; /* of one scan */
} bench_data;

void bench_data_init(bench_data *data, uint64_t rows);
void bench_data_free(bench_data *data);
/* Adds what seek() to a key finds in the data set: n rows from there on. */
void bench_data_seek(const bench_data *data, const uint8_t *key, size_t n, bench_tally *tally);

#endif
