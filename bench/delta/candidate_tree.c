/* bench/delta/candidate_tree.c: the delta of the engine itself. */
#include "candidate.h"

static void *candidate_tree_make(void) {
  kl_delta *delta = NULL;
  return kl_delta_new(kl_allocator_libc(), &delta, NULL) == KL_OK ? delta : NULL;
}

static void candidate_tree_drop(void *map) {
  kl_delta_unref(map);
}

static bool candidate_tree_insert(void *map, kl_slice key, kl_slice value, uint64_t ts) {
  kl_version version = {ts, KL_VERSION_PUT, value};
  return kl_delta_insert(map, 1, key, &version, NULL) == KL_OK;
}

static bool candidate_tree_get(void *map, kl_slice key, kl_slice *out_value) {
  kl_version version;
  if (!kl_delta_get(map, 1, key, UINT64_MAX, &version)) return false;
  *out_value = version.value;
  return true;
}

static uint64_t candidate_tree_get_many(void *map, const kl_slice *keys, size_t count, uint64_t *sum) {
  kl_version versions[CANDIDATE_MANY];
  uint64_t found = 0;
  kl_delta_get_many(map, 1, keys, count, UINT64_MAX, versions);
  for (size_t i = 0; i < count; i++) {
    if (versions[i].ts == 0) continue;
    *sum += *(const unsigned char *)versions[i].value.data;
    found++;
  }
  return found;
}

static uint64_t candidate_tree_scan(void *map, kl_slice from, bool forward, uint64_t limit, uint64_t *sum) {
  kl_delta_cursor cursor;
  kl_delta_cursor_init(&cursor, map, 1, UINT64_MAX);
  if (!forward) {
    kl_delta_cursor_last(&cursor);
  } else if (from.data == NULL) {
    kl_delta_cursor_first(&cursor);
  } else {
    kl_delta_cursor_seek_ge(&cursor, from);
  }
  uint64_t rows = 0;
  while (cursor.valid && rows < limit) {
    *sum += *(const unsigned char *)cursor.key.data + *(const unsigned char *)cursor.version.value.data;
    rows++;
    if (forward) {
      kl_delta_cursor_next(&cursor);
    } else {
      kl_delta_cursor_prev(&cursor);
    }
  }
  return rows;
}

static uint64_t candidate_tree_bytes(void *map) {
  kl_delta_stats stats;
  kl_delta_get_stats(map, &stats);
  return stats.bytes;
}

const candidate candidate_tree = {"tree",
                                  candidate_tree_make,
                                  candidate_tree_drop,
                                  candidate_tree_insert,
                                  candidate_tree_get,
                                  candidate_tree_get_many,
                                  candidate_tree_scan,
                                  candidate_tree_bytes};
