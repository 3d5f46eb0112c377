package textmetric

import "strings"

// NormalizeAnswer returns s as the SQuAD evaluation compares it: lower case, ASCII punctuation
// removed, the articles a, an and the removed, words separated by one space.
func NormalizeAnswer(s string) string {
	return strings.Join(answerTokens(s), " ")
}

func answerTokens(s string) []string {
	s = strings.Map(func(r rune) rune {
		if isASCIIPunct(r) {
			return -1
		}
		return r
	}, lower(s))
	var b strings.Builder
	b.Grow(len(s))
	for rest := s; rest != ""; {
		// A run of word characters, which is dropped when it is an article, then what follows it.
		n := strings.IndexFunc(rest, func(r rune) bool { return !isWord(r) })
		if n < 0 {
			n = len(rest)
		}
		if w := rest[:n]; w == "a" || w == "an" || w == "the" {
			b.WriteByte(' ')
		} else {
			b.WriteString(w)
		}
		rest = rest[n:]
		n = strings.IndexFunc(rest, isWord)
		if n < 0 {
			n = len(rest)
		}
		b.WriteString(rest[:n])
		rest = rest[n:]
	}
	return fields(b.String())
}

// Golds is the accepted answers to one question, prepared.
type Golds struct {
	normal []string
	counts []map[string]int
	sizes  []int
}

// NewGolds prepares golds.
func NewGolds(golds []string) *Golds {
	g := &Golds{}
	for _, s := range golds {
		tokens := answerTokens(s)
		g.normal = append(g.normal, strings.Join(tokens, " "))
		g.counts = append(g.counts, countTokens(tokens))
		g.sizes = append(g.sizes, len(tokens))
	}
	return g
}

func countTokens(tokens []string) map[string]int {
	m := make(map[string]int, len(tokens))
	for _, t := range tokens {
		m[t]++
	}
	return m
}

// ExactMatch reports whether answer equals one of the golds after normalization.
func (g *Golds) ExactMatch(answer string) bool {
	a := NormalizeAnswer(answer)
	for _, n := range g.normal {
		if a == n {
			return true
		}
	}
	return false
}

// F1 returns the overlap of answer's tokens with those of the gold that gives the highest F. As in
// SQuAD v1.1 it is 0 when nothing is shared, also when both sides are empty after normalization.
func (g *Golds) F1(answer string) PRF {
	tokens := answerTokens(answer)
	counts := countTokens(tokens)
	var best PRF
	for i, gold := range g.counts {
		same := 0
		for t, n := range counts {
			same += min(n, gold[t])
		}
		if p := prf(same, len(tokens), g.sizes[i]); p.F > best.F {
			best = p
		}
	}
	return best
}
