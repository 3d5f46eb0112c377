package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// costLimit bounds one evaluation in CEL's own units.
const costLimit = 500_000

// environment is the same for all expressions: the answer as JSON (null when it is none) and as
// text, its status and its headers by their names in lower case.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.CrossTypeNumericComparisons(true), ext.Strings(), ext.Math(),
		cel.Variable("json", cel.DynType), cel.Variable("text", cel.StringType), cel.Variable("status", cel.IntType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
	)
})

// expression finds something in an answer.
type expression struct {
	source  string
	program cel.Program
}

var (
	codeLike = regexp.MustCompile(`=>|\bfunction\b|\breturn\b|^file://|;\s*$|===|!==`)
	// optional is JavaScript's way to say that something may be missing.
	optional = regexp.MustCompile(`\?\.(\[)?`)
)

func code(s string) bool { return codeLike.MatchString(strings.TrimSpace(s)) }

// compile reads a path or CEL expression.
func compile(source string) (*expression, error) {
	if code(source) {
		return nil, errors.New("code is not supported")
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	tree, issues := env.Compile(optional.ReplaceAllStringFunc(source, func(s string) string {
		if s == "?." {
			return "."
		}
		return "["
	}))
	if issues.Err() != nil {
		var list []string
		for _, e := range issues.Errors() {
			list = append(list, strings.ReplaceAll(e.Message, " (in container '')", ""))
		}
		return nil, errors.New("not an expression: " + strings.Join(list, "; "))
	}
	program, err := env.Program(tree, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costLimit))
	if err != nil {
		return nil, err
	}
	return &expression{source, program}, nil
}

var jsonValue = reflect.TypeFor[*structpb.Value]()

// eval returns what the expression finds as a JSON value; nil stands for null.
func (e *expression) eval(vars map[string]any) (any, error) {
	out, _, err := e.program.Eval(vars)
	if err != nil {
		return nil, err
	}
	return native(out)
}

func native(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.String:
		return string(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Double:
		return float64(v), nil
	case types.Null:
		return nil, nil
	}
	m, err := v.ConvertToNative(jsonValue)
	if err != nil {
		return nil, fmt.Errorf("the expression gave %s", v.Type())
	}
	value, ok := m.(*structpb.Value)
	if !ok {
		return nil, fmt.Errorf("the expression gave %s", v.Type())
	}
	return value.AsInterface(), nil
}

// accepts says whether an HTTP status is one of an answer.
func (e *expression) accepts(status int) bool {
	v, err := e.eval(map[string]any{"status": int64(status), "json": types.NullValue, "text": "", "headers": map[string]string{}})
	ok, isBool := v.(bool)
	return err == nil && isBool && ok
}

// bindings are what the expressions see of an answer or of one event.
func (a *answer) bindings(data []byte) map[string]any {
	var v any
	if json.Unmarshal(data, &v) != nil || v == nil {
		v = types.NullValue
	}
	headers := map[string]string{}
	for k := range a.header {
		headers[strings.ToLower(k)] = a.header.Get(k)
	}
	return map[string]any{"json": v, "text": string(data), "status": int64(a.status), "headers": headers}
}

// whole reads an answer that came in one piece.
func (a *answer) whole(data []byte) *record.Failure {
	vars := a.bindings(data)
	if f := a.beside(vars); f != nil {
		return f
	}
	if a.p.output == nil {
		if !json.Valid(data) {
			a.out.Output = strings.ToValidUTF8(string(data), "\uFFFD")
			return nil
		}
		text, err := provider.Text(data)
		if err != nil || text == "null" {
			return &record.Failure{Kind: record.Empty, Message: "the answer is null"}
		}
		a.out.Output = text
		return nil
	}
	v, err := a.p.output.eval(vars)
	if err != nil {
		return a.malformed(a.p.output, err)
	}
	return a.put(v)
}

func (a *answer) malformed(e *expression, err error) *record.Failure {
	return &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("%s finds nothing: %s", e.source, a.p.client.Clean(wire.OneLine(err.Error()), 160))}
}

// put makes the output of what the expression found: text as it is, null as nothing, anything else as
// JSON. A mapping with output is taken apart, as promptfoo does.
func (a *answer) put(v any) *record.Failure {
	if m, ok := v.(map[string]any); ok && m["output"] != nil {
		if u, ok := m["tokenUsage"]; ok {
			if f := a.count(u); f != nil {
				return f
			}
		}
		v = m["output"]
	}
	switch v := v.(type) {
	case nil:
		return &record.Failure{Kind: record.Empty, Message: a.p.output.source + " is null"}
	case string:
		a.out.Output = v
	default:
		a.out.Output = wire.JSON(v)
	}
	return nil
}

// beside reads what stands beside the output, and an error that came with a good status.
func (a *answer) beside(vars map[string]any) *record.Failure {
	if e := a.p.failed; e != nil {
		// An answer without the field is one without an error.
		if v, err := e.eval(vars); err == nil && v != nil && v != "" && v != false {
			text, ok := v.(string)
			if !ok {
				text = wire.JSON(v)
			}
			return &record.Failure{Kind: record.Server, Message: a.p.client.Clean(wire.OneLine(text), wire.ShownText)}
		}
	}
	if e := a.p.finish; e != nil {
		if s, _ := e.evalText(vars); s != "" {
			a.out.FinishReason = s
		}
	}
	if e := a.p.model; e != nil {
		if s, _ := e.evalText(vars); s != "" {
			a.out.Model = s
		}
	}
	if e := a.p.usage; e != nil {
		if v, err := e.eval(vars); err == nil && v != nil {
			return a.count(v)
		}
	}
	return nil
}

func (e *expression) evalText(vars map[string]any) (string, error) {
	v, err := e.eval(vars)
	s, _ := v.(string)
	return s, err
}

// count reads token counts in any of the usual shapes.
func (a *answer) count(v any) *record.Failure {
	raw, err := json.Marshal(v)
	if err == nil {
		var u provider.Usage
		if err = json.Unmarshal(raw, &u); err == nil {
			a.out.Usage, err = u.Record()
		}
	}
	if err != nil {
		return &record.Failure{Kind: record.Malformed, Message: "the usage cannot be read: " + a.p.client.Clean(err.Error(), 100)}
	}
	return nil
}

// Event takes in one event of a stream. An event in which the expression finds nothing adds nothing.
func (a *answer) Event(name string, data []byte, start time.Time) (wire.Progress, *record.Failure) {
	if name == "error" {
		message, code := a.p.client.ErrorText(data)
		return wire.More, a.p.client.APIFailure(&wire.APIError{Message: message, Code: code})
	}
	if !json.Valid(data) && strings.HasPrefix(a.p.event.source, "json") {
		return wire.More, a.p.client.BadEvent(name, data, errors.New("invalid JSON"))
	}
	vars := a.bindings(data)
	if f := a.beside(vars); f != nil {
		return wire.More, f
	}
	if v, err := a.p.event.eval(vars); err == nil && v != nil {
		text, ok := v.(string)
		if !ok {
			text = wire.JSON(v)
		}
		if text != "" && a.out.TTFT == 0 {
			a.out.TTFT = time.Since(start)
		}
		a.text.WriteString(text)
	}
	// Where the suite says what a finish reason is, a stream without one was cut off.
	if a.p.finish != nil && a.out.FinishReason == "" {
		return wire.More, nil
	}
	return wire.Complete, nil
}

// Finish makes the output of the pieces.
func (a *answer) Finish() *record.Failure {
	a.out.Output = a.text.String()
	if a.out.Output == "" && a.out.FinishReason == "" {
		return &record.Failure{Kind: record.Empty, Message: a.p.event.source + " found nothing in the stream"}
	}
	return nil
}
