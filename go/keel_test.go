package keel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var ctx = context.Background()

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("got %v, want %s", err, code.Name())
	}
}

func openMemory(t *testing.T) (*DB, *Keyspace) {
	t.Helper()
	db, err := Open(Memory, nil)
	check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	ks, err := db.Keyspace("test")
	check(t, err)
	return db, ks
}

func put(t *testing.T, db *DB, ks *Keyspace, pairs ...string) {
	t.Helper()
	check(t, db.Update(ctx, func(tx *Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Put(ks, []byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	}))
}

func all(t *testing.T, tx *Tx, ks *Keyspace, span Range) string {
	t.Helper()
	var out []string
	rows := tx.Range(ks, span)
	for key, value := range rows.All() {
		out = append(out, string(key)+"="+string(value))
	}
	check(t, rows.Err())
	return strings.Join(out, " ")
}

func TestPutGetDelete(t *testing.T) {
	db, ks := openMemory(t)
	put(t, db, ks, "a", "1", "b", "", "", "empty key")
	check(t, db.View(ctx, func(tx *Tx) error {
		value, err := tx.Get(ks, []byte("a"))
		check(t, err)
		if string(value) != "1" {
			t.Errorf("a is %q", value)
		}
		value, err = tx.Get(ks, []byte("b"))
		check(t, err)
		if value == nil || len(value) != 0 {
			t.Errorf("an empty value came back as %v", value)
		}
		value, err = tx.Get(ks, nil)
		check(t, err)
		if string(value) != "empty key" {
			t.Errorf("the empty key has %q", value)
		}
		_, err = tx.Get(ks, []byte("c"))
		wantCode(t, err, ErrNotFound)
		wantCode(t, tx.Put(ks, []byte("a"), nil), ErrReadOnly)
		return nil
	}))
	check(t, db.Update(ctx, func(tx *Tx) error { return tx.Delete(ks, []byte("a")) }))
	check(t, db.View(ctx, func(tx *Tx) error {
		has, err := tx.Has(ks, []byte("a"))
		check(t, err)
		if has {
			t.Error("a is still there")
		}
		return nil
	}))
}

func TestLargeValuesAndViews(t *testing.T) {
	db, ks := openMemory(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var view *View
	check(t, db.Update(ctx, func(tx *Tx) error { return tx.Put(ks, []byte("big"), big) }))
	check(t, db.View(ctx, func(tx *Tx) error {
		value, err := tx.Get(ks, []byte("big"))
		check(t, err)
		if !bytes.Equal(value, big) {
			t.Error("the large value came back changed")
		}
		view, err = tx.GetView(ks, []byte("big"))
		return err
	}))
	check(t, db.Update(ctx, func(tx *Tx) error { return tx.Delete(ks, []byte("big")) }))
	check(t, ks.Close())
	check(t, db.Close())
	if !bytes.Equal(view.Bytes(), big) {
		t.Error("the view changed after the database was closed")
	}
	check(t, view.Release())
	if view.Bytes() != nil {
		t.Error("a released view still shows bytes")
	}
	wantCode(t, view.Release(), ErrHandle)
}

func TestRanges(t *testing.T) {
	db, ks := openMemory(t)
	put(t, db, ks, "a", "1", "ab", "2", "b", "3", "ba", "4", "c", "5")
	tx, err := db.Begin(nil)
	check(t, err)
	defer tx.Rollback()
	check(t, tx.Put(ks, []byte("bb"), []byte("own")))
	check(t, tx.Delete(ks, []byte("a")))
	for _, c := range []struct {
		span Range
		want string
	}{
		{Range{}, "ab=2 b=3 ba=4 bb=own c=5"},
		{Range{Reverse: true}, "c=5 bb=own ba=4 b=3 ab=2"},
		{Range{Prefix: []byte("b")}, "b=3 ba=4 bb=own"},
		{Range{Lower: []byte("b"), Upper: []byte("bb")}, "b=3 ba=4"},
		{Range{Lower: []byte("b"), Upper: []byte("bb"), Reverse: true}, "ba=4 b=3"},
		{Range{Lower: []byte("x")}, ""},
		{Range{Upper: []byte{}}, ""},
	} {
		if got := all(t, tx, ks, c.span); got != c.want {
			t.Errorf("%+v gives %q, want %q", c.span, got, c.want)
		}
	}
	for range tx.Range(ks, Range{}).All() {
		break // a loop that is left early leaves nothing open
	}
	count, err := tx.DeleteRange(ks, []byte("b"), nil)
	check(t, err)
	if count != 4 || all(t, tx, ks, Range{}) != "ab=2" {
		t.Errorf("DeleteRange removed %d and left %q", count, all(t, tx, ks, Range{}))
	}
}

func TestLongRangeComesInBatches(t *testing.T) {
	db, ks := openMemory(t)
	const rows = 10_000
	var batch Batch
	for i := range rows {
		batch.Put(fmt.Appendf(nil, "%06d", i), fmt.Appendf(nil, "value %d", i))
	}
	check(t, db.Update(ctx, func(tx *Tx) error { return tx.Write(ks, &batch) }))
	check(t, db.View(ctx, func(tx *Tx) error {
		seen := 0
		rows := tx.Range(ks, Range{})
		for key, value := range rows.All() {
			if string(key) != fmt.Sprintf("%06d", seen) || string(value) != fmt.Sprintf("value %d", seen) {
				t.Fatalf("row %d is %q = %q", seen, key, value)
			}
			seen++
		}
		check(t, rows.Err())
		if seen != 10_000 {
			t.Errorf("saw %d rows", seen)
		}
		return nil
	}))
}

func TestCursor(t *testing.T) {
	db, ks := openMemory(t)
	put(t, db, ks, "b", "1", "d", "2", "f", "3")
	check(t, db.View(ctx, func(tx *Tx) error {
		cursor, err := tx.Cursor(ks, Range{})
		check(t, err)
		defer cursor.Close()
		step := func(found bool, want string) {
			t.Helper()
			check(t, cursor.Err())
			if found != (want != "") || string(cursor.Key()) != want {
				t.Errorf("stands on %q (%v), want %q", cursor.Key(), found, want)
			}
		}
		step(cursor.Next(), "b")
		step(cursor.Next(), "d")
		step(cursor.Prev(), "b")
		step(cursor.Prev(), "")
		step(cursor.Next(), "b")
		step(cursor.Last(), "f")
		step(cursor.Next(), "")
		step(cursor.Prev(), "f")
		step(cursor.Seek([]byte("c")), "d")
		step(cursor.SeekLE([]byte("c")), "b")
		step(cursor.SeekLE([]byte("a")), "")
		step(cursor.Seek([]byte("g")), "")
		step(cursor.First(), "b")
		if string(cursor.Value()) != "1" {
			t.Errorf("value %q", cursor.Value())
		}
		return nil
	}))
}

func TestGetMany(t *testing.T) {
	db, ks := openMemory(t)
	put(t, db, ks, "a", "1", "c", "", "d", "4")
	check(t, db.View(ctx, func(tx *Tx) error {
		values, err := tx.GetMany(ks, [][]byte{[]byte("d"), []byte("b"), []byte("c"), nil, []byte("a")})
		check(t, err)
		if got := fmt.Sprintf("%q", values); got != `["4" "" "" "" "1"]` || values[1] != nil || values[2] == nil || values[3] != nil {
			t.Errorf("got %s", got)
		}
		values, err = tx.GetMany(ks, nil)
		check(t, err)
		if len(values) != 0 {
			t.Errorf("no keys gave %q", values)
		}
		return nil
	}))
}

func TestConflictAndRetry(t *testing.T) {
	db, ks := openMemory(t)
	put(t, db, ks, "n", "0")
	first, err := db.Begin(nil)
	check(t, err)
	check(t, first.Put(ks, []byte("n"), []byte("first")))
	put(t, db, ks, "n", "second")
	err = first.Commit()
	wantCode(t, err, ErrConflict)
	var failed *Error
	if !errors.As(err, &failed) || !failed.Code.Retryable() || failed.Message == "" {
		t.Errorf("not a full error: %#v", err)
	}
	wantCode(t, first.Commit(), ErrFinished)
	wantCode(t, first.Rollback(), ErrFinished)

	var runs atomic.Int64
	var group sync.WaitGroup
	put(t, db, ks, "n", "0")
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 250 {
				err := db.Update(ctx, func(tx *Tx) error {
					runs.Add(1)
					value, err := tx.Get(ks, []byte("n"))
					if err != nil {
						return err
					}
					var n int
					fmt.Sscan(string(value), &n)
					runtime.Gosched()
					return tx.Put(ks, []byte("n"), fmt.Append(nil, n+1))
				})
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
	check(t, db.View(ctx, func(tx *Tx) error {
		value, err := tx.Get(ks, []byte("n"))
		if string(value) != "1000" {
			t.Errorf("1000 increments gave %q (%d runs)", value, runs.Load())
		}
		return err
	}))
}

func TestUpdateGivesUpAndStops(t *testing.T) {
	db, ks := openMemory(t)
	lose := func(tx *Tx) error {
		put(t, db, ks, "n", "other")
		return tx.Put(ks, []byte("n"), []byte("mine"))
	}
	attempts := 0
	err := db.UpdateWith(ctx, &TxOptions{Attempts: 3}, func(tx *Tx) error {
		attempts = tx.Attempt()
		return lose(tx)
	})
	wantCode(t, err, ErrConflict)
	if attempts != 3 || !strings.Contains(err.Error(), "after 3 attempts") {
		t.Errorf("%d attempts: %v", attempts, err)
	}
	stopped, cancel := context.WithCancel(ctx)
	err = db.Update(stopped, func(tx *Tx) error {
		cancel()
		return lose(tx)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Update gave %v", err)
	}
	own := errors.New("own")
	if err := db.Update(ctx, func(tx *Tx) error {
		check(t, tx.Put(ks, []byte("never"), nil))
		return own
	}); err != own {
		t.Errorf("the function's error came back as %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = db.Update(ctx, func(tx *Tx) error {
			check(t, tx.Put(ks, []byte("never"), nil))
			panic("own")
		})
	}()
	stats, err := db.Stats()
	check(t, err)
	if stats.TransactionsLive != 0 {
		t.Errorf("%d transactions are left", stats.TransactionsLive)
	}
	check(t, db.View(ctx, func(tx *Tx) error {
		_, err := tx.Get(ks, []byte("never"))
		wantCode(t, err, ErrNotFound)
		return nil
	}))
}

func TestHandlesAfterTheirEnd(t *testing.T) {
	db, ks := openMemory(t)
	put(t, db, ks, "a", "1")
	tx, err := db.Begin(nil)
	check(t, err)
	cursor, err := tx.Cursor(ks, Range{})
	check(t, err)
	check(t, tx.Commit())
	_, err = tx.Get(ks, []byte("a"))
	wantCode(t, err, ErrFinished)
	if cursor.Next() {
		t.Error("a cursor moved after its transaction ended")
	}
	wantCode(t, cursor.Err(), ErrFinished)
	check(t, cursor.Close())
	wantCode(t, cursor.Close(), ErrHandle)
	other, foreign := openMemory(t)
	tx, err = db.Begin(nil)
	check(t, err)
	_, err = tx.Get(foreign, []byte("a"))
	wantCode(t, err, ErrHandle)
	check(t, tx.Rollback())
	check(t, other.Close())
	wantCode(t, other.Close(), ErrHandle)
	wantCode(t, other.Flush(), ErrHandle)
}

func TestLimitsAndBadArguments(t *testing.T) {
	db, ks := openMemory(t)
	check(t, db.Update(ctx, func(tx *Tx) error {
		check(t, tx.Put(ks, make([]byte, MaxKeySize), nil))
		wantCode(t, tx.Put(ks, make([]byte, MaxKeySize+1), nil), ErrKeySize)
		return nil
	}))
	_, err := db.Keyspace("")
	wantCode(t, err, ErrInvalid)
	_, err = db.Keyspace(strings.Repeat("x", MaxKeyspaceNameSize+1))
	wantCode(t, err, ErrInvalid)
	_, err = db.ExistingKeyspace("absent")
	wantCode(t, err, ErrKeyspaceNotFound)
	_, err = Open("a\x00b", nil)
	wantCode(t, err, ErrInvalid)
	_, err = Open(Memory, &Options{Durability: 77})
	wantCode(t, err, ErrInvalid)
	_, err = Feature("no such feature")
	wantCode(t, err, ErrInvalid)
	if Version() != headerVersion {
		t.Errorf("engine %s, header %s", Version(), headerVersion)
	}
}

func TestFiles(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a.keel")
	_, err := Open(path, &Options{MustExist: true})
	wantCode(t, err, ErrNoFile)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Logf("no errno in %v", err)
	}
	db, err := Open(path, nil)
	check(t, err)
	ks, err := db.Keyspace("test")
	check(t, err)
	put(t, db, ks, "a", "1")
	check(t, db.Flush())
	again, err := Open(path, nil)
	check(t, err)
	names, err := again.Keyspaces()
	check(t, err)
	if !slices.Equal(names, []string{"test"}) {
		t.Errorf("keyspaces %q", names)
	}
	check(t, again.Close())
	checkpoint, err := db.LastCheckpoint()
	check(t, err)
	if checkpoint.Sequence == 0 {
		t.Error("no checkpoint")
	}
	child := exec.Command(os.Args[0], "-test.run=TestChildOpens")
	child.Env = append(os.Environ(), "KEEL_TEST_OPEN="+path)
	output, _ := child.CombinedOutput()
	if !strings.Contains(string(output), "(locked)") || !strings.Contains(string(output), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second process was told %q", output)
	}
	check(t, ks.Close())
	check(t, db.Close())
	_, err = Open(path, &Options{MustCreate: true})
	wantCode(t, err, ErrExists)
	db, err = Open(path, &Options{ReadOnly: true})
	check(t, err)
	ks, err = db.ExistingKeyspace("test")
	check(t, err)
	check(t, db.View(ctx, func(tx *Tx) error {
		value, err := tx.Get(ks, []byte("a"))
		if string(value) != "1" {
			t.Errorf("after reopening: %q", value)
		}
		return err
	}))
	check(t, ks.Close())
	check(t, db.Close())
	check(t, os.WriteFile(filepath.Join(folder, "garbage"), bytes.Repeat([]byte("x"), 100_000), 0o600))
	_, err = Open(filepath.Join(folder, "garbage"), nil)
	wantCode(t, err, ErrFormat)
	_, err = Open(folder, nil)
	wantCode(t, err, ErrNotAFile)
}

// TestChildOpens is what TestFiles runs in a second process.
func TestChildOpens(t *testing.T) {
	path := os.Getenv("KEEL_TEST_OPEN")
	if path == "" {
		t.Skip("run by TestFiles")
	}
	_, err := Open(path, nil)
	fmt.Println(err)
}

func TestDropKeyspace(t *testing.T) {
	db, ks := openMemory(t)
	put(t, db, ks, "a", "1")
	check(t, db.DropKeyspace("test"))
	wantCode(t, db.DropKeyspace("test"), ErrKeyspaceNotFound)
	wantCode(t, db.Update(ctx, func(tx *Tx) error { return tx.Put(ks, nil, nil) }), ErrKeyspaceNotFound)
	fresh, err := db.Keyspace("test")
	check(t, err)
	check(t, db.View(ctx, func(tx *Tx) error {
		if got := all(t, tx, fresh, Range{}); got != "" {
			t.Errorf("a new keyspace has %q", got)
		}
		return nil
	}))
}

// TestAgainstModel runs seeded transactions and compares with a sorted map.
func TestAgainstModel(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	db, ks := openMemory(t)
	model := map[string]string{}
	for round := range 300 {
		next := map[string]string{}
		for key, value := range model {
			next[key] = value
		}
		tx, err := db.Begin(nil)
		check(t, err)
		for range rng.IntN(20) {
			key, value := fmt.Sprintf("%02x", rng.IntN(64)), fmt.Sprint(rng.IntN(1000))
			switch rng.IntN(8) {
			case 0:
				upper := fmt.Sprintf("%02x", rng.IntN(64))
				_, err := tx.DeleteRange(ks, []byte(key), []byte(upper))
				check(t, err)
				for k := range next {
					if k >= key && k < upper {
						delete(next, k)
					}
				}
			case 1, 2:
				check(t, tx.Delete(ks, []byte(key)))
				delete(next, key)
			default:
				check(t, tx.Put(ks, []byte(key), []byte(value)))
				next[key] = value
			}
		}
		compare(t, tx, ks, next, rng.IntN(2) == 0, seed, round)
		if rng.IntN(4) == 0 {
			check(t, tx.Rollback())
		} else {
			check(t, tx.Commit())
			model = next
		}
		if rng.IntN(8) == 0 {
			check(t, db.MakeCheckpoint())
		}
	}
}

func compare(t *testing.T, tx *Tx, ks *Keyspace, model map[string]string, reverse bool, seed, round int) {
	t.Helper()
	var want []string
	for key, value := range model {
		want = append(want, key+"="+value)
	}
	sort.Strings(want)
	if reverse {
		slices.Reverse(want)
	}
	if got := all(t, tx, ks, Range{Reverse: reverse}); got != strings.Join(want, " ") {
		t.Fatalf("seed %d, round %d:\ngot  %s\nwant %s", seed, round, got, strings.Join(want, " "))
	}
}

func TestManyGoroutines(t *testing.T) {
	db, ks := openMemory(t)
	var group sync.WaitGroup
	for g := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 200 {
				key := fmt.Appendf(nil, "%d/%d", g, i)
				if err := db.Update(ctx, func(tx *Tx) error { return tx.Put(ks, key, key) }); err != nil {
					t.Error(err)
				}
				if err := db.View(ctx, func(tx *Tx) error {
					value, err := tx.Get(ks, key)
					if !bytes.Equal(value, key) {
						t.Errorf("%s has %q", key, value)
					}
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
}

func BenchmarkGet(b *testing.B) {
	db, err := Open(Memory, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	ks, _ := db.Keyspace("bench")
	value := make([]byte, 100)
	_ = db.Update(ctx, func(tx *Tx) error { return tx.Put(ks, []byte("key"), value) })
	_ = db.View(ctx, func(tx *Tx) error {
		for b.Loop() {
			if _, err := tx.Get(ks, []byte("key")); err != nil {
				b.Fatal(err)
			}
		}
		return nil
	})
}
