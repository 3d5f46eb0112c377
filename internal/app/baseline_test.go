package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// sayingSuite is a suite whose answers are those of the echo provider; prompt decides them.
func sayingSuite(t *testing.T, dir, prompt string, questions []string) string {
	t.Helper()
	type object = map[string]any
	var tests []object
	for i, q := range questions {
		tests = append(tests, object{"id": fmt.Sprintf("case-%d", i), "vars": object{"q": q, "ref": "the word is " + q}, "group": fmt.Sprint("g", i/3), "tags": []string{"all", fmt.Sprint("t", i%2)}, "critical": i == 0,
			"assert": []object{{"type": "contains", "value": "{{q}}"}, {"type": "bleu", "value": "{{ref}}", "threshold": 0.3}, {"type": "f1", "value": "{{ref}}"}, {"type": "word-count", "value": object{"max": 40}},
				{"type": "assert-set", "metric": "set", "threshold": 0.5, "assert": []object{{"type": "contains", "value": "word"}, {"type": "regex", "metric": "digits", "value": "[0-9]"}}}}})
	}
	b, err := json.Marshal(object{"prompts": []object{{"label": "main", "raw": prompt}}, "providers": []string{"echo"}, "tests": tests, "samples": 2})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "suite.yaml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func runOnce(t *testing.T, suite, out string) {
	t.Helper()
	_, err := Run(t.Context(), RunOptions{Suite: suite, Out: out, NoCache: true, Notice: func(string) {}, LoadOptions: LoadOptions{Env: os.LookupEnv},
		Planned: func(int, int, string) {}, Progress: func(runner.Progress) {}})
	if err != nil {
		t.Fatal(err)
	}
}

func compareSides(t *testing.T, base, head compare.Side) *record.Comparison {
	t.Helper()
	c, err := compare.Runs(base, head, compare.Options{Finishers: scorer.CorpusFinisher})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A baseline compares as the run does from which it was made, to the last digit.
func TestBaselineComparesAsItsRun(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(BaselinesEnv, filepath.Join(dir, "stored"))
	questions := strings.Fields("zero one two three four five six seven eight nine ten eleven")
	base, head := filepath.Join(dir, "base"), filepath.Join(dir, "head")
	runOnce(t, sayingSuite(t, dir, "the word is {{q}} 1", questions), base)
	// Another prompt, a case less, two more, and one whose input changed.
	questions[3] = "THREE"
	questions = append(questions[:11:11], "twelve", "thirteen", "fourteen")
	questions[11] = "eleven"
	runOnce(t, sayingSuite(t, dir, "a word {{q}}, and if q is longer it is {{ref}}", questions), head)

	sides := map[string]compare.Side{}
	for _, name := range []string{"scores", "outputs"} {
		set, err := SetBaseline(BaselineOptions{Name: name, RunDir: base, Outputs: name == "outputs"})
		if err != nil {
			t.Fatal(err)
		}
		if sides[name], err = OpenSide(name); err != nil {
			t.Fatal(err)
		}
		if sides[name].Baseline != set.ContentID() || sides[name].NoOutputs != (name == "scores") {
			t.Errorf("side %+v", sides[name])
		}
	}
	open := func(name string) compare.Side {
		s, err := OpenSide(name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := compareSides(t, open(base), open(head))
	if p := want.Pairing; p.Changed != 1 || p.ChangedIDs[0] != "case-3" || p.OnlyHead != 2 || len(want.Flips) == 0 || len(want.Slices) == 0 {
		t.Fatalf("the runs show too little: %+v", p)
	}
	for name, side := range sides {
		got := compareSides(t, side, open(head))
		if got.Base.Baseline == "" {
			t.Error("the comparison does not say that it is with a baseline")
		}
		got.Base = want.Base
		for i := range got.Flips {
			if name == "scores" {
				if !got.Flips[i].NoOutput || got.Flips[i].BaseOutput != "" {
					t.Errorf("flip %+v", got.Flips[i])
				}
				got.Flips[i].NoOutput = false
				got.Flips[i].BaseOutput, got.Flips[i].BaseReason = want.Flips[i].BaseOutput, want.Flips[i].BaseReason
			}
		}
		if a, b := marshalled(t, got), marshalled(t, want); a != b {
			t.Errorf("%s: got\n%s\nwant\n%s", name, a, b)
		}
	}
}

func marshalled(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOpenSide(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	runOnce(t, sayingSuite(t, dir, "the word is {{q}}", []string{"a", "b"}), "latest")
	for _, name := range []string{"main", "latest"} {
		if _, err := SetBaseline(BaselineOptions{Name: name, RunDir: "latest"}); err != nil {
			t.Fatal(err)
		}
	}
	f := func(name, in string, baseline bool, wrong ...string) {
		t.Helper()
		s, _, err := openSide(name, in)
		if len(wrong) == 0 {
			if err != nil || (s.Baseline != "") != baseline {
				t.Errorf("%q: %+v, %v", name, s, err)
			}
			return
		}
		if !isMistake(err) {
			t.Errorf("%q: %v is no mistake of the user", name, err)
			return
		}
		for _, w := range wrong {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %q does not say %q", name, err, w)
			}
		}
	}
	if err := os.MkdirAll("main", 0o700); err != nil { // a folder that is no run does not hide a baseline
		t.Fatal(err)
	}
	f("main", ".", true)
	f("latest", ".", false) // a run wins
	f("./latest", ".", false)
	f("mian", ".", false, "neither", `did you mean "main"?`, "latest, main")
	f("no/such/place", ".", false, "no run.json")
	f("baselines", ".", false, "no run.json")
	// A suite elsewhere has its own folder too; what is where the user works comes first.
	if err := os.MkdirAll("sub/baselines", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := SetBaseline(BaselineOptions{Dir: "sub/baselines", Name: "beside", RunDir: "latest"}); err != nil {
		t.Fatal(err)
	}
	f("beside", ".", false, "neither")
	f("beside", "sub", true)
	f("main", "sub", true)
	t.Setenv(BaselinesEnv, "sub/baselines")
	f("beside", ".", true)
	f("main", "sub", false, "neither", "beside")
	if err := os.WriteFile("latest/run.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("latest", ".", false, "run.json", "cannot be read")
}

func TestSetBaselineRefuses(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	runOnce(t, sayingSuite(t, dir, "the word is {{q}}", []string{"a", "b"}), "run")
	edit := func(change func(*record.Run)) {
		t.Helper()
		f, err := OpenRun("run")
		if err != nil {
			t.Fatal(err)
		}
		change(f.Run)
		if err := os.WriteFile("run/run.json", []byte(marshalled(t, f.Run)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := func(o BaselineOptions, wrong string) {
		t.Helper()
		set, err := SetBaseline(o)
		if wrong == "" {
			if err != nil || set.Run() == nil {
				t.Errorf("%+v: %v", o, err)
			}
			return
		}
		if !isMistake(err) || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%+v: %v, want %q", o, err, wrong)
		}
	}
	f(BaselineOptions{Name: "a b", RunDir: "run"}, "not a name")
	f(BaselineOptions{Name: "main", RunDir: "nowhere"}, "no run.json")
	edit(func(r *record.Run) { r.Summary.Planned += 3 })
	f(BaselineOptions{Name: "main", RunDir: "run", AllowErrors: true, Force: true}, "4 of its 7 samples")
	edit(func(r *record.Run) { r.Summary.Planned -= 3; r.Summary.Errored = 1 })
	f(BaselineOptions{Name: "main", RunDir: "run"}, "1 of the run's 4 samples are errors")
	if _, err := os.Stat("baselines"); err == nil {
		t.Error("a refusal left a folder")
	}
	f(BaselineOptions{Name: "main", RunDir: "run", AllowErrors: true}, "")
	f(BaselineOptions{Name: "main", RunDir: "run", AllowErrors: true}, "--force")
	set, err := SetBaseline(BaselineOptions{Name: "main", RunDir: "run", AllowErrors: true, Force: true})
	if err != nil || !set.Same || !set.Former {
		t.Errorf("%+v, %v", set, err)
	}
	// A broken one is in the way as well, and can be replaced.
	if err := os.WriteFile("baselines/main.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(BaselineOptions{Name: "main", RunDir: "run", AllowErrors: true}, "--force")
	set, err = SetBaseline(BaselineOptions{Name: "main", RunDir: "run", AllowErrors: true, Force: true})
	if err != nil || set.Unreadable == nil || set.Changes != nil {
		t.Errorf("%+v, %v", set, err)
	}
	if err := os.WriteFile("run/samples.jsonl", []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = SetBaseline(BaselineOptions{Name: "main", RunDir: "run", AllowErrors: true, Force: true})
	if e, ok := errors.AsType[*config.Error](err); !ok || e.Line != 1 {
		t.Errorf("%v", err)
	}
	if _, err := OpenBaseline("", "main"); err != nil {
		t.Errorf("a failed set broke what was there: %v", err)
	}
}

// Processes that set and remove baselines at once leave whole ones, whose samples nobody swept away.
func TestBaselinesAtOnce(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	var runs []string
	for _, q := range []string{"one", "two"} {
		if err := os.Mkdir(q, 0o700); err != nil {
			t.Fatal(err)
		}
		suite := sayingSuite(t, q, "the word is {{q}} "+q, []string{"a", "b", q})
		runOnce(t, suite, filepath.Join(q, "run"))
		runs = append(runs, filepath.Join(q, "run"))
	}
	var work sync.WaitGroup
	for i := range 24 {
		work.Go(func() {
			name := fmt.Sprint("b", i%3)
			if _, err := SetBaseline(BaselineOptions{Dir: "kept", Name: name, RunDir: runs[i%2], Force: true}); err != nil {
				t.Error(err)
			}
			if i%5 == 0 {
				if err := RemoveBaseline("kept", name); err != nil && !isMistake(err) {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	list, err := Baselines("kept")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if _, err := OpenBaseline("kept", e.Name); err != nil {
			t.Error(err)
		}
	}
	var first atomic.Int32
	for range 4 {
		work.Go(func() {
			if _, err := SetBaseline(BaselineOptions{Dir: "fresh", Name: "main", RunDir: runs[0]}); err == nil {
				first.Add(1)
			}
		})
	}
	work.Wait()
	if first := first.Load(); first != 1 {
		t.Errorf("%d made the baseline that was not there", first)
	}
}
