package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the files that scripts compare with")

// race makes a process with the race detector end at once rather than after a second of looking for
// late races; the tests start hundreds of them.
const race = "atexit_sleep_ms=0"

// TestMain makes the test binary stand in for telltale: it is put on the PATH under that name, so
// that scripts and tests run the command line in a process of its own.
func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", race); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"telltale": func() { os.Exit(Main()) }})
}

// TestScripts runs the command line as its users do. Besides testscript's own commands the scripts have:
//
//	exits CODE telltale ARG…          the command ends with exactly this code
//	refuses CODE PLACE telltale ARG…  and one of its messages begins with "error: PLACE", and
//	                                  nothing below the working directory has changed
//	await FILE NAME                   waits until FILE holds something and sets NAME to it
//	long FILE N                       writes a JSONL file of one row whose x has N letters
//	raw FILE TEXT                     writes a file with bytes written as \xff
//	check, xml, same, answers, alike, contained: see results_test.go
//	listening, sends, says, first: see serve_script_test.go
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		ContinueOnError:     true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_PROXY", "*")
			env.Setenv("GORACE", race)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "refuses": refuses, "await": await, "long": long, "raw": raw,
			"check": checkJSON, "xml": checkXML, "same": same, "answers": answers, "alike": alike, "contained": contained,
			"listening": listening, "sends": sends, "says": says, "first": first,
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil // whom no permission stops
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}

// exits runs a command and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// refuses runs a command that must end with a message about a place and leave no trace.
func refuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: refuses CODE PLACE COMMAND ARG…")
	}
	before := tree(ts)
	exits(ts, false, append([]string{args[0]}, args[2:]...))
	if after := tree(ts); after != before {
		ts.Fatalf("the command wrote something.\nbefore:\n%s\nafter:\n%s", before, after)
	}
	stderr := ts.ReadFile("stderr")
	place := "error: " + args[1] + ":"
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, place) {
			if out := ts.ReadFile("stdout"); out != "" {
				ts.Fatalf("a refusal with output on stdout: %q", out)
			}
			return
		}
	}
	ts.Fatalf("no message begins with %q", place)
}

// tree lists everything below the script's directory, files with size and time of change.
func tree(ts *testscript.TestScript) string {
	var lines []string
	err := filepath.WalkDir(ts.Getenv("WORK"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			// A temporary file that has come and gone changes its folder's time.
			lines = append(lines, path)
			return nil
		}
		lines = append(lines, fmt.Sprintf("%s %d %v", path, info.Size(), info.ModTime()))
		return nil
	})
	ts.Check(err)
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// await waits for a file that a command in the background writes.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE NAME")
	}
	path := ts.MkAbs(args[0])
	for range 1000 {
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			ts.Setenv(args[1], strings.TrimSpace(string(b)))
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s is still not there", args[0])
}

// long writes a dataset with one very long row.
func long(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: long FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), fmt.Appendf(nil, "{\"x\": %q}\n", strings.Repeat("x", n)), 0o644))
}

// raw writes a file with bytes that a script cannot hold, written as in a Go string.
func raw(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: raw FILE TEXT")
	}
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[1], `"`, `\"`) + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}
