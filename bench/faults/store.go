package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/duckdb"
)

// tryStore keeps the server from its store: another process, here the bench, has the database open while it starts.
func tryStore(ctx context.Context, o options, dir string) (out outcome, err error) {
	dir = filepath.Join(dir, "store")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	data := filepath.Join(dir, "data")
	var held store.Store
	g := outage{name: "store", dir: dir, data: data, last: o.storeAway, starts: true, back: 2 * time.Minute,
		begin: func(ctx context.Context, _ int) (err error) {
			held, err = duckdb.Open(ctx, filepath.Join(data, "store"), duckdb.Options{})
			return err
		},
		end: func(context.Context, int) error {
			open := held
			held = nil
			return open.Close()
		},
	}
	m, err := g.try(ctx, o)
	if err != nil {
		if held != nil {
			err = errors.Join(err, held.Close())
		}
		return out, err
	}
	return m.report(o, "store cannot be opened", fmt.Sprintf("%d × %v, %v", len(m.turns)-1, o.window, o.storeAway), 0), nil
}
