package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Experiment is an A/B experiment under way: variants with fixed weights, one metric, and for each variant an always
// valid interval of its difference from the first. It is fed and stepped like a State, and kept like one.
type Experiment struct {
	Doc   *config.Rollout `json:"doc"`
	Arms  []Arm           `json:"arms"`
	Frame uint64          `json:"frame"`

	Phase    Phase     `json:"phase"` // pending, running, paused, done or aborted
	Now      time.Time `json:"now"`
	Created  time.Time `json:"created"`
	Since    time.Time `json:"since"`
	PausedAt time.Time `json:"paused_at,omitzero"`
	// Ended is when it ended, Outcome how.
	Ended   time.Time `json:"ended,omitzero"`
	Outcome string    `json:"outcome,omitempty"`

	Pool    pool    `json:"pool"`
	Frozen  *frozen `json:"frozen,omitempty"`
	Seen    units   `json:"seen"`
	Late    []late  `json:"late,omitempty"`
	Invalid int64   `json:"invalid,omitempty"`
	journal
}

// Arm is a variant of an experiment with what was seen of it.
type Arm struct {
	Variant
	Weight float64 `json:"weight"`
	N      int64   `json:"n"`
	Sum    float64 `json:"sum"`
	// Diff is the difference of the arm from the first; unused in the first itself.
	Diff difference `json:"difference"`
}

// How an experiment ends: values of Experiment.Outcome.
const (
	OutcomeSignificant = "significant" // an interval does not hold 0
	OutcomeFutile      = "futile"      // every difference is too small to matter
	OutcomeTime        = "max_duration"
	OutcomeAborted     = "aborted"
)

// NewExperiment returns an experiment that has not begun. ids are the behaviour ids of the document's variants, in its order.
func NewExperiment(doc *config.Rollout, ids []string, start Start, now time.Time) (*Experiment, error) {
	switch {
	case doc == nil || doc.Kind != config.KindExperiment || doc.Metric == nil:
		return nil, errors.New("rollout: the document is not an experiment")
	case len(doc.Arms) < 2 || len(doc.Arms) > mostArms || len(ids) != len(doc.Arms):
		return nil, fmt.Errorf("experiment %s: %d variants and %d ids: want what LoadRollout returns, and an id for each", doc.Name, len(doc.Arms), len(ids))
	case now.IsZero():
		return nil, fmt.Errorf("experiment %s: no time", doc.Name)
	}
	x := &Experiment{Doc: doc, Phase: Pending, Now: clean(now), Created: clean(now), Since: clean(now), Pool: newPool(), Seen: newUnits(mostSeen)}
	for i, a := range doc.Arms {
		x.Arms = append(x.Arms, Arm{Variant: Variant{a.Variant, ids[i]}, Weight: a.Weight})
	}
	if quantile(doc.Metric) > 0 {
		x.Frozen = &frozen{Threshold: doc.Metric.Threshold, Ready: doc.Metric.Threshold > 0}
		if q := start.Frozen[doc.Metric.Name]; q > 0 && !math.IsInf(q, 0) && !x.Frozen.Ready {
			x.Frozen.Threshold, x.Frozen.Ready = q, true
		}
	}
	x.note(Transition{To: Pending, By: start.By, Why: start.Why, Note: start.Note})
	return x, nil
}

// UnmarshalJSON reads an experiment that was written as JSON.
func (x *Experiment) UnmarshalJSON(data []byte) error {
	type plain Experiment
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("rollout: experiment: %w", err)
	}
	if p.Doc == nil || p.Doc.Metric == nil || len(p.Arms) != len(p.Doc.Arms) || (p.Frozen != nil) != (quantile(p.Doc.Metric) > 0) || !(p.Pool.C > 0 && p.Pool.C < 1) {
		return errors.New("rollout: experiment: the state is not one of its document")
	}
	*x = Experiment(p)
	return nil
}

func (x *Experiment) note(t Transition) []Action {
	t.At = x.Now
	return x.enter(t)
}

// Observe takes up what came of one exchange.
func (x *Experiment) Observe(e record.Evidence) {
	if x.Phase.Final() {
		x.refuse(RefusedEnded)
		return
	}
	arm, why := x.check(&e)
	if why != "" {
		x.refuse(why)
		return
	}
	x.Taken++
	g := x.Doc.Metric
	if (e.Kind == record.EvidenceOutcome) != (g.Delay > 0) {
		return
	}
	if e.Retries > 0 && g.Kind != config.SignalRetries {
		x.refuse(RefusedRetry)
		return
	}
	v, r := measure(g, &e)
	if r == invalid {
		x.Invalid++
	}
	if r != known {
		return
	}
	if x.Frozen != nil && !x.Frozen.Ready {
		// Only the first arm is learnt from: the quantile is then the same whatever the others do.
		if arm == 0 {
			if g.Worse == "lower" {
				if x.Frozen.learn(-v, quantile(g)); x.Frozen.Ready {
					x.Frozen.Threshold = -x.Frozen.Threshold
				}
			} else {
				x.Frozen.learn(v, quantile(g))
			}
		}
		return
	}
	switch {
	case x.Frozen != nil && g.Worse == "lower":
		v = event(v < x.Frozen.Threshold)
	case x.Frozen != nil:
		v = event(v > x.Frozen.Threshold)
	}
	if g.Delay == 0 {
		x.observe(arm, v, e.Unit)
		return
	}
	x.wait(&e, arm, v)
}

// check returns the arm of evidence, or why it cannot be taken.
func (x *Experiment) check(e *record.Evidence) (arm int, why string) {
	if e.Rollout != x.Doc.Name || e.Route != x.Doc.Route {
		return 0, RefusedOther
	}
	if e.Kind != record.EvidenceExchange && e.Kind != record.EvidenceOutcome {
		return 0, RefusedKind
	}
	if arm = slices.IndexFunc(x.Arms, func(a Arm) bool { return a.Name == e.Variant }); arm < 0 {
		return 0, RefusedArm
	}
	if e.Time.IsZero() {
		return 0, RefusedTime
	}
	own := e.Propensity
	if e.Variant == config.Baseline {
		own = 1 - own
	}
	if !(math.Abs(own-x.Arms[arm].Weight) <= 1e-6) {
		return 0, RefusedPropensity
	}
	if x.Doc.Unit != config.UnitRequest {
		if _, ok := hashOf(e.Unit); !ok {
			return 0, RefusedUnit
		}
	}
	return arm, ""
}

func (x *Experiment) wait(e *record.Evidence, arm int, v float64) {
	one := late{Due: clean(e.Time.Add(x.Doc.Metric.Delay)), Time: clean(e.Time), ID: e.ID, Arm: stats.Arm(arm), Pi: x.Arms[arm].Weight, Unit: e.Unit, Bad: v}
	at, twice := slices.BinarySearchFunc(x.Late, one, func(a, b late) int { return a.before(&b) })
	switch {
	case one.Due.Before(x.Now):
		x.refuse(RefusedLate)
	case twice:
		x.refuse(RefusedTwice)
	case len(x.Late) >= mostLate:
		x.refuse(RefusedFull)
	default:
		x.Late = slices.Insert(x.Late, at, one)
	}
}

// observe takes up one value of the metric. A session or user counts once, with its first.
func (x *Experiment) observe(arm int, v float64, text string) {
	if x.Doc.Unit != config.UnitRequest {
		h, _ := hashOf(text)
		one, ok := x.Seen.find(h, 0, stats.Arm(arm))
		if !ok || one.has(0) {
			return
		}
		x.Seen.count(h, one, 0)
	}
	a := &x.Arms[arm]
	a.N++
	a.Sum += v
	for i := range x.Arms[1:] {
		x.compare(i+1, arm, v)
	}
	x.Pool.add(v)
}

// compare takes a value up in the difference of one arm from the first. A value of a third arm says nothing of it.
func (x *Experiment) compare(with, arm int, v float64) {
	first, other, c := x.Arms[0].Weight, x.Arms[with].Weight, x.Pool.C
	z := 0.0
	switch arm {
	case 0:
		z = -(v - c) / first
	case with:
		z = (v - c) / other
	}
	width := math.Max((1-c)/other, c/first) + math.Max(c/other, (1-c)/first)
	x.Arms[with].Diff.take(other, c, width, z)
}

// level is the part of alpha of one comparison.
func (x *Experiment) level() float64 { return x.Doc.Alpha / float64(len(x.Arms)-1) }

// Plan is how the route's requests are to be shared out now.
func (x *Experiment) Plan() Plan {
	p := Plan{Rollout: x.Doc.Name, Route: x.Doc.Route, Unit: x.Doc.Unit}
	if x.Phase != Running && x.Phase != Paused {
		return p
	}
	p.Override = x.Doc.Override
	for _, a := range x.Arms {
		if a.Name != config.Baseline {
			p.Arms = append(p.Arms, PlanArm{a.Name, a.Weight})
		}
	}
	return p
}

// Step says what is to be done at a time; as the function Step.
func (x *Experiment) Step(now time.Time) []Action {
	if now = clean(now); now.After(x.Now) {
		x.Now = now
	}
	if x.Phase.Final() {
		return nil
	}
	n := 0
	for ; n < len(x.Late) && !x.Late[n].Due.After(x.Now); n++ {
		x.observe(int(x.Late[n].Arm), x.Late[n].Bad, x.Late[n].Unit)
	}
	x.Late = slices.Delete(x.Late, 0, n)
	if x.Phase == Pending {
		x.Phase, x.Since = Running, x.Now
		out := x.note(Transition{From: Pending, To: Running, Why: "started"})
		return append(out, x.plan(), x.notice("started"))
	}
	if x.Phase == Paused {
		return nil
	}
	if outcome, why := x.decide(); outcome != "" {
		return x.end(Done, outcome, Transition{Why: why})
	}
	return nil
}

// decide says whether the experiment is over, and why.
func (x *Experiment) decide() (outcome, why string) {
	elapsed := x.Now.Sub(x.Since)
	enough := true
	for _, a := range x.Arms {
		enough = enough && a.N >= max(1, int64(x.Doc.Stop.MinSamples))
	}
	if enough && elapsed >= x.Doc.Stop.MinDuration {
		alike := x.Doc.Stop.Futility > 0
		for i := range x.Arms[1:] {
			a := &x.Arms[i+1]
			in, ok := a.Diff.interval(x.level())
			if ok && x.Doc.Stop.Significant && (in.Low > 0 || in.High < 0) {
				return OutcomeSignificant, fmt.Sprintf("the difference of %s from %s is between %.4g and %.4g", a.Name, x.Arms[0].Name, in.Low, in.High)
			}
			alike = alike && ok && in.Low > -x.Doc.Stop.Futility && in.High < x.Doc.Stop.Futility
		}
		if alike {
			return OutcomeFutile, fmt.Sprintf("no difference is as large as %g", x.Doc.Stop.Futility)
		}
	}
	if elapsed >= x.Doc.Stop.MaxDuration {
		return OutcomeTime, fmt.Sprintf("%v have passed", x.Doc.Stop.MaxDuration)
	}
	return "", ""
}

func (x *Experiment) end(to Phase, outcome string, t Transition) []Action {
	t.From, t.To, t.Basis = x.Phase, to, outcome
	x.Phase, x.Outcome, x.Ended, x.PausedAt, x.Late = to, outcome, x.Now, time.Time{}, nil
	out := x.note(t)
	return append(out, x.plan(), x.notice(string(to)+": "+t.Why), Action{Kind: Finish, Outcome: to})
}

func (x *Experiment) plan() Action { return Action{Kind: SetPlan, Plan: new(x.Plan())} }

func (x *Experiment) notice(text string) Action {
	return Action{Kind: Notify, Notice: &Notice{Text: "experiment " + x.Doc.Name + ": " + text}}
}

// Command carries out what a person asks: pause, which keeps the weights and decides nothing, resume or abort. An error
// leaves the experiment as it was.
func (x *Experiment) Command(c Command, now time.Time) ([]Action, error) {
	if strings.TrimSpace(c.By) == "" || len(c.By) > longestWhy || len(c.Why) > longestWhy {
		return nil, fmt.Errorf("experiment %s: %s: want who asks, and who and why of at most %d bytes", x.Doc.Name, c.Kind, longestWhy)
	}
	possible := map[CommandKind]bool{Pause: x.Phase == Running, Resume: x.Phase == Paused, Abort: !x.Phase.Final()}
	can, known := possible[c.Kind]
	if !known {
		return nil, fmt.Errorf("experiment %s: %q is no command for an experiment: want pause, resume or abort", x.Doc.Name, c.Kind)
	}
	if !can {
		return nil, fmt.Errorf("experiment %s: cannot %s: it is %s", x.Doc.Name, c.Kind, x.Phase)
	}
	if now = clean(now); now.After(x.Now) {
		x.Now = now
	}
	t := Transition{From: x.Phase, By: c.By, Why: c.Why}
	switch c.Kind {
	case Abort:
		return x.end(Aborted, OutcomeAborted, t), nil
	case Pause:
		x.Phase, x.PausedAt = Paused, x.Now
	case Resume:
		x.Since, x.Phase, x.PausedAt = x.Since.Add(x.Now.Sub(x.PausedAt)), Running, time.Time{}
	}
	t.To = x.Phase
	return append(x.note(t), x.notice(fmt.Sprintf("%sd by %s: %s", c.Kind, c.By, c.Why))), nil
}
