package config

import (
	"errors"
	"fmt"
	"testing"
)

func TestLocate(t *testing.T) {
	const file = `tests:
  - vars: {x: hi}
    threshold: 7
    assert:
      - type: contains
        weight:
          -1
  - &two
    vars:
      a.b: 1
    threshold: 8
samples: 0
samples: 1
list: [a, b]
`
	read := func(path string) ([]byte, error) {
		if path != "suite.yaml" {
			return nil, errors.New("no such file")
		}
		return []byte(file), nil
	}
	f := func(name, key string, line int, want string) {
		t.Helper()
		e := &Error{Pos: Pos{File: name, Line: line, Key: key}, Problem: "bad"}
		Locate(fmt.Errorf("around: %w", errors.Join(errors.New("other"), Errors{e})), read)
		if got := e.Pos.String(); got != want {
			t.Errorf("%s at line %d: %s, want %s", key, line, got, want)
		}
	}
	f("suite.yaml", "tests[0].threshold", 2, "suite.yaml:3:16: tests[0].threshold")
	f("suite.yaml", "tests[0].assert[0].weight", 5, "suite.yaml:7:11: tests[0].assert[0].weight")
	f("suite.yaml", "tests[1].threshold", 8, "suite.yaml:11:16: tests[1].threshold")
	f("suite.yaml", "tests[1].vars.a.b", 8, "suite.yaml:10:12: tests[1].vars.a.b")
	f("suite.yaml", "list[1]", 0, "suite.yaml:14:11: list[1]")
	f("suite.yaml", "samples", 0, "suite.yaml:12:10: samples")
	// What is placed already stays: the second of two equal keys.
	f("suite.yaml", "samples", 13, "suite.yaml:13: samples")
	// Keys that are not there, and files that are not YAML or cannot be read.
	f("suite.yaml", "tests[0].metric", 2, "suite.yaml:2: tests[0].metric")
	f("suite.yaml", "tests[9]", 1, "suite.yaml:1: tests[9]")
	f("suite.yaml", "", 1, "suite.yaml:1")
	f("rows.jsonl", "vars.x", 4, "rows.jsonl:4: vars.x")
	f("gone.yaml", "samples", 1, "gone.yaml:1: samples")
}
