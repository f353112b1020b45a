package keel

import (
	"fmt"
	"syscall"
)

// Error is what every failed call returns.
type Error struct {
	// Code says what kind of failure it is.
	Code Code
	// Message is one line: what was wrong and what to do.
	Message string
	// Errno is that of the system call that failed, or 0.
	Errno syscall.Errno
}

func (e *Error) Error() string { return "keel: " + e.Message + " (" + e.Code.Name() + ")" }

// Is makes errors.Is(err, keel.ErrConflict) work.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// Unwrap gives the error of the system call, so that errors.Is(err, fs.ErrPermission) works where there is one.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Error makes a Code usable with errors.Is and errors.As.
func (c Code) Error() string { return "keel: " + c.Name() }

// Name is the stable lower-case name, for example "conflict".
func (c Code) Name() string {
	if info, ok := codeInfos[c]; ok {
		return info.name
	}
	return fmt.Sprintf("status %d", int32(c))
}

// Symbol is the name in the C interface, for example "KEEL_E_CONFLICT".
func (c Code) Symbol() string { return codeInfos[c].symbol }

// Class is "usage", "not_found", "conflict", "busy", "io", "corrupt", "resource" or "internal".
func (c Code) Class() string { return codeInfos[c].class }

// Retryable says whether running the whole transaction again may succeed; Update does that by itself.
func (c Code) Retryable() bool { return codeInfos[c].retryable }
