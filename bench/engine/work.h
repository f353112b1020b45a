/* bench/engine/work.h: the workloads, and the processes in which they run.
 *
 * A group is what one process does with one engine: it fills a store and measures one or several workloads on it.
 * Groups run in an order that mixes the engines (see run.h). */
#ifndef BENCH_ENGINE_WORK_H
#define BENCH_ENGINE_WORK_H

#include "bench/engine/data.h"
#include "bench/engine/engine.h"

typedef enum bench_workload {
  BENCH_FILL_RANDOM,
  BENCH_SETTLE,
  BENCH_SPACE,
  BENCH_OPEN,
  BENCH_GET,
  BENCH_GET_ABSENT,
  BENCH_GET_MANY,
  BENCH_SCAN_FORWARD,
  BENCH_SCAN_BACKWARD,
  BENCH_SEEK_10,
  BENCH_SEEK_100,
  BENCH_DELETE,
  BENCH_PUT,
  BENCH_PUT_2,
  BENCH_FILL_SORTED,
  BENCH_LOAD_SORTED,
  BENCH_UPDATE,
  BENCH_UPDATE_DURABLE,
  BENCH_PUT_DURABLE,
  BENCH_PUT_DURABLE_2,
  BENCH_RECOVERY,
  BENCH_WORKLOADS
} bench_workload;

typedef enum bench_group {
  BENCH_GROUP_READ,
  BENCH_GROUP_PUT,
  BENCH_GROUP_PUT_2,
  BENCH_GROUP_FILL_SORTED,
  BENCH_GROUP_LOAD_SORTED,
  BENCH_GROUP_UPDATE,
  BENCH_GROUP_UPDATE_DURABLE,
  BENCH_GROUP_PUT_DURABLE,
  BENCH_GROUP_PUT_DURABLE_2,
  BENCH_GROUP_RECOVERY,
  BENCH_GROUPS
} bench_group;

typedef enum bench_unit {
  BENCH_PER_SECOND,   /* operations a second: more is better */
  BENCH_MILLISECONDS, /* less is better */
  BENCH_BYTES_PER_ROW /* less is better */
} bench_unit;

/* What Keel is to reach: `factor` times what `peer` reaches in the workload `against`. */
typedef struct bench_goal {
  double factor;    /* 0: no goal */
  const char *peer; /* an engine's name, or NULL for the best of them */
  bench_workload against;
} bench_goal;

enum { BENCH_GOALS = 2 };

typedef struct bench_workload_info {
  const char *name;  /* for --workloads */
  const char *title; /* for the report */
  const char *of;    /* what is counted: "gets" ... */
  bench_unit unit;
  bench_group group;
  bench_goal goals[BENCH_GOALS];
} bench_workload_info;

extern const bench_workload_info bench_workload_infos[BENCH_WORKLOADS];

/* What a run is asked to do. */
typedef struct bench_plan {
  uint64_t rows;
  uint64_t ops;            /* of workloads that do one row at a time; at most rows */
  uint64_t update_seconds; /* an update workload ends behind them, with what it has done */
  uint64_t durable_ops;    /* single durable puts; durable updates are that many, too */
  uint64_t cache_bytes;    /* enough for everything */
  uint64_t update_cache;   /* of the update workloads */
  uint64_t rounds;
  bool wanted[BENCH_WORKLOADS];
  const char *dir;
} bench_plan;

/* One measured number, as it goes from the process that measures to the one that reports. */
typedef struct bench_result {
  uint32_t workload;
  uint32_t absent; /* 1: the engine has no such thing */
  uint64_t count;  /* operations; rows for BENCH_BYTES_PER_ROW */
  uint64_t wall_ns;
  uint64_t cpu_ns; /* of all threads of the process */
  uint64_t bytes;  /* on disk, for BENCH_BYTES_PER_ROW */
} bench_result;

/* Runs a group in the empty folder `dir` and hands each result of a wanted workload to `sink`. Ends the process with
 * bench_die() when a result is wrong. */
typedef void bench_sink(void *context, const bench_result *result);
void bench_group_run(bench_group group, const bench_engine *engine, const bench_plan *plan, const bench_data *data,
                     const char *dir, bench_sink *sink, void *context);

/* Whether any workload of the group is wanted. */
bool bench_group_wanted(bench_group group, const bench_plan *plan);

#endif
