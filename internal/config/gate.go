package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// wireGate is the gate: the reserved keys of wireRegression, and metrics with what is asked of them, in the
// order in which they were written.
type wireGate struct {
	checks     []Check
	regression Regression
}

// wireRegression holds the keys of a gate that are not metrics.
type wireRegression struct {
	Baseline    wireText    `json:"baseline,omitempty" jsonschema:"description=What the run is compared with: a stored baseline's name or a run's directory"`
	Alpha       *float64    `json:"alpha,omitempty" jsonschema:"exclusiveMinimum=0,maximum=0.5,description=Chance of failing an unchanged system; 0.05 when it is not set"`
	Power       *float64    `json:"power,omitempty" jsonschema:"minimum=0.5,exclusiveMaximum=1,description=Chance of finding the effect that reasons name as the smallest; 0.8 when it is not set"`
	Correction  string      `json:"correction,omitempty" jsonschema:"enum=holm,enum=bonferroni,enum=none,description=Correction of the tests over all margins; holm when it is not set"`
	Interval    string      `json:"interval,omitempty" jsonschema:"enum=wilson,enum=exact,description=Interval of the run's rates: wilson or exact (Clopper-Pearson); wilson when it is not set"`
	OnUndecided wireText    `json:"on_undecided,omitempty" jsonschema:"description=What a margin without enough evidence does: fail; warn; or extend to draw more repeats. Without it the run is undecided"`
	MaxSamples  *int        `json:"max_samples,omitempty" jsonschema:"minimum=2,description=Repeats per case that extend may reach; four times samples when it is not set"`
	Critical    wireNamed   `json:"critical,omitempty" jsonschema:"description=Cases that must pass: ids or tag=NAME"`
	Judges      *wireJudges `json:"judges,omitempty" jsonschema:"description=The audit that judges must have passed before they may decide"`
}

type wireJudges struct {
	Pos         Pos       `json:"-"`
	Audit       wireFiles `json:"audit" jsonschema:"description=File that telltale audit judge wrote; a list where several judges or rubrics decide"`
	Agreement   *float64  `json:"agreement" jsonschema:"description=Least lower bound of the agreement with people"`
	Coefficient string    `json:"coefficient,omitempty" jsonschema:"enum=kappa,enum=ac1,enum=alpha,enum=accuracy,enum=weighted_kappa,enum=ac2,enum=ordinal_alpha,description=Which coefficient of agreement; kappa when it is not set"`
	KnownBy     string    `json:"known_by,omitempty" jsonschema:"enum=signature,enum=name,description=What an audit must have in common with the judge: the signature of its metric or only the model's id; signature when it is not set"`
	MaxAgeDays  *int      `json:"max_age_days,omitempty" jsonschema:"description=How many days old the audit may be; of any age when it is not set"`
}

// wireMargin is how much worse than the baseline a metric may be.
type wireMargin struct {
	Pos      Pos      `json:"-"`
	Margin   wireText `json:"margin" jsonschema:"description=How much worse than the baseline the metric may be such as 0.02 or 2% or 200ms"`
	Relative bool     `json:"relative,omitempty" jsonschema:"description=true: the margin is a share of the baseline's value"`
	Better   string   `json:"better,omitempty" jsonschema:"enum=higher,enum=lower,description=Which direction is better where telltale does not know it"`
	Bound    wireText `json:"bound,omitempty" jsonschema:"description=A bound besides the margin such as '>= 0.9'"`
}

// wireNamed is one name or a list of them, each with its place.
type wireNamed []Named

func (v *wireNamed) decodeNode(d *decoder, n ast.Node, p Pos) {
	*v = d.named(n, p, "not a case", "a case's id, or tag=NAME")
}

// wireFiles is one file's path or a list of them, each with its place.
type wireFiles []Named

func (v *wireFiles) decodeNode(d *decoder, n ast.Node, p Pos) {
	*v = d.named(n, p, "not a file", "a file's path, or a list of paths")
}

// named reads one text or a list of them; problem and want say what is wrong with another.
func (d *decoder) named(n ast.Node, p Pos, problem, want string) (out []Named) {
	node := d.resolve(n)
	items := []ast.Node{n}
	if list, ok := node.(*ast.SequenceNode); ok {
		items = list.Values
	} else if _, null := node.(*ast.NullNode); null {
		return nil
	}
	for _, item := range items {
		at := d.pos(item, p)
		s, _, _, ok := d.text(item, at)
		if s = strings.TrimSpace(s); !ok || s == "" || s == "tag=" {
			d.fail(at, d.show(item), problem, want)
			continue
		}
		out = append(out, Named{Pos: at, Name: s})
	}
	return out
}

// wireText is a text with its place; an empty one counts as not given.
type wireText struct {
	Text string
	Pos  Pos
}

func (v *wireText) decodeNode(d *decoder, n ast.Node, p Pos) {
	if _, null := d.resolve(n).(*ast.NullNode); null {
		return
	}
	v.Pos = d.pos(n, p)
	s, _, _, ok := d.text(n, v.Pos)
	if v.Text = strings.TrimSpace(s); !ok {
		d.fail(v.Pos, d.show(n), "not a text", "a text")
	}
}

const wantCheck = `a bound such as ">= 0.95" or "p95 <= 2s", a margin such as {margin: 0.02}, or a list of these`

func (v *wireGate) decodeNode(d *decoder, n ast.Node, p Pos) {
	fs, ok := d.fields(n, p)
	if !ok {
		d.fail(d.pos(n, p), d.show(n), "not a mapping", `a mapping of metrics to bounds, such as pass_rate: ">= 0.95"`)
		return
	}
	var w wireRegression
	keys := reflect.ValueOf(&w).Elem()
	for _, f := range fs {
		if i := slices.Index(GateKeys(), f.key); i >= 0 {
			d.into(f.value, f.pos, keys.Field(i))
			continue
		}
		// A metric whose name is a reserved key is reached as assert.NAME.
		if rest, ok := strings.CutPrefix(f.key, "assert."); ok && slices.Contains(GateKeys(), metricOf(rest)) {
			f.key = rest
		}
		items := []ast.Node{f.value}
		if list, isList := d.resolve(f.value).(*ast.SequenceNode); isList {
			if items = list.Values; len(items) == 0 {
				d.fail(d.pos(f.value, f.pos), d.show(f.value), "nothing is asked of "+f.key, wantCheck)
			}
		}
		for _, item := range items {
			v.metric(d, f, item)
		}
	}
	v.regression.take(d, &w, fs)
}

// metricOf is a name without its tag.
func metricOf(name string) string {
	metric, _, _ := strings.Cut(name, "[")
	return strings.TrimSpace(metric)
}

// GateKeys are the keys of a gate that are not metrics.
func GateKeys() []string { return jsonKeys(reflect.TypeFor[wireRegression]()) }

// metric reads one thing that is asked of a metric: a bound or a margin.
func (v *wireGate) metric(d *decoder, f field, item ast.Node) {
	at := d.pos(item, f.pos)
	if !isMapping(d.resolve(item)) {
		s, _, _, ok := d.text(item, at)
		if !ok {
			d.fail(at, d.show(item), "not a bound", wantCheck)
			return
		}
		if key := Nearest(f.key, GateKeys()); key != "" && !strings.ContainsAny(s, "<>=") {
			e := unknownKey(f.pos, f.key, GateKeys())
			e.Value = s
			d.errs = append(d.errs, e)
			return
		}
		v.checks = append(v.checks, Check{Pos: at, Metric: f.key, Expr: s})
		return
	}
	before := len(d.errs)
	var w wireMargin
	d.structInto(item, f.pos, reflect.ValueOf(&w).Elem())
	if len(d.errs) > before {
		return
	}
	if w.Margin.Text == "" {
		d.fail(w.Pos, "", "no margin", "margin: how much worse than the baseline the metric may be, such as 0.02")
		return
	}
	m, err := NewMargin(w.Margin.Pos, f.key, w.Margin.Text)
	if err != nil {
		d.errs = append(d.errs, err)
		return
	}
	m.Relative, m.Better = w.Relative, w.Better
	if !d.oneOf(w.Pos.At("better"), m.Better, "", "higher", "lower") {
		return
	}
	if err := m.checkRelative(); err != nil {
		d.errs = append(d.errs, err)
		return
	}
	v.regression.Margins = append(v.regression.Margins, m)
	if w.Bound.Text != "" {
		v.checks = append(v.checks, Check{Pos: w.Bound.Pos, Metric: f.key, Expr: w.Bound.Text})
	}
}

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

func (d *decoder) oneOf(p Pos, value string, allowed ...string) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	d.fail(p, value, "not one of the choices", strings.Join(allowed[1:], ", "))
	return false
}

// NewMargin reads an amount such as 0.02, 2%, 200ms, 0.5s or $0.01. A percentage is a share: 2% is 0.02.
func NewMargin(p Pos, metric, text string) (Margin, *Error) {
	m := Margin{Pos: p, Metric: metric, Text: strings.TrimSpace(text)}
	s, factor := m.Text, 1.0
	for _, u := range []struct {
		written, unit string
		factor        float64
	}{{"%", "%", 0.01}, {"ms", "s", 0.001}, {"usd", "usd", 1}, {"$", "usd", 1}, {"s", "s", 1}} {
		if rest, ok := strings.CutSuffix(s, u.written); ok {
			s, m.Unit, factor = strings.TrimSpace(rest), u.unit, u.factor
			break
		}
	}
	if rest, ok := strings.CutPrefix(s, "$"); ok && m.Unit == "" {
		s, m.Unit = strings.TrimSpace(rest), "usd"
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(s, "_xX") {
		return m, &Error{Pos: p, Value: text, Problem: "not an amount", Want: "how much worse the metric may be, such as 0.02, 2%, 200ms or $0.01"}
	}
	if x < 0 {
		return m, &Error{Pos: p, Value: text, Problem: "below 0", Want: "0 or more: how much worse than the baseline the metric may be, whichever direction is better"}
	}
	m.Margin = x * factor
	return m, nil
}

// checkRelative refuses a share of the baseline's value in another unit, or of all of it and more.
func (m *Margin) checkRelative() *Error {
	if !m.Relative {
		return nil
	}
	if m.Unit != "" && m.Unit != "%" {
		return &Error{Pos: m.Pos, Value: m.Text, Problem: "a relative margin is a share of the baseline's value", Want: "a share such as 5%"}
	}
	if m.Margin >= 1 {
		e := &Error{Pos: m.Pos, Value: m.Text, Problem: "a relative margin of the whole value or more", Want: "a share below 100%"}
		if m.Unit == "" && m.Margin < 100 {
			e.Hint = fmt.Sprintf("write %g%% for a percentage", m.Margin)
		}
		return e
	}
	return nil
}

// GivenMargin reads the margin of a command line: AMOUNT, then "relative" and "better higher" or "better
// lower" where they are wanted.
func GivenMargin(p Pos, metric, text string) (Margin, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		words = []string{""}
	}
	m, err := NewMargin(p, metric, words[0])
	if err != nil {
		return m, err
	}
	for rest := words[1:]; len(rest) > 0; {
		switch {
		case rest[0] == "relative" && !m.Relative:
			m.Relative, rest = true, rest[1:]
		case rest[0] == "better" && m.Better == "" && len(rest) > 1 && (rest[1] == "higher" || rest[1] == "lower"):
			m.Better, rest = rest[1], rest[2:]
		default:
			return m, &Error{Pos: p, Value: strings.Join(rest, " "), Problem: "not part of a margin", Want: `"relative", "better higher" or "better lower" after the amount`}
		}
	}
	if err := m.checkRelative(); err != nil {
		return m, err
	}
	return m, nil
}

// take checks the reserved keys and keeps them.
func (r *Regression) take(d *decoder, w *wireRegression, fs []field) {
	at := func(key string) Pos {
		for _, f := range fs {
			if f.key == key {
				return d.pos(f.value, f.pos)
			}
		}
		return Pos{File: d.file}
	}
	r.Baseline, r.BaselinePos = w.Baseline.Text, w.Baseline.Pos
	r.Critical = w.Critical
	if x := w.Alpha; x != nil {
		if r.Alpha = *x; !(*x > 0 && *x <= 0.5) {
			d.fail(at("alpha"), fmt.Sprint(*x), "out of range", "a number above 0 and at most 0.5, such as 0.05")
		}
	}
	if x := w.Power; x != nil {
		if r.Power = *x; !(*x >= 0.5 && *x < 1) {
			d.fail(at("power"), fmt.Sprint(*x), "out of range", "a number from 0.5 to below 1, such as 0.8")
		}
	}
	if d.oneOf(at("correction"), w.Correction, "", "holm", "bonferroni", "none") {
		r.Correction = w.Correction
	}
	if d.oneOf(at("interval"), w.Interval, "", "wilson", "exact") {
		r.Exact = w.Interval == "exact"
	}
	if d.oneOf(w.OnUndecided.Pos, w.OnUndecided.Text, "", "fail", "warn", "extend") {
		r.OnUndecided, r.OnUndecidedPos = w.OnUndecided.Text, w.OnUndecided.Pos
	}
	if x := w.MaxSamples; x != nil {
		switch r.MaxSamples = *x; {
		case *x < 2 || *x > 1_000_000:
			d.fail(at("max_samples"), fmt.Sprint(*x), "out of range", "a whole number from 2 to 1000000")
		case r.OnUndecided != "extend":
			d.fail(at("max_samples"), fmt.Sprint(*x), "nothing draws more repeats", "on_undecided: extend beside it")
		}
	}
	if w.Judges != nil && w.Judges.Pos != (Pos{}) { // without a place it was no mapping
		r.Judges = d.judges(w.Judges)
	}
}

// judges reads what is asked of the judges' audit.
func (d *decoder) judges(w *wireJudges) *JudgeAudit {
	j := &JudgeAudit{Pos: w.Pos, Files: w.Audit, Coefficient: w.Coefficient, ByName: w.KnownBy == "name"}
	if len(j.Files) == 0 {
		d.fail(w.Pos, "", "no audit", "audit: the file that telltale audit judge wrote")
	}
	if d.oneOf(w.Pos.At("coefficient"), w.Coefficient, "", "kappa", "ac1", "alpha", "accuracy", "weighted_kappa", "ac2", "ordinal_alpha") && j.Coefficient == "" {
		j.Coefficient = "kappa"
	}
	d.oneOf(w.Pos.At("known_by"), w.KnownBy, "", "signature", "name")
	switch x := w.Agreement; {
	case x == nil:
		d.fail(w.Pos.At("agreement"), "", "no agreement", "the least lower bound of the coefficient, such as 0.6")
	case !(*x > 0 && *x < 1):
		d.fail(w.Pos.At("agreement"), fmt.Sprint(*x), "out of range", "a number between 0 and 1, such as 0.6")
	default:
		j.Agreement = *x
	}
	if x := w.MaxAgeDays; x != nil {
		if *x < 1 {
			d.fail(w.Pos.At("max_age_days"), fmt.Sprint(*x), "out of range", "a number of days from 1 on")
		}
		j.MaxAgeDays = *x
	}
	return j
}

// regressionContent is what of the regression gate determines a verdict, without places; empty for a suite that
// has none.
func (s *Suite) regressionContent() map[string]any {
	r, m := &s.Regression, map[string]any{}
	set := func(key string, v any, given bool) {
		if given {
			m[key] = v
		}
	}
	var margins, critical []any
	for _, g := range r.Margins {
		margins = append(margins, []any{g.Metric, g.Margin, g.Relative, g.Unit, g.Better})
	}
	for _, c := range r.Critical {
		critical = append(critical, c.Name)
	}
	set("margins", margins, len(margins) > 0)
	set("critical", critical, len(critical) > 0)
	set("alpha", r.Alpha, r.Alpha > 0)
	set("power", r.Power, r.Power > 0)
	set("correction", r.Correction, r.Correction != "")
	set("interval", "exact", r.Exact)
	set("on_undecided", r.OnUndecided, r.OnUndecided != "")
	set("max_samples", r.MaxSamples, r.MaxSamples > 0)
	if j := r.Judges; j != nil {
		asked := []any{j.Agreement, j.Coefficient}
		if j.MaxAgeDays > 0 {
			asked = append(asked, j.MaxAgeDays)
		}
		if j.ByName {
			asked = append(asked, "by name")
		}
		set("judges", asked, true)
	}
	return m
}
