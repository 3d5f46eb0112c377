package scorer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Transform makes a value from an answer before it is judged. It is safe for concurrent use.
//
// Its source is an expression over output, vars, prompt, metadata and context (which holds vars,
// prompt and metadata again), written in the part of JavaScript that translateJS knows or else in CEL, with json
// for the decoded output. Where a text is both, JavaScript's meaning holds: "a-a".replace("a", "b") is
// "b-a". What is neither runs as JavaScript, or Python in a file, when code is allowed.
type Transform struct {
	source  string
	program cel.Program
	code    *codeCall
}

// transformVersion is part of signatures: it changes when the same source may give another value.
const transformVersion = "1"

var transformEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.CrossTypeNumericComparisons(true),
		ext.Strings(), ext.Math(), ext.Lists(ext.ListsMaxRangeSize(celMaxRange)), ext.Bindings(),
		cel.Variable("output", cel.DynType),
		cel.Variable("prompt", cel.StringType),
		cel.Variable("vars", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("context", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("json", cel.DynType),
		cel.Function("js", cel.Overload("js_call", []*cel.Type{cel.StringType, cel.ListType(cel.DynType)}, cel.DynType, cel.BinaryBinding(jsBinding))),
	)
})

// NewTransform compiles a transform. The error is a *config.Error at pos.
func NewTransform(source string, pos config.Pos, dir string, services *Services) (*Transform, error) {
	t := &Transform{source: source}
	program, problem := compileTransform(source)
	if problem == "" {
		t.program = program
		return t, nil
	}
	if services == nil || !services.AllowCode {
		return nil, &config.Error{Pos: pos, Value: source, Problem: problem}
	}
	code, err := newCodeCall(services, pos, dir, "transform", source)
	t.code = code
	return t, err
}

// TransformProblem says why a transform cannot be run, "" when it can.
func TransformProblem(source string, code CodePolicy) string {
	_, problem := compileTransform(source)
	if code == CodeAllowed {
		return ""
	}
	return problem
}

// CodePolicy says whether a suite's own code may run.
type CodePolicy uint8

// The policies.
const (
	CodeRefused CodePolicy = iota
	CodeAllowed
)

const needsCode = "; --allow-code runs it as code"

func compileTransform(source string) (program cel.Program, problem string) {
	if strings.HasPrefix(source, "file://") {
		return nil, "this transform is code in a file" + needsCode
	}
	env, err := transformEnv()
	if err != nil {
		return nil, err.Error()
	}
	translated, err := translateJS(source)
	if refused, ok := errors.AsType[*refusedJS](err); ok {
		return nil, "this transform is not translated: " + refused.why + needsCode
	}
	if err != nil {
		translated = source
	}
	tree, issues := env.Compile(translated)
	if issues.Err() != nil {
		return nil, "this transform is neither JavaScript that can be translated nor CEL (" + celMessage(issues) + ")" + needsCode
	}
	program, err = env.Program(tree, cel.CostLimit(celCostLimit), cel.InterruptCheckFrequency(celCheckEvery))
	if err != nil {
		return nil, err.Error()
	}
	return program, ""
}

// Source is the transform as written.
func (t *Transform) Source() string { return t.source }

// signature is the recipe: what runs, with the version of what runs it.
func (t *Transform) signature() string {
	if t.code != nil {
		return t.code.hash
	}
	return transformVersion + "/" + shortHash(t.source)
}

// Value makes the value. Nothing, null or undefined, is an error: there would be nothing to judge.
func (t *Transform) Value(ctx context.Context, in *Input) (any, error) {
	v, err := t.value(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("transform %s: %w", quote(t.source), err)
	}
	if v == nil {
		return nil, fmt.Errorf("transform %s: it gives no value", quote(t.source))
	}
	return v, nil
}

func (t *Transform) value(ctx context.Context, in *Input) (any, error) {
	if t.code != nil {
		return t.code.value(ctx, in)
	}
	vars, metadata := in.Vars, in.Metadata
	if vars == nil {
		vars = map[string]any{}
	}
	if metadata == nil {
		metadata = map[string]any{}
	}
	context := map[string]any{"vars": vars, "prompt": in.Prompt, "metadata": metadata}
	if in.UUID != "" {
		context["uuid"] = in.UUID
	}
	out, _, err := t.program.ContextEval(ctx, map[string]any{
		"output": subject(in.Response), "vars": vars, "prompt": in.Prompt, "metadata": metadata, "context": context,
		"json": func() any { return celJSON(in.Response.Output) },
	})
	if err != nil {
		return nil, err
	}
	return transformed(out)
}

func transformed(out ref.Val) (any, error) {
	if types.IsUnknownOrError(out) {
		return nil, fmt.Errorf("%v", out)
	}
	return fromCEL(out), nil
}

// subject is what a transform or code calls output: the value that an earlier transform made, or the text.
func subject(r *record.Response) any {
	if r.Value != nil {
		return r.Value
	}
	return r.Output
}

// Response returns the answer with the transform's value in the place of its output. A value that is
// not a text becomes JSON, and is kept as it is beside it.
func (t *Transform) Response(ctx context.Context, in *Input) (*record.Response, error) {
	v, err := t.Value(ctx, in)
	if err != nil {
		return nil, err
	}
	r := *in.Response
	r.Value = nil
	if s, ok := v.(string); ok {
		r.Output = s
		return &r, nil
	}
	r.Value = v
	r.Output, err = jsJSON(v)
	return &r, err
}

// withContext replaces the variable context with what the transform makes.
func (t *Transform) withContext(ctx context.Context, in *Input) (*Input, error) {
	before := *in
	if in.Given != nil {
		before.Response = in.Given
	}
	v, err := t.Value(ctx, &before)
	if err != nil {
		return nil, err
	}
	switch list := v.(type) {
	case string:
	case []any:
		for _, item := range list {
			if _, ok := item.(string); !ok {
				return nil, fmt.Errorf("contextTransform %s gives a list that holds more than texts", quote(t.source))
			}
		}
	default:
		return nil, fmt.Errorf("contextTransform %s gives neither a text nor a list of texts", quote(t.source))
	}
	out := *in
	out.Vars = make(map[string]any, len(in.Vars)+1)
	for k, v := range in.Vars {
		out.Vars[k] = v
	}
	out.Vars["context"] = v
	return &out, nil
}

// decoded reads a number as JSON does, so that values from code and from CEL are alike.
func decoded(raw json.RawMessage) (any, error) {
	var v any
	err := json.Unmarshal(raw, &v)
	return v, err
}
