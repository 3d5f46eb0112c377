package dataset

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

// maxDepth bounds how deeply lists and objects may be nested.
const maxDepth = 200

// jsonError is a mistake at a byte offset of a JSON text.
type jsonError struct {
	off                       int
	key, value, problem, want string
	hint                      string
}

// at places the mistake: s begins at pos.
func (e *jsonError) at(pos config.Pos, s string) *config.Error {
	before := s[:min(e.off, len(s))]
	col := len(before)
	if nl := strings.LastIndexByte(before, '\n'); nl >= 0 {
		pos.Line += strings.Count(before, "\n")
		col -= nl + 1
		pos.Column = 0
	}
	if pos.Column > 0 {
		pos.Column += col
	} else {
		pos.Column = col + 1
	}
	if e.key != "" {
		pos = pos.At(e.key)
	}
	return &config.Error{Pos: pos, Value: e.value, Problem: e.problem, Want: e.want, Hint: e.hint}
}

// jsonParser reads one JSON text strictly: what RFC 8259 allows, without repeated keys. Objects
// become map[string]any, lists []any. A whole number becomes an int64, or a uint64 when it is too
// large for that, or the string of its digits when it needs more than 64 bits, so that none is ever
// rounded; any other number becomes the nearest float64. Strings are parts of the text where
// possible, so they keep it in memory. Half a surrogate pair becomes U+FFFD.
type jsonParser struct {
	s     string
	i     int
	depth int
}

// parseObject reads s as one object.
func parseObject(s string) (map[string]any, *jsonError) {
	if !utf8.ValidString(s) {
		i := 0
		for i < len(s) {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		return nil, &jsonError{off: i, value: fmt.Sprintf("%#x", s[i]), problem: "a byte that is not UTF-8", want: "a file in UTF-8"}
	}
	p := jsonParser{s: s}
	p.space()
	if p.i >= len(s) || s[p.i] != '{' {
		return nil, &jsonError{off: p.i, value: clip(s[p.i:]), problem: "not an object", want: `an object such as {"question": "…"}`}
	}
	m, err := p.object()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(s) {
		return nil, &jsonError{off: p.i, value: clip(s[p.i:]), problem: "text after the end of the object", want: "one object"}
	}
	return m, nil
}

func clip(s string) string { return config.Clip(s, 40) }

func (p *jsonParser) fail(problem, want string) *jsonError {
	e := &jsonError{off: p.i, problem: problem, want: want}
	if p.i < len(p.s) {
		e.value = clip(p.s[p.i:])
	} else {
		e.problem = "the text ends in the middle of an object"
	}
	return e
}

func (p *jsonParser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// object reads an object; p is at its brace.
func (p *jsonParser) object() (map[string]any, *jsonError) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("nested too deeply", fmt.Sprintf("at most %d levels", maxDepth))
	}
	p.i++
	m := make(map[string]any)
	p.space()
	if p.i < len(p.s) && p.s[p.i] == '}' {
		p.i++
		p.depth--
		return m, nil
	}
	for {
		p.space()
		at := p.i
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			return nil, p.fail("not a key", `a key in double quotes`)
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		p.space()
		if p.i >= len(p.s) || p.s[p.i] != ':' {
			return nil, p.fail("no colon after the key", ":")
		}
		p.i++
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		n := len(m)
		m[key] = v
		if len(m) == n {
			return nil, &jsonError{off: at, value: key, problem: "this key is already set in the same object", want: "every key once"}
		}
		p.space()
		if p.i < len(p.s) {
			switch p.s[p.i] {
			case ',':
				p.i++
				continue
			case '}':
				p.i++
				p.depth--
				return m, nil
			}
		}
		return nil, p.fail("unexpected text after a value", ", or }")
	}
}

func (p *jsonParser) list() ([]any, *jsonError) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("nested too deeply", fmt.Sprintf("at most %d levels", maxDepth))
	}
	p.i++
	out := []any{}
	p.space()
	if p.i < len(p.s) && p.s[p.i] == ']' {
		p.i++
		p.depth--
		return out, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		p.space()
		if p.i < len(p.s) {
			switch p.s[p.i] {
			case ',':
				p.i++
				continue
			case ']':
				p.i++
				p.depth--
				return out, nil
			}
		}
		return nil, p.fail("unexpected text after a value", ", or ]")
	}
}

func (p *jsonParser) value() (any, *jsonError) {
	p.space()
	if p.i >= len(p.s) {
		return nil, p.fail("", "a value")
	}
	rest := p.s[p.i:]
	switch c := rest[0]; {
	case c == '"':
		return p.string()
	case c == '{':
		return p.object()
	case c == '[':
		return p.list()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case strings.HasPrefix(rest, "true"):
		p.i += 4
		return true, nil
	case strings.HasPrefix(rest, "false"):
		p.i += 5
		return false, nil
	case strings.HasPrefix(rest, "null"):
		p.i += 4
		return nil, nil
	}
	err := p.fail("not a JSON value", "a string, number, object, list, true, false or null")
	if strings.HasPrefix(rest, "NaN") || strings.HasPrefix(rest, "Infinity") {
		err.hint = "JSON has no NaN and no infinity: write null"
	}
	return nil, err
}

func (p *jsonParser) digits() int {
	from := p.i
	for p.i < len(p.s) && '0' <= p.s[p.i] && p.s[p.i] <= '9' {
		p.i++
	}
	return p.i - from
}

func (p *jsonParser) number() (any, *jsonError) {
	from := p.i
	if p.s[p.i] == '-' {
		p.i++
	}
	lead := p.i
	n := p.digits()
	whole := true
	bad := n == 0 || n > 1 && p.s[lead] == '0'
	if !bad && p.i < len(p.s) && p.s[p.i] == '.' {
		whole = false
		p.i++
		bad = p.digits() == 0
	}
	if !bad && p.i < len(p.s) && p.s[p.i]|0x20 == 'e' {
		whole = false
		p.i++
		if p.i < len(p.s) && (p.s[p.i] == '+' || p.s[p.i] == '-') {
			p.i++
		}
		bad = p.digits() == 0
	}
	text := p.s[from:p.i]
	if bad {
		err := &jsonError{off: from, value: clip(p.s[from:]), problem: "not a number", want: "a number such as 3, -0.5 or 1e9"}
		if strings.HasPrefix(p.s[from:], "-Infinity") {
			err.hint = "JSON has no NaN and no infinity: write null"
		}
		return nil, err
	}
	if whole {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return v, nil
		}
		if v, err := strconv.ParseUint(text, 10, 64); err == nil {
			return v, nil
		}
		return text, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, &jsonError{off: from, value: clip(text), problem: "a number out of range", want: "at most 1.8e308; write it as a string"}
	}
	return f, nil
}

// string reads a string; p is at its first quote.
func (p *jsonParser) string() (string, *jsonError) {
	p.i++
	from := p.i
	for i := from; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			p.i = i + 1
			return p.s[from:i], nil
		case c == '\\':
			return p.escaped(from, i)
		case c < 0x20:
			p.i = i
			return "", p.fail("a raw control character in a string", `an escape such as \n`)
		}
	}
	p.i = len(p.s)
	return "", &jsonError{off: from - 1, value: clip(p.s[from-1:]), problem: "the string is not closed", want: `a closing "`}
}

// escaped reads on a string that began at from and has its first backslash at i.
func (p *jsonParser) escaped(from, i int) (string, *jsonError) {
	var b strings.Builder
	// The next quote is a guess at the end: to reserve the rest of the text for each of many
	// strings would take memory in the square of its length.
	b.Grow(i - from + max(strings.IndexByte(p.s[i:], '"'), 0))
	b.WriteString(p.s[from:i])
	for i < len(p.s) {
		switch c := p.s[i]; {
		case c == '"':
			p.i = i + 1
			return b.String(), nil
		case c < 0x20:
			p.i = i
			return "", p.fail("a raw control character in a string", `an escape such as \n`)
		case c == '\\':
			r, n := unescape(p.s[i:])
			if n == 0 {
				p.i = i
				return "", p.fail("not an escape", `one of \" \\ \/ \b \f \n \r \t \uXXXX`)
			}
			b.WriteRune(r)
			i += n
		default:
			j := i + 1
			for j < len(p.s) && p.s[j] != '"' && p.s[j] != '\\' && p.s[j] >= 0x20 {
				j++
			}
			b.WriteString(p.s[i:j])
			i = j
		}
	}
	p.i = len(p.s)
	return "", &jsonError{off: from - 1, value: clip(p.s[from-1:]), problem: "the string is not closed", want: `a closing "`}
}

// unescape returns the character that the escape at the start of s stands for and the escape's
// length, 0 when it is not one.
func unescape(s string) (rune, int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return rune(s[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := hex4(s[2:])
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if strings.HasPrefix(s[6:], `\u`) {
			if low, ok := hex4(s[8:]); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return pair, 12
				}
			}
		}
		return utf8.RuneError, 6
	}
	return 0, 0
}

// hex4 reads four hex digits at the start of s.
func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[:4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = (c | 0x20) - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
