// Package keel is an embedded, transactional, ordered database: one file, many concurrent writers, snapshot reads
// that never block.
//
//	db, err := keel.Open("app.keel", nil)
//	users, err := db.Keyspace("users")
//	err = db.Update(ctx, func(tx *keel.Tx) error {
//		return tx.Put(users, []byte("ada"), []byte("countess"))
//	})
//	err = db.View(ctx, func(tx *keel.Tx) error {
//		for key, value := range tx.Range(users, keel.Range{}).All() {
//			fmt.Printf("%s = %s\n", key, value)
//		}
//		return nil
//	})
//
// A keyspace is a named, ordered map of byte keys to byte values. A transaction reads one snapshot, buffers its
// writes, sees them itself, and commits them atomically over any number of keyspaces. Update runs its function again
// when it lost against another transaction.
//
// Load makes a keyspace of very many rows, past the log and much faster than transactions. Verify tells whether a database is
// sound; Salvage copies what is sound of one that is not.
//
// Every value that is returned belongs to the caller; only View pins memory of the database, until it is released.
// Errors are of type *Error; errors.Is(err, keel.ErrConflict) and its like tell them apart.
//
// While a database is open its log lies beside it, as NAME-wal; commits go there first and are drained into the trees of
// the file in the background. The last Close leaves one file.
//
// DB and Keyspace may be used by any goroutine at any time, a Tx and its cursors by one at a time (a second one inside at
// the same moment gets ErrConcurrentUse).
//
// The package compiles the engine (keel.c, one file) with cgo: a C compiler is needed, nothing else.
package keel
