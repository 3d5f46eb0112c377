package scorer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

// textKinds are the checks on the answer's text as promptfoo defines them. They are case-sensitive
// unless their name begins with i.
func textKinds() []Kind {
	kinds := []Kind{
		{Name: "equals", Summary: "the output is exactly the value; a mapping or list is compared as JSON", Version: "1",
			Value: Required, ValueIsReference: true, Build: withoutConfig(buildEquals)},
		{Name: "regex", Summary: "the output matches a regular expression somewhere", Version: "1",
			Value: Required, Build: withoutConfig(buildRegex)},
		{Name: "levenshtein", Summary: "at most threshold characters must be edited to turn the output into the value", Version: "1",
			Value: Required, ValueIsReference: true, Threshold: Optional, Default: new(5.0), Continuous: true, Unit: "edits",
			Build: withoutConfig(buildLevenshtein)},
		{Name: "word-count", Summary: "the output has the given number of words, or one between min and max", Version: "1",
			Value: Required, Continuous: true, Unit: "words", Build: withoutConfig(buildWordCount)},
		{Name: "finish-reason", Summary: "the model stopped for the given reason", Version: "1",
			Value: Required, Build: withoutConfig(buildFinishReason)},
		{Name: "is-refusal", Summary: "the model declined to answer, by its provider's word, an empty answer or the usual phrases", Version: "1",
			Build: withoutConfig(buildRefusal)},
	}
	for _, c := range []struct {
		name, summary string
		how           containment
	}{
		{"contains", "the output contains the value", containment{want: oneText}},
		{"contains-any", "the output contains at least one of the values", containment{want: anyText}},
		{"contains-all", "the output contains every one of the values", containment{want: allTexts}},
		{"starts-with", "the output begins with the value", containment{want: textPrefix}},
		{"ends-with", "the output ends with the value", containment{want: textSuffix}},
	} {
		folded := c.how
		folded.foldCase = true
		kinds = append(kinds,
			Kind{Name: c.name, Summary: c.summary, Version: "1", Value: Required, Build: withoutConfig(c.how.build)},
			Kind{Name: "i" + c.name, Summary: c.summary + ", whatever the case", Version: "1", Value: Required, Build: withoutConfig(folded.build)})
	}
	return kinds
}

// withoutConfig is for kinds that have no config: any key is an error.
func withoutConfig(build func(Spec) (Scorer, error)) func(Spec) (Scorer, error) {
	return func(s Spec) (Scorer, error) {
		if err := s.Config.Reader().Finish(); err != nil {
			return nil, err
		}
		return build(s)
	}
}

// judged is the result of a yes-or-no kind.
func judged(pass bool, format string, args ...any) Result {
	r := Result{Pass: &pass, Reason: fmt.Sprintf(format, args...)}
	if pass {
		r.Value = 1
	}
	return r
}

// measured is the result of a kind that compares a quantity.
func measured(value float64, pass bool, format string, args ...any) Result {
	return Result{Value: value, Pass: &pass, Reason: fmt.Sprintf(format, args...)}
}

// badValue is the user's mistake in the value of an assertion.
func badValue(s Spec, problem, want string) *config.Error {
	e := &config.Error{Pos: s.ValuePos, Problem: problem, Want: want}
	if v, ok := text(s.Value); ok {
		e.Value = v
	}
	return e
}

// quote shows a piece of text in a reason.
func quote(s string) string { return strconv.Quote(config.Clip(s, 80)) }

// position is the place of byte offset i of s, in characters from 1.
func position(s string, i int) int { return utf8.RuneCountInString(s[:i]) + 1 }

// text converts a scalar to a string the way JavaScript does, so that value: 4 and value: 4.0 both mean "4".
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		switch a := math.Abs(v); {
		case math.IsNaN(v) || math.IsInf(v, 0):
			return "", false
		case v == 0:
			return "0", true
		case a >= 1e21 || a < 1e-6:
			s := strconv.FormatFloat(v, 'e', -1, 64)
			s = strings.Replace(s, "e-0", "e-", 1)
			return strings.Replace(s, "e+0", "e+", 1), true
		}
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

func buildWordCount(s Spec) (Scorer, error) {
	limit := func(v any, key string) (int, *config.Error) {
		p := s.ValuePos
		if key != "" {
			p = p.At(key)
		}
		t, ok := text(v)
		f, err := strconv.ParseFloat(strings.TrimSpace(t), 64)
		if !ok || err != nil || f != math.Trunc(f) || f < 0 || f > 1<<40 {
			return 0, &config.Error{Pos: p, Value: t, Problem: "not a number of words", Want: "a whole number of at least 0"}
		}
		return int(f), nil
	}
	least, most := 0, math.MaxInt
	if m, ok := s.Value.(map[string]any); ok {
		r := config.Object{Pos: s.ValuePos, Map: m}.Reader()
		for key, bound := range map[string]*int{"min": &least, "max": &most} {
			if v := r.Any(key); v != nil {
				n, err := limit(v, key)
				if err != nil {
					return nil, err
				}
				*bound = n
			}
		}
		if err := r.Finish(); err != nil {
			return nil, err
		}
		switch {
		case least == 0 && most == math.MaxInt:
			return nil, badValue(s, "every output has between min and max words", "a min above 0, a max, or both")
		case least > most:
			return nil, badValue(s, fmt.Sprintf("min %d is above max %d", least, most), "min ≤ max")
		}
	} else {
		n, err := limit(s.Value, "")
		if err != nil {
			return nil, err
		}
		least, most = n, n
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		n := words(in.Response.Output)
		pass := least <= n && n <= most
		switch {
		case least == most:
			return measured(float64(n), pass, "the output has %d words; asked for is %d", n, least), nil
		case most == math.MaxInt:
			return measured(float64(n), pass, "the output has %d words; the least is %d", n, least), nil
		case least == 0:
			return measured(float64(n), pass, "the output has %d words; the most is %d", n, most), nil
		}
		return measured(float64(n), pass, "the output has %d words; asked for are %d to %d", n, least, most), nil
	}), nil
}

// words counts runs of anything but white space, as JavaScript's \s defines it.
func words(s string) int {
	n, in := 0, false
	for _, r := range s {
		blank := r == 0xFEFF || r != 0x85 && unicode.IsSpace(r)
		if !blank && !in {
			n++
		}
		in = !blank
	}
	return n
}

func buildFinishReason(s Spec) (Scorer, error) {
	want, ok := s.Value.(string)
	if !ok || strings.TrimSpace(want) == "" {
		return nil, badValue(s, "not a finish reason", "a text such as stop, length, content_filter or tool_calls")
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		got := in.Response.FinishReason
		if got == "" {
			return Result{}, errors.New("the provider did not report a finish reason")
		}
		if strings.EqualFold(got, want) {
			return judged(true, "the finish reason is %s", quote(got)), nil
		}
		return judged(false, "the finish reason is %s, not %s", quote(got), quote(want)), nil
	}), nil
}
