#!/bin/sh
# Runs empty_database on a new file, then on the same file again (which is opened, not made).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" "$folder/empty.keel" "$2"
"$1" "$folder/empty.keel" "$2"
