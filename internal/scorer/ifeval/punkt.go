package ifeval

import (
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/neurosnap/sentences"
	"github.com/neurosnap/sentences/data"
)

// This file splits English text into sentences as NLTK's Punkt does (Kiss and Strunk,
// "Unsupervised Multilingual Sentence Boundary Detection", 2006). The parameters come with
// github.com/neurosnap/sentences; the splitting does not, for that library cuts words differently
// and counts other sentences on 113 of GPT-4's 541 IFEval answers.

// How a word was seen in the training text: at the start of sentences, within them, or unknown;
// with a capital or without.
const (
	beginsUpper = 1 << 1
	withinUpper = 1 << 2
	anyUpper    = 1<<1 | 1<<2 | 1<<3
	beginsLower = 1 << 4
	anyLower    = 1<<4 | 1<<5 | 1<<6
)

// punkt holds the trained parameters.
type punkt struct {
	abbreviations map[string]bool    // without the final period
	starters      map[string]bool    // words that often begin a sentence
	collocations  map[[2]string]bool // pairs of words that belong together across a period
	contexts      map[string]int
}

// english returns the parameters. They are part of the binary, so that an error is a broken build.
var english = sync.OnceValue(func() *punkt {
	b, err := data.Asset("data/english.json")
	if err != nil {
		panic(fmt.Sprintf("ifeval: Punkt parameters: %v", err))
	}
	s, err := sentences.LoadTraining(b)
	if err != nil {
		panic(fmt.Sprintf("ifeval: Punkt parameters: %v", err))
	}
	p := &punkt{
		abbreviations: make(map[string]bool, len(s.AbbrevTypes)),
		starters:      make(map[string]bool, len(s.SentStarters)),
		collocations:  make(map[[2]string]bool, len(s.Collocations)),
		contexts:      s.OrthoContext,
	}
	for w := range s.AbbrevTypes {
		p.abbreviations[w] = true
	}
	for w := range s.SentStarters {
		p.starters[w] = true
	}
	delete(p.starters, "she") // not in NLTK's parameters, the only difference
	for pair := range s.Collocations {
		a, b, _ := strings.Cut(pair, ",")
		p.collocations[[2]string{a, b}] = true
	}
	return p
})

// splitSentences returns the sentences of text, without the white space between them.
func splitSentences(text string) []string {
	var out []string
	shift := 0 // bytes at the start of a part that went to the sentence before
	parts := english().parts(text)
	for i, p := range parts {
		p[0] += shift
		shift = 0
		if i+1 < len(parts) {
			next := parts[i+1]
			if n, spaced := closers(text[next[0]:max(next[0], next[1])]); n > 0 {
				out = append(out, text[p[0]:next[0]+n])
				shift = spaced
				continue
			}
		}
		if p[0] < p[1] {
			out = append(out, text[p[0]:p[1]])
		}
	}
	return out
}

// closers returns how many closing quotes and brackets s begins with that belong to the sentence
// before, and that number with the white space after them. They must be followed by white space,
// a double dash or the end.
func closers(s string) (n, spaced int) {
	for n < len(s) && strings.IndexByte(`"')]}`, s[n]) >= 0 {
		n++
		rest := s[n:]
		if end := skipSpace(s, n); end > n || rest == "" || strings.HasPrefix(rest, "--") {
			return n, end
		}
	}
	return 0, 0
}

// parts returns where sentences begin and end, before closing quotes are moved.
func (p *punkt) parts(text string) [][2]int {
	var out [][2]int
	start := 0
	for _, c := range candidates(text) {
		if p.breaks(text[c.word:c.after]) {
			out = append(out, [2]int{start, c.mark + 1})
			start = c.next
		}
	}
	return append(out, [2]int{start, len(strings.TrimRightFunc(text, isSpace))})
}

// candidate is a period, question or exclamation mark that may end a sentence.
type candidate struct {
	word  int // start of the word before the mark
	mark  int
	after int // end of the sign or word after the mark
	next  int // where the next sentence would begin
}

// isInner holds for signs that cannot stand within a word.
func isInner(c byte) bool { return strings.IndexByte(`)";}]*:@'({[?!`, c) >= 0 }

// candidates returns the marks that another sign, or white space and a word, follows. Of marks that belong to
// one word only the last is kept.
func candidates(text string) []candidate {
	var out []candidate
	var last *candidate
	for mark := 0; mark < len(text); mark++ {
		if c := text[mark]; c != '.' && c != '?' && c != '!' {
			continue
		}
		c := candidate{mark: mark, after: mark + 2, next: mark + 1}
		if mark+1 >= len(text) {
			break
		}
		if !isInner(text[mark+1]) {
			c.next = skipSpace(text, mark+1)
			if c.next == mark+1 || c.next == len(text) {
				continue
			}
			c.after = c.next
			for c.after < len(text) {
				r, n := utf8.DecodeRuneInString(text[c.after:])
				if isSpace(r) {
					break
				}
				c.after += n
			}
		}
		// The word begins after the last white space since the mark before. White space right at
		// that mark is overlooked, as in NLTK.
		from, word := 0, 0
		if last != nil {
			from, word = last.mark, last.word
		}
		if i := strings.LastIndexAny(text[from:mark], " \t\n\r\v\f"); i > 0 {
			word = from + i + 1
		}
		c.word = word
		if last != nil && last.mark > word {
			out[len(out)-1] = c
		} else {
			out = append(out, c)
		}
		last = &out[len(out)-1]
	}
	return out
}

// token is a word of a candidate's surroundings.
type token struct {
	text     string
	kind     string // lower case, numbers as one kind
	breaks   bool   // a sentence ends after it
	abbrev   bool
	ellipsis bool
}

const number = "##number##"

func newToken(s string) token {
	t := token{text: s, kind: lower(s)}
	if isNumeric(t.kind) {
		t.kind = number
	}
	return t
}

// bare returns the kind without a final period.
func (t *token) bare() string {
	if len(t.kind) > 1 {
		return strings.TrimSuffix(t.kind, ".")
	}
	return t.kind
}

// bareAtBreak returns the kind, without a final period where that ends a sentence.
func (t *token) bareAtBreak() string {
	if t.breaks {
		return t.bare()
	}
	return t.kind
}

// initial says whether the token is a letter and a period.
func (t *token) initial() bool {
	r, n := utf8.DecodeRuneInString(t.text)
	return t.text[n:] == "." && isWord(r) && !isDigit(r)
}

func (t *token) first() rune {
	r, _ := utf8.DecodeRuneInString(t.text)
	return r
}

// breaks says whether a sentence ends somewhere within the context of a candidate.
func (p *punkt) breaks(context string) bool {
	var tokens []token
	for line := range strings.SplitSeq(context, "\n") {
		tokens = cutWords(tokens, line)
	}
	for i := range tokens {
		p.byKind(&tokens[i])
	}
	for i := range tokens {
		if i+1 == len(tokens) {
			return false
		}
		p.byContext(&tokens[i], &tokens[i+1])
		if tokens[i].breaks {
			return true
		}
	}
	return false
}

// byKind makes the first guess, from the word alone.
func (p *punkt) byKind(t *token) {
	switch {
	case t.text == "." || t.text == "?" || t.text == "!":
		t.breaks = true
	case strings.HasPrefix(t.text, "..") && strings.Trim(t.text, ".") == "":
		t.ellipsis = true
	case strings.HasSuffix(t.text, ".") && !strings.HasSuffix(t.text, ".."):
		w := lower(strings.TrimSuffix(t.text, "."))
		if p.abbreviations[w] || p.abbreviations[w[strings.LastIndexByte(w, '-')+1:]] {
			t.abbrev = true
		} else {
			t.breaks = true
		}
	}
}

// byContext revises the guess on a word with a final period in the light of the word after it.
// The numbers are the paper's sections.
func (p *punkt) byContext(t, next *token) {
	if !strings.HasSuffix(t.text, ".") {
		return
	}
	kind, nextKind, initial := t.bare(), next.bareAtBreak(), t.initial()
	upper := isUpper(next.first())
	// 4.1.2: the two words belong together.
	if p.collocations[[2]string{kind, nextKind}] {
		t.breaks, t.abbrev = false, true
		return
	}
	// 4.2: an abbreviation may also end a sentence.
	if (t.abbrev || t.ellipsis) && !initial {
		if p.starts(next) == yes || upper && p.starters[nextKind] {
			t.breaks = true
			return
		}
	}
	// 4.3: initials and ordinals.
	if initial || kind == number {
		switch starts := p.starts(next); {
		case starts == no:
			t.breaks, t.abbrev = false, true
		case starts == unknown && initial && upper && p.contexts[nextKind]&anyLower == 0:
			t.breaks, t.abbrev = false, true
		}
	}
}

type answer uint8

const (
	unknown answer = iota
	yes
	no
)

// starts says what the spelling of a word tells on whether it begins a sentence (4.1.1).
func (p *punkt) starts(t *token) answer {
	if len(t.text) == 1 && strings.Contains(";:,.!?", t.text) {
		return no
	}
	seen := p.contexts[t.bareAtBreak()]
	first := t.first()
	switch {
	case isUpper(first) && seen&anyLower != 0 && seen&withinUpper == 0:
		return yes
	case isLower(first) && (seen&anyUpper != 0 || seen&beginsLower == 0):
		return no
	}
	return unknown
}

// isNumeric matches ^-?[\.,]?\d[\d,\.-]*\.?$.
func isNumeric(s string) bool {
	s = strings.TrimPrefix(s, "-")
	if s != "" && (s[0] == '.' || s[0] == ',') {
		s = s[1:]
	}
	for i, r := range s {
		if !unicode.IsDigit(r) && (i == 0 || r != ',' && r != '.' && r != '-') {
			return false
		}
	}
	return s != ""
}

// cutWords appends the words and signs of a line to tokens; a period stays with its word.
func cutWords(tokens []token, line string) []token {
	for i := skipSpace(line, 0); i < len(line); i = skipSpace(line, i) {
		end := i + runOfSigns(line[i:])
		if end == i {
			end = wordEnd(line, i)
		}
		tokens = append(tokens, newToken(line[i:end]))
		i = end
	}
	return tokens
}

// runOfSigns returns the length of the dashes, the periods or the spaced periods s begins with; 0 if none.
func runOfSigns(s string) int {
	for _, sign := range []byte{'-', '.'} {
		n := 0
		for n < len(s) && s[n] == sign {
			n++
		}
		if n >= 2 {
			return n
		}
	}
	// Periods with one white space between them, three at least.
	end, pairs := 0, 0
	for i := 0; i < len(s) && s[i] == '.'; pairs++ {
		if pairs >= 2 {
			end = i + 1
		}
		j := skipOneSpace(s, i+1)
		if j == i+1 {
			break
		}
		i = j
	}
	return end
}

// wordEnd returns where the word or sign at i ends.
func wordEnd(line string, i int) int {
	_, n := utf8.DecodeRuneInString(line[i:])
	end := i + n
	if strings.IndexByte("(\"`{[:;&#*@)}]-,", line[i]) >= 0 {
		return end
	}
	for end < len(line) {
		rest := line[end:]
		if endsWordAt(rest) || rest[0] == ',' && (len(rest) == 1 || endsWordAt(rest[1:])) {
			break
		}
		_, n := utf8.DecodeRuneInString(rest)
		end += n
	}
	return end
}

// endsWordAt says whether white space or a sign that cannot stand within a word comes first in s.
func endsWordAt(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return isSpace(r) || isInner(s[0]) || runOfSigns(s) > 0
}
