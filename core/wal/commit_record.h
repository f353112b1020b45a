/* core/wal/commit_record.h: the bytes of one commit inside a log batch. One codec for commit (writes) and replay
 * (reads).
 *
 * A batch's payload is a sequence of commit records, in order of timestamp. A record holds the final images of one
 * transaction's writes: for each, keyspace id, kind, key, value. Byte table in docs/format.md. Kinds 1 (put), 2
 * (delete) and 16 (run) exist; numbers up to 15 are kept for merge operands, those above 16 for prepared transactions
 * and their outcomes. A reader that meets a kind it does not know answers KL_E_VERSION: it never
 * guesses.
 *
 * Nothing is aligned: records and ops follow each other without gaps. Thread rules: pure functions over caller memory.
 * */
#ifndef KL_WAL_COMMIT_RECORD_H
#define KL_WAL_COMMIT_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"

typedef enum kl_op_kind {
  KL_OP_PUT = 1,
  KL_OP_DELETE = 2,
  KL_OP_RUN = 16 /* the writes to the keyspace lie in trees that were written before: kl_op_run_* */
} kl_op_kind;

typedef struct kl_op {
  uint32_t keyspace;
  kl_op_kind kind;
  kl_slice key, value; /* key: at most KL_OP_KEY_MAX bytes; value: at most 2^32 - 1, empty for DELETE */
} kl_op;

enum {
  KL_COMMIT_HEADER_SIZE = 24, /* timestamp, number of ops, bytes of ops */
  KL_OP_HEADER_SIZE = 12,     /* kind, flags, key size, keyspace, value size */
  KL_OP_RUN_PART = 8,         /* ids of the keyspaces whose trees hold rows, and deleted keys */
  KL_OP_KEY_MAX = 65535       /* what the format can say; core/txn allows less */
};

/* A transaction larger than memory writes parts of what it does into trees of keyspaces without a name, before its
 * commit. Its record has one op of kind RUN for each keyspace that it writes to, with an empty key and a value of parts,
 * newest first, and no others. `puts`: the keyspace whose tree has the rows; `deletes`: the one whose keys are deleted,
 * 0: none. */
typedef struct kl_op_run_part {
  uint32_t puts, deletes;
} kl_op_run_part;
void kl_op_run_part_encode(const kl_op_run_part *part, uint8_t out[KL_OP_RUN_PART]);
/* Part number `index` of the value of an op that the reader gave, which has value.size / KL_OP_RUN_PART of them. */
void kl_op_run_part_decode(kl_slice value, size_t index, kl_op_run_part *out);

/* Encoding: a header (whose ts is set at commit time, when it is known, without touching the rest), then ops. */
/* Bytes that one op takes. */
size_t kl_op_encoded_size(const kl_op *op);
/* Writes one op; returns the bytes written. `out` has room for kl_op_encoded_size; the limits of kl_op are the caller's
 * to keep (asserted). */
size_t kl_op_encode(const kl_op *op, void *out);
/* Writes the header of a record: commit timestamp (> 0), number of ops, bytes of ops that follow. */
void kl_commit_header_encode(void *out, uint64_t ts, uint64_t op_count, uint64_t op_bytes);

/* Decoding; every byte is validated, and KL_E_CORRUPT says what was wrong. Slices borrow from the payload. */
typedef struct kl_commit_reader {
  kl_slice rest; /* what of the payload is unread */
  kl_slice ops;  /* what of the current commit is unread */
  uint64_t ts;   /* of the current commit */
  uint64_t ops_left;
} kl_commit_reader;
void kl_commit_reader_init(kl_commit_reader *reader, kl_slice payload);
/* Moves to the next commit; ops of the current one that were not read are skipped. */
kl_status kl_commit_reader_next_commit(kl_commit_reader *reader, uint64_t *out_ts, uint64_t *out_ops, kl_error *err);
kl_status kl_commit_reader_next_op(kl_commit_reader *reader, kl_op *out_op, kl_error *err);
/* Both give KL_E_NOT_FOUND at the end (of the payload; of the commit) and leave err alone then: the end is no failure.
 * */

/* Dropping a keyspace is a commit that writes the keyspace's drop marker: this key of keyspace 0. A transaction that
 * writes to a keyspace reads the marker at its snapshot (present: KL_E_KEYSPACE_NOT_FOUND), and its commit is
 * validated against it as if it had written it, so that a drop and a write to the dropped keyspace never both succeed
 * unordered. */
enum { KL_DROP_MARKER_SIZE = 5, KL_DROP_MARKER_PREFIX = 'd' };
void kl_drop_marker_encode(uint32_t keyspace, uint8_t out[KL_DROP_MARKER_SIZE]);

#endif
