package guard

import (
	"regexp/syntax"
	"unicode/utf8"
)

// pattern is a regular expression (RE2) that is matched while its text arrives: package regexp can only say whether a whole
// text matches, not whether what has come so far may still. All its matches count, not only the leftmost.
type pattern struct {
	rule   int
	kind   string
	window int
	prog   *syntax.Prog
	// first says which ASCII runes a match may begin with.
	first [utf8.RuneSelf]bool
}

func newPattern(source string, rule, window int, kind string) (*pattern, error) {
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	p := &pattern{rule: rule, kind: kind, window: window, prog: prog}
	p.begin(make([]bool, len(prog.Inst)), uint32(prog.Start))
	return p, nil
}

// begin marks the runes that the instructions reached without one take.
func (p *pattern) begin(seen []bool, pc uint32) {
	if seen[pc] {
		return
	}
	seen[pc] = true
	in := &p.prog.Inst[pc]
	switch in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		p.begin(seen, in.Out)
		p.begin(seen, in.Arg)
	case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
		p.begin(seen, in.Out)
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		for r := range rune(utf8.RuneSelf) {
			p.first[r] = p.first[r] || in.MatchRune(r)
		}
	}
}

// thread is a match under way. Of those at one instruction the one that began first matters, and the one that began last
// for when the first is too long ago.
type thread struct {
	pc     uint32
	lo, hi int
}

// set is threads by instruction.
type set struct {
	list []thread
	at   []int32 // of an instruction, its place in list and 1
}

func (s *set) clear() {
	for _, t := range s.list {
		s.at[t.pc] = 0
	}
	s.list = s.list[:0]
}

// add says whether anything is new.
func (s *set) add(t thread) bool {
	if i := s.at[t.pc]; i > 0 {
		old := &s.list[i-1]
		fresh := t.lo < old.lo || t.hi > old.hi
		old.lo, old.hi = min(old.lo, t.lo), max(old.hi, t.hi)
		return fresh
	}
	s.list = append(s.list, t)
	s.at[t.pc] = int32(len(s.list))
	return true
}

// patternState is how far a text has been looked through for a pattern.
type patternState struct {
	p         *pattern
	cur, next set
	last      int // end of the last rune
}

func (s *patternState) init(p *pattern) {
	s.p = p
	n := len(p.prog.Inst)
	both := make([]int32, 2*n)
	s.cur.at, s.next.at = both[:n:n], both[n:]
}

func (s *patternState) idle() bool { return len(s.cur.list) == 0 }

// step takes the rune text[start:end] of the plain view, which follows prev; -1 is the beginning or end of the text.
func (s *patternState) step(f *filter, prev, r rune, start, end int) {
	begins := r >= utf8.RuneSelf || r >= 0 && s.p.first[r]
	if !begins && len(s.cur.list) == 0 {
		s.last = end
		return
	}
	flags := syntax.EmptyOpContext(prev, r)
	// What is in next are the instructions reached before the rune is taken.
	list := s.cur.list
	for _, t := range list {
		s.follow(t, flags)
	}
	if begins {
		s.follow(thread{uint32(s.p.prog.Start), start, start}, flags)
	}
	s.cur.clear()
	least := end - s.p.window
	for _, t := range s.next.list {
		in := &s.p.prog.Inst[t.pc]
		switch in.Op {
		case syntax.InstMatch:
			f.accept(t.lo, s.last, s.p.rule, s.p.kind)
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if r < 0 || !in.MatchRune(r) {
				continue
			}
			if t.lo < least && f.masked(t.lo) < least {
				t.lo = t.hi
			}
			if t.lo < least && f.masked(t.lo) < least {
				continue
			}
			s.cur.add(thread{in.Out, t.lo, t.hi})
		}
	}
	s.next.clear()
	s.last = end
}

// follow adds the instructions that are reached from t without a rune.
func (s *patternState) follow(t thread, flags syntax.EmptyOp) {
	for {
		in := &s.p.prog.Inst[t.pc]
		switch in.Op {
		case syntax.InstFail:
			return
		case syntax.InstAlt, syntax.InstAltMatch:
			if !s.next.add(t) {
				return
			}
			s.follow(thread{in.Arg, t.lo, t.hi}, flags)
			t.pc = in.Out
		case syntax.InstCapture, syntax.InstNop:
			if !s.next.add(t) {
				return
			}
			t.pc = in.Out
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^flags != 0 || !s.next.add(t) {
				return
			}
			t.pc = in.Out
		default:
			s.next.add(t)
			return
		}
	}
}

// flush decides as if the text ended here, and goes on.
func (s *patternState) flush(f *filter, prev rune) {
	if len(s.cur.list) == 0 {
		return
	}
	flags := syntax.EmptyOpContext(prev, -1)
	for _, t := range s.cur.list {
		s.follow(t, flags)
	}
	for _, t := range s.next.list {
		if s.p.prog.Inst[t.pc].Op == syntax.InstMatch {
			f.accept(t.lo, s.last, s.p.rule, s.p.kind)
		}
	}
	s.next.clear()
}

// since is the earliest byte that is not decided.
func (s *patternState) since(f *filter, pos int) int {
	for _, t := range s.cur.list {
		if t.lo < pos {
			pos = min(pos, f.masked(t.lo))
		}
	}
	return pos
}
