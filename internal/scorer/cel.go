package scorer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/telltale-llm/telltale/internal/config"
)

// celKinds are checks written in the Common Expression Language.
func celKinds() []Kind {
	return []Kind{{
		Name: "cel", Version: "1",
		Summary: "a CEL expression over output, json, vars, prompt, metadata, finish_reason, usage, latency, ttft and cost holds, or its number is at least threshold",
		Value:   Required, Threshold: Optional, Build: withoutConfig(buildCEL),
	}}
}

const (
	// celCostLimit bounds one evaluation in CEL's own units, so that an expression that would run
	// on and on ends, always at the same point.
	celCostLimit = 500_000
	// celCheckEvery is the number of steps of a comprehension between two looks at the context.
	celCheckEvery = 100
	// celMaxRange is the longest list that lists.range may make.
	celMaxRange = 10_000
)

// celEnv is the same for all expressions. What may be unknown about an answer is declared dyn and
// left out of the evaluation when it is, so that an expression that needs it ends in an error
// instead of an outcome.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		ext.Strings(), ext.Math(), ext.Lists(ext.ListsMaxRangeSize(celMaxRange)),
		cel.Variable("output", cel.StringType),
		cel.Variable("prompt", cel.StringType),
		cel.Variable("vars", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("json", cel.DynType),
		cel.Variable("finish_reason", cel.StringType),
		cel.Variable("usage", cel.MapType(cel.StringType, cel.IntType)),
		cel.Variable("latency", cel.DoubleType),
		cel.Variable("ttft", cel.DoubleType),
		cel.Variable("cost", cel.DoubleType),
	)
})

type celScorer struct {
	program   cel.Program
	threshold *float64
	numeric   bool // gives a number, else true or false
	timed     bool // reads latency or ttft
}

func buildCEL(s Spec) (Scorer, error) {
	source, ok := s.Value.(string)
	if !ok || strings.TrimSpace(source) == "" {
		return nil, badValue(s, "not a CEL expression", `a text such as size(output) < 400 && !output.contains("lorem")`)
	}
	env, err := celEnv()
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	tree, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, badValue(s, "invalid CEL expression: "+celMessage(issues), "")
	}
	c := &celScorer{threshold: s.Threshold}
	switch kind := tree.OutputType().Kind(); kind {
	case types.BoolKind:
		if s.Threshold != nil {
			return nil, &config.Error{Pos: s.Pos.At("threshold"), Problem: "the expression is true or false, which a threshold cannot be compared with", Want: "no threshold, or an expression that gives a number"}
		}
	case types.DoubleKind, types.IntKind, types.UintKind:
		c.numeric = true
	case types.DynKind:
		// Known only when it has run, as json.ok is. A threshold says what it has to be.
		c.numeric = s.Threshold != nil
	default:
		return nil, badValue(s, "the expression gives "+tree.OutputType().String(), "an expression that gives bool or a number")
	}
	ast.PostOrderVisit(tree.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind && (e.AsIdent() == "latency" || e.AsIdent() == "ttft") {
			c.timed = true
		}
	}))
	c.program, err = env.Program(tree, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(celCostLimit), cel.InterruptCheckFrequency(celCheckEvery))
	if err != nil {
		return nil, badValue(s, "invalid CEL expression: "+err.Error(), "")
	}
	return c, nil
}

// celMessage keeps what CEL says was wrong and where, without its drawing of the source.
func celMessage(issues *cel.Issues) string {
	var list []string
	for _, e := range issues.Errors() {
		message := strings.ReplaceAll(e.Message, " (in container '')", "")
		list = append(list, fmt.Sprintf("%s (line %d, column %d)", message, e.Location.Line(), e.Location.Column()+1))
	}
	return strings.Join(list, "; ")
}

func (c *celScorer) shape() shape {
	return shape{continuous: c.numeric, graded: !c.numeric, timed: c.timed, judges: !c.numeric || c.threshold != nil}
}

// bindings names what is known of an answer. json is decoded when an expression asks for it.
func (c *celScorer) bindings(in *Input) map[string]any {
	r := in.Response
	vars, metadata := in.Vars, in.Metadata
	if vars == nil {
		vars = map[string]any{}
	}
	if metadata == nil {
		metadata = map[string]any{}
	}
	b := map[string]any{
		"output": r.Output, "prompt": in.Prompt, "vars": vars, "metadata": metadata,
		"json": func() any { return celJSON(r.Output) },
		"usage": func() any {
			usage := map[string]int64{}
			for name, n := range map[string]int{"prompt": r.Usage.Prompt, "completion": r.Usage.Completion, "total": r.Usage.Total} {
				if n > 0 { // 0 is not reported
					usage[name] = int64(n)
				}
			}
			return usage
		},
	}
	if r.FinishReason != "" {
		b["finish_reason"] = r.FinishReason
	}
	if r.Latency > 0 && !r.Cached {
		b["latency"] = r.Latency.Seconds()
	}
	if r.TTFT > 0 && !r.Cached {
		b["ttft"] = r.TTFT.Seconds()
	}
	if r.Cost != nil && !math.IsNaN(*r.Cost) {
		b["cost"] = *r.Cost
	}
	return b
}

// celJSON returns the decoded output, or null when it is not JSON.
func celJSON(s string) any {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return types.NullValue
	}
	if v == nil {
		return types.NullValue
	}
	return v
}

func (c *celScorer) Score(ctx context.Context, in *Input) (Result, error) {
	out, _, err := c.program.ContextEval(ctx, c.bindings(in))
	if err != nil {
		return Result{}, celFailure(err, in)
	}
	return c.result(out)
}

var noAttribute = regexp.MustCompile(`no such attribute\(s\): (\w+)`)

// celFailure explains why an expression gave nothing.
func celFailure(err error, in *Input) error {
	if m := noAttribute.FindStringSubmatch(err.Error()); m != nil {
		if in.Response.Cached && (m[1] == "latency" || m[1] == "ttft") {
			return fmt.Errorf("%s says nothing about an answer from the cache", m[1])
		}
		return fmt.Errorf("%s is not known for this answer", m[1])
	}
	return fmt.Errorf("the expression failed: %w", err)
}

// result turns what the expression gave into a judgement.
func (c *celScorer) result(out ref.Val) (Result, error) {
	var value float64
	switch v := out.(type) {
	case types.Bool:
		if c.numeric {
			return Result{}, fmt.Errorf("the expression gave %v, which cannot be compared with the threshold", bool(v))
		}
		return judged(bool(v), "the expression is %v", bool(v)), nil
	case types.Double:
		value = float64(v)
	case types.Int:
		value = float64(v)
	case types.Uint:
		value = float64(v)
	default:
		return Result{}, fmt.Errorf("the expression gave %v, want bool or a number", out.Type())
	}
	switch {
	case !c.numeric:
		return Result{}, fmt.Errorf("the expression gave %v; a number needs a threshold, or double() around the expression to be only measured", value)
	case c.threshold == nil:
		return Result{Value: value}, nil
	}
	return measured(value, value >= *c.threshold, "the expression is %v; the least is %v", value, *c.threshold), nil
}
