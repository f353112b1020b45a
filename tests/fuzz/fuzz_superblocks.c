/* Any bytes as the head of a database file: opening it either fails, with the file as it was, or gives a store that works.
 *
 * Input: one byte whose bits say which of the superblocks get a right checksum, so that the fuzzer reaches what lies behind
 * it; one byte for the size of the file (0: whole); then the first bytes of each superblock in turn. */
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/endian.h"
#include "core/os/sim/sim.h"
#include "core/store/store.h"
#include "fuzz.h"

enum { FILE_SIZE = KL_SUPERBLOCKS * KL_SUPERBLOCK_SIZE, GIVEN = 160, CHECKSUM = KL_SUPERBLOCK_SIZE - 4 };
static const char path[] = "/data/fuzzed";

static size_t make_file(const uint8_t *data, size_t size, uint8_t file[FILE_SIZE]) {
  uint8_t seal = size > 0 ? data[0] : 0;
  size_t length = size > 1 && data[1] != 0 ? (size_t)data[1] * 64 : FILE_SIZE;
  size_t at = 2;
  memset(file, 0, FILE_SIZE);
  for (size_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    uint8_t *block = file + slot * KL_SUPERBLOCK_SIZE;
    size_t given = at >= size ? 0 : size - at < GIVEN ? size - at : GIVEN;
    if (given != 0) memcpy(block, data + at, given);
    at += given;
    if ((seal >> slot & 1) != 0) kl_store_u32_le(block + CHECKSUM, kl_crc32c(0, block, CHECKSUM));
  }
  return length;
}

static kl_status open_store(kl_sim *sim, bool read_only, kl_store **out, kl_error *err) {
  kl_store_options options = {.read_only = read_only};
  kl_status status = kl_store_open(kl_sim_os(sim), path, &options, out, err);
  if (status != KL_OK) {
    FUZZ_CHECK(status == KL_E_NO_FILE || status == KL_E_FORMAT || status == KL_E_VERSION || status == KL_E_CORRUPT);
    FUZZ_CHECK(err->code == status && strstr(err->message, path) != NULL);
  }
  return status;
}

static void check_unchanged(kl_sim *sim, const uint8_t *file, size_t length) {
  uint8_t now[FILE_SIZE + 1];
  size_t got = 0;
  FUZZ_CHECK(kl_sim_peek(sim, path, 0, now, sizeof now, &got) == KL_OK);
  FUZZ_CHECK(got == length && memcmp(now, file, length) == 0);
}

/* What was accepted must take another checkpoint, and must be found again with it. */
static void check_works(kl_sim *sim, kl_store *store) {
  kl_error err = {0};
  kl_checkpoint before;
  kl_store_checkpoint(store, &before);
  uint32_t page_size = kl_store_page_size(store);
  FUZZ_CHECK(before.sequence != 0);
  FUZZ_CHECK(page_size >= KL_PAGE_SIZE_MIN && page_size <= KL_PAGE_SIZE_MAX && (page_size & (page_size - 1)) == 0);
  kl_checkpoint next = before;
  next.ts = before.ts / 2 + 1;
  next.log_needed = !before.log_needed;
  /* The last numbers there are cannot be followed (a change of log_needed takes two); no database gets there. */
  bool can_go_on = before.sequence < INT64_MAX - 16;
  kl_status status = can_go_on ? kl_store_publish(store, &next, &err) : KL_OK;
  FUZZ_CHECK(status == KL_OK);
  kl_store_close(store);
  FUZZ_CHECK(open_store(sim, false, &store, &err) == KL_OK);
  kl_checkpoint after;
  kl_store_checkpoint(store, &after);
  /* It was published anew; over a damaged one, when there was something else than a superblock in the next slot. */
  uint64_t expected = (can_go_on ? next.sequence : before.sequence) + (kl_store_fell_back(store) ? 5 : 1);
  FUZZ_CHECK(after.sequence == expected || !can_go_on);
  FUZZ_CHECK(can_go_on ? next.sequence > before.sequence : true);
  FUZZ_CHECK(after.ts == (can_go_on ? next.ts : before.ts));
  FUZZ_CHECK(after.log_needed == (can_go_on ? next.log_needed : before.log_needed));
  FUZZ_CHECK(kl_store_page_size(store) == page_size);
  kl_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t file[FILE_SIZE];
  size_t length = make_file(data, size, file);
  kl_sim *sim = NULL;
  kl_store *store = NULL;
  kl_error err = {0};
  FUZZ_CHECK(kl_sim_new(1, &sim, NULL) == KL_OK);
  FUZZ_CHECK(kl_sim_poke(sim, path, 0, file, length) == KL_OK);
  kl_status read_only = open_store(sim, true, &store, &err);
  if (read_only == KL_OK) kl_store_close(store);
  check_unchanged(sim, file, length);
  if (open_store(sim, false, &store, &err) == KL_OK) {
    FUZZ_CHECK(read_only == KL_OK); /* what may be written may be read */
    check_works(sim, store);
  } else {
    check_unchanged(sim, file, length);
  }
  FUZZ_CHECK(kl_sim_live_bytes(sim) == 0);
  kl_sim_free(sim);
  return 0;
}
