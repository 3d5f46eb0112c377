// Package rollout decides about a staged replacement of one behaviour of a route by another: how much of the traffic the
// candidate gets, when it gets more, and when it is withdrawn.
//
// It is pure: State takes evidence, one exchange at a time, and Step says from it and the time given what is to be done.
// There is no I/O, no clock and no goroutine in it; the same inputs in the same order give the same state, byte for byte,
// also when the state was written as JSON and read again in between. It is not for carrying anything out: package app saves
// the state, sets the gateway's weights and sends notices.
//
// Evidence flows like this: the gateway assigns a request with a known probability and writes it into the exchange; the
// pipeline scores the exchange and makes a record.Evidence of it; Observe holds that against each signal of the document.
// A signal is an e-process (package stats, docs/statistics.md): it crosses 1/alpha with a chance of at most alpha when the
// candidate is no worse, whenever one looks. What cannot be, such as a propensity outside [0, 1], is refused and counted,
// and never helps a candidate to pass.
package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Phase is where a rollout stands.
type Phase string

// The phases. Paused keeps the weight and stops promotions, but not rollbacks.
const (
	Pending    Phase = "pending"
	Shadowing  Phase = "shadow"
	Running    Phase = "running"
	Baking     Phase = "baking"
	Paused     Phase = "paused"
	Done       Phase = "done"
	RolledBack Phase = "rolled_back"
	Aborted    Phase = "aborted"
)

// Final says whether nothing can come after p.
func (p Phase) Final() bool { return p == Done || p == RolledBack || p == Aborted }

// Why evidence was refused: keys of State.Refused.
const (
	RefusedOther      = "other"      // of another rollout or route
	RefusedArm        = "arm"        // of a variant that the rollout does not know
	RefusedPropensity = "propensity" // a probability that cannot be, or that the arm cannot have come of
	RefusedStage      = "stage"      // of a stage that the rollout does not have
	RefusedTime       = "time"       // without a time
	RefusedUnit       = "unit"       // without the unit that it was assigned by
	RefusedRetry      = "retry"      // the client's repetition of a request that has been counted
	RefusedEnded      = "ended"      // after the end
	RefusedLate       = "late"       // an outcome that came after its delay
	RefusedTwice      = "twice"      // an outcome that is there
	RefusedFull       = "full"       // more outcomes or cases than wait
	RefusedUnpaired   = "unpaired"   // a shadow's answer without the baseline's
	RefusedKind       = "kind"       // of a kind that is not known
)

// Variant is one of a route's behaviours: its name there, and the hash of what it does.
type Variant struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// Start is what New must know besides the document.
type Start struct {
	Baseline  Variant
	Candidate Variant
	// Frozen are quantiles of the baseline's traffic before the rollout, by signal; signals without one learn theirs.
	Frozen map[string]float64
	By     string
	Why    string
	// Note goes into the first transition.
	Note string
}

// State is a rollout under way. It is to be written as JSON after each batch of evidence, and stays within 500 KB of it;
// without sessions, users and shadows within 100 KB.
// It is not safe for concurrent use.
type State struct {
	Doc       *config.Rollout `json:"doc"`
	Baseline  Variant         `json:"baseline"`
	Candidate Variant         `json:"candidate"`
	// Frame is the last frame of the bus whose evidence has been taken. It is the caller's.
	Frame uint64 `json:"frame"`

	Phase Phase `json:"phase"`
	// Before is the phase that a paused rollout goes back to.
	Before Phase `json:"before,omitempty"`
	Stage  int   `json:"stage"`
	// Now is the latest time that Step was given. Time never goes back.
	Now     time.Time `json:"now"`
	Created time.Time `json:"created"`
	// Since is the start of the stage, later by the time that it was paused; PausedAt the start of a pause.
	Since    time.Time `json:"since"`
	PausedAt time.Time `json:"paused_at,omitzero"`
	// Extended is how often the stage was extended, Undecided that it was at its end without a decision.
	Extended  int  `json:"extended,omitempty"`
	Undecided bool `json:"undecided,omitempty"`
	// Ready says that the router outside was told that it may go on.
	Ready bool `json:"ready,omitempty"`
	// BothArms names a signal that became much worse in both arms, as in a provider's outage; empty for none.
	BothArms string `json:"both_arms,omitempty"`
	// Warned says that at 100% the candidate was seen to be far above what the baseline had been.
	Warned bool `json:"warned,omitempty"`

	Signals   []*signal `json:"signals"`
	Seen      units     `json:"seen"`
	Hits      units     `json:"hits"`
	Pairs     *pairs    `json:"pairs,omitempty"`
	Late      []late    `json:"late,omitempty"`
	Sentinels sentinels `json:"sentinels"`
	journal

	alphaSupporting float64
}

// New returns the state of a rollout that has not begun: its first Step begins it.
func New(doc *config.Rollout, start Start, now time.Time) (*State, error) {
	switch {
	case doc == nil || doc.Kind != config.KindRollout:
		return nil, errors.New("rollout: the document is not a rollout")
	case len(doc.Stages) == 0 || len(doc.Signals) == 0 || len(doc.Signals) > config.MaxSignals:
		return nil, fmt.Errorf("rollout %s: %d stages and %d signals: want what LoadRollout returns", doc.Name, len(doc.Stages), len(doc.Signals))
	case start.Baseline.Name == "" || start.Candidate.Name == "" || start.Baseline.Name == start.Candidate.Name:
		return nil, fmt.Errorf("rollout %s: baseline %q and candidate %q: want two variants", doc.Name, start.Baseline.Name, start.Candidate.Name)
	case now.IsZero():
		return nil, fmt.Errorf("rollout %s: no time", doc.Name)
	}
	s := &State{
		Doc: doc, Baseline: start.Baseline, Candidate: start.Candidate, Phase: Pending, Now: clean(now), Created: clean(now), Since: clean(now),
		Seen: newUnits(mostSeen), Hits: newUnits(mostHits),
	}
	for i := range doc.Signals {
		g := newSignal(&doc.Signals[i], doc.Outside())
		if x, ok := start.Frozen[g.Name]; ok && g.Frozen != nil && !g.Frozen.Ready {
			if !(x > 0) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("rollout %s: signal %s: the baseline's quantile is %v: want a number above 0", doc.Name, g.Name, x)
			}
			g.Frozen.Threshold, g.Frozen.Ready = x, true
		}
		if g.Rate != nil && doc.Unit != config.UnitRequest {
			g.Rate.Rare = true
			g.Rate.estimate()
		}
		s.Signals = append(s.Signals, g)
	}
	s.attach()
	s.note(Transition{From: "", To: Pending, By: start.By, Why: start.Why, Note: start.Note})
	return s, nil
}

// clean is a time as it is read again from JSON.
func clean(t time.Time) time.Time { return t.UTC().Round(0) }

// attach splits alpha over the signals and gives each its document.
func (s *State) attach() {
	total, supporting := 0.0, 0
	for i := range s.Doc.Signals {
		switch g := &s.Doc.Signals[i]; g.Role {
		case config.RoleCritical:
			total += g.AlphaShare
		case config.RoleSupporting:
			supporting++
		}
	}
	if supporting > 0 {
		total += s.Doc.SupportingShare
		s.alphaSupporting = s.Doc.Alpha * s.Doc.SupportingShare / total
	}
	for i, g := range s.Signals {
		g.attach(&s.Doc.Signals[i])
		if g.doc.Role == config.RoleCritical {
			g.alpha = s.Doc.Alpha * g.doc.AlphaShare / total
		}
	}
}

// UnmarshalJSON reads a state that was written as JSON.
func (s *State) UnmarshalJSON(data []byte) error {
	type plain State
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("rollout: state: %w", err)
	}
	out := State(p)
	if out.Doc == nil || len(out.Signals) != len(out.Doc.Signals) || out.Stage < 0 || out.Stage >= len(out.Doc.Stages) {
		return errors.New("rollout: state: its signals or stage are not those of its document")
	}
	for i, g := range out.Signals {
		if err := g.check(&out.Doc.Signals[i], out.Doc.Outside()); err != nil {
			return fmt.Errorf("rollout: state: signal %s: %w", out.Doc.Signals[i].Name, err)
		}
	}
	out.attach()
	*s = out
	return nil
}

// check says whether a signal's state is one of its document's.
func (s *signal) check(g *config.Signal, outside bool) error {
	fresh := newSignal(g, outside)
	switch {
	case s == nil || s.Name != g.Name:
		return errors.New("another signal's")
	case (s.Rate == nil) != (fresh.Rate == nil) || (s.Score == nil) != (fresh.Score == nil) || (s.Margin == nil) != (fresh.Margin == nil) || (s.Frozen == nil) != (fresh.Frozen == nil) || (s.Two == nil) != (fresh.Two == nil):
		return errors.New("it is of another kind")
	case !(s.Pool.C > 0 && s.Pool.C < 1) || !(s.Pool.V > 0):
		return errors.New("its mean or variance cannot be")
	case s.Two != nil:
		return s.Two.valid()
	case len(s.wealth().W) != len(fresh.wealth().W) || s.Margin != nil && len(s.Margin.W) != len(fresh.Margin.W):
		return errors.New("its mixture has another number of parts")
	}
	for _, w := range append(s.wealth().W, s.wealth().Cash) {
		if !(w >= 0) {
			return errors.New("its capital is below 0")
		}
	}
	return nil
}

// Observe takes up what came of one exchange. It must be called once for each, in the order of the bus.
func (s *State) Observe(e record.Evidence) {
	if s.Phase.Final() {
		s.refuse(RefusedEnded)
		return
	}
	if !e.Unrouted && (s.Candidate.Name == config.Baseline || e.Variant == s.Baseline.Name && e.Variant != config.Baseline) {
		// The probability in the evidence is that of the variant that is not the route's own; here that is not the candidate.
		e.Propensity = math.Round((1-e.Propensity)*1e12) / 1e12
	}
	if s.Doc.Outside() {
		e.Stage = s.Stage // the exchange does not know
	}
	if why := s.check(&e); why != "" {
		s.refuse(why)
		return
	}
	s.Taken++
	switch {
	case e.Kind == record.EvidenceSentinel:
		s.sentinel(&e)
	case e.Kind == record.EvidenceExchange && e.Variant == record.VariantShadow:
		s.half(pairKey(e.Paired), &e, true)
	case e.Kind == record.EvidenceExchange:
		s.exchange(&e)
	default:
		s.outcome(&e)
	}
}

// check says why evidence cannot be taken.
func (s *State) check(e *record.Evidence) string {
	switch {
	case e.Rollout != s.Doc.Name || e.Route != s.Doc.Route:
		return RefusedOther
	case e.Kind != record.EvidenceExchange && e.Kind != record.EvidenceOutcome && e.Kind != record.EvidenceSentinel:
		return RefusedKind
	case e.Variant != s.Baseline.Name && e.Variant != s.Candidate.Name && (e.Variant != record.VariantShadow || e.Kind != record.EvidenceExchange):
		return RefusedArm
	case e.Time.IsZero():
		return RefusedTime
	case e.Kind == record.EvidenceSentinel:
		return ""
	case e.Stage < 0 || e.Stage >= len(s.Doc.Stages):
		return RefusedStage
	case e.Variant == record.VariantShadow:
		if e.Paired == "" {
			return RefusedUnpaired
		}
		return ""
	case e.Unrouted != s.Doc.Outside():
		return RefusedPropensity
	case e.Unrouted: // it has none
	case !(e.Propensity >= 0 && e.Propensity <= 1):
		return RefusedPropensity
	case e.Variant == s.Candidate.Name && e.Propensity == 0, e.Variant == s.Baseline.Name && e.Propensity == 1:
		return RefusedPropensity
	}
	if s.Doc.Unit != config.UnitRequest {
		if _, ok := hashOf(e.Unit); !ok {
			return RefusedUnit
		}
	}
	return ""
}

func (s *State) arm(e *record.Evidence) stats.Arm {
	if e.Variant == s.Candidate.Name {
		return stats.Canary
	}
	return stats.Control
}

// exchange takes up an exchange of a user's.
func (s *State) exchange(e *record.Evidence) {
	arm := s.arm(e)
	if s.Doc.Stages[e.Stage].Shadow {
		if s.unassigned(e); !e.Alone {
			s.half(pairKey(e.ID), e, false)
		}
		return
	}
	retry := e.Retries > 0
	if retry {
		s.refuse(RefusedRetry)
	}
	for i, g := range s.Signals {
		if g.doc.Delay > 0 || retry && g.doc.Kind != config.SignalRetries {
			continue
		}
		if arm == stats.Control && g.Frozen != nil && !g.Frozen.Ready {
			g.learn(e)
			continue // what the quantile was learnt from is no evidence
		}
		bad, r := g.read(e)
		switch r {
		case known:
			s.observe(i, arm, e.Propensity, bad, e.Stage, e.Unit)
		case invalid:
			g.Invalid++
		}
	}
}

// unassigned learns from an answer of the baseline's in a shadow stage what the baseline is like.
func (s *State) unassigned(e *record.Evidence) {
	for _, g := range s.Signals {
		if g.doc.Delay > 0 || e.Retries > 0 {
			continue
		}
		if g.Frozen != nil && !g.Frozen.Ready {
			g.learn(e)
			continue
		}
		if bad, r := g.read(e); r == known && g.Rate != nil {
			g.Rate.note(bad)
			g.Level.add(stats.Control, bad)
		}
	}
}

// outcome takes up what was learnt later of an exchange.
func (s *State) outcome(e *record.Evidence) {
	for i, g := range s.Signals {
		if g.doc.Delay > 0 {
			s.wait(i, e, s.arm(e))
		}
	}
}

// observe takes up one outcome of a signal.
func (s *State) observe(i int, arm stats.Arm, pi, bad float64, stage int, unit string) {
	g := s.Signals[i]
	now := stage == s.Stage
	if g.Two != nil {
		s.outside(i, arm, bad, stage, unit)
		return
	}
	if s.Doc.Unit != config.UnitRequest {
		s.observeUnit(i, arm, pi, bad, stage, unit)
		return
	}
	g.count(arm, bad, now)
	g.whole(arm, pi, bad)
	if g.Rate == nil {
		return
	}
	g.Rate.bet(arm, pi, int(bad))
	if arm == stats.Control {
		if g.Rate.note(bad); g.Rate.N%refresh == 0 {
			g.Rate.estimate()
		}
	}
}

// observeUnit takes up one outcome of a session's or user's. A unit counts once in a stage: for a rare event with its
// first event, whenever that comes, and in every other way with its first outcome. Neither depends on what comes later.
func (s *State) observeUnit(i int, arm stats.Arm, pi, bad float64, stage int, text string) {
	g := s.Signals[i]
	h, _ := hashOf(text)
	rare := g.Rate != nil && !g.Rate.Full
	if one, ok := s.Seen.find(h, stage, arm); ok && !one.has(i) {
		at := s.given(one, pi)
		g.count(arm, bad, stage == s.Stage)
		g.whole(arm, at, bad)
		if g.Rate != nil {
			if !rare {
				g.Rate.bet(arm, at, int(bad))
			}
			if arm == stats.Control {
				g.Rate.note(bad)
			}
		}
		s.Seen.count(h, one, i)
	}
	if !rare || bad == 0 {
		return
	}
	if one, ok := s.Hits.find(h, stage, arm); ok && !one.has(i) {
		g.Rate.bet(arm, s.given(one, pi), 1)
		s.Hits.count(h, one, i)
	}
}

// given is the probability of the candidate for a unit that was on the baseline in an earlier stage.
func (s *State) given(one unit, pi float64) float64 {
	if one.before == noStage {
		return pi
	}
	w := s.Doc.Stages[one.before].Weight
	if pi <= w {
		return 0 // the weight has not grown: it is where it was
	}
	return (pi - w) / (1 - w)
}

// half takes up an answer in a shadow stage, and the pair when it is the second.
func (s *State) half(key uint64, e *record.Evidence, shadow bool) {
	if s.Pairs == nil || e.Stage != s.Stage || e.Retries > 0 {
		if shadow {
			s.refuse(RefusedUnpaired)
		}
		return
	}
	var one half
	one.shadow = shadow
	for i, g := range s.Signals {
		if g.doc.Delay > 0 {
			continue
		}
		switch bad, r := g.read(e); r {
		case known:
			one.has |= 1 << i
			one.bad = append(one.bad, bad)
		case invalid:
			g.Invalid++
		}
	}
	other, ok := s.Pairs.take(key, shadow)
	if !ok {
		if s.Pairs.put(key, one) {
			s.refuse(RefusedUnpaired)
		}
		return
	}
	candidate, baseline := one, other
	if !shadow {
		candidate, baseline = other, one
	}
	for i, g := range s.Signals {
		a, ok1 := candidate.value(i)
		b, ok2 := baseline.value(i)
		if ok1 && ok2 {
			g.pair(a, b)
		}
	}
}
