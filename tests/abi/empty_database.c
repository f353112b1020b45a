/* tests/abi/empty_database.c: what opening an empty database costs in resident memory, measured in a fresh process.
 *
 *     empty_database PATH LIMIT_KIB
 *
 * Prints the growth and exits with 1 when it is above the limit. Resident pages are those of /proc/self/statm. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "capi/include/keel/keel.h"

/* The process as the system sees it. */
static long resident_kib(void) {
  long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld %ld", &total, &resident) != 2) exit(2);
  if (fclose(file) != 0) exit(2);
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void must(keel_status status, const keel_error *error) {
  if (status == KEEL_OK) return;
  (void)fprintf(stderr, "%s: %s\n", keel_status_name(status), error->message);
  exit(2);
}

int main(int argc, char **argv) {
  keel_error error;
  keel_db db;
  keel_keyspace keyspace;
  if (argc != 3) return 2;
  (void)printf("opening %s", argv[1]); /* stdio's own memory is there before the first measurement */
  long before = resident_kib();
  must(keel_open(argv[1], NULL, &db, &error), &error);
  long opened = resident_kib();
  must(keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error), &error);
  long with_keyspace = resident_kib();
  must(keel_keyspace_close(keyspace, &error), &error);
  must(keel_close(db, &error), &error);
  long limit = strtol(argv[2], NULL, 10);
  (void)printf(": %ld KiB resident; with a keyspace %ld KiB; limit %ld KiB\n", opened - before, with_keyspace - before,
               limit);
  return opened - before < limit && with_keyspace - before < limit ? 0 : 1;
}
