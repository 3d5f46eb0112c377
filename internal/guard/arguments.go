package guard

import (
	"unicode/utf16"
	"unicode/utf8"
)

// arguments reads the text of a tool call's arguments, which is JSON: a letter may be written there as an escape, and what is
// masked has to lie within one string.
type arguments struct {
	esc    [6]byte
	n      int  // bytes of an escape that has begun
	start  int  // where it began
	high   rune // first half of a surrogate pair; 0 for none
	highAt int
	inside bool  // a string is open
	quotes []int // places of the quotes that open and close strings, as far as they may matter
	before bool  // a string was open before the first of them
}

// since is the earliest byte whose rune is not known.
func (a *arguments) since(pos int) int {
	if a.n > 0 {
		pos = min(pos, a.start)
	}
	if a.high != 0 {
		pos = min(pos, a.highAt)
	}
	return pos
}

// step takes the rune text[start:end] of the JSON.
func (a *arguments) step(f *filter, r rune, start, end int) {
	if a.n == 0 {
		switch {
		case r == '\\' && a.inside:
			a.esc[0], a.n, a.start = '\\', 1, start
			return
		case r == '"':
			a.half(f, start)
			a.inside = !a.inside
			a.quotes = append(a.quotes, start)
		default:
			a.half(f, start)
		}
		f.step(r, start, end)
		return
	}
	if r >= utf8.RuneSelf {
		r = utf8.RuneError
		a.n = 0
		f.step(r, a.start, end)
		return
	}
	a.esc[a.n] = byte(r)
	a.n++
	if a.esc[1] == 'u' && a.n < 6 && (a.n == 2 || hexValue(byte(r)) >= 0) {
		return
	}
	n := a.n
	a.n = 0
	c := escaped(a.esc[:n])
	if utf16.IsSurrogate(c) {
		if a.high != 0 {
			if both := utf16.DecodeRune(a.high, c); both != utf8.RuneError {
				a.high = 0
				f.step(both, a.highAt, end)
				return
			}
		}
		a.half(f, a.start)
		if c < 0xdc00 {
			a.high, a.highAt = c, a.start
			return
		}
		c = utf8.RuneError
	}
	a.half(f, a.start)
	f.step(c, a.start, end)
}

// half takes the first half of a pair whose second half does not come.
func (a *arguments) half(f *filter, end int) {
	if a.high != 0 {
		a.high = 0
		f.step(utf8.RuneError, a.highAt, end)
	}
}

func (a *arguments) flush(f *filter) {
	a.half(f, f.pos)
	if a.n > 0 {
		a.n = 0
		f.step(utf8.RuneError, a.start, f.pos)
	}
}

// broken says whether a span is not within one string.
func (a *arguments) broken(start, end int) bool {
	inside := a.before
	for _, q := range a.quotes {
		if q >= end {
			break
		}
		if q >= start {
			return true
		}
		inside = !inside
	}
	return !inside
}

// forget drops the quotes before a position, about which nothing is asked any more.
func (a *arguments) forget(before int) {
	n := 0
	for n < len(a.quotes) && a.quotes[n] < before {
		a.before = !a.before
		n++
	}
	a.quotes = a.quotes[:copy(a.quotes, a.quotes[n:])]
}

// escaped is the rune of an escape of JSON.
func escaped(esc []byte) rune {
	switch esc[1] {
	case 'n', 'r', 'b', 'f', 't':
		return ' '
	case '"', '\\', '/':
		return rune(esc[1])
	case 'u':
		if len(esc) == 6 {
			v := rune(0)
			for _, c := range esc[2:] {
				h := hexValue(c)
				if h < 0 {
					return utf8.RuneError
				}
				v = v<<4 | rune(h)
			}
			return v
		}
	}
	return utf8.RuneError
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
