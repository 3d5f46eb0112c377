package rollout

import (
	"math"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// signal is the evidence of one signal.
type signal struct {
	Name string `json:"name"`
	// Of control and candidate: outcomes, those of the stage, and the sum of their badness.
	Seen  [2]int64   `json:"seen"`
	Stage [2]int64   `json:"stage"`
	Sum   [2]float64 `json:"sum"`
	// Invalid counts what could not be a value.
	Invalid int64 `json:"invalid,omitempty"`

	Rate   *rateTest   `json:"rate,omitempty"`
	Score  *scoreTest  `json:"score,omitempty"`
	Margin *marginTest `json:"margin,omitempty"`
	// Two is instead of these where another router shares out the requests.
	Two    *twoSample `json:"two,omitempty"`
	Pool   pool       `json:"pool"`
	Diff   difference `json:"difference"`
	Frozen *frozen    `json:"frozen,omitempty"`
	Level  level      `json:"level"`

	// From the document.
	doc   *config.Signal
	alpha float64 // of a critical signal
	p     float64 // of the quantile; 0 for none
}

func newSignal(g *config.Signal, outside bool) *signal {
	s := &signal{Name: g.Name, Pool: newPool()}
	switch {
	case outside:
		s.Two = &twoSample{}
	case g.Kind == config.SignalScore:
		s.Score = new(newScoreTest(reserve))
	default:
		s.Rate = new(newRateTest(reserve))
	}
	if g.Margin > 0 && !outside {
		s.Margin = new(newMarginTest(g.Margin, g.Relative))
	}
	if p := quantile(g); p > 0 {
		s.Frozen = &frozen{Threshold: g.Threshold, Ready: g.Threshold > 0}
	}
	s.attach(g)
	return s
}

// attach gives a signal what its document says, also after its state was read.
func (s *signal) attach(g *config.Signal) {
	s.doc, s.p = g, quantile(g)
	if s.Margin != nil {
		s.Margin.margin, s.Margin.relative = g.Margin, g.Relative
	}
}

// read returns the badness of an exchange: 0 or 1 for an event, and for a score how far it is from the best.
func (s *signal) read(e *record.Evidence) (bad float64, r reading) {
	x, r := measure(s.doc, e)
	if r != known {
		return 0, r
	}
	if s.Frozen != nil {
		if !s.Frozen.Ready {
			return x, missing
		}
		if s.doc.Worse == "lower" {
			return event(x < s.Frozen.Threshold), known
		}
		return event(x > s.Frozen.Threshold), known
	}
	if !s.event() && s.doc.Worse == "lower" {
		return 1 - x, known
	}
	return x, known
}

// learn takes an outcome of the baseline for the frozen quantile.
func (s *signal) learn(e *record.Evidence) {
	if s.Frozen == nil || s.Frozen.Ready {
		return
	}
	x, r := measure(s.doc, e)
	if r != known {
		return
	}
	if s.doc.Worse != "lower" {
		s.Frozen.learn(x, s.p)
		return
	}
	if s.Frozen.learn(-x, s.p); s.Frozen.Ready {
		s.Frozen.Threshold = -s.Frozen.Threshold
	}
}

// count notes an outcome of an arm.
func (s *signal) count(arm stats.Arm, bad float64, now bool) {
	s.Seen[arm]++
	s.Sum[arm] += bad
	if now {
		s.Stage[arm]++
	}
}

// whole takes up an outcome that counts in every way: a request that is a unit, or the first of a unit in a stage.
func (s *signal) whole(arm stats.Arm, pi, bad float64) {
	if s.Margin != nil {
		s.Margin.bet(&s.Pool, arm, pi, bad)
	}
	s.Diff.add(&s.Pool, arm, pi, bad)
	if s.Score != nil {
		s.Score.bet(&s.Pool, arm, pi, bad)
	}
	s.Pool.add(bad)
	if s.Rate != nil {
		s.Level.add(arm, bad)
	}
}

// pair takes up the badness of two answers to one request.
func (s *signal) pair(candidate, baseline float64) {
	if s.Rate != nil {
		s.Rate.pair(int(candidate), int(baseline))
	} else {
		s.Score.pair(candidate - baseline)
	}
	if s.Margin != nil {
		s.Margin.pair(&s.Pool, candidate, baseline)
	}
	s.Diff.pair(candidate - baseline)
	s.Pool.add(baseline)
	s.Pool.add(candidate)
	s.count(stats.Control, baseline, true)
	s.count(stats.Canary, candidate, true)
}

func (s *signal) wealth() *wealth {
	if s.Rate != nil {
		return &s.Rate.wealth
	}
	return &s.Score.wealth
}

// rejects says whether "the candidate is no worse" has been rejected at alpha.
func (s *signal) rejects(alpha float64) bool { return s.peak() >= -math.Log(alpha) }

// event says whether the outcomes are events, 0 or 1, and not scores.
func (s *signal) event() bool { return s.doc.Kind != config.SignalScore }

// logE is the logarithm of the e-process of "the candidate is no worse" now, peak the highest that it was.
func (s *signal) logE() float64 {
	if s.Two != nil {
		return s.Two.logE()
	}
	return s.wealth().logE()
}

func (s *signal) peak() float64 {
	if s.Two != nil {
		return s.Two.Peak
	}
	return s.wealth().Peak
}

// logMargin is the logarithm of the e-process of "the candidate is worse by the margin or more"; ok is false without a margin.
func (s *signal) logMargin() (log float64, ok bool) {
	switch {
	case s.doc.Margin <= 0:
		return 0, false
	case s.Two != nil:
		return s.Two.logMargin(s.doc), true
	}
	return s.Margin.logE(), true
}

func (s *signal) difference(alpha float64) (stats.Interval, bool) {
	if s.Two != nil {
		return s.Two.interval(alpha)
	}
	return s.Diff.interval(alpha)
}

// within says whether the candidate is shown to be within the margin, now.
func (s *signal) within(alpha float64) bool {
	log, ok := s.logMargin()
	return ok && log >= -math.Log(alpha)
}

// stageBegins prepares the evidence for a further stage.
func (s *signal) stageBegins() {
	if s.Two != nil {
		return
	}
	s.wealth().stake()
	if s.Rate != nil {
		s.Rate.estimate()
	}
}

// level tells how often an event is now from how often it was, in each arm. It only describes, and holds promotions:
// no rollback rests on it.
type level struct {
	Now    [2]recent `json:"now"`
	Before recent    `json:"before"` // of the baseline
	// Held counts outcomes of the baseline that were not taken into Before, since both arms are far above it.
	Held int64 `json:"held,omitempty"`
}

type recent struct {
	N   float64 `json:"n"`
	Sum float64 `json:"sum"`
}

func (r *recent) add(x, keep float64) { r.N, r.Sum = r.N*keep+1, r.Sum*keep+x }

func (r *recent) mean() float64 {
	if r.N == 0 {
		return 0
	}
	return r.Sum / r.N
}

const (
	levelNow    = 30.0   // outcomes that count as now
	levelBefore = 2000.0 // that count as before
	levelLeast  = 10.0
	// A rate is far above what it was when it is this many times as high and this much higher.
	levelTimes = 4.0
	levelMore  = 0.10
	// levelHeld is after how many outcomes a lasting change becomes what was before.
	levelHeld = 5000
)

func (l *level) add(arm stats.Arm, bad float64) {
	l.Now[arm].add(bad, 1-1/levelNow)
	if arm != stats.Control {
		return
	}
	switch far := l.far(stats.Control); {
	case far && l.Held < levelHeld:
		l.Held++
		return
	case !far && l.Held > 0:
		l.Held--
	}
	l.Before.add(bad, 1-1/levelBefore)
}

// far says whether an arm's rate is far above what the baseline's was.
func (l *level) far(arm stats.Arm) bool {
	before, now := l.Before.mean(), l.Now[arm].mean()
	return l.Before.N >= 5*levelLeast && l.Now[arm].N >= levelLeast && now >= levelTimes*before && now >= before+levelMore
}

// both says whether the event has become much more frequent in both arms, as in an outage of the provider's.
func (l *level) both() bool { return l.far(stats.Control) && l.far(stats.Canary) }
