/* bench/engine/workloads.c: the list of workloads, with the goals that the project has set itself. */
#include "bench/engine/work.h"

/* A table. */
/* clang-format off */
const bench_workload_info bench_workload_infos[BENCH_WORKLOADS] = {
  [BENCH_FILL_RANDOM] = {"fill_random", "random fill, 1000 a transaction, no sync", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{3.0, NULL, BENCH_FILL_RANDOM}}},
  [BENCH_SETTLE] = {"settle", "after it: compaction or checkpoint, until idle", "ms",
    BENCH_MILLISECONDS, BENCH_GROUP_READ, {{0}}},
  [BENCH_SPACE] = {"space", "after it: space on disk, closed", "bytes a row",
    BENCH_BYTES_PER_ROW, BENCH_GROUP_READ, {{0}}},
  [BENCH_OPEN] = {"open", "open after a clean close, and one get", "ms",
    BENCH_MILLISECONDS, BENCH_GROUP_READ, {{0}}},
  [BENCH_GET] = {"get", "point get", "gets",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{2.5, NULL, BENCH_GET}}},
  [BENCH_GET_ABSENT] = {"get_absent", "point get of an absent key", "gets",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{3.0, NULL, BENCH_GET_ABSENT}}},
  [BENCH_GET_MANY] = {"get_many", "get_many, 1000 keys a call", "keys",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{8.0, NULL, BENCH_GET}}},
  [BENCH_SCAN_FORWARD] = {"scan_forward", "ordered scan, forward", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{1.5, NULL, BENCH_SCAN_FORWARD}}},
  [BENCH_SCAN_BACKWARD] = {"scan_backward", "ordered scan, backward", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{1.5, NULL, BENCH_SCAN_BACKWARD}}},
  [BENCH_SEEK_10] = {"seek_10", "seek + 10 rows", "seeks",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{2.0, NULL, BENCH_SEEK_10}}},
  [BENCH_SEEK_100] = {"seek_100", "seek + 100 rows", "seeks",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{2.0, NULL, BENCH_SEEK_100}}},
  [BENCH_DELETE] = {"delete", "random delete, 1000 a transaction, no sync", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_READ, {{0}}},
  [BENCH_PUT] = {"put", "single-put transactions, no sync", "puts",
    BENCH_PER_SECOND, BENCH_GROUP_PUT, {{1.5, "lmdb", BENCH_PUT}, {4.0, "rocksdb", BENCH_PUT}}},
  [BENCH_PUT_2] = {"put_2", "the same from 2 threads", "puts",
    BENCH_PER_SECOND, BENCH_GROUP_PUT_2, {{1.5, "lmdb", BENCH_PUT_2}, {4.0, "rocksdb", BENCH_PUT_2}}},
  [BENCH_FILL_SORTED] = {"fill_sorted", "sequential fill, 1000 a transaction, no sync", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_FILL_SORTED, {{1.0, NULL, BENCH_FILL_SORTED}}},
  [BENCH_LOAD_SORTED] = {"load_sorted", "bulk load of sorted rows", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_LOAD_SORTED, {{1.2, NULL, BENCH_LOAD_SORTED}}},
  [BENCH_UPDATE] = {"update", "random updates, 100 a transaction, data 10 times the cache, no sync", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_UPDATE, {{5.0, "lmdb", BENCH_UPDATE}, {1.2, "rocksdb", BENCH_UPDATE}}},
  [BENCH_UPDATE_DURABLE] = {"update_durable", "the same, durable", "rows",
    BENCH_PER_SECOND, BENCH_GROUP_UPDATE_DURABLE,
    {{5.0, "lmdb", BENCH_UPDATE_DURABLE}, {1.2, "rocksdb", BENCH_UPDATE_DURABLE}}},
  [BENCH_PUT_DURABLE] = {"put_durable", "single-put transactions, durable", "puts",
    BENCH_PER_SECOND, BENCH_GROUP_PUT_DURABLE, {{0}}},
  [BENCH_PUT_DURABLE_2] = {"put_durable_2", "the same from 2 threads", "puts",
    BENCH_PER_SECOND, BENCH_GROUP_PUT_DURABLE_2, {{0}}},
  [BENCH_RECOVERY] = {"recovery", "open after the program was killed at the end of a random fill", "ms",
    BENCH_MILLISECONDS, BENCH_GROUP_RECOVERY, {{0}}},
};
/* clang-format on */

bool bench_group_wanted(bench_group group, const bench_plan *plan) {
  for (int i = 0; i < BENCH_WORKLOADS; i++) {
    if (bench_workload_infos[i].group == group && plan->wanted[i]) return true;
  }
  return false;
}
