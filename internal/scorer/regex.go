package scorer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"

	"github.com/telltale-llm/telltale/internal/config"
)

// expression is a compiled regular expression.
type expression interface {
	// find returns the span of the first match in bytes, or -1, 0.
	find(s string) (start, end int, err error)
	engine() string
}

type re2 struct{ *regexp.Regexp }

func (e re2) engine() string { return "re2" }

func (e re2) find(s string) (start, end int, err error) {
	if m := e.FindStringIndex(s); m != nil {
		return m[0], m[1], nil
	}
	return -1, 0, nil
}

// backtracking runs what RE2 cannot, in time that a hostile text can make exponential; hence the limit.
type backtracking struct{ *regexp2.Regexp }

const matchTimeout = time.Second

func (e backtracking) engine() string { return "ecmascript" }

func (e backtracking) find(s string) (start, end int, err error) {
	m, err := e.FindStringMatch(s)
	if err != nil {
		return 0, 0, fmt.Errorf("the regular expression %s took too long or too much memory: %w", quote(e.String()), err)
	}
	if m == nil {
		return -1, 0, nil
	}
	start, n := m.ByteRange()
	return start, start + n, nil
}

// compileExpression compiles with Go's RE2, in linear time, and only what RE2 refuses for want of a
// feature of JavaScript's (lookaround, backreferences, \u escapes) with a backtracking engine.
func compileExpression(pattern string) (expression, error) {
	re, err := regexp.Compile(pattern)
	if err == nil {
		return re2{re}, nil
	}
	bad, ok := errors.AsType[*syntax.Error](err)
	if !ok || !ecmaOnly(bad, pattern) {
		return nil, err
	}
	flags := regexp2.ECMAScript
	if strings.Contains(pattern, `\p{`) || strings.Contains(pattern, `\P{`) || strings.Contains(pattern, `\u{`) {
		flags |= regexp2.Unicode
	}
	back, ecmaErr := regexp2.Compile(pattern, flags)
	if ecmaErr != nil {
		return nil, err
	}
	back.MatchTimeout = matchTimeout
	return backtracking{back}, nil
}

// ecmaOnly says whether RE2's refusal is about something that JavaScript has. In JavaScript an
// unknown escape such as \y is the letter itself; that is a mistake rather than a feature, and refused.
func ecmaOnly(err *syntax.Error, pattern string) bool {
	if !utf8.ValidString(pattern) {
		return false
	}
	switch err.Code {
	case syntax.ErrInvalidNamedCapture:
		// RE2 takes lookbehind for a group with an odd name.
		if !strings.HasPrefix(err.Expr, "(?<=") && !strings.HasPrefix(err.Expr, "(?<!") {
			return false
		}
	case syntax.ErrInvalidPerlOp, syntax.ErrInvalidEscape, syntax.ErrInvalidRepeatSize, syntax.ErrMissingBracket, syntax.ErrLarge:
	default:
		return false
	}
	for i := 0; i+1 < len(pattern); i++ {
		if pattern[i] != '\\' {
			continue
		}
		i++
		c := pattern[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if letter && !strings.ContainsRune("dDwWsSbBnrtfvcxukpP", rune(c)) {
			return false
		}
	}
	return true
}

type regexScorer struct{ expression }

func (r regexScorer) convention() string { return r.engine() }

func buildRegex(s Spec) (Scorer, error) {
	pattern, ok := text(s.Value)
	if !ok || pattern == "" {
		return nil, badValue(s, "not a regular expression", "a non-empty text")
	}
	e, err := compileExpression(pattern)
	if err != nil {
		reason := err.Error()
		if bad, ok := errors.AsType[*syntax.Error](err); ok {
			reason = bad.Code.String()
			if bad.Expr != pattern {
				reason += ": " + quote(bad.Expr)
			}
		}
		return nil, badValue(s, "invalid regular expression: "+reason, "")
	}
	return regexScorer{e}, nil
}

func (r regexScorer) Score(_ context.Context, in *Input) (Result, error) {
	out := in.Response.Output
	start, end, err := r.find(out)
	switch {
	case err != nil:
		return Result{}, err
	case start < 0:
		return judged(false, "the output does not match %s", r.shown()), nil
	}
	return judged(true, "the output matches %s at character %d with %s", r.shown(), position(out, start), quote(out[start:end])), nil
}

// shown is the pattern as it was written; quoting it would double its backslashes.
func (r regexScorer) shown() string {
	return "/" + config.Clip(r.expression.(fmt.Stringer).String(), 80) + "/"
}
