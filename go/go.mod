module github.com/keeldb/keel/go

go 1.24
