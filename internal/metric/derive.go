package metric

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

const kindDerived = "derived"

// Deriver computes metrics from other metrics. It is safe for concurrent use.
type Deriver struct{ list []derivation }

// derivation is one derived metric, compiled.
type derivation struct {
	name string
	expr string
	uses []string // names of metrics, sorted
	eval func(metrics map[string]record.Metric) (float64, error)
}

// NewDeriver compiles derived metrics. The error is config.Errors.
func NewDeriver(list []config.Derived) (*Deriver, error) {
	d := &Deriver{}
	var errs config.Errors
	for _, m := range list {
		one, err := newDerivation(m)
		if err != nil {
			errs = append(errs, &config.Error{Pos: m.Pos, Value: m.Expr, Problem: err.Error()})
			continue
		}
		d.list = append(d.list, one)
	}
	return d, errs.Err()
}

func newDerivation(m config.Derived) (derivation, error) {
	if _, taken := builtinUnits[m.Name]; taken || strings.TrimSpace(m.Name) == "" {
		return derivation{}, fmt.Errorf("%q cannot be the name of a derived metric", m.Name)
	}
	if m.Sums {
		return newSumDerivation(m)
	}
	return newCELDerivation(m)
}

// Names are the names of the derived metrics.
func (d *Deriver) Names() []string {
	out := make([]string, len(d.list))
	for i := range d.list {
		out[i] = d.list[i].name
	}
	return out
}

// Add adds the derived metrics to metrics, in the order in which they were written: a later one may
// use an earlier. One whose parts are not known has no value, which the gate cannot pass. The
// problems are one sentence each.
func (d *Deriver) Add(metrics map[string]record.Metric) (problems []string) {
	for i := range d.list {
		one := &d.list[i]
		if _, taken := metrics[one.name]; taken {
			problems = append(problems, fmt.Sprintf("metric %q: it is measured, and the derived metric of that name is left out", one.name))
			continue
		}
		m, problem := one.metric(metrics)
		if problem != "" {
			problems = append(problems, fmt.Sprintf("derived metric %q: %s", one.name, problem))
		}
		metrics[one.name] = m
	}
	return problems
}

func (d *derivation) metric(metrics map[string]record.Metric) (record.Metric, string) {
	out := record.Metric{Kind: kindDerived}
	signatures := []string{d.expr}
	for i, name := range d.uses {
		m, ok := metrics[name]
		if !ok {
			return record.Metric{Kind: kindDerived}, fmt.Sprintf("there is no metric %q", name)
		}
		signatures = append(signatures, name+"="+m.Signature)
		out.Missing = max(out.Missing, m.Missing)
		if i == 0 || m.N < out.N {
			out.N = m.N
		}
		if i == 0 || m.Clusters < out.Clusters {
			out.Clusters = m.Clusters
		}
	}
	out.Signature = kindDerived + "/1|" + record.HashJSON(signatures)[:12]
	for _, name := range d.uses {
		if v := metrics[name].Mean; v == nil || !stats.Finite(*v) {
			out.N = 0
			return out, fmt.Sprintf("%s has no value", name)
		}
	}
	v, err := d.eval(metrics)
	if err == nil && !stats.Finite(v) {
		err = fmt.Errorf("%s is %v", d.expr, v)
	}
	if err != nil {
		out.N = 0
		return out, err.Error()
	}
	out.Mean = &v
	return out, ""
}

// The variables of a derived metric's CEL besides the metrics themselves: maps from a metric's name
// to a number of it.
var derivedMaps = map[string]func(m *record.Metric) float64{
	"metrics": func(m *record.Metric) float64 { return *m.Mean },
	"low":     func(m *record.Metric) float64 { return orNaN(m.Low) },
	"high":    func(m *record.Metric) float64 { return orNaN(m.High) },
	"n":       func(m *record.Metric) float64 { return float64(m.N) },
	"sum":     sumOf,
}

func orNaN(p *float64) float64 {
	if p == nil {
		return math.NaN()
	}
	return *p
}

// sumOf is the sum of a metric's observations.
func sumOf(m *record.Metric) float64 {
	if m.Count != nil {
		return *m.Count
	}
	return *m.Mean * float64(m.N)
}

// wholeNumber finds numbers without a point, and steps over texts, names and other numbers.
var wholeNumber = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_][A-Za-z0-9_.]*|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?`)

// asDoubles writes whole numbers as CEL's doubles, since every metric is one.
func asDoubles(expr string) string {
	return wholeNumber.ReplaceAllStringFunc(expr, func(s string) string {
		if s[0] >= '0' && s[0] <= '9' && !strings.ContainsAny(s, ".eE") {
			return s + ".0"
		}
		return s
	})
}

func newCELDerivation(m config.Derived) (derivation, error) {
	base, err := cel.NewEnv(ext.Math(), ext.Bindings())
	if err != nil {
		return derivation{}, err
	}
	source := asDoubles(m.Expr)
	parsed, issues := base.Parse(source)
	if issues.Err() != nil {
		return derivation{}, derivedMistake(issues)
	}
	names := &namesUsed{bare: map[string]bool{}, indexed: map[string]bool{}}
	names.collect(parsed.NativeRep().Expr())
	if names.err != nil {
		return derivation{}, names.err
	}
	opts := []cel.EnvOption{}
	for name := range derivedMaps {
		opts = append(opts, cel.Variable(name, cel.MapType(cel.StringType, cel.DoubleType)))
	}
	for name := range names.bare {
		opts = append(opts, cel.Variable(name, cel.DoubleType))
	}
	env, err := base.Extend(opts...)
	if err != nil {
		return derivation{}, err
	}
	tree, issues := env.Compile(source)
	if issues.Err() != nil {
		return derivation{}, derivedMistake(issues)
	}
	if k := tree.OutputType().Kind(); k != types.DoubleKind {
		return derivation{}, fmt.Errorf("the expression gives %s, want a number", tree.OutputType())
	}
	program, err := env.Program(tree, cel.CostLimit(100_000))
	if err != nil {
		return derivation{}, err
	}
	uses := map[string]bool{}
	maps.Copy(uses, names.bare)
	maps.Copy(uses, names.indexed)
	d := derivation{name: m.Name, expr: m.Expr, uses: slices.Sorted(maps.Keys(uses))}
	if len(d.uses) == 0 {
		return derivation{}, fmt.Errorf("the expression uses no metric")
	}
	d.eval = func(metrics map[string]record.Metric) (float64, error) {
		vars := map[string]any{}
		for name, of := range derivedMaps {
			values := map[string]float64{}
			for _, used := range d.uses {
				one := metrics[used]
				values[used] = of(&one)
			}
			vars[name] = values
		}
		for name := range names.bare {
			vars[name] = *metrics[name].Mean
		}
		out, _, err := program.Eval(vars)
		if err != nil {
			return 0, err
		}
		return float64(out.(types.Double)), nil
	}
	return d, nil
}

func derivedMistake(issues *cel.Issues) error {
	e := issues.Errors()[0]
	return fmt.Errorf("invalid CEL expression: %s (column %d)", e.Message, e.Location.Column()+1)
}

// namesUsed collects the metrics that an expression names: bare, as in ifeval.prompt_strict, or as in
// metrics["rouge-1"].
type namesUsed struct {
	bare, indexed map[string]bool
	bound         []string
	err           error
}

func (u *namesUsed) collect(e ast.Expr) {
	if name, ok := dotted(e); ok {
		root, _, _ := strings.Cut(name, ".")
		switch {
		case slices.Contains(u.bound, root):
		case derivedMaps[root] != nil:
			u.err = fmt.Errorf(`%s is a map of all metrics; write %s["NAME"]`, root, root)
		default:
			u.bare[name] = true
		}
		return
	}
	switch e.Kind() {
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() == "_[_]" && len(c.Args()) == 2 {
			root, isName := dotted(c.Args()[0])
			key := c.Args()[1]
			if isName && derivedMaps[root] != nil {
				text, isText := "", false
				if key.Kind() == ast.LiteralKind {
					text, isText = key.AsLiteral().Value().(string)
				}
				if !isText {
					u.err = fmt.Errorf("the name of a metric must be written out, as in %s[\"NAME\"]", root)
					return
				}
				u.indexed[text] = true
				return
			}
		}
		if c.IsMemberFunction() {
			if name, ok := dotted(c.Target()); !ok || name != "math" && name != "cel" {
				u.collect(c.Target())
			}
		}
		for _, arg := range c.Args() {
			u.collect(arg)
		}
	case ast.SelectKind:
		u.collect(e.AsSelect().Operand())
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			u.collect(item)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		u.collect(c.IterRange())
		u.collect(c.AccuInit())
		u.bound = append(u.bound, c.IterVar(), c.AccuVar())
		u.collect(c.LoopCondition())
		u.collect(c.LoopStep())
		u.collect(c.Result())
		u.bound = u.bound[:len(u.bound)-2]
	}
}

// dotted returns a chain of names such as ifeval.prompt_strict.
func dotted(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true
	case ast.SelectKind:
		s := e.AsSelect()
		if root, ok := dotted(s.Operand()); ok && !s.IsTestOnly() {
			return root + "." + s.FieldName(), true
		}
	}
	return "", false
}
