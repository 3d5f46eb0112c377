package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The verdicts on one row.
const (
	passed  = "pass"
	failed  = "fail"
	errored = "error"
)

// row is the verdict on one test with one provider and prompt.
type row struct {
	// Column is the position of the provider and prompt among all pairs of them.
	Column int `json:"column"`
	// Test is the variable n, which every test has. Cases that a list of values makes share it.
	Test    string `json:"test"`
	Verdict string `json:"verdict"`
}

// key names the row in both tools.
func (r *row) key() string { return fmt.Sprintf("column %d, n %s", r.Column, r.Test) }

// testName is the test's number. A variable is kept by promptfoo as it was written, and by telltale as it
// was used, so that only a plain one can name a test.
func testName(vars map[string]any) (string, error) {
	n, ok := vars["n"]
	if !ok {
		return "", fmt.Errorf("a test without the variable n: %v", vars)
	}
	return fmt.Sprint(n), nil
}

func sortRows(rows []row) {
	slices.SortFunc(rows, func(a, b row) int {
		if a.Column != b.Column {
			return a.Column - b.Column
		}
		if c := strings.Compare(a.Test, b.Test); c != 0 {
			return c
		}
		return strings.Compare(a.Verdict, b.Verdict)
	})
}

func count(rows []row) map[string]int {
	n := map[string]int{}
	for _, r := range rows {
		n[r.Verdict]++
	}
	return n
}

// compare lists the tests on which the tools differ.
func compare(theirs, ours []row) []string {
	group := func(rows []row) map[string][]string {
		out := map[string][]string{}
		for i := range rows {
			out[rows[i].key()] = append(out[rows[i].key()], rows[i].Verdict)
		}
		for _, v := range out {
			slices.Sort(v)
		}
		return out
	}
	want, got := group(theirs), group(ours)
	var out []string
	for key, verdicts := range want {
		if !slices.Equal(verdicts, got[key]) {
			out = append(out, fmt.Sprintf("%s: promptfoo %v, telltale %v", key, verdicts, got[key]))
		}
	}
	for key, verdicts := range got {
		if _, ok := want[key]; !ok {
			out = append(out, fmt.Sprintf("%s: promptfoo has no such test, telltale %v", key, verdicts))
		}
	}
	slices.Sort(out)
	return out
}

// golden is what promptfoo decided, as it is kept.
type golden struct {
	Promptfoo string `json:"promptfoo"` // its version
	Rows      []row  `json:"rows"`
}

func goldenFile(dir, name string) string { return filepath.Join(dir, "golden", name+".json") }

// promptfooVersion is the version in bench/package.json.
const promptfooVersion = "0.123.1"

func writeGolden(dir, name string, rows []row) error {
	b, err := json.MarshalIndent(golden{promptfooVersion, rows}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(goldenFile(dir, name), append(b, '\n'), 0o644)
}

func readGolden(dir, name string) ([]row, error) {
	b, err := os.ReadFile(goldenFile(dir, name))
	if err != nil {
		return nil, err
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		return nil, err
	}
	if len(g.Rows) == 0 {
		return nil, errors.New("no rows")
	}
	return g.Rows, nil
}
