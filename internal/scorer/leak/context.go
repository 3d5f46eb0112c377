package leak

import (
	"strings"
	"unicode/utf8"
)

// contextBefore says whether one of words stands as a word within the n bytes before text[i].
func contextBefore(text string, i, n int, words []string) bool {
	return mentions(text[max(0, i-n):i], words)
}

// contextAround also looks at the text after a span, up to a third as far.
func contextAround(text string, start, end, n int, words []string) bool {
	return contextBefore(text, start, n, words) || mentions(text[end:min(len(text), end+n/3)], words)
}

// mentions says whether one of words, which are in lower case, is in a short text as a word.
func mentions(text string, words []string) bool {
	original := text
	text = strings.ToLower(text)
	if len(text) != len(original) {
		original = text // letters whose lower case has another length: places do not agree
	}
	for _, w := range words {
		for at := 0; ; {
			i := strings.Index(text[at:], w)
			if i < 0 {
				break
			}
			i += at
			end := i + len(w)
			// Before a word of another script may stand one that is not parted from it.
			if (i == 0 || !inWord(text[i-1]) || !inWord(w[0]) || w[0] >= utf8.RuneSelf) && (end == len(text) || !isLetter(text[end]) || !isLetter(w[len(w)-1])) {
				if i == 0 || end == len(text) || !masked(original, i-1, end+1) {
					return true
				}
			}
			at = i + 1
		}
	}
	return false
}

// masked says whether text[start:end] is a mark that stands where something was taken out, such as [CARD]: it says
// nothing of what is near it.
func masked(text string, start, end int) bool {
	if end-start < 3 || text[start] != '[' || text[end-1] != ']' {
		return false
	}
	for _, c := range []byte(text[start+1 : end-1]) {
		if (c < 'A' || c > 'Z') && c != '_' && !isDigit(c) {
			return false
		}
	}
	return true
}
