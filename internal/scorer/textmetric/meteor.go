package textmetric

import (
	"fmt"
	"math"
)

// The parameters of METEOR.
const (
	meteorAlpha = 0.9 // weight of precision against recall
	meteorBeta  = 3   // exponent of the fragmentation penalty
	meteorGamma = 0.5 // weight of the fragmentation penalty
)

// METEOR holds the options of METEOR (Lavie and Agarwal, 2007) as NLTK computes it, with the stages
// exact and stem. The synonym stage, which needs WordNet, is off, and Signature says so. The zero
// value works on tokens of the 13a tokenizer; texts are put in lower case. Scores go from 0 to 1;
// even identical texts stay just below 1, for they are still one chunk.
type METEOR struct {
	Tokenizer Tokenizer
}

// Signature names the recipe.
func (m METEOR) Signature() string {
	return fmt.Sprintf("meteor:nltk-3.10.4|case:lc|tok:%s|stages:exact,porter-stem|synonyms:off|alpha:%v|beta:%v|gamma:%v",
		m.Tokenizer, meteorAlpha, meteorBeta, meteorGamma)
}

// METEORRefs is the references of one sentence, prepared.
type METEORRefs struct {
	meteor METEOR
	refs   []meteorRef
}

type meteorRef struct {
	words, stems []string
}

// References prepares refs. With several, the one that gives the highest score counts.
func (m METEOR) References(refs []string) *METEORRefs {
	out := &METEORRefs{meteor: m, refs: make([]meteorRef, len(refs))}
	for i, s := range refs {
		words := m.words(s)
		out.refs[i] = meteorRef{words: words, stems: stemAll(words)}
	}
	return out
}

func (m METEOR) words(s string) []string {
	words := m.Tokenizer.Tokens(s)
	for i, w := range words {
		words[i] = lower(w)
	}
	return words
}

func stemAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = PorterStem(w)
	}
	return out
}

// Score returns the score of hyp against its best reference.
func (r *METEORRefs) Score(hyp string) float64 {
	words := r.meteor.words(hyp)
	stems := stemAll(words)
	best := 0.0
	for i := range r.refs {
		ref := &r.refs[i]
		to := make([]int, len(words)) // the matched position in the reference, -1 for none
		for k := range to {
			to[k] = -1
		}
		taken := make([]bool, len(ref.words))
		align(words, ref.words, to, taken)
		align(stems, ref.stems, to, taken)
		best = max(best, meteorScore(to, len(ref.words)))
	}
	return best
}

// align matches what is still free: each word of hyp, from the last to the first, with the last
// free equal word of ref.
func align(hyp, ref []string, to []int, taken []bool) {
	free := make(map[string][]int, len(ref))
	for j, w := range ref {
		if !taken[j] {
			free[w] = append(free[w], j)
		}
	}
	for i := len(hyp) - 1; i >= 0; i-- {
		if to[i] >= 0 {
			continue
		}
		if at := free[hyp[i]]; len(at) > 0 {
			j := at[len(at)-1]
			free[hyp[i]] = at[:len(at)-1]
			to[i], taken[j] = j, true
		}
	}
}

// meteorScore makes the score of an alignment: to holds the position in a reference of refLen words
// that each word of the answer is matched with, -1 for none.
func meteorScore(to []int, refLen int) float64 {
	matches, chunks, before := 0, 0, -2
	for i, j := range to {
		if j < 0 {
			continue
		}
		matches++
		if before != i-1 || to[before]+1 != j {
			chunks++
		}
		before = i
	}
	if matches == 0 {
		return 0
	}
	p, r := float64(matches)/float64(len(to)), float64(matches)/float64(refLen)
	mean := p * r / (meteorAlpha*p + (1-meteorAlpha)*r)
	return (1 - meteorGamma*math.Pow(float64(chunks)/float64(matches), meteorBeta)) * mean
}
