package report

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// scene is a run whose reports are kept as golden files.
type scene struct {
	name string
	src  Source
	opts TerminalOptions
}

func small() demo {
	d := newDemo()
	d.cases, d.errorShare, d.undecidedShare = 16, 0.1, 0.08
	return d
}

func passedCase() scene {
	d := small()
	d.passShare, d.errorShare, d.undecidedShare = 1, 0, 0
	return scene{"passed", d.source(), TerminalOptions{Width: 100, Color: true, Dir: "out"}}
}

func failedCase() scene {
	return scene{"failed", small().source(), TerminalOptions{Width: 100, Dir: "out"}}
}

func snapshotsCase() scene {
	d := small()
	d.providers, d.repeats, d.cases, d.caseMajor, d.byTag, d.expects = []string{"openai:chat:gpt-4.1-mini", "sim"}, 2, 6, true, true, true
	return scene{"snapshots", d.source(), TerminalOptions{Width: 70, ASCII: true, Failures: 3}}
}

// undecidedCase stopped early on its budget.
func undecidedCase() scene {
	d := small()
	src := d.source()
	run := src.Run
	run.Summary.Planned = 200
	run.Summary.Stopped = "the budget of $0.005 is spent"
	run.Summary.Unpriced = 3
	for i := range run.Gate.Checks {
		run.Gate.Checks[i].Verdict = verdict.Undecided
		run.Gate.Checks[i].Reason = "16 of 200 samples: the interval 45.10–88.00% holds the threshold"
	}
	run.Gate.Decision = verdict.Decision{Verdict: verdict.Undecided, Reason: "the run stopped before every sample was finished"}
	return scene{"undecided", src, TerminalOptions{Width: 100, Dir: "out"}}
}

// errorsCase has no answer at all.
func errorsCase() scene {
	d := small()
	d.errorShare = 1
	src := Source{Samples: d.samples, Run: &record.Run{ID: "e", Telltale: "0.1.0", Suite: record.SuiteRef{Path: "t.yaml"}, Repeats: 1,
		Metrics: map[string]record.Metric{record.MetricPassRate: {Kind: "rate", Missing: 16}},
		Summary: record.Summary{Planned: 16, Finished: 16, Errored: 16, Unpriced: 16, Errors: map[string]int{"timeout": 6, "server (HTTP 503)": 10}}}}
	src.Run.Gate = record.Gate{Decision: verdict.Decision{Verdict: verdict.Error, Metric: record.MetricPassRate, Want: ">= 0.9", Reason: "no sample could be judged"},
		Checks: []verdict.Decision{{Verdict: verdict.Error, Metric: record.MetricPassRate, Want: ">= 0.9", Reason: "no sample could be judged"}}}
	return scene{"errors", src, TerminalOptions{Width: 100}}
}

// emptyCase has nothing: no sample, no metric, no gate.
func emptyCase() scene {
	return scene{"empty", Source{Run: &record.Run{}, Samples: list()}, TerminalOptions{}}
}

// hostile is what a model or a data set might say to harm a reader of the reports.
const hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028\u2029 | ``` **b** [l](javascript:x) @user #1 $x$ www.evil.example ]]> &amp; " +
	"\x1b[31mred\x1b]0;title\a \x00\x01 \u202Egnp.exe \xff\n::error::forged\n##[error]forged ##vso[task.setvariable variable=a]b\n:: set-output name=a::b"

func hostileCase() scene {
	s := record.Sample{Case: hostile, Provider: "<b>p</b>", Prompt: "a|b", Verdict: verdict.Fail, Critical: true, Tags: []string{hostile}, Output: hostile,
		Refusal: hostile, Model: hostile, FinishReason: hostile, Vars: map[string]any{hostile: hostile}, Input: []record.Message{{Role: "user", Content: hostile}},
		Scores: []record.Score{{Name: hostile, Type: hostile, Value: new(0.0), Pass: new(false), Reason: "::warning::" + hostile, Detail: map[string]any{"x": hostile}}}}
	e := s
	e.Verdict, e.Error, e.Scores = verdict.Error, hostile, nil
	run := &record.Run{ID: hostile, Telltale: hostile, Suite: record.SuiteRef{Path: hostile, Description: hostile, Hash: hostile}, Repeats: 1,
		Snapshots: []record.Snapshot{{ID: hostile, Provider: hostile, Prompt: hostile, Template: hostile, Params: map[string]any{"k": hostile}, Fingerprints: []string{hostile}}},
		Scorers:   map[string]string{hostile: hostile}, Warnings: []string{hostile},
		Metrics: map[string]record.Metric{hostile: {Kind: "mean", Mean: new(1.5), N: 1, Unit: hostile, Signature: hostile}},
		Summary: record.Summary{Planned: 2, Finished: 2, Failed: 1, Errored: 1, Stopped: hostile, Errors: map[string]int{hostile: 1}, CriticalFailed: []string{hostile}, CriticalUnproved: 2}}
	run.Flaky = &record.Flakiness{Flaky: 1, Quarantine: []record.Quarantine{{Case: hostile + "!", Hold: record.Hold{Until: hostile, Reason: hostile}, Cases: 1, Failed: 1}},
		Cases: []record.CaseHealth{{Case: hostile, Snapshot: hostile, Repeats: record.Repeats{Passed: 1, Failed: 1}, Rate: new(0.5), State: record.HealthFlaky}}}
	curve := exampleCurve()
	curve.Metric, curve.Source, curve.Binning, curve.Snapshot = hostile, hostile, hostile, hostile
	run.Calibration = []record.CalibrationCurve{curve}
	d := verdict.Decision{Verdict: verdict.Fail, Metric: hostile, Value: new(1.5), Want: hostile, Reason: "::error::" + hostile}
	run.Gate = record.Gate{Decision: d, Checks: []verdict.Decision{d}}
	return scene{"hostile", Source{Run: run, Samples: list(s, e)}, TerminalOptions{Width: 100, Dir: hostile}}
}

func scenes() []scene {
	return []scene{passedCase(), failedCase(), snapshotsCase(), undecidedCase(), errorsCase(), emptyCase(), hostileCase(), quarantineCase()}
}

// formats writes each format of a scene.
var formats = map[string]func(io.Writer, scene) error{
	"run.json":     func(w io.Writer, s scene) error { return JSON(w, s.src.Run) },
	"junit.xml":    func(w io.Writer, s scene) error { return JUnit(w, s.src) },
	"report.md":    func(w io.Writer, s scene) error { return Markdown(w, s.src) },
	"report.html":  func(w io.Writer, s scene) error { return HTML(w, s.src) },
	"terminal.txt": func(w io.Writer, s scene) error { return Terminal(w, s.src, s.opts) },
}

func render(t *testing.T, format string, s scene) string {
	t.Helper()
	var b bytes.Buffer
	if err := formats[format](&b, s); err != nil {
		t.Fatalf("%s of %s: %v", format, s.name, err)
	}
	return b.String()
}

// TestGolden compares every format of every scene with testdata. The page's style sheet and
// script are files of their own; they and their hashes are left out of its golden files, and its data
// stand there unpacked.
func TestGolden(t *testing.T) {
	for _, s := range scenes() {
		for format := range formats {
			if format == HTMLFile && (s.name == "passed" || s.name == "undecided") {
				continue // large, and like the others; what is special about them has tests of its own
			}
			got := render(t, format, s)
			if again := render(t, format, s); again != got {
				t.Errorf("%s of %s: two times the same input gave different bytes", format, s.name)
			}
			got = strings.NewReplacer(pageStyle, "STYLE", pageScript, "SCRIPT", htmlHash(pageStyle), "HASH", htmlHash(pageScript), "HASH").Replace(got)
			got = dataBlock.ReplaceAllStringFunc(got, func(s string) string {
				m := dataBlock.FindStringSubmatch(s)
				return m[1] + "\n" + unpacked(t, m[2])
			})
			golden(t, s.name+"."+format, []byte(got))
		}
	}
}

// golden compares what is written now with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what is written now; look, then run with -update\n%s", path, firstDifference(string(want), string(got)))
	}
}

// dataBlock is a block of samples in the page.
var dataBlock = regexp.MustCompile(`(<script type="text/plain" class="(?:index|texts)" data-rows="\d+">)([A-Za-z0-9+/=]+)`)

// unpacked returns the lines of a block.
func unpacked(t *testing.T, packed string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "want: " + a[i] + "\ngot:  " + b[i]
		}
	}
	return "one is longer than the other"
}

// htmlHash is a source hash as it stands in an attribute.
func htmlHash(text string) string {
	return strings.NewReplacer("'", "&#39;", "+", "&#43;").Replace(sourceHash(text))
}
