//go:build cgo

package duckdb

import (
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/store"
)

func TestKeepPace(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), Options{Checkpoint: "32MB", BusyCheckpoint: "128MB"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	now := time.Now()
	f := func(bytes int, after time.Duration, want string) {
		t.Helper()
		now = now.Add(after)
		s.write.Lock()
		s.keepPace(t.Context(), nil, []*store.ContentRow{nil, {Output: string(make([]byte, bytes))}}, now)
		s.write.Unlock()
		var got string
		if err := s.db.QueryRowContext(t.Context(), "SELECT current_setting('wal_autocheckpoint')").Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%d bytes after %s: %s, want %s", bytes, after, got, want)
		}
	}
	const low, high = "30.5 MiB", "122.0 MiB"
	f(100<<20, time.Second, low) // how long it took is not known yet
	f(10<<20, 2*time.Second, low)
	f(20<<20, time.Second, low) // half a window
	f(20<<20, time.Second, high)
	f(20<<20, 2*time.Second, high)
	f(10<<20, 2*time.Second, low)
	f(60<<20, time.Minute, low)
}
