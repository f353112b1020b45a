/* tests/unit/wal/wal_fixture.h: what the tests of the log share: options, small batches with known contents, and
 * reading a whole log back. A batch's payload is a function of its number, so that nothing invented can pass for one.
 * */
#ifndef KEEL_TESTS_WAL_FIXTURE_H
#define KEEL_TESTS_WAL_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/rng.h"
#include "core/os/os.h"
#include "core/os/sim/sim.h"
#include "core/wal/wal.h"
#include "seed.h"

#define WAL_TEST_PATH "/db/test.keel-wal"

static inline kl_wal_options wal_test_options(void) {
  kl_wal_options options = {.segment_size = 64 << 10, .prewrite = true};
  memset(options.database_id, 0x5a, sizeof options.database_id);
  return options;
}

/* Payload of batch `number` with `size` bytes (at least 16). */
static inline void wal_test_fill(uint8_t *payload, size_t size, uint64_t number) {
  kl_rng rng;
  kl_rng_init(&rng, number * 1000003u + size);
  kl_rng_fill(&rng, payload, size);
  memcpy(payload, &number, sizeof number);
  uint64_t s = size;
  memcpy(payload + 8, &s, sizeof s);
}

/* The number of the batch, or UINT64_MAX when the payload is not what wal_test_fill makes. */
static inline uint64_t wal_test_number(kl_slice payload) {
  uint64_t number, size;
  if (payload.size < 16) return UINT64_MAX;
  memcpy(&number, payload.data, sizeof number);
  memcpy(&size, (const uint8_t *)payload.data + 8, sizeof size);
  if (size != payload.size) return UINT64_MAX;
  uint8_t *expected = malloc(payload.size);
  if (expected == NULL) return UINT64_MAX;
  wal_test_fill(expected, payload.size, number);
  bool equal = memcmp(expected, payload.data, payload.size) == 0;
  free(expected);
  return equal ? number : UINT64_MAX;
}

static inline kl_status wal_test_append(kl_wal *wal, uint64_t number, size_t size, bool deferred, kl_lsn *out_end,
                                        kl_error *err) {
  uint8_t *payload = malloc(size);
  if (payload == NULL) return KL_E_NO_MEMORY;
  wal_test_fill(payload, size, number);
  /* In pieces, as a group of commits would come. */
  kl_slice parts[3] = {kl_slice_make(payload, 5), kl_slice_make(payload + 5, size / 2),
                       kl_slice_make(payload + 5 + size / 2, size - 5 - size / 2)};
  kl_status status = deferred ? kl_wal_append_deferred(wal, parts, 3, number, NULL, out_end, err)
                              : kl_wal_append(wal, parts, 3, number, NULL, out_end, err);
  free(payload);
  return status;
}

/* Reads all batches from `from` on and checks that they are `first`, `first` + 1, ... Returns the status that ended the
 * reading; *out_next: the number after the last batch, *out_end: where the log ended. UINT64_MAX in *out_next: wrong
 * data. */
static inline kl_status wal_test_read(kl_wal *wal, kl_lsn from, uint64_t first, uint64_t *out_next, kl_lsn *out_end,
                                      kl_error *err) {
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  *out_next = first;
  *out_end = from;
  kl_status status = kl_wal_reader_new(wal, from, &reader, err);
  if (status != KL_OK) return status;
  while ((status = kl_wal_reader_next(reader, &batch, err)) == KL_OK) {
    uint64_t number = wal_test_number(batch.payload);
    if (number != *out_next || batch.ts != number) {
      *out_next = UINT64_MAX;
      break;
    }
    ++*out_next;
  }
  *out_end = kl_wal_reader_position(reader);
  kl_wal_reader_free(reader);
  return status;
}

#endif
