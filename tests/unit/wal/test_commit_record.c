/* tests/unit/wal/test_commit_record.c: the codec of commits: round trips, and every damaged byte is answered. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/rng.h"
#include "core/wal/commit_record.h"
#include "seed.h"

enum { RECORD_CAPACITY = 1 << 16 };

/* Appends a commit of `ops` random ops to out; returns its size. */
static size_t record_make(kl_rng *rng, uint64_t ts, uint64_t ops, uint8_t *out) {
  uint8_t key[64], value[128];
  size_t at = KL_COMMIT_HEADER_SIZE;
  for (uint64_t i = 0; i < ops; i++) {
    kl_op op = {.keyspace = (uint32_t)kl_rng_next(rng), .kind = kl_rng_below(rng, 3) == 0 ? KL_OP_DELETE : KL_OP_PUT};
    kl_rng_fill(rng, key, sizeof key);
    kl_rng_fill(rng, value, sizeof value);
    op.key = kl_slice_make(key, kl_rng_below(rng, sizeof key + 1));
    op.value = kl_slice_make(value, op.kind == KL_OP_PUT ? kl_rng_below(rng, sizeof value + 1) : 0);
    size_t size = kl_op_encode(&op, out + at);
    assert_int_equal(size, kl_op_encoded_size(&op));
    at += size;
  }
  kl_commit_header_encode(out, ts, ops, at - KL_COMMIT_HEADER_SIZE);
  return at;
}

/* Reads everything; the status that ended it. */
static kl_status record_read_all(kl_slice payload, uint64_t *out_ops) {
  kl_commit_reader reader;
  uint64_t ts, ops;
  kl_op op;
  kl_status status;
  kl_error err = {0};
  *out_ops = 0;
  kl_commit_reader_init(&reader, payload);
  while ((status = kl_commit_reader_next_commit(&reader, &ts, &ops, &err)) == KL_OK) {
    while ((status = kl_commit_reader_next_op(&reader, &op, &err)) == KL_OK) {
      const uint8_t *begin = payload.data, *end = begin + payload.size, *key = op.key.data, *value = op.value.data;
      assert_true(key >= begin && key + op.key.size <= end);
      assert_true(value >= begin && value + op.value.size <= end);
      ++*out_ops;
    }
    if (status != KL_E_NOT_FOUND) break;
  }
  if (status != KL_E_NOT_FOUND) {
    assert_int_equal(err.code, status);
    assert_true(strlen(err.message) > 0);
  }
  return status;
}

static void commits_round_trip(void **state) {
  (void)state;
  uint64_t seed = test_seed(7);
  uint8_t *buffer = calloc(1, RECORD_CAPACITY);
  for (uint64_t round = 0; round < 200; round++) {
    kl_rng rng, again;
    kl_rng_init(&rng, seed + round);
    kl_rng_init(&again, seed + round);
    size_t size = 0;
    uint64_t commits = kl_rng_below(&rng, 6), counts[6];
    for (uint64_t c = 0; c < commits; c++) {
      counts[c] = kl_rng_below(&rng, 20);
      size += record_make(&rng, c + 1, counts[c], buffer + size);
    }
    kl_commit_reader reader;
    kl_commit_reader_init(&reader, kl_slice_make(buffer, size));
    (void)kl_rng_below(&again, 6);
    for (uint64_t c = 0; c < commits; c++) {
      uint64_t ts = 0, ops = 0;
      uint8_t key[64], value[128];
      assert_int_equal(kl_commit_reader_next_commit(&reader, &ts, &ops, NULL), KL_OK);
      assert_int_equal(kl_rng_below(&again, 20), counts[c]);
      assert_int_equal(ts, c + 1);
      assert_int_equal(ops, counts[c]);
      for (uint64_t i = 0; i < ops; i++) {
        kl_op op;
        assert_int_equal(kl_commit_reader_next_op(&reader, &op, NULL), KL_OK);
        assert_int_equal(op.keyspace, (uint32_t)kl_rng_next(&again));
        assert_int_equal(op.kind, kl_rng_below(&again, 3) == 0 ? KL_OP_DELETE : KL_OP_PUT);
        kl_rng_fill(&again, key, sizeof key);
        kl_rng_fill(&again, value, sizeof value);
        assert_true(kl_slice_equal(op.key, kl_slice_make(key, kl_rng_below(&again, sizeof key + 1))));
        size_t value_size = op.kind == KL_OP_PUT ? kl_rng_below(&again, sizeof value + 1) : 0;
        assert_true(kl_slice_equal(op.value, kl_slice_make(value, value_size)));
      }
      kl_op op;
      assert_int_equal(kl_commit_reader_next_op(&reader, &op, NULL), KL_E_NOT_FOUND);
    }
    uint64_t ts, ops;
    assert_int_equal(kl_commit_reader_next_commit(&reader, &ts, &ops, NULL), KL_E_NOT_FOUND);
  }
  free(buffer);
}

static void unread_ops_are_skipped(void **state) {
  (void)state;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(8));
  uint8_t *buffer = calloc(1, RECORD_CAPACITY);
  size_t size = record_make(&rng, 1, 10, buffer);
  size += record_make(&rng, 2, 3, buffer + size);
  kl_commit_reader reader;
  uint64_t ts = 0, ops = 0;
  kl_op op;
  kl_commit_reader_init(&reader, kl_slice_make(buffer, size));
  assert_int_equal(kl_commit_reader_next_commit(&reader, &ts, &ops, NULL), KL_OK);
  assert_int_equal(kl_commit_reader_next_op(&reader, &op, NULL), KL_OK);
  assert_int_equal(kl_commit_reader_next_commit(&reader, &ts, &ops, NULL), KL_OK);
  assert_int_equal(ts, 2);
  assert_int_equal(ops, 3);
  free(buffer);
}

/* Each truncation ends with an error, never with a read outside (the sanitizers watch: the copy is exact). */
static void truncations_are_refused(void **state) {
  (void)state;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(9));
  uint8_t *buffer = calloc(1, RECORD_CAPACITY);
  size_t size = record_make(&rng, 1, 5, buffer);
  for (size_t cut = 1; cut < size; cut++) {
    uint8_t *copy = malloc(cut);
    assert_non_null(copy);
    memcpy(copy, buffer, cut);
    uint64_t ops;
    assert_int_equal(record_read_all(kl_slice_make(copy, cut), &ops), KL_E_CORRUPT);
    free(copy);
  }
  free(buffer);
}

/* The checksum of the batch is what finds flipped bits; the decoder must only stay inside the payload and say why. */
static void damage_stays_inside(void **state) {
  (void)state;
  uint64_t seed = test_seed(10);
  kl_rng rng;
  kl_rng_init(&rng, seed);
  uint8_t *buffer = calloc(1, RECORD_CAPACITY);
  size_t size = record_make(&rng, 1, 8, buffer);
  uint64_t refused = 0;
  for (size_t bit = 0; bit < size * 8; bit++) {
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, buffer, size);
    copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    uint64_t ops;
    kl_status status = record_read_all(kl_slice_make(copy, size), &ops);
    assert_true(status == KL_E_NOT_FOUND || status == KL_E_CORRUPT || status == KL_E_VERSION);
    refused += status != KL_E_NOT_FOUND;
    free(copy);
  }
  assert_true(refused > 0);
  free(buffer);
}

static void unknown_kinds_are_of_a_newer_version(void **state) {
  (void)state;
  uint8_t buffer[64];
  kl_op op = {.keyspace = 1, .kind = KL_OP_PUT, .key = kl_slice_make("k", 1), .value = kl_slice_make("v", 1)};
  size_t size = KL_COMMIT_HEADER_SIZE + kl_op_encode(&op, buffer + KL_COMMIT_HEADER_SIZE);
  kl_commit_header_encode(buffer, 5, 1, size - KL_COMMIT_HEADER_SIZE);
  for (unsigned kind = 0; kind < 256; kind++) {
    uint64_t ops;
    buffer[KL_COMMIT_HEADER_SIZE] = (uint8_t)kind;
    kl_status status = record_read_all(kl_slice_make(buffer, size), &ops);
    bool damage = kind == KL_OP_DELETE || kind == KL_OP_RUN; /* a delete with a value, a run with a key */
    kl_status expected = kind == KL_OP_PUT ? KL_E_NOT_FOUND : damage ? KL_E_CORRUPT : KL_E_VERSION;
    assert_int_equal(status, expected);
  }
  buffer[KL_COMMIT_HEADER_SIZE] = KL_OP_PUT;
  buffer[KL_COMMIT_HEADER_SIZE + 1] = 1; /* flags */
  uint64_t ops;
  assert_int_equal(record_read_all(kl_slice_make(buffer, size), &ops), KL_E_VERSION);
}

static void runs_have_parts(void **state) {
  (void)state;
  uint8_t buffer[128], parts[3 * KL_OP_RUN_PART];
  const kl_op_run_part given[3] = {{7, 8}, {UINT32_MAX, 0}, {1, 2}};
  for (size_t i = 0; i < 3; i++) kl_op_run_part_encode(&given[i], parts + i * KL_OP_RUN_PART);
  for (size_t bytes = 0; bytes <= sizeof parts; bytes++) {
    kl_op op = {.keyspace = 5, .kind = KL_OP_RUN, .value = kl_slice_make(parts, bytes)};
    size_t size = KL_COMMIT_HEADER_SIZE + kl_op_encode(&op, buffer + KL_COMMIT_HEADER_SIZE);
    kl_commit_header_encode(buffer, 5, 1, size - KL_COMMIT_HEADER_SIZE);
    kl_commit_reader reader;
    uint64_t ts, ops;
    kl_op got;
    kl_error err;
    kl_commit_reader_init(&reader, kl_slice_make(buffer, size));
    assert_int_equal(kl_commit_reader_next_commit(&reader, &ts, &ops, &err), KL_OK);
    bool whole = bytes != 0 && bytes % KL_OP_RUN_PART == 0;
    assert_int_equal(kl_commit_reader_next_op(&reader, &got, &err), whole ? KL_OK : KL_E_CORRUPT);
    for (size_t i = 0; whole && i < bytes / KL_OP_RUN_PART; i++) {
      kl_op_run_part part;
      kl_op_run_part_decode(got.value, i, &part);
      assert_int_equal(part.puts, given[i].puts);
      assert_int_equal(part.deletes, given[i].deletes);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_have_parts),        cmocka_unit_test(commits_round_trip),
      cmocka_unit_test(unread_ops_are_skipped), cmocka_unit_test(truncations_are_refused),
      cmocka_unit_test(damage_stays_inside),    cmocka_unit_test(unknown_kinds_are_of_a_newer_version),
  };
  return cmocka_run_group_tests_name("commit record", tests, NULL, NULL);
}
