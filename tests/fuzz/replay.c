/* tests/fuzz/replay.c: runs a fuzz target without libFuzzer, so that gcc and every sanitizer exercise it too.
 *
 * replay FILE-OR-FOLDER...
 *
 * Each file is given to the target as it is, then cut at many lengths, then with seeded random changes. The empty input is
 * always tried. The seed is fixed unless KEEL_TEST_SEED says otherwise. An input that fails is described on stderr
 * before the target runs into it again, so that it can be repeated. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/rng.h"
#include "fuzz.h"
#include "tests/support/seed.h"

enum { REPLAY_MUTANTS = 150, REPLAY_CUTS = 64, REPLAY_PATH = 4096, REPLAY_LARGEST = 1 << 20 };

static struct {
  kl_rng rng;
  uint64_t inputs;
  char now[REPLAY_PATH + 64]; /* which input is running */
} replay;

/* On the way down (abort of FUZZ_CHECK, a fault): says which input it was. Async-signal-safe. */
static void replay_on_signal(int number) {
  (void)!write(STDERR_FILENO, "while running: ", 15);
  (void)!write(STDERR_FILENO, replay.now, strlen(replay.now));
  (void)!write(STDERR_FILENO, "\n", 1);
  (void)signal(number, SIG_DFL);
  (void)raise(number);
}

/* The target gets a block of exactly the size of the input, so that the sanitizers see a read past its end. */
static void replay_run(const uint8_t *data, size_t size) {
  uint8_t *copy = malloc(size != 0 ? size : 1);
  if (copy == NULL) exit(2);
  if (size != 0) memcpy(copy, data, size);
  (void)LLVMFuzzerTestOneInput(copy, size);
  free(copy);
  replay.inputs++;
}

static size_t replay_mutate(uint8_t *data, size_t size, size_t capacity) {
  static const uint8_t interesting[] = {0, 1, 2, 0x7f, 0x80, 0xfe, 0xff};
  for (uint64_t rounds = 1 + kl_rng_below(&replay.rng, 4); rounds > 0; rounds--) {
    if (size == 0) {
      size = (size_t)kl_rng_below(&replay.rng, 64);
      kl_rng_fill(&replay.rng, data, size);
      continue;
    }
    size_t at = (size_t)kl_rng_below(&replay.rng, size);
    switch (kl_rng_below(&replay.rng, 5)) {
      case 0:
        data[at] = (uint8_t)(data[at] ^ 1U << kl_rng_below(&replay.rng, 8));
        break;
      case 1:
        data[at] = interesting[kl_rng_below(&replay.rng, sizeof interesting)];
        break;
      case 2:
        data[at] = (uint8_t)kl_rng_next(&replay.rng);
        break;
      case 3:
        size = at;
        break;
      default: { /* a piece of it, once more */
        size_t length = (size_t)kl_rng_below(&replay.rng, size - at) + 1;
        if (length > capacity - size) length = capacity - size;
        memmove(data + at + length, data + at, size - at);
        size += length;
      }
    }
  }
  return size;
}

static void replay_input(const char *name, const uint8_t *data, size_t size) {
  (void)snprintf(replay.now, sizeof replay.now, "%s", name);
  replay_run(data, size);
  size_t step = size / REPLAY_CUTS + 1;
  for (size_t cut = 0; cut < size; cut += step) {
    (void)snprintf(replay.now, sizeof replay.now, "%s, its first %zu bytes", name, cut);
    replay_run(data, cut);
  }
  size_t capacity = 2 * size + 64;
  uint8_t *mutant = malloc(capacity);
  if (mutant == NULL) exit(2);
  uint64_t seed = kl_rng_next(&replay.rng);
  kl_rng_init(&replay.rng, seed);
  for (int i = 0; i < REPLAY_MUTANTS; i++) {
    (void)snprintf(replay.now, sizeof replay.now, "%s, change %d", name, i);
    if (size != 0) memcpy(mutant, data, size);
    replay_run(mutant, replay_mutate(mutant, size, capacity));
  }
  free(mutant);
}

static void replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  uint8_t *data = malloc(REPLAY_LARGEST);
  if (file == NULL || data == NULL) {
    (void)fprintf(stderr, "replay: cannot read %s: %s\n", path, strerror(errno));
    exit(2);
  }
  size_t size = fread(data, 1, REPLAY_LARGEST, file);
  if (ferror(file) || fgetc(file) != EOF) {
    (void)fprintf(stderr, "replay: %s cannot be read, or is larger than %d bytes\n", path, REPLAY_LARGEST);
    exit(2);
  }
  (void)fclose(file);
  replay_input(path, data, size);
  free(data);
}

static int replay_by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void replay_folder(const char *path) {
  struct dirent **entries = NULL;
  int count = scandir(path, &entries, NULL, replay_by_name); /* in order: one seed, one run */
  for (int i = 0; i < count; i++) {
    char file[REPLAY_PATH];
    if (entries[i]->d_name[0] != '.') {
      (void)snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
      replay_file(file);
    }
    free(entries[i]);
  }
  free(entries);
}

int main(int argc, char **argv) {
  uint64_t seed = test_seed(61);
  kl_rng_init(&replay.rng, seed);
  (void)signal(SIGABRT, replay_on_signal);
  replay_input("the empty input", NULL, 0);
  for (int i = 1; i < argc; i++) {
    struct stat info;
    if (stat(argv[i], &info) != 0) continue; /* a target whose corpus is still empty has no folder in git */
    if (S_ISDIR(info.st_mode)) {
      replay_folder(argv[i]);
    } else {
      replay_file(argv[i]);
    }
  }
  (void)printf("%" PRIu64 " inputs, seed %" PRIu64 "\n", replay.inputs, seed);
  return 0;
}
