package guard

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Text is looked at rune by rune in two views. The plain one, for patterns and personal data, has signs of other widths as
// ASCII and leaves out what is not seen. The folded one, for phrases, has no case, accents and compatibility forms either,
// letters of other scripts that look like Latin ones are these, and white space is one space.

// folder makes the folded view. It is used by one goroutine, and keeps the last result.
type folder struct{ out []rune }

// fold returns the folded view of a rune, empty for what is not seen. It is valid until the next call.
func (f *folder) fold(r rune) []rune {
	f.out = f.out[:0]
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r |= 0x20
		} else if space(r) {
			r = ' '
		}
		f.out = append(f.out, r)
		return f.out
	}
	if unseen(r) {
		return nil
	}
	if space(r) {
		f.out = append(f.out, ' ')
		return f.out
	}
	var buf [utf8.UTFMax]byte
	n := utf8.EncodeRune(buf[:], r)
	d := norm.NFKD.Properties(buf[:n]).Decomposition()
	if d == nil {
		f.out = append(f.out, plainLetter(r))
		return f.out
	}
	for len(d) > 0 {
		r, n := utf8.DecodeRune(d)
		d = d[n:]
		switch {
		case accent(r) || unseen(r):
		case space(r):
			f.out = append(f.out, ' ')
		default:
			f.out = append(f.out, plainLetter(r))
		}
	}
	return f.out
}

// plainLetter is a rune in lower case, or the Latin letter that it looks like.
func plainLetter(r rune) rune {
	r = unicode.ToLower(r)
	if r < 0x0131 || r > 0x051b {
		return r
	}
	if l, ok := alike[r]; ok {
		return l
	}
	return r
}

// alike are the letters of Greek and Cyrillic that most fonts draw like a Latin one, and forms of one letter.
var alike = map[rune]rune{
	'ı': 'i', 'ς': 'σ',
	'α': 'a', 'ι': 'i', 'κ': 'k', 'ν': 'v', 'ο': 'o', 'ρ': 'p', 'τ': 't', 'υ': 'u', 'χ': 'x',
	'а': 'a', 'в': 'b', 'е': 'e', 'к': 'k', 'м': 'm', 'н': 'h', 'о': 'o', 'р': 'p', 'с': 'c', 'т': 't', 'у': 'y', 'х': 'x', 'ѕ': 's', 'і': 'i', 'ј': 'j', 'һ': 'h', 'ӏ': 'l', 'ԁ': 'd', 'ԛ': 'q',
}

// accent says whether a rune is a mark on the letter before it, in scripts where words are the same without.
func accent(r rune) bool {
	return r >= 0x0300 && r <= 0x036f || r >= 0x1ab0 && r <= 0x1aff || r >= 0x1dc0 && r <= 0x1dff || r >= 0x20d0 && r <= 0x20ff || r >= 0xfe20 && r <= 0xfe2f
}

// unseen says whether a rune takes no place on the screen: joiners, direction marks, variation selectors, tags.
func unseen(r rune) bool {
	switch {
	case r < 0x00ad:
		return false
	case r == 0x00ad, r == 0x034f, r == 0x061c, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r >= 0x180b && r <= 0x180f, r >= 0x200b && r <= 0x200f,
		r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0x3164, r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff, r == 0xffa0, r >= 0xfff9 && r <= 0xfffb,
		r >= 0x1bca0 && r <= 0x1bca3, r >= 0x1d173 && r <= 0x1d17a, r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return accent(r)
}

// space says whether a rune is white space.
func space(r rune) bool {
	switch {
	case r <= ' ':
		return r == ' ' || r >= '\t' && r <= '\r'
	case r < 0x85:
		return false
	}
	return unicode.IsSpace(r)
}

// plain appends the plain view of a rune, nothing for what is not seen.
func plain(dst []byte, r rune) []byte {
	switch {
	case r < utf8.RuneSelf:
		return append(dst, byte(r))
	case accent(r):
		return utf8.AppendRune(dst, r)
	case unseen(r):
		return dst
	case r == 0x2212, r >= 0x2010 && r <= 0x2015, r == 0x2043, r == 0x2e3a, r == 0x2e3b:
		return append(dst, '-')
	case r == 0x3002, r == 0x2219, r == 0x22c5:
		return append(dst, '.')
	case r == 0x2044, r == 0x2215:
		return append(dst, '/')
	case r == 0x2236:
		return append(dst, ':')
	case r >= 0x0660 && unicode.IsDigit(r):
		return append(dst, byte('0'+digit(r)))
	case r < 0x2000 && r != 0x00a0 && r != 0x1680:
		return utf8.AppendRune(dst, r)
	}
	var buf [utf8.UTFMax]byte
	n := utf8.EncodeRune(buf[:], r)
	d := norm.NFKD.Properties(buf[:n]).Decomposition()
	for _, c := range d {
		if c >= utf8.RuneSelf {
			d = nil
			break
		}
	}
	if d == nil {
		return append(dst, buf[:n]...)
	}
	return append(dst, d...)
}

// digit is the value of a decimal digit, which Unicode has in runs of ten.
func digit(r rune) rune {
	if r >= 0x1d7ce && r <= 0x1d7ff {
		return (r - 0x1d7ce) % 10
	}
	zero := r
	for unicode.IsDigit(zero-1) && r-zero < 9 {
		zero--
	}
	return r - zero
}

// unspaced says whether a rune is of a script that writes words without spaces between them.
func unspaced(r rune) bool {
	return r >= 0x0e00 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) || r == 'ー')
}

// joins says whether a rune is part of a word, in scripts that part words.
func joins(r rune) bool {
	if r < utf8.RuneSelf {
		return r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9'
	}
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) && !unspaced(r)
}
