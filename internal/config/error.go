package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Pos is a place in a file that a user wrote. Line and Column count from 1; 0 means not known.
type Pos struct {
	File   string
	Line   int
	Column int
	Key    string // dotted path of the key, such as tests[3].assert[0].value
}

// String returns file:line:column: key, without the parts that are not known.
func (p Pos) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	if p.Key != "" {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(p.Key)
	}
	return b.String()
}

// At returns p for the key below it.
func (p Pos) At(key string) Pos {
	switch {
	case p.Key == "" || strings.HasPrefix(key, "["):
		p.Key += key
	default:
		p.Key += "." + key
	}
	return p
}

// Error is a mistake in what a user wrote: where, the value that was wrong, and what was expected.
// It is the only error type that makes the command exit with code 2.
type Error struct {
	Pos
	Value   string // the offending value as written; empty when there is none
	Problem string // what is wrong
	Want    string // what was expected
	Hint    string // what to do about it
	Err     error  // the cause, may be nil
}

// Errorf returns an Error at p with a formatted problem.
func Errorf(p Pos, format string, args ...any) *Error {
	return &Error{Pos: p, Problem: fmt.Sprintf(format, args...)}
}

// Error returns one line, and a second one with the hint if there is one.
func (e *Error) Error() string {
	var b strings.Builder
	if at := e.Pos.String(); at != "" {
		b.WriteString(at)
		b.WriteString(": ")
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "%q: ", Clip(e.Value, 120))
	}
	b.WriteString(e.Problem)
	if e.Err != nil {
		if e.Problem != "" {
			b.WriteString(": ")
		}
		b.WriteString(Clip(cause(e.Err), 1000)) // a parser may repeat itself at every level
	}
	if e.Want != "" {
		b.WriteString("; want ")
		b.WriteString(e.Want)
	}
	if e.Hint != "" {
		b.WriteString("\n    hint: ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// cause is what an error says, in words about the file where encoding/json speaks of Go's types.
func cause(err error) string {
	te, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return err.Error()
	case te.Field == "":
		return te.Value + " in the place of something else"
	default:
		return te.Field + " is " + te.Value + ", in the place of something else"
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors is every mistake found in one go, in file order.
type Errors []*Error

// Error lists one mistake a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single mistakes.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// Err returns es sorted by place, or nil when it is empty.
func (es Errors) Err() error {
	if len(es) == 0 {
		return nil
	}
	sort.SliceStable(es, func(i, j int) bool {
		if es[i].File != es[j].File {
			return false
		}
		return es[i].Line < es[j].Line
	})
	return es
}

// Append adds err to es: an Error or Errors as it is, any other error placed at p.
func (es *Errors) Append(p Pos, err error) {
	if err == nil {
		return
	}
	if list, ok := errors.AsType[Errors](err); ok {
		*es = append(*es, list...)
		return
	}
	if one, ok := errors.AsType[*Error](err); ok {
		*es = append(*es, one)
		return
	}
	*es = append(*es, &Error{Pos: p, Err: err})
}

// Clip shortens s to at most n bytes on a rune boundary and marks the cut with an ellipsis.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
