/* core/txn/throttle.c: see throttle.h. */
#include "throttle.h"

#include <inttypes.h>

#include "../base/assert.h"

#define THROTTLE_SECOND UINT64_C(1000000000)
#define THROTTLE_WORTH_NS UINT64_C(1000000)      /* shorter sleeps are saved up */
#define THROTTLE_LONGEST_NS UINT64_C(100000000)  /* of one sleep: the pressure may be gone by then */
#define THROTTLE_FIRST_RATE (UINT64_C(32) << 20) /* bytes per second, until a drain has been measured */

kl_status kl_throttle_init(kl_throttle *throttle, kl_os *os, uint64_t soft, uint64_t hard, kl_error *err) {
  throttle->os = os;
  throttle->soft = soft;
  throttle->hard = hard < 2 * soft ? 2 * soft : hard;
  kl_status status = kl_mutex_init(&throttle->mutex, err);
  if (status != KL_OK) return status;
  status = kl_cond_init(&throttle->changed, err);
  if (status != KL_OK) kl_mutex_destroy(&throttle->mutex);
  return status;
}

void kl_throttle_destroy(kl_throttle *throttle) {
  kl_cond_destroy(&throttle->changed);
  kl_mutex_destroy(&throttle->mutex);
}

/* Relaxed throughout: these are estimates that steer, and the numbers order nothing. */
static uint64_t throttle_load(const _Atomic uint64_t *number) {
  return atomic_load_explicit(number, memory_order_relaxed);
}

uint64_t kl_throttle_gap_ns(const kl_throttle *throttle, uint64_t active, uint64_t used, uint64_t bytes) {
  uint64_t rate = throttle_load(&throttle->rate);
  if (rate == 0) rate = THROTTLE_FIRST_RATE;
  double above = (double)(active - throttle->soft);
  double left = (double)throttle->hard - (double)used;
  if (left < 1) left = 1;
  return (uint64_t)((double)bytes * (above / left) * (double)THROTTLE_SECOND / (double)rate);
}

static void throttle_pace(kl_throttle *throttle, uint64_t active, uint64_t used, uint64_t bytes) {
  uint64_t gap = kl_throttle_gap_ns(throttle, active, used, bytes);
  uint64_t now = kl_os_monotonic_ns(throttle->os);
  uint64_t next = throttle_load(&throttle->next_ns), mine;
  do {
    mine = next > now ? next : now;
  } while (!atomic_compare_exchange_weak_explicit(&throttle->next_ns, &next, mine + gap, memory_order_relaxed,
                                                  memory_order_relaxed));
  uint64_t ahead = mine + gap - now;
  if (ahead < THROTTLE_WORTH_NS) return;
  if (ahead > THROTTLE_LONGEST_NS) ahead = THROTTLE_LONGEST_NS;
  kl_os_sleep_ns(throttle->os, ahead);
  atomic_fetch_add_explicit(&throttle->throttled_ns, ahead, memory_order_relaxed);
}

bool kl_throttle_enter(kl_throttle *throttle, uint64_t bytes) {
  if (throttle->soft == 0) return true;
  uint64_t active = throttle_load(&throttle->active);
  if (active <= throttle->soft || !throttle->os->has_threads) return true; /* without threads the drain runs inline */
  uint64_t used = active + throttle_load(&throttle->frozen);
  if (used > throttle->hard || bytes > throttle->hard - used) return false;
  throttle_pace(throttle, active, used, bytes);
  return true;
}

void kl_throttle_add(kl_throttle *throttle, uint64_t bytes) {
  /* One writer at a time: no read-modify-write is needed, but for the freeze, which is under the turn too. */
  atomic_store_explicit(&throttle->active, throttle_load(&throttle->active) + bytes, memory_order_relaxed);
}

bool kl_throttle_wants_drain(kl_throttle *throttle) {
  if (throttle->soft == 0 || throttle_load(&throttle->active) < throttle->soft) return false;
  if (atomic_load_explicit(&throttle->asked, memory_order_relaxed)) return false;
  return !atomic_exchange_explicit(&throttle->asked, true, memory_order_relaxed);
}

void kl_throttle_freeze(kl_throttle *throttle) {
  atomic_store_explicit(&throttle->frozen, throttle_load(&throttle->active), memory_order_relaxed);
  atomic_store_explicit(&throttle->active, 0, memory_order_relaxed);
  atomic_store_explicit(&throttle->asked, false, memory_order_relaxed);
}

void kl_throttle_drained(kl_throttle *throttle, uint64_t took_ns, const kl_error *reason) {
  kl_mutex_lock(&throttle->mutex);
  throttle->failing = reason != NULL;
  if (reason != NULL) {
    throttle->reason = *reason;
  } else {
    uint64_t bytes = throttle_load(&throttle->frozen);
    double rate = (double)bytes * (double)THROTTLE_SECOND / (double)(took_ns + 1);
    if (bytes >= throttle->soft / 2) atomic_store_explicit(&throttle->rate, (uint64_t)rate + 1, memory_order_relaxed);
    atomic_store_explicit(&throttle->frozen, 0, memory_order_relaxed);
  }
  atomic_fetch_add_explicit(&throttle->drains, 1, memory_order_relaxed);
  atomic_store_explicit(&throttle->asked, false, memory_order_relaxed); /* there may be more to drain already */
  kl_cond_broadcast(&throttle->changed);
  kl_mutex_unlock(&throttle->mutex);
}

void kl_throttle_idle(kl_throttle *throttle) {
  kl_mutex_lock(&throttle->mutex);
  atomic_fetch_add_explicit(&throttle->drains, 1, memory_order_relaxed);
  throttle->failing = false;
  kl_cond_broadcast(&throttle->changed);
  kl_mutex_unlock(&throttle->mutex);
}

uint64_t kl_throttle_drains(const kl_throttle *throttle) {
  return throttle_load(&throttle->drains);
}

kl_status kl_throttle_wait_drain(kl_throttle *throttle, uint64_t seen, kl_error *err) {
  kl_status status = KL_OK;
  uint64_t start = kl_os_monotonic_ns(throttle->os);
  kl_mutex_lock(&throttle->mutex);
  while (throttle_load(&throttle->drains) == seen) kl_cond_wait(&throttle->changed, &throttle->mutex);
  if (throttle->failing) {
    uint64_t used = throttle_load(&throttle->active) + throttle_load(&throttle->frozen);
    status =
        kl_fail(err, KL_E_LIMIT, "nothing was committed: %" PRIu64 " bytes wait to be drained, and draining fails: %s",
                used, throttle->reason.message);
  }
  kl_mutex_unlock(&throttle->mutex);
  uint64_t now = kl_os_monotonic_ns(throttle->os);
  atomic_fetch_add_explicit(&throttle->waits, 1, memory_order_relaxed);
  if (now > start) atomic_fetch_add_explicit(&throttle->throttled_ns, now - start, memory_order_relaxed);
  return status;
}
