/* tests/scale/scale.c: what only shows with much data, through the public library: how the file grows under updates and old
 * snapshots, how much memory a database takes that is larger than its cache, how long large loads take. Every row
 * says what it must hold, and is checked.
 *
 * scale churn: loads rows, opens snapshots between rounds of random updates, and watches the file.
 * scale cache: a database many times its cache: updates, reads, scans; watches resident memory.
 * scale transaction: one transaction writes all rows, larger than memory_limit (four times --delta); a second one updates rows at random, a
 *              third is rolled back.
 * scale value: one value of --value bytes, written and read in parts; replaced by another one, and deleted.
 * scale load:  loads rows in random order (--bulk: by a bulk load), reopens, verifies the file, counts and checks every row.
 *
 * Prints a line of figures for each step, "N passed, M failed" at the end; exit status 1 when something failed. */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "capi/include/keel/keel.h"

enum { KEY_SIZE = 16, BATCH = 1000, SAMPLES = 500, SNAPSHOTS_MAX = 64 };

typedef struct settings {
  uint64_t rows, updates, snapshots, cache, delta, value, seed;
  double max_ratio, end_ratio; /* file to live data; 0: only reported */
  double max_reachable;        /* file to live data and what snapshots hold; likewise */
  bool bulk;
  uint64_t max_resident; /* bytes; 0: only reported */
  char path[512], log[520];
} settings;

static settings set = {.rows = 100000, .cache = 8 << 20, .delta = 4 << 20, .value = 100, .seed = 1};
static uint64_t passed, failed;
static uint32_t *versions; /* of each row; 0: not there */
static keel_db db;
static keel_keyspace keyspace;

static void check(bool good, const char *what) {
  if (good) {
    passed++;
  } else {
    failed++;
    printf("FAILED: %s\n", what);
  }
}

static void must(keel_status status, const keel_error *error, const char *what) {
  if (status == KEEL_OK) return;
  printf("%s: %s: %s\n", what, keel_status_name(status), error->message);
  exit(1);
}
#define MUST(call) must((call), &error, #call)

static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static uint64_t next_random(void) {
  return mix(set.seed += UINT64_C(0x9e3779b97f4a7c15));
}

static void make_key(uint64_t row, uint8_t out[KEY_SIZE]) {
  uint64_t a = mix(row + 1), b = row;
  for (int i = 0; i < 8; i++) out[i] = (uint8_t)(a >> (56 - 8 * i));
  for (int i = 0; i < 8; i++) out[8 + i] = (uint8_t)(b >> (56 - 8 * i));
}

static void make_value(uint64_t row, uint32_t version, uint8_t *out) {
  uint64_t word = mix(row * UINT64_C(1000003) + version);
  for (uint64_t i = 0; i < set.value; i++) {
    if (i % 8 == 0) word = mix(word + i);
    out[i] = (uint8_t)(word >> (8 * (i % 8)));
  }
}

static bool value_is(uint64_t row, uint32_t version, const void *value, size_t size) {
  static uint8_t expected[1 << 16];
  make_value(row, version, expected);
  return size == set.value && memcmp(value, expected, size) == 0;
}

static double seconds(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What the process has in memory now, in bytes. */
static uint64_t resident(void) {
  unsigned long long total = 0, pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL) return 0;
  if (fscanf(file, "%llu %llu", &total, &pages) != 2) pages = 0;
  (void)fclose(file);
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t file_size(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static keel_stats stats_now(void) {
  keel_error error;
  keel_stats stats = KEEL_STATS_INIT;
  MUST(keel_get_stats(db, &stats, &error));
  return stats;
}

static void open_database(void) {
  keel_error error;
  keel_options options = KEEL_OPTIONS_INIT;
  options.durability = KEEL_DURABILITY_NONE;
  options.cache_size = set.cache;
  options.delta_size = set.delta;
  options.memory_limit = 4 * set.delta;
  options.log_segment_size = 1 << 20;
  MUST(keel_open(set.path, &options, &db, &error));
  MUST(keel_keyspace_open(db, "scale", 5, NULL, &keyspace, &error));
}

static void close_database(void) {
  keel_error error;
  MUST(keel_keyspace_close(keyspace, &error));
  MUST(keel_close(db, &error));
}

static void put_row(keel_txn txn, uint64_t row) {
  static uint8_t value[1 << 16];
  keel_error error;
  uint8_t key[KEY_SIZE];
  make_key(row, key);
  make_value(row, ++versions[row], value);
  MUST(keel_put(txn, keyspace, key, KEY_SIZE, value, set.value, &error));
}

static uint64_t peak_file, peak_resident;
static double peak_reachable; /* the file to what is in use or held */

static void watch(void) {
  uint64_t file = file_size(set.path), memory = resident();
  keel_stats stats = stats_now();
  double reachable = (double)file / (double)(stats.file_used + stats.file_held);
  if (file > peak_file) peak_file = file;
  if (reachable > peak_reachable) peak_reachable = reachable;
  if (memory > peak_resident) peak_resident = memory;
}

/* `count` rows, all of them in order of their numbers (their keys are random), or chosen at random. */
static void write_rows(uint64_t count, bool random) {
  keel_error error;
  keel_txn txn;
  for (uint64_t done = 0; done < count;) {
    MUST(keel_begin(db, NULL, &txn, &error));
    for (int i = 0; i < BATCH && done < count; i++, done++) put_row(txn, random ? next_random() % set.rows : done);
    MUST(keel_commit(txn, NULL, &error));
    if (done % (BATCH * 16) == 0) watch();
  }
  watch();
}

static void say(const char *step, double began, uint64_t rows) {
  keel_stats s = stats_now();
  double took = seconds() - began;
  printf(
      "%-22s %8.2f s %10.0f rows/s  file %7.1f MB (used %.1f, held %.1f, free %.1f)  log %.1f  resident %.1f  "
      "checkpoints %" PRIu64 "  slowed %.2f s\n",
      step, took, (double)rows / took, (double)file_size(set.path) / 1e6, (double)s.file_used / 1e6,
      (double)s.file_held / 1e6, (double)s.file_free / 1e6, (double)file_size(set.log) / 1e6, (double)resident() / 1e6,
      s.checkpoints, (double)s.throttled_ns / 1e9);
  (void)fflush(stdout);
}

/* A row as `txn` sees it. */
static bool row_is(keel_txn txn, uint64_t row, uint32_t version) {
  keel_error error;
  uint8_t key[KEY_SIZE];
  const void *value;
  size_t size;
  make_key(row, key);
  keel_status status = keel_get(txn, keyspace, key, KEY_SIZE, &value, &size, &error);
  if (status == KEEL_E_NOT_FOUND) return version == 0;
  must(status, &error, "keel_get");
  return version != 0 && value_is(row, version, value, size);
}

/* All rows by scan, both ways, and some by key. */
static void check_all(void) {
  keel_error error;
  keel_txn txn;
  keel_cursor cursor;
  keel_batch batch;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  MUST(keel_begin(db, NULL, &txn, &error));
  MUST(keel_batch_new(&batch, &error));
  for (int backward = 0; backward < 2; backward++) {
    uint64_t rows = 0, wrong = 0;
    MUST(keel_cursor_open(txn, keyspace, NULL, &cursor, &error));
    for (;;) {
      keel_status status = backward ? keel_cursor_prev_batch(cursor, BATCH, 0, batch, &error)
                                    : keel_cursor_next_batch(cursor, BATCH, 0, batch, &error);
      must(status, &error, "batch");
      MUST(keel_batch_data(batch, &view, &error));
      if (view.count == 0) break;
      for (uint64_t i = 0; i < view.count; i++) {
        const uint8_t *key = (const uint8_t *)view.keys + view.key_offsets[i];
        uint64_t row = 0;
        for (int b = 8; b < KEY_SIZE; b++) row = row << 8 | key[b];
        wrong += row >= set.rows || !value_is(row, versions[row], (const uint8_t *)view.values + view.value_offsets[i],
                                              view.value_offsets[i + 1] - view.value_offsets[i]);
      }
      rows += view.count;
    }
    MUST(keel_cursor_close(cursor, &error));
    uint64_t expected = 0;
    for (uint64_t row = 0; row < set.rows; row++) expected += versions[row] != 0;
    check(wrong == 0 && rows == expected, backward ? "scan backward" : "scan forward");
  }
  uint64_t wrong = 0;
  for (int i = 0; i < 20 * SAMPLES; i++) {
    uint64_t row = next_random() % set.rows;
    wrong += !row_is(txn, row, versions[row]);
  }
  check(wrong == 0, "rows by key");
  MUST(keel_batch_free(batch, &error));
  MUST(keel_rollback(txn, &error));
}

/* ---- churn ---- */

static struct {
  keel_txn txn;
  uint64_t rows[SAMPLES];
  uint32_t versions[SAMPLES];
} snapshots[SNAPSHOTS_MAX];

static void take_snapshot(int i) {
  keel_error error;
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  options.flags = KEEL_TXN_READ_ONLY;
  MUST(keel_begin(db, &options, &snapshots[i].txn, &error));
  for (int s = 0; s < SAMPLES; s++) {
    snapshots[i].rows[s] = next_random() % set.rows;
    snapshots[i].versions[s] = versions[snapshots[i].rows[s]];
  }
}

static void end_snapshot(int i) {
  keel_error error;
  uint64_t wrong = 0;
  for (int s = 0; s < SAMPLES; s++) wrong += !row_is(snapshots[i].txn, snapshots[i].rows[s], snapshots[i].versions[s]);
  check(wrong == 0, "an old snapshot shows what it showed");
  MUST(keel_rollback(snapshots[i].txn, &error));
}

static int churn(void) {
  keel_error error;
  double began = seconds();
  int count = (int)(set.snapshots == 0 ? 1 : set.snapshots > SNAPSHOTS_MAX ? SNAPSHOTS_MAX : set.snapshots);
  write_rows(set.rows, false);
  MUST(keel_make_checkpoint(db, &error));
  say("load", began, set.rows);
  double live = (double)stats_now().file_used;
  peak_file = 0;
  peak_reachable = 0;
  for (int i = 0; i < count; i++) {
    began = seconds();
    take_snapshot(i);
    write_rows(set.updates / (uint64_t)count, true);
    char step[32];
    (void)snprintf(step, sizeof step, "updates, snapshot %d", i + 1);
    say(step, began, set.updates / (uint64_t)count);
  }
  double ratio = (double)peak_file / live;
  printf("file at most %.2f times the live data, %.2f times live data and what snapshots hold\n", ratio,
         peak_reachable);
  if (set.max_ratio != 0) check(ratio <= set.max_ratio, "the file stays below --max-ratio under old snapshots");
  if (set.max_reachable != 0) check(peak_reachable <= set.max_reachable, "the file stays below --max-reachable");
  for (int i = 0; i < count; i++) end_snapshot(i);
  began = seconds();
  for (int i = 0; i < 3; i++) { /* what the snapshots held comes back with the next checkpoints */
    write_rows(BATCH, true);
    MUST(keel_make_checkpoint(db, &error));
  }
  say("snapshots ended", began, 3 * BATCH);
  began = seconds();
  MUST(keel_compact(db, &error));
  say("compact", began, 0);
  ratio = (double)file_size(set.path) / live;
  printf("compacted: file %.2f times the live data\n", ratio);
  if (set.end_ratio != 0) check(ratio <= set.end_ratio, "the file is compacted below --end-ratio");
  check_all();
  close_database();
  ratio = (double)file_size(set.path) / live;
  printf("closed: file %.2f times the live data\n", ratio);
  if (set.end_ratio != 0) check(ratio <= set.end_ratio, "the file shrinks below --end-ratio");
  check(file_size(set.log) == 0, "one file remains");
  open_database();
  check_all();
  close_database();
  return failed == 0 ? 0 : 1;
}

/* ---- larger than the cache ---- */

static void check_memory(uint64_t before) {
  /* The rows' versions are this program's own. */
  uint64_t most = peak_resident - before;
  printf("resident at most %.1f MB above the start; cache %.1f, deltas at most %.1f\n", (double)most / 1e6,
         (double)set.cache / 1e6, 4 * (double)set.delta / 1e6);
  if (set.max_resident != 0) check(most <= set.max_resident, "resident memory stays below --max-resident");
}

static int larger_than_cache(void) {
  uint64_t before = resident();
  double began = seconds();
  write_rows(set.rows, false);
  say("load", began, set.rows);
  printf("the data is %.1f times the cache\n", (double)(set.rows * (KEY_SIZE + set.value)) / (double)set.cache);
  began = seconds();
  write_rows(set.updates, true);
  say("random updates", began, set.updates);
  check_memory(before);
  began = seconds();
  check_all();
  watch();
  say("checked", began, 2 * set.rows);
  check_memory(before);
  close_database();
  check(file_size(set.log) == 0, "one file remains");
  began = seconds();
  open_database();
  printf("opened in %.1f ms\n", (seconds() - began) * 1e3);
  check_all();
  close_database();
  return failed == 0 ? 0 : 1;
}

/* The same rows as write_rows, by keel_load; the keyspace that is open is empty, and replaced. */
static void bulk_load(void) {
  static uint8_t value[1 << 16];
  keel_error error;
  keel_load loading;
  keel_load_options options = KEEL_LOAD_OPTIONS_INIT;
  keel_load_report report = KEEL_LOAD_REPORT_INIT;
  options.flags = KEEL_LOAD_REPLACE;
  double began = seconds();
  MUST(keel_load_begin(db, "scale", 5, &options, &loading, &error));
  for (uint64_t row = 0; row < set.rows; row++) {
    uint8_t key[KEY_SIZE];
    make_key(row, key);
    make_value(row, ++versions[row], value);
    MUST(keel_load_put(loading, key, KEY_SIZE, value, set.value, &error));
    if (row % (BATCH * 1000) == 0) watch();
  }
  printf("%-22s %8.2f s\n", "rows given", seconds() - began);
  (void)fflush(stdout);
  MUST(keel_load_finish(loading, &report, &error));
  MUST(keel_load_end(loading, &error));
  check(report.rows == set.rows, "all rows were taken");
  printf("%-22s %8.2f s  in %" PRIu64 " runs\n", "finished", seconds() - began, report.runs);
  MUST(keel_keyspace_close(keyspace, &error));
  MUST(keel_keyspace_open(db, "scale", 5, NULL, &keyspace, &error));
}

static void verify(void) {
  keel_error error;
  keel_check check_handle;
  keel_check_report report = KEEL_CHECK_REPORT_INIT;
  double began = seconds();
  MUST(keel_verify_begin(db, &check_handle, &error));
  do {
    MUST(keel_check_step(check_handle, 64 << 20, &report, &error));
  } while (!report.finished);
  MUST(keel_check_close(check_handle, &error));
  check(report.problems == 0 && report.rows == set.rows && report.unreached_bytes == 0, "the file is sound");
  printf("%-22s %8.2f s  %" PRIu64 " rows on %" PRIu64 " pages, %" PRIu64 " problems\n", "verified", seconds() - began,
         report.rows, report.pages, report.problems);
}

static int load(void) {
  uint64_t before = resident();
  double began = seconds();
  if (set.bulk) bulk_load();
  if (!set.bulk) write_rows(set.rows, false);
  say("load", began, set.rows);
  began = seconds();
  close_database();
  printf("closed in %.2f s\n", seconds() - began);
  began = seconds();
  open_database();
  printf("opened in %.1f ms\n", (seconds() - began) * 1e3);
  verify();
  began = seconds();
  check_all();
  say("checked", began, 2 * set.rows);
  check_memory(before);
  close_database();
  return failed == 0 ? 0 : 1;
}

/* ---- one transaction ---- */

/* `count` rows in one transaction, in order of their numbers or at random; every so often it looks at what it has written. */
static keel_txn write_in_one(uint64_t count, bool random) {
  keel_error error;
  keel_txn txn;
  uint64_t wrong = 0;
  MUST(keel_begin(db, NULL, &txn, &error));
  for (uint64_t done = 0; done < count; done++) {
    uint64_t row = random ? next_random() % set.rows : done;
    put_row(txn, row);
    if (done % (BATCH * 16) != 0) continue;
    watch();
    wrong += !row_is(txn, row, versions[row]);
  }
  check(wrong == 0, "a transaction sees what it has written");
  watch();
  return txn;
}

static void commit_one(const char *step, keel_txn txn, double began, uint64_t rows) {
  keel_error error;
  double committing = seconds();
  MUST(keel_commit(txn, NULL, &error));
  printf("%-22s %8.2f s\n", "committed", seconds() - committing);
  watch();
  say(step, began, rows);
}

static int transaction(void) {
  uint64_t before = resident();
  double began = seconds();
  commit_one("all in one", write_in_one(set.rows, false), began, set.rows);
  check_all();
  began = seconds();
  commit_one("random updates in one", write_in_one(set.updates, true), began, set.updates);
  began = seconds();
  check_all();
  say("checked", began, 2 * set.rows);
  keel_error error;
  began = seconds();
  uint64_t random = set.seed;
  MUST(keel_rollback(write_in_one(set.updates / 4, true), &error));
  say("rolled back", began, set.updates / 4);
  set.seed = random; /* the same rows once more: they are what they were */
  for (uint64_t i = 0; i < set.updates / 4; i++) versions[next_random() % set.rows]--;
  began = seconds();
  MUST(keel_make_checkpoint(db, &error));
  say("merged", began, set.rows);
  check_all();
  check_memory(before);
  verify();
  close_database();
  check(file_size(set.log) == 0, "one file remains");
  open_database();
  check_all();
  close_database();
  return failed == 0 ? 0 : 1;
}

/* ---- one value ---- */

enum { PIECE = 8 << 20 };

static void fill_piece(uint64_t which, uint64_t at, uint8_t *out, size_t size) {
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = mix(which * UINT64_C(0x9e3779b97f4a7c15) + (at + i) / 8);
    memcpy(out + i, &word, sizeof word);
  }
}

static void write_value(uint64_t which, uint64_t size, uint8_t *piece) {
  keel_error error;
  keel_txn txn;
  keel_value value;
  MUST(keel_begin(db, NULL, &txn, &error));
  MUST(keel_value_begin(txn, keyspace, "value", 5, size, &value, &error));
  for (uint64_t at = 0; at < size;) {
    size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
    fill_piece(which, at, piece, PIECE);
    MUST(keel_value_write(value, piece, n, &error));
    at += n;
    watch();
  }
  MUST(keel_value_finish(value, &error));
  MUST(keel_value_end(value, &error));
  MUST(keel_commit(txn, NULL, &error));
  watch();
}

static void check_value(uint64_t which, uint64_t size, uint8_t *piece) {
  keel_error error;
  keel_txn txn;
  uint64_t wrong = 0, whole = 0;
  size_t got = 0;
  uint8_t *expected = malloc(PIECE);
  if (expected == NULL) exit(2);
  MUST(keel_begin(db, NULL, &txn, &error));
  for (uint64_t at = 0; at < size; at += got) {
    MUST(keel_get_part(txn, keyspace, "value", 5, at, piece, PIECE, &got, &whole, &error));
    if (got == 0) break;
    fill_piece(which, at, expected, PIECE);
    wrong += memcmp(piece, expected, got) != 0;
    watch();
  }
  MUST(keel_rollback(txn, &error));
  free(expected);
  check(wrong == 0 && whole == size, "the value is what was written");
}

static int one_value(void) {
  uint64_t before = resident(), size = set.value;
  keel_error error;
  keel_txn txn;
  uint8_t *piece = malloc(PIECE);
  if (piece == NULL) return 2;
  for (uint64_t which = 1; which <= 2; which++) {
    double began = seconds();
    write_value(which, size, piece);
    printf("%-22s %8.2f s %10.1f MB/s\n", which == 1 ? "written" : "replaced", seconds() - began,
           (double)size / 1e6 / (seconds() - began));
    began = seconds();
    check_value(which, size, piece);
    printf("%-22s %8.2f s %10.1f MB/s\n", "read", seconds() - began, (double)size / 1e6 / (seconds() - began));
    say("so far", began, 1);
  }
  close_database();
  check(file_size(set.log) == 0, "one file remains");
  open_database();
  check_value(2, size, piece);
  MUST(keel_begin(db, NULL, &txn, &error));
  MUST(keel_del(txn, keyspace, "value", 5, &error));
  MUST(keel_commit(txn, NULL, &error));
  MUST(keel_compact(db, &error));
  check(file_size(set.path) < size / 4 + (1 << 20), "the file is short again");
  check_memory(before);
  close_database();
  free(piece);
  return failed == 0 ? 0 : 1;
}

/* ---- the command line ---- */

static void usage(FILE *out) {
  (void)fputs(
      "usage: scale churn|cache|load|transaction|value [OPTION]...\n\n"
      "  --rows N          rows (default 100000)\n"
      "  --updates N       random updates (default: five times the rows)\n"
      "  --snapshots N     churn: snapshots of different ages, 1 ... 64 (default 1)\n"
      "  --value BYTES     of each value, up to 64 KiB (default 100); value: of the one, of any size\n"
      "  --cache BYTES     cache_size (default 8 MiB)\n"
      "  --delta BYTES     delta_size (default 4 MiB)\n"
      "  --bulk            load: by a bulk load, not by transactions\n"
      "  --path FILE       where the database is made, and removed again (default: scale.keel)\n"
      "  --seed N          default 1\n"
      "  --max-ratio X     churn: fails when the file grows beyond X times the live data\n"
      "  --max-reachable X churn: fails when it grows beyond X times the live data and what snapshots hold\n"
      "  --end-ratio X     churn: fails when it is larger than X times the live data after compaction, or after close\n"
      "  --max-resident B  cache, load, transaction: fails when more bytes are resident, beside those at the start\n",
      out);
}

static bool parse(int argc, char **argv) {
  static const struct option known[] = {
      {"rows", 1, NULL, 'r'},      {"updates", 1, NULL, 'u'},      {"snapshots", 1, NULL, 's'},
      {"value", 1, NULL, 'v'},     {"cache", 1, NULL, 'c'},        {"delta", 1, NULL, 'd'},
      {"path", 1, NULL, 'p'},      {"seed", 1, NULL, 'S'},         {"max-ratio", 1, NULL, 'm'},
      {"end-ratio", 1, NULL, 'e'}, {"max-resident", 1, NULL, 'M'}, {"max-reachable", 1, NULL, 'R'},
      {"help", 0, NULL, 'h'},      {"bulk", 0, NULL, 'b'},         {NULL, 0, NULL, 0}};
  int what;
  (void)snprintf(set.path, sizeof set.path, "scale.keel");
  while ((what = getopt_long(argc, argv, "h", known, NULL)) != -1) {
    uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 0) : 0;
    switch (what) {
      case 'r':
        set.rows = number;
        break;
      case 'u':
        set.updates = number;
        break;
      case 's':
        set.snapshots = number;
        break;
      case 'v':
        set.value = number;
        break;
      case 'c':
        set.cache = number;
        break;
      case 'd':
        set.delta = number;
        break;
      case 'S':
        set.seed = number;
        break;
      case 'm':
        set.max_ratio = strtod(optarg, NULL);
        break;
      case 'b':
        set.bulk = true;
        break;
      case 'R':
        set.max_reachable = strtod(optarg, NULL);
        break;
      case 'e':
        set.end_ratio = strtod(optarg, NULL);
        break;
      case 'M':
        set.max_resident = number;
        break;
      case 'p':
        (void)snprintf(set.path, sizeof set.path, "%s", optarg);
        break;
      case 'h':
        usage(stdout);
        exit(0);
      default:
        return false;
    }
  }
  if (set.updates == 0) set.updates = 5 * set.rows;
  if (optind != argc - 1 || set.rows == 0) return false;
  return set.value <= 1 << 16 || strcmp(argv[optind], "value") == 0;
}

int main(int argc, char **argv) {
  if (!parse(argc, argv)) {
    usage(stderr);
    return 2;
  }
  const char *mode = argv[optind];
  (void)snprintf(set.log, sizeof set.log, "%s-wal", set.path);
  (void)unlink(set.path);
  (void)unlink(set.log);
  versions = calloc(set.rows, sizeof *versions);
  if (versions == NULL) return 2;
  memset(versions, 0, set.rows * sizeof *versions);
  open_database();
  int result = 2;
  if (strcmp(mode, "churn") == 0) {
    result = churn();
  } else if (strcmp(mode, "cache") == 0) {
    result = larger_than_cache();
  } else if (strcmp(mode, "load") == 0) {
    result = load();
  } else if (strcmp(mode, "transaction") == 0) {
    result = transaction();
  } else if (strcmp(mode, "value") == 0) {
    result = one_value();
  } else {
    usage(stderr);
  }
  free(versions);
  if (failed == 0) (void)unlink(set.path);
  printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
  return result;
}
