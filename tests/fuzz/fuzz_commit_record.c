/* Any bytes as the payload of a log batch: the codec of commit records reads them as recovery would.
 *
 * Whatever it accepts must lie inside the input, obey the limits of kl_op, say how much it claims, and encode to the very
 * bytes that it was read from (there is one encoding of everything). */
#include <string.h>

#include "core/wal/commit_record.h"
#include "fuzz.h"

static const uint8_t *inside(kl_slice slice, const uint8_t *data, size_t size) {
  const uint8_t *p = slice.data;
  if (slice.size == 0) return p;
  FUZZ_CHECK(p >= data && p <= data + size && slice.size <= (size_t)(data + size - p));
  return p;
}

/* Reads one op at `at` and compares it with its own encoding; returns the bytes it took. */
static size_t check_op(const kl_op *op, const uint8_t *at, const uint8_t *data, size_t size) {
  inside(op->key, data, size);
  inside(op->value, data, size);
  FUZZ_CHECK(op->kind == KL_OP_PUT || op->kind == KL_OP_DELETE || op->kind == KL_OP_RUN);
  FUZZ_CHECK(op->key.size <= KL_OP_KEY_MAX);
  FUZZ_CHECK(op->kind != KL_OP_DELETE || op->value.size == 0);
  if (op->kind == KL_OP_RUN) {
    FUZZ_CHECK(op->key.size == 0 && op->value.size != 0 && op->value.size % KL_OP_RUN_PART == 0);
    for (size_t i = 0; i < op->value.size / KL_OP_RUN_PART; i++) {
      kl_op_run_part part;
      uint8_t bytes[KL_OP_RUN_PART];
      kl_op_run_part_decode(op->value, i, &part);
      kl_op_run_part_encode(&part, bytes);
      FUZZ_CHECK(memcmp(bytes, (const uint8_t *)op->value.data + i * sizeof bytes, sizeof bytes) == 0);
    }
  }
  size_t length = kl_op_encoded_size(op);
  FUZZ_CHECK(length <= (size_t)(data + size - at));
  uint8_t *again = malloc(length);
  FUZZ_CHECK(again != NULL);
  FUZZ_CHECK(kl_op_encode(op, again) == length);
  FUZZ_CHECK(memcmp(again, at, length) == 0);
  free(again);
  return length;
}

static void check_error(kl_status status, const kl_error *err) {
  FUZZ_CHECK(status == KL_E_CORRUPT || status == KL_E_VERSION);
  FUZZ_CHECK(err->code == status && err->message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kl_commit_reader reader;
  kl_commit_reader_init(&reader, kl_slice_make(data, size));
  const uint8_t *at = data;
  for (;;) {
    kl_error err = {0};
    uint64_t ts = 0;
    uint64_t ops = 0;
    kl_status status = kl_commit_reader_next_commit(&reader, &ts, &ops, &err);
    if (status == KL_E_NOT_FOUND) {
      FUZZ_CHECK(at == data + size); /* the end is the end of the input */
      return 0;
    }
    if (status != KL_OK) {
      check_error(status, &err);
      return 0;
    }
    FUZZ_CHECK(ts > 0);
    const uint8_t *header = at;
    at += KL_COMMIT_HEADER_SIZE;
    const uint8_t *first = at;
    kl_op op;
    uint64_t seen = 0;
    while ((status = kl_commit_reader_next_op(&reader, &op, &err)) == KL_OK) {
      at += check_op(&op, at, data, size);
      seen++;
      FUZZ_CHECK(seen <= ops);
    }
    if (status != KL_E_NOT_FOUND) {
      check_error(status, &err);
      return 0;
    }
    FUZZ_CHECK(seen == ops);
    uint8_t again[KL_COMMIT_HEADER_SIZE];
    kl_commit_header_encode(again, ts, ops, (uint64_t)(at - first));
    FUZZ_CHECK(memcmp(again, header, sizeof again) == 0);
  }
}
