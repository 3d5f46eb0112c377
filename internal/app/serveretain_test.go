package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/store"
)

// deleting counts how often it is asked to delete, and fails the first time.
type deleting struct {
	store.Store
	n int
}

func (d *deleting) Delete(context.Context, config.Retention, time.Time) (store.Deleted, error) {
	if d.n++; d.n == 1 {
		return store.Deleted{}, errors.New("down")
	}
	return store.Deleted{Content: 1}, nil
}

// TestRetain deletes hourly from a file and daily from a server; what failed is tried again after an hour.
func TestRetain(t *testing.T) {
	f := func(url string, hours, want int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s := &Service{o: ServeOptions{Log: slog.New(slog.DiscardHandler)}}
			s.state.Store(&serveState{server: &config.Server{Roles: []string{config.RoleWorker}, Store: config.StoreConfig{URL: url}}})
			var d deleting
			s.store.set(&d, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(hours)*time.Hour+time.Minute)
			defer cancel()
			s.retain(ctx)
			if d.n != want {
				t.Errorf("%q: deleted %d times in %d hours, want %d", url, d.n, hours, want)
			}
		})
	}
	f("", 72, 73)
	f("clickhouse://a/b", 0, 1)
	f("clickhouse://a/b", 1, 2)
	f("clickhouse://a/b", 24, 2)
	f("clickhouse://a/b", 72, 4)
}
