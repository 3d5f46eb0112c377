package app

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gate"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/template"
)

// checker compiles the assertions of cases. Assertions of the suite that hold no template are
// compiled once; the others are filled and compiled for each case.
type checker struct {
	dir      string
	services *scorer.Services
	defaults []*pattern
	// judge is the judge with which defaults are compiled.
	judge config.Judge

	mu sync.Mutex
	// kept holds assertions that own a process, by their content, so that cases share them.
	kept map[string]*scorer.Assertion
	// signatures holds the recipes behind each metric.
	signatures map[string]map[string]bool
	graded     map[string]bool // metric → all its assertions give values from 0 to 1
	cautions   map[string]caution
	// golden holds what golden assertions compare with.
	golden map[record.GoldenRef]bool
	// confidences has the sources of calibrations in words, by their names.
	confidences map[string]string
	streams     bool
	// code says that the suite's own code judges, which may name metrics of its own.
	code bool
	// judges has the recipes of the metrics that ask a judge model.
	judges map[string]map[string]bool
	// toolsFor names an assertion that judges by the provider's tools; empty when there is none.
	toolsFor string
}

// caution is what a reader should know about a metric before relying on it.
type caution struct {
	text string
	// judges says that samples pass or fail by it, so that every gate rests on it.
	judges bool
}

// maxKept bounds the processes that one suite's assertions may own.
const maxKept = 16

// pattern is an assertion as it was written.
type pattern struct {
	a config.Assertion
	// compiled is set when there is nothing to fill in.
	compiled *scorer.Assertion
	fillers
}

// fillers fill the templates of an assertion and of its parts; nil where there is none.
type fillers struct {
	value, metric *filler
	parts         []fillers
}

func newChecker(s *config.Suite, dir string, services *scorer.Services) (*checker, error) {
	c := &checker{
		dir: dir, services: services, judge: config.Judge{Provider: s.Default.Provider, RubricPrompt: s.Default.RubricPrompt}, kept: map[string]*scorer.Assertion{}, signatures: map[string]map[string]bool{},
		graded: map[string]bool{}, cautions: map[string]caution{}, judges: map[string]map[string]bool{}, golden: map[record.GoldenRef]bool{}, confidences: map[string]string{},
	}
	services.Compile = c.compile
	var errs config.Errors
	for _, a := range s.Default.Assert {
		p, err := c.pattern(judgedBy(a, c.judge))
		if err != nil {
			errs.Append(a.Pos, err)
			continue
		}
		c.defaults = append(c.defaults, p)
		if p.compiled == nil {
			errs.Append(a.Pos, scorer.CheckJudge(&p.a, c.services))
		}
		if p.compiled != nil {
			c.note(p.compiled, &p.a)
		}
	}
	if err := errs.Err(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *checker) pattern(a config.Assertion) (*pattern, error) {
	f, found, err := newFillers(&a)
	if err != nil {
		return nil, err
	}
	p := &pattern{a: a, fillers: f}
	if !found {
		p.compiled, err = c.compile(a)
	}
	return p, err
}

func newFillers(a *config.Assertion) (f fillers, found bool, err error) {
	if f.value, err = newFiller(a.Value); err != nil {
		return f, false, &config.Error{Pos: a.ValuePos, Err: err}
	}
	if f.metric, err = newFiller(a.Metric); err != nil {
		return f, false, &config.Error{Pos: a.Pos.At("metric"), Value: a.Metric, Err: err}
	}
	found = f.value != nil || f.metric != nil
	f.parts = make([]fillers, len(a.Assert))
	for i := range a.Assert {
		part, has, err := newFillers(&a.Assert[i])
		if err != nil {
			return f, false, err
		}
		f.parts[i], found = part, found || has
	}
	return f, found, nil
}

// judgedBy hands the test's choice of a judge to an assertion and its parts.
func judgedBy(a config.Assertion, j config.Judge) config.Assertion {
	if j.Provider == nil && j.RubricPrompt == nil {
		return a
	}
	a.Judge = j
	parts := a.Assert
	a.Assert = make([]config.Assertion, len(parts))
	for i := range parts {
		a.Assert[i] = judgedBy(parts[i], j)
	}
	return a
}

// note remembers what a metric is made of: the recipe as it was written.
func (c *checker) note(a *scorer.Assertion, written *config.Assertion) {
	for i, part := range a.Parts() {
		c.note(part, &written.Assert[i])
	}
	signature, value := a.SignatureAs(*written), written.Value
	c.mu.Lock()
	defer c.mu.Unlock()
	name := a.Name()
	if c.signatures[name] == nil {
		c.signatures[name] = map[string]bool{}
		c.graded[name] = true
	}
	c.signatures[name][signature] = true
	c.graded[name] = c.graded[name] && a.Graded()
	if text := a.Caution(); text != "" {
		c.cautions[name] = caution{text, c.cautions[name].judges || a.Judges()}
	}
	if use, ok := a.Golden(); ok && !written.Not {
		c.golden[record.GoldenRef{Metric: name, File: filepath.ToSlash(use.File), Hash: use.Hash, Match: use.Match, PerSnapshot: use.PerSnapshot}] = true
	}
	if source, words, ok := a.Confidence(); ok {
		c.confidences[source] = words
	}
	if a.AsksJudge() {
		if c.judges[name] == nil {
			c.judges[name] = map[string]bool{}
		}
		c.judges[name][signature] = true
	}
	c.code = c.code || scorer.NeedsCode(a.Kind().Name)
	if len(a.Parts()) == 0 && a.NeedsTools() {
		c.toolsFor = a.Type()
	}
	c.streams = c.streams || a.Kind().Name == "ttft" || a.Timed() && strings.Contains(fmt.Sprint(value), "ttft")
}

// forTest compiles the checks of a case. at is the case's place, for mistakes in filling values.
func (c *checker) forTest(t *config.Test) (checks []runner.Check, timed bool, err error) {
	var errs config.Errors
	add := func(p *pattern, own bool) {
		a := p.compiled
		if a == nil {
			var err error
			if a, err = c.fill(p, t); err != nil {
				errs.Append(t.Pos, err)
				return
			}
		}
		if own || p.compiled == nil {
			c.note(a, &p.a)
		}
		if a.Kind().Name == "ifeval" && a.Value() == nil {
			if err := scorer.CheckIFEvalVars(t.Vars); err != nil {
				errs.Append(t.Pos, err)
				return
			}
		}
		for _, name := range a.Kind().Vars {
			// A transform may make the context of the answer.
			if _, given := t.Vars[name]; !given && (name != "context" || p.a.ContextTransform == "") {
				errs = append(errs, &config.Error{Pos: t.Pos.At("vars." + name), Problem: fmt.Sprintf("variable %q is not given, but %s judges by it", name, a.Type()), Want: "a value for it"})
				return
			}
		}
		checks = append(checks, a)
		timed = timed || a.Timed()
	}
	judge := config.Judge{Provider: t.Provider, RubricPrompt: t.RubricPrompt}
	other := !reflect.DeepEqual(judge, c.judge)
	if !t.NoDefaults {
		for _, p := range c.defaults {
			if other {
				own, err := c.pattern(judgedBy(p.a, judge))
				if err != nil {
					errs.Append(p.a.Pos, err)
					continue
				}
				p = own
			}
			add(p, other)
		}
	}
	for _, a := range t.Assert {
		p, err := c.pattern(judgedBy(a, judge))
		if err != nil {
			errs.Append(a.Pos, err)
			continue
		}
		add(p, true)
	}
	return checks, timed, errs.Err()
}

// fill renders a pattern's value with a case's variables and compiles the result.
func (c *checker) fill(p *pattern, t *config.Test) (*scorer.Assertion, error) {
	a, err := p.fillers.fill(p.a, t)
	if err != nil {
		return nil, err
	}
	out, err := c.compile(a)
	if err == nil || t.Pos == (config.Pos{}) {
		return out, err
	}
	// The mistake may be in the suite or in the row; name both.
	var errs config.Errors
	errs.Append(a.Pos, err)
	for _, e := range errs {
		e.Hint = strings.TrimSpace(e.Hint + " (filled in for the case at " + config.Pos{File: t.Pos.File, Line: t.Pos.Line}.String() + ")")
	}
	return nil, errs
}

// fill renders the templates of an assertion and its parts.
func (f *fillers) fill(a config.Assertion, t *config.Test) (config.Assertion, error) {
	if f.value != nil {
		v, err := f.value.fill(t.Vars)
		if m, ok := errors.AsType[*template.MissingError](err); ok {
			return a, &config.Error{Pos: t.Pos.At("vars." + m.Name),
				Problem: fmt.Sprintf("variable %q is not given, but the %s assertion at %s uses it", m.Name, a.Type, a.ValuePos), Want: "a value for it"}
		}
		if err != nil {
			return a, &config.Error{Pos: a.ValuePos, Err: err}
		}
		a.Value = v
	}
	if f.metric != nil {
		v, err := f.metric.fill(t.Vars)
		if err != nil {
			return a, &config.Error{Pos: a.Pos.At("metric"), Value: a.Metric, Err: err}
		}
		a.Metric = fmt.Sprint(v)
	}
	parts := a.Assert
	a.Assert = make([]config.Assertion, len(parts))
	for i := range parts {
		var err error
		if a.Assert[i], err = f.parts[i].fill(parts[i], t); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (c *checker) compile(a config.Assertion) (*scorer.Assertion, error) {
	if a.Type != "exec" {
		return scorer.Compile(a, c.dir, c.services)
	}
	key, err := json.Marshal([]any{a.Not, a.Value, a.Threshold, a.Weight, a.Metric, a.Config.Map})
	if err != nil {
		return nil, &config.Error{Pos: a.Pos, Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept, ok := c.kept[string(key)]; ok {
		return kept, nil
	}
	if len(c.kept) == maxKept {
		return nil, config.Errorf(a.Pos, "the suite's exec assertions run more than %d different programs", maxKept)
	}
	out, err := scorer.Compile(a, c.dir, c.services)
	if err == nil {
		c.kept[string(key)] = out
	}
	return out, err
}

// Close ends the processes that assertions own.
func (c *checker) Close() error {
	var errs []error
	for _, a := range c.kept {
		errs = append(errs, a.Close())
	}
	errs = append(errs, c.services.Close())
	return errors.Join(errs...)
}

// fillText fills a text that may be a template.
func fillText(text string, vars map[string]any) (string, error) {
	if !template.IsTemplate(text) {
		return text, nil
	}
	t, err := template.Parse(text)
	if err != nil {
		return "", err
	}
	return t.Render(vars)
}

// filler fills the templates inside a value of any shape.
type filler struct {
	text *template.Template
	list []*filler
	dict map[string]*filler
	same any
}

// newFiller returns nil when the value holds no template.
func newFiller(v any) (*filler, error) {
	f, found, err := buildFiller(v)
	if !found || err != nil {
		return nil, err
	}
	return f, nil
}

func buildFiller(v any) (f *filler, found bool, err error) {
	switch v := v.(type) {
	case string:
		if !template.IsTemplate(v) {
			return &filler{same: v}, false, nil
		}
		t, err := template.Parse(v)
		return &filler{text: t}, true, err
	case []any:
		f = &filler{list: make([]*filler, len(v))}
		for i, e := range v {
			sub, has, err := buildFiller(e)
			if err != nil {
				return nil, true, err
			}
			f.list[i], found = sub, found || has
		}
		return f, found, nil
	case map[string]any:
		f = &filler{dict: make(map[string]*filler, len(v))}
		for k, e := range v {
			sub, has, err := buildFiller(e)
			if err != nil {
				return nil, true, err
			}
			f.dict[k], found = sub, found || has
		}
		return f, found, nil
	default:
		return &filler{same: v}, false, nil
	}
}

func (f *filler) fill(vars map[string]any) (any, error) {
	switch {
	case f.text != nil:
		// A value that is one variable alone keeps the variable's shape, so that a list of
		// references stays a list.
		if names, ok := f.text.Names(); ok && len(names) == 1 && strings.TrimSpace(f.text.Source()) == f.text.Source() &&
			strings.HasPrefix(f.text.Source(), "{{") && strings.HasSuffix(f.text.Source(), "}}") {
			if v, given := vars[names[0]]; given && v != nil {
				return v, nil
			}
		}
		return f.text.Render(vars)
	case f.list != nil:
		out := make([]any, len(f.list))
		for i, e := range f.list {
			v, err := e.fill(vars)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	case f.dict != nil:
		out := make(map[string]any, len(f.dict))
		for k, e := range f.dict {
			v, err := e.fill(vars)
			if err != nil {
				return nil, err
			}
			out[k] = v
		}
		return out, nil
	}
	return f.same, nil
}

// signatureMap returns the recipes behind each metric, sorted.
func (c *checker) signatureMap() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string][]string, len(c.signatures))
	for name, set := range c.signatures {
		out[name] = slices.Sorted(maps.Keys(set))
	}
	return out
}

// signatureList returns all recipes in one sorted list.
func (c *checker) signatureList() []string {
	var out []string
	for name, list := range c.signatureMap() {
		for _, s := range list {
			out = append(out, name+"="+s)
		}
	}
	sort.Strings(out)
	return out
}

// judged returns the sorted recipes of each metric that asks a judge model.
func (c *checker) judged() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]string{}
	for name, set := range c.judges {
		out[name] = slices.Sorted(maps.Keys(set))
	}
	return out
}

// expected lists the score names that every sample has.
func (c *checker) expected() []string {
	var out []string
	for _, p := range c.defaults {
		out = appendNames(out, &p.a)
	}
	return out
}

// bounded says whether a mean metric's values lie within 0 to 1.
func (c *checker) bounded(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.graded[name]
}

// goldenRefs returns what golden assertions compare with, sorted.
func (c *checker) goldenRefs() []record.GoldenRef {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Keys(c.golden), func(a, b record.GoldenRef) int {
		return cmp.Or(strings.Compare(a.Metric, b.Metric), strings.Compare(a.File, b.File), strings.Compare(a.Match, b.Match))
	})
}

// forecast is what a score forecasts, with the source of its confidence in words.
func (c *checker) forecast(s *record.Score) (f metric.Forecast, known, ok bool) {
	found, known, ok := scorer.ForecastOf(s)
	if !ok {
		return f, known, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return metric.Forecast{P: found.P, Hit: found.Hit, Source: cmp.Or(c.confidences[found.Source], found.Source), Bins: found.Bins}, true, true
}

// open says that metrics may appear that no assertion names.
func (c *checker) open() bool { return c.code }

// warnings returns what a reader of the gate should know about the metrics it uses.
func (c *checker) warnings(checks []gate.Rule) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.cautions)) {
		used := c.cautions[name].judges
		for _, check := range checks {
			used = used || check.Metric == name || strings.HasPrefix(check.Metric, name+".")
		}
		if used {
			out = append(out, fmt.Sprintf("the gate rests on %s: %s", name, c.cautions[name].text))
		}
	}
	return out
}

// appendNames adds the metrics that an assertion and its parts contribute to. One whose name is a
// template has a name of its own for each case.
func appendNames(out []string, a *config.Assertion) []string {
	for i := range a.Assert {
		out = appendNames(out, &a.Assert[i])
	}
	switch {
	case template.IsTemplate(a.Metric):
		return out
	case a.Metric != "":
		return append(out, a.Metric)
	case a.Not:
		return append(out, "not-"+a.Type)
	}
	return append(out, a.Type)
}
