package report

import (
	"bytes"
	"errors"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/baseline"
	gold "github.com/telltale-llm/telltale/internal/golden"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// fits checks that a page keeps to its width and holds no character that acts on a terminal.
func fits(t *testing.T, name string, columns int, page string) {
	t.Helper()
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if width(line) > columns {
			t.Errorf("%s at %d columns: %d in %q", name, columns, width(line), line)
		}
		if strings.ContainsAny(line, "\x1b\r\x07") {
			t.Errorf("%s: %q", name, line)
		}
	}
}

func storedExample(t *testing.T, dir, name string, run *record.Run) *baseline.Stored {
	t.Helper()
	s := record.Sample{Case: "a", Provider: run.Snapshots[0].Provider, Prompt: run.Snapshots[0].Prompt, Verdict: verdict.Pass}
	var samples iter.Seq2[record.Sample, error] = func(yield func(record.Sample, error) bool) { yield(s, nil) }
	stored, err := baseline.Write(dir, name, baseline.Source{Run: run, Samples: samples})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestBaselinePagesFit(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("very-long-", 9)
	run := &record.Run{ID: "id", Telltale: "v", Suite: record.SuiteRef{Path: "dir/suite.yaml", Description: "\x1b[31m::error::" + long},
		Snapshots: []record.Snapshot{{ID: "x", Provider: long + "\n\x1b", Prompt: strings.Repeat("p ", 200)}},
		Metrics: map[string]record.Metric{long + long: {Kind: "mean", Mean: new(1e9), Low: new(-1e9), High: new(1e9), Unit: "words", N: 1_000_000},
			record.MetricPassRate: {Kind: "rate", Mean: new(0.99), Low: new(0.9), High: new(1.0), N: 5}, "none": {}}}
	stored := storedExample(t, dir, long[:90], run)
	storedExample(t, dir, "b", run)
	list, err := baseline.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, baseline.Entry{Name: "broken", Err: errors.New("x")})
	changes := &baseline.Changes{FromRun: "a", ToRun: "b", Snapshots: []string{long + "\x1b", "2"}, Metrics: []baseline.MetricChange{{Name: long + "\x07", To: new(0.5), Kind: "rate"}}}
	for range 20 {
		changes.Recipes = append(changes.Recipes, long+long)
	}
	for _, columns := range []int{50, 80, 120} {
		o := TerminalOptions{Width: columns}
		for name, page := range map[string]func(*bytes.Buffer) error{
			"list":    func(b *bytes.Buffer) error { return BaselineList(b, dir, list, o) },
			"none":    func(b *bytes.Buffer) error { return BaselineList(b, filepath.Join(dir, long), nil, o) },
			"show":    func(b *bytes.Buffer) error { return BaselineShow(b, stored, o) },
			"changes": func(b *bytes.Buffer) error { return BaselineChanges(b, changes, o) },
		} {
			var b bytes.Buffer
			if err := page(&b); err != nil {
				t.Fatal(err)
			}
			fits(t, name, columns, b.String())
			if name == "list" && (!strings.Contains(b.String(), "unusable") || !strings.Contains(b.String(), "99.00%")) {
				t.Errorf("list: %s", b.String())
			}
			if name == "changes" && (!strings.Contains(b.String(), "and 12 more") || !strings.Contains(b.String(), noData)) {
				t.Errorf("changes: %s", b.String())
			}
		}
	}
}

func TestGoldenPages(t *testing.T) {
	same := strings.Repeat("word ", 40)
	list := []GoldenChange{
		{Title: "case new", Input: "a\x1b question", Added: []string{"first\nanswer \x1b[31m"}},
		{Title: "case changed", Added: []string{same + "is new " + same}, Dropped: []string{"something else altogether", same + "was old " + same}},
		{Title: "case more", Added: []string{"two"}, Kept: []string{"one", "three"}},
		{Title: "case space", Added: []string{"a  b"}, Dropped: []string{"a b"}},
		{Title: "case blank", Added: []string{""}, Dropped: []string{"x"}},
		{Title: "case long", Added: []string{strings.Repeat("界", 300)}, Kept: []string{"y"}},
		{Title: "case less", Dropped: []string{"gone"}},
	}
	var b bytes.Buffer
	if err := GoldenChanges(&b, list, TerminalOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  + first↵answer ", "[-was old-] {+is new+}", "\n  - something else altogether\n", "  = 2 accepted before stay\n", "{+two+}", "[-x-]", "  - gone\n", "a [-␣-] {+␣+} b",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "word"); n != 2*contextWords {
		t.Errorf("%d words around a change of %d, want %d", n, 80, 2*contextWords)
	}
	file, err := gold.Parse("g.jsonl", []byte(`{"case":"a","provider":"p\u001b","output":"x\u001b\ny\n"}`+"\n"+`{"case":"b","output":"`+strings.Repeat("z ", 300)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, columns := range []int{50, 80, 120} {
		b.Reset()
		o := TerminalOptions{Width: columns}
		if err := GoldenChanges(&b, list, o); err != nil {
			t.Fatal(err)
		}
		if err := GoldenShow(&b, file, nil, o); err != nil {
			t.Fatal(err)
		}
		fits(t, "golden", columns, b.String())
	}
	b.Reset()
	if err := GoldenShow(&b, file, []string{"a"}, TerminalOptions{}); err != nil || strings.Contains(b.String(), "z z") || strings.ContainsRune(b.String(), 0x1b) || !strings.Contains(b.String(), "\n  | y\n") {
		t.Errorf("%q, %v", b.String(), err)
	}
}
