/* core/drain/crew.h: the threads that a drain has beside the one that it runs on.
 *
 * A crew has so many *lanes*. Lane 0 is the caller of kl_drain_crew_run, each other one a thread ("keel-drain-1" ...),
 * which is started when the lane is first needed and lives until the crew is freed, asleep between two runs. A crew without
 * threads, and one that gets none from the system, works all the same: the caller takes the lanes in turn, always in the
 * same order.
 *
 * Thread rules: one call at a time for a crew. `work` runs on several threads at once, each lane on one. Locks: `mutex`
 * guards the state and is held for moments; nothing is called under it. What the caller wrote before a run is seen by all
 * lanes, and what lanes wrote in it by the caller behind it. */
#ifndef KL_DRAIN_CREW_H
#define KL_DRAIN_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "../os/os.h"

enum { KL_DRAIN_LANES_MOST = 64 };

typedef struct kl_drain_crew kl_drain_crew;

/* `lanes`: 1 ... KL_DRAIN_LANES_MOST, KL_E_INVALID. `threads` false: none is started, whatever os->has_threads says. KL_E_NO_MEMORY, and
 * what kl_mutex_init says. */
kl_status kl_drain_crew_new(kl_os *os, kl_allocator *allocator, uint32_t lanes, bool threads, kl_drain_crew **out_crew,
                            kl_error *err);
/* Ends the threads. NULL is allowed. */
void kl_drain_crew_free(kl_drain_crew *crew);
uint32_t kl_drain_crew_lanes(const kl_drain_crew *crew);

/* A piece of the work, on lane `lane`. False: nothing is left for this lane. */
typedef bool (*kl_drain_work)(void *context, uint32_t lane);
/* Calls `work` on lanes, again and again, until it has answered false on each. A lane whose thread could not be started is
 * left out: what is to be done may not depend on a lane, but for lane 0. */
void kl_drain_crew_run(kl_drain_crew *crew, kl_drain_work work, void *context);

#endif
