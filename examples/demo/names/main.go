// Command names answers, in Go, what the demo's database knows about names of places: which begin with a word?
//
//	names DATABASE WORD...
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	keel "github.com/keeldb/keel/go"
)

type place struct {
	name, country string
	population    int
}

// A record is "name TAB country TAB admin TAB feature TAB population TAB latitude TAB longitude".
func parse(record []byte) place {
	field := strings.Split(string(record), "\t")
	population, _ := strconv.Atoi(field[4])
	return place{field[0], field[1], population}
}

// find walks by_name (key: the folded name, a zero byte, the id) and looks the records up in one call.
func find(tx *keel.Tx, byName, cities *keel.Keyspace, word string) ([]place, error) {
	var ids [][]byte
	rows := tx.Range(byName, keel.Range{Prefix: []byte(strings.ToLower(word))})
	for key := range rows.Keys() {
		end := bytes.IndexByte(key, 0)
		ids = append(ids, binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(key[end+1:])))
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	records, err := tx.GetMany(cities, ids)
	if err != nil {
		return nil, err
	}
	places := make([]place, len(records))
	for i, record := range records {
		places[i] = parse(record)
	}
	return places, nil
}

func report(word string, places []place, took time.Duration) {
	countries := map[string]bool{}
	for _, p := range places {
		countries[p.country] = true
	}
	slices.SortFunc(places, func(a, b place) int { return b.population - a.population })
	fmt.Printf("%d places in %d countries begin with %q (%.2f ms); the largest:\n", len(places), len(countries), word,
		float64(took.Microseconds())/1000)
	for _, p := range places[:min(3, len(places))] {
		fmt.Printf("  %-32s %10d people\n", p.name+", "+p.country, p.population)
	}
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: names DATABASE WORD...")
	}
	db, err := keel.Open(os.Args[1], &keel.Options{ReadOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	byName, err := db.ExistingKeyspace("by_name")
	if err != nil {
		log.Fatal(err)
	}
	cities, err := db.ExistingKeyspace("cities")
	if err != nil {
		log.Fatal(err)
	}
	for _, word := range os.Args[2:] {
		begin := time.Now()
		var places []place
		err := db.View(context.Background(), func(tx *keel.Tx) (err error) {
			places, err = find(tx, byName, cities, word)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
		report(word, places, time.Since(begin))
	}
}
