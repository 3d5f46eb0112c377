package language

import (
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxGram is the length of the longest n-gram.
const maxGram = 3

// Addresses say nothing about the language around them.
var addresses = regexp.MustCompile(`https?://[-_.?&~;+=/#0-9A-Za-z]+|[-_.0-9A-Za-z]{1,64}@[-_0-9A-Za-z]{1,255}[-_.0-9A-Za-z]{1,255}`)

// gram is one to three runes, packed into 21 bits each.
type gram uint64

// ngrams returns the n-grams of text in order, with repeats, whether the tables know them or not.
func (t *table) ngrams(text string) []gram {
	runes := clean(text)
	out := make([]gram, 0, maxGram*len(runes))
	// window holds the last three runes of the current word, after the space that precedes it. A
	// word's letters after two capitals in a row are skipped: acronyms mislead.
	const mask = 1<<(21*maxGram) - 1
	window, length, last, shouting := gram(' '), 1, ' ', false
	for _, r := range runes {
		r = t.normalise(r)
		if last == ' ' {
			window, length, shouting = ' ', 1, false
			if r == ' ' {
				continue
			}
		}
		window = (window<<21 | gram(r)) & mask
		length = min(length+1, maxGram)
		if !isUpper(r) {
			shouting = false
		} else if isUpper(last) {
			shouting = true
		}
		last = r
		if shouting {
			continue
		}
		if r != ' ' {
			out = append(out, gram(r))
		}
		out = append(out, window&(1<<42-1))
		if length == maxGram {
			out = append(out, window)
		}
	}
	return out
}

// clean returns the runes that decide: without addresses and doubled spaces, the first 10,000
// only, and without Latin letters when another script prevails.
func clean(text string) []rune {
	if strings.Contains(text, "http") || strings.Contains(text, "@") {
		text = addresses.ReplaceAllString(text, " ")
	}
	out := make([]rune, 0, min(len(text), maxRunes))
	latin, other := 0, 0
	read, last := 0, rune(0)
	all := compose([]rune(text))
	for _, r := range all {
		if read++; read > maxRunes {
			break
		}
		if r != ' ' || last != ' ' {
			out = append(out, r)
			switch {
			case isBasicLetter(r):
				latin++
			case r >= 0x300 && (r < 0x1e00 || r > 0x1eff):
				other++
			}
		}
		last = r
	}
	if latin*latinPerOthers >= other {
		return out
	}
	kept := out[:0]
	for _, r := range out {
		if !isBasicLetter(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// isBasicLetter holds for the ASCII letters and, as in the original, the six signs between them.
func isBasicLetter(r rune) bool { return 'A' <= r && r <= 'z' }

// compose joins a vowel and the tone mark after it, as Vietnamese is written in the tables.
func compose(runes []rune) []rune {
	out := runes[:0]
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		if i+1 < len(runes) && isTone(runes[i+1]) && isVowel(r) {
			if c := []rune(norm.NFC.String(string(runes[i : i+2]))); len(c) == 1 {
				r = c[0]
				i++
			}
		}
		out = append(out, r)
	}
	return out
}

func isTone(r rune) bool {
	return r == 0x300 || r == 0x301 || r == 0x303 || r == 0x309 || r == 0x323
}

func isVowel(r rune) bool {
	switch r {
	case 'A', 'E', 'I', 'O', 'U', 'Y', 'a', 'e', 'i', 'o', 'u', 'y',
		'Â', 'Ê', 'Ô', 'â', 'ê', 'ô', 'Ă', 'ă', 'Ơ', 'ơ', 'Ư', 'ư':
		return true
	}
	return false
}

// normalise maps a rune to the one that stands for its kind in the tables: what is not a letter
// becomes a space, and scripts that one language alone uses become one letter.
func (t *table) normalise(r rune) rune {
	switch {
	case r < 0x80:
		if r < 'A' || 'Z' < r && r < 'a' || 'z' < r {
			return ' '
		}
	case r < 0x100:
		if r == 0xa0 || r == '«' || r == '°' || r == '»' {
			return ' '
		}
	case r == 0x219: // Romanian comma below, written as a cedilla in the tables
		return 0x15f
	case r == 0x21b:
		return 0x163
	case r == 0x6cc: // Farsi yeh
		return 0x64a
	case 0x1ea0 <= r && r <= 0x1eff: // Vietnamese
		return 0x1ec3
	case 0x2000 <= r && r <= 0x206f: // general punctuation
		return ' '
	case 0x3040 <= r && r <= 0x309f: // Hiragana
		return 0x3042
	case 0x30a0 <= r && r <= 0x30ff: // Katakana
		return 0x30a2
	case 0x3100 <= r && r <= 0x312f || 0x31a0 <= r && r <= 0x31bf: // Bopomofo
		return 0x3105
	case 0x4e00 <= r && r <= 0x9fff:
		if k, ok := t.kanji[r]; ok {
			return k
		}
	case 0xac00 <= r && r <= 0xd7af: // Hangul
		return 0xac00
	}
	return r
}

func isUpper(r rune) bool {
	if r < 0x80 {
		return 'A' <= r && r <= 'Z'
	}
	return unicode.IsUpper(r) || r > unicode.MaxLatin1 && unicode.Is(unicode.Other_Uppercase, r)
}
