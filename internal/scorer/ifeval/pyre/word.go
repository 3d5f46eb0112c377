package pyre

import (
	"unicode"
	"unicode/utf8"
)

// word is an expression of ordinary characters only, or one between two \b.
type word struct {
	chars   []char
	bounded bool
}

// asWord returns the word that n is, or nil.
func asWord(n node) *word {
	seq, ok := n.(sequence)
	if !ok {
		return nil
	}
	w := &word{}
	if len(seq) >= 2 && seq[0] == node(atBoundary) && seq[len(seq)-1] == node(atBoundary) {
		w.bounded = true
		seq = seq[1 : len(seq)-1]
	}
	for _, n := range seq {
		c, ok := n.(char)
		if !ok {
			return nil
		}
		w.chars = append(w.chars, c)
	}
	if len(w.chars) == 0 {
		return nil
	}
	return w
}

// count counts occurrences that do not overlap, up to limit; -1 means all.
func (w *word) count(s string, limit int) int {
	n := 0
	first := w.chars[0]
	for i := 0; i < len(s) && n != limit; {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		if first.holds(r) {
			if end := w.at(s, i); end >= 0 {
				n++
				i = end
				continue
			}
		}
		i += size
	}
	return n
}

// at returns where the occurrence at i ends, or -1.
func (w *word) at(s string, i int) int {
	if w.bounded && !boundary(s, i) {
		return -1
	}
	for _, c := range w.chars {
		r, size := utf8.DecodeRuneInString(s[i:])
		if size == 0 || !c.holds(r) {
			return -1
		}
		i += size
	}
	if w.bounded && !boundary(s, i) {
		return -1
	}
	return i
}

func boundary(s string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i:])
	return isWord(before) != isWord(after)
}

// isWord is \w: letters, numbers of every kind, and the underscore.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r)
}

// isDigit is \d.
func isDigit(r rune) bool { return unicode.IsDigit(r) }

// isSpace is \s, which unlike Go's has the four ASCII separators.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f
}

// fold maps a rune to the one that stands for all that re.IGNORECASE holds equal to it: letters
// are equal when their lower case is, or the upper case of that.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return unicode.ToLower(unicode.ToUpper(unicode.ToLower(r)))
}

// equals returns the other runes with the same fold.
func equals(r rune) []rune {
	var out []rune
	for e := unicode.SimpleFold(r); e != r; e = unicode.SimpleFold(e) {
		out = append(out, e)
	}
	if f := fold(r); f == 'i' {
		out = append(out, 'i', 'I', 0x130, 0x131)
	}
	return out
}
