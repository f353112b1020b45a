package keel

import (
	"io/fs"
	"runtime"
	"time"
)

// Memory is the path of a private database without files.
const Memory = ":memory:"

// Durability says when a commit is acknowledged.
type Durability uint32

const (
	// DurabilityDefault is, for a transaction, that of its database; for a database, DurabilityFull.
	DurabilityDefault Durability = cDurabilityDefault
	// DurabilityFull acknowledges a commit when it is on stable storage.
	DurabilityFull Durability = cDurabilityFull
	// DurabilityGroup acknowledges at once; the commit is on stable storage within the group interval.
	DurabilityGroup Durability = cDurabilityGroup
	// DurabilityNone acknowledges at once; the system writes when it gets round to it. Order is kept, and nothing is
	// half-done after a crash.
	DurabilityNone Durability = cDurabilityNone
)

// Isolation says what a transaction that writes is protected from.
type Isolation uint32

const (
	IsolationDefault         Isolation = cIsolationDefault
	IsolationSerializable    Isolation = cIsolationSerializable
	IsolationSnapshot        Isolation = cIsolationSnapshot
	IsolationReadCommitted   Isolation = cIsolationReadCommitted
	IsolationRepeatableRead  Isolation = cIsolationRepeatableRead
	IsolationReadUncommitted Isolation = cIsolationReadUncommitted
)

// Options of Open. The zero value is a good choice.
type Options struct {
	// ReadOnly takes a shared lock and never writes anything; the database must exist.
	ReadOnly bool
	// MustExist gives ErrNoFile when there is no database at the path.
	MustExist bool
	// MustCreate gives ErrExists when there is one.
	MustCreate bool
	// Durability of transactions that do not say otherwise.
	Durability Durability
	// GroupInterval bounds what DurabilityGroup can lose; whole milliseconds, 0: chosen by Keel.
	GroupInterval time.Duration
	// MemoryLimit is the most memory, in bytes, for commits that are not drained into the file's trees yet; commits are
	// slowed as it fills. 0: half of the machine's memory.
	MemoryLimit uint64
	// CacheSize is the most memory, in bytes, for pages of the file; less than 8 MiB counts as that. 0: a quarter of the
	// machine's memory.
	CacheSize uint64
	// DeltaSize is how many bytes are committed before they are drained into the trees, in the background. More makes
	// random writes cheaper, and recovery longer. 0: a 32nd of MemoryLimit, from 4 MiB to 256 MiB.
	DeltaSize uint64
	// DrainThreads is how many threads a drain of much merges on, at most 64. 0: half of the processors, from 1 to 4.
	DrainThreads uint64
	// LogSegmentSize in bytes, a power of two, for a new database; 0: chosen by Keel.
	LogSegmentSize uint64
	// PageSize in bytes, a power of two from 4096 to 65536, for a new database; 0: chosen by Keel.
	PageSize uint32
	// FileMode of new files; 0: 0600.
	FileMode fs.FileMode
}

func (o *Options) flags() uint {
	var flags uint
	if o.ReadOnly {
		flags |= cOpenReadOnly
	}
	if o.MustExist {
		flags |= cOpenNoCreate
	}
	if o.MustCreate {
		flags |= cOpenMustCreate
	}
	return flags
}

// DB is an open database. Safe for use by many goroutines.
type DB struct {
	handle uint64
	path   string
}

// Open opens the database at path and makes it when there is none. Memory (":memory:") is a private one without
// files. One path may be opened several times in a process; a second process gets ErrLocked. nil options are the defaults.
func Open(path string, options *Options) (*DB, error) {
	if options == nil {
		options = &Options{}
	}
	if options.GroupInterval < 0 || options.GroupInterval%time.Millisecond != 0 {
		return nil, usage(ErrInvalid, "GroupInterval must be whole milliseconds, not "+options.GroupInterval.String())
	}
	text, err := cString("path", path)
	if err != nil {
		return nil, err
	}
	c := newCall()
	status := rawOpen(text, options.flags(), uint(options.Durability), uint(options.PageSize),
		uint(options.GroupInterval/time.Millisecond), uint(options.FileMode.Perm()), options.LogSegmentSize,
		options.MemoryLimit, options.CacheSize, options.DeltaSize, options.DrainThreads, &c.handle, &c.err)
	handle := c.handle
	if err := c.done(status); err != nil {
		return nil, err
	}
	return &DB{handle: handle, path: path}, nil
}

// Path is what Open was given.
func (db *DB) Path() string { return db.path }

// Close closes this opening of the database. What was opened from it and is still open keeps the engine (and the lock on
// the file) until it is closed too. The last of them drains all commits into the file and removes the log beside it: what
// remains is one file. A second Close gives ErrHandle.
func (db *DB) Close() error {
	c := newCall()
	return c.done(rawClose(db.handle, &c.err))
}

// Flush returns when everything acknowledged so far is on stable storage.
func (db *DB) Flush() error {
	c := newCall()
	return c.done(rawFlush(db.handle, &c.err))
}

// MakeCheckpoint drains what has been committed into the trees of the database file, and returns when a checkpoint holds it.
// The engine does so by itself, in the background and at the end; this is for measurements, before the file is copied, and
// before a long idle time. Others go on reading and writing meanwhile.
func (db *DB) MakeCheckpoint() error {
	c := newCall()
	return c.done(rawMakeCheckpoint(db.handle, &c.err))
}

// Compact gives space back: it moves data towards the front of the file and cuts it, until it is hardly longer than its data.
// What old snapshots hold is not waited for. Others go on reading and writing meanwhile; an error loses nothing, and calling it
// again goes on. A file that is mostly free becomes shorter by itself, slowly.
func (db *DB) Compact() error {
	c := newCall()
	return c.done(rawCompact(db.handle, &c.err))
}

// SetCacheSize changes how many bytes of memory are for pages of the database file, for everyone who has it open in this process.
// More counts at once; for less, pages go until it is met. Less than 8 MiB counts as that; ErrInvalid for more than four times
// what it was opened with, if that is more than 16 GiB.
func (db *DB) SetCacheSize(bytes uint64) error {
	c := newCall()
	return c.done(rawSetCacheSize(db.handle, bytes, &c.err))
}

// Stats are counters and gauges of the engine.
func (db *DB) Stats() (Stats, error) {
	var stats Stats
	err := db.record(stats.fields(), rawGetStats)
	return stats, err
}

// LastCheckpoint says up to where the database file itself is complete; the log has what came after.
func (db *DB) LastCheckpoint() (Checkpoint, error) {
	var checkpoint Checkpoint
	err := db.record(checkpoint.fields(), rawLastCheckpoint)
	return checkpoint, err
}

func (db *DB) record(fields []*uint64, read func(uint64, []uint64, *rawError) int32) error {
	c := newCall()
	values := make([]uint64, len(fields))
	status := read(db.handle, values, &c.err)
	for i, field := range fields {
		*field = values[i]
	}
	return c.done(status)
}

// Version is that of the engine, for example "0.1.0".
func Version() string {
	c := newCall()
	defer c.free()
	return string(c.buffer[:rawKeelgoVersion(c.buffer[:])])
}

// Feature says whether the engine has an optional feature; an unknown name gives ErrInvalid.
func Feature(name string) (bool, error) {
	text, err := cString("name", name)
	if err != nil {
		return false, err
	}
	c := newCall()
	status := rawFeature(text, &c.flag, &c.err)
	enabled := c.flag != 0
	return enabled, c.done(status)
}

// Keyspace is a named, ordered map of byte keys to byte values. Safe for use by many goroutines. What is open of it is
// closed by Close, or when the garbage collector finds that nobody can use it any more.
type Keyspace struct {
	handle  uint64
	name    string
	cleanup runtime.Cleanup
}

// Keyspace opens a keyspace and makes it when there is none of that name (1 to 255 bytes of UTF-8).
func (db *DB) Keyspace(name string) (*Keyspace, error) { return db.keyspace(name, 0) }

// ExistingKeyspace opens a keyspace; ErrKeyspaceNotFound when there is none of that name.
func (db *DB) ExistingKeyspace(name string) (*Keyspace, error) {
	return db.keyspace(name, cKeyspaceNoCreate)
}

func (db *DB) keyspace(name string, flags uint) (*Keyspace, error) {
	c := newCall()
	status := rawKeyspaceOpen(db.handle, name, flags, &c.handle, &c.err)
	handle := c.handle
	if err := c.done(status); err != nil {
		return nil, err
	}
	ks := &Keyspace{handle: handle, name: name}
	ks.cleanup = runtime.AddCleanup(ks, closeQuietly(rawKeyspaceClose), handle)
	return ks, nil
}

// closeQuietly makes a cleanup of a raw function that closes a handle.
func closeQuietly(closing func(uint64, *rawError) int32) func(uint64) {
	return func(handle uint64) {
		c := newCall()
		_ = c.done(closing(handle, &c.err))
	}
}

// Name is the name of the keyspace.
func (ks *Keyspace) Name() string { return ks.name }

// Close gives the handle back; the data stays.
func (ks *Keyspace) Close() error {
	ks.cleanup.Stop()
	c := newCall()
	return c.done(rawKeyspaceClose(ks.handle, &c.err))
}

// DropKeyspace removes a keyspace with all its rows. Transactions that began before keep seeing them.
func (db *DB) DropKeyspace(name string) error {
	c := newCall()
	return c.done(rawKeyspaceDrop(db.handle, name, &c.err))
}

// Keyspaces are the names of all keyspaces, in order.
func (db *DB) Keyspaces() ([]string, error) {
	batch, err := newRowBatch()
	if err != nil {
		return nil, err
	}
	defer batch.close()
	c := newCall()
	if err := c.done(rawKeyspaceList(db.handle, batch.handle, &c.err)); err != nil {
		return nil, err
	}
	if err := batch.load(); err != nil {
		return nil, err
	}
	names := make([]string, batch.count())
	for i := range names {
		names[i] = string(batch.key(i))
	}
	return names, nil
}
