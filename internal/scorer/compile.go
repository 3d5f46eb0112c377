package scorer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Assertion is an assertion ready to judge answers. It is safe for concurrent use.
type Assertion struct {
	kind      Kind
	scorer    Scorer
	shape     shape
	name      string // of the metric
	typ       string // as written, with its not- prefix
	not       bool
	weight    *float64
	spec      Spec
	signature string
	// transform and context, when set, make what is judged, and the variable context, from the answer.
	transform, context *Transform
}

// shape is what a Scorer's Value is. It follows from the Kind unless the Scorer knows better.
type shape struct {
	continuous bool   // a quantity, not 1 or 0
	graded     bool   // between 0 and 1, so that 1-Value is its opposite
	unit       string // of a measured quantity
	timed      bool
	judges     bool // every score has an outcome
}

// shaped is a Scorer whose parameters decide what its Value is.
type shaped interface{ shape() shape }

// conventional is a Scorer whose parameters decide a part of the recipe that must be in the signature.
type conventional interface{ convention() string }

// Compile builds the assertion a, whose templates have been rendered; dir is the suite's folder.
// Its errors are *config.Error or config.Errors.
func Compile(a config.Assertion, dir string, services *Services) (*Assertion, error) {
	typ := a.Type
	if a.Not {
		typ = "not-" + typ
	}
	kind, ok := Lookup(a.Type)
	if !ok {
		return nil, unknownType(a, typ)
	}
	var errs config.Errors
	if services == nil {
		services = &Services{}
	}
	spec := Spec{
		Pos: a.Pos, Value: a.Value, ValuePos: a.ValuePos, Threshold: a.Threshold, Config: a.Config, Dir: dir,
		Provider: a.Provider, ProviderPos: a.ProviderPos, RubricPrompt: a.RubricPrompt, Assert: a.Assert, Transformed: a.Transform != "", Services: services,
	}
	if spec.Provider == nil {
		spec.Provider, spec.ProviderPos = a.Judge.Provider, a.Pos
	}
	if spec.RubricPrompt == nil {
		spec.RubricPrompt = a.Judge.RubricPrompt
	}
	if spec.part = services.Compile; spec.part == nil {
		spec.part = func(a config.Assertion) (*Assertion, error) { return Compile(a, dir, services) }
	}
	if spec.ValuePos == (config.Pos{}) {
		spec.ValuePos = a.Pos.At("value")
	}
	if spec.Config.Pos == (config.Pos{}) {
		spec.Config.Pos = a.Pos.At("config")
	}
	checkNeeds(&errs, kind, typ, a)
	if spec.Threshold == nil && kind.Default != nil {
		d := *kind.Default
		spec.Threshold = &d
	}
	if len(errs) > 0 {
		return nil, errs.Err()
	}
	transform, err := transformOf(a.Transform, a.TransformPos, dir, services)
	errs.Append(a.Pos, err)
	contextOf, err := transformOf(a.ContextTransform, a.ContextTransformPos, dir, services)
	errs.Append(a.Pos, err)
	if len(errs) > 0 {
		return nil, errs.Err()
	}
	scorer, err := build(kind, spec)
	if err != nil {
		errs.Append(a.Pos, err)
		return nil, errs.Err()
	}
	c := &Assertion{
		kind: kind, scorer: scorer, transform: transform, context: contextOf, typ: typ, name: typ, not: a.Not, weight: a.Weight, spec: spec,
		shape: shape{
			continuous: kind.Continuous, graded: kind.Unit == "", unit: kind.Unit, timed: kind.Timed,
			judges: !kind.Continuous || kind.Threshold == Forbidden || spec.Threshold != nil,
		},
	}
	if s, ok := scorer.(shaped); ok {
		c.shape = s.shape()
	}
	if a.Metric != "" {
		c.name = a.Metric
	}
	if a.Not && !c.shape.judges {
		return nil, &config.Error{Pos: a.Pos, Value: typ, Problem: "there is no outcome to turn round: without a threshold " + a.Type + " only measures",
			Want: "a threshold, or no not- prefix"}
	}
	if a.Not && c.Compares() {
		return nil, &config.Error{Pos: a.Pos, Value: typ, Problem: "a comparison of answers cannot be turned round", Want: a.Type + " without not-"}
	}
	c.signature = c.SignatureOf(spec.Value)
	return c, nil
}

// transformOf compiles a transform; nil when there is none.
func transformOf(source string, pos config.Pos, dir string, services *Services) (*Transform, error) {
	if source == "" {
		return nil, nil
	}
	return NewTransform(source, pos, dir, services)
}

// build guards against parsers of schemas, expressions and patterns that do not survive what users write.
func build(kind Kind, spec Spec) (scorer Scorer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &config.Error{Pos: spec.Pos, Problem: fmt.Sprintf("%s cannot be built from this: %v", kind.Name, p)}
		}
	}()
	return kind.Build(spec)
}

func unknownType(a config.Assertion, typ string) *config.Error {
	e := &config.Error{Pos: a.Pos.At("type"), Value: typ, Problem: "no such assertion type"}
	if a.Type == "" {
		e.Problem, e.Want = "the assertion has no type", "one of the types in docs/scorers.md"
		return e
	}
	if why, ok := Unsupported(a.Type); ok {
		e.Problem = "this assertion type " + why
		return e
	}
	if near := Nearest(a.Type); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	} else {
		e.Want = "one of the types in docs/scorers.md"
	}
	return e
}

// checkNeeds reports parameters that are missing, not wanted or not usable.
func checkNeeds(errs *config.Errors, kind Kind, typ string, a config.Assertion) {
	report := func(p config.Pos, format string, args ...any) {
		*errs = append(*errs, config.Errorf(p, format, args...))
	}
	switch {
	case kind.Value == Required && a.Value == nil:
		report(a.Pos, "%s needs a value", typ)
	case kind.Value == Forbidden && a.Value != nil:
		report(a.Pos.At("value"), "%s takes no value", typ)
	}
	switch {
	case kind.Threshold == Required && a.Threshold == nil && kind.Default == nil:
		report(a.Pos, "%s needs a threshold", typ)
	case kind.Threshold == Forbidden && a.Threshold != nil:
		report(a.Pos.At("threshold"), "%s takes no threshold", typ)
	}
	if t := a.Threshold; t != nil && (math.IsNaN(*t) || math.IsInf(*t, 0)) {
		report(a.Pos.At("threshold"), "%v is not a threshold", *t)
	}
	if w := a.Weight; w != nil && !(*w >= 0 && !math.IsInf(*w, 0)) {
		report(a.Pos.At("weight"), "%v is not a weight; want a number of at least 0", *w)
	}
}

// Name is the name of the assertion's metric: the one it was given, or its type.
func (a *Assertion) Name() string { return a.name }

// Type is the type as written, with its not- prefix.
func (a *Assertion) Type() string { return a.typ }

// Pos is where the assertion is written.
func (a *Assertion) Pos() config.Pos { return a.spec.Pos }

// Kind is the kind that the type names.
func (a *Assertion) Kind() Kind { return a.kind }

// Caution is what a suite that gates on this assertion must be warned of; empty if nothing.
func (a *Assertion) Caution() string {
	if c, ok := a.scorer.(interface{ caution() string }); ok {
		return c.caution()
	}
	return a.kind.Caution
}

// Weight is the weight as written; nil means 1.
func (a *Assertion) Weight() *float64 { return a.weight }

// Continuous says whether the metric is a mean of quantities instead of a rate.
func (a *Assertion) Continuous() bool { return a.shape.continuous }

// Unit is the unit of a measured quantity; empty for scores between 0 and 1.
func (a *Assertion) Unit() string { return a.shape.unit }

// Timed says whether the judgement depends on when the answer was made.
func (a *Assertion) Timed() bool { return a.shape.timed }

// Judges says whether scores have an outcome; if not, the assertion only measures.
func (a *Assertion) Judges() bool { return a.shape.judges }

// Value is the value that was compiled; nil when there was none.
func (a *Assertion) Value() any { return a.spec.Value }

// Graded says whether every value lies between 0 and 1.
func (a *Assertion) Graded() bool { return a.shape.graded }

// Signature is the exact recipe of the number: two numbers whose signatures differ are not
// comparable. It is the kind's name and version, its convention, not, threshold, config and value,
// joined by "|", and the same in every process.
func (a *Assertion) Signature() string { return a.signature }

// Close ends what the scorer keeps running, such as a subprocess. The assertion must not be used afterwards.
func (a *Assertion) Close() error {
	if c, ok := a.scorer.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Score judges one answer. It never panics, and whatever keeps it from judging becomes the score's Error.
func (a *Assertion) Score(ctx context.Context, in *Input) record.Score {
	s := record.Score{Name: a.name, Type: a.typ, Weight: a.weight}
	res, err := a.judge(ctx, in)
	s.Cost = res.Cost
	s.Scores = res.Scores
	if res.Usage != (record.Usage{}) {
		usage := res.Usage
		s.Usage = &usage
	}
	if res.Judge != (record.Judging{}) {
		judge := res.Judge
		s.Judge = &judge
	}
	if err == nil {
		if a.not {
			a.negate(&res)
		}
		s.Measures, err = a.measures(res)
	}
	if err != nil {
		s.Measures = nil
		s.Error = err.Error()
		if s.Error == "" {
			s.Error = fmt.Sprintf("%s could not judge: %T", a.typ, err)
		}
		return s
	}
	value := res.Value
	s.Value = &value
	s.Detail = res.Detail
	if res.Pass != nil {
		pass := *res.Pass
		s.Pass = &pass
		if !pass {
			s.Reason = res.Reason // that of a pass would only fill the result file
		}
	}
	return s
}

// judge calls the scorer and checks that what it says can be used.
func (a *Assertion) judge(ctx context.Context, in *Input) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			res, err = Result{}, fmt.Errorf("%s failed: %v", a.typ, p)
		}
	}()
	if in == nil || in.Response == nil {
		return Result{}, errors.New("there is no answer to judge")
	}
	if err := a.unanswered(in.Response); err != nil {
		return Result{}, err
	}
	if in, err = a.subject(ctx, in); err != nil {
		return Result{}, err
	}
	res, err = a.scorer.Score(ctx, in)
	// What judging took was spent whether or not it came to something, and the parts of a composite
	// stand for themselves.
	spent := Result{Cost: res.Cost, Usage: res.Usage, Judge: res.Judge, Scores: res.Scores}
	switch {
	case err != nil:
		return spent, err
	case math.IsNaN(res.Value) || math.IsInf(res.Value, 0):
		return spent, fmt.Errorf("%s gave %v, which is not a number", a.typ, res.Value)
	case !a.shape.continuous && res.Value != 0 && res.Value != 1:
		return spent, fmt.Errorf("%s gave %v, want 0 or 1", a.typ, res.Value)
	case res.Pass == nil && a.not:
		return spent, fmt.Errorf("%s has no outcome to turn round", a.kind.Name)
	}
	return res, nil
}

// subject is what is judged: the answer, or what the assertion's transforms make of it.
func (a *Assertion) subject(ctx context.Context, in *Input) (*Input, error) {
	if a.context != nil {
		out, err := a.context.withContext(ctx, in)
		if err != nil {
			return nil, err
		}
		in = out
	}
	if a.transform == nil {
		return in, nil
	}
	r, err := a.transform.Response(ctx, in)
	out := *in
	out.Response = r
	return &out, err
}

// Unjudged is the score of a sample without an answer, with one for each part of a composite.
func (a *Assertion) Unjudged(why string) record.Score {
	s := record.Score{Name: a.name, Type: a.typ, Weight: a.weight, Error: why}
	for _, p := range a.Parts() {
		s.Scores = append(s.Scores, p.Unjudged(why))
	}
	return s
}

// Parts are the assertions that a composite is made of; nil for others.
func (a *Assertion) Parts() []*Assertion {
	if c, ok := a.scorer.(composite); ok {
		return c.members()
	}
	return nil
}

// NeedsTools says that the assertion, or a part of it, judges by the provider's own tools.
func (a *Assertion) NeedsTools() bool {
	if t, ok := a.scorer.(interface{ needsTools() bool }); ok {
		return t.needsTools()
	}
	return slices.ContainsFunc(a.Parts(), (*Assertion).NeedsTools)
}

// negate turns a result round. Scores become 1-Value; a quantity in a unit stays what was measured,
// as do ratios in a unit and corpus statistics, which have no opposite.
func (a *Assertion) negate(res *Result) {
	pass := !*res.Pass
	res.Pass = &pass
	if a.shape.graded {
		res.Value = 1 - res.Value
	}
	res.Measures = slices.Clone(res.Measures)
	for i := range res.Measures {
		m := &res.Measures[i]
		switch {
		case m.Unit != "" || len(m.Stats) > 0:
		case m.Kind == "rate" || (m.Kind == "mean" || m.Kind == "") && a.shape.graded:
			m.Value = 1 - m.Value
		case m.Kind == "ratio" && a.shape.graded:
			m.Value = m.W() - m.Value
		}
	}
}

// measures returns what the sample adds to the run's metrics, under full names.
func (a *Assertion) measures(res Result) ([]record.Measure, error) {
	if len(res.Measures) == 0 {
		m := record.Measure{Metric: a.name, Value: res.Value, Kind: "rate", Unit: a.shape.unit}
		if a.shape.continuous {
			m.Kind = "mean"
		}
		return []record.Measure{m}, nil
	}
	out := slices.Clone(res.Measures)
	for i := range out {
		m := &out[i]
		switch {
		case m.Metric == "" || m.Metric == ".":
			m.Metric = a.name
		case strings.HasPrefix(m.Metric, "."):
			m.Metric = a.name + m.Metric
		}
		for _, v := range append([]float64{m.Value, m.Weight}, m.Stats...) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("%s gave %v for %s, which is not a number", a.typ, v, m.Metric)
			}
		}
	}
	return out, nil
}

// SignatureOf is the signature with another value in place of the assertion's: the template as it
// was written, say, so that the cases it is filled in for share one signature. Values and config are
// hashed, for they may be long or secret; numbers and booleans of the config are given as they are.
func (a *Assertion) SignatureOf(value any) string {
	convention := ""
	if c, ok := a.scorer.(conventional); ok {
		convention = c.convention()
	}
	return a.signatureOf(value, convention)
}

// SignatureAs is SignatureOf for an assertion as it was written, with its parts.
func (a *Assertion) SignatureAs(written config.Assertion) string {
	if c, ok := a.scorer.(composite); ok && len(written.Assert) == len(c.members()) {
		return a.signatureOf(written.Value, c.recipe(written.Assert))
	}
	return a.SignatureOf(written.Value)
}

func (a *Assertion) signatureOf(value any, convention string) string {
	var b strings.Builder
	b.WriteString(a.kind.Name + "/" + a.kind.Version)
	part := func(s string) {
		if s != "" {
			b.WriteString("|" + s)
		}
	}
	part(a.kind.Convention)
	part(convention)
	if a.transform != nil {
		part("transform=" + a.transform.signature())
	}
	if a.context != nil {
		part("context=" + a.context.signature())
	}
	if a.not {
		part("not")
	}
	if t := a.spec.Threshold; t != nil {
		part("threshold=" + strconv.FormatFloat(*t, 'g', -1, 64))
	}
	for _, k := range slices.Sorted(maps.Keys(a.spec.Config.Map)) {
		switch v := a.spec.Config.Map[k].(type) {
		case nil:
		case bool, int64, uint64, float64, int:
			part(fmt.Sprintf("%s=%v", k, v))
		default:
			part(k + "=" + shortHash(v))
		}
	}
	if value != nil && !a.kind.ValueIsReference {
		part("value=" + shortHash(value))
	}
	return b.String()
}

func shortHash(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		b = fmt.Appendf(nil, "%#v", v) // no decoded configuration gets here
	}
	return record.HashBytes(b)[:12]
}
