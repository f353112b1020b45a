package keel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"
)

// TxOptions of Begin and UpdateWith. The zero value is a good choice.
type TxOptions struct {
	// ReadOnly transactions cannot write, are never validated and never conflict.
	ReadOnly   bool
	Isolation  Isolation
	Durability Durability
	// Label names the creator in statistics; at most 255 bytes.
	Label string
	// Attempts bounds how often UpdateWith runs the function; 0: DefaultAttempts.
	Attempts int
}

// DefaultAttempts is how often Update runs its function before it gives up with the last conflict.
const DefaultAttempts = 100

// Tx is a transaction: it reads one snapshot, sees its own writes, and commits them atomically over all keyspaces. Used by one
// goroutine at a time.
type Tx struct {
	handle  uint64
	attempt int
	cleanup runtime.Cleanup
}

// Begin begins a transaction that the caller ends with Commit or Rollback; Update and View are simpler.
func (db *DB) Begin(options *TxOptions) (*Tx, error) {
	if options == nil {
		options = &TxOptions{}
	}
	var flags uint
	if options.ReadOnly {
		flags = cTxnReadOnly
	}
	var label []byte
	if options.Label != "" {
		var err error
		if label, err = cString("label", options.Label); err != nil {
			return nil, err
		}
	}
	c := newCall()
	status := rawBegin(db.handle, flags, uint(options.Isolation), uint(options.Durability), label, &c.handle, &c.err)
	handle := c.handle
	if err := c.done(status); err != nil {
		return nil, err
	}
	tx := &Tx{handle: handle, attempt: 1}
	tx.cleanup = runtime.AddCleanup(tx, closeQuietly(rawRollback), handle)
	return tx, nil
}

// Commit ends the transaction and stores its writes, atomically; when it returns nil they are as durable as was asked.
// It ends the transaction whatever it returns. ErrConflict: another transaction committed a write to one of its keys
// after its snapshot; nothing was stored; run the whole transaction again, or use Update, which does so.
func (tx *Tx) Commit() error {
	tx.cleanup.Stop()
	c := newCall()
	return c.done(rawCommit(tx.handle, nil, &c.err))
}

// Rollback ends the transaction and forgets its writes. After Commit or Rollback it gives ErrFinished and does nothing, so
// that `defer tx.Rollback()` is safe.
func (tx *Tx) Rollback() error {
	tx.cleanup.Stop()
	c := newCall()
	return c.done(rawRollback(tx.handle, &c.err))
}

// Attempt says the how-manieth run of Update's function this is, from 1.
func (tx *Tx) Attempt() int { return tx.attempt }

// View runs fn in a read-only transaction. ctx is asked before it begins.
func (db *DB) View(ctx context.Context, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := db.Begin(&TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return fn(tx)
}

// Update runs fn in a transaction and commits it. When fn returns an error or panics, it is rolled back. When it lost against
// another transaction, fn is run again on a new snapshot, after a short random pause that grows: fn must have no effect
// outside the transaction that may not be repeated. It must not commit or roll back by itself. ctx ends the repetition.
func (db *DB) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return db.UpdateWith(ctx, nil, fn)
}

// UpdateWith is Update with options.
func (db *DB) UpdateWith(ctx context.Context, options *TxOptions, fn func(tx *Tx) error) error {
	attempts := DefaultAttempts
	if options != nil && options.Attempts > 0 {
		attempts = options.Attempts
	}
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := db.runOnce(options, attempt, fn)
		var failed *Error
		if err == nil || !errors.As(err, &failed) || !failed.Code.Retryable() {
			return err
		}
		if attempt >= attempts {
			return fmt.Errorf("gave up after %d attempts: %w", attempt, err)
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (db *DB) runOnce(options *TxOptions, attempt int, fn func(tx *Tx) error) error {
	tx, err := db.Begin(options)
	if err != nil {
		return err
	}
	tx.attempt = attempt
	finished := false
	defer func() { // also when fn panics
		if !finished {
			_ = tx.Rollback()
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	finished = true
	return tx.Commit()
}

// The pause after a conflict: uniform in [0, pauseFirst * 2^attempt), at most pauseMost ("full jitter").
const (
	pauseFirst = 50 * time.Microsecond
	pauseMost  = 50 * time.Millisecond
)

func pause(ctx context.Context, attempt int) error {
	most := min(pauseFirst<<min(attempt, 16), pauseMost)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get gives the value of a key, a slice of the caller's own; ErrNotFound when it has none.
func (tx *Tx) Get(ks *Keyspace, key []byte) ([]byte, error) {
	c := newCall()
	buffer := c.buffer[:]
	var status int32
	for {
		status = rawGetCopy(tx.handle, ks.handle, key, buffer, &c.first, &c.err)
		if Code(status) != ErrBufferSize {
			break
		}
		buffer = make([]byte, c.first)
	}
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	if status != 0 {
		return nil, c.done(status)
	}
	value := buffer[:c.first:c.first]
	if len(value) <= inlineValue {
		value = append(make([]byte, 0, len(value)), value...)
	}
	c.free()
	return value, nil
}

// Has says whether a key has a value.
func (tx *Tx) Has(ks *Keyspace, key []byte) (bool, error) {
	c := newCall()
	status := rawGetCopy(tx.handle, ks.handle, key, nil, &c.first, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	switch Code(status) {
	case 0, ErrBufferSize:
		c.free()
		return true, nil
	case ErrNotFound:
		c.free()
		return false, nil
	}
	return false, c.done(status)
}

// GetMany looks many keys up in one call. The i-th result belongs to the i-th key; nil means that it has no value (an empty value
// is an empty slice).
func (tx *Tx) GetMany(ks *Keyspace, keys [][]byte) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	batch, err := newRowBatch()
	if err != nil {
		return nil, err
	}
	defer batch.close()
	size := 0
	for _, key := range keys {
		size += len(key)
	}
	packed, offsets := make([]byte, 0, size), make([]uint64, 1, len(keys)+1)
	for _, key := range keys {
		packed = append(packed, key...)
		offsets = append(offsets, uint64(len(packed)))
	}
	c := newCall()
	status := rawKeelgoGetMany(tx.handle, ks.handle, packed, offsets, batch.handle, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	if err := c.done(status); err != nil {
		return nil, err
	}
	if err := batch.load(); err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	for i := range values {
		if batch.found[i] != 0 {
			values[i] = batch.value(i)
		}
	}
	return values, nil
}

// Put stores a value under a key.
func (tx *Tx) Put(ks *Keyspace, key, value []byte) error {
	c := newCall()
	status := rawPut(tx.handle, ks.handle, key, value, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	return c.done(status)
}

// Delete removes a key; that it has no value is no error.
func (tx *Tx) Delete(ks *Keyspace, key []byte) error {
	c := newCall()
	status := rawDel(tx.handle, ks.handle, key, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	return c.done(status)
}

// DeleteRange removes every key that the transaction sees from `from` (inclusive) to `to` (exclusive) and says how many there
// were; nil is an open end.
func (tx *Tx) DeleteRange(ks *Keyspace, from, to []byte) (uint64, error) {
	c := newCall()
	status := rawDelRange(tx.handle, ks.handle, from, to, &c.first, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	count := c.first
	if err := c.done(status); err != nil {
		return 0, err
	}
	return count, nil
}

// Write applies a batch in one call.
func (tx *Tx) Write(ks *Keyspace, batch *Batch) error {
	c := newCall()
	status := rawWriteBatch(tx.handle, ks.handle, batch.ops, &c.first, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	return c.done(status)
}
