/// <reference types="node" />

import { Readable } from 'node:stream';

import { StatusClass, StatusSymbol } from './constants.gen.js';
export { codes, features, limits } from './constants.gen.js';
export type { StatusClass, StatusSymbol } from './constants.gen.js';

/** What is taken for a key or a value: a string stands for its UTF-8 bytes. */
export type Bytes = string | NodeJS.ArrayBufferView | ArrayBuffer;

/** When a commit is acknowledged. `full`: on stable storage. `group`: within the group interval. `none`: when the
 * system gets round to it. Nothing is ever half-done. */
export type Durability = 'full' | 'group' | 'none';

/** What a transaction that writes is protected from. A level that this version does not have is given as the next
 * stronger one, or refused with KEEL_E_UNSUPPORTED; never weaker. `feature('serializable')` tells whether there is that
 * one. */
export type Isolation = 'serializable' | 'snapshot' | 'read_committed' | 'repeatable_read' | 'read_uncommitted';

export type Row = [key: Buffer, value: Buffer];

/** What every failed call throws, and every promise is rejected with. `message` is one line: what was wrong, what to
 * do. */
export declare class KeelError extends Error {
  /** As in C: `KEEL_E_CONFLICT`. */
  readonly code: StatusSymbol;
  /** As in C: a negative number that never changes its meaning. */
  readonly status: number;
  readonly statusClass: StatusClass;
  /** Whether running the whole transaction again is the right answer. `transact` does that. */
  readonly retryable: boolean;
  /** `errno` of the system call that failed, or 0. */
  readonly systemErrno: number;
  /** How many times the transaction ran, when `transact` gave up. */
  readonly attempts?: number;
}

export interface OpenOptions {
  /** Shared lock, never writes; works on read-only media. */
  readOnly?: boolean;
  /** Make the database when it is not there (default: true); otherwise KEEL_E_NO_FILE. */
  create?: boolean;
  /** It must not be there yet; otherwise KEEL_E_EXISTS. */
  mustCreate?: boolean;
  /** For transactions that do not say otherwise (default: `full`). */
  durability?: Durability;
  /** 4096 ... 65536, a power of two. Fixed when the database is made. */
  pageSize?: number;
  /** Within which commits with durability `group` reach stable storage (default: 10). */
  groupIntervalMs?: number;
  /** Permissions of files that are made (default: 0o600). */
  fileMode?: number;
  /** Bytes, a power of two. Fixed when the log is made. */
  logSegmentSize?: number;
  /** Most memory for commits that are not in the file's trees yet, in bytes (default: half of the machine's). Commits
   * are slowed as it fills. */
  memoryLimit?: number;
  /** Most memory for pages of the file, in bytes (default: a quarter of the machine's; at least 8 MiB). */
  cacheSize?: number;
  /** How much is committed before it is drained into the trees, in bytes (default: a 32nd of `memoryLimit`, from 4 to
   * 256 MiB). */
  deltaSize?: number;
  /** Threads that a drain of much merges on, at most 64 (default: half of the processors, from 1 to 4). */
  drainThreads?: number;
}

export interface KeyspaceOptions {
  /** Make it when it is not there (default: true); otherwise KEEL_E_KEYSPACE_NOT_FOUND. */
  create?: boolean;
}

export interface BeginOptions {
  /** Cannot write, is never validated, and never conflicts. */
  readOnly?: boolean;
  isolation?: Isolation;
  durability?: Durability;
  /** The creator's name for statistics. */
  label?: string;
}

export interface Retry {
  /** Which run failed: 1 is the first. */
  attempt: number;
  error: KeelError;
  /** Milliseconds until the next run. */
  delay: number;
}

export interface TransactOptions extends BeginOptions {
  /** Most runs after the first (default: 20). */
  retries?: number;
  /** Called before each pause. */
  onRetry?: (retry: Retry) => void;
}

export interface LoadOptions {
  /** A keyspace of that name is dropped in the moment in which the new one is there (its `Keyspace` objects answer with
   * KEEL_E_KEYSPACE_NOT_FOUND then); otherwise KEEL_E_EXISTS. */
  replace?: boolean;
  /** Bytes of rows out of order that are collected before they are sorted and written: 64 KiB ... 1 GiB (default: an
   * eighth of `memoryLimit`, from 1 to 32 MiB). */
  bufferSize?: number;
}

export interface CheckOptions {
  /** Called after each step. An error that it throws ends the check. */
  onProgress?: (report: CheckReport) => void;
  /** Looked at between two steps; the promise is rejected with its reason. */
  signal?: AbortSignal;
  /** How much is read in one step, in bytes (default: 1 MiB). */
  stepBytes?: number;
}

export interface Bounds {
  /** Keys after this one. */
  gt?: Bytes;
  /** This key and those after it. */
  gte?: Bytes;
  /** Keys before this one. */
  lt?: Bytes;
  /** This key and those before it. */
  lte?: Bytes;
  /** Keys that start with these bytes. */
  prefix?: Bytes;
}

export interface RangeOptions extends Bounds {
  /** From the last row to the first. */
  reverse?: boolean;
  /** Most rows. */
  limit?: number;
}

/** Opens a database, and makes it when it does not exist. `:memory:` is one without files. Replays the log after a
 * crash. */
export declare function open(path: string | Uint8Array | URL, options?: OpenOptions): Database;
/** As `open`, without holding up the event loop. */
export declare function openAsync(path: string | Uint8Array | URL, options?: OpenOptions): Promise<Database>;
/**
 * Copies what is sound of the database at `path` into a new one at `newPath`. The old one may be damaged so much that it
 * cannot be opened; it must not be open, and is not written to. Keyspaces keep their names; one whose name is lost is
 * called `lost-keyspace-` and its number. Damage is no error: the report counts what was copied (`rows`, `logCommits`) and
 * what was lost (`problems`, `lostRows` ...). When `signal` or `onProgress` ends it, what has been copied is in the new
 * database.
 */
export declare function salvage(
  path: string | Uint8Array | URL,
  newPath: string | Uint8Array | URL,
  options?: CheckOptions,
): Promise<CheckReport>;
/** The version of the engine that runs. */
export declare function version(): string;
/** Whether a feature (one of `features`) is present in this build on this machine. */
export declare function feature(name: string): boolean;

/** An open database. Each thread opens its own: a path that the process has open already gives one more handle on one
 * engine. */
export declare class Database {
  private constructor();
  readonly path: string;
  readonly readOnly: boolean;
  readonly closed: boolean;

  /** Opens a keyspace, and makes it when it does not exist. Keep the object: opening is not free. */
  keyspace(name: string, options?: KeyspaceOptions): Keyspace;
  /** As `keyspace`, without holding up the event loop: making one is a durable commit. */
  keyspaceAsync(name: string, options?: KeyspaceOptions): Promise<Keyspace>;
  /** The names of all keyspaces, in byte order. */
  keyspaces(): string[];
  /** Removes a keyspace with all its rows. */
  dropKeyspace(name: string): void;
  dropKeyspaceAsync(name: string): Promise<void>;

  /**
   * Makes a keyspace of very many rows, much faster than transactions: past the log, straight into the file. Rows may come
   * in any order; in that of their keys each is written once, otherwise they are sorted on disk. Of several with one key
   * the last one stays; a Map will do. The keyspace is there, whole and on stable storage, when the promise is fulfilled;
   * before, nobody sees anything of it, and when it is rejected (an error of `rows` included) nothing is left.
   */
  load(
    name: string,
    rows: Iterable<readonly [Bytes, Bytes]> | AsyncIterable<readonly [Bytes, Bytes]>,
    options?: LoadOptions,
  ): Promise<LoadReport>;
  loadSync(name: string, rows: Iterable<readonly [Bytes, Bytes]>, options?: LoadOptions): LoadReport;
  /** Begins a load whose rows are given bit by bit, to be ended with `finish` or `close`. */
  loader(name: string, options?: LoadOptions): Loader;

  /** Begins a transaction, to be ended with `commit` or `rollback`. */
  begin(options?: BeginOptions): Transaction;
  /**
   * Runs `fn` in a transaction, commits, and gives its result; runs it again when it loses a conflict, after a random
   * pause that grows. `fn` must be safe to repeat. When the last run loses, too, its error has `attempts`.
   */
  transact<T>(fn: (txn: Transaction) => T | PromiseLike<T>, options?: TransactOptions): Promise<Awaited<T>>;
  /** As `transact`, with a plain function, and blocking: also during the pauses. */
  transactSync<T>(fn: (txn: Transaction) => T, options?: TransactOptions): T;

  stats(): Stats;
  /** The newest checkpoint; all zero for `:memory:`. */
  lastCheckpoint(): Checkpoint;
  /** Settles when everything that was acknowledged so far is on stable storage, whatever its durability. */
  flush(): Promise<void>;
  flushSync(): void;
  /** Drains what has been committed into the trees of the file, and settles when a checkpoint holds it. The engine does
   * so by itself, in the background and when the database is closed; this is for measurements, before the file is
   * copied, and before a long idle time. Others go on reading and writing meanwhile. */
  makeCheckpoint(): Promise<void>;
  makeCheckpointSync(): void;
  /** Gives space back: moves data towards the front of the file and cuts it, until it is hardly longer than its data. What
   * old snapshots hold is not waited for. Others go on reading and writing meanwhile; an error loses nothing, and calling
   * it again goes on. A file that is mostly free becomes shorter by itself, slowly. */
  compact(): Promise<void>;
  compactSync(): void;
  /** Changes how many bytes of memory are for pages of the database file, for all who have it open in this process. More counts
   * at once; for less, pages go until it is met. Less than 8 MiB counts as that; `KEEL_E_INVALID` for more than four times
   * what it was opened with, if that is more than 16 GiB. */
  setCacheSize(bytes: number | bigint): void;
  /**
   * Verifies the database while it is in use: everything that the newest checkpoint reaches is read from the file, past
   * the cache, and compared with checksums, order, key ranges and counts. What was committed since lies in the log, which
   * opening has checked. Damage is no error: the database is sound when the report says 0 `problems`. A snapshot is held
   * meanwhile; closing the database ends it.
   */
  verify(options?: CheckOptions): Promise<CheckReport>;
  /** Ends what is open on the database (transactions are rolled back; views stay valid) and closes it. Twice is
   * harmless. When nothing else in the process uses the database (a view, another opening), all commits are drained
   * into its file and the log beside it is removed: what remains is one file. */
  close(): Promise<void>;
  closeSync(): void;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A named, ordered map of bytes. Its own methods are transactions of one operation; writes repeat on conflict. */
export declare class Keyspace {
  private constructor();
  readonly name: string;
  get(key: Bytes): Buffer | undefined;
  has(key: Bytes): boolean;
  getMany(keys: Iterable<Bytes>): Array<Buffer | undefined>;
  /** Bytes of a value: `size` from `offset` on, fewer at its end. Of a large value only those parts are read that they
   * lie in. */
  getPart(key: Bytes, offset: number, size: number): Buffer | undefined;
  /** A value as a stream, for values of any size. It reads the snapshot of this moment, and lets it go at its end: destroy a
   * stream that is not read to the end. Throws KEEL_E_NOT_FOUND when the key has no value. */
  createReadStream(key: Bytes, options?: ReadStreamOptions): ValueReadStream;
  /** Each walk over the range reads a snapshot of its own. */
  range(options?: RangeOptions): Range;
  /** Stores a value of exactly `size` bytes, which the source gives piece by piece. A large one goes straight to where it
   * stays, and is never in memory as a whole. It is run once, since the source cannot be read again: KEEL_E_CONFLICT when
   * another transaction wrote the same key meanwhile. */
  putStream(key: Bytes, size: number, source: Pieces, options?: BeginOptions): Promise<void>;
  put(key: Bytes, value: Bytes, options?: TransactOptions): Promise<void>;
  putSync(key: Bytes, value: Bytes, options?: TransactOptions): void;
  del(key: Bytes, options?: TransactOptions): Promise<void>;
  delSync(key: Bytes, options?: TransactOptions): void;
  /** Closes the handle; the keyspace and its rows stay. */
  close(): void;
  [Symbol.dispose](): void;
}

/** What a value is read and written by: a stream, or anything that iterates over bytes or text. */
export type Pieces = Iterable<Bytes> | AsyncIterable<Bytes>;

export interface ReadStreamOptions {
  /** First byte, 0 by default. */
  start?: number;
  /** Last byte, as in `node:fs`; the end of the value by default. */
  end?: number;
  /** Bytes that the stream reads ahead and at once, 64 KiB by default. */
  highWaterMark?: number;
}

/** A value as a stream: see `createReadStream`. */
export interface ValueReadStream extends Readable {
  /** Of the whole value, in bytes. */
  readonly size: number;
}

/** A load under way: see `Database.load`. While a promise of it is pending it answers other calls with
 * KEEL_E_CONCURRENT_USE. */
export declare class Loader {
  private constructor();
  /** The name that the keyspace gets. */
  readonly name: string;
  /** False once it was finished, closed, or ended by its database's end. */
  readonly isOpen: boolean;
  /** Takes a row. Most calls are answered from memory; one that fills the buffer writes it, which `putMany` does without
   * holding up the event loop. */
  put(key: Bytes, value: Bytes): void;
  /** Takes many rows, and says how many. When it is rejected, some of them may have been taken. */
  putMany(rows: Iterable<readonly [Bytes, Bytes]> | AsyncIterable<readonly [Bytes, Bytes]>): Promise<number>;
  putManySync(rows: Iterable<readonly [Bytes, Bytes]>): number;
  /** Makes the keyspace of the rows: it is there, and on stable storage, when the promise is fulfilled. After an error the
   * load is as before: call it again, or `close`. */
  finish(): Promise<LoadReport>;
  finishSync(): LoadReport;
  /** Ends the load. Unless it was finished, nothing is left of it. Twice is harmless. */
  close(): Promise<void>;
  closeSync(): void;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Reads one snapshot, sees its own writes, commits atomically across keyspaces. */
export declare class Transaction {
  private constructor();
  readonly readOnly: boolean;
  /** Which run of `transact` this is: 1 for the first. */
  readonly attempt: number;
  /** False once it was committed, rolled back, or ended by its database's end. */
  readonly isOpen: boolean;
  /** Of the commit, once there is one; 0 when nothing was written. */
  readonly timestamp: number | undefined;

  get(keyspace: Keyspace, key: Bytes): Buffer | undefined;
  has(keyspace: Keyspace, key: Bytes): boolean;
  /** All in one call: entry i is the value of key i. */
  getMany(keyspace: Keyspace, keys: Iterable<Bytes>): Array<Buffer | undefined>;
  /** Pins a value, for reading parts of it, or for longer than the transaction. */
  view(keyspace: Keyspace, key: Bytes): View | undefined;
  /** Bytes of a value: `size` from `offset` on, fewer at its end. */
  getPart(keyspace: Keyspace, key: Bytes, offset: number, size: number): Buffer | undefined;
  /** A value as a stream. It sees the transaction's own writes, and ends with an error when the transaction ends first. */
  createReadStream(keyspace: Keyspace, key: Bytes, options?: ReadStreamOptions): ValueReadStream;
  range(keyspace: Keyspace, options?: RangeOptions): Range;
  cursor(keyspace: Keyspace, bounds?: Bounds): Cursor;

  put(keyspace: Keyspace, key: Bytes, value: Bytes): void;
  /** Stores a value of exactly `size` bytes, which the source gives piece by piece. When it is rejected nothing was stored, and
   * the transaction may go on. */
  putStream(keyspace: Keyspace, key: Bytes, size: number, source: Pieces): Promise<void>;
  /** Removes a key; an absent one is no error. */
  del(keyspace: Keyspace, key: Bytes): void;
  /** Removes the keys from `from` up to, not including, `to`, and says how many. Left out: from the first, to the
   * last. */
  delRange(keyspace: Keyspace, from?: Bytes | null, to?: Bytes | null): number;
  /** Many writes in one call; a value of undefined or null removes the key. A Map will do. Says how many. */
  writeMany(keyspace: Keyspace, entries: Iterable<readonly [Bytes, Bytes | null | undefined]>): number;

  /** Commits without holding up the event loop, and gives the timestamp. */
  commit(): Promise<number>;
  commitSync(): number;
  rollback(): void;
  /** Rolls back what is still open. */
  [Symbol.dispose](): void;
}

/** An iterator over rows that closes what it holds when it is at its end, or is left early. */
export interface RowIterator<T> extends IterableIterator<T, undefined, undefined> {
  return(): IteratorResult<T, undefined>;
  [Symbol.iterator](): RowIterator<T>;
  [Symbol.dispose](): void;
}

/**
 * Rows between two bounds, in byte order of the keys; can be walked over any number of times. Rows are fetched in
 * batches: what the transaction writes meanwhile shows up with the next batch. Rows of a batch share memory of at most
 * about 64 KiB; copy one that is to be kept for long.
 */
export declare class Range {
  private constructor();
  [Symbol.iterator](): RowIterator<Row>;
  entries(): RowIterator<Row>;
  keys(): RowIterator<Buffer>;
  values(): RowIterator<Buffer>;
  toArray(): Row[];
  /** The same rows; the event loop turns between two batches. */
  [Symbol.asyncIterator](): AsyncGenerator<Row, void, undefined>;
}

/** A position that moves step by step. Each move gives the row that it reached, or undefined when there is none that
 * way. */
export declare class Cursor {
  private constructor();
  first(): Row | undefined;
  last(): Row | undefined;
  /** From a new cursor: the first row. */
  next(): Row | undefined;
  /** From a new cursor: the last row. */
  prev(): Row | undefined;
  /** To the key or, when it is absent, the one after it. */
  seek(key: Bytes): Row | undefined;
  /** To the key or, when it is absent, the one before it. */
  seekLe(key: Bytes): Row | undefined;
  close(): void;
  [Symbol.dispose](): void;
}

/** A pinned, unchanging value: valid until it is released, whatever happens to its transaction and its database. */
export declare class View {
  private constructor();
  /** Bytes. */
  readonly length: number;
  readonly released: boolean;
  /** A copy of the whole. */
  toBuffer(): Buffer;
  /** A copy of a part; positions as in `Buffer.subarray`. */
  slice(start?: number, end?: number): Buffer;
  /** Copies into `target` as `Buffer.copy` does, and says how many bytes. */
  copy(target: NodeJS.ArrayBufferView, targetStart?: number, sourceStart?: number, sourceEnd?: number): number;
  release(): void;
  [Symbol.dispose](): void;
}

/** Counters of one engine since it was opened. */
export interface Stats {
  /** A failed write or sync has ended all further writing. */
  poisoned: boolean;
  commits: number;
  commitsReadOnly: number;
  rollbacks: number;
  conflicts: number;
  /** Log batches; commits / groups is the mean group size. */
  groups: number;
  gets: number;
  puts: number;
  deletes: number;
  cursorSteps: number;
  transactionsLive: number;
  snapshotsLive: number;
  viewsLive: number;
  oldestSnapshotAgeNs: number;
  visibleTimestamp: number;
  keyspaces: number;
  deltaKeys: number;
  deltaVersions: number;
  deltaBytes: number;
  logStart: number;
  logTail: number;
  logDurable: number;
  logFileBytes: number;
  logSegments: number;
  logSegmentsRecycled: number;
  logAppends: number;
  logAppendedBytes: number;
  logSyncs: number;
  logSyncsShared: number;
  logSyncNsTotal: number;
  logSyncNsMax: number;
  /** The log writes with O_DSYNC; otherwise it uses fdatasync. */
  logUsesDsync: boolean;
  recoveryBatches: number;
  recoveryBytes: number;
  recoveryNs: number;
  memoryBytes: number;
  memoryLimit: number;
  /** Drains that ended with a checkpoint. */
  checkpoints: number;
  /** Drains that failed, and were or will be tried again. */
  drainFailures: number;
  drainNs: number;
  drainPagesWritten: number;
  drainPagesRead: number;
  drainBytesWritten: number;
  /** Threads that a drain may use. */
  drainThreads: number;
  /** Parts of trees that drains have merged side by side. */
  drainParts: number;
  /** How often writes of a transaction were moved to the file before its commit. */
  spills: number;
  /** Keys and values that were. In bytes. */
  spilledBytes: number;
  /** Time that commits were held up because drains were behind. */
  throttledNs: number;
  /** Commits that waited because `memoryLimit` was reached. */
  throttleWaits: number;
  cacheLimit: number;
  cacheResident: number;
  cachePages: number;
  /** Memory of pages that views pin. */
  cachePinned: number;
  /** Pages read from the file: misses. */
  cacheLoads: number;
  /** Pages that made room for others. */
  cacheEvictions: number;
  /** Size of the database file. */
  fileBytes: number;
  /** What the newest checkpoint uses of it. */
  fileUsed: number;
  /** What can be written anew. */
  fileFree: number;
  /** What only old snapshots or the checkpoint before the newest still need. */
  fileHeld: number;
}

export interface Checkpoint {
  /** Recovery needs the log; otherwise everything is in the database file. */
  logNeeded: boolean;
  /** 1 at creation, one more with each checkpoint. */
  sequence: number;
  /** Commits up to this timestamp are in the tree. */
  timestamp: number;
  /** Where replay of the log starts. */
  logPosition: number;
  /** When it was written: nanoseconds since 1970 UTC. */
  wallTimeNs: bigint;
}

/** What a bulk load has taken. */
export interface LoadReport {
  /** The keyspace is there. */
  finished: boolean;
  /** Rows that were given; of several with one key the keyspace has the last one. */
  rows: number;
  /** Of their keys and values. */
  bytes: number;
  /** Sorted parts that were written: 1 when rows came in the order of their keys. */
  runs: number;
}

/** How far a verification or a salvage has come, and what it has found so far. */
export interface CheckReport {
  /** There is nothing left to do. */
  finished: boolean;
  /** Everything that is not as it should be. 0 at the end: the database is sound, or all of it was copied. */
  problems: number;
  /** The first 32 of them, one line each, with file, block, keyspace and keys where they are known. */
  problemTexts: string[];
  /** Read so far. */
  doneBytes: number;
  /** What will have been read at the end: an estimate, and never below `doneBytes`. */
  totalBytes: number;
  /** Number of the checkpoint that is looked at. */
  checkpoint: number;
  /** Keyspaces that were found. */
  keyspaces: number;
  /** Pages that are sound. */
  pages: number;
  /** Values that are stored outside of pages, and sound. */
  extents: number;
  /** Rows on sound pages; of a salvage, rows that were copied from pages. */
  rows: number;
  /** Bytes of `extents`. */
  valueBytes: number;
  /** Pages that cannot be read, or are not what they should be. */
  lostPages: number;
  /** Likewise, values that are stored outside of pages. */
  lostExtents: number;
  /** Rows that are lost with those, as far as other pages tell. */
  lostRows: number;
  /** Space that is in use and belongs to nothing. No data is lost with it. */
  unreachedBytes: number;
  /** Of a salvage: commits that were applied from the log. */
  logCommits: number;
}
