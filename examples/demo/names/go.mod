module names

go 1.24

require github.com/keeldb/keel/go v0.1.0

replace github.com/keeldb/keel/go => ../../../go
