package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestGate(t *testing.T) {
	l, err := load(t, base+`
tests: [{vars: {x: 1}}]
gate:
  baseline: "${BASE:-main}"
  alpha: 0.01
  power: 0.9
  correction: bonferroni
  on_undecided: extend
  max_samples: 12
  interval: exact
  critical: [case-1, "tag=safety"]
  judges: {audit: audit.json, agreement: 0.6}
  pass_rate: ">= 0.95"
  accuracy: {margin: 0.02}
  latency: [{margin: 200ms}, "p95 <= 2s"]
  "accuracy[tag=math]": {margin: 5%, bound: ">= 0.9"}
  cost: {margin: 10%, relative: true}
  words: {margin: 3, better: lower}
  assert.power: {margin: $0.01}
  "assert.alpha[tag=x]": ">= 1"
`, nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	r := l.Regression
	if r.Baseline != "main" || r.BaselinePos.Line != 6 || r.Alpha != 0.01 || r.Power != 0.9 || r.Correction != "bonferroni" || r.OnUndecided != "extend" || r.MaxSamples != 12 || !r.Exact {
		t.Errorf("%+v", r)
	}
	if len(r.Critical) != 2 || r.Critical[0].Name != "case-1" || r.Critical[1].Name != "tag=safety" || r.Critical[0].Pos.Line != 13 {
		t.Errorf("critical %+v", r.Critical)
	}
	if j := r.Judges; j == nil || len(j.Files) != 1 || j.Files[0].Name != "audit.json" || j.ByName || j.Agreement != 0.6 || j.Coefficient != "kappa" {
		t.Errorf("judges %+v", j)
	}
	for i := range r.Margins {
		if r.Margins[i].Pos.Line != 16+i && i < 4 {
			t.Errorf("margin %d at %v", i, r.Margins[i].Pos)
		}
		r.Margins[i].Pos = Pos{}
	}
	want := []Margin{
		{Metric: "accuracy", Margin: 0.02, Text: "0.02"},
		{Metric: "latency", Margin: 0.2, Unit: "s", Text: "200ms"},
		{Metric: "accuracy[tag=math]", Margin: 0.05, Unit: "%", Text: "5%"},
		{Metric: "cost", Margin: 0.1, Unit: "%", Relative: true, Text: "10%"},
		{Metric: "words", Margin: 3, Better: "lower", Text: "3"},
		{Metric: "power", Margin: 0.01, Unit: "usd", Text: "$0.01"},
	}
	if !reflect.DeepEqual(r.Margins, want) {
		t.Errorf("margins\n got %+v\nwant %+v", r.Margins, want)
	}
	var checks []string
	for _, c := range l.Gate {
		checks = append(checks, c.Metric+" "+c.Expr)
	}
	if got := strings.Join(checks, "; "); got != "pass_rate >= 0.95; latency p95 <= 2s; accuracy[tag=math] >= 0.9; alpha[tag=x] >= 1" {
		t.Errorf("checks %s", got)
	}
}

func TestGateMistakes(t *testing.T) {
	f := func(gate string, line string, want string) {
		t.Helper()
		_, err := load(t, base+"tests: [{vars: {x: 1}}]\n"+gate, nil, nil, false)
		if err == nil {
			t.Errorf("%s\nwas taken", gate)
			return
		}
		if !strings.HasPrefix(err.Error(), "suite.yaml:"+line) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\ndoes not begin with line %s and say %q", gate, err, line, want)
		}
		if list, many := errors.AsType[Errors](err); many && len(list) != 1 || strings.Count(err.Error(), "suite.yaml:") != 1 {
			t.Errorf("%s\nmore than one mistake: %v", gate, err)
		}
	}
	f("gate: {alpha: 0}", "4:15: gate.alpha", "out of range; want a number above 0")
	f("gate: {alpha: 5%}", "4:15: gate.alpha", "not a number")
	f("gate: {alpha: .nan}", "4:15: gate.alpha", "not a number")
	f("gate: {alpha: 0.6}", "4:15: gate.alpha", "at most 0.5")
	f("gate: {power: 1}", "4:15: gate.power", "below 1")
	f("gate: {power: 80}", "4:15: gate.power", "such as 0.8")
	f("gate: {correction: fdr}", "4:20: gate.correction", "want holm, bonferroni, none")
	f("gate: {interval: jeffreys}", "4:18: gate.interval", "want wilson, exact")
	f("gate: {interval: {margin: 0.1}}", "4:18: gate.interval", "not a string")
	f("gate: {interval: \">= 0.5\"}", "4:18: gate.interval", "want wilson, exact")
	f("gate: {on_undecided: pass}", "4:22: gate.on_undecided", "want fail, warn, extend")
	f("gate: {on_undecided: [fail]}", "4:22: gate.on_undecided", "not a text")
	f("gate: {max_samples: 4}", "4:21: gate.max_samples", "on_undecided: extend beside it")
	f("gate: {on_undecided: extend, max_samples: 1}", "4:43: gate.max_samples", "from 2")
	f("gate: {on_undecided: extend, max_samples: many}", "4:43: gate.max_samples", "not a whole number")
	f("gate: {baseline: {a: 1}}", "4:18: gate.baseline", "not a text")
	f("gate: {critical: {a: 1}}", "4:18: gate.critical", "a case's id, or tag=NAME")
	f("gate: {critical: [a, \"tag=\"]}", "4:22: gate.critical", "a case's id, or tag=NAME")
	f("gate: {judges: audit.json}", "4:16: gate.judges", "keys audit, agreement, coefficient")
	f("gate: {judges: {agreement: 0.6}}", "4:16: gate.judges", "no audit")
	f("gate: {judges: {audit: a.json}}", "4:16: gate.judges.agreement", "no agreement")
	f("gate: {judges: {audit: a.json, agreement: 60}}", "4:43: gate.judges.agreement", "between 0 and 1")
	f("gate: {judges: {audit: a.json, agreement: 0.6, coefficient: rho}}", "4:61: gate.judges.coefficient", "kappa, ac1, alpha, accuracy, weighted_kappa, ac2, ordinal_alpha")
	f("gate: {judges: {audit: a.json, agreement: 0.6, known_by: label}}", "4:58: gate.judges.known_by", "signature, name")
	f("gate: {judges: {audit: [a.json, {b: 1}], agreement: 0.6}}", "4:33: gate.judges.audit", "a file's path")
	f("gate: {x: {}}", "4:11: gate.x", "no margin")
	f("gate: {x: {margin: }}", "4:11: gate.x", "no margin")
	f("gate: {x: {margin: -0.1}}", "4:20: gate.x.margin", "below 0; want 0 or more")
	f("gate: {x: {margin: 2 percent}}", "4:20: gate.x.margin", "not an amount")
	f("gate: {x: {margin: .inf}}", "4:20: gate.x.margin", "not an amount")
	f("gate: {x: {margin: 1, worse: 2}}", "4:23: gate.x.worse", "unknown key")
	f("gate: {x: {margin: 1, better: up}}", "4:31: gate.x.better", "higher, lower")
	f("gate: {x: {margin: 200ms, relative: true}}", "4:20: gate.x.margin", "a share such as 5%")
	f("gate: {x: {margin: 5, relative: true}}", "4:20: gate.x.margin", "write 5%")
	f("gate: {x: {margin: 1, relative: maybe}}", "4:33: gate.x.relative", "true or false")
	f("gate: {x: {margin: 1, margin: 2}}", "4:23: gate.x.margin", "duplicate key")
	f("gate: {x: {margin: 0x1p-2}}", "4:20: gate.x.margin", "not an amount")
	f("gate: {x: {margin: 1_0%}}", "4:20: gate.x.margin", "not an amount")
	f("gate: {x: []}", "4:11: gate.x", "nothing is asked of x")
	f("gate: {alhpa: 0.05}", "4:8: gate.alhpa", "did you mean \"alpha\"")
	f("gate: {corection: holm}", "4:8: gate.corection", "did you mean \"correction\"")
	f("gate: {on_undecied: warn}", "4:8: gate.on_undecied", "did you mean \"on_undecided\"")
	f("gate: {x: [[\">= 1\"]]}", "4:12: gate.x", "a list of these")
}

func TestGivenMargin(t *testing.T) {
	p := Pos{Key: "--gate"}
	f := func(text string, want Margin) {
		t.Helper()
		want.Pos, want.Metric = p, "m"
		m, err := GivenMargin(p, "m", text)
		if err != nil || m != want {
			t.Errorf("%q: %+v, %v; want %+v", text, m, err, want)
		}
	}
	f("0.02", Margin{Margin: 0.02, Text: "0.02"})
	f("5% relative better lower", Margin{Margin: 0.05, Unit: "%", Relative: true, Better: "lower", Text: "5%"})
	bad := func(text, want string) {
		t.Helper()
		if _, err := GivenMargin(p, "m", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	bad("", "not an amount")
	bad("0.02 better", "not part of a margin")
	bad("0.02 relative relative", "not part of a margin")
	bad("2 relative", "write 2%")
}

// What a suite asks of a baseline is part of what it is; where it is written is not.
func TestGateInHash(t *testing.T) {
	hash := func(gate string) string {
		t.Helper()
		l, err := load(t, base+"tests: [{vars: {x: 1}}]\n"+gate, nil, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return l.Hash
	}
	one := hash("gate: {x: {margin: 0.02}}")
	if one != hash("gate:\n  x: [{margin: 0.02}]") {
		t.Error("the hash depends on the way it is written")
	}
	for _, other := range []string{"", "gate: {x: {margin: 0.03}}", "gate: {x: {margin: 0.02}, alpha: 0.1}", "gate: {x: {margin: 0.02}, critical: a}"} {
		if hash(other) == one {
			t.Errorf("%q has the same hash", other)
		}
	}
}
