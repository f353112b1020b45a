/* tests/crash/kill_loop.c: SIGKILL in a loop on the real file system.
 *
 * Each round starts tests/crash/kill_writer with 1 ... 4 threads and one of the durabilities, kills it after a random number of acknowledged
 * commits plus a random moment, opens the database in this process and compares it with kill_model.h. A database is used for
 * KILL_ROUNDS_PER_FILE rounds, so that recovery also meets what earlier recoveries left.
 *
 * SIGKILL takes the process, not the page cache: hence every durability must keep every acknowledged commit here. What a loss of
 * power may take is tests/crash/sim_crash.c's business. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/rng.h"
#include "keel/keel.h"
#include "kill_model.h"

enum { KILL_ROUNDS_PER_FILE = 10, KILL_ACKS_MAX = 400 };

typedef struct kill_loop {
  const char *writer;
  char path[256];
  uint64_t acknowledged[KILL_THREADS_MAX];
  uint64_t commits, recovered_unacknowledged;
  kl_rng rng;
  char reason[512];
} kill_loop;

/* -- one round -------------------------------------------------------------------------------------------------- */

static pid_t kill_start(kill_loop *loop, uint64_t threads, uint64_t durability, int *out_pipe) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  char threads_text[24], durability_text[24];
  snprintf(threads_text, sizeof threads_text, "%llu", (unsigned long long)threads);
  snprintf(durability_text, sizeof durability_text, "%llu", (unsigned long long)durability);
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execl(loop->writer, loop->writer, loop->path, threads_text, durability_text, (char *)NULL);
    _exit(127);
  }
  close(ends[1]);
  *out_pipe = ends[0];
  return child;
}

/* Reads acknowledgements: at most `limit`, or to the end of the pipe. False at its end. */
static bool kill_read_acks(kill_loop *loop, int pipe_end, uint64_t limit) {
  for (uint64_t i = 0; i < limit; i++) {
    kill_ack ack;
    size_t got = 0;
    while (got < sizeof ack) {
      ssize_t n = read(pipe_end, (char *)&ack + got, sizeof ack - got);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      got += (size_t)n;
    }
    if (ack.thread >= KILL_THREADS_MAX || ack.n != loop->acknowledged[ack.thread] + 1) {
      snprintf(loop->reason, sizeof loop->reason, "the writer acknowledged %llu of thread %llu after %llu",
               (unsigned long long)ack.n, (unsigned long long)ack.thread,
               (unsigned long long)loop->acknowledged[ack.thread % KILL_THREADS_MAX]);
      return false;
    }
    loop->acknowledged[ack.thread] = ack.n;
    loop->commits++;
  }
  return true;
}

static bool kill_writer_round(kill_loop *loop, uint64_t threads, uint64_t durability) {
  int pipe_end = -1;
  pid_t child = kill_start(loop, threads, durability, &pipe_end);
  if (child < 0) {
    snprintf(loop->reason, sizeof loop->reason, "cannot start %s", loop->writer);
    return false;
  }
  /* Some rounds are killed while the database is being created or recovered: before any acknowledgement. */
  bool early = kl_rng_below(&loop->rng, 8) == 0;
  bool alive = early || kill_read_acks(loop, pipe_end, 1 + kl_rng_below(&loop->rng, KILL_ACKS_MAX));
  struct timespec pause = {0, (long)kl_rng_below(&loop->rng, early ? 8000000 : 3000000)};
  if (alive) nanosleep(&pause, NULL);
  kill(child, SIGKILL);
  while (kill_read_acks(loop, pipe_end, UINT64_MAX)) {
  }
  close(pipe_end);
  int exit_status = 0;
  waitpid(child, &exit_status, 0);
  if (alive && WIFSIGNALED(exit_status) && WTERMSIG(exit_status) == SIGKILL) return loop->reason[0] == '\0';
  if (loop->reason[0] == '\0')
    snprintf(loop->reason, sizeof loop->reason, "the writer ended by itself (status %d)", exit_status);
  return false;
}

/* -- comparison with the model ------------------------------------------------------------------------------------ */

static bool kill_fail(kill_loop *loop, const char *what, uint64_t thread, uint64_t n) {
  snprintf(loop->reason, sizeof loop->reason, "%s (thread %llu, transaction %llu)", what, (unsigned long long)thread,
           (unsigned long long)n);
  return false;
}

static bool kill_check_thread(kill_loop *loop, keel_txn txn, const keel_keyspace keyspaces[3], uint64_t thread,
                              uint64_t *out_n) {
  static uint8_t expected[KILL_VALUE_MAX];
  uint8_t key[KILL_EVENT_KEY] = {(uint8_t)thread, '\''};
  uint64_t n = 0, inverse = UINT64_MAX;
  size_t size = 0;
  keel_status first = keel_get_copy(txn, keyspaces[1], key, 1, &n, sizeof n, &size, NULL);
  keel_status second = keel_get_copy(txn, keyspaces[1], key, 2, &inverse, sizeof inverse, &size, NULL);
  if (first != second || (first != KEEL_OK && first != KEEL_E_NOT_FOUND))
    return kill_fail(loop, "state is half-done", thread, n);
  if (inverse != ~n) return kill_fail(loop, "two keys of one commit disagree", thread, n);
  if (n < loop->acknowledged[thread])
    return kill_fail(loop, "an acknowledged commit is lost", thread, loop->acknowledged[thread]);
  if (n > loop->acknowledged[thread] + 1) return kill_fail(loop, "a commit that was never made", thread, n);
  loop->recovered_unacknowledged += n - loop->acknowledged[thread];
  loop->acknowledged[thread] = *out_n = n;
  keel_cursor_options options = KEEL_CURSOR_OPTIONS_INIT;
  options.prefix = key;
  options.prefix_size = 1;
  keel_cursor cursor = 0;
  if (keel_cursor_open(txn, keyspaces[0], &options, &cursor, NULL) != KEEL_OK)
    return kill_fail(loop, "no cursor", thread, n);
  uint64_t at = n > KILL_WINDOW ? n - KILL_WINDOW + 1 : 1;
  bool good = true;
  for (keel_status s = keel_cursor_first(cursor, NULL); good && s == KEEL_OK;
       s = keel_cursor_next(cursor, NULL), at++) {
    const void *found_key = NULL, *value = NULL;
    size_t found_size = 0, value_size = 0;
    kill_event_key(thread, at, key);
    size = kill_event_value(thread, at, expected);
    good = keel_cursor_get(cursor, &found_key, &found_size, &value, &value_size, NULL) == KEEL_OK &&
           found_size == sizeof key && memcmp(found_key, key, sizeof key) == 0 && value_size == size &&
           (size == 0 || memcmp(value, expected, size) == 0);
  }
  keel_cursor_close(cursor, NULL);
  if (good && at == n + 1) return true;
  return kill_fail(loop, "an event is missing, damaged, or should be gone", thread, at);
}

static bool kill_check_all(kill_loop *loop, keel_db db) {
  static const char *const names[3] = {"events", "state", "shared"};
  keel_keyspace keyspaces[3] = {0};
  keel_txn txn = 0;
  keel_error error = {0};
  bool good = true;
  for (int i = 0; good && i < 3; i++) {
    good = keel_keyspace_open(db, names[i], strlen(names[i]), NULL, &keyspaces[i], &error) == KEEL_OK;
  }
  good = good && keel_begin(db, NULL, &txn, &error) == KEEL_OK;
  if (!good) snprintf(loop->reason, sizeof loop->reason, "after recovery: %.400s", error.message);
  uint64_t sum = 0, counter = 0;
  for (uint64_t thread = 0; good && thread < KILL_THREADS_MAX; thread++) {
    uint64_t n = 0;
    good = kill_check_thread(loop, txn, keyspaces, thread, &n);
    sum += n / 4;
  }
  size_t size = 0;
  if (good) keel_get_copy(txn, keyspaces[2], "n", 1, &counter, sizeof counter, &size, NULL);
  if (good && counter != sum) good = kill_fail(loop, "the shared counter is not the sum of the commits", counter, sum);
  if (txn != 0) keel_rollback(txn, NULL);
  /* An open keyspace would keep the engine, and its lock, beyond keel_close. */
  for (int i = 0; i < 3; i++) {
    if (keyspaces[i] != 0) keel_keyspace_close(keyspaces[i], NULL);
  }
  return good;
}

static bool kill_check(kill_loop *loop) {
  keel_db db = 0;
  keel_error error = {0};
  if (keel_open(loop->path, NULL, &db, &error) != KEEL_OK) {
    snprintf(loop->reason, sizeof loop->reason, "recovery failed: %.400s", error.message);
    return false;
  }
  bool good = kill_check_all(loop, db);
  if (keel_close(db, &error) != KEEL_OK && good) {
    snprintf(loop->reason, sizeof loop->reason, "close failed: %.400s", error.message);
    good = false;
  }
  return good;
}

/* -- the loop --------------------------------------------------------------------------------------------------- */

static void kill_remove(const kill_loop *loop) {
  char log[300];
  snprintf(log, sizeof log, "%s-wal", loop->path);
  unlink(loop->path);
  unlink(log);
}

static uint64_t kill_run_rounds(kill_loop *loop, const char *folder, uint64_t seed, uint64_t rounds) {
  for (uint64_t round = 0; round < rounds; round++) {
    if (round % KILL_ROUNDS_PER_FILE == 0) {
      if (round != 0) kill_remove(loop);
      snprintf(loop->path, sizeof loop->path, "%s/kill-%llu.keel", folder,
               (unsigned long long)(round / KILL_ROUNDS_PER_FILE));
      memset(loop->acknowledged, 0, sizeof loop->acknowledged);
    }
    uint64_t threads = 1 + round % KILL_THREADS_MAX;
    uint64_t durability = round % 5 == 3   ? KEEL_DURABILITY_GROUP
                          : round % 5 == 4 ? KEEL_DURABILITY_NONE
                                           : KEEL_DURABILITY_FULL;
    if (!kill_writer_round(loop, threads, durability) || !kill_check(loop)) {
      printf("FAILED round %llu (%llu threads, durability %llu): %s\n  repeat: kill_loop --seed %llu; files kept: %s\n",
             (unsigned long long)round, (unsigned long long)threads, (unsigned long long)durability, loop->reason,
             (unsigned long long)seed, loop->path);
      return round;
    }
    if (round % 50 == 49) {
      printf("%llu rounds, %llu commits\n", (unsigned long long)(round + 1), (unsigned long long)loop->commits);
      fflush(stdout);
    }
  }
  kill_remove(loop);
  return rounds;
}

int main(int argc, char **argv) {
  static const struct option longs[] = {{"rounds", 1, NULL, 'r'},
                                        {"seed", 1, NULL, 's'},
                                        {"writer", 1, NULL, 'w'},
                                        {"help", 0, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};
  const char *seed_text = getenv("KEEL_TEST_SEED");
  uint64_t rounds = 200, seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : 1;
  kill_loop loop = {.writer = "./kill_writer"};
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    switch (c) {
      case 'r':
        rounds = strtoull(optarg, NULL, 10);
        break;
      case 's':
        seed = strtoull(optarg, NULL, 10);
        break;
      case 'w':
        loop.writer = optarg;
        break;
      default:
        puts(
            "kill_loop: SIGKILL a writing program again and again\n"
            "  --rounds N   default 200\n  --seed S     default 1, or KEEL_TEST_SEED\n  --writer P   the program to "
            "kill");
        return c == 'h' ? 0 : 2;
    }
  }
  signal(SIGPIPE, SIG_IGN);
  char folder[] = "keel-kill-XXXXXX";
  if (mkdtemp(folder) == NULL) {
    perror("kill_loop: no folder for the databases");
    return 2;
  }
  kl_rng_init(&loop.rng, seed);
  uint64_t good = kill_run_rounds(&loop, folder, seed, rounds);
  if (good == rounds) rmdir(folder);
  printf("%llu commits acknowledged, %llu recovered that were under way when the signal came\n",
         (unsigned long long)loop.commits, (unsigned long long)loop.recovered_unacknowledged);
  printf("%llu passed, %llu failed\n", (unsigned long long)good, (unsigned long long)(rounds - good));
  return good == rounds ? 0 : 1;
}
