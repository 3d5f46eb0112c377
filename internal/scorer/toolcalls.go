package scorer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// callOrder says how the calls made are held against the expected ones.
type callOrder uint8

const (
	strictOrder callOrder = iota // the same calls in the same order
	anyOrder                     // the same calls
	subset                       // the expected calls and perhaps others
)

// expectedCall is what one call must be like.
type expectedCall struct {
	name string
	// partial holds arguments that must be there with these values; exact, when exactly is set, is all of them.
	partial map[string]any
	exact   map[string]any
	exactly bool
	schema  *jsonschema.Schema
}

// callCheck judges the calls of an answer against a list.
type callCheck struct {
	want     []expectedCall
	order    callOrder
	min, max int // number of calls; max -1 is none
}

func buildToolCalls(s Spec) (Scorer, error) {
	c := &callCheck{max: -1}
	r := s.Config.Reader()
	switch order := r.String("order", "strict"); order {
	case "strict":
	case "any":
		c.order = anyOrder
	case "subset":
		c.order = subset
	default:
		r.Fail("order", "not an order", "strict (the same calls in this order), any (in any order) or subset (these among others)")
	}
	for _, bound := range []struct {
		key string
		to  *int
	}{{"min", &c.min}, {"max", &c.max}} {
		if !r.Has(bound.key) {
			continue
		}
		if *bound.to = r.Int(bound.key, *bound.to); *bound.to < 0 {
			r.Fail(bound.key, "below 0", "a number of calls")
		}
		if c.order != subset {
			r.Fail(bound.key, "the value already says how many calls there must be", "order: subset beside it")
		}
	}
	if c.max >= 0 && c.min > c.max {
		r.Fail("max", "below min", "at least min")
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	list, ok := s.Value.([]any)
	if !ok {
		return nil, badValue(s, "not a list of calls", "a list such as [{name: search, arguments: {query: cats}}]; an empty one for no call at all")
	}
	if len(list) == 0 && c.order == subset && c.min == 0 && c.max < 0 {
		return nil, badValue(s, "any answer has these calls: none is named", "at least one call, or min or max in config")
	}
	var errs config.Errors
	for i, item := range list {
		e, err := readExpected(item, s.ValuePos.At(fmt.Sprintf("[%d]", i)))
		if err != nil {
			errs.Append(s.ValuePos, err)
			continue
		}
		c.want = append(c.want, e)
	}
	if len(list) > maxCalls {
		errs = append(errs, badValue(s, fmt.Sprintf("%d calls are expected", len(list)), fmt.Sprintf("at most %d", maxCalls)))
	}
	return c, errs.Err()
}

// maxCalls bounds the calls that are matched with one another, which takes their number to the third.
const maxCalls = 200

func readExpected(item any, at config.Pos) (expectedCall, error) {
	var e expectedCall
	if name, ok := item.(string); ok {
		item = map[string]any{"name": name}
	}
	m, ok := item.(map[string]any)
	if !ok {
		return e, &config.Error{Pos: at, Value: fmt.Sprint(item), Problem: "not a call", Want: "a name, or a mapping with name and arguments, exact or schema"}
	}
	r := config.Object{Pos: at, Map: m}.Reader()
	if e.name = strings.TrimSpace(r.String("name", "")); e.name == "" {
		r.Fail("name", "a call without a name", "the name of a function")
	}
	given := 0
	for _, key := range []string{"arguments", "exact", "schema"} {
		if !r.Has(key) {
			continue
		}
		if given++; given > 1 {
			r.Fail(key, "the arguments are described twice", "one of arguments, exact and schema")
			continue
		}
		if err := e.describe(r, key, at); err != nil {
			return e, err
		}
	}
	return e, r.Finish()
}

// describe reads what is asked of the arguments.
func (e *expectedCall) describe(r *config.Reader, key string, at config.Pos) error {
	v := r.Any(key)
	if key == "schema" {
		if err := mustBeSchema(v, at.At(key)); err != nil {
			return err
		}
		schema, err := schemaOf(Spec{Value: v, ValuePos: at.At(key)})
		e.schema = schema
		return err
	}
	decoded, err := asJSON(v)
	arguments, ok := decoded.(map[string]any)
	if err != nil || !ok {
		r.Fail(key, "not a mapping", "arguments by name")
		return nil //nolint:nilerr // reported through the reader
	}
	if key == "exact" {
		e.exact, e.exactly = arguments, true
		return nil
	}
	e.partial = arguments
	return nil
}

// problem says why a call is not the expected one, "" when it is. The error is about not being able to tell.
func (e *expectedCall) problem(c *record.ToolCall) (string, error) {
	if c.Name != e.name {
		return fmt.Sprintf("it is of %s, not %s", quote(c.Name), quote(e.name)), nil
	}
	if e.partial == nil && !e.exactly && e.schema == nil {
		return "", nil
	}
	got, problem := argumentsOf(c)
	if problem != "" {
		return problem, nil
	}
	switch {
	case e.schema != nil:
		problem, err := conforms(e.schema, got)
		if problem != "" {
			problem = fmt.Sprintf("the arguments of %s do not conform to the schema: %s", c.Name, problem)
		}
		return problem, err
	case e.exactly:
		if at, same := sameJSON(got, e.exact, "$"); !same {
			return fmt.Sprintf("the arguments of %s differ at %s", c.Name, config.Clip(at, 200)), nil
		}
	default:
		if at, ok := within(e.partial, got, "$"); !ok {
			return fmt.Sprintf("the arguments of %s are not as expected at %s", c.Name, config.Clip(at, 200)), nil
		}
	}
	return "", nil
}

// within says whether all that want holds is in got: keys of mappings at any depth, other values as a
// whole. at is the path of the first difference.
func within(want, got any, path string) (at string, ok bool) {
	w, isMap := want.(map[string]any)
	g, gotMap := got.(map[string]any)
	if !isMap || !gotMap {
		return sameJSON(got, want, path)
	}
	for _, k := range slices.Sorted(maps.Keys(w)) {
		have, given := g[k]
		if !given {
			return path + "." + k, false
		}
		if at, ok := within(w[k], have, path+"."+k); !ok {
			return at, false
		}
	}
	return "", true
}

func (c *callCheck) Score(_ context.Context, in *Input) (Result, error) {
	calls, err := callsIn(in.Response)
	if err != nil {
		return Result{}, err
	}
	n := len(calls)
	switch {
	case c.order == subset && n < c.min:
		return judged(false, "there are %s, fewer than %d", plural(n, "call"), c.min), nil
	case c.order == subset && c.max >= 0 && n > c.max:
		return judged(false, "there are %s, more than %d", plural(n, "call"), c.max), nil
	case c.order != subset && n != len(c.want):
		return judged(false, "there are %s instead of %d: %s", plural(n, "call"), len(c.want), listCalls(calls)), nil
	case n > maxCalls:
		return Result{}, fmt.Errorf("there are %d calls, more than the %d that are compared", n, maxCalls)
	}
	if c.order == strictOrder {
		for i := range c.want {
			problem, err := c.want[i].problem(&calls[i])
			if err != nil {
				return Result{}, err
			}
			if problem != "" {
				return judged(false, "call %d: %s", i+1, problem), nil
			}
		}
		return judged(true, "the %s are as expected", plural(n, "call")), nil
	}
	return c.matched(calls)
}

func listCalls(calls []record.ToolCall) string {
	if len(calls) == 0 {
		return "none"
	}
	names := make([]string, len(calls))
	for i := range calls {
		names[i] = calls[i].Name
	}
	return enumerate(names)
}

// matched finds a call of its own for each expected one. Expectations may overlap, so that the first
// call that fits may be needed for another: this is a matching in a bipartite graph, found by
// augmenting paths.
func (c *callCheck) matched(calls []record.ToolCall) (Result, error) {
	fits := make([][]bool, len(c.want))
	why := make([]string, len(c.want))
	for i := range c.want {
		fits[i] = make([]bool, len(calls))
		for k := range calls {
			problem, err := c.want[i].problem(&calls[k])
			if err != nil {
				return Result{}, err
			}
			fits[i][k] = problem == ""
			// The most telling reason is that of a call of the right function.
			if why[i] == "" && problem != "" && calls[k].Name == c.want[i].name {
				why[i] = problem
			}
		}
	}
	taken := make([]int, len(calls)) // 1 + the expectation that has the call
	var try func(i int, seen []bool) bool
	try = func(i int, seen []bool) bool {
		for k := range calls {
			if !fits[i][k] || seen[k] {
				continue
			}
			seen[k] = true
			if taken[k] == 0 || try(taken[k]-1, seen) {
				taken[k] = i + 1
				return true
			}
		}
		return false
	}
	for i := range c.want {
		if try(i, make([]bool, len(calls))) {
			continue
		}
		reason := why[i]
		if reason == "" {
			reason = "the calls are " + listCalls(calls)
		}
		return judged(false, "expected call %d of %s is missing: %s", i+1, quote(c.want[i].name), reason), nil
	}
	return judged(true, "all %s are there", plural(len(c.want), "expected call")), nil
}
