// Package pyjinja renders Jinja2 templates with the results that Jinja2 itself gives in Python, for the
// task files of lm-evaluation-harness, whose scores depend on them to the letter.
//
// The texts of a task are short templates full of Python: methods of strings and lists, slices,
// lists printed as Python prints them and read back. What is here is that part of Jinja2:
// expressions, for, if, set and raw, the common filters, tests and methods. Undefined names are
// errors, the trailing newline is kept, and nothing is escaped, as in the harness. There are no
// macros, includes, imports or extensions, each of which is an error that says so.
//
// It is not for prompts of suites; those are package template's. Values are what JSON decodes to:
// nil, bool, int64, float64, string, []any and map[string]any. A mapping has no order here, so
// whatever would depend on its order is an error rather than a guess.
package pyjinja

import (
	"fmt"
	"strings"
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	source string
	body   []stmt
}

// Error is a mistake in a template, or one that shows when it is filled in.
type Error struct {
	Line    int // of the template's own text, from 1
	Problem string
}

// Error names the line of a template that has several.
func (e *Error) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("template line %d: %s", e.Line, e.Problem)
	}
	return "template: " + e.Problem
}

// Bounds on what one rendering may take, so that a template cannot fill the memory.
const (
	maxOutput = 16 << 20 // bytes
	maxSteps  = 200_000
	maxNested = 100
)

// Parse parses a template. The error is an *Error.
func Parse(source string) (*Template, error) {
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	body, err := p.statements()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tEnd {
		return nil, p.errorf(t, "%s without a beginning", t.text)
	}
	return &Template{source: source, body: body}, nil
}

// Render fills the template. The error is an *Error.
func (t *Template) Render(vars map[string]any) (string, error) {
	r := &run{out: &strings.Builder{}}
	s := &scope{run: r, vars: vars}
	if err := s.exec(t.body); err != nil {
		return "", err
	}
	return r.out.String(), nil
}

// run is one rendering.
type run struct {
	out   *strings.Builder
	steps int
}

func (r *run) write(s string) error {
	if r.out.Len()+len(s) > maxOutput {
		return &Error{Problem: fmt.Sprintf("it makes more than %d bytes", maxOutput)}
	}
	r.out.WriteString(s)
	return nil
}

func (r *run) step() error {
	if r.steps++; r.steps > maxSteps {
		return &Error{Problem: "it takes too many steps"}
	}
	return nil
}
