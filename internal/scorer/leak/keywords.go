package leak

// keywords finds which of a list of ASCII words are in a text, in any case. It looks at three letters at a time: texts have
// few threes with which a word begins, and only there the words are compared.
type keywords struct {
	begins [threes / 64]uint64 // a bit for each three
	bucket [threes]uint16      // one more than its place in of, 0 for none
	of     [][]int             // words that begin with the same three
	words  []string            // in lower case
}

// threes is how many threes are told apart: by five bits of each letter.
const threes = 1 << 15

// newKeywords takes words in lower case, of two letters at least.
func newKeywords(words []string) *keywords {
	k := &keywords{words: words}
	for n, w := range words {
		first := uint32(w[0]&31)<<10 | uint32(w[1]&31)<<5
		if len(w) > 2 {
			k.add(first|uint32(w[2]&31), n)
			continue
		}
		for third := range uint32(32) { // whatever follows
			k.add(first|third, n)
		}
	}
	return k
}

func (k *keywords) add(three uint32, word int) {
	k.begins[three/64] |= 1 << (three % 64)
	if k.bucket[three] == 0 {
		k.of = append(k.of, nil)
		k.bucket[three] = uint16(len(k.of))
	}
	n := k.bucket[three] - 1
	k.of[n] = append(k.of[n], word)
}

// find calls f with each word that is in text and where it ends, in the order in which they begin.
func (k *keywords) find(text string, f func(word, end int)) {
	if len(text) < 2 {
		return
	}
	three := uint32(text[0]&31)<<5 | uint32(text[1]&31)
	for i := range len(text) - 1 {
		three = three << 5 & (threes - 1)
		if i+2 < len(text) {
			three |= uint32(text[i+2] & 31)
		}
		if k.begins[three/64]&(1<<(three%64)) == 0 {
			continue
		}
		for _, n := range k.of[k.bucket[three]-1] {
			if end := i + len(k.words[n]); end <= len(text) && equalFold(text[i:end], k.words[n]) {
				f(n, end)
			}
		}
	}
}

// equalFold says whether s is the word, which is in lower case and as long, but for the case of ASCII letters.
func equalFold(s, word string) bool {
	for i := range len(word) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
