package scorer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// toolKinds are the checks on the calls of tools and functions that a model asks for.
func toolKinds() []Kind {
	return []Kind{
		{Name: "is-valid-function-call", Aliases: []string{"is-valid-openai-function-call", "is-valid-openai-tools-call"}, Version: "1",
			Summary: "the model calls at least one function, and each call is of a known function with arguments that conform to its schema; the functions are those in value, or the provider's tools",
			Value:   Optional, Build: buildValidCall},
		{Name: "tool-calls", Version: "1",
			Summary: "the calls are those in value: a list of names, or of name with arguments (as far as given), exact arguments or a schema",
			Value:   Required, ValueIsReference: true, Build: buildToolCalls},
		{Name: "forbidden-tools", Version: "1", Summary: "no function of these names is called; * in a name stands for any text",
			Value: Required, Build: withoutConfig(buildForbiddenTools)},
		{Name: "tool-call-f1", Version: "1", Summary: "F1 of the set of names called against the set of names in value; order and repeats do not count",
			Value: Required, ValueIsReference: true, Threshold: Optional, Default: new(1.0), Continuous: true, Build: withoutConfig(buildToolCallF1)},
	}
}

// validCall judges every call by the schemas of the functions there are.
type validCall struct {
	tools *Toolset // nil: the provider's
}

// needsTools says that the provider must have tools.
func (v *validCall) needsTools() bool { return v.tools == nil }

func buildValidCall(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	given, at := r.Any("tools"), s.Config.At("tools")
	if err := r.Finish(); err != nil {
		return nil, err
	}
	switch {
	case s.Value != nil && given != nil:
		return nil, &config.Error{Pos: at, Problem: "tools are given here and as the value", Want: "one of them"}
	case s.Value != nil:
		given, at = s.Value, s.ValuePos
	case given == nil:
		return &validCall{}, nil
	}
	given, err := readTools(given, at, s.Dir)
	if err != nil {
		return nil, err
	}
	tools, err := NewToolset(given, at)
	if err != nil {
		return nil, err
	}
	return &validCall{tools: tools}, nil
}

func (v *validCall) Score(_ context.Context, in *Input) (Result, error) {
	tools := v.tools
	if tools == nil {
		tools = in.Tools
	}
	if tools == nil {
		return Result{}, errors.New("the provider has no tools to check the calls against; give them in its config, or as the assertion's value")
	}
	calls, err := callsIn(in.Response)
	if err != nil {
		return Result{}, err
	}
	if len(calls) == 0 {
		return judged(false, "the model calls no function"), nil
	}
	for i := range calls {
		problem, err := tools.problem(&calls[i])
		if err != nil {
			return Result{}, err
		}
		if problem != "" {
			return judged(false, "call %d of %d: %s", i+1, len(calls), problem), nil
		}
	}
	return judged(true, "%s of known functions with valid arguments: %s", plural(len(calls), "call"), enumerate(callNames(calls))), nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// callNames are the names called, in order and without repeats.
func callNames(calls []record.ToolCall) []string {
	var out []string
	for i := range calls {
		if !slices.Contains(out, calls[i].Name) {
			out = append(out, calls[i].Name)
		}
	}
	return out
}

// toolNames reads a value that is a list of names or one text with commas.
func toolNames(s Spec) ([]string, error) {
	const want = "a list of names such as [search, send_mail]"
	var out []string
	add := func(name string) {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	switch v := s.Value.(type) {
	case string:
		for name := range strings.SplitSeq(v, ",") {
			add(name)
		}
	case []any:
		for _, e := range v {
			name, ok := e.(string)
			if !ok {
				return nil, badValue(s, fmt.Sprintf("item %v is not a name", e), want)
			}
			add(name)
		}
	default:
		return nil, badValue(s, "not a list of names", want)
	}
	if len(out) == 0 {
		return nil, badValue(s, "no function is named", want)
	}
	return out, nil
}

func buildForbiddenTools(s Spec) (Scorer, error) {
	names, err := toolNames(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		calls, err := callsIn(in.Response)
		if err != nil {
			return Result{}, err
		}
		for i := range calls {
			for _, pattern := range names {
				if !likeName(pattern, calls[i].Name) {
					continue
				}
				as := ""
				if pattern != calls[i].Name {
					as = " as " + quote(pattern)
				}
				return judged(false, "call %d of %d is of %s, which is forbidden%s", i+1, len(calls), quote(calls[i].Name), as), nil
			}
		}
		return judged(true, "none of the %s is of a forbidden function", plural(len(calls), "call")), nil
	}), nil
}

// likeName says whether a name is like a pattern in which * stands for any text.
func likeName(pattern, name string) bool {
	first, rest, starred := strings.Cut(pattern, "*")
	if !starred {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	pieces := strings.Split(rest, "*")
	last := pieces[len(pieces)-1]
	for _, p := range pieces[:len(pieces)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return strings.HasSuffix(name, last)
}

func buildToolCallF1(s Spec) (Scorer, error) {
	want, err := toolNames(s)
	if err != nil {
		return nil, err
	}
	threshold := *s.Threshold
	return Func(func(_ context.Context, in *Input) (Result, error) {
		calls, err := callsIn(in.Response)
		if err != nil {
			return Result{}, err
		}
		got := callNames(calls)
		common := 0
		for _, name := range got {
			if slices.Contains(want, name) {
				common++
			}
		}
		// The harmonic mean of common/got and common/want.
		f1 := 2 * float64(common) / float64(len(got)+len(want))
		called := "nothing"
		if len(got) > 0 {
			called = enumerate(got)
		}
		pass := f1 >= threshold
		is := "below"
		if pass {
			is = "at least"
		}
		res := judged(pass, "F1 %.4g is %s %g: called %s, expected %s", f1, is, threshold, called, enumerate(want))
		res.Value = f1
		return res, nil
	}), nil
}
