package pyre

import (
	"slices"
	"unicode"
)

// Bounds on one search: steps keeps a runaway expression from stalling a run, depth the stack from
// growing without end.
const (
	maxSteps = 5_000_000
	maxDepth = 50_000
)

// node is a part of an expression. match tries it at position i and goes on with next from where
// it ends; it tries every way until next succeeds. width is the least and the greatest number of
// characters that it takes.
type node interface {
	match(m *machine, i int, next func(int) bool) bool
	width() (low, high int)
}

// machine is the state of one search.
type machine struct {
	text    []rune
	groups  [][2]int // start and end; start -1 when unset
	steps   int
	depth   int
	stopped bool // over a bound: nothing matches any more
}

// step counts; it returns false once the search is over its bounds.
func (m *machine) step() bool {
	if m.steps++; m.steps > maxSteps || m.depth > maxDepth {
		m.stopped = true
	}
	return !m.stopped
}

// find counts matches up to limit; -1 means all.
func (re *Regexp) find(s string, limit int) (int, error) {
	m := &machine{text: []rune(s), groups: make([][2]int, re.groups+1)}
	n := 0
	// As in Python since 3.7, an empty match may follow another match at once, but not another
	// empty one at the same place.
	for i, emptyAt := 0, -1; i <= len(m.text) && n != limit; {
		for g := range m.groups {
			m.groups[g] = [2]int{-1, -1}
		}
		end := -1
		re.root.match(m, i, func(j int) bool {
			if j == i && i == emptyAt {
				return false
			}
			end = j
			return true
		})
		switch {
		case m.stopped:
			return n, ErrTooComplex
		case end < 0:
			i++
		default:
			n++
			if end == i {
				emptyAt = i
			} else {
				emptyAt = -1
			}
			i = end
		}
	}
	return n, nil
}

type char struct {
	r    rune
	fold bool
}

func (c char) holds(r rune) bool {
	return r == c.r || c.fold && fold(r) == c.r
}

func (c char) match(m *machine, i int, next func(int) bool) bool {
	return m.step() && i < len(m.text) && c.holds(m.text[i]) && next(i+1)
}

func (char) width() (int, int) { return 1, 1 }

type interval struct{ low, high rune }

type test struct {
	holds   func(rune) bool
	negated bool
}

// set is a character class.
type set struct {
	negated bool
	fold    bool
	ranges  []interval
	tests   []test
}

func (s *set) holds(r rune) bool {
	in := s.contains(r)
	if !in && s.fold {
		for _, e := range equals(r) {
			if in = s.contains(e); in {
				break
			}
		}
	}
	return in != s.negated
}

func (s *set) contains(r rune) bool {
	for _, x := range s.ranges {
		if x.low <= r && r <= x.high {
			return true
		}
	}
	for _, t := range s.tests {
		if t.holds(r) != t.negated {
			return true
		}
	}
	return false
}

func (s *set) match(m *machine, i int, next func(int) bool) bool {
	return m.step() && i < len(m.text) && s.holds(m.text[i]) && next(i+1)
}

func (*set) width() (int, int) { return 1, 1 }

type sequence []node

func (s sequence) match(m *machine, i int, next func(int) bool) bool {
	if len(s) == 0 {
		return next(i)
	}
	return s[0].match(m, i, func(j int) bool { return s[1:].match(m, j, next) })
}

func (s sequence) width() (int, int) {
	low, high := 0, 0
	for _, n := range s {
		l, h := n.width()
		low, high = add(low, l), add(high, h)
	}
	return low, high
}

func add(a, b int) int {
	if a == unlimited || b == unlimited || a > unlimited-b {
		return unlimited
	}
	return a + b
}

type alternation []node

func (a alternation) match(m *machine, i int, next func(int) bool) bool {
	return slices.ContainsFunc(a, func(n node) bool { return m.step() && n.match(m, i, next) })
}

func (a alternation) width() (int, int) {
	low, high := unlimited, 0
	for _, n := range a {
		l, h := n.width()
		low, high = min(low, l), max(high, h)
	}
	return low, high
}

type repeat struct {
	body      node
	low, high int
	lazy      bool
	single    bool // body takes one character, always
}

func (r *repeat) match(m *machine, i int, next func(int) bool) bool {
	switch {
	case r.single && r.lazy:
		return r.matchFew(m, i, next)
	case r.single:
		return r.matchMany(m, i, next)
	}
	return r.iterate(m, i, 0, -1, next)
}

// one says whether body takes the character at i.
func (r *repeat) one(m *machine, i int) bool {
	return i < len(m.text) && m.step() && r.body.match(m, i, func(int) bool { return true })
}

func (r *repeat) matchMany(m *machine, i int, next func(int) bool) bool {
	n := 0
	for n < r.high && r.one(m, i+n) {
		n++
	}
	for ; n >= r.low; n-- {
		if !m.step() {
			return false
		}
		if next(i + n) {
			return true
		}
	}
	return false
}

func (r *repeat) matchFew(m *machine, i int, next func(int) bool) bool {
	for n := 0; ; n++ {
		if !m.step() {
			return false
		}
		if n >= r.low && next(i+n) {
			return true
		}
		if n >= r.high || !r.one(m, i+n) {
			return false
		}
	}
}

// iterate has matched body n times up to i, the last time from last. A body that took nothing is
// not tried again.
func (r *repeat) iterate(m *machine, i, n, last int, next func(int) bool) bool {
	m.depth++
	defer func() { m.depth-- }()
	if !m.step() {
		return false
	}
	again := func() bool {
		return n < r.high && (n < r.low || i != last) &&
			r.body.match(m, i, func(j int) bool { return r.iterate(m, j, n+1, i, next) })
	}
	switch {
	case n < r.low:
		return again()
	case r.lazy:
		return next(i) || again()
	}
	return again() || next(i)
}

func (r *repeat) width() (int, int) {
	l, h := r.body.width()
	return times(l, r.low), times(h, r.high)
}

func times(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	if a == unlimited || b == unlimited || a > unlimited/b {
		return unlimited
	}
	return a * b
}

type capture struct {
	body  node
	group int
}

func (c *capture) match(m *machine, i int, next func(int) bool) bool {
	return c.body.match(m, i, func(j int) bool {
		old := m.groups[c.group]
		m.groups[c.group] = [2]int{i, j}
		if next(j) {
			return true
		}
		m.groups[c.group] = old
		return false
	})
}

func (c *capture) width() (int, int) { return c.body.width() }

type backref struct {
	group int
	fold  bool
}

func (b *backref) match(m *machine, i int, next func(int) bool) bool {
	g := m.groups[b.group]
	if g[0] < 0 || i+g[1]-g[0] > len(m.text) {
		return false
	}
	for k := g[0]; k < g[1]; k, i = k+1, i+1 {
		x, y := m.text[k], m.text[i]
		if !m.step() || x != y && !(b.fold && unicode.ToLower(x) == unicode.ToLower(y)) {
			return false
		}
	}
	return next(i)
}

func (*backref) width() (int, int) { return 0, unlimited }

// look is a look-ahead, or a look-behind of back characters.
type look struct {
	body    node
	negated bool
	back    int
}

func (l *look) match(m *machine, i int, next func(int) bool) bool {
	old := slices.Clone(m.groups)
	found := i >= l.back && l.body.match(m, i-l.back, func(int) bool { return true })
	if found == l.negated || m.stopped {
		copy(m.groups, old)
		return false
	}
	if next(i) {
		return true
	}
	copy(m.groups, old)
	return false
}

func (*look) width() (int, int) { return 0, 0 }

// assertion is an anchor or a word boundary.
type assertion uint8

const (
	atStart assertion = iota
	atLineStart
	atEnd
	atLineEnd
	atLastLineEnd
	atBoundary
	notAtBoundary
)

func (a assertion) match(m *machine, i int, next func(int) bool) bool {
	return m.step() && a.holds(m.text, i) && next(i)
}

func (a assertion) holds(text []rune, i int) bool {
	n := len(text)
	switch a {
	case atStart:
		return i == 0
	case atLineStart:
		return i == 0 || text[i-1] == '\n'
	case atEnd:
		return i == n
	case atLineEnd:
		return i == n || text[i] == '\n'
	case atLastLineEnd:
		return i == n || i == n-1 && text[i] == '\n'
	}
	// Python's \B does not match in an empty text, and neither does \b.
	boundary := (i > 0 && isWord(text[i-1])) != (i < n && isWord(text[i]))
	return n > 0 && boundary == (a == atBoundary)
}

func (assertion) width() (int, int) { return 0, 0 }
