//go:build cgo

package duckdb

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"

	"github.com/telltale-llm/telltale/internal/store"
)

// acquire takes the lock beside the database. The system releases it when the process ends in any way.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return nil, &store.LockedError{Path: path}
	}
	return nil, fmt.Errorf("store: lock %s.lock: %w", path, err)
}
