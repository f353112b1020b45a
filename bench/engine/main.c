/* bench/engine/main.c: bench_engine, Keel beside its peers in one run. See README.md beside this file, or --help. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/engine/report.h"

enum { MAIN_ENGINES = 6, MAIN_LIST = 256 };

static const bench_engine *const main_engines[] = {
    &bench_keel,
#ifdef BENCH_WITH_LMDB
    &bench_lmdb,
#endif
#ifdef BENCH_WITH_ROCKSDB
    &bench_rocksdb,
#endif
#ifdef BENCH_WITH_SQLITE
    &bench_sqlite,
#endif
#ifdef BENCH_WITH_WIREDTIGER
    &bench_wiredtiger,
#endif
#ifdef BENCH_WITH_LEVELDB
    &bench_leveldb,
#endif
};
static const size_t main_engine_count = sizeof main_engines / sizeof main_engines[0];

void bench_die(const char *format, ...) {
  va_list arguments;
  (void)fprintf(stderr, "bench_engine: ");
  va_start(arguments, format);
  (void)vfprintf(stderr, format, arguments);
  va_end(arguments);
  (void)fprintf(stderr, "\n");
  (void)fflush(NULL);
  _exit(1);
}

void *bench_alloc(size_t size) {
  void *memory = malloc(size > 0 ? size : 1);
  if (memory == NULL) bench_die("out of memory for %zu bytes", size);
  return memory;
}

void bench_path(char *buffer, const char *dir, const char *name) {
  int length = snprintf(buffer, BENCH_PATH_SIZE, "%s/%s", dir, name);
  if (length < 0 || length >= BENCH_PATH_SIZE) bench_die("the path of %s is too long", name);
}

static void main_usage(FILE *out) {
  (void)fprintf(
      out,
      "usage: bench_engine [OPTION]...\n\n"
      "Measures Keel and the engines that were installed when it was built, and prints a report in Markdown.\n"
      "Every result is checked: a wrong one ends the run.\n\n"
      "  --engines A,B      only these (default: all)\n"
      "  --workloads A,B    only these (default: all)\n"
      "  --rows N           rows of the data set (default 1000000)\n"
      "  --ops N            single gets, puts, updates; at most the rows (default: the rows)\n"
      "  --durable-ops N    single puts that are synced, and a tenth of it transactions of durable updates\n"
      "                     (default 2000)\n"
      "  --cache MIB        memory for caches (default: six times the data, at least 1024)\n"
      "  --update-cache MIB memory for caches in the update workloads (default: a tenth of the data)\n"
      "  --rounds N         default 5\n"
      "  --dir DIR          where the stores are made, and removed again (default: the current folder)\n"
      "  --json FILE        also writes all figures there\n\nengines:");
  for (size_t i = 0; i < main_engine_count; i++) (void)fprintf(out, " %s", main_engines[i]->name);
  (void)fprintf(out, "\nworkloads:\n");
  for (int w = 0; w < BENCH_WORKLOADS; w++) {
    (void)fprintf(out, "  %-16s %s\n", bench_workload_infos[w].name, bench_workload_infos[w].title);
  }
}

static uint64_t main_number(const char *option, const char *text, uint64_t least) {
  char *end;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || *text == '-' || number < least || number > UINT64_C(4000000000)) {
    (void)fprintf(stderr, "bench_engine: %s needs a number from %llu to 4000000000, not '%s'\n", option,
                  (unsigned long long)least, text);
    exit(2);
  }
  return number;
}

/* Takes the next name off a list that is separated by commas; false at its end. */
static bool main_next_name(const char **list, char *name, size_t size) {
  size_t length = strcspn(*list, ",");
  if (length == 0 || length >= size) return false;
  memcpy(name, *list, length);
  name[length] = '\0';
  *list += length + ((*list)[length] == ',');
  return true;
}

static void main_choose_engines(const char *list, const bench_engine **engines, size_t *count) {
  char name[MAIN_LIST];
  *count = 0;
  while (main_next_name(&list, name, sizeof name)) {
    size_t i = 0;
    while (i < main_engine_count && strcmp(main_engines[i]->name, name) != 0) i++;
    if (i == main_engine_count || *count == MAIN_ENGINES) {
      (void)fprintf(stderr, "bench_engine: there is no engine '%s' in this build (see --help)\n", name);
      exit(2);
    }
    engines[(*count)++] = main_engines[i];
  }
}

static void main_choose_workloads(const char *list, bool *wanted) {
  char name[MAIN_LIST];
  memset(wanted, 0, BENCH_WORKLOADS * sizeof *wanted);
  while (main_next_name(&list, name, sizeof name)) {
    int w = 0;
    while (w < BENCH_WORKLOADS && strcmp(bench_workload_infos[w].name, name) != 0) w++;
    if (w == BENCH_WORKLOADS) {
      (void)fprintf(stderr, "bench_engine: there is no workload '%s' (see --help)\n", name);
      exit(2);
    }
    wanted[w] = true;
  }
}

typedef struct main_options {
  const char *json;
  uint64_t cache_mib, update_cache_mib, ops;
} main_options;

/* Takes one option and its value. */
static void main_option(const char *option, const char *value, bench_plan *plan, const bench_engine **engines,
                        size_t *engine_count, main_options *more) {
  if (strcmp(option, "--engines") == 0) {
    main_choose_engines(value, engines, engine_count);
  } else if (strcmp(option, "--workloads") == 0) {
    main_choose_workloads(value, plan->wanted);
  } else if (strcmp(option, "--rows") == 0) {
    plan->rows = main_number(option, value, 2);
  } else if (strcmp(option, "--ops") == 0) {
    more->ops = main_number(option, value, 2);
  } else if (strcmp(option, "--durable-ops") == 0) {
    plan->durable_ops = main_number(option, value, 10);
  } else if (strcmp(option, "--cache") == 0) {
    more->cache_mib = main_number(option, value, 1);
  } else if (strcmp(option, "--update-cache") == 0) {
    more->update_cache_mib = main_number(option, value, 1);
  } else if (strcmp(option, "--update-seconds") == 0) {
    plan->update_seconds = main_number(option, value, 1);
  } else if (strcmp(option, "--rounds") == 0) {
    plan->rounds = main_number(option, value, 1);
  } else if (strcmp(option, "--dir") == 0) {
    plan->dir = value;
  } else if (strcmp(option, "--json") == 0) {
    more->json = value;
  } else {
    (void)fprintf(stderr, "bench_engine: there is no option '%s' (see --help)\n", option);
    exit(2);
  }
}

static void main_parse(int argc, char **argv, bench_plan *plan, const bench_engine **engines, size_t *engine_count,
                       main_options *more) {
  *plan = (bench_plan){.rows = 1000000, .update_seconds = 20, .durable_ops = 2000, .rounds = 5, .dir = "."};
  for (int w = 0; w < BENCH_WORKLOADS; w++) plan->wanted[w] = true;
  memcpy(engines, main_engines, sizeof main_engines);
  *engine_count = main_engine_count;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      main_usage(stdout);
      exit(0);
    }
    if (i + 1 == argc) {
      (void)fprintf(stderr, "bench_engine: %s needs a value (see --help)\n", argv[i]);
      exit(2);
    }
    main_option(argv[i], argv[i + 1], plan, engines, engine_count, more);
  }
  uint64_t data = plan->rows * BENCH_ROW_SIZE, mib = 1 << 20;
  plan->ops = more->ops == 0 || more->ops > plan->rows ? plan->rows : more->ops;
  plan->cache_bytes = more->cache_mib > 0 ? more->cache_mib * mib : data * 6 > 1024 * mib ? data * 6 : 1024 * mib;
  plan->update_cache = more->update_cache_mib > 0 ? more->update_cache_mib * mib : data / 10;
}

int main(int argc, char **argv) {
  static char command[BENCH_PATH_SIZE];
  const bench_engine *engines[MAIN_ENGINES];
  bench_run run = {0};
  bench_machine machine;
  main_options more = {0};
  size_t used = 0;
  main_parse(argc, argv, &run.plan, engines, &run.engine_count, &more);
  run.engines = engines;
  for (int i = 0; i < argc && used < sizeof command; i++) {
    used += (size_t)snprintf(command + used, sizeof command - used, "%s%s", i > 0 ? " " : "", argv[i]);
  }
  bench_machine_read(&machine, run.plan.dir);
  bool ok = bench_run_all(&run);
  if (ok) bench_report_markdown(stdout, &run, &machine, command);
  if (ok && more.json != NULL) {
    FILE *file = fopen(more.json, "w");
    if (file == NULL) bench_die("%s cannot be written", more.json);
    bench_report_json(file, &run, &machine, command);
    if (fclose(file) != 0) bench_die("%s cannot be written", more.json);
  }
  bench_run_free(&run);
  return ok ? 0 : 1;
}
