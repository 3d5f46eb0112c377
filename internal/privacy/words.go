package privacy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	ahocorasick "github.com/BobuSumisu/aho-corasick"

	"github.com/telltale-llm/telltale/internal/config"
)

// dictionary finds words of lists, whatever their case, where they are words.
type dictionary struct {
	lists []config.PrivacyWords
	trie  *ahocorasick.Trie
	kind  []string // of each word
}

func newDictionary(lists []config.PrivacyWords) *dictionary {
	d := &dictionary{lists: lists}
	b := ahocorasick.NewTrieBuilder()
	seen := map[string]bool{}
	for _, l := range lists {
		for _, w := range l.Words {
			w, _ = fold(w)
			w = lowered(strings.TrimSpace(w))
			if w == "" || seen[w] {
				continue
			}
			seen[w] = true
			b.AddString(w)
			d.kind = append(d.kind, l.Name)
		}
	}
	d.trie = b.Build()
	return d
}

// lowered is s in lower case, each letter where it was: one whose lower case has another length stays as it is.
func lowered(s string) string {
	changed := false
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			changed = true
			break
		}
	}
	if !changed {
		return s
	}
	return strings.Map(func(r rune) rune {
		low := unicode.ToLower(r)
		if r == utf8.RuneError || utf8.RuneLen(low) != utf8.RuneLen(r) {
			return r
		}
		return low
	}, strings.ToValidUTF8(s, "?"))
}

// find calls f with each word of the lists in text.
func (d *dictionary) find(text string, f func(kind string, start, end int)) {
	low := lowered(text)
	if len(low) != len(text) {
		return // not UTF-8; nothing is a word there
	}
	d.trie.Walk([]byte(low), func(end, n, word int64) bool {
		e := int(end) + 1
		s := e - int(n)
		if borders(low, s, e) {
			f(d.kind[word], s, e)
		}
		return true
	})
}

// borders says whether text[start:end] is not within a longer word.
func borders(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	first, _ := utf8.DecodeRuneInString(text[start:])
	last, _ := utf8.DecodeLastRuneInString(text[:end])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return !(start > 0 && joins(before) && joins(first)) && !(end < len(text) && joins(last) && joins(after))
}

// joins says whether a rune is of a word, in scripts that part words.
func joins(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) && !unspaced(r)
}
