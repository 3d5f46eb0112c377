package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// anyKind takes every kind and reads one file.
var anyKind = Options{
	Read: func(path string) ([]byte, error) {
		if path != "data/schema.json" {
			return nil, errors.New("no such file")
		}
		return []byte(`{"type": "object"}`), nil
	},
	Assertion: func(name string) Known {
		if name == "webhook" {
			return Known{Unsupported: "webhook is not supported"}
		}
		return Known{OK: true}
	},
}

func TestParseExpected(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		a, left, err := ParseExpected(Pos{File: "data/rows.csv", Line: 3}, text, anyKind)
		if err != nil || len(left) > 0 {
			t.Errorf("%q: %v %v", text, left, err)
			return
		}
		v, err := json.Marshal(a.Value)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s", a.Type, v)
		if a.Not {
			got = "not-" + got
		}
		if a.Threshold != nil {
			got += fmt.Sprintf(" %v", *a.Threshold)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
		if a.Pos.Line != 3 || a.ValuePos.Line != 3 {
			t.Errorf("%q: the places are lost: %v %v", text, a.Pos, a.ValuePos)
		}
	}
	f("Paris", `equals "Paris"`)
	f(" Paris ", `equals "Paris"`)
	f("equals: 30", `equals "30"`)
	f("equals:30", `equals "30"`)
	f("Answer: 42", `equals "Answer: 42"`)
	f("contain: Paris", `equals "contain: Paris"`)
	f("note(3): x", `equals "note(3): x"`)
	f("exec: rm -rf /", `equals "exec: rm -rf /"`)
	f("contains: Hello", `contains "Hello"`)
	f("contains:http://a:80/b", `contains "http://a:80/b"`)
	f("contains:note: b", `contains "note: b"`)
	f("contains: a\nb", `contains "a\nb"`)
	f("not-contains: Hello", `not-contains "Hello"`)
	f("contains-any: <b>,</span>", `contains-any ["\u003cb\u003e","\u003c/span\u003e"]`)
	f("not-icontains-all: a , b,, c", `not-icontains-all ["a","b","c"]`)
	f("regex: ^\\d+: x$", `regex "^\\d+: x$"`)
	f("is-json", `is-json null`)
	f(`is-json: {"type": "object"}`, `is-json "{\"type\": \"object\"}"`)
	f("is-json: file://schema.json", `is-json {"type":"object"}`)
	f("similar: hi", `similar "hi" 0.8`)
	f("similar(0.9): hi", `similar "hi" 0.9`)
	f("similar:dot: hi", `similar:dot "hi" 0.8`)
	f("similar:dot(0.5): hi", `similar:dot "hi" 0.5`)
	f("levenshtein(5): abc", `levenshtein "abc" 5`)
	f("rouge-n: abc", `rouge-n "abc" 0.75`)
	f("latency(2000)", `latency null 2000`)
	f("cost(0.01):", `cost null 0.01`)
	f("starts-with: abc", `starts-with "abc"`)
	f("starts-with(0.5): abc", `starts-with "abc"`)
	f("bleu(0.4): abc", `bleu "abc" 0.4`)
	f("grade: is kind", `llm-rubric "is kind"`)
	f("llm-rubric: is kind", `llm-rubric "is kind"`)
	f("llm-rubric(0.5): is kind", `llm-rubric "is kind" 0.5`)
	f("fn: output.length < 10", `javascript "output.length \u003c 10"`)
	f("eval:output == 1", `javascript "output == 1"`)
	f("python: len(output) < 9", `python "len(output) \u003c 9"`)
	f("factuality: Paris is the capital", `factuality "Paris is the capital"`)
}

// A file that is named alone is code to run, by its extension, or else the expected text.
func TestSplitExpectedFiles(t *testing.T) {
	f := func(text, kind string) {
		t.Helper()
		w := splitExpected(text)
		if w.Type.Name != kind || w.Value.Any != text {
			t.Errorf("%q: %s %v, want %s", text, w.Type.Name, w.Value.Any, kind)
		}
	}
	f("file://check.py", "python")
	f("file://check.py:named", "python")
	f("file://dir/check.mjs:named", "javascript")
	f("file://rows.txt", "equals")
}

func TestParseExpectedMistakes(t *testing.T) {
	pos := Pos{File: "data/rows.csv", Line: 3, Key: "__expected"}
	f := func(text, want string) {
		t.Helper()
		_, left, err := ParseExpected(pos, text, anyKind)
		if err = errors.Join(err, left.Err()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "data/rows.csv:3") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	f("  ", "an empty assertion")
	f("webhook: http://x", "webhook is not supported")
	f("contains: file://nope.txt", "nope.txt")
}

func FuzzParseExpected(f *testing.F) {
	for _, s := range []string{"a", "similar(0.8): x", "not-contains-any: a,b", "similar:dot(1):", "fn:", ":", "contains(9", "cost(1):(2)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, left, err := ParseExpected(Pos{File: "f.csv", Line: 1}, s, Options{})
		if err == nil && len(left) == 0 && a.Type == "" {
			t.Errorf("%q became nothing", s)
		}
		if a.Threshold != nil && *a.Threshold < 0 {
			t.Errorf("%q has threshold %v", s, *a.Threshold)
		}
	})
}
