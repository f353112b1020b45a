/* tests/unit/wal/test_format.c: docs/format.md is right, and the files of every version open for ever.
 *
 * The decoder below knows no offset: it reads them from the tables of docs/format.md, and computes checksums by itself.
 * It decodes a database that the code writes now, and the golden files (tests/golden/, made by the first release of
 * their version). The code then opens the golden files too. With KEEL_GOLDEN_WRITE=FOLDER the files are written there.
 * */
#include "core/base/endian.h"
#include "core/store/store.h"
#include "core/wal/commit_record.h"
#include "format_tables.h"
#include "wal_fixture.h"

#define FORMAT_DATABASE "/db/golden.keel"
#define FORMAT_LOG "/db/golden.keel-wal"

typedef struct format_file {
  uint8_t *bytes;
  size_t size;
} format_file;

/* A block whose checksum, as its table says, covers everything before it. */
static void format_check_block(const uint8_t *block, const char *heading, const char *magic) {
  format_field checksum = format_row(heading, "checksum");
  assert_int_equal(checksum.offset + checksum.size, 4096);
  assert_memory_equal(block + format_row(heading, "magic").offset, magic, 8);
  assert_int_equal(format_number(block, heading, "checksum"), format_crc(0, block, checksum.offset));
}

/* -------- what the files hold -------- */

enum { FORMAT_BIG = 62000 }; /* a value that goes on in the next segment */

typedef struct format_op {
  uint64_t ts;
  uint32_t keyspace;
  int kind;
  const char *key;
  size_t value_size; /* of bytes 'v' */
} format_op;

static const format_op format_ops[] = {{1, 0, KL_OP_PUT, "n\x66ruit", 20}, {3, 1, KL_OP_PUT, "apple", 5},
                                       {3, 1, KL_OP_DELETE, "pear", 0},    {4, 1, KL_OP_PUT, "big", FORMAT_BIG},
                                       {5, 1, KL_OP_PUT, "", 0},           {9, 2, KL_OP_PUT, "kiwi", 1}};
/* Commits per batch; what follows a sync starts a new sync block, and the last batch is of the second incarnation. */
static const struct {
  size_t first_op, ops;
  bool sync;
} format_batches[] = {{0, 1, false}, {1, 2, true}, {3, 1, false}, {4, 1, true}, {5, 1, true}};
enum { FORMAT_OPS = 6, FORMAT_BATCHES = 5 };

static size_t format_encode(size_t batch, uint8_t *out) {
  static uint8_t value[FORMAT_BIG];
  memset(value, 'v', sizeof value);
  size_t at = KL_COMMIT_HEADER_SIZE, first = format_batches[batch].first_op, ops = format_batches[batch].ops;
  for (size_t i = first; i < first + ops; i++) {
    const format_op *o = &format_ops[i];
    kl_op op = {o->keyspace, (kl_op_kind)o->kind, kl_slice_make(o->key, strlen(o->key)),
                kl_slice_make(value, o->value_size)};
    at += kl_op_encode(&op, out + at);
  }
  kl_commit_header_encode(out, format_ops[first].ts, ops, at - KL_COMMIT_HEADER_SIZE);
  return at;
}

static format_file format_take(kl_sim *sim, const char *path) {
  format_file file = {calloc(1, 1 << 20), 0};
  assert_non_null(file.bytes);
  assert_int_equal(kl_sim_peek(sim, path, 0, file.bytes, 1 << 20, &file.size), KL_OK);
  return file;
}

/* Writes the database with the code of today. */
static void format_make(format_file *out_database, format_file *out_log) {
  kl_sim *sim = NULL;
  kl_store *store = NULL;
  kl_wal *wal = NULL;
  kl_lsn end = 0;
  uint8_t *bytes = calloc(1, 1 << 17);
  assert_non_null(bytes);
  assert_int_equal(kl_sim_new(20260101, &sim, NULL), KL_OK);
  kl_store_options store_options = {.page_size = 8192};
  assert_int_equal(kl_store_create(kl_sim_os(sim), FORMAT_DATABASE, &store_options, &store, NULL), KL_OK);
  kl_wal_options options = {.segment_size = 65536}; /* not prewritten: the file stays short */
  memcpy(options.database_id, kl_store_id(store), sizeof options.database_id);
  assert_int_equal(kl_wal_create(kl_sim_os(sim), FORMAT_LOG, &options, &wal, NULL), KL_OK);
  for (size_t i = 0; i < FORMAT_BATCHES; i++) {
    if (i == FORMAT_BATCHES - 1) {
      kl_wal_reader *reader = NULL;
      kl_wal_batch batch;
      kl_wal_close(wal);
      assert_int_equal(kl_wal_open(kl_sim_os(sim), FORMAT_LOG, &options, &wal, NULL), KL_OK);
      assert_int_equal(kl_wal_reader_new(wal, 0, &reader, NULL), KL_OK);
      while (kl_wal_reader_next(reader, &batch, NULL) == KL_OK) continue;
      assert_int_equal(kl_wal_recover_end(wal, kl_wal_reader_position(reader), NULL), KL_OK);
      kl_wal_reader_free(reader);
      assert_int_equal(kl_wal_write_owner(wal, NULL), KL_OK);
    }
    kl_slice part = kl_slice_make(bytes, format_encode(i, bytes));
    uint64_t ts = format_ops[format_batches[i].first_op].ts;
    assert_int_equal(kl_wal_append(wal, &part, 1, ts, NULL, &end, NULL), KL_OK);
    if (format_batches[i].sync) assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  }
  kl_checkpoint checkpoint = {.known_durable = end, .log_needed = true};
  assert_int_equal(kl_store_publish(store, &checkpoint, NULL), KL_OK);
  kl_wal_close(wal);
  kl_store_close(store);
  *out_database = format_take(sim, FORMAT_DATABASE);
  *out_log = format_take(sim, FORMAT_LOG);
  kl_sim_free(sim);
  free(bytes);
}

/* -------- the decoder of the document -------- */

static void format_decode_superblocks(const format_file *file, uint8_t out_id[16], uint64_t *out_known_durable) {
  uint64_t newest = 0;
  assert_int_equal(file->size, 4 * 4096);
  for (size_t slot = 0; slot < 4; slot++) {
    const uint8_t *block = file->bytes + slot * 4096;
    uint64_t sequence = format_number(block, "Superblock", "sequence");
    if (slot == 0) {
      assert_int_equal(sequence, 0); /* never written */
      continue;
    }
    format_check_block(block, "Superblock", "KEEL-DB\x1a");
    assert_int_equal(format_number(block, "Superblock", "version"), 1);
    assert_int_equal(format_number(block, "Superblock", "features_compatible"), 0);
    assert_int_equal(format_number(block, "Superblock", "features_read_only"), 0);
    assert_int_equal(format_number(block, "Superblock", "features_incompatible"), 0);
    assert_int_equal(sequence, slot);
    assert_int_equal(format_number(block, "Superblock", "page_size"), 8192);
    assert_int_equal(format_number(block, "Superblock", "flags"), slot > 1 ? 1 : 0);
    assert_int_equal(format_number(block, "Superblock", "ts"), 0);
    assert_int_equal(format_number(block, "Superblock", "log_lsn"), 0);
    assert_int_equal(format_number(block, "Superblock", "blocks_end"), 0);
    assert_true(format_number(block, "Superblock", "wall_ns") >= format_number(block, "Superblock", "created_ns"));
    assert_int_equal(format_row("Superblock", "catalogue").size, format_row("Child pointer", "birth").offset + 8);
    if (sequence > newest) {
      newest = sequence;
      *out_known_durable = format_number(block, "Superblock", "known_durable");
      memcpy(out_id, block + format_row("Superblock", "database_id").offset, 16);
    }
  }
}

typedef struct format_log {
  const format_file *file;
  const uint8_t *id;
  uint64_t segment_size, incarnation, incarnation_start;
  uint8_t *stream; /* the bytes of all segments, by LSN */
  size_t stream_size;
} format_log;

static void format_decode_log_header(format_log *log) {
  for (int copy = 0; copy < 2; copy++) {
    const uint8_t *block = log->file->bytes + format_row("Log", copy == 0 ? "log_header_0" : "log_header_1").offset;
    format_check_block(block, "Log header", "KEEL-WAL");
    assert_int_equal(format_number(block, "Log header", "version"), 1);
    assert_memory_equal(block + format_row("Log header", "database_id").offset, log->id, 16);
    assert_int_equal(format_number(block, "Log header", "first_lsn"), 0);
    log->segment_size = format_number(block, "Log header", "segment_size");
    log->incarnation = format_number(block, "Log header", "incarnation");
    log->incarnation_start = format_number(block, "Log header", "incarnation_start");
  }
  assert_int_equal(log->segment_size, 65536);
  assert_int_equal(log->incarnation, 2);
  const uint8_t *owner = log->file->bytes + format_row("Log", "owner").offset;
  assert_memory_equal(owner, "KEEL-OWN", 8);
  uint64_t size = format_number(owner, "Owner block", "text_size");
  const uint8_t *text = owner + format_row("Owner block", "text").offset;
  assert_int_equal(format_number(owner, "Owner block", "checksum"), format_crc(0, text, size));
  assert_memory_equal(text, "process ", 8);
}

static void format_decode_segments(format_log *log) {
  size_t data_size = log->segment_size - 4096, first = format_row("Log", "slot_0").offset;
  log->stream = calloc(4, log->segment_size);
  assert_non_null(log->stream);
  for (size_t slot = 0; first + slot * log->segment_size < log->file->size; slot++) {
    size_t begin = first + slot * log->segment_size, there = log->file->size - begin;
    const uint8_t *header = log->file->bytes + begin;
    format_check_block(header, "Segment header", "KEEL-SEG");
    assert_memory_equal(header + format_row("Segment header", "database_id").offset, log->id, 16);
    uint64_t sequence = format_number(header, "Segment header", "sequence");
    assert_true(sequence < 4 && format_number(header, "Segment header", "assignment") > 0);
    size_t data = there < log->segment_size ? there - 4096 : data_size;
    memcpy(log->stream + sequence * data_size, header + 4096, data);
    if (sequence * data_size + data > log->stream_size) log->stream_size = sequence * data_size + data;
  }
}

/* Compares the ops of a payload with those expected from `op` on; returns the next expected one. */
static size_t format_decode_payload(const uint8_t *payload, size_t size, uint64_t batch_ts, size_t op) {
  size_t header = format_row("Commit record", "ops").offset, op_header = format_row("Op", "key").offset, at = 0;
  uint64_t ts = 0;
  while (at < size) {
    ts = format_number(payload + at, "Commit record", "ts");
    uint64_t count = format_number(payload + at, "Commit record", "op_count");
    uint64_t bytes = format_number(payload + at, "Commit record", "op_bytes");
    at += header;
    size_t end = at + bytes;
    for (uint64_t i = 0; i < count; i++, op++) {
      const uint8_t *p = payload + at;
      assert_true(op < FORMAT_OPS);
      const format_op *expected = &format_ops[op];
      size_t key_size = format_number(p, "Op", "key_size"), value_size = format_number(p, "Op", "value_size");
      assert_int_equal(ts, expected->ts);
      assert_int_equal(format_number(p, "Op", "kind"), expected->kind);
      assert_int_equal(format_number(p, "Op", "flags"), 0);
      assert_int_equal(format_number(p, "Op", "keyspace"), expected->keyspace);
      assert_int_equal(key_size, strlen(expected->key));
      assert_memory_equal(p + op_header, expected->key, key_size);
      assert_int_equal(value_size, expected->value_size);
      for (size_t v = 0; v < value_size; v++) assert_int_equal(p[op_header + key_size + v], 'v');
      at += op_header + key_size + value_size;
    }
    assert_int_equal(at, end);
  }
  assert_int_equal(ts, batch_ts);
  return op;
}

static void format_decode_batches(const format_log *log, uint64_t known_durable) {
  size_t payload_at = format_row("Batch", "payload").offset, op = 0, batches = 0;
  uint64_t position = 0;
  for (;;) {
    const uint8_t *batch = log->stream + position;
    uint64_t lsn = position;
    if (memcmp(batch, "\x4b\x62\xa7\x01", 4) != 0 || format_number(batch, "Batch", "lsn") != lsn) {
      lsn = (position + 511) / 512 * 512;
      batch = log->stream + lsn;
    }
    if (lsn + payload_at > log->stream_size || memcmp(batch, "\x4b\x62\xa7\x01", 4) != 0) break;
    uint32_t seed = format_crc(0, log->id, 16);
    assert_int_equal(format_number(batch, "Batch", "checksum"), format_crc(seed, batch + 8, payload_at - 8));
    assert_int_equal(format_number(batch, "Batch", "lsn"), lsn);
    assert_int_equal(format_number(batch, "Batch", "gap"), lsn - position);
    assert_int_equal(format_number(batch, "Batch", "flags"), 0);
    assert_true(format_number(batch, "Batch", "durable_lsn") <= position);
    assert_int_equal(format_number(batch, "Batch", "incarnation"), lsn >= log->incarnation_start ? 2 : 1);
    uint64_t size = format_number(batch, "Batch", "payload_size");
    assert_true(lsn + payload_at + size <= log->stream_size);
    assert_int_equal(format_number(batch, "Batch", "payload_crc"), format_crc(0, batch + payload_at, size));
    op = format_decode_payload(batch + payload_at, size, format_number(batch, "Batch", "ts"), op);
    position = (lsn + payload_at + size + 7) / 8 * 8;
    batches++;
  }
  assert_int_equal(batches, FORMAT_BATCHES);
  assert_int_equal(op, FORMAT_OPS);
  assert_int_equal(position, known_durable);
}

static void format_decode(const format_file *database, const format_file *log_file) {
  uint8_t id[16];
  uint64_t known_durable = 0;
  format_decode_superblocks(database, id, &known_durable);
  format_log log = {.file = log_file, .id = id};
  format_decode_log_header(&log);
  format_decode_segments(&log);
  format_decode_batches(&log, known_durable);
  free(log.stream);
}

/* -------- the tests -------- */

static format_file format_golden(const char *name) {
  char path[512];
  format_file file = {calloc(1, 1 << 20), 0};
  (void)snprintf(path, sizeof path, "%s/tests/golden/%s", KEEL_SOURCE_FOLDER, name);
  FILE *in = fopen(path, "rb");
  if (in == NULL) fail_msg("%s is missing", path);
  file.size = fread(file.bytes, 1, 1 << 20, in);
  (void)fclose(in);
  return file;
}

static void format_write(const char *folder, const char *name, const format_file *file) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *out = fopen(path, "wb");
  assert_non_null(out);
  assert_int_equal(fwrite(file->bytes, 1, file->size, out), file->size);
  assert_int_equal(fclose(out), 0);
}

static void the_document_describes_what_is_written(void **state) {
  (void)state;
  format_file database, log;
  format_make(&database, &log);
  const char *folder = getenv("KEEL_GOLDEN_WRITE");
  if (folder != NULL) {
    format_write(folder, "v1.keel", &database);
    format_write(folder, "v1.keel-wal", &log);
  }
  format_decode(&database, &log);
  free(database.bytes);
  free(log.bytes);
}

static void the_document_describes_the_golden_files(void **state) {
  (void)state;
  format_file database = format_golden("v1.keel"), log = format_golden("v1.keel-wal");
  format_decode(&database, &log);
  free(database.bytes);
  free(log.bytes);
}

static void golden_files_open(void **state) {
  (void)state;
  kl_sim *sim = NULL;
  kl_store *store = NULL;
  kl_wal *wal = NULL;
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  kl_checkpoint checkpoint;
  kl_error err = {0};
  format_file database = format_golden("v1.keel"), log = format_golden("v1.keel-wal");
  assert_int_equal(kl_sim_new(1, &sim, NULL), KL_OK);
  assert_int_equal(kl_sim_poke(sim, FORMAT_DATABASE, 0, database.bytes, database.size), KL_OK);
  assert_int_equal(kl_sim_poke(sim, FORMAT_LOG, 0, log.bytes, log.size), KL_OK);
  kl_store_options store_options = {0};
  kl_wal_options options = {.prewrite = true};
  if (kl_store_open(kl_sim_os(sim), FORMAT_DATABASE, &store_options, &store, &err) != KL_OK)
    fail_msg("%s", err.message);
  kl_store_checkpoint(store, &checkpoint);
  memcpy(options.database_id, kl_store_id(store), sizeof options.database_id);
  if (kl_wal_open(kl_sim_os(sim), FORMAT_LOG, &options, &wal, &err) != KL_OK) fail_msg("%s", err.message);
  if (kl_wal_reader_new(wal, checkpoint.log_lsn, &reader, &err) != KL_OK) fail_msg("%s", err.message);
  kl_wal_reader_expect(reader, checkpoint.known_durable);
  size_t op = 0;
  kl_status status;
  while ((status = kl_wal_reader_next(reader, &batch, &err)) == KL_OK) {
    kl_commit_reader commits;
    uint64_t ts, ops;
    kl_op found;
    kl_commit_reader_init(&commits, batch.payload);
    assert_int_equal(kl_commit_reader_next_commit(&commits, &ts, &ops, NULL), KL_OK);
    while (kl_commit_reader_next_op(&commits, &found, NULL) == KL_OK) {
      assert_true(op < FORMAT_OPS);
      assert_int_equal(ts, format_ops[op].ts);
      assert_int_equal(found.kind, format_ops[op].kind);
      assert_int_equal(found.keyspace, format_ops[op].keyspace);
      assert_true(kl_slice_equal(found.key, kl_slice_make(format_ops[op].key, strlen(format_ops[op].key))));
      assert_int_equal(found.value.size, format_ops[op].value_size);
      op++;
    }
  }
  if (status != KL_E_NOT_FOUND) fail_msg("%s", err.message);
  assert_int_equal(op, FORMAT_OPS);
  assert_int_equal(kl_wal_recover_end(wal, kl_wal_reader_position(reader), NULL), KL_OK);
  kl_wal_reader_free(reader);
  kl_lsn end;
  assert_int_equal(wal_test_append(wal, 1, 100, true, &end, NULL), KL_OK); /* and it goes on */
  assert_int_equal(kl_wal_sync(wal, end, NULL), KL_OK);
  kl_wal_close(wal);
  kl_store_close(store);
  kl_sim_free(sim);
  free(database.bytes);
  free(log.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_document_describes_what_is_written),
      cmocka_unit_test(the_document_describes_the_golden_files),
      cmocka_unit_test(golden_files_open),
  };
  return cmocka_run_group_tests_name("format", tests, format_load_document, format_free_document);
}
