//go:build !cgo

package duckdb

import (
	"context"
	"errors"

	"github.com/telltale-llm/telltale/internal/store"
)

// ErrNoCgo says that this telltale was built without DuckDB.
var ErrNoCgo = errors.New("store: this telltale was built without cgo and has no DuckDB: build it with CGO_ENABLED=1 and a C compiler, or set store.url to a ClickHouse server")

// Open returns ErrNoCgo.
func Open(context.Context, string, Options) (store.Store, error) { return nil, ErrNoCgo }
