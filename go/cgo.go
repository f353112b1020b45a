package keel

// #cgo CFLAGS: -std=c11 -O2 -D_GNU_SOURCE -fvisibility=hidden -fno-strict-aliasing
// #cgo LDFLAGS: -lpthread
import "C"
