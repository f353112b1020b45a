/* tests/unit/drain/test_extent.c: extents with a table of checksums: what they look like, that no damaged byte of them is
 * taken for right, and values that are written past log and delta (kl_extent_writer). */
#include "core/base/crc32c.h"
#include "core/base/endian.h"
#include "core/drain/extent_writer.h"
#include "drain_testing.h"

enum { EXTENT_PART = 1 << KL_EXTENT_CHUNK, EXTENT_SMALL = 12 /* parts of 4096 bytes */ };

/* -------- in memory -------- */

typedef struct extent_file {
  uint8_t *bytes;
  size_t size;
  uint64_t fail_at; /* the write or read of this number fails; 0: none */
  uint64_t calls;
} extent_file;

static kl_status extent_file_put(void *context, uint64_t address, kl_slice bytes, kl_error *err) {
  extent_file *file = context;
  if (++file->calls == file->fail_at) return kl_fail(err, KL_E_IO, "made to fail");
  assert_true(address % KL_BLOCK_SIZE == 0 && bytes.size % KL_BLOCK_SIZE == 0 && address + bytes.size <= file->size);
  memcpy(file->bytes + address, bytes.data, bytes.size);
  return KL_OK;
}

static kl_status extent_file_get(void *context, uint64_t address, void *buffer, size_t length, kl_error *err) {
  extent_file *file = context;
  if (++file->calls == file->fail_at) return kl_fail(err, KL_E_IO, "made to fail");
  assert_true(address + length <= file->size);
  memcpy(buffer, file->bytes + address, length);
  return KL_OK;
}

static void extent_fill(uint64_t seed, uint64_t at, uint8_t *out, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint64_t byte = at + i;
    out[i] = (uint8_t)(kl_mix64(seed ^ (byte / 8)) >> (8 * (byte % 8)));
  }
}

/* A value in a file of its own, given to the sums in pieces. */
static kl_tree_extent extent_make(extent_file *file, uint64_t length, uint32_t chunk, kl_rng *rng) {
  kl_extent_sums sums;
  kl_tree_extent extent = {.address = 2 * KL_BLOCK_SIZE, .length = length, .chunk = chunk, .birth = 1};
  extent.stored = kl_extent_stored(length, chunk);
  *file = (extent_file){.size = (size_t)(extent.address + kl_extent_table_at(extent.stored))};
  file->bytes = calloc(1, file->size);
  assert_non_null(file->bytes);
  extent_fill(length, 0, file->bytes + extent.address, (size_t)length);
  kl_extent_sums_begin(&sums, &extent, extent_file_put, file);
  for (uint64_t at = 0; at < length;) {
    uint64_t n = 1 + kl_rng_below(rng, length - at);
    DRAIN_MUST(kl_extent_sums_add(&sums, file->bytes + extent.address + at, (size_t)n, &must));
    at += n;
  }
  DRAIN_MUST(kl_extent_sums_finish(&sums, &must));
  return sums.extent;
}

static kl_status extent_verify(extent_file *file, const kl_tree_extent *extent, kl_rng *rng, kl_error *err) {
  kl_extent_check check;
  kl_status status = kl_extent_check_begin(&check, "file", extent, extent_file_get, file, err);
  for (uint64_t at = 0; at < extent->length && status == KL_OK;) {
    uint64_t n = 1 + kl_rng_below(rng, extent->length - at);
    status = kl_extent_check_add(&check, file->bytes + extent->address + at, (size_t)n, err);
    at += n;
  }
  return status;
}

/* As docs/format.md says it, without the code that is tested. */
static void extent_expect(const extent_file *file, const kl_tree_extent *extent) {
  const uint8_t *value = file->bytes + extent->address;
  if (extent->chunk == 0) {
    assert_int_equal(extent->stored, extent->length);
    assert_int_equal(extent->checksum, kl_crc32c(0, value, (size_t)extent->length));
    return;
  }
  uint64_t part = UINT64_C(1) << extent->chunk, table = (extent->length + 4095) / 4096 * 4096, count = 0;
  for (uint64_t at = 0; at < extent->length; at += part, count++) {
    uint64_t n = extent->length - at < part ? extent->length - at : part;
    assert_int_equal(kl_load_u32_le(value + table + 4 * count), kl_crc32c(0, value + at, (size_t)n));
  }
  assert_int_equal(extent->stored, table + 4 * count);
  assert_int_equal(extent->checksum, kl_crc32c(0, value + table, (size_t)(4 * count)));
}

static const uint64_t extent_lengths[] = {1,
                                          4095,
                                          4096,
                                          4097,
                                          8191,
                                          8192,
                                          12345,
                                          65535,
                                          65536,
                                          65537,
                                          4096 * 1024,
                                          4096 * 1024 + 1,
                                          4096 * 1024 * 2 - 1,
                                          4096 * 1024 * 2 + 4097};

static void test_every_length(void **state) {
  (void)state;
  kl_rng rng;
  kl_rng_init(&rng, test_seed(140));
  for (size_t i = 0; i < sizeof extent_lengths / sizeof extent_lengths[0]; i++) {
    for (int form = 0; form < 3; form++) {
      uint32_t chunk = form == 0 ? 0 : form == 1 ? EXTENT_SMALL : KL_EXTENT_CHUNK;
      extent_file file;
      kl_tree_extent extent = extent_make(&file, extent_lengths[i], chunk, &rng);
      extent_expect(&file, &extent);
      DRAIN_MUST(extent_verify(&file, &extent, &rng, &must));
      DRAIN_MUST(kl_extent_check_whole("file", &extent, file.bytes + extent.address, &must));
      free(file.bytes);
    }
  }
}

/* Each bit of a short one, and bits at each boundary of longer ones; of the value and of the table. */
static void test_every_bit(void **state) {
  (void)state;
  kl_rng rng;
  kl_error err = {0};
  kl_rng_init(&rng, test_seed(141));
  for (size_t i = 0; i < sizeof extent_lengths / sizeof extent_lengths[0]; i++) {
    extent_file file;
    uint64_t length = extent_lengths[i], step = length < 9000 ? 1 : 4095;
    kl_tree_extent extent = extent_make(&file, length, EXTENT_SMALL, &rng);
    uint64_t table = kl_extent_table_at(length);
    for (uint64_t at = 0; at < extent.stored; at += at < table || at % 3 != 0 ? step : 1) {
      if (at >= length && at < table) continue; /* nobody's bytes */
      uint8_t *byte = file.bytes + extent.address + at, bit = (uint8_t)(1U << kl_rng_below(&rng, 8));
      if (length > 100000 && at < table && kl_rng_below(&rng, 8) != 0) continue;
      *byte ^= bit;
      assert_int_equal(extent_verify(&file, &extent, &rng, &err), KL_E_CORRUPT);
      assert_non_null(strstr(err.message, "block"));
      assert_int_equal(kl_extent_check_whole("file", &extent, file.bytes + extent.address, &err), KL_E_CORRUPT);
      *byte ^= bit;
    }
    /* A part and its checksum that fit each other are not what was written either. */
    file.bytes[extent.address] ^= 1;
    uint64_t n = length < 4096 ? length : 4096;
    kl_store_u32_le(file.bytes + extent.address + table, kl_crc32c(0, file.bytes + extent.address, (size_t)n));
    assert_int_equal(extent_verify(&file, &extent, &rng, &err), KL_E_CORRUPT);
    free(file.bytes);
  }
}

static void test_hostile_references(void **state) {
  (void)state;
  kl_tree_extent good = {.address = 16384, .length = 5000000, .chunk = 16, .birth = 3, .checksum = 9};
  good.stored = kl_extent_stored(good.length, good.chunk);
  assert_int_equal(kl_extent_check_reference("file", &good, NULL), KL_OK);
  kl_tree_extent bad = good;
  bad.address++;
  assert_int_equal(kl_extent_check_reference("file", &bad, NULL), KL_E_CORRUPT);
  bad = good;
  bad.address = UINT64_MAX & ~(uint64_t)4095;
  assert_int_equal(kl_extent_check_reference("file", &bad, NULL), KL_E_CORRUPT);
  bad = good;
  bad.length = 0;
  assert_int_equal(kl_extent_check_reference("file", &bad, NULL), KL_E_CORRUPT);
  bad = good;
  bad.length = UINT64_MAX - 5;
  assert_int_equal(kl_extent_check_reference("file", &bad, NULL), KL_E_CORRUPT);
  for (uint32_t chunk = 1; chunk < 70; chunk++) {
    bad = good;
    bad.chunk = chunk;
    if (chunk >= KL_EXTENT_CHUNK_LEAST && chunk <= KL_EXTENT_CHUNK_MOST) bad.stored = kl_extent_stored(5000000, chunk);
    bool known = chunk >= KL_EXTENT_CHUNK_LEAST && chunk <= KL_EXTENT_CHUNK_MOST;
    assert_int_equal(kl_extent_check_reference("file", &bad, NULL), known ? KL_OK : KL_E_VERSION);
    bad.stored++;
    assert_int_equal(kl_extent_check_reference("file", &bad, NULL), KL_E_VERSION);
  }
  bad = good;
  bad.chunk = 0;
  assert_int_equal(kl_extent_check_reference("file", &bad, NULL), KL_E_VERSION);
}

/* -------- writers -------- */

static kl_tree_extent writer_make(drain_db *db, uint64_t seed, uint64_t length, kl_rng *rng) {
  static uint8_t piece[3 << 20];
  kl_extent_writer *writer = NULL;
  kl_tree_extent extent;
  DRAIN_MUST(kl_extent_writer_begin(db->pages, length, &writer, &must));
  for (uint64_t at = 0; at < length;) {
    uint64_t n = 1 + kl_rng_below(rng, sizeof piece);
    if (n > length - at) n = length - at;
    extent_fill(seed, at, piece, (size_t)n);
    assert_int_equal(kl_extent_writer_written(writer), at);
    DRAIN_MUST(kl_extent_writer_write(writer, piece, (size_t)n, &must));
    at += n;
  }
  DRAIN_MUST(kl_extent_writer_finish(writer, &extent, &must));
  kl_extent_writer_free(writer);
  assert_int_equal(extent.birth, 0);
  assert_int_equal(extent.length, length);
  return extent;
}

typedef struct writer_rows {
  const kl_tree_extent *extents;
  uint64_t count, at;
  uint8_t key[8];
  kl_status end; /* instead of KL_E_NOT_FOUND */
} writer_rows;

static kl_status writer_next(void *context, kl_tree_change *out, kl_error *err) {
  writer_rows *rows = context;
  if (rows->at == rows->count) return rows->end == KL_OK ? KL_E_NOT_FOUND : kl_fail(err, rows->end, "the rows end");
  kl_store_u64_be(rows->key, rows->at);
  *out = (kl_tree_change){
      .kind = KL_TREE_PUT_EXTENT, .key = kl_slice_make(rows->key, sizeof rows->key), .extent = rows->extents[rows->at]};
  rows->at++;
  return KL_OK;
}

static kl_status writer_load(drain_db *db, writer_rows *rows, kl_error *err) {
  uint64_t live = kl_roots_sequence(db->roots);
  kl_checkpoint checkpoint;
  kl_roots *roots = NULL;
  kl_store_checkpoint(db->store, &checkpoint);
  kl_drain_input input = {.pages = db->pages,
                          .store = db->store,
                          .allocator = db->allocator,
                          .ts = checkpoint.ts,
                          .log_lsn = checkpoint.log_lsn,
                          .known_durable = checkpoint.known_durable,
                          .log_needed = checkpoint.log_needed,
                          .base = db->roots,
                          .live = &live,
                          .live_count = 1};
  const kl_tree_changes changes = {writer_next, rows};
  kl_status status = kl_drain_load(&input, 1, &changes, &roots, NULL, err);
  if (status != KL_OK) return status;
  kl_roots_unref(db->roots);
  db->roots = roots;
  return KL_OK;
}

static uint64_t writer_reserved(const drain_db *db) {
  kl_store_space space;
  kl_store_get_space(db->store, &space);
  return space.reserved_bytes;
}

static void writer_check(drain_db *db, uint64_t row, uint64_t seed, uint64_t length) {
  uint8_t key[8], *expected = malloc((size_t)length);
  kl_tree_pointer root;
  kl_held held = {0};
  kl_store_u64_be(key, row);
  extent_fill(seed, 0, expected, (size_t)length);
  DRAIN_MUST(kl_roots_find(db->roots, 1, &root, &must));
  DRAIN_MUST(kl_pages_get(db->pages, &root, kl_slice_make(key, sizeof key), &held, &must));
  assert_int_equal(held.value.size, length);
  assert_memory_equal(held.value.data, expected, length);
  kl_held_destroy(&held);
  free(expected);
}

enum { WRITER_ROWS = 6 };
static const uint64_t writer_lengths[WRITER_ROWS] = {
    1, 4096, KL_EXTENT_PLAIN, KL_EXTENT_PLAIN + 1, (5 << 20) + 777, 2 << 20};

/* Written beside drains, adopted by a load, read back; after reopening, too. */
static void run_writers(bool memory) {
  drain_db db;
  kl_rng rng;
  kl_tree_extent extents[WRITER_ROWS];
  kl_rng_init(&rng, test_seed(142));
  drain_db_open(&db, 3, 4096, memory, KL_CACHE_LIMIT_MIN);
  for (uint64_t i = 0; i < WRITER_ROWS; i++) {
    extents[i] = writer_make(&db, 100 + i, writer_lengths[i], &rng);
    char bytes[8] = {(char)i};
    drain_db_write(&db, 2, kl_slice_make(bytes, sizeof bytes), true, i, 200000);
    drain_db_drain(&db, NULL);
    if (!memory) drain_db_compact(&db, &(kl_compact_limits){.extents = true}, NULL);
  }
  uint64_t reserved = writer_reserved(&db);
  assert_true(reserved > (8 << 20));
  /* A load that fails gives them back. */
  writer_rows rows = {.extents = extents, .count = WRITER_ROWS, .end = KL_E_CLOSED};
  kl_error err = {0};
  assert_int_equal(writer_load(&db, &rows, &err), KL_E_CLOSED);
  assert_int_equal(writer_reserved(&db), reserved);
  rows = (writer_rows){.extents = extents, .count = WRITER_ROWS};
  DRAIN_MUST(writer_load(&db, &rows, &must));
  assert_int_equal(writer_reserved(&db), 0);
  for (int round = 0; round < 3; round++) {
    for (uint64_t i = 0; i < WRITER_ROWS; i++) writer_check(&db, i, 100 + i, writer_lengths[i]);
    if (memory) break;
    if (round == 0) {
      drain_db_reopen(&db);
      for (int i = 0; i < 4; i++) drain_db_compact(&db, &(kl_compact_limits){.extents = true}, NULL);
    } else {
      drain_db_reopen(&db);
    }
  }
  drain_db_close(&db);
}

static void test_writers(void **state) {
  (void)state;
  run_writers(false);
}

static void test_writers_in_memory(void **state) {
  (void)state;
  run_writers(true);
}

static void test_writer_misuse(void **state) {
  (void)state;
  drain_db db;
  kl_extent_writer *writer = NULL;
  kl_tree_extent extent;
  static uint8_t bytes[1 << 20];
  drain_db_open(&db, 4, 4096, false, KL_CACHE_LIMIT_MIN);
  assert_int_equal(kl_extent_writer_begin(db.pages, 0, &writer, NULL), KL_E_LIMIT);
  assert_int_equal(kl_extent_writer_begin(db.pages, KL_EXTENT_LENGTH_MOST + 1, &writer, NULL), KL_E_LIMIT);
  assert_int_equal(kl_extent_writer_begin(db.pages, KL_EXTENT_LENGTH_MOST, &writer, NULL),
                   KL_E_LIMIT); /* of its file */
  DRAIN_MUST(kl_extent_writer_begin(db.pages, 10000, &writer, &must));
  assert_int_equal(kl_extent_writer_length(writer), 10000);
  assert_int_equal(kl_extent_writer_finish(writer, &extent, NULL), KL_E_INVALID);
  DRAIN_MUST(kl_extent_writer_write(writer, bytes, 9000, &must));
  assert_int_equal(kl_extent_writer_write(writer, bytes, 1001, NULL), KL_E_INVALID);
  assert_int_equal(kl_extent_writer_finish(writer, &extent, NULL), KL_E_INVALID);
  DRAIN_MUST(kl_extent_writer_write(writer, bytes, 1000, &must));
  DRAIN_MUST(kl_extent_writer_finish(writer, &extent, &must));
  assert_int_equal(kl_extent_writer_write(writer, bytes, 0, NULL), KL_E_INVALID);
  assert_int_equal(kl_extent_writer_finish(writer, &extent, NULL), KL_E_INVALID);
  kl_extent_writer_free(writer);
  assert_int_equal(writer_reserved(&db), 3 * KL_BLOCK_SIZE);
  kl_extent_release(db.pages, &extent);
  assert_int_equal(writer_reserved(&db), 0);
  /* A write that failed cannot be made good. */
  DRAIN_MUST(kl_extent_writer_begin(db.pages, 3 << 20, &writer, &must));
  kl_sim_inject(db.sim, KL_SIM_FAULT_IO_ERROR, kl_sim_operations(db.sim) + 1);
  assert_int_equal(kl_extent_writer_write(writer, bytes, sizeof bytes, NULL), KL_E_IO);
  kl_sim_inject(db.sim, KL_SIM_FAULT_NONE, 0);
  assert_int_equal(kl_extent_writer_write(writer, bytes, sizeof bytes, NULL), KL_E_IO);
  assert_int_equal(kl_extent_writer_finish(writer, &extent, NULL), KL_E_IO);
  kl_extent_writer_free(writer);
  kl_extent_writer_free(NULL);
  assert_int_equal(writer_reserved(&db), 0);
  drain_db_close(&db);
}

/* Each operation and each allocation of writing and adopting may fail: nothing is left over, and it works again. */
static void run_writer_faults(bool allocations) {
  bool struck = true;
  for (uint64_t n = 1; struck; n++) {
    drain_db db;
    kl_error err = {0};
    kl_extent_writer *writer = NULL;
    kl_tree_extent extent = {0};
    static uint8_t bytes[(1 << 20) + 5000];
    drain_db_open(&db, 5, 4096, false, KL_CACHE_LIMIT_MIN);
    uint64_t operations = kl_sim_operations(db.sim), before = kl_sim_allocations(db.sim);
    if (allocations) kl_sim_fail_allocation(db.sim, n);
    if (!allocations) kl_sim_inject(db.sim, KL_SIM_FAULT_IO_ERROR, operations + n);
    kl_status status = kl_extent_writer_begin(db.pages, sizeof bytes, &writer, &err);
    extent_fill(n, 0, bytes, sizeof bytes);
    if (status == KL_OK) status = kl_extent_writer_write(writer, bytes, sizeof bytes, &err);
    bool finished = false;
    if (status == KL_OK) status = kl_extent_writer_finish(writer, &extent, &err);
    finished = status == KL_OK;
    kl_extent_writer_free(writer);
    writer_rows rows = {.extents = &extent, .count = 1};
    if (status == KL_OK) status = writer_load(&db, &rows, &err);
    struck = allocations ? kl_sim_allocations(db.sim) - before >= n : kl_sim_operations(db.sim) - operations >= n;
    kl_sim_fail_allocation(db.sim, 0);
    kl_sim_inject(db.sim, KL_SIM_FAULT_NONE, 0);
    if (status != KL_OK) {
      assert_true(struck);
      assert_int_equal(status, allocations ? KL_E_NO_MEMORY : KL_E_IO);
      assert_int_equal(err.code, status);
      if (finished) kl_extent_release(db.pages, &extent);
    } else {
      writer_check(&db, 0, n, sizeof bytes);
    }
    assert_int_equal(writer_reserved(&db), 0);
    drain_db_close(&db);
  }
}

static void test_writer_operations_fail(void **state) {
  (void)state;
  run_writer_faults(false);
}

static void test_writer_allocations_fail(void **state) {
  (void)state;
  run_writer_faults(true);
}

/* -------- parts -------- */

typedef struct part_reader {
  drain_db *db;
  kl_tree_pointer root;
  kl_pages_part *part;
} part_reader;

static kl_status part_read(part_reader *reader, uint64_t row, uint64_t offset, uint8_t *to, size_t size,
                           size_t *out_got, uint64_t *out_size, kl_error *err) {
  uint8_t key[8];
  kl_store_u64_be(key, row);
  return kl_pages_get_part(reader->db->pages, &reader->root, kl_slice_make(key, sizeof key), offset, to, size,
                           &reader->part, out_got, out_size, err);
}

static void part_expect(part_reader *reader, uint64_t row, uint64_t length, uint64_t offset, size_t size) {
  static uint8_t got_bytes[5 << 20], expected[5 << 20];
  size_t got = SIZE_MAX, want = offset >= length ? 0 : length - offset < size ? (size_t)(length - offset) : size;
  uint64_t whole = 0;
  assert_true(size <= sizeof got_bytes);
  DRAIN_MUST(part_read(reader, row, offset, got_bytes, size, &got, &whole, &must));
  assert_int_equal(got, want);
  assert_int_equal(whole, length);
  extent_fill(100 + row, offset, expected, want);
  assert_memory_equal(got_bytes, expected, want);
}

static void part_open(part_reader *reader, drain_db *db, bool memory, uint64_t cache_limit) {
  kl_tree_extent extents[WRITER_ROWS];
  kl_rng rng;
  kl_rng_init(&rng, 9);
  drain_db_open(db, 6, 4096, memory, cache_limit);
  for (uint64_t i = 0; i < WRITER_ROWS; i++) extents[i] = writer_make(db, 100 + i, writer_lengths[i], &rng);
  writer_rows rows = {.extents = extents, .count = WRITER_ROWS};
  DRAIN_MUST(writer_load(db, &rows, &must));
  *reader = (part_reader){.db = db};
  DRAIN_MUST(kl_roots_find(db->roots, 1, &reader->root, &must));
}

/* Around every boundary of parts, and at random, of one value and of several by turns. */
static void run_parts(bool memory, uint64_t cache_limit) {
  static const size_t sizes[] = {0, 1, 2, 4095, 4096, EXTENT_PART - 1, EXTENT_PART, EXTENT_PART + 1, (1 << 20) + 1};
  enum { SIZES = sizeof sizes / sizeof sizes[0] };
  drain_db db;
  part_reader reader;
  kl_rng rng;
  size_t got = 0;
  uint64_t whole = 0;
  kl_rng_init(&rng, test_seed(143));
  part_open(&reader, &db, memory, cache_limit);
  for (uint64_t row = 0; row < WRITER_ROWS; row++) {
    uint64_t length = writer_lengths[row];
    for (uint64_t edge = 0; edge <= length; edge += EXTENT_PART) {
      if (edge != 0) part_expect(&reader, row, length, edge - 1, sizes[kl_rng_below(&rng, SIZES)]);
      part_expect(&reader, row, length, edge, sizes[kl_rng_below(&rng, SIZES)]);
      part_expect(&reader, row, length, edge + 1, sizes[kl_rng_below(&rng, SIZES)]);
    }
    for (size_t i = 0; i < SIZES; i++) {
      part_expect(&reader, row, length, 0, sizes[i]);
      part_expect(&reader, row, length, length - (length < sizes[i] ? length : sizes[i]), sizes[i]);
      part_expect(&reader, row, length, length, sizes[i]);
    }
    part_expect(&reader, row, length, UINT64_MAX, 100);
    part_expect(&reader, row, length, 0, (size_t)(length < (5 << 20) ? length : 5 << 20));
  }
  for (int i = 0; i < 400; i++) {
    uint64_t row = kl_rng_below(&rng, WRITER_ROWS), length = writer_lengths[row];
    part_expect(&reader, row, length, kl_rng_below(&rng, length + 10), (size_t)kl_rng_below(&rng, 300000));
  }
  assert_int_equal(part_read(&reader, 77, 0, NULL, 0, &got, &whole, NULL), KL_E_NOT_FOUND);
  kl_pages_part_free(reader.part);
  kl_pages_part_free(NULL);
  drain_db_close(&db);
}

static void test_parts(void **state) {
  (void)state;
  run_parts(false, KL_CACHE_LIMIT_MIN);
}

static void test_parts_of_cached_values(void **state) {
  (void)state;
  run_parts(false, 64 << 20);
}

static void test_parts_in_memory(void **state) {
  (void)state;
  run_parts(true, 0);
}

static uint64_t part_find_in_file(drain_db *db, uint64_t seed) {
  uint8_t bytes[16], first[16];
  size_t got = 0;
  extent_fill(seed, 0, first, sizeof first);
  for (uint64_t at = KL_SUPERBLOCKS * KL_BLOCK_SIZE;; at += KL_BLOCK_SIZE) {
    DRAIN_MUST(kl_sim_peek(db->sim, DRAIN_PATH, at, bytes, sizeof bytes, &got));
    assert_int_equal(got, sizeof bytes);
    if (memcmp(bytes, first, sizeof bytes) == 0) return at;
  }
}

static void part_flip(drain_db *db, uint64_t address) {
  uint8_t byte = 0;
  size_t got = 0;
  DRAIN_MUST(kl_sim_peek(db->sim, DRAIN_PATH, address, &byte, 1, &got));
  byte ^= 16;
  DRAIN_MUST(kl_sim_poke(db->sim, DRAIN_PATH, address, &byte, 1));
}

enum { PART_ROW = 4 };

/* Reads a little of each part: only those that `hit` fail, or all of them. */
static void part_probe(part_reader *reader, uint64_t parts, uint64_t hit, bool all) {
  uint8_t to[10];
  for (uint64_t i = 0; i < parts; i++) {
    size_t got = 0;
    uint64_t whole = 0;
    kl_error err = {0};
    kl_status status = part_read(reader, PART_ROW, i * EXTENT_PART + 5, to, sizeof to, &got, &whole, &err);
    assert_int_equal(status, all || i == hit ? KL_E_CORRUPT : KL_OK);
    if (status == KL_OK) continue;
    assert_non_null(strstr(err.message, DRAIN_PATH));
    assert_non_null(strstr(err.message, "block"));
    assert_non_null(strstr(err.message, "key \""));
  }
}

/* Damage is found by those who read it, and by nobody else: in each part, and in the table. */
static void test_parts_damaged(void **state) {
  (void)state;
  drain_db db;
  part_reader reader;
  uint64_t length = writer_lengths[PART_ROW], table = kl_extent_table_at(length);
  part_open(&reader, &db, false, KL_CACHE_LIMIT_MIN);
  uint64_t at = part_find_in_file(&db, 100 + PART_ROW), parts = (length - 1) / EXTENT_PART + 1;
  for (uint64_t part = 0; part <= parts; part++) {
    uint64_t bad = at + (part < parts ? part * EXTENT_PART + part * 97 % 777 : table + 9);
    part_flip(&db, bad);
    part_probe(&reader, parts, part, part == parts);
    part_probe(&reader, parts, part, part == parts); /* what is known of the value by now does not hide it */
    part_flip(&db, bad);
    part_expect(&reader, PART_ROW, length, 0, 2 << 20);
    kl_pages_part_free(reader.part);
    reader.part = NULL;
  }
  drain_db_close(&db);
}

static void test_parts_allocations_fail(void **state) {
  (void)state;
  bool struck = true;
  drain_db db;
  part_reader reader;
  static uint8_t to[100];
  part_open(&reader, &db, false, KL_CACHE_LIMIT_MIN);
  for (uint64_t n = 1; struck; n++) {
    size_t got = 0;
    uint64_t whole = 0, before = kl_sim_allocations(db.sim);
    kl_status status = KL_OK;
    kl_error err = {0};
    kl_sim_fail_allocation(db.sim, n);
    for (uint64_t row = 0; row < WRITER_ROWS && status == KL_OK; row++) {
      status = part_read(&reader, row, 1000, to, sizeof to, &got, &whole, &err);
    }
    struck = kl_sim_allocations(db.sim) - before >= n;
    kl_sim_fail_allocation(db.sim, 0);
    if (status != KL_OK) assert_int_equal(status, KL_E_NO_MEMORY);
    if (status != KL_OK) assert_int_equal(err.code, status);
    for (uint64_t row = 0; row < WRITER_ROWS; row++) part_expect(&reader, row, writer_lengths[row], 3, 5000);
    kl_pages_part_free(reader.part);
    reader.part = NULL;
  }
  drain_db_close(&db);
}

/* -------- other sizes of parts than Keel writes -------- */

static kl_status foreign_put(void *context, uint64_t address, kl_slice bytes, kl_error *err) {
  return kl_store_write_reserved(((drain_db *)context)->store, address, &bytes, 1, err);
}

/* As writer_make, with parts of 4096 bytes. */
static kl_tree_extent foreign_make(drain_db *db, uint64_t seed, uint64_t length) {
  uint8_t *value = calloc(1, (size_t)kl_extent_table_at(length));
  kl_extent_sums sums;
  kl_tree_extent extent = {.length = length, .chunk = EXTENT_SMALL, .stored = kl_extent_stored(length, EXTENT_SMALL)};
  assert_non_null(value);
  extent_fill(seed, 0, value, (size_t)length);
  DRAIN_MUST(kl_store_reserve(db->store, extent.stored, &extent.address, &must));
  DRAIN_MUST(foreign_put(db, extent.address, kl_slice_make(value, (size_t)kl_extent_table_at(length)), &must));
  kl_extent_sums_begin(&sums, &extent, foreign_put, db);
  DRAIN_MUST(kl_extent_sums_add(&sums, value, (size_t)length, &must));
  DRAIN_MUST(kl_extent_sums_finish(&sums, &must));
  free(value);
  return sums.extent;
}

/* Such a value is read like others. Its table has two blocks, and what is read again of them is compared again. */
static void test_other_parts(void **state) {
  (void)state;
  enum { LENGTH = 5 << 20, COVERED = KL_EXTENT_TABLE / 4 * 4096 /* by the first block of the table */ };
  drain_db db;
  kl_error err = {0};
  size_t got = 0;
  uint64_t whole = 0;
  uint8_t byte = 0;
  drain_db_open(&db, 8, 4096, false, 64 << 20); /* which has room for it, were it one for the cache */
  kl_tree_extent extent = foreign_make(&db, 100, LENGTH);
  writer_rows rows = {.extents = &extent, .count = 1};
  DRAIN_MUST(writer_load(&db, &rows, &must));
  writer_check(&db, 0, 100, LENGTH);
  part_reader reader = {.db = &db};
  DRAIN_MUST(kl_roots_find(db.roots, 1, &reader.root, &must));
  for (uint64_t at = 0; at < LENGTH; at += 123457) part_expect(&reader, 0, LENGTH, at, 9000);
  part_expect(&reader, 0, LENGTH, 0, LENGTH);
  part_expect(&reader, 0, LENGTH, COVERED + 5, 1); /* the second block of the table is in memory now */
  part_flip(&db, part_find_in_file(&db, 100) + kl_extent_table_at(LENGTH) + 9);
  part_expect(&reader, 0, LENGTH, COVERED + 8000, 5000);
  assert_int_equal(part_read(&reader, 0, 5, &byte, 1, &got, &whole, &err), KL_E_CORRUPT);
  assert_non_null(strstr(err.message, "checksums"));
  kl_pages_part_free(reader.part);
  drain_db_close(&db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_length),
      cmocka_unit_test(test_every_bit),
      cmocka_unit_test(test_hostile_references),
      cmocka_unit_test(test_writers),
      cmocka_unit_test(test_writers_in_memory),
      cmocka_unit_test(test_writer_misuse),
      cmocka_unit_test(test_writer_operations_fail),
      cmocka_unit_test(test_writer_allocations_fail),
      cmocka_unit_test(test_parts),
      cmocka_unit_test(test_parts_of_cached_values),
      cmocka_unit_test(test_parts_in_memory),
      cmocka_unit_test(test_parts_damaged),
      cmocka_unit_test(test_parts_allocations_fail),
      cmocka_unit_test(test_other_parts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
