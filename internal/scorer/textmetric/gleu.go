package textmetric

import "math"

// GLEU holds the options of the sentence score of Wu et al. (2016), "Google's Neural Machine
// Translation System", as NLTK's gleu_score computes it: matching n-grams of order 1 to 4 over the
// larger of the two totals. The zero value splits texts with the 13a tokenizer. Scores go from 0 to 1.
type GLEU struct {
	Tokenizer Tokenizer
	MaxOrder  int // highest n-gram order; 0 means 4
	Lowercase bool
}

func (g GLEU) order() int {
	if g.MaxOrder <= 0 {
		return 4
	}
	return g.MaxOrder
}

func (g GLEU) tokens(s string) []string {
	if g.Lowercase {
		s = lower(s)
	}
	return g.Tokenizer.Tokens(s)
}

// GLEURefs is the references of one sentence, prepared.
type GLEURefs struct {
	gleu GLEU
	refs []gleuRef
}

type gleuRef struct {
	vocab vocab
	grams *grams
	total int
}

// References prepares refs. With several, the one that gives the highest score counts, the first
// of them on a tie.
func (g GLEU) References(refs []string) *GLEURefs {
	out := &GLEURefs{gleu: g, refs: make([]gleuRef, len(refs))}
	for i, s := range refs {
		v := vocab{}
		ids := v.add(g.tokens(s))
		out.refs[i] = gleuRef{vocab: v, grams: newGrams(g.order(), ids), total: g.total(len(ids))}
	}
	return out
}

// total returns the number of n-grams of all orders in a text of that many tokens.
func (g GLEU) total(tokens int) int {
	sum := 0
	for n := 1; n <= g.order(); n++ {
		sum += gramCount(tokens, n)
	}
	return sum
}

// Stats returns the sufficient statistics of hyp against its best reference: the matches and the
// larger total. Statistics of sentences add up. Both are 0 when neither side has a token.
func (r *GLEURefs) Stats(hyp string) []float64 {
	tokens := r.gleu.tokens(hyp)
	got := r.gleu.total(len(tokens))
	m := make([]float64, r.gleu.order())
	best := []float64{0, 0}
	bestShare := -1.0
	for i := range r.refs {
		ref := &r.refs[i]
		all := float64(max(got, ref.total))
		if all == 0 {
			continue
		}
		clear(m)
		ref.grams.matches(ref.vocab.find(tokens), m)
		sum := 0.0
		for _, x := range m {
			sum += x
		}
		if share := sum / all; share > bestShare {
			bestShare = share
			best[0], best[1] = sum, all
		}
	}
	return best
}

// Score makes the score, from 0 to 1, of statistics: of one sentence, or summed over a corpus. It
// is NaN when stats does not have two numbers.
func (GLEU) Score(stats []float64) float64 {
	switch {
	case len(stats) != 2:
		return math.NaN()
	case stats[1] == 0:
		return 0
	default:
		return stats[0] / stats[1]
	}
}
