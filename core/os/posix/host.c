/* core/os/posix/host.c: random bytes, and what process and machine this is. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../../base/rng.h"
#include "posix_private.h"

/* Fills `out` from a file as far as it gives; returns the bytes filled. */
static size_t posix_read_some(const char *path, void *out, size_t size) {
  size_t done = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  while (done < size) {
    ssize_t moved = read(fd, (unsigned char *)out + done, size - done);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) break;
    done += (size_t)moved;
  }
  (void)close(fd);
  return done;
}

static size_t posix_random_call(unsigned char *out, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t moved = getrandom(out + done, size - done, 0);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) break;
    done += (size_t)moved;
  }
  return done;
}

void kl_posix_random(kl_os *os, void *out, size_t size) {
  unsigned char *bytes = out;
  size_t done = posix_random_call(bytes, size);
  /* A kernel older than the call, or a sandbox that forbids it. */
  if (done < size) done += posix_read_some("/dev/urandom", bytes + done, size - done);
  if (done == size) return;
  /* A sandbox without either: two databases still get different identities, which is what the bytes are for. */
  kl_rng rng;
  static _Atomic uint64_t calls;
  kl_rng_init(&rng, kl_mix64(kl_posix_monotonic_ns(os)) ^ kl_mix64(kl_posix_wall_ns(os) + 1) ^
                        kl_mix64((uint64_t)getpid() << 32 | atomic_fetch_add(&calls, 1)));
  kl_rng_fill(&rng, bytes + done, size - done);
}

uint64_t kl_posix_process_id(kl_os *os) {
  (void)os;
  return (uint64_t)getpid();
}

void kl_posix_process_name(kl_os *os, char *out, size_t capacity) {
  (void)os;
  if (capacity == 0) return;
#ifdef __GLIBC__
  (void)snprintf(out, capacity, "%s", program_invocation_short_name);
#else
  size_t size = posix_read_some("/proc/self/comm", out, capacity - 1);
  if (size > 0 && out[size - 1] == '\n') size--;
  out[size] = '\0';
#endif
}

/* A container's limit; UINT64_MAX when there is none, or "max". */
static uint64_t posix_memory_limit(const char *path) {
  char text[32];
  char *end;
  text[posix_read_some(path, text, sizeof text - 1)] = '\0';
  errno = 0;
  unsigned long long limit = strtoull(text, &end, 10);
  return end == text || errno != 0 || limit == 0 ? UINT64_MAX : limit;
}

uint64_t kl_posix_physical_memory(kl_os *os) {
  (void)os;
  long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGE_SIZE);
  if (pages <= 0 || page_size <= 0) return 0;
  uint64_t memory = (uint64_t)pages * (uint64_t)page_size;
  /* Version 2 and version 1 of control groups, as a container sees its own. */
  uint64_t limits[] = {posix_memory_limit("/sys/fs/cgroup/memory.max"),
                       posix_memory_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes")};
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    if (limits[i] < memory) memory = limits[i];
  }
  return memory;
}

/* Processors that a container's quota amounts to, rounded up; UINT32_MAX when there is none. */
static uint32_t posix_processor_limit(void) {
  char text[64];
  char *end;
  text[posix_read_some("/sys/fs/cgroup/cpu.max", text, sizeof text - 1)] = '\0'; /* "quota period", or "max period" */
  unsigned long long quota = strtoull(text, &end, 10);
  if (end == text || *end != ' ') return UINT32_MAX;
  unsigned long long period = strtoull(end, NULL, 10);
  if (quota == 0 || period == 0 || quota / period >= UINT32_MAX) return UINT32_MAX;
  return (uint32_t)((quota + period - 1) / period);
}

uint32_t kl_posix_processors(kl_os *os) {
  (void)os;
  long count = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
  if (count < 1) return 1;
  uint32_t limit = posix_processor_limit();
  return count < (long)limit ? (uint32_t)count : limit;
}
