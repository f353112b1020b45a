/* core/delta/delta.h: the in-memory, concurrent, ordered, multi-version index of recent commits.
 *
 * A map from (keyspace id, key) to a chain of versions, newest first; each version has a commit timestamp, a kind and
 * a value. Order is keyspace id, then key bytes. Keys and values are copied into the delta's arena on insert and
 * never move or change; nothing is removed: a delta is freed as a whole when the last reference is dropped.
 *
 * Readers take no locks and never wait; writers run in parallel. A version becomes reachable atomically. Readers pass
 * a read timestamp and see, per key, the newest version at or below it; publishing (which timestamps may be read) is
 * the business of core/txn.
 *
 * Lifetime: pointers handed out (keys, values) stay valid as long as the caller holds a reference on the delta; a
 * delta holds no pointer into anything else. Thread rules: all functions from any thread; a cursor by one thread at a
 * time. */
#ifndef KL_DELTA_DELTA_H
#define KL_DELTA_DELTA_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/memory.h"
#include "../base/slice.h"
#include "../base/status.h"

typedef struct kl_delta kl_delta;

typedef enum kl_version_kind {
  KL_VERSION_PUT = 1,
  KL_VERSION_DELETE = 2
  /* merge operands (add, min, max, append) get kinds of their own with issue-level work on transactions */
} kl_version_kind;

typedef struct kl_version {
  uint64_t ts; /* commit timestamp, > 0 */
  kl_version_kind kind;
  kl_slice value; /* empty for DELETE */
} kl_version;

kl_status kl_delta_new(kl_allocator *allocator, kl_delta **out_delta, kl_error *err); /* one reference */
void kl_delta_ref(kl_delta *delta);
void kl_delta_unref(kl_delta *delta); /* the last one frees; NULL is allowed */

/* Adds a version. Versions of one key may arrive in any order of ts; the chain stays sorted. Two versions with the same
 * key and ts: the later insert wins (replay and re-drive are idempotent). KL_E_NO_MEMORY leaves the delta as it was. */
kl_status kl_delta_insert(kl_delta *delta, uint32_t keyspace, kl_slice key, const kl_version *version, kl_error *err);

/* The newest version at or below read_ts; false when there is none (a DELETE is a version, and is returned). */
bool kl_delta_get(kl_delta *delta, uint32_t keyspace, kl_slice key, uint64_t read_ts, kl_version *out_version);
/* kl_delta_get for `count` keys of one keyspace: out_versions[i] belongs to keys[i]; its ts is 0 where the key has no
 * such version. A few times as fast per key as single calls when the delta is larger than the CPU's caches. */
void kl_delta_get_many(kl_delta *delta, uint32_t keyspace, const kl_slice *keys, size_t count, uint64_t read_ts,
                       kl_version *out_versions);
/* The ts of the newest version of the key, 0 when there is none: for write-conflict detection. */
uint64_t kl_delta_newest_ts(kl_delta *delta, uint32_t keyspace, kl_slice key);

/* Where a key was looked for, as a start for inserting it later into the same delta, without a second way down. A hint:
 * it stays right, whatever is inserted meanwhile, and lives as long as the delta. NULL: no hint. */
typedef const struct delta_node *kl_delta_place;
/* kl_delta_newest_ts for `count` keys of one keyspace, side by side as in kl_delta_get_many, and their places. */
void kl_delta_look_many(kl_delta *delta, uint32_t keyspace, const kl_slice *keys, size_t count, uint64_t *out_newest,
                        kl_delta_place *out_places);
/* kl_delta_insert from a place that this delta gave for the key. */
kl_status kl_delta_insert_at(kl_delta *delta, uint32_t keyspace, kl_delta_place place, kl_slice key,
                             const kl_version *version, kl_error *err);
/* Asks for the memory that an insertion there reads first, so that it need not wait. */
void kl_delta_prefetch(kl_delta_place place);

/* Cursor over the keys of one keyspace as of read_ts, DELETE versions included (the caller merges sources and must
 * see them). Keys with no version at or below read_ts are skipped. Sees a consistent past: inserts with ts > read_ts
 * that happen meanwhile never show. Plain storage, no allocation, nothing to close; it borrows the delta's
 * reference of its caller. After first/last/seek/next/prev, kl_delta_cursor_valid says whether it stands on a key;
 * moving off an end makes it invalid, and it stays so until positioned anew. */
typedef struct kl_delta_cursor {
  kl_delta *delta;
  uint64_t read_ts;
  uint32_t keyspace;
  bool valid;
  kl_slice key;
  kl_version version;
  /* the structure's own: where the key was last met */
  const struct delta_tree *tree;
  const struct delta_node *leaf;
  struct delta_entry *entry;
  uint32_t slot;
} kl_delta_cursor;

void kl_delta_cursor_init(kl_delta_cursor *cursor, kl_delta *delta, uint32_t keyspace, uint64_t read_ts);
void kl_delta_cursor_first(kl_delta_cursor *cursor);
void kl_delta_cursor_last(kl_delta_cursor *cursor);
void kl_delta_cursor_seek_ge(kl_delta_cursor *cursor, kl_slice key); /* first key >= */
void kl_delta_cursor_seek_le(kl_delta_cursor *cursor, kl_slice key); /* last key <= */
void kl_delta_cursor_next(kl_delta_cursor *cursor);
void kl_delta_cursor_prev(kl_delta_cursor *cursor);

/* Has the keyspace ever had a version in the delta? */
bool kl_delta_has(const kl_delta *delta, uint32_t keyspace);
/* The keyspaces that have a version in the delta, ascending: fills `out` with the first `capacity` of them that it
 * meets, and returns how many there are (inserts that happen meanwhile may be missed). */
size_t kl_delta_keyspaces(const kl_delta *delta, uint32_t *out, size_t capacity);

typedef struct kl_delta_stats {
  uint64_t keys;     /* distinct (keyspace, key) */
  uint64_t versions; /* including deletes */
  uint64_t bytes;    /* memory reserved */
} kl_delta_stats;
void kl_delta_get_stats(const kl_delta *delta, kl_delta_stats *out_stats);

#endif
