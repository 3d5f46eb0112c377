package ifeval

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/scorer/ifeval/pyre"
)

// args reads the arguments of one instruction and keeps the first mistake.
type args struct {
	index  int
	id     string
	values map[string]any
	err    error
}

// fail records a mistake in an argument.
func (a *args) fail(arg string, problem, want string) {
	if a.err != nil {
		return
	}
	e := &Error{Index: a.index, ID: a.id, Arg: arg, Problem: problem, Want: want}
	switch v := a.values[arg].(type) {
	case nil:
	case string:
		e.Value = fmt.Sprintf("%q", v)
	default:
		e.Value = fmt.Sprint(v)
	}
	a.err = e
}

// str returns a string.
func (a *args) str(arg string) string {
	switch v := a.values[arg].(type) {
	case nil:
		a.fail(arg, "missing", "a string")
	case string:
		return v
	default:
		a.fail(arg, fmt.Sprintf("a %T", v), "a string")
	}
	return ""
}

// strs returns a list of at least one string.
func (a *args) strs(arg string) []string {
	const want = "a list of at least one string"
	var out []string
	switch v := a.values[arg].(type) {
	case nil:
		a.fail(arg, "missing", want)
	case []string:
		out = v
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				a.fail(arg, fmt.Sprintf("%v is a %T", e, e), want)
				return nil
			}
			out = append(out, s)
		}
	default:
		a.fail(arg, fmt.Sprintf("a %T", v), want)
	}
	if len(out) == 0 {
		a.fail(arg, "an empty list", want)
	}
	return out
}

// count returns a whole number of at least low.
func (a *args) count(arg string, low int) int {
	want := fmt.Sprintf("a whole number, %d or more", low)
	var f float64
	switch v := a.values[arg].(type) {
	case nil:
		a.fail(arg, "missing", want)
		return low
	case int:
		f = float64(v)
	case int64:
		f = float64(v)
	case uint64:
		f = float64(v)
	case float64:
		f = v
	default:
		a.fail(arg, fmt.Sprintf("a %T", v), want)
		return low
	}
	switch {
	case math.IsNaN(f) || f != math.Trunc(f):
		a.fail(arg, "not a whole number", want)
	case f < float64(low) || f > math.MaxInt32:
		a.fail(arg, "out of range", want)
	default:
		return int(f)
	}
	return low
}

// limit is what a number is compared with.
type limit struct {
	n    int
	less bool // less than n; otherwise at least n
}

func (l limit) holds(n int) bool {
	if l.less {
		return n < l.n
	}
	return n >= l.n
}

func (l limit) String() string {
	if l.less {
		return fmt.Sprintf("less than %d", l.n)
	}
	return fmt.Sprintf("at least %d", l.n)
}

// limit returns the limit that two arguments make.
func (a *args) limit(number, relation string) limit {
	l := limit{n: a.count(number, 0)}
	switch v := a.values[relation]; v {
	case "at least":
	case "less than":
		l.less = true
	case nil:
		a.fail(relation, "missing", `"less than" or "at least"`)
	default:
		a.fail(relation, "not a relation", `"less than" or "at least"`)
	}
	return l
}

// letter returns a single character.
func (a *args) letter(arg string) string {
	s := a.str(arg)
	if a.err == nil && utf8.RuneCountInString(s) != 1 {
		a.fail(arg, fmt.Sprintf("%d characters", utf8.RuneCountInString(s)), "one character")
	}
	return s
}

// regexp compiles an expression that holds the argument's value.
func (a *args) regexp(arg, expr string, flags pyre.Flags) *pyre.Regexp {
	re, err := pyre.Compile(expr, flags)
	if err != nil {
		a.fail(arg, err.Error(), "a Python regular expression")
	}
	return re
}

// isPlain says whether an expression stands for itself.
func isPlain(expr string) bool { return !strings.ContainsAny(expr, `\.^$*+?{}[]|()`) }
