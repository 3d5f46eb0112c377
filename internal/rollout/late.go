package rollout

import (
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// late is an outcome that was learnt after the answer, such as feedback. It waits until the signal's delay after its
// request has passed for everybody, and is then taken up in the order of the requests: neither a quick complaint nor a slow
// praise comes before its turn.
type late struct {
	Due    time.Time `json:"due"`
	Time   time.Time `json:"time"`
	ID     string    `json:"id"`
	Signal int       `json:"signal"`
	Stage  int       `json:"stage"`
	Arm    stats.Arm `json:"arm"`
	Pi     float64   `json:"pi"`
	Unit   string    `json:"unit,omitempty"`
	Bad    float64   `json:"bad"`
}

// mostLate is how many outcomes wait. Those beyond it are refused, whatever they say.
const mostLate = 1024

func (l *late) before(o *late) int {
	if c := l.Due.Compare(o.Due); c != 0 {
		return c
	}
	if c := l.Time.Compare(o.Time); c != 0 {
		return c
	}
	if c := strings.Compare(l.ID, o.ID); c != 0 {
		return c
	}
	return l.Signal - o.Signal
}

// wait takes a late outcome in.
func (s *State) wait(i int, e *record.Evidence, arm stats.Arm) {
	g := s.Signals[i]
	bad, r := g.read(e)
	switch r {
	case missing:
		return
	case invalid:
		g.Invalid++
		return
	}
	one := late{Due: clean(e.Time.Add(g.doc.Delay)), Time: clean(e.Time), ID: e.ID, Signal: i, Stage: e.Stage, Arm: arm, Pi: e.Propensity, Unit: e.Unit, Bad: bad}
	at, twice := slices.BinarySearchFunc(s.Late, one, func(a, b late) int { return a.before(&b) })
	switch {
	case one.Due.Before(s.Now):
		s.refuse(RefusedLate)
	case twice:
		s.refuse(RefusedTwice)
	case len(s.Late) >= mostLate:
		s.refuse(RefusedFull)
	default:
		s.Late = slices.Insert(s.Late, at, one)
	}
}

// release takes up the outcomes whose time has come.
func (s *State) release(now time.Time) {
	n := 0
	for ; n < len(s.Late) && !s.Late[n].Due.After(now); n++ {
		l := &s.Late[n]
		s.observe(l.Signal, l.Arm, l.Pi, l.Bad, l.Stage, l.Unit)
	}
	s.Late = slices.Delete(s.Late, 0, n)
}
