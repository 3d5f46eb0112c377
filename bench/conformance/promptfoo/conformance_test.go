package main

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// regexp2 ends its clock some time after the last match.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

// telltale decides what promptfoo decided, on every test of every suite. What telltale does not have
// yet is skipped and named.
func TestVerdictsAreThoseOfPromptfoo(t *testing.T) {
	suites, err := suiteFiles(".", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(suites) != 35 {
		t.Errorf("%d suites, want 35", len(suites))
	}
	server, err := startServer(t.Context(), "sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.close(); err != nil {
			t.Error(err)
		}
	})
	for _, suite := range suites {
		name := nameOf(suite)
		t.Run(name, func(t *testing.T) {
			if code, err := allowsCode(suite); err != nil || code {
				needPrograms(t)
			}
			want, err := readGolden(".", name)
			if err != nil {
				t.Fatal(err)
			}
			got, missing, err := runTelltale(t.Context(), suite, filepath.Join(t.TempDir(), "out"), server.url)
			if err != nil {
				t.Fatal(err)
			}
			if missing != "" {
				t.Skip(missing)
			}
			if diff := compare(want, got); len(diff) > 0 {
				t.Errorf("differs from promptfoo:\n%s", strings.Join(diff, "\n"))
			}
			if n := count(want); n[passed] == 0 || n[failed]+n[errored] == 0 {
				t.Errorf("the suite does not show both verdicts: %v", n)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	f := func(theirs, ours []row, want ...string) {
		t.Helper()
		got := compare(theirs, ours)
		if len(got) != len(want) {
			t.Errorf("%q, want %q", got, want)
			return
		}
		for i := range got {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("%q, want %q", got[i], want[i])
			}
		}
	}
	a := row{0, "1", passed}
	f([]row{a, a}, []row{a, a})
	f([]row{a, a}, []row{a}, "promptfoo [pass pass], telltale [pass]")
	f([]row{a}, []row{{0, "1", failed}}, "column 0, n 1: promptfoo [pass], telltale [fail]")
	f([]row{a}, []row{{1, "1", passed}}, "column 0", "no such test")
	f(nil, []row{a}, "no such test")
}
