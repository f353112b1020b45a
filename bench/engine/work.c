#include "bench/engine/work.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  WORK_BATCH = 1000,        /* rows of one fill transaction, keys of one get_many */
  WORK_UPDATE_BATCH = 100,  /* rows of one update transaction */
  WORK_CHUNK = 64000,       /* rows that are computed while the clock stands; a multiple of both batches */
  WORK_UPDATE_CHUNK = 2000, /* the same for updates, which may be slow: the time is looked at behind each */
  WORK_SEEK_SHARE = 5,      /* seek + 10 runs ops / 5 times */
  WORK_SEEK_LONG_SHARE = 25 /* seek + 100 runs ops / 25 times */
};

/* ---- The clock ---- */

typedef struct work_clock {
  uint64_t wall_ns, cpu_ns;
  uint64_t wall_began, cpu_began;
} work_clock;

static uint64_t work_wall(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t work_cpu(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void work_start(work_clock *clock) {
  clock->cpu_began = work_cpu();
  clock->wall_began = work_wall();
}

static void work_stop(work_clock *clock) {
  clock->wall_ns += work_wall() - clock->wall_began;
  clock->cpu_ns += work_cpu() - clock->cpu_began;
}

/* ---- What a group works with ---- */

typedef struct work {
  const bench_engine *engine;
  const bench_plan *plan;
  const bench_data *data;
  bench_settings settings;
  void *store;
  void *session;
  bench_sink *sink;
  void *context;
} work;

static void work_report(const work *w, bench_workload workload, const work_clock *clock, uint64_t count) {
  bench_result result = {.workload = workload, .count = count, .wall_ns = clock->wall_ns, .cpu_ns = clock->cpu_ns};
  if (w->plan->wanted[workload]) w->sink(w->context, &result);
}

static void work_report_absent(const work *w, bench_workload workload) {
  bench_result result = {.workload = workload, .absent = 1};
  if (w->plan->wanted[workload]) w->sink(w->context, &result);
}

static void work_open(work *w) {
  w->store = w->engine->open(&w->settings);
  w->session = w->engine->session_open(w->store);
}

static void work_close(work *w) {
  w->engine->session_close(w->session);
  w->engine->close(w->store);
}

static void work_expect(const work *w, const char *what, const bench_tally *found, const bench_tally *expected) {
  if (found->rows == expected->rows && found->sum == expected->sum) return;
  bench_die("%s, %s: %llu rows were read where %llu are right%s", w->engine->title, what,
            (unsigned long long)found->rows, (unsigned long long)expected->rows,
            found->rows == expected->rows ? ", and their bytes are wrong" : "");
}

/* ---- Chunks of rows and keys, made while the clock stands ---- */

typedef struct work_chunk {
  uint8_t *keys;
  uint8_t *values;
  size_t count;
} work_chunk;

static void work_chunk_init(work_chunk *chunk, size_t capacity) {
  chunk->keys = bench_alloc(capacity * BENCH_KEY_SIZE);
  chunk->values = bench_alloc(capacity * BENCH_VALUE_SIZE);
  chunk->count = 0;
}

static void work_chunk_free(work_chunk *chunk) {
  free(chunk->keys);
  free(chunk->values);
}

/* How the n-th row of a fill is found. Rows 0, 1, 2 ... have keys in random order; by rank they come sorted. */
typedef enum work_order { WORK_RANDOM, WORK_BY_RANK, WORK_SEQUENTIAL } work_order;

static void work_chunk_fill(work_chunk *chunk, const bench_data *data, work_order order, uint64_t begin, size_t count) {
  chunk->count = count;
  for (size_t i = 0; i < count; i++) {
    uint64_t index = order == WORK_BY_RANK ? data->ranks[begin + i].index : begin + i;
    uint8_t *key = chunk->keys + i * BENCH_KEY_SIZE;
    if (order == WORK_SEQUENTIAL) {
      bench_key_sequential(index, key);
    } else {
      bench_key_random(index, key);
    }
    bench_value(index, 0, chunk->values + i * BENCH_VALUE_SIZE);
  }
}

static bench_rows work_slice(const work_chunk *chunk, size_t begin, size_t most) {
  size_t count = chunk->count - begin < most ? chunk->count - begin : most;
  return (bench_rows){chunk->keys + begin * BENCH_KEY_SIZE, chunk->values + begin * BENCH_VALUE_SIZE, count, false};
}

/* Stores all rows, WORK_BATCH a transaction. */
static void work_fill(work *w, work_order order, work_clock *clock) {
  work_chunk chunk;
  uint64_t rows = w->data->rows;
  work_chunk_init(&chunk, WORK_CHUNK);
  for (uint64_t begin = 0; begin < rows; begin += WORK_CHUNK) {
    work_chunk_fill(&chunk, w->data, order, begin, rows - begin < WORK_CHUNK ? (size_t)(rows - begin) : WORK_CHUNK);
    work_start(clock);
    for (size_t i = 0; i < chunk.count; i += WORK_BATCH) {
      bench_rows batch = work_slice(&chunk, i, WORK_BATCH);
      batch.sorted = order != WORK_RANDOM;
      w->engine->write(w->session, &batch);
    }
    work_stop(clock);
  }
  work_chunk_free(&chunk);
}

/* ---- Reading ---- */

/* Random row numbers that are the same in every process. */
static uint64_t work_random_row(uint64_t seed, uint64_t n, uint64_t rows) {
  return bench_mix(bench_mix(seed) ^ n) % rows;
}

typedef enum work_read { WORK_GET, WORK_GET_ABSENT, WORK_GET_MANY, WORK_SEEK_10, WORK_SEEK_100 } work_read;

static void work_read_chunk(const work *w, work_read kind, const work_chunk *chunk, bench_tally *tally) {
  const bench_engine *engine = w->engine;
  const uint8_t *keys = chunk->keys, *end = keys + chunk->count * BENCH_KEY_SIZE;
  if (kind == WORK_GET_MANY) {
    for (size_t i = 0; i < chunk->count; i += WORK_BATCH) {
      bench_rows batch = work_slice(chunk, i, WORK_BATCH);
      engine->get_many(w->session, batch.keys, batch.count, tally);
    }
  } else if (kind == WORK_SEEK_10 || kind == WORK_SEEK_100) {
    for (; keys < end; keys += BENCH_KEY_SIZE) engine->seek(w->session, keys, kind == WORK_SEEK_10 ? 10 : 100, tally);
  } else {
    for (; keys < end; keys += BENCH_KEY_SIZE) engine->get(w->session, keys, tally);
  }
}

/* Reads `count` random keys; those of absent rows follow the rows that are there, those of seeks mostly lie between
 * rows. */
static void work_reads(const work *w, bench_workload workload, work_read kind, uint64_t count) {
  work_chunk chunk;
  work_clock clock = {0};
  uint64_t rows = w->data->rows;
  work_chunk_init(&chunk, WORK_CHUNK);
  for (uint64_t begin = 0; begin < count; begin += WORK_CHUNK) {
    bench_tally found = {0}, expected = {0};
    chunk.count = count - begin < WORK_CHUNK ? (size_t)(count - begin) : WORK_CHUNK;
    for (size_t i = 0; i < chunk.count; i++) {
      uint64_t row = work_random_row((uint64_t)workload, begin + i, rows);
      uint8_t *key = chunk.keys + i * BENCH_KEY_SIZE;
      bench_key_random(kind == WORK_GET || kind == WORK_GET_MANY ? row : row + rows, key);
      if (kind == WORK_GET || kind == WORK_GET_MANY) {
        expected.rows++;
        expected.sum += bench_expected_sum(row, 0);
      } else if (kind != WORK_GET_ABSENT) {
        bench_data_seek(w->data, key, kind == WORK_SEEK_10 ? 10 : 100, &expected);
      }
    }
    work_start(&clock);
    work_read_chunk(w, kind, &chunk, &found);
    work_stop(&clock);
    work_expect(w, bench_workload_infos[workload].title, &found, &expected);
  }
  work_chunk_free(&chunk);
  work_report(w, workload, &clock, count);
}

static void work_scan(const work *w, bench_workload workload, bool backward) {
  work_clock clock = {0};
  bench_tally found = {0};
  work_start(&clock);
  w->engine->scan(w->session, backward, &found);
  work_stop(&clock);
  work_expect(w, bench_workload_infos[workload].title, &found, &w->data->all);
  work_report(w, workload, &clock, found.rows);
}

static uint64_t work_at_least_one(uint64_t number) {
  return number > 0 ? number : 1;
}

static void work_read_all(work *w) {
  const bool *wanted = w->plan->wanted;
  uint64_t ops = w->plan->ops;
  bench_tally warm = {0};
  w->engine->read_begin(w->session);
  w->engine->scan(w->session, false, &warm); /* so that caches are as warm as they get */
  work_expect(w, "the first scan", &warm, &w->data->all);
  if (wanted[BENCH_GET]) work_reads(w, BENCH_GET, WORK_GET, ops);
  if (wanted[BENCH_GET_ABSENT]) work_reads(w, BENCH_GET_ABSENT, WORK_GET_ABSENT, ops);
  if (wanted[BENCH_GET_MANY] && w->engine->get_many != NULL) work_reads(w, BENCH_GET_MANY, WORK_GET_MANY, ops);
  if (w->engine->get_many == NULL) work_report_absent(w, BENCH_GET_MANY);
  if (wanted[BENCH_SCAN_FORWARD]) work_scan(w, BENCH_SCAN_FORWARD, false);
  if (wanted[BENCH_SCAN_BACKWARD]) work_scan(w, BENCH_SCAN_BACKWARD, true);
  if (wanted[BENCH_SEEK_10]) work_reads(w, BENCH_SEEK_10, WORK_SEEK_10, work_at_least_one(ops / WORK_SEEK_SHARE));
  if (wanted[BENCH_SEEK_100]) {
    work_reads(w, BENCH_SEEK_100, WORK_SEEK_100, work_at_least_one(ops / WORK_SEEK_LONG_SHARE));
  }
  w->engine->read_end(w->session);
}

/* Removes the first half of the rows, whose keys lie everywhere, and looks at what is left. */
static void work_delete(const work *w) {
  work_chunk chunk;
  work_clock clock = {0};
  uint64_t count = w->data->rows / 2;
  bench_tally left = w->data->all, found = {0};
  work_chunk_init(&chunk, WORK_CHUNK);
  for (uint64_t begin = 0; begin < count; begin += WORK_CHUNK) {
    work_chunk_fill(&chunk, w->data, WORK_RANDOM, begin,
                    count - begin < WORK_CHUNK ? (size_t)(count - begin) : WORK_CHUNK);
    for (size_t i = 0; i < chunk.count; i++) left.sum -= bench_expected_sum(begin + i, 0);
    left.rows -= chunk.count;
    work_start(&clock);
    for (size_t i = 0; i < chunk.count; i += WORK_BATCH) {
      bench_rows batch = work_slice(&chunk, i, WORK_BATCH);
      w->engine->erase(w->session, batch.keys, batch.count);
    }
    work_stop(&clock);
  }
  work_chunk_free(&chunk);
  w->engine->read_begin(w->session);
  w->engine->scan(w->session, false, &found);
  w->engine->read_end(w->session);
  work_expect(w, "the scan after deletes", &found, &left);
  work_report(w, BENCH_DELETE, &clock, count);
}

/* ---- Space ---- */

/* Bytes of disk that the files of a folder take, sparse ones by what is there. */
static uint64_t work_space_of(const char *dir) {
  uint64_t bytes = 0;
  DIR *stream = opendir(dir);
  if (stream == NULL) bench_die("cannot list %s", dir);
  for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
    char path[BENCH_PATH_SIZE];
    struct stat info;
    bench_path(path, dir, entry->d_name);
    if (lstat(path, &info) == 0 && S_ISREG(info.st_mode)) bytes += (uint64_t)info.st_blocks * 512;
  }
  (void)closedir(stream);
  return bytes;
}

static void work_space(const work *w) {
  bench_result result = {.workload = BENCH_SPACE, .count = w->data->rows};
  int folder = open(w->settings.dir, O_RDONLY | O_DIRECTORY);
  if (folder < 0 || syncfs(folder) != 0) bench_die("cannot sync %s", w->settings.dir); /* blocks are allocated late */
  (void)close(folder);
  result.bytes = work_space_of(w->settings.dir);
  if (w->plan->wanted[BENCH_SPACE]) w->sink(w->context, &result);
}

/* ---- The groups ---- */

static void work_group_read(work *w) {
  work_clock fill = {0}, settle = {0}, open = {0};
  bench_tally found = {0}, expected = {1, bench_expected_sum(0, 0)};
  uint8_t key[BENCH_KEY_SIZE];
  bench_key_random(0, key);
  work_open(w);
  work_fill(w, WORK_RANDOM, &fill);
  work_report(w, BENCH_FILL_RANDOM, &fill, w->data->rows);
  work_start(&settle);
  w->engine->settle(w->store);
  work_stop(&settle);
  work_report(w, BENCH_SETTLE, &settle, 1);
  work_close(w);
  work_space(w);
  work_start(&open);
  work_open(w);
  w->engine->read_begin(w->session);
  w->engine->get(w->session, key, &found);
  work_stop(&open);
  w->engine->read_end(w->session);
  work_expect(w, "the first get", &found, &expected);
  work_report(w, BENCH_OPEN, &open, 1);
  work_read_all(w);
  if (w->plan->wanted[BENCH_DELETE]) work_delete(w);
  work_close(w);
}

typedef struct work_putter {
  const bench_engine *engine;
  void *session;
  work_chunk chunk;
  pthread_barrier_t *start;
} work_putter;

static void *work_put_thread(void *context) {
  work_putter *putter = context;
  const uint8_t *key = putter->chunk.keys, *value = putter->chunk.values;
  (void)pthread_barrier_wait(putter->start);
  for (size_t i = 0; i < putter->chunk.count; i++, key += BENCH_KEY_SIZE, value += BENCH_VALUE_SIZE) {
    putter->engine->put(putter->session, key, value);
  }
  return NULL;
}

/* Single puts of the first `count` rows into an empty store, from 1 or 2 threads with sessions of their own. */
static void work_group_put(work *w, bench_workload workload, unsigned threads, uint64_t count) {
  work_putter putters[2];
  pthread_t ids[2];
  pthread_barrier_t start;
  work_clock clock = {0};
  bench_tally found = {0}, expected = {0};
  work_open(w);
  if (pthread_barrier_init(&start, NULL, threads + 1) != 0) bench_die("no barrier");
  for (unsigned t = 0; t < threads; t++) {
    uint64_t begin = count * t / threads, end = count * (t + 1) / threads;
    putters[t] = (work_putter){w->engine, w->engine->session_open(w->store), {0}, &start};
    work_chunk_init(&putters[t].chunk, (size_t)(end - begin) + 1);
    work_chunk_fill(&putters[t].chunk, w->data, WORK_RANDOM, begin, (size_t)(end - begin));
    for (uint64_t i = begin; i < end; i++) expected.sum += bench_expected_sum(i, 0);
    if (pthread_create(&ids[t], NULL, work_put_thread, &putters[t]) != 0) bench_die("no thread");
  }
  expected.rows = count;
  work_start(&clock);
  (void)pthread_barrier_wait(&start);
  for (unsigned t = 0; t < threads; t++) (void)pthread_join(ids[t], NULL);
  work_stop(&clock);
  for (unsigned t = 0; t < threads; t++) {
    w->engine->session_close(putters[t].session);
    work_chunk_free(&putters[t].chunk);
  }
  (void)pthread_barrier_destroy(&start);
  w->engine->read_begin(w->session);
  w->engine->scan(w->session, false, &found);
  w->engine->read_end(w->session);
  work_expect(w, "the scan after puts", &found, &expected);
  work_report(w, workload, &clock, count);
  work_close(w);
}

/* Rows counted and looked at by sequential key, whose sums data.h does not know. */
static void work_check_sequential(work *w) {
  bench_tally found = {0}, expected = {w->data->rows, 0};
  for (uint64_t i = 0; i < w->data->rows; i++) {
    uint8_t key[BENCH_KEY_SIZE], value[BENCH_VALUE_SIZE];
    bench_key_sequential(i, key);
    bench_value(i, 0, value);
    expected.sum += bench_row_sum(key, value);
  }
  w->engine->read_begin(w->session);
  w->engine->scan(w->session, false, &found);
  w->engine->read_end(w->session);
  work_expect(w, "the scan after a sorted fill", &found, &expected);
}

static void work_group_fill_sorted(work *w) {
  work_clock clock = {0};
  work_open(w);
  work_fill(w, WORK_SEQUENTIAL, &clock);
  work_report(w, BENCH_FILL_SORTED, &clock, w->data->rows);
  work_check_sequential(w);
  work_close(w);
}

typedef struct work_loader {
  const work *w;
  work_chunk chunk;
  uint64_t next;
  size_t taken; /* of the chunk */
  work_clock clock;
} work_loader;

/* The clock stands while the next chunk is made. */
static bool work_load_next(void *context, bench_rows *out_rows) {
  work_loader *loader = context;
  uint64_t left = loader->w->data->rows - loader->next;
  if (loader->taken == loader->chunk.count) {
    if (left == 0) return false;
    work_stop(&loader->clock);
    work_chunk_fill(&loader->chunk, loader->w->data, WORK_SEQUENTIAL, loader->next,
                    left < WORK_CHUNK ? (size_t)left : WORK_CHUNK);
    loader->taken = 0;
    loader->next += loader->chunk.count;
    work_start(&loader->clock);
  }
  *out_rows = work_slice(&loader->chunk, loader->taken, WORK_BATCH);
  out_rows->sorted = true;
  loader->taken += out_rows->count;
  return true;
}

static void work_group_load_sorted(work *w) {
  work_loader loader = {.w = w};
  bench_rows rows;
  work_chunk_init(&loader.chunk, WORK_CHUNK);
  work_open(w);
  work_start(&loader.clock);
  if (w->engine->load != NULL) {
    w->engine->load(w->session, work_load_next, &loader);
  } else {
    while (work_load_next(&loader, &rows)) w->engine->write(w->session, &rows);
  }
  work_stop(&loader.clock);
  work_report(w, BENCH_LOAD_SORTED, &loader.clock, w->data->rows);
  work_check_sequential(w);
  work_close(w);
  work_chunk_free(&loader.chunk);
}

/* Looks at some of the rows and counts all of them. */
static void work_check_versions(work *w, const uint8_t *versions) {
  bench_tally found = {0}, expected = {w->data->rows, 0}, all = {0};
  uint8_t key[BENCH_KEY_SIZE];
  for (uint64_t i = 0; i < w->data->rows; i++) expected.sum += bench_expected_sum(i, versions[i]);
  w->engine->read_begin(w->session);
  w->engine->scan(w->session, false, &all);
  bench_key_random(0, key);
  w->engine->get(w->session, key, &found);
  w->engine->read_end(w->session);
  work_expect(w, "the scan after updates", &all, &expected);
  work_expect(w, "the get after updates", &found, &(bench_tally){1, bench_expected_sum(0, versions[0])});
}

/* Updates of random rows in a store that was filled before and has a cache of a tenth of its rows; `count` of them,
 * or as many as the time allows. */
static void work_group_update(work *w, bench_workload workload, bench_durability durability, uint64_t count) {
  work_chunk chunk;
  work_clock clock = {0}, unused = {0};
  uint64_t rows = w->data->rows, done = 0;
  uint8_t *versions = bench_alloc(rows);
  memset(versions, 0, rows);
  work_open(w);
  work_fill(w, WORK_BY_RANK, &unused);
  w->engine->settle(w->store);
  work_close(w);
  w->settings.durability = durability;
  w->settings.cache_bytes = w->plan->update_cache;
  work_open(w);
  work_chunk_init(&chunk, WORK_UPDATE_CHUNK);
  for (; done < count && clock.wall_ns < w->plan->update_seconds * UINT64_C(1000000000); done += chunk.count) {
    chunk.count = count - done < WORK_UPDATE_CHUNK ? (size_t)(count - done) : WORK_UPDATE_CHUNK;
    for (size_t i = 0; i < chunk.count; i++) {
      uint64_t row = work_random_row((uint64_t)workload, done + i, rows);
      versions[row]++;
      bench_key_random(row, chunk.keys + i * BENCH_KEY_SIZE);
      bench_value(row, versions[row], chunk.values + i * BENCH_VALUE_SIZE);
    }
    work_start(&clock);
    for (size_t i = 0; i < chunk.count; i += WORK_UPDATE_BATCH) {
      bench_rows batch = work_slice(&chunk, i, WORK_UPDATE_BATCH);
      w->engine->write(w->session, &batch);
    }
    work_stop(&clock);
  }
  work_chunk_free(&chunk);
  work_check_versions(w, versions);
  work_report(w, workload, &clock, done);
  work_close(w);
  free(versions);
}

/* A process fills the store and ends without closing anything; then the time to open it again is taken. */
static void work_group_recovery(work *w) {
  work_clock clock = {0}, unused = {0};
  bench_tally found = {0};
  int status = 0;
  pid_t child = fork();
  if (child < 0) bench_die("cannot fork");
  if (child == 0) {
    work_open(w);
    work_fill(w, WORK_RANDOM, &unused);
    _exit(0);
  }
  if (waitpid(child, &status, 0) != child || status != 0) bench_die("the process that fills failed");
  work_start(&clock);
  work_open(w);
  work_stop(&clock);
  w->engine->read_begin(w->session);
  w->engine->scan(w->session, false, &found);
  w->engine->read_end(w->session);
  work_expect(w, "the scan after recovery", &found, &w->data->all);
  work_report(w, BENCH_RECOVERY, &clock, 1);
  work_close(w);
}

void bench_group_run(bench_group group, const bench_engine *engine, const bench_plan *plan, const bench_data *data,
                     const char *dir, bench_sink *sink, void *context) {
  work w = {.engine = engine, .plan = plan, .data = data, .sink = sink, .context = context};
  w.settings = (bench_settings){dir, BENCH_NOSYNC, plan->cache_bytes, data->rows * BENCH_ROW_SIZE};
  switch (group) {
    case BENCH_GROUP_READ:
      work_group_read(&w);
      break;
    case BENCH_GROUP_PUT:
      work_group_put(&w, BENCH_PUT, 1, plan->ops);
      break;
    case BENCH_GROUP_PUT_2:
      work_group_put(&w, BENCH_PUT_2, 2, plan->ops);
      break;
    case BENCH_GROUP_FILL_SORTED:
      work_group_fill_sorted(&w);
      break;
    case BENCH_GROUP_LOAD_SORTED:
      work_group_load_sorted(&w);
      break;
    case BENCH_GROUP_UPDATE:
      work_group_update(&w, BENCH_UPDATE, BENCH_NOSYNC, plan->ops);
      break;
    case BENCH_GROUP_UPDATE_DURABLE:
      work_group_update(&w, BENCH_UPDATE_DURABLE, BENCH_DURABLE, plan->durable_ops * WORK_UPDATE_BATCH / 10);
      break;
    case BENCH_GROUP_PUT_DURABLE:
    case BENCH_GROUP_PUT_DURABLE_2:
      w.settings.durability = BENCH_DURABLE;
      if (group == BENCH_GROUP_PUT_DURABLE) {
        work_group_put(&w, BENCH_PUT_DURABLE, 1, plan->durable_ops);
      } else {
        work_group_put(&w, BENCH_PUT_DURABLE_2, 2, plan->durable_ops);
      }
      break;
    default:
      w.settings.durability = BENCH_PROCESS;
      work_group_recovery(&w);
      break;
  }
}
