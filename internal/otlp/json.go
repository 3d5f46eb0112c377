package otlp

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeAny decodes JSON as encoding/json does into an any: objects to map[string]any, the last of two equal names counting,
// numbers to float64. Texts without escapes are parts of s rather than copies, which is most of why it takes a third of the
// time: clients send whole conversations as JSON in a text. What it cannot read is left to encoding/json.
func decodeAny(s string) (any, error) {
	d := decoder{s: s}
	d.space()
	if v, ok := d.value(0); ok {
		if d.space(); d.at == len(s) {
			return v, nil
		}
	}
	var out any
	err := json.Unmarshal([]byte(s), &out)
	return out, err
}

// deepest is how deep values are nested that are read here.
const deepest = 200

type decoder struct {
	s  string
	at int
}

func (d *decoder) space() {
	for d.at < len(d.s) {
		switch d.s[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// next says whether c comes next, and passes it.
func (d *decoder) next(c byte) bool {
	if d.at < len(d.s) && d.s[d.at] == c {
		d.at++
		return true
	}
	return false
}

func (d *decoder) word(w string, v any) (any, bool) {
	if !strings.HasPrefix(d.s[d.at:], w) {
		return nil, false
	}
	d.at += len(w)
	return v, true
}

// value reads a value that begins here.
func (d *decoder) value(depth int) (any, bool) {
	if d.at >= len(d.s) || depth > deepest {
		return nil, false
	}
	switch d.s[d.at] {
	case '"':
		return d.text()
	case '{':
		return d.object(depth)
	case '[':
		return d.list(depth)
	case 't':
		return d.word("true", true)
	case 'f':
		return d.word("false", false)
	case 'n':
		return d.word("null", nil)
	}
	return d.number()
}

func (d *decoder) object(depth int) (any, bool) {
	d.at++
	out := map[string]any{}
	if d.space(); d.next('}') {
		return out, true
	}
	for {
		d.space()
		if d.at >= len(d.s) || d.s[d.at] != '"' {
			return nil, false
		}
		name, ok := d.text()
		if !ok {
			return nil, false
		}
		if d.space(); !d.next(':') {
			return nil, false
		}
		d.space()
		v, ok := d.value(depth + 1)
		if !ok {
			return nil, false
		}
		out[name.(string)] = v
		d.space()
		if d.next('}') {
			return out, true
		}
		if !d.next(',') {
			return nil, false
		}
	}
}

func (d *decoder) list(depth int) (any, bool) {
	d.at++
	out := []any{}
	if d.space(); d.next(']') {
		return out, true
	}
	for {
		d.space()
		v, ok := d.value(depth + 1)
		if !ok {
			return nil, false
		}
		out = append(out, v)
		d.space()
		if d.next(']') {
			return out, true
		}
		if !d.next(',') {
			return nil, false
		}
	}
}

// text reads a string. One with escapes, or that is not UTF-8, is unquoted by encoding/json.
func (d *decoder) text() (any, bool) {
	start := d.at + 1
	plain := true
	for i := start; i < len(d.s); i++ {
		switch c := d.s[i]; {
		case c == '"':
			d.at = i + 1
			if plain && utf8.ValidString(d.s[start:i]) {
				return d.s[start:i], true
			}
			var out string
			err := json.Unmarshal([]byte(d.s[start-1:i+1]), &out)
			return out, err == nil
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// number reads a number by JSON's grammar, which is narrower than strconv's.
func (d *decoder) number() (any, bool) {
	start := d.at
	digits := func() bool {
		from := d.at
		for d.at < len(d.s) && d.s[d.at] >= '0' && d.s[d.at] <= '9' {
			d.at++
		}
		return d.at > from
	}
	d.next('-')
	if !d.next('0') && !digits() {
		return nil, false
	}
	if d.next('.') && !digits() {
		return nil, false
	}
	if d.next('e') || d.next('E') {
		if !d.next('+') {
			d.next('-')
		}
		if !digits() {
			return nil, false
		}
	}
	f, err := strconv.ParseFloat(d.s[start:d.at], 64)
	return f, err == nil
}

// memberNames calls fn with the names of an object's own members, in their order, until it returns false. The object is valid
// JSON.
func memberNames(object []byte, fn func(name string) bool) {
	depth, wantName := 0, false
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
			wantName = depth == 1
		case '}', ']':
			depth--
		case ',':
			wantName = depth == 1
		case '"':
			start, plain := i, true
			for i++; i < len(object) && object[i] != '"'; i++ {
				if object[i] == '\\' {
					plain = false
					i++
				}
			}
			if !wantName {
				continue
			}
			wantName = false
			name := string(object[start+1 : min(i, len(object))])
			if (!plain || !utf8.ValidString(name)) && json.Unmarshal(object[start:min(i+1, len(object))], &name) != nil {
				return
			}
			if !fn(name) {
				return
			}
		}
	}
}
