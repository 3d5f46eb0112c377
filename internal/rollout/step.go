package rollout

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Action is one thing that is to be done about a rollout. Exactly the field of its kind is set.
type Action struct {
	Kind ActionKind `json:"kind"`
	// Plan is what the gateway is to do from now on.
	Plan *Plan `json:"plan,omitempty"`
	// Notice is for people.
	Notice *Notice `json:"notice,omitempty"`
	// Outcome is the final phase.
	Outcome Phase `json:"outcome,omitempty"`
	// Transition has left the bounded history and is to be appended to a log.
	Transition *Transition `json:"transition,omitempty"`
}

// ActionKind says what an action is.
type ActionKind string

// The kinds of action.
const (
	SetPlan ActionKind = "set_plan" // may be done again at any time: see State.Plan
	Notify  ActionKind = "notify"
	Finish  ActionKind = "finish" // the rollout has ended: its lease and schedule can go
	Append  ActionKind = "append"
)

// Notice is a message about a rollout.
type Notice struct {
	// Urgent says that users are or were hurt, or may be.
	Urgent bool   `json:"urgent"`
	Text   string `json:"text"`
}

// Plan is how a route's requests are to be shared out. It has no arms when everything goes to the route's baseline.
type Plan struct {
	Rollout string `json:"rollout"`
	Route   string `json:"route"`
	Stage   int    `json:"stage"`
	Unit    string `json:"unit"`
	// Arms are in the order in which they take their share of the units: the candidate comes first, so that a unit that
	// it has never leaves it while its weight grows.
	Arms []PlanArm `json:"arms,omitempty"`
	// Shadow is the variant that gets copies, empty for none.
	Shadow   string `json:"shadow,omitempty"`
	Override bool   `json:"override,omitempty"`
}

// PlanArm is a variant with its share of the units.
type PlanArm struct {
	Variant string  `json:"variant"`
	Weight  float64 `json:"weight"`
}

// What a promotion rested on: values of Transition.Basis.
const (
	BasisNonInferior = "non_inferiority" // every critical signal was shown to be within its margin
	BasisPlanned     = "planned_sample"  // the planned sample was seen and nothing was rejected
	BasisUndecided   = "undecided"       // the document promotes what is undecided
	BasisByHand      = "by_hand"
	BasisFull        = "bake" // the time at 100% was over
)

// Transition is one change of a rollout, with what was known then.
type Transition struct {
	Sequence int64     `json:"sequence"`
	At       time.Time `json:"at"`
	From     Phase     `json:"from"`
	To       Phase     `json:"to"`
	Stage    int       `json:"stage"`  // after it
	Weight   float64   `json:"weight"` // of the candidate, after it
	// By is who: a person, or "telltale".
	By    string `json:"by"`
	Why   string `json:"why"`
	Basis string `json:"basis,omitempty"`
	// Note is what else was found at that moment, such as where the frozen quantiles come from.
	Note string `json:"note,omitempty"`
	// Signals are the states of all signals at that moment.
	Signals []SignalStatus `json:"signals,omitempty"`
}

// Self is who acts when no person does.
const Self = "telltale"

// note adds a transition to the history, with what is known now. It returns what no longer has a place there.
func (s *State) note(t Transition) []Action {
	t.At, t.Stage, t.Weight, t.Signals = s.Now, s.Stage, s.weight(), s.Statuses()
	return s.enter(t)
}

// phase is the phase behind a pause.
func (s *State) phase() Phase {
	if s.Phase == Paused {
		return s.Before
	}
	return s.Phase
}

// weight is the candidate's share of the units now.
func (s *State) weight() float64 {
	switch s.phase() {
	case Running:
		return s.Doc.Stages[s.Stage].Weight
	case Baking, Done:
		return 1
	}
	return 0
}

// Plan is what the gateway is to do now. Whoever takes a state up again puts it in force.
func (s *State) Plan() Plan {
	p := Plan{Rollout: s.Doc.Name, Route: s.Doc.Route, Stage: s.Stage, Unit: s.Doc.Unit, Override: s.Doc.Override && !s.Phase.Final() && s.Phase != Pending}
	if s.Doc.Outside() {
		return p
	}
	w := s.weight()
	if w > 0 && s.Candidate.Name != config.Baseline {
		p.Arms = append(p.Arms, PlanArm{s.Candidate.Name, w})
	}
	if w < 1 && s.Baseline.Name != config.Baseline && s.Phase != Pending {
		p.Arms = append(p.Arms, PlanArm{s.Baseline.Name, 1 - w})
	}
	if s.phase() == Shadowing {
		p.Shadow = s.Candidate.Name
	}
	return p
}

// Step says what is to be done at a time, given the evidence so far. It is to be called after each batch of evidence, and
// now and then without any. A time before the latest one counts as that.
func Step(s *State, now time.Time) []Action {
	if now = clean(now); now.After(s.Now) {
		s.Now = now
	}
	if s.Phase.Final() {
		return nil
	}
	s.release(s.Now)
	if s.Phase == Pending {
		return s.begin(0, Transition{Why: "started"})
	}
	if why, bad := s.harm(); bad {
		return s.end(RolledBack, Transition{Why: why})
	}
	out := s.outage()
	if s.Phase == Paused {
		return out
	}
	if s.Phase == Baking {
		return append(out, s.bake()...)
	}
	return append(out, s.advance()...)
}

// begin starts a stage.
func (s *State) begin(stage int, t Transition) []Action {
	t.From = s.Phase
	s.Stage, s.Since, s.Extended, s.Undecided, s.Ready = stage, s.Now, 0, false, false
	def := s.Doc.Stages[stage]
	switch {
	case def.Shadow:
		s.Phase, s.Pairs = Shadowing, newPairs(len(s.Signals))
	case def.Weight >= 1:
		s.Phase, s.Pairs = Baking, nil
	default:
		s.Phase, s.Pairs = Running, nil
	}
	t.To = s.Phase
	out := s.note(t)
	// After the note: it shows the evidence that led here.
	for _, g := range s.Signals {
		if g.Stage = [2]int64{}; stage > 0 {
			g.stageBegins()
		}
	}
	s.Sentinels.Passed = 0
	text := fmt.Sprintf("stage %d: %s: %s", stage+1, s.share(), t.Why)
	return append(out, s.plan(), s.notice(false, text))
}

func (s *State) share() string {
	switch {
	case s.Doc.Stages[s.Stage].Shadow:
		return "shadow"
	case s.Doc.Stages[s.Stage].Open():
		return "the router outside decides the share"
	}
	return fmt.Sprintf("%g%%", math.Round(s.Doc.Stages[s.Stage].Weight*1e6)/1e4)
}

// end finishes the rollout.
func (s *State) end(to Phase, t Transition) []Action {
	t.From, t.To = s.Phase, to
	s.Phase, s.Before, s.PausedAt, s.Pairs, s.Late = to, "", time.Time{}, nil, nil
	out := s.note(t)
	text := strings.ReplaceAll(string(to), "_", " ") + ": " + t.Why
	return append(out, s.plan(), s.notice(to != Done, text), Action{Kind: Finish, Outcome: to})
}

func (s *State) plan() Action { return Action{Kind: SetPlan, Plan: new(s.Plan())} }

func (s *State) notice(urgent bool, text string) Action {
	return Action{Kind: Notify, Notice: &Notice{urgent, "rollout " + s.Doc.Name + ": " + text}}
}

// harm says whether the candidate is to be withdrawn, and why. Deterministic evidence comes first.
func (s *State) harm() (why string, bad bool) {
	if alone, _ := s.Sentinels.failing(); len(alone) > 0 {
		return fmt.Sprintf("sentinel %s fails on the candidate and not on the baseline", list(alone)), true
	}
	for _, g := range s.Signals {
		if g.doc.Role == config.RoleCritical && g.rejects(g.alpha) && !g.within(s.Doc.PromotionAlpha) {
			return fmt.Sprintf("%s is worse: e-value %s, bar %s", g.Name, power(g.peak()), power(-math.Log(g.alpha))), true
		}
	}
	if names := s.rejectedTogether(); len(names) > 0 && len(names) >= s.Doc.Supporting {
		return fmt.Sprintf("%s are worse together, by e-BH at alpha %.3g", list(names), s.alphaSupporting), true
	}
	return "", false
}

// rejectedTogether are the supporting signals that e-BH rejects and that are not shown to be within their margin.
func (s *State) rejectedTogether() []string {
	if s.alphaSupporting == 0 {
		return nil
	}
	var e []float64
	var of []*signal
	for _, g := range s.Signals {
		if g.doc.Role == config.RoleSupporting {
			e, of = append(e, math.Exp(math.Min(g.logE(), 700))), append(of, g)
		}
	}
	var names []string
	for i, rejected := range stats.EBH(e, s.alphaSupporting) {
		if rejected && !of[i].within(s.Doc.PromotionAlpha) {
			names = append(names, of[i].Name)
		}
	}
	return names
}

func list(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
	}
	return strings.Join(names, ", ")
}

// power writes e to a power in digits that people read.
func power(log float64) string {
	if log > 14 {
		return fmt.Sprintf("1e%.0f", math.Floor(log/math.Ln10))
	}
	return fmt.Sprintf("%.4g", math.Exp(log))
}

// outage notes when something becomes far worse in both arms, and when that is over. It rolls nothing back.
func (s *State) outage() []Action {
	name := ""
	for _, g := range s.Signals {
		if g.event() && g.doc.Role != config.RoleObserve && s.phase() == Running && g.Level.both() {
			name = g.Name
			break
		}
	}
	if _, both := s.Sentinels.failing(); name == "" && len(both) > 0 {
		name = "sentinel " + list(both)
	}
	if name == s.BothArms {
		return nil
	}
	was := s.BothArms
	s.BothArms = name
	if name == "" {
		return append(s.note(Transition{From: s.Phase, To: s.Phase, Why: was + " is no longer worse in both arms"}),
			s.notice(false, was+" is no longer worse in both arms"))
	}
	why := name + " has become far worse in both arms, as in an outage of the provider's: nothing is rolled back and nothing promoted"
	return append(s.note(Transition{From: s.Phase, To: s.Phase, Why: why}), s.notice(true, why))
}

// bake waits at 100%.
func (s *State) bake() []Action {
	var out []Action
	if !s.Warned {
		for _, g := range s.Signals {
			if g.event() && g.doc.Role == config.RoleCritical && g.Level.far(stats.Canary) {
				s.Warned = true
				why := g.Name + " is far above what the baseline had; at 100% there is no baseline to tell an outage from the candidate"
				out = append(s.note(Transition{From: s.Phase, To: s.Phase, Why: why}), s.notice(true, why))
				break
			}
		}
	}
	if s.Now.Sub(s.Since) < s.Doc.Bake || s.BothArms != "" {
		return out
	}
	if s.Doc.Sentinels != nil && !s.Sentinels.satisfied() {
		return out
	}
	return append(out, s.end(Done, Transition{Why: fmt.Sprintf("%v at 100%%", s.Doc.Bake), Basis: BasisFull})...)
}

// advance promotes a stage, or does what the document says of one that is undecided.
func (s *State) advance() []Action {
	def := s.Doc.Stages[s.Stage]
	elapsed := s.Now.Sub(s.Since)
	basis, why := s.promotable(elapsed)
	if basis != "" && s.Doc.Outside() {
		return s.ready(basis, why)
	}
	if basis != "" {
		return s.begin(s.Stage+1, Transition{Why: why, Basis: basis})
	}
	if elapsed < s.limit(def) || s.Undecided {
		return nil
	}
	why = "undecided after " + s.limit(def).String() + ": " + why
	switch s.Doc.Undecided {
	case config.UndecidedPromote:
		if s.BothArms == "" && s.sentinelsPassed() {
			return s.begin(s.Stage+1, Transition{Why: why, Basis: BasisUndecided})
		}
	case config.UndecidedAbort:
		return s.end(Aborted, Transition{Why: why})
	case config.UndecidedExtend:
		if s.Extended < maxExtensions {
			s.Extended++
			why = fmt.Sprintf("%s: extended by %s, %d of %d times", why, def.MaxDuration, s.Extended, maxExtensions)
			return append(s.note(Transition{From: s.Phase, To: s.Phase, Why: why}), s.notice(false, why))
		}
	}
	s.Undecided = true
	why += ": it stays as it is"
	return append(s.note(Transition{From: s.Phase, To: s.Phase, Why: why}), s.notice(true, why))
}

// ready says, once a stage, that the router outside may go on.
func (s *State) ready(basis, why string) []Action {
	if s.Ready {
		return nil
	}
	s.Ready = true
	why = "may be promoted: " + why
	return append(s.note(Transition{From: s.Phase, To: s.Phase, Why: why, Basis: basis}), s.notice(false, why))
}

// maxExtensions is how often an undecided stage is extended before it holds.
const maxExtensions = 3

// limit is when the stage is undecided.
func (s *State) limit(def config.Stage) time.Duration {
	return def.MaxDuration * time.Duration(1+s.Extended)
}

func (s *State) sentinelsPassed() bool { return s.Doc.Sentinels == nil || s.Sentinels.satisfied() }

// promotable says on what the stage can be promoted, "" when it cannot, and then why not.
func (s *State) promotable(elapsed time.Duration) (basis, why string) {
	def := s.Doc.Stages[s.Stage]
	if elapsed < def.MinDuration {
		return "", fmt.Sprintf("%v of at least %v have passed", elapsed.Truncate(time.Second), def.MinDuration)
	}
	if s.BothArms != "" {
		return "", s.BothArms + " is far worse in both arms"
	}
	if !s.sentinelsPassed() {
		return "", "the sentinels have not passed in this stage"
	}
	var short, open []string
	for _, g := range s.Signals {
		if g.doc.Role != config.RoleCritical {
			continue
		}
		if g.rejects(g.alpha) && !g.within(s.Doc.PromotionAlpha) {
			return "", g.Name + " is worse"
		}
		least := int64(def.MinSamples)
		if g.doc.MinSamples > 0 {
			least = int64(g.doc.MinSamples)
		}
		// Without any outcome there is no sample, whatever the document asks for.
		if least = max(least, 1); g.Stage[stats.Canary] < least || g.Stage[stats.Control] == 0 {
			short = append(short, fmt.Sprintf("%s has %d of %d samples", g.Name, g.Stage[stats.Canary], least))
		} else if !g.within(s.Doc.PromotionAlpha) {
			open = append(open, g.Name)
		}
	}
	if len(short) > 0 {
		return "", list(short)
	}
	if len(open) == 0 && s.Doc.Promotion != config.PromotePlannedSample {
		return BasisNonInferior, fmt.Sprintf("every critical signal is within its margin at alpha %g", s.Doc.PromotionAlpha)
	}
	planned := "the planned sample was seen and no signal was rejected"
	switch s.Doc.Promotion {
	case config.PromotePlannedSample:
		return BasisPlanned, planned
	case config.PromoteEither:
		if elapsed >= s.limit(def) {
			return BasisPlanned, planned
		}
	}
	return "", "not shown to be within the margin: " + list(open)
}
