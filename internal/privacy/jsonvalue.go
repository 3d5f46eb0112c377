package privacy

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// deepest is how deep JSON may be nested, in itself and as text within its strings.
const (
	deepest       = 200
	deepestInText = 6
)

// looksLikeJSON says whether s may be an object or a list.
func looksLikeJSON(s string) bool {
	s = strings.TrimSpace(s)
	return len(s) > 1 && (s[0] == '{' && s[len(s)-1] == '}' || s[0] == '[' && s[len(s)-1] == ']')
}

// value redacts a text that may be JSON.
func (p *pass) value(f field, s string) string { return p.nested(f, s, "", 0) }

func (p *pass) nested(f field, s, about string, depth int) string {
	if p.rules.untouched(f) {
		return s
	}
	if depth < deepestInText && looksLikeJSON(s) {
		if out, ok := p.document(f, s, depth); ok {
			return out
		}
	}
	return p.text(f, s, about)
}

// rewriter goes through a JSON document once, checks its grammar, and copies it only from the first change on.
type rewriter struct {
	p     *pass
	f     field
	s     string
	i     int
	out   []byte
	last  int // up to where s is in out
	inner int // depth of documents in strings
}

// document redacts the values of a JSON document. ok is false when s is not one, and nothing is counted then.
func (p *pass) document(f field, s string, inner int) (out string, ok bool) {
	if !wellFormed(s) {
		return s, false
	}
	w := &rewriter{p: p, f: f, s: s, inner: inner}
	w.value("", "", 0)
	if w.out == nil {
		return s, true
	}
	return string(append(w.out, s[w.last:]...)), true
}

func (w *rewriter) put(start, end int, with string) {
	w.out = append(w.out, w.s[w.last:start]...)
	w.out = append(w.out, with...)
	w.last = end
}

func (w *rewriter) space() {
	for w.i < len(w.s) && (w.s[w.i] == ' ' || w.s[w.i] == '\n' || w.s[w.i] == '\t' || w.s[w.i] == '\r') {
		w.i++
	}
}

// value takes the value at w.i, which is well-formed. About are the words of its key and those above.
func (w *rewriter) value(key, about string, depth int) {
	w.space()
	switch c := w.s[w.i]; {
	case c == '{':
		w.i++
		for w.more('}') {
			start := w.i
			name := w.text()
			w.key(start, name)
			w.space()
			w.i++ // the colon
			w.value(name, keyWords(key, name), depth+1)
		}
	case c == '[':
		w.i++
		for w.more(']') {
			w.value(key, about, depth+1)
		}
	case c == '"':
		start := w.i
		s := w.text()
		if out := w.p.leaf(w.f, s, key, about, w.inner+1); out != s {
			w.put(start, w.i, quote(out))
		}
	case c == '-' || c >= '0' && c <= '9':
		start := w.i
		for w.i < len(w.s) && strings.IndexByte("+-.eE0123456789", w.s[w.i]) >= 0 {
			w.i++
		}
		if out, changed := w.p.number(w.f, w.s[start:w.i], about); changed {
			w.put(start, w.i, out)
		}
	default: // true, false, null
		for w.i < len(w.s) && w.s[w.i] >= 'a' && w.s[w.i] <= 'z' {
			w.i++
		}
	}
}

// more goes to the next entry of an object or a list, or behind its end.
func (w *rewriter) more(end byte) bool {
	w.space()
	if w.s[w.i] == ',' {
		w.i++
		w.space()
	}
	if w.s[w.i] == end {
		w.i++
		return false
	}
	return true
}

// text reads the string at w.i.
func (w *rewriter) text() string {
	w.i++
	start, escaped := w.i, false
	for w.s[w.i] != '"' {
		if w.s[w.i] == '\\' {
			escaped = true
			w.i++
		}
		w.i++
	}
	w.i++
	if s := w.s[start : w.i-1]; !escaped {
		return s
	}
	return unquote(w.s[start : w.i-1])
}

// key redacts a key that holds a value itself, such as an address by which something is looked up.
func (w *rewriter) key(start int, name string) {
	if out := w.p.key(w.f, name); out != name {
		w.put(start, w.i, quote(out))
	}
}

func (p *pass) key(f field, name string) string {
	if len(name) < 6 || !strings.ContainsAny(name, "@0123456789%") {
		return name
	}
	return p.text(f, name, "")
}

// leaf redacts a string of JSON.
func (p *pass) leaf(f field, s, key, about string, inner int) string {
	if s == "" || p.rules.untouched(f) || blob(s) {
		return s
	}
	if credential(key) && len(s) >= 4 && len(s) <= 4096 && !p.rules.redactor.marks.whole(s) && !looksLikeJSON(s) {
		if m := p.rules.modeOf(f, kindSecret); m != keep {
			p.found[kindSecret]++
			return p.stands(m, kindSecret, s)
		}
	}
	return p.nested(f, s, about, inner)
}

// number redacts a JSON number that is a card, a telephone or the like by its digits and key. What takes its place
// is a string, or null.
func (p *pass) number(f field, s, about string) (out string, changed bool) {
	digits := strings.TrimPrefix(s, "-")
	if strings.ContainsAny(digits, "eE") {
		v, err := strconv.ParseFloat(digits, 64)
		if err != nil || !(v < 1e20) {
			return s, false
		}
		digits = strconv.FormatFloat(v, 'f', -1, 64)
	}
	digits, fraction, _ := strings.Cut(digits, ".")
	if strings.Trim(fraction, "0") != "" || len(digits) < 7 || p.rules.untouched(f) {
		return s, false
	}
	text := p.text(f, digits, about)
	switch text {
	case digits:
		return s, false
	case "":
		return "null", true
	}
	return quote(text), true
}

// blob says whether s is data rather than text: a picture or a sound in base64.
func blob(s string) bool {
	if rest, ok := strings.CutPrefix(s, "data:"); ok {
		head, _, _ := strings.Cut(rest[:min(len(rest), 100)], ",")
		kind, _, _ := strings.Cut(head, "/")
		if strings.HasSuffix(head, ";base64") && (kind == "image" || kind == "audio" || kind == "video" || kind == "application") {
			return true
		}
	}
	if len(s) < 4096 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alnum(rune(c)) && c != '+' && c != '/' && c != '=' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// credential says whether a key of JSON says that its value is one, whatever it looks like.
func credential(key string) bool {
	if len(key) > 24 {
		return false
	}
	switch strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, key) {
	case "password", "passwd", "pwd", "passphrase", "apikey", "accesstoken", "refreshtoken", "authtoken", "idtoken", "secretkey", "clientsecret", "privatekey",
		"authorization", "xapikey", "secretaccesskey", "bearertoken", "sessiontoken", "connectionstring":
		return true
	}
	return false
}

// keyWords are the words of a key with those of the one above: phoneNumber is said as phone number.
func keyWords(above, key string) string {
	if key == "content" || key == "text" || key == "arguments" || key == "role" || key == "type" || len(key)+len(above) > 64 {
		return ""
	}
	var b strings.Builder
	for n, k := range [2]string{above, key} {
		if n > 0 && b.Len() > 0 {
			b.WriteByte(' ')
		}
		low := false
		for _, r := range k {
			switch {
			case r == '_' || r == '-' || r == '.':
				r = ' '
			case r >= 'A' && r <= 'Z' && low:
				b.WriteByte(' ')
			}
			low = r >= 'a' && r <= 'z'
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unquote decodes the inside of a JSON string.
func unquote(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'u':
			r := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) && i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
				if full := utf16.DecodeRune(r, hex4(s[i+3:])); full != utf8.RuneError {
					r = full
					i += 6
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func hex4(s string) rune {
	v, err := strconv.ParseUint(s[:4], 16, 32)
	if err != nil {
		return utf8.RuneError
	}
	return rune(v)
}

// quote is s as a JSON string.
func quote(s string) string {
	b := make([]byte, 0, len(s)+8)
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return string(append(b, '"'))
}
