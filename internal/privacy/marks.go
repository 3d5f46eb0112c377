package privacy

import (
	"slices"
	"strings"
)

// marks knows what this package itself writes, so that it is never taken for a finding.
type marks struct {
	kinds []string
	masks map[string]bool
	words map[string]bool // the first part of a pseudonym
	keys  []string        // such as _k1_
}

// Names of whole fields and of texts that could not be redacted.
var otherMarks = []string{"user", "session", "tag", "redacted"}

func newMarks(kinds []string, keys []secretKey) *marks {
	m := &marks{kinds: kinds, masks: map[string]bool{}, words: map[string]bool{}}
	for _, k := range append(slices.Clone(kinds), otherMarks...) {
		m.masks[maskOf(k)] = true
		m.words[word(k)] = true
	}
	for _, k := range keys {
		m.keys = append(m.keys, "_"+k.id+"_")
	}
	return m
}

// Marks counts what in a text stands for values that were masked, or are pseudonyms under a key of this redactor's.
func (r *Redactor) Marks(text string) int { return len(r.marks.in(text)) }

// Removes says whether any of the rules takes values out without a mark.
func (r *Redactor) Removes() bool {
	all := []*rules{r.base}
	for _, of := range r.routes {
		all = append(all, of)
	}
	for _, rs := range all {
		for _, l := range rs.modes {
			if l.all == remove {
				return true
			}
			for _, modes := range []map[string]mode{l.fields, l.kinds} {
				for _, m := range modes {
					if m == remove {
						return true
					}
				}
			}
		}
	}
	return false
}

// word is a kind as it begins a pseudonym.
func word(kind string) string { return strings.ReplaceAll(kind, "-", "_") }

// in returns the places of masks and pseudonyms in text, in order.
func (m *marks) in(text string) [][2]int {
	var out [][2]int
	for i := 0; i < len(text); {
		n := strings.IndexByte(text[i:], '[')
		if n < 0 {
			break
		}
		i += n
		j := i + 1
		for j < len(text) && j-i < 48 && (text[j] >= 'A' && text[j] <= 'Z' || text[j] >= '0' && text[j] <= '9' || text[j] == '_') {
			j++
		}
		if j < len(text) && text[j] == ']' && m.masks[text[i:j+1]] {
			out = append(out, [2]int{i, j + 1})
			i = j + 1
		} else {
			i++
		}
	}
	for _, key := range m.keys {
		for at := 0; ; {
			n := strings.Index(text[at:], key)
			if n < 0 {
				break
			}
			at += n + len(key)
			if start, ok := m.token(text, at, key); ok {
				at += tokenLetters
				out = append(out, [2]int{start, at})
			}
		}
	}
	slices.SortFunc(out, func(a, b [2]int) int { return a[0] - b[0] })
	return out
}

// token returns where the pseudonym begins whose letters are at text[at].
func (m *marks) token(text string, at int, key string) (start int, ok bool) {
	if at+tokenLetters > len(text) {
		return 0, false
	}
	for i := at; i < at+tokenLetters; i++ {
		if strings.IndexByte(tokenAlphabet, text[i]) < 0 {
			return 0, false
		}
	}
	end := at - len(key)
	start = end
	for start > 0 && end-start < 40 && (text[start-1] >= 'a' && text[start-1] <= 'z' || text[start-1] == '_' || text[start-1] >= '0' && text[start-1] <= '9') {
		start--
	}
	for ; start < end; start++ {
		if m.words[text[start:end]] {
			return start, true
		}
	}
	return 0, false
}

// whole says whether text is nothing but one mark.
func (m *marks) whole(text string) bool {
	at := m.in(text)
	return len(at) == 1 && at[0] == [2]int{0, len(text)}
}

// spare takes the marks out of the findings: what overlaps one is cut to what is beside it.
func (m *marks) spare(text string, found []finding) []finding {
	if len(found) == 0 || !strings.Contains(text, "[") && len(m.keys) == 0 {
		return found
	}
	at := m.in(text)
	if len(at) == 0 {
		return found
	}
	var out []finding
	for _, f := range found {
		for _, mark := range at {
			if mark[1] <= f.start || mark[0] >= f.end {
				continue
			}
			if piece := (finding{f.kind, f.start, mark[0], f.rank}); f.start < mark[0] && says(text[f.start:mark[0]]) {
				out = append(out, piece)
			}
			f.start = mark[1]
		}
		if f.start < f.end && says(text[f.start:f.end]) {
			out = append(out, f)
		}
	}
	return out
}

// says whether a piece has anything in it but signs.
func says(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || r >= 0x80
	})
}
