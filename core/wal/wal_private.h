/* core/wal/wal_private.h: the state of an open log, shared by the files of core/wal.
 *
 *   wal.c      create, open, close, stats, owner, poisoning
 *   format.c   bytes of every structure
 *   space.c    segments and slots: where an LSN lies, growth ahead of the tail, release
 *   append.c   batches into the file or the buffer
 *   sync.c     sync rounds, the choice between fdatasync and O_DSYNC
 *   worker.c   the background thread: growth ahead of need, flushes of durability `group`
 *   reader.c   batches out of the file
 *   recover.c  what the end of the log is, and making it final
 *
 * One mutex, `lock`, guards everything below it in the struct and is never held during a system call that touches
 * storage. Three roles order such calls; a role is a bool under the lock, waited for on `changed`:
 *   appending  writes batches at the tail, and moves it
 *   syncing    makes everything below the tail durable, and moves `durable`
 *   extending  prepares segments ahead, and moves `ready`
 * A thread takes the roles in the order extending, syncing, and appending never together with another; the round of a
 * `syncing` thread waits for an append only when that append writes into the last block being synced (WAL-3).
 */
#ifndef KL_WAL_PRIVATE_H
#define KL_WAL_PRIVATE_H

#include "../os/thread.h"
#include "format.h"
#include "wal.h"

enum {
  WAL_LARGE_BATCH = 1 << 20,    /* from here on a batch is written without prewriting its space */
  WAL_BUFFER_MIN = 64 << 10,    /* first size of the buffer of deferred batches */
  WAL_BUFFER_MAX = 1 << 20,     /* its largest; what does not fit is handed to the os at once */
  WAL_STEP_MIN = 64 << 10,      /* growth ahead of the tail starts with this, doubles with each step ... */
  WAL_STEP_MAX = 4 << 20,       /* ... up to this */
  WAL_WINDOW_SIZE = 128 << 10,  /* of a reader */
  WAL_PROBE_SAMPLES = 8,        /* per method */
  WAL_PROBE_INTERVAL = 1 << 14, /* rounds from one probe to the next */
  WAL_PARTS_MAX = 32            /* slices per write call */
};

/* A segment that has a slot. `wal->segments` is sorted by sequence. */
typedef struct wal_segment {
  uint64_t sequence, assignment;
  uint32_t slot;
} wal_segment;

/* Deferred batches: the bytes of [start, start + size), contiguous, not yet handed to the os. */
typedef struct wal_buffer {
  uint8_t *data;
  size_t capacity, size;
  kl_lsn start;
  kl_lsn follows; /* end of the batch before: below that all is in the file */
} wal_buffer;

typedef enum wal_method { WAL_FDATASYNC = 0, WAL_DSYNC = 1 } wal_method;

typedef struct wal_probe {
  uint64_t samples[2][WAL_PROBE_SAMPLES];
  uint32_t count;  /* samples taken of this probe; 2 * WAL_PROBE_SAMPLES: decided */
  uint32_t rounds; /* since the decision */
  wal_method chosen;
} wal_probe;

struct kl_wal {
  kl_os *os;
  char *path;
  size_t path_size; /* with the terminator */
  kl_file *file;
  kl_file *dsync_file; /* the same file with KL_OPEN_DSYNC; NULL: not to be had */
  bool read_only, prewrite;
  uint32_t seed;                    /* of batch checksums */
  uint64_t segment_size, data_size; /* with and without the segment's header */
  wal_header header;                /* changes in kl_wal_recover_end only, before threads start */
  unsigned header_first;            /* the copy that is overwritten first: the other one is durable (WAL-11) */

  kl_mutex lock;
  kl_cond changed; /* a role was given back, a position moved, the log was poisoned */
  kl_cond work;    /* for the background thread */

  bool running; /* false: opened for reading; appends come after kl_wal_recover_end */
  bool scanned; /* a reader came to the end, at scanned_end */
  kl_lsn scanned_end;
  kl_lsn scanned_durable; /* what of that is known to be on stable storage, not in the page cache only */
  bool poisoned;
  kl_error first_error;

  /* start <= durable <= tail <= ready; tail is 8-aligned */
  kl_lsn start;   /* oldest byte kept */
  kl_lsn tail;    /* end of the last batch */
  kl_lsn durable; /* everything below is on stable storage */
  kl_lsn cut;     /* end of what the last sync round took: a batch at or behind it starts a new sync block (WAL-3) */
  kl_lsn ready;   /* segments are prepared up to here: a batch that ends below may be written */
  bool appending, syncing, extending;
  kl_lsn append_start, append_end; /* of the running append */
  bool dirty; /* something was written that only an fdatasync makes durable, since the last one started */

  wal_segment *segments;
  uint32_t segment_count, segment_capacity;
  uint32_t *free_slots; /* capacity >= slot_count: giving a slot back cannot fail */
  uint32_t free_count, free_capacity;
  uint32_t slot_count;
  uint64_t next_assignment;
  uint64_t file_bytes;     /* bytes that the file has */
  uint64_t prepared_bytes; /* of those, how many were written; the rest is reserved space at the end */
  uint64_t step;           /* size of the next growth */

  wal_buffer active, busy; /* appends go into active; a sync round swaps them and writes busy */
  wal_probe probe;

  kl_thread *thread;
  bool thread_failed, stop, want_space;
  uint64_t flush_at; /* monotonic deadline of durability `group`; 0: none */

  uint64_t appends, appended_bytes, syncs, syncs_shared, sync_ns_total, sync_ns_max, recycled;
};

/* wal.c */
/* The lock is held. The first error stays; `cause` was filled by the call that failed. */
void wal_poison(kl_wal *wal, const kl_error *cause);
kl_status wal_refuse(const kl_wal *wal, kl_error *err); /* KL_E_POISONED with the first error */
kl_status wal_store_header(kl_wal *wal, const wal_header *header, unsigned copy, kl_error *err);

/* space.c */
kl_status wal_space_load(kl_wal *wal, kl_error *err); /* at open: what the slots' headers say */
void wal_space_free(kl_wal *wal);
/* The lock is held. False when no segment holds lsn. *out_run: bytes to the end of its segment. */
bool wal_space_locate(const kl_wal *wal, kl_lsn lsn, uint64_t *out_offset, uint64_t *out_run);
uint64_t wal_space_slot_offset(const kl_wal *wal, uint32_t slot);
/* The lock is held; may let it go and take it again. On KL_OK ready >= need. `large`: without prewriting. */
kl_status wal_space_ensure(kl_wal *wal, kl_lsn need, bool large, kl_error *err);
/* The lock is not held; the caller has the role `extending`. */
kl_status wal_space_extend(kl_wal *wal, kl_lsn need, bool large, kl_error *err);
/* The lock is held: the log ends at wal->tail; forgets what is not connected with it, sets start and ready. */
void wal_space_settle(kl_wal *wal);
/* Writes the headers of the segments `first` ... `last` that have a slot once more. Only in recovery: nobody else is
 * there. */
kl_status wal_space_rewrite_headers(kl_wal *wal, uint64_t first, uint64_t last, kl_error *err);
/* Writes parts at lsn on, over segment ends, through `file`. The lock is not held. */
kl_status wal_space_write(kl_wal *wal, kl_file *file, kl_lsn lsn, const kl_slice *parts, size_t count, kl_error *err);
/* Reads up to size bytes; *out_read < size where the log's file ends. The lock is not held. */
kl_status wal_space_read(kl_wal *wal, kl_lsn lsn, void *buffer, size_t size, size_t *out_read, kl_error *err);

/* append.c */
/* The lock is held, as is no role. Hands deferred batches that nobody synced to the os. */
kl_status wal_append_hand_over(kl_wal *wal, kl_error *err);

/* sync.c */
/* The lock is held (let go meanwhile), nobody is syncing. One round: everything below the tail becomes durable.
 * must_flush: by fdatasync, so that writes of other than batches are covered too. A failure poisons. */
kl_status wal_sync_round(kl_wal *wal, bool must_flush, kl_error *err);

/* worker.c */
/* The lock is held. True when the background thread runs (it is started at the first need). */
bool wal_worker_wake(kl_wal *wal);
void wal_worker_stop(kl_wal *wal);

/* recover.c */
/* The log cannot be read beyond `end`. KL_E_NOT_FOUND when that is its end, KL_E_CORRUPT when durable bytes are
 * missing. */
kl_status wal_recover_judge(kl_wal *wal, kl_lsn end, kl_lsn known_durable, kl_error *err);

#endif
