/* bench/engine/report.h: the figures of a run as Markdown for people and JSON for programs. */
#ifndef BENCH_ENGINE_REPORT_H
#define BENCH_ENGINE_REPORT_H

#include <stdio.h>

#include "bench/engine/machine.h"
#include "bench/engine/run.h"

/* Medians of the rounds, with Keel's ratio to the best peer and to its goal; then CPU time, spread, versions and
 * settings. `command` repeats the run. */
void bench_report_markdown(FILE *out, const bench_run *run, const bench_machine *machine, const char *command);
/* One object: machine, plan, engines, and one element of "results" per engine and workload, with every round's value.
 */
void bench_report_json(FILE *out, const bench_run *run, const bench_machine *machine, const char *command);

#endif
