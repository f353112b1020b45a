/* keel/keel.h: the C interface of Keel 0.1.0, an embedded, transactional, ordered database engine.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`.
 *
 * The manual of the interface. What holds for every function:
 *
 * Handles are 64-bit integers below 2^53; 0 is never one. Every call checks them: a handle that is closed, was never
 * given out, is of another kind or of another database gives KEEL_E_HANDLE, a transaction that has ended
 * KEEL_E_FINISHED, and nothing is touched. Closing a handle while another thread is inside a call with it is safe.
 * Any order of closing works.
 *
 * Errors: a function that can fail returns a keel_status and takes a keel_error last, which may be NULL. On failure
 * the status and one line of text are stored there; on success it is left alone. Outputs are written on success only,
 * unless their description says otherwise. A keel_error belongs to its caller; nothing is kept per thread.
 *
 * Structs of options and results start with struct_size. Initialise them with their KEEL_..._INIT macro, or zero them
 * and set struct_size to sizeof. A program that was compiled with a newer header may pass a larger struct: of options
 * the part that this library does not know must be 0 (else KEEL_E_UNSUPPORTED), of results it is set to 0.
 *
 * Bytes in (const void *key, size_t key_size) are read during the call only. NULL is allowed with size 0. Keys sort
 * by their bytes, as memcmp does; a shorter key sorts before a longer one that starts with it.
 *
 * Bytes out are borrowed: each function says how long they live. Views pin: see keel_get_view.
 *
 * Fork: in a child, a handle of the parent gives KEEL_E_FORKED and nothing of the parent's is touched.
 *
 * The library never aborts, exits, prints, or installs a signal handler. */
#ifndef KEEL_KEEL_H
#define KEEL_KEEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(KEEL_API)
#elif defined(_WIN32) && defined(KEEL_BUILDING)
#define KEEL_API __declspec(dllexport)
#elif defined(_WIN32) && !defined(KEEL_STATIC)
#define KEEL_API __declspec(dllimport)
#elif defined(__GNUC__)
#define KEEL_API __attribute__((visibility("default")))
#else
#define KEEL_API
#endif

/* The version of this header; keel_version tells that of the library. */
#define KEEL_VERSION "0.1.0"
#define KEEL_VERSION_MAJOR 0
#define KEEL_VERSION_MINOR 1
#define KEEL_VERSION_PATCH 0
#define KEEL_VERSION_NUMBER 1000

/* ---- Statuses: 0, or a negative number whose meaning never changes. In full: docs/reference/errors.md ---- */

typedef int32_t keel_status;

/* Class "ok": The call did what it says. */
/* Success. */
#define KEEL_OK ((keel_status)0)

/* Class "usage": The program made a mistake; calling again in the same way fails in the same way. */
/* An argument or option has a value that is never valid (a null pointer, an unknown flag, a number out of range,
 * text that is not UTF-8). What to do: Correct the call; the message names the argument. */
#define KEEL_E_INVALID ((keel_status)-101)
/* A handle is 0, was never given out, is closed, is of another kind, or belongs to another database than the other
 * handles of the call. What to do: Correct the program; nothing was touched. */
#define KEEL_E_HANDLE ((keel_status)-102)
/* The transaction was committed or rolled back before (also seen through a cursor of it). What to do: Begin a new
 * transaction. */
#define KEEL_E_FINISHED ((keel_status)-103)
/* A write was asked of a read-only transaction or of a database that was opened read-only. What to do: Begin a
 * transaction that may write, or open the database without KEEL_OPEN_READ_ONLY. */
#define KEEL_E_READ_ONLY ((keel_status)-104)
/* A key is longer than KEEL_MAX_KEY_SIZE bytes. What to do: Use shorter keys, for example a hash of the long one. */
#define KEEL_E_KEY_SIZE ((keel_status)-105)
/* A value is longer than KEEL_MAX_VALUE_SIZE bytes. What to do: Split the value over several keys. */
#define KEEL_E_VALUE_SIZE ((keel_status)-106)
/* The caller's buffer is too small; the size that is needed was stored. What to do: Call again with a buffer of that
 * size. */
#define KEEL_E_BUFFER_SIZE ((keel_status)-107)
/* Another thread is inside a call on the same transaction, cursor or batch at this moment. What to do: Use a
 * transaction, its cursors and a batch from one thread at a time. */
#define KEEL_E_CONCURRENT_USE ((keel_status)-108)
/* The handle was made before fork() and is used in the child. Nothing of the parent's was touched. What to do: Open
 * the database anew in the child. */
#define KEEL_E_FORKED ((keel_status)-109)
/* The database is being closed. What to do: Open it again. */
#define KEEL_E_CLOSED ((keel_status)-110)
/* The program asks for something that this version of the library does not know or does not have (for example a
 * field of an option struct from a newer header, set to a value other than 0). What to do: Use a newer library, or
 * leave the option at its default. */
#define KEEL_E_UNSUPPORTED ((keel_status)-111)

/* Class "not_found": Something is absent (or present) that should not be; often an ordinary answer. */
/* The key has no value, or the cursor has no row there. What to do: An ordinary answer. */
#define KEEL_E_NOT_FOUND ((keel_status)-201)
/* The keyspace does not exist, or was dropped after it was opened. What to do: Open it without
 * KEEL_KEYSPACE_NO_CREATE to make it. */
#define KEEL_E_KEYSPACE_NOT_FOUND ((keel_status)-202)
/* There is no database at that path, and the options forbid to make one; or the directory does not exist. What to
 * do: Correct the path, or open without KEEL_OPEN_NO_CREATE and KEEL_OPEN_READ_ONLY. */
#define KEEL_E_NO_FILE ((keel_status)-203)
/* There is something already where something new was to be made. What to do: Choose another path, or open without
 * KEEL_OPEN_MUST_CREATE. */
#define KEEL_E_EXISTS ((keel_status)-204)

/* Class "conflict": The transaction lost against another one. */
/* Another transaction committed a write that this one depends on. Nothing of this one was stored. What to do: Run
 * the whole transaction again from its beginning, on a new snapshot. */
#define KEEL_E_CONFLICT ((keel_status)-301)
/* The transaction was chosen to end a circle of transactions that wait for each other. Nothing of it was stored.
 * What to do: Run the whole transaction again. */
#define KEEL_E_DEADLOCK ((keel_status)-302)
/* The transaction's snapshot was ended because it was older than a limit allows. What to do: Run the whole
 * transaction again, on a new snapshot; keep transactions shorter. */
#define KEEL_E_SNAPSHOT_TOO_OLD ((keel_status)-303)
/* It cannot be told whether the commit took effect. What to do: Look whether its writes are there before running it
 * again, or make the transaction safe to repeat. */
#define KEEL_E_COMMIT_UNKNOWN ((keel_status)-304)

/* Class "busy": Someone else is in the way; the same call may succeed later. */
/* Another process has the database open; the message names it where it can. What to do: Wait for the other process,
 * or end it, and open again. */
#define KEEL_E_LOCKED ((keel_status)-401)
/* The time that the caller allowed is over. What to do: Try again later or allow more time. */
#define KEEL_E_TIMEOUT ((keel_status)-402)
/* The caller cancelled the operation. What to do: Nothing. */
#define KEEL_E_CANCELLED ((keel_status)-403)

/* Class "io": The operating system refused or failed an operation on a file. */
/* The operating system failed to read or write; system_errno and the message say which call, which file, and why.
 * What to do: Look at the device and its log; reopen the database when it is healthy again. */
#define KEEL_E_IO ((keel_status)-501)
/* The file system has no room (or the quota is used up). Everything acknowledged before is safe. What to do: Make
 * room, then go on; reopen when the message says that the database is poisoned. */
#define KEEL_E_DISK_FULL ((keel_status)-502)
/* The operating system does not allow access to the file or its directory. What to do: Correct the permissions, or
 * run as another user. */
#define KEEL_E_PERMISSION ((keel_status)-503)
/* The file system is mounted read-only. What to do: Open with KEEL_OPEN_READ_ONLY, or mount it writable. */
#define KEEL_E_READ_ONLY_MEDIA ((keel_status)-504)
/* The path names a directory, a device or something else that is not a regular file. What to do: Correct the path. */
#define KEEL_E_NOT_A_FILE ((keel_status)-505)
/* An earlier write or sync failed, so that nothing more can be promised; everything acknowledged before is safe.
 * What to do: Close every handle of the database, look at the cause (the first error named it), and open again. */
#define KEEL_E_POISONED ((keel_status)-506)

/* Class "corrupt": Bytes of a file are not what Keel wrote. */
/* A checksum or structure in the file is wrong; the message names file and offset. The file was left as it was. What
 * to do: Check the device; restore from a backup. */
#define KEEL_E_CORRUPT ((keel_status)-601)
/* The file is not a Keel database. What to do: Correct the path. */
#define KEEL_E_FORMAT ((keel_status)-602)
/* The file was written by a newer Keel, in a format that this version does not know. It was left as it was. What to
 * do: Use a newer library. */
#define KEEL_E_VERSION ((keel_status)-603)

/* Class "resource": Memory or another bound is used up. */
/* Memory could not be allocated. Nothing was changed. What to do: Free memory and try again. */
#define KEEL_E_NO_MEMORY ((keel_status)-701)
/* A bound was reached (memory limit of the database, number of handles, number of rows); the message names it. What
 * to do: Raise the limit in the options, or do less at once. */
#define KEEL_E_LIMIT ((keel_status)-702)

/* Class "internal": A mistake in Keel. */
/* Something that Keel takes for impossible happened; the database is poisoned. What to do: Please report it with the
 * message. Close every handle of the database and open it again. */
#define KEEL_E_INTERNAL ((keel_status)-901)

/* ---- Limits ---- */

/* Longest key. Empty keys are allowed. In bytes. Since 0.1. */
#define KEEL_MAX_KEY_SIZE 1024
/* Longest value. Empty values are allowed. In bytes. Since 0.1. */
#define KEEL_MAX_VALUE_SIZE 2147483647
/* Longest name of a keyspace; the shortest has 1 byte. In bytes. Since 0.1. */
#define KEEL_MAX_KEYSPACE_NAME_SIZE 255
/* Longest path, without the terminating zero byte. In bytes. Since 0.1. */
#define KEEL_MAX_PATH_SIZE 4095
/* Longest label of a transaction, without the terminating zero byte. In bytes. Since 0.1. */
#define KEEL_MAX_LABEL_SIZE 255
/* Most keys in one call of keel_get_many. In keys. Since 0.1. */
#define KEEL_MAX_GET_MANY 16777216
/* Largest buffer in one call of keel_write_batch. In bytes. Since 0.1. */
#define KEEL_MAX_WRITE_BATCH 2147483647
/* Largest struct_size that is ever accepted. In bytes. Since 0.1. */
#define KEEL_MAX_STRUCT_SIZE 4096
/* As many problems does a check keep as text; it counts all. In problems. Since 0.1. */
#define KEEL_CHECK_PROBLEMS 32
/* Room for the text of any problem, with its terminating zero byte. In bytes. Since 0.1. */
#define KEEL_CHECK_TEXT_SIZE 768
/* Room for a message in keel_error, with the terminating zero byte. In bytes. Since 0.1. */
#define KEEL_ERROR_MESSAGE_SIZE 248

/* ---- Flags and choices ---- */

/* Flags of keel_options. */
enum {
  /* Takes a shared lock and never writes anything; works on read-only media. The database must exist. */
  KEEL_OPEN_READ_ONLY = 1,
  /* When there is no database at the path: KEEL_E_NO_FILE. */
  KEEL_OPEN_NO_CREATE = 2,
  /* When there is a database at the path: KEEL_E_EXISTS. */
  KEEL_OPEN_MUST_CREATE = 4
};

/* Flags of keel_keyspace_options. */
enum {
  /* When there is no such keyspace: KEEL_E_KEYSPACE_NOT_FOUND. */
  KEEL_KEYSPACE_NO_CREATE = 1
};

/* Flags of keel_load_options. */
enum {
  /* A keyspace of that name is dropped in the moment in which the load is finished. */
  KEEL_LOAD_REPLACE = 1
};

/* Flags of keel_txn_options. */
enum {
  /* The transaction cannot write, is never validated, and never conflicts. */
  KEEL_TXN_READ_ONLY = 1
};

/* When a commit is acknowledged. */
enum {
  /* For a transaction: as the database. For a database: full. */
  KEEL_DURABILITY_DEFAULT = 0,
  /* Acknowledged means on stable storage. */
  KEEL_DURABILITY_FULL = 1,
  /* Acknowledged at once, on stable storage within the group interval. A crash of the machine may lose the last
   * commits, whole and in order; a crash of the program alone loses none. */
  KEEL_DURABILITY_GROUP = 2,
  /* Acknowledged at once, on stable storage when the system gets round to it. Order is kept; nothing is half-done
   * after a crash. */
  KEEL_DURABILITY_NONE = 3
};

/* What a transaction that writes is protected from. */
enum {
  /* The strongest level that the library has. This version: snapshot. */
  KEEL_ISOLATION_DEFAULT = 0,
  /* As if transactions ran one after the other. A library that cannot give it refuses it with KEEL_E_UNSUPPORTED
   * (feature serializable); it is never weakened. */
  KEEL_ISOLATION_SERIALIZABLE = 1,
  /* One snapshot for all reads; of two transactions that write one key, the second to commit gets a conflict. */
  KEEL_ISOLATION_SNAPSHOT = 2,
  /* Reads may see what others commit meanwhile. Given as snapshot, the next stronger level that exists. */
  KEEL_ISOLATION_READ_COMMITTED = 3,
  /* Given as snapshot, the next stronger level that exists. */
  KEEL_ISOLATION_REPEATABLE_READ = 4,
  /* Given as snapshot, the next stronger level that exists. */
  KEEL_ISOLATION_READ_UNCOMMITTED = 5
};

/* What an entry of a packed buffer for keel_write_batch does. */
enum {
  /* Stores the value under the key. */
  KEEL_BATCH_PUT = 1,
  /* Removes the key; value_size is 0. */
  KEEL_BATCH_DELETE = 2
};

/* ---- Handles ---- */

/* An open database, or more exactly one opening of it. A path that is opened twice in one process gives two handles
 * on one engine. From keel_open, until keel_close. */
typedef uint64_t keel_db;
/* A named, ordered map of byte keys to byte values inside a database. From keel_keyspace_open, until
 * keel_keyspace_close. */
typedef uint64_t keel_keyspace;
/* A transaction. It reads one snapshot, buffers its writes privately, and commits atomically across keyspaces. From
 * keel_begin, until keel_rollback or keel_commit. */
typedef uint64_t keel_txn;
/* A position in a keyspace, as its transaction sees it. From keel_cursor_open, until keel_cursor_close. */
typedef uint64_t keel_cursor;
/* A pinned, read-only value that stays valid until it is released, whatever happens to its transaction and database.
 * From keel_get_view, until keel_view_release. */
typedef uint64_t keel_view;
/* Columns of keys and values that many-row calls fill; reused between calls. From keel_batch_new, until
 * keel_batch_free. */
typedef uint64_t keel_batch;
/* A verification or a salvage on its way, and what it has found. From keel_verify_begin, until keel_check_close. */
typedef uint64_t keel_check;
/* A bulk load on its way. From keel_load_begin, until keel_load_end. */
typedef uint64_t keel_load;

/* ---- Structs ---- */

/* Where a function tells what went wrong. It belongs to the caller; on success it is left alone. Since 0.1. */
typedef struct keel_error {
  /* The status that the function returned. */
  keel_status code;
  /* errno of the system call that failed, or 0. */
  int32_t system_errno;
  /* One line in English, UTF-8, always terminated: what was wrong and what to do. Cut with "..." when too long. */
  char message[KEEL_ERROR_MESSAGE_SIZE];
} keel_error;

/* How to open a database. Since 0.1. */
typedef struct keel_options {
  /* sizeof(keel_options), as the initialiser sets it. */
  uint32_t struct_size;
  /* KEEL_OPEN_*, combined with |. */
  uint32_t flags;
  /* KEEL_DURABILITY_*: for transactions that do not say otherwise. 0: full. */
  uint32_t durability;
  /* 4096 ... 65536, a power of two. Fixed when the database is made; ignored afterwards. 0: chosen by Keel. In
   * bytes. */
  uint32_t page_size;
  /* Within which commits with durability group reach stable storage; at most 60000. 0: 10. In milliseconds. */
  uint32_t group_interval_ms;
  /* Permission bits of files that are made, at most 0777. 0: 0600. */
  uint32_t file_mode;
  /* 65536 ... 1073741824, a power of two. Fixed when the log is made; ignored afterwards. 0: chosen by Keel. In
   * bytes. */
  uint64_t log_segment_size;
  /* Most memory for commits that are not drained into the trees yet. Commits are slowed as it fills, and wait when
   * it is full; KEEL_E_LIMIT when one alone is larger, or draining fails. For :memory: all rows count. 0: half of
   * the machine's memory. In bytes. */
  uint64_t memory_limit;
  /* Most memory for pages of the database file; less than 8388608 counts as that. 0: a quarter of the machine's
   * memory. :memory: databases have no cache. In bytes. */
  uint64_t cache_size;
  /* How much is committed before it is drained into the trees, in the background. More makes random writes cheaper,
   * and recovery longer. 0: a 32nd of memory_limit, from 4 MiB to 256 MiB, and at most a quarter of it. In bytes. */
  uint64_t delta_size;
  /* Threads that a drain of much merges on, side by side; at most 64. They are started when they are first needed.
   * 0: half of the processors that the process may use, at least 1 and at most 4. :memory: databases drain on one. */
  uint64_t drain_threads;
} keel_options;
#define KEEL_OPTIONS_INIT \
  { (uint32_t)sizeof(keel_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* How to open a keyspace. Since 0.1. */
typedef struct keel_keyspace_options {
  /* sizeof(keel_keyspace_options), as the initialiser sets it. */
  uint32_t struct_size;
  /* KEEL_KEYSPACE_*, combined with |. */
  uint32_t flags;
} keel_keyspace_options;
#define KEEL_KEYSPACE_OPTIONS_INIT \
  { (uint32_t)sizeof(keel_keyspace_options), 0 }

/* How to load. Since 0.1. */
typedef struct keel_load_options {
  /* sizeof(keel_load_options), as the initialiser sets it. */
  uint32_t struct_size;
  /* KEEL_LOAD_*, combined with |. */
  uint32_t flags;
  /* 65536 ... 1073741824: rows that are collected before they are sorted and written; rows out of order make as many
   * runs to merge as there are full buffers. Half as much again is used for sorting. 0: an eighth of memory_limit,
   * at least 1 MiB and at most 32 MiB. In bytes. */
  uint64_t buffer_size;
} keel_load_options;
#define KEEL_LOAD_OPTIONS_INIT \
  { (uint32_t)sizeof(keel_load_options), 0, 0 }

/* What a bulk load has taken. Since 0.1. */
typedef struct keel_load_report {
  /* sizeof(keel_load_report), as the initialiser sets it. */
  uint32_t struct_size;
  /* 1 when the keyspace is there. */
  uint32_t finished;
  /* Rows that were given; of several with one key the keyspace has the last one. */
  uint64_t rows;
  /* Of their keys and values. In bytes. */
  uint64_t bytes;
  /* Sorted parts that were written so far: 1 when rows came in the order of their keys. */
  uint64_t runs;
} keel_load_report;
#define KEEL_LOAD_REPORT_INIT \
  { (uint32_t)sizeof(keel_load_report), 0, 0, 0, 0 }

/* How to begin a transaction. Since 0.1. */
typedef struct keel_txn_options {
  /* sizeof(keel_txn_options), as the initialiser sets it. */
  uint32_t struct_size;
  /* KEEL_TXN_*, combined with |. */
  uint32_t flags;
  /* KEEL_ISOLATION_*. 0: the strongest level that the library has. */
  uint32_t isolation;
  /* KEEL_DURABILITY_*. 0: as the database. */
  uint32_t durability;
  /* The creator's name for statistics, terminated, UTF-8, at most KEEL_MAX_LABEL_SIZE bytes; copied. NULL: none. */
  const char *label;
} keel_txn_options;
#define KEEL_TXN_OPTIONS_INIT \
  { (uint32_t)sizeof(keel_txn_options), 0, 0, 0, NULL }

/* Which rows a cursor sees. Everything that is set holds at once. The bytes are copied. Since 0.1. */
typedef struct keel_cursor_options {
  /* sizeof(keel_cursor_options), as the initialiser sets it. */
  uint32_t struct_size;
  /* No flag exists yet: 0. */
  uint32_t flags;
  /* First key, inclusive. NULL: no lower bound. */
  const void *lower;
  /* Size of lower; 0 when it is NULL. In bytes. */
  size_t lower_size;
  /* End, exclusive. NULL: no upper bound. */
  const void *upper;
  /* Size of upper; 0 when it is NULL. In bytes. */
  size_t upper_size;
  /* Only keys that start with these bytes. NULL: all. */
  const void *prefix;
  /* Size of prefix; 0 when it is NULL. In bytes. */
  size_t prefix_size;
} keel_cursor_options;
#define KEEL_CURSOR_OPTIONS_INIT \
  { (uint32_t)sizeof(keel_cursor_options), 0, NULL, 0, NULL, 0, NULL, 0 }

/* The newest checkpoint of a database. All fields are 0 for :memory:. Since 0.1. */
typedef struct keel_checkpoint {
  /* sizeof(keel_checkpoint), as the initialiser sets it. */
  uint32_t struct_size;
  /* 1 when recovery needs the log, 0 when everything is in the database file. */
  uint32_t log_needed;
  /* 1 at creation, one more with each checkpoint. */
  uint64_t sequence;
  /* Commits up to this timestamp are in the tree. */
  uint64_t timestamp;
  /* Where replay of the log starts. In bytes. */
  uint64_t log_position;
  /* When it was written. In nanoseconds since 1970-01-01 UTC. */
  uint64_t wall_time_ns;
} keel_checkpoint;
#define KEEL_CHECKPOINT_INIT \
  { (uint32_t)sizeof(keel_checkpoint), 0, 0, 0, 0, 0 }

/* Counters of one engine since it was opened. They are read one by one, not at one instant. Since 0.1. */
typedef struct keel_stats {
  /* sizeof(keel_stats), as the initialiser sets it. */
  uint32_t struct_size;
  /* 1 when a failed write or sync has ended all further writing. */
  uint32_t poisoned;
  /* Transactions that wrote and were committed. */
  uint64_t commits;
  /* Transactions that wrote nothing and were committed. */
  uint64_t commits_read_only;
  /* Transactions that were rolled back. */
  uint64_t rollbacks;
  /* Commits that were answered with a conflict. */
  uint64_t conflicts;
  /* Log batches; commits / groups is the mean group size. */
  uint64_t groups;
  /* Keys looked up. */
  uint64_t gets;
  /* Keys stored. */
  uint64_t puts;
  /* Keys removed. */
  uint64_t deletes;
  /* Rows that cursors stepped over. */
  uint64_t cursor_steps;
  /* Transactions that have not ended. */
  uint64_t transactions_live;
  /* Snapshots that are held. */
  uint64_t snapshots_live;
  /* Views that are not released. */
  uint64_t views_live;
  /* Age of the oldest snapshot; 0 when none is held. In nanoseconds. */
  uint64_t oldest_snapshot_age_ns;
  /* Commit timestamp that a new snapshot reads at. */
  uint64_t visible_timestamp;
  /* Keyspaces that exist. */
  uint64_t keyspaces;
  /* Distinct keys in the in-memory index of recent commits. */
  uint64_t delta_keys;
  /* Versions in it. */
  uint64_t delta_versions;
  /* Memory that it takes. In bytes. */
  uint64_t delta_bytes;
  /* Position of the oldest byte that the log keeps. In bytes. */
  uint64_t log_start;
  /* Position after the last append. In bytes. */
  uint64_t log_tail;
  /* Everything below this position is on stable storage. In bytes. */
  uint64_t log_durable;
  /* Size of the log file. In bytes. */
  uint64_t log_file_bytes;
  /* Segments of the log file. */
  uint64_t log_segments;
  /* Segments that were used again. */
  uint64_t log_segments_recycled;
  /* Batches appended. */
  uint64_t log_appends;
  /* Bytes appended. In bytes. */
  uint64_t log_appended_bytes;
  /* Syncs of the log file. */
  uint64_t log_syncs;
  /* Requests that another request's sync served. */
  uint64_t log_syncs_shared;
  /* Time spent in syncs. In nanoseconds. */
  uint64_t log_sync_ns_total;
  /* Longest sync. In nanoseconds. */
  uint64_t log_sync_ns_max;
  /* 1 when the log writes with O_DSYNC, 0 when it uses fdatasync. */
  uint64_t log_uses_dsync;
  /* Log batches that were replayed at open. */
  uint64_t recovery_batches;
  /* Bytes that were replayed at open. In bytes. */
  uint64_t recovery_bytes;
  /* Time that the replay took. In nanoseconds. */
  uint64_t recovery_ns;
  /* Memory counted against memory_limit. In bytes. */
  uint64_t memory_bytes;
  /* The limit in force. In bytes. */
  uint64_t memory_limit;
  /* Checkpoints that drains have published; a drain that changes much publishes several. */
  uint64_t checkpoints;
  /* Drains that failed, and were or will be tried again. */
  uint64_t drain_failures;
  /* Time spent in drains. In nanoseconds. */
  uint64_t drain_ns;
  /* Pages that drains wrote. */
  uint64_t drain_pages_written;
  /* Pages that drains read from the file. */
  uint64_t drain_pages_read;
  /* What drains wrote: pages and large values. In bytes. */
  uint64_t drain_bytes_written;
  /* Threads that a drain may use. */
  uint64_t drain_threads;
  /* Parts of trees that drains have merged side by side; 0: all of them were merged on one thread. */
  uint64_t drain_parts;
  /* Time that commits were held up because drains were behind. In nanoseconds. */
  uint64_t throttled_ns;
  /* Commits that waited because memory_limit was reached. */
  uint64_t throttle_waits;
  /* The limit of the page cache in force. In bytes. */
  uint64_t cache_limit;
  /* Memory that the page cache takes. In bytes. */
  uint64_t cache_resident;
  /* Pages in the cache. */
  uint64_t cache_pages;
  /* Memory of pages that views pin. In bytes. */
  uint64_t cache_pinned;
  /* Pages read from the file: misses. */
  uint64_t cache_loads;
  /* Pages that made room for others. */
  uint64_t cache_evictions;
  /* Size of the database file. In bytes. */
  uint64_t file_bytes;
  /* What the newest checkpoint uses of it. In bytes. */
  uint64_t file_used;
  /* What can be written anew. In bytes. */
  uint64_t file_free;
  /* What only old snapshots or the checkpoint before the newest still need. In bytes. */
  uint64_t file_held;
} keel_stats;
#define KEEL_STATS_INIT                                                                                               \
  {                                                                                                                   \
    (uint32_t)sizeof(keel_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                         \
  }

/* How far a verification or a salvage has come, and what it has found so far. Since 0.1. */
typedef struct keel_check_report {
  /* sizeof(keel_check_report), as the initialiser sets it. */
  uint32_t struct_size;
  /* 1 when there is nothing left to do. */
  uint32_t finished;
  /* Everything that is not as it should be. 0 at the end: the database is sound, or all of it was copied. */
  uint64_t problems;
  /* Read so far. In bytes. */
  uint64_t done_bytes;
  /* What will have been read at the end: an estimate, and never below done_bytes. In bytes. */
  uint64_t total_bytes;
  /* Number of the checkpoint that is looked at. */
  uint64_t checkpoint;
  /* Keyspaces that were found. */
  uint64_t keyspaces;
  /* Pages that are sound. */
  uint64_t pages;
  /* Values that are stored outside of pages, and sound. */
  uint64_t extents;
  /* Rows on sound pages; of a salvage, rows that were copied from pages. */
  uint64_t rows;
  /* Bytes of extents. In bytes. */
  uint64_t value_bytes;
  /* Pages that cannot be read, or are not what they should be. */
  uint64_t lost_pages;
  /* Likewise, values that are stored outside of pages. */
  uint64_t lost_extents;
  /* Rows that are lost with those, as far as other pages tell. */
  uint64_t lost_rows;
  /* Space that is in use and belongs to nothing. No data is lost with it. In bytes. */
  uint64_t unreached_bytes;
  /* Of a salvage: commits that were applied from the log. */
  uint64_t log_commits;
} keel_check_report;
#define KEEL_CHECK_REPORT_INIT \
  { (uint32_t)sizeof(keel_check_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* The columns of a batch. Key i is keys[key_offsets[i]] up to (not including) keys[key_offsets[i + 1]], and likewise
 * for values. The pointers are borrowed until the batch is used again or freed. Since 0.1. */
typedef struct keel_batch_view {
  /* sizeof(keel_batch_view), as the initialiser sets it. */
  uint32_t struct_size;
  /* 0; kept for later. */
  uint32_t flags;
  /* Rows. */
  uint64_t count;
  /* Key bytes, packed. May be NULL when there are none. */
  const void *keys;
  /* count + 1 offsets into keys; never NULL. */
  const uint64_t *key_offsets;
  /* Value bytes, packed. May be NULL when there are none. */
  const void *values;
  /* count + 1 offsets into values; never NULL. */
  const uint64_t *value_offsets;
  /* count bytes: 1 where the row has a value, 0 where keel_get_many found none. NULL when count is 0. */
  const uint8_t *found;
} keel_batch_view;
#define KEEL_BATCH_VIEW_INIT \
  { (uint32_t)sizeof(keel_batch_view), 0, 0, NULL, NULL, NULL, NULL, NULL }

/* ---- Library ---- */

/* Version, features and statuses. These never fail, and any thread may call them at any time. */

/* Features:
 *   crc32c_hardware   Checksums are computed by an instruction of the CPU. Since 0.1.
 *   memory_database   :memory: databases exist. Since 0.1.
 *   serializable      KEEL_ISOLATION_SERIALIZABLE is given. Since 0.1. */

/* The version of the library that runs, for example "0.1.0".
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns: Static text, never NULL. */
KEEL_API const char *keel_version(void);

/* The version as a number that can be compared; KEEL_VERSION_NUMBER is that of the header.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns: major * 1000000 + minor * 1000 + patch. */
KEEL_API uint32_t keel_version_number(void);

/* Whether a feature is present in this library on this machine.
 *
 *   name         One of the names listed under Features.
 *   out_enabled  (out) 1 or 0.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID  A pointer that must not be NULL is. The text is empty or too long. There is no feature of that
 *                   name. */
KEEL_API keel_status keel_feature(const char *name, int32_t *out_enabled, keel_error *err);

/* The stable lower-case name of a status, for example "not_found".
 *
 *   status  Any number.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns: Static text, never NULL; "unknown" for a number that is no status. */
KEEL_API const char *keel_status_name(keel_status status);

/* The name of the class that a status belongs to, for example "conflict".
 *
 *   status  Any number.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns: Static text, never NULL; "unknown" for a number that is no status. */
KEEL_API const char *keel_status_class(keel_status status);

/* Whether running the whole transaction again, on a new snapshot, is the right answer to a status.
 *
 *   status  Any number.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns: 1 or 0; 0 for a number that is no status. */
KEEL_API int32_t keel_status_is_retryable(keel_status status);

/* ---- Databases ---- */

/* A database is one file NAME, with its log NAME-wal beside it while it is open or after a crash; ":memory:" is a
 * private database without files. It ends when its last handle is closed: transactions, cursors, keyspaces and views
 * keep the engine alive, and any order of closing works. After fork() every call in the child on a handle of the
 * parent gives KEEL_E_FORKED and touches nothing. */

/* Opens a database, and makes it when it does not exist. Replays the log after a crash. A path that this process has
 * open already gives a second handle on the same engine, whatever name the path has.
 *
 *   path     Terminated, 1 ... KEEL_MAX_PATH_SIZE bytes, passed to the system as it is. ":memory:" for a database
 *            without files.
 *   options  (may be NULL) NULL: all defaults.
 *   out_db   (out) The database; close it with keel_close.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID          A pointer that must not be NULL is. The text is empty or too long. struct_size or a
 *                           field is not valid. Options contradict each other or the database is open with others.
 *   KEEL_E_UNSUPPORTED      A field that this library does not know is set.
 *   KEEL_E_NO_FILE          There is no database and the options forbid to make one, or the directory does not
 *                           exist.
 *   KEEL_E_EXISTS           There is one, and the options demand a new one.
 *   KEEL_E_LOCKED           Another process has it open; the message has its process id.
 *   KEEL_E_IO               The operating system failed.
 *   KEEL_E_DISK_FULL        There is no room for the files.
 *   KEEL_E_PERMISSION       Access is not allowed.
 *   KEEL_E_READ_ONLY_MEDIA  The file system is read-only and the options are not.
 *   KEEL_E_NOT_A_FILE       The path is a directory or a device.
 *   KEEL_E_CORRUPT          It is damaged. Nothing was changed.
 *   KEEL_E_FORMAT           The file is not a Keel database.
 *   KEEL_E_VERSION          A newer Keel made it.
 *   KEEL_E_NO_MEMORY        Out of memory.
 *   KEEL_E_LIMIT            Too many handles are open, or a limit of the process is reached (open files, size of a
 *                           file). */
KEEL_API keel_status keel_open(const char *path, const keel_options *options, keel_db *out_db, keel_error *err);

/* Closes a handle. When nothing else uses the engine, its threads are stopped, what was committed is synced and
 * drained into the database file, and the log is removed, so that NAME alone remains. (When draining fails, on a
 * full disk for example, the log stays and has what is missing; that is no error of closing.) Transactions,
 * keyspaces, cursors and views of the database stay usable and keep the engine open until they end. When another
 * thread is inside a call with this handle, that call finishes normally and closes what is left to close.
 *
 *   db  The database. It is gone after the call, whatever the result, except KEEL_E_HANDLE and KEEL_E_FORKED.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_IO         The final sync failed. Commits that were acknowledged with durability group or none may be
 *                     lost.
 *   KEEL_E_DISK_FULL  As KEEL_E_IO.
 *   KEEL_E_POISONED   As KEEL_E_IO; an earlier write or sync had failed. */
KEEL_API keel_status keel_close(keel_db db, keel_error *err);

/* Returns when everything that was acknowledged so far, with whatever durability, is on stable storage.
 *
 *   db  The database.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_IO         The sync failed; the database is poisoned.
 *   KEEL_E_DISK_FULL  The sync failed; the database is poisoned.
 *   KEEL_E_POISONED   An earlier write or sync failed. */
KEEL_API keel_status keel_flush(keel_db db, keel_error *err);

/* Drains what has been committed into the trees of the database file, and returns when a checkpoint holds it. It
 * happens by itself in the background, and at close; this is for benchmarks, for backups of the file, and before
 * long idle times. Others go on reading and writing meanwhile.
 *
 *   db  The database.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_READ_ONLY  The database is open read-only.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_IO         Reading or writing the file failed; nothing is lost, it is in the log.
 *   KEEL_E_DISK_FULL  As KEEL_E_IO.
 *   KEEL_E_POISONED   An earlier write or sync failed.
 *   KEEL_E_CORRUPT    A page that had to be read is damaged.
 *   KEEL_E_VERSION    A page that had to be read was written by a newer Keel.
 *   KEEL_E_NO_MEMORY  Out of memory; nothing has changed.
 *   KEEL_E_LIMIT      As KEEL_E_IO; the system allows no larger file. */
KEEL_API keel_status keel_make_checkpoint(keel_db db, keel_error *err);

/* Gives space back to the file system. Drains, then moves what lies at the end of the file to free places further to
 * the front and cuts the file, until it is hardly longer than what is used, or no more can be gained; what old
 * snapshots hold is not waited for. Others go on reading and writing meanwhile. It works in rounds, each a
 * checkpoint, so that a crash or an error loses nothing, and calling it again goes on. Under writers that do not
 * rest it ends when it has moved twice what is used. A file that is mostly free becomes shorter by itself, slowly.
 *
 *   db  The database.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_READ_ONLY  The database is open read-only.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_IO         Reading or writing the file failed; nothing is lost.
 *   KEEL_E_DISK_FULL  As KEEL_E_IO.
 *   KEEL_E_POISONED   An earlier write or sync failed.
 *   KEEL_E_CORRUPT    A page or a large value that had to be read is damaged.
 *   KEEL_E_VERSION    A page that had to be read was written by a newer Keel.
 *   KEEL_E_NO_MEMORY  Out of memory; what has been moved so far stays moved.
 *   KEEL_E_LIMIT      As KEEL_E_IO; the system allows no larger file. */
KEEL_API keel_status keel_compact(keel_db db, keel_error *err);

/* Changes how much memory is for pages of the database file. More counts at once; for less, pages go until it is
 * met, and their memory goes back to the system as reads that look at them end and views of them are released. For
 * :memory: it does nothing.
 *
 *   db     The database. All openings of the file in this process share one cache.
 *   bytes  (bytes) As cache_size of keel_options; less than 8 MiB counts as 8 MiB.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID  More than four times what it was opened with, and more than 16 GiB.
 *   KEEL_E_HANDLE   A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED   The handle was made before a fork. */
KEEL_API keel_status keel_set_cache_size(keel_db db, uint64_t bytes, keel_error *err);

/* Describes the newest checkpoint.
 *
 *   db              The database.
 *   out_checkpoint  (out) Set struct_size first, as KEEL_CHECKPOINT_INIT does.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID   A pointer that must not be NULL is. struct_size or a field is not valid.
 *   KEEL_E_HANDLE    A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED    The handle was made before a fork.
 *   KEEL_E_POISONED  An earlier write or sync failed. */
KEEL_API keel_status keel_last_checkpoint(keel_db db, keel_checkpoint *out_checkpoint, keel_error *err);

/* Reads the counters of the engine. Works on a poisoned database too.
 *
 *   db         The database.
 *   out_stats  (out) Set struct_size first, as KEEL_STATS_INIT does.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID    A pointer that must not be NULL is. struct_size or a field is not valid.
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_NO_MEMORY  Out of memory. */
KEEL_API keel_status keel_get_stats(keel_db db, keel_stats *out_stats, keel_error *err);

/* ---- Checking ---- */

/* Is a database sound, and what can be saved of one that is not? Both work in steps, so that a program can show how
 * far it is, do other things between two steps, and end it when it likes. Both read the file itself, past the cache. */

/* Begins to verify a database while it is in use. Every page and value that the newest checkpoint reaches is read
 * and compared with checksum, order, key range and counts; no block may belong to two things; and the map of space
 * must have as used exactly what is reached. What was committed later lies in the log, which opening has checked.
 *
 * A snapshot is held until the verification is finished or closed. It takes two bits of memory for each 4096 bytes
 * of the file.
 *
 *   db         The database.
 *   out_check  (out) The verification; close it with keel_check_close.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID    A pointer that must not be NULL is.
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_CLOSED     The database is being closed.
 *   KEEL_E_IO         The head of the file cannot be read.
 *   KEEL_E_CORRUPT    The database is damaged so that not even its catalogue is known.
 *   KEEL_E_NO_MEMORY  Out of memory.
 *   KEEL_E_LIMIT      Too many handles. */
KEEL_API keel_status keel_verify_begin(keel_db db, keel_check *out_check, keel_error *err);

/* Begins to copy what is sound of a database into a new one. The old one may be damaged so much that it cannot be
 * opened; it must not be open, and is never written to. Of the checkpoints that the file still names, it takes the
 * newest that has not lost much of its rows, and what the log holds behind it, as far as it is sound.
 *
 * Keyspaces keep their names; one whose name is lost is called lost-keyspace- and its number. Closing it before it
 * is finished leaves in the new database what has been copied.
 *
 *   path       The database to save.
 *   new_path   The database to make; there is none yet.
 *   out_check  (out) The salvage; close it with keel_check_close.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID          A pointer that must not be NULL is. The text is empty or too long.
 *   KEEL_E_NO_FILE          There is no file at path, or no directory for new_path.
 *   KEEL_E_EXISTS           There is something at new_path already.
 *   KEEL_E_LOCKED           The database is open for writing, here or in another process.
 *   KEEL_E_IO               A read or write failed.
 *   KEEL_E_DISK_FULL        No room for the new file.
 *   KEEL_E_PERMISSION       The system does not allow access.
 *   KEEL_E_READ_ONLY_MEDIA  The new file cannot be written there.
 *   KEEL_E_NOT_A_FILE       One of the paths is a directory or a device.
 *   KEEL_E_CORRUPT          None of the blocks that name its trees is intact.
 *   KEEL_E_FORMAT           The file at path is not a Keel database.
 *   KEEL_E_VERSION          A newer Keel made it.
 *   KEEL_E_NO_MEMORY        Out of memory.
 *   KEEL_E_LIMIT            Too many handles. */
KEEL_API keel_status keel_salvage_begin(const char *path, const char *new_path, keel_check *out_check, keel_error *err);

/* Goes on for about so many bytes, and says how far it has come. Damage is a problem in the report, and no failure
 * of the call. Nothing happens any more when it is finished; a salvage is finished when the new database is on
 * stable storage.
 *
 *   check       The verification or salvage.
 *   max_bytes   (bytes) How much is read in this step; 0: as little as possible.
 *   out_report  (out) Set struct_size first, as KEEL_CHECK_REPORT_INIT does.
 *
 * Threads: Any thread, one at a time per check. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID         A pointer that must not be NULL is. struct_size or a field is not valid.
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_IO              A salvage could not write the new database; it is over.
 *   KEEL_E_DISK_FULL       As KEEL_E_IO.
 *   KEEL_E_POISONED        As KEEL_E_IO.
 *   KEEL_E_CORRUPT         As KEEL_E_IO; the new database is damaged already.
 *   KEEL_E_NO_MEMORY       Out of memory. A verification goes on with the next step.
 *   KEEL_E_LIMIT           The new database has reached a limit; the salvage is over. */
KEEL_API keel_status keel_check_step(keel_check check, uint64_t max_bytes, keel_check_report *out_report,
                                     keel_error *err);

/* The text of a problem, one line, with file, block, keyspace and keys where they are known. The first
 * KEEL_CHECK_PROBLEMS are kept.
 *
 *   check             The verification or salvage.
 *   index             Number of the problem, counted from 0.
 *   buffer, capacity  (out) Receives the text, terminated, or as much of it as fits. KEEL_CHECK_TEXT_SIZE bytes are
 *                     always enough. NULL with capacity 0 asks for the size only.
 *   out_value_size    (out) Size of the text without the terminating zero byte, also with KEEL_E_BUFFER_SIZE.
 *
 * Threads: Any thread, one at a time per check. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID         A pointer that must not be NULL is. A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_BUFFER_SIZE     The text and its terminator need more than capacity.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_NOT_FOUND       There is no such problem, or it was not kept. */
KEEL_API keel_status keel_check_problem(keel_check check, uint64_t index, void *buffer, size_t capacity,
                                        size_t *out_value_size, keel_error *err);

/* Ends a verification or a salvage, at any time, and lets go of all that it holds.
 *
 *   check  The verification or salvage.
 *
 * Threads: Any thread, one at a time per check. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_IO              It was the last use of the database, and the final sync failed. */
KEEL_API keel_status keel_check_close(keel_check check, keel_error *err);

/* ---- Keyspaces ---- */

/* A keyspace is a named, ordered map. Opening, dropping and listing are transactions of their own; a transaction
 * that began before a keyspace was made sees it empty. */

/* Opens a keyspace by name, and makes it (a commit of its own) when it does not exist.
 *
 *   db               The database.
 *   name, name_size  UTF-8, 1 ... KEEL_MAX_KEYSPACE_NAME_SIZE bytes, without a zero byte; it need not be terminated.
 *   options          (may be NULL) NULL: all defaults.
 *   out_keyspace     (out) The keyspace; close it with keel_keyspace_close.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer that must not be NULL is. The text is empty, too long, not UTF-8, or has a
 *                              zero byte. struct_size or a field is not valid.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_UNSUPPORTED         A field that this library does not know is set.
 *   KEEL_E_KEYSPACE_NOT_FOUND  It does not exist, and the options forbid to make it, or the database is open
 *                              read-only.
 *   KEEL_E_COMMIT_UNKNOWN      Making it failed in a way that leaves open whether it exists; the database is
 *                              poisoned.
 *   KEEL_E_IO                  Making it failed.
 *   KEEL_E_DISK_FULL           Making it failed.
 *   KEEL_E_POISONED            An earlier write or sync failed.
 *   KEEL_E_CORRUPT             The catalogue of keyspaces is damaged.
 *   KEEL_E_VERSION             A newer Keel wrote its entry in the catalogue.
 *   KEEL_E_NO_MEMORY           Out of memory.
 *   KEEL_E_LIMIT               Too many handles are open, or the memory limit is reached. */
KEEL_API keel_status keel_keyspace_open(keel_db db, const char *name, size_t name_size,
                                        const keel_keyspace_options *options, keel_keyspace *out_keyspace,
                                        keel_error *err);

/* Closes a handle; the keyspace and its rows stay. Transactions that used it go on; they need an open handle for
 * further calls.
 *
 *   keyspace  The keyspace. It is gone after the call.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_IO         This was the last use of the engine, and the final sync failed (as for keel_close).
 *   KEEL_E_DISK_FULL  As KEEL_E_IO.
 *   KEEL_E_POISONED   As KEEL_E_IO; an earlier write or sync had failed. */
KEEL_API keel_status keel_keyspace_close(keel_keyspace keyspace, keel_error *err);

/* Removes a keyspace and all its rows, in a commit of its own. Running snapshots keep seeing the rows; transactions
 * that wrote to it and commit later get KEEL_E_CONFLICT; open handles give KEEL_E_KEYSPACE_NOT_FOUND from then on.
 *
 *   db               The database.
 *   name, name_size  As for keel_keyspace_open.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer that must not be NULL is. The text is empty, too long, not UTF-8, or has a
 *                              zero byte.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind.
 *   KEEL_E_READ_ONLY           The database is open read-only.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_KEYSPACE_NOT_FOUND  It does not exist.
 *   KEEL_E_CONFLICT            Someone else dropped it at the same moment.
 *   KEEL_E_COMMIT_UNKNOWN      The commit failed in a way that leaves open whether the keyspace is gone; the
 *                              database is poisoned.
 *   KEEL_E_IO                  The commit failed.
 *   KEEL_E_DISK_FULL           The commit failed.
 *   KEEL_E_POISONED            An earlier write or sync failed.
 *   KEEL_E_CORRUPT             The catalogue of keyspaces is damaged.
 *   KEEL_E_VERSION             A newer Keel wrote its entry in the catalogue.
 *   KEEL_E_NO_MEMORY           Out of memory.
 *   KEEL_E_LIMIT               The memory limit is reached. */
KEEL_API keel_status keel_keyspace_drop(keel_db db, const char *name, size_t name_size, keel_error *err);

/* Collects the names of all keyspaces, in byte order, as the keys of the batch.
 *
 *   db     The database.
 *   batch  Filled; what was in it is gone.
 *
 * Threads: Any thread, one at a time per batch. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_NO_MEMORY       Out of memory; the batch is empty. */
KEEL_API keel_status keel_keyspace_list(keel_db db, keel_batch batch, keel_error *err);

/* ---- Transactions ---- */

/* A transaction reads one snapshot, sees its own writes, and commits atomically across keyspaces. It has no thread
 * affinity: it may be used from any thread, one at a time; a second thread inside at the same moment gets
 * KEEL_E_CONCURRENT_USE. Its cursors count as the transaction. A transaction whose handle was committed or rolled
 * back answers KEEL_E_FINISHED. */

/* Begins a transaction on a snapshot of everything that is committed.
 *
 *   db       The database.
 *   options  (may be NULL) NULL: all defaults.
 *   out_txn  (out) The transaction; end it with keel_commit or keel_rollback.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID      A pointer that must not be NULL is. struct_size or a field is not valid.
 *   KEEL_E_HANDLE       A handle is not open, of the wrong kind.
 *   KEEL_E_READ_ONLY    The database is open read-only, and the options do not have KEEL_TXN_READ_ONLY.
 *   KEEL_E_FORKED       The handle was made before a fork.
 *   KEEL_E_UNSUPPORTED  A field that this library does not know is set. The isolation that was asked for is stronger
 *                       than what the library has.
 *   KEEL_E_POISONED     An earlier write or sync failed.
 *   KEEL_E_NO_MEMORY    Out of memory.
 *   KEEL_E_LIMIT        Too many handles are open. */
KEEL_API keel_status keel_begin(keel_db db, const keel_txn_options *options, keel_txn *out_txn, keel_error *err);

/* Commits all writes of the transaction at once, and ends it whatever the result, except KEEL_E_CONCURRENT_USE,
 * KEEL_E_FINISHED, KEEL_E_HANDLE and KEEL_E_FORKED. With durability full everything is on stable storage when it
 * returns.
 *
 *   txn            The transaction.
 *   out_timestamp  (out; may be NULL) The commit timestamp, or 0 when the transaction wrote nothing. NULL: not
 *                  wanted.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_KEYSPACE_NOT_FOUND  A keyspace that it wrote to was dropped.
 *   KEEL_E_CONFLICT            Another transaction got in between. Nothing was stored; run the transaction again.
 *   KEEL_E_COMMIT_UNKNOWN      The log failed in a way that leaves open whether the commit is stored.
 *   KEEL_E_IO                  Writing or syncing the log failed; the database is poisoned, the commit is not
 *                              acknowledged.
 *   KEEL_E_DISK_FULL           The log could not grow; nothing was stored.
 *   KEEL_E_POISONED            An earlier write or sync failed.
 *   KEEL_E_NO_MEMORY           Out of memory; nothing was stored.
 *   KEEL_E_LIMIT               The memory limit is reached. */
KEEL_API keel_status keel_commit(keel_txn txn, uint64_t *out_timestamp, keel_error *err);

/* Ends a transaction and forgets its writes. When it was the last use of the engine, the engine closes; how that
 * went is not told here (nor by keel_commit, whose result is that of the commit).
 *
 *   txn  The transaction.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED        The transaction has ended.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork. */
KEEL_API keel_status keel_rollback(keel_txn txn, keel_error *err);

/* Looks up a key, and lends its value.
 *
 *   txn                        The transaction.
 *   keyspace                   A keyspace of the same database.
 *   key, key_size              (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key.
 *   out_value, out_value_size  (out) The value, borrowed until the next call with this transaction. Never NULL on
 *                              success.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer that must not be NULL is. A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_KEY_SIZE            key is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_NOT_FOUND           The key has no value.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_SNAPSHOT_TOO_OLD    The snapshot was ended.
 *   KEEL_E_IO                  Reading failed.
 *   KEEL_E_CORRUPT             The database is damaged.
 *   KEEL_E_NO_MEMORY           Out of memory. */
KEEL_API keel_status keel_get(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size,
                              const void **out_value, size_t *out_value_size, keel_error *err);

/* Looks up a key, and copies its value into the caller's buffer.
 *
 *   txn               The transaction.
 *   keyspace          A keyspace of the same database.
 *   key, key_size     (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key.
 *   buffer, capacity  (out) Receives the value, or as much of it as fits. NULL with capacity 0 asks for the size
 *                     only.
 *   out_value_size    (out) The value's full size, also with KEEL_E_BUFFER_SIZE.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer that must not be NULL is. A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_KEY_SIZE            key is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_BUFFER_SIZE         The value is larger than capacity.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_NOT_FOUND           The key has no value.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_SNAPSHOT_TOO_OLD    The snapshot was ended.
 *   KEEL_E_IO                  Reading failed.
 *   KEEL_E_CORRUPT             The database is damaged.
 *   KEEL_E_NO_MEMORY           Out of memory. */
KEEL_API keel_status keel_get_copy(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, void *buffer,
                                   size_t capacity, size_t *out_value_size, keel_error *err);

/* Looks up a key, and pins its value so that it stays valid until the view is released, whatever happens to the
 * transaction and the database.
 *
 *   txn            The transaction.
 *   keyspace       A keyspace of the same database.
 *   key, key_size  (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key.
 *   out_view       (out) The view; release it with keel_view_release.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer that must not be NULL is. A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_KEY_SIZE            key is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_NOT_FOUND           The key has no value.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_SNAPSHOT_TOO_OLD    The snapshot was ended.
 *   KEEL_E_IO                  Reading failed.
 *   KEEL_E_CORRUPT             The database is damaged.
 *   KEEL_E_NO_MEMORY           Out of memory.
 *   KEEL_E_LIMIT               Too many handles are open. */
KEEL_API keel_status keel_get_view(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size,
                                   keel_view *out_view, keel_error *err);

/* The bytes of a view.
 *
 *   view                The view.
 *   out_data, out_size  (out) The value, borrowed until the view is released. Never NULL on success.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID  A pointer that must not be NULL is.
 *   KEEL_E_HANDLE   A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED   The handle was made before a fork. */
KEEL_API keel_status keel_view_data(keel_view view, const void **out_data, size_t *out_size, keel_error *err);

/* Releases a view; its bytes must not be used any more.
 *
 *   view  The view. It is gone after the call.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE     A handle is not open, of the wrong kind.
 *   KEEL_E_FORKED     The handle was made before a fork.
 *   KEEL_E_IO         This was the last use of the engine, and the final sync failed (as for keel_close).
 *   KEEL_E_DISK_FULL  As KEEL_E_IO.
 *   KEEL_E_POISONED   As KEEL_E_IO; an earlier write or sync had failed. */
KEEL_API keel_status keel_view_release(keel_view view, keel_error *err);

/* Looks up many keys in one call. Row i of the batch is key i; found says whether it has a value.
 *
 *   txn          The transaction.
 *   keyspace     A keyspace of the same database.
 *   keys         Key bytes, packed. May be NULL when all keys are empty.
 *   key_offsets  count + 1 ascending offsets into keys; the first is 0. May be NULL when count is 0.
 *   count        Number of keys; at most KEEL_MAX_GET_MANY.
 *   batch        Filled; what was in it is gone.
 *
 * Threads: Any thread, one at a time per transaction and per batch. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer is NULL although its size is not 0. The offsets do not ascend or do not
 *                              start at 0.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_KEY_SIZE            A key is too long.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_SNAPSHOT_TOO_OLD    The snapshot was ended.
 *   KEEL_E_IO                  Reading failed.
 *   KEEL_E_CORRUPT             The database is damaged.
 *   KEEL_E_NO_MEMORY           Out of memory; the batch is empty.
 *   KEEL_E_LIMIT               count is larger than KEEL_MAX_GET_MANY. */
KEEL_API keel_status keel_get_many(keel_txn txn, keel_keyspace keyspace, const void *keys, const uint64_t *key_offsets,
                                   size_t count, keel_batch batch, keel_error *err);

/* Stores a value under a key, and replaces the one that was there. Both are copied.
 *
 *   txn                The transaction.
 *   keyspace           A keyspace of the same database.
 *   key, key_size      (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key.
 *   value, value_size  (at most KEEL_MAX_VALUE_SIZE bytes, NULL only with size 0) The value.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_READ_ONLY           The transaction or the database is read-only.
 *   KEEL_E_KEY_SIZE            key is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_VALUE_SIZE          value is larger than KEEL_MAX_VALUE_SIZE.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_NO_MEMORY           Out of memory; nothing was changed.
 *   KEEL_E_LIMIT               The memory limit is reached. */
KEEL_API keel_status keel_put(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, const void *value,
                              size_t value_size, keel_error *err);

/* Removes a key. A key that is absent is no error.
 *
 *   txn            The transaction.
 *   keyspace       A keyspace of the same database.
 *   key, key_size  (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_READ_ONLY           The transaction or the database is read-only.
 *   KEEL_E_KEY_SIZE            key is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_NO_MEMORY           Out of memory; nothing was changed.
 *   KEEL_E_LIMIT               The memory limit is reached. */
KEEL_API keel_status keel_del(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, keel_error *err);

/* Removes every key that the transaction sees from from (inclusive) to to (exclusive).
 *
 *   txn              The transaction.
 *   keyspace         A keyspace of the same database.
 *   from, from_size  (at most KEEL_MAX_KEY_SIZE bytes) First key. NULL with size 0: from the first key on.
 *   to, to_size      (at most KEEL_MAX_KEY_SIZE bytes) End, not removed. NULL with size 0: to the last key.
 *   out_count        (out; may be NULL) How many keys were removed. NULL: not wanted.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_READ_ONLY           The transaction or the database is read-only.
 *   KEEL_E_KEY_SIZE            from is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_SNAPSHOT_TOO_OLD    The snapshot was ended.
 *   KEEL_E_IO                  Reading failed.
 *   KEEL_E_CORRUPT             The database is damaged.
 *   KEEL_E_NO_MEMORY           Out of memory; some of the keys may have been removed, roll back.
 *   KEEL_E_LIMIT               The memory limit is reached. */
KEEL_API keel_status keel_del_range(keel_txn txn, keel_keyspace keyspace, const void *from, size_t from_size,
                                    const void *to, size_t to_size, uint64_t *out_count, keel_error *err);

/* Applies many puts and deletes in one call. ops is a sequence of entries without gaps or alignment: one byte
 * operation (KEEL_BATCH_PUT or KEEL_BATCH_DELETE), three bytes 0, key size as 32-bit little-endian, value size as
 * 32-bit little-endian, key bytes, value bytes. The whole buffer is checked before anything is applied.
 *
 *   txn            The transaction.
 *   keyspace       A keyspace of the same database.
 *   ops, ops_size  The entries. NULL with size 0 does nothing.
 *   out_count      (out; may be NULL) How many entries were applied. NULL: not wanted.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer is NULL although its size is not 0. The buffer is malformed; the message
 *                              has the entry and its offset. Nothing was applied.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_READ_ONLY           The transaction or the database is read-only.
 *   KEEL_E_KEY_SIZE            A key is too long. Nothing was applied.
 *   KEEL_E_VALUE_SIZE          A value is too long. Nothing was applied.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_NO_MEMORY           Out of memory; some entries may have been applied, roll back.
 *   KEEL_E_LIMIT               The buffer is larger than KEEL_MAX_WRITE_BATCH, or the memory limit is reached. */
KEEL_API keel_status keel_write_batch(keel_txn txn, keel_keyspace keyspace, const void *ops, size_t ops_size,
                                      uint64_t *out_count, keel_error *err);

/* ---- Bulk loads ---- */

/* A load makes a keyspace of very many rows, much faster than transactions: past the log, straight into the trees of
 * the file. Rows may come in any order; in the order of their keys each is written once, otherwise they are sorted
 * on disk, which takes as much room again and writes them twice. The keyspace is there, whole and on stable storage,
 * when the load is finished; before that nobody sees anything of it. A load that is ended before, or that a crash
 * ends, leaves nothing. Others go on reading and writing meanwhile. */

/* Begins to load a keyspace that is not there yet, or is to be replaced.
 *
 *   db               The database.
 *   name, name_size  UTF-8, 1 ... 255 bytes: the name that the keyspace gets.
 *   options          (may be NULL) NULL: defaults.
 *   out_load         (out) The load; end it with keel_load_end.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID      A pointer that must not be NULL is. The text is empty, too long, not UTF-8, or has a zero
 *                       byte. struct_size or a field is not valid.
 *   KEEL_E_HANDLE       A handle is not open, of the wrong kind.
 *   KEEL_E_READ_ONLY    The database is open read-only.
 *   KEEL_E_FORKED       The handle was made before a fork.
 *   KEEL_E_UNSUPPORTED  A field that this library does not know is set.
 *   KEEL_E_EXISTS       There is such a keyspace, and KEEL_LOAD_REPLACE is not set.
 *   KEEL_E_IO           Reading the catalogue failed.
 *   KEEL_E_POISONED     An earlier write or sync failed.
 *   KEEL_E_CORRUPT      The catalogue is damaged.
 *   KEEL_E_NO_MEMORY    Out of memory, perhaps for the buffer.
 *   KEEL_E_LIMIT        Too many handles are open. */
KEEL_API keel_status keel_load_begin(keel_db db, const char *name, size_t name_size, const keel_load_options *options,
                                     keel_load *out_load, keel_error *err);

/* Takes a row. It is copied. When the buffer is full, it is written first; that can fail, and then the row was not
 * taken, nothing else is lost, and the call may be made again.
 *
 *   load               The load.
 *   key, key_size      (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key. It may be empty.
 *   value, value_size  (at most KEEL_MAX_VALUE_SIZE bytes, NULL only with size 0) The value. It may be empty.
 *
 * Threads: Any thread, one at a time per load. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID         A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED        The load was finished.
 *   KEEL_E_KEY_SIZE        The key is too long.
 *   KEEL_E_VALUE_SIZE      The value is too long.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_IO              Writing failed.
 *   KEEL_E_DISK_FULL       As KEEL_E_IO.
 *   KEEL_E_POISONED        An earlier write or sync failed.
 *   KEEL_E_CORRUPT         A page that had to be read is damaged.
 *   KEEL_E_NO_MEMORY       Out of memory.
 *   KEEL_E_LIMIT           As KEEL_E_IO; the system allows no larger file, or there have been too many keyspaces. */
KEEL_API keel_status keel_load_put(keel_load load, const void *key, size_t key_size, const void *value,
                                   size_t value_size, keel_error *err);

/* Takes many rows in one call. ops is as for keel_write_batch, with puts alone. The whole buffer is checked before
 * anything is taken.
 *
 *   load           The load.
 *   ops, ops_size  The entries. NULL with size 0 does nothing.
 *   out_count      (out; may be NULL) How many rows were taken, also when the call fails in between. NULL: not
 *                  wanted.
 *
 * Threads: Any thread, one at a time per load. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID         A pointer is NULL although its size is not 0. The buffer is malformed, or deletes; the
 *                          message has the entry and its offset. Nothing was taken.
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED        The load was finished.
 *   KEEL_E_KEY_SIZE        A key is too long. Nothing was taken.
 *   KEEL_E_VALUE_SIZE      A value is too long. Nothing was taken.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_IO              Writing failed after out_count rows.
 *   KEEL_E_DISK_FULL       As KEEL_E_IO.
 *   KEEL_E_POISONED        An earlier write or sync failed.
 *   KEEL_E_CORRUPT         As KEEL_E_IO; a page that had to be read is damaged.
 *   KEEL_E_NO_MEMORY       Out of memory.
 *   KEEL_E_LIMIT           The buffer is larger than KEEL_MAX_WRITE_BATCH, or as of keel_load_put. */
KEEL_API keel_status keel_load_batch(keel_load load, const void *ops, size_t ops_size, uint64_t *out_count,
                                     keel_error *err);

/* Writes what is left, merges what came out of order, and gives the keyspace its name. Everything is on stable
 * storage when it returns. After a failure the load is as before, and the call may be made again.
 *
 *   load        The load.
 *   out_report  (out) Set struct_size first, as KEEL_LOAD_REPORT_INIT does.
 *
 * Threads: Any thread, one at a time per load. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID         A pointer that must not be NULL is. struct_size or a field is not valid.
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED        The load was finished.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_EXISTS          A keyspace of that name was made meanwhile, and KEEL_LOAD_REPLACE is not set.
 *   KEEL_E_CONFLICT        Others changed the catalogue again and again; try again.
 *   KEEL_E_IO              Writing failed.
 *   KEEL_E_DISK_FULL       As KEEL_E_IO.
 *   KEEL_E_POISONED        An earlier write or sync failed.
 *   KEEL_E_CORRUPT         A page that had to be read is damaged.
 *   KEEL_E_NO_MEMORY       Out of memory.
 *   KEEL_E_LIMIT           As KEEL_E_IO; the system allows no larger file, or there have been too many keyspaces. */
KEEL_API keel_status keel_load_finish(keel_load load, keel_load_report *out_report, keel_error *err);

/* Ends a load. One that was not finished leaves nothing.
 *
 *   load  The load. It is gone after the call.
 *
 * Threads: Any thread, one at a time per load. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_IO              This was the last use of the engine, and the final sync failed (as for keel_close).
 *   KEEL_E_DISK_FULL       As KEEL_E_IO. */
KEEL_API keel_status keel_load_end(keel_load load, keel_error *err);

/* ---- Cursors ---- */

/* A cursor walks over the rows of a keyspace in byte order of the keys, in both directions, as its transaction sees
 * them, writes made after it was opened included. A new cursor stands nowhere: next goes to the first row, previous
 * to the last. After it ran off an end, moving back goes to the row at that end. A cursor keeps its transaction's
 * memory; after the transaction ended it answers KEEL_E_FINISHED and can only be closed. */

/* Opens a cursor.
 *
 *   txn         The transaction.
 *   keyspace    A keyspace of the same database.
 *   options     (may be NULL) NULL: all rows.
 *   out_cursor  (out) The cursor; close it with keel_cursor_close.
 *
 * Threads: Any thread, one at a time per transaction. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID             A pointer that must not be NULL is. struct_size or a field is not valid.
 *   KEEL_E_HANDLE              A handle is not open, of the wrong kind, or of another database.
 *   KEEL_E_FINISHED            The transaction has ended.
 *   KEEL_E_KEY_SIZE            A bound or the prefix is too long.
 *   KEEL_E_CONCURRENT_USE      Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED              The handle was made before a fork.
 *   KEEL_E_UNSUPPORTED         A field that this library does not know is set.
 *   KEEL_E_KEYSPACE_NOT_FOUND  The keyspace was dropped.
 *   KEEL_E_SNAPSHOT_TOO_OLD    The snapshot was ended.
 *   KEEL_E_NO_MEMORY           Out of memory.
 *   KEEL_E_LIMIT               Too many handles are open. */
KEEL_API keel_status keel_cursor_open(keel_txn txn, keel_keyspace keyspace, const keel_cursor_options *options,
                                      keel_cursor *out_cursor, keel_error *err);

/* Closes a cursor.
 *
 *   cursor  The cursor. It is gone after the call.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork.
 *   KEEL_E_IO              This was the last use of the engine, and the final sync failed (as for keel_close).
 *   KEEL_E_DISK_FULL       As KEEL_E_IO.
 *   KEEL_E_POISONED        As KEEL_E_IO; an earlier write or sync had failed. */
KEEL_API keel_status keel_cursor_close(keel_cursor cursor, keel_error *err);

/* Moves to the first row.
 *
 *   cursor  The cursor.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_NOT_FOUND         There is no row there.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_first(keel_cursor cursor, keel_error *err);

/* Moves to the last row.
 *
 *   cursor  The cursor.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_NOT_FOUND         There is no row there.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_last(keel_cursor cursor, keel_error *err);

/* Moves to the next row.
 *
 *   cursor  The cursor.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_NOT_FOUND         There is no row there.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_next(keel_cursor cursor, keel_error *err);

/* Moves to the previous row.
 *
 *   cursor  The cursor.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_NOT_FOUND         There is no row there.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_prev(keel_cursor cursor, keel_error *err);

/* Moves to the first row whose key is the given one or sorts after it.
 *
 *   cursor         The cursor.
 *   key, key_size  (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID           A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_KEY_SIZE          key is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_NOT_FOUND         There is no row there.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_seek(keel_cursor cursor, const void *key, size_t key_size, keel_error *err);

/* Moves to the last row whose key is the given one or sorts before it.
 *
 *   cursor         The cursor.
 *   key, key_size  (at most KEEL_MAX_KEY_SIZE bytes, NULL only with size 0) The key.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID           A pointer is NULL although its size is not 0.
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_KEY_SIZE          key is larger than KEEL_MAX_KEY_SIZE.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_NOT_FOUND         There is no row there.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_seek_le(keel_cursor cursor, const void *key, size_t key_size, keel_error *err);

/* The row on which the cursor stands.
 *
 *   cursor                     The cursor.
 *   out_key, out_key_size      (out) The key, borrowed until the cursor moves or the transaction writes or ends.
 *   out_value, out_value_size  (out) The value, borrowed likewise.
 *
 * Threads: Any thread, one at a time per cursor. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID           A pointer that must not be NULL is.
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_NOT_FOUND         There is no row there.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_get(keel_cursor cursor, const void **out_key, size_t *out_key_size,
                                     const void **out_value, size_t *out_value_size, keel_error *err);

/* Moves forward up to max_rows times and collects the rows. The cursor stands on the last row taken. A batch without
 * rows (and KEEL_OK) is the end.
 *
 *   cursor     The cursor.
 *   max_rows   Most rows. 0: no bound.
 *   max_bytes  (bytes) Most bytes of keys and values together; one row is always taken. 0: 1 MiB.
 *   batch      Filled; what was in it is gone.
 *
 * Threads: Any thread, one at a time per cursor and per batch. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_next_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                            keel_error *err);

/* Moves backward up to max_rows times and collects the rows, in that order. Otherwise as keel_cursor_next_batch.
 *
 *   cursor     The cursor.
 *   max_rows   Most rows. 0: no bound.
 *   max_bytes  (bytes) Most bytes of keys and values together; one row is always taken. 0: 1 MiB.
 *   batch      Filled; what was in it is gone.
 *
 * Threads: Any thread, one at a time per cursor and per batch. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE            A handle is not open, of the wrong kind.
 *   KEEL_E_FINISHED          The transaction has ended.
 *   KEEL_E_CONCURRENT_USE    Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED            The handle was made before a fork.
 *   KEEL_E_SNAPSHOT_TOO_OLD  The snapshot was ended.
 *   KEEL_E_IO                Reading failed.
 *   KEEL_E_CORRUPT           The database is damaged.
 *   KEEL_E_NO_MEMORY         Out of memory. */
KEEL_API keel_status keel_cursor_prev_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                            keel_error *err);

/* ---- Batches ---- */

/* A batch holds rows as columns in memory of its own. It belongs to no database, is used by one thread at a time (a
 * second one gets KEEL_E_CONCURRENT_USE), and keeps its memory between calls. */

/* Makes an empty batch.
 *
 *   out_batch  (out) The batch; free it with keel_batch_free.
 *
 * Threads: Any thread, also several at once. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID    A pointer that must not be NULL is.
 *   KEEL_E_NO_MEMORY  Out of memory.
 *   KEEL_E_LIMIT      Too many handles are open. */
KEEL_API keel_status keel_batch_new(keel_batch *out_batch, keel_error *err);

/* Frees a batch and its memory.
 *
 *   batch  The batch. It is gone after the call.
 *
 * Threads: Any thread, one at a time per batch. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork. */
KEEL_API keel_status keel_batch_free(keel_batch batch, keel_error *err);

/* Lends the columns of a batch.
 *
 *   batch     The batch.
 *   out_view  (out) Set struct_size first, as KEEL_BATCH_VIEW_INIT does. Its pointers are borrowed until the batch
 *             is used again or freed.
 *
 * Threads: Any thread, one at a time per batch. Since 0.1.
 * Returns KEEL_OK or
 *   KEEL_E_INVALID         A pointer that must not be NULL is. struct_size or a field is not valid.
 *   KEEL_E_HANDLE          A handle is not open, of the wrong kind.
 *   KEEL_E_CONCURRENT_USE  Another thread is inside a call with the same handle.
 *   KEEL_E_FORKED          The handle was made before a fork. */
KEEL_API keel_status keel_batch_data(keel_batch batch, keel_batch_view *out_view, keel_error *err);

#ifdef __cplusplus
}
#endif

#endif
