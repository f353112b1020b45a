package keel_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	keel "github.com/keeldb/keel/go"
)

// The quick start of the README, run as a test.
func Example() {
	ctx := context.Background()
	db, err := keel.Open(keel.Memory, nil) // or a path: keel.Open("app.keel", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	users, err := db.Keyspace("users")
	if err != nil {
		log.Fatal(err)
	}

	err = db.Update(ctx, func(tx *keel.Tx) error {
		if err := tx.Put(users, []byte("ada"), []byte("countess")); err != nil {
			return err
		}
		return tx.Put(users, []byte("grace"), []byte("admiral"))
	})
	if err != nil {
		log.Fatal(err)
	}

	err = db.View(ctx, func(tx *keel.Tx) error {
		rows := tx.Range(users, keel.Range{})
		for key, value := range rows.All() {
			fmt.Printf("%s is a %s\n", key, value)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		_, err := tx.Get(users, []byte("alan"))
		fmt.Println("alan:", errors.Is(err, keel.ErrNotFound))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// ada is a countess
	// grace is a admiral
	// alan: true
}
