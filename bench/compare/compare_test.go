package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/bench/figures"
)

func TestVerifyTakesNothingOnTrust(t *testing.T) {
	failing := map[string]bool{"7": true}
	right := result{cases: 10, outcome: outcome{passed: 9, failed: 1, failing: map[string]bool{"7": true}}}
	f := func(change func(*result), requests int, want string) {
		t.Helper()
		r := right
		change(&r)
		err := verify(r, failing, requests)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(*result) {}, 10, "")
	f(func(*result) {}, 9, "9 requests")
	f(func(r *result) { r.passed, r.failed = 10, 0 }, 10, "10 passed")
	f(func(r *result) { r.errored = 1 }, 10, "1 errors")
	f(func(r *result) { r.failing = map[string]bool{"8": true} }, 10, "other cases")
}

func TestMissedBars(t *testing.T) {
	run := func(seconds float64, mb int64) result {
		return result{cases: 300, usage: usage{wall: time.Duration(seconds * float64(time.Second)), peak: mb << 20}}
	}
	f := func(ours, theirs []result, large *result, want ...string) {
		t.Helper()
		err := (&bench{ours: ours, theirs: theirs, largest: large}).missed()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if len(want) == 0 && err != nil || strings.Count(text, "\n")+1 != max(1, len(want)) {
			t.Errorf("got %q, want %q", text, want)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("got %q, want %q in it", text, w)
			}
		}
	}
	large := run(9, 299)
	f([]result{run(1, 100)}, []result{run(30, 300)}, &large)
	f([]result{run(1, 100)}, []result{run(29, 300)}, &large, "29.0 times")
	f([]result{run(1, 101)}, []result{run(30, 300)}, &large, "0.34 of")
	f([]result{run(1, 100), run(9, 100), run(1, 100)}, []result{run(30, 300), run(30, 300), run(40, 300)}, &large)
	tooLarge := run(9, 300)
	f([]result{run(1, 100)}, []result{run(30, 300)}, &tooLarge, "300 MB")
	f(nil, nil, nil, "throughput is 0.0", "peak memory is NaN", "not run")
}

func TestSuiteFailsInEveryWay(t *testing.T) {
	dir := t.TempDir()
	failing, err := writeSuite(dir, "http://127.0.0.1:1/v1", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if want := 1000/everyWrong + 1000/everyQuestion + 1000/everyRefusal; len(failing) != want {
		t.Errorf("%d cases fail, want %d", len(failing), want)
	}
	cases, err := os.ReadFile(filepath.Join(dir, "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(cases), "\n"); n != 1000 {
		t.Errorf("%d lines, want 1000", n)
	}
}

func TestReplaceFigures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	f := func(before, want string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		err := figures.Replace(path, beginMark, endMark, "new\n")
		got, _ := os.ReadFile(path)
		if want == "" {
			if err == nil {
				t.Errorf("%q: no error", before)
			}
			want = before
		}
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("a\n"+beginMark+"\nold\n"+endMark+"\nb\n", "a\n"+beginMark+"\nnew\n"+endMark+"\nb\n")
	f("a\n"+beginMark+"\n"+endMark, "a\n"+beginMark+"\nnew\n"+endMark)
	f("a\n"+endMark+"\n", "")
	f("a\n"+beginMark+"\nold\n", "")
}

func TestMiddle(t *testing.T) {
	f := func(want float64, in ...float64) {
		t.Helper()
		if got := middle(in); got != want {
			t.Errorf("middle of %v is %v, want %v", in, got, want)
		}
	}
	f(0)
	f(3, 3)
	f(2, 1, 3)
	f(2, 9, 1, 2)
}

func TestChildIsMeasured(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc here: memory comes from the kernel's count at the end")
	}
	if m := memoryOf(os.Getpid()); m.resident < 1<<20 || m.peak < m.resident {
		t.Errorf("this process: %+v", m)
	}
	u, err := command{args: []string{"/bin/sh", "-c", "x=$(seq 300000); sleep 0.2; exit 3"}, ok: []int{3}}.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u.wall < 200*time.Millisecond || u.peak < 1<<20 || u.peak > 200<<20 {
		t.Errorf("measured %+v", u)
	}
	if _, err := (command{args: []string{"/bin/sh", "-c", "echo why >&2; exit 4"}, ok: []int{3}}).run(t.Context()); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("got %v, want the output of the command", err)
	}
}
