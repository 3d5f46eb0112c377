package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// checkJSON looks up a dotted path in a JSON file, or in one line of a JSONL file as FILE#LINE, counted
// from 1. With a value it compares the value's JSON; without one it asks that there is something
// other than null.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: check FILE[#LINE] PATH [VALUE]")
	}
	file, line, isLine := strings.Cut(args[0], "#")
	text := ts.ReadFile(file)
	if isLine {
		n, err := strconv.Atoi(line)
		ts.Check(err)
		lines := strings.Split(text, "\n")
		if n < 1 || n > len(lines) {
			ts.Fatalf("%s has no line %d", file, n)
		}
		text = lines[n-1]
	}
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil || d.More() {
		ts.Fatalf("%s is not one JSON value: %v", args[0], err)
	}
	got, ok := lookup(v, args[1])
	switch {
	case len(args) == 2:
		if present := ok && got != nil; present == neg {
			ts.Fatalf("%s: %s is there: %v", args[0], args[1], present)
		}
	case !ok:
		ts.Fatalf("%s: no %s", args[0], args[1])
	default:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		ts.Check(e.Encode(got))
		if s := strings.TrimSpace(b.String()); (s == args[2]) == neg {
			ts.Fatalf("%s: %s is %s, compared with %s", args[0], args[1], s, args[2])
		}
	}
}

func lookup(v any, path string) (any, bool) {
	for _, key := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[key]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// same asks that two run directories hold the same files with the same content, apart from what a
// clock decides (see timeless).
func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same DIR DIR")
	}
	if diff := compareRuns(ts.MkAbs(args[0]), ts.MkAbs(args[1])); diff != "" {
		ts.Fatalf("%s", diff)
	}
}

// alike asks that two files are equal byte for byte.
func alike(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: alike FILE FILE")
	}
	if equal := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); equal == neg {
		ts.Fatalf("%s and %s: equal is %v", args[0], args[1], equal)
	}
}

// resultFiles are what a finished run leaves behind.
var resultFiles = []string{"junit.xml", "report.html", "report.md", "run.json", "samples.jsonl"}

// compareRuns says how two run directories differ, or nothing.
func compareRuns(a, b string) string {
	for _, dir := range []string{a, b} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got, want := fmt.Sprint(names), fmt.Sprint(resultFiles); got != want {
			return fmt.Sprintf("%s holds %s, want %s", dir, got, want)
		}
	}
	for _, name := range resultFiles {
		one, err := timeless(filepath.Join(a, name))
		if err != nil {
			return err.Error()
		}
		two, err := timeless(filepath.Join(b, name))
		if err != nil {
			return err.Error()
		}
		if !bytes.Equal(one, two) {
			return fmt.Sprintf("%s differs:\n%s", name, firstDifference(one, two))
		}
	}
	return ""
}
