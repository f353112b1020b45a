/* tests/unit/store/space_model.h: a plain model of what the blocks of a store must hold.
 *
 * It knows every run of blocks of every version that the store owes to somebody: the newest durable checkpoint and the
 * one before it, those that a snapshot holds, and the one in progress. Every block of a run is filled with a pattern
 * that names the run, so that a block which was handed out too early, lost or misplaced is found by reading. Which
 * blocks the space map uses for itself is learnt by kl_store_walk_used, which must otherwise name just the runs of the
 * model. */
#ifndef KEEL_TESTS_SPACE_MODEL_H
#define KEEL_TESTS_SPACE_MODEL_H

#include "cmocka_all.h"
#include "core/base/rng.h"
#include "core/os/sim/sim.h"
#include "core/store/store.h"

enum { MODEL_RUNS = 4096, MODEL_VERSIONS = 24, MODEL_MAPS = 256, MODEL_RING = 64, MODEL_ASIDE = 48 };
#define MODEL_PATH "/db/model.keel"

typedef struct model_run {
  uint64_t address, bytes, birth;
  uint64_t tag; /* of its pattern */
} model_run;

typedef struct model_map_block {
  uint64_t address;
  uint32_t checksum;
} model_map_block;

/* What a checkpoint reaches. */
typedef struct model_version {
  uint64_t ts;       /* counts the checkpoints; names the version after a crash */
  uint64_t sequence; /* with it a snapshot holds the version */
  size_t run_count, map_count;
  model_run runs[MODEL_RUNS];
  model_map_block maps[MODEL_MAPS];
  bool live;  /* a snapshot holds it */
  bool taken; /* the slot is in use */
} model_version;

/* A run that was reserved. */
typedef struct model_aside {
  model_run run;
  bool adopted; /* by the checkpoint in progress */
  bool synced;  /* after it was written */
} model_aside;

typedef struct model {
  kl_sim *sim; /* NULL: the real system, for a memory store */
  kl_store *store;
  kl_rng rng;
  uint64_t seed;
  uint64_t next_tag;
  bool in_progress;
  bool log_needed;
  bool written_sparsely;            /* only the ends of long runs are written and compared */
  bool reserves;                    /* runs are reserved and adopted, too */
  bool surprises;                   /* snapshots are taken in the middle of checkpoints, too */
  uint64_t most_blocks;             /* of a run */
  size_t target_runs;               /* about so many are in use */
  model_version *versions;          /* MODEL_VERSIONS */
  model_version *newest, *previous; /* previous: NULL when a recovery could not take it */
  bool ring_has[MODEL_RING];        /* at the last opening: a superblock with this ts, modulo MODEL_RING */
  model_version *work;              /* of the checkpoint in progress */
  size_t aside_count;
  model_aside asides[MODEL_ASIDE];
} model;

/* A store of the simulated machine, or, when `sim` is NULL, a memory store. */
void model_open(model *m, kl_sim *sim, uint64_t seed);
void model_close(model *m); /* closes the store, too */

/* Each of these calls the store and says what it answered. A check that fails ends the test. */
kl_status model_begin(model *m, kl_error *err);
kl_status model_change(model *m, kl_error *err); /* allocates and writes a run, or frees one */
/* Reserves a run and writes it, or gives one back, or syncs; in a checkpoint or outside. */
kl_status model_reserve(model *m, kl_error *err);
kl_status model_publish(model *m, kl_error *err);
kl_status model_seal(model *m, kl_error *err);
void model_abort(model *m);
/* A whole checkpoint with `changes` changes; after a failure it is aborted. */
kl_status model_checkpoint(model *m, size_t changes, kl_error *err);
void model_toggle_snapshot(model *m); /* takes one of the newest, or lets one go */

/* The store is closed and opened anew, perhaps after the machine was restarted: what was being published may have
 * become the newest. What was reserved is free, but for what was synced: a log would name that, and it is reserved
 * again, with its bytes. */
void model_reopen(model *m);
/* The two halves of it: closes and opens (`store` is NULL when that fails; it may be tried again), and looks at what
 * was found. */
kl_status model_try_reopen(model *m, kl_error *err);
void model_adopt(model *m);
/* Reads everything that is owed, and the map. */
void model_check(model *m);
#endif
