package leak

import "strings"

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
	text = strings.ToLower(text)
	for _, w := range words {
		for at := 0; ; {
			i := strings.Index(text[at:], w)
			if i < 0 {
				break
			}
			i += at
			end := i + len(w)
			if (i == 0 || !inWord(text[i-1]) || !inWord(w[0])) && (end == len(text) || !isLetter(text[end]) || !isLetter(w[len(w)-1])) {
				return true
			}
			at = i + 1
		}
	}
	return false
}
