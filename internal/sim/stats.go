package sim

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"
)

// route numbers the endpoints for counting.
type route uint8

const (
	routeOther route = iota
	routeChat
	routeCompletions
	routeResponses
	routeEmbeddings
	routeModerations
	routeModels
	routeMessages
	routeCountTokens
	routes
)

var routeNames = [routes]string{"other", "chat", "completions", "responses", "embeddings", "moderations", "models", "messages", "count_tokens"}

// counters count what the server did; all are safe for concurrent use.
type counters struct {
	total    atomic.Int64
	byRoute  [routes]atomic.Int64
	inFlight atomic.Int64
	streams  atomic.Int64
	canceled atomic.Int64
	byStatus [600]atomic.Int64
	faults   [len(faultKinds)]atomic.Int64
}

var faultKinds = [...]FaultKind{Status, Hang, Reset, Cut, StreamError, Malformed, Empty}

func (c *counters) begin(r route) int64 {
	c.byRoute[r].Add(1)
	c.inFlight.Add(1)
	return c.total.Add(1)
}

func (c *counters) failed(status int) { c.byStatus[status].Add(1) }

func (c *counters) fault(k FaultKind) {
	for i := range faultKinds {
		if faultKinds[i] == k {
			c.faults[i].Add(1)
		}
	}
}

// Stats is what /sim/stats says. Counts are since the start.
type Stats struct {
	// Requests counts all but /healthz and /sim/stats.
	Requests int64            `json:"requests"`
	ByRoute  map[string]int64 `json:"by_route"`
	InFlight int64            `json:"in_flight"`
	Streams  int64            `json:"streams"`
	// Canceled counts answers whose client went away.
	Canceled int64 `json:"canceled"`
	// Errors counts HTTP errors by status, injected or not.
	Errors map[int]int64 `json:"errors"`
	// Faults counts injected faults by kind.
	Faults  map[FaultKind]int64 `json:"faults"`
	Seconds float64             `json:"seconds"` // since the start, by which scripts run
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	c := &s.counts
	out := Stats{
		Requests: c.total.Load(), InFlight: c.inFlight.Load(), Streams: c.streams.Load(), Canceled: c.canceled.Load(),
		ByRoute: map[string]int64{}, Errors: map[int]int64{}, Faults: map[FaultKind]int64{},
		Seconds: s.m.elapsed().Seconds(),
	}
	for i := range c.byRoute {
		if n := c.byRoute[i].Load(); n > 0 {
			out.ByRoute[routeNames[i]] = n
		}
	}
	for i := range c.byStatus {
		if n := c.byStatus[i].Load(); n > 0 {
			out.Errors[i] = n
		}
	}
	for i := range c.faults {
		if n := c.faults[i].Load(); n > 0 {
			out.Faults[faultKinds[i]] = n
		}
	}
	return out
}

func (s *Server) writeStats(w http.ResponseWriter) {
	b, err := json.MarshalIndent(s.Stats(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(append(b, '\n'))
}

// elapsed is the model's clock between requests.
func (m *Model) elapsed() time.Duration {
	if m.o.ClockPerRequest > 0 {
		return time.Duration(m.requests.Load()) * m.o.ClockPerRequest
	}
	return m.o.Clock()
}
