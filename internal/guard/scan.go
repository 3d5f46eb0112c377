package guard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// place is a part of a document: b[start:end].
type place struct{ start, end int }

func (p place) of(b []byte) []byte { return b[p.start:p.end] }

func (p place) none() bool { return p.end == 0 }

// deepest is how deep documents may be nested.
const deepest = 512

// walk goes over the members of an object or the items of an array.
type walk struct {
	b     []byte
	close byte // 0 when the value is neither
	i     int
	n     int
	bad   bool
	// The entry found last: its key with quotes, of an object, and its value.
	key, val place
	// end is behind the closing bracket, once next has returned false and bad is false.
	end int
}

// open begins a walk over the value that begins at b[i]. A value that is neither an object nor an array has no entries.
func open(b []byte, i int) walk {
	w := walk{b: b, i: i}
	if i < len(b) && b[i] == '{' {
		w.close = '}'
	} else if i < len(b) && b[i] == '[' {
		w.close = ']'
	}
	return w
}

func (w *walk) fail() bool {
	w.bad = true
	return false
}

// next moves to the next entry.
func (w *walk) next() bool {
	if w.close == 0 || w.bad || w.end > 0 {
		return false
	}
	b := w.b
	if w.n == 0 {
		w.i++
	}
	i := skipSpace(b, w.i)
	if i < len(b) && b[i] == w.close {
		w.end = i + 1
		return false
	}
	if w.n > 0 {
		if i >= len(b) || b[i] != ',' {
			return w.fail()
		}
		i = skipSpace(b, i+1)
	}
	w.key = place{}
	if w.close == '}' {
		end := skipString(b, i)
		if end < 0 {
			return w.fail()
		}
		w.key = place{i, end}
		if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
			return w.fail()
		}
		i = skipSpace(b, i+1)
	}
	end := skipValue(b, i, deepest)
	if end < 0 {
		return w.fail()
	}
	w.val = place{i, end}
	w.i = end
	w.n++
	return true
}

// name is the key, decoded.
func (w *walk) name() []byte {
	raw := w.b[w.key.start+1 : w.key.end-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	return unquote(nil, w.key.of(w.b))
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at b[i], or -1.
func skipString(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			i++
			if i >= len(b) {
				return -1
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(b) || hexValue(b[i]) < 0 {
						return -1
					}
				}
			default:
				return -1
			}
		}
	}
	return -1
}

// skipValue returns the index behind the value that begins at b[i], or -1 when it is not valid.
func skipValue(b []byte, i, depth int) int {
	if i >= len(b) || depth == 0 {
		return -1
	}
	switch c := b[i]; {
	case c == '"':
		return skipString(b, i)
	case c == '{' || c == '[':
		closing := c + 2 // of ASCII's brackets
		i = skipSpace(b, i+1)
		if i < len(b) && b[i] == closing {
			return i + 1
		}
		for {
			if c == '{' {
				if i = skipString(b, i); i < 0 {
					return -1
				}
				if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
					return -1
				}
				i = skipSpace(b, i+1)
			}
			if i = skipValue(b, i, depth-1); i < 0 {
				return -1
			}
			i = skipSpace(b, i)
			switch {
			case i >= len(b):
				return -1
			case b[i] == closing:
				return i + 1
			case b[i] != ',':
				return -1
			}
			i = skipSpace(b, i+1)
		}
	case c == 't':
		return skipWord(b, i, "true")
	case c == 'f':
		return skipWord(b, i, "false")
	case c == 'n':
		return skipWord(b, i, "null")
	case c == '-' || c >= '0' && c <= '9':
		start := i
		for i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i] == '.' || b[i]|0x20 == 'e' || b[i] == '-' || b[i] == '+') {
			i++
		}
		if _, err := strconv.ParseFloat(string(b[start:i]), 64); err != nil && i-start < 40 {
			return -1
		}
		return i
	}
	return -1
}

func skipWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// whole says whether b is one JSON value.
func whole(b []byte) bool {
	end := skipValue(b, skipSpace(b, 0), deepest)
	return end >= 0 && skipSpace(b, end) == len(b)
}

// isText says whether the value at p is a string.
func isText(b []byte, p place) bool { return p.end-p.start >= 2 && b[p.start] == '"' }

// isNull says whether there is no value at p, or null.
func isNull(b []byte, p place) bool { return p.none() || string(p.of(b)) == "null" }

// text returns the decoded string at p, "" when it is none.
func text(b []byte, p place) string {
	if !isText(b, p) {
		return ""
	}
	return string(unquote(nil, p.of(b)))
}

// number returns the whole number at p, or def.
func number(b []byte, p place, def int) int {
	if n, err := strconv.Atoi(string(p.of(b))); err == nil {
		return n
	}
	return def
}

// unit returns the length of what stands for the next runes in the inside of a string literal, and appends these.
func unit(dst, raw []byte) (out []byte, n int) {
	if raw[0] != '\\' {
		n := bytes.IndexByte(raw, '\\')
		if n < 0 {
			n = len(raw)
		}
		return append(dst, raw[:n]...), n
	}
	switch raw[1] {
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'u':
		r := hex4(raw[2:])
		if utf16.IsSurrogate(r) {
			if len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u' {
				if both := utf16.DecodeRune(r, hex4(raw[8:])); both != utf8.RuneError {
					return utf8.AppendRune(dst, both), 12
				}
			}
			r = utf8.RuneError
		}
		return utf8.AppendRune(dst, r), 6
	}
	return append(dst, raw[1]), 2
}

func hex4(b []byte) rune {
	v := rune(0)
	for _, c := range b[:4] {
		v = v<<4 | rune(hexValue(c))
	}
	return v
}

// unquote appends the text of a string literal that skipString has accepted.
func unquote(dst, lit []byte) []byte {
	raw := lit[1 : len(lit)-1]
	for len(raw) > 0 {
		var n int
		dst, n = unit(dst, raw)
		raw = raw[n:]
	}
	return dst
}

// appendInside appends s as it stands within a string literal.
func appendInside(dst []byte, s string) []byte {
	b := quote(s)
	return append(dst, b[1:len(b)-1]...)
}

// quote returns s as a string literal.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be written
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}

// splice appends a string literal with spans of its text replaced. The text begins at from, and spans are in the positions
// of that; stand says what takes the place of one. What is not replaced stays as it was written.
func splice(dst, lit []byte, from int, spans []span, stand func(span) string) []byte {
	raw := lit[1 : len(lit)-1]
	dst = append(dst, '"')
	at := from
	var scratch [8]byte
	i := 0
	for len(raw) > 0 {
		for i < len(spans) && spans[i].end <= at {
			i++
		}
		decoded, n := unit(scratch[:0], raw)
		size := len(decoded)
		if raw[0] != '\\' && i < len(spans) {
			// Plain bytes: up to where a span begins or ends.
			x := spans[i]
			limit := x.end
			if at < x.start {
				limit = x.start
			}
			n = min(n, limit-at)
			size = n
		}
		if i < len(spans) && at < spans[i].end && at+size > spans[i].start {
			if x := spans[i]; x.start >= at {
				dst = appendInside(dst, stand(x))
			}
		} else {
			dst = append(dst, raw[:n]...)
		}
		at += size
		raw = raw[n:]
	}
	return append(dst, '"')
}

// spliceJSON is splice for a text that is JSON itself.
func spliceJSON(dst, b []byte, from int, spans []span, stand func(span) string) []byte {
	at := 0
	for _, x := range spans {
		start, end := max(x.start-from, at), min(x.end-from, len(b))
		if start >= end {
			continue
		}
		dst = append(dst, b[at:start]...)
		if x.start >= from {
			dst = append(dst, stand(x)...)
		}
		at = end
	}
	return append(dst, b[at:]...)
}

// edit is a change to a document.
type edit struct {
	place
	to []byte
}

// sortEdits puts edits in order; of those that begin at one place the widest counts.
func sortEdits(edits []edit) {
	slices.SortStableFunc(edits, func(x, y edit) int {
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(y.end, x.end))
	})
}

// apply appends b with the edits made, which are in order and do not overlap.
func apply(dst, b []byte, edits []edit) []byte {
	last := 0
	for _, e := range edits {
		if e.start < last {
			continue // within what has been replaced
		}
		dst = append(append(dst, b[last:e.start]...), e.to...)
		last = e.end
	}
	return append(dst, b[last:]...)
}
