/* core/store/store.h: the database file NAME: the ring of superblocks, and behind it blocks and their space map.
 *
 * The file starts with KL_SUPERBLOCKS blocks of 4 KiB, each one a superblock, self-checksummed, sharing no field that
 * changes in place. Publishing checkpoint n writes slot n % KL_SUPERBLOCKS and syncs; the newest valid one counts, and
 * a damaged newest one leaves the one before it.
 *
 * All else is blocks of KL_BLOCK_SIZE, addressed by their byte offset in the file. A block is written by the checkpoint
 * that allocates it and never again until it has been freed and given back. Which blocks are in use the space map says,
 * itself a copy-on-write tree of blocks that the superblock names. One drain at a time makes a checkpoint:
 *
 *     kl_store_begin; { kl_store_allocate, kl_store_write, kl_store_free } ...; kl_store_publish (or kl_store_abort)
 *
 * A block that a checkpoint frees is handed out again when no checkpoint needs it any more that a recovery could take,
 * nor one that a reader still holds (STORE-8): until then it is in limbo. Byte tables: docs/format.md. Invariants:
 * core/store/README.md.
 *
 * Blocks can be reserved outside of checkpoints, by any thread, and written: for what is too large to wait in memory
 * until a checkpoint names it (kl_store_reserve). No map has them until a checkpoint adopts them.
 *
 * A memory store (kl_store_new_memory) does the same in anonymous memory: addresses, births and limbo are as in a file,
 * there is just nothing to recover.
 *
 * Thread rules: kl_store_read, kl_store_memory, kl_store_checkpoint and the other questions from any thread, at any
 * time before close; so may be reserved, given back, written to what is reserved, and synced. begin ... publish or
 * abort: one thread at a time; publishing without begin (a seal) too. But allocate, adopt, free and write: several threads at
 * once, all of them between the begin and the publish or abort of one thread. */
#ifndef KL_STORE_STORE_H
#define KL_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "../os/os.h"

enum { KL_SUPERBLOCKS = 4, KL_SUPERBLOCK_SIZE = 4096, KL_DATABASE_ID_SIZE = 16 };
enum { KL_BLOCK_SIZE = 4096 };
enum { KL_PAGE_SIZE_MIN = 4096, KL_PAGE_SIZE_MAX = 65536, KL_PAGE_SIZE_DEFAULT = 4096 };

typedef struct kl_store kl_store;

/* Where something lies and what must be found there; equal in meaning to kl_tree_pointer. All zero: there is none. */
typedef struct kl_store_pointer {
  uint64_t address;  /* byte offset in the file, a multiple of KL_BLOCK_SIZE */
  uint32_t length;   /* bytes as stored */
  uint32_t checksum; /* CRC-32C of the bytes as stored */
  uint64_t birth;    /* kl_store_birth of the checkpoint that wrote it */
} kl_store_pointer;

typedef struct kl_checkpoint {
  uint64_t sequence;      /* 1 at creation; grows with each checkpoint, mostly by 1 (STORE-4, STORE-5 and STORE-12) */
  uint64_t ts;            /* commits up to this timestamp are in the tree */
  uint64_t log_lsn;       /* replay starts here */
  uint64_t known_durable; /* log position that was durable when it was written */
  uint64_t wall_ns;       /* when, since 1970 */
  bool log_needed;        /* false: everything is in this file and NAME-wal may be absent or left over from a crashed
                             creation or close; true: a missing NAME-wal is KL_E_CORRUPT, never "empty" */
  kl_store_pointer catalogue; /* root of the catalogue's tree; all zero: none. Only a checkpoint that was begun changes
                                 it: a publication without kl_store_begin keeps what there is */
} kl_checkpoint;

typedef struct kl_store_options {
  uint32_t page_size; /* 4 KiB ... 64 KiB, power of two; a format parameter, fixed at creation; 0: default */
  uint32_t file_mode; /* 0: 0600 */
  bool read_only;
  bool unconfirmed; /* kl_store_open writes nothing: kl_store_confirm follows */
} kl_store_options;

/* Creates the file; durable (file and directory entry) when it returns, with a new random identity and checkpoint 1
 * (log_needed false). It is written and synced as NAME-new under the exclusive lock, then renamed, so that NAME is
 * never seen half-made; a left-over NAME-new of a crashed creation is overwritten. The lock stays with the store.
 * KL_E_EXISTS when NAME exists and is not empty (an empty NAME is replaced); KL_E_LOCKED when another process is
 * creating it right now; KL_E_NOT_A_FILE (a directory ...); KL_E_INVALID for a bad page size. */
kl_status kl_store_create(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                          kl_error *err);
/* KL_E_NO_FILE (absent or empty), KL_E_NOT_A_FILE (a directory ...), KL_E_FORMAT (not a Keel database; also a short
 * one), KL_E_VERSION (made by a newer Keel), KL_E_CORRUPT (no superblock verifies), KL_E_LOCKED: each leaves the file
 * as it was. Takes the lock: exclusive, or shared when read-only.
 * A superblock verifies when it is intact and the roots that it names read back with their checksums. The newest intact
 * one is taken, or, when its roots do not verify, the newest with other roots, and none besides (STORE-9,
 * kl_store_fell_back). A root that cannot be read at all is KL_E_IO, not a fall-back. Unless it is read-only, what was
 * taken is published anew: the sequence number grows (STORE-5). The time that it takes does not depend on the size of
 * the file. */
kl_status kl_store_open(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                        kl_error *err);
/* A store in anonymous memory, for `:memory:` databases. Fresh, at checkpoint 1. KL_E_INVALID (page size),
 * KL_E_NO_MEMORY. */
kl_status kl_store_new_memory(kl_os *os, uint32_t page_size, kl_store **out_store, kl_error *err);
/* After an opening with `unconfirmed`, before anything is built on what was found, and before anything is published:
 * publishes it once more, durably, because what can be read need not be on stable storage (STORE-5). Nothing when it is
 * read-only, or done already. */
kl_status kl_store_confirm(kl_store *store, kl_error *err);
/* Aborts a checkpoint in progress, cuts off what the file has behind its blocks, lets the lock go. NULL is allowed. */
void kl_store_close(kl_store *store);

const uint8_t *kl_store_id(const kl_store *store); /* 16 bytes; zeros for a memory store */
const char *kl_store_path(const kl_store *store);  /* as it was opened; ":memory:" for a memory store */
uint32_t kl_store_page_size(const kl_store *store);
bool kl_store_is_memory(const kl_store *store);
/* The newest checkpoint was found damaged at open, and the one before it was taken. A superblock that cannot be read
 * does not tell its number: one that a crash left half-written looks the same, and so does damage to the oldest of the
 * ring. Nothing is lost by falling back as long as the log is there (STORE-6). */
bool kl_store_fell_back(const kl_store *store);
void kl_store_checkpoint(kl_store *store, kl_checkpoint *out_checkpoint);
/* The log below this is needed by no checkpoint that a recovery could take, the newest or one that it falls back to:
 * what may be given to kl_wal_release. */
uint64_t kl_store_log_release_point(kl_store *store);

/* -------- reading: any thread -------- */

/* Exactly `length` bytes from `address` on. KL_E_CORRUPT, naming file and block: not the address of a block, or past
 * the end of the file; KL_E_IO. Nothing is checked of what the bytes are: their pointer has the checksum. The caller
 * sees to it that the block is not given back meanwhile (it holds a checkpoint that `live` of kl_store_begin names). */
kl_status kl_store_read(kl_store *store, uint64_t address, void *buffer, size_t length, kl_error *err);
/* Memory stores only (NULL for others): the bytes themselves, valid until their blocks are given back; NULL when the
 * range is not one of blocks. */
const void *kl_store_memory(const kl_store *store, uint64_t address, size_t length);

/* -------- a checkpoint in progress: one at a time, one thread -------- */

/* `live`: sequence numbers of the checkpoints whose roots a reader still holds, any order, numbers may repeat; copied.
 * First gives back what neither one of them needs nor one that a recovery could take (the two newest superblocks, the
 * newest with other roots): a block born at b and dead at d, when no such version v has b <= v < d. A reader that takes
 * the newest checkpoint's roots meanwhile need not be known here. KL_E_READ_ONLY, KL_E_POISONED, KL_E_NO_MEMORY,
 * KL_E_CORRUPT (the space map), KL_E_IO, KL_E_INVALID (another one is in progress). */
kl_status kl_store_begin(kl_store *store, const uint64_t *live, size_t live_count, kl_error *err);
/* The number of the checkpoint in progress, newest sequence + 1: the birth of what it writes. Its thread only. */
uint64_t kl_store_birth(const kl_store *store);
/* A contiguous run of whole blocks for `bytes` (at least 1) bytes; grows the file where it must. The caller writes all
 * bytes that a pointer will name. Runs come ascending, and next to each other where there is room. On failure nothing
 * is allocated, and the checkpoint may go on or be aborted. KL_E_DISK_FULL, KL_E_IO, KL_E_NO_MEMORY, KL_E_LIMIT (0
 * bytes or more than a file can have), KL_E_CORRUPT: a part of the space map that was needed is damaged. */
kl_status kl_store_allocate(kl_store *store, uint64_t bytes, uint64_t *out_address, kl_error *err);
/* As kl_store_allocate for `least` bytes, but the run is longer, up to `most` bytes, where free blocks follow: for a thread
 * that takes room for several pages at once, so that what it writes lies together. It frees what it does not use
 * (kl_store_free, born in this checkpoint). */
kl_status kl_store_allocate_some(kl_store *store, uint64_t least, uint64_t most, uint64_t *out_address,
                                 uint64_t *out_bytes, kl_error *err);
/* For a checkpoint that is to move data towards the front of the file: after begin, before anything is allocated.
 * Until it ends, the first free blocks are handed out, however scattered; at its end the file is cut to what is needed.
 * *out_end: whatever the newest checkpoint uses has room before it, with about a thirty-second to spare and beside the
 * blocks there that are in limbo; blocks of the space map behind it move by themselves. A checkpoint that does nothing
 * else has other roots all the same: what the one before the last needed for a fall-back is free after it (STORE-13).
 * Errors as of kl_store_allocate; abort then. */
kl_status kl_store_compact(kl_store *store, uint64_t *out_end, kl_error *err);
/* As kl_store_allocate, but all of it before the address `end`. KL_E_NOT_FOUND, without a message: there is no such
 * run, and nothing has changed; the file never grows. */
kl_status kl_store_allocate_before(kl_store *store, uint64_t bytes, uint64_t end, uint64_t *out_address, kl_error *err);
/* Writes the parts, in order, from `address` on: inside of what this checkpoint allocated. Not synced before publish.
 */
kl_status kl_store_write(kl_store *store, uint64_t address, const kl_slice *parts, size_t count, kl_error *err);
/* The checkpoint in progress does not reach this run of blocks (bytes rounded up to whole ones) any more. `birth`: of
 * the pointer that named it. What was born in this checkpoint is free again at once. KL_E_CORRUPT: the space map has
 * some of it as free already (it is damaged, or the tree is), or a part of the map that was needed is damaged;
 * KL_E_NO_MEMORY, KL_E_IO. On failure nothing is freed. */
kl_status kl_store_free(kl_store *store, uint64_t address, uint64_t bytes, uint64_t birth, kl_error *err);
/* The same for many. On failure those from some one on are not freed: the checkpoint is to be aborted. */
typedef struct kl_store_run {
  uint64_t address, bytes, birth;
} kl_store_run;
kl_status kl_store_free_runs(kl_store *store, const kl_store_run *runs, size_t count, kl_error *err);
/* The checkpoint in progress did not happen: everything is as before begin, what was allocated is free again. Without
 * one in progress: nothing. */
void kl_store_abort(kl_store *store);
/* With a checkpoint in progress: writes what changed of the space map, syncs, writes the superblock, syncs. Without:
 * writes the superblock alone, with the roots as they are (a seal of the log). `sequence` and `wall_ns` are set inside;
 * on success the whole of *checkpoint is what was written. A checkpoint that changes log_needed is written twice, with
 * two sequence numbers, of which *checkpoint has the second: no single damaged superblock can then make a log that is
 * needed look unneeded (STORE-4).
 * Whatever comes of it, the checkpoint in progress has ended: on failure it is aborted. A failed sync, or a failed
 * write of the superblock, poisons: KL_E_POISONED from then on. KL_E_READ_ONLY; and what kl_store_allocate and
 * kl_store_write give. */
kl_status kl_store_publish(kl_store *store, kl_checkpoint *checkpoint, kl_error *err);

/* -------- reserved blocks: any thread, in and outside of checkpoints, once the store is confirmed -------- */

/* A contiguous run of whole blocks for `bytes` (at least 1) bytes, which nobody else will be given until it is given
 * back. It is of no checkpoint: after a crash it is free by itself. The file grows where it must, and is not cut before
 * the end of the run. May wait while a checkpoint writes its space map, or while the file grows for another; never for a
 * sync. On failure nothing is reserved. KL_E_DISK_FULL, KL_E_IO, KL_E_NO_MEMORY, KL_E_LIMIT (as kl_store_allocate),
 * KL_E_CORRUPT (a part of the space map), KL_E_READ_ONLY, KL_E_POISONED. */
kl_status kl_store_reserve(kl_store *store, uint64_t bytes, uint64_t *out_address, kl_error *err);
/* The same for blocks that were reserved before a crash and that the log names: before anything else is reserved or
 * allocated. KL_E_EXISTS, without a message: the newest checkpoint uses all of the run already. KL_E_CORRUPT, besides:
 * the file has no such blocks, or others use some of them. */
kl_status kl_store_reserve_at(kl_store *store, uint64_t address, uint64_t bytes, kl_error *err);
/* Gives a reserved run back, or a part of one that is whole blocks; cannot fail. Not while it is adopted. */
void kl_store_unreserve(kl_store *store, uint64_t address, uint64_t bytes);
/* Writes the parts, in order, from `address` on: inside of what is reserved and not adopted. On stable storage after
 * the next kl_store_sync or publication that begins behind it. KL_E_IO, KL_E_DISK_FULL, KL_E_POISONED, KL_E_READ_ONLY. */
kl_status kl_store_write_reserved(kl_store *store, uint64_t address, const kl_slice *parts, size_t count,
                                  kl_error *err);
/* What was written before is on stable storage, for a log that will name it. A failure poisons, as one of
 * kl_store_publish does. KL_E_READ_ONLY, KL_E_POISONED, KL_E_IO. */
kl_status kl_store_sync(kl_store *store, kl_error *err);
/* In a checkpoint in progress, its thread: the run, reserved and written, or whole blocks of one, becomes blocks of this
 * checkpoint, as if it had allocated them: born in it, and used. When the checkpoint is published they are no longer
 * reserved; when it is aborted, or its publication fails, they are reserved again, also where it had freed them. On
 * failure nothing has changed. KL_E_NO_MEMORY, KL_E_IO, KL_E_CORRUPT (a part of the space map), KL_E_INVALID (no
 * checkpoint is in progress), KL_E_INTERNAL (not reserved). */
kl_status kl_store_adopt(kl_store *store, uint64_t address, uint64_t bytes, kl_error *err);

/* -------- numbers and verification -------- */

typedef struct kl_store_space {
  uint64_t file_bytes;     /* size of the file (memory stores: of the committed memory) */
  uint64_t blocks_end;     /* first byte behind all blocks that anything needs, limbo included */
  uint64_t used_bytes;     /* blocks that the newest checkpoint reaches, the map's own included */
  uint64_t free_bytes;     /* blocks below blocks_end that can be allocated by the next checkpoint */
  uint64_t limbo_bytes;    /* blocks that are freed and still needed by a reader or a fall-back */
  uint64_t limbo_entries;  /* runs of them */
  uint64_t reserved_bytes; /* blocks that are kept for what no checkpoint has yet */
  uint64_t map_bytes;      /* memory that space map and limbo take */
} kl_store_space;

/* As of the last begin, publish or abort; reserved_bytes and file_bytes, and outside of checkpoints all, also as of the
 * last reservation. After open, before the first of them, limbo counts as free. */
void kl_store_get_space(kl_store *store, kl_store_space *out_space);

/* Reads the ring anew: bit i of *out_lost says that the superblock in block i is damaged. While nothing is published.
 * KL_E_IO. 0 for a memory store. */
kl_status kl_store_check_ring(kl_store *store, uint32_t *out_lost, kl_error *err);

/* The runs of blocks that the space map of the newest checkpoint has as used, ascending, from the file itself;
 * `is_map`: a block of the map's own (each reported alone), otherwise what trees and extents should reach, in runs as
 * long as possible. A failure of `visit` ends the walk with that status. KL_E_CORRUPT: the map is damaged, or has a
 * block of its own as free. The caller keeps the newest checkpoint alive meanwhile: no begin without its number in
 * `live`. For a memory store: no checkpoint may be in progress. */
typedef kl_status (*kl_store_visit)(void *context, uint64_t address, uint64_t bytes, bool is_map, kl_error *err);
kl_status kl_store_walk_used(kl_store *store, kl_store_visit visit, void *context, kl_error *err);

#endif
