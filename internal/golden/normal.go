package golden

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Normalize makes alike what differs in form only: Unicode's compatibility forms (NFKC), upper and lower case, white
// space, the shape of quotes and dashes, and punctuation at the ends of words. What makes a number stays: a sign or a
// point before its digits, points and commas between them, a per cent after them. So do apostrophes, hyphens and
// points inside words, and symbols such as $, +, = and <.
func Normalize(s string) string {
	// Folding turns Cherokee capitals and small letters into one another; ToLower after it settles on the small ones.
	folded := strings.ToLower(cases.Fold().String(norm.NFKC.String(s)))
	s = shapes.Replace(norm.NFKC.String(folded))
	words := strings.Fields(s)
	kept := words[:0]
	for _, w := range words {
		if w = bare(w); w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// shapes are the quotes and dashes that stand for those of ASCII.
var shapes = strings.NewReplacer("‘", "'", "’", "'", "‚", "'", "‛", "'", "“", `"`, "”", `"`, "„", `"`, "‟", `"`, "«", `"`, "»", `"`,
	"‐", "-", "‑", "-", "‒", "-", "–", "-", "—", "-", "―", "-", "−", "-")

// bare takes punctuation off the ends of a word.
func bare(w string) string {
	runes := []rune(w)
	for len(runes) > 0 && mark(runes[0]) && !beginsNumber(runes) {
		runes = runes[1:]
	}
	for len(runes) > 0 {
		last := runes[len(runes)-1]
		if !mark(last) || last == '%' && len(runes) > 1 && unicode.IsDigit(runes[len(runes)-2]) {
			break
		}
		runes = runes[:len(runes)-1]
	}
	return string(runes)
}

// mark says whether a rune is punctuation; a back quote marks code as stars mark words.
func mark(r rune) bool { return unicode.IsPunct(r) || r == '`' }

// beginsNumber says whether a mark belongs to the number after it: -5, .5, -.5, -$5.
func beginsNumber(runes []rune) bool {
	if runes[0] != '-' && runes[0] != '.' {
		return false
	}
	for i, r := range runes[1:] {
		switch {
		case unicode.IsDigit(r):
			return true
		case i == 0 && runes[0] == '-' && (r == '.' || unicode.Is(unicode.Sc, r)):
		default:
			return false
		}
	}
	return false
}
