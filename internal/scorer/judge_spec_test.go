package scorer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// The verdicts are those of get_choice in evals 3.0.1.
func TestGradingChoice(t *testing.T) {
	f := func(g gradingSpec, said, want string) {
		t.Helper()
		got, ok := g.choice(said)
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%+v of %q: %s, want %s", g, said, got, want)
		}
	}
	yn := []string{"Y", "N"}
	words := []string{"Yes", "No", "Unsure"}
	end := "starts_or_endswith"
	f(gradingSpec{choices: yn, match: end}, "Y", "Y")
	f(gradingSpec{choices: yn, match: end}, "\n\n \"N.\"\nbecause", "N")
	f(gradingSpec{choices: yn, match: end, fromEnd: true}, "No wonder.\nY\n\n", "Y")
	f(gradingSpec{choices: yn, match: end, fromEnd: true}, "The answer is N\n***\n", "N")
	f(gradingSpec{choices: yn, match: end}, "No", "N") // a prefix is enough
	f(gradingSpec{choices: words, match: "exact"}, "Yes it is\nUnsure", "Unsure")
	f(gradingSpec{choices: words, match: "endswith"}, "Yes, or rather No!", "No")
	f(gradingSpec{choices: words, match: "include"}, "I say No, not Yes", "none")
	f(gradingSpec{choices: words, match: "include"}, "Not\nsure.", "Unsure") // the choice contains the line
	f(gradingSpec{choices: words, match: end}, "- Yes", "Yes")
	f(gradingSpec{choices: words, match: end}, "maybe\nperhaps", "none")
	f(gradingSpec{choices: words, match: end}, "", "none")
}

func TestModelGraded(t *testing.T) {
	base := map[string]any{
		"prompt":  []any{map[string]any{"role": "system", "content": "Grade {{strictly}}."}, map[string]any{"role": "user", "content": "{input} -> {completion} ({ideal}; {criteria}) of {n}"}},
		"closing": "\n\nOne of them as JSON?", "choices": []any{"Yes", "No"}, "scores": map[string]any{"Yes": 1.0, "No": int64(0)}, "from_end": true, "args": map[string]any{"criteria": "short"},
	}
	f := func(m *scripted, over map[string]any, in *Input) record.Score {
		t.Helper()
		conf := map[string]any{}
		for _, layer := range []map[string]any{base, over} {
			for k, v := range layer {
				conf[k] = v
			}
		}
		a := compile(t, config.Assertion{Type: "model-graded-spec", Metric: "score", Provider: use(m), Config: config.Object{Map: conf}})
		return a.Score(t.Context(), in)
	}
	in := &Input{Response: &record.Response{Output: "a {b}", Answers: []string{"p", "q {", "r"}}, Vars: map[string]any{
		"input": []any{map[string]any{"role": "user", "content": "what {x}?"}}, "ideal": []any{"i"}, "choice": "No",
	}}
	m := saying("Sure.\nYes")
	s := f(m, nil, in)
	if s.Error != "" || *s.Value != 1 || s.Pass == nil || !*s.Pass || len(s.Measures) != 3 {
		t.Errorf("%+v", s)
	}
	req := m.asked[0]
	if got := fmt.Sprint(req.Messages[0].Content, "|", req.Messages[1].Content, "|", req.JSON); got != "Grade {strictly}.|what {{x}}? -> a {b} (['i']; short) of 1\n\nOne of them as JSON?|false" {
		t.Errorf("the grader was asked %s", got)
	}
	s = f(saying("nothing", "No\n"), map[string]any{"metaeval": true}, in)
	if *s.Value != 0 || *s.Pass || s.Judge.Invalid != 1 || fmt.Sprint(s.Measures) != "[{score 0 0 [] mean } {score.Yes 0 0 [] rate } {score.No 1 0 [] rate } {score.metascore 1 0 [] rate }]" {
		t.Errorf("%+v", s)
	}
	if s = f(saying("nothing"), nil, in); s.Error == "" || s.Value != nil || !strings.Contains(s.Error, `none of "Yes", "No"`) {
		t.Errorf("an answer without a choice: %+v", s)
	}
	if s = f(saying("2"), map[string]any{"choices": []any{"1", "2"}, "scores": map[string]any{"1": 1.0, "2": 2.0}}, in); *s.Value != 2 || s.Pass != nil {
		t.Errorf("scores beyond 0 to 1 pass nothing: %+v", s)
	}
	if s = f(saying("No"), map[string]any{"scores": nil}, in); s.Pass != nil || len(s.Measures) != 2 {
		t.Errorf("choices without scores: %+v", s)
	}
	m = saying("No")
	if s = f(m, map[string]any{"n": int64(3), "each": "{i_ABC}/{n}. {output}\n", "prompt": "{completion}", "closing": ""}, in); s.Error != "" || m.asked[0].Messages[0].Content != "A/3. p\nB/3. q {\nC/3. r" {
		t.Errorf("%+v %q", s, m.asked[0].Messages[0].Content)
	}
	if s = f(m, map[string]any{"n": int64(4), "each": "{output}"}, in); !strings.Contains(s.Error, "3 answers of 4") {
		t.Errorf("%+v", s)
	}
	if s = f(m, map[string]any{"args": nil}, in); !strings.Contains(s.Error, "{criteria}") {
		t.Errorf("%+v", s)
	}
	in.Vars["completion"] = "given"
	m = saying("No")
	if f(m, nil, in); !strings.Contains(m.asked[0].Messages[1].Content, "-> given (") {
		t.Errorf("an answer in the sample: %q", m.asked[0].Messages[1].Content)
	}
}
