package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// goldenRunDir writes a run with a golden assertion whose outcome is given: pass, fail, missing, judge (an error of
// the judge) or none (no answer).
func goldenRunDir(t *testing.T, dir string, perSnapshot bool, samples [][5]string) string {
	t.Helper()
	run := record.Run{Suite: record.SuiteRef{Path: filepath.Join(dir, "s.yaml")}, Golden: []record.GoldenRef{{Metric: "g", File: filepath.ToSlash(filepath.Join(dir, "golden", "s.jsonl")), PerSnapshot: perSnapshot}}}
	var lines strings.Builder
	for _, s := range samples {
		sample := record.Sample{Case: s[0], Provider: s[1], Prompt: "p", Output: s[3], Verdict: verdict.Error, Input: []record.Message{{Role: "user", Content: "question of " + s[0]}}}
		score := record.Score{Name: "g", Type: "golden"}
		switch s[4] {
		case "pass", "fail":
			score.Value, score.Pass = new(0.0), new(s[4] == "pass")
		case "none":
			sample.Error, score.Error = "timeout", "no answer"
		default:
			score.Error = s[4]
		}
		sample.Scores = []record.Score{{Name: "g", Type: "contains", Pass: new(false), Value: new(0.0)}, {Name: "set", Type: "assert-set", Scores: []record.Score{score}}}
		b, err := json.Marshal(sample)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(b, '\n'))
	}
	b, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "run")
	if err := os.MkdirAll(out, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{filepath.Join(out, report.JSONFile): string(b), filepath.Join(out, samplesFile): lines.String(), filepath.Join(dir, "s.yaml"): ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestAccept(t *testing.T) {
	samples := [][5]string{
		{"new", "a", "", "n1", "missing"}, {"new", "b", "", "n2", "missing"}, {"new", "b", "", "n1", "missing"},
		{"changed", "a", "", "c2", "fail"}, {"changed", "b", "", "c3", "fail"},
		{"mixed", "a", "", "m1", "pass"}, {"mixed", "b", "", "m2", "fail"},
		{"like", "a", "", "L1", "pass"}, {"like", "b", "", "", "none"},
		{"unsure", "a", "", "u2", "judge"}, {"same", "a", "", "s", "fail"},
	}
	accepted := `{"case":"changed","output":"c1"}
{"case":"like","output":"l1"}
{"case":"mixed","output":"m0"}
{"case":"mixed","output":"m1"}
{"case":"other","output":"o"}
{"case":"same","output":"s"}
{"case":"unsure","output":"u1"}
`
	f := func(o AcceptOptions, perSnapshot bool, skipped int, want string) {
		t.Helper()
		dir := t.TempDir()
		o.RunDir = goldenRunDir(t, dir, perSnapshot, samples)
		path := filepath.Join(dir, "golden", "s.jsonl")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(accepted), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := Accept(o)
		if err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != accepted {
			t.Errorf("%+v: the file was changed before it was shown: %v", o, err)
		}
		if err := a.Write(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Only what differs from before is given.
		var got []string
		before := strings.Split(accepted, "\n")
		after := strings.Split(string(b), "\n")
		for _, l := range before {
			if !has(after, l) {
				got = append(got, "-"+short(l))
			}
		}
		for _, l := range after {
			if !has(before, l) {
				got = append(got, "+"+short(l))
			}
		}
		if s := strings.Join(got, " "); s != want || a.Skipped != skipped {
			t.Errorf("%+v: %s, %d skipped; want %s, %d", o, s, a.Skipped, want, skipped)
		}
	}
	f(AcceptOptions{}, false, 1, "-c1 +c2 +c3 +m2 +n1 +n2")
	f(AcceptOptions{Keep: true}, false, 1, "+c2 +c3 +m2 +n1 +n2")
	f(AcceptOptions{Choice: AcceptMissing}, false, 1, "+n1 +n2")
	f(AcceptOptions{Choice: AcceptFailed}, false, 1, "-c1 +c2 +c3 +m2")
	f(AcceptOptions{Choice: AcceptFailed, Cases: []string{"mixed"}}, false, 0, "+m2")
	f(AcceptOptions{Choice: AcceptMissing, Cases: []string{"mixed"}}, false, 0, "")
	f(AcceptOptions{Choice: AcceptAll}, false, 1, "-c1 -l1 -m0 -u1 +c2 +c3 +L1 +m2 +n1 +n2 +u2")
	f(AcceptOptions{Choice: AcceptAll, Keep: true}, false, 1, "+c2 +c3 +L1 +m2 +n1 +n2 +u2")
	// What is accepted of a snapshot leaves what is accepted of all alone.
	f(AcceptOptions{}, true, 1, "+a:c2 +b:c3 +b:m2 +a:n1 +b:n1 +b:n2")
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// short is the output of a line of a golden file, with its provider.
func short(line string) string {
	var e struct{ Provider, Output string }
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		return line
	}
	if e.Provider != "" {
		return e.Provider + ":" + e.Output
	}
	return e.Output
}

func TestAcceptRefuses(t *testing.T) {
	dir := t.TempDir()
	run := goldenRunDir(t, dir, false, [][5]string{{"case-one", "a", "", "x", "missing"}})
	f := func(o AcceptOptions, want ...string) {
		t.Helper()
		_, err := Accept(o)
		if !isMistake(err) {
			t.Errorf("%+v: %v", o, err)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %q does not say %q", o, err, w)
			}
		}
	}
	f(AcceptOptions{RunDir: dir}, "no run.json")
	f(AcceptOptions{RunDir: run, Cases: []string{"case-on"}}, "no such case", `did you mean "case-one"?`)
	// Between showing and writing nobody else may write.
	a, err := Accept(AcceptOptions{RunDir: run})
	if err != nil || a.Outputs() != 1 || !reflect.DeepEqual(a.Changes[0].Added, []string{"x"}) || a.Changes[0].Input != "question of case-one" {
		t.Fatalf("%+v, %v", a, err)
	}
	path := filepath.Join(dir, "golden", "s.jsonl")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"case":"z","output":""}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Write(); !isMistake(err) || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(AcceptOptions{RunDir: run}, "s.jsonl:1")
	if err := os.Remove(filepath.Join(dir, "s.yaml")); err != nil {
		t.Fatal(err)
	}
	f(AcceptOptions{RunDir: run}, "s.yaml", "folder where the run was made")
}

// Many who accept one case each at the same time lose nothing: who comes second is told, and accepts again.
func TestAcceptAtOnce(t *testing.T) {
	const n = 12
	dir := t.TempDir()
	var samples [][5]string
	for i := range n {
		samples = append(samples, [5]string{fmt.Sprint("c", i), "a", "", "out", "missing"})
	}
	run := goldenRunDir(t, dir, false, samples)
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			for {
				a, err := Accept(AcceptOptions{RunDir: run, Cases: []string{fmt.Sprint("c", i)}})
				if err != nil {
					t.Error(err)
					return
				}
				err = a.Write()
				if err == nil {
					return
				}
				if !isMistake(err) {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	f, err := OpenGolden(filepath.Join(dir, "golden", "s.jsonl"))
	if err != nil || f.Len() != n {
		t.Errorf("%d outputs of %d, %v", f.Len(), n, err)
	}
}

// What belongs to cases that are no more is told apart from what the run did not get to.
func TestObsolete(t *testing.T) {
	f := func(o AcceptOptions, edit func(*record.Run), wrong, obsolete string, left int) {
		t.Helper()
		dir := t.TempDir()
		o.RunDir = goldenRunDir(t, dir, false, [][5]string{{"a", "p", "", "x", "pass"}, {"b", "p", "", "", "none"}})
		path := filepath.Join(o.RunDir, report.JSONFile)
		var run record.Run
		b, err := os.ReadFile(path)
		if err = errors.Join(err, json.Unmarshal(b, &run)); err != nil {
			t.Fatal(err)
		}
		edit(&run)
		if b, err = json.Marshal(run); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join(dir, "golden", "s.jsonl")
		text := `{"case":"a","output":"x"}` + "\n" + `{"case":"b","output":"y"}` + "\n" + `{"case":"z","output":"1"}` + "\n" + `{"case":"z","provider":"p","output":"2"}` + "\n"
		if err := errors.Join(os.WriteFile(path, b, 0o600), os.MkdirAll(filepath.Dir(golden), 0o700), os.WriteFile(golden, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		a, err := Accept(o)
		if wrong != "" {
			if err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("%v, want %q", err, wrong)
			}
			return
		}
		if err != nil || strings.Join(a.Obsolete, " ") != obsolete {
			t.Fatalf("%+v, %v, want %q", a, err, obsolete)
		}
		if err := a.Write(); err != nil {
			t.Fatal(err)
		}
		if file, err := OpenGolden(golden); err != nil || file.Len() != left {
			t.Errorf("%d outputs are left, want %d; %v", file.Len(), left, err)
		}
	}
	same := func(*record.Run) {}
	f(AcceptOptions{}, same, "", "z", 4)
	f(AcceptOptions{Prune: true}, same, "", "z", 2)
	f(AcceptOptions{Cases: []string{"a"}}, same, "", "", 4)
	part := func(r *record.Run) { r.Dataset = record.DatasetRef{Rows: 3, Cases: 2} }
	f(AcceptOptions{}, part, "", "", 4)
	f(AcceptOptions{Prune: true}, part, "only a part", "", 4)
	f(AcceptOptions{Prune: true}, func(r *record.Run) { r.Summary.Planned = 3 }, "only a part", "", 4)
}
