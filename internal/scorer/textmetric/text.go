package textmetric

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// The reference packages are written in Python, whose notions of white space, lower case and word
// character differ from Go's in a few characters; the functions below follow Python's.

// isSpace reports whether r separates words: Unicode white space and the four ASCII separators.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f
}

// isWord reports whether r is matched by \w.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z'
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r)
}

// isASCIIPunct reports whether r is one of the 32 ASCII punctuation characters.
func isASCIIPunct(r rune) bool {
	return '!' <= r && r <= '/' || ':' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
}

// fields splits s around white space.
func fields(s string) []string { return strings.FieldsFunc(s, isSpace) }

// trimRight removes trailing white space.
func trimRight(s string) string { return strings.TrimRightFunc(s, isSpace) }

// lower maps s to lower case. Only two characters need more than the simple mapping: a capital I
// with dot becomes two characters, and a capital sigma depends on its neighbours.
func lower(s string) string {
	if strings.ContainsAny(s, "\u0130\u03a3") {
		return cases.Lower(language.Und).String(s)
	}
	return strings.ToLower(s)
}

// stripSpace removes all white space from s.
func stripSpace(s string) string {
	if !strings.ContainsFunc(s, isSpace) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isSpace(r) {
			return -1
		}
		return r
	}, s)
}
