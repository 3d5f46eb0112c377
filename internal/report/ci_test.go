package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// gated is a run whose gate has these checks.
func gated(checks ...verdict.Decision) *record.Run {
	run := &record.Run{Suite: record.SuiteRef{Path: "suites/a.yaml"}}
	run.Gate = record.Gate{Decision: verdict.Combine(checks), Checks: checks}
	return run
}

// onLine is a suite whose checks all stand on line 7.
func onLine(verdict.Decision) Place { return Place{File: "suites/a.yaml", Line: 7, Column: 3} }

func TestAnnotations(t *testing.T) {
	f := func(want string, checks ...verdict.Decision) {
		t.Helper()
		var b strings.Builder
		if err := Annotations(&b, gated(checks...), onLine); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("got\n%s\nwant\n%s", b.String(), want)
		}
	}
	pass := verdict.Decision{Verdict: verdict.Pass, Metric: "score", Reason: "fine"}
	f("", pass)
	f("::error file=suites/a.yaml,line=7,col=3,title=telltale%3A fail%3A pass_rate::90%25 is below 95%25\n",
		pass, verdict.Decision{Verdict: verdict.Fail, Metric: "pass_rate", Reason: "90% is below 95%"})
	f("::warning file=suites/a.yaml,line=7,col=3,title=telltale%3A undecided%3A a%2Cb%3Ac::not↵::error::enough\n",
		verdict.Decision{Metric: "a,b:c", Reason: "not\n::error::enough"})
	f("::warning file=suites/a.yaml,line=7,col=3,title=telltale%3A undecided%3A verdict::nothing was decided\n")
	f("::error file=suites/a.yaml,line=7,col=3,title=telltale%3A error%3A x · model a::no answer\n",
		verdict.Decision{Verdict: verdict.Error, Metric: "x", Snapshot: "model a", Reason: "no answer"})
}

func TestAnnotationsAreBounded(t *testing.T) {
	var checks []verdict.Decision
	for i := range 30 {
		checks = append(checks, verdict.Decision{Verdict: verdict.Fail, Metric: fmt.Sprint("m", i), Reason: "bad"}, verdict.Decision{Metric: fmt.Sprint("u", i), Reason: "who knows"})
	}
	var b strings.Builder
	if err := Annotations(&b, gated(checks...), onLine); err != nil {
		t.Fatal(err)
	}
	if e, w := strings.Count(b.String(), "::error "), strings.Count(b.String(), "::warning "); e != 10 || w != 10 {
		t.Errorf("%d errors and %d warnings, want 10 of each", e, w)
	}
	for _, level := range []string{"error", "warning"} {
		if want := "::" + level + " file=suites/a.yaml,title=telltale::21 more; GitHub shows 10 of a kind\n"; !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestCodeQuality(t *testing.T) {
	write := func(run *record.Run) []issue {
		t.Helper()
		var b strings.Builder
		if err := CodeQuality(&b, run, onLine); err != nil {
			t.Fatal(err)
		}
		var out []issue
		if err := json.Unmarshal([]byte(b.String()), &out); err != nil {
			t.Fatalf("%v in %s", err, b.String())
		}
		return out
	}
	fail := verdict.Decision{Verdict: verdict.Fail, Metric: "pass_rate", Want: ">= 0.95", Reason: "0.90"}
	got := write(gated(verdict.Decision{Verdict: verdict.Pass, Metric: "score"}, fail, verdict.Decision{Metric: "bleu", Reason: "too few"}))
	if len(got) != 2 || got[0].Severity != "blocker" || got[1].Severity != "major" || got[0].Location.Lines.Begin != 7 || got[0].Location.Path != "suites/a.yaml" {
		t.Fatalf("%+v", got)
	}
	fail.Reason = "0.91"
	if again := write(gated(fail)); again[0].Fingerprint != got[0].Fingerprint || again[0].Fingerprint == got[1].Fingerprint {
		t.Error("a fingerprint goes by the check, not by its number")
	}
	if twice := write(gated(fail, fail)); twice[0].Fingerprint != got[0].Fingerprint || twice[1].Fingerprint == twice[0].Fingerprint {
		t.Error("GitLab shows one issue of those with the same fingerprint")
	}
	if none := write(gated(verdict.Decision{Verdict: verdict.Pass})); none == nil || len(none) != 0 {
		t.Errorf("%+v, want an empty list", none)
	}
}

func TestCommentFits(t *testing.T) {
	src := small().source()
	write := func(src Source) string {
		t.Helper()
		var b strings.Builder
		if err := Comment(&b, src); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	body := write(src)
	if !strings.HasPrefix(body, CommentMark(src.Run)+"\n## ") {
		t.Errorf("begins with %q", body[:min(len(body), 120)])
	}
	large := *src.Run
	large.Metrics = map[string]record.Metric{}
	for i := range 5000 {
		mean := 0.5
		large.Metrics[fmt.Sprintf("metric-%d-%s", i, strings.Repeat("x", 100))] = record.Metric{Kind: "mean", Mean: &mean, N: 1}
	}
	large.BySnapshot = map[string]map[string]record.Metric{}
	for i := range 20 {
		id := fmt.Sprint("s", i)
		large.Snapshots = append(large.Snapshots, record.Snapshot{ID: id})
		large.BySnapshot[id] = large.Metrics
	}
	src.Run = &large
	f := func() {
		t.Helper()
		if body := write(src); len(body) > 65_536 || !strings.Contains(body, "too long for a comment") || !strings.Contains(body, "## ") {
			t.Errorf("%d bytes", len(body))
		}
	}
	f()
	for range 20 {
		large.Warnings = append(large.Warnings, strings.Repeat("|", 1000))
	}
	f()
}
