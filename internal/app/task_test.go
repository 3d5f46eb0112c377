package app

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/sim"
)

const lmevalDir = "../../bench/conformance/lmeval"

// serve serves the simulated model of a configuration.
func serve(t *testing.T, file string) (address string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	c, err := sim.FromObject(config.Object{Map: m})
	if err != nil {
		t.Fatal(err)
	}
	model, err := sim.New(sim.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim.NewServer(model, sim.ServerOptions{}))
	t.Cleanup(srv.Close)
	return srv.URL + "/v1"
}

// harnessDocument is what the harness made of one document.
type harnessDocument struct {
	Prompt string
	Scores map[string]float64
}

// recorded.json holds the prompts, scores and metrics of lm-eval 0.4.13 for the same tasks against the
// same model; bench/conformance/lmeval/run.sh computes them anew.
func TestTasksAsTheHarness(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(lmevalDir, "recorded.json"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Tasks map[string]struct {
			Documents map[string][]harnessDocument
			Metrics   map[string]float64
		}
	}
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Tasks) < 9 {
		t.Fatalf("%d tasks", len(recorded.Tasks))
	}
	for task, want := range recorded.Tasks {
		t.Run(task, func(t *testing.T) {
			address := serve(t, filepath.Join(lmevalDir, "sim.yaml"))
			f, err := Run(t.Context(), RunOptions{
				Suite: filepath.Join(lmevalDir, "tasks", strings.TrimPrefix(task, "conformance_")+".yaml"), Out: t.TempDir(), NoCache: true,
				LoadOptions: LoadOptions{
					ProviderIDs: []string{"{id: 'openai:completion:sim', config: {seed: false}}"}, Vars: map[string]string{"prefix": "."},
					Env: func(key string) (string, bool) { return address, key == "OPENAI_BASE_URL" },
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			asTheHarness(t, f.Dir, want.Documents)
			for name, w := range want.Metrics {
				if m := f.Run.Metrics[name]; m.Mean == nil || !near(*m.Mean, w) {
					t.Errorf("%s: %+v, want %v", name, m, w)
				}
			}
		})
	}
}

// near allows for the order of sums.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(b)) }

// asTheHarness compares the samples of a run with the harness's documents, by task.
func asTheHarness(t *testing.T, dir string, want map[string][]harnessDocument) {
	t.Helper()
	n := map[string]int{}
	for s, err := range ReadSamples(dir) {
		if err != nil {
			t.Fatal(err)
		}
		task := s.Case[:strings.LastIndexByte(s.Case, '/')]
		if n[task] >= len(want[task]) {
			t.Fatalf("%s is one document too many", s.Case)
		}
		w := want[task][n[task]]
		n[task]++
		if got := s.Vars["lmeval_prompt"]; got != w.Prompt {
			t.Errorf("%s: prompt\n%q, want\n%q", s.Case, got, w.Prompt)
		}
		scores := map[string]*float64{}
		for _, c := range s.Scores {
			scores[strings.TrimPrefix(c.Name, task+".")] = c.Value
		}
		for name, v := range w.Scores {
			if got := scores[name]; got == nil || !near(*got, v) {
				t.Errorf("%s: %s is %+v, want %v", s.Case, name, s.Scores, v)
			}
		}
	}
	for task, docs := range want {
		if n[task] != len(docs) {
			t.Errorf("%s: %d samples, want %d", task, n[task], len(docs))
		}
	}
}

// put writes files into a new folder.
func put(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const evalsYAML = `
cap: {id: cap.s1, metrics: [accuracy]}
cap.s1: {class: "evals.elsuite.basic.match:Match", args: {samples_jsonl: caps/samples.jsonl, num_few_shot: 1, few_shot_jsonl: caps/shots.jsonl}}
inc.s1: {class: "evals.elsuite.basic.includes:Includes", args: {samples_jsonl: caps/samples.jsonl, ignore_case: true}}
fuz.s1: {class: "evals.elsuite.basic.fuzzy_match:FuzzyMatch", args: {samples_jsonl: caps/samples.jsonl}}
`

func TestEvalsRun(t *testing.T) {
	dir := put(t, map[string]string{
		"evals/basic.yaml": evalsYAML,
		"data/caps/samples.jsonl": `{"input": [{"role": "system", "content": "One word."}, {"role": "user", "content": "Capital of France?"}], "ideal": "Paris"}
{"input": [{"role": "user", "content": "Capital of Spain?"}], "ideal": ["Madrid", "madrid"]}
{"input": [{"role": "user", "content": "Capital of Italy?"}], "ideal": ["Rome"]}
`,
		"data/caps/shots.jsonl": `{"sample": [{"role": "user", "content": "Capital of Cuba?"}, {"role": "assistant", "content": "Havana"}]}` + "\n",
	})
	f := func(eval, metric string, want float64) *Finished {
		t.Helper()
		fin, err := Run(t.Context(), RunOptions{
			Suite: filepath.Join(dir, "evals", "basic.yaml"), Out: t.TempDir(), NoCache: true,
			LoadOptions: LoadOptions{Vars: map[string]string{"eval": eval}, Gate: []string{metric + ">=0.1"}, ProviderIDs: []string{
				`{id: sim, config: {mode: answers, default: x, answers: [{contains: France, answer: "Paris, of course"}, {contains: Spain, answer: "It is madrid."}, {contains: Italy, answer: "the rome"}]}}`,
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if m := fin.Run.Metrics[metric]; m.Mean == nil || *m.Mean < want-1e-9 || *m.Mean > want+1e-9 {
			t.Errorf("%s: %s is %+v, want %v", eval, metric, m, want)
		}
		return fin
	}
	fin := f("cap", "accuracy", 1.0/3)
	for s, err := range ReadSamples(fin.Dir) {
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Input); n < 3 || s.Input[n-2].Content != "Havana" || s.Input[n-3].Content != "Capital of Cuba?" {
			t.Errorf("the examples are not before the last message: %+v", s.Input)
		}
	}
	f("inc.s1", "accuracy", 1)
	f("fuz.s1", "accuracy", 1)
	f("fuz.s1", "f1_score", (2.0/4+2.0/4+1)/3)
}

func TestTaskMistakes(t *testing.T) {
	dir := put(t, map[string]string{
		"ok.yaml":     "task: t\ndataset_path: json\ndataset_kwargs: {data_files: d.jsonl}\ntest_split: train\ndoc_to_text: q\ndoc_to_target: a\n",
		"d.jsonl":     `{"q": "x", "a": "y"}` + "\n",
		"field.yaml":  "task: t\ndataset_path: json\ndataset_kwargs: {data_files: d.jsonl}\ntest_split: train\ndoc_to_text: '{{ nope }}'\ndoc_to_target: a\n",
		"gone.yaml":   "task: t\ndataset_path: json\ndataset_kwargs: {data_files: gone.jsonl}\ntest_split: train\ndoc_to_text: q\ndoc_to_target: a\n",
		"shots.yaml":  "task: t\ndataset_path: json\ndataset_kwargs: {data_files: d.jsonl}\ntest_split: train\ndoc_to_text: q\ndoc_to_target: a\nnum_fewshot: 3\n",
		"left.yaml":   "task: t\ndataset_path: json\ndataset_kwargs: {data_files: d.jsonl}\ntest_split: train\ndoc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}, {metric: bleurt}]\n",
		"evals.yaml":  "e: {class: \"a:Match\", args: {samples_jsonl: bad.jsonl}}\n",
		"bad.jsonl":   `{"input": "x"}` + "\n",
		"suite.yaml":  "prompts: hi\nproviders: nope\ntests: [{vars: {}}]\n",
		"several.yml": evalsYAML,
	})
	f := func(file string, o LoadOptions, want ...string) {
		t.Helper()
		if o.ProviderIDs == nil {
			o.ProviderIDs = []string{"echo"}
		}
		_, err := Validate(t.Context(), RunOptions{Suite: filepath.Join(dir, file), LoadOptions: o})
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %s", file, err, w)
			}
		}
	}
	f("ok.yaml", LoadOptions{ProviderIDs: []string{}}, "--provider: a task names no provider; want --provider ID")
	f("ok.yaml", LoadOptions{ProviderIDs: []string{"nope:x"}}, `--provider: "nope:x": unknown provider`)
	f("ok.yaml", LoadOptions{ProviderIDs: []string{"{id: echo, confg: {}}"}}, "unknown key")
	f("ok.yaml", LoadOptions{ProviderIDs: []string{"{id: "}}, "--provider: invalid YAML")
	f("ok.yaml", LoadOptions{Gate: []string{"pass_rate"}}, `--gate: "pass_rate": not a check`)
	f("ok.yaml", LoadOptions{Vars: map[string]string{"x": "1"}}, "--var x: a task has no such parameter; want dataset_path, include_path, num_fewshot, prefix")
	f("ok.yaml", LoadOptions{Vars: map[string]string{"num_fewshot": "x"}}, `--var num_fewshot: "x": not a number of examples`)
	f("ok.yaml", LoadOptions{Vars: map[string]string{"dataset_path": "nowhere"}}, "--var dataset_path", "not on this machine")
	f("field.yaml", LoadOptions{}, "d.jsonl:1:", "field.yaml:5:1: doc_to_text", "'nope' is undefined")
	f("gone.yaml", LoadOptions{}, "gone.yaml:3", "there is no file")
	f("shots.yaml", LoadOptions{}, "num_fewshot", "the few-shot split has 1 documents; want at least 3")
	f("left.yaml", LoadOptions{}, "left.yaml:7:", "metric_list[1].metric", `"bleurt"`, "not supported", "--skip-unsupported")
	f("evals.yaml", LoadOptions{}, "bad.jsonl:1: ideal: the sample has no ideal answer")
	f("several.yml", LoadOptions{ProviderIDs: []string{"openai:chat:m"}}, "few_shot_jsonl", "cannot read the file")
	// A suite's own provider does not matter when the command line names one.
	if _, err := Validate(t.Context(), RunOptions{Suite: filepath.Join(dir, "suite.yaml"), LoadOptions: LoadOptions{ProviderIDs: []string{"echo"}}}); err != nil {
		t.Error(err)
	}
	if sum, err := Validate(t.Context(), RunOptions{Suite: filepath.Join(dir, "left.yaml"), LoadOptions: LoadOptions{ProviderIDs: []string{"echo"}, SkipUnsupported: true}}); err != nil || !strings.Contains(sum, "1 cases") {
		t.Errorf("%s %v", sum, err)
	}
}

func TestInspectTasks(t *testing.T) {
	dir := put(t, map[string]string{
		"t.yaml": "task: t\ndataset_path: some/hub\ntest_split: test\ndoc_to_text: q\ndoc_to_target: !function utils.f\nprocess_docs: !function utils.g\nmetric_list: [{metric: !function utils.m}]\n",
		"e.yaml": evalsYAML, "n.yaml": "a: 1\n", "m.yaml": "task: t\ndataset_path: some/hub\ntest_split: test\ndoc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match, ignore_case: perhaps}]\n", "b.yaml": "task: t\noutput_type: x\ndoc_to_txt: q\n",
	})
	f := func(file string, runs int, want ...string) {
		t.Helper()
		in, err := InspectTasks(filepath.Join(dir, file), LoadOptions{})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			return
		}
		b, err := json.Marshal(in.Findings)
		if err != nil {
			t.Fatal(err)
		}
		if len(in.Runs) != runs {
			t.Errorf("%s: runs %v", file, in.Runs)
		}
		for _, w := range want {
			if !strings.Contains(string(b), w) {
				t.Errorf("%s: %s lacks %s", file, b, w)
			}
		}
	}
	f("t.yaml", 0, `"line":5,"column":1,"key":"doc_to_target","value":"!function utils.f"`, "documents that Python code changes", "a metric that is a Python function", "save_to_disk")
	f("e.yaml", 0, "cannot read the file")
	f("b.yaml", 0, `unknown key \"doc_to_txt\"`, "not an output type", "does not say how a document becomes a prompt")
	f("m.yaml", 0, `"key":"metric_list[0].ignore_case"`, "not a boolean", "mistake")
	if _, err := InspectTasks(filepath.Join(dir, "n.yaml"), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "neither a task") {
		t.Error(err)
	}
}
