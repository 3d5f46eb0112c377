// Package pyre matches Python regular expressions, with the results that Python's re gives.
//
// It is for benchmarks whose data holds Python expressions and whose reference verdicts depend on
// their exact meaning, such as IFEval's keywords. It is not a general engine: it finds and counts
// matches and returns no captures. Expressions that users write for telltale itself are Go's.
//
// What Go's regexp reads differently and this package reads as Python does: \w, \d, \s and \b are
// Unicode, case folding follows re.IGNORECASE, and look-around and back-references work. An
// expression is parsed to a tree, and the tree is matched by backtracking within a fixed number of
// steps, so that a runaway expression is an error, the same on every machine. Plain words, the
// usual case, are searched for directly.
//
// Not supported, each an error: possessive repeats and atomic groups (which Python refuses before
// 3.11), conditional groups, \N{name}, and the flags a, L and u.
package pyre

import (
	"errors"
	"fmt"
)

// Flags change how an expression is read; they combine with |.
type Flags uint8

// The flags of Python's re.
const (
	IgnoreCase Flags = 1 << iota // re.IGNORECASE
	Multiline                    // re.MULTILINE
	DotAll                       // re.DOTALL
	Verbose                      // re.VERBOSE
)

// ErrTooComplex says that matching took too many steps; whether there is a match is not known.
var ErrTooComplex = errors.New("regular expression takes too many steps on this text")

// SyntaxError is an expression that Python, or this package, does not accept.
type SyntaxError struct {
	Expr    string
	Offset  int // in characters
	Problem string
}

// Error names the expression, the place and the problem.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("regular expression %q: %s at position %d", e.Expr, e.Problem, e.Offset)
}

// Regexp is a compiled expression. It is safe for concurrent use.
type Regexp struct {
	expr   string
	root   node
	groups int
	word   *word // set when the expression is a plain word
}

// Compile parses a Python regular expression.
func Compile(expr string, flags Flags) (*Regexp, error) {
	p := parser{expr: expr, in: []rune(expr), flags: flags}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Regexp{expr: expr, root: root, groups: p.groups, word: asWord(root)}, nil
}

// Groups returns the number of capturing groups.
func (re *Regexp) Groups() int { return re.groups }

// String returns the expression as it was given.
func (re *Regexp) String() string { return re.expr }

// Match says whether s holds a match, as re.search does. The only error is ErrTooComplex.
func (re *Regexp) Match(s string) (bool, error) {
	if re.word != nil {
		return re.word.count(s, 1) > 0, nil
	}
	n, err := re.find(s, 1)
	return n > 0, err
}

// Count returns the number of matches in s that do not overlap, as re.findall finds them. The only
// error is ErrTooComplex.
func (re *Regexp) Count(s string) (int, error) {
	if re.word != nil {
		return re.word.count(s, -1), nil
	}
	return re.find(s, -1)
}
