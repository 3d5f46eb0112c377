package scorer

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func rivalsOf(outputs ...string) []Rival {
	out := make([]Rival, len(outputs))
	for i, o := range outputs {
		out[i].Input = &Input{Response: &record.Response{Output: o}, Seed: 7}
	}
	return out
}

// passes are the outcomes as letters: p, f or e.
func passes(scores []record.Score) string {
	var b strings.Builder
	for i := range scores {
		switch s := &scores[i]; {
		case s.Error != "":
			b.WriteByte('e')
		case s.Pass != nil && *s.Pass && *s.Value == 1:
			b.WriteByte('p')
		case s.Pass != nil && !*s.Pass && *s.Value == 0 && s.Reason != "":
			b.WriteByte('f')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

func TestSelectBest(t *testing.T) {
	f := func(own any, answers []string, want, asked string) {
		t.Helper()
		judge := saying(answers...)
		a := compile(t, config.Assertion{Type: "select-best", Value: "the kindest", Provider: use(judge), RubricPrompt: own})
		got := a.Compare(t.Context(), rivalsOf("one", "two {{x}}", "three"))
		if passes(got) != want {
			t.Errorf("%q: %s, want %s: %+v", answers, passes(got), want, got)
		}
		if len(judge.asked) == 0 || !strings.Contains(judge.asked[0].Prompt, asked) || !strings.Contains(judge.asked[0].Prompt, "two {{x}}") {
			t.Errorf("asked %+v", judge.asked)
		}
		// What judging took is counted once.
		if got[0].Cost == nil || got[1].Cost != nil || got[2].Usage != nil || got[0].Judge.Calls != len(judge.asked) {
			t.Errorf("cost %v, %v", got[0].Cost, got[1].Cost)
		}
	}
	f(nil, []string{`{"reason": "kind", "best": 1}`}, "fpf", "the kindest")
	f(nil, []string{"2"}, "ffp", "the kindest")
	f(nil, []string{"I like them all, 1 most"}, "eee", "the kindest")
	f(nil, []string{`{"best": 3}`, `{"best": 0}`}, "pff", "the kindest")
	f(nil, []string{`{"best": 0.5}`}, "eee", "the kindest")
	f("{{criteria}}: {% for o in outputs %}{{ o }};{% endfor %}", []string{"It is 1, not 2."}, "fpf", "the kindest: one;two {{x}};three;")
	f("{{criteria}}: {{ outputs }}", []string{"none"}, "eee", "the kindest: ")
}

func TestMaxScore(t *testing.T) {
	score := func(typ string, value float64, pass bool) record.Score {
		return record.Score{Type: typ, Name: typ, Value: &value, Pass: &pass}
	}
	f := func(value any, want string, scores ...[]record.Score) {
		t.Helper()
		a := compile(t, config.Assertion{Type: "max-score", Value: value})
		rivals := rivalsOf(make([]string, len(scores))...)
		for i := range rivals {
			rivals[i].Scores = scores[i]
		}
		if got := a.Compare(t.Context(), rivals); passes(got) != want {
			t.Errorf("%v: %s, want %s: %+v", value, passes(got), want, got)
		}
	}
	low := []record.Score{score("equals", 0, false), score("similar", 0.4, true)}
	high := []record.Score{score("equals", 1, true), score("similar", 0.3, true)}
	f(nil, "fp", low, high)
	f(nil, "pf", high, high)
	f(map[string]any{"weights": map[string]any{"equals": int64(0)}}, "pf", low, high)
	f(map[string]any{"method": "sum"}, "fp", low, append(low, score("contains", 1, true)))
	f(map[string]any{"threshold": 0.7}, "ff", low, high)
	f(nil, "ee", low, nil)
	f(nil, "ee", low, []record.Score{{Type: "llm-rubric", Error: "no verdict"}})
	f(nil, "e", low)
}

func TestComparisonsThatCannotBe(t *testing.T) {
	f := func(a config.Assertion, want string) {
		t.Helper()
		services := &Services{Model: openScripted}
		_, err := Compile(a, "", services)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", a, err, want)
		}
	}
	judge := use(saying("0"))
	f(config.Assertion{Type: "select-best", Value: "x", Not: true, Provider: judge}, "cannot be turned round")
	f(config.Assertion{Type: "select-best", Value: " ", Provider: judge}, "no criterion")
	f(config.Assertion{Type: "select-best", Value: "x"}, "no model is named")
	f(config.Assertion{Type: "max-score", Value: map[string]any{"method": "most"}}, "no such method")
	f(config.Assertion{Type: "max-score", Value: map[string]any{"weights": map[string]any{"a": "b"}}}, "no number")
	f(config.Assertion{Type: "max-score", Value: map[string]any{"best": 1}}, "best")
	f(config.Assertion{Type: SetType, Assert: []config.Assertion{{Type: "max-score"}, {Type: "contains", Value: "x"}}}, "cannot be a part of a set")
	// One answer alone is never judged by them.
	a := compile(t, config.Assertion{Type: "max-score"})
	if s := a.Score(t.Context(), rivalsOf("x")[0].Input); s.Error == "" {
		t.Errorf("%+v", s)
	}
	a.scorer = breaks{}
	if got := a.Compare(t.Context(), rivalsOf("x", "y")); passes(got) != "ee" || !strings.Contains(got[1].Error, "broken") {
		t.Errorf("%+v", got)
	}
}

// breaks is a comparison that panics.
type breaks struct{ *maxScore }

func (breaks) compare(context.Context, []Rival) ([]Result, error) { panic(errors.New("broken")) }
