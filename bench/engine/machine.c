#include "bench/engine/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

static void machine_cpu(bench_machine *machine) {
  char line[256];
  FILE *file = fopen("/proc/cpuinfo", "r");
  (void)snprintf(machine->cpu, sizeof machine->cpu, "unknown CPU");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(machine->cpu, sizeof machine->cpu, "%.127s", colon + 2);
    break;
  }
  (void)fclose(file);
}

static void machine_file_system(bench_machine *machine, const char *dir) {
  static const struct {
    unsigned long magic;
    const char *name;
  } known[] = {{0xef53, "ext4"},        {0x58465342, "xfs"}, {0x9123683e, "btrfs"}, {0x01021994, "tmpfs"},
               {0x794c7630, "overlay"}, {0x2fc12fc1, "zfs"}, {0xf2f52010, "f2fs"}};
  struct statfs info;
  (void)snprintf(machine->file_system, sizeof machine->file_system, "unknown");
  if (statfs(dir, &info) != 0) return;
  (void)snprintf(machine->file_system, sizeof machine->file_system, "0x%lx", (unsigned long)info.f_type);
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (known[i].magic == (unsigned long)info.f_type) {
      (void)snprintf(machine->file_system, sizeof machine->file_system, "%s", known[i].name);
    }
  }
}

void bench_machine_read(bench_machine *machine, const char *dir) {
  struct utsname names;
  *machine = (bench_machine){.cores = sysconf(_SC_NPROCESSORS_ONLN)};
  machine_cpu(machine);
  machine_file_system(machine, dir);
  machine->memory_gib = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1024.0 * 1024.0 * 1024.0);
  if (uname(&names) == 0) {
    (void)snprintf(machine->kernel, sizeof machine->kernel, "%s %s %s", names.sysname, names.release, names.machine);
  }
  if (getloadavg(&machine->load, 1) != 1) machine->load = -1;
}
