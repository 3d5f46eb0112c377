package report

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// example is a comparison with everything that can be said of one.
func exampleComparison() *record.Comparison {
	num := func(x float64) *float64 { return &x }
	whole := func(n int) *int { return &n }
	return &record.Comparison{
		Base:  record.RunRef{Name: "main", Baseline: "8c1d2e3f4a5b6c7d", Repeats: 1},
		Head:  record.RunRef{Name: "runs/branch", Repeats: 2},
		Pairs: []record.SnapshotPair{{Base: "gpt · short", Head: "gpt · long"}, {Base: "local · short", Head: "local · short"}},
		Pairing: record.Pairing{Paired: 1200, OnlyBase: 7, OnlyBaseIDs: []string{"a", "b", "c", "d", "e", "f", "g"}, Changed: 1,
			ChangedIDs: []string{"evil\n::error::\x1b[31m"}, Excluded: 2},
		Alpha: 0.05, Level: 0.9, Correction: "holm", SliceCorrection: "bh",
		Metrics: []record.Difference{
			{Metric: "pass_rate", Kind: "rate", Better: "higher", Base: num(0.9), Head: num(0.85), Diff: num(-0.05), Stderr: num(0.01), Unpaired: num(0.013), Low: num(-0.07), High: num(-0.03),
				Bound: num(-0.07), P: num(0.00001), PWorse: num(0.000005), Adjusted: num(0.00002), Test: "McNemar mid-p", Interval: "Tango score", Pairs: 1200, Clusters: 1200, Worse: whole(80), Improved: whole(20)},
			{Metric: "a.metric.with.a.very.long.name.that.has.to.be.clipped", Kind: "mean", Better: "higher", Base: num(0.5), Head: num(0.75), Diff: num(0.25), Low: num(0.00001234), High: num(0.5),
				P: num(0.04), PWorse: num(0.98), Adjusted: num(1), Test: "sign-flip permutation", Interval: "tilted score", Pairs: 1100, Clusters: 40, Missing: 100},
			{Metric: "latency", Kind: "mean", Unit: "s", Better: "lower", Base: num(0.8), Head: num(0.4), Diff: num(-0.4), Low: num(-0.5), High: num(-0.3), P: num(0.001), PWorse: num(1), Adjusted: num(1), Pairs: 1200, Clusters: 1200},
			{Metric: "cost", Kind: "mean", Unit: "usd", Better: "lower", Base: num(0.0123), Head: num(0.0124), Diff: num(0.0001), Low: num(-0.00000004), High: num(0.0002), P: num(0.06), Pairs: 1200, Clusters: 1200},
			{Metric: "length", Kind: "mean", Unit: "words", Base: num(120), Head: num(1250), Diff: num(1130), Low: num(1100), High: num(1160), P: num(0), Pairs: 1200, Clusters: 1200},
			{Metric: "f1", Kind: "derived", Why: "it is computed from other metrics and has no observations of its own to pair"},
			{Metric: "pass_rate", Pair: 1, Kind: "rate", Better: "higher", Why: "no paired case has an observation in both runs", Missing: 1200},
		},
		Slices: []record.Difference{
			{Metric: "pass_rate", Tag: "safety", Kind: "rate", Better: "higher", Base: num(1), Head: num(0.8), Diff: num(-0.2), P: num(0.001), Adjusted: num(0.002), Pairs: 50, Clusters: 50},
			{Metric: "pass_rate", Tag: "easy", Kind: "rate", Better: "higher", Base: num(0.9), Head: num(0.95), Diff: num(0.05), P: num(0.5), Adjusted: num(0.5), Pairs: 50, Clusters: 50},
		},
		Flips: []record.Flip{
			{Case: "c1", Description: "refund", Critical: true, From: "pass", To: "fail", BaseOutput: "yes", HeadOutput: "##[group]no\x1b[2J", HeadReason: "ok: the output does not contain \"yes\""},
			{Case: "c2", Repeat: 1, From: "pass", To: "error", NoOutput: true, HeadReason: "timeout: late"},
			{Case: "c3", From: "fail", To: "pass", BaseOutput: "no", HeadOutput: "yes"},
		},
		Counts:   record.FlipCounts{Worse: 1, Improved: 1, ToError: 1, FromError: 3, Same: 2400},
		Warnings: []string{"3 cases are in another group than in the base; the head's groups are the clusters"},
	}
}

var escapes = regexp.MustCompile(`\x1b\[[0-9]*m`)

func TestCompareTerminal(t *testing.T) {
	gate := &record.Gate{Decision: verdict.Decision{Verdict: verdict.Fail, Metric: "pass_rate", Reason: "pass_rate fell"},
		Checks: []verdict.Decision{{Verdict: verdict.Fail, Metric: "pass_rate", Reason: "pass_rate fell by 5 points, more than the margin of 2"}}}
	var out bytes.Buffer
	if err := CompareTerminal(&out, exampleComparison(), gate, TerminalOptions{Width: 80, Dir: "result"}); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", out.Bytes())
	for _, width := range []int{50, 80, 120} {
		for _, ascii := range []bool{false, true} {
			out.Reset()
			if err := CompareTerminal(&out, exampleComparison(), nil, TerminalOptions{Width: width, ASCII: ascii}); err != nil {
				t.Fatal(err)
			}
			var colours bytes.Buffer
			if err := CompareTerminal(&colours, exampleComparison(), nil, TerminalOptions{Width: width, ASCII: ascii, Color: true}); err != nil {
				t.Fatal(err)
			}
			plain := strings.Split(escapes.ReplaceAllString(colours.String(), ""), "\n")
			for i, line := range strings.Split(out.String(), "\n") {
				if i >= len(plain) || strings.TrimRight(plain[i], " ") != line {
					t.Fatalf("%d columns in colours %q, without %q", width, plain[min(i, len(plain)-1)], line)
				}
			}
			for line := range strings.Lines(out.String()) {
				line = strings.TrimSuffix(line, "\n")
				if got := len([]rune(line)); got > width {
					t.Errorf("%d columns of %d: %q", got, width, line)
				}
				if strings.ContainsAny(line, "\x1b\r") || strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
					t.Errorf("acts on a terminal or a CI log: %q", line)
				}
			}
		}
	}
}

func TestComparisonJSON(t *testing.T) {
	var out bytes.Buffer
	if err := ComparisonJSON(&out, &record.Comparison{}, nil); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"pairs", "metrics", "slices", "flips", "warnings"} {
		if s := out.String(); !strings.Contains(s, `"`+list+`": []`) || strings.Contains(s, `"gate"`) {
			t.Errorf("%s is not there, or a gate that was not asked for: %s", list, s)
		}
	}
	out.Reset()
	want := exampleComparison()
	if err := ComparisonJSON(&out, want, &record.Gate{}); err != nil {
		t.Fatal(err)
	}
	var got record.Comparison
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"gate": {`) {
		t.Errorf("no verdict: %s", out.String())
	}
	if got.Metrics[1].Missing != 100 || got.Metrics[5].Diff != nil || *got.Metrics[0].Worse != 80 {
		t.Errorf("%+v", got.Metrics)
	}
	// A number that JSON does not have must have been nil.
	nan := 0.0
	nan /= nan
	want.Metrics[0].P = &nan
	if err := ComparisonJSON(&out, want, nil); err == nil {
		t.Error("a NaN was written")
	}
}
