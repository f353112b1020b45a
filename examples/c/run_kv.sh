#!/bin/sh
# Runs kv as a user would, and compares what it prints.
set -eu
kv=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
db=$folder/fruit.keel

"$kv" "$db" put fruit apple red
"$kv" "$db" put fruit banana yellow
printf 'apricot\torange\nblueberry\tblue\n' >"$folder/lines"
"$kv" "$db" load fruit <"$folder/lines"
"$kv" "$db" del fruit banana
"$kv" "$db" put tools hammer heavy

expect() {
  expected=$1
  shift
  actual=$("$kv" "$db" "$@")
  if [ "$actual" != "$expected" ]; then
    printf 'kv %s: expected "%s", got "%s"\n' "$*" "$expected" "$actual" >&2
    exit 1
  fi
}
tab=$(printf '\t')
expect red get fruit apple
expect "apple${tab}red
apricot${tab}orange
blueberry${tab}blue" list fruit
expect "apple${tab}red
apricot${tab}orange" list fruit ap
expect "fruit
tools" keyspaces

if "$kv" "$db" get fruit banana 2>"$folder/error"; then
  echo 'kv get of a missing key succeeded' >&2
  exit 1
fi
grep -q 'not_found' "$folder/error"
