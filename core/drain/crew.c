/* core/drain/crew.c: see crew.h. */
#include "crew.h"

#include <stdio.h>

#include "../os/thread.h"

typedef struct crew_lane {
  kl_drain_crew *crew;
  kl_thread *thread; /* NULL: not started */
  uint32_t number;
  uint64_t done; /* the last run that it has ended */
} crew_lane;

struct kl_drain_crew {
  kl_os *os;
  kl_allocator *allocator;
  uint32_t count;
  bool threads;

  kl_mutex mutex;
  kl_cond changed;
  uint64_t run; /* the number of the run at hand */
  bool stop;
  kl_drain_work work;
  void *context;

  crew_lane lane[]; /* lane 0 is nobody's */
};

static size_t crew_size(uint32_t lanes) {
  return sizeof(kl_drain_crew) + lanes * sizeof(crew_lane);
}

kl_status kl_drain_crew_new(kl_os *os, kl_allocator *allocator, uint32_t lanes, bool threads, kl_drain_crew **out_crew,
                            kl_error *err) {
  if (lanes == 0 || lanes > KL_DRAIN_LANES_MOST) {
    return kl_fail(err, KL_E_INVALID, "%u threads for drains; give 1 to %d", (unsigned)lanes, KL_DRAIN_LANES_MOST);
  }
  kl_drain_crew *crew = kl_alloc(allocator, crew_size(lanes));
  if (crew == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for %u threads for drains", (unsigned)lanes);
  kl_status status = kl_mutex_init(&crew->mutex, err);
  if (status == KL_OK) {
    status = kl_cond_init(&crew->changed, err);
    if (status != KL_OK) kl_mutex_destroy(&crew->mutex);
  }
  if (status != KL_OK) {
    kl_free(allocator, crew, crew_size(lanes));
    return status;
  }
  crew->os = os;
  crew->allocator = allocator;
  crew->count = lanes;
  crew->threads = threads && os->has_threads;
  for (uint32_t i = 0; i < lanes; i++) {
    crew->lane[i].crew = crew;
    crew->lane[i].number = i;
  }
  *out_crew = crew;
  return KL_OK;
}

void kl_drain_crew_free(kl_drain_crew *crew) {
  if (crew == NULL) return;
  kl_mutex_lock(&crew->mutex);
  crew->stop = true;
  kl_cond_broadcast(&crew->changed);
  kl_mutex_unlock(&crew->mutex);
  for (uint32_t i = 1; i < crew->count; i++) kl_thread_join(crew->lane[i].thread);
  kl_cond_destroy(&crew->changed);
  kl_mutex_destroy(&crew->mutex);
  kl_free(crew->allocator, crew, crew_size(crew->count));
}

uint32_t kl_drain_crew_lanes(const kl_drain_crew *crew) {
  return crew->count;
}

static void crew_lane_main(void *context) {
  crew_lane *lane = context;
  kl_drain_crew *crew = lane->crew;
  kl_mutex_lock(&crew->mutex);
  for (;;) {
    while (!crew->stop && lane->done == crew->run) kl_cond_wait(&crew->changed, &crew->mutex);
    if (crew->stop) break;
    kl_drain_work work = crew->work;
    void *work_context = crew->context;
    kl_mutex_unlock(&crew->mutex);
    while (work(work_context, lane->number)) continue;
    kl_mutex_lock(&crew->mutex);
    lane->done = crew->run; /* the run does not change before every lane has done it */
    kl_cond_broadcast(&crew->changed);
  }
  kl_mutex_unlock(&crew->mutex);
}

/* All lanes in turn, on this thread. */
static void crew_run_inline(kl_drain_crew *crew, kl_drain_work work, void *context) {
  bool over[KL_DRAIN_LANES_MOST] = {false}, any = true;
  while (any) {
    any = false;
    for (uint32_t i = 0; i < crew->count; i++) {
      if (!over[i]) over[i] = !work(context, i);
      any |= !over[i];
    }
  }
}

/* The threads that there are not yet; those that cannot be had, another run may get. Under `mutex`. */
static void crew_start(kl_drain_crew *crew) {
  for (uint32_t i = 1; i < crew->count; i++) {
    crew_lane *lane = &crew->lane[i];
    char name[16];
    if (lane->thread != NULL) continue;
    lane->done = crew->run;
    (void)snprintf(name, sizeof name, "keel-drain-%u", (unsigned)i % 100);
    if (kl_thread_start(crew->os, name, crew_lane_main, lane, &lane->thread, NULL) != KL_OK) lane->thread = NULL;
  }
}

void kl_drain_crew_run(kl_drain_crew *crew, kl_drain_work work, void *context) {
  if (!crew->threads) {
    crew_run_inline(crew, work, context);
    return;
  }
  kl_mutex_lock(&crew->mutex);
  crew_start(crew);
  crew->work = work;
  crew->context = context;
  crew->run++;
  kl_cond_broadcast(&crew->changed);
  kl_mutex_unlock(&crew->mutex);
  while (work(context, 0)) continue;
  kl_mutex_lock(&crew->mutex);
  for (uint32_t i = 1; i < crew->count; i++) {
    while (crew->lane[i].thread != NULL && crew->lane[i].done != crew->run) {
      kl_cond_wait(&crew->changed, &crew->mutex);
    }
  }
  kl_mutex_unlock(&crew->mutex);
}
