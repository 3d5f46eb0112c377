package guard

import (
	"cmp"
	"slices"
)

// trie holds the folded phrases of all filters.
type trie struct {
	nodes []node
	first [128]bool // an ASCII rune may begin a phrase
	bound int       // bytes that a beginning of a phrase may take in the text
}

type node struct {
	edges []edge // by rune
	ends  []phraseEnd
}

type edge struct {
	r  rune
	to int32
}

type phraseEnd struct {
	rule  int
	words bool
}

// mostSpaces is how many white-space runes in a row still part the words of a phrase.
const mostSpaces = 16

// newTrie returns nil when there are no phrases.
func newTrie() *trie { return &trie{nodes: make([]node, 1)} }

// add takes a phrase, and returns false when nothing of it is left in the folded view.
func (t *trie) add(phrase string, rule int, words bool) bool {
	var f folder
	at, last := int32(0), ' '
	var path []rune
	for _, r := range phrase {
		for _, c := range f.fold(r) {
			if c == ' ' && last == ' ' {
				continue
			}
			path, last = append(path, c), c
		}
	}
	for len(path) > 0 && path[len(path)-1] == ' ' {
		path = path[:len(path)-1]
	}
	if len(path) == 0 {
		return false
	}
	for _, c := range path {
		at = t.child(at, c)
	}
	n := &t.nodes[at]
	if end := (phraseEnd{rule, words}); !slices.Contains(n.ends, end) {
		n.ends = append(n.ends, end)
	}
	t.bound = max(t.bound, 8*len(path)+256)
	return true
}

func (t *trie) child(at int32, r rune) int32 {
	n := &t.nodes[at]
	i, found := slices.BinarySearchFunc(n.edges, r, func(e edge, r rune) int { return cmp.Compare(e.r, r) })
	if found {
		return n.edges[i].to
	}
	to := int32(len(t.nodes))
	n.edges = slices.Insert(n.edges, i, edge{r, to})
	if at == 0 && r < 128 {
		t.first[r] = true
	}
	t.nodes = append(t.nodes, node{})
	return to
}

// next returns the node behind at, or 0.
func (t *trie) next(at int32, r rune) int32 {
	e := t.nodes[at].edges
	if len(e) < 8 {
		for i := range e {
			if e[i].r == r {
				return e[i].to
			}
		}
		return 0
	}
	if i, found := slices.BinarySearchFunc(e, r, func(e edge, r rune) int { return cmp.Compare(e.r, r) }); found {
		return e[i].to
	}
	return 0
}

// begun is a phrase of which a beginning has been seen.
type begun struct {
	node  int32
	start int
	word  bool // no word goes on into it
}

// ended is a phrase that is one unless the next rune goes on with its last word.
type ended struct {
	rule, start, end int
	joins            bool
}

// phraseState is how far a text has been looked through for phrases.
type phraseState struct {
	folder
	begun  []begun // by start
	spare  []begun
	ended  []ended
	prev   rune
	spaces int
}

// idle says that nothing is under way, so that a rune that begins no phrase needs no step.
func (s *phraseState) idle() bool { return len(s.begun) == 0 && len(s.ended) == 0 }

// since is the earliest byte that is not decided.
func (s *phraseState) since(pos int) int {
	if len(s.begun) > 0 {
		pos = min(pos, s.begun[0].start)
	}
	for i := range s.ended {
		pos = min(pos, s.ended[i].start)
	}
	return pos
}

// step takes the rune text[start:end].
func (s *phraseState) step(f *filter, r rune, start, end int) {
	t := f.rules.phrases
	if len(s.begun) > 0 && s.begun[0].start < start-t.bound {
		f.fail(FailBound)
		s.begun = s.begun[:0]
	}
	for _, c := range s.fold(r) {
		if c == ' ' {
			if s.prev == ' ' {
				if s.spaces++; s.spaces == mostSpaces {
					s.begun = s.begun[:0]
				}
				continue
			}
			s.spaces = 1
		}
		s.settle(f, c)
		next := s.spare[:0]
		for _, b := range s.begun {
			if to := t.next(b.node, c); to != 0 {
				next = s.reach(f, next, begun{to, b.start, b.word}, c, end)
			}
		}
		if to := t.next(0, c); to != 0 {
			next = s.reach(f, next, begun{to, start, !joins(s.prev) || !joins(c)}, c, end)
		}
		s.begun, s.spare = next, s.begun
		s.prev = c
	}
}

// reach arrives at a node with rune c.
func (s *phraseState) reach(f *filter, next []begun, b begun, c rune, end int) []begun {
	n := &f.rules.phrases.nodes[b.node]
	for _, e := range n.ends {
		switch {
		case !e.words:
			f.accept(b.start, end, e.rule, "")
		case b.word:
			s.ended = append(s.ended, ended{e.rule, b.start, end, joins(c)})
		}
	}
	if len(n.edges) == 0 {
		return next
	}
	return append(next, b)
}

// settle decides about phrases whose last word may go on. Zero is the end of the text.
func (s *phraseState) settle(f *filter, c rune) {
	if len(s.ended) == 0 {
		return
	}
	goesOn := c != 0 && joins(c)
	for _, e := range s.ended {
		if !e.joins || !goesOn {
			f.accept(e.start, e.end, e.rule, "")
		}
	}
	s.ended = s.ended[:0]
}
