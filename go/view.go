package keel

import (
	"runtime"
	"unsafe"
)

// View pins a value: its bytes are read in place, without a copy, and stay valid until Release, whatever happens to
// the transaction and the database. For large values; for small ones Get is faster.
//
// A View that is forgotten stays pinned (Stats.ViewsLive counts it): the garbage collector cannot see whether a slice of
// its bytes is still in use, so it never releases one by itself.
type View struct {
	handle uint64
	bytes  []byte
}

// GetView pins the value of a key; ErrNotFound when it has none.
func (tx *Tx) GetView(ks *Keyspace, key []byte) (*View, error) {
	c := newCall()
	status := rawGetView(tx.handle, ks.handle, key, &c.handle, &c.err)
	runtime.KeepAlive(tx)
	runtime.KeepAlive(ks)
	handle := c.handle
	if status == 0 {
		c.address, c.first = 0, 0
		status = rawKeelgoViewData(handle, &c.address, &c.first, &c.err)
	}
	address, size := c.address, c.first
	if err := c.done(status); err != nil {
		return nil, err
	}
	return &View{handle: handle, bytes: pinned(address, size)}, nil
}

// pinned makes a slice of memory that C keeps until the view is released. The address comes from C, not from Go's heap.
func pinned(address uintptr, size uint64) []byte {
	if size == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), size)
}

// Bytes are the value: read only, and not to be used after Release. nil after Release.
func (v *View) Bytes() []byte { return v.bytes }

// Len is the size of the value.
func (v *View) Len() int { return len(v.bytes) }

// Release gives the memory back. A second one gives ErrHandle.
func (v *View) Release() error {
	v.bytes = nil
	c := newCall()
	return c.done(rawViewRelease(v.handle, &c.err))
}
