/* core/os/posix/clock.c: time. */
#include <errno.h>
#include <time.h>

#include "posix_private.h"

#define POSIX_NS_PER_S UINT64_C(1000000000)

static uint64_t posix_clock_ns(clockid_t clock) {
  struct timespec now = {0, 0};
  (void)clock_gettime(clock, &now); /* fails for unknown clocks only, and POSIX has both of ours */
  return (uint64_t)now.tv_sec * POSIX_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t kl_posix_monotonic_ns(kl_os *os) {
  (void)os;
  return posix_clock_ns(CLOCK_MONOTONIC);
}

uint64_t kl_posix_monotonic_coarse_ns(kl_os *os) {
  (void)os;
#ifdef CLOCK_MONOTONIC_COARSE
  return posix_clock_ns(CLOCK_MONOTONIC_COARSE); /* the time of the last tick: read without asking the hardware */
#else
  return posix_clock_ns(CLOCK_MONOTONIC);
#endif
}

uint64_t kl_posix_wall_ns(kl_os *os) {
  (void)os;
  return posix_clock_ns(CLOCK_REALTIME);
}

void kl_posix_sleep_ns(kl_os *os, uint64_t ns) {
  (void)os;
  struct timespec left = {(time_t)(ns / POSIX_NS_PER_S), (long)(ns % POSIX_NS_PER_S)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}
