package oaieval

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

func options(vars map[string]string) Options {
	return Options{
		Read: func(p string) ([]byte, error) {
			if text, ok := specs[p]; ok {
				return []byte(text), nil
			}
			switch p {
			case "data/s.jsonl", "evals/../data/shots.jsonl", "data/shots.jsonl":
				return []byte(`{"sample": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}` + "\n{}\n"), nil
			}
			return nil, errors.New("no such file")
		},
		Exists: func(p string) bool { return strings.HasPrefix(p, "data/") },
		Glob: func(pattern string) ([]string, error) {
			var out []string
			for name := range specs {
				if ok, _ := path.Match(pattern, name); ok {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return out, nil
		},
		Judge: func(settings map[string]any) any { return settings },
		Vars:  vars,
	}
}

// specs are model-graded specs by file.
var specs = map[string]string{
	"modelgraded/a.yaml": `
right:
  prompt: "Is {completion} right for {input}, {{sir}}?"
  choice_strings: ["Yes", "No"]
  choice_scores: {"Yes": 1.0, "No": 0}
  input_outputs: {input: completion}
  input_outputs: {input: completion}
likert: {prompt: "{completion}", choice_strings: "123", choice_scores: from_strings, eval_type: cot_classify, input_outputs: {input: completion}}
best: {prompt: "{n}: {completion}", choice_strings: from_n_ABC, output_template: "{i}. {output}\n", input_outputs: {input: completion}}
listless: {prompt: "{n}: {completion}", choice_strings: from_n, input_outputs: {input: completion}}
battle: {prompt: [{role: user, content: "{completion1} or {completion2}"}], choice_strings: ["Yes", "No"], input_outputs: {input1: completion1, input2: completion2}}
out: {prompt: x, choice_strings: ["Yes"], format_type: out_message, input_outputs: {input: completion}}
field: {prompt: "{a.b}", choice_strings: ["Yes"], input_outputs: {input: completion}}
brace: {prompt: "a } b", choice_strings: ["Yes"], input_outputs: {input: completion}}
dots: {prompt: "x", choice_strings: ["Yes."], input_outputs: {input: completion}}
words: {prompt: "x", choice_strings: ["Yes"], choice_scores: from_strings, input_outputs: {input: completion}}
scoreless: {prompt: "x", choice_strings: ["Yes", "No"], choice_scores: {"Yes": 1}, input_outputs: {input: completion}}
odd: {prompt: "x", choice_strings: ["Yes"], foo: 1, input_outputs: {}}
`,
	"reg/modelgraded/b.yml": "elsewhere: {prompt: x, choice_strings: [\"Yes\"], input_outputs: {input: completion}}\n",
}

const graded = "e: {class: \"a:ModelBasedClassify\", args: {samples_jsonl: s, %s}}"

func TestModelGraded(t *testing.T) {
	f := func(args string, vars map[string]string, want ...string) *Eval {
		t.Helper()
		l, err := Load("evals/x.yaml", fmt.Appendf(nil, graded, args), options(vars))
		if err != nil || len(l.Unsupported) > 0 || len(l.Evals) != 1 {
			t.Fatalf("%s: %v %+v", args, err, l)
		}
		a := l.Evals[0].asserts[0]
		got := fmt.Sprintf("%s %s %v %v", a.Type, a.Metric, a.Config.Map, a.Provider)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %s lacks %s", args, got, w)
			}
		}
		return l.Evals[0]
	}
	e := f("modelgraded_spec: right, eval_type: classify, eval_kwargs: {max_tokens: 5}, sample_kwargs: {temperature: 0.4}", nil,
		"model-graded-spec score", "choices:[Yes No]", "scores:map[No:0 Yes:1]", `exactly one of "Yes" or "No" and nothing else`, "match:starts_or_endswith", "from_end:false", "outputs:map[input:completion]", "map[max_tokens:5 temperature:0]")
	if g := fmt.Sprint(e.Generation); g != "map[max_tokens:1024 temperature:0.4]" {
		t.Errorf("settings %s", g)
	}
	f("modelgraded_spec: likert, match_fn: exact", nil, "closing: ", "from_end:true", "scores:map[1:1 2:2 3:3]", "match:exact")
	if e := f("modelgraded_spec: best, eval_type: classify_cot, multicomp_n: 3, modelgraded_spec_args: {x: y}", nil, "choice", "choices:[A B C]", "n:3", "args:map[x:y]"); e.Answers() != 3 {
		t.Errorf("%d answers", e.Answers())
	}
	f("modelgraded_spec: elsewhere, eval_type: cot_classify, metaeval: true", map[string]string{"registry": "reg"}, "choice", "metaeval:true", "from_end:true")
	f("modelgraded_spec: fact, eval_type: cot_classify", nil, "factuality fact")
	f("modelgraded_spec: closedqa, modelgraded_spec_args: {criteria: c}", nil, "model-graded-closedqa closedqa")
	l, err := Load("evals/x.yaml", fmt.Appendf(nil, graded, "modelgraded_spec: right, eval_type: classify"), options(nil))
	if err != nil || len(l.Ignored) != 1 || !strings.Contains(l.Ignored[0].Error(), `right.input_outputs: the key "input_outputs" is given again`) {
		t.Errorf("%v %v", err, l.Ignored)
	}
}

func TestGradedRows(t *testing.T) {
	f := func(spec string, row map[string]any, want string) {
		t.Helper()
		l, err := Load("evals/x.yaml", fmt.Appendf(nil, graded, "eval_type: classify, modelgraded_spec: "+spec), options(nil))
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Evals[0].row(config.Pos{File: "s.jsonl", Line: 1}, 0, row)
		got := fmt.Sprint(c.Vars[PromptVar])
		if c.Output != nil {
			got += " answered " + *c.Output
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s of %v: %s, want %s", spec, row, got, want)
		}
	}
	f("right", map[string]any{"input": "q"}, `[{"content":"q","role":"system"}]`)
	f("right", map[string]any{"input": "q", "completion": "a"}, `[{"content":"q","role":"system"}] answered a`)
	f("right", map[string]any{"input": "q", "completion": int64(1)}, "s.jsonl:1: completion: the answer in the sample is not a text; want a text")
	f("right", map[string]any{"question": "q"}, "s.jsonl:1: input: the sample has no input; want a text or a list of chat messages")
	f("battle", map[string]any{"input1": "p", "input2": "q", "completion1": "a"}, `[{"content":"q","role":"system"}]`)
	f("battle", map[string]any{"input1": "p", "input2": "q"}, "s.jsonl:1: input2: the spec asks the model input1 and input2 for one sample: several prompts are not supported; want samples that hold completion2")
	f("battle", map[string]any{"input1": "p", "input2": "q", "completion1": "a", "completion2": "b"}, `[{"content":"p","role":"system"}] answered a`)
}

func TestFormat(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got := ""
		p, err := ParseFormat(text)
		if err == nil {
			got, err = p.Fill(map[string]any{
				"a": "x{y}", "n": int64(3), "list": []any{"p", "it's"}, "one": []any{map[string]any{"role": "user", "content": "hi"}},
				"chat": []any{map[string]any{"role": "system", "content": "S"}, map[string]any{"role": "user", "content": "U"}, map[string]any{"role": "system", "name": "example_assistant", "content": "A"}},
			})
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	f("{a} and {{b}} {n}", "x{y} and {b} 3")
	f("{list}", `['p', "it's"]`) // as CPython 3.11
	f("{one}|{chat}", "hi|S\nUser: U\nAssistant: A\n")
	f("{b}", "the prompt asks for {b}, which neither the sample nor modelgraded_spec_args has")
	f("{", "a { without }; write {{ for a plain one")
	f("}", "a single } in a text that Python's format fills in; write }} for a plain one")
	f("{a!r}", "the field {a!r} is not the name of a variable")
	f("{}", "the field {} is not the name of a variable")
}

const one = `
e: {id: e.v1, description: x, metric: [accuracy]}
e.v1:
  class: evals.elsuite.basic.match:Match
  args: {samples_jsonl: s.jsonl%s}
`

func TestLoad(t *testing.T) {
	l, err := Load("evals/x.yaml", fmt.Appendf(nil, one, ", num_few_shot: 1, few_shot_jsonl: shots.jsonl"), options(nil))
	if err != nil || len(l.Unsupported) > 0 || len(l.Evals) != 1 || len(l.Ignored) != 1 || !strings.Contains(l.Ignored[0].Error(), "evals/x.yaml:2:") {
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
	g := func(args, want string) {
		t.Helper()
		f(fmt.Sprintf(graded, args), nil, want)
	}
	g("modelgraded_spec: nope", "e.args.modelgraded_spec: \"nope\": no file in ../modelgraded or modelgraded has this model-graded spec")
	g("modelgraded_spec: 3", "no model-graded spec")
	g("modelgraded_spec: right", "neither the eval nor its spec says how the grader answers; want eval_type: classify, classify_cot, cot_classify, cot_classify_jp")
	g("modelgraded_spec: right, eval_type: x", "e.args.eval_type: \"x\": not a type of evaluation")
	g("modelgraded_spec: right, eval_type: classify, match_fn: x", "not a way to compare")
	g("modelgraded_spec: right, eval_type: classify, sample_kwargs: 1", "not a mapping")
	g("modelgraded_spec: best, eval_type: classify, multicomp_n: from_models", "completions of several models")
	g("modelgraded_spec: best, eval_type: classify, multicomp_n: 0", "1 to 1000")
	g("modelgraded_spec: listless, eval_type: classify, multicomp_n: 2", "listless.output_template: several completions without a template")
	g("modelgraded_spec: out", "modelgraded/a.yaml:12:56: out.format_type: \"out_message\": a grader that goes on")
	g("modelgraded_spec: field", "field.prompt: \"{a.b}\": the field {a.b} is not the name of a variable")
	g("modelgraded_spec: brace", "brace.prompt: \"a } b\": a single }")
	g("modelgraded_spec: dots, eval_type: classify", "dots.choice_strings[0]: \"Yes.\": not a choice")
	g("modelgraded_spec: words, eval_type: classify", "words.choice_scores: \"Yes\": the choice is no number")
	g("modelgraded_spec: scoreless, eval_type: classify", "scoreless.choice_scores.No: no score for this choice")
	g("modelgraded_spec: odd", "odd.foo: \"1\": unknown key of a model-graded spec")
	f(fmt.Sprintf(one, ""), map[string]string{"eval": "z"}, "--var eval: \"z\": the file has no such eval; want one of e.v1")
	f(fmt.Sprintf(one, ""), map[string]string{"x": "z"}, "--var x: a registry file has no such parameter")
	f("e: 1\nf: {class: \"a:Match\", args: {samples_jsonl: s}}", nil, "e: \"1\": not an eval")
	f("z: {ids: f}\n"+fmt.Sprintf(one, ""), nil, "z.ids: \"f\": unknown key of an eval; want one of id")
	f("e: {class: \"a:Other\"}", nil, "e.class: \"a:Other\": this class of evals is not supported; Match, Includes, FuzzyMatch, ModelBasedClassify are")
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
