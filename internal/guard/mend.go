package guard

import (
	"strings"
	"unicode/utf8"
)

// mend rewrites a text that is nearly JSON as JSON: strings in single or typographic quotes, keys without quotes, comments,
// commas too many or missing, True, False and None, line breaks within strings, and brackets that are not closed. What is in
// strings stays as it is. It returns false when it cannot make sense of the text.
func mend(s string) (string, bool) {
	m := mender{s: s}
	m.value(deepest)
	for len(m.open) > 0 && !m.bad {
		m.close()
	}
	m.space()
	if m.bad || m.i < len(m.s) && strings.TrimLeft(m.s[m.i:], " \t\r\n`;.") != "" {
		return "", false
	}
	out := m.out.String()
	return out, valid(out)
}

type mender struct {
	s    string
	i    int
	out  strings.Builder
	open []byte
	bad  bool
}

// space skips white space and comments.
func (m *mender) space() {
	for m.i < len(m.s) {
		rest := m.s[m.i:]
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case space(r) || unseen(r):
			m.i += n
		case strings.HasPrefix(rest, "//"), r == '#':
			k := strings.IndexByte(rest, '\n')
			if k < 0 {
				k = len(rest)
			}
			m.i += k
		case strings.HasPrefix(rest, "/*"):
			k := strings.Index(rest, "*/")
			if k < 0 {
				m.i = len(m.s)
				return
			}
			m.i += k + 2
		default:
			return
		}
	}
}

func (m *mender) peek() byte {
	if m.i < len(m.s) {
		return m.s[m.i]
	}
	return 0
}

func (m *mender) close() {
	m.out.WriteByte(m.open[len(m.open)-1])
	m.open = m.open[:len(m.open)-1]
}

// value reads a value. At the end of the text there is none, which closes what is open.
func (m *mender) value(depth int) {
	if m.bad || depth == 0 {
		m.bad = true
		return
	}
	m.space()
	switch c := m.peek(); {
	case c == 0:
		m.out.WriteString("null")
	case c == '{' || c == '[':
		m.container(c, depth)
	case m.quoted():
		m.str()
	default:
		m.word()
	}
}

func (m *mender) container(c byte, depth int) {
	m.i++
	m.out.WriteByte(c)
	m.open = append(m.open, c+2)
	for n := 0; !m.bad; n++ {
		m.space()
		for m.peek() == ',' {
			m.i++
			m.space()
		}
		switch m.peek() {
		case 0:
			return // mend closes it
		case '}', ']':
			if m.peek() != c+2 {
				m.bad = true
				return
			}
			m.i++
			m.close()
			return
		}
		if n > 0 {
			m.out.WriteByte(',')
		}
		if c == '{' {
			if m.quoted() {
				m.str()
			} else {
				m.name()
			}
			m.space()
			if m.peek() == ':' {
				m.i++
			} else if m.peek() != 0 {
				m.bad = true
				return
			}
			m.out.WriteByte(':')
		}
		before := len(m.open)
		m.value(depth - 1)
		if len(m.open) != before {
			return // the text ended within
		}
	}
}

// quotes are the signs that strings are put between, with what ends them.
var quotes = map[rune]string{'"': `"`, '\'': "'", '“': `”"`, '”': `”"`, '„': "“”", '‘': "’'", '’': "’'", '`': "`"}

func (m *mender) quoted() bool {
	r, _ := utf8.DecodeRuneInString(m.s[m.i:])
	return quotes[r] != ""
}

// str reads a string.
func (m *mender) str() {
	r, n := utf8.DecodeRuneInString(m.s[m.i:])
	ends := quotes[r]
	m.i += n
	m.out.WriteByte('"')
	for m.i < len(m.s) {
		r, n := utf8.DecodeRuneInString(m.s[m.i:])
		if strings.ContainsRune(ends, r) {
			m.i += n
			break
		}
		switch {
		case r == '\\' && m.i+1 < len(m.s):
			n = m.escape()
		case r == '"':
			m.out.WriteString(`\"`)
		case r == '\n':
			m.out.WriteString(`\n`)
		case r == '\t':
			m.out.WriteString(`\t`)
		case r < ' ', r == '\\':
		default:
			m.out.WriteString(m.s[m.i : m.i+n])
		}
		m.i += n
	}
	m.out.WriteByte('"')
}

// escape copies the escape at m.i, or what it stands for where JSON has none, and returns its length.
func (m *mender) escape() int {
	c := m.s[m.i+1]
	switch {
	case strings.IndexByte(`"\/bfnrt`, c) >= 0:
		m.out.WriteString(m.s[m.i : m.i+2])
		return 2
	case c == 'u' && m.i+6 <= len(m.s) && skipString([]byte(`"`+m.s[m.i:m.i+6]+`"`), 0) > 0:
		m.out.WriteString(m.s[m.i : m.i+6])
		return 6
	case c == '\'':
		m.out.WriteByte('\'')
		return 2
	}
	m.out.WriteString(`\\`)
	return 1
}

// name reads a key without quotes.
func (m *mender) name() {
	k := strings.IndexAny(m.s[m.i:], ":,{}[] \t\r\n\"'")
	if k <= 0 {
		m.bad = true
		return
	}
	m.out.Write(quote(m.s[m.i : m.i+k]))
	m.i += k
}

// word reads a number or a constant.
func (m *mender) word() {
	k := strings.IndexAny(m.s[m.i:], ",{}[] \t\r\n\"/#")
	if k < 0 {
		k = len(m.s) - m.i
	}
	w := m.s[m.i : m.i+k]
	m.i += k
	switch strings.ToLower(w) {
	case "true", "false", "null":
		w = strings.ToLower(w)
	case "none", "undefined", "nan":
		w = "null"
	default:
		w = strings.TrimPrefix(w, "+")
		if strings.HasPrefix(w, ".") {
			w = "0" + w
		}
		if w = strings.TrimSuffix(w, "."); !valid(w) {
			m.bad = true
			return
		}
	}
	m.out.WriteString(w)
}
