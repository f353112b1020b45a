package keel

import (
	"iter"
	"runtime"
)

// rowBatch holds rows that C collected, as columns copied into Go memory. Rows that are handed out alias the columns,
// which are made anew by each load.
type rowBatch struct {
	handle    uint64
	keys      []byte
	values    []byte
	found     []byte
	keyEnds   []uint64
	valueEnds []uint64
}

func newRowBatch() (*rowBatch, error) {
	c := newCall()
	status := rawBatchNew(&c.handle, &c.err)
	handle := c.handle
	if err := c.done(status); err != nil {
		return nil, err
	}
	return &rowBatch{handle: handle}, nil
}

func (b *rowBatch) close() { closeQuietly(rawBatchFree)(b.handle) }

// load copies what C has in the batch.
func (b *rowBatch) load() error {
	c := newCall()
	status := rawKeelgoBatchSize(b.handle, &c.handle, &c.first, &c.second, &c.err)
	if status != 0 {
		return c.done(status)
	}
	count := int(c.handle)
	b.keys, b.values, b.found = make([]byte, c.first), make([]byte, c.second), make([]byte, count)
	ends := make([]uint64, 2*count)
	b.keyEnds, b.valueEnds = ends[:count], ends[count:]
	if count == 0 {
		c.free()
		return nil
	}
	return c.done(rawKeelgoBatchCopy(b.handle, b.keys, b.keyEnds, b.values, b.valueEnds, b.found, &c.err))
}

func (b *rowBatch) count() int { return len(b.keyEnds) }

func (b *rowBatch) key(i int) []byte   { return column(b.keys, b.keyEnds, i) }
func (b *rowBatch) value(i int) []byte { return column(b.values, b.valueEnds, i) }

// column cuts a row out; its capacity ends with it, so that append does not run into the next row.
func column(bytes []byte, ends []uint64, i int) []byte {
	var start uint64
	if i > 0 {
		start = ends[i-1]
	}
	return bytes[start:ends[i]:ends[i]]
}

// Range says which rows of a keyspace, and in which direction. The zero value is all of them, ascending.
type Range struct {
	// Lower is the first key, inclusive; nil: from the beginning.
	Lower []byte
	// Upper is where it ends, exclusive; nil: to the end.
	Upper []byte
	// Prefix, when not nil, keeps the keys that begin with it; together with Lower and Upper it narrows further.
	Prefix []byte
	// Reverse walks from the last row to the first.
	Reverse bool
}

// Rows is the result of Tx.Range. Ask Err after the loop.
type Rows struct {
	tx   *Tx
	ks   *Keyspace
	span Range
	err  error
}

// Range walks over rows in key order, as the transaction sees them. They are fetched in batches; the slices belong to the
// caller.
//
//	rows := tx.Range(users, keel.Range{Prefix: []byte("a")})
//	for key, value := range rows.All() { ... }
//	if err := rows.Err(); err != nil { ... }
func (tx *Tx) Range(ks *Keyspace, span Range) *Rows {
	return &Rows{tx: tx, ks: ks, span: span}
}

// Err is what ended the last loop early, or nil.
func (r *Rows) Err() error { return r.err }

// batchRows is how many rows a range fetches at first and at most; it grows, so that a short range stays cheap.
const (
	batchRowsFirst = 32
	batchRowsMost  = 2048
)

// All gives the rows. Each loop over it starts anew.
func (r *Rows) All() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		r.err = r.walk(yield)
	}
}

// Keys gives the keys alone.
func (r *Rows) Keys() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		r.err = r.walk(func(key, _ []byte) bool { return yield(key) })
	}
}

func (r *Rows) walk(yield func([]byte, []byte) bool) error {
	cursor, err := r.tx.Cursor(r.ks, r.span)
	if err != nil {
		return err
	}
	defer cursor.Close()
	batch, err := newRowBatch()
	if err != nil {
		return err
	}
	defer batch.close()
	fetch := rawCursorNextBatch
	if r.span.Reverse {
		fetch = rawCursorPrevBatch
	}
	for limit := uint64(batchRowsFirst); ; limit = min(limit*4, batchRowsMost) {
		c := newCall()
		if err := c.done(fetch(cursor.handle, limit, 0, batch.handle, &c.err)); err != nil {
			return err
		}
		if err := batch.load(); err != nil {
			return err
		}
		for i := range batch.count() {
			if !yield(batch.key(i), batch.value(i)) {
				return nil
			}
		}
		if batch.count() == 0 {
			return nil
		}
	}
}

// Cursor is a position in a keyspace, for moving about; Range is simpler for walking. Close it, or let the garbage
// collector find it.
type Cursor struct {
	tx      *Tx
	handle  uint64
	key     []byte
	value   []byte
	err     error
	cleanup runtime.Cleanup
}

// Cursor opens a cursor over the rows of span (whose Reverse has no meaning here). It stands nowhere: Next goes to the
// first row, Prev to the last.
func (tx *Tx) Cursor(ks *Keyspace, span Range) (*Cursor, error) {
	c := newCall()
	status := rawCursorOpen(tx.handle, ks.handle, span.Lower, span.Upper, span.Prefix, &c.handle, &c.err)
	runtime.KeepAlive(ks)
	handle := c.handle
	if err := c.done(status); err != nil {
		return nil, err
	}
	cursor := &Cursor{tx: tx, handle: handle}
	cursor.cleanup = runtime.AddCleanup(cursor, closeQuietly(rawCursorClose), handle)
	return cursor, nil
}

// Close gives the handle back.
func (cur *Cursor) Close() error {
	cur.cleanup.Stop()
	c := newCall()
	return c.done(rawCursorClose(cur.handle, &c.err))
}

// First moves to the first row. Like the other moves it says whether there is a row; on false ask Err.
func (cur *Cursor) First() bool { return cur.move(rawCursorFirst) }

// Last moves to the last row.
func (cur *Cursor) Last() bool { return cur.move(rawCursorLast) }

// Next moves to the next row.
func (cur *Cursor) Next() bool { return cur.move(rawCursorNext) }

// Prev moves to the previous row.
func (cur *Cursor) Prev() bool { return cur.move(rawCursorPrev) }

// Seek moves to the first row whose key is key or sorts after it.
func (cur *Cursor) Seek(key []byte) bool {
	return cur.move(func(handle uint64, e *rawError) int32 { return rawCursorSeek(handle, notNil(key), e) })
}

// SeekLE moves to the last row whose key is key or sorts before it.
func (cur *Cursor) SeekLE(key []byte) bool {
	return cur.move(func(handle uint64, e *rawError) int32 { return rawCursorSeekLe(handle, notNil(key), e) })
}

// Key is the key of the row, a slice of the caller's own; nil when the cursor stands on none.
func (cur *Cursor) Key() []byte { return cur.key }

// Value is the value of the row as it was when the cursor moved there, a slice of the caller's own.
func (cur *Cursor) Value() []byte { return cur.value }

// Err is what made the last move fail; nil when there was just no row.
func (cur *Cursor) Err() error { return cur.err }

func (cur *Cursor) move(step func(uint64, *rawError) int32) bool {
	cur.key, cur.value, cur.err = nil, nil, nil
	c := newCall()
	status := step(cur.handle, &c.err)
	if status != 0 {
		cur.err = c.done(status)
		if Code(status) == ErrNotFound {
			cur.err = nil
		}
		return false
	}
	buffer := c.buffer[:]
	for {
		status = rawKeelgoCursorCopy(cur.handle, buffer, &c.first, &c.second, &c.err)
		if Code(status) != ErrBufferSize {
			break
		}
		buffer = make([]byte, c.first+c.second)
	}
	if status == 0 {
		row := append(make([]byte, 0, c.first+c.second), buffer[:c.first+c.second]...)
		cur.key, cur.value = row[:c.first:c.first], row[c.first:]
	}
	runtime.KeepAlive(cur)
	cur.err = c.done(status)
	return cur.err == nil
}
