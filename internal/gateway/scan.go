package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
)

// errNotObject says that a body is not one JSON object as far as the scan looks.
var errNotObject = errors.New("the body is not one JSON object")

// members walks the top-level keys of a JSON object without parsing the values. It looks only as far as it must to
// find where each value ends: for valid JSON that is exact, and invalid JSON is the upstream's to refuse.
type members struct {
	b   []byte
	i   int
	n   int // members seen
	err error
	// The member found last: the key with its quotes, and the value.
	keyStart, keyEnd, valStart, valEnd int
	// end is where the closing brace is, once next has returned false without an error.
	end int
}

// open starts a walk over b.
func open(b []byte) members {
	m := members{b: b}
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		m.err = errNotObject
		return m
	}
	m.i = i + 1
	return m
}

// next moves to the next member.
func (m *members) next() bool {
	if m.err != nil {
		return false
	}
	b := m.b
	i := skipSpace(b, m.i)
	if i < len(b) && b[i] == '}' {
		m.end = i
		if skipSpace(b, i+1) != len(b) {
			m.err = errNotObject
		}
		return false
	}
	if m.n > 0 {
		if i >= len(b) || b[i] != ',' {
			m.err = errNotObject
			return false
		}
		i = skipSpace(b, i+1)
	}
	m.keyStart = i
	if m.keyEnd = skipString(b, i); m.keyEnd < 0 {
		m.err = errNotObject
		return false
	}
	i = skipSpace(b, m.keyEnd)
	if i >= len(b) || b[i] != ':' {
		m.err = errNotObject
		return false
	}
	m.valStart = skipSpace(b, i+1)
	if m.valEnd = skipValue(b, m.valStart); m.valEnd < 0 {
		m.err = errNotObject
		return false
	}
	m.i = m.valEnd
	m.n++
	return true
}

// key returns the key as written between its quotes, or decoded where it has escapes.
func (m *members) key() []byte {
	raw := m.b[m.keyStart+1 : m.keyEnd-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	s, ok := text(m.b[m.keyStart:m.keyEnd])
	if !ok {
		return nil
	}
	return []byte(s)
}

func (m *members) value() []byte { return m.b[m.valStart:m.valEnd] }

// text decodes a JSON string.
func text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	inner := raw[1 : len(raw)-1]
	plain := true
	for _, c := range inner {
		if c == '\\' || c >= 0x80 || c < ' ' {
			plain = false
			break
		}
	}
	if plain {
		return string(inner), true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i, or -1.
func skipString(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	first := i + 1
	for i = first; ; i++ {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return -1
		}
		i += j
		k := i
		for k > first && b[k-1] == '\\' {
			k--
		}
		if (i-k)%2 == 0 {
			return i + 1
		}
		first = i + 1 // the backslashes before an escaped quote are counted once
	}
}

// skipValue returns the index after the value that begins at i, or -1.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
	default:
		start := i
		for i < len(b) {
			switch b[i] {
			case ',', '}', ']', ' ', '\n', '\r', '\t':
				return ended(start, i)
			case '"', '{', '[', ':':
				return -1
			}
			i++
		}
		return ended(start, i)
	}
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

func ended(start, end int) int {
	if start == end {
		return -1
	}
	return end
}

// facts are what routing needs to know of a request's body.
type facts struct {
	object bool // the body is one JSON object
	model  string
	// ambiguous says that the model is given twice with different values: servers differ in which one they take.
	ambiguous bool
	stream    bool
	usage     bool // stream_options.include_usage is asked for
}

// look reads the facts. Of a key that is given twice the last one counts, as it does for the servers' own parsers.
func look(b []byte) facts {
	var f facts
	m := open(b)
	named := false
	for m.next() {
		switch string(m.key()) {
		case "model":
			s, _ := text(m.value())
			f.ambiguous = f.ambiguous || named && s != f.model
			f.model, named = s, true
		case "stream":
			f.stream = string(m.value()) == "true"
		case "stream_options":
			f.usage = asksUsage(m.value())
		}
	}
	f.object = m.err == nil
	return f
}

func asksUsage(b []byte) bool {
	asked := false
	m := open(b)
	for m.next() {
		if string(m.key()) == "include_usage" {
			asked = string(m.value()) == "true"
		}
	}
	return asked && m.err == nil
}
