package lmeval

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/telltale-llm/telltale/internal/config"
)

// The numbers are those of CPython 3.11: random.Random(1234), then sample and getrandbits in this order.
func TestMersenneAsPython(t *testing.T) {
	m := newMersenne(1234)
	f := func(n, k int, want string) {
		t.Helper()
		if got := fmt.Sprint(m.sample(n, k)); got != want {
			t.Errorf("sample(%d, %d): %s, want %s", n, k, got, want)
		}
	}
	f(10, 3, "[7 1 0]")
	f(10, 3, "[1 0 9]")
	f(10, 3, "[1 5 3]")
	f(1000, 5, "[17 31 807 16 354]")
	f(1000, 5, "[663 638 495 630 474]")
	f(100, 8, "[19 11 23 91 14 1 64 62]")
	f(100, 8, "[31 8 85 69 59 76 86 11]")
	if got := m.next(); got != 2212101287 {
		t.Errorf("getrandbits(32): %d", got)
	}
	f(22, 5, "[18 1 8 17 2]")
	f(21, 5, "[20 9 15 11 8]")
	f(85, 6, "[31 83 25 58 67 2]")
	f(86, 6, "[65 9 0 42 18 60]")
}

// files reads tasks from memory.
func files(m map[string]string) Options {
	mem := fstest.MapFS{}
	for name, text := range m {
		mem[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Options{
		Read: func(p string) ([]byte, error) { return fs.ReadFile(mem, filepath.Clean(p)) },
		Glob: func(p string) ([]string, error) { return fs.Glob(mem, filepath.Clean(p)) },
		Files: func(dir string) ([]string, error) {
			var out []string
			for name := range mem {
				if strings.HasSuffix(name, ".yaml") && (dir == "." || strings.HasPrefix(name, filepath.Clean(dir)+"/")) {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return out, nil
		},
		Exists: func(p string) bool {
			_, err := fs.Stat(mem, filepath.Clean(p))
			return err == nil
		},
		JSONLines: func(string) bool { return true },
	}
}

const basic = `
task: t
dataset_path: json
dataset_kwargs: {data_files: {train: d.jsonl, test: d.jsonl}}
test_split: test
`

func load(t *testing.T, text string, others map[string]string) (*Loaded, error) {
	t.Helper()
	m := map[string]string{"t.yaml": text, "d.jsonl": "{}"}
	for k, v := range others {
		m[k] = v
	}
	return Load("t.yaml", []byte(text), files(m))
}

// prompts fills a task's first case with a document.
func row(t *testing.T, text string, pool []map[string]any, doc map[string]any) (config.Test, error) {
	t.Helper()
	l, err := load(t, basic+text, nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if len(l.Unsupported) > 0 {
		t.Fatalf("%s: %v", text, l.Unsupported)
	}
	s, err := l.Suite(func(_ config.Tests, n int) ([]map[string]any, error) {
		if n > 0 {
			return pool[:n], nil
		}
		return pool, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s.Tests[0].Row(config.Pos{File: "d.jsonl", Line: 1}, 0, doc)
}

func TestPrompts(t *testing.T) {
	pool := []map[string]any{{"q": "1+1", "a": "2", "c": []any{"x", "y"}, "l": int64(1)}, {"q": "2+2 ", "a": "4", "c": []any{"x", "y"}, "l": int64(0)}}
	doc := map[string]any{"q": "3+3", "a": "6", "c": []any{"x", "y"}, "l": int64(0)}
	f := func(text, want string) {
		t.Helper()
		c, err := row(t, text, pool, doc)
		if err != nil || c.Vars[PromptVar] != want {
			t.Errorf("%s: %q %v, want %q", text, c.Vars[PromptVar], err, want)
		}
	}
	const two = "fewshot_split: train\nnum_fewshot: 2\nfewshot_config: {sampler: first_n}\n"
	f("doc_to_text: q\ndoc_to_target: a", "3+3")
	f("doc_to_text: 'Q: {{q}}\n\n  A:'\ndoc_to_target: a\ndescription: 'Sums.'", "Sums.Q: 3+3\nA:")
	f(two+"doc_to_text: q\ndoc_to_target: a", "1+1 2\n\n2+2  4\n\n3+3")
	f(two+"doc_to_text: q\ndoc_to_target: a\ntarget_delimiter: '='\nfewshot_delimiter: ';'", "1+1=2;2+2 =4;3+3")
	f(two+"doc_to_text: q\ndoc_to_target: l\ndoc_to_choice: c\noutput_type: multiple_choice", "1+1 y\n\n2+2  x\n\n3+3")
	f(two+"doc_to_text: q\ndoc_to_target: '{{l}}'\ndoc_to_choice: [no, yes]\noutput_type: multiple_choice", "1+1 yes\n\n2+2  no\n\n3+3")
	f(two+"doc_to_text: q\ndoc_to_target: a\ngen_prefix: 'So'", "1+1 So 2\n\n2+2 So 4\n\n3+3 So")
	f("doc_to_text: q\ndoc_to_target: a\nnum_fewshot: 1\nfewshot_config: {sampler: first_n, samples: [{q: 5+5, a: '10'}], doc_to_text: '{{q}}?', target_delimiter: ' -> ', fewshot_delimiter: ' | '}", "5+5? -> 10 | 3+3")
	f("doc_to_text: q\ndoc_to_target: a\nnum_fewshot: 1\nfewshot_split: test\nfewshot_config: {sampler: first_n}", "1+1 2\n\n3+3")
}

func TestTargets(t *testing.T) {
	doc := map[string]any{"q": "x", "n": int64(5), "list": []any{"a", int64(2)}, "c": []any{"one", "two"}, "s": "two", "f": 1.0, "t": "['p', 'q']", "bad": "[p"}
	f := func(text, variable, want string) {
		t.Helper()
		c, err := row(t, "doc_to_text: q\n"+text, nil, doc)
		if got := fmt.Sprintf("%#v", c.Vars[variable]); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
	}
	f("doc_to_target: n", TargetVar, `"5"`)
	f("doc_to_target: '{{n + 1}}'", TargetVar, `"6"`)
	f("doc_to_target: list", TargetVar, `[]interface {}{"a", "2"}`)
	f("doc_to_target: '{{ c }}'", TargetVar, `[]interface {}{"one", "two"}`)
	f("doc_to_target: '{{ t }}'", TargetVar, `[]interface {}{"p", "q"}`)
	f("doc_to_target: t", TargetVar, `"['p', 'q']"`)
	f("doc_to_target: '{{ bad }}]'", TargetVar, `"[p]"`)
	f("doc_to_target: 1\ndoc_to_choice: c", TargetVar, `"two"`)
	const mc = "output_type: multiple_choice\n"
	f(mc+"doc_to_target: 1\ndoc_to_choice: c", GoldVar, `1`)
	f(mc+"doc_to_target: s\ndoc_to_choice: c", GoldVar, `1`)
	f(mc+"doc_to_target: f\ndoc_to_choice: c", GoldVar, `1`)
	f(mc+"doc_to_target: '{{c.index(s)}}'\ndoc_to_choice: '{{c}}'", GoldVar, `1`)
	f(mc+"doc_to_target: n\ndoc_to_choice: c", GoldVar, `-1`)
	f(mc+"doc_to_target: [0, 7]\ndoc_to_choice: c", GoldVar, `[]interface {}{0, -1}`)
	f(mc+"doc_to_target: 0\ndoc_to_choice: \"['{{s}}', 'it''s']\"", ChoiceVar, `[]interface {}{"two", "its"}`)
	f("output_type: loglikelihood\ndoc_to_target: \"{{' ' + s}}\"", TargetVar, `" two"`)
}

func TestRowMistakes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := row(t, text, nil, map[string]any{"q": "x", "n": int64(5), "c": []any{"one", int64(2)}, "m": map[string]any{"a": "1", "b": "2"}})
		if e, ok := errors.AsType[*config.Error](err); !ok || e.File != "d.jsonl" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	f("doc_to_text: n\ndoc_to_target: q", "t.yaml:6:1: doc_to_text: \"n\": the field is a whole number; want a text")
	f("doc_to_text: '{{ m }}'\ndoc_to_target: q", "order of a mapping")
	f("doc_to_text: '{{ n }}'\ndoc_to_target: q\ndoc_to_choice: [a]", "gives the number of a choice")
	f("doc_to_text: q\ndoc_to_target: 0\ndoc_to_choice: c\noutput_type: multiple_choice", "a choice is a whole number")
	f("doc_to_text: q\ndoc_to_target: 0\ndoc_to_choice: '{{q}}'\noutput_type: multiple_choice", "gives no Python list")
	f("doc_to_text: q\ndoc_to_target: 7\ndoc_to_choice: [a, b]", "not the number of a choice; want 0 to 1")
	f("doc_to_text: q\ndoc_to_target: n\noutput_type: loglikelihood", "the target is a whole number")
}

func TestLoadMistakes(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		l, err := load(t, text, map[string]string{"loop.yaml": "include: loop.yaml", "broken.yaml": "a: ["})
		if err == nil {
			err = l.Unsupported.Err()
		}
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %s", text, err, w)
			}
		}
	}
	const ok = basic + "doc_to_text: q\ndoc_to_target: a\n"
	f("task: [", "invalid YAML")
	f(ok+"doc_to_txt: q", `t.yaml:8:1: doc_to_txt: unknown key "doc_to_txt"`)
	f(ok+"output_type: foo", `t.yaml:8:1: output_type: "foo": not an output type; want generate_until`)
	f(ok+"output_type: multiple_choice", "a multiple choice without choices")
	f(ok+"num_fewshot: -1", "not a number of that kind")
	f(ok+"repeats: 3\nfilter_list: [{name: m, filter: [{function: take_first_k, k: 4}]}]", "filter_list[0].filter[0].k", "there are 3 answers of each document here; want at most 3, or repeats: 4")
	f(ok+"filter_list: [{name: m, filter: [{function: take_first_k}]}]", "not a number of answers")
	f(ok+"repeats: 3\nmetric_list: [{metric: bleu}]\nfilter_list: [{name: m, filter: [{function: take_first_k, k: 2}]}]", "of several answers behind the filter m")
	f(ok+"process_docs: !function utils.f", "t.yaml:8:", "process_docs", `"!function utils.f"`, "documents that Python code changes first")
	f(ok+"metric_list: [{metric: exact_match, aggregation: median}]", "metric_list[0].aggregation", `"median"`, "its own is mean")
	f(ok+"metric_list: [{metric: exact_match, aggregation: !function u.f}]", "metric_list[0].aggregation", "an aggregation that is a Python function")
	f(ok+"metric_list: [{metric: exact_match, foo: 1}]", "this setting of a metric is not supported")
	f(ok+"metric_list: [{metric: exact_match}, {metric: exact_match}]", "given twice")
	f(ok+"metric_list: [{}]", "a metric without a name")
	f(ok+"filter_list: [{name: x, filter: [{function: custom}]}]", `filter_list[0].filter[0].function`, "this filter is not supported")
	f(ok+"filter_list: [{name: x, filter: [{function: regex, pattern: a}]}]", "the filter regex has no such setting")
	f(ok+"filter_list: [{name: x, filter: [{function: take_first}, {function: regex}]}]", "behind take_first")
	f(ok+"fewshot_config: {sampler: balanced}\nnum_fewshot: 1\nfewshot_split: train", "this sampler is not supported")
	f(ok+"generation_kwargs: [1]", "not a mapping")
	f(ok+"generation_kwargs: {temperature: hot}", "not a number")
	f(ok+"generation_kwargs: {max_gen_toks: many}", `"many": not a number of tokens; want a whole number from 1`)
	f(ok+"generation_kwargs: {max_gen_toks: 0}", "not a number of tokens")
	f(ok+"doc_to_choice: {a: 1}", "choices as a mapping")
	f(strings.Replace(ok, "doc_to_text: q", "doc_to_text: '{{ q'", 1), "t.yaml:6:1: doc_to_text: \"{{ q\": template: a tag without }}")
	f(strings.Replace(ok, "test_split: test", "test_split: dev", 1), "data_files has no such split; want one of test, train")
	f(strings.Replace(ok, "test_split: test\n", "", 1), "does not say which documents are asked")
	f(strings.Replace(ok, "dataset_path: json", "dataset_path: some/hub", 1), "dataset_path", "fetches none from the Hugging Face Hub", "save_to_disk")
	f("include: loop.yaml\n"+ok, "more than 20 deep")
	f("include: nope.yaml\n"+ok, "cannot read the file")
	f("group: g\ntask: [nope]", "has a task, a group or a tag of this name")
	f("group: g\ntask: [3]", "not a task")
	f("group: g\ntask: [nope]", "--var include_path=FOLDER")
	f("group: g\ntask: [{group: h, task: 3}]", "t.yaml:2:", "task[0].task", "a group without tasks")
	f("group: g\ntask: []\naggregate_metric_list: {metric: acc}", "no task of the group g has this metric")
	f("group: g\ntask: []\naggregate_metric_list: [{metric: acc, aggregation: median}]", "only the mean of the tasks")
	f("group: g\ntask: []\naggregate_metric_list: [{metric: acc, foo: 1}]", "aggregate_metric_list[0].foo", "unknown key")
	f("group: g\ntask: []\naggregate_metric_list: [{}]", "a metric without a name")
	f("group: g\ntask: [nope]\naggregate_metric_list: [{metric: acc}]", "the mean over the group g lacks nope")
	f("task: t\nclass: !function task.T\nrecipe: x", "a task that is a Python class")
	f("include: broken.yaml\ntask: t", "broken.yaml", "invalid YAML")
}

func TestGroups(t *testing.T) {
	task := func(name, more string) string {
		return strings.Replace(basic, "task: t", "task: "+name, 1) + "doc_to_text: q\ndoc_to_target: a\n" + more
	}
	l, err := load(t, "group: g\ntask:\n  - a\n  - {task: b, num_fewshot: 0, description: 'B '}\n  - tagged\n  - inner\nmetadata: {version: 1}\n", map[string]string{
		"a.yaml": task("a", ""), "b.yaml": task("b", ""), "c.yaml": task("c", "tag: [tagged]"), "d.yaml": task("d", "tag: tagged"),
		"e.yaml": "include: _e\ntask: e\n", "_e": task("x", ""), "inner.yaml": "group: inner\ntask: [e]\n",
	})
	if err != nil || len(l.Unsupported) > 0 {
		t.Fatal(err, l)
	}
	var names []string
	for _, k := range l.Tasks {
		names = append(names, k.Name)
	}
	if s := strings.Join(names, " "); s != "a b c d e" {
		t.Errorf("tasks %s", s)
	}
	s, err := l.Suite(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Tests[1].Row(config.Pos{}, 4, map[string]any{"q": "x", "a": "y"})
	if err != nil || c.ID != "b/4" || c.Assert[0].Metric != "b.exact_match" || c.Tags[0] != "b" || c.Vars[PromptVar] != "B x" {
		t.Errorf("%+v %v", c, err)
	}
}

// The metrics of a group are named as in the harness's results, and say how their parts are weighed.
func TestGroupMetrics(t *testing.T) {
	task := func(name, more string) string {
		return strings.Replace(basic, "task: t", "task: "+name, 1) + "doc_to_text: q\ndoc_to_target: a\n" + more
	}
	const three = "metric_list: [{metric: exact_match}, {metric: bleu}]\n"
	l, err := load(t, `group: g
task:
  - {group: h, task: [a, b], aggregate_metric_list: [{metric: exact_match}]}
  - {group: deep, description: D}
  - a
num_fewshot: 0
aggregate_metric_list:
  - {metric: exact_match, filter_list: none}
  - {metric: bleu, weight_by_size: false}
  - {metric: bleu, filter_list: x}
`, map[string]string{
		"a.yaml": task("a", three), "b.yaml": task("b", three+"filter_list: [{name: none, filter: []}, {name: x, filter: []}]\n"), "sub/deep.yaml": "group: deep\ntask: [c]\ndescription: E\n",
		"sub/c.yaml": "include: _c\ntask: c\n", "sub/_c": strings.ReplaceAll(task("x", three+"description: C\n"), "d.jsonl", "../d.jsonl"),
	})
	if err != nil || len(l.Unsupported) > 0 {
		t.Fatal(err, l.Unsupported)
	}
	s, err := l.Suite(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, source := range s.Tests {
		c, err := source.Row(config.Pos{}, 0, map[string]any{"q": "x", "a": "y"})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range c.Assert {
			if g := a.Config.Map["groups"]; g != nil {
				got = append(got, fmt.Sprintf("%s %v", a.Metric, g))
			}
		}
		if i == 2 && c.Vars[PromptVar] != "Dx" {
			t.Errorf("the nearest setting does not win: %q", c.Vars[PromptVar])
		}
	}
	if s := strings.Join(got, "; "); s != "a.exact_match [g.exact_match g::h.exact_match]; b.exact_match [g.exact_match g::h.exact_match]; b.exact_match.x [g::h.exact_match.x]; c.exact_match [g.exact_match]" {
		t.Errorf("groups: %s", s)
	}
	want := map[string]string{
		"g.bleu":   `((metrics["a.bleu"])+((metrics["b.bleu"])+(metrics["c.bleu"])))/((1.0)+((1.0)+(1.0)))`,
		"g.bleu.x": `(metrics["b.bleu.x"]*n["b.bleu.x"])/(n["b.bleu.x"])`,
	}
	for _, d := range s.Derived {
		if d.Expr != want[d.Name] {
			t.Errorf("%s is %s", d.Name, d.Expr)
		}
	}
	if len(s.Derived) != len(want) {
		t.Errorf("%+v", s.Derived)
	}
}

func TestRepeats(t *testing.T) {
	f := func(text string, answers int, filters string) {
		t.Helper()
		l, err := load(t, basic+"doc_to_text: q\ndoc_to_target: a\n"+text, nil)
		if err != nil || len(l.Unsupported) > 0 {
			t.Fatalf("%s: %v %v", text, err, l)
		}
		k := l.Tasks[0]
		if got := fmt.Sprint(k.Metrics[0].config["filters"]); k.Answers != answers || got != filters {
			t.Errorf("%s: %d answers through %s, want %d through %s", text, k.Answers, got, answers, filters)
		}
	}
	const take = "{function: take_first}"
	f("repeats: 8", 1, "<nil>")
	f("repeats: 8\nfilter_list: [{name: x, filter: [{function: lowercase}, "+take+"]}]", 1, "[map[function:lowercase]]")
	f("repeats: 8\nfilter_list: [{name: x, filter: [{function: majority_vote}, "+take+"]}]", 8, "[map[function:majority_vote] map[function:take_first]]")
	f("repeats: 8\nfilter_list: [{name: x, filter: [{function: take_first_k, k: 3}, {function: majority_vote}]}]", 3, "[map[function:take_first_k k:3] map[function:majority_vote]]")
	f("repeats: 8\nfilter_list: [{name: x, filter: [{function: lowercase}]}]", 8, "[map[function:lowercase]]")
	f("filter_list: [{name: x, filter: [{function: take_first_k, k: 1}, {function: majority_vote}]}]", 1, "<nil>")
	f("output_type: loglikelihood\nrepeats: 8", 1, "<nil>")
}

func TestRolling(t *testing.T) {
	text := basic + "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{a.strip()}}'\nnum_fewshot: 2\n"
	opts := files(map[string]string{"d.jsonl": "{}"})
	opts.Vars = map[string]string{"prefix": "<s>"}
	l, err := Load("t.yaml", []byte(text), opts)
	if err != nil || len(l.Unsupported) > 0 {
		t.Fatal(err, l)
	}
	s, err := l.Suite(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Tests[0].Row(config.Pos{}, 0, map[string]any{"a": " two words "})
	if err != nil || c.Vars[PromptVar] != "<s>" || c.Vars[TargetVar] != "two words" || len(s.Default.Assert) != 3 {
		t.Errorf("%+v %v", c, err)
	}
}

// A folder may hold one dataset, its parts, or several datasets as the Hub has them.
func TestFolders(t *testing.T) {
	f := func(keys, want string) {
		t.Helper()
		l, err := load(t, "task: t\ntest_split: test\ndoc_to_text: q\ndoc_to_target: a\n"+keys, map[string]string{"one/x.json": "{}", "parts/p/x.json": "{}"})
		if err == nil {
			err = l.Unsupported.Err()
		}
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", keys, err, want)
			}
			return
		}
		if got := l.Tasks[0].eval.tests.Path; got != want {
			t.Errorf("%s: %s, want %s", keys, got, want)
		}
	}
	f("dataset_path: one", "one")
	f("dataset_path: parts\ndataset_name: p", "parts/p")
	f("dataset_path: parts\ndataset_name: q", "t.yaml:6:1: dataset_name: \"q\": the folder has no folder of this name")
	f("dataset_path: one\ndataset_name: ..", "the folder has no folder of this name")
}

func TestRepeatedKeys(t *testing.T) {
	l, err := load(t, basic+"doc_to_text: q\ndoc_to_target: a\ndoc_to_text: '{{a}}!'\n", nil)
	if err != nil || len(l.Ignored) != 1 || !strings.Contains(l.Ignored[0].Error(), `t.yaml:8:1: doc_to_text: the key "doc_to_text" is given again after line 6`) {
		t.Fatalf("%v %v", err, l)
	}
	c, err := row(t, "doc_to_text: q\ndoc_to_target: a\ndoc_to_text: '{{a}}!'\n", nil, map[string]any{"q": "x", "a": "y"})
	if err != nil || c.Vars[PromptVar] != "y!" {
		t.Errorf("%v %v", c.Vars, err)
	}
}

func TestDraws(t *testing.T) {
	pool := make([]map[string]any, 6)
	for i := range pool {
		pool[i] = map[string]any{"q": fmt.Sprint(i % 3)} // every document is there twice
	}
	f, err := newFewshot(&Task{shots: 3, excludeSelf: true}, pool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.draw(1, pool[1]); err == nil {
		t.Error("documents were drawn for out of order")
	}
	var first []string
	for pass := range 2 {
		for n, doc := range pool {
			shots, err := f.draw(n, doc)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range shots {
				if s["q"] == doc["q"] {
					t.Errorf("document %d is its own example", n)
				}
			}
			if pass == 0 {
				first = append(first, fmt.Sprint(shots))
			} else if first[n] != fmt.Sprint(shots) {
				t.Errorf("document %d got other examples the second time", n)
			}
		}
	}
	if _, err := newFewshot(&Task{shots: 6, excludeSelf: true}, pool); err == nil {
		t.Error("too small a pool was accepted")
	}
}

func TestTypedCSV(t *testing.T) {
	got := fmt.Sprintf("%#v", typed("csv", map[string]any{"a": "12", "b": "1.5", "c": "x", "d": "", "e": "True", "f": "-3", "g": "1e3", "h": "1.2.3"}))
	for _, want := range []string{`"a":12`, `"b":1.5`, `"c":"x"`, `"d":interface {}(nil)`, `"e":true`, `"f":-3`, `"g":1000`, `"h":"1.2.3"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

func TestRecognises(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := Recognises("x.yaml", []byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	f("task: t\noutput_type: multiple_choice", true)
	f("group: g\ntask: [a]", true)
	f("task: t\nclass: !function task.T", true)
	f("task: t\ninclude: x", true)
	f("include: x\nnum_fewshot: 5", true)
	f("include: x\ndescription: y", false)
	f("task: t\nprompts: [a]\ndataset_path: x", false)
	f("prompts: [a task]\nproviders: echo\ntests: [{vars: {}}]", false)
	f("task: t\ndataset_path: json\ndataset_path: csv", true)
	f("task: t", false)
	f("- a", false)
	f("a: [", false)
}

func FuzzLoad(f *testing.F) {
	f.Add(basic + "doc_to_text: '{{q}}'\ndoc_to_target: [a]\nmetric_list: [{metric: exact_match}]\nfilter_list: [{name: n, filter: [{function: regex}]}]\n")
	f.Add("group: g\ntask: [t, {task: t, include: t.yaml}]")
	f.Add("include: [t.yaml]\ntask: !function a.b\ngeneration_kwargs: {until: null}")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Load("t.yaml", []byte(text), files(map[string]string{"t.yaml": text, "d.jsonl": "{}"}))
		if err != nil {
			return
		}
		s, err := l.Suite(func(config.Tests, int) ([]map[string]any, error) { return nil, nil })
		if err != nil {
			return
		}
		for _, src := range s.Tests {
			_, _ = src.Row(config.Pos{}, 0, map[string]any{"q": "x", "a": []any{"y"}})
		}
	})
}
