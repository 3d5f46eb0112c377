package guard

import (
	"slices"
	"unicode/utf8"
)

// rules are the compiled filters of a guard.
type rules struct {
	list     []rule
	phrases  *trie // nil for none
	patterns []*pattern
	finders  []*finder
	// begins says which bytes of ASCII may begin a finding of phrases and patterns, or are white space.
	begins [utf8.RuneSelf]bool
}

// close is called when all filters are there.
func (r *rules) close() {
	for c := range rune(utf8.RuneSelf) {
		r.begins[c] = space(c) || r.phrases != nil && r.phrases.first[lower(c)]
		for _, p := range r.patterns {
			r.begins[c] = r.begins[c] || p.first[c]
		}
	}
}

func (r *rules) empty() bool { return len(r.list) == 0 }

// rule is one filter: what is done with what it finds.
type rule struct {
	name        string
	action      string
	otherwise   string
	replacement string
	ask         string
}

// span is a part of a text that was found: text[start:end].
type span struct {
	start, end int
	rule       int
	kind       string // of personal data; empty for others
}

// watcher is told what is found while a text is looked through.
type watcher interface {
	// found is told of everything found. Broken says that it cannot be masked: it is within the arguments of a tool call, and
	// not within one of their strings.
	found(rule int, kind string, broken bool)
	// undecidable is told that the filter cannot do its work.
	undecidable(f Failure)
}

// filter looks through one text, which comes in pieces. What it finds depends on the text only, not on the pieces. Memory
// is bounded by the rules' windows. The text itself is not kept: positions are in bytes from its beginning.
type filter struct {
	rules *rules
	watch watcher
	pos   int // bytes taken
	// gone is how much has been passed on whatever it may still turn out to be; see flush.
	gone int

	tail  [utf8.UTFMax]byte // the beginning of a rune that has not come whole
	tails int
	prev  rune // of the plain view

	phrases  phraseState
	patterns []patternState
	finders  []finderState
	plain    []byte

	spans []span // by start, without overlap
	upTo  []int  // of each rule, the end of what it found last: overlapping findings count once
	args  *arguments
}

func newFilter(r *rules, w watcher, tool bool) *filter {
	f := &filter{rules: r, watch: w, prev: -1, upTo: make([]int, len(r.list))}
	f.phrases.prev = ' '
	f.patterns = make([]patternState, len(r.patterns))
	for i, p := range r.patterns {
		f.patterns[i].init(p)
	}
	f.finders = make([]finderState, len(r.finders))
	for i, p := range r.finders {
		f.finders[i].finder = p
		f.finders[i].prev = ' '
	}
	if tool {
		f.args = &arguments{}
	}
	return f
}

func (f *filter) fail(why Failure) { f.watch.undecidable(why) }

// take looks through the next piece.
func (f *filter) take(b []byte) {
	for f.tails > 0 && len(b) > 0 {
		f.tail[f.tails] = b[0]
		f.tails++
		b = b[1:]
		if utf8.FullRune(f.tail[:f.tails]) {
			// Of a broken sequence one byte counts, and the rest is looked at anew.
			n := f.tails
			f.tails = 0
			f.all(f.tail[:n])
		}
	}
	f.all(b)
}

// all looks through b, and keeps a rune that is not whole.
func (f *filter) all(b []byte) {
	for i := 0; i < len(b); {
		if n := f.dull(b[i:]); n > 0 {
			f.pos += n
			i += n
			continue
		}
		r, n := rune(b[i]), 1
		if r >= utf8.RuneSelf {
			if !utf8.FullRune(b[i:]) {
				rest := b[i:]
				f.tails = copy(f.tail[:], rest)
				return
			}
			r, n = utf8.DecodeRune(b[i:])
		}
		start := f.pos
		f.pos += n
		if f.args == nil {
			f.step(r, start, f.pos)
		} else {
			f.args.step(f, r, start, f.pos)
		}
		i += n
	}
}

// dull is the number of bytes at the beginning of b that begin nothing while nothing is under way.
func (f *filter) dull(b []byte) int {
	if b[0] >= utf8.RuneSelf || f.rules.begins[b[0]] || len(f.finders) > 0 || f.args != nil || !f.phrases.idle() {
		return 0
	}
	for i := range f.patterns {
		if !f.patterns[i].idle() {
			return 0
		}
	}
	n := 1
	for n < len(b) && b[n] < utf8.RuneSelf && !f.rules.begins[b[n]] {
		n++
	}
	last := rune(b[n-1])
	f.phrases.prev, f.prev = lower(last), last
	for i := range f.patterns {
		f.patterns[i].last = f.pos + n
	}
	return n
}

// step looks at one rune, text[start:end].
func (f *filter) step(r rune, start, end int) {
	if t := f.rules.phrases; t != nil && (!f.phrases.idle() || r >= utf8.RuneSelf || t.first[lower(r)]) {
		f.phrases.step(f, r, start, end)
	} else if t != nil {
		f.phrases.pass(r)
	}
	if len(f.patterns)+len(f.finders) == 0 {
		return
	}
	f.plain = plain(f.plain[:0], r)
	for i := range f.finders {
		f.finders[i].step(f, r, f.plain, start, end)
	}
	if len(f.patterns) == 0 {
		return
	}
	for view := f.plain; len(view) > 0; {
		c, n := rune(view[0]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRune(view)
		}
		view = view[n:]
		for i := range f.patterns {
			f.patterns[i].step(f, f.prev, c, start, end)
		}
		f.prev = c
	}
}

func lower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r | 0x20
	}
	if space(r) {
		return ' '
	}
	return r
}

// pass takes a rune of ASCII that begins no phrase while none is under way.
func (s *phraseState) pass(r rune) {
	if r = lower(r); r == ' ' && s.prev == ' ' {
		s.spaces++
	} else if r == ' ' {
		s.spaces = 1
	}
	s.prev = r
}

// flush decides about everything as if the text ended here: it is about to be passed on. More may follow, and what began
// before is still found then, though what has been passed on cannot be masked.
func (f *filter) flush() {
	if f.tails > 0 {
		n := f.tails
		f.tails = 0
		for range n {
			f.pos++
			f.step(utf8.RuneError, f.pos-1, f.pos)
		}
	}
	if f.args != nil {
		f.args.flush(f)
	}
	f.phrases.settle(f, 0)
	for i := range f.patterns {
		f.patterns[i].flush(f, f.prev)
	}
	for i := range f.finders {
		f.finders[i].flush(f, f.pos)
	}
	f.gone = f.pos
}

// accept takes a finding.
func (f *filter) accept(start, end, rule int, kind string) {
	if start >= end {
		return
	}
	broken := f.args != nil && f.args.broken(start, end)
	if start >= f.upTo[rule] {
		f.watch.found(rule, kind, broken)
	} else if broken {
		f.watch.found(rule, kind, true)
	}
	f.upTo[rule] = max(f.upTo[rule], end)
	if start = max(start, f.gone); start >= end {
		return
	}
	f.mask(span{start, end, rule, kind})
}

// mask adds a span. Of those that overlap one is made, which has the rule of the one that begins first.
func (f *filter) mask(x span) {
	i := len(f.spans)
	for i > 0 && f.spans[i-1].end > x.start {
		i--
	}
	k := i
	for k < len(f.spans) && f.spans[k].start < x.end {
		old := f.spans[k]
		if old.start <= x.start {
			x.start, x.rule, x.kind = old.start, old.rule, old.kind
		}
		x.end = max(x.end, old.end)
		k++
	}
	f.spans = slices.Replace(f.spans, i, k, x)
}

// masked is the end of the span that covers a byte, or the byte.
func (f *filter) masked(at int) int {
	for i := len(f.spans) - 1; i >= 0; i-- {
		if x := &f.spans[i]; x.start <= at {
			if at < x.end {
				return x.end
			}
			break
		}
	}
	return at
}

// decided is the number of bytes about which everything is known: what follows does not change them. It stops at the end of
// a span to which more may be added, so that the span is not forgotten before.
func (f *filter) decided() int {
	pos := f.pos
	if f.rules.phrases != nil {
		pos = f.phrases.since(pos)
	}
	for i := range f.patterns {
		pos = f.patterns[i].since(f, pos)
	}
	for i := range f.finders {
		pos = f.finders[i].since(pos)
	}
	if f.args != nil {
		pos = f.args.since(pos)
	}
	return max(f.gone, pos)
}

// forget drops the spans that end before a position, which are not asked for again.
func (f *filter) forget(before int) {
	n := 0
	for n < len(f.spans) && f.spans[n].end < before {
		n++
	}
	f.spans = slices.Delete(f.spans, 0, n)
	if f.args != nil {
		f.args.forget(before)
	}
}
