package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The examples that need neither a network nor a file of the user's pass their gates.
func TestExamplesPass(t *testing.T) {
	for _, name := range []string{"tools", "conversation"} {
		t.Run(name, func(t *testing.T) {
			suite, err := filepath.Abs(filepath.Join("../../examples", name, "telltale.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "telltale", "run", suite, "--out", "out", "--no-cache")
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "NO_COLOR=1")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			page, err := os.Open(filepath.Join(cmd.Dir, "out", "report.html"))
			if err != nil {
				t.Fatal(err)
			}
			defer page.Close()
			if n, err := io.Copy(io.Discard, page); err != nil || n == 0 {
				t.Errorf("the report has %d bytes: %v", n, err)
			}
		})
	}
}
