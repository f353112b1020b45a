package keel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// loadRows gives rows of largeKey and largeValue in the order of the numbers.
func loadRows(numbers []int) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for _, n := range numbers {
			if !yield(largeKey(n), largeValue(n)) {
				return
			}
		}
	}
}

func pairs(texts ...string) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for i := 0; i < len(texts) && yield([]byte(texts[i]), []byte(texts[i+1])); i += 2 {
		}
	}
}

func openFile(t *testing.T) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "test.keel"), &Options{CacheSize: largeCache})
	check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// content is all rows of a keyspace, as text.
func content(t *testing.T, db *DB, name string) string {
	t.Helper()
	ks, err := db.ExistingKeyspace(name)
	check(t, err)
	defer ks.Close()
	var out string
	check(t, db.View(ctx, func(tx *Tx) error {
		out = all(t, tx, ks, Range{})
		return nil
	}))
	return out
}

func wantKeyspaces(t *testing.T, db *DB, want ...string) {
	t.Helper()
	names, err := db.Keyspaces()
	check(t, err)
	if !slices.Equal(names, want) {
		t.Errorf("keyspaces %q, want %q", names, want)
	}
}

func TestLoad(t *testing.T) {
	const count = 50_000
	ordered := make([]int, count)
	for i := range ordered {
		ordered[i] = i
	}
	scattered := rand.New(rand.NewPCG(2, 2)).Perm(count)
	for name, test := range map[string]struct {
		order   []int
		options *LoadOptions
		runs    func(uint64) bool
	}{
		"in order":     {ordered, nil, func(runs uint64) bool { return runs == 1 }},
		"out of order": {scattered, &LoadOptions{BufferSize: 1 << 20}, func(runs uint64) bool { return runs > 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			db := openFile(t)
			report, err := db.Load(ctx, "rows", loadRows(test.order), test.options)
			check(t, err)
			if report.Finished != 1 || report.Rows != count || report.Bytes != count*112 || !test.runs(report.Runs) {
				t.Errorf("%+v", report)
			}
			check(t, db.Close())
			db, err = Open(db.Path(), nil)
			check(t, err)
			defer db.Close()
			ks, err := db.ExistingKeyspace("rows")
			check(t, err)
			defer ks.Close()
			next := 0
			check(t, db.View(ctx, func(tx *Tx) error {
				rows := tx.Range(ks, Range{})
				for key, value := range rows.All() {
					if !bytes.Equal(key, largeKey(next)) || !bytes.Equal(value, largeValue(next)) {
						t.Fatalf("row %d is %q=%q", next, key, value)
					}
					next++
				}
				return rows.Err()
			}))
			if next != count {
				t.Errorf("%d rows", next)
			}
		})
	}
}

func TestLoadOneKeyTwice(t *testing.T) {
	db, _ := openMemory(t)
	report, err := db.Load(ctx, "rows", pairs("b", "1", "a", "2", "b", "3", "c", "", "", "empty"), nil)
	check(t, err)
	if got := content(t, db, "rows"); got != "=empty a=2 b=3 c=" || report.Rows != 5 {
		t.Errorf("%q, %+v", got, report)
	}
}

func TestLoadLargeValues(t *testing.T) {
	db := openFile(t)
	want := map[string][]byte{}
	for i, size := range []int{0, 1, loadBatch - 1, loadBatch, loadBatch + 1, 5 * loadBatch} {
		want[fmt.Sprint("key ", i)] = bytes.Repeat([]byte{byte('a' + i)}, size)
	}
	want[string(bytes.Repeat([]byte("k"), MaxKeySize))] = []byte("longest key")
	_, err := db.Load(ctx, "large", func(yield func([]byte, []byte) bool) {
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if !yield([]byte(key), want[key]) {
				return
			}
		}
	}, nil)
	check(t, err)
	ks, err := db.ExistingKeyspace("large")
	check(t, err)
	defer ks.Close()
	check(t, db.View(ctx, func(tx *Tx) error {
		count := 0
		for key, value := range tx.Range(ks, Range{}).All() {
			count++
			if !bytes.Equal(value, want[string(key)]) {
				t.Errorf("the value of %.10q has %d bytes", key, len(value))
			}
		}
		if count != len(want) {
			t.Errorf("%d rows", count)
		}
		return nil
	}))
}

func TestLoadEmptyAndReplace(t *testing.T) {
	db := openFile(t)
	report, err := db.Load(ctx, "rows", pairs(), nil)
	check(t, err)
	if report.Rows != 0 || content(t, db, "rows") != "" {
		t.Errorf("%+v", report)
	}
	_, err = db.Load(ctx, "rows", pairs("a", "1"), nil)
	wantCode(t, err, ErrExists)
	_, err = db.Load(ctx, "rows", pairs("a", "1"), &LoadOptions{Replace: true})
	check(t, err)
	_, err = db.Load(ctx, "rows", pairs("b", "2"), &LoadOptions{Replace: true})
	check(t, err)
	if got := content(t, db, "rows"); got != "b=2" {
		t.Errorf("%q", got)
	}
}

func TestLoadThatFailsLeavesNothing(t *testing.T) {
	db := openFile(t)
	many := func(yield func([]byte, []byte) bool) { // more than one batch, before what fails
		for n := range 20_000 {
			if !yield(largeKey(n), largeValue(n)) {
				return
			}
		}
	}
	_, err := db.Load(ctx, "rows", func(yield func([]byte, []byte) bool) {
		many(yield)
		yield(bytes.Repeat([]byte("k"), MaxKeySize+1), nil)
	}, nil)
	wantCode(t, err, ErrKeySize)
	stopping, stop := context.WithCancel(ctx)
	_, err = db.Load(stopping, "rows", func(yield func([]byte, []byte) bool) {
		many(yield)
		stop()
	}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v after the context ended", err)
	}
	_, err = db.Load(stopping, "rows", pairs(), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v with a context that had ended", err)
	}
	func() {
		defer func() {
			if recover() != "in the middle" {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = db.Load(ctx, "rows", func(yield func([]byte, []byte) bool) {
			many(yield)
			panic("in the middle")
		}, nil)
	}()
	wantKeyspaces(t, db)
	_, err = db.Load(ctx, "rows", pairs("a", "1"), &LoadOptions{BufferSize: 1})
	wantCode(t, err, ErrInvalid)
	_, err = db.Load(ctx, "", pairs("a", "1"), nil)
	wantCode(t, err, ErrInvalid)
	_, err = db.Load(ctx, "rows", pairs("a", "1"), nil)
	check(t, err)
	wantKeyspaces(t, db, "rows")
}

func TestLoader(t *testing.T) {
	db := openFile(t)
	load, err := db.BeginLoad("rows", nil)
	check(t, err)
	check(t, load.Put([]byte("b"), []byte("2")))
	var batch Batch
	batch.Put([]byte("a"), []byte("1"))
	batch.Put([]byte("c"), []byte("3"))
	check(t, load.Write(&batch))
	batch.Delete([]byte("a"))
	wantCode(t, load.Write(&batch), ErrInvalid)
	wantCode(t, load.Put(make([]byte, MaxKeySize+1), nil), ErrKeySize)
	wantKeyspaces(t, db)
	report, err := load.Finish()
	check(t, err)
	if got := content(t, db, "rows"); got != "a=1 b=2 c=3" || report.Rows != 3 {
		t.Errorf("%q, %+v", got, report)
	}
	check(t, load.Close())
	wantCode(t, load.Put([]byte("d"), nil), ErrHandle)
	_, err = load.Finish()
	wantCode(t, err, ErrHandle)

	load, err = db.BeginLoad("other", nil)
	check(t, err)
	check(t, load.Put([]byte("a"), []byte("1")))
	check(t, load.Close())
	check(t, load.Close())
	wantKeyspaces(t, db, "rows")

	load, err = db.BeginLoad("late", nil)
	check(t, err)
	check(t, load.Put([]byte("a"), []byte("mine")))
	ks, err := db.Keyspace("late")
	check(t, err)
	put(t, db, ks, "a", "theirs")
	_, err = load.Finish()
	wantCode(t, err, ErrExists)
	check(t, ks.Close())
	check(t, db.DropKeyspace("late"))
	_, err = load.Finish() // after a failure the load is as before
	check(t, err)
	if got := content(t, db, "late"); got != "a=mine" {
		t.Errorf("%q", got)
	}
	check(t, db.Close())
	db, err = Open(db.Path(), &Options{ReadOnly: true})
	check(t, err)
	_, err = db.BeginLoad("more", nil)
	wantCode(t, err, ErrReadOnly)
	check(t, db.Close())
}

// damaged makes a database of `count` loaded rows, closes it, and changes a byte of a page with rows from its middle.
func damaged(t *testing.T, count int) string {
	t.Helper()
	db := openFile(t)
	numbers := make([]int, count)
	for i := range numbers {
		numbers[i] = i
	}
	_, err := db.Load(ctx, "rows", loadRows(numbers), nil)
	check(t, err)
	check(t, db.Close())
	file, err := os.ReadFile(db.Path())
	check(t, err)
	at := bytes.Index(file, largeValue(count / 2)[:20])
	if at < 0 {
		t.Fatal("the row is not in the file as it is")
	}
	file[at] ^= 1
	check(t, os.WriteFile(db.Path(), file, 0o600))
	return db.Path()
}

func TestVerify(t *testing.T) {
	db := openFile(t)
	const count = 50_000
	ks, err := db.Keyspace("rows")
	check(t, err)
	check(t, db.Update(ctx, func(tx *Tx) error {
		for n := range count {
			if err := tx.Put(ks, largeKey(n), largeValue(n)); err != nil {
				return err
			}
		}
		return tx.Put(ks, []byte("z large"), make([]byte, 100_000))
	}))
	check(t, db.MakeCheckpoint())
	var reports []CheckReport
	report, err := db.Verify(ctx, func(r CheckReport) { reports = append(reports, r) })
	check(t, err)
	if report.Finished != 1 || report.Problems != 0 || len(report.ProblemTexts) != 0 || report.Keyspaces != 1 ||
		report.Rows != count+1 || report.Extents != 1 || report.DoneBytes != report.TotalBytes {
		t.Errorf("%+v", report)
	}
	if len(reports) < 3 || reports[0].Finished != 0 || reports[0].DoneBytes >= report.DoneBytes ||
		reports[len(reports)-1].Finished != 1 {
		t.Errorf("%d reports, the first %+v", len(reports), reports[0])
	}
	stopping, stop := context.WithCancel(ctx)
	steps := 0
	_, err = db.Verify(stopping, func(CheckReport) { steps++; stop() })
	if !errors.Is(err, context.Canceled) || steps != 1 {
		t.Errorf("%v after %d steps", err, steps)
	}
	stats, err := db.Stats()
	check(t, err)
	if stats.SnapshotsLive != 0 {
		t.Errorf("%d snapshots are held", stats.SnapshotsLive)
	}
	closeLarge(t, db, ks)
	_, err = db.Verify(ctx, nil)
	wantCode(t, err, ErrHandle)
}

func TestVerifyAndSalvageOfADamagedFile(t *testing.T) {
	const count = 50_000
	path := damaged(t, count)
	saved := filepath.Join(t.TempDir(), "saved.keel")
	db, err := Open(path, nil)
	check(t, err)
	report, err := db.Verify(ctx, nil)
	check(t, err)
	if report.Problems == 0 || report.LostPages != 1 || report.Rows >= count || len(report.ProblemTexts) == 0 {
		t.Errorf("%+v", report)
	}
	for _, text := range report.ProblemTexts {
		if text == "" || text[len(text)-1] == 0 {
			t.Errorf("problem %q", text)
		}
	}
	_, err = Salvage(ctx, path, saved, nil)
	wantCode(t, err, ErrLocked)
	check(t, db.Close())

	steps := 0
	report, err = Salvage(ctx, path, saved, func(CheckReport) { steps++ })
	check(t, err)
	if report.Finished != 1 || report.Problems == 0 || report.Rows >= count || report.Rows < count-1000 || steps < 3 {
		t.Errorf("%+v in %d steps", report, steps)
	}
	_, err = Salvage(ctx, path, saved, nil)
	wantCode(t, err, ErrExists)
	_, err = Salvage(ctx, path+" is not here", saved+"2", nil)
	wantCode(t, err, ErrNoFile)
	_, err = Salvage(ctx, "a\x00b", saved, nil)
	wantCode(t, err, ErrInvalid)

	db, err = Open(saved, nil)
	check(t, err)
	ks, err := db.ExistingKeyspace("rows")
	check(t, err)
	found := uint64(0)
	check(t, db.View(ctx, func(tx *Tx) error {
		rows := tx.Range(ks, Range{})
		for key, value := range rows.All() {
			var n int
			if _, err := fmt.Sscanf(string(key), "row %d", &n); err != nil || !bytes.Equal(value, largeValue(n)) {
				t.Fatalf("row %q=%q", key, value)
			}
			found++
		}
		return rows.Err()
	}))
	if found != report.Rows {
		t.Errorf("%d rows are there, %d were reported", found, report.Rows)
	}
	report, err = db.Verify(ctx, nil)
	check(t, err)
	if report.Problems != 0 {
		t.Errorf("what was saved has problems: %+v", report)
	}
	closeLarge(t, db, ks)
}
