package scorer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// isJSSpace says what JavaScript trims: Unicode's white space, line ends and the byte order mark.
func isJSSpace(r rune) bool {
	return r == '\ufeff' || unicode.Is(unicode.Zs, r) || strings.ContainsRune("\t\n\v\f\r\u2028\u2029", r)
}

func jsTrim(s string) string { return strings.TrimFunc(s, isJSSpace) }

// patternOf reads an operand that a pattern has become.
func patternOf(v any) (*jsRegex, bool, error) {
	p, ok := v.([]any)
	if !ok || len(p) != 3 || p[0] != "/" {
		return nil, false, nil
	}
	re, err := compileJSRegex(p[1].(string), p[2].(string))
	return re, true, err
}

// jsTextMethod calls a method of a string. Places count UTF-16 units.
func jsTextMethod(op, s string, a []any) (any, error) {
	switch op {
	case "trim":
		return jsTrim(s), nil
	case "trimStart":
		return strings.TrimLeftFunc(s, isJSSpace), nil
	case "trimEnd":
		return strings.TrimRightFunc(s, isJSSpace), nil
	case "toLowerCase":
		return cases.Lower(language.Und).String(s), nil
	case "toUpperCase":
		return cases.Upper(language.Und).String(s), nil
	case "slice", "substring", "charAt", "at", "at?":
		return jsCut(op, s, a)
	case "repeat":
		n, ok := a[0].(float64)
		if !ok || n < 0 || n*float64(len(s)) > jsLimit {
			return nil, errors.New("repeat: the count is no number from 0, or the text too long")
		}
		return strings.Repeat(s, int(n)), nil
	case "concat":
		for _, v := range a {
			t, err := jsText(v)
			if err != nil {
				return nil, err
			}
			s += t
		}
		return s, nil
	case "split":
		return jsSplit(s, a)
	case "replace", "replaceAll":
		return jsReplace(op, s, a)
	case "match", "test":
		return jsMatch(op, s, a)
	}
	t, ok := a[0].(string)
	if !ok {
		return nil, fmt.Errorf("%s of a text and %s", op, jsType(a[0]))
	}
	switch op {
	case "includes":
		return strings.Contains(s, t), nil
	case "startsWith":
		return strings.HasPrefix(s, t), nil
	case "endsWith":
		return strings.HasSuffix(s, t), nil
	case "indexOf", "lastIndexOf":
		i := strings.Index(s, t)
		if op == "lastIndexOf" {
			i = strings.LastIndex(s, t)
		}
		if i > 0 {
			i = jsLength(s[:i])
		}
		return float64(i), nil
	}
	return nil, fmt.Errorf("a text has no %s", op)
}

// jsBound turns an argument of slice into a place from 0 to n; negative ones count from the end.
func jsBound(a []any, i, n, absent int) (int, error) {
	if i >= len(a) || a[i] == nil {
		return absent, nil
	}
	f, ok := a[i].(float64)
	if !ok || math.IsNaN(f) {
		return 0, fmt.Errorf("%s is not a place", jsType(a[i]))
	}
	f = math.Trunc(f)
	if f < 0 {
		f += float64(n)
	}
	return int(min(max(f, 0), float64(n))), nil
}

// jsCut takes a piece of a text.
func jsCut(op, s string, a []any) (any, error) {
	units := utf16.Encode([]rune(s))
	n := len(units)
	if op == "charAt" || op == "at" || op == "at?" {
		f, ok := a[0].(float64)
		if ok && op == "at" && f < 0 {
			f += float64(n)
		}
		if !ok || f != math.Trunc(f) || f < 0 || f >= float64(n) {
			if op == "charAt" {
				return "", nil
			}
			return nil, nil
		}
		return string(utf16.Decode(units[int(f) : int(f)+1])), nil
	}
	if op == "substring" {
		// Negative places are 0, and the two ends may be the wrong way round.
		for i, v := range a {
			if f, ok := v.(float64); ok && f < 0 {
				a[i] = 0.0
			}
		}
	}
	from, err := jsBound(a, 0, n, 0)
	if err != nil {
		return nil, err
	}
	to, err := jsBound(a, 1, n, n)
	if err != nil {
		return nil, err
	}
	if op == "substring" && from > to {
		from, to = to, from
	}
	return string(utf16.Decode(units[from:max(from, to)])), nil
}

func jsSplit(s string, a []any) (any, error) {
	var parts []string
	re, isRegex, err := patternOf(a[0])
	sep, isText := a[0].(string)
	switch {
	case err != nil:
		return nil, err
	case isRegex && re.NumSubexp() > 0:
		return nil, errors.New("split with a pattern that has groups")
	case isRegex:
		parts = re.Split(s, -1)
	case isText:
		parts = strings.Split(s, sep)
	default:
		return nil, fmt.Errorf("split by %s", jsType(a[0]))
	}
	if len(a) > 1 {
		n, ok := a[1].(float64)
		if !ok || n < 0 {
			return nil, errors.New("the limit of split is no number from 0")
		}
		parts = parts[:min(len(parts), int(n))]
	}
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out, nil
}

func jsReplace(op, s string, a []any) (any, error) {
	by, ok := a[1].(string)
	if !ok {
		return nil, fmt.Errorf("%s by %s", op, jsType(a[1]))
	}
	re, isRegex, err := patternOf(a[0])
	if err != nil {
		return nil, err
	}
	if !isRegex {
		old, ok := a[0].(string)
		if !ok {
			return nil, fmt.Errorf("%s of %s", op, jsType(a[0]))
		}
		if strings.Contains(by, "$") {
			return nil, errors.New("$ in the replacement of a text")
		}
		n := 1
		if op == "replaceAll" {
			n = -1
		}
		return strings.Replace(s, old, by, n), nil
	}
	if op == "replaceAll" && !re.global {
		return nil, errors.New("replaceAll needs the flag g")
	}
	n := 1
	if re.global {
		n = -1
	}
	var b strings.Builder
	at := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, n) {
		b.WriteString(s[at:m[0]])
		if err := jsExpand(&b, by, s, m); err != nil {
			return nil, err
		}
		at = m[1]
		if b.Len() > jsLimit {
			return nil, errors.New("the text becomes too long")
		}
	}
	return b.String() + s[at:], nil
}

// jsExpand writes a replacement with its $1, $& and $$.
func jsExpand(b *strings.Builder, by, s string, m []int) error {
	for i := 0; i < len(by); i++ {
		if by[i] != '$' || i+1 == len(by) {
			b.WriteByte(by[i])
			continue
		}
		i++
		group := int(by[i] - '0')
		switch {
		case by[i] == '$':
			b.WriteByte('$')
		case by[i] == '&':
			b.WriteString(s[m[0]:m[1]])
		case group >= 1 && group <= 9 && 2*group < len(m) && (i+1 == len(by) || by[i+1] < '0' || by[i+1] > '9'):
			if m[2*group] >= 0 {
				b.WriteString(s[m[2*group]:m[2*group+1]])
			}
		default:
			return fmt.Errorf("$%c in a replacement", by[i])
		}
	}
	return nil
}

func jsMatch(op, s string, a []any) (any, error) {
	re, ok, err := patternOf(a[0])
	if err != nil || !ok {
		return nil, errors.Join(err, fmt.Errorf("%s without a pattern", op))
	}
	if op == "test" {
		return re.MatchString(s), nil
	}
	if re.global {
		all := re.FindAllString(s, -1)
		if all == nil {
			return nil, nil
		}
		out := make([]any, len(all))
		for i, m := range all {
			out[i] = m
		}
		return out, nil
	}
	m := re.FindStringSubmatchIndex(s)
	if m == nil {
		return nil, nil
	}
	out := make([]any, len(m)/2)
	for i := range out {
		if m[2*i] >= 0 {
			out[i] = s[m[2*i]:m[2*i+1]]
		}
	}
	return out, nil
}

// jsListMethod calls a method of a list.
func jsListMethod(op string, list []any, a []any) (any, error) {
	switch op {
	case "join":
		by := ","
		if len(a) > 0 {
			s, ok := a[0].(string)
			if !ok {
				return nil, fmt.Errorf("join by %s", jsType(a[0]))
			}
			by = s
		}
		return jsJoin(list, by)
	case "slice":
		from, err := jsBound(a, 0, len(list), 0)
		if err != nil {
			return nil, err
		}
		to, err := jsBound(a, 1, len(list), len(list))
		return list[from:max(from, to)], err
	case "at":
		i, ok := a[0].(float64)
		if ok && i < 0 {
			i += float64(len(list))
		}
		return jsGet("get", list, i)
	case "reverse":
		out := slices.Clone(list)
		slices.Reverse(out)
		return out, nil
	case "concat":
		out := slices.Clone(list)
		for _, v := range a {
			if more, ok := v.([]any); ok {
				out = append(out, more...)
			} else {
				out = append(out, v)
			}
		}
		return out, nil
	case "includes", "indexOf", "lastIndexOf":
		found := -1
		for i, v := range list {
			if jsType(v) != "object" && v == a[0] && jsType(a[0]) != "object" && (found < 0 || op == "lastIndexOf") {
				found = i
			}
		}
		if op == "includes" {
			return found >= 0, nil
		}
		return float64(found), nil
	}
	return nil, fmt.Errorf("a list has no %s", op)
}
