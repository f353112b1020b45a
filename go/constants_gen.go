// Code generated from bindings/api/keel.yml by tools/gen. DO NOT EDIT.

package keel

// Version of the description that this file was generated from.
const (
	headerVersion       = "0.1.0"
	headerVersionNumber = 1000
)

// Limits.
const (
	// Longest key. Empty keys are allowed. In bytes.
	limitMaxKeySize = 1024
	// Longest value. Empty values are allowed. In bytes.
	limitMaxValueSize = 2147483647
	// Longest name of a keyspace; the shortest has 1 byte. In bytes.
	limitMaxKeyspaceNameSize = 255
	// Longest path, without the terminating zero byte. In bytes.
	limitMaxPathSize = 4095
	// Longest label of a transaction, without the terminating zero byte. In bytes.
	limitMaxLabelSize = 255
	// Most keys in one call of keel_get_many. In keys.
	limitMaxGetMany = 16777216
	// Largest struct_size that is ever accepted. In bytes.
	limitMaxStructSize = 4096
	// Room for a message in keel_error, with the terminating zero byte. In bytes.
	limitErrorMessageSize = 248
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
	// Serializable.
	cIsolationDefault = 0
	// As if transactions ran one after the other.
	cIsolationSerializable = 1
	// One snapshot for all reads; write conflicts are detected.
	cIsolationSnapshot = 2
	// Reads may see what others commit meanwhile.
	cIsolationReadCommitted = 3
	// Accepted for its name, and given the next stronger level that exists.
	cIsolationRepeatableRead = 4
	// Accepted for its name, and given the next stronger level that exists.
	cIsolationReadUncommitted = 5
)

// What an entry of a packed buffer for keel_write_batch does.
const (
	// Stores the value under the key.
	cBatchPut = 1
	// Removes the key; value_size is 0.
	cBatchDelete = 2
)

// Status codes.
const (
	// Success. What to do: Nothing.
	statusOk = 0
	// An argument or option has a value that is never valid (a null pointer, an unknown flag, a number out of range, text that is not UTF-8). What to do: Correct the call; the message names the argument.
	statusInvalid = -101
	// A handle is 0, was never given out, is closed, is of another kind, or belongs to another database than the other handles of the call. What to do: Correct the program; nothing was touched.
	statusHandle = -102
	// The transaction was committed or rolled back before (also seen through a cursor of it). What to do: Begin a new transaction.
	statusFinished = -103
	// A write was asked of a read-only transaction or of a database that was opened read-only. What to do: Begin a transaction that may write, or open the database without KEEL_OPEN_READ_ONLY.
	statusReadOnly = -104
	// A key is longer than KEEL_MAX_KEY_SIZE bytes. What to do: Use shorter keys, for example a hash of the long one.
	statusKeySize = -105
	// A value is longer than KEEL_MAX_VALUE_SIZE bytes. What to do: Split the value over several keys.
	statusValueSize = -106
	// The caller's buffer is too small; the size that is needed was stored. What to do: Call again with a buffer of that size.
	statusBufferSize = -107
	// Another thread is inside a call on the same transaction, cursor or batch at this moment. What to do: Use a transaction, its cursors and a batch from one thread at a time.
	statusConcurrentUse = -108
	// The handle was made before fork() and is used in the child. Nothing of the parent's was touched. What to do: Open the database anew in the child.
	statusForked = -109
	// The database is being closed. What to do: Open it again.
	statusClosed = -110
	// The program asks for something that this version of the library does not know or does not have (for example a field of an option struct from a newer header, set to a value other than 0). What to do: Use a newer library, or leave the option at its default.
	statusUnsupported = -111
	// The key has no value, or the cursor has no row there. What to do: An ordinary answer.
	statusNotFound = -201
	// The keyspace does not exist, or was dropped after it was opened. What to do: Open it without KEEL_KEYSPACE_NO_CREATE to make it.
	statusKeyspaceNotFound = -202
	// There is no database at that path, and the options forbid to make one; or the directory does not exist. What to do: Correct the path, or open without KEEL_OPEN_NO_CREATE and KEEL_OPEN_READ_ONLY.
	statusNoFile = -203
	// There is something already where something new was to be made. What to do: Choose another path, or open without KEEL_OPEN_MUST_CREATE.
	statusExists = -204
	// Another transaction committed a write that this one depends on. Nothing of this one was stored. What to do: Run the whole transaction again from its beginning, on a new snapshot.
	statusConflict = -301
	// The transaction was chosen to end a circle of transactions that wait for each other. Nothing of it was stored. What to do: Run the whole transaction again.
	statusDeadlock = -302
	// The transaction's snapshot was ended because it was older than a limit allows. What to do: Run the whole transaction again, on a new snapshot; keep transactions shorter.
	statusSnapshotTooOld = -303
	// It cannot be told whether the commit took effect. What to do: Look whether its writes are there before running it again, or make the transaction safe to repeat.
	statusCommitUnknown = -304
	// Another process has the database open; the message names it where it can. What to do: Wait for the other process, or end it, and open again.
	statusLocked = -401
	// The time that the caller allowed is over. What to do: Try again later or allow more time.
	statusTimeout = -402
	// The caller cancelled the operation. What to do: Nothing.
	statusCancelled = -403
	// The operating system failed to read or write; system_errno and the message say which call, which file, and why. What to do: Look at the device and its log; reopen the database when it is healthy again.
	statusIO = -501
	// The file system has no room (or the quota is used up). Everything acknowledged before is safe. What to do: Make room, then go on; reopen when the message says that the database is poisoned.
	statusDiskFull = -502
	// The operating system does not allow access to the file or its directory. What to do: Correct the permissions, or run as another user.
	statusPermission = -503
	// The file system is mounted read-only. What to do: Open with KEEL_OPEN_READ_ONLY, or mount it writable.
	statusReadOnlyMedia = -504
	// The path names a directory, a device or something else that is not a regular file. What to do: Correct the path.
	statusNotAFile = -505
	// An earlier write or sync failed, so that nothing more can be promised; everything acknowledged before is safe. What to do: Close every handle of the database, look at the cause (the first error named it), and open again.
	statusPoisoned = -506
	// A checksum or structure in the file is wrong; the message names file and offset. The file was left as it was. What to do: Check the device; restore from a backup.
	statusCorrupt = -601
	// The file is not a Keel database. What to do: Correct the path.
	statusFormat = -602
	// The file was written by a newer Keel, in a format that this version does not know. It was left as it was. What to do: Use a newer library.
	statusVersion = -603
	// Memory could not be allocated. Nothing was changed. What to do: Free memory and try again.
	statusNoMemory = -701
	// A bound was reached (memory limit of the database, number of handles, number of rows); the message names it. What to do: Raise the limit in the options, or do less at once.
	statusLimit = -702
	// Something that Keel takes for impossible happened; the database is poisoned. What to do: Please report it with the message. Close every handle of the database and open it again.
	statusInternal = -901
)

// statusInfo is what is known about a status.
type statusInfo struct {
	symbol    string
	name      string
	class     string
	retryable bool
}

var statusInfos = map[int32]statusInfo{
	statusOk:               {"KEEL_OK", "ok", "ok", false},
	statusInvalid:          {"KEEL_E_INVALID", "invalid", "usage", false},
	statusHandle:           {"KEEL_E_HANDLE", "handle", "usage", false},
	statusFinished:         {"KEEL_E_FINISHED", "finished", "usage", false},
	statusReadOnly:         {"KEEL_E_READ_ONLY", "read_only", "usage", false},
	statusKeySize:          {"KEEL_E_KEY_SIZE", "key_size", "usage", false},
	statusValueSize:        {"KEEL_E_VALUE_SIZE", "value_size", "usage", false},
	statusBufferSize:       {"KEEL_E_BUFFER_SIZE", "buffer_size", "usage", false},
	statusConcurrentUse:    {"KEEL_E_CONCURRENT_USE", "concurrent_use", "usage", false},
	statusForked:           {"KEEL_E_FORKED", "forked", "usage", false},
	statusClosed:           {"KEEL_E_CLOSED", "closed", "usage", false},
	statusUnsupported:      {"KEEL_E_UNSUPPORTED", "unsupported", "usage", false},
	statusNotFound:         {"KEEL_E_NOT_FOUND", "not_found", "not_found", false},
	statusKeyspaceNotFound: {"KEEL_E_KEYSPACE_NOT_FOUND", "keyspace_not_found", "not_found", false},
	statusNoFile:           {"KEEL_E_NO_FILE", "no_file", "not_found", false},
	statusExists:           {"KEEL_E_EXISTS", "exists", "not_found", false},
	statusConflict:         {"KEEL_E_CONFLICT", "conflict", "conflict", true},
	statusDeadlock:         {"KEEL_E_DEADLOCK", "deadlock", "conflict", true},
	statusSnapshotTooOld:   {"KEEL_E_SNAPSHOT_TOO_OLD", "snapshot_too_old", "conflict", true},
	statusCommitUnknown:    {"KEEL_E_COMMIT_UNKNOWN", "commit_unknown", "conflict", false},
	statusLocked:           {"KEEL_E_LOCKED", "locked", "busy", false},
	statusTimeout:          {"KEEL_E_TIMEOUT", "timeout", "busy", false},
	statusCancelled:        {"KEEL_E_CANCELLED", "cancelled", "busy", false},
	statusIO:               {"KEEL_E_IO", "io", "io", false},
	statusDiskFull:         {"KEEL_E_DISK_FULL", "disk_full", "io", false},
	statusPermission:       {"KEEL_E_PERMISSION", "permission", "io", false},
	statusReadOnlyMedia:    {"KEEL_E_READ_ONLY_MEDIA", "read_only_media", "io", false},
	statusNotAFile:         {"KEEL_E_NOT_A_FILE", "not_a_file", "io", false},
	statusPoisoned:         {"KEEL_E_POISONED", "poisoned", "io", false},
	statusCorrupt:          {"KEEL_E_CORRUPT", "corrupt", "corrupt", false},
	statusFormat:           {"KEEL_E_FORMAT", "format", "corrupt", false},
	statusVersion:          {"KEEL_E_VERSION", "version", "corrupt", false},
	statusNoMemory:         {"KEEL_E_NO_MEMORY", "no_memory", "resource", false},
	statusLimit:            {"KEEL_E_LIMIT", "limit", "resource", false},
	statusInternal:         {"KEEL_E_INTERNAL", "internal", "internal", false},
}
