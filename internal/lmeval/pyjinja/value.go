package pyjinja

import (
	"fmt"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tuple is a Python tuple: a list that is printed in round brackets.
type Tuple []any

// undefined is a name or attribute that there is not. Using it is an error, asking for it is not.
type undefined struct{ what string }

func (u undefined) err() error { return fmt.Errorf("%s is undefined", u.what) }

// method is a bound method or a function.
type method func(args []any, kwargs map[string]any) (any, error)

// str writes a value as Python's str does.
func str(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return repr(v)
}

// repr writes a value as Python's repr does. A mapping of several keys has no order here, so it
// cannot be written.
func repr(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "None", nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return floatText(v), nil
	case string:
		return quoted(v), nil
	case []any:
		return reprList("[", v, "]")
	case Tuple:
		if len(v) == 1 {
			return reprList("(", v, ",)")
		}
		return reprList("(", v, ")")
	case map[string]any:
		if len(v) > 1 {
			return "", errNoOrder
		}
		for k, e := range v {
			s, err := repr(e)
			return "{" + quoted(k) + ": " + s + "}", err
		}
		return "{}", nil
	case undefined:
		return "", v.err()
	}
	return "", fmt.Errorf("a value that cannot be printed (%T)", v)
}

var errNoOrder = fmt.Errorf("this depends on the order of a mapping's keys, which is not kept; name the keys")

func reprList(open string, items []any, end string) (string, error) {
	var b strings.Builder
	b.WriteString(open)
	for i, e := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		s, err := repr(e)
		if err != nil {
			return "", err
		}
		if b.WriteString(s); b.Len() > maxOutput {
			return "", fmt.Errorf("it makes more than %d bytes", maxOutput)
		}
	}
	b.WriteString(end)
	return b.String(), nil
}

// floatText writes the shortest digits that read back as f, with an exponent where Python has one.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if f != 0 && (exp < -4 || exp >= 16) {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quoted writes a string as a Python literal.
func quoted(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b := []byte{quote}
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ' || r == 0x7f:
			b = fmt.Appendf(b, `\x%02x`, r)
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r <= 0xff:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r <= 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return string(append(b, quote))
}

// truth is Python's bool.
func truth(v any) (bool, error) {
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case uint64:
		return v != 0, nil
	case float64:
		return v != 0, nil
	case string:
		return v != "", nil
	case []any:
		return len(v) > 0, nil
	case Tuple:
		return len(v) > 0, nil
	case map[string]any:
		return len(v) > 0, nil
	case undefined:
		return false, v.err()
	}
	return true, nil
}

// number returns v as a float, and whether it is an integer; booleans are numbers in Python.
func number(v any) (f float64, whole, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true, true
		}
		return 0, true, true
	case int64:
		return float64(v), true, true
	case uint64:
		return float64(v), true, true
	case float64:
		return v, false, true
	}
	return 0, false, false
}

// integer returns v as an integer.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	}
	return 0, false
}

// equal is Python's ==: numbers by value, everything else only within its type.
func equal(a, b any) bool {
	if x, ok := integer(a); ok {
		if y, ok := integer(b); ok {
			return x == y
		}
	}
	x, _, okX := number(a)
	y, _, okY := number(b)
	if okX || okY {
		return okX && okY && x == y
	}
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && equalItems(a, b)
	case Tuple:
		b, ok := b.(Tuple)
		return ok && equalItems(a, b)
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case string:
		s, ok := b.(string)
		return ok && a == s
	case nil:
		return b == nil
	}
	return false
}

func equalItems(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// order compares two values that Python can compare.
func order(a, b any) (int, error) {
	x, _, okX := number(a)
	y, _, okY := number(b)
	if okX && okY {
		switch {
		case x < y:
			return -1, nil
		case x > y:
			return 1, nil
		}
		return 0, nil
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), nil
		}
	case []any:
		if b, ok := b.([]any); ok {
			return orderItems(a, b)
		}
	case Tuple:
		if b, ok := b.(Tuple); ok {
			return orderItems(a, b)
		}
	}
	return 0, fmt.Errorf("%s and %s cannot be compared", typeName(a), typeName(b))
}

func orderItems(a, b []any) (int, error) {
	for i := range min(len(a), len(b)) {
		if !equal(a[i], b[i]) {
			return order(a[i], b[i])
		}
	}
	return len(a) - len(b), nil
}

// sorted returns a sorted copy. fold ignores case, as Jinja's sort does.
func sorted(items []any, key func(any) (any, error)) ([]any, error) {
	keys := make([]any, len(items))
	at := make([]int, len(items))
	for i, e := range items {
		k, err := key(e)
		if err != nil {
			return nil, err
		}
		keys[i], at[i] = k, i
	}
	var failed error
	sort.SliceStable(at, func(i, j int) bool {
		c, err := order(keys[at[i]], keys[at[j]])
		if err != nil && failed == nil {
			failed = err
		}
		return c < 0
	})
	out := make([]any, len(items))
	for i, k := range at {
		out[i] = items[k]
	}
	return out, failed
}

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "a boolean"
	case int64, uint64:
		return "a whole number"
	case float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	case Tuple:
		return "a tuple"
	case map[string]any:
		return "a mapping"
	case undefined:
		return "an undefined value"
	}
	return reflect.TypeOf(v).String()
}

// iterate returns the items of a value that Python can iterate over.
func iterate(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case Tuple:
		return v, nil
	case string:
		var out []any
		for _, r := range v {
			out = append(out, string(r))
		}
		return out, nil
	case map[string]any:
		if len(v) > 1 {
			return nil, errNoOrder
		}
		var out []any
		for k := range v {
			out = append(out, k)
		}
		return out, nil
	case undefined:
		return nil, v.err()
	}
	return nil, fmt.Errorf("%s cannot be iterated over", typeName(v))
}

func length(v any) (int, error) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), nil
	case []any:
		return len(v), nil
	case Tuple:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	case undefined:
		return 0, v.err()
	}
	return 0, fmt.Errorf("%s has no length", typeName(v))
}

// Str writes a value as Python's str does. A mapping of several keys has no order here and is an error.
func Str(v any) (string, error) { return str(v) }
