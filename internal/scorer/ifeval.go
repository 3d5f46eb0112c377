package scorer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/ifeval"
)

// The variables, or keys of the value, that hold a prompt's instructions, as IFEval names them.
const (
	ifevalIDs    = "instruction_id_list"
	ifevalKwargs = "kwargs"
)

func ifevalKinds() []Kind {
	return []Kind{{
		Name:    "ifeval",
		Summary: "the output follows the case's verifiable instructions (IFEval), strictly or loosely",
		Version: ifeval.Version,
		// What the verdicts depend on besides the reference's own code.
		Convention: "google-research|sentences=nltk-3.9.1|language=langdetect-1.0.9-modal|letter=literal",
		Value:      Optional,
		Build:      buildIFEval,
	}}
}

// IFEvalDetail is the detail of an ifeval score: a verdict on each instruction, in the prompt's order.
type IFEvalDetail struct {
	Instructions []ifeval.Result `json:"instructions"`
}

// CheckIFEvalVars says whether a case's variables hold instructions that the ifeval kind can check:
// instruction_id_list, a list of ids, and kwargs, a list of as many argument mappings. It is for
// finding mistakes before a run; the error names the instruction, the argument, the value and what was expected.
func CheckIFEvalVars(vars map[string]any) error {
	_, err := compileIFEval(vars, "variable")
	return err
}

func buildIFEval(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	mode := r.String("mode", "strict")
	if mode != "strict" && mode != "loose" {
		r.Fail("mode", "not a way to count", "strict or loose")
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	loose := mode == "loose"
	if s.Value == nil {
		return Func(func(_ context.Context, in *Input) (Result, error) {
			c, err := compileIFEval(in.Vars, "variable")
			if err != nil {
				return Result{}, err
			}
			return judgeIFEval(c, in.Response.Output, loose)
		}), nil
	}
	c, err := ifevalValue(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		return judgeIFEval(c, in.Response.Output, loose)
	}), nil
}

// ifevalValue reads instructions that the assertion itself gives.
func ifevalValue(s Spec) (*ifeval.Checker, error) {
	const want = "a mapping with " + ifevalIDs + " and " + ifevalKwargs
	m, ok := s.Value.(map[string]any)
	if !ok {
		return nil, badValue(s, "not a mapping", want)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k != ifevalIDs && k != ifevalKwargs {
			return nil, &config.Error{Pos: s.ValuePos.At(k), Value: k, Problem: "unknown key", Want: want}
		}
	}
	c, err := compileIFEval(m, "key")
	if err != nil {
		return nil, &config.Error{Pos: s.ValuePos, Problem: err.Error()}
	}
	return c, nil
}

// compileIFEval reads the instructions from vars; what says what its keys are called in errors.
func compileIFEval(vars map[string]any, what string) (*ifeval.Checker, error) {
	ids, err := idList(vars[ifevalIDs])
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, ifevalIDs, err)
	}
	kwargs, err := kwargList(vars[ifevalKwargs])
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, ifevalKwargs, err)
	}
	return ifeval.Compile(ids, kwargs)
}

func idList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, errors.New("missing; want a list of instruction ids")
	case []string:
		return v, nil
	case []any:
		ids := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("item %d is %v; want an instruction id", i, e)
			}
			ids[i] = s
		}
		return ids, nil
	}
	return nil, fmt.Errorf("%v is a %T; want a list of instruction ids", v, v)
}

func kwargList(v any) ([]map[string]any, error) {
	switch v := v.(type) {
	case nil:
		return nil, errors.New("missing; want a list of argument mappings, one for each instruction id")
	case []map[string]any:
		return v, nil
	case []any:
		out := make([]map[string]any, len(v))
		for i, e := range v {
			m, ok := e.(map[string]any)
			if !ok && e != nil {
				return nil, fmt.Errorf("item %d is %v; want a mapping of arguments", i, e)
			}
			out[i] = m
		}
		return out, nil
	}
	return nil, fmt.Errorf("%v is a %T; want a list of argument mappings", v, v)
}

func judgeIFEval(c *ifeval.Checker, output string, loose bool) (Result, error) {
	verdicts, err := c.Check(output)
	if err != nil {
		return Result{}, err
	}
	var strictly, loosely, followed int
	var failed []string
	for _, v := range verdicts {
		ok := v.Strict
		if v.Strict {
			strictly++
		}
		if v.Loose {
			loosely++
		}
		if loose {
			ok = v.Loose
		}
		if ok {
			followed++
		} else {
			failed = append(failed, v.ID+": "+v.Reason)
		}
	}
	n := len(verdicts)
	res := judged(followed == n, "%d of %d instructions followed", followed, n)
	if failed != nil {
		res.Reason = fmt.Sprintf("%d of %d instructions not followed: %s", n-followed, n, strings.Join(failed, "; "))
	}
	res.Detail = IFEvalDetail{verdicts}
	rate := func(metric string, count int) record.Measure {
		m := record.Measure{Metric: metric, Kind: "rate"}
		if count == n {
			m.Value = 1
		}
		return m
	}
	ratio := func(metric string, count int) record.Measure {
		return record.Measure{Metric: metric, Value: float64(count), Weight: float64(n), Kind: "ratio"}
	}
	res.Measures = []record.Measure{
		rate(".prompt_strict", strictly), ratio(".instruction_strict", strictly),
		rate(".prompt_loose", loosely), ratio(".instruction_loose", loosely),
	}
	return res, nil
}
