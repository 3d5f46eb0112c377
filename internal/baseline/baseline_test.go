package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func exampleRun() *record.Run {
	run := &record.Run{ID: "0123456789abcdef", Telltale: "1.0", Suite: record.SuiteRef{Path: "/home/someone/suites/shop.yaml", Hash: "aa"}, Dataset: record.DatasetRef{Hash: "d1", Rows: 2, Cases: 2}, Repeats: 2,
		Snapshots: []record.Snapshot{{Provider: "a", Prompt: "p", Template: "<b>{{q}}</b>", Params: map[string]any{"temperature": 0.5}}, {Provider: "b", Prompt: "p", Template: "{{q}}"}},
		Scorers:   map[string]string{"f1": "f1/1"}, Metrics: map[string]record.Metric{"f1": {Kind: "mean", Mean: new(0.25), N: 8, Signature: "f1/1"}},
		Summary: record.Summary{Planned: 8, Finished: 8}, ByTag: map[string]map[string]record.Metric{"t": {}}, Times: record.Times{Started: time.Now()}}
	for i := range run.Snapshots {
		run.Snapshots[i].Identify()
	}
	return run
}

// exampleSamples has a score of every shape.
func exampleSamples() []record.Sample {
	var out []record.Sample
	for _, id := range []string{"one", "two <&>"} {
		for _, p := range []string{"a", "b"} {
			for repeat := range 2 {
				s := record.Sample{Case: id, Group: "g-" + id, Tags: []string{"t", "ü"}, Critical: id == "one", Vars: map[string]any{"q": id}, Repeat: repeat, Provider: p, Prompt: "p", Seed: 7,
					Output: "the answer of " + p, Verdict: verdict.Pass, Score: new(0.1 + 0.2), Latency: new(0.123456789), TTFT: new(0.01), Cost: new(1e-7),
					Usage: &record.Usage{Prompt: 3, Completion: 0, Total: 3}, Cached: repeat == 1,
					Scores: []record.Score{
						{Name: "contains", Type: "contains", Value: new(1.0), Pass: new(true), Measures: []record.Measure{{Metric: "contains", Value: 1, Kind: "rate"}}},
						{Name: "f1", Type: "f1", Value: new(0.1 + 0.2), Measures: []record.Measure{{Metric: "f1", Value: 0.1 + 0.2, Kind: "mean"}}, Weight: new(0.0)},
						{Name: "bleu", Type: "bleu", Value: new(0.5), Pass: new(false), Reason: "too low", Turn: 1, Measures: []record.Measure{{Metric: "bleu", Value: 0.5}, {Metric: "bleu.corpus", Value: 0, Stats: []float64{3, 4.5}, Kind: "corpus/bleu"}, {Metric: "r", Value: 2, Weight: 4, Kind: "ratio", Unit: "words"}}},
						{Name: "set", Type: "assert-set", Value: new(0.0), Pass: new(false), Reason: "no", Measures: []record.Measure{{Metric: "set", Value: 0}}, Scores: []record.Score{
							{Name: "judge", Type: "llm-rubric", Error: "the judge gave no valid verdict", Judge: &record.Judging{Calls: 3, Invalid: 3}},
							{Name: "plain", Type: "cel", Value: new(7.0)},
						}},
					}}
				if repeat == 1 && p == "b" {
					s.Output, s.Verdict, s.Error, s.Score, s.Usage, s.Latency, s.Scores = "", verdict.Error, "timeout (HTTP 408): too late", nil, nil, nil, nil
				}
				out = append(out, s)
			}
		}
	}
	return out
}

func each(list []record.Sample) iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		for _, s := range list {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func write(t testing.TB, dir, name string, run *record.Run, list []record.Sample, outputs bool) *Stored {
	t.Helper()
	s, err := Write(dir, name, Source{Run: run, Samples: each(list), Outputs: outputs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t testing.TB, s *Stored) []record.Sample {
	t.Helper()
	var out []record.Sample
	for sample, err := range s.Samples() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, sample)
	}
	return out
}

// thin is what a baseline keeps of a sample.
func thin(s record.Sample, outputs bool) record.Sample {
	s.Vars, s.Seed = nil, 0
	if s.Usage != nil {
		s.Usage = &record.Usage{Prompt: s.Usage.Prompt, Completion: s.Usage.Completion}
	}
	if !outputs {
		s.Output = ""
		if s.Error != "" {
			s.Error = "timeout"
		}
		s.Scores = bare(s.Scores)
	}
	return s
}

func bare(list []record.Score) []record.Score {
	var out []record.Score
	for _, s := range list {
		s.Reason = ""
		if s.Error != "" {
			s.Error = "error"
		}
		s.Scores = bare(s.Scores)
		out = append(out, s)
	}
	return out
}

func TestSamplesComeBack(t *testing.T) {
	for _, outputs := range []bool{false, true} {
		list := exampleSamples()
		s := write(t, t.TempDir(), "main", exampleRun(), list, outputs)
		got := read(t, s)
		if len(got) != len(list) {
			t.Fatalf("%d samples, want %d", len(got), len(list))
		}
		for i := range list {
			if want := thin(list[i], outputs); !reflect.DeepEqual(got[i], want) {
				g, _ := json.Marshal(got[i])
				w, _ := json.Marshal(want)
				t.Errorf("outputs %v, sample %d:\n got %s\nwant %s", outputs, i, g, w)
			}
		}
		for _, id := range []string{"one", "two <&>"} {
			if h, ok := s.Inputs(id); !ok || h != record.HashVars(map[string]any{"q": id}) {
				t.Errorf("the input of %q is %q, %v", id, h, ok)
			}
		}
		if _, ok := s.Inputs("three"); ok {
			t.Error("a case that is not there has an input")
		}
		if s.Outputs() != outputs || s.Contents().Samples != 8 || s.Contents().Cases != 2 {
			t.Errorf("contents %+v", s.Contents())
		}
		if run := s.Run(); run.Snapshots[0].Template != "<b>{{q}}</b>" || run.Snapshots[0].ID != exampleRun().Snapshots[0].ID || run.ByTag != nil || !run.Times.Started.IsZero() || run.Suite.Path != "shop.yaml" {
			t.Errorf("run %+v", run)
		}
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*", "objects/*", ".*"} {
		list, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if b, err := os.ReadFile(p); err == nil {
				rel, _ := filepath.Rel(dir, p)
				out[filepath.ToSlash(rel)] = string(b)
			}
		}
	}
	return out
}

func TestSameRunSameBytes(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	one := write(t, a, "main", exampleRun(), exampleSamples(), false)
	again := exampleRun() // another time of day
	two := write(t, b, "main", again, exampleSamples(), false)
	if one.ContentID() != two.ContentID() || !reflect.DeepEqual(files(t, a), files(t, b)) {
		t.Error("the same run gave other files")
	}
	changed := exampleSamples()
	changed[0].Output = "another answer"
	if write(t, b, "main", again, changed, false).ContentID() == one.ContentID() {
		t.Error("another output gave the same id")
	}
	again.Metrics["f1"] = record.Metric{Kind: "mean", Mean: new(0.26)}
	if write(t, b, "main", again, exampleSamples(), false).ContentID() == one.ContentID() {
		t.Error("another metric gave the same id")
	}
}

// What is replaced or removed goes, unless another baseline has the same samples.
func TestObjectsAreShared(t *testing.T) {
	dir := t.TempDir()
	objects := func(want int) {
		t.Helper()
		list, err := os.ReadDir(filepath.Join(dir, objectsDir))
		if err != nil || len(list) != want {
			t.Errorf("%d objects, %v; want %d", len(list), err, want)
		}
	}
	other := exampleSamples()[:4]
	write(t, dir, "a", exampleRun(), exampleSamples(), false)
	write(t, dir, "b", exampleRun(), exampleSamples(), false)
	objects(1)
	write(t, dir, "b", exampleRun(), other, false)
	objects(2)
	write(t, dir, "b", exampleRun(), exampleSamples(), false)
	objects(1)
	if err := Remove(dir, "a"); err != nil {
		t.Fatal(err)
	}
	objects(1)
	if _, err := Open(dir, "b"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir, "b"); err != nil {
		t.Fatal(err)
	}
	objects(0)
	if err := Remove(dir, "b"); err == nil {
		t.Error("a baseline was removed twice")
	}
}

// mistake checks that an error is the user's to mend and says where.
func mistake(t *testing.T, err error, parts ...string) {
	t.Helper()
	if _, ok := errors.AsType[*config.Error](err); !ok {
		t.Errorf("%v is no *config.Error", err)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	dir := t.TempDir()
	s := write(t, dir, "main", exampleRun(), exampleSamples(), true)
	object, name := objectPath(dir, s.contents.Object), filepath.Join(dir, "main.json")
	goodObject, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	goodName, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(goodObject, []byte("\n"))
	f := func(path string, data []byte, parts ...string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(object, goodObject, 0o600), os.WriteFile(name, goodName, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, "main"); err != nil {
			t.Fatalf("the good files: %v", err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, "main")
		mistake(t, err, append(parts, path)...)
	}
	swap := func(data []byte, from, to string) []byte {
		t.Helper()
		if !bytes.Contains(data, []byte(from)) {
			t.Fatalf("%s does not hold %q", data, from)
		}
		return bytes.Replace(data, []byte(from), []byte(to), 1)
	}
	f(object, swap(goodObject, `"verdict":"pass"`, `"verdict":"fail"`), ":3:", "changed")
	f(object, swap(goodObject, `"critical":true`, `"critical":null`), ":3:", "changed")
	f(object, goodObject[:len(goodObject)-1], ":10:", "cut off")
	f(object, goodObject[:len(goodObject)/2], "cut off")
	f(object, bytes.Join(lines[:4], nil), ":5:", "ends after line 4")
	f(object, nil, ":1:", "cut off")
	f(object, append(bytes.Clone(goodObject), lines[len(lines)-2]...), ":11:", "goes on")
	f(object, bytes.ReplaceAll(goodObject, []byte("\n"), []byte("\r\n")), ":1:", "checksum")
	f(object, append([]byte("x"), goodObject...), ":1:")
	// Lines in another order, a line left out and one put in, each with a good checksum.
	f(object, bytes.Join([][]byte{lines[0], lines[1], lines[3], lines[2]}, nil), ":3:", "no hash")
	short := bytes.Join(append(append([][]byte{}, lines[:len(lines)-2]...), lines[len(lines)-3]), nil)
	f(object, short, "SHA-256")
	f(object, append(bytes.Clone(goodObject), summed([]byte(`{"case":"x","vars":"0123456789abcdef","verdict":"pass"}`))...), ":11:", "goes on")

	f(name, swap(goodName, `"mean": 0.25`, `"mean": 0.26`), "changed after it was written")
	f(name, swap(goodName, s.contents.Object[:8], "00000000"), "changed after it was written")
	f(name, swap(goodName, `"cases": 2`, `"cases": 3`), "2 cases")
	f(name, swap(goodName, Format, "telltale-baseline/9"), "format")
	f(name, swap(goodName, `"samples": {`, `"sample": {`), "unknown field")
	f(name, goodName[:len(goodName)/2], "not a baseline")
	f(name, append([]byte("<<<<<<< HEAD\n"), goodName...), ":1:", "merge")
	f(name, append(bytes.Clone(goodName), '{'), "follows")
	f(name, nil, "not a baseline")
	f(name, []byte("null"), "format")
	// White space does not count.
	var compact bytes.Buffer
	if err := json.Compact(&compact, goodName); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(object, goodObject, 0o600), os.WriteFile(name, compact.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "main"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(object); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, "main")
	mistake(t, err, object, "not there")
	list, err := List(dir)
	if err != nil || len(list) != 1 || list[0].Err == nil {
		t.Errorf("list %+v, %v", list, err)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	f := func(name string, ok bool) {
		t.Helper()
		_, err := Write(dir, name, Source{Run: exampleRun(), Samples: each(exampleSamples())})
		if (err == nil) != ok {
			t.Errorf("Write %q: %v", name, err)
		}
		if !ok {
			mistake(t, err)
			_, err = Open(dir, name)
			mistake(t, err)
			mistake(t, Remove(dir, name))
		}
	}
	f("main", true)
	f("v1.2_rc-3", true)
	f("", false)
	f("../x", false)
	f("a/b", false)
	f("run", false)
	f(".hidden", false)
	f("-x", false)
	f("ü", false)
	f(strings.Repeat("x", 101), false)
	_, err := Open(dir, "mian")
	mistake(t, err, `did you mean "main"?`, "v1.2_rc-3")
	_, err = Open(filepath.Join(dir, "nowhere"), "main")
	mistake(t, err, "baseline set")
	got, err := Names(dir)
	if err != nil || !reflect.DeepEqual(got, []string{"main", "v1.2_rc-3"}) {
		t.Errorf("names %q, %v", got, err)
	}
}

// Nothing is left of an attempt that fails, and what was there still stands.
func TestFailedWriteChangesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "main", exampleRun(), exampleSamples(), false)
	before := files(t, dir)
	f := func(name string, samples iter.Seq2[record.Sample, error], want string) {
		t.Helper()
		_, err := Write(dir, name, Source{Run: exampleRun(), Samples: samples})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if after := files(t, dir); !reflect.DeepEqual(before, after) {
			t.Errorf("files changed: %v", after)
		}
	}
	for _, name := range []string{"main", "new"} {
		f(name, each(nil), "no samples")
		f(name, func(yield func(record.Sample, error) bool) {
			_ = yield(exampleSamples()[0], nil) && yield(record.Sample{}, errors.New("the disk is gone"))
		}, "disk is gone")
		stranger := exampleSamples()
		stranger[3].Provider = "c"
		f(name, each(stranger), "no snapshot")
		apart := exampleSamples()
		f(name, each(append(apart, apart[0])), "not together")
	}
}

func TestLitterIsRemoved(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "main", exampleRun(), exampleSamples(), false)
	old, young := filepath.Join(dir, objectsDir, ".part-1"), filepath.Join(dir, ".part-2")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "other", exampleRun(), exampleSamples(), false)
	for _, p := range []string{old, young} {
		if _, err := os.Stat(p); err == nil {
			t.Errorf("%s was left", p)
		}
	}
}

// A folder that is checked out on Windows or macOS must hold every baseline.
func TestNamesForEverySystem(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "main", exampleRun(), exampleSamples(), false)
	f := func(name, want string) {
		t.Helper()
		_, err := Write(dir, name, Source{Run: exampleRun(), Samples: each(exampleSamples())})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	f("main", "")
	f("Main", `there is a baseline "main"`)
	f("con", "Windows")
	f("LPT1.old", "Windows")
	f("console", "")
}

func TestChanges(t *testing.T) {
	dir := t.TempDir()
	from := write(t, dir, "main", exampleRun(), exampleSamples(), false)
	before, err := Remember(from)
	if err != nil {
		t.Fatal(err)
	}
	run := exampleRun()
	run.Snapshots[0].Template, run.Snapshots[0].Params = "{{q}}!", map[string]any{"temperature": 0.7}
	run.Snapshots[0].Identify()
	run.Snapshots[1].Provider = "c"
	run.Scorers = map[string]string{"f1": "f1/2"}
	run.Metrics = map[string]record.Metric{"f1": {Kind: "mean", Mean: new(0.5)}}
	run.Dataset = record.DatasetRef{Hash: "d2", Rows: 3, Cases: 2}
	list := exampleSamples()
	for i := range list {
		if list[i].Provider == "b" {
			list[i].Provider = "c"
		}
		if list[i].Case != "one" {
			list[i].Case = "three"
		} else {
			list[i].Vars = map[string]any{"q": "one"}
		}
	}
	list[0].Verdict, list[1].Output = verdict.Fail, "other"
	c, err := before.To(write(t, dir, "main", run, list, false))
	if err != nil {
		t.Fatal(err)
	}
	want := &Changes{FromRun: run.ID, ToRun: run.ID,
		Snapshots: []string{`"a · p" changed: prompt template, temperature`, `"c · p" is new`, `"b · p" is gone`},
		Recipes:   []string{"f1 is made by another recipe: f1/2, was f1/1"}, Dataset: []string{"3 rows, 2 cases; before 2 rows, 2 cases"},
		Metrics:    []MetricChange{{Name: "f1", Kind: "mean", From: new(0.25), To: new(0.5)}},
		CasesAdded: 1, CasesRemoved: 1, Samples: 2, Outputs: 1, PassToFail: 1,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// A case whose input changed is no evidence of anything else.
func TestChangedInputs(t *testing.T) {
	dir := t.TempDir()
	before, err := Remember(write(t, dir, "main", exampleRun(), exampleSamples(), false))
	if err != nil {
		t.Fatal(err)
	}
	list := exampleSamples()
	for i := range list[:4] {
		list[i].Vars, list[i].Output, list[i].Verdict = map[string]any{"q": "changed"}, "other", verdict.Fail
	}
	c, err := before.To(write(t, dir, "main", exampleRun(), list, false))
	if err != nil || c.InputsChanged != 1 || c.Samples != 4 || c.Outputs != 0 || c.PassToFail != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// A line costs little more than its numbers.
func TestSize(t *testing.T) {
	var list []record.Sample
	for i := range 1319 {
		list = append(list, record.Sample{Case: fmt.Sprintf("%016x", i), Vars: map[string]any{"question": i}, Provider: "a", Prompt: "p", Output: fmt.Sprint(i), Verdict: verdict.Pass, Score: new(1.0),
			Latency: new(0.8123456), Cost: new(0.00012345), Usage: &record.Usage{Prompt: 120, Completion: 90}, Scores: []record.Score{
				{Name: "gsm8k", Type: "numeric-answer", Value: new(1.0), Pass: new(true), Measures: []record.Measure{{Metric: "gsm8k", Value: 1, Kind: "rate"}}},
				{Name: "words", Type: "word-count", Value: new(88.0), Measures: []record.Measure{{Metric: "words", Value: 88, Unit: "words"}}}}})
	}
	c := write(t, t.TempDir(), "main", exampleRun(), list, false).Contents()
	if per := c.Bytes / 1319; per > 260 {
		t.Errorf("%d bytes for a sample, %d in all", per, c.Bytes)
	}
}

func FuzzManifest(f *testing.F) {
	dir := f.TempDir()
	write(f, dir, "main", exampleRun(), exampleSamples(), false)
	good, err := os.ReadFile(filepath.Join(dir, "main.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":"telltale-baseline/1","id":"","samples":{},"run":null}`))
	f.Add([]byte("<<<<<<<"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, run, err := parseManifest("x.json", data)
		if err != nil {
			mistake(t, err, "x.json")
			return
		}
		// What is taken is as it was written.
		id, err := contentID(m.Samples.Object, m.Run)
		if run == nil || err != nil || id != m.ID {
			t.Errorf("taken: %s", data)
		}
	})
}

func FuzzObject(f *testing.F) {
	dir := f.TempDir()
	s := write(f, dir, "main", exampleRun(), exampleSamples(), true)
	good, err := os.ReadFile(objectPath(dir, s.contents.Object))
	if err != nil {
		f.Fatal(err)
	}
	for line := range bytes.Lines(good) {
		body, err := unsum(line[:len(line)-1])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body))
	}
	f.Add(`{"case":"a","vars":"0123456789abcdef","verdict":"pass","form":0,"scores":[null]}`)
	f.Add(`{"case":"a","vars":"0123456789abcdef","verdict":"pass","form":0,"scores":[{"measures":[[1]]}]}`)
	f.Add(`{"form":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c := codec{header: header{Snapshots: []cell{{"a", "p"}, {"b", "p"}}}, outputs: true}
		c.defined = [][]form{{{Name: "n", Type: "t", Measures: []measureForm{{Metric: "n"}}}}}
		d, isSample, err := c.read([]byte(text))
		if err != nil || !isSample {
			return
		}
		// A sample that was read can be written and read again, and is the same.
		again := codec{header: c.header, outputs: true}
		d.sample.Vars = map[string]any{}
		lines, err := again.write(&d.sample)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		back := codec{header: c.header}
		for _, line := range lines {
			body, err := unsum(bytes.TrimSuffix(summed(line), []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			got, ok, err := back.read(body)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if ok && (got.sample.Case != d.sample.Case || got.sample.Verdict != d.sample.Verdict || len(got.sample.Scores) != len(d.sample.Scores)) {
				t.Errorf("%q came back as %q", text, line)
			}
		}
	})
}
