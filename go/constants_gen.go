// Code generated from bindings/api/keel.yml by tools/gen. DO NOT EDIT.

package keel

// headerVersion is the version of the description that this file was generated from.
const headerVersion = "0.1.0"

// Limits.
const (
	// MaxKeySize: Longest key. Empty keys are allowed. In bytes.
	MaxKeySize = 1024
	// MaxValueSize: Longest value that is read and written as a whole. Empty values are allowed. In bytes.
	MaxValueSize = 2147483647
	// MaxLargeValueSize: Longest value that is written in parts (keel_value_begin). In bytes.
	MaxLargeValueSize = 281474976710656
	// MaxKeyspaceNameSize: Longest name of a keyspace; the shortest has 1 byte. In bytes.
	MaxKeyspaceNameSize = 255
	// MaxPathSize: Longest path, without the terminating zero byte. In bytes.
	MaxPathSize = 4095
	// MaxLabelSize: Longest label of a transaction, without the terminating zero byte. In bytes.
	MaxLabelSize = 255
	// MaxGetMany: Most keys in one call of keel_get_many. In keys.
	MaxGetMany = 16777216
	// MaxWriteBatch: Largest buffer in one call of keel_write_batch. In bytes.
	MaxWriteBatch = 2147483647
	// MaxStructSize: Largest struct_size that is ever accepted. In bytes.
	MaxStructSize = 4096
)

// Flags of keel_options.
const (
	// Takes a shared lock and never writes anything; works on read-only media. The database must exist.
	cOpenReadOnly = 1
	// When there is no database at the path: KEEL_E_NO_FILE.
	cOpenNoCreate = 2
	// When there is a database at the path: KEEL_E_EXISTS.
	cOpenMustCreate = 4
)

// Flags of keel_keyspace_options.
const (
	// When there is no such keyspace: KEEL_E_KEYSPACE_NOT_FOUND.
	cKeyspaceNoCreate = 1
)

// Flags of keel_load_options.
const (
	// A keyspace of that name is dropped in the moment in which the load is finished.
	cLoadReplace = 1
)

// Flags of keel_txn_options.
const (
	// The transaction cannot write, is never validated, and never conflicts.
	cTxnReadOnly = 1
)

// When a commit is acknowledged.
const (
	// For a transaction: as the database. For a database: full.
	cDurabilityDefault = 0
	// Acknowledged means on stable storage.
	cDurabilityFull = 1
	// Acknowledged at once, on stable storage within the group interval. A crash of the machine may lose the last commits, whole and in order; a crash of the program alone loses none.
	cDurabilityGroup = 2
	// Acknowledged at once, on stable storage when the system gets round to it. Order is kept; nothing is half-done after a crash.
	cDurabilityNone = 3
)

// What a transaction that writes is protected from.
const (
	// The strongest level that the library has. This version: snapshot.
	cIsolationDefault = 0
	// As if transactions ran one after the other. A library that cannot give it refuses it with KEEL_E_UNSUPPORTED (feature serializable); it is never weakened.
	cIsolationSerializable = 1
	// One snapshot for all reads; of two transactions that write one key, the second to commit gets a conflict.
	cIsolationSnapshot = 2
	// Reads may see what others commit meanwhile. Given as snapshot, the next stronger level that exists.
	cIsolationReadCommitted = 3
	// Given as snapshot, the next stronger level that exists.
	cIsolationRepeatableRead = 4
	// Given as snapshot, the next stronger level that exists.
	cIsolationReadUncommitted = 5
)

// What an entry of a packed buffer for keel_write_batch does.
const (
	// Stores the value under the key.
	cBatchPut = 1
	// Removes the key; value_size is 0.
	cBatchDelete = 2
)

// A Code is the status of a failed call. Codes are errors, so that errors.Is(err, keel.ErrConflict) works for every
// error of this package.
type Code int32

const (
	// ErrInvalid: An argument or option has a value that is never valid (a null pointer, an unknown flag, a number out of range, text that is not UTF-8). What to do: Correct the call; the message names the argument.
	ErrInvalid Code = -101
	// ErrHandle: A handle is 0, was never given out, is closed, is of another kind, or belongs to another database than the other handles of the call. What to do: Correct the program; nothing was touched.
	ErrHandle Code = -102
	// ErrFinished: The transaction was committed or rolled back before (also seen through a cursor of it). What to do: Begin a new transaction.
	ErrFinished Code = -103
	// ErrReadOnly: A write was asked of a read-only transaction or of a database that was opened read-only. What to do: Begin a transaction that may write, or open the database without KEEL_OPEN_READ_ONLY.
	ErrReadOnly Code = -104
	// ErrKeySize: A key is longer than KEEL_MAX_KEY_SIZE bytes. What to do: Use shorter keys, for example a hash of the long one.
	ErrKeySize Code = -105
	// ErrValueSize: A value is longer than KEEL_MAX_VALUE_SIZE bytes, or one that is written in parts than KEEL_MAX_LARGE_VALUE_SIZE. What to do: Write the value in parts (keel_value_begin), or split it over several keys.
	ErrValueSize Code = -106
	// ErrBufferSize: The caller's buffer is too small; the size that is needed was stored. What to do: Call again with a buffer of that size.
	ErrBufferSize Code = -107
	// ErrConcurrentUse: Another thread is inside a call on the same transaction, cursor or batch at this moment. What to do: Use a transaction, its cursors and a batch from one thread at a time.
	ErrConcurrentUse Code = -108
	// ErrForked: The handle was made before fork() and is used in the child. Nothing of the parent's was touched. What to do: Open the database anew in the child.
	ErrForked Code = -109
	// ErrClosed: The database is being closed. What to do: Open it again.
	ErrClosed Code = -110
	// ErrUnsupported: The program asks for something that this version of the library does not know or does not have (for example a field of an option struct from a newer header, set to a value other than 0). What to do: Use a newer library, or leave the option at its default.
	ErrUnsupported Code = -111
	// ErrNotFound: The key has no value, or the cursor has no row there. What to do: An ordinary answer.
	ErrNotFound Code = -201
	// ErrKeyspaceNotFound: The keyspace does not exist, or was dropped after it was opened. What to do: Open it without KEEL_KEYSPACE_NO_CREATE to make it.
	ErrKeyspaceNotFound Code = -202
	// ErrNoFile: There is no database at that path, and the options forbid to make one; or the directory does not exist. What to do: Correct the path, or open without KEEL_OPEN_NO_CREATE and KEEL_OPEN_READ_ONLY.
	ErrNoFile Code = -203
	// ErrExists: There is something already where something new was to be made. What to do: Choose another path, or open without KEEL_OPEN_MUST_CREATE.
	ErrExists Code = -204
	// ErrConflict: Another transaction committed a write that this one depends on. Nothing of this one was stored. What to do: Run the whole transaction again from its beginning, on a new snapshot.
	ErrConflict Code = -301
	// ErrDeadlock: The transaction was chosen to end a circle of transactions that wait for each other. Nothing of it was stored. What to do: Run the whole transaction again.
	ErrDeadlock Code = -302
	// ErrSnapshotTooOld: The transaction's snapshot was ended because it was older than a limit allows. What to do: Run the whole transaction again, on a new snapshot; keep transactions shorter.
	ErrSnapshotTooOld Code = -303
	// ErrCommitUnknown: It cannot be told whether the commit took effect. What to do: Look whether its writes are there before running it again, or make the transaction safe to repeat.
	ErrCommitUnknown Code = -304
	// ErrLocked: Another process has the database open; the message names it where it can. What to do: Wait for the other process, or end it, and open again.
	ErrLocked Code = -401
	// ErrTimeout: The time that the caller allowed is over. What to do: Try again later or allow more time.
	ErrTimeout Code = -402
	// ErrCancelled: The caller cancelled the operation. What to do: Nothing.
	ErrCancelled Code = -403
	// ErrIO: The operating system failed to read or write; system_errno and the message say which call, which file, and why. What to do: Look at the device and its log; reopen the database when it is healthy again.
	ErrIO Code = -501
	// ErrDiskFull: The file system has no room (or the quota is used up). Everything acknowledged before is safe. What to do: Make room, then go on; reopen when the message says that the database is poisoned.
	ErrDiskFull Code = -502
	// ErrPermission: The operating system does not allow access to the file or its directory. What to do: Correct the permissions, or run as another user.
	ErrPermission Code = -503
	// ErrReadOnlyMedia: The file system is mounted read-only. What to do: Open with KEEL_OPEN_READ_ONLY, or mount it writable.
	ErrReadOnlyMedia Code = -504
	// ErrNotAFile: The path names a directory, a device or something else that is not a regular file. What to do: Correct the path.
	ErrNotAFile Code = -505
	// ErrPoisoned: An earlier write or sync failed, so that nothing more can be promised; everything acknowledged before is safe. What to do: Close every handle of the database, look at the cause (the first error named it), and open again.
	ErrPoisoned Code = -506
	// ErrCorrupt: A checksum or structure in the file is wrong; the message names file and offset. The file was left as it was. What to do: Check the device; restore from a backup.
	ErrCorrupt Code = -601
	// ErrFormat: The file is not a Keel database. What to do: Correct the path.
	ErrFormat Code = -602
	// ErrVersion: The file was written by a newer Keel, in a format that this version does not know. It was left as it was. What to do: Use a newer library.
	ErrVersion Code = -603
	// ErrNoMemory: Memory could not be allocated. Nothing was changed. What to do: Free memory and try again.
	ErrNoMemory Code = -701
	// ErrLimit: A bound was reached (memory limit of the database, number of handles, number of rows); the message names it. What to do: Raise the limit in the options, or do less at once.
	ErrLimit Code = -702
	// ErrInternal: Something that Keel takes for impossible happened; the database is poisoned. What to do: Please report it with the message. Close every handle of the database and open it again.
	ErrInternal Code = -901
)

type codeInfo struct {
	symbol    string
	name      string
	class     string
	retryable bool
}

var codeInfos = map[Code]codeInfo{
	-101: {"KEEL_E_INVALID", "invalid", "usage", false},
	-102: {"KEEL_E_HANDLE", "handle", "usage", false},
	-103: {"KEEL_E_FINISHED", "finished", "usage", false},
	-104: {"KEEL_E_READ_ONLY", "read_only", "usage", false},
	-105: {"KEEL_E_KEY_SIZE", "key_size", "usage", false},
	-106: {"KEEL_E_VALUE_SIZE", "value_size", "usage", false},
	-107: {"KEEL_E_BUFFER_SIZE", "buffer_size", "usage", false},
	-108: {"KEEL_E_CONCURRENT_USE", "concurrent_use", "usage", false},
	-109: {"KEEL_E_FORKED", "forked", "usage", false},
	-110: {"KEEL_E_CLOSED", "closed", "usage", false},
	-111: {"KEEL_E_UNSUPPORTED", "unsupported", "usage", false},
	-201: {"KEEL_E_NOT_FOUND", "not_found", "not_found", false},
	-202: {"KEEL_E_KEYSPACE_NOT_FOUND", "keyspace_not_found", "not_found", false},
	-203: {"KEEL_E_NO_FILE", "no_file", "not_found", false},
	-204: {"KEEL_E_EXISTS", "exists", "not_found", false},
	-301: {"KEEL_E_CONFLICT", "conflict", "conflict", true},
	-302: {"KEEL_E_DEADLOCK", "deadlock", "conflict", true},
	-303: {"KEEL_E_SNAPSHOT_TOO_OLD", "snapshot_too_old", "conflict", true},
	-304: {"KEEL_E_COMMIT_UNKNOWN", "commit_unknown", "conflict", false},
	-401: {"KEEL_E_LOCKED", "locked", "busy", false},
	-402: {"KEEL_E_TIMEOUT", "timeout", "busy", false},
	-403: {"KEEL_E_CANCELLED", "cancelled", "busy", false},
	-501: {"KEEL_E_IO", "io", "io", false},
	-502: {"KEEL_E_DISK_FULL", "disk_full", "io", false},
	-503: {"KEEL_E_PERMISSION", "permission", "io", false},
	-504: {"KEEL_E_READ_ONLY_MEDIA", "read_only_media", "io", false},
	-505: {"KEEL_E_NOT_A_FILE", "not_a_file", "io", false},
	-506: {"KEEL_E_POISONED", "poisoned", "io", false},
	-601: {"KEEL_E_CORRUPT", "corrupt", "corrupt", false},
	-602: {"KEEL_E_FORMAT", "format", "corrupt", false},
	-603: {"KEEL_E_VERSION", "version", "corrupt", false},
	-701: {"KEEL_E_NO_MEMORY", "no_memory", "resource", false},
	-702: {"KEEL_E_LIMIT", "limit", "resource", false},
	-901: {"KEEL_E_INTERNAL", "internal", "internal", false},
}

// LoadReport: What a bulk load has taken.
type LoadReport struct {
	// 1 when the keyspace is there.
	Finished uint64
	// Rows that were given; of several with one key the keyspace has the last one.
	Rows uint64
	// Of their keys and values.
	Bytes uint64
	// Sorted parts that were written so far: 1 when rows came in the order of their keys.
	Runs uint64
}

// fields lists the numbers of the record in the order in which the raw layer gives them.
func (r *LoadReport) fields() []*uint64 {
	return []*uint64{
		&r.Finished,
		&r.Rows,
		&r.Bytes,
		&r.Runs,
	}
}

// Checkpoint: The newest checkpoint of a database. All fields are 0 for :memory:.
type Checkpoint struct {
	// 1 when recovery needs the log, 0 when everything is in the database file.
	LogNeeded uint64
	// 1 at creation, one more with each checkpoint.
	Sequence uint64
	// Commits up to this timestamp are in the tree.
	Timestamp uint64
	// Where replay of the log starts.
	LogPosition uint64
	// When it was written.
	WallTimeNs uint64
}

// fields lists the numbers of the record in the order in which the raw layer gives them.
func (r *Checkpoint) fields() []*uint64 {
	return []*uint64{
		&r.LogNeeded,
		&r.Sequence,
		&r.Timestamp,
		&r.LogPosition,
		&r.WallTimeNs,
	}
}

// Stats: Counters of one engine since it was opened. They are read one by one, not at one instant.
type Stats struct {
	// 1 when a failed write or sync has ended all further writing.
	Poisoned uint64
	// Transactions that wrote and were committed.
	Commits uint64
	// Transactions that wrote nothing and were committed.
	CommitsReadOnly uint64
	// Transactions that were rolled back.
	Rollbacks uint64
	// Commits that were answered with a conflict.
	Conflicts uint64
	// Log batches; commits / groups is the mean group size.
	Groups uint64
	// Keys looked up.
	Gets uint64
	// Keys stored.
	Puts uint64
	// Keys removed.
	Deletes uint64
	// Rows that cursors stepped over.
	CursorSteps uint64
	// Transactions that have not ended.
	TransactionsLive uint64
	// Snapshots that are held.
	SnapshotsLive uint64
	// Views that are not released.
	ViewsLive uint64
	// Age of the oldest snapshot; 0 when none is held.
	OldestSnapshotAgeNs uint64
	// Commit timestamp that a new snapshot reads at.
	VisibleTimestamp uint64
	// Keyspaces that exist.
	Keyspaces uint64
	// Distinct keys in the in-memory index of recent commits.
	DeltaKeys uint64
	// Versions in it.
	DeltaVersions uint64
	// Memory that it takes.
	DeltaBytes uint64
	// Position of the oldest byte that the log keeps.
	LogStart uint64
	// Position after the last append.
	LogTail uint64
	// Everything below this position is on stable storage.
	LogDurable uint64
	// Size of the log file.
	LogFileBytes uint64
	// Segments of the log file.
	LogSegments uint64
	// Segments that were used again.
	LogSegmentsRecycled uint64
	// Batches appended.
	LogAppends uint64
	// Bytes appended.
	LogAppendedBytes uint64
	// Syncs of the log file.
	LogSyncs uint64
	// Requests that another request's sync served.
	LogSyncsShared uint64
	// Time spent in syncs.
	LogSyncNsTotal uint64
	// Longest sync.
	LogSyncNsMax uint64
	// 1 when the log writes with O_DSYNC, 0 when it uses fdatasync.
	LogUsesDsync uint64
	// Log batches that were replayed at open.
	RecoveryBatches uint64
	// Bytes that were replayed at open.
	RecoveryBytes uint64
	// Time that the replay took.
	RecoveryNs uint64
	// Memory counted against memory_limit.
	MemoryBytes uint64
	// The limit in force.
	MemoryLimit uint64
	// Checkpoints that drains have published; a drain that changes much publishes several.
	Checkpoints uint64
	// Drains that failed, and were or will be tried again.
	DrainFailures uint64
	// Time spent in drains.
	DrainNs uint64
	// Pages that drains wrote.
	DrainPagesWritten uint64
	// Pages that drains read from the file.
	DrainPagesRead uint64
	// What drains wrote: pages and large values.
	DrainBytesWritten uint64
	// How often writes of a transaction were moved to the file before its commit.
	Spills uint64
	// Keys and values that were.
	SpilledBytes uint64
	// Threads that a drain may use.
	DrainThreads uint64
	// Parts of trees that drains have merged side by side; 0: all of them were merged on one thread.
	DrainParts uint64
	// Time that commits were held up because drains were behind.
	ThrottledNs uint64
	// Commits that waited because memory_limit was reached.
	ThrottleWaits uint64
	// The limit of the page cache in force.
	CacheLimit uint64
	// Memory that the page cache takes.
	CacheResident uint64
	// Pages in the cache.
	CachePages uint64
	// Memory of pages that views pin.
	CachePinned uint64
	// Pages read from the file: misses.
	CacheLoads uint64
	// Pages that made room for others.
	CacheEvictions uint64
	// Size of the database file.
	FileBytes uint64
	// What the newest checkpoint uses of it.
	FileUsed uint64
	// What can be written anew.
	FileFree uint64
	// What only old snapshots or the checkpoint before the newest still need.
	FileHeld uint64
}

// fields lists the numbers of the record in the order in which the raw layer gives them.
func (r *Stats) fields() []*uint64 {
	return []*uint64{
		&r.Poisoned,
		&r.Commits,
		&r.CommitsReadOnly,
		&r.Rollbacks,
		&r.Conflicts,
		&r.Groups,
		&r.Gets,
		&r.Puts,
		&r.Deletes,
		&r.CursorSteps,
		&r.TransactionsLive,
		&r.SnapshotsLive,
		&r.ViewsLive,
		&r.OldestSnapshotAgeNs,
		&r.VisibleTimestamp,
		&r.Keyspaces,
		&r.DeltaKeys,
		&r.DeltaVersions,
		&r.DeltaBytes,
		&r.LogStart,
		&r.LogTail,
		&r.LogDurable,
		&r.LogFileBytes,
		&r.LogSegments,
		&r.LogSegmentsRecycled,
		&r.LogAppends,
		&r.LogAppendedBytes,
		&r.LogSyncs,
		&r.LogSyncsShared,
		&r.LogSyncNsTotal,
		&r.LogSyncNsMax,
		&r.LogUsesDsync,
		&r.RecoveryBatches,
		&r.RecoveryBytes,
		&r.RecoveryNs,
		&r.MemoryBytes,
		&r.MemoryLimit,
		&r.Checkpoints,
		&r.DrainFailures,
		&r.DrainNs,
		&r.DrainPagesWritten,
		&r.DrainPagesRead,
		&r.DrainBytesWritten,
		&r.Spills,
		&r.SpilledBytes,
		&r.DrainThreads,
		&r.DrainParts,
		&r.ThrottledNs,
		&r.ThrottleWaits,
		&r.CacheLimit,
		&r.CacheResident,
		&r.CachePages,
		&r.CachePinned,
		&r.CacheLoads,
		&r.CacheEvictions,
		&r.FileBytes,
		&r.FileUsed,
		&r.FileFree,
		&r.FileHeld,
	}
}

// CheckReport: How far a verification or a salvage has come, and what it has found so far.
type CheckReport struct {
	// 1 when there is nothing left to do.
	Finished uint64
	// Everything that is not as it should be. 0 at the end: the database is sound, or all of it was copied.
	Problems uint64
	// Read so far.
	DoneBytes uint64
	// What will have been read at the end: an estimate, and never below done_bytes.
	TotalBytes uint64
	// Number of the checkpoint that is looked at.
	Checkpoint uint64
	// Keyspaces that were found.
	Keyspaces uint64
	// Pages that are sound.
	Pages uint64
	// Values that are stored outside of pages, and sound.
	Extents uint64
	// Rows on sound pages; of a salvage, rows that were copied from pages.
	Rows uint64
	// Bytes of extents.
	ValueBytes uint64
	// Pages that cannot be read, or are not what they should be.
	LostPages uint64
	// Likewise, values that are stored outside of pages.
	LostExtents uint64
	// Rows that are lost with those, as far as other pages tell.
	LostRows uint64
	// Space that is in use and belongs to nothing. No data is lost with it.
	UnreachedBytes uint64
	// Of a salvage: commits that were applied from the log.
	LogCommits uint64
	// ProblemTexts has the first 32 problems, one line each, with file, block, keyspace and keys where
	// they are known.
	ProblemTexts []string
}

// fields lists the numbers of the record in the order in which the raw layer gives them.
func (r *CheckReport) fields() []*uint64 {
	return []*uint64{
		&r.Finished,
		&r.Problems,
		&r.DoneBytes,
		&r.TotalBytes,
		&r.Checkpoint,
		&r.Keyspaces,
		&r.Pages,
		&r.Extents,
		&r.Rows,
		&r.ValueBytes,
		&r.LostPages,
		&r.LostExtents,
		&r.LostRows,
		&r.UnreachedBytes,
		&r.LogCommits,
	}
}
