// Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`.

export declare const VERSION: string;
export declare const VERSION_NUMBER: number;

export declare const limits: Readonly<{
  /** Longest key. Empty keys are allowed. In bytes. */
  MAX_KEY_SIZE: 1024;
  /** Longest value that is read and written as a whole. Empty values are allowed. In bytes. */
  MAX_VALUE_SIZE: 2147483647;
  /** Longest value that is written in parts (`keel_value_begin`). In bytes. */
  MAX_LARGE_VALUE_SIZE: 281474976710656;
  /** Longest name of a keyspace; the shortest has 1 byte. In bytes. */
  MAX_KEYSPACE_NAME_SIZE: 255;
  /** Longest path, without the terminating zero byte. In bytes. */
  MAX_PATH_SIZE: 4095;
  /** Longest label of a transaction, without the terminating zero byte. In bytes. */
  MAX_LABEL_SIZE: 255;
  /** Most keys in one call of `keel_get_many`. In keys. */
  MAX_GET_MANY: 16777216;
  /** Largest buffer in one call of `keel_write_batch`. In bytes. */
  MAX_WRITE_BATCH: 2147483647;
  /** Largest `struct_size` that is ever accepted. In bytes. */
  MAX_STRUCT_SIZE: 4096;
  /** As many problems does a check keep as text; it counts all. In problems. */
  CHECK_PROBLEMS: 32;
  /** Room for the text of any problem, with its terminating zero byte. In bytes. */
  CHECK_TEXT_SIZE: 768;
  /** Room for a message in `keel_error`, with the terminating zero byte. In bytes. */
  ERROR_MESSAGE_SIZE: 248;
}>;

export declare const constants: Readonly<{
  /** Takes a shared lock and never writes anything; works on read-only media. The database must exist. */
  OPEN_READ_ONLY: 1;
  /** When there is no database at the path: `KEEL_E_NO_FILE`. */
  OPEN_NO_CREATE: 2;
  /** When there is a database at the path: `KEEL_E_EXISTS`. */
  OPEN_MUST_CREATE: 4;
  /** When there is no such keyspace: `KEEL_E_KEYSPACE_NOT_FOUND`. */
  KEYSPACE_NO_CREATE: 1;
  /** A keyspace of that name is dropped in the moment in which the load is finished. */
  LOAD_REPLACE: 1;
  /** The transaction cannot write, is never validated, and never conflicts. */
  TXN_READ_ONLY: 1;
  /** For a transaction: as the database. For a database: full. */
  DURABILITY_DEFAULT: 0;
  /** Acknowledged means on stable storage. */
  DURABILITY_FULL: 1;
  /** Acknowledged at once, on stable storage within the group interval. A crash of the machine may lose the last commits, whole and in order; a crash of the program alone loses none. */
  DURABILITY_GROUP: 2;
  /** Acknowledged at once, on stable storage when the system gets round to it. Order is kept; nothing is half-done after a crash. */
  DURABILITY_NONE: 3;
  /** The strongest level that the library has. This version: snapshot. */
  ISOLATION_DEFAULT: 0;
  /** As if transactions ran one after the other. A library that cannot give it refuses it with `KEEL_E_UNSUPPORTED` (feature `serializable`); it is never weakened. */
  ISOLATION_SERIALIZABLE: 1;
  /** One snapshot for all reads; of two transactions that write one key, the second to commit gets a conflict. */
  ISOLATION_SNAPSHOT: 2;
  /** Reads may see what others commit meanwhile. Given as snapshot, the next stronger level that exists. */
  ISOLATION_READ_COMMITTED: 3;
  /** Given as snapshot, the next stronger level that exists. */
  ISOLATION_REPEATABLE_READ: 4;
  /** Given as snapshot, the next stronger level that exists. */
  ISOLATION_READ_UNCOMMITTED: 5;
  /** Stores the value under the key. */
  BATCH_PUT: 1;
  /** Removes the key; `value_size` is 0. */
  BATCH_DELETE: 2;
}>;

export type StatusSymbol =
  | 'KEEL_OK'
  | 'KEEL_E_INVALID'
  | 'KEEL_E_HANDLE'
  | 'KEEL_E_FINISHED'
  | 'KEEL_E_READ_ONLY'
  | 'KEEL_E_KEY_SIZE'
  | 'KEEL_E_VALUE_SIZE'
  | 'KEEL_E_BUFFER_SIZE'
  | 'KEEL_E_CONCURRENT_USE'
  | 'KEEL_E_FORKED'
  | 'KEEL_E_CLOSED'
  | 'KEEL_E_UNSUPPORTED'
  | 'KEEL_E_NOT_FOUND'
  | 'KEEL_E_KEYSPACE_NOT_FOUND'
  | 'KEEL_E_NO_FILE'
  | 'KEEL_E_EXISTS'
  | 'KEEL_E_CONFLICT'
  | 'KEEL_E_DEADLOCK'
  | 'KEEL_E_SNAPSHOT_TOO_OLD'
  | 'KEEL_E_COMMIT_UNKNOWN'
  | 'KEEL_E_LOCKED'
  | 'KEEL_E_TIMEOUT'
  | 'KEEL_E_CANCELLED'
  | 'KEEL_E_IO'
  | 'KEEL_E_DISK_FULL'
  | 'KEEL_E_PERMISSION'
  | 'KEEL_E_READ_ONLY_MEDIA'
  | 'KEEL_E_NOT_A_FILE'
  | 'KEEL_E_POISONED'
  | 'KEEL_E_CORRUPT'
  | 'KEEL_E_FORMAT'
  | 'KEEL_E_VERSION'
  | 'KEEL_E_NO_MEMORY'
  | 'KEEL_E_LIMIT'
  | 'KEEL_E_INTERNAL';

export type StatusName =
  | 'ok'
  | 'invalid'
  | 'handle'
  | 'finished'
  | 'read_only'
  | 'key_size'
  | 'value_size'
  | 'buffer_size'
  | 'concurrent_use'
  | 'forked'
  | 'closed'
  | 'unsupported'
  | 'not_found'
  | 'keyspace_not_found'
  | 'no_file'
  | 'exists'
  | 'conflict'
  | 'deadlock'
  | 'snapshot_too_old'
  | 'commit_unknown'
  | 'locked'
  | 'timeout'
  | 'cancelled'
  | 'io'
  | 'disk_full'
  | 'permission'
  | 'read_only_media'
  | 'not_a_file'
  | 'poisoned'
  | 'corrupt'
  | 'format'
  | 'version'
  | 'no_memory'
  | 'limit'
  | 'internal';

export type StatusClass =
  | 'ok'
  | 'usage'
  | 'not_found'
  | 'conflict'
  | 'busy'
  | 'io'
  | 'corrupt'
  | 'resource'
  | 'internal';

export interface StatusInfo {
  readonly code: number;
  readonly symbol: StatusSymbol;
  readonly name: StatusName;
  readonly class: StatusClass;
  readonly retryable: boolean;
}

export declare const statuses: Readonly<Record<string, StatusInfo>>;

export declare const codes: Readonly<{
  /** Success. Nothing. */
  OK: 0;
  /** An argument or option has a value that is never valid (a null pointer, an unknown flag, a number out of range, text that is not UTF-8). Correct the call; the message names the argument. */
  E_INVALID: -101;
  /** A handle is 0, was never given out, is closed, is of another kind, or belongs to another database than the other handles of the call. Correct the program; nothing was touched. */
  E_HANDLE: -102;
  /** The transaction was committed or rolled back before (also seen through a cursor of it). Begin a new transaction. */
  E_FINISHED: -103;
  /** A write was asked of a read-only transaction or of a database that was opened read-only. Begin a transaction that may write, or open the database without `KEEL_OPEN_READ_ONLY`. */
  E_READ_ONLY: -104;
  /** A key is longer than `KEEL_MAX_KEY_SIZE` bytes. Use shorter keys, for example a hash of the long one. */
  E_KEY_SIZE: -105;
  /** A value is longer than `KEEL_MAX_VALUE_SIZE` bytes, or one that is written in parts than `KEEL_MAX_LARGE_VALUE_SIZE`. Write the value in parts (`keel_value_begin`), or split it over several keys. */
  E_VALUE_SIZE: -106;
  /** The caller's buffer is too small; the size that is needed was stored. Call again with a buffer of that size. */
  E_BUFFER_SIZE: -107;
  /** Another thread is inside a call on the same transaction, cursor or batch at this moment. Use a transaction, its cursors and a batch from one thread at a time. */
  E_CONCURRENT_USE: -108;
  /** The handle was made before `fork()` and is used in the child. Nothing of the parent's was touched. Open the database anew in the child. */
  E_FORKED: -109;
  /** The database is being closed. Open it again. */
  E_CLOSED: -110;
  /** The program asks for something that this version of the library does not know or does not have (for example a field of an option struct from a newer header, set to a value other than 0). Use a newer library, or leave the option at its default. */
  E_UNSUPPORTED: -111;
  /** The key has no value, or the cursor has no row there. An ordinary answer. */
  E_NOT_FOUND: -201;
  /** The keyspace does not exist, or was dropped after it was opened. Open it without `KEEL_KEYSPACE_NO_CREATE` to make it. */
  E_KEYSPACE_NOT_FOUND: -202;
  /** There is no database at that path, and the options forbid to make one; or the directory does not exist. Correct the path, or open without `KEEL_OPEN_NO_CREATE` and `KEEL_OPEN_READ_ONLY`. */
  E_NO_FILE: -203;
  /** There is something already where something new was to be made. Choose another path, or open without `KEEL_OPEN_MUST_CREATE`. */
  E_EXISTS: -204;
  /** Another transaction committed a write that this one depends on. Nothing of this one was stored. Run the whole transaction again from its beginning, on a new snapshot. */
  E_CONFLICT: -301;
  /** The transaction was chosen to end a circle of transactions that wait for each other. Nothing of it was stored. Run the whole transaction again. */
  E_DEADLOCK: -302;
  /** The transaction's snapshot was ended because it was older than a limit allows. Run the whole transaction again, on a new snapshot; keep transactions shorter. */
  E_SNAPSHOT_TOO_OLD: -303;
  /** It cannot be told whether the commit took effect. Look whether its writes are there before running it again, or make the transaction safe to repeat. */
  E_COMMIT_UNKNOWN: -304;
  /** Another process has the database open; the message names it where it can. Wait for the other process, or end it, and open again. */
  E_LOCKED: -401;
  /** The time that the caller allowed is over. Try again later or allow more time. */
  E_TIMEOUT: -402;
  /** The caller cancelled the operation. Nothing. */
  E_CANCELLED: -403;
  /** The operating system failed to read or write; `system_errno` and the message say which call, which file, and why. Look at the device and its log; reopen the database when it is healthy again. */
  E_IO: -501;
  /** The file system has no room (or the quota is used up). Everything acknowledged before is safe. Make room, then go on; reopen when the message says that the database is poisoned. */
  E_DISK_FULL: -502;
  /** The operating system does not allow access to the file or its directory. Correct the permissions, or run as another user. */
  E_PERMISSION: -503;
  /** The file system is mounted read-only. Open with `KEEL_OPEN_READ_ONLY`, or mount it writable. */
  E_READ_ONLY_MEDIA: -504;
  /** The path names a directory, a device or something else that is not a regular file. Correct the path. */
  E_NOT_A_FILE: -505;
  /** An earlier write or sync failed, so that nothing more can be promised; everything acknowledged before is safe. Close every handle of the database, look at the cause (the first error named it), and open again. */
  E_POISONED: -506;
  /** A checksum or structure in the file is wrong; the message names file and offset. The file was left as it was. Check the device; restore from a backup. */
  E_CORRUPT: -601;
  /** The file is not a Keel database. Correct the path. */
  E_FORMAT: -602;
  /** The file was written by a newer Keel, in a format that this version does not know. It was left as it was. Use a newer library. */
  E_VERSION: -603;
  /** Memory could not be allocated. Nothing was changed. Free memory and try again. */
  E_NO_MEMORY: -701;
  /** A bound was reached (memory limit of the database, number of handles, number of rows); the message names it. Raise the limit in the options, or do less at once. */
  E_LIMIT: -702;
  /** Something that Keel takes for impossible happened; the database is poisoned. Please report it with the message. Close every handle of the database and open it again. */
  E_INTERNAL: -901;
}>;

export declare const features: ReadonlyArray<string>;
