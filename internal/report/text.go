package report

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cut returns valid UTF-8 of at most n bytes of s and how many bytes of s were left out. The
// result does not keep s alive.
func cut(s string, n int) (string, int) {
	left := 0
	if len(s) > n {
		end := n
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		left = len(s) - end
		s = s[:end]
	}
	return strings.Clone(strings.ToValidUTF8(s, "\uFFFD")), left
}

// clip cuts a block of text and says on a line of its own how much is missing.
func clip(s string, n int) string {
	s, left := cut(s, n)
	if left == 0 {
		return s
	}
	return fmt.Sprintf("%s\n… [cut: %s more bytes, all in %s]", s, count(left), samplesFile)
}

// oneLine puts s on one line of at most n runes: line breaks become a visible mark, characters
// that would act on a terminal or turn text around are spelled out, and a cut is marked by "…".
func oneLine(s string, n int) string {
	if len(s) <= n && plainText(s) {
		return s
	}
	// Every rune of the result stems from a byte or more of s: no need to look at all of a long text.
	s, left := cut(s, 4*n+4)
	var b strings.Builder
	runes := 0
	put := func(piece string) bool {
		k := utf8.RuneCountInString(piece)
		if runes+k > n {
			left++
			return false
		}
		b.WriteString(piece)
		runes += k
		return true
	}
	s = strings.ReplaceAll(strings.TrimSpace(s), "\r\n", "\n")
	for _, r := range s {
		piece := string(r)
		switch {
		case r == '\n':
			piece = "↵"
		case r == '\t':
			piece = " "
		case acts(r):
			piece = fmt.Sprintf("\\u%04x", r)
		}
		if !put(piece) {
			break
		}
	}
	if left > 0 {
		b.WriteString("…")
	}
	return b.String()
}

// plainText says whether s is printable ASCII without space around it, as most names are.
func plainText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}

// acts says whether a character does something other than stand for itself: control characters,
// and the marks that reorder or hide text.
func acts(r rune) bool {
	switch {
	case unicode.IsControl(r), r == '\u2028', r == '\u2029', r == '\uFEFF':
		return true
	case r >= '\u200B' && r <= '\u200F', r >= '\u202A' && r <= '\u202E', r >= '\u2060' && r <= '\u2069':
		// The joiner between emoji and in several scripts is harmless and common.
		return r != '\u200D' && r != '\u200C'
	}
	return false
}

// ciCommand is what CI systems obey anywhere in a line of a log.
var ciCommand = regexp.MustCompile(`(?i)##(\[|vso\[|teamcity\[)`)

// logLine is oneLine for a terminal or a CI log, in which a model must not be able to give
// commands. The caller puts something in front of it, so that "::" cannot start a line.
func logLine(s string, n int) string {
	return ciCommand.ReplaceAllString(oneLine(s, n), "# #$1")
}
