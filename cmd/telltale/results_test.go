package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// checkJSON looks up a dotted path in a JSON file, or in one line of a JSONL file as FILE:LINE, counted
// from 1. With a value it compares the value's JSON; without one it asks that there is something
// other than null.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: check FILE[:LINE] PATH [VALUE]")
	}
	file, line, isLine := strings.Cut(args[0], ":")
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

// answers asks that two runs over HTTP have the same samples, apart from measured times.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: answers DIR DIR")
	}
	var texts [2][]byte
	for i, dir := range args {
		b, err := timeless(ts.MkAbs(filepath.Join(dir, "samples.jsonl")))
		ts.Check(err)
		texts[i] = b
	}
	if !bytes.Equal(texts[0], texts[1]) {
		ts.Fatalf("samples.jsonl differs:\n%s", firstDifference(texts[0], texts[1]))
	}
}

// contained asks that every line of the first file is in the second, in the same order.
func contained(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: contained FILE FILE")
	}
	rest := ts.ReadFile(args[1])
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		_, after, ok := strings.Cut(rest, line)
		if !ok {
			ts.Fatalf("%s lacks %s", args[1], line)
		}
		rest = after
	}
}

// checkXML asks that files are well-formed XML.
func checkXML(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: xml FILE…")
	}
	for _, file := range args {
		d := xml.NewDecoder(strings.NewReader(ts.ReadFile(file)))
		elements := 0
		for {
			t, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				ts.Fatalf("%s: %v", file, err)
			}
			if _, ok := t.(xml.StartElement); ok {
				elements++
			}
		}
		if elements == 0 {
			ts.Fatalf("%s holds no element", file)
		}
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

// clock matches what may differ between two runs that answered the same: in run.json the object
// times; in samples.jsonl nothing but measured times; in the reports the time spent, and the times in
// JUnit's attributes.
var clock = map[string]*regexp.Regexp{
	"run.json":      regexp.MustCompile(`"(started|finished|seconds|samples_per_second|resumed|concurrency)": ("[^"]*"|[0-9.e+-]+),?\n`),
	"samples.jsonl": regexp.MustCompile(`,"(latency|ttft)":[0-9.e+-]+`),
	"report.md":     regexp.MustCompile(`(?m)^\| (Time|Started|Finished) \| [^|]* \|$`),
	"report.html":   regexp.MustCompile(`<span class="label">Time</span><span class="big">[^<]*</span><span class="note">[^<]*</span>|<dt>(Started|Finished)</dt><dd>[^<]*</dd>`),
	"junit.xml":     regexp.MustCompile(` (time|timestamp)="[^"]*"`),
}

// timeless reads a result file and cuts out what a clock decides.
func timeless(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return clock[filepath.Base(path)].ReplaceAll(b, nil), nil
}

func firstDifference(a, b []byte) string {
	one, two := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range max(len(one), len(two)) {
		switch {
		case i >= len(one):
			return fmt.Sprintf("line %d only in the second: %.300s", i+1, two[i])
		case i >= len(two):
			return fmt.Sprintf("line %d only in the first: %.300s", i+1, one[i])
		case one[i] != two[i]:
			return fmt.Sprintf("line %d:\n%.300s\n%.300s", i+1, one[i], two[i])
		}
	}
	return "nowhere"
}
