//go:build !cgo

package keel

// Keel's engine is written in C. Without cgo this package cannot work, and this line says so at compile time:
// set CGO_ENABLED=1 and install a C compiler.
var _ = keel_needs_cgo_set_CGO_ENABLED_1_and_install_a_C_compiler
