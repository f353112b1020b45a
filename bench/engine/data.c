#include "bench/engine/data.h"

#include <stdlib.h>

enum { DATA_POOL = 1 << 16 };

/* The bytes between the two ends of values; made once, before any process is forked or thread started. */
static uint8_t data_pool[DATA_POOL + BENCH_VALUE_SIZE];

/* The finaliser of SplitMix64, by Steele, Lea and Flood (2014). */
uint64_t bench_mix(uint64_t number) {
  uint64_t z = number + UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void bench_key_random(uint64_t index, uint8_t *out) {
  uint64_t head = bench_mix(index), tail = bench_mix(~head);
  memcpy(out, &head, 8);
  memcpy(out + 8, &tail, 8);
}

void bench_key_sequential(uint64_t index, uint8_t *out) {
  for (int i = BENCH_KEY_SIZE - 1; i >= 0; i--, index /= 10) out[i] = (uint8_t)('0' + index % 10);
}

static uint64_t data_tag(uint64_t index, uint32_t version) {
  return bench_mix((index << 20) + version);
}

void bench_value(uint64_t index, uint32_t version, uint8_t *out) {
  uint64_t tag = data_tag(index, version);
  memcpy(out, data_pool + tag % DATA_POOL, BENCH_VALUE_SIZE);
  memcpy(out, &tag, 8);
  memcpy(out + BENCH_VALUE_SIZE - 8, &tag, 8);
}

uint64_t bench_expected_sum(uint64_t index, uint32_t version) {
  uint8_t key[BENCH_KEY_SIZE], value[BENCH_VALUE_SIZE];
  bench_key_random(index, key);
  bench_value(index, version, value);
  return bench_row_sum(key, value);
}

static uint64_t data_head(const uint8_t *key) {
  uint64_t head = 0;
  for (int i = 0; i < 8; i++) head = head << 8 | key[i];
  return head;
}

static int data_compare(const void *a, const void *b) {
  uint64_t x = ((const bench_rank *)a)->head, y = ((const bench_rank *)b)->head;
  return x < y ? -1 : x > y;
}

void bench_data_init(bench_data *data, uint64_t rows) {
  for (size_t i = 0; i < sizeof data_pool; i++) data_pool[i] = (uint8_t)(bench_mix(i) >> 24);
  data->rows = rows;
  data->ranks = bench_alloc(rows * sizeof *data->ranks);
  data->all = (bench_tally){rows, 0};
  for (uint64_t i = 0; i < rows; i++) {
    uint8_t key[BENCH_KEY_SIZE];
    bench_key_random(i, key);
    data->ranks[i] = (bench_rank){data_head(key), i};
    data->all.sum += bench_expected_sum(i, 0);
  }
  qsort(data->ranks, rows, sizeof *data->ranks, data_compare);
}

void bench_data_free(bench_data *data) {
  free(data->ranks);
}

void bench_data_seek(const bench_data *data, const uint8_t *key, size_t n, bench_tally *tally) {
  uint64_t head = data_head(key), low = 0, high = data->rows;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (data->ranks[middle].head < head) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; n > 0 && low < data->rows; n--, low++) {
    tally->rows++;
    tally->sum += bench_expected_sum(data->ranks[low].index, 0);
  }
}
