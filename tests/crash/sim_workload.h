/* tests/crash/sim_workload.h: a seeded program of transactions against the engine on the simulated os, and its history.
 *
 * The program (which transactions, which keys, when to flush, to reopen, to let time pass) is a function of the seed alone, so that a run
 * without faults says how many operations there are, and a run that crashes at operation k does the same up to k. */
#ifndef TESTS_CRASH_SIM_WORKLOAD_H
#define TESTS_CRASH_SIM_WORKLOAD_H

#include "core/db/db.h"
#include "core/os/sim/sim.h"
#include "sim_model.h"

enum { WORKLOAD_COMMITS_MAX = 256 };

/* What was promised. states[i] is the state after commit i; states[0] is the empty database.
 * A recovered database must equal one of states[durable] ... states[attempted]. */
typedef struct workload_history {
  model_state states[WORKLOAD_COMMITS_MAX + 2];
  uint32_t next_tag;
  uint32_t acknowledged; /* the last commit that returned KL_OK: what a reader of the open database sees */
  uint32_t durable;      /* the last one that was acknowledged as being on disk */
  uint32_t attempted;    /* acknowledged, or one more when the outcome of the last commit is unknown */
  bool created;          /* the first open has returned */
} workload_history;

typedef struct workload {
  uint64_t seed;
  uint32_t steps;
  kl_sim *sim;
  bool
      go_on_after_errors; /* false: stop at the first error. true: a failed commit is rolled back; go on unless poisoned */
  bool never_reopen;      /* leave out the steps that close the database and open it again */
  workload_history *history;
  kl_db *db;         /* open when the program returns, NULL when opening failed */
  char failure[512]; /* not empty: the engine broke a promise while it ran */
} workload;

/* Runs the program. KL_OK, or the first error (with go_on_after_errors: the one that ended it). */
kl_status workload_run(workload *work, kl_error *err);

/* Opens the database on `sim` as the workload does. */
kl_status workload_open(kl_sim *sim, kl_db **out_db, kl_error *err);

/* Reads everything in `db` through cursors, both ways, and by get. False, with a reason, when it is not a state that the model
 * could ever be in (an unknown keyspace or key, a damaged value, two ways of reading that differ). */
bool workload_read_state(kl_db *db, model_state *out_state, char *reason, size_t capacity);

#endif
