package rollout

import (
	"errors"
	"math"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Guarantee is what can be promised of a rollout whose requests another router shares out; see State.Guarantee.
const Guarantee = "weaker than with telltale's gateway: another router shares out the requests and does not say with what chance, so two samples are compared. " +
	"A candidate that is no worse is withdrawn with a chance of at most alpha if the rates of each arm do not move in the meantime and both get the same kind of requests. " +
	"Rates that move while the shares change, an outage that begins, or harder requests for one arm can look like harm, or hide it"

// Guarantee is empty where the probabilities of the assignments are known and nothing need be said.
func (s *State) Guarantee() string {
	if s.Doc.Outside() {
		return Guarantee
	}
	return ""
}

// twoSample is the evidence of a signal where the probabilities are not known, stats.TwoSample: "the candidate is no worse", and from the
// same sums "the candidate is worse by the margin or more".
//
// While a rate is far above what it was in both arms, as in a provider's outage, outcomes are not taken: an outage is no rate that stays. Whether
// one is taken follows from those before it alone, so that the process keeps its guarantee.
type twoSample struct {
	Arms [2]stats.TwoSampleArm `json:"arms"` // of control and candidate
	// Peak is the highest ln E of the looks so far, which are after every lookEvery outcomes.
	Peak  float64       `json:"peak"`
	Means [2]difference `json:"means"`
	// Left counts outcomes that were not taken.
	Left int64 `json:"left,omitempty"`

	at float64 // where the evidence was least at the latest full look
}

const lookEvery = 4

func (t *twoSample) valid() error {
	for i := range t.Arms {
		if !t.Arms[i].Valid() {
			return errors.New("its sums cannot be those of outcomes")
		}
	}
	if !(t.Peak >= 0) || math.IsInf(t.Peak, 0) {
		return errors.New("its evidence cannot be")
	}
	return nil
}

func (t *twoSample) take(arm stats.Arm, bad float64) {
	if t.Arms[arm].Add(bad) != nil {
		return
	}
	t.Means[arm].take(pairPi, 0, 1, bad-0.5)
	if (t.Arms[0].N+t.Arms[1].N)%lookEvery != 0 {
		return
	}
	// Most looks see at one mean that there is nothing new; which one changes nothing but the time it takes.
	canary, control := &t.Arms[stats.Canary], &t.Arms[stats.Control]
	if stats.TwoSampleAt(canary, control, stats.Gap{}, t.at) > t.Peak {
		var now float64
		now, t.at = stats.TwoSample(canary, control, stats.Gap{})
		t.Peak = max(t.Peak, now)
	}
}

// logE is the logarithm of the e-process of "the candidate is no worse".
func (t *twoSample) logE() float64 {
	log, _ := stats.TwoSample(&t.Arms[stats.Canary], &t.Arms[stats.Control], stats.Gap{})
	return max(log, -750)
}

// logMargin is that of "the candidate is worse by the margin or more".
func (t *twoSample) logMargin(g *config.Signal) float64 {
	gap := stats.Gap{Add: g.Margin}
	if g.Relative {
		gap = stats.Gap{Times: 1 + g.Margin}
	}
	log, _ := stats.TwoSample(&t.Arms[stats.Control], &t.Arms[stats.Canary], gap)
	return max(log, -750)
}

// interval is a confidence sequence for the difference of the means: those of both arms hold together.
func (t *twoSample) interval(alpha float64) (stats.Interval, bool) {
	control, ok1 := t.Means[stats.Control].interval(alpha / 2)
	canary, ok2 := t.Means[stats.Canary].interval(alpha / 2)
	return stats.Interval{Low: canary.Low - control.High, High: canary.High - control.Low}.Clip(-1, 1), ok1 && ok2
}

// outside takes up one outcome whose probability is not known. Sessions and users count once in the whole rollout, with their first
// outcome, on the arm where they were seen first.
func (s *State) outside(i int, arm stats.Arm, bad float64, stage int, unit string) {
	g := s.Signals[i]
	if s.Doc.Unit != config.UnitRequest {
		h, _ := hashOf(unit)
		one, ok := s.Seen.find(h, 0, arm)
		if !ok || one.has(i) {
			return
		}
		s.Seen.count(h, one, i)
	}
	g.count(arm, bad, stage == s.Stage)
	if g.event() && g.Level.both() {
		g.Two.Left++
	} else {
		g.Two.take(arm, bad)
	}
	if g.event() {
		g.Level.add(arm, bad)
	}
}
