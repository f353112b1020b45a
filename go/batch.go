package keel

import (
	"encoding/binary"
	"fmt"
)

// Batch collects puts and deletes for Tx.Write: many operations in one call into C. The zero value is an empty batch.
type Batch struct {
	ops   []byte
	count int
}

// Put adds storing a value. A key or value that is too long panics here, where the mistake is.
func (b *Batch) Put(key, value []byte) { b.add(cBatchPut, key, value) }

// Delete adds removing a key.
func (b *Batch) Delete(key []byte) { b.add(cBatchDelete, key, nil) }

func (b *Batch) add(op byte, key, value []byte) {
	if len(key) > MaxKeySize || len(value) > MaxValueSize {
		panic(fmt.Sprintf("keel: key of %d bytes, value of %d bytes: at most %d and %d", len(key), len(value), MaxKeySize,
			MaxValueSize))
	}
	b.ops = append(b.ops, op, 0, 0, 0)
	b.ops = binary.LittleEndian.AppendUint32(b.ops, uint32(len(key)))
	b.ops = binary.LittleEndian.AppendUint32(b.ops, uint32(len(value)))
	b.ops = append(b.ops, key...)
	b.ops = append(b.ops, value...)
	b.count++
}

// Len is the number of operations.
func (b *Batch) Len() int { return b.count }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.ops, b.count = b.ops[:0], 0 }
