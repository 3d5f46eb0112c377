package scorer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

func buildEquals(s Spec) (Scorer, error) {
	if want, ok := text(s.Value); ok {
		return Func(func(_ context.Context, in *Input) (Result, error) {
			if out := in.Response.Output; out != want {
				return judged(false, "%s", difference(out, want)), nil
			}
			return judged(true, "the output is %s", quote(want)), nil
		}), nil
	}
	raw, err := json.Marshal(s.Value)
	if err != nil {
		return nil, badValue(s, "the value is not JSON: "+err.Error(), "a text, or a mapping or list that JSON can hold")
	}
	want, err := decodeJSON(string(raw))
	if err != nil {
		return nil, badValue(s, "the value is not JSON: "+err.Error(), "a text, or a mapping or list that JSON can hold")
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		got, err := decodeJSON(in.Response.Output)
		if err != nil {
			return judged(false, "the output is not JSON: %v", err), nil
		}
		if at, same := sameJSON(got, want, "$"); !same {
			return judged(false, "the output differs from the value at %s", config.Clip(at, 200)), nil
		}
		return judged(true, "the output is the same JSON as the value"), nil
	}), nil
}

// difference says where two texts part.
func difference(got, want string) string {
	if len(got) <= 60 && len(want) <= 60 {
		return fmt.Sprintf("the output is %q, not %q", got, want)
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	for i > 0 && (i < len(got) && !utf8.RuneStart(got[i]) || i < len(want) && !utf8.RuneStart(want[i])) {
		i--
	}
	return fmt.Sprintf("the output differs from the value at character %d: it goes on with %q, not %q", position(got, i), head(got[i:]), head(want[i:]))
}

// decodeJSON decodes exactly one JSON value and keeps numbers as they are written.
func decodeJSON(s string) (any, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("it ends too early")
		}
		return nil, err
	}
	end := int(d.InputOffset())
	if rest := strings.TrimLeft(s[end:], " \t\r\n"); rest != "" {
		return nil, fmt.Errorf("after the value there is %s", quote(rest))
	}
	return v, nil
}

// sameJSON compares two decoded values deeply; at is the path of the first difference.
func sameJSON(a, b any, path string) (at string, same bool) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return path, false
		}
		keys := make([]string, 0, len(x)+len(y))
		for k := range x {
			keys = append(keys, k)
		}
		for k := range y {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range slices.Compact(keys) {
			p, inX := x[k]
			q, inY := y[k]
			if !inX || !inY {
				return path + "." + k, false
			}
			if at, same := sameJSON(p, q, path+"."+k); !same {
				return at, false
			}
		}
		return "", true
	case []any:
		y, ok := b.([]any)
		if !ok {
			return path, false
		}
		for i := range max(len(x), len(y)) {
			p := path + "[" + strconv.Itoa(i) + "]"
			if i >= len(x) || i >= len(y) {
				return p, false
			}
			if at, same := sameJSON(x[i], y[i], p); !same {
				return at, false
			}
		}
		return "", true
	case json.Number:
		y, ok := b.(json.Number)
		return path, ok && sameNumber(x, y)
	}
	return path, a == b
}

// sameNumber compares two JSON numbers by value: 1, 1.0 and 10e-1 are the same, and integers of
// any length are told apart. Above what a float64 can hold exponents are compared as written.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	if errX != nil || errY != nil || x != y {
		return false
	}
	p, okP := new(big.Int).SetString(a.String(), 10)
	q, okQ := new(big.Int).SetString(b.String(), 10)
	return !okP || !okQ || p.Cmp(q) == 0
}
