/* core/os/sim/sim.h: the simulated operating system: virtual files, virtual clock, seeded faults.
 *
 * From one seed a run replays exactly (single-threaded use; with several threads the faults stay seeded, the
 * interleaving does not). Every call that touches storage is one *operation* and has a number, counted from 1.
 *
 * The disk model: a write changes what reads see at once, and is *pending* until a successful sync of its file (or at
 * once with KL_OPEN_DSYNC, for its own bytes only). At a crash each pending write, at a granularity of
 * `tear_bytes` (512 or 4096), is kept, lost or torn, in any order and any subset, as the seed says. Truncation, size growth
 * and directory entries (creation, rename, removal) are pending likewise, the latter until sync_directory. A failed sync
 * marks its pending writes clean-but-lost at the seed's choice, as Linux does: a later sync that succeeds promises
 * nothing about them. */
#ifndef KL_OS_SIM_H
#define KL_OS_SIM_H

#include "../os.h"

typedef struct kl_sim kl_sim;

typedef enum kl_sim_fault {
  KL_SIM_FAULT_NONE,
  KL_SIM_FAULT_CRASH,       /* the power goes at this operation: it and all later ones fail, nothing more is stored */
  KL_SIM_FAULT_IO_ERROR,    /* this operation fails once with EIO (a write may have stored a part) */
  KL_SIM_FAULT_SYNC_FAILS,  /* the first sync from this operation on fails */
  KL_SIM_FAULT_SYNC_BROKEN, /* every sync from this operation on fails */
  KL_SIM_FAULT_DISK_FULL,   /* from this operation on, growing fails with ENOSPC until kl_sim_give_space */
  KL_SIM_FAULT_SHORT_READ   /* the system call under this read returns short; the os must go on reading */
} kl_sim_fault;

kl_status kl_sim_new(uint64_t seed, kl_sim **out_sim, kl_error *err);
void kl_sim_free(kl_sim *sim);
kl_os *kl_sim_os(kl_sim *sim);

/* Operations so far. Run a workload once without faults to learn how many there are; then crash at each. */
uint64_t kl_sim_operations(const kl_sim *sim);
void kl_sim_inject(kl_sim *sim, kl_sim_fault fault, uint64_t at_operation); /* replaces an earlier injection */
void kl_sim_give_space(kl_sim *sim);
/* Fails the n-th allocation from now on (1 is the next), once; 0 switches it off. */
void kl_sim_fail_allocation(kl_sim *sim, uint64_t n);
uint64_t kl_sim_allocations(const kl_sim *sim);
uint64_t kl_sim_live_bytes(const kl_sim *sim); /* allocated and not freed: 0 when nothing leaks */
bool kl_sim_crashed(const kl_sim *sim);

/* The machine comes back: open files are gone, locks too, pending writes are settled as the seed (and `choice`, so that
 * one crash point can be settled in several ways) says; faults are cleared. Files that the crashed program still has open
 * answer every call with an error. */
void kl_sim_restart(kl_sim *sim, uint64_t choice);
void kl_sim_set_tear_bytes(kl_sim *sim, uint32_t tear_bytes); /* default 512 */

void kl_sim_advance_clock(kl_sim *sim, uint64_t ns);
/* Damage and inspection, for tests: direct access to what is stored, not counted as operations. */
kl_status kl_sim_poke(kl_sim *sim, const char *path, uint64_t offset, const void *bytes, size_t size);
kl_status kl_sim_peek(kl_sim *sim, const char *path, uint64_t offset, void *out, size_t size, size_t *out_read);
/* A deep copy of the whole simulated machine (disk, clock, seed state) with no file open; for exploring many crash
 * points from one run. */
kl_status kl_sim_clone(const kl_sim *sim, kl_sim **out_sim);

#endif
