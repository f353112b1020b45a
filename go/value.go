package keel

import (
	"errors"
	"io"
	"runtime"
	"sync"
)

// GetPart copies bytes of the value of a key, from offset on, into buffer. It returns how many, fewer than len(buffer) only
// at the end of the value and none behind it, and the size of the value. Of a large value only those parts are read that
// the bytes lie in, and it needs no memory for the rest. ErrNotFound when the key has no value.
func (tx *Tx) GetPart(ks *Keyspace, key []byte, offset int64, buffer []byte) (n int, size int64, err error) {
	if offset < 0 {
		return 0, 0, usage(ErrInvalid, "the offset must not be negative")
	}
	c := newCall()
	status := rawGetPart(tx.handle, ks.handle, key, uint64(offset), buffer, &c.first, &c.second, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	n, size = int(c.first), int64(c.second)
	if err := c.done(status); err != nil {
		return 0, 0, err
	}
	return n, size, nil
}

// ValueReader is a value as something to read and seek in, for values of any size: an io.ReadSeeker and io.ReaderAt. It
// keeps 64 KiB, whatever the size of the value. It belongs to its transaction, and ends with it; its methods may be called by
// several goroutines at once, but not while others use the transaction.
type ValueReader struct {
	tx       *Tx
	ks       *Keyspace
	key      []byte
	mutex    sync.Mutex
	position int64
	size     int64
}

var (
	_ io.ReadSeeker = (*ValueReader)(nil)
	_ io.ReaderAt   = (*ValueReader)(nil)
)

// OpenValue opens the value of a key for reading; ErrNotFound when it has none. There is nothing to close.
func (tx *Tx) OpenValue(ks *Keyspace, key []byte) (*ValueReader, error) {
	_, size, err := tx.GetPart(ks, key, 0, nil)
	if err != nil {
		return nil, err
	}
	return &ValueReader{tx: tx, ks: ks, key: append([]byte(nil), key...), size: size}, nil
}

// Size is the size of the value.
func (r *ValueReader) Size() int64 {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.size
}

// Read reads on from where the last Read or Seek ended; io.EOF at the end of the value.
func (r *ValueReader) Read(buffer []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	n, err := r.readAt(buffer, r.position)
	r.position += int64(n)
	return n, err
}

// ReadAt reads from offset on, and returns io.EOF when the value ends before buffer is full. It does not move the place that
// Read is at.
func (r *ValueReader) ReadAt(buffer []byte, offset int64) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	n, err := r.readAt(buffer, offset)
	if err == nil && n < len(buffer) {
		err = io.EOF
	}
	return n, err
}

func (r *ValueReader) readAt(buffer []byte, offset int64) (int, error) {
	n, size, err := r.tx.GetPart(r.ks, r.key, offset, buffer)
	if err != nil {
		return 0, err
	}
	r.size = size
	if n == 0 && len(buffer) != 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Seek says where the next Read begins; it may lie behind the end of the value.
func (r *ValueReader) Seek(offset int64, whence int) (int64, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.position
	case io.SeekEnd:
		offset += r.size
	default:
		return 0, usage(ErrInvalid, "whence must be io.SeekStart, io.SeekCurrent or io.SeekEnd")
	}
	if offset < 0 {
		return 0, usage(ErrInvalid, "the position lies before the value")
	}
	r.position = offset
	return offset, nil
}

// streamPiece is how much PutStream reads at once.
const streamPiece = 1 << 20

// PutStream stores a value of exactly size bytes, which it reads from source piece by piece. A large one goes straight to
// where it stays in the file, and is never in memory as a whole. io.ErrUnexpectedEOF when the source has fewer bytes; what it
// has behind them is left in it. When it fails nothing was stored, and the transaction may go on.
func (tx *Tx) PutStream(ks *Keyspace, key []byte, size int64, source io.Reader) error {
	if size < 0 {
		return usage(ErrInvalid, "the size must not be negative")
	}
	c := newCall()
	status := rawValueBegin(tx.handle, ks.handle, key, uint64(size), &c.handle, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	value := c.handle
	if err := c.done(status); err != nil {
		return err
	}
	defer closeQuietly(rawValueEnd)(value)
	if err := copyStream(value, size, source); err != nil {
		return err
	}
	c = newCall()
	err := c.done(rawValueFinish(value, &c.err))
	runtime.KeepAlive(tx)
	return err
}

func copyStream(value uint64, size int64, source io.Reader) error {
	buffer := make([]byte, min(size, streamPiece))
	for size > 0 {
		piece := buffer[:min(size, streamPiece)]
		if _, err := io.ReadFull(source, piece); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		c := newCall()
		if err := c.done(rawValueWrite(value, piece, &c.err)); err != nil {
			return err
		}
		size -= int64(len(piece))
	}
	return nil
}
