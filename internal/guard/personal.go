package guard

import (
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// finder is what one filter looks for that has a form: personal data and credentials. Package leak looks through whole
// texts; a stream is given to it in runs of words that may hold something, with what stands before and behind them.
type finder struct {
	rule     int
	personal *leak.Personal // nil for none
	secrets  *leak.Secrets  // nil for none
	window   int
	lead     int // the longest word before a run that may belong to it
	thorough bool
}

const (
	contextBefore  = 96  // bytes before a run that may say what it is
	keepUndecided  = 64  // bytes that stay undecided where a run is longer than the window
	leastForFinder = 192 // bytes of a run that are looked through at once, so that few are looked through twice
	longWord       = 16  // bytes from which a word without a digit may be a credential
	shortWord      = 4   // bytes up to which a word may be part of a number, such as DE, +49 or AB
	mostShort      = 2   // short words within or behind a run

	kindSecret = "secret"
)

// privateKey is the pattern of a private key, which is longer than any window: from its first line on everything is one, to
// the line that ends it.
const privateKey = `-----BEGIN[ A-Z0-9]{0,100}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-[^-])*(?:-----END[ A-Z0-9]{0,100}-----)?`

// finderState is how far a text has been looked through by a finder.
type finderState struct {
	*finder
	text  []byte // the plain view: context, then what is undecided
	at    []int  // where in the text each byte of the view is
	from  int    // where in the view the undecided begins; its length when nothing is
	word  int    // where the word under way begins; the view's length when there is none
	prev  rune
	run   bool // what is undecided holds a word that may be something
	led   bool // what is undecided is one word that may belong to a run
	short int
	hot   bool // the word under way may be something
	open  bool // what was found last goes on as long as the word does
}

// since is the earliest byte that is not decided.
func (s *finderState) since(pos int) int {
	if s.from < len(s.text) {
		return min(pos, s.at[s.from])
	}
	return pos
}

// step takes the rune text[start:end], whose plain view is given; empty for a rune that is not seen.
func (s *finderState) step(f *filter, r rune, view []byte, start, end int) {
	if len(view) == 0 {
		return
	}
	if c := view[0]; r < utf8.RuneSelf && c > ' ' && s.prev < 0x0e00 && !s.open && len(s.text)-s.from < s.window {
		s.put(c, start)
		s.hot = s.hot || c >= '0' && c <= '9' || c == '@'
		s.prev = r
		return
	}
	first := rune(view[0])
	if first >= utf8.RuneSelf {
		first = r
	}
	cjk := first >= 0x0e00 && unspaced(first)
	if space(first) || cjk {
		s.endWord(f, start)
		// Package leak takes every letter beyond ASCII for part of a word.
		if cjk && alnum(s.prev) {
			s.put(' ', start)
		}
	} else if s.prev >= 0x0e00 && unspaced(s.prev) && alnum(first) {
		s.put(' ', start)
		s.part()
	}
	for _, c := range view {
		s.put(c, start)
		s.hot = s.hot || c >= '0' && c <= '9' || c == '@'
	}
	s.prev = first
	if space(first) || cjk {
		s.part()
		return
	}
	if s.open {
		if s.open = wordly(first); s.open {
			f.accept(start, end, s.rule, kindSecret)
		}
	}
	if len(s.text)-s.from > s.window {
		s.look(f, end)
		s.open = s.open || s.ends(f, end)
		s.from = max(s.from, len(s.text)-keepUndecided)
		s.run = true
		s.shrink()
	}
}

func (s *finderState) put(c byte, at int) { s.text, s.at = append(s.text, c), append(s.at, at) }

// part says that a word begins behind what has come.
func (s *finderState) part() {
	s.word = len(s.text)
	s.hot = false
	if !s.run && !s.led {
		s.from = len(s.text)
	}
	s.shrink()
}

// shrink drops what is not context any more.
func (s *finderState) shrink() {
	if s.from <= 8*contextBefore {
		return
	}
	n := s.from - contextBefore
	s.text = s.text[:copy(s.text, s.text[n:])]
	s.at = s.at[:copy(s.at, s.at[n:])]
	s.from, s.word = s.from-n, max(0, s.word-n)
}

// ends says whether a credential was found that ends at end.
func (s *finderState) ends(f *filter, end int) bool {
	return len(f.spans) > 0 && f.spans[len(f.spans)-1].end == end && f.spans[len(f.spans)-1].kind == kindSecret
}

// endWord decides about the word that ends before pos.
func (s *finderState) endWord(f *filter, pos int) {
	s.open = false
	n := len(s.text) - s.word
	if n <= 0 {
		return
	}
	word := s.text[s.word:]
	hot := s.hot || n >= longWord || s.thorough && written(word)
	switch {
	case hot:
		s.run, s.led, s.short = true, false, 0
	case s.run && n <= shortWord && s.short < mostShort:
		s.short++
	case s.run:
		s.look(f, pos)
		s.decide()
	case n <= s.finder.lead:
		s.from, s.led = s.word, true
	default:
		s.decide()
	}
}

// decide says that everything so far is decided.
func (s *finderState) decide() {
	s.from, s.run, s.led, s.short = len(s.text), false, false, 0
}

// flush decides as if the text ended at pos.
func (s *finderState) flush(f *filter, pos int) {
	open := s.open
	s.endWord(f, pos)
	if s.run {
		s.look(f, pos)
	}
	s.open = open || s.run && s.ends(f, pos)
	s.decide()
	s.word = len(s.text)
	s.hot = false
}

// look searches what is undecided, which ends at pos.
func (s *finderState) look(f *filter, pos int) {
	begin := max(0, s.from-contextBefore)
	for begin < s.from && !utf8.RuneStart(s.text[begin]) {
		begin++
	}
	text := string(s.text[begin:])
	found := func(kind string, from, to int) {
		if to += begin; to <= s.from {
			return
		}
		end := pos
		if to < len(s.at) {
			end = s.at[to]
		}
		f.accept(s.at[max(begin+from, s.from)], end, s.rule, kind)
	}
	if s.personal != nil {
		for _, x := range s.personal.Find(text) {
			found(x.Type, x.Start, x.End)
		}
	}
	if s.secrets != nil {
		for _, x := range s.secrets.Find(text) {
			found(kindSecret, x.Start, x.End)
		}
	}
}

// written says whether a word stands for a sign of an address that is written out.
func written(word []byte) bool {
	w := strings.ToLower(string(word))
	for _, sign := range [...]string{"(at)", "[at]", "{at}", "(dot)", "[dot]", "{dot}"} {
		if strings.Contains(w, sign) {
			return true
		}
	}
	return false
}

func alnum(r rune) bool {
	return r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z'
}

// wordly says whether a rune goes on with a credential.
func wordly(r rune) bool {
	return alnum(r) || r == '_' || r == '-' || r == '+' || r == '/' || r == '=' || r == '.'
}
