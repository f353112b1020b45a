/* tests/crash/sim_crash.c: the engine on the simulated machine: power failures and faults at every operation.
 *
 * For each seed, a run without faults counts the operations of the workload. Then, for each operation k: a fresh machine, the same
 * workload, the fault at k; what is left on the disk is settled in a seeded way (each unsynced write kept, lost or torn);
 * the database is opened again and compared byte for byte with the model. Every failure prints the command that repeats it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/rng.h"
#include "sim_workload.h"

typedef struct crash_options {
  uint64_t seed, points, steps;
  uint64_t only_at, only_choice; /* replay one point */
  kl_sim_fault fault;
  bool only, all_faults, allocations, recovery; /* recovery: a second crash at each operation of the recovery */
} crash_options;

typedef struct crash_tally {
  uint64_t points, recovered_again, refused, poisoned, failed;
} crash_tally;

static workload_history crash_history; /* large, hence not on the stack; one point at a time */

static const char *const crash_fault_names[] = {"none",        "crash",     "io-error",  "sync-fails",
                                                "sync-broken", "disk-full", "short-read"};

static const char *crash_fault_name(const crash_options *options) {
  return options->recovery ? "recovery" : options->allocations ? "allocation" : crash_fault_names[options->fault];
}

static void crash_report(const crash_options *options, uint64_t seed, uint64_t at, uint64_t choice, const char *what,
                         const char *reason) {
  printf("FAILED %s: %s\n  repeat: crash_sim --seed %llu --steps %llu --fault %s --at %llu --choice %llu\n", what,
         reason, (unsigned long long)seed, (unsigned long long)options->steps, crash_fault_name(options),
         (unsigned long long)at, (unsigned long long)choice);
  fflush(stdout);
}

/* Is what `db` holds one of the states that the history allows? -1: no; else its index. */
static int64_t crash_match(kl_db *db, const workload_history *history, uint32_t from, uint32_t to, char *reason,
                           size_t capacity) {
  model_state state;
  if (!workload_read_state(db, &state, reason, capacity)) return -1;
  for (uint32_t i = from; i <= to; i++) {
    if (model_equal(&state, &history->states[i])) return i;
  }
  for (uint32_t i = 0; i <= to; i++) {
    if (!model_equal(&state, &history->states[i])) continue;
    snprintf(reason, capacity, "commit %u was acknowledged as durable, but the state is that of commit %u", from, i);
    return -1;
  }
  snprintf(reason, capacity, "the state is that of no commit (durable %u, attempted %u): something is half-done", from,
           to);
  return -1;
}

/* After recovery the database must be usable, and its new commits must survive in turn. */
static bool crash_go_on(kl_sim *sim, kl_db **db, char *reason, size_t capacity) {
  kl_error error = {0};
  model_state before, after;
  if (!workload_read_state(*db, &before, reason, capacity)) return false;
  const char *name = model_keyspace_names[0];
  kl_keyspace *keyspace = NULL;
  kl_txn *txn = NULL;
  kl_txn_options options = {.durability = KL_DURABILITY_FULL};
  uint8_t key[MODEL_KEY_MAX];
  size_t key_size = model_key(7, key);
  kl_status status = kl_keyspace_open(kl_db_catalogue(*db), kl_slice_make(name, strlen(name)), true, &keyspace, &error);
  if (status == KL_OK) status = kl_txn_begin(kl_db_txn_manager(*db), &options, &txn, &error);
  if (status == KL_OK) {
    status = kl_txn_delete(txn, kl_keyspace_id(keyspace), kl_slice_make(key, key_size), &error);
  }
  if (status == KL_OK) status = kl_txn_commit(txn, NULL, &error);
  if (txn != NULL) kl_txn_release(txn);
  if (keyspace != NULL) kl_keyspace_release(keyspace);
  before.exists[0] = true;
  before.tags[0][7] = 0;
  /* The power goes once more, with nothing promised but this commit. */
  if (status == KL_OK) {
    kl_sim_inject(sim, KL_SIM_FAULT_CRASH, kl_sim_operations(sim) + 1);
    kl_db_release(*db, NULL);
    *db = NULL;
    kl_sim_restart(sim, kl_sim_operations(sim));
    status = workload_open(sim, db, &error);
  }
  if (status != KL_OK) {
    snprintf(reason, capacity, "after recovery: %s", error.message);
    return false;
  }
  if (!workload_read_state(*db, &after, reason, capacity)) return false;
  if (model_equal(&before, &after)) return true;
  snprintf(reason, capacity, "a durable commit after recovery was lost at the next crash");
  return false;
}

/* Recovery of what is left; every third time it is itself interrupted once by a power failure. */
static bool crash_recover(kl_sim *sim, const workload_history *history, uint64_t choice, crash_tally *tally,
                          char *reason, size_t capacity) {
  kl_error error = {0};
  kl_db *db = NULL;
  kl_sim_restart(sim, choice);
  kl_sim_set_garbage(sim, false);
  if (choice % 3 == 1) {
    kl_sim_inject(sim, KL_SIM_FAULT_CRASH, kl_sim_operations(sim) + 1 + choice / 3 % 24);
    if (workload_open(sim, &db, NULL) == KL_OK) kl_db_release(db, NULL);
    db = NULL;
    kl_sim_restart(sim, choice + 1);
    tally->recovered_again++;
  }
  kl_status status = workload_open(sim, &db, &error);
  if (status != KL_OK) {
    snprintf(reason, capacity, "recovery failed: %s: %s", kl_status_name(status), error.message);
    return false;
  }
  bool good = crash_match(db, history, history->durable, history->attempted, reason, capacity) >= 0;
  if (good && choice % 4 == 0) good = crash_go_on(sim, &db, reason, capacity);
  if (db != NULL) kl_db_release(db, NULL);
  return good;
}

/* After an error that was not the end of the world the open database must show what was acknowledged. */
static bool crash_check_open(workload *work, char *reason, size_t capacity) {
  const workload_history *history = work->history;
  return crash_match(work->db, history, history->acknowledged, history->attempted, reason, capacity) >= 0;
}

static bool crash_point(const crash_options *options, uint64_t seed, uint64_t at, uint64_t choice, crash_tally *tally) {
  char reason[512] = "";
  kl_sim *sim = NULL;
  if (kl_sim_new(seed, &sim, NULL) != KL_OK) return false;
  kl_sim_set_tear_bytes(sim, choice % 2 == 0 ? 512 : 4096);
  if (options->allocations) {
    kl_sim_fail_allocation(sim, at);
  } else {
    kl_sim_inject(sim, options->fault, at);
  }
  workload work = {.seed = seed, .steps = (uint32_t)options->steps, .sim = sim, .history = &crash_history};
  work.go_on_after_errors = options->allocations || options->fault != KL_SIM_FAULT_CRASH;
  /* A device that loses the whole 512-byte sector it is writing is survived (WAL-3), except while recovery writes the end
   * of the log once more (WAL-10): hence no recovery in such a run, and a sound device afterwards. */
  work.never_reopen = choice % 4 == 2;
  kl_sim_set_garbage(sim, work.never_reopen);
  kl_error error = {0};
  kl_status status = workload_run(&work, &error);
  kl_sim_fail_allocation(sim, 0);
  bool good = work.failure[0] == '\0';
  if (!good) snprintf(reason, sizeof reason, "%s", work.failure);
  if (status == KL_E_POISONED) tally->poisoned++;
  if (status == KL_E_DISK_FULL || status == KL_E_NO_MEMORY) tally->refused++;
  if (good && work.db != NULL && !kl_sim_crashed(sim)) {
    /* The fault may strike in the middle of it, as pages are read: a power failure ends it, any other one comes once. */
    bool waits = kl_sim_fault_waits(sim);
    good = crash_check_open(&work, reason, sizeof reason) || kl_sim_crashed(sim);
    if (!good && waits && !kl_sim_fault_waits(sim)) good = crash_check_open(&work, reason, sizeof reason);
  }
  if (good && options->fault == KL_SIM_FAULT_DISK_FULL && work.db != NULL) {
    /* The user makes room: the database must go on without being opened anew, unless it said that it is poisoned. */
    kl_sim_give_space(sim);
    if (status != KL_E_POISONED) good = crash_go_on(sim, &work.db, reason, sizeof reason);
    if (good && status != KL_E_POISONED) {
      kl_db_release(work.db, NULL);
      kl_sim_free(sim);
      tally->points++;
      return true;
    }
  }
  if (work.db != NULL) kl_db_release(work.db, NULL);
  if (good && kl_sim_live_bytes(sim) != 0) {
    good = false;
    snprintf(reason, sizeof reason, "%llu bytes leaked", (unsigned long long)kl_sim_live_bytes(sim));
  }
  if (good) good = crash_recover(sim, &crash_history, choice, tally, reason, sizeof reason);
  if (!good) crash_report(options, seed, at, choice, "simulated", reason);
  kl_sim_free(sim);
  tally->points++;
  tally->failed += !good;
  return good;
}

/* How many operations, or allocations, the workload of a seed makes when nothing fails. 0: it failed by itself. */
static uint64_t crash_count(const crash_options *options, uint64_t seed) {
  kl_sim *sim = NULL;
  if (kl_sim_new(seed, &sim, NULL) != KL_OK) return 0;
  workload work = {.seed = seed, .steps = (uint32_t)options->steps, .sim = sim, .history = &crash_history};
  kl_error error = {0};
  char reason[512] = "";
  kl_status status = workload_run(&work, &error);
  bool good = status == KL_OK && work.failure[0] == '\0';
  if (!good) snprintf(reason, sizeof reason, "%s", status != KL_OK ? error.message : work.failure);
  uint64_t count = options->allocations ? kl_sim_allocations(sim) : kl_sim_operations(sim);
  if (good) good = crash_check_open(&work, reason, sizeof reason);
  if (!good) crash_report(options, seed, 0, 0, "without any fault", reason);
  if (work.db != NULL) kl_db_release(work.db, NULL);
  kl_sim_free(sim);
  return good ? count : 0;
}

/* Ends the workload in one of three ways and leaves the machine as it then is: the power failed at operation `at`; or the
 * program was killed after some of its steps, with the page cache alive; or a sync failed at `at` and the program ended. */
static kl_sim *crash_leave_behind(const crash_options *options, uint64_t seed, uint64_t at) {
  kl_sim *sim = NULL, *left = NULL;
  if (kl_sim_new(seed, &sim, NULL) != KL_OK) return NULL;
  workload work = {.seed = seed, .steps = (uint32_t)options->steps, .sim = sim, .history = &crash_history};
  if (at % 3 == 0) kl_sim_inject(sim, KL_SIM_FAULT_CRASH, at);
  if (at % 3 == 1) work.steps = (uint32_t)(at % options->steps);
  if (at % 3 == 2) kl_sim_inject(sim, KL_SIM_FAULT_SYNC_FAILS, at);
  (void)workload_run(&work, NULL);
  if (at % 3 == 0) {
    kl_sim_restart(sim, at);
  } else {
    kl_sim_inject(sim, KL_SIM_FAULT_NONE, 0);
  }
  /* The copy has no file open and still everything that is pending: what a program leaves that is no more. */
  (void)kl_sim_clone(sim, &left);
  if (work.db != NULL) kl_db_release(work.db, NULL);
  kl_sim_free(sim);
  return left;
}

/* Ends a workload somehow, and then, from copies of what it left, has the power fail at each operation of the recovery. */
static void crash_recovery_points(const crash_options *options, uint64_t seed, uint64_t at, crash_tally *tally) {
  char reason[512] = "";
  kl_sim *sim = crash_leave_behind(options, seed, at);
  bool more = sim != NULL, good = more;
  for (uint64_t during = 1; more && good; during++) {
    kl_sim *copy = NULL;
    kl_db *db = NULL;
    kl_error error = {0};
    if (kl_sim_clone(sim, &copy) != KL_OK) break;
    kl_sim_inject(copy, KL_SIM_FAULT_CRASH, kl_sim_operations(copy) + during);
    if (workload_open(copy, &db, NULL) == KL_OK) kl_db_release(db, NULL);
    more = kl_sim_crashed(copy);
    kl_sim_restart(copy, at + during);
    db = NULL;
    good = workload_open(copy, &db, &error) == KL_OK;
    if (!good) {
      snprintf(reason, sizeof reason, "at operation %llu of it: %.400s", (unsigned long long)during, error.message);
    }
    if (good) {
      good =
          crash_match(db, &crash_history, crash_history.durable, crash_history.attempted, reason, sizeof reason) >= 0;
    }
    if (db != NULL) kl_db_release(db, NULL);
    kl_sim_free(copy);
    tally->points++;
    tally->recovered_again++;
  }
  kl_sim_free(sim);
  if (!good) crash_report(options, seed, at, 0, "power failure during recovery", reason);
  tally->failed += !good;
}

/* Seeds one after the other, every point of each, until `points` are done. */
static void crash_campaign(const crash_options *options, crash_tally *tally) {
  uint64_t goal = tally->points + options->points;
  bool every = options->fault == KL_SIM_FAULT_CRASH && !options->allocations;
  uint64_t stride = options->recovery ? 7 : every ? 1 : 3;
  uint64_t seeds = 0, failed_before = tally->failed, points_before = tally->points;
  for (uint64_t seed = options->seed; tally->points < goal && tally->failed < failed_before + 5; seed++, seeds++) {
    uint64_t count = crash_count(options, seed);
    if (count == 0) {
      tally->points++;
      tally->failed++;
      continue;
    }
    for (uint64_t at = 1 + seed % stride; at <= count && tally->points < goal; at += stride) {
      if (options->recovery) {
        crash_recovery_points(options, seed, at, tally);
      } else {
        crash_point(options, seed, at, at * 7 + seed, tally);
      }
      if (tally->failed >= failed_before + 5) break;
    }
  }
  printf("%-12s %8llu points of %llu seeds, %llu failed\n", crash_fault_name(options),
         (unsigned long long)(tally->points - points_before), (unsigned long long)seeds,
         (unsigned long long)(tally->failed - failed_before));
  fflush(stdout);
}

static void crash_usage(void) {
  puts(
      "crash_sim: crash and fail the engine at every operation of the simulated machine\n"
      "  --points N   crash points (default 20000); recovery gets half of it, each other fault a sixth\n"
      "  --seed S     first seed (default 1, or KEEL_TEST_SEED)\n"
      "  --steps N    transactions per workload (default 40)\n"
      "  --fault F    only this one: crash io-error sync-fails sync-broken disk-full short-read\n"
      "               allocation, recovery (a second crash at each operation of the recovery)\n"
      "  --at K       with --seed and --fault: only operation K, settled as --choice C says\n"
      "  --choice C");
}

static bool crash_parse_fault(crash_options *options, const char *name) {
  options->all_faults = false;
  options->allocations = strcmp(name, "allocation") == 0;
  options->recovery = strcmp(name, "recovery") == 0;
  if (options->allocations || options->recovery) return true;
  for (size_t i = 1; i < sizeof crash_fault_names / sizeof *crash_fault_names; i++) {
    options->fault = (kl_sim_fault)i;
    if (strcmp(name, crash_fault_names[i]) == 0) return true;
  }
  fprintf(stderr, "crash_sim: no such fault: %s\n", name);
  return false;
}

static int crash_parse(crash_options *options, int argc, char **argv) {
  static const struct option longs[] = {{"points", 1, NULL, 'p'}, {"seed", 1, NULL, 's'}, {"steps", 1, NULL, 't'},
                                        {"fault", 1, NULL, 'f'},  {"at", 1, NULL, 'a'},   {"choice", 1, NULL, 'c'},
                                        {"help", 0, NULL, 'h'},   {NULL, 0, NULL, 0}};
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
    switch (c) {
      case 'p':
        options->points = number;
        break;
      case 's':
        options->seed = number;
        break;
      case 't':
        options->steps = number;
        break;
      case 'a':
        options->only_at = number, options->only = true;
        break;
      case 'c':
        options->only_choice = number;
        break;
      case 'f':
        if (!crash_parse_fault(options, optarg)) return 2;
        break;
      case 'h':
        crash_usage();
        return 0;
      default:
        crash_usage();
        return 2;
    }
  }
  return -1;
}

int main(int argc, char **argv) {
  const char *seed = getenv("KEEL_TEST_SEED");
  crash_options options = {.seed = seed != NULL ? strtoull(seed, NULL, 10) : 1,
                           .points = 20000,
                           .steps = 40,
                           .fault = KL_SIM_FAULT_CRASH,
                           .all_faults = true};
  int done = crash_parse(&options, argc, argv);
  if (done >= 0) return done;
  crash_tally tally = {0};
  if (options.only && options.recovery) {
    crash_recovery_points(&options, options.seed, options.only_at, &tally);
  } else if (options.only) {
    crash_point(&options, options.seed, options.only_at, options.only_choice, &tally);
  } else {
    crash_campaign(&options, &tally);
    uint64_t sixth = options.points / 6;
    options.points /= 2;
    options.recovery = options.all_faults;
    if (options.all_faults) crash_campaign(&options, &tally);
    options.recovery = false;
    options.points = sixth;
    for (int fault = KL_SIM_FAULT_IO_ERROR; options.all_faults && fault <= KL_SIM_FAULT_SHORT_READ; fault++) {
      options.fault = (kl_sim_fault)fault;
      crash_campaign(&options, &tally);
    }
    options.allocations = options.all_faults;
    if (options.all_faults) crash_campaign(&options, &tally);
  }
  printf("%llu recoveries interrupted and repeated, %llu runs refused for want of space or memory, %llu poisoned\n",
         (unsigned long long)tally.recovered_again, (unsigned long long)tally.refused,
         (unsigned long long)tally.poisoned);
  printf("%llu passed, %llu failed\n", (unsigned long long)(tally.points - tally.failed),
         (unsigned long long)tally.failed);
  return tally.failed == 0 ? 0 : 1;
}
