/* capi/tool/keel_check.c: the program keel-check: is a database sound, and what can be saved of it. It uses nothing but the
 * public library. */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <keel/keel.h>

enum { EXIT_SOUND = 0, EXIT_DAMAGED = 1, EXIT_USAGE = 2, EXIT_CANNOT = 3 };
#define STEP_BYTES (UINT64_C(16) << 20)

static const char help_text[] =
    "usage: keel-check verify [--json] [--quiet] PATH\n"
    "       keel-check salvage [--json] [--quiet] PATH NEW-PATH\n"
    "\n"
    "verify   reads every page and value of the database at PATH, and compares it with its checksums, order and "
    "counts, and\n"
    "         with the map of used space. Nothing is written. The database must not be open for writing elsewhere.\n"
    "salvage  copies what is sound of the database at PATH into a new one at NEW-PATH. PATH is not changed, and need "
    "not\n"
    "         be whole enough to be opened.\n"
    "\n"
    "  --json     print the result as one JSON object\n"
    "  --quiet    no progress; it is shown on a terminal only\n"
    "  --help     this text\n"
    "  --version  the version of the library\n"
    "\n"
    "Exit status: 0 sound, everything was copied; 1 damaged, or something is lost; 2 wrong usage; 3 it could not be "
    "done\n"
    "(no such database, no permission, no room ...).\n";

typedef struct program {
  bool json, progress;
  const char *path, *new_path;
} program;

/* Text of the library and names of files in a JSON string. Bytes that are not UTF-8 stay as they are. */
static void print_json_text(const char *text) {
  (void)putchar('"');
  for (const unsigned char *at = (const unsigned char *)text; *at != 0; at++) {
    if (*at == '"' || *at == '\\') {
      (void)printf("\\%c", *at);
    } else if (*at < 0x20) {
      (void)printf("\\u%04x", *at);
    } else {
      (void)putchar(*at);
    }
  }
  (void)putchar('"');
}

static int cannot(const program *self, const keel_error *error) {
  if (self->json) {
    (void)printf("{\"error\": ");
    print_json_text(keel_status_name(error->code));
    (void)printf(", \"message\": ");
    print_json_text(error->message);
    (void)printf("}\n");
  } else {
    (void)fprintf(stderr, "keel-check: %s\n", error->message);
  }
  return EXIT_CANNOT;
}

static void show_progress(const program *self, const keel_check_report *report) {
  if (!self->progress) return;
  double share = report->total_bytes == 0 ? 1 : (double)report->done_bytes / (double)report->total_bytes;
  (void)fprintf(stderr, "\r%5.1f %%  %" PRIu64 " MiB, %" PRIu64 " rows, %" PRIu64 " problems%s", 100 * share,
                report->done_bytes >> 20, report->rows, report->problems, report->finished ? "\n" : "");
}

/* Each problem that was kept (there may have been no memory to keep one), by `print`; `printed`: how many before. */
static void each_problem(keel_check check, uint64_t count, void (*print)(uint64_t printed, const char *text)) {
  char text[KEEL_CHECK_TEXT_SIZE];
  size_t size;
  uint64_t printed = 0;
  for (uint64_t i = 0; i < count && i < KEEL_CHECK_PROBLEMS; i++) {
    if (keel_check_problem(check, i, text, sizeof text, &size, NULL) == KEEL_OK) print(printed++, text);
  }
}

static void print_line(uint64_t printed, const char *text) {
  (void)printed;
  (void)printf("problem: %s\n", text);
}

static void print_json_item(uint64_t printed, const char *text) {
  (void)printf("%s", printed == 0 ? "" : ", ");
  print_json_text(text);
}

static void print_json(keel_check check, const keel_check_report *report) {
  (void)printf("{\"sound\": %s, \"checkpoint\": %" PRIu64 ", \"keyspaces\": %" PRIu64 ", \"pages\": %" PRIu64
               ", \"extents\": %" PRIu64 ", \"rows\": %" PRIu64 ", \"value_bytes\": %" PRIu64
               ", \"read_bytes\": %" PRIu64 ", \"lost_pages\": %" PRIu64 ", \"lost_extents\": %" PRIu64
               ", \"lost_rows\": %" PRIu64 ", \"unreached_bytes\": %" PRIu64 ", \"log_commits\": %" PRIu64
               ", \"problem_count\": %" PRIu64 ", \"problems\": [",
               report->problems == 0 ? "true" : "false", report->checkpoint, report->keyspaces, report->pages,
               report->extents, report->rows, report->value_bytes, report->done_bytes, report->lost_pages,
               report->lost_extents, report->lost_rows, report->unreached_bytes, report->log_commits, report->problems);
  each_problem(check, report->problems, print_json_item);
  (void)printf("]}\n");
}

static void print_text(const program *self, keel_check check, const keel_check_report *report) {
  each_problem(check, report->problems, print_line);
  if (report->problems > KEEL_CHECK_PROBLEMS) {
    (void)printf("... and %" PRIu64 " more\n", report->problems - KEEL_CHECK_PROBLEMS);
  }
  (void)printf("%s: %" PRIu64 " keyspaces, %" PRIu64 " rows, %" PRIu64 " pages, %" PRIu64
               " large values, checkpoint %" PRIu64 "\n",
               self->path, report->keyspaces, report->rows, report->pages, report->extents, report->checkpoint);
  if (self->new_path != NULL && report->log_commits != 0) {
    (void)printf("%" PRIu64 " commits were copied from the log\n", report->log_commits);
  }
  if (report->problems == 0) {
    (void)printf("%s\n", self->new_path == NULL ? "sound" : "everything was copied");
  } else {
    (void)printf("%" PRIu64 " problems; %" PRIu64 " rows are lost\n", report->problems, report->lost_rows);
  }
}

/* To its end. */
static int run_check(const program *self, keel_check check, keel_error *error) {
  keel_check_report report = KEEL_CHECK_REPORT_INIT;
  keel_status status;
  do {
    status = keel_check_step(check, STEP_BYTES, &report, error);
    if (status == KEEL_OK) show_progress(self, &report);
  } while (status == KEEL_OK && !report.finished);
  int result = EXIT_CANNOT;
  if (status == KEEL_OK) {
    if (self->json) {
      print_json(check, &report);
    } else {
      print_text(self, check, &report);
    }
    result = report.problems == 0 ? EXIT_SOUND : EXIT_DAMAGED;
  } else {
    (void)cannot(self, error);
  }
  (void)keel_check_close(check, NULL);
  return result;
}

/* A database that is so damaged that it cannot even be opened is damaged. */
static int refused(const program *self, const keel_error *error) {
  (void)cannot(self, error);
  return error->code == KEEL_E_CORRUPT ? EXIT_DAMAGED : EXIT_CANNOT;
}

static int run_verify(const program *self) {
  keel_options options = KEEL_OPTIONS_INIT;
  keel_error error;
  keel_db db;
  keel_check check;
  options.flags = KEEL_OPEN_READ_ONLY;
  if (keel_open(self->path, &options, &db, &error) != KEEL_OK) return refused(self, &error);
  int result;
  if (keel_verify_begin(db, &check, &error) == KEEL_OK) {
    result = run_check(self, check, &error);
  } else {
    result = refused(self, &error);
  }
  (void)keel_close(db, NULL);
  return result;
}

static int run_salvage(const program *self) {
  keel_error error;
  keel_check check;
  if (keel_salvage_begin(self->path, self->new_path, &check, &error) != KEEL_OK) return cannot(self, &error);
  return run_check(self, check, &error);
}

int main(int argc, char **argv) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {NULL, 0, NULL, 0}};
  program self = {.progress = isatty(STDERR_FILENO) != 0};
  int option;
  while ((option = getopt_long(argc, argv, "jqhV", options, NULL)) != -1) {
    switch (option) {
      case 'j':
        self.json = true;
        break;
      case 'q':
        self.progress = false;
        break;
      case 'h':
        (void)fputs(help_text, stdout);
        return EXIT_SOUND;
      case 'V':
        (void)printf("keel-check %s\n", keel_version());
        return EXIT_SOUND;
      default:
        (void)fputs(help_text, stderr);
        return EXIT_USAGE;
    }
  }
  int words = argc - optind;
  const char *command = words > 0 ? argv[optind] : "";
  bool verify = strcmp(command, "verify") == 0 && words == 2;
  bool salvage = strcmp(command, "salvage") == 0 && words == 3;
  if (!verify && !salvage) {
    (void)fputs(help_text, stderr);
    return EXIT_USAGE;
  }
  self.path = argv[optind + 1];
  self.new_path = salvage ? argv[optind + 2] : NULL;
  int result = verify ? run_verify(&self) : run_salvage(&self);
  if (fflush(stdout) != 0 || ferror(stdout) != 0) {
    perror("keel-check: cannot write the result");
    return EXIT_CANNOT;
  }
  return result;
}
