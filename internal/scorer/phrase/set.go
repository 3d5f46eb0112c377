package phrase

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Options says how the phrases of a Set are matched.
type Options struct {
	Folding
	// WholeWord finds a phrase only where no letter, digit, mark or underscore adjoins it.
	WholeWord bool
}

// Set finds any of its phrases in a text. It is immutable and safe for concurrent use.
type Set struct {
	phrases []string
	opts    Options
	// plain matches phrases as they are spelt; looks, when asked for, as they appear. They are
	// separate because the two foldings disagree: Η looks like H but is the capital of η, which
	// looks like n. Whoever writes a Greek phrase means the letters, whoever writes an English one
	// means the looks.
	plain, looks *Matcher
	pool         sync.Pool
}

// Match is one phrase found: text[Start:End] as it stood is taken for Phrase.
type Match struct {
	Phrase     string
	Start, End int // bytes
}

// NewSet builds a Set. It refuses an empty list, and a phrase that is empty, blank or made of
// invisible characters, with the index of the phrase in the error.
func NewSet(phrases []string, opts Options) (*Set, error) {
	if len(phrases) == 0 {
		return nil, fmt.Errorf("no phrases")
	}
	s := &Set{phrases: phrases, opts: opts}
	plain, looks := opts.Folding, opts.Folding
	plain.Looks, looks.Looks = false, true
	folded := make([]string, len(phrases))
	for i, p := range phrases {
		folded[i] = plain.Fold(p)
		if strings.TrimSpace(folded[i]) == "" {
			return nil, fmt.Errorf("phrase %d is empty: %q", i+1, p)
		}
	}
	s.plain = NewMatcher(folded)
	if opts.Looks {
		seen := make([]string, len(phrases))
		for i, p := range phrases {
			seen[i] = looks.Fold(p)
		}
		s.looks = NewMatcher(seen)
	}
	s.pool.New = func() any { return &folder{} }
	return s, nil
}

// Len returns the number of phrases.
func (s *Set) Len() int { return len(s.phrases) }

// Find returns the phrase in text that ends first, by spelling if there is one, else by looks.
func (s *Set) Find(text string) (Match, bool) {
	g := s.pool.Get().(*folder)
	defer s.pool.Put(g)
	plain := s.opts.Folding
	plain.Looks = false
	g.reset(plain)
	g.fold(text)
	if m, ok := s.search(g, s.plain, text); ok {
		return m, true
	}
	if s.looks == nil || !g.nonASCII {
		return Match{}, false // ASCII looks like nothing but itself
	}
	plain.Looks = true
	g.reset(plain)
	g.fold(text)
	return s.search(g, s.looks, text)
}

func (g *folder) reset(f Folding) {
	*g = folder{Folding: f, out: g.out[:0], substituted: g.substituted[:0], seg: g.seg}
}

func (s *Set) search(g *folder, m *Matcher, text string) (found Match, ok bool) {
	scan(m, g.out, func(p, start, end int) bool {
		// What was found by looks counts only if looks had a part in it: the Russian сор is not in
		// a text because the English cop is.
		if g.Looks && !g.substitutedIn(start, end) {
			return true
		}
		if !s.bounded(g.out, start, end) {
			return true
		}
		found, ok = Match{Phrase: s.phrases[p], Start: start, End: end}, true
		return false
	})
	if !ok {
		return found, false
	}
	at := folder{Folding: g.Folding, places: true}
	at.fold(text)
	found.Start, found.End = int(at.from[found.Start]), int(at.to[found.End-1])
	return found, true
}

func (g *folder) substitutedIn(start, end int) bool {
	i, _ := slices.BinarySearch(g.substituted, int32(start))
	return i < len(g.substituted) && int(g.substituted[i]) < end
}

// bounded says whether out[start:end] may stand for the phrase: its last letter must not go on in
// a combining mark, and with WholeWord neither end may lie within a word.
func (s *Set) bounded(out []byte, start, end int) bool {
	after, _ := utf8.DecodeRune(out[end:])
	if unicode.Is(unicode.Mn, after) {
		return false
	}
	if !s.opts.WholeWord {
		return true
	}
	first, _ := utf8.DecodeRune(out[start:])
	last, _ := utf8.DecodeLastRune(out[:end])
	before, _ := utf8.DecodeLastRune(out[:start])
	return !(inWord(first) && inWord(before)) && !(inWord(last) && inWord(after))
}

func inWord(r rune) bool {
	return r == '_' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}
