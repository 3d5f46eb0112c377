package privacy

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A view is a text as a finder reads it: with the signs that look alike made one, or with escapes decoded. at[i] is
// the place in the original of the view's byte i; at has one more, for the end. nil stands for the text itself.

// unspaced says whether a rune is of a script that writes words without spaces between them.
func unspaced(r rune) bool {
	return r >= 0x0e00 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) || r == 'ー')
}

// plainly returns what a rune that is not ASCII stands for: drop for what is not seen, or the signs.
func plainly(r rune) (s string, drop, ok bool) {
	switch {
	case r < 0x00a0:
		return "", false, false
	case r == 0x00a0:
		return " ", false, true
	case r == 0x00ad, r == 0x034f, r == 0x061c, r == 0x180e, r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f,
		r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff, r >= 0xe0000 && r <= 0xe0fff:
		return "", true, true
	case r < 0x0660:
		return "", false, false
	case r >= 0x2000 && r <= 0x200a, r == 0x202f, r == 0x205f, r == 0x3000, r == 0x1680:
		return " ", false, true
	case r >= 0x2010 && r <= 0x2015, r == 0x2043, r == 0x2212, r == 0xfe58, r == 0xfe63, r == 0xff0d, r == 0x2e3a, r == 0x2e3b:
		return "-", false, true
	case r == 0x2024, r == 0x3002, r == 0xff0e, r == 0xff61, r == 0xfe52, r == 0x2219, r == 0x22c5:
		return ".", false, true
	case r == 0x2044, r == 0x2215:
		return "/", false, true
	case r == 0x2236, r == 0xfe13, r == 0xfe55:
		return ":", false, true
	case r == 0xfe6b, r == 0xff20, r == 0x24d0:
		return "@", false, true
	case r == 0x2795:
		return "+", false, true
	case unicode.IsDigit(r):
		return string('0' + digitValue(r)), false, true
	case r >= 0x2070 && r < 0x3040, r >= 0xf900 && r < 0x20000:
		d := norm.NFKC.PropertiesString(string(r)).Decomposition()
		if d == nil {
			return "", false, false
		}
		for _, c := range d {
			if c >= utf8.RuneSelf {
				return "", false, false
			}
		}
		return string(d), false, true
	}
	return "", false, false
}

// digitValue is the value of a decimal digit: Unicode has them in runs of ten that begin at 0 or 6 of a sixteen,
// but for those of mathematics, which follow one another.
func digitValue(r rune) rune {
	if r >= 0x1d7ce && r <= 0x1d7ff {
		return (r - 0x1d7ce) % 10
	}
	if low := r & 0xf; unicode.IsDigit(r&^0xf) && low < 10 {
		return low
	}
	return (r&0xf + 10) % 16
}

// fold returns the view of text with look-alikes made plain, and a space between ASCII letters or digits and those
// of scripts that write none. at is nil when that is text itself.
func fold(text string) (view string, at []int32) {
	high := 0
	for high < len(text) && text[high] < utf8.RuneSelf {
		high++
	}
	if high == len(text) {
		return text, nil
	}
	var b []byte
	grow := func(i int) {
		if b == nil {
			b = make([]byte, 0, len(text)+32)
			at = make([]int32, 0, len(text)+33)
			b = append(b, text[:i]...)
			for k := range i {
				at = append(at, int32(k))
			}
		}
	}
	before := rune(0)
	for i := high; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		} else if i == high {
			before = r
		}
		if i == high && i > 0 {
			before = rune(text[i-1])
		}
		s, drop, ok := "", false, false
		if r >= utf8.RuneSelf && r != utf8.RuneError {
			s, drop, ok = plainly(r)
		}
		now := r
		if ok && !drop && s != "" {
			now = rune(s[0])
		}
		if !drop && before != 0 && (unspaced(before) && alnum(now) || alnum(before) && unspaced(now)) {
			grow(i)
			b, at = append(b, ' '), append(at, int32(i))
		}
		switch {
		case drop:
			grow(i)
		case ok:
			grow(i)
			for k := range len(s) {
				b, at = append(b, s[k]), append(at, int32(i))
			}
			before = now
		default:
			if b != nil {
				for k := range size {
					b, at = append(b, text[i+k]), append(at, int32(i+k))
				}
			}
			before = now
		}
		i += size
	}
	if b == nil {
		return text, nil
	}
	return string(b), append(at, int32(len(text)))
}

func alnum(r rune) bool {
	return r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z'
}

// unescape returns the view of text with the escapes of URLs, JSON and HTML decoded. at is nil when there are none.
func unescape(text string) (view string, at []int32) {
	first := strings.IndexAny(text, `%\&+`)
	if first < 0 {
		return text, nil
	}
	var b []byte
	for i := first; i < len(text); {
		c := text[i]
		var s string
		n := 0
		switch c {
		case '%':
			s, n = percent(text[i:])
		case '\\':
			s, n = backslash(text[i:])
		case '&':
			s, n = reference(text[i:])
		case '+':
			// A space in the query of a URL: between words, where a + of telephones does not stand.
			if i > 0 && i+1 < len(text) && wordly(text[i-1]) && wordly(text[i+1]) {
				s, n = " ", 1
			}
		}
		if n > 0 && b == nil {
			b, at = make([]byte, 0, len(text)), make([]int32, 0, len(text)+1)
			b = append(b, text[:i]...)
			for k := range i {
				at = append(at, int32(k))
			}
		}
		if n == 0 {
			s, n = text[i:i+1], 1
		}
		if b != nil {
			for k := range len(s) {
				b, at = append(b, s[k]), append(at, int32(i))
			}
		}
		i += n
	}
	if b == nil {
		return text, nil
	}
	return string(b), append(at, int32(len(text)))
}

func wordly(b byte) bool {
	return alnum(rune(b)) || b == '%' || b == '.' || b == ',' || b == '(' || b == ')'
}

// percent decodes %40 and the like.
func percent(s string) (string, int) {
	if len(s) < 3 {
		return "", 0
	}
	v, err := strconv.ParseUint(s[1:3], 16, 8)
	if err != nil {
		return "", 0
	}
	return string([]byte{byte(v)}), 3
}

// backslash decodes an escape of a string in JSON and most languages.
func backslash(s string) (string, int) {
	if len(s) < 2 {
		return "", 0
	}
	switch s[1] {
	case 'n', 't', 'r', 'b', 'f', 'v':
		return "\n", 2
	case '\\', '/', '"', '\'', '-', '@', '.', '_', '+', '(', ')':
		return s[1:2], 2
	case 'x':
		if len(s) >= 4 {
			if v, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
				return string([]byte{byte(v)}), 4
			}
		}
	case 'u':
		if len(s) >= 6 {
			if v, err := strconv.ParseUint(s[2:6], 16, 16); err == nil {
				return string(rune(v)), 6
			}
		}
	}
	return "", 0
}

// reference decodes &#64;, &#x40; and the few names that matter.
func reference(s string) (string, int) {
	end := strings.IndexByte(s[:min(len(s), 10)], ';')
	if end < 0 {
		return "", 0
	}
	switch name := s[1:end]; name {
	case "nbsp", "ensp", "emsp", "thinsp", "Tab", "NewLine":
		return " ", end + 1
	case "commat":
		return "@", end + 1
	case "period":
		return ".", end + 1
	case "plus":
		return "+", end + 1
	case "hyphen", "dash", "ndash", "mdash", "minus":
		return "-", end + 1
	case "lt", "gt", "quot", "apos", "amp":
		return map[string]string{"lt": "<", "gt": ">", "quot": `"`, "apos": "'", "amp": "&"}[name], end + 1
	default:
		if len(name) < 2 || name[0] != '#' {
			return "", 0
		}
		base, digits := 10, name[1:]
		if digits[0]|0x20 == 'x' {
			base, digits = 16, digits[1:]
		}
		if v, err := strconv.ParseUint(digits, base, 21); err == nil && v > 0 {
			return string(rune(v)), end + 1
		}
	}
	return "", 0
}

// compose returns the places in the original of a view of a view.
func compose(outer, inner []int32) []int32 {
	if outer == nil {
		return inner
	}
	out := make([]int32, len(inner))
	for i, n := range inner {
		out[i] = outer[n]
	}
	return out
}

// span maps a span of a view to the original. The end is that of the last sign, so that what was not seen after it
// stays.
func span(at []int32, start, end int) (int, int) {
	if at == nil {
		return start, end
	}
	last := end
	for last < len(at)-1 && at[last] == at[end-1] {
		last++
	}
	return int(at[start]), int(at[last])
}
