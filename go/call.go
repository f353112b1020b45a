package keel

import (
	"bytes"
	"strings"
	"sync"
	"syscall"
)

// rawError has the layout of keel_error.
type rawError struct {
	code    int32
	errno   int32
	message [248]byte
}

func (e *rawError) err() error {
	message := e.message[:]
	if end := bytes.IndexByte(message, 0); end >= 0 {
		message = message[:end]
	}
	return &Error{Code: Code(e.code), Message: string(message), Errno: syscall.Errno(e.errno)}
}

// inlineValue is how large a value may be to be read in one call without knowing its size.
const inlineValue = 4096

// A call is the memory that one call into C writes to. Whatever is passed to C escapes to the heap, so it is pooled. It must
// hold no Go pointers: cgo looks at the whole object.
type call struct {
	err     rawError
	handle  uint64
	first   uint64
	second  uint64
	address uintptr
	flag    int32
	buffer  [inlineValue]byte
}

var calls = sync.Pool{New: func() any { return new(call) }}

func newCall() *call { return calls.Get().(*call) }

func (c *call) free() { calls.Put(c) }

// done frees the call and gives the status as an error.
func (c *call) done(status int32) error {
	var err error
	if status != 0 {
		err = c.err.err()
	}
	c.free()
	return err
}

// usage is an error that is found on the Go side of a call.
func usage(code Code, message string) error { return &Error{Code: code, Message: message} }

// cString makes the terminated bytes that C reads as text; "" is NULL where `empty` allows it.
func cString(what, text string) ([]byte, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, usage(ErrInvalid, what+" contains a zero byte")
	}
	return append([]byte(text), 0), nil
}

// notNil makes an empty slice of nil: NULL would be an open end.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
