// Package leak finds personal data and credentials in a text: spans with a type, checked as far as
// the type allows (check digits, number ranges, lengths by country, entropy).
//
// Personal finds e-mail addresses, telephone numbers, payment cards, bank accounts, IP addresses and
// national identity numbers; Secrets finds credentials by the rules of gitleaks. Both are pure: a
// text goes in, spans come out, in order and without overlap, and nothing is kept. They find what
// has a form. Names, addresses and whatever else takes an understanding of the text are not found.
//
// It is not for taking what was found out of the text; Mask only makes a value fit to be shown.
package leak

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Span is one thing found: text[Start:End], in bytes.
type Span struct {
	Type       string
	Start, End int
}

// Mask hides a value so that a reader can tell which one it was but not use it: of its letters and
// digits at most one in six is left, at its ends, and never more than four.
func Mask(value string) string {
	n := 0
	for _, r := range value {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			n++
		}
	}
	shown := min(4, n/6)
	first, last := (shown+1)/2, shown/2
	var b strings.Builder
	i, hidden := 0, 0
	for _, r := range value {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				r = ' '
			}
			b.WriteRune(r)
			hidden = 0
			continue
		}
		i++
		switch {
		case i <= first || i > n-last:
			b.WriteRune(r)
			hidden = 0
		case hidden < longestMask:
			b.WriteByte('*')
			hidden++
		}
	}
	return b.String()
}

// longestMask is the most asterisks in a row: a private key need not fill the screen.
const longestMask = 16

// ranked is a span and how it fares against one that overlaps it.
type ranked struct {
	Span
	rank int // the lower wins
}

// settle drops the weaker of spans that overlap, by rank, then length, then place.
func settle(found []ranked) []Span {
	if len(found) == 0 {
		return nil
	}
	slices.SortFunc(found, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.End-b.Start, a.End-a.Start), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Type, b.Type))
	})
	var out []Span
	var taken taken
	for _, f := range found {
		if taken.free(f.Start, f.End) {
			out = append(out, f.Span)
		}
	}
	slices.SortFunc(out, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// taken marks the bytes of a text that winners cover, so that a text full of findings takes no longer than its length asks.
type taken []uint64

// free takes the bytes from start to end, unless one of them is taken.
func (t *taken) free(start, end int) bool {
	if n := (end + 63) / 64; n > len(*t) {
		*t = append(*t, make([]uint64, n-len(*t))...)
	}
	for i := start; i < end; i++ {
		if (*t)[i/64]&(1<<(i%64)) != 0 {
			return false
		}
	}
	for i := start; i < end; i++ {
		(*t)[i/64] |= 1 << (i % 64)
	}
	return true
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

// inWord says whether b goes on a word or number. Bytes beyond ASCII are letters for this purpose.
func inWord(b byte) bool { return isDigit(b) || isLetter(b) || b == '_' || b >= utf8.RuneSelf }
