package scorer

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// ifevalScorer builds the kind as a suite does.
func ifevalScorer(t *testing.T, value any, cfg map[string]any) (Scorer, error) {
	t.Helper()
	return ifevalKinds()[0].Build(Spec{
		Value: value, ValuePos: config.Pos{File: "s.yaml", Line: 3, Key: "value"},
		Config: config.Object{Pos: config.Pos{File: "s.yaml", Line: 4, Key: "config"}, Map: cfg},
	})
}

func ifevalVars() map[string]any {
	return map[string]any{
		"instruction_id_list": []any{"en:punctuation:no_comma", "length_constraints:number_words", "detectable_format:title"},
		"kwargs":              []any{nil, map[string]any{"num_words": int64(4), "relation": "at least", "language": nil}, map[string]any{}},
	}
}

func TestIFEvalScore(t *testing.T) {
	f := func(mode, output string, pass bool, strict, loose float64, reason ...string) {
		t.Helper()
		s, err := ifevalScorer(t, nil, map[string]any{"mode": mode})
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Score(t.Context(), &Input{Vars: ifevalVars(), Response: &record.Response{Output: output}})
		if err != nil {
			t.Fatal(err)
		}
		all := func(n float64) float64 {
			if n == 3 {
				return 1
			}
			return 0
		}
		want := []record.Measure{
			{Metric: ".prompt_strict", Kind: "rate", Value: all(strict)},
			{Metric: ".instruction_strict", Kind: "ratio", Value: strict, Weight: 3},
			{Metric: ".prompt_loose", Kind: "rate", Value: all(loose)},
			{Metric: ".instruction_loose", Kind: "ratio", Value: loose, Weight: 3},
		}
		if res.Pass == nil || *res.Pass != pass || (res.Value == 1) != pass || !reflect.DeepEqual(res.Measures, want) {
			t.Errorf("%s %q: %+v, want pass %v and %+v", mode, output, res, pass, want)
		}
		for _, r := range reason {
			if !strings.Contains(res.Reason, r) {
				t.Errorf("reason %q, want it to say %q", res.Reason, r)
			}
		}
	}
	f("strict", "<<Harbour>> no sign in here", true, 3, 3, "3 of 3")
	f("strict", "Sure, here:\n<<Harbour>> no sign in here", false, 2, 3, "1 of 3", "en:punctuation:no_comma: 1 commas")
	f("loose", "Sure, here:\n<<Harbour>> no sign in here", true, 2, 3, "3 of 3")
	f("loose", "one, two", false, 0, 0, "3 of 3 instructions not followed", "2 words, want at least 4", "no title")
	f("strict", "", false, 0, 0, "blank")
}

func TestIFEvalDetail(t *testing.T) {
	s, err := ifevalScorer(t, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Score(t.Context(), &Input{Vars: ifevalVars(), Response: &record.Response{Output: "Yes, so:\n<<a>> b c d"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(res.Detail)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"instructions":[{"id":"en:punctuation:no_comma","strict":false,"loose":true},` +
		`{"id":"length_constraints:number_words","strict":true,"loose":true},{"id":"detectable_format:title","strict":true,"loose":true}]}`
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestIFEvalVarsThatCannotBeChecked(t *testing.T) {
	f := func(ids, kwargs any, want ...string) {
		t.Helper()
		vars := map[string]any{"instruction_id_list": ids, "kwargs": kwargs}
		s, err := ifevalScorer(t, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, scoreErr := s.Score(t.Context(), &Input{Vars: vars, Response: &record.Response{Output: "fine"}})
		for _, err := range []error{scoreErr, CheckIFEvalVars(vars)} {
			if err == nil {
				t.Errorf("%v %v: no error", ids, kwargs)
				continue
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v, want it to say %q", err, w)
				}
			}
		}
	}
	one := []any{map[string]any{}}
	f(nil, nil, "instruction_id_list", "missing")
	f([]any{"punctuation:no_comma"}, nil, "kwargs", "missing")
	f([]any{}, []any{}, "no instruction ids")
	f([]any{"punctuation:no_comma"}, []any{}, "1 instruction ids and 0 argument mappings")
	f([]any{"punctuation:no_coma"}, one, `instruction 0 "punctuation:no_coma"`, "unknown")
	f([]any{3}, one, "item 0 is 3")
	f("punctuation:no_comma", one, "want a list")
	f([]any{"punctuation:no_comma"}, []any{"x"}, "item 0 is x")
	f([]any{"punctuation:no_comma"}, "x", "want a list")
	f([]any{"detectable_format:number_bullet_lists"}, []any{map[string]any{"num_bullets": "three"}}, "num_bullets", `"three"`, "whole number")
	if err := CheckIFEvalVars(ifevalVars()); err != nil {
		t.Error(err)
	}
}

func TestIFEvalValue(t *testing.T) {
	s, err := ifevalScorer(t, map[string]any{"instruction_id_list": []any{"punctuation:no_comma"}, "kwargs": []any{nil}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for output, pass := range map[string]bool{"a b": true, "a, b": false} {
		res, err := s.Score(t.Context(), &Input{Response: &record.Response{Output: output}})
		if err != nil || *res.Pass != pass {
			t.Errorf("%q: %+v %v", output, res, err)
		}
	}

	f := func(value any, cfg map[string]any, want ...string) {
		t.Helper()
		_, err := ifevalScorer(t, value, cfg)
		var one *config.Error
		var many config.Errors
		if !errors.As(err, &one) && !errors.As(err, &many) {
			t.Errorf("%v %v: error %v is not the user's", value, cfg, err)
			return
		}
		for _, w := range append(want, "s.yaml") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v, want it to say %q", err, w)
			}
		}
	}
	f("x", nil, "not a mapping")
	f(map[string]any{}, nil, "instruction_id_list", "missing")
	f(map[string]any{"instruction_id_list": []any{"a:b"}, "kwargs": []any{nil}}, nil, "a:b", "unknown")
	f(map[string]any{"ids": 1}, nil, "unknown key", "instruction_id_list")
	f(nil, map[string]any{"mode": "strikt"}, "strikt", "strict or loose")
	f(nil, map[string]any{"modus": "strict"}, "modus")
}
