/* tests/stress/stress.c: see stress.h. */
#include "stress.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/seed.h"

#define STRESS_NAME(name) "keel_" #name,
static const char *const stress_names[] = {STRESS_FUNCTIONS(STRESS_NAME)};

enum { STRESS_CODES = 1000, STRESS_SHOWN = 20 };

_Thread_local keel_error stress_error;

static struct {
  const char *name;
  struct timespec start;
  uint64_t seconds;
  bool documented[STRESS_FUNCTION_COUNT][STRESS_CODES]; /* by minus the status */
  _Atomic uint64_t counts[STRESS_FUNCTION_COUNT][STRESS_CODES];
  _Atomic uint64_t failures;
  pthread_mutex_t printing;
} stress = {.printing = PTHREAD_MUTEX_INITIALIZER};

/* ---- Failures and time ---- */

void stress_fail(const char *format, ...) {
  if (atomic_fetch_add(&stress.failures, 1) >= STRESS_SHOWN) return;
  va_list arguments;
  va_start(arguments, format);
  (void)pthread_mutex_lock(&stress.printing);
  (void)fprintf(stderr, "%s: ", stress.name);
  (void)vfprintf(stderr, format, arguments);
  (void)fputc('\n', stderr);
  (void)pthread_mutex_unlock(&stress.printing);
  va_end(arguments);
}

bool stress_failed(void) {
  return atomic_load(&stress.failures) != 0;
}

bool stress_goes_on_until(uint64_t part) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t past = (int64_t)(now.tv_sec - stress.start.tv_sec) * 1000 + (now.tv_nsec - stress.start.tv_nsec) / 1000000;
  return past < (int64_t)(stress.seconds * part) && !stress_failed();
}

uint64_t stress_next(stress_rng *rng) { /* splitmix64 */
  uint64_t x = rng->state += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

/* ---- Statuses: keel.h lists them in the comment above each function ---- */

static int stress_code(const char *symbol) { /* "KEEL_E_NOT_FOUND" -> 201 */
  char lower[64];
  size_t size = 0;
  for (const char *p = symbol + strlen("KEEL_E_"); size + 1 < sizeof lower && (isalnum((unsigned char)*p) || *p == '_');
       p++) {
    lower[size++] = (char)tolower((unsigned char)*p);
  }
  lower[size] = '\0';
  for (int code = 1; code < STRESS_CODES; code++) {
    if (strcmp(keel_status_name((keel_status)-code), lower) == 0) return code;
  }
  (void)fprintf(stderr, "%s: keel.h names a status that the library does not know: %s\n", stress.name, lower);
  exit(2);
}

static void stress_read_header(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) {
    (void)fprintf(stderr, "%s: cannot read %s: %s\n", stress.name, path, strerror(errno));
    exit(2);
  }
  bool seen[STRESS_CODES] = {false};
  bool found[STRESS_FUNCTION_COUNT] = {false};
  char line[512];
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "/*", 2) == 0) memset(seen, 0, sizeof seen);
    if (strncmp(line, " *   KEEL_E_", 12) == 0) seen[stress_code(line + 5)] = true;
    const char *function = strstr(line, "keel_status keel_");
    if (strncmp(line, "KEEL_API", 8) != 0 || function == NULL) continue;
    function += strlen("keel_status ");
    for (int i = 0; i < STRESS_FUNCTION_COUNT; i++) {
      size_t size = strlen(stress_names[i]);
      if (strncmp(function, stress_names[i], size) != 0 || function[size] != '(') continue;
      memcpy(stress.documented[i], seen, sizeof seen);
      stress.documented[i][0] = found[i] = true;
    }
  }
  (void)fclose(file);
  for (int i = 0; i < STRESS_FUNCTION_COUNT; i++) {
    if (found[i]) continue;
    (void)fprintf(stderr, "%s: %s does not declare %s\n", stress.name, path, stress_names[i]);
    exit(2);
  }
}

keel_status stress_check(stress_function function, keel_status status, const keel_error *err) {
  const char *name = stress_names[function];
  if (status > 0 || status <= -STRESS_CODES) {
    stress_fail("%s returned %d, which is no status", name, status);
    return status;
  }
  atomic_fetch_add_explicit(&stress.counts[function][-status], 1, memory_order_relaxed);
  if (!stress.documented[function][-status]) {
    stress_fail("%s returned %s, which it does not document: %s", name, keel_status_name(status), err->message);
  }
  if (status == KEEL_OK && err->code != 0) stress_fail("%s touched err on success: %s", name, err->message);
  if (status != KEEL_OK && (err->code != status || err->message[0] == '\0' || strchr(err->message, '\n') != NULL)) {
    stress_fail("%s returned %s and described %d: '%s'", name, keel_status_name(status), err->code, err->message);
  }
  return status;
}

bool stress_must(const char *function, keel_status status) {
  if (status == KEEL_OK) return true;
  stress_fail("keel_%s: %s: %s", function, keel_status_name(status), stress_error.message);
  return false;
}

/* ---- Values ---- */

static uint8_t stress_byte(uint64_t stamp, size_t size, size_t at) {
  return (uint8_t)((stamp * UINT64_C(0x9E3779B97F4A7C15) + size + at * 31) >> 5);
}

size_t stress_value(uint8_t *out, uint64_t stamp, size_t size) {
  if (size < STRESS_VALUE_MIN) size = STRESS_VALUE_MIN;
  uint32_t length = (uint32_t)size;
  memcpy(out, &stamp, 8);
  memcpy(out + 8, &length, 4);
  for (size_t i = STRESS_VALUE_MIN; i < size; i++) out[i] = stress_byte(stamp, size, i);
  return size;
}

bool stress_value_is_whole(const void *value, size_t size, uint64_t *out_stamp) {
  const uint8_t *bytes = value;
  uint32_t length;
  if (size < STRESS_VALUE_MIN) return false;
  memcpy(out_stamp, bytes, 8);
  memcpy(&length, bytes + 8, 4);
  if (length != size) return false;
  for (size_t i = STRESS_VALUE_MIN; i < size; i++) {
    if (bytes[i] != stress_byte(*out_stamp, size, i)) return false;
  }
  return true;
}

uint64_t stress_hash(const void *bytes, size_t size) { /* FNV-1a */
  uint64_t hash = UINT64_C(0xCBF29CE484222325);
  const uint8_t *p = bytes;
  for (size_t i = 0; i < size; i++) hash = (hash ^ p[i]) * UINT64_C(0x100000001B3);
  return hash;
}

/* ---- Begin and end ---- */

static uint64_t stress_number(const char *what, const char *text) {
  char *end = NULL;
  errno = 0;
  uint64_t value = strtoull(text, &end, 0);
  if (errno == 0 && end != text && *end == '\0') return value;
  (void)fprintf(stderr, "%s: %s is not a number: %s\n", stress.name, what, text);
  exit(2);
}

void stress_begin(int argc, char **argv, const char *name, uint64_t default_seconds, stress_options *out) {
  stress.name = name;
  memset(out, 0, sizeof *out);
  out->seed = test_seed(1);
  out->seconds = default_seconds;
  const char *seconds = getenv("KEEL_STRESS_SECONDS");
  if (seconds != NULL && *seconds != '\0') out->seconds = stress_number("KEEL_STRESS_SECONDS", seconds);
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--seconds") == 0) {
      out->seconds = stress_number("--seconds", argv[i + 1]);
    } else if (strcmp(argv[i], "--seed") == 0) {
      out->seed = stress_number("--seed", argv[i + 1]);
    } else {
      (void)fprintf(stderr, "usage: %s [--seconds N] [--seed N]\n", name);
      exit(2);
    }
  }
  stress_read_header(STRESS_HEADER);
  const char *base = getenv("TMPDIR");
  int size = snprintf(out->folder, sizeof out->folder, "%s/keel-%s-XXXXXX", base != NULL ? base : "/tmp", name);
  if (size < 0 || (size_t)size >= sizeof out->folder || mkdtemp(out->folder) == NULL) {
    (void)fprintf(stderr, "%s: cannot make a folder: %s\n", name, strerror(errno));
    exit(2);
  }
  (void)printf("%s: seed %" PRIu64 ", %" PRIu64 " seconds\n", name, out->seed, out->seconds);
  (void)fflush(stdout);
  stress.seconds = out->seconds;
  (void)clock_gettime(CLOCK_MONOTONIC, &stress.start);
}

static void stress_remove_folder(const char *path) {
  DIR *folder = opendir(path);
  for (const struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
    char file[1024];
    int size = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
    if (entry->d_name[0] != '.' && size > 0 && (size_t)size < sizeof file) (void)unlink(file);
  }
  if (folder != NULL) (void)closedir(folder);
  (void)rmdir(path);
}

int stress_end(const stress_options *options) {
  uint64_t total = 0;
  for (int i = 0; i < STRESS_FUNCTION_COUNT; i++) {
    for (int code = 0; code < STRESS_CODES; code++) total += atomic_load(&stress.counts[i][code]);
  }
  if (getenv("KEEL_STRESS_VERBOSE") != NULL) {
    for (int i = 0; i < STRESS_FUNCTION_COUNT; i++) {
      (void)printf("%-22s", stress_names[i]);
      for (int code = 0; code < STRESS_CODES; code++) {
        uint64_t count = atomic_load(&stress.counts[i][code]);
        if (count != 0) (void)printf(" %s=%" PRIu64, keel_status_name((keel_status)-code), count);
      }
      (void)printf("\n");
    }
  }
  uint64_t failures = atomic_load(&stress.failures);
  if (failures != 0) {
    (void)fprintf(stderr, "%s: %" PRIu64 " failures with seed %" PRIu64 "; files are in %s\n", stress.name, failures,
                  options->seed, options->folder);
    return 1;
  }
  stress_remove_folder(options->folder);
  (void)printf("%s: %" PRIu64 " calls, nothing wrong\n", stress.name, total);
  return 0;
}
