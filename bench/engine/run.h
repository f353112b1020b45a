/* bench/engine/run.h: rounds of all groups and engines, each in a process of its own.
 *
 * Round by round, and inside a round group by group, the engines take turns; who begins changes with the round. So
 * what the machine does meanwhile (its clock, its neighbours, its disk) hits all of them alike. A process of its own
 * for each means that no engine sees another's memory, threads or dirty caches of the allocator. */
#ifndef BENCH_ENGINE_RUN_H
#define BENCH_ENGINE_RUN_H

#include "bench/engine/work.h"

typedef struct bench_record {
  uint32_t engine; /* index into bench_run.engines */
  bench_result result;
} bench_record;

typedef struct bench_run {
  bench_plan plan;
  const bench_engine *const *engines;
  size_t engine_count;
  bench_record *records;
  size_t record_count;
  size_t record_capacity;
} bench_run;

/* Runs everything; progress goes to stderr. False when a process failed, after its message; the rest is not run then.
 */
bool bench_run_all(bench_run *run);
void bench_run_free(bench_run *run);

#endif
