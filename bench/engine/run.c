#include "bench/engine/run.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int run_remove_one(const char *path, const struct stat *info, int type, struct FTW *where) {
  (void)info, (void)type, (void)where;
  return remove(path);
}

/* Removes a folder and what is in it. */
static void run_remove(const char *dir) {
  if (nftw(dir, run_remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
    (void)fprintf(stderr, "bench_engine: %s could not be removed; remove it by hand\n", dir);
  }
}

static void run_send(void *context, const bench_result *result) {
  /* Less than PIPE_BUF: one write is whole. */
  if (write(*(int *)context, result, sizeof *result) != (ssize_t)sizeof *result) bench_die("cannot hand over a result");
}

static void run_keep(bench_run *run, size_t engine, const bench_result *result) {
  if (run->record_count == run->record_capacity) {
    size_t capacity = run->record_capacity == 0 ? 64 : run->record_capacity * 2;
    bench_record *grown = realloc(run->records, capacity * sizeof *grown);
    if (grown == NULL) bench_die("out of memory");
    run->records = grown;
    run->record_capacity = capacity;
  }
  run->records[run->record_count++] = (bench_record){(uint32_t)engine, *result};
}

/* One group with one engine, in a process of its own. */
static bool run_one(bench_run *run, const bench_data *data, bench_group group, size_t engine, const char *dir) {
  int ends[2], status = 0;
  bench_result result;
  if (mkdir(dir, 0700) != 0 || pipe(ends) != 0) bench_die("cannot prepare a process in %s", dir);
  (void)fflush(NULL);
  pid_t child = fork();
  if (child < 0) bench_die("cannot fork");
  if (child == 0) {
    (void)close(ends[0]);
    bench_group_run(group, run->engines[engine], &run->plan, data, dir, run_send, &ends[1]);
    _exit(0);
  }
  (void)close(ends[1]);
  for (;;) {
    ssize_t got = read(ends[0], &result, sizeof result);
    if (got < 0 && errno == EINTR) continue;
    if (got != (ssize_t)sizeof result) break;
    run_keep(run, engine, &result);
  }
  (void)close(ends[0]);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  run_remove(dir);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  (void)fprintf(stderr, "bench_engine: %s failed (%s %d)\n", run->engines[engine]->title,
                WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return false;
}

static bool run_rounds(bench_run *run, const bench_data *data, const char *base) {
  char dir[BENCH_PATH_SIZE];
  bench_path(dir, base, "store");
  for (uint64_t round = 0; round < run->plan.rounds; round++) {
    for (int group = 0; group < BENCH_GROUPS; group++) {
      if (!bench_group_wanted((bench_group)group, &run->plan)) continue;
      for (size_t i = 0; i < run->engine_count; i++) {
        size_t engine = (size_t)((round + i) % run->engine_count);
        if (isatty(STDERR_FILENO)) {
          (void)fprintf(stderr, "\rround %llu of %llu, group %d of %d, %s\033[K", (unsigned long long)round + 1,
                        (unsigned long long)run->plan.rounds, group + 1, BENCH_GROUPS, run->engines[engine]->title);
        }
        if (!run_one(run, data, (bench_group)group, engine, dir)) return false;
      }
    }
  }
  if (isatty(STDERR_FILENO)) (void)fprintf(stderr, "\r\033[K");
  return true;
}

/* Every wanted workload must have a result of every engine in every round: a workload that is forgotten is a mistake
 * here. */
static bool run_complete(const bench_run *run) {
  for (int w = 0; w < BENCH_WORKLOADS; w++) {
    uint64_t found = 0;
    for (size_t i = 0; i < run->record_count; i++) found += run->records[i].result.workload == (uint32_t)w;
    if (!run->plan.wanted[w] || found == run->plan.rounds * run->engine_count) continue;
    (void)fprintf(stderr, "bench_engine: %llu results of %s are missing\n",
                  (unsigned long long)(run->plan.rounds * run->engine_count - found), bench_workload_infos[w].name);
    return false;
  }
  return true;
}

bool bench_run_all(bench_run *run) {
  bench_data data;
  char base[BENCH_PATH_SIZE];
  bool ok;
  bench_path(base, run->plan.dir, "bench-engine-XXXXXX");
  if (mkdtemp(base) == NULL) {
    (void)fprintf(stderr, "bench_engine: no folder can be made in %s: pass another one with --dir\n", run->plan.dir);
    return false;
  }
  bench_data_init(&data, run->plan.rows);
  ok = run_rounds(run, &data, base) && run_complete(run);
  bench_data_free(&data);
  run_remove(base);
  return ok;
}

void bench_run_free(bench_run *run) {
  free(run->records);
}
