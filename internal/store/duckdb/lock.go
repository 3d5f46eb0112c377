//go:build cgo

package duckdb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/telltale-llm/telltale/internal/lock"
	"github.com/telltale-llm/telltale/internal/store"
)

// acquire takes the lock beside the database. DuckDB has one of its own, but that does not hold between two opens in one
// process. The system releases it when the process ends in any way.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := lock.File(f); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 100))
		_ = f.Close()
		if errors.Is(err, lock.ErrHeld) {
			return nil, &store.LockedError{Path: path, Holder: strings.TrimSpace(string(holder))}
		}
		return nil, fmt.Errorf("store: %w", err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "process %d\n", os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("store: %w", err)
	}
	return f, nil
}
