package toxicity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/scorer/phrase"
)

// Lengths of the character n-grams, in bytes of a folded word with a space on either side.
// Three would be more accurate on tweets, but " fu" and " as" are in too many harmless words.
const (
	shortestGram = 4
	longestGram  = 6
)

// Extractor turns passages into features. It holds scratch space and is not safe for concurrent use.
type Extractor struct {
	features []uint64
	words    [][]byte
	buf      []byte
	// stretched says that the word last cut had a letter more than twice in a row.
	stretched bool
}

// Features returns the hashes of a passage's words, pairs of words and character n-grams, as often
// as they occur. The slice is good until the next call.
func (x *Extractor) Features(passage string) []uint64 {
	x.features = x.features[:0]
	x.tokenize(passage)
	var before uint64
	for i, w := range x.words {
		h := hash(seedWord, w)
		x.add(h)
		if i > 0 {
			x.add(before*31 + h)
		}
		before = h
		x.grams(w)
	}
	return x.features
}

// add mixes the bits of h: the low ones of a sum of bytes times a prime are poor.
func (x *Extractor) add(h uint64) {
	h ^= h >> 32
	h *= 0x9E3779B97F4A7C15
	x.features = append(x.features, h^h>>29)
}

// Words and character n-grams have hashes of their own.
const (
	seedWord = 0xcbf29ce484222325 // FNV-1a's offset
	seedGram = 0x84222325cbf29ce4
	fnvPrime = 0x100000001b3
)

func hash(seed uint64, b []byte) uint64 {
	for _, c := range b {
		seed = (seed ^ uint64(c)) * fnvPrime
	}
	return seed
}

// grams adds the n-grams of a word with a space on either side.
func (x *Extractor) grams(w []byte) {
	at := func(i int) byte {
		if i == 0 || i > len(w) {
			return ' '
		}
		return w[i-1]
	}
	n := len(w) + 2
	for i := 0; i+shortestGram <= n; i++ {
		h := uint64(seedGram)
		for j := i; j < n && j < i+longestGram; j++ {
			h = (h ^ uint64(at(j))) * fnvPrime
			if j-i+1 >= shortestGram {
				x.add(h)
			}
		}
	}
}

// tokenize fills words with the folded words of a passage: letters, apostrophes left out, digits
// and signs that stand for letters read as those, numbers and addresses of web pages dropped.
func (x *Extractor) tokenize(passage string) {
	x.words, x.buf = x.words[:0], x.buf[:0]
	folded := phrase.Folding{Case: true, Width: true, Looks: true}.Fold(passage)
	// The words share one buffer, which must not move while they are cut out of it.
	if need := 2*len(folded) + 16; cap(x.buf) < need {
		x.buf = make([]byte, 0, need)
	}
	single := 0 // how many of the last words have one letter
	for field := range strings.FieldsSeq(folded) {
		if strings.HasPrefix(field, "http://") || strings.HasPrefix(field, "https://") || strings.HasPrefix(field, "www.") {
			continue
		}
		for field != "" {
			var word []byte
			word, field = x.word(field)
			if len(word) == 0 {
				continue
			}
			if len(word) == 1 {
				single++
			} else {
				x.join(single)
				single = 0
			}
			x.words = append(x.words, word)
			if x.stretched {
				x.words = append(x.words, x.squeezed(word))
			}
		}
	}
	x.join(single)
}

// squeezed returns a word with every letter once where it is doubled: of a stretched word nobody
// knows which was meant, so both are kept.
func (x *Extractor) squeezed(word []byte) []byte {
	from := len(x.buf)
	for i, b := range word {
		if i == 0 || b != word[i-1] || b >= utf8.RuneSelf {
			x.buf = append(x.buf, b)
		}
	}
	return x.buf[from:len(x.buf):len(x.buf)]
}

// join replaces the last n words of one letter by the word that they spell. Two can be chance
// (I a…), and are left.
func (x *Extractor) join(n int) {
	if n < 3 {
		return
	}
	from := len(x.buf)
	for _, w := range x.words[len(x.words)-n:] {
		x.buf = append(x.buf, w...)
	}
	x.words = append(x.words[:len(x.words)-n], x.buf[from:])
}

// word cuts the next word off field. It is empty for a number or nothing but signs.
func (x *Extractor) word(field string) (word []byte, rest string) {
	x.stretched = false
	i := 0
	for i < len(field) { // up to the first letter, digit or sign that can begin a word
		r, n := utf8.DecodeRuneInString(field[i:])
		if unicode.IsLetter(r) || unicode.IsDigit(r) || (r == '@' || r == '$') && nextIsLetter(field[i+n:]) || emoji(r) {
			break
		}
		i += n
	}
	from, letters, run := len(x.buf), 0, 0
	var last rune
	for i < len(field) {
		r, n := utf8.DecodeRuneInString(field[i:])
		isLetter := unicode.IsLetter(r)
		switch {
		case emoji(r):
			if len(x.buf) == from {
				x.buf = utf8.AppendRune(x.buf, r)
				return x.buf[from:], field[i+n:]
			}
			return x.end(from, letters), field[i:]
		case unicode.IsMark(r) || r == '\'' || r == '’':
			i += n
			continue
		case isLetter:
			letters++
		case leet(r) != 0 && (unicode.IsDigit(r) || nextIsLetter(field[i+n:])):
			r = leet(r)
		case r == '*' && nextIsLetter(strings.TrimLeft(field[i+n:], "*")):
		case unicode.IsDigit(r):
		default:
			return x.end(from, letters), field[i+n:]
		}
		if r == last {
			run++
		} else {
			last, run = r, 1
		}
		// A letter that is drawn out counts twice: no English word has it three times.
		if run <= 2 {
			x.buf = utf8.AppendRune(x.buf, r)
		} else if isLetter {
			x.stretched = true
		}
		i += n
	}
	return x.end(from, letters), ""
}

func (x *Extractor) end(from, letters int) []byte {
	if letters == 0 {
		x.buf = x.buf[:from]
		return nil
	}
	return x.buf[from:len(x.buf):len(x.buf)]
}

func nextIsLetter(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r)
}

func emoji(r rune) bool { return 0x2600 <= r && r <= 0x27BF || 0x1F300 <= r && r <= 0x1FAFF }

// leet returns the letter that a digit or sign stands for, or 0.
func leet(r rune) rune {
	switch r {
	case '0':
		return 'o'
	case '1', '!', '|':
		return 'i'
	case '3':
		return 'e'
	case '4', '@':
		return 'a'
	case '5', '$':
		return 's'
	case '7', '+':
		return 't'
	case '8':
		return 'b'
	}
	return 0
}
