package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLongMemory runs 200,000 cases with three assertions each in a process of its own: memory does
// not grow with the number of cases. Run it with `make test-long`.
func TestLongMemory(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("takes a minute or more: set TELLTALE_LONG=1, or run make test-long")
	}
	const (
		cases = 200_000
		most  = 300 << 20 // bytes
	)
	dir := t.TempDir()
	writeCases(t, filepath.Join(dir, "cases.jsonl"), cases)
	suite := `
prompts: ["Answer the question: {{question}}"]
providers: [echo]
tests: cases.jsonl
defaultTest:
  assert:
    - {type: icontains, value: question}
    - {type: regex, value: "number [0-9]+"}
    - {type: word-count, value: {min: 3, max: 100}}
gate: {pass_rate: ">= 0.99"}
`
	if err := os.WriteFile(filepath.Join(dir, "suite.yaml"), []byte(suite), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "telltale", "run", "suite.yaml", "--out", "out", "--quiet")
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GOMEMLIMIT=") && !strings.HasPrefix(v, "GOGC=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(began)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Skip("this system does not say how much memory a process used")
	}
	peak := usage.Maxrss << 10 // kilobytes on Linux
	t.Logf("%d cases in %.1f s (%.0f a second), %.1f s of processor time, at most %d MB of memory",
		cases, took.Seconds(), cases/took.Seconds(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), peak>>20)
	if peak > most {
		t.Errorf("%d MB of memory, want at most %d", peak>>20, most>>20)
	}
}

func writeCases(t *testing.T, path string, n int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, "{\"question\": \"What is the answer to question number %d, asked by customer %d on the phone?\", \"topic\": \"t%d\"}\n", i, i*7919%100_003, i%50)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
