package keel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A database that is many times larger than what is committed between two drains, and than the page cache.
const (
	largeRows   = 200_000
	largeCommit = 2_000
	largeDelta  = 64 << 10
	largeCache  = 8 << 20 // the least that there is; the rows alone are three times as much
)

func largeKey(number int) []byte { return fmt.Appendf(nil, "row %08d", number) }

func largeValue(number int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "value of %d ", number), 12)[:100]
}

func openLarge(t *testing.T, path string) (*DB, *Keyspace) {
	t.Helper()
	db, err := Open(path, &Options{CacheSize: largeCache, DeltaSize: largeDelta, Durability: DurabilityNone})
	check(t, err)
	ks, err := db.Keyspace("rows")
	check(t, err)
	return db, ks
}

func closeLarge(t *testing.T, db *DB, ks *Keyspace) {
	t.Helper()
	check(t, ks.Close())
	check(t, db.Close())
}

func TestLarge(t *testing.T) {
	path := loadLarge(t)
	for name, test := range map[string]func(*testing.T, string){
		"scans and lookups":   testLargeScansAndLookups,
		"views and snapshots": testLargeViewsAndSnapshots,
		"deletes":             testLargeDeletes,
	} {
		t.Run(name, func(t *testing.T) { // on the file alone, under another name
			content, err := os.ReadFile(path)
			check(t, err)
			if len(content) < largeRows*100 {
				t.Fatalf("%d bytes for %d rows of 100", len(content), largeRows)
			}
			alone := filepath.Join(t.TempDir(), "alone.keel")
			check(t, os.WriteFile(alone, content, 0o600))
			test(t, alone)
			wantOneFile(t, alone)
		})
	}
}

// loadLarge loads a database in random order, closes it, and gives its path.
func loadLarge(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large.keel")
	db, ks := openLarge(t, path)
	order := rand.New(rand.NewPCG(1, 1)).Perm(largeRows)
	var batch Batch
	for some := range slices.Chunk(order, largeCommit) {
		batch.Reset()
		for _, n := range some {
			batch.Put(largeKey(n), largeValue(n))
		}
		check(t, db.Update(ctx, func(tx *Tx) error { return tx.Write(ks, &batch) }))
	}
	stats, err := db.Stats()
	check(t, err)
	if stats.Checkpoints <= 3 || stats.DrainFailures != 0 || stats.CacheLimit != largeCache {
		t.Fatalf("%d checkpoints, %d drains failed, a cache of %d", stats.Checkpoints, stats.DrainFailures, stats.CacheLimit)
	}
	closeLarge(t, db, ks)
	wantOneFile(t, path)
	return path
}

func wantOneFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	check(t, err)
	if len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Fatalf("beside %s there is more: %v", path, entries)
	}
}

// wantRows walks over everything in both directions; missing says which rows are not there.
func wantRows(t *testing.T, db *DB, ks *Keyspace, missing func(n int) bool) {
	t.Helper()
	check(t, db.View(ctx, func(tx *Tx) error {
		for _, reverse := range []bool{false, true} {
			next, step, end := 0, 1, largeRows
			if reverse {
				next, step, end = largeRows-1, -1, -1
			}
			rows := tx.Range(ks, Range{Reverse: reverse})
			for key, value := range rows.All() {
				for next != end && missing(next) {
					next += step
				}
				if next == end || !bytes.Equal(key, largeKey(next)) || !bytes.Equal(value, largeValue(next)) {
					t.Fatalf("row %q = %q, expected number %d", key, value, next)
				}
				next += step
			}
			check(t, rows.Err())
			for next != end && missing(next) {
				next += step
			}
			if next != end {
				t.Fatalf("the rows end before number %d", next)
			}
		}
		return nil
	}))
}

func nothingMissing(int) bool { return false }

func testLargeScansAndLookups(t *testing.T, path string) {
	db, ks := openLarge(t, path)
	checkpoint, err := db.LastCheckpoint()
	check(t, err)
	if checkpoint.Sequence <= 3 {
		t.Errorf("the file is at checkpoint %d", checkpoint.Sequence)
	}
	wantRows(t, db, ks, nothingMissing)
	wanted := rand.New(rand.NewPCG(2, 2)).Perm(2 * largeRows)[:50_000]
	keys := make([][]byte, len(wanted))
	for i, n := range wanted {
		keys[i] = largeKey(n)
	}
	check(t, db.View(ctx, func(tx *Tx) error {
		values, err := tx.GetMany(ks, keys)
		check(t, err)
		kept := make([][]byte, 0, 5_000)
		for i, n := range wanted {
			if (values[i] != nil) != (n < largeRows) || n < largeRows && !bytes.Equal(values[i], largeValue(n)) {
				t.Fatalf("GetMany gives %q for number %d", values[i], n)
			}
			if i >= cap(kept) {
				continue
			}
			value, err := tx.Get(ks, keys[i])
			if n < largeRows {
				check(t, err)
			} else {
				wantCode(t, err, ErrNotFound)
			}
			kept = append(kept, value)
		}
		for i, value := range kept { // what Get gave is the caller's own
			if !bytes.Equal(value, values[i]) {
				t.Fatalf("Get gave %q for number %d", value, wanted[i])
			}
		}
		return nil
	}))
	stats, err := db.Stats()
	check(t, err)
	if stats.CacheLoads == 0 || stats.CacheEvictions == 0 {
		t.Errorf("%d pages read, %d evicted: the rows fit into the cache", stats.CacheLoads, stats.CacheEvictions)
	}
	closeLarge(t, db, ks)
}

func testLargeViewsAndSnapshots(t *testing.T, path string) {
	db, ks := openLarge(t, path)
	big := bytes.Repeat([]byte("0123456789abcde"), 200_000)
	check(t, db.Update(ctx, func(tx *Tx) error { return tx.Put(ks, []byte("z big"), big) }))
	check(t, db.MakeCheckpoint())
	snapshot, err := db.Begin(&TxOptions{ReadOnly: true})
	check(t, err)
	views := map[int]*View{}
	for n := 0; n < largeRows; n += 5_000 {
		views[n], err = snapshot.GetView(ks, largeKey(n))
		check(t, err)
	}
	bigView, err := snapshot.GetView(ks, []byte("z big"))
	check(t, err)
	for round := range 3 {
		check(t, db.Update(ctx, func(tx *Tx) error {
			for n := 0; n < largeRows; n += 50 {
				check(t, tx.Put(ks, largeKey(n), fmt.Appendf(nil, "round %d", round)))
			}
			return tx.Delete(ks, []byte("z big"))
		}))
		check(t, db.MakeCheckpoint())
	}
	for n := 0; n < largeRows; n += 1_000 {
		value, err := snapshot.Get(ks, largeKey(n))
		check(t, err)
		if !bytes.Equal(value, largeValue(n)) {
			t.Fatalf("the snapshot sees %q for number %d", value, n)
		}
	}
	check(t, snapshot.Rollback())
	check(t, db.View(ctx, func(tx *Tx) error {
		for range 2 { // pushes the pages of the views out of the cache
			for range tx.Range(ks, Range{}).All() {
			}
		}
		return nil
	}))
	closeLarge(t, db, ks)
	for n, view := range views {
		if !bytes.Equal(view.Bytes(), largeValue(n)) {
			t.Errorf("the view of number %d shows %q", n, view.Bytes())
		}
		check(t, view.Release())
	}
	if !bytes.Equal(bigView.Bytes(), big) {
		t.Error("the view of the large value changed")
	}
	check(t, bigView.Release())
	db, ks = openLarge(t, db.Path())
	check(t, db.View(ctx, func(tx *Tx) error {
		value, err := tx.Get(ks, largeKey(50))
		if string(value) != "round 2" {
			t.Errorf("number 50 is %q", value)
		}
		check(t, err)
		_, err = tx.Get(ks, []byte("z big"))
		wantCode(t, err, ErrNotFound)
		return nil
	}))
	closeLarge(t, db, ks)
}

func testLargeDeletes(t *testing.T, path string) {
	db, ks := openLarge(t, path)
	const from, to = 30_000, 130_000
	missing := func(n int) bool { return n%7 == 0 || n >= from && n < to }
	var batch Batch
	for n := 0; n < largeRows; n += 7 {
		batch.Delete(largeKey(n))
	}
	check(t, db.Update(ctx, func(tx *Tx) error { return tx.Write(ks, &batch) }))
	check(t, db.Update(ctx, func(tx *Tx) error {
		count, err := tx.DeleteRange(ks, largeKey(from), largeKey(to))
		seventh := (to-1)/7 - (from-1)/7
		if int(count) != to-from-seventh {
			t.Errorf("DeleteRange removed %d rows, expected %d", count, to-from-seventh)
		}
		return err
	}))
	wantRows(t, db, ks, missing)
	check(t, db.MakeCheckpoint())
	wantRows(t, db, ks, missing)
	closeLarge(t, db, ks)
	db, ks = openLarge(t, db.Path())
	wantRows(t, db, ks, missing)
	closeLarge(t, db, ks)
}

func TestMakeCheckpoint(t *testing.T) {
	db, err := Open(filepath.Join(t.TempDir(), "test.keel"), nil)
	check(t, err)
	ks, err := db.Keyspace("rows")
	check(t, err)
	put(t, db, ks, "a", "1", "b", "2")
	before, err := db.LastCheckpoint()
	check(t, err)
	check(t, db.MakeCheckpoint())
	after, err := db.LastCheckpoint()
	check(t, err)
	stats, err := db.Stats()
	check(t, err)
	if after.Sequence <= before.Sequence || after.Timestamp != stats.VisibleTimestamp || stats.DeltaKeys != 0 {
		t.Errorf("checkpoint %+v after %+v, %d keys left in memory", after, before, stats.DeltaKeys)
	}
	closeLarge(t, db, ks)
	wantCode(t, db.MakeCheckpoint(), ErrHandle)
	db, err = Open(db.Path(), &Options{ReadOnly: true})
	check(t, err)
	wantCode(t, db.MakeCheckpoint(), ErrReadOnly)
	check(t, db.Close())
}

func TestSetCacheSize(t *testing.T) {
	db, _ := openLarge(t, filepath.Join(t.TempDir(), "test.keel"))
	check(t, db.SetCacheSize(64<<20))
	if stats, err := db.Stats(); err != nil || stats.CacheLimit != 64<<20 {
		t.Fatal(stats.CacheLimit, err)
	}
	check(t, db.SetCacheSize(1))
	if stats, err := db.Stats(); err != nil || stats.CacheLimit != 8<<20 {
		t.Fatal(stats.CacheLimit, err)
	}
	if err := db.SetCacheSize(1 << 60); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
}

func TestCompact(t *testing.T) {
	db, ks := openLarge(t, filepath.Join(t.TempDir(), "test.keel"))
	check(t, db.Update(t.Context(), func(tx *Tx) error {
		var key [8]byte
		for i := uint64(0); i < 20000; i++ {
			binary.BigEndian.PutUint64(key[:], i)
			if err := tx.Put(ks, key[:], bytes.Repeat([]byte("x"), 200)); err != nil {
				return err
			}
		}
		return nil
	}))
	check(t, db.MakeCheckpoint())
	before, err := db.Stats()
	check(t, err)
	check(t, db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.DeleteRange(ks, nil, binary.BigEndian.AppendUint64(nil, 19000))
		return err
	}))
	check(t, db.Compact())
	after, err := db.Stats()
	check(t, err)
	if after.FileBytes > before.FileBytes/2 {
		t.Errorf("the file has %d bytes of %d", after.FileBytes, before.FileBytes)
	}
	closeLarge(t, db, ks)
	wantCode(t, db.Compact(), ErrHandle)
}

// Transfers, sums over snapshots, and checkpoints, all at once, through deltas so small that they are drained all the time.
func TestSnapshotsAmongDrains(t *testing.T) {
	const accounts, each, writers, transfers = 2_000, 1_000, 4, 2_000
	db, ks := openLarge(t, filepath.Join(t.TempDir(), "bank.keel"))
	balance := func(tx *Tx, account int) int {
		value, err := tx.Get(ks, largeKey(account))
		if err != nil {
			t.Error(err)
			return 0
		}
		return int(binary.LittleEndian.Uint64(value))
	}
	deposit := func(tx *Tx, account, amount int) error { // padded: a value is as large as in the other tests
		return tx.Put(ks, largeKey(account), binary.LittleEndian.AppendUint64(make([]byte, 0, 100), uint64(amount))[:100])
	}
	check(t, db.Update(ctx, func(tx *Tx) error {
		for account := range accounts {
			check(t, deposit(tx, account, each))
		}
		return nil
	}))
	var writing, others sync.WaitGroup
	var done atomic.Bool
	for writer := range writers {
		writing.Add(1)
		go func() {
			defer writing.Done()
			random := rand.New(rand.NewPCG(7, uint64(writer)))
			for range transfers {
				from := random.IntN(accounts)
				to := (from + 1 + random.IntN(accounts-1)) % accounts
				err := db.Update(ctx, func(tx *Tx) error {
					amount := min(balance(tx, from), 1+random.IntN(50))
					if err := deposit(tx, from, balance(tx, from)-amount); err != nil {
						return err
					}
					return deposit(tx, to, balance(tx, to)+amount)
				})
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	others.Add(2)
	go func() {
		defer others.Done()
		for !done.Load() {
			if err := db.MakeCheckpoint(); err != nil {
				t.Error(err)
			}
		}
	}()
	sum := func() {
		add := func(tx *Tx) error {
			total, rows := 0, tx.Range(ks, Range{})
			for _, value := range rows.All() {
				total += int(binary.LittleEndian.Uint64(value))
			}
			if total != accounts*each {
				t.Errorf("a snapshot adds up to %d, expected %d", total, accounts*each)
			}
			return rows.Err()
		}
		if err := db.View(ctx, add); err != nil {
			t.Error(err)
		}
	}
	go func() {
		defer others.Done()
		for !done.Load() {
			sum()
		}
	}()
	writing.Wait()
	done.Store(true)
	others.Wait()
	stats, err := db.Stats()
	check(t, err)
	if stats.Checkpoints <= 3 || stats.DrainFailures != 0 {
		t.Errorf("%d checkpoints, %d drains failed", stats.Checkpoints, stats.DrainFailures)
	}
	closeLarge(t, db, ks)
	db, ks = openLarge(t, db.Path())
	sum()
	closeLarge(t, db, ks)
}
