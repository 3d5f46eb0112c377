package config

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Object is a mapping whose keys are known only to the part that reads it, such as a provider's
// or an assertion's config. It remembers where each key was written.
type Object struct {
	Pos  Pos
	Map  map[string]any // string, int64, uint64, float64, bool, nil, []any, map[string]any
	Keys map[string]Pos // the place of each top-level key
}

// At returns the place of key, or the object's own when it is not set.
func (o Object) At(key string) Pos {
	if p, ok := o.Keys[key]; ok {
		return p
	}
	return o.Pos.At(key)
}

// Reader reads an Object strictly: each getter marks its key as known, and Finish reports the
// mistakes found and every key that nobody asked for.
type Reader struct {
	o     Object
	known map[string]bool
	errs  Errors
}

// Reader returns a strict reader of o.
func (o Object) Reader() *Reader { return &Reader{o: o, known: map[string]bool{}} }

// Has says whether key is set to something other than null, and marks it as known.
func (r *Reader) Has(key string) bool {
	r.known[key] = true
	return r.o.Map[key] != nil
}

// Any returns the value of key as it was decoded; nil when it is not set.
func (r *Reader) Any(key string) any {
	r.known[key] = true
	return r.o.Map[key]
}

// Fail records a mistake at key.
func (r *Reader) Fail(key, problem, want string) {
	e := &Error{Pos: r.o.At(key), Problem: problem, Want: want}
	if v, ok := r.o.Map[key]; ok && v != nil {
		e.Value = fmt.Sprint(v)
	}
	r.errs = append(r.errs, e)
}

// String returns the string at key, or def when it is not set. Numbers and booleans are taken as written.
func (r *Reader) String(key, def string) string {
	switch v := r.Any(key).(type) {
	case nil:
		return def
	case string:
		return v
	case int64, uint64, float64, bool:
		return fmt.Sprint(v)
	default:
		r.Fail(key, "not a string", "a string")
		return def
	}
}

// Strings returns a string or a list of strings at key.
func (r *Reader) Strings(key string) []string {
	switch v := r.Any(key).(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				r.Fail(key, fmt.Sprintf("item %v is not a string", e), "a list of strings")
				return nil
			}
			out = append(out, s)
		}
		return out
	default:
		r.Fail(key, "not a list of strings", "a string or a list of strings")
		return nil
	}
}

// StringMap returns a mapping of strings at key.
func (r *Reader) StringMap(key string) map[string]string {
	v := r.Any(key)
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.Fail(key, "not a mapping", "a mapping of strings")
		return nil
	}
	out := make(map[string]string, len(m))
	for k, e := range m {
		switch e := e.(type) {
		case string:
			out[k] = e
		case int64, uint64, float64, bool:
			out[k] = fmt.Sprint(e)
		default:
			r.Fail(key, fmt.Sprintf("%s is not a string", k), "a mapping of strings")
			return nil
		}
	}
	return out
}

// Float returns the number at key; nil when it is not set.
func (r *Reader) Float(key string) *float64 {
	v := r.Any(key)
	if v == nil {
		return nil
	}
	f, ok := Number(v)
	if !ok {
		r.Fail(key, "not a number", "a number")
		return nil
	}
	return &f
}

// Int returns the whole number at key, or def when it is not set.
func (r *Reader) Int(key string, def int) int {
	v := r.Any(key)
	if v == nil {
		return def
	}
	f, ok := Number(v)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		r.Fail(key, "not a whole number", "a whole number")
		return def
	}
	return int(f)
}

// Bool returns the boolean at key, or def when it is not set.
func (r *Reader) Bool(key string, def bool) bool {
	switch v := r.Any(key).(type) {
	case nil:
		return def
	case bool:
		return v
	default:
		r.Fail(key, "not a boolean", "true or false")
		return def
	}
}

// Duration returns a duration such as 30s or 2m, or a number of seconds; def when it is not set.
func (r *Reader) Duration(key string, def time.Duration) time.Duration {
	v := r.Any(key)
	if v == nil {
		return def
	}
	d, err := ParseDuration(fmt.Sprint(v))
	if err != nil {
		r.Fail(key, "not a duration", "a duration such as 30s, 2m or 1h, above 0")
		return def
	}
	return d
}

// Finish returns every mistake found, with each key that no getter asked for; nil when there is none.
func (r *Reader) Finish() error {
	var unknown []string
	for k := range r.o.Map {
		if !r.known[k] {
			unknown = append(unknown, k)
		}
	}
	sort.Strings(unknown)
	names := make([]string, 0, len(r.known))
	for k := range r.known {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range unknown {
		r.errs = append(r.errs, unknownKey(r.o.At(k), k, names))
	}
	return r.errs.Err()
}

// Number converts any decoded number to a float64. Strings are not numbers; NaN and infinities are refused.
func Number(v any) (float64, bool) {
	var f float64
	switch n := v.(type) {
	case int:
		f = float64(n)
	case int64:
		f = float64(n)
	case uint64:
		f = float64(n)
	case float64:
		f = n
	default:
		return 0, false
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

// ParseDuration reads 1h30m, 250ms, or a plain number of seconds; the result is above 0.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if !(f > 0) || f > math.MaxInt64/1e9 {
			return 0, fmt.Errorf("%q is out of range", s)
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, err
	}
	if d <= 0 {
		return 0, fmt.Errorf("%q is not above 0", s)
	}
	return d, nil
}

// unknownKey reports key with the nearest known names as a hint.
func unknownKey(p Pos, key string, known []string) *Error {
	e := &Error{Pos: p, Problem: fmt.Sprintf("unknown key %q", key)}
	if best := Nearest(key, known); best != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", best)
	} else if len(known) > 0 {
		e.Want = "one of " + strings.Join(known, ", ")
	}
	return e
}

// Nearest returns the known name within an edit distance of a third of key's length, or "".
func Nearest(key string, known []string) string {
	best, bestD := "", len(key)/3+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(key), strings.ToLower(k)); d < bestD || d == bestD && best == "" && d <= 2 {
			best, bestD = k, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev
			if a[i-1] != b[j-1] {
				cost++
			}
			prev, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
