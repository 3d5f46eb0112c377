package wiretap

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// cursor walks over one JSON document in a single pass and checks its grammar on the way. Objects and lists are
// walked like this:
//
//	for c.open('{'); c.more('}'); {
//		switch string(c.key()) {
//		case "model":
//			model = c.str()
//		default:
//			c.skip()
//		}
//	}
//
// A value that is not of the kind that a method reads is skipped and gives the zero value. After a mistake bad is set,
// every method returns a zero value and every loop ends, so that what was read before it stands.
type cursor struct {
	b   []byte
	i   int
	bad bool
	// fresh says that a container has just been opened, so that no comma is due.
	fresh bool
	depth int
	keys  []byte // room for keys with escapes
}

// maxDepth bounds nesting.
const maxDepth = 256

func (c *cursor) fail() {
	c.bad = true
}

// space skips white space and returns the byte that follows, 0 at the end or after a mistake.
func (c *cursor) space() byte {
	if c.bad {
		return 0
	}
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; ch {
		case ' ', '\n', '\t', '\r':
			c.i++
		default:
			return ch
		}
	}
	return 0
}

// open enters an object or a list; a value of another kind is skipped, and more then ends the loop at once.
func (c *cursor) open(bracket byte) {
	if c.space() != bracket {
		c.skip()
		c.fresh = false
		c.depth |= notOpen
		return
	}
	c.i++
	c.fresh = true
	if c.depth++; c.depth > maxDepth {
		c.fail()
	}
}

// notOpen marks in depth that the last open met something else.
const notOpen = 1 << 30

// more says whether another member or element follows.
func (c *cursor) more(bracket byte) bool {
	if c.depth&notOpen != 0 {
		c.depth &^= notOpen
		return false
	}
	ch := c.space()
	first := c.fresh
	c.fresh = false
	switch {
	case c.bad:
		return false
	case ch == bracket:
		c.i++
		c.depth--
		return false
	case first && ch != 0:
		return true
	case ch == ',':
		c.i++
		if next := c.space(); next != 0 && next != bracket {
			return true
		}
	}
	c.fail()
	return false
}

// key reads a member's name and the colon. The bytes are valid until the next call.
func (c *cursor) key() []byte {
	if c.space() != '"' {
		c.fail()
		return nil
	}
	raw, escaped := c.rawString()
	if escaped {
		c.keys = unescape(c.keys[:0], raw)
		raw = c.keys
	}
	if c.space() != ':' {
		c.fail()
		return nil
	}
	c.i++
	return raw
}

// rawString reads a string and returns what is between the quotes, and whether there is a backslash in it. Of a string
// that the end of the document cuts off it returns what there is, and fails.
func (c *cursor) rawString() (raw []byte, escaped bool) {
	start := c.i + 1
	for i := start; i < len(c.b); i++ {
		switch ch := c.b[i]; {
		case ch == '"':
			c.i = i + 1
			return c.b[start:i], escaped
		case ch == '\\':
			n := escapeLength(c.b[i:])
			if n == 0 {
				c.i = i
				c.fail()
				return c.b[start:i], escaped
			}
			escaped = true
			i += n - 1
		case ch < ' ':
			c.i = i
			c.fail()
			return c.b[start:i], escaped
		}
	}
	c.i = len(c.b)
	c.fail()
	return c.b[min(start, len(c.b)):], escaped
}

// escapeLength returns how many bytes the escape at the start of b has, 0 when it is none.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, ch := range b[2:6] {
			if !hexDigit(ch) {
				return 0
			}
		}
		return 6
	}
	return 0
}

func hexDigit(ch byte) bool {
	return ch >= '0' && ch <= '9' || ch|0x20 >= 'a' && ch|0x20 <= 'f'
}

// unescape appends the text of a string to dst. raw has been checked.
func unescape(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		raw = raw[i:]
		if len(raw) < 2 {
			return dst
		}
		switch raw[1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			if len(raw) < 6 {
				return dst
			}
			r := hexRune(raw[2:6])
			raw = raw[6:]
			if utf16.IsSurrogate(r) {
				r2 := rune(utf8.RuneError)
				if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
					r2 = utf16.DecodeRune(r, hexRune(raw[2:6]))
				}
				if r = r2; r != utf8.RuneError {
					raw = raw[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		default:
			dst = append(dst, raw[1])
		}
		raw = raw[2:]
	}
}

func hexRune(b []byte) rune {
	var r rune
	for _, ch := range b {
		switch {
		case ch <= '9':
			r = r<<4 | rune(ch-'0')
		default:
			r = r<<4 | rune(ch|0x20-'a'+10)
		}
	}
	return r
}

// text makes a string of the inside of a JSON string; bytes that are not UTF-8 become U+FFFD.
func text(raw []byte, escaped bool) string {
	if escaped {
		raw = unescape(make([]byte, 0, len(raw)), raw)
	}
	if !utf8.Valid(raw) {
		return strings.ToValidUTF8(string(raw), "\ufffd")
	}
	return string(raw)
}

// str reads a string, or skips anything else.
func (c *cursor) str() string {
	if c.space() != '"' {
		c.skip()
		return ""
	}
	return text(c.rawString())
}

// strOr is str, and returns old itself when the string is the same: most events of a stream repeat the model's name.
func (c *cursor) strOr(old string) string {
	if c.space() != '"' {
		c.skip()
		return ""
	}
	raw, escaped := c.rawString()
	if !escaped && string(raw) == old {
		return old
	}
	return clip(text(raw, escaped), maxName)
}

// appendStr is str into dst.
func (c *cursor) appendStr(dst []byte) []byte {
	if c.space() != '"' {
		c.skip()
		return dst
	}
	raw, escaped := c.rawString()
	if !escaped {
		return append(dst, raw...)
	}
	return unescape(dst, raw)
}

// number reads a number, or skips anything else.
func (c *cursor) number() (v float64, ok bool) {
	if ch := c.space(); ch != '-' && (ch < '0' || ch > '9') {
		c.skip()
		return 0, false
	}
	raw, small := c.rawNumber()
	if c.bad {
		return 0, false
	}
	if small {
		n := 0
		for _, ch := range raw {
			n = n*10 + int(ch-'0')
		}
		return float64(n), true
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	return v, err == nil
}

// count reads a number of tokens or the like: 0 when it is no whole number from 0 to 2³¹-1.
func (c *cursor) count() int {
	v, ok := c.number()
	if !ok || v < 0 || v > 1<<31-1 || v != float64(int(v)) {
		return 0
	}
	return int(v)
}

// truth reads true; anything else is false.
func (c *cursor) truth() bool {
	is := c.space() == 't'
	c.skip()
	return is && !c.bad
}

// rawNumber reads a number by JSON's grammar. small says that it is a short row of digits.
func (c *cursor) rawNumber() (raw []byte, small bool) {
	b, i := c.b, c.i
	start := i
	if i < len(b) && b[i] == '-' {
		i++
	}
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	first := i
	if !digits() || b[first] == '0' && i > first+1 {
		c.fail()
		return nil, false
	}
	small = first == start && i-start < 10
	if i < len(b) && b[i] == '.' {
		small = false
		i++
		if !digits() {
			c.fail()
			return nil, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		small = false
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			c.fail()
			return nil, false
		}
	}
	c.i = i
	return b[start:i], small
}

// skip passes over one value of any kind.
func (c *cursor) skip() {
	switch ch := c.space(); ch {
	case '"':
		c.rawString()
	case '{':
		for c.open('{'); c.more('}'); {
			c.key()
			c.skip()
		}
	case '[':
		for c.open('['); c.more(']'); {
			c.skip()
		}
	case 't':
		c.word("true")
	case 'f':
		c.word("false")
	case 'n':
		c.word("null")
	default:
		if c.bad {
			return
		}
		if ch != '-' && (ch < '0' || ch > '9') {
			c.fail()
			return
		}
		c.rawNumber()
	}
}

func (c *cursor) word(w string) {
	if len(c.b)-c.i < len(w) || string(c.b[c.i:c.i+len(w)]) != w {
		c.fail()
		return
	}
	c.i += len(w)
}

// raw passes over one value and returns its bytes; nil after a mistake.
func (c *cursor) raw() []byte {
	c.space()
	start := c.i
	c.skip()
	if c.bad {
		return nil
	}
	return c.b[start:c.i]
}

// value reads a value of any kind into what encoding/json would make of it; a number too large for a float becomes nil.
func (c *cursor) value() any {
	switch c.space() {
	case '"':
		return c.str()
	case '{':
		m := map[string]any{}
		for c.open('{'); c.more('}'); {
			key := string(c.key())
			v := c.value()
			if !c.bad {
				m[strings.ToValidUTF8(key, "\ufffd")] = v
			}
		}
		return m
	case '[':
		l := []any{}
		for c.open('['); c.more(']'); {
			if v := c.value(); !c.bad {
				l = append(l, v)
			}
		}
		return l
	case 't':
		c.word("true")
		return true
	case 'f':
		c.word("false")
		return false
	case 'n':
		c.word("null")
		return nil
	}
	if v, ok := c.number(); ok {
		return v
	}
	return nil // a mistake, or a number too large for a float
}

// end says whether the document was well-formed and is over.
func (c *cursor) end() bool {
	return !c.bad && c.space() == 0 && c.i == len(c.b)
}
