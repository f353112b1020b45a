package keel

import (
	"context"
	"errors"
	"iter"
	"runtime"
)

// LoadOptions of Load and BeginLoad. The zero value is a good choice.
type LoadOptions struct {
	// Replace drops a keyspace of that name in the moment in which the new one is there; without it that is ErrExists.
	Replace bool
	// BufferSize is how many bytes of rows out of order are collected before they are sorted and written, from 64 KiB to
	// 1 GiB. 0: an eighth of MemoryLimit, from 1 MiB to 32 MiB.
	BufferSize uint64
}

// loadBatch is how many bytes of rows Load gives to C in one call; rows that are larger go alone.
const loadBatch = 1 << 20

// Load makes a keyspace of very many rows, much faster than transactions: past the log, straight into the file. The rows may
// come in any order; in that of their keys each is written once, otherwise they are sorted on disk. Of several with one key
// the last one stays. The keyspace is there, whole and on stable storage, when Load returns nil; before that nobody sees
// anything of it, and after an error, a panic in rows or a crash nothing is left. ErrExists when there is a keyspace of that
// name, unless options say otherwise. ctx is looked at between rows. Rows whose source can fail are given to BeginLoad.
func (db *DB) Load(ctx context.Context, name string, rows iter.Seq2[[]byte, []byte],
	options *LoadOptions) (LoadReport, error) {
	if err := ctx.Err(); err != nil {
		return LoadReport{}, err
	}
	load, err := db.BeginLoad(name, options)
	if err != nil {
		return LoadReport{}, err
	}
	defer load.Close() // also when rows panics
	if err := load.putAll(ctx, rows); err != nil {
		return LoadReport{}, err
	}
	return load.Finish()
}

func (load *Loader) putAll(ctx context.Context, rows iter.Seq2[[]byte, []byte]) error {
	var batch Batch
	for key, value := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		large := len(key) > MaxKeySize || len(value) >= loadBatch // those that are too large, too: C says so
		if large || len(batch.ops) >= loadBatch {
			if err := load.Write(&batch); err != nil {
				return err
			}
			batch.Reset()
		}
		if !large {
			batch.Put(key, value)
		} else if err := load.Put(key, value); err != nil {
			return err
		}
	}
	if err := load.Write(&batch); err != nil {
		return err
	}
	return ctx.Err()
}

// Loader is a load under way: see Load. Used by one goroutine at a time.
type Loader struct {
	handle  uint64
	ended   bool
	cleanup runtime.Cleanup
}

// BeginLoad begins a load whose rows are given one by one or in batches, and which the caller ends with Finish and Close:
//
//	load, err := db.BeginLoad("cities", nil)
//	if err != nil {
//		return err
//	}
//	defer load.Close()
//	for scanner.Scan() {
//		if err := load.Put(parse(scanner.Bytes())); err != nil {
//			return err
//		}
//	}
//	if err := scanner.Err(); err != nil {
//		return err
//	}
//	_, err = load.Finish()
//	return err
func (db *DB) BeginLoad(name string, options *LoadOptions) (*Loader, error) {
	if options == nil {
		options = &LoadOptions{}
	}
	var flags uint
	if options.Replace {
		flags = cLoadReplace
	}
	c := newCall()
	status := rawLoadBegin(db.handle, name, flags, options.BufferSize, &c.handle, &c.err)
	handle := c.handle
	if err := c.done(status); err != nil {
		return nil, err
	}
	load := &Loader{handle: handle}
	load.cleanup = runtime.AddCleanup(load, closeQuietly(rawLoadEnd), handle)
	return load, nil
}

// Put takes a row. Write is faster for many small ones.
func (load *Loader) Put(key, value []byte) error {
	c := newCall()
	status := rawLoadPut(load.handle, key, value, &c.err)
	runtime.KeepAlive(load)
	return c.done(status)
}

// Write takes the rows of a batch, at most 2 GiB, in one call; one that deletes is ErrInvalid. After an error that came from
// the disk some of the rows may have been taken; giving them again does no harm.
func (load *Loader) Write(batch *Batch) error {
	c := newCall()
	status := rawLoadBatch(load.handle, batch.ops, &c.first, &c.err)
	runtime.KeepAlive(load)
	return c.done(status)
}

// Finish makes the keyspace of the rows: it is there, and on stable storage, when Finish returns nil. After an error the load
// is as before: call Finish again, or Close.
func (load *Loader) Finish() (LoadReport, error) {
	var report LoadReport
	fields := report.fields()
	values := make([]uint64, len(fields))
	c := newCall()
	status := rawLoadFinish(load.handle, values, &c.err)
	runtime.KeepAlive(load)
	if err := c.done(status); err != nil {
		return LoadReport{}, err
	}
	for i, field := range fields {
		*field = values[i]
	}
	return report, load.Close()
}

// Close ends the load. One that was not finished leaves nothing. Closing it again, or after Finish, does nothing, so that
// `defer load.Close()` is safe.
func (load *Loader) Close() error {
	if load.ended {
		return nil
	}
	c := newCall()
	err := c.done(rawLoadEnd(load.handle, &c.err))
	if !errors.Is(err, ErrConcurrentUse) {
		load.ended = true
		load.cleanup.Stop()
	}
	return err
}
