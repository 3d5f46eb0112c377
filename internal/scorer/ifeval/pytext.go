package ifeval

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file holds Python's string semantics where Go's differ, for the reference is written in
// Python and its verdicts depend on them.

// isSpace is Python's str.isspace and re's \s; unlike Go's it has the four ASCII separators.
func isSpace(r rune) bool {
	switch {
	case r < 0x80:
		return '\t' <= r && r <= '\r' || 0x1c <= r && r <= ' '
	default:
		return unicode.IsSpace(r)
	}
}

// isWord is re's \w: letters, numbers of every kind, and the underscore.
func isWord(r rune) bool {
	if r < 0x80 {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r)
}

// isDigit is re's \d.
func isDigit(r rune) bool {
	if r < 0x80 {
		return '0' <= r && r <= '9'
	}
	return unicode.IsDigit(r)
}

func isUpper(r rune) bool {
	if r < 0x80 {
		return 'A' <= r && r <= 'Z'
	}
	return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r)
}

func isLower(r rune) bool {
	if r < 0x80 {
		return 'a' <= r && r <= 'z'
	}
	return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r)
}

// allUpper is str.isupper: some letter has case and none is lower or title case.
func allUpper(s string) bool {
	cased := false
	for _, r := range s {
		switch {
		case isUpper(r):
			cased = true
		case isLower(r), unicode.IsTitle(r):
			return false
		}
	}
	return cased
}

// allLower is str.islower.
func allLower(s string) bool {
	cased := false
	for _, r := range s {
		switch {
		case isLower(r):
			cased = true
		case isUpper(r), unicode.IsTitle(r):
			return false
		}
	}
	return cased
}

// strip is str.strip.
func strip(s string) string { return strings.TrimFunc(s, isSpace) }

// blank says whether nothing is left after strip.
func blank(s string) bool {
	for _, r := range s {
		if !isSpace(r) {
			return false
		}
	}
	return true
}

// fields is str.split.
func fields(s string) []string { return strings.FieldsFunc(s, isSpace) }

// lower is str.lower. Two letters differ from Go's mapping: a capital sigma at the end of a word,
// and the dotted capital I, which becomes two runes.
func lower(s string) string {
	special := false
	for i := 0; i < len(s); i++ {
		if s[i] == 0xce && i+1 < len(s) && s[i+1] == 0xa3 || s[i] == 0xc4 && i+1 < len(s) && s[i+1] == 0xb0 {
			special = true
			break
		}
	}
	if !special {
		return strings.ToLower(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		switch {
		case r == 'Σ' && endsWord(s, i):
			b.WriteRune('ς')
		case r == 'İ':
			b.WriteString("i\u0307")
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// endsWord says whether the sigma at byte i of s is written in its final form: a letter before it
// and none after it, where signs that belong to words are passed over.
func endsWord(s string, i int) bool {
	before := strings.TrimRightFunc(s[:i], caseIgnorable)
	r, _ := utf8.DecodeLastRuneInString(before)
	if !cased(r) {
		return false
	}
	after := strings.TrimLeftFunc(s[i+len("Σ"):], caseIgnorable)
	r, _ = utf8.DecodeRuneInString(after)
	return !cased(r)
}

func cased(r rune) bool {
	return isUpper(r) || isLower(r) || unicode.IsTitle(r)
}

// caseIgnorable is Unicode's Case_Ignorable, as far as its categories define it.
func caseIgnorable(r rune) bool {
	switch r {
	case '\'', '.', ':', '^', '`', '·', '\u2018', '\u2019', '\u2024', '\u2027':
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

// lineStart returns the first place at or after pos where a line of s begins, or -1.
func lineStart(s string, pos int) int {
	if pos == 0 || pos <= len(s) && s[pos-1] == '\n' {
		return pos
	}
	if pos > len(s) {
		return -1
	}
	i := strings.IndexByte(s[pos:], '\n')
	if i < 0 {
		return -1
	}
	return pos + i + 1
}

// lineEnd returns the end of the line that holds pos, before its newline.
func lineEnd(s string, pos int) int {
	if i := strings.IndexByte(s[pos:], '\n'); i >= 0 {
		return pos + i
	}
	return len(s)
}

// skipSpace returns the first place at or after pos that holds no white space.
func skipSpace(s string, pos int) int {
	for pos < len(s) {
		r, n := utf8.DecodeRuneInString(s[pos:])
		if !isSpace(r) {
			break
		}
		pos += n
	}
	return pos
}

// skipOneSpace returns the place after at most one white-space character at pos.
func skipOneSpace(s string, pos int) int {
	if r, n := utf8.DecodeRuneInString(s[pos:]); n > 0 && isSpace(r) {
		return pos + n
	}
	return pos
}
