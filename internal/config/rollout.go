package config

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// What holds where rollout.yaml says nothing.
const (
	defaultAlpha          = 0.01
	defaultMinDuration    = 10 * time.Minute
	defaultMaxDuration    = 24 * time.Hour
	defaultMinSamples     = 500
	defaultShadowSamples  = 200
	defaultBake           = time.Hour
	defaultSupporting     = 2
	defaultPromotionAlpha = 0.05
	defaultFeedbackDelay  = time.Hour
	defaultEvery          = 15 * time.Minute

	experimentMin = 24 * time.Hour
	experimentMax = 14 * 24 * time.Hour

	// MaxSignals bounds a rollout's signals, MaxStages its stages.
	MaxSignals = 32
	MaxStages  = 20
	// MaxUnitSamples is the most that a stage may ask for where units are remembered.
	MaxUnitSamples = 8192

	maxArms = 8
)

// DefaultWeights are the stages of a rollout that names none.
func DefaultWeights() []float64 { return []float64{0.01, 0.05, 0.25, 0.5, 1} }

type wireRollout struct {
	Pos             Pos            `json:"-"`
	Schema          string         `json:"$schema,omitempty" jsonschema:"description=Address of this schema; ignored"`
	Kind            wireText       `json:"kind,omitempty" jsonschema:"description=rollout or experiment; rollout when it is not set"`
	Name            wireText       `json:"name" jsonschema:"description=Name of the rollout; in every exchange that it assigns"`
	Route           wireText       `json:"route" jsonschema:"description=Route of server.yaml"`
	Baseline        wireText       `json:"baseline,omitempty" jsonschema:"description=What serves today: a variant's name or id; baseline when it is not set"`
	Candidate       wireText       `json:"candidate,omitempty" jsonschema:"description=Variant of the route that may replace it: a name or an id of 16 hex digits"`
	Unit            wireText       `json:"unit,omitempty" jsonschema:"description=What is assigned as one: request; session or user; request when it is not set"`
	Stages          []wireStage    `json:"stages,omitempty" jsonschema:"description=shadow; then growing weights up to 100%; 1% 5% 25% 50% 100% when it is not set"`
	Signals         []wireSignal   `json:"signals,omitempty" jsonschema:"description=What is watched; errors latency refusals truncation and length when it is not set"`
	Alpha           *wireShare     `json:"alpha,omitempty" jsonschema:"description=Chance that a candidate that is no worse is ever rolled back; 0.01"`
	Supporting      *int           `json:"supporting,omitempty" jsonschema:"minimum=1,description=How many supporting signals must be rejected together; 2"`
	SupportingShare *float64       `json:"supporting_share,omitempty" jsonschema:"exclusiveMinimum=0,description=Weight of all supporting signals together in alpha; 1"`
	Undecided       wireText       `json:"undecided,omitempty" jsonschema:"description=What an undecided stage does at its max_duration: hold; extend; abort or promote; hold"`
	Bake            wireSpan       `json:"bake,omitempty" jsonschema:"description=How long the candidate is watched at 100% before it is done; 1h"`
	Promotion       wireText       `json:"promotion,omitempty" jsonschema:"description=What a promotion rests on: non_inferiority; planned_sample or either; either"`
	PromotionAlpha  *wireShare     `json:"promotion_alpha,omitempty" jsonschema:"description=Chance that a candidate that is worse by a margin is taken for one within it; 0.05"`
	Shadow          *wireShadow    `json:"shadow,omitempty" jsonschema:"description=Bounds of a shadow stage"`
	Sentinels       *wireSentinels `json:"sentinels,omitempty" jsonschema:"description=Suite of critical cases that are replayed against the candidate"`
	Override        *bool          `json:"override,omitempty" jsonschema:"description=Testers choose their variant by the header telltale-variant; true"`
	AssignedBy      wireText       `json:"assigned_by,omitempty" jsonschema:"description=Who shares out the requests: telltale or outside; telltale when it is not set"`
	Match           *wireMatch     `json:"match,omitempty" jsonschema:"description=With assigned_by: outside: what tells the arms' exchanges apart"`
	Variants        []wireArm      `json:"variants,omitempty" jsonschema:"description=Of an experiment: its variants with their weights; the first is compared with"`
	Metric          *wireSignal    `json:"metric,omitempty" jsonschema:"description=Of an experiment: what decides"`
	Stop            *wireStop      `json:"stop,omitempty" jsonschema:"description=Of an experiment: when it ends"`
}

type wireStage struct {
	Pos         Pos      `json:"-"`
	Weight      wireText `json:"weight" jsonschema:"description=Share of the units such as 5%; or shadow; or open where only the router outside knows it"`
	MinDuration wireSpan `json:"min_duration,omitempty" jsonschema:"description=Shortest time of the stage; 10m"`
	MaxDuration wireSpan `json:"max_duration,omitempty" jsonschema:"description=When the stage is undecided; 24h"`
	MinSamples  *int     `json:"min_samples,omitempty" jsonschema:"minimum=0,description=Fewest outcomes of the candidate; 500 and for a shadow 200 pairs"`
}

// plainStage is a wireStage that does not read itself.
type plainStage wireStage

// decodeNode reads a stage, or its weight alone.
func (v *wireStage) decodeNode(d *decoder, n ast.Node, p Pos) {
	v.Pos = d.pos(n, p)
	if s, _, _, ok := d.text(n, v.Pos); ok {
		v.Weight = wireText{Text: strings.TrimSpace(s), Pos: v.Pos}
		return
	}
	d.structInto(n, p, reflect.ValueOf((*plainStage)(v)).Elem())
}

type wireSignal struct {
	Pos        Pos        `json:"-"`
	Name       wireText   `json:"name,omitempty" jsonschema:"description=Name of the signal; its kind or score when it is not set"`
	Kind       wireText   `json:"kind,omitempty" jsonschema:"description=What is watched such as error_rate; score when only a score is given"`
	Score      wireText   `json:"score,omitempty" jsonschema:"description=Online scorer of server.yaml; or feedback"`
	Worse      wireText   `json:"worse,omitempty" jsonschema:"description=Which direction is worse: higher or lower"`
	Margin     *wireShare `json:"margin,omitempty" jsonschema:"description=How much worse does not matter: a difference such as 1%; needed unless the role is observe"`
	Relative   bool       `json:"relative,omitempty" jsonschema:"description=true: the margin is a share of the baseline's rate"`
	AlphaShare *float64   `json:"alpha_share,omitempty" jsonschema:"exclusiveMinimum=0,description=Weight of a critical signal in alpha; 1"`
	Role       wireText   `json:"role,omitempty" jsonschema:"description=critical: alone enough to roll back; supporting: together with others; observe: only shown; critical"`
	MinSamples *int       `json:"min_samples,omitempty" jsonschema:"minimum=1,description=Instead of the stage's; for signals that only some requests have"`
	Threshold  wireText   `json:"threshold,omitempty" jsonschema:"description=Frozen quantile of the baseline: a time such as 2s; tokens or US dollars; learnt when it is not set"`
	Delay      wireSpan   `json:"delay,omitempty" jsonschema:"description=How long outcomes are waited for that come after the answer; 1h for feedback"`
}

type plainSignal wireSignal

// decodeNode reads a signal, or its kind alone.
func (v *wireSignal) decodeNode(d *decoder, n ast.Node, p Pos) {
	v.Pos = d.pos(n, p)
	if s, _, _, ok := d.text(n, v.Pos); ok {
		v.Kind = wireText{Text: strings.TrimSpace(s), Pos: v.Pos}
		return
	}
	d.structInto(n, p, reflect.ValueOf((*plainSignal)(v)).Elem())
}

type wireShadow struct {
	Pos      Pos        `json:"-"`
	Share    *wireShare `json:"share,omitempty" jsonschema:"description=Share of the requests that are copied; 100%"`
	Parallel *int       `json:"parallel,omitempty" jsonschema:"minimum=1,description=Copies under way at most; 4"`
	Timeout  wireSpan   `json:"timeout,omitempty" jsonschema:"description=Time of one copy; 60s"`
	Cost     *float64   `json:"cost,omitempty" jsonschema:"minimum=0,description=US dollars in all; 0 is no bound"`
	Tokens   *int64     `json:"tokens,omitempty" jsonschema:"minimum=0,description=Tokens in all; 0 is no bound"`
}

type wireSentinels struct {
	Pos   Pos      `json:"-"`
	Suite wireText `json:"suite" jsonschema:"description=Suite file"`
	Every wireSpan `json:"every,omitempty" jsonschema:"description=How often it is replayed; 15m"`
}

type wireArm struct {
	Pos    Pos        `json:"-"`
	Name   wireText   `json:"name" jsonschema:"description=baseline or a variant of the route"`
	Weight *wireShare `json:"weight" jsonschema:"description=Share of the units such as 50%"`
}

type wireStop struct {
	Pos         Pos        `json:"-"`
	MinDuration wireSpan   `json:"min_duration,omitempty" jsonschema:"description=Shortest time; 24h"`
	MaxDuration wireSpan   `json:"max_duration,omitempty" jsonschema:"description=Longest time; 14d"`
	MinSamples  *int       `json:"min_samples,omitempty" jsonschema:"minimum=0,description=Fewest outcomes of each variant before an early end; 500"`
	Significant *bool      `json:"significant,omitempty" jsonschema:"description=Ends when an interval no longer holds 0; true"`
	Futility    *wireShare `json:"futility,omitempty" jsonschema:"description=Ends when all differences are smaller than this; 0 never does"`
}

// wireShare is a share written as 5% or 0.05.
type wireShare struct {
	Value float64
	Text  string
	Pos   Pos
	bad   bool // it could not be read, which has been said
}

func (v *wireShare) decodeNode(d *decoder, n ast.Node, p Pos) {
	v.Pos = d.pos(n, p)
	s, _, _, ok := d.text(n, v.Pos)
	f, good := parseShare(s)
	if !ok || !good {
		d.fail(v.Pos, d.show(n), "not a share", "such as 5% or 0.05")
		v.bad = true
	}
	v.Text, v.Value = s, f
}

// parseShare reads 5% or 0.05. What is not finite is no share.
func parseShare(s string) (float64, bool) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	if percent {
		f /= 100
	}
	return f, true
}

// wireSpan is a time from 0 written as 10m, 2h, 1d or a plain number of seconds.
type wireSpan struct {
	D     time.Duration
	Text  string
	Given bool
	Pos   Pos
}

func (v *wireSpan) decodeNode(d *decoder, n ast.Node, p Pos) {
	if _, null := d.resolve(n).(*ast.NullNode); null {
		return
	}
	v.Pos, v.Given = d.pos(n, p), true
	s, _, _, ok := d.text(n, v.Pos)
	s = strings.TrimSpace(s)
	if v.Text = s; ok && (s == "0" || s == "0s") {
		return
	}
	dur, err := ParseDays(s)
	if !ok || err != nil {
		d.fail(v.Pos, d.show(n), "not a duration", "such as 90s, 10m, 2h or 1d")
	}
	v.D = dur
}

// or is the time that was given, or def.
func (v wireSpan) or(def time.Duration) time.Duration {
	if !v.Given {
		return def
	}
	return v.D
}

// LoadRollout reads a rollout.yaml, or the same as JSON. Options.Vars and Env are used. The error is Errors, sorted by
// place.
func LoadRollout(path string, data []byte, opts Options) (*Rollout, error) {
	l := &loader{opts: opts, dir: filepath.Dir(path), params: &params{vars: opts.Vars, env: opts.Env}, inline: true}
	d := l.decoder(path)
	body, ok := d.parseYAML(data)
	if !ok {
		return nil, d.errs.Err()
	}
	if _, isMap := d.fields(body, Pos{}); !isMap {
		return nil, &Error{Pos: d.pos(body, Pos{}), Value: d.show(body), Problem: "not a rollout", Want: "a mapping with the keys name, route and candidate"}
	}
	d.errs = nil
	var w wireRollout
	d.into(body, Pos{File: path}, reflect.ValueOf(&w).Elem())
	rl := &rolloutLoader{places: map[string]Pos{}}
	r := rl.rollout(&w)
	r.file, r.places = path, rl.places
	if err := l.mistakes(d, body, append(rl.errs, l.params.unsupported...)); err != nil {
		return nil, err
	}
	return r, nil
}

// IsRollout says whether a file looks like a rollout or an experiment: it names a route, and what comes to it.
func IsRollout(path string, data []byte) bool {
	d := &decoder{file: path, params: &params{off: true}}
	body, ok := d.parseYAML(data)
	if !ok {
		return false
	}
	fs, _ := d.fields(body, Pos{})
	has := map[string]bool{}
	for _, f := range fs {
		has[f.key] = true
	}
	return has["route"] && !has["routes"] || has["candidate"] || has["stages"] && !has["providers"]
}

// rolloutLoader checks a rollout and fills in what it leaves out.
type rolloutLoader struct {
	errs   Errors
	places map[string]Pos
}

func (l *rolloutLoader) fail(p Pos, value, problem, want string) {
	l.errs = append(l.errs, &Error{Pos: p, Value: value, Problem: problem, Want: want})
}

// choice is one of the allowed words, or the first when nothing is written.
func (l *rolloutLoader) choice(w wireText, allowed ...string) string {
	if w.Text == "" {
		return allowed[0]
	}
	if !slices.Contains(allowed, w.Text) {
		e := &Error{Pos: w.Pos, Value: w.Text, Problem: "not one of the choices", Want: strings.Join(allowed, ", ")}
		if best := Nearest(w.Text, allowed); best != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", best)
		}
		l.errs = append(l.errs, e)
		return allowed[0]
	}
	return w.Text
}

// chance is a probability strictly between 0 and 1.
func (l *rolloutLoader) chance(w *wireShare, def float64) float64 {
	if w == nil || w.bad {
		return def
	}
	if !(w.Value > 0 && w.Value < 1) {
		l.fail(w.Pos, w.Text, "not a probability strictly between 0 and 1", "such as 0.01")
		return def
	}
	return w.Value
}

func (l *rolloutLoader) rollout(w *wireRollout) *Rollout {
	r := &Rollout{
		Kind: l.choice(w.Kind, KindRollout, KindExperiment), Name: w.Name.Text, Route: w.Route.Text,
		Unit: l.choice(w.Unit, UnitRequest, UnitSession, UnitUser), Override: w.Override == nil || *w.Override,
		AssignedBy: l.choice(w.AssignedBy, AssignedByTelltale, AssignedByOutside),
	}
	if !rolloutName(r.Name) {
		l.fail(at(w.Name, w.Pos, "name"), r.Name, "not a name for a rollout", "small letters, digits and - only, at most 64, such as gpt-5-summer")
	}
	if !routeName(r.Route) {
		l.fail(at(w.Route, w.Pos, "route"), r.Route, "not the name of a route", "a route of server.yaml")
	}
	l.places["name"], l.places["route"], l.places["unit"] = at(w.Name, w.Pos, "name"), at(w.Route, w.Pos, "route"), at(w.Unit, w.Pos, "unit")
	if r.Kind == KindExperiment {
		r.Alpha = l.chance(w.Alpha, 0.05)
		l.experiment(w, r)
		return r
	}
	r.Alpha = l.chance(w.Alpha, defaultAlpha)
	for _, not := range []struct {
		key   string
		given bool
	}{{"variants", w.Variants != nil}, {"metric", w.Metric != nil}, {"stop", w.Stop != nil}} {
		if not.given {
			l.fail(w.Pos.At(not.key), "", "this belongs to an experiment", "kind: experiment, or candidate and stages")
		}
	}
	r.Baseline, r.Candidate = l.variant(w.Baseline, w.Pos, "baseline", Baseline), l.variant(w.Candidate, w.Pos, "candidate", "")
	if r.Candidate != "" && r.Candidate == r.Baseline {
		l.fail(w.Candidate.Pos, r.Candidate, "the candidate is the baseline", "another variant of the route")
	}
	r.Undecided = l.choice(w.Undecided, UndecidedHold, UndecidedExtend, UndecidedAbort, UndecidedPromote)
	r.Promotion = l.choice(w.Promotion, PromoteEither, PromoteNonInferiority, PromotePlannedSample)
	r.PromotionAlpha = l.chance(w.PromotionAlpha, defaultPromotionAlpha)
	r.Bake = w.Bake.or(defaultBake)
	l.stages(w, r)
	l.signals(w, r)
	l.bounds(w, r)
	l.outside(w, r)
	return r
}

func rolloutName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 64 && s[0] != '-'
}

// variant is the name or id of a variant.
func (l *rolloutLoader) variant(w wireText, parent Pos, key, def string) string {
	l.places[key] = at(w, parent, key)
	name := w.Text
	if name == "" {
		name = def
	}
	if name != Baseline && !variantName(name) {
		problem := "not the name or id of a variant"
		if name == "" {
			problem = "no variant is named"
		}
		l.fail(at(w, parent, key), name, problem, "a variant of the route, or its id of 16 hex digits")
	}
	return name
}

func (l *rolloutLoader) stages(w *wireRollout, r *Rollout) {
	if w.Stages == nil && r.Outside() {
		r.Stages = []Stage{newStage(false, 0)}
		return
	}
	if w.Stages == nil {
		for _, weight := range DefaultWeights() {
			r.Stages = append(r.Stages, newStage(false, weight))
		}
		return
	}
	if len(w.Stages) == 0 || len(w.Stages) > MaxStages {
		l.fail(w.Pos.At("stages"), fmt.Sprint(len(w.Stages)), "so many stages cannot be", fmt.Sprintf("1 to %d", MaxStages))
		return
	}
	last := 0.0
	for i := range w.Stages {
		s, ok := l.stage(&w.Stages[i], r)
		if !ok {
			continue
		}
		where := at(w.Stages[i].Weight, w.Stages[i].Pos, "weight")
		switch {
		case s.Shadow && i > 0:
			l.fail(where, "shadow", "shadow comes after another stage", "shadow as the first stage only")
		case s.Open() && len(w.Stages) > 1:
			l.fail(where, openWeight, "a stage of open weight is not the only one", "weights that grow, or one stage of weight open")
		case s.Open():
		case !s.Shadow && s.Weight <= last:
			l.fail(where, w.Stages[i].Weight.Text, fmt.Sprintf("the stages are out of order: the one before has %s", percent(last)), "weights that grow from stage to stage")
		}
		if !s.Shadow {
			last = s.Weight
		}
		if r.Unit != UnitRequest && s.MinSamples > MaxUnitSamples {
			l.fail(w.Stages[i].Pos.At("min_samples"), strconv.Itoa(s.MinSamples), fmt.Sprintf("more %ss than are remembered", r.Unit), fmt.Sprintf("at most %d", MaxUnitSamples))
		}
		r.Stages = append(r.Stages, s)
	}
	if last != 1 && !r.Outside() && len(l.errs) == 0 {
		end := w.Stages[len(w.Stages)-1]
		l.fail(at(end.Weight, end.Pos, "weight"), end.Weight.Text, "the last stage does not give the candidate everything", "100% at the end")
	}
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'g', 6, 64) + "%" }

func newStage(shadow bool, weight float64) Stage {
	s := Stage{Shadow: shadow, Weight: weight, MinDuration: defaultMinDuration, MaxDuration: defaultMaxDuration, MinSamples: defaultMinSamples}
	switch {
	case shadow:
		s.MinSamples = defaultShadowSamples
	case weight == 1:
		// There is nothing to compare with: bake takes the place of these.
		s.MinDuration, s.MaxDuration, s.MinSamples = 0, 0, 0
	}
	return s
}

func (l *rolloutLoader) stage(w *wireStage, r *Rollout) (Stage, bool) {
	where := at(w.Weight, w.Pos, "weight")
	s := newStage(w.Weight.Text == "shadow" && !r.Outside(), 0)
	if open := w.Weight.Text == openWeight && r.Outside(); !s.Shadow && !open {
		weight, ok := parseShare(w.Weight.Text)
		if r.Outside() && !(ok && weight > 0 && weight < 1) {
			l.fail(where, w.Weight.Text, "not a weight with assigned_by: outside, where both arms must be seen", "open, or a share above 0 and below 100% such as 5%")
			return s, false
		}
		if !ok || !(weight > 0 && weight <= 1) {
			l.fail(where, w.Weight.Text, "not a weight", "shadow, or a share above 0 and up to 100% such as 5%")
			return s, false
		}
		s = newStage(false, weight)
		if weight == 1 {
			for _, not := range []struct {
				key   string
				given bool
			}{{"min_duration", w.MinDuration.Given}, {"max_duration", w.MaxDuration.Given}, {"min_samples", w.MinSamples != nil}} {
				if not.given {
					l.fail(w.Pos.At(not.key), "", "at 100% there is no baseline to compare with", "bake instead, beside stages")
				}
			}
			return s, true
		}
	}
	s.MinDuration = w.MinDuration.or(s.MinDuration)
	def := s.MaxDuration
	if def < s.MinDuration {
		def = 2 * s.MinDuration
	}
	if s.MaxDuration = w.MaxDuration.or(def); s.MaxDuration < s.MinDuration || s.MaxDuration <= 0 {
		if !w.MinDuration.Given && s.MaxDuration > 0 {
			s.MinDuration = s.MaxDuration // a short stage needs no word about its least
		} else {
			l.fail(at(wireText{Pos: w.MaxDuration.Pos}, w.Pos, "max_duration"), w.MaxDuration.Text, "shorter than min_duration", "at least "+max(s.MinDuration, time.Second).String())
		}
	}
	if w.MinSamples != nil {
		if s.MinSamples = *w.MinSamples; s.MinSamples < 0 {
			l.fail(w.Pos.At("min_samples"), strconv.Itoa(s.MinSamples), "below 0", "a number of samples")
		}
	}
	return s, true
}

// bounds reads what limits shadows and sentinels.
func (l *rolloutLoader) bounds(w *wireRollout, r *Rollout) {
	r.Shadow = Shadow{Share: 1, Parallel: 4, Timeout: time.Minute}
	if s := w.Shadow; s != nil {
		if s.Share != nil {
			if r.Shadow.Share = s.Share.Value; !s.Share.bad && !(r.Shadow.Share > 0 && r.Shadow.Share <= 1) {
				l.fail(s.Share.Pos, s.Share.Text, "not a share of the requests", "above 0 and up to 100%")
			}
		}
		if s.Parallel != nil {
			if r.Shadow.Parallel = *s.Parallel; r.Shadow.Parallel < 1 {
				l.fail(s.Pos.At("parallel"), strconv.Itoa(r.Shadow.Parallel), "too small", "at least 1")
			}
		}
		if r.Shadow.Timeout = s.Timeout.or(r.Shadow.Timeout); r.Shadow.Timeout <= 0 {
			l.fail(s.Timeout.Pos, "0", "no time at all", "such as 60s")
		}
		if s.Cost != nil {
			if r.Shadow.Cost = *s.Cost; r.Shadow.Cost < 0 {
				l.fail(s.Pos.At("cost"), fmt.Sprint(r.Shadow.Cost), "below 0", "US dollars")
			}
		}
		if s.Tokens != nil {
			if r.Shadow.Tokens = *s.Tokens; r.Shadow.Tokens < 0 {
				l.fail(s.Pos.At("tokens"), fmt.Sprint(r.Shadow.Tokens), "below 0", "a number of tokens")
			}
		}
	}
	if s := w.Sentinels; s != nil {
		l.places["sentinels.suite"] = at(s.Suite, s.Pos, "suite")
		r.Sentinels = &Sentinels{Suite: s.Suite.Text, Every: s.Every.or(defaultEvery)}
		if r.Sentinels.Suite == "" {
			l.fail(at(s.Suite, s.Pos, "suite"), "", "no suite is named", "a suite file such as critical.yaml")
		}
		if r.Sentinels.Every <= 0 {
			l.fail(s.Every.Pos, "0", "no time at all", "such as 15m")
		}
	}
}
