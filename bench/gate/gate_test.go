package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/telltale-llm/telltale/bench/figures"
)

// TestLongErrorRates holds the gate to its error rates over 2,000 simulated suites in each row. Run it with
// `make test-long`; `make bench-gate` does the same and writes the figures down.
func TestLongErrorRates(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("takes a minute or more: set TELLTALE_LONG=1, or run make test-long")
	}
	for _, sc := range scenarios() {
		r, err := simulate(sc, 2000, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, drop %g: %d failed, %d passed, %d undecided of %d", r.name, r.drop, r.failed, r.passed, r.undecided, r.runs)
		if why := r.missed(); why != "" {
			t.Error(why)
		}
	}
}

// The simulation itself: repeatable, and every row has what its name says.
func TestSimulation(t *testing.T) {
	for _, sc := range scenarios() {
		const n = 8
		one, err := simulate(sc, n, 3)
		if err != nil {
			t.Fatal(err)
		}
		two, err := simulate(sc, n, 3)
		if err != nil || one != two {
			t.Errorf("%s: %+v and %+v, %v", sc.name, one, two, err)
		}
		if one.runs != n || one.failed+one.passed+one.undecided != n {
			t.Errorf("%s: %+v", sc.name, one)
		}
		if sc.drop == 2 && one.failed < n-1 {
			t.Errorf("%s with a drop of twice the planned effect: %d of %d fail", sc.name, one.failed, n)
		}
	}
}

func TestReplaceFigures(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "doc.md")
		if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		err := figures.Replace(path, beginMark, endMark, "new\n")
		got, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if (err == nil) != (want != "") || want != "" && string(got) != want {
			t.Errorf("%q became %q, %v", in, got, err)
		}
	}
	f("a\n"+beginMark+"\nold\n"+endMark+"\nb\n", "a\n"+beginMark+"\nnew\n"+endMark+"\nb\n")
	f("a\n"+beginMark+"\nold\n", "")
	f("nothing", "")
}
