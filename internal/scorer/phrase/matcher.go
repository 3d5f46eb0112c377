package phrase

import (
	"slices"
	"strings"
)

// Matcher finds all occurrences of a fixed set of strings in one pass over a text (Aho and
// Corasick, 1975). It is immutable and safe for concurrent use.
//
// The automaton is the trie of the patterns in breadth-first order, so that the children of node n
// are the nodes first[n] to first[n+1]-1 and every node but the root has one incoming byte,
// label[n]. Together with the failure and output links that is 17 bytes per node, whatever the
// alphabet; a table of all transitions would be tens of times larger. Only the root, where a scan
// spends most of its time, has one.
type Matcher struct {
	first []int32
	label []byte
	fail  []int32
	// hit is the node itself if a pattern ends there, else the nearest node on the failure chain
	// where one does, else 0. next is the same for the proper suffixes only.
	hit, next []int32
	pattern   []int32 // index of the pattern that ends at the node
	length    []int32 // length of the pattern that ends at the node
	root      [256]int32
}

// NewMatcher builds the automaton. Empty patterns are left out; of equal ones the first counts.
func NewMatcher(patterns []string) *Matcher {
	order := make([]int, 0, len(patterns))
	for i, p := range patterns {
		if p != "" {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(patterns[a], patterns[b]) })

	m := &Matcher{}
	m.addNode(0)
	// Each node stands for the run of sorted patterns that share its prefix; the queue holds those
	// runs in the order of the nodes.
	type run struct{ lo, hi, depth int }
	queue := []run{{0, len(order), 0}}
	for n := 0; n < len(queue); n++ {
		r := queue[n]
		m.first = append(m.first, int32(len(m.label)))
		i := r.lo
		for ; i < r.hi && len(patterns[order[i]]) == r.depth; i++ {
			if m.pattern[n] < 0 {
				m.pattern[n] = int32(order[i])
				m.length[n] = int32(r.depth)
			}
		}
		for i < r.hi {
			b := patterns[order[i]][r.depth]
			j := i + 1
			for j < r.hi && patterns[order[j]][r.depth] == b {
				j++
			}
			m.addNode(b)
			queue = append(queue, run{i, j, r.depth + 1})
			i = j
		}
	}
	m.first = append(m.first, int32(len(m.label)))
	m.link()
	return m
}

func (m *Matcher) addNode(b byte) {
	m.label = append(m.label, b)
	m.pattern = append(m.pattern, -1)
	m.length = append(m.length, 0)
}

// link fills the failure and output links. Breadth-first order means that those of all shorter
// prefixes are known when a node is reached.
func (m *Matcher) link() {
	n := len(m.label)
	m.fail = make([]int32, n)
	m.hit = make([]int32, n)
	m.next = make([]int32, n)
	for c := m.first[0]; c < m.first[1]; c++ {
		m.root[m.label[c]] = c
	}
	for p := int32(0); p < int32(n); p++ {
		m.next[p] = m.hit[m.fail[p]]
		m.hit[p] = m.next[p]
		if m.pattern[p] >= 0 {
			m.hit[p] = p
		}
		for c := m.first[p]; c < m.first[p+1]; c++ {
			if p != 0 {
				m.fail[c] = m.step(m.fail[p], m.label[c])
			}
		}
	}
}

// child returns the child of s by b, or 0, which is nobody's child.
func (m *Matcher) child(s int32, b byte) int32 {
	lo, hi := m.first[s], m.first[s+1]
	for hi-lo > 8 {
		mid := (lo + hi) / 2
		if m.label[mid] <= b {
			lo = mid
		} else {
			hi = mid
		}
	}
	for ; lo < hi; lo++ {
		if m.label[lo] == b {
			return lo
		}
	}
	return 0
}

func (m *Matcher) step(s int32, b byte) int32 {
	for s != 0 {
		if c := m.child(s, b); c != 0 {
			return c
		}
		s = m.fail[s]
	}
	return m.root[b]
}

// Scan calls yield for every occurrence of every pattern, overlapping ones included, in order of
// their ends and at one end from the longest to the shortest, until yield returns false.
func (m *Matcher) Scan(text string, yield func(pattern, start, end int) bool) {
	scan(m, text, yield)
}

func scan[T string | []byte](m *Matcher, text T, yield func(pattern, start, end int) bool) {
	s := int32(0)
	for i := 0; i < len(text); i++ {
		b := text[i]
		if s == 0 {
			s = m.root[b]
		} else {
			s = m.step(s, b)
		}
		for h := m.hit[s]; h != 0; h = m.next[h] {
			if !yield(int(m.pattern[h]), i+1-int(m.length[h]), i+1) {
				return
			}
		}
	}
}
