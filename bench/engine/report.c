#include "bench/engine/report.h"

#include <stdlib.h>

/* The rounds of one engine and workload, as numbers in the workload's unit. */
typedef struct report_cell {
  bool present;
  size_t rounds;
  double median, least, most;
  double cpu; /* median, microseconds for each thing counted */
} report_cell;

static int report_compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double report_value(const bench_result *result, bench_unit unit) {
  switch (unit) {
    case BENCH_PER_SECOND:
      return result->wall_ns == 0 ? 0 : (double)result->count * 1e9 / (double)result->wall_ns;
    case BENCH_MILLISECONDS:
      return (double)result->wall_ns / 1e6;
    default:
      return (double)result->bytes / (double)result->count;
  }
}

static double report_median(double *values, size_t count) {
  qsort(values, count, sizeof *values, report_compare);
  return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* The values of all rounds; the caller frees them. */
static double *report_values(const bench_run *run, size_t engine, bench_workload workload, bool cpu,
                             size_t *out_count) {
  double *values = bench_alloc((run->record_count + 1) * sizeof *values);
  *out_count = 0;
  for (size_t i = 0; i < run->record_count; i++) {
    const bench_result *result = &run->records[i].result;
    if (run->records[i].engine != engine || result->workload != workload || result->absent) continue;
    values[(*out_count)++] = cpu ? (double)result->cpu_ns / 1e3 / (double)result->count
                                 : report_value(result, bench_workload_infos[workload].unit);
  }
  return values;
}

static report_cell report_cell_of(const bench_run *run, size_t engine, bench_workload workload) {
  report_cell cell = {0};
  double *values = report_values(run, engine, workload, false, &cell.rounds);
  if (cell.rounds > 0) {
    cell.present = true;
    cell.median = report_median(values, cell.rounds);
    cell.least = values[0];
    cell.most = values[cell.rounds - 1];
  }
  free(values);
  if (cell.present) {
    values = report_values(run, engine, workload, true, &cell.rounds);
    cell.cpu = report_median(values, cell.rounds);
    free(values);
  }
  return cell;
}

static void report_number(FILE *out, double value, bench_unit unit) {
  if (unit == BENCH_PER_SECOND && value >= 1e6) {
    (void)fprintf(out, "%.2f M", value / 1e6);
  } else if (unit == BENCH_PER_SECOND && value >= 1e3) {
    (void)fprintf(out, "%.0f k", value / 1e3);
  } else {
    (void)fprintf(out, value < 10 ? "%.2f" : "%.0f", value);
  }
}

static const char *report_unit(bench_workload workload) {
  switch (bench_workload_infos[workload].unit) {
    case BENCH_PER_SECOND:
      return "/s";
    default:
      return "";
  }
}

static size_t report_engine(const bench_run *run, const char *name) {
  size_t i = 0;
  while (i < run->engine_count && strcmp(run->engines[i]->name, name) != 0) i++;
  return i;
}

/* The peer that does best (or the one that is named); run->engine_count when there is none. */
static size_t report_peer(const bench_run *run, const char *name, bench_workload workload, report_cell *out_cell) {
  size_t best = run->engine_count;
  bool less_is_better = bench_workload_infos[workload].unit != BENCH_PER_SECOND;
  for (size_t i = 0; i < run->engine_count; i++) {
    report_cell cell = report_cell_of(run, i, workload);
    if (!cell.present || strcmp(run->engines[i]->name, "keel") == 0) continue;
    if (name != NULL && strcmp(run->engines[i]->name, name) != 0) continue;
    if (best < run->engine_count &&
        (less_is_better ? cell.median >= out_cell->median : cell.median <= out_cell->median)) {
      continue;
    }
    best = i;
    *out_cell = cell;
  }
  return best;
}

/* The two columns after the engines': ratios to peers, and whether the goals are met. */
static void report_goals(FILE *out, const bench_run *run, bench_workload workload) {
  const bench_workload_info *info = &bench_workload_infos[workload];
  char met[64] = "";
  size_t used = 0;
  report_cell keel = {0}, peer = {0};
  size_t keel_index = report_engine(run, "keel");
  if (keel_index < run->engine_count) keel = report_cell_of(run, keel_index, workload);
  (void)fprintf(out, " ");
  for (int g = 0; g < BENCH_GOALS; g++) {
    const bench_goal *goal = &info->goals[g];
    bench_goal plain = {0, NULL, workload};
    if (goal->factor <= 0) {
      if (g > 0) break;
      goal = &plain; /* no goal, but the ratio is still worth seeing */
    }
    size_t index = report_peer(run, goal->peer, goal->against, &peer);
    if (!keel.present || index == run->engine_count) break;
    double ratio = info->unit == BENCH_PER_SECOND ? keel.median / peer.median : peer.median / keel.median;
    (void)fprintf(out, "%s%.2f × %s%s", g > 0 ? ", " : "", ratio, run->engines[index]->title,
                  goal->against == workload ? "" : "'s point get");
    if (goal->factor > 0 && used < sizeof met) {
      used += (size_t)snprintf(met + used, sizeof met - used, "%s%.1f ×: %s", g > 0 ? ", " : "", goal->factor,
                               ratio >= goal->factor ? "yes" : "**no**");
    }
  }
  (void)fprintf(out, " | %s |\n", met);
}

static bool report_has(const bench_run *run, bench_workload workload) {
  for (size_t i = 0; i < run->record_count; i++) {
    if (run->records[i].result.workload == (uint32_t)workload) return true;
  }
  return false;
}

static void report_header(FILE *out, const bench_run *run, const char *more, int more_columns) {
  (void)fprintf(out, "\n| workload |");
  for (size_t i = 0; i < run->engine_count; i++) (void)fprintf(out, " %s |", run->engines[i]->title);
  (void)fprintf(out, "%s\n|---|", more);
  for (size_t i = 0; i < run->engine_count; i++) (void)fprintf(out, "--:|");
  for (int i = 0; i < more_columns; i++) (void)fprintf(out, "---|");
  (void)fprintf(out, "\n");
}

static void report_medians(FILE *out, const bench_run *run) {
  report_header(out, run, " Keel to the best peer | goal |", 2);
  for (int w = 0; w < BENCH_WORKLOADS; w++) {
    const bench_workload_info *info = &bench_workload_infos[w];
    if (!report_has(run, (bench_workload)w)) continue;
    (void)fprintf(out, "| %s, %s%s |", info->title, info->of, report_unit((bench_workload)w));
    for (size_t i = 0; i < run->engine_count; i++) {
      report_cell cell = report_cell_of(run, i, (bench_workload)w);
      (void)fprintf(out, " ");
      if (cell.present) {
        report_number(out, cell.median, info->unit);
      } else {
        (void)fprintf(out, "–");
      }
      (void)fprintf(out, " |");
    }
    report_goals(out, run, (bench_workload)w);
  }
}

/* CPU time a row, and how far the rounds lie apart: (most - least) / median. */
static void report_cost(FILE *out, const bench_run *run) {
  (void)fprintf(out,
                "\nMicroseconds of CPU time (all threads) for each thing counted; behind the slash the spread of the "
                "rounds, (most − least) / median of the figures above:\n");
  report_header(out, run, "", 0);
  for (int w = 0; w < BENCH_WORKLOADS; w++) {
    if (!report_has(run, (bench_workload)w) || bench_workload_infos[w].unit == BENCH_BYTES_PER_ROW) continue;
    (void)fprintf(out, "| %s |", bench_workload_infos[w].title);
    for (size_t i = 0; i < run->engine_count; i++) {
      report_cell cell = report_cell_of(run, i, (bench_workload)w);
      if (cell.present) {
        double spread = cell.median > 0 ? (cell.most - cell.least) / cell.median * 100 : 0;
        (void)fprintf(out, cell.cpu < 10 ? " %.2f / %.0f %% |" : " %.0f / %.0f %% |", cell.cpu, spread);
      } else {
        (void)fprintf(out, " – |");
      }
    }
    (void)fprintf(out, "\n");
  }
}

static void report_engines(FILE *out, const bench_run *run) {
  char version[64], none[512], full[512];
  (void)fprintf(out, "\nVersions and settings:\n\n");
  for (size_t i = 0; i < run->engine_count; i++) {
    run->engines[i]->version(version, sizeof version);
    run->engines[i]->describe(BENCH_NOSYNC, none, sizeof none);
    run->engines[i]->describe(BENCH_DURABLE, full, sizeof full);
    (void)fprintf(out, "- %s %s. Without sync: %s. Durable: %s.\n", run->engines[i]->title, version, none, full);
  }
}

void bench_report_markdown(FILE *out, const bench_run *run, const bench_machine *machine, const char *command) {
  const bench_plan *plan = &run->plan;
  (void)fprintf(out, "`%s`\n\n", command);
  (void)fprintf(out, "%s, %ld cores, %.0f GiB of memory, %s, stores on %s; load before the run %.2f%s.\n", machine->cpu,
                machine->cores, machine->memory_gib, machine->kernel, machine->file_system, machine->load,
                machine->load > 0.5 ? " (**the machine was not idle**)" : "");
  (void)fprintf(
      out,
      "%llu rows of %d-byte random keys and %d-byte values; medians of %llu rounds, in which the engines take "
      "turns, each in a process of its own. Caches of %.0f MiB, %.1f MiB for the updates. One thread unless said.\n",
      (unsigned long long)plan->rows, BENCH_KEY_SIZE, BENCH_VALUE_SIZE, (unsigned long long)plan->rounds,
      (double)plan->cache_bytes / 1048576.0, (double)plan->update_cache / 1048576.0);
  report_medians(out, run);
  report_cost(out, run);
  report_engines(out, run);
}

static void report_json_text(FILE *out, const char *text) {
  (void)fputc('"', out);
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\') (void)fputc('\\', out);
    (void)fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
  }
  (void)fputc('"', out);
}

static void report_json_engines(FILE *out, const bench_run *run) {
  (void)fprintf(out, "  \"engines\": [");
  for (size_t i = 0; i < run->engine_count; i++) {
    char text[512];
    (void)fprintf(out, "%s\n    {\"name\": \"%s\", \"version\": ", i > 0 ? "," : "", run->engines[i]->name);
    run->engines[i]->version(text, sizeof text);
    report_json_text(out, text);
    (void)fprintf(out, ", \"settings\": ");
    run->engines[i]->describe(BENCH_NOSYNC, text, sizeof text);
    report_json_text(out, text);
    (void)fprintf(out, ", \"settings_durable\": ");
    run->engines[i]->describe(BENCH_DURABLE, text, sizeof text);
    report_json_text(out, text);
    (void)fprintf(out, "}");
  }
  (void)fprintf(out, "\n  ],\n");
}

static void report_json_rounds(FILE *out, const bench_run *run, size_t engine, bench_workload workload, bool cpu) {
  const char *comma = "";
  for (size_t i = 0; i < run->record_count; i++) {
    const bench_result *result = &run->records[i].result;
    if (run->records[i].engine != engine || result->workload != (uint32_t)workload || result->absent) continue;
    (void)fprintf(out, "%s%.6g", comma,
                  cpu ? (double)result->cpu_ns / 1e3 / (double)result->count
                      : report_value(result, bench_workload_infos[workload].unit));
    comma = ", ";
  }
}

void bench_report_json(FILE *out, const bench_run *run, const bench_machine *machine, const char *command) {
  static const char *const units[] = {"per second", "milliseconds", "bytes per row"};
  const char *comma = "";
  (void)fprintf(out, "{\n  \"command\": ");
  report_json_text(out, command);
  (void)fprintf(out, ",\n  \"machine\": {\"cpu\": ");
  report_json_text(out, machine->cpu);
  (void)fprintf(out, ", \"cores\": %ld, \"memory_gib\": %.1f, \"kernel\": ", machine->cores, machine->memory_gib);
  report_json_text(out, machine->kernel);
  (void)fprintf(out, ", \"file_system\": ");
  report_json_text(out, machine->file_system);
  (void)fprintf(out, ", \"load\": %.2f},\n  \"rows\": %llu,\n  \"rounds\": %llu,\n", machine->load,
                (unsigned long long)run->plan.rows, (unsigned long long)run->plan.rounds);
  report_json_engines(out, run);
  (void)fprintf(out, "  \"results\": [");
  for (int w = 0; w < BENCH_WORKLOADS; w++) {
    for (size_t i = 0; i < run->engine_count; i++) {
      if (!report_cell_of(run, i, (bench_workload)w).present) continue;
      (void)fprintf(out, "%s\n    {\"workload\": \"%s\", \"engine\": \"%s\", \"unit\": \"%s\", \"values\": [", comma,
                    bench_workload_infos[w].name, run->engines[i]->name, units[bench_workload_infos[w].unit]);
      report_json_rounds(out, run, i, (bench_workload)w, false);
      (void)fprintf(out, "], \"cpu_us\": [");
      report_json_rounds(out, run, i, (bench_workload)w, true);
      (void)fprintf(out, "]}");
      comma = ",";
    }
  }
  (void)fprintf(out, "\n  ]\n}\n");
}
