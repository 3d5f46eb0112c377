package sim

import (
	"unicode"
	"unicode/utf8"
)

// The tokenizer is a stand-in with the usual proportions of a real one, about four bytes of English
// a token. A token is a piece of at most eight letters or three digits, one other character, or a
// run of white space; a single space belongs to the token that follows it. The tokens of a text
// joined together are the text.

const (
	lettersPerToken = 8
	digitsPerToken  = 3
	firstCJK        = 0x2e80 // from here on every letter is a token of its own
)

// nextToken returns the length in bytes of the first token of s, which is not empty.
func nextToken(s string) int {
	i := 0
	if isSpace(s[0]) {
		for i < len(s) && isSpace(s[i]) {
			i++
		}
		if i == len(s) {
			return i
		}
		if s[i-1] != ' ' {
			return i
		}
		if i > 1 {
			return i - 1
		}
	}
	if c := s[i]; c < utf8.RuneSelf {
		switch {
		case isLetter(c):
			return i + letters(s[i:])
		case isDigit(c):
			n := 1
			for n < digitsPerToken && i+n < len(s) && isDigit(s[i+n]) {
				n++
			}
			return i + n
		}
		return i + 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if unicode.IsLetter(r) && r < firstCJK {
		return i + letters(s[i:])
	}
	return i + n
}

// letters returns the length of the run of letters that s starts with, cut at lettersPerToken. An
// apostrophe before a letter counts as a letter.
func letters(s string) int {
	i, n := 0, 0
	for i < len(s) && n < lettersPerToken {
		c := s[i]
		if c < utf8.RuneSelf {
			if !isLetter(c) && (c != '\'' || i+1 == len(s) || !isLetter(s[i+1])) {
				break
			}
			i++
			n++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if !unicode.IsLetter(r) || r >= firstCJK {
			break
		}
		i += size
		n++
	}
	return i
}

// countTokens returns the number of tokens of s.
func countTokens(s string) int {
	n := 0
	for len(s) > 0 {
		s = s[nextToken(s):]
		n++
	}
	return n
}

// truncate returns the first n tokens of s, and how many those are.
func truncate(s string, n int) (string, int) {
	i, k := 0, 0
	for k < n && i < len(s) {
		i += nextToken(s[i:])
		k++
	}
	return s[:i], k
}

func isSpace(c byte) bool  { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
