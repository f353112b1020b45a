/* bench/wal/bench_wal.c: what a durable append costs, by method, and what the log makes of it.
 *
 *   bench_wal [folder] [batch bytes] [appends]
 *
 * First the bare methods, one thread, each durable before the next: a growing file with fdatasync; space that was only
 * allocated; space that was written with zeros before; the same with O_DSYNC. Then the log itself: durable commits of
 * one thread, of many threads that share syncs, appends without syncs, and reading all of it back. Medians and 99th
 * percentiles in microseconds. The folder (default: the current one) says which file system is measured. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/os/os.h"
#include "../../core/wal/wal.h"

enum { BENCH_THREADS = 16 };

typedef struct bench {
  kl_os *os;
  char path[4096];
  size_t size;
  uint64_t count;
  uint8_t *payload;
  uint64_t *samples;
} bench;

static void bench_check(kl_status status, const kl_error *err) {
  if (status == KL_OK) return;
  (void)fprintf(stderr, "%s: %s\n", kl_status_name(status), err->message);
  exit(1);
}

static int bench_compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void bench_report(const bench *b, const char *name, uint64_t count) {
  uint64_t total = 0;
  for (uint64_t i = 0; i < count; i++) total += b->samples[i];
  qsort(b->samples, count, sizeof *b->samples, bench_compare);
  (void)printf("%-38s %9.1f %9.1f %11.0f\n", name, (double)b->samples[count / 2] / 1e3,
               (double)b->samples[count * 99 / 100] / 1e3, (double)count * 1e9 / (double)total);
}

typedef enum bench_space { BENCH_GROWING, BENCH_ALLOCATED, BENCH_PREWRITTEN } bench_space;

static void bench_method(bench *b, const char *name, bench_space space, bool dsync) {
  static const uint8_t zeros[1 << 20];
  kl_error err = {0};
  kl_file *file = NULL, *writer = NULL;
  uint64_t step = (b->size + 511) / 512 * 512, bytes = b->count * step;
  bench_check(kl_os_open(b->os, b->path, KL_OPEN_WRITE | KL_OPEN_CREATE, 0600, &file, &err), &err);
  if (space != BENCH_GROWING) bench_check(kl_os_allocate(b->os, file, 0, bytes, &err), &err);
  for (uint64_t at = 0; space == BENCH_PREWRITTEN && at < bytes; at += sizeof zeros) {
    kl_slice part = kl_slice_make(zeros, bytes - at < sizeof zeros ? (size_t)(bytes - at) : sizeof zeros);
    bench_check(kl_os_write(b->os, file, &part, 1, at, &err), &err);
  }
  bench_check(kl_os_sync(b->os, file, false, &err), &err);
  bench_check(kl_os_open(b->os, b->path, KL_OPEN_WRITE | (dsync ? KL_OPEN_DSYNC : 0), 0, &writer, &err), &err);
  for (uint64_t i = 0; i < b->count; i++) {
    kl_slice part = kl_slice_make(b->payload, b->size);
    uint64_t begin = kl_os_monotonic_ns(b->os);
    bench_check(kl_os_write(b->os, writer, &part, 1, i * step, &err), &err);
    if (!dsync) bench_check(kl_os_sync(b->os, writer, true, &err), &err);
    b->samples[i] = kl_os_monotonic_ns(b->os) - begin;
  }
  kl_os_close(b->os, writer);
  kl_os_close(b->os, file);
  bench_check(kl_os_remove(b->os, b->path, &err), &err);
  bench_report(b, name, b->count);
}

static kl_wal *bench_create(bench *b, bool prewrite) {
  kl_error err = {0};
  kl_wal *wal = NULL;
  kl_wal_options options = {.prewrite = prewrite};
  bench_check(kl_wal_create(b->os, b->path, &options, &wal, &err), &err);
  return wal;
}

static void bench_close(bench *b, kl_wal *wal) {
  kl_error err = {0};
  kl_wal_close(wal);
  bench_check(kl_os_remove(b->os, b->path, &err), &err);
}

/* Durable appends of one thread, in runs, so that what the probe decided shows. */
static void bench_log_full(bench *b) {
  kl_wal *wal = bench_create(b, true);
  kl_error err = {0};
  kl_wal_stats stats;
  kl_slice part = kl_slice_make(b->payload, b->size);
  for (uint64_t i = 0; i < b->count; i++) {
    kl_lsn end;
    uint64_t begin = kl_os_monotonic_ns(b->os);
    bench_check(kl_wal_append_deferred(wal, &part, 1, i + 1, NULL, &end, &err), &err);
    bench_check(kl_wal_sync(wal, end, &err), &err);
    b->samples[i] = kl_os_monotonic_ns(b->os) - begin;
  }
  kl_wal_get_stats(wal, &stats);
  bench_report(b, stats.uses_dsync ? "log, 1 thread (chose O_DSYNC)" : "log, 1 thread (chose fdatasync)", b->count);
  bench_close(b, wal);
}

typedef struct bench_shared {
  bench *b;
  kl_wal *wal;
  pthread_mutex_t turn;
  uint64_t ts;
} bench_shared;

typedef struct bench_thread {
  bench_shared *shared;
  uint64_t *samples, count;
} bench_thread;

static void *bench_thread_run(void *context) {
  bench_thread *t = context;
  bench_shared *s = t->shared;
  kl_error err = {0};
  kl_slice part = kl_slice_make(s->b->payload, s->b->size);
  for (uint64_t i = 0; i < t->count; i++) {
    kl_lsn end;
    uint64_t begin = kl_os_monotonic_ns(s->b->os);
    (void)pthread_mutex_lock(&s->turn);
    bench_check(kl_wal_append_deferred(s->wal, &part, 1, ++s->ts, NULL, &end, &err), &err);
    (void)pthread_mutex_unlock(&s->turn);
    bench_check(kl_wal_sync(s->wal, end, &err), &err);
    t->samples[i] = kl_os_monotonic_ns(s->b->os) - begin;
  }
  return NULL;
}

static void bench_log_shared(bench *b) {
  pthread_t threads[BENCH_THREADS];
  bench_thread contexts[BENCH_THREADS];
  bench_shared shared = {.b = b, .wal = bench_create(b, true)};
  kl_wal_stats stats;
  char name[64];
  uint64_t each = b->count / BENCH_THREADS;
  (void)pthread_mutex_init(&shared.turn, NULL);
  uint64_t begin = kl_os_monotonic_ns(b->os);
  for (int i = 0; i < BENCH_THREADS; i++) {
    contexts[i] = (bench_thread){&shared, b->samples + (uint64_t)i * each, each};
    if (pthread_create(&threads[i], NULL, bench_thread_run, &contexts[i]) != 0) exit(1);
  }
  for (int i = 0; i < BENCH_THREADS; i++) (void)pthread_join(threads[i], NULL);
  uint64_t ns = kl_os_monotonic_ns(b->os) - begin;
  kl_wal_get_stats(shared.wal, &stats);
  (void)snprintf(name, sizeof name, "log, %d threads, %.1f appends a sync", BENCH_THREADS,
                 (double)stats.appends / (double)stats.syncs);
  qsort(b->samples, each * BENCH_THREADS, sizeof *b->samples, bench_compare);
  (void)printf("%-38s %9.1f %9.1f %11.0f\n", name, (double)b->samples[each * BENCH_THREADS / 2] / 1e3,
               (double)b->samples[each * BENCH_THREADS * 99 / 100] / 1e3,
               (double)(each * BENCH_THREADS) * 1e9 / (double)ns);
  (void)pthread_mutex_destroy(&shared.turn);
  bench_close(b, shared.wal);
}

static void bench_log_unsynced(bench *b) {
  kl_wal *wal = bench_create(b, false);
  kl_error err = {0};
  kl_wal_reader *reader = NULL;
  kl_wal_batch batch;
  kl_slice part = kl_slice_make(b->payload, b->size);
  uint64_t count = b->count * 20, begin = kl_os_monotonic_ns(b->os);
  for (uint64_t i = 0; i < count; i++) bench_check(kl_wal_append(wal, &part, 1, i + 1, NULL, NULL, &err), &err);
  double ns = (double)(kl_os_monotonic_ns(b->os) - begin);
  (void)printf("%-38s %9.1f %9s %11.0f\n", "log, appends without sync (mean)", ns / (double)count / 1e3, "",
               (double)count * 1e9 / ns);
  begin = kl_os_monotonic_ns(b->os);
  bench_check(kl_wal_reader_new(wal, 0, &reader, &err), &err);
  uint64_t read = 0;
  while (kl_wal_reader_next(reader, &batch, &err) == KL_OK) read++;
  ns = (double)(kl_os_monotonic_ns(b->os) - begin);
  if (read != count) exit(1);
  (void)printf("%-38s %9.1f %9s %11.0f\n", "log, reading back (mean)", ns / (double)count / 1e3, "",
               (double)count * 1e9 / ns);
  kl_wal_reader_free(reader);
  bench_close(b, wal);
}

int main(int argc, char **argv) {
  bench b = {.os = kl_os_posix(), .size = 4096, .count = 2000};
  if (argc > 2) b.size = strtoul(argv[2], NULL, 10);
  if (argc > 3) b.count = strtoul(argv[3], NULL, 10);
  if (argc > 4 || b.size == 0 || b.count < BENCH_THREADS) {
    (void)fprintf(stderr, "usage: bench_wal [folder] [batch bytes] [appends, at least %d]\n", BENCH_THREADS);
    return 2;
  }
  (void)snprintf(b.path, sizeof b.path, "%s/bench-wal-%" PRIu64, argc > 1 ? argv[1] : ".", kl_os_process_id(b.os));
  b.payload = malloc(b.size);
  b.samples = malloc(b.count * sizeof *b.samples);
  if (b.payload == NULL || b.samples == NULL) return 1;
  memset(b.payload, 0x6b, b.size);
  (void)printf("%zu bytes a batch, %" PRIu64 " appends\n%-38s %9s %9s %11s\n", b.size, b.count, "method", "median us",
               "p99 us", "appends/s");
  bench_method(&b, "growing file, fdatasync", BENCH_GROWING, false);
  bench_method(&b, "allocated, fdatasync", BENCH_ALLOCATED, false);
  bench_method(&b, "prewritten, fdatasync", BENCH_PREWRITTEN, false);
  bench_method(&b, "prewritten, O_DSYNC", BENCH_PREWRITTEN, true);
  bench_log_full(&b);
  bench_log_shared(&b);
  bench_log_unsynced(&b);
  free(b.samples);
  free(b.payload);
  return 0;
}
