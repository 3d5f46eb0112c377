package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func comparisonGate() *record.Gate {
	value := -0.065
	d := verdict.Decision{Verdict: verdict.Fail, Metric: "pass_rate", Want: "at most 2% below the baseline", Value: &value, Outcome: "regressed",
		Reason: "pass_rate fell by 5 points, more than the margin of 2"}
	return &record.Gate{Decision: d, Checks: []verdict.Decision{d}}
}

// hostileComparison has text of a model's or a data set's making wherever there is text.
func hostileComparison() *record.Comparison {
	c := exampleComparison()
	c.Base.Name, c.Head.Name, c.Warnings = hostile, hostile, []string{hostile}
	c.Pairs = []record.SnapshotPair{{Base: hostile, Head: hostile}, {Base: "x" + hostile, Head: hostile}}
	c.Pairing.ChangedIDs = []string{hostile}
	for _, list := range [][]record.Difference{c.Metrics, c.Slices} {
		for i := range list {
			d := &list[i]
			d.Metric, d.Unit, d.Test, d.Why = hostile, hostile, hostile, hostile
			if d.Tag != "" {
				d.Tag = hostile
			}
		}
	}
	for i := range c.Flips {
		f := &c.Flips[i]
		f.Case, f.Description, f.Tags, f.Input, f.BaseReason, f.HeadReason = hostile, hostile, []string{hostile}, hostile, hostile, hostile
		f.BaseOutput, f.HeadOutput = "a "+hostile, "b "+hostile+" c"
		f.To = hostile
	}
	return c
}

func marginedComparison() *record.Comparison {
	c := exampleComparison()
	margin, late := 0.02, 0.2
	c.Metrics[0].Margin, c.Metrics[2].Margin = &margin, &late
	c.Flips[0].Input, c.Flips[0].Tags = "May I have my money back?", []string{"refund"}
	c.Flips[0].BaseOutput = "Yes, you may have it back within 30 days of the purchase.\nAsk us for a label."
	c.Flips[0].HeadOutput = "No, you may not have it back within 30 days of purchase.\nAsk us for a label."
	return c
}

func TestComparisonPages(t *testing.T) {
	styles := strings.NewReplacer(pageStyle, "STYLE", htmlHash(pageStyle), "HASH")
	f := func(name string, c *record.Comparison, gate *record.Gate) {
		t.Helper()
		var page, text bytes.Buffer
		if err := ComparisonHTML(&page, c, gate); err != nil {
			t.Fatal(err)
		}
		if err := ComparisonMarkdown(&text, c, gate); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".html", []byte(styles.Replace(page.String())))
		golden(t, name+".md", text.Bytes())
	}
	f("compare", marginedComparison(), comparisonGate())
	f("compare-nothing", &record.Comparison{}, nil)
	f("compare-hostile", hostileComparison(), nil)
}

// TestComparisonEscaped looks for text that became markup.
func TestComparisonEscaped(t *testing.T) {
	var page, text bytes.Buffer
	gate := comparisonGate()
	gate.Metric, gate.Reason, gate.Checks[0].Metric, gate.Checks[0].Reason, gate.Checks[0].Want = hostile, hostile, hostile, hostile, hostile
	if err := ComparisonHTML(&page, hostileComparison(), gate); err != nil {
		t.Fatal(err)
	}
	if err := ComparisonMarkdown(&text, hostileComparison(), gate); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{page.String(), text.String()} {
		for _, bad := range []string{"<script", "<img", "</script"} {
			if strings.Contains(s, bad) {
				t.Errorf("%q got through", bad)
			}
		}
	}
	if bad := regexp.MustCompile(`(?:src|href)="[^#"]`).FindString(page.String()); bad != "" {
		t.Errorf("the page loads something: %s", bad)
	}
	for line := range strings.Lines(text.String()) {
		if strings.ContainsAny(line, "\x1b\x00") || strings.HasPrefix(line, "::") || strings.Contains(line, "##[") {
			t.Errorf("commands a CI system: %q", line)
		}
	}
}

func TestWriteComparison(t *testing.T) {
	dir := t.TempDir()
	if err := WriteComparison(dir, marginedComparison(), comparisonGate()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ComparisonFile, ComparisonMarkdownFile, ComparisonHTMLFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, ComparisonFile))
	if err != nil {
		t.Fatal(err)
	}
	var got record.Comparison
	if err := json.Unmarshal(b, &got); err != nil || *got.Metrics[0].Margin != 0.02 {
		t.Errorf("%v, %+v", err, got.Metrics)
	}
}

// TestRunWithComparison shows a run's own comparison in its reports, and nothing of one in those of other runs.
func TestRunWithComparison(t *testing.T) {
	src := small().source()
	f := func(want bool) {
		t.Helper()
		var page, text bytes.Buffer
		if err := HTML(&page, src); err != nil {
			t.Fatal(err)
		}
		if err := Markdown(&text, src); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{`<section class="card" id="differences">`, "<del>Yes,</del>", `class="whisker forest fail"`} {
			if got := strings.Contains(page.String(), s); got != want {
				t.Errorf("report.html has %s: %v, want %v", s, got, want)
			}
		}
		for _, s := range []string{"### Against the baseline", "unpaired standard error would be 30% larger", "<del>Yes,</del>"} {
			if got := strings.Contains(text.String(), s); got != want {
				t.Errorf("report.md has %s: %v, want %v", s, got, want)
			}
		}
	}
	f(false)
	src.Run.Comparison = marginedComparison()
	f(true)
}

// TestSideNames tells the two snapshots of one run apart.
// A margin that is undecided shows the number as one that is decided.
func TestComparedValue(t *testing.T) {
	f := func(metric string, value float64, want string) {
		t.Helper()
		if got := comparedValue(exampleComparison(), verdict.Decision{Metric: metric, Value: &value}); got != want {
			t.Errorf("%s: %q, want %q", metric, got, want)
		}
	}
	f("pass_rate", -0.0251, "at worst -2.51 pp")
	f("latency", 0.4754, "at worst +475 ms")
	f("latency[tag=slow]", 0.4754, "at worst +475 ms")
	f("nothing", 0.5, "at worst +0.500")
	if got := comparedValue(exampleComparison(), verdict.Decision{Metric: "pass_rate"}); got != noData {
		t.Errorf("without a number: %q", got)
	}
}

func TestSideNames(t *testing.T) {
	c := &record.Comparison{Base: record.RunRef{Name: "both"}, Head: record.RunRef{Name: "both"}, Pairs: []record.SnapshotPair{{Base: "small", Head: "large"}}}
	if base, head := sideNames(c); base != "both, small" || head != "both, large" {
		t.Errorf("%q, %q", base, head)
	}
	c.Head.Name = "other"
	if base, head := sideNames(c); base != "both" || head != "other" {
		t.Errorf("%q, %q", base, head)
	}
}

// TestForestBar places what is drawn.
func TestForestBar(t *testing.T) {
	f := func(d record.Difference, reach float64, want ...string) {
		t.Helper()
		got := string(forestBar(&d, "", reach))
		for _, s := range want {
			if !strings.Contains(got, s) {
				t.Errorf("lacks %s: %s", s, got)
			}
		}
		if len(want) == 0 && got != "" {
			t.Errorf("drew %s", got)
		}
	}
	n := func(x float64) *float64 { return &x }
	// A share on the common scale: a quarter of the reach to the left of the middle, and its margin at half.
	f(record.Difference{Kind: "rate", Better: "higher", Base: n(0.9), Head: n(0.8), Diff: n(-0.1), Low: n(-0.2), High: n(0), Margin: n(0.2)}, 0.4,
		`<circle class="dot" cx="37.50%"`, `class="span" x1="25.00%" y1="11" x2="50.00%"`, `class="limit" x1="25.00%"`, `class="zero" x1="50%"`)
	// Of a metric whose less is better the margin lies on the other side, on a scale of its own.
	f(record.Difference{Kind: "mean", Unit: "s", Better: "lower", Base: n(1), Head: n(2), Diff: n(1), Margin: n(2)}, 0.4,
		`<circle class="dot" cx="75.00%"`, `class="limit" x1="100.00%"`, "-2.00 s", "+2.00 s")
	f(record.Difference{Kind: "mean", Base: n(5), Head: n(5), Diff: n(0)}, 0, `cx="50.00%"`)
	f(record.Difference{Kind: "derived", Why: "none"}, 0)
}
