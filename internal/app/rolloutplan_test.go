package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/store"
)

func TestTrafficOfTheLastDay(t *testing.T) {
	doc, err := config.LoadRollout("r.yaml", []byte("name: r\nroute: main\ncandidate: new\nsignals: [{kind: error_rate, margin: 1%}, {score: helpful, margin: 5%}, {score: rude, margin: 5%, worse: higher}, {score: none, margin: 5%}]\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	at := func(hoursAgo int, count int64, wrong float64, means ...store.Mean) api.PointBody {
		p := api.PointBody{Point: store.Point{Time: now.Truncate(time.Hour).Add(-time.Duration(hoursAgo) * time.Hour), Count: count, Scores: means}}
		p.Latency.Count = count
		if count > 0 {
			p.ErrorRate = &wrong
		}
		return p
	}
	p, note, err := trafficOf(doc, []api.PointBody{at(20, 0, 0), at(2, 900, 0.01, store.Mean{Name: "helpful", Count: 300, Value: 0.9}), at(1, 0, 0), at(0, 100, 0.11, store.Mean{Name: "helpful", Count: 100, Value: 0.5}, store.Mean{Name: "rude", Count: 10, Value: 0.25})}, now)
	if err != nil {
		t.Fatal(err)
	}
	near := func(name string, got, want float64) {
		t.Helper()
		if got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	near("requests an hour", p.Requests, 400)
	near("error_rate", p.Rates["error_rate"], 0.02)
	near("helpful", p.Rates["helpful"], 0.2)
	near("rude", p.Rates["rude"], 0.25)
	if _, ok := p.Rates["none"]; ok || !p.Learnt || !strings.Contains(note, "last 2.5 hours, 1000 requests") {
		t.Errorf("%+v %s", p, note)
	}
	if p, _, err := trafficOf(doc, []api.PointBody{at(3, 0, 0)}, now); err == nil || !strings.Contains(err.Error(), `r.yaml:2:8: route: "main": the server has seen no request`) {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestLoadPlannedRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "r.yaml")
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if doc, err := LoadPlanned(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v: want %q", doc, err, want)
		}
	}
	f("", "cannot be read")
	f("name: r\nroute: main\ncandidate: new\nstages: [50%, 5%]\n", "out of order")
}
