// Package duckdb keeps exchanges in a DuckDB database inside the process: one file, no server. It is the default store, for
// one machine.
//
// It is not for several processes: one at a time may open the file. Writes go through one connection, one batch after the
// other; readers work beside it and see whole batches. A batch is in the write-ahead log, synced, when Put returns; the log
// is moved into the file when it is large, at Close, and after deleting.
//
// DuckDB is C++, so the package needs cgo; without it Open returns an error that says so.
package duckdb

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// File is the database's name in its directory.
const File = "exchanges.duckdb"

// Options are the bounds of what the engine uses. Zero values take the defaults.
type Options struct {
	// Memory is what the engine keeps for its buffers, such as 512MB, the default. The process uses up to 400 MB more at peaks.
	Memory string
	// Threads for queries and checkpoints, 2.
	Threads int
	// Checkpoint is the size of the write-ahead log at which it is moved into the file, 256MB. A smaller one makes appends
	// slower and starting after a crash faster.
	Checkpoint string
	// BusyCheckpoint is that size while much is put at a time, 14 MB a second and more; Checkpoint when empty. Every checkpoint
	// writes the newest rows anew, which have been written before: at 32MB the processor is busy with it for half as long again
	// as with all else that storing takes.
	BusyCheckpoint string
	// Busy is told when that takes over, and when it no longer does; may be nil.
	Busy func(busy bool)
	// SeenBytes bounds the memory of the filter that tells new ids from known ones, 128 MiB; it uses 3 bytes an exchange.
	// With more exchanges than fit, putting becomes slower, not less exact.
	SeenBytes int
}

var (
	size      = regexp.MustCompile(`^[0-9]+(\.[0-9]+)? ?([KMGT]i?B)$`)
	errClosed = errors.New("store: closed")
)

func (o *Options) validate() error {
	if o.Memory == "" {
		o.Memory = "512MB"
	}
	if o.Checkpoint == "" {
		o.Checkpoint = "256MB"
	}
	if o.BusyCheckpoint == "" {
		o.BusyCheckpoint = o.Checkpoint
	}
	if o.Threads == 0 {
		o.Threads = 2
	}
	if o.SeenBytes == 0 {
		o.SeenBytes = 128 << 20
	}
	for name, v := range map[string]string{"memory": o.Memory, "checkpoint": o.Checkpoint, "busy checkpoint": o.BusyCheckpoint} {
		if !size.MatchString(v) {
			return fmt.Errorf("store: %s %q: want a size such as 512MB", name, v)
		}
	}
	if o.Threads < 0 {
		return fmt.Errorf("store: threads %d: want 1 or more", o.Threads)
	}
	if o.SeenBytes < 0 {
		return fmt.Errorf("store: seen bytes %d: want 1 or more", o.SeenBytes)
	}
	return nil
}

func quote(s string) string { return strings.ReplaceAll(s, "'", "''") }
