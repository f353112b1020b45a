package keel

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

const partsSize = 3<<20 + 12345

func partsBody(size int, seed uint64) []byte {
	body, random := make([]byte, size), rand.New(rand.NewPCG(seed, 1))
	for i := range body {
		body[i] = byte(random.Uint32())
	}
	return body
}

// eachPlace runs the test on a value among a transaction's own writes, in memory, and in the pages of a file.
func eachPlace(t *testing.T, test func(t *testing.T, tx *Tx, ks *Keyspace)) {
	for _, place := range []string{"own", "memory", "file"} {
		t.Run(place, func(t *testing.T) {
			db := openFile(t)
			ks, err := db.Keyspace("values")
			check(t, err)
			put := func(tx *Tx) error {
				return errors.Join(tx.Put(ks, []byte("large"), partsBody(partsSize, 1)),
					tx.Put(ks, []byte("small"), []byte("0123456789")))
			}
			if place == "own" {
				check(t, db.Update(ctx, func(tx *Tx) error {
					check(t, put(tx))
					test(t, tx, ks)
					return nil
				}))
				return
			}
			check(t, db.Update(ctx, put))
			if place == "file" {
				check(t, db.MakeCheckpoint())
			}
			check(t, db.Update(ctx, func(tx *Tx) error {
				test(t, tx, ks)
				return nil
			}))
		})
	}
}

func TestGetPart(t *testing.T) {
	eachPlace(t, func(t *testing.T, tx *Tx, ks *Keyspace) {
		whole := partsBody(partsSize, 1)
		for _, want := range []struct{ offset, size int }{
			{0, 0}, {0, 1}, {65535, 2}, {65536, 65536}, {100, 1 << 20}, {partsSize - 5, 100}, {partsSize, 1}, {1 << 40, 9},
		} {
			buffer := make([]byte, want.size)
			n, size, err := tx.GetPart(ks, []byte("large"), int64(want.offset), buffer)
			check(t, err)
			start, end := min(want.offset, partsSize), min(want.offset+want.size, partsSize)
			if size != partsSize || !bytes.Equal(buffer[:n], whole[start:end]) {
				t.Fatalf("%+v: %d bytes of %d", want, n, size)
			}
		}
		if _, _, err := tx.GetPart(ks, []byte("absent"), 0, nil); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if _, _, err := tx.GetPart(ks, []byte("small"), -1, nil); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	})
}

func TestValueReader(t *testing.T) {
	eachPlace(t, func(t *testing.T, tx *Tx, ks *Keyspace) {
		large, err := tx.OpenValue(ks, []byte("large"))
		check(t, err)
		if large.Size() != partsSize {
			t.Fatal(large.Size())
		}
		whole, err := io.ReadAll(large)
		check(t, err)
		if !bytes.Equal(whole, partsBody(partsSize, 1)) {
			t.Fatal("other bytes")
		}
		small, err := tx.OpenValue(ks, []byte("small"))
		check(t, err)
		check(t, iotest.TestReader(small, []byte("0123456789")))
		if _, err := small.Seek(0, 9); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		if _, err := tx.OpenValue(ks, []byte("absent")); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	})
}

func TestValueReaderInParallel(t *testing.T) {
	eachPlace(t, func(t *testing.T, tx *Tx, ks *Keyspace) {
		whole := partsBody(partsSize, 1)
		reader, err := tx.OpenValue(ks, []byte("large"))
		check(t, err)
		var group sync.WaitGroup
		for worker := range uint64(4) {
			group.Add(1)
			go func() {
				defer group.Done()
				random, buffer := rand.New(rand.NewPCG(worker, 2)), make([]byte, 9000)
				for range 50 {
					at := random.IntN(partsSize - len(buffer))
					if _, err := reader.ReadAt(buffer, int64(at)); err != nil || !bytes.Equal(buffer, whole[at:at+len(buffer)]) {
						t.Errorf("at %d: %v", at, err)
					}
				}
			}()
		}
		group.Wait()
	})
}

func TestValueReaderEndsWithItsTransaction(t *testing.T) {
	db := openFile(t)
	ks, err := db.Keyspace("values")
	check(t, err)
	tx, err := db.Begin(nil)
	check(t, err)
	check(t, tx.Put(ks, []byte("k"), []byte("v")))
	reader, err := tx.OpenValue(ks, []byte("k"))
	check(t, err)
	check(t, tx.Rollback())
	if _, err := reader.Read(make([]byte, 1)); !errors.Is(err, ErrFinished) {
		t.Fatal(err)
	}
}

func TestPutStream(t *testing.T) {
	eachPlace(t, func(t *testing.T, tx *Tx, ks *Keyspace) {
		body := partsBody(partsSize, 3)
		check(t, tx.PutStream(ks, []byte("new"), partsSize, iotest.HalfReader(bytes.NewReader(body))))
		got, err := tx.Get(ks, []byte("new"))
		check(t, err)
		if !bytes.Equal(got, body) {
			t.Fatal("other bytes")
		}
		large, err := tx.OpenValue(ks, []byte("large"))
		check(t, err)
		check(t, tx.PutStream(ks, []byte("copy"), large.Size(), large))
		got, err = tx.Get(ks, []byte("copy"))
		check(t, err)
		if !bytes.Equal(got, partsBody(partsSize, 1)) {
			t.Fatal("the copy has other bytes")
		}
		source := strings.NewReader("abcdef")
		check(t, tx.PutStream(ks, []byte("some"), 4, source))
		if source.Len() != 2 {
			t.Fatal("bytes behind the value were read")
		}
		check(t, tx.PutStream(ks, []byte("empty"), 0, nil))
		for _, failing := range []struct {
			size   int64
			source io.Reader
			want   error
		}{
			{7, strings.NewReader("abc"), io.ErrUnexpectedEOF},
			{7, strings.NewReader(""), io.ErrUnexpectedEOF},
			{7, iotest.ErrReader(io.ErrClosedPipe), io.ErrClosedPipe},
			{-1, nil, ErrInvalid},
			{1<<48 + 1, nil, ErrValueSize},
		} {
			if err := tx.PutStream(ks, []byte("failed"), failing.size, failing.source); !errors.Is(err, failing.want) {
				t.Fatalf("%+v: %v", failing, err)
			}
		}
		if found, err := tx.Has(ks, []byte("failed")); err != nil || found {
			t.Fatal(found, err)
		}
	})
}
