package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultSignals are those of a rollout that names none.
func DefaultSignals() []Signal {
	return []Signal{
		{Name: SignalErrorRate, Kind: SignalErrorRate, Worse: "higher", Margin: 0.01, Role: RoleCritical, AlphaShare: 1},
		{Name: SignalLatencyP95, Kind: SignalLatencyP95, Worse: "higher", Margin: 0.05, Role: RoleCritical, AlphaShare: 1},
		{Name: SignalRefusal, Kind: SignalRefusal, Worse: "higher", Margin: 0.02, Role: RoleSupporting},
		{Name: SignalTruncation, Kind: SignalTruncation, Worse: "higher", Margin: 0.02, Role: RoleSupporting},
		{Name: SignalOutputLength, Kind: SignalOutputLength, Worse: "higher", Margin: 0.05, Role: RoleSupporting},
		{Name: SignalAbandonment, Kind: SignalAbandonment, Worse: "higher", Margin: 0.02, Role: RoleSupporting},
		{Name: SignalCost, Kind: SignalCost, Worse: "higher", Margin: 0.05, Role: RoleObserve},
	}
}

func (l *rolloutLoader) signals(w *wireRollout, r *Rollout) {
	r.Supporting, r.SupportingShare = defaultSupporting, 1
	if w.SupportingShare != nil {
		if r.SupportingShare = *w.SupportingShare; !(r.SupportingShare > 0) {
			l.fail(w.Pos.At("supporting_share"), fmt.Sprint(r.SupportingShare), "not above 0", "a weight such as 1")
		}
	}
	if w.Signals == nil {
		r.Signals = DefaultSignals()
	}
	if w.Signals != nil && len(w.Signals) == 0 || len(w.Signals) > MaxSignals {
		l.fail(w.Pos.At("signals"), fmt.Sprint(len(w.Signals)), "so many signals cannot be", fmt.Sprintf("1 to %d", MaxSignals))
		return
	}
	before := len(l.errs)
	for i := range w.Signals {
		s := &w.Signals[i]
		g := l.signal(s, r)
		l.places["signals"+index(i)+".score"] = at(s.Score, s.Pos, "score")
		for _, o := range r.Signals {
			if o.Name == g.Name {
				l.fail(at(s.Name, s.Pos, "name"), g.Name, "two signals have this name", "a name of its own for each")
			}
		}
		r.Signals = append(r.Signals, g)
	}
	critical, supporting := 0, 0
	for _, g := range r.Signals {
		switch g.Role {
		case RoleCritical:
			critical++
		case RoleSupporting:
			supporting++
		}
	}
	if w.Supporting != nil {
		if r.Supporting = *w.Supporting; r.Supporting < 1 || r.Supporting > supporting {
			l.fail(w.Pos.At("supporting"), strconv.Itoa(r.Supporting), fmt.Sprintf("there are %d supporting signals", supporting), "from 1 up to their number")
		}
	}
	// One alone decides where there is no other.
	r.Supporting = min(r.Supporting, supporting)
	if critical == 0 && len(l.errs) == before {
		l.fail(w.Pos.At("signals"), "", "no signal is critical: nothing could show that the candidate is good", "at least one signal with role: critical")
	}
}

// kinds are what is particular to each kind of signal.
var kinds = map[string]struct {
	score   string // scorer that is read where none is named
	frozen, // it is about a quantile of the baseline's
	scored bool // it may name a scorer
}{
	SignalErrorRate: {}, SignalTruncation: {}, SignalRetries: {}, SignalAbandonment: {},
	SignalLatencyP95: {frozen: true}, SignalLatencyP99: {frozen: true}, SignalTTFTP95: {frozen: true}, SignalTTFTP99: {frozen: true},
	SignalOutputLength: {frozen: true}, SignalCost: {frozen: true},
	SignalRefusal: {scored: true}, SignalScore: {scored: true},
	SignalFormat: {scored: true, score: "format"}, SignalToxicity: {scored: true, score: "toxicity"}, SignalPII: {scored: true, score: "pii"},
}

func (l *rolloutLoader) signal(w *wireSignal, r *Rollout) Signal {
	names := slices.Sorted(maps.Keys(kinds))
	kind := w.Kind
	if kind.Text == "" && w.Score.Text != "" {
		kind.Text = SignalScore
	}
	if kind.Text == "" {
		l.fail(at(w.Kind, w.Pos, "kind"), "", "a signal without a kind", strings.Join(names, ", "))
		return Signal{Name: w.Name.Text}
	}
	g := Signal{Name: w.Name.Text, Kind: kind.Text, Score: w.Score.Text}
	is, known := kinds[g.Kind]
	if !known {
		e := &Error{Pos: kind.Pos, Value: g.Kind, Problem: "no signal is of this kind", Want: "one of " + strings.Join(names, ", ")}
		if best := Nearest(g.Kind, names); best != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", best)
		}
		l.errs = append(l.errs, e)
		return g
	}
	if g.Score == "" {
		g.Score = is.score
	} else if !is.scored {
		l.fail(w.Score.Pos, g.Score, "a signal of kind "+g.Kind+" has no score", "kind: score, or no score")
	}
	if g.Kind == SignalScore && g.Score == "" {
		l.fail(at(w.Score, w.Pos, "score"), "", "no scorer is named", "an online scorer of server.yaml, or feedback")
	}
	if g.Name == "" {
		if g.Name = g.Kind; g.Kind == SignalScore {
			g.Name = g.Score
		}
	}
	l.direction(w, r, &g)
	l.weigh(w, r, &g)
	g.Threshold = l.threshold(w, g.Kind, is.frozen)
	if g.Score == Feedback {
		g.Delay = defaultFeedbackDelay
	}
	if w.Delay.Given {
		switch g.Delay = w.Delay.D; {
		case g.Kind != SignalScore:
			l.fail(w.Delay.Pos, "", "the outcome of this kind comes with the answer", "delay for kind: score only")
		case g.Score == Feedback && g.Delay == 0:
			l.fail(w.Delay.Pos, "0", "feedback comes after the answer", "how long it is waited for, such as 1h")
		}
	}
	return g
}

// direction reads which direction is worse and how much of it matters.
func (l *rolloutLoader) direction(w *wireSignal, r *Rollout, g *Signal) {
	g.Worse = "higher"
	switch {
	case g.Kind == SignalScore:
		g.Worse = l.choice(w.Worse, "lower", "higher")
	case g.Kind == SignalOutputLength:
		g.Worse = l.choice(w.Worse, "higher", "lower")
	case w.Worse.Text != "" && w.Worse.Text != "higher":
		l.fail(w.Worse.Pos, w.Worse.Text, "more of this is always worse", "worse: higher, or none")
	}
	g.Role, g.Relative = l.choice(w.Role, RoleCritical, RoleSupporting, RoleObserve), w.Relative
	if r.Kind == KindExperiment {
		return
	}
	switch {
	case w.Margin == nil && g.Role != RoleObserve:
		l.fail(w.Pos.At("margin"), "", fmt.Sprintf("signal %s has no margin", g.Name), "how much worse still does not matter, such as 1%; or role: observe")
	case w.Margin == nil || w.Margin.bad:
	case !(w.Margin.Value > 0) || !g.Relative && w.Margin.Value >= 1 || w.Margin.Value > 100:
		l.fail(w.Margin.Pos, w.Margin.Text, "not a margin", "a difference above 0 and below 100%; with relative: true up to 10000%")
	default:
		g.Margin = w.Margin.Value
	}
	if g.Relative && g.Kind == SignalScore {
		l.fail(w.Pos.At("relative"), "true", "the margin of a score is a difference of means", "relative for rates only")
	}
	if g.Kind == SignalRetries && r.Unit == UnitRequest && g.Role != RoleObserve {
		l.fail(at(w.Kind, w.Pos, "kind"), g.Kind, "with unit: request a retry is assigned anew, so it says nothing of the answer before", "unit: session or user, or role: observe")
	}
}

// weigh reads a signal's part in the decision.
func (l *rolloutLoader) weigh(w *wireSignal, r *Rollout, g *Signal) {
	if g.Role == RoleCritical {
		g.AlphaShare = 1
	}
	if w.AlphaShare != nil {
		switch {
		case g.Role != RoleCritical:
			l.fail(w.Pos.At("alpha_share"), fmt.Sprint(*w.AlphaShare), "only critical signals have a part of alpha of their own", "role: critical, or supporting_share")
		case !(*w.AlphaShare > 0):
			l.fail(w.Pos.At("alpha_share"), fmt.Sprint(*w.AlphaShare), "not above 0", "a weight such as 2")
		default:
			g.AlphaShare = *w.AlphaShare
		}
	}
	if w.MinSamples != nil {
		if g.MinSamples = *w.MinSamples; g.MinSamples < 1 {
			l.fail(w.Pos.At("min_samples"), strconv.Itoa(g.MinSamples), "too small", "at least 1")
		}
		if r.Unit != UnitRequest && g.MinSamples > MaxUnitSamples {
			l.fail(w.Pos.At("min_samples"), strconv.Itoa(g.MinSamples), fmt.Sprintf("more %ss than are remembered", r.Unit), fmt.Sprintf("at most %d", MaxUnitSamples))
		}
	}
}

// threshold is the frozen quantile that a signal is held against, 0 for one to be learnt.
func (l *rolloutLoader) threshold(w *wireSignal, kind string, frozen bool) float64 {
	text := w.Threshold.Text
	if text == "" {
		return 0
	}
	if !frozen {
		l.fail(w.Threshold.Pos, text, "a signal of kind "+kind+" has no threshold", "threshold for latencies, output_length and cost only")
		return 0
	}
	if kind != SignalOutputLength && kind != SignalCost {
		d, err := ParseDuration(text)
		if err != nil {
			l.fail(w.Threshold.Pos, text, "not a time", "such as 2s or 800ms")
			return 0
		}
		return d.Seconds()
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f > 0) || math.IsInf(f, 0) {
		l.fail(w.Threshold.Pos, text, "not a threshold", "a number of tokens or US dollars above 0")
		return 0
	}
	return f
}

// experiment reads what is an experiment's alone.
func (l *rolloutLoader) experiment(w *wireRollout, r *Rollout) {
	for _, not := range []struct {
		key   string
		given bool
	}{
		{"candidate", w.Candidate.Text != ""}, {"baseline", w.Baseline.Text != ""}, {"stages", w.Stages != nil}, {"signals", w.Signals != nil},
		{"supporting", w.Supporting != nil}, {"supporting_share", w.SupportingShare != nil}, {"undecided", w.Undecided.Text != ""},
		{"bake", w.Bake.Given}, {"promotion", w.Promotion.Text != ""}, {"promotion_alpha", w.PromotionAlpha != nil},
		{"shadow", w.Shadow != nil}, {"sentinels", w.Sentinels != nil}, {"assigned_by", w.AssignedBy.Text == AssignedByOutside}, {"match", w.Match != nil},
	} {
		if not.given {
			l.fail(w.Pos.At(not.key), "", "this belongs to a rollout", "variants, metric and stop for an experiment")
		}
	}
	if len(w.Variants) < 2 || len(w.Variants) > maxArms {
		l.fail(w.Pos.At("variants"), fmt.Sprint(len(w.Variants)), "so many variants cannot be compared", fmt.Sprintf("2 to %d", maxArms))
	}
	l.arms(w, r)
	if w.Metric == nil {
		l.fail(w.Pos.At("metric"), "", "no metric", "what decides, such as {score: helpfulness}")
	} else {
		if w.Metric.Role.Text != "" || w.Metric.AlphaShare != nil || w.Metric.MinSamples != nil || w.Metric.Margin != nil || w.Metric.Relative {
			l.fail(w.Metric.Pos, "", "role, margin, relative, alpha_share and min_samples are a rollout's", "kind, score, worse, threshold and delay")
		}
		g := l.signal(w.Metric, r)
		g.Role, g.AlphaShare = "", 0
		r.Metric = &g
		l.places["metric.score"] = at(w.Metric.Score, w.Metric.Pos, "score")
	}
	l.stop(w.Stop, r)
}

func (l *rolloutLoader) arms(w *wireRollout, r *Rollout) {
	sum := 0.0
	for i := range w.Variants {
		v := &w.Variants[i]
		a := ExperimentArm{Variant: l.variant(v.Name, v.Pos, "variants"+index(i), "")}
		switch {
		case v.Weight == nil:
			l.fail(v.Pos.At("weight"), "", "no weight", "a share of the units such as 50%")
		case v.Weight.bad:
		case !(v.Weight.Value > 0 && v.Weight.Value < 1):
			l.fail(v.Weight.Pos, v.Weight.Text, "not a weight", "above 0 and below 100%")
		default:
			a.Weight = v.Weight.Value
		}
		for _, o := range r.Arms {
			if o.Variant == a.Variant {
				l.fail(at(v.Name, v.Pos, "name"), a.Variant, "two arms have this variant", "each variant once")
			}
		}
		sum += a.Weight
		r.Arms = append(r.Arms, a)
	}
	if len(l.errs) == 0 && math.Abs(sum-1) > 1e-9 {
		l.fail(w.Pos.At("variants"), percent(sum), "the weights do not add up", "100% in all")
	}
	if len(l.errs) == 0 && !slices.ContainsFunc(r.Arms, func(a ExperimentArm) bool { return a.Variant == Baseline }) {
		l.fail(w.Pos.At("variants"), "", "the baseline is not among the variants", "baseline with a weight, since it serves whom no other variant does")
	}
}

func (l *rolloutLoader) stop(w *wireStop, r *Rollout) {
	s := Stop{MinDuration: experimentMin, MaxDuration: experimentMax, MinSamples: defaultMinSamples, Significant: true}
	r.Stop = s
	if w == nil {
		return
	}
	s.MinDuration = w.MinDuration.or(s.MinDuration)
	if s.MaxDuration = w.MaxDuration.or(max(s.MaxDuration, 2*s.MinDuration)); s.MaxDuration < s.MinDuration || s.MaxDuration <= 0 {
		if !w.MinDuration.Given && s.MaxDuration > 0 {
			s.MinDuration = s.MaxDuration
		} else {
			l.fail(at(wireText{Pos: w.MaxDuration.Pos}, w.Pos, "max_duration"), w.MaxDuration.Text, "shorter than min_duration", "at least "+max(s.MinDuration, time.Second).String())
		}
	}
	if w.MinSamples != nil {
		if s.MinSamples = *w.MinSamples; s.MinSamples < 0 || r.Unit != UnitRequest && s.MinSamples > MaxUnitSamples {
			l.fail(w.Pos.At("min_samples"), strconv.Itoa(s.MinSamples), "not a number of samples", fmt.Sprintf("from 0; with sessions and users up to %d", MaxUnitSamples))
		}
	}
	if w.Significant != nil {
		s.Significant = *w.Significant
	}
	if w.Futility != nil {
		if s.Futility = w.Futility.Value; !w.Futility.bad && !(s.Futility >= 0 && s.Futility < 1) {
			l.fail(w.Futility.Pos, w.Futility.Text, "not a difference", "from 0 to below 1")
		}
	}
	r.Stop = s
}
