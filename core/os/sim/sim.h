/* core/os/sim/sim.h: the simulated operating system: virtual files, virtual clock, seeded faults.
 *
 * From one seed a run replays exactly (single-threaded use; with several threads the faults stay seeded, the
 * interleaving does not). Every call that touches storage (all calls of kl_os that can fail) is one *operation* and has
 * a number, counted from 1 and on over restarts; calls after a crash are not counted.
 *
 * The disk model: a write changes what reads see at once, and is *pending* until a successful sync of its file (or at
 * once with KL_OPEN_DSYNC, for its own bytes and the size needed to read them only). At a crash each pending write, at
 * a granularity of `tear_bytes` (512 or 4096, aligned in the file), is kept, lost or torn, in any order and any subset,
 * as the seed says. Truncations, growth and allocations are pending likewise; of them some first ones survive, for
 * sizes are metadata that a journal keeps in order. Directory entries (creation, rename, removal) are pending until
 * sync_directory, and any subset of them survives. A failed sync gives up some of the pending writes at the seed's
 * choice: reads still see them, but no later sync stores them (as Linux, which marks their pages clean), while after a
 * crash they may or may not be there. Once bytes are durable, nothing but a later write, kl_sim_poke or
 * kl_sim_set_garbage changes them. Why each of this must be survived: core/os/README.md.
 *
 * What is simpler than on a real machine: every directory exists and paths are compared as text; there are no links and
 * no permissions; a file has at most 16 GiB (EFBIG); time moves with operations, sleeps and kl_sim_advance_clock only;
 * os->has_threads is false. The machine's own memory is not the program's and is not counted; should it run out, every
 * call fails with KL_E_NO_MEMORY from then on.
 *
 * Thread rules: any thread; one mutex per machine. kl_sim_free comes last, after all files were closed. */
#ifndef KL_OS_SIM_H
#define KL_OS_SIM_H

#include "../os.h"

typedef struct kl_sim kl_sim;

typedef enum kl_sim_fault {
  KL_SIM_FAULT_NONE,
  KL_SIM_FAULT_CRASH,      /* the power goes at this operation: it and all later ones fail, nothing more is stored; what
                               it was to store is pending, so that restart may keep any part of it */
  KL_SIM_FAULT_IO_ERROR,   /* this operation fails once with EIO (a write may have stored a part; a sync has failed) */
  KL_SIM_FAULT_SYNC_FAILS, /* the first sync from this operation on fails: sync, sync_directory, a DSYNC write */
  KL_SIM_FAULT_SYNC_BROKEN, /* every sync from this operation on fails */
  KL_SIM_FAULT_DISK_FULL,   /* from this operation on, what needs space fails with ENOSPC until kl_sim_give_space:
                               creation, allocation, writes past the end or into holes (a part may be stored) */
  KL_SIM_FAULT_SHORT_READ, /* the system call under the first read from this operation on returns short, the next one is
                               interrupted; the os must go on reading */
  KL_SIM_FAULT_SHORT_WRITE, /* likewise for a write */
  KL_SIM_FAULT_READ_ONLY    /* from this operation on, opening for writing and every change fails with EROFS */
} kl_sim_fault;

kl_status kl_sim_new(uint64_t seed, kl_sim **out_sim, kl_error *err);
void kl_sim_free(kl_sim *sim); /* NULL is allowed */
kl_os *kl_sim_os(kl_sim *sim);

/* Operations so far. Run a workload once without faults to learn how many there are; then crash at each. */
uint64_t kl_sim_operations(const kl_sim *sim);
void kl_sim_inject(kl_sim *sim, kl_sim_fault fault, uint64_t at_operation); /* replaces an earlier injection */
bool kl_sim_fault_waits(
    const kl_sim *sim); /* true until what was injected has struck for the first time, or is taken back */
void kl_sim_give_space(kl_sim *sim);
/* Fails the n-th allocation from now on (1 is the next), once; 0 switches it off. */
void kl_sim_fail_allocation(kl_sim *sim, uint64_t n);
uint64_t kl_sim_allocations(const kl_sim *sim); /* asked for so far, open files included */
uint64_t kl_sim_live_bytes(const kl_sim *sim);  /* allocated and not freed: 0 when nothing leaks */
bool kl_sim_crashed(const kl_sim *sim);

/* The machine comes back, after a crash or out of the blue: open files are gone, locks too, pending changes are settled
 * as the seed (and `choice`, so that one crash point can be settled in several ways) says; faults are cleared. Equal
 * histories with equal seeds and choices settle alike. Files that the crashed program still has open answer every call
 * with an error, until it closes them. */
#define KL_SIM_LOSE_ALL UINT64_MAX       /* a choice: nothing pending survives */
#define KL_SIM_KEEP_ALL (UINT64_MAX - 1) /* a choice: everything pending survives */
void kl_sim_restart(kl_sim *sim, uint64_t choice);
void kl_sim_set_tear_bytes(kl_sim *sim, uint32_t tear_bytes); /* default 512 */
/* Off by default. On: a torn unit holds garbage all over, also where its neighbours in the unit were durable, as a
 * device does that loses the sector it is writing. Survived by who never writes into a unit that holds durable
 * bytes. */
void kl_sim_set_garbage(kl_sim *sim, bool garbage);

void kl_sim_advance_clock(kl_sim *sim, uint64_t ns);
/* Damage and inspection, for tests: direct access to what is stored, not counted as operations. Poked bytes are
 * durable; a file that is absent is made and one that is short grows, durably. peek sees what reads see:
 * KL_E_NO_FILE. */
kl_status kl_sim_poke(kl_sim *sim, const char *path, uint64_t offset, const void *bytes, size_t size);
kl_status kl_sim_peek(kl_sim *sim, const char *path, uint64_t offset, void *out, size_t size, size_t *out_read);
/* From now on `path` is a directory: opening it gives KL_E_NOT_A_FILE. KL_E_EXISTS when it is a file. */
kl_status kl_sim_make_directory(kl_sim *sim, const char *path);
/* A deep copy of the whole simulated machine (disk, pending changes, clock, seed state, injected fault) with no file
 * open and no allocation counted; for exploring many crash points from one run. Cheap: contents are shared until
 * written. */
kl_status kl_sim_clone(const kl_sim *sim, kl_sim **out_sim);

#endif
