/* tests/stress/stress_full_disk.c: several writers meet real errors of a real file system.
 *
 * Once on a small tmpfs that a growing file leaves no room on (needs user namespaces; said when they are not to be
 * had), and once with RLIMIT_FSIZE. Whatever the errors: a commit that was acknowledged is there after reopening, one
 * that was answered with disk_full is not, and the database goes on when there is room again, or says that it is
 * poisoned and does so after reopening. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stress.h"

enum {
  WRITERS = 3,
  COMMITS = 20000, /* of one writer */
  VALUE = 3000,
  MIB = 1 << 20,
  TMPFS_MIB = 24,
  SEGMENT = 65536
};

/* What became of a commit. */
typedef enum outcome { NOT_TRIED = 0, STORED, REFUSED, UNKNOWN } outcome;

typedef struct squeeze { /* a way to run out of room */
  const char *name;
  bool (*begin)(const char *folder); /* no room from here on; false: not possible here */
  bool (*more)(const char *folder);  /* some more room; false: there is enough for good */
  void (*end)(void);                 /* the rest of the room */
} squeeze;

static struct {
  stress_options options;
  char path[300];
  keel_db db;
  keel_keyspace keyspace;
  uint8_t outcomes[WRITERS][COMMITS];
  _Atomic uint64_t stored;
  _Atomic int refused_writers; /* in this step: how many have met an error */
  uint64_t next[WRITERS];
  uint64_t refused, unknown, poisoned;
} full;

/* ---- One step: all writers commit until each has met an error ---- */

typedef struct writer {
  stress_rng rng;
  uint64_t number;
} writer;

static outcome outcome_of(keel_status status) {
  switch (status) {
    case KEEL_OK:
      return STORED;
    case KEEL_E_DISK_FULL:
    case KEEL_E_NO_MEMORY:
      return REFUSED;
    case KEEL_E_COMMIT_UNKNOWN:
    case KEEL_E_IO:
      return UNKNOWN;
    case KEEL_E_POISONED:
    case KEEL_E_LIMIT:
      return REFUSED;
    default:
      (void)stress_must("commit without room", status);
      return UNKNOWN;
  }
}

static outcome commit_one(writer *w, uint64_t number) {
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  uint8_t value[VALUE];
  char key[32];
  uint64_t ts;
  keel_txn txn = 0;
  options.durability = 1 + (uint32_t)stress_below(&w->rng, 3);
  size_t key_size = (size_t)snprintf(key, sizeof key, "%" PRIu64 ":%08" PRIu64, w->number, number);
  size_t value_size = stress_value(value, w->number << 32 | number, stress_below(&w->rng, VALUE));
  keel_status status = CALL(begin, full.db, &options, &txn);
  if (status == KEEL_E_POISONED) return NOT_TRIED;
  if (!stress_must("begin", status)) return NOT_TRIED;
  if (!MUST(put, txn, full.keyspace, key, key_size, value, value_size)) return NOT_TRIED;
  return outcome_of(CALL(commit, txn, &ts));
}

/* What else writes: it may fail in any documented way. */
static void write_otherwise(writer *w) {
  char name[16];
  size_t size = (size_t)snprintf(name, sizeof name, "side %d", (int)stress_below(&w->rng, 3));
  keel_keyspace keyspace = 0;
  switch (stress_below(&w->rng, 3)) {
    case 0:
      (void)CALL(flush, full.db);
      break;
    case 1:
      (void)CALL(keyspace_drop, full.db, name, size);
      break;
    default:
      if (CALL(keyspace_open, full.db, name, size, NULL, &keyspace) == KEEL_OK) (void)MUST(keyspace_close, keyspace);
  }
}

static void *writer_main(void *context) {
  writer *w = context;
  uint64_t *next = &full.next[w->number];
  bool met = false;
  while (*next < COMMITS && atomic_load(&full.refused_writers) < WRITERS && !stress_failed()) {
    outcome result = commit_one(w, *next);
    full.outcomes[w->number][(*next)++] = (uint8_t)result;
    if (result == STORED) atomic_fetch_add(&full.stored, 1);
    if (stress_chance(&w->rng, 16)) write_otherwise(w);
    if (result != STORED && !met) {
      met = true;
      atomic_fetch_add(&full.refused_writers, 1);
    }
  }
  if (!met) atomic_fetch_add(&full.refused_writers, 1);
  return NULL;
}

static void run_writers(writer *writers) {
  pthread_t threads[WRITERS];
  int running = 0;
  atomic_store(&full.refused_writers, 0);
  for (; running < WRITERS; running++) {
    if (pthread_create(&threads[running], NULL, writer_main, &writers[running]) != 0) exit(2);
  }
  for (int i = 0; i < running; i++) (void)pthread_join(threads[i], NULL);
}

/* ---- Between steps ---- */

static bool open_database(uint32_t durability, bool must) {
  keel_options options = KEEL_OPTIONS_INIT;
  options.durability = durability;
  options.log_segment_size = SEGMENT;
  options.delta_size = 200000; /* drains, too, meet the full disk */
  options.group_interval_ms = 2;
  keel_status status = CALL(open, full.path, &options, &full.db);
  if (status != KEEL_OK) return must ? stress_must("open", status) : false;
  status = CALL(keyspace_open, full.db, "rows", 4, NULL, &full.keyspace);
  if (status == KEEL_OK) return true;
  if (must) (void)stress_must("keyspace_open", status);
  (void)CALL(close, full.db);
  return false;
}

/* What is closed last closes the files, and tells how that went: any handle may be the last one. */
static void close_database(stress_rng *rng) {
  keel_txn txn = 0;
  keel_cursor cursor = 0;
  keel_view view = 0;
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  options.flags = KEEL_TXN_READ_ONLY;
  bool read = MUST(begin, full.db, &options, &txn) && MUST(cursor_open, txn, full.keyspace, NULL, &cursor);
  bool seen = read && CALL(get_view, txn, full.keyspace, "0:00000000", 10, &view) == KEEL_OK;
  for (unsigned closed = 0; closed != 31;) {
    unsigned which = (unsigned)stress_below(rng, 5);
    if ((closed & 1U << which) != 0) continue;
    closed |= 1U << which;
    if (which == 0) (void)CALL(close, full.db);
    if (which == 1) (void)CALL(keyspace_close, full.keyspace);
    if (which == 2 && read) (void)CALL(rollback, txn);
    if (which == 3 && read) (void)CALL(cursor_close, cursor);
    if (which == 4 && seen) (void)CALL(view_release, view);
  }
}

static bool is_poisoned(void) {
  keel_stats stats = KEEL_STATS_INIT;
  return MUST(get_stats, full.db, &stats) && stats.poisoned != 0;
}

static void compare_row(keel_txn txn, uint64_t number, uint64_t at) {
  char key[32];
  const void *value = NULL;
  size_t size = 0;
  uint64_t stamp = 0;
  size_t key_size = (size_t)snprintf(key, sizeof key, "%" PRIu64 ":%08" PRIu64, number, at);
  outcome expected = (outcome)full.outcomes[number][at];
  keel_status status = CALL(get, txn, full.keyspace, key, key_size, &value, &size);
  if (status == KEEL_OK && (!stress_value_is_whole(value, size, &stamp) || stamp != (number << 32 | at))) {
    stress_fail("row %s is damaged", key);
  }
  if (status != KEEL_OK && status != KEEL_E_NOT_FOUND) (void)stress_must("get", status);
  if (status == KEEL_E_NOT_FOUND && expected == STORED) stress_fail("row %s was acknowledged and is gone", key);
  if (status == KEEL_OK && (expected == REFUSED || expected == NOT_TRIED)) {
    stress_fail("row %s was refused and is there", key);
  }
}

static void compare(void) {
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  options.flags = KEEL_TXN_READ_ONLY;
  keel_txn txn = 0;
  if (!MUST(begin, full.db, &options, &txn)) return;
  for (uint64_t number = 0; number < WRITERS; number++) {
    for (uint64_t at = 0; at < full.next[number]; at++) compare_row(txn, number, at);
  }
  (void)MUST(rollback, txn);
}

/* Poisoned: everything acknowledged is still read; closed and opened again it goes on. Opening may need room. */
static bool reopen(const squeeze *way, uint32_t durability, stress_rng *rng) {
  full.poisoned++;
  compare();
  close_database(rng);
  while (!open_database(durability, false)) {
    if (way->more(full.options.folder)) continue;
    if (!open_database(durability, true)) return false;
    break;
  }
  compare();
  return !stress_failed();
}

/* The next database needs the room. */
static void remove_database(void) {
  char path[310];
  (void)snprintf(path, sizeof path, "%s-wal", full.path);
  (void)unlink(path);
  (void)unlink(full.path);
}

static void run(const squeeze *way, uint32_t durability, writer *writers) {
  if (stress_failed()) return; /* the files are evidence */
  (void)snprintf(full.path, sizeof full.path, "%s/db", full.options.folder);
  memset(full.outcomes, 0, sizeof full.outcomes);
  memset(full.next, 0, sizeof full.next);
  full.refused = full.unknown = full.poisoned = 0;
  atomic_store(&full.stored, 0);
  if (!open_database(durability, true)) return;
  if (!way->begin(full.options.folder)) {
    (void)printf("%s: not possible here, left out\n", way->name);
    close_database(&writers->rng);
    remove_database();
    return;
  }
  uint64_t steps = 0, empty = 0;
  run_writers(writers);
  if (is_poisoned() && !reopen(way, durability, &writers->rng)) return;
  while (full.next[0] < COMMITS - COMMITS / 4 && way->more(full.options.folder) && !stress_failed()) {
    uint64_t before = atomic_load(&full.stored);
    run_writers(writers);
    steps++;
    /* A drain that had failed may take all of the new room, once or twice; then the log can be used anew. */
    empty = atomic_load(&full.stored) == before ? empty + 1 : 0;
    if (empty == 4) stress_fail("%s: nothing is stored although there is room", way->name);
    if (is_poisoned() && !reopen(way, durability, &writers->rng)) return;
  }
  way->end();
  close_database(&writers->rng);
  if (!open_database(durability, true)) return;
  compare();
  close_database(&writers->rng);
  if (!stress_failed()) remove_database();
  for (int i = 0; i < WRITERS; i++) {
    for (uint64_t at = 0; at < full.next[i]; at++) {
      full.refused += full.outcomes[i][at] == REFUSED;
      full.unknown += full.outcomes[i][at] == UNKNOWN;
    }
  }
  (void)printf("%s, durability %u: %" PRIu64 " steps, %" PRIu64 " stored, %" PRIu64 " refused, %" PRIu64
               " unknown, poisoned %" PRIu64 " times\n",
               way->name, durability, steps, atomic_load(&full.stored), full.refused, full.unknown, full.poisoned);
}

/* ---- A small tmpfs: a file takes the room that the database shall not have ---- */

static int ballast = -1;

static bool ballast_begin(const char *folder) {
  char path[300];
  static const char zeros[4096];
  (void)snprintf(path, sizeof path, "%s/ballast", folder);
  ballast = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
  while (ballast >= 0 && write(ballast, zeros, sizeof zeros) > 0) continue;
  return ballast >= 0;
}

static bool ballast_more(const char *folder) {
  struct stat info;
  (void)folder;
  if (ballast < 0 || fstat(ballast, &info) != 0 || info.st_size == 0) return false;
  off_t smaller = info.st_size > 2 * MIB ? info.st_size - 2 * MIB : 0;
  return ftruncate(ballast, smaller) == 0;
}

static void ballast_end(void) {
  if (ballast < 0) return;
  (void)!ftruncate(ballast, 0);
  (void)close(ballast);
  ballast = -1;
}

static bool write_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY);
  bool written = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
  if (file >= 0) (void)close(file);
  return written;
}

/* A namespace of our own, so that no privilege is needed and nothing is left behind. */
static bool mount_small(const char *folder) {
  char map[64], size[32];
  unsigned uid = (unsigned)getuid(), gid = (unsigned)getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  (void)write_text("/proc/self/setgroups", "deny");
  (void)snprintf(map, sizeof map, "0 %u 1", uid);
  if (!write_text("/proc/self/uid_map", map)) return false;
  (void)snprintf(map, sizeof map, "0 %u 1", gid);
  if (!write_text("/proc/self/gid_map", map)) return false;
  (void)snprintf(size, sizeof size, "size=%dm", TMPFS_MIB);
  return mount("keel", folder, "tmpfs", 0, size) == 0;
}

/* ---- RLIMIT_FSIZE ---- */

static rlim_t limit_now;

static bool limit_set(rlim_t bytes) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
  limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
  limit_now = limit.rlim_cur;
  return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}
static bool limit_begin(const char *folder) {
  (void)folder;
  return limit_set(MIB);
}
static bool limit_more(const char *folder) {
  (void)folder;
  return limit_now < (rlim_t)8 * MIB && limit_set(limit_now + MIB);
}
static void limit_end(void) {
  (void)limit_set(RLIM_INFINITY);
}

int main(int argc, char **argv) {
  static const squeeze small = {"small tmpfs", ballast_begin, ballast_more, ballast_end};
  static const squeeze limit = {"RLIMIT_FSIZE", limit_begin, limit_more, limit_end};
  static writer writers[WRITERS];
  (void)signal(SIGXFSZ, SIG_IGN);
  stress_begin(argc, argv, "stress_full_disk", 6, &full.options);
  for (uint64_t i = 0; i < WRITERS; i++) {
    writers[i].number = i;
    writers[i].rng.state = full.options.seed * 1000 + i;
  }
  bool mounted = mount_small(full.options.folder);
  if (!mounted) (void)printf("small tmpfs: cannot be mounted here (%s), left out\n", strerror(errno));
  uint64_t round = 0;
  do {
    for (uint32_t durability = KEEL_DURABILITY_FULL; durability <= KEEL_DURABILITY_NONE; durability++) {
      if (mounted) run(&small, durability, writers);
      run(&limit, durability, writers);
    }
  } while (++round != 0 && stress_goes_on());
  return stress_end(&full.options);
}
