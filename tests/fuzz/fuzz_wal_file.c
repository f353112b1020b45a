/* A valid log, damaged and forged as the input says, then recovered.
 *
 * Plain noise never gets past a checksum, so the input is a choice of one of two logs and a list of edits: bytes overwritten, blocks moved, the file cut, and
 * fields of headers set to any value with the checksum made right again. Recovery either refuses the log, with the file as it
 * was, or accepts a run of batches that lie one behind the other; a log that was accepted can be continued, and gives the
 * same batches and the new one when it is opened again. */
#include <string.h>

#include "core/base/crc32c.h"
#include "core/os/sim/sim.h"
#include "core/wal/format.h"
#include "core/wal/wal.h"
#include "fuzz.h"

enum { BATCHES = 9, SEGMENT = 64 * 1024, FILE_MAX = 320 * 1024, EDITS = 64 };
static const char path[] = "/data/fuzzed-wal";
static const kl_wal_options options = {.database_id = "sixteen bytes id", .segment_size = SEGMENT, .prewrite = true};

/* A log before any edit; made once, never changed. One was written ahead with zeros, the other was not, so that its file
 * ends where its last batch does. */
typedef struct original {
  uint8_t file[FILE_MAX];
  size_t size;
  uint64_t batch_offset[BATCHES];
} original;
static original originals[2];

/* The one at hand. */
typedef struct log_image {
  const original *from;
  uint8_t bytes[FILE_MAX];
  size_t size;
  const uint8_t *data; /* what of the input is left */
  size_t left;
} log_image;

static uint64_t take(log_image *image, unsigned bytes) {
  uint64_t value = 0;
  for (; bytes > 0 && image->left > 0; bytes--, image->left--) value = value << 8 | *image->data++;
  return value;
}

static kl_status append(kl_wal *wal, size_t size, uint64_t ts, kl_lsn *out_lsn) {
  static uint8_t payload[40000];
  for (size_t i = 0; i < size; i++) payload[i] = (uint8_t)(ts + i * 7);
  kl_slice part = kl_slice_make(payload, size);
  kl_lsn end = 0;
  kl_status status = kl_wal_append(wal, &part, 1, ts, out_lsn, &end, NULL);
  return status == KL_OK ? kl_wal_sync(wal, end, NULL) : status;
}

static uint64_t offset_of(kl_lsn lsn) {
  uint64_t data_size = SEGMENT - WAL_SEGMENT_HEADER;
  return WAL_SEGMENTS_OFFSET + lsn / data_size * SEGMENT + WAL_SEGMENT_HEADER + lsn % data_size;
}

/* Two lives of a log over three segments; large batches and small ones. */
static void make_original(original *out, bool prewrite) {
  static const size_t sizes[BATCHES] = {10, 500, 4000, 30000, 30000, 0, 35000, 40000, 100};
  kl_sim *sim = NULL;
  kl_wal *wal = NULL;
  kl_wal_options how = options;
  how.prewrite = prewrite;
  FUZZ_CHECK(kl_sim_new(7, &sim, NULL) == KL_OK);
  FUZZ_CHECK(kl_wal_create(kl_sim_os(sim), path, &how, &wal, NULL) == KL_OK);
  for (size_t i = 0; i < BATCHES; i++) {
    if (i == 6) { /* closed and recovered in between */
      kl_wal_close(wal);
      kl_wal_reader *reader = NULL;
      kl_wal_batch batch;
      FUZZ_CHECK(kl_wal_open(kl_sim_os(sim), path, &how, &wal, NULL) == KL_OK);
      FUZZ_CHECK(kl_wal_reader_new(wal, 0, &reader, NULL) == KL_OK);
      while (kl_wal_reader_next(reader, &batch, NULL) == KL_OK) {
      }
      FUZZ_CHECK(kl_wal_recover_end(wal, kl_wal_reader_position(reader), NULL) == KL_OK);
      kl_wal_reader_free(reader);
    }
    kl_lsn lsn = 0;
    FUZZ_CHECK(append(wal, sizes[i], i + 1, &lsn) == KL_OK);
    out->batch_offset[i] = offset_of(lsn);
  }
  kl_wal_close(wal);
  FUZZ_CHECK(kl_sim_peek(sim, path, 0, out->file, FILE_MAX, &out->size) == KL_OK);
  FUZZ_CHECK(out->size < FILE_MAX);
  for (size_t i = 0; i < BATCHES; i++) FUZZ_CHECK(wal_batch_header_has_magic(out->file + out->batch_offset[i]));
  kl_sim_free(sim);
}

/* A new value for a field: near the old one, small, huge, one bit off, or anything. */
static uint64_t take_value(log_image *image, uint64_t old) {
  uint64_t kind = take(image, 1);
  switch (kind % 5) {
    case 0:
      return old + take(image, 1) - 128;
    case 1:
      return take(image, 1);
    case 2:
      return UINT64_MAX - take(image, 1);
    case 3:
      return old ^ UINT64_C(1) << take(image, 1) % 64;
    default:
      return take(image, 8);
  }
}

static void edit_header(log_image *image) {
  uint8_t *block = image->bytes + take(image, 1) % 2 * WAL_PAGE;
  wal_header header;
  if (wal_header_decode(block, &header) != KL_OK) return;
  switch (take(image, 1) % 9) {
    case 0:
      header.version = (uint32_t)take_value(image, header.version);
      break;
    case 1:
      header.features_compatible = (uint32_t)take_value(image, 0);
      break;
    case 2:
      header.features_read_only = (uint32_t)take_value(image, 0);
      break;
    case 3:
      header.features_incompatible = (uint32_t)take_value(image, 0);
      break;
    case 4:
      header.segment_size = take_value(image, header.segment_size);
      break;
    case 5:
      header.incarnation = take_value(image, header.incarnation);
      break;
    case 6:
      header.incarnation_start = take_value(image, header.incarnation_start);
      break;
    case 7:
      header.first_lsn = take_value(image, header.first_lsn);
      break;
    default:
      header.database_id[take(image, 1) % WAL_ID_SIZE] ^= 1;
  }
  wal_header_encode(&header, block);
}

static void edit_segment(log_image *image) {
  uint8_t *block = image->bytes + WAL_SEGMENTS_OFFSET + take(image, 1) % 3 * SEGMENT;
  wal_segment_header header;
  if (!wal_segment_header_decode(block, options.database_id, &header)) return;
  if (take(image, 1) % 2 == 0) {
    header.sequence = take_value(image, header.sequence);
  } else {
    header.assignment = take_value(image, header.assignment);
  }
  wal_segment_header_encode(&header, block);
}

static void edit_batch(log_image *image) {
  uint8_t *bytes = image->bytes + image->from->batch_offset[take(image, 1) % BATCHES];
  uint32_t seed = wal_batch_seed(options.database_id);
  wal_batch_header header;
  if (!wal_batch_header_decode(bytes, seed, &header)) return;
  switch (take(image, 1) % 8) {
    case 0:
      header.lsn = take_value(image, header.lsn);
      break;
    case 1:
      header.payload_size = take_value(image, header.payload_size);
      break;
    case 2:
      header.ts = take_value(image, header.ts);
      break;
    case 3:
      header.durable_lsn = take_value(image, header.durable_lsn);
      break;
    case 4:
      header.incarnation = take_value(image, header.incarnation);
      break;
    case 5:
      header.gap = (uint16_t)take_value(image, header.gap);
      break;
    case 6:
      header.flags = (uint16_t)take_value(image, header.flags);
      break;
    default:
      break;
  }
  /* A payload that was changed by other edits gets its checksum, too. It does not reach over a segment's end here. */
  uint8_t *end = image->bytes + image->size;
  if (bytes + WAL_BATCH_HEADER <= end && header.payload_size <= (size_t)(end - bytes) - WAL_BATCH_HEADER) {
    header.payload_crc = kl_crc32c(0, bytes + WAL_BATCH_HEADER, (size_t)header.payload_size);
  }
  wal_batch_header_encode(&header, seed, bytes);
}

static void edit(log_image *image) {
  uint64_t kind = take(image, 1) % 6;
  if (kind == 0) {
    size_t at = (size_t)(take(image, 3) % FILE_MAX);
    for (uint64_t n = take(image, 1) % 32 + 1; n > 0 && at < image->size; n--)
      image->bytes[at++] = (uint8_t)take(image, 1);
  } else if (kind == 1) {
    size_t size = (size_t)(take(image, 3) % FILE_MAX);
    if (size < image->size) image->size = size;
    memset(image->bytes + image->size, 0, FILE_MAX - image->size);
  } else if (kind == 2) {
    edit_header(image);
  } else if (kind == 3) {
    edit_segment(image);
  } else if (kind == 4) {
    edit_batch(image);
  } else { /* a write that went to the wrong place, or a stale block */
    size_t from = (size_t)(take(image, 2) % (FILE_MAX / 512)) * 512,
           to = (size_t)(take(image, 2) % (FILE_MAX / 512)) * 512;
    size_t length = (size_t)(take(image, 1) % 16 + 1) * 512;
    if (from + length <= image->size && to + length <= image->size) {
      memmove(image->bytes + to, image->bytes + from, length);
    }
  }
}

typedef struct recovered {
  uint64_t batches, last_ts;
  uint32_t checksum; /* of everything that was read */
  kl_lsn end;
} recovered;

static void check_refusal(kl_status status, const kl_error *err) {
  FUZZ_CHECK(status == KL_E_FORMAT || status == KL_E_VERSION || status == KL_E_CORRUPT || status == KL_E_INVALID);
  FUZZ_CHECK(err->code == status && strstr(err->message, path) != NULL);
}

/* Opens and reads to the end. KL_OK: *out_wal is open, ready for kl_wal_recover_end. */
static kl_status recover(kl_os *os, bool read_only, kl_wal **out_wal, recovered *out) {
  kl_error err = {0};
  kl_wal_options how = options;
  how.read_only = read_only;
  memset(out, 0, sizeof *out);
  kl_status status = kl_wal_open(os, path, &how, out_wal, &err);
  if (status != KL_OK) {
    check_refusal(status, &err);
    return status;
  }
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  status = kl_wal_reader_new(*out_wal, 0, &reader, &err);
  kl_lsn position = status == KL_OK ? kl_wal_reader_position(reader) : 0;
  while (status == KL_OK && (status = kl_wal_reader_next(reader, &batch, &err)) == KL_OK) {
    FUZZ_CHECK(batch.lsn >= position && batch.lsn - position < WAL_SYNC_BLOCK);
    FUZZ_CHECK(batch.end_lsn >= batch.lsn + WAL_BATCH_HEADER + batch.payload.size);
    position = batch.end_lsn;
    FUZZ_CHECK(kl_wal_reader_position(reader) == position);
    out->checksum = kl_crc32c(out->checksum, batch.payload.data, batch.payload.size); /* reads every byte */
    out->last_ts = batch.ts;
    out->batches++;
    FUZZ_CHECK(out->batches <= FILE_MAX / WAL_BATCH_HEADER);
  }
  out->end = position;
  kl_wal_reader_free(reader);
  if (status == KL_E_NOT_FOUND) return KL_OK;
  check_refusal(status, &err);
  kl_wal_close(*out_wal);
  return status;
}

static void check_unchanged(kl_sim *sim, const log_image *image) {
  static uint8_t now[FILE_MAX];
  size_t got = 0;
  FUZZ_CHECK(kl_sim_peek(sim, path, 0, now, sizeof now, &got) == KL_OK);
  FUZZ_CHECK(got == image->size && memcmp(now, image->bytes, got) == 0);
}

static void check_continues(kl_sim *sim, kl_wal *wal, const recovered *first) {
  recovered second;
  kl_error err = {0};
  kl_status status = kl_wal_recover_end(wal, first->end, &err);
  if (status == KL_OK) {
    kl_lsn lsn = 0;
    FUZZ_CHECK(append(wal, 1000, first->last_ts, &lsn) == KL_OK);
    FUZZ_CHECK(lsn >= first->end);
  } else {
    check_refusal(status, &err);
  }
  kl_wal_close(wal);
  FUZZ_CHECK(recover(kl_sim_os(sim), false, &wal, &second) == KL_OK);
  FUZZ_CHECK(second.batches == first->batches + (status == KL_OK));
  FUZZ_CHECK(status == KL_OK || second.checksum == first->checksum);
  kl_wal_close(wal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static log_image image;
  if (originals[0].size == 0) {
    make_original(&originals[0], true);
    make_original(&originals[1], false);
  }
  image.data = data;
  image.left = size;
  image.from = &originals[take(&image, 1) % 2];
  image.size = image.from->size;
  memcpy(image.bytes, image.from->file, FILE_MAX);
  for (int i = 0; i < EDITS && image.left > 0; i++) edit(&image);

  kl_sim *sim = NULL;
  kl_wal *wal = NULL;
  recovered read_only;
  recovered first;
  FUZZ_CHECK(kl_sim_new(1, &sim, NULL) == KL_OK);
  FUZZ_CHECK(kl_sim_poke(sim, path, 0, image.bytes, image.size) == KL_OK);
  kl_status status = recover(kl_sim_os(sim), true, &wal, &read_only);
  if (status == KL_OK) kl_wal_close(wal);
  check_unchanged(sim, &image);
  if (recover(kl_sim_os(sim), false, &wal, &first) == KL_OK) {
    FUZZ_CHECK(status == KL_OK && memcmp(&first, &read_only, sizeof first) == 0);
    check_unchanged(sim, &image); /* reading alone changes nothing */
    check_continues(sim, wal, &first);
  } else {
    check_unchanged(sim, &image);
  }
  FUZZ_CHECK(kl_sim_live_bytes(sim) == 0);
  kl_sim_free(sim);
  return 0;
}
