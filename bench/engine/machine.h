/* bench/engine/machine.h: on what the figures were taken. */
#ifndef BENCH_ENGINE_MACHINE_H
#define BENCH_ENGINE_MACHINE_H

#include <stddef.h>

typedef struct bench_machine {
  char cpu[128];
  long cores;
  double memory_gib;
  char kernel[256];
  char file_system[32];
  double load; /* processes that ran in the last minute, before the benchmark began */
} bench_machine;

/* `dir` is where the stores lie. */
void bench_machine_read(bench_machine *machine, const char *dir);

#endif
