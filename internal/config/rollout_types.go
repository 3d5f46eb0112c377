package config

import (
	"encoding/json"
	"fmt"
	"time"
)

// What a rollout document describes: values of Rollout.Kind.
const (
	KindRollout    = "rollout"
	KindExperiment = "experiment"
)

// What an assignment holds for: values of Rollout.Unit.
const (
	UnitRequest = "request"
	UnitSession = "session"
	UnitUser    = "user"
)

// What a signal may do: values of Signal.Role.
const (
	RoleCritical   = "critical"   // alone enough for a rollback, and must be shown to be within its margin for a promotion
	RoleSupporting = "supporting" // counts together with other supporting signals
	RoleObserve    = "observe"    // is only shown
)

// What happens at a stage's end when nothing is decided: values of Rollout.Undecided.
const (
	UndecidedHold    = "hold"
	UndecidedExtend  = "extend"
	UndecidedAbort   = "abort"
	UndecidedPromote = "promote"
)

// What a promotion rests on: values of Rollout.Promotion.
const (
	PromoteEither         = "either"
	PromoteNonInferiority = "non_inferiority"
	PromotePlannedSample  = "planned_sample"
)

// The signals that a rollout may watch: values of Signal.Kind.
const (
	SignalErrorRate    = "error_rate"
	SignalLatencyP95   = "latency_p95"
	SignalLatencyP99   = "latency_p99"
	SignalTTFTP95      = "ttft_p95"
	SignalTTFTP99      = "ttft_p99"
	SignalRefusal      = "refusal"
	SignalTruncation   = "truncation"
	SignalFormat       = "format"
	SignalToxicity     = "toxicity"
	SignalPII          = "pii"
	SignalScore        = "score"
	SignalOutputLength = "output_length"
	SignalCost         = "cost"
	SignalRetries      = "retries"
	SignalAbandonment  = "abandonment"
)

// SignalKinds lists the kinds with a line about each.
func SignalKinds() map[string]string {
	return map[string]string{
		SignalErrorRate:    "requests without a proper answer; those that the client gave up are left out",
		SignalLatencyP95:   "answers slower than the baseline's frozen 95th percentile",
		SignalLatencyP99:   "answers slower than the baseline's frozen 99th percentile",
		SignalTTFTP95:      "streams whose first token came later than the baseline's frozen 95th percentile",
		SignalTTFTP99:      "streams whose first token came later than the baseline's frozen 99th percentile",
		SignalRefusal:      "answers that refuse: by the provider's word, or by the scorer named in score",
		SignalTruncation:   "answers cut off at the greatest length",
		SignalFormat:       "answers that the scorer named in score (format when not given) fails",
		SignalToxicity:     "answers that the scorer named in score (toxicity when not given) fails",
		SignalPII:          "answers that the scorer named in score (pii when not given) fails",
		SignalScore:        "the mean of an online scorer's values from 0 to 1, or of users' feedback",
		SignalOutputLength: "answers with more tokens than the baseline's frozen 95th percentile",
		SignalCost:         "answers that cost more than the baseline's frozen 95th percentile",
		SignalRetries:      "units whose client sent a request again",
		SignalAbandonment:  "requests that the client gave up before the answer ended",
	}
}

// Feedback is the score that users' feedback becomes.
const Feedback = "feedback"

// Rollout is rollout.yaml: the staged replacement of one behaviour of a route by another, or an experiment with several.
// It holds every default that the file left out. Its JSON has the shape of the file.
type Rollout struct {
	Kind  string
	Name  string
	Route string
	// Baseline and Candidate are names of the route's variants or behaviour ids of 16 hex digits; see Route.Variant.
	Baseline  string
	Candidate string
	Unit      string
	Stages    []Stage
	Signals   []Signal
	// Alpha is the chance that a candidate that is no worse in any signal is ever rolled back.
	Alpha float64
	// Supporting is how many supporting signals must be rejected together; SupportingShare their part of alpha, in the
	// measure of Signal.AlphaShare.
	Supporting      int
	SupportingShare float64
	Undecided       string
	Bake            time.Duration
	Promotion       string
	// PromotionAlpha is the chance that a candidate that is worse by a margin is taken for one within it.
	PromotionAlpha float64
	Shadow         Shadow
	Sentinels      *Sentinels
	// Override lets testers choose their variant by a header.
	Override bool

	// AssignedBy says who shares out the requests. Baseline and Candidate are only names where that is another router, and
	// Match tells their exchanges apart.
	AssignedBy string
	Match      Match

	// Arms, Metric and Stop are an experiment's, which has no candidate, stages, signals or what belongs to these.
	Arms   []ExperimentArm
	Metric *Signal
	Stop   Stop

	// Places of keys, by path; for messages of Check. Not part of the document.
	places map[string]Pos
	file   string
}

// Stage is a step of a rollout.
type Stage struct {
	// Shadow says that the candidate gets copies of requests and nobody its answers. Weight is then 0.
	Shadow bool
	// Weight is the share of the units that the candidate answers, above 0 and at most 1.
	Weight float64
	// MinDuration must pass and MinSamples outcomes of the candidate be seen before the stage can end well; at
	// MaxDuration it is undecided. In a shadow stage a sample is a pair of answers to one request.
	MinDuration time.Duration
	MaxDuration time.Duration
	MinSamples  int
}

// Signal is what a rollout watches.
type Signal struct {
	Name string
	Kind string
	// Score is the online scorer, for kinds that need one.
	Score string
	// Worse says which direction is worse: higher or lower.
	Worse string
	// Margin is how much worse still does not matter: an absolute difference of rates or mean scores, or with Relative
	// a share of the baseline's rate. 0 for a signal that is only observed and has none.
	Margin   float64
	Relative bool
	// AlphaShare weighs a critical signal's part of the rollout's alpha.
	AlphaShare float64
	Role       string
	// MinSamples instead of the stage's, 0 for that; for signals that only a part of the requests have.
	MinSamples int
	// Threshold is the frozen quantile, in seconds, tokens or US dollars; 0 to learn it from the baseline.
	Threshold float64
	// Delay is how long outcomes are waited for that come after the answer; 0 for those that come with it.
	Delay time.Duration
}

// Shadow bounds what a shadow stage may use.
type Shadow struct {
	Share    float64 // of the requests
	Parallel int
	Timeout  time.Duration
	Cost     float64 // US dollars in all; 0 is no bound
	Tokens   int64   // in all; 0 is no bound
}

// Sentinels is a suite of critical cases that are replayed against the candidate.
type Sentinels struct {
	Suite string
	Every time.Duration
}

// ExperimentArm is a variant of an experiment with its fixed share of the units. The first is what others are compared with.
type ExperimentArm struct {
	Variant string
	Weight  float64
}

// Stop says when an experiment ends.
type Stop struct {
	MinDuration time.Duration
	MaxDuration time.Duration
	// MinSamples of each arm before it may end early.
	MinSamples int
	// Significant ends it when an interval no longer holds 0; Futility, above 0, when all lie within ±Futility.
	Significant bool
	Futility    float64
}

// Place returns where a key was written.
func (r *Rollout) Place(key string) Pos {
	if p, ok := r.places[key]; ok {
		return p
	}
	return Pos{File: r.file, Key: key}
}

// Waits says whether some of its outcomes come apart from their answer, as feedback does.
func (r *Rollout) Waits() bool {
	for i := range r.Signals {
		if r.Signals[i].Delay > 0 {
			return true
		}
	}
	return r.Metric != nil && r.Metric.Delay > 0
}

// Check holds the rollout against the server: its route, variants and scorers must be there. The error is Errors.
func (r *Rollout) Check(s *Server) error {
	var errs Errors
	if r.Outside() {
		errs = append(r.checkScorers(s), r.checkMatch(s)...)
		return append(errs, r.checkUnit(s)...).Err()
	}
	var route *Route
	var names []string
	for i := range s.Routes {
		names = append(names, s.Routes[i].Name)
		if s.Routes[i].Name == r.Route {
			route = &s.Routes[i]
		}
	}
	if route == nil {
		errs = append(errs, &Error{Pos: r.Place("route"), Value: r.Route, Problem: "the server has no such route", Want: "one of " + join(names)})
		return errs.Err()
	}
	seen := map[string]string{}
	variant := func(key, name string) {
		known, choices := name == Baseline || name == route.Behaviour(), []string{Baseline}
		id := route.Behaviour()
		if v, ok := route.Variant(name); ok && !known {
			with := route.With(v)
			known, id = true, with.Behaviour()
		}
		for i := range route.Variants {
			choices = append(choices, route.Variants[i].Name)
		}
		if !known {
			errs = append(errs, &Error{Pos: r.Place(key), Value: name, Problem: fmt.Sprintf("route %s has no such variant", r.Route), Want: "one of " + join(choices) + ", or the id of one"})
			return
		}
		if other, twice := seen[id]; twice {
			errs = append(errs, &Error{Pos: r.Place(key), Value: name, Problem: "the same behaviour as " + other, Want: "another variant"})
		}
		seen[id] = name
	}
	if r.Kind == KindExperiment {
		for i, a := range r.Arms {
			variant("variants"+index(i), a.Variant)
		}
	} else {
		variant("baseline", r.Baseline)
		variant("candidate", r.Candidate)
	}
	errs = append(errs, r.checkScorers(s)...)
	return append(errs, r.checkUnit(s)...).Err()
}

func (r *Rollout) checkScorers(s *Server) (errs Errors) {
	signals := r.Signals
	if r.Metric != nil {
		signals = []Signal{*r.Metric}
	}
	for i, g := range signals {
		key := "signals" + index(i) + ".score"
		if r.Metric != nil {
			key = "metric.score"
		}
		if err := checkScorer(s, r, g, key); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// checkUnit says whether the server keeps who it was, where that is needed after the answer.
func (r *Rollout) checkUnit(s *Server) (errs Errors) {
	if (r.Waits() || r.Outside()) && r.Unit != UnitRequest {
		mode := s.Privacy.Fields[r.Unit]
		if of, ok := s.Privacy.Routes[r.Route]; ok && of.Fields[r.Unit] != "" {
			mode = of.Fields[r.Unit]
		}
		if mode == "mask" || mode == "remove" {
			errs = append(errs, &Error{Pos: r.Place("unit"), Value: r.Unit, Problem: fmt.Sprintf("the server keeps no %ss (privacy.fields.%s: %s), so what is learnt later cannot be told apart by them", r.Unit, r.Unit, mode),
				Want: fmt.Sprintf("unit: request, no signal with a delay, or privacy.fields.%s: pseudonym", r.Unit)})
		}
	}
	return errs
}

// checkScorer says whether the scorer of a signal scores the route.
func checkScorer(s *Server, r *Rollout, g Signal, key string) *Error {
	if g.Score == "" || g.Score == Feedback {
		return nil
	}
	names := []string{Feedback}
	for _, o := range s.Scorers {
		all := len(o.Routes) == 0
		for _, name := range o.Routes {
			all = all || name == r.Route
		}
		if !all {
			continue
		}
		if o.Name == g.Score {
			return nil
		}
		names = append(names, o.Name)
	}
	return &Error{Pos: r.Place(key), Value: g.Score, Problem: "no scorer of the server has this name on route " + r.Route, Want: "one of " + join(names)}
}

func join(names []string) string {
	out := ""
	for i, n := range names {
		if i > 0 {
			out += ", "
		}
		out += n
	}
	return out
}

// The JSON shape: that of the file, with everything said.
type (
	rolloutJSON struct {
		Kind            string          `json:"kind"`
		Name            string          `json:"name"`
		Route           string          `json:"route"`
		Unit            string          `json:"unit"`
		Baseline        string          `json:"baseline,omitempty"`
		Candidate       string          `json:"candidate,omitempty"`
		Stages          []stageJSON     `json:"stages,omitempty"`
		Signals         []signalJSON    `json:"signals,omitempty"`
		Alpha           float64         `json:"alpha"`
		Supporting      int             `json:"supporting,omitempty"`
		SupportingShare float64         `json:"supporting_share,omitempty"`
		Undecided       string          `json:"undecided,omitempty"`
		Bake            string          `json:"bake,omitempty"`
		Promotion       string          `json:"promotion,omitempty"`
		PromotionAlpha  float64         `json:"promotion_alpha,omitempty"`
		Shadow          *shadowJSON     `json:"shadow,omitempty"`
		Sentinels       *sentinelsJSON  `json:"sentinels,omitempty"`
		Override        bool            `json:"override"`
		AssignedBy      string          `json:"assigned_by,omitempty"`
		Match           *matchJSON      `json:"match,omitempty"`
		Variants        []experimentArm `json:"variants,omitempty"`
		Metric          *signalJSON     `json:"metric,omitempty"`
		Stop            *stopJSON       `json:"stop,omitempty"`
	}
	stageJSON struct {
		Weight      any    `json:"weight"`
		MinDuration string `json:"min_duration,omitempty"`
		MaxDuration string `json:"max_duration,omitempty"`
		MinSamples  *int   `json:"min_samples,omitempty"`
	}
	signalJSON struct {
		Name       string   `json:"name"`
		Kind       string   `json:"kind"`
		Score      string   `json:"score,omitempty"`
		Worse      string   `json:"worse"`
		Margin     *float64 `json:"margin,omitempty"`
		Relative   bool     `json:"relative,omitempty"`
		AlphaShare float64  `json:"alpha_share,omitempty"`
		Role       string   `json:"role,omitempty"`
		MinSamples int      `json:"min_samples,omitempty"`
		Threshold  float64  `json:"threshold,omitempty"`
		Delay      string   `json:"delay,omitempty"`
	}
	shadowJSON struct {
		Share    float64 `json:"share"`
		Parallel int     `json:"parallel"`
		Timeout  string  `json:"timeout"`
		Cost     float64 `json:"cost,omitempty"`
		Tokens   int64   `json:"tokens,omitempty"`
	}
	sentinelsJSON struct {
		Suite string `json:"suite"`
		Every string `json:"every"`
	}
	experimentArm struct {
		Name   string  `json:"name"`
		Weight float64 `json:"weight"`
	}
	stopJSON struct {
		MinDuration string  `json:"min_duration"`
		MaxDuration string  `json:"max_duration"`
		MinSamples  int     `json:"min_samples"`
		Significant bool    `json:"significant"`
		Futility    float64 `json:"futility,omitempty"`
	}
)

func (g *Signal) json() signalJSON {
	out := signalJSON{Name: g.Name, Kind: g.Kind, Score: g.Score, Worse: g.Worse, Relative: g.Relative, AlphaShare: g.AlphaShare, Role: g.Role, MinSamples: g.MinSamples, Threshold: g.Threshold}
	if g.Margin > 0 {
		out.Margin = &g.Margin
	}
	if g.Delay > 0 {
		out.Delay = g.Delay.String()
	}
	return out
}

// MarshalJSON returns the document with its defaults, as LoadRollout takes it.
func (r *Rollout) MarshalJSON() ([]byte, error) {
	out := rolloutJSON{Kind: r.Kind, Name: r.Name, Route: r.Route, Unit: r.Unit, Alpha: r.Alpha, Override: r.Override}
	if r.Kind == KindExperiment {
		for _, a := range r.Arms {
			out.Variants = append(out.Variants, experimentArm{a.Variant, a.Weight})
		}
		if r.Metric != nil {
			m := r.Metric.json()
			m.AlphaShare, m.Role, m.MinSamples = 0, "", 0
			out.Metric = &m
		}
		out.Stop = &stopJSON{r.Stop.MinDuration.String(), r.Stop.MaxDuration.String(), r.Stop.MinSamples, r.Stop.Significant, r.Stop.Futility}
		return json.Marshal(out)
	}
	out.Baseline, out.Candidate = r.Baseline, r.Candidate
	for _, s := range r.Stages {
		one := stageJSON{Weight: s.Weight}
		if s.Shadow {
			one.Weight = "shadow"
		}
		if s.Open() {
			one.Weight = openWeight
		}
		if s.Weight < 1 {
			one.MinDuration, one.MaxDuration, one.MinSamples = s.MinDuration.String(), s.MaxDuration.String(), new(s.MinSamples)
		}
		out.Stages = append(out.Stages, one)
	}
	for i := range r.Signals {
		out.Signals = append(out.Signals, r.Signals[i].json())
	}
	if r.Outside() {
		out.Supporting, out.SupportingShare, out.Undecided, out.Promotion, out.PromotionAlpha = r.Supporting, r.SupportingShare, r.Undecided, r.Promotion, r.PromotionAlpha
		out.AssignedBy, out.Match = r.AssignedBy, &matchJSON{r.Match.Baseline.json(), r.Match.Candidate.json()}
		return json.Marshal(out)
	}
	out.Supporting, out.SupportingShare, out.Undecided, out.Bake = r.Supporting, r.SupportingShare, r.Undecided, r.Bake.String()
	out.Promotion, out.PromotionAlpha = r.Promotion, r.PromotionAlpha
	out.Shadow = &shadowJSON{r.Shadow.Share, r.Shadow.Parallel, r.Shadow.Timeout.String(), r.Shadow.Cost, r.Shadow.Tokens}
	if s := r.Sentinels; s != nil {
		out.Sentinels = &sentinelsJSON{s.Suite, s.Every.String()}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads a document, as LoadRollout does.
func (r *Rollout) UnmarshalJSON(data []byte) error {
	got, err := LoadRollout("rollout", data, Options{})
	if err != nil {
		return err
	}
	*r = *got
	return nil
}
