//go:build cgo

package duckdb

import (
	"context"
	"fmt"
	"time"

	"github.com/telltale-llm/telltale/internal/store"
)

// pace is how much was put lately; whoever holds Store.write uses it.
type pace struct {
	busy  bool
	since time.Time
	bytes int
}

const (
	paceWindow = 2 * time.Second
	busyRate   = 14 << 20 // bytes a second
	rowBytes   = 600      // of an exchange without its content, about
)

// keepPace chooses the size of the write-ahead log at which it is moved into the file, by how much is put. Once busy, it takes
// half the rate to be so no more.
func (s *Store) keepPace(ctx context.Context, rows []store.Row, contents []*store.ContentRow, now time.Time) {
	p := &s.pace
	p.bytes += rowBytes * len(rows)
	for _, c := range contents {
		if c != nil {
			p.bytes += len(c.System) + len(c.Input) + len(c.Output) + len(c.Body) + len(c.TopK) + len(c.ToolCalls)
		}
	}
	took := now.Sub(p.since)
	if took < paceWindow {
		return
	}
	rate := float64(p.bytes) / took.Seconds()
	busy := rate >= busyRate || p.busy && rate >= busyRate/2
	p.since, p.bytes = now, 0
	if busy == p.busy || s.opts.BusyCheckpoint == s.opts.Checkpoint {
		return
	}
	size := s.opts.Checkpoint
	if busy {
		size = s.opts.BusyCheckpoint
	}
	// It is about speed alone: when it fails, the next window tries again.
	if _, err := s.writer.ExecContext(ctx, fmt.Sprintf("SET wal_autocheckpoint = '%s'", size)); err == nil {
		p.busy = busy
		if s.opts.Busy != nil {
			s.opts.Busy(busy)
		}
	}
}
