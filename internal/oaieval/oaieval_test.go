package oaieval

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

func options(vars map[string]string) Options {
	return Options{
		Read: func(p string) ([]byte, error) {
			switch p {
			case "data/s.jsonl", "evals/../data/shots.jsonl", "data/shots.jsonl":
				return []byte(`{"sample": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}` + "\n{}\n"), nil
			}
			return nil, errors.New("no such file")
		},
		Exists: func(p string) bool { return strings.HasPrefix(p, "data/") },
		Vars:   vars,
	}
}

const one = `
e: {id: e.v1, description: x, metrics: [accuracy]}
e.v1:
  class: evals.elsuite.basic.match:Match
  args: {samples_jsonl: s.jsonl%s}
`

func TestLoad(t *testing.T) {
	l, err := Load("evals/x.yaml", fmt.Appendf(nil, one, ", num_few_shot: 1, few_shot_jsonl: shots.jsonl"), options(nil))
	if err != nil || len(l.Unsupported) > 0 || len(l.Evals) != 1 {
		t.Fatal(err, l)
	}
	s, err := l.Suite()
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Tests[0].Path; p != "../data/s.jsonl" {
		t.Errorf("path %s", p)
	}
	c, err := s.Tests[0].Row(config.Pos{File: "s.jsonl", Line: 1}, 0, map[string]any{"input": []any{map[string]any{"role": "user", "content": "Q", "name": "n"}}, "ideal": "A"})
	if err != nil || c.ID != "e.v1/0" || fmt.Sprint(c.Vars["ideal"]) != "[A]" {
		t.Errorf("%+v %v", c, err)
	}
	if p := c.Vars[PromptVar]; p != `[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"content":"Q","role":"user"}]` &&
		p != `[{"role": "user", "content": "q"},{"role": "assistant", "content": "a"},{"content":"Q","role":"user"}]` {
		t.Errorf("prompt %s", p)
	}
}

func TestRows(t *testing.T) {
	e := &Eval{Name: "e", Class: "Includes"}
	f := func(row map[string]any, want string) {
		t.Helper()
		c, err := e.row(config.Pos{File: "s.jsonl", Line: 2}, 0, row)
		got := fmt.Sprint(c.Vars[PromptVar], c.Vars["ideal"])
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%v: %s, want %s", row, got, want)
		}
	}
	f(map[string]any{"input": "hi", "ideal": []any{"a", "b"}}, `[{"content":"hi","role":"system"}][a b]`)
	f(map[string]any{"ideal": "a"}, "s.jsonl:2: input: the sample has no input")
	f(map[string]any{"input": []any{"x"}, "ideal": "a"}, "input[0]: not a chat message")
	f(map[string]any{"input": []any{map[string]any{"role": "bot", "content": "x"}}, "ideal": "a"}, "input[0].role: \"bot\": not a role")
	f(map[string]any{"input": []any{}, "ideal": "a"}, "input: the list of chat messages is empty")
	f(map[string]any{"input": "hi"}, "ideal: the sample has no ideal answer")
	f(map[string]any{"input": "hi", "ideal": []any{}}, "the list of ideal answers is empty")
	f(map[string]any{"input": "hi", "ideal": []any{int64(1)}}, "the sample has no ideal answer")
	e = &Eval{Name: "e", Class: "Match", shots: nil}
	e.shots = append(e.shots, []byte("{}"))
	f(map[string]any{"input": "hi", "ideal": "a"}, "few-shot examples need a chat")
}

func TestMistakes(t *testing.T) {
	f := func(text string, vars map[string]string, want string) {
		t.Helper()
		l, err := Load("x.yaml", []byte(text), options(vars))
		if err == nil {
			err = l.Unsupported.Err()
		}
		if err == nil {
			_, err = l.Suite()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	f("a: [", nil, "invalid YAML")
	f("e: {class: \"a:Match\"}", nil, "e.args: an eval without arguments")
	f("e: {class: \"a:Match\", args: {}}", nil, "e.args.samples_jsonl: no file of samples")
	f("e: {class: \"a:Match\", arg: 1, args: {samples_jsonl: s}}", nil, "e.arg: \"1\": unknown key of an eval")
	f("e: {class: \"a:Match\", args: {samples_jsonl: s, foo: 1}}", nil, "e.args.foo: \"1\": this argument of Match is not supported")
	f("e: {class: \"a:Match\", args: {samples_jsonl: s, num_few_shot: x}}", nil, "not a number of that kind")
	f("e: {class: \"a:Match\", args: {samples_jsonl: s, num_few_shot: 1}}", nil, "few-shot examples without a file")
	f("e: {class: \"a:Match\", args: {samples_jsonl: s, num_few_shot: 1, few_shot_jsonl: no}}", nil, "cannot read the file")
	f("e: {class: \"a:Match\", args: {samples_jsonl: s, num_few_shot: 2, few_shot_jsonl: data/shots.jsonl}}", nil, "data/shots.jsonl:2: sample: not an example")
	f("e: {class: \"a:JsonMatch\", args: {samples_jsonl: s}}", nil, "e.class: \"a:JsonMatch\": this class of evals is not supported")
	f("e: {class: \"a:ModelBasedClassify\", args: {samples_jsonl: s, modelgraded_spec: battle}}", nil, "\"battle\": this model-graded spec is not supported")
	f(fmt.Sprintf(one, ""), map[string]string{"eval": "z"}, "--var eval: \"z\": the file has no such eval; want one of e.v1")
	f(fmt.Sprintf(one, ""), map[string]string{"x": "z"}, "--var x: a registry file has no such parameter")
	f("e: 1\nf: {class: \"a:Match\", args: {samples_jsonl: s}}", nil, "e: \"1\": not an eval")
	f("z: {ids: f}\n"+fmt.Sprintf(one, ""), nil, "z.ids: \"f\": unknown key of an eval; want one of id")
	f("e: {id: f}", nil, "nothing of the file can be run")
}

func TestRecognises(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := Recognises("x.yaml", []byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	f(fmt.Sprintf(one, ""), true)
	f("prompts: [samples_jsonl]\nclass: {a: 1}", false)
	f("a: {class: b}", false)
	f("e: {class: \"a:Match\", args: {samples: s}}", true)
	f("e: {class: \"a:Match\", args: {samples_jsonl: s}}\ne: 5", true)
}

func FuzzLoad(f *testing.F) {
	f.Add(fmt.Sprintf(one, ""))
	f.Add("e: {class: \"a:ModelBasedClassify\", args: {samples_jsonl: s, modelgraded_spec: fact}}")
	f.Fuzz(func(_ *testing.T, text string) {
		if l, err := Load("x.yaml", []byte(text), options(nil)); err == nil {
			_, _ = l.Suite()
		}
	})
}
