// Package storetest is what every implementation of store.Store must do, as tests that an implementation's package runs
// against itself. It measures nothing.
package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// Open makes an empty store that the test's end closes.
type Open func(t *testing.T) store.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"round trip", roundTrip}, {"odd texts", oddTexts}, {"once", once}, {"once at the same time", onceAtTheSameTime},
		{"invalid", invalid}, {"not found", notFound}, {"filters", filters}, {"bad queries", badQueries}, {"pages", pages},
		{"text", text}, {"content", content}, {"series", series}, {"series by status and score", seriesScores},
		{"snapshots and roll-ups", rollups}, {"retention", retention}, {"forget", forget}, {"export", export},
		{"stats", stats}, {"late scores", lateScores}, {"late scores that are invalid", lateScoresInvalid}, {"the end of late scores", lateScoresEnd},
		{"late scores of windows", lateScoresOfWindows}, {"readers beside a writer", readersBesideWriter}, {"cancellation", cancellation},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open) })
	}
}

// Series runs the part of the suite that is about series, for an implementation that computes them in more than one way.
func Series(t *testing.T, open Open) {
	series(t, open)
	seriesScores(t, open)
}

// start is a time that is not at the start of anything.
var start = time.Date(2026, 3, 14, 15, 9, 26, 535897000, time.UTC)

// exchange is a plain one, n milliseconds after start.
func exchange(n int) record.Exchange {
	latency := .1 + float64(n%100)/100
	return record.Exchange{
		ID: fmt.Sprintf("x-%06d", n), Source: "gateway", Time: start.Add(time.Duration(n) * time.Millisecond), Route: "support",
		Variant: "baseline", Snapshot: "5f3a9c0d1e2b4a68", Propensity: 1, API: record.APIChat, Model: "gpt-4o-mini",
		Status: 200, FinishReason: "stop", Latency: &latency, Inclusion: 1, Redaction: "r1",
		Content: &record.Content{Input: []record.Message{{Role: "user", Content: fmt.Sprintf("question %d", n)}}, Output: fmt.Sprintf("answer %d", n)},
	}
}

func put(t *testing.T, s store.Store, xs ...record.Exchange) {
	t.Helper()
	added, err := s.Put(t.Context(), xs)
	if err != nil {
		t.Fatal(err)
	}
	if added != len(xs) {
		t.Fatalf("added %d of %d", added, len(xs))
	}
}

func ids(xs []record.Exchange) []string {
	out := make([]string, len(xs))
	for i := range xs {
		out[i] = xs[i].ID
	}
	return out
}

func listed(t *testing.T, s store.Store, q store.Query) []record.Exchange {
	t.Helper()
	page, err := s.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page.Exchanges
}

func ptr[T any](v T) *T { return &v }
