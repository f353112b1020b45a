/* core/txn/txn.h: snapshots, transactions, the group-commit pipeline.
 *
 * A kl_txn_manager is the transactional half of one open database: timestamps, snapshots, the commit pipeline over
 * one log (or none, for :memory:) and the delta. A transaction reads one snapshot, buffers its writes in a private
 * ordered write set that its own reads merge, and commits atomically across keyspaces. Read core/txn/README.md for
 * the pipeline, its invariants and its lock order.
 *
 * Reference rules: a transaction keeps the manager alive, a cursor keeps its transaction alive, a view keeps what it
 * shows alive, in any order of release. Thread rules: no thread affinity; a transaction and its cursors are used by
 * one thread at a time, and a second one inside at the same moment gets KL_E_CONCURRENT_USE. Everything else from any
 * thread. */
#ifndef KL_TXN_TXN_H
#define KL_TXN_TXN_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"
#include "../os/os.h"
#include "../wal/wal.h"

enum { KL_MAX_KEY = 1024 };
#define KL_MAX_VALUE ((size_t)0x7fffffff)            /* of a value that is read and written as a whole */
#define KL_MAX_LARGE_VALUE UINT64_C(0x1000000000000) /* of one that is written in parts */
enum { KL_VALUE_DIRECT = 16 << 20 }; /* written in parts, up to this they are collected, and written as any other */

typedef enum kl_durability {
  KL_DURABILITY_DEFAULT = 0, /* the database's */
  KL_DURABILITY_FULL = 1,    /* acknowledged = on disk */
  KL_DURABILITY_GROUP = 2,   /* acknowledged at once, on disk within the group interval */
  KL_DURABILITY_NONE = 3 /* on disk when the system gets round to it; order is kept, nothing half-done after a crash */
} kl_durability;

/* What exists is snapshot isolation: a commit is validated against later writes to the keys that it writes, not against
 * what it read. A weaker name gets the next stronger level that exists; a stronger one is refused, never weakened. */
typedef enum kl_isolation {
  KL_ISOLATION_DEFAULT = 0,      /* snapshot */
  KL_ISOLATION_SERIALIZABLE = 1, /* KL_E_UNSUPPORTED */
  KL_ISOLATION_SNAPSHOT = 2,
  KL_ISOLATION_READ_COMMITTED = 3, /* from here on: accepted names, given snapshot */
  KL_ISOLATION_REPEATABLE_READ = 4,
  KL_ISOLATION_READ_UNCOMMITTED = 5
} kl_isolation;

typedef struct kl_txn_manager kl_txn_manager;
typedef struct kl_txn kl_txn;
typedef struct kl_cursor kl_cursor;
typedef struct kl_view kl_view;

typedef struct kl_txn_options {
  bool read_only;
  kl_isolation isolation;
  kl_durability durability;
  const char *label; /* creator's name for stats, copied; may be NULL */
  bool uncounted;    /* one of the engine's own: its operations and its rollback are in no statistics */
} kl_txn_options;

/* `options` may be NULL. KL_E_READ_ONLY (the database is), KL_E_UNSUPPORTED, KL_E_INVALID, KL_E_POISONED (of a
 * transaction that writes), KL_E_CLOSED, KL_E_NO_MEMORY. */
kl_status kl_txn_begin(kl_txn_manager *manager, const kl_txn_options *options, kl_txn **out_txn, kl_error *err);
/* Ends the transaction whatever the result, except KL_E_CONCURRENT_USE and KL_E_FINISHED. *out_ts (nullable): the
 * commit timestamp, 0 when nothing was written. When it returns KL_OK the commit is visible to all that begin later.
 * KL_E_CONFLICT: another transaction committed a write to one of its keys after its snapshot, or dropped a keyspace
 * that it wrote to; run it again. KL_E_LIMIT, KL_E_NO_MEMORY, KL_E_DISK_FULL, KL_E_POISONED, KL_E_CLOSED. In all these
 * cases nothing was written. KL_E_COMMIT_UNKNOWN: writing or syncing the log failed, and only opening the database
 * again can tell whether the commit happened. */
kl_status kl_txn_commit(kl_txn *txn, uint64_t *out_ts, kl_error *err);
kl_status kl_txn_rollback(kl_txn *txn, kl_error *err);
/* Drops the caller's reference; an unfinished transaction whose last user reference goes is rolled back. */
void kl_txn_release(kl_txn *txn);
kl_txn_manager *kl_txn_get_manager(kl_txn *txn);
bool kl_txn_is_read_only(const kl_txn *txn);

/* `keyspace` is an id from the catalogue (core/keyspace). KL_E_NOT_FOUND when the key has no value. The value is
 * borrowed: it stays valid until the next call with the transaction, or its end. */
kl_status kl_txn_get(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, kl_error *err);
/* Copies up to `capacity` bytes inside the call; *out_size is the value's full size. KL_E_BUFFER_SIZE when it did not
 * fit. */
kl_status kl_txn_get_copy(kl_txn *txn, uint32_t keyspace, kl_slice key, void *buffer, size_t capacity, size_t *out_size,
                          kl_error *err);
/* Pins the value: valid until kl_view_release, whatever happens to transaction and database. */
kl_status kl_txn_get_view(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_view **out_view, kl_error *err);
kl_slice kl_view_value(const kl_view *view);
void kl_view_release(kl_view *view); /* NULL is allowed */

/* Copies the bytes of the value from `offset` on, as many as it has and `capacity` is. *out_got: how many, 0 at the end
 * of the value and behind it. *out_size: of the whole value. Of a large value in a file only those parts are read, and
 * verified, that the bytes lie in; it needs no memory for the rest. On failure the buffer may have been changed. */
kl_status kl_txn_get_part(kl_txn *txn, uint32_t keyspace, kl_slice key, uint64_t offset, void *buffer, size_t capacity,
                          size_t *out_got, uint64_t *out_size, kl_error *err);

/* A value that is written in parts:
 *
 *     kl_value_begin; kl_value_write ...; kl_value_finish; kl_value_free
 *
 * Above KL_VALUE_DIRECT bytes it is written straight to where it stays in the file, and passes neither through the log
 * nor through memory. Nothing is seen of it before finish; then it is a write of the transaction like any other. A
 * transaction may have several; each keeps the transaction alive, and is used as its cursors are.
 *
 * begin: `size` is what the value will have, exactly. KL_E_READ_ONLY, KL_E_KEY_SIZE, KL_E_VALUE_SIZE, KL_E_NO_MEMORY;
 * of large ones KL_E_DISK_FULL, KL_E_IO, KL_E_LIMIT, KL_E_CORRUPT, KL_E_POISONED. */
typedef struct kl_value_writer kl_value_writer;
kl_status kl_value_begin(kl_txn *txn, uint32_t keyspace, kl_slice key, uint64_t size, kl_value_writer **out_writer,
                         kl_error *err);
/* KL_E_INVALID, and nothing is taken: more bytes than were announced. KL_E_FINISHED: the value is, or the transaction.
 * After KL_E_IO, KL_E_DISK_FULL, KL_E_CLOSED or KL_E_POISONED only kl_value_free makes sense. */
kl_status kl_value_write(kl_value_writer *writer, const void *bytes, size_t size, kl_error *err);
/* KL_E_INVALID: bytes are missing; it may go on. Otherwise as kl_value_write and kl_txn_put. After a failure it may be
 * called again. */
kl_status kl_value_finish(kl_value_writer *writer, kl_error *err);
void kl_value_free(kl_value_writer *writer); /* of one that is not finished nothing is left. NULL is allowed */

kl_status kl_txn_put(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice value, kl_error *err);
kl_status kl_txn_delete(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err); /* absent is no error */
/* Deletes every key that the transaction sees in [from, to); data == NULL: open end. *out_count (nullable): how
 * many. Walks them: costs a scan and a write per key. When it fails in the middle, some are deleted: roll back. */
kl_status kl_txn_delete_range(kl_txn *txn, uint32_t keyspace, kl_slice from, kl_slice to, uint64_t *out_count,
                              kl_error *err);

/* A cursor sees the transaction's snapshot merged with its own writes, also those made after the cursor was opened.
 * Bounds: [lower, upper), data == NULL: open. Copied. */
kl_status kl_cursor_open(kl_txn *txn, uint32_t keyspace, kl_slice lower, kl_slice upper, kl_cursor **out_cursor,
                         kl_error *err);
void kl_cursor_close(kl_cursor *cursor); /* NULL is allowed */
/* Each gives KL_OK when it now stands on a key, KL_E_NOT_FOUND when there is none that way. A fresh cursor stands
 * before the first and after the last at once: next goes to the first, prev to the last. After running off an end,
 * moving back goes to the key at that end. */
kl_status kl_cursor_first(kl_cursor *cursor, kl_error *err);
kl_status kl_cursor_last(kl_cursor *cursor, kl_error *err);
kl_status kl_cursor_seek_ge(kl_cursor *cursor, kl_slice key, kl_error *err);
kl_status kl_cursor_seek_le(kl_cursor *cursor, kl_slice key, kl_error *err);
kl_status kl_cursor_next(kl_cursor *cursor, kl_error *err);
kl_status kl_cursor_prev(kl_cursor *cursor, kl_error *err);
/* KL_E_NOT_FOUND when it stands on no key. Borrowed until the cursor moves, or the transaction writes or ends. */
kl_status kl_cursor_get(kl_cursor *cursor, kl_slice *out_key, kl_slice *out_value, kl_error *err);

/* Columnar rows in memory of their own: key i is keys[key_offsets[i] .. key_offsets[i+1]). Reused between calls. */
typedef struct kl_batch {
  kl_allocator *allocator;
  size_t count;
  uint8_t *keys, *values;
  uint64_t *key_offsets, *value_offsets; /* count + 1 each */
  uint8_t *found;                        /* get_many: 1 where the key has a value; cursor batches: all 1 */
  size_t key_capacity, value_capacity, row_capacity;
} kl_batch;
void kl_batch_init(kl_batch *batch, kl_allocator *allocator); /* columns are NULL until the first use */
void kl_batch_destroy(kl_batch *batch);
/* For those who fill batches: empties it (from here on the offset columns have their first element, 0); adds one row,
 * whose bytes are copied. KL_E_NO_MEMORY leaves the rows as they were. */
kl_status kl_batch_start(kl_batch *batch, kl_error *err);
kl_status kl_batch_append(kl_batch *batch, kl_slice key, kl_slice value, bool found, kl_error *err);
/* Moves up to max_rows times (0: no bound) and collects; stops before keys + values exceed max_bytes (0: 1 MiB), but
 * always takes one row. count 0 = the end. The cursor stands on the last row taken. */
kl_status kl_cursor_next_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err);
kl_status kl_cursor_prev_batch(kl_cursor *cursor, size_t max_rows, size_t max_bytes, kl_batch *batch, kl_error *err);
/* Looks up `count` keys, packed in `keys` at key_offsets (count + 1). Absent keys are rows with found = 0. */
kl_status kl_txn_get_many(kl_txn *txn, uint32_t keyspace, const void *keys, const uint64_t *key_offsets, size_t count,
                          kl_batch *batch, kl_error *err);

/* What may be a row: KL_E_KEY_SIZE, KL_E_VALUE_SIZE. */
kl_status kl_txn_check_key(kl_slice key, kl_error *err);
kl_status kl_txn_check_value(kl_slice value, kl_error *err);

#endif
