package view

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/report"
)

// news is what the page of a running run shows. All of it is formatted.
type news struct {
	Total   int          `json:"total"`
	Done    int          `json:"done"`
	Counts  report.Tally `json:"counts"`
	Rate    report.Rate  `json:"rate"`
	Combos  []comboNews  `json:"combos"`
	Errors  []errorNews  `json:"errors"`
	Recent  []happening  `json:"recent"`
	Started string       `json:"started"`
	Speed   string       `json:"speed"`
	Left    string       `json:"left"`
	Quiet   string       `json:"quiet"` // how long nothing has been written, when that is long
	Tokens  string       `json:"tokens"`
	Cost    string       `json:"cost"`
	Resumed int          `json:"resumed"`
	Round   string       `json:"round"` // why there are further rounds of answers
	Trouble string       `json:"trouble"`
}

type comboNews struct {
	Name    string      `json:"name"`
	Rate    report.Rate `json:"rate"`
	Missing int         `json:"missing"`
}

type errorNews struct {
	Reason string `json:"reason"`
	N      int    `json:"n"`
}

// quietAfter is how long a run may write nothing before the page says so.
const quietAfter = 20 * time.Second

// news formats the tail's state.
func (t *tail) news(now time.Time) news {
	n := news{Total: t.total(), Done: t.all.Total(), Counts: t.all, Rate: t.all.Rate(), Recent: slices.Clone(t.recent), Tokens: report.Count(int(t.tokens))}
	for _, r := range t.rounds {
		// A sitting may have gone on with several rounds.
		n.Resumed = max(n.Resumed, r.sitting)
	}
	if len(t.rounds) > 0 && !t.rounds[0].header.Started.IsZero() {
		n.Started = t.rounds[0].header.Started.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	n.Round = t.roundNews()
	if t.priced {
		n.Cost = report.Dollars(t.cost)
	}
	if speed := t.speed(); speed > 0 {
		n.Speed = strconv.FormatFloat(speed, 'f', 1, 64)
		n.Left = report.Seconds(float64(n.Total-n.Done) / speed)
	}
	if q := now.Sub(t.changed); q > quietAfter {
		n.Quiet = report.Seconds(q.Seconds())
	}
	if len(t.combos) > 1 {
		for i := range t.combos {
			c := &t.combos[i]
			n.Combos = append(n.Combos, comboNews{t.comboName(i), c.Rate(), c.Errored + c.Undecided})
		}
	}
	for i := range n.Recent {
		n.Recent[i].Combo = t.comboName(n.Recent[i].combo)
	}
	for why, k := range t.errors {
		if k > 0 {
			n.Errors = append(n.Errors, errorNews{why, k})
		}
	}
	slices.SortFunc(n.Errors, func(a, b errorNews) int { return cmp.Or(b.N-a.N, cmp.Compare(a.Reason, b.Reason)) })
	n.Errors = n.Errors[:min(len(n.Errors), maxErrors)]
	return n
}

// roundNews says why more answers are being drawn; "" in the first round.
func (t *tail) roundNews() string {
	if len(t.rounds) < 2 {
		return ""
	}
	last := t.rounds[len(t.rounds)-1]
	s := "Round " + strconv.Itoa(len(t.rounds)) + ": the gate draws more answers to each case."
	if looks := last.header.Looks; len(looks) > 0 {
		s += " " + report.LookLine(&looks[len(looks)-1])
	}
	return s
}

// watcher follows one run for all who look at it. It reads when one of them asks, at most once in a
// poll, so that no goroutine outlives the streams.
type watcher struct {
	mu      sync.Mutex
	tail    tail
	at      time.Time
	message []byte
	gone    bool
}

// look returns the state as JSON, and whether the journal is gone.
func (w *watcher) look(a at, poll time.Duration) (message []byte, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.message != nil && now.Sub(w.at) < poll/2 {
		return w.message, w.gone
	}
	err := w.tail.read(a.root, now)
	w.gone = errors.Is(err, errNoJournal)
	n := w.tail.news(now)
	if err != nil && !w.gone {
		n.Trouble = report.Line(err.Error(), 300)
	}
	b, err := json.Marshal(n)
	if err != nil {
		b = []byte(`{"trouble":"the state cannot be shown"}`)
	}
	w.at, w.message = now, b
	return b, w.gone
}

// watcher returns the watcher of a run. They are kept while anyone looks at any run, so that a page
// that is loaded again need not read the journal from its beginning.
func (s *Server) watcher(name string) (w *watcher, release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams == maxStreams {
		return nil, nil, false
	}
	s.streams++
	w = s.watchers[name]
	if w == nil {
		w = &watcher{}
		s.watchers[name] = w
	}
	return w, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.streams--; s.streams == 0 {
			clear(s.watchers)
		}
	}, true
}

// heartbeat keeps connections open that have nothing to say.
const heartbeat = 15 * time.Second

// events streams the state of a running run until it is finished or nobody listens.
func (s *Server) events(w http.ResponseWriter, r *http.Request, a at) {
	if r.Method != http.MethodGet {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	watch, release, ok := s.watcher(a.name)
	if !ok {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many pages watch runs.", http.StatusServiceUnavailable)
		return
	}
	defer release()
	w.Header().Set("Content-Type", "text/event-stream")
	out := &stream{w: w, rc: http.NewResponseController(w)}
	if out.send(r.Context(), "retry: 2000\n\n") != nil {
		return
	}
	ticks := time.NewTicker(s.o.Poll)
	defer ticks.Stop()
	var last string
	said := time.Now()
	for {
		message, gone := watch.look(a, s.o.Poll)
		switch {
		case stateOf(a.root) == finished, gone:
			_ = out.send(r.Context(), "event: finished\ndata: {}\n\n")
			return
		case string(message) != last:
			last, said = string(message), time.Now()
			if out.send(r.Context(), "event: state\ndata: "+last+"\n\n") != nil {
				return
			}
		case time.Since(said) > heartbeat:
			said = time.Now()
			if out.send(r.Context(), ": still here\n\n") != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticks.C:
		}
	}
}

// stream writes events, each within a bounded time.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (o *stream) send(ctx context.Context, text string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// A writer that has no deadlines, as in tests, is one that does not block.
	_ = o.rc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprint(o.w, text); err != nil {
		return err
	}
	return o.rc.Flush()
}
